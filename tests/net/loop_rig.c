/* SPDX-License-Identifier: Apache-2.0 */
/* loop_rig: see loop_rig.h. */
#define _GNU_SOURCE
#include "loop_rig.h"

#include <errno.h>
#include <unistd.h>

#include "../../lib/base.h"

struct loop *open_engine(int engine)
{
	const char *why = NULL;
	struct loop *l = NULL;
	int rc = engine == EPOLL ? loop_epoll_open(&l) : loop_uring_open(&l, (enum loop_flavour)engine, &why);

	if (rc == -ENOSYS)
		cr_skip_test("%s", why);
	cr_assert_eq(rc, 0);
	return l;
}

/* ---- what came ---- */

struct loop_event came[CAME_MAX];
unsigned n_came;
unsigned char bytes_came[16 << 20];
size_t n_bytes;

void record_event(void *context, const struct loop_event *event)
{
	(void)context;
	cr_assert_lt(n_came, ARRAY_LEN(came));
	came[n_came++] = *event;
	if (event->kind == LOOP_RECEIVED && event->result > 0) {
		cr_assert_leq(n_bytes + (size_t)event->result, sizeof(bytes_came));
		memcpy(bytes_came + n_bytes, event->bytes, (size_t)event->result);
		n_bytes += (size_t)event->result;
	}
}

unsigned count_events(enum loop_event_kind kind, uint64_t tag)
{
	unsigned n = 0;

	for (unsigned i = 0; i < n_came; i++)
		n += came[i].kind == kind && came[i].tag == tag;
	return n;
}

const struct loop_event *last_event(enum loop_event_kind kind, uint64_t tag)
{
	for (unsigned i = n_came; i-- > 0;)
		if (came[i].kind == kind && came[i].tag == tag)
			return &came[i];
	cr_assert_fail("no event of kind %d for tag %llu", kind, (unsigned long long)tag);
	return NULL;
}

void settle_loop(struct loop *l)
{
	for (int i = 0; i < 5; i++)
		cr_assert_eq(loop_turn(l, loop_now_ns() + 5 * NS_PER_MS, record_event, NULL), 0);
}

void make_pair(int pair[2])
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
}

int listen_somewhere(struct sockaddr_in *ret)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*ret);

	*ret = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	cr_assert_eq(bind(fd, (struct sockaddr *)ret, len), 0);
	cr_assert_eq(listen(fd, 128), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)ret, &len), 0);
	return fd;
}

int connect_to(const struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(connect(fd, (const struct sockaddr *)address, sizeof(*address)), 0);
	return fd;
}
