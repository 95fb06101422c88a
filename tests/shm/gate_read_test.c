/* SPDX-License-Identifier: Apache-2.0 */
/* gate_read: what is told of a gate was so at some instant, also while others take it, hand it on and leave. */
#include "../../shm/gate_read.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "gate_space.h"

static struct gate_space *space;
static struct gate_view view;
static struct gate_shown shown;
static struct gate_sleeper sleepers[GATE_SPACE_RECORDS];

static void setup(void)
{
	space = gate_space_new();
	view = gate_space_view(space);
	space->terms[1] = (struct gate_terms){ .delegation = 5, .base = 100, .opened_at = 10, .range = 1000, .serial = 3, .revoked = 2 };
}

TestSuite(gate_read, .init = setup, .timeout = 60);

static struct gate_place join(uint32_t slot, uint64_t since_ns)
{
	struct gate_place p = gate_space_place(slot);

	cr_assert_eq(gate_arrive(&view, &p, since_ns), GATE_WAITS);
	return p;
}

static uint32_t take(uint32_t slot)
{
	uint32_t count = 0;
	bool died;

	cr_assert(gate_take(&space->gates[1], slot, &count, &died));
	return count;
}

static void release(uint32_t slot, uint32_t count)
{
	struct gate_pass p = gate_space_pass(slot, count);
	enum gate_next next;

	do
		next = gate_release(&view, &p, 0);
	while (next == GATE_WAKE || next == GATE_AGAIN);
	cr_assert_eq(next, GATE_DONE);
}

Test(gate_read, owner_and_token)
{
	cr_assert_eq(gate_read(&view, 1, 5, &shown), 1);
	cr_expect_eq(shown.owner, 0);
	cr_expect_eq(shown.token, 0, "nobody owns it");
	take(2);
	cr_assert_eq(gate_read(&view, 1, 5, &shown), 1);
	cr_expect_eq(shown.owner, 2);
	cr_expect_eq(shown.count, 11);
	cr_expect_eq(shown.token, 100, "the first after the opening");
	cr_expect_eq(shown.serial, 3);
	cr_expect_eq(shown.revoked, 2);
	cr_expect_not(shown.line);
	cr_expect(gate_read_holds(&view, 1, &shown));
	join(3, 1);
	cr_expect(gate_read_holds(&view, 1, &shown), "a longer line is no other owner");
	release(2, 11);
	cr_expect_not(gate_read_holds(&view, 1, &shown));
}

Test(gate_read, same_owner_at_another_count_is_another_acquisition)
{
	take(2);
	cr_assert_eq(gate_read(&view, 1, 5, &shown), 1);
	release(2, 11);
	take(2);
	cr_expect_not(gate_read_holds(&view, 1, &shown));
}

Test(gate_read, gate_that_serves_another_delegation_tells_nothing)
{
	shown.owner = 77;
	cr_expect_eq(gate_read(&view, 1, 6, &shown), 0);
	cr_expect_eq(gate_read(&view, 1, 0, &shown), 0);
	cr_expect_eq(gate_read(&view, 0, 5, &shown), 0);
	cr_expect_eq(gate_read(&view, 3, 5, &shown), 0);
	cr_expect_eq(shown.owner, 77, "untouched");
}

