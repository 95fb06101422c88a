/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fairness: many processes on all hosts want one lock all the time. For each wait, how many turns of others lay between
 * its arrival and its grant.
 *
 * The limit is the bound that paxshmd promises. A host that others wait for hands the lock on among its own at most
 * handover_max times after the acquisition in which it heard of them, and then gives it to the host that waits longest.
 * So who arrives on a host
 *
 *	- waits for what its own host may still pass on before it gives the lock away,	handover_max + 1
 *	- for as much at each of the other hosts that wait,				(hosts - 1) x (handover_max + 1)
 *	- and for those of its own host that came before it:				its local line
 *
 * which makes (handover_max + 1) x hosts + line, as long as the line is no longer than handover_max + 1: each time that it
 * is, all hosts pass once more. It counts from when the others' hosts have heard of the request: as long as that is on its way,
 * one round of the cluster, the host that has the lock passes it on as often as it can, which is thousands of times a
 * millisecond where little is done with it. Arrival is when the count of turns is read, just before asking: a process that is put to
 * sleep between the two sees more turns than its wait had. So a few may lie above the bound on a busy machine, and are counted;
 * so are those that were on their way for long.
 */
#include <math.h>
#include <stdio.h>

#include "case.h"
#include "member.h"
#include "sync.h"

#define HANDOVER_MAX 16u /* of the agents, unless they were told otherwise */

struct fairness_shared {
	_Alignas(64) uint64_t turns; /* the owner's; others only read it */
	uint32_t inside;             /* index + 1 */
	uint32_t here;               /* how often somebody has begun a turn */
};

struct fairness {
	struct member *member;
	paxshm_lock_handle *lock;
};

static void fairness_begin(struct worker *w, const void *with)
{
	const struct bench_cluster *c = with;
	struct fairness *f = calloc(1, sizeof(*f));

	w->own = f;
	if (!f) {
		worker_fail(w, "no memory");
		return;
	}
	f->member = member_open(w, c, (int)(w->index % c->n));
	paxshm_session *s = member_find(f->member, PART_ANY);
	if (s)
		member_ref(w, s, "fairness/hot", &f->lock);
}

static bool wait_once(struct worker *w, struct fairness *f, struct fairness_shared *shared)
{
	uint64_t before = load_acquire(&shared->turns);

	if (!member_acquire(w, f->lock))
		return false;
	uint32_t other = swap_acq_rel(&shared->inside, w->index + 1);
	if (other)
		worker_fail(w, "process %u owned the lock at the same time", other - 1);
	histogram_add(&w->seen, shared->turns - before);
	store_release(&shared->turns, shared->turns + 1);
	store_release(&shared->inside, 0u);
	w->done++;
	return member_release(w, f->lock) && !other;
}

/* Until all are there: who begins alone would have thousands of turns while the others are still on their way. */
static void assemble(struct worker *w, struct fairness_shared *shared)
{
	uint32_t here = add_acq_rel(&shared->here, 1u), all = (here / w->n + 1) * w->n;

	while ((int32_t)(load_acquire(&shared->here) - all) < 0 && worker_goes_on(w))
		sleep_ns(100 * NS_PER_US);
}

static void fairness_turn(struct worker *w, const void *with)
{
	struct fairness *f = w->own;
	bool ok = f && f->lock;

	(void)with;
	assemble(w, worker_shared(w));
	while (ok && worker_goes_on(w))
		ok = wait_once(w, f, worker_shared(w));
	if (f)
		member_look(f->member, w);
}

static void fairness_end(struct worker *w, const void *with)
{
	struct fairness *f = w->own;

	(void)with;
	if (f)
		member_close(f->member);
}

static unsigned bound(unsigned processes, unsigned hosts)
{
	unsigned waiting = MIN(processes, hosts), here = (processes + hosts - 1) / hosts, line = here - 1;
	unsigned passes = 1 + line / (HANDOVER_MAX + 1);

	return (HANDOVER_MAX + 1) * waiting * passes + line;
}

static int run(struct bench *b)
{
	int rc = bench_need(b, 0, "");

	if (rc < 0)
		return rc;
	struct crew_plan plan = {
		.name = "waits", .n = b->processes, .begin = fairness_begin, .turn = fairness_turn, .end = fairness_end, .with = &b->cluster, .shared_bytes = sizeof(struct fairness_shared)
	};
	struct series *s = series_new(&plan);
	char metric[40], limit[48];
	unsigned most = bound(b->processes, b->cluster.n);
	uint64_t n = 0, above = 0;
	double last[ROUNDS];

	series_measure(&s, 1, b->seconds, "fairness");
	for (unsigned r = 0; r < ROUNDS; r++) {
		last[r] = series_quantile(s, r, 0.999);
		n += s->round[r].seen.n;
		for (unsigned bucket = histogram_bucket(most) + 1; bucket < HISTOGRAM_BUCKETS; bucket++)
			above += s->round[r].seen.count[bucket];
	}
	snprintf(metric, sizeof(metric), "%u on %u host%s", b->processes, b->cluster.n, b->cluster.n == 1 ? "" : "s");
	snprintf(limit, sizeof(limit), "%u x hosts + line", HANDOVER_MAX + 1);
	report_latency(&b->report, "fairness", metric, "turns", s, NULL);
	report_value(&b->report, "fairness", "most turns, p99.9", "turns", median(last, ROUNDS), n, limit, most);
	report_value(&b->report, "fairness", "above the bound", "in 1M", n ? (double)above / (double)n * 1e6 : NAN, n, NULL, NAN);
	report_rate(&b->report, "fairness", "turns", s, NULL);
	series_free(s);
	return 0;
}

const struct bench_case case_fairness = {
	.name = "fairness", .what = "waiters on all hosts: others' turns between arrival and grant", .limit = "the bound: (handover_max + 1) x hosts + the local line", .run = run
};
