/* SPDX-License-Identifier: Apache-2.0 */
#include "lock_table.h"
#include "../../lib/mutant.h"
#include "host_table.h"
#include "lock_line.h"

/* How many of the oldest died rows are looked at for one that holds cells. */
#define DIED_LOOK 1024u

static void raise_floor(struct tables *t, struct undo *u, uint64_t token)
{
	if (token > t->agreed.token_floor)
		SET(u, t->agreed.token_floor, token);
}

/* ---- the died list: doubly linked through queue_head (who died before) and queue_tail (after) ---- */

static void died_append(struct tables *t, struct undo *u, uint32_t row)
{
	struct table_row *r = tables_row(t, row);
	uint32_t older = t->agreed.died_tail;

	SET(u, r->queue_head, older);
	SET(u, r->queue_tail, 0);
	if (older)
		SET(u, tables_row(t, older)->queue_tail, row);
	else
		SET(u, t->agreed.died_head, row);
	SET(u, t->agreed.died_tail, row);
	SET(u, t->agreed.died_count, t->agreed.died_count + 1);
}

static void died_take(struct tables *t, struct undo *u, uint32_t row)
{
	struct table_row *r = tables_row(t, row);
	uint32_t older = r->queue_head, younger = r->queue_tail;

	ASSERT(t->agreed.died_count != 0);
	if (older)
		SET(u, tables_row(t, older)->queue_tail, younger);
	else
		SET(u, t->agreed.died_head, younger);
	if (younger)
		SET(u, tables_row(t, younger)->queue_head, older);
	else
		SET(u, t->agreed.died_tail, older);
	SET(u, t->agreed.died_count, t->agreed.died_count - 1);
	SET(u, r->queue_head, 0);
	SET(u, r->queue_tail, 0);
}

/* Forgets that the last owner died. Its tokens are remembered by the floor. */
static void died_drop(struct tables *t, struct undo *u, uint32_t row)
{
	struct lock_value v = table_value(t, row);

	ASSERT(v.delegation == 0);
	raise_floor(t, u, v.base - 1);
	died_take(t, u, row);
	table_remove(t, u, row);
}

static uint32_t died_oldest(const struct tables *t, bool with_cells)
{
	uint32_t row = t->agreed.died_head;

	for (uint32_t looked = 0; with_cells && row && !tables_row(t, row)->cell[0]; looked++)
		row = looked < DIED_LOOK ? tables_row(t, row)->queue_tail : 0;
	return row;
}

bool lock_table_hold(const struct tables *t, uint32_t row, uint16_t host, struct lock_hold *ret)
{
	struct lock_value v = table_value(t, row);
	struct lock_hold hold = { .mode = v.mode, .died = (v.flags & LOCK_DIED) != 0 };
	uint32_t before, holder;

	if (!tables_row(t, row)->key_len || !v.delegation)
		return false;
	if (v.mode == LOCK_MODE_EX) {
		if (v.host != host)
			return false;
		hold.delegation = v.delegation;
		hold.incarnation = v.incarnation;
		hold.base = v.base;
		hold.range = LOCK_RANGE;
	} else {
		holder = lock_line_holder(t, &v, host, &before);
		if (!holder)
			return false;
		hold.delegation = tables_wait(t, holder)->delegation;
		hold.incarnation = tables_wait(t, holder)->incarnation;
		hold.base = tables_wait(t, holder)->base;
		hold.range = LOCK_SHARED_RANGE;
	}
	*ret = hold;
	return true;
}

/* ---- grants ---- */

/* A new row, for which the memory of an older death gives way when there is no room. At most
 * KEY_CELLS of them: each brings a row and, when cells are what is short, at least one of these. */
static uint32_t make_row(struct tables *t, struct undo *u, const void *key, uint32_t len)
{
	uint32_t cells = len > KEY_INLINE ? (len - KEY_INLINE + KEY_CELL - 1) / KEY_CELL : 0;
	uint32_t row;

	while (!(row = table_insert(t, u, key, len))) {
		uint32_t victim = died_oldest(t, cells > t->n_cells - t->agreed.cells_used);

		if (!victim)
			return 0;
		died_drop(t, u, victim);
	}
	return row;
}

/* Puts the request at the end of the queue and serves that: who can have it at once has it then. */
static enum lock_outcome stand_in_line(struct tables *t, struct undo *u, uint32_t row, struct lock_value *v,
				       const struct lock_request *q)
{
	struct lock_hold hold;

	if (!lock_line_append(t, u, row, q->host, q->incarnation, q->mode))
		return LOCK_FULL;
	v->waiting++;
	lock_line_serve(t, u, row, v);
	table_set(t, u, row, v);
	return lock_table_hold(t, row, q->host, &hold) && hold.incarnation == q->incarnation ? LOCK_GRANTED : LOCK_QUEUED;
}

