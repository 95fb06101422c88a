/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate: see gate.h. "Swap" is compare-and-swap; k is the count of the releaser's acquisition. Each order of memory names
 * its other half; where it says the word, every swap of the word is meant: all of them acquire or release, and since
 * they are read-modify-writes, who reads one of them has read all before it.
 */
#include "gate.h"

#include "../lib/mutant.h"
#include "gate_words.h"

/* ---- arrive ---- */

/* DONE: in no line; WAITS, AGAIN, CORRUPT. */
static enum gate_next where_it_stands(const struct gate_view *v, const struct gate_record *r)
{
	const struct gate *g = gate_at(v, atom_load_relaxed(&r->gate));

	return g ? gate_reach(v, g, (uint32_t)(r - v->records)) : GATE_DONE;
}

/* Who marked it may have died before he took it out, and the agent raises counts without looking at the line: so only the
 * line itself tells. Once out, the word has moved since: what was read of it before will not be swapped. */
static bool gone_is_out(const struct gate_view *v, const struct gate_record *r, uint64_t state)
{
	if (MUTANT(401))
		return true;
	if (GATE_MUTANT(GONE_SOON)) {
		const struct gate *g = gate_at(v, atom_load_relaxed(&r->gate));

		return !g || gate_owner(g->word) == 0 || !count_before(gate_count(g->word), count_of(state) + 2);
	}
	return where_it_stands(v, r) == GATE_DONE;
}

static bool out_is_old(const struct gate_view *v, const struct gate_record *r, uint64_t state, uint32_t gate)
{
	uint64_t word = atom_load_acquire(&v->gates[gate].word);

	/* Free: who acquires it next raises the count. */
	return atom_load_relaxed(&r->gate) != gate || gate_owner(word) == 0 || gate_count(word) != count_of(state);
}

static enum gate_next back_in_line(struct gate_record *r, struct gate_place *p, uint64_t state)
{
	if (atom_load_relaxed(&r->gate) != p->gate)
		return GATE_BUSY;
	if (!atom_cas_acq_rel(&r->state, state, state_word(gen_of(state), GATE_RECORD_WAIT, 0)))
		return GATE_AGAIN;
	p->gen = gen_of(state);
	p->watches = false;
	return GATE_WAITS;
}

/* A session has the gate and nobody waits: whoever comes now looks at the word itself. */
static bool may_watch(uint64_t word)
{
	return gate_top(word) == 0 && gate_owner(word) != GATE_AGENT;
}

/* Makes the record ready to be pushed. DONE; WAITS: it still stands in this line; AGAIN, BUSY. */
static enum gate_next record_take(const struct gate_view *v, struct gate_place *p, uint64_t now_ns)
{
	struct gate_record *r = record_at(v, p->record);
	uint64_t state = atom_load_acquire(&r->state);
	uint32_t gen = gen_of(state);
	enum gate_next stands;

	switch (gate_record_state(state)) {
	case GATE_RECORD_FREE:
		break;
	case GATE_RECORD_OUT:
		if (!out_is_old(v, r, state, p->gate))
			return GATE_BUSY;
		break;
	case GATE_RECORD_CANCELLED:
		return back_in_line(r, p, state);
	case GATE_RECORD_LAPSED:
		stands = where_it_stands(v, r);
		if (stands != GATE_DONE)
			return stands == GATE_AGAIN ? stands : back_in_line(r, p, state);
		gen++;
		break;
	case GATE_RECORD_GONE:
		if (!gone_is_out(v, r, state))
			return GATE_BUSY;
		gen++;
		break;
	default:
		return GATE_BUSY; /* another thread's */
	}
	p->gen = gen & GEN_MASK;
	atom_store_relaxed(&r->gate, p->gate);
	atom_store_relaxed(&r->since_ns, now_ns);
	atom_store_relaxed(&r->newer, (uint64_t)0);
	p->watches = may_watch(atom_load_relaxed(&v->gates[p->gate].word));
	/* Release: who finds the record waiting finds its gate. */
	return atom_cas_acq_rel(&r->state, state, state_word(gen, p->watches ? GATE_RECORD_WATCH : GATE_RECORD_WAIT, 0)) ? GATE_DONE : GATE_AGAIN;
}

