/* SPDX-License-Identifier: Apache-2.0 */
/* paxcluster: agents on this machine, for demos, tests and benchmarks. paxcluster(1). */
#define _GNU_SOURCE
#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cluster.h"

enum { EXIT_FAILED = 1,
       EXIT_USAGE = 64,
       EXIT_NOT_RUN = 126,
       EXIT_NOT_FOUND = 127 };

#define SETTINGS 32
#define WAIT_MS 30000

enum { OPTION_OBSERVERS = 256,
       OPTION_DIR,
       OPTION_NETNS,
       OPTION_CONFIG,
       OPTION_KEEPER,
       OPTION_KEEP };

struct options {
	unsigned voters, observers;
	const char *dir;
	bool netns, keeper, keep;
	const char *settings[SETTINGS];
	unsigned n_settings;
	char **args; /* what is left, NULL at its end */
	int n_args;
	bool takes_command; /* the arguments end its own options */
	char *places[3];    /* else they are collected here */
};

static unsigned parse_number(const struct argp_state *state, const char *text, unsigned min, unsigned max)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (end == text || *end || n < (long)min || n > (long)max)
		argp_error(state, "\"%s\" is no number from %u to %u", text, min, max);
	return (unsigned)n;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'n':
		o->voters = parse_number(state, arg, 1, 7);
		if (o->voters % 2 == 0)
			argp_error(state, "voters are 1, 3, 5 or 7");
		return 0;
	case OPTION_OBSERVERS:
		o->observers = parse_number(state, arg, 0, CLUSTER_HOSTS - 7);
		return 0;
	case OPTION_DIR:
		if (strlen(arg) >= CLUSTER_PATH || !*arg)
			argp_error(state, "no folder's name: \"%s\"", arg);
		o->dir = arg;
		return 0;
	case OPTION_NETNS: o->netns = true; return 0;
	case OPTION_KEEPER: o->keeper = true; return 0;
	case OPTION_KEEP: o->keep = true; return 0;
	case OPTION_CONFIG:
		if (o->n_settings == SETTINGS || !strchr(arg, '=') || *arg == '=')
			argp_error(state, "--config takes key=value, at most %d times", SETTINGS);
		o->settings[o->n_settings++] = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (o->takes_command)
			return ARGP_ERR_UNKNOWN; /* all, as ARGP_KEY_ARGS */
		if (o->n_args == 2)
			argp_error(state, "too many arguments");
		o->args = o->places;
		o->places[o->n_args++] = arg;
		return 0;
	case ARGP_KEY_ARGS:
		o->args = state->argv + state->next;
		o->n_args = state->argc - state->next;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* ---- starting ---- */

static void shell_quote(const char *text)
{
	putchar('\'');
	for (; *text; text++)
		*text == '\'' ? (void)fputs("'\\''", stdout) : (void)putchar(*text);
	putchar('\'');
}

typedef void assign(const char *name, const char *value);

static void assign_print(const char *name, const char *value)
{
	printf("%s=", name);
	shell_quote(value);
	putchar('\n');
}

static void assign_environment(const char *name, const char *value)
{
	setenv(name, value, 1);
}

static void assign_all(const struct cluster *c, assign *assign)
{
	char name[32], value[32];

	assign("PAXCLUSTER_DIR", c->dir);
	snprintf(value, sizeof(value), "%u", cluster_size(c));
	assign("PAXCLUSTER_HOSTS", value);
	if (c->netns)
		assign("PAXCLUSTER_NETNS", c->tag);
	for (unsigned n = 1; n <= cluster_size(c); n++) {
		snprintf(name, sizeof(name), "PAXSHM_SOCKET_%u", n);
		assign(name, cluster_path(c, n, "agent.sock"));
		snprintf(name, sizeof(name), "PAXCLUSTER_PID_%u", n);
		snprintf(value, sizeof(value), "%d", (int)cluster_keeper(c, n).pid);
		assign(name, value);
	}
}

