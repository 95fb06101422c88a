/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record: what the programs of the demo tell each other and the story-teller, in a mapped file. All but
 * the words marked "driver" is written by the owner of the lock alone, so nothing here is atomic for its
 * own sake: if two owners wrote at once, that is what the demo is looking for.
 */
#ifndef PAXSHM_TESTS_DEMO_RECORD_H
#define PAXSHM_TESTS_DEMO_RECORD_H

#include <stdint.h>

#define PROGRAMS 8
#define TURNS_MAX 400000u
#define LOCK_KEY "demo"

struct turn {
	uint64_t granted_ns;
	uint32_t passed_ns; /* from the last owner's release to this grant; 0: not known */
	uint8_t program, host, last_host, owner_died;
};

struct record {
	uint32_t stop;   /* driver: end after this turn */
	uint32_t die;    /* driver: the victim shall wait for its end when it next owns the lock */
	uint32_t dying;  /* the victim: I own it and wait */
	uint32_t inside; /* 1 + program that is in the critical section, 0: nobody */
	uint64_t last_token, first_token;
	uint64_t released_ns;
	uint32_t last_host;
	/* What must not happen. */
	uint32_t overlaps;  /* somebody was inside already */
	uint32_t backwards; /* a token did not rise */
	uint32_t turns;
	uint32_t own_turns[PROGRAMS]; /* each program's count, written by it alone */
	struct turn turn[TURNS_MAX];
};

uint64_t now_ns(void);

/* One of the programs: takes turns until it is told to stop. Its exit status: 0, 1: an answer of the library
 * was none that may come. */
int program_main(unsigned program, unsigned host, const char *socket, const char *counter, struct record *record);

#endif
