/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper_rig: a keeper in a process of its own, what it logs, and clients that speak to its agent by
 * hand. Whoever includes it is the agent that its keepers start.
 */
#ifndef PAXSHM_TESTS_TOOLS_PAXSHMD_KEEPER_RIG_H
#define PAXSHM_TESTS_TOOLS_PAXSHMD_KEEPER_RIG_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* whoever includes this after a system header defines it first */
#endif
#include "../../../tools/paxshmd/keeper.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../net/loop.h"
#include "../../../shm/segment.h"
#include "../../../shm/sys.h"
#include "../../../tools/paxshmd/doorman.h"
#include "../../../tools/paxshmd/handover.h"
#include "../../../tools/paxshmd/reactor.h"

#define PATIENCE_MS 10000

/* The keeper starts its own file as the agent; here that is this test. */
__attribute__((constructor)) static void be_the_agent(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--agent"))
		_exit(reactor_run());
}

static char dir[] = "/tmp/paxshm-keeper-XXXXXX";
static struct config config;

static inline void make_dir(void)
{
	cr_assert(mkdtemp(dir));
	config_single(&config);
	config.locks = 64;
	config.claims = 64;
	config.sessions = 16;
	snprintf(config.socket, sizeof(config.socket), "%s/s", dir);
}

static inline void remove_dir(void)
{
	char command[160];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	cr_assert_eq(system(command), 0);
}

/* ---- a keeper in a process of its own, and what it logs ---- */

struct keeper_process {
	pid_t pid;
	int log;
	char text[32768];
	size_t len, seen;
};

static bool bootstrap;

/* What the keeper reads when it is told to, in shared memory: a test changes it while the keeper runs. */
static struct rereading {
	struct config config;
	char wrong[CONFIG_WHY];
} * rereading;

static inline int reread(struct config *ret, void *context, char *why)
{
	(void)context;
	*ret = rereading->config;
	strcpy(why, rereading->wrong);
	return why[0] ? -EINVAL : 0;
}

static inline void tell_to_reread(pid_t keeper, const struct config *next, const char *wrong)
{
	rereading->config = *next;
	snprintf(rereading->wrong, sizeof(rereading->wrong), "%s", wrong);
	kill(keeper, SIGHUP);
}

static inline struct keeper_process start_keeper(const struct rlimit *files)
{
	struct keeper_process k = { 0 };
	int way[2];

	if (!rereading)
		rereading = mmap(NULL, sizeof(*rereading), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq((void *)rereading, MAP_FAILED);
	cr_assert_eq(pipe(way), 0);
	k.pid = fork();
	if (k.pid == 0) {
		dup2(way[1], STDERR_FILENO);
		close(way[0]);
		close(way[1]);
		unsetenv("JOURNAL_STREAM");
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing behind */
		if (files)
			setrlimit(RLIMIT_NOFILE, files);
		_exit(keeper_run(&config, bootstrap, reread, NULL));
	}
	close(way[1]);
	k.log = way[0];
	return k;
}

/* Reads the log until `text` comes, from behind the last that was waited for; answers what follows it. */
static inline const char *wait_log(struct keeper_process *k, const char *text)
{
	char *found;

	while (!(found = strstr(k->text + k->seen, text))) {
		struct pollfd p = { .fd = k->log, .events = POLLIN };

		cr_assert_eq(poll(&p, 1, PATIENCE_MS), 1, "\"%s\" did not come: %s", text, k->text);
		ssize_t n = read(k->log, k->text + k->len, sizeof(k->text) - k->len - 1);
		cr_assert_gt(n, 0, "\"%s\" did not come: %s", text, k->text);
		k->len += (size_t)n;
	}
	k->seen = (size_t)(found - k->text) + strlen(text);
	return found + strlen(text);
}

static inline pid_t wait_agent(struct keeper_process *k)
{
	pid_t pid = atoi(wait_log(k, "event=agent.serves pid="));

	wait_log(k, "\n");
	return pid;
}

static inline int end_of(pid_t pid)
{
	int status;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline int stop_keeper(struct keeper_process *k)
{
	kill(k->pid, SIGTERM);
	return end_of(k->pid);
}

/* ---- a client, by hand ---- */

struct client {
	int socket, fds[4]; /* tables, arena, rings, life */
	struct welcome welcome;
};

static inline int dial(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	strcpy(a.sun_path, config.socket);
	if (!connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return fd;
	close(fd);
	return -1;
}

static inline bool wait_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, PATIENCE_MS) == 1;
}

static inline int greet(struct client *c)
{
	struct greeting g = { .magic = GREETING_MAGIC, .version = LAYOUT_VERSION };
	unsigned n = 0;

	c->socket = dial();
	if (c->socket < 0)
		return -EIO;
	/* Who is turned away before he greeted still finds the answer. */
	(void)!send(c->socket, &g, sizeof(g), MSG_NOSIGNAL);
	if (!wait_readable(c->socket) ||
	    sys_recv_fds(c->socket, &c->welcome, sizeof(c->welcome), c->fds, 4, &n, 0) != sizeof(c->welcome))
		return -EIO;
	return c->welcome.result ? c->welcome.result : n == 4 ? 0
							      : -EBADMSG;
}

static inline bool is_hung_up(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static inline const struct tables *map_tables(const struct client *c)
{
	struct segment s = SEGMENT_NONE;

	cr_assert_eq(segment_map(&s, c->fds[0], false, true), 0);
	return s.at;
}

static inline bool agent_answers(void)
{
	struct client c;

	return greet(&c) == 0 && !close(c.socket);
}

/* A process with a session: answers its pid; it ends when it is let go. */
static inline pid_t client_process(int *ret_leash)
{
	int leash[2], ready[2];
	char byte = 0;

	cr_assert_eq(pipe(leash), 0);
	cr_assert_eq(pipe(ready), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct client c;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(leash[1]);
		byte = greet(&c) == 0;
		(void)!write(ready[1], &byte, 1);
		(void)!read(leash[0], &byte, 1);
		_exit(0);
	}
	close(leash[0]);
	close(ready[1]);
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	cr_assert_eq(byte, 1, "the client has no session");
	*ret_leash = leash[1];
	return pid;
}

static inline void let_go(pid_t pid, int leash)
{
	cr_assert_eq(write(leash, "", 1), 1);
	close(leash);
	end_of(pid);
}

#endif
