/* SPDX-License-Identifier: Apache-2.0 */
/* paxctl status: this host, its agent and its cluster. */
#include <inttypes.h>
#include <stdio.h>

#include "escape.h"
#include "paxctl.h"
#include "who.h"

struct status_options {
	struct common *common;
	uint32_t flags;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct status_options *options = state->input;

	(void)arg;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = options->common;
		return 0;
	case 'H':
		options->flags |= PAXSHM_STATUS_HASH;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "takes no argument");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const char *role_name(uint32_t role)
{
	return role == 1 ? "voter" : role == 2 ? "observer"
					       : "unknown";
}

static json_t *hosts_json(paxshm_session *s)
{
	struct paxshm_host host = PAXSHM_INIT(host);
	json_t *hosts = json_array();
	uint32_t cursor = 0;

	while (paxshm_next_host(s, &cursor, &host) > 0)
		json_array_append_new(hosts, json_pack("{s:s, s:i, s:s, s:b, s:o}",
						       "host", host.name, "host_id", (int)host.id,
						       "role", role_name(host.role), "linked", (int)host.linked,
						       "incarnation", json_u64(host.incarnation)));
	return hosts;
}

static int print_json(paxshm_session *s, const struct paxshm_status *st, bool hash)
{
	char text[24];
	json_t *out = json_pack("{s:s, s:s, s:s, s:i, s:s, s:b}",
				"cluster", st->cluster, "space", st->space, "host", st->host,
				"host_id", (int)st->host_id, "role", role_name(st->role), "quorum", (int)st->quorum);

	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{ "incarnation", st->incarnation },
		{ "ballot", st->ballot },
		{ "applied", st->applied },
		{ "chosen", st->chosen },
		{ "history", st->history },
		{ "fresh_as_of_ns", st->fresh_as_of_ns },
		{ "lease_until_ns", st->lease_until_ns },
		{ "host_lease_ns", st->host_lease_ns },
	};
	const struct {
		const char *name;
		uint64_t value;
	} counts[] = {
		{ "agent_pid", st->agent_pid },
		{ "agent_starts", st->agent_starts },
		{ "locks", st->locks },
		{ "locks_max", st->locks_max },
		{ "waits", st->waits },
		{ "waits_max", st->waits_max },
		{ "cells", st->cells },
		{ "cells_max", st->cells_max },
		{ "sessions", st->sessions },
		{ "requests", st->requests },
		{ "grants", st->grants },
		{ "releases", st->releases },
		{ "handovers", st->handovers },
		{ "refusals", st->refusals },
		{ "deaths", st->deaths },
		{ "revocations", st->revocations },
		{ "evictions", st->evictions },
		{ "repairs", st->repairs },
		{ "nonsense", st->nonsense },
	};

	json_object_set_new(out, "leader", st->leader_id ? json_string(st->leader) : json_null());
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		json_object_set_new(out, numbers[i].name, json_u64(numbers[i].value));
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		json_object_set_new(out, counts[i].name, json_integer((json_int_t)counts[i].value));
	if (hash) {
		snprintf(text, sizeof(text), "%016" PRIx64, st->state_hash);
		json_object_set_new(out, "state_hash", json_string(text));
	}
	json_object_set_new(out, "hosts", hosts_json(s));
	return json_print(out);
}

static void print_lease(const struct paxshm_status *st)
{
	char text[LEASE_TEXT];

	printf("lease     %s\n", lease_text(st, text));
}

static void print_text(paxshm_session *s, const struct paxshm_status *st, bool hash)
{
	struct paxshm_host host = PAXSHM_INIT(host);
	uint32_t cursor = 0;

	printf("cluster   %s, space %s, history %016" PRIx64 "\n", st->cluster, st->space, st->history);
	printf("host      %s (id %u), %s, incarnation %" PRIu64 "\n", st->host, st->host_id, role_name(st->role), st->incarnation);
	printf("agent     pid %u, started %" PRIu64 "%s\n", st->agent_pid, st->agent_starts, st->agent_starts == 1 ? " time" : " times");
	printf("quorum    %s, leader %s\n", st->quorum ? "yes" : "NO", st->leader_id ? st->leader : "unknown");
	print_lease(st);
	printf("log       applied %" PRIu64 ", chosen %" PRIu64 ", ballot %" PRIu64 "\n", st->applied, st->chosen, st->ballot);
	if (hash)
		printf("state     %016" PRIx64 "\n", st->state_hash);
	printf("room      locks %u of %u, waits %u of %u, long keys %u of %u\n", st->locks, st->locks_max,
	       st->waits, st->waits_max, st->cells, st->cells_max);
	printf("sessions  %u; requests %" PRIu64 ", grants %" PRIu64 ", releases %" PRIu64 "\n", st->sessions, st->requests,
	       st->grants, st->releases);
	printf("          handovers %" PRIu64 ", refusals %" PRIu64 ", deaths %" PRIu64 "\n", st->handovers, st->refusals, st->deaths);
	printf("given up  to other hosts %" PRIu64 ", for room %" PRIu64 "; gates: repaired %" PRIu64 ", nonsense %" PRIu64 "\n\n",
	       st->revocations, st->evictions, st->repairs, st->nonsense);

	printf("%-24s %4s  %-8s  %-6s  %s\n", "HOST", "ID", "ROLE", "LINK", "INCARNATION");
	while (paxshm_next_host(s, &cursor, &host) > 0)
		printf("%-24s %4u  %-8s  %-6s  %" PRIu64 "\n", host.name, host.id, role_name(host.role),
		       host.id == st->host_id ? "here" : host.linked ? "up"
								     : "DOWN",
		       host.incarnation);
}

int command_status(int argc, char **argv, struct common *common)
{
	static const struct argp_option argp_options[] = {
		{ "hash", 'H', NULL, 0, "also the hash of all that hosts have alike at this index (reads the whole table)", 0 },
		{ 0 },
	};
	static const struct argp_child children[] = { { &common_json_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.doc = "Prints how this host, its agent and its cluster are. Exits 0, 75 without a quorum, 69 without an agent.",
		.children = children,
	};
	struct status_options options = { .common = common };
	struct paxshm_status status = PAXSHM_INIT(status);
	int failed = 0;

	command_parse(&argp, argc, argv, &options);
	paxshm_session *s = open_session(common, 0);
	int rc = paxshm_status(s, options.flags, &status);
	if (rc < 0) {
		paxshm_close(s);
		return fail("status", rc);
	}
	if (common->json)
		failed = print_json(s, &status, options.flags & PAXSHM_STATUS_HASH);
	else
		print_text(s, &status, options.flags & PAXSHM_STATUS_HASH);
	paxshm_close(s);
	if (failed)
		return failed;
	return status.quorum ? 0 : EXIT_NO_QUORUM;
}
