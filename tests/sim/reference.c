/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agreed state, written a second time from what lock_table.h, host_table.h and apply.h promise:
 * plain arrays over the keys of this run, no rows, no undo. It applies each slot as soon as it is
 * known to be chosen; every host that reaches the same index is compared with it.
 */
#include "sim.h"

#include "../../shm/state/apply.h"

/* ---- room ---- */

static uint32_t cells_of(const struct key *k)
{
	return k->len > KEY_INLINE ? (k->len - KEY_INLINE + KEY_CELL - 1) / KEY_CELL : 0;
}

static void raise_floor(struct sim *s, uint64_t token)
{
	s->reference.token_floor = MAX(s->reference.token_floor, token);
}

/* A free row is the one freed last, or a new one. */
static void row_take(struct sim *s, struct key *k)
{
	struct reference *r = &s->reference;

	k->lock = (struct lock){ .row = r->n_free ? r->free[--r->n_free] : ++r->rows_high };
	r->rows++;
	r->cells += cells_of(k);
}

static void row_drop(struct sim *s, struct key *k)
{
	struct reference *r = &s->reference;

	r->free[r->n_free++] = k->lock.row;
	r->rows--;
	r->cells -= cells_of(k);
	k->lock = (struct lock){ 0 };
}

/* The death remembered longest, among those whose keys use cells when it is cells that are short. */
static struct key *oldest_death(struct sim *s, bool with_cells)
{
	struct key *oldest = NULL;

	for (struct key *k = s->key + 1; k <= s->key + s->n_keys; k++)
		if (k->lock.row && !k->lock.delegation && (!with_cells || cells_of(k)) &&
		    (!oldest || k->lock.died_order < oldest->lock.died_order))
			oldest = k;
	return oldest;
}

static void forget_death(struct sim *s, struct key *k)
{
	raise_floor(s, k->lock.base - 1);
	s->reference.died_count--;
	row_drop(s, k);
	k->death_forgotten = true;
	sim_mark(s, MARK_DEATH_FORGOTTEN);
}

static bool make_room(struct sim *s, const struct key *k)
{
	const struct table_capacity *room = &s->plan.limits.capacity;

	while (s->reference.rows == room->rows || s->reference.cells + cells_of(k) > room->cells) {
		struct key *victim = oldest_death(s, s->reference.cells + cells_of(k) > room->cells);

		if (!victim)
			return false;
		forget_death(s, victim);
	}
	return true;
}

/* ---- locks ---- */

static void grant(struct sim *s, struct key *k, struct wish to, uint64_t base, bool died)
{
	k->lock.host = to.host;
	k->lock.mode = to.mode;
	k->lock.incarnation = to.incarnation;
	k->lock.delegation = ++s->reference.delegations;
	k->lock.base = base;
	k->lock.died = died;
	oracle_grant_moved(s, k);
}

/* One more shares it. */
static void share(struct sim *s, struct key *k, struct wish to)
{
	CHECK(s, k->lock.n_shares < SIM_HOSTS, "%s is shared by more hosts than there are", trace_key(k));
	k->lock.mode = LOCK_MODE_PR;
	k->lock.delegation = ++s->reference.delegations;
	k->lock.share[k->lock.n_shares++] = (struct share){ to, k->lock.delegation, k->lock.base };
	k->lock.base += LOCK_SHARED_RANGE;
	s->reference.waits++;
	if (k->lock.n_shares == 1)
		oracle_grant_moved(s, k);
}

static unsigned share_find(const struct key *k, uint16_t host)
{
	unsigned i = 0;

	while (i < k->lock.n_shares && k->lock.share[i].of.host != host)
		i++;
	return i;
}

static void share_drop(struct sim *s, struct key *k, unsigned i)
{
	sharing_ended(s, k, k->lock.share[i].of.host, k->lock.share[i].of.incarnation);
	s->reference.waits--;
	k->lock.n_shares--;
	memmove(&k->lock.share[i], &k->lock.share[i + 1], (k->lock.n_shares - i) * sizeof(k->lock.share[0]));
	if (!k->lock.n_shares) {
		k->lock.mode = 0;
		k->lock.delegation = 0;
	}
}

