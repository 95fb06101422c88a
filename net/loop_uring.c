/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_uring: one ring, one system call a turn. That call submits everything armed since the last
 * turn, runs the completions that were deferred to us, and waits.
 *
 * Needs what Linux 6.0 brought together: a ring of provided buffers, multishot receive, synchronous
 * cancelling. All of it is tried when the ring is opened; where something is missing the answer is
 * -ENOSYS and epoll does the work.
 *
 * Listeners are polled, and connections taken by a call of their own. An accept in the ring waits
 * exclusively: of all who wait for one socket, one is woken. A killed agent's ring goes on waiting for
 * some milliseconds while its successor listens to the same socket, and would be the one that is
 * woken; nobody would take that connection before another one comes. Polls are woken all.
 *
 * Polls are armed again after each report, by the submission that is made anyway: a multishot poll
 * reports edges, and a handler that leaves something unread would never hear of it again.
 *
 * The name of a request (user_data): generation 32 | operation 3 | polled first 1 | side 1 | descriptor 27.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../lib/base.h"
#include "loop_engine.h"

#define SUBMIT_ENTRIES 256u
#define COMPLETE_ENTRIES 4096u
#define BUFFERS 64u /* a power of two */
#define BUFFER_SIZE (16u * 1024)
#define BUFFER_GROUP 1

struct loop_uring {
	struct loop base;
	struct io_uring ring;
	enum loop_flavour flavour;
	struct io_uring_buf_ring *provided; /* a page-aligned ring of descriptions, BUFFERS of them, then the buffers */
	unsigned char *buffers;
};

static const struct {
	unsigned flags;
	const char *name;
} flavours[LOOP_FLAVOURS] = {
	[LOOP_DEFERRED] = { IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, "io_uring (single issuer, deferred)" },
	[LOOP_COOPERATIVE] = { IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, "io_uring (cooperative)" },
	[LOOP_PLAIN] = { 0, "io_uring" },
};

static struct loop_uring *of(struct loop *l) { return (struct loop_uring *)l; }

/* ---- names of requests ---- */

struct request {
	uint32_t generation;
	enum loop_op op;
	bool polled;
	enum loop_which which;
	int fd;
};

static uint64_t name_of(const struct loop_side *side, int fd, enum loop_which which)
{
	return (uint64_t)side->generation << 32 | (uint64_t)side->op << 29 | (uint64_t)side->wait_ready << 28 |
	       (uint64_t)which << 27 | (uint64_t)fd;
}

static struct request request_of(uint64_t name)
{
	return (struct request){
		.generation = (uint32_t)(name >> 32),
		.op = name >> 29 & 7,
		.polled = name >> 28 & 1,
		.which = name >> 27 & 1,
		.fd = (int)(name & ((1u << 27) - 1)),
	};
}

/* ---- provided buffers: lent to the kernel but while a handler looks at one ---- */

static void lend_buffer(struct loop_uring *u, unsigned id)
{
	io_uring_buf_ring_add(u->provided, u->buffers + (size_t)id * BUFFER_SIZE, BUFFER_SIZE, (unsigned short)id,
			      BUFFERS - 1, 0);
	io_uring_buf_ring_advance(u->provided, 1);
}

#define PROVIDED_SIZE align_up(BUFFERS * sizeof(struct io_uring_buf), 4096)
#define BUFFERS_SIZE (PROVIDED_SIZE + (size_t)BUFFERS * BUFFER_SIZE)

