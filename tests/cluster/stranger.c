/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "stranger.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "../../shm/arena.h"
#include "../../shm/ring.h"
#include "../../shm/sys.h"
#include "rig.h"

/* ---- at the UNIX socket ---- */

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

int stranger_knock(unsigned n)
{
	int fd = connect_to(rig->host[n].socket);

	cr_assert(fd >= 0);
	return fd;
}

struct greeting stranger_greeting(void)
{
	return (struct greeting){
		.magic = GREETING_MAGIC,
		.version = LAYOUT_VERSION,
		.pid_ns = sys_namespace(0, "pid"),
		.time_ns = sys_namespace(0, "time"),
	};
}

bool stranger_greet(int door, const void *bytes, size_t len, struct welcome *ret)
{
	struct pollfd p = { .fd = door, .events = POLLIN };
	int fds[4];
	unsigned n = 0;

	if (send(door, bytes, len, MSG_NOSIGNAL) < 0)
		return false;
	cr_assert_eq(poll(&p, 1, RIG_PATIENCE_MS), 1, "nobody answers at the door");
	ssize_t got = sys_recv_fds(door, ret, sizeof(*ret), fds, 4, &n, 0);
	while (n)
		close(fds[--n]);
	return got == sizeof(*ret);
}

void stranger_expect_end(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char bytes[512];
	ssize_t n;

	do {
		cr_assert_eq(poll(&p, 1, RIG_PATIENCE_MS), 1, "the connection stays open");
		n = recv(fd, bytes, sizeof(bytes), 0);
	} while (n > 0);
	cr_assert(n == 0 || errno == ECONNRESET);
}

static void *map_whole(int fd, int prot)
{
	struct stat st;
	void *at = fstat(fd, &st) ? MAP_FAILED : mmap(NULL, (size_t)st.st_size, prot, MAP_SHARED, fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

bool raw_open(struct raw_session *ret, const char *socket)
{
	struct greeting g = stranger_greeting();
	struct welcome w;
	int fds[4], fd = connect_to(socket);
	unsigned n = 0;

	if (fd < 0 || send(fd, &g, sizeof(g), MSG_NOSIGNAL) != sizeof(g) || sys_recv_fds(fd, &w, sizeof(w), fds, 4, &n, 0) != sizeof(w) || n != 4)
		return false;
	*ret = (struct raw_session){
		.socket = fd,
		.slot = w.slot,
		.tables = map_whole(fds[0], PROT_READ),
		.arena = map_whole(fds[1], PROT_READ | PROT_WRITE),
		.rings = map_whole(fds[2], PROT_READ | PROT_WRITE),
	};
	close(fds[0]), close(fds[1]), close(fds[2]); /* and the life descriptor stays open */
	return ret->tables && ret->arena && ret->rings;
}

void raw_announce(struct raw_session *s)
{
	if (arena_announce(s->arena, s->tables, s->slot))
		(void)!send(s->socket, "r", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

struct ring_request raw_request(enum request_op op, uint32_t call, const char *key)
{
	struct ring_request r = { .op = op, .call = call, .mode = op == REQUEST_ACQUIRE ? 5 : 0, .key_len = (uint8_t)strlen(key) };

	memcpy(r.key, key, r.key_len);
	return r;
}

/* ---- at the TCP port ---- */

int stranger_dial(unsigned n)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(rig->host[n].port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	cr_assert(fd >= 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

void stranger_say(int fd, const void *bytes, size_t len)
{
	/* It may be closed while we speak. */
	while (len) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

		if (n < 0)
			break;
		bytes = (const char *)bytes + n;
		len -= (size_t)n;
	}
}

void stranger_say_hello(int fd, const struct wire_hello *hello)
{
	unsigned char frame[WIRE_HELLO_SIZE];

	cr_assert_eq(wire_put_hello(frame, sizeof(frame), hello), WIRE_HELLO_SIZE);
	stranger_say(fd, frame, sizeof(frame));
}

size_t stranger_hear(int fd, void *frame, size_t cap)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t len = 0;

	for (;;) {
		int whole = wire_frame_length(frame, len);

		cr_assert(whole >= 0 && (size_t)whole <= cap);
		if (whole && len == (size_t)whole)
			return len;
		size_t want = whole ? (size_t)whole : WIRE_HEADER;

		cr_assert_eq(poll(&p, 1, RIG_PATIENCE_MS), 1, "it says nothing");
		ssize_t n = recv(fd, (char *)frame + len, want - len, 0);
		if (n <= 0)
			return 0;
		len += (size_t)n;
	}
}

struct wire_hello stranger_learn(unsigned n)
{
	struct wire_hello ours = { .cluster_id = 1, .from = 1, .to = (uint16_t)n }, theirs;
	unsigned char frame[256];
	int fd = stranger_dial(n);
	size_t len;

	stranger_say_hello(fd, &ours);
	len = stranger_hear(fd, frame, sizeof(frame));
	cr_assert_gt(len, 0);
	cr_assert_eq(wire_get_hello(frame, len, &theirs), 0);
	cr_assert_eq(theirs.from, n);
	cr_assert_eq(theirs.to, 0, "a refusal");
	close(fd);
	return theirs;
}
