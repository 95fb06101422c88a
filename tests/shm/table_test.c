/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table: what the writer does, what readers see of it at every instruction, and what is left when
 * the writer dies there. Chains are made on purpose: keys are searched for that share a bucket.
 */
#define _GNU_SOURCE /* step.h: register names */
#include "../../shm/table.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../shm/atom.h"
#include "step.h"

#define ROWS 8u
#define LOG_WORDS 8192u

static const struct table_capacity small = { .rows = ROWS, .cells = 6, .waits = 5 };

struct space { /* one set of tables with its undo log, in memory that survives a process */
	struct tables *t;
	struct undo_log *log;
	struct undo undo;
	uint64_t used_bytes; /* of the tables, before the host rows: what these tests change */
};

static void *memory(size_t bytes, int sharing)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq(at, MAP_FAILED);
	return at;
}

static void *shared_memory(size_t bytes)
{
	return memory(bytes, MAP_SHARED);
}

/* `sharing`: MAP_SHARED with children, or MAP_PRIVATE: each child gets its own copy. */
static struct space space_new_in(int sharing)
{
	struct space s = { .t = memory(tables_size(&small), sharing) };

	s.log = memory(sizeof(*s.log) + LOG_WORDS * 8, sharing);
	s.log->capacity = LOG_WORDS;
	s.undo.log = s.log;
	undo_add_area(&s.undo, s.t, tables_size(&small));
	tables_format(s.t, &small, "test", 1);
	s.used_bytes = s.t->hosts_at;
	return s;
}

static struct space space_new(void)
{
	return space_new_in(MAP_SHARED);
}

/* The n-th key of a bucket; `len` 0: a short one. */
struct key {
	char bytes[KEY_MAX + 1];
	uint32_t len;
};

static struct key key_in_bucket(uint32_t bucket, unsigned n, uint32_t len)
{
	struct key k;

	for (unsigned i = 0;; i++) {
		int short_len = snprintf(k.bytes, sizeof(k.bytes), "key-%u", i);

		k.len = len ? len : (uint32_t)short_len;
		for (uint32_t at = (uint32_t)short_len; at < k.len; at++)
			k.bytes[at] = (char)('a' + at % 26);
		if ((hash_bytes(0, k.bytes, k.len) & (ROWS - 1)) == bucket && n-- == 0)
			return k;
	}
}

static uint32_t insert(struct space *s, const struct key *k)
{
	return table_insert(s->t, &s->undo, k->bytes, k->len);
}

static uint32_t find(struct space *s, const struct key *k)
{
	return table_find(s->t, k->bytes, k->len);
}

static int look_up(const struct tables *t, const struct key *k, struct lock_value *ret)
{
	return table_read(t, k->bytes, k->len, ret);
}

/* A value of which every field follows from n, so that a torn one shows. */
static struct lock_value value_of(uint64_t n)
{
	return (struct lock_value){
		.delegation = n,
		.incarnation = n + 1,
		.base = 3 * n,
		.host = (uint16_t)(n & 0x3ff),
		.owner_start = 5 * n,
		.owner_token = 7 * n,
		.owner_since_ns = ~n,
		.owner_pid = (uint32_t)n,
		.owner_session = (uint32_t)(n ^ 77),
	};
}

static bool value_is(const struct lock_value *v, uint64_t n)
{
	struct lock_value want = value_of(n);

	return memcmp(v, &want, sizeof(want)) == 0;
}

static bool value_is_whole(const struct lock_value *v)
{
	return value_is(v, v->delegation);
}

static void set(struct space *s, uint32_t row, uint64_t n)
{
	struct lock_value v = value_of(n);

	table_set(s->t, &s->undo, row, &v);
}

static void insert_with(struct space *s, const struct key *k, uint64_t n)
{
	uint32_t row = insert(s, k);

	cr_assert_neq(row, 0);
	set(s, row, n);
}

#define assert_sound(t) \
	do { \
		const char *wrong_ = table_check(t); \
		cr_assert_null(wrong_, "%s", wrong_); \
	} while (0)

/* ---- shape ---- */

