/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base: what every floor may use - assertions, small arithmetic, one hash, and a bounded
 * reader and writer of bytes. Needs libc headers only and makes no system call (but abort).
 *
 * Who may enter: everybody. It includes nothing of ours.
 */
#ifndef PAXSHM_LIB_BASE_H
#define PAXSHM_LIB_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Assertions stay on in release builds. One fact each. Never about bytes from a peer or from
 * memory that another process can write: those are checked and refused. */
#define ASSERT(fact) ((fact) ? (void)0 : base_assert_failed(#fact, __FILE__, __LINE__))

static inline _Noreturn void base_assert_failed(const char *fact, const char *file, int line)
{
	fprintf(stderr, "<2>paxshm: %s:%d: must hold: %s\n", file, line, fact);
	abort();
}

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Nanoseconds. */
#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull
#define NEVER UINT64_MAX /* a point in time that does not come */

static inline uint64_t align_up(uint64_t n, uint64_t to)
{
	ASSERT(to && (to & (to - 1)) == 0);
	return (n + to - 1) & ~(to - 1);
}

/* Mixes one word: two multiplications with odd constants, each followed by a fold. */
static inline uint64_t hash_mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ull;
	x ^= x >> 29;
	x *= 0xa0761d6478bd642full;
	return x ^ (x >> 32);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "hashes go over the wire: hosts of one byte order only");

/* The next 8 bytes; and the last 1 to 7, zeros behind them, as they would lie in memory. A memcpy() of
 * a length that the compiler does not know costs more than all the rest of hashing a short key. */
static inline uint64_t word_at(const unsigned char *at)
{
	uint64_t word;

	memcpy(&word, at, 8);
	return word;
}

static inline uint64_t word_of_tail(const unsigned char *at, size_t len)
{
	uint32_t first, last;

	if (len < 4) /* one byte may be taken twice, to the same place */
		return at[0] | (uint64_t)at[len / 2] << (8 * (len / 2)) | (uint64_t)at[len - 1] << (8 * (len - 1));
	memcpy(&first, at, 4);
	memcpy(&last, at + len - 4, 4);
	return first | (uint64_t)last << (8 * (len - 4));
}

static inline uint64_t hash_begin(uint64_t seed, size_t len)
{
	return hash_mix(seed ^ (len * 0x9e3779b97f4a7c15ull));
}

static inline uint64_t hash_tail(uint64_t h, uint64_t tail, size_t len)
{
	return hash_mix(h ^ tail ^ ((uint64_t)len << 56));
}

/* A 64-bit hash of bytes: for hash tables, checksums against accidents and comparison of tables.
 * Not against an adversary who chooses keys. Stable: it goes over the wire. */
static inline uint64_t hash_bytes(uint64_t seed, const void *bytes, size_t len)
{
	const unsigned char *at = bytes;
	uint64_t h = hash_begin(seed, len);

	for (; len >= 8; at += 8, len -= 8)
		h = hash_mix(h ^ word_at(at));
	return len ? hash_tail(h, word_of_tail(at, len), len) : h;
}

/* A pseudo-random stream (splitmix: a counter, mixed). The state is the caller's. */
static inline uint64_t random_next(uint64_t *state)
{
	return hash_mix(*state += 0x9e3779b97f4a7c15ull);
}

/* ---- bytes out: never writes past `cap`; `ok` turns false instead, and stays so ---- */

struct writer {
	unsigned char *bytes;
	size_t len, cap;
	bool ok;
};

static inline struct writer writer_on(void *bytes, size_t cap)
{
	return (struct writer){ .bytes = bytes, .cap = cap, .ok = true };
}

static inline void put_bytes(struct writer *w, const void *bytes, size_t len)
{
	if (!w->ok || len > w->cap - w->len) {
		w->ok = false;
		return;
	}
	if (len)
		memcpy(w->bytes + w->len, bytes, len);
	w->len += len;
}

/* Little-endian, as every host is: the first bytes of the word. */
static inline void put_uint(struct writer *w, uint64_t value, size_t size)
{
	put_bytes(w, &value, size);
}

static inline void put_u8(struct writer *w, uint8_t v) { put_uint(w, v, 1); }
static inline void put_u16(struct writer *w, uint16_t v) { put_uint(w, v, 2); }
static inline void put_u32(struct writer *w, uint32_t v) { put_uint(w, v, 4); }
static inline void put_u64(struct writer *w, uint64_t v) { put_uint(w, v, 8); }

/* ---- bytes in: never reads past `len`; `ok` turns false instead, stays so, and zeros come ---- */

struct reader {
	const unsigned char *bytes;
	size_t at, len;
	bool ok;
};

static inline struct reader reader_on(const void *bytes, size_t len)
{
	return (struct reader){ .bytes = bytes, .len = len, .ok = true };
}

/* The next `len` bytes in place, or NULL. They stay the owner's of the buffer. */
static inline const unsigned char *get_bytes(struct reader *r, size_t len)
{
	if (!r->ok || len > r->len - r->at) {
		r->ok = false;
		return NULL;
	}
	r->at += len;
	return r->bytes + r->at - len;
}

static inline uint64_t get_uint(struct reader *r, size_t size)
{
	const unsigned char *in = get_bytes(r, size);
	uint64_t value = 0;

	if (in)
		memcpy(&value, in, size);
	return value;
}

static inline uint8_t get_u8(struct reader *r) { return (uint8_t)get_uint(r, 1); }
static inline uint16_t get_u16(struct reader *r) { return (uint16_t)get_uint(r, 2); }
static inline uint32_t get_u32(struct reader *r) { return (uint32_t)get_uint(r, 4); }
static inline uint64_t get_u64(struct reader *r) { return get_uint(r, 8); }

static inline size_t reader_left(const struct reader *r) { return r->ok ? r->len - r->at : 0; }
/* Everything was there and nothing is left over. */
static inline bool reader_done(const struct reader *r) { return r->ok && r->at == r->len; }

#endif
