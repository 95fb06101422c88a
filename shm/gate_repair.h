/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_repair: what the agent does to gates when a session dies, when the host's life ends, and when a line makes no
 * sense. Steps as in gate.h, pure, each for one gate or record, so that the agent does as many a turn as it likes. Any
 * may be repeated; a new agent begins again.
 *
 * Who may enter: the agent, tests.
 */
#ifndef PAXSHM_SHM_GATE_REPAIR_H
#define PAXSHM_SHM_GATE_REPAIR_H

#include "gate.h"

/* Death of a session, in this order: every record of its own, until DONE; every gate; every record of the space that
 * was CHOSEN. */
enum gate_next gate_bury(const struct gate_view *v, uint32_t record, uint32_t slot, uint32_t *ret_gate); /* DONE, AGAIN, TELL: the agent has *ret_gate now */
/* Looks at up to `n` gates from *at on, and answers the first that is the agent's now, 0: none of these. `flags`: GATE_DIED; or 0,
 * when the session has ended in order: then a death that it was told of, or was to be told of, is told to the next once more. */
uint32_t gate_sweep(const struct gate_view *v, uint32_t slot, uint32_t flags, uint32_t *at, uint32_t n);
bool gate_rouse(const struct gate_view *v, uint32_t record); /* true: wake it */

/* Whether a buried record is out of every line, and its session's slot may forget it. DONE, WAITS, AGAIN. */
enum gate_next gate_forget(const struct gate_view *v, uint32_t record);

/* The host's life has ended and it enters a new one. For each gate: gate_lapsing(); when it says that a session owns the
 * gate, every record of that session; then gate_lapse() with the same owner and count. All this before the new
 * incarnation is shown. */
bool gate_lapsing(const struct gate_view *v, uint32_t gate, uint32_t *ret_owner, uint32_t *ret_count);
enum gate_next gate_lapse_record(const struct gate_view *v, uint32_t record, uint32_t gate, uint32_t count); /* DONE, WAKE, AGAIN */
enum gate_next gate_lapse(const struct gate_view *v, uint32_t gate, uint32_t owner, uint32_t count);         /* DONE: the agent has it; AGAIN: begin with gate_lapsing() */

/* Cuts a line that makes no sense off a gate that the agent owns; then every record of the space is sent to arrive again.
 * The gate is opened only afterwards. */
enum gate_next gate_mend(const struct gate_view *v, uint32_t gate, uint32_t *ret_count);                    /* DONE, AGAIN, LOST */
enum gate_next gate_mend_record(const struct gate_view *v, uint32_t record, uint32_t gate, uint32_t count); /* DONE, WAKE, AGAIN */

#endif
