/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's step: leaders that change, agents that die at every change they make, memory that is lost. */
#include "agent_rig.h"

Test(agent, trap_2_a_lost_answer_through_another_leader_grants_once)
{
	ready(3, 64);
	uint16_t old = leader(), asker = old == 1 ? 2 : 1;
	uint32_t s = open_session(&hosts[asker], 5);
	struct ring_completion c, twice;

	/* The leader proposes, and is gone before anybody hears of it. */
	request(&hosts[asker], s, wish(REQUEST_ACQUIRE, 0, "k", 0));
	step(&hosts[asker], (struct agent_event){ .kind = AGENT_TURN });
	deliver_all();
	step(&hosts[old], (struct agent_event){ .kind = AGENT_TURN });
	hosts[old].up = false;
	deliver_all();
	pass(2000);
	cr_assert(answered(&hosts[asker], s, &c));
	cr_assert_eq(c.result, 0);
	hosts[old].up = true;
	pass(2000);
	cr_assert(!answered(&hosts[asker], s, &twice), "answered once");
	release(&hosts[asker], s, &c);
	pass(100);
	equal_tables();
	cr_assert_eq(hosts[1].memory.tables->agreed.rows_used, 0, "no orphan");
}

/* ---- death of the agent at every change it makes ---- */

static jmp_buf death;
static int saves_left;

static void die_here(void *context)
{
	(void)context;
	if (saves_left-- == 0)
		longjmp(death, 1);
}

/* Runs `steps` turns of host h with death at the n-th change; false: there were fewer changes. */
static bool turn_with_death(struct host *h, int n)
{
	struct undo *u = agent_undo(h->agent);

	saves_left = n;
	u->probe = die_here;
	if (setjmp(death) == 0) {
		step(h, (struct agent_event){ .kind = AGENT_TURN });
		agent_undo(h->agent)->probe = NULL;
		return false;
	}
	agent_free(h->agent);
	start_agent(h);
	link_all(h);
	return true;
}

Test(agent, trap_9_death_at_every_change_loses_no_grant_and_no_release, .timeout = 60)
{
	ready(1, 64);
	struct host *h = &hosts[1];
	uint32_t a = open_session(h, 1), b = open_session(h, 2);
	uint64_t token = 0;

	for (int n = 0;; n++) {
		struct ring_completion c, d, none;
		bool died;

		request(h, a, wish(REQUEST_ACQUIRE, 0, "k", 0));
		request(h, b, wish(REQUEST_ACQUIRE, 1, "k", 0));
		died = turn_with_death(h, n);
		pass(500);
		cr_assert(answered(h, a, &c), "death at change %d: the first waiter is answered", n);
		cr_assert(!answered(h, b, &none), "death at change %d: one owner", n);
		cr_assert_gt(c.token, token);
		let_go(h, a, &c);
		died |= turn_with_death(h, n);
		pass(500);
		cr_assert(answered(h, b, &d), "death at change %d: the second is answered", n);
		cr_assert_gt(d.token, c.token);
		cr_assert_eq(d.flags, 0);
		token = d.token;
		release(h, b, &d);
		pass(100);
		cr_assert_eq(h->memory.tables->agreed.rows_used, 0);
		cr_assert(!answered(h, a, &none) && !answered(h, b, &none), "answered once");
		if (!died) {
			cr_assert_gt(n, 20);
			break;
		}
	}
}

/* ---- what a program sees when it is told ---- */

static uint64_t applied_before;
static bool told, told_too_early;

static void look_whether_told(void *context)
{
	const struct host *h = context;

	if (atom_load_acquire(&h->rings[1]->completion_tail) == 0)
		return;
	told = true;
	told_too_early |= h->memory.tables->agreed.applied == applied_before;
}

