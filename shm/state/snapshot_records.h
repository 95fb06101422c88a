/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot_records: the bytes of a snapshot - how large each record is, where each array begins, and
 * every record as a structure.
 *
 * The records have fixed sizes, so that verify finds each by its index without memory of its own.
 * Cells and waits name the row that owns them, which no table keeps: with it verify sees in one
 * pass that nothing is owned twice. A free list that ends after as many steps as there are free
 * elements has visited each of them once.
 *
 * Pure. Who may enter: snapshot and snapshot_verify alone.
 */
#ifndef PAXSHM_SHM_STATE_SNAPSHOT_RECORDS_H
#define PAXSHM_SHM_STATE_SNAPSHOT_RECORDS_H

#include "../table.h"

#define SNAPSHOT_MAGIC 0x3150414e53584150ull /* "PAXSNAP1" read as a little-endian word */

#define HEAD_BYTES (8 + 4 + 4 * 4)
#define AGREED_BYTES (6 * 8 + 4 + 12 * 4)
#define HOST_BYTES (2 + 3 * 8 + 4 + 1)
#define ROW_BYTES (7 * 4 + KEY_INLINE + 3 * 8 + 2 + 1 + 1 + 4)
#define CELL_BYTES (2 * 4 + KEY_CELL)
#define WAIT_BYTES (2 * 4 + 2 + 8)
#define HASH_BYTES 8

#define KEY_PADDED (KEY_INLINE + KEY_CELLS * KEY_CELL)

/* Where each array begins, in a snapshot of these counts. */
struct snapshot_extent {
	uint32_t hosts, rows, cells, waits;
	uint64_t hosts_at, rows_at, cells_at, waits_at, hash_at, len;
};

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
	uint8_t down;
};

/* A snapshot in parts: `bytes` hold all that extent says (verify has seen to it). */
struct snapshot_view {
	const unsigned char *bytes;
	struct agreed agreed;
	struct snapshot_extent extent;
};

struct snapshot_extent snapshot_extent(uint32_t hosts, const struct agreed *a);

/* Cells that a key of this length takes. */
uint32_t snapshot_cells(uint32_t key_len);

void snapshot_put_agreed(struct writer *w, const struct agreed *a);
void snapshot_put_host(struct writer *w, uint16_t host, const struct host_row *h);
void snapshot_put_row(struct writer *w, const struct row_record *r);

/* Opens bytes as far as their head says where everything is: NULL, or what is wrong. After it the
 * records below may be asked for: hosts 0 .. hosts-1, the others 1 .. high. What they say is not
 * checked yet. */
const char *snapshot_open(const struct tables *t, const void *bytes, uint64_t len, struct snapshot_view *ret);

struct host_record snapshot_host(const struct snapshot_view *v, uint32_t i);
struct row_record snapshot_row(const struct snapshot_view *v, uint32_t i);
struct cell_record snapshot_cell(const struct snapshot_view *v, uint32_t i);
struct wait_record snapshot_wait(const struct snapshot_view *v, uint32_t i);

/* The key of a row whose cells are in range, with what stands behind its end. */
void snapshot_key(const struct snapshot_view *v, const struct row_record *r, uint8_t ret[KEY_PADDED]);

/* What the bytes before the hash hash to, and what stands there. */
uint64_t snapshot_hash_made(const void *bytes, const struct snapshot_extent *e);
uint64_t snapshot_hash_found(const struct snapshot_view *v);

#endif
