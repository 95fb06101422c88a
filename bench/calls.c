/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "calls.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/ptrace.h>

#define MARK SYS_getppid /* a harmless call that nothing in between makes: begins and ends the count */

static _Noreturn void traced(void *(*prepare)(const void *), void (*work)(void *), const void *with, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	void *prepared = prepare(with);
	if (!prepared)
		_exit(1);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(2);
	raise(SIGSTOP);
	syscall(MARK);
	work(prepared);
	syscall(MARK);
	_exit(0);
}

/* The number of the system call that this stop is the entry of; -1: it is something else. */
static long entered(pid_t pid)
{
	struct __ptrace_syscall_info info = { 0 };

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0 || info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return -1;
	return (long)info.entry.nr;
}

static long count(pid_t pid)
{
	long calls = -1; /* below 0: the first mark has not come */
	int status;

	for (;;) {
		if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
			return -ECHILD;
		if (WSTOPSIG(status) != (SIGTRAP | 0x80))
			continue;
		long nr = entered(pid);
		if (nr == MARK && calls >= 0)
			return calls;
		if (nr == MARK)
			calls = 0;
		else if (nr >= 0 && calls >= 0)
			calls++;
	}
}

long calls_count(void *(*prepare)(const void *with), void (*work)(void *prepared), const void *with)
{
	pid_t parent = getpid();
	long calls;
	int status;

	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		traced(prepare, work, with, parent);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -ECHILD;
	if (!WIFSTOPPED(status)) /* it ended, and is reaped */
		return WIFEXITED(status) && WEXITSTATUS(status) == 2 ? -EPERM : -ECHILD;
	if (ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(uintptr_t)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)) < 0)
		calls = -EPERM;
	else
		calls = count(pid);
	if (kill(pid, 0) == 0 && kill(pid, SIGKILL) == 0)
		waitpid(pid, NULL, 0);
	return calls;
}
