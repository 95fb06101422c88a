/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong, and when. */
#include "sim.h"

enum { FAULT_RESET,
       FAULT_PARTITION,
       FAULT_DEPOSE,
       FAULT_CLOG,
       FAULT_PAUSE,
       FAULT_FREEZE,
       FAULT_SLOW,
       FAULT_CRASH,
       FAULT_LOSE_MEMORY,
       FAULT_KILL,
       FAULT_STOP,
       FAULT_NONSENSE,
       FAULT_DRIFT,
       FAULT_JUMP,
       N_FAULTS };

/* ---- single faults ---- */

static struct host *some_host(struct sim *s)
{
	uint16_t leader = sim_leader(s);

	if (leader && sim_chance(s, 1, 3))
		return &s->host[leader];
	return &s->host[sim_pick(s, 1, s->n_hosts)];
}

static void happen_crash(struct sim *s)
{
	struct host *h = some_host(s);
	unsigned times = sim_chance(s, 1, 12) ? s->n_hosts : 1;

	for (; times; times--, h = &s->host[h->id % s->n_hosts + 1]) {
		if (!h->agent || h->doom != DOOM_NONE)
			continue;
		h->doom = (enum doom)sim_pick(s, DOOM_NONE, DOOM_ACTION);
		h->doom_after = sim_pick(s, 0, sim_chance(s, 1, 2) ? 10 : 150);
		if (h->doom != DOOM_NONE)
			continue;
		sim_mark(s, MARK_CRASH_BETWEEN);
		host_die(s, h, sim_about(s, sim_chance(s, 1, 4) ? 500 * MS : 20 * MS));
	}
}

/* A majority must keep its memory: without it nothing is ever decided again. */
static void happen_lose_memory(struct sim *s)
{
	struct host *h = some_host(s);
	unsigned votes = 0;

	for (uint16_t id = 1; id <= s->n_hosts; id++)
		votes += s->host[id].votes;
	if ((h->votes && 2 * (votes - 1) <= s->plan.voters) || !s->reference.history)
		return;
	host_lose_memory(s, h);
}

static struct client *some_client(struct sim *s)
{
	unsigned at = (unsigned)sim_pick(s, 0, SIM_CLIENTS - 1);

	for (unsigned n = 0; n < SIM_CLIENTS; n++, at = (at + 1) % SIM_CLIENTS)
		if (s->client[at].state == CLIENT_OPEN || s->client[at].state == CLIENT_OPENING)
			return &s->client[at];
	return NULL;
}

static void happen_reset(struct sim *s)
{
	uint16_t a = (uint16_t)sim_pick(s, 1, s->n_hosts), b = (uint16_t)sim_pick(s, 1, s->n_hosts);

	if (a == b || !s->wiring[MIN(a, b)][MAX(a, b)].stands)
		return;
	trace(s, "the connection of %u and %u is reset", a, b);
	sim_mark(s, MARK_LINK_RESET);
	network_reset(s, a, b);
}

static void happen_pause(struct sim *s)
{
	struct host *h = some_host(s);

	h->paused_until = MAX(h->paused_until, s->now_ns) + sim_about(s, ONE_OF(s, 5 * MS, s->plan.leader_lease_ns, s->plan.host_lease_ns));
	trace(s, "host %u is stopped until %.6f", h->id, (double)h->paused_until / 1e9);
	sim_mark(s, MARK_AGENT_PAUSED);
	if (h->paused_until - s->now_ns > 2 * s->plan.leader_lease_ns)
		sim_mark(s, h->leading ? MARK_LEADER_PAUSED_LONG : MARK_AGENT_PAUSED_LONG);
	if (h->paused_until - s->now_ns > s->plan.host_lease_ns)
		sim_mark(s, MARK_AGENT_PAUSED_LEASE);
}

/* The agent and all programs of the host: a machine that stands still, with a clock that does not. */
static void happen_freeze(struct sim *s)
{
	struct host *h = some_host(s);

	h->frozen_until = MAX(h->frozen_until, s->now_ns) + sim_about(s, ONE_OF(s, s->plan.leader_lease_ns, s->plan.host_lease_ns));
	h->paused_until = MAX(h->paused_until, h->frozen_until);
	trace(s, "host %u stands still until %.6f", h->id, (double)h->frozen_until / 1e9);
	sim_mark(s, MARK_HOST_FROZEN);
}

