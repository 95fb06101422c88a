/* SPDX-License-Identifier: Apache-2.0 */
/*
 * local: one process acquires and releases the same lock, which nobody else wants, over and over, on
 * the leader's host. Its host has the delegation and keeps it, so nobody is asked: no system call is made, which is
 * counted. A value covers a batch of pairs in a row, as that of its limit does, so that neither has the clock in it. The two
 * series want the same lock, one after the other: it is free whenever one begins.
 *
 * The limit: what a lock between the processes of one host costs with glibc alone, a robust process-shared mutex.
 */
#include <math.h>
#include <stdio.h>

#include "calls.h"
#include "case.h"
#include "limit.h"
#include "member.h"
#include "sync.h"

#define COUNTED 1000u /* pairs whose system calls are counted */

struct local_with {
	const struct bench_cluster *cluster;
	bool deadline; /* each acquire has one */
};

struct local {
	struct member *member;
	paxshm_lock_handle *lock;
};

static void local_begin(struct worker *w, const void *with)
{
	const struct local_with *how = with;
	struct local *l = calloc(1, sizeof(*l));

	if (!l)
		return;
	l->member = member_open(w, how->cluster, -1);
	paxshm_session *s = member_find(l->member, PART_LEADER);
	if (s)
		member_ref(w, s, "local/one", &l->lock);
	else if (l->member)
		worker_fail(w, "no host leads now");
	w->own = l;
}

static void local_turn(struct worker *w, const void *with)
{
	const struct local_with *wanted = with;
	struct local *l = w->own;

	while (l && l->lock && worker_goes_on(w)) {
		struct paxshm_acquire wish = member_wish();
		const struct paxshm_acquire *how = wanted->deadline ? &wish : NULL;
		int wrong = 0;

		uint64_t start = now_ns();
		for (unsigned i = 0; i < LIMIT_PAIRS; i++)
			wrong |= paxshm_lock_acquire(l->lock, how, NULL) | paxshm_lock_release(l->lock);
		uint64_t end = now_ns();
		if (wrong) { /* of many answers: once more, to say which */
			if (member_acquire_as(w, l->lock, &wish) && member_release(w, l->lock))
				worker_fail(w, "an acquire or a release failed, and the next one did not");
			break;
		}
		limit_saw_batch(w, end - start, LIMIT_PAIRS);
	}
	if (l)
		member_look(l->member, w);
}

static void local_end(struct worker *w, const void *with)
{
	struct local *l = w->own;

	(void)with;
	if (l)
		member_close(l->member);
}

/* ---- system calls ---- */

/* Acquired once: what follows is warm. */
static void *open_for_count(const void *with)
{
	const struct bench *b = with;
	struct paxshm_options options = PAXSHM_INIT(options);
	struct paxshm_acquire how = member_wish();
	paxshm_lock_handle *lock;
	paxshm_session *s;

	options.socket = b->cluster.socket[0];
	if (paxshm_open(&s, &options) < 0 || paxshm_lock_ref(s, "local/count", 11, &lock) < 0)
		return NULL;
	return paxshm_lock_acquire(lock, &how, NULL) == 0 && paxshm_lock_release(lock) == 0 ? lock : NULL;
}

static void pairs_for_count(void *lock)
{
	for (unsigned i = 0; i < COUNTED; i++)
		if (paxshm_lock_acquire(lock, NULL, NULL) < 0 || paxshm_lock_release(lock) < 0)
			_exit(1); /* the count fails */
}

static void count_calls(struct bench *b)
{
	long calls = calls_count(open_for_count, pairs_for_count, b);

	if (calls == -EPERM)
		fprintf(stderr, "paxbench: local: this process may not trace another: its system calls are not counted\n");
	else if (calls < 0)
		report_failure(&b->report, "local", "system calls", "calls", "the process that was counted did not get through");
	else
		report_value(&b->report, "local", "system calls", "calls", (double)calls, COUNTED, NULL, NAN);
}

static int run(struct bench *b)
{
	int rc = bench_need(b, 0, "");

	if (rc < 0)
		return rc;
	struct crew_plan mutex = limit_mutex();
	const struct local_with with[] = { { .cluster = &b->cluster }, { .cluster = &b->cluster, .deadline = true } };
	struct crew_plan plain = { .name = "pair", .n = 1, .begin = local_begin, .turn = local_turn, .end = local_end, .with = &with[0] }, timed = plain;
	timed.name = "pair, deadline";
	timed.with = &with[1];
	struct series *all[] = { series_new(&mutex), series_new(&plain), series_new(&timed) };

	series_measure(all, ARRAY_LEN(all), b->seconds, "local");
	struct beside by_mutex = { .name = "robust mutex pair", .part = { all[0] } };
	for (unsigned i = 1; i < ARRAY_LEN(all); i++)
		report_latency(&b->report, "local", all[i]->name, "ns", all[i], &by_mutex);
	for (unsigned i = 0; i < ARRAY_LEN(all); i++)
		series_free(all[i]);
	count_calls(b);
	return 0;
}

const struct bench_case case_local = {
	.name = "local", .what = "one process acquires and releases a lock nobody else wants", .limit = "a robust, process-shared pthread mutex; no system call", .run = run
};
