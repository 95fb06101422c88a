/* SPDX-License-Identifier: Apache-2.0 */
#include "rates.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct count {
	uint64_t series, handed, revoked;
	uint32_t acquired;
};

int counts_add(struct counts *c, const struct paxshm_lock_info *lock)
{
	if (!lock->series)
		return 0;
	if (c->n == c->room) {
		size_t room = c->room ? 2 * c->room : 256;
		struct count *at = realloc(c->at, room * sizeof(*at));

		if (!at)
			return -ENOMEM;
		c->at = at;
		c->room = room;
	}
	c->at[c->n++] = (struct count){
		.series = lock->series,
		.handed = lock->handed,
		.revoked = lock->revoked,
		.acquired = lock->acquired,
	};
	return 0;
}

static int by_series(const void *a, const void *b)
{
	uint64_t x = ((const struct count *)a)->series, y = ((const struct count *)b)->series;

	return (x > y) - (x < y);
}

void counts_sort(struct counts *c)
{
	if (c->n)
		qsort(c->at, c->n, sizeof(*c->at), by_series);
}

void counts_release(struct counts *c)
{
	free(c->at);
	*c = (struct counts){ 0 };
}

struct rate rate_since(const struct counts *before, const struct paxshm_lock_info *lock, uint64_t now_ns)
{
	struct count wanted = { .series = lock->series };
	const struct count *was = before->n && lock->series ? bsearch(&wanted, before->at, before->n, sizeof(wanted), by_series) : NULL;

	if (!was || now_ns <= before->taken_ns)
		return (struct rate){ 0 };

	double seconds = (double)(now_ns - before->taken_ns) / 1e9;

	return (struct rate){
		.known = true,
		.acquired = (uint32_t)(lock->acquired - was->acquired) / seconds, /* goes round */
		/* Sessions write these: they may do anything. */
		.handed = lock->handed > was->handed ? (double)(lock->handed - was->handed) / seconds : 0,
		.revoked = lock->revoked > was->revoked ? (double)(lock->revoked - was->revoked) / seconds : 0,
	};
}

static bool hotter(const struct paxshm_lock_info *a, const struct rate *ra, const struct hot *b)
{
	uint64_t wait_a = (uint64_t)a->waiters + a->waiting, wait_b = (uint64_t)b->lock.waiters + b->lock.waiting;

	return ra->acquired > b->rate.acquired || (ra->acquired == b->rate.acquired && wait_a > wait_b);
}

void hottest_add(struct hottest *h, const struct paxshm_lock_info *lock, struct rate rate)
{
	size_t i = h->n;

	while (i && hotter(lock, &rate, &h->at[i - 1]))
		i--;
	if (i == h->max)
		return;
	if (h->n < h->max)
		h->n++;
	memmove(&h->at[i + 1], &h->at[i], (h->n - 1 - i) * sizeof(*h->at));
	h->at[i] = (struct hot){ .lock = *lock, .rate = rate };
}
