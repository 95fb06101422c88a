/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop: picks the engine, keeps the watches, and decides what a result means. See loop_engine.h.
 */
#include "loop.h"

#include <errno.h>
#include <time.h>

#include "../lib/base.h"
#include "loop_engine.h"

int loop_open(struct loop **ret, enum loop_engine engine, const char **ret_why)
{
	const char *why = NULL;
	int rc = -ENOSYS;

	if (engine != LOOP_EPOLL)
		rc = loop_uring_open(ret, LOOP_DEFERRED, &why);
	if (engine == LOOP_EPOLL || (engine == LOOP_AUTO && rc == -ENOSYS))
		rc = loop_epoll_open(ret);
	if (ret_why)
		*ret_why = why;
	return rc;
}

void loop_close(struct loop *l)
{
	if (!l)
		return;
	ASSERT(!l->handler);
	for (int fd = 0; fd < l->n_fds; fd++)
		loop_forget(l, fd);
	free(l->fds);
	free(l->queue);
	l->ops->close(l);
}

const char *loop_engine_name(const struct loop *l)
{
	return l->ops->name(l);
}

struct loop_counts loop_counts(const struct loop *l)
{
	return l->counts;
}

uint64_t loop_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* ---- watches ---- */

struct loop_side *loop_side(struct loop *l, int fd, enum loop_which which)
{
	ASSERT(fd >= 0 && fd < l->n_fds);
	return &l->fds[fd].side[which];
}

/* Makes room for a descriptor and, in the queue, for both its sides. */
static int make_room(struct loop *l, int fd)
{
	int n = MAX(l->n_fds, 64);
	struct loop_ref *queue;
	struct loop_fd *fds;

	if (fd < l->n_fds)
		return 0;
	while (n <= fd)
		n *= 2;
	queue = realloc(l->queue, (size_t)n * LOOP_SIDES * sizeof(*queue));
	if (!queue)
		return -ENOMEM;
	l->queue = queue;
	fds = realloc(l->fds, (size_t)n * sizeof(*fds));
	if (!fds)
		return -ENOMEM;
	memset(fds + l->n_fds, 0, (size_t)(n - l->n_fds) * sizeof(*fds));
	l->fds = fds;
	l->n_fds = n;
	return 0;
}

void loop_queue(struct loop *l, int fd, enum loop_which which, uint64_t not_before_ns)
{
	struct loop_side *side = loop_side(l, fd, which);

	ASSERT(side->op != LOOP_OP_NONE);
	side->state = LOOP_QUEUED;
	side->not_before_ns = not_before_ns;
	if (side->in_queue)
		return;
	side->in_queue = true;
	ASSERT(l->n_queue < (unsigned)l->n_fds * LOOP_SIDES);
	l->queue[l->n_queue++] = (struct loop_ref){ .fd = fd, .which = which };
}

static int start(struct loop *l, int fd, enum loop_which which, enum loop_op op, const void *bytes, size_t len, uint64_t tag)
{
	struct loop_side *side;
	int rc;

	if (fd < 0 || fd >= LOOP_FD_MAX)
		return -EBADF;
	rc = make_room(l, fd);
	if (rc < 0)
		return rc;
	side = loop_side(l, fd, which);
	if (side->op != LOOP_OP_NONE)
		return -EBUSY;
	side->op = op;
	side->tag = tag;
	side->bytes = bytes;
	side->len = len;
	side->done = 0;
	side->wait_ready = false;
	side->generation = ++l->generation;
	loop_queue(l, fd, which, 0);
	return 0;
}

int loop_accept(struct loop *l, int fd, uint64_t tag)
{
	return start(l, fd, LOOP_IN, LOOP_OP_ACCEPT, NULL, 0, tag);
}

int loop_receive(struct loop *l, int fd, uint64_t tag)
{
	return start(l, fd, LOOP_IN, LOOP_OP_RECEIVE, NULL, 0, tag);
}

