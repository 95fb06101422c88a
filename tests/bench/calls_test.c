/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../bench/calls.h"

static void *ready(const void *with) { return (void *)with; }
static void *not_ready(const void *with) { return (void)with, NULL; }
static void none(void *n) { *(volatile int *)n += 1; }

static void some(void *n)
{
	for (int i = 0; i < *(int *)n; i++)
		syscall(SYS_getuid);
}

/* Where a process may not trace another, nothing can be counted. */
static void counts(void (*work)(void *), int n, long expected)
{
	long calls = calls_count(ready, work, &n);

	if (calls == -EPERM)
		cr_skip_test("no tracing here");
	cr_assert_eq(calls, expected);
}

Test(calls, code_without_a_system_call_counts_none) { counts(none, 1, 0); }
Test(calls, every_system_call_counts) { counts(some, 17, 17); }

static void add_up(void *n)
{
	volatile int sum = 0;

	for (int i = 0; i < *(int *)n; i++)
		sum += i;
}

static long steps(int n, long most)
{
	long steps = calls_steps(ready, add_up, &n, most);

	if (steps == -EPERM)
		cr_skip_test("no tracing here");
	return steps;
}

Test(calls, instructions_are_counted_alike_each_time_and_rise_with_the_work)
{
	long few = steps(100, 100000), some = steps(200, 100000), more = steps(300, 100000);

	cr_assert(few > 200, "a turn takes more than two instructions: %ld", few);
	cr_assert(some >= few + 200, "%ld, %ld", few, some);
	cr_assert_eq(more - some, some - few);
	cr_assert_eq(steps(200, 100000), some);
}

Test(calls, too_many_instructions_are_said)
{
	cr_assert_eq(steps(1000000, 1000), -ETIMEDOUT);
}

Test(calls, who_cannot_prepare_is_not_counted)
{
	int n = 0;

	cr_assert_eq(calls_count(not_ready, none, &n), -ECHILD);
	cr_assert_eq(calls_steps(not_ready, none, &n, 1000), -ECHILD);
}
