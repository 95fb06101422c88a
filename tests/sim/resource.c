/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a lock protects. A program looks whether the lock is still its own, as the library does, and then
 * writes with its token; between the two it may be stopped, and what it wrote may be under way for long. The
 * resource takes no write with a token older than one that it has seen.
 */
#include "sim.h"

#include <errno.h>

#include "../../shm/atom.h"

int program_check(const struct sim *s, const struct client *c, uint64_t incarnation)
{
	const struct host *h = &s->host[c->host];
	const struct tables *t = h->memory.tables;
	uint64_t deadline_ns = atom_load_acquire(&t->deadline_boot_ns);

	if (atom_load_acquire(&t->incarnation) != incarnation)
		return -ESTALE;
	return deadline_ns == NEVER || host_clock(s, h) < deadline_ns ? 0 : -ENETUNREACH;
}

/* A while, most of them short; some longer than any lease. */
static uint64_t flight_ns(struct sim *s)
{
	uint64_t t = sim_pick(s, 0, 200 * US);

	if (sim_smooth(s) || !sim_chance(s, 1, 40))
		return t;
	sim_mark(s, MARK_WRITE_LATE);
	return t + sim_about(s, ONE_OF(s, 2 * MS, s->plan.leader_lease_ns, s->plan.host_lease_ns));
}

/* A program of some host has written over its gate, and what comes of that is not over. */
static bool is_tainted(const struct sim *s, const struct key *k)
{
	bool any = false;

	for (uint16_t id = 1; id <= s->n_hosts; id++)
		any |= k->tainted[id];
	return any;
}

static void send(struct sim *s, const struct client *c, const struct thread *t)
{
	uint32_t at = s->next_write++ % SIM_WRITES;
	struct write *w = &s->write[at];

	if (w->flies)
		return; /* too many: this one is lost */
	*w = (struct write){ .flies = true, .reads = t->sharing.wants, .key = t->key, .client = c->id, .token = t->token, .tainted = is_tainted(s, &s->key[t->key]) };
	sim_at(s, s->now_ns + flight_ns(s), (struct event){ .kind = EVENT_WRITE, .number = at });
}

bool resource_use(struct sim *s, struct client *c, struct thread *t)
{
	int rc = program_check(s, c, t->incarnation);

	if (rc == -ENETUNREACH) {
		sim_mark(s, MARK_LOCK_SUSPENDED);
		return true; /* it waits for what becomes of it */
	}
	if (rc == -ESTALE) {
		trace(s, "program %u of host %u finds that %s is lost", c->id, c->host, trace_key(&s->key[t->key]));
		sim_mark(s, MARK_LOCK_LOST);
		oracle_dropped(s, c, t);
		return false;
	}
	CHECK(s, !t->lost || !sim_trusted(s) || oracle_tainted(s, c->host, t->key), "program %u of host %u is told that it owns %s, which was given to others", c->id, c->host,
	      trace_key(&s->key[t->key]));
	if (t->uses) {
		t->uses--;
		send(s, c, t);
	}
	return true;
}

/* Who shares the lock looks, and is shown nothing when somebody has written since with a younger token. What he was shown
 * stays true: no older write is taken afterwards. */
static void looked_at(struct sim *s, struct key *k, const struct write *w)
{
	if (w->token < k->resource_token) {
		sim_mark(s, MARK_READ_REFUSED);
		CHECK(s, !sharing_has_token(s, k, w->token), "who shares %s looks with token %llu and is refused: %llu was seen", trace_key(k),
		      (unsigned long long)w->token, (unsigned long long)k->resource_token);
		return;
	}
	CHECK(s, w->token <= k->shared_token, "program %u looks at %s with token %llu, and none above %llu was given", w->client, trace_key(k),
	      (unsigned long long)w->token, (unsigned long long)k->shared_token);
	k->read_token = MAX(k->read_token, w->token);
}

void resource_arrived(struct sim *s, struct write *w)
{
	struct key *k = &s->key[w->key];

	w->flies = false;
	if (w->tainted || is_tainted(s, k))
		return; /* what was written under tokens of that host proves nothing */
	if (w->reads) {
		looked_at(s, k, w);
		return;
	}
	if (w->token < MAX(k->resource_token, k->read_token)) {
		sim_mark(s, MARK_WRITE_REFUSED);
		CHECK(s, !k->owner || w->token != k->last_token, "the owner of %s writes with token %llu and is refused: %llu was seen",
		      trace_key(k), (unsigned long long)w->token, (unsigned long long)MAX(k->resource_token, k->read_token));
		return;
	}
	CHECK(s, w->token <= k->last_token, "program %u writes to %s with token %llu, and none above %llu was given", w->client, trace_key(k),
	      (unsigned long long)w->token, (unsigned long long)k->last_token);
	CHECK(s, w->token > k->resource_token || w->client == k->resource_client, "programs %u and %u write to %s with one token, %llu",
	      w->client, k->resource_client, trace_key(k), (unsigned long long)w->token);
	if (w->token > k->resource_token)
		sim_mark(s, MARK_WRITE_TAKEN);
	k->resource_token = w->token;
	k->resource_client = w->client;
}
