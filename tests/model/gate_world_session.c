/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_world_session: what a session does with the gate's steps. See gate_world.h.
 */
#include "gate_world_parts.h"

static void begin(struct world_actor *a, enum pc pc)
{
	a->pc = pc;
	memset(&a->pass, 0, sizeof(a->pass));
	memset(&a->place, 0, sizeof(a->place));
	a->incarnation = a->delegation = 0;
	a->late = a->which = a->checked = 0;
}

void world_session_next_round(struct world_actor *a, uint32_t me)
{
	world.arrival[me] = 0;
	a->rounds--;
	begin(a, !a->rounds ? FINISHED : asks(me) ? ASK
						  : TAKE);
}

static void next_round(struct world_actor *a) { world_session_next_round(a, a->place.record); }

void world_session_enter(struct world_actor *a, uint32_t me)
{
	a->pc = INSIDE;
	if (!a->checked) { /* the lease has ended since: its own clock tells it so, as if it had been inside */
		if (a->place.died)
			world.died_owed = 0;
		return;
	}
	world_promise(a->delegation == world.terms[GATE].delegation, "the terms are those of this opening");
	world_promise(owned_by(G, slot_of(me), a->place.count), "who enters owns the gate");
	world_promise(!world.expired, "nobody enters after the lease has ended");
	for (uint32_t i = 1; i <= world_bounds.sessions; i++)
		world_promise(!world.actor[i].inside, "one inside at a time");
	world_promise(a->place.count > world.last_count, "counts rise");
	world_promise(!a->place.died || world.deaths, "nobody died");
	if (world_bounds.rekeys)
		world_promise(a->serial == world.terms[GATE].serial, "who enters owns the lock that it asked for");
	world_promise(a->place.died || !world.died_owed, "who comes after a death is told");
	if (world.arrival[me]) {
		world_promise(world.arrival[me] > world.served, "first come, first served");
		world.served = world.arrival[me];
		world.arrival[me] = 0;
	}
	world.died_owed = 0;
	world.last_count = a->place.count;
	a->inside = 1;
}

/* The terms, then the lease … Who made the swap knows from before it in which life he did, and need not look whether the gate is
 * still his: in that life it is. Nor need who has waited, if the terms are of the life in which he came. */
static void check(struct world_actor *a, uint32_t me)
{
	bool good = true;

	a->delegation = atom_load_acquire(&world.terms[GATE].delegation);
	if (a->which) {
		uint64_t incarnation = atom_load_acquire(&world.terms[GATE].incarnation);

		good = incarnation == a->incarnation || world_bounds.mutant == MUTANT_NO_HOLDS ||
		       gate_holds(&world.gates[GATE], slot_of(me), a->place.count);
		a->incarnation = incarnation;
	}
	if (world_bounds.rekeys && world_bounds.mutant != MUTANT_NO_SERIAL)
		good = good && atom_load_acquire(&world.terms[GATE].serial) == a->serial;
	if (world_bounds.mutant != MUTANT_EARLY_CHECK && world_bounds.lapses)
		good = good && !atom_load_acquire(&world.expired);
	a->pass.gate = GATE;
	a->pass.slot = slot_of(me);
	a->pass.count = a->place.count;
	a->checked = good;
	a->pc = good ? CHECK_LIFE : DECLINE;
}

/* … then whose lease that was. */
static void check_life(struct world_actor *a, uint32_t me)
{
	if (world_bounds.mutant == MUTANT_EARLY_CHECK || !world_bounds.lapses || atom_load_acquire(&world.incarnation) == a->incarnation)
		world_session_enter(a, me);
	else
		a->pc = DECLINE;
}

/* What does not count goes to the agent; and so does who wants the lock nevertheless. */
static void decline(struct world_actor *a, const struct gate_view *v, uint32_t me)
{
	enum gate_next next = gate_decline(v, GATE, slot_of(me), a->place.count);

	if (next == GATE_AGAIN)
		return;
	world_promise(next == GATE_TELL || world_bounds.lapses, "who has not entered owns the gate until he declines");
	a->serial = 0;
	if (asks(me) && !a->late)
		begin(a, ASK);
	else
		world_session_next_round(a, me);
}

static void waiting(struct world_actor *a, enum gate_next next)
{
	switch (next) {
	case GATE_MINE:
		a->pc = CHECK;
		break;
	case GATE_WAITS:
	case GATE_TELL:
		a->pc = LOOK;
		break;
	case GATE_AGAIN:
		break;
	case GATE_SLEEP:
		a->pc = SLEEP;
		break;
	case GATE_ARRIVE:
		world.arrival[a->place.record] = 0; /* its place is lost */
		a->pc = ARRIVE;
		break;
	case GATE_BUSY:
		a->pc = BUSY;
		break;
	case GATE_LEFT:
		next_round(a);
		break;
	default:
		world_promise(false, "a living session's place is its own");
	}
}

static void released(struct world_actor *a, enum gate_next next)
{
	switch (next) {
	case GATE_WAKE:
		a->pc = WAKE;
		break;
	case GATE_AGAIN:
		break;
	case GATE_LOST:
		world_promise(world_bounds.lapses, "who is inside owns the gate");
		next_round(a);
		break;
	default:
		world_promise(!a->pass.corrupt, "the line makes sense");
		next_round(a);
	}
}

void world_session_call(struct world_actor *a, uint32_t me)
{
	struct gate_view v = world_view();

	switch ((enum pc)a->pc) {
	case TAKE:
		if (world_bounds.rekeys && !a->serial)
			a->serial = atom_load_acquire(&world.terms[GATE].serial);
		a->incarnation = 1; /* there is but one life */
		if (world_bounds.lapses)
			a->incarnation = atom_load_acquire(&world.incarnation);
		a->place.gate = GATE;
		a->place.slot = slot_of(me);
		a->place.record = me;
		if (gate_take(&world.gates[GATE], slot_of(me), &a->place.count, &a->place.died))
			a->pc = CHECK;
		else
			a->pc = ARRIVE;
		a->which = a->pc == ARRIVE;
		break;
	case BUSY:
	case ARRIVE:
		a->pc = ARRIVE;
		waiting(a, gate_arrive(&v, &a->place, 1));
		break;
	case LOOK:
		waiting(a, gate_look(&v, &a->place, true));
		break;
	case CANCEL:
		waiting(a, gate_cancel(&v, &a->place));
		break;
	case CHECK:
		check(a, me);
		break;
	case CHECK_LIFE:
		check_life(a, me);
		break;
	case DECLINE:
		decline(a, &v, me);
		break;
	case FAST_RELEASE:
		if (gate_free(&world.gates[GATE], slot_of(me), a->pass.count))
			next_round(a);
		else
			a->pc = HAND;
		break;
	case HAND:
		if (gate_hand(&v, &world.gates[GATE], slot_of(me), a->pass.count))
			next_round(a);
		else
			a->pc = SLOW_RELEASE;
		break;
	case SLOW_RELEASE:
		released(a, gate_release(&v, &a->pass, 1));
		break;
	default:
		ASSERT(!"a call");
	}
}
