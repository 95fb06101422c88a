/* SPDX-License-Identifier: Apache-2.0 */
/* lock_line: whose turn it is, when some want to share a lock and others want it for themselves. */
#include <criterion/criterion.h>

#include "state.h"

#define EX LOCK_MODE_EX
#define PR LOCK_MODE_PR
#define HOSTS 7u

static struct state s;
static uint64_t life[HOSTS + 1]; /* incarnations; 0: down */

static void up(void)
{
	state_init(&s, 4, 4, 12);
	for (uint16_t host = 1; host <= HOSTS; host++)
		life[host] = state_up(&s, host);
}

static void down(void)
{
	state_check(&s);
	state_release(&s);
}

TestSuite(lock_line, .init = up, .fini = down);

#define A state_key(0)
#define B state_key(1)

static uint32_t row_of(struct state_key key)
{
	return table_find(s.tables, key.bytes, key.len);
}

static enum lock_outcome acquire_how(uint16_t host, struct state_key key, uint8_t mode, bool try_only)
{
	const struct lock_request q = { .host = host, .incarnation = life[host], .mode = mode, .try_only = try_only };
	uint32_t row;
	enum lock_outcome outcome = lock_table_acquire(s.tables, &s.undo, &q, key.bytes, key.len, &row);

	cr_assert_eq(row, row_of(key));
	state_commit(&s);
	return outcome;
}

static enum lock_outcome acquire(uint16_t host, struct state_key key, uint8_t mode)
{
	return acquire_how(host, key, mode, false);
}

/* Zeros: nothing. */
static struct lock_hold hold(uint16_t host, struct state_key key)
{
	struct lock_hold h = { 0 };
	uint32_t row = row_of(key);

	if (row)
		lock_table_hold(s.tables, row, host, &h);
	return h;
}

static enum lock_outcome release_how(uint16_t host, struct state_key key, uint32_t used, bool died)
{
	uint32_t row;
	enum lock_outcome outcome =
		lock_table_release(s.tables, &s.undo, host, key.bytes, key.len, hold(host, key).delegation, used, died, &row);

	cr_assert_eq(row, row_of(key));
	state_commit(&s);
	return outcome;
}

static enum lock_outcome release(uint16_t host, struct state_key key)
{
	return release_how(host, key, 1, false);
}

static enum lock_outcome cancel(uint16_t host, struct state_key key)
{
	uint32_t row;
	enum lock_outcome outcome = lock_table_cancel(s.tables, &s.undo, host, key.bytes, key.len, &row);

	state_commit(&s);
	return outcome;
}

static enum lock_outcome lapse(uint16_t host, struct state_key key)
{
	enum lock_outcome outcome = lock_table_lapse(s.tables, &s.undo, row_of(key), host);

	state_commit(&s);
	return outcome;
}

static void die(uint16_t host)
{
	state_down(&s, host);
	life[host] = 0;
}

/* ---- sharing ---- */

Test(lock_line, many_share_and_each_has_a_delegation_and_tokens_of_its_own)
{
	struct lock_value v;

	for (uint16_t host = 1; host <= 3; host++)
		cr_assert_eq(acquire(host, A, PR), LOCK_GRANTED);
	for (uint16_t host = 1; host <= 3; host++) {
		struct lock_hold h = hold(host, A);

		cr_assert_eq(h.delegation, host);
		cr_assert_eq(h.incarnation, life[host]);
		cr_assert_eq(h.mode, PR);
		cr_assert_eq(h.base, 1 + (host - 1u) * LOCK_SHARED_RANGE);
		cr_assert_eq(h.range, LOCK_SHARED_RANGE);
		cr_assert_not(h.died);
	}
	v = state_value(&s, A);
	cr_assert_eq(v.mode, PR);
	cr_assert_eq(v.holders, 3);
	cr_assert_eq(v.delegation, 3);
	cr_assert_eq(v.host, 0);
	cr_assert_eq(v.incarnation, 0);
	cr_assert_eq(v.base, 1 + 3 * LOCK_SHARED_RANGE, "where the next tokens begin");
	cr_assert_eq(hold(4, A).delegation, 0);
}

Test(lock_line, an_owner_is_found_like_one_who_shares)
{
	acquire(2, A, EX);
	cr_assert_eq(hold(2, A).delegation, 1);
	cr_assert_eq(hold(2, A).mode, EX);
	cr_assert_eq(hold(2, A).base, 1);
	cr_assert_eq(hold(2, A).range, LOCK_RANGE);
	cr_assert_eq(hold(1, A).delegation, 0);
	release_how(2, A, 1, true);
	cr_assert_eq(hold(2, A).delegation, 0, "a death that is remembered is nobody's");
}

