/* SPDX-License-Identifier: Apache-2.0 */
/*
 * puppet: a program with a session of its own, in a process of its own, that does what the test tells it. It can
 * be killed at any time, and ends with the test.
 *
 *   struct puppet *p = puppet_new(1);                        on host 1
 *   cr_assert_eq(puppet_lock(p, "k").rc, 0);                 waits for the answer
 *   puppet_begin(q, DO_LOCK, "k"); … puppet_answer(q)        does not
 *
 * One order at a time: the answer is taken before the next is given.
 */
#ifndef PAXSHM_TESTS_CLUSTER_PUPPET_H
#define PAXSHM_TESTS_CLUSTER_PUPPET_H

#include <stdbool.h>

#include "../../lib/paxshm.h"
#include "../../tools/paxcluster/process.h"

struct puppet {
	unsigned host;
	struct process process;
	int orders; /* our end */
	bool busy;
};

enum deed {
	DO_LOCK = 1, /* by handle, with what the order says */
	DO_UNLOCK,
	DO_CHECK,
	DO_HOLDER,
	DO_CLOSE,
	DO_FORK_USE,  /* a forked child uses the session: rc is the worst that it was answered to each call */
	DO_FORK_EXEC, /* a child that inherits every descriptor and lives on as another program: who.pid */
};

struct order {
	enum deed deed;
	char key[PAXSHM_KEY_MAX + 1];
	uint32_t flags, no_quorum;
	uint64_t wait_ms;    /* 0: no deadline */
	bool cancel;         /* LOCK: a thread of its own calls paxshm_cancel() while it waits */
	bool custom_handler; /* FAIL comes to a handler of the program's own: answered with handled */
};

struct answer {
	int rc;
	struct paxshm_grant grant;
	struct paxshm_who who;
	unsigned handled; /* times the fatal handler was called */
};

struct puppet *puppet_new(unsigned host);
/* One that inherits this process's standard error in err_fd (-1: as it is). */
struct puppet *puppet_new_err(unsigned host, int err_fd);

void puppet_give(struct puppet *p, const struct order *order);
bool puppet_answered(struct puppet *p);        /* an answer is there to be taken */
struct answer puppet_answer(struct puppet *p); /* waits for it */
struct answer puppet_do(struct puppet *p, const struct order *order);

void puppet_begin(struct puppet *p, enum deed deed, const char *key);
struct answer puppet_lock(struct puppet *p, const char *key);
struct answer puppet_try(struct puppet *p, const char *key);
int puppet_unlock(struct puppet *p, const char *key);
int puppet_check(struct puppet *p, const char *key);

/* Gives DO_LOCK and waits until its host's agent has taken the request in. */
void puppet_queue(struct puppet *p, const char *key);

void puppet_kill(struct puppet *p); /* kill -9, whatever it is doing */
/* Lets it close its session and end, or kills it when an order is under way; frees it. */
void puppet_free(struct puppet *p);

#endif
