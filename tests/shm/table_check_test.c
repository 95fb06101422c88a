/* SPDX-License-Identifier: Apache-2.0 */
/* The check of tables finds what it says it checks. */
#include "table_space.h"

static struct space space_for_check(void)
{
	struct space s = space_new();
	struct lock_value v;
	uint32_t row[5];

	for (unsigned i = 0; i < 5; i++) {
		struct key k = key_in_chain(i % 2, i, i < 2 ? 100 : 0);
		row[i] = insert(&s, &k);
		set(&s, row[i], i + 1);
	}
	table_remove(s.t, &s.undo, row[4]);

	/* Row 3 has a queue of two; rows 1 and 2 died; one wait is free. */
	uint32_t w1 = table_wait_new(s.t, NULL), w2 = table_wait_new(s.t, NULL), w3 = table_wait_new(s.t, NULL);
	table_wait_free(s.t, NULL, w3);
	tables_wait(s.t, w1)->next = w2;
	tables_wait(s.t, w1)->host = 5;
	tables_wait(s.t, w2)->host = 6;
	tables_row(s.t, row[2])->queue_head = w1;
	tables_row(s.t, row[2])->queue_tail = w2;
	v = table_value(s.t, row[2]);
	v.waiting = 2;
	table_set(s.t, NULL, row[2], &v);
	for (unsigned i = 0; i < 2; i++) {
		v = (struct lock_value){ .flags = LOCK_DIED };
		table_set(s.t, NULL, row[i], &v);
	}
	tables_row(s.t, row[0])->queue_tail = row[1];
	tables_row(s.t, row[1])->queue_head = row[0];
	s.t->agreed.died_head = row[0];
	s.t->agreed.died_tail = row[1];
	s.t->agreed.died_count = 2;
	return s;
}

/* Row 4 is shared by two hosts, and a third waits. */
static struct space space_that_is_shared(void)
{
	struct space s = space_for_check();
	struct lock_value v = { .delegation = 9, .base = 100, .mode = LOCK_MODE_PR, .waiting = 1, .holders = 2 };
	uint32_t w[3];

	for (unsigned i = 0; i < 3; i++)
		w[i] = table_wait_new(s.t, NULL);
	table_wait_set(s.t, NULL, w[0], &(struct table_wait){ .delegation = 8, .base = 5, .next = w[1], .host = 1, .mode = LOCK_MODE_PR });
	table_wait_set(s.t, NULL, w[1], &(struct table_wait){ .delegation = 9, .base = 7, .host = 2, .mode = LOCK_MODE_PR });
	table_wait_set(s.t, NULL, w[2], &(struct table_wait){ .host = 3, .mode = LOCK_MODE_EX });
	v.holder = w[0];
	table_set(s.t, NULL, 4, &v);
	tables_row(s.t, 4)->queue_head = tables_row(s.t, 4)->queue_tail = w[2];
	return s;
}

#define finds_in(where, change) \
	do { \
		struct space s = where; \
		struct tables *t = s.t; \
		struct table_row *row = tables_row(t, 3); \
		struct agreed *a = &t->agreed; \
		(void)row; \
		(void)a; \
		change; \
		cr_assert_not_null(table_check(t), #change); \
	} while (0)

#define finds(change) finds_in(space_for_check(), change)
#define finds_shared(field, to) \
	finds_in(space_that_is_shared(), struct lock_value v = table_value(t, 4); v.field = to; table_set(t, NULL, 4, &v))
#define first_holder tables_wait(t, table_value(t, 4).holder)

Test(table_check, check_finds_what_does_not_fit)
{
	struct space s = space_for_check();

	assert_sound(s.t);
	finds(a->rows_high = ROWS + 1);
	finds(a->rows_high++);
	finds(a->rows_used--);
	finds(a->rows_free = 0);
	finds(a->rows_free = 3);
	finds(tables_row(t, 5)->next = 5);
	finds(a->cells_used++);
	finds(a->cells_high++);
	finds(a->waits_used--);
	finds(a->waits_free = 0);
	finds(a->waits_free = 1);
	finds(*head_of_chain(t, 0) = 0);
	finds(*head_of_chain(t, 7) = 1);
	finds(*head_of_chain(t, 0) = 0xffffffff);
	finds(row->next = 3);
	finds(row->key[0] ^= 1);
	finds(row->key_len = 0);
	finds(row->key_len = 300);
	finds(row->cell[0] = 1);
	finds(tables_row(t, 1)->cell[0] = 0);
	finds(tables_row(t, 1)->cell[0] = 99);
	finds(tables_row(t, 1)->cell[0] = tables_row(t, 2)->cell[0]);
	finds(tables_cell(t, 1)[2] ^= 1);
	finds(row->queue_head = 0);
	finds(row->queue_tail = 1);
	finds(row->queue_head = 77);
	finds(tables_wait(t, 2)->next = 1);
	finds(row->value[row->seq & 1][3] += 1ull << 32); /* waiting */
	finds(tables_wait(t, 1)->delegation = 1);
	finds(tables_wait(t, 2)->host = 5);
	finds(a->died_count--);
	finds(a->died_tail = a->died_head);
	finds(a->died_head = 0);
	finds(a->died_head = 3);
	finds(tables_row(t, 2)->queue_head = 0);
	finds(tables_row(t, 2)->queue_tail = 1);
}

Test(table_check, check_finds_what_does_not_fit_those_who_share)
{
	struct space s = space_that_is_shared();

	assert_sound(s.t);
	finds_shared(holders, 1);
	finds_shared(holders, 3);
	finds_shared(holder, 0);
	finds_shared(holder, 77);
	finds_shared(holder, tables_row(t, 4)->queue_head);
	finds_shared(mode, LOCK_MODE_EX);
	finds_shared(mode, 0);
	finds_shared(host, 1);
	finds_shared(delegation, 8);
	finds_shared(base, 7);
	finds_in(space_that_is_shared(), first_holder->next = 0);
	finds_in(space_that_is_shared(), first_holder->next = table_value(t, 4).holder);
	finds_in(space_that_is_shared(), first_holder->next = row->queue_head);
	finds_in(space_that_is_shared(), first_holder->host = 2);
	finds_in(space_that_is_shared(), first_holder->host = 3);
	finds_in(space_that_is_shared(), first_holder->delegation = 0);
	finds_in(space_that_is_shared(), first_holder->mode = LOCK_MODE_EX);
	finds_in(space_that_is_shared(), row->queue_head = table_value(t, 4).holder);
	finds_in(space_that_is_shared(), struct lock_value v = table_value(t, 3); v.mode = LOCK_MODE_PR; table_set(t, NULL, 3, &v));
}
