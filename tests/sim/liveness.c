/* SPDX-License-Identifier: Apache-2.0 */
/*
 * At some moment a majority of the voters is healthy and hears each other; every other host is broken for
 * good, each in its own way. Whoever is healthy must go on: after a time to settle nobody is told that there
 * is no quorum, leaders stay, sessions of the dead end, and when programs begin nothing more, every call
 * of theirs is answered.
 *
 *     begin            settled             quiet                    still                     over
 *       | a new leader    | programs go on    | some share locks still, | each call is answered   |
 *       |                 |                   | who waits to have one   |                         |
 *       |                 |                   | alone gets it           |                         |
 */
#include "sim.h"

#define ROUNDS 20u                                   /* elections' time, to settle */
#define COPY_NS (25 * s->plan.heartbeat_ns + SECOND) /* a host that takes a copy and falls silent keeps others waiting for so long */
#define LIVE_NS (1500 * MS)                          /* so long programs go on then */
#define ANSWER_NS (20 * SECOND)                      /* by then every call is answered: lines of programs that hold their lock a while */
#define SESSION_NS (2 * SECOND)                      /* by then a dead program's session is over */
#define SLACK_NS (300 * MS)                          /* connections begin anew when it breaks, and clocks drift */
#define OFFICES_MAX 1u                               /* leaders that may begin after the time to settle */

/* ---- who is healthy ---- */

static bool healthy(const struct sim *s, uint16_t id) { return s->host[id].broken == HEALTHY; }

static unsigned voters_with_memory(const struct sim *s)
{
	unsigned n = 0;

	for (uint16_t id = 1; id <= s->n_hosts; id++)
		n += s->host[id].votes;
	return n;
}

static enum broken some_way(struct sim *s)
{
	return (enum broken)sim_pick(s, BROKEN_CRASHED, BROKEN_BEHIND - 1);
}

/* All but a majority, in one way each or all in one. */
static void choose(struct sim *s)
{
	unsigned left = voters_with_memory(s), needed = s->plan.voters / 2 + 1;
	uint16_t id = (uint16_t)sim_pick(s, 1, s->n_hosts);
	bool bridge = s->plan.voters >= 5 && sim_chance(s, 1, 3);

	for (unsigned n = 0; n < s->n_hosts; n++, id = id % s->n_hosts + 1) {
		struct host *h = &s->host[id];
		bool may = !h->votes || left > needed;

		if (!may || sim_chance(s, 1, 5))
			continue;
		left -= h->votes;
		h->broken = bridge ? BROKEN_BEHIND : some_way(s);
	}
}

/* ---- breaking them ---- */

static uint16_t some_healthy(struct sim *s)
{
	uint16_t id = (uint16_t)sim_pick(s, 1, s->plan.voters);

	while (!healthy(s, id) || !s->host[id].voter)
		id = (uint16_t)(id % s->plan.voters + 1);
	return id;
}

static void cut_off(struct sim *s, uint16_t id, bool deaf, bool mute, uint16_t but)
{
	for (uint16_t other = 1; other <= s->n_hosts; other++) {
		if (!healthy(s, other) || other == but)
			continue;
		if (deaf)
			partition_block(s, &s->breakage, other, id);
		if (mute)
			partition_block(s, &s->breakage, id, other);
	}
}

static void break_host(struct sim *s, struct host *h, uint16_t middle)
{
	static const char *const ways[N_BROKEN] = { "healthy", "crashed", "crashed and has lost its memory", "stopped", "cut off",
						    "sends and hears nothing", "hears and sends nothing", "reached by one other only" };

	trace(s, "host %u is broken for good: %s", h->id, ways[h->broken]);
	sim_mark(s, MARK_BROKEN_CRASHED + h->broken - BROKEN_CRASHED);
	switch (h->broken) {
	case BROKEN_CRASHED:
		if (h->agent)
			host_die(s, h, 0);
		break;
	case BROKEN_LOST:
		host_lose_memory(s, h);
		break;
	case BROKEN_STOPPED:
		h->paused_until = NEVER;
		break;
	case BROKEN_CUT:
		cut_off(s, h->id, true, true, 0);
		break;
	case BROKEN_DEAF:
		cut_off(s, h->id, true, false, 0);
		break;
	case BROKEN_MUTE:
		cut_off(s, h->id, false, true, 0);
		break;
	case BROKEN_BEHIND:
		cut_off(s, h->id, true, true, middle);
		break;
	case HEALTHY:
	case N_BROKEN:
		break;
	}
}