Test(table, capacity_has_a_cell_and_two_waits_for_each_row)
{
	struct table_capacity c = table_capacity_for(1000);

	cr_assert_eq(c.rows, 1000);
	cr_assert_eq(c.cells, 1000);
	cr_assert_eq(c.waits, 2000);
	cr_assert_eq(table_capacity_for(UINT32_MAX).waits, TABLE_ROWS_MAX);
	cr_assert_eq(table_capacity_for(0).rows, 1);
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
	refuses(t->n_buckets = 2 * ROWS);
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
		struct key k = key_in_bucket(i % 3, i, 0);
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
	struct key a = key_in_bucket(0, 0, 255), b = key_in_bucket(1, 0, 192), c = key_in_bucket(2, 0, 130);

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
			struct key k = key_in_bucket(5, i, 0);
			insert_with(&s, &k, 10 + i);
		}
		struct key k = key_in_bucket(5, gone, 0);
		uint32_t version = (uint32_t)(*tables_bucket(s.t, 5) >> 32);

		table_remove(s.t, &s.undo, find(&s, &k));
		cr_assert_eq(*tables_bucket(s.t, 5) >> 32, version + 1);
		assert_sound(s.t);
		for (unsigned i = 0; i < 4; i++) {
			struct lock_value v;

			k = key_in_bucket(5, i, 0);
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
		keys[i] = key_in_bucket(i % 2, i / 2, lens[i % 3]);
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
		struct key k = key_in_bucket(i % 2, i, i == 3 ? 255 : 0);
		insert_with(&s, &k, i + 1);
	}
	struct key gone = key_in_bucket(0, 2, 0);
	table_remove(s.t, &s.undo, find(&s, &gone));
	for (unsigned b = 0; b < ROWS; b++)
		*tables_bucket(s.t, b) = 7ull << 32 | 0xffff;
	table_rebuild(s.t);
	assert_sound(s.t);
	for (unsigned i = 0; i < 6; i++) {
		struct key k = key_in_bucket(i % 2, i, i == 3 ? 255 : 0);
		cr_assert_eq(look_up(s.t, &k, &v), i != 2);
	}
	cr_assert_eq(*tables_bucket(s.t, 5) >> 32, 8); /* who walked there starts over */
}

/* ---- the check finds what it says it checks ---- */

static struct space space_for_check(void)
{
	struct space s = space_new();
	struct lock_value v;
	uint32_t row[5];

	for (unsigned i = 0; i < 5; i++) {
		struct key k = key_in_bucket(i % 2, i, i < 2 ? 100 : 0);
		row[i] = insert(&s, &k);
		set(&s, row[i], i + 1);
	}
	table_remove(s.t, &s.undo, row[4]);

	/* Row 3 has a queue of two; rows 1 and 2 died; one wait is free. */
	uint32_t w1 = table_wait_new(s.t, NULL), w2 = table_wait_new(s.t, NULL), w3 = table_wait_new(s.t, NULL);
	table_wait_free(s.t, NULL, w3);
	tables_wait(s.t, w1)->next = w2;
	tables_row(s.t, row[2])->queue_head = w1;
	tables_row(s.t, row[2])->queue_tail = w2;
	v = table_value(s.t, row[2]);
	v.waiting = 2;
	table_set(s.t, NULL, row[2], &v);
	for (unsigned i = 0; i < 2; i++) {
		v = (struct lock_value){ .flags = LOCK_DIED };
		table_set(s.t, NULL, row[i], &v);
	}
	tables_row(s.t, row[0])->queue_tail = row[1];
	tables_row(s.t, row[1])->queue_head = row[0];
	s.t->agreed.died_head = row[0];
	s.t->agreed.died_tail = row[1];
	s.t->agreed.died_count = 2;
	return s;
}

