/* SPDX-License-Identifier: Apache-2.0 */
/* What is chosen behind a copy of the tables while it comes. */
#include "agent_rig.h"

static uint16_t away;

static void leave_behind(void)
{
	uint32_t s;

	n_bite = 64;
	n_claims = 200;
	ready(3, 64);
	away = leader() == 3 ? 2 : 3;
	s = open_session(&hosts[1], 5);
	hosts[away].up = false;
	for (unsigned i = 0; i < 100; i++)
		release(&hosts[1], s, &(struct ring_completion[]){ acquire(&hosts[1], s, "k") }[0]);
	for (unsigned i = 0; i < 40; i++) {
		char key[16];

		snprintf(key, sizeof(key), "held%u", i);
		acquire(&hosts[1], s, key);
	}
}

static void come_back(void)
{
	hosts[away].up = true;
	link_all(&hosts[away]);
}

/* The log keeps 64 slots; several times as many are chosen before the copy stands. */
static uint64_t go_on_until_it_stands(void)
{
	uint32_t s = open_session(&hosts[1], 6);
	uint64_t from = hosts[1].memory.tables->agreed.applied;

	for (unsigned n = 0; !agent_copies(hosts[away].agent).installed; n++) {
		cr_assert_lt(n, 1000, "no copy is ever installed: %lu begun, %lu refused", agent_copies(hosts[away].agent).begun, agent_copies(hosts[away].agent).refused);
		for (unsigned i = 0; i < 3; i++)
			release(&hosts[1], s, &(struct ring_completion[]){ acquire(&hosts[1], s, "busy") }[0]);
		pass(5);
	}
	return hosts[1].memory.tables->agreed.applied - from;
}

Test(tail, one_copy_is_enough_although_the_log_has_gone_on)
{
	leave_behind();
	come_back();
	cr_assert_gt(go_on_until_it_stands(), 3 * 64);
	pass(500);
	equal_tables();
	cr_assert_eq(agent_copies(hosts[away].agent).installed, 1);
	cr_assert_gt(agent_copies(hosts[away].agent).tail, 3 * 64);
}

Test(tail, it_is_handed_on_while_more_is_chosen)
{
	uint32_t s;

	leave_behind();
	come_back();
	go_on_until_it_stands();
	s = open_session(&hosts[1], 7);
	for (unsigned i = 0; i < 100; i++) {
		release(&hosts[1], s, &(struct ring_completion[]){ acquire(&hosts[1], s, "busy") }[0]);
		if (i % 10 == 0)
			pass(5);
	}
	pass(500);
	equal_tables();
	cr_assert_eq(agent_copies(hosts[away].agent).installed, 1);
}

Test(tail, who_dies_with_it_gets_another_copy)
{
	uint32_t s;

	leave_behind();
	s = open_session(&hosts[1], 6);
	come_back();
	for (unsigned i = 0; i < 20; i++) {
		for (unsigned n = 0; n < 3; n++)
			release(&hosts[1], s, &(struct ring_completion[]){ acquire(&hosts[1], s, "busy") }[0]);
		pass(5);
	}
	cr_assert_gt(agent_copies(hosts[away].agent).tail, 0);
	cr_assert_eq(agent_copies(hosts[away].agent).installed, 0);
	agent_free(hosts[away].agent);
	for (uint16_t i = 1; i <= n_hosts; i++)
		if (i != away)
			step(&hosts[i], (struct agent_event){ .kind = AGENT_LINK_DOWN, .from = away });
	start_agent(&hosts[away]);
	link_all(&hosts[away]);
	pass(5000);
	cr_assert_eq(agent_copies(hosts[away].agent).installed, 1);
	equal_tables();
}
