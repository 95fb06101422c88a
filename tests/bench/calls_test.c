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

Test(calls, who_cannot_prepare_is_not_counted)
{
	int n = 0;

	cr_assert_eq(calls_count(not_ready, none, &n), -ECHILD);
}