Test(lock_line, what_one_shares_is_granted_again_without_a_change)
{
	struct lock_value before, after;

	acquire(1, A, PR);
	acquire(2, A, PR);
	acquire(3, A, EX);
	before = state_value(&s, A);
	cr_assert_eq(acquire(1, A, PR), LOCK_GRANTED);
	after = state_value(&s, A);
	cr_assert_eq(memcmp(&before, &after, sizeof(before)), 0);
}

Test(lock_line, who_has_it_in_one_mode_must_release_before_it_asks_in_the_other)
{
	acquire(1, A, PR);
	cr_assert_eq(acquire(1, A, EX), LOCK_BUSY);
	cr_assert_eq(acquire_how(1, A, EX, true), LOCK_BUSY);
	cr_assert_eq(hold(1, A).mode, PR);
	cr_assert_eq(state_value(&s, A).waiting, 0);
	acquire(2, B, EX);
	cr_assert_eq(acquire(2, B, PR), LOCK_BUSY);
	cr_assert_eq(hold(2, B).mode, EX);
	cr_assert_eq(state_value(&s, B).waiting, 0);
	cr_assert_eq(acquire(1, B, EX), LOCK_QUEUED);
	cr_assert_eq(acquire(1, B, PR), LOCK_BUSY, "nor while it waits");
	cr_assert_eq(state_value(&s, B).waiting, 1);
	release(2, B);
	cr_assert_eq(hold(1, B).mode, EX);
}

Test(lock_line, a_try_that_does_not_fit_is_told_so)
{
	acquire(1, A, PR);
	cr_assert_eq(acquire_how(2, A, EX, true), LOCK_BUSY);
	cr_assert_eq(acquire_how(2, A, PR, true), LOCK_GRANTED);
	acquire(3, A, EX);
	cr_assert_eq(acquire_how(4, A, PR, true), LOCK_BUSY, "somebody waits");
	acquire(1, B, EX);
	cr_assert_eq(acquire_how(2, B, PR, true), LOCK_BUSY);
	cr_assert_eq(state_value(&s, A).waiting + state_value(&s, B).waiting, 1);
}

Test(lock_line, who_would_write_is_not_starved)
{
	acquire(1, A, PR);
	cr_assert_eq(acquire(2, A, EX), LOCK_QUEUED);
	cr_assert_eq(acquire(3, A, PR), LOCK_QUEUED);
	cr_assert_eq(release(1, A), LOCK_PASSED);
	cr_assert_eq(hold(2, A).mode, EX);
	cr_assert_eq(state_value(&s, A).holders, 0);
	cr_assert_eq(release(2, A), LOCK_PASSED);
	cr_assert_eq(hold(3, A).mode, PR);
}

Test(lock_line, only_ones_own_share_ends)
{
	for (uint16_t host = 1; host <= 4; host++)
		acquire(host, A, PR);
	acquire(5, A, EX);
	cr_assert_eq(release(2, A), LOCK_FREED, "in the middle of the list");
	cr_assert_eq(release(4, A), LOCK_FREED, "the first of it");
	cr_assert_eq(release(1, A), LOCK_FREED, "the last of it");
	cr_assert_eq(hold(3, A).delegation, 3);
	cr_assert_eq(state_value(&s, A).holders, 1);
	cr_assert_eq(release(2, A), LOCK_IGNORED);
	cr_assert_eq(release(3, A), LOCK_PASSED);
	cr_assert_eq(hold(5, A).mode, EX);
}

Test(lock_line, a_release_names_the_share_it_ends)
{
	uint32_t row;

	acquire(1, A, PR);
	acquire(2, A, PR);
	cr_assert_eq(lock_table_release(s.tables, &s.undo, 1, A.bytes, A.len, 2, 0, false, &row), LOCK_IGNORED);
	cr_assert_eq(lock_table_release(s.tables, &s.undo, 3, A.bytes, A.len, 2, 0, false, &row), LOCK_IGNORED);
	cr_assert_eq(lock_table_release(s.tables, &s.undo, 1, A.bytes, A.len, 0, 0, false, &row), LOCK_IGNORED);
	cr_assert_eq(state_value(&s, A).holders, 2);
}

