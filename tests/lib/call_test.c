/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "../../lib/session.h"
#include "../../shm/atom.h"
#include "../../shm/sys.h"
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
	paxshm_close(session);
	fake_stop(&fake);
}

TestSuite(call, .init = start, .fini = stop, .timeout = 60);

static paxshm_lock_handle *handle(paxshm_session *s, const char *key)
{
	paxshm_lock_handle *l = NULL;

	cr_assert_eq(paxshm_lock_ref(s, key, strlen(key), &l), 0);
	return l;
}

static int acquire_within(paxshm_lock_handle *l, uint64_t ms)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);

	how.deadline_ns = ms == UINT64_MAX ? 0 : paxshm_deadline_ms(ms);
	return paxshm_lock_acquire(l, &how, NULL);
}

/* One acquire in a thread of its own. */
struct acquirer {
	pthread_t thread;
	paxshm_lock_handle *lock;
	uint64_t ms;
	bool release; /* as soon as it has it */
	int rc;
};

static void *acquirer_main(void *context)
{
	struct acquirer *a = context;

	a->rc = acquire_within(a->lock, a->ms);
	if (a->rc == 0 && a->release)
		a->rc = paxshm_lock_release(a->lock);
	return NULL;
}

static void acquirer_begin(struct acquirer *a, paxshm_session *s, const char *key, uint64_t ms, bool release)
{
	pthread_attr_t attr;

	*a = (struct acquirer){ .lock = handle(s, key), .ms = ms, .release = release };
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	cr_assert_eq(pthread_create(&a->thread, &attr, acquirer_main, a), 0);
	pthread_attr_destroy(&attr);
}

static void acquirer_start(struct acquirer *a, paxshm_session *s, const char *key, uint64_t ms)
{
	acquirer_begin(a, s, key, ms, false);
}

static int acquirer_end(struct acquirer *a)
{
	pthread_join(a->thread, NULL);
	return a->rc;
}

#define FOREVER UINT64_MAX

static void paused(bool paused)
{
	fake_lock(&fake);
	fake.paused = paused;
	fake_unlock(&fake);
}

/* No call is under way, and none that was given up has left anything. */
static void assert_settled(paxshm_session *s)
{
	pthread_mutex_lock(&s->mutex);
	for (int i = 0; i < PAXSHM_CALLS_MAX; i++)
		cr_assert_eq(s->calls[i].state, CALL_FREE, "call %d", i);
	for (unsigned w = 0; w < WAITING_WORDS; w++)
		cr_assert_eq(s->waiting[w], 0);
	cr_assert_eq(s->owed, 0);
	cr_assert_eq(s->silent, 0);
	pthread_mutex_unlock(&s->mutex);
}

/* ---- waiting ---- */

Test(call, waiter_sleeps_until_the_grant)
{
	struct acquirer a;

	fake_hold(&fake, "k");
	acquirer_start(&a, session, "k", FOREVER);
	fake_until_waiting(&fake, "k", 1);
	/* It gives up spinning and says so in the bell. */
	while (!(atom_load_acquire(&fake.sessions[1].rings->bell[0]) & 1))
		usleep(500);
	fake_free(&fake, "k");
	cr_assert_eq(acquirer_end(&a), 0);
	cr_assert_eq(atom_load_acquire(&fake.sessions[1].rings->bell[0]) & 1, 0);
}

enum { THREADS = 8,
       ROUNDS = 100 };
static int counter; /* not atomic: the lock guards it */
static _Atomic int inside;

static void *count(void *wrong)
{
	for (int i = 0; i < ROUNDS; i++) {
		if (paxshm_lock(session, "counter") != 0 || atomic_fetch_add(&inside, 1) != 0)
			return wrong;
		counter++;
		atomic_fetch_sub(&inside, 1);
		if (paxshm_unlock(session, "counter") != 0)
			return wrong;
	}
	return NULL;
}

Test(call, threads_exclude_each_other_and_none_is_forgotten)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, count, &fake);
	for (int i = 0; i < THREADS; i++) {
		void *wrong;

		pthread_join(threads[i], &wrong);
		cr_expect_null(wrong);
	}
	cr_assert_eq(counter, THREADS * ROUNDS);
}

Test(call, restarted_agent_is_waited_for_without_a_word)
{
	struct acquirer a;

	paused(true);
	acquirer_start(&a, session, "k", FOREVER);
	while (atom_load_acquire(&fake.sessions[1].rings->request_tail) == 0)
		usleep(500);
	paused(false);
	cr_assert_eq(acquirer_end(&a), 0);
}

