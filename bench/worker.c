/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "worker.h"

#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "progress.h"
#include "sync.h"

#define STOP_PATIENCE_NS (30 * NS_PER_S)   /* a call of the library answers before that */
#define READY_PATIENCE_NS (600 * NS_PER_S) /* some fill a table first */
#define SPIN_BEFORE_NS (60 * NS_PER_US)    /* open loop: no timer is more exact than this */

bool crew_pins;

struct crew_shared {
	uint32_t turn;    /* rises with each turn; futex */
	uint32_t runs;    /* 1: the turn goes on */
	uint32_t settled; /* workers that are ready, or have ended the turn; futex */
	uint32_t ends;    /* 1: no more turns */
	size_t extra_at;  /* of worker_shared() */
	_Alignas(64) struct worker workers[];
};

struct worker *crew_worker(struct crew *c, unsigned i)
{
	ASSERT(i < c->plan.n);
	return &c->shared->workers[i];
}

void *worker_shared(const struct worker *w)
{
	return (char *)w->shared + w->shared->extra_at;
}

bool worker_goes_on(const struct worker *w)
{
	return load_relaxed(&w->shared->runs);
}

uint64_t worker_start_ns(struct worker *w)
{
	if (!w->interval_ns)
		return now_ns();
	uint64_t due = w->next_start_ns, now = now_ns();

	w->next_start_ns += w->interval_ns;
	if (now + SPIN_BEFORE_NS < due)
		sleep_until_ns(due - SPIN_BEFORE_NS);
	while (now_ns() < due)
		sched_yield();
	return due;
}

void worker_saw(struct worker *w, uint64_t start_ns, uint64_t end_ns)
{
	histogram_add(&w->seen, (end_ns - start_ns) * PS_PER_NS);
	w->done++;
}

void worker_fail(struct worker *w, const char *format, ...)
{
	va_list args;

	if (w->errors++ == 0) {
		va_start(args, format);
		vsnprintf(w->why, sizeof(w->why), format, args);
		va_end(args);
	}
}

/* ---- the worker's process ---- */

/* Those that paxbench itself may use; a worker that is pinned may use one. */
static cpu_set_t cores;

int worker_cores(void)
{
	if (CPU_COUNT(&cores) == 0 && sched_getaffinity(0, sizeof(cores), &cores) < 0)
		return 1;
	return CPU_COUNT(&cores);
}

void worker_pin(pid_t pid, int core)
{
	cpu_set_t one;
	int at = -1;

	core %= worker_cores();
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &cores) || ++at < core)
			continue;
		CPU_ZERO(&one);
		CPU_SET(i, &one);
		sched_setaffinity(pid, sizeof(one), &one);
		return;
	}
}

static void settle(struct crew_shared *shared)
{
	add_acq_rel(&shared->settled, 1u);
	futex_wake(&shared->settled, 1);
}

static _Noreturn void work(const struct crew_plan *plan, struct worker *w, pid_t parent)
{
	struct crew_shared *shared = w->shared;
	uint32_t turn = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	prctl(PR_SET_TIMERSLACK, 1ul);
	signal(SIGPIPE, SIG_IGN);
	if (crew_pins || plan->place == PLACE_TWO)
		worker_pin(0, plan->place == PLACE_ONE ? 0 : (int)w->index);
	if (plan->begin)
		plan->begin(w, plan->with);
	for (;;) {
		settle(shared);
		while (load_acquire(&shared->turn) == turn)
			futex_wait(&shared->turn, turn);
		turn = load_acquire(&shared->turn);
		if (load_acquire(&shared->ends))
			break;
		if (plan->rate > 0) {
			w->interval_ns = (uint64_t)((double)NS_PER_S * plan->n / plan->rate);
			w->next_start_ns = now_ns() + w->interval_ns * w->index / plan->n;
		}
		plan->turn(w, plan->with);
	}
	if (plan->end)
		plan->end(w, plan->with);
	_exit(0);
}

/* ---- paxbench's side ---- */

static void kill_all(struct crew *c)
{
	for (unsigned i = 0; i < c->plan.n; i++) {
		if (c->pids[i] <= 0)
			continue;
		kill(c->pids[i], SIGKILL); /* not reaped yet: the pid is still its own */
		waitpid(c->pids[i], NULL, 0);
		c->pids[i] = 0;
	}
}

static void drop(struct crew *c)
{
	kill_all(c);
	if (c->shared)
		munmap(c->shared, c->bytes);
	c->shared = NULL;
}

