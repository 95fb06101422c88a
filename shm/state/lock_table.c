/* SPDX-License-Identifier: Apache-2.0 */
#include "lock_table.h"
#include "../../lib/mutant.h"
#include "host_table.h"

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

/* ---- the queue of a row: singly linked, oldest at the head ---- */

static uint32_t queue_find(const struct tables *t, uint32_t row, uint16_t host, uint32_t *ret_before)
{
	uint32_t before = 0, at = tables_row(t, row)->queue_head;

	while (at && tables_wait(t, at)->host != host) {
		before = at;
		at = tables_wait(t, at)->next;
	}
	*ret_before = before;
	return at;
}

static void queue_cut(struct tables *t, struct undo *u, uint32_t row, uint32_t wait, uint32_t before)
{
	struct table_row *r = tables_row(t, row);
	uint32_t next = tables_wait(t, wait)->next;

	if (before)
		SET(u, tables_wait(t, before)->next, next);
	else
		SET(u, r->queue_head, next);
	if (!next)
		SET(u, r->queue_tail, before);
	table_wait_free(t, u, wait);
}

static bool queue_append(struct tables *t, struct undo *u, uint32_t row, uint16_t host, uint64_t incarnation)
{
	struct table_row *r = tables_row(t, row);
	uint32_t wait = table_wait_new(t, u);

	if (!wait)
		return false;
	SET(u, tables_wait(t, wait)->incarnation, incarnation);
	SET(u, tables_wait(t, wait)->host, host);
	if (r->queue_tail)
		SET(u, tables_wait(t, r->queue_tail)->next, wait);
	else
		SET(u, r->queue_head, wait);
	SET(u, r->queue_tail, wait);
	return true;
}

/* Takes entries from the head until one names a life that is still registered: *ret_heir. Counts what
 * it took off *waiting. */
static bool queue_pop(struct tables *t, struct undo *u, uint32_t row, uint32_t *waiting,
		      struct table_wait *ret_heir)
{
	struct table_row *r = tables_row(t, row);
	uint32_t at = r->queue_head;
	bool found = false;

	if (!at)
		return false;
	while (at && !found) {
		struct table_wait entry = *tables_wait(t, at);

		ASSERT(*waiting != 0);
		--*waiting;
		table_wait_free(t, u, at);
		found = host_table_alive(t, entry.host) == entry.incarnation || MUTANT(83);
		if (found)
			*ret_heir = entry;
		at = entry.next;
	}
	SET(u, r->queue_head, at);
	if (!at)
		SET(u, r->queue_tail, 0);
	return found;
}

/* ---- grants ---- */

static void grant(struct tables *t, struct undo *u, uint32_t row, uint16_t host, uint64_t incarnation,
		  uint64_t base, uint8_t flags, uint32_t waiting)
{
	ASSERT(base != 0); /* token 0 means none */
	SET(u, t->agreed.delegations, t->agreed.delegations + 1);
	table_set(t, u, row,
		  &(struct lock_value){
			  .delegation = t->agreed.delegations,
			  .incarnation = incarnation,
			  .base = base,
			  .host = host,
			  .mode = LOCK_MODE_EX,
			  .flags = flags,
			  .waiting = waiting,
		  });
}

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

static enum lock_outcome acquire_free(struct tables *t, struct undo *u, uint16_t host, uint64_t incarnation,
				      const void *key, uint32_t len, uint32_t *ret_row)
{
	*ret_row = MUTANT(371) && t->self == 1 && t->agreed.rows_used + 1 == t->n_rows ? 0 : make_row(t, u, key, len);
	if (!*ret_row)
		return LOCK_FULL;
	grant(t, u, *ret_row, host, incarnation, t->agreed.token_floor + 1, 0, 0);
	return LOCK_GRANTED;
}

/* The flag stays in the value, so that who gets the lock now learns of the death. */
static enum lock_outcome acquire_died(struct tables *t, struct undo *u, uint16_t host, uint64_t incarnation,
				      uint32_t row)
{
	struct lock_value v = table_value(t, row);

	ASSERT(v.flags & LOCK_DIED);
	died_take(t, u, row);
	grant(t, u, row, host, incarnation, v.base, LOCK_DIED, 0);
	return LOCK_GRANTED;
}

