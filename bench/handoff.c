/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handoff: two processes pass one lock to and fro; from just before the release in one to running in
 * the other, which waits for it.
 *
 *	same host          the other has only just come; it spins, or has just gone to sleep
 *	same host, slept   it has waited for a while, and sleeps; so did the owner
 *	other host         the same, with the other on another voter's host
 *
 * Who has slept for a while pays for a core that must be roused, and it matters more than all else; so each has a limit
 * whose peers did as ours do: half a futex ping-pong, one wake-up of somebody who has just gone to sleep; a fair lock of
 * nothing but futexes, held as long as ours; and for two hosts a TCP and a futex ping-pong (to the agent, to the other
 * agent and back, to the next owner), once without a break and once with as long a rest before each. With --pin two processes of
 * one host have a core each, and two hosts have one each, as have the peers beside them.
 */
#include <sched.h>

#include "case.h"
#include "limit.h"
#include "member.h"
#include "sync.h"

#define HOLD_NEAR_NS (2 * NS_PER_US) /* until who said that it asks stands in the line */
#define HOLD_NS (500 * NS_PER_US)    /* ... and sleeps */
#define HOLD_REMOTE_NS (2 * NS_PER_MS)
#define LOOK_NS (100 * NS_PER_US)

struct handoff_with {
	const struct bench_cluster *cluster;
	const char *key;
	bool remote;      /* worker 1 is on another voter's host */
	uint64_t hold_ns; /* once the other asks; 0: HOLD_NEAR_NS, awake */
};

struct handoff_shared {
	uint32_t asks[2];     /* this worker is about to acquire, or waits */
	uint32_t counts;      /* the releaser knew that the other waits */
	uint64_t released_at; /* these two are the owner's */
};

struct handoff {
	struct member *member;
	paxshm_lock_handle *lock;
};

static void handoff_begin(struct worker *w, const void *with)
{
	const struct handoff_with *h = with;
	struct handoff *own = calloc(1, sizeof(*own));

	if (!own)
		return;
	own->member = member_open(w, h->cluster, -1);
	paxshm_session *s = member_find(own->member, h->remote && w->index == 1 ? PART_VOTER : PART_LEADER);
	if (s)
		member_ref(w, s, h->key, &own->lock);
	else if (own->member)
		worker_fail(w, h->remote ? "no second voter can be asked" : "no host leads now");
	if (s && h->remote)
		member_stay(own->member, s);
	w->own = own;
}

static void stay_awake(uint64_t ns)
{
	uint64_t until = now_ns() + ns;

	while (now_ns() < until)
		;
}

/* With the lock: until the other waits for it. */
static void hold(struct worker *w, struct handoff_shared *s, uint64_t ns)
{
	bool asked;

	while (!(asked = load_acquire(&s->asks[1 - w->index])) && worker_goes_on(w)) {
		if (ns)
			sleep_ns(LOOK_NS);
		else
			sched_yield();
	}
	if (asked && ns)
		sleep_ns(ns);
	else if (asked)
		stay_awake(HOLD_NEAR_NS);
	s->counts = asked;
}

static void handoff_turn(struct worker *w, const void *with)
{
	const struct handoff_with *h = with;
	struct handoff_shared *s = worker_shared(w);
	struct handoff *own = w->own;
	bool ok = own && own->lock;

	while (ok && worker_goes_on(w)) {
		uint64_t asked = now_ns();

		store_release(&s->asks[w->index], 1u);
		ok = member_acquire(w, own->lock);
		uint64_t now = now_ns();
		store_release(&s->asks[w->index], 0u);
		if (!ok)
			break;
		/* Released before we asked: nothing was handed over. */
		if (s->counts && s->released_at > asked)
			worker_saw(w, s->released_at, now);
		hold(w, s, h->hold_ns);
		s->released_at = now_ns();
		ok = member_release(w, own->lock);
	}
	if (own)
		member_look(own->member, w);
}

static void handoff_end(struct worker *w, const void *with)
{
	struct handoff *own = w->own;

	(void)with;
	if (own)
		member_close(own->member);
}

static struct crew_plan handoff_plan(const struct handoff_with *with, const char *name)
{
	return (struct crew_plan){
		.name = name, .n = 2, .begin = handoff_begin, .turn = handoff_turn, .end = handoff_end, .with = with, .shared_bytes = sizeof(struct handoff_shared)
	};
}

static bool two_voters(const struct bench_cluster *c)
{
	struct paxshm_status st;
	unsigned voters = 0;

	for (unsigned i = 0; i < c->n; i++)
		voters += member_status(c->socket[i], &st) && st.role == 1;
	return voters >= 2;
}

static int run(struct bench *b)
{
	int rc = bench_need(b, 0, "");

	if (rc < 0)
		return rc;
	static const uint64_t rest = HOLD_REMOTE_NS;
	struct handoff_with near = { .cluster = &b->cluster, .key = "handoff/near" };
	struct handoff_with slept = { .cluster = &b->cluster, .key = "handoff/same", .hold_ns = HOLD_NS };
	struct handoff_with other = { .cluster = &b->cluster, .key = "handoff/other", .remote = true, .hold_ns = HOLD_REMOTE_NS };
	struct crew_plan plans[] = {
		limit_futex(PLACE_AS_SAID),
		limit_ticket(2),
		handoff_plan(&near, "same host"),
		handoff_plan(&slept, "same host, slept"),
		limit_tcp(PLACE_AS_SAID),
		limit_futex(PLACE_ONE),
		limit_tcp_rested(&rest),
		limit_futex_rested(&rest),
		handoff_plan(&other, "other host"),
	};
	struct series *all[ARRAY_LEN(plans)] = { 0 };
	bool two = two_voters(&b->cluster);
	unsigned n = two ? ARRAY_LEN(plans) : 4;

	for (unsigned i = 0; i < n; i++)
		all[i] = series_new(&plans[i]);
	series_measure(all, n, b->seconds, "handoff");
	struct beside half = { .name = "futex ping-pong / 2", .part = { all[0] }, .weight = { 0.5 } };
	struct beside ticket = { .name = "fair futex lock", .part = { all[1] } };
	struct beside wire = { .name = "tcp + futex ping-pong", .part = { all[4], all[5] } };
	struct beside rested = { .name = "the same, rested", .part = { all[6], all[7] } };
	report_latency(&b->report, "handoff", "same host", "us", all[2], &half);
	report_latency(&b->report, "handoff", "same host, slept", "us", all[3], &ticket);
	if (two) {
		report_latency(&b->report, "handoff", "other host", "us", all[8], &wire);
		report_latency(&b->report, "handoff", "other host, rested", "us", all[8], &rested);
	}
	for (unsigned i = 0; i < n; i++)
		series_free(all[i]);
	return 0;
}

const struct bench_case case_handoff = {
	.name = "handoff", .what = "from release to running in the next owner: same host, other host", .limit = "half a futex ping-pong; fair futex lock; TCP and futex ping-pong", .run = run
};
