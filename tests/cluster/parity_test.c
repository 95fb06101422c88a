/* SPDX-License-Identifier: Apache-2.0 */
/* What users of a lock may rely on first of all, in rows with numbers: each from C and from the command line. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../shm/sys.h"
#include "puppet.h"
#include "rig.h"

RIG_SUITE(parity);

static bool exited(int status, int code)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == code;
}

static bool died_of(int status, int signal)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == signal;
}

static void three_hosts(void)
{
	rig_start(&(struct rig_plan){ .voters = 3 });
}

/* Leaves host n alone: all other agents stop, and n knows it. */
static void leave_alone(unsigned n)
{
	for (unsigned i = 1; i <= rig->n; i++)
		if (i != n)
			rig_signal_agent(i, SIGSTOP);
	RIG_WAIT(!rig_status(n).quorum, "host %u alone knows it", n);
}

static void let_all_go_on(void)
{
	for (unsigned i = 1; i <= rig->n; i++)
		if (rig->host[i].stopped)
			rig_signal_agent(i, SIGCONT);
	rig_settle(0);
}

/* Starts "paxctl lock KEY" whose command writes one line into a pipe. */
static pid_t paxctl_lock(unsigned n, const char *key, int *ret_out)
{
	int ends[2];
	pid_t pid;

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	pid = rig_spawn(-1, ends[1], (const char *const[]){ "paxctl", "lock", "--socket", rig->host[n].socket, key, "--", "sh", "-c", "echo ran $PAXSHM_KEY $PAXSHM_TOKEN", NULL });
	close(ends[1]);
	*ret_out = ends[0];
	return pid;
}

static bool silent(int fd)
{
	char byte;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	bool nothing = read(fd, &byte, 1) < 0 && errno == EAGAIN;
	fcntl(fd, F_SETFL, 0);
	return nothing;
}

static void expect_holder(const struct paxshm_who *who, const struct puppet *p)
{
	uint64_t start;

	cr_assert_eq(sys_start_time(p->process.pid, &start), 0);
	cr_assert_eq(who->host_id, p->host);
	cr_assert_str_eq(who->host, rig->host[p->host].name);
	cr_assert_eq(who->pid, (uint32_t)p->process.pid);
	cr_assert_eq(who->start_time, start);
	cr_assert_neq(who->session, 0);
}

/* ---- row 1: lock(key) blocks until the caller owns the key, cluster-wide ---- */

Test(parity, row_1_lock_waits_until_the_key_is_owned)
{
	three_hosts();
	struct puppet *a = puppet_new(1), *b = puppet_new(2), *c = puppet_new(1);
	struct answer first = puppet_lock(a, "k"), second, third;

	cr_assert_eq(first.rc, 0);
	cr_assert_eq(first.grant.flags, 0);
	puppet_queue(b, "k");
	RIG_WAIT(rig_waiting(1, "k") == 1);
	puppet_queue(c, "k");
	cr_assert_not(puppet_answered(b));
	cr_assert_not(puppet_answered(c));

	cr_assert_eq(puppet_unlock(a, "k"), 0);
	struct puppet *winner = NULL, *loser;
	RIG_WAIT((winner = puppet_answered(b) ? b : puppet_answered(c) ? c
								       : NULL) != NULL);
	loser = winner == b ? c : b;
	second = puppet_answer(winner);
	cr_assert_eq(second.rc, 0);
	cr_assert_gt(second.grant.token, first.grant.token);
	cr_assert_not(puppet_answered(loser), "two own it at once");
	cr_assert_eq(puppet_unlock(winner, "k"), 0);
	third = puppet_answer(loser);
	cr_assert_eq(third.rc, 0);
	cr_assert_gt(third.grant.token, second.grant.token);
	cr_assert_eq(puppet_unlock(loser, "k"), 0);
	puppet_free(a), puppet_free(b), puppet_free(c);
	rig_end();
}

