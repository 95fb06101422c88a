/* SPDX-License-Identifier: Apache-2.0 */
/* lock_table: one host holds a lock, the others wait in their order, and tokens only rise. */
#include <criterion/criterion.h>

#include "state.h"

static struct state s;
static uint64_t life[8]; /* incarnations of hosts 1 .. 7; 0: down */

static void up(void)
{
	state_init(&s, 4, 4, 8);
	for (uint16_t host = 1; host < ARRAY_LEN(life); host++)
		life[host] = state_up(&s, host);
}

static void down(void)
{
	state_check(&s);
	state_release(&s);
}

TestSuite(lock_table, .init = up, .fini = down);

static enum lock_outcome acquire_in(uint16_t host, struct state_key key, uint8_t mode, bool try_only)
{
	const struct lock_request q = { .host = host, .incarnation = life[host], .mode = mode, .try_only = try_only };
	uint32_t row = UINT32_MAX;
	enum lock_outcome outcome = lock_table_acquire(s.tables, &s.undo, &q, key.bytes, key.len, &row);

	cr_assert_eq(row, table_find(s.tables, key.bytes, key.len));
	state_commit(&s);
	return outcome;
}

static enum lock_outcome acquire_how(uint16_t host, struct state_key key, bool try_only)
{
	return acquire_in(host, key, LOCK_MODE_EX, try_only);
}

static enum lock_outcome acquire(uint16_t host, struct state_key key)
{
	return acquire_how(host, key, false);
}

static enum lock_outcome give_back(uint16_t host, struct state_key key, uint64_t delegation, uint32_t used, bool died)
{
	uint32_t row = UINT32_MAX;
	enum lock_outcome outcome =
		lock_table_release(s.tables, &s.undo, host, key.bytes, key.len, delegation, used, died, &row);

	cr_assert_eq(row, table_find(s.tables, key.bytes, key.len));
	state_commit(&s);
	return outcome;
}

static enum lock_outcome release(uint16_t host, struct state_key key, uint32_t used, bool died)
{
	return give_back(host, key, state_value(&s, key).delegation, used, died);
}

static enum lock_outcome cancel(uint16_t host, struct state_key key)
{
	uint32_t row = UINT32_MAX;
	enum lock_outcome outcome = lock_table_cancel(s.tables, &s.undo, host, key.bytes, key.len, &row);

	cr_assert_eq(row, table_find(s.tables, key.bytes, key.len));
	state_commit(&s);
	return outcome;
}

static enum lock_outcome lapse(uint16_t host, struct state_key key)
{
	enum lock_outcome outcome = lock_table_lapse(s.tables, &s.undo, table_find(s.tables, key.bytes, key.len),
						     host);

	state_commit(&s);
	return outcome;
}

#define A state_key(0)
#define B state_key(1)

/* ---- acquire ---- */

Test(lock_table, a_free_lock_is_granted)
{
	struct lock_value v;

	cr_assert_eq(acquire(1, A), LOCK_GRANTED);
	v = state_value(&s, A);
	cr_assert_eq(v.delegation, 1);
	cr_assert_eq(v.incarnation, life[1]);
	cr_assert_eq(v.host, 1);
	cr_assert_eq(v.base, 1);
	cr_assert_eq(v.mode, LOCK_MODE_EX);
	cr_assert_eq(v.flags, 0);
	cr_assert_eq(v.waiting, 0);
}

Test(lock_table, delegations_count_up_over_all_locks)
{
	acquire(1, A);
	acquire(2, B);
	cr_assert_eq(state_value(&s, B).delegation, 2);
	cr_assert_eq(s.tables->agreed.delegations, 2);
}

Test(lock_table, what_one_has_is_granted_again_without_a_change)
{
	struct lock_value before, after;

	acquire(1, A);
	before = state_value(&s, A);
	cr_assert_eq(acquire(1, A), LOCK_GRANTED);
	after = state_value(&s, A);
	cr_assert_eq(memcmp(&before, &after, sizeof(before)), 0);
}

