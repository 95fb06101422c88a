/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plot: pictures of a report, drawn by gnuplot: for each case the latency at each share of its
 * operations (the axis stretches towards the slowest ones), and for all rows their ratios.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "report.h"
#include "../lib/base.h"

#define STEPS 120u /* points of a curve */

static bool is_there(const char *program)
{
	const char *path = getenv("PATH");
	char *copy = strdup(path ? path : ""), *next = NULL, *file;
	bool found = false;

	for (char *dir = copy ? strtok_r(copy, ":", &next) : NULL; dir && !found; dir = strtok_r(NULL, ":", &next)) {
		if (asprintf(&file, "%s/%s", dir, program) < 0)
			break;
		found = access(file, X_OK) == 0;
		free(file);
	}
	free(copy);
	return found;
}

static double ps_in(const char *unit)
{
	return unit[0] == 'n' ? 1e3 : unit[0] == 'u' ? 1e6
			      : unit[0] == 'm'       ? 1e9
						     : 1e12;
}

/* Without what would end a string of gnuplot's or mean something in it. */
static const char *plain(const char *text)
{
	static char out[8][200]; /* so many may be used in one call */
	static unsigned turn;
	char *at = out[turn++ % ARRAY_LEN(out)];
	size_t n = 0;

	for (; *text && n < sizeof(out[0]) - 1; text++)
		at[n++] = strchr("\"\\`", *text) ? ' ' : *text;
	at[n] = '\0';
	return at;
}

static void put_curve(FILE *out, unsigned i, const struct row *row)
{
	fprintf(out, "$curve%u << END\n", i);
	for (unsigned step = 0; step <= STEPS; step++) {
		double beyond = pow(10, 5.0 * step / STEPS); /* one operation in so many is slower */
		if (beyond > (double)row->seen->n)
			break;
		fprintf(out, "%g %g\n", beyond, (double)histogram_quantile(row->seen, 1 - 1 / beyond) / ps_in(row->unit));
	}
	fputs("END\n", out);
}

static void put_begin(FILE *out, const char *dir, const char *name, const struct report *r)
{
	fprintf(out, "reset\nset terminal svg size 900,540 noenhanced dynamic background rgb 'white'\n");
	fprintf(out, "set output \"%s/%s.svg\"\n", plain(dir), name);
	fprintf(out, "set title \"%s: %s, %s, clock %s\\nloop %s\\nagents %s; pinning %s\" font ',10'\n", name, plain(r->header.machine),
		plain(r->header.kernel), plain(r->header.clock), plain(r->header.loop), plain(r->header.agents), plain(r->header.pinning));
	fprintf(out, "set grid\nset rmargin 6\n");
}

/* The case's rows; of the limits only their lines' height, as rows of their own. */
static void plot_case(FILE *out, const struct report *r, const char *dir, const char *bench, const char *unit)
{
	unsigned curves[ROWS_MAX], n = 0;

	for (unsigned i = 0; i < r->n; i++)
		if (strcmp(r->rows[i].bench, bench) == 0 && strcmp(r->rows[i].unit, unit) == 0 && r->rows[i].seen && r->rows[i].seen->n > 1)
			curves[n++] = i;
	if (!n)
		return;
	put_begin(out, dir, bench, r);
	for (unsigned i = 0; i < n; i++)
		put_curve(out, i, &r->rows[curves[i]]);
	fprintf(out, "set logscale xy\nset xlabel 'share of operations that are faster'\nset ylabel '%s'\nset key left top\n", unit);
	fprintf(out, "set xtics ('0' 1, '50 %%%%' 2, '90 %%%%' 10, '99 %%%%' 100, '99.9 %%%%' 1000, '99.99 %%%%' 10000, '99.999 %%%%' 100000)\nplot ");
	for (unsigned i = 0; i < n; i++) {
		const struct row *row = &r->rows[curves[i]];
		fprintf(out, "%s$curve%u with lines lw 2 lc %u title \"%s\"", i ? ", " : "", i, i + 1, plain(row->metric));
		if (isfinite(row->limit))
			fprintf(out, ", %g with lines dt 2 lc %u title \"limit: %s\"", row->limit, i + 1, plain(row->limit_name));
	}
	fputc('\n', out);
}

static void plot_ratios(FILE *out, const struct report *r, const char *dir)
{
	unsigned n = 0;

	for (unsigned i = 0; i < r->n; i++)
		n += isfinite(r->rows[i].ratio);
	if (!n)
		return;
	put_begin(out, dir, "ratios", r);
	fputs("$ratios << END\n", out);
	for (unsigned i = 0; i < r->n; i++)
		if (isfinite(r->rows[i].ratio))
			fprintf(out, "\"%s %s (%s)\" %g\n", plain(r->rows[i].bench), plain(r->rows[i].metric), plain(r->rows[i].unit), r->rows[i].ratio);
	fputs("END\nset logscale y\nset style fill solid 0.6\nset boxwidth 0.7\nunset key\nset xtics rotate by -40 font ',8'\n"
	      "set rmargin 12\nset ylabel 'times its limit (1/s: share of it)'\nplot $ratios using 2:xtic(1) with boxes, 1 with lines lw 2\n",
	      out);
}

static bool is_earlier(const struct report *r, unsigned row)
{
	for (unsigned i = 0; i < row; i++)
		if (strcmp(r->rows[i].bench, r->rows[row].bench) == 0)
			return true;
	return false;
}

/* What the case's first curve is measured in; "": it has none. */
static const char *unit_of(const struct report *r, const char *bench)
{
	for (unsigned i = 0; i < r->n; i++)
		if (strcmp(r->rows[i].bench, bench) == 0 && r->rows[i].seen)
			return r->rows[i].unit;
	return "";
}

int report_plot(const struct report *r, const char *dir)
{
	if (!is_there("gnuplot")) {
		fprintf(stderr, "paxbench: gnuplot is not there (Debian: gnuplot-nox), so nothing was drawn\n");
		return 1;
	}
	FILE *out = popen("gnuplot", "we");
	if (!out) {
		fprintf(stderr, "paxbench: gnuplot does not start: %s\n", strerror(errno));
		return -errno;
	}
	for (unsigned i = 0; i < r->n; i++)
		if (!is_earlier(r, i))
			plot_case(out, r, dir, r->rows[i].bench, unit_of(r, r->rows[i].bench));
	plot_ratios(out, r, dir);
	return pclose(out) == 0 ? 0 : -EIO;
}
