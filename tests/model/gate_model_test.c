/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_model: every interleaving of the gate's steps, operation by operation, within bounds: one owner at a time, counts
 * rise, first come first served, nobody waits for nobody, whatever is killed, stopped, cancelled, closed or lapsed.
 * And that it would be seen: each planted mistake is found. Memory is sequentially consistent here.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/base.h"
#include "explore.h"

#define MOST (1u << 24)

static void holds(const char *name, struct world_bounds bounds)
{
	struct explored e = explore(&bounds, MOST, stderr);

	cr_assert_null(e.wrong, "%s: %s", name, e.wrong);
	cr_assert(e.whole, "%s: more than %u states", name, MOST);
	cr_assert_gt(e.ends, 0);
	printf("gate_model: %-52s %9lu states %9lu moves\n", name, (unsigned long)e.states, (unsigned long)e.moves);
}

/* make model-long: what takes many seconds, and gigabytes. */
static bool at_length(void) { return getenv("MODEL_LONG") != NULL; }

Test(gate_model, two_sessions_three_turns_each)
{
	holds("2 sessions, 3 turns each", (struct world_bounds){ .sessions = 2, .rounds = { 0, 3, 3 } });
}

Test(gate_model, two_sessions_that_leave_with_one_killed_and_one_stopped)
{
	holds("2 sessions, 2 turns, cancelling, a kill, a stop",
	      (struct world_bounds){ .sessions = 2, .rounds = { 0, 2, 2 }, .cancels = 6, .kills = 1, .stops = 1 });
}

Test(gate_model, closing)
{
	holds("2 sessions, 2 and 1 turns, closed and opened again",
	      (struct world_bounds){ .sessions = 2, .rounds = { 0, 2, 1 }, .closes = 1 });
}

Test(gate_model, closing_with_a_death_and_with_those_who_leave_and_come_back)
{
	holds("2 sessions, one asleep may cancel and come again, closed, a kill",
	      (struct world_bounds){ .sessions = 2, .rounds = { 0, 2, 1 }, .asleep = 1, .cancels = 2, .closes = 1, .kills = 1 });
}

Test(gate_model, closing_with_a_death_and_the_death_of_the_agent)
{
	holds("2 sessions, closed, a kill, the agent killed",
	      (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .closes = 1, .kills = 1, .agent_kills = 1 });
}

Test(gate_model, a_lapse_with_a_death)
{
	holds("2 sessions, the lease lapses, a kill",
	      (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .lapses = 1, .kills = 1 });
}

Test(gate_model, a_lapse_with_the_death_of_the_agent)
{
	holds("2 sessions, one asleep, the lease lapses, the agent killed",
	      (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .asleep = 1, .lapses = 1, .agent_kills = 1 });
	if (at_length())
		holds("2 sessions, the lease lapses, the agent killed",
		      (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .lapses = 1, .agent_kills = 1 });
}

Test(gate_model, a_lapse_with_one_who_leaves)
{
	holds("2 sessions, cancelling, the lease lapses",
	      (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .cancels = 6, .lapses = 1 });
}

Test(gate_model, three_sessions)
{
	holds("3 sessions", (struct world_bounds){ .sessions = 3, .rounds = { 0, 1, 1, 1 } });
}

Test(gate_model, three_sessions_with_one_stopped_and_one_that_leaves)
{
	holds("3 sessions, one may cancel, a stop",
	      (struct world_bounds){ .sessions = 3, .rounds = { 0, 1, 1, 1 }, .cancels = 4, .stops = 1 });
}

Test(gate_model, three_sessions_with_two_asleep_and_a_death)
{
	holds("3 sessions, two asleep, both may cancel, a kill, agent killed",
	      (struct world_bounds){ .sessions = 3, .rounds = { 0, 1, 1, 1 }, .asleep = 2, .cancels = 6, .kills = 1, .agent_kills = 1 });
}

Test(gate_model, three_sessions_with_one_asleep_and_two_deaths)
{
	holds("3 sessions, one asleep, two kills",
	      (struct world_bounds){ .sessions = 3, .rounds = { 0, 1, 1, 1 }, .asleep = 1, .kills = 2 });
}