static enum lock_outcome acquire_queue(struct tables *t, struct undo *u, uint16_t host, uint64_t incarnation,
				       uint32_t row)
{
	struct lock_value v = table_value(t, row);
	uint32_t before, wait = queue_find(t, row, host, &before);

	if (wait && tables_wait(t, wait)->incarnation == incarnation)
		return LOCK_QUEUED;
	if (wait) { /* an older life's place is void: this one comes last */
		queue_cut(t, u, row, wait, before);
		v.waiting--;
	}
	if (!queue_append(t, u, row, host, incarnation))
		return LOCK_FULL; /* nothing was cut: that would have left an entry */
	v.waiting++;
	table_set(t, u, row, &v);
	return LOCK_QUEUED;
}

enum lock_outcome lock_table_acquire(struct tables *t, struct undo *u, uint16_t host, uint64_t incarnation,
				     const void *key, uint32_t len, bool try_only, uint32_t *ret_row)
{
	uint32_t row = table_find(t, key, len);
	struct lock_value v;

	if (!row)
		return acquire_free(t, u, host, incarnation, key, len, ret_row);
	*ret_row = row;
	v = table_value(t, row);
	if (!v.delegation)
		return acquire_died(t, u, host, incarnation, row);
	if (v.host == host && v.incarnation == incarnation)
		return LOCK_GRANTED;
	return try_only ? LOCK_BUSY : acquire_queue(t, u, host, incarnation, row);
}

/* ---- the end of a delegation ---- */

static void keep_died(struct tables *t, struct undo *u, uint32_t row, uint64_t base)
{
	table_set(t, u, row, &(struct lock_value){ .base = base, .flags = LOCK_DIED });
	died_append(t, u, row);
}

/* Ends the row's delegation, of which `used` tokens may have been given. */
static enum lock_outcome pass_on(struct tables *t, struct undo *u, uint32_t row, uint32_t used, bool died,
				 uint32_t *ret_row)
{
	struct lock_value v = table_value(t, row);
	uint64_t base = v.base + (MUTANT(361) ? 0 : used);
	struct table_wait heir;

	ASSERT(used <= LOCK_RANGE);
	/* Without a token nobody had it, so nobody was told of the death before. */
	if (!used && (v.flags & LOCK_DIED))
		died = true;
	*ret_row = row;
	if (queue_pop(t, u, row, &v.waiting, &heir)) {
		grant(t, u, row, heir.host, heir.incarnation, base, died ? LOCK_DIED : 0, v.waiting);
		return LOCK_PASSED;
	}
	ASSERT(v.waiting == 0);
	if (died) {
		keep_died(t, u, row, base);
		return LOCK_FREED;
	}
	if (!MUTANT(362))
		raise_floor(t, u, base - 1);
	table_remove(t, u, row);
	*ret_row = 0;
	return LOCK_FREED;
}

enum lock_outcome lock_table_release(struct tables *t, struct undo *u, uint16_t host, const void *key,
				     uint32_t len, uint64_t delegation, uint32_t used, bool died,
				     uint32_t *ret_row)
{
	uint32_t row = table_find(t, key, len);
	struct lock_value v;

	*ret_row = row;
	if (!row)
		return LOCK_IGNORED;
	v = table_value(t, row);
	if (!v.delegation || v.delegation != delegation || v.host != host)
		return LOCK_IGNORED;
	return pass_on(t, u, row, used, died, ret_row);
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
	wait = queue_find(t, row, host, &before);
	if (!wait)
		return LOCK_IGNORED;
	queue_cut(t, u, row, wait, before);
	v.waiting--;
	table_set(t, u, row, &v);
	return LOCK_FREED;
}

enum lock_outcome lock_table_lapse(struct tables *t, struct undo *u, uint32_t row, uint16_t host)
{
	uint64_t alive = host_table_alive(t, host);
	struct lock_value v;

	if (!tables_row(t, row)->key_len)
		return LOCK_IGNORED;
	v = table_value(t, row);
	if (!v.delegation || v.host != host || (v.incarnation == alive && !MUTANT(72)))
		return LOCK_IGNORED;
	return pass_on(t, u, row, LOCK_RANGE, true, &row);
}
