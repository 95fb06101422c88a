/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host_table: which life of each host is registered, and how far its commands were applied.
 *
 * Invariants: an incarnation is the slot of its host-up and so rises; last_number counts up by one
 * within an incarnation, so that each command takes effect once; `sweep` below HOST_SWEPT means
 * that locks of an older incarnation may be left.
 *
 * Deterministic and pure. Who may enter: apply, the agent (to read), tests.
 */
#ifndef PAXSHM_SHM_STATE_HOST_TABLE_H
#define PAXSHM_SHM_STATE_HOST_TABLE_H

#include "../table.h"

/* Registers a new life at `slot`: true. False: this nonce is registered already, or the incarnation is not `expected`. */
bool host_table_up(struct tables *t, struct undo *u, uint16_t host, uint64_t nonce, uint64_t expected, uint64_t slot);

/* Takes a command's number: true exactly when it is the next of the registered incarnation. */
bool host_table_take(struct tables *t, struct undo *u, uint16_t host, uint64_t incarnation, uint64_t number);

#endif
