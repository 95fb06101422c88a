/* SPDX-License-Identifier: Apache-2.0 */
/* handover: a leader gives its office to a voter of its choice. */
#include <criterion/criterion.h>
#include <errno.h>

#include "core.h"

static struct core core;

static struct core *host(uint16_t self, uint32_t n_voters)
{
	struct paxos_config config = core_config(self, n_voters);

	core_start(&core, &config, NS_PER_S);
	return &core;
}

static struct core *leader_of(uint32_t n_voters)
{
	struct core *c = host(1, n_voters);

	core_lead(c);
	return c;
}

/* Host 1, which has promised its lease to host 2. */
static struct core *follower_of(uint32_t n_voters)
{
	struct core *c = host(1, n_voters);

	core_hear(c, 2, BEAT(BALLOT(3, 2), 0));
	return c;
}

static bool would_promise(struct core *c, uint16_t asker)
{
	core_hear(c, asker, PREVOTE(BALLOT(90, asker), 90));
	return core_said(c, PAXOS_PREVOTED, 0)->message.flag;
}

/* ---- the leader ---- */

Test(handover, ends_the_office_and_says_move)
{
	struct core *c = leader_of(5);
	uint64_t ballot = c->p.ballot;

	core_propose(c, "under way");
	core_hand_over(c, 2);
	cr_assert_eq(c->out.n_sends, 1);
	cr_assert_eq(core_said(c, PAXOS_MOVE, 0)->to, PAXOS_TO_VOTERS);
	cr_assert_eq(core_said(c, PAXOS_MOVE, 0)->message.ballot, ballot);
	cr_assert_eq(core_said(c, PAXOS_MOVE, 0)->message.slot, 2);
	cr_assert_eq(core_said(c, PAXOS_MOVE, 0)->message.chosen, 1);
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
	cr_assert(c->out.leader_changed);
	cr_assert_not(paxos_has_lease(&c->p, c->now));
	cr_assert_not(paxos_can_propose(&c->p));
}

Test(handover, ends_the_lease_for_good)
{
	struct core *c = leader_of(3);
	uint64_t ballot = c->p.ballot;

	core_hand_over(c, 2);
	core_hear(c, 2, BEATEN(ballot, c->now));
	core_hear(c, 3, BEATEN(ballot, c->now));
	cr_assert_not(paxos_has_lease(&c->p, c->now));
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
}

Test(handover, takes_back_the_promise_of_the_own_acceptor)
{
	struct core *c = leader_of(3);

	cr_assert_not(would_promise(c, 2));
	core_hand_over(c, 2);
	core_restart(c, false); /* durably */
	cr_assert(would_promise(c, 2));
	core_hear(c, 2, PREPARE(BALLOT(90, 2), 1));
	cr_assert_not_null(core_said(c, PAXOS_PROMISE, 0));
}

Test(handover, who_gave_the_office_away_stands_no_sooner_than_a_lease_later)
{
	struct core *c = leader_of(3);

	core_hand_over(c, 2);
	core_wait(c, CORE_LEASE - 1);
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
	core_wait(c, CORE_LEASE / 2 + 1);
	cr_assert_eq(c->p.role, PAXOS_ASKING, "but then, when it hears nobody");
}

Test(handover, is_refused_when_the_other_cannot_lead)
{
	struct core *c = leader_of(5); /* 2 and 3 have answered */

	cr_assert_eq(paxos_may_hand_over(&c->p, 2, c->now), 0);
	cr_assert_eq(paxos_may_hand_over(&c->p, 1, c->now), -EINVAL, "itself");
	cr_assert_eq(paxos_may_hand_over(&c->p, 6, c->now), -EINVAL, "no voter");
	cr_assert_eq(paxos_may_hand_over(&c->p, 0, c->now), -EINVAL, "nobody");
	cr_assert_eq(paxos_may_hand_over(&c->p, 4, c->now), -EHOSTUNREACH, "never answered");
	cr_assert_eq(paxos_may_hand_over(&c->p, 4, 0), -EHOSTUNREACH, "not even on a clock that has just begun");
	cr_assert_eq(paxos_may_hand_over(&c->p, 2, c->now + CORE_LEASE - 1), 0);
	cr_assert_eq(paxos_may_hand_over(&c->p, 2, c->now + CORE_LEASE), -EHOSTUNREACH, "not within a lease");
	for (uint16_t to = 0; to <= 6; to++)
		if (to != 2 && to != 3)
			core_hand_over(c, to);
	cr_assert_eq(c->p.role, PAXOS_LEADING);
	cr_assert_null(core_said(c, PAXOS_MOVE, 0));
}

