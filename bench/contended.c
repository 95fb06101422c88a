/* SPDX-License-Identifier: Apache-2.0 */
/*
 * contended: two processes of one host want the same lock all the time, and hold it for 50 ns: how many times a second it
 * changes hands, and whether it is granted in the order in which it was asked for.
 *
 * The limit: a fair ticket lock with futexes that spins as long (ticket.h). Beside it, for information, the robust
 * mutex, which is not fair: who has just released it takes it again while the other is still waking.
 *
 * Order: each arrival draws a number from a shared counter just before it asks, and each owner counts the grants that
 * overtook it: to greater numbers, between its number and its grant. Between the number and the line a process may
 * be put to sleep, and then is overtaken as often as the other gets round: so a few are overtaken at any lock, also at the
 * ticket lock, which is in order by its nature. What it shows is that race, and what stands above it would be ours.
 * Therefore it counts how many were overtaken, however often each was.
 */
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "case.h"
#include "limit.h"
#include "member.h"
#include "sync.h"
#include "ticket.h"

#define SECTION_NS 50u
#define CROWD 2u
#define NO_TURN UINT64_MAX

enum kind { KIND_OURS,
	    KIND_TICKET,
	    KIND_MUTEX };

struct contended_with {
	const struct bench_cluster *cluster;
	enum kind kind;
	bool order;      /* numbers are drawn */
	unsigned rounds; /* of work in the critical section */
};

struct contended_shared {
	struct ticket ticket;
	_Alignas(64) pthread_mutex_t mutex;
	/* The owner's. */
	_Alignas(64) uint32_t inside; /* index + 1 */
	uint64_t work;
	uint64_t overtaken[CROWD]; /* while it waits for its present grant */
	/* Order. */
	_Alignas(64) uint64_t drawn;
	struct {
		_Alignas(64) uint64_t number; /* that it waits with; NO_TURN: it does not */
	} waits[CROWD];
};

struct contended {
	struct member *member; /* the others: NULL */
	paxshm_lock_handle *lock;
	struct paxshm_acquire how;
	uint32_t number; /* the ticket's */
};

/* ---- a piece of work that takes as long as was asked for ---- */

static uint64_t labour(uint64_t x, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		x = x * 0xd6e8feb86659fd93ull + 1;
		__asm__ volatile(""
				 : "+r"(x)); /* one after the other, whatever the compiler knows of such series */
	}
	return x;
}

static unsigned rounds_for(unsigned ns)
{
	const unsigned many = 1000000;
	uint64_t least = UINT64_MAX, x = 1;

	for (unsigned i = 0; i < 5; i++) {
		uint64_t start = now_ns();
		x = labour(x, many);
		least = MIN(least, now_ns() - start);
	}
	*(volatile uint64_t *)&x = x;
	return (unsigned)MAX((uint64_t)ns * many / MAX(least, 1u), 1u);
}

/* ---- the processes ---- */

static void init_mutex(struct worker *w, pthread_mutex_t *mutex)
{
	pthread_mutexattr_t attributes;

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	int rc = pthread_mutex_init(mutex, &attributes);
	if (rc)
		worker_fail(w, "no robust mutex: %s", strerror(rc));
	pthread_mutexattr_destroy(&attributes);
}

static void contended_begin(struct worker *w, const void *with)
{
	const struct contended_with *c = with;
	struct contended_shared *shared = worker_shared(w);
	struct contended *own = calloc(1, sizeof(*own));

	w->own = own;
	if (!own) {
		worker_fail(w, "no memory");
		return;
	}
	if (c->kind == KIND_MUTEX && w->index == 0)
		init_mutex(w, &shared->mutex);
	shared->waits[w->index].number = NO_TURN;
	if (c->kind != KIND_OURS)
		return;
	own->member = member_open(w, c->cluster, -1);
	paxshm_session *s = member_find(own->member, PART_LEADER);
	if (s)
		member_ref(w, s, "contended/one", &own->lock);
	else if (own->member)
		worker_fail(w, "no host leads now");
}

static inline bool take(struct worker *w, struct contended *own, struct contended_shared *shared, enum kind kind)
{
	if (kind == KIND_OURS)
		return member_acquire_as(w, own->lock, &own->how);
	if (kind == KIND_MUTEX)
		return pthread_mutex_lock(&shared->mutex) == 0;
	own->number = ticket_lock(&shared->ticket);
	return true;
}

static inline bool give(struct worker *w, struct contended *own, struct contended_shared *shared, enum kind kind)
{
	if (kind == KIND_OURS)
		return member_release(w, own->lock);
	if (kind == KIND_MUTEX)
		return pthread_mutex_unlock(&shared->mutex) == 0;
	ticket_unlock(&shared->ticket, own->number);
	return true;
}

