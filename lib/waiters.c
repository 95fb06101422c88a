/* SPDX-License-Identifier: Apache-2.0 */
/*
 * waiters: who waits for a lock: the sessions in its gate's line here, then the hosts in its queue. Shared memory is read,
 * the agent hears nothing of it.
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
		.mode = PAXSHM_EX, /* the only one in which anybody waits at a gate */
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

/* How many wait in the line of the gate, or -ENOMEM. */
static int add_line(const struct paxshm_session *s, uint32_t gate, struct list *l)
{
	struct gate_view v = arena_view(s->arena, s->tables);
	uint32_t waiting = 0, max = (uint32_t)MIN(room(l), v.n_records), n;
	struct gate_sleeper *sleepers;

	if (!max)
		return (int)line_length(s, gate);
	sleepers = malloc(max * sizeof(*sleepers));
	if (!sleepers)
		return -ENOMEM;
	n = gate_read_line(&v, gate, sleepers, max, &waiting);
	for (uint32_t i = 0; i < n; i++)
		add_session(s, &v, &sleepers[i], l);
	free(sleepers);
	return (int)waiting;
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
			.mode = PAXSHM_EX, /* the only one that hosts ask for */
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
	if (gate)
		here = add_line(s, gate, &l);
	if (here < 0)
		return here;
	/* Who left between two looks is not counted: all that are told of were written, unless there was no room. */
	if (room(&l))
		here = (int)l.written;
	rc = add_hosts(s, key, (uint32_t)len, &l);
	return rc < 0 ? rc : here + rc;
}
