/* SPDX-License-Identifier: Apache-2.0 */
/* election: how a ballot is won and lost, and what a new leader proposes first. */
#include <criterion/criterion.h>

#include "core.h"

static struct core core;

static struct core *host(uint16_t self, uint32_t n_voters)
{
	struct paxos_config config = core_config(self, n_voters);

	core_start(&core, &config, NS_PER_S);
	return &core;
}

/* There were ballots before: up to round 9. */
static struct core *late_host(uint16_t self, uint32_t n_voters)
{
	struct core *c = host(self, n_voters);

	core_hear(c, 3, REFUSED(BALLOT(1, 1), BALLOT(9, 3), 0));
	return c;
}

static void start_asking(struct core *c)
{
	for (unsigned i = 0; i < 4 && c->p.role != PAXOS_ASKING; i++)
		core_wait(c, CORE_LEASE);
	cr_assert_eq(c->p.role, PAXOS_ASKING);
}

static void start_preparing(struct core *c)
{
	start_asking(c);
	for (uint16_t id = 1; id <= c->config.n_voters && c->p.role != PAXOS_PREPARING; id++)
		if (id != c->config.self)
			core_hear(c, id, PREVOTED(c->p.ballot));
	cr_assert_eq(c->p.role, PAXOS_PREPARING);
}

/* ---- when ---- */

Test(election, a_follower_waits_one_to_one_and_a_half_leases)
{
	for (uint64_t seed = 1; seed < 50; seed++) {
		struct paxos_config config = core_config(1, 3);

		config.seed = seed;
		core_start(&core, &config, NS_PER_S);
		cr_assert_geq(core.p.election_at_ns, NS_PER_S + CORE_LEASE);
		cr_assert_lt(core.p.election_at_ns, NS_PER_S + CORE_LEASE + CORE_LEASE / 2);
		core_release(&core);
	}
}

Test(election, a_heard_leader_puts_it_off)
{
	struct core *c = host(1, 3);

	for (unsigned i = 0; i < 20; i++) {
		core_wait(c, CORE_LEASE - 1);
		cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
		core_hear(c, 2, i % 2 ? BEAT(BALLOT(2 + i, 2), 0) : ACCEPT(BALLOT(3 + i, 2), 1, "a"));
	}
	core_wait(c, 2 * CORE_LEASE);
	cr_assert_eq(c->p.role, PAXOS_ASKING);
	cr_assert_eq(c->p.leader, 0);
}

/* It may hear nobody, and go on saying such things. */
Test(election, what_a_leader_says_beside_its_heartbeats_does_not_put_it_off)
{
	struct paxos_message news = BEAT(BALLOT(3, 2), 0);

	news.flag = true;
	for (unsigned i = 0; i < 2; i++) {
		struct core *c = host(1, 3);

		core_hear(c, 2, BEAT(BALLOT(3, 2), 0));
		core_wait(c, CORE_LEASE - 1);
		core_hear(c, 2, i ? news : ACCEPT(BALLOT(3, 2), 1, "a"));
		cr_assert_eq(c->p.leader, 2);
		core_wait(c, CORE_LEASE / 2 + 1);
		cr_assert_eq(c->p.role, PAXOS_ASKING);
		core_release(c);
	}
}

Test(election, an_older_leader_does_not_put_it_off)
{
	struct core *c = host(1, 3);

	core_hear(c, 3, PREPARE(BALLOT(9, 3), 0));
	core_wait(c, CORE_LEASE - 1);
	core_hear(c, 2, BEAT(BALLOT(3, 2), 0));
	core_wait(c, CORE_LEASE + 1);
	cr_assert_eq(c->p.role, PAXOS_ASKING);
}

Test(election, who_led_before_it_died_stands_at_once)
{
	struct core *c = host(1, 3);

	core_restart(c, true);
	core_wait(c, 0);
	cr_assert_eq(c->p.role, PAXOS_ASKING);
}

