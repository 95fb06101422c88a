/* SPDX-License-Identifier: Apache-2.0 */
/* The judge of histories: says nothing of honest ones, whatever became of their programs, and finds each planted fault. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../lib/base.h"
#include "history.h"

TestSuite(history, .timeout = 60);

/* ---- honest histories ---- */

struct honest {
	struct history_turn *turns;
	size_t n, cap;
	uint64_t random;
	bool leases;
	uint32_t processes;
};

static uint64_t up_to(struct honest *h, uint64_t n)
{
	return random_next(&h->random) % (n + 1);
}

static bool one_in(struct honest *h, uint64_t n)
{
	return random_next(&h->random) % n == 0;
}

/* The key's lock is given to a turn at `grant`; answers when it is free again. All that may befall an owner befalls some. */
static uint64_t own(struct honest *h, struct history_turn *t, uint64_t grant)
{
	uint64_t free_ns, last;

	t->called_ns = grant - up_to(h, one_in(h, 10) ? 5000 : 200);
	if (one_in(h, 20)) { /* killed before it heard of it; its death frees the lock */
		t->killed_ns = grant + up_to(h, 50);
		t->token = 0;
		return t->killed_ns + up_to(h, 300);
	}
	t->outcome = HISTORY_GRANTED;
	t->returned_ns = grant + up_to(h, 50);
	last = t->returned_ns + up_to(h, 200);
	if (one_in(h, 4))
		t->proved_ns = last;
	if (one_in(h, 20) && !h->leases) { /* killed with it */
		t->killed_ns = last + up_to(h, 100);
		if (one_in(h, 3)) {
			t->release_ns = t->killed_ns - up_to(h, t->killed_ns - last);
			return t->release_ns + up_to(h, 300);
		}
		return t->killed_ns + up_to(h, 300);
	}
	if (h->leases && one_in(h, 20)) { /* killed with it, under its lease: its agent sees that, or nobody does */
		t->lease_ns = last + up_to(h, 500);
		t->killed_ns = last + up_to(h, 100);
		return (one_in(h, 2) ? MIN(t->killed_ns, t->lease_ns) : t->lease_ns) + up_to(h, 300);
	}
	if (h->leases && one_in(h, 10)) { /* lost: it was stopped, perhaps before its acquire returned, perhaps after a proof */
		uint64_t deadline = t->proved_ns ? t->proved_ns + up_to(h, 500) : grant + up_to(h, 500);

		free_ns = deadline + up_to(h, 100);
		last = MAX(free_ns, last) + up_to(h, 4000);
		if (!t->proved_ns && one_in(h, 2)) {
			t->returned_ns = last;
			last += up_to(h, 50);
		}
		t->lease_ns = one_in(h, 2) ? deadline - up_to(h, 100) : 0; /* not the last deadline of all */
		if (one_in(h, 3)) {                                        /* and it is killed without having looked */
			t->killed_ns = last + up_to(h, 1000);
			return free_ns;
		}
		t->end = HISTORY_LOST;
		t->lost_ns = one_in(h, 4) ? 0 : last;
		if (one_in(h, 2)) {
			t->release_ns = last;
			t->released_ns = last + up_to(h, 50);
		}
		return free_ns;
	}
	if (h->leases && one_in(h, 20)) { /* suspended when it let go: handed in, whenever that was heard */
		t->lease_ns = last;
		t->release_ns = last + up_to(h, 20);
		t->released_ns = t->release_ns + up_to(h, 100);
		return MAX(t->release_ns, t->lease_ns) + up_to(h, 300);
	}
	t->end = HISTORY_RELEASED;
	t->release_ns = last + up_to(h, 20);
	t->released_ns = t->release_ns + up_to(h, 100);
	return t->release_ns + up_to(h, t->released_ns - t->release_ns);
}

static struct history_turn *next_turn(struct honest *h, uint64_t key, uint64_t called)
{
	cr_assert_lt(h->n, h->cap);
	struct history_turn *t = &h->turns[h->n++];

	*t = (struct history_turn){
		.key = key,
		.process = (uint32_t)up_to(h, h->processes),
		.host = (uint16_t)up_to(h, 4),
		.called_ns = called,
	};
	return t;
}

static struct honest honest_new(uint64_t seed, size_t n, unsigned keys, bool leases)
{
	struct honest h = { .turns = malloc(n * sizeof(*h.turns)), .cap = n, .random = seed, .leases = leases, .processes = 50 };
	uint64_t *free_ns = calloc(keys, sizeof(*free_ns)), *token = calloc(keys, sizeof(*token));

