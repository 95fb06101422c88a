/* SPDX-License-Identifier: Apache-2.0 */
/* gate: one owner, first come first served, nothing lost when somebody leaves, comes again, or never comes back. */
#include "../../shm/gate.h"

#include <criterion/criterion.h>

#include "gate_space.h"

static struct gate_space *space;
static struct gate_view view;

static void setup(void)
{
	space = gate_space_new();
	view = gate_space_view(space);
}

TestSuite(gate, .init = setup);

static uint64_t word(void) { return space->gates[1].word; }
static enum gate_state state_of(unsigned record) { return gate_record_state(space->records[record].state); }
static uint32_t gen_of(unsigned record) { return (uint32_t)(space->records[record].state >> 36); }

/* Session `slot` comes to the taken gate, and sleeps. */
static struct gate_place comes(uint32_t slot)
{
	struct gate_place p = gate_space_place(slot);

	cr_assert_eq(gate_arrive(&view, &p, 100 + slot), GATE_WAITS);
	cr_assert_eq(gate_look(&view, &p, false), GATE_SPIN);
	cr_assert_eq(gate_look(&view, &p, true), GATE_SLEEP);
	cr_assert_eq(p.value, space->records[slot].bell);
	return p;
}

/* (slot, count) hands the gate to the session `to`. */
static void hands(uint32_t slot, uint32_t count, uint32_t to)
{
	struct gate_pass pass = gate_space_pass(slot, count);
	uint32_t bell = space->records[to].bell;

	cr_assert_eq(gate_release(&view, &pass, 0), GATE_WAKE);
	cr_assert_eq(pass.record, to);
	cr_assert_eq(space->records[to].bell, bell + 1);
	cr_assert_eq(gate_owner(word()), slot); /* until the sleeper is awake */
	cr_assert_eq(gate_release(&view, &pass, 0), GATE_DONE);
	cr_assert_eq(gate_owner(word()), to);
	cr_assert_eq(gate_count(word()), count + 1);
}

static void is_mine(struct gate_place *p, uint32_t count)
{
	uint32_t gen = gen_of(p->record);

	cr_assert_eq(gate_look(&view, p, true), GATE_MINE);
	cr_assert_eq(p->count, count);
	cr_assert_eq(state_of(p->record), GATE_RECORD_FREE);
	cr_assert_eq(gen_of(p->record), gen + 1);
}

static uint32_t take(uint32_t slot)
{
	uint32_t count = 0;
	bool died;

	cr_assert(gate_take(&space->gates[1], slot, &count, &died));
	return count;
}

Test(gate, a_free_gate_is_taken_and_freed_by_one_swap_each)
{
	uint32_t count;
	bool died = true;

	cr_assert(gate_take(&space->gates[1], 3, &count, &died));
	cr_assert_eq(word(), gate_word(11, 0, 3, 0));
	cr_assert_eq(count, 11);
	cr_assert_not(died);
	cr_assert_not(gate_take(&space->gates[1], 4, &count, &died));
	cr_assert(gate_holds(&space->gates[1], 3, 11));
	cr_assert_not(gate_holds(&space->gates[1], 3, 10));
	cr_assert(gate_free(&space->gates[1], 3, 11));
	cr_assert_eq(word(), gate_word(11, 0, 0, 0));
	cr_assert_not(gate_free(&space->gates[1], 3, 11));
}

Test(gate, release_is_for_the_owner_and_his_count_only)
{
	struct gate_pass other = gate_space_pass(4, 11), older = gate_space_pass(3, 10), nowhere = { .gate = 9, .slot = 3, .count = 11 };

	take(3);
	cr_assert_eq(gate_release(&view, &other, 0), GATE_LOST);
	cr_assert_eq(gate_release(&view, &older, 0), GATE_LOST);
	cr_assert_eq(gate_release(&view, &nowhere, 0), GATE_LOST);
	cr_assert_eq(word(), gate_word(11, 0, 3, 0));
}

Test(gate, who_arrives_at_a_free_gate_takes_it)
{
	struct gate_place p = gate_space_place(3);

	cr_assert_eq(gate_arrive(&view, &p, 1), GATE_MINE);
	cr_assert_eq(p.count, 11);
	cr_assert_eq(state_of(3), GATE_RECORD_FREE);
}

