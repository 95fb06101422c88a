/* SPDX-License-Identifier: Apache-2.0 */
/* claims: the places of lines and claims, and where a claim stands: in its line's queue, among its asks, or nowhere. */
#include "inside.h"
#include "../../lib/mutant.h"

#define CHANGE(lvalue, value) SET(&a->undo, lvalue, value)

struct line *line_of(struct agent *a, uint32_t line)
{
	ASSERT(line > 0 && line <= a->m.p->lines_high);
	return &a->m.lines[line];
}

struct claim *claim_of(struct agent *a, uint32_t claim)
{
	ASSERT(claim > 0 && claim <= a->m.p->claims_high);
	return &a->m.claims[claim];
}

/* ---- places ---- */

uint32_t line_find(const struct agent *a, const void *key, uint32_t len, uint64_t hash)
{
	uint32_t i = a->m.buckets[hash & (a->m.p->n_buckets - 1)];

	while (i) {
		const struct line *l = &a->m.lines[i];

		if (l->hash == hash && l->key_len == len && memcmp(l->key, key, len) == 0)
			break;
		i = l->next;
	}
	return i;
}

/* As many as there may be claims, and as wait for nothing but a command of theirs. */
static bool line_room(const struct agent *a)
{
	const struct private_memory *p = a->m.p;

	return p->lines_used < MIN(p->n_lines, p->n_claims + (p->next_number - p->first_number));
}

static uint32_t line_new(struct agent *a, const void *key, uint32_t len, uint64_t hash)
{
	struct private_memory *p = a->m.p;
	uint32_t *bucket = &a->m.buckets[hash & (p->n_buckets - 1)];
	uint32_t i = p->lines_free;
	struct line *l;

	if (!line_room(a))
		return keep_makes_room(a) && line_room(a) ? line_new(a, key, len, hash) : 0;
	if (i) {
		CHANGE(p->lines_free, a->m.lines[i].next);
	} else {
		i = p->lines_high + 1;
		CHANGE(p->lines_high, i);
	}
	l = &a->m.lines[i];
	undo_save(&a->undo, l, LINE_HEAD + len);
	memset(l, 0, LINE_HEAD);
	l->key_len = (uint8_t)len;
	l->hash = hash;
	l->next = *bucket;
	memcpy(l->key, key, len);
	gate_new_key(a, i);
	CHANGE(*bucket, i);
	CHANGE(p->lines_used, p->lines_used + 1);
	return i;
}

void line_free(struct agent *a, uint32_t i)
{
	struct private_memory *p = a->m.p;
	struct line *l = line_of(a, i);
	uint32_t *link = &a->m.buckets[l->hash & (p->n_buckets - 1)];

	ASSERT(l->state == LINE_IDLE && !l->sharers && !l->given && !l->head && !l->asks);
	while (*link != i) {
		ASSERT(*link);
		link = &a->m.lines[*link].next;
	}
	CHANGE(*link, l->next);
	CHANGE(l->next, p->lines_free);
	CHANGE(l->key_len, 0);
	gate_new_key(a, i); /* now, not when the next key comes: who comes with the old one would be sent away for ever */
	CHANGE(p->lines_free, i);
	CHANGE(p->lines_used, p->lines_used - 1);
}

uint32_t claim_new(struct agent *a, uint32_t slot, const struct ring_request *r)
{
	struct private_memory *p = a->m.p;
	struct session_record *s = &a->m.sessions[slot];
	uint64_t hash = hash_bytes(0, r->key, r->key_len);
	uint32_t line = line_find(a, r->key, r->key_len, hash);
	uint32_t i = p->claims_free;
	struct claim *c;

	if (!i && p->claims_high == p->n_claims)
		return 0;
	if (!line && !(line = line_new(a, r->key, r->key_len, hash)))
		return 0;
	if (i) {
		CHANGE(p->claims_free, a->m.claims[i].next);
	} else {
		i = p->claims_high + 1;
		CHANGE(p->claims_high, i);
	}
	c = &a->m.claims[i];
	undo_save(&a->undo, c, sizeof(*c));
	*c = (struct claim){
		.gen = c->gen,
		.state = CLAIM_FREE,
		.flags = (uint8_t)r->flags,
		.op = (uint8_t)r->op,
		.mode = r->mode ? r->mode : LOCK_MODE_EX,
		.session = slot,
		.call = r->call,
		.line = line,
		.session_next = s->claims,
		.since_ns = a->now_ns,
	};
	if (s->claims)
		CHANGE(claim_of(a, s->claims)->session_prev, i);
	CHANGE(s->claims, i);
	if (r->call != CALL_NONE)
		CHANGE(s->call_claim[r->call], i);
	CHANGE(p->claims_used, p->claims_used + 1);
	return i;
}

