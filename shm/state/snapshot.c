/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot.h"
#include "../atom.h"

/*
 * The records have fixed sizes, so that verify finds each by its index without memory of its own.
 * Cells and waits name the row that owns them, which no table keeps: with it verify sees in one
 * pass that nothing is owned twice. A free list that ends after as many steps as there are free
 * elements has visited each of them once.
 */

#define MAGIC 0x3150414e53584150ull /* "PAXSNAP1" read as a little-endian word */

#define HEAD_BYTES (8 + 4 + 4 * 4)
#define AGREED_BYTES (5 * 8 + 4 + 12 * 4)
#define HOST_BYTES (2 + 3 * 8 + 4)
#define ROW_BYTES (7 * 4 + KEY_INLINE + 3 * 8 + 2 + 1 + 1 + 4)
#define CELL_BYTES (2 * 4 + KEY_CELL)
#define WAIT_BYTES (2 * 4 + 2 + 8)
#define HASH_BYTES 8

_Static_assert(LOCK_VALUE_AGREED_WORDS == 4, "the row record has every agreed word");
_Static_assert(sizeof(struct agreed) == 5 * 8 + 4 + 12 * 4 + 4, "every field is written (and one spare)");

/* Where each array begins, in a snapshot of these counts. */
struct extent {
	uint32_t hosts, rows, cells, waits;
	uint64_t hosts_at, rows_at, cells_at, waits_at, hash_at, len;
};

static struct extent extent_of(uint32_t hosts, const struct agreed *a)
{
	struct extent e = { .hosts = hosts, .rows = a->rows_high, .cells = a->cells_high, .waits = a->waits_high };

	e.hosts_at = HEAD_BYTES + AGREED_BYTES;
	e.rows_at = e.hosts_at + (uint64_t)hosts * HOST_BYTES;
	e.cells_at = e.rows_at + (uint64_t)e.rows * ROW_BYTES;
	e.waits_at = e.cells_at + (uint64_t)e.cells * CELL_BYTES;
	e.hash_at = e.waits_at + (uint64_t)e.waits * WAIT_BYTES;
	e.len = e.hash_at + HASH_BYTES;
	return e;
}

static uint32_t cells_of(uint32_t key_len)
{
	return key_len > KEY_INLINE ? (key_len - KEY_INLINE + KEY_CELL - 1) / KEY_CELL : 0;
}

/* ---- records <-> bytes ---- */

struct row_record {
	uint32_t key_len; /* 0: free */
	uint32_t next;    /* in the free list; a row in use has none: chains are each host's own */
	uint32_t queue_head, queue_tail;
	uint32_t cell[KEY_CELLS];
	uint8_t key[KEY_INLINE]; /* what follows stands in the cells */
	struct lock_value value;
};

struct cell_record {
	uint32_t owner; /* 0: free */
	uint32_t next;
	uint8_t bytes[KEY_CELL];
};

struct wait_record {
	uint32_t owner; /* 0: free */
	uint32_t next;
	uint16_t host;
	uint64_t incarnation;
};

struct host_record {
	uint16_t host;
	uint64_t incarnation, nonce, last_number;
	uint32_t sweep;
};

static void put_agreed(struct writer *w, const struct agreed *a)
{
	put_u64(w, a->applied);
	put_u64(w, a->applied_part);
	put_u64(w, a->history);
	put_u64(w, a->token_floor);
	put_u64(w, a->delegations);
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

static void put_host(struct writer *w, uint16_t host, const struct host_row *h)
{
	put_u16(w, host);
	put_u64(w, h->incarnation);
	put_u64(w, h->nonce);
	put_u64(w, h->last_number);
	put_u32(w, h->sweep);
}

static void put_row(struct writer *w, const struct row_record *r)
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
	put_u32(w, r->value.waiting);
}

/* A snapshot in parts: `bytes` hold all that extent says (verify has seen to it). */
struct view {
	const unsigned char *bytes;
	struct agreed agreed;
	struct extent extent;
};

