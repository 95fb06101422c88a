/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "doorman.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "../../shm/sys.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* since Linux 6.5 */
#endif

#define REASON_BYTES sizeof(((struct welcome *)0)->reason)

/* ---- who ---- */

static int peer_pidfd(int socket, pid_t pid)
{
	int fd;
	socklen_t len = sizeof(fd);

	if (!getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &len))
		return fd;
	if (errno != ENOPROTOOPT)
		return -errno;
	/* An older kernel: between connect and here the pid could have passed to another process,
	 * but only if the first one ended while a child of it held the socket open. */
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	return fd < 0 ? -errno : fd;
}

static bool has_ended(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, 0) != 0;
}

int doorman_identify(int socket, struct visitor *ret)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	struct visitor v = { .pidfd = -1 };
	int rc;

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return -errno;
	if (cred.pid <= 0)
		return -ESRCH;
	v.identity.pid = (uint32_t)cred.pid;
	v.identity.uid = cred.uid;
	v.identity.gid = cred.gid;
	v.pidfd = peer_pidfd(socket, cred.pid);
	if (v.pidfd < 0)
		return v.pidfd == -EINVAL ? -ESRCH : v.pidfd;
	rc = sys_start_time(cred.pid, &v.identity.start);
	sys_program(cred.pid, v.identity.program, sizeof(v.identity.program));
	/* It lives now, so its pid was not used again before, and the start time is its own. */
	if (!rc && has_ended(v.pidfd))
		rc = -ESRCH;
	if (rc) {
		close(v.pidfd);
		return rc == -ENOENT ? -ESRCH : rc;
	}
	*ret = v;
	return 0;
}

/* ---- the greeting ---- */

int doorman_parse(const void *bytes, size_t len, struct greeting *ret)
{
	struct greeting g = { 0 };

	if (len < offsetof(struct greeting, flags))
		return -EBADMSG;
	memcpy(&g, bytes, MIN(len, sizeof(g)));
	if (g.magic != GREETING_MAGIC)
		return -EBADMSG;
	if (g.version != LAYOUT_VERSION) {
		*ret = g;
		return -EPROTO;
	}
	if (len != sizeof(g) || !memchr(g.cluster, 0, sizeof(g.cluster)) || !memchr(g.space, 0, sizeof(g.space)))
		return -EBADMSG;
	*ret = g;
	return 0;
}

void doorman_look_around(struct house *h)
{
	h->pid_ns = sys_namespace(0, "pid");
	h->time_ns = sys_namespace(0, "time");
}

/* Unknown on either side differs from nothing. */
static bool differs(uint64_t ours, uint64_t theirs)
{
	return ours && theirs && ours != theirs;
}

static bool is_outside(const struct visitor *v, const char *name, uint64_t ours, uint64_t said)
{
	/* What the kernel says; without the right to ask, what the visitor says. */
	uint64_t seen = sys_namespace((pid_t)v->identity.pid, name);

	return differs(ours, seen ? seen : said);
}

int doorman_judge(const struct house *h, const struct visitor *v, const struct greeting *g, int rc, char *reason)
{
	if (rc == -EPROTO) {
		snprintf(reason, REASON_BYTES,
			 "libpaxshm of this program speaks layout %u, the agent layout %u: install the same version of both",
			 g->version, LAYOUT_VERSION);
		return -EPROTO;
	}
	if (rc) {
		snprintf(reason, REASON_BYTES, "this is not a greeting of libpaxshm");
		return -EPROTO;
	}
	if (g->cluster[0] && strcmp(g->cluster, h->cluster)) {
		snprintf(reason, REASON_BYTES, "cluster \"%.63s\" was asked for, this agent serves cluster \"%.63s\"",
			 g->cluster, h->cluster);
		return -EINVAL;
	}
	if (g->space[0] && strcmp(g->space, "default")) {
		snprintf(reason, REASON_BYTES, "space \"%.63s\" is not known here; the one space there is, is \"default\"",
			 g->space);
		return -EINVAL;
	}
	if (is_outside(v, "pid", h->pid_ns, g->pid_ns)) {
		snprintf(reason, REASON_BYTES,
			 "this program is in another pid namespace than the agent, which could not tell its processes apart: "
			 "run both in the same one");
		return -EPERM;
	}
	if (is_outside(v, "time", h->time_ns, g->time_ns)) {
		snprintf(reason, REASON_BYTES,
			 "this program is in another time namespace than the agent, so deadlines would differ: run both in the "
			 "same one");
		return -EPERM;
	}
	return 0;
}

/* ---- the answer ---- */

static struct welcome begin_welcome(const struct house *h)
{
	struct welcome w = { .magic = GREETING_MAGIC, .version = LAYOUT_VERSION, .host = h->host };

	snprintf(w.cluster, sizeof(w.cluster), "%s", h->cluster);
	snprintf(w.host_name, sizeof(w.host_name), "%s", h->host_name);
	return w;
}

