/* SPDX-License-Identifier: Apache-2.0 */
/*
 * series: what one crew showed in each of five rounds. Everything that belongs to one figure - the
 * path and its limits - is measured together: within each round they take turns of a tenth of a
 * second or less, so that whatever else the machine does meets them alike. A figure is the median of
 * its five rounds; a ratio is the median of the five rounds' own ratios.
 *
 * Who may enter: the cases, report, tests.
 */
#ifndef PAXSHM_BENCH_SERIES_H
#define PAXSHM_BENCH_SERIES_H

#include "worker.h"

#define ROUNDS 5u

struct round {
	struct histogram seen;
	uint64_t done, ns;
};

struct series {
	char name[48];
	struct crew crew;
	uint64_t errors;
	char why[WORKER_WHY]; /* the first of them */
	struct round round[ROUNDS];
};

/* Starts its crew. Never NULL: what went wrong is among its errors. */
struct series *series_new(const struct crew_plan *plan);
void series_free(struct series *s); /* NULL is fine */

/* Measures them together, each for `seconds`. */
void series_measure(struct series *const *all, unsigned n, double seconds, const char *bench);

/* ---- reading a round ---- */

double series_quantile(const struct series *s, unsigned round, double q); /* ps; NAN: nothing seen */
double series_rate(const struct series *s, unsigned round);               /* operations a second */

/* Of those that are no NAN; NAN when none is. */
double median(const double *values, unsigned n);

#endif
