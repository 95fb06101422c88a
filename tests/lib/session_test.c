/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/session.h"
#include "../../shm/atom.h"
#include "fake_agent.h"

static struct fake fake;
static paxshm_session *session;

static void start(void)
{
	fake_start(&fake);
	session = fake_open(&fake, 10000);
}

static void stop(void)
{
	fake_stop(&fake);
}

TestSuite(session, .init = start, .fini = stop, .timeout = 60);

static paxshm_lock_handle *handle(const char *key)
{
	paxshm_lock_handle *l = NULL;

	cr_assert_eq(paxshm_lock_ref(session, key, strlen(key), &l), 0);
	return l;
}

static int acquire(paxshm_lock_handle *l)
{
	return paxshm_lock_acquire(l, NULL, NULL);
}

struct waiter {
	pthread_t thread;
	paxshm_lock_handle *lock;
	int rc;
};

static void *waiter_main(void *context)
{
	struct waiter *w = context;

	w->rc = acquire(w->lock);
	return NULL;
}

static void waiter_start(struct waiter *w, const char *key)
{
	w->lock = handle(key);
	cr_assert_eq(pthread_create(&w->thread, NULL, waiter_main, w), 0);
}

static int waiter_end(struct waiter *w)
{
	pthread_join(w->thread, NULL);
	return w->rc;
}

/* ---- close ---- */

Test(session, close_releases_all_it_owns)
{
	cr_assert_eq(paxshm_lock(session, "a"), 0);
	cr_assert_eq(acquire(handle("b")), 0);
	cr_assert_eq(paxshm_close(session), 0);
	fake_lock(&fake);
	cr_expect_eq(FAKE_SAW(closes), 1);
	cr_expect_eq(fake_owner(&fake, "a"), 0);
	cr_expect_eq(fake_owner(&fake, "b"), 0);
	fake_unlock(&fake);
}

Test(session, close_does_not_wait_long_for_a_silent_agent)
{
	fake_lock(&fake);
	fake.paused = true;
	fake_unlock(&fake);
	cr_assert_eq(paxshm_close(session), 0);
	fake_lock(&fake);
	fake.paused = false;
	fake_unlock(&fake);
	fake_until(&fake, &fake.closes, 1); /* what was asked for is carried out later */
}

Test(session, close_gives_descriptors_back)
{
	fake_lock(&fake);
	unsigned before = fake_count_fds();
	fake_unlock(&fake);
	paxshm_session *s = fake_open(&fake, 0);
	paxshm_close(s);
	fake_until(&fake, &fake.closes, 1);
	unsigned after = 0;
	for (int tries = 0; tries < 2000 && after != before; tries++) {
		fake_lock(&fake);
		after = fake_count_fds() - 1; /* the fake's segment */
		fake_unlock(&fake);
		usleep(500);
	}
	cr_assert_eq(after, before);
}

Test(session, null_is_invalid)
{
	cr_expect_eq(paxshm_close(NULL), -EINVAL);
	cr_expect_eq(paxshm_cancel(NULL), -EINVAL);
	cr_expect_eq(paxshm_adopt(NULL, 0), -EINVAL);
	cr_expect_eq(paxshm_life_fd(NULL), -EINVAL);
}

/* ---- fork ---- */

/* Every call that takes a session or a handle: 0 when each answered -EPERM. */
static int child_tries_all(paxshm_lock_handle *l)
{
	struct paxshm_who who = PAXSHM_INIT(who);
	struct paxshm_status status = PAXSHM_INIT(status);
	struct paxshm_host host = PAXSHM_INIT(host);
	struct paxshm_lock_info info = PAXSHM_INIT(info);
	paxshm_lock_handle *other;
	uint32_t cursor = 0;
	uint64_t token;
	int wrong = 0;

	wrong += paxshm_cancel(session) != -EPERM;
	wrong += paxshm_adopt(session, 0) != -EPERM;
	wrong += paxshm_life_fd(session) != -EPERM;
	wrong += paxshm_lock(session, "x") != -EPERM;
	wrong += paxshm_unlock(session, "named") != -EPERM;
	wrong += paxshm_token(session, "named", &token) != -EPERM;
	wrong += paxshm_lock_ref(session, "x", 1, &other) != -EPERM;
	wrong += paxshm_lock_acquire(l, NULL, NULL) != -EPERM;
	wrong += paxshm_lock_release(l) != -EPERM;
	wrong += paxshm_lock_check(l) != -EPERM;
	wrong += paxshm_lock_unref(l) != -EPERM;
	wrong += paxshm_holder(session, "x", 1, 0, &who) != -EPERM;
	wrong += paxshm_status(session, 0, &status) != -EPERM;
	wrong += paxshm_next_host(session, &cursor, &host) != -EPERM;
	wrong += paxshm_next_lock(session, &cursor, &info) != -EPERM;
	wrong += paxshm_close(session) != -EPERM;
	return wrong;
}

