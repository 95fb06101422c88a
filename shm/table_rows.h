/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table_rows: how a row is read word by word, by the writer and by readers alike.
 *
 * Who may enter: the rooms of table (table.c writes, table_read.c reads, table_check.c checks).
 */
#ifndef PAXSHM_SHM_TABLE_ROWS_H
#define PAXSHM_SHM_TABLE_ROWS_H

#include "atom.h"
#include "table.h"

#define KEY_INLINE_WORDS (KEY_INLINE / 8)
#define KEY_CELL_WORDS (KEY_CELL / 8)
#define KEY_WORDS (KEY_INLINE_WORDS + KEY_CELLS * KEY_CELL_WORDS)

_Static_assert(KEY_WORDS * 8 >= KEY_MAX, "the longest key has room");

/* ---- a key as words: padded with zeros, so that equal keys are equal words ---- */

struct key_words {
	uint64_t hash;
	uint32_t len;
	uint64_t words[KEY_WORDS];
};

static inline bool key_words_init(struct key_words *k, const void *key, uint32_t len)
{
	if (len == 0 || len > KEY_MAX)
		return false;
	const unsigned char *at = key;
	uint64_t *word = k->words, h;

	k->len = len;
	if (len <= KEY_SHORT) {
		key_short_words(key, len, &k->words[0], &k->words[1]);
		k->hash = key_short_hash(k->words[0], k->words[1], len);
		return true;
	}
	/* key_hash(key, len), and the words on the way: one pass. Each store by itself: the compiler would make a
	 * block copy of them, which takes longer to begin than a short key takes. Nothing is written behind the key:
	 * nobody compares it, and clearing it would be half of a lookup. */
	h = hash_begin(0, len);
	for (; len >= 8; at += 8, len -= 8) {
		uint64_t next = word_at(at);

		atom_store_relaxed(word++, next);
		h = hash_mix(h ^ next);
	}
	if (len) {
		*word = word_of_tail(at, len);
		h = hash_tail(h, *word, len);
	}
	k->hash = h;
	return true;
}

/* Clears what comes behind the key: for writing it whole. */
static inline void key_words_pad(struct key_words *k)
{
	uint32_t used = (k->len + 7) / 8;

	memset(k->words + used, 0, (KEY_WORDS - used) * sizeof(k->words[0]));
}

static inline uint32_t key_cells(uint32_t len)
{
	return len <= KEY_INLINE ? 0 : (len - KEY_INLINE + KEY_CELL - 1) / KEY_CELL;
}

/* ---- buckets and rows, for both sides ---- */

static inline uint32_t *chain_head(const struct tables *t, uint64_t hash)
{
	return &tables_bucket(t, hash)->head[bucket_chain(hash)];
}

/* The word of the key that row shows at place i; 0 where a torn row points nowhere. */
static inline uint64_t row_key_word(const struct tables *t, const struct table_row *row, uint32_t i)
{
	uint32_t cell;

	if (i < KEY_INLINE_WORDS)
		return atom_load_acquire(&row->key[i]);
	i -= KEY_INLINE_WORDS;
	cell = atom_load_acquire(&row->cell[i / KEY_CELL_WORDS]);
	return cell <= t->n_cells ? atom_load_acquire(tables_cell(t, cell) + i % KEY_CELL_WORDS) : 0;
}

/* Asks for all of a row at once: its lines arrive together instead of one after another. */
static inline void row_prefetch(const struct table_row *row)
{
	for (size_t at = 0; at < sizeof(*row) + 63; at += 64)
		__builtin_prefetch((const char *)row + MIN(at, sizeof(*row) - 1));
}

/* The same for who looks for a short key and reads its head at once: what lies behind that. */
static inline void row_prefetch_short(const struct table_row *row)
{
	__builtin_prefetch((const char *)row + 64);
	__builtin_prefetch(&row->key[KEY_SHORT / 8 - 1]);
}

static inline bool row_has_key(const struct tables *t, const struct table_row *row, const struct key_words *k)
{
	if (atom_load_acquire(&row->key_len) != k->len)
		return false;
	for (uint32_t i = 0; i < (k->len + 7) / 8; i++)
		/* key_words_init() wrote as many; the analyser cannot count so far. NOLINTNEXTLINE(clang-analyzer-core.*) */
		if (row_key_word(t, row, i) != k->words[i])
			return false;
	return true;
}

typedef uint64_t __attribute__((may_alias)) value_word;

/* By words: loads of twice the size behind the stores of words would wait until these have left the core. */
static inline void row_copy_value(const struct table_row *row, uint32_t seq, struct lock_value *ret)
{
	value_word *to = (value_word *)ret;

#pragma GCC unroll 8
	for (uint32_t i = 0; i < LOCK_VALUE_WORDS; i++)
		atom_store_relaxed(&to[i], atom_load_acquire(&row->value[seq & 1][i])); /* pairs with row_show */
}

static inline void value_copy(struct lock_value *to, const struct lock_value *from)
{
#pragma GCC unroll 8
	for (uint32_t i = 0; i < LOCK_VALUE_WORDS; i++)
		atom_store_relaxed((value_word *)to + i, atom_load_relaxed((const value_word *)from + i));
}

/* The whole words of the key, and of them the first `len` bytes. */
static inline void row_copy_key(const struct tables *t, const struct table_row *row, uint32_t len, void *ret_key)
{
	uint64_t words[KEY_WORDS];

	for (uint32_t i = 0; i < (len + 7) / 8; i++)
		words[i] = row_key_word(t, row, i);
	memcpy(ret_key, words, len);
}

/* key_hash() of the key of a row in use. No row keeps it: it is wanted when the row goes, or when all chains are made anew. */
static inline uint64_t row_hash(const struct tables *t, const struct table_row *row)
{
	unsigned char key[KEY_MAX];

	if (row->key_len <= KEY_SHORT)
		return key_short_hash(row->key[0], row->key[1], row->key_len);
	row_copy_key(t, row, row->key_len, key);
	return key_hash(key, row->key_len);
}

#endif
