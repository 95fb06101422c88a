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

struct tally_kind {
	unsigned times, quiet;
	size_t turns;       /* granted while it lasted */
	uint64_t dropped;   /* packets */
	uint64_t waited_ns; /* the longest between two decisions on a healthy host */
};

struct tally {
	struct blow blows[TALLY_BLOWS];
	unsigned n_blows;
	struct tally_kind kinds[FAULT_GROUP]; /* as faults[] */
	uint64_t failovers_ns[TALLY_BLOWS];   /* rising, once counted; of losses from quiet, and nothing on top */
	unsigned n_failovers;
	const struct blow *slowest; /* of those */
};

/* Counts. The history as crew_history() gives it, not sorted yet. A turn whose key is a probe's is a decision. */
void tally_count(struct tally *t, const struct history_turn *turns, size_t n);
/* The p-th percentile of failovers, 0 … 100. */
uint64_t tally_failover(const struct tally *t, unsigned p);
void tally_print(const struct tally *t, const struct storm *s);
/* How long after the end of a host's life its locks were granted again, at most. Turns as history_judge() leaves them. */
void tally_print_freed(const struct tally *t, const struct history_turn *turns, size_t granted);

#endif
