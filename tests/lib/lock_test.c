/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
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
	paxshm_close(session);
	fake_stop(&fake);
}

TestSuite(lock, .init = start, .fini = stop, .timeout = 60);

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

static int acquire_flags(paxshm_lock_handle *l, uint32_t flags)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);

	how.flags = flags;
	return paxshm_lock_acquire(l, &how, NULL);
}

/* The handle's acquire in another thread. */
struct other {
	pthread_t thread;
	paxshm_lock_handle *lock;
	struct paxshm_grant grant;
	int rc;
};

static void *other_main(void *context)
{
	struct other *o = context;

	o->rc = paxshm_lock_acquire(o->lock, NULL, &o->grant);
	return NULL;
}

static void other_start(struct other *o, paxshm_lock_handle *l)
{
	*o = (struct other){ .lock = l, .grant = PAXSHM_INIT(o->grant) };
	cr_assert_eq(pthread_create(&o->thread, NULL, other_main, o), 0);
}

static int other_end(struct other *o)
{
	pthread_join(o->thread, NULL);
	return o->rc;
}

/* ---- by handle ---- */

Test(lock, grant_carries_the_token_and_release_goes_to_the_gate)
{
	struct paxshm_grant grant = PAXSHM_INIT(grant);
	paxshm_lock_handle *l = handle("k");

	cr_assert_eq(paxshm_lock_acquire(l, NULL, &grant), 0);
	cr_expect_eq(grant.token, FAKE_SAW(last_token));
	cr_expect_eq(grant.flags, 0);
	cr_expect_eq(paxshm_lock_check(l), 0);
	cr_assert_eq(paxshm_lock_release(l), 0);
	cr_expect_eq(fake_owner(&fake, "k"), 0);
	cr_expect_eq(FAKE_SAW(releases), 0);
	cr_expect_eq(paxshm_lock_check(l), -ESTALE);
}

Test(lock, stamps_are_asked_for_only_when_wanted)
{
	cr_assert_eq(acquire(handle("plain")), 0);
	cr_expect_eq(FAKE_SAW(last_acquire.flags), 0);
	cr_assert_eq(acquire_flags(handle("k"), PAXSHM_STAMPS), 0);
	cr_expect_eq(FAKE_SAW(last_acquire.flags), REQUEST_STAMPS);
}

Test(lock, key_may_hold_any_bytes)
{
	char key[PAXSHM_KEY_MAX];
	paxshm_lock_handle *l;

	memset(key, 0xfe, sizeof(key));
	cr_assert_eq(paxshm_lock_ref(session, key, sizeof(key), &l), 0);
	cr_assert_eq(acquire(l), 0);
	cr_assert_eq(FAKE_SAW(last_acquire.key_len), PAXSHM_KEY_MAX);
	fake_lock(&fake);
	cr_assert_eq(memcmp(fake.last_acquire.key, key, sizeof(key)), 0);
	fake_unlock(&fake);
	cr_assert_eq(FAKE_SAW(last_acquire.mode), PAXSHM_EX);
}

Test(lock, two_handles_exclude_each_other_in_one_thread)
{
	cr_assert_eq(acquire(handle("k")), 0);
	cr_assert_eq(acquire_flags(handle("k"), PAXSHM_NOWAIT), -EBUSY);
}

Test(lock, reentrance_is_counted_and_asks_nobody)
{
	struct paxshm_grant grant = PAXSHM_INIT(grant);
	paxshm_lock_handle *l = handle("k");

	cr_assert_eq(acquire(l), 0);
	cr_assert_eq(paxshm_lock_acquire(l, NULL, &grant), 0);
	cr_expect_eq(grant.flags, PAXSHM_REENTERED);
	cr_expect_eq(grant.token, FAKE_SAW(last_token));
	cr_expect_eq(FAKE_SAW(acquires), 1);
	cr_expect_eq(paxshm_lock_release(l), 0);
	cr_expect_eq(paxshm_lock_check(l), 0);
	cr_expect_eq(fake_owner(&fake, "k"), 1);
	cr_expect_eq(paxshm_lock_release(l), 0);
	cr_expect_eq(fake_owner(&fake, "k"), 0);
	cr_expect_eq(paxshm_lock_release(l), -ESTALE);
}

