/* SPDX-License-Identifier: Apache-2.0 */
/* What every host must have alike: tables at equal index, on every kind of host and loop, and after having been away. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "../../tools/paxshmd/agent.h"
#include "counter.h"
#include "puppet.h"
#include "rig.h"

RIG_SUITE(tables);

/* That a host keeps: who misses more needs a copy of the tables. */
static uint64_t log_slots(void)
{
	return agent_limits_for(1024).log_slots;
}

/* ---- a sampler: hashes of all hosts by index, while they change ---- */

#define SEEN 4096

static struct {
	uint64_t applied, hash;
	unsigned host;
} seen[SEEN];
static unsigned coincidences; /* two hosts were seen at one index */

static void sample(void)
{
	for (unsigned n = 1; n <= rig->n; n++) {
		struct paxshm_status s = PAXSHM_INIT(s);

		if (!rig_runs(n) || rig->host[n].stopped || paxshm_status(rig_watch(n), PAXSHM_STATUS_HASH, &s))
			continue; /* -EAGAIN: they changed meanwhile */
		unsigned i = s.applied % SEEN;
		if (seen[i].applied == s.applied && seen[i].host != n) {
			cr_assert_eq(seen[i].hash, s.state_hash, "at slot %llu hosts %u and %u differ",
				     (unsigned long long)s.applied, seen[i].host, n);
			coincidences++;
		}
		seen[i].applied = s.applied;
		seen[i].hash = s.state_hash;
		seen[i].host = n;
	}
}

static bool sampled_enough(unsigned n)
{
	sample();
	return coincidences >= n;
}

/* Programs on every host add to two counters while tables are compared; then all rests. */
static void compare_under_load(unsigned n_samples)
{
	struct counter *a = counter_new("a"), *b = counter_new("b");

	for (unsigned w = 0; w < 2 * rig->n; w++)
		counter_work(w % 2 ? a : b, w / 2, 1 + w / 2);
	counter_wait(a, 3, 1);
	counter_wait(b, 3, 1);
	RIG_WAIT(sampled_enough(n_samples), "hosts at one index: %u", coincidences);
	counter_check(a);
	counter_check(b);
	rig_same_tables();
}

/* ---- every kind of loop ---- */

/* Ends the test, and says so, where there is none. */
static void needs_io_uring(void)
{
	rig_start(&(struct rig_plan){ .voters = 1, .loop = { "io_uring" }, .idle = true });
	rig_start_host(1, true);
	RIG_WAIT(rig_log_count(1, "event=agent.serves") || rig_log_count(1, "event=loop.unavailable"));
	bool there = rig_log_count(1, "event=agent.serves");
	rig_stop_host(1);
	rig_end();
	rig = NULL;
	if (!there)
		cr_skip_test("io_uring is not to be had on this machine");
}

static unsigned loops_in_log(const char *text)
{
	unsigned hosts = 0;

	for (unsigned n = 1; n <= rig->n; n++)
		hosts += rig_log_count(n, text) != 0;
	return hosts;
}

Test(tables, are_equal_under_load_on_epoll)
{
	rig_start(&(struct rig_plan){ .voters = 3, .loop = { "epoll" } });
	cr_assert_eq(loops_in_log("loop=epoll"), 3);
	compare_under_load(20);
	rig_end();
}

Test(tables, are_equal_under_load_on_io_uring)
{
	needs_io_uring();
	rig_start(&(struct rig_plan){ .voters = 3, .loop = { "io_uring" } });
	cr_assert_eq(loops_in_log("loop=\"io_uring"), 3);
	compare_under_load(20);
	rig_end();
}

Test(tables, are_equal_under_load_on_mixed_loops)
{
	needs_io_uring();
	rig_start(&(struct rig_plan){ .voters = 3, .observers = 1, .loop = { NULL, "io_uring", "epoll", "auto", "epoll" } });
	cr_assert_eq(loops_in_log("loop=epoll"), 2);
	compare_under_load(20);
	for (unsigned n = 1; n <= 4; n++)
		rig_kill_agent(n);
	for (unsigned n = 1; n <= 4; n++)
		rig_back(n);
	rig_settle(0);
	rig_end();
}

/* ---- every kind of cluster ---- */

Test(tables, a_cluster_of_one_needs_nobody)
{
	rig_start(&(struct rig_plan){ .voters = 1 });
	struct puppet *a = puppet_new(1), *b = puppet_new(1);

	cr_assert_eq(puppet_lock(a, "k").rc, 0);
	puppet_queue(b, "k");
	rig_kill_agent(1);
	rig_back(1);
	cr_assert_eq(puppet_unlock(a, "k"), 0);
	cr_assert_eq(puppet_answer(b).rc, 0);
	puppet_free(a), puppet_free(b);
	rig_end();
}

