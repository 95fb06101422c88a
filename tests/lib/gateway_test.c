/* SPDX-License-Identifier: Apache-2.0 */
/* gateway: what a host has, its sessions take and pass on at the gate; what does not count goes back to the agent. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <unistd.h>

#include "../../lib/session.h"
#include "../../shm/atom.h"
#include "../../shm/gate_wait.h"
#include "../../shm/sys.h"
#include "fake_agent.h"

static struct fake fake;
static paxshm_session *ours, *theirs; /* slots 1 and 2 */

static void start(void)
{
	fake_start(&fake);
	ours = fake_open(&fake, 10000);
	theirs = fake_open(&fake, 10000);
}

static void stop(void)
{
	paxshm_close(theirs);
	paxshm_close(ours);
	fake_stop(&fake);
}

TestSuite(gateway, .init = start, .fini = stop, .timeout = 60);

static paxshm_lock_handle *handle(paxshm_session *s)
{
	paxshm_lock_handle *l = NULL;

	cr_assert_eq(paxshm_lock_ref(s, "k", 1, &l), 0);
	return l;
}

static int acquire(paxshm_lock_handle *l)
{
	return paxshm_lock_acquire(l, NULL, NULL);
}

static int acquire_as(paxshm_lock_handle *l, uint32_t flags, uint32_t mode, uint32_t no_quorum, uint64_t ms, struct paxshm_grant *grant)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);

	how.flags = flags;
	how.mode = mode;
	how.no_quorum = no_quorum;
	how.deadline_ns = ms ? paxshm_deadline_ms(ms) : 0;
	return paxshm_lock_acquire(l, &how, grant);
}

/* Acquired once and released: the host has it, and its gate is free. */
static paxshm_lock_handle *warm(paxshm_session *s)
{
	paxshm_lock_handle *l = handle(s);

	cr_assert_eq(acquire(l), 0);
	cr_assert_eq(paxshm_lock_release(l), 0);
	return l;
}

/* An acquire in a thread of its own. */
struct waiter {
	pthread_t thread;
	paxshm_lock_handle *lock;
	struct paxshm_grant grant;
	uint32_t no_quorum;
	int rc;
};

static void *waiter_main(void *context)
{
	struct waiter *w = context;

	w->rc = acquire_as(w->lock, 0, 0, w->no_quorum, 0, &w->grant);
	return NULL;
}

static void waiter_start(struct waiter *w, paxshm_lock_handle *l)
{
	w->lock = l;
	w->grant = (struct paxshm_grant)PAXSHM_INIT(w->grant);
	cr_assert_eq(pthread_create(&w->thread, NULL, waiter_main, w), 0);
	fake_until_waiting(&fake, "k", 1);
}

static int waiter_end(struct waiter *w)
{
	pthread_join(w->thread, NULL);
	return w->rc;
}

static struct gate *gate(void)
{
	return &fake.view.gates[fake_gate(&fake, "k")];
}

static struct gate_terms *terms(void)
{
	return tables_terms(fake.tables, fake_gate(&fake, "k"));
}

/* The record that sleeps at the gate; 0: none. */
static uint32_t sleeper(void)
{
	for (uint32_t i = 1; i <= fake.view.n_records; i++)
		if (gate_record_state(atom_load_acquire(&fake.view.records[i].state)) == GATE_RECORD_SLEEP)
			return i;
	return 0;
}

static void paused(bool paused)
{
	fake_lock(&fake);
	fake.paused = paused;
	fake_unlock(&fake);
}

/* ---- without the agent ---- */

