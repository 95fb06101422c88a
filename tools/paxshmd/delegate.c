/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delegate: who on this host waits for which lock, and what the cluster is asked for.
 *
 *              ACQUIRE                granted                    RELEASE
 *	LINE_IDLE ----------> LINE_ASKED ---------> LINE_OURS --------------------> LINE_IDLE
 *	    |  ACQUIRE, TRY              \  all waiters left: CANCEL                    ^
 *	    +-----------> LINE_TRIED      +-----------> LINE_CANCELLING ----------------+
 *	                     | granted: OURS; another has it: IDLE         applied (or granted: OURS)
 *
 * Somebody waits: a claim, or a session that stands at the line's gate. What happens at the gate while the line is OURS
 * is decided in gates.c.
 *
 * Once RELEASE is issued the delegation is over for us, although it is not applied yet: it is never
 * opened again, and a new wish goes into the log behind it.
 */
#include "inside.h"
#include "../../lib/mutant.h"

#include <errno.h>

#define CHANGE(lvalue, value) SET(&a->undo, lvalue, value)
#define FULL_TRIES 8u /* how often the cluster is asked for a lock that it has no room for … */
#define FULL_WAIT_NS (20 * NS_PER_MS)

/* ---- answers ---- */

void line_answer(struct agent *a, uint32_t i, struct ring_completion *completion)
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
	line_answer(a, i, &completion);
	claim_free(a, i);
}

void line_complete(struct agent *a, uint32_t i, struct ring_completion *completion)
{
	line_answer(a, i, completion);
	claim_free(a, i);
}

/* ---- settling ---- */