Test(parity, row_1_the_two_line_form)
{
	three_hosts();
	paxshm_session *s = rig_open(2);
	struct puppet *other = puppet_new(3);
	uint64_t token = 0;

	cr_assert_eq(paxshm_lock(s, "k"), 0);
	cr_assert_eq(paxshm_token(s, "k", &token), 0);
	cr_assert_eq(puppet_try(other, "k").rc, -EBUSY);
	cr_assert_eq(paxshm_unlock(s, "k"), 0);
	cr_assert_eq(paxshm_unlock(s, "k"), -ESTALE);

	struct answer later = puppet_lock(other, "k");
	cr_assert_eq(later.rc, 0);
	cr_assert_gt(later.grant.token, token);
	cr_assert_eq(paxshm_close(s), 0);
	puppet_free(other);
	rig_end();
}

Test(parity, row_1_locks_of_other_keys_do_not_wait)
{
	three_hosts();
	struct puppet *a = puppet_new(1), *b = puppet_new(2);

	cr_assert_eq(puppet_lock(a, "one").rc, 0);
	cr_assert_eq(puppet_lock(b, "another").rc, 0);
	cr_assert_eq(puppet_try(b, "one").rc, -EBUSY);
	puppet_free(a), puppet_free(b);
	rig_end();
}

Test(parity, row_1_from_the_command_line)
{
	three_hosts();
	struct puppet *p = puppet_new(1);
	struct answer held = puppet_lock(p, "k");
	char said[256] = "", key[32];
	unsigned long long token;
	int out, status;
	pid_t ctl;

	cr_assert_eq(held.rc, 0);
	ctl = paxctl_lock(2, "k", &out);
	RIG_WAIT(rig_waiting(1, "k") == 1);
	cr_assert(silent(out), "the command ran without the lock");
	cr_assert_eq(puppet_unlock(p, "k"), 0);
	cr_assert(exited(rig_wait(ctl), 0));
	cr_assert_gt(read(out, said, sizeof(said) - 1), 0);
	cr_assert_eq(sscanf(said, "ran %31s %llu", key, &token), 2);
	cr_assert_str_eq(key, "k");
	cr_assert_gt(token, held.grant.token);
	close(out);

	/* It ends as the command does, and the lock with it. */
	cr_assert(exited(rig_paxctl(said, 3, "lock", "k", "--", "sh", "-c", "exit 7"), 7));
	status = rig_paxctl(said, 3, "lock", "k", "--", "sh", "-c", "kill -TERM $$");
	cr_assert(died_of(status, SIGTERM));
	cr_assert(exited(rig_paxctl(said, 3, "lock", "k", "--", "/nowhere"), 127));
	cr_assert_eq(puppet_try(p, "k").rc, 0);
	puppet_free(p);
	rig_end();
}

/* ---- row 2: lock(key, block: false) says who has it ---- */

Test(parity, row_2_a_try_answers_with_the_holder)
{
	three_hosts();
	struct puppet *holder = puppet_new(1), *here = puppet_new(1), *there = puppet_new(2);
	struct answer a;

	cr_assert_eq(puppet_try(holder, "k").rc, 0, "a free lock is taken by a try");
	a = puppet_try(here, "k");
	cr_assert_eq(a.rc, -EBUSY);
	expect_holder(&a.grant.holder, holder);
	a = puppet_try(there, "k");
	cr_assert_eq(a.rc, -EBUSY);
	expect_holder(&a.grant.holder, holder);

	cr_assert_eq(puppet_unlock(holder, "k"), 0);
	cr_assert_eq(puppet_try(there, "k").rc, 0);
	a = puppet_try(here, "k");
	cr_assert_eq(a.rc, -EBUSY);
	expect_holder(&a.grant.holder, there);
	puppet_free(holder), puppet_free(here), puppet_free(there);
	rig_end();
}

Test(parity, row_2_a_try_behind_waiters_does_not_wait)
{
	three_hosts();
	struct puppet *holder = puppet_new(1), *waiter = puppet_new(2), *third = puppet_new(3);
	struct answer a;

	cr_assert_eq(puppet_lock(holder, "k").rc, 0);
	puppet_queue(waiter, "k");
	RIG_WAIT(rig_waiting(1, "k") == 1);
	a = puppet_try(third, "k");
	cr_assert_eq(a.rc, -EBUSY);
	expect_holder(&a.grant.holder, holder);
	cr_assert_not(puppet_answered(waiter));
	cr_assert_eq(puppet_unlock(holder, "k"), 0);
	cr_assert_eq(puppet_answer(waiter).rc, 0);
	puppet_free(holder), puppet_free(waiter), puppet_free(third);
	rig_end();
}

