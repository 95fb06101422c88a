/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reactor: the agent's process around the pure agent. It feeds agent_step() from the loop, the links and
 * the sessions' sockets, and carries the actions out in their order.
 *
 * A turn: events are handed in one by one; TURN until nothing more is to do; what was queued for other
 * hosts is flushed, one send for each; then it sleeps, unless a doorbell rang.
 *
 * Invariants:
 *   - a session's descriptors are the keeper's before the agent hears of the session;
 *   - the agent is never stepped from within a step: a link that breaks while actions are carried
 *     out is told afterwards;
 *   - it waits for no client and no host: every send is non-blocking or queued.
 *
 * Who may enter: main.
 */
#ifndef PAXSHM_TOOLS_PAXSHMD_REACTOR_H
#define PAXSHM_TOOLS_PAXSHMD_REACTOR_H

/* Takes over from the keeper on HANDOVER_FD and serves until told to end: the exit status. */
int reactor_run(void);

#endif