Test(election, its_own_lease_promise_to_another_life_binds_it)
{
	struct core *c = host(1, 3);

	core_hear(c, 2, BEAT(BALLOT(3, 2), 0));
	uint64_t until = c->now + CORE_LEASE;
	core_restart(c, true); /* which would stand at once */
	core_wait(c, 0);
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
	cr_assert_eq(c->out.n_sends, 0);
	cr_assert_eq(c->out.wake_at_ns, until);
	core_wait(c, CORE_LEASE - 1);
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
	core_wait(c, 1);
	cr_assert_eq(c->p.role, PAXOS_ASKING);
}

Test(election, its_own_lease_promise_to_its_own_life_does_not)
{
	struct core *c = host(1, 3);

	core_lead(c);
	core_restart(c, true);
	core_wait(c, 0);
	cr_assert_eq(c->p.role, PAXOS_ASKING);
	cr_assert_eq(core_said(c, PAXOS_PREVOTE, 0)->message.life, c->config.life);
	core_hear(c, 2, PREVOTED(c->p.ballot));
	cr_assert_eq(core_said(c, PAXOS_PREPARE, 0)->message.life, c->config.life);
}

Test(election, observers_never_stand)
{
	struct core *c = host(4, 3);

	core_wait(c, 1000 * CORE_LEASE);
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
	cr_assert_eq(c->out.n_sends, 0);
}

Test(election, a_single_voter_leads_at_once)
{
	struct core *c = host(1, 1);

	core_wait(c, 0);
	cr_assert(paxos_can_propose(&c->p));
	core_propose(c, "a");
	cr_assert_eq(c->memory->chosen, 2);
}

/* ---- asking ---- */

Test(election, asking_tells_the_voters_ballot_and_knowledge_and_promises_nothing)
{
	struct core *c = host(1, 3);

	core_hear(c, 2, ACCEPT(BALLOT(3, 2), 1, "a"));
	start_asking(c);
	const struct paxos_send *asked = core_said(c, PAXOS_PREVOTE, 0);
	cr_assert_eq(asked->to, PAXOS_TO_VOTERS);
	cr_assert_eq(asked->message.ballot, BALLOT(4, 1));
	cr_assert_eq(asked->message.chosen, 1);
	cr_assert_eq(c->memory->promised, BALLOT(3, 2));
}

Test(election, without_a_majority_of_yes_nothing_is_prepared)
{
	struct core *c = host(1, 5);

	start_asking(c);
	core_hear(c, 2, PREVOTED(c->p.ballot));
	core_hear(c, 2, PREVOTED(c->p.ballot));
	cr_assert_eq(c->p.role, PAXOS_ASKING, "one voter is counted once");
	core_hear(c, 3, (struct paxos_message){ .kind = PAXOS_PREVOTED, .ballot = c->p.ballot });
	cr_assert_eq(c->p.role, PAXOS_ASKING, "a no is no yes");
	core_hear(c, 4, PREVOTED(BALLOT(77, 1)));
	cr_assert_eq(c->p.role, PAXOS_ASKING, "nor is a yes to another question");
	core_hear(c, 4, PREVOTED(c->p.ballot));
	cr_assert_eq(c->p.role, PAXOS_PREPARING);
	cr_assert_eq(core_said(c, PAXOS_PREPARE, 0)->to, PAXOS_TO_VOTERS);
}

Test(election, who_knows_less_fetches_and_asks_again_soon)
{
	struct core *c = host(1, 3);

	start_asking(c);
	core_hear(c, 2, (struct paxos_message){ .kind = PAXOS_PREVOTED, .ballot = c->p.ballot, .chosen = 7 });
	cr_assert_eq(core_said(c, PAXOS_FETCH, 0)->to, 2);
	cr_assert_leq(c->out.wake_at_ns, c->now + CORE_HEARTBEAT);
	core_wait(c, CORE_HEARTBEAT);
	cr_assert_not_null(core_said(c, PAXOS_PREVOTE, 0));
}

