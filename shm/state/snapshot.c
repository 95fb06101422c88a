/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot.h"
#include "snapshot_records.h"
#include "../atom.h"

/* ---- from the table ---- */

/* What hosts have alike of a row, and the whole key, padded with zeros. */
static struct row_record row_agreed(const struct tables *t, uint32_t i, uint8_t key[KEY_PADDED])
{
	const struct table_row *row = tables_row(t, i);
	struct row_record r = { .key_len = atom_load_relaxed(&row->key_len) };

	memset(key, 0, KEY_PADDED);
	if (!r.key_len) {
		r.next = atom_load_relaxed(&row->next);
		return r;
	}
	r.key_len = table_key(t, i, key);
	r.queue_head = row->queue_head;
	r.queue_tail = row->queue_tail;
	for (unsigned c = 0; c < snapshot_cells(r.key_len); c++)
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
	return snapshot_extent(hosts_registered(t), &t->agreed).len;
}

uint64_t snapshot_size_max(const struct table_capacity *capacity)
{
	const struct agreed full = {
		.rows_high = capacity->rows,
		.cells_high = capacity->cells,
		.waits_high = capacity->waits,
	};

	return snapshot_extent(HOSTS_MAX - 1, &full).len;
}

/* Cells and waits are written when their owner is met, in whatever order that is. */
static struct writer element_at(unsigned char *bytes, uint64_t array_at, uint32_t i, size_t size)
{
	return writer_on(bytes + array_at + (uint64_t)(i - 1) * size, size);
}

static void write_cells(unsigned char *bytes, const struct snapshot_extent *e, uint32_t row, const struct row_record *r,
			const uint8_t *key)
{
	for (unsigned c = 0; c < snapshot_cells(r->key_len); c++) {
		struct writer w = element_at(bytes, e->cells_at, r->cell[c], CELL_BYTES);

		put_u32(&w, row);
		put_u32(&w, 0);
		put_bytes(&w, key + KEY_INLINE + c * KEY_CELL, KEY_CELL);
	}
}

static void write_queue(const struct tables *t, unsigned char *bytes, const struct snapshot_extent *e, uint32_t row,
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

static void write_free(const struct tables *t, unsigned char *bytes, const struct snapshot_extent *e)
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
	struct snapshot_extent e = snapshot_extent(hosts_registered(t), &t->agreed);
	struct writer w = writer_on(bytes, e.cells_at);
	uint8_t key[KEY_PADDED];

	ASSERT(cap >= e.len);
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
	memset((unsigned char *)bytes + e.cells_at, 0, e.hash_at - e.cells_at);
	for (uint32_t i = 1; i <= e.rows; i++) {
		struct row_record r = row_agreed(t, i, key);

		snapshot_put_row(&w, &r);
		write_cells(bytes, &e, i, &r, key);
		write_queue(t, bytes, &e, i, &r);
	}
	write_free(t, bytes, &e);
	ASSERT(w.ok && w.len == e.cells_at);

	w = writer_on((unsigned char *)bytes + e.hash_at, HASH_BYTES);
	put_u64(&w, snapshot_hash_made(bytes, &e));
	return e.len;
}

/* ---- into the table ---- */

static void install_hosts(struct tables *t, const struct snapshot_view *v)
{
	for (uint32_t i = 1; i < t->n_hosts; i++) {
		struct host_row *h = tables_host(t, i);

		h->incarnation = h->nonce = h->last_number = 0;
		h->sweep = HOST_SWEPT;
		h->down = 0;
	}
	for (uint32_t i = 0; i < v->extent.hosts; i++) {
		struct host_record from = snapshot_host(v, i);
		struct host_row *h = tables_host(t, from.host);

		h->incarnation = from.incarnation;
		h->nonce = from.nonce;
		h->last_number = from.last_number;
		h->sweep = from.sweep;
		h->down = from.down;
	}
}

/* A reader who came in before ready fell to 0 may still look on. Whatever word it meets is stored
 * with release: so it finds ready at 0, or recoveries raised, when it looks there afterwards. */
static void store_bytes(uint64_t *to, const void *bytes, uint32_t len)
{
	for (uint32_t i = 0; i < len / 8; i++) {
		uint64_t word;

		memcpy(&word, (const unsigned char *)bytes + 8 * i, 8);
		atom_store_release(&to[i], word);
	}
}

static void install_key(const struct snapshot_view *v, struct table_row *row, const struct row_record *r)
{
	uint8_t key[KEY_PADDED];

	snapshot_key(v, r, key);
	store_bytes(row->key, key, KEY_INLINE);
	for (unsigned c = 0; c < KEY_CELLS; c++)
		atom_store_release(&row->cell[c], r->cell[c]);
	atom_store_release(&row->hash, hash_bytes(0, key, r->key_len));
}

static void install_row(struct tables *t, const struct snapshot_view *v, uint32_t i)
{
	struct table_row *row = tables_row(t, i);
	struct row_record r = snapshot_row(v, i);
	uint32_t seq = row->seq + 1; /* never reset */

	install_key(v, row, &r);
	row->queue_head = r.queue_head;
	row->queue_tail = r.queue_tail;
	store_bytes(row->value[seq & 1], &r.value, sizeof(r.value));
	atom_store_release(&row->seq, seq);
	atom_store_release(&row->next, r.next);
	atom_store_release(&row->key_len, r.key_len);
}

static void install_cell(struct tables *t, const struct snapshot_view *v, uint32_t i)
{
	struct cell_record c = snapshot_cell(v, i);

	store_bytes(tables_cell(t, i), c.bytes, KEY_CELL);
	if (!c.owner)
		atom_store_release(tables_cell(t, i), (uint64_t)c.next);
}

static void install_wait(struct tables *t, const struct snapshot_view *v, uint32_t i)
{
	struct wait_record w = snapshot_wait(v, i);

	*tables_wait(t, i) = (struct table_wait){ .incarnation = w.incarnation, .next = w.next, .host = w.host };
}

uint64_t snapshot_slot(const struct tables *t, const void *bytes, uint64_t len)
{
	struct snapshot_view v;

	ASSERT(!snapshot_open(t, bytes, len, &v));
	return v.agreed.applied;
}

void snapshot_install(struct tables *t, const void *bytes, uint64_t len)
{
	struct snapshot_view v;
	uint32_t old_rows = t->agreed.rows_high;

	ASSERT(!snapshot_open(t, bytes, len, &v));
	atom_store_release(&t->ready, 0);
	install_hosts(t, &v);
	for (uint32_t i = 1; i <= v.extent.rows; i++)
		install_row(t, &v, i);
	for (uint32_t i = v.extent.rows + 1; i <= old_rows; i++)
		atom_store_release(&tables_row(t, i)->key_len, 0);
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
	uint8_t key[KEY_PADDED];
	unsigned char bytes[ROW_BYTES];
	uint32_t rows = MIN(t->agreed.rows_high, t->n_rows);

	for (uint32_t i = 1; i <= rows; i++) {
		struct row_record r = row_agreed(t, i, key);
		struct writer w = writer_on(bytes, sizeof(bytes));

		snapshot_put_row(&w, &r);
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

	snapshot_put_agreed(&w, &t->agreed);
	h = hash_bytes(SNAPSHOT_MAGIC, bytes, w.len);
	for (uint32_t i = 1; i < t->n_hosts; i++)
		if (tables_host(t, i)->incarnation) {
			w = writer_on(bytes, sizeof(bytes));
			snapshot_put_host(&w, (uint16_t)i, tables_host(t, i));
			h = hash_bytes(h, bytes, w.len);
		}
	return hash_free(t, hash_rows(t, h));
}
