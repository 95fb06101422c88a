/* SPDX-License-Identifier: Apache-2.0 */
/* What a seed decides about the cluster, and what goes wrong in it, and when. */
#include "sim.h"

enum { FAULT_RESET,
       FAULT_PARTITION,
       FAULT_DEPOSE,
       FAULT_PAUSE,
       FAULT_SLOW,
       FAULT_CRASH,
       FAULT_LOSE_MEMORY,
       FAULT_KILL,
       FAULT_NONSENSE,
       N_FAULTS };

/* ---- the plan ---- */

static uint64_t one_of(struct sim *s, const uint64_t *from, size_t n)
{
	return from[sim_pick(s, 0, n - 1)];
}
#define ONE_OF(s, ...) one_of((s), (const uint64_t[]){ __VA_ARGS__ }, ARRAY_LEN(((const uint64_t[]){ __VA_ARGS__ })))

static void plan_cluster(struct sim *s)
{
	struct plan *p = &s->plan;

	p->voters = (unsigned)ONE_OF(s, 3, 3, 3, 3, 3, 5, 5, 5, 1);
	if (s->options.hosts)
		p->voters = s->options.hosts;
	p->observers = (unsigned)sim_pick(s, 0, 2);
	p->heartbeat_ns = ONE_OF(s, 10 * MS, 20 * MS, 50 * MS);
	p->election_ns = p->heartbeat_ns * sim_pick(s, 3, 8);
	p->host_lease_ns = ONE_OF(s, 300 * MS, 1 * SECOND, 3 * SECOND);
	p->host_lease_ns = MAX(p->host_lease_ns, 3 * p->election_ns);
	p->ask_ns = ONE_OF(s, 5 * MS, 100 * MS, 1 * SECOND);
	p->handover_max = (uint32_t)ONE_OF(s, 1, 2, 3, 8);
	p->copy_bite = (uint32_t)ONE_OF(s, 128, 512, 4096, COPY_BITE);
	p->copy_pace_ns = ONE_OF(s, 10 * US, 200 * US, 1 * MS);
	p->limits.window = (uint32_t)ONE_OF(s, 2, 4, 8, 16, 32);
	p->limits.log_slots = p->limits.window * (uint32_t)ONE_OF(s, 2, 2, 4);
	p->limits.value_max = (uint32_t)ONE_OF(s, 312, 320, 1024, 4096);
	if (p->voters == 1) { /* it may choose many slots in one step: the oracle must see them all */
		p->limits.log_slots = SIM_LOG_SLOTS;
		p->limits.value_max = 4096;
	}
	p->limits.capacity = (struct table_capacity){
		.rows = (uint32_t)ONE_OF(s, 4, 8, 30, 60),
		.cells = (uint32_t)ONE_OF(s, 3, 12, 60),
		.waits = (uint32_t)ONE_OF(s, 1, 4, 30, 100),
	};
}

static void plan_network(struct sim *s)
{
	struct plan *p = &s->plan;

	p->latency_ns = ONE_OF(s, 20 * US, 20 * US, 100 * US, 1 * MS, 4 * MS);
	p->jitter_ns = p->latency_ns * ONE_OF(s, 0, 1, 1, 4);
	p->datagrams = sim_chance(s, 1, 3);
	p->lose = (uint32_t)ONE_OF(s, 0, 1000, 20000, 100000);
	p->twice = (uint32_t)ONE_OF(s, 0, 1000, 20000, 100000);
	p->late = (uint32_t)ONE_OF(s, 0, 1000, 20000);
	p->overtake = (uint32_t)ONE_OF(s, 0, 1000, 20000, 100000);
}