static void queue_cut(struct sim *s, struct key *k, unsigned i)
{
	s->reference.waits--;
	k->lock.n_queue--;
	memmove(&k->lock.queue[i], &k->lock.queue[i + 1], (k->lock.n_queue - i) * sizeof(k->lock.queue[0]));
}

static unsigned queue_find(const struct key *k, uint16_t host)
{
	unsigned i = 0;

	while (i < k->lock.n_queue && k->lock.queue[i].host != host)
		i++;
	return i;
}

uint64_t reference_alive(const struct sim *s, uint16_t host)
{
	return s->reference.host[host].down ? 0 : s->reference.host[host].incarnation;
}

/* Gives the lock to whoever is next, as long as it can be had: to all next ones who share, or to one who does not. */
static bool serve(struct sim *s, struct key *k)
{
	bool any = false;

	while (k->lock.n_queue && k->lock.mode != LOCK_MODE_EX) {
		struct wish next = k->lock.queue[0];
		bool alive = reference_alive(s, next.host) == next.incarnation;

		if (alive && next.mode == LOCK_MODE_EX && k->lock.n_shares)
			break;
		queue_cut(s, k, 0);
		if (alive && next.mode == LOCK_MODE_PR)
			share(s, k, next);
		else if (alive)
			grant(s, k, next, k->lock.base, k->lock.died);
		any |= alive;
	}
	return any;
}

/* `w` has nothing of the lock under this incarnation. */
static void enqueue(struct sim *s, struct key *k, struct wish w)
{
	unsigned at = queue_find(k, w.host), shares = share_find(k, w.host);

	if (at < k->lock.n_queue && k->lock.queue[at].incarnation == w.incarnation)
		return;
	if (at < k->lock.n_queue)
		queue_cut(s, k, at);
	else if (shares < k->lock.n_shares)
		share_drop(s, k, shares);
	if (s->reference.waits == s->plan.limits.capacity.waits)
		return;
	s->reference.waits++;
	k->lock.queue[k->lock.n_queue++] = w;
	serve(s, k);
}

static bool has(const struct key *k, struct wish w)
{
	unsigned i = share_find(k, w.host);

	if (k->lock.mode == LOCK_MODE_EX)
		return k->lock.host == w.host && k->lock.incarnation == w.incarnation;
	return i < k->lock.n_shares && k->lock.share[i].of.incarnation == w.incarnation;
}

static bool fits(const struct key *k, struct wish w)
{
	return k->lock.mode == LOCK_MODE_PR && w.mode == LOCK_MODE_PR && !k->lock.n_queue;
}

static void acquire(struct sim *s, struct key *k, struct wish w, bool try_only)
{
	bool room = w.mode == LOCK_MODE_EX || s->reference.waits < s->plan.limits.capacity.waits;
	struct lock *l = &k->lock;

	if (!l->row) {
		if (!room || !make_room(s, k))
			return;
		row_take(s, k);
		l->base = s->reference.token_floor + 1;
	} else if (l->mode) {
		if (!has(k, w) && (fits(k, w) || !try_only))
			enqueue(s, k, w);
		return;
	} else if (room) {
		s->reference.died_count--;
	} else {
		return;
	}
	if (w.mode == LOCK_MODE_EX)
		grant(s, k, w, l->base, l->died);
	else
		share(s, k, w);
}

/* Nobody has it: the next ones, or nobody. */
static void go_on(struct sim *s, struct key *k)
{
	struct lock *l = &k->lock;

	if (serve(s, k)) {
		sim_mark(s, MARK_GRANT_PASSED);
		return;
	}
	if (l->mode)
		return;
	if (!l->died) {
		raise_floor(s, l->base - 1);
		row_drop(s, k);
	} else {
		*l = (struct lock){ .row = l->row, .base = l->base, .died = true, .died_order = ++s->reference.died_order };
		s->reference.died_count++;
	}
	oracle_grant_moved(s, k);
}