Test(session, forked_child_is_refused_and_the_parent_unharmed)
{
	paxshm_lock_handle *l = handle("k");
	int status;

	cr_assert_eq(acquire(l), 0);
	cr_assert_eq(paxshm_lock(session, "named"), 0);
	pid_t child = fork();
	if (child == 0)
		_exit(child_tries_all(l));
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 0, "%d calls were not refused", WEXITSTATUS(status));
	cr_expect_eq(paxshm_lock_check(l), 0);
	cr_expect_eq(paxshm_lock_release(l), 0);
	cr_expect_eq(paxshm_unlock(session, "named"), 0);
	cr_expect_eq(acquire(l), 0);
	cr_expect_eq(paxshm_close(session), 0);
}

Test(session, forked_child_may_open_its_own)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		struct paxshm_options options = PAXSHM_INIT(options);
		paxshm_session *s;

		options.socket = fake.path;
		_exit(paxshm_open(&s, &options) || paxshm_lock(s, "k") || paxshm_unlock(s, "k") || paxshm_close(s));
	}
	waitpid(child, &status, 0);
	cr_assert_eq(status, 0);
	cr_assert_eq(paxshm_close(session), 0);
}

/* ---- cancel ---- */

Test(session, cancel_ends_all_waits)
{
	struct waiter w[3];

	fake_hold(&fake, "k");
	for (int i = 0; i < 3; i++)
		waiter_start(&w[i], "k");
	fake_until_waiting(&fake, "k", 3);
	cr_assert_eq(paxshm_cancel(session), 0);
	for (int i = 0; i < 3; i++)
		cr_expect_eq(waiter_end(&w[i]), -ECANCELED);
	cr_expect_eq(FAKE_SAW(last_cancel.reason), -ECANCELED);
	paxshm_close(session);
}

/* Far more rounds than the suite has seconds: sleepers look by themselves once a second only. */
Test(session, cancel_wakes_sleepers)
{
	struct waiter w;

	fake_hold(&fake, "k");
	for (int i = 0; i < 100; i++) {
		waiter_start(&w, "k");
		while (!(atom_load_acquire(&session->rings->bell[0]) & 1))
			usleep(200);
		paxshm_cancel(session);
		cr_assert_eq(waiter_end(&w), -ECANCELED);
	}
	paxshm_close(session);
}

static uint32_t turn_waiters(void)
{
	pthread_mutex_lock(&session->mutex);
	uint32_t n = session->turn_waiters;
	pthread_mutex_unlock(&session->mutex);
	return n;
}

Test(session, cancel_wakes_who_waits_for_another_thread)
{
	struct waiter a, b;

	fake_hold(&fake, "k");
	waiter_start(&a, "k");
	fake_until_waiting(&fake, "k", 1);
	fake_lock(&fake);
	fake.paused = true; /* a waits for its cancel to be answered; nothing but the cancel wakes b */
	fake_unlock(&fake);
	for (int i = 0; i < 100; i++) {
		b.lock = a.lock;
		pthread_create(&b.thread, NULL, waiter_main, &b);
		while (!turn_waiters())
			usleep(200);
		paxshm_cancel(session);
		cr_assert_eq(waiter_end(&b), -ECANCELED);
	}
	fake_lock(&fake);
	fake.paused = false;
	fake_unlock(&fake);
	cr_assert_eq(waiter_end(&a), -ECANCELED);
	paxshm_close(session);
}

