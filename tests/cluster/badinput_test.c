/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bad input gets: a clear error, or a closed connection and one line in the log. The agent goes on, and nobody
 * else's lock is touched: a lock is owned throughout each of these tests, and seen to be the same after it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "../../net/link.h"
#include "../../shm/atom.h"
#include "../../shm/ring.h"
#include "../../shm/sys.h"
#include "../../shm/table.h"
#include "counter.h"
#include "precious.h"
#include "puppet.h"
#include "rig.h"
#include "stranger.h"

RIG_SUITE(badinput);

static void few_descriptors(unsigned n)
{
	struct rlimit files = { 64, 64 };

	if (n == 1)
		setrlimit(RLIMIT_NOFILE, &files);
}

Test(badinput, descriptors_that_are_used_up)
{
	begin(&(struct rig_plan){ .voters = 3, .in_keeper = few_descriptors }, 1);
	struct paxshm_options options = PAXSHM_INIT(options);
	paxshm_session *s[64];
	unsigned n = 0;
	int rc;

	options.socket = rig->host[1].socket;
	options.agent_timeout_ms = 5000;
	while (n < 64 && (rc = paxshm_open(&s[n], &options)) == 0)
		n++;
	cr_assert_lt(n, 64);
	cr_assert(rc == -EMFILE || rc == -ENFILE, "%s (%s)", paxshm_strerror(rc), paxshm_open_reason());
	cr_assert(strstr(paxshm_open_reason(), "LimitNOFILE"), "%s", paxshm_open_reason());
	cr_assert_gt(rig_log_count(1, "event=session.refused"), 0);

	/* Who is in, stays in and is served; the agent may even die. */
	cr_assert_eq(paxshm_lock(s[0], "k"), 0);
	rig_kill_agent(1);
	rig_back(1);
	rig_settle(0);
	cr_assert_eq(paxshm_unlock(s[0], "k"), 0);
	expect_untouched();
	/* Room comes back. */
	for (unsigned i = 0; i < n / 2; i++)
		cr_assert_eq(paxshm_close(s[i]), 0);
	RIG_WAIT(paxshm_open(&s[0], &options) == 0, "%s", paxshm_open_reason());
	cr_assert_eq(paxshm_lock(s[0], "k"), 0);
	cr_assert_eq(paxshm_close(s[0]), 0);
	for (unsigned i = n / 2; i < n; i++)
		cr_assert_eq(paxshm_close(s[i]), 0);
	end();
}

/* ---- memory that is used up ---- */

/* The agent of host n may map this many bytes more; 0: as many as it likes. */
static void leave_memory(unsigned n, unsigned long bytes)
{
	pid_t agent = rig_agent(n).pid;
	struct rlimit space = { RLIM_INFINITY, RLIM_INFINITY };
	unsigned long pages = 0;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)agent);
	FILE *file = fopen(path, "re");
	cr_assert(file);
	cr_assert_eq(fscanf(file, "%lu", &pages), 1);
	fclose(file);
	if (bytes)
		space.rlim_cur = pages * (unsigned long)sysconf(_SC_PAGESIZE) + bytes;
	cr_assert_eq(prlimit(agent, RLIMIT_AS, &space, NULL), 0);
}

Test(badinput, memory_that_is_used_up)
{
	begin(&(struct rig_plan){ .voters = 3 }, 1);
	struct paxshm_options options = PAXSHM_INIT(options);
	paxshm_session *s = rig_open(1), *refused = NULL;
	pid_t agent = rig_agent(1).pid;
	char said[512];
	int rc;

	options.socket = rig->host[1].socket;
	rig_status(1); /* the rig's own session stands */
	leave_memory(1, 1);
	rc = paxshm_open(&refused, &options);
	cr_assert_eq(rc, -ENOMEM, "%s (%s)", paxshm_strerror(rc), paxshm_open_reason());
	cr_assert_null(refused);
	cr_assert(strstr(paxshm_open_reason(), "no room for this session: Cannot allocate memory"), "%s", paxshm_open_reason());
	cr_assert_gt(rig_log_count(1, "event=session.refused"), 0);
	cr_assert(exited(rig_paxctl(said, 1, "lock", "k", "--", "true"), 69));
	cr_assert(strstr(said, "no room for this session"), "%s", said);

	/* Who is in is served as before, here and elsewhere. */
	cr_assert_eq(paxshm_lock(s, "k"), 0);
	cr_assert(exited(rig_paxctl(said, 2, "lock", "-n", "k", "--", "true"), 1));
	cr_assert_eq(paxshm_unlock(s, "k"), 0);
	cr_assert(exited(rig_paxctl(said, 3, "lock", "k", "--", "true"), 0), "%s", said);
	expect_untouched();
	cr_assert_eq(rig_agent(1).pid, agent, "it is the same agent still");

	leave_memory(1, 0);
	cr_assert_eq(paxshm_open(&refused, &options), 0, "%s", paxshm_open_reason());
	cr_assert_eq(paxshm_close(refused), 0);
	cr_assert_eq(paxshm_close(s), 0);
	end();
}

