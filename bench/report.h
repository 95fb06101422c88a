/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report: the rows of a run, and how they are told: a table of 80 columns, or a JSON object or a line
 * of CSV for each; and, at the end, a folder with all of them, or with pictures.
 *
 * A row is one figure beside one limit. ratio: the figure's p50 by the limit's; ratio_p99: p99 by
 * p99; each the median over the rounds. What is not there is a NAN, and null in JSON.
 *
 * Who may enter: main, the cases, tests. report.c makes rows and tells them; plot.c draws.
 */
#ifndef PAXSHM_BENCH_REPORT_H
#define PAXSHM_BENCH_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "series.h"

#define ROWS_MAX 96u
#define BESIDE_PARTS 3u

struct row {
	char bench[24], metric[40], unit[12];
	double p50, p90, p99, p999, max;
	uint64_t n;
	char limit_name[48]; /* "": there is none */
	double limit, limit_p99, ratio, ratio_p99;
	uint64_t errors;
	char why[WORKER_WHY];   /* the first of them */
	struct histogram *seen; /* all rounds, for curves; the report's own; may be NULL */
};

/* The limit of a row: a sum of what series showed, each with its weight. */
struct beside {
	const char *name;
	const struct series *part[BESIDE_PARTS]; /* NULL: no more */
	double weight[BESIDE_PARTS];             /* 0: 1 */
};

enum report_form { REPORT_TABLE,
		   REPORT_JSON,
		   REPORT_CSV,
		   REPORT_MARKDOWN };

struct report_header {
	char machine[224], kernel[96], clock[48], pinning[48], loop[96], agents[96], version[16];
};

struct report {
	enum report_form form;
	FILE *out;
	struct report_header header;
	bool told_header;
	char last_bench[24];
	struct row rows[ROWS_MAX];
	unsigned n;
	uint64_t errors;
};

/* Fills in what the machine says of itself; agents, pinning and loop are the caller's. */
void report_header_machine(struct report_header *h);

/* ---- rows: made, kept and told at once ---- */

/* How long something took. unit: ns, us, ms or s; or turns: not a time, what was seen as it is. */
void report_latency(struct report *r, const char *bench, const char *metric, const char *unit, const struct series *s,
		    const struct beside *beside);
/* How many a second: p50 the median round, max the best; here a greater ratio is the better one. */
void report_rate(struct report *r, const char *bench, const char *metric, const struct series *s, const struct beside *beside);
/* One number. limit: NAN, none. */
void report_value(struct report *r, const char *bench, const char *metric, const char *unit, double value, uint64_t n,
		  const char *limit_name, double limit);
/* A row without figures: why it has none. */
void report_failure(struct report *r, const char *bench, const char *metric, const char *unit, const char *why);
/* The limits themselves. */
void report_limit(struct report *r, const char *unit, const struct series *s);

void report_add(struct report *r, const struct row *row);
void report_release(struct report *r);

/* ---- telling ---- */

void report_tell_header(const struct report_header *h, enum report_form form, FILE *out);
void report_tell_row(const struct row *row, enum report_form form, FILE *out, bool first);

/* paxbench.md, .json and .csv in a folder. 0, or -errno and a line on standard error. */
int report_save(const struct report *r, const char *dir);

/* curves of each case and ratios.svg by gnuplot. 1: gnuplot is not there. */
int report_plot(const struct report *r, const char *dir);

/* Can files be made there? The folder is made when it is not there. 0, or -errno and a line on standard error. */
int report_folder(const char *dir);

#endif