/* The record is not in any line; only the agent may have meddled with it meanwhile. */
static void record_drop(struct gate_record *r)
{
	for (unsigned i = 0; i < GATE_TRIES; i++) {
		uint64_t state = atom_load_acquire(&r->state);

		if (atom_cas_acq_rel(&r->state, state, state_word(gen_of(state) + 1, GATE_RECORD_FREE, 0)))
			return;
	}
}

/* Looks at its record from now on. Fails: then what the record has become instead is found there. */
static void watch_no_more(struct gate_place *p, struct gate_record *r)
{
	uint64_t state = atom_load_acquire(&r->state);

	p->watches = false;
	if (gate_record_state(state) == GATE_RECORD_WATCH)
		atom_cas_acq_rel(&r->state, state, state_word(gen_of(state), GATE_RECORD_WAIT, 0));
}

/* One try to push. DONE: pushed on *ret_word; MINE; AGAIN. */
static enum gate_next push(const struct gate_view *v, struct gate_place *p, uint64_t *ret_word)
{
	struct gate *g = &v->gates[p->gate];
	struct gate_record *r = record_at(v, p->record), *below;
	uint64_t word = atom_load_acquire(&g->word), link = 0;

	if (gate_owner(word) == 0)
		return gate_take(g, p->slot, &p->count, &p->died) ? GATE_MINE : GATE_AGAIN;

	/* Before the push: who watches has nobody below him. */
	if (p->watches && !may_watch(word))
		watch_no_more(p, r);
	/* The generation is read between the word and the swap: it was right when the swap succeeds. A top that makes
	 * no sense is taken for the end; whoever releases next finds the line short, not broken. */
	below = record_at(v, gate_top(word));
	if (below && below != r)
		link = link_to(gate_top(word), atom_load_acquire(&below->state));
	uint32_t flags = gate_flags(word) & (GATE_MUTANT(WATCH_ON) ? ~0u : ~GATE_WATCHED);
	if (p->watches)
		flags |= GATE_WATCHED;
	atom_store_release(&r->older, link);
	/* acq_rel: who walks the line from this word finds `older`; acquire: of the word before. */
	if (!atom_cas_acq_rel(&g->word, word, gate_word(gate_count(word), p->record, gate_owner(word), flags)))
		return GATE_AGAIN;
	p->pushed = gate_count(word);

	/* Hints, and only now: a link in a hint names somebody who stood in a line. */
	if (link)
		atom_store_release(&below->newer, (uint64_t)p->gen << 32 | p->record);
	else
		atom_store_release(&g->head, (uint64_t)p->gen << 32 | p->record);
	*ret_word = word;
	return GATE_DONE;
}

enum gate_next gate_arrive(const struct gate_view *v, struct gate_place *p, uint64_t now_ns)
{
	uint64_t word = 0;
	enum gate_next next = GATE_DONE;

	if (!gate_at(v, p->gate) || !record_at(v, p->record))
		return GATE_LOST;
	if (!p->taken) {
		next = record_take(v, p, now_ns);
		if (next != GATE_DONE)
			return next;
		p->taken = true;
	}
	for (unsigned i = 0; i < GATE_TRIES; i++) {
		next = push(v, p, &word);
		if (next != GATE_AGAIN)
			break;
	}
	if (next == GATE_AGAIN)
		return next;
	p->taken = false;
	if (next == GATE_MINE) {
		record_drop(&v->records[p->record]);
		return next;
	}
	return gate_owner(word) == GATE_AGENT ? GATE_TELL : GATE_WAITS;
}

/* ---- wait ---- */

/* The record is CHOSEN(c). MINE; SLEEP: an old choice, as good as waiting; AGAIN. */
static enum gate_next chosen(const struct gate_view *v, struct gate_place *p, struct gate_record *r, uint64_t state)
{
	struct gate *g = &v->gates[p->gate];
	uint32_t count = count_of(state);
	uint64_t word = atom_load_acquire(&g->word);

