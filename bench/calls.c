/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "calls.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/ptrace.h>

#define MARK SYS_getppid /* a harmless call that nothing in between makes: begins and ends the count */

enum { STEPS_BEFORE,
       STEPS_COUNT,
       STEPS_AFTER };

/* `steps`: shared with the tracer, which reads after each instruction whether it counts; NULL: calls are counted. */
static _Noreturn void traced(void *(*prepare)(const void *), void (*work)(void *), const void *with, volatile int *steps, pid_t parent)
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
	if (steps)
		*steps = STEPS_COUNT;
	else
		syscall(MARK);
	work(prepared);
	if (steps)
		*steps = STEPS_AFTER;
	else
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

static long count_steps(pid_t pid, const volatile int *steps, long most)
{
	long n = 0;
	int status;

	while (*steps != STEPS_AFTER) {
		if (n > most)
			return -ETIMEDOUT;
		if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
			return -ECHILD;
		n += *steps == STEPS_COUNT;
	}
	return n;
}

static long run_traced(void *(*prepare)(const void *with), void (*work)(void *prepared), const void *with, volatile int *steps, long most)
{
	pid_t parent = getpid();
	long calls;
	int status;

	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		traced(prepare, work, with, steps, parent);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -ECHILD;
	if (!WIFSTOPPED(status)) /* it ended, and is reaped */
		return WIFEXITED(status) && WEXITSTATUS(status) == 2 ? -EPERM : -ECHILD;
	if (ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(uintptr_t)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)) < 0)
		calls = -EPERM;
	else
		calls = steps ? count_steps(pid, steps, most) : count(pid);
	if (kill(pid, 0) == 0 && kill(pid, SIGKILL) == 0)
		waitpid(pid, NULL, 0);
	return calls;
}

long calls_count(void *(*prepare)(const void *with), void (*work)(void *prepared), const void *with)
{
	return run_traced(prepare, work, with, NULL, 0);
}

long calls_steps(void *(*prepare)(const void *with), void (*work)(void *prepared), const void *with, long most)
{
	volatile int *steps = mmap(NULL, sizeof(*steps), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (steps == MAP_FAILED)
		return -ECHILD;
	long n = run_traced(prepare, work, with, steps, most);
	munmap((void *)steps, sizeof(*steps));
	return n;
}
