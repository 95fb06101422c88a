/* SPDX-License-Identifier: Apache-2.0 */
#include "breakdown.h"

#include <math.h>
#include <stdio.h>

#include "../lib/base.h"
#include "sync.h"

enum leg { LEG_TAKEN,
	   LEG_SENT,
	   LEG_CHOSEN,
	   LEG_GRANTED,
	   LEG_RUNS,
	   LEGS };

static const char *const leg_names[LEGS] = {
	[LEG_TAKEN] = "to agent",
	[LEG_SENT] = "sending",
	[LEG_CHOSEN] = "agreeing",
	[LEG_GRANTED] = "granting",
	[LEG_RUNS] = "to program",
};

struct sums {
	uint64_t n, leg_ns[LEGS];
};

struct breakdown_with {
	const struct bench_cluster *cluster;
	enum part part;
};

static void breakdown_begin(struct worker *w, const void *with)
{
	const struct breakdown_with *b = with;

	w->own = member_open(w, b->cluster, -1);
}

static void breakdown_end(struct worker *w, const void *with)
{
	(void)with;
	member_close(w->own);
}

/* A grant that did not pass everywhere (the leader changed under it, say) is left out. */
static void add(struct sums *sums, uint64_t start_ns, const uint64_t stamp_ns[4], uint64_t end_ns)
{
	uint64_t at[LEGS + 1] = { start_ns, stamp_ns[0], stamp_ns[1], stamp_ns[2], stamp_ns[3], end_ns };

	for (unsigned i = 0; i < LEGS; i++)
		if (at[i + 1] < at[i])
			return;
	for (unsigned i = 0; i < LEGS; i++)
		sums->leg_ns[i] += at[i + 1] - at[i];
	sums->n++;
}

static bool acquire_and_release(struct worker *w, paxshm_session *s, struct sums *sums)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);
	struct paxshm_grant grant = PAXSHM_INIT(grant);
	paxshm_lock_handle *lock;
	char key[MEMBER_KEY];

	member_fresh_key(w, "breakdown", key);
	if (member_ref(w, s, key, &lock) < 0)
		return false;
	how.flags = PAXSHM_STAMPS;
	how.deadline_ns = paxshm_deadline_ms(MEMBER_PATIENCE_MS);
	uint64_t start = now_ns();
	int rc = paxshm_lock_acquire(lock, &how, &grant);
	uint64_t end = now_ns();
	if (rc < 0)
		worker_fail(w, "acquire: %s", paxshm_strerror(rc));
	else if (member_release(w, lock))
		add(sums, start, grant.stamp_ns, end);
	paxshm_lock_unref(lock);
	member_rest(w, s, 1); /* the release is not to be in the next one's way */
	return rc == 0;
}

static void breakdown_turn(struct worker *w, const void *with)
{
	const struct breakdown_with *b = with;
	paxshm_session *s = member_find(w->own, b->part);

	if (!s && w->own)
		worker_fail(w, "no host plays this part now");
	while (s && worker_goes_on(w) && acquire_and_release(w, s, worker_shared(w)))
		;
	member_look(w->own, w);
}

static void tell(struct bench *b, const char *name, const struct sums *sums)
{
	double n = (double)sums->n, whole = 0;
	char metric[40];

	for (unsigned i = 0; i < LEGS; i++)
		whole += (double)sums->leg_ns[i] / n / 1e3;
	for (unsigned i = 0; i < LEGS; i++) {
		snprintf(metric, sizeof(metric), "%s: %s", name, leg_names[i]);
		report_value(&b->report, "breakdown", metric, "us", (double)sums->leg_ns[i] / n / 1e3, sums->n, "the whole", whole);
	}
}

void breakdown(struct bench *b, enum part part, const char *name)
{
	struct breakdown_with with = { .cluster = &b->cluster, .part = part };
	struct crew_plan plan = {
		.name = name, .n = 1, .begin = breakdown_begin, .turn = breakdown_turn, .end = breakdown_end, .with = &with, .shared_bytes = sizeof(struct sums)
	};
	struct crew crew = { 0 };
	char why[WORKER_WHY] = "";
	uint64_t ns;

	if (crew_start(&crew, &plan))
		return report_failure(&b->report, "breakdown", name, "us", "no process is to be had");
	if (crew_turn(&crew, (uint64_t)(b->seconds * 1e9), &ns))
		report_failure(&b->report, "breakdown", name, "us", "the measuring process died");
	else if (crew_errors(&crew, why))
		report_failure(&b->report, "breakdown", name, "us", why);
	else if (((struct sums *)worker_shared(crew_worker(&crew, 0)))->n == 0)
		report_failure(&b->report, "breakdown", name, "us", "no acquire passed every place");
	else
		tell(b, name, worker_shared(crew_worker(&crew, 0)));
	crew_stop(&crew);
}
