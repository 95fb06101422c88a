/* SPDX-License-Identifier: Apache-2.0 */
/*
 * waiters: who waits for a lock: the sessions of this host, in its gate's line and through their agent, then the hosts in
 * its queue. Shared memory is read, the agent hears nothing of it.
 */
#include <errno.h>

#include "../shm/arena.h"
#include "../shm/atom.h"
#include "session.h"

#define TRIES 100u

/* Answers are written at the caller's stride: his structure may be a later one. */
struct list {
	unsigned char *at;
	size_t stride, max, written;
};

static void list_add(struct list *l, const struct paxshm_waiter *w)
{
	if (l->written < l->max)
		memcpy(l->at + l->stride * l->written++, w, sizeof(*w));
}

static size_t room(const struct list *l)
{
	return l->max - l->written;
}

/* ---- here ---- */

static void add_session(const struct paxshm_session *s, const struct gate_view *v, const struct gate_sleeper *sleeper, struct list *l)
{
	struct paxshm_waiter w = {
		.size = sizeof(w),
		.mode = PAXSHM_EX, /* who wants to share asks the agent */
		.who = { .size = sizeof(w.who), .host_id = s->tables->self, .since_ns = since_told(s->tables, sleeper->since_ns) },
	};

	/* In this order: who still waits was the session whose row was read. */
	if (!who_from_session(s, sleeper->slot, &w.who) || !gate_sleeper_stands(v, sleeper))
		return;
	host_name(s, w.who.host_id, w.who.host);
	list_add(l, &w);
}

uint32_t line_length(const struct paxshm_session *s, uint32_t gate)
{
	struct gate_view v = arena_view(s->arena, s->tables);
	uint32_t waiting = 0;

	gate_read_line(&v, gate, NULL, 0, &waiting);
	return waiting;
}

static void add_claim(const struct paxshm_session *s, const struct claim_seen *claim, struct list *l)
{
	struct paxshm_waiter w = { .size = sizeof(w), .mode = claim->mode };

	if (who_from_claim(s, claim, &w.who))
		list_add(l, &w);
}

/* Two lists, each oldest first, told as one. */
struct here {
	struct gate_sleeper *sleepers;
	struct claim_seen *claims;
	uint32_t n_sleepers, n_claims;
};

static void add_both(const struct paxshm_session *s, const struct gate_view *v, const struct here *h, struct list *l)
{
	for (uint32_t i = 0, k = 0; i < h->n_sleepers || k < h->n_claims;)
		if (k == h->n_claims || (i < h->n_sleepers && h->sleepers[i].since_ns <= h->claims[k].since_ns))
			add_session(s, v, &h->sleepers[i++], l);
		else
			add_claim(s, &h->claims[k++], l);
}

/* How many sessions of this host wait, in the line of the gate (0: none is known) or through their agent; or -ENOMEM. */
static int add_here(const struct paxshm_session *s, uint32_t gate, const void *key, uint32_t len, struct list *l)
{
	struct gate_view v = arena_view(s->arena, s->tables);
	uint32_t in_line = gate ? line_length(s, gate) : 0, claims = table_read_claims(s->tables, key, len, CLAIM_SHOWN_WAITS, NULL, 0);
	struct here h = { .n_sleepers = (uint32_t)MIN(room(l), in_line), .n_claims = (uint32_t)MIN(room(l), claims) };

	if (!h.n_sleepers && !h.n_claims)
		return (int)(in_line + claims);
	h.sleepers = malloc((h.n_sleepers + 1ul) * sizeof(*h.sleepers));
	h.claims = malloc((h.n_claims + 1ul) * sizeof(*h.claims));
	if (h.sleepers && h.claims) {
		if (gate)
			h.n_sleepers = gate_read_line(&v, gate, h.sleepers, h.n_sleepers, &in_line);
		claims = table_read_claims(s->tables, key, len, CLAIM_SHOWN_WAITS, h.claims, h.n_claims);
		h.n_claims = MIN(h.n_claims, claims);
		add_both(s, &v, &h, l);
	}
	bool ok = h.sleepers && h.claims;
	free(h.sleepers);
	free(h.claims);
	return ok ? (int)(in_line + claims) : -ENOMEM;
}

/* ---- other hosts ---- */

/* How many hosts wait in the lock's queue, or -EAGAIN, -ENETUNREACH. */
static int add_hosts(const struct paxshm_session *s, const void *key, uint32_t len, struct list *l)
{
	struct table_wait queue[HOSTS_MAX];
	int n = -EAGAIN;

	for (unsigned i = 0; i < TRIES && n == -EAGAIN; i++)
		n = table_read_queue(s->tables, key, len, queue, ARRAY_LEN(queue));
	for (int i = 0; i < MIN(n, (int)ARRAY_LEN(queue)); i++) {
		struct paxshm_waiter w = {
			.size = sizeof(w),
			.mode = queue[i].mode,
			.who = { .size = sizeof(w.who), .host_id = queue[i].host },
		};

		host_name(s, w.who.host_id, w.who.host);
		list_add(l, &w);
	}
	return n;
}

/* The gate through which this host's sessions wait; 0: there is none. */
static int gate_of(const struct paxshm_session *s, const void *key, uint32_t len, uint32_t *ret_gate)
{
	struct lock_value value;
	int rc = table_read(s->tables, key, len, &value);

	if (rc == 1 && value.delegation && value.host == s->tables->self && value.gate <= s->tables->n_gates)
		*ret_gate = value.gate;
	return rc;
}

int paxshm_waiters(paxshm_session *s, const void *key, size_t len, struct paxshm_waiter *ret_waiters, size_t max)
{
	uint32_t gate = 0;
	int rc = session_mine(s), here = 0;

	if (rc == 0)
		rc = key_check(key, len);
	if (rc)
		return rc;
	if (max && (!ret_waiters || ret_waiters->size < sizeof(*ret_waiters)))
		return -EINVAL;
	if (session_look(s))
		return -ENOTCONN;

	struct list l = { .at = (unsigned char *)ret_waiters, .stride = max ? ret_waiters->size : 0, .max = max };

	rc = gate_of(s, key, (uint32_t)len, &gate);
	if (rc < 0)
		return rc;
	here = add_here(s, gate, key, (uint32_t)len, &l);
	if (here < 0)
		return here;
	/* Who left between two looks is not counted: all that are told of were written, unless there was no room. */
	if (room(&l))
		here = (int)l.written;
	rc = add_hosts(s, key, (uint32_t)len, &l);
	return rc < 0 ? rc : here + rc;
}
