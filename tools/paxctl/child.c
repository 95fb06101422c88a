/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "child.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "paxctl.h"

#define WATCH_MS 250

/* A word and its descriptor, over the pair. */
struct letter {
	struct iovec bytes;
	struct msghdr head;
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
};

static struct msghdr *letter_around(struct letter *l, const struct child_word *word)
{
	*l = (struct letter){ .bytes = { .iov_base = (void *)word, .iov_len = sizeof(*word) } };
	l->head = (struct msghdr){ .msg_iov = &l->bytes, .msg_iovlen = 1, .msg_control = l->control, .msg_controllen = sizeof(l->control) };
	return &l->head;
}

/* In the child. The descriptor stays open, and is not closed by exec: it is there to be held. */
static bool word_receive(int fd, struct child_word *word)
{
	struct letter letter;
	ssize_t n;

	do
		n = recvmsg(fd, letter_around(&letter, word), 0);
	while (n < 0 && errno == EINTR);
	return n == sizeof(*word) && CMSG_FIRSTHDR(&letter.head) != NULL;
}

static int word_send(int fd, const struct child_word *word, int life_fd)
{
	struct letter letter;
	struct msghdr *head = letter_around(&letter, word);
	struct cmsghdr *c = CMSG_FIRSTHDR(head);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &life_fd, sizeof(int));
	return sendmsg(fd, head, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* In the child: waits for the word, then becomes the command. */
static _Noreturn void child_main(int word_fd, const char *key, char **argv)
{
	struct child_word word;
	char token[24];

	if (!word_receive(word_fd, &word))
		_exit(0); /* there is no parent any more, or no lock: nobody looks at this status */

	snprintf(token, sizeof(token), "%" PRIu64, word.token);
	setenv("PAXSHM_KEY", key, 1);
	setenv("PAXSHM_TOKEN", token, 1);
	if (word.owner_died)
		setenv("PAXSHM_OWNER_DIED", "1", 1);
	else
		unsetenv("PAXSHM_OWNER_DIED");

	execvp(argv[0], argv);
	int rc = errno;
	fprintf(stderr, "paxctl: %s: %s\n", argv[0], strerror(rc));
	_exit(rc == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN);
}

int child_fork(struct child *c, const char *key, char **argv)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	*c = (struct child){ .pidfd = -1, .word = pair[0], .signals = -1 };
	fflush(NULL);
	c->pid = fork();
	if (c->pid == 0) {
		close(pair[0]); /* else it would never see that the parent is gone */
		child_main(pair[1], key, argv);
	}
	int rc = c->pid < 0 ? -errno : 0;
	close(pair[1]);
	if (rc == 0) {
		/* Not reaped yet, so the pid is still this child's. */
		c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
		if (c->pidfd < 0)
			rc = -errno;
	}
	if (rc < 0)
		child_drop(c);
	return rc;
}

void child_drop(struct child *c)
{
	if (c->word >= 0)
		close(c->word);
	if (c->pidfd >= 0)
		close(c->pidfd);
	if (c->pid > 0)
		while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
			;
	if (c->signals >= 0)
		close(c->signals);
	*c = (struct child){ .pidfd = -1, .word = -1, .signals = -1 };
}

/* All that can be passed on: not those that mean this process itself. */
static void passed_on(sigset_t *set)
{
	static const int own[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGTTIN, SIGTTOU };

	sigfillset(set);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(set, own[i]);
}

int child_go(struct child *c, const struct child_word *word, int life_fd)
{
	sigset_t set;

	passed_on(&set);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	c->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (c->signals < 0)
		return -errno;
	int rc = word_send(c->word, word, life_fd);
	if (rc < 0)
		return rc;
	close(c->word);
	c->word = -1;
	return 0;
}

static void tell(struct child *c, int sig)
{
	syscall(SYS_pidfd_send_signal, c->pidfd, sig, NULL, 0);
}

static void pass_signals(struct child *c)
{
	struct signalfd_siginfo info;

	while (read(c->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			continue;
		/* What the terminal sends, it sends to the whole group: the child has it already. */
		bool from_terminal = info.ssi_code == SI_KERNEL && info.ssi_signo != SIGCONT;
		if (!from_terminal)
			tell(c, (int)info.ssi_signo);
	}
}

/* True: ended. When the terminal or a shell stops the child this process stops too, so that the shell sees its
 * job stopped. Not for SIGSTOP: who stops the child alone continues it alone. */
static bool look_after(struct child *c, int *ret_status)
{
	int status;

	while (waitpid(c->pid, &status, WNOHANG | WUNTRACED) == c->pid) {
		if (!WIFSTOPPED(status)) {
			c->pid = 0;
			*ret_status = status;
			return true;
		}
		if (WSTOPSIG(status) != SIGSTOP)
			kill(getpid(), SIGSTOP); /* continued, by a SIGCONT that the signalfd holds and the next turn passes on */
	}
	return false;
}

uint64_t child_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* What is left until `at`, and no more than until the next look. */
static int until(uint64_t at, uint64_t now)
{
	return at <= now ? 0 : at - now < WATCH_MS ? (int)(at - now)
						   : WATCH_MS;
}

int child_wait(struct child *c, uint64_t grace_ms, uint64_t (*watch)(void *context), void *context)
{
	uint64_t kill_at = 0; /* 0: it was not told to end */
	int status;

	for (;;) {
		struct pollfd fds[2] = { { .fd = c->signals, .events = POLLIN }, { .fd = c->pidfd, .events = POLLIN } };
		uint64_t end = watch(context), now = child_now_ms();

		if (!kill_at && end != CHILD_MAY_RUN && now + grace_ms >= end) {
			kill_at = end > now ? end : now + grace_ms;
			tell(c, SIGTERM);
			tell(c, SIGCONT); /* a stopped one would not see it */
		}
		if (kill_at && now >= kill_at)
			tell(c, SIGKILL);
		poll(fds, 2, kill_at ? until(MAX(kill_at, now + 1), now) : until(end - MIN(end, grace_ms), now));
		pass_signals(c);
		if (look_after(c, &status))
			return status;
	}
}

_Noreturn void exit_like(int status)
{
	if (!WIFSIGNALED(status))
		exit(WEXITSTATUS(status));

	int sig = WTERMSIG(status);
	struct rlimit no_core = { 0, 0 };
	sigset_t set;

	fflush(NULL);
	setrlimit(RLIMIT_CORE, &no_core); /* the command's core is the interesting one */
	signal(sig, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	kill(getpid(), sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	exit(128 + sig); /* only if the signal did not end us */
}
