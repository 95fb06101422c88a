/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "../lib/base.h"
#include "progress.h"

/* ---- the machine ---- */

static void first_line(const char *path, const char *key, char *ret, size_t size)
{
	FILE *file = fopen(path, "re");
	char line[256];

	while (file && fgets(line, sizeof(line), file)) {
		const char *value = line;
		if (key) {
			value = strncmp(line, key, strlen(key)) == 0 ? strchr(line, ':') : NULL;
			if (!value)
				continue;
			value += 1 + strspn(value + 1, " \t");
		}
		snprintf(ret, size, "%.*s", (int)strcspn(value, "\n"), value);
		break;
	}
	if (file)
		fclose(file);
}

void report_header_machine(struct report_header *h)
{
	char model[96] = "";
	struct utsname u;

	uname(&u);
	first_line("/proc/cpuinfo", "model name", model, sizeof(model));
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	snprintf(h->machine, sizeof(h->machine), "%s%s%s, %ld core%s", u.machine, model[0] ? ", " : "", model, cores, cores == 1 ? "" : "s");
	snprintf(h->kernel, sizeof(h->kernel), "%.30s %.60s", u.sysname, u.release);
	strcpy(h->clock, "unknown");
	first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource", NULL, h->clock, sizeof(h->clock));
}

/* ---- making rows ---- */

static double ps_in(const char *unit)
{
	switch (unit[0]) {
	case 'n': return 1e3;
	case 'u': return 1e6;
	case 'm': return 1e9;
	case 't': return 1;
	default: return 1e12;
	}
}

static double beside_quantile(const struct beside *b, unsigned round, double q)
{
	double sum = 0;

	for (unsigned i = 0; i < BESIDE_PARTS && b->part[i]; i++)
		sum += (b->weight[i] > 0 ? b->weight[i] : 1) * series_quantile(b->part[i], round, q);
	return sum;
}

static struct row row_named(const char *bench, const char *metric, const char *unit)
{
	struct row row = { .p50 = NAN, .p90 = NAN, .p99 = NAN, .p999 = NAN, .max = NAN, .limit = NAN, .limit_p99 = NAN, .ratio = NAN, .ratio_p99 = NAN };

	snprintf(row.bench, sizeof(row.bench), "%s", bench);
	snprintf(row.metric, sizeof(row.metric), "%s", metric);
	snprintf(row.unit, sizeof(row.unit), "%s", unit);
	return row;
}

static void row_errors(struct row *row, const struct series *s)
{
	if (s->errors && !row->errors)
		memcpy(row->why, s->why, sizeof(row->why));
	row->errors += s->errors;
}

static double median_quantile(const struct series *s, double q, double scale)
{
	double values[ROUNDS];

	for (unsigned r = 0; r < ROUNDS; r++)
		values[r] = series_quantile(s, r, q) / scale;
	return median(values, ROUNDS);
}

static void row_beside(struct row *row, const struct series *s, const struct beside *b, double scale)
{
	double limit[ROUNDS], limit_p99[ROUNDS], ratio[ROUNDS], ratio_p99[ROUNDS];

	for (unsigned r = 0; r < ROUNDS; r++) {
		limit[r] = beside_quantile(b, r, 0.5) / scale;
		limit_p99[r] = beside_quantile(b, r, 0.99) / scale;
		ratio[r] = series_quantile(s, r, 0.5) / scale / limit[r];
		ratio_p99[r] = series_quantile(s, r, 0.99) / scale / limit_p99[r];
	}
	snprintf(row->limit_name, sizeof(row->limit_name), "%s", b->name);
	row->limit = median(limit, ROUNDS);
	row->limit_p99 = median(limit_p99, ROUNDS);
	row->ratio = median(ratio, ROUNDS);
	row->ratio_p99 = median(ratio_p99, ROUNDS);
	for (unsigned i = 0; i < BESIDE_PARTS && b->part[i]; i++)
		row_errors(row, b->part[i]);
}

