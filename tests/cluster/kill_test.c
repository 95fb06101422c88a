/* SPDX-License-Identifier: Apache-2.0 */
/* Deaths: of programs that own or wait, of agents, of whole hosts, at any moment. Nothing is lost, nothing is given twice. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "counter.h"
#include "puppet.h"
#include "rig.h"

RIG_SUITE(kill);

static void three_hosts(void)
{
	rig_start(&(struct rig_plan){ .voters = 3 });
}

/* Waits until host n has noticed every death of a program on it so far. */
static void let_notice_deaths(unsigned n)
{
	struct puppet *p = puppet_new(n);

	cr_assert_eq(puppet_lock(p, "a death to be noticed").rc, 0);
	puppet_kill(p);
	RIG_WAIT(rig_holder(n, "a death to be noticed").host_id == 0);
	puppet_free(p);
}

/* ---- programs ---- */

Test(kill, a_killed_owner_is_followed_by_one_who_is_told)
{
	three_hosts();
	uint64_t token = 0;

	for (unsigned turn = 0; turn < 9; turn++) {
		/* Owner and next on the same host, and on two. */
		struct puppet *owner = puppet_new(1 + turn % 3), *next = puppet_new(1 + (turn + turn / 3) % 3);
		struct answer a = puppet_lock(owner, "k");

		cr_assert_eq(a.rc, 0);
		cr_assert_not(a.grant.flags & PAXSHM_OWNER_DIED);
		cr_assert_gt(a.grant.token, token);
		puppet_queue(next, "k");
		puppet_kill(owner);
		token = a.grant.token;
		a = puppet_answer(next);
		cr_assert_eq(a.rc, 0);
		cr_assert(a.grant.flags & PAXSHM_OWNER_DIED);
		cr_assert_gt(a.grant.token, token);
		token = a.grant.token;
		cr_assert_eq(puppet_unlock(next, "k"), 0);
		puppet_free(owner), puppet_free(next);
	}
	rig_end();
}

Test(kill, a_death_is_told_also_when_nobody_waited)
{
	three_hosts();
	struct puppet *owner = puppet_new(1), *later = puppet_new(2);
	struct answer a = puppet_lock(owner, "k"), b;

	cr_assert_eq(a.rc, 0);
	puppet_kill(owner);
	RIG_WAIT(rig_holder(1, "k").host_id == 0);
	b = puppet_lock(later, "k");
	cr_assert_eq(b.rc, 0);
	cr_assert(b.grant.flags & PAXSHM_OWNER_DIED);
	cr_assert_gt(b.grant.token, a.grant.token);
	puppet_free(owner), puppet_free(later);
	rig_end();
}

Test(kill, a_waiter_that_dies_as_the_lock_is_freed_takes_nothing_along)
{
	three_hosts();
	uint64_t token = 0;

	for (unsigned turn = 0; turn < 16; turn++) {
		struct puppet *owner = puppet_new(1), *dies = puppet_new(turn % 2 ? 1 : 2), *last = puppet_new(turn % 4 < 2 ? 1 : 3);
		struct answer a = puppet_lock(owner, "k");

		cr_assert_eq(a.rc, 0);
		cr_assert_gt(a.grant.token, token);
		puppet_queue(dies, "k");
		puppet_queue(last, "k");
		puppet_begin(owner, DO_UNLOCK, "k");
		puppet_kill(dies);
		cr_assert_eq(puppet_answer(owner).rc, 0);
		a = puppet_answer(last);
		cr_assert_eq(a.rc, 0);
		token = a.grant.token;
		puppet_free(owner), puppet_free(dies), puppet_free(last);
	}
	rig_end();
}