/* ---- tables that are full ---- */

/* Acquires keys until no room is left; how many. */
static unsigned fill(paxshm_session *s, const char *name, unsigned max, int *ret_rc)
{
	char key[64];
	unsigned n = 0;

	do {
		snprintf(key, sizeof(key), "%s %u", name, n);
		*ret_rc = paxshm_lock(s, key);
	} while (*ret_rc == 0 && ++n < max);
	return n;
}

Test(badinput, a_full_lock_table)
{
	begin(&(struct rig_plan){ .voters = 3, .settings = "locks = 16\n" }, 2);
	paxshm_session *s = rig_open(1), *t = rig_open(3);
	char said[512];
	int rc;

	cr_assert_eq(fill(s, "fill", 99, &rc), 15);
	cr_assert_eq(rc, -ENOSPC);
	/* It is full for everybody alike, and the locks that are there still change owners. */
	cr_assert_eq(paxshm_lock(t, "another"), -ENOSPC);
	cr_assert(exited(rig_paxctl(said, 2, "lock", "another", "--", "true"), 71));
	cr_assert(strstr(said, "limit"), "%s", said);
	cr_assert(exited(rig_paxctl(said, 2, "lock", "-n", "fill 3", "--", "true"), 1));
	rig_same_tables();
	expect_untouched();
	cr_assert_eq(paxshm_unlock(s, "fill 7"), 0);
	RIG_WAIT((rc = paxshm_lock(t, "another")) != -ENOSPC);
	cr_assert_eq(rc, 0);
	cr_assert_eq(paxshm_close(s), 0);

	/* Locks whose owners died are remembered while there is room, and give it up. */
	struct puppet *p = puppet_new(1);
	char key[32];
	for (unsigned i = 0; i < 14; i++) {
		snprintf(key, sizeof(key), "died %u", i);
		RIG_WAIT((rc = puppet_lock(p, key).rc) != -ENOSPC);
		cr_assert_eq(rc, 0);
	}
	puppet_kill(p);
	RIG_WAIT(rig_holder(2, "died 13").host_id == 0);
	puppet_free(p);
	s = rig_open(3);
	cr_assert_eq(fill(s, "new", 14, &rc), 14, "%s", paxshm_strerror(rc));
	cr_assert_eq(paxshm_close(s), 0);
	cr_assert_eq(paxshm_close(t), 0);
	end();
}

Test(badinput, more_claims_and_sessions_than_a_host_has_room_for)
{
	begin(&(struct rig_plan){ .voters = 3, .settings = "claims = 8\nsessions = 6\n" }, 1);
	paxshm_session *s = rig_open(1), *more[6];
	struct paxshm_options options = PAXSHM_INIT(options);
	struct paxshm_who who = PAXSHM_INIT(who);
	unsigned n = 0;
	int rc;

	cr_assert_eq(fill(s, "fill", 99, &rc), 7);
	cr_assert_eq(rc, -ENOSPC);
	cr_assert_eq(puppet_check(precious.owner, "precious"), 0);
	cr_assert_eq(paxshm_unlock(s, "fill 0"), 0);
	cr_assert_eq(paxshm_lock(s, "again"), 0);
	cr_assert_eq(paxshm_unlock(s, "again"), 0);
	/* A question takes a place too; this release may still be on its way. */
	RIG_WAIT(paxshm_holder(rig_watch(1), "precious", 8, PAXSHM_LINEARIZABLE, &who) == 0);
	expect_untouched();

	options.socket = rig->host[1].socket;
	while (n < 6 && (rc = paxshm_open(&more[n], &options)) == 0)
		n++;
	cr_assert_eq(n, 3, "the owner's, ours, the rig's, and three more");
	cr_assert_eq(rc, -ENOSPC);
	cr_assert(strstr(paxshm_open_reason(), "\"sessions\""), "%s", paxshm_open_reason());
	cr_assert_eq(paxshm_close(more[0]), 0);
	RIG_WAIT(paxshm_open(&more[0], &options) == 0);
	while (n)
		cr_assert_eq(paxshm_close(more[--n]), 0);
	cr_assert_eq(paxshm_close(s), 0);
	end();
}

