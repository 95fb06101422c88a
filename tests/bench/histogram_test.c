/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "../../bench/histogram.h"
#include "../../lib/base.h"

static struct histogram h, other;

Test(histogram, an_empty_one_has_no_values)
{
	cr_assert_eq(h.n, 0);
	cr_assert_eq(histogram_quantile(&h, 0.5), 0);
	cr_assert_float_eq(histogram_mean(&h), 0, 0);
}

Test(histogram, small_values_are_exact)
{
	for (uint64_t v = 0; v < HISTOGRAM_FINE; v++)
		histogram_add(&h, v);
	for (uint64_t v = 0; v < HISTOGRAM_FINE; v++)
		cr_assert_eq(histogram_quantile(&h, (double)(v + 1) / HISTOGRAM_FINE), v);
}

Test(histogram, buckets_follow_each_other_without_gap_or_overlap)
{
	for (uint64_t v = 1; v < 1u << 20; v++) {
		unsigned step = histogram_bucket(v) - histogram_bucket(v - 1);
		cr_assert(step <= 1, "at %lu", (unsigned long)v);
	}
}

Test(histogram, every_value_lies_within_the_stated_error_of_its_buckets_middle)
{
	uint64_t seed = 7;

	for (unsigned i = 0; i < 1000000; i++) {
		uint64_t v = random_next(&seed) >> (64 - HISTOGRAM_TOP_BITS + random_next(&seed) % HISTOGRAM_TOP_BITS);
		double middle = (double)histogram_middle(histogram_bucket(v));
		double off = middle > (double)v ? middle - (double)v : (double)v - middle;
		cr_assert(off <= HISTOGRAM_ERROR * (double)v, "%lu is shown as %.0f", (unsigned long)v, middle);
	}
}

Test(histogram, the_greatest_value_and_what_lies_beyond_have_a_bucket)
{
	cr_assert_eq(histogram_bucket(HISTOGRAM_TOP), HISTOGRAM_BUCKETS - 1);
	cr_assert_eq(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
	histogram_add(&h, UINT64_MAX);
	cr_assert_eq(h.greatest, UINT64_MAX);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

Test(histogram, quantiles_are_those_of_the_sorted_values)
{
	enum { N = 10007 };
	static uint64_t values[N];
	static const double shares[] = { 0.5, 0.9, 0.99, 0.999 };
	uint64_t seed = 42;

	for (unsigned i = 0; i < N; i++) {
		values[i] = random_next(&seed) >> (20 + random_next(&seed) % 30);
		histogram_add(&h, values[i]);
	}
	qsort(values, N, sizeof(values[0]), by_value);
	for (unsigned i = 0; i < ARRAY_LEN(shares); i++) {
		uint64_t rank = (uint64_t)(shares[i] * N) + 1;
		double expected = (double)values[rank - 1];
		cr_assert_float_eq((double)histogram_quantile(&h, shares[i]), expected, 2 * HISTOGRAM_ERROR * expected);
	}
	cr_assert_eq(histogram_quantile(&h, 1), values[N - 1]);
	cr_assert_eq(h.least, values[0]);
	cr_assert_eq(h.greatest, values[N - 1]);
}

Test(histogram, a_quantile_lies_between_least_and_greatest)
{
	histogram_add(&h, 1000001);
	cr_assert_eq(histogram_quantile(&h, 0.001), 1000001);
	cr_assert_eq(histogram_quantile(&h, 0.5), 1000001);
	cr_assert_eq(histogram_quantile(&h, 1), 1000001);
}

Test(histogram, merged_ones_are_as_if_all_had_been_added_to_one)
{
	static struct histogram all;
	uint64_t seed = 3;

	for (unsigned i = 0; i < 10000; i++) {
		uint64_t v = random_next(&seed) % 1000000;
		histogram_add(i % 3 ? &h : &other, v);
		histogram_add(&all, v);
	}
	histogram_merge(&h, &other);
	cr_assert_eq(memcmp(h.count, all.count, sizeof(h.count)), 0);
	cr_assert_eq(h.n, all.n);
	cr_assert_eq(h.least, all.least);
	cr_assert_eq(h.greatest, all.greatest);
	cr_assert_float_eq(histogram_mean(&h), histogram_mean(&all), 1e-6);
}

Test(histogram, merging_an_empty_one_changes_nothing_and_into_an_empty_one_copies)
{
	histogram_add(&h, 5);
	histogram_merge(&h, &other);
	cr_assert_eq(h.least, 5);
	histogram_merge(&other, &h);
	cr_assert_eq(other.least, 5);
	cr_assert_eq(other.n, 1);
}
