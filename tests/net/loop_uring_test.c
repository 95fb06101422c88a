/* SPDX-License-Identifier: Apache-2.0 */
/* loop_uring: when it is taken, what is said when it is not, and what a turn costs. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "../../lib/base.h"
#include "loop_rig.h"

/* ---- opening ---- */

static void forbid_io_uring(int with_errno)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)with_errno),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { ARRAY_LEN(filter), filter };

	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

ParameterizedTestParameters(loop_uring, forbidden_io_uring_is_told_and_epoll_taken)
{
	static int errors[] = { EPERM, ENOSYS, ENOMEM };

	return cr_make_param_array(int, errors, ARRAY_LEN(errors));
}

ParameterizedTest(int *error, loop_uring, forbidden_io_uring_is_told_and_epoll_taken)
{
	struct loop *untouched = (struct loop *)1, *l = untouched;
	const char *why = NULL;

	forbid_io_uring(*error);
	cr_assert_eq(loop_open(&l, LOOP_URING, &why), -ENOSYS);
	cr_expect_eq(l, untouched);
	cr_expect_not_null(why);
	why = NULL;
	cr_assert_eq(loop_open(&l, LOOP_AUTO, &why), 0);
	cr_expect_str_eq(loop_engine_name(l), "epoll");
	cr_expect_not_null(why);
	loop_close(l);
}

Test(loop_uring, forced_epoll_is_epoll)
{
	const char *why = "untouched";
	struct loop *l;

	cr_assert_eq(loop_open(&l, LOOP_EPOLL, &why), 0);
	cr_expect_str_eq(loop_engine_name(l), "epoll");
	cr_expect_null(why);
	loop_close(l);
	loop_close(NULL);
}

Test(loop_uring, auto_takes_io_uring_where_it_works)
{
	const char *why;
	struct loop *l;

	loop_close(open_engine(LOOP_PLAIN));
	cr_assert_eq(loop_open(&l, LOOP_AUTO, &why), 0);
	cr_expect(strncmp(loop_engine_name(l), "io_uring", 8) == 0);
	cr_expect_null(why);
	loop_close(l);
}

/* ---- turns ---- */

Test(loop_uring, io_uring_makes_one_system_call_a_turn)
{
	struct loop *l = open_engine(LOOP_DEFERRED);
	int pair[2];

	make_pair(pair);
	cr_assert_eq(loop_receive(l, pair[0], 1), 0);
	cr_assert_eq(loop_receive(l, pair[1], 2), 0);
	for (unsigned i = 1; i <= 100; i++) {
		cr_assert_eq(loop_send(l, pair[0], "ping", 4, 3), 0);
		cr_assert_eq(loop_send(l, pair[1], "pong", 4, 4), 0);
		TURN_LOOP_UNTIL(l, count_events(LOOP_RECEIVED, 1) + count_events(LOOP_RECEIVED, 2) + count_events(LOOP_SENT, 3) + count_events(LOOP_SENT, 4) == 4 * i);
	}
	cr_expect_eq(loop_counts(l).enters, loop_counts(l).turns);
	cr_expect_eq(loop_counts(l).events, 400);
	loop_close(l);
}
