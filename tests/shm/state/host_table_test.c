/* SPDX-License-Identifier: Apache-2.0 */
/* host_table: one life of a host at a time, and each of its commands once. */
#include <criterion/criterion.h>

#include "state.h"

static struct state s;

static void up(void) { state_init(&s, 4, 4, 4); }
static void down(void) { state_release(&s); }

TestSuite(host_table, .init = up, .fini = down);

static bool host_up(uint16_t host, uint64_t nonce, uint64_t expected, uint64_t slot)
{
	bool ok = host_table_up(s.tables, &s.undo, host, nonce, expected, slot);

	state_commit(&s);
	return ok;
}

static bool take(uint16_t host, uint64_t incarnation, uint64_t number)
{
	bool ok = host_table_take(s.tables, &s.undo, host, incarnation, number);

	state_commit(&s);
	return ok;
}

Test(host_table, the_incarnation_is_the_slot)
{
	const struct host_row *h = tables_host(s.tables, 3);

	cr_assert(host_up(3, 77, 0, 10));
	cr_assert_eq(h->incarnation, 10);
	cr_assert_eq(h->nonce, 77);
	cr_assert_eq(h->last_number, 0);
}

Test(host_table, a_first_life_has_nothing_to_sweep_and_a_second_has)
{
	const struct host_row *h = tables_host(s.tables, 3);

	cr_assert(host_up(3, 77, 0, 10));
	cr_assert_eq(h->sweep, HOST_SWEPT);
	cr_assert(host_up(3, 78, 10, 11));
	cr_assert_eq(h->sweep, 1);
}

Test(host_table, only_the_expected_life_is_replaced)
{
	cr_assert(host_up(3, 77, 0, 10));
	cr_assert_not(host_up(3, 78, 0, 11));
	cr_assert_not(host_up(3, 78, 9, 11));
	cr_assert_eq(tables_host(s.tables, 3)->incarnation, 10);
	cr_assert(host_up(3, 78, 10, 11));
}

Test(host_table, the_same_nonce_registers_once)
{
	cr_assert(host_up(3, 77, 0, 10));
	cr_assert_not(host_up(3, 77, 10, 11));
	cr_assert_eq(tables_host(s.tables, 3)->incarnation, 10);
}

Test(host_table, two_lives_never_share_a_slot)
{
	cr_assert(host_up(3, 77, 0, 10));
	cr_assert_not(host_up(3, 78, 10, 10));
}

Test(host_table, numbers_are_taken_in_order_and_once)
{
	cr_assert(host_up(3, 77, 0, 10));
	cr_assert_not(take(3, 10, 0));
	cr_assert_not(take(3, 10, 2));
	cr_assert(take(3, 10, 1));
	cr_assert_not(take(3, 10, 1));
	cr_assert(take(3, 10, 2));
	cr_assert_eq(tables_host(s.tables, 3)->last_number, 2);
}

Test(host_table, a_new_life_counts_from_one_and_the_old_one_is_over)
{
	cr_assert(host_up(3, 77, 0, 10));
	cr_assert(take(3, 10, 1));
	cr_assert(host_up(3, 78, 10, 20));
	cr_assert_not(take(3, 10, 2));
	cr_assert_not(take(3, 20, 2));
	cr_assert(take(3, 20, 1));
}

Test(host_table, who_never_registered_has_no_say)
{
	cr_assert_not(take(3, 0, 1));
}

Test(host_table, an_uncommitted_life_never_was)
{
	cr_assert(host_up(3, 77, 0, 10));
	cr_assert(take(3, 10, 1));
	cr_assert(host_table_up(s.tables, &s.undo, 3, 78, 10, 20));
	cr_assert(undo_rollback(&s.undo));
	cr_assert_eq(tables_host(s.tables, 3)->incarnation, 10);
	cr_assert_eq(tables_host(s.tables, 3)->sweep, HOST_SWEPT);
	cr_assert(take(3, 10, 2));
}
