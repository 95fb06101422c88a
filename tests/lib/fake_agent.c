/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fake_agent.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../../shm/atom.h"
#include "../../shm/sys.h"
#include "fake_locks.h"

static void scan(struct fake *f)
{
	struct ring_request r;

	for (uint32_t i = 1; i <= FAKE_SESSIONS && !f->paused; i++) {
		struct fake_session *s = &f->sessions[i];
		int rc;

		if (!s->rings)
			continue;
		atom_and_seq_cst(&f->arena->pending[i / 64], ~(1ull << i % 64));
		while ((rc = ring_peek(s->rings, s->head, &r)) > 0) {
			ring_publish_head(s->rings, ++s->head);
			fake_act(f, i, &r);
		}
		cr_assert_eq(rc, 0);
	}
}

/* ---- the socket ---- */

static int life_fd(struct fake *f)
{
	struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = 1 };
	int fd = open(f->life_path, O_RDONLY | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(fcntl(fd, F_OFD_SETLK, &lock), 0);
	return fd;
}

/* Segments that are spoiled copies: whoever maps them must notice. */
static int spoiled(const void *from, uint64_t size)
{
	struct segment s;

	cr_assert_eq(segment_create(&s, "spoiled", size), 0);
	memcpy(s.at, from, size);
	((struct segment_header *)s.at)->version++;
	munmap(s.at, s.size);
	return s.fd;
}

