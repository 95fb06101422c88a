/* SPDX-License-Identifier: Apache-2.0 */
/* learner: how a host finds out what was chosen, and how it teaches others. */
#include <criterion/criterion.h>

#include "core.h"

static struct core core;

static struct core *host(uint16_t self, uint32_t n_voters)
{
	struct paxos_config config = core_config(self, n_voters);

	core_start(&core, &config, NS_PER_S);
	return &core;
}

/* ---- early ---- */

Test(learner, a_voter_of_three_learns_by_accepting)
{
	struct core *c = host(1, 3);

	core_hear(c, 2, ACCEPT(BALLOT(5, 2), 1, "a"));
	cr_assert_eq(c->memory->chosen, 1);
	cr_assert_eq(core_said(c, PAXOS_ACCEPTED, 0)->message.chosen, 1);
	core_hear(c, 2, ACCEPT(BALLOT(5, 2), 3, "c"));
	cr_assert_eq(c->memory->chosen, 1, "but not over a gap");
	core_hear(c, 2, ACCEPT(BALLOT(5, 2), 2, "b"));
	cr_assert_eq(c->memory->chosen, 3);
}

/* Row 34: early learning with the wrong voter list, or before the leader's acceptance is durable. */
Test(learner, trap_34_a_voter_of_five_does_not_learn_by_accepting)
{
	struct core *c = host(1, 5);

	core_hear(c, 2, ACCEPT(BALLOT(5, 2), 1, "a"));
	cr_assert_str_eq(core_text(c, 1), "a");
	cr_assert_eq(c->memory->chosen, 0);
}

Test(learner, trap_34_nothing_is_learnt_early_unless_the_leader_has_accepted)
{
	struct core *c = host(1, 3);
	struct paxos_message m = ACCEPT(BALLOT(5, 2), 1, "a");

	m.flag = false;
	core_hear(c, 2, m);
	cr_assert_str_eq(core_text(c, 1), "a");
	cr_assert_eq(c->memory->chosen, 0);
}

Test(learner, trap_34_an_acceptance_of_an_older_ballot_teaches_nothing)
{
	struct core *c = host(1, 3);

	core_hear(c, 3, PREPARE(BALLOT(6, 3), 0));
	core_hear(c, 2, ACCEPT(BALLOT(5, 2), 1, "a"));
	cr_assert_eq(c->memory->chosen, 0);
}

/* ---- by what the leader says about "chosen" ---- */

Test(learner, the_leaders_chosen_marks_what_was_accepted_in_its_ballot)
{
	struct core *c = host(1, 5);

	core_hear(c, 2, ACCEPT(BALLOT(5, 2), 1, "a"));
	core_hear(c, 2, ACCEPT(BALLOT(5, 2), 2, "b"));
	core_hear(c, 2, BEAT(BALLOT(5, 2), 1));
	cr_assert_eq(c->memory->chosen, 1);
	struct paxos_message m = ACCEPT(BALLOT(5, 2), 3, "c");
	m.chosen = 2;
	core_hear(c, 2, m);
	cr_assert_eq(c->memory->chosen, 2);
	cr_assert_null(core_said(c, PAXOS_FETCH, 0));
}

/* Row 15 once more: accepted in ballot 5, chosen by ballot 6 - it may be another value. */
Test(learner, trap_15_a_value_of_another_ballot_is_fetched_and_not_believed)
{
	struct core *c = host(1, 5);

	core_hear(c, 2, ACCEPT(BALLOT(5, 2), 1, "old"));
	core_hear(c, 3, BEAT(BALLOT(6, 3), 1));
	cr_assert_eq(c->memory->chosen, 0);
	cr_assert_eq(core_said(c, PAXOS_FETCH, 0)->to, 3);
	cr_assert_eq(core_said(c, PAXOS_FETCH, 0)->message.slot, 1);
	core_hear(c, 3, LEARN(BALLOT(6, 3), 1, "new", 1));
	cr_assert_eq(c->memory->chosen, 1);
	cr_assert_str_eq(core_text(c, 1), "new");
}