/* Alone in the line, and awake: looks at the word. */
static struct gate_place watches(uint32_t slot)
{
	struct gate_place p = gate_space_place(slot);

	cr_assert_eq(gate_arrive(&view, &p, 100 + slot), GATE_WAITS);
	cr_assert_eq(gate_look(&view, &p, false), GATE_SPIN);
	cr_assert(p.watches);
	cr_assert_eq(p.word, word());
	cr_assert_eq(gate_flags(word()), GATE_WATCHED);
	return p;
}

Test(gate, who_watches_is_handed_the_gate_by_the_word_alone)
{
	take(1);
	struct gate_place p = watches(2);
	cr_assert_not(gate_hand(&view, &space->gates[1], 1, 10));
	cr_assert_not(gate_hand(&view, &space->gates[1], 2, 11));
	cr_assert(gate_hand(&view, &space->gates[1], 1, 11));
	cr_assert_eq(word(), gate_word(12, 0, 2, 0));
	is_mine(&p, 12);
	cr_assert_not(gate_hand(&view, &space->gates[1], 2, 12)); /* to nobody */
}

Test(gate, who_sleeps_or_has_somebody_behind_him_watches_no_more)
{
	take(1);
	struct gate_place p2 = watches(2);
	cr_assert_eq(gate_look(&view, &p2, true), GATE_SLEEP);
	cr_assert_not(gate_hand(&view, &space->gates[1], 1, 11));
	hands(1, 11, 2);
	is_mine(&p2, 12);
	struct gate_place p3 = watches(3), p4 = comes(4);
	cr_assert_not(gate_hand(&view, &space->gates[1], 2, 12));
	cr_assert_eq(gate_cancel(&view, &p3), GATE_LEFT);
	hands(2, 12, 4);
	is_mine(&p4, 13);
}

Test(gate, the_oldest_is_handed_the_gate_first)
{
	take(1);
	struct gate_place p2 = comes(2), p3 = comes(3), p4 = comes(4);

	cr_assert_eq(gate_top(word()), 4);
	hands(1, 11, 2);
	is_mine(&p2, 12);
	hands(2, 12, 3);
	is_mine(&p3, 13);
	hands(3, 13, 4);
	cr_assert_eq(gate_top(word()), 0);
	is_mine(&p4, 14);
	cr_assert(gate_free(&space->gates[1], 4, 14));
}

Test(gate, the_line_is_found_without_hints_and_in_spite_of_wrong_ones)
{
	static const uint64_t wrong[] = { 0, 3, 4, 5, 1ull << 32 | 2, 77, UINT64_MAX };

	for (unsigned i = 0; i < ARRAY_LEN(wrong); i++) {
		setup();
		take(1);
		struct gate_place p2 = comes(2);
		comes(3);
		comes(4);
		space->gates[1].head = wrong[i];
		hands(1, 11, 2);
		is_mine(&p2, 12);
		space->gates[1].head = wrong[i];
		space->records[3].newer = wrong[i];
		hands(2, 12, 3);
	}
}

Test(gate, a_hint_to_a_record_at_another_gate_is_not_believed)
{
	take(1);
	comes(2);
	space->records[5].state = (uint64_t)GATE_RECORD_SLEEP << 32;
	space->records[5].gate = 2;
	space->gates[1].head = 5;
	hands(1, 11, 2);
}

Test(gate, who_waits_awake_is_handed_the_gate_without_a_wake)
{
	struct gate_pass pass = gate_space_pass(1, 11);
	struct gate_place p = gate_space_place(2);

	take(1);
	cr_assert_eq(gate_arrive(&view, &p, 1), GATE_WAITS);
	cr_assert_eq(gate_release(&view, &pass, 0), GATE_DONE);
	is_mine(&p, 12);
}

Test(gate, the_chosen_one_helps_himself_when_the_releaser_does_not_come)
{
	struct gate_pass pass = gate_space_pass(1, 11);

	take(1);
	struct gate_place p2 = comes(2);
	comes(3);
	cr_assert_eq(gate_release(&view, &pass, 0), GATE_WAKE);
	is_mine(&p2, 12);
	cr_assert_eq(word(), gate_word(12, 3, 2, 0));
	cr_assert_eq(gate_release(&view, &pass, 0), GATE_DONE); /* the releaser comes at last */
	cr_assert_eq(word(), gate_word(12, 3, 2, 0));
	hands(2, 12, 3);
}