Test(badinput, keys_that_are_none)
{
	begin(&(struct rig_plan){ .voters = 1 }, 1);
	paxshm_session *s = rig_open(1);
	char key[PAXSHM_KEY_MAX + 2], said[512];
	struct paxshm_who who = PAXSHM_INIT(who);

	memset(key, 'k', sizeof(key));
	key[PAXSHM_KEY_MAX + 1] = '\0';
	cr_assert_eq(paxshm_lock(s, ""), -EINVAL);
	cr_assert_eq(paxshm_lock(s, key), -ENAMETOOLONG);
	cr_assert_eq(paxshm_holder(s, key, sizeof(key) - 1, 0, &who), -ENAMETOOLONG);
	cr_assert_eq(paxshm_holder(s, key, 0, 0, &who), -EINVAL);
	cr_assert(exited(rig_paxctl(said, 1, "lock", key, "--", "true"), 64));
	cr_assert(exited(rig_paxctl(said, 1, "lock", "", "--", "true"), 64));
	key[PAXSHM_KEY_MAX] = '\0';
	cr_assert_eq(paxshm_lock(s, key), 0);
	cr_assert_eq(paxshm_close(s), 0);
	end();
}

/* ---- programs that do not belong here ---- */

Test(badinput, a_library_of_another_layout_version)
{
	begin(&(struct rig_plan){ .voters = 1 }, 1);
	struct {
		struct greeting greeting;
		char more[256]; /* a later layout may say more */
	} later = { .greeting = stranger_greeting() };
	struct welcome w;

	for (size_t len = sizeof(later.greeting) - 8; len <= sizeof(later); len += 8) {
		int door = stranger_knock(1);

		later.greeting.version = LAYOUT_VERSION + 1;
		cr_assert(stranger_greet(door, &later, len, &w));
		cr_assert_eq(w.result, -EPROTO);
		cr_assert_eq(w.version, LAYOUT_VERSION);
		cr_assert(strstr(w.reason, "install the same version of both"), "%s", w.reason);
		stranger_expect_end(door);
		close(door);
	}
	cr_assert_gt(rig_log_count(1, "event=session.refused"), 0);
	end();
}

Test(badinput, another_clusters_agent)
{
	begin(&(struct rig_plan){ .voters = 1 }, 1);
	struct paxshm_options options = PAXSHM_INIT(options);
	paxshm_session *s = NULL;
	char said[512];

	options.socket = rig->host[1].socket;
	options.cluster = "elsewhere";
	cr_assert_eq(paxshm_open(&s, &options), -EINVAL);
	cr_assert(strstr(paxshm_open_reason(), "elsewhere") && strstr(paxshm_open_reason(), rig->cluster), "%s", paxshm_open_reason());
	options.cluster = NULL;
	setenv("PAXSHM_CLUSTER", "elsewhere", 1);
	cr_assert_eq(paxshm_open(&s, &options), -EINVAL);
	cr_assert(strstr(paxshm_open_reason(), "elsewhere") && strstr(paxshm_open_reason(), rig->cluster), "%s", paxshm_open_reason());
	cr_assert_null(s);
	int status = rig_paxctl(said, 1, "status");
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) != 0);
	cr_assert(strstr(said, "elsewhere") && strstr(said, rig->cluster), "%s", said);
	setenv("PAXSHM_CLUSTER", rig->cluster, 1);
	cr_assert_eq(paxshm_open(&s, &options), 0);
	cr_assert_eq(paxshm_close(s), 0);
	unsetenv("PAXSHM_CLUSTER");
	options.space = "elsewhere";
	cr_assert_eq(paxshm_open(&s, &options), -EINVAL);
	cr_assert(strstr(paxshm_open_reason(), "elsewhere"), "%s", paxshm_open_reason());
	end();
}