Test(gate_model, four_sessions_with_three_asleep)
{
	holds("4 sessions, three asleep, two may cancel, a kill",
	      (struct world_bounds){ .sessions = 4, .rounds = { 0, 1, 1, 1, 1 }, .asleep = 3, .cancels = 6, .kills = 1 });
}

/* ---- two threads of one session ---- */

Test(gate_model, two_threads_of_one_session_with_one_who_leaves)
{
	holds("2 threads of a session, one may cancel, closed",
	      (struct world_bounds){ .sessions = 2, .twins = 1, .rounds = { 0, 1, 1 }, .cancels = 2, .closes = 1 });
}

Test(gate_model, two_threads_of_one_session_and_a_lapse)
{
	holds("2 threads of a session, one asleep, the lease lapses",
	      (struct world_bounds){ .sessions = 2, .twins = 1, .rounds = { 0, 1, 1 }, .asleep = 1, .lapses = 1 });
	if (at_length())
		holds("2 threads of a session, the lease lapses",
		      (struct world_bounds){ .sessions = 2, .twins = 1, .rounds = { 0, 1, 1 }, .lapses = 1 });
}

Test(gate_model, two_threads_of_one_session_beside_another)
{
	holds("2 threads of a session and another",
	      (struct world_bounds){ .sessions = 3, .twins = 1, .rounds = { 0, 1, 1, 1 } });
}

/* ---- given by the agent, declined to the agent ---- */

/* Whoever takes over cannot know whether the gate was given already, and says it again: one owner, and he hears of it. */
Test(gate_model, given_by_the_agent_which_dies)
{
	holds("2 sessions, one asks the agent, which is killed twice",
	      (struct world_bounds){ .sessions = 2, .rounds = { 0, 2, 1 }, .asks = 4, .agent_kills = 2 });
}

Test(gate_model, given_by_the_agent_which_dies_and_to_one_who_dies)
{
	holds("2 sessions, one asks, a kill, the agent killed",
	      (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .asks = 4, .kills = 1, .agent_kills = 1 });
}

Test(gate_model, given_while_others_come_and_leave)
{
	holds("3 sessions, one asks, one asleep, two may cancel, a kill, agent killed",
	      (struct world_bounds){ .sessions = 3, .rounds = { 0, 1, 1, 1 }, .asks = 4, .asleep = 1, .cancels = 6, .kills = 1, .agent_kills = 1 });
}

Test(gate_model, given_and_closed)
{
	holds("2 sessions, one asks and may give up, closed, agent killed",
	      (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .asks = 4, .cancels = 4, .closes = 1, .agent_kills = 1 });
}

Test(gate_model, declined_because_the_lease_has_lapsed)
{
	holds("2 sessions, one asks, the lease lapses, a kill",
	      (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .asks = 4, .lapses = 1, .kills = 1 });
}

Test(gate_model, declined_because_the_gate_serves_another_key)
{
	holds("2 sessions, closed and given to another key, a kill",
	      (struct world_bounds){ .sessions = 2, .rounds = { 0, 2, 1 }, .asks = 4, .closes = 1, .rekeys = 1, .kills = 1 });
}

/* ---- planted mistakes ---- */

static void is_found(const char *name, struct world_bounds bounds)
{
	struct explored e = explore(&bounds, MOST, NULL);

	cr_assert_not_null(e.wrong, "%s: not found", name);
	printf("gate_model: planted: %-43s after %7lu states: %s\n", name, (unsigned long)e.states, e.wrong);
	bounds.mutant = MUTANT_NONE;
	/* And the same world without it is fine, as far as it was looked at. */
	e = explore(&bounds, MIN(e.states * 4 + 1000, (uint64_t)MOST), stderr);
	cr_assert_null(e.wrong, "%s", e.wrong);
}

Test(gate_model, planted_no_helping)
{
	is_found("no helping",
		 (struct world_bounds){ .sessions = 2, .rounds = { 0, 2, 1 }, .stops = 1, .mutant = MUTANT_NO_HELP });
}