Test(gate, who_leaves_is_passed_over)
{
	take(1);
	struct gate_place p2 = comes(2), p3 = comes(3);

	cr_assert_eq(gate_cancel(&view, &p2), GATE_LEFT);
	hands(1, 11, 3);
	is_mine(&p3, 12);
	cr_assert_eq(state_of(2), GATE_RECORD_OUT);
	cr_assert_eq(gen_of(2), 1);
}

Test(gate, when_all_have_left_the_gate_is_free)
{
	struct gate_pass pass = gate_space_pass(1, 11);

	take(1);
	struct gate_place p2 = comes(2), p3 = comes(3);
	cr_assert_eq(gate_cancel(&view, &p3), GATE_LEFT);
	cr_assert_eq(gate_cancel(&view, &p2), GATE_LEFT);
	cr_assert_eq(gate_release(&view, &pass, 0), GATE_DONE);
	cr_assert_eq(word(), gate_word(11, 0, 0, 0));
	cr_assert_eq(state_of(2), GATE_RECORD_OUT);
	cr_assert_eq(state_of(3), GATE_RECORD_OUT);
	cr_assert_eq((uint32_t)space->gates[1].head, 3); /* known when the second went, not walked to */
	take(4);
	comes(2); /* usable again: the count has moved */
}

Test(gate, who_leaves_and_comes_back_stands_where_he_stood)
{
	take(1);
	struct gate_place p2 = comes(2), again = gate_space_place(2);

	comes(3);
	cr_assert_eq(gate_cancel(&view, &p2), GATE_LEFT);
	cr_assert_eq(gate_arrive(&view, &again, 500), GATE_WAITS);
	cr_assert_eq(gate_look(&view, &again, true), GATE_SLEEP);
	cr_assert_eq(gate_top(word()), 3);
	hands(1, 11, 2);
	is_mine(&again, 12);
}

Test(gate, a_record_that_left_one_line_is_busy_for_another_gate)
{
	take(1);
	struct gate_place p2 = comes(2), elsewhere = { .gate = 2, .slot = 2, .record = 2 };

	cr_assert_eq(gate_cancel(&view, &p2), GATE_LEFT);
	cr_assert_eq(gate_arrive(&view, &elsewhere, 1), GATE_BUSY);
}

Test(gate, a_grant_that_came_first_is_not_lost_by_leaving)
{
	struct gate_pass pass = gate_space_pass(1, 11);

	take(1);
	struct gate_place p2 = comes(2);
	cr_assert_eq(gate_release(&view, &pass, 0), GATE_WAKE);
	cr_assert_eq(gate_cancel(&view, &p2), GATE_MINE);
	cr_assert_eq(p2.count, 12);
	cr_assert_eq(gate_owner(word()), 2);
}

Test(gate, a_pruned_record_is_busy_until_the_count_moves)
{
	struct gate_place again = gate_space_place(2);

	take(1);
	comes(2);
	space->records[2].state = (uint64_t)GATE_RECORD_OUT << 32 | 11;
	cr_assert_eq(gate_arrive(&view, &again, 1), GATE_BUSY);
	space->gates[1].word = gate_word(12, 0, 3, 0);
	cr_assert_eq(gate_arrive(&view, &again, 1), GATE_WAITS);
}

Test(gate, a_record_that_is_gone_is_busy_as_long_as_it_stands_in_the_line)
{
	struct gate_place p = gate_space_place(2), elsewhere = gate_space_place(2);

	elsewhere.gate = 2;
	take(1);
	comes(2);
	comes(3);
	space->records[2].state = (uint64_t)GATE_RECORD_GONE << 32 | 11;
	/* Who marked it has died. Whatever the count is now, the line is as it was. */
	for (uint32_t count = 11; count < 16; count++) {
		space->gates[1].word = gate_word(count, 3, GATE_AGENT, GATE_DIED);
		cr_assert_eq(gate_arrive(&view, &p, 1), GATE_BUSY);
		cr_assert_eq(gate_arrive(&view, &elsewhere, 1), GATE_BUSY);
	}
	space->gates[1].word = gate_word(16, 2, GATE_AGENT, 0); /* on top, too */
	cr_assert_eq(gate_arrive(&view, &p, 1), GATE_BUSY);
	space->gates[1].word = gate_word(17, 0, 3, 0);
	cr_assert_eq(gate_arrive(&view, &p, 1), GATE_WAITS);
	cr_assert_eq(gen_of(2), 1);
}