/* What paxctl is answered in a namespace of its own. */
static void expect_refused_in(const char *flag, const char *words)
{
	char said[512];
	int status = rig_run(said, sizeof(said), (const char *const[]){ "unshare", flag, "--fork", "true", NULL });

	if (!exited(status, 0))
		cr_skip_test("unshare %s is not permitted here: %s", flag, said);
	begin(&(struct rig_plan){ .voters = 1 }, 1);
	status = rig_run(said, sizeof(said), (const char *const[]){ "unshare", flag, "--fork", rig_program("paxctl"), "lock", "--socket", rig->host[1].socket, "k", "--", "echo", "ran", NULL });
	cr_assert(exited(status, 69), "status %x: %s", status, said);
	cr_assert(strstr(said, words), "%s", said);
	cr_assert_not(strstr(said, "ran\n"));
	cr_assert_gt(rig_log_count(1, "event=session.refused"), 0);
	end();
}

Test(badinput, a_program_of_another_pid_namespace)
{
	expect_refused_in("--pid", "another pid namespace");
}

Test(badinput, a_program_of_another_time_namespace)
{
	expect_refused_in("--time", "another time namespace");
}

/* ---- at the UNIX socket ---- */

Test(badinput, strangers_at_the_door)
{
	begin(&(struct rig_plan){ .voters = 1 }, 1);
	struct greeting good = stranger_greeting(), bad = good;
	unsigned char noise[4096];
	uint64_t random = 7;
	struct welcome w;
	int door, silent = stranger_knock(1);

	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (unsigned char)random_next(&random);
	for (size_t len = 1; len <= sizeof(noise); len *= 2) {
		door = stranger_knock(1);
		cr_assert(stranger_greet(door, noise, len, &w));
		cr_assert_eq(w.result, -EPROTO);
		stranger_expect_end(door);
		close(door);
	}
	/* Cut short, too long, names without an end. */
	memset(bad.cluster, 'x', sizeof(bad.cluster));
	door = stranger_knock(1);
	cr_assert(stranger_greet(door, &bad, sizeof(bad), &w));
	cr_assert_eq(w.result, -EPROTO);
	close(door);
	door = stranger_knock(1);
	cr_assert(stranger_greet(door, &good, sizeof(good) - 1, &w));
	cr_assert_eq(w.result, -EPROTO);
	close(door);
	/* Gone before, and right after, the greeting. */
	for (unsigned i = 0; i < 20; i++) {
		door = stranger_knock(1);
		if (i % 2)
			cr_assert_eq(send(door, &good, sizeof(good), MSG_NOSIGNAL), sizeof(good));
		close(door);
	}
	/* Who says nothing is shown out after a while. */
	stranger_expect_end(silent);
	close(silent);
	cr_assert_eq(rig_log_count(1, "it connected and said nothing"), 1);
	end();
}

/* Children that misbehave in their session, one after the other; none of them asserts. */
static void misbehave(void (*how)(const char *socket, uint64_t seed), const char *socket, uint64_t seed)
{
	pid_t pid, parent = getpid();

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			how(socket, seed);
		_exit(0);
	}
	rig_wait(pid);
}

static void leave_in_mid_request(const char *socket, uint64_t stage)
{
	struct ring_request wait = raw_request(REQUEST_ACQUIRE, 3, "precious"), take = raw_request(REQUEST_ACQUIRE, 4, "left"),
			    ask = raw_request(REQUEST_HOLDER, 5, "precious"), close_it = raw_request(REQUEST_CLOSE, 6, "");
	struct raw_session s;

	if (!raw_open(&s, socket))
		_exit(1);
	if (stage == 0)
		return; /* nothing asked */
	ring_push(s.rings, &wait);
	ring_push(s.rings, &take);
	ring_push(s.rings, &ask);
	if (stage == 1)
		return; /* asked, and nobody told */
	if (stage == 2)
		close(s.socket); /* the bit is set, the bell cannot ring */
	raw_announce(&s);
	if (stage == 3)
		return; /* under way */
	if (stage == 4)
		ring_push(s.rings, &close_it), raw_announce(&s);
	if (stage == 5)
		s.rings->completion_head = 77;
	if (stage > 5)
		for (uint64_t until = sys_now_ns() + stage * NS_PER_MS; sys_now_ns() < until;)
			sched_yield(); /* granted, or just being granted */
	kill(getpid(), SIGKILL);
}

