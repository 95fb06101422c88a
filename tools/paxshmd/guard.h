/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard: memory that programs of this host can write may lose its pages under the agent. Its size is sealed, so it cannot be cut
 * off; but a program can punch holes into it, and when no memory is to be had for a page that is touched again, the
 * kernel says so by SIGBUS. Here that costs the agent nothing: the page is replaced by one of zeros that is the agent's
 * own, the access goes on, and what was hit is told. A ring of zeros is nonsense to its reader, who bans the session; an
 * arena that is not the programs' any more cannot be repaired, and the reactor ends.
 *
 * Elsewhere SIGBUS means what it always did. One a process. Who may enter: the reactor's rooms, tests.
 */
#ifndef PAXSHM_TOOLS_PAXSHMD_GUARD_H
#define PAXSHM_TOOLS_PAXSHMD_GUARD_H

#include <stdbool.h>
#include <stddef.h>

#define GUARD_AREAS 4096u /* a ring for each session slot, and */
#define GUARD_ARENA 0u

/* 0 or -errno. */
int guard_begin(void);

/* `place` is 0 .. GUARD_AREAS-1, the caller's; NULL: nothing is there any more. Page-aligned. */
void guard_area(unsigned place, void *at, size_t size);

/* Whether anything was hit since this was last asked, and where: the lowest place. */
bool guard_hit(unsigned *ret_place);

#endif
