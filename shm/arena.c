/* SPDX-License-Identifier: Apache-2.0 */
#include "arena.h"

#include "../lib/base.h"
#include "segment_header.h"

static uint64_t gates_at(void)
{
	return align_up(sizeof(struct arena), 64);
}

static uint64_t records_at(uint32_t n_gates)
{
	return gates_at() + (n_gates + 1ull) * sizeof(struct gate);
}

uint64_t arena_size(uint32_t n_gates, uint32_t n_records)
{
	return align_up(records_at(n_gates) + (n_records + 1ull) * sizeof(struct gate_record), 4096);
}

struct gate_view arena_view(struct arena *a, const struct tables *t)
{
	return (struct gate_view){
		.gates = (struct gate *)((char *)a + gates_at()),
		.records = (struct gate_record *)((char *)a + records_at(t->n_gates)),
		.slots = tables_slots(t),
		.terms = tables_terms(t, 0),
		.n_gates = t->n_gates,
		.n_records = t->n_records,
	};
}

void arena_format(struct arena *a, const struct tables *t)
{
	a->gates_at = gates_at();
	a->records_at = records_at(t->n_gates);
	a->n_gates = t->n_gates;
	a->n_records = t->n_records;

	struct gate_view v = arena_view(a, t);

	for (uint32_t i = 1; i <= t->n_gates; i++)
		v.gates[i].word = GATE_WORD_FIRST;
	header_format(&a->segment, SEGMENT_ARENA, arena_size(t->n_gates, t->n_records));
}

const char *arena_verify(const struct arena *a, uint64_t size, const struct tables *t)
{
	const char *wrong = header_verify(&a->segment, SEGMENT_ARENA, arena_size(t->n_gates, t->n_records), size);

	if (!wrong && (a->n_gates != t->n_gates || a->n_records != t->n_records))
		wrong = "the gates do not fit the tables";
	return wrong;
}

/* ---- doorbells ---- */

bool arena_announce(struct arena *a, const struct tables *t, uint32_t slot)
{
	ASSERT(slot >= 1 && slot <= SESSIONS_MAX);
	/* Both in the one order of all seq_cst operations, as the agent's two are: see ring.h. */
	atom_or_seq_cst(&a->pending[slot / 64], 1ull << slot % 64);
	return atom_load_seq_cst(&t->agent_sleeps) != 0;
}