Test(election, a_ballot_too_low_is_raised_soon)
{
	struct core *c = host(1, 3);

	start_asking(c);
	core_hear(c, 2, (struct paxos_message){ .kind = PAXOS_PREVOTED, .ballot = c->p.ballot, .promised = BALLOT(30, 2) });
	core_wait(c, CORE_HEARTBEAT);
	cr_assert_eq(core_said(c, PAXOS_PREVOTE, 0)->message.ballot, BALLOT(31, 1));
}

/* It hears nobody; the lease that is in the way may be about to run out. */
Test(election, told_no_for_a_lease_it_asks_again_within_a_quarter)
{
	struct core *c = host(1, 3);

	start_asking(c);
	core_hear(c, 2, (struct paxos_message){ .kind = PAXOS_PREVOTED, .ballot = c->p.ballot });
	cr_assert_geq(c->out.wake_at_ns, c->now + CORE_LEASE / 8);
	cr_assert_leq(c->out.wake_at_ns, c->now + CORE_LEASE / 4);
	core_wait(c, CORE_LEASE / 4);
	cr_assert_not_null(core_said(c, PAXOS_PREVOTE, 0));
}

Test(election, refused_for_a_lease_it_asks_again_within_a_quarter)
{
	struct core *c = host(1, 3);

	start_preparing(c);
	core_hear(c, 2, REFUSED(c->p.ballot, 0, 0));
	cr_assert_eq(c->p.role, PAXOS_PREPARING);
	cr_assert_geq(c->out.wake_at_ns, c->now + CORE_LEASE / 8);
	cr_assert_leq(c->out.wake_at_ns, c->now + CORE_LEASE / 4);
	core_wait(c, CORE_LEASE / 4);
	cr_assert_not_null(core_said(c, PAXOS_PREVOTE, 0));
}

Test(election, unanswered_it_asks_again)
{
	struct core *c = host(1, 3);

	start_asking(c);
	core_wait(c, 2 * CORE_LEASE);
	cr_assert_not_null(core_said(c, PAXOS_PREVOTE, 0));
}

Test(election, a_voter_that_comes_up_is_asked_too)
{
	struct core *c = host(1, 3);

	start_asking(c);
	core_peer_up(c, 2);
	cr_assert_eq(core_said(c, PAXOS_PREVOTE, 0)->to, 2);
	core_hear(c, 2, PREVOTED(c->p.ballot));
	core_peer_up(c, 3);
	cr_assert_eq(core_said(c, PAXOS_PREPARE, 0)->to, 3);
	core_peer_up(c, 4);
	cr_assert_eq(c->out.n_sends, 0, "an observer has nothing to say here");
}

/* ---- preparing ---- */

Test(election, it_promises_itself_durably_before_it_asks_others)
{
	struct core *c = host(1, 3);

	start_preparing(c);
	uint64_t ballot = core_said(c, PAXOS_PREPARE, 0)->message.ballot;
	cr_assert_eq(c->memory->promised, ballot);
	core_restart(c, false);
	start_preparing(c);
	cr_assert_gt(c->p.ballot, ballot);
}

Test(election, a_ballot_is_above_all_promised_and_seen)
{
	struct core *c = host(1, 3);

	core_hear(c, 2, PREPARE(BALLOT(7, 2), 0));
	core_hear(c, 3, REFUSED(BALLOT(1, 1), BALLOT(20, 3), 0));
	start_preparing(c);
	cr_assert_eq(c->p.ballot, BALLOT(21, 1));
}

Test(election, a_ballot_met_while_asking_is_passed_over)
{
	struct core *c = host(1, 5);

	core_hear(c, 2, ACCEPT(BALLOT(2, 2), 1, "a"));
	core_hear(c, 2, BEAT(BALLOT(2, 2), 1));
	start_asking(c);
	uint64_t asked = c->p.ballot;
	core_hear(c, 5, PREPARE(BALLOT(40, 5), 0)); /* refused: it knows less than we do */
	core_hear(c, 3, PREVOTED(asked));
	core_hear(c, 4, PREVOTED(asked));
	cr_assert_eq(c->p.role, PAXOS_PREPARING);
	cr_assert_eq(c->p.ballot, BALLOT(41, 1));
}

