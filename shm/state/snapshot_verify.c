/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot.h"
#include "snapshot_records.h"

/* Each check answers NULL, or what is wrong. None needs memory or more than one step for each element:
 * the bytes are a peer's. */

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

static const char *check_queue(const struct tables *t, const struct snapshot_view *v, uint32_t row,
			       const struct row_record *r)
{
	uint32_t at = r->queue_head, last = 0;

	for (uint32_t i = 0; i < r->value.waiting; i++) {
		struct wait_record w;

		if (!at || at > v->extent.waits)
			return "queue entry out of range";
		w = snapshot_wait(v, at);
		if (w.owner != row)
			return "a queue entry of another row";
		if (!w.host || w.host >= t->n_hosts)
			return "queue entry of no host";
		last = at;
		at = w.next;
	}
	return at || r->queue_tail != last ? "queue does not end where it should" : NULL;
}

/* A row kept for LOCK_DIED: has no queue, its links are looked at with the list. */
static const char *check_died(const struct row_record *r)
{
	const struct lock_value *v = &r->value;

	return v->host || v->incarnation || v->waiting || v->flags != LOCK_DIED ? "a died row with an owner" : NULL;
}

static const char *check_row(const struct tables *t, const struct snapshot_view *v, uint32_t row,
			     const struct row_record *r)
{
	const struct lock_value *value = &r->value;
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
	if (!value->host || value->host >= t->n_hosts || !value->incarnation)
		return "a lock of no host";
	if (value->waiting > v->agreed.waits_used)
		return "more waiting than there are entries";
	return check_queue(t, v, row, r);
}

/* Rows in use, and through them every cell and queue entry in use: each is counted once, because it
 * names its row and, within a row, comes once. */
static const char *check_rows(const struct tables *t, const struct snapshot_view *v)
{
	uint64_t used = 0, cells = 0, waits = 0, died = 0;

	for (uint32_t i = 1; i <= v->extent.rows; i++) {
		struct row_record r = snapshot_row(v, i);
		const char *wrong;

		if (!r.key_len)
			continue;
		wrong = check_row(t, v, i, &r);
		if (wrong)
			return wrong;
		used++;
		cells += snapshot_cells(r.key_len);
		waits += r.value.waiting;
		died += !r.value.delegation;
		/* Here and not at the end: walks together are no longer than the pool. */
		if (waits > v->agreed.waits_used)
			return "more waiting than there are entries";
	}
	if (used != v->agreed.rows_used || cells != v->agreed.cells_used || waits != v->agreed.waits_used ||
	    died != v->agreed.died_count)
		return "counts that do not fit the rows";
	return NULL;
}

static const char *check_died_list(const struct snapshot_view *v)
{
	uint32_t before = 0, at = v->agreed.died_head;

	for (uint32_t i = 0; i < v->agreed.died_count; i++) {
		struct row_record r;

		if (!at || at > v->extent.rows)
			return "died list out of range";
		r = snapshot_row(v, at);
		if (!r.key_len || r.value.delegation || r.queue_head != before)
			return "died list with a row that is not in it";
		before = at;
		at = r.queue_tail;
	}
	return at || v->agreed.died_tail != before ? "died list does not end where it should" : NULL;
}

typedef bool free_step(const struct snapshot_view *v, uint32_t i, uint32_t *ret_next);

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

static bool free_list_ok(const struct snapshot_view *v, uint32_t at, uint32_t high, uint32_t used, free_step *step)
{
	for (uint32_t left = high - used; left; left--)
		if (!at || at > high || !step(v, at, &at))
			return false;
	return at == 0;
}

static const char *check_free(const struct snapshot_view *v)
{
	const struct agreed *a = &v->agreed;

	if (!free_list_ok(v, a->rows_free, a->rows_high, a->rows_used, row_step))
		return "free rows do not fit";
	if (!free_list_ok(v, a->cells_free, a->cells_high, a->cells_used, cell_step))
		return "free cells do not fit";
	if (!free_list_ok(v, a->waits_free, a->waits_high, a->waits_used, wait_step))
		return "free queue entries do not fit";
	return NULL;
}

const char *snapshot_verify(const struct tables *t, const void *bytes, uint64_t len)
{
	struct snapshot_view v;
	const char *wrong = snapshot_open(t, bytes, len, &v);

	if (wrong)
		return wrong;
	if (snapshot_hash_found(&v) != snapshot_hash_made(bytes, &v.extent))
		return "wrong hash";
	wrong = check_numbers(&v.agreed);
	if (!wrong)
		wrong = check_hosts(t, &v);
	if (!wrong)
		wrong = check_rows(t, &v);
	if (!wrong)
		wrong = check_died_list(&v);
	return wrong ? wrong : check_free(&v);
}
