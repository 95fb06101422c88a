/* SPDX-License-Identifier: Apache-2.0 */
/* apply: each command once, the same everywhere, and whole or not at all. */
#include <criterion/criterion.h>
#include <setjmp.h>

#include "state.h"

static struct state s;

static void up(void)
{
	state_init(&s, 8, 8, 16);
	for (uint16_t host = 1; host <= 4; host++)
		state_up(&s, host);
}

static void down(void)
{
	state_check(&s);
	state_release(&s);
}

TestSuite(apply, .init = up, .fini = down);

static struct effects acquire_in(uint16_t host, struct state_key key, uint8_t mode)
{
	struct command c = state_command_on(&s, COMMAND_ACQUIRE, host, key);

	c.mode = mode;
	return state_apply(&s, &c);
}

static struct effects acquire(uint16_t host, struct state_key key)
{
	return acquire_in(host, key, LOCK_MODE_EX);
}

static struct effects release(uint16_t host, struct state_key key, uint8_t flags)
{
	struct command c = state_command_on(&s, COMMAND_RELEASE, host, key);

	c.flags = flags;
	c.release.delegation = state_value(&s, key).delegation;
	c.release.used = 1;
	return state_apply(&s, &c);
}

/* The next rows; of whom nothing is left to sweep stays so. */
static struct effects sweep(uint16_t host)
{
	struct command c = state_command(&s, COMMAND_SWEEP, host);

	return state_apply(&s, &c);
}

static bool swept(uint16_t host) { return tables_host(s.tables, host)->sweep == HOST_SWEPT; }

#define A state_key(0)

/* ---- numbers ---- */

Test(apply, a_command_takes_effect_once)
{
	struct command c = state_command_on(&s, COMMAND_ACQUIRE, 1, A);
	uint64_t hash;

	cr_assert_eq(state_apply(&s, &c).applied, APPLIED_DONE);
	release(1, A, 0);
	hash = snapshot_state_hash(s.tables);
	cr_assert_eq(state_apply(&s, &c).applied, APPLIED_REPEATED);
	cr_assert_eq(snapshot_state_hash(s.tables), hash);
}

Test(apply, a_command_ahead_or_of_an_older_life_is_ignored)
{
	struct command ahead = state_command_on(&s, COMMAND_ACQUIRE, 1, A), older = ahead;
	struct effects effects;

	ahead.number++;
	cr_assert_eq(state_apply(&s, &ahead).applied, APPLIED_REPEATED);
	state_up(&s, 1);
	effects = state_apply(&s, &older);
	cr_assert_eq(effects.applied, APPLIED_REPEATED);
	cr_assert_eq(effects.n_grants, 0);
	cr_assert_eq(s.tables->agreed.rows_used, 0);
}

Test(apply, a_refused_lock_counts_as_taken)
{
	acquire(1, A);
	acquire(2, A);
	cr_assert_eq(tables_host(s.tables, 2)->last_number, 1);
}

Test(apply, a_command_of_a_host_that_is_down_is_ignored)
{
	struct command c;
	struct effects effects;

	acquire(1, A);
	acquire(2, A);
	c = state_command_on(&s, COMMAND_RELEASE, 1, A);
	c.release.delegation = state_value(&s, A).delegation;
	state_down(&s, 1);
	effects = state_apply(&s, &c);
	cr_assert_eq(effects.applied, APPLIED_REPEATED);
	cr_assert_eq(effects.n_grants, 0);
	cr_assert_eq(state_value(&s, A).host, 1);
	cr_assert_eq(tables_host(s.tables, 1)->last_number, 1);
}

/* ---- FOUND and HOST_UP ---- */

static struct command found(uint64_t history)
{
	struct command c = state_command(&s, COMMAND_FOUND, 1);

	c.found.history = history;
	c.found.rows = s.tables->n_rows;
	c.found.cells = s.tables->n_cells;
	c.found.waits = s.tables->n_waits;
	return c;
}

Test(apply, a_cluster_is_founded_once)
{
	struct command first = found(5), second = found(6);

	cr_assert_eq(state_apply(&s, &first).applied, APPLIED_DONE);
	cr_assert_eq(s.tables->agreed.history, 5);
	cr_assert_eq(state_apply(&s, &second).applied, APPLIED_REPEATED);
	cr_assert_eq(s.tables->agreed.history, 5);
}