static struct host_record view_host(const struct view *v, uint32_t i)
{
	struct reader r = reader_on(v->bytes + v->extent.hosts_at + (uint64_t)i * HOST_BYTES, HOST_BYTES);
	struct host_record h;

	h.host = get_u16(&r);
	h.incarnation = get_u64(&r);
	h.nonce = get_u64(&r);
	h.last_number = get_u64(&r);
	h.sweep = get_u32(&r);
	return h;
}

static struct row_record view_row(const struct view *v, uint32_t i)
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
	row.value.waiting = get_u32(&r);
	return row;
}

static struct cell_record view_cell(const struct view *v, uint32_t i)
{
	struct reader r = reader_on(v->bytes + v->extent.cells_at + (uint64_t)(i - 1) * CELL_BYTES, CELL_BYTES);
	struct cell_record cell = { .owner = get_u32(&r) };

	cell.next = get_u32(&r);
	memcpy(cell.bytes, get_bytes(&r, KEY_CELL), KEY_CELL);
	return cell;
}

static struct wait_record view_wait(const struct view *v, uint32_t i)
{
	struct reader r = reader_on(v->bytes + v->extent.waits_at + (uint64_t)(i - 1) * WAIT_BYTES, WAIT_BYTES);
	struct wait_record wait = { .owner = get_u32(&r) };

	wait.next = get_u32(&r);
	wait.host = get_u16(&r);
	wait.incarnation = get_u64(&r);
	return wait;
}

/* ---- from the table ---- */

/* What hosts have alike of a row, and the whole key, padded with zeros. */
static struct row_record row_agreed(const struct tables *t, uint32_t i, uint8_t key[KEY_INLINE + KEY_CELLS * KEY_CELL])
{
	const struct table_row *row = tables_row(t, i);
	struct row_record r = { .key_len = atom_load_relaxed(&row->key_len) };

	memset(key, 0, KEY_INLINE + KEY_CELLS * KEY_CELL);
	if (!r.key_len) {
		r.next = atom_load_relaxed(&row->next);
		return r;
	}
	r.key_len = table_key(t, i, key);
	r.queue_head = row->queue_head;
	r.queue_tail = row->queue_tail;
	for (unsigned c = 0; c < cells_of(r.key_len); c++)
		r.cell[c] = row->cell[c];
	memcpy(r.key, key, KEY_INLINE);
	r.value = table_value(t, i);
	return r;
}

static uint32_t hosts_registered(const struct tables *t)
{
	uint32_t n = 0;

	for (uint32_t i = 1; i < t->n_hosts; i++)
		n += tables_host(t, i)->incarnation != 0;
	return n;
}

uint64_t snapshot_size(const struct tables *t)
{
	return extent_of(hosts_registered(t), &t->agreed).len;
}

/* Writes a cell's or wait's owner, and zeros or its link. */
static struct writer element_at(unsigned char *bytes, uint64_t array_at, uint32_t i, size_t size)
{
	return writer_on(bytes + array_at + (uint64_t)(i - 1) * size, size);
}

static void write_cells(unsigned char *bytes, const struct extent *e, uint32_t row, const struct row_record *r,
			const uint8_t *key)
{
	for (unsigned c = 0; c < cells_of(r->key_len); c++) {
		struct writer w = element_at(bytes, e->cells_at, r->cell[c], CELL_BYTES);

		put_u32(&w, row);
		put_u32(&w, 0);
		put_bytes(&w, key + KEY_INLINE + c * KEY_CELL, KEY_CELL);
	}
}

static void write_queue(const struct tables *t, unsigned char *bytes, const struct extent *e, uint32_t row,
			const struct row_record *r)
{
	uint32_t at = r->value.delegation ? r->queue_head : 0; /* else: links of the died list */

	for (; at; at = tables_wait(t, at)->next) {
		struct writer w = element_at(bytes, e->waits_at, at, WAIT_BYTES);

		put_u32(&w, row);
		put_u32(&w, tables_wait(t, at)->next);
		put_u16(&w, tables_wait(t, at)->host);
		put_u64(&w, tables_wait(t, at)->incarnation);
	}
}

