/* SPDX-License-Identifier: Apache-2.0 */
/* main: paxbench's command line. What it says is in paxbench(1). */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/base.h"
#include "../lib/paxshm.h"
#include "case.h"
#include "member.h"
#include "progress.h"

enum { EXIT_FAILED = 1,
       EXIT_USAGE = 64,
       EXIT_NO_AGENT = 69,
       EXIT_NO_FOLDER = 73 };

enum { OPTION_CLUSTER = 256,
       OPTION_PIN,
       OPTION_SECONDS,
       OPTION_RATE,
       OPTION_JSON,
       OPTION_CSV,
       OPTION_PLOT,
       OPTION_SAVE,
       OPTION_LIST,
       OPTION_PROCESSES,
       OPTION_KEYS,
       OPTION_BREAKDOWN,
       OPTION_LOOP };

static const struct bench_case *const cases[] = {
	&case_quorum,
	&case_local,
	&case_contended,
	&case_handoff,
	&case_fairness,
	&case_lookup,
	&case_throughput,
	&case_warm,
	&case_table,
	&case_repair,
	&case_failover,
	&case_catchup,
};

static const struct argp_option options[] = {
	{ "cluster", OPTION_CLUSTER, "N", 0, "Start own agents, N voters (1, 3, 5 or 7), for each case; otherwise those that are there are measured", 0 },
	{ "loop", OPTION_LOOP, "ENGINE", 0, "What own agents wait with: auto, io_uring or epoll", 0 },
	{ "pin", OPTION_PIN, NULL, 0, "Each own host has a core, with those who use it", 0 },
	{ "seconds", OPTION_SECONDS, "S", 0, "How long each figure is measured, and each limit beside it (2)", 1 },
	{ "rate", OPTION_RATE, "R", 0, "Open loop: R operations a second, timed from when each was meant to start", 1 },
	{ "processes", OPTION_PROCESSES, "N", 0, "How many processes throughput and fairness use (16)", 1 },
	{ "keys", OPTION_KEYS, "N", 0, "How many locks lookup, warm, table, repair and catchup use at most (1000000)", 1 },
	{ "breakdown", OPTION_BREAKDOWN, NULL, 0, "quorum also shows where the time goes, as the mean of each leg", 1 },
	{ "json", OPTION_JSON, NULL, 0, "Print a JSON object for each row", 2 },
	{ "csv", OPTION_CSV, NULL, 0, "Print comma-separated values", 2 },
	{ "plot", OPTION_PLOT, "DIR", 0, "Draw latency curves and ratios as SVG into DIR, with gnuplot", 2 },
	{ "save", OPTION_SAVE, "DIR", 0, "Write the rows as Markdown, JSON and CSV into DIR too", 2 },
	{ "list", OPTION_LIST, NULL, 0, "Print the cases, and end", 3 },
	{ 0 },
};

struct wishes {
	struct bench bench;
	const char *plot, *save, *loop;
	const struct bench_case *chosen[ARRAY_LEN(cases)];
	unsigned n_chosen;
	bool all;
};

static void list_cases(FILE *out)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		fprintf(out, "%-11s %s\n%-11s limit: %s\n", cases[i]->name, cases[i]->what, "", cases[i]->limit);
}

static double parse_number(const struct argp_state *state, const char *text, double min, double max)
{
	char *end;
	double n = strtod(text, &end);

	if (end == text || *end || !(n >= min && n <= max))
		argp_error(state, "\"%s\" is no number from %g to %g", text, min, max);
	return n;
}

static void choose_one(struct wishes *w, const struct bench_case *c)
{
	for (unsigned i = 0; i < w->n_chosen; i++)
		if (w->chosen[i] == c)
			return;
	w->chosen[w->n_chosen++] = c;
}

static void choose(struct wishes *w, const char *name)
{
	bool all = strcmp(name, "all") == 0, known = all;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (all || strcmp(cases[i]->name, name) == 0) {
			choose_one(w, cases[i]);
			known = true;
		}
	if (known) {
		w->all = w->all || all;
		return;
	}
	fprintf(stderr, "paxbench: there is no case \"%s\"; there are, beside \"all\":\n", name);
	list_cases(stderr);
	exit(EXIT_USAGE);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct wishes *w = state->input;

	switch (key) {
	case OPTION_CLUSTER:
		w->bench.voters = (unsigned)parse_number(state, arg, 1, 7);
		if (w->bench.voters % 2 == 0)
			argp_error(state, "voters are 1, 3, 5 or 7");
		return 0;
	case OPTION_LOOP: w->loop = arg; return 0;
	case OPTION_PIN: crew_pins = true; return 0;
	case OPTION_SECONDS: w->bench.seconds = parse_number(state, arg, 0.01, 3600); return 0;
	case OPTION_RATE: w->bench.rate = parse_number(state, arg, 0.1, 1e7); return 0;
	case OPTION_PROCESSES: w->bench.processes = (unsigned)parse_number(state, arg, 1, WORKERS_MAX); return 0;
	case OPTION_KEYS: w->bench.keys = (unsigned)parse_number(state, arg, 1, 1000000); return 0;
	case OPTION_BREAKDOWN: w->bench.breakdown = true; return 0;
	case OPTION_JSON: w->bench.report.form = REPORT_JSON; return 0;
	case OPTION_CSV: w->bench.report.form = REPORT_CSV; return 0;
	case OPTION_PLOT: w->plot = arg; return 0;
	case OPTION_SAVE: w->save = arg; return 0;
	case OPTION_LIST: list_cases(stdout); exit(0);
	case ARGP_KEY_ARG: choose(w, arg); return 0;
	case ARGP_KEY_END:
		if (!w->n_chosen)
			argp_error(state, "which cases? --list shows them; all: every one");
		return 0;
	default: return ARGP_ERR_UNKNOWN;
	}
}