Test(parity, row_2_from_the_command_line)
{
	three_hosts();
	struct puppet *p = puppet_new(1);
	char said[512], who[64];

	cr_assert_eq(puppet_lock(p, "k").rc, 0);
	snprintf(who, sizeof(who), "pid %d on h1", (int)p->process.pid);
	for (unsigned n = 1; n <= 2; n++) {
		cr_assert(exited(rig_paxctl(said, n, "lock", "-n", "k", "--", "echo", "ran"), 1));
		cr_assert(strstr(said, who), "%s", said);
		cr_assert_not(strstr(said, "ran"));
	}
	cr_assert(exited(rig_paxctl(said, 2, "lock", "-n", "-E", "9", "k", "--", "true"), 9));
	cr_assert(exited(rig_paxctl(said, 2, "lock", "-w", "0.05", "-E", "9", "k", "--", "true"), 9));
	puppet_free(p);
	cr_assert(exited(rig_paxctl(said, 2, "lock", "k", "--", "true"), 0));
	rig_end();
}

/* ---- row 3: no_quorum: :retry waits as long as it takes ---- */

Test(parity, row_3_retry_waits_for_a_majority)
{
	three_hosts();
	struct puppet *p = puppet_new(1);
	int out;

	cr_assert_eq(puppet_lock(p, "warm").rc, 0);
	leave_alone(1);
	puppet_queue(p, "k");
	pid_t ctl = paxctl_lock(1, "other", &out);
	/* Twice as long as it takes to know that there is none. */
	uint64_t until = paxshm_deadline_ms(2 * RIG_LEASE_MS);
	while (paxshm_deadline_ms(0) < until) {
		cr_assert_not(puppet_answered(p));
		cr_assert(silent(out));
		rig_nap();
	}
	let_all_go_on();
	cr_assert_eq(puppet_answer(p).rc, 0);
	cr_assert(exited(rig_wait(ctl), 0));
	cr_assert_not(silent(out));
	close(out);
	puppet_free(p);
	rig_end();
}

Test(parity, row_3_a_deadline_and_a_cancel_end_the_wait)
{
	three_hosts();
	struct puppet *p = puppet_new(1);
	struct order o = { .deed = DO_LOCK, .key = "k", .wait_ms = 50 };

	leave_alone(1);
	cr_assert_eq(puppet_do(p, &o).rc, -ETIMEDOUT);
	o.wait_ms = 0;
	o.cancel = true;
	cr_assert_eq(puppet_do(p, &o).rc, -ECANCELED);
	let_all_go_on();
	/* What was given up is nobody's. */
	struct puppet *q = puppet_new(2);
	cr_assert_eq(puppet_lock(q, "k").rc, 0);
	puppet_free(p), puppet_free(q);
	rig_end();
}

/* ---- row 4: no_quorum: :fail crashes the caller ---- */

Test(parity, row_4_fail_aborts_with_a_line_on_standard_error)
{
	three_hosts();
	struct order o = { .deed = DO_LOCK, .key = "k", .no_quorum = PAXSHM_FAIL };
	char said[512] = "";
	int err[2], status;

	cr_assert_eq(pipe2(err, O_CLOEXEC), 0);
	struct puppet *p = puppet_new_err(1, err[1]);
	close(err[1]);
	cr_assert_eq(puppet_do(p, &o).rc, 0, "with a majority nothing fails");
	o.key[0] = 'l';
	leave_alone(1);
	puppet_give(p, &o);
	status = rig_wait(p->process.pid);
	cr_assert(died_of(status, SIGABRT));
	cr_assert_gt(read(err[0], said, sizeof(said) - 1), 0);
	cr_assert(strstr(said, "paxshm"), "%s", said);
	cr_assert_eq(strchr(said, '\n'), said + strlen(said) - 1, "one line: %s", said);
	close(err[0]);

	status = rig_paxctl(said, 1, "lock", "--no-quorum", "fail", "k", "--", "true");
	cr_assert(died_of(status, SIGABRT));
	let_all_go_on();
	rig_end();
}