void report_latency(struct report *r, const char *bench, const char *metric, const char *unit, const struct series *s,
		    const struct beside *beside)
{
	struct row row = row_named(bench, metric, unit);
	double scale = ps_in(unit);

	row.p50 = median_quantile(s, 0.5, scale);
	row.p90 = median_quantile(s, 0.9, scale);
	row.p99 = median_quantile(s, 0.99, scale);
	row.p999 = median_quantile(s, 0.999, scale);
	row.seen = calloc(1, sizeof(*row.seen));
	for (unsigned i = 0; row.seen && i < ROUNDS; i++)
		histogram_merge(row.seen, &s->round[i].seen);
	row.n = row.seen ? row.seen->n : 0;
	if (row.n)
		row.max = (double)row.seen->greatest / scale;
	row_errors(&row, s);
	if (beside && beside->part[0])
		row_beside(&row, s, beside, scale);
	report_add(r, &row);
}

void report_rate(struct report *r, const char *bench, const char *metric, const struct series *s, const struct beside *b)
{
	struct row row = row_named(bench, metric, "1/s");
	double rate[ROUNDS], limit[ROUNDS], ratio[ROUNDS];

	row.max = 0;
	for (unsigned i = 0; i < ROUNDS; i++) {
		rate[i] = series_rate(s, i);
		limit[i] = b && b->part[0] ? series_rate(b->part[0], i) : NAN;
		ratio[i] = limit[i] > 0 ? rate[i] / limit[i] : NAN;
		row.max = MAX(row.max, rate[i]);
		row.n += s->round[i].done;
	}
	row.p50 = median(rate, ROUNDS);
	row_errors(&row, s);
	if (b && b->part[0]) {
		snprintf(row.limit_name, sizeof(row.limit_name), "%s", b->name);
		row.limit = median(limit, ROUNDS);
		row.ratio = median(ratio, ROUNDS);
		row_errors(&row, b->part[0]);
	}
	report_add(r, &row);
}

void report_value(struct report *r, const char *bench, const char *metric, const char *unit, double value, uint64_t n,
		  const char *limit_name, double limit)
{
	struct row row = row_named(bench, metric, unit);

	row.p50 = row.max = value;
	row.n = n;
	if (limit_name) {
		snprintf(row.limit_name, sizeof(row.limit_name), "%s", limit_name);
		row.limit = limit;
		row.ratio = value / limit;
	}
	report_add(r, &row);
}

void report_failure(struct report *r, const char *bench, const char *metric, const char *unit, const char *why)
{
	struct row row = row_named(bench, metric, unit);

	row.errors = 1;
	snprintf(row.why, sizeof(row.why), "%s", why);
	report_add(r, &row);
}

void report_limit(struct report *r, const char *unit, const struct series *s)
{
	report_latency(r, "limit", s->name, unit, s, NULL);
}

void report_add(struct report *r, const struct row *row)
{
	bool first = strcmp(r->last_bench, row->bench) != 0;

	progress_end();
	if (!r->told_header)
		report_tell_header(&r->header, r->form, r->out);
	r->told_header = true;
	report_tell_row(row, r->form, r->out, first);
	fflush(r->out);
	if (row->errors)
		fprintf(stderr, "paxbench: %s %s: %" PRIu64 " error%s: %s\n", row->bench, row->metric, row->errors, row->errors == 1 ? "" : "s", row->why);
	snprintf(r->last_bench, sizeof(r->last_bench), "%s", row->bench);
	r->errors += row->errors;
	if (r->n < ROWS_MAX)
		r->rows[r->n++] = *row;
	else
		free(row->seen);
}

void report_release(struct report *r)
{
	for (unsigned i = 0; i < r->n; i++)
		free(r->rows[i].seen);
	r->n = 0;
}

/* ---- telling ---- */

/* Four digits that matter, in at most seven columns. */
static const char *brief(double v)
{
	static char text[8][32];
	static unsigned turn;
	char *at = text[turn++ % ARRAY_LEN(text)];

	if (!isfinite(v))
		return "-";
	if (v >= 1e9)
		snprintf(at, sizeof(text[0]), "%.3gG", v / 1e9);
	else if (v >= 1e7)
		snprintf(at, sizeof(text[0]), "%.1fM", v / 1e6);
	else if (v >= 1e5)
		snprintf(at, sizeof(text[0]), "%.0fk", v / 1e3);
	else if (v >= 1e4)
		snprintf(at, sizeof(text[0]), "%.1fk", v / 1e3);
	else if (v == floor(v) && v < 1e4)
		snprintf(at, sizeof(text[0]), "%.0f", v);
	else
		snprintf(at, sizeof(text[0]), "%.*f", v < 10 ? 2 : v < 1000 ? 1
									    : 0,
			 v);
	return at;
}

