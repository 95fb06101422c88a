/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table: a hash table in shared memory, key -> one lock_value. One writer (the agent), any number
 * of readers in other processes, who take no lock, make no system call and are not held up by a
 * writer that was killed at any instruction.
 *
 * How: a row holds its value twice; `seq & 1` says which copy is shown. The writer fills the other
 * copy and then raises seq by one store, so the shown copy is whole at every instant (a sequence
 * latch). Chains change by single stores. When a row leaves a chain, the version in its bucket
 * rises afterwards and before the row may be used again: a reader that found nothing, or that found
 * a row, looks at the version again and starts over if it moved. A successor of a dead writer puts
 * words back (undo.h), which takes versions and seq back too; so it makes tables->recoveries odd
 * before and even after, and readers wait while it is odd and start over when it moved.
 *
 * Order: every word that readers race with is stored with release and loaded with acquire. Thus
 * whoever meets a word of a row's next life, or of its next value, also finds the version or seq
 * that was raised before it, and no fence is needed (ThreadSanitizer knows none).
 *
 * The writer's functions save what they change in `u`; with u NULL nothing is saved. Rows are named
 * by index, 1 .. n_rows. Pure.
 *
 * Who may enter: shm/state writes; lib and tools read.
 */
#ifndef PAXSHM_SHM_TABLE_H
#define PAXSHM_SHM_TABLE_H

#include "../lib/undo.h"
#include "layout.h"

struct table_capacity { /* agreed for the whole cluster; each 1 .. TABLE_ROWS_MAX */
	uint32_t rows;  /* locks that are held or waited for at once */
	uint32_t cells; /* 64-byte cells for keys longer than KEY_INLINE */
	uint32_t waits; /* waiting hosts and sharing ones, over all locks */
	/* This host's own. */
	uint32_t gates;    /* locks that it can hold at once; 0: none */
	uint32_t sessions; /* 0 .. SESSIONS_MAX */
	uint32_t claims;   /* that its agent shows; 0: none */
};

#define TABLE_ROWS_MAX (1u << 27)

/* What `locks = rows` stands for: a wait for each row, a cell for every fourth. With its share of a bucket that makes
 * 238.2 bytes a lock, 64 of them for the key and 16 for long ones, and 80 more (terms of a gate, a claim's row) where the
 * host can own as many. */
struct table_capacity table_capacity_for(uint32_t rows);

/* Bytes of a tables segment. */
uint64_t tables_size(const struct table_capacity *capacity);

/* Places to wait at gates that go with it. */
uint32_t tables_records(const struct table_capacity *capacity);

/* Makes zeroed memory of that size an empty table, ready to be read. Names are copied and cut to
 * NAME_BYTES - 1. The magic of the segment is written last. */
void tables_format(struct tables *t, const struct table_capacity *capacity, const char *cluster,
		   uint16_t self);

/* Whether `size` bytes at t are tables of this layout. NULL, or what is wrong, for a person.
 * Checks offsets and capacities too, so that whoever maps a segment may trust them. */
const char *tables_verify(const struct tables *t, uint64_t size);

/* ---- arrays (also for readers; the index is the caller's to check) ---- */

static inline struct table_bucket *tables_buckets(const struct tables *t)
{
	return (struct table_bucket *)((char *)t + t->buckets_at);
}
/* Where a key belongs: the upper half of its hash says in which bucket, the lower one in which of its chains. Each is taken
 * for a fraction, so that any number will do. */
static inline struct table_bucket *tables_bucket(const struct tables *t, uint64_t hash)
{
	return tables_buckets(t) + ((hash >> 32) * t->n_buckets >> 32);
}
static inline uint32_t bucket_chain(uint64_t hash)
{
	return (uint32_t)((uint64_t)(uint32_t)hash * BUCKET_CHAINS >> 32);
}
/* The gate at which this host last had a lock of the chain: a hint for who wants row and gate, and may ask for the gate's lines
 * while the row's are still on their way. Another's, old, or 0: he has asked for nothing that he needs. */
