/* SPDX-License-Identifier: Apache-2.0 */
#include "who.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "escape.h"

json_t *who_json(const struct paxshm_who *who)
{
	bool process = who->pid != 0;
	char text[PROGRAM_TEXT];

	return json_pack("{s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:o}",
			 "host", who->host,
			 "host_id", (int)who->host_id,
			 "pid", process ? json_integer(who->pid) : json_null(),
			 "start_time", process ? json_u64(who->start_time) : json_null(),
			 "session", process ? json_integer(who->session) : json_null(),
			 "token", who->token ? json_u64(who->token) : json_null(),
			 "program", who->program[0] ? json_string(program_text(who, text)) : json_null(),
			 "since_ns", who->since_ns ? json_u64(who->since_ns) : json_null());
}

json_t *waiter_json(const struct paxshm_waiter *waiter)
{
	json_t *object = who_json(&waiter->who);

	json_object_set_new(object, "mode", json_string(mode_name(waiter->mode)));
	return object;
}

const char *column(unsigned long long n)
{
	static char texts[8][24];
	static unsigned turn;
	char *text = texts[turn++ % 8];

	if (!n)
		return "-";
	snprintf(text, sizeof(texts[0]), "%llu", n);
	return text;
}

char *program_text(const struct paxshm_who *who, char out[PROGRAM_TEXT])
{
	return escape_key(who->program, strnlen(who->program, sizeof(who->program)), out);
}

char *ago_text(uint64_t since_ns, uint64_t now_ns, char out[AGO_TEXT])
{
	uint64_t ms = now_ns > since_ns ? (now_ns - since_ns) / 1000000 : 0, s = ms / 1000;

	out[0] = '\0';
	if (!since_ns)
		return out;
	if (s < 60)
		snprintf(out, AGO_TEXT, "%" PRIu64 ".%" PRIu64 " s", s, ms % 1000 / 100);
	else if (s < 3600)
		snprintf(out, AGO_TEXT, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(out, AGO_TEXT, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s % 3600 / 60);
	else
		snprintf(out, AGO_TEXT, "%" PRIu64 " d %" PRIu64 " h", s / 86400, s % 86400 / 3600);
	return out;
}

char *lease_text(const struct paxshm_status *st, char out[LEASE_TEXT])
{
	uint64_t now_ns = paxshm_deadline_ms(0);

	if (st->lease_until_ns == UINT64_MAX)
		snprintf(out, LEASE_TEXT, "without end: no other host can grant");
	else if (st->lease_until_ns > now_ns)
		snprintf(out, LEASE_TEXT, "%.1f s of %.1f s left", (double)(st->lease_until_ns - now_ns) / 1e9, (double)st->host_lease_ns / 1e9);
	else
		snprintf(out, LEASE_TEXT, "%s", st->lease_until_ns ? "ENDED: what this host owns may be given to others" : "none yet");
	return out;
}

const char *mode_name(uint32_t mode)
{
	static const char *const names[] = { "null", "concurrent read", "concurrent write", "shared", "protected write", "exclusive" };

	return mode < sizeof(names) / sizeof(names[0]) ? names[mode] : "unknown";
}

int waiters_new(paxshm_session *s, const void *key, size_t len, struct paxshm_waiter **ret_waiters, size_t *ret_count)
{
	int n = paxshm_waiters(s, key, len, NULL, 0);

	if (n < 0)
		return n;
	size_t room = (size_t)n + 64; /* some more may come in between */
	struct paxshm_waiter *waiters = calloc(room, sizeof(*waiters));

	if (!waiters)
		return -ENOMEM;
	waiters->size = sizeof(*waiters);
	n = paxshm_waiters(s, key, len, waiters, room);
	if (n < 0) {
		free(waiters);
		return n;
	}
	*ret_waiters = waiters;
	*ret_count = (size_t)n < room ? (size_t)n : room;
	return 0;
}

int holders_new(paxshm_session *s, const void *key, size_t len, struct paxshm_who **ret_holders, size_t *ret_count)
{
	int n = paxshm_holders(s, key, len, NULL, 0);

	if (n < 0)
		return n;
	size_t room = (size_t)n + 64;
	struct paxshm_who *holders = calloc(room, sizeof(*holders));

	if (!holders)
		return -ENOMEM;
	holders->size = sizeof(*holders);
	n = paxshm_holders(s, key, len, holders, room);
	if (n < 0) {
		free(holders);
		return n;
	}
	*ret_holders = holders;
	*ret_count = (size_t)n < room ? (size_t)n : room;
	return 0;
}

json_t *holders_json(const struct paxshm_who *holders, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, who_json(&holders[i]));
	return list;
}
