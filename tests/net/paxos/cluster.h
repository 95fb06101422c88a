/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster: cores of one instance on a bad network in one thread, all drawn from a seed. Packets are
 * lost, doubled, late and overtake each other; links are cut, one way or both; processes die at any
 * change of their memory, after the commit with some of what they wanted to say unsaid, and come back;
 * voters lose their memory, never a majority of them.
 *
 * After every step it is checked that
 *   - a slot holds one value for all, which a majority of voters accepted in one ballot;
 *   - logs are equal at equal index;
 *   - no host's promise, and no host's chosen index, ever falls;
 *   - a ballot belongs to one life of one host and proposes one value in a slot;
 *   - a leader has accepted what it sends;
 *   - a rolled-back memory is, byte for byte, that of the last commit.
 * At the end all faults stop, and a value proposed then must reach everybody.
 */
#ifndef PAXSHM_TESTS_NET_PAXOS_CLUSTER_H
#define PAXSHM_TESTS_NET_PAXOS_CLUSTER_H

#include <stdint.h>

/* What really happened, so that a campaign can show that it was no idle one. */
struct cluster_counts {
	uint64_t lost, doubled, late, cuts, deaths_in_step, deaths_after_commit, rollbacks, memories_lost;
	uint64_t elections, deposed, proposed, chosen, noops, early, snapshots, fetched, beyond_gap;
};

struct cluster_plan {
	uint64_t seed;
	uint32_t voters, observers;
};

/* NULL, or what went wrong and when (in a static buffer). Adds to *counts. */
const char *cluster_run(const struct cluster_plan *plan, struct cluster_counts *counts);

#endif
