/* SPDX-License-Identifier: Apache-2.0 */
/* acceptor: what a voter promises, accepts and refuses. */
#include <criterion/criterion.h>

#include "core.h"

static struct core core;

static struct core *host(uint16_t self, uint32_t n_voters)
{
	struct paxos_config config = core_config(self, n_voters);

	core_start(&core, &config, NS_PER_S);
	return &core;
}

static bool would_promise(struct core *c, uint16_t asker, uint64_t ballot, uint64_t chosen)
{
	core_hear(c, asker, PREVOTE(ballot, chosen));
	const struct paxos_send *answer = core_said(c, PAXOS_PREVOTED, 0);
	cr_assert_not_null(answer);
	cr_assert_eq(answer->to, asker);
	cr_assert_eq(answer->message.ballot, ballot);
	cr_assert_eq(answer->message.promised, c->memory->promised);
	cr_assert_eq(answer->message.chosen, c->memory->chosen);
	return answer->message.flag;
}

/* ---- would you? ---- */

Test(acceptor, prevote_is_yes_to_a_higher_ballot_that_knows_enough)
{
	struct core *c = host(1, 3);

	cr_assert(would_promise(c, 2, BALLOT(1, 2), 0));
	cr_assert_eq(c->memory->promised, 0, "it promises nothing");
}

Test(acceptor, prevote_is_no_to_a_ballot_not_above_the_promised)
{
	struct core *c = host(1, 3);

	core_hear(c, 3, PREPARE(BALLOT(5, 3), 0));
	cr_assert_not(would_promise(c, 2, BALLOT(5, 2), 0));
	cr_assert(would_promise(c, 2, BALLOT(6, 2), 0));
}

Test(acceptor, prevote_is_no_to_who_knows_less)
{
	struct core *c = host(1, 3);

	core_hear(c, 3, ACCEPT(BALLOT(2, 3), 1, "a"));
	c->now += CORE_LEASE;
	cr_assert_not(would_promise(c, 2, BALLOT(6, 2), 0));
	cr_assert(would_promise(c, 2, BALLOT(6, 2), 1));
}

Test(acceptor, prevote_is_no_while_a_lease_stands)
{
	struct core *c = host(1, 3);

	core_hear(c, 3, BEAT(BALLOT(2, 3), 0));
	c->now += CORE_LEASE - 1;
	cr_assert_not(would_promise(c, 2, BALLOT(6, 2), 0));
	c->now += 1;
	cr_assert(would_promise(c, 2, BALLOT(6, 2), 0));
}

Test(acceptor, prevote_is_yes_to_the_leader_come_again)
{
	struct core *c = host(1, 3);

	core_hear(c, 3, BEAT(BALLOT(2, 3), 0));
	cr_assert(would_promise(c, 3, BALLOT(3, 3), 0));
}

Test(acceptor, prevote_is_no_to_another_life_of_the_leaders_host)
{
	struct core *c = host(1, 3);
	struct paxos_message m = PREVOTE(BALLOT(3, 3), 0);

	m.life = 33;
	core_hear(c, 3, BEAT(BALLOT(2, 3), 0));
	core_hear(c, 3, m);
	cr_assert_not(core_said(c, PAXOS_PREVOTED, 0)->message.flag);
}

Test(acceptor, prevote_of_a_leader_with_a_majority_is_no)
{
	struct core *c = host(1, 3);

	core_lead(c);
	cr_assert_not(would_promise(c, 2, BALLOT(9, 2), 9));
}

/* ---- promise ---- */

Test(acceptor, promises_a_higher_ballot_durably)
{
	struct core *c = host(1, 3);

	core_hear(c, 2, PREPARE(BALLOT(5, 2), 0));
	cr_assert_eq(core_said(c, PAXOS_PROMISE, 0)->message.ballot, BALLOT(5, 2));
	core_restart(c, false);
	cr_assert_eq(c->memory->promised, BALLOT(5, 2));
}