int loop_poll(struct loop *l, int fd, uint64_t tag)
{
	return start(l, fd, LOOP_IN, LOOP_OP_POLL, NULL, 0, tag);
}

int loop_send(struct loop *l, int fd, const void *bytes, size_t len, uint64_t tag)
{
	if (len == 0 || len > INT32_MAX) /* the result must be able to say it */
		return -EINVAL;
	return start(l, fd, LOOP_OUT, LOOP_OP_SEND, bytes, len, tag);
}

int loop_connect(struct loop *l, int fd, const struct sockaddr *address, socklen_t len, uint64_t tag)
{
	void *copy = malloc(len);
	int rc;

	if (!copy)
		return -ENOMEM;
	memcpy(copy, address, len);
	rc = start(l, fd, LOOP_OUT, LOOP_OP_CONNECT, copy, len, tag);
	if (rc < 0)
		free(copy);
	return rc;
}

static void end_watch(struct loop_side *side)
{
	if (side->op == LOOP_OP_CONNECT)
		free((void *)side->bytes);
	side->bytes = NULL;
	side->op = LOOP_OP_NONE;
	side->state = LOOP_FREE;
}

void loop_forget(struct loop *l, int fd)
{
	struct loop_fd *watched;

	if (fd < 0 || fd >= l->n_fds)
		return;
	watched = &l->fds[fd];
	if (watched->interest || watched->side[LOOP_IN].state == LOOP_ARMED || watched->side[LOOP_OUT].state == LOOP_ARMED)
		l->ops->disarm(l, fd);
	end_watch(&watched->side[LOOP_IN]);
	end_watch(&watched->side[LOOP_OUT]);
}

uint64_t loop_arm_due(struct loop *l, uint64_t now_ns)
{
	unsigned n = l->n_queue, kept = 0;
	uint64_t next_ns = NEVER;

	if (n == 0)
		return NEVER;
	/* Arming may call the handler, which may queue more: that is behind n. */
	for (unsigned i = 0; i < n; i++) {
		struct loop_ref ref = l->queue[i];
		struct loop_side *side = loop_side(l, ref.fd, ref.which);

		side->in_queue = false;
		if (side->state != LOOP_QUEUED)
			continue;
		if (side->not_before_ns <= now_ns && l->ops->arm(l, ref.fd, ref.which))
			continue;
		loop_side(l, ref.fd, ref.which)->in_queue = true;
		l->queue[kept++] = ref;
	}
	memmove(l->queue + kept, l->queue + n, (l->n_queue - n) * sizeof(*l->queue));
	l->n_queue -= n - kept;
	for (unsigned i = 0; i < l->n_queue; i++)
		next_ns = MIN(next_ns, loop_side(l, l->queue[i].fd, l->queue[i].which)->not_before_ns);
	return next_ns;
}

/* ---- results ---- */

static void tell(struct loop *l, enum loop_event_kind kind, uint64_t tag, int fd, int result, const unsigned char *bytes)
{
	struct loop_event event = { .kind = kind, .tag = tag, .fd = fd, .result = result, .bytes = bytes };

	ASSERT(l->handler);
	if (!l->told_ns)
		l->told_ns = loop_now_ns();
	event.now_ns = l->told_ns;
	l->counts.events++;
	l->handler(l->context, &event);
}

/* Ends the watch first: the handler may start the next one. */
static void tell_last(struct loop *l, enum loop_event_kind kind, struct loop_side *side, int fd, int result)
{
	uint64_t tag = side->tag;

	end_watch(side);
	tell(l, kind, tag, fd, result, NULL);
}

/* Each of these puts the side where it belongs before it tells: the handler may forget or start anything. */

