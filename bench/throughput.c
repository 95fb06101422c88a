/* SPDX-License-Identifier: Apache-2.0 */
/*
 * throughput: how many times a second a crowd of processes can acquire and release. The processes are spread
 * over the voters; "one host": they all sit on the leader's.
 *
 *	distinct keys    no two acquires are of one key, so each needs the cluster's word
 *	own keys, warm   each process has one key of its own, whose delegation its host keeps: nobody is asked
 *	hot key          all want the same one
 *
 * The limit: the same processes on a cluster of one, which does all the same but agree.
 */
#include <stdio.h>

#include "case.h"
#include "limit.h"
#include "member.h"
#include "sync.h"

enum spread { SPREAD_VOTERS,
	      SPREAD_LEADER };

enum keys { KEYS_FRESH,
	    KEYS_OWN,
	    KEYS_HOT };

struct crowd {
	const struct bench_cluster *cluster;
	enum spread spread;
	enum keys keys;
};

struct seat {
	struct member *member;
	paxshm_session *session;
	paxshm_lock_handle *lock; /* unless keys are fresh */
};

/* Voters in turn; a host that only learns takes nobody. */
static int host_for(const struct crowd *crowd, unsigned index)
{
	unsigned places[BENCH_HOSTS], n = 0;
	struct paxshm_status st;

	ASSERT(crowd->cluster->n > 0);
	for (unsigned i = 0; i < crowd->cluster->n; i++)
		if (member_status(crowd->cluster->socket[i], &st) &&
		    (crowd->spread == SPREAD_LEADER ? st.leader_id == st.host_id : st.role == 1))
			places[n++] = i;
	return n ? (int)places[index % n] : (int)(index % crowd->cluster->n);
}

static void crowd_begin(struct worker *w, const void *with)
{
	const struct crowd *crowd = with;
	struct seat *seat = calloc(1, sizeof(*seat));
	char key[MEMBER_KEY];

	if (!seat)
		return;
	seat->member = member_open(w, crowd->cluster, host_for(crowd, w->index));
	seat->session = member_find(seat->member, PART_ANY);
	member_fresh_key(w, "throughput", key);
	if (crowd->keys != KEYS_FRESH && seat->session &&
	    member_ref(w, seat->session, crowd->keys == KEYS_HOT ? "throughput/hot" : key, &seat->lock) < 0)
		seat->session = NULL;
	w->own = seat;
}

static bool pair(struct worker *w, paxshm_lock_handle *lock)
{
	uint64_t start = worker_start_ns(w);

	if (!member_acquire(w, lock) || !member_release(w, lock))
		return false;
	worker_saw(w, start, now_ns());
	return true;
}

/* The same, and nobody else may be inside. A figure of a lock that excludes nobody is worth nothing. */
static bool hot_pair(struct worker *w, paxshm_lock_handle *lock)
{
	uint32_t *inside = worker_shared(w);
	uint64_t start = worker_start_ns(w);

	if (!member_acquire(w, lock))
		return false;
	uint32_t other = swap_acq_rel(inside, w->index + 1);
	if (other)
		worker_fail(w, "process %u owned the lock at the same time", other - 1);
	store_release(inside, 0u);
	if (!member_release(w, lock))
		return false;
	worker_saw(w, start, now_ns());
	return !other;
}

static bool fresh_pair(struct worker *w, paxshm_session *s)
{
	paxshm_lock_handle *lock;
	char key[MEMBER_KEY];

	member_fresh_key(w, "throughput", key);
	if (member_ref(w, s, key, &lock) < 0)
		return false;
	bool ok = pair(w, lock);
	paxshm_lock_unref(lock);
	return ok;
}

/* Reading the clock would cost more than a pair; unless each is to start at its time. */
static bool own_pairs(struct worker *w, paxshm_lock_handle *lock)
{
	struct paxshm_acquire how = member_wish();
	bool ok = true;

	if (w->interval_ns)
		return pair(w, lock);
	uint64_t start = now_ns();
	for (unsigned i = 0; ok && i < LIMIT_PAIRS; i++)
		ok = member_acquire_as(w, lock, &how) && member_release(w, lock);
	if (ok)
		limit_saw_batch(w, now_ns() - start, LIMIT_PAIRS);
	return ok;
}

static void crowd_turn(struct worker *w, const void *with)
{
	const struct crowd *crowd = with;
	struct seat *seat = w->own;
	bool ok = true;

	while (ok && seat && seat->session && worker_goes_on(w))
		switch (crowd->keys) {
		case KEYS_FRESH: ok = fresh_pair(w, seat->session); break;
		case KEYS_OWN: ok = own_pairs(w, seat->lock); break;
		case KEYS_HOT: ok = hot_pair(w, seat->lock); break;
		}
	if (seat)
		member_look(seat->member, w);
}

static void crowd_end(struct worker *w, const void *with)
{
	struct seat *seat = w->own;

	(void)with;
	if (seat)
		member_close(seat->member);
}

static struct series *crowd_series(const struct bench *b, const struct crowd *crowd, const char *name)
{
	struct crew_plan plan = {
		.name = name, .n = b->processes, .begin = crowd_begin, .turn = crowd_turn, .end = crowd_end, .with = crowd, .shared_bytes = sizeof(uint32_t), .rate = b->rate
	};
	return series_new(&plan);
}

/* One crowd on the cluster, and its twin on a cluster of one. */
static void measure(struct bench *b, const struct bench_cluster *one, const char *name, enum spread spread, enum keys keys)
{
	struct crowd ours = { .cluster = &b->cluster, .spread = spread, .keys = keys };
	struct crowd theirs = { .cluster = one, .keys = keys };
	struct series *all[2] = { crowd_series(b, &ours, name), NULL };
	char metric[40];

	if (one->n)
		all[1] = crowd_series(b, &theirs, "cluster of one");
	series_measure(all, all[1] ? 2 : 1, b->seconds, "throughput");
	struct beside beside = { .name = "cluster of one", .part = { all[1] } };
	report_rate(&b->report, "throughput", name, all[0], &beside);
	snprintf(metric, sizeof(metric), "%s, pair", name);
	report_latency(&b->report, "throughput", metric, keys == KEYS_OWN ? "ns" : "us", all[0], &beside);
	series_free(all[0]);
	series_free(all[1]);
}

static int run(struct bench *b)
{
	struct bench_cluster one = { .hold = -1 };
	int rc = bench_need(b, 0, "");

	if (rc < 0)
		return rc;
	if (bench_cluster_start(&one, 1, 0, "", false) < 0)
		fprintf(stderr, "paxbench: throughput: its limit is left out: paxcluster is not there\n");
	measure(b, &one, "distinct keys", SPREAD_VOTERS, KEYS_FRESH);
	if (b->voters)
		measure(b, &one, "one host", SPREAD_LEADER, KEYS_FRESH);
	measure(b, &one, "own keys, warm", SPREAD_VOTERS, KEYS_OWN);
	measure(b, &one, "hot key", SPREAD_VOTERS, KEYS_HOT);
	if (b->voters)
		measure(b, &one, "hot key, one host", SPREAD_LEADER, KEYS_HOT);
	bench_cluster_stop(&one);
	return 0;
}

const struct bench_case case_throughput = {
	.name = "throughput", .what = "many processes acquire and release: distinct keys, own keys, one hot key", .limit = "the same processes on a cluster of one", .run = run
};
