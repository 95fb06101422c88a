/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cut: links of a rig with network namespaces that carry nothing, or not all, in one direction or both. Packets are
 * dropped where they pass the bridge between the hosts, all links at one instant, and are counted.
 *
 * One cut at a time. Assert, as the rig does.
 */
#ifndef PAXSHM_TESTS_STORM_CUT_H
#define PAXSHM_TESTS_STORM_CUT_H

#include "../cluster/rig.h"

struct cut {
	unsigned percent; /* dropped by chance; 0: all */
	bool from_to[RIG_HOSTS + 1][RIG_HOSTS + 1];
};

/* Whether packets can be dropped there at all; `said` is why not. */
bool cut_possible(char *said, size_t cap);

void cut_both(struct cut *c, unsigned a, unsigned b);
/* From and to all others. */
void cut_deaf(struct cut *c, unsigned n);
void cut_mute(struct cut *c, unsigned n);
/* Everything between hosts of the set and hosts outside. Bit n is host n. */
void cut_between(struct cut *c, unsigned set);

void cut_begin(const struct cut *c);
/* True: packets were dropped already of each kind that is cut, those towards a host in `to` and those from one in `from`
 * (sets; empty: not asked). */
bool cut_felt(const struct cut *c, unsigned from, unsigned to);
uint64_t cut_end(void); /* how many packets were dropped */

#endif
