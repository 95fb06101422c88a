/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "cut.h"

#include <stdio.h>
#include <string.h>

#include "../../lib/base.h"

#define TEXT 16384

static int nft(char *said, size_t cap, const char *rules)
{
	char bridge[64];

	snprintf(bridge, sizeof(bridge), "%s-0", rig->tag);
	return rig_run(said, cap, (const char *const[]){ "ip", "netns", "exec", bridge, "nft", rules, NULL });
}

bool cut_possible(char *said, size_t cap)
{
	return nft(said, cap, "add table bridge storm; delete table bridge storm") == 0;
}

void cut_both(struct cut *c, unsigned a, unsigned b)
{
	c->from_to[a][b] = c->from_to[b][a] = true;
}

void cut_deaf(struct cut *c, unsigned n)
{
	for (unsigned other = 1; other <= rig->n; other++)
		c->from_to[other][n] = other != n;
}

void cut_mute(struct cut *c, unsigned n)
{
	for (unsigned other = 1; other <= rig->n; other++)
		c->from_to[n][other] = other != n;
}

void cut_between(struct cut *c, unsigned set)
{
	for (unsigned a = 1; a <= rig->n; a++)
		for (unsigned b = 1; b <= rig->n; b++)
			if ((set >> a & 1) != (set >> b & 1))
				c->from_to[a][b] = true;
}

void cut_begin(const struct cut *c)
{
	char rules[TEXT], said[TEXT], chance[64] = "";
	int len = snprintf(rules, sizeof(rules), "add table bridge storm; add chain bridge storm cut { type filter hook forward priority 0; }");

	if (c->percent)
		snprintf(chance, sizeof(chance), "numgen random mod 100 < %u", c->percent);
	for (unsigned a = 1; a <= rig->n; a++)
		for (unsigned b = 1; b <= rig->n; b++)
			if (c->from_to[a][b])
				len += snprintf(rules + len, sizeof(rules) - (size_t)len,
						"; add rule bridge storm cut iifname \"port%u\" oifname \"port%u\" %s counter drop", a, b, chance);
	cr_assert_lt(len, TEXT);
	cr_assert_eq(nft(said, sizeof(said), rules), 0, "nft %s: %s", rules, said);
}

static void read_counters(uint64_t dropped[RIG_HOSTS + 1][RIG_HOSTS + 1])
{
	char said[TEXT], *line, *save = NULL;

	cr_assert_eq(nft(said, sizeof(said), "list table bridge storm"), 0, "nft: %s", said);
	for (line = strtok_r(said, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned long long packets;
		char *counter = strstr(line, "counter packets ");
		unsigned a, b;

		if (!counter || sscanf(counter, "counter packets %llu", &packets) != 1 ||
		    sscanf(line, " iifname \"port%u\" oifname \"port%u\"", &a, &b) != 2)
			continue;
		cr_assert(a >= 1 && a <= RIG_HOSTS && b >= 1 && b <= RIG_HOSTS);
		dropped[a][b] = packets;
	}
}

bool cut_felt(const struct cut *c, unsigned from, unsigned to)
{
	uint64_t dropped[RIG_HOSTS + 1][RIG_HOSTS + 1] = { 0 }, out = 0, in = 0;

	read_counters(dropped);
	for (unsigned a = 1; a <= rig->n; a++)
		for (unsigned b = 1; b <= rig->n; b++) {
			out += c->from_to[a][b] && from >> a & 1 ? dropped[a][b] : 0;
			in += c->from_to[a][b] && to >> b & 1 ? dropped[a][b] : 0;
		}
	return (!from || out) && (!to || in);
}

uint64_t cut_end(void)
{
	uint64_t dropped[RIG_HOSTS + 1][RIG_HOSTS + 1] = { 0 }, all = 0;
	char said[1024];

	read_counters(dropped);
	for (unsigned a = 1; a <= rig->n; a++)
		for (unsigned b = 1; b <= rig->n; b++)
			all += dropped[a][b];
	cr_assert_eq(nft(said, sizeof(said), "delete table bridge storm"), 0, "nft: %s", said);
	return all;
}
