/* SPDX-License-Identifier: Apache-2.0 */
/*
 * explore: every state that a world can come to, each once (Tarjan's search for strongly connected components). Beside
 * what must hold in every state it finds where nothing can happen any more, and circles that nothing leads out of.
 * States are told apart by hashes of 64 bits: of 10^7 states two have the same with a chance of 3 in 10^6.
 */
#ifndef PAXSHM_TESTS_MODEL_EXPLORE_H
#define PAXSHM_TESTS_MODEL_EXPLORE_H

#include "gate_world.h"

struct explored {
	uint64_t states, moves, ends;
	unsigned deepest;
	const char *wrong; /* NULL: all promises are kept */
	bool whole;        /* false: there are more states than `most` */
};

/* `trace`: where a failure is told step by step, or NULL. */
struct explored explore(const struct world_bounds *bounds, uint64_t most, void *trace);

#endif
