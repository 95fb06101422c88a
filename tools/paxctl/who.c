/* SPDX-License-Identifier: Apache-2.0 */
#include "who.h"

#include <stdbool.h>
#include <stdio.h>

#include "escape.h"

json_t *who_json(const struct paxshm_who *who)
{
	bool process = who->pid != 0;

	return json_pack("{s:s, s:i, s:o, s:o, s:o, s:o}",
			 "host", who->host,
			 "host_id", (int)who->host_id,
			 "pid", process ? json_integer(who->pid) : json_null(),
			 "start_time", process ? json_u64(who->start_time) : json_null(),
			 "session", process ? json_integer(who->session) : json_null(),
			 "token", who->token ? json_u64(who->token) : json_null());
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