Test(lock, reentrance_has_an_end)
{
	paxshm_lock_handle *l = handle("k");

	cr_assert_eq(acquire(l), 0);
	l->count = UINT32_MAX;
	cr_expect_eq(acquire(l), -ENOSPC);
	cr_expect_eq(paxshm_lock_check(l), 0);
	l->count = 1;
	cr_expect_eq(paxshm_lock_release(l), 0);
	cr_expect_eq(fake_owner(&fake, "k"), 0);
}

Test(lock, release_does_not_wait_for_the_agent)
{
	paxshm_lock_handle *l = handle("k");

	cr_assert_eq(acquire(l), 0);
	fake_lock(&fake); /* it cannot do anything now */
	cr_expect_eq(paxshm_lock_release(l), 0);
	cr_expect_eq(fake_owner(&fake, "k"), 0);
	cr_expect_eq(acquire(l), 0, "nor the next acquire");
	fake_unlock(&fake);
}

Test(lock, threads_of_one_handle_are_one_owner)
{
	paxshm_lock_handle *l = handle("k");
	struct other o;

	cr_assert_eq(acquire(l), 0);
	other_start(&o, l);
	cr_expect_eq(other_end(&o), 0);
	cr_expect_eq(o.grant.flags, PAXSHM_REENTERED);
}

Test(lock, thread_that_comes_while_another_waits_gets_what_comes_of_it)
{
	paxshm_lock_handle *l = handle("k");
	struct other a, b;

	fake_hold(&fake, "k");
	other_start(&a, l);
	fake_until_waiting(&fake, "k", 1);
	other_start(&b, l);
	fake_free(&fake, "k");
	cr_expect_eq(other_end(&a), 0);
	cr_expect_eq(other_end(&b), 0);
	cr_expect_eq(b.grant.flags, PAXSHM_REENTERED);
	cr_expect_eq(FAKE_SAW(acquires), 1);
}

Test(lock, nowait_does_not_wait_for_another_thread_of_the_handle)
{
	paxshm_lock_handle *l = handle("k");
	struct paxshm_acquire how = PAXSHM_INIT(how);
	struct paxshm_grant grant = PAXSHM_INIT(grant);
	struct other a;

	fake_hold(&fake, "k");
	other_start(&a, l);
	fake_until_waiting(&fake, "k", 1);
	how.flags = PAXSHM_NOWAIT;
	cr_expect_eq(paxshm_lock_acquire(l, &how, &grant), -EBUSY);
	cr_expect_eq(grant.holder.host_id, 0);
	how.flags = 0;
	how.deadline_ns = paxshm_deadline_ms(5);
	cr_expect_eq(paxshm_lock_acquire(l, &how, &grant), -ETIMEDOUT);
	cr_expect_eq(paxshm_lock_unref(l), -EBUSY);
	cr_expect_eq(paxshm_lock_release(l), -ESTALE);
	fake_free(&fake, "k");
	cr_expect_eq(other_end(&a), 0);
}

Test(lock, busy_names_the_holder_and_leaves_the_token)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);
	struct paxshm_grant grant = PAXSHM_INIT(grant);

	fake_hold(&fake, "k");
	how.flags = PAXSHM_NOWAIT;
	grant.token = 77;
	cr_assert_eq(paxshm_lock_acquire(handle("k"), &how, &grant), -EBUSY);
	cr_expect_eq(grant.token, 77);
	cr_expect_eq(grant.holder.host_id, FAKE_OTHER);
	cr_expect_str_eq(grant.holder.host, "beta");
	cr_expect_eq(grant.holder.pid, 1234);
	cr_expect_eq(grant.holder.start_time, 99);
	cr_expect_eq(grant.holder.session, 3);
	cr_expect_eq(grant.holder.token, 5);
}

Test(lock, death_of_the_last_owner_is_told)
{
	struct paxshm_grant grant = PAXSHM_INIT(grant);

	fake_lock(&fake);
	fake_key(&fake, "k")->died = true;
	fake_unlock(&fake);
	cr_assert_eq(paxshm_lock_acquire(handle("k"), NULL, &grant), 0);
	cr_assert_eq(grant.flags, PAXSHM_OWNER_DIED);
}

