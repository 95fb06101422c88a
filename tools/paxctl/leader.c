/* SPDX-License-Identifier: Apache-2.0 */
/* paxctl leader [move HOST]: who leads; another shall. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "paxctl.h"

struct leader_options {
	struct common *common;
	bool move;
	const char *host;
};

#define MOVE_MS 5000 /* so long a move may take */
#define LOOK_MS 5

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct leader_options *options = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = options->common;
		return 0;
	case ARGP_KEY_ARG:
		if (!options->move && strcmp(arg, "move") == 0)
			options->move = true;
		else if (options->move && !options->host)
			options->host = arg;
		else
			argp_error(state, "\"%s\" is not understood: say \"move HOST\", or nothing", arg);
		return 0;
	case ARGP_KEY_END:
		if (options->move && !options->host)
			argp_error(state, "move to which host?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* The host of this name, or of this id in digits; id 0: there is none. */
static struct paxshm_host find_host(paxshm_session *s, const char *name)
{
	struct paxshm_host host = PAXSHM_INIT(host);
	uint32_t cursor = 0;
	char *end;
	unsigned long id = strtoul(name, &end, 10);

	while (paxshm_next_host(s, &cursor, &host) > 0)
		if (strcmp(host.name, name) == 0 || (name[0] && !*end && host.id == id))
			return host;
	host.id = 0;
	return host;
}

static int status_of(paxshm_session *s, struct paxshm_status *ret)
{
	*ret = (struct paxshm_status)PAXSHM_INIT(*ret);
	return paxshm_status(s, 0, ret);
}

/* 0: it leads. */
static int await_leader(paxshm_session *s, uint32_t host)
{
	uint64_t until = paxshm_deadline_ms(MOVE_MS);
	const struct timespec nap = { .tv_nsec = LOOK_MS * 1000000 };
	struct paxshm_status st;
	int rc;

	while ((rc = status_of(s, &st)) == 0 && st.leader_id != host) {
		if (paxshm_deadline_ms(0) >= until)
			return -ETIMEDOUT;
		nanosleep(&nap, NULL);
	}
	return rc;
}

static int say_refusal(const char *name, int rc)
{
	const char *why = NULL;

	switch (rc) {
	case -EINVAL: why = "it is no voter, and only voters lead"; break;
	case -EPERM: why = "only root and the user whom paxshmd runs as may move the leader"; break;
	case -EAGAIN: why = "the leader has only just begun to lead: try again"; break;
	case -EHOSTUNREACH: why = "it is not in touch with the leader: see its link with paxctl status"; break;
	case -ETIMEDOUT: why = "it does not lead after 5 s: the leader's log tells why (event=leader.stays)"; break;
	}
	if (!why)
		return fail(name, rc);
	fprintf(stderr, "paxctl: %s: %s\n", name, why);
	return rc == -EPERM || rc == -EINVAL ? EXIT_USAGE : EXIT_NO_QUORUM;
}

static int move(paxshm_session *s, const char *name)
{
	struct paxshm_host host = find_host(s, name);

	if (!host.id) {
		fprintf(stderr, "paxctl: %s: there is no such host; paxctl status lists them\n", name);
		return EXIT_USAGE;
	}
	int rc = paxshm_move_leader(s, host.id);
	if (rc == 0)
		rc = await_leader(s, host.id);
	return rc ? say_refusal(name, rc) : 0;
}

static int show(paxshm_session *s)
{
	struct paxshm_status st;
	int rc = status_of(s, &st);

	if (rc)
		return fail("leader", rc);
	if (!st.leader_id) {
		fprintf(stderr, "paxctl: no leader is known\n");
		return EXIT_NO_QUORUM;
	}
	printf("%s\n", st.leader);
	return 0;
}

int command_leader(int argc, char **argv, struct common *common)
{
	static const struct argp_child children[] = { { &common_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = {
		.parser = parse,
		.args_doc = "[move HOST]",
		.doc = "Prints the host that leads, or lets the voter HOST lead: the present leader gives its lease up first, so no "
		       "moment is lost waiting for it. Returns when HOST leads.",
		.children = children,
	};
	struct leader_options options = { .common = common };

	command_parse(&argp, argc, argv, &options);
	paxshm_session *s = open_session(common, 0);
	int status = options.move ? move(s, options.host) : show(s);
	paxshm_close(s);
	return status;
}
