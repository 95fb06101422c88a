/* SPDX-License-Identifier: Apache-2.0 */
#include "series.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "progress.h"
#include "sync.h"

#define TURN_S 0.1 /* a turn is about as long, and there are as many as fit */
#define TURNS_MAX 100.0

static void series_fail(struct series *s, const char *why)
{
	if (s->errors++ == 0)
		snprintf(s->why, sizeof(s->why), "%s", why);
}

/* Workers' errors are counted where they happen, and taken over before their memory goes. */
static void take_errors(struct series *s)
{
	char why[WORKER_WHY] = "";
	uint64_t errors = crew_errors(&s->crew, why);

	if (errors && !s->errors)
		memcpy(s->why, why, sizeof(why));
	s->errors = MAX(s->errors, errors);
}

struct series *series_new(const struct crew_plan *plan)
{
	struct series *s = calloc(1, sizeof(*s));

	if (!s) {
		fprintf(stderr, "paxbench: no memory\n");
		exit(1);
	}
	snprintf(s->name, sizeof(s->name), "%s", plan->name);
	if (crew_start(&s->crew, plan) < 0)
		series_fail(s, "its processes did not start");
	take_errors(s);
	return s;
}

void series_free(struct series *s)
{
	if (!s)
		return;
	crew_stop(&s->crew);
	free(s);
}

static void measure_turn(struct series *s, struct round *round, uint64_t ns)
{
	uint64_t took;

	if (!s->crew.shared)
		return;
	if (crew_turn(&s->crew, ns, &took) < 0) {
		series_fail(s, "a worker process died or hung");
		return;
	}
	round->ns += took;
	for (unsigned i = 0; i < s->crew.plan.n; i++) {
		const struct worker *w = crew_worker(&s->crew, i);
		histogram_merge(&round->seen, &w->seen);
		round->done += w->done;
	}
	take_errors(s);
}

void series_measure(struct series *const *all, unsigned n, double seconds, const char *bench)
{
	double turns = floor(seconds / ROUNDS / TURN_S);
	char what[96];

	turns = turns < 1 ? 1 : turns > TURNS_MAX ? TURNS_MAX
						  : turns;
	uint64_t ns = (uint64_t)(seconds / ROUNDS / turns * (double)NS_PER_S);
	for (unsigned r = 0; r < ROUNDS; r++)
		for (unsigned turn = 0; turn < (unsigned)turns; turn++)
			for (unsigned i = 0; i < n; i++) {
				snprintf(what, sizeof(what), "round %u of %u, %s", r + 1, ROUNDS, all[i]->name);
				progress(bench, what);
				measure_turn(all[i], &all[i]->round[r], ns);
			}
	progress_end();
}

double series_quantile(const struct series *s, unsigned round, double q)
{
	const struct histogram *h = &s->round[round].seen;

	return h->n ? (double)histogram_quantile(h, q) : NAN;
}

double series_rate(const struct series *s, unsigned round)
{
	const struct round *r = &s->round[round];

	return r->ns ? (double)r->done * (double)NS_PER_S / (double)r->ns : NAN;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median(const double *values, unsigned n)
{
	double sorted[64];
	unsigned kept = 0;

	for (unsigned i = 0; i < n && kept < ARRAY_LEN(sorted); i++)
		if (!isnan(values[i]))
			sorted[kept++] = values[i];
	if (!kept)
		return NAN;
	qsort(sorted, kept, sizeof(sorted[0]), by_value);
	return kept % 2 ? sorted[kept / 2] : (sorted[kept / 2 - 1] + sorted[kept / 2]) / 2;
}
