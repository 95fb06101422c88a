/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_words: how the words of gates and records are put together and taken apart, and the way along a line. What they
 * mean stands in gate.h.
 *
 * Who may enter: gate.c, gate_repair.c and gate_read.c alone.
 */
#ifndef PAXSHM_SHM_GATE_WORDS_H
#define PAXSHM_SHM_GATE_WORDS_H

#include <stddef.h>

#include "gate.h"

#ifndef GATE_TRIES     /* the model tries once */
#define GATE_TRIES 16u /* swaps that may fail before the caller is told */
#endif
/* Tests plant mistakes here and must find them: see tests/model. */
#ifndef GATE_MUTANT
#define GATE_MUTANT(name) false
#endif
#define GEN_MASK 0xfffffffu

static inline uint64_t state_word(uint32_t gen, enum gate_state state, uint32_t count)
{
	return (uint64_t)(gen & GEN_MASK) << 36 | (uint64_t)state << 32 | count;
}

static inline uint32_t gen_of(uint64_t state) { return (uint32_t)(state >> 36); }
static inline uint32_t count_of(uint64_t state) { return (uint32_t)state; }

static inline uint64_t link_to(uint32_t record, uint64_t state) { return (uint64_t)gen_of(state) << 32 | record; }
static inline uint32_t link_record(uint64_t link) { return (uint32_t)link; }
static inline uint32_t link_gen(uint64_t link) { return (uint32_t)(link >> 32); }

/* Counts go round. */
static inline bool count_before(uint32_t a, uint32_t b) { return (int32_t)(a - b) < 0; }

static inline struct gate *gate_at(const struct gate_view *v, uint32_t i)
{
	return i > 0 && i <= v->n_gates ? &v->gates[i] : NULL;
}

static inline struct gate_record *record_at(const struct gate_view *v, uint32_t i)
{
	return i > 0 && i <= v->n_records ? &v->records[i] : NULL;
}

static inline bool owned_by(uint64_t word, uint32_t owner, uint32_t count)
{
	return gate_owner(word) == owner && gate_count(word) == count;
}

/* The word after (o, k) was handed to `owner`, the oldest of the line, whose record is `record`. */
static inline uint64_t word_handed(uint64_t word, uint32_t owner, uint32_t record)
{
	uint32_t top = gate_top(word) == record ? 0 : gate_top(word);
	uint32_t flags = gate_flags(word) & (gate_owner(word) == GATE_AGENT ? GATE_DIED : GATE_CLOSING);

	if (owner == GATE_AGENT)
		flags &= ~GATE_CLOSING;
	return gate_word(gate_count(word) + 1, top, owner, flags);
}

/* The same line, in the agent's hands. */
static inline uint64_t word_surrendered(uint64_t word, uint32_t top, uint32_t flags)
{
	return gate_word(gate_count(word) + 1, top, GATE_AGENT, flags);
}

/* A record met on the way along a line. */
struct standing {
	uint32_t record;
	uint64_t state;
};

/* What a link leads to: NULL: nobody, the line ends here. */
enum link { LINK_END,
	    LINK_ON,
	    LINK_BROKEN };

static inline enum link follow(const struct gate_view *v, uint64_t link, struct standing *ret)
{
	const struct gate_record *r = record_at(v, link_record(link));

	if (!r)
		return link_record(link) ? LINK_BROKEN : LINK_END;
	uint64_t state = atom_load_acquire(&r->state);
	if (gen_of(state) != link_gen(link))
		return LINK_END;
	*ret = (struct standing){ .record = link_record(link), .state = state };
	return LINK_ON;
}

/* Whether a record can be reached from the top. DONE: no, and as long as nobody pushes it, it will not be; WAITS, AGAIN, CORRUPT. */
static inline enum gate_next gate_reach(const struct gate_view *v, const struct gate *g, uint32_t record)
{
	struct standing at = { .record = gate_top(atom_load_acquire(&g->word)) };

	if (!at.record)
		return GATE_DONE;
	if (!record_at(v, at.record))
		return GATE_CORRUPT;
	at.state = atom_load_acquire(&v->records[at.record].state);
	for (uint32_t steps = 0; steps < v->n_records; steps++) {
		const struct gate_record *r = &v->records[at.record];
		struct standing below = { 0 };

		if (at.record == record)
			return GATE_WAITS;
		enum link on = follow(v, atom_load_acquire(&r->older), &below);
		if (gen_of(atom_load_acquire(&r->state)) != gen_of(at.state))
			return GATE_AGAIN;
		if (on != LINK_ON)
			return on == LINK_END ? GATE_DONE : GATE_CORRUPT;
		at = below;
	}
	return GATE_CORRUPT;
}

#endif