/* With the lock: who waits with a smaller number was overtaken; and how often we were. */
static void look_at_order(struct worker *w, struct contended_shared *shared, uint64_t mine)
{
	for (unsigned i = 0; i < CROWD; i++)
		if (i != w->index && load_acquire(&shared->waits[i].number) < mine)
			shared->overtaken[i]++;
	histogram_add(&w->seen, shared->overtaken[w->index]);
	w->state[0] += shared->overtaken[w->index] > 0;
	w->state[1]++;
	shared->overtaken[w->index] = 0;
	store_release(&shared->waits[w->index].number, NO_TURN);
}

static bool once(struct worker *w, const struct contended_with *c, struct contended *own, struct contended_shared *shared)
{
	uint64_t mine = NO_TURN;

	if (c->order) {
		mine = add_acq_rel(&shared->drawn, 1u);
		store_release(&shared->waits[w->index].number, mine);
	}
	if (!take(w, own, shared, c->kind))
		return false;
	store_relaxed(&shared->inside, w->index + 1);
	if (c->order)
		look_at_order(w, shared, mine);
	shared->work = labour(shared->work, c->rounds);
	if (load_relaxed(&shared->inside) != w->index + 1) {
		worker_fail(w, "process %u owned the lock at the same time", load_relaxed(&shared->inside) - 1);
		return false;
	}
	return give(w, own, shared, c->kind);
}

static void contended_turn(struct worker *w, const void *with)
{
	const struct contended_with *c = with;
	struct contended *own = w->own;
	bool ok = own && (own->lock || c->kind != KIND_OURS) && !w->errors;

	while (ok && worker_goes_on(w)) {
		own->how = member_wish();
		for (unsigned i = 0; ok && i < LIMIT_PAIRS && worker_goes_on(w); i++) {
			ok = once(w, c, own, worker_shared(w));
			w->done += ok;
		}
	}
	if (own)
		member_look(own->member, w);
}

static void contended_end(struct worker *w, const void *with)
{
	struct contended *own = w->own;

	(void)with;
	if (own)
		member_close(own->member);
}

/* ---- the case ---- */

static struct series *contended_series(const struct contended_with *with, const char *name)
{
	struct crew_plan plan = {
		.name = name, .n = CROWD, .begin = contended_begin, .turn = contended_turn, .end = contended_end, .with = with, .shared_bytes = sizeof(struct contended_shared)
	};
	return series_new(&plan);
}

/* How many of a million grants came after one that was asked for later. */
static double out_of_order(struct series *s)
{
	double overtaken = 0, grants = 0;

	for (unsigned i = 0; s->crew.shared && i < CROWD; i++) {
		overtaken += (double)crew_worker(&s->crew, i)->state[0];
		grants += (double)crew_worker(&s->crew, i)->state[1];
	}
	return grants > 0 ? overtaken / grants * 1e6 : NAN;
}

static uint64_t total(const struct series *s)
{
	uint64_t n = 0;

	for (unsigned r = 0; r < ROUNDS; r++)
		n += s->round[r].done;
	return n;
}

enum { RATES = 3,
       ALL = 6 };

static int run(struct bench *b)
{
	int rc = bench_need(b, 0, "");

	if (rc < 0)
		return rc;
	static const char *const names[ALL] = { "two processes", "ticket lock", "robust mutex", "order", "order, ticket lock", "order, robust mutex" };
	struct contended_with with[ALL];
	struct series *all[ALL];
	unsigned rounds = rounds_for(SECTION_NS);

	for (unsigned i = 0; i < ALL; i++) {
		with[i] = (struct contended_with){ .cluster = &b->cluster, .kind = (enum kind)(i % RATES), .order = i >= RATES, .rounds = rounds };
		all[i] = contended_series(&with[i], names[i]);
	}
	series_measure(all, ALL, b->seconds, "contended");
	struct beside ticket = { .name = "fair ticket lock", .part = { all[1] } };
	struct beside mutex = { .name = "robust mutex, unfair", .part = { all[2] } };
	struct beside by_nature = { .name = "fair ticket lock", .part = { all[RATES + 1] } };
	report_rate(&b->report, "contended", "two processes", all[0], &ticket);
	report_rate(&b->report, "contended", "for information", all[0], &mutex);
	report_latency(&b->report, "contended", "overtaken", "turns", all[RATES], &by_nature);
	report_value(&b->report, "contended", "out of order", "in 1M", out_of_order(all[RATES]), total(all[RATES]), "fair ticket lock", out_of_order(all[RATES + 1]));
	report_value(&b->report, "contended", "the robust mutex's", "in 1M", out_of_order(all[RATES + 2]), total(all[RATES + 2]), "fair ticket lock", out_of_order(all[RATES + 1]));
	for (unsigned i = 0; i < ALL; i++)
		series_free(all[i]);
	return 0;
}

const struct bench_case case_contended = {
	.name = "contended", .what = "two processes of one host want one lock all the time; in which order they get it", .limit = "a fair ticket lock with futexes that spins as long", .run = run
};
