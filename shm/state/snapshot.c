/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot, the hash: what is written, verified and installed stands in snapshot_*.c. */
#include "snapshot.h"
#include "snapshot_records.h"

/* Whoever maps the tables may ask while the agent writes: the answer is then worthless, but every
 * walk ends. */
static uint64_t hash_waits(const struct tables *t, uint64_t h, uint32_t at)
{
	uint32_t left = t->n_waits;

	for (; at && at <= t->n_waits && left; left--, at = tables_wait(t, at)->next) {
		const struct table_wait *wait = tables_wait(t, at);

		h = hash_mix(h ^ ((uint64_t)at << 24 | (uint64_t)wait->mode << 16 | wait->host));
		h = hash_mix(h ^ wait->incarnation);
		h = hash_mix(h ^ wait->delegation);
		h = hash_mix(h ^ wait->base);
	}
	return h;
}

static uint64_t hash_rows(const struct tables *t, uint64_t h)
{
	uint8_t key[KEY_PADDED];
	unsigned char bytes[ROW_BYTES];
	uint32_t rows = MIN(t->agreed.rows_high, t->n_rows);

	for (uint32_t i = 1; i <= rows; i++) {
		struct row_record r = snapshot_row_of(t, i, key);
		struct writer w = writer_on(bytes, sizeof(bytes));

		snapshot_put_row(&w, &r);
		h = hash_bytes(h, bytes, w.len);
		h = hash_bytes(h, key, sizeof(key));
		if (r.key_len && r.value.delegation)
			h = hash_waits(t, hash_waits(t, h, r.queue_head), r.value.holder);
	}
	return h;
}

static uint64_t hash_free(const struct tables *t, uint64_t h)
{
	uint32_t left = t->n_cells;

	for (uint32_t i = t->agreed.cells_free; i && i <= t->n_cells && left; left--, i = (uint32_t)*tables_cell(t, i))
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
