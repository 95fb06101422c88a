/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease_check: may this host still trust what it was granted? Asked after a gate was acquired, by reading the header of
 * the tables; no agent is asked.
 *
 * Who writes: the agent. With each renewal: deadline_boot_ns, deadline_ns, then clock_gap_ns, both deadlines counted from
 * the request that was renewed; so who finds the new gap finds the new deadlines. The incarnation before its first
 * deadline, and only when every gate of the one before has lapsed; so who finds a deadline of a new incarnation finds
 * that incarnation afterwards.
 *
 * Two cheap clocks do in general, far from the end even one of them and the time in seconds. They lag by up to a tick, so
 * near the end an exact one decides. CLOCK_MONOTONIC stands
 * still while the machine is suspended, and CLOCK_REALTIME does not: when the distance of the two has changed, that may
 * be why, and CLOCK_BOOTTIME decides. A virtual machine that was paused shows in none of them: there only tokens protect.
 *
 * Who may enter: lib, tests.
 */
#ifndef PAXSHM_SHM_LEASE_CHECK_H
#define PAXSHM_SHM_LEASE_CHECK_H

#include <errno.h>
#include <time.h>

#include "../lib/base.h"
#include "../lib/mutant.h"
#include "atom.h"
#include "layout.h"

#define LEASE_GAP_NS 50000000ull    /* the clocks' distance may move so far by itself between two renewals */
#define LEASE_TICKS_NS 100000000ull /* ten ticks of the slowest timer */
#define LEASE_SECOND_NS (NS_PER_S + 2 * LEASE_GAP_NS)

enum lease_verdict { LEASE_STANDS,
		     LEASE_ENDED,
		     LEASE_ASK_BOOT }; /* the exact clock decides */

/* Within this distance of the deadline the exact clock is asked. */
static inline uint64_t lease_margin_ns(uint64_t lease_ns)
{
	return lease_ns / 4 > LEASE_TICKS_NS ? lease_ns / 4 : LEASE_TICKS_NS;
}

/* What the two cheap clocks say. */
static inline enum lease_verdict lease_judge(uint64_t deadline_ns, uint64_t gap_ns, uint64_t margin_ns, uint64_t now_ns, uint64_t real_ns)
{
	uint64_t moved = real_ns - now_ns - gap_ns; /* goes round below 0 */

	if (now_ns >= deadline_ns) /* a lagging clock is past it already; 0: the tables have moved */
		return LEASE_ENDED;
	if (deadline_ns - now_ns < margin_ns || moved + LEASE_GAP_NS > 2 * LEASE_GAP_NS)
		return LEASE_ASK_BOOT;
	return LEASE_STANDS;
}

static inline uint64_t lease_coarse_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* The exact clock. */
bool lease_stands_by_boot(const struct tables *t);

/* CLOCK_REALTIME in whole seconds, at a third of the price of any other clock. */
static inline uint64_t lease_second_ns(void)
{
	return (uint64_t)time(NULL) * NS_PER_S;
}

/* Far from the deadline that is enough: what hides in a second is taken off. false: lease_judge() decides. */
static inline bool lease_is_far(uint64_t deadline_ns, uint64_t gap_ns, uint64_t margin_ns, uint64_t now_ns, uint64_t second_ns)
{
	return deadline_ns > now_ns && deadline_ns - now_ns > margin_ns + LEASE_SECOND_NS &&
	       now_ns + gap_ns + LEASE_GAP_NS - second_ns < LEASE_SECOND_NS; /* goes round below 0 */
}

/* The clocks first: they are calls, and whatever is loaded is loaded after them. A deadline that was renewed in between says
 * that the lease stood all the time; a gap that moved in between sends to the exact clock. */
