/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop: everything the agent waits for, in one place: connections, received bytes, sent bytes,
 * readable descriptors, time. Completions in, one handler out.
 *
 * Two engines behind one table of functions. io_uring: one ring, made by the thread that runs it
 * (SINGLE_ISSUER and DEFER_TASKRUN where the kernel has them), multishot receive with provided
 * buffers (re-armed after ENOBUFS), everything queued in a turn submitted by the one call
 * that also waits. epoll: the same events from readiness, for kernels and containers where
 * io_uring is forbidden. What the kernel offers is probed when the loop is opened.
 *
 * A watch is named by the caller's 64-bit `tag`; after loop_forget(fd) no event of that watch comes
 * any more, even when a completion was under way and even when the descriptor number is used again.
 *
 * Who may enter: link_tcp and the reactor. One thread.
 */
#ifndef PAXSHM_NET_LOOP_H
#define PAXSHM_NET_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum loop_engine { LOOP_AUTO,
		   LOOP_URING,
		   LOOP_EPOLL };

enum loop_event_kind {
	LOOP_ACCEPTED,  /* result: the new descriptor (yours, non-blocking, close-on-exec), or -errno */
	LOOP_CONNECTED, /* result: 0 or -errno */
	LOOP_RECEIVED,  /* bytes, result = their number; 0: the other end is gone; -errno: so is the connection */
	LOOP_SENT,      /* result: all `len` bytes were taken, or -errno */
	LOOP_READABLE,  /* poll: the descriptor is readable or hung up; result 0, or -errno: it cannot be polled */
};

struct loop_event {
	enum loop_event_kind kind;
	uint64_t tag;
	int fd;
	int result;
	const unsigned char *bytes; /* valid during the handler only */
	uint64_t now_ns;            /* CLOCK_MONOTONIC, not before what is told had happened; io_uring reads it once a turn */
};

typedef void loop_handler(void *context, const struct loop_event *event);

struct loop;

/* 0; -ENOSYS: LOOP_URING was asked for and the kernel has none, forbids it or is older than 6.0; -EMFILE, -ENFILE,
 * -ENOMEM. LOOP_AUTO takes io_uring where it works. *ret_why, when given: what is wrong with io_uring and what to
 * do about it, for the log; NULL: nothing, or it was not asked for. Call it in the thread that will run the loop. */
int loop_open(struct loop **ret, enum loop_engine engine, const char **ret_why);
void loop_close(struct loop *l);                    /* closes no descriptor of the caller's; NULL is fine */
const char *loop_engine_name(const struct loop *l); /* "io_uring (single issuer, deferred)", "epoll", … */

/* Each starts a watch and answers 0; -EBADF: no number of a descriptor; -EBUSY: this side is watched already
 * (accept, receive and poll are one side, connect and send the other); -EINVAL: nothing or more than 2 GiB to
 * send; -ENOMEM. No system call is made before the next turn, and all results come as events.
 * accept, receive and poll go on until loop_forget; after a result below 0, and a RECEIVED of 0, they have ended by
 * themselves, but for an accept that failed for want of descriptors or memory (-EMFILE, -ENFILE, -ENOBUFS, -ENOMEM):
 * that is said once, and tried again by the loop after 100 ms.
 * poll reports a descriptor in each turn in which it is readable, whether the handler reads all of it or not. */
int loop_accept(struct loop *l, int fd, uint64_t tag); /* fd does not block */
int loop_connect(struct loop *l, int fd, const struct sockaddr *address, socklen_t len, uint64_t tag);
int loop_receive(struct loop *l, int fd, uint64_t tag);
int loop_poll(struct loop *l, int fd, uint64_t tag);
/* Sends all; the bytes stay the caller's and must stay as they are until SENT or loop_forget().
 * One at a time for each descriptor. */
int loop_send(struct loop *l, int fd, const void *bytes, size_t len, uint64_t tag);

/* Ends all watches of a descriptor; call before closing it. On return the kernel no longer reads
 * from or writes to any buffer of theirs. */
void loop_forget(struct loop *l, int fd);

/* One turn: submits what was queued, waits for something until `deadline_ns` (CLOCK_MONOTONIC, absolute;
 * 0: does not wait; NEVER), hands every event that is there to the handler. 0 or -errno. May end early without an
 * event: after a signal, or when only what was forgotten completed. */
int loop_turn(struct loop *l, uint64_t deadline_ns, loop_handler *handler, void *context);

/* So far: turns run, system calls made, events handed out, watches that the kernel ended early and the loop armed again. */
struct loop_counts {
	uint64_t turns, enters, events, rearmed;
};
struct loop_counts loop_counts(const struct loop *l);

#endif