static void accept_result(struct loop *l, int fd, struct loop_side *side, int result, bool more)
{
	switch (result) {
	/* accept(2): what went wrong with the new connection before it was taken. The next one may be well. */
	case -EINTR:
	case -ECONNABORTED:
	case -EPROTO:
	case -ENOPROTOOPT:
	case -EPERM:
	case -ENETDOWN:
	case -EHOSTDOWN:
	case -ENONET:
	case -EHOSTUNREACH:
	case -ENETUNREACH:
		if (!more)
			loop_queue(l, fd, LOOP_IN, 0);
		return;
	case -EMFILE:
	case -ENFILE:
	case -ENOBUFS:
	case -ENOMEM:
		loop_queue(l, fd, LOOP_IN, loop_now_ns() + LOOP_ACCEPT_PAUSE_MS * NS_PER_MS);
		tell(l, LOOP_ACCEPTED, side->tag, fd, result, NULL);
		return;
	}
	if (result < 0) {
		tell_last(l, LOOP_ACCEPTED, side, fd, result);
		return;
	}
	if (!more) {
		l->counts.rearmed++;
		loop_queue(l, fd, LOOP_IN, 0);
	}
	tell(l, LOOP_ACCEPTED, side->tag, fd, result, NULL);
}

static void receive_result(struct loop *l, int fd, struct loop_side *side, int result, const unsigned char *bytes, bool more)
{
	/* Out of provided buffers: the handlers of this turn give them back. */
	bool again = result == -ENOBUFS || result == -EINTR;

	if (result <= 0 && !again) {
		tell_last(l, LOOP_RECEIVED, side, fd, result);
		return;
	}
	if (!more) {
		l->counts.rearmed++;
		loop_queue(l, fd, LOOP_IN, 0);
	}
	if (!again)
		tell(l, LOOP_RECEIVED, side->tag, fd, result, bytes);
}

static void poll_result(struct loop *l, int fd, struct loop_side *side, int result, bool more)
{
	if (result < 0) {
		tell_last(l, LOOP_READABLE, side, fd, result);
		return;
	}
	if (!more)
		loop_queue(l, fd, LOOP_IN, 0);
	tell(l, LOOP_READABLE, side->tag, fd, 0, NULL);
}

static void send_result(struct loop *l, int fd, struct loop_side *side, int result, bool more)
{
	if (result > 0)
		side->done += (size_t)result;
	ASSERT(side->done <= side->len);
	if (result == 0 || (result < 0 && result != -EINTR))
		tell_last(l, LOOP_SENT, side, fd, result ? result : -EPIPE);
	else if (side->done == side->len)
		tell_last(l, LOOP_SENT, side, fd, (int)side->len);
	else if (!more)
		loop_queue(l, fd, LOOP_OUT, 0);
}

void loop_complete(struct loop *l, int fd, enum loop_which which, int result, const unsigned char *bytes, bool more)
{
	struct loop_side *side = loop_side(l, fd, which);

	ASSERT(side->state == LOOP_ARMED);
	switch ((enum loop_op)side->op) {
	case LOOP_OP_ACCEPT:
		accept_result(l, fd, side, result, more);
		break;
	case LOOP_OP_RECEIVE:
		receive_result(l, fd, side, result, bytes, more);
		break;
	case LOOP_OP_POLL:
		poll_result(l, fd, side, result, more);
		break;
	case LOOP_OP_CONNECT:
		tell_last(l, LOOP_CONNECTED, side, fd, result == -EISCONN ? 0 : result);
		break;
	case LOOP_OP_SEND:
		send_result(l, fd, side, result, more);
		break;
	case LOOP_OP_NONE:
		ASSERT(side->op != LOOP_OP_NONE);
	}
}

int loop_turn(struct loop *l, uint64_t deadline_ns, loop_handler *handler, void *context)
{
	int rc;

	ASSERT(!l->handler); /* no turn inside a turn */
	l->handler = handler;
	l->context = context;
	l->counts.turns++;
	rc = l->ops->turn(l, deadline_ns);
	l->handler = NULL;
	return rc;
}
