/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open: from "which agent?" to a session: find the socket, greet, check what came back, map it.
 * Nothing that the agent sends is believed before it was checked.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../shm/arena.h"
#include "../shm/ring.h"
#include "../shm/sys.h"
#include "../shm/table.h"
#include "session.h"

#define SOCKET_SYSTEM "/run/paxshm/agent.sock"
#define SOCKET_BESIDE "/paxshm/agent.sock" /* below XDG_RUNTIME_DIR */
#define WELCOME_FDS 4u
#define NAP_MS 20

/* Why the last paxshm_open() of this thread failed. */
static __thread char reason[512];

const char *paxshm_open_reason(void)
{
	return reason;
}

__attribute__((format(printf, 2, 3))) static int refuse(int rc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	return rc;
}

/* ---- what the caller wants ---- */

struct wish {
	const char *socket, *cluster, *space; /* socket NULL: the usual places; cluster "": any */
	uint32_t flags;
	uint64_t timeout_ns;
	paxshm_fatal_handler *fatal;
	void *fatal_context;
};

static const char *first_set(const char *option, const char *variable, const char *otherwise)
{
	const char *value = option && *option ? option : secure_getenv(variable);

	return value && *value ? value : otherwise;
}

static int wish_from(const struct paxshm_options *options, struct wish *ret)
{
	struct paxshm_options o = { .size = sizeof(o) };

	if (options) {
		if (options->size < sizeof(o))
			return refuse(-EINVAL, "struct paxshm_options: size is not set (PAXSHM_INIT)");
		o = *options;
	}
	if (o.flags & ~PAXSHM_KEEP_LIFE)
		return refuse(-EINVAL, "struct paxshm_options: unknown flags %#x", o.flags);
	*ret = (struct wish){
		.socket = first_set(o.socket, "PAXSHM_SOCKET", NULL),
		.cluster = first_set(o.cluster, "PAXSHM_CLUSTER", ""),
		.space = first_set(o.space, "PAXSHM_SPACE", "default"),
		.flags = o.flags,
		.timeout_ns = (o.agent_timeout_ms ? o.agent_timeout_ms : AGENT_TIMEOUT_MS) * NS_PER_MS,
		.fatal = o.fatal,
		.fatal_context = o.fatal_context,
	};
	if (strlen(ret->cluster) >= NAME_BYTES || strlen(ret->space) >= NAME_BYTES)
		return refuse(-ENAMETOOLONG, "names of clusters and spaces have at most %u bytes", NAME_BYTES - 1);
	return 0;
}

/* ---- the socket ---- */

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = NAP_MS * 1000000l }, NULL);
}

/* A connected socket, or negative errno. */
static int connect_to(const char *path, uint64_t deadline_ns)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, rc;

	if (strlen(path) >= sizeof(address.sun_path))
		return refuse(-ENAMETOOLONG, "%s: a socket's path has at most %zu bytes", path,
			      sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return refuse(-errno, "a socket: %s", strerrordesc_np(errno));
	for (;;) {
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
			return fd;
		rc = -errno;
		/* EAGAIN: its queue is full of others that want in. */
		if ((rc != -EAGAIN && rc != -EINTR) || sys_now_ns() >= deadline_ns)
			break;
		nap();
	}
	close(fd);
	if (rc == -ENOENT || rc == -ENOTDIR || rc == -ECONNREFUSED)
		return refuse(-ECONNREFUSED, "%s: no agent is there (is paxshmd running?)", path);
	if (rc == -EPROTOTYPE)
		return refuse(-EPROTO, "%s: a socket, but not an agent's", path);
	if (rc == -EAGAIN)
		return refuse(-ENOTCONN, "%s: the agent lets nobody in", path);
	return refuse(rc, "%s: %s", path, strerrordesc_np(-rc));
}

static int connect_anywhere(const struct wish *w, uint64_t deadline_ns)
{
	const char *run = secure_getenv("XDG_RUNTIME_DIR");
	char path[4096];
	int first, fd;

	if (w->socket)
		return connect_to(w->socket, deadline_ns);
	first = connect_to(SOCKET_SYSTEM, deadline_ns);
	if (first >= 0 || !run || !*run)
		return first;
	if (snprintf(path, sizeof(path), "%s" SOCKET_BESIDE, run) >= (int)sizeof(path))
		return first;
	char why[sizeof(reason)];
	memcpy(why, reason, sizeof(why));
	fd = connect_to(path, deadline_ns);
	if (fd == -ECONNREFUSED) {
		if (first != -ECONNREFUSED) { /* what was wrong with the one that is there says more */
			memcpy(reason, why, sizeof(reason));
			return first;
		}
		return refuse(first, "no agent at " SOCKET_SYSTEM " nor at %s (is paxshmd running?)", path);
	}
	return fd;
}

