/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "puppet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig.h"

#define KEYS 32

/* ---- in the puppet's process: nothing here asserts, it answers ---- */

static struct {
	int orders;
	paxshm_session *session;
	struct {
		char key[PAXSHM_KEY_MAX + 1];
		paxshm_lock_handle *handle;
	} keys[KEYS];
	unsigned handled;
	bool custom;
} self;

static void on_fatal(paxshm_session *s, int rc, const char *message, void *context)
{
	(void)s, (void)context;
	self.handled += rc == PAXSHM_NO_QUORUM && *message;
}

static int open_session(const char *socket, bool handler)
{
	struct paxshm_options options = PAXSHM_INIT(options);

	options.socket = socket;
	if (handler)
		options.fatal = on_fatal;
	self.custom = handler;
	return paxshm_open(&self.session, &options);
}

static int handle_of(const char *key, paxshm_lock_handle **ret)
{
	unsigned i = 0;
	int rc;

	while (i < KEYS && self.keys[i].handle && strcmp(self.keys[i].key, key))
		i++;
	if (i == KEYS)
		return -ENOSPC;
	if (!self.keys[i].handle) {
		rc = paxshm_lock_ref(self.session, key, strlen(key), &self.keys[i].handle);
		if (rc)
			return rc;
		strcpy(self.keys[i].key, key);
	}
	*ret = self.keys[i].handle;
	return 0;
}

static void *cancel(void *context)
{
	/* It ends calls that wait: until there is one, again. */
	while (!__atomic_load_n((bool *)context, __ATOMIC_ACQUIRE)) {
		paxshm_cancel(self.session);
		usleep(2000);
	}
	return NULL;
}

static int lock(const struct order *o, paxshm_lock_handle *l, struct answer *ret)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);
	bool done = false;
	pthread_t thread;
	int rc;

	how.flags = o->flags;
	how.no_quorum = o->no_quorum;
	how.deadline_ns = o->wait_ms ? paxshm_deadline_ms(o->wait_ms) : 0;
	if (o->cancel && pthread_create(&thread, NULL, cancel, &done))
		return -EAGAIN;
	rc = paxshm_lock_acquire(l, &how, &ret->grant);
	__atomic_store_n(&done, true, __ATOMIC_RELEASE);
	if (o->cancel)
		pthread_join(thread, NULL);
	return rc;
}

/* In a forked child every call must answer -EPERM. */
static int use_in_child(paxshm_lock_handle *l, const char *key)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct paxshm_who who = PAXSHM_INIT(who);
		struct paxshm_status s = PAXSHM_INIT(s);
		bool refused = paxshm_lock_acquire(l, NULL, NULL) == -EPERM && paxshm_lock_release(l) == -EPERM &&
			       paxshm_lock_check(l) == -EPERM && paxshm_lock(self.session, key) == -EPERM &&
			       paxshm_holder(self.session, key, strlen(key), 0, &who) == -EPERM &&
			       paxshm_status(self.session, 0, &s) == -EPERM && paxshm_close(self.session) == -EPERM;

		_exit(refused ? EPERM : 1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -EIO;
	return -WEXITSTATUS(status);
}

/* The descriptors of the session would be closed by exec: keep them all. The child ends when its standard input
 * does, which is the test's end of our orders. */
static int fork_and_exec(struct answer *ret)
{
	pid_t pid = fork();

	if (pid == 0) {
		for (int fd = 3; fd < 256; fd++)
			fcntl(fd, F_SETFD, 0);
		dup2(self.orders, 0);
		close(self.orders);
		execlp("cat", "cat", NULL);
		_exit(127);
	}
	ret->who.pid = (uint32_t)pid;
	return pid < 0 ? -errno : 0;
}

static int obey(const struct order *o, struct answer *ret)
{
	paxshm_lock_handle *l = NULL;
	int rc = o->deed == DO_CLOSE ? 0 : handle_of(o->key, &l);

	if (rc)
		return rc;
	switch (o->deed) {
	case DO_LOCK: return lock(o, l, ret);
	case DO_UNLOCK: return paxshm_lock_release(l);
	case DO_CHECK: return paxshm_lock_check(l);
	case DO_HOLDER: return paxshm_holder(self.session, o->key, strlen(o->key), o->flags, &ret->who);
	case DO_CLOSE:
		rc = paxshm_close(self.session);
		self.session = NULL;
		memset(self.keys, 0, sizeof(self.keys));
		return rc;
	case DO_FORK_USE: return use_in_child(l, o->key);
	case DO_FORK_EXEC: return fork_and_exec(ret);
	}
	return -EINVAL;
}