int doorman_welcome(int socket, const struct house *h, uint32_t slot, const int fds[4])
{
	struct welcome w = begin_welcome(h);

	w.slot = slot;
	return sys_send_fds(socket, &w, sizeof(w), fds, 4, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void doorman_refuse(int socket, const struct house *h, int result, const char *reason)
{
	struct welcome w = begin_welcome(h);

	w.result = result;
	snprintf(w.reason, sizeof(w.reason), "%s", reason);
	/* If he has gone meanwhile there is nobody to tell. */
	sys_send_fds(socket, &w, sizeof(w), NULL, 0, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int doorman_life(int life_fd)
{
	char path[40];
	struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = LIFE_BYTE, .l_len = 1 };
	int fd, rc;

	/* Opened anew, not duplicated: a lock belongs to what was opened, and this process can then
	 * give up its own one only. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", life_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_OFD_SETLK, &lock)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

/* ---- later messages ---- */

#define DRAIN_AT_ONCE 8
#define DRAIN_ROUNDS 32 /* then others get their turn */

struct control { /* room for more descriptors than are allowed, so that none is cut off unseen */
	_Alignas(struct cmsghdr) char bytes[CMSG_SPACE(4 * sizeof(int))];
};

static unsigned take_fds(struct msghdr *m, int *ret, unsigned max)
{
	unsigned n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (n < max)
				ret[n++] = fd;
			else
				close(fd);
		}
	}
	return n;
}

static unsigned sort_message(struct msghdr *m, size_t len, char first, void (*adopt)(void *, int), void *context)
{
	int fds[4];
	unsigned n = take_fds(m, fds, ARRAY_LEN(fds));

	if (len == 1 && first == SOCKET_RING && !n)
		return DOORMAN_RUNG;
	if (len == 1 && first == SOCKET_ADOPT && n == 1) {
		adopt(context, fds[0]);
		return 0;
	}
	while (n)
		close(fds[--n]);
	return len ? DOORMAN_NONSENSE : DOORMAN_GONE;
}

unsigned doorman_drain(int socket, void (*adopt)(void *context, int fd), void *context, bool *ret_more)
{
	struct mmsghdr message[DRAIN_AT_ONCE];
	struct iovec io[DRAIN_AT_ONCE];
	struct control control[DRAIN_AT_ONCE];
	char bytes[DRAIN_AT_ONCE][2]; /* the second tells a message that is too long */
	unsigned kinds = 0;

	*ret_more = false;
	for (int round = 0; round < DRAIN_ROUNDS; round++) {
		for (unsigned i = 0; i < DRAIN_AT_ONCE; i++) {
			io[i] = (struct iovec){ .iov_base = bytes[i], .iov_len = 2 };
			message[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &io[i], .msg_iovlen = 1, .msg_control = &control[i], .msg_controllen = sizeof(control[i]) } };
		}
		int n = recvmmsg(socket, message, DRAIN_AT_ONCE, MSG_DONTWAIT | MSG_CMSG_CLOEXEC, NULL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? kinds : kinds | DOORMAN_GONE;
		for (int i = 0; i < n; i++) {
			kinds |= sort_message(&message[i].msg_hdr, message[i].msg_len, bytes[i][0], adopt, context);
			if (kinds & (DOORMAN_GONE | DOORMAN_NONSENSE)) {
				/* The rest is not looked at, but its descriptors are ours by now. */
				for (int fds[4], k, rest = i + 1; rest < n; rest++)
					for (k = (int)take_fds(&message[rest].msg_hdr, fds, 4); k;)
						close(fds[--k]);
				return kinds;
			}
		}
		if (n < DRAIN_AT_ONCE)
			return kinds;
	}
	*ret_more = true;
	return kinds;
}

/* A number behind "name:" in a file of lines; -1: none. */
static long field_of(const char *path, const char *name)
{
	char line[256];
	size_t len = strlen(name);
	long value = -1;
	FILE *file = fopen(path, "re");

	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, name, len) && line[len] == ':') {
			value = strtol(line + len + 1, NULL, 10);
			break;
		}
	fclose(file);
	return value;
}

static bool is_pidfd(int fd)
{
	char path[64], target[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return false;
	target[n] = 0;
	/* An anonymous inode until pidfs (Linux 6.9). */
	return !strcmp(target, "anon_inode:[pidfd]") || !strncmp(target, "pidfd:", 6);
}

int doorman_check_pidfd(int fd, uint32_t uid)
{
	char path[64];
	long pid, owner;

	if (!is_pidfd(fd))
		return -EBADF;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	pid = field_of(path, "Pid");
	if (pid <= 0)
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%ld/status", pid);
	owner = field_of(path, "Uid"); /* the real one */
	if (owner < 0 || has_ended(fd))
		return -ESRCH;
	return uid == 0 || (uint32_t)owner == uid ? 0 : -EPERM;
}