	if (!owned_by(word, p->slot, count)) {
		if (!gate_owner(word) || gate_count(word) + 1 != count || GATE_MUTANT(NO_HELP))
			return GATE_SLEEP;
		/* Help: the releaser has decided, and may never come to swap. */
		uint64_t handed = word_handed(word, p->slot, p->record);
		if (!atom_cas_acq_rel(&g->word, word, handed))
			return GATE_AGAIN;
		word = handed;
	}
	/* Consumed before the acquisition can end. Fails: it has lapsed. */
	if (!atom_cas_acq_rel(&r->state, state, state_word(gen_of(state) + 1, GATE_RECORD_FREE, 0)))
		return GATE_AGAIN;
	p->count = count;
	p->died = gate_flags(word) & GATE_DIED;
	return GATE_MINE;
}

/* LAPSED: its line was cut, or its acquisition is void. It may have been pushed since, or not have been handed the gate at all:
 * the line itself tells. (One that makes no sense will be cut.) */
static enum gate_next lapsed(const struct gate_view *v, struct gate_record *r, uint64_t state)
{
	enum gate_next stands = where_it_stands(v, r);

	if (stands == GATE_AGAIN)
		return stands;
	if (stands != GATE_DONE) {
		atom_cas_acq_rel(&r->state, state, state_word(gen_of(state), GATE_RECORD_WAIT, 0));
		return GATE_AGAIN;
	}
	return atom_cas_acq_rel(&r->state, state, state_word(gen_of(state) + 1, GATE_RECORD_FREE, 0)) ? GATE_ARRIVE : GATE_AGAIN;
}

/* Who watches was handed the gate by the word alone. MINE, AGAIN; DONE: the record tells more. */
static enum gate_next handed(struct gate_place *p, struct gate_record *r, uint64_t word)
{
	uint64_t state = atom_load_acquire(&r->state);
	enum gate_state was = gate_record_state(state);

	/* LAPSED: by a cut of the line before it was pushed, or the whole acquisition has, which its owner will find. */
	if (was != GATE_RECORD_WATCH && was != GATE_RECORD_LAPSED) {
		p->watches = false;
		return GATE_DONE;
	}
	if (!atom_cas_acq_rel(&r->state, state, state_word(gen_of(state) + 1, GATE_RECORD_FREE, 0)))
		return GATE_AGAIN;
	p->watches = false;
	p->count = gate_count(word);
	p->died = gate_flags(word) & GATE_DIED;
	return GATE_MINE;
}

/* As long as it is WATCHED nothing happens to the word without the flag going: it is handed over at the count at which the record was
 * pushed, somebody comes behind, or the agent takes it. MINE, SPIN (unless `stop`), AGAIN; DONE: the record tells more. */
static enum gate_next watch(const struct gate_view *v, struct gate_place *p, bool stop)
{
	struct gate *g = &v->gates[p->gate];
	struct gate_record *r = &v->records[p->record];
	/* Acquire: pairs with the swap in gate_hand(). */
	uint64_t word = atom_load_acquire(&g->word);

	if (gate_flags(word) & GATE_WATCHED && gate_top(word) == p->record) {
		p->word = word;
		if (!stop)
			return GATE_SPIN;
		if (!atom_cas_acq_rel(&g->word, word, word & ~(uint64_t)GATE_WATCHED))
			return GATE_AGAIN;
	} else if (owned_by(word, p->slot, GATE_MUTANT(WATCH_LOW) ? gate_count(word) : p->pushed + 1)) {
		return handed(p, r, word);
	}
	watch_no_more(p, r);
	return GATE_DONE;
}

enum gate_next gate_look(const struct gate_view *v, struct gate_place *p, bool sleep)
{
	if (p->watches) {
		enum gate_next next = watch(v, p, sleep);
		if (next != GATE_DONE)
			return next;
	}
	struct gate_record *r = &v->records[p->record];
	/* The bell first: rung after this, the sleep ends at once. Acquire: pairs with the ring in choose(). */
	uint32_t bell = atom_load_acquire(&r->bell);
	uint64_t state = atom_load_acquire(&r->state);
	enum gate_next next;

