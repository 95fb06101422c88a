/* SPDX-License-Identifier: Apache-2.0 */
/* Shared: a lock that many sessions of many hosts have at once. */
#include "agent_rig.h"

static void want(uint16_t host, uint32_t slot, uint32_t call, uint8_t mode, uint32_t flags)
{
	struct ring_request r = wish(REQUEST_ACQUIRE, call, "k", flags);

	r.mode = mode;
	request(&hosts[host], slot, r);
	settle();
}

static bool got(uint16_t host, uint32_t slot, struct ring_completion *ret)
{
	if (!answered(&hosts[host], slot, ret))
		return false;
	cr_assert_eq(ret->result, 0);
	return true;
}

static void leave(uint16_t host, uint32_t slot, const struct ring_completion *c)
{
	request(&hosts[host], slot, (struct ring_request){ .op = REQUEST_RELEASE, .call = CALL_NONE, .claim = c->claim });
	settle();
}

Test(shared, many_sessions_of_many_hosts_have_it_at_once)
{
	ready(3, 64);
	struct ring_completion c[7];
	uint32_t s[7];

	for (unsigned i = 1; i <= 6; i++) {
		uint16_t host = (uint16_t)(1 + i % 3);

		s[i] = open_session(&hosts[host], i);
		want(host, s[i], 0, LOCK_MODE_PR, 0);
		cr_assert(got(host, s[i], &c[i]), "reader %u", i);
		cr_assert_eq(c[i].gate, 0);
		for (unsigned j = 1; j < i; j++)
			cr_assert_neq(c[i].token, c[j].token);
	}
	for (unsigned i = 1; i <= 6; i++)
		leave((uint16_t)(1 + i % 3), s[i], &c[i]);
	cr_assert_eq(hosts[1].memory.tables->agreed.rows_used, 0);
	equal_tables();
}

Test(shared, who_wants_it_alone_is_not_passed_by_those_who_share)
{
	for (int kept = 0; kept < 2; kept++) {
		keep_ns = kept ? 10 * NS_PER_S : 0;
		ready(3, 64);
		struct ring_completion first, alone, late;
		uint32_t a = open_session(&hosts[1], 1), b = open_session(&hosts[2], 2), w = open_session(&hosts[3], 3);

		want(1, a, 0, LOCK_MODE_PR, 0);
		cr_assert(got(1, a, &first));
		want(3, w, 0, LOCK_MODE_EX, 0);
		cr_assert_not(got(3, w, &alone));
		want(2, b, 0, LOCK_MODE_PR, 0);
		now_ns += NS_PER_MS;
		want(1, a, 1, LOCK_MODE_PR, 0);
		cr_assert_not(got(2, b, &late), "behind the writer, from another host");
		cr_assert_not(got(1, a, &late), "and from the same");
		leave(1, a, &first);
		cr_assert(got(3, w, &alone));
		cr_assert_gt(alone.token, first.token);
		cr_assert_not(got(2, b, &late));
		release(&hosts[3], w, &alone);
		pass(100);
		cr_assert(got(2, b, &late));
		cr_assert_gt(late.token, alone.token);
		cr_assert(got(1, a, &first));
	}
}

Test(shared, on_one_host_the_modes_take_turns_in_order)
{
	keep_ns = 10 * NS_PER_S;
	ready(3, 64);
	struct host *h = &hosts[2];
	uint32_t s = open_session(h, 1);
	struct ring_completion c, d;

	want(2, s, 0, LOCK_MODE_EX, 0);
	cr_assert(got(2, s, &c));
	want(2, s, 1, LOCK_MODE_PR, 0);
	want(2, s, 2, LOCK_MODE_PR, 0);
	now_ns += NS_PER_MS;
	want(2, s, 3, LOCK_MODE_EX, 0);
	now_ns += NS_PER_MS;
	want(2, s, 4, LOCK_MODE_PR, 0);
	release(h, s, &c);
	cr_assert(got(2, s, &c));
	cr_assert(got(2, s, &d));
	cr_assert_eq(c.call + d.call, 3);
	cr_assert_not(answered(h, s, &d));
	leave(2, s, &c);
	cr_assert_not(answered(h, s, &c));
	leave(2, s, &d);
	cr_assert(got(2, s, &c));
	cr_assert_eq(c.call, 3);
	release(h, s, &c);
	cr_assert(got(2, s, &c));
	cr_assert_eq(c.call, 4);
}

