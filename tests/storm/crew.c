/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "crew.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "history.h"

#define HOT_KEYS 3
#define COLD_KEYS 40
#define KEYS (HOT_KEYS + COLD_KEYS)
#define PROBES ((uint64_t)1 << 40) /* their numbers stand beyond those of other keys */
#define AGENT_TIMEOUT_MS 3000

struct worker {
	struct process process;
	unsigned host;
	enum crew_job job;
	bool paused;
	uint64_t number;  /* of its next fresh key; goes on when it is started again */
	uint64_t turn;    /* the one it is in, plus 1 */
	uint64_t granted; /* so far */
	uint64_t marked;
};

/* Shared by the test and all workers. */
struct crew {
	bool leases, stop;
	unsigned n, broken;
	char words[256];
	struct worker workers[CREW_WORKERS];
	uint64_t lives[RIG_HOSTS + 1]; /* lives of each host that were ended */
	uint64_t resource[KEYS];       /* the greatest token << 1 | inside */
	bool clinging[RIG_HOSTS + 1];
	uint64_t suspensions[RIG_HOSTS + 1], resumptions, seed;
	size_t room, used; /* turns */
};

static struct crew *crew;
static struct history_turn *turns;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void nap_us(uint64_t us)
{
	nanosleep(&(struct timespec){ .tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000 }, NULL);
}

__attribute__((format(printf, 1, 2))) static void breaks(const char *format, ...)
{
	va_list args;

	if (__atomic_fetch_add(&crew->broken, 1, __ATOMIC_ACQ_REL))
		return;
	va_start(args, format);
	vsnprintf(crew->words, sizeof(crew->words), format, args);
	va_end(args);
}

const char *crew_broken(void)
{
	return __atomic_load_n(&crew->broken, __ATOMIC_ACQUIRE) ? crew->words : NULL;
}

static bool stopping(void)
{
	return __atomic_load_n(&crew->stop, __ATOMIC_ACQUIRE) || crew_broken();
}

/* ---- in a worker ---- */

struct self {
	unsigned w, host;
	enum crew_job job;
	uint64_t random, life; /* ends of its host's life before this session */
	paxshm_session *session;
	paxshm_lock_handle *lock;
	struct history_turn *t;
	uint64_t *resource; /* NULL: a fresh key has none */
};

static uint64_t up_to(struct self *me, uint64_t n)
{
	return random_next(&me->random) % (n + 1);
}

static bool life_goes_on(const struct self *me)
{
	return __atomic_load_n(&crew->lives[me->host], __ATOMIC_ACQUIRE) == me->life;
}

/* With leases that is for its host's lease to say, once its deadline has passed. */
static void expect_loss(struct self *me, const char *what)
{
	uint64_t now = now_ns();

	if (life_goes_on(me) && (!crew->leases || now < me->t->lease_ns))
		breaks("worker %u on host %u: %s, though nothing ended; its lease had %lld ms left", me->w, me->host, what,
		       ((long long)me->t->lease_ns - (long long)now) / (long long)NS_PER_MS);
}

/* The end of this host's lease; 0: not to be had. */
static uint64_t deadline(struct self *me)
{
	struct paxshm_status status = PAXSHM_INIT(status);

	return crew->leases && paxshm_status(me->session, 0, &status) == 0 ? status.lease_until_ns : 0;
}

/* A turn of its own; what the others need of it is written before it can be seen (crew_kill() looks for it). */
static bool begin_turn(struct self *me, uint64_t key)
{
	size_t at = __atomic_fetch_add(&crew->used, 1, __ATOMIC_RELAXED);

	if (at >= crew->room)
		return false;
	me->t = &turns[at];
	*me->t = (struct history_turn){ .key = key, .process = (uint32_t)getpid(), .host = (uint16_t)me->host };
	__atomic_store_n(&me->t->called_ns, now_ns(), __ATOMIC_RELEASE);
	__atomic_store_n(&crew->workers[me->w].turn, at + 1, __ATOMIC_RELEASE);
	return true;
}

