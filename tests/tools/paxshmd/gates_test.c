/* SPDX-License-Identifier: Apache-2.0 */
/* Gates: a lock that is delegated to a host is opened to its sessions, kept, and got back. */
#define _GNU_SOURCE /* step.h: register names */
#include "agent_rig.h"

#include "../../shm/step.h"

#define KEEP_MS 2000u

static uint32_t waiter_of(struct host *h, uint32_t slot)
{
	return (slot - 1) * h->memory.tables->records_each + 1;
}

/* Stands in a gate's line, as a program does. */
static struct gate_place stand(struct host *h, uint32_t slot, uint32_t gate)
{
	struct gate_view v = gates_of(h);
	struct gate_place p = { .gate = gate, .slot = slot, .record = waiter_of(h, slot) };
	enum gate_next next;

	while ((next = gate_arrive(&v, &p, now_ns)) == GATE_AGAIN)
		;
	cr_assert(next == GATE_WAITS || next == GATE_TELL, "%d", next);
	if (next == GATE_TELL)
		tell(h, slot, gate);
	return p;
}

static bool has_come(struct host *h, struct gate_place *p)
{
	struct gate_view v = gates_of(h);
	enum gate_next next;

	while ((next = gate_look(&v, p, false)) == GATE_AGAIN)
		;
	return next == GATE_MINE;
}

static void keeping(unsigned n, uint32_t rows)
{
	keep_ns = KEEP_MS * NS_PER_MS;
	ready(n, rows);
}

static uint32_t rows_used(void)
{
	return hosts[1].memory.tables->agreed.rows_used;
}

Test(gates, a_released_lock_stays_and_its_next_use_asks_nobody)
{
	keeping(3, 64);
	struct host *h = &hosts[2];
	uint32_t a = open_session(h, 1), b = open_session(h, 2);
	struct ring_completion first = acquire(h, a, "k"), second;
	uint64_t applied = h->memory.tables->agreed.applied;

	release(h, a, &first);
	cr_assert_eq(rows_used(), 1);
	cr_assert(take(h, b, first.gate, &second));
	cr_assert_eq(second.token, first.token + 1);
	cr_assert_eq(second.serial, first.serial);
	release(h, b, &second);
	cr_assert_eq(h->memory.tables->agreed.applied, applied, "nobody was asked");
}

Test(gates, a_lock_that_nobody_uses_any_more_is_given_back)
{
	keeping(3, 64);
	struct host *h = &hosts[2];
	uint32_t a = open_session(h, 1);
	struct ring_completion c = acquire(h, a, "k"), other;

	release(h, a, &c);
	for (int i = 0; i < 4; i++) {
		pass(KEEP_MS / 2);
		cr_assert(take(h, a, c.gate, &c), "it is used now and then");
		release(h, a, &c);
	}
	pass(3 * KEEP_MS);
	cr_assert_eq(rows_used(), 0);
	cr_assert_not(take(h, a, c.gate, &other), "the gate is the agent's");
	cr_assert_eq(h->memory.tables->evictions, 1);
}

Test(gates, another_host_gets_what_is_only_kept)
{
	keeping(3, 64);
	uint32_t a = open_session(&hosts[1], 1), b = open_session(&hosts[2], 2);
	struct ring_completion kept = acquire(&hosts[1], a, "k"), c, again;

	release(&hosts[1], a, &kept);
	c = acquire(&hosts[2], b, "k");
	cr_assert_gt(c.token, kept.token);
	cr_assert_not(take(&hosts[1], a, kept.gate, &again));
	cr_assert_eq(hosts[1].memory.tables->revocations, 1);
	/* Behind an owner it waits for him, and no longer. */
	request(&hosts[1], a, wish(REQUEST_ACQUIRE, 0, "k", 0));
	settle();
	cr_assert_not(answered(&hosts[1], a, &again));
	release(&hosts[2], b, &c);
	cr_assert(answered(&hosts[1], a, &again));
	cr_assert_eq(again.result, 0);
}

