/* SPDX-License-Identifier: Apache-2.0 */
/* gate_repair: after a death, a lapse or nonsense the line goes on; whatever is done twice is as good as done once. */
#include "../../shm/gate_repair.h"

#include <criterion/criterion.h>

#include "gate_space.h"

static struct gate_space *space;
static struct gate_view view;

static void setup(void)
{
	space = gate_space_new();
	view = gate_space_view(space);
}

TestSuite(gate_repair, .init = setup);

static uint64_t word(void) { return space->gates[1].word; }
static enum gate_state state_of(unsigned record) { return gate_record_state(space->records[record].state); }

static uint32_t take(uint32_t slot)
{
	uint32_t count;
	bool died;

	cr_assert(gate_take(&space->gates[1], slot, &count, &died));
	return count;
}

static struct gate_place comes(uint32_t slot)
{
	struct gate_place p = gate_space_place(slot);

	cr_assert_eq(gate_arrive(&view, &p, 1), GATE_WAITS);
	cr_assert_eq(gate_look(&view, &p, true), GATE_SLEEP);
	return p;
}

/* (slot, count) chooses whoever waits longest and is stopped before the swap. */
static void chooses(uint32_t slot, uint32_t count)
{
	struct gate_pass pass = gate_space_pass(slot, count);

	cr_assert_eq(gate_release(&view, &pass, 0), GATE_WAKE);
}

static void open_to(uint32_t record)
{
	struct gate_pass open = gate_agent_pass(&view, 1);
	enum gate_next next = gate_open(&view, &open);

	cr_assert_eq(next, record ? GATE_WAKE : GATE_DONE);
	cr_assert_eq(open.record, record);
	if (record)
		cr_assert_eq(gate_open(&view, &open), GATE_DONE);
}

static uint32_t sweep(uint32_t slot)
{
	uint32_t at = 1;

	return gate_sweep(&view, slot, GATE_DIED, &at, 2);
}

/* ---- deaths ---- */

Test(gate_repair, a_dead_owners_gate_is_handed_on_and_the_next_is_told)
{
	uint32_t gate = 0;

	take(1);
	struct gate_place p2 = comes(2);
	cr_assert_eq(gate_bury(&view, 1, 1, &gate), GATE_DONE);
	cr_assert_eq(sweep(1), 1);
	cr_assert_eq(word(), gate_word(12, 2, GATE_AGENT, GATE_DIED));
	cr_assert_eq(sweep(1), 0);
	open_to(2);
	cr_assert_eq(gate_look(&view, &p2, true), GATE_MINE);
	cr_assert(p2.died);
	cr_assert_eq(p2.count, 13);
}

/* Its record is out of the line, or in it; either way nobody is handed anything by the word. */
Test(gate_repair, who_died_watching_is_handed_nothing)
{
	struct gate_place p = gate_space_place(2);
	uint32_t gate = 0;

	take(1);
	cr_assert_eq(gate_arrive(&view, &p, 1), GATE_WAITS);
	cr_assert_eq(gate_bury(&view, 2, 2, &gate), GATE_DONE);
	cr_assert_not(gate_hand(&view, &space->gates[1], 1, 11));
	cr_assert_eq(word(), gate_word(11, 2, 1, 0));

	setup();
	take(1);
	cr_assert_eq(gate_arrive(&view, &p, 1), GATE_WAITS);
	cr_assert(gate_hand(&view, &space->gates[1], 1, 11));
	cr_assert_eq(gate_bury(&view, 2, 2, &gate), GATE_DONE);
	cr_assert_eq(sweep(2), 1);
	cr_assert_eq(word(), gate_word(13, 0, GATE_AGENT, GATE_DIED));
	cr_assert_eq(gate_forget(&view, 2), GATE_DONE);
}

/* He cannot tell from the word alone, when others have had the gate since. */
Test(gate_repair, who_was_handed_the_gate_by_the_word_learns_that_it_has_lapsed)
{
	struct gate_place p = gate_space_place(2);
	uint32_t owner, count;

	take(1);
	cr_assert_eq(gate_arrive(&view, &p, 1), GATE_WAITS);
	cr_assert(gate_hand(&view, &space->gates[1], 1, 11));
	cr_assert(gate_lapsing(&view, 1, &owner, &count));
	cr_assert_eq(gate_lapse_record(&view, 2, 1, count), GATE_WAKE);
	cr_assert_eq(gate_lapse(&view, 1, owner, count), GATE_DONE);
	struct gate_place p3 = gate_space_place(3);
	cr_assert_eq(gate_arrive(&view, &p3, 1), GATE_TELL);
	cr_assert_eq(gate_look(&view, &p, true), GATE_ARRIVE);
}

