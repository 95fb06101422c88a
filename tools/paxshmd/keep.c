/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keep: how long a lock that nobody here uses stays with this host.
 *
 * A lock that nobody here uses stays with this host, so that its next use asks nobody, until another host wants
 * it, room is short, or it was not used for keep_ns. That does not pay for a lock that is mostly taken away again: then
 * giving it back at once saves that host a wait. A counter of two bits for each key (by its hash) says which, as branch
 * predictors do (Smith, "A study of branch prediction strategies", 1981, strategy 7): one less when a delegation is taken away
 * after at most one use, one more when it was used again, or when we ask for it again and nobody else did in between.
 */
#include "inside.h"

#define CHANGE(lvalue, value) SET(&a->undo, lvalue, value)
#define ROUND_STEPS 16u  /* all lines are looked at in so many steps, or in more: */
#define ROUND_LINES 512u /* no more of them are looked at in one */
#define HAND_LINES 64u   /* looked at in one turn while room is short */
#define HAND_STEP_NS 1000ull
#define REUSE_KEEP 2u
#define REUSE_MAX 3u
#define REUSE_OTHERS 4u /* another host asked for it since we had it */

/* ---- whether it pays ---- */

static uint8_t *reuse_of(const struct agent *a, uint64_t hash)
{
	return &a->reuse[hash_mix(hash) & (REUSE_SLOTS - 1)];
}

static void learn(const struct agent *a, const struct line *l, bool paid)
{
	uint8_t *r = reuse_of(a, l->hash);
	unsigned score = REUSE_MAX - (*r & REUSE_MAX); /* counted down, so that zeroed memory keeps */

	if (paid && score < REUSE_MAX)
		--*r;
	else if (!paid && score > 0)
		++*r;
}

bool keep_pays(const struct agent *a, const struct line *l)
{
	return a->config.keep_ns && REUSE_MAX - (*reuse_of(a, l->hash) & REUSE_MAX) >= REUSE_KEEP;
}

void keep_asked_elsewhere(struct agent *a, uint64_t hash)
{
	*reuse_of(a, hash) |= REUSE_OTHERS;
}

void keep_begins(struct agent *a, const struct line *l)
{
	if (!(*reuse_of(a, l->hash) & REUSE_OTHERS))
		learn(a, l, true);
	*reuse_of(a, l->hash) &= (uint8_t)~REUSE_OTHERS;
}

void keep_ends(struct agent *a, const struct line *l, bool used_again, bool taken_away)
{
	if (used_again || taken_away)
		learn(a, l, used_again);
}

/* ---- locks that nobody uses ---- */

static bool room_is_short(const struct agent *a)
{
	const struct private_memory *p = a->m.p;
	const struct tables *t = a->tables;

	return p->lines_used + MAX(p->n_claims / 8, 1u) > p->n_claims ||
	       t->agreed.rows_used + MAX(t->n_rows / 8, 1u) > t->n_rows;
}

/* Each host that shares a lock takes a place of those that wait: kept by many, nobody could wait for any lock. */
static bool places_are_short(const struct agent *a)
{
	const struct tables *t = a->tables;

	return t->agreed.waits_used + MAX(t->n_waits / 8, 1u) > t->n_waits;
}

/* Whether nobody has used a lock that we keep since the hand was here last. */
static bool is_idle(struct agent *a, uint32_t i)
{
	const struct line *l = &a->m.lines[i];
	uint64_t word = gate_word_of(a, i);
	bool shared = l->mode == LOCK_MODE_PR;
	uint32_t count = shared ? l->shared : gate_count(word);
	bool idle = count == a->last_count[i];

	a->last_count[i] = count;
	return idle && l->key_len && l->state == LINE_OURS && !l->head && !l->given && (shared ? !l->sharers : gate_owner(word) == 0);
}

static void evict(struct agent *a, uint32_t i)
{
	CHANGE(a->m.lines[i].wanted, 1);
	a->tables->evictions++;
	line_settle(a, i);
}

