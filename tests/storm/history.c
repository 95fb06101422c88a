/* SPDX-License-Identifier: Apache-2.0 */
#include "history.h"

#include <stdio.h>
#include <stdlib.h>

#include "../../lib/base.h"

/* The first of these times that was reached. */
static uint64_t first_of(uint64_t until, uint64_t at)
{
	return at ? MIN(until, at) : until;
}

uint64_t history_held_until(const struct history_turn *t, bool leases)
{
	uint64_t until = leases ? t->lease_ns : NEVER;

	if (t->end == HISTORY_RELEASED)
		return t->release_ns;
	if (t->end == HISTORY_LOST && !leases) /* its host's memory is gone, and who knows since when */
		return t->proved_ns;
	until = first_of(until, t->release_ns);
	until = first_of(until, t->killed_ns);
	until = first_of(until, t->lost_ns);
	return MAX(until, t->proved_ns);
}

/* ---- what is found ---- */

static void found(struct history_verdict *v, enum history_fault fault, const struct history_turn *first, const struct history_turn *second)
{
	const struct history_turn *earliest = v->second[fault];

	v->sound = false;
	v->faults[fault]++;
	if (earliest && earliest->returned_ns <= second->returned_ns)
		return;
	v->first[fault] = first;
	v->second[fault] = second;
}

/* Each time that was reached comes after those that must have been before it. */
static bool makes_sense(const struct history_turn *t)
{
	if (!t->called_ns || (t->returned_ns && t->returned_ns < t->called_ns))
		return false;
	if (t->outcome != HISTORY_GRANTED)
		return (t->outcome == HISTORY_UNKNOWN) == !t->returned_ns && !t->release_ns && !t->end;
	if (!t->returned_ns || (t->proved_ns && t->proved_ns < t->returned_ns))
		return false;
	if (t->release_ns && t->release_ns < MAX(t->returned_ns, t->proved_ns))
		return false;
	if (t->lost_ns && (t->lost_ns < MAX(t->returned_ns, t->proved_ns) || t->end != HISTORY_LOST))
		return false;
	if (t->released_ns && (!t->release_ns || t->released_ns < t->release_ns))
		return false;
	return t->end != HISTORY_RELEASED || t->released_ns;
}

/* Counts, and moves the granted turns to the front. Answers how many. */
static size_t take_stock(struct history_verdict *v, struct history_turn *turns, size_t n)
{
	size_t granted = 0;

	for (size_t i = 0; i < n; i++) {
		struct history_turn t = turns[i];

		v->refused += t.outcome == HISTORY_REFUSED;
		v->unknown += t.outcome == HISTORY_UNKNOWN;
		v->released += t.end == HISTORY_RELEASED;
		v->lost += t.end == HISTORY_LOST;
		v->killed += t.killed_ns != 0;
		v->killed_owners += t.killed_ns && t.outcome == HISTORY_GRANTED;
		v->operations += (t.returned_ns != 0) + (t.released_ns != 0);
		if (t.outcome != HISTORY_GRANTED)
			continue;
		turns[i] = turns[granted];
		turns[granted++] = t;
	}
	for (size_t i = 0; i < n; i++)
		if (!makes_sense(&turns[i]))
			found(v, HISTORY_NONSENSE, &turns[i], &turns[i]);
	return granted;
}

/* ---- the rules, on the granted turns of one key by rising token ---- */

static int by_key_and_token(const void *a, const void *b)
{
	const struct history_turn *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	if (x->token != y->token)
		return x->token < y->token ? -1 : 1;
	return (x->returned_ns > y->returned_ns) - (x->returned_ns < y->returned_ns);
}

static void judge_once(struct history_verdict *v, const struct history_turn *turns, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (turns[i].token == turns[i - 1].token)
			found(v, HISTORY_TOKEN_TWICE, &turns[i - 1], &turns[i]);
}

/* For each turn: of all with a greater token, the one that returned first must not have done so before this one asked. (Of
 * equal ones none can have: they stand in the order of their return.) */