static bool one_died(struct crew *c)
{
	for (unsigned i = 0; i < c->plan.n; i++) {
		if (c->pids[i] > 0 && waitpid(c->pids[i], NULL, WNOHANG) == c->pids[i]) {
			c->pids[i] = 0;
			return true;
		}
	}
	return false;
}

/* Waits until all have settled. */
static int wait_settled(struct crew *c, uint64_t patience_ns)
{
	uint64_t give_up = now_ns() + patience_ns;
	uint32_t settled;

	while ((settled = load_acquire(&c->shared->settled)) < c->plan.n) {
		if (one_died(c)) {
			fprintf(stderr, "paxbench: %s: a worker process died\n", c->plan.name);
			return -ECHILD;
		}
		if (now_ns() > give_up) {
			fprintf(stderr, "paxbench: %s: a worker process hangs\n", c->plan.name);
			return -ETIMEDOUT;
		}
		progress(c->plan.name, "its processes are at work");
		futex_wait(&c->shared->settled, settled);
	}
	return 0;
}

int crew_start(struct crew *c, const struct crew_plan *plan)
{
	size_t extra_at = align_up(sizeof(struct crew_shared) + plan->n * sizeof(struct worker), 64);
	pid_t parent = getpid();

	ASSERT(plan->n > 0 && plan->n <= WORKERS_MAX);
	*c = (struct crew){ .plan = *plan, .bytes = align_up(extra_at + plan->shared_bytes, 64) };
	c->shared = mmap(NULL, c->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (c->shared == MAP_FAILED) {
		c->shared = NULL;
		fprintf(stderr, "paxbench: %s: no memory\n", plan->name);
		return -ENOMEM;
	}
	c->shared->extra_at = extra_at;
	fflush(NULL);
	for (unsigned i = 0; i < plan->n; i++) {
		struct worker *w = &c->shared->workers[i];

		w->index = i;
		w->n = plan->n;
		w->shared = c->shared;
		c->pids[i] = fork();
		if (c->pids[i] == 0)
			work(plan, w, parent);
		if (c->pids[i] < 0) {
			fprintf(stderr, "paxbench: %s: fork: %s\n", plan->name, strerror(errno));
			drop(c);
			return -EAGAIN;
		}
	}
	int rc = wait_settled(c, READY_PATIENCE_NS);
	if (rc < 0)
		drop(c);
	return rc;
}

static void next_turn(struct crew *c)
{
	store_release(&c->shared->settled, 0u);
	add_acq_rel(&c->shared->turn, 1u);
	futex_wake(&c->shared->turn, INT32_MAX);
}

void crew_go(struct crew *c)
{
	if (!c->shared)
		return;
	for (unsigned i = 0; i < c->plan.n; i++) {
		struct worker *w = crew_worker(c, i);
		w->done = 0;
		histogram_clear(&w->seen);
	}
	c->begun_ns = now_ns();
	store_release(&c->shared->runs, 1u);
	next_turn(c);
}

int crew_finish(struct crew *c, uint64_t *ret_ns)
{
	if (!c->shared)
		return -ECHILD;
	int rc = wait_settled(c, STOP_PATIENCE_NS);
	if (rc < 0)
		drop(c);
	else
		*ret_ns = now_ns() - c->begun_ns;
	return rc;
}

int crew_halt(struct crew *c, uint64_t *ret_ns)
{
	if (c->shared)
		store_release(&c->shared->runs, 0u);
	return crew_finish(c, ret_ns);
}

int crew_turn(struct crew *c, uint64_t ns, uint64_t *ret_ns)
{
	crew_go(c);
	if (c->shared)
		sleep_until_ns(c->begun_ns + ns);
	return crew_halt(c, ret_ns);
}

void crew_kill(struct crew *c)
{
	drop(c);
}

void crew_stop(struct crew *c)
{
	if (!c->shared)
		return;
	store_release(&c->shared->ends, 1u);
	next_turn(c);
	uint64_t give_up = now_ns() + STOP_PATIENCE_NS;
	for (unsigned i = 0; i < c->plan.n; i++)
		while (c->pids[i] > 0 && now_ns() < give_up) {
			if (waitpid(c->pids[i], NULL, WNOHANG) == c->pids[i])
				c->pids[i] = 0;
			else
				sleep_ns(NS_PER_MS);
		}
	drop(c);
}

uint64_t crew_errors(struct crew *c, char why[WORKER_WHY])
{
	uint64_t errors = 0;

	for (unsigned i = 0; c->shared && i < c->plan.n; i++) {
		const struct worker *w = crew_worker(c, i);
		if (w->errors && !errors)
			memcpy(why, w->why, WORKER_WHY);
		errors += w->errors;
	}
	return errors;
}