static void plan_programs(struct sim *s)
{
	struct plan *p = &s->plan;

	p->clients = (unsigned)sim_pick(s, 2, 16);
	p->threads = (unsigned)sim_pick(s, 1, SIM_THREADS);
	p->keys = (unsigned)ONE_OF(s, 1, 4, 12, 60, 120);
	p->hot_keys = (unsigned)sim_pick(s, 1, 4);
	p->think_ns = ONE_OF(s, 1 * MS, 10 * MS, 10 * MS, 50 * MS);
	p->hold_ns = ONE_OF(s, 100 * US, 2 * MS, 10 * MS, 50 * MS);
	p->key_style = (uint32_t)sim_pick(s, 0, 3);
	p->p_try = (uint32_t)ONE_OF(s, 0, 100, 300, 800);
	p->p_deadline = (uint32_t)ONE_OF(s, 0, 100, 300, 800);
	p->p_return = (uint32_t)ONE_OF(s, 0, 100, 500);
	p->p_holder = (uint32_t)ONE_OF(s, 0, 50, 200);
	p->p_close = (uint32_t)ONE_OF(s, 0, 5, 50);
	p->p_hurry = (uint32_t)ONE_OF(s, 0, 50, 500);
}

/* Leaders come and go, with messages of many ballots under way: delays near the election timeout, short
 * partitions, values always in flight. */
static void plan_elections(struct sim *s)
{
	struct plan *p = &s->plan;

	p->heartbeat_ns = 10 * MS;
	p->election_ns = 30 * MS;
	p->latency_ns = ONE_OF(s, 1 * MS, 3 * MS, 6 * MS);
	p->jitter_ns = p->latency_ns * ONE_OF(s, 1, 2);
	p->partition_ns = ONE_OF(s, 0, 150 * MS, 400 * MS);
	p->depose_ns = ONE_OF(s, 100 * MS, 200 * MS);
	p->partition_for_ns = ONE_OF(s, 30 * MS, 100 * MS, 300 * MS);
	p->pause_ns = ONE_OF(s, 0, 100 * MS);
	p->reset_ns = ONE_OF(s, 0, 50 * MS, 200 * MS);
	p->slow_ns = ONE_OF(s, 0, 100 * MS);
	p->crash_ns = ONE_OF(s, 0, 200 * MS);
	p->clients = 16;
	p->think_ns = 1 * MS;
	p->hold_ns = 1 * MS;
	p->keys = (unsigned)ONE_OF(s, 12, 60);
	p->hot_keys = 12;
	p->limits.capacity.rows = 60;
	p->limits.capacity.cells = 100;
	p->limits.capacity.waits = 100;
}

/* One host and one lock: the tokens of a delegation run out. */
static void plan_one_host(struct sim *s)
{
	struct plan *p = &s->plan;

	p->home = (uint16_t)sim_pick(s, 1, p->voters);
	p->keys = p->hot_keys = 1;
	p->think_ns = 100 * US;
	p->hold_ns = 50 * US;
	p->p_try = p->p_deadline = p->p_close = 0;
	p->clients = MAX(p->clients, 6);
}

/* Many keys whose owners die: tables that do not fit into one frame, sweeps of several bites. */
static void plan_large_tables(struct sim *s)
{
	struct plan *p = &s->plan;

	p->limits.capacity = (struct table_capacity){ .rows = SIM_MAX_ROWS - 1, .cells = 500, .waits = 1000 };
	p->limits.claims = 200;
	p->copy_bite = MAX(p->copy_bite, 4096u);
	p->keys = 900;
	p->hot_keys = 900;
	p->think_ns = 1 * MS;
	p->hold_ns = 50 * MS;
	p->kill_ns = 10 * MS;
	p->crash_ns = MAX(p->crash_ns, 300 * MS);
	p->clients = 16;
	p->threads = SIM_THREADS;
	p->nonsense_ns = 0;
	p->p_close = 0;
}

static void plan_faults(struct sim *s)
{
	struct plan *p = &s->plan;

	p->duration_ns = sim_pick(s, 2, 8) * SECOND;
	p->reset_ns = ONE_OF(s, 0, 100 * MS, 500 * MS, 2 * SECOND);
	p->partition_ns = ONE_OF(s, 0, 500 * MS, 2 * SECOND);
	p->pause_ns = ONE_OF(s, 0, 300 * MS, 2 * SECOND);
	p->slow_ns = ONE_OF(s, 0, 0, 500 * MS);
	p->crash_ns = ONE_OF(s, 0, 50 * MS, 300 * MS, 1 * SECOND);
	p->lose_memory_ns = ONE_OF(s, 0, 0, 2 * SECOND);
	p->kill_ns = ONE_OF(s, 0, 20 * MS, 100 * MS, 1 * SECOND);
	p->nonsense_ns = ONE_OF(s, 0, 0, 200 * MS);
}