Test(handover, is_refused_by_who_is_not_in_office)
{
	struct core *c = host(1, 3);

	cr_assert_eq(paxos_may_hand_over(&c->p, 2, c->now), -EAGAIN);
	core_hand_over(c, 2);
	cr_assert_eq(c->out.n_sends, 0);
	core_win(c);
	core_hear(c, 2, BEATEN(c->p.ballot, c->now));
	cr_assert_eq(paxos_may_hand_over(&c->p, 2, c->now), -EAGAIN, "LEADS is not chosen");
	core_hand_over(c, 2);
	cr_assert_eq(c->p.role, PAXOS_LEADING);
	core_hear(c, 2, ACCEPTED(c->p.ballot, 1));
	cr_assert_eq(paxos_may_hand_over(&c->p, 2, c->now), 0);
}

Test(handover, a_leader_past_its_lease_has_nothing_to_give)
{
	struct core *c = leader_of(3);

	c->now += CORE_OWN_LEASE;
	core_hand_over(c, 2);
	cr_assert_null(core_said(c, PAXOS_MOVE, 0));
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
}

/* ---- the successor ---- */

Test(handover, the_successor_stands_at_once_without_asking)
{
	struct core *c = follower_of(3);

	core_hear(c, 2, MOVE(BALLOT(3, 2), 0, 1));
	cr_assert_eq(c->p.role, PAXOS_PREPARING);
	cr_assert_null(core_said(c, PAXOS_PREVOTE, 0));
	cr_assert_eq(core_said(c, PAXOS_PREPARE, 0)->message.ballot, BALLOT(4, 1));
	core_hear(c, 2, PROMISE(c->p.ballot));
	cr_assert_eq(c->p.role, PAXOS_LEADING);
}

Test(handover, a_successor_that_lacks_choices_fetches_them_first)
{
	struct core *c = follower_of(3);

	core_hear(c, 2, BEAT(BALLOT(3, 2), 1)); /* it has just asked */
	core_hear(c, 2, MOVE(BALLOT(3, 2), 2, 1));
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
	cr_assert_eq(core_said(c, PAXOS_FETCH, 0)->to, 2, "and asks now");
	core_hear(c, 2, LEARN(BALLOT(3, 2), 1, "a", 2));
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
	core_hear(c, 2, LEARN(BALLOT(3, 2), 2, "b", 2));
	cr_assert_eq(c->p.role, PAXOS_PREPARING);
	cr_assert_eq(core_said(c, PAXOS_PREPARE, 0)->message.chosen, 2);
}

Test(handover, a_snapshot_catches_up_as_well)
{
	struct core *c = follower_of(3);

	core_hear(c, 2, MOVE(BALLOT(3, 2), 20, 1));
	core_installed(c, 20);
	cr_assert_eq(c->p.role, PAXOS_PREPARING);
}

Test(handover, a_call_is_over_when_another_leads_or_is_promised)
{
	struct core *c = follower_of(5);

	core_hear(c, 2, MOVE(BALLOT(3, 2), 1, 1));
	core_hear(c, 4, BEAT(BALLOT(5, 4), 0));
	core_hear(c, 4, LEARN(BALLOT(3, 2), 1, "a", 1));
	cr_assert_eq(c->memory->chosen, 1);
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER, "led");
	core_release(c);
	c = follower_of(5);
	core_hear(c, 2, MOVE(BALLOT(3, 2), 1, 1));
	core_hear(c, 4, PREPARE(BALLOT(5, 4), 0));
	core_hear(c, 4, LEARN(BALLOT(3, 2), 1, "a", 1));
	cr_assert_eq(c->memory->chosen, 1);
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER, "promised");
}

Test(handover, a_move_said_twice_or_late_is_heard_once)
{
	struct core *c = follower_of(3);

	core_hear(c, 2, MOVE(BALLOT(3, 2), 0, 1));
	core_hear(c, 2, PROMISE(c->p.ballot));
	cr_assert_eq(c->p.role, PAXOS_LEADING);
	core_hear(c, 2, MOVE(BALLOT(3, 2), 0, 1));
	core_hear(c, 2, MOVE(BALLOT(3, 2), 0, 3));
	cr_assert_eq(c->p.role, PAXOS_LEADING);
}

