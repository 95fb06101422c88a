/* SPDX-License-Identifier: Apache-2.0 */
/*
 * served: the memory of plain_host behind a socket, so that commands of paxctl can be run on it: one session after the
 * other, and of requests only HOLDER and CLOSE are answered. And a command, run in a child, with what it said.
 */
#ifndef PAXSHM_TESTS_TOOLS_PAXCTL_SERVED_H
#define PAXSHM_TESTS_TOOLS_PAXCTL_SERVED_H

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../tools/paxctl/paxctl.h"
#include "../../lib/plain_host.h"

struct served {
	struct plain_host *host;
	char dir[32], path[64];
	int listener;
	pthread_t thread;
	struct ring_completion holder; /* what HOLDER answers; set by tests before they run a command */
};

static inline void served_welcome(struct served *f, int socket)
{
	struct paxshm_session *s = &f->host->session;
	struct greeting greeting;
	struct welcome out = { .magic = GREETING_MAGIC, .version = LAYOUT_VERSION, .slot = 1, .host = 1, .cluster = "plain", .host_name = "host1" };
	int fds[4] = { segment_open_readonly(&s->tables_segment), s->arena_segment.fd, s->rings_segment.fd, open("/dev/null", O_RDONLY | O_CLOEXEC) };

	memset(s->rings, 0, sizeof(*s->rings));
	rings_format(s->rings, 1, PLAIN_INCARNATION);
	if (recv(socket, &greeting, sizeof(greeting), 0) == sizeof(greeting))
		sys_send_fds(socket, &out, sizeof(out), fds, 4, MSG_NOSIGNAL);
	close(fds[0]);
	close(fds[3]);
}

static inline void served_answer(struct served *f, uint32_t *head)
{
	struct session_rings *r = f->host->session.rings;
	struct ring_request request;

	while (ring_peek(r, *head, &request) == 1) {
		struct ring_completion completion = request.op == REQUEST_HOLDER ? f->holder : (struct ring_completion){ 0 };

		completion.call = request.call;
		ring_put(r, *head, &completion);
		ring_publish_head(r, ++*head);
		ring_publish_tail(r, *head);
		if (ring_bell(r, request.call))
			sys_futex_wake(&r->bell[request.call], 1);
	}
}

/* Held by the thread but where it waits: a child forked meanwhile could inherit locks, of an allocator for one, that nobody opens. */
static pthread_mutex_t served_works = PTHREAD_MUTEX_INITIALIZER;

static inline int served_accept(const struct served *f)
{
	pthread_mutex_unlock(&served_works);
	int socket = accept(f->listener, NULL, NULL);
	pthread_mutex_lock(&served_works);
	return socket;
}

static inline bool served_rung(int socket)
{
	char byte;

	pthread_mutex_unlock(&served_works);
	ssize_t n = recv(socket, &byte, 1, 0);
	pthread_mutex_lock(&served_works);
	return n == 1;
}

static inline void *served_main(void *with)
{
	struct served *f = with;
	int socket;

	pthread_mutex_lock(&served_works);
	/* The doorbell is always wanted, and is how requests are noticed. */
	atom_store_seq_cst(&f->host->tables->agent_sleeps, 1u);
	while ((socket = served_accept(f)) >= 0) {
		uint32_t head = 0;

		served_welcome(f, socket);
		while (served_rung(socket))
			served_answer(f, &head);
		close(socket);
	}
	pthread_mutex_unlock(&served_works);
	return NULL;
}

static inline void served_start(struct served *f)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	f->host = plain_host_new();
	strcpy(f->dir, "/tmp/served-XXXXXX");
	cr_assert(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/agent", f->dir);
	strcpy(at.sun_path, f->path);
	f->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(f->listener, (struct sockaddr *)&at, sizeof(at)), 0);
	cr_assert_eq(listen(f->listener, 4), 0);
	cr_assert_eq(pthread_create(&f->thread, NULL, served_main, f), 0);
	while (!atom_load_seq_cst(&f->host->tables->agent_sleeps))
		sched_yield();
	setenv("PAXSHM_SOCKET", f->path, 1);
}

static inline void served_stop(struct served *f)
{
	shutdown(f->listener, SHUT_RDWR);
	pthread_join(f->thread, NULL);
	close(f->listener);
	unlink(f->path);
	rmdir(f->dir);
	plain_host_free(f->host);
}

/* Session `slot` is this very process. */
static inline void served_be(struct served *f, uint32_t slot)
{
	struct session_row *row = tables_session(f->host->tables, slot);

	row->pid = (uint32_t)getpid();
	cr_assert_eq(sys_start_time(getpid(), &row->start), 0);
}

struct said {
	int status;
	char out[16384];
};

typedef int command(int argc, char **argv, struct common *common);

/* Runs a command in a child; up to four arguments, then NULL. Standard error stays the test's. */
static inline struct said *served_run(command *run, const char *a, const char *b, const char *c, const char *d)
{
	static struct said said;
	char *argv[] = { "paxctl command", (char *)a, (char *)b, (char *)c, (char *)d, NULL };
	int argc = 1, ends[2], status;
	size_t n = 0;
	ssize_t got;

	while (argv[argc])
		argc++;
	cr_assert_eq(pipe(ends), 0);
	fflush(stdout);
	pthread_mutex_lock(&served_works);
	pid_t child = fork();
	if (child)
		pthread_mutex_unlock(&served_works);
	if (child == 0) {
		struct common common = { 0 };

		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		int rc = run(argc, argv, &common);
		fflush(stdout);
		_exit(rc);
	}
	close(ends[1]);
	while ((got = read(ends[0], said.out + n, sizeof(said.out) - 1 - n)) > 0)
		n += (size_t)got;
	close(ends[0]);
	said.out[n] = '\0';
	cr_assert_eq(waitpid(child, &status, 0), child);
	said.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
	return &said;
}

#define served_says(said, text) cr_expect(strstr((said)->out, text), "\"%s\" is not in: %s", text, (said)->out)

#endif
