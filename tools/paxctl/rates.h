/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rates: how fast the counts of locks rise between two looks at all of them, and which locks are used most.
 *
 * Who may enter: top.
 */
#ifndef PAXSHM_TOOLS_PAXCTL_RATES_H
#define PAXSHM_TOOLS_PAXCTL_RATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../lib/paxshm.h"

/* One look: the counts of each lock that this host has. All zeros: none yet. */
struct counts {
	struct count *at; /* by series, once counts_sort() was called */
	size_t n, room;
	uint64_t taken_ns;
};

/* 0, -ENOMEM. Locks of other hosts have no counts here and are passed over. */
int counts_add(struct counts *c, const struct paxshm_lock_info *lock);
void counts_sort(struct counts *c);
void counts_release(struct counts *c);

struct rate { /* a second */
	bool known;
	double acquired, handed, revoked;
};

/* Not known: the lock was not here at the look before, or has been away meanwhile. */
struct rate rate_since(const struct counts *before, const struct paxshm_lock_info *lock, uint64_t now_ns);

struct hot {
	struct paxshm_lock_info lock;
	struct rate rate;
};

/* The hottest first, at most `max`: those acquired most often, then those for which most wait. */
struct hottest {
	struct hot *at;
	size_t n, max;
};

void hottest_add(struct hottest *h, const struct paxshm_lock_info *lock, struct rate rate);

#endif
