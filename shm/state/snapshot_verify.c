/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot.h"
#include "snapshot_records.h"

/*
 * snapshot, looking at one. Each check answers NULL, or what is wrong. None needs memory or more than
 * one step for each element: the bytes are a peer's.
 */

/* Numbers that only a liar has, and that would wrap around. */
#define TOKEN_MAX ((1ull << 52) - 1) /* a token has 52 bits beside its era */
#define COUNT_MAX (1ull << 62)

static const char *check_numbers(const struct agreed *a)
{
	if (a->applied_part)
		return "it was made in the midst of a slot";
	return a->applied > COUNT_MAX || a->token_floor > TOKEN_MAX || a->delegations > COUNT_MAX ? "numbers out of range" : NULL;
}

static const char *check_hosts(const struct tables *t, const struct snapshot_view *v)
{
	uint32_t before = 0;

	for (uint32_t i = 0; i < v->extent.hosts; i++) {
		struct host_record h = snapshot_host(v, i);

		if (h.host <= before || h.host >= t->n_hosts)
			return "host ids out of range or order";
		if (!h.incarnation)
			return "a host that never registered";
		if (!h.sweep || (h.sweep != HOST_SWEPT && h.sweep > t->n_rows))
			return "sweep out of range";
		if (h.down > 1)
			return "neither up nor down";
		before = h.host;
	}
	return NULL;
}

static const char *check_row_cells(const struct snapshot_view *v, uint32_t row, const struct row_record *r)
{
	for (unsigned c = 0; c < KEY_CELLS; c++) {
		if (c >= snapshot_cells(r->key_len)) {
			if (r->cell[c])
				return "more cells than the key needs";
			continue;
		}
		if (!r->cell[c] || r->cell[c] > v->extent.cells)
			return "cell out of range";
		if (snapshot_cell(v, r->cell[c]).owner != row)
			return "a cell of another row";
		for (unsigned d = 0; d < c; d++)
			if (r->cell[d] == r->cell[c])
				return "a cell twice in a row";
	}
	return NULL;
}

/* Keys are compared by whole words: what stands behind their end must be zero. */
static const char *check_key(const struct snapshot_view *v, const struct row_record *r)
{
	uint8_t key[KEY_PADDED];

	snapshot_key(v, r, key);
	for (uint32_t i = r->key_len; i < KEY_PADDED; i++)
		if (key[i])
			return "bytes behind the end of a key";
	return NULL;
}

/* The hosts of one row, each of which may stand there once. */
struct seen {
	uint64_t hosts[HOSTS_MAX / 64];
};

static const char *check_wait(const struct tables *t, const struct wait_record *w, uint32_t row, struct seen *seen)
{
	uint64_t bit = 1ull << w->host % 64;

	if (w->owner != row)
		return "a queue entry of another row";
	if (!w->host || w->host >= t->n_hosts || !w->incarnation)
		return "queue entry of no host";
	if (seen->hosts[w->host / 64] & bit)
		return "a host twice in a row";
	seen->hosts[w->host / 64] |= bit;
	return NULL;
}

static const char *check_queue(const struct tables *t, const struct snapshot_view *v, uint32_t row,
			       const struct row_record *r, struct seen *seen)
{
	uint32_t at = r->queue_head, last = 0;

	for (uint32_t i = 0; i < r->value.waiting; i++) {
		struct wait_record w;
		const char *wrong;

		if (!at || at > v->extent.waits)
			return "queue entry out of range";
		w = snapshot_wait(v, at);
		wrong = check_wait(t, &w, row, seen);
		if (wrong)
			return wrong;
		if (w.delegation || w.base || (w.mode != LOCK_MODE_EX && w.mode != LOCK_MODE_PR))
			return "queue entry of a holder, or of no mode";
		last = at;
		at = w.next;
	}
	return at || r->queue_tail != last ? "queue does not end where it should" : NULL;
}

