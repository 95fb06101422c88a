/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot, making one: the records are written in order, a bite at a time, and out of order just
 * before their original first changes. So the bytes are the tables at one index, and a record costs
 * one look at a bit afterwards.
 *
 * A row goes down with its cells, and names itself in the record of each wait of its queue and of its list of holders. Cells change only
 * after their row (a row that loses its cells is no row any more first), so one that changes before
 * it was written down was free. Waits change before their row: they are written without an owner, and
 * the row, when its turn comes, follows both lists as they *were*, by the records already written.
 */
#include "snapshot.h"
#include "snapshot_records.h"

static uint64_t marks_bytes(const struct snapshot_extent *e)
{
	return ((uint64_t)e->rows + e->cells + e->waits + 63) / 64 * 8;
}

static uint64_t room(const struct snapshot_extent *e)
{
	return align_up(e->len, 8) + marks_bytes(e);
}

static struct snapshot_extent extent_now(const struct tables *t)
{
	return snapshot_extent(snapshot_hosts_registered(t), &t->agreed);
}

static struct snapshot_extent extent_max(const struct table_capacity *capacity)
{
	const struct agreed full = {
		.rows_high = capacity->rows,
		.cells_high = capacity->cells,
		.waits_high = capacity->waits,
	};

	return snapshot_extent(HOSTS_MAX - 1, &full);
}

uint64_t snapshot_size(const struct tables *t)
{
	return extent_now(t).len;
}

uint64_t snapshot_size_max(const struct table_capacity *capacity)
{
	return extent_max(capacity).len;
}

uint64_t snapshot_room(const struct tables *t)
{
	struct snapshot_extent e = extent_now(t);

	return room(&e);
}

uint64_t snapshot_room_max(const struct table_capacity *capacity)
{
	struct snapshot_extent e = extent_max(capacity);

	return room(&e);
}

/* ---- records, each once ---- */

static bool written(const struct snapshot_copy *c, uint64_t record)
{
	return c->marks[record / 64] >> record % 64 & 1;
}

static bool not_yet_written(struct snapshot_copy *c, uint64_t record)
{
	if (written(c, record))
		return false;
	c->marks[record / 64] |= 1ull << record % 64;
	return true;
}

static uint64_t row_mark(uint32_t i)
{
	return i - 1;
}

static uint64_t cell_mark(const struct snapshot_copy *c, uint32_t i)
{
	return (uint64_t)c->extent.rows + i - 1;
}

static uint64_t wait_mark(const struct snapshot_copy *c, uint32_t i)
{
	return (uint64_t)c->extent.rows + c->extent.cells + i - 1;
}

static struct writer record_at(struct snapshot_copy *c, uint64_t array_at, uint32_t i, size_t size)
{
	return writer_on(c->bytes + array_at + (uint64_t)(i - 1) * size, size);
}

static void keep_cell(struct snapshot_copy *c, uint32_t i, const struct cell_record *cell)
{
	struct writer w = record_at(c, c->extent.cells_at, i, CELL_BYTES);

	if (not_yet_written(c, cell_mark(c, i)))
		snapshot_put_cell(&w, cell);
}

static void keep_free_cell(struct snapshot_copy *c, uint32_t i)
{
	struct cell_record cell = { .next = (uint32_t)*tables_cell(c->t, i) };

	keep_cell(c, i, &cell);
}

static void keep_wait(struct snapshot_copy *c, uint32_t i)
{
	const struct table_wait *at = tables_wait(c->t, i);
	struct wait_record wait = {
		.next = at->next,
		.host = at->host,
		.mode = at->mode,
		.incarnation = at->incarnation,
		.delegation = at->delegation,
		.base = at->base,
	};
	struct writer w = record_at(c, c->extent.waits_at, i, WAIT_BYTES);

	if (not_yet_written(c, wait_mark(c, i)))
		snapshot_put_wait(&w, &wait);
}

/* Whose a wait was; answers the next of the queue as it was. */
static uint32_t own_wait(struct snapshot_copy *c, uint32_t i, uint32_t row)
{
	struct snapshot_view v = { .bytes = c->bytes, .extent = c->extent };
	struct writer w = record_at(c, c->extent.waits_at, i, WAIT_BYTES);

	keep_wait(c, i);
	put_u32(&w, row);
	return snapshot_wait(&v, i).next;
}

