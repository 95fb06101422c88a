/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot_records.h"
#include "../atom.h"

_Static_assert(LOCK_VALUE_AGREED == 3 * 8 + 2 + 1 + 1 + 2 * 2 + 4, "the row record has every agreed field");
_Static_assert(sizeof(struct agreed) == 6 * 8 + 4 + 12 * 4 + 4, "every field is written (and one spare)");

struct snapshot_extent snapshot_extent(uint32_t hosts, const struct agreed *a)
{
	struct snapshot_extent e = { .hosts = hosts, .rows = a->rows_high, .cells = a->cells_high, .waits = a->waits_high };

	e.hosts_at = HEAD_BYTES + AGREED_BYTES;
	e.rows_at = e.hosts_at + (uint64_t)hosts * HOST_BYTES;
	e.cells_at = e.rows_at + (uint64_t)e.rows * ROW_BYTES;
	e.waits_at = e.cells_at + (uint64_t)e.cells * CELL_BYTES;
	e.hash_at = e.waits_at + (uint64_t)e.waits * WAIT_BYTES;
	e.len = e.hash_at + HASH_BYTES;
	return e;
}

uint32_t snapshot_cells(uint32_t key_len)
{
	return key_len > KEY_INLINE ? (key_len - KEY_INLINE + KEY_CELL - 1) / KEY_CELL : 0;
}

void snapshot_put_agreed(struct writer *w, const struct agreed *a)
{
	put_u64(w, a->applied);
	put_u64(w, a->applied_part);
	put_u64(w, a->history);
	put_u64(w, a->token_floor);
	put_u64(w, a->delegations);
	put_u64(w, a->leads);
	put_u32(w, a->era);
	put_u32(w, a->rows_high);
	put_u32(w, a->rows_free);
	put_u32(w, a->rows_used);
	put_u32(w, a->cells_high);
	put_u32(w, a->cells_free);
	put_u32(w, a->cells_used);
	put_u32(w, a->waits_high);
	put_u32(w, a->waits_free);
	put_u32(w, a->waits_used);
	put_u32(w, a->died_head);
	put_u32(w, a->died_tail);
	put_u32(w, a->died_count);
}

static struct agreed get_agreed(struct reader *r)
{
	struct agreed a = { 0 };

	a.applied = get_u64(r);
	a.applied_part = get_u64(r);
	a.history = get_u64(r);
	a.token_floor = get_u64(r);
	a.delegations = get_u64(r);
	a.leads = get_u64(r);
	a.era = get_u32(r);
	a.rows_high = get_u32(r);
	a.rows_free = get_u32(r);
	a.rows_used = get_u32(r);
	a.cells_high = get_u32(r);
	a.cells_free = get_u32(r);
	a.cells_used = get_u32(r);
	a.waits_high = get_u32(r);
	a.waits_free = get_u32(r);
	a.waits_used = get_u32(r);
	a.died_head = get_u32(r);
	a.died_tail = get_u32(r);
	a.died_count = get_u32(r);
	return a;
}

void snapshot_put_host(struct writer *w, uint16_t host, const struct host_row *h)
{
	put_u16(w, host);
	put_u64(w, h->incarnation);
	put_u64(w, h->nonce);
	put_u64(w, h->last_number);
	put_u32(w, h->sweep);
	put_u8(w, (uint8_t)h->down);
}

void snapshot_put_row(struct writer *w, const struct row_record *r)
{
	put_u32(w, r->key_len);
	put_u32(w, r->next);
	put_u32(w, r->queue_head);
	put_u32(w, r->queue_tail);
	for (unsigned i = 0; i < KEY_CELLS; i++)
		put_u32(w, r->cell[i]);
	put_bytes(w, r->key, KEY_INLINE);
	put_u64(w, r->value.delegation);
	put_u64(w, r->value.incarnation);
	put_u64(w, r->value.base);
	put_u16(w, r->value.host);
	put_u8(w, r->value.mode);
	put_u8(w, r->value.flags);
	put_u16(w, r->value.waiting);
	put_u16(w, r->value.holders);
	put_u32(w, r->value.holder);
}

void snapshot_put_cell(struct writer *w, const struct cell_record *c)
{
	put_u32(w, c->owner);
	put_u32(w, c->next);
	put_bytes(w, c->bytes, KEY_CELL);
}

void snapshot_put_wait(struct writer *w, const struct wait_record *wait)
{
	put_u32(w, wait->owner);
	put_u32(w, wait->next);
	put_u16(w, wait->host);
	put_u8(w, wait->mode);
	put_u64(w, wait->incarnation);
	put_u64(w, wait->delegation);
	put_u64(w, wait->base);
}

struct row_record snapshot_row_of(const struct tables *t, uint32_t i, uint8_t ret_key[KEY_PADDED])
{
	const struct table_row *row = tables_row(t, i);
	struct row_record r = { .key_len = atom_load_relaxed(&row->key_len) };

	memset(ret_key, 0, KEY_PADDED);
	if (!r.key_len) {
		r.next = atom_load_relaxed(&row->next);
		return r;
	}
	r.key_len = table_key(t, i, ret_key);
	r.queue_head = row->queue_head;
	r.queue_tail = row->queue_tail;
	for (unsigned c = 0; c < snapshot_cells(r.key_len); c++)
		r.cell[c] = row->cell[c];
	memcpy(r.key, ret_key, KEY_INLINE);
	r.value = table_value(t, i);
	return r;
}

uint32_t snapshot_hosts_registered(const struct tables *t)
{
	uint32_t n = 0;

	for (uint32_t i = 1; i < t->n_hosts; i++)
		n += tables_host(t, i)->incarnation != 0;
	return n;
}

