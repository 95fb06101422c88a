/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_repair: see gate_repair.h and, for words, lines and reasons, gate.h.
 */
#include "gate_repair.h"

#include "gate_words.h"

/* ---- a session's death ---- */

/* The dead session was CHOSEN(c). DONE: its record is settled; SLEEP: an old choice; AGAIN; TELL. */
static enum gate_next bury_chosen(const struct gate_view *v, struct gate_record *r, uint32_t record, uint32_t slot, uint64_t state)
{
	struct gate *g = gate_at(v, atom_load_relaxed(&r->gate));
	uint64_t word = g ? atom_load_acquire(&g->word) : 0, settled = state_word(gen_of(state) + 1, GATE_RECORD_FREE, 0);

	if (owned_by(word, slot, count_of(state))) /* out of the line; the sweep takes the gate */
		return atom_cas_acq_rel(&r->state, state, settled) ? GATE_DONE : GATE_AGAIN;
	if (!gate_owner(word) || gate_count(word) + 1 != count_of(state))
		return GATE_SLEEP;
	if (!atom_cas_acq_rel(&g->word, word, word_handed(word, GATE_AGENT, record)))
		return GATE_AGAIN;
	atom_cas_acq_rel(&r->state, state, settled);
	return GATE_TELL;
}

/* Nobody is handed the gate by the word alone any more. false: the word has changed. */
static bool watched_no_more(const struct gate_view *v, uint32_t gate, uint32_t record)
{
	struct gate *g = gate_at(v, gate);
	uint64_t word = g ? atom_load_acquire(&g->word) : 0;

	if (!(gate_flags(word) & GATE_WATCHED) || gate_top(word) != record)
		return true;
	return atom_cas_acq_rel(&g->word, word, word & ~(uint64_t)GATE_WATCHED);
}

enum gate_next gate_bury(const struct gate_view *v, uint32_t record, uint32_t slot, uint32_t *ret_gate)
{
	struct gate_record *r = &v->records[record];
	uint64_t state = atom_load_acquire(&r->state);
	uint32_t gate = atom_load_relaxed(&r->gate);

	switch (gate_record_state(state)) {
	case GATE_RECORD_FREE:
	case GATE_RECORD_OUT:
	case GATE_RECORD_GONE:
		return GATE_DONE;
	case GATE_RECORD_CHOSEN: {
		enum gate_next next = bury_chosen(v, r, record, slot, state);
		if (next == GATE_TELL)
			*ret_gate = gate;
		if (next != GATE_SLEEP)
			return next;
		break;
	}
	case GATE_RECORD_WATCH:
	case GATE_RECORD_LAPSED: /* marked while it was arriving, it may watch all the same */
		if (!GATE_MUTANT(BURY_WATCH) && !watched_no_more(v, gate, record))
			return GATE_AGAIN;
		break;
	default:
		break;
	}
	uint32_t count = gate_at(v, gate) ? gate_count(atom_load_acquire(&v->gates[gate].word)) : 0;
	return atom_cas_acq_rel(&r->state, state, state_word(gen_of(state), GATE_RECORD_GONE, count)) ? GATE_DONE : GATE_AGAIN;
}

uint32_t gate_sweep(const struct gate_view *v, uint32_t slot, uint32_t flags, uint32_t *at, uint32_t n)
{
	for (; n && *at <= v->n_gates; n--) {
		struct gate *g = &v->gates[*at];
		uint64_t word = atom_load_acquire(&g->word);
		uint32_t news = flags | (gate_flags(word) & GATE_DIED); /* it may not have heard of it */

		if (gate_owner(word) != slot) {
			++*at;
		} else if (atom_cas_acq_rel(&g->word, word, word_surrendered(word, gate_top(word), news))) {
			return (*at)++;
		}
	}
	return 0;
}

bool gate_rouse(const struct gate_view *v, uint32_t record)
{
	struct gate_record *r = &v->records[record];

	if (gate_record_state(atom_load_acquire(&r->state)) != GATE_RECORD_CHOSEN)
		return false;
	atom_add_release(&r->bell, 1u);
	return true;
}

enum gate_next gate_forget(const struct gate_view *v, uint32_t record)
{
	struct gate_record *r = &v->records[record];
	uint64_t state = atom_load_acquire(&r->state);
	const struct gate *g = gate_at(v, atom_load_relaxed(&r->gate));
	enum gate_next next = GATE_DONE;

