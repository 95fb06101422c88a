/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock_line: the two lists of a row, of those who wait for its lock and of those who share it, and whose turn it
 * is. Both are made of the entries of one pool: who waits to share becomes a holder where he stands.
 *
 * Some of these work on a value that is not shown yet (`v`): the caller shows it when all is done. Readers
 * walk the holders that the shown value leads to; so nothing that it leads to is changed before another is shown.
 *
 * Deterministic and pure. Who may enter: lock_table.
 */
#ifndef PAXSHM_SHM_STATE_LOCK_LINE_H
#define PAXSHM_SHM_STATE_LOCK_LINE_H

#include "../table.h"

/* ---- the queue: oldest at the head ---- */

/* The entry of a host, and the one before it; 0: none. */
uint32_t lock_line_find(const struct tables *t, uint32_t row, uint16_t host, uint32_t *ret_before);
void lock_line_cut(struct tables *t, struct undo *u, uint32_t row, uint32_t wait, uint32_t before);
/* False: the pool is empty. */
bool lock_line_append(struct tables *t, struct undo *u, uint32_t row, uint16_t host, uint64_t incarnation, uint8_t mode);
/* Whether the entry's life is the one that is registered, and not down. */
bool lock_line_alive(const struct tables *t, const struct table_wait *w);

/* ---- the holders of a row in PR: who came last is the first ---- */

uint32_t lock_line_holder(const struct tables *t, const struct lock_value *v, uint16_t host, uint32_t *ret_before);
/* Takes one of them out of the value … */
void lock_line_leave(const struct tables *t, struct lock_value *v, uint32_t holder);
/* … and, once another value is shown, out of the list. `before`: whose link led to it, 0: that of the value. */
void lock_line_forget(struct tables *t, struct undo *u, uint32_t holder, uint32_t before);

/* ---- turns ---- */

/* The value of a lock that nobody has. */
struct lock_value lock_line_vacant(uint64_t base, bool died, uint32_t waiting);
/* Gives that to one host in EX. */
void lock_line_give(struct tables *t, struct undo *u, struct lock_value *v, uint16_t host, uint64_t incarnation);
/* Serves the queue as far as the value allows: all from its head that want PR, or one that wants EX and has it
 * for itself; entries of ended lives are dropped on the way. Nobody is left at the head who could have it.
 * True if anybody was given it. */
bool lock_line_serve(struct tables *t, struct undo *u, uint32_t row, struct lock_value *v);

#endif
