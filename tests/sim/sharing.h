/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sharing: programs that ask for a lock in shared mode, as libpaxshm does it: by their agent, each time; and what must hold
 * of those who share (sharing_oracle.c).
 *
 *   WAITS --granted--> HOLDS --> LEAVES (its release goes into the ring; nothing is awaited) --> IDLE
 *
 * A thread shares a lock from the moment its agent's answer can be seen until it lets go, its agent was told of its death, or
 * its host's life has ended.
 *
 * Who may enter: the simulator.
 */
#ifndef PAXSHM_TESTS_SIM_SHARING_H
#define PAXSHM_TESTS_SIM_SHARING_H

#include <stdbool.h>
#include <stdint.h>

#include "../../shm/layout.h"

struct sim;
struct host;
struct client;
struct thread;
struct key;
struct left;

struct sharing {    /* of a thread */
	bool wants; /* its call is for shared mode */
	bool shares;
	uint64_t claim;
	uint64_t incarnation;             /* of its host, under which it was granted */
	uint64_t at_ns;                   /* since when it shares, world time */
	uint64_t asked_ns, asked_mono_ns; /* when it asked, by its host's clocks */
};

struct shared_on { /* of a key, by host: what was told last */
	uint64_t delegation, token;
};

#define SHARED_TOLD 32u
struct shared_told {
	uint64_t token, start;
	uint32_t pid;
	uint16_t host;
};

/* ---- sharing.c: programs ---- */

void sharing_asks(struct sim *s, struct client *c, struct thread *t);    /* its request was pushed */
void sharing_release(struct sim *s, struct client *c, struct thread *t); /* lets go */
void sharing_leave(struct sim *s, struct client *c, struct thread *t);   /* the next step of it */

/* ---- sharing_oracle.c: what must hold ---- */

void sharing_granted(struct sim *s, const struct host *h, struct client *c, struct thread *t, const struct ring_completion *answer);
/* Host `h` lets somebody have it alone. */
void sharing_alone(struct sim *s, const struct host *h, struct key *k, uint64_t incarnation, uint64_t token);
/* The reference takes from a host's life what it had of a shared lock. */
void sharing_ended(struct sim *s, struct key *k, uint16_t host, uint64_t incarnation);
void sharing_host_down(struct sim *s, uint16_t host);
void sharing_drop(struct sim *s, struct client *c, struct thread *t); /* it shares no more, whyever */
void sharing_check_left(struct sim *s, const struct host *h, const struct left *left);
void sharing_check_asleep(struct sim *s, const struct host *h);
/* An answer names one who shares; or nobody. */
void sharing_named(struct sim *s, const struct key *k, const struct ring_completion *answer);
void sharing_nobody(struct sim *s, const struct key *k, uint64_t since_ns);
bool sharing_has_token(const struct sim *s, const struct key *k, uint64_t token);
void sharing_survives(struct sim *s, const struct host *h); /* a successor has taken the memory over */
void sharing_end(struct sim *s);

#endif