static inline bool lease_stands(const struct tables *t, uint64_t margin_ns, uint64_t *ret_now_ns)
{
	uint64_t second_ns = lease_second_ns(), now_ns = lease_coarse_ns(CLOCK_MONOTONIC_COARSE);
	/* Acquire, the gap first: pairs with the agent's release of it, after the deadlines. */
	uint64_t gap_ns = atom_load_acquire(&t->clock_gap_ns);
	uint64_t deadline_ns = atom_load_acquire(&t->deadline_ns);
	enum lease_verdict verdict;

	*ret_now_ns = now_ns;
	if (deadline_ns == NEVER || lease_is_far(deadline_ns, gap_ns, margin_ns, now_ns, second_ns))
		return true;
	verdict = lease_judge(deadline_ns, gap_ns, margin_ns, now_ns, lease_coarse_ns(CLOCK_REALTIME_COARSE));
	return verdict == LEASE_STANDS || (verdict == LEASE_ASK_BOOT && lease_stands_by_boot(t));
}

/* 0; -ENETUNREACH: the lease has ended, or is suspended; -ESTALE: the host is in another life than `incarnation`. Inline,
 * because it is a third of what an uncontended lock costs. *ret_now_ns: CLOCK_MONOTONIC_COARSE, which has been read. */
static inline int lease_check_at(const struct tables *t, uint64_t incarnation, uint64_t margin_ns, uint64_t *ret_now_ns)
{
	bool stands = lease_stands(t, margin_ns, ret_now_ns);

	/* Last: whose deadline it was. */
	if (atom_load_acquire(&t->incarnation) != incarnation && !MUTANT(12))
		return -ESTALE;
	return stands || MUTANT(11) ? 0 : -ENETUNREACH;
}

static inline int lease_check(const struct tables *t, uint64_t incarnation, uint64_t margin_ns)
{
	uint64_t now_ns;

	return lease_check_at(t, incarnation, margin_ns, &now_ns);
}

/* For who gives back, by the cheapest clock alone, lease_second_ns(): true: it stands; false: lease_check() decides.
 * CLOCK_REALTIME goes on while the machine is suspended; what hides from this is a lease that ended after somebody had set
 * that clock back, and before the lease was renewed. */
static inline bool lease_glance(const struct tables *t, uint64_t incarnation, uint64_t margin_ns, uint64_t second_ns)
{
	uint64_t gap_ns = atom_load_acquire(&t->clock_gap_ns);
	uint64_t deadline_ns = atom_load_acquire(&t->deadline_ns);

	if (deadline_ns != NEVER && second_ns + LEASE_SECOND_NS - gap_ns + margin_ns >= deadline_ns)
		return false;
	return atom_load_acquire(&t->incarnation) == incarnation;
}

/* As lease_check(), and notes in *agreed_ns the second in which the clocks were found to agree with the gap published. */
int lease_check_clocks(const struct tables *t, uint64_t incarnation, uint64_t margin_ns, uint64_t *agreed_ns);

/* For who acquires again and again: the cheapest clock alone, and all of them once in each of its seconds: true: the lease
 * stands; false: lease_check_clocks() decides. `second_ns`: lease_second_ns(), read after the acquisition; *agreed_ns: atomic,
 * 0 at first, of one process and these tables.
 * So a clock that was set back hides the end of the lease only while it shows once more the very second in which it
 * agreed: for less than a second, when the lease was not renewed since. An owner who got through there is the one whom
 * tokens are for, as is one who was stopped right behind any look; lease_check() itself, and so paxshm_lock_check(),
 * always asks both clocks. */
static inline bool lease_stands_again(const struct tables *t, uint64_t incarnation, uint64_t margin_ns, uint64_t second_ns,
				      const uint64_t *agreed_ns)
{
	return second_ns == atom_load_relaxed(agreed_ns) && lease_glance(t, incarnation, margin_ns, second_ns);
}

/* CLOCK_MONOTONIC is not past this, in a second in which the clocks agree. */
static inline uint64_t lease_latest_ns(const struct tables *t, uint64_t second_ns)
{
	return second_ns + LEASE_SECOND_NS - atom_load_relaxed(&t->clock_gap_ns);
}

/* CLOCK_MONOTONIC, about: not late, and up to a second early when no agent lives. For people. */
static inline uint64_t lease_about_ns(const struct tables *t, uint64_t second_ns)
{
	uint64_t by_second_ns = second_ns - atom_load_relaxed(&t->clock_gap_ns), by_agent_ns = atom_load_relaxed(&t->clock_ns);

	return MAX(by_second_ns, by_agent_ns);
}

#endif
