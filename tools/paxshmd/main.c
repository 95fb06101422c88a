/* SPDX-License-Identifier: Apache-2.0 */
/* main: paxshmd's command line. What it says is in paxshmd(8). */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "../../lib/base.h"
#include "config.h"
#include "keeper.h"
#include "log.h"
#include "reactor.h"

#ifndef PAXSHM_VERSION
#define PAXSHM_VERSION "0.1.0"
#endif

enum { OPTION_CONFIG = 256,
       OPTION_HOST,
       OPTION_SOCKET,
       OPTION_STATE,
       OPTION_BOOTSTRAP,
       OPTION_LOOP,
       OPTION_CHECK,
       OPTION_SINGLE };

static const struct argp_option options[] = {
	{ "config", OPTION_CONFIG, "FILE", 0, "Join the cluster that FILE describes: paxshmd.conf(5)", 0 },
	{ "single", OPTION_SINGLE, NULL, 0, "Be a cluster of one, without a configuration", 0 },
	{ "host", OPTION_HOST, "NAME", 0, "Which host of FILE this is (default: the machine's name)", 1 },
	{ "socket", OPTION_SOCKET, "PATH", 0, "Where programs find the agent (default: /run/paxshm/agent.sock, or "
					      "$XDG_RUNTIME_DIR/paxshm/agent.sock for a user)",
	  1 },
	{ "state", OPTION_STATE, "DIR", 0, "Where the mark of the founding lies (default: /var/lib/paxshm, or "
					   "$XDG_STATE_HOME/paxshm for a user)",
	  1 },
	{ "bootstrap", OPTION_BOOTSTRAP, NULL, 0, "Found the cluster: at the first start of its voters", 1 },
	{ "loop", OPTION_LOOP, "ENGINE", 0, "auto, io_uring or epoll", 1 },
	{ "check", OPTION_CHECK, NULL, 0, "Read the configuration, say what it holds, and end", 1 },
	{ 0 },
};

struct wishes {
	const char *config, *host, *socket, *state, *loop;
	bool single, bootstrap, check;
};

static error_t parse(int key, char *value, struct argp_state *state)
{
	struct wishes *w = state->input;

	switch (key) {
	case OPTION_CONFIG: w->config = value; return 0;
	case OPTION_HOST: w->host = value; return 0;
	case OPTION_SOCKET: w->socket = value; return 0;
	case OPTION_STATE: w->state = value; return 0;
	case OPTION_LOOP: w->loop = value; return 0;
	case OPTION_SINGLE: w->single = true; return 0;
	case OPTION_BOOTSTRAP: w->bootstrap = true; return 0;
	case OPTION_CHECK: w->check = true; return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "unexpected argument: %s", value);
		return 0;
	case ARGP_KEY_END:
		if (w->single && (w->config || w->host || w->bootstrap || w->state))
			argp_error(state, "--single needs no --config, --host, --state or --bootstrap");
		else if (!w->single && !w->config)
			argp_error(state, "give --config FILE, or --single for a cluster of one");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "--config FILE\n--single",
	.doc = "The agent of one host: locks for the processes of a cluster.\v"
	       "It stays in the foreground, logs to standard error, and ends on SIGTERM.",
};

static int refuse(const char *why)
{
	fprintf(stderr, "paxshmd: %s\n", why);
	return EXIT_FAILURE;
}

/* What the command line says goes over what the file says. */
static int overrule(struct config *c, const struct wishes *w, char *why)
{
	if (w->socket && (!w->socket[0] || strlen(w->socket) >= sizeof(c->socket))) {
		snprintf(why, CONFIG_WHY, "--socket %s: a socket's path has 1 to %zu bytes; give another", w->socket, sizeof(c->socket) - 1);
		return -EINVAL;
	}
	if (w->state && (!w->state[0] || strlen(w->state) >= sizeof(c->state))) {
		snprintf(why, CONFIG_WHY, "--state %s: this path has 1 to %zu bytes; give another", w->state, sizeof(c->state) - 1);
		return -EINVAL;
	}
	if (w->socket)
		strcpy(c->socket, w->socket);
	if (w->state)
		strcpy(c->state, w->state);
	if (w->loop && config_engine(w->loop, &c->engine)) {
		snprintf(why, CONFIG_WHY, "--loop %s is not known; choose auto, io_uring or epoll", w->loop);
		return -EINVAL;
	}
	return config_places(c, why);
}

static int read_config(struct config *ret, void *context, char *why)
{
	const struct wishes *w = context;
	int rc = 0;

	if (w->single)
		config_single(ret);
	else
		rc = config_read(ret, w->config, w->host, why);
	return rc ? rc : overrule(ret, w, why);
}

static int tell(const struct config *c)
{
	static const char *const engines[] = { "auto", "io_uring", "epoll" };
	struct agent_limits limits = config_limits(c);

	printf("%s: in order\n", c->single ? "--single" : c->file);
	printf("cluster %s, this host is %s\n", c->cluster, c->hosts[c->self].name);
	for (unsigned i = 0; i < c->n_hosts && !c->single; i++)
		printf("host %s: id %u, %s, %s\n", c->hosts[i].name, c->hosts[i].id, c->hosts[i].address_text,
		       c->hosts[i].role == HOST_VOTER ? "voter" : "observer");
	printf("socket %s\n", c->socket);
	if (c->state[0])
		printf("state %s\n", c->state);
	printf("locks %u, claims %u, sessions %u\n", c->locks, limits.claims, limits.sessions);
	printf("heartbeat %u ms, leader lease %u ms, host lease %u ms, drift %u ppm\n", c->heartbeat_ms, c->leader_lease_ms,
	       c->host_lease_ms, c->drift_ppm);
	printf("handovers %u within %u ms, idle locks kept %u ms\n", c->handover_max, c->handover_ms, c->keep_ms);
	printf("loop %s\n", engines[c->engine]);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static struct config config; /* large */
	struct wishes wishes = { 0 };
	char why[CONFIG_WHY];

	/* How the keeper starts an agent; of no use to anybody else. */
	if (argc == 2 && !strcmp(argv[1], "--agent"))
		return reactor_run();

	argp_program_version = "paxshmd " PAXSHM_VERSION;
	argp_err_exit_status = EX_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, &wishes);
	if (read_config(&config, &wishes, why))
		return refuse(why);
	return wishes.check ? tell(&config) : keeper_run(&config, wishes.bootstrap, read_config, &wishes);
}