static void end_delegation(struct sim *s, struct key *k, uint32_t used, bool died)
{
	struct lock *l = &k->lock;

	l->died = died || (l->died && !used); /* who knew of the death never had it */
	l->base += used;
	l->mode = 0;
	l->host = 0;
	l->incarnation = l->delegation = 0;
	go_on(s, k);
}

static void end_share(struct sim *s, struct key *k, unsigned i)
{
	share_drop(s, k, i);
	go_on(s, k);
}

static void release(struct sim *s, struct key *k, const struct command *c)
{
	unsigned i = share_find(k, c->host);

	if (k->lock.mode == LOCK_MODE_EX && k->lock.delegation == c->release.delegation && k->lock.host == c->host)
		end_delegation(s, k, c->release.used, c->flags & COMMAND_DIED);
	else if (i < k->lock.n_shares && k->lock.share[i].delegation == c->release.delegation)
		end_share(s, k, i);
}

static void cancel(struct sim *s, struct key *k, uint16_t host)
{
	unsigned at = queue_find(k, host);

	if (!k->lock.mode || at == k->lock.n_queue)
		return;
	queue_cut(s, k, at);
	serve(s, k);
}

static struct key *in_row(struct sim *s, uint32_t row)
{
	struct key *k = s->key + 1;

	while (k <= s->key + s->n_keys && k->lock.row != row)
		k++;
	return k <= s->key + s->n_keys ? k : NULL;
}

/* What ended lives of the host have of one lock, or that they keep others from sharing it. */
static bool sweep_one(struct sim *s, struct key *k, uint16_t host)
{
	uint64_t alive = reference_alive(s, host);
	struct lock *l = &k->lock;
	unsigned i = share_find(k, host);

	if (l->mode == LOCK_MODE_EX) {
		if (l->host != host || l->incarnation == alive)
			return false;
		sim_mark(s, l->n_queue ? MARK_SWEPT_TO_WAITER : MARK_SWEPT_LOCK);
		k->death = true; /* the host cannot say whether anybody had it */
		end_delegation(s, k, LOCK_RANGE, true);
		return true;
	}
	if (i < l->n_shares && l->share[i].of.incarnation != alive) {
		end_share(s, k, i);
		return true;
	}
	if (!l->n_queue || reference_alive(s, l->queue[0].host) == l->queue[0].incarnation)
		return false;
	serve(s, k);
	return true;
}

/* In the order of rows, and no more than a bite. */
static void sweep(struct sim *s, uint16_t host)
{
	struct reference_host *h = &s->reference.host[host];
	uint32_t row = h->sweep, frees = 0;

	for (; row < h->sweep + SWEEP_ROWS && row <= s->reference.rows_high && frees < SWEEP_FREES; row++) {
		struct key *k = in_row(s, row);

		if (!k || !k->lock.mode || !sweep_one(s, k, host))
			continue;
		k->touched = true;
		frees++;
	}
	h->sweep = row <= s->reference.rows_high ? row : 0;
}

/* ---- commands ---- */

static bool take_number(struct sim *s, const struct command *c)
{
	struct reference_host *h = &s->reference.host[c->host];

	if (h->incarnation != c->incarnation || !h->incarnation || h->down || c->number != h->last_number + 1) {
		sim_mark(s, MARK_COMMAND_REPEATED);
		return false;
	}
	h->last_number++;
	return true;
}

static void host_up(struct sim *s, const struct command *c, uint64_t slot)
{
	struct reference_host *h = &s->reference.host[c->host];

	bool runs = h->incarnation && !h->down;

	if (h->incarnation != c->host_up.expected || slot <= h->incarnation ||
	    (runs && (h->nonce == c->host_up.nonce || h->nonce != c->host_up.heir_of)))
		return;
	if (h->incarnation)
		sim_mark(s, runs ? MARK_HOST_HEIR : MARK_HOST_REGISTERED_AGAIN);
	*h = (struct reference_host){ .incarnation = slot, .nonce = c->host_up.nonce, .sweep = runs ? 1 : h->sweep };
}