static uint32_t cell_next(const struct tables *t, uint32_t i)
{
	return (uint32_t)*tables_cell(t, i);
}

static void write_free(const struct tables *t, unsigned char *bytes, const struct extent *e)
{
	for (uint32_t i = t->agreed.cells_free; i; i = cell_next(t, i)) {
		struct writer w = element_at(bytes, e->cells_at, i, CELL_BYTES);

		put_u32(&w, 0);
		put_u32(&w, cell_next(t, i));
	}
	for (uint32_t i = t->agreed.waits_free; i; i = tables_wait(t, i)->next) {
		struct writer w = element_at(bytes, e->waits_at, i, WAIT_BYTES);

		put_u32(&w, 0);
		put_u32(&w, tables_wait(t, i)->next);
	}
}

uint64_t snapshot_write(const struct tables *t, void *bytes, uint64_t cap)
{
	struct extent e = extent_of(hosts_registered(t), &t->agreed);
	struct writer w = writer_on(bytes, e.cells_at);
	uint8_t key[KEY_INLINE + KEY_CELLS * KEY_CELL];

	ASSERT(cap >= e.len);
	put_u64(&w, MAGIC);
	put_u32(&w, LAYOUT_VERSION);
	put_u32(&w, t->n_rows);
	put_u32(&w, t->n_cells);
	put_u32(&w, t->n_waits);
	put_u32(&w, e.hosts);
	put_agreed(&w, &t->agreed);
	for (uint32_t i = 1; i < t->n_hosts; i++)
		if (tables_host(t, i)->incarnation)
			put_host(&w, (uint16_t)i, tables_host(t, i));
	memset((unsigned char *)bytes + e.cells_at, 0, e.hash_at - e.cells_at);
	for (uint32_t i = 1; i <= e.rows; i++) {
		struct row_record r = row_agreed(t, i, key);

		put_row(&w, &r);
		write_cells(bytes, &e, i, &r, key);
		write_queue(t, bytes, &e, i, &r);
	}
	write_free(t, bytes, &e);
	ASSERT(w.ok && w.len == e.cells_at);

	w = writer_on((unsigned char *)bytes + e.hash_at, HASH_BYTES);
	put_u64(&w, hash_bytes(MAGIC, bytes, e.hash_at));
	return e.len;
}

/* ---- checks: NULL, or what is wrong ---- */

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

static const char *check_hosts(const struct tables *t, const struct view *v)
{
	uint32_t before = 0;

	for (uint32_t i = 0; i < v->extent.hosts; i++) {
		struct host_record h = view_host(v, i);

		if (h.host <= before || h.host >= t->n_hosts)
			return "host ids out of range or order";
		if (!h.incarnation)
			return "a host that never registered";
		if (!h.sweep || (h.sweep != HOST_SWEPT && h.sweep > t->n_rows))
			return "sweep out of range";
		before = h.host;
	}
	return NULL;
}

static const char *check_row_cells(const struct view *v, uint32_t row, const struct row_record *r)
{
	for (unsigned c = 0; c < KEY_CELLS; c++) {
		if (c >= cells_of(r->key_len)) {
			if (r->cell[c])
				return "more cells than the key needs";
			continue;
		}
		if (!r->cell[c] || r->cell[c] > v->extent.cells)
			return "cell out of range";
		if (view_cell(v, r->cell[c]).owner != row)
			return "a cell of another row";
		for (unsigned d = 0; d < c; d++)
			if (r->cell[d] == r->cell[c])
				return "a cell twice in a row";
	}
	return NULL;
}

