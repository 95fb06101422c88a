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
	end = c->now + 2 * CORE_LEASE;
	while (c->p.role == PAXOS_LEADING && c->now < end) {
		core_wait(c, CORE_HEARTBEAT);
		core_hear(c, 2, BEATEN(old, c->now));
	}
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
}

/* ---- heartbeats ---- */

Test(leader, beats_to_voters_and_each_fifteenth_time_to_all)
{
	struct core *c = leader_of(3);
	unsigned to_all = 0;

	for (unsigned i = 0; i < 150; i++) {
		core_wait(c, CORE_HEARTBEAT);
		core_hear(c, 2, BEATEN(c->p.ballot, c->now));
		core_wait(c, 0);
		cr_assert_eq(c->out.n_sends, 0, "not before the time");
		c->now += CORE_HEARTBEAT;
		core_wait(c, 0);
		cr_assert_eq(core_times_said(c, PAXOS_BEAT), 1);
		to_all += core_said(c, PAXOS_BEAT, 0)->to == PAXOS_TO_ALL;
		core_hear(c, 2, BEATEN(c->p.ballot, c->now));
	}
	cr_assert_eq(to_all, 10, "of every other one, which is looked at");
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
	core_hear(&core, 3, BEATEN(core.p.ballot, core.now));
	core_hear(&core, 4, BEATEN(core.p.ballot, core.now));
	core_wait(&core, 2 * CORE_HEARTBEAT);
	cr_assert_leq(core.out.n_sends, PAXOS_SENDS_MAX);
	uint64_t first = core_said(&core, PAXOS_ACCEPT, 0)->message.entries[0].slot;
	cr_assert_eq(first, 2, "the oldest first");
	for (uint16_t voter = 2; voter <= 4; voter++)
		core_hear(&core, voter, BEATEN(core.p.ballot, core.now));
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
	cr_assert_eq(c->p.leader, 0);
	cr_assert_not(paxos_can_propose(&c->p));
	cr_assert_not(paxos_has_lease(&c->p, c->now));
}

Test(leader, refused_under_its_lease_it_stands_again_at_once)
{
	struct core *c = leader_of(3);

	core_hear(c, 2, REFUSED(c->p.ballot, BALLOT(50, 2), 0));
	cr_assert_eq(c->p.role, PAXOS_ASKING);
	cr_assert_eq(core_said(c, PAXOS_PREVOTE, 0)->message.ballot, BALLOT(51, 1));
}

