/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_world_agent: what the agent does with the gate's steps. See gate_world.h.
 */
#include "gate_world_parts.h"

static void open_terms(void)
{
	world.terms[GATE].delegation++;
	world.terms[GATE].incarnation = world.incarnation;
	world.terms[GATE].opened_at = gate_count(G);
	world.closing = 0;
}

/* Before anything is begun. */
static void bounds_of_passing(void)
{
	world.terms[GATE].stop_at = gate_count(G) + 1;
	world.terms[GATE].remote_since_ns = world.terms[GATE].stop_ns = NEVER;
}

static void agent_bury(struct world_actor *a, const struct gate_view *v)
{
	uint32_t gate;

	if (gate_bury(v, a->which, a->which, &gate) != GATE_DONE)
		return;
	a->pc = world_bounds.mutant == MUTANT_SWEEP_FIRST ? ROUSE : SWEEP;
	a->owner = 1;
}

static void agent_sweep(struct world_actor *a, const struct gate_view *v)
{
	uint32_t at = 1;

	if (gate_sweep(v, a->which, GATE_DIED, &at, 1) == 0 && at == 1)
		return; /* once more */
	a->pc = world_bounds.mutant == MUTANT_SWEEP_FIRST ? BURY : ROUSE;
	a->owner = 1;
}

static void agent_rouse(struct world_actor *a, const struct gate_view *v)
{
	if (gate_rouse(v, a->owner))
		world_kernel_wake(a->owner);
	if (a->owner++ < world_bounds.sessions)
		return;
	world.actor[a->which].handled = 1;
	a->pc = IDLE;
}

static void agent_open(struct world_actor *a, const struct gate_view *v)
{
	enum gate_next next = gate_open(v, &a->pass);

	if (next == GATE_WAKE)
		a->pc = OPEN_WAKE;
	else if (next != GATE_AGAIN)
		a->pc = IDLE;
	world_promise(next != GATE_CORRUPT, "the line makes sense");
}

/* The release is agreed upon, and a new delegation comes: of another key perhaps, of which nobody has died yet. */
static void drained(void)
{
	world.closing = 2;
	world.row_died = gate_flags(G) & GATE_DIED && !world_bounds.rekeys;
	if (!world_bounds.rekeys)
		return;
	world.died_owed = world.deaths = 0;
	for (uint32_t i = 1; i <= world_bounds.sessions; i++)
		world.deaths |= world.actor[i].dead && !world.actor[i].handled;
}

static void agent_close(struct world_actor *a, const struct gate_view *v)
{
	enum gate_next next = gate_close(v, GATE);

	if (next == GATE_AGAIN)
		return;
	if (a->pc == CLOSE_FOR_CLAIM) {
		a->pc = IDLE;
		return;
	}
	a->pc = IDLE;
	if (next == GATE_DONE || world_bounds.mutant == MUTANT_UNDRAINED) {
		drained();
		a->pc = BEGIN;
	}
}

static void agent_begins_delegation(struct world_actor *a, const struct gate_view *v)
{
	uint32_t count = 0;
	enum gate_next next = gate_begin(v, GATE, world.row_died, &count);

	world_promise(next != GATE_LOST, "a drained gate stays the agent's");
	if (next != GATE_DONE)
		return;
	a->pc = IDLE;
	world.terms[GATE].serial += world_bounds.rekeys;
	open_terms();
	world.terms[GATE].opened_at = count;
}

static void agent_lapse(struct world_actor *a, const struct gate_view *v)
{
	bool late = world_bounds.mutant == MUTANT_LAPSE_LATE;
	enum gate_next next;

	switch ((enum pc)a->pc) {
	case LAPSE_BEGIN:
		a->pc = gate_lapsing(v, GATE, &a->owner, &a->count) && !late ? LAPSE_RECORD : LAPSE_GATE;
		a->which = a->owner;
		break;
	case LAPSE_RECORD:
		next = gate_lapse_record(v, a->which, GATE, a->count);
		if (next == GATE_WAKE)
			world_kernel_wake(a->which);
		if (next != GATE_AGAIN && world_bounds.twins && a->which == 1)
			a->which = 2;
		else if (next != GATE_AGAIN)
			a->pc = late ? LAPSE_END : LAPSE_GATE;
		break;
	default:
		next = gate_lapse(v, GATE, a->owner, a->count);
		a->pc = next == GATE_AGAIN ? LAPSE_BEGIN : LAPSE_END;
		if (late && next == GATE_DONE && a->owner && a->owner != GATE_AGENT)
			a->pc = LAPSE_RECORD;
	}
}

