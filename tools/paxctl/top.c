/* SPDX-License-Identifier: Apache-2.0 */
/* paxctl top: the locks of this host that are used most, what happens to them in a second, live. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "escape.h"
#include "paxctl.h"
#include "rates.h"
#include "screen.h"
#include "who.h"

#define SHOWN_MAX 200u
#define SHOWN_PLAIN 20u /* where it is no terminal */
#define HEADER_LINES 4u
#define DELAY_LEAST 0.01

struct top_options {
	struct common *common;
	unsigned long samples; /* 0: without end */
	bool samples_given;
	double delay_s;
};

struct sample {
	struct paxshm_status status;
	uint64_t interval_ns, revocations; /* since the look before */
	struct hottest hottest;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct top_options *options = state->input;
	char *end;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = options->common;
		return 0;
	case 'n':
		options->samples = strtoul(arg, &end, 10);
		options->samples_given = true;
		if (end == arg || *end || strchr(arg, '-') || !options->samples)
			argp_error(state, "\"%s\" is no number of samples", arg);
		return 0;
	case 'd':
		options->delay_s = parse_seconds(state, arg);
		if (options->delay_s < DELAY_LEAST)
			argp_error(state, "\"%s\" is too short: %g seconds at least", arg, DELAY_LEAST);
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "takes no argument");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* ---- taking a sample ---- */

/* A look at every lock: *ret_now for the next sample. */
static int look(paxshm_session *s, const struct counts *before, struct counts *ret_now, struct sample *sample)
{
	struct paxshm_lock_info lock = PAXSHM_INIT(lock);
	struct counts now = { .taken_ns = paxshm_deadline_ms(0) };
	uint32_t cursor = 0;
	int rc;

	sample->hottest.n = 0;
	while ((rc = paxshm_next_lock(s, &cursor, &lock)) > 0) {
		if (!lock.series)
			continue; /* another host's */
		hottest_add(&sample->hottest, &lock, rate_since(before, &lock, now.taken_ns));
		rc = counts_add(&now, &lock);
		if (rc < 0)
			break;
	}
	if (rc < 0) {
		counts_release(&now);
		return rc;
	}
	counts_sort(&now);
	*ret_now = now;
	return 0;
}

static int take(paxshm_session *s, struct counts *counts, struct sample *sample)
{
	struct paxshm_status status = PAXSHM_INIT(status);
	struct counts now = { 0 };
	int rc = paxshm_status(s, 0, &status);

	if (rc == 0)
		rc = look(s, counts, &now, sample);
	if (rc < 0)
		return rc;
	sample->interval_ns = counts->taken_ns ? now.taken_ns - counts->taken_ns : 0;
	sample->revocations = status.revocations - sample->status.revocations;
	sample->status = status;
	counts_release(counts);
	*counts = now;
	return 0;
}

/* ---- showing it ---- */

static const char *rate_text(const struct rate *rate, double value, char out[16])
{
	if (!rate->known)
		return "-";
	snprintf(out, 16, value < 99.95 ? "%.1f" : "%.0f", value);
	return out;
}

static void print_row(FILE *out, const struct hot *hot)
{
	const struct paxshm_lock_info *lock = &hot->lock;
	char key[ESCAPED_MAX], program[PROGRAM_TEXT], texts[3][16];
	const char *owner = lock->flags & PAXSHM_KEPT ? "kept" : column(lock->owner.pid);

	fprintf(out, "%9s %8s %6s %4u %5u %8s %-15s %s%s\n", rate_text(&hot->rate, hot->rate.acquired, texts[0]),
		rate_text(&hot->rate, hot->rate.handed, texts[1]), rate_text(&hot->rate, hot->rate.revoked, texts[2]), lock->waiters,
		lock->waiting, owner, program_text(&lock->owner, program), lock->flags & PAXSHM_RECALLED ? "<" : " ",
		escape_key(lock->key, lock->key_len, key));
}

static void print_page(FILE *out, const struct sample *sample)
{
	const struct paxshm_status *st = &sample->status;
	double seconds = (double)sample->interval_ns / 1e9;
	char lease[LEASE_TEXT];

	fprintf(out, "%s in %s: %s, leader %s; lease %s\n", st->host, st->cluster, st->quorum ? "quorum" : "NO QUORUM",
		st->leader_id ? st->leader : "unknown", lease_text(st, lease));
	fprintf(out, "locks %u of %u, sessions %u; in %.1f s %" PRIu64 " given up to other hosts\n\n", st->locks, st->locks_max, st->sessions,
		seconds, seconds > 0 ? sample->revocations : 0);
	fprintf(out, "%9s %8s %6s %4s %5s %8s %-15s  %s\n", "TAKEN/S", "HANDED/S", "LOST/S", "WAIT", "HOSTS", "PID", "PROGRAM", "KEY");
	for (size_t i = 0; i < sample->hottest.n; i++)
		print_row(out, &sample->hottest.at[i]);
}

static json_t *rate_json(const struct rate *rate, double value)
{
	return rate->known ? json_real(value) : json_null();
}

static json_t *hot_json(const struct hot *hot)
{
	const struct paxshm_lock_info *lock = &hot->lock;
	json_t *object = json_object();

	json_add_key(object, lock->key, lock->key_len);
	json_object_set_new(object, "taken_per_s", rate_json(&hot->rate, hot->rate.acquired));
	json_object_set_new(object, "handed_per_s", rate_json(&hot->rate, hot->rate.handed));
	json_object_set_new(object, "lost_per_s", rate_json(&hot->rate, hot->rate.revoked));
	json_object_set_new(object, "waiting_here", json_integer(lock->waiters));
	json_object_set_new(object, "waiting_hosts", json_integer(lock->waiting));
	json_object_set_new(object, "owner", lock->owner.pid ? who_json(&lock->owner) : json_null());
	json_object_set_new(object, "kept", json_boolean(lock->flags & PAXSHM_KEPT));
	json_object_set_new(object, "recalled", json_boolean(lock->flags & PAXSHM_RECALLED));
	return object;
}