Test(acceptor, never_promises_the_same_or_a_lower_ballot)
{
	struct core *c = host(1, 3);

	core_hear(c, 2, PREPARE(BALLOT(5, 2), 0));
	core_hear(c, 2, PREPARE(BALLOT(5, 2), 0));
	cr_assert_null(core_said(c, PAXOS_PROMISE, 0));
	core_hear(c, 3, PREPARE(BALLOT(4, 3), 0));
	cr_assert_null(core_said(c, PAXOS_PROMISE, 0));
	cr_assert_eq(core_said(c, PAXOS_REFUSED, 0)->message.promised, BALLOT(5, 2));
	cr_assert_eq(core_said(c, PAXOS_REFUSED, 0)->message.ballot, BALLOT(4, 3));
}

Test(acceptor, refuses_to_promise_who_knows_less)
{
	struct core *c = host(1, 3);

	core_hear(c, 3, ACCEPT(BALLOT(2, 3), 1, "a"));
	core_hear(c, 2, PREPARE(BALLOT(5, 2), 0));
	cr_assert_null(core_said(c, PAXOS_PROMISE, 0));
	cr_assert_eq(core_said(c, PAXOS_REFUSED, 0)->message.chosen, 1);
	cr_assert_eq(c->memory->promised, BALLOT(2, 3));
}

Test(acceptor, a_promise_holds_what_was_accepted_above_the_askers_chosen)
{
	struct core *c = host(1, 5);

	core_hear(c, 3, ACCEPT(BALLOT(2, 3), 1, "one"));
	core_hear(c, 3, ACCEPT(BALLOT(2, 3), 2, "two"));
	core_hear(c, 3, ACCEPT(BALLOT(2, 3), 4, "four"));
	core_hear(c, 2, PREPARE(BALLOT(5, 2), 1));
	const struct paxos_message *m = &core_said(c, PAXOS_PROMISE, 0)->message;
	cr_assert_eq(m->n_entries, 2);
	cr_assert_eq(m->entries[0].slot, 2);
	cr_assert_eq(m->entries[0].ballot, BALLOT(2, 3));
	cr_assert_arr_eq(m->entries[0].bytes, "two", 3);
	cr_assert_eq(m->entries[1].slot, 4);
}

Test(acceptor, a_promise_ends_following_the_older_leader)
{
	struct core *c = host(1, 3);

	core_hear(c, 3, BEAT(BALLOT(2, 3), 0));
	c->now += CORE_LEASE;
	core_hear(c, 2, PREPARE(BALLOT(5, 2), 0));
	cr_assert_eq(c->p.leader, 0);
	core_hear(c, 3, BEAT(BALLOT(2, 3), 0));
	cr_assert_eq(c->p.leader, 0);
	cr_assert_eq(core_said(c, PAXOS_REFUSED, 0)->message.promised, BALLOT(5, 2));
}

/* ---- the lease ---- */

static bool promises(struct core *c, uint16_t asker, uint64_t ballot)
{
	uint64_t before = c->memory->promised;

	core_hear(c, asker, PREPARE(ballot, c->memory->chosen));
	if (core_said(c, PAXOS_PROMISE, 0))
		return true;
	cr_assert_eq(core_said(c, PAXOS_REFUSED, 0)->message.ballot, ballot);
	cr_assert_eq(c->memory->promised, before);
	return false;
}

Test(acceptor, a_heartbeats_answer_carries_its_ballot_and_stamp)
{
	struct core *c = host(1, 3);
	struct paxos_message m = BEAT(BALLOT(2, 3), 0);

	m.stamp = 77;
	core_hear(c, 3, m);
	cr_assert_eq(core_said(c, PAXOS_BEATEN, 0)->to, 3);
	cr_assert_eq(core_said(c, PAXOS_BEATEN, 0)->message.ballot, BALLOT(2, 3));
	cr_assert_eq(core_said(c, PAXOS_BEATEN, 0)->message.stamp, 77);
}

