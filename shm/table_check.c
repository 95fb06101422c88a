/* SPDX-License-Identifier: Apache-2.0 */
/* table, the check of everything: chains, pools, queues and the died list against each other. */
#include "table_rows.h"

/* Counts indices and adds up their hashes: two sets with the same census are the same set, but for
 * odds of 2^-64. So no marks are needed to see that used and free ones are 1 .. high, each once. */
struct census {
	uint64_t n, sum;
};

static void census_add(struct census *c, uint32_t i)
{
	c->n++;
	c->sum += hash_mix(i);
}

static bool census_complete(const struct census *c, uint32_t high)
{
	struct census all = { 0 };

	for (uint32_t i = 1; i <= high; i++)
		census_add(&all, i);
	return c->n == all.n && c->sum == all.sum;
}

static const char *check_row(const struct tables *t, uint32_t i, const uint32_t *head, struct census *cells)
{
	const struct table_row *row = tables_row(t, i);
	unsigned char key[KEY_MAX];

	if (row->key_len == 0 || row->key_len > KEY_MAX)
		return "a row in a chain has no key";
	for (uint32_t c = 0; c < KEY_CELLS; c++) {
		bool needed = c < key_cells(row->key_len);

		if (needed != (row->cell[c] != 0) || row->cell[c] > t->agreed.cells_high)
			return "a row's cells do not fit its key";
		if (needed)
			census_add(cells, row->cell[c]);
	}
	table_key(t, i, key);
	return chain_head(t, key_hash(key, row->key_len)) == head ? NULL : "a row stands in another key's chain";
}

/* Two rows of one chain with one key? The second one would never be found. */
static bool key_comes_again(const struct tables *t, uint32_t i)
{
	unsigned char key[KEY_MAX];
	uint32_t len = table_key(t, i, key);

	return table_find(t, key, len) != i;
}

static const char *check_chains(const struct tables *t, struct census *rows, struct census *cells)
{
	for (uint32_t c = 0; c < t->n_buckets * BUCKET_CHAINS; c++) {
		const uint32_t *head = &tables_buckets(t)[c / BUCKET_CHAINS].head[c % BUCKET_CHAINS];

		for (uint32_t i = *head; i; i = tables_row(t, i)->next) {
			const char *wrong;

			if (i > t->agreed.rows_high || rows->n >= t->agreed.rows_used)
				return "a chain leads astray";
			wrong = check_row(t, i, head, cells);
			if (wrong)
				return wrong;
			census_add(rows, i);
		}
	}
	return rows->n == t->agreed.rows_used ? NULL : "the chains do not reach all rows in use";
}

static const char *check_keys(const struct tables *t)
{
	uint32_t in_use = 0;

	for (uint32_t i = 1; i <= t->agreed.rows_high; i++) {
		if (tables_row(t, i)->key_len == 0)
			continue;
		in_use++;
		if (key_comes_again(t, i))
			return "a key stands in the table twice, or is not found";
	}
	return in_use == t->agreed.rows_used ? NULL : "the number of rows in use is wrong";
}

static const char *check_free_rows(const struct tables *t, struct census *rows)
{
	for (uint32_t i = t->agreed.rows_free; i; i = tables_row(t, i)->next) {
		if (i > t->agreed.rows_high || rows->n >= t->agreed.rows_high)
			return "the free list of rows leads astray";
		if (tables_row(t, i)->key_len)
			return "a free row has a key";
		census_add(rows, i);
	}
	return census_complete(rows, t->agreed.rows_high) ? NULL : "rows are lost or in use twice";
}

static const char *check_free_cells(const struct tables *t, struct census *cells)
{
	if (cells->n != t->agreed.cells_used)
		return "the number of cells in use is wrong";
	for (uint32_t i = t->agreed.cells_free; i; i = (uint32_t)*tables_cell(t, i)) {
		if (i > t->agreed.cells_high || cells->n >= t->agreed.cells_high)
			return "the free list of cells leads astray";
		census_add(cells, i);
	}
	return census_complete(cells, t->agreed.cells_high) ? NULL : "cells are lost or in use twice";
}

/* The hosts of one row. */
struct seen {
	uint64_t hosts[HOSTS_MAX / 64];
};

static bool seen_again(struct seen *seen, uint16_t host)
{
	uint64_t *word = &seen->hosts[host / 64 % ARRAY_LEN(seen->hosts)], bit = 1ull << host % 64;
	bool again = *word & bit;

	*word |= bit;
	return again;
}

static const char *check_queue(const struct tables *t, const struct table_row *row, uint32_t waiting,
			       struct census *waits, struct seen *seen)
{
	uint32_t n = 0, last = 0;