static const char *check_queue(const struct tables *t, const struct view *v, uint32_t row, const struct row_record *r)
{
	uint32_t at = r->queue_head, last = 0;

	for (uint32_t i = 0; i < r->value.waiting; i++) {
		struct wait_record w;

		if (!at || at > v->extent.waits)
			return "queue entry out of range";
		w = view_wait(v, at);
		if (w.owner != row)
			return "a queue entry of another row";
		if (!w.host || w.host >= t->n_hosts)
			return "queue entry of no host";
		last = at;
		at = w.next;
	}
	return at || r->queue_tail != last ? "queue does not end where it should" : NULL;
}

/* A row kept for LOCK_DIED: has no queue, its links are looked at with the list. */
static const char *check_died(const struct row_record *r)
{
	const struct lock_value *v = &r->value;

	return v->host || v->incarnation || v->waiting || v->flags != LOCK_DIED ? "a died row with an owner" : NULL;
}

static const char *check_row(const struct tables *t, const struct view *v, uint32_t row, const struct row_record *r)
{
	const struct lock_value *value = &r->value;
	const char *wrong;

	if (r->key_len > KEY_MAX)
		return "key too long";
	wrong = check_row_cells(v, row, r);
	if (wrong)
		return wrong;
	if (!value->base)
		return "token 0";
	if (!value->delegation)
		return check_died(r);
	if (value->delegation > v->agreed.delegations || value->flags & ~LOCK_DIED)
		return "unknown delegation or flags";
	if (!value->host || value->host >= t->n_hosts || !value->incarnation)
		return "a lock of no host";
	if (value->waiting > v->agreed.waits_used)
		return "more waiting than there are entries";
	return check_queue(t, v, row, r);
}

/* Rows in use, and through them every cell and queue entry in use: each is counted once, because it
 * names its row and, within a row, comes once. */
static const char *check_rows(const struct tables *t, const struct view *v)
{
	uint64_t used = 0, cells = 0, waits = 0, died = 0;

	for (uint32_t i = 1; i <= v->extent.rows; i++) {
		struct row_record r = view_row(v, i);
		const char *wrong;

		if (!r.key_len)
			continue;
		wrong = check_row(t, v, i, &r);
		if (wrong)
			return wrong;
		used++;
		cells += cells_of(r.key_len);
		waits += r.value.waiting;
		died += !r.value.delegation;
		/* Here and not at the end: walks together are no longer than the pool. */
		if (waits > v->agreed.waits_used)
			return "more waiting than there are entries";
	}
	if (used != v->agreed.rows_used || cells != v->agreed.cells_used || waits != v->agreed.waits_used ||
	    died != v->agreed.died_count)
		return "counts that do not fit the rows";
	return NULL;
}

static const char *check_died_list(const struct view *v)
{
	uint32_t before = 0, at = v->agreed.died_head;

	for (uint32_t i = 0; i < v->agreed.died_count; i++) {
		struct row_record r;

		if (!at || at > v->extent.rows)
			return "died list out of range";
		r = view_row(v, at);
		if (!r.key_len || r.value.delegation || r.queue_head != before)
			return "died list with a row that is not in it";
		before = at;
		at = r.queue_tail;
	}
	return at || v->agreed.died_tail != before ? "died list does not end where it should" : NULL;
}

typedef bool free_step(const struct view *v, uint32_t i, uint32_t *ret_next);

static bool row_step(const struct view *v, uint32_t i, uint32_t *ret_next)
{
	struct row_record r = view_row(v, i);

	*ret_next = r.next;
	return r.key_len == 0;
}

static bool cell_step(const struct view *v, uint32_t i, uint32_t *ret_next)
{
	struct cell_record c = view_cell(v, i);

	*ret_next = c.next;
	return c.owner == 0;
}

static bool wait_step(const struct view *v, uint32_t i, uint32_t *ret_next)
{
	struct wait_record w = view_wait(v, i);

	*ret_next = w.next;
	return w.owner == 0;
}