/* ---- by being taught ---- */

Test(learner, an_observer_learns_and_follows)
{
	struct core *c = host(4, 3);

	core_hear(c, 2, BEAT(BALLOT(5, 2), 0));
	cr_assert_eq(c->p.leader, 2);
	core_hear(c, 2, LEARN(BALLOT(5, 2), 1, "a", 1));
	cr_assert_eq(c->memory->chosen, 1);
	cr_assert_str_eq(core_text(c, 1), "a");
	cr_assert_eq(c->out.n_sends, 0);
}

Test(learner, what_an_observer_is_taught_by_its_leader_is_a_sign_of_life)
{
	struct core *c = host(4, 3);

	core_hear(c, 2, BEAT(BALLOT(5, 2), 0));
	core_wait(c, CORE_LEASE);
	core_hear(c, 2, LEARN(BALLOT(5, 2), 1, "a", 1));
	cr_assert_eq(c->p.leader_heard_ns, c->now);
}

Test(learner, beyond_a_gap_is_kept_for_later)
{
	struct core *c = host(4, 3);

	core_hear(c, 2, LEARN(BALLOT(5, 2), 2, "b", 2));
	cr_assert_eq(c->memory->chosen, 0);
	cr_assert_eq(core_said(c, PAXOS_FETCH, 0)->message.slot, 1);
	core_hear(c, 2, LEARN(BALLOT(5, 2), 1, "a", 2));
	cr_assert_eq(c->memory->chosen, 2);
}

Test(learner, beyond_the_window_is_fetched)
{
	struct core *c = host(4, 3);

	core_hear(c, 2, LEARN(BALLOT(5, 2), 5, "e", 5));
	cr_assert_str_eq(core_text(c, 5), "-");
	cr_assert_eq(core_said(c, PAXOS_FETCH, 0)->message.slot, 1);
}

Test(learner, a_learnt_ballot_counts_as_promised)
{
	struct core *c = host(1, 5);

	core_hear(c, 2, LEARN(BALLOT(5, 3), 1, "a", 1));
	cr_assert_eq(c->memory->promised, BALLOT(5, 3));
}

Test(learner, its_own_later_acceptance_of_the_value_stays)
{
	struct core *c = host(1, 5);

	core_hear(c, 2, ACCEPT(BALLOT(7, 2), 1, "a"));
	core_hear(c, 3, LEARN(BALLOT(5, 3), 1, "a", 1));
	cr_assert_eq(c->memory->chosen, 1);
	cr_assert_geq(paxos_chosen_entry(&c->p, 1).ballot, BALLOT(5, 3));
}

/* ---- fetching ---- */

Test(learner, fetches_at_most_once_a_heartbeat)
{
	struct core *c = host(4, 3);

	core_hear(c, 2, BEAT(BALLOT(5, 2), 9));
	cr_assert_not_null(core_said(c, PAXOS_FETCH, 0));
	core_hear(c, 2, BEAT(BALLOT(5, 2), 9));
	cr_assert_null(core_said(c, PAXOS_FETCH, 0));
	c->now += CORE_HEARTBEAT;
	core_hear(c, 2, BEAT(BALLOT(5, 2), 9));
	cr_assert_not_null(core_said(c, PAXOS_FETCH, 0));
}

Test(learner, fetches_on_at_once_when_an_answer_has_helped)
{
	struct core *c = host(4, 3);
	struct paxos_message m = LEARN(BALLOT(5, 2), 1, "a", 9);

	core_hear(c, 2, BEAT(BALLOT(5, 2), 9));
	core_hear(c, 2, m);
	cr_assert_null(core_said(c, PAXOS_FETCH, 0), "the answer goes on");
	m = LEARN(BALLOT(5, 2), 2, "b", 9);
	m.flag = true;
	core_hear(c, 2, m);
	cr_assert_eq(core_said(c, PAXOS_FETCH, 0)->message.slot, 3);
	core_hear(c, 2, m);
	cr_assert_null(core_said(c, PAXOS_FETCH, 0), "this one did not help");
}

