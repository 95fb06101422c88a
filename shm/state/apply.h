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

#define SWEEP_ROWS 1024u      /* rows one SWEEP looks at … */
#define SWEEP_FREES 64u       /* … and frees, at most */
#define SWEEP_WAITS HOSTS_MAX /* it stops, too, when it has dropped, or given the lock to, so many entries */

/* The most undo words that one command can take: a SWEEP that frees SWEEP_FREES rows and, one entry
 * before SWEEP_WAITS is reached, comes to a queue that every host has left. A row costs most when its only share ends
 * and it goes with all its cells; an entry that is dropped costs more than one that is given the lock.
 * So whoever waits to share is let in by the one command that makes room, be they all hosts. */
#define APPLY_UNDO_WORDS (42 * SWEEP_FREES + 9 * (SWEEP_WAITS + HOSTS_MAX) + 8)

enum applied {
	APPLIED_DONE,     /* took effect: see outcome and grants */
	APPLIED_REPEATED, /* ignored: a number taken before, of an ended life, or ahead; a second FOUND; a HOST_UP,
			    * HOST_DOWN or SWEEP whose condition does not hold (any more) */
	APPLIED_UNFIT,    /* FOUND with capacities other than these tables have: this host cannot be part */
};

struct effects {
	enum applied applied;
	enum lock_outcome outcome; /* of ACQUIRE, RELEASE, CANCEL: of the command's own host; others may be granted the lock by any of them */
	uint32_t row;              /* of the command's key afterwards, 0: none */
	/* Rows whose lock was granted just now, the command's own included: none for an ACQUIRE of what the host has
	 * already. To one host in EX, or to any number in PR: a host was given it if what lock_table_hold() says
	 * of it has a delegation above `delegations`, the last id given before this command. */
	uint64_t delegations;
	unsigned n_grants;
	uint32_t grants[SWEEP_FREES];
};

/* A leader began in this ballot: what older ones had not yet brought to bear against hosts is void. */
void apply_leads(struct tables *t, struct undo *u, uint64_t ballot);

/* Applies the command that stands at `slot`. The caller counts agreed.applied and applied_part. */
void apply_command(struct tables *t, struct undo *u, const struct command *c, uint64_t slot, struct effects *ret);

#endif
