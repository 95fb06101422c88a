/* SPDX-License-Identifier: Apache-2.0 */
/* leader: proposals under way, heartbeats, and the end of office. */
#include <criterion/criterion.h>

#include "core.h"

static struct core core;

static struct core *leader_of(uint32_t n_voters)
{
	struct paxos_config config = core_config(1, n_voters);

	core_start(&core, &config, NS_PER_S);
	core_lead(&core);
	return &core;
}

/* ---- proposals ---- */

Test(leader, accepts_first_and_says_so)
{
	struct core *c = leader_of(3);

	core_propose(c, "a");
	const struct paxos_send *said = core_said(c, PAXOS_ACCEPT, 0);
	cr_assert_eq(said->to, PAXOS_TO_VOTERS);
	cr_assert(said->message.flag);
	cr_assert_eq(said->message.ballot, c->p.ballot);
	cr_assert_eq(said->message.chosen, 1);
	cr_assert_eq(said->message.entries[0].slot, 2);
	cr_assert_arr_eq(said->message.entries[0].bytes, "a", 1);
	core_restart(c, false);
	cr_assert_str_eq(core_text(c, 2), "a");
}

Test(leader, a_majority_of_its_ballot_chooses)
{
	struct core *c = leader_of(5);

	core_propose(c, "a");
	core_hear(c, 2, ACCEPTED(c->p.ballot, 2));
	core_hear(c, 2, ACCEPTED(c->p.ballot, 2));
	cr_assert_eq(c->memory->chosen, 1, "one voter is counted once");
	core_hear(c, 4, ACCEPTED(c->p.ballot, 2));
	cr_assert_eq(c->memory->chosen, 2);
}

Test(leader, chosen_moves_without_gaps)
{
	struct core *c = leader_of(3);

	core_propose(c, "a");
	core_propose(c, "b");
	core_hear(c, 2, ACCEPTED(c->p.ballot, 3));
	cr_assert_eq(c->memory->chosen, 1);
	core_hear(c, 3, ACCEPTED(c->p.ballot, 2));
	cr_assert_eq(c->memory->chosen, 3);
}

Test(leader, observers_are_taught_each_choice)
{
	struct core *c = leader_of(3);

	core_propose(c, "a");
	core_hear(c, 2, ACCEPTED(c->p.ballot, 2));
	const struct paxos_send *taught = core_said(c, PAXOS_LEARN, 0);
	cr_assert_eq(taught->to, PAXOS_TO_OBSERVERS);
	cr_assert_eq(taught->message.chosen, 2);
	cr_assert_eq(taught->message.entries[0].slot, 2);
	cr_assert_null(core_said(c, PAXOS_BEAT, 0), "voters in a list of three know already");
	core_hear(c, 3, ACCEPTED(c->p.ballot, 2));
	cr_assert_null(core_said(c, PAXOS_LEARN, 0), "once");
}

Test(leader, more_than_three_voters_hear_of_a_choice_at_once)
{
	struct core *c = leader_of(5);

	core_propose(c, "a");
	core_hear(c, 2, ACCEPTED(c->p.ballot, 2));
	core_hear(c, 3, ACCEPTED(c->p.ballot, 2));
	const struct paxos_send *news = core_said(c, PAXOS_BEAT, 0);
	cr_assert_eq(news->to, PAXOS_TO_VOTERS);
	cr_assert_eq(news->message.chosen, 2);
	cr_assert(news->message.flag, "and need not answer");
}

Test(leader, proposes_no_further_than_the_window)
{
	struct core *c = leader_of(3);

	for (unsigned i = 0; i < 4; i++) {
		cr_assert(paxos_can_propose(&c->p));
		core_propose(c, "x");
	}
	cr_assert_not(paxos_can_propose(&c->p));
	core_hear(c, 2, ACCEPTED(c->p.ballot, 2));
	cr_assert(paxos_can_propose(&c->p));
}