Test(gate_model, planted_wake_after_the_swap)
{
	is_found("wake after the swap", (struct world_bounds){ .sessions = 2, .rounds = { 0, 2, 1 }, .stops = 1, .mutant = MUTANT_LATE_WAKE });
}

Test(gate_model, planted_sweep_before_records)
{
	is_found("sweep before records",
		 (struct world_bounds){ .sessions = 2, .rounds = { 0, 2, 1 }, .kills = 1, .mutant = MUTANT_SWEEP_FIRST });
}

Test(gate_model, planted_no_second_look)
{
	is_found("no second look while choosing",
		 (struct world_bounds){ .sessions = 2, .rounds = { 0, 2, 2 }, .lapses = 1, .mutant = MUTANT_ONE_LOOK });
}

Test(gate_model, planted_lapsed_gate_before_its_record)
{
	is_found("a lapsed gate before its record",
		 (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .lapses = 1, .agent_kills = 1, .mutant = MUTANT_LAPSE_LATE });
}

/* A thread sleeps between its look at the lease and the swap: only the look after the swap counts. */
Test(gate_model, planted_lease_looked_at_before_the_swap)
{
	is_found("the lease looked at before the swap",
		 (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .lapses = 1, .mutant = MUTANT_EARLY_CHECK });
}

Test(gate_model, planted_terms_of_a_later_opening)
{
	is_found("terms of a later opening",
		 (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .lapses = 1, .mutant = MUTANT_NO_HOLDS });
}

Test(gate_model, planted_choice_that_outlives_the_closing)
{
	is_found("a choice that outlives the closing",
		 (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .closes = 2, .agent_kills = 1, .mutant = MUTANT_NO_VOID });
}

/* A clean release races with the taking back: the release is proposed when the gate is closed and drained, not sooner. */
Test(gate_model, planted_release_of_a_gate_that_is_not_drained)
{
	is_found("released before it is drained",
		 (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .closes = 1, .mutant = MUTANT_UNDRAINED });
}

/* Closed for release by one agent, opened by the next: the release, chosen later, would end what is then in use. */
Test(gate_model, planted_gate_opened_after_its_release_was_proposed)
{
	is_found("opened after its release was proposed",
		 (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .closes = 1, .agent_kills = 1, .mutant = MUTANT_REOPEN });
}

/* A session is stopped inside the gate's steps: the agent's call ends all the same. */
Test(gate_model, planted_agent_that_waits_for_the_owner)
{
	is_found("the agent waits for the owner",
		 (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .closes = 1, .stops = 1, .mutant = MUTANT_CLOSE_HANGS });
}

Test(gate_model, planted_given_gate_that_counts_as_lost)
{
	is_found("given before counts as lost",
		 (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .asks = 4, .agent_kills = 1, .mutant = MUTANT_GIVE_ONCE });
}

Test(gate_model, planted_giving_at_any_count)
{
	is_found("given at any count",
		 (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .asks = 4, .closes = 1, .agent_kills = 1, .mutant = MUTANT_GIVE_ALWAYS });
}

Test(gate_model, planted_giving_to_one_who_was_swept)
{
	is_found("given to one who was swept",
		 (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .asks = 4, .kills = 1, .agent_kills = 1, .mutant = MUTANT_GIVE_DEAD });
}

Test(gate_model, planted_death_forgotten_by_who_declines)
{
	is_found("who declines forgets the death",
		 (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 2 }, .asks = 4, .cancels = 4, .kills = 1, .mutant = MUTANT_FORGET_DIED });
}

Test(gate_model, planted_death_forgotten_with_a_grant_that_came_too_late)
{
	is_found("a grant that came too late is released",
		 (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 2 }, .asks = 4, .cancels = 4, .kills = 1, .mutant = MUTANT_LATE_FREES });
}

/* Marked by one who dies before he takes it out; then the agent raises the count three times: sweep, close, begin. */
Test(gate_model, planted_return_two_counts_after_the_marking)
{
	is_found("who is gone comes back two counts later",
		 (struct world_bounds){ .sessions = 2, .rounds = { 0, 2, 1 }, .asleep = 1, .cancels = 2, .closes = 1, .kills = 1, .mutant = MUTANT_GONE_SOON });
}