Test(gateway, what_the_host_has_is_acquired_without_the_agent_and_tokens_rise)
{
	struct paxshm_grant grant = PAXSHM_INIT(grant);
	paxshm_lock_handle *l = warm(ours);
	uint64_t token = FAKE_SAW(last_token);

	paused(true);
	for (int i = 0; i < 100; i++) {
		cr_assert_eq(paxshm_lock_acquire(l, NULL, &grant), 0);
		cr_assert_eq(grant.token, ++token);
		cr_assert_eq(grant.flags, 0);
		cr_assert_eq(paxshm_lock_check(l), 0);
		cr_assert_eq(paxshm_lock_release(l), 0);
	}
	cr_expect_leq(atom_load_relaxed(&gate()->since_ns), sys_now_ns());
	cr_expect_neq(atom_load_relaxed(&gate()->since_ns), 0);
	paused(false);
	cr_expect_eq(FAKE_SAW(acquires), 1);
	cr_expect_eq(FAKE_SAW(requests_seen), 1, "and nothing else was asked");
}

Test(gateway, another_session_finds_the_gate_in_the_tables)
{
	warm(ours);
	paused(true);
	cr_expect_eq(acquire(handle(theirs)), 0);
	cr_expect_eq(fake_owner(&fake, "k"), 2);
	paused(false);
	cr_expect_eq(FAKE_SAW(acquires), 1);
}

Test(gateway, by_name_it_needs_no_agent_either)
{
	warm(ours);
	paused(true);
	for (int i = 0; i < 10; i++) {
		cr_assert_eq(paxshm_lock(ours, "k"), 0);
		cr_assert_eq(paxshm_unlock(ours, "k"), 0);
	}
	paused(false);
	cr_expect_eq(FAKE_SAW(acquires), 1);
}

Test(gateway, who_waits_in_the_line_is_handed_the_lock_while_the_agent_is_away)
{
	paxshm_lock_handle *l = warm(ours);
	struct waiter w = { 0 };

	cr_assert_eq(acquire(l), 0);
	uint64_t token = fake_token(&fake, "k");
	paused(true);
	waiter_start(&w, handle(theirs));
	cr_assert_neq(sleeper(), 0);
	cr_expect_eq(paxshm_lock_release(l), 0);
	cr_expect_eq(waiter_end(&w), 0);
	cr_expect_eq(w.grant.token, token + 1);
	cr_expect_eq(w.grant.flags, 0);
	cr_expect_eq(fake_owner(&fake, "k"), 2);
	cr_expect_eq(atom_load_relaxed(&gate()->handed), 1);
	cr_expect_eq(paxshm_lock_release(w.lock), 0);
	cr_expect_eq(acquire(l), 0);
	paused(false);
	cr_expect_eq(FAKE_SAW(acquires), 1);
}

/* ---- not waiting, not for ever ---- */

Test(gateway, nowait_names_the_owner_from_memory)
{
	struct paxshm_grant grant = PAXSHM_INIT(grant);
	paxshm_lock_handle *l = warm(ours);

	cr_assert_eq(acquire(l), 0);
	cr_expect_eq(acquire_as(handle(theirs), PAXSHM_NOWAIT, 0, 0, 0, &grant), -EBUSY);
	cr_expect_eq(grant.holder.host_id, FAKE_HOST);
	cr_expect_str_eq(grant.holder.host, "alpha");
	cr_expect_eq(grant.holder.pid, (uint32_t)getpid());
	cr_expect_eq(grant.holder.start_time, 4711);
	cr_expect_eq(grant.holder.session, 1);
	cr_expect_eq(grant.holder.token, fake_token(&fake, "k"));
	cr_expect_eq(FAKE_SAW(acquires), 1);
}

Test(gateway, a_deadline_ends_the_wait_and_who_comes_back_stands_where_he_stood)
{
	paxshm_lock_handle *l = warm(ours), *again = handle(theirs);
	struct waiter w = { 0 };

	cr_assert_eq(acquire(l), 0);
	cr_expect_eq(acquire_as(again, 0, 0, 0, 20, NULL), -ETIMEDOUT);
	uint32_t left = gate_top(atom_load_acquire(&gate()->word));
	cr_assert_neq(left, 0);
	waiter_start(&w, again);
	cr_expect_eq(sleeper(), left);
	cr_expect_eq(paxshm_lock_release(l), 0);
	cr_expect_eq(waiter_end(&w), 0);
	cr_expect_eq(FAKE_SAW(acquires), 1);
}