	cr_assert(h.turns && free_ns && token);
	for (unsigned k = 0; k < keys; k++)
		free_ns[k] = 10000;
	while (h.n < n) {
		unsigned k = (unsigned)up_to(&h, keys - 1);
		struct history_turn *t = next_turn(&h, k, free_ns[k]);

		if (one_in(&h, 8)) {
			t->outcome = HISTORY_REFUSED;
			t->returned_ns = t->called_ns + up_to(&h, 500);
			continue;
		}
		t->token = token[k] += 1 + up_to(&h, 3);
		free_ns[k] = own(&h, t, free_ns[k] + up_to(&h, one_in(&h, 4) ? 0 : 300));
	}
	free(free_ns), free(token);
	return h;
}

static void expect_sound(const struct history_verdict *v, uint64_t seed)
{
	char words[1024] = "";

	for (unsigned fault = 0; fault < HISTORY_FAULTS; fault++)
		if (v->faults[fault])
			history_describe(v, fault, words, sizeof(words));
	cr_assert(v->sound, "seed %llu: %s", (unsigned long long)seed, words);
}

Test(history, honest_histories_are_sound)
{
	size_t lost = 0, killed = 0, unknown = 0;

	for (uint64_t seed = 1; seed <= 2000; seed++) {
		struct honest h = honest_new(seed, 400, 1 + seed % 7, seed % 2);
		struct history_verdict v = history_judge(h.turns, h.n, h.leases);

		expect_sound(&v, seed);
		cr_assert_eq(v.granted + v.refused + v.unknown, h.n);
		lost += v.lost, killed += v.killed_owners, unknown += v.unknown;
		free(h.turns);
	}
	cr_assert(lost && killed && unknown);
}

Test(history, a_million_operations)
{
	struct honest h = honest_new(1, 620000, 40, false);
	struct timespec begin, end;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	struct history_verdict v = history_judge(h.turns, h.n, false);
	clock_gettime(CLOCK_MONOTONIC, &end);
	expect_sound(&v, 1);
	cr_assert_geq(v.operations, 1000000);
	fprintf(stderr, "history: %zu operations judged in %lld ms\n", v.operations,
		(long long)(end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000);
	free(h.turns);
}

Test(history, no_history_is_sound)
{
	struct history_verdict v = history_judge(NULL, 0, false);

	cr_assert(v.sound);
	cr_assert_eq(v.operations, 0);
}

/* ---- planted faults ---- */

/* What is done to two granted turns a and b of one key, b next after a in honest order. False: these two do not serve. */
typedef bool plant(struct honest *h, struct history_turn *a, struct history_turn *b);

/* Only the first fault that was planted may be found in a history: the same is planted in many. */
static void expect_caught(enum history_fault fault, bool leases, plant *plant)
{
	unsigned planted = 0;

	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct honest h = honest_new(seed, 400, 3, leases);
		size_t from = up_to(&h, 300), to = h.n;

		for (size_t i = from; i < h.n && to == h.n; i++) {
			struct history_turn *a = &h.turns[i], *b = NULL;

			if (a->outcome != HISTORY_GRANTED)
				continue;
			for (size_t j = i + 1; j < h.n && !b; j++)
				if (h.turns[j].key == a->key && h.turns[j].outcome == HISTORY_GRANTED)
					b = &h.turns[j];
			if (b && plant(&h, a, b))
				to = i;
		}
		if (to < h.n) {
			struct history_verdict v = history_judge(h.turns, h.n, leases);
			char words[1024];

			planted++;
			cr_assert_not(v.sound, "seed %llu: turn %zu", (unsigned long long)seed, to);
			cr_assert_geq(v.faults[fault], 1, "seed %llu: turn %zu", (unsigned long long)seed, to);
			cr_assert_gt(history_describe(&v, fault, words, sizeof(words)), 0);
			cr_assert(strstr(words, history_fault_name(fault)));
			for (unsigned other = 0; other < HISTORY_FAULTS; other++)
				cr_assert(other == fault || !v.faults[other], "seed %llu: also \"%s\"", (unsigned long long)seed, history_fault_name(other));
		}
		free(h.turns);
	}
	cr_assert_geq(planted, 200);
}

static bool one_token(struct honest *h, struct history_turn *a, struct history_turn *b)
{
	(void)h;
	b->token = a->token;
	return true;
}

