/* SPDX-License-Identifier: Apache-2.0 */
/* paxctl ls: all locks that are owned, waited for, or remembered because their owner died. */
#include <stdio.h>

#include "escape.h"
#include "paxctl.h"
#include "who.h"

static json_t *lock_json(const struct paxshm_lock_info *lock)
{
	bool owned = !(lock->flags & PAXSHM_OWNER_DIED);
	json_t *object = json_object();

	json_add_key(object, lock->key, lock->key_len);
	json_object_set_new(object, "owner", owned ? who_json(&lock->owner) : json_null());
	json_object_set_new(object, "owner_died", json_boolean(!owned));
	json_object_set_new(object, "waiting_hosts", json_integer(lock->waiting));
	return object;
}

/* The key comes last: it is the one column that may be long. */
static void print_lock(const struct paxshm_lock_info *lock)
{
	bool owned = !(lock->flags & PAXSHM_OWNER_DIED);
	char text[ESCAPED_MAX];

	printf("%-16s %8s %5u  %s\n", owned ? lock->owner.host : "(died)", column(owned ? lock->owner.pid : 0),
	       lock->waiting, escape_key(lock->key, lock->key_len, text));
}

int command_ls(int argc, char **argv, struct common *common)
{
	static const struct argp_child children[] = { { &common_json_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = {
		.parser = parse_no_argument,
		.doc = "Prints every lock that is owned or waited for: the host that has it, the process where this host "
		       "knows it, how many hosts wait, and the key. \"(died)\": the last owner died and nobody took the lock since.",
		.children = children,
	};
	struct paxshm_lock_info lock = PAXSHM_INIT(lock);
	uint32_t cursor = 0;
	int rc;

	command_parse(&argp, argc, argv, common);
	paxshm_session *s = open_session(common, 0);
	json_t *locks = json_array();

	if (!common->json)
		printf("%-16s %8s %5s  %s\n", "HOST", "PID", "WAITS", "KEY");
	while ((rc = paxshm_next_lock(s, &cursor, &lock)) > 0) {
		if (common->json)
			json_array_append_new(locks, lock_json(&lock));
		else
			print_lock(&lock);
	}
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