Test(gateway, a_place_that_is_left_does_not_get_the_lock)
{
	paxshm_lock_handle *l = warm(ours);

	cr_assert_eq(acquire(l), 0);
	cr_expect_eq(acquire_as(handle(theirs), 0, 0, 0, 10, NULL), -ETIMEDOUT);
	cr_expect_eq(paxshm_lock_release(l), 0);
	cr_expect_eq(fake_owner(&fake, "k"), 0);
	cr_expect_eq(acquire_as(l, PAXSHM_NOWAIT, 0, 0, 0, NULL), 0);
}

/* Far more rounds than the suite has seconds: sleepers look by themselves once a second only. */
Test(gateway, cancel_wakes_who_sleeps_in_a_line)
{
	struct waiter w = { 0 };

	cr_assert_eq(acquire(handle(ours)), 0);
	for (int i = 0; i < 100; i++) {
		waiter_start(&w, handle(theirs));
		paxshm_cancel(theirs);
		cr_assert_eq(waiter_end(&w), -ECANCELED);
	}
	cr_expect_eq(theirs->places, 0);
}

Test(gateway, without_a_place_to_wait_the_agent_is_asked)
{
	struct waiter w = { 0 };

	fake_lock(&fake);
	fake.spare_records = GATE_RECORDS_EACH;
	fake_unlock(&fake);
	paxshm_session *s = fake_open(&fake, 1000);
	paxshm_lock_handle *l = warm(ours);
	cr_assert_eq(acquire(l), 0);
	waiter_start(&w, handle(s));
	cr_expect_eq(sleeper(), 0);
	cr_expect_eq(FAKE_SAW(acquires), 2);
	cr_expect_eq(paxshm_lock_release(l), 0);
	cr_expect_eq(waiter_end(&w), 0);
	paxshm_close(s);
}

Test(gateway, more_threads_than_places_all_get_their_turn)
{
	enum { MANY = GATE_RECORDS_EACH + 6 };
	paxshm_lock_handle *l = warm(ours);
	static struct waiter w[MANY];

	cr_assert_eq(acquire(l), 0);
	for (unsigned i = 0; i < MANY; i++) {
		waiter_start(&w[i], handle(theirs));
		fake_until_waiting(&fake, "k", i + 1);
	}
	cr_expect_eq(FAKE_SAW(acquires), 1 + MANY - GATE_RECORDS_EACH);
	cr_expect_eq(paxshm_lock_release(l), 0);
	for (unsigned got = 0; got < MANY; usleep(200))
		for (unsigned i = 0; i < MANY; i++)
			if (w[i].lock && pthread_tryjoin_np(w[i].thread, NULL) == 0) {
				cr_assert_eq(w[i].rc, 0);
				cr_assert_eq(paxshm_lock_release(w[i].lock), 0);
				w[i].lock = NULL;
				got++;
			}
	cr_expect_eq(theirs->places, 0);
}

Test(gateway, stamps_of_a_lock_that_must_be_waited_for_are_the_agents)
{
	paxshm_lock_handle *l = warm(ours);

	cr_expect_eq(acquire_as(l, PAXSHM_STAMPS, 0, 0, 0, NULL), 0, "free: nothing to tell");
	cr_expect_eq(FAKE_SAW(acquires), 1);
	cr_expect_eq(acquire_as(handle(theirs), PAXSHM_STAMPS, 0, 0, 20, NULL), -ETIMEDOUT);
	cr_expect_eq(FAKE_SAW(acquires), 2);
	cr_expect_eq(FAKE_SAW(last_acquire.flags), REQUEST_STAMPS);
}

/* ---- no quorum ---- */

static void cut_off(void)
{
	fake_lease(&fake, 0);
	fake_lock(&fake);
	fake.no_quorum = true;
	fake_unlock(&fake);
}

