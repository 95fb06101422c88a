/* SPDX-License-Identifier: Apache-2.0 */
/* Lines and claims: who on a host owns, or waits for, which lock. */
#include "agent_rig.h"

Test(delegate, one_host_grants_and_frees)
{
	ready(1, 64);
	struct host *h = &hosts[1];
	uint32_t s = open_session(h, 11);
	struct ring_completion first = acquire(h, s, "k"), second;
	struct lock_value v;

	cr_assert_eq(table_read(h->memory.tables, "k", 1, &v), 1);
	cr_assert_eq(v.gate, first.gate);
	cr_assert_eq(gate_owner_of(h, v.gate), s);
	cr_assert_eq(tables_session(h->memory.tables, s)->pid, 11);
	release(h, s, &first);
	cr_assert_eq(table_read(h->memory.tables, "k", 1, &v), 0, "a free lock takes no row");
	second = acquire(h, s, "k");
	cr_assert_gt(second.token, first.token);
}

Test(delegate, three_hosts_take_turns_first_come_first_served)
{
	ready(3, 64);
	uint32_t slot[4];
	struct ring_completion c;
	uint64_t token = 0;

	for (int i = 1; i <= 3; i++)
		slot[i] = open_session(&hosts[i], 10u * i);
	for (int i = 1; i <= 3; i++) {
		request(&hosts[i], slot[i], wish(REQUEST_ACQUIRE, 3, "k", 0));
		settle();
	}
	for (int i = 1; i <= 3; i++) {
		cr_assert(answered(&hosts[i], slot[i], &c), "host %d in its turn", i);
		cr_assert_gt(c.token, token);
		token = c.token;
		for (int j = i + 1; j <= 3; j++) {
			struct ring_completion other;
			cr_assert(!answered(&hosts[j], slot[j], &other), "only one owner");
		}
		release(&hosts[i], slot[i], &c);
	}
	equal_tables();
	cr_assert_eq(hosts[1].memory.tables->agreed.rows_used, 0);
}

Test(delegate, trap_8_a_cancelled_or_dead_waiter_does_not_swallow_the_grant)
{
	ready(3, 64);
	uint32_t owner = open_session(&hosts[1], 1), gone = open_session(&hosts[2], 2), late = open_session(&hosts[2], 3),
		 last = open_session(&hosts[3], 4);
	struct ring_completion held = acquire(&hosts[1], owner, "k"), c;

	request(&hosts[2], gone, wish(REQUEST_ACQUIRE, 0, "k", 0));
	request(&hosts[2], late, wish(REQUEST_ACQUIRE, 0, "k", 0));
	settle();
	request(&hosts[3], last, wish(REQUEST_ACQUIRE, 0, "k", 0));
	settle();
	/* Release, death and time-out at one instant, in whichever order they are met. */
	let_go(&hosts[1], owner, &held);
	request(&hosts[2], late, (struct ring_request){ .op = REQUEST_CANCEL, .call = CALL_NONE, .target = 0, .reason = -ETIMEDOUT });
	step(&hosts[2], (struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = gone });
	settle();
	cr_assert(answered(&hosts[2], late, &c));
	if (c.result == 0)
		release(&hosts[2], late, &c);
	else
		cr_assert_eq(c.result, -ETIMEDOUT);
	cr_assert(answered(&hosts[3], last, &c), "the grant goes to the next");
	cr_assert_eq(c.result, 0);
}

Test(delegate, the_next_owner_is_told_that_the_last_one_died)
{
	ready(3, 64);
	uint32_t a = open_session(&hosts[1], 1), b = open_session(&hosts[2], 2), later = open_session(&hosts[3], 3);
	struct ring_completion c;

	acquire(&hosts[1], a, "k");
	request(&hosts[2], b, wish(REQUEST_ACQUIRE, 0, "k", 0));
	settle();
	step(&hosts[1], (struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = a });
	settle();
	cr_assert(answered(&hosts[2], b, &c));
	cr_assert_eq(c.flags, COMPLETION_DIED);
	/* Also when nobody waited. */
	step(&hosts[2], (struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = b });
	settle();
	c = acquire(&hosts[3], later, "k");
	cr_assert_eq(c.flags, COMPLETION_DIED);
	release(&hosts[3], later, &c);
	c = acquire(&hosts[3], later, "k");
	cr_assert_eq(c.flags, 0, "told once");
}

