/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply: one agreed command -> changed tables and what follows from it. Every host runs it on the
 * same commands in the same order and so has the same tables at the same index. It reads no clock,
 * no configuration, no capacity of this host (capacities are agreed).
 *
 * Pure. Who may enter: the agent, tests.
 */
#ifndef PAXSHM_SHM_STATE_APPLY_H
#define PAXSHM_SHM_STATE_APPLY_H

#include "command.h"
#include "lock_table.h"

#define SWEEP_ROWS 1024u /* rows one SWEEP looks at … */
#define SWEEP_FREES 64u  /* … and frees, at most */
#define SWEEP_WAITS HOSTS_MAX /* it stops, too, when it has taken so many entries out of queues */

enum applied {
	APPLIED_DONE,      /* took effect: see outcome and grants */
	APPLIED_REPEATED,  /* a number taken before, of an older life, or ahead: ignored */
	APPLIED_UNFIT,     /* FOUND with capacities other than these tables have: this host cannot be part */
};

struct effects {
	enum applied applied;
	enum lock_outcome outcome; /* of ACQUIRE, RELEASE, CANCEL */
	uint32_t row;              /* of the command's key afterwards, 0: none */
	bool swept;                /* SWEEP: nothing of older incarnations is left */
	bool registered;           /* HOST_UP took effect */
	unsigned n_grants;         /* rows whose lock was granted to the host in their value just now, the command's own included */
	uint32_t grants[SWEEP_FREES];
};

/* Applies the command that stands at `slot`. The caller counts agreed.applied and applied_part. */
void apply_command(struct tables *t, struct undo *u, const struct command *c, uint64_t slot, struct effects *ret);

#endif