Test(kill, killed_waiters_leave_the_queue)
{
	three_hosts();
	struct puppet *owner = puppet_new(1), *waiters[6], *last = puppet_new(2);

	cr_assert_eq(puppet_lock(owner, "k").rc, 0);
	for (unsigned i = 0; i < 6; i++)
		puppet_queue(waiters[i] = puppet_new(1 + i % 3), "k");
	puppet_queue(last, "k");
	for (unsigned i = 0; i < 6; i++)
		puppet_kill(waiters[i]);
	/* Whose death is not noticed yet may still be given the lock, and then dies with it. */
	for (unsigned n = 1; n <= 3; n++)
		let_notice_deaths(n);
	/* Host 3's wish is taken back, host 2 still has one. */
	RIG_WAIT(rig_waiting(1, "k") == 1);
	cr_assert_not(puppet_answered(last));
	cr_assert_eq(puppet_check(owner, "k"), 0);
	cr_assert_eq(puppet_unlock(owner, "k"), 0);
	struct answer a = puppet_answer(last);
	cr_assert_eq(a.rc, 0);
	cr_assert_not(a.grant.flags & PAXSHM_OWNER_DIED, "no owner died");
	for (unsigned i = 0; i < 6; i++)
		puppet_free(waiters[i]);
	puppet_free(owner), puppet_free(last);
	rig_end();
}

Test(kill, the_same_program_started_again_keeps_its_new_lock)
{
	three_hosts();
	uint64_t token = 0;

	for (unsigned turn = 0; turn < 10; turn++) {
		struct puppet *old = puppet_new(1), *again;
		struct answer a = puppet_lock(old, "k");

		cr_assert_eq(a.rc, 0);
		cr_assert_gt(a.grant.token, token);
		cr_assert(process_signal(&old->process, SIGKILL));
		again = puppet_new(1);
		a = puppet_lock(again, "k");
		cr_assert_eq(a.rc, 0);
		cr_assert(a.grant.flags & PAXSHM_OWNER_DIED);
		token = a.grant.token;
		let_notice_deaths(1);
		cr_assert_eq(puppet_check(again, "k"), 0);
		cr_assert_eq(rig_holder(2, "k").pid, (uint32_t)again->process.pid);
		cr_assert_eq(puppet_unlock(again, "k"), 0);
		puppet_kill(again);
		puppet_free(again);
		process_wait_gone(&old->process, RIG_PATIENCE_MS);
		puppet_free(old);
	}
	rig_end();
}

Test(kill, a_child_that_holds_the_socket_keeps_no_lock)
{
	three_hosts();
	struct puppet *p = puppet_new(1), *next = puppet_new(1);
	struct answer a = puppet_lock(p, "k"), child;

	cr_assert_eq(a.rc, 0);
	puppet_begin(p, DO_FORK_EXEC, "k");
	child = puppet_answer(p);
	cr_assert_eq(child.rc, 0);
	puppet_queue(next, "k");
	puppet_kill(p);
	cr_assert_eq(puppet_answer(next).rc, 0, "the process that opened the session decides");
	cr_assert_eq(kill((pid_t)child.who.pid, 0), 0, "while its child lives");
	puppet_free(p);
	puppet_free(next);
	rig_end();
}

Test(kill, a_forked_child_may_not_use_its_parents_session)
{
	three_hosts();
	struct puppet *p = puppet_new(1), *other = puppet_new(2);

	cr_assert_eq(puppet_lock(p, "k").rc, 0);
	puppet_begin(p, DO_FORK_USE, "k");
	cr_assert_eq(puppet_answer(p).rc, -EPERM);
	/* The parent's is unharmed, also by the end of that child. */
	cr_assert_eq(puppet_check(p, "k"), 0);
	cr_assert_eq(puppet_try(other, "k").rc, -EBUSY);
	cr_assert_eq(puppet_unlock(p, "k"), 0);
	cr_assert_eq(puppet_lock(other, "k").rc, 0);
	puppet_free(p), puppet_free(other);
	rig_end();
}

/* ---- paxctl ---- */