Test(delegate, waiting_hosts_get_the_lock_after_handover_max_local_turns)
{
	ready(3, 64);
	uint32_t here[3], there = open_session(&hosts[2], 9);
	struct ring_completion c, other;
	int turns = 0;

	for (int i = 0; i < 3; i++)
		here[i] = open_session(&hosts[1], 1u + i);
	for (int i = 0; i < 3; i++) {
		request(&hosts[1], here[i], wish(REQUEST_ACQUIRE, 0, "k", 0));
		settle();
	}
	request(&hosts[2], there, wish(REQUEST_ACQUIRE, 0, "k", 0));
	settle();
	while (!answered(&hosts[2], there, &other)) {
		bool any = false;

		for (int i = 0; i < 3 && !any; i++) {
			if (!answered(&hosts[1], here[i], &c))
				continue;
			any = true;
			turns++;
			release(&hosts[1], here[i], &c);
			request(&hosts[1], here[i], wish(REQUEST_ACQUIRE, 0, "k", 0));
			settle();
		}
		cr_assert(any, "somebody owns it");
		cr_assert_leq(turns, 1 + 4, "handover_max is 4");
	}
	cr_assert_geq(turns, 1 + 1, "and who waits here for as long is let in");
}

Test(delegate, a_full_table_refuses_alike_everywhere)
{
	ready(3, 4);
	uint32_t s = open_session(&hosts[2], 5);
	struct ring_completion c;
	char key[2] = "a";

	for (; key[0] < 'e'; key[0]++)
		acquire(&hosts[2], s, key);
	request(&hosts[2], s, wish(REQUEST_ACQUIRE, 0, "e", 0));
	settle();
	cr_assert(answered(&hosts[2], s, &c));
	cr_assert_eq(c.result, -ENOSPC);
	equal_tables();
}

Test(delegate, no_quorum_is_told_to_those_who_asked_for_it)
{
	ready(3, 64);
	uint32_t s = open_session(&hosts[1], 5), patient = open_session(&hosts[1], 6);
	struct ring_completion c;

	hosts[2].up = hosts[3].up = false;
	request(&hosts[1], s, wish(REQUEST_ACQUIRE, 0, "k", REQUEST_RETURN));
	request(&hosts[1], patient, wish(REQUEST_ACQUIRE, 0, "other", 0));
	pass(700);
	cr_assert(!answered(&hosts[1], s, &c), "never during an election");
	pass(1500);
	cr_assert(answered(&hosts[1], s, &c));
	cr_assert_eq(c.result, -ENETUNREACH);
	cr_assert_eq(hosts[1].memory.tables->quorum, 0);
	cr_assert(!answered(&hosts[1], patient, &c));
	hosts[2].up = true;
	pass(2000);
	cr_assert(answered(&hosts[1], patient, &c), "two of three suffice");
	cr_assert_eq(c.result, 0);
}

Test(delegate, waiters_that_are_handed_over_without_a_quorum_are_told_too)
{
	ready(3, 64);
	struct host *h = &hosts[2];
	uint32_t s = open_session(h, 1), t = open_session(&hosts[1], 2);
	struct ring_completion c = acquire(h, s, "k");
	unsigned turns = 0;

	for (uint32_t call = 1; call <= 8; call++)
		request(h, s, wish(REQUEST_ACQUIRE, call, "k", REQUEST_RETURN));
	request(&hosts[1], t, wish(REQUEST_ACQUIRE, 0, "k", 0));
	settle();
	hosts[1].up = hosts[3].up = false;
	pass(2000);
	cr_assert_eq(h->memory.tables->quorum, 0);
	do {
		turns++;
		release(h, s, &c);
		cr_assert(answered(h, s, &c), "nobody is told anything");
	} while (c.result == 0 && turns < 20);
	cr_assert_eq(c.result, -ENETUNREACH);
	while (answered(h, s, &c))
		turns++;
	cr_assert_eq(turns, 8, "each of them");
}