/* ---- greeting and welcome ---- */

struct welcomed {
	struct welcome welcome;
	int fds[WELCOME_FDS];
};

static void fds_close(int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static const char *cut(char *name, size_t size)
{
	name[size - 1] = '\0';
	return name;
}

/* Checks a message of `len` bytes with n descriptors, which stay the caller's. */
static int welcome_check(const struct wish *w, struct welcome *welcome, size_t len, unsigned n)
{
	if (len < offsetof(struct welcome, slot) || welcome->magic != GREETING_MAGIC)
		return refuse(-EPROTO, "what answers on the socket is no paxshm agent");
	if (welcome->version != LAYOUT_VERSION)
		return refuse(-EPROTO, "the agent's shared memory has layout %u, this library knows %u: "
				       "install the same version of both",
			      welcome->version, LAYOUT_VERSION);
	if (len != sizeof(*welcome))
		return refuse(-EPROTO, "the agent's welcome has %zu bytes, not %zu", len, sizeof(*welcome));
	if (welcome->result < 0)
		return refuse(welcome->result, "%s", *cut(welcome->reason, sizeof(welcome->reason)) ? welcome->reason : "the agent refused and did not say why");
	cut(welcome->cluster, NAME_BYTES);
	cut(welcome->host_name, NAME_BYTES);
	if (*w->cluster && strcmp(w->cluster, welcome->cluster) != 0)
		return refuse(-EINVAL, "the agent belongs to cluster \"%s\", not to \"%s\"", welcome->cluster, w->cluster);
	if (welcome->result > 0 || n != WELCOME_FDS || !welcome->slot || welcome->slot > SESSIONS_MAX)
		return refuse(-EPROTO, "the agent's welcome makes no sense (result %d, slot %u, %u descriptors)",
			      welcome->result, welcome->slot, n);
	return 0;
}

static void greeting_for(const struct wish *w, struct greeting *ret)
{
	*ret = (struct greeting){
		.magic = GREETING_MAGIC,
		.version = LAYOUT_VERSION,
		.pid_ns = sys_namespace(0, "pid"),
		.time_ns = sys_namespace(0, "time"),
	};
	strcpy(ret->cluster, w->cluster);
	strcpy(ret->space, w->space);
}

static int refuse_late(const struct wish *w)
{
	return refuse(-ENOTCONN, "there is an agent, but it did not answer within %u ms", (unsigned)(w->timeout_ns / NS_PER_MS));
}

/* -EAGAIN: the agent hung up without a word (it died, or is being restarted): try again. */
static int greet(int socket, const struct wish *w, uint64_t deadline_ns, struct welcomed *ret)
{
	struct pollfd p = { .fd = socket, .events = POLLIN };
	struct greeting greeting;
	union {
		struct welcome welcome;
		char bytes[2048]; /* another version's may be longer */
	} in;
	int fds[16], rc;
	unsigned n = 0;

	greeting_for(w, &greeting);
	if (send(socket, &greeting, sizeof(greeting), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return -EAGAIN;
	for (;;) {
		ssize_t len = sys_recv_fds(socket, &in, sizeof(in), fds, ARRAY_LEN(fds), &n, MSG_DONTWAIT);
		uint64_t now = sys_now_ns();

		if (len > 0) {
			rc = welcome_check(w, &in.welcome, (size_t)len, n);
			if (rc) {
				fds_close(fds, n);
				return rc;
			}
			ret->welcome = in.welcome;
			memcpy(ret->fds, fds, sizeof(ret->fds));
			return 0;
		}
		if (len == -EBADMSG)
			return refuse(-EPROTO, "what answers on the socket is no paxshm agent");
		if (len == 0 || (len != -EAGAIN && len != -EINTR))
			return -EAGAIN;
		if (now >= deadline_ns)
			return refuse_late(w);
		poll(&p, 1, (int)MIN((deadline_ns - now) / NS_PER_MS + 1, 1000u));
	}
}

/* ---- the session ---- */

/* A word that is 0 in every forked child. */
static int mine_new(const uint32_t **ret)
{
	uint32_t *page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return -errno;
	if (madvise(page, sizeof(*page), MADV_WIPEONFORK) < 0) {
		int rc = -errno;
		munmap(page, sizeof(*page));
		return rc;
	}
	*page = 1;
	*ret = page;
	return 0;
}

/* Keeps the lock on the life descriptor's open file description for as long as this address space
 * lasts, and no longer: a mapping holds the description as a descriptor does, but neither a forked
 * child (MADV_DONTFORK) nor an exec inherits it, and a program that closes all its descriptors
 * does not give it up. A file that cannot be mapped is held by its descriptor. */
static int life_take(struct paxshm_session *s, int fd, bool keep)
{
	void *at = mmap(NULL, 1, PROT_NONE, MAP_PRIVATE, fd, 0);

	if (at == MAP_FAILED) {
		s->life_fd = fd;
		return 0;
	}
	s->life = at;
	if (madvise(at, 1, MADV_DONTFORK) < 0)
		return -errno;
	if (keep)
		s->life_fd = fd;
	else
		close(fd);
	return 0;
}

/* Maps one segment; the descriptor is closed: the mapping holds the memory. */
static int map(struct segment *ret, int *fd, bool writable, const char *what)
{
	int rc = segment_map(ret, *fd, writable, false);

	if (rc)
		return refuse(rc, "the agent's %s segment cannot be mapped: %s", what, strerrordesc_np(-rc));
	close(ret->fd);
	ret->fd = *fd = -1;
	return 0;
}

/* Takes over descriptors as it goes and marks them -1. */
static int session_map(struct paxshm_session *s, struct welcomed *in)
{
	const char *wrong;
	int rc;

	if ((rc = map(&s->tables_segment, &in->fds[0], false, "tables")) ||
	    (rc = map(&s->arena_segment, &in->fds[1], true, "arena")) ||
	    (rc = map(&s->rings_segment, &in->fds[2], true, "session")))
		return rc;
	s->tables = s->tables_segment.at;
	s->arena = s->arena_segment.at;
	s->rings = s->rings_segment.at;
	if ((wrong = tables_verify(s->tables, s->tables_segment.size)) ||
	    (wrong = arena_verify(s->arena, s->arena_segment.size, s->tables)) ||
	    (wrong = rings_verify(s->rings, s->rings_segment.size)))
		return refuse(-EPROTO, "the agent's shared memory does not fit this library: %s", wrong);
	if (s->rings->slot != in->welcome.slot || s->tables->self != in->welcome.host ||
	    (s->tables->n_records && in->welcome.slot > s->tables->n_sessions))
		return refuse(-EPROTO, "the agent's welcome does not fit the memory that came with it");
	s->view = arena_view(s->arena, s->tables);
	return 0;
}

static int session_new(struct paxshm_session **ret, const struct wish *w, int socket, struct welcomed *in)
{
	static uint64_t serials;
	struct paxshm_session *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return refuse(-ENOMEM, "no memory for a session");
	s->socket = s->life_fd = s->event_fd = s->timer_fd = -1;
	s->tables_segment = s->arena_segment = s->rings_segment = SEGMENT_NONE;
	pthread_mutex_init(&s->mutex, NULL);
	pthread_mutex_init(&s->adopt_mutex, NULL);
	s->serial = atom_add_relaxed(&serials, 1) + 1;
	s->slot = in->welcome.slot;
	s->host = in->welcome.host;
	memcpy(s->cluster, in->welcome.cluster, NAME_BYTES);
	memcpy(s->host_name, in->welcome.host_name, NAME_BYTES);
	s->agent_timeout_ns = w->timeout_ns;
	s->fatal = w->fatal;
	s->fatal_context = w->fatal_context;
	s->biased = bias_register();
	rc = mine_new(&s->mine);
	if (rc)
		refuse(rc, "no page that tells forked children apart: %s", strerrordesc_np(-rc));
	else
		rc = session_map(s, in);
	if (rc == 0) {
		rc = life_take(s, in->fds[3], w->flags & PAXSHM_KEEP_LIFE);
		if (rc)
			refuse(rc, "the agent's life descriptor cannot be held: %s", strerrordesc_np(-rc));
		else
			in->fds[3] = -1;
	}
	if (rc) {
		session_free(s);
		return rc;
	}
	s->socket = socket;
	*ret = s;
	return 0;
}

int paxshm_open(paxshm_session **ret_session, const struct paxshm_options *options)
{
	struct welcomed in = { 0 };
	uint64_t deadline_ns;
	struct wish w = { 0 };
	int socket, rc;

	reason[0] = '\0';
	if (!ret_session)
		return refuse(-EINVAL, "nowhere to put the session: ret_session is NULL");
	rc = wish_from(options, &w);
	if (rc)
		return rc;
	deadline_ns = sys_now_ns() + w.timeout_ns;
	for (;;) {
		socket = connect_anywhere(&w, deadline_ns);
		if (socket < 0)
			return socket;
		rc = greet(socket, &w, deadline_ns, &in);
		if (rc == 0)
			break;
		close(socket);
		if (rc != -EAGAIN)
			return rc;
		if (sys_now_ns() >= deadline_ns)
			return refuse_late(&w);
		nap();
	}
	rc = session_new(ret_session, &w, socket, &in);
	fds_close(in.fds, rc ? WELCOME_FDS : 0);
	if (rc)
		close(socket);
	return rc;
}