Test(tables, five_voters_bear_two_that_stop)
{
	rig_start(&(struct rig_plan){ .voters = 5 });
	unsigned leader = rig_leader(), second = rig_follower(0);
	struct counter *c = counter_new("five");

	for (unsigned w = 0; w < 5; w++)
		counter_work(c, w, 1 + w);
	counter_wait(c, 3, 1);
	rig_signal_agent(leader, SIGSTOP);
	rig_signal_agent(second, SIGSTOP);
	/* Whoever has the lock on a stopped host keeps it; the others agree on other locks. */
	struct puppet *p = puppet_new(rig_follower(0));
	for (unsigned turn = 0; turn < 20; turn++) {
		cr_assert_eq(puppet_lock(p, "k").rc, 0);
		cr_assert_eq(puppet_unlock(p, "k"), 0);
	}
	rig_signal_agent(leader, SIGCONT);
	rig_signal_agent(second, SIGCONT);
	counter_wait(c, 3, 1);
	counter_check(c);
	puppet_free(p);
	rig_end();
}

Test(tables, observers_take_locks_and_are_no_majority)
{
	rig_start(&(struct rig_plan){ .voters = 3, .observers = 2 });
	struct puppet *a = puppet_new(4), *b = puppet_new(5), *c = puppet_new(1);
	struct answer first = puppet_lock(a, "k"), second, third;

	cr_assert_eq(rig_status(4).role, 2);
	cr_assert_eq(first.rc, 0);
	puppet_queue(b, "k");
	RIG_WAIT(rig_waiting(4, "k") == 1);
	puppet_queue(c, "k");
	RIG_WAIT(rig_waiting(4, "k") == 2);
	cr_assert_eq(puppet_unlock(a, "k"), 0);
	second = puppet_answer(b);
	cr_assert_eq(second.rc, 0);
	cr_assert_gt(second.grant.token, first.grant.token);
	/* An owner on an observer is found from everywhere, over the leader if need be. */
	for (unsigned n = 1; n <= 5; n++)
		cr_assert_eq(rig_holder(n, "k").pid, (uint32_t)b->process.pid);
	cr_assert_eq(puppet_try(a, "k").grant.holder.pid, (uint32_t)b->process.pid);
	puppet_kill(b);
	third = puppet_answer(c);
	cr_assert_eq(third.rc, 0);
	cr_assert(third.grant.flags & PAXSHM_OWNER_DIED);

	/* An observer's agent dies, and the leader's: nothing is lost. */
	cr_assert_eq(puppet_lock(a, "l").rc, 0);
	rig_kill_agent(4);
	rig_kill_agent(rig_leader());
	rig_back(4);
	cr_assert_eq(puppet_check(a, "l"), 0);
	cr_assert_eq(puppet_lock(a, "m").rc, 0);

	/* One voter and two observers are no majority. */
	unsigned x = rig_leader(), y = rig_follower(0);
	rig_signal_agent(x, SIGSTOP);
	rig_signal_agent(y, SIGSTOP);
	RIG_WAIT(!rig_status(4).quorum && !rig_status(5).quorum);
	puppet_begin(a, DO_LOCK, "n");
	rig_signal_agent(x, SIGCONT);
	cr_assert_eq(puppet_answer(a).rc, 0, "two voters are");
	rig_signal_agent(y, SIGCONT);
	puppet_free(a), puppet_free(b), puppet_free(c);
	rig_end();
}

Test(tables, are_equal_under_load_with_observers)
{
	rig_start(&(struct rig_plan){ .voters = 3, .observers = 2 });
	compare_under_load(20);
	rig_end();
}

/* ---- keys ---- */

Test(tables, keys_of_every_length_are_the_same_everywhere)
{
	rig_start(&(struct rig_plan){ .voters = 3, .settings = "locks = 4096\n" }); /* with room for so many long ones */
	paxshm_session *s = rig_open(1);
	unsigned char key[PAXSHM_KEY_MAX];
	paxshm_lock_handle *l[PAXSHM_KEY_MAX + 1];

	for (size_t len = 1; len <= sizeof(key); len++) {
		for (size_t i = 0; i < len; i++)
			key[i] = (unsigned char)(i ? i * 7 + len : len); /* NUL and newline too */
		cr_assert_eq(paxshm_lock_ref(s, key, len, &l[len]), 0);
		cr_assert_eq(paxshm_lock_acquire(l[len], NULL, NULL), 0);
	}
	rig_same_tables();
	for (unsigned n = 1; n <= 3; n++) {
		struct paxshm_lock_info info = PAXSHM_INIT(info);
		bool there[PAXSHM_KEY_MAX + 1] = { false };
		uint32_t cursor = 0;
		unsigned found = 0;

		while (paxshm_next_lock(rig_watch(n), &cursor, &info) == 1) {
			cr_assert_not(there[info.key_len]);
			cr_assert_eq(info.key[0], info.key_len);
			for (size_t i = 1; i < info.key_len; i++)
				cr_assert_eq(info.key[i], (unsigned char)(i * 7 + info.key_len));
			cr_assert_eq(info.owner.host_id, 1);
			there[info.key_len] = true;
			found++;
		}
		cr_assert_eq(found, PAXSHM_KEY_MAX);
		cr_assert_eq(rig_status(n).locks, PAXSHM_KEY_MAX);
	}
	for (size_t len = 1; len <= sizeof(key); len++)
		cr_assert_eq(paxshm_lock_release(l[len]), 0);
	for (unsigned n = 1; n <= 3; n++)
		RIG_WAIT(rig_status(n).locks == 0, "a free lock takes no row");
	RIG_WAIT(rig_status(2).cells == 0);
	cr_assert_eq(paxshm_close(s), 0);
	rig_end();
}

