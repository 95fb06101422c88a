/* SPDX-License-Identifier: Apache-2.0 */
/*
 * breakdown: where the time of an acquire goes. The agent of the asking host stamps those requests
 * that ask for it (PAXSHM_STAMPS); the legs between the stamps, as means, add up to the whole.
 *
 * Who may enter: quorum.
 */
#ifndef PAXSHM_BENCH_BREAKDOWN_H
#define PAXSHM_BENCH_BREAKDOWN_H

#include "case.h"
#include "member.h"

/* Rows "breakdown" for a host that plays `part` now, called `name`. */
void breakdown(struct bench *b, enum part part, const char *name);

#endif
