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

static void note(struct tally_times *times, uint64_t ns)
{
	if (times->n == times->room) {
		times->room = times->room ? 2 * times->room : 16;
		times->ns = realloc(times->ns, times->room * sizeof(times->ns[0]));
		cr_assert(times->ns);
	}
	times->ns[times->n++] = ns;
}

static void sort(struct tally_times *times)
{
	if (times->n)
		qsort(times->ns, times->n, sizeof(times->ns[0]), rising);
}

static void count_blow(struct tally *t, unsigned i, const struct host_probes *hosts, const struct history_turn *turns, size_t n)
{
	const struct blow *b = &t->blows[i];
	struct tally_kind *kind = &t->kinds[kind_of(b)];
	uint64_t next = next_blow(t, i), took, waited = 0;

	kind->times++;
	kind->dropped += b->dropped;
	for (size_t k = 0; k < n; k++)
		kind->turns += turns[k].outcome == HISTORY_GRANTED && turns[k].returned_ns >= b->begin_ns && turns[k].returned_ns <= b->end_ns;
	for (unsigned h = 1; h <= rig->n; h++)
		if (!(b->sick >> h & 1))
			waited = MAX(waited, longest_wait(&hosts[h], b, next));
	if (!b->quiet || b->topped)
		return;
	if (waited)
		note(&kind->waits, waited);
	took = b->leader ? failover(hosts, b) : NEVER;
	if (took == NEVER)
		return;
	note(&kind->failovers, took);
	note(&t->failovers, took);
}

void tally_count(struct tally *t, const struct history_turn *turns, size_t n)
{
	struct host_probes hosts[RIG_HOSTS + 1] = { 0 };

	cr_assert_leq(n_faults, FAULT_GROUP);
	collect(hosts, turns, n);
	for (unsigned i = 0; i < t->n_blows; i++)
		count_blow(t, i, hosts, turns, n);
	for (unsigned k = 0; k < n_faults; k++) {
		sort(&t->kinds[k].failovers);
		sort(&t->kinds[k].waits);
	}
	sort(&t->failovers);
	for (unsigned h = 1; h <= rig->n; h++)
		free(hosts[h].at);
}

/* Owned when the host was lost, and not given back by then. */
static bool lost_with(const struct history_turn *t, const struct blow *b)
{
	return t->host == b->victim && t->returned_ns <= b->struck_ns && t->end != HISTORY_RELEASED &&
	       (!t->released_ns || t->released_ns > b->begin_ns) && (!t->killed_ns || t->killed_ns >= b->begin_ns);
}

/* Who asked later may not have asked at once when the lock was free. */
static bool waited_for(const struct history_turn *next, const struct blow *b)
{
	return next->host != b->victim && next->called_ns <= b->struck_ns && next->returned_ns > b->begin_ns;
}

void tally_count_freed(struct tally *t, const struct history_turn *turns, size_t granted)
{
	for (unsigned i = 0; i < t->n_blows; i++) {
		const struct blow *b = &t->blows[i];

		for (size_t k = 0; b->fault->loses_locks && k + 1 < granted; k++)
			if (turns[k].key == turns[k + 1].key && lost_with(&turns[k], b) && waited_for(&turns[k + 1], b))
				note(&t->freed, turns[k + 1].returned_ns - b->begin_ns);
	}
	sort(&t->freed);
}

uint64_t tally_percentile(const struct tally_times *times, unsigned p)
{
	unsigned rank = (times->n * p + 99) / 100; /* the nearest one: so many are no longer */

	return times->n ? times->ns[MAX(rank, 1u) - 1] : 0;
}

static void print_times(const char *what, const struct tally_times *times)
{
	unsigned long long p[3];
	const unsigned of[3] = { 50, 99, 100 };

	if (!times->n)
		return;
	for (unsigned i = 0; i < 3; i++)
		p[i] = tally_percentile(times, of[i]) / NS_PER_MS;
	fprintf(stderr, "; %s %llu/%llu/%llu ms (%u)", what, p[0], p[1], p[2], times->n);
}

void tally_print(const struct tally *t, const struct storm *s)
{
	fprintf(stderr, "storm: times are at p50/p99/most (of how many)\n");
	for (unsigned k = 0; k < n_faults; k++) {
		const struct tally_kind *kind = &t->kinds[k];

		if (!fault_possible(s, &faults[k]))
			continue;
		fprintf(stderr, "storm:   %-31s %4u times %8zu grants meanwhile", faults[k].name, kind->times, kind->turns);
		if (faults[k].needs_netns)
			fprintf(stderr, "; %llu packets dropped", (unsigned long long)kind->dropped);
		print_times("healthy hosts waited", &kind->waits);
		print_times("without its leader", &kind->failovers);
		fprintf(stderr, "\n");
	}
	fprintf(stderr, "storm: all");
	print_times("from the loss of a leader to the next decision", &t->failovers);
	print_times("from the loss of a host until its locks were granted to those who waited", &t->freed);
	fprintf(stderr, "\n");
}

void tally_free(struct tally *t)
{
	for (unsigned k = 0; k < n_faults; k++) {
		free(t->kinds[k].failovers.ns);
		free(t->kinds[k].waits.ns);
	}
	free(t->failovers.ns);
	free(t->freed.ns);
}