Test(lock, wrong_arguments_are_refused_before_anybody_is_asked)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);
	struct paxshm_grant grant = PAXSHM_INIT(grant);
	paxshm_lock_handle *l = handle("k");

	cr_expect_eq(paxshm_lock_acquire(NULL, &how, &grant), -EINVAL);
	cr_expect_eq(paxshm_lock_release(NULL), -EINVAL);
	cr_expect_eq(paxshm_lock_check(NULL), -EINVAL);
	cr_expect_eq(paxshm_lock_unref(NULL), -EINVAL);
	how.size--;
	cr_expect_eq(paxshm_lock_acquire(l, &how, &grant), -EINVAL);
	how.size = 0;
	cr_expect_eq(paxshm_lock_acquire(l, &how, &grant), -EINVAL);
	how.size = sizeof(how);
	grant.size = 0;
	cr_expect_eq(paxshm_lock_acquire(l, &how, &grant), -EINVAL);
	grant.size = sizeof(grant);
	how.flags = 1u << 31;
	cr_expect_eq(paxshm_lock_acquire(l, &how, &grant), -EINVAL);
	how.flags = PAXSHM_ASYNC;
	cr_expect_eq(paxshm_lock_acquire(l, &how, &grant), -ENOSYS);
	how.flags = 0;
	for (how.mode = PAXSHM_CR; how.mode < PAXSHM_EX; how.mode++)
		cr_expect_eq(how.mode == PAXSHM_PR ? -ENOSYS : paxshm_lock_acquire(l, &how, &grant), -ENOSYS);
	how.mode = PAXSHM_EX + 1;
	cr_expect_eq(paxshm_lock_acquire(l, &how, &grant), -EINVAL);
	how.mode = PAXSHM_EX;
	how.no_quorum = PAXSHM_RETURN + 1;
	cr_expect_eq(paxshm_lock_acquire(l, &how, &grant), -EINVAL);
	cr_expect_eq(FAKE_SAW(acquires), 0);
	how.no_quorum = PAXSHM_RETRY;
	cr_expect_eq(paxshm_lock_acquire(l, &how, &grant), 0);
}

Test(lock, keys_have_1_to_255_bytes)
{
	char key[PAXSHM_KEY_MAX + 2];
	paxshm_lock_handle *l = NULL;
	uint64_t token;

	memset(key, 'k', sizeof(key));
	key[sizeof(key) - 1] = 0;
	cr_expect_eq(paxshm_lock_ref(session, key, 0, &l), -EINVAL);
	cr_expect_eq(paxshm_lock_ref(session, NULL, 1, &l), -EINVAL);
	cr_expect_eq(paxshm_lock_ref(session, key, 1, NULL), -EINVAL);
	cr_expect_eq(paxshm_lock_ref(NULL, key, 1, &l), -EINVAL);
	cr_expect_eq(paxshm_lock_ref(session, key, PAXSHM_KEY_MAX + 1, &l), -ENAMETOOLONG);
	cr_expect_null(l);
	cr_expect_eq(paxshm_lock(session, ""), -EINVAL);
	cr_expect_eq(paxshm_lock(session, NULL), -EINVAL);
	cr_expect_eq(paxshm_lock(session, key), -ENAMETOOLONG);
	cr_expect_eq(paxshm_unlock(session, key), -ENAMETOOLONG);
	cr_expect_eq(paxshm_token(session, "k", NULL), -EINVAL);
	cr_expect_eq(paxshm_token(session, key, &token), -ENAMETOOLONG);
	key[PAXSHM_KEY_MAX] = 0;
	cr_expect_eq(paxshm_lock(session, key), 0);
	cr_expect_eq(paxshm_unlock(session, key), 0);
}

Test(lock, unref_keeps_an_owned_handle)
{
	paxshm_lock_handle *l = handle("k");

	cr_assert_eq(acquire(l), 0);
	cr_assert_eq(paxshm_lock_unref(l), -EBUSY);
	cr_assert_eq(paxshm_lock_release(l), 0);
	cr_assert_eq(paxshm_lock_unref(l), 0);
}

/* ---- lost and suspended ---- */

Test(lock, another_incarnation_of_the_host_is_stale_for_good)
{
	paxshm_lock_handle *l = handle("k");

	cr_assert_eq(acquire(l), 0);
	cr_assert_eq(acquire(l), 0);
	atom_store_release(&fake.tables->incarnation, FAKE_INCARNATION + 1ull);
	cr_expect_eq(paxshm_lock_check(l), -ESTALE);
	cr_expect_eq(acquire(l), -ESTALE);
	cr_expect_eq(paxshm_lock_release(l), -ESTALE);
	cr_expect_eq(paxshm_lock_unref(l), -EBUSY);
	cr_expect_eq(paxshm_lock_release(l), -ESTALE);
	cr_expect_eq(paxshm_lock_unref(l), 0);
	cr_expect_eq(fake_owner(&fake, "k"), 1, "what is void must not be released over a later owner");
}

