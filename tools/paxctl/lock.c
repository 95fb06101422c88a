/* SPDX-License-Identifier: Apache-2.0 */
/* paxctl lock KEY -- CMD: runs a command while a lock is held. child.h says in which order. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "escape.h"
#include "paxctl.h"

struct lock_options {
	struct common *common;
	const char *key;
	char **argv; /* of the command, NULL at its end */
	struct paxshm_acquire how;
	bool timed;
	uint64_t wait_ms;
	uint64_t grace_ms; /* between TERM and KILL, when the lock is about to be lost */
	bool grace_given;
	int conflict; /* exit status when it is held or timed out */
};

#define GRACE_MS 2000u

enum { OPTION_NO_QUORUM = 256,
       OPTION_GRACE };

static int parse_status(const struct argp_state *state, const char *text)
{
	char *end;
	long status = strtol(text, &end, 10);

	if (end == text || *end || status < 0 || status > 255)
		argp_error(state, "\"%s\" is no exit status (0 to 255)", text);
	return (int)status;
}

static uint32_t parse_no_quorum(const struct argp_state *state, const char *text)
{
	static const char *const names[] = { [PAXSHM_RETRY] = "retry", [PAXSHM_FAIL] = "fail", [PAXSHM_RETURN] = "return" };

	for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(text, names[i]) == 0)
			return i;
	argp_error(state, "--no-quorum is retry, fail or return, not \"%s\"", text);
	return PAXSHM_RETRY;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct lock_options *options = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = options->common;
		return 0;
	case 'n':
		options->how.flags |= PAXSHM_NOWAIT;
		return 0;
	case 'w':
		options->timed = true;
		options->wait_ms = (uint64_t)(parse_seconds(state, arg) * 1000 + 0.999);
		return 0;
	case 'x':
		options->how.mode = PAXSHM_EX;
		return 0;
	case 's':
		options->how.mode = PAXSHM_PR;
		return 0;
	case 'E':
		options->conflict = parse_status(state, arg);
		return 0;
	case OPTION_GRACE:
		options->grace_ms = (uint64_t)(parse_seconds(state, arg) * 1000 + 0.999);
		options->grace_given = true;
		return 0;
	case OPTION_NO_QUORUM:
		options->how.no_quorum = parse_no_quorum(state, arg);
		return 0;
	case ARGP_KEY_ARG:
		if (options->key)
			return ARGP_ERR_UNKNOWN; /* the rest, as ARGP_KEY_ARGS */
		check_key(state, arg);
		options->key = arg;
		return 0;
	case ARGP_KEY_ARGS:
		options->argv = state->argv + state->next;
		/* "KEY -- CMD": the -- behind the key is no part of the command. */
		if (options->argv[0] && strcmp(options->argv[0], "--") == 0)
			options->argv++;
		return 0;
	case ARGP_KEY_END:
		if (!options->key)
			argp_error(state, "which key?");
		if (!options->argv || !options->argv[0])
			argp_error(state, "which command? (paxctl lock KEY -- CMD...)");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option lock_argp_options[] = {
	{ "nonblock", 'n', NULL, 0, "do not wait: exit at once when another owns it", 0 },
	{ "wait", 'w', "SEC", 0, "wait no longer than SEC seconds (0.5 is one)", 0 },
	{ "timeout", 0, NULL, OPTION_ALIAS, NULL, 0 },
	{ "exclusive", 'x', NULL, 0, "exclusive lock (the default): nobody else owns it meanwhile", 0 },
	{ "shared", 's', NULL, 0, "shared lock: others may share it at the same time, and nobody owns it exclusively", 0 },
	{ "conflict-exit-code", 'E', "CODE", 0, "exit status when it is held by another or timed out (default 1)", 0 },
	{ "grace", OPTION_GRACE, "SEC", 0, "when the lock is about to be lost: time between TERM and KILL (default 2)", 0 },
	{ "no-quorum", OPTION_NO_QUORUM, "WHAT", 0, "without a majority: retry (wait, the default), return (exit 75), fail (abort)", 0 },
	{ 0 },
};

static const struct argp_child lock_children[] = { { &common_argp, 0, NULL, 0 }, { 0 } };

static const struct argp lock_argp = {
	.options = lock_argp_options,
	.parser = parse,
	.args_doc = "KEY -- CMD [ARGUMENT...]",
	.doc = "Runs CMD while the lock KEY is held, and exits as CMD did. CMD finds PAXSHM_KEY and PAXSHM_TOKEN in its environment."
	       "\v"
	       "Exit status: that of CMD (killed by a signal: dies of the same one); 1 or -E: held by another, or timed out; "
	       "64 usage; 69 no agent; 70 the lock was lost meanwhile; 71 another error; 75 no quorum; "
	       "126 CMD cannot be run; 127 CMD is not there.",
	.children = lock_children,
};

/* Held by another: who, where the agent knows. */
static int say_conflict(const struct lock_options *options, int rc, const struct paxshm_grant *grant)
{
	char text[ESCAPED_MAX];

	escape_key(options->key, strlen(options->key), text);
	if (rc == -ETIMEDOUT)
		fprintf(stderr, "paxctl: %s: timed out\n", text);
	else if (grant->holder.pid)
		fprintf(stderr, "paxctl: %s: held by pid %u on %s\n", text, grant->holder.pid, grant->holder.host);
	else
		fprintf(stderr, "paxctl: %s: held on %s\n", text, grant->holder.host[0] ? grant->holder.host : "another host");
	return options->conflict;
}

