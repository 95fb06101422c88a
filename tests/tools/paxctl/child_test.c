/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../tools/paxctl/child.h"

/* What the command writes there shows that it ran; the end of file, that all who might have run are gone. */
static int ran[2];

static void setup(void)
{
	cr_assert_eq(pipe(ran), 0);
}

TestSuite(child, .init = setup);

/* sh -c SCRIPT, with `ran` as its standard output. */
static int start(struct child *c, const char *script)
{
	char line[512], *argv[] = { "sh", "-c", line, NULL };

	snprintf(line, sizeof(line), "exec >/dev/fd/%d; %s", ran[1], script);
	return child_fork(c, "the key", argv);
}

/* All that the command wrote, once every process that could write is gone. */
static const char *written(void)
{
	static char text[256];
	size_t len = 0;
	ssize_t n;

	close(ran[1]);
	while ((n = read(ran[0], text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = 0;
	return text;
}

/* Until the command says that it stands. */
static void await_ready(void)
{
	char line[6];

	cr_assert_eq(read(ran[0], line, sizeof(line)), sizeof(line)); /* "ready\n", written at once */
}

static uint64_t always(void *context)
{
	(void)context;
	return CHILD_MAY_RUN;
}

static uint64_t never(void *context)
{
	(void)context;
	return 0;
}

/* What `watch` answers: by a time, renewed at each look, or renewed once it was told. */
static struct {
	uint64_t end, renewal_ms;
	unsigned looks;
} lease;

static uint64_t until_end(void *context)
{
	(void)context;
	return lease.end;
}

static uint64_t renewed_at_each_look(void *context)
{
	(void)context;
	lease.looks++;
	return child_now_ms() + lease.renewal_ms;
}

static uint64_t renewed_too_late(void *context)
{
	(void)context;
	return lease.looks++ ? CHILD_MAY_RUN : lease.end;
}

static int go(struct child *c)
{
	int life = open("/dev/full", O_WRONLY | O_CLOEXEC);
	int rc = child_go(c, &(struct child_word){ .token = 77, .owner_died = true }, life);

	close(life);
	return rc;
}

Test(child, dropped_it_has_run_nothing)
{
	struct child c;

	cr_assert_eq(start(&c, "echo ran"), 0);
	child_drop(&c);
	cr_assert_str_eq(written(), "");
}

Test(child, when_its_parent_dies_first_it_runs_nothing)
{
	pid_t parent = fork();

	if (parent == 0) {
		struct child c;
		start(&c, "echo ran");
		_exit(0);
	}
	waitpid(parent, NULL, 0);
	cr_assert_str_eq(written(), "");
}

Test(child, let_go_it_runs_and_knows_key_and_token)
{
	struct child c;

	cr_assert_eq(start(&c, "echo $PAXSHM_KEY $PAXSHM_TOKEN $PAXSHM_OWNER_DIED; exit 9"), 0);
	cr_assert_eq(go(&c), 0);
	int status = child_wait(&c, 2000, always, NULL);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 9);
	cr_assert_str_eq(written(), "the key 77 1\n");
	child_drop(&c);
}

Test(child, it_holds_the_life_descriptor_through_exec)
{
	struct child c;

	/* /dev/full stands in for it: nothing else opens that. */
	cr_assert_eq(start(&c, "for f in /proc/$$/fd/*; do readlink $f; done | grep /dev/full"), 0);
	cr_assert_eq(go(&c), 0);
	child_wait(&c, 2000, always, NULL);
	cr_assert_str_eq(written(), "/dev/full\n");
	child_drop(&c);
}

Test(child, killed_before_it_ran_its_end_is_told)
{
	struct child c;

	cr_assert_eq(start(&c, "echo ran"), 0);
	kill(c.pid, SIGKILL);
	poll(&(struct pollfd){ .fd = c.pidfd, .events = POLLIN }, 1, -1);
	cr_assert_eq(go(&c), -EPIPE);
	int status = child_wait(&c, 2000, always, NULL);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	child_drop(&c);
}

Test(child, when_the_lock_is_lost_it_is_told_to_end)
{
	struct child c;

	cr_assert_eq(start(&c, "trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.01; done"), 0);
	cr_assert_eq(go(&c), 0);
	await_ready();
	int status = child_wait(&c, 2000, never, NULL);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	cr_assert_str_eq(written(), "told\n");
	child_drop(&c);
}

Test(child, who_does_not_end_is_killed)
{
	struct child c;

	cr_assert_eq(start(&c, "trap '' TERM; echo ready; while :; do sleep 0.01; done"), 0);
	cr_assert_eq(go(&c), 0);
	await_ready();
	uint64_t begin = child_now_ms();
	int status = child_wait(&c, 100, never, NULL);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	cr_assert_geq(child_now_ms(), begin + 100, "told too late, it still has its grace");
	child_drop(&c);
}

#define STUBBORN "trap 'echo told' TERM; echo ready; while :; do sleep 0.01; done"

Test(child, by_its_time_it_is_dead_and_was_told_before)
{
	struct child c;

	cr_assert_eq(start(&c, STUBBORN), 0);
	cr_assert_eq(go(&c), 0);
	await_ready();
	lease.end = child_now_ms() + 400;
	int status = child_wait(&c, 200, until_end, NULL);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	cr_assert_geq(child_now_ms(), lease.end, "it has all the time there is");
	cr_assert_str_eq(written(), "told\n", "once");
	child_drop(&c);
}

Test(child, told_late_it_has_what_is_left_of_its_time)
{
	struct child c;

	cr_assert_eq(start(&c, STUBBORN), 0);
	cr_assert_eq(go(&c), 0);
	await_ready();
	lease.end = child_now_ms() + 100;
	int status = child_wait(&c, 60000, until_end, NULL);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	cr_assert_geq(child_now_ms(), lease.end);
	cr_assert_lt(child_now_ms(), lease.end + 30000);
	child_drop(&c);
}

Test(child, it_is_told_no_earlier_than_its_grace_before)
{
	struct child c;

	cr_assert_eq(start(&c, "trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done"), 0);
	cr_assert_eq(go(&c), 0);
	await_ready();
	lease.end = child_now_ms() + 60300;
	int status = child_wait(&c, 60000, until_end, NULL);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	cr_assert_geq(child_now_ms(), lease.end - 60000);
	cr_assert_lt(child_now_ms(), lease.end);
	child_drop(&c);
}

Test(child, renewed_in_time_it_hears_nothing)
{
	struct child c;

	cr_assert_eq(start(&c, "trap 'exit 3' TERM; echo ready; sleep 0.3; exit 4"), 0);
	cr_assert_eq(go(&c), 0);
	await_ready();
	lease.renewal_ms = 2020;
	int status = child_wait(&c, 2000, renewed_at_each_look, NULL);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 4);
	cr_assert_gt(lease.looks, 5, "it was close each time");
	child_drop(&c);
}

Test(child, once_told_it_must_end_whatever_is_renewed)
{
	struct child c;

	cr_assert_eq(start(&c, STUBBORN), 0);
	cr_assert_eq(go(&c), 0);
	await_ready();
	lease.end = child_now_ms() + 100;
	int status = child_wait(&c, 200, renewed_too_late, NULL);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	cr_assert_geq(child_now_ms(), lease.end);
	child_drop(&c);
}

Test(child, one_that_is_stopped_hears_it_too)
{
	struct child c;

	cr_assert_eq(start(&c, "trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done"), 0);
	cr_assert_eq(go(&c), 0);
	await_ready();
	kill(c.pid, SIGSTOP);
	int status = child_wait(&c, 60000, never, NULL);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	child_drop(&c);
}

Test(child, a_signal_for_us_is_passed_on)
{
	struct child c;

	cr_assert_eq(start(&c, "trap 'echo usr1; exit 0' USR1; echo ready; while :; do sleep 0.01; done"), 0);
	cr_assert_eq(go(&c), 0);
	await_ready();
	kill(getpid(), SIGUSR1);
	child_wait(&c, 2000, always, NULL);
	cr_assert_str_eq(written(), "usr1\n");
	child_drop(&c);
}

static int ends_like(int status)
{
	pid_t pid = fork();
	int ret;

	if (pid == 0)
		exit_like(status);
	waitpid(pid, &ret, 0);
	return ret;
}

Test(child, we_end_as_it_ended)
{
	cr_assert_eq(ends_like(W_EXITCODE(0, 0)), W_EXITCODE(0, 0));
	cr_assert_eq(ends_like(W_EXITCODE(255, 0)), W_EXITCODE(255, 0));
	cr_assert_eq(ends_like(W_EXITCODE(0, SIGTERM)), W_EXITCODE(0, SIGTERM));
	cr_assert_eq(ends_like(W_EXITCODE(0, SIGKILL)), W_EXITCODE(0, SIGKILL));
	cr_assert_eq(WTERMSIG(ends_like(W_EXITCODE(0, SIGABRT))), SIGABRT);
}