Test(agent, a_grant_is_told_when_the_tables_show_the_slot_it_stands_in)
{
	ready(1, 64);
	struct host *h = &hosts[1];
	uint32_t a = open_session(h, 1), b = open_session(h, 2);
	struct undo *u = agent_undo(h->agent);

	cr_assert_eq(a, 1);
	request(h, a, wish(REQUEST_ACQUIRE, 0, "k", 0)); /* both in one slot, so that something is left to save behind the first grant */
	request(h, b, wish(REQUEST_ACQUIRE, 0, "l", 0));
	applied_before = h->memory.tables->agreed.applied;
	u->probe = look_whether_told;
	u->probe_context = h;
	settle();
	u->probe = NULL;
	cr_assert_eq(h->memory.tables->agreed.applied, applied_before + 1);
	request(h, b, wish(REQUEST_ACQUIRE, 1, "m", 0)); /* a change after which the probe surely looks */
	u->probe = look_whether_told;
	settle();
	cr_assert(told);
	cr_assert(!told_too_early);
}

Test(agent, trap_32_a_restarted_agent_takes_a_new_ballot_and_new_numbers)
{
	ready(3, 64);
	struct host *h = &hosts[leader()];
	uint64_t ballot = agent_paxos(h->agent)->ballot;
	uint32_t s = open_session(h, 1);
	struct ring_completion c = acquire(h, s, "k"), again;

	agent_free(h->agent);
	start_agent(h);
	link_all(h);
	pass(1000);
	cr_assert_gt(h->memory.tables->ballot, ballot);
	release(h, s, &c);
	pass(100);
	again = acquire(h, s, "k");
	cr_assert_gt(again.token, c.token);
	equal_tables();
}

Test(agent, a_host_that_lost_its_memory_registers_anew_and_frees_what_it_held)
{
	ready(3, 64);
	uint16_t lost = leader() == 3 ? 2 : 3;
	struct host *h = &hosts[lost];
	uint32_t s = open_session(h, 1), t = open_session(&hosts[1], 2);
	uint64_t incarnation = h->memory.tables->incarnation;
	struct ring_completion c;

	acquire(h, s, "k");
	agent_free(h->agent);
	memset(h->memory.private, 0, agent_private_size(&h->config.limits));
	memset(h->memory.tables, 0, agent_tables_size(&h->config.limits));
	memset(h->memory.arena, 0, agent_arena_size(&h->config.limits));
	h->config.founding = false;
	h->config.nonce = 999;
	start_agent(h);
	link_all(h);
	request(&hosts[1], t, wish(REQUEST_ACQUIRE, 0, "k", 0));
	pass(1500);
	cr_assert_eq(h->memory.tables->role, HOST_OBSERVER, "it does not vote");
	cr_assert_gt(h->memory.tables->incarnation, incarnation);
	cr_assert(answered(&hosts[1], t, &c));
	cr_assert_eq(c.flags, COMPLETION_DIED);
	cr_assert_eq(hosts[1].fatals, 0);
	equal_tables();
}

/* ---- settings that all must share ---- */

Test(agent, trap_38_hosts_with_other_leases_are_told_apart_and_so_is_their_own_memory)
{
	ready(1, 64);
	struct host *h = &hosts[1];
	struct wire_hello hello = agent_hello(h->agent);
	uint64_t *const leases[] = { &h->config.leader_lease_ns, &h->config.host_lease_ns };
	struct agent *other;
	const char *why = NULL;

	for (unsigned i = 0; i < 2; i++) {
		uint64_t agreed = *leases[i];
		struct agent_memory fresh = h->memory;

		*leases[i] /= 2;
		cr_assert_eq(agent_new(&other, &h->config, &h->memory, now_ns, &why), -EPROTO, "what was promised under the old ones stands");
		fresh.private = calloc(1, agent_private_size(&h->config.limits));
		fresh.tables = calloc(1, agent_tables_size(&h->config.limits));
		cr_assert_eq(agent_new(&other, &h->config, &fresh, now_ns, &why), 0);
		cr_assert_neq(agent_hello(other).voters_id, hello.voters_id);
		agent_free(other);
		free(fresh.private);
		free(fresh.tables);
		*leases[i] = agreed;
	}
}