/* Noted first, with the count at which it is given: whoever comes after the agent says it again. */
static void agent_give_note(struct world_actor *a, const struct gate_view *v)
{
	world.give_count = gate_agent_pass(v, GATE).count;
	world.give_slot = a->which;
	world.give_serial = world.terms[GATE].serial;
	world.give_incarnation = world.incarnation;
	a->pc = GIVE;
}

static void agent_give(struct world_actor *a, const struct gate_view *v)
{
	enum gate_next next = gate_give(v, GATE, world.give_count, world.give_slot, &a->place.died);

	if (next != GATE_AGAIN)
		a->pc = next == GATE_DONE ? GIVE_ANSWER : GIVE_FORGET;
}

/* Who has died, or was answered by the agent before, is not touched by it. */
static void answer(const struct world_actor *a)
{
	uint32_t to = world.give_slot;
	struct world_actor *s = &world.actor[to];

	world.actor[0].pc = GIVE_FORGET;
	world.asked &= (uint8_t) ~(1u << to);
	if (s->pc != ASKED)
		return;
	memset(&s->place, 0, sizeof(s->place));
	s->place.gate = GATE;
	s->place.slot = s->place.record = to;
	s->place.count = world.give_count + 1;
	s->place.died = a->place.died;
	world_pass_begin(&s->pass, to, s->place.count);
	s->serial = world.give_serial;
	s->incarnation = world.give_incarnation;
	s->pc = CHECK;
	if (s->late)
		s->pc = world_bounds.mutant == MUTANT_LATE_FREES ? FAST_RELEASE : DECLINE;
}

void world_agent_call(struct world_actor *a)
{
	struct gate_view v = world_view();

	switch ((enum pc)a->pc) {
	case BURY:
		agent_bury(a, &v);
		break;
	case SWEEP:
		agent_sweep(a, &v);
		break;
	case ROUSE:
		agent_rouse(a, &v);
		break;
	case OPEN_BEGIN:
		world_pass_begin(&a->pass, GATE_AGENT, gate_agent_pass(&v, GATE).count);
		a->pc = OPEN_GATE;
		break;
	case OPEN_GATE:
		agent_open(a, &v);
		break;
	case GIVE_NOTE:
		agent_give_note(a, &v);
		break;
	case GIVE:
		agent_give(a, &v);
		break;
	case CLOSE:
	case CLOSE_FOR_CLAIM:
		agent_close(a, &v);
		break;
	case BEGIN:
		agent_begins_delegation(a, &v);
		break;
	case LAPSE_BEGIN:
	case LAPSE_RECORD:
	case LAPSE_GATE:
		agent_lapse(a, &v);
		break;
	default:
		ASSERT(!"a call");
	}
}

void world_agent_other(struct world_actor *a)
{
	switch ((enum pc)a->pc) {
	case OPEN_WAKE:
		world_kernel_wake(a->pass.record);
		a->pc = OPEN_GATE;
		break;
	case LAPSE_END: /* everything has lapsed: the new life is shown, then its first deadline */
		a->pc = IDLE;
		world.incarnation++;
		open_terms();
		world.expired = 0;
		break;
	case GIVE_ANSWER:
		answer(a);
		break;
	case GIVE_FORGET:
		world.give_slot = 0;
		a->pc = IDLE;
		break;
	default:
		ASSERT(!"a step of the gate");
	}
}

void world_agent_begin(uint8_t pc, uint8_t which)
{
	struct world_actor *a = &world.actor[0];

	world_actor_begin(a, pc);
	a->which = which;
	if (pc == BURY && world_bounds.mutant == MUTANT_SWEEP_FIRST)
		a->pc = SWEEP;
	if (pc == CLOSE && !world.closing) {
		world.closing = 1;
		world.closes--;
		bounds_of_passing();
	}
	if (pc == CLOSE_FOR_CLAIM)
		bounds_of_passing();
	if (pc == CLAIM_DROP) {
		world_session_next_round(&world.actor[which], which);
		a->pc = IDLE;
	}
	if (pc == CLAIM_DROP || pc == BURY) {
		world.asked &= (uint8_t) ~(1u << which);
		/* Before the sweep: given after it, the gate would be the dead session's for good. */
		if (world.give_slot == which && world_bounds.mutant != MUTANT_GIVE_DEAD)
			world.give_slot = 0;
	}
}