Test(gates, a_try_of_another_host_gets_what_is_only_kept_and_not_what_is_owned)
{
	keeping(3, 64);
	uint32_t a = open_session(&hosts[1], 71), b = open_session(&hosts[2], 2);
	struct ring_completion c = acquire(&hosts[1], a, "k"), answer;

	request(&hosts[2], b, wish(REQUEST_ACQUIRE, 0, "k", REQUEST_TRY));
	pass(100);
	cr_assert(answered(&hosts[2], b, &answer));
	cr_assert_eq(answer.result, -EBUSY);
	cr_assert_eq(answer.holder_pid, 71);
	cr_assert_eq(answer.holder_token, c.token);
	release(&hosts[1], a, &c);
	request(&hosts[2], b, wish(REQUEST_ACQUIRE, 0, "k", REQUEST_TRY));
	pass(100);
	cr_assert(answered(&hosts[2], b, &answer));
	cr_assert_eq(answer.result, 0);
}

Test(gates, nobody_holds_what_is_only_kept)
{
	keeping(3, 64);
	uint32_t a = open_session(&hosts[1], 71);
	struct ring_completion c = acquire(&hosts[1], a, "k"), answer;

	release(&hosts[1], a, &c);
	for (int i = 1; i <= 3; i++) {
		uint32_t s = open_session(&hosts[i], 5);

		request(&hosts[i], s, wish(REQUEST_HOLDER, 0, "k", REQUEST_LINEARIZABLE));
		pass(100);
		cr_assert(answered(&hosts[i], s, &answer), "host %d", i);
		cr_assert_eq(answer.result, -ESRCH);
	}
	cr_assert(take(&hosts[1], a, c.gate, &c), "asking takes nothing away");
}

Test(gates, a_lock_that_is_mostly_taken_away_is_given_back_at_once)
{
	keeping(3, 64);
	uint32_t s[3] = { 0, open_session(&hosts[1], 1), open_session(&hosts[2], 2) };
	struct ring_completion c;

	for (int turn = 0; turn < 6; turn++) {
		struct host *h = &hosts[1 + turn % 2];

		c = acquire(h, s[1 + turn % 2], "k");
		release(h, s[1 + turn % 2], &c);
	}
	cr_assert_eq(rows_used(), 0, "nobody keeps it any more");
	/* Until it is used again by the same. */
	for (int turn = 0; turn < 3; turn++) {
		c = acquire(&hosts[1], s[1], "k");
		release(&hosts[1], s[1], &c);
	}
	cr_assert_eq(rows_used(), 1);
}

/* As many locks as a ring has room for requests: how many were acquired. */
static uint32_t acquire_many(struct host *h, uint32_t s, uint32_t from, struct ring_completion got[RING_REQUESTS])
{
	uint32_t done = 0;
	char key[16];

	for (uint32_t call = 0; call < RING_REQUESTS; call++) {
		snprintf(key, sizeof(key), "key %u", from + call);
		request(h, s, wish(REQUEST_ACQUIRE, call, key, 0));
	}
	for (int turn = 0; turn < 3; turn++)
		step(h, (struct agent_event){ .kind = AGENT_TURN });
	while (done < RING_REQUESTS && answered(h, s, &got[done]))
		cr_assert_eq(got[done++].result, 0);
	return done;
}

static uint32_t acquire_and_keep(struct host *h, uint32_t s, uint32_t from)
{
	struct ring_completion got[RING_REQUESTS];
	uint32_t done = acquire_many(h, s, from, got);

	for (uint32_t i = 0; i < done; i++)
		cr_assert(let_go(h, s, &got[i]));
	return done;
}

Test(gates, of_many_kept_locks_a_few_at_a_time_are_given_back)
{
	n_claims = 16384;
	keeping(1, 32768);
	struct host *h = &hosts[1];
	uint32_t s = open_session(h, 1), done = 0;

	while (done < 14000)
		done += acquire_and_keep(h, s, done);
	uint64_t before = h->memory.tables->evictions, most = 0;
	for (unsigned ms = 0; ms < 3 * KEEP_MS; ms += 5) {
		now_ns += 5 * NS_PER_MS;
		step(h, (struct agent_event){ .kind = AGENT_TURN });
		most = MAX(most, h->memory.tables->evictions - before);
		before = h->memory.tables->evictions;
	}
	cr_assert_leq(most, 512);
	cr_assert_geq(before, done, "and all of them within two rounds");
}

Test(gates, kept_locks_give_way_when_a_host_has_no_room_for_another)
{
	n_claims = 8;
	keeping(1, 4096);
	struct host *h = &hosts[1];
	uint32_t s = open_session(h, 1);

	for (unsigned i = 0; i < 2000; i++) {
		char key[16];

		snprintf(key, sizeof(key), "key %u", i);
		acquire_and_release(h, s, key);
	}
	cr_assert_geq(h->memory.tables->evictions, 2000 - 8 - 1024);
}

