/* SPDX-License-Identifier: Apache-2.0 */
/* sys: sleeping and waking across processes, spinning that ends, descriptors that never leak. */
#define _GNU_SOURCE
#include "../../shm/sys.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "../../shm/atom.h"

static uint32_t *shared_words(void)
{
	uint32_t *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq(words, MAP_FAILED);
	return words;
}

static int exit_code(pid_t pid)
{
	int status;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- clocks and futexes ---- */

Test(sys, now_is_the_monotonic_clock_and_never_goes_back)
{
	struct timespec before, after;
	uint64_t now, last = 0;

	clock_gettime(CLOCK_MONOTONIC, &before);
	now = sys_now_ns();
	clock_gettime(CLOCK_MONOTONIC, &after);
	cr_assert_geq(now, (uint64_t)before.tv_sec * NS_PER_S + (uint64_t)before.tv_nsec);
	cr_assert_leq(now, (uint64_t)after.tv_sec * NS_PER_S + (uint64_t)after.tv_nsec);
	for (unsigned i = 0; i < 1000; i++, last = now)
		cr_assert_geq(now = sys_now_ns(), last);
}

Test(sys, a_wait_on_a_word_that_has_changed_returns_at_once)
{
	uint32_t word = 1;

	cr_assert_eq(sys_futex_wait(&word, 2, NEVER), 0);
}

Test(sys, a_wait_ends_at_its_deadline_and_not_before)
{
	uint32_t word = 1;
	uint64_t deadline = sys_now_ns() + 5 * NS_PER_MS;

	cr_assert_eq(sys_futex_wait(&word, 1, deadline), -ETIMEDOUT);
	cr_assert_geq(sys_now_ns(), deadline);
	cr_assert_eq(sys_futex_wait(&word, 1, 0), -ETIMEDOUT); /* long past */
}

Test(sys, a_wake_reaches_a_sleeper_in_another_process_who_maps_the_word_readonly, .timeout = 60)
{
	uint32_t *writable = shared_words();
	int fd = memfd_create("word", MFD_CLOEXEC), woken = 0;
	pid_t pid;

	munmap(writable, 4096);
	cr_assert_eq(ftruncate(fd, 4096), 0);
	writable = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	pid = fork();
	if (pid == 0) {
		const uint32_t *word = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

		/* The value never changes: only a wake ends this. */
		_exit(sys_futex_wait(word, 0, NEVER) != 0);
	}
	while ((woken = sys_futex_wake(writable, 1)) == 0)
		sched_yield();
	cr_assert_eq(woken, 1);
	cr_assert_eq(exit_code(pid), 0);
}

Test(sys, a_wake_wakes_no_more_than_asked, .timeout = 60)
{
	uint32_t *words = shared_words();
	pid_t pids[3];

	for (unsigned i = 0; i < 3; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(sys_futex_wait(words, 0, NEVER) != 0);
		}
	}
	for (int left = 3; left > 0;) {
		int n = sys_futex_wake(words, 1);

		cr_assert(n == 0 || n == 1);
		left -= n;
		if (n == 0)
			sched_yield();
	}
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(exit_code(pids[i]), 0);
}

static void nothing(int signal)
{
	(void)signal;
}

Test(sys, a_signal_ends_a_wait_as_look_again, .timeout = 60)
{
	uint32_t *words = shared_words();
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct sigaction act = { .sa_handler = nothing }; /* no SA_RESTART */

		sigaction(SIGUSR1, &act, NULL);
		atom_store_release(&words[1], 1);
		_exit(sys_futex_wait(&words[0], 0, NEVER) != 0);
	}
	while (!atom_load_acquire(&words[1]))
		sched_yield();
	while (waitpid(pid, &status, WNOHANG) == 0) { /* it may not be asleep yet: signal again */
		kill(pid, SIGUSR1);
		sched_yield();
	}
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- spinning ---- */

Test(sys, a_spin_sees_a_changed_word_and_gives_up_on_one_that_stays)
{
	uint32_t word = 5;

	cr_assert(sys_spin_while(&word, 4, 0));
	cr_assert_not(sys_spin_while(&word, 5, 0));
	for (unsigned i = 0; i < 50; i++) /* ever shorter */
		cr_assert_not(sys_spin_while(&word, 5, 10000));
}

/* Leaves the first of the cores that this process may run on. */
static void stay_on_one_core(void)
{
	cpu_set_t set;

	cr_assert_eq(sched_getaffinity(0, sizeof(set), &set), 0);
	for (int cpu = 0, kept = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set) && kept++)
			CPU_CLR(cpu, &set);
	cr_assert_eq(sched_setaffinity(0, sizeof(set), &set), 0);
}

