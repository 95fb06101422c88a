/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../bench/report.h"
#include "../../lib/base.h"

static char *text;
static size_t text_len;

static struct row example(void)
{
	return (struct row){
		.bench = "quorum", .metric = "voter", .unit = "us", .p50 = 21.5, .p90 = 30, .p99 = 412.123456, .p999 = 7801, .max = 1234567, .n = 11300, .limit_name = "tcp, \"futex\"", .limit = 7.07, .limit_p99 = 8.4, .ratio = 3.04, .ratio_p99 = 49.1
	};
}

/* What a row looks like. */
static const char *told(const struct row *row, enum report_form form)
{
	FILE *out = open_memstream(&text, &text_len);

	report_tell_row(row, form, out, true);
	fclose(out);
	return text;
}

static void no_line_is_wider_than_80(const char *lines)
{
	for (const char *line = lines; *line;) {
		size_t n = strcspn(line, "\n");
		cr_assert(n <= 80, "%zu columns: %.*s", n, (int)n, line);
		line += n + (line[n] == '\n');
	}
}

/* ---- rows ---- */

Test(report, a_row_of_json_is_an_object_on_one_line_with_exactly_the_named_fields)
{
	static const char *const names[] = { "bench", "metric", "unit", "p50", "p90", "p99", "p999", "max", "n", "limit_name", "limit", "ratio", "ratio_p99" };
	struct row row = example();
	const char *line = told(&row, REPORT_JSON);
	json_error_t error;

	cr_assert_eq(strchr(line, '\n'), line + strlen(line) - 1);
	json_t *object = json_loads(line, 0, &error);
	cr_assert(object, "%s", error.text);
	cr_assert_eq(json_object_size(object), ARRAY_LEN(names));
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		cr_assert(json_object_get(object, names[i]), "%s", names[i]);
	cr_assert_float_eq(json_number_value(json_object_get(object, "p50")), 21.5, 1e-9);
	cr_assert_eq(json_integer_value(json_object_get(object, "n")), 11300);
	cr_assert_str_eq(json_string_value(json_object_get(object, "limit_name")), "tcp, \"futex\"");
}

Test(report, what_is_not_there_is_null_in_json_and_empty_in_csv)
{
	struct row row = example();

	row.p90 = row.limit = NAN;
	row.ratio = INFINITY;
	row.limit_name[0] = '\0';
	json_t *object = json_loads(told(&row, REPORT_JSON), 0, NULL);
	cr_assert(json_is_null(json_object_get(object, "p90")));
	cr_assert(json_is_null(json_object_get(object, "limit")));
	cr_assert(json_is_null(json_object_get(object, "ratio")));
	cr_assert(json_is_null(json_object_get(object, "limit_name")));
	cr_assert(strstr(told(&row, REPORT_CSV), "21.5,,412.123"));
}

Test(report, a_row_with_errors_says_so_in_every_form)
{
	struct row row = example();

	row.errors = 17;
	strcpy(row.why, "acquire: no agent");
	json_t *object = json_loads(told(&row, REPORT_JSON), 0, NULL);
	cr_assert_eq(json_integer_value(json_object_get(object, "errors")), 17);
	cr_assert_str_eq(json_string_value(json_object_get(object, "error")), "acquire: no agent");
	cr_assert(strstr(told(&row, REPORT_CSV), ",17,acquire: no agent\n"));
	cr_assert(strstr(told(&row, REPORT_TABLE), "ERRORS 17: acquire: no agent"));
	cr_assert(strstr(told(&row, REPORT_MARKDOWN), "ERRORS: 17"));
}

Test(report, csv_quotes_what_would_break_a_line)
{
	struct row row = example();

	cr_assert(strstr(told(&row, REPORT_CSV), ",\"tcp, \"\"futex\"\"\","));
}

Test(report, csv_has_as_many_fields_as_its_heading)
{
	struct report_header h = { .version = "1" };
	FILE *out = open_memstream(&text, &text_len);
	struct row row = example();
	unsigned commas[2] = { 0 };

	strcpy(row.limit_name, "plain");
	report_tell_header(&h, REPORT_CSV, out);
	fclose(out);
	for (const char *c = strstr(text, "\nbench,") + 1; *c; c++)
		commas[0] += *c == ',';
	for (const char *c = told(&row, REPORT_CSV); *c; c++)
		commas[1] += *c == ',';
	cr_assert_eq(commas[0], commas[1]);
}

Test(report, the_table_fits_into_80_columns_whatever_the_numbers)
{
	struct row row = example();
	static const double sizes[] = { 0, 0.012345, 9.999, 99.95, 999.96, 9999.4, 12345.6, 99999, 123456.7, 9.9e6, 1.2345e8, 9.99e11 };

	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		row.p50 = row.p90 = row.p99 = row.p999 = row.max = row.limit = row.ratio = row.ratio_p99 = row.limit_p99 = sizes[i];
		row.n = (uint64_t)sizes[i];
		strcpy(row.metric, "1000000 keys, random");
		no_line_is_wider_than_80(told(&row, REPORT_TABLE));
	}
}

