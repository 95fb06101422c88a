/* SPDX-License-Identifier: Apache-2.0 */
/*
 * undo: makes a group of changes to mapped memory atomic against the death of the process.
 *
 * Before a word is changed in place its old value is appended to a log that lies in memory which
 * outlives the process. A commit empties the log; a successor that finds it filled restores the old
 * values, newest first, and so finds the memory as it stood at the last commit. Against the death
 * of a process (not of a machine) the order of instructions is all that is needed: what was
 * executed is in memory, what was not is not. So the fences here bind the compiler only.
 *
 * Why undo and not redo: the code between two commits reads what it has just written, as if there
 * were no log at all.
 *
 * Invariants: a word that must survive is changed only after undo_save() of it; nothing leaves the
 * process (no send, no wake) between the first change and the commit; the log has room for the
 * largest group (asserted, never silently dropped).
 *
 * Who may enter: the writers of persistent memory on every floor (net/paxos, shm, the agent).
 */
#ifndef PAXSHM_LIB_UNDO_H
#define PAXSHM_LIB_UNDO_H

#include "base.h"

#define UNDO_AREAS 4

/* Any eight bytes of an area, whatever type they have to others. */
typedef uint64_t __attribute__((may_alias)) undo_word;

/* In the surviving memory. Layout: records, each old words first, then one header word
 * (area 8 | length in words 24 | offset in words 32), so that the log is read from its end. */
struct undo_log {
	uint64_t used;     /* words in force; 0: nothing to undo */
	uint64_t capacity; /* words in `words` */
	uint64_t words[];
};

/* In the process: which surviving areas there are, in an order that must never change. */
struct undo {
	struct undo_log *log; /* NULL: changes are not logged (memory that nobody inherits) */
	struct {
		undo_word *base;
		uint64_t words;
	} area[UNDO_AREAS];
	unsigned n_areas;
	void (*before)(void *context, const void *at); /* whoever writes memory down while it goes on changing: hears of each change just before it */
	void *before_context;
	void (*probe)(void *context);                    /* tests: called after every save; may longjmp = die here */
	void (*around_commit)(void *context, bool done); /* tests: called before and after every commit */
	void *probe_context;
};

/* Adds an area. `base` must be 8-aligned and `bytes` a multiple of 8. */
static inline void undo_add_area(struct undo *u, void *base, size_t bytes)
{
	ASSERT(u->n_areas < UNDO_AREAS);
	ASSERT(((uintptr_t)base | bytes) % 8 == 0);
	ASSERT(bytes / 8 <= UINT32_MAX); /* offsets in records have 32 bits */
	u->area[u->n_areas].base = base;
	u->area[u->n_areas].words = bytes / 8;
	u->n_areas++;
}

/* Which area holds `words` words from address `from` on, and where in it; asserts that one does.
 * On addresses, not pointers: the difference of pointers into different objects means nothing. */
static inline unsigned undo_locate(const struct undo *u, uintptr_t from, uint64_t words, uint64_t *ret_offset)
{
	unsigned i = 0;

	while (i < u->n_areas && (from - (uintptr_t)u->area[i].base) / 8 >= u->area[i].words)
		i++;
	ASSERT(i < u->n_areas);
	*ret_offset = (from - (uintptr_t)u->area[i].base) / 8;
	ASSERT(words <= u->area[i].words - *ret_offset);
	return i;
}

/* Remembers `len` bytes at `at` (widened to whole words), which lie within one area. The other
 * fields of a shared word are put back with it: never save a word that somebody else changes too. */
static inline void undo_save(struct undo *u, const void *at, size_t len)
{
	uintptr_t from = (uintptr_t)at & ~(uintptr_t)7;
	uint64_t n = ((uintptr_t)at + len - from + 7) / 8, offset;

	if (!u)
		return;
	if (__builtin_expect(u->before != NULL, 0))
		u->before(u->before_context, at);
	if (!u->log)
		return;

	struct undo_log *log = u->log;
	uint64_t used = log->used;
	unsigned area = undo_locate(u, from, n, &offset);

	ASSERT(n < 1u << 24);
	ASSERT(used <= log->capacity && n + 1 <= log->capacity - used);
	memcpy(&log->words[used], &u->area[area].base[offset], n * 8);
	log->words[used + n] = (uint64_t)area << 56 | n << 32 | offset;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&log->used, used + n + 1, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST); /* the record before the change */
	if (__builtin_expect(u->probe != NULL, 0))
		u->probe(u->probe_context);
}

/* Saves, then assigns: the usual way to change a field that must survive. */
#define SET(u, lvalue, value) \
	do { \
		undo_save((u), &(lvalue), sizeof(lvalue)); \
		(lvalue) = (value); \
	} while (0)

/* The same for a field that readers in other processes race with: one whole store, after which
 * whoever sees it also sees every store before it. */
#define SET_RELEASE(u, lvalue, value) \
	do { \
		undo_save((u), &(lvalue), sizeof(lvalue)); \
		__atomic_store_n(&(lvalue), (value), __ATOMIC_RELEASE); \
	} while (0)

/* What was changed since the last commit is now final. */
static inline void undo_commit(struct undo *u)
{
	if (!u || !u->log)
		return;
	if (__builtin_expect(u->around_commit != NULL, 0))
		u->around_commit(u->probe_context, false);
	__atomic_signal_fence(__ATOMIC_SEQ_CST); /* the changes before the commit */
	__atomic_store_n(&u->log->used, 0, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (__builtin_expect(u->around_commit != NULL, 0))
		u->around_commit(u->probe_context, true);
}

/* Puts back what was changed since the last commit; true if there was anything. Idempotent: may
 * itself be interrupted and called again. Words are stored whole: lock-free readers may watch. */
static inline bool undo_rollback(struct undo *u)
{
	struct undo_log *log = u ? u->log : NULL;
	bool any = log && log->used != 0;

	while (log && log->used) {
		uint64_t header = log->words[log->used - 1];
		uint64_t area = header >> 56, n = header >> 32 & 0xffffff, offset = header & 0xffffffff;

		ASSERT(log->used <= log->capacity && n < log->used);
		ASSERT(area < u->n_areas && offset + n <= u->area[area].words);
		for (uint64_t i = 0; i < n; i++)
			__atomic_store_n(&u->area[area].base[offset + i],
					 log->words[log->used - 1 - n + i], __ATOMIC_RELEASE);
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		__atomic_store_n(&log->used, log->used - n - 1, __ATOMIC_RELEASE);
	}
	return any;
}

#endif
