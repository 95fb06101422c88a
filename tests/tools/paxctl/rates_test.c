/* SPDX-License-Identifier: Apache-2.0 */
#include "../../../tools/paxctl/rates.h"

#include <criterion/criterion.h>

#define SECOND 1000000000ull

static struct counts before;

static struct paxshm_lock_info lock_of(uint64_t series, uint32_t acquired, uint64_t handed, uint64_t revoked)
{
	return (struct paxshm_lock_info){ .series = series, .acquired = acquired, .handed = handed, .revoked = revoked };
}

static void saw(struct paxshm_lock_info lock)
{
	cr_assert_eq(counts_add(&before, &lock), 0);
	counts_sort(&before);
}

static struct rate rate_of(struct paxshm_lock_info lock)
{
	return rate_since(&before, &lock, before.taken_ns + 2 * SECOND);
}

static void setup(void)
{
	before = (struct counts){ .taken_ns = 5 };
}

static void teardown(void)
{
	counts_release(&before);
}

TestSuite(rates, .init = setup, .fini = teardown);

Test(rates, rise_is_told_in_seconds)
{
	saw(lock_of(7, 100, 10, 1));
	saw(lock_of(3, 1, 1, 1));
	saw(lock_of(9, 1, 1, 1));

	struct rate rate = rate_of(lock_of(7, 300, 20, 2));

	cr_expect(rate.known);
	cr_expect_float_eq(rate.acquired, 100, 1e-9);
	cr_expect_float_eq(rate.handed, 5, 1e-9);
	cr_expect_float_eq(rate.revoked, 0.5, 1e-9);
}

Test(rates, count_goes_round)
{
	saw(lock_of(7, UINT32_MAX - 9, 0, 0));
	cr_expect_float_eq(rate_of(lock_of(7, 10, 0, 0)).acquired, 10, 1e-9);
}

/* A session may write anything there. */
Test(rates, count_that_fell_is_no_rate)
{
	saw(lock_of(7, 0, 10, 10));

	struct rate rate = rate_of(lock_of(7, 0, 9, 0));

	cr_expect_eq(rate.handed, 0);
	cr_expect_eq(rate.revoked, 0);
}

Test(rates, lock_that_was_not_here_has_none)
{
	cr_expect_not(rate_of(lock_of(7, 1, 1, 1)).known, "no look before");
	saw(lock_of(7, 1, 1, 1));
	cr_expect_not(rate_of(lock_of(8, 1, 1, 1)).known, "another series");
	cr_expect_not(rate_of(lock_of(0, 1, 1, 1)).known, "another host's");
	cr_expect_not(rate_since(&before, &(struct paxshm_lock_info){ .series = 7 }, before.taken_ns).known, "no time has passed");
}

Test(rates, other_hosts_locks_take_no_room)
{
	saw(lock_of(0, 1, 1, 1));
	cr_expect_eq(before.n, 0);
}

Test(rates, many_locks_are_found_again)
{
	for (uint64_t i = 1000; i > 0; i--) {
		struct paxshm_lock_info lock = lock_of(i, (uint32_t)i, 0, 0);

		cr_assert_eq(counts_add(&before, &lock), 0);
	}
	counts_sort(&before);
	for (uint64_t i = 1; i <= 1000; i++)
		cr_assert_float_eq(rate_of(lock_of(i, (uint32_t)(3 * i), 0, 0)).acquired, (double)i, 1e-9);
}

Test(rates, hottest_come_first_and_the_rest_falls_out)
{
	struct hot at[3];
	struct hottest h = { .at = at, .max = 3 };
	static const struct {
		double acquired;
		uint32_t waiters;
	} locks[] = { { 1, 0 }, { 5, 0 }, { 1, 9 }, { 0, 99 }, { 7, 0 } };

	for (size_t i = 0; i < sizeof(locks) / sizeof(locks[0]); i++) {
		struct paxshm_lock_info lock = { .series = i + 1, .waiters = locks[i].waiters };

		hottest_add(&h, &lock, (struct rate){ .known = true, .acquired = locks[i].acquired });
	}
	cr_assert_eq(h.n, 3);
	cr_expect_eq(at[0].lock.series, 5);
	cr_expect_eq(at[1].lock.series, 2);
	cr_expect_eq(at[2].lock.series, 3, "as often, and more wait");
}