static bool free_list_ok(const struct view *v, uint32_t at, uint32_t high, uint32_t used, free_step *step)
{
	for (uint32_t left = high - used; left; left--)
		if (!at || at > high || !step(v, at, &at))
			return false;
	return at == 0;
}

static const char *check_free(const struct view *v)
{
	const struct agreed *a = &v->agreed;

	if (!free_list_ok(v, a->rows_free, a->rows_high, a->rows_used, row_step))
		return "free rows do not fit";
	if (!free_list_ok(v, a->cells_free, a->cells_high, a->cells_used, cell_step))
		return "free cells do not fit";
	if (!free_list_ok(v, a->waits_free, a->waits_high, a->waits_used, wait_step))
		return "free queue entries do not fit";
	return NULL;
}

/* Opens a snapshot as far as its head says where everything is. */
static const char *view_open(const struct tables *t, const void *bytes, uint64_t len, struct view *ret)
{
	struct reader r = reader_on(bytes, len);
	uint32_t hosts;
	const char *wrong;

	if (get_u64(&r) != MAGIC)
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
	ret->extent = extent_of(hosts, &ret->agreed);
	return ret->extent.len == len ? NULL : "cut short or too long";
}

static uint64_t hash_at_end(const struct view *v)
{
	struct reader r = reader_on(v->bytes + v->extent.hash_at, HASH_BYTES);

	return get_u64(&r);
}

const char *snapshot_verify(const struct tables *t, const void *bytes, uint64_t len)
{
	struct view v;
	const char *wrong = view_open(t, bytes, len, &v);

	if (wrong)
		return wrong;
	if (hash_at_end(&v) != hash_bytes(MAGIC, bytes, v.extent.hash_at))
		return "wrong hash";
	wrong = check_hosts(t, &v);
	if (!wrong)
		wrong = check_rows(t, &v);
	if (!wrong)
		wrong = check_died_list(&v);
	return wrong ? wrong : check_free(&v);
}

/* ---- into the table ---- */

static void install_hosts(struct tables *t, const struct view *v)
{
	for (uint32_t i = 1; i < t->n_hosts; i++) {
		struct host_row *h = tables_host(t, i);

		h->incarnation = h->nonce = h->last_number = 0;
		h->sweep = 0;
	}
	for (uint32_t i = 0; i < v->extent.hosts; i++) {
		struct host_record from = view_host(v, i);
		struct host_row *h = tables_host(t, from.host);

		h->incarnation = from.incarnation;
		h->nonce = from.nonce;
		h->last_number = from.last_number;
		h->sweep = from.sweep;
	}
}

/* The key's words are zero behind its end. */
static void install_key(const struct view *v, struct table_row *row, const struct row_record *r)
{
	uint8_t key[KEY_INLINE + KEY_CELLS * KEY_CELL];

	memcpy(key, r->key, KEY_INLINE);
	for (unsigned c = 0; c < cells_of(r->key_len); c++)
		memcpy(key + KEY_INLINE + c * KEY_CELL, view_cell(v, r->cell[c]).bytes, KEY_CELL);
	memcpy(row->key, r->key, KEY_INLINE);
	atom_store_relaxed(&row->hash, hash_bytes(0, key, r->key_len));
}

/* A reader who came in before ready fell to 0 may still look on: the value changes as always. */
static void install_row(struct tables *t, const struct view *v, uint32_t i)
{
	struct table_row *row = tables_row(t, i);
	struct row_record r = view_row(v, i);
	uint32_t seq = row->seq + 1;

	install_key(v, row, &r);
	for (unsigned c = 0; c < KEY_CELLS; c++)
		row->cell[c] = r.cell[c];
	row->queue_head = r.queue_head;
	row->queue_tail = r.queue_tail;
	memcpy(row->value[seq & 1], &r.value, sizeof(r.value));
	atom_store_release(&row->seq, seq); /* pairs with the acquire of a reader in table_read */
	atom_store_relaxed(&row->next, r.next);
	atom_store_release(&row->key_len, r.key_len);
}