Test(call, full_ring_is_waited_for)
{
	enum { CALLERS = RING_REQUESTS + 16 };
	struct acquirer a[CALLERS];

	paused(true);
	for (int i = 0; i < CALLERS; i++)
		acquirer_begin(&a[i], session, "k", FOREVER, true);
	while (atom_load_acquire(&fake.sessions[1].rings->request_tail) < RING_REQUESTS)
		usleep(500);
	paused(false);
	for (int i = 0; i < CALLERS; i++)
		cr_expect_eq(acquirer_end(&a[i]), 0);
}

Test(call, one_call_too_many_is_no_space)
{
	struct acquirer a[PAXSHM_CALLS_MAX];

	fake_hold(&fake, "k");
	for (int i = 0; i < PAXSHM_CALLS_MAX; i++)
		acquirer_start(&a[i], session, "k", FOREVER);
	fake_until_waiting(&fake, "k", PAXSHM_CALLS_MAX);
	cr_expect_eq(acquire_within(handle(session, "other"), FOREVER), -ENOSPC);
	cr_expect_eq(paxshm_cancel(session), 0);
	for (int i = 0; i < PAXSHM_CALLS_MAX; i++)
		cr_expect_eq(acquirer_end(&a[i]), -ECANCELED);
	cr_expect_eq(acquire_within(handle(session, "other"), FOREVER), 0);
}

/* ---- deadlines ---- */

Test(call, deadline_withdraws_the_request_and_says_why)
{
	fake_hold(&fake, "k");
	cr_assert_eq(acquire_within(handle(session, "k"), 10), -ETIMEDOUT);
	fake_lock(&fake);
	cr_expect_eq(FAKE_SAW(cancels), 1);
	cr_expect_eq(FAKE_SAW(last_cancel.reason), -ETIMEDOUT);
	cr_expect_eq(fake_key(&fake, "k")->waiting, 0);
	fake_unlock(&fake);
}

Test(call, deadline_does_not_come_early)
{
	uint64_t from = sys_now_ns();

	fake_hold(&fake, "k");
	cr_assert_eq(acquire_within(handle(session, "k"), 30), -ETIMEDOUT);
	cr_assert_geq(sys_now_ns() - from, 30 * 1000000ull);
}

Test(call, grant_that_came_before_the_deadlines_cancel_counts)
{
	paxshm_lock_handle *l = handle(session, "k");

	fake_lock(&fake);
	fake.deaf = fake.grant_before_cancel = true;
	fake_unlock(&fake);
	cr_assert_eq(acquire_within(l, 10), 0);
	cr_assert_eq(paxshm_lock_check(l), 0);
	cr_assert_eq(paxshm_lock_release(l), 0);
}

/* ---- an agent that is silent ---- */

/* Leaves the session with one acquire of "k" given up, its request and its cancel in the ring. */
static paxshm_session *given_up(paxshm_lock_handle **ret_owned)
{
	paxshm_session *s = fake_open(&fake, 20);
	paxshm_lock_handle *l = handle(s, "k");

	*ret_owned = handle(s, "mine");
	cr_assert_eq(acquire_within(*ret_owned, FOREVER), 0);
	paused(true);
	cr_assert_eq(acquire_within(l, 10), -ENOTCONN);
	return s;
}

Test(call, silent_agent_ends_a_withdrawn_acquire_as_not_connected)
{
	paxshm_lock_handle *owned;
	paxshm_session *s = given_up(&owned);

	paused(false);
	paxshm_close(s);
}

/* As the agent does with each step. */
static void step_at(uint64_t ns)
{
	atom_store_relaxed(&fake.tables->clock_ns, ns);
}

static int acquire_as(paxshm_lock_handle *l, uint32_t flags, uint32_t no_quorum)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);

	how.flags = flags;
	how.no_quorum = no_quorum;
	return paxshm_lock_acquire(l, &how, NULL);
}