void liveness_begin(struct sim *s)
{
	uint16_t middle;

	faults_heal(s); /* first everything works; what is broken below is all that is */
	s->live_since = s->now_ns;
	s->live_settled = s->now_ns + ROUNDS * s->plan.leader_lease_ns + COPY_NS;
	s->live_quiet = s->live_settled + LIVE_NS;
	s->live_still = NEVER;
	s->live_offices = 0;
	sim_mark(s, MARK_LIVENESS);
	choose(s);
	middle = some_healthy(s);
	for (uint16_t id = 1; id <= s->n_hosts; id++) {
		struct host *h = &s->host[id];

		if (!healthy(s, id))
			break_host(s, h, middle);
		else if (!h->agent)
			sim_at(s, s->now_ns + sim_pick(s, 1, 50) * MS, (struct event){ .kind = EVENT_START, .a = id });
	}
}

void liveness_end(struct sim *s)
{
	for (uint16_t a = 1; a <= s->n_hosts; a++) {
		struct host *h = &s->host[a];

		for (uint16_t b = 1; b <= s->n_hosts; b++)
			partition_unblock(s, &s->breakage, a, b);
		h->broken = HEALTHY;
		if (!h->agent)
			sim_at(s, s->now_ns + sim_pick(s, 1, 50) * MS, (struct event){ .kind = EVENT_START, .a = a });
	}
}

/* ---- what must be ---- */

uint64_t sim_host_death_ns(const struct sim *s)
{
	/* The leader waits for the fastest clock, by a clock that may be the slowest. */
	uint64_t lease_ns = paxos_plus_drift(s->plan.host_lease_ns, (uint32_t)s->plan.drift_ppm);

	lease_ns += lease_ns / 1000000 * 2 * (uint64_t)s->plan.drift_ppm;
	return lease_ns + 2 * s->plan.leader_lease_ns + SLACK_NS;
}

/* Behind a bridge the leader may be, rightly; who does not reach it cannot go on. */
static bool reaches_leader(const struct sim *s, uint16_t id)
{
	uint16_t leader = sim_leader(s);

	return leader && !s->breakage.blocks[id][leader] && !s->breakage.blocks[leader][id];
}

bool liveness_settled(const struct sim *s, const struct host *h)
{
	/* Observers hear every fifteenth heartbeat; a host lease shorter than that is theirs to complain of. */
	return s->stage == STAGE_LIVENESS && s->now_ns >= s->live_settled && healthy(s, h->id) && h->voter && reaches_leader(s, h->id);
}

static void check_offices(struct sim *s)
{
	if (!s->live_offices && s->now_ns >= s->live_settled)
		s->live_offices = s->offices;
	CHECK(s, !s->live_offices || s->offices - s->live_offices <= OFFICES_MAX,
	      "leaders do not stay: %u began since the cluster had %.3f s to settle", (unsigned)(s->offices - s->live_offices),
	      (double)(s->live_settled - s->live_since) / 1e9);
}

/* Its places in lines are used again only when they are out of them; but it owns nothing any more. */
static bool lingers(const struct sim *s, const struct client *c)
{
	const unsigned char *base = s->host[c->host].memory.private;
	const struct private_memory *p = s->host[c->host].memory.private;
	const struct session_record *record = (const struct session_record *)(base + p->sessions_at) + c->slot;

	return record->state == SESSION_ENDING && !record->claims && record->sweep_at == SWEEP_DONE && s->now_ns < c->gone_ns + ANSWER_NS;
}