static void keep_row(struct snapshot_copy *c, uint32_t i)
{
	uint8_t key[KEY_PADDED];
	struct row_record r;
	struct writer w = record_at(c, c->extent.rows_at, i, ROW_BYTES);

	if (!not_yet_written(c, row_mark(i)))
		return;
	r = snapshot_row_of(c->t, i, key);
	snapshot_put_row(&w, &r);
	for (unsigned n = 0; n < snapshot_cells(r.key_len); n++) {
		struct cell_record cell = { .owner = i };

		memcpy(cell.bytes, key + KEY_INLINE + n * KEY_CELL, KEY_CELL);
		keep_cell(c, r.cell[n], &cell);
	}
	/* Without a delegation the links are those of the died list. */
	for (uint32_t at = r.value.delegation ? r.queue_head : 0; at;)
		at = own_wait(c, at, i);
	for (uint32_t at = r.value.holder; at;)
		at = own_wait(c, at, i);
}

/* ---- before a change ---- */

void snapshot_copy_before(void *copy, const void *at)
{
	struct snapshot_copy *c = copy;
	const struct tables *t = c->t;
	uint64_t offset = (uintptr_t)at - (uintptr_t)t; /* of other memory: beyond the tables */
	uint64_t i;

	if (offset < t->rows_at || offset >= t->hosts_at)
		return;
	if (offset < t->cells_at) {
		i = (offset - t->rows_at) / sizeof(struct table_row);
		if (i == 0 || i > c->extent.rows || written(c, row_mark((uint32_t)i)))
			return;
		keep_row(c, (uint32_t)i);
	} else if (offset < t->waits_at) {
		i = (offset - t->cells_at) / KEY_CELL;
		if (i == 0 || i > c->extent.cells || written(c, cell_mark(c, (uint32_t)i)))
			return;
		keep_free_cell(c, (uint32_t)i);
	} else {
		i = (offset - t->waits_at) / sizeof(struct table_wait);
		if (i == 0 || i > c->extent.waits || written(c, wait_mark(c, (uint32_t)i)))
			return;
		keep_wait(c, (uint32_t)i);
	}
	c->early++;
}

/* ---- in order ---- */

void snapshot_copy_begin(struct snapshot_copy *c, const struct tables *t, void *memory, uint64_t cap)
{
	struct snapshot_extent e = extent_now(t);
	struct writer w = writer_on(memory, e.rows_at);

	ASSERT(t->agreed.applied_part == 0);
	ASSERT((uintptr_t)memory % 8 == 0);
	ASSERT(cap >= room(&e));
	*c = (struct snapshot_copy){ .t = t, .bytes = memory, .extent = e, .slot = t->agreed.applied, .hash = SNAPSHOT_MAGIC };
	c->marks = (uint64_t *)(c->bytes + align_up(e.len, 8));
	memset(c->marks, 0, marks_bytes(&e));
	put_u64(&w, SNAPSHOT_MAGIC);
	put_u32(&w, LAYOUT_VERSION);
	put_u32(&w, t->n_rows);
	put_u32(&w, t->n_cells);
	put_u32(&w, t->n_waits);
	put_u32(&w, e.hosts);
	snapshot_put_agreed(&w, &t->agreed);
	for (uint32_t i = 1; i < t->n_hosts; i++)
		if (tables_host(t, i)->incarnation)
			snapshot_put_host(&w, (uint16_t)i, tables_host(t, i));
	ASSERT(w.ok && w.len == e.rows_at);
	c->final = e.rows_at;
}

static uint32_t index_at(uint64_t at, uint64_t array_at, size_t size)
{
	return (uint32_t)((at - array_at) / size) + 1;
}

uint64_t snapshot_copy_more(struct snapshot_copy *c, uint64_t bytes)
{
	const struct snapshot_extent *e = &c->extent;
	uint64_t until = c->final + MIN(bytes, e->len);

	if (c->final == e->len)
		return e->len;
	for (; c->final < e->cells_at && c->final < until; c->final += ROW_BYTES)
		keep_row(c, index_at(c->final, e->rows_at, ROW_BYTES));
	/* Of the rows each is written: a cell that none of them had was free. */
	for (; c->final >= e->cells_at && c->final < e->waits_at && c->final < until; c->final += CELL_BYTES)
		keep_free_cell(c, index_at(c->final, e->cells_at, CELL_BYTES));
	for (; c->final >= e->waits_at && c->final < e->hash_at && c->final < until; c->final += WAIT_BYTES)
		keep_wait(c, index_at(c->final, e->waits_at, WAIT_BYTES));
	c->hash = snapshot_hash_on(c->hash, c->bytes, &c->hashed, c->final, e->hash_at);
	if (c->final == e->hash_at) {
		struct writer w = writer_on(c->bytes + e->hash_at, HASH_BYTES);

		put_u64(&w, c->hash);
		c->final = e->len;
	}
	return c->final;
}

uint64_t snapshot_write(const struct tables *t, void *memory, uint64_t cap)
{
	struct snapshot_copy c;

	snapshot_copy_begin(&c, t, memory, cap);
	return snapshot_copy_more(&c, c.extent.len);
}
