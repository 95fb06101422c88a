/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tally: what a storm's blows meant for those who were not hit, read from the history: grants meanwhile, the longest time
 * that a healthy host waited for a decision, and how soon after the loss of a leader there was one again.
 *
 * Who may enter: the storm. Pure, but for printing.
 */
#ifndef PAXSHM_TESTS_STORM_TALLY_H
#define PAXSHM_TESTS_STORM_TALLY_H

#include "fault.h"
#include "history.h"

#define TALLY_BLOWS 4096

/* Durations; rising, once counted. */
struct tally_times {
	uint64_t *ns;
	unsigned n, room;
};

struct tally_kind {
	unsigned times, quiet;
	size_t turns;                        /* granted while it lasted */
	uint64_t dropped;                    /* packets */
	struct tally_times failovers, waits; /* from quiet, and nothing on top: of losses of a leader; the longest on a healthy host between two decisions */
};

struct tally {
	struct blow blows[TALLY_BLOWS];
	unsigned n_blows;
	struct tally_kind kinds[FAULT_GROUP]; /* as faults[] */
	struct tally_times failovers;         /* of all kinds */
	struct tally_times freed;             /* from the end of a host's life or link until who waited had a lock of its own */
};

/* Counts. The history as crew_history() gives it, not sorted yet. A turn whose key is a probe's is a decision. */
void tally_count(struct tally *t, const struct history_turn *turns, size_t n);
/* How soon the locks of a host that was lost with them were granted to those who wanted them by then. Turns as
 * history_judge() leaves them. */
void tally_count_freed(struct tally *t, const struct history_turn *turns, size_t granted);
/* The p-th percentile, 0 … 100; 0 of none. */
uint64_t tally_percentile(const struct tally_times *times, unsigned p);
void tally_print(const struct tally *t, const struct storm *s);
void tally_free(struct tally *t);

#endif