Test(shared, a_try_is_answered_at_once)
{
	ready(3, 64);
	uint32_t a = open_session(&hosts[1], 71), b = open_session(&hosts[2], 2);
	struct ring_completion c, d;

	want(1, a, 0, LOCK_MODE_PR, 0);
	cr_assert(got(1, a, &c));
	want(2, b, 0, LOCK_MODE_EX, REQUEST_TRY);
	pass(100);
	cr_assert(answered(&hosts[2], b, &d));
	cr_assert_eq(d.result, -EBUSY);
	cr_assert_eq(d.holder_pid, 71);
	want(1, a, 1, LOCK_MODE_EX, REQUEST_TRY);
	cr_assert(answered(&hosts[1], a, &d));
	cr_assert_eq(d.result, -EBUSY);
	want(2, b, 0, LOCK_MODE_PR, REQUEST_TRY);
	cr_assert(got(2, b, &d));
	request(&hosts[3], open_session(&hosts[3], 3), wish(REQUEST_HOLDER, 0, "k", 0));
	pass(100);
	cr_assert(answered(&hosts[3], 1, &d));
	cr_assert_eq(d.result, 0);
	cr_assert(d.holder_pid == 71 || d.holder_pid == 2, "one of them");
}

Test(shared, a_try_to_have_it_alone_stands_in_nobodys_way)
{
	ready(3, 64);
	struct ring_request one = wish(REQUEST_ACQUIRE, 0, "k", 0), alone = wish(REQUEST_ACQUIRE, 1, "k", REQUEST_TRY);
	struct ring_request two = wish(REQUEST_ACQUIRE, 2, "k", 0), three = wish(REQUEST_ACQUIRE, 3, "k", REQUEST_TRY);
	uint32_t a = open_session(&hosts[1], 71);
	struct ring_completion c;

	one.mode = two.mode = three.mode = LOCK_MODE_PR;
	request(&hosts[1], a, one);
	request(&hosts[1], a, alone);
	request(&hosts[1], a, two);
	request(&hosts[1], a, three);
	settle();
	for (uint32_t call = 0; call < 4; call++) {
		cr_assert(answered(&hosts[1], a, &c), "answer %u", call);
		cr_assert_eq(c.call, call);
		cr_assert_eq(c.result, call == 1 ? -EBUSY : 0, "call %u: %d", call, c.result);
	}
}

/* The frame that one host has sent to another is taken out of the network; NULL: there is none. */
static struct frame *caught(uint16_t from, uint16_t to)
{
	for (unsigned i = queue_first; i < queue_end; i++) {
		struct frame *f = queue[i];

		if (f->from != from || f->to != to)
			continue;
		memmove(&queue[i], &queue[i + 1], (--queue_end - i) * sizeof(queue[0]));
		return f;
	}
	return NULL;
}

static void hand_in(struct frame *f)
{
	step(&hosts[f->to], (struct agent_event){ .kind = AGENT_FRAME, .from = f->from, .bytes = f->bytes, .len = f->len });
	free(f);
}

Test(shared, who_does_not_share_it_cannot_say_so_for_who_is_left)
{
	keep_ns = 100 * NS_PER_S;
	ready(3, 64);
	uint32_t unused = open_session(&hosts[2], 2), used = open_session(&hosts[3], 3), asker = open_session(&hosts[1], 9);
	struct ring_completion c, answer;
	struct frame *question = NULL, *late;

	want(3, used, 0, LOCK_MODE_PR, 0);
	cr_assert(got(3, used, &c));
	want(2, unused, 0, LOCK_MODE_PR, 0);
	cr_assert(got(2, unused, &c));
	leave(2, unused, &c);
	for (unsigned i = 0; i < 4 && !question; i++) { /* another host is asked first each heartbeat */
		pass(20);
		request(&hosts[1], asker, wish(REQUEST_HOLDER, i, "k", 0));
		step(&hosts[1], (struct agent_event){ .kind = AGENT_TURN });
		question = caught(1, 2);
	}
	cr_assert(question);
	hand_in(question);
	late = caught(2, 1);
	cr_assert(late);
	settle(); /* meanwhile it has given it back */
	while (answered(&hosts[1], asker, &answer))
		cr_assert_eq(answer.holder_pid, 3);
	hand_in(late);
	pass(60);
	cr_assert(answered(&hosts[1], asker, &answer));
	cr_assert_eq(answer.result, 0);
	cr_assert_eq(answer.holder_pid, 3);
}

