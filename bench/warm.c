/* SPDX-License-Identifier: Apache-2.0 */
/*
 * warm: what a pair of acquire and release costs a process that refers to a thousand locks, and to a million, all of which
 * its host has and nobody else wants: the same lock again and again (hot), and any of them (random). And how many
 * instructions such a pair takes: the difference is what the number of locks costs by itself. In time a random pair among
 * a million also pays for memory that is in no cache.
 *
 * The limits: the robust mutex for a thousand; a thousand for a million.
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

#define STEPPED 32u /* pairs whose instructions are counted */
#define STEPS_MAX 200000l

struct warm_with {
	const struct bench_cluster *cluster;
	unsigned keys;
	bool random;
};

struct warm {
	struct member *member;
	uint64_t seed;
	unsigned n;
	paxshm_lock_handle *lock[];
};

static bool once(struct worker *w, paxshm_lock_handle *lock, const struct paxshm_acquire *how)
{
	return member_acquire_as(w, lock, how) && member_release(w, lock);
}

/* Refers to all of them, and has had each once. */
static void warm_begin(struct worker *w, const void *with)
{
	const struct warm_with *c = with;
	struct warm *own = calloc(1, sizeof(*own) + c->keys * sizeof(own->lock[0]));
	char key[FILL_KEY];

	w->own = own;
	if (!own) {
		worker_fail(w, "no memory");
		return;
	}
	own->seed = 1;
	own->member = member_open(w, c->cluster, 0);
	paxshm_session *s = member_find(own->member, PART_ANY);
	for (unsigned i = 0; s && i < c->keys; i++) {
		struct paxshm_acquire how = member_wish();
		fill_key(key, i);
		if (member_ref(w, s, key, &own->lock[i]) < 0 || !once(w, own->lock[i], &how))
			return;
		own->n++;
	}
}

static void warm_turn(struct worker *w, const void *with)
{
	const struct warm_with *c = with;
	struct warm *own = w->own;
	bool ok = own && own->n == c->keys;

	while (ok && worker_goes_on(w)) {
		paxshm_lock_handle *batch[LIMIT_PAIRS];
		struct paxshm_acquire how = member_wish();

		for (unsigned i = 0; i < LIMIT_PAIRS; i++)
			batch[i] = own->lock[c->random ? random_next(&own->seed) % c->keys : 0];
		uint64_t start = now_ns();
		for (unsigned i = 0; ok && i < LIMIT_PAIRS; i++)
			ok = once(w, batch[i], &how);
		if (ok)
			limit_saw_batch(w, now_ns() - start, LIMIT_PAIRS);
	}
	if (own)
		member_look(own->member, w);
}

static void warm_end(struct worker *w, const void *with)
{
	struct warm *own = w->own;

	(void)with;
	if (own)
		member_close(own->member);
}

static struct series *warm_series(const struct warm_with *with, const char *name)
{
	struct crew_plan plan = { .name = name, .n = 1, .begin = warm_begin, .turn = warm_turn, .end = warm_end, .with = with };

	return series_new(&plan);
}

/* ---- instructions ---- */

static void *step_begin(const void *with)
{
	static struct worker w;

	warm_begin(&w, with);
	if (w.errors)
		fprintf(stderr, "paxbench: warm: %s\n", w.why);
	return w.errors ? NULL : w.own;
}

static void step_pairs(void *prepared)
{
	struct warm *own = prepared;

	for (unsigned i = 0; i < STEPPED; i++) {
		paxshm_lock_handle *lock = own->lock[(uint64_t)i * own->n / STEPPED];
		if (paxshm_lock_acquire(lock, NULL, NULL) < 0 || paxshm_lock_release(lock) < 0)
			_exit(1);
	}
}

/* NAN: not counted, said. */
static double instructions(struct bench *b, unsigned keys, const char *metric)
{
	struct warm_with with = { .cluster = &b->cluster, .keys = keys };
	long n;

	progress("warm", "counting instructions");
	n = calls_steps(step_begin, step_pairs, &with, STEPS_MAX);
	if (n == -EPERM)
		fprintf(stderr, "paxbench: warm: this process may not trace another: its instructions are not counted\n");
	else if (n == -ETIMEDOUT)
		report_failure(&b->report, "warm", metric, "instr.", "pairs took too many instructions: they were not warm");
	else if (n < 0)
		report_failure(&b->report, "warm", metric, "instr.", "the process that was counted did not get through");
	return n < 0 ? NAN : (double)n / STEPPED;
}