Test(parity, row_4_fail_calls_the_handler_of_the_program)
{
	three_hosts();
	struct puppet *p = puppet_new(1);
	struct order o = { .deed = DO_LOCK, .key = "k", .no_quorum = PAXSHM_FAIL, .custom_handler = true };
	struct answer a;

	/* Its session is opened while the agent can answer. */
	cr_assert_eq(puppet_do(p, &(struct order){ .deed = DO_CHECK, .key = "k", .custom_handler = true }).rc, -ESTALE);
	leave_alone(1);
	a = puppet_do(p, &o);
	cr_assert_eq(a.handled, 1);
	cr_assert_eq(a.rc, -ENETUNREACH, "a handler that returns makes the call return");
	o.flags = PAXSHM_NOWAIT;
	a = puppet_do(p, &o);
	cr_assert_eq(a.handled, 2);
	cr_assert_eq(a.rc, -ENETUNREACH);
	let_all_go_on();
	a = puppet_do(p, &o);
	cr_assert_eq(a.handled, 2);
	cr_assert_eq(a.rc, 0);
	puppet_free(p);
	rig_end();
}

/* ---- row 5: no_quorum: :return answers so ---- */

Test(parity, row_5_return_answers_that_there_is_no_quorum)
{
	three_hosts();
	struct puppet *p = puppet_new(1);
	struct order o = { .deed = DO_LOCK, .key = "k", .no_quorum = PAXSHM_RETURN };
	char said[512];

	leave_alone(1);
	cr_assert_eq(puppet_do(p, &o).rc, -ENETUNREACH);
	o.flags = PAXSHM_NOWAIT;
	cr_assert_eq(puppet_do(p, &o).rc, PAXSHM_NO_QUORUM);
	cr_assert(exited(rig_paxctl(said, 1, "lock", "--no-quorum", "return", "k", "--", "echo", "ran"), 75));
	cr_assert_not(strstr(said, "ran"));
	cr_assert(exited(rig_paxctl(said, 1, "status"), 75));
	let_all_go_on();
	cr_assert_eq(puppet_do(p, &o).rc, 0);
	puppet_free(p);
	rig_end();
}

Test(parity, row_5_also_for_calls_that_wait_already)
{
	three_hosts();
	struct puppet *holder = puppet_new(2), *here = puppet_new(1), *waiter = puppet_new(1), *alone = puppet_new(1);
	struct order o = { .deed = DO_LOCK, .key = "k", .no_quorum = PAXSHM_RETURN };

	cr_assert_eq(puppet_lock(holder, "k").rc, 0);
	cr_assert_eq(puppet_lock(here, "l").rc, 0);
	puppet_give(waiter, &o);
	RIG_WAIT(rig_waiting(1, "k") == 1);
	cr_assert_not(puppet_answered(waiter));
	leave_alone(1);
	cr_assert_eq(puppet_answer(waiter).rc, -ENETUNREACH);

	/* What this host has may be given to others any time: it passes nothing on among its own. */
	strcpy(o.key, "l");
	cr_assert_eq(puppet_check(here, "l"), -ENETUNREACH);
	puppet_give(alone, &o);
	cr_assert_eq(puppet_unlock(here, "l"), -ENETUNREACH);
	cr_assert_eq(puppet_answer(alone).rc, -ENETUNREACH);
	let_all_go_on();

	/* Its wish was taken back with it: the next owner is somebody else. */
	cr_assert_eq(puppet_unlock(holder, "k"), 0);
	cr_assert_eq(puppet_lock(holder, "k").rc, 0);
	puppet_free(holder), puppet_free(here), puppet_free(waiter), puppet_free(alone);
	rig_end();
}

/* ---- row 6: the owner asking again is answered at once ---- */

