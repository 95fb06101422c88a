/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../tools/paxcluster/net.h"

struct rig *rig;

#define NAP_NS (2 * 1000 * 1000)
#define END_MS 10000 /* for a keeper that was told to end */

void rig_nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
}

const char *rig_path(const char *name)
{
	static char paths[8][160];
	static unsigned turn;
	char *path = paths[turn++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", rig->dir, name);
	return path;
}

/* ---- logs ---- */

static void show_logs(void)
{
	char line[2048];

	for (unsigned n = 1; n <= rig->n; n++) {
		FILE *log = fopen(rig->host[n].log, "re");

		fprintf(stderr, "---- log of %s\n", rig->host[n].name);
		while (log && fgets(line, sizeof(line), log))
			fputs(line, stderr);
		if (log)
			fclose(log);
	}
	fprintf(stderr, "---- end of logs\n");
}

unsigned rig_log_count(unsigned n, const char *text)
{
	char line[4096];
	FILE *log = fopen(rig->host[n].log, "re");
	unsigned found = 0;

	while (log && fgets(line, sizeof(line), log))
		found += strstr(line, text) != NULL;
	if (log)
		fclose(log);
	return found;
}

void rig_log_wait(unsigned n, const char *text)
{
	RIG_WAIT(rig_log_count(n, text), "in the log of %s: %s", rig->host[n].name, text);
}

/* ---- the janitor, and other ways to end ---- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

static void clean_up(void)
{
	if (rig->plan.netns)
		netns_remove(rig->tag, rig->n);
	nftw(rig->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	rig->ended = true;
}

static int open_pidfd(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* Keepers, agents and puppets die with the test's process; what is left is to show and remove files. */
static _Noreturn void be_janitor(int test)
{
	struct pollfd end = { .fd = test, .events = POLLIN };

	setsid();
	signal(SIGPIPE, SIG_IGN);
	/* Nobody is to wait for what we hold open. */
	for (int fd = 3; fd < 1024; fd++)
		if (fd != test)
			close(fd);
	while (poll(&end, 1, -1) < 0)
		;
	if (!rig->ended) {
		for (unsigned n = 1; n <= rig->n; n++)
			process_wait_gone(&rig->host[n].keeper, END_MS);
		show_logs();
		clean_up();
	}
	_exit(0);
}

static void hire_janitor(void)
{
	int self = open_pidfd(getpid());
	pid_t pid;

	fflush(NULL);
	cr_assert(self >= 0);
	pid = fork();
	if (pid == 0)
		be_janitor(self);
	cr_assert(pid > 0);
	close(self);
}

void rig_fini(void)
{
	if (!rig || rig->ended)
		return;
	for (unsigned n = 1; n <= rig->n; n++) {
		process_signal(&rig->host[n].keeper, SIGKILL);
		process_wait_gone(&rig->host[n].keeper, END_MS);
	}
	show_logs();
	clean_up();
}

/* ---- making ---- */

/* A port of the loopback that is ours while the descriptor is open: the kernel gives it to nobody else, and an
 * agent may listen on it because both sockets say SO_REUSEADDR. */
static int reserve_port(uint16_t *ret)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	cr_assert(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*ret = ntohs(address.sin_port);
	return fd;
}

static bool has_setting(const char *name)
{
	return rig->plan.settings && strstr(rig->plan.settings, name);
}

static void write_configuration(void)
{
	FILE *file = fopen(rig_path("cluster.conf"), "we");

	cr_assert(file);
	fprintf(file, "cluster = \"%s\"\n", rig->cluster);
	if (!has_setting("locks"))
		fprintf(file, "locks = 1024\n");
	if (!has_setting("leader_lease_ms"))
		fprintf(file, "heartbeat_ms = 20\nleader_lease_ms = 200\n");
	if (!has_setting("host_lease_ms"))
		fprintf(file, "host_lease_ms = %d\n", RIG_LEASE_MS);
	if (!has_setting("keep_ms"))
		fprintf(file, "keep_ms = 500\n");
	if (rig->plan.settings)
		fputs(rig->plan.settings, file);
	if (rig->plan.netns)
		fprintf(file, "insecure = yes\n");
	for (unsigned n = 1; n <= rig->n; n++) {
		fprintf(file, "host \"%s\" { id = %u  address = \"", rig->host[n].name, n);
		if (rig->plan.netns)
			fprintf(file, "10.77.0.%u:%u", n, NETNS_PORT);
		else
			fprintf(file, "127.0.0.1:%u", rig->host[n].port);
		fprintf(file, "\"  role = %s }\n", n <= rig->plan.voters ? "voter" : "observer");
	}
	cr_assert_eq(fclose(file), 0);
}

void rig_start(const struct rig_plan *plan)
{
	const char *tmp = getenv("TMPDIR");

	unsetenv("PAXSHM_SOCKET");
	unsetenv("PAXSHM_CLUSTER");
	unsetenv("PAXSHM_SPACE");
	unsetenv("NOTIFY_SOCKET");
	cr_assert_null(rig, "one rig in a process");
	rig = mmap(NULL, sizeof(*rig), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(rig, MAP_FAILED);
	*rig = (struct rig){ .plan = *plan };
	if (!rig->plan.voters)
		rig->plan.voters = 3;
	rig->n = rig->plan.voters + rig->plan.observers;
	cr_assert_leq(rig->n, RIG_HOSTS);
	snprintf(rig->dir, sizeof(rig->dir), "%.40s/paxshm-rig-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	cr_assert(mkdtemp(rig->dir));
	snprintf(rig->tag, sizeof(rig->tag), "paxrig-%d", (int)getpid());
	snprintf(rig->cluster, sizeof(rig->cluster), "rig-%d", (int)getpid());
	hire_janitor();

	for (unsigned n = 1; n <= rig->n; n++) {
		struct rig_host *h = &rig->host[n];

		snprintf(h->name, sizeof(h->name), "h%u", n);
		snprintf(h->socket, sizeof(h->socket), "%s/%u.sock", rig->dir, n);
		snprintf(h->log, sizeof(h->log), "%s/%u.log", rig->dir, n);
		snprintf(h->state, sizeof(h->state), "%s/%u.state", rig->dir, n);
		h->port_fd = -1;
		if (!rig->plan.netns)
			h->port_fd = reserve_port(&h->port);
	}
	if (rig->plan.netns)
		cr_assert(netns_make(rig->tag, rig->n), "network namespaces cannot be made");
	write_configuration();
	if (rig->plan.idle)
		return;
	for (unsigned n = 1; n <= rig->n; n++)
		rig_start_host(n, true);
	rig_settle(0);
}

/* ---- programs ---- */

/* The built one, for our own programs. */
const char *rig_program(const char *name)
{
	static char path[PATH_MAX];
	ssize_t n;

	if (strncmp(name, "pax", 3) != 0)
		return name;
	n = readlink("/proc/self/exe", path, sizeof(path) - 64);
	cr_assert(n > 0);
	path[n] = '\0';
	/* build/tests/cluster/x_test -> build/NAME */
	for (unsigned up = 0; up < 3; up++)
		*strrchr(path, '/') = '\0';
	strcat(path, "/");
	strcat(path, name);
	return path;
}

/* In a child: it ends with us, and has no descriptors but 0, 1 and 2. */
static void become_ours(pid_t parent, int in, int out)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	dup2(in < 0 ? null : in, 0);
	dup2(out < 0 ? null : out, 1);
	dup2(out < 0 ? null : out, 2);
	close_range(3, ~0u, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
}

/* Our child, which nobody else waits for: its pid stays its own. */
pid_t rig_spawn(int in_fd, int out_fd, const char *const argv[])
{
	const char *path = rig_program(argv[0]);
	pid_t parent = getpid(), pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		become_ours(parent, in_fd, out_fd);
		execvp(path, (char *const *)argv);
		_exit(127);
	}
	cr_assert(pid > 0);
	return pid;
}

int rig_wait(pid_t pid)
{
	int fd = open_pidfd(pid), status;
	struct pollfd end = { .fd = fd, .events = POLLIN };

	cr_assert(fd >= 0, "process %d: %s", (int)pid, strerror(errno));
	cr_assert_eq(poll(&end, 1, RIG_PATIENCE_MS), 1, "process %d does not end", (int)pid);
	close(fd);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return status;
}

int rig_run(char *out, size_t cap, const char *const argv[])
{
	int ends[2];
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	pid = rig_spawn(-1, ends[1], argv);
	close(ends[1]);
	while ((n = read(ends[0], out + len, cap - 1 - len)) > 0 && len < cap - 1)
		len += (size_t)n;
	out[len] = '\0';
	close(ends[0]);
	return rig_wait(pid);
}

/* ---- hosts ---- */

void rig_start_host(unsigned n, bool bootstrap)
{
	struct rig_host *h = &rig->host[n];
	const char *loop = rig->plan.loop[n] ? rig->plan.loop[n] : rig->plan.loop[0] ? rig->plan.loop[0]
										     : "auto";
	const char *path = rig_program("paxshmd"), *config = rig_path("cluster.conf");
	pid_t parent = getpid(), pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		int log = open(h->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

		become_ours(parent, -1, log);
		if (rig->plan.netns && netns_enter(rig->tag, n))
			_exit(126);
		if (rig->plan.in_keeper)
			rig->plan.in_keeper(n);
		execl(path, "paxshmd", "--config", config, "--host", h->name, "--socket", h->socket, "--state", h->state,
		      "--loop", loop, bootstrap ? "--bootstrap" : NULL, NULL);
		_exit(127);
	}
	cr_assert(pid > 0);
	h->keeper = process_of(pid);
}

bool rig_runs(unsigned n)
{
	return process_alive(&rig->host[n].keeper);
}

struct process rig_agent(unsigned n)
{
	struct process agent = { 0 };

	RIG_WAIT(process_children(rig->host[n].keeper.pid, &agent, 1) == 1, "an agent of host %u", n);
	return agent;
}

static bool settled(unsigned n)
{
	struct paxshm_options options = PAXSHM_INIT(options);
	struct paxshm_status status;

	if (!rig->host[n].watch) {
		options.socket = rig->host[n].socket;
		options.agent_timeout_ms = 2000;
		if (paxshm_open(&rig->host[n].watch, &options) < 0) {
			rig->host[n].watch = NULL;
			cr_assert(rig_runs(n), "host %u has ended", n);
			return false;
		}
	}
	status = rig_status(n);
	return status.quorum && status.incarnation && rig_serves(n);
}

void rig_settle(unsigned n)
{
	for (unsigned i = n ? n : 1; i <= (n ? n : rig->n); i++)
		if (rig_runs(i))
			RIG_WAIT(settled(i), "host %u settles", i);
}

void rig_kill_agent(unsigned n)
{
	struct process agent = rig_agent(n);

	cr_assert(process_signal(&agent, SIGKILL));
	cr_assert(process_wait_gone(&agent, RIG_PATIENCE_MS));
	rig->host[n].deaths++;
}

bool rig_serves(unsigned n)
{
	struct process agent = { 0 };

	return process_children(rig->host[n].keeper.pid, &agent, 1) == 1 && rig_status(n).agent_pid == (uint32_t)agent.pid;
}

void rig_back(unsigned n)
{
	RIG_WAIT(rig_serves(n), "host %u has an agent again", n);
}

void rig_signal_agent(unsigned n, int sig)
{
	struct process agent = rig_agent(n);

	cr_assert(process_signal(&agent, sig));
	rig->host[n].stopped = sig == SIGSTOP;
}

static void forget(unsigned n)
{
	rig_unwatch(n);
	rig->host[n].keeper = (struct process){ 0 };
	rig->host[n].stopped = false;
}

void rig_kill_host(unsigned n)
{
	struct process agent = rig_agent(n), keeper = rig->host[n].keeper;

	cr_assert(process_signal(&keeper, SIGKILL));
	cr_assert(process_wait_gone(&keeper, RIG_PATIENCE_MS));
	cr_assert(process_wait_gone(&agent, RIG_PATIENCE_MS), "an agent outlives its keeper");
	forget(n);
}

int rig_stop_host(unsigned n)
{
	struct process keeper = rig->host[n].keeper;
	int fd = open_pidfd(keeper.pid), status;
	struct pollfd end = { .fd = fd, .events = POLLIN };

	rig_unwatch(n);
	cr_assert(fd >= 0);
	process_signal(&keeper, SIGTERM);
	if (poll(&end, 1, END_MS) != 1) {
		process_signal(&keeper, SIGKILL);
		waitpid(keeper.pid, &status, 0);
		status = -1;
	} else {
		cr_assert_eq(waitpid(keeper.pid, &status, 0), keeper.pid);
		status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	}
	close(fd);
	forget(n);
	return status;
}

/* ---- looking ---- */

paxshm_session *rig_open(unsigned n)
{
	struct paxshm_options options = PAXSHM_INIT(options);
	paxshm_session *s = NULL;
	int rc;

	options.socket = rig->host[n].socket;
	rc = paxshm_open(&s, &options);
	cr_assert_eq(rc, 0, "host %u: %s (%s)", n, paxshm_strerror(rc), paxshm_open_reason());
	return s;
}

paxshm_session *rig_watch(unsigned n)
{
	if (!rig->host[n].watch)
		rig->host[n].watch = rig_open(n);
	return rig->host[n].watch;
}

void rig_unwatch(unsigned n)
{
	if (rig->host[n].watch)
		cr_assert_eq(paxshm_close(rig->host[n].watch), 0);
	rig->host[n].watch = NULL;
}

static int look(unsigned n, uint32_t flags, struct paxshm_status *ret)
{
	*ret = (struct paxshm_status)PAXSHM_INIT(*ret);
	return paxshm_status(rig_watch(n), flags, ret);
}

struct paxshm_status rig_status(unsigned n)
{
	struct paxshm_status status;

	RIG_WAIT(look(n, 0, &status) == 0, "the status of host %u", n);
	return status;
}

uint64_t rig_requests(unsigned n)
{
	return rig_status(n).requests;
}

uint32_t rig_waiters(unsigned n, const char *key)
{
	struct paxshm_lock_info info = PAXSHM_INIT(info);

	return paxshm_look(rig_watch(n), key, strlen(key), &info) == 0 ? info.waiters : 0;
}

static unsigned leader_now(void)
{
	unsigned leader = 0;

	for (unsigned n = 1; n <= rig->n; n++) {
		if (!rig_runs(n) || rig->host[n].stopped)
			continue;
		struct paxshm_status status = rig_status(n);

		if (!status.quorum)
			continue;
		if (!status.leader_id || (leader && leader != status.leader_id) || !rig_runs(status.leader_id))
			return 0;
		leader = status.leader_id;
	}
	return leader;
}

unsigned rig_leader(void)
{
	unsigned leader;

	RIG_WAIT((leader = leader_now()) != 0, "a leader");
	return leader;
}

unsigned rig_follower(unsigned not_this)
{
	unsigned leader = rig_leader();

	unsigned n = 1;

	while (n <= rig->plan.voters && (n == leader || n == not_this || !rig_runs(n) || rig->host[n].stopped))
		n++;
	cr_assert_leq(n, rig->plan.voters, "no other voter runs");
	return n;
}

uint32_t rig_waiting(unsigned n, const char *key)
{
	struct paxshm_lock_info info = PAXSHM_INIT(info);
	uint32_t cursor = 0;
	int rc;

	while ((rc = paxshm_next_lock(rig_watch(n), &cursor, &info)) == 1)
		if (info.key_len == strlen(key) && !memcmp(info.key, key, info.key_len))
			return info.waiting;
	return 0;
}

struct paxshm_who rig_holder(unsigned n, const char *key)
{
	struct paxshm_who who = PAXSHM_INIT(who);
	int rc = paxshm_holder(rig_watch(n), key, strlen(key), PAXSHM_LINEARIZABLE, &who);

	cr_assert(rc == 0 || rc == -ESRCH, "holder of %s: %s", key, paxshm_strerror(rc));
	return who;
}

/* Whether all tables are at one index now; then they must be equal. */
static bool same_now(void)
{
	struct paxshm_status first = { 0 }, status;

	for (unsigned n = 1; n <= rig->n; n++) {
		if (!rig_runs(n) || rig->host[n].stopped)
			continue;
		if (look(n, PAXSHM_STATUS_HASH, &status) < 0)
			return false;
		if (first.size && status.applied != first.applied)
			return false;
		if (first.size)
			cr_assert_eq(status.state_hash, first.state_hash, "at slot %llu hosts %u and %u differ",
				     (unsigned long long)status.applied, first.host_id, n);
		else
			first = status;
	}
	return true;
}

void rig_same_tables(void)
{
	RIG_WAIT(same_now(), "all tables at one index");
}

/* ---- the end ---- */

void rig_end(void)
{
	unsigned voters = 0;

	for (unsigned n = 1; n <= rig->n; n++)
		voters += n <= rig->plan.voters && rig_runs(n);
	if (voters > rig->plan.voters / 2)
		rig_same_tables();
	for (unsigned n = 1; n <= rig->n; n++) {
		if (rig_runs(n)) {
			int status = rig_stop_host(n);

			cr_assert_eq(status, 0, "host %u ended with status %d", n, status);
		}
		cr_assert_eq(rig_log_count(n, "event=agent.died"), rig->host[n].deaths, "agents of host %u died", n);
		cr_assert_eq(rig_log_count(n, "must hold"), 0, "an assertion failed on host %u", n);
		if (!rig->critical_expected)
			cr_assert_eq(rig_log_count(n, "level=crit"), 0, "host %u logged something critical", n);
	}
	clean_up();
}
