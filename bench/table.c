/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table: a table is filled with a million locks, all held: bytes of shared memory and of the agent's own for each, and
 * how long each took. Then all are released; their host keeps their delegations, so the table stays full. And it is filled with a
 * million others: for each the host must give back one that nobody uses.
 *
 * Bytes of the segment of tables, divided by the locks that it has room for, less the key's room in each row: of a host that
 * can own all of them ("owned": with the terms of a gate and a claim's row for each), and of one that can own next to none.
 * The cells for long keys are counted in. What the segment of gates takes at the first stands in a row of its own.
 *
 * The limits: 256 bytes beside the key; a futex ping-pong, one trip to another process and back.
 */
#include <math.h>
#include <stdio.h>

#include "case.h"
#include "fill.h"
#include "limit.h"
#include "member.h"
#include "progress.h"
#include "sync.h"

#define BYTES_BESIDE_KEY 256.0
#define KEY_ROOM 64.0 /* in a row: paxshmd.conf(5) */

/* Resident bytes of a process, without what it only mapped. 0: not known. */
static double resident(pid_t pid)
{
	char path[48], line[128];
	double kb = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "VmRSS: %lf", &kb) == 1)
			break;
	if (file)
		fclose(file);
	return kb * 1024;
}

static void report_fill(struct bench *b, const struct series *futex, const char *what, uint64_t ns, unsigned keys)
{
	char metric[40];
	double limit = series_quantile(futex, 0, 0.5) / 1e6;

	snprintf(metric, sizeof(metric), "%s, each", what);
	report_value(&b->report, "table", metric, "us", (double)ns / 1e3 / keys, keys, "futex ping-pong", limit);
	report_value(&b->report, "table", what, "s", (double)ns / 1e9, 1, NULL, NAN);
}

static void report_table(struct bench *b, const char *what)
{
	double bytes = member_bytes_a_lock(b->cluster.socket[0], MEMBER_TABLES);

	if (bytes > 0)
		report_value(&b->report, "table", what, "B", bytes - KEY_ROOM, b->keys, "256 bytes", BYTES_BESIDE_KEY);
}

static void fill_anew(struct bench *b, const struct series *futex)
{
	struct fill fill;

	progress("table", "acquiring as many others");
	if (fill_start(&fill, &b->cluster, b->keys, 2 * b->keys, 1) == 0)
		report_fill(b, futex, "fill anew", fill.took_ns, b->keys);
	else
		report_failure(&b->report, "table", "fill anew", "s", fill.why);
	fill_end(&fill);
}

static void fill_twice(struct bench *b, const struct series *futex, const struct paxshm_status *st)
{
	struct fill fill;
	double before = resident((pid_t)st->agent_pid);

	progress("table", "acquiring a lot of locks");
	if (fill_start(&fill, &b->cluster, 0, b->keys, 1) < 0) {
		report_failure(&b->report, "table", "fill", "s", fill.why);
		fill_end(&fill);
		return;
	}
	report_fill(b, futex, "fill", fill.took_ns, b->keys);
	double arena = member_bytes_a_lock(b->cluster.socket[0], MEMBER_ARENA), after = resident((pid_t)st->agent_pid);
	if (arena > 0)
		report_value(&b->report, "table", "gates, each", "B", arena, b->keys, NULL, NAN);
	if (before > 0 && after > before)
		report_value(&b->report, "table", "agent grew, each", "B", (after - before) / b->keys, b->keys, NULL, NAN);
	fill_end(&fill);
	fill_anew(b, futex);
}

static int run(struct bench *b)
{
	struct paxshm_status st;
	char why[WORKER_WHY];
	int rc = b->voters ? bench_need_table(b, b->keys, 0) : 0;

	if (rc == 0 && b->voters)
		report_table(b, "beside key, elsewhere");
	if (rc == 0)
		rc = bench_need_table(b, b->keys, b->keys);
	if (rc < 0)
		return rc;
	if (!bench_status(b, &st))
		return -ECONNREFUSED;
	if (b->keys > st.locks_max) {
		snprintf(why, sizeof(why), "the table is too small: it has room for %u locks, and %u are needed", st.locks_max, b->keys);
		report_failure(&b->report, "table", "fill", "s", why);
		return 0;
	}
	report_table(b, b->voters ? "beside key, owned" : "beside key, as found");
	struct crew_plan plan = limit_futex(PLACE_AS_SAID);
	struct series *futex = series_new(&plan);
	series_measure(&futex, 1, 0.5, "table");
	fill_twice(b, futex, &st);
	series_free(futex);
	return 0;
}

const struct bench_case case_table = {
	.name = "table", .what = "a million locks are held, then as many others: bytes and time for each", .limit = "256 bytes beside the key; futex ping-pong", .run = run
};