Test(call, who_wants_no_waiting_or_word_of_no_quorum_hears_of_an_agent_that_stands_still)
{
	paxshm_session *s[] = { fake_open(&fake, 20), fake_open(&fake, 20) };
	uint32_t gate = fake_gate(&fake, "k");

	paused(true);
	step_at(1);
	while (ring_push(s[0]->rings, &(struct ring_request){ .op = REQUEST_GATE, .call = CALL_NONE, .target = gate }))
		;
	cr_expect_eq(acquire_as(handle(s[0], "k"), PAXSHM_NOWAIT, PAXSHM_RETRY), -ENOTCONN, "not even room for the request");
	paused(false);
	while (!ring_push(s[0]->rings, &(struct ring_request){ .op = REQUEST_GATE, .call = CALL_NONE, .target = gate }))
		usleep(1000);
	paused(true);
	cr_expect_eq(acquire_as(handle(s[0], "k"), PAXSHM_NOWAIT, PAXSHM_RETRY), -ENOTCONN);
	cr_expect_eq(acquire_as(handle(s[1], "k"), 0, PAXSHM_RETURN), -ENOTCONN);
	paused(false);
	fake_until(&fake, &fake.cancels, 2);
	for (int i = 0; i < 2; i++) {
		cr_expect_eq(acquire_as(handle(s[i], "next"), PAXSHM_NOWAIT, PAXSHM_RETRY), 0, "session %d", i);
		paxshm_close(s[i]);
	}
}

static void *steps(void *over)
{
	for (uint64_t n = 1; !atom_load_relaxed((uint32_t *)over); n++) {
		step_at(n);
		usleep(1000);
	}
	return NULL;
}

Test(call, who_wants_word_of_no_quorum_waits_as_long_as_the_agent_takes_steps)
{
	paxshm_session *s = fake_open(&fake, 20);
	struct paxshm_acquire how = PAXSHM_INIT(how);
	uint32_t over = 0;
	pthread_t thread;

	fake_hold(&fake, "k");
	pthread_create(&thread, NULL, steps, &over);
	how.no_quorum = PAXSHM_RETURN;
	how.deadline_ns = paxshm_deadline_ms(2500);
	cr_expect_eq(paxshm_lock_acquire(handle(s, "k"), &how, NULL), -ETIMEDOUT);
	atom_store_relaxed(&over, 1u);
	pthread_join(thread, NULL);
	paxshm_close(s);
}

Test(call, while_the_agent_is_silent_acquires_fail_and_owned_locks_stay)
{
	paxshm_lock_handle *owned;
	paxshm_session *s = given_up(&owned);

	cr_expect_eq(acquire_within(handle(s, "next"), FOREVER), -ENOTCONN);
	cr_expect_eq(paxshm_lock_check(owned), 0);
	cr_expect_eq(paxshm_lock_release(owned), 0);
	paused(false);
	paxshm_close(s);
}

Test(call, session_is_usable_again_when_the_agent_has_answered)
{
	paxshm_lock_handle *owned;
	paxshm_session *s = given_up(&owned);

	paused(false);
	fake_until(&fake, &fake.cancels, 1);
	cr_expect_eq(acquire_within(handle(s, "next"), FOREVER), 0);
	paxshm_close(s);
}

Test(call, late_grant_of_a_given_up_acquire_is_released)
{
	paxshm_lock_handle *owned;
	paxshm_session *s = given_up(&owned);

	paused(false); /* "k" is free: granted before its cancel is read */
	fake_until(&fake, &fake.cancels, 1);
	cr_expect_eq(fake_owner(&fake, "k"), 2);
	cr_expect_eq(paxshm_lock_release(owned), 0, "by itself it neither hands in nor waits");
	cr_expect_eq(fake_owner(&fake, "k"), 2);
	cr_expect_eq(acquire_within(handle(s, "next"), FOREVER), 0);
	cr_expect_eq(fake_owner(&fake, "k"), 0);
	cr_expect_eq(FAKE_SAW(releases), 0);
	cr_expect_eq(acquire_within(handle(s, "k"), FOREVER), 0);
	assert_settled(s);
	paxshm_close(s);
}

Test(call, close_frees_a_late_grant)
{
	paxshm_lock_handle *owned;
	paxshm_session *s = given_up(&owned);

	paused(false);
	paxshm_close(s);
	fake_until(&fake, &fake.closes, 1);
	cr_expect_eq(fake_owner(&fake, "k"), 0);
}

