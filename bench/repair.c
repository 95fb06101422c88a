/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair: a process that holds a hundred thousand locks is killed. How long until another process of its host, which
 * waits for the lock that was acquired last, is granted it; until it has had all of them; and what an acquire
 * on which the cluster must agree, asked at the same host, costs meanwhile.
 *
 * Each grant must say that the owner before died.
 *
 * The limits: 200 ms; the same acquire while nobody dies.
 */
#include <stdio.h>
#include <string.h>

#include "case.h"
#include "progress.h"
#include "quorum.h"
#include "sync.h"

#define LOCKS 100000u
#define LIMIT_MS 200.0
#define QUIET_NS (200 * NS_PER_MS)
#define REST_NS (50 * NS_PER_MS) /* until who waits sleeps in the line */
#define PATIENCE_NS (20 * NS_PER_S)

struct repair_with {
	const struct bench_cluster *cluster;
	int host;
	unsigned keys;
};

/* Between paxbench and the heir. */
struct heir_shared {
	uint32_t asks;
	uint64_t killed_at, last_at, all_at; /* 0: not yet */
	uint64_t untold;                     /* grants that did not say that the owner died */
};

struct held {
	struct member *member;
	unsigned n;
	paxshm_lock_handle *lock[];
};

static void key_of(char key[MEMBER_KEY], unsigned i)
{
	snprintf(key, MEMBER_KEY, "repair/%08u", i);
}

static struct held *refer(struct worker *w, const struct repair_with *r)
{
	struct held *h = calloc(1, sizeof(*h) + r->keys * sizeof(h->lock[0]));
	char key[MEMBER_KEY];

	w->own = h;
	if (!h) {
		worker_fail(w, "no memory");
		return NULL;
	}
	h->member = member_open(w, r->cluster, r->host);
	paxshm_session *s = member_find(h->member, PART_ANY);
	for (; s && h->n < r->keys; h->n++) {
		key_of(key, h->n);
		if (member_ref(w, s, key, &h->lock[h->n]) < 0)
			return NULL;
	}
	return s ? h : NULL;
}

/* ---- who holds them all, and dies ---- */

static void holder_begin(struct worker *w, const void *with)
{
	struct held *h = refer(w, with);

	for (unsigned i = 0; h && i < h->n; i++)
		if (!member_acquire(w, h->lock[i]))
			return;
}

static void holder_turn(struct worker *w, const void *with)
{
	(void)w, (void)with;
}

/* ---- who gets them afterwards ---- */

/* Has had each once, before there is a holder: afterwards it knows where they are, and its time is the repair's. */
static void heir_begin(struct worker *w, const void *with)
{
	struct held *h = refer(w, with);

	for (unsigned i = 0; h && i < h->n; i++)
		if (!member_acquire(w, h->lock[i]) || !member_release(w, h->lock[i]))
			return;
}

static bool inherit(struct worker *w, struct heir_shared *shared, paxshm_lock_handle *lock)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);
	struct paxshm_grant grant = PAXSHM_INIT(grant);

	how.deadline_ns = paxshm_deadline_ms(MEMBER_PATIENCE_MS);
	int rc = paxshm_lock_acquire(lock, &how, &grant);
	if (rc < 0)
		worker_fail(w, "acquire after the owner's death: %s", paxshm_strerror(rc));
	else
		shared->untold += !(grant.flags & PAXSHM_OWNER_DIED);
	return rc == 0;
}

/* Goes on until it has had all; whatever it gets it keeps until then. */
static void heir_turn(struct worker *w, const void *with)
{
	const struct repair_with *r = with;
	struct heir_shared *shared = worker_shared(w);
	struct held *h = w->own;
	unsigned got = 0;

	if (!h || h->n != r->keys)
		return;
	store_release(&shared->asks, 1u);
	if (inherit(w, shared, h->lock[h->n - 1])) {
		store_release(&shared->last_at, now_ns());
		while (got < h->n - 1 && inherit(w, shared, h->lock[got]))
			got++;
		if (got == h->n - 1)
			store_release(&shared->all_at, now_ns());
		member_release(w, h->lock[h->n - 1]);
	}
	for (unsigned i = 0; i < got; i++)
		member_release(w, h->lock[i]);
}

static void held_end(struct worker *w, const void *with)
{
	struct held *h = w->own;

	(void)with;
	if (h)
		member_close(h->member);
}

/* ---- the case ---- */

struct accident {
	struct repair_with with;
	struct series *quiet, *busy, *last, *all;
};

static void fail(struct series *s, const char *why)
{
	if (s->errors++ == 0)
		snprintf(s->why, sizeof(s->why), "%s", why);
}

static void take(struct series *s, struct round *round, int rc, uint64_t ns)
{
	if (rc < 0 || crew_errors(&s->crew, s->why)) {
		fail(s, "a worker process died or hung");
		return;
	}
	histogram_merge(&round->seen, &crew_worker(&s->crew, 0)->seen);
	round->done += crew_worker(&s->crew, 0)->done;
	round->ns += ns;
}

static bool wait_for(const uint64_t *word)
{
	uint64_t begun = now_ns();

	while (!load_acquire(word) && now_ns() - begun < PATIENCE_NS)
		sleep_ns(100 * NS_PER_US);
	return load_acquire(word);
}

static void saw(struct series *s, unsigned round, uint64_t ns)
{
	histogram_add(&s->round[round].seen, ns * PS_PER_NS);
	s->round[round].done++;
}