Test(gate_read, line_is_told_oldest_first)
{
	uint32_t waiting = 9;

	cr_expect_eq(gate_read_line(&view, 1, sleepers, 8, &waiting), 0);
	cr_expect_eq(waiting, 0);
	take(1);
	for (uint32_t slot = 2; slot <= 5; slot++)
		join(slot, 100 + slot);
	cr_assert_eq(gate_read_line(&view, 1, sleepers, 8, &waiting), 4);
	cr_expect_eq(waiting, 4);
	for (uint32_t i = 0; i < 4; i++) {
		cr_expect_eq(sleepers[i].slot, i + 2);
		cr_expect_eq(sleepers[i].record, i + 2);
		cr_expect_eq(sleepers[i].since_ns, 102 + i);
		cr_expect(gate_sleeper_stands(&view, &sleepers[i]));
	}
	cr_assert_eq(gate_read_line(&view, 1, sleepers, 3, &waiting), 3);
	cr_expect_eq(waiting, 4);
	cr_expect_eq(sleepers[2].slot, 4, "the oldest are told");
	cr_expect_eq(gate_read_line(&view, 1, NULL, 0, &waiting), 0);
	cr_expect_eq(waiting, 4);
	release(1, 11); /* chosen, and the owner, though not awake yet */
	cr_assert_eq(gate_read_line(&view, 1, sleepers, 8, &waiting), 3);
	cr_expect_eq(sleepers[0].slot, 3);
}

Test(gate_read, who_has_left_does_not_stand)
{
	uint32_t waiting;

	take(1);
	struct gate_place two = join(2, 1);

	cr_assert_eq(gate_read_line(&view, 1, sleepers, 8, &waiting), 1);
	release(1, 11);
	cr_assert_eq(gate_look(&view, &two, false), GATE_MINE);
	cr_expect_not(gate_sleeper_stands(&view, &sleepers[0]));
	release(2, 12);
	space->slots[2] = 0;
	cr_expect_eq(gate_read_line(&view, 1, sleepers, 8, &waiting), 0);
}

/* ---- while it moves ---- */

#define ROUNDS 300u

/* Takes the gate or waits for it, and says its own slot beside each acquisition's count. */
static uint32_t owner_at[4 * ROUNDS + 16]; /* [count - 11] */

static void *player(void *with)
{
	uint32_t slot = (uint32_t)(uintptr_t)with;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct gate_place p = gate_space_place(slot);
		enum gate_next next = gate_arrive(&view, &p, slot);

		while (next != GATE_MINE) {
			if (next == GATE_AGAIN || next == GATE_ARRIVE || next == GATE_BUSY)
				next = next == GATE_ARRIVE || !p.gen ? gate_arrive(&view, &p, slot) : gate_look(&view, &p, false);
			else
				next = gate_look(&view, &p, false);
			sched_yield();
		}
		atom_store_release(&owner_at[p.count - 11], slot);
		sched_yield(); /* the others come, and are seen */
		release(slot, p.count);
	}
	return NULL;
}

Test(gate_read, what_is_told_was_so_while_others_play)
{
	pthread_t threads[3];
	uint32_t waiting, told = 0, stood = 0, most = 0;

	for (uintptr_t i = 0; i < 3; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, player, (void *)(i + 1)), 0);
	while (atom_load_acquire(&owner_at[3 * ROUNDS - 1]) == 0) {
		uint32_t n = gate_read_line(&view, 1, sleepers, GATE_SPACE_RECORDS, &waiting);

		cr_assert_leq(n, 3);
		most = MAX(most, n);
		for (uint32_t i = 0; i < n; i++) {
			cr_assert(sleepers[i].slot >= 1 && sleepers[i].slot <= 3);
			cr_assert_eq(sleepers[i].since_ns, sleepers[i].slot, "of one player");
			for (uint32_t j = 0; j < i; j++)
				cr_assert_neq(sleepers[i].record, sleepers[j].record, "nobody stands twice");
			stood += gate_sleeper_stands(&view, &sleepers[i]);
		}
		if (gate_read(&view, 1, 5, &shown) != 1 || !shown.owner || !gate_read_holds(&view, 1, &shown))
			continue;
		told++;
		cr_assert_eq(shown.token, shown.count - 11 < 1000 ? 100 + shown.count - 11 : 0);
		uint32_t owner = atom_load_acquire(&owner_at[shown.count - 11]);
		cr_assert(owner == 0 || owner == shown.owner, "(%u, %u) was %u's", shown.owner, shown.count, owner);
	}
	for (unsigned i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	cr_expect_gt(told, 0);
	cr_expect_gt(stood, 0);
	cr_expect_gt(most, 0);
}