Test(gate, counts_go_round)
{
	space->gates[1].word = gate_word(UINT32_MAX, 0, 0, 0);
	cr_assert_eq(take(1), 0);
	struct gate_place p2 = comes(2);
	hands(1, 0, 2);
	is_mine(&p2, 1);
}

/* ---- closing and opening ---- */

static void closing(uint32_t stop_at, uint64_t remote_since_ns, uint64_t stop_ns)
{
	space->terms[1].stop_at = stop_at;
	space->terms[1].remote_since_ns = remote_since_ns;
	space->terms[1].stop_ns = stop_ns;
}

Test(gate, a_free_gate_is_closed_at_once)
{
	uint32_t count;
	bool died;

	cr_assert_eq(gate_close(&view, 1), GATE_DONE);
	cr_assert_eq(word(), gate_word(11, 0, GATE_AGENT, 0));
	cr_assert_not(gate_take(&space->gates[1], 3, &count, &died));
}

Test(gate, a_closing_gate_is_the_agents_when_nobody_waits)
{
	struct gate_pass pass = gate_space_pass(1, 11);

	take(1);
	cr_assert_eq(gate_close(&view, 1), GATE_WAITS);
	cr_assert_not(gate_free(&space->gates[1], 1, 11));
	cr_assert_eq(gate_release(&view, &pass, 0), GATE_TELL);
	cr_assert_eq(word(), gate_word(12, 0, GATE_AGENT, 0));
	cr_assert_not(pass.corrupt);
}

static enum gate_next release_while_closing(uint32_t stop_at, uint64_t remote_since_ns, uint64_t stop_ns)
{
	struct gate_pass pass = gate_space_pass(1, 11);

	setup();
	take(1);
	comes(2); /* since 102 */
	closing(stop_at, remote_since_ns, stop_ns);
	cr_assert_eq(gate_close(&view, 1), GATE_WAITS);
	return gate_release(&view, &pass, 1000);
}

Test(gate, a_closing_gate_passes_on_within_its_bounds_only)
{
	cr_assert_eq(release_while_closing(12, 102, 1001), GATE_WAKE);
	cr_assert_eq(release_while_closing(11, 102, 1001), GATE_TELL);
	cr_assert_eq(gate_owner(word()), GATE_AGENT);
	cr_assert_eq(gate_top(word()), 2); /* they go on waiting */
	cr_assert_eq(release_while_closing(12, 101, 1001), GATE_TELL);
	cr_assert_eq(release_while_closing(12, 102, 1000), GATE_TELL);
}

Test(gate, closing_goes_on_through_a_hand_over)
{
	cr_assert_eq(release_while_closing(12, 102, 1001), GATE_WAKE);
	struct gate_pass pass = { .gate = 1, .slot = 1, .count = 11, .record = 2, .chosen = true };
	cr_assert_eq(gate_release(&view, &pass, 0), GATE_DONE);
	cr_assert_eq(gate_flags(word()), GATE_CLOSING);
}

Test(gate, opening_hands_the_gate_to_the_oldest_or_frees_it)
{
	take(1);
	struct gate_place p2 = comes(2);
	closing(0, 0, 0);
	gate_close(&view, 1);
	struct gate_pass pass = gate_space_pass(1, 11);
	cr_assert_eq(gate_release(&view, &pass, 1), GATE_TELL);

	struct gate_pass open = gate_agent_pass(&view, 1);
	cr_assert_eq(gate_open(&view, &open), GATE_WAKE);
	cr_assert_eq(gate_open(&view, &open), GATE_DONE);
	is_mine(&p2, 13);
	cr_assert_eq(word(), gate_word(13, 0, 2, 0));

	pass = (struct gate_pass){ .gate = 2, .slot = GATE_AGENT };
	cr_assert_eq(gate_open(&view, &pass), GATE_DONE);
	cr_assert_eq(space->gates[2].word, gate_word(0, 0, 0, 0));
}

