/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link: the seam between agents. Whole frames to and from other hosts, in order, while a connection
 * stands; when it breaks, what was under way is lost and the agent is told.
 *
 * link_tcp stands behind it now; the simulator has its own; RDMA verbs come later.
 *
 * Who may enter: the reactor.
 */
#ifndef PAXSHM_NET_LINK_H
#define PAXSHM_NET_LINK_H

#include <netinet/in.h>

#include "loop.h"
#include "wire.h"

#define LINK_BACKLOG (4u * 1024 * 1024) /* bytes that may wait for one host; then its connection is closed */
#define LINK_HELLO_MS 2000u             /* a connection that has not said hello by then is closed */
#define LINK_STRANGERS 64u              /* connections at once that have not said hello */

struct link_peer {
	uint16_t host;
	char name[64];
	struct sockaddr_storage address;
	socklen_t address_len;
	bool dial; /* this side connects; otherwise it is connected to */
};

struct link_config {
	struct wire_hello hello; /* ours, but for `to`; history and votes may change later: link_set_hello */
	struct link_peer *peers; /* borrowed for the life of the links */
	unsigned n_peers;
	int listen_fd; /* bound and listening, -1: none; stays the caller's */
};

enum link_event_kind {
	LINK_UP,      /* hello of the other side was read and fits */
	LINK_DOWN,    /* a link that was up is gone; reason */
	LINK_FRAME,   /* a whole frame, not a hello; valid during the handler only */
	LINK_REFUSED, /* a connection was closed before it was up; host 0 when nobody knows which; reason */
};

struct link_event {
	enum link_event_kind kind;
	uint16_t host;
	const struct wire_hello *hello; /* UP */
	const unsigned char *frame;     /* FRAME */
	size_t len;
	const char *reason; /* for the log: what happened and what to do, without the host's name */
};

typedef void link_handler(void *context, const struct link_event *event);

struct links;

/* Tags of its loop watches have the top byte LINK_TAG. Dials begin with the first links_tick(). 0; -EINVAL: a host
 * that is 0, ourselves, or there twice; -ENOMEM. */
#define LINK_TAG 0x4cull
int links_open(struct links **ret, struct loop *loop, const struct link_config *config,
	       link_handler *handler, void *context);
void links_close(struct links *ls); /* NULL is fine. No events; not from a handler */

/* For connections that say hello from now on. */
void links_set_hello(struct links *ls, const struct wire_hello *hello);

/* Only links_event() and links_tick() call the handler; send and drop may be called from it. A link that they close is
 * not up any more when they return; its DOWN comes from the next turn of the loop, which does not wait. */

/* Queues a whole frame (copied): 0; -ENOTCONN: no link; -ENOBUFS: the backlog is full and the link was closed. */
int links_send(struct links *ls, uint16_t host, const void *frame, size_t len);
bool links_is_up(const struct links *ls, uint16_t host);

/* A loop event with LINK_TAG. */
void links_event(struct links *ls, const struct loop_event *event, uint64_t now_ns);
/* Once a turn, before flush: starts dials and ends silent connections that are due; answers when to be called next. */
uint64_t links_tick(struct links *ls, uint64_t now_ns);
/* Hands what was queued since the last call to the loop: at most one send for each connection. */
void links_flush(struct links *ls);

/* Closes the link to a host whose frames make no sense. */
void links_drop(struct links *ls, uint16_t host, const char *reason);

#endif