Test(lock_table, a_try_does_not_wait)
{
	acquire(1, A);
	cr_assert_eq(acquire_how(2, A, true), LOCK_BUSY);
	cr_assert_eq(state_value(&s, A).waiting, 0);
	cr_assert_eq(acquire_how(2, B, true), LOCK_GRANTED);
}

Test(lock_table, a_host_waits_once)
{
	acquire(1, A);
	cr_assert_eq(acquire(2, A), LOCK_QUEUED);
	cr_assert_eq(acquire(2, A), LOCK_QUEUED);
	cr_assert_eq(state_value(&s, A).waiting, 1);
	cr_assert_eq(s.tables->agreed.waits_used, 1);
}

Test(lock_table, waiting_leaves_the_holders_own_view_alone)
{
	struct lock_value v;

	acquire(1, A);
	v = state_value(&s, A);
	v.gate = 4711;
	table_set(s.tables, &s.undo, table_find(s.tables, A.bytes, A.len), &v);
	acquire(2, A);
	cr_assert_eq(state_value(&s, A).gate, 4711);
	release(1, A, 1, false);
	cr_assert_eq(state_value(&s, A).gate, 0);
}

Test(lock_table, a_new_life_waits_behind_those_who_were_there)
{
	acquire(1, A);
	acquire(2, A);
	acquire(3, A);
	life[2] = state_up(&s, 2);
	cr_assert_eq(acquire(2, A), LOCK_QUEUED);
	cr_assert_eq(state_value(&s, A).waiting, 2);
	release(1, A, 1, false);
	cr_assert_eq(state_value(&s, A).host, 3);
	release(3, A, 1, false);
	cr_assert_eq(state_value(&s, A).host, 2);
	cr_assert_eq(state_value(&s, A).incarnation, life[2]);
}

Test(lock_table, a_new_life_waits_for_its_own_older_one)
{
	acquire(1, A);
	life[1] = state_up(&s, 1);
	cr_assert_eq(acquire(1, A), LOCK_QUEUED);
	cr_assert_eq(lapse(1, A), LOCK_PASSED);
	cr_assert_eq(state_value(&s, A).incarnation, life[1]);
}

Test(lock_table, a_full_table_says_so)
{
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(acquire(1, state_key_cells(i, 0)), LOCK_GRANTED);
	cr_assert_eq(acquire(1, state_key_cells(4, 0)), LOCK_FULL);
}

Test(lock_table, without_cells_a_long_key_is_refused_and_a_short_one_is_not)
{
	cr_assert_eq(acquire(1, state_key_cells(0, 3)), LOCK_GRANTED);
	cr_assert_eq(acquire(1, state_key_cells(1, 2)), LOCK_FULL);
	cr_assert_eq(acquire(1, state_key_cells(2, 1)), LOCK_GRANTED);
	cr_assert_eq(acquire(1, state_key_cells(3, 0)), LOCK_GRANTED);
}

Test(lock_table, without_queue_entries_nobody_can_wait)
{
	for (uint16_t host = 1; host <= 5; host++) {
		acquire(host, A);
		acquire((uint16_t)(host + 1), B);
	}
	cr_assert_eq(s.tables->agreed.waits_used, 8);
	cr_assert_eq(acquire(7, A), LOCK_FULL);
	cr_assert_eq(state_value(&s, A).waiting, 4);
}

/* ---- release ---- */

Test(lock_table, a_free_lock_takes_no_row)
{
	acquire(1, A);
	cr_assert_eq(release(1, A, 1, false), LOCK_FREED);
	cr_assert_eq(s.tables->agreed.rows_used, 0);
}

Test(lock_table, only_the_holder_releases)
{
	acquire(1, A);
	cr_assert_eq(give_back(2, A, 1, 1, false), LOCK_IGNORED);
	cr_assert_eq(state_value(&s, A).host, 1);
}

