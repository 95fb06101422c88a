/* SPDX-License-Identifier: Apache-2.0 */
/* The judge of critical sections: says nothing of honest owners, dead ones among them, and finds each planted fault. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "witness.h"

TestSuite(witness, .timeout = 60);

#define LIVES 64
#define TOLD true
#define NOT_TOLD false
#define FAULT(name) (1u << (WITNESS_##name))

static struct witness_lock lock;
static struct witness_life lives[LIVES];

/* Pid 0 is nobody's: gone. */
static void die(uint32_t life)
{
	lives[life].process = (struct process){ 0 };
	lives[life].doomed_ns = 1;
}

static void live(uint32_t life)
{
	lives[life] = (struct witness_life){ .process = process_of(getpid()) };
}

static void begin(void)
{
	memset(&lock, 0, sizeof(lock));
	for (uint32_t i = 1; i < LIVES; i++)
		live(i);
}

Test(witness, honest_owners_are_believed)
{
	uint64_t random = 1, token = 0, told = 0;

	begin();
	for (unsigned turn = 0; turn < 100000; turn++) {
		uint32_t me = 1 + (uint32_t)(random_next(&random) % (LIVES - 1)), before = lock.inside;

		if (before)
			live(me = me == before ? 1 + me % (LIVES - 1) : me);
		token += 1 + random_next(&random) % 3;
		told += before != 0;
		cr_assert_eq(witness_enter(&lock, lives, me, token, before != 0, turn + 1), 0);
		cr_assert(witness_alone(&lock, me, token));
		if (before) {
			cr_assert_eq(lives[before].followed_ns, turn + 1);
			live(before);
		}
		if (random_next(&random) % 8 == 0) { /* it stays inside for ever */
			die(me);
			lock.deaths++;
			continue;
		}
		cr_assert_eq(witness_leave(&lock, me, token), 0);
	}
	cr_assert_eq(lock.entries, 100000);
	cr_assert_eq(lock.told, told);
	cr_assert_gt(told, 1000);
	cr_assert_eq(witness_sum_up(&lock), 0);
}

Test(witness, a_second_owner_is_seen_by_both)
{
	begin();
	cr_assert_eq(witness_enter(&lock, lives, 1, 10, NOT_TOLD, 1), 0);
	cr_assert_eq(witness_enter(&lock, lives, 2, 11, NOT_TOLD, 2), FAULT(TWO_OWNERS));
	cr_assert_not(witness_alone(&lock, 1, 10));
	cr_assert_eq(witness_leave(&lock, 1, 10), FAULT(TWO_OWNERS));
	cr_assert_eq(witness_leave(&lock, 2, 11), 0);
}

Test(witness, a_second_owner_that_came_and_went_is_seen)
{
	begin();
	cr_assert_eq(witness_enter(&lock, lives, 1, 10, NOT_TOLD, 1), 0);
	cr_assert_eq(witness_enter(&lock, lives, 2, 11, NOT_TOLD, 2), FAULT(TWO_OWNERS));
	cr_assert_eq(witness_leave(&lock, 2, 11), 0);
	cr_assert_eq(witness_leave(&lock, 1, 10), FAULT(TWO_OWNERS));
	lock.inside = 1; /* nor does its mark hide a token that is not its own */
	cr_assert_eq(witness_leave(&lock, 1, 10), FAULT(TWO_OWNERS));
}

Test(witness, that_the_owner_died_is_no_excuse_while_it_lives)
{
	begin();
	cr_assert_eq(witness_enter(&lock, lives, 1, 10, NOT_TOLD, 1), 0);
	cr_assert_eq(witness_enter(&lock, lives, 2, 11, TOLD, 2), FAULT(TWO_OWNERS));
}

Test(witness, who_is_to_be_killed_is_the_owner_until_it_is_gone)
{
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			pause();
	begin();
	lives[1].process = process_of(pid);
	lives[1].doomed_ns = 5;
	cr_assert_not(witness_gone(&lives[1]));
	cr_assert_eq(witness_enter(&lock, lives, 1, 10, NOT_TOLD, 1), 0);
	cr_assert_eq(witness_enter(&lock, lives, 2, 11, TOLD, 2), FAULT(TWO_OWNERS));
	/* Dead, though nobody has waited for it yet. */
	kill(pid, SIGKILL);
	siginfo_t info;
	cr_assert_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	cr_assert(witness_gone(&lives[1]));
	lock.inside = 1;
	cr_assert_eq(witness_enter(&lock, lives, 2, 12, TOLD, 3), 0);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

Test(witness, who_ended_and_was_not_killed_has_left_nobody_a_lock)
{
	begin();
	cr_assert_eq(witness_enter(&lock, lives, 1, 10, NOT_TOLD, 1), 0);
	lives[1].process = (struct process){ 0 };
	cr_assert_eq(witness_enter(&lock, lives, 2, 11, TOLD, 2), FAULT(TWO_OWNERS));
}

Test(witness, the_death_of_an_owner_is_to_be_told)
{
	begin();
	cr_assert_eq(witness_enter(&lock, lives, 1, 10, NOT_TOLD, 1), 0);
	die(1);
	cr_assert_eq(witness_enter(&lock, lives, 2, 11, NOT_TOLD, 2), FAULT(NOT_TOLD));
	cr_assert_eq(lives[1].followed_ns, 0);
	cr_assert_eq(witness_leave(&lock, 2, 11), 0);
}

Test(witness, tokens_rise)
{
	begin();
	cr_assert_eq(witness_enter(&lock, lives, 1, 10, NOT_TOLD, 1), 0);
	cr_assert_eq(witness_leave(&lock, 1, 10), 0);
	cr_assert_eq(witness_enter(&lock, lives, 2, 10, NOT_TOLD, 2), FAULT(TOKEN_FELL), "the same again");
	cr_assert_eq(witness_leave(&lock, 2, 10), 0);
	cr_assert_eq(witness_enter(&lock, lives, 3, 9, NOT_TOLD, 3), FAULT(TOKEN_FELL), "a smaller one");
	cr_assert_eq(lock.token, 10, "the greatest stays");
}

Test(witness, deaths_are_told_for_cause)
{
	begin();
	cr_assert_eq(witness_enter(&lock, lives, 1, 10, TOLD, 1), 0, "it may have died between its grant and its entry");
	cr_assert_eq(witness_sum_up(&lock), FAULT(TOLD_WITHOUT_CAUSE));
	lock.deaths = 1;
	cr_assert_eq(witness_sum_up(&lock), 0);
}

Test(witness, who_waits_too_long_is_stuck)
{
	cr_assert(witness_stuck(1, 102, 100));
	cr_assert_not(witness_stuck(1, 101, 100));
	cr_assert_not(witness_stuck(0, 1000, 100), "it does not wait");
	cr_assert_not(witness_stuck(200, 199, 100), "it asked after the clock was read");
}

Test(witness, every_fault_has_a_name)
{
	for (unsigned fault = 0; fault < WITNESS_FAULTS; fault++)
		cr_assert_str_neq(witness_fault_name(fault), "?");
}