void plan_make(struct sim *s)
{
	plan_cluster(s);
	plan_network(s);
	plan_programs(s);
	plan_faults(s);
	if (sim_chance(s, 1, 3))
		plan_elections(s);
	else if (sim_chance(s, 1, 25))
		plan_one_host(s);
	else if (sim_chance(s, 1, 25))
		plan_large_tables(s);
	trace(s, "%u voters, %u observers, latency %u us, %s, log of %u slots, table of %u rows, %u programs, %u keys", s->plan.voters,
	      s->plan.observers, (unsigned)(s->plan.latency_ns / US), s->plan.datagrams ? "datagrams" : "streams",
	      s->plan.limits.log_slots, s->plan.limits.capacity.rows, s->plan.clients, s->plan.keys);
}

/* ---- partitions ---- */

static void block(struct sim *s, struct partition *p, uint16_t from, uint16_t to)
{
	if (from != to && !p->blocks[from][to]) {
		p->blocks[from][to] = true;
		network_block(s, from, to, 1);
	}
}

static void unblock(struct sim *s, struct partition *p, uint16_t from, uint16_t to)
{
	if (p->blocks[from][to])
		network_block(s, from, to, -1);
	p->blocks[from][to] = false;
}

/* One direction, or (0, 0) all: at once when everything heals, else one after the other, so that what
 * was held back on one way comes when the others have gone on. */
void partition_heal(struct sim *s, unsigned which, uint16_t from, uint16_t to)
{
	struct partition *p = &s->partition[which];
	bool left = false;

	if (from) {
		trace(s, "partition %u: %u is heard by %u again", which, from, to);
		unblock(s, p, from, to);
	}
	for (uint16_t a = 1; a <= s->n_hosts; a++)
		for (uint16_t b = 1; b <= s->n_hosts; b++) {
			if (!from && p->blocks[a][b] && !sim_healing(s) && sim_chance(s, 2, 3))
				sim_at(s, s->now_ns + sim_pick(s, 0, 4) * s->plan.election_ns,
				       (struct event){ .kind = EVENT_HEAL, .a = a, .b = b, .number = which });
			else if (!from)
				unblock(s, p, a, b);
			left |= p->blocks[a][b];
		}
	p->stands = left;
	if (!left)
		trace(s, "partition %u is healed", which);
}

static void split(struct sim *s, struct partition *p)
{
	uint64_t side = random_next(&s->random);

	sim_mark(s, MARK_PARTITION_SPLIT);
	for (uint16_t a = 1; a <= s->n_hosts; a++)
		for (uint16_t b = 1; b <= s->n_hosts; b++)
			if ((side >> a & 1) != (side >> b & 1))
				block(s, p, a, b);
}

/* Everybody sees the bridge; the others see their own half only. */
static void bridge(struct sim *s, struct partition *p)
{
	uint64_t side = random_next(&s->random);
	uint16_t middle = (uint16_t)sim_pick(s, 1, s->n_hosts);

	sim_mark(s, MARK_PARTITION_BRIDGE);
	for (uint16_t a = 1; a <= s->n_hosts; a++)
		for (uint16_t b = 1; b <= s->n_hosts; b++)
			if (a != middle && b != middle && (side >> a & 1) != (side >> b & 1))
				block(s, p, a, b);
}

static void isolate(struct sim *s, struct partition *p, bool deaf, bool mute)
{
	uint16_t leader = sim_leader(s);

	if (!leader)
		leader = (uint16_t)sim_pick(s, 1, s->n_hosts);
	sim_mark(s, deaf && mute ? MARK_PARTITION_LEADER : deaf ? MARK_PARTITION_LEADER_DEAF
								: MARK_PARTITION_LEADER_MUTE);
	for (uint16_t other = 1; other <= s->n_hosts; other++) {
		if (deaf)
			block(s, p, other, leader);
		if (mute)
			block(s, p, leader, other);
	}
}