/* The mark of a lapse that was not his takes nobody out of the line. */
Test(gate_repair, who_watches_while_his_session_lapses_stays_in_the_line)
{
	struct gate_place p = gate_space_place(2);

	space->slots[2] = 1;
	p.slot = 1;
	take(1);
	cr_assert_eq(gate_arrive(&view, &p, 1), GATE_WAITS);
	cr_assert_eq(gate_lapse_record(&view, 2, 1, 11), GATE_WAKE);
	cr_assert_eq(gate_lapse(&view, 1, 1, 11), GATE_DONE);
	cr_assert_eq(gate_look(&view, &p, true), GATE_AGAIN);
	cr_assert_eq(gate_look(&view, &p, true), GATE_SLEEP);
	open_to(2);
	cr_assert_eq(gate_look(&view, &p, true), GATE_MINE);
}

Test(gate_repair, the_sweep_takes_bites_and_looks_at_every_gate)
{
	uint32_t at = 1;

	take(1);
	space->gates[2].word = gate_word(4, 0, 1, GATE_CLOSING);
	cr_assert_eq(gate_sweep(&view, 1, GATE_DIED, &at, 1), 1);
	cr_assert_eq(at, 2);
	cr_assert_eq(gate_sweep(&view, 1, GATE_DIED, &at, 9), 2);
	cr_assert_eq(space->gates[2].word, gate_word(5, 0, GATE_AGENT, GATE_DIED));
	cr_assert_eq(gate_sweep(&view, 1, GATE_DIED, &at, 9), 0);
	cr_assert_eq(at, 3);
}

Test(gate_repair, who_ends_in_order_leaves_his_gate_and_no_death)
{
	uint32_t at = 1;

	take(1);
	struct gate_place p2 = comes(2);
	cr_assert_eq(gate_sweep(&view, 1, 0, &at, 2), 1);
	cr_assert_eq(word(), gate_word(12, 2, GATE_AGENT, 0));
	open_to(2);
	cr_assert_eq(gate_look(&view, &p2, true), GATE_MINE);
	cr_assert_not(p2.died);
}

/* The grant may have come too late for whoever wanted it: so the next one hears of the death. */
Test(gate_repair, who_ends_in_order_without_a_release_takes_no_news_with_him)
{
	uint32_t at = 1;

	take(1);
	space->gates[1].word |= GATE_DIED;
	struct gate_place p2 = comes(2);
	cr_assert_eq(gate_sweep(&view, 1, 0, &at, 2), 1);
	open_to(2);
	cr_assert_eq(gate_look(&view, &p2, true), GATE_MINE);
	cr_assert(p2.died);
}

Test(gate_repair, a_dead_waiter_is_passed_over_and_then_forgotten)
{
	struct gate_pass pass = gate_space_pass(1, 11);
	uint32_t gate = 0;

	take(1);
	comes(2);
	comes(3);
	cr_assert_eq(gate_forget(&view, 2), GATE_WAITS); /* not buried */
	cr_assert_eq(gate_bury(&view, 2, 2, &gate), GATE_DONE);
	cr_assert_eq(gate_bury(&view, 2, 2, &gate), GATE_DONE);
	cr_assert_eq(state_of(2), GATE_RECORD_GONE);
	cr_assert_eq(gate_forget(&view, 2), GATE_WAITS); /* in the line */
	cr_assert_eq(gate_release(&view, &pass, 0), GATE_WAKE);
	cr_assert_eq(pass.record, 3);
	cr_assert_eq(gate_forget(&view, 2), GATE_DONE);
}

Test(gate_repair, who_died_before_he_was_pushed_is_forgotten_at_once)
{
	uint32_t gate = 0;

	take(1);
	comes(3);
	space->records[2] = (struct gate_record){ .state = (uint64_t)GATE_RECORD_WAIT << 32, .gate = 1 };
	cr_assert_eq(gate_bury(&view, 2, 2, &gate), GATE_DONE);
	cr_assert_eq(gate_forget(&view, 2), GATE_DONE);
	cr_assert_eq(state_of(2), GATE_RECORD_FREE);
}