Test(gates, who_finds_no_room_again_and_again_does_not_make_the_agent_look_at_every_lock_each_time)
{
	enum { LOCKS = 4096 };
	static struct ring_completion held[LOCKS + RING_REQUESTS];
	struct ring_completion c;

	n_claims = LOCKS;
	keeping(1, 2 * LOCKS);
	struct host *h = &hosts[1];
	uint32_t s = open_session(h, 1), done = 0;
	while (done < LOCKS)
		done += acquire_many(h, s, done, &held[done]);
	/* The hand goes round, and finds nothing; then one that is far from it comes free. */
	for (int turn = 0; turn < 2; turn++) {
		request(h, s, wish(REQUEST_ACQUIRE, 0, "another", 0));
		step(h, (struct agent_event){ .kind = AGENT_TURN });
		cr_assert(answered(h, s, &c));
		cr_assert_eq(c.result, -ENOSPC);
		if (turn == 0)
			cr_assert(let_go(h, s, &held[LOCKS / 2]));
	}
	now_ns += 2 * LOCKS * 1000ull;
	request(h, s, wish(REQUEST_ACQUIRE, 0, "another", 0));
	step(h, (struct agent_event){ .kind = AGENT_TURN });
	settle();
	cr_assert(answered(h, s, &c));
	cr_assert_eq(c.result, 0, "%d", c.result);
}

Test(gates, kept_locks_give_way_when_the_cluster_has_no_room_for_another)
{
	keeping(3, 8);
	uint32_t a = open_session(&hosts[1], 1), b = open_session(&hosts[2], 2);
	struct ring_completion c;

	for (char key[2] = "a"; key[0] <= 'f'; key[0]++)
		acquire_and_release(&hosts[1], a, key);
	for (char key[2] = "A"; key[0] <= 'H'; key[0]++) {
		request(&hosts[2], b, wish(REQUEST_ACQUIRE, 0, key, 0));
		pass(400);
		cr_assert(answered(&hosts[2], b, &c));
		cr_assert_eq(c.result, 0, "%s: %d", key, c.result);
	}
	request(&hosts[2], b, wish(REQUEST_ACQUIRE, 0, "I", 0));
	pass(2000);
	cr_assert(answered(&hosts[2], b, &c));
	cr_assert_eq(c.result, -ENOSPC, "all are owned");
}

Test(gates, who_stands_in_line_is_asked_for_and_gets_it)
{
	keeping(3, 64);
	uint32_t a = open_session(&hosts[1], 1), b = open_session(&hosts[1], 2), far = open_session(&hosts[2], 3);
	struct ring_completion c = acquire(&hosts[1], a, "k"), theirs;
	struct gate_place second = stand(&hosts[1], b, c.gate);

	cr_assert_not(has_come(&hosts[1], &second));
	release(&hosts[1], a, &c);
	cr_assert(has_come(&hosts[1], &second), "handed on");
	/* Now it is elsewhere, and somebody comes to the closed gate. */
	release(&hosts[1], b, &(struct ring_completion){ .gate = c.gate, .count = second.count });
	theirs = acquire(&hosts[2], far, "k");
	request(&hosts[1], a, wish(REQUEST_ACQUIRE, 0, "k", 0));
	settle();
	c.gate = 1; /* the line is a new one, and the first place that is free */
	struct gate_place third = stand(&hosts[1], b, c.gate);
	request(&hosts[1], a, (struct ring_request){ .op = REQUEST_CANCEL, .call = CALL_NONE, .target = 0, .reason = -ETIMEDOUT });
	settle();
	cr_assert_not(has_come(&hosts[1], &third));
	release(&hosts[2], far, &theirs);
	settle();
	cr_assert(has_come(&hosts[1], &third));
	cr_assert_eq(gate_owner_of(&hosts[1], c.gate), b);
}