Test(gateway, without_a_lease_return_does_not_join_a_line)
{
	cr_assert_eq(acquire(warm(ours)), 0);
	cut_off();
	cr_expect_eq(acquire_as(handle(theirs), 0, 0, PAXSHM_RETURN, 0, NULL), -ENETUNREACH);
}

Test(gateway, who_is_not_to_wait_without_quorum_leaves_the_line_when_the_lease_ends)
{
	struct waiter w = { .no_quorum = PAXSHM_RETURN };

	cr_assert_eq(acquire(warm(ours)), 0);
	waiter_start(&w, handle(theirs));
	cr_assert_neq(sleeper(), 0);
	cut_off();
	cr_expect_eq(waiter_end(&w), -ENETUNREACH);
}

/* ---- a grant for which nobody waits any more ---- */

/* The agent was silent for too long; now it has granted it to a call that was given up. */
static paxshm_session *granted_late(paxshm_lock_handle **ret)
{
	paxshm_session *s = fake_open(&fake, 50);

	*ret = handle(s);
	paused(true);
	cr_assert_eq(acquire_as(*ret, 0, 0, 0, 20, NULL), -ENOTCONN);
	paused(false);
	fake_until_owner(&fake, "k", 3);
	return s;
}

Test(gateway, who_gave_up_and_comes_again_does_not_wait_for_himself, .timeout = 60)
{
	paxshm_lock_handle *l;
	paxshm_session *s = granted_late(&l);

	cr_expect_eq(acquire_as(l, 0, 0, 0, 3000, NULL), 0);
	cr_expect_eq(paxshm_lock_release(l), 0);
	cr_expect_eq(paxshm_close(s), 0);
}

Test(gateway, nor_is_he_told_that_it_is_busy, .timeout = 60)
{
	paxshm_lock_handle *l;
	paxshm_session *s = granted_late(&l);

	cr_expect_eq(acquire_as(l, PAXSHM_NOWAIT, 0, 0, 0, NULL), 0);
	cr_expect_eq(paxshm_close(s), 0);
}

Test(gateway, nor_does_he_when_the_answer_is_seen_later_than_the_gate, .timeout = 60)
{
	struct waiter w = { 0 };
	paxshm_session *s = granted_late(&w.lock);
	uint32_t *tail = &s->rings->completion_tail;

	fake_lock(&fake);
	cr_assert_eq(atom_load_acquire(tail), 1u);
	atom_store_release(tail, 0u);
	fake_unlock(&fake);
	waiter_start(&w, w.lock);
	atom_store_release(tail, 1u);
	cr_expect_eq(waiter_end(&w), 0);
	cr_expect_eq(paxshm_close(s), 0);
}

/* ---- what does not count ---- */

Test(gateway, an_acquisition_without_a_lease_goes_back_to_the_agent)
{
	paxshm_lock_handle *l = warm(ours);

	cut_off();
	cr_expect_eq(acquire_as(l, 0, 0, PAXSHM_RETURN, 0, NULL), -ENETUNREACH);
	fake_until(&fake, &fake.gates, 1);
	cr_expect_eq(gate_owner(atom_load_acquire(&gate()->word)), GATE_AGENT);
	cr_expect_eq(FAKE_SAW(acquires), 2);
}

/* What a session has to tell finds no room, and nobody reads. */
static void crowd(paxshm_session *s)
{
	struct ring_request request = { .op = REQUEST_GATE, .call = CALL_NONE, .target = fake_gate(&fake, "k") };

	while (ring_push(s->rings, &request))
		;
}

Test(gateway, what_does_not_count_is_given_back_within_the_deadline_when_there_is_no_room_to_tell_it, .timeout = 60)
{
	paxshm_session *s = fake_open(&fake, 50);
	paxshm_lock_handle *l = warm(s);

	paused(true);
	crowd(s);
	fake_lease(&fake, 0);
	cr_expect_eq(acquire_as(l, 0, 0, 0, 20, NULL), -ETIMEDOUT);
	cr_expect_eq(gate_owner(atom_load_acquire(&gate()->word)), GATE_AGENT);
	fake_lease(&fake, NEVER);
	paused(false);
	fake_until(&fake, &fake.gates, RING_REQUESTS);
	paxshm_lock_handle *other;
	cr_assert_eq(paxshm_lock_ref(s, "j", 1, &other), 0);
	cr_expect_eq(acquire(other), 0);
	fake_until(&fake, &fake.gates, RING_REQUESTS + 1); /* the next call told it */
	cr_expect_eq(acquire(l), 0);
	cr_expect_eq(paxshm_close(s), 0);
}