/* a shares on host 1, somebody waits to have it alone on another host, and b waits on host 1 behind him. */
static void wait_behind(uint16_t other, uint32_t *ret_a, uint32_t *ret_b, uint32_t *ret_alone)
{
	struct ring_completion c;

	*ret_a = open_session(&hosts[1], 1);
	*ret_b = open_session(&hosts[1], 2);
	*ret_alone = open_session(&hosts[other], 3);
	want(1, *ret_a, 0, LOCK_MODE_PR, 0);
	cr_assert(got(1, *ret_a, &c));
	want(other, *ret_alone, 0, LOCK_MODE_EX, 0);
	now_ns += NS_PER_MS;
	want(1, *ret_b, 0, LOCK_MODE_PR, 0);
	cr_assert_not(got(1, *ret_b, &c));
}

Test(shared, when_who_wanted_it_alone_on_another_host_gives_up_those_behind_him_come_in)
{
	ready(3, 64);
	uint32_t a, b, alone;
	struct ring_completion c;

	wait_behind(2, &a, &b, &alone);
	request(&hosts[2], alone, (struct ring_request){ .op = REQUEST_CANCEL, .call = CALL_NONE, .target = 0, .reason = -ETIMEDOUT });
	settle();
	cr_assert(answered(&hosts[2], alone, &c));
	cr_assert_eq(c.result, -ETIMEDOUT);
	cr_assert(got(1, b, &c), "and a shares it all the while");
}

Test(shared, when_his_host_is_gone_those_behind_him_come_in)
{
	ready(3, 64);
	uint16_t gone = leader() == 3 ? 2 : 3;
	uint32_t a, b, alone;
	struct ring_completion c;

	wait_behind(gone, &a, &b, &alone);
	hosts[gone].up = false;
	pass(2500);
	cr_assert(got(1, b, &c), "and a shares it all the while");
}

Test(shared, when_who_waited_at_the_gate_leaves_those_behind_him_come_in)
{
	keep_ns = 100 * NS_PER_S;
	ready(1, 64);
	uint32_t w = open_session(&hosts[1], 1), a = open_session(&hosts[1], 2), b = open_session(&hosts[1], 3);
	struct gate_view v = gates_of(&hosts[1]);
	struct ring_completion c = acquire(&hosts[1], w, "k");
	struct gate_place place = { .gate = c.gate, .slot = w, .record = (w - 1) * hosts[1].memory.tables->records_each + 1 };
	enum gate_next next;

	want(1, a, 0, LOCK_MODE_PR, 0);
	release(&hosts[1], w, &c);
	cr_assert(got(1, a, &c));
	while ((next = gate_arrive(&v, &place, now_ns)) == GATE_AGAIN)
		;
	cr_assert_eq(next, GATE_TELL);
	tell(&hosts[1], w, place.gate);
	settle();
	now_ns += NS_PER_MS;
	want(1, b, 0, LOCK_MODE_PR, 0);
	pass(100);
	cr_assert_not(got(1, b, &c), "behind who waits at the gate");
	while ((next = gate_cancel(&v, &place)) == GATE_AGAIN)
		;
	cr_assert_eq(next, GATE_LEFT, "he tells nobody");
	pass(1100);
	cr_assert(got(1, b, &c), "and a shares it all the while");
}

Test(shared, nobody_is_said_to_share_only_when_nobody_does)
{
	keep_ns = 100 * NS_PER_S;
	ready(3, 64);
	uint32_t s[4], asker = open_session(&hosts[1], 9);
	struct ring_completion c[4], answer;

	for (uint16_t host = 1; host <= 3; host++) {
		s[host] = open_session(&hosts[host], host);
		want(host, s[host], 0, LOCK_MODE_PR, 0);
		cr_assert(got(host, s[host], &c[host]));
	}
	leave(1, s[1], &c[1]);
	leave(2, s[2], &c[2]);
	for (unsigned i = 0; i < 20; i++) { /* another host is asked first each time */
		request(&hosts[1], asker, wish(REQUEST_HOLDER, 0, "k", i % 2 ? REQUEST_LINEARIZABLE : 0));
		pass(60);
		cr_assert(answered(&hosts[1], asker, &answer), "question %u", i);
		cr_assert_eq(answer.result, 0, "question %u: %d", i, answer.result);
		cr_assert_eq(answer.holder_pid, 3, "question %u", i);
		if (i == 9) { /* those two have given it back when they were asked: they have it once more */
			want(2, s[2], 0, LOCK_MODE_PR, 0);
			cr_assert(got(2, s[2], &c[2]));
			leave(2, s[2], &c[2]);
		}
	}
	leave(3, s[3], &c[3]);
	request(&hosts[1], asker, wish(REQUEST_HOLDER, 0, "k", REQUEST_LINEARIZABLE));
	pass(60);
	cr_assert(answered(&hosts[1], asker, &answer));
	cr_assert_eq(answer.result, -ESRCH);
}