/* Asks whether the lock is still ours, and waits while nobody can tell. The deadline that was shown between our grant and a
 * "yes" was that of the life in which it was granted. */
static bool mine(struct self *me)
{
	bool waited = false;

	for (;;) {
		uint64_t shown = waited ? 0 : deadline(me), called = now_ns(); /* the check alone must find out */
		int rc = paxshm_lock_check(me->lock);

		if (rc == 0) {
			me->t->lease_ns = MAX(me->t->lease_ns, shown);
			__atomic_store_n(&me->t->proved_ns, called, __ATOMIC_RELEASE);
			__atomic_fetch_add(&crew->resumptions, waited, __ATOMIC_RELAXED);
			return true;
		}
		if (rc == -ESTALE) {
			me->t->lost_ns = called;
			me->t->end = HISTORY_LOST;
			expect_loss(me, "a lock was lost");
			return false;
		}
		if (rc != -ENETUNREACH || !crew->leases) {
			breaks("worker %u: check: %s", me->w, paxshm_strerror(rc));
			return false;
		}
		if (!waited) {
			expect_loss(me, "a lock was suspended");
			__atomic_fetch_add(&crew->suspensions[me->host], 1, __ATOMIC_RELAXED);
		}
		waited = true;
		nap_us(1000);
	}
}