Test(leader, refused_without_a_lease_it_asks_a_little_later)
{
	struct paxos_config config = core_config(1, 3);

	core_start(&core, &config, NS_PER_S);
	core_win(&core);
	core_hear(&core, 2, REFUSED(core.p.ballot, BALLOT(50, 2), 0));
	cr_assert_eq(core.p.role, PAXOS_FOLLOWER, "the other may have won");
	cr_assert_geq(core.out.wake_at_ns, core.now + CORE_LEASE / 8);
	cr_assert_leq(core.out.wake_at_ns, core.now + CORE_LEASE / 4);
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

Test(leader, without_a_majority_it_ends_after_a_lease)
{
	struct core *c = leader_of(5);
	uint64_t heard = c->now;

	for (unsigned i = 0; i < 100 && c->p.role == PAXOS_LEADING; i++) {
		core_wait(c, CORE_HEARTBEAT);
		if (c->p.role == PAXOS_LEADING)
			core_hear(c, 2, BEATEN(c->p.ballot, c->now)); /* with us two of five */
	}
	cr_assert_eq(c->now, heard + CORE_LEASE);
	cr_assert_eq(c->p.leader, 0);
}

Test(leader, that_was_never_answered_ends_after_a_lease)
{
	struct paxos_config config = core_config(1, 3);

	core_start(&core, &config, NS_PER_S);
	core_win(&core);
	core_wait(&core, CORE_LEASE - 1);
	cr_assert_eq(core.p.role, PAXOS_LEADING);
	core_wait(&core, 1);
	cr_assert_eq(core.p.role, PAXOS_FOLLOWER);
}

/* ---- the lease ---- */

/* A leader in office whose lease counts from `ret_sent`. */
static struct core *leased(uint32_t n_voters, uint64_t *ret_sent)
{
	struct core *c = leader_of(n_voters);

	*ret_sent = c->now;
	cr_assert(paxos_has_lease(&c->p, c->now));
	return c;
}

Test(leader, has_no_lease_before_a_majority_has_answered_a_heartbeat)
{
	struct paxos_config config = core_config(1, 5);

	core_start(&core, &config, NS_PER_S);
	core_win(&core);
	core_hear(&core, 2, ACCEPTED(core.p.ballot, 1));
	core_hear(&core, 3, ACCEPTED(core.p.ballot, 1));
	cr_assert(paxos_can_propose(&core.p), "it may propose,");
	cr_assert_not(paxos_has_lease(&core.p, core.now), "but acceptances promise no lease");
	core_hear(&core, 2, BEATEN(core.p.ballot, core.now));
	core_hear(&core, 2, BEATEN(core.p.ballot, core.now));
	cr_assert_not(paxos_has_lease(&core.p, core.now), "one voter is counted once");
	core_hear(&core, 5, BEATEN(core.p.ballot, core.now));
	cr_assert(paxos_has_lease(&core.p, core.now));
}

Test(leader, its_lease_is_the_voters_less_drift)
{
	uint64_t sent;
	struct core *c = leased(3, &sent);

	cr_assert_lt(CORE_OWN_LEASE, CORE_LEASE);
	cr_assert(paxos_has_lease(&c->p, sent + CORE_OWN_LEASE - 1));
	cr_assert_not(paxos_has_lease(&c->p, sent + CORE_OWN_LEASE));
}

/* Its heartbeats within so long; nobody answers. */
static unsigned beats_within(struct core *c, uint64_t ns)
{
	unsigned n = 0;

	for (uint64_t end = c->now + ns; c->now < end;) {
		core_wait(c, CORE_HEARTBEAT);
		n += core_times_said(c, PAXOS_BEAT);
	}
	return n;
}

Test(leader, says_nothing_more_when_its_heartbeats_are_not_answered)
{
	uint64_t sent;
	struct core *c = leased(3, &sent);

	core_propose(c, "a");
	cr_assert_eq(beats_within(c, 3 * CORE_HEARTBEAT), 2, "those of a quarter of a lease, and two at least");
	cr_assert(paxos_has_lease(&c->p, c->now + CORE_HEARTBEAT), "it leads as long as its lease lasts,");
	core_wait(c, CORE_HEARTBEAT);
	cr_assert_eq(c->out.n_sends, 0, "but does not say so, and sends nothing again");
}

Test(leader, speaks_again_when_it_is_answered)
{
	uint64_t sent;
	struct core *c = leased(5, &sent);

	beats_within(c, 3 * CORE_HEARTBEAT);
	core_hear(c, 2, BEATEN(c->p.ballot, sent + 2 * CORE_HEARTBEAT));
	cr_assert_eq(beats_within(c, CORE_HEARTBEAT), 0, "one of two that are needed");
	core_hear(c, 3, BEATEN(c->p.ballot, sent + 2 * CORE_HEARTBEAT));
	cr_assert_eq(beats_within(c, CORE_HEARTBEAT), 1);
}

Test(leader, speaks_again_to_a_voter_that_is_linked_anew)
{
	uint64_t sent;
	struct core *c = leased(3, &sent);

	beats_within(c, 4 * CORE_HEARTBEAT);
	core_peer_up(c, 2);
	cr_assert_eq(core_times_said(c, PAXOS_BEAT), 1);
}

Test(leader, that_stood_still_speaks_before_it_waits_for_answers)
{
	uint64_t sent;
	struct core *c = leased(3, &sent);

	c->now = sent + CORE_OWN_LEASE - 1;
	core_peer_up(c, 9); /* what one observer hears is no question to the voters */
	cr_assert_eq(core_times_said(c, PAXOS_BEAT), 2);
	cr_assert_eq(core_said(c, PAXOS_BEAT, 1)->to, PAXOS_TO_VOTERS);
}

Test(leader, a_lone_voter_is_answered_by_nobody_and_goes_on)
{
	struct core *c = leader_of(1);

	beats_within(c, 2 * CORE_LEASE);
	cr_assert(paxos_can_propose(&c->p));
}

/* Row 12: lease counted from the reply instead of the request: delay replies by one lease. */
Test(leader, trap_12_a_lease_counts_from_the_send_of_the_heartbeat)
{
	uint64_t sent;
	struct core *c = leased(3, &sent);

	core_wait(c, CORE_HEARTBEAT);
	uint64_t second = core_said(c, PAXOS_BEAT, 0)->message.stamp;
	cr_assert_eq(second, sent + CORE_HEARTBEAT);
	core_wait(c, CORE_OWN_LEASE - CORE_HEARTBEAT - 1);
	core_hear(c, 2, BEATEN(c->p.ballot, second));
	cr_assert(paxos_has_lease(&c->p, second + CORE_OWN_LEASE - 1));
	cr_assert_not(paxos_has_lease(&c->p, second + CORE_OWN_LEASE));
}

Test(leader, trap_12_an_answer_as_late_as_the_lease_is_worth_nothing)
{
	struct paxos_config config = core_config(1, 3);

	core_start(&core, &config, NS_PER_S);
	core_win(&core);
	core_wait(&core, CORE_OWN_LEASE);
	core_hear(&core, 2, BEATEN(core.p.ballot, core.now - CORE_OWN_LEASE));
	cr_assert_not(paxos_has_lease(&core.p, core.now));
}

Test(leader, an_older_answer_shortens_no_lease)
{
	uint64_t sent;
	struct core *c = leased(3, &sent);

	c->now = sent + CORE_HEARTBEAT;
	core_hear(c, 2, BEATEN(c->p.ballot, c->now));
	core_hear(c, 2, BEATEN(c->p.ballot, sent));
	cr_assert(paxos_has_lease(&c->p, sent + CORE_HEARTBEAT + CORE_OWN_LEASE - 1));
}

Test(leader, an_answer_to_what_was_not_sent_yet_is_not_heard)
{
	uint64_t sent;
	struct core *c = leased(3, &sent);

	core_hear(c, 2, BEATEN(c->p.ballot, sent + 1));
	cr_assert_not(paxos_has_lease(&c->p, sent + CORE_OWN_LEASE));
}

Test(leader, a_lease_counts_from_the_latest_heartbeat_that_a_majority_answered)
{
	uint64_t sent;
	struct core *c = leased(5, &sent); /* 2 and 3 answered the first */

	core_wait(c, CORE_HEARTBEAT);
	core_hear(c, 4, BEATEN(c->p.ballot, c->now));
	cr_assert_not(paxos_has_lease(&c->p, sent + CORE_OWN_LEASE), "one has");
	core_wait(c, CORE_HEARTBEAT);
	core_hear(c, 5, BEATEN(c->p.ballot, c->now));
	cr_assert(paxos_has_lease(&c->p, sent + CORE_HEARTBEAT + CORE_OWN_LEASE - 1), "two have, or a later one");
	cr_assert_not(paxos_has_lease(&c->p, sent + CORE_HEARTBEAT + CORE_OWN_LEASE));
}

/* Row 5: the leader is stopped past its lease: when it continues, its first grant or read is refused. */
Test(leader, trap_5_past_its_lease_it_is_none_before_it_handles_anything)
{
	uint64_t sent, ballot;
	struct core *c = leased(3, &sent);

	ballot = c->p.ballot;
	c->now = sent + CORE_OWN_LEASE;
	cr_assert(paxos_can_propose(&c->p), "it does not know yet");
	core_propose(c, "late");
	cr_assert_str_eq(core_text(c, 2), "-");
	cr_assert_eq(c->out.n_sends, 0);
	cr_assert(c->out.leader_changed);
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
	core_hear(c, 2, BEATEN(ballot, sent + 1));
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
	cr_assert_not(paxos_has_lease(&c->p, sent));
}

Test(leader, trap_5_no_answer_that_waited_meanwhile_renews_its_lease)
{
	uint64_t sent;
	struct core *c = leased(3, &sent);

	core_wait(c, CORE_HEARTBEAT);
	c->now = sent + CORE_OWN_LEASE;
	core_hear(c, 2, BEATEN(c->p.ballot, sent + CORE_HEARTBEAT));
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
	core_peer_up(c, 2);
	cr_assert_eq(c->out.n_sends, 0, "and it says nothing as a leader");
}

Test(leader, its_next_office_begins_without_a_lease)
{
	uint64_t sent;
	struct core *c = leased(3, &sent);

	c->now = sent + CORE_OWN_LEASE;
	core_wait(c, 0);
	core_win(c);
	cr_assert_not(paxos_has_lease(&c->p, c->now));
	core_hear(c, 2, BEATEN(c->p.ballot, c->now));
	cr_assert(paxos_has_lease(&c->p, c->now));
}

Test(leader, answers_in_an_older_ballot_of_its_own_give_no_lease)
{
	uint64_t sent;
	struct core *c = leased(5, &sent); /* 2 and 3 answered */

	core_hear(c, 4, REFUSED(c->p.ballot, BALLOT(50, 4), 0));
	for (uint16_t id = 2; id <= 3; id++)
		core_hear(c, id, PREVOTED(c->p.ballot));
	for (uint16_t id = 2; id <= 3; id++)
		core_hear(c, id, PROMISE(c->p.ballot));
	cr_assert_eq(c->p.role, PAXOS_LEADING);
	core_hear(c, 4, BEATEN(c->p.ballot, c->now));
	cr_assert_not(paxos_has_lease(&c->p, c->now));
	core_hear(c, 5, BEATEN(c->p.ballot, c->now));
	cr_assert(paxos_has_lease(&c->p, c->now));
}

Test(leader, a_single_voter_has_a_lease_as_long_as_it_is_called)
{
	struct core *c = leader_of(1);

	for (unsigned i = 0; i < 10; i++) {
		cr_assert(paxos_has_lease(&c->p, c->now));
		cr_assert(paxos_has_lease(&c->p, c->out.wake_at_ns));
		core_wait(c, i == 5 ? 100 * CORE_LEASE : CORE_HEARTBEAT);
		core_propose(c, "x");
	}
	cr_assert_eq(c->memory->chosen, 11, "nobody can have led meanwhile");
}

Test(leader, leads_carries_its_ballot)
{
	struct core *c = leader_of(3);
	struct paxos_entry leads = paxos_chosen_entry(&c->p, 1);
	struct reader r = reader_on(leads.bytes, leads.len);

	cr_assert_eq(leads.kind, PAXOS_LEADS);
	cr_assert_eq(leads.len, PAXOS_LEADS_SIZE);
	cr_assert_eq(get_u64(&r), c->p.ballot);
}

Test(leader, a_leads_proposed_again_names_the_ballot_that_it_began)
{
	struct paxos_config config = core_config(1, 5);
	struct core *c = &core;
	struct reader r;
	uint64_t old;

	core_start(c, &config, NS_PER_S);
	core_win(c);
	old = c->p.ballot;
	core_restart(c, true);
	core_win(c);
	r = reader_on(core_said(c, PAXOS_ACCEPT, 0)->message.entries[0].bytes, PAXOS_LEADS_SIZE);
	cr_assert_eq(get_u64(&r), old);
	cr_assert_eq(core_said(c, PAXOS_ACCEPT, 0)->message.ballot, c->p.ballot);
	r = reader_on(core_said(c, PAXOS_ACCEPT, 1)->message.entries[0].bytes, PAXOS_LEADS_SIZE);
	cr_assert_eq(get_u64(&r), c->p.ballot);
}

/* A lease of one clock that is as fast as it may be, seen by one that is as slow. */
Test(leader, drift_is_reckoned_from_the_fastest_clock_to_the_slowest)
{
	static const uint64_t times[] = { 6, 999, 50500000, 200 * NS_PER_MS, 10 * NS_PER_S, 3600 * NS_PER_S };
	static const uint32_t ppms[] = { 0, 1, 333, 1000, 99999, 100000 };

	for (unsigned i = 0; i < ARRAY_LEN(times); i++)
		for (unsigned j = 0; j < ARRAY_LEN(ppms); j++) {
			uint64_t ns = times[i], slow = 1000000 - ppms[j], fast = 1000000 + ppms[j];
			uint64_t less = paxos_less_drift(ns, ppms[j]), plus = paxos_plus_drift(ns, ppms[j]);

			cr_expect_leq(less * fast, ns * slow, "%lu ns, %u ppm", ns, ppms[j]);
			cr_expect_gt((less + 1) * fast, ns * slow, "and nothing is given away");
			cr_expect_geq(plus * slow, ns * fast, "%lu ns, %u ppm", ns, ppms[j]);
			cr_expect_lt((plus - 1) * slow, ns * fast, "nor waited for");
		}
}

Test(leader, with_a_majority_it_stays)
{
	struct core *c = leader_of(5);

	for (unsigned i = 0; i < 100; i++) {
		core_wait(c, CORE_HEARTBEAT);
		core_hear(c, (uint16_t)(2 + i % 4), BEATEN(c->p.ballot, c->now));
	}
	cr_assert_eq(c->p.role, PAXOS_LEADING);
	cr_assert_eq(c->p.leader_heard_ns, c->now - CORE_HEARTBEAT, "the second last answer makes three");
}

Test(leader, a_voter_that_knows_more_is_asked_for_it)
{
	struct core *c = leader_of(3);
	struct paxos_message m = BEATEN(c->p.ballot, c->now);

	core_propose(c, "a");
	m.chosen = 2;
	core_hear(c, 2, m);
	cr_assert_eq(core_said(c, PAXOS_FETCH, 0)->to, 2);
	core_hear(c, 2, LEARN(c->p.ballot, 2, "a", 2));
	cr_assert_eq(c->memory->chosen, 2);
	cr_assert(paxos_can_propose(&c->p));
}

Test(leader, it_resigns_when_it_is_told_to)
{
	struct core *c = leader_of(3);

	core_step(c, &(struct paxos_event){ .kind = PAXOS_EVENT_RESIGN, .now_ns = c->now });
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
	cr_assert_eq(c->p.leader, 0);
	cr_assert_not(paxos_has_lease(&c->p, c->now));
}