Test(shared, the_death_of_one_leaves_the_others)
{
	ready(3, 64);
	uint32_t a = open_session(&hosts[1], 1), b = open_session(&hosts[1], 2), w = open_session(&hosts[2], 3);
	struct ring_completion c, d;

	want(1, a, 0, LOCK_MODE_PR, 0);
	want(1, b, 0, LOCK_MODE_PR, 0);
	cr_assert(got(1, a, &c) && got(1, b, &d));
	want(2, w, 0, LOCK_MODE_EX, 0);
	step(&hosts[1], (struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = a });
	settle();
	cr_assert_not(got(2, w, &c));
	step(&hosts[1], (struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = b });
	settle();
	cr_assert(got(2, w, &c));
	cr_assert_eq(c.flags, 0, "who only reads leaves nothing half written");
}

Test(shared, whoever_shared_on_a_host_that_is_gone_keeps_nobody_out)
{
	ready(3, 64);
	uint16_t gone = leader() == 3 ? 2 : 3;
	uint32_t a = open_session(&hosts[gone], 1), w = open_session(&hosts[1], 3);
	struct ring_completion c;

	want(gone, a, 0, LOCK_MODE_PR, 0);
	cr_assert(got(gone, a, &c));
	want(1, w, 0, LOCK_MODE_EX, 0);
	hosts[gone].up = false;
	pass(2500);
	cr_assert(got(1, w, &c));
	hosts[gone].up = true;
	pass(2500);
	want(gone, a, 1, LOCK_MODE_PR, 0);
	cr_assert_not(got(gone, a, &c));
}

Test(shared, what_is_kept_and_not_shared_gives_way_when_there_is_no_room_to_wait)
{
	static const char *const keys[] = { "k1", "k2", "k3" };
	struct ring_completion c;
	uint32_t s[4];

	keep_ns = 100 * NS_PER_S;
	ready(3, 8); /* entries for as many */
	for (uint16_t host = 1; host <= 3; host++)
		s[host] = open_session(&hosts[host], host);
	for (unsigned i = 0; i < 8; i++) {
		uint16_t host = (uint16_t)(1 + i % 3);
		struct ring_request r = wish(REQUEST_ACQUIRE, 0, keys[i / 3], 0);

		r.mode = LOCK_MODE_PR;
		request(&hosts[host], s[host], r);
		settle();
		cr_assert(got(host, s[host], &c));
		leave(host, s[host], &c);
	}
	struct ring_completion owned = acquire(&hosts[2], s[2], "k");

	request(&hosts[1], s[1], wish(REQUEST_ACQUIRE, 0, "k", 0));
	pass(100);
	release(&hosts[2], s[2], &owned);
	pass(100);
	cr_assert(got(1, s[1], &c));
}

Test(shared, a_mode_that_is_not_built_yet_is_refused)
{
	ready(1, 64);
	uint32_t s = open_session(&hosts[1], 1);
	struct ring_completion c;

	want(1, s, 0, 2, 0);
	cr_assert(answered(&hosts[1], s, &c));
	cr_assert_eq(c.result, -ENOSYS);
	cr_assert_eq(acquire(&hosts[1], s, "k").result, 0);
}

/* How many claims on "k" a program of the host is shown, and the oldest of them. */
static uint32_t shown(uint16_t host, enum claim_shown what, struct claim_seen *ret)
{
	return table_read_claims(hosts[host].memory.tables, "k", 1, what, ret, 1);
}

