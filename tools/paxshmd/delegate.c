/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delegate: who on this host owns, or waits for, which lock.
 *
 *              ACQUIRE                granted                    RELEASE
 *	LINE_IDLE ----------> LINE_ASKED ---------> LINE_OURS --------------------> LINE_IDLE
 *	    |  ACQUIRE, TRY              \  all waiters left: CANCEL                    ^
 *	    +-----------> LINE_TRIED      +-----------> LINE_CANCELLING ----------------+
 *	                     | granted: OURS; another has it: IDLE         applied (or granted: OURS)
 *
 * Once RELEASE is issued the delegation is over for us, although it is not applied yet: it is never
 * opened again, and a new wish goes into the log behind it.
 */
#include "inside.h"
#include "../../lib/mutant.h"

#include <errno.h>

#define CHANGE(lvalue, value) SET(&a->undo, lvalue, value)

/* ---- answers ---- */

static void complete(struct agent *a, uint32_t i, struct ring_completion *completion)
{
	struct claim *c = claim_of(a, i);

	if (c->call == CALL_NONE)
		return;
	completion->call = c->call;
	completion->incarnation = a->m.p->incarnation;
	if (c->flags & REQUEST_STAMPS) {
		memcpy(completion->stamp_ns, a->stamps[i], sizeof(completion->stamp_ns));
		completion->stamp_ns[STAMP_CHOSEN] = a->chosen_ns;
		completion->stamp_ns[STAMP_GRANTED] = agent_stamp(a);
	}
	CHANGE(a->m.sessions[c->session].call_claim[c->call], 0);
	session_complete(a, c->session, completion);
}

void claim_answer(struct agent *a, uint32_t i, int result, const struct owner *owner)
{
	struct ring_completion completion = { .result = result };

	if (owner) {
		completion.holder_host = owner->host;
		completion.holder_pid = owner->pid;
		completion.holder_session = owner->session;
		completion.holder_start = owner->start;
		completion.holder_token = owner->token;
	}
	if (result == -EBUSY)
		a->tables->refusals++;
	claim_leave(a, i);
	complete(a, i, &completion);
	claim_free(a, i);
}

/* ---- settling ---- */

/* How many other hosts wait for this lock. */
static uint32_t hosts_waiting(const struct agent *a, const struct line *l)
{
	uint32_t row = table_find(a->tables, l->key, l->key_len);

	return row ? table_value(a->tables, row).waiting : 0;
}

/* Bounded local passing: the first owner of a delegation always, then as long as no other host
 * waits, or handover_max times while one does (cohort locks: Dice, Marathe, Shavit 2012, section 2.2). */
static bool may_give(const struct agent *a, const struct line *l)
{
	if (l->used == 0)
		return true;
	if (l->used == LOCK_RANGE)
		return false; /* no tokens left: a new delegation brings a new range */
	return l->passes < a->config.handover_max || hosts_waiting(a, l) == 0;
}

static void give(struct agent *a, struct line *l)
{
	uint32_t i = l->head;
	struct claim *c = claim_of(a, i);
	struct ring_completion completion = { 0 };

	claim_leave(a, i);
	undo_save(&a->undo, l, LINE_HEAD);
	undo_save(&a->undo, c, sizeof(*c));
	if (l->used && hosts_waiting(a, l))
		l->passes++;
	if (l->used)
		a->tables->handovers++;
	c->state = CLAIM_OWNER;
	c->token = l->base + l->used++;
	c->since_ns = a->now_ns;
	l->owner = i;
	completion.claim = (uint64_t)c->gen << 32 | i;
	completion.token = c->token;
	completion.flags = l->died ? COMPLETION_DIED : 0;
	l->died = 0;
	a->tables->grants++;
	complete(a, i, &completion);
}

static bool issue(struct agent *a, struct line *l, struct command *c)
{
	uint64_t number;

	c->key_len = l->key_len;
	memcpy(c->key, l->key, l->key_len);
	number = command_issue(a, c);
	if (number)
		CHANGE(l->number, number);
	return number != 0;
}

