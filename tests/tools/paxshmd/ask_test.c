/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to other hosts: which process owns a lock. */
#include "agent_rig.h"

Test(ask, a_try_is_told_the_process_on_the_other_host)
{
	ready(3, 64);
	uint32_t a = open_session(&hosts[1], 41), b = open_session(&hosts[2], 42);
	struct ring_completion owner = acquire(&hosts[1], a, "k"), c;

	request(&hosts[2], b, wish(REQUEST_ACQUIRE, 1, "k", REQUEST_TRY));
	settle();
	pass(50);
	cr_assert(answered(&hosts[2], b, &c));
	cr_assert_eq(c.result, -EBUSY);
	cr_assert_eq(c.holder_host, 1);
	cr_assert_eq(c.holder_pid, 41);
	cr_assert_eq(c.holder_start, 410);
	cr_assert_eq(c.holder_session, a);
	release(&hosts[1], a, &owner);
	request(&hosts[2], b, wish(REQUEST_ACQUIRE, 1, "k", REQUEST_TRY));
	pass(20);
	cr_assert(answered(&hosts[2], b, &c));
	cr_assert_eq(c.result, 0);
}

Test(ask, a_try_behind_an_owner_that_does_not_answer_names_its_host)
{
	host_lease_ns = 60 * NS_PER_S;
	ready(3, 64);
	uint32_t a = open_session(&hosts[1], 41), b = open_session(&hosts[2], 42);
	struct ring_completion c;

	acquire(&hosts[1], a, "k");
	hosts[1].up = false; /* frozen, and the two others go on */
	pass(3000);
	request(&hosts[2], b, wish(REQUEST_ACQUIRE, 1, "k", REQUEST_TRY));
	pass(3000);
	cr_assert(answered(&hosts[2], b, &c));
	cr_assert_eq(c.result, -EBUSY);
	cr_assert_eq(c.holder_host, 1);
	cr_assert_eq(c.holder_pid, 0);
}

Test(ask, holder_answers_from_the_owners_host_and_also_linearizably)
{
	ready(3, 64);
	uint32_t a = open_session(&hosts[1], 41), b = open_session(&hosts[2], 42);
	struct ring_completion owner = acquire(&hosts[1], a, "k"), c;

	for (uint32_t flags = 0; flags <= REQUEST_LINEARIZABLE; flags += REQUEST_LINEARIZABLE) {
		request(&hosts[2], b, wish(REQUEST_HOLDER, 5, "k", flags));
		pass(50);
		cr_assert(answered(&hosts[2], b, &c));
		cr_assert_eq(c.result, 0);
		cr_assert_eq(c.holder_pid, 41);
		cr_assert_eq(c.holder_token, owner.token);
		request(&hosts[2], b, wish(REQUEST_HOLDER, 5, "nobody's", flags));
		pass(50);
		cr_assert(answered(&hosts[2], b, &c));
		cr_assert_eq(c.result, -ESRCH);
	}
}

Test(ask, a_question_on_its_way_to_another_host_may_be_as_long_as_a_frame)
{
	ready(3, 64);
	static unsigned char frame[WIRE_FRAME_MAX], body[WIRE_FRAME_MAX - WIRE_HEADER] = { 2 /* WORD_ASK */, 2, 3, 0, 1, 0 };
	int len = wire_put_agent(frame, sizeof(frame), body, sizeof(body));

	cr_assert_gt(len, 0);
	step(&hosts[2], (struct agent_event){ .kind = AGENT_FRAME, .from = 1, .bytes = frame, .len = (size_t)len });
	settle();
}
