/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handover: what keeper and agent say to each other over their socket pair. The keeper gives an
 * agent all it needs, then GO; the agent gives the keeper each descriptor that must outlive it
 * before it makes first use of it. A message that was sent counts as kept: the keeper empties the
 * socket before it judges a death.
 *
 *   keeper -> agent   CONFIG MEMORY LISTEN SESSION* GO ........................... END or LEAVE
 *   agent -> keeper                                     SERVES (KEEP WELCOMED PIDFD MUTE DROP)*
 *
 * Who may enter: keeper, reactor.
 */
#ifndef PAXSHM_TOOLS_PAXSHMD_HANDOVER_H
#define PAXSHM_TOOLS_PAXSHMD_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

#define HANDOVER_FD 3      /* the agent's end */
#define HANDOVER_PIDFDS 9u /* processes a session lives by: its own at place 0, and adopted ones */
#define HANDOVER_FDS_MAX (2 + HANDOVER_PIDFDS)
#define HANDOVER_VERSION 3u /* an agent of another build may be started by an older keeper */

/* How an agent ends, for its keeper. */
#define AGENT_EXIT_FATAL 3  /* this host cannot be part of the cluster: do not start again */
#define AGENT_EXIT_MEMORY 4 /* the memory that was handed over does not fit: begin a new life */

enum handover_kind {
	HANDOVER_CONFIG = 1, /* fd: struct config in a memfd */
	HANDOVER_MEMORY,     /* fds: private, tables, arena; nonce, heir_of, founding */
	HANDOVER_LISTEN,     /* fds: UNIX, life, and TCP unless the cluster is one host */
	HANDOVER_SESSION,    /* slot, pid, uid, pidfds, has_socket, welcomed; fds: rings, pidfds by place, socket */
	HANDOVER_GO,
	HANDOVER_END,   /* end: another agent takes over */
	HANDOVER_LEAVE, /* end: this host stops; if it leads, another shall first */

	HANDOVER_SERVES = 100,
	HANDOVER_KEEP,     /* slot, pid, uid; fds: rings, pidfd, socket: a session about to begin */
	HANDOVER_WELCOMED, /* slot: its client was sent its descriptors */
	HANDOVER_PIDFD,    /* slot, place; fd: the session lives by this process too; without: by the one there no more */
	HANDOVER_MUTE,     /* slot: close its socket */
	HANDOVER_DROP,     /* slot: it is over, close all */
};

struct handover {
	uint32_t version, kind;
	uint32_t slot, place;
	uint32_t pidfds; /* bit i: there is one at place i */
	uint32_t has_socket, welcomed, founding;
	uint32_t pid, uid; /* of the session's process */
	uint32_t spare;
	uint64_t nonce, heir_of;
};

/* The descriptors stay the caller's. 0 or -errno; -EPIPE: the other end is gone. */
int handover_send(int socket, const struct handover *message, const int *fds, unsigned n);

/* 1; 0: the other end is gone; -EAGAIN: nothing is there (only with `wait` false); or -errno.
 * Descriptors are the caller's. */
int handover_receive(int socket, bool wait, struct handover *ret, int fds[HANDOVER_FDS_MAX], unsigned *ret_n);

#endif