/* Row 13: a delayed promise for ballot b counted for b+1; a duplicate counted twice. */
Test(election, trap_13_a_promise_of_an_older_ballot_is_not_counted)
{
	struct core *c = host(1, 3);

	start_preparing(c);
	uint64_t old = c->p.ballot;
	core_wait(c, 2 * CORE_LEASE);
	start_preparing(c);
	cr_assert_gt(c->p.ballot, old);
	core_hear(c, 2, PROMISE(old));
	cr_assert_eq(c->p.role, PAXOS_PREPARING);
	core_hear(c, 2, PROMISE(c->p.ballot));
	cr_assert_eq(c->p.role, PAXOS_LEADING);
}

Test(election, trap_13_a_promise_said_twice_is_counted_once)
{
	struct core *c = host(1, 5);

	start_preparing(c);
	core_hear(c, 2, PROMISE(c->p.ballot));
	core_hear(c, 2, PROMISE(c->p.ballot));
	core_hear(c, 2, PROMISE(c->p.ballot));
	cr_assert_eq(c->p.role, PAXOS_PREPARING);
	core_hear(c, 5, PROMISE(c->p.ballot));
	cr_assert_eq(c->p.role, PAXOS_LEADING);
}

Test(election, a_promise_that_cannot_be_is_not_counted)
{
	struct core *c = late_host(1, 3);

	start_preparing(c);
	core_hear(c, 2, PROMISE_WITH(c->p.ballot, ENTRY(1, BALLOT(99, 3), "accepted above what it promises")));
	cr_assert_eq(c->p.role, PAXOS_PREPARING);
	core_hear(c, 2, PROMISE_WITH(c->p.ballot, ENTRY(5, BALLOT(1, 3), "beyond the window")));
	cr_assert_eq(c->p.role, PAXOS_PREPARING);
}

Test(election, refused_for_a_higher_ballot_it_gives_up)
{
	struct core *c = host(1, 3);

	start_preparing(c);
	core_hear(c, 2, REFUSED(c->p.ballot, BALLOT(50, 2), 0));
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
	cr_assert_geq(c->out.wake_at_ns, c->now + CORE_LEASE / 8, "and lets the other win");
	core_wait(c, CORE_LEASE / 4);
	cr_assert_eq(core_said(c, PAXOS_PREVOTE, 0)->message.ballot, BALLOT(51, 1), "but asks soon whether it has");
}

Test(election, refused_for_knowing_less_it_fetches_and_stands_again_soon)
{
	struct core *c = late_host(1, 3);

	start_preparing(c);
	core_hear(c, 2, REFUSED(c->p.ballot, BALLOT(1, 2), 4));
	cr_assert_eq(core_said(c, PAXOS_FETCH, 0)->to, 2);
	cr_assert_leq(c->out.wake_at_ns, c->now + CORE_HEARTBEAT);
}

Test(election, another_leader_heard_ends_it)
{
	struct core *c = host(1, 3);

	start_preparing(c);
	core_hear(c, 2, BEAT(BALLOT(50, 2), 0));
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
	cr_assert_eq(c->p.leader, 2);
}

/* ---- what a new leader proposes ---- */

Test(election, of_several_values_the_highest_ballots_is_proposed)
{
	struct core *c = host(1, 5);

	core_hear(c, 2, ACCEPT(BALLOT(2, 2), 1, "own, lower"));
	core_hear(c, 3, ACCEPT(BALLOT(5, 3), 2, "own, higher"));
	start_preparing(c);
	struct paxos_entry found[] = { *ENTRY(1, BALLOT(4, 4), "found, higher"), *ENTRY(2, BALLOT(3, 2), "found, lower") };
	core_hear(c, 2, PROMISE_WITH(c->p.ballot, ENTRY(1, BALLOT(3, 3), "found, between")));
	core_hear(c, 4, (struct paxos_message){ .kind = PAXOS_PROMISE, .ballot = c->p.ballot, .n_entries = 2, .entries = found });
	cr_assert_eq(c->p.role, PAXOS_LEADING);
	cr_assert_str_eq(core_text(c, 1), "found, higher");
	cr_assert_str_eq(core_text(c, 2), "own, higher");
	cr_assert_eq(core_said(c, PAXOS_ACCEPT, 0)->message.ballot, c->p.ballot);
	cr_assert_eq(core_said(c, PAXOS_ACCEPT, 0)->message.entries[0].slot, 1);
	cr_assert_eq(core_said(c, PAXOS_ACCEPT, 1)->message.entries[0].slot, 2);
}