static _Noreturn void be_puppet(const char *socket)
{
	struct order o;

	while (recv(self.orders, &o, sizeof(o), 0) == sizeof(o)) {
		struct answer a = { .grant = PAXSHM_INIT(a.grant), .who = PAXSHM_INIT(a.who) };

		if (self.session && o.custom_handler != self.custom) {
			paxshm_close(self.session);
			self.session = NULL;
			memset(self.keys, 0, sizeof(self.keys));
		}
		if (!self.session && o.deed != DO_CLOSE)
			a.rc = open_session(socket, o.custom_handler);
		if (!a.rc)
			a.rc = obey(&o, &a);
		a.handled = self.handled;
		if (send(self.orders, &a, sizeof(a), MSG_NOSIGNAL) != sizeof(a))
			break;
	}
	if (self.session)
		paxshm_close(self.session);
	_exit(0);
}

/* ---- in the test's process ---- */

struct puppet *puppet_new_err(unsigned host, int err_fd)
{
	struct puppet *p = calloc(1, sizeof(*p));
	pid_t parent = getpid(), pid;
	int pair[2];

	cr_assert(p);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		if (err_fd >= 0)
			dup2(err_fd, 2);
		self.orders = dup2(pair[1], 3);
		close_range(4, ~0u, 0);
		signal(SIGABRT, SIG_DFL);
		be_puppet(rig->host[host].socket);
	}
	cr_assert(pid > 0);
	close(pair[1]);
	p->host = host;
	p->process = process_of(pid);
	p->orders = pair[0];
	return p;
}

struct puppet *puppet_new(unsigned host)
{
	return puppet_new_err(host, -1);
}

void puppet_give(struct puppet *p, const struct order *order)
{
	cr_assert_not(p->busy);
	cr_assert_eq(send(p->orders, order, sizeof(*order), MSG_NOSIGNAL), sizeof(*order));
	p->busy = true;
}

bool puppet_answered(struct puppet *p)
{
	struct pollfd fd = { .fd = p->orders, .events = POLLIN };

	cr_assert(p->busy);
	return poll(&fd, 1, 0) == 1;
}

struct answer puppet_answer(struct puppet *p)
{
	struct pollfd fd = { .fd = p->orders, .events = POLLIN };
	struct answer a;

	cr_assert(p->busy);
	cr_assert_eq(poll(&fd, 1, RIG_PATIENCE_MS), 1, "a program on host %u waits and waits", p->host);
	cr_assert_eq(recv(p->orders, &a, sizeof(a), 0), sizeof(a), "a program on host %u has ended", p->host);
	p->busy = false;
	return a;
}

struct answer puppet_do(struct puppet *p, const struct order *order)
{
	puppet_give(p, order);
	return puppet_answer(p);
}

static struct order order_for(enum deed deed, const char *key)
{
	struct order o = { .deed = deed };

	snprintf(o.key, sizeof(o.key), "%s", key);
	return o;
}

void puppet_begin(struct puppet *p, enum deed deed, const char *key)
{
	struct order o = order_for(deed, key);

	puppet_give(p, &o);
}

struct answer puppet_lock(struct puppet *p, const char *key)
{
	puppet_begin(p, DO_LOCK, key);
	return puppet_answer(p);
}

struct answer puppet_try(struct puppet *p, const char *key)
{
	struct order o = order_for(DO_LOCK, key);

	o.flags = PAXSHM_NOWAIT;
	return puppet_do(p, &o);
}

int puppet_unlock(struct puppet *p, const char *key)
{
	puppet_begin(p, DO_UNLOCK, key);
	return puppet_answer(p).rc;
}

int puppet_check(struct puppet *p, const char *key)
{
	puppet_begin(p, DO_CHECK, key);
	return puppet_answer(p).rc;
}

void puppet_queue(struct puppet *p, const char *key)
{
	uint64_t before = rig_requests(p->host);
	uint32_t stand = rig_waiters(p->host, key);

	puppet_begin(p, DO_LOCK, key);
	/* At the gate, or with the agent. */
	RIG_WAIT(rig_requests(p->host) > before || rig_waiters(p->host, key) > stand, "it waits on host %u", p->host);
}

void puppet_kill(struct puppet *p)
{
	cr_assert(process_signal(&p->process, SIGKILL));
	cr_assert(process_wait_gone(&p->process, RIG_PATIENCE_MS));
}

void puppet_free(struct puppet *p)
{
	close(p->orders);
	if (p->busy)
		process_signal(&p->process, SIGKILL);
	cr_assert(process_wait_gone(&p->process, RIG_PATIENCE_MS), "a program on host %u does not end", p->host);
	free(p);
}