	p->value = bell;
	switch (gate_record_state(state)) {
	case GATE_RECORD_WAIT:
		if (!sleep)
			return GATE_SPIN;
		return atom_cas_acq_rel(&r->state, state, state_word(gen_of(state), GATE_RECORD_SLEEP, 0)) ? GATE_SLEEP : GATE_AGAIN;
	case GATE_RECORD_SLEEP:
		return GATE_SLEEP;
	case GATE_RECORD_CHOSEN:
		next = chosen(v, p, r, state);
		return next == GATE_SLEEP && !sleep ? GATE_SPIN : next;
	case GATE_RECORD_LAPSED:
		return lapsed(v, r, state);
	case GATE_RECORD_GONE:
		return GATE_LOST;
	default:
		return GATE_ARRIVE; /* somebody has written over it */
	}
}

enum gate_next gate_cancel(const struct gate_view *v, struct gate_place *p)
{
	if (p->watches) {
		enum gate_next stays = watch(v, p, true);
		if (stays != GATE_DONE)
			return stays;
	}
	struct gate_record *r = &v->records[p->record];
	uint64_t state = atom_load_acquire(&r->state);
	enum gate_next next;

	switch (gate_record_state(state)) {
	case GATE_RECORD_CHOSEN:
		next = chosen(v, p, r, state);
		if (next != GATE_SLEEP)
			return next;
		break;
	case GATE_RECORD_WAIT:
	case GATE_RECORD_SLEEP:
		break;
	case GATE_RECORD_LAPSED:
		next = lapsed(v, r, state);
		return next == GATE_ARRIVE ? GATE_LEFT : next;
	case GATE_RECORD_GONE:
		return GATE_LOST;
	default:
		return GATE_LEFT;
	}
	return atom_cas_acq_rel(&r->state, state, state_word(gen_of(state), GATE_RECORD_CANCELLED, 0)) ? GATE_LEFT : GATE_AGAIN;
}

/* ---- the line, seen by its owner ---- */

/* The hint, if it names a record that stands at this gate with nobody below it. */
static bool oldest_by_hint(const struct gate_view *v, uint32_t gate, struct standing *ret)
{
	struct standing hinted = { 0 }, below = { 0 };

	if (follow(v, atom_load_acquire(&v->gates[gate].head), &hinted) != LINK_ON)
		return false;
	const struct gate_record *r = &v->records[hinted.record];
	enum gate_state state = gate_record_state(hinted.state);
	if (state == GATE_RECORD_FREE || state == GATE_RECORD_OUT || state == GATE_RECORD_LAPSED ||
	    atom_load_relaxed(&r->gate) != gate || follow(v, atom_load_acquire(&r->older), &below) != LINK_END)
		return false;
	*ret = hinted;
	return true;
}

/* From the top down to the end. DONE, AGAIN: it moved; CORRUPT. */
static enum gate_next oldest_by_walk(const struct gate_view *v, uint64_t word, struct standing *ret)
{
	struct standing at = { .record = gate_top(word) }, below = { 0 };

	if (!record_at(v, at.record))
		return GATE_CORRUPT;
	at.state = atom_load_acquire(&v->records[at.record].state);
	for (uint32_t steps = 0; steps < v->n_records; steps++) {
		const struct gate_record *r = &v->records[at.record];
		enum link on = follow(v, atom_load_acquire(&r->older), &below);

		/* `older` was that of this generation only if it still is. */
		uint64_t state = atom_load_acquire(&r->state);
		if (gen_of(state) != gen_of(at.state))
			return GATE_AGAIN;
		if (on == LINK_BROKEN)
			return GATE_CORRUPT;
		if (on == LINK_END) {
			*ret = (struct standing){ .record = at.record, .state = state };
			return GATE_DONE;
		}
		at = below;
	}
	return GATE_CORRUPT;
}