static void happen_slow(struct sim *s)
{
	uint16_t a = (uint16_t)sim_pick(s, 1, s->n_hosts), b = (uint16_t)sim_pick(s, 1, s->n_hosts);

	s->pipe[a][b].slow_ns = s->pipe[a][b].slow_ns ? 0 : sim_pick(s, 1, 3) * s->plan.leader_lease_ns / 2;
	if (s->pipe[a][b].slow_ns >= s->plan.leader_lease_ns)
		sim_mark(s, MARK_FRAME_LATE);
}

/* ---- when ---- */

static uint64_t mean_of(const struct sim *s, uint8_t what)
{
	const struct plan *p = &s->plan;
	const uint64_t means[N_FAULTS] = {
		[FAULT_RESET] = p->reset_ns,
		[FAULT_PARTITION] = p->partition_ns,
		[FAULT_DEPOSE] = p->depose_ns,
		[FAULT_CLOG] = p->clog_ns,
		[FAULT_FREEZE] = p->freeze_ns,
		[FAULT_STOP] = p->stop_ns,
		[FAULT_DRIFT] = p->drift_ns,
		[FAULT_JUMP] = p->jump_ns,
		[FAULT_PAUSE] = p->pause_ns,
		[FAULT_SLOW] = p->slow_ns,
		[FAULT_CRASH] = p->crash_ns,
		[FAULT_LOSE_MEMORY] = p->lose_memory_ns,
		[FAULT_KILL] = p->kill_ns,
		[FAULT_NONSENSE] = p->nonsense_ns,
	};

	return means[what];
}

static void next_fault(struct sim *s, uint8_t what)
{
	if (mean_of(s, what))
		sim_at(s, s->now_ns + sim_about(s, mean_of(s, what)), (struct event){ .kind = EVENT_FAULT, .what = what });
}

void faults_start(struct sim *s)
{
	for (uint8_t what = 0; what < N_FAULTS; what++)
		next_fault(s, what);
}

void fault_happen(struct sim *s, uint8_t what)
{
	struct client *c;

	/* Programs die as long as any do something; the rest breaks in its own time only. */
	if (sim_healing(s) || (sim_smooth(s) && what != FAULT_KILL && what != FAULT_DRIFT))
		return;
	switch (what) {
	case FAULT_RESET:
		happen_reset(s);
		break;
	case FAULT_PARTITION:
		partition_happen(s);
		break;
	case FAULT_DEPOSE:
		partition_depose(s);
		break;
	case FAULT_CLOG:
		partition_clog(s);
		break;
	case FAULT_FREEZE:
		happen_freeze(s);
		break;
	case FAULT_PAUSE:
		happen_pause(s);
		break;
	case FAULT_SLOW:
		happen_slow(s);
		break;
	case FAULT_CRASH:
		happen_crash(s);
		break;
	case FAULT_LOSE_MEMORY:
		happen_lose_memory(s);
		break;
	case FAULT_KILL:
		c = some_client(s);
		if (c)
			client_kill(s, c);
		break;
	case FAULT_STOP:
		c = some_client(s);
		if (c)
			client_stop(s, c, sim_about(s, ONE_OF(s, 5 * MS, s->plan.leader_lease_ns, s->plan.host_lease_ns)));
		break;
	case FAULT_NONSENSE:
		c = some_client(s);
		if (c)
			client_nonsense(s, c);
		break;
	case FAULT_DRIFT:
		clock_drift(s, &s->host[sim_pick(s, 1, s->n_hosts)]);
		break;
	case FAULT_JUMP:
		clock_leap(s, some_host(s));
		break;
	}
	next_fault(s, what);
}

/* Everything works from now on. Links begin anew, so that what was lost is made good. */
void faults_heal(struct sim *s)
{
	partitions_end(s);
	for (uint16_t a = 1; a <= s->n_hosts; a++) {
		struct host *h = &s->host[a];

		clock_resume(s, h);
		h->paused_until = h->frozen_until = 0;
		h->run_at = NEVER;
		host_wake(s, h, 0);
		h->doom = DOOM_NONE;
		for (uint16_t b = 1; b <= s->n_hosts; b++)
			s->pipe[a][b].slow_ns = 0;
	}
	for (uint16_t a = 1; a <= s->n_hosts; a++)
		for (uint16_t b = (uint16_t)(a + 1); b <= s->n_hosts; b++)
			network_reset(s, a, b);
	for (unsigned i = 0; i < SIM_CLIENTS; i++) {
		s->client[i].stopped_until = 0;
		/* Beside one that wrote over the gates, any may wait for ever for what it owns without knowing. */
		if ((s->client[i].nonsense || s->host[s->client[i].host].scribbled) && s->client[i].state == CLIENT_OPEN)
			client_kill(s, &s->client[i]);
	}
}