static void interrupt(int sig)
{
	(void)sig;
	cluster_interrupted = 1;
}

/* Everything runs and has a quorum, or nothing is left. */
static bool bring_up(struct cluster *c, const struct options *o, bool die_with_us)
{
	struct sigaction act = { .sa_handler = interrupt };

	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGHUP, &act, NULL);
	*c = (struct cluster){ .voters = o->voters, .observers = o->observers, .netns = o->netns, .die_with_us = die_with_us };
	if (o->dir)
		strcpy(c->dir, o->dir);
	if (cluster_make(c, o->settings, o->n_settings) < 0)
		return false;
	bool ok = true;
	for (unsigned n = 1; ok && n <= cluster_size(c); n++)
		ok = !cluster_interrupted && host_start(c, n, n <= c->voters) == 0;
	if (ok && cluster_wait(c, 0, WAIT_MS))
		return true;
	cluster_stop(c);
	cluster_remove(c);
	return false;
}

static int command_start(struct options *o, struct cluster *c)
{
	if (o->n_args) {
		fprintf(stderr, "paxcluster: start takes no argument (%s)\n", o->args[0]);
		return EXIT_USAGE;
	}
	if (!bring_up(c, o, false))
		return EXIT_FAILED;
	assign_all(c, assign_print);
	return 0;
}

/* The command, with every signal for us passed on to it. Its wait status. */
static int run_command(char **argv)
{
	sigset_t set, old;
	int status = 0;

	sigemptyset(&set);
	for (const int *sig = (const int[]){ SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD, 0 }; *sig; sig++)
		sigaddset(&set, *sig);
	sigprocmask(SIG_BLOCK, &set, &old);
	if (cluster_interrupted)
		return (128 + SIGINT) << 8;
	fflush(NULL);
	pid_t parent = getpid(), pid = fork();
	if (pid == 0) {
		sigprocmask(SIG_SETMASK, &old, NULL);
		/* If this process is killed, the command goes the way of the cluster. */
		if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent)
			_exit(EXIT_NOT_RUN);
		execvp(argv[0], argv);
		int rc = errno;
		fprintf(stderr, "paxcluster: %s: %s\n", argv[0], strerror(rc));
		_exit(rc == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN);
	}
	if (pid < 0) {
		fprintf(stderr, "paxcluster: fork: %s\n", strerror(errno));
		return EXIT_NOT_RUN << 8;
	}
	while (waitpid(pid, &status, WNOHANG) != pid) {
		siginfo_t info;

		/* What the terminal sends, the command has already. */
		if (sigwaitinfo(&set, &info) > 0 && info.si_signo != SIGCHLD && info.si_code != SI_KERNEL)
			kill(pid, info.si_signo);
	}
	return status;
}