Test(apply, other_capacities_do_not_fit)
{
	struct command rows = found(5), cells = found(5), waits = found(5);

	rows.found.rows++;
	cells.found.cells++;
	waits.found.waits--;
	cr_assert_eq(state_apply(&s, &rows).applied, APPLIED_UNFIT);
	cr_assert_eq(state_apply(&s, &cells).applied, APPLIED_UNFIT);
	cr_assert_eq(state_apply(&s, &waits).applied, APPLIED_UNFIT);
	cr_assert_eq(s.tables->agreed.history, 0);
}

Test(apply, a_host_registers_at_its_slot_and_only_once)
{
	struct command c = state_command(&s, COMMAND_HOST_UP, 7);
	struct effects effects;

	c.host_up.nonce = 9;
	effects = state_apply(&s, &c);
	cr_assert_eq(effects.applied, APPLIED_DONE);
	cr_assert_eq(tables_host(s.tables, 7)->incarnation, s.slot);
	effects = state_apply(&s, &c);
	cr_assert_eq(effects.applied, APPLIED_REPEATED);
	cr_assert_eq(tables_host(s.tables, 7)->incarnation, s.slot - 1);
}

Test(apply, a_host_up_says_whose_heir_it_is)
{
	struct command c = state_command(&s, COMMAND_HOST_UP, 2);

	c.host_up.nonce = 99;
	c.host_up.expected = tables_host(s.tables, 2)->incarnation;
	cr_assert_eq(state_apply(&s, &c).applied, APPLIED_REPEATED);
	c.host_up.heir_of = tables_host(s.tables, 2)->nonce;
	cr_assert_eq(state_apply(&s, &c).applied, APPLIED_DONE);
	cr_assert_eq(tables_host(s.tables, 2)->incarnation, s.slot);
}

/* ---- LEADS and HOST_DOWN ---- */

Test(apply, the_highest_ballot_that_led_is_kept)
{
	state_leads(&s, 7);
	cr_assert_eq(s.tables->agreed.leads, 7);
	state_leads(&s, 5);
	cr_assert_eq(s.tables->agreed.leads, 7);
	apply_leads(s.tables, &s.undo, 9);
	cr_assert(undo_rollback(&s.undo));
	cr_assert_eq(s.tables->agreed.leads, 7);
}

Test(apply, a_host_is_declared_down_once)
{
	struct command c = state_command(&s, COMMAND_HOST_DOWN, 1);
	struct effects effects;

	acquire(1, A);
	acquire(2, A);
	effects = state_apply(&s, &c);
	cr_assert_eq(effects.applied, APPLIED_DONE);
	cr_assert_eq(effects.n_grants, 0, "that is the sweep's");
	cr_assert_eq(host_table_alive(s.tables, 1), 0);
	cr_assert_eq(state_apply(&s, &c).applied, APPLIED_REPEATED);
}

Test(apply, trap_29_a_host_down_behind_a_later_leader_is_void)
{
	struct command c;

	state_leads(&s, 7);
	c = state_command(&s, COMMAND_HOST_DOWN, 1);
	state_leads(&s, 8);
	cr_assert_eq(state_apply(&s, &c).applied, APPLIED_REPEATED);
	cr_assert_neq(host_table_alive(s.tables, 1), 0);
	cr_assert(swept(1));
}

/* ---- what a caller learns ---- */

Test(apply, a_grant_is_reported_when_it_happens)
{
	struct effects effects = acquire(1, A);

	cr_assert_eq(effects.outcome, LOCK_GRANTED);
	cr_assert_eq(effects.n_grants, 1);
	cr_assert_eq(effects.grants[0], effects.row);
	effects = acquire(1, A);
	cr_assert_eq(effects.outcome, LOCK_GRANTED);
	cr_assert_eq(effects.n_grants, 0, "it had it already");
	effects = acquire(2, A);
	cr_assert_eq(effects.outcome, LOCK_QUEUED);
	cr_assert_eq(effects.n_grants, 0);
	effects = release(1, A, 0);
	cr_assert_eq(effects.outcome, LOCK_PASSED);
	cr_assert_eq(effects.n_grants, 1);
	cr_assert_eq(table_value(s.tables, effects.grants[0]).host, 2);
	effects = release(2, A, 0);
	cr_assert_eq(effects.outcome, LOCK_FREED);
	cr_assert_eq(effects.n_grants, 0);
	cr_assert_eq(effects.row, 0);
}

Test(apply, flags_reach_the_lock)
{
	struct command c;

	acquire(1, A);
	c = state_command_on(&s, COMMAND_ACQUIRE, 2, A);
	c.flags = COMMAND_TRY;
	cr_assert_eq(state_apply(&s, &c).outcome, LOCK_BUSY);
	release(1, A, COMMAND_DIED);
	cr_assert_eq(state_value(&s, A).flags, LOCK_DIED);
}