static void tell_table(const struct row *row, FILE *out, bool first)
{
	char name[96];

	if (first)
		fprintf(out, "\n%-29s %6s %6s %6s %6s %6s %6s %6s\n", row->bench, "p50", "p90", "p99", "p99.9", "max", "n", "ratio");
	snprintf(name, sizeof(name), "  %.21s, %s", row->metric, row->unit);
	fprintf(out, "%-29s %6s %6s %6s %6s %6s %6s %6s\n", name, brief(row->p50), brief(row->p90), brief(row->p99),
		brief(row->p999), brief(row->max), brief((double)row->n), brief(row->ratio));
	snprintf(name, sizeof(name), "    / %.22s", row->limit_name);
	if (row->limit_name[0])
		fprintf(out, "%-29s %6s %6s %6s %20s %6s\n", name, brief(row->limit), "", brief(row->limit_p99), "at p99", brief(row->ratio_p99));
	if (row->errors)
		fprintf(out, "    ERRORS %" PRIu64 ": %s\n", row->errors, row->why);
}

static void json_text(FILE *out, const char *text)
{
	putc('"', out);
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (*c == '"' || *c == '\\')
			fprintf(out, "\\%c", *c);
		else if (*c < 0x20 || *c >= 0x7f) /* whatever it was: the line stays valid */
			fprintf(out, "\\u%04x", *c);
		else
			putc(*c, out);
	}
	putc('"', out);
}

static void json_member(FILE *out, const char *name, const char *text)
{
	fprintf(out, ",\"%s\":", name);
	json_text(out, text);
}

static void json_number(FILE *out, const char *name, double v)
{
	if (isfinite(v))
		fprintf(out, ",\"%s\":%.6g", name, v);
	else
		fprintf(out, ",\"%s\":null", name);
}

static void tell_json(const struct row *row, FILE *out)
{
	fputs("{\"bench\":", out);
	json_text(out, row->bench);
	json_member(out, "metric", row->metric);
	json_member(out, "unit", row->unit);
	json_number(out, "p50", row->p50);
	json_number(out, "p90", row->p90);
	json_number(out, "p99", row->p99);
	json_number(out, "p999", row->p999);
	json_number(out, "max", row->max);
	fprintf(out, ",\"n\":%" PRIu64, row->n);
	if (row->limit_name[0])
		json_member(out, "limit_name", row->limit_name);
	else
		fputs(",\"limit_name\":null", out);
	json_number(out, "limit", row->limit);
	json_number(out, "ratio", row->ratio);
	json_number(out, "ratio_p99", row->ratio_p99);
	if (row->errors) {
		fprintf(out, ",\"errors\":%" PRIu64, row->errors);
		json_member(out, "error", row->why);
	}
	fputs("}\n", out);
}

static void csv_text(FILE *out, const char *text, char after)
{
	bool plain = !text[strcspn(text, ",\"\n")];

	if (!plain)
		putc('"', out);
	for (; *text; text++) {
		if (*text == '"')
			putc('"', out);
		putc(*text == '\n' ? ' ' : *text, out);
	}
	if (!plain)
		putc('"', out);
	putc(after, out);
}

static void csv_number(FILE *out, double v)
{
	if (isfinite(v))
		fprintf(out, "%.6g,", v);
	else
		fputs(",", out);
}

static void tell_csv(const struct row *row, FILE *out)
{
	csv_text(out, row->bench, ',');
	csv_text(out, row->metric, ',');
	csv_text(out, row->unit, ',');
	csv_number(out, row->p50);
	csv_number(out, row->p90);
	csv_number(out, row->p99);
	csv_number(out, row->p999);
	csv_number(out, row->max);
	fprintf(out, "%" PRIu64 ",", row->n);
	csv_text(out, row->limit_name, ',');
	csv_number(out, row->limit);
	csv_number(out, row->ratio);
	csv_number(out, row->ratio_p99);
	fprintf(out, "%" PRIu64 ",", row->errors);
	csv_text(out, row->why, '\n');
}

