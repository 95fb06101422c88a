/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_read: what a gate shows to whoever has no part in it: its owner, and who stands in its line. Writes nothing, waits
 * for nobody, and asks nobody; pure, and bounded whatever stands in the arena.
 *
 * An owner is told from a word that was the same before and after all else was read: terms and the owner's row in the
 * tables do not change while (owner, count) stands. Who stands in the line is told one by one: each stood there at some
 * instant of the call.
 *
 * Who may enter: lib, the agent, tests.
 */
#ifndef PAXSHM_SHM_GATE_READ_H
#define PAXSHM_SHM_GATE_READ_H

#include "gate.h"

struct gate_shown {
	uint32_t owner, count, flags; /* of the word */
	bool line;                    /* somebody may stand in it */
	uint64_t token;               /* of the owner's acquisition; 0: nobody owns it, or its terms do not cover it */
	uint64_t since_ns;            /* as the owner wrote it; for a moment still what the owner before wrote */
	uint64_t handed, revoked;
	uint32_t serial;
};

/* 1 and *ret; 0: the gate does not serve this delegation; -EAGAIN: it moved, look again, at the row too. */
int gate_read(const struct gate_view *v, uint32_t gate, uint64_t delegation, struct gate_shown *ret);

/* Whether (owner, count) as shown still owns the gate: asked after the owner's row was read. */
bool gate_read_holds(const struct gate_view *v, uint32_t gate, const struct gate_shown *shown);

struct gate_sleeper {
	uint32_t record, slot; /* slot: whose it is */
	uint64_t since_ns;     /* as its session wrote it */
	uint64_t state;        /* of the record */
};

/* Those who wait in line: *ret_waiting is how many there are, ret[] the oldest of them, the oldest first, at most `max`;
 * answers how many were written. A line that makes no sense is told as far as it does. */
uint32_t gate_read_line(const struct gate_view *v, uint32_t gate, struct gate_sleeper *ret, uint32_t max, uint32_t *ret_waiting);

/* Whether it still waits there: asked after the row of its session was read. */
bool gate_sleeper_stands(const struct gate_view *v, const struct gate_sleeper *sleeper);

#endif