Test(apply, a_cancel_says_whether_there_was_something)
{
	struct command c;

	acquire(1, A);
	acquire(2, A);
	c = state_command_on(&s, COMMAND_CANCEL, 2, A);
	cr_assert_eq(state_apply(&s, &c).outcome, LOCK_FREED);
	c = state_command_on(&s, COMMAND_CANCEL, 2, A);
	cr_assert_eq(state_apply(&s, &c).outcome, LOCK_IGNORED);
}

/* ---- SWEEP ---- */

Test(apply, a_sweep_frees_what_the_older_life_held_and_nothing_else)
{
	struct effects effects;

	acquire(1, state_key(0));
	acquire(2, state_key(1));
	acquire(1, state_key(2));
	acquire(3, state_key(2));
	state_up(&s, 1);
	acquire(1, state_key(3));
	effects = sweep(1);
	cr_assert_eq(effects.applied, APPLIED_DONE);
	cr_assert_eq(effects.n_grants, 1);
	cr_assert_eq(table_value(s.tables, effects.grants[0]).host, 3);
	cr_assert_eq(state_value(&s, state_key(0)).host, 0);
	cr_assert_eq(state_value(&s, state_key(0)).flags, LOCK_DIED);
	cr_assert_eq(state_value(&s, state_key(1)).host, 2);
	cr_assert_eq(state_value(&s, state_key(2)).host, 3);
	cr_assert_eq(state_value(&s, state_key(3)).host, 1);
	cr_assert_eq(tables_host(s.tables, 1)->sweep, HOST_SWEPT);
}

Test(apply, a_host_that_is_down_is_swept_before_it_comes_again)
{
	acquire(1, state_key(0));
	acquire(1, state_key(2));
	acquire(3, state_key(2));
	state_down(&s, 1);
	cr_assert_eq(sweep(1).n_grants, 1);
	cr_assert_eq(state_value(&s, state_key(2)).host, 3);
	cr_assert_eq(state_value(&s, state_key(0)).flags, LOCK_DIED);
	cr_assert(swept(1));
	state_up(&s, 1);
	cr_assert(swept(1), "a life that is down is given nothing, so it stays swept");
}

Test(apply, who_is_swept_stays_so)
{
	cr_assert_eq(sweep(1).applied, APPLIED_REPEATED);
	cr_assert(swept(1));
}

Test(apply, who_never_registered_is_not_swept)
{
	struct command c = state_command(&s, COMMAND_SWEEP, 7);

	c.row = tables_host(s.tables, 7)->sweep = 1;
	cr_assert_eq(state_apply(&s, &c).applied, APPLIED_REPEATED);
	cr_assert_eq(tables_host(s.tables, 7)->sweep, 1);
}

static void big_with(uint32_t rows, uint32_t cells, uint32_t waits)
{
	state_release(&s);
	state_init(&s, rows, cells, waits);
	for (uint16_t host = 1; host <= 4; host++)
		state_up(&s, host);
}

static void big(uint32_t rows, uint32_t waits)
{
	big_with(rows, 8, waits);
}

Test(apply, one_sweep_frees_so_many)
{
	big(4096, 16);
	for (unsigned i = 0; i < 2 * SWEEP_FREES; i++)
		acquire(1, state_key_cells(i, 0));
	state_up(&s, 1);
	sweep(1);
	cr_assert_not(swept(1));
	cr_assert_eq(s.tables->agreed.died_count, SWEEP_FREES);
	cr_assert_eq(tables_host(s.tables, 1)->sweep, 1 + SWEEP_FREES);
	sweep(1);
	cr_assert(swept(1));
	cr_assert_eq(s.tables->agreed.died_count, 2 * SWEEP_FREES);
}

/* An older leader's, proposed again by the next, does not sweep the rows behind it a second time. */
Test(apply, a_sweep_that_comes_twice_sweeps_once)
{
	struct command c;

	big(4096, 16);
	for (unsigned i = 0; i < 2 * SWEEP_FREES; i++)
		acquire(1, state_key_cells(i, 0));
	state_down(&s, 1);
	c = state_command(&s, COMMAND_SWEEP, 1);
	cr_assert_eq(state_apply(&s, &c).applied, APPLIED_DONE);
	cr_assert_eq(state_apply(&s, &c).applied, APPLIED_REPEATED);
	c.row += SWEEP_FREES + 1;
	cr_assert_eq(state_apply(&s, &c).applied, APPLIED_REPEATED, "nor does one that is ahead");
	cr_assert_eq(s.tables->agreed.died_count, SWEEP_FREES);
	cr_assert_eq(tables_host(s.tables, 1)->sweep, 1 + SWEEP_FREES);
}