Test(badinput, a_client_that_leaves_in_mid_request)
{
	begin(&(struct rig_plan){ .voters = 3 }, 1);
	struct puppet *waiter = puppet_new(2);
	unsigned sessions = rig_status(1).sessions;

	puppet_queue(waiter, "precious");
	for (uint64_t stage = 0; stage < 12; stage++)
		misbehave(leave_in_mid_request, rig->host[1].socket, stage);
	RIG_WAIT(rig_status(1).sessions == sessions, "all of them are over");
	RIG_WAIT(rig_holder(2, "left").host_id == 0, "and have nothing");
	expect_untouched();
	/* None of them stands in the queue. */
	cr_assert_eq(puppet_unlock(precious.owner, "precious"), 0);
	cr_assert_eq(puppet_answer(waiter).rc, 0);
	cr_assert_eq(puppet_unlock(waiter, "precious"), 0);
	precious.grant = puppet_lock(precious.owner, "precious");
	cr_assert_eq(precious.grant.rc, 0);
	puppet_free(waiter);
	end();
}

Test(badinput, a_socket_that_is_closed_ends_no_session)
{
	begin(&(struct rig_plan){ .voters = 1 }, 1);
	struct ring_request take = raw_request(REQUEST_ACQUIRE, 0, "k");
	struct ring_completion answer;
	struct raw_session s;
	struct puppet *p = puppet_new(1);

	cr_assert(raw_open(&s, rig->host[1].socket));
	cr_assert(ring_push(s.rings, &take));
	raw_announce(&s);
	RIG_WAIT(ring_take(s.rings, &answer));
	cr_assert_eq(answer.result, 0);
	close(s.socket);
	cr_assert_eq(puppet_try(p, "other").rc, 0);
	cr_assert_eq(puppet_try(p, "k").rc, -EBUSY, "its process lives");
	puppet_free(p);
	end();
}

static const struct nonsense {
	const char *what;
	struct ring_request request;
	uint32_t tail; /* not 0: the end of the ring is moved by so much instead */
} nonsense[] = {
	{ "no such request", { .op = 99, .call = 1 }, 0 },
	{ "request 0", { .op = 0, .call = 1 }, 0 },
	{ "an empty key", { .op = REQUEST_ACQUIRE, .mode = 5, .call = 1 }, 0 },
	{ "no such mode", { .op = REQUEST_ACQUIRE, .mode = 77, .call = 1, .key_len = 1, .key = "k" }, 0 },
	{ "unknown flags", { .op = REQUEST_ACQUIRE, .mode = 5, .flags = 0x8000000, .call = 1, .key_len = 1, .key = "k" }, 0 },
	{ "a call out of range", { .op = REQUEST_ACQUIRE, .mode = 5, .call = RING_CALLS, .key_len = 1, .key = "k" }, 0 },
	{ "a target out of range", { .op = REQUEST_CANCEL, .call = CALL_NONE, .target = 1u << 30, .reason = -ETIMEDOUT }, 0 },
	{ "no reason", { .op = REQUEST_CANCEL, .call = CALL_NONE, .reason = 5 }, 0 },
	{ "a holder of nothing", { .op = REQUEST_HOLDER, .call = 1 }, 0 },
	{ "an end beyond the ring", { 0 }, RING_REQUESTS + 1 },
	{ "an end far away", { 0 }, 1u << 31 },
	{ "an end before the beginning", { 0 }, UINT32_MAX },
};