/* ---- release ---- */

/* What follows when nobody is left to hand the gate to. */
static uint64_t word_left(const struct gate_pass *p, uint64_t word, bool open)
{
	if (p->slot == GATE_AGENT)
		return open ? gate_word(p->count, 0, 0, gate_flags(word) & GATE_DIED) : word_surrendered(word, 0, gate_flags(word));
	if (gate_flags(word) & GATE_CLOSING)
		return word_surrendered(word, 0, 0);
	return gate_word(p->count, 0, 0, 0);
}

static enum gate_next leave(const struct gate_view *v, const struct gate_pass *p, uint64_t word, bool open)
{
	uint64_t left = word_left(p, word, open);

	if (!atom_cas_acq_rel(&v->gates[p->gate].word, word, left))
		return GATE_AGAIN;
	return p->slot != GATE_AGENT && gate_owner(left) == GATE_AGENT ? GATE_TELL : GATE_DONE;
}

static enum gate_next surrender(const struct gate_view *v, const struct gate_pass *p, uint64_t word)
{
	return atom_cas_acq_rel(&v->gates[p->gate].word, word, word_surrendered(word, gate_top(word), 0)) ? GATE_TELL : GATE_AGAIN;
}

static enum gate_next corrupt(const struct gate_view *v, struct gate_pass *p, uint64_t word)
{
	if (p->slot == GATE_AGENT)
		return GATE_CORRUPT;
	p->corrupt = true;
	return surrender(v, p, word);
}

/* Bounded local passing while another host waits (cohort locks: Dice, Marathe, Shavit 2012, section 2.2). */
static bool may_pass(const struct gate_view *v, const struct gate_pass *p, const struct gate_record *to, uint64_t now_ns)
{
	const struct gate_terms *t = &v->terms[p->gate];

	if (MUTANT(283))
		return true;
	return !count_before(atom_load_relaxed(&t->stop_at), p->count + 1) &&
	       atom_load_relaxed(&to->since_ns) <= atom_load_relaxed(&t->remote_since_ns) &&
	       (now_ns < atom_load_relaxed(&t->stop_ns) || p->count == atom_load_relaxed(&t->closed_at));
}

/* The oldest has left the line, or nobody comes back to it. */
static enum gate_next take_out(const struct gate_view *v, const struct gate_pass *p, uint64_t word, struct standing h, bool open)
{
	struct gate_record *r = &v->records[h.record];

	if (gate_record_state(h.state) == GATE_RECORD_CANCELLED) {
		atom_cas_acq_rel(&r->state, h.state, state_word(gen_of(h.state), GATE_RECORD_GONE, p->count));
		return GATE_AGAIN;
	}
	if (gate_top(word) != h.record) {
		enum gate_state out = GATE_MUTANT(AT_ONCE) ? GATE_RECORD_FREE : GATE_RECORD_OUT;
		/* The next one is the oldest then: without this hint the whole line is walked for each that has left. */
		atom_store_relaxed(&v->gates[p->gate].head, atom_load_acquire(&r->newer));
		atom_cas_acq_rel(&r->state, h.state, state_word(gen_of(h.state) + 1, out, p->count));
		return GATE_AGAIN;
	}
	/* It is the whole line. */
	enum gate_next next = leave(v, p, word, open);
	if (next != GATE_AGAIN)
		atom_cas_acq_rel(&r->state, h.state, state_word(gen_of(h.state) + 1, GATE_RECORD_OUT, p->count));
	return next;
}

static enum gate_next hand_over(const struct gate_view *v, struct gate_pass *p)
{
	struct gate *g = &v->gates[p->gate];

	for (unsigned i = 0; i < GATE_TRIES; i++) {
		uint64_t word = atom_load_acquire(&g->word);

		if (!owned_by(word, p->slot, p->count))
			return GATE_DONE; /* the chosen one has helped himself */
		/* While the word is ours nobody else writes the hint but who comes into an empty line. */
		atom_store_relaxed(&g->head, gate_top(word) == p->record ? 0 : atom_load_acquire(&v->records[p->record].newer));
		/* Release: pairs with the acquire in chosen(). */
		if (atom_cas_acq_rel(&g->word, word, word_handed(word, v->slots[p->record], p->record)))
			return GATE_DONE;
	}
	return GATE_AGAIN;
}

