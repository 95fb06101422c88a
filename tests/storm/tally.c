/* SPDX-License-Identifier: Apache-2.0 */
#include "tally.h"

#include <stdio.h>
#include <stdlib.h>

#include "../../lib/base.h"

/* When a host's probe had its answers. One program a host probes, one call after the other: both times rise. */
struct probe {
	uint64_t called_ns, returned_ns;
};

struct host_probes {
	struct probe *at;
	size_t n;
};

static size_t kind_of(const struct blow *b)
{
	return (size_t)(b->fault - faults);
}

static bool granted_probe(const struct history_turn *t)
{
	return t->outcome == HISTORY_GRANTED && crew_is_probe(t->key);
}

static void collect(struct host_probes *hosts, const struct history_turn *turns, size_t n)
{
	for (unsigned h = 1; h <= rig->n; h++) {
		hosts[h].at = calloc(n + 1, sizeof(*hosts[h].at));
		cr_assert(hosts[h].at);
	}
	for (size_t i = 0; i < n; i++)
		if (granted_probe(&turns[i])) {
			struct host_probes *h = &hosts[turns[i].host];

			h->at[h->n++] = (struct probe){ turns[i].called_ns, turns[i].returned_ns };
		}
}

/* From when on another blow may be to blame. */
static uint64_t next_blow(const struct tally *t, unsigned b)
{
	for (unsigned i = b + 1; i < t->n_blows; i++)
		if (t->blows[i].begin_ns > t->blows[b].end_ns)
			return t->blows[i].begin_ns;
	return NEVER;
}

/* The longest time between two answers that a blow has part in. */
static uint64_t longest_wait(const struct host_probes *h, const struct blow *b, uint64_t next)
{
	uint64_t last = b->begin_ns, longest = 0;

	for (size_t i = 0; i < h->n && last < b->end_ns; i++) {
		uint64_t at = MIN(h->at[i].returned_ns, next);

		if (at <= b->begin_ns)
			continue;
		longest = MAX(longest, at - last);
		last = at;
	}
	return longest;
}

/* From the loss of the leader until a healthy host had the answer to something that it asked after it. */
static uint64_t failover(const struct host_probes *hosts, const struct blow *b)
{
	uint64_t first = NEVER;

	for (unsigned h = 1; h <= rig->n; h++)
		for (size_t i = 0; i < hosts[h].n && !(b->sick >> h & 1); i++)
			if (hosts[h].at[i].called_ns >= b->struck_ns) {
				first = MIN(first, hosts[h].at[i].returned_ns);
				break;
			}
	return first == NEVER ? NEVER : first - b->begin_ns;
}

static int rising(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void tally_count(struct tally *t, const struct history_turn *turns, size_t n)
{
	struct host_probes hosts[RIG_HOSTS + 1] = { 0 };
	uint64_t slowest = 0;

	cr_assert_leq(n_faults, FAULT_GROUP);
	collect(hosts, turns, n);
	for (unsigned i = 0; i < t->n_blows; i++) {
		const struct blow *b = &t->blows[i];
		struct tally_kind *kind = &t->kinds[kind_of(b)];
		uint64_t next = next_blow(t, i), took;

		kind->times++;
		kind->quiet += b->quiet;
		kind->dropped += b->dropped;
		for (size_t k = 0; k < n; k++)
			kind->turns += turns[k].outcome == HISTORY_GRANTED && turns[k].returned_ns >= b->begin_ns && turns[k].returned_ns <= b->end_ns;
		for (unsigned h = 1; h <= rig->n; h++)
			if (b->quiet && !(b->sick >> h & 1))
				kind->waited_ns = MAX(kind->waited_ns, longest_wait(&hosts[h], b, next));
		took = b->leader && b->quiet && !b->topped ? failover(hosts, b) : NEVER;
		if (took == NEVER)
			continue;
		if (!t->slowest || took > slowest)
			t->slowest = b, slowest = took;
		t->failovers_ns[t->n_failovers++] = took;
	}
	qsort(t->failovers_ns, t->n_failovers, sizeof(t->failovers_ns[0]), rising);
	for (unsigned h = 1; h <= rig->n; h++)
		free(hosts[h].at);
}

uint64_t tally_failover(const struct tally *t, unsigned p)
{
	unsigned rank = (t->n_failovers * p + 99) / 100; /* the nearest one: so many are no longer */

	return t->n_failovers ? t->failovers_ns[MAX(rank, 1u) - 1] : 0;
}

static unsigned long long ms(uint64_t ns)
{
	return ns / NS_PER_MS;
}

void tally_print(const struct tally *t, const struct storm *s)
{
	for (unsigned k = 0; k < n_faults; k++) {
		const struct tally_kind *kind = &t->kinds[k];

		if (!fault_possible(s, &faults[k]))
			continue;
		fprintf(stderr, "storm:   %-26s %4u times %8zu grants meanwhile", faults[k].name, kind->times, kind->turns);
		if (kind->quiet)
			fprintf(stderr, "; a healthy host waited %5llu ms at most", ms(kind->waited_ns));
		if (faults[k].needs_netns)
			fprintf(stderr, "; %llu packets dropped", (unsigned long long)kind->dropped);
		fprintf(stderr, "\n");
	}
	if (t->slowest)
		fprintf(stderr, "storm: the leader was lost %u times; the next decision came within %llu ms (p50), %llu ms (p99), %llu ms (max: %s)\n",
			t->n_failovers, ms(tally_failover(t, 50)), ms(tally_failover(t, 99)), ms(tally_failover(t, 100)), t->slowest->fault->name);
}

/* Owned when the life ended, and not given back by then. */
static bool ended_with(const struct history_turn *t, const struct blow *b)
{
	return t->host == b->victim && t->returned_ns <= b->struck_ns && t->end != HISTORY_RELEASED &&
	       (!t->released_ns || t->released_ns > b->begin_ns) && (!t->killed_ns || t->killed_ns >= b->begin_ns);
}

void tally_print_freed(const struct tally *t, const struct history_turn *turns, size_t granted)
{
	uint64_t longest = 0;
	size_t n = 0;

	for (unsigned i = 0; i < t->n_blows; i++) {
		const struct blow *b = &t->blows[i];

		for (size_t k = 0; b->fault->ends_life && k + 1 < granted; k++)
			if (turns[k].key == turns[k + 1].key && ended_with(&turns[k], b) && turns[k + 1].returned_ns > b->begin_ns) {
				longest = MAX(longest, turns[k + 1].returned_ns - b->begin_ns);
				n++;
			}
	}
	fprintf(stderr, "storm: %zu locks of hosts whose life ended were granted again, the last after %llu ms\n", n, ms(longest));
}