/* The holder stands, the heir asks: kills one, and sees the other through. */
static void kill_holder(struct accident *a, unsigned round, struct crew *holder, struct crew *heir)
{
	struct heir_shared *shared = worker_shared(crew_worker(heir, 0));
	char why[WORKER_WHY];
	uint64_t took = 0;

	crew_go(heir);
	uint64_t begun = now_ns();
	while (!load_acquire(&shared->asks) && now_ns() - begun < PATIENCE_NS)
		sleep_ns(100 * NS_PER_US);
	sleep_ns(REST_NS);
	crew_go(&a->busy->crew);
	uint64_t killed_at = now_ns();
	crew_kill(holder);
	wait_for(&shared->last_at); /* then all is repaired, and who takes the rest needs a core for that and no agent */
	int rc = crew_halt(&a->busy->crew, &took);
	take(a->busy, &a->busy->round[round], rc, took);
	bool all = wait_for(&shared->all_at);
	if (crew_finish(heir, &took) < 0)
		fail(a->all, "the process that waited died or hung");
	else if (crew_errors(heir, why))
		fail(a->all, why);
	else if (!all)
		fail(a->all, "not all locks were granted in time");
	else if (shared->untold)
		fail(a->all, "a grant did not say that the owner before died");
	else {
		saw(a->last, round, shared->last_at - killed_at);
		saw(a->all, round, shared->all_at - killed_at);
	}
}

static void accident(struct accident *a, unsigned round)
{
	struct crew_plan holds = { .name = "holder", .n = 1, .begin = holder_begin, .turn = holder_turn, .end = held_end, .with = &a->with };
	struct crew_plan inherits = {
		.name = "heir", .n = 1, .begin = heir_begin, .turn = heir_turn, .end = held_end, .with = &a->with, .shared_bytes = sizeof(struct heir_shared)
	};
	struct crew holder = { .shared = NULL }, heir = { .shared = NULL };
	char why[WORKER_WHY];
	uint64_t took = 0;

	progress("repair", "acquiring the locks of who will die");
	if (crew_start(&heir, &inherits) < 0 || crew_start(&holder, &holds) < 0)
		fail(a->all, "its processes did not start");
	else if (crew_errors(&holder, why) || crew_errors(&heir, why))
		fail(a->all, why);
	if (!a->all->errors) {
		progress("repair", "nobody dies");
		int rc = crew_turn(&a->quiet->crew, QUIET_NS, &took);
		take(a->quiet, &a->quiet->round[round], rc, took);
		progress("repair", "a process is killed");
		kill_holder(a, round, &holder, &heir);
	}
	crew_stop(&holder);
	crew_stop(&heir);
}

static void report(struct bench *b, const struct accident *a)
{
	struct beside quiet = { .name = "nobody dies", .part = { a->quiet } };
	char metric[40];
	double last[ROUNDS], all[ROUNDS];

	for (unsigned r = 0; r < ROUNDS; r++) {
		last[r] = series_quantile(a->last, r, 0.5) / 1e9;
		all[r] = series_quantile(a->all, r, 0.5) / 1e9;
	}
	if (a->all->errors) {
		report_failure(&b->report, "repair", "all locks", "ms", a->all->why);
		return;
	}
	snprintf(metric, sizeof(metric), "last of %u", a->with.keys);
	report_value(&b->report, "repair", metric, "ms", median(last, ROUNDS), ROUNDS, "200 ms", LIMIT_MS);
	snprintf(metric, sizeof(metric), "all %u", a->with.keys);
	report_value(&b->report, "repair", metric, "ms", median(all, ROUNDS), ROUNDS, "200 ms", LIMIT_MS);
	report_latency(&b->report, "repair", "quorum meanwhile", "us", a->busy, &quiet);
}

static int leader_of(const struct bench_cluster *c)
{
	struct paxshm_status st;

	for (unsigned i = 0; i < c->n; i++)
		if (member_status(c->socket[i], &st) && st.leader_id == st.host_id)
			return (int)i;
	return -1;
}

static int run(struct bench *b)
{
	unsigned keys = MIN(b->keys, LOCKS);
	struct paxshm_status st;
	char settings[64], why[WORKER_WHY];

	snprintf(settings, sizeof(settings), "locks=%u claims=%u", 2 * keys + 16384, 2 * keys + 16384);
	int rc = bench_need(b, 0, settings);
	if (rc < 0)
		return rc;
	if (!bench_status(b, &st))
		return -ECONNREFUSED;
	struct accident a = { .with = { .cluster = &b->cluster, .host = leader_of(&b->cluster), .keys = keys } };
	if (a.with.host < 0 || keys > st.locks_max) {
		snprintf(why, sizeof(why), a.with.host < 0 ? "no host leads now" : "the table is too small: it has room for %u locks, and %u are needed", st.locks_max, keys);
		report_failure(&b->report, "repair", "all locks", "ms", why);
		return 0;
	}
	struct quorum_with with = { .cluster = &b->cluster, .part = PART_ANY, .host = a.with.host };
	struct crew_plan plan = quorum_plan("acquire", &with);
	a.quiet = series_new(&plan);
	a.busy = series_new(&plan);
	a.last = calloc(1, sizeof(*a.last));
	a.all = calloc(1, sizeof(*a.all));
	if (a.last && a.all) {
		for (unsigned r = 0; r < ROUNDS && !a.all->errors; r++)
			accident(&a, r);
		progress_end();
		report(b, &a);
	}
	series_free(a.quiet);
	series_free(a.busy);
	free(a.last);
	free(a.all);
	return 0;
}

const struct bench_case case_repair = {
	.name = "repair", .what = "a process with 100000 locks is killed: until another has had them", .limit = "200 ms; an acquire of others while nobody dies", .run = run
};