Test(lock_line, all_at_the_head_who_want_to_share_are_let_in_together)
{
	acquire(1, A, EX);
	acquire(2, A, PR);
	acquire(3, A, PR);
	acquire(4, A, PR);
	acquire(5, A, EX);
	acquire(6, A, PR);
	die(3);
	cr_assert_eq(release(1, A), LOCK_PASSED);
	cr_assert_eq(state_value(&s, A).holders, 2);
	cr_assert_eq(state_value(&s, A).waiting, 2);
	cr_assert_lt(hold(2, A).base, hold(4, A).base, "in their order");
	cr_assert_eq(hold(3, A).delegation, 0, "who died waiting is passed over");
	cr_assert_eq(hold(6, A).delegation, 0);
}

Test(lock_line, when_nobody_shares_any_more_the_row_goes)
{
	acquire(1, A, PR);
	acquire(2, A, PR);
	release(1, A);
	cr_assert_eq(release(2, A), LOCK_FREED);
	cr_assert_eq(s.tables->agreed.rows_used, 0);
	cr_assert_eq(s.tables->agreed.waits_used, 0);
	cr_assert_eq(s.tables->agreed.token_floor, 2 * LOCK_SHARED_RANGE, "no token of theirs comes again");
}

Test(lock_line, tokens_of_owners_and_of_those_who_share_lie_above_each_other)
{
	acquire(1, A, EX);
	acquire(2, A, PR);
	acquire(3, A, EX);
	release_how(1, A, 10, false);
	cr_assert_eq(hold(2, A).base, 11);
	release_how(2, A, 1, false);
	cr_assert_eq(hold(3, A).base, 11 + LOCK_SHARED_RANGE, "what was not used of a share is not given again");
}

Test(lock_line, who_waits_no_more_does_not_keep_others_from_sharing)
{
	acquire(1, A, PR);
	acquire(2, A, EX);
	acquire(3, A, PR);
	acquire(4, A, PR);
	cr_assert_eq(cancel(2, A), LOCK_FREED);
	cr_assert_eq(state_value(&s, A).holders, 3);
	cr_assert_eq(state_value(&s, A).waiting, 0);
}

Test(lock_line, who_died_waiting_does_not_keep_others_from_sharing)
{
	acquire(1, A, PR);
	acquire(2, A, EX);
	acquire(3, A, PR);
	die(2);
	cr_assert_eq(hold(3, A).delegation, 0);
	cr_assert_eq(lapse(2, A), LOCK_PASSED);
	cr_assert_eq(hold(3, A).mode, PR);
	cr_assert_eq(lapse(2, A), LOCK_IGNORED);
	acquire(4, A, EX);
	die(4);
	cr_assert_eq(lapse(4, A), LOCK_FREED, "nobody stood behind it");
	cr_assert_eq(state_value(&s, A).waiting, 0);
}

Test(lock_line, a_new_life_that_waits_last_lets_in_who_stood_behind_its_older_one)
{
	acquire(1, A, PR);
	acquire(2, A, EX);
	acquire(3, A, PR);
	life[2] = state_up(&s, 2);
	cr_assert_eq(acquire(2, A, EX), LOCK_QUEUED);
	cr_assert_eq(hold(3, A).mode, PR);
	life[2] = state_up(&s, 2);
	cr_assert_eq(acquire(2, A, PR), LOCK_GRANTED, "and itself, when it will share");
	cr_assert_eq(state_value(&s, A).waiting, 0);
}

Test(lock_line, a_new_life_takes_the_place_of_its_older_ones_share)
{
	uint64_t old;

	acquire(1, A, PR);
	acquire(2, A, PR);
	old = hold(1, A).delegation;
	life[1] = state_up(&s, 1);
	cr_assert_eq(acquire(1, A, PR), LOCK_GRANTED);
	cr_assert_eq(state_value(&s, A).holders, 2);
	cr_assert_gt(hold(1, A).delegation, old);
	cr_assert_eq(hold(1, A).incarnation, life[1]);
	cr_assert_eq(lapse(1, A), LOCK_IGNORED);
	life[2] = state_up(&s, 2);
	cr_assert_eq(acquire(2, A, EX), LOCK_QUEUED);
	cr_assert_eq(hold(2, A).delegation, 0);
	life[1] = state_up(&s, 1);
	cr_assert_eq(acquire(1, A, EX), LOCK_QUEUED, "its old share was the last: the turn is the other's");
	cr_assert_eq(hold(2, A).mode, EX);
	cr_assert_eq(state_value(&s, A).waiting, 1);
}

