/* SPDX-License-Identifier: Apache-2.0 */
#include "histogram.h"

#include <string.h>

#include "../lib/base.h"

_Static_assert(sizeof(double) == 8 && sizeof(struct histogram) % 8 == 0, "lies in shared memory");

/* Below FINE, a value is its own bucket. Above, the leading bit chooses a power of two, and the
 * FINE_BITS bits behind it one of its buckets. */
unsigned histogram_bucket(uint64_t value)
{
	if (value < HISTOGRAM_FINE)
		return (unsigned)value;
	value = MIN(value, HISTOGRAM_TOP);
	unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_FINE_BITS;
	return shift * HISTOGRAM_FINE + (unsigned)(value >> shift);
}

uint64_t histogram_middle(unsigned bucket)
{
	if (bucket < HISTOGRAM_FINE)
		return bucket;
	unsigned shift = bucket / HISTOGRAM_FINE - 1;
	uint64_t low = (uint64_t)(bucket - shift * HISTOGRAM_FINE) << shift;
	return low + ((1ull << shift) >> 1);
}

void histogram_clear(struct histogram *h)
{
	memset(h, 0, sizeof(*h));
}

void histogram_add(struct histogram *h, uint64_t value)
{
	unsigned bucket = histogram_bucket(value);

	ASSERT(bucket < HISTOGRAM_BUCKETS);
	if (h->n == 0 || value < h->least)
		h->least = value;
	if (h->n == 0 || value > h->greatest)
		h->greatest = value;
	h->n++;
	h->sum += (double)value;
	h->count[bucket]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	if (from->n == 0)
		return;
	into->least = into->n ? MIN(into->least, from->least) : from->least;
	into->greatest = into->n ? MAX(into->greatest, from->greatest) : from->greatest;
	into->n += from->n;
	into->sum += from->sum;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->count[i] += from->count[i];
}

/* The value whose rank is q*n, rounded up: the smallest that at least the share q does not exceed. */
uint64_t histogram_quantile(const struct histogram *h, double q)
{
	if (h->n == 0)
		return 0;
	double exact = q * (double)h->n;
	uint64_t rank = (uint64_t)exact, seen = 0;

	if ((double)rank < exact || rank == 0)
		rank++;
	if (rank >= h->n)
		return h->greatest;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->count[i];
		if (seen >= rank)
			return MAX(h->least, MIN(h->greatest, histogram_middle(i)));
	}
	return h->greatest;
}

double histogram_mean(const struct histogram *h)
{
	return h->n ? h->sum / (double)h->n : 0;
}
