/* SPDX-License-Identifier: Apache-2.0 */
/* paxctl holder KEY: who owns this lock now. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "escape.h"
#include "paxctl.h"
#include "who.h"

struct holder_options {
	struct common *common;
	const char *key;
	uint32_t flags;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct holder_options *options = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = options->common;
		return 0;
	case 'l':
		options->flags |= PAXSHM_LINEARIZABLE;
		return 0;
	case ARGP_KEY_ARG:
		if (options->key)
			argp_error(state, "one key at a time");
		check_key(state, arg);
		options->key = arg;
		return 0;
	case ARGP_KEY_END:
		if (!options->key)
			argp_error(state, "which key?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int print_json(const char *key, const struct paxshm_who *who)
{
	json_t *answer = json_object();

	json_add_key(answer, key, strlen(key));
	json_object_set_new(answer, "owner", who ? who_json(who) : json_null());
	return json_print(answer);
}

int command_holder(int argc, char **argv, struct common *common)
{
	static const struct argp_option argp_options[] = {
		{ "linearizable", 'l', NULL, 0, "ask the cluster, not this host's tables", 0 },
		{ 0 },
	};
	static const struct argp_child children[] = { { &common_json_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.args_doc = "KEY",
		.doc = "Prints who owns the lock KEY. Exits 1 when nobody does.",
		.children = children,
	};
	struct holder_options options = { .common = common };
	struct paxshm_who who = PAXSHM_INIT(who);
	char text[ESCAPED_MAX];

	command_parse(&argp, argc, argv, &options);
	paxshm_session *s = open_session(common, 0);
	int rc = paxshm_holder(s, options.key, strlen(options.key), options.flags, &who);
	paxshm_close(s);

	bool free_lock = rc == -ESRCH;
	if (rc < 0 && !free_lock)
		return fail(escape_key(options.key, strlen(options.key), text), rc);
	if (common->json) {
		int failed = print_json(options.key, free_lock ? NULL : &who);
		return failed ? failed : free_lock ? EXIT_CONFLICT
						   : 0;
	}
	if (free_lock) {
		fprintf(stderr, "paxctl: %s: nobody owns it\n", escape_key(options.key, strlen(options.key), text));
		return EXIT_CONFLICT;
	}
	printf("%-16s %8s %8s  %s\n", "HOST", "PID", "SESSION", "TOKEN");
	printf("%-16s %8s %8s  %s\n", who.host, column(who.pid), column(who.session), column(who.token));
	return 0;
}
