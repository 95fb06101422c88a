/* SPDX-License-Identifier: Apache-2.0 */
/*
 * witness: what every owner of a lock writes down inside its critical section, in memory that outlives it, and what must
 * hold of it. Unlike the history this looks at every single acquisition, at the moment at which it happens.
 *
 *   one owner  who enters finds nobody inside, or one that was killed and is gone; who leaves finds itself inside still.
 *   rising     who enters brings a greater token than everybody before.
 *   told       who finds a dead one inside was told PAXSHM_OWNER_DIED.
 *   for cause  nobody is told so more often than processes died that may have been the owner (they had asked for the lock,
 *              and had not been told that they are rid of it).
 *   no waiting nobody waits for a lock for longer than a bound, whoever died.
 *
 * A process is a life: a number that is never used again. "Gone" is what the kernel says of it, not what its killer
 * intends: from the order to kill it until its last instruction a victim is an owner like any other.
 *
 * Who may enter: the storm of kills, its processes, and the tests of this. The caller's memory; the clock is the caller's.
 */
#ifndef PAXSHM_TESTS_STORM_WITNESS_H
#define PAXSHM_TESTS_STORM_WITNESS_H

#include <stdbool.h>
#include <stdint.h>

#include "../../tools/paxcluster/process.h"

struct witness_life {
	struct process process; /* set before it can be doomed */
	uint64_t doomed_ns;     /* just before it was killed; 0: it was not */
	uint64_t followed_ns;   /* the next owner's entry into what it died inside of */
	uint32_t followed_in;   /* the number of that lock, plus 1 */
	bool disturbed;         /* something else than its death kept the next owner; the storm's to say */
};

/* One for each lock, in a cache line of its own. */
struct witness_lock {
	uint64_t token;      /* the greatest that anybody brought */
	uint64_t entered_ns; /* the last entry */
	uint64_t entries, told;
	uint64_t deaths; /* of processes that may have been the owner; the killer's to count */
	uint32_t inside; /* life; 0: nobody */
	uint32_t number;
} __attribute__((aligned(64)));

enum witness_fault {
	WITNESS_TWO_OWNERS = 0,
	WITNESS_TOKEN_FELL,
	WITNESS_NOT_TOLD,
	WITNESS_TOLD_WITHOUT_CAUSE,
	WITNESS_STUCK,
	WITNESS_FAULTS,
};

/* Both answer the faults found, bit 1 << fault. `died`: the grant said PAXSHM_OWNER_DIED. */
uint32_t witness_enter(struct witness_lock *l, struct witness_life *lives, uint32_t me, uint64_t token, bool died, uint64_t now_ns);
uint32_t witness_leave(struct witness_lock *l, uint32_t me, uint64_t token);
/* Inside: whether nobody else came. */
bool witness_alone(const struct witness_lock *l, uint32_t me, uint64_t token);
/* Once nobody uses the lock any more. */
uint32_t witness_sum_up(const struct witness_lock *l);
/* `since_ns` 0: it does not wait. */
bool witness_stuck(uint64_t since_ns, uint64_t now_ns, uint64_t bound_ns);

/* Whether this life has executed its last instruction. */
bool witness_gone(const struct witness_life *life);
const char *witness_fault_name(enum witness_fault fault);

#endif
