/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host_table: which life of each host is registered, and how far its commands were applied.
 *
 * Invariants: an incarnation is the slot of its host-up and so rises; it ends when it is declared down, or when
 * an heir takes its place; last_number counts up by one within an incarnation, so that each command
 * takes effect once; `sweep` below HOST_SWEPT means that locks of ended incarnations may be left. From
 * its end on an incarnation is given nothing, so what was swept stays swept.
 *
 * Deterministic and pure. Who may enter: apply, the agent (to read), tests.
 */
#ifndef PAXSHM_SHM_STATE_HOST_TABLE_H
#define PAXSHM_SHM_STATE_HOST_TABLE_H

#include "../table.h"

/* Registers a new life at `slot`: true. It takes the place of the incarnation `expected` (0: the first), which
 * must have ended: it was declared down, or the new life knows the nonce of its memory (`heir_of`), which
 * only a keeper on the same machine can, and it says so when every process of the old life is gone.
 * Joining frees nothing of a life that may still run. */
bool host_table_up(struct tables *t, struct undo *u, uint16_t host, uint64_t nonce, uint64_t expected, uint64_t heir_of,
		   uint64_t slot);

/* The leader of `ballot` declares this incarnation down: true when it is so from now on. False: it has ended
 * already, or a later leader has begun since, who may have renewed its lease. */
bool host_table_down(struct tables *t, struct undo *u, uint16_t host, uint64_t incarnation, uint64_t ballot);

/* The incarnation that may hold and wait for locks now; 0: none. */
static inline uint64_t host_table_alive(const struct tables *t, uint16_t host)
{
	const struct host_row *h = tables_host(t, host);

	return h->down ? 0 : h->incarnation;
}

/* Takes a command's number: true exactly when it is the next of the registered incarnation. */
bool host_table_take(struct tables *t, struct undo *u, uint16_t host, uint64_t incarnation, uint64_t number);

#endif
