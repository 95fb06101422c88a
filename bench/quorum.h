/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quorum: the process that acquires locks on which the cluster must agree, for whoever measures it.
 *
 * Who may enter: the cases quorum and catchup.
 */
#ifndef PAXSHM_BENCH_QUORUM_H
#define PAXSHM_BENCH_QUORUM_H

#include "cluster.h"
#include "member.h"

struct quorum_with {
	const struct bench_cluster *cluster;
	enum part part; /* whom it asks */
	int host;       /* the one host that it knows; -1: all */
};

/* A crew of one; `with` must stay. */
struct crew_plan quorum_plan(const char *name, const struct quorum_with *with);

#endif
