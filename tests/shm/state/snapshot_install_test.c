/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot, installed in bites: nothing may be used before the end, and who dies before it begins again. */
#include <criterion/criterion.h>
#include <errno.h>

#include "state.h"

static struct state from, to;
static unsigned char *bytes;
static uint64_t len;

static void fill(struct state *s, uint64_t chance, unsigned commands)
{
	while (commands--) {
		struct command c = state_random(s, &chance, 6, 40);

		state_apply(s, &c);
	}
}

static void up(void)
{
	state_init(&from, 40, 30, 40);
	state_init(&to, 40, 30, 40);
	fill(&from, 5, 600);
	fill(&to, 6, 300);
	bytes = malloc(snapshot_room(from.tables));
	len = snapshot_write(from.tables, bytes, snapshot_room(from.tables));
}

static void down(void)
{
	free(bytes);
	state_release(&from);
	state_release(&to);
}

TestSuite(snapshot_install, .init = up, .fini = down);

static void check_equal(void)
{
	cr_assert_eq(to.tables->ready, 0, "the caller says when");
	to.tables->ready = 1;
	state_check(&to);
	cr_assert_eq(snapshot_state_hash(to.tables), snapshot_state_hash(from.tables));
}

Test(snapshot_install, readers_are_kept_away_until_the_end)
{
	struct snapshot_install i;
	struct lock_value v;
	uint64_t applied = to.tables->agreed.applied;

	snapshot_install_begin(&i, to.tables, bytes, len);
	do {
		cr_assert_eq(to.tables->ready, 0);
		cr_assert_eq(table_read(to.tables, "x", 1, &v), -ENETUNREACH);
		cr_assert_eq(to.tables->agreed.applied, applied, "the index is switched last");
	} while (!snapshot_install_more(&i, 3));
	check_equal();
}

Test(snapshot_install, a_bite_is_bounded)
{
	struct snapshot_install i;
	unsigned bites = 1;

	snapshot_install_begin(&i, to.tables, bytes, len);
	while (!snapshot_install_more(&i, 10))
		bites++;
	cr_assert_geq(bites, (2 * from.tables->agreed.rows_high + from.tables->agreed.cells_high) / 10);
	check_equal();
}

Test(snapshot_install, left_after_any_bite_and_begun_again_it_is_whole)
{
	unsigned bites = 0;
	bool done;

	do {
		struct snapshot_install i;

		fill(&to, bites, 50);
		snapshot_install_begin(&i, to.tables, bytes, len);
		done = false;
		for (unsigned n = 0; n < bites && !done; n++)
			done = snapshot_install_more(&i, 7);
		/* Its successor knows nothing of how far it came. */
		snapshot_install(to.tables, bytes, len);
		check_equal();
		bites++;
	} while (!done);
	cr_assert_gt(bites, 10);
}

Test(snapshot_install, rows_beyond_the_new_ones_are_free)
{
	struct state few;
	unsigned char *small;
	uint64_t n;

	state_init(&few, 40, 30, 40);
	state_up(&few, 1);
	small = malloc(snapshot_room(few.tables));
	n = snapshot_write(few.tables, small, snapshot_room(few.tables));
	cr_assert_gt(to.tables->agreed.rows_high, 5);
	snapshot_install(to.tables, small, n);
	to.tables->ready = 1;
	state_check(&to);
	for (uint32_t i = 1; i <= to.tables->n_rows; i++)
		cr_assert_eq(tables_row(to.tables, i)->key_len, 0);
	free(small);
	state_release(&few);
}
