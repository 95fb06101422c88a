/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rival: one process of the storm of kills, and the memory that all of them share with the test. A rival acquires and releases
 * as fast as it can, hot locks that all want and private ones of its seat, and is killed at any instruction. Who takes
 * its seat next has the same private locks, so that they change owners by death alone.
 *
 * Shared fields, and who writes them:
 *
 *   lock, life    witness.h
 *   seat.play     its rival: what it does with up to two locks at once, a private one around a hot one. Set before the call
 *                 that it speaks of and cleared after, so that after a death it names every lock that may be affected
 *   seat.doing    its rival
 *   turn          its rival: the last RIVAL_TURNS of a seat, for the history; older ones give way, and when they come fast
 *                 only some of those at private locks are kept. A history says as much of those that it has
 *   disturbed_ns  the test: until when agents were missing or rivals stood still; NEVER while it is so
 *   else          the test
 *
 * Needs nothing of Criterion: it is linked into a small program too, for rivals that are started by exec.
 */
#ifndef PAXSHM_TESTS_STORM_RIVAL_H
#define PAXSHM_TESTS_STORM_RIVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "history.h"
#include "witness.h"

#define RIVALS 16
#define RIVAL_HOSTS 3
#define RIVAL_HOT 3
#define RIVAL_PRIVATE 2 /* of each seat */
#define RIVAL_LOCKS (RIVAL_HOT + RIVALS * RIVAL_PRIVATE)
#define RIVAL_TURNS ((uint64_t)1 << 15)
#define RIVAL_FD 3 /* of the shared memory, for one that is started by exec */

enum rival_phase {
	RIVAL_IDLE = 0,
	RIVAL_ASKING,
	RIVAL_OWNING, /* its acquire has returned */
	RIVAL_RELEASING,
};

enum rival_doing {
	RIVAL_OPENING = 0, /* from its start: a session */
	RIVAL_WORKING,
	RIVAL_CLOSING,
	RIVAL_RESTING, /* the test told it to */
};

struct rival_play {
	uint32_t phase, lock;
	uint64_t since_ns; /* it asks since; for every acquire of its own */
	uint64_t turn;     /* its place among the seat's, plus 1 */
};

enum { RIVAL_OUTER = 0,
       RIVAL_INNER,
       RIVAL_PLAYS };

struct rival_seat {
	uint32_t life, doing;
	struct rival_play play[RIVAL_PLAYS];
	uint64_t turns; /* begun and kept, by all who sat here */
	uint64_t granted;
} __attribute__((aligned(64)));

struct rival_memory {
	uint32_t stop, rest;
	uint32_t linger; /* a lock's number plus 1: whoever is inside of it stays there for some milliseconds, or until this is 0 */
	uint64_t seed;
	char socket[RIVAL_HOSTS + 1][96];
	uint64_t disturbed_ns;
	uint64_t longest_wait_ns; /* undisturbed */
	uint64_t refused, reopened;
	uint64_t faults[WITNESS_FAULTS], answers; /* answers that must not be given */
	uint32_t said;                            /* the first to say something does so in `words` */
	char words[256];
	struct rival_seat seat[RIVALS];
	struct witness_lock lock[RIVAL_LOCKS];
	struct history_turn turn[RIVALS][RIVAL_TURNS + 1]; /* the last place: for turns that are not kept */
	uint32_t lives, lives_max;                         /* 1 .. lives */
	struct witness_life life[];                        /* [lives_max + 1] */
};

size_t rival_memory_size(uint32_t lives_max);
uint64_t rival_now_ns(void);
static inline unsigned rival_host(unsigned seat) { return 1 + seat % RIVAL_HOSTS; }
/* A lock's key, any of the locks; up to PAXSHM_KEY_MAX bytes and a NUL. */
void rival_key(unsigned lock, char *key, size_t cap);
/* Whether one that does `a` may wait because another stands still in the midst of `b`. */
bool rival_may_wait(const struct rival_play a[RIVAL_PLAYS], const struct rival_play b[RIVAL_PLAYS]);
/* Counts the faults of a mask, and keeps the words of the first. */
void rival_note(struct rival_memory *m, uint32_t faults, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A rival's whole life. Ends the process: 0, it was told to stop. */
_Noreturn void rival_work(struct rival_memory *m, unsigned seat, uint32_t life);

#endif