/* An entry is in one of the two lists: what a holder has, who waits has not. */
static const char *check_holders(const struct tables *t, const struct snapshot_view *v, uint32_t row,
				 const struct row_record *r, struct seen *seen)
{
	uint32_t at = r->value.holder;

	for (uint32_t i = 0; i < r->value.holders; i++) {
		struct wait_record w;
		const char *wrong;

		if (!at || at > v->extent.waits)
			return "holder out of range";
		w = snapshot_wait(v, at);
		wrong = check_wait(t, &w, row, seen);
		if (wrong)
			return wrong;
		if (w.mode != LOCK_MODE_PR || !w.delegation || w.delegation > r->value.delegation)
			return "a holder of an unknown delegation or mode";
		if (!w.base || w.base > r->value.base || r->value.base - w.base < LOCK_SHARED_RANGE)
			return "a holder's tokens out of range";
		at = w.next;
	}
	return at ? "holders do not end where they should" : NULL;
}

/* A row kept for LOCK_DIED: has no queue, its links are looked at with the list. */
static const char *check_died(const struct row_record *r)
{
	const struct lock_value *v = &r->value;

	return v->host || v->incarnation || v->mode || v->waiting || v->holders || v->holder || v->flags != LOCK_DIED ? "a died row with an owner" : NULL;
}

/* One host in EX, or some that share it. */
static const char *check_holding(const struct tables *t, const struct lock_value *v)
{
	if (v->mode == LOCK_MODE_PR)
		return v->host || v->incarnation || !v->holders ? "a shared lock of one host, or of none" : NULL;
	if (v->mode != LOCK_MODE_EX || v->holders || v->holder)
		return "a lock in no mode, or in two";
	return !v->host || v->host >= t->n_hosts || !v->incarnation ? "a lock of no host" : NULL;
}

static const char *check_row(const struct tables *t, const struct snapshot_view *v, uint32_t row,
			     const struct row_record *r)
{
	const struct lock_value *value = &r->value;
	struct seen seen = { 0 };
	const char *wrong;

	if (r->key_len > KEY_MAX)
		return "key too long";
	wrong = check_row_cells(v, row, r);
	if (!wrong)
		wrong = check_key(v, r);
	if (wrong)
		return wrong;
	if (!value->base || value->base > TOKEN_MAX)
		return "token out of range";
	if (!value->delegation)
		return check_died(r);
	if (value->delegation > v->agreed.delegations || value->flags & ~LOCK_DIED)
		return "unknown delegation or flags";
	wrong = check_holding(t, value);
	if (wrong)
		return wrong;
	if ((uint32_t)value->waiting + value->holders > v->agreed.waits_used || (uint32_t)value->waiting + value->holders >= t->n_hosts)
		return "more waiting than there are entries";
	wrong = check_queue(t, v, row, r, &seen);
	return wrong ? wrong : check_holders(t, v, row, r, &seen);
}

static bool row_step(const struct snapshot_view *v, uint32_t i, uint32_t *ret_next)
{
	struct row_record r = snapshot_row(v, i);

	*ret_next = r.next;
	return r.key_len == 0;
}

static bool cell_step(const struct snapshot_view *v, uint32_t i, uint32_t *ret_next)
{
	struct cell_record c = snapshot_cell(v, i);

	*ret_next = c.next;
	return c.owner == 0;
}

static bool wait_step(const struct snapshot_view *v, uint32_t i, uint32_t *ret_next)
{
	struct wait_record w = snapshot_wait(v, i);

	*ret_next = w.next;
	return w.owner == 0;
}

/* ---- in bites ---- */

enum { HASH,
       HOSTS,
       ROWS,
       DIED,
       FREE_ROWS,
       FREE_CELLS,
       FREE_WAITS,
       DONE };

#define RECORD_BYTES 64u /* hashed in the time of a record, about */

/* The stages that walk a list begin at its head. */
static void enter(struct snapshot_check *c, unsigned stage)
{
	const struct agreed *a = &c->view.agreed;
	const uint32_t heads[DONE] = { [ROWS] = 1, [DIED] = a->died_head, [FREE_ROWS] = a->rows_free, [FREE_CELLS] = a->cells_free, [FREE_WAITS] = a->waits_free };

	c->stage = stage;
	c->at = stage < DONE ? heads[stage] : 0;
	c->done = 0;
	c->before = 0;
}

static const char *hash_more(struct snapshot_check *c, uint32_t *records)
{
	const struct snapshot_view *v = &c->view;
	uint64_t hash_at = v->extent.hash_at, n = MIN((uint64_t)*records * RECORD_BYTES + HASH_PIECE, hash_at - c->done);

	*records = 0;
	c->hash = snapshot_hash_on(c->hash, v->bytes, &c->done, c->done + n, hash_at);
	if (c->done < hash_at)
		return NULL;
	enter(c, HOSTS);
	return c->hash == snapshot_hash_found(v) ? NULL : "wrong hash";
}

