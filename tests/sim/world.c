/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of events, and the course of one run: faults, healing, closing, probing, the end. */
#include <inttypes.h>
#include <stdarg.h>
#include <unistd.h>

#include "sim.h"

#define HEAL_LIMIT (60 * SECOND) /* by then every waiting call must be answered */
#define CLOSE_LIMIT (20 * SECOND)
#define PROBE_LIMIT (40 * SECOND)
#define LAST_LIMIT (20 * SECOND)
#define EVENTS_MAX 20000000ull /* of one run: more means that somebody goes in circles */

_Noreturn void sim_fail(struct sim *s, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "seed %" PRIu64 ", at %.6f s: ", s->options.seed, (double)s->now_ns / 1e9);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	fflush(stderr);
	_exit(1);
}

void sim_mark(struct sim *s, enum mark mark)
{
	s->tally->mark[mark]++;
}

/* ---- chance ---- */

uint64_t sim_pick(struct sim *s, uint64_t low, uint64_t high)
{
	return low + random_next(&s->random) % (high - low + 1);
}

bool sim_chance(struct sim *s, uint64_t of, uint64_t in)
{
	return of && sim_pick(s, 1, in) <= of;
}

uint64_t sim_about(struct sim *s, uint64_t mean)
{
	uint64_t t = sim_pick(s, mean / 4, mean + mean / 2);

	if (sim_chance(s, 1, 64))
		return 16 * t;
	return sim_chance(s, 1, 8) ? 3 * t : t;
}

/* ---- the queue: a binary heap, the older event first among equals ---- */

