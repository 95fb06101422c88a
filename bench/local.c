/* SPDX-License-Identifier: Apache-2.0 */
/*
 * local: one process acquires and releases the same lock, which nobody else wants, over and over, on
 * the leader's host. A value covers a batch of pairs in a row, as that of its limit does.
 *
 * The limit: what a lock between the processes of one host costs with glibc alone, a robust mutex.
 * Beside it once more: one trip to another process and back, the least that a pair costs for which
 * the agent is asked.
 */
#include "case.h"
#include "limit.h"
#include "member.h"
#include "sync.h"

struct local {
	struct member *member;
	paxshm_lock_handle *lock;
};

static void local_begin(struct worker *w, const void *with)
{
	struct local *l = calloc(1, sizeof(*l));

	if (!l)
		return;
	l->member = member_open(w, with, -1);
	paxshm_session *s = member_find(l->member, PART_LEADER);
	if (s)
		member_ref(w, s, "local/one", &l->lock);
	else if (l->member)
		worker_fail(w, "no host leads now");
	w->own = l;
}

static void local_turn(struct worker *w, const void *with)
{
	struct local *l = w->own;
	bool ok = l && l->lock;

	(void)with;
	while (ok && worker_goes_on(w)) {
		uint64_t start = now_ns();
		for (unsigned i = 0; ok && i < LIMIT_BATCH; i++)
			ok = member_acquire(w, l->lock) && member_release(w, l->lock);
		if (ok) {
			histogram_add(&w->seen, (now_ns() - start) * PS_PER_NS / LIMIT_BATCH);
			w->done += LIMIT_BATCH;
		}
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

static int run(struct bench *b)
{
	int rc = bench_need(b, 0, "");

	if (rc < 0)
		return rc;
	struct crew_plan mutex = limit_mutex(), futex = limit_futex(PLACE_AS_SAID);
	struct crew_plan plan = { .name = "pair", .n = 1, .begin = local_begin, .turn = local_turn, .end = local_end, .with = &b->cluster };
	struct series *all[] = { series_new(&mutex), series_new(&futex), series_new(&plan) };

	series_measure(all, 3, b->seconds, "local");
	struct beside by_mutex = { .name = "robust mutex pair", .part = { all[0] } };
	struct beside by_futex = { .name = "futex ping-pong", .part = { all[1] } };
	report_latency(&b->report, "local", "pair", "ns", all[2], &by_mutex);
	report_latency(&b->report, "local", "pair, by agent", "ns", all[2], &by_futex);
	for (unsigned i = 0; i < 3; i++)
		series_free(all[i]);
	return 0;
}

const struct bench_case case_local = {
	.name = "local", .what = "one process acquires and releases a lock nobody else wants", .limit = "a robust, process-shared pthread mutex; futex ping-pong", .run = run
};