uint32_t line_hosts_waiting(const struct agent *a, const struct line *l)
{
	uint32_t row = table_find(a->tables, l->key, l->key_len);

	return row ? table_value(a->tables, row).waiting : 0;
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

bool line_give_back(struct agent *a, uint32_t i, uint32_t used, bool died)
{
	struct line *l = line_of(a, i);
	struct command c = {
		.kind = COMMAND_RELEASE,
		.flags = died ? COMMAND_DIED : 0,
		.release = { .delegation = l->delegation, .used = used },
	};

	if (!issue(a, l, &c))
		return false;
	undo_save(&a->undo, l, LINE_HEAD);
	l->state = LINE_IDLE;
	l->queued = l->wanted = 0;
	l->delegation = l->remote_since_ns = 0;
	a->tables->releases++;
	line_later(a, i); /* who waits still asks anew; else the line is free */
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
void line_tries_refused(struct agent *a, uint32_t i)
{
	struct line *l = line_of(a, i);
	struct owner owner = l->mode == LOCK_MODE_PR ? shared_owner(a, i) : gate_owner_now(a, i);
	uint32_t next;

	for (uint32_t c = l->head; c && l->n_waiting > l->n_blocking; c = next) {
		next = claim_of(a, c)->next;
		if (!(claim_of(a, c)->flags & REQUEST_TRY))
			continue;
		if (!may_send_off(a, l))
			return;
		claim_answer(a, c, -EBUSY, &owner);
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
bool line_told_no_quorum(struct agent *a, uint32_t line)
{
	struct line *l = line_of(a, line);
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

static bool somebody_waits(struct agent *a, uint32_t i)
{
	return line_of(a, i)->head || gate_has_waiters(a, i);
}

/* The mode that the oldest of those who wait here wants. Who stands at the gate wants it alone. */
static uint8_t first_mode(struct agent *a, uint32_t i)
{
	const struct line *l = line_of(a, i);
	uint32_t record = gate_oldest_waiter(a, i);

	if (!l->head || (record && atom_load_relaxed(&a->gates.records[record].since_ns) <
					   agent_monotonic_ns(a, claim_of(a, l->head)->since_ns)))
		return LOCK_MODE_EX;
	return (uint8_t)claim_of(a, l->head)->mode;
}

static bool settle_idle(struct agent *a, uint32_t i)
{
	struct line *l = line_of(a, i);
	struct command c = { .kind = COMMAND_ACQUIRE, .mode = LOCK_MODE_EX };

	if ((a->no_quorum && !line_told_no_quorum(a, i)) || !somebody_waits(a, i) || (l->full && a->is_watched[i]))
		return true;
	c.mode = first_mode(a, i);
	c.flags = l->n_blocking || gate_has_waiters(a, i) ? 0 : COMMAND_TRY;
	if (!issue(a, l, &c))
		return false;
	CHANGE(l->queued, 0);
	CHANGE(l->state, c.flags & COMMAND_TRY ? LINE_TRIED : LINE_ASKED);
	return true;
}

static bool settle_asked(struct agent *a, uint32_t i)
{
	struct line *l = line_of(a, i);
	struct command c = { .kind = COMMAND_CANCEL };

	if (l->queued)
		tries_ask(a, l);
	if (somebody_waits(a, i))
		return true;
	if (!issue(a, l, &c))
		return false;
	CHANGE(l->state, LINE_CANCELLING);
	return true;
}

static void free_if_done(struct agent *a, uint32_t i)
{
	const struct line *l = line_of(a, i);

	if (l->state == LINE_IDLE && !l->sharers && !l->given && !l->head && !l->asks && !gate_has_waiters(a, i))
		line_free(a, i);
}

/* What happens at a gate has groups of its own: a line of ours waits until this one is ended. */
void line_settle(struct agent *a, uint32_t i)
{
	struct line *l = line_of(a, i);
	bool done = true;

	if (l->state == LINE_OURS) {
		a->more_dirty = true;
		line_later(a, i);
		return;
	}
	if (l->state == LINE_IDLE)
		done = settle_idle(a, i);
	if (done && l->state == LINE_ASKED)
		done = settle_asked(a, i);
	if (!done)
		line_later(a, i);
	else
		free_if_done(a, i);
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
		if (!a->m.lines[i].key_len) {
			/* freed meanwhile */
		} else if (a->m.lines[i].state != LINE_OURS) {
			line_settle(a, i);
		} else if (!gate_settle(a, i)) {
			line_later(a, i);
		}
		agent_commit(a);
	}
}

/* ---- what the cluster answers ---- */

void line_granted(struct agent *a, uint32_t row)
{
	uint8_t key[KEY_MAX];
	uint32_t len = table_key(a->tables, row, key);
	uint32_t i = line_find(a, key, len, hash_bytes(0, key, len));

	/* A line stays until its ACQUIRE or CANCEL is applied, so it is there. */
	ASSERT(i && line_of(a, i)->state != LINE_IDLE);
	gate_delegated(a, i, row);
	line_settle(a, i);
}

/* Other hosts may hold locks that they do not use: they give them back when they see that there is no room. So it is
 * tried again for a while. Then whoever is not sent off now asks the cluster again. */
static void no_room(struct agent *a, uint32_t i)
{
	struct line *l = line_of(a, i);

	CHANGE(l->full, l->full + 1);
	if (l->full < FULL_TRIES && a->config.keep_ns) {
		a->watch_ns = FULL_WAIT_NS;
		gate_watch(a, i);
		return;
	}
	CHANGE(l->full, 0);
	while (l->head && may_send_off(a, l))
		claim_answer(a, l->head, -ENOSPC, NULL);
	if (!l->head && gate_has_waiters(a, i)) { /* they go on waiting, and nobody asks all the time for them */
		CHANGE(l->full, 1);
		a->watch_ns = FULL_WAIT_NS;
		gate_watch(a, i);
	}
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
		if (MUTANT(287) && c->mode == LOCK_MODE_PR) {
			CHANGE(l->mode, LOCK_MODE_PR);
			CHANGE(l->state, LINE_OURS);
		}
	} else if (outcome == LOCK_BUSY && l->state == LINE_TRIED) {
		CHANGE(l->state, LINE_IDLE);
		tries_ask(a, l);
	} else if (outcome == LOCK_FULL && (l->state == LINE_ASKED || l->state == LINE_TRIED)) {
		CHANGE(l->state, LINE_IDLE);
		no_room(a, i);
	} else {
		return;
	}
	line_settle(a, i);
}

static bool row_is_ours(const struct agent *a, uint32_t row)
{
	struct lock_hold hold;

	return lock_table_hold(a->tables, row, a->config.self, &hold) && hold.incarnation == a->m.p->incarnation;
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
		struct lock_hold hold;

		if (!ours || !lock_table_hold(a->tables, row, a->config.self, &hold) || hold.delegation != l->delegation)
			agent_fatal(a, "a copy of the tables gives away a lock that this host holds");
		else
			line_granted(a, row); /* the copy does not say which gate */
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
	gates_rebuild(a);
	claims_show_again(a);
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

	if (!l->key_len)
		return;
	while (l->sharers && !MUTANT(302)) {
		uint32_t sharer = l->sharers;

		claim_leave(a, sharer);
		claim_free(a, sharer);
		agent_commit(a);
	}
	gate_lapse_line(a, i);
	undo_save(&a->undo, l, LINE_HEAD);
	l->state = LINE_IDLE;
	l->queued = l->wanted = 0;
	l->delegation = l->number = l->remote_since_ns = 0;
	line_settle(a, i);
}