static bool before(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void sim_at(struct sim *s, uint64_t at, struct event event)
{
	size_t i = s->n_events++;

	if (s->n_events > s->cap_events) {
		s->cap_events = s->cap_events ? 2 * s->cap_events : 1024;
		s->heap = realloc(s->heap, s->cap_events * sizeof(*s->heap));
		ASSERT(s->heap);
	}
	event.at = MAX(at, s->now_ns);
	event.order = s->next_order++;
	for (; i && before(&event, &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = event;
}

static struct event take_event(struct sim *s)
{
	struct event first = s->heap[0], last = s->heap[--s->n_events];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < s->n_events) {
		if (child + 1 < s->n_events && before(&s->heap[child + 1], &s->heap[child]))
			child++;
		if (!before(&s->heap[child], &last))
			break;
		s->heap[i] = s->heap[child];
		i = child;
	}
	s->heap[i] = last;
	return first;
}

/* ---- the course of a run ---- */

static void enter(struct sim *s, enum stage stage)
{
	static const char *const names[] = { "faults", "liveness", "healing", "closing", "probing", "last", "done" };

	s->stage = stage;
	s->stage_since_ns = s->now_ns;
	trace(s, "---- %s ----", names[stage]);
}

static bool all_alive(const struct sim *s)
{
	for (uint16_t id = 1; id <= s->n_hosts; id++)
		if (!s->host[id].agent)
			return false;
	return true;
}

static bool all_closed(const struct sim *s)
{
	for (unsigned i = 0; i < SIM_CLIENTS; i++)
		if (s->client[i].state != CLIENT_FREE)
			return false;
	return true;
}

/* Every host has applied the same slots, nothing is delegated to anybody, and nobody waits. */
static bool tables_empty(struct sim *s, char *why, size_t cap)
{
	for (uint16_t id = 1; id <= s->n_hosts; id++) {
		const struct tables *t = s->host[id].memory.tables;

		if (t->agreed.applied != s->reference.applied || !t->ready) {
			snprintf(why, cap, "host %u has applied %" PRIu64 " of %" PRIu64 " slots", id, t->agreed.applied,
				 s->reference.applied);
			return false;
		}
		/* An agent that keeps nothing does not look for what others have written over: until another host wants it. */
		if (!(s->nonsense && !s->plan.keep_ns) && (t->agreed.rows_used != t->agreed.died_count || t->agreed.waits_used)) {
			snprintf(why, cap, "host %u has %u rows (%u of them only remember a death) and %u waits", id,
				 t->agreed.rows_used, t->agreed.died_count, t->agreed.waits_used);
			return false;
		}
		if (t->sessions) {
			snprintf(why, cap, "host %u counts %u sessions", id, t->sessions);
			return false;
		}
	}
	return true;
}

static void overdue(struct sim *s, uint64_t limit, const char *what)
{
	if (s->now_ns - s->stage_since_ns > limit)
		sim_fail(s, "%s within %llu s of quiet", what, (unsigned long long)(limit / SECOND));
}

static void close_all(struct sim *s)
{
	for (unsigned i = 0; i < SIM_CLIENTS; i++)
		if (s->client[i].state == CLIENT_OPEN)
			client_close(s, &s->client[i]);
}

static void stage_healing(struct sim *s)
{
	const struct client *busy;
	char text[2048];

	if (clients_quiet(s, &busy)) {
		enter(s, STAGE_CLOSING);
		close_all(s);
		return;
	}
	if (s->now_ns - s->stage_since_ns > HEAL_LIMIT) {
		client_describe(s, busy, text, sizeof(text));
		sim_fail(s, "a call was not answered within %llu s of quiet: %s", HEAL_LIMIT / SECOND, text);
	}
}

static void stage_closing(struct sim *s)
{
	char why[128] = "";

	if (all_closed(s) && tables_empty(s, why, sizeof(why))) {
		oracle_same_everywhere(s);
		enter(s, STAGE_PROBING);
		for (uint16_t id = 1; id <= s->n_hosts; id++)
			client_new(s, id, true);
		return;
	}
	close_all(s);
	if (s->now_ns - s->stage_since_ns > CLOSE_LIMIT)
		sim_fail(s, "after all programs had closed their sessions, something stayed for %llu s: %s",
			 CLOSE_LIMIT / SECOND, all_closed(s) ? why : "a session is not closed");
}

static void stage_probing(struct sim *s)
{
	if (all_closed(s)) {
		enter(s, STAGE_LAST);
		return;
	}
	overdue(s, PROBE_LIMIT, "not every lock could be had");
}

static void stage_last(struct sim *s)
{
	char why[128] = "";

	if (tables_empty(s, why, sizeof(why))) {
		oracle_same_everywhere(s);
		oracle_end(s);
		enter(s, STAGE_DONE);
		return;
	}
	if (s->now_ns - s->stage_since_ns > LAST_LIMIT)
		sim_fail(s, "at the end something stayed: %s", why);
}

static void stage_look(struct sim *s)
{
	switch (s->stage) {
	case STAGE_FAULTS:
		if (s->now_ns < s->plan.duration_ns)
			break;
		if (s->plan.liveness && s->reference.history) {
			enter(s, STAGE_LIVENESS);
			liveness_begin(s);
			break;
		}
		enter(s, STAGE_HEALING);
		faults_heal(s);
		break;
	case STAGE_LIVENESS:
		if (!liveness_look(s))
			break;
		enter(s, STAGE_HEALING);
		liveness_end(s);
		faults_heal(s);
		break;
	case STAGE_HEALING:
		if (all_alive(s))
			stage_healing(s);
		break;
	case STAGE_CLOSING:
		stage_closing(s);
		break;
	case STAGE_PROBING:
		stage_probing(s);
		break;
	case STAGE_LAST:
		stage_last(s);
		break;
	case STAGE_DONE:
		break;
	}
	sim_at(s, s->now_ns + 20 * MS, (struct event){ .kind = EVENT_STAGE });
}

static void happen(struct sim *s, const struct event *e)
{
	struct client *c;

	switch (e->kind) {
	case EVENT_RUN:
		if (s->host[e->a].run_at == e->at)
			host_run(s, &s->host[e->a]);
		break;
	case EVENT_PUMP:
		network_pump(s, e->a, e->b);
		break;
	case EVENT_CONNECT:
		network_connect(s, e->a, e->b);
		break;
	case EVENT_START:
		if (!s->host[e->a].agent && !host_stays_dead(&s->host[e->a]))
			host_start(s, &s->host[e->a]);
		break;
	case EVENT_THREAD:
		c = &s->client[e->a];
		if (c->state != CLIENT_OPEN || c->thread[e->b].timer != e->number)
			break;
		if (client_stands(s, c))
			clients_deferred(s, c, &c->thread[e->b]);
		else
			client_thread(s, c, &c->thread[e->b]);
		break;
	case EVENT_CLIENT:
		client_maybe_new(s);
		break;
	case EVENT_FAULT:
		fault_happen(s, e->what);
		break;
	case EVENT_HEAL:
		partition_heal(s, e->number, e->a, e->b);
		break;
	case EVENT_CUT:
		partition_cut(s, e->number, e->a, e->b);
		break;
	case EVENT_RESUME:
		if (s->host[e->a].frozen_until <= s->now_ns)
			clock_resume(s, &s->host[e->a]);
		else
			sim_at(s, s->host[e->a].frozen_until, *e);
		break;
	case EVENT_WRITE:
		resource_arrived(s, &s->write[e->number]);
		break;
	case EVENT_STAGE:
		stage_look(s);
		break;
	}
}

static void tidy(struct sim *s)
{
	for (uint16_t id = 1; id <= s->n_hosts; id++)
		host_end(&s->host[id]);
	network_drop(s);
	for (unsigned i = 0; i < SIM_CLIENTS; i++)
		free(s->client[i].rings);
	for (uint64_t i = 0; i < s->n_log; i++) {
		free(s->log[i].bytes);
		free(s->log[i].accepted);
	}
	free(s->log);
	free(s->heap);
	free(s->shadow);
	free(s->copy);
}

uint64_t sim_run(struct sim *s, const struct options *options, struct tally *tally)
{
	memset(s, 0, sizeof(*s));
	s->options = *options;
	s->tally = tally;
	s->random = hash_mix(options->seed * 0x9e3779b97f4a7c15ull + 1);
	plan_make(s);
	s->n_hosts = s->plan.voters + s->plan.observers;
	for (uint16_t id = 1; id <= s->n_hosts; id++)
		host_init(s, id);
	for (uint16_t id = 1; id <= s->n_hosts; id++)
		sim_at(s, sim_pick(s, 0, 200 * MS), (struct event){ .kind = EVENT_START, .a = id });
	network_start(s);
	clients_start(s);
	faults_start(s);
	stage_look(s);
	for (uint64_t n = 0; s->stage != STAGE_DONE; n++) {
		struct event e = take_event(s);

		ASSERT(e.at >= s->now_ns);
		CHECK(s, n < EVENTS_MAX, "more than %llu events: somebody goes in circles", EVENTS_MAX);
		s->now_ns = e.at;
		happen(s, &e);
	}
	tally->seeds++;
	tally->simulated_ns += s->now_ns;
	tidy(s);
	return s->history;
}