static void count_instructions(struct bench *b, unsigned few, unsigned many)
{
	char metric[2][40];

	snprintf(metric[0], sizeof(metric[0]), "%u locks, a pair", few);
	snprintf(metric[1], sizeof(metric[1]), "%u locks, a pair", many);
	double less = instructions(b, few, metric[0]);
	if (!isnan(less))
		report_value(&b->report, "warm", metric[0], "instr.", less, STEPPED, NULL, NAN);
	double more = isnan(less) || many == few ? NAN : instructions(b, many, metric[1]);
	if (!isnan(more))
		report_value(&b->report, "warm", metric[1], "instr.", more, STEPPED, "fewer locks", less);
}

/* ---- the case ---- */

static void report_one(struct bench *b, const struct series *s, unsigned keys, const char *how, const struct beside *beside)
{
	char metric[40];

	snprintf(metric, sizeof(metric), "%u locks, %s", keys, how);
	report_latency(&b->report, "warm", metric, "ns", s, beside);
}

static void measure(struct bench *b, unsigned few, unsigned many)
{
	struct warm_with with[] = {
		{ .cluster = &b->cluster, .keys = few },
		{ .cluster = &b->cluster, .keys = few, .random = true },
		{ .cluster = &b->cluster, .keys = many },
		{ .cluster = &b->cluster, .keys = many, .random = true },
	};
	struct crew_plan plan = limit_mutex();
	struct series *all[5] = { series_new(&plan) };
	unsigned n = many > few ? 4 : 2;

	for (unsigned i = 0; i < n; i++) {
		progress("warm", "referring to locks");
		all[1 + i] = warm_series(&with[i], i < 2 ? "fewer locks" : "locks");
	}
	series_measure(all, 1 + n, b->seconds, "warm");
	struct beside mutex = { .name = "robust mutex pair", .part = { all[0] } };
	struct beside hot = { .name = "fewer locks, hot", .part = { all[1] } };
	struct beside random = { .name = "fewer locks, random", .part = { all[2] } };
	report_one(b, all[1], few, "hot", &mutex);
	report_one(b, all[2], few, "random", &mutex);
	if (n == 4) {
		report_one(b, all[3], many, "hot", &hot);
		report_one(b, all[4], many, "random", &random);
	}
	for (unsigned i = 0; i < 1 + n; i++)
		series_free(all[i]);
}

static int run(struct bench *b)
{
	unsigned few = MIN(1000u, b->keys);
	struct paxshm_status st;
	struct fill fill;
	/* Room for more: in a table of which less than an eighth is free the host gives back what is not in use just now. */
	int rc = bench_need_table(b, b->keys + b->keys / 4, b->keys + b->keys / 4);

	if (rc < 0)
		return rc;
	if (!bench_status(b, &st))
		return -ECONNREFUSED;
	if (b->keys > st.locks_max) {
		char why[WORKER_WHY];
		snprintf(why, sizeof(why), "the table is too small: it has room for %u locks, and %u are needed", st.locks_max, b->keys);
		report_failure(&b->report, "warm", "pair", "ns", why);
		return 0;
	}
	/* Many ask at once for what one alone would ask for one after the other. */
	progress("warm", "acquiring the locks for the first time");
	rc = fill_start(&fill, &b->cluster, 0, b->keys, 1);
	fill_end(&fill);
	if (rc < 0) {
		report_failure(&b->report, "warm", "pair", "ns", fill.why);
		return 0;
	}
	measure(b, few, b->keys);
	count_instructions(b, few, b->keys);
	return 0;
}

const struct bench_case case_warm = {
	.name = "warm", .what = "acquire and release by who refers to 1000 locks, and to 1000000", .limit = "a robust mutex; the same with 1000 locks", .run = run
};