Test(lock_table, a_release_names_the_delegation_it_ends)
{
	acquire(1, A);
	cr_assert_eq(give_back(1, A, 2, 1, false), LOCK_IGNORED);
	cr_assert_eq(give_back(1, A, 0, 1, false), LOCK_IGNORED);
	cr_assert_eq(give_back(1, B, 1, 1, false), LOCK_IGNORED);
	cr_assert_eq(give_back(1, A, 1, 1, false), LOCK_FREED);
	cr_assert_eq(give_back(1, A, 1, 1, false), LOCK_IGNORED);
}

Test(lock_table, hosts_get_it_in_the_order_they_came)
{
	for (uint16_t host = 1; host <= 5; host++)
		acquire(host, A);
	for (uint16_t host = 1; host < 5; host++) {
		cr_assert_eq(state_value(&s, A).waiting, 5u - host);
		cr_assert_eq(release(host, A, 1, false), LOCK_PASSED);
		cr_assert_eq(state_value(&s, A).host, host + 1);
		cr_assert_eq(state_value(&s, A).delegation, host + 1u);
		cr_assert_eq(state_value(&s, A).flags, 0);
	}
	cr_assert_eq(release(5, A, 1, false), LOCK_FREED);
	cr_assert_eq(s.tables->agreed.waits_used, 0);
}

Test(lock_table, those_who_died_waiting_are_passed_over)
{
	for (uint16_t host = 1; host <= 4; host++)
		acquire(host, A);
	state_up(&s, 2);
	state_up(&s, 3);
	cr_assert_eq(release(1, A, 1, false), LOCK_PASSED);
	cr_assert_eq(state_value(&s, A).host, 4);
	cr_assert_eq(state_value(&s, A).waiting, 0);
}

Test(lock_table, those_who_are_down_are_passed_over)
{
	for (uint16_t host = 1; host <= 4; host++)
		acquire(host, A);
	state_down(&s, 2);
	state_down(&s, 3);
	cr_assert_eq(state_value(&s, A).waiting, 3, "they stand there until their turn comes");
	cr_assert_eq(release(1, A, 1, false), LOCK_PASSED);
	cr_assert_eq(state_value(&s, A).host, 4);
	cr_assert_eq(state_value(&s, A).waiting, 0);
	acquire(5, A);
	state_down(&s, 5);
	cr_assert_eq(release(4, A, 1, false), LOCK_FREED);
	cr_assert_eq(s.tables->agreed.waits_used, 0);
}

Test(lock_table, a_queue_of_the_dead_frees_the_lock)
{
	acquire(1, A);
	acquire(2, A);
	acquire(3, A);
	state_up(&s, 2);
	state_up(&s, 3);
	cr_assert_eq(release(1, A, 1, false), LOCK_FREED);
	cr_assert_eq(s.tables->agreed.rows_used, 0);
	cr_assert_eq(s.tables->agreed.waits_used, 0);
}

/* ---- deaths ---- */

Test(lock_table, a_death_is_remembered_for_whoever_comes)
{
	struct lock_value v;

	acquire(1, A);
	cr_assert_eq(release(1, A, 3, true), LOCK_FREED);
	v = state_value(&s, A);
	cr_assert_eq(v.delegation, 0);
	cr_assert_eq(v.host, 0);
	cr_assert_eq(v.base, 4);
	cr_assert_eq(v.flags, LOCK_DIED);
	cr_assert_eq(s.tables->agreed.died_count, 1);

	cr_assert_eq(acquire_how(2, A, true), LOCK_GRANTED);
	v = state_value(&s, A);
	cr_assert_eq(v.host, 2);
	cr_assert_eq(v.base, 4);
	cr_assert_eq(v.flags, LOCK_DIED);
	cr_assert_eq(s.tables->agreed.died_count, 0);
}