static struct partition *partition_new(struct sim *s, uint64_t for_ns)
{
	unsigned which = 0;

	while (which < ARRAY_LEN(s->partition) && s->partition[which].stands)
		which++;
	if (which == ARRAY_LEN(s->partition) || s->n_hosts < 2)
		return NULL;
	trace(s, "partition %u", which);
	s->partition[which].stands = true;
	sim_at(s, s->now_ns + for_ns, (struct event){ .kind = EVENT_HEAL, .number = which });
	return &s->partition[which];
}

/* The leader is cut off until the others have another. */
static void happen_depose(struct sim *s)
{
	struct partition *p = sim_leader(s) ? partition_new(s, sim_pick(s, 2, 6) * s->plan.election_ns) : NULL;
	uint64_t how = sim_pick(s, 1, 3);

	if (p)
		isolate(s, p, how & 1, how & 2);
}

static void happen_partition(struct sim *s)
{
	uint64_t for_ns = s->plan.partition_for_ns;
	struct partition *p;

	if (!for_ns)
		for_ns = ONE_OF(s, s->plan.election_ns, 500 * MS, 2 * SECOND);
	p = partition_new(s, sim_about(s, for_ns));
	if (!p)
		return;
	switch (sim_pick(s, 0, 5)) {
	case 0:
		split(s, p);
		break;
	case 1:
		sim_mark(s, MARK_PARTITION_ONE_WAY);
		block(s, p, (uint16_t)sim_pick(s, 1, s->n_hosts), (uint16_t)sim_pick(s, 1, s->n_hosts));
		break;
	case 2:
		isolate(s, p, true, true);
		break;
	case 3:
		isolate(s, p, true, false);
		break;
	case 4:
		isolate(s, p, false, true);
		break;
	case 5:
		bridge(s, p);
		break;
	}
}

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

	h->paused_until = MAX(h->paused_until, s->now_ns) + sim_about(s, ONE_OF(s, 5 * MS, s->plan.election_ns, s->plan.host_lease_ns));
	trace(s, "host %u is stopped until %.6f", h->id, (double)h->paused_until / 1e9);
	sim_mark(s, MARK_HOST_PAUSED);
}

static void happen_slow(struct sim *s)
{
	uint16_t a = (uint16_t)sim_pick(s, 1, s->n_hosts), b = (uint16_t)sim_pick(s, 1, s->n_hosts);

	s->pipe[a][b].slow_ns = s->pipe[a][b].slow_ns ? 0 : sim_pick(s, 1, 3) * s->plan.election_ns / 2;
	if (s->pipe[a][b].slow_ns >= s->plan.election_ns)
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

	if (sim_healing(s))
		return;
	switch (what) {
	case FAULT_RESET:
		happen_reset(s);
		break;
	case FAULT_PARTITION:
		happen_partition(s);
		break;
	case FAULT_DEPOSE:
		happen_depose(s);
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
	case FAULT_NONSENSE:
		c = some_client(s);
		if (c)
			client_nonsense(s, c);
		break;
	}
	next_fault(s, what);
}

/* Everything works from now on. Links begin anew, so that what was lost is made good. */
void faults_heal(struct sim *s)
{
	for (unsigned i = 0; i < ARRAY_LEN(s->partition); i++)
		partition_heal(s, i, 0, 0);
	for (uint16_t a = 1; a <= s->n_hosts; a++) {
		s->host[a].paused_until = 0;
		s->host[a].run_at = NEVER;
		host_wake(s, &s->host[a], 0);
		s->host[a].doom = DOOM_NONE;
		for (uint16_t b = 1; b <= s->n_hosts; b++)
			s->pipe[a][b].slow_ns = 0;
	}
	for (uint16_t a = 1; a <= s->n_hosts; a++)
		for (uint16_t b = (uint16_t)(a + 1); b <= s->n_hosts; b++)
			network_reset(s, a, b);
	for (unsigned i = 0; i < SIM_CLIENTS; i++)
		if (s->client[i].nonsense && s->client[i].state == CLIENT_OPEN)
			client_kill(s, &s->client[i]);
}