static int print_json(const struct sample *sample)
{
	const struct paxshm_status *st = &sample->status;
	json_t *locks = json_array();

	for (size_t i = 0; i < sample->hottest.n; i++)
		json_array_append_new(locks, hot_json(&sample->hottest.at[i]));
	return json_print(json_pack("{s:s, s:b, s:o, s:o, s:o, s:I, s:o}", "host", st->host, "quorum", (int)st->quorum,
				    "interval_ns", json_u64(sample->interval_ns), "now_ns", json_u64(paxshm_deadline_ms(0)),
				    "lease_until_ns", json_u64(st->lease_until_ns), "revocations", (json_int_t)sample->revocations,
				    "locks", locks));
}

static int print_plain(const struct sample *sample)
{
	print_page(stdout, sample);
	if (fflush(stdout) == 0)
		return 0;
	fprintf(stderr, "paxctl: cannot write\n");
	return EXIT_OS;
}

/* `rc`: what the last look came to. */
static int show_on_screen(const struct sample *sample, int rc)
{
	char *page = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&page, &len);

	if (!out)
		return EXIT_OS;
	if (rc < 0)
		fprintf(out, "%s\n", paxshm_strerror(rc));
	else
		print_page(out, sample);
	fclose(out);
	/* Not the last newline: it would scroll a full page away. */
	screen_show(page, len && page[len - 1] == '\n' ? len - 1 : len);
	free(page);
	return 0;
}

/* ---- going on ---- */

static bool passes(int rc) /* what may be over at the next look */
{
	return rc == -EAGAIN || rc == PAXSHM_NO_QUORUM;
}

static size_t room_for(bool terminal)
{
	unsigned lines = terminal ? screen_lines() : SHOWN_PLAIN + HEADER_LINES;
	unsigned rows = lines > HEADER_LINES ? lines - HEADER_LINES : 1;

	return rows < SHOWN_MAX ? rows : SHOWN_MAX;
}

static int show(const struct top_options *options, const struct sample *sample, bool terminal, int rc)
{
	if (options->common->json)
		return print_json(sample);
	return terminal ? show_on_screen(sample, rc) : print_plain(sample);
}

/* An exit status; *ret_event: why it ended, when it was not by itself. */
static int run(paxshm_session *s, const struct top_options *options, struct sample *sample, bool terminal, enum screen_event *ret_event)
{
	uint64_t delay_ns = (uint64_t)(options->delay_s * 1e9), at_ns = paxshm_deadline_ms(0);
	struct counts counts = { 0 };
	unsigned long shown = 0;
	int status = 0, rc = 0;

	sample->hottest.max = room_for(terminal);
	rc = take(s, &counts, sample); /* the first look is what the first sample is compared with */
	if (terminal && rc == 0)
		status = show(options, sample, terminal, rc);
	while (status == 0 && (rc == 0 || (terminal && passes(rc)))) {
		enum screen_event event = screen_wait(at_ns + delay_ns);

		if (event == SCREEN_QUIT || event == SCREEN_KILLED) {
			*ret_event = event;
			break;
		}
		sample->hottest.max = room_for(terminal);
		if (event == SCREEN_TIME) {
			at_ns = paxshm_deadline_ms(0);
			rc = take(s, &counts, sample);
			if (rc < 0 && !(terminal && passes(rc)))
				break;
			shown++;
		} else if (sample->hottest.n > sample->hottest.max) {
			sample->hottest.n = sample->hottest.max;
		}
		status = show(options, sample, terminal, rc);
		if (options->samples && shown == options->samples)
			break;
	}
	counts_release(&counts);
	if (rc < 0 && !(terminal && passes(rc))) {
		screen_close();
		return fail("top", rc);
	}
	return status;
}

int command_top(int argc, char **argv, struct common *common)
{
	static const struct argp_option argp_options[] = {
		{ "samples", 'n', "COUNT", 0, "end after so many samples (without end on a terminal; else 1)", 0 },
		{ "delay", 'd', "SEC", 0, "seconds from one sample to the next (2), fractions are allowed", 0 },
		{ 0 },
	};
	static const struct argp_child children[] = { { &common_json_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.doc = "Shows the locks of this host that are acquired most: how often in a second they were taken, handed straight to "
		       "the next, and lost to other hosts; how many processes and hosts wait; who owns them. q ends it.",
		.children = children,
	};
	struct top_options options = { .common = common, .delay_s = 2 };
	enum screen_event event = SCREEN_TIME;
	struct sample sample = { 0 };

	command_parse(&argp, argc, argv, &options);
	sample.hottest.at = calloc(SHOWN_MAX, sizeof(*sample.hottest.at));
	if (!sample.hottest.at)
		return fail("top", -ENOMEM);
	paxshm_session *s = open_session(common, 0);
	bool terminal = screen_open(!common->json);

	if (!terminal && !options.samples_given)
		options.samples = 1;
	int status = run(s, &options, &sample, terminal, &event);

	screen_close();
	paxshm_close(s);
	free(sample.hottest.at);
	if (event == SCREEN_KILLED)
		screen_die();
	if (status == 0 && sample.status.size && !sample.status.quorum)
		status = EXIT_NO_QUORUM;
	return status;
}
