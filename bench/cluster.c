/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/base.h"
#include "../lib/paxshm.h"
#include "member.h"

#define ARGUMENTS 40u

/* Tells what was started, then lives until its input ends. */
static const char script[] =
	"i=1; echo \"$PAXCLUSTER_HOSTS\"; while [ $i -le $PAXCLUSTER_HOSTS ]; do "
	"eval echo \\$PAXCLUSTER_PID_$i \\$PAXSHM_SOCKET_$i; i=$((i+1)); done; exec 1>&-; read -r end; exit 0";

int bench_cluster_find(struct bench_cluster *c)
{
	const char *hosts = getenv("PAXCLUSTER_HOSTS");
	char name[32];

	*c = (struct bench_cluster){ .hold = -1 };
	for (unsigned i = 1; hosts && i <= MIN((unsigned)atoi(hosts), BENCH_HOSTS); i++) {
		snprintf(name, sizeof(name), "PAXSHM_SOCKET_%u", i);
		const char *socket = getenv(name);
		if (socket && *socket && strlen(socket) < BENCH_SOCKET)
			strcpy(c->socket[c->n++], socket);
	}
	if (!c->n)
		c->n = 1;

	for (unsigned i = 0; i < c->n; i++) {
		struct paxshm_options options = PAXSHM_INIT(options);
		paxshm_session *s;

		options.socket = c->socket[i];
		int rc = paxshm_open(&s, &options);
		if (rc < 0) {
			fprintf(stderr, "paxbench: no cluster: %s\n", paxshm_open_reason());
			fprintf(stderr, "paxbench: with --cluster 3 it starts agents of its own\n");
			return rc;
		}
		paxshm_close(s);
	}
	return 0;
}

/* paxcluster beside this program, else in PATH. */
static const char *paxcluster(void)
{
	static char path[PATH_MAX + 16];
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX);

	if (n > 0) {
		path[n] = '\0';
		char *slash = strrchr(path, '/');
		strcpy(slash ? slash + 1 : path, "paxcluster");
		if (access(path, X_OK) == 0)
			return path;
	}
	return strcpy(path, "paxcluster");
}

static _Noreturn void become_paxcluster(unsigned voters, unsigned observers, char *settings, int in, int out)
{
	char number[2][32], *argv[ARGUMENTS], *next = NULL;
	unsigned n = 0;

	snprintf(number[0], sizeof(number[0]), "--voters=%u", voters);
	snprintf(number[1], sizeof(number[1]), "--observers=%u", observers);
	argv[n++] = (char *)"paxcluster";
	argv[n++] = (char *)"run";
	argv[n++] = number[0];
	argv[n++] = number[1];
	for (char *word = strtok_r(settings, " ", &next); word && n < ARGUMENTS - 8; word = strtok_r(NULL, " ", &next)) {
		argv[n++] = (char *)"--config";
		argv[n++] = word;
	}
	argv[n++] = (char *)"--";
	argv[n++] = (char *)"/bin/sh";
	argv[n++] = (char *)"-c";
	argv[n++] = (char *)script;
	argv[n] = NULL;
	setpgid(0, 0); /* the terminal's Ctrl-C is for paxbench, which then ends the cluster in order */
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	execvp(paxcluster(), argv);
	fprintf(stderr, "paxbench: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* What the script tells. */
static bool read_hosts(struct bench_cluster *c, int fd)
{
	FILE *in = fdopen(fd, "r");
	int pid;

	if (!in) {
		close(fd);
		return false;
	}
	bool ok = fscanf(in, "%u", &c->n) == 1 && c->n >= 1 && c->n <= BENCH_HOSTS;
	for (unsigned i = 0; ok && i < c->n; i++) {
		ok = fscanf(in, "%d %107s", &pid, c->socket[i]) == 2;
		c->keeper[i] = pid;
	}
	fclose(in);
	return ok;
}

static int start(struct bench_cluster *c)
{
	char settings[sizeof(c->settings)];
	int in[2], out[2];

	strcpy(settings, c->settings);
	if (pipe2(in, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(out, O_CLOEXEC) < 0) {
		close(in[0]);
		close(in[1]);
		return -EMFILE;
	}
	fflush(NULL);
	c->pid = fork();
	if (c->pid == 0)
		become_paxcluster(c->voters, c->observers, settings, in[0], out[1]);
	close(in[0]);
	close(out[1]);
	c->hold = in[1];
	if (c->pid < 0) {
		c->pid = 0;
		close(out[0]);
		return -EAGAIN;
	}
	return read_hosts(c, out[0]) ? 0 : -ECHILD;
}

int bench_cluster_start(struct bench_cluster *c, unsigned voters, unsigned observers, const char *settings, bool fresh)
{
	if (c->pid && !fresh && c->voters == voters && c->observers == observers && strcmp(c->settings, settings) == 0)
		return 0;
	bench_cluster_stop(c);
	*c = (struct bench_cluster){ .own = true, .voters = voters, .observers = observers, .hold = -1 };
	snprintf(c->settings, sizeof(c->settings), "%s", settings);
	int rc = start(c);
	if (rc < 0) {
		fprintf(stderr, "paxbench: paxcluster did not start %u agents\n", voters + observers);
		bench_cluster_stop(c);
		return rc;
	}
	if (crew_pins)
		bench_cluster_pin(c);
	return 0;
}

void bench_cluster_stop(struct bench_cluster *c)
{
	if (c->hold >= 0)
		close(c->hold);
	c->hold = -1;
	if (c->pid > 0) {
		/* Not reaped yet: the pid is still its own. It ends its agents first. */
		kill(c->pid, SIGTERM);
		while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	c->pid = 0;
	c->n = 0;
}

/* Keeper and agent; agents to come inherit it from the keeper. */
void bench_cluster_pin(struct bench_cluster *c)
{
	int others = 0;
	struct paxshm_status st;

	for (unsigned i = 0; i < c->n; i++) {
		if (!member_status(c->socket[i], &st))
			continue;
		int core = st.leader_id == st.host_id ? 0 : ++others % worker_cores();
		worker_pin((pid_t)st.agent_pid, core);
		worker_pin(c->keeper[i], core);
		c->place[i] = 1 + core;
	}
}

static pid_t parent_of(pid_t pid)
{
	char path[48];
	int parent = -1;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *file = fopen(path, "re");
	if (file && fscanf(file, "%*d (%*[^)]) %*c %d", &parent) != 1)
		parent = -1;
	if (file)
		fclose(file);
	return parent;
}

bool bench_cluster_kill(const struct bench_cluster *c, unsigned i, pid_t agent, bool keeper_too)
{
	if (!c->own || i >= c->n || agent <= 0 || c->keeper[i] <= 0 || parent_of(c->keeper[i]) != c->pid || parent_of(agent) != c->keeper[i])
		return false;
	if (keeper_too && kill(c->keeper[i], SIGKILL) < 0)
		return false;
	return kill(agent, SIGKILL) == 0 || (keeper_too && errno == ESRCH);
}