	if (gate_record_state(state) == GATE_RECORD_FREE || gate_record_state(state) == GATE_RECORD_OUT)
		return GATE_DONE;
	if (gate_record_state(state) != GATE_RECORD_GONE)
		return GATE_WAITS;
	if (g)
		next = gate_reach(v, g, record);
	if (next == GATE_DONE && !atom_cas_acq_rel(&r->state, state, state_word(gen_of(state) + 1, GATE_RECORD_FREE, 0)))
		next = GATE_AGAIN;
	return next;
}

/* ---- the host's life has ended ---- */

bool gate_lapsing(const struct gate_view *v, uint32_t gate, uint32_t *ret_owner, uint32_t *ret_count)
{
	uint64_t word = atom_load_acquire(&v->gates[gate].word);

	*ret_owner = gate_owner(word);
	*ret_count = gate_count(word);
	return *ret_owner && *ret_owner != GATE_AGENT;
}

enum gate_next gate_lapse_record(const struct gate_view *v, uint32_t record, uint32_t gate, uint32_t count)
{
	struct gate_record *r = &v->records[record];
	uint64_t state = atom_load_acquire(&r->state);

	if (atom_load_relaxed(&r->gate) != gate)
		return GATE_DONE;
	if (gate_record_state(state) == GATE_RECORD_CHOSEN && count_of(state) == count) {
		/* A grant that was handed over and is not yet consumed. */
		if (!atom_cas_acq_rel(&r->state, state, state_word(gen_of(state) + 1, GATE_RECORD_LAPSED, count + 1)))
			return GATE_AGAIN;
	} else if (gate_record_state(state) == GATE_RECORD_WATCH && !GATE_MUTANT(LAPSE_WATCH)) {
		/* Handed over by the word, perhaps, and not yet consumed; or it waits, for another thread of its session. */
		if (!atom_cas_acq_rel(&r->state, state, state_word(gen_of(state), GATE_RECORD_LAPSED, count + 1)))
			return GATE_AGAIN;
	} else if (gate_record_state(state) != GATE_RECORD_LAPSED) {
		return GATE_DONE;
	} /* else an agent that died may have done so, and not yet have rung */
	atom_add_release(&r->bell, 1u);
	return GATE_WAKE;
}

enum gate_next gate_lapse(const struct gate_view *v, uint32_t gate, uint32_t owner, uint32_t count)
{
	struct gate *g = &v->gates[gate];

	for (unsigned i = 0; i < GATE_TRIES; i++) {
		uint64_t word = atom_load_acquire(&g->word);
		uint32_t flags = owner && owner != GATE_AGENT ? GATE_DIED : gate_flags(word) & GATE_DIED;

		if (!owned_by(word, owner, count))
			return GATE_AGAIN;
		if (atom_cas_acq_rel(&g->word, word, word_surrendered(word, gate_top(word), flags)))
			return GATE_DONE;
	}
	return GATE_AGAIN;
}

/* ---- a line that makes no sense ---- */

enum gate_next gate_mend(const struct gate_view *v, uint32_t gate, uint32_t *ret_count)
{
	struct gate *g = &v->gates[gate];

	for (unsigned i = 0; i < GATE_TRIES; i++) {
		uint64_t word = atom_load_acquire(&g->word), cut = word_surrendered(word, 0, gate_flags(word) & GATE_DIED);

		if (gate_owner(word) != GATE_AGENT)
			return GATE_LOST;
		/* Before the cut: who comes after it sets it again. */
		atom_store_relaxed(&g->head, (uint64_t)0);
		if (atom_cas_acq_rel(&g->word, word, cut)) {
			*ret_count = gate_count(cut);
			return GATE_DONE;
		}
	}
	return GATE_AGAIN;
}

enum gate_next gate_mend_record(const struct gate_view *v, uint32_t record, uint32_t gate, uint32_t count)
{
	struct gate_record *r = &v->records[record];
	uint64_t state = atom_load_acquire(&r->state);

	if (atom_load_relaxed(&r->gate) != gate)
		return GATE_DONE;
	switch (gate_record_state(state)) {
	case GATE_RECORD_WATCH:
	case GATE_RECORD_WAIT:
	case GATE_RECORD_SLEEP:
	case GATE_RECORD_CHOSEN:
	case GATE_RECORD_CANCELLED:
	case GATE_RECORD_LAPSED: /* by an earlier cut */
		break;
	default:
		return GATE_DONE;
	}
	if (!atom_cas_acq_rel(&r->state, state, state_word(gen_of(state), GATE_RECORD_LAPSED, count)))
		return GATE_AGAIN;
	atom_add_release(&r->bell, 1u);
	return GATE_WAKE;
}