void claim_free(struct agent *a, uint32_t i)
{
	struct private_memory *p = a->m.p;
	struct claim *c = claim_of(a, i);
	struct session_record *s = &a->m.sessions[c->session];

	ASSERT(c->state == CLAIM_FREE); /* left its line before */
	if (c->session_prev)
		CHANGE(claim_of(a, c->session_prev)->session_next, c->session_next);
	else
		CHANGE(s->claims, c->session_next);
	if (c->session_next)
		CHANGE(claim_of(a, c->session_next)->session_prev, c->session_prev);
	if (c->call != CALL_NONE && s->call_claim[c->call] == i)
		CHANGE(s->call_claim[c->call], 0);
	undo_save(&a->undo, c, sizeof(*c));
	*c = (struct claim){ .gen = c->gen + 1, .next = p->claims_free };
	CHANGE(p->claims_free, i);
	CHANGE(p->claims_used, p->claims_used - 1);
}

/* ---- what programs see of them ---- */

/* For people: who waits through the agent, and who shares a lock, stands in no other memory that programs can read. A try
 * waits for the cluster's answer and not for the lock. */
static void claim_show(struct agent *a, uint32_t i)
{
	const struct claim *c = &a->m.claims[i];
	const struct line *l = &a->m.lines[c->line];
	unsigned shown = 0;

	if (c->state == CLAIM_OWNER)
		shown = CLAIM_SHOWN_SHARES;
	else if (c->state == CLAIM_WAITING && !(c->flags & REQUEST_TRY))
		shown = CLAIM_SHOWN_WAITS;
	table_show_claim(a->tables, i, c->gen, c->session, shown, (uint8_t)c->mode, shown ? l->hash : 0,
			 shown ? agent_monotonic_ns(a, c->since_ns) : 0);
}

/* The predecessor may have shown what it did not commit, and may have died between a row and their count. */
void claims_show_again(struct agent *a)
{
	for (uint32_t i = 1; i <= a->tables->claims_high; i++)
		atom_store_release(&tables_claim(a->tables, i)->word, (uint64_t)0);
	atom_store_relaxed(&a->tables->claims_shown, 0u);
	for (uint32_t i = 1; i <= a->m.p->claims_high; i++)
		claim_show(a, i);
}

/* ---- a line's queue, its asks, and those who share it ---- */

void claim_wait(struct agent *a, uint32_t i)
{
	struct claim *c = claim_of(a, i);
	struct line *l = line_of(a, c->line);

	ASSERT(c->state == CLAIM_FREE);
	undo_save(&a->undo, c, sizeof(*c));
	c->state = CLAIM_WAITING;
	c->prev = l->tail;
	c->next = 0;
	if (l->tail)
		CHANGE(claim_of(a, l->tail)->next, i);
	undo_save(&a->undo, l, LINE_HEAD);
	if (!l->head)
		l->head = i;
	l->tail = i;
	l->n_waiting++;
	l->n_blocking += !(c->flags & REQUEST_TRY);
	claim_show(a, i);
}

void claim_ask(struct agent *a, uint32_t i, enum ask_stage stage)
{
	struct claim *c = claim_of(a, i);
	struct line *l = line_of(a, c->line);

	ASSERT(c->state == CLAIM_FREE);
	if (l->asks)
		CHANGE(claim_of(a, l->asks)->prev, i);
	undo_save(&a->undo, c, sizeof(*c));
	c->state = CLAIM_ASKING;
	c->stage = (uint8_t)stage;
	c->prev = 0;
	c->next = l->asks;
	if (!c->give_up_ns)
		c->give_up_ns = a->now_ns + a->config.ask_ns;
	CHANGE(l->asks, i);
	a->asking++;
	a->ask_at_ns = MIN(a->ask_at_ns, a->now_ns);
}

void claim_share(struct agent *a, uint32_t i)
{
	struct claim *c = claim_of(a, i);
	struct line *l = line_of(a, c->line);

	ASSERT(c->state == CLAIM_FREE);
	if (l->sharers)
		CHANGE(claim_of(a, l->sharers)->prev, i);
	undo_save(&a->undo, c, sizeof(*c));
	c->state = CLAIM_OWNER;
	c->prev = 0;
	c->next = l->sharers;
	c->since_ns = a->now_ns;
	CHANGE(l->sharers, i);
	claim_show(a, i);
}

void claim_leave(struct agent *a, uint32_t i)
{
	struct claim *c = claim_of(a, i);
	struct line *l = line_of(a, c->line);

	if (c->state == CLAIM_FREE)
		return;
	ASSERT(c->state == CLAIM_WAITING || c->state == CLAIM_ASKING || c->state == CLAIM_OWNER);
	undo_save(&a->undo, l, LINE_HEAD);
	if (c->next)
		CHANGE(claim_of(a, c->next)->prev, c->prev);
	else if (c->state == CLAIM_WAITING)
		l->tail = c->prev;
	if (c->prev)
		CHANGE(claim_of(a, c->prev)->next, c->next);
	else if (c->state == CLAIM_WAITING)
		l->head = c->next;
	else if (c->state == CLAIM_ASKING)
		l->asks = c->next;
	else if (!(MUTANT(34) && a->m.sessions[c->session].state == SESSION_ENDING))
		l->sharers = c->next;
	if (c->state == CLAIM_WAITING) {
		l->n_waiting--;
		l->n_blocking -= !(c->flags & REQUEST_TRY);
	} else if (c->state == CLAIM_ASKING) {
		a->asking--;
	}
	undo_save(&a->undo, c, sizeof(*c));
	c->state = CLAIM_FREE;
	c->next = c->prev = 0;
	claim_show(a, i);
}