static int provide_buffers(struct loop_uring *u)
{
	struct io_uring_buf_reg reg = { .ring_entries = BUFFERS, .bgid = BUFFER_GROUP };
	int rc;

	u->provided = mmap(NULL, BUFFERS_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (u->provided == MAP_FAILED) {
		u->provided = NULL;
		return -ENOMEM;
	}
	u->buffers = (unsigned char *)u->provided + PROVIDED_SIZE;
	reg.ring_addr = (uint64_t)(uintptr_t)u->provided;
	rc = io_uring_register_buf_ring(&u->ring, &reg, 0);
	if (rc < 0)
		return rc;
	io_uring_buf_ring_init(u->provided);
	for (unsigned id = 0; id < BUFFERS; id++)
		lend_buffer(u, id);
	return 0;
}

/* ---- arming ---- */

static struct io_uring_sqe *next_sqe(struct loop_uring *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	if (sqe)
		return sqe;
	u->base.counts.enters++;
	io_uring_submit(&u->ring);
	return io_uring_get_sqe(&u->ring);
}

static bool uring_arm(struct loop *l, int fd, enum loop_which which)
{
	struct loop_side *side = loop_side(l, fd, which);
	struct io_uring_sqe *sqe = next_sqe(of(l));

	if (!sqe)
		return false;
	switch (side->wait_ready ? LOOP_OP_POLL : (enum loop_op)side->op) {
	case LOOP_OP_RECEIVE:
		io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = BUFFER_GROUP;
		break;
	case LOOP_OP_ACCEPT:
	case LOOP_OP_POLL:
		io_uring_prep_poll_add(sqe, fd, which == LOOP_IN ? POLLIN : POLLOUT);
		break;
	case LOOP_OP_CONNECT:
		io_uring_prep_connect(sqe, fd, (const struct sockaddr *)side->bytes, (socklen_t)side->len);
		break;
	case LOOP_OP_SEND:
		io_uring_prep_send(sqe, fd, side->bytes + side->done, side->len - side->done, MSG_NOSIGNAL | MSG_WAITALL);
		break;
	case LOOP_OP_NONE:
		ASSERT(side->op != LOOP_OP_NONE);
	}
	io_uring_sqe_set_data64(sqe, name_of(side, fd, which));
	side->state = LOOP_ARMED;
	return true;
}

/* ---- taking back ---- */

/* What a submission that failed has left behind is not submitted later. */
static void withdraw(struct loop_uring *u, uint64_t name)
{
	struct io_uring_sq *sq = &u->ring.sq;

	for (unsigned i = *sq->khead; i != sq->sqe_tail; i++) {
		struct io_uring_sqe *sqe = &sq->sqes[i & *sq->kring_mask];

		if (sqe->user_data == name)
			io_uring_prep_nop(sqe);
	}
}

static void cancel(struct loop_uring *u, uint64_t name)
{
	struct io_uring_sync_cancel_reg reg = { .addr = name, .fd = -1, .timeout = { .tv_sec = -1, .tv_nsec = -1 } };
	int rc;

	do {
		u->base.counts.enters++;
		rc = io_uring_register_sync_cancel(&u->ring, &reg);
	} while (rc == -EINTR);
	ASSERT(rc == 0 || rc == -ENOENT); /* taken back; or complete, and its completion will find nobody */
}

/* A request that waits only looked for readiness so far; cancelled, it never looks again. Entering the
 * ring afterwards lets go of the requests, and so of the file: closing it then closes it. */
static void uring_disarm(struct loop *l, int fd)
{
	struct loop_uring *u = of(l);

	for (enum loop_which which = LOOP_IN; which < LOOP_SIDES; which++) {
		struct loop_side *side = loop_side(l, fd, which);

		if (side->state != LOOP_ARMED)
			continue;
		withdraw(u, name_of(side, fd, which));
		cancel(u, name_of(side, fd, which));
	}
	l->counts.enters++;
	io_uring_get_events(&u->ring);
}

/* ---- completions ---- */

static bool nobody_waits(const struct loop *l, const struct request *request)
{
	const struct loop_side *side;

	if (request->fd >= l->n_fds)
		return true;
	side = &l->fds[request->fd].side[request->which];
	return side->state != LOOP_ARMED || side->generation != request->generation;
}

/* Descriptors that do not block make some kernels give up where they would have waited. */
static bool must_poll_first(const struct loop_side *side, int result)
{
	return side->op == LOOP_OP_CONNECT ? result == -EINPROGRESS || result == -EALREADY : result == -EAGAIN;
}

/* A listener is readable, or its poll failed. One connection a turn: what is left is reported again. */
static void accept_ready(struct loop *l, int fd, int result)
{
	if (result >= 0) {
		l->counts.enters++;
		l->told_ns = 0;
		result = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (result < 0)
			result = -errno;
	}
	if (result == -EAGAIN) /* it left again before it was taken */
		loop_queue(l, fd, LOOP_IN, 0);
	else
		loop_complete(l, fd, LOOP_IN, result, NULL, false);
}

static void completed(struct loop *l, const struct request *request, int result, const unsigned char *bytes, bool more)
{
	struct loop_side *side;

	if (nobody_waits(l, request))
		return;
	if (request->op == LOOP_OP_ACCEPT) {
		accept_ready(l, request->fd, result);
		return;
	}
	side = loop_side(l, request->fd, request->which);
	if (request->polled || must_poll_first(side, result)) {
		side->wait_ready = !request->polled;
		loop_queue(l, request->fd, request->which, 0);
		return;
	}
	/* A poll's result is a mask of what is ready. */
	loop_complete(l, request->fd, request->which, side->op == LOOP_OP_POLL ? MIN(result, 0) : result, bytes, more);
}

static void reap(struct loop_uring *u, const struct io_uring_cqe *cqe)
{
	struct request request = request_of(cqe->user_data);
	unsigned flags = cqe->flags, id = flags >> IORING_CQE_BUFFER_SHIFT;
	int result = cqe->res;

	io_uring_cq_advance(&u->ring, 1); /* before the handler: it may enter the ring */
	completed(&u->base, &request, result, flags & IORING_CQE_F_BUFFER ? u->buffers + (size_t)id * BUFFER_SIZE : NULL,
		  flags & IORING_CQE_F_MORE);
	if (flags & IORING_CQE_F_BUFFER)
		lend_buffer(u, id);
}

/* The one system call of a turn. */
static int enter(struct loop_uring *u, uint64_t now_ns, uint64_t deadline_ns)
{
	struct __kernel_timespec ts = { 0 };
	struct io_uring_cqe *cqe;

	u->base.counts.enters++;
	if (deadline_ns <= now_ns || io_uring_cq_ready(&u->ring))
		return io_uring_submit_and_get_events(&u->ring);
	if (deadline_ns == NEVER)
		return io_uring_submit_and_wait(&u->ring, 1);
	ts.tv_sec = (long long)((deadline_ns - now_ns) / NS_PER_S);
	ts.tv_nsec = (long long)((deadline_ns - now_ns) % NS_PER_S);
	return io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts, NULL);
}

