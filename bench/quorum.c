/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quorum: how long a program waits for a lock on which the cluster must agree. Each acquire is of a
 * key that was never used before, for a host keeps the delegation of a lock that was released. So it
 * cannot be served without a round: the index that the host has applied must have risen, which is
 * checked each time. Nothing is released while the clock runs: a few hundred are acquired, then all are
 * released, and the hosts come to rest. In a long run the table fills up with delegations that
 * nobody uses; giving them back is then part of what is measured, as it is of any program's life.
 *
 * The limit: one round trip to another voter and one to the agent, in which everybody sleeps. With --pin they are where the
 * agents are: the two hosts on a core each, a host's program and its agent on the same. Without, the scheduler likes to put two
 * who wake each other on one core, which two hosts never share: what it costs between two cores stands beside it.
 */
#include <stdio.h>
#include <string.h>

#include "breakdown.h"
#include "case.h"
#include "limit.h"
#include "member.h"
#include "quorum.h"
#include "sync.h"

#define HELD 256u /* acquired before they are released */
#define REST_MS 50u
#define LIMITS 4u
#define LIMITS_PINNED 2u

static void quorum_begin(struct worker *w, const void *with)
{
	const struct quorum_with *q = with;

	w->own = member_open(w, q->cluster, q->host);
}

static bool acquire_one(struct worker *w, paxshm_session *s, paxshm_lock_handle **ret_lock)
{
	char key[MEMBER_KEY];

	member_fresh_key(w, "quorum", key);
	if (member_ref(w, s, key, ret_lock) < 0)
		return false;
	uint64_t before = member_applied(w, s);
	uint64_t start = worker_start_ns(w);
	if (!member_acquire(w, *ret_lock)) {
		paxshm_lock_unref(*ret_lock);
		return false;
	}
	uint64_t end = now_ns();
	if (member_applied(w, s) <= before)
		worker_fail(w, "an acquire was granted without a round: the applied index stayed at %llu", (unsigned long long)before);
	worker_saw(w, start, end);
	return true;
}

static void quorum_turn(struct worker *w, const void *with)
{
	const struct quorum_with *q = with;
	paxshm_session *s = member_find(w->own, q->part);
	paxshm_lock_handle *held[HELD];
	uint64_t errors = w->errors;

	if (!s) {
		if (w->own)
			worker_fail(w, "no host plays this part now");
		return;
	}
	member_stay(w->own, s);
	while (w->errors == errors && worker_goes_on(w)) {
		unsigned n = 0;

		while (n < HELD && w->errors == errors && worker_goes_on(w) && acquire_one(w, s, &held[n]))
			n++;
		for (unsigned i = 0; i < n; i++)
			if (member_release(w, held[i]))
				paxshm_lock_unref(held[i]);
		uint64_t from = now_ns();
		member_rest(w, s, REST_MS);
		if (w->interval_ns) /* resting was not the system's doing */
			w->next_start_ns += now_ns() - from;
	}
	member_look(w->own, w);
}

static void quorum_end(struct worker *w, const void *with)
{
	(void)with;
	member_close(w->own);
}

struct crew_plan quorum_plan(const char *name, const struct quorum_with *with)
{
	return (struct crew_plan){ .name = name, .n = 1, .begin = quorum_begin, .turn = quorum_turn, .end = quorum_end, .with = with };
}

static const char *const part_names[] = { [PART_LEADER] = "leader", [PART_VOTER] = "voter", [PART_OBSERVER] = "observer" };

static bool cluster_has(const struct bench_cluster *c, enum part part)
{
	struct paxshm_status st;

	for (unsigned i = 0; i < c->n; i++) {
		if (!member_status(c->socket[i], &st))
			continue;
		bool leads = st.leader_id == st.host_id;
		if (part == PART_LEADER ? leads : part == PART_VOTER ? st.role == 1 && !leads
								     : st.role == 2)
			return true;
	}
	return false;
}

/* Those parts that somebody plays, beside the limit. */
static void measure(struct bench *b, const enum part *parts, unsigned n_parts, bool tell_limits)
{
	struct crew_plan limits[LIMITS] = { limit_tcp(PLACE_AS_SAID), limit_futex(PLACE_ONE), limit_tcp(PLACE_TWO), limit_futex(PLACE_TWO) };
	const unsigned n_limits = crew_pins ? LIMITS_PINNED : LIMITS;
	struct series *all[LIMITS + 3];
	struct quorum_with with[3];
	unsigned n = 0;

	while (n < n_limits) {
		all[n] = series_new(&limits[n]);
		n++;
	}

	for (unsigned i = 0; i < n_parts; i++) {
		if (!cluster_has(&b->cluster, parts[i]))
			continue;
		with[i] = (struct quorum_with){ .cluster = &b->cluster, .part = parts[i], .host = -1 };
		struct crew_plan plan = quorum_plan(part_names[parts[i]], &with[i]);
		plan.rate = b->rate;
		all[n++] = series_new(&plan);
	}
	series_measure(all, n, b->seconds, "quorum");
	struct beside one = { .name = "tcp + futex ping-pong", .part = { all[0], all[1] } };
	for (unsigned i = n_limits; i < n; i++) {
		char metric[64];

		report_latency(&b->report, "quorum", all[i]->name, "us", all[i], &one);
		if (crew_pins)
			continue;
		struct beside two = { .name = "the same, two cores", .part = { all[2], all[3] } };
		snprintf(metric, sizeof(metric), "%s, two cores", all[i]->name);
		report_latency(&b->report, "quorum", metric, "us", all[i], &two);
	}
	for (unsigned i = 0; tell_limits && i < n_limits; i++)
		report_limit(&b->report, "us", all[i]);
	for (unsigned i = 0; i < n; i++)
		series_free(all[i]);
	for (unsigned i = 0; b->breakdown && i < n_parts; i++)
		if (cluster_has(&b->cluster, parts[i]))
			breakdown(b, parts[i], part_names[parts[i]]);
}

static int run(struct bench *b)
{
	static const enum part parts[] = { PART_LEADER, PART_VOTER, PART_OBSERVER };
	int rc = bench_need(b, 0, "");

	if (rc < 0)
		return rc;
	if (!b->voters) {
		measure(b, parts, 3, true);
		return 0;
	}
	/* An observer is one more agent at work on this machine: it is there only when it is asked. */
	measure(b, parts, 2, true);
	rc = bench_need(b, 1, "");
	if (rc == 0)
		measure(b, parts + 2, 1, false);
	return rc;
}

const struct bench_case case_quorum = {
	.name = "quorum", .what = "acquire with a round of the cluster, from leader, voter and observer", .limit = "TCP ping-pong + futex ping-pong", .run = run
};