/* Whoever died frees what it had: a program by its agent … */
static void check_dead(struct sim *s)
{
	char text[2048];

	for (struct client *c = s->client; c < s->client + SIM_CLIENTS; c++) {
		uint64_t since = MAX(c->gone_ns, s->live_settled);

		CHECK(s, c->state != CLIENT_DEAD || !c->kept || !healthy(s, c->host) || s->now_ns < since + SESSION_NS || !reaches_leader(s, c->host) || lingers(s, c),
		      "a program died %.3f s ago and its session is not over: %s", (double)(s->now_ns - c->gone_ns) / 1e9,
		      (client_describe(s, c, text, sizeof(text)), text));
	}
}

/* … a host by the end of its lease. */
static bool lost_for_good(const struct sim *s, uint16_t id)
{
	const struct host *h = &s->host[id];

	return host_stays_dead(h) || h->broken == BROKEN_STOPPED || h->broken == BROKEN_CUT || h->broken == BROKEN_MUTE;
}

static void check_dead_hosts(struct sim *s)
{
	/* A host keeps many locks that nobody uses; they are swept a bite a command. */
	uint64_t limit = sim_host_death_ns(s) + s->plan.limits.capacity.rows * 4 * MS;

	if (s->now_ns < s->live_since + limit)
		return;
	for (struct key *k = s->key + 1; k <= s->key + s->n_keys; k++) {
		CHECK(s, !k->lock.delegation || !lost_for_good(s, k->lock.host), "host %u is broken since %.3f s and still has %s", k->lock.host,
		      (double)(s->now_ns - s->live_since) / 1e9, trace_key(k));
		for (unsigned i = 0; i < k->lock.n_shares; i++)
			CHECK(s, !lost_for_good(s, k->lock.share[i].of.host), "host %u is broken since %.3f s and still shares %s", k->lock.share[i].of.host,
			      (double)(s->now_ns - s->live_since) / 1e9, trace_key(k));
	}
}

/* Who shares a lock takes a place to wait as long as he does. Where these are few, who wants it alone may find none for good, and is
 * told so; who stands at a gate goes on asking. */
static bool all_can_queue(const struct sim *s)
{
	return s->plan.limits.capacity.waits >= s->n_hosts * MIN(s->n_keys, s->plan.limits.capacity.rows);
}

bool liveness_shares(const struct sim *s, uint16_t host)
{
	return all_can_queue(s) && s->stage == STAGE_LIVENESS && s->now_ns >= s->live_quiet && s->now_ns < s->live_still && s->plan.p_share && healthy(s, host) &&
	       reaches_leader(s, host);
}

static bool finished(const struct sim *s, const struct client *c)
{
	if (c->state == CLIENT_FREE || !healthy(s, c->host) || !reaches_leader(s, c->host))
		return true;
	if (c->state != CLIENT_OPEN)
		return c->state == CLIENT_DEAD && !c->kept;
	if (c->nonsense)
		return true;
	for (const struct thread *t = c->thread; t < c->thread + c->n_threads; t++)
		if (t->state != THREAD_IDLE && !(c->closing && t->state != THREAD_CLOSES) && !(t->sharing.wants && s->now_ns < s->live_still))
			return false;
	return true;
}

bool liveness_look(struct sim *s)
{
	const struct client *busy = NULL;
	char text[2048];

	check_offices(s);
	if (s->now_ns >= s->live_settled)
		check_dead(s);
	if (s->now_ns < s->live_quiet)
		return false;
	CHECK(s, sim_leader(s), "a majority is healthy, and nobody leads");
	for (unsigned i = 0; i < SIM_CLIENTS && !busy; i++)
		if (!finished(s, &s->client[i]))
			busy = &s->client[i];
	if (!busy && s->now_ns < s->live_still)
		s->live_still = s->now_ns;
	if (busy && s->now_ns - (s->live_still == NEVER ? s->live_quiet : s->live_still) > ANSWER_NS) {
		client_describe(s, busy, text, sizeof(text));
		sim_fail(s, "a majority is healthy, and a call was not answered within %llu s: %s", ANSWER_NS / SECOND, text);
	}
	check_dead_hosts(s);
	return !busy && s->now_ns >= s->live_since + sim_host_death_ns(s) + s->plan.limits.capacity.rows * 4 * MS;
}
