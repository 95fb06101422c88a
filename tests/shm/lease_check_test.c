/* SPDX-License-Identifier: Apache-2.0 */
/* lease_check: what is past, doubtful or of another life is not trusted; the exact clock decides near the end. */
#include "../../shm/lease_check.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "../../lib/base.h"
#include "../../shm/sys.h"

#define S NS_PER_S
#define MARGIN (2 * S)

Test(lease_check, far_from_the_deadline_the_cheap_clocks_decide)
{
	cr_assert_eq(lease_judge(100 * S, 7 * S, MARGIN, 90 * S, 97 * S), LEASE_STANDS);
	cr_assert_eq(lease_judge(100 * S, 7 * S, MARGIN, 98 * S, 105 * S), LEASE_STANDS);
	cr_assert_eq(lease_judge(100 * S, 7 * S, MARGIN, 98 * S + 1, 105 * S + 1), LEASE_ASK_BOOT);
	cr_assert_eq(lease_judge(100 * S, 7 * S, MARGIN, 100 * S - 1, 107 * S - 1), LEASE_ASK_BOOT);
	cr_assert_eq(lease_judge(100 * S, 7 * S, MARGIN, 100 * S, 107 * S), LEASE_ENDED);
	cr_assert_eq(lease_judge(0, 0, MARGIN, 1, 1), LEASE_ENDED);
}

Test(lease_check, clocks_that_have_moved_apart_are_not_trusted)
{
	uint64_t gap = 7 * S;

	cr_assert_eq(lease_judge(100 * S, gap, MARGIN, 50 * S, 57 * S + LEASE_GAP_NS), LEASE_STANDS);
	cr_assert_eq(lease_judge(100 * S, gap, MARGIN, 50 * S, 57 * S + LEASE_GAP_NS + 1), LEASE_ASK_BOOT);
	cr_assert_eq(lease_judge(100 * S, gap, MARGIN, 50 * S, 57 * S - LEASE_GAP_NS), LEASE_STANDS);
	cr_assert_eq(lease_judge(100 * S, gap, MARGIN, 50 * S, 57 * S - LEASE_GAP_NS - 1), LEASE_ASK_BOOT);
	/* CLOCK_REALTIME may stand before CLOCK_MONOTONIC. */
	cr_assert_eq(lease_judge(100 * S, -(40 * S), MARGIN, 50 * S, 10 * S), LEASE_STANDS);
}

Test(lease_check, the_margin_is_a_quarter_but_some_ticks_at_least)
{
	cr_assert_eq(lease_margin_ns(10 * S), 10 * S / 4);
	cr_assert_eq(lease_margin_ns(100 * NS_PER_MS), LEASE_TICKS_NS);
}

static struct tables renewed(uint64_t for_ns)
{
	return (struct tables){
		.incarnation = 5,
		.deadline_ns = sys_now_ns() + for_ns,
		.deadline_boot_ns = sys_boot_ns() + for_ns,
		.clock_gap_ns = lease_coarse_ns(CLOCK_REALTIME_COARSE) - lease_coarse_ns(CLOCK_MONOTONIC_COARSE),
	};
}

Test(lease_check, a_renewed_lease_stands_for_its_own_life_only)
{
	struct tables t = renewed(100 * S);

	cr_assert_eq(lease_check(&t, 5, MARGIN), 0);
	cr_assert_eq(lease_check(&t, 4, MARGIN), -ESTALE);
	t.deadline_ns = NEVER;
	cr_assert_eq(lease_check(&t, 5, MARGIN), 0);
	cr_assert_eq(lease_check(&t, 6, MARGIN), -ESTALE);
	t.deadline_ns = 0;
	cr_assert_eq(lease_check(&t, 5, MARGIN), -ENETUNREACH);
}

Test(lease_check, after_a_suspension_the_clock_that_counted_on_decides)
{
	struct tables t = renewed(100 * S);

	/* Suspended for 200 s: CLOCK_MONOTONIC has not noticed. */
	t.clock_gap_ns -= 200 * S;
	t.deadline_boot_ns -= 200 * S;
	cr_assert_eq(lease_check(&t, 5, MARGIN), -ENETUNREACH);
	/* The clock was set, and nothing else happened. */
	t = renewed(100 * S);
	t.clock_gap_ns -= 200 * S;
	cr_assert_eq(lease_check(&t, 5, MARGIN), 0);
}

Test(lease_check, near_the_deadline_the_exact_clock_decides)
{
	struct tables t = renewed(100 * S);

	t.deadline_boot_ns = sys_boot_ns() - 1;
	cr_assert_eq(lease_check(&t, 5, MARGIN), 0);
	cr_assert_eq(lease_check(&t, 5, 200 * S), -ENETUNREACH);
}

Test(lease_check, far_from_the_deadline_seconds_are_enough_and_what_hides_in_one_is_taken_off)
{
	uint64_t far = MARGIN + LEASE_SECOND_NS;

	cr_assert(lease_is_far(50 * S + far + 1, 7 * S, MARGIN, 50 * S, 57 * S));
	cr_assert_not(lease_is_far(50 * S + far, 7 * S, MARGIN, 50 * S, 57 * S));
	cr_assert(lease_is_far(900 * S, 7 * S, MARGIN, 50 * S, 56 * S + 1));
	cr_assert_not(lease_is_far(900 * S, 7 * S, MARGIN, 50 * S, 59 * S), "suspended");
	cr_assert_not(lease_is_far(900 * S, 7 * S, MARGIN, 50 * S, 55 * S), "the clock was set back");
	cr_assert_not(lease_is_far(0, 0, MARGIN, 1, 0));
}

Test(lease_check, the_cheapest_clock_alone_is_believed_only_in_a_second_in_which_all_agreed)
{
	struct tables t = renewed(100 * S);
	uint64_t agreed_ns = 0, second_ns;

	cr_assert_not(lease_stands_again(&t, 5, MARGIN, lease_second_ns(), &agreed_ns), "not asked yet");
	cr_assert_eq(lease_check_clocks(&t, 5, MARGIN, &agreed_ns), 0);
	second_ns = agreed_ns;
	cr_assert_neq(second_ns, 0);
	cr_assert(lease_stands_again(&t, 5, MARGIN, second_ns, &agreed_ns));
	cr_assert_not(lease_stands_again(&t, 5, MARGIN, second_ns + S, &agreed_ns), "the next second");
	cr_assert_not(lease_stands_again(&t, 5, MARGIN, second_ns - S, &agreed_ns), "set back");
	cr_assert_not(lease_stands_again(&t, 4, MARGIN, second_ns, &agreed_ns), "another life");
	t.deadline_ns = 0;
	cr_assert_not(lease_stands_again(&t, 5, MARGIN, second_ns, &agreed_ns), "ended");
}

Test(lease_check, clocks_that_do_not_agree_are_asked_each_time)
{
	struct tables t = renewed(100 * S);
	uint64_t agreed_ns = 0;

	t.clock_gap_ns -= 200 * S; /* the clock was set: the lease stands by the exact one */
	cr_assert_eq(lease_check_clocks(&t, 5, MARGIN, &agreed_ns), 0);
	cr_assert_eq(agreed_ns, 0);
	t.deadline_boot_ns = sys_boot_ns() - 1;
	cr_assert_eq(lease_check_clocks(&t, 5, MARGIN, &agreed_ns), -ENETUNREACH);
	cr_assert_eq(agreed_ns, 0);
}
