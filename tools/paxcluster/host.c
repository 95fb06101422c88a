/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts of a cluster: their keepers and agents, started, watched and ended. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "cluster.h"
#include "net.h"

#define ASK_MS 10000 /* from a request to end until it is not a request any more */
#define INSIST_MS 5000
#define LOOK_MS 20 /* between two looks at something that takes a while */
#define CHILDREN 8

struct process cluster_keeper(const struct cluster *c, unsigned n)
{
	struct process keeper = process_load(cluster_path(c, n, "keeper"));

	return process_alive(&keeper) ? keeper : (struct process){ 0 };
}

struct process cluster_agent(const struct cluster *c, unsigned n)
{
	struct process keeper = cluster_keeper(c, n), agent = { 0 };

	if (keeper.pid)
		process_children(keeper.pid, &agent, 1);
	return agent;
}

/* paxshmd beside this program, as it was built or installed; else in PATH. */
static const char *paxshmd(void)
{
	static char path[CLUSTER_PATH];
	static const char *const places[] = { "paxshmd", "../sbin/paxshmd" };
	const char *set = getenv("PAXSHMD");
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 32);

	if (set && *set)
		return set;
	if (n > 0) {
		path[n] = 0;
		char *name = strrchr(path, '/') + 1;
		for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
			strcpy(name, places[i]);
			if (access(path, X_OK) == 0)
				return path;
		}
	}
	return "paxshmd";
}

/* In the child. */
static _Noreturn void become_keeper(const struct cluster *c, unsigned n, bool bootstrap, pid_t parent)
{
	char name[16];
	sigset_t none;

	snprintf(name, sizeof(name), "host%u", n);
	int in = open("/dev/null", O_RDONLY);
	int log = open(cluster_path(c, n, "log"), O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (in < 0 || log < 0)
		_exit(127);
	dup2(in, 0);
	dup2(log, 1);
	dup2(log, 2);
	close_range(3, ~0u, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	unsetenv("NOTIFY_SOCKET");
	if (c->die_with_us && (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent))
		_exit(127);
	int rc = c->netns ? netns_enter(c->tag, n) : 0;
	if (rc < 0) {
		fprintf(stderr, "paxcluster: network namespace %s-%u: %s\n", c->tag, n, strerror(-rc));
		_exit(127);
	}
	execlp(paxshmd(), "paxshmd", "--config", cluster_path(c, 0, "cluster.conf"), "--host", name,
	       "--socket", cluster_path(c, n, "agent.sock"), "--state", cluster_path(c, n, "state"),
	       bootstrap ? "--bootstrap" : NULL, NULL);
	fprintf(stderr, "paxcluster: %s: %s\n", paxshmd(), strerror(errno));
	_exit(127);
}

int host_start(const struct cluster *c, unsigned n, bool bootstrap)
{
	pid_t parent = getpid();

	fflush(NULL);
	pid_t pid = fork();
	if (pid < 0) {
		fprintf(stderr, "paxcluster: fork: %s\n", strerror(errno));
		return -EAGAIN;
	}
	if (pid == 0)
		become_keeper(c, n, bootstrap, parent);

	/* Not reaped, so the pid is still its own; a child that is dead already leaves an empty file. */
	struct process keeper = process_of(pid);
	return process_save(&keeper, cluster_path(c, n, "keeper"));
}

/* An agent ends when its keeper has. */
static void end_orphans(const struct process *children, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!process_wait_gone(&children[i], INSIST_MS))
			process_signal(&children[i], SIGKILL);
}

void host_stop(const struct cluster *c, unsigned n)
{
	struct process keeper = cluster_keeper(c, n), children[CHILDREN];

	if (!keeper.pid)
		return;
	unsigned n_children = process_children(keeper.pid, children, CHILDREN);
	process_signal(&keeper, SIGTERM);
	process_signal(&keeper, SIGCONT);
	if (!process_wait_gone(&keeper, ASK_MS)) {
		fprintf(stderr, "paxcluster: host%u does not end within %d s: killed\n", n, ASK_MS / 1000);
		process_signal(&keeper, SIGKILL);
		process_wait_gone(&keeper, INSIST_MS);
	}
	end_orphans(children, n_children);
}

bool host_kill(const struct cluster *c, unsigned n, bool keeper)
{
	struct process p = keeper ? cluster_keeper(c, n) : cluster_agent(c, n), children[CHILDREN];
	unsigned n_children = keeper && p.pid ? process_children(p.pid, children, CHILDREN) : 0;

	if (!process_signal(&p, SIGKILL))
		return false;
	process_wait_gone(&p, INSIST_MS);
	end_orphans(children, n_children);
	return true;
}

void cluster_stop(const struct cluster *c)
{
	for (unsigned n = 1; n <= cluster_size(c); n++)
		host_stop(c, n);
}

bool host_status(const struct cluster *c, unsigned n, struct paxshm_status *ret)
{
	struct paxshm_options options = PAXSHM_INIT(options);
	paxshm_session *s;

	*ret = (struct paxshm_status)PAXSHM_INIT(*ret);
	options.socket = cluster_path(c, n, "agent.sock");
	options.agent_timeout_ms = 1000;
	if (paxshm_open(&s, &options) < 0)
		return false;
	bool ok = paxshm_status(s, 0, ret) == 0;
	paxshm_close(s);
	return ok;
}

static void show_log(const struct cluster *c, unsigned n)
{
	char line[1024];
	FILE *log = fopen(cluster_path(c, n, "log"), "re");

	fprintf(stderr, "paxcluster: host%u %s; its log:\n", n, cluster_keeper(c, n).pid ? "has no quorum" : "does not run");
	while (log && fgets(line, sizeof(line), log))
		fprintf(stderr, "  %s", line);
	if (log)
		fclose(log);
}

volatile sig_atomic_t cluster_interrupted;

bool cluster_wait(const struct cluster *c, unsigned only, unsigned timeout_ms)
{
	uint64_t deadline = paxshm_deadline_ms(timeout_ms);

	for (unsigned n = only ? only : 1; n <= (only ? only : cluster_size(c)); n++) {
		struct paxshm_status status;

		while (!host_status(c, n, &status) || !status.quorum || !status.incarnation) {
			if (cluster_interrupted)
				return false;
			if (paxshm_deadline_ms(0) >= deadline || !cluster_keeper(c, n).pid) {
				show_log(c, n);
				return false;
			}
			nanosleep(&(struct timespec){ .tv_nsec = LOOK_MS * 1000000 }, NULL);
		}
	}
	return true;
}