static inline uint32_t *tables_near(const struct tables *t, uint64_t hash)
{
	return &tables_bucket(t, hash)->near[bucket_chain(hash)];
}
static inline struct table_row *tables_row(const struct tables *t, uint32_t i)
{
	return (struct table_row *)((char *)t + t->rows_at) + i;
}
static inline uint64_t *tables_cell(const struct tables *t, uint32_t i)
{
	return (uint64_t *)((char *)t + t->cells_at) + (uint64_t)i * (KEY_CELL / 8);
}
static inline struct table_wait *tables_wait(const struct tables *t, uint32_t i)
{
	return (struct table_wait *)((char *)t + t->waits_at) + i;
}
static inline struct host_row *tables_host(const struct tables *t, uint32_t host)
{
	return (struct host_row *)((char *)t + t->hosts_at) + host;
}
static inline struct gate_terms *tables_terms(const struct tables *t, uint32_t gate)
{
	return (struct gate_terms *)((char *)t + t->terms_at) + gate;
}
static inline uint16_t *tables_slots(const struct tables *t) /* [record]: whose it is */
{
	return (uint16_t *)((char *)t + t->slots_at);
}
static inline struct session_row *tables_session(const struct tables *t, uint32_t slot)
{
	return (struct session_row *)((char *)t + t->sessions_at) + slot;
}

static inline struct claim_row *tables_claim(const struct tables *t, uint32_t i)
{
	return (struct claim_row *)((char *)t + t->claims_at) + i;
}

/* ---- keys ---- */

#define KEY_SHORT 16u /* bytes of a key that is looked up by its two words, without a loop */

/* The words of a short key, zeros behind it, as they stand in its row. */
static inline void key_short_words(const void *key, uint32_t len, uint64_t *ret_first, uint64_t *ret_second)
{
	const unsigned char *at = key;

	if (len > 8) { /* its last 8 bytes, of which some belong to the first word */
		*ret_first = word_at(at);
		*ret_second = word_at(at + len - 8) >> (8 * (KEY_SHORT - len));
	} else {
		*ret_first = len == 8 ? word_at(at) : word_of_tail(at, len);
		*ret_second = 0;
	}
}

/* Both halves of a product of 64 bits by 64. */
static inline uint64_t key_fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t key_short_hash(uint64_t first, uint64_t second, uint32_t len)
{
	uint64_t h = key_fold(first ^ 0xa0761d6478bd642full, second ^ (0xe7037ed1a0b428dbull + len));

	return key_fold(h ^ 0x9e3779b97f4a7c15ull, 0xd6e8feb86659fd93ull);
}

/* Where a key belongs. It stays on this host: hosts compare keys and values, never this. hash_bytes() takes a dozen
 * multiplications one after the other for a key of two words, which were the greater part of a lookup in cache. */
static inline uint64_t key_hash(const void *key, uint32_t len)
{
	uint64_t first, second;

	if (len == 0 || len > KEY_SHORT)
		return hash_bytes(0, key, len);
	key_short_words(key, len, &first, &second);
	return key_short_hash(first, second, len);
}

/* By which a claim row names its key: 32 bits of it. Two keys with the same ones would show each other's claims, and no more. */
static inline uint64_t claim_hash(const void *key, uint32_t len)
{
	return hash_bytes(0, key, len);
}

static inline uint64_t claim_word(uint64_t hash, uint32_t gen, uint32_t slot, unsigned shown, uint8_t mode)
{
	return hash << 32 | (uint64_t)(gen & 0xfff) << 20 | (slot & 0xfff) << 8 | (shown & 0xf) << 4 | (mode & 0xf);
}

/* ---- the writer ---- */

/* The row of a key, or 0. */
uint32_t table_find(const struct tables *t, const void *key, uint32_t len);

/* A new row, its value all zeros, not yet in `died` list or anything else. 0: no row or no cell is
 * left. The key must not be there. */
uint32_t table_insert(struct tables *t, struct undo *u, const void *key, uint32_t len);

/* Takes the row out of its chain and frees it and its cells. Its queue must be empty, and it must
 * not be in the died list any more. */
void table_remove(struct tables *t, struct undo *u, uint32_t row);

/* The value now shown (writer's view). */
struct lock_value table_value(const struct tables *t, uint32_t row);
/* Shows another value, at one instant. */
void table_set(struct tables *t, struct undo *u, uint32_t row, const struct lock_value *value);

