/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper: the small process that outlives the agent. It holds every descriptor (segments, listening
 * sockets, each session's), starts the agent and starts it again when it dies, and does nothing else: the
 * less it does, the less it can die of.
 *
 * Of the lock file <socket>.lock: byte 0 is write-locked by the one keeper of the socket; byte 1 is
 * read-locked by every process that lives by this memory (keeper, agent, clients), and a keeper with fresh
 * memory waits until none of an older life is left.
 *
 * Who may enter: main, tests.
 */
#ifndef PAXSHM_TOOLS_PAXSHMD_KEEPER_H
#define PAXSHM_TOOLS_PAXSHMD_KEEPER_H

#include "config.h"

/* Serves until told to stop. Answers the exit status: 0: stopped by a signal; 1: could not begin, or what it
 * lives by is gone (logged); AGENT_EXIT_FATAL: this host cannot be part of the cluster. */
int keeper_run(const struct config *config, bool bootstrap);

/* ---- its steps, for tests ---- */

/* Opens and locks <socket>.lock, making its directory when there is none. The descriptor; or -errno and why[CONFIG_WHY]. */
int keeper_lock(const char *socket_path, char *why);

/* Locks byte 1 for writing if nobody lives by an older memory, else -EAGAIN. */
int keeper_claim_life(int lock_fd);

/* The listening socket, in place of a stale socket file. Only under keeper_lock. */
int keeper_listen(const char *socket_path, char *why);
int keeper_listen_tcp(const struct config *config, char *why);

/* Whether this start may found the cluster: `bootstrap` was asked for and the state directory has no mark of
 * an earlier founding. 1: no mark yet; 0: not asked for, or marked; or -errno and why. */
int keeper_may_found(const struct config *config, bool bootstrap, char *why);
/* Leaves the mark, for good before it returns. 0, or -errno and why. */
int keeper_mark_founded(const struct config *config, char *why);

#endif
