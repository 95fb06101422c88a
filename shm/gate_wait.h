/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_wait: the steps of gate.h with futex and clock: spins a little, sleeps on the bell of one's own record, wakes whom
 * a release names.
 *
 * A sleeper can be moved away from a word that others can map, by FUTEX_CMP_REQUEUE, and its wake is lost: nobody sleeps
 * for longer than GATE_WAIT_NS without looking again.
 *
 * Who may enter: lib, tests. (The agent takes the steps, and wakes by its actions.)
 */
#ifndef PAXSHM_SHM_GATE_WAIT_H
#define PAXSHM_SHM_GATE_WAIT_H

#include "gate.h"

#define GATE_WAIT_NS 1000000000ull

struct gate_patience {
	uint64_t deadline_ns;    /* absolute CLOCK_MONOTONIC; NEVER: none */
	const uint32_t *cancels; /* moves when the wait is to end; NULL: never. Whoever moves it rings the bell afterwards */
	uint32_t cancels_seen;
	const uint32_t *serial; /* of the gate, in its terms: moves when it is given to another key; NULL: not looked at */
	uint32_t serial_seen;
};

/* What gate_wait() and gate_pass_on() answer beside 0. */
#define GATE_WAIT_TELL 1 /* the agent has this gate: it must hear of it. gate_wait(): call again then */
#define GATE_WAIT_LOOK 2 /* a second has passed: look whether the session stands, then call again */

/* Waits for a gate that gate_take() found taken. `p` as gate.h has it, the same until this answers 0 or less:
 *   0            it is ours: (p->slot, p->count)
 *   -ETIMEDOUT, -ECANCELED   no longer waiting
 *   -ENOENT      the gate serves another key now; no longer waiting
 *   -EBUSY       the record may still stand in an older line: use another
 *   -ESTALE      this session counts as dead */
int gate_wait(const struct gate_view *v, struct gate_place *p, const struct gate_patience *patience);

/* Ends the wait for a reason of the caller's, between two calls of gate_wait(): `why`; or 0 or -ESTALE as there. */
int gate_leave(const struct gate_view *v, struct gate_place *p, int why);

/* Ends an acquisition. 0; GATE_WAIT_TELL; -ESTALE: it was not ours any more. */
int gate_pass_on(const struct gate_view *v, uint32_t gate, uint32_t slot, uint32_t count);

/* gate_hand(), and counted. */
static inline bool gate_hand_on(const struct gate_view *v, struct gate *g, uint32_t slot, uint32_t count)
{
	/* Before the swap: the gate's words are ours until then, and its line is not yet on its way to the next owner. */
	uint64_t handed = atom_load_relaxed(&g->handed);

	if (!(gate_flags(atom_load_relaxed(&g->word)) & GATE_WATCHED))
		return false;
	atom_store_relaxed(&g->handed, handed + 1);
	if (gate_hand(v, g, slot, count))
		return true;
	atom_store_relaxed(&g->handed, handed);
	return false;
}

/* Rings the bell of a place in which another thread of the session waits; async-signal-safe. */
void gate_ring(const struct gate_view *v, uint32_t record);

#endif
