/* SPDX-License-Identifier: Apache-2.0 */
/* A table and its writer: shape, operations, and death at any instruction. */
#define _GNU_SOURCE /* step.h: register names */
#include "table_space.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "step.h"

/* ---- shape ---- */

Test(table, capacity_has_a_wait_for_each_row_and_a_cell_for_every_fourth)
{
	struct table_capacity c = table_capacity_for(1000);

	cr_assert_eq(c.rows, 1000);
	cr_assert_eq(c.cells, 250);
	cr_assert_eq(c.waits, 1000);
	cr_assert_eq(table_capacity_for(UINT32_MAX).waits, TABLE_ROWS_MAX);
	cr_assert_eq(table_capacity_for(0).rows, 1);
	cr_assert_eq(table_capacity_for(0).cells, 1);
}

/* What each of `locks` takes, of which this host owns `owned`, in tenths of a byte. Whatever the number of locks: what does not
 * grow with it, and what is rounded up, is a byte each at most. */
static void takes(uint32_t locks, uint32_t owned, uint64_t tenths)
{
	struct table_capacity c = table_capacity_for(locks), none = table_capacity_for(1);

	c.gates = c.claims = owned;
	uint64_t is = 10 * (tables_size(&c) - tables_size(&none)) / locks;
	cr_expect_leq(is, tenths, "%u locks, %u of them owned: %u tenths of a byte each", locks, owned, (unsigned)is);
	cr_expect_geq(is + 10, tenths);
}

/* Beside the key's room of 64 in its row at most 256, those of the cells counted in, where the host owns as many. README.md,
 * CHANGELOG.md, paxshmd.conf(5) and docs/ tell how many. */
Test(table, a_lock_takes_at_most_256_bytes_beside_its_key)
{
	static const uint32_t locks[] = { 65536, 65537, 1000000, 1u << 20, (1u << 20) + 1 };

	for (unsigned i = 0; i < ARRAY_LEN(locks); i++) {
		takes(locks[i], 0, 2387);
		takes(locks[i], locks[i], 3187);
	}
	cr_expect_leq(318.7 - KEY_INLINE, 256);
}

Test(table, a_fresh_table_is_verified_sound_and_readable)
{
	struct space s = space_new();
	struct lock_value v;

	cr_assert_null(tables_verify(s.t, tables_size(&small)));
	assert_sound(s.t);
	cr_assert_str_eq(s.t->cluster, "test");
	cr_assert_eq(table_read(s.t, "x", 1, &v), 0);
}

Test(table, a_long_cluster_name_is_cut)
{
	struct tables *t = shared_memory(tables_size(&small));
	char name[200];

	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	tables_format(t, &small, name, 1);
	cr_assert_eq(strlen(t->cluster), NAME_BYTES - 1);
	cr_assert_null(tables_verify(t, tables_size(&small)));
}

