/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "paxctl.h"

enum { OPTION_SOCKET = 256,
       OPTION_CLUSTER,
       OPTION_JSON };

#define COMMON_OPTIONS \
	{ "socket", OPTION_SOCKET, "PATH", 0, "the agent's socket (default: $PAXSHM_SOCKET, else /run/paxshm/agent.sock, else $XDG_RUNTIME_DIR/paxshm/agent.sock)", 20 }, \
	{ \
		"cluster", OPTION_CLUSTER, "NAME", 0, "refuse the agent of another cluster (default: $PAXSHM_CLUSTER, else any)", 20 \
	}

static const struct argp_option common_options[] = {
	COMMON_OPTIONS,
	{ 0 },
};

static const struct argp_option common_json_options[] = {
	{ "json", OPTION_JSON, NULL, 0, "one JSON document, its fields as in paxctl(1)", 10 },
	COMMON_OPTIONS,
	{ 0 },
};

static error_t common_option(int key, char *arg, struct argp_state *state)
{
	struct common *common = state->input;

	switch (key) {
	case OPTION_SOCKET: common->socket = arg; return 0;
	case OPTION_CLUSTER: common->cluster = arg; return 0;
	case OPTION_JSON: common->json = true; return 0;
	default: return ARGP_ERR_UNKNOWN;
	}
}

const struct argp common_argp = { .options = common_options, .parser = common_option };
const struct argp common_json_argp = { .options = common_json_options, .parser = common_option };

void command_parse(const struct argp *argp, int argc, char **argv, void *input)
{
	argp_err_exit_status = EXIT_USAGE;
	if (argp_parse(argp, argc, argv, ARGP_IN_ORDER, NULL, input) != 0)
		exit(EXIT_USAGE);
}

error_t parse_no_argument(int key, char *arg, struct argp_state *state)
{
	(void)arg;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = state->input;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "takes no argument");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

void check_key(const struct argp_state *state, const char *key)
{
	size_t len = strlen(key);

	if (len < 1 || len > PAXSHM_KEY_MAX)
		argp_error(state, "a key has 1 to %d bytes; this one has %zu", PAXSHM_KEY_MAX, len);
}

double parse_seconds(const struct argp_state *state, const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds >= 0 && seconds <= 1e9)) /* which no NaN is */
		argp_error(state, "\"%s\" is no time in seconds", text);
	return seconds;
}

int exit_status(int rc)
{
	switch (rc) {
	case 0:
		return 0;
	case -EBUSY:
	case -ETIMEDOUT:
	case -ESRCH:
		return EXIT_CONFLICT;
	case -ESTALE:
		return EXIT_LOST;
	case PAXSHM_NO_QUORUM:
		return EXIT_NO_QUORUM;
	case -ECONNREFUSED:
	case -ENOTCONN:
	case -EPROTO:
		return EXIT_NO_AGENT;
	case -EINVAL:
	case -ENAMETOOLONG:
		return EXIT_USAGE;
	default:
		return EXIT_OS;
	}
}

int fail(const char *what, int rc)
{
	fprintf(stderr, "paxctl: %s: %s\n", what, paxshm_strerror(rc));
	return exit_status(rc);
}

paxshm_session *open_session(const struct common *common, uint32_t flags)
{
	struct paxshm_options options = PAXSHM_INIT(options);
	paxshm_session *s;

	options.flags = flags;
	options.socket = common->socket;
	options.cluster = common->cluster;
	int rc = paxshm_open(&s, &options);
	if (rc < 0) {
		const char *reason = paxshm_open_reason();

		fprintf(stderr, "paxctl: %s\n", *reason ? reason : paxshm_strerror(rc));
		exit(EXIT_NO_AGENT);
	}
	return s;
}
