/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catchup: what a host that is behind costs the others. An observer loses its memory (its agent is killed
 * until the keeper gives up on what it remembers), and is sent a copy of the tables, which hold as many locks as
 * was said. Meanwhile a program at the leader's host acquires locks as in quorum; the limit is the
 * same program while nobody is behind.
 *
 * Nobody here keeps a session with the observer: its next life waits for the end of all of this one's.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "case.h"
#include "fill.h"
#include "progress.h"
#include "quorum.h"
#include "sync.h"

#define TURN_NS (100 * NS_PER_MS)
#define PATIENCE_NS (60 * NS_PER_S)
#define DEATHS 5u /* so soon after each other, and the keeper begins a new life */
#define NEAR 256u /* slots behind the leader: a moment's work */

struct race {
	const struct bench_cluster *cluster;
	unsigned leader, behind; /* hosts */
	struct series *quiet, *busy, *copies;
};

static void fail(struct series *s, const char *why)
{
	if (s->errors++ == 0)
		snprintf(s->why, sizeof(s->why), "%s", why);
}

static bool turn(struct series *s, struct round *round)
{
	uint64_t took;

	if (s->errors || crew_turn(&s->crew, TURN_NS, &took) < 0 || crew_errors(&s->crew, s->why)) {
		fail(s, "a worker process died or hung");
		return false;
	}
	histogram_merge(&round->seen, &crew_worker(&s->crew, 0)->seen);
	round->done += crew_worker(&s->crew, 0)->done;
	round->ns += took;
	return true;
}

/* Its memory is gone after this. */
static bool lose_memory(struct race *r)
{
	uint64_t begun = now_ns();
	struct paxshm_status st;
	pid_t last = 0;

	for (unsigned deaths = 0; deaths < DEATHS && now_ns() - begun < PATIENCE_NS; sleep_ns(NS_PER_MS)) {
		if (!member_status(r->cluster->socket[r->behind], &st) || (pid_t)st.agent_pid == last)
			continue;
		last = (pid_t)st.agent_pid;
		deaths += bench_cluster_kill(r->cluster, r->behind, last, false);
	}
	while (now_ns() - begun < PATIENCE_NS) {
		if (member_status(r->cluster->socket[r->behind], &st) && (pid_t)st.agent_pid != last)
			return st.agent_starts == 1;
		sleep_ns(NS_PER_MS);
	}
	return false;
}

static bool has_caught_up(const struct race *r)
{
	struct paxshm_status leader, behind;

	return member_status(r->cluster->socket[r->leader], &leader) && member_status(r->cluster->socket[r->behind], &behind) &&
	       behind.applied + NEAR >= leader.applied;
}

static void fall_behind(struct race *r, unsigned n)
{
	uint64_t begun;

	if (!lose_memory(r)) {
		fail(r->busy, "the observer did not lose its memory");
		return;
	}
	begun = now_ns();
	while (turn(r->busy, &r->busy->round[n]) && !has_caught_up(r))
		if (now_ns() - begun > PATIENCE_NS)
			fail(r->busy, "the observer did not catch up");
	histogram_add(&r->copies->round[0].seen, (now_ns() - begun) * PS_PER_NS);
	r->copies->round[0].done++;
}

static void measure(struct bench *b, struct race *r)
{
	char metric[40];

	for (unsigned n = 0; n < ROUNDS && !r->busy->errors; n++) {
		uint64_t begun = now_ns();

		progress("catchup", "nobody is behind");
		while (now_ns() - begun < (uint64_t)(b->seconds * (double)NS_PER_S / ROUNDS) && turn(r->quiet, &r->quiet->round[n]))
			;
		progress("catchup", "a copy is sent");
		fall_behind(r, n);
	}
	progress_end();
	struct beside beside = { .name = "nobody is behind", .part = { r->quiet } };
	snprintf(metric, sizeof(metric), "%u locks sent", b->keys);
	report_latency(&b->report, "catchup", metric, "us", r->busy, &beside);
	report_latency(&b->report, "catchup", "caught up", "ms", r->copies, NULL);
}

static bool find_hosts(struct race *r)
{
	struct paxshm_status st;
	bool leader = false, observer = false;

	for (unsigned i = 0; i < r->cluster->n; i++) {
		if (!member_status(r->cluster->socket[i], &st))
			continue;
		if (st.leader_id == st.host_id) {
			r->leader = i;
			leader = true;
		} else if (st.role == 2) {
			r->behind = i;
			observer = true;
		}
	}
	return leader && observer;
}

static void race(struct bench *b)
{
	struct race r = { .cluster = &b->cluster };
	struct quorum_with with = { .cluster = &b->cluster, .part = PART_LEADER };
	struct crew_plan plan = quorum_plan("acquire", &with);

	if (!find_hosts(&r)) {
		report_failure(&b->report, "catchup", "acquire", "us", "there is no leader, or no observer");
		return;
	}
	with.host = (int)r.leader;
	r.quiet = series_new(&plan);
	r.busy = series_new(&plan);
	r.copies = calloc(1, sizeof(*r.copies));
	if (r.copies)
		measure(b, &r);
	series_free(r.quiet);
	series_free(r.busy);
	free(r.copies);
}

static int run(struct bench *b)
{
	struct fill fill;
	char settings[64];

	snprintf(settings, sizeof(settings), "locks=%u claims=%u", b->keys + b->keys / 32 + 1024, b->keys / b->voters + b->keys / 8 + 1024);
	int rc = bench_need(b, 1, settings);
	if (rc < 0)
		return rc;
	progress("catchup", "taking locks");
	if (fill_start(&fill, &b->cluster, 0, b->keys, b->voters) == 0)
		race(b);
	else
		report_failure(&b->report, "catchup", "fill", "s", fill.why);
	/* The cluster first: what its tables are full of need not be given back one by one. */
	bench_cluster_stop(&b->cluster);
	fill_end(&fill);
	return 0;
}

const struct bench_case case_catchup = {
	.name = "catchup", .what = "an acquire while a host that is behind is sent a copy of a million locks", .limit = "the same while nobody is behind", .kills = true, .run = run
};
