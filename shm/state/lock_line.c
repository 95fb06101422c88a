/* SPDX-License-Identifier: Apache-2.0 */
#include "lock_line.h"
#include "../../lib/mutant.h"
#include "host_table.h"

/* ---- the queue of a row: singly linked, oldest at the head ---- */

uint32_t lock_line_find(const struct tables *t, uint32_t row, uint16_t host, uint32_t *ret_before)
{
	uint32_t before = 0, at = tables_row(t, row)->queue_head;

	while (at && tables_wait(t, at)->host != host) {
		before = at;
		at = tables_wait(t, at)->next;
	}
	*ret_before = before;
	return at;
}

void lock_line_cut(struct tables *t, struct undo *u, uint32_t row, uint32_t wait, uint32_t before)
{
	struct table_row *r = tables_row(t, row);
	uint32_t next = tables_wait(t, wait)->next;

	if (before)
		SET_RELEASE(u, tables_wait(t, before)->next, next);
	else
		SET(u, r->queue_head, next);
	if (!next)
		SET(u, r->queue_tail, before);
	table_wait_free(t, u, wait);
}

bool lock_line_append(struct tables *t, struct undo *u, uint32_t row, uint16_t host, uint64_t incarnation,
		      uint8_t mode)
{
	struct table_row *r = tables_row(t, row);
	uint32_t wait = table_wait_new(t, u);

	if (!wait)
		return false;
	table_wait_set(t, u, wait,
		       &(struct table_wait){ .incarnation = incarnation, .host = host, .mode = mode });
	if (r->queue_tail)
		SET_RELEASE(u, tables_wait(t, r->queue_tail)->next, wait);
	else
		SET(u, r->queue_head, wait);
	SET(u, r->queue_tail, wait);
	return true;
}

bool lock_line_alive(const struct tables *t, const struct table_wait *w)
{
	return host_table_alive(t, w->host) == w->incarnation;
}

/* ---- the holders of a row in PR: singly linked from its value, the last that came first ---- */

uint32_t lock_line_holder(const struct tables *t, const struct lock_value *v, uint16_t host, uint32_t *ret_before)
{
	uint32_t before = 0, at = v->holder;

	while (at && tables_wait(t, at)->host != host) {
		before = at;
		at = tables_wait(t, at)->next;
	}
	*ret_before = before;
	return at;
}

/* Takes one of them out of the value. The entry itself still stands as it was: readers may be looking at it
 * until another value is shown. */
void lock_line_leave(const struct tables *t, struct lock_value *v, uint32_t holder)
{
	ASSERT(v->holders != 0);
	if (v->holder == holder)
		v->holder = tables_wait(t, holder)->next;
	v->holders--;
	if (tables_wait(t, holder)->host == t->self)
		v->gate = 0; /* what this host did with it is over */
}

/* After that. `before`: whose link led to it, 0: that of the value. */
void lock_line_forget(struct tables *t, struct undo *u, uint32_t holder, uint32_t before)
{
	if (before) {
		struct table_wait w = *tables_wait(t, before);

		w.next = tables_wait(t, holder)->next;
		table_wait_set(t, u, before, &w);
	}
	table_wait_free(t, u, holder);
}

/* ---- grants ---- */

static uint64_t next_delegation(struct tables *t, struct undo *u)
{
	SET(u, t->agreed.delegations, t->agreed.delegations + 1);
	return t->agreed.delegations;
}

/* Whoever had it has gone: the lock as it is for the next one. */
struct lock_value lock_line_vacant(uint64_t base, bool died, uint32_t waiting)
{
	return (struct lock_value){ .base = base, .flags = died ? LOCK_DIED : 0, .waiting = (uint16_t)waiting };
}

void lock_line_give(struct tables *t, struct undo *u, struct lock_value *v, uint16_t host, uint64_t incarnation)
{
	ASSERT(v->base != 0); /* token 0 means none */
	ASSERT(v->holders == 0);
	v->delegation = next_delegation(t, u);
	v->incarnation = incarnation;
	v->host = host;
	v->mode = LOCK_MODE_EX;
}

/* Makes an entry that waited the first of the holders. */
static void share(struct tables *t, struct undo *u, struct lock_value *v, uint32_t wait)
{
	struct table_wait w = *tables_wait(t, wait);

	ASSERT(v->base != 0);
	ASSERT(v->mode != LOCK_MODE_EX);
	w.delegation = v->delegation = next_delegation(t, u);
	w.base = v->base;
	w.next = v->holder;
	table_wait_set(t, u, wait, &w);
	v->mode = LOCK_MODE_PR;
	v->base += LOCK_SHARED_RANGE;
	v->holder = wait;
	v->holders++;
}

/* Serves the queue as far as what is left of the value (`v`, not shown yet) allows: all from its head that want
 * PR, or one that wants EX and has it for itself; entries of ended lives are dropped on the way. Nobody is
 * left at the head who could have it. True if anybody was given it. */
bool lock_line_serve(struct tables *t, struct undo *u, uint32_t row, struct lock_value *v)
{
	struct table_row *r = tables_row(t, row);
	uint32_t at = r->queue_head;
	bool given = false;

	while (at && v->mode != LOCK_MODE_EX) {
		struct table_wait w = *tables_wait(t, at);
		bool alive = lock_line_alive(t, &w) || MUTANT(83);

		if (alive && w.mode == LOCK_MODE_EX && v->holders)
			break;
		ASSERT(v->waiting != 0);
		v->waiting--;
		if (alive && w.mode == LOCK_MODE_PR) {
			share(t, u, v, at);
		} else {
			table_wait_free(t, u, at);
			if (alive)
				lock_line_give(t, u, v, w.host, w.incarnation);
		}
		given |= alive;
		at = w.next;
	}
	if (at != r->queue_head) {
		SET(u, r->queue_head, at);
		if (!at)
			SET(u, r->queue_tail, 0);
	}
	return given;
}
