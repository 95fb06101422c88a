/* SPDX-License-Identifier: Apache-2.0 */
/*
 * history: judges, after the fact, what many programs saw of their locks: was any key ever owned by two, and is
 * there one order of owners that fits everything seen? Near linear: one sort by key and token, then two scans.
 *
 * A turn is one acquire, and the release that followed it. All times are CLOCK_MONOTONIC of one machine, each read
 * before a call is made or after it has returned, so that what a call did happened between its two times.
 *
 * What is known of a granted turn t, and is all that is used:
 *
 *   tokens     t was given its token after t.called and before t.returned.
 *   held       t was surely the owner from its grant until held_until(t), the earliest that its end can have been:
 *              the call of a release that answered "released". Else, without leases, only release and death free a
 *              lock: the call of the release that did not answer so, or the moment before the kill; of one
 *              that was lost, the last call of a check that answered "yours". With leases the same, but it ends
 *              with the lease of its owner's host, or when the owner heard that it has lost it: a lease gets
 *              no shorter, so the latest deadline that the owner saw counts, and any proof that came after it.
 *
 * What must then hold, for every two granted turns a and b of one key:
 *
 *   once       their tokens differ.
 *   rising     if a returned before b was called, a's token is the smaller one. (Real-time order: a's token was given
 *              before b's could be.)
 *   one owner  if a's token is the smaller one, b did not return while a was surely the owner. Tokens rise in
 *              the order of grants, so a was granted first; b's grant before b.returned was therefore a
 *              second owner beside a. Of these, those are told apart in which b, too, was surely the owner then.
 *
 * Turns whose outcome is unknown (the program was killed inside acquire) and refused ones take part in no rule. Each
 * rule speaks about pairs of turns that were seen to be granted, so leaving a turn out, or knowing a shorter
 * time of it, can hide a fault and can never make up one. What an unknown turn did to others is still seen: they
 * have tokens and times of their own.
 *
 * When no rule is broken there is one order that explains all: by token. Each owner's sure time ends before the next
 * has its answer, and nobody precedes one who had returned before it asked.
 *
 * Not judged: fairness, and whether a refusal was justified.
 *
 * Who may enter: the storm and its tests. No clock, no file; the caller's memory.
 */
#ifndef PAXSHM_TESTS_STORM_HISTORY_H
#define PAXSHM_TESTS_STORM_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum history_outcome { /* of the acquire */
		       HISTORY_UNKNOWN = 0,
		       HISTORY_GRANTED,
		       HISTORY_REFUSED, /* busy, deadline, no quorum, … */
};

enum history_end { /* of what was granted */
		   HISTORY_NOT_SAID = 0,
		   HISTORY_RELEASED, /* the release answered 0 */
		   HISTORY_LOST,     /* a check or the release answered -ESTALE */
};

/* A time of 0 was never reached. */
struct history_turn {
	uint64_t key;
	uint64_t token;       /* of a granted one */
	uint64_t called_ns;   /* acquire */
	uint64_t returned_ns; /* 0: killed in it */
	uint64_t proved_ns;   /* the call of the last check that answered "yours" */
	uint64_t release_ns;  /* the call of release */
	uint64_t released_ns; /* its return */
	uint64_t lease_ns;    /* with leases: the end of its host's lease, the latest that was shown while the lock was its own */
	uint64_t lost_ns;     /* the call of the first check that answered "lost" */
	uint64_t killed_ns;   /* just before its process was killed */
	uint32_t process;
	uint16_t host;
	uint8_t outcome; /* enum history_outcome */
	uint8_t end;     /* enum history_end */
};

enum history_fault {
	HISTORY_NONSENSE = 0, /* times that contradict themselves: whoever recorded this is to be mended first */
	HISTORY_TOKEN_TWICE,
	HISTORY_TOKEN_FELL,
	HISTORY_TWO_OWNERS,
	HISTORY_TOO_SOON, /* granted while another was surely the owner; its own sure time was over before it is known to begin */
	HISTORY_FAULTS,
};

struct history_verdict {
	size_t turns, granted, refused, unknown, released, lost;
	size_t killed, killed_owners; /* with a call or a lock; with a lock */
	size_t operations;            /* calls that returned */
	bool sound;
	size_t faults[HISTORY_FAULTS]; /* turns found guilty: each at most once a rule */
	/* The earliest of each kind: first owned the key, second came in between. NONSENSE has one alone. Points into the turns. */
	const struct history_turn *first[HISTORY_FAULTS], *second[HISTORY_FAULTS];
};

/* Sorts the turns. `leases`: a lock can come free although its owner lives and did not release it. */
struct history_verdict history_judge(struct history_turn *turns, size_t n, bool leases);

/* The end of the time in which t was surely the owner; 0: it never said. For granted turns. */
uint64_t history_held_until(const struct history_turn *t, bool leases);

/* A sentence about a fault, for people. */
const char *history_fault_name(enum history_fault fault);
/* Writes what the verdict says of a fault, both turns with their times; answers its length as snprintf(3) does. */
int history_describe(const struct history_verdict *v, enum history_fault fault, char *text, size_t cap);

#endif
