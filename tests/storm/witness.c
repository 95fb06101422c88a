/* SPDX-License-Identifier: Apache-2.0 */
#include "witness.h"

#include <stddef.h>

#include "../../lib/base.h"

#define FAULT(name) (1u << (WITNESS_##name))

bool witness_gone(const struct witness_life *life)
{
	char state;

	if (!__atomic_load_n(&life->doomed_ns, __ATOMIC_ACQUIRE))
		return false;
	state = process_state(&life->process);
	return !state || state == 'X';
}

static void note_successor(struct witness_life *dead, const struct witness_lock *l, uint64_t now_ns)
{
	dead->followed_in = l->number + 1;
	__atomic_store_n(&dead->followed_ns, now_ns, __ATOMIC_RELEASE);
}

uint32_t witness_enter(struct witness_lock *l, struct witness_life *lives, uint32_t me, uint64_t token, bool died, uint64_t now_ns)
{
	uint32_t before = __atomic_exchange_n(&l->inside, me, __ATOMIC_ACQ_REL), faults = 0;
	uint64_t greatest = __atomic_load_n(&l->token, __ATOMIC_ACQUIRE);

	if (before && !witness_gone(&lives[before]))
		faults |= FAULT(TWO_OWNERS);
	else if (before && !died)
		faults |= FAULT(NOT_TOLD);
	if (before && !faults)
		note_successor(&lives[before], l, now_ns);
	if (token <= greatest)
		faults |= FAULT(TOKEN_FELL);
	else
		__atomic_store_n(&l->token, token, __ATOMIC_RELEASE);
	/* The owner's alone to write: not atomic on purpose, as what a lock protects is not. */
	l->entries++;
	l->told += died;
	__atomic_store_n(&l->entered_ns, now_ns, __ATOMIC_RELEASE);
	return faults;
}

bool witness_alone(const struct witness_lock *l, uint32_t me, uint64_t token)
{
	return __atomic_load_n(&l->inside, __ATOMIC_ACQUIRE) == me && __atomic_load_n(&l->token, __ATOMIC_ACQUIRE) == token;
}

uint32_t witness_leave(struct witness_lock *l, uint32_t me, uint64_t token)
{
	uint32_t inside = me;
	bool alone = witness_alone(l, me, token);

	if (__atomic_compare_exchange_n(&l->inside, &inside, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) && alone)
		return 0;
	return FAULT(TWO_OWNERS);
}

uint32_t witness_sum_up(const struct witness_lock *l)
{
	return l->told > l->deaths ? FAULT(TOLD_WITHOUT_CAUSE) : 0;
}

bool witness_stuck(uint64_t since_ns, uint64_t now_ns, uint64_t bound_ns)
{
	return since_ns && now_ns > since_ns && now_ns - since_ns > bound_ns;
}

const char *witness_fault_name(enum witness_fault fault)
{
	static const char *const names[WITNESS_FAULTS] = {
		[WITNESS_TWO_OWNERS] = "two owners",
		[WITNESS_TOKEN_FELL] = "tokens not rising",
		[WITNESS_NOT_TOLD] = "owner died not told",
		[WITNESS_TOLD_WITHOUT_CAUSE] = "owner died told without a death",
		[WITNESS_STUCK] = "stuck waiters",
	};

	return fault < WITNESS_FAULTS ? names[fault] : "?";
}