Test(lock_table, a_death_is_told_to_who_waits)
{
	acquire(1, A);
	acquire(2, A);
	cr_assert_eq(release(1, A, 3, true), LOCK_PASSED);
	cr_assert_eq(state_value(&s, A).flags, LOCK_DIED);
	cr_assert_eq(state_value(&s, A).base, 4);
}

Test(lock_table, once_told_a_death_is_forgotten)
{
	acquire(1, A);
	acquire(2, A);
	acquire(3, A);
	release(1, A, 1, true);
	release(2, A, 1, false);
	cr_assert_eq(state_value(&s, A).flags, 0);
	cr_assert_eq(release(3, A, 1, false), LOCK_FREED);
	cr_assert_eq(s.tables->agreed.rows_used, 0);
}

Test(lock_table, told_to_nobody_a_death_is_kept)
{
	acquire(1, A);
	acquire(2, A);
	acquire(3, A);
	release(1, A, 1, true);
	release(2, A, 0, false);
	cr_assert_eq(state_value(&s, A).flags, LOCK_DIED);
	release(3, A, 0, false);
	cr_assert_eq(s.tables->agreed.died_count, 1);
}

Test(lock_table, remembered_deaths_give_way_oldest_first)
{
	for (unsigned i = 0; i < 4; i++) {
		acquire(1, state_key(2 * i + 1));
		release(1, state_key(2 * i + 1), 10 * (i + 1), true);
	}
	/* Out of the middle and back: the list must stay whole. */
	acquire(1, state_key(3));
	release(1, state_key(3), 1, true);
	cr_assert_eq(s.tables->agreed.died_count, 4);

	cr_assert_eq(acquire(2, B), LOCK_GRANTED); /* the oldest itself */
	cr_assert_eq(acquire(2, state_key_cells(9, 0)), LOCK_GRANTED);
	cr_assert_eq(state_value(&s, state_key(5)).base, 0, "the oldest but one is gone");
	cr_assert_neq(state_value(&s, state_key(7)).base, 0);
	cr_assert_neq(state_value(&s, state_key(3)).base, 0);
}

Test(lock_table, a_forgotten_death_leaves_its_tokens_below_the_floor)
{
	acquire(1, A);
	release(1, A, 500, true);
	for (unsigned i = 0; i < 4; i++)
		acquire(1, state_key_cells(i + 20, 0));
	cr_assert_eq(table_find(s.tables, A.bytes, A.len), 0);
	cr_assert_geq(s.tables->agreed.token_floor, 500);
	release(1, state_key_cells(20, 0), 0, false);
	acquire(1, A);
	cr_assert_gt(state_value(&s, A).base, 500);
}

Test(lock_table, for_cells_the_oldest_with_cells_gives_way)
{
	acquire(1, state_key_cells(0, 0));
	release(1, state_key_cells(0, 0), 1, true);
	acquire(1, state_key_cells(1, 2));
	release(1, state_key_cells(1, 2), 1, true);
	cr_assert_eq(acquire(1, state_key_cells(2, 3)), LOCK_GRANTED);
	cr_assert_neq(state_value(&s, state_key_cells(0, 0)).base, 0);
	cr_assert_eq(state_value(&s, state_key_cells(1, 2)).base, 0);
}

Test(lock_table, as_many_give_way_as_are_needed)
{
	for (unsigned i = 0; i < 3; i++) {
		acquire(1, state_key_cells(i, 1));
		release(1, state_key_cells(i, 1), 1, true);
	}
	cr_assert_eq(acquire(1, state_key_cells(9, 3)), LOCK_GRANTED);
	cr_assert_eq(s.tables->agreed.died_count, 1);
	cr_assert_neq(state_value(&s, state_key_cells(2, 1)).base, 0, "the youngest stays");
}

Test(lock_table, full_of_holders_no_death_is_forgotten_for_cells)
{
	acquire(1, state_key_cells(0, 3));
	acquire(1, state_key_cells(1, 0));
	release(1, state_key_cells(1, 0), 1, true);
	cr_assert_eq(acquire(1, state_key_cells(2, 2)), LOCK_FULL);
	cr_assert_eq(s.tables->agreed.died_count, 1);
}