Test(history, a_token_that_is_given_twice)
{
	expect_caught(HISTORY_TOKEN_TWICE, false, one_token);
	expect_caught(HISTORY_TOKEN_TWICE, true, one_token);
}

/* Without proofs, so that only the order of calls speaks; as if the owner in between had died. */
static bool smaller_later(struct honest *h, struct history_turn *a, struct history_turn *b)
{
	uint64_t token = a->token;

	(void)h;
	if (a->returned_ns >= b->called_ns || a->killed_ns || b->killed_ns)
		return false;
	a->token = b->token;
	b->token = token;
	a->proved_ns = b->proved_ns = a->lease_ns = b->lease_ns = a->lost_ns = b->lost_ns = 0;
	a->end = b->end = HISTORY_LOST;
	return true;
}

Test(history, a_later_owner_with_a_smaller_token)
{
	expect_caught(HISTORY_TOKEN_FELL, true, smaller_later);
	expect_caught(HISTORY_TOKEN_FELL, false, smaller_later);
}

/* b has its answer in a time in which a is surely the owner. */
static bool let_in(const struct history_turn *a, struct history_turn *b, uint64_t from, uint64_t until)
{
	from = MAX(from, a->returned_ns);
	if (until < from + 2)
		return false;
	b->returned_ns = from + (until - from) / 2;
	b->called_ns = MIN(b->called_ns, a->returned_ns);
	return true;
}

static bool beside_an_owner(struct honest *h, struct history_turn *a, struct history_turn *b)
{
	(void)h;
	return a->end == HISTORY_RELEASED && b->end == HISTORY_RELEASED && let_in(a, b, a->proved_ns, a->release_ns);
}

Test(history, two_owners_that_release)
{
	expect_caught(HISTORY_TWO_OWNERS, false, beside_an_owner);
	expect_caught(HISTORY_TWO_OWNERS, true, beside_an_owner);
}

static bool beside_one_that_is_killed_later(struct honest *h, struct history_turn *a, struct history_turn *b)
{
	(void)h;
	return a->killed_ns && !a->release_ns && b->end == HISTORY_RELEASED && let_in(a, b, a->proved_ns, a->killed_ns);
}

Test(history, a_lock_that_comes_free_before_its_owner_is_killed)
{
	expect_caught(HISTORY_TWO_OWNERS, false, beside_one_that_is_killed_later);
}

static bool beside_one_that_proves_it(struct honest *h, struct history_turn *a, struct history_turn *b)
{
	(void)h;
	return a->end == HISTORY_LOST && !a->lease_ns && b->end == HISTORY_RELEASED && let_in(a, b, 0, a->proved_ns);
}

Test(history, a_lock_that_its_owner_lost_after_another_had_it)
{
	expect_caught(HISTORY_TWO_OWNERS, true, beside_one_that_proves_it);
}

static bool before_the_deadline(struct honest *h, struct history_turn *a, struct history_turn *b)
{
	(void)h;
	return a->end == HISTORY_LOST && b->end == HISTORY_RELEASED && let_in(a, b, a->proved_ns, a->lease_ns);
}

Test(history, a_lock_that_is_granted_before_its_owners_deadline)
{
	expect_caught(HISTORY_TWO_OWNERS, true, before_the_deadline);
}

/* b says nothing more after its grant. */
static bool for_an_instant(struct honest *h, struct history_turn *a, struct history_turn *b)
{
	(void)h;
	if (a->end != HISTORY_RELEASED || b->end != HISTORY_LOST || !let_in(a, b, 0, a->release_ns))
		return false;
	b->proved_ns = b->lease_ns = 0;
	return true;
}

Test(history, a_grant_under_an_owner_that_is_lost_at_once)
{
	expect_caught(HISTORY_TOO_SOON, true, for_an_instant);
}

static bool backwards(struct honest *h, struct history_turn *a, struct history_turn *b)
{
	(void)h, (void)b;
	a->called_ns = a->returned_ns + 1;
	return true;
}

Test(history, a_record_that_contradicts_itself)
{
	expect_caught(HISTORY_NONSENSE, false, backwards);
}

/* ---- the edges of each rule ---- */

static struct history_turn released(uint64_t token, uint64_t called, uint64_t returned, uint64_t release)
{
	return (struct history_turn){
		.key = 7, .token = token, .called_ns = called, .returned_ns = returned, .release_ns = release, .released_ns = release + 10, .outcome = HISTORY_GRANTED, .end = HISTORY_RELEASED
	};
}

