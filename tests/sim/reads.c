/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tables show to the programs of their host: an index that never falls, a holder that never comes
 * back, a freshness that is true, and a deadline for no life that is over.
 */
#include "sim.h"

#include <errno.h>

#include "../../shm/atom.h"

typedef unsigned long long ull;

/* World time at which the host's clock showed this, at the latest. Its rate may have changed since. */
static uint64_t world_of(const struct sim *s, const struct host *h, uint64_t local_ns)
{
	uint64_t age = host_mono_clock(s, h) - local_ns;
	uint64_t error = age / 1000000 * 2 * (uint64_t)s->plan.drift_ppm + US;

	return s->now_ns - MIN(s->now_ns, age + error);
}

static void note_leader(struct sim *s, const struct host *h)
{
	uint64_t applied = h->memory.tables->agreed.applied;

	while (h->leading && s->leader_applied < applied) {
		struct log_entry *e = log_at(s, ++s->leader_applied);

		e->applied_ns = s->now_ns;
	}
}

/* The tables hold all that a leader had applied when the clock showed `fresh_as_of`: so the first slot that they
 * lack was applied later. */
static void check_fresh(struct sim *s, const struct host *h)
{
	const struct tables *t = h->memory.tables;
	uint64_t fresh = atom_load_acquire(&t->fresh_as_of_ns), clock = host_mono_clock(s, h), applied = t->agreed.applied;
	const struct log_entry *next;

	if (!fresh || !t->ready || fresh <= h->clock.stood_ns)
		return;
	CHECK(s, fresh <= clock, "host %u says that its tables are as of a time to come", h->id);
	if (fresh < h->fresh && sim_trusted(s))
		sim_fail(s, "host %u showed tables as of %llu, and now as of %llu", h->id, (ull)h->fresh, (ull)fresh);
	next = log_at(s, applied + 1);
	CHECK(s, !sim_trusted(s) || !next->applied_ns || next->applied_ns > world_of(s, h, fresh),
	      "host %u has applied slot %llu and says that this was all %.6f s ago, and a leader had applied slot %llu %.6f s ago", h->id,
	      (ull)applied, (double)(clock - fresh) / 1e9, (ull)applied + 1, (double)(s->now_ns - next->applied_ns) / 1e9);
}

/* A life that the cluster has ended has no lease any more. */
static void check_deadline(struct sim *s, const struct host *h)
{
	uint64_t life = atom_load_acquire(&h->memory.tables->incarnation);

	if (!life || life == reference_alive(s, h->id) || life > s->reference.applied || !sim_trusted(s))
		return;
	CHECK(s, host_clock(s, h) >= atom_load_acquire(&h->memory.tables->deadline_boot_ns),
	      "host %u shows a lease for its life of slot %llu, which is over", h->id, (ull)life);
}

void reads_after_step(struct sim *s, struct host *h)
{
	const struct tables *t = h->memory.tables;

	note_leader(s, h);
	check_fresh(s, h);
	h->fresh = t->fresh_as_of_ns;
	check_deadline(s, h);
}

/* A group that its agent left unfinished is not looked at: its successor takes it back, and makes it again. */
void reads_holder(struct sim *s, struct host *h, uint32_t key)
{
	struct key *k = &s->key[key];
	struct seen_holder *seen = &k->seen[h->id];
	struct lock_value v = { 0 };
	int rc;

	if (!h->agent)
		return;
	rc = table_read(h->memory.tables, k->bytes, k->len, &v);
	if (rc == -ENETUNREACH)
		return;
	CHECK(s, rc >= 0, "a program of host %u cannot read the tables, and nobody writes: %d", h->id, rc);
	sim_mark(s, MARK_TABLES_READ);
	if (!rc || !v.delegation) {
		seen->gone |= seen->delegation != 0;
		return;
	}
	CHECK(s, v.delegation >= seen->delegation, "a program of host %u reads delegation %llu of %s, after %llu", h->id, (ull)v.delegation,
	      trace_key(k), (ull)seen->delegation);
	CHECK(s, v.delegation > seen->delegation || !seen->gone, "a program of host %u reads delegation %llu of %s again, which was over", h->id,
	      (ull)v.delegation, trace_key(k));
	*seen = (struct seen_holder){ .delegation = v.delegation };
}

void reads_forget(struct sim *s, struct host *h)
{
	h->fresh = 0;
	for (struct key *k = s->key + 1; k <= s->key + s->n_keys; k++)
		k->seen[h->id] = (struct seen_holder){ 0 };
}