/* ---- cancel and lapse ---- */

Test(lock_table, who_cancels_waits_no_more)
{
	for (uint16_t host = 1; host <= 4; host++)
		acquire(host, A);
	cr_assert_eq(cancel(3, A), LOCK_FREED); /* in the middle */
	cr_assert_eq(state_value(&s, A).waiting, 2);
	cr_assert_eq(cancel(4, A), LOCK_FREED); /* the last */
	acquire(5, A);
	cr_assert_eq(cancel(2, A), LOCK_FREED); /* the first */
	release(1, A, 1, false);
	cr_assert_eq(state_value(&s, A).host, 5);
}

Test(lock_table, there_is_nothing_to_cancel_for_who_does_not_wait)
{
	cr_assert_eq(cancel(1, A), LOCK_IGNORED);
	acquire(1, A);
	cr_assert_eq(cancel(1, A), LOCK_IGNORED);
	cr_assert_eq(cancel(2, A), LOCK_IGNORED);
	release(1, A, 1, true);
	acquire(1, B);
	release(1, B, 1, true);
	cr_assert_eq(cancel(2, B), LOCK_IGNORED); /* its links are those of the died list */
}

Test(lock_table, a_lapse_ends_an_older_life_only)
{
	acquire(1, A);
	cr_assert_eq(lapse(1, A), LOCK_IGNORED);
	life[1] = state_up(&s, 1);
	cr_assert_eq(lapse(2, A), LOCK_IGNORED);
	cr_assert_eq(lapse(1, A), LOCK_FREED);
	cr_assert_eq(lapse(1, A), LOCK_IGNORED);
	cr_assert_eq(state_value(&s, A).flags, LOCK_DIED);
}

Test(lock_table, a_life_that_is_down_lapses_and_so_it_does_when_the_next_has_come)
{
	acquire(1, A);
	acquire(1, B);
	state_down(&s, 1);
	cr_assert_eq(lapse(2, A), LOCK_IGNORED);
	cr_assert_eq(lapse(1, A), LOCK_FREED);
	life[1] = state_up(&s, 1);
	cr_assert_eq(lapse(1, B), LOCK_FREED);
	acquire(1, A);
	cr_assert_eq(lapse(1, A), LOCK_IGNORED);
}

Test(lock_table, a_lapse_takes_the_whole_range)
{
	acquire(1, A);
	life[1] = state_up(&s, 1);
	lapse(1, A);
	cr_assert_eq(state_value(&s, A).base, 1 + LOCK_RANGE);
}

Test(lock_table, a_row_that_is_free_does_not_lapse)
{
	acquire(1, A);
	release(1, A, 1, false);
	life[1] = state_up(&s, 1);
	cr_assert_eq(lock_table_lapse(s.tables, &s.undo, 1, 1), LOCK_IGNORED);
}

/* ---- against a model ---- */

#define KEYS 12u

/* What a lock is, without rows, cells, floors and lists. */
struct model {
	uint64_t highest; /* token ever given */
	uint16_t holder, queue[8];
	uint64_t lives[8], holder_life;
	unsigned waiting;
};

static void model_grant(struct model *m, struct state_key key)
{
	struct lock_value v = state_value(&s, key);

	m->holder = m->queue[0];
	m->holder_life = m->lives[0];
	cr_assert_eq(v.host, m->holder);
	cr_assert_eq(v.incarnation, m->holder_life);
	cr_assert_gt(v.base, m->highest, "a token comes again: %lu, after %lu", v.base, m->highest);
}

static void model_pop(struct model *m, unsigned at)
{
	m->waiting--;
	for (unsigned i = at; i < m->waiting; i++) {
		m->queue[i] = m->queue[i + 1];
		m->lives[i] = m->lives[i + 1];
	}
}