/* A declaration of an older leader than the last that began is void: that one may have renewed the host. */
static void host_down(struct sim *s, const struct command *c)
{
	struct reference_host *h = &s->reference.host[c->host];

	if (h->incarnation != c->incarnation || !h->incarnation || h->down)
		return;
	if (c->ballot < s->reference.leads) {
		sim_mark(s, MARK_HOST_DOWN_VOID);
		return;
	}
	sim_mark(s, MARK_HOST_DOWN);
	h->down = true;
	h->sweep = 1;
	oracle_host_down(s, c->host);
}

static void apply(struct sim *s, const struct command *c, uint64_t slot)
{
	struct wish w = { c->host, c->mode, c->incarnation };
	struct key *k = NULL;

	CHECK(s, c->host >= 1 && c->host <= s->n_hosts, "slot %llu: a command of host %u", (unsigned long long)slot, c->host);
	s->tally->commands++;
	if (c->number && !take_number(s, c))
		return;
	if (c->key_len) {
		k = &s->key[sim_key(s, c->key, c->key_len)];
		k->touched = true;
	}
	switch (c->kind) {
	case COMMAND_FOUND:
		if (!s->reference.history) {
			s->reference.history = c->found.history;
			sim_mark(s, MARK_FOUNDED);
		}
		break;
	case COMMAND_HOST_UP:
		host_up(s, c, slot);
		break;
	case COMMAND_ACQUIRE:
		acquire(s, k, w, c->flags & COMMAND_TRY);
		break;
	case COMMAND_RELEASE:
		release(s, k, c);
		break;
	case COMMAND_CANCEL:
		cancel(s, k, c->host);
		break;
	case COMMAND_HOST_DOWN:
		host_down(s, c);
		break;
	case COMMAND_SWEEP:
		if (s->reference.host[c->host].sweep && s->reference.host[c->host].sweep == c->row)
			sweep(s, c->host);
		break;
	}
}

void reference_apply(struct sim *s, uint64_t slot, uint8_t kind, const unsigned char *bytes, uint32_t len)
{
	struct reader r = reader_on(bytes, len);
	unsigned n = 0;

	CHECK(s, slot == s->reference.applied + 1, "the reference skips slots");
	s->reference.applied = slot;
	s->tally->slots++;
	if (kind == PAXOS_NOOP)
		sim_mark(s, MARK_GAP_FILLED);
	if (kind == PAXOS_LEADS) {
		uint64_t ballot = get_u64(&r);

		s->reference.leads = MAX(s->reference.leads, ballot);
	}
	while (kind == PAXOS_COMMANDS && reader_left(&r)) {
		struct command c;

		CHECK(s, command_decode(&r, &c), "slot %llu holds bytes that are no commands", (unsigned long long)slot);
		apply(s, &c, slot);
		n++;
	}
	if (n > 1)
		sim_mark(s, MARK_VALUE_OF_MANY);
}

/* ---- comparing ---- */

#define SAME(what, a, b) CHECK(s, (a) == (b), "host %u at slot %llu: %s is %llu and should be %llu", h->id, \
			       (unsigned long long)s->reference.applied, what, (unsigned long long)(a), (unsigned long long)(b))

static void compare_queue(struct sim *s, const struct host *h, const struct key *k, uint32_t row)
{
	const struct tables *t = h->memory.tables;
	uint32_t w = k->lock.delegation ? tables_row(t, row)->queue_head : 0;

	for (unsigned i = 0; i < k->lock.n_queue; i++, w = tables_wait(t, w)->next) {
		CHECK(s, w, "host %u: the queue of %s is too short", h->id, trace_key(k));
		SAME("a waiting host", tables_wait(t, w)->host, k->lock.queue[i].host);
		SAME("what it waits for", tables_wait(t, w)->mode, k->lock.queue[i].mode);
		SAME("a waiting host's incarnation", tables_wait(t, w)->incarnation, k->lock.queue[i].incarnation);
	}
	CHECK(s, !w, "host %u: the queue of %s is too long", h->id, trace_key(k));
}