/* Row 14: the ballot changes while an acceptance is under way: it must not acknowledge. */
Test(leader, trap_14_an_acceptance_of_a_lost_ballot_chooses_nothing)
{
	struct core *c = leader_of(3);
	uint64_t old = c->p.ballot;

	core_propose(c, "a");
	core_hear(c, 3, BEAT(BALLOT(old >> 16, 3) + (1 << 16), 0)); /* another leads */
	core_hear(c, 2, ACCEPTED(old, 2));
	cr_assert_eq(c->memory->chosen, 1);
	core_win(c); /* and leads again, with the same value in the same slot */
	cr_assert_str_eq(core_text(c, 2), "a");
	core_hear(c, 2, ACCEPTED(old, 2));
	cr_assert_eq(c->memory->chosen, 1);
	core_hear(c, 2, ACCEPTED(c->p.ballot, 2));
	cr_assert_eq(c->memory->chosen, 2);
}

Test(leader, trap_14_heartbeats_of_a_lost_ballot_keep_nobody_in_office)
{
	struct core *c = leader_of(3);
	uint64_t old = c->p.ballot, end;

	core_hear(c, 3, BEAT(BALLOT(50, 3), 0));
	core_win(c);
	end = c->now + 2 * CORE_ELECTION;
	while (c->p.role == PAXOS_LEADING && c->now < end) {
		core_wait(c, CORE_HEARTBEAT);
		core_hear(c, 2, BEATEN(old));
	}
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
}

/* ---- heartbeats ---- */

Test(leader, beats_to_voters_and_each_tenth_time_to_all)
{
	struct core *c = leader_of(3);
	unsigned to_all = 0;

	for (unsigned i = 0; i < 100; i++) {
		core_wait(c, CORE_HEARTBEAT);
		core_hear(c, 2, BEATEN(c->p.ballot));
		core_wait(c, 0);
		cr_assert_eq(c->out.n_sends, 0, "not before the time");
		c->now += CORE_HEARTBEAT;
		core_wait(c, 0);
		cr_assert_eq(core_times_said(c, PAXOS_BEAT), 1);
		to_all += core_said(c, PAXOS_BEAT, 0)->to == PAXOS_TO_ALL;
		core_hear(c, 2, BEATEN(c->p.ballot));
	}
	cr_assert_eq(to_all, 20);
}

Test(leader, sends_again_what_is_two_heartbeats_old_to_who_has_not_accepted)
{
	struct core *c = leader_of(5);

	core_propose(c, "a");
	core_hear(c, 3, ACCEPTED(c->p.ballot, 2));
	core_wait(c, CORE_HEARTBEAT);
	cr_assert_null(core_said(c, PAXOS_ACCEPT, 0));
	core_wait(c, CORE_HEARTBEAT);
	cr_assert_eq(core_times_said(c, PAXOS_ACCEPT), 3);
	cr_assert_eq(core_said(c, PAXOS_ACCEPT, 0)->to, 2);
	cr_assert_eq(core_said(c, PAXOS_ACCEPT, 1)->to, 4);
	cr_assert_eq(core_said(c, PAXOS_ACCEPT, 2)->to, 5);
	core_wait(c, CORE_HEARTBEAT);
	cr_assert_null(core_said(c, PAXOS_ACCEPT, 0), "and not at each heartbeat");
}

Test(leader, sends_again_to_all_with_one_message_when_none_has_accepted)
{
	struct core *c = leader_of(5);

	core_propose(c, "a");
	core_wait(c, 2 * CORE_HEARTBEAT);
	cr_assert_eq(core_times_said(c, PAXOS_ACCEPT), 1);
	cr_assert_eq(core_said(c, PAXOS_ACCEPT, 0)->to, PAXOS_TO_VOTERS);
}

Test(leader, a_step_never_says_more_than_it_has_room_for)
{
	struct paxos_config config = core_config(1, 7);

	config.window = PAXOS_WINDOW_MAX;
	config.log_slots = 2 * PAXOS_WINDOW_MAX;
	core_start(&core, &config, NS_PER_S);
	core_lead(&core);
	for (unsigned i = 0; i < PAXOS_WINDOW_MAX; i++)
		core_propose(&core, "x");
	for (uint64_t slot = 3; slot <= core.p.next_slot - 1; slot++)
		core_hear(&core, 2, ACCEPTED(core.p.ballot, slot));
	core_hear(&core, 3, BEATEN(core.p.ballot));
	core_hear(&core, 4, BEATEN(core.p.ballot));
	core_wait(&core, 2 * CORE_HEARTBEAT);
	cr_assert_leq(core.out.n_sends, PAXOS_SENDS_MAX);
	uint64_t first = core_said(&core, PAXOS_ACCEPT, 0)->message.entries[0].slot;
	cr_assert_eq(first, 2, "the oldest first");
	core_wait(&core, CORE_HEARTBEAT);
	cr_assert_gt(core_said(&core, PAXOS_ACCEPT, 0)->message.entries[0].slot, first, "the rest a heartbeat later");
}

