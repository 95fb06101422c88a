/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doorman: who stands at the agent's UNIX socket, whether he may come in, and what he is handed. One
 * message comes, one goes; what decides is what the kernel says about the other end and never what
 * the other end says about itself.
 *
 * No loop and no agent here: the reactor asks, and carries out.
 * Who may enter: the reactor, tests.
 */
#ifndef PAXSHM_TOOLS_PAXSHMD_DOORMAN_H
#define PAXSHM_TOOLS_PAXSHMD_DOORMAN_H

#include <stdbool.h>
#include <sys/types.h>

#include "../../shm/layout.h"
#include "agent.h"

#define DOORMAN_GREETING_NS (2ull * 1000 * 1000 * 1000) /* a connection that has said nothing by then is closed */
#define DOORMAN_STRANGERS 64u                           /* connections at once that have not greeted */
#define LIFE_BYTE 1                                     /* of the lock file: read-locked by whoever lives by this memory */
#define KEEPER_BYTE 0                                   /* write-locked by the one keeper of the socket */

struct visitor {
	struct session_identity identity;
	int pidfd; /* -1: none; the caller's */
};

/* Who is at the other end, by the kernel: SO_PEERCRED, a pidfd, the start time behind it. 0; -ESRCH: he has
 * ended, or is of a pid namespace that we cannot look into; or -errno. */
int doorman_identify(int socket, struct visitor *ret);

/* The greeting in `len` received bytes: 0; -EPROTO: of another layout version (*ret holds version), or -EBADMSG:
 * no greeting at all. */
int doorman_parse(const void *bytes, size_t len, struct greeting *ret);

struct house { /* what a visitor must fit */
	const char *cluster, *host_name;
	uint32_t host;
	uint64_t pid_ns, time_ns; /* the agent's; 0: unknown */
};

/* Fills in the agent's own namespaces. */
void doorman_look_around(struct house *h);

/* 0; or -errno for the welcome, with reason[256] in words. `rc` is doorman_parse's answer. */
int doorman_judge(const struct house *h, const struct visitor *v, const struct greeting *g, int rc, char *reason);

/* Lets him in: descriptors tables (read-only), arena, rings, life. 0 or -errno. */
int doorman_welcome(int socket, const struct house *h, uint32_t slot, const int fds[4]);
/* Says why not. The socket stays the caller's to close. */
void doorman_refuse(int socket, const struct house *h, int result, const char *reason);

/* A life descriptor of its own for one process, from the agent's: a later keeper waits until it is closed
 * everywhere. The descriptor or -errno. */
int doorman_life(int life_fd);

/* ---- later messages of a session ---- */

enum { DOORMAN_RUNG = 1,
       DOORMAN_GONE = 2,
       DOORMAN_NONSENSE = 4 };

/* Takes out all messages that are there. Answers which kinds came; for each ADOPT calls `adopt` with a
 * descriptor that becomes adopt's own. *ret_more: it stopped early, more may be there. */
unsigned doorman_drain(int socket, void (*adopt)(void *context, int fd), void *context, bool *ret_more);

/* Whether a descriptor is a pidfd of a living process that runs under `uid` (0 may name any): 0; -EBADF: it is no
 * pidfd; -ESRCH: that process has ended or cannot be seen from here; -EPERM: somebody else's. */
int doorman_check_pidfd(int fd, uint32_t uid);

#endif