static uint32_t hand_next(struct agent *a)
{
	a->hand = a->hand < a->m.p->lines_high ? a->hand + 1 : 1;
	return a->hand;
}

/* Who surrendered the gate was killed before he said so, or somebody wrote over it. */
static bool is_forgotten(const struct agent *a, uint32_t i)
{
	uint64_t word = gate_word_of(a, i);
	const struct line *l = &a->m.lines[i];

	return l->key_len && l->state == LINE_OURS && l->mode == LOCK_MODE_EX &&
	       (gate_owner(word) == GATE_AGENT || (gate_session_owns(word) && gate_owner_is_nobody(a, word)));
}

static void look_for_idle(struct agent *a, uint32_t i)
{
	if (is_idle(a, i))
		evict(a, i);
	else if (is_forgotten(a, i))
		line_settle(a, i);
	agent_commit(a);
}

/* Room is wanted soon: of any kept lock, or of a shared one. */
static void hand_moves(struct agent *a, bool shared)
{
	for (uint32_t n = MIN(HAND_LINES, a->m.p->lines_high); n && commands_room(a); n--) {
		uint32_t i = hand_next(a);

		if (!shared || a->m.lines[i].mode == LOCK_MODE_PR)
			look_for_idle(a, i);
	}
}

/* A part of the round that is made once in keep_ns. */
static void round_goes_on(struct agent *a)
{
	uint32_t high = a->m.p->lines_high, n = MIN(high / ROUND_STEPS + 1, ROUND_LINES);
	uint64_t step_ns = MIN(a->config.keep_ns / ROUND_STEPS, a->config.keep_ns * n / MAX(high, 1u));

	for (; n && a->round_line < a->m.p->lines_high && commands_room(a); n--)
		look_for_idle(a, ++a->round_line);
	a->round_at_ns = a->now_ns + step_ns;
	if (a->round_line < a->m.p->lines_high)
		return;
	a->round_line = 0;
	a->round_ns = MAX(a->round_ns + a->config.keep_ns, a->now_ns);
	a->round_at_ns = MAX(a->round_at_ns, a->round_ns);
}

/* How many lines the hand may pass for one wish. Twice round finds whatever is idle; but each round costs, and whoever finds
 * the table full may ask at once again: in the long run a line costs HAND_STEP_NS. */
static uint32_t hand_reach(const struct agent *a, uint64_t all)
{
	uint64_t owed = a->hand_ns > a->now_ns ? (a->hand_ns - a->now_ns) / HAND_STEP_NS : 0;

	return (uint32_t)MAX(MIN(all, HAND_LINES), all - MIN(all, owed));
}

static bool give_one_back(struct agent *a, uint32_t i)
{
	if (!is_idle(a, i) || gate_take_back(a, i, NEVER) != GATE_DONE || gate_top(gate_word_of(a, i)))
		return false;
	a->tables->evictions++;
	if (!line_give_back(a, i, gate_used(a, i), gate_flags(gate_word_of(a, i)) & GATE_DIED))
		return false;
	gate_terms_end(a, i);
	line_settle(a, i);
	return true;
}

/* A line is wanted now. */
bool keep_makes_room(struct agent *a)
{
	uint64_t all = 2ull * a->m.p->lines_high;
	uint32_t reach = hand_reach(a, all), passed = 0;
	bool made = false;

	for (; !made && passed < reach && commands_room(a); passed++)
		made = give_one_back(a, hand_next(a));
	a->hand_ns = MIN(MAX(a->hand_ns, a->now_ns) + passed * HAND_STEP_NS, a->now_ns + all * HAND_STEP_NS);
	return made;
}

void keep_tick(struct agent *a)
{
	if (!a->config.keep_ns)
		return;
	if (a->now_ns >= a->round_at_ns)
		round_goes_on(a);
	if (room_is_short(a))
		hand_moves(a, false);
	else if (places_are_short(a))
		hand_moves(a, true);
}

uint64_t keep_wake_at(const struct agent *a)
{
	return a->config.keep_ns && a->m.p->lines_used ? a->round_at_ns : NEVER;
}