static void model_free(struct model *m, struct state_key key, uint64_t base, uint32_t used, enum lock_outcome outcome)
{
	m->highest = MAX(m->highest, base + used - 1);
	m->holder = 0;
	while (m->waiting && m->lives[0] != life[m->queue[0]])
		model_pop(m, 0);
	cr_assert_eq(outcome, m->waiting ? LOCK_PASSED : LOCK_FREED);
	if (m->waiting) {
		model_grant(m, key);
		model_pop(m, 0);
	}
}

static void model_enqueue(struct model *m, uint16_t host)
{
	for (unsigned i = 0; i < m->waiting; i++) {
		if (m->queue[i] != host)
			continue;
		if (m->lives[i] == life[host])
			return;
		model_pop(m, i);
		break;
	}
	m->queue[m->waiting] = host;
	m->lives[m->waiting++] = life[host];
}

static void model_acquire(struct model *m, struct state_key key, uint16_t host)
{
	bool had = m->holder == host && m->holder_life == life[host];
	enum lock_outcome outcome = acquire(host, key);

	if (outcome == LOCK_FULL)
		return;
	cr_assert_eq(outcome, !m->holder || had ? LOCK_GRANTED : LOCK_QUEUED);
	if (outcome == LOCK_QUEUED)
		model_enqueue(m, host);
	else if (!had) {
		m->queue[0] = host;
		m->lives[0] = life[host];
		model_grant(m, key);
	}
}

static void model_cancel(struct model *m, struct state_key key, uint16_t host)
{
	enum lock_outcome outcome = cancel(host, key);
	unsigned i = 0;

	while (i < m->waiting && m->queue[i] != host)
		i++;
	cr_assert_eq(outcome, i < m->waiting ? LOCK_FREED : LOCK_IGNORED);
	if (i < m->waiting)
		model_pop(m, i);
}

static void model_down(uint16_t host)
{
	state_down(&s, host);
	life[host] = 0;
}

/* One step; true when the memory of another lock's death gave way. */
static bool model_step(struct model *model, uint64_t *random)
{
	uint32_t died = s.tables->agreed.died_count;
	unsigned i = (unsigned)(random_next(random) % KEYS), dice = (unsigned)(random_next(random) % 100);
	uint16_t host = (uint16_t)(1 + random_next(random) % (ARRAY_LEN(life) - 1));
	uint32_t used = (uint32_t)(random_next(random) % (dice % 2 ? 4 : LOCK_RANGE + 1));
	struct model *m = &model[i];
	struct state_key key = state_key(i);
	struct lock_value v = state_value(&s, key);
	uint16_t holder = m->holder;

	cr_assert_eq(v.host, m->holder);
	cr_assert_eq(v.waiting, m->waiting);
	if (dice < 50 && life[host])
		model_acquire(m, key, host);
	else if (dice < 90 && holder && m->holder_life == life[holder])
		model_free(m, key, v.base, used, release(holder, key, used, random_next(random) % 3 == 0));
	else if (dice < 95 && holder && m->holder_life != life[holder])
		model_free(m, key, v.base, LOCK_RANGE, lapse(holder, key));
	else if (dice < 97 && life[host])
		model_cancel(m, key, host);
	else if (dice < 98 && life[host])
		model_down(host);
	else if (dice >= 98)
		life[host] = state_up(&s, host);
	return !v.base && s.tables->agreed.died_count < died;
}

Test(lock_table, tokens_rise_and_turns_are_kept_whatever_happens)
{
	struct model model[KEYS] = { 0 };
	uint64_t random = 2;
	unsigned forgotten = 0;

	for (unsigned i = 0; i < 60000; i++) {
		forgotten += model_step(model, &random);
		if (i % 64 == 0)
			state_check(&s);
	}
	cr_assert_gt(s.tables->agreed.delegations, 5000, "it did something");
	cr_assert_gt(forgotten, 100, "deaths gave way");
}