Test(gate, who_arrives_at_the_agents_gate_tells_the_agent)
{
	struct gate_place p = { .gate = 2, .slot = 3, .record = 3 };

	cr_assert_eq(gate_arrive(&view, &p, 1), GATE_TELL);
	cr_assert_eq(gate_top(space->gates[2].word), 3);
	struct gate_pass prune = gate_agent_pass(&view, 2);
	cr_assert_eq(gate_prune(&view, &prune), GATE_WAITS);
	cr_assert_eq(prune.record, 3);
}

Test(gate, pruning_takes_out_who_left_and_opens_nothing)
{
	struct gate_place p = { .gate = 2, .slot = 3, .record = 3 }, q = { .gate = 2, .slot = 4, .record = 4 };
	struct gate_pass prune;

	gate_arrive(&view, &p, 1);
	gate_arrive(&view, &q, 1);
	cr_assert_eq(gate_cancel(&view, &p), GATE_LEFT);
	prune = gate_agent_pass(&view, 2);
	cr_assert_eq(gate_prune(&view, &prune), GATE_WAITS);
	cr_assert_eq(prune.record, 4);
	cr_assert_eq(state_of(3), GATE_RECORD_OUT);
	cr_assert_eq(gate_cancel(&view, &q), GATE_LEFT);
	prune = gate_agent_pass(&view, 2);
	cr_assert_eq(gate_prune(&view, &prune), GATE_DONE);
	cr_assert_eq(space->gates[2].word, gate_word(1, 0, GATE_AGENT, 0));
}

Test(gate, closing_voids_a_choice_of_before)
{
	struct gate_place p = { .gate = 2, .slot = 3, .record = 3 };
	struct gate_pass open;

	gate_arrive(&view, &p, 1);
	open = gate_agent_pass(&view, 2);
	gate_open(&view, &open);
	/* It was awake, so it was handed the gate; as if the agent had died before that: */
	space->gates[2].word = gate_word(0, 3, GATE_AGENT, 0);
	cr_assert_eq(gate_close(&view, 2), GATE_DONE);
	cr_assert_eq(gate_look(&view, &p, true), GATE_SLEEP);
	cr_assert_eq(gate_owner(space->gates[2].word), GATE_AGENT);
}

static uint32_t begins(bool died)
{
	uint32_t count = 0;

	cr_assert_eq(gate_begin(&view, 1, died, &count), GATE_DONE);
	return count;
}

Test(gate, a_delegation_begins_with_the_death_that_its_row_tells_and_no_other)
{
	uint32_t count;
	bool died = true;

	space->gates[1].word = gate_word(20, 0, GATE_AGENT, GATE_DIED); /* of the key before */
	cr_assert_eq(begins(false), 21);
	cr_assert_eq(word(), gate_word(21, 0, GATE_AGENT, 0));
	struct gate_pass open = gate_agent_pass(&view, 1);
	cr_assert_eq(gate_open(&view, &open), GATE_DONE);
	cr_assert(gate_take(&space->gates[1], 3, &count, &died));
	cr_assert_not(died);
	cr_assert_eq(count, 22);

	space->gates[1].word = gate_word(30, 0, GATE_AGENT, 0);
	cr_assert_eq(begins(true), 31);
	open = gate_agent_pass(&view, 1);
	cr_assert_eq(gate_open(&view, &open), GATE_DONE);
	cr_assert(gate_take(&space->gates[1], 3, &count, &died));
	cr_assert(died);
}

Test(gate, a_delegation_that_begins_keeps_the_line_and_voids_a_choice_of_before)
{
	take(1);
	struct gate_place p2 = comes(2);
	cr_assert_eq(gate_decline(&view, 1, 1, 11), GATE_TELL);
	struct gate_pass open = gate_agent_pass(&view, 1);
	cr_assert_eq(gate_open(&view, &open), GATE_WAKE); /* and no further */
	cr_assert_eq(begins(false), 13);
	cr_assert_eq(begins(false), 14); /* by a new agent */
	cr_assert_eq(gate_look(&view, &p2, true), GATE_SLEEP);
	cr_assert_eq(word(), gate_word(14, 2, GATE_AGENT, 0));
	cr_assert_eq(gate_open(&view, &open), GATE_DONE);
	cr_assert_eq(gate_owner(word()), GATE_AGENT);
}

