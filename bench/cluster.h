/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster: the agents that are measured. With --cluster they are paxbench's own, started and ended
 * with paxcluster, in the shape that each case asks for. Otherwise they are those it finds: all that
 * PAXCLUSTER_HOSTS and PAXSHM_SOCKET_n name, else the one that any program would find.
 *
 * Own agents end with paxbench, however that ends: their paxcluster runs until a pipe from here is
 * closed.
 *
 * Who may enter: main, the cases.
 */
#ifndef PAXSHM_BENCH_CLUSTER_H
#define PAXSHM_BENCH_CLUSTER_H

#include <stdbool.h>
#include <sys/types.h>

#define BENCH_HOSTS 16u
#define BENCH_SOCKET 108u

struct bench_cluster {
	bool own;
	unsigned voters, observers; /* own: as started */
	char settings[256];
	unsigned n;                             /* hosts whose agents can be asked */
	char socket[BENCH_HOSTS][BENCH_SOCKET]; /* "": as any program finds it */
	pid_t keeper[BENCH_HOSTS];              /* own */
	int place[BENCH_HOSTS];                 /* own, with --pin: 1 + the core that the host has; 0: any */
	pid_t pid;                              /* of paxcluster; 0: not started */
	int hold;                               /* the pipe */
};

/* The one that is there. 0, or -errno and a line on standard error when no agent answers. */
int bench_cluster_find(struct bench_cluster *c);

/* Own agents in this shape; `settings`: "key=value key=value". Those that run already are kept when
 * they fit and `fresh` is not asked for. 0, or -errno and a line on standard error. */
int bench_cluster_start(struct bench_cluster *c, unsigned voters, unsigned observers, const char *settings, bool fresh);
void bench_cluster_stop(struct bench_cluster *c); /* a found one goes on */

/* SIGKILL to the agent of own host i, and to its keeper. false: they are not what was started here. */
bool bench_cluster_kill(const struct bench_cluster *c, unsigned i, pid_t agent, bool keeper_too);

/* --pin: the leader's host on the first core, the other hosts by turns on the rest: so a round of the cluster goes
 * from core to core, as it goes from host to host where there are any. */
void bench_cluster_pin(struct bench_cluster *c);

#endif
