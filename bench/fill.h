/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fill: processes that hold many locks on one host, so that a table is as full as a case wants it.
 *
 * Who may enter: lookup, table.
 */
#ifndef PAXSHM_BENCH_FILL_H
#define PAXSHM_BENCH_FILL_H

#include "cluster.h"
#include "worker.h"

#define FILL_KEY 24u /* bytes of a key with its NUL */

struct fill {
	struct crew crew;
	const struct bench_cluster *cluster;
	unsigned from, to; /* keys of these numbers are held */
	unsigned hosts;    /* on so many hosts, the first ones */
	uint64_t took_ns;
	char why[WORKER_WHY];
};

/* Holds keys from ≤ i < to on the cluster's first host, or hosts, until fill_end(). 0, or -errno and f->why. */
int fill_start(struct fill *f, const struct bench_cluster *c, unsigned from, unsigned to, unsigned hosts);
void fill_end(struct fill *f);

void fill_key(char key[FILL_KEY], unsigned i);

#endif