Test(lock_line, shares_lapse_one_by_one)
{
	acquire(1, A, PR);
	acquire(2, A, PR);
	acquire(3, A, EX);
	die(1);
	cr_assert_eq(lapse(2, A), LOCK_IGNORED);
	cr_assert_eq(lapse(1, A), LOCK_FREED);
	cr_assert_eq(hold(2, A).delegation, 2);
	die(2);
	cr_assert_eq(lapse(2, A), LOCK_PASSED);
	cr_assert_eq(hold(3, A).mode, EX);
	cr_assert_not(hold(3, A).died, "that one who shared has died is no news");
}

Test(lock_line, a_hosts_own_view_is_over_with_its_share)
{
	struct lock_value v;

	acquire(1, A, PR); /* the tables are host 1's */
	acquire(2, A, PR);
	v = state_value(&s, A);
	v.gate = 4711;
	table_set(s.tables, NULL, row_of(A), &v);
	acquire(3, A, PR);
	release(2, A);
	cr_assert_eq(state_value(&s, A).gate, 4711);
	release(1, A);
	cr_assert_eq(state_value(&s, A).gate, 0);
}

/* ---- deaths of owners ---- */

Test(lock_line, those_who_share_are_told_of_a_death_until_an_owner_was)
{
	acquire(1, A, EX);
	acquire(2, A, PR);
	acquire(3, A, PR);
	release_how(1, A, 1, true);
	cr_assert(hold(2, A).died);
	cr_assert(hold(3, A).died);
	release(2, A);
	acquire(4, A, PR);
	cr_assert(hold(4, A).died);
	release(3, A);
	cr_assert_eq(release_how(4, A, 1, true), LOCK_FREED);
	cr_assert_eq(s.tables->agreed.died_count, 1, "nobody could put it right yet");
	cr_assert_eq(acquire(5, A, PR), LOCK_GRANTED);
	cr_assert(hold(5, A).died);
	cr_assert_eq(s.tables->agreed.died_count, 0);
	acquire(6, A, EX);
	release(5, A);
	cr_assert(hold(6, A).died);
	acquire(7, A, PR);
	release(6, A);
	cr_assert_not(hold(7, A).died);
}

Test(lock_line, that_one_who_shared_has_died_is_not_told)
{
	acquire(1, A, PR);
	acquire(2, A, EX);
	release_how(1, A, 1, true);
	cr_assert_not(hold(2, A).died);
}

/* ---- room ---- */

Test(lock_line, without_entries_nobody_can_share)
{
	for (uint16_t host = 1; host <= 6; host++) {
		acquire(host, A, PR);
		acquire(host, B, PR);
	}
	cr_assert_eq(s.tables->agreed.waits_used, 12);
	cr_assert_eq(acquire(7, A, PR), LOCK_FULL);
	cr_assert_eq(acquire(7, state_key(2), PR), LOCK_FULL);
	cr_assert_eq(s.tables->agreed.rows_used, 2);
	cr_assert_eq(acquire(7, state_key(2), EX), LOCK_GRANTED, "an owner needs none");
	release_how(7, state_key(2), 1, true);
	cr_assert_eq(acquire(7, state_key(2), PR), LOCK_FULL);
	cr_assert_eq(s.tables->agreed.died_count, 1, "and the death is still known");
	life[6] = state_up(&s, 6);
	cr_assert_eq(acquire(6, A, PR), LOCK_GRANTED, "its older life had one");
	release(1, A);
	cr_assert_eq(acquire(7, A, PR), LOCK_GRANTED);
}

/* ---- against a model ---- */

#define KEYS 12u

struct place {
	uint16_t host;
	uint8_t mode;
	uint64_t life;
};

/* What a lock is, without rows, entries, floors and lists. */
struct model {
	uint64_t highest; /* token that may have been given */
	bool died;
	unsigned holding, waiting;
	struct place holder[HOSTS + 1], queue[HOSTS + 1];
};

static unsigned find(const struct place *at, unsigned n, uint16_t host)
{
	unsigned i = 0;

	while (i < n && at[i].host != host)
		i++;
	return i;
}

static void drop(struct place *at, unsigned *n, unsigned i)
{
	memmove(&at[i], &at[i + 1], (--*n - i) * sizeof(*at));
}