Test(gate_model, planted_death_told_to_the_first_of_the_next_key)
{
	is_found("a delegation begins with an older death",
		 (struct world_bounds){ .sessions = 2, .rounds = { 0, 2, 1 }, .closes = 1, .rekeys = 1, .kills = 1, .mutant = MUTANT_KEEP_DIED });
}

Test(gate_model, planted_gate_of_another_key)
{
	is_found("the gate serves another key",
		 (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .closes = 1, .rekeys = 1, .mutant = MUTANT_NO_SERIAL });
}

Test(gate_model, planted_watch_that_goes_on_behind_another)
{
	is_found("handed over by the word above a line",
		 (struct world_bounds){ .sessions = 3, .rounds = { 0, 1, 1, 1 }, .mutant = MUTANT_WATCH_ON });
}

Test(gate_model, planted_watch_of_a_dead_session)
{
	is_found("handed over by the word to the dead",
		 (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .kills = 1, .mutant = MUTANT_BURY_WATCH });
}

Test(gate_model, planted_watch_of_a_lapsed_acquisition)
{
	is_found("handed over by the word, and lapsed unseen",
		 (struct world_bounds){ .sessions = 2, .rounds = { 0, 1, 1 }, .lapses = 1, .mutant = MUTANT_LAPSE_WATCH });
}

Test(gate_model, planted_watch_that_takes_what_is_another_threads)
{
	is_found("another thread's acquisition taken for one's own",
		 (struct world_bounds){ .sessions = 2, .twins = 1, .rounds = { 0, 2, 1 }, .cancels = 6, .closes = 1, .mutant = MUTANT_WATCH_LOW });
}

/* ---- one story, which takes four sessions ---- */

static void steps_until(uint8_t actor, bool (*reached)(void))
{
	for (unsigned i = 0; i < 100 && !reached(); i++)
		world_make((struct world_move){ .actor = actor });
	cr_assert(reached());
}

static uint32_t top(void) { return gate_top(world.gates[1].word); }
static enum gate_state state_of(unsigned record) { return gate_record_state(world.records[record].state); }

static bool first_has_left(void) { return state_of(1) == GATE_RECORD_CANCELLED; }
static bool second_is_about_to_swap(void) { return world.records[2].older != 0; }
static bool third_stands_above(void) { return top() == 3; }
static bool first_is_pruned(void) { return state_of(1) == GATE_RECORD_OUT || state_of(1) == GATE_RECORD_FREE; }

static const char *to_the_end(void)
{
	struct world_move moves[WORLD_MOVES];

	for (unsigned i = 0, n; i < 10000 && (n = world_moves(moves)) != 0; i++) {
		unsigned at = i % n;
		world_make(moves[at]);
		if (world_wrong())
			return world_wrong();
	}
	return world_wrong_end();
}

/* A record is used again while an old line still points to it. The second has read that the first is on top; the third comes, the first leaves, is pruned, and comes again: the
 * word is what the second has read, but the first is not who it was. */
static const char *story_of_one_who_comes_again(enum world_mutant mutant)
{
	struct world_bounds bounds = { .sessions = 4, .rounds = { 0, 2, 1, 1, 1 }, .asleep = 1, .mutant = mutant };

	world_begin(&bounds);
	world_leave(1);
	steps_until(1, first_has_left);
	steps_until(2, second_is_about_to_swap);
	steps_until(3, third_stands_above);
	steps_until(4, first_is_pruned);
	for (unsigned i = 0; i < 30 && top() != 1 && world_may_step(1); i++)
		world_make((struct world_move){ .actor = 1 });
	cr_assert_eq(top() == 1, mutant == MUTANT_AT_ONCE);
	world_make((struct world_move){ .actor = 2 });
	return to_the_end();
}

Test(gate_model, a_pruned_record_waits_until_the_count_has_moved)
{
	const char *wrong = story_of_one_who_comes_again(MUTANT_NONE);

	cr_assert_null(wrong, "%s", wrong);
	cr_assert_not_null(story_of_one_who_comes_again(MUTANT_AT_ONCE));
}