Test(gate, nothing_begins_at_a_gate_that_a_session_owns)
{
	uint32_t count = 7;

	take(1);
	cr_assert_eq(gate_begin(&view, 1, true, &count), GATE_LOST);
	cr_assert(gate_free(&space->gates[1], 1, 11));
	cr_assert_eq(gate_begin(&view, 1, true, &count), GATE_LOST);
	cr_assert_eq(word(), gate_word(11, 0, 0, 0));
	cr_assert_eq(count, 7);
}

Test(gate, died_is_told_to_the_next_and_cleared_by_his_release)
{
	uint32_t count;
	bool died = false;

	space->gates[1].word = gate_word(10, 0, 0, GATE_DIED);
	cr_assert(gate_take(&space->gates[1], 3, &count, &died));
	cr_assert(died);
	struct gate_place p = comes(4);
	hands(3, 11, 4);
	is_mine(&p, 12);
	cr_assert_not(p.died);
	cr_assert_eq(gate_flags(word()), 0);
}

Test(gate, died_is_told_to_who_is_handed_the_agents_gate)
{
	struct gate_place p = { .gate = 2, .slot = 3, .record = 3 };
	struct gate_pass open;

	space->gates[2].word = gate_word(5, 0, GATE_AGENT, GATE_DIED);
	gate_arrive(&view, &p, 1);
	open = gate_agent_pass(&view, 2);
	cr_assert_eq(gate_open(&view, &open), GATE_DONE);
	cr_assert_eq(gate_look(&view, &p, false), GATE_MINE);
	cr_assert(p.died);
}

/* ---- given and declined ---- */

static bool is_given(uint32_t count, uint32_t slot, enum gate_next expected)
{
	bool died = false;

	cr_assert_eq(gate_give(&view, 2, count, slot, &died), expected);
	return died;
}

Test(gate, the_agents_gate_is_given_ahead_of_its_line)
{
	struct gate_place p = { .gate = 2, .slot = 3, .record = 3 };
	struct gate_pass pass = { .gate = 2, .slot = 4, .count = 1 };

	gate_arrive(&view, &p, 1);
	cr_assert_not(is_given(0, 4, GATE_DONE));
	cr_assert_eq(space->gates[2].word, gate_word(1, 3, 4, 0));
	cr_assert_eq(gate_release(&view, &pass, 0), GATE_DONE);
	cr_assert_eq(gate_look(&view, &p, false), GATE_MINE);
	cr_assert_eq(p.count, 2);
}

Test(gate, giving_may_be_said_again_until_the_acquisition_has_ended)
{
	struct gate_pass pass = { .gate = 2, .slot = 4, .count = 6 };

	space->gates[2].word = gate_word(5, 0, GATE_AGENT, GATE_DIED);
	cr_assert(is_given(5, 4, GATE_DONE));
	cr_assert(is_given(5, 4, GATE_DONE));
	cr_assert_eq(space->gates[2].word, gate_word(6, 0, 4, GATE_DIED));
	is_given(5, 3, GATE_LOST); /* and only to the same */
	cr_assert_eq(gate_close(&view, 2), GATE_WAITS);
	cr_assert(is_given(5, 4, GATE_DONE)); /* its owner is the same while it closes */
	cr_assert_eq(space->gates[2].word, gate_word(6, 0, 4, GATE_DIED | GATE_CLOSING));
	cr_assert_eq(gate_release(&view, &pass, 0), GATE_TELL);
	is_given(5, 4, GATE_LOST);
	cr_assert_eq(space->gates[2].word, gate_word(7, 0, GATE_AGENT, 0));
}

Test(gate, nothing_is_given_after_the_gate_was_closed_again)
{
	cr_assert_eq(gate_close(&view, 2), GATE_DONE);
	is_given(0, 4, GATE_LOST);
	cr_assert_eq(space->gates[2].word, gate_word(1, 0, GATE_AGENT, 0));
}

/* Another thread of the session was chosen by an agent that died before it handed over. Both would be told that the gate
 * is theirs; after gate_close() one is. */