Test(parity, row_6_reentrant_and_counted)
{
	three_hosts();
	struct puppet *a = puppet_new(1), *b = puppet_new(2), *c = puppet_new(1);
	struct answer first = puppet_lock(a, "k"), again;

	cr_assert_eq(first.rc, 0);
	puppet_queue(b, "k");
	puppet_queue(c, "k");
	again = puppet_lock(a, "k");
	cr_assert_eq(again.rc, 0, "before others that wait");
	cr_assert(again.grant.flags & PAXSHM_REENTERED);
	cr_assert_eq(again.grant.token, first.grant.token);
	cr_assert_eq(puppet_try(a, "k").rc, 0);

	cr_assert_eq(puppet_unlock(a, "k"), 0);
	cr_assert_eq(puppet_unlock(a, "k"), 0);
	cr_assert_eq(puppet_check(a, "k"), 0, "owned until the last release");
	cr_assert_not(puppet_answered(b));
	cr_assert_not(puppet_answered(c));
	cr_assert_eq(puppet_unlock(a, "k"), 0);
	RIG_WAIT(puppet_answered(b) || puppet_answered(c));
	cr_assert_eq(puppet_unlock(a, "k"), -ESTALE);
	puppet_free(a), puppet_free(b), puppet_free(c);
	rig_end();
}

Test(parity, row_6_another_process_is_another_owner)
{
	three_hosts();
	char said[512], inner[512];
	struct puppet *p = puppet_new(1);

	cr_assert_eq(puppet_lock(p, "k").rc, 0);
	cr_assert_eq(puppet_lock(p, "k").rc, 0);
	cr_assert(exited(rig_paxctl(said, 1, "lock", "-n", "k", "--", "true"), 1));
	puppet_free(p);

	/* As with flock(1), a command that locks what it was started under is a program of its own. */
	snprintf(inner, sizeof(inner), "%s lock -n -E 9 --socket %s k -- true", rig_program("paxctl"), rig->host[1].socket);
	cr_assert(exited(rig_paxctl(said, 1, "lock", "k", "--", "sh", "-c", inner), 9));
	rig_end();
}

/* ---- row 7: the lock ends with its owner, and one waiter gets it ---- */

enum ending { RELEASES,
	      CLOSES,
	      EXITS,
	      CRASHES };

static void one_waiter_gets_it(enum ending ending)
{
	struct puppet *owner = puppet_new(1), *near = puppet_new(1), *far = puppet_new(2), *winner = NULL;
	struct answer first = puppet_lock(owner, "k"), second;

	cr_assert_eq(first.rc, 0);
	puppet_queue(near, "k");
	puppet_queue(far, "k");
	RIG_WAIT(rig_waiting(1, "k") == 1);
	switch (ending) {
	case RELEASES: cr_assert_eq(puppet_unlock(owner, "k"), 0); break;
	case CLOSES:
		puppet_begin(owner, DO_CLOSE, "");
		cr_assert_eq(puppet_answer(owner).rc, 0);
		break;
	case EXITS: puppet_free(owner); break;
	case CRASHES: puppet_kill(owner); break;
	}
	RIG_WAIT((winner = puppet_answered(near) ? near : puppet_answered(far) ? far
									       : NULL) != NULL);
	second = puppet_answer(winner);
	cr_assert_eq(second.rc, 0);
	cr_assert_gt(second.grant.token, first.grant.token);
	cr_assert_eq(!!(second.grant.flags & PAXSHM_OWNER_DIED), ending == CRASHES);
	cr_assert_eq(rig_holder(3, "k").pid, (uint32_t)winner->process.pid);
	cr_assert_not(puppet_answered(winner == near ? far : near), "two own it at once");
	cr_assert_eq(puppet_unlock(winner, "k"), 0);
	second = puppet_answer(winner == near ? far : near);
	cr_assert_eq(second.rc, 0);
	cr_assert_not(second.grant.flags & PAXSHM_OWNER_DIED, "said once");
	if (ending != EXITS)
		puppet_free(owner);
	puppet_free(near), puppet_free(far);
	RIG_WAIT(rig_holder(3, "k").host_id == 0);
}

Test(parity, row_7_released_closed_exited_or_crashed)
{
	three_hosts();
	one_waiter_gets_it(RELEASES);
	one_waiter_gets_it(CLOSES);
	one_waiter_gets_it(EXITS);
	one_waiter_gets_it(CRASHES);
	rig_end();
}