/* Writes to the resource as an owner does. False: we are not the owner. */
static bool enter(struct self *me, const struct paxshm_grant *grant)
{
	uint64_t seen = __atomic_load_n(me->resource, __ATOMIC_ACQUIRE);

	do {
		if (seen >> 1 >= grant->token) {
			if (mine(me))
				breaks("worker %u owns key %llu with token %llu, and token %llu was there before", me->w,
				       (unsigned long long)me->t->key, (unsigned long long)grant->token, (unsigned long long)(seen >> 1));
			return false;
		}
	} while (!__atomic_compare_exchange_n(me->resource, &seen, grant->token << 1 | 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	if ((seen & 1) && !(grant->flags & PAXSHM_OWNER_DIED))
		breaks("worker %u, token %llu of key %llu: token %llu is inside, and nobody said that its owner died", me->w,
		       (unsigned long long)grant->token, (unsigned long long)me->t->key, (unsigned long long)(seen >> 1));
	return true;
}

static void leave(struct self *me, uint64_t token)
{
	uint64_t ours = token << 1 | 1, seen = ours;

	if (__atomic_compare_exchange_n(me->resource, &seen, token << 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return;
	if (mine(me))
		breaks("worker %u owns key %llu with token %llu, and token %llu came while it was inside", me->w,
		       (unsigned long long)me->t->key, (unsigned long long)token, (unsigned long long)(seen >> 1));
}

static bool clings(const struct self *me)
{
	return __atomic_load_n(&crew->clinging[me->host], __ATOMIC_ACQUIRE) && !stopping();
}

static void hold(struct self *me, const struct paxshm_grant *grant)
{
	bool inside, ours;

	if (!mine(me) || !me->resource)
		return;
	inside = enter(me, grant);
	if (up_to(me, 3) == 0)
		nap_us(up_to(me, up_to(me, 15) ? 200 : 4000));
	while ((ours = mine(me)) && clings(me))
		nap_us(500);
	if (ours && inside)
		leave(me, grant->token);
}

static void release(struct self *me)
{
	struct history_turn *t = me->t;
	int rc;

	__atomic_store_n(&t->release_ns, now_ns(), __ATOMIC_RELEASE);
	rc = paxshm_lock_release(me->lock);
	__atomic_store_n(&t->released_ns, now_ns(), __ATOMIC_RELEASE);
	/* Once lost, for ever lost. */
	if (rc == 0 && t->end == HISTORY_LOST)
		breaks("worker %u: released what it was told it had lost", me->w);
	else if (rc == -ESTALE && t->end != HISTORY_LOST)
		expect_loss(me, "a release came too late");
	else if (rc && rc != -ESTALE && !(rc == -ENETUNREACH && crew->leases))
		breaks("worker %u: release: %s", me->w, paxshm_strerror(rc));
	if (rc == -ESTALE && !t->lost_ns)
		t->lost_ns = t->release_ns;
	if (rc != -ENETUNREACH) /* suspended: how it ended nobody can tell */
		t->end = rc ? HISTORY_LOST : HISTORY_RELEASED;
}

/* All the ways to ask. */
static struct paxshm_acquire some_way(struct self *me)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);

	if (me->job == CREW_PROBE)
		return how;
	switch (up_to(me, 15)) {
	case 0: how.flags = PAXSHM_NOWAIT; break;
	case 1: how.deadline_ns = now_ns() + up_to(me, 30 * NS_PER_MS); break;
	case 2: how.no_quorum = PAXSHM_RETURN; break;
	}
	return how;
}

/* One acquire and what follows. 0, or why the session is of no more use. */
static int take_turn(struct self *me)
{
	struct paxshm_acquire how = some_way(me);
	struct paxshm_grant grant = PAXSHM_INIT(grant);
	struct history_turn *t = me->t;
	int rc = paxshm_lock_acquire(me->lock, &how, &grant);
	uint64_t returned = now_ns();

	t->token = rc ? 0 : grant.token;
	t->outcome = rc ? HISTORY_REFUSED : HISTORY_GRANTED;
	/* It counts from this instruction on: killed before, and the outcome is unknown. */
	__atomic_store_n(&t->returned_ns, returned, __ATOMIC_RELEASE);
	if (rc == 0) {
		hold(me, &grant);
		release(me);
		__atomic_fetch_add(&crew->workers[me->w].granted, 1, __ATOMIC_RELAXED);
		return 0;
	}
	if (rc != -EBUSY && rc != -ETIMEDOUT && rc != -ENETUNREACH && rc != -ENOTCONN)
		breaks("worker %u: acquire: %s", me->w, paxshm_strerror(rc));
	return rc == -ENOTCONN ? rc : 0;
}

static int with_key(struct self *me, const char *key, uint64_t number)
{
	int rc = paxshm_lock_ref(me->session, key, strlen(key), &me->lock);

	if (rc) {
		breaks("worker %u: ref: %s", me->w, paxshm_strerror(rc));
		return rc;
	}
	me->resource = number < KEYS ? &crew->resource[number] : NULL;
	if (!begin_turn(me, number))
		return -ENOSPC;
	rc = take_turn(me);
	paxshm_lock_unref(me->lock);
	return rc;
}

static int work_once(struct self *me)
{
	uint64_t number;
	char key[48];

	switch (me->job) {
	case CREW_HOT:
		number = up_to(me, HOT_KEYS - 1);
		snprintf(key, sizeof(key), "hot %u", (unsigned)number);
		break;
	case CREW_COLD:
		number = HOT_KEYS + up_to(me, COLD_KEYS - 1);
		snprintf(key, sizeof(key), "cold %u", (unsigned)number);
		break;
	default:
		number = PROBES * (me->w + 1) + crew->workers[me->w].number++;
		snprintf(key, sizeof(key), "probe %llx", (unsigned long long)number);
	}
	return with_key(me, key, number);
}

static bool open_session(struct self *me)
{
	struct paxshm_options options = PAXSHM_INIT(options);
	int rc;

	options.socket = rig->host[me->host].socket;
	options.agent_timeout_ms = AGENT_TIMEOUT_MS;
	while (!stopping()) {
		me->life = __atomic_load_n(&crew->lives[me->host], __ATOMIC_ACQUIRE);
		rc = paxshm_open(&me->session, &options);
		if (rc == 0)
			return true;
		if (rc != -ECONNREFUSED && rc != -ENOTCONN)
			breaks("worker %u: open: %s (%s)", me->w, paxshm_strerror(rc), paxshm_open_reason());
		nap_us(5000);
	}
	return false;
}

/* -ENOTCONN may also say that the agent was silent for a while; then the session goes on. */
static bool session_over(struct self *me)
{
	struct paxshm_status status = PAXSHM_INIT(status);

	if (paxshm_status(me->session, 0, &status) != -ENOTCONN)
		return false;
	if (life_goes_on(me))
		breaks("worker %u on host %u: a session is over, though nothing ended", me->w, me->host);
	return true;
}

static _Noreturn void work(unsigned w, uint64_t seed)
{
	struct self me = { .w = w, .host = crew->workers[w].host, .job = crew->workers[w].job, .random = seed };
	int rc = 0;

	while (open_session(&me)) {
		while (!stopping() && rc != -ENOSPC) {
			rc = work_once(&me);
			if (rc == -ENOTCONN && session_over(&me))
				break;
			nap_us(rc ? 2000 : up_to(&me, me.job == CREW_PROBE ? 3000 : 1500));
		}
		rc = paxshm_close(me.session);
		if (rc)
			breaks("worker %u: close: %s", w, paxshm_strerror(rc));
		if (crew_full())
			break;
	}
	_exit(0);
}

/* ---- in the test ---- */

void crew_begin(size_t room, bool leases, uint64_t seed)
{
	crew = mmap(NULL, sizeof(*crew), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	turns = mmap(NULL, room * sizeof(*turns), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	cr_assert_neq(crew, MAP_FAILED);
	cr_assert_neq(turns, MAP_FAILED);
	crew->room = room;
	crew->leases = leases;
	crew->seed = seed;
}

unsigned crew_size(void) { return crew->n; }
unsigned crew_host(unsigned w) { return crew->workers[w].host; }
enum crew_job crew_job(unsigned w) { return crew->workers[w].job; }
struct process crew_process(unsigned w) { return crew->workers[w].process; }

void crew_start(unsigned w)
{
	struct worker *worker = &crew->workers[w];
	pid_t parent = getpid(), pid;
	uint64_t seed = hash_mix(crew->seed + (worker->number << 8) + w);

	cr_assert_eq(worker->process.pid, 0);
	worker->turn = 0;
	worker->number++; /* the last one's may have been under way */
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		close_range(3, ~0u, 0);
		work(w, seed);
	}
	cr_assert(pid > 0);
	worker->process = process_of(pid);
}

unsigned crew_hire(unsigned host, enum crew_job job)
{
	cr_assert_lt(crew->n, CREW_WORKERS);
	crew->workers[crew->n] = (struct worker){ .host = host, .job = job };
	crew_start(crew->n);
	return crew->n++;
}

static struct history_turn *last_turn(const struct worker *worker)
{
	uint64_t at = __atomic_load_n(&worker->turn, __ATOMIC_ACQUIRE);

	return at ? &turns[at - 1] : NULL;
}

bool crew_inside(unsigned w)
{
	struct history_turn *t = last_turn(&crew->workers[w]);

	return t && __atomic_load_n(&t->returned_ns, __ATOMIC_ACQUIRE) && t->outcome == HISTORY_GRANTED &&
	       !__atomic_load_n(&t->release_ns, __ATOMIC_ACQUIRE);
}

/* Its last turn, when that was not over. */
static void note_death(struct worker *worker, uint64_t killed)
{
	struct history_turn *t = last_turn(worker);

	if (t && !(t->returned_ns && t->outcome == HISTORY_REFUSED) && t->end == HISTORY_NOT_SAID)
		t->killed_ns = killed;
}

void crew_kill(unsigned w)
{
	struct worker *worker = &crew->workers[w];
	uint64_t before = now_ns();
	int status;

	cr_assert(process_signal(&worker->process, SIGKILL), "worker %u has ended: %s", w, crew_broken());
	status = rig_wait(worker->process.pid);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "worker %u had ended with status %d", w, status);
	note_death(worker, before);
	worker->process = (struct process){ 0 };
	worker->paused = false;
}

bool crew_pause(unsigned w)
{
	struct worker *worker = &crew->workers[w];

	if (worker->paused || !worker->process.pid)
		return false;
	cr_assert(process_signal(&worker->process, SIGSTOP), "worker %u has ended: %s", w, crew_broken());
	worker->paused = true;
	return true;
}

void crew_resume(unsigned w)
{
	struct worker *worker = &crew->workers[w];

	if (!worker->paused)
		return;
	cr_assert(process_signal(&worker->process, SIGCONT));
	worker->paused = false;
}

void crew_cling(unsigned host, bool on)
{
	__atomic_store_n(&crew->clinging[host], on, __ATOMIC_RELEASE);
}

unsigned crew_clinging(unsigned host)
{
	unsigned n = 0;

	for (unsigned w = 0; w < crew->n; w++)
		n += crew->workers[w].host == host && crew->workers[w].job != CREW_PROBE && crew_inside(w);
	return n;
}

void crew_life_ends(unsigned host)
{
	__atomic_fetch_add(&crew->lives[host], 1, __ATOMIC_RELEASE);
}

static uint64_t granted(unsigned w)
{
	return __atomic_load_n(&crew->workers[w].granted, __ATOMIC_RELAXED);
}

uint64_t crew_turns(void)
{
	uint64_t all = 0;

	for (unsigned w = 0; w < crew->n; w++)
		all += granted(w);
	return all;
}

void crew_mark(void)
{
	for (unsigned w = 0; w < crew->n; w++)
		crew->workers[w].marked = granted(w);
}

static bool did(unsigned w, uint64_t more)
{
	return crew->workers[w].paused || granted(w) >= crew->workers[w].marked + more;
}

bool crew_each_did(uint64_t more)
{
	for (unsigned w = 0; w < crew->n; w++)
		if (!did(w, more))
			return false;
	return true;
}

bool crew_others_did(unsigned host, uint64_t more)
{
	for (unsigned w = 0; w < crew->n; w++)
		if (crew->workers[w].host != host && !did(w, more))
			return false;
	return true;
}

bool crew_probes_did(uint64_t more)
{
	for (unsigned w = 0; w < crew->n; w++)
		if (crew->workers[w].job == CREW_PROBE && !did(w, more))
			return false;
	return true;
}

bool crew_full(void)
{
	return __atomic_load_n(&crew->used, __ATOMIC_RELAXED) >= crew->room;
}

void crew_end(void)
{
	__atomic_store_n(&crew->stop, true, __ATOMIC_RELEASE);
	for (unsigned w = 0; w < crew->n; w++) {
		struct worker *worker = &crew->workers[w];

		if (!worker->process.pid)
			continue;
		crew_resume(w);
		int status = rig_wait(worker->process.pid);
		cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "worker %u ended with status %d", w, status);
		worker->process = (struct process){ 0 };
	}
}

struct history_turn *crew_history(size_t *ret_n)
{
	size_t used = MIN(crew->used, crew->room), n = 0;

	for (size_t i = 0; i < used; i++) {
		struct history_turn t = turns[i];

		if (!t.called_ns) /* killed before it asked */
			continue;
		if (!t.returned_ns) { /* killed before it knew, or before it wrote it down */
			t.outcome = HISTORY_UNKNOWN;
			t.token = 0;
		}
		turns[n++] = t;
	}
	*ret_n = n;
	return turns;
}

bool crew_is_probe(uint64_t key) { return key >= PROBES; }

uint64_t crew_suspensions(unsigned host)
{
	uint64_t all = 0;

	for (unsigned n = 1; n <= RIG_HOSTS; n++)
		all += !host || n == host ? __atomic_load_n(&crew->suspensions[n], __ATOMIC_RELAXED) : 0;
	return all;
}

uint64_t crew_resumptions(void) { return crew->resumptions; }
