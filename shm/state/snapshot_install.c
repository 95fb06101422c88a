/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot, installing one: rows, cells and waits in place, then the buckets; the counts, the free lists' heads and
 * the index last, at once. Until then `agreed` is what it was, so that who is told of a death in the
 * middle knows which rows may be in use.
 */
#include "snapshot.h"
#include "snapshot_records.h"
#include "../atom.h"

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

	const struct table_wait wait = {
		.incarnation = w.incarnation,
		.delegation = w.delegation,
		.base = w.base,
		.next = w.next,
		.host = w.host,
		.mode = w.mode,
	};

	store_bytes((uint64_t *)tables_wait(t, i), &wait, sizeof(wait));
}

uint64_t snapshot_slot(const struct tables *t, const void *bytes, uint64_t len)
{
	struct snapshot_view v;

	ASSERT(!snapshot_open(t, bytes, len, &v));
	return v.agreed.applied;
}

void snapshot_install_begin(struct snapshot_install *i, struct tables *t, const void *bytes, uint64_t len)
{
	*i = (struct snapshot_install){ .t = t, .old_rows = t->agreed.rows_high };
	ASSERT(!snapshot_open(t, bytes, len, &i->view));
	atom_store_seq_cst(&t->ready, 0);
	install_hosts(t, &i->view);
}

/* ---- bites: of the records 1 .. `of` of a stage the next; true: that was the last ---- */

enum { ROWS,
       OLD_ROWS,
       CELLS,
       WAITS,
       BUCKETS,
       CHAINS,
       DONE };

#define BUCKETS_A_RECORD 4u /* emptied in the time of a record */

static uint32_t extent_of(const struct snapshot_install *i)
{
	const struct snapshot_extent *e = &i->view.extent;

	switch (i->stage) {
	case ROWS:
	case CHAINS: return e->rows;
	case OLD_ROWS: return i->old_rows;
	case CELLS: return e->cells;
	case WAITS: return e->waits;
	default: return (i->t->n_buckets - 1) / BUCKETS_A_RECORD + 1;
	}
}

static void install_one(struct snapshot_install *i, uint32_t at)
{
	switch (i->stage) {
	case ROWS: install_row(i->t, &i->view, at); break;
	case OLD_ROWS:
		if (at > i->view.extent.rows)
			atom_store_release(&tables_row(i->t, at)->key_len, 0);
		break;
	case CELLS: install_cell(i->t, &i->view, at); break;
	case WAITS: install_wait(i->t, &i->view, at); break;
	case BUCKETS:
		for (uint32_t b = (at - 1) * BUCKETS_A_RECORD; b < MIN(at * BUCKETS_A_RECORD, i->t->n_buckets); b++)
			table_rebuild_bucket(i->t, b);
		break;
	case CHAINS: table_rebuild_row(i->t, at); break;
	}
}

bool snapshot_install_more(struct snapshot_install *i, uint32_t records)
{
	for (; i->stage < DONE; i->stage++, i->at = 0) {
		for (; i->at < extent_of(i); records--) {
			if (!records)
				return false;
			install_one(i, ++i->at);
		}
	}
	i->t->agreed = i->view.agreed;
	table_rebuilt(i->t);
	return true;
}

void snapshot_install(struct tables *t, const void *bytes, uint64_t len)
{
	struct snapshot_install i;

	snapshot_install_begin(&i, t, bytes, len);
	while (!snapshot_install_more(&i, UINT32_MAX))
		;
}