Test(parity, row_7_from_the_command_line)
{
	three_hosts();
	struct puppet *p = puppet_new(2);
	int in[2];

	cr_assert_eq(pipe2(in, O_CLOEXEC), 0);
	pid_t ctl = rig_spawn(in[0], -1, (const char *const[]){ "paxctl", "lock", "--socket", rig->host[1].socket, "k", "--", "cat", NULL });
	close(in[0]);
	RIG_WAIT(rig_holder(1, "k").pid == (uint32_t)ctl);
	puppet_queue(p, "k");
	RIG_WAIT(rig_waiting(1, "k") == 1);
	cr_assert_not(puppet_answered(p));
	close(in[1]);
	cr_assert_eq(puppet_answer(p).rc, 0);
	cr_assert(exited(rig_wait(ctl), 0));
	puppet_free(p);
	rig_end();
}

/* ---- row 8: who owns a lock ---- */

Test(parity, row_8_every_host_knows_the_process_that_owns_a_lock)
{
	three_hosts();
	struct puppet *p = puppet_new(2);
	char said[1024], who[64];
	struct answer a = puppet_lock(p, "k");

	cr_assert_eq(a.rc, 0);
	for (unsigned n = 1; n <= 3; n++) {
		struct paxshm_who seen = PAXSHM_INIT(seen);

		for (uint32_t flags = 0; flags <= PAXSHM_LINEARIZABLE; flags++) {
			/* Without the flag this host's tables answer, which may be a moment behind. */
			RIG_WAIT(paxshm_holder(rig_watch(n), "k", 1, flags, &seen) == 0);
			expect_holder(&seen, p);
			cr_assert_eq(seen.token, a.grant.token);
		}
		cr_assert_eq(paxshm_resolve(rig_watch(n), "lock:k", &seen), 0);
		expect_holder(&seen, p);
		snprintf(who, sizeof(who), "%d", (int)p->process.pid);
		cr_assert(exited(rig_paxctl(said, n, "holder", "k"), 0));
		cr_assert(strstr(said, "h2") && strstr(said, who), "%s", said);
		cr_assert(exited(rig_paxctl(said, n, "holder", "--json", "--linearizable", "k"), 0));
		cr_assert(strstr(said, "\"host\"") && strstr(said, who), "%s", said);
	}
	cr_assert_eq(puppet_unlock(p, "k"), 0);
	for (unsigned n = 1; n <= 3; n++) {
		struct paxshm_who untouched = PAXSHM_INIT(untouched);

		cr_assert_eq(paxshm_holder(rig_watch(n), "k", 1, PAXSHM_LINEARIZABLE, &untouched), -ESRCH);
		cr_assert_eq(untouched.pid, 0);
		cr_assert(exited(rig_paxctl(said, n, "holder", "--linearizable", "k"), 1));
	}
	puppet_free(p);
	rig_end();
}

/* ---- row 26: a majority is needed, and suffices ---- */

Test(parity, row_26_two_of_three_suffice_one_alone_waits)
{
	three_hosts();
	unsigned leader = rig_leader(), other = rig_follower(0), alone = 6 - leader - other;
	struct puppet *p = puppet_new(alone), *q = puppet_new(other), *r = puppet_new(alone);

	/* Without the leader the other two agree on a new one. */
	cr_assert_eq(puppet_lock(r, "before").rc, 0);
	rig_signal_agent(leader, SIGSTOP);
	cr_assert_eq(puppet_lock(p, "k").rc, 0);
	cr_assert_eq(puppet_try(q, "k").rc, -EBUSY);
	cr_assert_eq(puppet_unlock(p, "k"), 0);
	cr_assert_eq(puppet_lock(q, "k").rc, 0);

	rig_signal_agent(other, SIGSTOP);
	RIG_WAIT(!rig_status(alone).quorum);
	puppet_queue(p, "l");
	struct order o = { .deed = DO_HOLDER, .key = "k" };
	cr_assert_eq(puppet_do(r, &o).rc, -ENETUNREACH, "it cannot know");
	cr_assert_not(puppet_answered(p));
	cr_assert_eq(puppet_check(r, "before"), -ENETUNREACH, "what it had, it may have no more");

	let_all_go_on();
	cr_assert_eq(puppet_check(r, "before"), 0, "it was suspended, and is not");
	cr_assert_eq(puppet_answer(p).rc, 0);
	cr_assert_eq(puppet_unlock(q, "k"), 0);
	cr_assert_eq(puppet_lock(r, "k").rc, 0);
	puppet_free(p), puppet_free(q), puppet_free(r);
	rig_end();
}
