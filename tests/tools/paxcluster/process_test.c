/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../tools/paxcluster/process.h"

static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		pause();
		_exit(0);
	}
	return pid;
}

Test(process, who_has_the_pid_now)
{
	struct process p = process_of(getpid());

	cr_assert_eq(p.pid, getpid());
	cr_assert_neq(p.start, 0);
	cr_assert(process_alive(&p));
	cr_assert_eq(process_of(0).pid, 0);
}

Test(process, one_that_took_the_pid_later_is_left_alone)
{
	struct process p = process_of(sleeper()), other = p;

	other.start--; /* as a file would have it that was written for an earlier process */
	cr_assert_not(process_alive(&other));
	cr_assert_not(process_signal(&other, SIGKILL));
	cr_assert(process_wait_gone(&other, 0));
	cr_assert(process_alive(&p));
	cr_assert(process_signal(&p, SIGKILL));
	cr_assert(process_wait_gone(&p, 10000));
	cr_assert_not(process_alive(&p));
}

Test(process, a_zombie_is_gone)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT);
	cr_assert_eq(process_of(pid).pid, 0);
	waitpid(pid, NULL, 0);
}

Test(process, children_are_found)
{
	pid_t pid = sleeper();
	struct process children[4];

	cr_assert_eq(process_children(getpid(), children, 4), 1);
	cr_assert_eq(children[0].pid, pid);
	process_signal(&children[0], SIGKILL);
	cr_assert(process_wait_gone(&children[0], 10000));
}

Test(process, it_survives_a_file)
{
	char path[] = "/tmp/process_test_XXXXXX";
	struct process p = process_of(getpid());

	close(mkstemp(path));
	cr_assert_eq(process_save(&p, path), 0);
	struct process q = process_load(path);
	unlink(path);
	cr_assert(q.pid == p.pid && q.start == p.start);
	cr_assert_eq(process_load(path).pid, 0);
}