Test(session, thread_that_waits_for_another_is_woken_by_it)
{
	struct waiter a, b;

	for (int i = 0; i < 100; i++) {
		fake_hold(&fake, "k");
		waiter_start(&a, "k");
		fake_until_waiting(&fake, "k", 1);
		b.lock = a.lock;
		pthread_create(&b.thread, NULL, waiter_main, &b);
		while (!turn_waiters())
			usleep(200);
		fake_free(&fake, "k");
		cr_assert_eq(waiter_end(&a), 0);
		cr_assert_eq(waiter_end(&b), 0);
		cr_assert_eq(paxshm_lock_release(a.lock), 0);
		cr_assert_eq(paxshm_lock_release(a.lock), 0);
	}
	paxshm_close(session);
}

Test(session, cancel_does_not_touch_calls_begun_later)
{
	struct waiter w;

	cr_assert_eq(paxshm_cancel(session), 0);
	fake_hold(&fake, "k");
	waiter_start(&w, "k");
	fake_until_waiting(&fake, "k", 1);
	fake_free(&fake, "k");
	cr_assert_eq(waiter_end(&w), 0);
	paxshm_close(session);
}

Test(session, cancel_ends_the_wait_for_another_thread_of_one_handle)
{
	struct waiter a, b;

	fake_hold(&fake, "k");
	waiter_start(&a, "k");
	fake_until_waiting(&fake, "k", 1);
	b.lock = a.lock;
	pthread_create(&b.thread, NULL, waiter_main, &b);
	usleep(2000); /* let it get there; either way it ends */
	paxshm_cancel(session);
	cr_expect_eq(waiter_end(&a), -ECANCELED);
	/* If b came only after the cancel it waits now: end that, too. */
	while (pthread_tryjoin_np(b.thread, NULL) != 0) {
		paxshm_cancel(session);
		usleep(500);
	}
	cr_expect_eq(b.rc, -ECANCELED);
	paxshm_close(session);
}

static void on_alarm(int number)
{
	(void)number;
	paxshm_cancel(session);
}

static void on_nothing(int number)
{
	(void)number;
}

Test(session, cancel_works_in_a_signal_handler_and_keeps_errno)
{
	struct sigaction act = { .sa_handler = on_alarm };
	struct waiter w;

	sigaction(SIGUSR1, &act, NULL);
	fake_hold(&fake, "k");
	waiter_start(&w, "k");
	fake_until_waiting(&fake, "k", 1);
	errno = 4711;
	pthread_kill(pthread_self(), SIGUSR1);
	cr_expect_eq(errno, 4711);
	cr_assert_eq(waiter_end(&w), -ECANCELED);
	paxshm_close(session);
}

Test(session, signal_alone_does_not_end_a_wait)
{
	struct sigaction act = { .sa_handler = on_nothing };
	struct waiter w;

	sigaction(SIGUSR1, &act, NULL);
	fake_hold(&fake, "k");
	waiter_start(&w, "k");
	fake_until_waiting(&fake, "k", 1);
	for (int i = 0; i < 20; i++) {
		pthread_kill(w.thread, SIGUSR1);
		usleep(500);
	}
	fake_free(&fake, "k");
	cr_assert_eq(waiter_end(&w), 0);
	paxshm_close(session);
}

/* ---- the end of the agent's side ---- */

Test(session, hang_up_ends_waits_and_owned_locks)
{
	paxshm_lock_handle *owned = handle("mine");
	struct waiter w;
	uint64_t token;

	cr_assert_eq(acquire(owned), 0);
	cr_assert_eq(paxshm_lock(session, "named"), 0);
	fake_hold(&fake, "k");
	waiter_start(&w, "k");
	fake_until_waiting(&fake, "k", 1);
	fake_hang_up(&fake);
	cr_expect_eq(waiter_end(&w), -ENOTCONN);
	cr_expect_eq(paxshm_lock_check(owned), -ESTALE);
	cr_expect_eq(paxshm_lock_release(owned), -ESTALE);
	cr_expect_eq(paxshm_token(session, "named", &token), -ESTALE);
	cr_expect_eq(paxshm_unlock(session, "named"), -ESTALE);
	cr_expect_eq(paxshm_lock(session, "other"), -ENOTCONN);
	cr_expect_eq(paxshm_adopt(session, 0), -ENOTCONN);
	cr_expect_eq(paxshm_close(session), 0);
}