/* "paxctl lock k" around a command that ends when *ret_in is closed; waits until it has the lock. */
static pid_t lock_around_cat(unsigned n, int *ret_in)
{
	int in[2];
	pid_t ctl;

	cr_assert_eq(pipe2(in, O_CLOEXEC), 0);
	ctl = rig_spawn(in[0], -1, (const char *const[]){ "paxctl", "lock", "--socket", rig->host[n].socket, "k", "--", "cat", NULL });
	close(in[0]);
	RIG_WAIT(rig_holder(n, "k").pid == (uint32_t)ctl);
	*ret_in = in[1];
	return ctl;
}

static struct process command_of(pid_t ctl)
{
	struct process command = { 0 };
	char path[64], name[32] = "";

	RIG_WAIT(process_children(ctl, &command, 1) == 1);
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)command.pid);
	for (uint64_t until = paxshm_deadline_ms(RIG_PATIENCE_MS); strcmp(name, "cat\n"); rig_nap()) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t len = fd < 0 ? 0 : read(fd, name, sizeof(name) - 1);

		name[MAX(len, 0)] = '\0';
		close(fd);
		cr_assert(paxshm_deadline_ms(0) < until, "paxctl's command never ran");
	}
	return command;
}

Test(kill, a_killed_paxctl_frees_nothing_while_its_command_runs)
{
	three_hosts();
	struct puppet *here = puppet_new(1), *there = puppet_new(2);
	int in;
	pid_t ctl = lock_around_cat(1, &in);
	struct process command = command_of(ctl);

	puppet_queue(there, "k");
	RIG_WAIT(rig_waiting(1, "k") == 1);
	cr_assert_eq(kill(ctl, SIGKILL), 0);
	cr_assert(WIFSIGNALED(rig_wait(ctl)));
	let_notice_deaths(1);
	cr_assert(process_alive(&command));
	cr_assert_eq(puppet_try(here, "k").rc, -EBUSY);
	cr_assert_not(puppet_answered(there));

	/* Nor when the agent dies too: its successor knows both processes. */
	rig_kill_agent(1);
	rig_back(1);
	let_notice_deaths(1);
	cr_assert_eq(puppet_try(here, "k").rc, -EBUSY);
	cr_assert_not(puppet_answered(there));

	close(in);
	cr_assert(process_wait_gone(&command, RIG_PATIENCE_MS));
	struct answer a = puppet_answer(there);
	cr_assert_eq(a.rc, 0);
	cr_assert(a.grant.flags & PAXSHM_OWNER_DIED);
	puppet_free(here), puppet_free(there);
	rig_end();
}

Test(kill, the_lock_of_paxctl_ends_with_its_command)
{
	three_hosts();
	struct puppet *there = puppet_new(2);
	int in, status;
	pid_t ctl = lock_around_cat(1, &in);
	struct process command = command_of(ctl);

	puppet_queue(there, "k");
	cr_assert(process_signal(&command, SIGKILL));
	cr_assert_eq(puppet_answer(there).rc, 0);
	status = rig_wait(ctl);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "paxctl ends as its command did");
	close(in);
	puppet_free(there);
	rig_end();
}

/* ---- agents ---- */

/* Four programs that add to a counter, on all hosts, and one lock that is held and waited for throughout. */
struct load {
	struct counter *counter;
	struct puppet *owner, *near, *far;
	uint64_t token;
};

static struct load load_begin(unsigned n)
{
	struct load l = { .counter = counter_new("load"), .owner = puppet_new(n), .near = puppet_new(n), .far = puppet_new(n % 3 + 1) };
	struct answer a = puppet_lock(l.owner, "held");

	cr_assert_eq(a.rc, 0);
	l.token = a.grant.token;
	puppet_queue(l.near, "held");
	puppet_queue(l.far, "held");
	for (unsigned w = 0; w < 4; w++)
		counter_work(l.counter, w, 1 + (n + w) % 3);
	counter_wait(l.counter, 5, 1);
	return l;
}

