/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster: agents on this machine, all of them in one folder:
 *
 *   DIR/paxcluster      what kind of cluster this is; a folder without it is none of ours
 *   DIR/cluster.conf    the configuration that all hosts share
 *   DIR/N/agent.sock    of host N (1, 2, …), named hostN
 *   DIR/N/state, log    its state directory, what its agent and keeper said
 *   DIR/N/keeper        pid and start time of its keeper
 *
 * Every command finds the cluster by this folder alone.
 *
 * Who may enter: the files of this folder.
 */
#ifndef PAXSHM_TOOLS_PAXCLUSTER_CLUSTER_H
#define PAXSHM_TOOLS_PAXCLUSTER_CLUSTER_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "../../lib/paxshm.h"
#include "process.h"

#define CLUSTER_HOSTS 64
#define CLUSTER_PATH 256
#define CLUSTER_TAG 32

struct cluster {
	char dir[CLUSTER_PATH]; /* absolute */
	char tag[CLUSTER_TAG];  /* of the names of its network namespaces */
	unsigned voters, observers;
	bool netns;
	bool die_with_us; /* keepers end when this process does (not stored) */
};

static inline unsigned cluster_size(const struct cluster *c) { return c->voters + c->observers; }

/* "DIR/N/name" in one of a few buffers in turn; N 0: "DIR/name". */
const char *cluster_path(const struct cluster *c, unsigned n, const char *name);

/* Makes the folder (dir "": a new one under TMPDIR), its namespaces and its configuration; starts nothing.
 * `settings`: lines "key=value" for the configuration. 0, or -errno after saying why; then nothing is left. */
int cluster_make(struct cluster *c, const char *const *settings, unsigned n_settings);
/* Reads DIR/paxcluster. 0, or -errno after saying why. */
int cluster_load(struct cluster *c, const char *dir);
/* Takes folder and namespaces away. Everything that ran there must have ended. */
void cluster_remove(const struct cluster *c);

struct process cluster_keeper(const struct cluster *c, unsigned n);
/* The agent: the keeper's child. */
struct process cluster_agent(const struct cluster *c, unsigned n);

/* Starts the keeper of host n. 0, or -errno after saying why. */
int host_start(const struct cluster *c, unsigned n, bool bootstrap);
/* Ends a keeper and its agent: asks, and after a while insists. */
void host_stop(const struct cluster *c, unsigned n);
/* SIGKILL to the agent, or to the keeper, after which the agent ends too. False: there was none. */
bool host_kill(const struct cluster *c, unsigned n, bool keeper);
/* False: no agent answers. `ret` as paxshm_status() fills it. */
bool host_status(const struct cluster *c, unsigned n, struct paxshm_status *ret);

/* SIGINT, SIGTERM or SIGHUP came: whoever waits gives up and cleans up. */
extern volatile sig_atomic_t cluster_interrupted;

/* Waits until hosts 1 .. size (or only n, if not 0) have a quorum. False, after saying what stands in the logs. */
bool cluster_wait(const struct cluster *c, unsigned n, unsigned timeout_ms);
void cluster_stop(const struct cluster *c);

#endif