static int uring_turn(struct loop *l, uint64_t deadline_ns)
{
	struct loop_uring *u = of(l);
	uint64_t now_ns = deadline_ns || l->n_queue ? loop_now_ns() : 0;
	uint64_t next_ns = loop_arm_due(l, now_ns);
	int rc = enter(u, now_ns, MIN(deadline_ns, next_ns));

	l->told_ns = 0;
	/* Those that came up to now; what handlers cause is for the next turn. */
	for (unsigned n = io_uring_cq_ready(&u->ring); n; n--)
		reap(u, &u->ring.cq.cqes[*u->ring.cq.khead & *u->ring.cq.kring_mask]);

	/* Nothing came in time; a signal; short of memory or completions not yet reaped: the next turn submits the rest. */
	if (rc == -ETIME || rc == -EINTR || rc == -EAGAIN || rc == -EBUSY)
		return 0;
	return MIN(rc, 0);
}

/* ---- opening ---- */

static const char *uring_name(const struct loop *l)
{
	return flavours[((const struct loop_uring *)l)->flavour].name;
}

static void uring_close(struct loop *l)
{
	struct loop_uring *u = of(l);

	io_uring_queue_exit(&u->ring);
	if (u->provided)
		munmap(u->provided, BUFFERS_SIZE);
	free(u);
}

