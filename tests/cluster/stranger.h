/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stranger: whoever is not a well-behaved libpaxshm or paxshmd: raw connections to a host's UNIX socket and to
 * its TCP port, that say whatever the test likes.
 */
#ifndef PAXSHM_TESTS_CLUSTER_STRANGER_H
#define PAXSHM_TESTS_CLUSTER_STRANGER_H

#include <stdbool.h>
#include <stddef.h>

#include "../../net/wire.h"
#include "../../shm/layout.h"

/* ---- at the UNIX socket ---- */

int stranger_knock(unsigned n);          /* a connection */
struct greeting stranger_greeting(void); /* one that is in order */
/* Sends a message and takes the welcome that comes back. False: the connection was closed without one. */
bool stranger_greet(int door, const void *bytes, size_t len, struct welcome *ret);
/* Waits until the other side closes. */
void stranger_expect_end(int fd);

/* A session by hand; nothing here asserts, so a forked child may use it. False: it was not let in. */
struct raw_session {
	int socket;
	uint32_t slot;
	const struct tables *tables;
	struct arena *arena;
	struct session_rings *rings;
};

bool raw_open(struct raw_session *ret, const char *socket);
/* Tells the agent that something stands in the ring. */
void raw_announce(struct raw_session *s);
/* A request for `key`. */
struct ring_request raw_request(enum request_op op, uint32_t call, const char *key);

/* ---- at the TCP port ---- */

int stranger_dial(unsigned n);
/* What host n says of itself; learnt from its refusal of another cluster. */
struct wire_hello stranger_learn(unsigned n);
void stranger_say(int fd, const void *bytes, size_t len);
void stranger_say_hello(int fd, const struct wire_hello *hello);
/* Reads until a whole frame is there; its length, 0: closed instead. */
size_t stranger_hear(int fd, void *frame, size_t cap);

#endif