static bool give_back(struct agent *a, struct line *l)
{
	struct command c = {
		.kind = COMMAND_RELEASE,
		.flags = l->died ? COMMAND_DIED : 0,
		.release = { .delegation = l->delegation, .used = l->used },
	};

	if (!issue(a, l, &c))
		return false;
	undo_save(&a->undo, l, LINE_HEAD);
	l->state = LINE_IDLE;
	l->died = l->queued = 0;
	l->delegation = l->base = 0;
	l->used = l->passes = 0;
	a->tables->releases++;
	return true;
}

/* A whole crowd may wait in one line. What one group changes must fit into the undo log, so only some of
 * them are sent off at once: false: the line is looked at again, in a group of its own. */
static bool may_send_off(struct agent *a, const struct line *l)
{
	if (a->sent_off < GROUP_CLAIMS) {
		a->sent_off++;
		return true;
	}
	line_later(a, (uint32_t)(l - a->m.lines));
	a->more_dirty = true;
	return false;
}

/* Tries are answered as soon as it is known that another has the lock: here a session of this host … */
static void tries_refused(struct agent *a, struct line *l)
{
	struct owner owner = owner_of_line(a, l);
	uint32_t next;

	for (uint32_t i = l->head; i && l->n_waiting > l->n_blocking; i = next) {
		next = claim_of(a, i)->next;
		if (!(claim_of(a, i)->flags & REQUEST_TRY))
			continue;
		if (!may_send_off(a, l))
			return;
		claim_answer(a, i, -EBUSY, &owner);
	}
}

/* … and here another host, who is asked which process it is. */
static void tries_ask(struct agent *a, struct line *l)
{
	uint32_t next;

	for (uint32_t i = l->head; i && l->n_waiting > l->n_blocking; i = next) {
		next = claim_of(a, i)->next;
		if (!(claim_of(a, i)->flags & REQUEST_TRY))
			continue;
		if (!may_send_off(a, l))
			return;
		claim_leave(a, i);
		claim_ask(a, i, ASK_LOOK);
	}
}

/* Who would rather hear that there is no quorum than wait for one hears it before the cluster is asked, even when
 * the lock was ours until now. False: some of them are still to be told. */
static bool told_no_quorum(struct agent *a, struct line *l)
{
	uint32_t next;

	for (uint32_t i = l->head; i; i = next) {
		next = claim_of(a, i)->next;
		if (!(claim_of(a, i)->flags & REQUEST_RETURN))
			continue;
		if (!may_send_off(a, l))
			return false;
		claim_answer(a, i, -ENETUNREACH, NULL);
	}
	return true;
}

static bool settle_ours(struct agent *a, struct line *l)
{
	if (a->no_quorum && !told_no_quorum(a, l))
		return false;
	if (!l->owner && l->head && may_give(a, l)) {
		if (!lease_valid(a))
			return true; /* the cluster may have given it to another: looked at again when it is renewed */
		give(a, l);
	}
	if (l->owner) {
		if (lease_valid(a)) /* else it may be another's */
			tries_refused(a, l);
		return true;
	}
	return MUTANT(81) || give_back(a, l);
}

static bool settle_idle(struct agent *a, struct line *l)
{
	struct command c = { .kind = COMMAND_ACQUIRE, .mode = LOCK_MODE_EX };

	if ((a->no_quorum && !told_no_quorum(a, l)) || !l->head)
		return true;
	c.flags = l->n_blocking ? 0 : COMMAND_TRY;
	if (!issue(a, l, &c))
		return false;
	CHANGE(l->queued, 0);
	CHANGE(l->state, l->n_blocking ? LINE_ASKED : LINE_TRIED);
	return true;
}

static bool settle_asked(struct agent *a, struct line *l)
{
	struct command c = { .kind = COMMAND_CANCEL };

	if (l->queued)
		tries_ask(a, l);
	if (l->head)
		return true;
	if (!issue(a, l, &c))
		return false;
	CHANGE(l->state, LINE_CANCELLING);
	return true;
}

void line_settle(struct agent *a, uint32_t i)
{
	struct line *l = line_of(a, i);
	bool done = true;

	if (l->state == LINE_OURS)
		done = settle_ours(a, l);
	if (done && l->state == LINE_IDLE)
		done = settle_idle(a, l);
	if (done && l->state == LINE_ASKED)
		done = settle_asked(a, l);
	if (!done)
		line_later(a, i);
	else if (l->state == LINE_IDLE && !l->owner && !l->head && !l->asks)
		line_free(a, i);
}