Test(gate, who_was_chosen_before_the_closing_has_no_part_in_what_is_given_to_his_session)
{
	struct gate_place p = { .gate = 2, .slot = 7, .record = 8 };
	struct gate_pass open;

	gate_arrive(&view, &p, 1);
	gate_look(&view, &p, true);
	open = gate_agent_pass(&view, 2);
	cr_assert_eq(gate_open(&view, &open), GATE_WAKE);
	cr_assert_eq(gate_close(&view, 2), GATE_DONE);
	is_given(1, 7, GATE_DONE);
	cr_assert_eq(gate_look(&view, &p, true), GATE_SLEEP);
	cr_assert_eq(space->gates[2].word, gate_word(2, 8, 7, 0));
}

Test(gate, who_declines_leaves_line_and_death_to_the_agent)
{
	uint32_t count;
	bool died;

	space->gates[1].word = gate_word(10, 0, 0, GATE_DIED);
	cr_assert(gate_take(&space->gates[1], 3, &count, &died));
	struct gate_place p = comes(4);
	cr_assert_eq(gate_decline(&view, 1, 3, 11), GATE_TELL);
	cr_assert_eq(word(), gate_word(12, 4, GATE_AGENT, GATE_DIED));
	struct gate_pass open = gate_agent_pass(&view, 1);
	cr_assert_eq(gate_open(&view, &open), GATE_WAKE);
	cr_assert_eq(gate_open(&view, &open), GATE_DONE);
	is_mine(&p, 13);
	cr_assert(p.died);
}

Test(gate, declining_is_for_the_owner_and_his_count_only)
{
	take(3);
	cr_assert_eq(gate_decline(&view, 1, 4, 11), GATE_LOST);
	cr_assert_eq(gate_decline(&view, 1, 3, 10), GATE_LOST);
	cr_assert_eq(gate_decline(&view, 9, 3, 11), GATE_LOST);
	cr_assert_eq(word(), gate_word(11, 0, 3, 0));
}

Test(gate, declining_a_closing_gate_gives_it_to_the_agent)
{
	take(3);
	cr_assert_eq(gate_close(&view, 1), GATE_WAITS);
	cr_assert_eq(gate_decline(&view, 1, 3, 11), GATE_TELL);
	cr_assert_eq(word(), gate_word(12, 0, GATE_AGENT, 0));
	cr_assert_eq(gate_decline(&view, 1, 3, 11), GATE_LOST);
}

/* ---- nonsense ---- */

static void release_meets_nonsense(void)
{
	struct gate_pass pass = gate_space_pass(1, 11);

	cr_assert_eq(gate_release(&view, &pass, 0), GATE_TELL);
	cr_assert(pass.corrupt);
	cr_assert_eq(gate_owner(word()), GATE_AGENT);
	pass = gate_agent_pass(&view, 1);
	cr_assert_eq(gate_open(&view, &pass), GATE_CORRUPT);
}

static void line_of_three(void)
{
	setup();
	take(1);
	comes(2);
	comes(3);
	comes(4);
	space->gates[1].head = 0;
}

Test(gate, a_line_that_makes_no_sense_is_left_to_the_agent)
{
	line_of_three();
	space->records[3].older = 9; /* no such record */
	release_meets_nonsense();

	line_of_three();
	space->records[2].older = 4; /* a circle */
	release_meets_nonsense();

	line_of_three();
	space->gates[1].word = gate_word(11, 900, 1, 0);
	release_meets_nonsense();

	line_of_three();
	space->records[2].state = 0; /* free, and in the line */
	release_meets_nonsense();

	line_of_three();
	space->slots[2] = 0; /* nobody's record */
	release_meets_nonsense();
	space->slots[2] = GATE_AGENT;
	struct gate_pass pass = gate_agent_pass(&view, 1);
	cr_assert_eq(gate_open(&view, &pass), GATE_CORRUPT);
}

Test(gate, who_arrives_over_nonsense_becomes_the_end_of_the_line)
{
	space->gates[1].word = gate_word(11, 900, 1, 0);
	comes(2);
	hands(1, 11, 2);
}

Test(gate, a_record_that_was_written_over_is_pushed_again)
{
	take(1);
	struct gate_place p2 = comes(2);

	space->records[2].state = 0;
	cr_assert_eq(gate_look(&view, &p2, true), GATE_ARRIVE);
	p2.gate = 9;
	cr_assert_eq(gate_arrive(&view, &p2, 1), GATE_LOST);
}