static const struct loop_ops uring_ops = {
	.name = uring_name, .close = uring_close, .arm = uring_arm, .disarm = uring_disarm, .turn = uring_turn
};

static int open_ring(struct loop_uring *u, enum loop_flavour flavour)
{
	int rc = -EINVAL;

	for (; flavour < LOOP_FLAVOURS && rc == -EINVAL; flavour++) {
		struct io_uring_params params = {
			.flags = flavours[flavour].flags | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
			.cq_entries = COMPLETE_ENTRIES,
		};

		u->flavour = flavour;
		rc = io_uring_queue_init_params(SUBMIT_ENTRIES, &u->ring, &params);
	}
	return rc;
}

static bool has_operations(struct io_uring *ring)
{
	static const int needed[] = { IORING_OP_CONNECT, IORING_OP_RECV, IORING_OP_SEND, IORING_OP_POLL_ADD };
	struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
	bool all = probe && ring->features & IORING_FEAT_EXT_ARG && ring->features & IORING_FEAT_NODROP;

	for (size_t i = 0; all && i < ARRAY_LEN(needed); i++)
		all = io_uring_opcode_supported(probe, needed[i]);
	io_uring_free_probe(probe);
	return all;
}

static void note_result(void *context, const struct loop_event *event)
{
	*(int *)context = event->result;
}

/* No probe tells whether a receive may be multishot, so one is made; forgetting it tries cancelling too. */
static bool receives_and_cancels(struct loop_uring *u)
{
	struct io_uring_sync_cancel_reg nothing = { .addr = UINT64_MAX, .fd = -1, .timeout = { .tv_sec = -1, .tv_nsec = -1 } };
	struct loop *l = &u->base;
	bool works = false;
	int pair[2], got = 0;

	if (io_uring_register_sync_cancel(&u->ring, &nothing) != -ENOENT)
		return false;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	if (send(pair[1], "?", 1, MSG_NOSIGNAL) == 1 && loop_receive(l, pair[0], 0) == 0 &&
	    loop_turn(l, loop_now_ns() + NS_PER_S, note_result, &got) == 0)
		works = got == 1 && loop_side(l, pair[0], LOOP_IN)->state == LOOP_ARMED;
	loop_forget(l, pair[0]);
	close(pair[0]);
	close(pair[1]);
	io_uring_cq_advance(&u->ring, io_uring_cq_ready(&u->ring));
	l->counts = (struct loop_counts){ 0 };
	return works;
}

static const char *why_not(int rc)
{
	switch (rc) {
	case -EPERM:
	case -EACCES:
		return "io_uring is forbidden here (sysctl kernel.io_uring_disabled, or a security policy)";
	case -ENOMEM:
		return "io_uring got no memory: the limit of locked memory is too low (ulimit -l, LimitMEMLOCK=)";
	default:
		return "this kernel has no io_uring, or a container's filter hides it";
	}
}

int loop_uring_open(struct loop **ret, enum loop_flavour flavour, const char **ret_why)
{
	struct loop_uring *u = calloc(1, sizeof(*u));
	int rc;

	if (!u)
		return -ENOMEM;
	u->base.ops = &uring_ops;
	rc = open_ring(u, flavour);
	if (rc < 0) {
		free(u);
		if (rc == -EMFILE || rc == -ENFILE)
			return rc;
		*ret_why = why_not(rc);
		return -ENOSYS;
	}
	if (!has_operations(&u->ring) || provide_buffers(u) < 0 || !receives_and_cancels(u)) {
		loop_close(&u->base);
		*ret_why = "this kernel's io_uring lacks multishot receive or cancelling: Linux 6.0 brings them";
		return -ENOSYS;
	}
	(void)io_uring_register_ring_fd(&u->ring); /* saves looking the ring up in each call; not vital */
	*ret = &u->base;
	return 0;
}
