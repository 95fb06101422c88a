/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "../../lib/paxshm.h"
#include "../../shm/sys.h"

/* The errors that the manual lists. */
static const int listed[] = { ECONNREFUSED, ENOTCONN, ENETUNREACH, EBUSY, ETIMEDOUT, ECANCELED, EDEADLK, ESTALE, ESRCH, EEXIST,
			      EPIPE, EAGAIN, EPROTO, ENOSPC, ENOMEM, EMSGSIZE, ENAMETOOLONG, EINVAL, EACCES, EPERM, ENOSYS };

#define LISTED (sizeof(listed) / sizeof(listed[0]))

Test(strerror, each_listed_error_has_words_of_its_own)
{
	for (size_t i = 0; i < LISTED; i++) {
		const char *words = paxshm_strerror(-listed[i]);

		cr_expect(words != NULL && strlen(words) > 10);
		cr_expect_null(strchr(words, '\n'));
		cr_expect_str_neq(words, strerror(listed[i]), "errno %d has the words of libc", listed[i]);
		for (size_t j = 0; j < i; j++)
			cr_expect_str_neq(words, paxshm_strerror(-listed[j]));
	}
}

Test(strerror, no_quorum_is_said_in_words)
{
	cr_assert(strstr(paxshm_strerror(PAXSHM_NO_QUORUM), "no quorum"));
}

Test(strerror, anything_else_is_never_null)
{
	cr_assert_str_eq(paxshm_strerror(0), "success");
	cr_assert_str_eq(paxshm_strerror(7), "success");
	cr_assert_str_eq(paxshm_strerror(-EMFILE), strerror(EMFILE));
	cr_assert_not_null(paxshm_strerror(-4000));
	cr_assert_not_null(paxshm_strerror(INT_MIN));
}

Test(strerror, version_is_the_headers)
{
	char expected[32];

	snprintf(expected, sizeof(expected), "%d.%d.%d", PAXSHM_VERSION_MAJOR, PAXSHM_VERSION_MINOR, PAXSHM_VERSION_PATCH);
	cr_assert_str_eq(paxshm_version(), expected);
}

Test(strerror, deadline_lies_so_far_ahead)
{
	uint64_t before = sys_now_ns(), at = paxshm_deadline_ms(500), after = sys_now_ns();

	cr_assert_geq(at, before + 500000000ull);
	cr_assert_leq(at, after + 500000000ull);
}

Test(strerror, deadline_too_far_for_the_clock_is_far_and_not_none)
{
	cr_assert_gt(paxshm_deadline_ms(UINT64_MAX), paxshm_deadline_ms(1ull << 40));
	cr_assert_neq(paxshm_deadline_ms(UINT64_MAX), 0);
}