static void model_grant(struct model *m, struct state_key key, struct place p)
{
	struct lock_hold h = hold(p.host, key);

	cr_assert_eq(h.mode, p.mode);
	cr_assert_eq(h.incarnation, p.life);
	cr_assert_gt(h.base, m->highest, "a token comes again: %lu, after %lu", h.base, m->highest);
	cr_assert(!h.died || m->died, "a death that was none");
	cr_assert(h.died || !m->died, "a death that was not told");
	if (p.mode == PR)
		m->highest = h.base + LOCK_SHARED_RANGE - 1;
	m->holder[m->holding++] = p;
}

/* True when anybody was given it. */
static bool model_serve(struct model *m, struct state_key key)
{
	bool any = false;

	while (m->waiting) {
		struct place p = m->queue[0];
		bool alive = life[p.host] == p.life;

		if (m->holding && (m->holder[0].mode == EX || (alive && p.mode == EX)))
			break;
		drop(m->queue, &m->waiting, 0);
		if (alive)
			model_grant(m, key, p);
		any |= alive;
	}
	return any;
}

static void model_acquire(struct model *m, struct state_key key, uint16_t host, uint8_t mode, bool try_only)
{
	unsigned h = find(m->holder, m->holding, host), q = find(m->queue, m->waiting, host);
	bool has = h < m->holding && m->holder[h].life == life[host];
	bool waits = q < m->waiting && m->queue[q].life == life[host];
	bool fits = !m->holding || (m->holder[0].mode == PR && mode == PR && !m->waiting), new_row = !row_of(key);
	enum lock_outcome outcome = acquire_how(host, key, mode, try_only);

	if (has || (!fits && try_only)) {
		cr_assert_eq(outcome, has && m->holder[h].mode == mode ? LOCK_GRANTED : LOCK_BUSY);
		return;
	}
	if (waits) {
		cr_assert_eq(outcome, m->queue[q].mode == mode ? LOCK_QUEUED : LOCK_BUSY);
		return;
	}
	if (outcome == LOCK_FULL)
		return;
	m->died &= !new_row; /* it was forgotten for want of room */
	if (q < m->waiting)
		drop(m->queue, &m->waiting, q);
	else if (h < m->holding && m->holder[h].mode == PR)
		drop(m->holder, &m->holding, h);
	m->queue[m->waiting++] = (struct place){ host, mode, life[host] };
	model_serve(m, key);
	h = find(m->holder, m->holding, host);
	has = h < m->holding && m->holder[h].life == life[host];
	cr_assert_eq(outcome, has ? LOCK_GRANTED : LOCK_QUEUED);
}

static void model_end(struct model *m, struct state_key key, unsigned h, uint64_t base, uint32_t used, bool died,
		      enum lock_outcome outcome)
{
	if (m->holder[h].mode == EX) {
		m->highest = MAX(m->highest, base + used - 1);
		m->died = died || (m->died && !used);
	}
	drop(m->holder, &m->holding, h);
	cr_assert_eq(outcome, model_serve(m, key) ? LOCK_PASSED : LOCK_FREED);
}

static void model_lapse(struct model *m, struct state_key key, uint16_t host)
{
	unsigned h = find(m->holder, m->holding, host);
	uint64_t base = hold(host, key).base;
	bool stale = m->waiting && m->holding && m->holder[0].mode == PR && m->queue[0].life != life[m->queue[0].host];
	enum lock_outcome outcome;

	if (!row_of(key))
		return;
	outcome = lapse(host, key);
	if (h < m->holding && m->holder[h].life != life[host])
		model_end(m, key, h, base, LOCK_RANGE, true, outcome);
	else if (stale)
		cr_assert_eq(outcome, model_serve(m, key) ? LOCK_PASSED : LOCK_FREED);
	else
		cr_assert_eq(outcome, LOCK_IGNORED);
}

static void model_cancel(struct model *m, struct state_key key, uint16_t host)
{
	unsigned q = find(m->queue, m->waiting, host);

	cr_assert_eq(cancel(host, key), q < m->waiting ? LOCK_FREED : LOCK_IGNORED);
	if (q == m->waiting)
		return;
	drop(m->queue, &m->waiting, q);
	model_serve(m, key);
}