Test(gate_repair, who_dies_when_chosen_gives_the_gate_to_the_agent)
{
	uint32_t gate = 0;

	take(1);
	comes(2);
	struct gate_place p3 = comes(3);
	chooses(1, 11);
	cr_assert_eq(gate_bury(&view, 2, 2, &gate), GATE_TELL);
	cr_assert_eq(gate, 1);
	cr_assert_eq(word(), gate_word(12, 3, GATE_AGENT, 0));
	cr_assert_eq(gate_bury(&view, 2, 2, &gate), GATE_DONE);
	open_to(3);
	cr_assert_eq(gate_look(&view, &p3, true), GATE_MINE);
	cr_assert_not(p3.died); /* whoever died had not been inside */
}

Test(gate_repair, who_dies_before_he_took_up_his_grant_leaves_the_line_first)
{
	struct gate_pass pass = gate_space_pass(1, 11);
	uint32_t gate = 0;

	take(1);
	comes(2);
	comes(3);
	cr_assert_eq(gate_release(&view, &pass, 0), GATE_WAKE);
	cr_assert_eq(gate_release(&view, &pass, 0), GATE_DONE);
	cr_assert_eq(gate_bury(&view, 2, 2, &gate), GATE_DONE);
	cr_assert_eq(state_of(2), GATE_RECORD_FREE);
	cr_assert_eq(sweep(2), 1);
	open_to(3);
}

Test(gate_repair, whom_a_dead_releaser_chose_is_woken)
{
	uint32_t bell;

	take(1);
	comes(2);
	cr_assert_not(gate_rouse(&view, 2));
	chooses(1, 11);
	bell = space->records[2].bell;
	cr_assert(gate_rouse(&view, 2));
	cr_assert_eq(space->records[2].bell, bell + 1);
}

Test(gate_repair, burying_makes_nothing_of_nonsense)
{
	uint32_t gate = 0;

	space->records[2].gate = 77;
	space->records[2].state = (uint64_t)GATE_RECORD_CHOSEN << 32 | 11;
	cr_assert_eq(gate_bury(&view, 2, 2, &gate), GATE_DONE);
	cr_assert_eq(state_of(2), GATE_RECORD_GONE);
	cr_assert_eq(gate_forget(&view, 2), GATE_DONE);
	space->records[3].state = (uint64_t)15 << 32; /* no such state */
	cr_assert_eq(gate_bury(&view, 3, 3, &gate), GATE_DONE);
}

/* ---- lapses ---- */

Test(gate_repair, a_lapsed_owner_owns_nothing)
{
	uint32_t owner, count;
	struct gate_pass pass = gate_space_pass(1, 11);

	take(1);
	cr_assert(gate_lapsing(&view, 1, &owner, &count));
	cr_assert_eq(owner, 1);
	cr_assert_eq(count, 11);
	cr_assert_eq(gate_lapse_record(&view, 1, 1, 11), GATE_DONE);
	cr_assert_eq(gate_lapse(&view, 1, owner, count), GATE_DONE);
	cr_assert_eq(word(), gate_word(12, 0, GATE_AGENT, GATE_DIED));
	cr_assert_eq(gate_release(&view, &pass, 0), GATE_LOST);
	cr_assert_eq(gate_lapse(&view, 1, owner, count), GATE_AGAIN);
	cr_assert_not(gate_lapsing(&view, 1, &owner, &count));
}

Test(gate_repair, a_free_gate_lapses_too_and_nobody_died)
{
	cr_assert_eq(gate_lapse(&view, 1, 0, 10), GATE_DONE);
	cr_assert_eq(word(), gate_word(11, 0, GATE_AGENT, 0));
}

