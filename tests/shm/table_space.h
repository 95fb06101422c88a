/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table_space: a small table with its undo log, keys that meet in one chain, and values that tell
 * whether they are whole. For the suites of table; everything is static.
 */
#ifndef PAXSHM_TESTS_SHM_TABLE_SPACE_H
#define PAXSHM_TESTS_SHM_TABLE_SPACE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "../../shm/atom.h"
#include "../../shm/table.h"

#define ROWS 8u
#define BUCKETS 2u /* with that many rows; chains 0, 2, 4 … of the tests are in the first */
#define LOG_WORDS 8192u

static const struct table_capacity small __attribute__((unused)) = { .rows = ROWS, .cells = 6, .waits = 5, .claims = 4 };

struct space { /* one set of tables with its undo log, in memory that survives a process */
	struct tables *t;
	struct undo_log *log;
	struct undo undo;
	uint64_t used_bytes; /* of the tables, before the host rows: what these tests change */
};

static inline void *memory(size_t bytes, int sharing)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq(at, MAP_FAILED);
	return at;
}

static inline void *shared_memory(size_t bytes)
{
	return memory(bytes, MAP_SHARED);
}

/* `sharing`: MAP_SHARED with children, or MAP_PRIVATE: each child gets its own copy. */
static inline struct space space_new_in(int sharing)
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

static inline struct space space_new(void)
{
	return space_new_in(MAP_SHARED);
}

/* The n-th key of a bucket; `len` 0: a short one. */
struct key {
	char bytes[KEY_MAX + 1];
	uint32_t len;
};

static inline struct table_bucket *bucket_of_chain(const struct tables *t, uint32_t chain)
{
	return tables_buckets(t) + chain % BUCKETS;
}

static inline uint32_t *head_of_chain(const struct tables *t, uint32_t chain)
{
	return &bucket_of_chain(t, chain)->head[chain / BUCKETS];
}

static inline struct key key_in_chain(uint32_t chain, unsigned n, uint32_t len)
{
	const struct tables shape = { .n_buckets = BUCKETS };
	struct key k;

	for (unsigned i = 0;; i++) {
		int short_len = snprintf(k.bytes, sizeof(k.bytes), "key-%u", i);

		k.len = len ? len : (uint32_t)short_len;
		for (uint32_t at = (uint32_t)short_len; at < k.len; at++)
			k.bytes[at] = (char)('a' + at % 26);
		uint64_t hash = key_hash(k.bytes, k.len);
		if (tables_bucket(&shape, hash) == bucket_of_chain(&shape, chain) && bucket_chain(hash) == chain / BUCKETS && n-- == 0)
			return k;
	}
}

static inline uint32_t insert(struct space *s, const struct key *k)
{
	return table_insert(s->t, &s->undo, k->bytes, k->len);
}

static inline uint32_t find(struct space *s, const struct key *k)
{
	return table_find(s->t, k->bytes, k->len);
}

static inline int look_up(const struct tables *t, const struct key *k, struct lock_value *ret)
{
	return table_read(t, k->bytes, k->len, ret);
}

/* A value of which every field follows from n, so that a torn one shows. */
static inline struct lock_value value_of(uint64_t n)
{
	return (struct lock_value){
		.delegation = n,
		.incarnation = n + 1,
		.base = 3 * n,
		.host = (uint16_t)(n & 0x3ff),
		.flags = (uint8_t)(n << 1),
		.gate = (uint32_t)(n ^ 77),
	};
}

static inline bool value_is(const struct lock_value *v, uint64_t n)
{
	struct lock_value want = value_of(n);

	return memcmp(v, &want, sizeof(want)) == 0;
}

static inline bool value_is_whole(const struct lock_value *v)
{
	return value_is(v, v->delegation);
}

static inline void set(struct space *s, uint32_t row, uint64_t n)
{
	struct lock_value v = value_of(n);

	table_set(s->t, &s->undo, row, &v);
}

static inline void insert_with(struct space *s, const struct key *k, uint64_t n)
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

#endif