Test(election, the_order_of_promises_does_not_matter)
{
	struct core *c = late_host(1, 5);

	start_preparing(c);
	core_hear(c, 4, PROMISE_WITH(c->p.ballot, ENTRY(1, BALLOT(1, 4), "higher")));
	core_hear(c, 2, PROMISE_WITH(c->p.ballot, ENTRY(1, BALLOT(1, 3), "lower")));
	cr_assert_str_eq(core_text(c, 1), "higher");
}

/* Row 15: values of an old ballot counted as chosen; serving before gaps are proposed again. */
Test(election, trap_15_gaps_are_filled_and_leads_comes_behind)
{
	struct core *c = late_host(1, 3);

	start_preparing(c);
	core_hear(c, 2, PROMISE_WITH(c->p.ballot, ENTRY(3, BALLOT(1, 2), "three")));
	cr_assert_eq(core_times_said(c, PAXOS_ACCEPT), 4);
	cr_assert_eq(core_said(c, PAXOS_ACCEPT, 0)->message.entries[0].kind, PAXOS_NOOP);
	cr_assert_eq(core_said(c, PAXOS_ACCEPT, 1)->message.entries[0].kind, PAXOS_NOOP);
	cr_assert_eq(core_said(c, PAXOS_ACCEPT, 2)->message.entries[0].kind, PAXOS_COMMANDS);
	cr_assert_eq(core_said(c, PAXOS_ACCEPT, 3)->message.entries[0].kind, PAXOS_LEADS);
	cr_assert_eq(c->p.leads_slot, 4);
	cr_assert_eq(c->memory->chosen, 0, "nothing found is chosen before this ballot's majority");
}

Test(election, trap_15_nothing_is_served_before_leads_is_chosen)
{
	struct core *c = late_host(1, 3);

	start_preparing(c);
	core_hear(c, 2, PROMISE_WITH(c->p.ballot, ENTRY(2, BALLOT(1, 2), "two")));
	core_hear(c, 2, ACCEPTED(c->p.ballot, 3));
	cr_assert_not(paxos_can_propose(&c->p), "LEADS is, but not all before it");
	core_hear(c, 2, ACCEPTED(c->p.ballot, 1));
	cr_assert_not(paxos_can_propose(&c->p));
	core_hear(c, 2, ACCEPTED(c->p.ballot, 2));
	cr_assert(paxos_can_propose(&c->p));
}

Test(election, leads_waits_for_room_in_the_window)
{
	struct core *c = late_host(1, 3);

	start_preparing(c);
	core_hear(c, 2, PROMISE_WITH(c->p.ballot, ENTRY(4, BALLOT(1, 2), "the window's last")));
	cr_assert_eq(core_times_said(c, PAXOS_ACCEPT), 4);
	cr_assert_eq(c->p.leads_slot, 0);
	cr_assert_not(paxos_can_propose(&c->p));
	core_hear(c, 2, ACCEPTED(c->p.ballot, 1));
	cr_assert_eq(c->p.leads_slot, 5);
	cr_assert_eq(core_said(c, PAXOS_ACCEPT, 0)->message.entries[0].kind, PAXOS_LEADS);
}

Test(election, a_new_leader_is_announced_to_all)
{
	struct core *c = host(1, 3);

	core_win(c);
	cr_assert_eq(core_said(c, PAXOS_BEAT, 0)->to, PAXOS_TO_ALL);
	cr_assert_eq(c->p.leader, 1);
	cr_assert(c->out.leader_changed);
}
