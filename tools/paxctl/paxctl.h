/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paxctl: the command line of paxshm. One file a command; here is what they share: the options that
 * every command takes, the way to the agent, and the exit statuses.
 *
 * Who may enter: the files of this folder. They see the public header and nothing behind it.
 */
#ifndef PAXSHM_TOOLS_PAXCTL_H
#define PAXSHM_TOOLS_PAXCTL_H

#include <argp.h>
#include <stdbool.h>

#include "../../lib/paxshm.h"

/* Exit statuses; the numbers of sysexits.h where it has one. */
enum {
	EXIT_CONFLICT = 1, /* lock: held by another, or timed out; holder: nobody owns it */
	EXIT_USAGE = 64,
	EXIT_NO_AGENT = 69, /* none there, or one that does not let us in */
	EXIT_LOST = 70,     /* the lock was lost while the command ran */
	EXIT_OS = 71,       /* anything else: a limit reached, not allowed, … */
	EXIT_NO_QUORUM = 75,
	EXIT_NOT_RUN = 126, /* the command is there and cannot be run */
	EXIT_NOT_FOUND = 127,
};

/* Options of every command, before or after its name. */
struct common {
	const char *socket;
	const char *cluster;
	bool json;
};

/* Commands that print take --json as well. */
extern const struct argp common_argp, common_json_argp;

/* Parses one command's options: argp_parse() with the exit status and the manners that all share. */
void command_parse(const struct argp *argp, int argc, char **argv, void *input);

/* The parser of a command that has no options of its own; its input is struct common. */
error_t parse_no_argument(int key, char *arg, struct argp_state *state);

/* A key from the command line; ends the program with EXIT_USAGE when it is none. */
void check_key(const struct argp_state *state, const char *key);

/* A time from the command line, as exact as it was given; as above. */
double parse_seconds(const struct argp_state *state, const char *text);

/* Opens a session, with flags as in struct paxshm_options, or says why not and ends the program. */
paxshm_session *open_session(const struct common *common, uint32_t flags);

/* The exit status that stands for an error of the library. */
int exit_status(int rc);
/* "paxctl: WHAT: the error in words" on standard error; answers exit_status(rc). */
int fail(const char *what, int rc);

/* Each: argv[0] is "paxctl COMMAND"; answers the exit status. */
int command_lock(int argc, char **argv, struct common *common);
int command_holder(int argc, char **argv, struct common *common);
int command_ls(int argc, char **argv, struct common *common);
int command_top(int argc, char **argv, struct common *common);
int command_why(int argc, char **argv, struct common *common);
int command_leader(int argc, char **argv, struct common *common);
int command_status(int argc, char **argv, struct common *common);
int command_version(int argc, char **argv, struct common *common);

#endif