static void judge_rising(struct history_verdict *v, const struct history_turn *turns, size_t n)
{
	const struct history_turn *first = &turns[n - 1];

	for (size_t i = n - 1; i-- > 0;) {
		if (first->returned_ns < turns[i].called_ns)
			found(v, HISTORY_TOKEN_FELL, first, &turns[i]);
		if (turns[i].returned_ns < first->returned_ns)
			first = &turns[i];
	}
}

/* For each turn: of all with a smaller token, the one that was surely the owner for longest must have ended before. */
static void judge_one_owner(struct history_verdict *v, const struct history_turn *turns, size_t n, bool leases)
{
	const struct history_turn *last = NULL;
	uint64_t last_until = 0;

	for (size_t i = 0; i < n; i++) {
		const struct history_turn *t = &turns[i];
		uint64_t until = history_held_until(t, leases);

		if (last && t->returned_ns < last_until) {
			bool both = MAX(t->returned_ns, last->returned_ns) < MIN(until, last_until);

			found(v, both ? HISTORY_TWO_OWNERS : HISTORY_TOO_SOON, last, t);
		}
		if (until > last_until) {
			last = t;
			last_until = until;
		}
	}
}

struct history_verdict history_judge(struct history_turn *turns, size_t n, bool leases)
{
	struct history_verdict v = { .turns = n, .sound = true };
	size_t granted = take_stock(&v, turns, n), end;

	v.granted = granted;
	if (!granted || v.faults[HISTORY_NONSENSE])
		return v;
	qsort(turns, granted, sizeof(*turns), by_key_and_token);
	for (size_t begin = 0; begin < granted; begin = end) {
		for (end = begin + 1; end < granted && turns[end].key == turns[begin].key; end++)
			;
		judge_once(&v, turns + begin, end - begin);
		judge_rising(&v, turns + begin, end - begin);
		judge_one_owner(&v, turns + begin, end - begin, leases);
	}
	return v;
}

/* ---- for people ---- */

const char *history_fault_name(enum history_fault fault)
{
	static const char *const names[HISTORY_FAULTS] = {
		[HISTORY_NONSENSE] = "a record that contradicts itself",
		[HISTORY_TOKEN_TWICE] = "a token was given twice",
		[HISTORY_TOKEN_FELL] = "a later owner has a smaller token",
		[HISTORY_TWO_OWNERS] = "two owners at once",
		[HISTORY_TOO_SOON] = "granted while another was the owner",
	};

	return fault < HISTORY_FAULTS ? names[fault] : "?";
}

/* Times in microseconds after `zero`. */
static int describe_turn(const struct history_turn *t, uint64_t zero, char *text, size_t cap)
{
	static const char *const ends[] = { "end unknown", "released", "lost" };
	long long at[] = { (long long)t->called_ns, (long long)t->returned_ns, (long long)t->proved_ns, (long long)t->lease_ns,
			   (long long)t->lost_ns, (long long)t->release_ns, (long long)t->killed_ns };

	for (size_t i = 0; i < ARRAY_LEN(at); i++)
		at[i] = at[i] ? (at[i] - (long long)zero) / 1000 : -1;
	return snprintf(text, cap, "process %u on host %u: token %llu, asked %lld us, had it %lld us, last proof %lld us, lease until %lld us, told of its loss %lld us, let go %lld us, killed %lld us, %s",
			t->process, t->host, (unsigned long long)t->token, at[0], at[1], at[2], at[3], at[4], at[5], at[6],
			t->end < ARRAY_LEN(ends) ? ends[t->end] : "?");
}

int history_describe(const struct history_verdict *v, enum history_fault fault, char *text, size_t cap)
{
	const struct history_turn *first = v->first[fault], *second = v->second[fault];
	char one[320], two[320];

	if (!second)
		return snprintf(text, cap, "%s: never", history_fault_name(fault));
	uint64_t zero = MIN(first->called_ns, second->called_ns);
	describe_turn(first, zero, one, sizeof(one));
	describe_turn(second, zero, two, sizeof(two));
	return snprintf(text, cap, "%s (%zu times), key %llu:\n  %s\n  %s", history_fault_name(fault), v->faults[fault],
			(unsigned long long)second->key, one, two);
}
