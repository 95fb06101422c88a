/* SPDX-License-Identifier: Apache-2.0 */
/*
 * premises: what one keeper has for itself on this machine: the lock of its socket, the two listening
 * sockets, and the mark that says that its cluster was founded.
 *
 * Of the lock file <socket>.lock: byte 0 is write-locked by the one keeper of the socket; byte 1 is
 * read-locked by every process that lives by its memory (agent, clients), so that a keeper with fresh memory
 * knows whether one of an older life is left. Locks of open file descriptions: they go when the last
 * descriptor is closed, however its processes end. The file says the keeper's pid and the nonce of its
 * memory: who can read it is on the same machine, and may take the older life's place when nobody lives by it.
 *
 * Every error is told in why[CONFIG_WHY], with what to do about it.
 * Who may enter: the keeper, tests.
 */
#ifndef PAXSHM_TOOLS_PAXSHMD_PREMISES_H
#define PAXSHM_TOOLS_PAXSHMD_PREMISES_H

#include <unistd.h>

#include "config.h"
#include "doorman.h"

/* Opens and locks <socket>.lock, making its directory when there is none. The descriptor, or -errno;
 * -EADDRINUSE: another keeper has it. *ret_nonce: of the last memory that was noted there; 0: none was. */
int premises_lock(const char *socket_path, uint64_t *ret_nonce, char *why);
/* Notes the nonce of the memory that is in force from now on. 0 or -errno. */
int premises_note_life(int lock_fd, uint64_t nonce, char *why);

/* Locks byte 1 for writing; -EAGAIN: somebody lives by an older memory. */
int premises_claim_life(int lock_fd);
/* After that: a descriptor of its own with a read lock on byte 1, the write lock given up. Or -errno. */
int premises_begin_life(int lock_fd, char *why);
/* Processes other than this one that have the lock file open or mapped: how many, and some of their pids as text. */
unsigned premises_life_holders(int lock_fd, char *ret_pids, size_t cap);

/* The listening UNIX socket, in place of a stale one; nothing else is ever removed. Only under the lock. */
int premises_listen(const char *socket_path, char *why);
int premises_listen_tcp(const struct config *config, char *why);

/* Whether this start may found the cluster. 1: `bootstrap` was asked for and no mark is there; 0: not asked
 * for, marked, or no voter; or -errno. */
int premises_may_found(const struct config *config, bool bootstrap, char *why);
/* Leaves the mark, on disk before it returns. */
int premises_mark_founded(const struct config *config, char *why);

static inline void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

#endif
