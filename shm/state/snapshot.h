/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot: the agreed part of the tables as one run of bytes, for a host that fell out of the log.
 *
 * Bytes: magic, layout version, capacities, `struct agreed`, host rows that ever registered, then
 * rows, cells and waits up to their high-water marks (snapshot_records.h), without any host's own view (owners, names,
 * links); at the end a hash of all before. Free lists are part of it: two hosts at one index have the
 * same rows at the same places.
 *
 * Pure. Who may enter: the agent, tests, `paxctl status` (the hash).
 */
#ifndef PAXSHM_SHM_STATE_SNAPSHOT_H
#define PAXSHM_SHM_STATE_SNAPSHOT_H

#include "../table.h"

/* Bytes that snapshot_write would need now. */
uint64_t snapshot_size(const struct tables *t);

/* Bytes that it can need at most, with these capacities. */
uint64_t snapshot_size_max(const struct table_capacity *capacity);

/* Writes; answers the length. `cap` must be at least snapshot_size(). */
uint64_t snapshot_write(const struct tables *t, void *bytes, uint64_t cap);

/* NULL, or what is wrong: other version, other capacities than t has, cut short, hash, in the midst of a slot, any
 * index out of range, any list that does not end, any element owned twice or by nobody. Whatever passes may be installed; that no key stands
 * there twice is table_check's to say, afterwards. */
const char *snapshot_verify(const struct tables *t, const void *bytes, uint64_t len);

/* The slot at which a verified snapshot stands. */
uint64_t snapshot_slot(const struct tables *t, const void *bytes, uint64_t len);

/* Puts a verified snapshot in place of the agreed part and rebuilds the buckets; the host's own view of itself is
 * kept for host rows and zeroed in lock values. Sets ready = 0 before and leaves it so. Not undone:
 * whoever dies in the middle installs the same bytes again from the start, or empties the tables. */
void snapshot_install(struct tables *t, const void *bytes, uint64_t len);

/* One hash over what all hosts have alike, for comparing hosts at the same index. Walks all rows.
 * Independent of bucket and chain order. */
uint64_t snapshot_state_hash(const struct tables *t);

#endif
