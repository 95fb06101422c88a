/* SPDX-License-Identifier: Apache-2.0 */
#include "gate_read.h"

#include <errno.h>

#include "../lib/base.h"
#include "gate_words.h"

/* 0: none. */
static uint64_t token_of(const struct gate_terms *t, uint32_t owner, uint32_t count)
{
	uint32_t nth = count - atom_load_acquire(&t->opened_at) - 1;

	if (owner == 0 || owner == GATE_AGENT || nth >= atom_load_acquire(&t->range))
		return 0;
	return atom_load_acquire(&t->base) + nth;
}

int gate_read(const struct gate_view *v, uint32_t gate, uint64_t delegation, struct gate_shown *ret)
{
	const struct gate *g = gate_at(v, gate);

	if (!g || !delegation)
		return 0;
	/* Each field by itself to its place: a structure in between would be copied by words that wait for its stores. */
	const struct gate_terms *t = &v->terms[gate];
	uint64_t word = atom_load_acquire(&g->word);
	uint32_t owner = gate_owner(word), count = gate_count(word);

	if (atom_load_acquire(&t->delegation) != delegation)
		return 0;
	uint64_t token = token_of(t, owner, count);
	uint32_t serial = atom_load_acquire(&t->serial);
	uint64_t revoked = atom_load_acquire(&t->revoked);
	uint64_t since_ns = atom_load_acquire(&g->since_ns);
	uint64_t handed = atom_load_acquire(&g->handed);
	/* What was read before was read with acquire: this load comes after all of it. */
	if (!owned_by(atom_load_acquire(&g->word), owner, count))
		return -EAGAIN;
	/* Terms change only while the agent owns the gate: for its own gate they are looked at once more. */
	if (atom_load_acquire(&t->delegation) != delegation)
		return 0;
	ret->owner = owner;
	ret->count = count;
	ret->flags = gate_flags(word);
	ret->line = gate_top(word) != 0;
	ret->token = token;
	ret->serial = serial;
	ret->revoked = revoked;
	ret->since_ns = since_ns;
	ret->handed = handed;
	return 1;
}

bool gate_read_holds(const struct gate_view *v, uint32_t gate, const struct gate_shown *shown)
{
	return gate_at(v, gate) && owned_by(atom_load_acquire(&v->gates[gate].word), shown->owner, shown->count);
}

/* ---- the line ---- */

/* Whether a record that was met in the line waits for the gate; `word` is the gate's. */
static bool still_waits(const struct gate_view *v, uint64_t word, struct standing at)
{
	switch (gate_record_state(at.state)) {
	case GATE_RECORD_WATCH:
	case GATE_RECORD_WAIT:
	case GATE_RECORD_SLEEP:
	case GATE_RECORD_LAPSED: /* cut off, and about to arrive again */
		return true;
	case GATE_RECORD_CHOSEN: /* the owner already, and awake soon? */
		return !owned_by(word, atom_load_relaxed(&v->slots[at.record]), count_of(at.state));
	default:
		return false;
	}
}

/* A record leaves at the old end only, and with a new generation: one that has changed it was the oldest, and whoever stood
 * below it left before. So a walk that meets it is at its end. */
static bool read_record(const struct gate_view *v, uint32_t gate, struct standing at, struct gate_sleeper *ret, uint64_t *ret_older)
{
	const struct gate_record *r = &v->records[at.record];
	bool here = atom_load_acquire(&r->gate) == gate;

	*ret_older = atom_load_acquire(&r->older);
	*ret = (struct gate_sleeper){
		.record = at.record,
		.slot = atom_load_relaxed(&v->slots[at.record]),
		.since_ns = atom_load_acquire(&r->since_ns),
		.state = at.state,
	};
	return here && gen_of(atom_load_acquire(&r->state)) == gen_of(at.state);
}

/* From the top down. Who is met as the i-th is the (n-1-i)-th oldest when n are known to wait; written there if there is
 * room. Answers how many were met. */
static uint32_t walk(const struct gate_view *v, uint32_t gate, uint64_t word, uint32_t n, struct gate_sleeper *ret, uint32_t max)
{
	struct standing at = { .record = gate_top(word) };
	uint32_t met = 0;
	bool on = record_at(v, at.record) != NULL;

	if (on)
		at.state = atom_load_acquire(&v->records[at.record].state);
	for (uint32_t steps = 0; on && steps < v->n_records; steps++) {
		struct gate_sleeper sleeper;
		uint64_t older;

		if (!read_record(v, gate, at, &sleeper, &older))
			break;
		if (still_waits(v, word, at)) {
			if (met < n && n - 1 - met < max)
				ret[n - 1 - met] = sleeper;
			met++;
		}
		on = follow(v, older, &at) == LINK_ON;
	}
	return met;
}

uint32_t gate_read_line(const struct gate_view *v, uint32_t gate, struct gate_sleeper *ret, uint32_t max, uint32_t *ret_waiting)
{
	const struct gate *g = gate_at(v, gate);
	uint64_t word = g ? atom_load_acquire(&g->word) : 0;
	uint32_t n = walk(v, gate, word, 0, NULL, 0), met = n, left;

	if (max && n)
		met = MIN(walk(v, gate, word, n, ret, max), n);
	/* Those who left between the walks were the oldest: their places, the first ones, were not written. */
	left = MIN(n - met, MIN(n, max));
	if (left)
		memmove(ret, ret + left, (MIN(n, max) - left) * sizeof(*ret));
	*ret_waiting = met;
	return MIN(n, max) - left;
}

bool gate_sleeper_stands(const struct gate_view *v, const struct gate_sleeper *sleeper)
{
	const struct gate_record *r = record_at(v, sleeper->record);

	return r && gen_of(atom_load_acquire(&r->state)) == gen_of(sleeper->state) &&
	       atom_load_relaxed(&v->slots[sleeper->record]) == sleeper->slot;
}
