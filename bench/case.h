/* SPDX-License-Identifier: Apache-2.0 */
/*
 * case: what paxbench can measure. Each case is one file: it asks for agents in the shape it needs,
 * measures its paths together with their limits, and reports its rows.
 *
 * Who may enter: main, the cases.
 */
#ifndef PAXSHM_BENCH_CASE_H
#define PAXSHM_BENCH_CASE_H

#include "cluster.h"
#include "report.h"

struct bench {
	struct bench_cluster cluster;
	struct report report;
	unsigned voters;    /* of agents to start; 0: measure those that are there */
	double seconds;     /* how long each series is measured */
	double rate;        /* operations a second; 0: closed loop */
	unsigned processes; /* of throughput */
	unsigned keys;      /* the most that lookup and table hold */
	bool breakdown;     /* quorum: also the mean of each leg */
};

struct bench_case {
	const char *name, *what, *limit;
	bool kills; /* agents, so only own ones */
	/* 0, also when rows have errors; -errno: the run cannot go on (no agents), which was said. */
	int (*run)(struct bench *b);
};

extern const struct bench_case case_quorum, case_local, case_handoff, case_lookup, case_throughput, case_failover, case_table, case_catchup, case_contended, case_fairness, case_warm, case_repair;

/* Agents for a case: own ones in this shape, or those that were found. */
int bench_need(struct bench *b, unsigned observers, const char *settings);

/* Own agents that nobody has used yet. */
int bench_need_fresh(struct bench *b, const char *settings);

/* A big table for lookup, warm and table, of whose locks its host can own `owned`: own agents are a cluster of one, which agrees with itself; and nobody has used
 * them yet, for delegations that others left behind would be in the way. */
int bench_need_table(struct bench *b, unsigned keys, unsigned owned);

/* What every host of the cluster has room for, and uses; false: no agent, said. */
struct paxshm_status;
bool bench_status(struct bench *b, struct paxshm_status *ret);

#endif
