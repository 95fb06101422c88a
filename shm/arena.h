/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena: the segment that all sessions of a host and its agent write: doorbells, gates (gate.h), and the records of those
 * who wait at gates. How large it is and what each place means stands in the tables, which sessions cannot write: nothing
 * that is found here is an address or a length.
 *
 * Who may enter: lib, the agent, whoever makes the segment.
 */
#ifndef PAXSHM_SHM_ARENA_H
#define PAXSHM_SHM_ARENA_H

#include "gate.h"
#include "table.h"

/* The arena that goes with these tables: its size, made of zeroed memory, recognised. A gate begins in the agent's hands. */
uint64_t arena_size(uint32_t n_gates, uint32_t n_records);
void arena_format(struct arena *a, const struct tables *t);
const char *arena_verify(const struct arena *a, uint64_t size, const struct tables *t);
/* Where gates and records stand, for whoever has mapped both; the arena was verified. */
struct gate_view arena_view(struct arena *a, const struct tables *t);

/* ---- doorbells, session side ---- */

/* After ring_push: marks the session pending; true: the agent sleeps, ring the doorbell.
 * The other half, in the agent: atom_store_seq_cst(agent_sleeps, 1), then a look at every pending
 * word with atom_load_seq_cst, then sleep. One of the two sees the other. The agent takes bits with
 * atom_exchange_seq_cst before it reads the rings. */
bool arena_announce(struct arena *a, const struct tables *t, uint32_t slot);

#endif
