/* SPDX-License-Identifier: Apache-2.0 */
/* host_table: one life of a host at a time, and each of its commands once. */
#include <criterion/criterion.h>

#include "state.h"

static struct state s;

static void up(void) { state_init(&s, 4, 4, 4); }
static void down(void) { state_release(&s); }

TestSuite(host_table, .init = up, .fini = down);

/* A life that knows of no older one. */
static bool host_up(uint16_t host, uint64_t nonce, uint64_t expected, uint64_t slot)
{
	bool ok = host_table_up(s.tables, &s.undo, host, nonce, expected, 0, slot);

	state_commit(&s);
	return ok;
}

static bool heir_up(uint16_t host, uint64_t nonce, uint64_t expected, uint64_t heir_of, uint64_t slot)
{
	bool ok = host_table_up(s.tables, &s.undo, host, nonce, expected, heir_of, slot);

	state_commit(&s);
	return ok;
}

static bool host_down(uint16_t host, uint64_t incarnation, uint64_t ballot)
{
	bool ok = host_table_down(s.tables, &s.undo, host, incarnation, ballot);

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
	cr_assert(heir_up(3, 78, 10, 77, 11));
	cr_assert_eq(h->sweep, 1);
}

/* ---- which life ends ---- */

Test(host_table, trap_35_joining_ends_no_life_that_may_still_run)
{
	cr_assert(host_up(3, 77, 0, 10));
	cr_assert_not(host_up(3, 78, 10, 11));
	cr_assert_not(heir_up(3, 78, 10, 76, 11), "heir of another memory");
	cr_assert_eq(tables_host(s.tables, 3)->incarnation, 10);
	cr_assert_eq(tables_host(s.tables, 3)->sweep, HOST_SWEPT);
	cr_assert(take(3, 10, 1));
}

Test(host_table, an_heir_takes_the_place_at_once)
{
	cr_assert(host_up(3, 77, 0, 10));
	cr_assert(heir_up(3, 78, 10, 77, 11));
	cr_assert_eq(host_table_alive(s.tables, 3), 11);
	cr_assert_not(heir_up(3, 79, 11, 77, 12), "that life is over: its heir has a nonce of its own");
	cr_assert(heir_up(3, 79, 11, 78, 12));
}

Test(host_table, whoever_comes_takes_the_place_of_a_life_that_was_declared_down)
{
	cr_assert(host_up(3, 77, 0, 10));
	cr_assert_not(host_up(3, 78, 10, 11));
	cr_assert(host_down(3, 10, 0));
	cr_assert_not(host_up(3, 78, 9, 12), "it expected another");
	cr_assert(host_up(3, 78, 10, 12));
	cr_assert_eq(host_table_alive(s.tables, 3), 12);
	cr_assert_eq(tables_host(s.tables, 3)->down, 0);
}

Test(host_table, the_same_memory_comes_back_as_a_new_life_when_it_was_declared_down)
{
	cr_assert(host_up(3, 77, 0, 10));
	cr_assert(take(3, 10, 1));
	cr_assert(host_down(3, 10, 0));
	cr_assert(host_up(3, 77, 10, 12));
	cr_assert_eq(host_table_alive(s.tables, 3), 12);
	cr_assert_not(take(3, 12, 2));
	cr_assert(take(3, 12, 1));
}

Test(host_table, a_life_that_is_down_is_no_more)
{
	cr_assert(host_up(3, 77, 0, 10));
	cr_assert_eq(host_table_alive(s.tables, 3), 10);
	cr_assert(host_down(3, 10, 0));
	cr_assert_eq(host_table_alive(s.tables, 3), 0);
	cr_assert_not(take(3, 10, 1));
	cr_assert_eq(tables_host(s.tables, 3)->last_number, 0);
}