#define finds(change) \
	do { \
		struct space s = space_for_check(); \
		struct tables *t = s.t; \
		struct table_row *row = tables_row(t, 3); \
		struct agreed *a = &t->agreed; \
		(void)row; \
		(void)a; \
		change; \
		cr_assert_not_null(table_check(t), #change); \
	} while (0)

Test(table, check_finds_what_does_not_fit)
{
	struct space s = space_for_check();

	assert_sound(s.t);
	finds(a->rows_high = ROWS + 1);
	finds(a->rows_high++);
	finds(a->rows_used--);
	finds(a->rows_free = 0);
	finds(a->rows_free = 3);
	finds(tables_row(t, 5)->next = 5);
	finds(a->cells_used++);
	finds(a->cells_high++);
	finds(a->waits_used--);
	finds(a->waits_free = 0);
	finds(a->waits_free = 1);
	finds(*tables_bucket(t, 0) = 0);
	finds(*tables_bucket(t, 7) = 1);
	finds(*tables_bucket(t, 0) = 0xffffffff);
	finds(row->next = 3);
	finds(row->hash ^= 1);
	finds(row->key[0] ^= 1);
	finds(row->key_len = 0);
	finds(row->key_len = 300);
	finds(row->cell[0] = 1);
	finds(tables_row(t, 1)->cell[0] = 0);
	finds(tables_row(t, 1)->cell[0] = 99);
	finds(tables_row(t, 1)->cell[0] = tables_row(t, 2)->cell[0]);
	finds(tables_cell(t, 1)[2] ^= 1);
	finds(row->queue_head = 0);
	finds(row->queue_tail = 1);
	finds(row->queue_head = 77);
	finds(tables_wait(t, 2)->next = 1);
	finds(row->value[row->seq & 1][3] += 1ull << 32); /* waiting */
	finds(a->died_count--);
	finds(a->died_tail = a->died_head);
	finds(a->died_head = 0);
	finds(a->died_head = 3);
	finds(tables_row(t, 2)->queue_head = 0);
	finds(tables_row(t, 2)->queue_tail = 1);
}

/* ---- readers ---- */

Test(table, readers_are_refused_while_a_copy_is_installed)
{
	struct space s = space_new();
	uint32_t len, row = table_insert(s.t, &s.undo, "a", 1);
	struct lock_value v;
	char key[KEY_MAX];

	s.t->ready = 0;
	cr_assert_eq(table_read(s.t, "a", 1, &v), -ENETUNREACH);
	cr_assert_eq(table_read_row(s.t, row, key, &len, &v), -ENETUNREACH);
}

Test(table, a_reader_gives_up_while_things_are_put_right_and_leaves_its_outputs_alone)
{
	struct space s = space_new();
	uint32_t len = 12345, row = table_insert(s.t, &s.undo, "a", 1);
	struct lock_value v = value_of(3);
	char key[KEY_MAX] = "untouched";

	s.t->recoveries = 1;
	cr_assert_eq(table_read(s.t, "a", 1, &v), -EAGAIN);
	cr_assert_eq(table_read_row(s.t, row, key, &len, &v), -EAGAIN);
	cr_assert(value_is(&v, 3));
	cr_assert_eq(len, 12345);
	cr_assert_str_eq(key, "untouched");

	table_recover(s.t, &s.undo); /* the successor of one who died at it */
	cr_assert_eq(table_read(s.t, "a", 1, &v), 0);
	cr_assert_eq(s.t->recoveries, 2);
}

Test(table, torn_chains_end_in_eagain_and_touch_nothing_outside)
{
	struct space s = space_new();
	struct key a = key_in_bucket(0, 0, 0), long_key = key_in_bucket(1, 0, 255), absent = key_in_bucket(0, 3, 0);
	uint32_t row = insert(&s, &a), long_row = insert(&s, &long_key);
	struct lock_value v;

	tables_row(s.t, row)->next = row; /* a ring */
	cr_assert_eq(look_up(s.t, &absent, &v), -EAGAIN);
	tables_row(s.t, row)->next = UINT32_MAX;
	cr_assert_eq(look_up(s.t, &absent, &v), -EAGAIN);
	*tables_bucket(s.t, 0) = UINT32_MAX;
	cr_assert_eq(look_up(s.t, &a, &v), -EAGAIN);
	tables_row(s.t, long_row)->cell[1] = UINT32_MAX;
	cr_assert_eq(look_up(s.t, &long_key, &v), 0);
}

Test(table, rows_are_read_one_by_one)
{
	struct space s = space_new();
	struct key a = key_in_bucket(0, 0, 0), b = key_in_bucket(1, 0, 255);
	struct lock_value v;
	char key[KEY_MAX];
	uint32_t len;

	insert_with(&s, &a, 1);
	insert_with(&s, &b, 2);
	cr_assert_eq(table_read_row(s.t, 2, key, &len, &v), 1);
	cr_assert_eq(len, 255);
	cr_assert_eq(memcmp(key, b.bytes, 255), 0);
	cr_assert(value_is(&v, 2));
	table_remove(s.t, &s.undo, 1);
	cr_assert_eq(table_read_row(s.t, 1, key, &len, &v), 0);
	cr_assert_eq(table_read_row(s.t, 0, key, &len, &v), 0);
	cr_assert_eq(table_read_row(s.t, ROWS + 1, key, &len, &v), 0);
}

/* ---- a reader that is stopped at any of its instructions while the writer goes on ---- */

struct outcome { /* of one look */
	int rc;
	struct lock_value value;
	char row_key[KEY_MAX];
	uint32_t row_len;
};

static struct {
	struct space s;
	struct key key, other, moved;
	uint32_t row;
	void (*meanwhile)(void); /* what the writer does while the reader is stopped */
	unsigned long stride; /* stop the reader at every so many instructions; 0: at each */
	volatile bool in_child;
	volatile bool bad; /* a child met with a bad outcome: `*shown`, after instruction `at` */
	unsigned long at;
	struct outcome got, *shown;
} stage;

static void stage_read(void)
{
	stage.got.rc = look_up(stage.s.t, &stage.key, &stage.got.value);
}

static void stage_read_row(void)
{
	stage.got.rc =
		table_read_row(stage.s.t, stage.row, stage.got.row_key, &stage.got.row_len, &stage.got.value);
}

/* At each instruction a child is forked off; the writer acts in the child's copy of the memory, and
 * the reader goes on there. */
static void stage_look(unsigned long n)
{
	pid_t pid;
	int status;

	if (stage.bad || n % (STEP_STRIDE * MAX(stage.stride, 1ul)))
		return;
	pid = fork();
	if (pid == 0) {
		stage.in_child = true;
		step_end();
		stage.meanwhile();
		return;
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status)) {
		stage.bad = true;
		stage.at = n;
	}
}