Test(lock, suspended_owner_enters_no_deeper_and_comes_out)
{
	struct paxshm_grant grant = PAXSHM_INIT(grant);
	paxshm_lock_handle *l = handle("k");

	cr_assert_eq(acquire(l), 0);
	cr_assert_eq(acquire(l), 0);
	fake_lease(&fake, 0);
	cr_expect_eq(paxshm_lock_acquire(l, NULL, &grant), -ENETUNREACH);
	cr_expect_eq(grant.token, 0);
	cr_expect_eq(paxshm_lock_release(l), -ENETUNREACH);
	cr_expect_eq(fake_owner(&fake, "k"), 1);
	cr_expect_eq(paxshm_lock_release(l), -ENETUNREACH, "counted back all the same");
	cr_expect_eq(fake_owner(&fake, "k"), 0, "it may still be this host's to give back");
	cr_expect_eq(paxshm_lock_release(l), -ESTALE);
	cr_expect_eq(paxshm_lock_unref(l), 0);
}

Test(lock, suspended_owners_go_on_when_the_lease_does)
{
	paxshm_lock_handle *l = handle("k");

	cr_assert_eq(acquire(l), 0);
	fake_lease(&fake, 0);
	cr_expect_eq(acquire(l), -ENETUNREACH);
	fake_lease(&fake, NEVER);
	cr_expect_eq(acquire(l), 0);
	cr_expect_eq(paxshm_lock_release(l), 0);
	cr_expect_eq(paxshm_lock_release(l), 0);
	cr_expect_eq(fake_owner(&fake, "k"), 0);
	cr_expect_eq(FAKE_SAW(acquires), 1);
}

Test(lock, suspended_by_name_it_is_the_same)
{
	uint64_t token = 0;

	cr_assert_eq(paxshm_lock(session, "k"), 0);
	fake_lease(&fake, 0);
	cr_expect_eq(paxshm_lock(session, "k"), -ENETUNREACH);
	cr_expect_eq(paxshm_token(session, "k", &token), -ENETUNREACH);
	cr_expect_eq(token, 0);
	cr_expect_eq(paxshm_unlock(session, "k"), -ENETUNREACH);
	cr_expect_eq(fake_owner(&fake, "k"), 0);
	cr_expect_eq(paxshm_unlock(session, "k"), -ESTALE);
}

/* ---- a grant that comes when the lease has ended ---- */

static int acquire_how(paxshm_lock_handle *l, uint32_t no_quorum, uint64_t deadline_ns, struct paxshm_grant *grant)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);

	how.no_quorum = no_quorum;
	how.deadline_ns = deadline_ns;
	return paxshm_lock_acquire(l, &how, grant);
}

/* What the caller did not get is nobody's now. */
static void given_back(void)
{
	fake_until(&fake, &fake.gates, 1);
	cr_expect_eq(fake_owner(&fake, "k"), 0);
	cr_expect_eq(FAKE_SAW(acquires), 1);
	fake_lease(&fake, NEVER);
	cr_expect_eq(acquire_flags(handle("k"), PAXSHM_NOWAIT), 0);
}

Test(lock, granted_without_a_lease_it_waits_for_one)
{
	struct other o;

	fake_lease(&fake, 0);
	other_start(&o, handle("k"));
	fake_until(&fake, &fake.acquires, 1);
	fake_lease(&fake, NEVER);
	cr_expect_eq(other_end(&o), 0);
	cr_expect_eq(o.grant.token, FAKE_SAW(last_token));
	cr_expect_eq(paxshm_lock_check(o.lock), 0);
	cr_expect_eq(FAKE_SAW(acquires), 1);
	cr_expect_eq(FAKE_SAW(releases), 0);
}

Test(lock, granted_without_a_lease_return_answers)
{
	struct paxshm_grant grant = PAXSHM_INIT(grant);
	paxshm_lock_handle *l = handle("k");

	fake_lease(&fake, 0);
	cr_expect_eq(acquire_how(l, PAXSHM_RETURN, 0, &grant), -ENETUNREACH);
	cr_expect_eq(grant.token, 0);
	cr_expect_eq(paxshm_lock_release(l), -ESTALE);
	given_back();
}

