/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster: cores of one instance on a bad network in one thread, all drawn from a seed. Packets are
 * lost, doubled, late and overtake each other; links are cut, one way or both; processes die at any
 * change of their memory, after the commit with some of what they wanted to say unsaid, and come back, or
 * are stopped for a while; voters lose their memory, never a majority of them; leaders hand over. Clocks show
 * different times and run fast or slow as far as was agreed.
 *
 * After every step it is checked that
 *   - a slot holds one value for all, which a majority of voters accepted in one ballot;
 *   - logs are equal at equal index;
 *   - no host's promise, and no host's chosen index, ever falls;
 *   - a ballot belongs to one life of one host and proposes one value in a slot;
 *   - a leader has accepted what it sends;
 *   - a rolled-back memory is, byte for byte, that of the last commit;
 *   - at no real time have two hosts a leader lease, each by its own clock;
 *   - while a host leads under its lease, no majority has promised another's higher ballot;
 *   - who answered a heartbeat promises nothing to another host for a lease by its clock, unless that leader hands over.
 * At the end all faults stop, and a value proposed then must reach everybody; a leader that hands over must be
 * followed by the host of its choice; and while a majority is well, faults of the others may change the leader at
 * most CLUSTER_CHANGES_MAX times, and not at all when it belongs to that majority.
 */
#ifndef PAXSHM_TESTS_NET_PAXOS_CLUSTER_H
#define PAXSHM_TESTS_NET_PAXOS_CLUSTER_H

#include <stdint.h>

#define CLUSTER_CHANGES_MAX 2u

/* What really happened, so that a campaign can show that it was no idle one. */
struct cluster_counts {
	uint64_t lost, doubled, late, cuts, deaths_in_step, deaths_after_commit, rollbacks, memories_lost, pauses;
	uint64_t elections, deposed, proposed, chosen, noops, early, snapshots, fetched, beyond_gap;
	uint64_t expired, moves, calls, changes; /* leases that ran out; MOVEs said; successors that stood; of leader, watched */
};

struct cluster_plan {
	uint64_t seed;
	uint32_t voters, observers;
};

/* Each runs a cluster and answers NULL, or what went wrong and when (in a static buffer). Adds to *counts. */

const char *cluster_run(const struct cluster_plan *plan, struct cluster_counts *counts); /* all of the above */

/* Of five voters one reaches all; the others, the leader among them, reach only that one: it is elected, and stays. */
const char *cluster_bridge(const struct cluster_plan *plan, struct cluster_counts *counts);

/* A voter, perhaps the leader, is heard by all and hears nobody, or the other way round. */
const char *cluster_one_way(const struct cluster_plan *plan, struct cluster_counts *counts);

/* The leader dies; in *ret_ns, real time from its last heartbeat until another's LEADS is chosen. */
const char *cluster_failover(const struct cluster_plan *plan, struct cluster_counts *counts, uint64_t *ret_ns);
/* The same of a leader that hears nobody any more, from then on. */
const char *cluster_deaf_failover(const struct cluster_plan *plan, struct cluster_counts *counts, uint64_t *ret_ns);

#endif
