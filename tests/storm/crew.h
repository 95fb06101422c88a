/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crew: programs on all hosts that acquire and release for as long as the storm lasts, and write down what they saw,
 * with times, in memory that outlives them. Each is a process of its own, stopped and killed at any instruction.
 *
 * What an owner writes goes to a resource that checks tokens: one word a key, the greatest token that it was
 * ever shown, and whether its writer is inside. Independently of all times these must hold, and the first that does
 * not is kept in words:
 *
 *   who is refused there, because a greater token was there before, is told by a check that it is not the owner;
 *   who finds another inside was told PAXSHM_OWNER_DIED;
 *   who finds that a greater token came while it was inside is told that it is not the owner, and cannot release;
 *   nothing is lost or suspended before the deadline that its owner was shown, nor, without leases, at all, and no session
 *   is over, on a host whose life (its keeper's) goes on.
 *
 * One crew in a process, under a started rig. All but crew_broken() are for the test's own process.
 */
#ifndef PAXSHM_TESTS_STORM_CREW_H
#define PAXSHM_TESTS_STORM_CREW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../cluster/rig.h"
#include "history.h"

#define CREW_WORKERS 48

enum crew_job {
	CREW_HOT,   /* a few keys that all want */
	CREW_COLD,  /* many keys, seldom wanted twice at once */
	CREW_PROBE, /* keys that nobody ever used: each grant is a decision of the majority */
};

/* Room for so many turns; when it is used up, nobody begins another (crew_full()). */
void crew_begin(size_t turns, bool leases, uint64_t seed);
/* A new worker; answers its number, from 0. */
unsigned crew_hire(unsigned host, enum crew_job job);
unsigned crew_size(void);
unsigned crew_host(unsigned w);
enum crew_job crew_job(unsigned w);
struct process crew_process(unsigned w); /* pid 0: it was killed, and not started again */

void crew_kill(unsigned w);  /* kill -9, and waits for its end */
void crew_start(unsigned w); /* again */
bool crew_pause(unsigned w); /* SIGSTOP; false: it is stopped already */
void crew_resume(unsigned w);
/* It is the owner of a lock, as far as it knows, and has not begun to release it. Of one that is stopped that stays true. */
bool crew_inside(unsigned w);
/* Who owns a lock on this host goes on owning it, and asks all the time whether it does, until that is over or it is lost.
 * Not probes. */
void crew_cling(unsigned host, bool on);
unsigned crew_clinging(unsigned host); /* how many own something now */
/* To be said before the memory of a host is given up: sessions of it will be over. */
void crew_life_ends(unsigned host);

uint64_t crew_turns(void); /* granted so far, all together */
void crew_mark(void);
bool crew_each_did(uint64_t more);                  /* every worker that is not paused had so many grants since crew_mark() */
bool crew_others_did(unsigned host, uint64_t more); /* those of all other hosts */
bool crew_probes_did(uint64_t more);                /* every probe, so every host: there is a majority and all are part of it */
bool crew_full(void);
const char *crew_broken(void); /* in words, or NULL */
/* Lets all finish what they do, and end; asserts that they do so cleanly. */
void crew_end(void);

/* The turns so far, in the order in which they were begun, fit to be judged once all have ended. */
struct history_turn *crew_history(size_t *ret_n);
bool crew_is_probe(uint64_t key);
/* How often a worker of this host (0: of all) was told that a lock is suspended; and how often that it is its own again. */
uint64_t crew_suspensions(unsigned host);
uint64_t crew_resumptions(void);

#endif