/* ---- hosts that were away ---- */

/* Locks and unlocks new keys on host n until `slots` more are applied there. */
static void churn(unsigned n, uint64_t slots)
{
	paxshm_session *s = rig_open(n);
	uint64_t until = rig_status(n).applied + slots;
	char key[32];

	static unsigned i; /* a key that the host has had may still be kept there */

	for (; rig_status(n).applied < until; i++) {
		snprintf(key, sizeof(key), "churn %u", i);
		cr_assert_eq(paxshm_lock(s, key), 0);
		cr_assert_eq(paxshm_unlock(s, key), 0);
	}
	cr_assert_eq(paxshm_close(s), 0);
}

Test(tables, a_host_that_slept_through_the_log_gets_a_copy)
{
	rig_start(&(struct rig_plan){ .voters = 3, .settings = "host_lease_ms = 60000\n" }); /* it sleeps, and is not given up */
	unsigned sleeper = rig_follower(0), awake = rig_leader();
	struct puppet *owner = puppet_new(sleeper), *waiter = puppet_new(sleeper), *other = puppet_new(awake), *died = puppet_new(awake);
	char down[32];

	cr_assert_eq(puppet_lock(owner, "owned").rc, 0);
	cr_assert_eq(puppet_lock(other, "other").rc, 0);
	puppet_queue(waiter, "other");
	RIG_WAIT(rig_waiting(awake, "other") == 1);
	puppet_queue(other, "owned");
	RIG_WAIT(rig_waiting(sleeper, "owned") == 1);
	cr_assert_eq(puppet_lock(died, "died").rc, 0);
	rig_signal_agent(sleeper, SIGSTOP);
	/* What it may still find in its connection must not be enough: until that is given up. */
	snprintf(down, sizeof(down), "event=link.down peer=h%u", sleeper);
	while (!rig_log_count(awake, down))
		churn(awake, log_slots() / 4);
	churn(awake, log_slots() + log_slots() / 4);
	puppet_kill(died);
	rig_signal_agent(sleeper, SIGCONT);
	rig_log_wait(sleeper, "event=snapshot-installed");
	rig_same_tables();

	/* Its own locks, waits and owners are as before. */
	cr_assert_eq(puppet_check(owner, "owned"), 0);
	cr_assert_eq(rig_holder(awake, "owned").pid, (uint32_t)owner->process.pid);
	cr_assert_not(puppet_answered(waiter));
	cr_assert_not(puppet_answered(other));
	cr_assert_eq(puppet_unlock(owner, "owned"), 0);
	cr_assert_eq(puppet_answer(other).rc, 0);
	cr_assert_eq(puppet_unlock(other, "other"), 0);
	cr_assert_eq(puppet_answer(waiter).rc, 0);
	struct answer a = puppet_lock(owner, "died");
	cr_assert_eq(a.rc, 0);
	cr_assert(a.grant.flags & PAXSHM_OWNER_DIED);
	puppet_free(owner), puppet_free(waiter), puppet_free(other), puppet_free(died);
	rig_end();
}

Test(tables, a_host_that_comes_late_gets_a_copy)
{
	rig_start(&(struct rig_plan){ .voters = 3, .observers = 1, .idle = true });
	for (unsigned n = 1; n <= 3; n++)
		rig_start_host(n, true);
	rig_settle(0);
	struct puppet *owner = puppet_new(1), *late;

	cr_assert_eq(puppet_lock(owner, "owned").rc, 0);
	churn(2, log_slots() + log_slots() / 4);
	rig_start_host(4, false);
	rig_settle(4);
	cr_assert_eq(rig_log_count(4, "event=snapshot-installed"), 1);
	rig_same_tables();
	late = puppet_new(4);
	cr_assert_eq(puppet_try(late, "owned").rc, -EBUSY);
	puppet_queue(late, "owned");
	cr_assert_eq(puppet_unlock(owner, "owned"), 0);
	cr_assert_eq(puppet_answer(late).rc, 0);

	/* So does a voter with fresh memory. */
	churn(2, log_slots() + log_slots() / 4);
	unsigned fresh = rig_follower(1);
	rig_kill_host(fresh);
	rig_start_host(fresh, true);
	rig_settle(fresh);
	cr_assert_eq(rig_log_count(fresh, "event=snapshot-installed"), 1);
	puppet_free(owner), puppet_free(late);
	rig_end();
}