static struct history_verdict judge(bool leases, struct history_turn a, struct history_turn b)
{
	static struct history_turn turns[2];

	turns[0] = a;
	turns[1] = b;
	return history_judge(turns, 2, leases);
}

Test(history, a_release_counts_from_its_call)
{
	cr_assert(judge(false, released(1, 10, 20, 30), released(2, 15, 30, 50)).sound);
	cr_assert(judge(true, released(1, 10, 20, 30), released(2, 15, 30, 50)).sound);
	cr_assert_not(judge(false, released(1, 10, 20, 30), released(2, 15, 29, 50)).sound);
	cr_assert_not(judge(true, released(1, 10, 20, 30), released(2, 15, 29, 50)).sound);
}

Test(history, tokens_may_be_in_any_order_while_both_ask)
{
	/* The second was granted first, and its answer came late: nothing sure is broken until it proves to be the owner. */
	struct history_turn slow = released(1, 10, 40, 60), quick = released(2, 15, 20, 30);

	slow.end = HISTORY_LOST;
	cr_assert(judge(true, slow, quick).sound);
	quick.called_ns = 41;
	quick.returned_ns = quick.release_ns = 42;
	quick.released_ns = 43;
	cr_assert(judge(true, slow, quick).sound);
	slow.token = 3;
	cr_assert_eq(judge(true, slow, quick).faults[HISTORY_TOKEN_FELL], 1);
}

Test(history, an_owner_whose_answer_comes_after_its_deadline)
{
	/* It was stopped, and the next owner had its answer first; but not before the deadline. */
	struct history_turn stopped = released(1, 10, 90, 95), next = released(2, 15, 50, 60);

	stopped.end = HISTORY_LOST;
	stopped.lease_ns = 50;
	cr_assert(judge(true, stopped, next).sound);
	stopped.lease_ns = 51;
	cr_assert_eq(judge(true, stopped, next).faults[HISTORY_TOO_SOON], 1);
	/* Who releases before the deadline is the owner until then. */
	stopped.returned_ns = 20;
	stopped.release_ns = 50;
	cr_assert(judge(true, stopped, next).sound);
	/* And so is who hears before the deadline that it has lost it, for it may give its session up then. */
	stopped.release_ns = stopped.lost_ns = 51;
	cr_assert_not(judge(true, stopped, next).sound);
	stopped.lost_ns = 50;
	cr_assert(judge(true, stopped, next).sound);
}

Test(history, other_keys_and_other_outcomes_do_not_matter)
{
	struct history_turn a = released(5, 10, 20, 100), b = released(5, 10, 30, 90);

	cr_assert_not(judge(false, a, b).sound);
	b.key = 8;
	cr_assert(judge(false, a, b).sound);
	b = (struct history_turn){ .key = 7, .token = 5, .called_ns = 10, .returned_ns = 30, .outcome = HISTORY_REFUSED };
	cr_assert(judge(false, a, b).sound);
	b = (struct history_turn){ .key = 7, .token = 5, .called_ns = 10, .killed_ns = 30, .outcome = HISTORY_UNKNOWN };
	cr_assert(judge(false, a, b).sound);
}

Test(history, who_is_never_heard_of_again_is_the_owner_until_it_is_killed)
{
	struct history_turn a = released(1, 10, 20, 0), b = released(2, 30, 40, 50);

	a.end = HISTORY_NOT_SAID;
	a.released_ns = 0;
	cr_assert_eq(judge(false, a, b).faults[HISTORY_TWO_OWNERS], 1, "and if it is not, for ever");
	a.killed_ns = 40;
	cr_assert(judge(false, a, b).sound);
	a.killed_ns = 41;
	cr_assert_not(judge(false, a, b).sound);
	/* A lease may have ended, so with leases its last proof counts, or the deadline that it saw. */
	cr_assert(judge(true, a, b).sound);
	a.lease_ns = 41;
	cr_assert_not(judge(true, a, b).sound);
	a.lease_ns = 40;
	cr_assert(judge(true, a, b).sound);
	a.proved_ns = 41;
	a.killed_ns = 60;
	cr_assert_not(judge(true, a, b).sound);
	/* A release that did not return may have freed it. */
	a.proved_ns = 0;
	a.release_ns = 40;
	cr_assert(judge(false, a, b).sound);
	a.release_ns = 41;
	cr_assert_not(judge(false, a, b).sound);
}
