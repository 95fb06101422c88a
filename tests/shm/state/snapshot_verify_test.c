/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot, looked at in bites: the verdict is that of all at once, and never comes early. What is refused: snapshot_test. */
#include <criterion/criterion.h>

#include "../../../shm/state/snapshot_records.h"
#include "state.h"

static struct state from;
static unsigned char *bytes;
static uint64_t len;

static void up(void)
{
	uint64_t chance = 5;

	state_init(&from, 40, 30, 40);
	for (unsigned i = 0; i < 600; i++) {
		struct command c = state_random(&from, &chance, 6, 40);

		state_apply(&from, &c);
	}
	bytes = malloc(snapshot_room(from.tables));
	len = snapshot_write(from.tables, bytes, snapshot_room(from.tables));
}

static void down(void)
{
	free(bytes);
	state_release(&from);
}

TestSuite(snapshot_verify, .init = up, .fini = down);

static const char *in_bites(uint32_t records, unsigned *ret_bites)
{
	struct snapshot_check c;

	*ret_bites = 1;
	snapshot_check_begin(&c, from.tables, bytes, len);
	while (!snapshot_check_more(&c, records))
		++*ret_bites;
	return c.wrong;
}

Test(snapshot_verify, in_bites_of_any_size_it_is_good)
{
	unsigned bites, before = UINT32_MAX;

	for (uint32_t records = 1; records < 3000; records *= 3) {
		cr_assert_null(in_bites(records, &bites));
		cr_assert_leq(bites, before);
		before = bites;
	}
}

Test(snapshot_verify, a_bite_is_bounded)
{
	unsigned bites;

	cr_assert_null(in_bites(8, &bites));
	cr_assert_geq(bites, (from.tables->agreed.rows_high + from.tables->agreed.cells_high - from.tables->agreed.cells_used) / 8);
}

Test(snapshot_verify, the_verdict_of_bites_is_that_of_all_at_once)
{
	uint64_t chance = 3;
	unsigned char *kept = malloc(len);
	unsigned bites, bad = 0, good = 0;

	memcpy(kept, bytes, len);
	for (unsigned i = 0; i < 5000; i++) {
		struct writer w = writer_on(bytes + len - HASH_BYTES, HASH_BYTES);
		uint64_t hashed = 0;
		const char *whole, *parts;

		bytes[random_next(&chance) % len] = (unsigned char)(random_next(&chance) % 16);
		put_u64(&w, snapshot_hash_on(SNAPSHOT_MAGIC, bytes, &hashed, len - HASH_BYTES, len - HASH_BYTES));
		whole = snapshot_verify(from.tables, bytes, len);
		parts = in_bites(1 + (uint32_t)(random_next(&chance) % 50), &bites);
		cr_assert_eq(whole, parts, "%s, and in bites: %s", whole, parts);
		bad += whole != NULL;
		good += whole == NULL;
		memcpy(bytes, kept, len);
	}
	cr_assert_gt(bad, 500);
	cr_assert_gt(good, 500);
	free(kept);
}

Test(snapshot_verify, a_queue_of_more_than_all_hosts_is_refused)
{
	struct state many;
	unsigned char *liar;
	uint64_t n;
	uint32_t waiting = HOSTS_MAX - 1, row = 0;

	/* One held lock, for which every host waits, and one of them twice. */
	state_init(&many, 4, 4, 2000);
	state_up(&many, 1);
	struct command c = state_command_on(&many, COMMAND_ACQUIRE, 1, state_key(1));
	state_apply(&many, &c);
	row = many.tables->agreed.rows_high;
	many.tables->agreed.waits_high = many.tables->agreed.waits_used = waiting;
	for (uint32_t i = 1; i <= waiting; i++)
		*tables_wait(many.tables, i) = (struct table_wait){
			.incarnation = 2, .host = (uint16_t)i, .mode = LOCK_MODE_EX, .next = i < waiting ? i + 1 : 0
		};
	tables_row(many.tables, row)->queue_head = 1;
	tables_row(many.tables, row)->queue_tail = waiting;
	struct lock_value value = table_value(many.tables, row);
	value.waiting = (uint16_t)waiting;
	table_set(many.tables, NULL, row, &value);
	liar = malloc(snapshot_room(many.tables));
	n = snapshot_write(many.tables, liar, snapshot_room(many.tables));
	cr_assert_null(snapshot_verify(many.tables, liar, n), "a thousand hosts could bring that about");
	tables_wait(many.tables, waiting)->host = 1;
	snapshot_write(many.tables, liar, snapshot_room(many.tables));
	cr_assert_str_eq(snapshot_verify(many.tables, liar, n), "a host twice in a row");
	tables_wait(many.tables, waiting)->host = (uint16_t)waiting;

	/* One more. */
	free(liar);
	value.waiting = HOSTS_MAX;
	table_set(many.tables, NULL, row, &value);
	many.tables->agreed.waits_high = many.tables->agreed.waits_used = HOSTS_MAX;
	tables_wait(many.tables, waiting)->next = HOSTS_MAX;
	*tables_wait(many.tables, HOSTS_MAX) = (struct table_wait){ .incarnation = 2, .host = 2, .mode = LOCK_MODE_EX };
	tables_row(many.tables, row)->queue_tail = HOSTS_MAX;
	liar = malloc(snapshot_room(many.tables));
	n = snapshot_write(many.tables, liar, snapshot_room(many.tables));
	cr_assert_str_eq(snapshot_verify(many.tables, liar, n), "more waiting than there are entries");
	free(liar);
	state_release(&many);
}