static bool waits_left(const struct tables *t)
{
	return t->agreed.waits_used < t->n_waits;
}

/* To whom nothing stands in the way. Only who shares takes an entry: stand_in_line() finds one, the callers saw to it. */
static enum lock_outcome acquire_vacant(struct tables *t, struct undo *u, uint32_t row, struct lock_value v,
					const struct lock_request *q)
{
	if (q->mode == LOCK_MODE_PR)
		return stand_in_line(t, u, row, &v, q);
	lock_line_give(t, u, &v, q->host, q->incarnation);
	table_set(t, u, row, &v);
	return LOCK_GRANTED;
}

static enum lock_outcome acquire_free(struct tables *t, struct undo *u, const struct lock_request *q,
				      const void *key, uint32_t len, uint32_t *ret_row)
{
	*ret_row = 0;
	if (q->mode == LOCK_MODE_PR && !waits_left(t))
		return LOCK_FULL;
	*ret_row = MUTANT(371) && t->self == 1 && t->agreed.rows_used + 1 == t->n_rows ? 0 : make_row(t, u, key, len);
	if (!*ret_row)
		return LOCK_FULL;
	return acquire_vacant(t, u, *ret_row, lock_line_vacant(t->agreed.token_floor + 1, false, 0), q);
}

/* The flag stays in the value, so that who gets the lock now learns of the death. */
static enum lock_outcome acquire_died(struct tables *t, struct undo *u, uint32_t row, const struct lock_request *q)
{
	struct lock_value v = table_value(t, row);

	ASSERT(v.flags & LOCK_DIED);
	if (q->mode == LOCK_MODE_PR && !waits_left(t))
		return LOCK_FULL;
	died_take(t, u, row);
	return acquire_vacant(t, u, row, lock_line_vacant(v.base, true, 0), q);
}

/* What an older life of the host left of itself is void, and its new one comes last: the place in the queue, or the
 * share (in EX its old life's lock is taken from it by the sweep alone). A host never has both. */
static enum lock_outcome acquire_queue(struct tables *t, struct undo *u, uint32_t row, const struct lock_request *q)
{
	struct lock_value v = table_value(t, row);
	uint32_t before, wait = lock_line_find(t, row, q->host, &before), holder = 0;

	if (wait && tables_wait(t, wait)->incarnation == q->incarnation)
		return tables_wait(t, wait)->mode == q->mode ? LOCK_QUEUED : LOCK_BUSY;
	if (wait) {
		lock_line_cut(t, u, row, wait, before);
		v.waiting--;
	} else if (v.mode == LOCK_MODE_PR && (holder = lock_line_holder(t, &v, q->host, &before))) {
		lock_line_leave(t, &v, holder);
		table_set(t, u, row, &v);
		lock_line_forget(t, u, holder, before);
		if (!v.holders)
			v = lock_line_vacant(v.base, v.flags & LOCK_DIED, v.waiting);
	}
	/* When there is no room nothing was cut: that would have left an entry. */
	return stand_in_line(t, u, row, &v, q);
}

enum lock_outcome lock_table_acquire(struct tables *t, struct undo *u, const struct lock_request *q,
				     const void *key, uint32_t len, uint32_t *ret_row)
{
	uint32_t row = table_find(t, key, len);
	struct lock_value v;
	struct lock_hold hold;

	ASSERT(q->mode == LOCK_MODE_EX || q->mode == LOCK_MODE_PR);
	if (!row)
		return acquire_free(t, u, q, key, len, ret_row);
	*ret_row = row;
	v = table_value(t, row);
	if (!v.delegation)
		return acquire_died(t, u, row, q);
	if (lock_table_hold(t, row, q->host, &hold) && hold.incarnation == q->incarnation)
		return hold.mode == q->mode ? LOCK_GRANTED : LOCK_BUSY;
	if (q->try_only && (v.mode != LOCK_MODE_PR || q->mode != LOCK_MODE_PR || v.waiting))
		return LOCK_BUSY;
	return acquire_queue(t, u, row, q);
}

/* ---- the end of a delegation ---- */

/* A row that nobody has and nobody waits for: it stays to remember a death, or goes. */
static uint32_t leave(struct tables *t, struct undo *u, uint32_t row, const struct lock_value *v)
{
	ASSERT(v->waiting == 0);
	if (v->flags & LOCK_DIED) {
		table_set(t, u, row, v);
		died_append(t, u, row);
		return row;
	}
	if (!MUTANT(362))
		raise_floor(t, u, v->base - 1);
	table_remove(t, u, row);
	return 0;
}