Test(acceptor, a_lease_forbids_others_for_one_leader_lease)
{
	struct core *c = host(1, 3);

	core_hear(c, 3, BEAT(BALLOT(2, 3), 0));
	c->now += CORE_LEASE - 1;
	cr_assert_not(promises(c, 2, BALLOT(6, 2)));
	cr_assert_eq(c->p.leader, 3, "who asked is not followed");
	c->now += 1;
	cr_assert(promises(c, 2, BALLOT(6, 2)));
}

Test(acceptor, a_lease_counts_from_receipt_whatever_the_leaders_clock_says)
{
	static const uint64_t stamps[] = { 1, NS_PER_S, 3600 * NS_PER_S, UINT64_MAX };

	for (unsigned i = 0; i < ARRAY_LEN(stamps); i++) {
		struct core *c = host(1, 3);
		struct paxos_message m = BEAT(BALLOT(2, 3), 0);

		m.stamp = stamps[i];
		core_hear(c, 3, m);
		c->now += CORE_LEASE - 1;
		cr_assert_not(promises(c, 2, BALLOT(6, 2)), "stamp %lu", stamps[i]);
		c->now += 1;
		cr_assert(promises(c, 2, BALLOT(6, 2)), "stamp %lu", stamps[i]);
		core_release(c);
	}
}

Test(acceptor, each_heartbeat_begins_the_lease_anew)
{
	struct core *c = host(1, 3);

	core_hear(c, 3, BEAT(BALLOT(2, 3), 0));
	c->now += CORE_LEASE / 2;
	core_hear(c, 3, BEAT(BALLOT(2, 3), 0));
	c->now += CORE_LEASE - 1;
	cr_assert_not(promises(c, 2, BALLOT(6, 2)));
}

Test(acceptor, a_lease_lets_its_own_life_pass_and_no_other_of_that_host)
{
	struct core *c = host(1, 3);
	struct paxos_message other = PREPARE(BALLOT(3, 3), 0);

	other.life = 33;
	core_hear(c, 3, BEAT(BALLOT(2, 3), 0));
	core_hear(c, 3, other);
	cr_assert_null(core_said(c, PAXOS_PROMISE, 0));
	cr_assert(promises(c, 3, BALLOT(4, 3)));
	cr_assert_not(promises(c, 2, BALLOT(5, 2)), "the promise to that life stands on");
}

Test(acceptor, a_lease_survives_the_process)
{
	struct core *c = host(1, 3);

	core_hear(c, 3, BEAT(BALLOT(2, 3), 0));
	core_restart(c, false);
	cr_assert_not(would_promise(c, 2, BALLOT(6, 2), 0));
	cr_assert_not(promises(c, 2, BALLOT(6, 2)));
	cr_assert(promises(c, 3, BALLOT(6, 3)), "nor is its life forgotten");
	core_restart(c, false);
	c->now += CORE_LEASE;
	cr_assert(promises(c, 2, BALLOT(7, 2)));
}

Test(acceptor, a_lease_of_one_life_gets_no_shorter)
{
	struct core *c = host(1, 3);

	core_hear(c, 3, BEAT(BALLOT(2, 3), 0));
	c->config.leader_lease_ns = 3 * CORE_HEARTBEAT; /* configured anew */
	core_restart(c, false);
	core_hear(c, 3, BEAT(BALLOT(2, 3), 0));
	c->now += CORE_LEASE - 1;
	cr_assert_not(promises(c, 2, BALLOT(6, 2)));
}

Test(acceptor, a_newer_leaders_lease_takes_the_older_ones_place)
{
	struct core *c = host(1, 3);

	core_hear(c, 3, BEAT(BALLOT(2, 3), 0));
	core_hear(c, 2, BEAT(BALLOT(6, 2), 0)); /* elected by others */
	cr_assert_not(promises(c, 3, BALLOT(7, 3)));
	cr_assert(promises(c, 2, BALLOT(7, 2)));
}