Test(handover, a_successor_without_a_vote_does_not_stand)
{
	struct paxos_config config = core_config(1, 3);

	config.votes = false;
	core_start(&core, &config, NS_PER_S);
	core_hear(&core, 2, BEAT(BALLOT(3, 2), 0));
	core_hear(&core, 2, MOVE(BALLOT(3, 2), 0, 1));
	cr_assert_eq(core.out.n_sends, 0);
	cr_assert_eq(core.p.leader, 0, "it only learns that nobody leads");
}

Test(handover, the_successors_prepare_passes_the_move_on)
{
	struct core *c = follower_of(3);

	core_hear(c, 2, MOVE(BALLOT(3, 2), 0, 1));
	cr_assert(core_said(c, PAXOS_PREPARE, 0)->message.flag);
	cr_assert_eq(core_said(c, PAXOS_PREPARE, 0)->message.promised, BALLOT(3, 2));
	core_peer_up(c, 3);
	cr_assert(core_said(c, PAXOS_PREPARE, 0)->message.flag, "said again to who may have missed it");
	core_wait(c, 2 * CORE_LEASE);
	core_hear(c, 3, PREVOTED(c->p.ballot));
	cr_assert_not(core_said(c, PAXOS_PREPARE, 0)->message.flag, "but not in a later candidacy");
}

/* ---- the others ---- */

Test(handover, the_others_drop_their_promise)
{
	struct core *c = follower_of(3);

	cr_assert_not(would_promise(c, 3));
	core_hear(c, 2, MOVE(BALLOT(3, 2), 0, 3));
	cr_assert_eq(c->out.n_sends, 0);
	cr_assert_eq(c->p.leader, 0);
	cr_assert(c->out.leader_changed);
	core_restart(c, false); /* durably */
	cr_assert(would_promise(c, 3));
}

Test(handover, the_others_leave_it_half_a_lease)
{
	struct core *c = follower_of(3);

	core_hear(c, 2, MOVE(BALLOT(3, 2), 0, 3));
	core_wait(c, CORE_LEASE / 2 - 1);
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
	core_wait(c, CORE_LEASE / 2 + 1);
	cr_assert_eq(c->p.role, PAXOS_ASKING, "and do not wait for ever");
}

static bool promises_successor(struct core *c, uint64_t move_ballot)
{
	struct paxos_message m = PREPARE(BALLOT(90, 3), 0);

	m.flag = true;
	m.promised = move_ballot;
	core_hear(c, 3, m);
	return core_said(c, PAXOS_PROMISE, 0) != NULL;
}

Test(handover, a_prepare_that_passes_the_move_on_is_as_good_as_the_move)
{
	cr_assert(promises_successor(follower_of(3), BALLOT(3, 2)));
	core_release(&core);
	cr_assert(promises_successor(follower_of(3), BALLOT(4, 1)), "we had not heard of the ballot that was given away");
	core_release(&core);
	cr_assert_not(promises_successor(follower_of(3), BALLOT(2, 2)), "an older one it is not");
	core_release(&core);

	struct core *c = follower_of(3);
	struct paxos_message m = PREPARE(BALLOT(90, 3), 0);

	m.promised = BALLOT(3, 2);
	core_hear(c, 3, m);
	cr_assert_null(core_said(c, PAXOS_PROMISE, 0), "without the flag it says nothing");
}

/* Host 2 leads again, in a higher ballot of the same life: its lease rests on this promise. */
Test(handover, a_promise_in_a_later_ballot_is_not_dropped)
{
	struct core *c = follower_of(3);

	core_hear(c, 2, BEAT(BALLOT(5, 2), 0));
	core_hear(c, 2, MOVE(BALLOT(3, 2), 0, 3));
	cr_assert_eq(c->p.leader, 2);
	cr_assert_not(would_promise(c, 3));
}

Test(handover, a_candidate_gives_way)
{
	struct core *c = host(1, 3);

	core_wait(c, 2 * CORE_LEASE);
	cr_assert_eq(c->p.role, PAXOS_ASKING);
	core_hear(c, 2, MOVE(BALLOT(7, 2), 0, 3));
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
	core_wait(c, CORE_LEASE);
	cr_assert_eq(core_said(c, PAXOS_PREVOTE, 0)->message.ballot, BALLOT(8, 1));
}
