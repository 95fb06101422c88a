/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker: processes that do one thing over and over, in turns, and count how long it took.
 *
 * A crew is a few processes that are forked once, get ready, and then sleep. crew_turn() lets them
 * work for a while and puts them to sleep again, so that what is measured and the limit beside it can
 * take turns many times within a second. They end when their crew is stopped, and when paxbench dies.
 *
 *	crew_start -> [begin] ready -> crew_turn -> [turn] asleep -> crew_turn … -> crew_stop -> [end]
 *
 * A turn of theirs is a loop `while (worker_goes_on(w))`. What cannot be measured is said with
 * worker_fail(), after which the function returns.
 *
 * Who may enter: limit, series, and the cases.
 */
#ifndef PAXSHM_BENCH_WORKER_H
#define PAXSHM_BENCH_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "histogram.h"

#define WORKERS_MAX 256u
#define WORKER_WHY 160u

struct crew_shared;

/* In memory that paxbench and the worker share. The worker writes it during a turn, paxbench reads
 * and clears it between turns. */
struct worker {
	unsigned index, n;      /* which of how many */
	uint64_t done;          /* operations of this turn */
	uint64_t errors;        /* since the crew was started */
	char why[WORKER_WHY];   /* the first of them */
	uint64_t next_start_ns; /* open loop: when the next operation is meant to start */
	uint64_t interval_ns;   /* 0: closed loop */
	uint64_t state[4];      /* the plan's own, zero at first */
	void *own;              /* the plan's own, in the worker's private memory */
	struct crew_shared *shared;
	struct histogram seen; /* picoseconds, of this turn */
};

/* On which cores a crew runs. */
enum place {
	PLACE_AS_SAID, /* where the scheduler likes; with --pin worker i on core i */
	PLACE_ONE,     /* all on one core, if --pin was said */
	PLACE_TWO,     /* worker i on core i, whatever was said */
};

struct crew_plan {
	const char *name;
	unsigned n;
	void (*begin)(struct worker *w, const void *with); /* once, before the first turn; may be NULL */
	void (*turn)(struct worker *w, const void *with);
	void (*end)(struct worker *w, const void *with); /* may be NULL */
	const void *with;                                /* handed to them */
	size_t shared_bytes;                             /* for worker_shared(), zero at first */
	double rate;                                     /* operations a second of the whole crew; 0: closed loop */
	enum place place;
};

struct crew {
	struct crew_plan plan;
	struct crew_shared *shared; /* NULL: not started */
	size_t bytes;
	uint64_t begun_ns; /* the last turn */
	pid_t pids[WORKERS_MAX];
};

extern bool crew_pins; /* --pin */

/* How many cores there are for paxbench, and: pid (0: the caller) stays on the core-th of them, counted round. */
int worker_cores(void);
void worker_pin(pid_t pid, int core);

/* Forks the workers and waits until all are ready. 0, or -errno and a line on standard error. */
int crew_start(struct crew *c, const struct crew_plan *plan);

/* Lets them work for `ns`. *ret_ns: how long it was until all had stopped. 0, or -errno when one
 * died or did not stop: the crew is gone then. */
int crew_turn(struct crew *c, uint64_t ns, uint64_t *ret_ns);

/* The same in two parts, so that something else can happen meanwhile. */
void crew_go(struct crew *c);
int crew_halt(struct crew *c, uint64_t *ret_ns);

/* Waits until all have ended the turn by themselves: for turns that do so. As crew_turn(). */
int crew_finish(struct crew *c, uint64_t *ret_ns);

/* kill -9 of all of them; the crew is gone. */
void crew_kill(struct crew *c);

/* Ends them. Also of a crew that was never started or is gone. */
void crew_stop(struct crew *c);

struct worker *crew_worker(struct crew *c, unsigned i);
uint64_t crew_errors(struct crew *c, char why[WORKER_WHY]);

/* ---- in a worker ---- */

/* false: this turn is over. */
bool worker_goes_on(const struct worker *w);

/* Closed loop: now. Open loop: waits until the next operation is meant to start, and answers when
 * that was - in the past, when the one before took too long: what a late operation costs those
 * behind it counts (coordinated omission). */
uint64_t worker_start_ns(struct worker *w);

/* One operation that began at worker_start_ns() has ended at now_ns. */
void worker_saw(struct worker *w, uint64_t start_ns, uint64_t end_ns);

void worker_fail(struct worker *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

void *worker_shared(const struct worker *w);

#endif