Test(acceptor, an_older_leaders_heartbeat_is_promised_nothing)
{
	struct core *c = host(1, 3);

	cr_assert(promises(c, 2, BALLOT(6, 2)));
	core_hear(c, 3, BEAT(BALLOT(2, 3), 0));
	cr_assert_null(core_said(c, PAXOS_BEATEN, 0));
	cr_assert(promises(c, 2, BALLOT(7, 2)));
}

Test(acceptor, only_a_heartbeat_that_wants_an_answer_is_promised_a_lease)
{
	struct core *c = host(1, 5);
	struct paxos_message news = BEAT(BALLOT(2, 3), 0);

	news.flag = true;
	core_hear(c, 3, news);
	core_hear(c, 3, ACCEPT(BALLOT(2, 3), 1, "a"));
	cr_assert(promises(c, 2, BALLOT(6, 2)), "the leader will not hear of any promise");
}

Test(acceptor, a_leaders_own_acceptor_stands_by_it)
{
	struct core *c = host(1, 3);

	core_lead(c);
	core_wait(c, CORE_HEARTBEAT);
	c->now += CORE_HEARTBEAT - 1;
	cr_assert_not(would_promise(c, 2, BALLOT(50, 2), 9));
	cr_assert_not(promises(c, 2, BALLOT(50, 2)));
	cr_assert_eq(c->p.role, PAXOS_LEADING);
	c->now += CORE_LEASE - CORE_HEARTBEAT; /* its lease has ended by now, its promise has not */
	cr_assert_not(promises(c, 2, BALLOT(50, 2)));
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
	c->now += 1;
	cr_assert(promises(c, 2, BALLOT(50, 2)));
}

/* ---- accept ---- */

Test(acceptor, accepts_in_the_promised_ballot_durably)
{
	struct core *c = host(1, 5);

	core_hear(c, 2, PREPARE(BALLOT(5, 2), 0));
	core_hear(c, 2, ACCEPT(BALLOT(5, 2), 1, "a"));
	const struct paxos_send *answer = core_said(c, PAXOS_ACCEPTED, 0);
	cr_assert_eq(answer->to, 2);
	cr_assert_eq(answer->message.slot, 1);
	cr_assert_eq(answer->message.ballot, BALLOT(5, 2));
	core_restart(c, false);
	cr_assert_str_eq(core_text(c, 1), "a");
}

Test(acceptor, accepting_a_higher_ballot_promises_it)
{
	struct core *c = host(1, 5);

	core_hear(c, 2, ACCEPT(BALLOT(5, 2), 1, "a"));
	cr_assert_eq(c->memory->promised, BALLOT(5, 2));
	core_hear(c, 3, ACCEPT(BALLOT(4, 3), 1, "b"));
	cr_assert_str_eq(core_text(c, 1), "a");
	cr_assert_eq(core_said(c, PAXOS_REFUSED, 0)->message.promised, BALLOT(5, 2));
}

Test(acceptor, a_higher_ballot_replaces_what_was_not_chosen)
{
	struct core *c = host(1, 5);

	core_hear(c, 2, ACCEPT(BALLOT(5, 2), 1, "a"));
	core_hear(c, 3, ACCEPT(BALLOT(6, 3), 1, "b"));
	cr_assert_str_eq(core_text(c, 1), "b");
	cr_assert_not_null(core_said(c, PAXOS_ACCEPTED, 0));
}

Test(acceptor, slots_beyond_the_window_are_fetched_and_not_accepted)
{
	struct core *c = host(1, 5);
	struct paxos_message m = ACCEPT(BALLOT(5, 2), 5, "five");

	m.chosen = 1;
	core_hear(c, 2, m);
	cr_assert_str_eq(core_text(c, 5), "-");
	cr_assert_null(core_said(c, PAXOS_ACCEPTED, 0));
	cr_assert_eq(core_said(c, PAXOS_FETCH, 0)->to, 2);
	cr_assert_eq(core_said(c, PAXOS_FETCH, 0)->message.slot, 1);
	core_hear(c, 2, ACCEPT(BALLOT(5, 2), 4, "four"));
	cr_assert_not_null(core_said(c, PAXOS_ACCEPTED, 0));
}