static void load_end(struct load *l)
{
	struct answer first, second;

	counter_wait(l->counter, 5, 1);
	counter_check(l->counter);
	cr_assert_eq(counter_deaths_told(l->counter), 0);
	cr_assert_eq(puppet_check(l->owner, "held"), 0, "no lock is lost");
	cr_assert_not(puppet_answered(l->near));
	cr_assert_not(puppet_answered(l->far));
	cr_assert_eq(puppet_unlock(l->owner, "held"), 0);
	first = puppet_answer(l->near);
	cr_assert_eq(first.rc, 0, "a call that waits is answered by the successor");
	cr_assert_eq(first.grant.flags, 0);
	cr_assert_gt(first.grant.token, l->token);
	cr_assert_eq(puppet_unlock(l->near, "held"), 0);
	second = puppet_answer(l->far);
	cr_assert_eq(second.rc, 0);
	cr_assert_gt(second.grant.token, first.grant.token);
	cr_assert_eq(puppet_lock(l->owner, "new").rc, 0, "the session is the same, and goes on");
	puppet_free(l->owner), puppet_free(l->near), puppet_free(l->far);
}

static void killed_under_load(bool leader)
{
	three_hosts();
	unsigned victim = leader ? rig_leader() : rig_follower(0);
	struct load l = load_begin(victim);
	unsigned sessions = rig_status(victim).sessions;

	for (unsigned turn = 0; turn < 3; turn++) {
		if (leader && rig_leader() != victim)
			victim = rig_leader(), sessions = rig_status(victim).sessions;
		rig_kill_agent(victim);
		/* What needs no agent goes on meanwhile. */
		cr_assert_eq(puppet_check(l.owner, "held"), 0);
		rig_back(victim);
		counter_wait(l.counter, 5, 1);
		cr_assert_eq(rig_status(victim).sessions, sessions, "no session is lost");
	}
	load_end(&l);
	rig_end();
}

Test(kill, an_agent_killed_under_load_loses_nothing)
{
	killed_under_load(false);
}

Test(kill, the_leaders_agent_killed_under_load_loses_nothing)
{
	killed_under_load(true);
}

Test(kill, all_agents_killed_at_once_lose_nothing)
{
	three_hosts();
	struct load l = load_begin(1);

	for (unsigned n = 1; n <= 3; n++)
		rig_kill_agent(n);
	for (unsigned n = 1; n <= 3; n++)
		rig_back(n);
	load_end(&l);
	rig_end();
}

Test(kill, programs_come_and_go_while_their_agent_dies)
{
	three_hosts();
	pid_t pid, parent = getpid();
	int stop[2];
	char byte;

	cr_assert_eq(pipe2(stop, O_CLOEXEC | O_NONBLOCK), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		struct paxshm_options options = PAXSHM_INIT(options);
		paxshm_session *s;

		close(stop[1]);
		options.socket = rig->host[1].socket;
		while (read(stop[0], &byte, 1) < 0 && getppid() == parent)
			if (paxshm_open(&s, &options) || paxshm_lock(s, "k") || paxshm_unlock(s, "k") || paxshm_close(s))
				_exit(1);
		_exit(0);
	}
	close(stop[0]);
	for (unsigned turn = 0; turn < 4; turn++) {
		uint64_t requests = rig_requests(1);

		RIG_WAIT(rig_requests(1) > requests + 20);
		rig_kill_agent(1);
		rig_back(1);
	}
	close(stop[1]);
	int status = rig_wait(pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "every open, lock, unlock and close succeeded");
	RIG_WAIT(rig_status(1).sessions == 1, "no session is left behind but ours");
	rig_end();
}

/* ---- the storm: owners, waiters, agents, leaders, in any order ---- */

