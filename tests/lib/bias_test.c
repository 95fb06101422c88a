/* SPDX-License-Identifier: Apache-2.0 */
/* bias: one thread's handle needs neither mutex nor system call; a second thread makes it everybody's, and loses nothing. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../lib/session.h"
#include "../../shm/atom.h"
#include "fake_agent.h"

static struct fake fake;
static paxshm_session *session;
static paxshm_lock_handle *shared;

static void start(void)
{
	fake_start(&fake);
}

static void stop(void)
{
	if (session)
		paxshm_close(session);
	fake_stop(&fake);
}

TestSuite(bias, .init = start, .fini = stop, .timeout = 60);

static paxshm_lock_handle *handle(const char *key)
{
	paxshm_lock_handle *l = NULL;

	cr_assert_eq(paxshm_lock_ref(session, key, strlen(key), &l), 0);
	return l;
}

static void open_session(void)
{
	session = fake_open(&fake, 10000);
	shared = handle("k");
}

/* ---- system calls ---- */

static volatile sig_atomic_t trapped;

static void on_trap(int number)
{
	(void)number;
	trapped++;
}

/* From now on every system call of this thread is a signal, but the two that end a signal handler and the thread. */
static void trap_all(void)
{
	struct sock_filter all[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_rt_sigreturn, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_exit, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { .len = sizeof(all) / sizeof(all[0]), .filter = all };
	struct sigaction act = { .sa_handler = on_trap };

	sigaction(SIGSYS, &act, NULL);
	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

static int failures;

static void *quietly(void *context)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);
	struct paxshm_grant grant = PAXSHM_INIT(grant);
	paxshm_lock_handle *l = handle("k");

	failures += paxshm_lock_acquire(l, NULL, NULL) != 0;
	failures += paxshm_lock_release(l) != 0;
	trap_all();
	for (int i = 0; i < 1000; i++) {
		failures += paxshm_lock_acquire(l, NULL, NULL) != 0;
		failures += paxshm_lock_acquire(l, &how, &grant) != 0;
		failures += paxshm_lock_check(l) != 0;
		failures += paxshm_lock_release(l) != 0;
		failures += paxshm_lock_release(l) != 0;
	}
	if (trapped == 0 && context)
		failures += (syscall(SYS_getpid), trapped != 1); /* the trap works */
	else
		failures++;
	syscall(SYS_exit, 0); /* at once: the end of a thread makes system calls */
	return NULL;
}

static void run_quietly(uint64_t lease_ns)
{
	pthread_t thread;

	open_session();
	if (!session->biased)
		cr_skip_test("no membarrier here: every handle goes by the mutex");
	fake_lease(&fake, lease_ns);
	cr_assert_eq(pthread_create(&thread, NULL, quietly, &fake), 0);
	pthread_join(thread, NULL);
	cr_expect_eq(failures, 0);
	cr_expect_eq(FAKE_SAW(acquires), 1);
}

Test(bias, a_warm_pair_makes_no_system_call)
{
	run_quietly(3600 * NS_PER_S);
}

Test(bias, nor_does_it_where_leases_do_not_end)
{
	run_quietly(NEVER);
}

/* ---- many threads ---- */

enum { THREADS = 4,
       TURNS = 2000 };

/* One owner, many threads: each takes its own acquire back; the lock is free when the last has. */
static void *come_and_go(void *context)
{
	for (int i = 0; i < TURNS; i++) {
		if (paxshm_lock_acquire(shared, NULL, NULL) != 0 || paxshm_lock_check(shared) != 0 || paxshm_lock_release(shared) != 0)
			return context;
	}
	return NULL;
}

static void all_come_and_go(void)
{
	pthread_t thread[THREADS];
	void *wrong;

	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, come_and_go, &fake), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(thread[i], &wrong);
		cr_expect_null(wrong);
	}
	cr_expect_eq(shared->count, 0);
	cr_expect_eq(fake_owner(&fake, "k"), 0);
	cr_expect_eq(paxshm_lock_release(shared), -ESTALE);
}