Test(acceptor, a_slot_known_to_be_chosen_is_answered_and_not_changed)
{
	struct core *c = host(1, 3);

	core_hear(c, 2, ACCEPT(BALLOT(5, 2), 1, "a"));
	cr_assert_eq(c->memory->chosen, 1);
	core_hear(c, 2, ACCEPT(BALLOT(5, 2), 1, "a"));
	cr_assert_eq(core_said(c, PAXOS_ACCEPTED, 0)->message.slot, 1);
	core_hear(c, 2, ACCEPT(BALLOT(7, 2), 1, "a"));
	cr_assert_not_null(core_said(c, PAXOS_ACCEPTED, 0));
}

/* A stale leader may hold another value for a slot that we know by other ways. */
Test(acceptor, a_learnt_slot_is_no_acceptance_in_an_older_ballot)
{
	struct core *c = host(1, 3);

	core_hear(c, 2, BEAT(BALLOT(5, 2), 0));
	core_hear(c, 3, LEARN(BALLOT(6, 3), 1, "right", 1));
	core_hear(c, 2, ACCEPT(BALLOT(5, 2), 1, "wrong"));
	cr_assert_null(core_said(c, PAXOS_ACCEPTED, 0));
	cr_assert_not_null(core_said(c, PAXOS_REFUSED, 0));
	cr_assert_str_eq(core_text(c, 1), "right");
}

Test(acceptor, a_slot_under_a_snapshot_is_no_acceptance)
{
	struct core *c = host(1, 3);

	core_hear(c, 2, BEAT(BALLOT(5, 2), 0));
	core_installed(c, 3);
	core_hear(c, 2, ACCEPT(BALLOT(5, 2), 2, "wrong"));
	cr_assert_null(core_said(c, PAXOS_ACCEPTED, 0));
	cr_assert_eq(core_said(c, PAXOS_REFUSED, 0)->message.chosen, 3);
}

Test(acceptor, voters_answer_heartbeats_unless_these_only_bring_news)
{
	struct core *c = host(1, 5);
	struct paxos_message news = BEAT(BALLOT(5, 2), 0);

	core_hear(c, 2, BEAT(BALLOT(5, 2), 0));
	cr_assert_eq(core_said(c, PAXOS_BEATEN, 0)->message.ballot, BALLOT(5, 2));
	news.flag = true;
	core_hear(c, 2, news);
	cr_assert_null(core_said(c, PAXOS_BEATEN, 0));
}

Test(acceptor, hosts_without_a_vote_promise_and_accept_nothing)
{
	struct paxos_config config = core_config(1, 3);

	config.votes = false; /* a voter that lost its memory */
	core_start(&core, &config, NS_PER_S);
	core_hear(&core, 2, PREVOTE(BALLOT(5, 2), 0));
	cr_assert_eq(core.out.n_sends, 0);
	core_hear(&core, 2, PREPARE(BALLOT(5, 2), 0));
	cr_assert_eq(core.out.n_sends, 0);
	cr_assert_eq(core.memory->promised, 0);
	core_hear(&core, 2, ACCEPT(BALLOT(5, 2), 1, "a"));
	cr_assert_eq(core.out.n_sends, 0);
	cr_assert_str_eq(core_text(&core, 1), "-");
	core_hear(&core, 2, BEAT(BALLOT(5, 2), 0));
	cr_assert_eq(core.out.n_sends, 0);
	cr_assert_eq(core.p.leader, 2, "but they follow");
	for (unsigned i = 0; i < 100; i++) {
		core_wait(&core, CORE_LEASE);
		cr_assert_eq(core.p.role, PAXOS_FOLLOWER);
	}
	cr_assert_eq(core.p.leader, 0, "for as long as they hear anything");
}