Test(apply, one_sweep_looks_at_so_many)
{
	big(4096, 16);
	for (unsigned i = 0; i < SWEEP_ROWS; i++)
		acquire(2, state_key_cells(i, 0));
	acquire(1, state_key_cells(SWEEP_ROWS, 0));
	state_up(&s, 1);
	sweep(1);
	cr_assert_not(swept(1));
	cr_assert_eq(s.tables->agreed.died_count, 0);
	sweep(1);
	cr_assert(swept(1));
	cr_assert_eq(s.tables->agreed.died_count, 1);
}

/* Host 1 held `frees` locks; every host waited for the last two of them, and is a new life now. */
static void worst_sweep(unsigned frees)
{
	big(4096, 4 * HOSTS_MAX);
	for (uint16_t host = 5; host < HOSTS_MAX; host++)
		state_up(&s, host);
	for (unsigned i = 0; i < frees; i++)
		acquire(1, state_key_cells(i, 0));
	for (unsigned i = frees - 2; i < frees; i++)
		for (uint16_t host = 2; host < HOSTS_MAX; host++)
			acquire(host, state_key_cells(i, 0));
	for (uint16_t host = 1; host < HOSTS_MAX; host++)
		state_up(&s, host);
}

Test(apply, one_sweep_passes_over_so_many_of_the_dead)
{
	worst_sweep(8);
	for (uint16_t host = 1; host < HOSTS_MAX; host++) /* a third queue, behind the two */
		acquire(host, state_key_cells(100, 0));
	sweep(1);
	cr_assert_eq(s.tables->agreed.died_count, 8);
	cr_assert_not(swept(1));
	sweep(1);
	cr_assert(swept(1));
}

Test(apply, no_command_takes_more_undo_than_is_said)
{
	/* Shares, each the only one of its row, whose key takes three cells and for which one waited who is gone. One
	 * entry before SWEEP_WAITS is reached comes a queue that every host has left. */
	big_with(4096, 3 * SWEEP_FREES, 4 * HOSTS_MAX);
	for (uint16_t host = 5; host < HOSTS_MAX; host++)
		state_up(&s, host);
	for (unsigned i = 0; i < SWEEP_FREES; i++)
		acquire_in(1, state_key_cells(i, 3), LOCK_MODE_PR);
	for (unsigned i = 0; i < SWEEP_FREES - 2; i++)
		acquire(2, state_key_cells(i, 3));
	for (uint16_t host = 2; host < 2 + SWEEP_WAITS - SWEEP_FREES - (SWEEP_FREES - 2); host++)
		acquire(host, state_key_cells(SWEEP_FREES - 2, 3));
	for (uint16_t host = 2; host < HOSTS_MAX; host++)
		acquire(host, state_key_cells(SWEEP_FREES - 1, 3));
	for (uint16_t host = 1; host < HOSTS_MAX; host++)
		state_up(&s, host);
	s.words = 0;
	sweep(1);
	cr_assert_eq(s.tables->agreed.rows_used, 0);
	cr_assert_eq(s.tables->agreed.waits_used, 0);
	cr_assert_leq(s.words, APPLY_UNDO_WORDS);
	cr_assert_gt(s.words, APPLY_UNDO_WORDS - APPLY_UNDO_WORDS / 16, "and the number is no guess");
}

/* The same number of entries, each given the lock: it takes less. */
Test(apply, all_hosts_that_wait_to_share_are_let_in_by_one_command)
{
	struct effects effects;
	struct lock_hold hold;

	big(8, HOSTS_MAX);
	for (uint16_t host = 5; host < HOSTS_MAX; host++)
		state_up(&s, host);
	acquire(1, A);
	for (uint16_t host = 2; host < HOSTS_MAX; host++)
		acquire_in(host, A, LOCK_MODE_PR);
	s.words = 0;
	effects = release(1, A, 0);
	cr_assert_eq(effects.outcome, LOCK_PASSED);
	cr_assert_eq(effects.n_grants, 1);
	cr_assert_eq(effects.delegations, 1);
	cr_assert_eq(state_value(&s, A).holders, HOSTS_MAX - 2);
	for (uint16_t host = 2; host < HOSTS_MAX; host++) {
		cr_assert(lock_table_hold(s.tables, effects.grants[0], host, &hold));
		cr_assert_eq(hold.delegation, effects.delegations + host - 1, "in their order, and as new ones");
	}
	cr_assert_leq(s.words, APPLY_UNDO_WORDS);
}