Test(leader, a_voter_that_comes_up_gets_what_it_may_have_missed)
{
	struct core *c = leader_of(5);

	core_propose(c, "a");
	core_propose(c, "b");
	core_hear(c, 2, ACCEPTED(c->p.ballot, 2));
	core_peer_up(c, 2);
	cr_assert_eq(core_said(c, PAXOS_BEAT, 0)->to, 2);
	cr_assert_eq(core_times_said(c, PAXOS_ACCEPT), 1);
	cr_assert_eq(core_said(c, PAXOS_ACCEPT, 0)->message.entries[0].slot, 3);
	core_peer_up(c, 9);
	cr_assert_eq(core_said(c, PAXOS_BEAT, 0)->to, 9);
	cr_assert_null(core_said(c, PAXOS_ACCEPT, 0), "an observer hears of choices only");
}

/* ---- the end of office ---- */

Test(leader, a_higher_ballot_in_an_answer_deposes)
{
	struct core *c = leader_of(3);

	core_hear(c, 2, REFUSED(c->p.ballot, c->p.ballot, 0));
	cr_assert_eq(c->p.role, PAXOS_LEADING, "its own is none");
	core_hear(c, 2, REFUSED(c->p.ballot, BALLOT(50, 2), 0));
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
	cr_assert_eq(c->p.leader, 0);
	cr_assert_not(paxos_can_propose(&c->p));
}

Test(leader, its_own_promise_to_another_deposes)
{
	struct core *c = leader_of(3);

	core_hear(c, 2, PREPARE(BALLOT(50, 2), 1));
	cr_assert_not_null(core_said(c, PAXOS_PROMISE, 0));
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
}

Test(leader, a_newer_leader_is_followed)
{
	struct core *c = leader_of(3);

	core_hear(c, 2, BEAT(BALLOT(50, 2), 1));
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
	cr_assert_eq(c->p.leader, 2);
}

Test(leader, a_choice_of_a_higher_ballot_deposes)
{
	struct core *c = leader_of(3);

	core_propose(c, "mine");
	core_hear(c, 2, LEARN(BALLOT(50, 2), 2, "theirs", 2));
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
	cr_assert_str_eq(core_text(c, 2), "theirs");
}

Test(leader, without_a_majority_it_ends_after_two_election_times)
{
	struct core *c = leader_of(5);
	uint64_t heard = c->now;

	for (unsigned i = 0; i < 100 && c->p.role == PAXOS_LEADING; i++) {
		core_wait(c, CORE_HEARTBEAT);
		if (c->p.role == PAXOS_LEADING)
			core_hear(c, 2, BEATEN(c->p.ballot)); /* with us two of five */
	}
	cr_assert_eq(c->now, heard + 2 * CORE_ELECTION);
	cr_assert_eq(c->p.leader, 0);
}

Test(leader, with_a_majority_it_stays)
{
	struct core *c = leader_of(5);

	for (unsigned i = 0; i < 100; i++) {
		core_wait(c, CORE_HEARTBEAT);
		core_hear(c, (uint16_t)(2 + i % 4), BEATEN(c->p.ballot));
	}
	cr_assert_eq(c->p.role, PAXOS_LEADING);
	cr_assert_eq(c->p.leader_heard_ns, c->now - CORE_HEARTBEAT, "the second last answer makes three");
}

Test(leader, a_voter_that_knows_more_is_asked_for_it)
{
	struct core *c = leader_of(3);
	struct paxos_message m = BEATEN(c->p.ballot);

	core_propose(c, "a");
	m.chosen = 2;
	core_hear(c, 2, m);
	cr_assert_eq(core_said(c, PAXOS_FETCH, 0)->to, 2);
	core_hear(c, 2, LEARN(c->p.ballot, 2, "a", 2));
	cr_assert_eq(c->memory->chosen, 2);
	cr_assert(paxos_can_propose(&c->p));
}
