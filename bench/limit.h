/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limit: what the machine itself needs for the least that a path must do, measured by plans for
 * crews. Peers are processes and sleep as the agents' and the library's do: in the kernel, without
 * spinning.
 *
 *	tcp      a byte to another process over TCP on the loopback and back
 *	futex    a word handed to another process that sleeps on it, and back: two wake-ups
 *	wake     from just before FUTEX_WAKE to running in the process that was woken: one wake-up
 *	mutex    lock and unlock of a robust, process-shared pthread mutex that nobody else wants
 *	ticket   a fair lock between processes that sleep: from release to running in the next owner
 *	loads    two loads from random lines of a table, the second's place known by the first
 *
 * A cluster of one, as the agent without consensus, is a limit too: see throughput.c.
 *
 * Who may enter: the cases, tests.
 */
#ifndef PAXSHM_BENCH_LIMIT_H
#define PAXSHM_BENCH_LIMIT_H

#include "worker.h"

struct crew_plan limit_tcp(enum place place);
struct crew_plan limit_futex(enum place place);

/* The same when everybody has slept for a while before each: `rest_ns` must live as long as the crew. */
struct crew_plan limit_tcp_rested(const uint64_t *rest_ns);
struct crew_plan limit_futex_rested(const uint64_t *rest_ns);
struct crew_plan limit_wake(void);
struct crew_plan limit_mutex(void);
struct crew_plan limit_ticket(unsigned processes);

/* `bytes`: of the table; it is made of shared memory, as ours is. Must live as long as the crew. */
struct crew_plan limit_loads(const size_t *bytes);

/* One measurement of what takes less than a microsecond covers so many in a row: reading the clock
 * costs as much as one of them. Of pairs of acquire and release it covers more: what is left of the clock in
 * each would flatter the ratio of two that both take less than twenty nanoseconds. */
#define LIMIT_BATCH 16u
#define LIMIT_PAIRS 256u

/* One value for a batch that took `ns`: picoseconds of each. */
void limit_saw_batch(struct worker *w, uint64_t ns, unsigned batch);

/* For tests: a random cycle through all n places: next[i] follows i. */
void limit_cycle(uint32_t *next, uint32_t n, uint64_t seed);

#endif