static void stage_init(void)
{
	stage.s = space_new_in(MAP_PRIVATE);
	stage.shown = shared_memory(sizeof(*stage.shown));
}

/* Plays `read` with `meanwhile` at each of its instructions; `good` judges every outcome. */
static void stage_play(void (*read)(void), void (*meanwhile)(void), bool (*good)(void))
{
	unsigned long n;

	if (!STEP_WORKS)
		cr_skip_test("single steps need x86-64 and no ThreadSanitizer");
	stage.meanwhile = meanwhile;
	read(); /* once, for the dynamic linker */
	n = step_through(read, stage_look);
	if (stage.in_child) {
		*stage.shown = stage.got;
		_exit(!good());
	}
	cr_assert(!stage.bad, "stopped at instruction %lu of %lu: answer %d, value %llu", stage.at, n, stage.shown->rc,
		  (unsigned long long)stage.shown->value.delegation);
	cr_assert_gt(n, 50, "the steps were really taken");
}

static bool found_whole(void)
{
	return stage.got.rc == 1 && value_is_whole(&stage.got.value);
}

/* The row before the wanted one moves to another chain: a reader who stands on it is led astray. */
static void move_the_row_before(void)
{
	table_remove(stage.s.t, NULL, find(&stage.s, &stage.other));
	table_insert(stage.s.t, NULL, stage.moved.bytes, stage.moved.len);
}