Test(shared, programs_see_who_shares_and_who_waits_through_the_agent)
{
	ready(3, 64);
	struct ring_completion first, second;
	struct claim_seen seen;
	uint32_t a = open_session(&hosts[1], 1), b = open_session(&hosts[1], 2), w = open_session(&hosts[1], 3);
	uint64_t came_ns;

	want(1, a, 0, LOCK_MODE_PR, 0);
	cr_assert(got(1, a, &first));
	came_ns = now_ns;
	now_ns += NS_PER_MS;
	want(1, b, 0, LOCK_MODE_PR, 0);
	cr_assert(got(1, b, &second));
	cr_assert_eq(shown(1, CLAIM_SHOWN_SHARES, &seen), 2);
	cr_assert_eq(seen.slot, a);
	cr_assert_eq(seen.since_ns, came_ns);
	cr_assert_eq(seen.mode, LOCK_MODE_PR);
	cr_assert_eq(shown(2, CLAIM_SHOWN_SHARES, &seen), 0, "of its own host alone");
	want(1, w, 0, LOCK_MODE_EX, 0);
	cr_assert_eq(shown(1, CLAIM_SHOWN_WAITS, &seen), 1);
	cr_assert_eq(seen.slot, w);
	cr_assert_eq(seen.mode, LOCK_MODE_EX);
	leave(1, a, &first);
	cr_assert_eq(shown(1, CLAIM_SHOWN_SHARES, &seen), 1);
	cr_assert_eq(seen.slot, b);
	leave(1, b, &second);
	cr_assert(got(1, w, &first));
	cr_assert_eq(shown(1, CLAIM_SHOWN_SHARES, &seen) + shown(1, CLAIM_SHOWN_WAITS, &seen), 0);
}

Test(shared, who_waits_for_another_hosts_lock_is_seen_on_his_own)
{
	ready(3, 64);
	struct ring_completion c;
	struct claim_seen seen;
	uint32_t a = open_session(&hosts[1], 1), w = open_session(&hosts[2], 2);

	want(1, a, 0, LOCK_MODE_EX, 0);
	cr_assert(got(1, a, &c));
	want(2, w, 0, LOCK_MODE_EX, 0);
	cr_assert_eq(shown(2, CLAIM_SHOWN_WAITS, &seen), 1);
	cr_assert_eq(seen.slot, w);
	cr_assert_eq(shown(1, CLAIM_SHOWN_WAITS, &seen), 0);
}

Test(shared, a_new_agent_shows_claims_anew)
{
	ready(1, 64);
	struct ring_completion c;
	struct claim_seen seen;
	uint32_t a = open_session(&hosts[1], 1), w = open_session(&hosts[1], 2);
	struct tables *t = hosts[1].memory.tables;

	want(1, a, 0, LOCK_MODE_PR, 0);
	cr_assert(got(1, a, &c));
	want(1, w, 0, LOCK_MODE_EX, 0);
	/* As a predecessor leaves it that dies in a group which it does not commit, between a row and the count. */
	table_show_claim(t, 1, 99, w, CLAIM_SHOWN_WAITS, LOCK_MODE_EX, 7, 1);
	table_show_claim(t, 9, 99, w, CLAIM_SHOWN_WAITS, LOCK_MODE_EX, claim_hash("k", 1), 1);
	t->claims_shown = 0;
	agent_free(hosts[1].agent);
	start_agent(&hosts[1]);
	settle();
	cr_assert_eq(shown(1, CLAIM_SHOWN_SHARES, &seen), 1);
	cr_assert_eq(seen.slot, a);
	cr_assert_eq(shown(1, CLAIM_SHOWN_WAITS, &seen), 1);
	cr_assert_eq(seen.slot, w);
}

/* A release names a claim; one that was given back, or another session's, it does not end. */
Test(shared, trap_7_a_release_ends_only_the_claim_that_it_names)
{
	ready(1, 64);
	struct ring_completion old, c;
	struct claim_seen seen;
	uint32_t a = open_session(&hosts[1], 1), b = open_session(&hosts[1], 2);

	want(1, a, 0, LOCK_MODE_PR, 0);
	cr_assert(got(1, a, &old));
	leave(1, a, &old);
	want(1, a, 0, LOCK_MODE_PR, 0);
	cr_assert(got(1, a, &c));
	cr_assert_eq((uint32_t)c.claim, (uint32_t)old.claim, "the place is used again");
	leave(1, a, &old);
	cr_assert_eq(shown(1, CLAIM_SHOWN_SHARES, &seen), 1);
	leave(1, b, &c);
	cr_assert_eq(shown(1, CLAIM_SHOWN_SHARES, &seen), 1);
	leave(1, a, &c);
	cr_assert_eq(shown(1, CLAIM_SHOWN_SHARES, &seen), 0);
}
