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
 * Pure. Who may enter: the rooms of snapshot alone.
 */
#ifndef PAXSHM_SHM_STATE_SNAPSHOT_RECORDS_H
#define PAXSHM_SHM_STATE_SNAPSHOT_RECORDS_H

#include "snapshot.h"

#define SNAPSHOT_MAGIC 0x3350414e53584150ull /* "PAXSNAP3" read as a little-endian word */

#define HEAD_BYTES (8 + 4 + 4 * 4)
#define AGREED_BYTES (6 * 8 + 4 + 12 * 4)
#define HOST_BYTES (2 + 3 * 8 + 4 + 1)
#define ROW_BYTES (7 * 4 + KEY_INLINE + 3 * 8 + 2 + 1 + 1 + 2 * 2 + 4)
#define CELL_BYTES (2 * 4 + KEY_CELL)
#define WAIT_BYTES (2 * 4 + 2 + 1 + 3 * 8)
#define HASH_BYTES 8
#define HASH_PIECE 4096u /* hashed one after the other, each with the hash so far as its seed: so that it can be done in bites */

#define KEY_PADDED (KEY_INLINE + KEY_CELLS * KEY_CELL)

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

struct wait_record {    /* of a queue, or of a list of holders: those have a delegation */
	uint32_t owner; /* 0: free */
	uint32_t next;
	uint16_t host;
	uint8_t mode;
	uint64_t incarnation, delegation, base;
};

struct host_record {
	uint16_t host;
	uint64_t incarnation, nonce, last_number;
	uint32_t sweep;
	uint8_t down;
};

struct snapshot_extent snapshot_extent(uint32_t hosts, const struct agreed *a);

/* Cells that a key of this length takes. */
uint32_t snapshot_cells(uint32_t key_len);

void snapshot_put_agreed(struct writer *w, const struct agreed *a);
void snapshot_put_host(struct writer *w, uint16_t host, const struct host_row *h);
void snapshot_put_row(struct writer *w, const struct row_record *r);
void snapshot_put_cell(struct writer *w, const struct cell_record *c);
void snapshot_put_wait(struct writer *w, const struct wait_record *wait);

/* What hosts have alike of a row of a table, and its whole key, padded with zeros. */
struct row_record snapshot_row_of(const struct tables *t, uint32_t row, uint8_t ret_key[KEY_PADDED]);
uint32_t snapshot_hosts_registered(const struct tables *t);

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

/* Hashes on from *from to `to`, as far as whole pieces go, or all when `to` is where the hash stands. */
uint64_t snapshot_hash_on(uint64_t hash, const unsigned char *bytes, uint64_t *from, uint64_t to, uint64_t hash_at);
uint64_t snapshot_hash_found(const struct snapshot_view *v);

#endif