static void compare_shares(struct sim *s, const struct host *h, const struct key *k, const struct lock_value *v)
{
	const struct tables *t = h->memory.tables;
	uint32_t w = v->holder;

	SAME("the number of hosts that share", v->holders, k->lock.n_shares);
	for (unsigned i = k->lock.n_shares; i--; w = tables_wait(t, w)->next) { /* who came last is the first */
		CHECK(s, w, "host %u: %s is shared by too few", h->id, trace_key(k));
		SAME("a host that shares", tables_wait(t, w)->host, k->lock.share[i].of.host);
		SAME("its incarnation", tables_wait(t, w)->incarnation, k->lock.share[i].of.incarnation);
		SAME("its delegation", tables_wait(t, w)->delegation, k->lock.share[i].delegation);
		SAME("its first token", tables_wait(t, w)->base, k->lock.share[i].base);
	}
	CHECK(s, !w, "host %u: %s is shared by too many", h->id, trace_key(k));
}

static void compare_key(struct sim *s, const struct host *h, const struct key *k)
{
	uint32_t row = table_find(h->memory.tables, k->bytes, k->len);
	struct lock_value v;

	CHECK(s, row == k->lock.row, "host %u at slot %llu: %s stands in row %u and should in %u", h->id,
	      (unsigned long long)s->reference.applied, trace_key(k), row, k->lock.row);
	if (!row)
		return;
	v = table_value(h->memory.tables, row);
	SAME("a delegation", v.delegation, k->lock.delegation);
	SAME("a mode", v.mode, k->lock.mode);
	SAME("a delegation's host", v.host, k->lock.host);
	SAME("a delegation's incarnation", v.incarnation, k->lock.incarnation);
	SAME("a delegation's first token", v.base, k->lock.base);
	SAME("a death", (v.flags & LOCK_DIED) != 0, k->lock.died);
	SAME("the number of waiting hosts", v.waiting, k->lock.n_queue);
	compare_queue(s, h, k, row);
	compare_shares(s, h, k, &v);
}

static void compare_host(struct sim *s, const struct host *h, uint16_t id)
{
	const struct host_row *row = tables_host(h->memory.tables, id);
	const struct reference_host *r = &s->reference.host[id];

	SAME("an incarnation", row->incarnation, r->incarnation);
	SAME("a nonce", row->nonce, r->nonce);
	SAME("a last number", row->last_number, r->last_number);
	SAME("down", row->down, r->down);
	if (r->incarnation)
		SAME("the row to sweep next", row->sweep == HOST_SWEPT ? 0 : row->sweep, r->sweep);
}

void reference_compare(struct sim *s, struct host *h, bool whole)
{
	const struct agreed *a = &h->memory.tables->agreed;

	SAME("the history", a->history, s->reference.history);
	SAME("the last leader's ballot", a->leads, s->reference.leads);
	SAME("the token floor", a->token_floor, s->reference.token_floor);
	SAME("the count of delegations", a->delegations, s->reference.delegations);
	SAME("the rows in use", a->rows_used, s->reference.rows);
	SAME("the cells in use", a->cells_used, s->reference.cells);
	SAME("the waits in use", a->waits_used, s->reference.waits);
	SAME("the deaths remembered", a->died_count, s->reference.died_count);
	for (uint16_t id = 1; id <= s->n_hosts; id++)
		compare_host(s, h, id);
	for (struct key *k = s->key + 1; k <= s->key + s->n_keys; k++) {
		if (whole || k->touched)
			compare_key(s, h, k);
		k->touched = false;
	}
}
