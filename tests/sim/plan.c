/* SPDX-License-Identifier: Apache-2.0 */
/* What a seed decides about the cluster, its programs, and how often what goes wrong. */
#include "sim.h"

uint64_t sim_one_of(struct sim *s, const uint64_t *from, size_t n)
{
	return from[sim_pick(s, 0, n - 1)];
}

static void plan_cluster(struct sim *s)
{
	struct plan *p = &s->plan;

	p->voters = (unsigned)ONE_OF(s, 3, 3, 3, 3, 3, 5, 5, 5, 1);
	if (s->options.hosts)
		p->voters = s->options.hosts;
	p->observers = (unsigned)sim_pick(s, 0, 2);
	p->heartbeat_ns = ONE_OF(s, 10 * MS, 20 * MS, 50 * MS);
	p->leader_lease_ns = p->heartbeat_ns * sim_pick(s, 3, 8);
	p->host_lease_ns = ONE_OF(s, 300 * MS, 1 * SECOND, 3 * SECOND);
	p->host_lease_ns = MAX(p->host_lease_ns, 4 * p->leader_lease_ns);
	p->ask_ns = ONE_OF(s, 5 * MS, 100 * MS, 1 * SECOND);
	p->handover_max = (uint32_t)ONE_OF(s, 1, 2, 3, 8);
	p->handover_ns = ONE_OF(s, 1 * MS, 10 * MS, 200 * MS);
	p->keep_ns = ONE_OF(s, 0, 10 * MS, 200 * MS, 1 * SECOND, 1 * SECOND);
	p->range = (uint32_t)ONE_OF(s, 0, 0, 0, 4, 16, 64);
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
	p->p_read = (uint32_t)ONE_OF(s, 0, 50, 200);
	p->p_close = (uint32_t)ONE_OF(s, 0, 5, 50);
	p->p_hurry = (uint32_t)ONE_OF(s, 0, 50, 500);
	p->p_share = (uint32_t)ONE_OF(s, 0, 0, 200, 500, 900);
}

/* Leaders come and go, with messages of many ballots under way: delays near the election timeout, short
 * partitions, values always in flight. */
static void plan_elections(struct sim *s)
{
	struct plan *p = &s->plan;

	if (!s->options.hosts && sim_chance(s, 1, 2))
		p->voters = 5; /* in smaller lists two halves of different ballots make no majority */
	if (sim_chance(s, 1, 2)) {
		p->datagrams = true;
		p->late = p->twice = 20000;
	}
	p->heartbeat_ns = 10 * MS;
	p->latency_ns = ONE_OF(s, 1 * MS, 2 * MS, 4 * MS);
	p->jitter_ns = p->latency_ns * ONE_OF(s, 1, 2);
	p->leader_lease_ns = 30 * MS;
	p->partition_ns = ONE_OF(s, 0, 150 * MS, 400 * MS);
	p->duration_ns = sim_pick(s, 4, 10) * SECOND;
	p->depose_ns = ONE_OF(s, 60 * MS, 120 * MS);
	p->partition_for_ns = ONE_OF(s, 30 * MS, 100 * MS, 300 * MS);
	p->pause_ns = ONE_OF(s, 0, 100 * MS);
	p->reset_ns = ONE_OF(s, 0, 50 * MS, 200 * MS);
	p->slow_ns = ONE_OF(s, 0, 100 * MS);
	p->crash_ns = ONE_OF(s, 0, 100 * MS);
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
	p->p_try = p->p_deadline = p->p_close = p->p_share = 0;
	p->range = (uint32_t)ONE_OF(s, 0, 4, 64);
	p->clients = MAX(p->clients, 6);
}