/* Host 1 shares, all others wait to share behind one that wants to write, and that one's host dies: its sweep lets them in. */
Test(apply, a_sweep_that_lets_all_hosts_in_keeps_to_the_undo_log)
{
	struct effects effects;

	big(8, 4 * HOSTS_MAX);
	for (uint16_t host = 5; host < HOSTS_MAX; host++)
		state_up(&s, host);
	for (unsigned i = 0; i < 3; i++) {
		acquire_in(1, state_key_cells(i, 0), LOCK_MODE_PR);
		for (uint16_t host = 2; host < HOSTS_MAX; host++)
			acquire_in(host, state_key_cells(i, 0), host == 2 ? LOCK_MODE_EX : LOCK_MODE_PR);
	}
	state_down(&s, 2);
	s.words = 0;
	effects = sweep(2);
	cr_assert_eq(effects.n_grants, 2, "one before the bound, and the one that passes it");
	cr_assert_leq(s.words, APPLY_UNDO_WORDS);
	cr_assert_not(swept(2));
	cr_assert_eq(sweep(2).n_grants, 1);
	cr_assert(swept(2));
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(state_value(&s, state_key_cells(i, 0)).holders, HOSTS_MAX - 2);
}

/* ---- the same everywhere ---- */

struct death {
	jmp_buf here;
	uint64_t left; /* saves until then */
};

static void count_down(void *context)
{
	struct death *death = context;

	if (death->left-- == 0)
		longjmp(death->here, 1);
}

/* Applies a command that dies after its n-th save, for each n, until it survives. */
static unsigned apply_with_deaths(struct state *victim, const struct command *c, uint64_t before)
{
	volatile unsigned deaths = 0;
	struct death death;

	victim->undo.probe = count_down;
	victim->undo.probe_context = &death;
	for (;;) {
		struct effects effects;

		death.left = deaths;
		if (setjmp(death.here) == 0) {
			apply_command(victim->tables, &victim->undo, c, victim->slot + 1, &effects);
			break;
		}
		deaths++;
		cr_assert(table_recover(victim->tables, &victim->undo));
		cr_assert_eq(snapshot_state_hash(victim->tables), before);
	}
	victim->undo.probe = NULL;
	victim->slot++;
	state_commit(victim);
	return deaths;
}

Test(apply, equal_commands_make_equal_tables_whatever_happens_in_between)
{
	struct state copied, killed;
	uint64_t random = 7, deaths = 0;
	bool changed_kind[COMMAND_SWEEP + 1] = { false };

	state_release(&s);
	state_init(&s, 8, 8, 16);
	state_init(&copied, 8, 8, 16);
	state_init(&killed, 8, 8, 16);
	for (unsigned i = 0; i < 5000; i++) {
		struct command c = state_random(&s, &random, 6, 16);
		uint64_t hash, before;

		if (i % 100 == 50) { /* a leader begins; some of the ballots are older than its */
			uint64_t ballot = i / 50 - i % 3;

			state_leads(&s, ballot);
			state_leads(&copied, ballot);
			state_leads(&killed, ballot);
		}
		before = snapshot_state_hash(s.tables);
		state_apply(&s, &c);
		hash = snapshot_state_hash(s.tables);
		changed_kind[c.kind] |= hash != before;

		if (i % 1000 == 500) { /* fell out of the log: a copy instead */
			state_copy(&copied, &s);
			cr_assert_eq(snapshot_state_hash(copied.tables), hash);
		} else {
			state_apply(&copied, &c);
		}
		deaths += apply_with_deaths(&killed, &c, before);
		cr_assert_eq(snapshot_state_hash(copied.tables), hash, "step %u, %s, copied", i, command_name(c.kind));
		cr_assert_eq(snapshot_state_hash(killed.tables), hash, "step %u, %s, killed", i, command_name(c.kind));
		if (i % 100 == 0) {
			state_check(&s);
			state_check(&copied);
			state_check(&killed);
		}
	}
	for (uint8_t kind = COMMAND_FOUND; kind <= COMMAND_SWEEP; kind++)
		cr_assert(changed_kind[kind], "%s never did anything", command_name(kind));
	cr_assert_gt(deaths, 20000);
	state_release(&copied);
	state_release(&killed);
}