	for (uint32_t i = row->queue_head; i; last = i, i = tables_wait(t, i)->next) {
		if (i > t->agreed.waits_high || waits->n >= t->agreed.waits_used)
			return "a queue leads astray";
		if (tables_wait(t, i)->delegation)
			return "who waits has a delegation";
		if (seen_again(seen, tables_wait(t, i)->host))
			return "a host stands twice in a row";
		census_add(waits, i);
		n++;
	}
	if (last != row->queue_tail)
		return "a queue's tail is not its last entry";
	return n == waiting ? NULL : "a queue has another length than its row says";
}

static const char *check_holders(const struct tables *t, const struct lock_value *v, struct census *waits, struct seen *seen)
{
	uint32_t n = 0;

	for (uint32_t i = v->holder; i; i = tables_wait(t, i)->next) {
		if (i > t->agreed.waits_high || waits->n >= t->agreed.waits_used)
			return "a list of holders leads astray";
		if (!tables_wait(t, i)->delegation || tables_wait(t, i)->delegation > v->delegation || tables_wait(t, i)->mode != v->mode)
			return "a holder has not what its row says";
		if (tables_wait(t, i)->base >= v->base)
			return "a holder's tokens are still to be given";
		if (seen_again(seen, tables_wait(t, i)->host))
			return "a host stands twice in a row";
		census_add(waits, i);
		n++;
	}
	if (n != v->holders)
		return "a list of holders has another length than its row says";
	if ((v->mode == LOCK_MODE_PR) != (n != 0) || (n && v->host))
		return "a lock is shared by nobody, or beside an owner";
	return NULL;
}

static bool on_died_list(const struct lock_value *value)
{
	return value->delegation == 0 && (value->flags & LOCK_DIED);
}

static const char *check_queues(const struct tables *t, struct census *waits)
{
	uint32_t died = 0;

	for (uint32_t i = 1; i <= t->agreed.rows_high; i++) {
		const struct table_row *row = tables_row(t, i);
		struct lock_value value = table_value(t, i);
		struct seen seen = { 0 };
		const char *wrong = NULL;

		if (row->key_len == 0)
			continue;
		if (!on_died_list(&value))
			wrong = check_queue(t, row, value.waiting, waits, &seen);
		else if (value.waiting)
			wrong = "a lock without a delegation has a queue";
		else
			died++;
		if (!wrong)
			wrong = check_holders(t, &value, waits, &seen);
		if (wrong)
			return wrong;
	}
	return died == t->agreed.died_count ? NULL : "the number of died rows is wrong";
}

static const char *check_free_waits(const struct tables *t, struct census *waits)
{
	if (waits->n != t->agreed.waits_used)
		return "the number of waits in use is wrong";
	for (uint32_t i = t->agreed.waits_free; i; i = tables_wait(t, i)->next) {
		if (i > t->agreed.waits_high || waits->n >= t->agreed.waits_high)
			return "the free list of waits leads astray";
		census_add(waits, i);
	}
	return census_complete(waits, t->agreed.waits_high) ? NULL : "waits are lost or in use twice";
}

static const char *check_died(const struct tables *t)
{
	uint32_t n = 0, older = 0;

	for (uint32_t i = t->agreed.died_head; i; older = i, i = tables_row(t, i)->queue_tail, n++) {
		struct lock_value value;

		if (i > t->agreed.rows_high || n >= t->agreed.died_count)
			return "the died list leads astray";
		value = table_value(t, i);
		if (tables_row(t, i)->key_len == 0 || !on_died_list(&value))
			return "a row in the died list has not died";
		if (tables_row(t, i)->queue_head != older)
			return "the died list does not lead back";
	}
	if (older != t->agreed.died_tail)
		return "the died list's tail is not its last row";
	return n == t->agreed.died_count ? NULL : "the died list has another length than it should";
}

const char *table_check(const struct tables *t)
{
	const struct agreed *a = &t->agreed;
	struct census rows = { 0 }, cells = { 0 }, waits = { 0 };
	const char *wrong;

	if (a->rows_high > t->n_rows || a->cells_high > t->n_cells || a->waits_high > t->n_waits)
		return "a high-water mark is above the capacity";
	wrong = check_chains(t, &rows, &cells);
	if (!wrong)
		wrong = check_keys(t);
	if (!wrong)
		wrong = check_free_rows(t, &rows);
	if (!wrong)
		wrong = check_free_cells(t, &cells);
	if (!wrong)
		wrong = check_queues(t, &waits);
	if (!wrong)
		wrong = check_free_waits(t, &waits);
	if (!wrong)
		wrong = check_died(t);
	return wrong;
}