/* ---- what is bounded, whoever asks ---- */

/* Fills every call of every session of h with a wish for one key; nothing is answered meanwhile. */
static void crowd(struct host *h, const char *key, uint32_t flags)
{
	for (uint32_t slot = 1; slot <= SLOTS; slot++)
		open_session(h, slot);
	for (uint32_t call = 0; call < RING_CALLS; call++) {
		for (uint32_t slot = 1; slot <= SLOTS; slot++)
			request(h, slot, wish(REQUEST_ACQUIRE, call, key, flags));
		step(h, (struct agent_event){ .kind = AGENT_TURN });
	}
}

/* How many of the crowd were answered with this. */
static unsigned count_answers(struct host *h, int result)
{
	unsigned n = 0;
	struct ring_completion c;

	for (uint32_t slot = 1; slot <= SLOTS; slot++)
		while (answered(h, slot, &c))
			n += c.result == result;
	return n;
}

Test(delegate, a_crowd_of_tries_is_refused_in_groups_that_can_be_undone)
{
	n_claims = SLOTS * RING_CALLS;
	ready(3, 64);
	struct host *h = &hosts[leader() == 3 ? 2 : 3];
	struct ring_completion c;
	unsigned grants = 0, refused = 0;

	crowd(h, "k", REQUEST_TRY);
	settle();
	for (uint32_t slot = 1; slot <= SLOTS; slot++)
		while (answered(h, slot, &c)) {
			grants += c.result == 0;
			refused += c.result == -EBUSY;
		}
	cr_assert_eq(grants, 1);
	cr_assert_eq(refused, SLOTS * RING_CALLS - 1);
}

Test(delegate, a_crowd_of_tries_for_another_hosts_lock_is_refused_in_groups_that_can_be_undone)
{
	n_claims = SLOTS * RING_CALLS;
	ready(3, 64);
	struct host *h = &hosts[2];
	uint32_t s = open_session(&hosts[1], 5);

	acquire(&hosts[1], s, "k");
	crowd(h, "k", REQUEST_TRY);
	settle();
	pass(500);
	cr_assert_eq(count_answers(h, -EBUSY), SLOTS * RING_CALLS);
}

Test(delegate, a_crowd_is_told_of_a_full_table_in_groups_that_can_be_undone)
{
	n_claims = SLOTS * RING_CALLS;
	ready(3, 1);
	struct host *h = &hosts[2];
	uint32_t s = open_session(&hosts[1], 5);

	acquire(&hosts[1], s, "the only row");
	crowd(h, "k", 0);
	settle();
	cr_assert_eq(count_answers(h, -ENOSPC), SLOTS * RING_CALLS);
}

Test(delegate, for_who_stands_at_the_gate_of_a_lock_without_room_the_cluster_is_asked_now_and_then)
{
	ready(3, 1);
	struct host *h = &hosts[leader() == 3 ? 2 : 3];
	uint32_t s = open_session(&hosts[1], 5), a = open_session(h, 6), b = open_session(h, 7);
	struct ring_completion held = acquire(&hosts[1], s, "the only row"), c;
	struct gate_place p = { .gate = 1, .slot = b, .record = (b - 1) * h->memory.tables->records_each + 1 };
	struct gate_view v = gates_of(h);

	request(h, a, wish(REQUEST_ACQUIRE, 0, "k", 0));
	step(h, (struct agent_event){ .kind = AGENT_TURN });
	cr_assert_eq(gate_arrive(&v, &p, now_ns), GATE_TELL);
	tell(h, b, p.gate);
	settle();
	cr_assert(answered(h, a, &c));
	cr_assert_eq(c.result, -ENOSPC);
	release(&hosts[1], s, &held);
	pass(100);
	cr_assert_eq(gate_owner_of(h, p.gate), b);
}