Test(gateway, a_gate_of_another_key_is_left_alone_and_the_agent_asked)
{
	paxshm_lock_handle *l = warm(ours);

	fake_move_gate(&fake, "k");
	uint32_t count = gate_count(atom_load_acquire(&gate()->word));
	cr_expect_eq(acquire(l), 0);
	cr_expect_eq(FAKE_SAW(acquires), 2);
	cr_expect_eq(gate_count(atom_load_acquire(&gate()->word)), count + 1, "given once");
	cr_expect_eq(paxshm_lock_release(l), 0);
	cr_expect_eq(acquire(l), 0);
	cr_expect_eq(FAKE_SAW(acquires), 2, "and remembered anew");
}

Test(gateway, who_waits_in_a_line_that_was_for_another_key_leaves_it)
{
	paxshm_lock_handle *l = warm(ours);
	struct waiter w = { 0 };

	cr_assert_eq(acquire(l), 0);
	waiter_start(&w, handle(theirs));
	atom_store_seq_cst(&terms()->serial, terms()->serial + 1);
	gate_ring(&fake.view, sleeper());
	fake_until(&fake, &fake.acquires, 2);
	cr_expect_eq(paxshm_lock_release(l), 0);
	cr_expect_eq(waiter_end(&w), 0);
}

Test(gateway, beyond_the_range_of_tokens_the_agent_is_asked)
{
	paxshm_lock_handle *l = warm(ours);

	atom_store_relaxed(&terms()->range, 2u);
	cr_expect_eq(acquire(l), 0);
	cr_expect_eq(FAKE_SAW(acquires), 1);
	cr_expect_eq(paxshm_lock_release(l), 0);
	cr_expect_eq(acquire(l), 0);
	cr_expect_eq(FAKE_SAW(acquires), 2);
	cr_expect_eq(FAKE_SAW(gates), 1);
}

Test(gateway, a_gate_that_another_life_opened_does_not_count)
{
	paxshm_lock_handle *l = warm(ours);

	atom_store_relaxed(&terms()->incarnation, FAKE_INCARNATION - 1ull);
	cr_expect_eq(acquire(l), 0);
	cr_expect_eq(FAKE_SAW(acquires), 2);
	cr_expect_eq(FAKE_SAW(gates), 1);
}

/* ---- death and loss ---- */

Test(gateway, who_waits_for_a_dead_owner_is_told)
{
	struct waiter w = { 0 };

	cr_assert_eq(acquire(warm(theirs)), 0);
	waiter_start(&w, handle(ours));
	fake_bury(&fake, 2);
	cr_expect_eq(waiter_end(&w), 0);
	cr_expect_eq(w.grant.flags, PAXSHM_OWNER_DIED);
	cr_expect_eq(paxshm_lock_release(w.lock), 0);
	w.grant.flags = 99;
	cr_expect_eq(paxshm_lock_acquire(w.lock, NULL, &w.grant), 0);
	cr_expect_eq(w.grant.flags, 0, "once");
}

Test(gateway, a_death_is_not_forgotten_by_who_gives_the_lock_back_unused)
{
	struct paxshm_grant grant = PAXSHM_INIT(grant);
	paxshm_lock_handle *l = warm(ours);

	cr_assert_eq(acquire(handle(theirs)), 0);
	fake_bury(&fake, 2);
	cr_assert_eq(fake_owner(&fake, "k"), 0);
	fake_lease(&fake, 0);
	cr_expect_eq(acquire_as(l, 0, 0, PAXSHM_RETURN, 0, &grant), -ENETUNREACH);
	fake_until(&fake, &fake.gates, 2);
	fake_lease(&fake, NEVER);
	cr_expect_eq(paxshm_lock_acquire(l, NULL, &grant), 0);
	cr_expect_eq(grant.flags, PAXSHM_OWNER_DIED);
}