static int command_run(struct options *o, struct cluster *c)
{
	if (!o->n_args) {
		fprintf(stderr, "paxcluster: which command? (paxcluster run -- CMD...)\n");
		return EXIT_USAGE;
	}
	if (!bring_up(c, o, true))
		return EXIT_FAILED;
	assign_all(c, assign_environment);
	int status = run_command(o->args);
	cluster_stop(c);
	if (o->keep)
		fprintf(stderr, "paxcluster: kept %s\n", c->dir);
	else
		cluster_remove(c);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- what is done to a cluster that runs ---- */

static int command_stop(struct options *o, struct cluster *c)
{
	cluster_stop(c);
	if (!o->keep)
		cluster_remove(c);
	return 0;
}

/* The host that the second argument names; 0: none, and that was said. */
static unsigned which_host(const struct options *o, const struct cluster *c)
{
	char *end;
	unsigned long n = o->n_args == 2 ? strtoul(o->args[1], &end, 10) : 0;

	if (n < 1 || n > cluster_size(c) || *end) {
		fprintf(stderr, "paxcluster: which host? 1 to %u\n", cluster_size(c));
		return 0;
	}
	return (unsigned)n;
}

static int command_kill(struct options *o, struct cluster *c)
{
	unsigned n = which_host(o, c);
	if (!n)
		return EXIT_USAGE;

	if (host_kill(c, n, o->keeper))
		return 0;
	fprintf(stderr, "paxcluster: host%u has no %s\n", n, o->keeper ? "keeper" : "agent");
	return EXIT_FAILED;
}

static int command_restart(struct options *o, struct cluster *c)
{
	unsigned n = which_host(o, c);
	struct paxshm_status status;
	uint64_t deadline = paxshm_deadline_ms(WAIT_MS);

	if (!n)
		return EXIT_USAGE;
	host_stop(c, n);
	if (host_start(c, n, false) < 0)
		return EXIT_FAILED;
	/* It may have no quorum now, for good reasons: that it answers is all that is waited for. */
	while (!host_status(c, n, &status)) {
		if (paxshm_deadline_ms(0) >= deadline || !cluster_keeper(c, n).pid) {
			fprintf(stderr, "paxcluster: host%u does not come up: %s\n", n, cluster_path(c, n, "log"));
			return EXIT_FAILED;
		}
		usleep(20000);
	}
	printf("PAXCLUSTER_PID_%u='%d'\n", n, (int)cluster_keeper(c, n).pid);
	return 0;
}

static int command_status(struct options *o, struct cluster *c)
{
	bool all = true;

	(void)o;
	printf("%-8s %8s %8s  %-8s  %-6s  %-8s  %s\n", "HOST", "KEEPER", "AGENT", "ROLE", "QUORUM", "LEADER", "APPLIED");
	for (unsigned n = 1; n <= cluster_size(c); n++) {
		struct process keeper = cluster_keeper(c, n), agent = cluster_agent(c, n);
		struct paxshm_status status;
		bool answers = host_status(c, n, &status);

		all &= answers && status.quorum;
		printf("host%-4u %8d %8d  %-8s  %-6s  %-8s  %llu\n", n, (int)keeper.pid, (int)agent.pid,
		       !answers ? "-" : status.role == 1 ? "voter"
							 : "observer",
		       answers && status.quorum ? "yes" : "NO",
		       answers && status.leader_id ? status.leader : "-", answers ? (unsigned long long)status.applied : 0);
	}
	return all ? 0 : EXIT_FAILED;
}

static int command_leader(struct options *o, struct cluster *c)
{
	(void)o;
	for (unsigned n = 1; n <= cluster_size(c); n++) {
		struct paxshm_status status;

		if (host_status(c, n, &status) && status.quorum && status.leader_id) {
			printf("%u\n", status.leader_id);
			return 0;
		}
	}
	fprintf(stderr, "paxcluster: no host knows a leader\n");
	return EXIT_FAILED;
}

/* ---- the command line ---- */

#define START_OPTIONS \
	{ "voters", 'n', "N", 0, "voters: 1, 3, 5 or 7 (default 3)", 0 }, \
		{ "observers", OPTION_OBSERVERS, "M", 0, "observers beside them (default 0)", 0 }, \
		{ "dir", OPTION_DIR, "DIR", 0, "the cluster's folder, new or empty (default: a new one under $TMPDIR)", 0 }, \
		{ "netns", OPTION_NETNS, NULL, 0, "a network namespace for each host, joined by a bridge (root)", 0 }, \
	{ \
		"config", OPTION_CONFIG, "KEY=VALUE", 0, "a setting as in paxshmd.conf(5)", 0 \
	}

#define KEEP_OPTION \
	{ \
		"keep", OPTION_KEEP, NULL, 0, "leave the folder with its logs", 0 \
	}

static const struct argp_option no_options[] = { { 0 } };
static const struct argp_option start_options[] = { START_OPTIONS, { 0 } };
static const struct argp_option run_options[] = { START_OPTIONS, KEEP_OPTION, { 0 } };
static const struct argp_option stop_options[] = { KEEP_OPTION, { 0 } };
static const struct argp_option kill_options[] = {
	{ "keeper", OPTION_KEEPER, NULL, 0, "the keeper instead of the agent: the host's memory is lost", 0 },
	{ 0 },
};

static const struct command {
	const char *name;
	int (*run)(struct options *o, struct cluster *c);
	bool on_cluster; /* the first argument is the folder of one */
	struct argp argp;
} commands[] = {
	{ "start", command_start, false, { start_options, parse, NULL, "Starts agents on this machine, waits until all have a quorum, and prints where they are as shell assignments.", NULL, NULL, NULL } },
	{ "run", command_run, false, { run_options, parse, "-- CMD [ARGUMENT...]", "Starts a cluster, runs CMD with the assignments of start in its environment, and stops the cluster whatever happens. "
										   "Exits as CMD did.",
				       NULL, NULL, NULL } },
	{ "stop", command_stop, true, { stop_options, parse, "DIR", "Ends every process of the cluster and takes its folder away.", NULL, NULL, NULL } },
	{ "kill", command_kill, true, { kill_options, parse, "DIR N", "Sends SIGKILL to the agent of host N; its keeper starts another.", NULL, NULL, NULL } },
	{ "restart", command_restart, true, { no_options, parse, "DIR N", "Ends host N, if it runs, and starts it with fresh memory.", NULL, NULL, NULL } },
	{ "status", command_status, true, { no_options, parse, "DIR", "Prints every host. Exits 0 when all have a quorum.", NULL, NULL, NULL } },
	{ "leader", command_leader, true, { no_options, parse, "DIR", "Prints the number of the leading host.", NULL, NULL, NULL } },
};

static error_t parse_command(int key, char *arg, struct argp_state *state)
{
	const struct command **command = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
			if (strcmp(arg, commands[i].name) == 0)
				*command = &commands[i];
		if (!*command)
			argp_error(state, "there is no command \"%s\"", arg);
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which command?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.parser = parse_command,
	.args_doc = "COMMAND [ARGUMENT...]",
	.doc = "Clusters of paxshm agents on one machine, for demos, tests and benchmarks.\v"
	       "Commands:\n"
	       "  start                start one, say where: eval \"$(paxcluster start)\"\n"
	       "  run -- CMD...        start one for CMD, and stop it afterwards\n"
	       "  stop DIR             end it and take its folder away\n"
	       "  kill DIR N           SIGKILL the agent of host N, or its keeper\n"
	       "  restart DIR N        end host N and start it with fresh memory\n"
	       "  status DIR           print its hosts\n"
	       "  leader DIR           print which host leads\n"
	       "\n"
	       "paxcluster COMMAND --help tells more; so does paxcluster(1).",
};

int main(int argc, char **argv)
{
	const struct command *command = NULL;
	struct options options = { .voters = 3 };
	struct cluster cluster;
	char name[64];
	int at = 1;

	argp_err_exit_status = EXIT_USAGE;
	/* Only --help and its like may stand before the command. */
	while (at < argc && argv[at][0] == '-')
		at++;
	argp_parse(&argp, at < argc ? at + 1 : argc, argv, ARGP_IN_ORDER, NULL, &command);
	snprintf(name, sizeof(name), "paxcluster %s", command->name);
	argv[at] = name;
	options.takes_command = command->run == command_run;
	argp_parse(&command->argp, argc - at, argv + at, options.takes_command ? ARGP_IN_ORDER : 0, NULL, &options);

	if (command->on_cluster) {
		if (!options.n_args) {
			fprintf(stderr, "paxcluster: which cluster? its folder (PAXCLUSTER_DIR)\n");
			return EXIT_USAGE;
		}
		if (cluster_load(&cluster, options.args[0]) < 0)
			return EXIT_FAILED;
	}
	return command->run(&options, &cluster);
}