Test(lock, granted_without_a_lease_it_waits_until_the_deadline)
{
	fake_lease(&fake, 0);
	cr_expect_eq(acquire_how(handle("k"), PAXSHM_RETRY, paxshm_deadline_ms(20), NULL), -ETIMEDOUT);
	given_back();
}

static void *cancel_when_granted(void *context)
{
	fake_until(&fake, &fake.acquires, 1);
	paxshm_cancel(session);
	return context;
}

Test(lock, granted_without_a_lease_the_wait_can_be_cancelled)
{
	pthread_t thread;

	fake_lease(&fake, 0);
	pthread_create(&thread, NULL, cancel_when_granted, NULL);
	cr_expect_eq(acquire(handle("k")), -ECANCELED);
	pthread_join(thread, NULL);
	fake_lease(&fake, NEVER);
	cr_expect_eq(acquire(handle("k")), 0);
}

static void *hang_up_when_granted(void *context)
{
	fake_until(&fake, &fake.acquires, 1);
	fake_hang_up(&fake);
	return context;
}

Test(lock, granted_without_a_lease_the_end_of_the_session_ends_the_wait)
{
	pthread_t thread;

	fake_lease(&fake, 0);
	pthread_create(&thread, NULL, hang_up_when_granted, NULL);
	cr_expect_eq(acquire(handle("k")), -ENOTCONN);
	pthread_join(thread, NULL);
}

Test(lock, granted_by_a_life_that_is_over_it_is_asked_for_again)
{
	struct paxshm_grant grant = PAXSHM_INIT(grant);
	paxshm_lock_handle *l = handle("k");

	fake_lock(&fake);
	fake.void_grants = 2;
	fake_unlock(&fake);
	cr_expect_eq(paxshm_lock_acquire(l, NULL, &grant), 0);
	cr_expect_eq(FAKE_SAW(acquires), 3);
	cr_expect_eq(FAKE_SAW(releases), 0, "a void claim must not be released");
	cr_expect_eq(grant.token, FAKE_SAW(last_token));
	cr_expect_eq(paxshm_lock_check(l), 0);
}

/* The lease ends, the wait begins, and what is awaited turns out to be void. */
Test(lock, a_life_that_ends_while_its_grant_waits_is_asked_again)
{
	struct other o;

	fake_lease(&fake, 0);
	other_start(&o, handle("k"));
	fake_until(&fake, &fake.acquires, 1);
	fake_down(&fake);
	fake_up(&fake, FAKE_INCARNATION + 1);
	fake_until(&fake, &fake.acquires, 2);
	fake_lease(&fake, NEVER);
	cr_expect_eq(other_end(&o), 0);
	cr_expect_eq(FAKE_SAW(releases), 0);
	cr_expect_eq(paxshm_lock_check(o.lock), 0);
}

/* ---- no quorum ---- */

static void no_quorum(void)
{
	fake_lock(&fake);
	fake.no_quorum = true;
	fake_unlock(&fake);
}

static struct {
	paxshm_session *session;
	int rc, calls;
	bool named;
	void *context;
} fatal;

static void on_fatal(paxshm_session *s, int rc, const char *message, void *context)
{
	fatal.session = s;
	fatal.rc = rc;
	fatal.calls++;
	fatal.named = strstr(message, "\"db\"");
	fatal.context = context;
}

Test(lock, without_quorum_return_answers)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);

	no_quorum();
	how.no_quorum = PAXSHM_RETURN;
	cr_assert_eq(paxshm_lock_acquire(handle("k"), &how, NULL), -ENETUNREACH);
	cr_assert_eq(PAXSHM_NO_QUORUM, -ENETUNREACH);
}

Test(lock, without_quorum_retry_waits)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);

	no_quorum();
	how.deadline_ns = paxshm_deadline_ms(10);
	cr_assert_eq(paxshm_lock_acquire(handle("k"), &how, NULL), -ETIMEDOUT);
}

Test(lock, without_quorum_fail_calls_the_handler_and_returns_when_it_does)
{
	struct paxshm_options options = PAXSHM_INIT(options);
	struct paxshm_acquire how = PAXSHM_INIT(how);
	paxshm_lock_handle *l;
	paxshm_session *s;

	options.socket = fake.path;
	options.fatal = on_fatal;
	options.fatal_context = &fake;
	cr_assert_eq(paxshm_open(&s, &options), 0);
	no_quorum();
	how.no_quorum = PAXSHM_FAIL;
	cr_assert_eq(paxshm_lock_ref(s, "db", 2, &l), 0);
	cr_assert_eq(paxshm_lock_acquire(l, &how, NULL), -ENETUNREACH);
	cr_expect_eq(fatal.calls, 1);
	cr_expect_eq(fatal.session, s);
	cr_expect_eq(fatal.rc, -ENETUNREACH);
	cr_expect_eq(fatal.context, &fake);
	cr_expect(fatal.named);
	paxshm_close(s);
}

