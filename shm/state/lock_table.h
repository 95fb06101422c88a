/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock_table: which hosts hold which lock, and which hosts wait for it, first come first served.
 * The meaning of the rows; table.h is their mechanics.
 *
 * A row is delegated either to one host in EX (its value names it), or to any number of hosts in PR (its value leads
 * to a list of entries, one a host, each a delegation of its own with tokens of its own).
 *
 * Invariants:
 *   - a row stands while its lock is delegated (delegation != 0), or only to remember that the last
 *     owner in EX died (delegation 0, LOCK_DIED, in the died list, no queue);
 *   - a host stands at most once in a queue, with its incarnation; entries of ended incarnations are passed over;
 *   - a row in PR has each host at most once, as a holder or in the queue;
 *   - whoever could have the lock does not wait: a row in PR has one that wants EX at its queue's head, so readers who
 *     come later wait behind it. (When that one's host has ended, until the host's sweep comes by.);
 *   - every token of a delegation lies in [base, base + LOCK_RANGE), in PR in [base, base + LOCK_SHARED_RANGE); the
 *     next delegation of the key begins behind what was used, behind all of the range when it was PR; a row
 *     that goes raises the token floor of the space;
 *   - value.waiting is the length of the queue, value.holders of the list of holders;
 *   - LOCK_DIED stays in the value until an owner in EX was told, that is, until a release with a token used. Those who
 *     share are told too; that one of them died is never told.
 *
 * Deterministic: reads nothing but the tables and its arguments. Pure. Who may enter: apply, tests; the agent reads.
 */
#ifndef PAXSHM_SHM_STATE_LOCK_TABLE_H
#define PAXSHM_SHM_STATE_LOCK_TABLE_H

#include "../table.h"

enum lock_outcome {
	LOCK_GRANTED, /* the host has it now (or had it already, under this incarnation) */
	LOCK_QUEUED,  /* it waits in the queue now (or did already) */
	LOCK_BUSY,    /* a try, and it is not to be had now; or, a try or not: this life of the host has it, or waits for it, in
		       * the other mode, and must release or cancel that first. Nothing has changed */
	LOCK_FULL,    /* no row, cell or entry is left: -ENOSPC */
	LOCK_IGNORED, /* not the host's to release, or nothing to cancel */
	LOCK_FREED,   /* released; nobody was given it for that */
	LOCK_PASSED,  /* released, and granted to the next in line: to one in EX, or to all next ones that want PR */
};

struct lock_request {
	uint16_t host;
	uint8_t mode;  /* LOCK_MODE_EX or LOCK_MODE_PR */
	bool try_only; /* does not queue */
	uint64_t incarnation;
};

/* `*ret_row`: the row concerned, 0 when there is none. */
enum lock_outcome lock_table_acquire(struct tables *t, struct undo *u, const struct lock_request *q,
				     const void *key, uint32_t len, uint32_t *ret_row);

/* `used` and `died` are about a delegation in EX: in PR they mean nothing. */
enum lock_outcome lock_table_release(struct tables *t, struct undo *u, uint16_t host, const void *key,
				     uint32_t len, uint64_t delegation, uint32_t used, bool died,
				     uint32_t *ret_row);

/* LOCK_FREED: the entry is gone, and who shares may have been let in. LOCK_IGNORED: there was none (never, or it was
 * granted meanwhile). */
enum lock_outcome lock_table_cancel(struct tables *t, struct undo *u, uint16_t host, const void *key,
				    uint32_t len, uint32_t *ret_row);

/* Takes from the row what an ended incarnation of `host` has there: EX (as died), its share, or the place at the
 * queue's head from which it keeps others from sharing. LOCK_FREED, LOCK_PASSED, or LOCK_IGNORED: nothing of that. */
enum lock_outcome lock_table_lapse(struct tables *t, struct undo *u, uint32_t row, uint16_t host);

/* What a host has of a row, under whichever incarnation: false when it has nothing. */
struct lock_hold {
	uint64_t delegation; /* its release names it */
	uint64_t incarnation;
	uint64_t base; /* its tokens: [base, base + range) */
	uint32_t range;
	uint8_t mode;
	bool died; /* the last owner in EX died, and no owner in EX was told since */
};

bool lock_table_hold(const struct tables *t, uint32_t row, uint16_t host, struct lock_hold *ret);

#endif
