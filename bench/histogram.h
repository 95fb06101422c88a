/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram: how often each duration was seen. Log-linear: every power of two is cut into 128 equal
 * buckets, so a quantile is off by at most 1/256 of itself (HISTOGRAM_ERROR), whatever its size;
 * values below 128, count, sum, least and greatest are exact. Fixed size, no pointers: it may lie in
 * memory that processes share. Histograms of one kind are merged by adding them.
 *
 * Values are picoseconds wherever paxbench uses it: a lookup takes less than 100 ns, a failover
 * seconds. What is greater than HISTOGRAM_TOP is counted in the last bucket.
 *
 * Who may enter: all of bench, and tests. Pure: no system call, clock or allocation.
 */
#ifndef PAXSHM_BENCH_HISTOGRAM_H
#define PAXSHM_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_FINE_BITS 7u
#define HISTOGRAM_FINE (1u << HISTOGRAM_FINE_BITS)
#define HISTOGRAM_TOP_BITS 53u
#define HISTOGRAM_TOP ((1ull << HISTOGRAM_TOP_BITS) - 1) /* 2.5 hours of picoseconds */
#define HISTOGRAM_BUCKETS ((HISTOGRAM_TOP_BITS - HISTOGRAM_FINE_BITS + 1) * HISTOGRAM_FINE)
#define HISTOGRAM_ERROR (0.5 / HISTOGRAM_FINE)

/* All zero: empty. */
struct histogram {
	uint64_t n;
	uint64_t least, greatest; /* meaningless while n is 0 */
	double sum;
	uint64_t count[HISTOGRAM_BUCKETS];
};

void histogram_clear(struct histogram *h);
void histogram_add(struct histogram *h, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);

/* The value that the share q (0 to 1) of all values does not exceed; 0 when there is none. */
uint64_t histogram_quantile(const struct histogram *h, double q);
double histogram_mean(const struct histogram *h);

/* For tests and curves: the bucket of a value, and the middle of a bucket. */
unsigned histogram_bucket(uint64_t value);
uint64_t histogram_middle(unsigned bucket);

#endif