Test(lock, without_quorum_fail_aborts_by_default, .signal = SIGABRT)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);

	no_quorum();
	how.no_quorum = PAXSHM_FAIL;
	(void)!paxshm_lock_acquire(handle("k"), &how, NULL);
}

/* ---- by name ---- */

Test(lock, two_lines_lock_and_unlock)
{
	uint64_t token = 0;

	cr_assert_eq(paxshm_lock(session, "k"), 0);
	cr_expect_eq(paxshm_token(session, "k", &token), 0);
	cr_expect_eq(token, FAKE_SAW(last_token));
	cr_expect_eq(paxshm_unlock(session, "k"), 0);
	cr_expect_eq(paxshm_unlock(session, "k"), -ESTALE);
	cr_expect_eq(paxshm_token(session, "k", &token), -ESTALE);
	cr_expect_eq(token, FAKE_SAW(last_token));
}

Test(lock, by_name_is_counted_too)
{
	cr_assert_eq(paxshm_lock(session, "k"), 0);
	cr_assert_eq(paxshm_lock(session, "k"), 0);
	cr_assert_eq(paxshm_unlock(session, "k"), 0);
	cr_assert_eq(fake_owner(&fake, "k"), 1);
	cr_assert_eq(paxshm_unlock(session, "k"), 0);
	cr_assert_eq(fake_owner(&fake, "k"), 0);
}

Test(lock, keys_do_not_mix)
{
	cr_assert_eq(paxshm_lock(session, "k"), 0);
	cr_assert_eq(paxshm_lock(session, "kk"), 0);
	cr_assert_eq(paxshm_unlock(session, "k"), 0);
	cr_assert_eq(paxshm_unlock(session, "k"), -ESTALE);
	cr_assert_eq(paxshm_unlock(session, "kk"), 0);
}

static void *try_named(void *wanted)
{
	uint64_t token;

	/* Another thread owns it: not ours to unlock or to look at; waiting for it goes by the gate. */
	if (paxshm_unlock(session, "k") != -ESTALE || paxshm_token(session, "k", &token) != -ESTALE)
		return NULL;
	return paxshm_lock(session, "k") == 0 ? wanted : NULL;
}

Test(lock, threads_exclude_each_other_by_name)
{
	pthread_t thread;
	void *got;

	cr_assert_eq(paxshm_lock(session, "k"), 0);
	pthread_create(&thread, NULL, try_named, &fake);
	fake_until_waiting(&fake, "k", 1);
	cr_assert_eq(paxshm_unlock(session, "k"), 0);
	pthread_join(thread, &got);
	cr_assert_eq(got, &fake);
}

static void *unlock_not_owned(void *wanted)
{
	return paxshm_unlock(session, "k") == -ESTALE ? wanted : NULL;
}

Test(lock, ended_thread_leaves_its_lock_to_the_session_and_to_no_thread)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);
	pthread_t thread;
	void *got;

	pthread_create(&thread, NULL, try_named, &fake);
	pthread_join(thread, &got);
	cr_assert_eq(got, &fake);
	/* The next one may well get the same thread id. */
	how.flags = PAXSHM_NOWAIT;
	cr_expect_eq(paxshm_lock_acquire(handle("k"), &how, NULL), -EBUSY);
	pthread_create(&thread, NULL, unlock_not_owned, &fake);
	pthread_join(thread, &got);
	cr_expect_eq(got, &fake);
}

Test(lock, names_that_are_used_again_are_remembered_once_each)
{
	char key[16];

	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < FAKE_LOCKS; i++) {
			snprintf(key, sizeof(key), "name %u", i);
			cr_assert_eq(paxshm_lock(session, key), 0);
			cr_assert_eq(paxshm_unlock(session, key), 0);
			cr_assert_eq(paxshm_unlock(session, key), -ESTALE);
		}
	cr_expect_gt(session->n_named, 0);
	cr_expect_leq(session->n_named, FAKE_LOCKS);
}
