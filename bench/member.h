/* SPDX-License-Identifier: Apache-2.0 */
/*
 * member: a worker's sessions with the agents that are measured, and the few calls that the cases
 * make on them; what goes wrong is said with worker_fail(). Every wait has an end, so that an agent
 * that dies under the measurement is an error of its row and never a hang.
 *
 * Who may enter: cluster, the cases.
 */
#ifndef PAXSHM_BENCH_MEMBER_H
#define PAXSHM_BENCH_MEMBER_H

#include <stdbool.h>

#include "../lib/paxshm.h"
#include "cluster.h"
#include "worker.h"

#define MEMBER_PATIENCE_MS 10000u
#define MEMBER_KEY 64u /* bytes of a fresh key with its NUL */

enum part { PART_ANY,
	    PART_LEADER,
	    PART_VOTER,
	    PART_OBSERVER };

struct member {
	paxshm_session *session[BENCH_HOSTS]; /* NULL: not opened */
	uint64_t agent_starts[BENCH_HOSTS];
	int place[BENCH_HOSTS]; /* of struct bench_cluster */
	unsigned n;
};

/* A session with host i of the cluster, or with all. NULL: said. */
struct member *member_open(struct worker *w, const struct bench_cluster *c, int host_or_minus_1);
void member_close(struct member *m); /* NULL is fine */

/* The first session whose host plays this part now; NULL: none does. voter: one that does not lead. */
paxshm_session *member_find(struct member *m, enum part part);

/* With --pin: the caller stays on the core of the host that s is a session with, if that has one. */
void member_stay(const struct member *m, const paxshm_session *s);

/* Says so when an agent was started again since the last look: the figures are not of one agent. */
void member_look(struct member *m, struct worker *w);

int member_ref(struct worker *w, paxshm_session *s, const char *key, paxshm_lock_handle **ret_handle);
bool member_acquire(struct worker *w, paxshm_lock_handle *lock);

/* For loops in which even a look at the clock would show: the deadline is said once for many. */
struct paxshm_acquire member_wish(void);
bool member_acquire_as(struct worker *w, paxshm_lock_handle *lock, const struct paxshm_acquire *how);
bool member_release(struct worker *w, paxshm_lock_handle *lock);

/* A key that nobody has used before, in this run or another: a host keeps the delegation of a lock that was released, and
 * acquires it again without asking anyone. Takes the worker's state[0] and state[1]. */
void member_fresh_key(struct worker *w, const char *bench, char ret_key[MEMBER_KEY]);

uint64_t member_applied(struct worker *w, paxshm_session *s); /* UINT64_MAX: said */

/* Waits until the host has applied nothing for a while, at most `ms`. */
void member_rest(struct worker *w, paxshm_session *s, unsigned ms);

/* How the host at this socket is; outside of workers. */
bool member_status(const char *socket, struct paxshm_status *ret);

enum member_segment { MEMBER_TABLES,  /* the greatest that a session maps to read */
		      MEMBER_ARENA }; /* the greatest that it maps to write */

/* Bytes of this segment of the host for each lock that the table has room for; 0: not known. */
double member_bytes_a_lock(const char *socket, enum member_segment segment);

/* What an agent waits with, as its descriptors in /proc show; "engine unknown" when they do not. */
const char *member_engine(int pid);

#endif