static void storm(const char *loop, uint64_t seed)
{
	rig_start(&(struct rig_plan){ .voters = 3, .loop = { loop } });
	struct counter *c = counter_new("storm");
	unsigned agent_kills = 0, agent_stops = 0, w, n;
	uint64_t random = seed;

	for (w = 0; w < 8; w++)
		counter_work(c, w, 1 + w % 3);
	counter_wait(c, 5, 1);
	for (unsigned turn = 0; turn < 120; turn++) {
		counter_wait(c, 1 + random_next(&random) % 20, 0);
		n = 1 + (unsigned)(random_next(&random) % 3);
		switch (random_next(&random) % 8) {
		case 0:
		case 1:
			w = counter_kill(c, (unsigned)(random_next(&random) % 8));
			counter_work(c, w, n);
			break;
		case 2:
			/* Four of a host at most: five in ten seconds would be another story. */
			if (rig->host[n].deaths < 4)
				rig_kill_agent(n), agent_kills++;
			break;
		case 3:
			/* Away for a moment, in the midst of whatever it was doing. */
			rig_signal_agent(n, SIGSTOP);
			rig_nap();
			rig_signal_agent(n, SIGCONT);
			agent_stops++;
			break;
		default:
			w = counter_kill_inside(c);
			counter_work(c, w, n);
		}
	}
	for (n = 1; n <= 3; n++)
		rig_back(n);
	counter_wait(c, 5, 1);
	counter_check(c);
	cr_assert_gt(counter_deaths_told(c), 0, "some died inside, and it was told");
	cr_assert_gt(agent_kills, 0);
	cr_assert_gt(agent_stops, 0);
	rig_end();
}

Test(kill, storm_io_uring)
{
	storm("auto", 20240711);
}

Test(kill, storm_epoll)
{
	storm("epoll", 19980501);
}

/* ---- hosts ---- */

/* A call that needs the agent finds out; until then nobody else can own what it owns. */
static void expect_session_over(struct puppet *p)
{
	cr_assert_eq(puppet_lock(p, "of a session that is over").rc, -ENOTCONN);
	cr_assert_eq(puppet_check(p, "k"), -ESTALE);
}

/* Its life goes on without its programs' locks; it has lost its memory, so it does not vote. */
static void expect_new_life(unsigned victim, unsigned other, unsigned third)
{
	struct puppet *again = puppet_new(victim);

	rig_settle(victim);
	cr_assert_eq(puppet_lock(again, "n").rc, 0);
	cr_assert_eq(rig_status(victim).role, 2);
	cr_assert_eq(rig_log_count(victim, "event=voter.memory_lost"), 1);
	rig_same_tables();
	rig_signal_agent(third, SIGSTOP);
	RIG_WAIT(!rig_status(other).quorum && !rig_status(victim).quorum, "one voter with memory is no majority");
	puppet_queue(again, "o");
	rig_signal_agent(third, SIGCONT);
	cr_assert_eq(puppet_answer(again).rc, 0);
	puppet_free(again);
}

/* Keeper and agent of a host die while `old` on it owns "k" and lives on, and `waits` elsewhere wants it. */
static void host_dies(bool leader)
{
	three_hosts();
	unsigned victim = leader ? rig_leader() : rig_follower(0), other = victim % 3 + 1, third = other % 3 + 1;
	struct puppet *old = puppet_new(victim), *waits = puppet_new(other), *busy = puppet_new(third);
	struct answer a = puppet_lock(old, "k"), b;
	char pid[32];

	cr_assert_eq(a.rc, 0);
	puppet_queue(waits, "k");
	RIG_WAIT(rig_waiting(victim, "k") == 1);
	rig_kill_host(victim);
	cr_assert_eq(puppet_lock(busy, "m").rc, 0);
	cr_assert_eq(puppet_unlock(busy, "m"), 0);
	expect_session_over(old);

	/* It comes back while its old programs live: they are named, and their lease ends what they own. */
	rig_start_host(victim, true);
	snprintf(pid, sizeof(pid), "pids=%d ", (int)old->process.pid);
	b = puppet_answer(waits);
	cr_assert_eq(b.rc, 0);
	cr_assert(b.grant.flags & PAXSHM_OWNER_DIED);
	cr_assert_gt(b.grant.token, a.grant.token);
	cr_assert_eq(rig_log_count(other, "event=host-down") + rig_log_count(third, "event=host-down"), 1);
	rig_log_wait(victim, "event=life.waiting");
	cr_assert_eq(rig_log_count(victim, pid), 1);
	cr_assert_eq(puppet_check(old, "k"), -ESTALE);
	expect_new_life(victim, other, third);
	puppet_free(old), puppet_free(waits), puppet_free(busy);
	rig_end();
}