/* All that the tables say of a lock is what the model says. */
static void compare(const struct model *m, struct state_key key)
{
	struct lock_value v = state_value(&s, key);
	uint32_t w = v.delegation ? tables_row(s.tables, row_of(key))->queue_head : 0;
	bool shared = m->holding && m->holder[0].mode == PR;

	cr_assert_eq(v.delegation != 0, m->holding != 0);
	cr_assert_eq(v.mode, m->holding ? m->holder[0].mode : 0);
	cr_assert_eq(v.holders, shared ? m->holding : 0);
	cr_assert(shared || m->holding <= 1, "an owner beside others");
	for (unsigned i = 0; i < m->holding; i++)
		cr_assert_eq(hold(m->holder[i].host, key).incarnation, m->holder[i].life);
	cr_assert_eq(v.waiting, m->waiting);
	for (unsigned i = 0; i < m->waiting; i++, w = tables_wait(s.tables, w)->next) {
		cr_assert_eq(tables_wait(s.tables, w)->host, m->queue[i].host);
		cr_assert_eq(tables_wait(s.tables, w)->mode, m->queue[i].mode);
	}
	/* Nobody waits who could have it: the sweep of a dead one's host would come by. */
	if (shared && m->waiting && m->queue[0].life == life[m->queue[0].host])
		cr_assert_eq(m->queue[0].mode, EX);
}

static void model_sweep(struct model *model, uint16_t host)
{
	for (unsigned i = 0; i < KEYS; i++)
		model_lapse(&model[i], state_key(i), host);
}

static void model_step(struct model *model, uint64_t *random)
{
	unsigned i = (unsigned)(random_next(random) % KEYS), dice = (unsigned)(random_next(random) % 200);
	uint16_t host = (uint16_t)(1 + random_next(random) % HOSTS);
	struct model *m = &model[i];
	struct state_key key = state_key(i);
	uint32_t used = (uint32_t)(random_next(random) % (dice % 2 ? 4 : LOCK_RANGE + 1));
	unsigned h = m->holding ? (unsigned)(random_next(random) % m->holding) : 0;

	if (dice < 100 && life[host]) {
		model_acquire(m, key, host, dice % 5 < 3 ? PR : EX, dice % 10 == 9);
	} else if (dice < 180 && m->holding && m->holder[h].life == life[m->holder[h].host]) {
		uint64_t base = hold(m->holder[h].host, key).base;
		bool died = random_next(random) % 3 == 0;

		model_end(m, key, h, base, used, died, release_how(m->holder[h].host, key, used, died));
	} else if (dice < 190 && life[host]) {
		model_cancel(m, key, host);
	} else if (dice < 196) {
		model_lapse(m, key, host);
	} else if (dice < 198 && life[host]) {
		die(host);
	} else if (dice >= 198) {
		life[host] = state_up(&s, host);
	}
	compare(m, key);
}

/* All live hosts release what they have until nobody waits any more. */
static void drain(struct model *model)
{
	for (uint16_t host = 1; host <= HOSTS; host++)
		model_sweep(model, host);
	for (unsigned i = 0; i < KEYS; i++) {
		struct state_key key = state_key(i);
		struct model *m = &model[i];

		for (unsigned turns = 0; m->holding; turns++) {
			cr_assert_leq(turns, 2 * HOSTS, "somebody waits for ever");
			model_end(m, key, 0, hold(m->holder[0].host, key).base, 1, false, release_how(m->holder[0].host, key, 1, false));
		}
		cr_assert_eq(m->waiting, 0);
		compare(m, key);
	}
	cr_assert_eq(s.tables->agreed.waits_used, 0);
	cr_assert_eq(s.tables->agreed.rows_used, s.tables->agreed.died_count);
}

Test(lock_line, never_an_owner_beside_others_and_turns_are_kept_whatever_happens)
{
	struct model model[KEYS] = { 0 };
	uint64_t random = 3, shared = 0, full = 0;

	state_release(&s);
	state_init(&s, 8, 8, 20);
	for (uint16_t host = 1; host <= HOSTS; host++)
		life[host] = state_up(&s, host);
	for (unsigned i = 0; i < 100000; i++) {
		model_step(model, &random);
		shared += state_value(&s, state_key(i % KEYS)).holders > 2;
		full += s.tables->agreed.waits_used == s.tables->n_waits;
		if (i % 64 == 0)
			state_check(&s);
		if (i % 5000 == 4999)
			drain(model);
	}
	cr_assert_gt(s.tables->agreed.delegations, 10000, "it did something");
	cr_assert_gt(shared, 500, "many shared");
	cr_assert_gt(full, 100, "entries ran out");
}