static int unsealed(uint64_t size)
{
	int fd = memfd_create("unsealed", MFD_CLOEXEC);

	cr_assert_eq(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void welcome(struct fake *f, uint32_t slot)
{
	struct fake_session *s = &f->sessions[slot];
	struct {
		struct welcome w;
		char more[64];
	} out = { .w = { .magic = GREETING_MAGIC, .version = LAYOUT_VERSION, .slot = slot, .host = FAKE_HOST, .cluster = "fake", .host_name = "alpha" } };
	int fds[4] = { segment_open_readonly(&f->tables_segment), dup(f->arena_segment.fd), dup(s->segment.fd), life_fd(f) };
	unsigned n = 4, len = sizeof(out.w);
	int swap = -1, with = -1;

	switch (f->welcome) {
	case FAKE_REFUSE:
		out.w.result = -EPERM;
		strcpy(out.w.reason, "not on a Sunday");
		n = 0;
		break;
	case FAKE_OTHER_LAYOUT:
		out.w.version++;
		len = sizeof(out);
		break;
	case FAKE_NO_MAGIC: out.w.magic++; break;
	case FAKE_SHORT: len = offsetof(struct welcome, result); break;
	case FAKE_POSITIVE: out.w.result = 1; break;
	case FAKE_TWO_FDS: n = 2; break;
	case FAKE_NO_SEALS:
		swap = 2;
		with = unsealed(sizeof(*s->rings));
		break;
	case FAKE_BAD_TABLES:
		swap = 0;
		with = spoiled(f->tables, f->tables_segment.size);
		break;
	case FAKE_BAD_ARENA:
		swap = 1;
		with = spoiled(f->arena, f->arena_segment.size);
		break;
	case FAKE_BAD_RINGS:
		swap = 2;
		with = spoiled(s->rings, s->segment.size);
		break;
	case FAKE_OTHER_SLOT: out.w.slot++; break;
	default: break;
	}
	if (swap >= 0) {
		close(fds[swap]);
		fds[swap] = with;
	}
	f->welcomes++;
	sys_send_fds(s->socket, &out, len, fds, n, MSG_NOSIGNAL);
	for (unsigned i = 0; i < 4; i++)
		close(fds[i]);
}

static void session_drop(struct fake_session *s)
{
	if (s->socket >= 0)
		close(s->socket);
	segment_release(&s->segment);
	*s = (struct fake_session){ .socket = -1, .segment = SEGMENT_NONE };
}

static void let_in(struct fake *f)
{
	int socket = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
	uint32_t slot = 1;

	while (f->sessions[slot].rings)
		cr_assert_leq(++slot, FAKE_SESSIONS);
	struct fake_session *s = &f->sessions[slot];
	if (f->hang_ups || f->welcome == FAKE_HANG_UP) {
		f->hang_ups -= f->hang_ups ? 1 : 0;
		close(socket);
		return;
	}
	s->socket = socket;
	cr_assert_eq(segment_create(&s->segment, "session", sizeof(*s->rings)), 0);
	s->rings = s->segment.at;
	rings_format(s->rings, slot, FAKE_INCARNATION);
	cr_assert_eq(recv(socket, &f->greeting, sizeof(f->greeting), 0), sizeof(f->greeting));
	if (f->welcome == FAKE_SILENT)
		return;
	fake_session_show(f, slot, true);
	welcome(f, slot);
	if (f->welcome != FAKE_WELCOME)
		session_drop(s);
}

static void hear(struct fake *f, struct fake_session *s)
{
	unsigned n;
	char byte;
	int fd;
	ssize_t len = sys_recv_fds(s->socket, &byte, 1, &fd, 1, &n, MSG_DONTWAIT);

	if (len == 1 && byte == SOCKET_ADOPT && n == 1) {
		unsigned char said = (unsigned char)f->adopt_errno, late = EMFILE;

		f->adopts++;
		close(fd);
		if (f->adopt_late) {
			f->adopts_kept++;
			return;
		}
		for (; f->adopts_kept; f->adopts_kept--)
			send(s->socket, &late, 1, MSG_NOSIGNAL);
		send(s->socket, &said, 1, MSG_NOSIGNAL);
	} else if (len == 0 || (len < 0 && len != -EAGAIN)) {
		close(s->socket);
		s->socket = -1;
	} else if (len > 0) {
		cr_assert_eq(byte, SOCKET_RING);
		cr_assert_eq(n, 0);
	}
}

static void *serve(void *context)
{
	struct fake *f = context;
	uint64_t stirred;

	fake_lock(f);
	while (!f->stop) {
		struct pollfd p[FAKE_SESSIONS + 2] = { { .fd = f->listener, .events = POLLIN }, { .fd = f->stir, .events = POLLIN } };

		for (unsigned i = 1; i <= FAKE_SESSIONS; i++)
			p[i + 1] = (struct pollfd){ .fd = f->sessions[i].socket, .events = POLLIN };
		atom_store_seq_cst(&f->tables->agent_sleeps, 1u);
		scan(f);
		pthread_mutex_unlock(&f->mutex);
		poll(p, FAKE_SESSIONS + 2, -1);
		pthread_mutex_lock(&f->mutex);
		atom_store_seq_cst(&f->tables->agent_sleeps, 0u);
		if (p[1].revents)
			(void)!read(f->stir, &stirred, sizeof(stirred));
		if (p[0].revents)
			let_in(f);
		for (unsigned i = 1; i <= FAKE_SESSIONS; i++)
			if (p[i + 1].revents && f->sessions[i].socket == p[i + 1].fd)
				hear(f, &f->sessions[i]);
	}
	pthread_mutex_unlock(&f->mutex);
	return NULL;
}

/* ---- for tests ---- */

void fake_lock(struct fake *f)
{
	pthread_mutex_lock(&f->mutex);
}

void fake_unlock(struct fake *f)
{
	uint64_t one = 1;

	pthread_mutex_unlock(&f->mutex);
	(void)!write(f->stir, &one, sizeof(one));
}

static void tables_make(struct fake *f)
{
	struct table_capacity capacity = table_capacity_for(64);

	capacity.gates = FAKE_LOCKS;
	capacity.sessions = FAKE_SESSIONS;
	cr_assert_eq(segment_create(&f->tables_segment, "tables", tables_size(&capacity)), 0);
	cr_assert_eq(segment_create(&f->arena_segment, "arena", arena_size(capacity.gates, tables_records(&capacity))), 0);
	f->tables = f->tables_segment.at;
	f->arena = f->arena_segment.at;
	tables_format(f->tables, &capacity, "fake", FAKE_HOST);
	arena_format(f->arena, f->tables);
	f->view = arena_view(f->arena, f->tables);
	strcpy(tables_host(f->tables, FAKE_HOST)->name, "alpha");
	strcpy(tables_host(f->tables, FAKE_OTHER)->name, "beta");
	tables_host(f->tables, FAKE_HOST)->role = tables_host(f->tables, FAKE_OTHER)->role = HOST_VOTER;
	tables_host(f->tables, FAKE_HOST)->incarnation = FAKE_INCARNATION;
	f->tables->incarnation = FAKE_INCARNATION;
	f->tables->host_lease_ns = 3600 * NS_PER_S;
	f->tables->fresh_as_of_ns = sys_now_ns();
	fake_lease(f, NEVER);
	f->tables->quorum = f->tables->ready = 1;
	f->tables->leader = FAKE_OTHER;
	f->tables->role = HOST_VOTER;
}

void fake_start(struct fake *f)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	memset(f, 0, sizeof(*f));
	strcpy(f->dir, "/tmp/paxshm-fake-XXXXXX");
	cr_assert(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/agent.sock", f->dir);
	snprintf(f->life_path, sizeof(f->life_path), "%s/lock", f->dir);
	close(open(f->life_path, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
	tables_make(f);
	for (unsigned i = 0; i <= FAKE_SESSIONS; i++)
		f->sessions[i] = (struct fake_session){ .socket = -1, .segment = SEGMENT_NONE };
	f->stir = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	f->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	strcpy(address.sun_path, f->path);
	cr_assert_eq(bind(f->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	cr_assert_eq(listen(f->listener, 16), 0);
	pthread_mutexattr_t attr;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&f->mutex, &attr);
	pthread_mutexattr_destroy(&attr);
	cr_assert_eq(pthread_create(&f->thread, NULL, serve, f), 0);
}

void fake_stop(struct fake *f)
{
	fake_lock(f);
	f->stop = true;
	fake_unlock(f);
	pthread_join(f->thread, NULL);
	for (unsigned i = 1; i <= FAKE_SESSIONS; i++)
		session_drop(&f->sessions[i]);
	segment_release(&f->tables_segment);
	segment_release(&f->arena_segment);
	close(f->listener);
	close(f->stir);
	unlink(f->path);
	unlink(f->life_path);
	rmdir(f->dir);
}

static uint64_t clock_gap_ns(void)
{
	struct timespec real;

	clock_gettime(CLOCK_REALTIME, &real);
	return (uint64_t)real.tv_sec * NS_PER_S + (uint64_t)real.tv_nsec - sys_now_ns();
}

/* In the agent's order: see lease_check.h. */
void fake_lease(struct fake *f, uint64_t ns)
{
	bool plain = ns == 0 || ns == NEVER;

	atom_store_release(&f->tables->deadline_boot_ns, plain ? ns | (ns == 0) : sys_boot_ns() + ns);
	atom_store_release(&f->tables->deadline_ns, plain ? ns | (ns == 0) : sys_now_ns() + ns);
	atom_store_release(&f->tables->clock_gap_ns, clock_gap_ns());
}

void fake_until(struct fake *f, const unsigned *counter, unsigned n)
{
	for (bool reached = false; !reached;) {
		fake_lock(f);
		reached = *counter >= n;
		pthread_mutex_unlock(&f->mutex);
		if (!reached)
			usleep(500);
	}
}

void fake_hang_up(struct fake *f)
{
	fake_lock(f);
	for (unsigned i = 1; i <= FAKE_SESSIONS; i++)
		if (f->sessions[i].socket >= 0) {
			shutdown(f->sessions[i].socket, SHUT_RDWR); /* at once: the thread may be in poll(2) with it */
			close(f->sessions[i].socket);
			f->sessions[i].socket = -1;
		}
	fake_unlock(f);
}

paxshm_session *fake_open(struct fake *f, uint32_t agent_timeout_ms)
{
	struct paxshm_options options = PAXSHM_INIT(options);
	paxshm_session *s = NULL;

	options.socket = f->path;
	options.agent_timeout_ms = agent_timeout_ms;
	int rc = paxshm_open(&s, &options);
	cr_assert_eq(rc, 0, "%d: %s", rc, paxshm_open_reason());
	fake_lock(f); /* by now it has closed its own copies of what it sent */
	fake_unlock(f);
	return s;
}

unsigned fake_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}