Test(kill, a_host_that_dies_loses_its_locks_with_its_lease)
{
	host_dies(false);
}

Test(kill, a_leader_that_dies_loses_its_locks_with_its_lease)
{
	host_dies(true);
}

/* The heir knows that nobody of the old life is left: it need not wait for a lease, here of ten minutes. */
Test(kill, a_host_that_is_back_without_its_programs_frees_their_locks_at_once)
{
	rig_start(&(struct rig_plan){ .voters = 3, .settings = "host_lease_ms = 600000\n" });
	unsigned victim = rig_follower(0), other = victim % 3 + 1;
	struct puppet *old = puppet_new(victim), *waits = puppet_new(other);

	cr_assert_eq(puppet_lock(old, "k").rc, 0);
	puppet_queue(waits, "k");
	RIG_WAIT(rig_waiting(victim, "k") == 1);
	rig_kill_host(victim);
	puppet_kill(old);
	rig_start_host(victim, true);
	cr_assert_eq(puppet_answer(waits).rc, 0);
	cr_assert_eq(rig_log_count(victim, "event=life.waiting"), 0);
	puppet_free(old), puppet_free(waits);
	rig_end();
}

Test(kill, a_host_that_is_stopped_loses_its_programs_locks_with_its_lease)
{
	three_hosts();
	unsigned victim = rig_follower(0), other = victim % 3 + 1;
	struct puppet *old = puppet_new(victim), *waits = puppet_new(other);

	cr_assert_eq(puppet_lock(old, "k").rc, 0);
	puppet_queue(waits, "k");
	cr_assert_eq(rig_stop_host(victim), 0, "SIGTERM ends it cleanly, whatever its programs own");
	expect_session_over(old);
	cr_assert_eq(puppet_answer(waits).rc, 0);
	rig_start_host(victim, false);
	rig_settle(victim);
	cr_assert_eq(rig_log_count(victim, "event=voter.without_memory"), 1);
	puppet_free(old), puppet_free(waits);
	rig_end();
}

Test(kill, five_crashes_in_ten_seconds_begin_a_new_life)
{
	rig_start(&(struct rig_plan){ .voters = 3, .settings = "host_lease_ms = 5000\n" }); /* longer than four restarts take */
	unsigned victim = rig_follower(0), other = victim % 3 + 1;
	struct puppet *old = puppet_new(victim), *waits = puppet_new(other), *busy = puppet_new(other);
	struct answer a = puppet_lock(old, "k"), b;

	cr_assert_eq(a.rc, 0);
	puppet_queue(waits, "k");
	RIG_WAIT(rig_waiting(victim, "k") == 1);
	for (unsigned turn = 0; turn < 4; turn++) {
		rig_kill_agent(victim);
		rig_back(victim);
	}
	cr_assert_eq(puppet_check(old, "k"), 0, "four are borne");
	cr_assert_eq(rig_log_count(victim, "event=life.ended"), 0);
	rig_unwatch(victim); /* our own session is of the old life too */
	rig_kill_agent(victim);
	rig->critical_expected = true;
	rig_log_wait(victim, "event=life.ended");
	expect_session_over(old);
	cr_assert_eq(puppet_lock(busy, "m").rc, 0);
	b = puppet_answer(waits);
	cr_assert_eq(b.rc, 0);
	cr_assert_gt(b.grant.token, a.grant.token);
	rig_settle(victim);
	cr_assert_eq(rig_status(victim).role, 2);
	puppet_free(old), puppet_free(waits), puppet_free(busy);
	rig_end();
}