Test(call, deadline_passes_while_the_ring_is_full)
{
	enum { CALLERS = RING_REQUESTS };
	struct acquirer a[CALLERS];

	fake_hold(&fake, "k");
	paused(true);
	for (int i = 0; i < CALLERS; i++)
		acquirer_start(&a[i], session, "k", FOREVER);
	while (atom_load_acquire(&fake.sessions[1].rings->request_tail) < RING_REQUESTS)
		usleep(500);
	cr_expect_eq(acquire_within(handle(session, "k"), 10), -ETIMEDOUT);
	paused(false);
	fake_until_waiting(&fake, "k", CALLERS);
	cr_expect_eq(FAKE_SAW(acquires), CALLERS, "what timed out was never asked");
	paxshm_cancel(session);
	for (int i = 0; i < CALLERS; i++)
		cr_expect_eq(acquirer_end(&a[i]), -ECANCELED);
}

/* A session whose ring was full when a deadline passed: the acquire of "j" in slot CROWD is given up and
 * its CANCEL not sent; the others wait for "k". */
enum { CROWD = RING_REQUESTS - 1 };
static struct acquirer crowd[CROWD];

static paxshm_session *given_up_unsent(void)
{
	paxshm_session *s = fake_open(&fake, 20);

	fake_hold(&fake, "k");
	fake_hold(&fake, "j");
	paused(true);
	for (int i = 0; i < CROWD; i++)
		acquirer_start(&crowd[i], s, "k", FOREVER);
	while (atom_load_acquire(&fake.sessions[2].rings->request_tail) < CROWD)
		usleep(500);
	cr_assert_eq(acquire_within(handle(s, "j"), 10), -ENOTCONN);
	s->agent_timeout_ns = 10 * NS_PER_S;
	return s;
}

static void crowd_end(paxshm_session *s)
{
	paxshm_cancel(s);
	for (int i = 0; i < CROWD; i++)
		acquirer_end(&crowd[i]);
}

Test(call, cancel_that_found_no_room_is_sent_later)
{
	paxshm_session *s = given_up_unsent();

	paused(false);
	fake_until_waiting(&fake, "k", CROWD);
	(void)acquire_within(handle(s, "any"), FOREVER); /* any call pays what is owed, and may be answered in time */
	fake_until(&fake, &fake.cancels, 1);
	cr_expect_eq(FAKE_SAW(last_cancel.target), CROWD);
	cr_expect_eq(FAKE_SAW(last_cancel.reason), -ETIMEDOUT);
	cr_expect_eq(acquire_within(handle(s, "next"), FOREVER), 0);
	crowd_end(s);
	assert_settled(s);
	paxshm_close(s);
}

Test(call, late_grant_makes_an_unsent_cancel_needless)
{
	paxshm_session *s = given_up_unsent();

	fake_lock(&fake);
	fake_key(&fake, "j")->elsewhere = false; /* its owner went: granted as soon as it is asked for */
	fake_unlock(&fake);
	paused(false);
	fake_until_waiting(&fake, "k", CROWD);
	crowd_end(s); /* hands in and waits: takes the grant, gives it back */
	cr_expect_eq(fake_owner(&fake, "j"), 0);
	assert_settled(s);
	paxshm_close(s);
}

/* ---- nonsense ---- */

Test(call, answers_that_nobody_asked_for_are_passed_over)
{
	fake_lock(&fake);
	struct fake_session *s = &fake.sessions[1];
	ring_put(s->rings, s->tail++, &(struct ring_completion){ .call = 200 });
	ring_put(s->rings, s->tail++, &(struct ring_completion){ .call = 0, .claim = 77 });
	ring_put(s->rings, s->tail++, &(struct ring_completion){ .call = RING_CALLS });
	ring_put(s->rings, s->tail++, &(struct ring_completion){ .call = UINT32_MAX });
	ring_publish_tail(s->rings, s->tail);
	fake_unlock(&fake);
	cr_assert_eq(paxshm_lock(session, "k"), 0);
	cr_assert_eq(paxshm_unlock(session, "k"), 0);
	cr_assert_eq(FAKE_SAW(releases), 0);
}

Test(call, bell_without_an_answer_is_slept_over)
{
	struct acquirer a;

	fake_hold(&fake, "k");
	acquirer_start(&a, session, "k", FOREVER);
	fake_until_waiting(&fake, "k", 1);
	for (int i = 0; i < 100; i++)
		if (ring_bell(fake.sessions[1].rings, 0))
			sys_futex_wake(&fake.sessions[1].rings->bell[0], 1);
	fake_free(&fake, "k");
	cr_assert_eq(acquirer_end(&a), 0);
}