static int acquire(struct lock_options *options, paxshm_lock_handle *lock, struct paxshm_grant *grant)
{
	if (options->timed && options->wait_ms == 0)
		options->how.flags |= PAXSHM_NOWAIT;
	else if (options->timed)
		options->how.deadline_ns = paxshm_deadline_ms(options->wait_ms);
	return paxshm_lock_acquire(lock, &options->how, grant);
}

struct held {
	paxshm_session *s;
	paxshm_lock_handle *lock;
	uint64_t grace_ms;
	uint64_t until_ms; /* the host's lease, as last seen, less what killing may take */
	bool lost, stopped;
};

#define KILLING_MS 100u /* so long before the end of the lease the command is killed, or for a twentieth of the lease */

static void see_lease(struct held *held)
{
	struct paxshm_status st = PAXSHM_INIT(st);

	if (paxshm_status(held->s, 0, &st) < 0)
		return; /* the session is over: the lease ends as it stands */
	uint64_t lease_ms = st.host_lease_ns / 1000000, until_ms = st.lease_until_ns / 1000000, killing_ms = lease_ms / 20;

	killing_ms = killing_ms < KILLING_MS ? killing_ms : KILLING_MS;
	if (st.lease_until_ns == UINT64_MAX)
		held->until_ms = CHILD_MAY_RUN;
	else
		held->until_ms = until_ms > killing_ms ? until_ms - killing_ms : 0;
	if (held->grace_ms > lease_ms / 2) /* a lease is renewed with an eighth of it gone: half of it is never near */
		held->grace_ms = lease_ms / 2;
}

/* By when the command must have ended. A lease that is not renewed ends the lock before anybody else can get it; a
 * change of leader, or an agent that is away for a moment, ends nothing. */
static uint64_t must_end(void *context)
{
	struct held *held = context;
	uint64_t soon = child_now_ms() + held->grace_ms;

	held->lost |= paxshm_lock_check(held->lock) == -ESTALE;
	see_lease(held);
	if (held->lost && held->until_ms > soon)
		return soon;
	held->stopped |= held->until_ms <= soon;
	return held->until_ms;
}

/* The child waits: acquire, tie the lock to it, let it go, wait for its end, release. Answers an exit status, or
 * AS_THE_CHILD with *ret_status. */
#define AS_THE_CHILD (-1)
static int run_locked(struct lock_options *options, paxshm_session *s, struct child *child, int *ret_status)
{
	struct paxshm_grant grant = PAXSHM_INIT(grant);
	struct held held = { .s = s, .grace_ms = options->grace_ms, .until_ms = CHILD_MAY_RUN };
	char text[ESCAPED_MAX];

	escape_key(options->key, strlen(options->key), text);
	int rc = paxshm_lock_ref(s, options->key, strlen(options->key), &held.lock);
	if (rc < 0)
		return fail(text, rc);
	rc = acquire(options, held.lock, &grant);
	if (rc == -EBUSY || rc == -ETIMEDOUT)
		return say_conflict(options, rc, &grant);
	if (rc < 0)
		return fail(text, rc);
	int life_fd = paxshm_life_fd(s);
	rc = life_fd < 0 ? life_fd : paxshm_adopt(s, child->pidfd);
	if (rc < 0)
		return fail("cannot tie the lock to the command", rc);

	struct child_word word = { .token = grant.token, .owner_died = grant.flags & PAXSHM_OWNER_DIED };
	rc = child_go(child, &word, life_fd);
	if (rc < 0 && rc != -EPIPE) /* EPIPE: it was killed before it ran; its end tells how */
		return fail("cannot start the command", rc);
	see_lease(&held); /* the grace is what this lease allows */
	if (options->grace_given && held.grace_ms < options->grace_ms)
		fprintf(stderr, "paxctl: %s: a grace of %.3g s is all that this host's lease allows\n", text, (double)held.grace_ms / 1000);
	*ret_status = child_wait(child, held.grace_ms, must_end, &held);

	if (paxshm_lock_release(held.lock) == -ESTALE || held.lost) {
		fprintf(stderr, "paxctl: %s: the lock was lost while the command ran\n", text);
		return EXIT_LOST;
	}
	if (held.stopped) {
		fprintf(stderr, "paxctl: %s: the command was ended, for this host was cut off and about to lose the lock\n", text);
		return EXIT_LOST;
	}
	return AS_THE_CHILD;
}

int command_lock(int argc, char **argv, struct common *common)
{
	struct lock_options options = { .common = common, .how = PAXSHM_INIT(options.how), .grace_ms = GRACE_MS, .conflict = EXIT_CONFLICT };
	struct child child;
	int status = 0;

	command_parse(&lock_argp, argc, argv, &options);
	int rc = child_fork(&child, options.key, options.argv);
	if (rc < 0)
		return fail("cannot fork", rc);

	paxshm_session *s = open_session(common, PAXSHM_KEEP_LIFE); /* or exits, which ends the child too */
	int failed = run_locked(&options, s, &child, &status);
	child_drop(&child);
	paxshm_close(s);
	if (failed == AS_THE_CHILD)
		exit_like(status);
	return failed;
}