Test(session, closed_word_ends_waits)
{
	struct waiter w;

	fake_hold(&fake, "k");
	waiter_start(&w, "k");
	fake_until_waiting(&fake, "k", 1);
	atom_store_release(&fake.sessions[1].rings->closed, (uint32_t)EPROTO);
	cr_expect_eq(waiter_end(&w), -ENOTCONN);
	cr_expect_eq(paxshm_close(session), 0);
}

/* An answer and the hang-up, both at once as far as the sleeping caller can see: no bell rings. */
static void answer_and_hang_up(struct ring_completion answer)
{
	struct fake_session *s = &fake.sessions[1];

	while (!(atom_load_acquire(&s->rings->bell[0]) & 1))
		usleep(500);
	fake_lock(&fake);
	ring_put(s->rings, s->tail++, &answer);
	ring_publish_tail(s->rings, s->tail);
	fake_unlock(&fake);
	fake_hang_up(&fake);
}

static void *ask_holder(void *context)
{
	struct paxshm_who *who = context;

	return paxshm_holder(session, "k", 1, 0, who) == 0 ? context : NULL;
}

Test(session, answer_before_the_hang_up_counts)
{
	struct paxshm_who who = PAXSHM_INIT(who);
	pthread_t thread;
	void *answered;

	fake_hold(&fake, "k");
	fake_lock(&fake);
	fake.paused = true;
	fake_unlock(&fake);
	pthread_create(&thread, NULL, ask_holder, &who);
	answer_and_hang_up((struct ring_completion){ .call = 0, .holder_host = FAKE_OTHER, .holder_pid = 55 });
	pthread_join(thread, &answered);
	cr_expect_eq(answered, &who);
	cr_expect_eq(who.pid, 55);
	cr_expect_eq(paxshm_close(session), 0);
}

Test(session, grant_that_comes_with_the_hang_up_is_lost_with_the_session)
{
	struct waiter w;

	fake_hold(&fake, "k");
	waiter_start(&w, "k");
	fake_until_waiting(&fake, "k", 1);
	answer_and_hang_up((struct ring_completion){ .call = 0, .gate = 1, .count = 9, .token = 3, .incarnation = FAKE_INCARNATION });
	cr_expect_eq(waiter_end(&w), -ENOTCONN);
	cr_expect_eq(paxshm_close(session), 0);
}

/* ---- adopt ---- */

Test(session, adopt_passes_the_pidfd_and_the_answer)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	cr_assert_eq(paxshm_adopt(session, pidfd), 0);
	cr_assert_eq(FAKE_SAW(adopts), 1);
	fake_lock(&fake);
	fake.adopt_errno = ESRCH;
	fake_unlock(&fake);
	cr_assert_eq(paxshm_adopt(session, pidfd), -ESRCH);
	cr_assert_eq(paxshm_adopt(session, -1), -EINVAL);
	close(pidfd);
	paxshm_close(session);
}

Test(session, late_answer_is_not_taken_for_the_next_adopts)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	paxshm_session *s = fake_open(&fake, 20);

	fake_lock(&fake);
	fake.adopt_late = true;
	fake_unlock(&fake);
	cr_expect_eq(paxshm_adopt(s, pidfd), -ENOTCONN);
	fake_lock(&fake);
	fake.adopt_late = false;
	fake_unlock(&fake);
	s->agent_timeout_ns = 10 * NS_PER_S;
	cr_expect_eq(paxshm_adopt(s, pidfd), 0);
	close(pidfd);
	paxshm_close(s);
}

Test(session, adopt_of_no_descriptor_is_bad)
{
	cr_assert_eq(paxshm_adopt(session, 999), -EBADF);
	paxshm_close(session);
}