/* ---- what cases ask for ---- */

/* What the agents wait with, as /proc shows it of the first. */
static void tell_agents(struct bench *b)
{
	struct report_header *h = &b->report.header;
	struct paxshm_status st;

	if (b->report.told_header || !bench_status(b, &st))
		return;
	snprintf(h->agents, sizeof(h->agents), "%s, %s", b->cluster.own ? "own" : "found", member_engine((int)st.agent_pid));
	if (b->cluster.own)
		snprintf(h->agents + strlen(h->agents), sizeof(h->agents) - strlen(h->agents), ", %u voter%s on this machine", b->voters, b->voters == 1 ? "" : "s");
	else
		snprintf(h->agents + strlen(h->agents), sizeof(h->agents) - strlen(h->agents), ", cluster %.40s", st.cluster);
}

static const char *loop_setting;

static int need(struct bench *b, unsigned voters, unsigned observers, const char *settings, bool fresh)
{
	char all[256];

	if (b->voters) {
		snprintf(all, sizeof(all), "%s%s%s", settings, loop_setting ? " loop=" : "", loop_setting ? loop_setting : "");
		int rc = bench_cluster_start(&b->cluster, voters, observers, all, fresh);
		if (rc < 0)
			return rc;
	}
	tell_agents(b);
	return 0;
}

int bench_need(struct bench *b, unsigned observers, const char *settings)
{
	return need(b, b->voters, observers, settings, false);
}

int bench_need_fresh(struct bench *b, const char *settings)
{
	return need(b, b->voters, 0, settings, true);
}

int bench_need_table(struct bench *b, unsigned keys, unsigned owned)
{
	char settings[96];

	/* Room for a few more: what else is locked, and what is looked up beside. And what was locked once is kept for as
	 * long as a case takes. */
	snprintf(settings, sizeof(settings), "locks=%u claims=%u keep_ms=3600000", keys + keys / 32 + 64, owned + owned / 32 + 64);
	return need(b, 1, 0, settings, true);
}

bool bench_status(struct bench *b, struct paxshm_status *ret)
{
	if (member_status(b->cluster.socket[0], ret))
		return true;
	fprintf(stderr, "paxbench: the agent at %s does not answer\n", b->cluster.socket[0][0] ? b->cluster.socket[0] : "the usual place");
	return false;
}

/* ---- the whole ---- */

static void begin_header(struct wishes *w)
{
	struct report_header *h = &w->bench.report.header;

	report_header_machine(h);
	snprintf(h->version, sizeof(h->version), "%s", paxshm_version());
	strcpy(h->pinning, crew_pins ? "each host has a core" : "none");
	if (w->bench.rate > 0)
		snprintf(h->loop, sizeof(h->loop), "open, %g a second, timed from the intended start", w->bench.rate);
	else
		strcpy(h->loop, "closed: the next operation starts when the last has ended");
}

static int run_all(struct wishes *w)
{
	struct bench *b = &w->bench;
	bool left_out = false;

	for (unsigned i = 0; i < w->n_chosen; i++) {
		if (w->chosen[i]->kills && b->voters < 3) {
			fprintf(stderr, "paxbench: %s is left out: it kills agents, and only its own: --cluster 3\n", w->chosen[i]->name);
			left_out |= !w->all;
			continue;
		}
		progress_begin();
		int rc = w->chosen[i]->run(b);
		progress_end();
		if (rc < 0)
			return rc;
	}
	b->report.errors += left_out;
	return 0;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "CASE... | all",
		.doc = "Measures paxshm: every figure beside a limit of the machine, taken in the same run."
		       "\vExits 0; 1 when a row had errors; 64 usage; 69 no agents; 73 a folder that cannot be written.",
	};
	struct wishes w = { .bench = { .seconds = 2, .processes = 16, .keys = 1000000, .report.out = stdout, .cluster.hold = -1 } };
	struct bench *b = &w.bench;

	argp_err_exit_status = EXIT_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, &w);
	loop_setting = w.loop;
	if ((w.plot && report_folder(w.plot) < 0) || (w.save && report_folder(w.save) < 0))
		return EXIT_NO_FOLDER;
	begin_header(&w);
	if (!b->voters && bench_cluster_find(&b->cluster) < 0)
		return EXIT_NO_AGENT;
	int rc = run_all(&w);
	bench_cluster_stop(&b->cluster);
	int status = rc < 0 ? EXIT_NO_AGENT : b->report.errors ? EXIT_FAILED
							       : 0;
	if (w.save && report_save(&b->report, w.save) < 0)
		status = EXIT_NO_FOLDER;
	if (w.plot && report_plot(&b->report, w.plot) < 0)
		status = EXIT_NO_FOLDER;
	report_release(&b->report);
	return status;
}