/* One host and one lock, and the host has one life after the other: programs that were stopped meanwhile find the lock free. */
static void plan_lives(struct sim *s)
{
	struct plan *p = &s->plan;

	plan_one_host(s);
	p->range = 0;
	p->clients = 4;
	p->threads = MIN(p->threads, 3);
	p->think_ns = 1 * MS;
	p->hold_ns = 100 * US;
	p->host_lease_ns = 300 * MS;
	p->keep_ns = 1 * SECOND;
	p->duration_ns = sim_pick(s, 6, 12) * SECOND;
	p->pause_ns = 300 * MS;
	p->freeze_ns = p->stop_ns = p->kill_ns = p->nonsense_ns = 0;
	p->lose_memory_ns = 0;
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
	p->lose_memory_ns = ONE_OF(s, 0, 500 * MS);
	p->clients = 16;
	p->threads = SIM_THREADS;
	p->nonsense_ns = 0;
	p->p_close = 0;
	p->p_share = MIN(p->p_share, 100); /* each asks the cluster twice, and keys are many */
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
	p->nonsense_ns = ONE_OF(s, 0, 50 * MS, 200 * MS);
	p->clog_ns = ONE_OF(s, 0, 0, 1 * SECOND, 3 * SECOND);
	p->freeze_ns = ONE_OF(s, 0, 0, 1 * SECOND, 3 * SECOND);
	p->stop_ns = ONE_OF(s, 0, 50 * MS, 300 * MS);
	p->liveness = sim_chance(s, 1, 2);
}

static void plan_clocks(struct sim *s)
{
	struct plan *p = &s->plan;

	p->drift_ppm = (int64_t)ONE_OF(s, 0, 500, 500, 50000); /* the bound that leases are told to stand */
	p->drift_ns = p->drift_ppm ? ONE_OF(s, 0, 200 * MS, 2 * SECOND) : 0;
	p->jump_ns = sim_chance(s, 1, 5) ? ONE_OF(s, 500 * MS, 2 * SECOND) : 0;
}

/* Little is done, for long, and what breaks stays broken for longer than a lease: what time decides. */
static void plan_slow(struct sim *s)
{
	struct plan *p = &s->plan;

	p->duration_ns = sim_pick(s, 10, 40) * SECOND;
	p->clients = (unsigned)sim_pick(s, 2, 6);
	p->threads = 2;
	p->think_ns = ONE_OF(s, 100 * MS, 500 * MS);
	p->hold_ns = ONE_OF(s, 10 * MS, 200 * MS, 1 * SECOND);
	p->keys = (unsigned)sim_pick(s, 1, 4);
	p->partition_ns = ONE_OF(s, 0, 1 * SECOND, 4 * SECOND);
	p->partition_for_ns = ONE_OF(s, 0, p->host_lease_ns, 3 * p->host_lease_ns);
	p->freeze_ns = ONE_OF(s, 0, 2 * SECOND, 6 * SECOND);
	p->pause_ns = ONE_OF(s, 0, 2 * SECOND);
	p->reset_ns = ONE_OF(s, 0, 2 * SECOND);
	p->slow_ns = 0;
	p->crash_ns = ONE_OF(s, 0, 1 * SECOND, 5 * SECOND);
	p->lose_memory_ns = ONE_OF(s, 0, 4 * SECOND);
	p->kill_ns = ONE_OF(s, 0, 1 * SECOND);
	p->nonsense_ns = 0;
}

void plan_make(struct sim *s)
{
	plan_cluster(s);
	plan_network(s);
	plan_programs(s);
	plan_faults(s);
	plan_clocks(s);
	if (sim_chance(s, 1, 30))
		plan_one_host(s);
	else if (sim_chance(s, 1, 30))
		plan_large_tables(s);
	else if (sim_chance(s, 1, 20))
		plan_lives(s);
	else if (sim_chance(s, 1, 3))
		plan_slow(s);
	else if (sim_chance(s, 1, 2))
		plan_elections(s);
	/* A lease counts from when the heartbeat was sent: with less than this nobody could lead at all. */
	s->plan.leader_lease_ns = MAX(s->plan.leader_lease_ns, 3 * s->plan.heartbeat_ns + 2 * (s->plan.latency_ns + s->plan.jitter_ns));
	s->plan.host_lease_ns = MAX(s->plan.host_lease_ns, 4 * s->plan.leader_lease_ns);
	trace(s, "%u voters, %u observers, latency %u us, %s, log of %u slots, table of %u rows, %u programs, %u keys", s->plan.voters,
	      s->plan.observers, (unsigned)(s->plan.latency_ns / US), s->plan.datagrams ? "datagrams" : "streams",
	      s->plan.limits.log_slots, s->plan.limits.capacity.rows, s->plan.clients, s->plan.keys);
}
