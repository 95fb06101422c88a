/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_engine: what loop.c and its two engines share. loop.c owns the watches and the meaning of a
 * result; an engine gets results out of the kernel.
 *
 * A descriptor has two sides: IN is accepted on, received from or polled; OUT is connected or sent
 * to. Each side has at most one watch:
 *
 *     FREE --start--> QUEUED --arm, in a turn--> ARMED --last result--> FREE
 *                        ^------- re-arm -----------|
 *     any of them --loop_forget--> FREE, with another generation
 *
 * Starting a watch makes no system call: the next turn arms all that are queued, so that io_uring
 * submits them with the call that waits.
 *
 * Invariants: ARMED is where the kernel may hold a request (io_uring) or interest (epoll) of ours,
 * and nowhere else; each side is in the queue at most once, and the queue has room for all of them,
 * so a re-arm never fails.
 *
 * Who may enter: loop*.c, and the loop's test to force a flavour of io_uring.
 */
#ifndef PAXSHM_NET_LOOP_ENGINE_H
#define PAXSHM_NET_LOOP_ENGINE_H

#include "loop.h"

#define LOOP_ACCEPT_PAUSE_MS 100u
#define LOOP_FD_MAX (1 << 26) /* a descriptor's number fits a completion's name */

enum loop_which { LOOP_IN,
		  LOOP_OUT,
		  LOOP_SIDES };
enum loop_op { LOOP_OP_NONE,
	       LOOP_OP_ACCEPT,
	       LOOP_OP_RECEIVE,
	       LOOP_OP_POLL,
	       LOOP_OP_CONNECT,
	       LOOP_OP_SEND };
enum loop_state { LOOP_FREE,
		  LOOP_QUEUED,
		  LOOP_ARMED };

struct loop_side {
	uint64_t tag;
	uint64_t not_before_ns;     /* QUEUED: armed not before this time; 0: in the next turn */
	const unsigned char *bytes; /* SEND: the caller's; CONNECT: our copy of the address */
	size_t len, done;
	uint32_t generation; /* of the watch: a completion with another one is of a forgotten watch */
	uint8_t op, state;
	bool in_queue;   /* has a place in the queue, perhaps of an earlier watch */
	bool wait_ready; /* io_uring: the kernel would not wait for this operation itself: poll first */
};

struct loop_fd {
	struct loop_side side[LOOP_SIDES];
	uint32_t interest; /* epoll: what the kernel was asked for; 0: nothing */
};

struct loop_ref {
	int fd;
	enum loop_which which;
};

struct loop_ops {
	const char *(*name)(const struct loop *l);
	void (*close)(struct loop *l);
	/* Hands a QUEUED side to the kernel; it is ARMED afterwards, or complete. False: no room, try in the next turn. */
	bool (*arm)(struct loop *l, int fd, enum loop_which which);
	/* Takes back what is ARMED on both sides: no buffer of theirs is touched afterwards. */
	void (*disarm)(struct loop *l, int fd);
	int (*turn)(struct loop *l, uint64_t deadline_ns);
};

struct loop {
	const struct loop_ops *ops;
	struct loop_fd *fds; /* by number; moves when it grows: never kept across a handler */
	int n_fds;
	struct loop_ref *queue;
	unsigned n_queue;
	uint32_t generation;
	struct loop_counts counts;
	uint64_t told_ns;      /* of the events told now; 0: the next one reads the clock, for a result of later */
	loop_handler *handler; /* of the turn under way, else NULL */
	void *context;
};

/* Flavours of a ring, from best to plainest; open takes the first from `flavour` on that the kernel has. */
enum loop_flavour { LOOP_DEFERRED,
		    LOOP_COOPERATIVE,
		    LOOP_PLAIN,
		    LOOP_FLAVOURS };

int loop_uring_open(struct loop **ret, enum loop_flavour flavour, const char **ret_why);
int loop_epoll_open(struct loop **ret);

uint64_t loop_now_ns(void);
struct loop_side *loop_side(struct loop *l, int fd, enum loop_which which);

/* Arms what is due; answers when the next queued side will be. */
uint64_t loop_arm_due(struct loop *l, uint64_t now_ns);
/* Back into the queue. */
void loop_queue(struct loop *l, int fd, enum loop_which which, uint64_t not_before_ns);
/* A result of an ARMED side: moves it on and tells the handler what it must know. `more`: the engine
 * stays armed. After it anything may have happened to the descriptor. */
void loop_complete(struct loop *l, int fd, enum loop_which which, int result, const unsigned char *bytes, bool more);

#endif