Test(report, the_header_names_machine_kernel_clock_pinning_loop_and_agents_in_every_form)
{
	struct report_header h = { .version = "1", .pinning = "PINNED", .loop = "OPEN", .agents = "URING" };

	report_header_machine(&h);
	cr_assert(h.machine[0] && h.kernel[0] && h.clock[0]);
	for (enum report_form form = REPORT_TABLE; form <= REPORT_MARKDOWN; form++) {
		FILE *out = open_memstream(&text, &text_len);
		report_tell_header(&h, form, out);
		fclose(out);
		cr_assert(strstr(text, h.kernel) && strstr(text, h.clock) && strstr(text, "PINNED") && strstr(text, "OPEN") && strstr(text, "URING"));
		cr_assert(strstr(text, "machine"));
		if (form == REPORT_TABLE)
			no_line_is_wider_than_80(text);
	}
}

/* ---- from rounds to rows ---- */

static struct series *series_of(uint64_t ps, unsigned n)
{
	struct series *s = calloc(1, sizeof(*s));

	for (unsigned r = 0; r < ROUNDS; r++) {
		for (unsigned i = 0; i < n; i++)
			histogram_add(&s->round[r].seen, ps * (r + 1));
		s->round[r].done = n * (r + 1);
		s->round[r].ns = NS_PER_S;
	}
	return s;
}

static struct report quiet(void)
{
	return (struct report){ .form = REPORT_JSON, .out = fopen("/dev/null", "w") };
}

Test(report, a_figure_is_the_median_of_its_rounds_and_n_counts_all)
{
	struct report r = quiet();

	report_latency(&r, "b", "m", "us", series_of(10000000, 100), NULL);
	cr_assert_float_eq(r.rows[0].p50, 30, 30 * HISTOGRAM_ERROR);
	cr_assert_float_eq(r.rows[0].max, 50, 1e-9);
	cr_assert_eq(r.rows[0].n, 500);
	cr_assert(isnan(r.rows[0].ratio));
}

Test(report, a_ratio_is_the_median_of_the_ratios_of_the_rounds)
{
	struct report r = quiet();
	struct series *s = series_of(10000000, 100), *limit = series_of(5000000, 100);

	/* In two rounds the limit was disturbed; the ratio is that of the three others. */
	histogram_clear(&limit->round[0].seen);
	histogram_add(&limit->round[0].seen, 900000000000);
	histogram_clear(&limit->round[4].seen);
	histogram_add(&limit->round[4].seen, 1);
	struct beside beside = { .name = "limit", .part = { limit } };
	report_latency(&r, "b", "m", "us", s, &beside);
	cr_assert_float_eq(r.rows[0].ratio, 2, 4 * HISTOGRAM_ERROR);
}

Test(report, a_limit_of_parts_is_their_weighted_sum)
{
	struct report r = quiet();
	struct beside beside = { .name = "a/2 + b", .part = { series_of(4000000, 10), series_of(1000000, 10) }, .weight = { 0.5, 1 } };

	report_latency(&r, "b", "m", "us", series_of(30000000, 10), &beside);
	cr_assert_float_eq(r.rows[0].limit, 9, 9 * HISTOGRAM_ERROR);
	cr_assert_float_eq(r.rows[0].ratio, 10, 40 * HISTOGRAM_ERROR);
}

Test(report, a_rate_is_what_was_done_by_the_time_it_took)
{
	struct report r = quiet();
	struct beside beside = { .name = "limit", .part = { series_of(1, 400) } };

	report_rate(&r, "b", "m", series_of(1, 100), &beside);
	cr_assert_float_eq(r.rows[0].p50, 300, 1e-9);
	cr_assert_float_eq(r.rows[0].max, 500, 1e-9);
	cr_assert_float_eq(r.rows[0].ratio, 0.25, 1e-9);
}

Test(report, errors_of_the_limit_are_errors_of_the_row)
{
	struct report r = quiet();
	struct series *limit = series_of(1, 1);
	struct beside beside = { .name = "limit", .part = { limit } };

	limit->errors = 3;
	strcpy(limit->why, "gone");
	report_latency(&r, "b", "m", "us", series_of(1, 1), &beside);
	cr_assert_eq(r.rows[0].errors, 3);
	cr_assert_str_eq(r.rows[0].why, "gone");
	cr_assert_eq(r.errors, 3);
}

Test(report, a_series_that_saw_nothing_has_no_figures)
{
	struct report r = quiet();

	report_latency(&r, "b", "m", "us", calloc(1, sizeof(struct series)), NULL);
	cr_assert(isnan(r.rows[0].p50));
	cr_assert_eq(r.rows[0].n, 0);
}

/* ---- folders ---- */

Test(report, saves_every_form_into_a_folder_that_it_makes)
{
	char dir[] = "/tmp/report-XXXXXX", path[64], name[96];
	struct report r = quiet();
	struct row row = example();

	cr_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/new", dir);
	report_add(&r, &row);
	cr_assert_eq(report_folder(path), 0);
	cr_assert_eq(report_save(&r, path), 0);
	for (const char *const *end = (const char *const[]){ "md", "json", "csv", NULL }; *end; end++) {
		struct stat st;
		snprintf(name, sizeof(name), "%s/paxbench.%s", path, *end);
		cr_assert_eq(stat(name, &st), 0);
		cr_assert_gt(st.st_size, 100);
		unlink(name);
	}
	rmdir(path);
	rmdir(dir);
}

Test(report, a_folder_that_cannot_be_written_is_refused)
{
	cr_assert_eq(report_folder("/proc/paxbench"), -ENOENT);
	cr_assert_eq(report_folder("/dev/null"), -ENOTDIR);
}