Test(gates, who_stands_at_a_gate_that_has_become_another_keys_is_sent_away)
{
	ready(1, 64); /* keeps nothing */
	struct host *h = &hosts[1];
	uint32_t a = open_session(h, 1), b = open_session(h, 2);
	struct ring_completion c = acquire(h, a, "k");
	struct gate_view v = gates_of(h);

	release(h, a, &c);
	struct gate_place p = stand(h, b, c.gate); /* by what it remembers */
	settle();
	cr_assert_eq(gate_look(&v, &p, false), GATE_ARRIVE);
	cr_assert_neq(tables_terms(h->memory.tables, c.gate)->serial, c.serial);
	struct ring_completion other = acquire(h, a, "another");
	cr_assert_eq(other.gate, c.gate);
	cr_assert_neq(other.serial, c.serial);
}

Test(gates, the_end_of_the_tokens_brings_a_new_delegation)
{
	n_range = 4;
	keeping(1, 64);
	struct host *h = &hosts[1];
	uint32_t s = open_session(h, 1);
	uint64_t token = 0;

	for (int i = 0; i < 40; i++) {
		struct ring_completion c = acquire(h, s, "k");

		cr_assert_gt(c.token, token);
		token = c.token;
		release(h, s, &c);
	}
}

Test(gates, a_death_is_told_to_the_next_owner_and_what_was_kept_stays)
{
	keeping(1, 64);
	struct host *h = &hosts[1];
	uint32_t dead = open_session(h, 1), heir = open_session(h, 2);
	struct ring_completion first = acquire(h, dead, "a"), second = acquire(h, dead, "b"), c;
	uint64_t applied = h->memory.tables->agreed.applied;

	step(h, (struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = dead });
	settle();
	cr_assert(h->closed[dead]);
	cr_assert(take(h, heir, first.gate, &c));
	cr_assert_eq(c.flags, COMPLETION_DIED);
	release(h, heir, &c);
	cr_assert(take(h, heir, first.gate, &c));
	cr_assert_eq(c.flags, 0, "told once");
	cr_assert(take(h, heir, second.gate, &c));
	cr_assert_eq(c.flags, COMPLETION_DIED);
	cr_assert_eq(h->memory.tables->agreed.applied, applied, "no command was needed");
}

Test(gates, who_dies_before_it_says_that_it_let_go_keeps_no_other_host_waiting)
{
	ready(3, 64);
	uint32_t a = open_session(&hosts[1], 1), b = open_session(&hosts[2], 2);
	struct ring_completion held = acquire(&hosts[1], a, "k"), c;
	struct gate_view v = gates_of(&hosts[1]);
	struct gate_pass p = { .gate = held.gate, .slot = a, .count = held.count };
	enum gate_next next;

	request(&hosts[2], b, wish(REQUEST_ACQUIRE, 0, "k", 0));
	pass(5000); /* the agent looks seldom by now */
	cr_assert_not(answered(&hosts[2], b, &c));
	while ((next = gate_release(&v, &p, now_ns)) == GATE_AGAIN)
		;
	cr_assert_eq(next, GATE_TELL, "and is killed before it tells");
	step(&hosts[1], (struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = a });
	settle();
	cr_assert(answered(&hosts[2], b, &c), "the end of the session tells, no timer");
	cr_assert_eq(c.result, 0);
}

Test(gates, a_choice_that_a_killed_agent_left_half_made_is_void_when_the_lock_goes_back)
{
	ready(3, 64);
	struct host *h = &hosts[1];
	uint32_t a = open_session(h, 1), b = open_session(h, 2), last = open_session(h, 3), far = open_session(&hosts[2], 4);
	struct ring_completion held = acquire(h, a, "k"), c;
	struct gate_place second = stand(h, b, held.gate), third = stand(h, last, held.gate);
	struct gate_view v = gates_of(h);

	cr_assert_eq(gate_look(&v, &third, true), GATE_SLEEP);
	now_ns += NS_PER_MS;
	request(&hosts[2], far, wish(REQUEST_ACQUIRE, 0, "k", 0));
	settle();
	cr_assert(let_go(h, a, &held));
	cr_assert(has_come(h, &second));
	cr_assert_eq(gate_decline(&v, held.gate, b, second.count), GATE_TELL);
	/* There is time yet: the agent opens the gate to the third, and is killed before it has swapped the word. */
	struct gate_pass opening = gate_agent_pass(&v, held.gate);
	cr_assert_eq(gate_open(&v, &opening), GATE_WAKE);
	agent_free(h->agent);
	now_ns += 20 * NS_PER_MS; /* its successor finds that there is none left */
	start_agent(h);
	link_all(h);
	pass(100);
	cr_assert(answered(&hosts[2], far, &c));
	cr_assert_eq(c.result, 0);
	cr_assert_not(has_come(h, &third), "it would own the gate of a lock that another host has");
}

