/* SPDX-License-Identifier: Apache-2.0 */
/* paxctl ls: all locks that are owned, kept, waited for, or remembered because their owner died; and who waits for them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "escape.h"
#include "paxctl.h"
#include "who.h"

struct ls_options {
	struct common *common;
	bool waiters;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct ls_options *options = state->input;

	(void)arg;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = options->common;
		return 0;
	case 'w':
		options->waiters = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "takes no argument");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static json_t *lock_json(const struct paxshm_lock_info *lock)
{
	bool died = lock->flags & PAXSHM_OWNER_DIED, kept = lock->flags & PAXSHM_KEPT;
	json_t *object = json_object();

	json_add_key(object, lock->key, lock->key_len);
	json_object_set_new(object, "owner", died || kept ? json_null() : who_json(&lock->owner));
	json_object_set_new(object, "owner_died", json_boolean(died));
	json_object_set_new(object, "kept", json_boolean(kept));
	json_object_set_new(object, "recalled", json_boolean(lock->flags & PAXSHM_RECALLED));
	json_object_set_new(object, "mode", lock->mode ? json_string(mode_name(lock->mode)) : json_null());
	json_object_set_new(object, "holders", json_integer(lock->holders));
	json_object_set_new(object, "shared_by", json_null());
	json_object_set_new(object, "waiting_hosts", json_integer(lock->waiting));
	json_object_set_new(object, "waiting_here", json_integer(lock->waiters));
	return object;
}

/* The key comes last: it is the one column that may be long. */
static void print_lock(const struct paxshm_lock_info *lock)
{
	bool died = lock->flags & PAXSHM_OWNER_DIED, kept = lock->flags & PAXSHM_KEPT;
	char text[ESCAPED_MAX], many[32];
	const char *host = died ? "(died)" : lock->owner.host;

	if (lock->holders > 1) {
		snprintf(many, sizeof(many), "(%u hosts)", lock->holders);
		host = many;
	}
	printf("%-16s %8s %5u  %s\n", host, kept ? "kept" : column(died ? 0 : lock->owner.pid), lock->waiting,
	       escape_key(lock->key, lock->key_len, text));
}

static void print_who(const char *does, const struct paxshm_who *who, const char *mode, uint64_t now_ns)
{
	char program[PROGRAM_TEXT], ago[AGO_TEXT];

	printf("  %s: %-16s %8s  %-12s  %s%s\n", does, who->host, column(who->pid), who->since_ns ? ago_text(who->since_ns, now_ns, ago) : "-",
	       program_text(who, program), mode);
}

/* Of a lock that is shared. `object` NULL: as text. */
static int show_holders(paxshm_session *s, const struct paxshm_lock_info *lock, json_t *object)
{
	struct paxshm_who *holders;
	uint64_t now_ns = paxshm_deadline_ms(0);
	size_t n;
	int rc = holders_new(s, lock->key, lock->key_len, &holders, &n);

	if (rc < 0)
		return rc;
	if (object)
		json_object_set_new(object, "shared_by", holders_json(holders, n));
	for (size_t i = 0; i < n && !object; i++)
		print_who("shares", &holders[i], "", now_ns);
	free(holders);
	return 0;
}

/* `object` NULL: as text. */
static int show_waiters(paxshm_session *s, const struct paxshm_lock_info *lock, json_t *object)
{
	struct paxshm_waiter *waiters;
	uint64_t now_ns = paxshm_deadline_ms(0);
	size_t n;
	int rc = waiters_new(s, lock->key, lock->key_len, &waiters, &n);

	if (rc < 0)
		return rc;
	json_t *list = object ? json_array() : NULL;
	for (size_t i = 0; i < n; i++) {
		if (list)
			json_array_append_new(list, waiter_json(&waiters[i]));
		else
			print_who("waits", &waiters[i].who, waiters[i].mode == PAXSHM_EX ? "" : " (to share)", now_ns);
	}
	if (list)
		json_object_set_new(object, "waiters", list);
	free(waiters);
	return 0;
}

static int show(paxshm_session *s, const struct ls_options *options, json_t *locks)
{
	struct paxshm_lock_info lock = PAXSHM_INIT(lock);
	uint32_t cursor = 0;
	int rc;

	while ((rc = paxshm_next_lock(s, &cursor, &lock)) > 0) {
		json_t *object = options->common->json ? lock_json(&lock) : NULL;

		if (object)
			json_array_append_new(locks, object);
		else
			print_lock(&lock);
		if (lock.mode == PAXSHM_PR)
			rc = show_holders(s, &lock, object);
		if (rc >= 0 && options->waiters)
			rc = show_waiters(s, &lock, object);
		if (rc < 0)
			return rc;
	}
	return rc;
}

int command_ls(int argc, char **argv, struct common *common)
{
	static const struct argp_option argp_options[] = {
		{ "waiters", 'w', NULL, 0, "below each lock who waits for it: the processes of this host, oldest first, then the hosts", 0 },
		{ 0 },
	};
	static const struct argp_child children[] = { { &common_json_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.doc = "Prints every lock that is owned or waited for: the host that has it, the process where this host "
		       "knows it, how many hosts wait, and the key. \"(died)\": the last owner died and nobody took the lock since. "
		       "\"kept\": nobody owns it, this host keeps it for its next owner. Below a lock that is shared stands who shares it: the processes "
		       "of this host, then the hosts.",
		.children = children,
	};
	struct ls_options options = { .common = common };

	command_parse(&argp, argc, argv, &options);
	paxshm_session *s = open_session(common, 0);
	json_t *locks = json_array();

	if (!common->json)
		printf("%-16s %8s %5s  %s\n", "HOST", "PID", "WAITS", "KEY");
	int rc = show(s, &options, locks);
	paxshm_close(s);
	if (rc < 0) {
		json_decref(locks);
		return fail("ls", rc);
	}
	if (common->json)
		return json_print(json_pack("{s:o}", "locks", locks));
	json_decref(locks);
	return 0;
}