void line_later(struct agent *a, uint32_t i)
{
	uint32_t n = a->m.p->n_lines;

	if (a->is_dirty[i])
		return;
	ASSERT(a->dirty_count < n);
	a->is_dirty[i] = 1;
	a->dirty[(a->dirty_first + a->dirty_count++) % n] = i;
}

void lines_settle_dirty(struct agent *a)
{
	bool more = a->more_dirty;

	a->more_dirty = false;
	for (uint32_t left = a->dirty_count; left && (more || commands_room(a)); left--) {
		uint32_t i = a->dirty[a->dirty_first];

		a->dirty_first = (a->dirty_first + 1) % a->m.p->n_lines;
		a->dirty_count--;
		a->is_dirty[i] = 0;
		if (a->m.lines[i].key_len)
			line_settle(a, i);
		agent_commit(a);
	}
}

void claim_release(struct agent *a, uint32_t i, bool died)
{
	struct claim *c = claim_of(a, i);
	struct line *l = line_of(a, c->line);
	uint32_t line = c->line;

	ASSERT(c->state == CLAIM_OWNER && l->owner == i && l->state == LINE_OURS);
	CHANGE(c->state, CLAIM_FREE);
	CHANGE(l->owner, 0);
	if (died) {
		CHANGE(l->died, 1);
		a->tables->deaths++;
	}
	claim_free(a, i);
	line_settle(a, line);
}

/* ---- what the cluster answers ---- */

void line_granted(struct agent *a, uint32_t row)
{
	struct lock_value v = table_value(a->tables, row);
	uint8_t key[KEY_MAX];
	uint32_t len = table_key(a->tables, row, key);
	uint64_t hash = hash_bytes(0, key, len);
	uint32_t i = line_find(a, key, len, hash);
	struct line *l;

	/* A line stays until its ACQUIRE or CANCEL is applied, so it is there. */
	ASSERT(i);
	l = line_of(a, i);
	if (l->state == LINE_OURS && l->delegation == v.delegation)
		return;
	ASSERT(l->state == LINE_ASKED || l->state == LINE_TRIED || l->state == LINE_CANCELLING);
	undo_save(&a->undo, l, LINE_HEAD);
	l->state = LINE_OURS;
	l->delegation = v.delegation;
	l->base = v.base;
	l->died = (v.flags & LOCK_DIED) != 0;
	l->used = l->passes = l->queued = 0;
	line_settle(a, i);
}

/* Whoever is not sent off now asks the cluster again. */
static void no_room(struct agent *a, struct line *l)
{
	while (l->head && may_send_off(a, l))
		claim_answer(a, l->head, -ENOSPC, NULL);
}

void line_acquired(struct agent *a, const struct command *c, enum lock_outcome outcome)
{
	uint32_t i = line_find(a, c->key, c->key_len, hash_bytes(0, c->key, c->key_len));
	struct line *l;

	if (!i || line_of(a, i)->number != c->number)
		return; /* granted, or cancelled meanwhile */
	l = line_of(a, i);
	if (outcome == LOCK_QUEUED && l->state == LINE_ASKED) {
		CHANGE(l->queued, 1);
	} else if (outcome == LOCK_BUSY && l->state == LINE_TRIED) {
		CHANGE(l->state, LINE_IDLE);
		tries_ask(a, l);
	} else if (outcome == LOCK_FULL && (l->state == LINE_ASKED || l->state == LINE_TRIED)) {
		CHANGE(l->state, LINE_IDLE);
		no_room(a, l);
	} else {
		return;
	}
	line_settle(a, i);
}

static bool row_is_ours(const struct agent *a, uint32_t row)
{
	struct lock_value v = table_value(a->tables, row);

	return v.delegation && v.host == a->config.self && v.incarnation == a->m.p->incarnation;
}