static enum gate_next choose(const struct gate_view *v, struct gate_pass *p, struct standing h)
{
	struct gate_record *r = &v->records[h.record];

	if (!atom_cas_acq_rel(&r->state, h.state, state_word(gen_of(h.state), GATE_RECORD_CHOSEN, p->count + 1)))
		return GATE_AGAIN;
	atom_add_release(&r->bell, 1u); /* pairs with the load in gate_look() */
	p->chosen = true;
	p->record = h.record;
	if (GATE_MUTANT(LATE_WAKE))
		return hand_over(v, p) == GATE_DONE ? GATE_WAKE : GATE_AGAIN;
	/* Whoever waits awake has not slept since; all others may sleep. */
	bool awake = gate_record_state(h.state) == GATE_RECORD_WAIT || gate_record_state(h.state) == GATE_RECORD_WATCH;
	return awake ? hand_over(v, p) : GATE_WAKE;
}

enum purpose { RELEASE,
	       OPEN,
	       PRUNE };

static enum gate_next release_once(const struct gate_view *v, struct gate_pass *p, enum purpose purpose, uint64_t now_ns)
{
	struct gate *g = &v->gates[p->gate];
	uint64_t word = atom_load_acquire(&g->word);
	struct standing h;

	if (!owned_by(word, p->slot, p->count))
		return GATE_LOST;
	if (!gate_top(word))
		return purpose == PRUNE ? GATE_DONE : leave(v, p, word, purpose == OPEN);

	if (!oldest_by_hint(v, p->gate, &h)) {
		enum gate_next next = oldest_by_walk(v, word, &h);
		if (next == GATE_CORRUPT)
			return corrupt(v, p, word);
		if (next != GATE_DONE)
			return next;
	}
	/* Once more, after the state was read: that state is from before any later owner's choice. */
	if (!GATE_MUTANT(ONE_LOOK)) {
		word = atom_load_acquire(&g->word);
		if (!owned_by(word, p->slot, p->count))
			return GATE_LOST;
	}
	uint32_t to = v->slots[h.record];
	switch (gate_record_state(h.state)) {
	case GATE_RECORD_CANCELLED:
	case GATE_RECORD_GONE:
		return take_out(v, p, word, h, purpose == OPEN);
	case GATE_RECORD_WATCH:
	case GATE_RECORD_WAIT:
	case GATE_RECORD_SLEEP:
	case GATE_RECORD_CHOSEN:
	case GATE_RECORD_LAPSED: /* pushed after the line was cut, which its thread will see */
		if (to == 0 || to > SESSIONS_MAX)
			break;
		if (purpose == PRUNE) {
			p->record = h.record;
			return GATE_WAITS;
		}
		if (gate_flags(word) & GATE_CLOSING && !may_pass(v, p, &v->records[h.record], now_ns))
			return surrender(v, p, word);
		return choose(v, p, h);
	default: /* nobody leaves the line without a new generation */
		break;
	}
	return corrupt(v, p, word);
}

static enum gate_next release(const struct gate_view *v, struct gate_pass *p, enum purpose purpose, uint64_t now_ns)
{
	enum gate_next next = GATE_AGAIN;

	if (!gate_at(v, p->gate))
		return GATE_LOST;
	if (p->chosen)
		return hand_over(v, p);
	for (unsigned i = 0; i < GATE_TRIES && next == GATE_AGAIN; i++) {
		next = release_once(v, p, purpose, now_ns);
		if (p->chosen)
			break;
	}
	return next;
}

enum gate_next gate_release(const struct gate_view *v, struct gate_pass *p, uint64_t now_ns)
{
	return release(v, p, RELEASE, now_ns);
}

enum gate_next gate_decline(const struct gate_view *v, uint32_t gate, uint32_t slot, uint32_t count)
{
	struct gate *g = gate_at(v, gate);