static const char *check_pool(const char *wrong, uint32_t capacity, uint32_t high, uint32_t first_free, uint32_t used)
{
	bool ok = high <= capacity && used <= high && first_free <= high;

	return ok && (first_free != 0) == (used != high) ? NULL : wrong;
}

static const char *check_agreed(const struct tables *t, const struct agreed *a)
{
	const char *wrong = check_pool("row counts", t->n_rows, a->rows_high, a->rows_free, a->rows_used);

	if (!wrong)
		wrong = check_pool("cell counts", t->n_cells, a->cells_high, a->cells_free, a->cells_used);
	if (!wrong)
		wrong = check_pool("wait counts", t->n_waits, a->waits_high, a->waits_free, a->waits_used);
	if (wrong)
		return wrong;
	if (a->died_head > a->rows_high || a->died_tail > a->rows_high || a->died_count > a->rows_used)
		return "died list out of range";
	return NULL;
}

const char *snapshot_open(const struct tables *t, const void *bytes, uint64_t len, struct snapshot_view *ret)
{
	struct reader r = reader_on(bytes, len);
	uint32_t hosts;
	const char *wrong;

	if (get_u64(&r) != SNAPSHOT_MAGIC)
		return "no snapshot";
	if (get_u32(&r) != LAYOUT_VERSION)
		return "another layout version";
	if (get_u32(&r) != t->n_rows || get_u32(&r) != t->n_cells || get_u32(&r) != t->n_waits)
		return "other capacities";
	hosts = get_u32(&r);
	ret->agreed = get_agreed(&r);
	if (!r.ok)
		return "cut short";
	if (hosts >= t->n_hosts)
		return "too many hosts";
	wrong = check_agreed(t, &ret->agreed);
	if (wrong)
		return wrong;
	ret->bytes = bytes;
	ret->extent = snapshot_extent(hosts, &ret->agreed);
	return ret->extent.len == len ? NULL : "cut short or too long";
}

struct host_record snapshot_host(const struct snapshot_view *v, uint32_t i)
{
	struct reader r = reader_on(v->bytes + v->extent.hosts_at + (uint64_t)i * HOST_BYTES, HOST_BYTES);
	struct host_record h;

	h.host = get_u16(&r);
	h.incarnation = get_u64(&r);
	h.nonce = get_u64(&r);
	h.last_number = get_u64(&r);
	h.sweep = get_u32(&r);
	h.down = get_u8(&r);
	return h;
}

struct row_record snapshot_row(const struct snapshot_view *v, uint32_t i)
{
	struct reader r = reader_on(v->bytes + v->extent.rows_at + (uint64_t)(i - 1) * ROW_BYTES, ROW_BYTES);
	struct row_record row = { .key_len = get_u32(&r) };

	row.next = get_u32(&r);
	row.queue_head = get_u32(&r);
	row.queue_tail = get_u32(&r);
	for (unsigned c = 0; c < KEY_CELLS; c++)
		row.cell[c] = get_u32(&r);
	memcpy(row.key, get_bytes(&r, KEY_INLINE), KEY_INLINE);
	row.value.delegation = get_u64(&r);
	row.value.incarnation = get_u64(&r);
	row.value.base = get_u64(&r);
	row.value.host = get_u16(&r);
	row.value.mode = get_u8(&r);
	row.value.flags = get_u8(&r);
	row.value.waiting = get_u16(&r);
	row.value.holders = get_u16(&r);
	row.value.holder = get_u32(&r);
	return row;
}

struct cell_record snapshot_cell(const struct snapshot_view *v, uint32_t i)
{
	struct reader r = reader_on(v->bytes + v->extent.cells_at + (uint64_t)(i - 1) * CELL_BYTES, CELL_BYTES);
	struct cell_record cell = { .owner = get_u32(&r) };

	cell.next = get_u32(&r);
	memcpy(cell.bytes, get_bytes(&r, KEY_CELL), KEY_CELL);
	return cell;
}

struct wait_record snapshot_wait(const struct snapshot_view *v, uint32_t i)
{
	struct reader r = reader_on(v->bytes + v->extent.waits_at + (uint64_t)(i - 1) * WAIT_BYTES, WAIT_BYTES);
	struct wait_record wait = { .owner = get_u32(&r) };

	wait.next = get_u32(&r);
	wait.host = get_u16(&r);
	wait.mode = get_u8(&r);
	wait.incarnation = get_u64(&r);
	wait.delegation = get_u64(&r);
	wait.base = get_u64(&r);
	return wait;
}

void snapshot_key(const struct snapshot_view *v, const struct row_record *r, uint8_t ret[KEY_PADDED])
{
	memset(ret, 0, KEY_PADDED);
	memcpy(ret, r->key, KEY_INLINE);
	for (unsigned c = 0; c < snapshot_cells(r->key_len); c++) {
		struct cell_record cell = snapshot_cell(v, r->cell[c]);

		memcpy(ret + KEY_INLINE + c * KEY_CELL, cell.bytes, KEY_CELL);
	}
}

uint64_t snapshot_hash_on(uint64_t hash, const unsigned char *bytes, uint64_t *from, uint64_t to, uint64_t hash_at)
{
	ASSERT(to <= hash_at);
	while (*from < to) {
		uint64_t n = MIN((uint64_t)HASH_PIECE, hash_at - *from);

		if (n > to - *from)
			break;
		hash = hash_bytes(hash, bytes + *from, n);
		*from += n;
	}
	return hash;
}

uint64_t snapshot_hash_found(const struct snapshot_view *v)
{
	struct reader r = reader_on(v->bytes + v->extent.hash_at, HASH_BYTES);

	return get_u64(&r);
}