Test(host_table, a_life_is_declared_down_once_and_by_its_incarnation)
{
	struct host_row *h = tables_host(s.tables, 3);

	cr_assert_not(host_down(3, 0, 0), "who never registered has no life to end");
	cr_assert(host_up(3, 77, 0, 10));
	cr_assert_not(host_down(3, 9, 0));
	cr_assert_not(host_down(3, 11, 0));
	cr_assert_eq(h->sweep, HOST_SWEPT);
	cr_assert(host_down(3, 10, 0));
	cr_assert_eq(h->sweep, 1);
	h->sweep = 3; /* so far it was swept */
	cr_assert_not(host_down(3, 10, 0));
	cr_assert_eq(h->sweep, 3, "which does not begin anew");
}

Test(host_table, a_life_that_was_replaced_cannot_be_declared_down)
{
	cr_assert(host_up(3, 77, 0, 10));
	cr_assert(heir_up(3, 78, 10, 77, 11));
	cr_assert_not(host_down(3, 10, 0));
	cr_assert_eq(host_table_alive(s.tables, 3), 11);
}

/* A accepts host-down alone, B leads without it and renews the lease, B dies, A proposes it again. */
Test(host_table, trap_29_what_a_leader_declared_is_void_behind_a_later_leader)
{
	cr_assert(host_up(3, 77, 0, 10));
	state_leads(&s, 0x20001);
	state_leads(&s, 0x30002);
	cr_assert_not(host_down(3, 10, 0x20001));
	cr_assert_eq(host_table_alive(s.tables, 3), 10);
	cr_assert_eq(tables_host(s.tables, 3)->sweep, HOST_SWEPT);
	state_leads(&s, 0x20001); /* the older one's, proposed again by the later */
	cr_assert_not(host_down(3, 10, 0x20001));
	cr_assert_not(host_down(3, 10, 0x30001));
	cr_assert(host_down(3, 10, 0x30002));
}

/* What the first life left and was not swept yet is still swept when the second has come. */
Test(host_table, a_new_life_leaves_a_sweep_where_it_is)
{
	struct host_row *h = tables_host(s.tables, 3);

	cr_assert(host_up(3, 77, 0, 10));
	cr_assert(host_down(3, 10, 0));
	h->sweep = 3;
	cr_assert(heir_up(3, 78, 10, 77, 11));
	cr_assert_eq(h->sweep, 3);
	cr_assert(heir_up(3, 79, 11, 78, 12));
	cr_assert_eq(h->sweep, 1, "this one may have held rows before it");
}

Test(host_table, only_the_expected_life_is_replaced)
{
	cr_assert(host_up(3, 77, 0, 10));
	cr_assert_not(host_up(3, 78, 0, 11));
	cr_assert_not(host_up(3, 78, 9, 11));
	cr_assert_eq(tables_host(s.tables, 3)->incarnation, 10);
	cr_assert_not(heir_up(3, 78, 0, 77, 11));
	cr_assert_not(heir_up(3, 78, 9, 77, 11));
	cr_assert(heir_up(3, 78, 10, 77, 11));
}

Test(host_table, the_same_nonce_registers_once)
{
	cr_assert(host_up(3, 77, 0, 10));
	cr_assert_not(host_up(3, 77, 10, 11));
	cr_assert_not(heir_up(3, 77, 10, 77, 11));
	cr_assert_eq(tables_host(s.tables, 3)->incarnation, 10);
}

Test(host_table, two_lives_never_share_a_slot)
{
	cr_assert(host_up(3, 77, 0, 10));
	cr_assert_not(heir_up(3, 78, 10, 77, 10));
	cr_assert_not(heir_up(3, 78, 10, 77, 9));
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
	cr_assert(heir_up(3, 78, 10, 77, 20));
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
	cr_assert(host_table_up(s.tables, &s.undo, 3, 78, 10, 77, 20));
	cr_assert(undo_rollback(&s.undo));
	cr_assert_eq(tables_host(s.tables, 3)->incarnation, 10);
	cr_assert(host_table_down(s.tables, &s.undo, 3, 10, 0));
	cr_assert(undo_rollback(&s.undo));
	cr_assert_eq(host_table_alive(s.tables, 3), 10);
	cr_assert_eq(tables_host(s.tables, 3)->incarnation, 10);
	cr_assert_eq(tables_host(s.tables, 3)->sweep, HOST_SWEPT);
	cr_assert(take(3, 10, 2));
}