Test(gates, for_many_that_die_together_those_they_may_have_chosen_are_looked_for_once)
{
	keeping(1, 64);
	struct host *h = &hosts[1];
	uint32_t alive = open_session(h, 1), dead[SLOTS];
	struct gate_record *r = &gates_of(h).records[waiter_of(h, alive)];

	for (unsigned i = 1; i < SLOTS; i++)
		dead[i] = open_session(h, 1 + i);
	acquire(h, dead[1], "k");
	r->state = (uint64_t)GATE_RECORD_CHOSEN << 32 | 7;
	for (unsigned i = 1; i < SLOTS; i++)
		step(h, (struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = dead[i] });
	settle();
	for (unsigned i = 1; i < SLOTS; i++)
		cr_assert(h->closed[dead[i]]);
	cr_assert_eq(r->bell, 1);
}

Test(gates, a_session_closed_in_order_leaves_no_death_behind)
{
	keeping(1, 64);
	struct host *h = &hosts[1];
	uint32_t s = open_session(h, 1), heir = open_session(h, 2);
	struct ring_completion c = acquire(h, s, "k");
	uint32_t gate = c.gate;

	request(h, s, (struct ring_request){ .op = REQUEST_CLOSE });
	settle();
	cr_assert(answered(h, s, &c));
	cr_assert_eq(c.result, 0);
	cr_assert(take(h, heir, gate, &c));
	cr_assert_eq(c.flags, 0);
}

Test(gates, words_written_over_are_put_right)
{
	keeping(3, 64);
	struct host *h = &hosts[1];
	uint32_t s = open_session(h, 1);
	struct ring_completion c = acquire(h, s, "k"), other = acquire(h, s, "l");
	struct gate_view v = gates_of(h);

	v.gates[c.gate].word = gate_word(~0u, 0xffff, 4000, 0xf);    /* an owner that is no session, a place that is none */
	v.gates[other.gate].word = gate_word(3, 0xfffe, 0xfff, 0x1); /* the agent's, with a line of nonsense */
	tell(h, s, c.gate);
	tell(h, s, other.gate);
	settle();
	cr_assert_gt(h->memory.tables->nonsense, 0);
	cr_assert_not(h->fatals);
	acquire(h, s, "k");
	acquire(h, s, "l");
	uint32_t far = open_session(&hosts[2], 2);
	release(h, s, &(struct ring_completion){ .gate = c.gate, .count = gate_count(v.gates[c.gate].word) });
	acquire(&hosts[2], far, "k");
}

/* The successor of an agent looks at every gate in one step, so this would end one after the other. */
Test(gates, who_writes_over_every_gate_of_a_large_host_does_not_end_its_agent)
{
	n_claims = 150000;
	keeping(1, 200000);
	struct host *h = &hosts[1];
	uint32_t s = open_session(h, 1), done = 0;

	while (done < 140000)
		done += acquire_and_keep(h, s, done);
	for (uint32_t gate = 1; gate <= done; gate++)
		gates_of(h).gates[gate].word = gate_word(7, 0, 4000, 0);
	agent_free(h->agent);
	start_agent(h);
	h->lines = 0;
	for (int turn = 0; turn < 3; turn++)
		step(h, (struct agent_event){ .kind = AGENT_TURN });
	cr_assert_geq(h->memory.tables->nonsense, done);
	cr_assert_lt(h->lines, 100, "each step says a little");
	cr_assert_not(h->fatals);
}

/* ---- a program that writes the same words all the time ---- */

static struct {
	void (*write)(unsigned long n);
	struct gate_view view;
	uint32_t gate, record;
	bool endless;
} mad;

static void counts_on_free(unsigned long n)
{
	mad.view.gates[mad.gate].word = gate_word((uint32_t)n, 0, 0, 0);
}

static void counts_on_closed(unsigned long n)
{
	mad.view.gates[mad.gate].word = gate_word((uint32_t)n, 0, GATE_AGENT, 0);
}

static void owned_by_nobody(unsigned long n)
{
	(void)n;
	mad.view.gates[mad.gate].word = gate_word(7, 0, 4000, 0);
}

