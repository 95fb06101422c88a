/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync: clock, futex and atomics as the benchmark uses them: what any program could write, so that
 * the limits owe nothing to the library they are held against.
 *
 * Who may enter: all of bench.
 */
#ifndef PAXSHM_BENCH_SYNC_H
#define PAXSHM_BENCH_SYNC_H

#include <errno.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../lib/base.h"

#define PS_PER_NS 1000ull
#define NS_PER_US 1000ull

#define load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define swap_acq_rel(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)
#define add_acq_rel(p, v) __atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL)

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static inline void sleep_ns(uint64_t ns)
{
	struct timespec t = { .tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S) };

	nanosleep(&t, NULL);
}

static inline void sleep_until_ns(uint64_t at)
{
	struct timespec t = { .tv_sec = (time_t)(at / NS_PER_S), .tv_nsec = (long)(at % NS_PER_S) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

/* Sleeps while *word holds `value`, a second at most; between processes. */
static inline void futex_wait(uint32_t *word, uint32_t value)
{
	struct timespec most = { .tv_sec = 1 };

	syscall(SYS_futex, word, FUTEX_WAIT, value, &most, NULL, 0);
}

/* How many were woken. */
static inline long futex_wake(uint32_t *word, int n)
{
	return syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);
}

#endif
