/* SPDX-License-Identifier: Apache-2.0 */
/*
 * child: a command that is there before it may run. It is forked first, waits for a word from its
 * parent, and leaves if that word never comes; so the parent can tie a lock to its pidfd before the
 * first instruction of the command, and no death in between lets the command run without the lock.
 *
 *   forked --child_go()--> running --child_wait()--> ended
 *      `-- the parent dies, or child_drop(): leaves without having run anything
 *
 * Who may enter: paxctl lock.
 */
#ifndef PAXSHM_TOOLS_PAXCTL_CHILD_H
#define PAXSHM_TOOLS_PAXCTL_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct child {
	pid_t pid;
	int pidfd;
	int word;    /* our end of the pair; the child waits at the other */
	int signals; /* signalfd, -1 before child_go() */
};

/* What the child learns when it may run; it becomes PAXSHM_KEY and its companions. */
struct child_word {
	uint64_t token;
	bool owner_died;
};

/* 0 or -errno. */
int child_fork(struct child *c, const char *key, char **argv);
/* Ends a child that must not run, and releases what belonged to one that has ended. */
void child_drop(struct child *c);
/* Lets it run, with `life_fd` (paxshm_life_fd) open in it and in the command: so long no fresh memory of this
 * host's agent may come to life. From here on signals sent to this process go to the child. 0 or -errno
 * (-EPIPE: it is dead already). */
int child_go(struct child *c, const struct child_word *word, int life_fd);

#define CHILD_MAY_RUN UINT64_MAX

/* Waits until the child has ended, passing signals on, stopping and continuing with it; answers its status
 * as of waitpid(). `watch` is called at least four times a second and answers by when the child must have ended
 * (CLOCK_MONOTONIC, ms; CHILD_MAY_RUN: it is not known). `grace_ms` before that it is told to (TERM), and
 * killed then; one that is told too late for that still has its grace. */
int child_wait(struct child *c, uint64_t grace_ms, uint64_t (*watch)(void *context), void *context);

uint64_t child_now_ms(void); /* CLOCK_MONOTONIC */

/* Ends this process as the child ended: the same status, or of the same signal. */
_Noreturn void exit_like(int status);

#endif