Test(gateway, what_the_gate_says_is_not_ours_is_lost)
{
	paxshm_lock_handle *l = warm(ours);
	struct gate_terms now;

	cr_assert_eq(acquire(l), 0);
	now = *terms();
	fake_bury(&fake, 1); /* as if this session had ended */
	cr_assert_eq(now.serial, terms()->serial);
	cr_expect_eq(paxshm_lock_check(l), -ESTALE);
	cr_expect_eq(acquire(l), -ESTALE);
	cr_expect_eq(paxshm_lock_release(l), -ESTALE);
	cr_expect_eq(acquire(l), 0);
}

Test(gateway, a_life_that_ends_takes_lock_and_line_along)
{
	paxshm_lock_handle *l = warm(ours);
	struct waiter w = { 0 };

	cr_assert_eq(acquire(l), 0);
	waiter_start(&w, handle(theirs));
	fake_down(&fake);
	cr_expect_eq(paxshm_lock_check(l), -ESTALE);
	fake_up(&fake, FAKE_INCARNATION + 1);
	fake_lease(&fake, NEVER);
	fake_open_gate(&fake, "k");
	cr_expect_eq(waiter_end(&w), 0);
	cr_expect_eq(paxshm_lock_release(l), -ESTALE);
	cr_expect_eq(paxshm_lock_check(w.lock), 0);
}

Test(gateway, a_session_that_was_ended_waits_no_more)
{
	struct waiter w = { 0 };

	cr_assert_eq(acquire(warm(ours)), 0);
	waiter_start(&w, handle(theirs));
	fake_lock(&fake);
	atom_store_release(&fake.sessions[2].rings->closed, (uint32_t)EPROTO);
	fake_bury(&fake, 2);
	gate_ring(&fake.view, GATE_RECORDS_EACH + 1);
	fake_unlock(&fake);
	cr_expect_eq(waiter_end(&w), -ENOTCONN);
	cr_expect_eq(acquire(handle(theirs)), -ENOTCONN);
}

/* ---- closing ---- */

Test(gateway, a_release_to_the_agent_tells_it)
{
	paxshm_lock_handle *l = warm(ours);
	struct waiter w = { 0 };

	cr_assert_eq(acquire(l), 0);
	waiter_start(&w, handle(theirs));
	fake_close_gate(&fake, "k");
	cr_expect_eq(FAKE_SAW(gates), 0);
	cr_expect_eq(paxshm_lock_release(l), 0);
	fake_until(&fake, &fake.gates, 1);
	cr_expect_eq(waiter_end(&w), 0, "opened again, to its line");
}

Test(gateway, a_lock_that_went_to_another_host_comes_back_through_the_agent)
{
	paxshm_lock_handle *l = warm(ours);
	struct waiter w = { 0 };

	fake_hold(&fake, "k");
	waiter_start(&w, l);
	cr_expect_eq(sleeper(), 0);
	cr_expect_eq(FAKE_SAW(acquires), 2);
	fake_free(&fake, "k");
	cr_expect_eq(waiter_end(&w), 0);
	cr_expect_eq(w.grant.token, FAKE_SAW(last_token));
}

/* ---- shared ---- */

