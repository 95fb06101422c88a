/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bury: what a session leaves behind at the gates when it ends. Its records first, then its gates, a bite a turn; then whoever
 * a dead releaser may have chosen and not woken. Its slot is used again only when none of its records stands in a line any
 * more: gate_repair.h says why in this order. Everything may be done again by a successor.
 */
#include "inside.h"
#include "../../lib/mutant.h"

#define CHANGE(lvalue, value) SET(&a->undo, lvalue, value)
#define SWEEPS_A_TURN 128u /* gates looked at for one session that ends: 40 us in which others wait */

void gates_session(struct agent *a, uint32_t slot, const struct session_identity *identity)
{
	struct session_row *row = tables_session(a->tables, slot);
	uint16_t *slots = tables_slots(a->tables);
	uint32_t first = (slot - 1) * a->tables->records_each + 1;

	atom_store_release(&row->pid, 0u);
	if (identity) {
		row->uid = identity->uid;
		row->start = identity->start;
		memcpy(row->program, identity->program, sizeof(row->program));
		atom_store_release(&row->pid, identity->pid);
	}
	for (uint32_t r = first; r < first + a->tables->records_each; r++)
		atom_store_release(&slots[r], (uint16_t)(identity ? slot : 0));
}

/* A releaser that was killed may have chosen somebody and not yet woken him. */
void gates_rouse_chosen(struct agent *a)
{
	for (uint32_t r = 1; r <= a->gates.n_records; r++) {
		if (!a->gates.slots[r])
			r += a->tables->records_each - 1 - (r - 1) % a->tables->records_each; /* the next session's */
		else if (gate_rouse(&a->gates, r))
			gate_rouse_action(a, r);
	}
}

static void bury_record(struct agent *a, uint32_t r, uint32_t slot)
{
	uint32_t gate = 0;
	enum gate_next next = GATE_AGAIN;

	for (unsigned n = 0; n < AGAINS && (next == GATE_AGAIN || next == GATE_TELL); n++) {
		next = gate_bury(&a->gates, r, slot, &gate);
		if (next == GATE_TELL && gate && gate <= a->m.p->lines_high && line_of(a, gate)->key_len)
			line_settle(a, gate);
	}
}

static enum gate_next forget_record(struct agent *a, uint32_t r)
{
	enum gate_next next = GATE_AGAIN;

	for (unsigned n = 0; n < AGAINS && next == GATE_AGAIN; n++)
		next = gate_forget(&a->gates, r);
	return next;
}

/* Whoever owns the gate next takes out of its line who left. While the agent has it nobody else does, and the line may be
 * asked for, or kept, for nobody but the dead. A free gate has no line: somebody wrote it there. */
static void prune_line(struct agent *a, uint32_t record, bool corrupt)
{
	uint32_t i = atom_load_relaxed(&a->gates.records[record].gate), at = i;

	if (i == 0 || i > a->m.p->lines_high)
		return;
	uint64_t word = gate_word_of(a, i);
	bool ours = line_of(a, i)->key_len && line_of(a, i)->state == LINE_OURS;

	if (gate_session_owns(word) && ours && !gate_owner_is_nobody(a, word))
		return;
	if (gate_session_owns(word))
		gate_sweep(&a->gates, gate_owner(word), GATE_DIED, &at, 1);
	else if (gate_owner(word) == 0)
		gate_take_back(a, i, NEVER);
	if (gate_owner(gate_word_of(a, i)) != GATE_AGENT)
		return;
	if (corrupt)
		gate_send_away(a, i);
	else
		gate_has_waiters(a, i);
	if (line_of(a, i)->key_len)
		line_settle(a, i);
	agent_commit(a);
}

/* Its records were buried before; but they stand where any process of the host can write. */
bool gates_forget_session(struct agent *a, uint32_t slot)
{
	uint32_t first = (slot - 1) * a->tables->records_each + 1;
	bool all = true;

	for (uint32_t r = first; r < first + a->tables->records_each && !MUTANT(401); r++) {
		enum gate_next next = forget_record(a, r);

		if (next != GATE_DONE) {
			bury_record(a, r, slot);
			prune_line(a, r, next == GATE_CORRUPT);
			next = forget_record(a, r);
		}
		all &= next == GATE_DONE;
	}
	return all;
}

static void bury_records(struct agent *a, uint32_t slot)
{
	uint32_t first = (slot - 1) * a->tables->records_each + 1;

	for (uint32_t r = first; r < first + a->tables->records_each; r++)
		bury_record(a, r, slot);
}

bool gates_sweep_session(struct agent *a, uint32_t slot, bool died)
{
	struct session_record *s = &a->m.sessions[slot];
	uint32_t at = MAX(s->sweep_at, 1u), end, gate;

	if (s->sweep_at == SWEEP_DONE || MUTANT(31))
		return true;
	if (!s->sweep_at && !MUTANT(32))
		bury_records(a, slot);
	end = MIN(a->m.p->lines_high, at + SWEEPS_A_TURN - 1);
	while (at <= end && (gate = gate_sweep(&a->gates, slot, died ? GATE_DIED : 0, &at, end - at + 1)) != 0) {
		a->tables->deaths += died;
		a->tables->repairs++;
		if (line_of(a, gate)->state == LINE_OURS)
			line_settle(a, gate);
	}
	CHANGE(s->sweep_at, end == a->m.p->lines_high ? SWEEP_DONE : end + 1);
	if (s->sweep_at == SWEEP_DONE) {
		a->rouse = true; /* for all that end in this turn: it looks at every place of the host */
		gates_watch_now(a);
	}
	agent_commit(a);
	return s->sweep_at == SWEEP_DONE;
}
