/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "counter.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig.h"

/* The file. One write of it is not torn by a kill: it is copied into one page. */
struct record {
	uint64_t count, token, by[COUNTER_WORKERS];
	uint32_t inside, worker; /* pid; 0: nobody */
};

struct worker {
	pid_t pid;
	unsigned host;
	uint64_t mine; /* what it knows to have added */
};

struct counter { /* shared by test and workers */
	char path[128], key[64];
	struct worker workers[COUNTER_WORKERS];
	struct record seen; /* as of the last turn, for the test */
	uint64_t deaths_told;
	unsigned stop, broken;
	char words[256]; /* what is broken */
};

/* ---- in a worker ---- */

static void breaks(struct counter *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void breaks(struct counter *c, const char *format, ...)
{
	va_list args;

	if (__atomic_fetch_add(&c->broken, 1, __ATOMIC_ACQ_REL))
		return;
	va_start(args, format);
	vsnprintf(c->words, sizeof(c->words), format, args);
	va_end(args);
}

static bool broken(const struct counter *c)
{
	return __atomic_load_n(&c->broken, __ATOMIC_ACQUIRE);
}

static void take_turn(struct counter *c, unsigned w, int file, const struct paxshm_grant *grant)
{
	struct record r = { 0 }, again;
	bool died = grant->flags & PAXSHM_OWNER_DIED;

	if (pread(file, &r, sizeof(r), 0) < 0)
		breaks(c, "the file cannot be read");
	if (r.inside && !died)
		breaks(c, "worker %u (token %llu) met worker %u (token %llu) inside", w, (unsigned long long)grant->token,
		       r.worker, (unsigned long long)r.token);
	if (grant->token <= r.token)
		breaks(c, "worker %u: token %llu after %llu", w, (unsigned long long)grant->token, (unsigned long long)r.token);
	if (r.by[w] < c->workers[w].mine)
		breaks(c, "worker %u: of %llu turns %llu are left", w, (unsigned long long)c->workers[w].mine,
		       (unsigned long long)r.by[w]);
	c->deaths_told += died; /* under the lock */

	r.inside = (uint32_t)getpid();
	r.worker = w;
	r.token = grant->token;
	c->seen = r;
	if (pwrite(file, &r, sizeof(r), 0) != sizeof(r))
		breaks(c, "the file cannot be written");
	sched_yield();
	if (pread(file, &again, sizeof(again), 0) != sizeof(again) || memcmp(&again, &r, sizeof(r)))
		breaks(c, "the file changed under worker %u: worker %u is there too", w, again.worker);
	r.count++;
	r.by[w]++;
	r.inside = 0;
	if (pwrite(file, &r, sizeof(r), 0) != sizeof(r))
		breaks(c, "the file cannot be written");
	c->workers[w].mine = r.by[w];
	c->seen = r;
}

static _Noreturn void work(struct counter *c, unsigned w, const char *socket)
{
	struct paxshm_options options = PAXSHM_INIT(options);
	int file = open(c->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), rc;
	paxshm_lock_handle *l;
	paxshm_session *s;

	options.socket = socket;
	rc = paxshm_open(&s, &options);
	if (rc) {
		breaks(c, "worker %u: open: %s (%s)", w, paxshm_strerror(rc), paxshm_open_reason());
		_exit(1);
	}
	rc = paxshm_lock_ref(s, c->key, strlen(c->key), &l);
	while (!rc && !broken(c) && !__atomic_load_n(&c->stop, __ATOMIC_ACQUIRE)) {
		struct paxshm_grant grant = PAXSHM_INIT(grant);

		rc = paxshm_lock_acquire(l, NULL, &grant);
		if (rc)
			break;
		take_turn(c, w, file, &grant);
		rc = paxshm_lock_check(l);
		if (!rc)
			rc = paxshm_lock_release(l);
	}
	if (rc)
		breaks(c, "worker %u: %s", w, paxshm_strerror(rc));
	rc = paxshm_close(s);
	if (rc)
		breaks(c, "worker %u: close: %s", w, paxshm_strerror(rc));
	_exit(0);
}

/* ---- in the test ---- */

struct counter *counter_new(const char *key)
{
	struct counter *c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq(c, MAP_FAILED);
	snprintf(c->key, sizeof(c->key), "%s", key);
	snprintf(c->path, sizeof(c->path), "%s/counter-%s", rig->dir, key);
	return c;
}

void counter_work(struct counter *c, unsigned w, unsigned host)
{
	pid_t parent = getpid(), pid;

	cr_assert_lt(w, COUNTER_WORKERS);
	cr_assert_eq(c->workers[w].pid, 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		close_range(3, ~0u, 0);
		work(c, w, rig->host[host].socket);
	}
	cr_assert(pid > 0);
	c->workers[w].pid = pid;
	c->workers[w].host = host;
}

unsigned counter_kill(struct counter *c, unsigned w)
{
	pid_t pid = c->workers[w].pid;

	cr_assert(pid > 0);
	cr_assert_eq(kill(pid, SIGKILL), 0); /* our child: the pid is its own until it is waited for */
	rig_wait(pid);
	c->workers[w].pid = 0;
	return w;
}

unsigned counter_kill_inside(struct counter *c)
{
	struct record seen = { 0 };

	RIG_WAIT((seen = *(volatile struct record *)&c->seen, seen.inside && seen.worker < COUNTER_WORKERS &&
								      (pid_t)seen.inside == c->workers[seen.worker].pid));
	return counter_kill(c, seen.worker);
}

uint64_t counter_turns(const struct counter *c)
{
	uint64_t turns = 0;

	for (unsigned w = 0; w < COUNTER_WORKERS; w++)
		turns += counter_turns_of(c, w);
	return turns;
}

uint64_t counter_turns_of(const struct counter *c, unsigned w)
{
	return __atomic_load_n(&c->workers[w].mine, __ATOMIC_RELAXED);
}

uint64_t counter_deaths_told(const struct counter *c)
{
	return __atomic_load_n(&c->deaths_told, __ATOMIC_RELAXED);
}

static bool moved(const struct counter *c, const uint64_t *before, uint64_t n, int each)
{
	uint64_t all = 0;

	if (broken(c))
		return true;
	for (unsigned w = 0; w < COUNTER_WORKERS; w++) {
		uint64_t turns = counter_turns_of(c, w) - before[w];

		if (each && c->workers[w].pid && turns < n)
			return false;
		all += turns;
	}
	return each || all >= n;
}

void counter_wait(struct counter *c, uint64_t n, int each)
{
	uint64_t before[COUNTER_WORKERS];

	for (unsigned w = 0; w < COUNTER_WORKERS; w++)
		before[w] = counter_turns_of(c, w);
	RIG_WAIT(moved(c, before, n, each), "%llu more turns", (unsigned long long)n);
	cr_assert_not(broken(c), "%s", c->words);
}

void counter_check(struct counter *c)
{
	int file = open(c->path, O_RDONLY | O_CLOEXEC);
	struct record r = { 0 };
	uint64_t sum = 0;

	__atomic_store_n(&c->stop, 1, __ATOMIC_RELEASE);
	for (unsigned w = 0; w < COUNTER_WORKERS; w++)
		if (c->workers[w].pid) {
			rig_wait(c->workers[w].pid);
			c->workers[w].pid = 0;
		}
	cr_assert_not(broken(c), "%s", c->words);
	cr_assert_eq(pread(file, &r, sizeof(r), 0), sizeof(r));
	close(file);
	cr_assert_eq(r.inside, 0);
	for (unsigned w = 0; w < COUNTER_WORKERS; w++) {
		/* Who was killed between writing and noting has one more in the file. */
		cr_assert(r.by[w] == c->workers[w].mine || r.by[w] == c->workers[w].mine + 1);
		sum += r.by[w];
	}
	cr_assert_eq(r.count, sum);
}