Test(table, a_reader_whose_way_is_moved_to_another_chain_still_finds_its_key)
{
	stage_init();
	stage.key = key_in_bucket(0, 0, 0);
	stage.other = key_in_bucket(0, 1, 0);
	stage.moved = key_in_bucket(1, 0, 0);
	insert_with(&stage.s, &stage.key, 7); /* the end of the chain */
	insert_with(&stage.s, &stage.other, 8);
	struct key head = key_in_bucket(0, 2, 0);
	insert_with(&stage.s, &head, 9); /* the other one leaves from the middle */
	undo_commit(&stage.s.undo);
	stage_play(stage_read, move_the_row_before, found_whole);
}

/* The writer, too, is stopped anywhere: images of the memory at each of its saves, and at the end. */
#define IMAGES 100u
#define IMAGE_BYTES 8192u

static struct {
	unsigned n, from;
	unsigned char bytes[IMAGES][IMAGE_BYTES];
} images;

static void take_image(void *context)
{
	(void)context;
	cr_assert_lt(images.n, IMAGES);
	memcpy(images.bytes[images.n++], stage.s.t, stage.s.used_bytes);
}

static void show_image(unsigned i)
{
	memcpy(stage.s.t, images.bytes[i], stage.s.used_bytes);
}

static void go_on_to_the_end(void)
{
	show_image(images.n - 1);
}

static void play_with_writer_at_every_save(void)
{
	cr_assert_leq(stage.s.used_bytes, IMAGE_BYTES);
	images.n = 0;
	stage.s.undo.probe = take_image;
	table_remove(stage.s.t, &stage.s.undo, find(&stage.s, &stage.other));
	table_insert(stage.s.t, &stage.s.undo, stage.moved.bytes, stage.moved.len);
	take_image(NULL);
	cr_assert_gt(images.n, 20);
	stage.stride = 5;
	for (unsigned i = 0; i + 1 < images.n; i++) {
		show_image(i);
		stage_play(stage_read, go_on_to_the_end, found_whole);
	}
}

static void stage_a_chain(bool other_is_head)
{
	struct key head = key_in_bucket(0, 2, 0), neighbour = key_in_bucket(1, 1, 0);

	stage_init();
	stage.key = key_in_bucket(0, 0, 0);
	stage.other = key_in_bucket(0, 1, 0);
	stage.moved = key_in_bucket(1, 0, 0);
	insert_with(&stage.s, &neighbour, 6);
	insert_with(&stage.s, &stage.key, 7);
	insert_with(&stage.s, &stage.other, 8);
	if (!other_is_head)
		insert_with(&stage.s, &head, 9);
	undo_commit(&stage.s.undo);
}

Test(table, reader_and_writer_stopped_anywhere_when_a_row_leaves_from_the_middle, .timeout = 60)
{
	stage_a_chain(false);
	play_with_writer_at_every_save();
}

Test(table, reader_and_writer_stopped_anywhere_when_a_row_leaves_from_the_head, .timeout = 60)
{
	stage_a_chain(true);
	play_with_writer_at_every_save();
}

static void set_twice(void)
{
	uint32_t row = find(&stage.s, &stage.key);
	struct lock_value a = value_of(100), b = value_of(201);

	table_set(stage.s.t, NULL, row, &a);
	table_set(stage.s.t, NULL, row, &b);
}

Test(table, a_reader_never_sees_parts_of_two_values)
{
	stage_init();
	stage.key = key_in_bucket(0, 0, 0);
	insert_with(&stage.s, &stage.key, 7);
	undo_commit(&stage.s.undo);
	stage_play(stage_read, set_twice, found_whole);
}

static void recover(void)
{
	table_recover(stage.s.t, &stage.s.undo);
}

Test(table, a_reader_who_stands_on_a_row_that_is_taken_back_still_finds_its_key)
{
	stage_init();
	stage.key = key_in_bucket(0, 0, 0);
	stage.other = key_in_bucket(0, 1, 0);
	insert_with(&stage.s, &stage.key, 7);
	undo_commit(&stage.s.undo);
	insert_with(&stage.s, &stage.other, 8); /* and here the writer died */
	stage_play(stage_read, recover, found_whole);
}