void line_cancelled(struct agent *a, const struct command *c)
{
	uint32_t i = line_find(a, c->key, c->key_len, hash_bytes(0, c->key, c->key_len));

	if (!i || line_of(a, i)->number != c->number || line_of(a, i)->state != LINE_CANCELLING)
		return;
	/* Nothing of ours about this key is under way behind the CANCEL, so a row that is ours was
	 * granted before it (and the grant may have come in a copy of the tables, unseen). */
	uint32_t row = table_find(a->tables, c->key, c->key_len);

	if (row && row_is_ours(a, row) && !MUTANT(82)) {
		line_granted(a, row);
		return;
	}
	CHANGE(line_of(a, i)->state, LINE_IDLE);
	line_settle(a, i);
}

static bool stands_in_queue(const struct agent *a, uint32_t row)
{
	for (uint32_t w = tables_row(a->tables, row)->queue_head; w; w = tables_wait(a->tables, w)->next)
		if (tables_wait(a->tables, w)->host == a->config.self &&
		    tables_wait(a->tables, w)->incarnation == a->m.p->incarnation)
			return true;
	return false;
}

/* One line against tables that came as a copy: what its command came to, its answer unseen. */
static void compare_line(struct agent *a, uint32_t i, uint64_t last_number)
{
	struct line *l = line_of(a, i);
	uint32_t row = table_find(a->tables, l->key, l->key_len);
	struct lock_value v = { 0 };

	if (row)
		v = table_value(a->tables, row);
	bool ours = row && row_is_ours(a, row);

	if (l->state == LINE_OURS) {
		if (!ours || v.delegation != l->delegation)
			agent_fatal(a, "a copy of the tables gives away a lock that this host holds");
		else
				return;
	}
	if (l->state == LINE_IDLE || l->number > last_number)
		return; /* `ours` would be what we are giving back; the answer is still to come */
	if (ours) {
		line_granted(a, row);
		return;
	}
	if (l->state == LINE_ASKED && row && v.delegation && stands_in_queue(a, row))
		CHANGE(l->queued, 1);
	else
		CHANGE(l->state, LINE_IDLE); /* refused: asked again while somebody waits */
	line_settle(a, i);
}

void lines_compare(struct agent *a)
{
	uint64_t last_number = tables_host(a->tables, a->config.self)->last_number;

	for (uint32_t i = 1; i <= a->m.p->lines_high; i++) {
		if (a->m.lines[i].key_len)
			compare_line(a, i, last_number);
		agent_commit(a);
	}
}

void lines_no_quorum(struct agent *a)
{
	for (uint32_t i = 1; i <= a->m.p->claims_high; i++) {
		struct claim *c = &a->m.claims[i];
		uint32_t line = c->line;

		if ((c->state != CLAIM_WAITING && c->state != CLAIM_ASKING) ||
		    (!(c->flags & REQUEST_RETURN) && c->op != REQUEST_HOLDER))
			continue;
		claim_answer(a, i, -ENETUNREACH, NULL);
		line_settle(a, line);
		agent_commit(a);
	}
}

void lines_look_again(struct agent *a)
{
	for (uint32_t i = 1; i <= a->m.p->lines_high; i++)
		if (a->m.lines[i].key_len)
			line_later(a, i);
	a->more_dirty = a->dirty_count != 0;
}

/* Which index of the log a claim waited for only the predecessor knew. */
void lines_rebuild(struct agent *a)
{
	lines_look_again(a);
	a->asking = 0;
	for (uint32_t i = 1; i <= a->m.p->claims_high; i++) {
		struct claim *c = &a->m.claims[i];

		if (c->state != CLAIM_ASKING)
			continue;
		a->asking++;
		if (c->stage == ASK_INDEXED) {
			CHANGE(c->stage, ASK_INDEX);
			agent_commit(a);
		}
	}
	a->ask_at_ns = a->asking ? a->now_ns : NEVER;
}

void line_lapse(struct agent *a, uint32_t i)
{
	struct line *l = line_of(a, i);
	uint32_t owner = l->owner;

	if (!l->key_len)
		return;
	if (owner) {
		CHANGE(claim_of(a, owner)->state, CLAIM_FREE);
		CHANGE(l->owner, 0);
		claim_free(a, owner);
		}
	undo_save(&a->undo, l, sizeof(*l));
	l->state = LINE_IDLE;
	l->died = l->queued = 0;
	l->delegation = l->base = l->number = 0;
	l->used = l->passes = 0;
	line_settle(a, i);
}
