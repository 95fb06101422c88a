/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot, made in bites while the tables go on: it is of the index at which it began. */
#include <criterion/criterion.h>
#include <setjmp.h>

#include "../../../shm/state/snapshot_records.h"
#include "state.h"

static struct state from;
static struct snapshot_copy copy;
static unsigned char *memory, *at_once;
static uint64_t len, chance = 1;

static void change(unsigned commands)
{
	while (commands--) {
		struct command c = state_random(&from, &chance, 6, 60);

		state_apply(&from, &c);
	}
}

/* Tables in which every list has something, written at once; and a copy in bites that begins now. */
static void begin(uint64_t seed)
{
	const struct agreed *a = &from.tables->agreed;
	uint64_t room;

	chance = seed;
	do
		change(50);
	while (!a->rows_free || !a->cells_free || !a->waits_free || a->waits_used < 3 || a->died_count < 2);
	room = snapshot_room(from.tables);
	memory = realloc(memory, room);
	at_once = realloc(at_once, room);
	len = snapshot_write(from.tables, at_once, room);
	snapshot_copy_begin(&copy, from.tables, memory, room);
	from.undo.before = snapshot_copy_before;
	from.undo.before_context = &copy;
}

static void up(void)
{
	state_init(&from, 60, 40, 60);
}

static void down(void)
{
	free(memory);
	free(at_once);
	state_release(&from);
}

TestSuite(snapshot_write, .init = up, .fini = down);

static void finish(void)
{
	while (snapshot_copy_more(&copy, 100) < len)
		;
	cr_assert_eq(copy.extent.len, len);
	cr_assert_eq(memcmp(memory, at_once, len), 0, "it is not what it was when it began");
}

Test(snapshot_write, it_is_of_the_index_at_which_it_began)
{
	uint64_t early = 0;

	for (uint64_t seed = 1; seed <= 300; seed++) {
		begin(seed);
		while (copy.final < len) {
			snapshot_copy_more(&copy, 1 + random_next(&chance) % 600);
			change(random_next(&chance) % 12);
		}
		finish();
		early += copy.early;
		from.undo.before = NULL;
	}
	cr_assert_gt(early, 10000);
	state_check(&from);
}

Test(snapshot_write, what_is_final_stays_as_it_was_sent)
{
	unsigned char *sent;

	begin(7);
	sent = calloc(1, len);
	for (uint64_t final = copy.final; copy.final < len; final = copy.final) {
		memcpy(sent, memory, final);
		change(3);
		snapshot_copy_more(&copy, 200);
		cr_assert_eq(memcmp(sent, memory, final), 0);
	}
	free(sent);
}

Test(snapshot_write, a_bite_is_no_more_than_was_asked_for_and_a_record)
{
	uint64_t before;

	begin(3);
	do {
		before = copy.final;
		cr_assert_leq(snapshot_copy_more(&copy, 500), before + 500 + ROW_BYTES + HASH_BYTES);
		cr_assert_gt(copy.final, before);
	} while (copy.final < len);
	cr_assert_eq(snapshot_copy_more(&copy, 500), len);
}

Test(snapshot_write, a_record_is_written_early_once)
{
	uint32_t row = 1;

	begin(4);
	while (!tables_row(from.tables, row)->key_len)
		row++;
	snapshot_copy_before(&copy, &tables_row(from.tables, row)->queue_head);
	cr_assert_eq(copy.early, 1);
	snapshot_copy_before(&copy, tables_row(from.tables, row)->value[1]);
	cr_assert_eq(copy.early, 1);
	finish();
}

Test(snapshot_write, what_is_no_row_cell_or_wait_is_passed_over)
{
	begin(5);
	snapshot_copy_before(&copy, &from.tables->agreed);
	snapshot_copy_before(&copy, tables_buckets(from.tables));
	snapshot_copy_before(&copy, tables_host(from.tables, 2));
	snapshot_copy_before(&copy, &copy);
	snapshot_copy_before(&copy, from.undo.log);
	cr_assert_eq(copy.early, 0);
	finish();
}

Test(snapshot_write, what_came_into_use_afterwards_is_not_in_it)
{
	const struct agreed *a = &from.tables->agreed;

	begin(6);
	while (a->rows_high <= copy.extent.rows && a->rows_high < from.tables->n_rows)
		change(1);
	finish();
}

static jmp_buf grave;
static unsigned saves_left;

static void die(void *context)
{
	(void)context;
	if (saves_left-- == 0)
		longjmp(grave, 1);
}

static void change_until_death(unsigned saves)
{
	saves_left = saves;
	from.undo.probe = die;
	if (setjmp(grave) == 0)
		change(1000);
	from.undo.probe = NULL;
}

/* A group that is not committed: what stands in the copy is what stood before it. */
Test(snapshot_write, a_group_that_is_taken_back_leaves_no_trace)
{
	for (uint64_t seed = 1; seed <= 200; seed++) {
		begin(seed);
		change_until_death((unsigned)(random_next(&chance) % 40));
		cr_assert(undo_rollback(&from.undo));
		finish();
		from.undo.before = NULL;
	}
}

Test(snapshot_write, without_a_copy_under_way_nothing_is_called)
{
	begin(8);
	from.undo.before = NULL;
	change(100);
	cr_assert_eq(copy.early, 0);
}