Test(sys, cores_are_those_this_process_may_run_on)
{
	cpu_set_t all;

	cr_assert_eq(sched_getaffinity(0, sizeof(all), &all), 0);
	stay_on_one_core();
	cr_assert_eq(sys_cores(), 1);
	cr_assert_eq(sched_setaffinity(0, sizeof(all), &all), 0);
	cr_assert_eq(sys_cores(), 1, "asked once");
}

/* A rank that is kept on one core waits for ranks on others: what these do soon it finds by looking. Ten times in a row is no chance. */
Test(sys, who_is_kept_on_one_core_of_several_spins_all_the_same, .timeout = 60)
{
	uint32_t *words = shared_words(), asked = 0;
	cpu_set_t all;

	if (sched_getaffinity(0, sizeof(all), &all) < 0 || CPU_COUNT(&all) == 1)
		cr_skip_test("there is one core");
	stay_on_one_core();
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sched_setaffinity(0, sizeof(all), &all);
		for (uint32_t ask = 0; ask != UINT32_MAX; ask = atom_load_acquire(&words[1]))
			atom_store_release(&words[0], ask);
		_exit(0);
	}
	for (unsigned found = 0; found < 10;) {
		atom_store_release(&words[1], asked + 1);
		found = sys_spin_while(&words[0], asked, 100000) ? found + 1 : 0;
		while (atom_load_acquire(&words[0]) == asked)
			sched_yield();
		asked++;
	}
	atom_store_release(&words[1], UINT32_MAX);
	cr_assert_eq(exit_code(pid), 0);
}

Test(sys, who_spins_on_one_core_lets_the_others_on_it_run, .timeout = 60)
{
	uint32_t *words = shared_words();

	stay_on_one_core();
	pid_t pid = fork();
	if (pid == 0) {
		atom_store_release(&words[0], 1);
		_exit(0);
	}
	while (!sys_spin_while(&words[0], 0, UINT32_MAX))
		sched_yield();
	cr_assert_eq(exit_code(pid), 0);
}

Test(sys, a_spin_ends_when_another_process_changes_the_word, .timeout = 60)
{
	uint32_t *words = shared_words();
	pid_t pid = fork();

	if (pid == 0) {
		atom_store_release(&words[0], 1);
		_exit(0);
	}
	while (!sys_spin_while(&words[0], 0, 1000))
		sched_yield();
	cr_assert_eq(exit_code(pid), 0);
}

/* ---- what the kernel knows ---- */

Test(sys, random_bytes_differ)
{
	unsigned char a[300] = { 0 }, b[300] = { 0 };

	cr_assert_eq(sys_random(a, sizeof(a)), 0);
	cr_assert_eq(sys_random(b, sizeof(b)), 0);
	cr_assert_neq(memcmp(a, b, sizeof(a)), 0);
	cr_assert_neq(memcmp(a + 268, b + 268, 32), 0);
	cr_assert_eq(sys_random(a, 0), 0);
}