static void moves_the_line(unsigned long n)
{
	mad.view.records[mad.record].state = (n & 0xffffffu) << 36 | (uint64_t)GATE_RECORD_SLEEP << 32;
	mad.view.records[mad.record].gate = mad.gate;
	mad.view.gates[mad.gate].head = 0;
	mad.view.gates[mad.gate].word = gate_word(7, mad.record, GATE_AGENT, 0);
}

/* One instruction of the agent's, one of the program's. */
static void write_again(unsigned long n)
{
	mad.write(n);
	mad.endless = n > 500000;
	if (mad.endless)
		step_end();
}

static void one_turn(void)
{
	struct agent_event e = { .kind = AGENT_TURN, .now_ns = now_ns };

	agent_step(hosts[1].agent, &e);
}

#ifdef __SANITIZE_ADDRESS__ /* its own instructions would be counted */
#define COUNTS_STEPS 0
#else
#define COUNTS_STEPS STEP_WORKS
#endif

static void is_not_waited_for(void (*write)(unsigned long n))
{
	keeping(1, 64);
	struct host *h = &hosts[1];
	uint32_t a = open_session(h, 1), b = open_session(h, 2);
	struct ring_completion c = acquire(h, a, "k");

	release(h, a, &c);
	mad.gate = c.gate;
	mad.record = waiter_of(h, b);
	mad.view = gates_of(h);
	mad.write = write;
	write(7);
	request(h, a, wish(REQUEST_ACQUIRE, 1, "k", 0));
	tell(h, a, c.gate);
	if (!COUNTS_STEPS)
		return;
	step_through(one_turn, write_again);
	cr_assert_not(mad.endless);
	mad.view.records[mad.record].state = 0;
	pass(2000);
	cr_assert(answered(h, a, &c), "and when it is over all goes on");
	cr_assert_eq(c.result, 0);
	cr_assert_not(h->fatals);
}

Test(gates, who_writes_a_free_gate_all_the_time_is_not_waited_for)
{
	is_not_waited_for(counts_on_free);
}

Test(gates, who_writes_a_closed_gate_all_the_time_is_not_waited_for)
{
	is_not_waited_for(counts_on_closed);
}

Test(gates, who_writes_an_owner_all_the_time_is_not_waited_for)
{
	is_not_waited_for(owned_by_nobody);
}

Test(gates, who_writes_a_line_all_the_time_is_not_waited_for)
{
	is_not_waited_for(moves_the_line);
}

Test(gates, a_suspended_host_opens_nothing_until_it_is_renewed)
{
	keeping(3, 64);
	uint32_t a = open_session(&hosts[1], 1), b = open_session(&hosts[1], 2);
	struct ring_completion c = acquire(&hosts[1], a, "k");
	struct gate_place p = stand(&hosts[1], b, c.gate);
	struct gate_view v = gates_of(&hosts[1]);

	hosts[2].up = hosts[3].up = false;
	pass(1500);
	/* What it acquired does not count: it gives it to the agent. */
	cr_assert_eq(gate_decline(&v, c.gate, a, c.count), GATE_TELL);
	tell(&hosts[1], a, c.gate);
	pass(500);
	cr_assert_not(has_come(&hosts[1], &p));
	hosts[2].up = hosts[3].up = true;
	pass(1000);
	cr_assert(has_come(&hosts[1], &p));
}

Test(gates, who_waited_when_the_machine_was_put_to_sleep_is_no_younger_for_it)
{
	keeping(1, 64);
	struct host *h = &hosts[1];
	uint32_t a = open_session(h, 1), b = open_session(h, 2), late = open_session(h, 3);
	struct ring_completion held = acquire(h, a, "k"), c;

	request(h, b, wish(REQUEST_ACQUIRE, 0, "k", 0));
	settle();
	now_ns += NS_PER_MS;
	struct gate_place p = stand(h, late, held.gate);
	const uint64_t slept_ns = 3600 * NS_PER_S; /* longer than it had run */
	now_ns += slept_ns;
	cr_assert(let_go(h, a, &held));
	for (int turn = 0; turn < 10; turn++)
		step(h, (struct agent_event){ .kind = AGENT_TURN, .suspended_ns = slept_ns });
	cr_assert(answered(h, b, &c));
	cr_assert_eq(c.result, 0);
	cr_assert_not(has_come(h, &p));
}
