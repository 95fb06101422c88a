/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot: the agreed part of the tables as one run of bytes, for a host that fell out of the log.
 *
 * Bytes: magic, layout version, capacities, `struct agreed`, host rows that ever registered, then
 * rows, cells and waits up to their high-water marks (snapshot_records.h), without any host's own view (owners, names,
 * links); at the end a hash of all before. Free lists are part of it: two hosts at one index have the
 * same rows at the same places.
 *
 * Making, verifying and installing one are each done in bites, as large as the caller says, so that
 * nobody is held up by tables of any size; the short names (write, verify, install) do all at once.
 *
 *   tables --copy, while they go on changing--> bytes --check--> good --install--> other tables
 *
 * Pure. Who may enter: the agent, tests, `paxctl status` (the hash).
 */
#ifndef PAXSHM_SHM_STATE_SNAPSHOT_H
#define PAXSHM_SHM_STATE_SNAPSHOT_H

#include "../table.h"

/* Where each array begins, in a snapshot of these counts. */
struct snapshot_extent {
	uint32_t hosts, rows, cells, waits;
	uint64_t hosts_at, rows_at, cells_at, waits_at, hash_at, len;
};

/* A snapshot in parts: `bytes` hold all that extent says (opening it has seen to that). */
struct snapshot_view {
	const unsigned char *bytes;
	struct agreed agreed;
	struct snapshot_extent extent;
};

/* Bytes of a snapshot that is made now, and of the largest with these capacities. */
uint64_t snapshot_size(const struct tables *t);
uint64_t snapshot_size_max(const struct table_capacity *capacity);

/* Memory in which it can be made: the bytes, and a mark for each of its records behind them. */
uint64_t snapshot_room(const struct tables *t);
uint64_t snapshot_room_max(const struct table_capacity *capacity);

/* ---- making one (snapshot_write.c) ----
 *
 * The tables as they are when it begins, however they go on: each record is written down before
 * its row, cell or wait first changes. Every change of them goes through undo.h and is announced by
 * undo->before = snapshot_copy_before, undo->before_context = the copy; nothing else may change them.
 * It begins between two slots, with nothing to undo. Whoever gives it up takes `before` away; no more
 * is needed. */
struct snapshot_copy {
	const struct tables *t;
	unsigned char *bytes;
	uint64_t *marks; /* a bit each row, cell and wait: its record is written */
	struct snapshot_extent extent;
	uint64_t slot;
	uint64_t final; /* bytes from the start that change no more */
	uint64_t hash, hashed;
	uint64_t early; /* records that were written because their original was about to change */
};

/* `memory`: 8-aligned, at least snapshot_room() of it. */
void snapshot_copy_begin(struct snapshot_copy *c, const struct tables *t, void *memory, uint64_t cap);
/* Goes on by about `bytes` (a record more, at most): answers how many from the start are final; all
 * extent.len of them when it is done. */
uint64_t snapshot_copy_more(struct snapshot_copy *c, uint64_t bytes);
/* `at` is about to change; whatever is no row, cell or wait is passed over. */
void snapshot_copy_before(void *copy, const void *at);

/* All of it; answers the length. */
uint64_t snapshot_write(const struct tables *t, void *memory, uint64_t cap);

/* ---- looking at one that a peer sent (snapshot_verify.c) ---- */

struct snapshot_check {
	const struct tables *t;
	struct snapshot_view view;
	const char *wrong; /* NULL: nothing so far */
	unsigned stage;
	uint64_t done, hash;
	uint32_t at, before;
	uint64_t used, cells, waits, died;
};

/* The bytes must stay as they are until it is done. */
void snapshot_check_begin(struct snapshot_check *c, const struct tables *t, const void *bytes, uint64_t len);
/* Looks at about so many records more (a queue more, at most). True: done, and `wrong` is the verdict. */
bool snapshot_check_more(struct snapshot_check *c, uint32_t records);

/* NULL, or what is wrong: other version, other capacities than t has, cut short, hash, in the midst of a slot, any
 * index out of range, any list that does not end, any element owned twice or by nobody. Whatever passes may be installed; that no key stands
 * there twice is table_check's to say, afterwards. */
const char *snapshot_verify(const struct tables *t, const void *bytes, uint64_t len);

/* The slot at which a verified snapshot stands. */
uint64_t snapshot_slot(const struct tables *t, const void *bytes, uint64_t len);

/* ---- putting a verified one in place of the agreed part (snapshot_install.c) ----
 *
 * The host's own view of itself is kept for host rows and zeroed in lock values. `ready` falls to 0 when it begins
 * and stays so: nothing of the tables may be used until it is done and the caller raises it; `agreed` is
 * switched last. Not undone: whoever dies in the middle installs the same bytes again from the start, or
 * empties the tables. */
struct snapshot_install {
	struct tables *t;
	struct snapshot_view view;
	uint32_t old_rows; /* that may be in use beyond the new ones */
	unsigned stage;
	uint32_t at;
};

void snapshot_install_begin(struct snapshot_install *i, struct tables *t, const void *bytes, uint64_t len);
/* So many records or buckets more. True: done. */
bool snapshot_install_more(struct snapshot_install *i, uint32_t records);

void snapshot_install(struct tables *t, const void *bytes, uint64_t len);

/* One hash over what all hosts have alike, for comparing hosts at the same index. Walks all rows.
 * Independent of bucket and chain order. */
uint64_t snapshot_state_hash(const struct tables *t);

#endif
