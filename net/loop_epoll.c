/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_epoll: results made from readiness. Level-triggered: what is not finished in this turn is
 * reported again in the next, so each descriptor gets one operation a turn and none starves.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "../lib/base.h"
#include "loop_engine.h"

#define EVENTS_MAX 128
#define RECEIVE_MAX (64u * 1024)

struct loop_epoll {
	struct loop base;
	int epoll;
	unsigned char buffer[RECEIVE_MAX];
};

static struct loop_epoll *of(struct loop *l) { return (struct loop_epoll *)l; }

static uint32_t wanted(const struct loop_fd *watched)
{
	return (watched->side[LOOP_IN].state == LOOP_ARMED ? EPOLLIN : 0u) |
	       (watched->side[LOOP_OUT].state == LOOP_ARMED ? EPOLLOUT : 0u);
}

/* Asks the kernel for what the two sides want now. */
static int update_interest(struct loop *l, int fd)
{
	struct loop_fd *watched = &l->fds[fd];
	uint32_t want = wanted(watched);
	struct epoll_event event = { .events = want, .data.fd = fd };
	int op = !watched->interest ? EPOLL_CTL_ADD : want ? EPOLL_CTL_MOD
							   : EPOLL_CTL_DEL;

	if (want == watched->interest)
		return 0;
	l->counts.enters++;
	watched->interest = want;
	if (epoll_ctl(of(l)->epoll, op, fd, &event) == 0)
		return 0;
	watched->interest = 0;
	return -errno;
}

/* ---- one operation: a result, or NOT_YET ---- */

#define NOT_YET INT32_MIN

static int result_of(struct loop *l, ssize_t rc, int not_yet)
{
	l->counts.enters++;
	l->told_ns = 0;
	if (rc >= 0)
		return (int)rc;
	return errno == not_yet ? NOT_YET : -errno;
}

static int try_accept(struct loop *l, int fd)
{
	return result_of(l, accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), EAGAIN);
}

static int try_receive(struct loop *l, int fd)
{
	return result_of(l, recv(fd, of(l)->buffer, sizeof(of(l)->buffer), MSG_DONTWAIT), EAGAIN);
}

static int try_send(struct loop *l, int fd, const struct loop_side *side)
{
	return result_of(l, send(fd, side->bytes + side->done, side->len - side->done, MSG_NOSIGNAL | MSG_DONTWAIT), EAGAIN);
}

static int try_connect(struct loop *l, int fd, const struct loop_side *side)
{
	return result_of(l, connect(fd, (const struct sockaddr *)side->bytes, (socklen_t)side->len), EINPROGRESS);
}

static int connect_outcome(struct loop *l, int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);
	int rc = result_of(l, getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);

	return rc < 0 ? rc : -error;
}

/* ---- readiness ---- */

static void ready_in(struct loop *l, int fd)
{
	int result = 0;

	switch ((enum loop_op)loop_side(l, fd, LOOP_IN)->op) {
	case LOOP_OP_ACCEPT:
		result = try_accept(l, fd);
		break;
	case LOOP_OP_RECEIVE:
		result = try_receive(l, fd);
		break;
	default:
		break;
	}
	if (result != NOT_YET)
		loop_complete(l, fd, LOOP_IN, result, of(l)->buffer, true);
}

static void ready_out(struct loop *l, int fd)
{
	struct loop_side *side = loop_side(l, fd, LOOP_OUT);
	int result = side->op == LOOP_OP_SEND ? try_send(l, fd, side) : connect_outcome(l, fd);

	if (result != NOT_YET)
		loop_complete(l, fd, LOOP_OUT, result, NULL, true);
}

/* What a handler forgot or started in this turn is not ARMED before the next: its readiness here is another's. */
static void dispatch(struct loop *l, const struct epoll_event *event)
{
	const uint32_t broken = EPOLLHUP | EPOLLERR;
	int fd = event->data.fd;

	if (loop_side(l, fd, LOOP_IN)->state == LOOP_ARMED && event->events & (EPOLLIN | broken))
		ready_in(l, fd);
	if (loop_side(l, fd, LOOP_OUT)->state == LOOP_ARMED && event->events & (EPOLLOUT | broken))
		ready_out(l, fd);
	(void)update_interest(l, fd); /* takes back at most, and what is gone is taken back */
}

/* Sends and connects are tried at once: most succeed, and need no interest. */
static bool epoll_arm(struct loop *l, int fd, enum loop_which which)
{
	struct loop_side *side = loop_side(l, fd, which);
	uint32_t generation = side->generation;
	int result = NOT_YET;

	side->state = LOOP_ARMED;
	if (side->op == LOOP_OP_SEND)
		result = try_send(l, fd, side);
	else if (side->op == LOOP_OP_CONNECT)
		result = try_connect(l, fd, side);
	if (result != NOT_YET)
		loop_complete(l, fd, which, result, NULL, true);

	side = loop_side(l, fd, which);
	if (side->state != LOOP_ARMED || side->generation != generation)
		return true;
	result = update_interest(l, fd);
	if (result < 0)
		loop_complete(l, fd, which, result, NULL, false);
	return true;
}

static void epoll_disarm(struct loop *l, int fd)
{
	if (l->fds[fd].interest) {
		l->counts.enters++;
		(void)epoll_ctl(of(l)->epoll, EPOLL_CTL_DEL, fd, NULL);
	}
	l->fds[fd].interest = 0;
}

/* Rounded up: a turn is never over early for nothing. */
static int timeout_ms(uint64_t now_ns, uint64_t deadline_ns)
{
	if (deadline_ns == NEVER)
		return -1;
	if (deadline_ns <= now_ns)
		return 0;
	return (int)MIN((deadline_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS, (uint64_t)INT32_MAX);
}

static int epoll_turn(struct loop *l, uint64_t deadline_ns)
{
	struct epoll_event events[EVENTS_MAX];
	uint64_t events_before = l->counts.events, now_ns = loop_now_ns();
	uint64_t next_ns = loop_arm_due(l, now_ns);
	int n;

	if (l->counts.events != events_before)
		deadline_ns = 0;
	n = result_of(l, epoll_wait(of(l)->epoll, events, EVENTS_MAX, timeout_ms(now_ns, MIN(deadline_ns, next_ns))), EINTR);
	for (int i = 0; i < n; i++)
		dispatch(l, &events[i]);
	return n < 0 && n != NOT_YET ? n : 0;
}

static const char *epoll_name(const struct loop *l)
{
	(void)l;
	return "epoll";
}

static void epoll_close(struct loop *l)
{
	close(of(l)->epoll);
	free(l);
}

static const struct loop_ops epoll_ops = {
	.name = epoll_name, .close = epoll_close, .arm = epoll_arm, .disarm = epoll_disarm, .turn = epoll_turn
};

int loop_epoll_open(struct loop **ret)
{
	struct loop_epoll *e = calloc(1, sizeof(*e));
	int rc;

	if (!e)
		return -ENOMEM;
	e->base.ops = &epoll_ops;
	e->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (e->epoll < 0) {
		rc = -errno;
		free(e);
		return rc;
	}
	*ret = &e->base;
	return 0;
}
