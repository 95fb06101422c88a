/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock_table: which host holds which lock, and which hosts wait for it, first come first served.
 * The meaning of the rows; table.h is their mechanics.
 *
 * Invariants:
 *   - a row stands while its lock is delegated (delegation != 0), or only to remember that the last
 *     owner died (delegation 0, LOCK_DIED, in the died list, no queue);
 *   - a host stands at most once in a queue, with its incarnation; entries of ended incarnations are passed over;
 *   - every token of a delegation lies in [base, base + LOCK_RANGE); the next delegation of the key
 *     begins behind what was used; a row that goes raises the token floor of the space;
 *   - value.waiting is the length of the queue;
 *   - LOCK_DIED stays in the value until somebody was told, that is, until a release with a token used.
 *
 * Deterministic: reads nothing but the tables and its arguments. Pure. Who may enter: apply, tests.
 */
#ifndef PAXSHM_SHM_STATE_LOCK_TABLE_H
#define PAXSHM_SHM_STATE_LOCK_TABLE_H

#include "../table.h"

#define LOCK_MODE_EX 5u /* = PAXSHM_EX */

enum lock_outcome {
	LOCK_GRANTED, /* the host has it now (or had it already, under this incarnation) */
	LOCK_QUEUED,  /* it waits in the queue now (or did already) */
	LOCK_BUSY,    /* a try, and another has it */
	LOCK_FULL,    /* no row, cell or queue entry is left: -ENOSPC */
	LOCK_IGNORED, /* not the host's to release, or nothing to cancel */
	LOCK_FREED,   /* released, nobody waited */
	LOCK_PASSED,  /* released, and granted to the next in line */
};

/* `*ret_row`: the row concerned, 0 when there is none. */
enum lock_outcome lock_table_acquire(struct tables *t, struct undo *u, uint16_t host, uint64_t incarnation,
				     const void *key, uint32_t len, bool try_only, uint32_t *ret_row);

enum lock_outcome lock_table_release(struct tables *t, struct undo *u, uint16_t host, const void *key,
				     uint32_t len, uint64_t delegation, uint32_t used, bool died,
				     uint32_t *ret_row);

/* LOCK_FREED: the entry is gone. LOCK_IGNORED: there was none (never, or it was granted meanwhile). */
enum lock_outcome lock_table_cancel(struct tables *t, struct undo *u, uint16_t host, const void *key,
				    uint32_t len, uint32_t *ret_row);

/* Frees, as died, the row if it is delegated to an ended incarnation of `host`. */
enum lock_outcome lock_table_lapse(struct tables *t, struct undo *u, uint32_t row, uint16_t host);

#endif