/* The successor takes the set back and sets anew: the same seq, another value. */
static void recover_and_set(void)
{
	struct lock_value v = value_of(300);

	table_recover(stage.s.t, &stage.s.undo);
	table_set(stage.s.t, NULL, find(&stage.s, &stage.key), &v);
}

Test(table, a_reader_is_not_fooled_by_a_seq_that_was_taken_back_and_given_again)
{
	stage_init();
	stage.key = key_in_bucket(0, 0, 0);
	insert_with(&stage.s, &stage.key, 7);
	undo_commit(&stage.s.undo);
	set(&stage.s, find(&stage.s, &stage.key), 8); /* and here the writer died */
	stage_play(stage_read, recover_and_set, found_whole);
}

static void replace_long_key(void)
{
	table_remove(stage.s.t, NULL, find(&stage.s, &stage.key));
	table_insert(stage.s.t, NULL, stage.moved.bytes, stage.moved.len);
}

static bool found_or_gone(void)
{
	return stage.got.rc == 0 || found_whole();
}

Test(table, a_long_key_whose_cells_are_used_again_is_found_whole_or_not_at_all)
{
	stage_init();
	stage.key = key_in_bucket(0, 0, 255);
	stage.moved = key_in_bucket(0, 1, 255);
	insert_with(&stage.s, &stage.key, 7);
	undo_commit(&stage.s.undo);
	stage_play(stage_read, replace_long_key, found_or_gone);
}

static void install_elsewhere(void)
{
	struct tables *t = stage.s.t;
	struct table_row *row = tables_row(t, stage.row);

	/* As a snapshot does: the row gets another key, then everything is linked anew. */
	atom_store_seq_cst(&t->ready, 0);
	row->hash = hash_bytes(0, stage.moved.bytes, stage.moved.len);
	memset(row->key, 0, sizeof(row->key));
	memcpy(row->key, stage.moved.bytes, stage.moved.len);
	row->key_len = stage.moved.len;
	for (unsigned i = 0; i < 2; i++) {
		struct lock_value v = value_of(500);
		memcpy(row->value[i], &v, sizeof(v));
	}
	table_rebuild(t);
	atom_store_seq_cst(&t->ready, 1);
}

static bool row_fits_its_key(void)
{
	struct key *k = stage.got.value.delegation == 7 ? &stage.key : &stage.moved;

	if (stage.got.rc == 0)
		return true;
	return stage.got.rc == 1 && stage.got.row_len == k->len && memcmp(stage.got.row_key, k->bytes, k->len) == 0 &&
	       (stage.got.value.delegation == 0 || value_is_whole(&stage.got.value));
}

Test(table, a_reader_of_a_row_who_slept_through_an_installation_starts_over)
{
	stage_init();
	stage.key = key_in_bucket(0, 0, 0);
	stage.moved = key_in_bucket(1, 1, 0);
	insert_with(&stage.s, &stage.key, 7);
	undo_commit(&stage.s.undo);
	stage.row = 1;
	stage_play(stage_read_row, install_elsewhere, row_fits_its_key);
}

static void use_row_again(void)
{
	uint32_t row;
	struct lock_value v = value_of(8);

	table_remove(stage.s.t, NULL, find(&stage.s, &stage.key));
	row = table_insert(stage.s.t, NULL, stage.moved.bytes, stage.moved.len);
	table_set(stage.s.t, NULL, row, &v);
}

Test(table, a_reader_of_a_row_never_mixes_its_lives)
{
	stage_init();
	stage.key = key_in_bucket(0, 0, 0);
	stage.moved = key_in_bucket(1, 0, 70);
	insert_with(&stage.s, &stage.key, 7);
	undo_commit(&stage.s.undo);
	stage.row = 1;
	stage_play(stage_read_row, use_row_again, row_fits_its_key);
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
		death.always[i] = key_in_bucket(0, i, i == 1 ? 255 : 0);
	death.leaving = key_in_bucket(0, 3, 100);
	death.coming = key_in_bucket(0, 4, 200);
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
	struct key elsewhere = key_in_bucket(1, 0, 0);

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