/* Copies the key (up to KEY_MAX bytes) and answers its length. */
uint32_t table_key(const struct tables *t, uint32_t row, void *ret_key);

/* An entry for a queue or a list of holders from the pool, all zeros, or 0. Given back with table_wait_free.
 *
 * Readers walk the holders that a row's shown value leads to. So an entry is written before a value shows
 * it, and freed after another value of that row is shown (or the row was removed). The link past one who leaves is
 * changed before that: who counts one too few looks again. */
uint32_t table_wait_new(struct tables *t, struct undo *u);
void table_wait_set(struct tables *t, struct undo *u, uint32_t wait, const struct table_wait *to);
void table_wait_free(struct tables *t, struct undo *u, uint32_t wait);

/* Shows claim i, or (shown 0) that there is nothing to be seen of it. Not undone. */
void table_show_claim(struct tables *t, uint32_t i, uint32_t gen, uint32_t slot, unsigned shown, uint8_t mode, uint64_t hash,
		      uint64_t since_ns);

/* What a successor of a dead writer does first: puts back what was changed since the last commit,
 * in all areas of `u`, and lets readers know; true if there was anything. May itself be interrupted
 * and called again. */
bool table_recover(struct tables *t, struct undo *u);

/* Rebuilds all buckets from the rows (after a snapshot was copied in). Not undone; readers are kept
 * away by tables->ready = 0, and one that slept through all of it starts over. */
void table_rebuild(struct tables *t);
/* The same in parts: each bucket (0 ..), then each row (1 ..), then the end. */
void table_rebuild_bucket(struct tables *t, uint32_t bucket);
void table_rebuild_row(struct tables *t, uint32_t row);
void table_rebuilt(struct tables *t);

/* Whether chains, free lists, queues, died list and counts fit each other: NULL, or what is wrong.
 * For tests and for a successor, between two commits; takes time in proportion to the table. */
const char *table_check(const struct tables *t);

/* ---- readers, in any process ---- */

/* Looks a key up: 1 and *ret_value, or 0 when there is no row, or -EAGAIN when the writer was too
 * busy to get a steady look in a bounded number of tries, or -ENETUNREACH while a copy is installed.
 * What it shows may not be committed yet: a successor may take the last group back. */
int table_read(const struct tables *t, const void *key, uint32_t len, struct lock_value *ret_value);

/* The same for who reads the lock's gate next: its lines are asked for as soon as the row's are. `gates`: of the arena,
 * t->n_gates of them. */
int table_read_ahead(const struct tables *t, const void *key, uint32_t len, const struct gate *gates, struct lock_value *ret_value);

/* Row by row: 1 when row i (1 .. rows_high) is in use, with its key and value; 0 when it is free;
 * -EAGAIN as above. ret_key holds KEY_MAX bytes. */
int table_read_row(const struct tables *t, uint32_t i, void *ret_key, uint32_t *ret_len,
		   struct lock_value *ret_value);

/* The same two, with those that share the lock at that instant: the first `cap` of ret_value->holders of them,
 * in no order that means anything. Unlike a value alone they cannot be had while a writer stands still in the midst
 * of changing them: then it is -EAGAIN, until he goes on or his successor has put things right. */
int table_read_holders(const struct tables *t, const void *key, uint32_t len, struct lock_value *ret_value,
		       struct table_wait *ret_holders, uint32_t cap);
int table_read_row_holders(const struct tables *t, uint32_t i, void *ret_key, uint32_t *ret_len,
			   struct lock_value *ret_value, struct table_wait *ret_holders, uint32_t cap);

/* The hosts that wait for a key, in the order of their turns, as they stood between two slots: how many there are, and
 * the first `max` of them in ret[]. -EAGAIN, -ENETUNREACH as above. */
int table_read_queue(const struct tables *t, const void *key, uint32_t len, struct table_wait *ret, uint32_t max);

struct claim_seen {
	uint32_t slot;
	enum claim_shown shown;
	uint8_t mode;
	uint64_t since_ns;
};

/* The claims on a key that show `shown`, oldest first: how many there are, and the oldest `max` of them in ret[]. Each was so at
 * some instant of the call. */
uint32_t table_read_claims(const struct tables *t, const void *key, uint32_t len, enum claim_shown shown, struct claim_seen *ret,
			   uint32_t max);

#endif