Test(gateway, shared_locks_are_the_agents)
{
	paxshm_lock_handle *a = handle(ours), *b = handle(theirs);
	struct paxshm_grant grant = PAXSHM_INIT(grant);
	struct waiter w = { 0 };

	warm(ours);
	fake_close_gate(&fake, "k");
	cr_assert_eq(acquire_as(a, 0, PAXSHM_PR, 0, 0, &grant), 0);
	cr_expect_eq(FAKE_SAW(last_acquire.mode), PAXSHM_PR);
	cr_assert_eq(acquire_as(b, 0, PAXSHM_PR, 0, 0, NULL), 0, "both");
	cr_expect_eq(acquire_as(handle(ours), PAXSHM_NOWAIT, 0, 0, 0, NULL), -EBUSY);
	waiter_start(&w, handle(theirs));
	cr_expect_eq(paxshm_lock_check(a), 0);
	cr_expect_eq(paxshm_lock_release(a), 0);
	cr_expect_eq(paxshm_lock_check(a), -ESTALE);
	fake_until(&fake, &fake.releases, 1);
	cr_expect_eq(paxshm_lock_release(b), 0);
	cr_expect_eq(waiter_end(&w), 0);
	cr_expect_eq(FAKE_SAW(stale_releases), 0);
	cr_expect_eq(FAKE_SAW(releases), 2);
}

Test(gateway, a_shared_owner_enters_again_shared_and_not_exclusively)
{
	struct paxshm_grant grant = PAXSHM_INIT(grant);
	paxshm_lock_handle *l = handle(ours);

	cr_assert_eq(acquire_as(l, 0, PAXSHM_PR, 0, 0, NULL), 0);
	cr_expect_eq(acquire_as(l, 0, PAXSHM_PR, 0, 0, &grant), 0);
	cr_expect_eq(grant.flags, PAXSHM_REENTERED);
	cr_expect_eq(acquire(l), -EDEADLK);
	cr_expect_eq(paxshm_lock_release(l), 0);
	cr_expect_eq(FAKE_SAW(releases), 0);
	cr_expect_eq(paxshm_lock_release(l), 0);
	fake_until(&fake, &fake.releases, 1);
	cr_assert_eq(acquire(l), 0, "now it may");
	cr_expect_eq(acquire_as(l, 0, PAXSHM_PR, 0, 0, &grant), 0, "exclusive is more");
	cr_expect_eq(grant.flags, PAXSHM_REENTERED);
	cr_expect_eq(paxshm_lock_release(l), 0);
	cr_expect_eq(fake_owner(&fake, "k"), 1);
}

Test(gateway, a_shared_grant_without_a_lease_goes_back_by_its_claim)
{
	fake_lease(&fake, 0);
	cr_expect_eq(acquire_as(handle(ours), 0, PAXSHM_PR, PAXSHM_RETURN, 0, NULL), -ENETUNREACH);
	fake_until(&fake, &fake.releases, 1);
	cr_expect_eq(FAKE_SAW(stale_releases), 0);
}

/* ---- looking ---- */

Test(gateway, a_lock_that_the_host_keeps_is_nobodys)
{
	struct paxshm_who who = PAXSHM_INIT(who);

	warm(ours);
	cr_expect_eq(paxshm_holder(ours, "k", 1, 0, &who), -ESRCH);
	cr_expect_eq(FAKE_SAW(holders), 0);
	cr_assert_eq(acquire(handle(theirs)), 0);
	cr_expect_eq(paxshm_holder(ours, "k", 1, 0, &who), 0);
	cr_expect_eq(who.session, 2);
}

Test(gateway, who_tries_on_a_host_that_is_cut_off_is_told_of_that_if_he_asked_for_it)
{
	paxshm_lock_handle *owner = handle(ours), *l = handle(theirs);

	cr_assert_eq(acquire(owner), 0);
	fake_lease(&fake, 0);
	cr_expect_eq(acquire_as(l, PAXSHM_NOWAIT, 0, PAXSHM_RETURN, 0, NULL), -ENETUNREACH);
	cr_expect_eq(acquire_as(l, PAXSHM_NOWAIT, 0, PAXSHM_RETRY, 0, NULL), -EBUSY);
	fake_lease(&fake, NEVER);
	cr_expect_eq(acquire_as(l, PAXSHM_NOWAIT, 0, PAXSHM_RETURN, 0, NULL), -EBUSY);
}
