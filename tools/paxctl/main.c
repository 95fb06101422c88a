/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the command and hands it the rest of the line. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "paxctl.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv, struct common *common);
} commands[] = {
	{ "lock", command_lock },
	{ "holder", command_holder },
	{ "ls", command_ls },
	{ "why", command_why },
	{ "top", command_top },
	{ "status", command_status },
	{ "leader", command_leader },
	{ "version", command_version },
};

struct invocation {
	struct common common;
	const struct command *command;
	int at; /* its place in argv */
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct invocation *call = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &call->common;
		return 0;
	case ARGP_KEY_ARG:
		for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
			if (strcmp(arg, commands[i].name) == 0)
				call->command = &commands[i];
		if (!call->command)
			argp_error(state, "there is no command \"%s\"", arg);
		call->at = state->next - 1;
		state->next = state->argc; /* the rest is the command's */
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which command?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int main(int argc, char **argv)
{
	static const struct argp_child children[] = { { &common_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = {
		.parser = parse,
		.args_doc = "COMMAND [ARGUMENT...]",
		.doc = "Locks of a paxshm cluster from the command line.\v"
		       "Commands:\n"
		       "  lock KEY -- CMD...   run CMD while this lock is held\n"
		       "  holder KEY           who owns this lock now\n"
		       "  ls                   all locks that are owned or waited for\n"
		       "  why KEY              who owns this lock, who waits, and where to look\n"
		       "  top                  the locks of this host that are used most, live\n"
		       "  status               this host, its agent and its cluster\n"
		       "  leader [move HOST]   who leads; another voter shall\n"
		       "  version              the version of paxctl and of the library\n"
		       "\n"
		       "paxctl COMMAND --help tells more; so does paxctl(1).",
		.children = children,
	};
	struct invocation call = { 0 };
	char name[64];

	setlocale(LC_CTYPE, "");
	command_parse(&argp, argc, argv, &call);
	snprintf(name, sizeof(name), "paxctl %s", call.command->name);
	argv[call.at] = name; /* what its usage messages begin with */
	return call.command->run(argc - call.at, argv + call.at, &call.common);
}