/* Shows what is left of the value, once the queue was served. */
static enum lock_outcome go_on(struct tables *t, struct undo *u, uint32_t row, struct lock_value *v, uint32_t *ret_row)
{
	bool given = lock_line_serve(t, u, row, v);

	*ret_row = row;
	if (v->delegation)
		table_set(t, u, row, v);
	else
		*ret_row = leave(t, u, row, v);
	return given ? LOCK_PASSED : LOCK_FREED;
}

/* Ends the row's delegation in EX, of which `used` tokens may have been given. */
static enum lock_outcome end_owner(struct tables *t, struct undo *u, uint32_t row, uint32_t used, bool died,
				   uint32_t *ret_row)
{
	struct lock_value v = table_value(t, row);

	ASSERT(used <= LOCK_RANGE);
	/* Without a token nobody had it, so nobody was told of the death before. */
	if (!used && (v.flags & LOCK_DIED))
		died = true;
	v = lock_line_vacant(v.base + (MUTANT(361) ? 0 : used), died, v.waiting);
	return go_on(t, u, row, &v, ret_row);
}

/* Ends one share of the row. A death that was told to those who share stays in the value: it is for who may put right
 * what the dead left behind, the next owner in EX. That one who shared has died is no news to anybody. */
static enum lock_outcome end_holder(struct tables *t, struct undo *u, uint32_t row, uint32_t holder, uint32_t before,
				    uint32_t *ret_row)
{
	struct lock_value v = table_value(t, row);
	enum lock_outcome outcome;

	lock_line_leave(t, &v, holder);
	if (!v.holders)
		v = lock_line_vacant(v.base, v.flags & LOCK_DIED, v.waiting);
	outcome = go_on(t, u, row, &v, ret_row);
	lock_line_forget(t, u, holder, before);
	return outcome;
}

enum lock_outcome lock_table_release(struct tables *t, struct undo *u, uint16_t host, const void *key,
				     uint32_t len, uint64_t delegation, uint32_t used, bool died,
				     uint32_t *ret_row)
{
	uint32_t holder, before, row = table_find(t, key, len);
	struct lock_value v;

	*ret_row = row;
	if (!row)
		return LOCK_IGNORED;
	v = table_value(t, row);
	if (!v.delegation)
		return LOCK_IGNORED;
	if (v.mode == LOCK_MODE_EX)
		return v.delegation == delegation && v.host == host ? end_owner(t, u, row, used, died, ret_row) : LOCK_IGNORED;
	holder = lock_line_holder(t, &v, host, &before);
	if (!holder || tables_wait(t, holder)->delegation != delegation)
		return LOCK_IGNORED;
	return end_holder(t, u, row, holder, before, ret_row);
}

enum lock_outcome lock_table_cancel(struct tables *t, struct undo *u, uint16_t host, const void *key,
				    uint32_t len, uint32_t *ret_row)
{
	uint32_t before, wait, row = table_find(t, key, len);
	struct lock_value v;

	*ret_row = row;
	if (!row)
		return LOCK_IGNORED;
	v = table_value(t, row);
	if (!v.delegation)
		return LOCK_IGNORED; /* its links are those of the died list */
	wait = lock_line_find(t, row, host, &before);
	if (!wait)
		return LOCK_IGNORED;
	lock_line_cut(t, u, row, wait, before);
	v.waiting--;
	lock_line_serve(t, u, row, &v); /* who wants to share may have stood behind it */
	table_set(t, u, row, &v);
	return LOCK_FREED;
}

enum lock_outcome lock_table_lapse(struct tables *t, struct undo *u, uint32_t row, uint16_t host)
{
	uint64_t alive = host_table_alive(t, host);
	uint32_t holder, before;
	struct lock_value v;

	if (!tables_row(t, row)->key_len)
		return LOCK_IGNORED;
	v = table_value(t, row);
	if (!v.delegation)
		return LOCK_IGNORED;
	if (v.mode == LOCK_MODE_EX)
		return v.host == host && (v.incarnation != alive || MUTANT(72)) ? end_owner(t, u, row, LOCK_RANGE, true, &row) : LOCK_IGNORED;
	holder = lock_line_holder(t, &v, host, &before);
	if (holder && (tables_wait(t, holder)->incarnation != alive || MUTANT(72)))
		return end_holder(t, u, row, holder, before, &row);
	/* It waited for EX: those behind it can share with those who do. */
	if (tables_row(t, row)->queue_head && !lock_line_alive(t, tables_wait(t, tables_row(t, row)->queue_head)))
		return go_on(t, u, row, &v, &row);
	return LOCK_IGNORED;
}