static void install_cell(struct tables *t, const struct view *v, uint32_t i)
{
	struct cell_record c = view_cell(v, i);

	memcpy(tables_cell(t, i), c.bytes, KEY_CELL);
	if (!c.owner)
		*tables_cell(t, i) = c.next;
}

static void install_wait(struct tables *t, const struct view *v, uint32_t i)
{
	struct wait_record w = view_wait(v, i);

	*tables_wait(t, i) = (struct table_wait){ .incarnation = w.incarnation, .next = w.next, .host = w.host };
}

void snapshot_install(struct tables *t, const void *bytes, uint64_t len)
{
	struct view v;
	uint32_t old_rows = t->agreed.rows_high;

	ASSERT(!view_open(t, bytes, len, &v));
	atom_store_seq_cst(&t->ready, 0);
	atom_fence_seq_cst();
	install_hosts(t, &v);
	for (uint32_t i = 1; i <= v.extent.rows; i++)
		install_row(t, &v, i);
	for (uint32_t i = v.extent.rows + 1; i <= old_rows; i++)
		atom_store_relaxed(&tables_row(t, i)->key_len, 0);
	for (uint32_t i = 1; i <= v.extent.cells; i++)
		install_cell(t, &v, i);
	for (uint32_t i = 1; i <= v.extent.waits; i++)
		install_wait(t, &v, i);
	t->agreed = v.agreed;
	table_rebuild(t);
}

/* ---- the hash ---- */

/* Whoever maps the tables may ask while the agent writes: the answer is then worthless, but every
 * walk ends. */
static uint64_t hash_waits(const struct tables *t, uint64_t h, uint32_t at)
{
	uint32_t left = t->n_waits;

	for (; at && at <= t->n_waits && left; left--, at = tables_wait(t, at)->next) {
		const struct table_wait *wait = tables_wait(t, at);

		h = hash_mix(h ^ ((uint64_t)at << 16 | wait->host));
		h = hash_mix(h ^ wait->incarnation);
	}
	return h;
}

static uint64_t hash_rows(const struct tables *t, uint64_t h)
{
	uint8_t key[KEY_INLINE + KEY_CELLS * KEY_CELL];
	unsigned char bytes[ROW_BYTES];
	uint32_t rows = MIN(t->agreed.rows_high, t->n_rows);

	for (uint32_t i = 1; i <= rows; i++) {
		struct row_record r = row_agreed(t, i, key);
		struct writer w = writer_on(bytes, sizeof(bytes));

		put_row(&w, &r);
		h = hash_bytes(h, bytes, w.len);
		h = hash_bytes(h, key, sizeof(key));
		if (r.key_len && r.value.delegation)
			h = hash_waits(t, h, r.queue_head);
	}
	return h;
}

static uint64_t hash_free(const struct tables *t, uint64_t h)
{
	uint32_t left = t->n_cells;

	for (uint32_t i = t->agreed.cells_free; i && i <= t->n_cells && left; left--, i = cell_next(t, i))
		h = hash_mix(h ^ i);
	left = t->n_waits;
	for (uint32_t i = t->agreed.waits_free; i && i <= t->n_waits && left; left--, i = tables_wait(t, i)->next)
		h = hash_mix(h ^ i);
	return h;
}

uint64_t snapshot_state_hash(const struct tables *t)
{
	unsigned char bytes[AGREED_BYTES];
	struct writer w = writer_on(bytes, sizeof(bytes));
	uint64_t h;

	put_agreed(&w, &t->agreed);
	h = hash_bytes(MAGIC, bytes, w.len);
	for (uint32_t i = 1; i < t->n_hosts; i++)
		if (tables_host(t, i)->incarnation) {
			w = writer_on(bytes, sizeof(bytes));
			put_host(&w, (uint16_t)i, tables_host(t, i));
			h = hash_bytes(h, bytes, w.len);
		}
	return hash_free(t, hash_rows(t, h));
}