#define refuses(change) \
	do { \
		struct space s = space_new(); \
		struct tables *t = s.t; \
		change; \
		cr_assert_not_null(tables_verify(t, tables_size(&small)), #change); \
	} while (0)

Test(table, verify_refuses_anything_that_does_not_fit)
{
	struct space s = space_new();

	cr_assert_not_null(tables_verify(s.t, sizeof(struct tables) - 1));
	cr_assert_not_null(tables_verify(s.t, tables_size(&small) - 1));
	refuses(t->segment.magic = 0);
	refuses(t->segment.version++);
	refuses(t->segment.kind = SEGMENT_ARENA);
	refuses(t->segment.size++);
	refuses(t->n_rows = 0);
	refuses(t->n_rows = UINT32_MAX);
	refuses(t->n_rows++);
	refuses(t->n_cells = 0);
	refuses(t->n_waits = TABLE_ROWS_MAX + 1);
	refuses(t->n_hosts = 1);
	refuses(t->n_buckets++);
	refuses(t->n_buckets = 0);
	refuses(t->buckets_at += 8);
	refuses(t->rows_at = UINT64_MAX - 7);
	refuses(t->cells_at += 64);
	refuses(t->waits_at = 0);
	refuses(t->hosts_at = s.t->segment.size);
	refuses(t->self = HOSTS_MAX);
	refuses(memset(t->cluster, 'x', NAME_BYTES));
	refuses(memset(t->space, 'x', NAME_BYTES));
}

/* ---- the writer ---- */

Test(table, what_was_inserted_is_found_with_zeros_and_what_was_removed_is_not)
{
	struct space s = space_new();
	struct lock_value v = value_of(9), zeros = { 0 };
	uint32_t row = table_insert(s.t, &s.undo, "apple", 5);

	cr_assert_neq(row, 0);
	cr_assert_eq(table_find(s.t, "apple", 5), row);
	cr_assert_eq(table_read(s.t, "apple", 5, &v), 1);
	cr_assert_eq(memcmp(&v, &zeros, sizeof(v)), 0);
	cr_assert_eq(table_find(s.t, "apple", 4), 0);
	cr_assert_eq(table_find(s.t, "apple\0", 6), 0);

	set(&s, row, 5);
	v = table_value(s.t, row);
	cr_assert(value_is(&v, 5));
	cr_assert_eq(*tables_near(s.t, key_hash("apple", 5)), v.gate, "who reads it asks for the gate's lines ahead");
	v.gate = 0;
	table_set(s.t, &s.undo, row, &v);
	cr_assert_neq(*tables_near(s.t, key_hash("apple", 5)), 0, "and may do so in vain");
	table_remove(s.t, &s.undo, row);
	cr_assert_eq(table_find(s.t, "apple", 5), 0);
	cr_assert_eq(table_read(s.t, "apple", 5, &v), 0);
	assert_sound(s.t);
}

Test(table, a_row_used_again_begins_with_zeros)
{
	struct space s = space_new();
	struct lock_value zeros = { 0 }, v;
	uint32_t row = table_insert(s.t, &s.undo, "a", 1);

	set(&s, row, 5);
	set(&s, row, 6);
	table_remove(s.t, &s.undo, row);
	cr_assert_eq(table_insert(s.t, &s.undo, "b", 1), row);
	v = table_value(s.t, row);
	cr_assert_eq(memcmp(&v, &zeros, sizeof(v)), 0);
}

Test(table, seq_rises_and_is_never_reset)
{
	struct space s = space_new();
	uint32_t row = table_insert(s.t, &s.undo, "a", 1), seq = tables_row(s.t, row)->seq;

	set(&s, row, 1);
	cr_assert_gt(tables_row(s.t, row)->seq, seq);
	seq = tables_row(s.t, row)->seq;
	table_remove(s.t, &s.undo, row);
	table_insert(s.t, &s.undo, "b", 1);
	cr_assert_gt(tables_row(s.t, row)->seq, seq + 1);
}

Test(table, keys_of_every_length_and_any_bytes_are_kept)
{
	struct space s = space_new();

	for (uint32_t len = 1; len <= KEY_MAX; len++) {
		unsigned char key[KEY_MAX], got[KEY_MAX];
		struct lock_value v;

		for (uint32_t i = 0; i < len; i++)
			key[i] = (unsigned char)(i * 37 + len); /* zeros among them */
		uint32_t row = table_insert(s.t, &s.undo, key, len);

		cr_assert_neq(row, 0);
		cr_assert_eq(table_key(s.t, row, got), len);
		cr_assert_eq(memcmp(key, got, len), 0);
		cr_assert_eq(table_read(s.t, key, len, &v), 1);
		key[len - 1] ^= 1;
		cr_assert_eq(table_read(s.t, key, len, &v), 0);
		key[len - 1] ^= 1;
		assert_sound(s.t);
		table_remove(s.t, &s.undo, row);
		assert_sound(s.t);
		undo_commit(&s.undo);
	}
}

/* Short keys are compared as two words with zeros behind them. */
Test(table, keys_that_differ_only_in_zeros_at_their_end_are_different_keys)
{
	static const unsigned char zeros[24];
	struct space s = space_new();
	struct lock_value v;

	for (uint32_t len = 1; len <= sizeof(zeros); len++) {
		cr_assert_eq(table_read(s.t, zeros, len, &v), 0, "%u", len);
		uint32_t row = table_insert(s.t, &s.undo, zeros, len);
		cr_assert_eq(table_read(s.t, zeros, len, &v), 1, "%u", len);
		table_remove(s.t, &s.undo, row);
		undo_commit(&s.undo);
	}
}

Test(table, a_short_key_is_read_to_its_end_and_no_further)
{
	unsigned char *page = shared_memory(8192), *end = page + 4096;

	cr_assert_eq(mprotect(end, 4096, PROT_NONE), 0);
	for (uint32_t len = 1; len <= KEY_SHORT; len++) {
		unsigned char padded[KEY_SHORT] = { 0 };
		uint64_t words[2], first, second;

		for (uint32_t i = 0; i < len; i++)
			padded[i] = (end - len)[i] = (unsigned char)(i * 37 + len);
		memcpy(words, padded, sizeof(words));
		key_short_words(end - len, len, &first, &second);
		cr_assert_eq(first, words[0], "%u", len);
		cr_assert_eq(second, words[1], "%u", len);
		cr_assert_eq(key_hash(end - len, len), key_short_hash(first, second, len));
	}
}

/* As many buckets as keys: with chance alone every third stays empty, and no chain is long. */
Test(table, keys_that_are_alike_are_spread_over_the_buckets)
{
	static const char *const patterns[] = { "%u", "bench/%08u", "%08u/bench", "a/%u", "%016u", "results/%u.h5", "a directory of %08u" };
	enum { KEYS = 4096 };

	for (unsigned p = 0; p < sizeof(patterns) / sizeof(patterns[0]); p++) {
		static unsigned char chain[KEYS];
		unsigned used = 0, longest = 0;

		memset(chain, 0, sizeof(chain));
		for (unsigned i = 0; i < KEYS; i++) {
			char key[64];
			/* NOLINTNEXTLINE(clang-diagnostic-format-nonliteral) */
			int len = snprintf(key, sizeof(key), patterns[p], i);
			unsigned char *c = &chain[key_hash(key, (uint32_t)len) & (KEYS - 1)];

			used += (*c)++ == 0;
			longest = *c > longest ? *c : longest;
		}
		cr_expect(used > KEYS * 6 / 10, "%s: %u of %u buckets", patterns[p], used, (unsigned)KEYS);
		cr_expect(longest <= 10, "%s: a chain of %u", patterns[p], longest);
	}
}

Test(table, a_key_of_impossible_length_is_nowhere)
{
	struct space s = space_new();
	char key[KEY_MAX + 1] = "";
	struct lock_value v;

	cr_assert_eq(table_find(s.t, key, 0), 0);
	cr_assert_eq(table_find(s.t, key, KEY_MAX + 1), 0);
	cr_assert_eq(table_read(s.t, key, 0, &v), 0);
	cr_assert_eq(table_read(s.t, key, KEY_MAX + 1, &v), 0);
}

Test(table, a_key_is_inserted_once, .signal = SIGABRT)
{
	struct space s = space_new();

	table_insert(s.t, &s.undo, "a", 1);
	table_insert(s.t, &s.undo, "a", 1);
}

Test(table, no_row_left_says_0_and_changes_nothing)
{
	struct space s = space_new();

	for (unsigned i = 0; i < ROWS; i++) {
		struct key k = key_in_chain(i % 3, i, 0);
		cr_assert_neq(insert(&s, &k), 0);
	}
	undo_commit(&s.undo);
	cr_assert_eq(table_insert(s.t, &s.undo, "one more", 8), 0);
	cr_assert_eq(s.log->used, 0);
	assert_sound(s.t);
}

Test(table, no_cell_left_says_0_and_changes_nothing)
{
	struct space s = space_new();
	struct key a = key_in_chain(0, 0, 255), b = key_in_chain(1, 0, 192), c = key_in_chain(2, 0, 130);

	cr_assert_neq(insert(&s, &a), 0); /* three cells of six */
	cr_assert_neq(insert(&s, &b), 0); /* two */
	undo_commit(&s.undo);
	cr_assert_eq(insert(&s, &c), 0); /* two more are needed */
	cr_assert_eq(s.log->used, 0);
	assert_sound(s.t);
	table_remove(s.t, &s.undo, find(&s, &b));
	cr_assert_neq(insert(&s, &c), 0);
	assert_sound(s.t);
}

Test(table, rows_leave_a_chain_from_its_head_middle_and_end)
{
	for (unsigned gone = 0; gone < 4; gone++) {
		struct space s = space_new();

		for (unsigned i = 0; i < 4; i++) {
			struct key k = key_in_chain(5, i, 0);
			insert_with(&s, &k, 10 + i);
		}
		struct key k = key_in_chain(5, gone, 0);
		uint32_t version = bucket_of_chain(s.t, 5)->version;

		table_remove(s.t, &s.undo, find(&s, &k));
		cr_assert_eq(bucket_of_chain(s.t, 5)->version, version + 1);
		assert_sound(s.t);
		for (unsigned i = 0; i < 4; i++) {
			struct lock_value v;

			k = key_in_chain(5, i, 0);
			cr_assert_eq(look_up(s.t, &k, &v), i != gone);
			cr_assert(i == gone || value_is(&v, 10 + i));
		}
	}
}

Test(table, random_operations_agree_with_a_plain_list_and_stay_sound)
{
	struct space s = space_new();
	uint64_t here[24] = { 0 }, random = 42;
	uint32_t lens[3] = { 0, 100, 255 };
	struct key keys[24];

	for (unsigned i = 0; i < 24; i++)
		keys[i] = key_in_chain(i % 2, i / 2, lens[i % 3]);
	for (unsigned n = 1; n <= 4000; n++) {
		unsigned i = random_next(&random) % 24;
		uint32_t row = find(&s, &keys[i]);
		struct lock_value v;

		cr_assert_eq(row != 0, here[i] != 0);
		cr_assert_eq(look_up(s.t, &keys[i], &v), here[i] != 0);
		cr_assert(!here[i] || value_is(&v, here[i]));
		if (!row && (row = insert(&s, &keys[i]))) {
			set(&s, row, here[i] = n);
		} else if (row && random_next(&random) % 2) {
			set(&s, row, here[i] = n);
		} else if (row) {
			table_remove(s.t, &s.undo, row);
			here[i] = 0;
		}
		undo_commit(&s.undo);
		if (n % 50 == 0)
			assert_sound(s.t);
	}
}

Test(table, waits_come_zeroed_from_their_pool_until_none_is_left)
{
	struct space s = space_new();
	uint32_t got[5];

	for (unsigned i = 0; i < 5; i++) {
		got[i] = table_wait_new(s.t, &s.undo);
		cr_assert_neq(got[i], 0);
		tables_wait(s.t, got[i])->incarnation = 99;
	}
	cr_assert_eq(table_wait_new(s.t, &s.undo), 0);
	table_wait_free(s.t, &s.undo, got[3]);
	table_wait_free(s.t, &s.undo, got[1]);
	cr_assert_eq(table_wait_new(s.t, &s.undo), got[1]);
	cr_assert_eq(table_wait_new(s.t, &s.undo), got[3]);
	cr_assert_eq(tables_wait(s.t, got[3])->incarnation, 0);
	cr_assert_eq(tables_wait(s.t, got[3])->next, 0);
	for (unsigned i = 0; i < 5; i++)
		table_wait_free(s.t, &s.undo, got[i]);
	assert_sound(s.t);
}

Test(table, rebuilding_finds_every_row_again)
{
	struct space s = space_new();
	struct lock_value v;

	for (unsigned i = 0; i < 6; i++) {
		struct key k = key_in_chain(i % 2, i, i == 3 ? 255 : 0);
		insert_with(&s, &k, i + 1);
	}
	struct key gone = key_in_chain(0, 2, 0);
	table_remove(s.t, &s.undo, find(&s, &gone));
	cr_assert_eq(s.t->n_buckets, BUCKETS);
	for (unsigned b = 0; b < BUCKETS; b++) {
		memset(&tables_buckets(s.t)[b], 0xff, sizeof(struct table_bucket));
		tables_buckets(s.t)[b].version = 7;
	}
	table_rebuild(s.t);
	assert_sound(s.t);
	for (unsigned i = 0; i < 6; i++) {
		struct key k = key_in_chain(i % 2, i, i == 3 ? 255 : 0);
		cr_assert_eq(look_up(s.t, &k, &v), i != 2);
	}
	cr_assert_eq(bucket_of_chain(s.t, 5)->version, 8); /* who walked there starts over */
}

/* ---- a writer that dies at any of its instructions ---- */

static void space_copy(struct space *to, const struct space *from)
{
	memcpy(to->t, from->t, from->used_bytes);
	memcpy(to->log, from->log, sizeof(*from->log) + from->log->used * 8);
}

static struct {
	struct space s, before, corpse;
	struct key always[3], leaving, coming;
	const char *wrong;
	unsigned long at;
} death;

static void note(const char *wrong, unsigned long n)
{
	if (death.wrong)
		return;
	death.wrong = wrong;
	death.at = n;
}

/* What others find who look at the memory of a writer that died before instruction n. */
static void autopsy(unsigned long n)
{
	struct tables *t = death.corpse.t;
	struct lock_value v;
	uint32_t len;
	char key[KEY_MAX];

	space_copy(&death.corpse, &death.s);
	for (unsigned i = 0; i < 3; i++)
		if (look_up(t, &death.always[i], &v) != 1 || !value_is_whole(&v))
			note("a key that is always there was not found whole", n);
	if (look_up(t, &death.leaving, &v) < 0 || look_up(t, &death.coming, &v) < 0)
		note("a reader was held up", n);
	for (uint32_t i = 0; i <= ROWS; i++)
		if (table_read_row(t, i, key, &len, &v) < 0)
			note("a reader of rows was held up", n);

	table_recover(t, &death.corpse.undo);
	if (table_check(t))
		note(table_check(t), n);
	t->recoveries = death.before.t->recoveries;
	if (death.corpse.log->used || memcmp(t, death.before.t, death.s.used_bytes) != 0)
		note("the memory is not as it was at the last commit", n);
}

static void change_everything(void)
{
	struct tables *t = death.s.t;
	struct undo *u = &death.s.undo;
	struct lock_value v = value_of(77);

	table_remove(t, u, find(&death.s, &death.leaving)); /* from the middle of a chain */
	table_insert(t, u, death.coming.bytes, death.coming.len);
	table_set(t, u, find(&death.s, &death.always[0]), &v);
	table_remove(t, u, find(&death.s, &death.coming)); /* from its head */
	table_wait_free(t, u, table_wait_new(t, u));
	table_wait_new(t, u);
}

static void death_init(void)
{
	death.s = space_new();
	death.before = space_new();
	death.corpse = space_new();
	for (unsigned i = 0; i < 3; i++)
		death.always[i] = key_in_chain(0, i, i == 1 ? 255 : 0);
	death.leaving = key_in_chain(0, 3, 100);
	death.coming = key_in_chain(0, 4, 200);
	insert_with(&death.s, &death.always[0], 1);
	insert_with(&death.s, &death.always[1], 2);
	insert_with(&death.s, &death.leaving, 3);
	insert_with(&death.s, &death.always[2], 4);
	undo_commit(&death.s.undo);
	space_copy(&death.before, &death.s);
}

Test(table, a_writer_that_dies_at_any_instruction_holds_up_no_reader_and_is_taken_back)
{
	if (!STEP_WORKS)
		cr_skip_test("single steps need x86-64 and no ThreadSanitizer");
	death_init();
	change_everything(); /* once, for the dynamic linker */
	autopsy(0);
	table_recover(death.s.t, &death.s.undo);
	space_copy(&death.s, &death.before);
	cr_assert_null(death.wrong, "%s", death.wrong);

	unsigned long n = step_through(change_everything, autopsy);

	cr_assert_null(death.wrong, "instruction %lu of %lu: %s", death.at, n, death.wrong);
	cr_assert_gt(n, 500, "the steps were really taken");
}

/* ---- two processes ---- */

struct crowd { /* what the processes of a test tell each other */
	uint32_t stop;
	uint64_t looks, busy, missed, torn;
};

static void read_for_ever(const struct tables *t, struct crowd *c)
{
	while (!atom_load_acquire(&c->stop)) {
		for (unsigned i = 0; i < 3; i++) {
			struct lock_value v;
			int rc = look_up(t, &death.always[i], &v);

			if (rc == -EAGAIN)
				atom_add_relaxed(&c->busy, 1);
			else if (rc != 1)
				atom_add_relaxed(&c->missed, 1);
			else if (!value_is_whole(&v))
				atom_add_relaxed(&c->torn, 1);
		}
		atom_store_release(&c->looks, c->looks + 1);
	}
	_exit(0);
}

static pid_t start_reader(const struct tables *t, struct crowd *c)
{
	pid_t pid = fork();

	if (pid == 0)
		read_for_ever(t, c);
	cr_assert_gt(pid, 0);
	return pid;
}

static void end_reader(pid_t pid, struct crowd *c)
{
	int status;

	atom_store_release(&c->stop, 1);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	cr_assert_eq(c->missed, 0);
	cr_assert_eq(c->torn, 0);
	cr_assert_gt(c->looks, 0);
}

static void wait_for_looks(const struct crowd *c, uint64_t n)
{
	uint64_t from = atom_load_acquire(&c->looks);

	while (atom_load_acquire(&c->looks) < from + n)
		usleep(20);
}

static void churn(unsigned long n)
{
	struct tables *t = death.s.t;
	struct undo *u = &death.s.undo;
	struct key elsewhere = key_in_chain(1, 0, 0);

	for (unsigned long i = 1; i <= n; i++) {
		table_remove(t, u, find(&death.s, &death.leaving));
		table_remove(t, u, table_insert(t, u, elsewhere.bytes, elsewhere.len));
		set(&death.s, find(&death.s, &death.always[i % 3]), i);
		uint32_t row = insert(&death.s, &death.leaving);
		set(&death.s, row, i);
		undo_commit(u);
	}
}

Test(table, under_a_busy_writer_no_present_key_is_missed_no_value_torn_and_nobody_spins_for_ever,
     .timeout = 60)
{
	struct crowd *c = shared_memory(sizeof(*c));

	death_init();
	pid_t reader = start_reader(death.s.t, c);

	wait_for_looks(c, 1);
	for (unsigned i = 0; i < 1000 && atom_load_acquire(&c->looks) < 100000; i++)
		churn(1000);
	cr_assert_lt(c->busy, c->looks, "a look that fails is the exception");
	end_reader(reader, c);
	assert_sound(death.s.t);
}

/* Dies for real, at a save. */
static void die_at_zero(void *context)
{
	unsigned *left = context;

	if ((*left)-- == 0)
		kill(getpid(), SIGKILL);
}

/* True when the child was killed, false when it got through and undid nothing. */
static bool child_dies_at_save(unsigned save)
{
	pid_t pid = fork();
	int status;

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		death.s.undo.probe = die_at_zero;
		death.s.undo.probe_context = &save;
		change_everything();
		die_at_zero(&save); /* the last instant before the commit */
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
	return WIFSIGNALED(status);
}

Test(table, readers_in_another_process_go_on_when_the_writer_is_killed_at_every_save, .timeout = 60)
{
	struct crowd *c = shared_memory(sizeof(*c));
	unsigned save = 0;

	death_init();
	pid_t reader = start_reader(death.s.t, c);

	for (; child_dies_at_save(save); save++) {
		uint32_t recoveries = death.s.t->recoveries;

		wait_for_looks(c, 3); /* beside the corpse */
		cr_assert(table_recover(death.s.t, &death.s.undo));
		cr_assert_eq(death.s.t->recoveries, recoveries + 2);
		assert_sound(death.s.t);
		death.before.t->recoveries = death.s.t->recoveries;
		cr_assert_eq(memcmp(death.s.t, death.before.t, death.s.used_bytes), 0);
	}
	cr_assert_gt(save, 40);
	end_reader(reader, c);
}

Test(table, a_writer_killed_at_any_time_is_taken_back_while_readers_read, .timeout = 60)
{
	struct crowd *c = shared_memory(sizeof(*c));
	unsigned taken_back = 0;

	death_init();
	pid_t reader = start_reader(death.s.t, c);

	for (unsigned round = 0; round < 60; round++) {
		pid_t writer = fork();

		if (writer == 0) {
			churn(~0ul);
			_exit(0);
		}
		wait_for_looks(c, 1 + round % 7);
		kill(writer, SIGKILL);
		cr_assert_eq(waitpid(writer, NULL, 0), writer);
		taken_back += table_recover(death.s.t, &death.s.undo);
		assert_sound(death.s.t);
	}
	end_reader(reader, c);
	cr_assert_gt(taken_back, 0, "no kill hit the middle of a change");
}