	for (unsigned i = 0; g && i < GATE_TRIES; i++) {
		uint64_t word = atom_load_acquire(&g->word);

		if (!owned_by(word, slot, count))
			return GATE_LOST;
		uint32_t flags = GATE_MUTANT(FORGET_DIED) || MUTANT(33) ? 0 : gate_flags(word) & GATE_DIED;
		if (atom_cas_acq_rel(&g->word, word, word_surrendered(word, gate_top(word), flags)))
			return GATE_TELL;
	}
	return g ? GATE_AGAIN : GATE_LOST;
}

/* ---- the agent: closing and opening ---- */

struct gate_pass gate_agent_pass(const struct gate_view *v, uint32_t gate)
{
	struct gate_pass p = { .gate = gate, .slot = GATE_AGENT };

	if (gate_at(v, gate))
		p.count = gate_count(atom_load_acquire(&v->gates[gate].word));
	return p;
}

enum gate_next gate_open(const struct gate_view *v, struct gate_pass *p)
{
	return release(v, p, OPEN, 0);
}

enum gate_next gate_give(const struct gate_view *v, uint32_t gate, uint32_t count, uint32_t slot, bool *ret_died)
{
	struct gate *g = &v->gates[gate];

	for (unsigned i = 0; i < GATE_TRIES; i++) {
		uint64_t word = atom_load_acquire(&g->word);
		bool given = owned_by(word, slot, count + 1);

		*ret_died = gate_flags(word) & GATE_DIED;
		if (GATE_MUTANT(GIVE_ALWAYS))
			count = gate_count(word);
		if ((!given || GATE_MUTANT(GIVE_ONCE)) && !owned_by(word, GATE_AGENT, count))
			return GATE_LOST;
		if (given || atom_cas_acq_rel(&g->word, word, gate_word(count + 1, gate_top(word), slot, gate_flags(word) & GATE_DIED)))
			return GATE_DONE;
	}
	return GATE_AGAIN;
}

enum gate_next gate_prune(const struct gate_view *v, struct gate_pass *p)
{
	return release(v, p, PRUNE, 0);
}

enum gate_next gate_begin(const struct gate_view *v, uint32_t gate, bool died, uint32_t *ret_count)
{
	struct gate *g = &v->gates[gate];

	for (unsigned i = 0; i < GATE_TRIES; i++) {
		uint64_t word = atom_load_acquire(&g->word);
		uint32_t flags = GATE_MUTANT(KEEP_DIED) ? gate_flags(word) & GATE_DIED : 0;
		uint64_t begun = word_surrendered(word, gate_top(word), died ? GATE_DIED : flags);

		if (gate_owner(word) != GATE_AGENT)
			return GATE_LOST;
		if (atom_cas_acq_rel(&g->word, word, begun)) {
			*ret_count = gate_count(begun);
			return GATE_DONE;
		}
	}
	return GATE_AGAIN;
}

enum gate_next gate_close(const struct gate_view *v, uint32_t gate)
{
	struct gate *g = &v->gates[gate];

	for (unsigned i = 0; i < GATE_TRIES; i++) {
		uint64_t word = atom_load_acquire(&g->word);
		uint32_t owner = gate_owner(word);

		if (owner == GATE_AGENT && GATE_MUTANT(NO_VOID))
			return GATE_DONE;
		if (owner == 0 || owner == GATE_AGENT) {
			/* Even when the agent has it: a choice of before is void then. */
			if (atom_cas_acq_rel(&g->word, word, word_surrendered(word, gate_top(word), gate_flags(word) & GATE_DIED)))
				return GATE_DONE;
		} else if (gate_flags(word) & GATE_CLOSING || atom_cas_acq_rel(&g->word, word, (word & ~(uint64_t)GATE_WATCHED) | GATE_CLOSING)) {
			return GATE_MUTANT(CLOSE_HANGS) ? GATE_AGAIN : GATE_WAITS;
		}
	}
	return GATE_AGAIN;
}