/* Owns a lock, then writes nonsense; 2: was not banned. */
static void write_nonsense(const char *socket, uint64_t which)
{
	struct ring_request take = raw_request(REQUEST_ACQUIRE, 0, "banned");
	const struct nonsense *n = &nonsense[which];
	struct ring_completion answer;
	struct raw_session s;
	char byte;

	if (!raw_open(&s, socket))
		_exit(1);
	ring_push(s.rings, &take);
	raw_announce(&s);
	while (!ring_take(s.rings, &answer))
		sched_yield();
	if (n->tail)
		atom_store_release(&s.rings->request_tail, s.rings->request_tail + n->tail);
	else
		ring_push(s.rings, &n->request);
	raw_announce(&s);
	/* Its socket is closed, and its session marked. What it owned is its own until it ends. */
	while (recv(s.socket, &byte, 1, 0) > 0)
		;
	_exit(atom_load_acquire(&s.rings->closed) == EPROTO && answer.result == 0 ? 0 : 2);
}

Test(badinput, nonsense_in_a_ring_ends_that_session_alone)
{
	begin(&(struct rig_plan){ .voters = 1 }, 1);
	unsigned sessions = rig_status(1).sessions;
	pid_t pid;

	for (size_t i = 0; i < ARRAY_LEN(nonsense); i++) {
		fflush(NULL);
		pid = fork();
		if (pid == 0)
			write_nonsense(rig->host[1].socket, i);
		int status = rig_wait(pid);
		cr_assert(exited(status, 0), "%s: %d", nonsense[i].what, WEXITSTATUS(status));
		expect_untouched();
		RIG_WAIT(rig_holder(1, "banned").host_id == 0, "%s", nonsense[i].what);
	}
	RIG_WAIT(rig_status(1).sessions == sessions);
	cr_assert_gt(rig_log_count(1, "event=session.banned"), 0);
	end();
}

/* Writes over all that it can reach. */
static void poke(const char *socket, uint64_t seed)
{
	uint64_t random = seed * 7919 + 1;
	struct raw_session s;

	if (!raw_open(&s, socket))
		_exit(1);
	for (unsigned turn = 0; turn < 200; turn++) {
		struct ring_request r = raw_request(1 + random_next(&random) % 4, (uint32_t)(random_next(&random) % 8), "poked");
		uint64_t where = random_next(&random), what = random_next(&random);

		r.key_len = 1 + random_next(&random) % 5;
		r.flags = what % 3 ? 0 : (uint32_t)(what >> 8) % 4;
		r.claim = what;
		r.target = (uint32_t)(what % 8);
		r.reason = what % 2 ? -ETIMEDOUT : -ECANCELED;
		if (r.op != REQUEST_ACQUIRE)
			r.flags = 0;
		ring_push(s.rings, &r);
		switch (seed % 4 ? 0 : where % 8) {
		case 1: ((volatile unsigned char *)s.rings)[where / 8 % sizeof(*s.rings)] = (unsigned char)what; break;
		case 2: s.rings->request_head = (uint32_t)what; break;
		case 3: s.rings->completion_tail = (uint32_t)what; break;
		case 4: s.rings->bell[where / 8 % RING_CALLS] = (uint32_t)what; break;
		case 5: s.rings->requests[where / 8 % RING_REQUESTS].op = (uint32_t)what; break;
		}
		/* Bits of sessions that are others', or nobody's. */
		atom_or_seq_cst(&s.arena->pending[where % ARRAY_LEN(s.arena->pending)], what);
		raw_announce(&s);
		if (what % 64 == 0)
			(void)!send(s.socket, "r", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	if (seed % 3 == 0)
		(void)!send(s.socket, "nonsense", 8, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (seed % 5 == 0)
		(void)!sys_send_fds(s.socket, "a", 1, &s.socket, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

Test(badinput, clients_that_write_over_all_they_can_reach)
{
	begin(&(struct rig_plan){ .voters = 3 }, 1);
	struct counter *c = counter_new("neighbours");
	unsigned sessions;

	for (unsigned w = 0; w < 4; w++)
		counter_work(c, w, 1 + w % 2);
	counter_wait(c, 1, 1);
	sessions = rig_status(1).sessions;
	for (uint64_t seed = 0; seed < 60; seed++)
		misbehave(poke, rig->host[1].socket, seed);
	RIG_WAIT(rig_status(1).sessions == sessions);
	counter_wait(c, 3, 1);
	counter_check(c);
	end();
}