Test(sys, available_memory_is_known_and_less_than_there_is)
{
	uint64_t bytes = sys_memory_available();

	cr_assert_gt(bytes, 0);
	cr_assert_leq(bytes, (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
}

Test(sys, a_namespace_is_the_same_for_a_child_and_0_where_unknown)
{
	struct stat st;

	cr_assert_eq(stat("/proc/self/ns/pid", &st), 0);
	cr_assert_eq(sys_namespace(0, "pid"), st.st_ino);
	cr_assert_eq(sys_namespace(getpid(), "pid"), st.st_ino);
	cr_assert_eq(sys_namespace(0, "no such"), 0);
	cr_assert_eq(sys_namespace(INT32_MAX, "pid"), 0);
}

Test(sys, a_start_time_is_found_behind_any_program_name)
{
	uint64_t plain = 0, odd = 0, child = 0;
	pid_t pid;

	cr_assert_eq(sys_start_time(getpid(), &plain), 0);
	cr_assert_gt(plain, 0);
	prctl(PR_SET_NAME, ") S 1 (2 3)");
	cr_assert_eq(sys_start_time(getpid(), &odd), 0);
	cr_assert_eq(odd, plain);

	pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	cr_assert_eq(sys_start_time(pid, &child), 0);
	cr_assert_geq(child, plain);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

Test(sys, the_start_time_of_nobody_is_esrch)
{
	uint64_t ticks = 77;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	cr_assert_eq(sys_start_time(pid, &ticks), -ESRCH);
	cr_assert_eq(ticks, 77);
}

/* ---- descriptors over a socket ---- */

static void socket_pair(int ends[2])
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
}

static int open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 200; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static bool same_file(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

Test(sys, bytes_and_descriptors_come_over_together_closed_on_exec)
{
	for (unsigned n = 0; n <= SYS_FDS_MAX; n++) {
		int ends[2], fds[SYS_FDS_MAX], got[SYS_FDS_MAX];
		unsigned n_got = 99;
		char text[16];

		socket_pair(ends);
		for (unsigned i = 0; i < n; i++)
			fds[i] = memfd_create("one", 0);
		cr_assert_eq(sys_send_fds(ends[0], "hello", 6, fds, n, 0), 0);
		cr_assert_eq(sys_recv_fds(ends[1], text, sizeof(text), got, SYS_FDS_MAX, &n_got, 0), 6);
		cr_assert_str_eq(text, "hello");
		cr_assert_eq(n_got, n);
		for (unsigned i = 0; i < n; i++) {
			cr_assert(same_file(fds[i], got[i]));
			cr_assert(fcntl(got[i], F_GETFD) & FD_CLOEXEC);
			close(fds[i]);
			close(got[i]);
		}
		close(ends[0]);
		close(ends[1]);
	}
}

/* Sends `len` bytes with n descriptors to a receiver with room for `cap` and `max`: what it answers.
 * Checks that nothing leaked and, on failure, that outputs stayed. */
static ssize_t deliver(size_t len, unsigned n, size_t cap, unsigned max)
{
	int ends[2], fds[SYS_FDS_MAX], got[SYS_FDS_MAX] = { -7 }, before;
	unsigned n_got = 99;
	char text[64] = "";
	ssize_t rc;

	socket_pair(ends);
	for (unsigned i = 0; i < n; i++)
		fds[i] = ends[0];
	cr_assert_eq(sys_send_fds(ends[0], text, len, fds, n, 0), 0);
	before = open_fds();
	rc = sys_recv_fds(ends[1], text, cap, got, max, &n_got, 0);
	if (rc < 0) {
		cr_assert_eq(n_got, 99);
		cr_assert_eq(got[0], -7);
		n_got = 0;
	}
	cr_assert_eq(open_fds(), before + (int)n_got);
	return rc;
}

Test(sys, a_message_cut_short_is_refused_and_leaks_nothing)
{
	cr_assert_eq(deliver(10, 0, 10, 0), 10);
	cr_assert_eq(deliver(10, 0, 9, 0), -EBADMSG);
	cr_assert_eq(deliver(10, 2, 9, 2), -EBADMSG);
}

Test(sys, more_descriptors_than_wanted_are_refused_and_leak_nothing)
{
	cr_assert_eq(deliver(1, 1, 8, 0), -EBADMSG);
	cr_assert_eq(deliver(1, 2, 8, 1), -EBADMSG); /* two fit into the padding of one */
	cr_assert_eq(deliver(1, 4, 8, 3), -EBADMSG);
	cr_assert_eq(deliver(1, SYS_FDS_MAX, 8, 1), -EBADMSG);
	cr_assert_eq(deliver(1, 3, 8, 3), 1);
}

Test(sys, an_empty_message_reads_like_the_end_and_what_came_with_it_is_closed)
{
	cr_assert_eq(deliver(0, 2, 8, 4), 0);
}

Test(sys, the_end_of_the_other_side_is_0_and_sending_to_it_an_error_without_a_signal)
{
	int ends[2];
	char byte;
	unsigned n = 99;

	socket_pair(ends);
	close(ends[0]);
	cr_assert_eq(sys_recv_fds(ends[1], &byte, 1, NULL, 0, &n, 0), 0);
	cr_assert_eq(n, 0);
	cr_assert_eq(sys_send_fds(ends[1], "x", 1, NULL, 0, 0), -EPIPE);
}

Test(sys, nothing_there_and_no_room_are_eagain_when_asked_not_to_wait)
{
	int ends[2], rc;
	char byte;

	socket_pair(ends);
	cr_assert_eq(sys_recv_fds(ends[1], &byte, 1, NULL, 0, NULL, MSG_DONTWAIT), -EAGAIN);
	while ((rc = sys_send_fds(ends[0], "r", 1, NULL, 0, MSG_DONTWAIT)) == 0)
		;
	cr_assert_eq(rc, -EAGAIN);
}