static void tell_markdown(const struct row *row, FILE *out, bool first)
{
	if (first)
		fprintf(out, "\n**%s**\n\n| | unit | p50 | p90 | p99 | p99.9 | max | n | limit | is | ratio | at p99 |\n"
			     "|---|---|--:|--:|--:|--:|--:|--:|---|--:|--:|--:|\n",
			row->bench);
	fprintf(out, "| %s | %s | %s | %s | %s | %s | %s | ", row->metric, row->unit, brief(row->p50), brief(row->p90),
		brief(row->p99), brief(row->p999), brief(row->max));
	fprintf(out, "%s | %s | %s | %s | %s |\n", brief((double)row->n), row->limit_name[0] ? row->limit_name : "-",
		brief(row->limit), brief(row->ratio), brief(row->ratio_p99));
	if (row->errors)
		fprintf(out, "| ERRORS: %" PRIu64 " | %s |\n", row->errors, row->why);
}

void report_tell_row(const struct row *row, enum report_form form, FILE *out, bool first)
{
	switch (form) {
	case REPORT_TABLE: tell_table(row, out, first); break;
	case REPORT_JSON: tell_json(row, out); break;
	case REPORT_CSV: tell_csv(row, out); break;
	case REPORT_MARKDOWN: tell_markdown(row, out, first); break;
	}
}

void report_tell_header(const struct report_header *h, enum report_form form, FILE *out)
{
	const struct {
		const char *name, *value;
	} lines[] = {
		{ "machine", h->machine },
		{ "kernel", h->kernel },
		{ "clock", h->clock },
		{ "pinning", h->pinning },
		{ "loop", h->loop },
		{ "agents", h->agents },
	};

	if (form == REPORT_JSON) {
		fputs("{\"paxbench\":", out);
		json_text(out, h->version);
		for (size_t i = 0; i < ARRAY_LEN(lines); i++)
			json_member(out, lines[i].name, lines[i].value);
		fprintf(out, ",\"rounds\":%u,\"histogram_error\":%.4f}\n", ROUNDS, HISTOGRAM_ERROR);
		return;
	}
	const char *mark = form == REPORT_CSV ? "# " : form == REPORT_MARKDOWN ? "- "
									       : "";
	fprintf(out, "%spaxbench %s, median of %u rounds, quantiles within %.1f %%\n", mark, h->version, ROUNDS, 100 * HISTOGRAM_ERROR);
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		fprintf(out, "%s%-8s %.69s\n", mark, lines[i].name, lines[i].value);
	if (form == REPORT_CSV)
		fputs("bench,metric,unit,p50,p90,p99,p999,max,n,limit_name,limit,ratio,ratio_p99,errors,error\n", out);
}

/* ---- a folder ---- */

int report_folder(const char *dir)
{
	struct stat st;
	int rc = 0;

	if (mkdir(dir, 0777) < 0 && errno != EEXIST)
		rc = -errno;
	else if (stat(dir, &st) < 0)
		rc = -errno;
	else if (!S_ISDIR(st.st_mode))
		rc = -ENOTDIR;
	else if (access(dir, W_OK | X_OK) < 0)
		rc = -errno;
	if (rc < 0)
		fprintf(stderr, "paxbench: cannot write into %s: %s\n", dir, strerror(-rc));
	return rc;
}

static int save_as(const struct report *r, const char *dir, const char *name, enum report_form form)
{
	char *path;
	int rc = 0;

	if (asprintf(&path, "%s/%s", dir, name) < 0)
		return -ENOMEM;
	FILE *file = fopen(path, "we");
	if (file) {
		report_tell_header(&r->header, form, file);
		for (unsigned i = 0; i < r->n; i++)
			report_tell_row(&r->rows[i], form, file, i == 0 || strcmp(r->rows[i].bench, r->rows[i - 1].bench) != 0);
	}
	if (!file || fclose(file))
		rc = -errno;
	if (rc < 0)
		fprintf(stderr, "paxbench: cannot write %s: %s\n", path, strerror(-rc));
	free(path);
	return rc;
}

int report_save(const struct report *r, const char *dir)
{
	int rc = save_as(r, dir, "paxbench.md", REPORT_MARKDOWN);

	if (rc == 0)
		rc = save_as(r, dir, "paxbench.json", REPORT_JSON);
	return rc == 0 ? save_as(r, dir, "paxbench.csv", REPORT_CSV) : rc;
}