static const char *hosts_more(struct snapshot_check *c)
{
	const char *wrong = check_numbers(&c->view.agreed);

	enter(c, ROWS);
	return wrong ? wrong : check_hosts(c->t, &c->view);
}

/* Rows in use, and through them every cell and queue entry in use: each is counted once, because it
 * names its row and, within a row, comes once. */
static const char *row_more(struct snapshot_check *c, uint32_t *records)
{
	const struct snapshot_view *v = &c->view;
	const struct agreed *a = &v->agreed;
	struct row_record r;
	const char *wrong;

	if (c->at > v->extent.rows) {
		enter(c, DIED);
		return c->used == a->rows_used && c->cells == a->cells_used && c->waits == a->waits_used && c->died == a->died_count
			       ? NULL
			       : "counts that do not fit the rows";
	}
	r = snapshot_row(v, c->at++);
	if (!r.key_len)
		return NULL;
	wrong = check_row(c->t, v, c->at - 1, &r);
	if (wrong)
		return wrong;
	c->used++;
	c->cells += snapshot_cells(r.key_len);
	c->waits += r.value.waiting + r.value.holders;
	c->died += !r.value.delegation;
	*records -= MIN(*records, (uint32_t)r.value.waiting + r.value.holders);
	/* Here and not at the end: walks together are no longer than the pool. */
	return c->waits > a->waits_used ? "more waiting than there are entries" : NULL;
}

static const char *died_more(struct snapshot_check *c)
{
	const struct snapshot_view *v = &c->view;
	struct row_record r;

	if (c->done++ == v->agreed.died_count) {
		bool ends = !c->at && v->agreed.died_tail == c->before;

		enter(c, FREE_ROWS);
		return ends ? NULL : "died list does not end where it should";
	}
	if (!c->at || c->at > v->extent.rows)
		return "died list out of range";
	r = snapshot_row(v, c->at);
	if (!r.key_len || r.value.delegation || r.queue_head != c->before)
		return "died list with a row that is not in it";
	c->before = c->at;
	c->at = r.queue_tail;
	return NULL;
}

static const char *free_more(struct snapshot_check *c)
{
	const struct agreed *a = &c->view.agreed;
	const struct {
		uint32_t high, used;
		bool (*step)(const struct snapshot_view *v, uint32_t i, uint32_t *ret_next);
		const char *wrong;
	} lists[] = {
		{ a->rows_high, a->rows_used, row_step, "free rows do not fit" },
		{ a->cells_high, a->cells_used, cell_step, "free cells do not fit" },
		{ a->waits_high, a->waits_used, wait_step, "free queue entries do not fit" },
	},
	  *list = &lists[c->stage - FREE_ROWS];

	if (c->done++ == list->high - list->used) {
		const char *wrong = c->at ? list->wrong : NULL;

		enter(c, c->stage + 1);
		return wrong;
	}
	return c->at && c->at <= list->high && list->step(&c->view, c->at, &c->at) ? NULL : list->wrong;
}

void snapshot_check_begin(struct snapshot_check *c, const struct tables *t, const void *bytes, uint64_t len)
{
	*c = (struct snapshot_check){ .t = t, .hash = SNAPSHOT_MAGIC };
	c->wrong = snapshot_open(t, bytes, len, &c->view);
}

bool snapshot_check_more(struct snapshot_check *c, uint32_t records)
{
	while (!c->wrong && c->stage < DONE && records) {
		records--;
		switch (c->stage) {
		case HASH: c->wrong = hash_more(c, &records); break;
		case HOSTS: c->wrong = hosts_more(c); break;
		case ROWS: c->wrong = row_more(c, &records); break;
		case DIED: c->wrong = died_more(c); break;
		default: c->wrong = free_more(c); break;
		}
	}
	return c->wrong || c->stage == DONE;
}

const char *snapshot_verify(const struct tables *t, const void *bytes, uint64_t len)
{
	struct snapshot_check c;

	snapshot_check_begin(&c, t, bytes, len);
	while (!snapshot_check_more(&c, UINT32_MAX))
		;
	return c.wrong;
}