Test(bias, threads_of_one_handle_lose_no_count)
{
	open_session();
	all_come_and_go();
	cr_expect(shared->bias.shared);
}

/* A handle that is warm in one thread when the others come, many times over: each time it turns while that one is at work. */
static void *keep_going(void *stop)
{
	while (!atom_load_acquire((uint32_t *)stop))
		if (paxshm_lock_acquire(shared, NULL, NULL) != 0 || paxshm_lock_release(shared) != 0)
			return stop;
	return NULL;
}

Test(bias, a_second_thread_that_comes_at_any_moment_loses_nothing)
{
	open_session();
	for (int i = 0; i < 200; i++) {
		uint32_t end = 0;
		pthread_t first;
		void *wrong;

		shared = handle("k");
		cr_assert_eq(pthread_create(&first, NULL, keep_going, &end), 0);
		while (atom_load_acquire(&shared->bias.thread) == BIAS_NOBODY)
			sched_yield();
		for (int j = 0; j < 20; j++) {
			cr_assert_eq(paxshm_lock_acquire(shared, NULL, NULL), 0);
			cr_assert_eq(paxshm_lock_check(shared), 0);
			cr_assert_eq(paxshm_lock_release(shared), 0);
		}
		atom_store_release(&end, 1u);
		pthread_join(first, &wrong);
		cr_assert_null(wrong);
		cr_assert_eq(shared->count, 0);
		cr_assert_eq(fake_owner(&fake, "k"), 0);
	}
}

static void *bias_here(void *context)
{
	return paxshm_lock_acquire(shared, NULL, NULL) == 0 ? NULL : context;
}

Test(bias, who_comes_second_waits_until_the_first_is_out)
{
	pthread_t thread;
	uint32_t *inside;
	void *wrong;

	open_session();
	if (!session->biased)
		cr_skip_test("no membarrier here");
	cr_assert_eq(paxshm_lock_acquire(shared, NULL, NULL), 0);
	inside = &shared->bias.inside;
	cr_assert(bias_enter(&shared->bias));
	cr_assert_eq(pthread_create(&thread, NULL, bias_here, &fake), 0);
	while (!atom_load_acquire(&shared->bias.shared))
		sched_yield();
	usleep(5000);
	cr_expect_eq(shared->count, 1);
	cr_expect_eq(*inside, 1);
	bias_leave(&shared->bias);
	pthread_join(thread, &wrong);
	cr_expect_null(wrong);
	cr_expect_eq(shared->count, 2);
	cr_expect_not(bias_enter(&shared->bias), "for ever");
}

Test(bias, a_thread_without_a_number_enters_no_handle_that_is_nobodys)
{
	open_session();
	cr_assert_eq(shared->bias.thread, BIAS_NOBODY);
	cr_expect_not(bias_enter(&shared->bias));
}

/* ---- where the kernel has no barrier to give ---- */

static void forbid_membarrier(void)
{
	struct sock_filter one[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { .len = sizeof(one) / sizeof(one[0]), .filter = one };

	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

Test(bias, without_a_barrier_every_handle_is_shared_from_the_start)
{
	forbid_membarrier();
	open_session();
	cr_expect_not(session->biased);
	cr_expect(shared->bias.shared);
	all_come_and_go();
	cr_expect_eq(paxshm_lock_acquire(shared, NULL, NULL), 0);
	cr_expect_eq(paxshm_lock_acquire(shared, NULL, NULL), 0);
	cr_expect_eq(paxshm_lock_release(shared), 0);
	cr_expect_eq(paxshm_lock_release(shared), 0);
	cr_expect_eq(FAKE_SAW(acquires), 1, "the gate is used all the same");
}

Test(bias, a_barrier_that_is_forbidden_later_is_made_up_for)
{
	open_session();
	cr_assert_eq(paxshm_lock_acquire(shared, NULL, NULL), 0);
	cr_assert_eq(paxshm_lock_release(shared), 0);
	forbid_membarrier();
	all_come_and_go();
}
