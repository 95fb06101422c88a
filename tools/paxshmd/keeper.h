/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper: the small process that outlives the agent. It holds every descriptor (segments, listening
 * sockets, each session's), starts the agent and starts it again when it dies, and does nothing else: the
 * less it does, the less it can die of.
 *
 * On SIGHUP it reads the configuration again. What can change changes by an agent that takes over from the one that
 * runs, as if that had died: no lock and no session is lost.
 *
 * A life is the time of one memory: it ends with the keeper, or when agents died of it five times in ten seconds.
 * When no process of the last one is left, the next is its heir; else the cluster takes the next in when the
 * last one's lease has ended.
 *
 * Who may enter: main, tests.
 */
#ifndef PAXSHM_TOOLS_PAXSHMD_KEEPER_H
#define PAXSHM_TOOLS_PAXSHMD_KEEPER_H

#include "config.h"

/* Reads the configuration again, as it was read at the start. 0, or -errno and why[CONFIG_WHY]. */
typedef int keeper_reread(struct config *ret, void *context, char *why);

/* Serves until told to stop. Answers the exit status: 0: stopped by a signal; 1: could not begin, or what it
 * lives by is gone (logged); AGENT_EXIT_FATAL: this host cannot be part of the cluster. */
int keeper_run(const struct config *config, bool bootstrap, keeper_reread *reread, void *context);

#endif
