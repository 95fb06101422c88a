/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lookup: who owns a lock, read from this host's shared memory, among 1, a thousand and a million
 * locks: the same key again and again (hot), or any (random). A value covers a batch of lookups in a
 * row, since reading the clock costs as much as one.
 *
 * The limit: two dependent loads from a table of the size that so many locks take: where the row is,
 * and the row. And no system call, which is counted.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "calls.h"
#include "case.h"
#include "fill.h"
#include "limit.h"
#include "member.h"
#include "progress.h"
#include "sync.h"

#define COUNTED 1000u /* lookups whose system calls are counted */

struct lookup_with {
	const struct bench_cluster *cluster;
	unsigned keys;
	bool random;
};

static void lookup_begin(struct worker *w, const void *with)
{
	const struct lookup_with *l = with;

	w->own = member_open(w, l->cluster, 0);
	w->state[0] = 1; /* seed */
}

static bool look_batch(struct worker *w, paxshm_session *s, char keys[][FILL_KEY])
{
	struct paxshm_who who = PAXSHM_INIT(who);
	size_t len = strlen(keys[0]);
	int rc = 0;

	uint64_t start = now_ns();
	for (unsigned i = 0; i < LIMIT_BATCH && rc == 0; i++)
		rc = paxshm_holder(s, keys[i], len, 0, &who);
	uint64_t end = now_ns();
	if (rc < 0) {
		worker_fail(w, "holder: %s", paxshm_strerror(rc));
		return false;
	}
	limit_saw_batch(w, end - start, LIMIT_BATCH);
	return true;
}

static void lookup_turn(struct worker *w, const void *with)
{
	const struct lookup_with *l = with;
	paxshm_session *s = member_find(w->own, PART_ANY);
	char keys[LIMIT_BATCH][FILL_KEY];
	bool ok = s;

	while (ok && worker_goes_on(w)) {
		for (unsigned i = 0; i < LIMIT_BATCH; i++)
			fill_key(keys[i], l->random ? (unsigned)(random_next(&w->state[0]) % l->keys) : 0);
		ok = look_batch(w, s, keys);
	}
	member_look(w->own, w);
}

static void lookup_end(struct worker *w, const void *with)
{
	(void)with;
	member_close(w->own);
}

static void measure(struct bench *b, unsigned keys, bool random, double bytes_a_lock, const char *name)
{
	struct lookup_with with = { .cluster = &b->cluster, .keys = keys, .random = random };
	size_t bytes = random ? (size_t)(bytes_a_lock * keys) : 0;
	struct crew_plan loads = limit_loads(&bytes);
	struct crew_plan plan = { .name = name, .n = 1, .begin = lookup_begin, .turn = lookup_turn, .end = lookup_end, .with = &with };
	struct series *all[2] = { series_new(&loads), series_new(&plan) };

	series_measure(all, 2, b->seconds, "lookup");
	struct beside beside = { .name = "2 dependent loads", .part = { all[0] } };
	report_latency(&b->report, "lookup", name, "ns", all[1], &beside);
	series_free(all[0]);
	series_free(all[1]);
}

/* ---- system calls ---- */

static void *open_for_count(const void *with)
{
	const struct bench *b = with;
	struct paxshm_options options = PAXSHM_INIT(options);
	struct paxshm_who who = PAXSHM_INIT(who);
	paxshm_session *s;

	options.socket = b->cluster.socket[0];
	return paxshm_open(&s, &options) == 0 && paxshm_holder(s, "bench/00000000", 14, 0, &who) == 0 ? s : NULL;
}

static void look_for_count(void *session)
{
	struct paxshm_who who = PAXSHM_INIT(who);

	for (unsigned i = 0; i < COUNTED; i++)
		(void)paxshm_holder(session, "bench/00000000", 14, 0, &who);
}

static void count_calls(struct bench *b)
{
	long calls = calls_count(open_for_count, look_for_count, b);

	if (calls == -EPERM)
		fprintf(stderr, "paxbench: lookup: this process may not trace another: its system calls are not counted\n");
	else if (calls < 0)
		report_failure(&b->report, "lookup", "system calls", "calls", "the process that was counted did not get through");
	else
		report_value(&b->report, "lookup", "system calls", "calls", (double)calls, COUNTED, NULL, NAN);
}

/* ---- the case ---- */

static bool hold(struct bench *b, struct fill *f, unsigned from, unsigned to, const char *name)
{
	progress("lookup", "acquiring the locks to look for");
	if (from >= to || fill_start(f, &b->cluster, from, to, 1) == 0)
		return true;
	report_failure(&b->report, "lookup", name, "ns", f->why);
	return false;
}

/* How many keys there is room for is known before the first is held. */
static bool room(struct bench *b, unsigned keys, const char *name)
{
	struct paxshm_status st;
	char why[WORKER_WHY];

	if (!bench_status(b, &st))
		return false;
	if (keys <= st.locks_max)
		return true;
	snprintf(why, sizeof(why), "the table is too small: it has room for %u locks, and %u are needed", st.locks_max, keys);
	report_failure(&b->report, "lookup", name, "ns", why);
	return false;
}

static int run(struct bench *b)
{
	struct fill fills[3] = { { .from = 0 } };
	unsigned thousand = MIN(1000u, b->keys), held = 0;
	char name[2][40];
	int rc = bench_need_table(b, b->keys, b->keys);
	double bytes = rc < 0 ? 0 : member_bytes_a_lock(b->cluster.socket[0], MEMBER_TABLES);

	if (rc < 0)
		return rc;
	if (hold(b, &fills[0], 0, 1, "1 key")) {
		count_calls(b);
		measure(b, 1, false, bytes, "1 key");
		held = 1;
	}
	for (unsigned i = 1, keys = thousand; held && i < 3; i++, keys = b->keys) {
		if (keys <= held)
			break;
		snprintf(name[0], sizeof(name[0]), "%u keys, hot", keys);
		snprintf(name[1], sizeof(name[1]), "%u keys, random", keys);
		if (!room(b, keys, name[1]) || !hold(b, &fills[i], held, keys, name[1]))
			break;
		held = keys;
		measure(b, keys, false, bytes, name[0]);
		measure(b, keys, true, bytes, name[1]);
	}
	for (unsigned i = 0; i < 3; i++)
		fill_end(&fills[i]);
	return 0;
}

const struct bench_case case_lookup = {
	.name = "lookup", .what = "who owns a lock, among 1, 1000 and 1000000: one key, any key", .limit = "two dependent random loads", .run = run
};