Test(learner, anybody_teaches_what_it_knows)
{
	struct core *c = host(4, 3);

	core_hear(c, 2, LEARN(BALLOT(5, 2), 1, "a", 1));
	core_hear(c, 2, LEARN(BALLOT(5, 2), 2, "b", 2));
	core_hear(c, 2, LEARN(BALLOT(5, 2), 4, "d", 2));
	core_hear(c, 9, FETCH(1));
	cr_assert_eq(c->out.n_sends, 2, "up to the gap");
	cr_assert_eq(c->out.sends[0].to, 9);
	cr_assert_eq(c->out.sends[0].message.entries[0].slot, 1);
	cr_assert_not(c->out.sends[0].message.flag);
	cr_assert_eq(c->out.sends[1].message.entries[0].slot, 2);
	cr_assert_eq(c->out.sends[1].message.entries[0].ballot, BALLOT(5, 2));
	cr_assert_eq(c->out.sends[1].message.chosen, 2);
	cr_assert(c->out.sends[1].message.flag, "the last of the answer");
}

Test(learner, what_is_not_known_is_not_answered)
{
	struct core *c = host(4, 3);

	core_hear(c, 2, LEARN(BALLOT(5, 2), 1, "a", 1));
	core_hear(c, 9, FETCH(2));
	cr_assert_eq(c->out.n_sends, 0);
	core_hear(c, 9, FETCH(UINT64_MAX));
	cr_assert_eq(c->out.n_sends, 0);
	core_hear(c, 9, FETCH(0));
	cr_assert_eq(c->out.n_sends, 0);
	cr_assert_eq(c->out.snapshot_to, 0);
}

Test(learner, what_has_left_the_log_takes_a_snapshot)
{
	struct core *c = host(1, 1);

	core_lead(c);
	for (unsigned i = 0; i < 12; i++)
		core_propose(c, "x");
	core_hear(c, 9, FETCH(c->memory->base));
	cr_assert_eq(c->out.snapshot_to, 9);
	cr_assert_eq(c->out.n_sends, 0);
	core_hear(c, 9, FETCH(c->memory->base + 1));
	cr_assert_eq(c->out.snapshot_to, 0);
	cr_assert_eq(c->out.n_sends, c->memory->chosen - c->memory->base);
}

static struct core *full_log(uint32_t value_max)
{
	struct paxos_config config = core_config(1, 1);
	char *value = calloc(1, value_max + 1);

	config.window = PAXOS_WINDOW_MAX;
	config.log_slots = 2 * PAXOS_WINDOW_MAX;
	config.value_max = value_max;
	core_start(&core, &config, NS_PER_S);
	core_lead(&core);
	memset(value, 'x', value_max);
	for (unsigned i = 0; i < 100; i++)
		core_propose(&core, value);
	free(value);
	return &core;
}

Test(learner, an_answer_is_no_longer_than_a_few_values)
{
	struct core *c = full_log(64);

	core_hear(c, 9, FETCH(1));
	cr_assert_eq(core_times_said(c, PAXOS_LEARN), PAXOS_FETCH_MAX);
	cr_assert(core_said(c, PAXOS_LEARN, PAXOS_FETCH_MAX - 1)->message.flag);
}

Test(learner, an_answer_is_no_larger_than_about_a_quarter_mebibyte)
{
	struct core *c = full_log(64 * 1024);

	core_hear(c, 9, FETCH(2));
	cr_assert_eq(core_times_said(c, PAXOS_LEARN), 4);
}

Test(learner, after_a_snapshot_it_fetches_on)
{
	struct core *c = host(4, 3);

	core_hear(c, 2, BEAT(BALLOT(5, 2), 30));
	core_installed(c, 20);
	core_hear(c, 2, BEAT(BALLOT(5, 2), 30));
	cr_assert_eq(core_said(c, PAXOS_FETCH, 0)->message.slot, 21);
}
