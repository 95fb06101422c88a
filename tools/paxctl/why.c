/* SPDX-License-Identifier: Apache-2.0 */
/* paxctl why KEY: in words: who owns it, since when, who waits, and where to look. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "escape.h"
#include "paxctl.h"
#include "doing.h"
#include "who.h"

#define SHOWN 20u /* of those who share or wait, as text; --json shows all */
#define ADVICE_TEXT (ESCAPED_MAX + 256)

struct why_options {
	struct common *common;
	const char *key;
};

/* All that is known. */
struct findings {
	const char *key;
	char key_text[ESCAPED_MAX];
	struct paxshm_status status;
	struct paxshm_lock_info lock; /* all zeros: no host has it */
	struct paxshm_who owner;      /* host_id 0: nobody owns it; pid 0: only the host is known */
	int asked;                    /* what asking for the owner on its host came to, when that was needed */
	struct paxshm_who *holders;   /* when it is shared */
	struct paxshm_waiter *waiters;
	size_t n_holders, n_waiters;
	char state; /* of the owner's process, when it is here; 0: not known */
	uint64_t now_ns;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct why_options *options = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = options->common;
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

/* ---- finding out ---- */

static bool is_here(const struct findings *f)
{
	return f->owner.host_id == f->status.host_id;
}

/* The owner: as the tables show it, else as its host says. */
static void find_owner(paxshm_session *s, struct findings *f)
{
	struct paxshm_who who = PAXSHM_INIT(who);

	if (!f->lock.owner.host_id || f->lock.flags & PAXSHM_KEPT)
		return;
	f->owner = f->lock.owner;
	if (f->owner.pid)
		return;
	f->asked = paxshm_holder(s, f->key, strlen(f->key), 0, &who);
	if (f->asked == 0)
		f->owner = who;
	else if (f->asked == -ESRCH)
		f->owner = (struct paxshm_who){ 0 };
}

static int find_out(paxshm_session *s, const char *key, struct findings *f)
{
	size_t len = strlen(key);
	int rc;

	*f = (struct findings){ .key = key, .status = PAXSHM_INIT(f->status), .lock = PAXSHM_INIT(f->lock) };
	escape_key(key, len, f->key_text);
	rc = paxshm_status(s, 0, &f->status);
	if (rc == 0)
		rc = paxshm_look(s, key, len, &f->lock);
	if (rc == 0)
		rc = waiters_new(s, key, len, &f->waiters, &f->n_waiters);
	if (rc == 0 && f->lock.mode == PAXSHM_PR)
		rc = holders_new(s, key, len, &f->holders, &f->n_holders);
	if (rc == -ESRCH) /* and so nobody waits */
		rc = 0;
	if (rc == 0)
		find_owner(s, f);
	if (f->owner.pid && is_here(f))
		f->state = process_doing(f->owner.pid, f->owner.start_time);
	f->now_ns = paxshm_deadline_ms(0);
	return rc;
}

/* 0: somebody owns it. */
static int answer(const struct findings *f)
{
	if (!f->status.quorum)
		return EXIT_NO_QUORUM;
	if (f->asked && f->asked != -ESRCH)
		return exit_status(f->asked);
	return f->owner.host_id ? 0 : EXIT_CONFLICT;
}

/* ---- in words ---- */

/* What to do next; "": nothing. */
static void advise(const struct findings *f, char out[ADVICE_TEXT])
{
	uint32_t pid = f->owner.pid;

	out[0] = '\0';
	if (!f->status.quorum)
		snprintf(out, ADVICE_TEXT, "no quorum: what is told here may be old, and nothing is granted: paxctl status");
	else if (!f->owner.host_id)
		return;
	else if (!pid)
		snprintf(out, ADVICE_TEXT, "on %s: paxctl why KEY tells which process it is", f->owner.host);
	else if (!is_here(f))
		snprintf(out, ADVICE_TEXT, "on %s: ps -o pid,stat,etime,args -p %u", f->owner.host, pid);
	else if (f->state == 'T')
		snprintf(out, ADVICE_TEXT, "pid %u is stopped: kill -CONT %u lets it go on", pid, pid);
	else if (f->state == 't')
		snprintf(out, ADVICE_TEXT, "pid %u is stopped by a debugger", pid);
	else if (f->state == 'D')
		snprintf(out, ADVICE_TEXT, "pid %u waits in the kernel, in general for a disk or a file server: cat /proc/%u/wchan", pid, pid);
	else if (!f->state)
		snprintf(out, ADVICE_TEXT, "pid %u has ended: the lock comes free, unless another process was given its session", pid);
	else
		snprintf(out, ADVICE_TEXT, "pid %u %s: ps -o pid,stat,etime,args -p %u", pid, f->state == 'R' ? "runs" : "sleeps", pid);
}

/* "pid 4711 (sort)" */
static void print_process(const struct paxshm_who *who)
{
	char program[PROGRAM_TEXT];

	printf("pid %u", who->pid);
	if (who->program[0])
		printf(" (%s)", program_text(who, program));
}

static void print_for(const struct findings *f, uint64_t since_ns)
{
	char ago[AGO_TEXT];

	if (since_ns)
		printf(" for %s", ago_text(since_ns, f->now_ns, ago));
}

static void print_owner(const struct findings *f)
{
	printf("%s: ", f->key_text);
	if (!f->owner.host_id) {
		printf("nobody owns it\n");
		return;
	}
	printf(f->lock.mode == PAXSHM_PR ? "shared, one owner is " : "owned by ");
	if (f->owner.pid) {
		print_process(&f->owner);
		printf(" on %s", f->owner.host);
	} else {
		printf("a process on %s that is not known here", f->owner.host);
	}
	print_for(f, f->owner.since_ns);
	printf("\n");
	if (f->owner.pid)
		printf("  owner    session %u, token %s, %s\n", f->owner.session, column(f->owner.token), mode_name(f->lock.mode));
	if (f->asked && f->asked != -ESRCH)
		printf("  owner    %s was asked: %s\n", f->owner.host, paxshm_strerror(f->asked));
}

static void print_holders(const struct findings *f)
{
	for (size_t i = 0; i < f->n_holders && i < SHOWN; i++) {
		const struct paxshm_who *who = &f->holders[i];

		printf("  shares   ");
		if (who->pid)
			print_process(who);
		else
			printf("host %s", who->host);
		print_for(f, who->since_ns);
		printf("\n");
	}
	if (f->n_holders > SHOWN)
		printf("  shares   and %zu more\n", f->n_holders - SHOWN);
}

/* What is known of how the cluster gave the lock to a host. */
static void print_given(const struct findings *f)
{
	const struct paxshm_lock_info *lock = &f->lock;
	bool ours = lock->owner.host_id == f->status.host_id;

	if (lock->flags & PAXSHM_OWNER_DIED)
		printf("  given    to no host; the last owner died with it, and the next is told so\n");
	else if (!lock->owner.host_id)
		printf("  given    to no host\n");
	else if (lock->holders > 1)
		printf("  given    to %u hosts, %s\n", lock->holders, mode_name(lock->mode));
	else if (!ours)
		printf("  given    to %s\n", lock->owner.host);
	else if (lock->flags & PAXSHM_RECALLED)
		printf("  given    to this host, which is giving it back%s\n", f->owner.pid ? " as soon as its owners are done" : "");
	else if (lock->flags & PAXSHM_KEPT)
		printf("  given    to this host, which keeps it for its next owner\n");
	else
		printf("  given    to this host\n");
}

static void print_waiters(const struct findings *f)
{
	if (!f->n_waiters)
		printf("  waits    nobody\n");
	for (size_t i = 0; i < f->n_waiters && i < SHOWN; i++) {
		const struct paxshm_who *who = &f->waiters[i].who;

		printf("  waits    ");
		if (who->pid)
			print_process(who);
		else
			printf("host %s%s", who->host, who->host_id == f->status.host_id ? ", this one" : "");
		print_for(f, who->since_ns);
		printf(f->waiters[i].mode == PAXSHM_EX ? "\n" : ", to share it\n");
	}
	if (f->n_waiters > SHOWN)
		printf("  waits    and %zu more\n", f->n_waiters - SHOWN);
}

static void print_text(const struct findings *f)
{
	char text[ADVICE_TEXT], lease[LEASE_TEXT];

	print_owner(f);
	print_given(f);
	print_holders(f);
	print_waiters(f);
	printf("  lease    of this host: %s\n", lease_text(&f->status, lease));
	advise(f, text);
	if (text[0])
		printf("  look at  %s\n", text);
}

static int print_json(const struct findings *f)
{
	json_t *out = json_object(), *waiters = json_array();
	char text[ADVICE_TEXT], state[2] = { f->state, '\0' };

	advise(f, text);
	for (size_t i = 0; i < f->n_waiters; i++)
		json_array_append_new(waiters, waiter_json(&f->waiters[i]));
	json_add_key(out, f->key, strlen(f->key));
	json_object_set_new(out, "owner", f->owner.host_id ? who_json(&f->owner) : json_null());
	json_object_set_new(out, "owner_state", f->state ? json_string(state) : json_null());
	json_object_set_new(out, "given_to", f->lock.owner.host_id ? json_string(f->lock.owner.host) : json_null());
	json_object_set_new(out, "mode", f->lock.mode ? json_string(mode_name(f->lock.mode)) : json_null());
	json_object_set_new(out, "holders", json_integer(f->lock.holders));
	json_object_set_new(out, "shared_by", f->lock.mode == PAXSHM_PR ? holders_json(f->holders, f->n_holders) : json_null());
	json_object_set_new(out, "owner_died", json_boolean(f->lock.flags & PAXSHM_OWNER_DIED));
	json_object_set_new(out, "kept", json_boolean(f->lock.flags & PAXSHM_KEPT));
	json_object_set_new(out, "recalled", json_boolean(f->lock.flags & PAXSHM_RECALLED));
	json_object_set_new(out, "waiters", waiters);
	json_object_set_new(out, "quorum", json_boolean(f->status.quorum));
	json_object_set_new(out, "now_ns", json_u64(f->now_ns));
	json_object_set_new(out, "lease_until_ns", json_u64(f->status.lease_until_ns));
	json_object_set_new(out, "look_at", text[0] ? json_string(text) : json_null());
	return json_print(out);
}

int command_why(int argc, char **argv, struct common *common)
{
	static const struct argp_child children[] = { { &common_json_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = {
		.parser = parse,
		.args_doc = "KEY",
		.doc = "Tells who owns the lock KEY and for how long, which program on which host, who waits, what is known of the host "
		       "that the cluster gave it to, and where to look. Exits 1 when nobody owns it.",
		.children = children,
	};
	struct why_options options = { .common = common };
	struct findings f;
	int failed = 0;

	command_parse(&argp, argc, argv, &options);
	paxshm_session *s = open_session(common, 0);
	int rc = find_out(s, options.key, &f);
	paxshm_close(s);
	if (rc < 0) {
		free(f.holders);
		free(f.waiters);
		return fail(f.key_text, rc);
	}
	if (common->json)
		failed = print_json(&f);
	else
		print_text(&f);
	free(f.holders);
	free(f.waiters);
	return failed ? failed : answer(&f);
}