Test(gate_repair, a_lapsed_grant_is_waited_for_again)
{
	struct gate_pass pass = gate_space_pass(1, 11);

	take(1);
	struct gate_place p2 = comes(2);
	gate_release(&view, &pass, 0);
	gate_release(&view, &pass, 0);
	cr_assert_eq(gate_lapse_record(&view, 2, 1, 12), GATE_WAKE);
	cr_assert_eq(gate_lapse_record(&view, 2, 1, 12), GATE_WAKE); /* by another agent: it may not have been woken */
	cr_assert_eq(gate_lapse(&view, 1, 2, 12), GATE_DONE);
	cr_assert_eq(gate_look(&view, &p2, true), GATE_ARRIVE);
	cr_assert_eq(gate_arrive(&view, &p2, 1), GATE_TELL);
	cr_assert_eq(gate_look(&view, &p2, true), GATE_SLEEP);
	open_to(2);
	cr_assert_eq(gate_look(&view, &p2, true), GATE_MINE);
}

Test(gate_repair, who_waits_goes_on_waiting_through_a_lapse)
{
	take(1);
	struct gate_place p2 = comes(2);

	cr_assert_eq(gate_lapse_record(&view, 2, 1, 11), GATE_DONE);
	cr_assert_eq(gate_lapse(&view, 1, 1, 11), GATE_DONE);
	open_to(2);
	cr_assert_eq(gate_look(&view, &p2, true), GATE_MINE);
}

Test(gate_repair, a_lapse_voids_an_older_choice_of_the_agent)
{
	take(1);
	struct gate_place p2 = comes(2);
	struct gate_pass open;

	sweep(1);
	open = gate_agent_pass(&view, 1);
	cr_assert_eq(gate_open(&view, &open), GATE_WAKE);
	cr_assert_eq(gate_lapse(&view, 1, GATE_AGENT, 12), GATE_DONE);
	cr_assert_eq(gate_look(&view, &p2, true), GATE_SLEEP);
	cr_assert_eq(gate_owner(word()), GATE_AGENT);
}

/* ---- mending ---- */

Test(gate_repair, mending_sends_everybody_to_the_end_of_a_new_line)
{
	uint32_t count = 0;

	take(1);
	struct gate_place p2 = comes(2), p3 = comes(3), p4 = comes(4);
	cr_assert_eq(gate_cancel(&view, &p4), GATE_LEFT);
	cr_assert_eq(gate_mend(&view, 1, &count), GATE_LOST); /* not the agent's */
	sweep(1);
	space->records[2].older = 3;
	cr_assert_eq(gate_mend(&view, 1, &count), GATE_DONE);
	cr_assert_eq(count, 13);
	cr_assert_eq(word(), gate_word(13, 0, GATE_AGENT, GATE_DIED));

	/* One comes while the records are gone through: it stands in the new line already. */
	struct gate_place p5 = gate_space_place(5);
	cr_assert_eq(gate_arrive(&view, &p5, 1), GATE_TELL);
	for (uint32_t i = 1; i <= GATE_SPACE_RECORDS; i++)
		cr_assert_eq(gate_mend_record(&view, i, 1, count), i >= 2 && i <= 5 ? GATE_WAKE : GATE_DONE);
	cr_assert_eq(gate_look(&view, &p5, true), GATE_AGAIN);
	cr_assert_eq(gate_look(&view, &p5, true), GATE_SLEEP);

	cr_assert_eq(gate_look(&view, &p3, true), GATE_ARRIVE);
	cr_assert_eq(gate_arrive(&view, &p3, 1), GATE_TELL);
	cr_assert_eq(gate_cancel(&view, &p2), GATE_LEFT);
	cr_assert_eq(state_of(2), GATE_RECORD_FREE);
	p4 = gate_space_place(4);
	cr_assert_eq(gate_arrive(&view, &p4, 1), GATE_TELL);
	open_to(5);
	cr_assert_eq(gate_look(&view, &p5, true), GATE_MINE);
}

Test(gate_repair, one_marked_in_the_new_line_is_chosen_all_the_same)
{
	uint32_t count = 0;

	sweep(1);
	space->gates[1].word = gate_word(10, 0, GATE_AGENT, 0);
	cr_assert_eq(gate_mend(&view, 1, &count), GATE_DONE);
	struct gate_place p5 = gate_space_place(5);
	cr_assert_eq(gate_arrive(&view, &p5, 1), GATE_TELL);
	cr_assert_eq(gate_mend_record(&view, 5, 1, count), GATE_WAKE);
	open_to(5);
	cr_assert_eq(gate_look(&view, &p5, true), GATE_MINE);
}
