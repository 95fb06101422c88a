/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster_world.h"

#define FAULTY_NS (1200 * NS_PER_MS)

struct cluster the;

/* ---- clocks ---- */

uint64_t cluster_clock(const struct host *h)
{
	return h->clock_offset_ns + the.now + (uint64_t)((int64_t)the.now * h->clock_ppm / 1000000);
}

/* The first real time, from now on, at which its clock shows this. */
static uint64_t real_time(const struct host *h, uint64_t shown)
{
	uint64_t now = the.now, real, is = cluster_clock(h);

	if (shown == NEVER || shown <= is)
		return shown == NEVER ? NEVER : now;
	for (the.now += (shown - is) * 1000000 / (uint64_t)(1000000 + h->clock_ppm); cluster_clock(h) < shown;)
		the.now++;
	real = the.now;
	the.now = now;
	return real;
}

/* ---- hosts ---- */

static void probe(void *context)
{
	struct host *h = context;

	if (h->probes_left > 0 && --h->probes_left == 0)
		longjmp(the.death, 1);
}

void cluster_die(struct host *h)
{
	h->up = false;
	h->paused_until = 0;
	h->back_at = the.now + below(3 * CORE_LEASE);
}

static void committed(struct host *h, const struct paxos_event *event)
{
	memcpy(h->committed, h->core.memory, h->core.memory_size);
	cluster_check_step(h, event);
}

void cluster_step(struct host *h, struct paxos_event event)
{
	bool led = h->core.p.role == PAXOS_LEADING;
	bool followed = h->core.p.role == PAXOS_FOLLOWER; /* who follows prepares only when called */
	uint64_t chosen = h->core.memory->chosen, lease = h->core.p.lease_until_ns;

	event.now_ns = h->core.now = cluster_clock(h);
	h->probes_left = chance(the.deaths) ? (int)below(6) + 1 : -1;
	h->core.undo.probe = probe;
	h->core.undo.probe_context = h;
	if (setjmp(the.death)) {
		the.counts->deaths_in_step++;
		cluster_die(h);
		return;
	}
	paxos_step(&h->core.p, &event, &h->core.out);
	undo_commit(&h->core.undo);
	committed(h, &event);
	the.counts->deposed += led && h->core.p.role != PAXOS_LEADING;
	the.counts->expired += led && lease && event.now_ns >= lease;
	the.counts->calls += followed && h->core.p.role == PAXOS_PREPARING;
	the.counts->early += event.kind == PAXOS_EVENT_MESSAGE && event.message->kind == PAXOS_ACCEPT &&
			     h->core.memory->chosen > chosen && event.message->entries[0].slot > chosen &&
			     event.message->entries[0].slot <= h->core.memory->chosen;
	if (chance(the.deaths / 2)) {
		the.counts->deaths_after_commit++;
		cluster_say(h, (unsigned)below(h->core.out.n_sends + 1));
		cluster_die(h);
		return;
	}
	cluster_apply(h);
	cluster_say(h, PAXOS_SENDS_MAX);
}

void cluster_meet(struct host *a, struct host *b)
{
	if (runs(a) && b->up)
		cluster_step(a, (struct paxos_event){ .kind = PAXOS_EVENT_PEER_UP, .from = id_of(b) });
}

static void start_over(struct host *h)
{
	bool rolled_back = h->core.log->used != 0;

	the.counts->rollbacks += rolled_back;
	h->core.now = cluster_clock(h);
	h->life++;
	core_restart(&h->core, paxos_ballot_host(h->core.memory->promised) == id_of(h));
	if (memcmp(h->committed, h->core.memory, h->core.memory_size) != 0)
		cluster_wrong("host %u: rolled back to another memory than the last commit's", id_of(h));
	h->up = true;
	cluster_apply(h);
	for (uint16_t to = 1; to <= the.n_hosts; to++) {
		if (to == id_of(h) || the.cut[to - 1][id_of(h) - 1])
			continue;
		cluster_meet(h, host(to));
		cluster_meet(host(to), h);
	}
}

/* Comes back as a voter that only learns; never so many that no majority is left. */
static void lose_memory(struct host *h)
{
	struct paxos_config config = h->core.config;

	if (id_of(h) > the.n_voters || !config.votes || the.memories_lost + 1 > (the.n_voters - 1) / 2)
		return;
	the.memories_lost++;
	the.counts->memories_lost++;
	config.votes = false;
	core_release(&h->core);
	core_start(&h->core, &config, cluster_clock(h));
	memcpy(h->committed, h->core.memory, h->core.memory_size);
	h->applied = h->hash = h->promised = h->chosen = 0;
	h->up = false;
	h->back_at = the.now;
}

/* ---- what happens ---- */

/* The tables and the log's beginning change together, or not at all. */
void cluster_install(struct host *h, const struct packet *packet)
{
	uint64_t applied = h->applied, hash = h->hash;

	if (packet->slot <= h->core.memory->chosen)
		return;
	h->applied = packet->slot;
	h->hash = packet->hash;
	the.counts->snapshots++;
	cluster_step(h, (struct paxos_event){ .kind = PAXOS_EVENT_INSTALLED, .slot = packet->slot });
	if (h->core.log->used) { /* died inside: both are rolled back */
		h->applied = applied;
		h->hash = hash;
	}
}

/* Some host, preferably one that leads: there it hurts. */
static struct host *victim(void)
{
	unsigned first = (unsigned)below(the.n_hosts);

	for (unsigned i = 0; i < the.n_hosts && below(3); i++) {
		struct host *h = &the.hosts[(first + i) % the.n_hosts];

		if (h->up && h->core.p.role == PAXOS_LEADING)
			return h;
	}
	return &the.hosts[first];
}

/* Two groups, or one host that hears nothing, or one that nobody hears, or nothing cut at all. */
static void redraw_links(void)
{
	unsigned way = (unsigned)below(6);
	uint32_t group = (uint32_t)random_next(&the.random);
	uint16_t odd = id_of(victim());

	for (uint16_t from = 1; from <= the.n_hosts; from++)
		for (uint16_t to = 1; to <= the.n_hosts; to++) {
			bool split = (group >> from & 1) != (group >> to & 1);

			if (from != to)
				cluster_link(from, to, (way == 0 && split) || (way == 1 && to == odd) || (way == 2 && from == odd) || (way == 3 && (from == odd || to == odd)));
		}
}

static void pause_host(struct host *h)
{
	h->paused_until = the.now + below(2 * CORE_LEASE);
	the.counts->pauses++;
}

/* To anybody: it is the core's to refuse. */
static void hand_over(struct host *h)
{
	if (runs(h))
		cluster_step(h, (struct paxos_event){ .kind = PAXOS_EVENT_HAND_OVER, .from = (uint16_t)below(the.n_hosts + 2) });
}

static void fault(void)
{
	uint64_t draw = below(16);
	struct host *h = victim();

	the.fault_at = the.now + below(the.fault_ns);
	if (draw < 5)
		redraw_links();
	else if (draw < 8 && h->up)
		cluster_die(h);
	else if (draw == 9 && below(8) == 0)
		lose_memory(h);
	else if (draw >= 10 && draw < 13 && h->up)
		pause_host(h);
	else if (draw >= 13)
		hand_over(h);
}

bool cluster_propose_at(struct host *h)
{
	unsigned char value[32];
	uint32_t len = (uint32_t)below(h->core.config.value_max - 8 + 1) + 8;

	if (!runs(h) || !paxos_can_propose(&h->core.p) || h->core.memory->chosen > SLOTS_MAX - 256)
		return false;
	memset(value, (int)the.proposed, sizeof(value));
	memcpy(value, &the.proposed, sizeof(the.proposed));
	the.proposed++;
	the.counts->proposed++;
	cluster_step(h, (struct paxos_event){ .kind = PAXOS_EVENT_PROPOSE, .bytes = value, .len = len });
	return true;
}

static void propose(void)
{
	the.propose_at = the.now + below(12 * NS_PER_MS);
	for (unsigned i = 0; i < the.n_hosts; i++)
		for (uint64_t burst = below(4); burst && cluster_propose_at(&the.hosts[i]); burst--)
			;
}

/* ---- the run ---- */

static uint64_t due_at(const struct host *h)
{
	return h->up ? MAX(real_time(h, h->core.out.wake_at_ns), h->paused_until) : h->back_at;
}

static struct host *first_due(uint64_t *ret_at)
{
	struct host *first = NULL;

	for (unsigned i = 0; i < the.n_hosts; i++) {
		uint64_t at = due_at(&the.hosts[i]);

		if (!first || at < *ret_at) {
			first = &the.hosts[i];
			*ret_at = at;
		}
	}
	return first;
}

static void happen(void)
{
	uint64_t host_at = NEVER, until;
	struct host *due = first_due(&host_at);
	struct packet *packet;

	until = MIN(host_at, the.propose_at);
	if (!the.calm)
		until = MIN(until, the.fault_at);
	packet = cluster_take_packet(until);
	if (packet) {
		the.now = MAX(the.now, packet->at);
		cluster_deliver(packet);
		return;
	}
	the.now = MAX(the.now, until);
	if (until == host_at && due->up)
		cluster_step(due, (struct paxos_event){ .kind = PAXOS_EVENT_TIME });
	else if (until == host_at)
		start_over(due);
	else if (until == the.propose_at)
		propose();
	else
		fault();
}

void cluster_go_on(void)
{
	happen();
	cluster_check_leases();
}

/* The fastest and the slowest clock allowed are drawn as often as all between. */
static void set_clock(struct host *h, uint32_t drift_ppm)
{
	h->clock_offset_ns = below(100 * NS_PER_S);
	h->clock_ppm = (int64_t)(below(2) ? below(2 * drift_ppm + 1) : below(2) * 2 * drift_ppm) - drift_ppm;
}

void cluster_set_up(const struct cluster_plan *plan, struct cluster_counts *counts)
{
	static const uint32_t windows[] = { 1, 2, 4, 8, 16 };
	static const uint32_t drifts[] = { 0, 1000, 50000 };
	static const unsigned losses[] = { 0, 30, 100, 250 };

	memset(&the, 0, sizeof(the));
	the.random = plan->seed;
	the.counts = counts;
	the.n_voters = plan->voters;
	the.n_hosts = plan->voters + plan->observers;
	ASSERT(the.n_hosts <= HOSTS_MAX);
	the.now = 1000 * NS_PER_MS + below(NS_PER_MS);
	the.loss = losses[below(ARRAY_LEN(losses))];
	the.doubles = (unsigned)below(3) * 30;
	the.lates = (unsigned)below(4) * 25;
	the.fault_ns = (below(3) + 1) * 30 * NS_PER_MS;
	the.deaths = (unsigned)below(3) * 4;
	uint32_t window = windows[below(ARRAY_LEN(windows))], drift_ppm = drifts[below(ARRAY_LEN(drifts))];

	for (uint16_t id = 1; id <= the.n_hosts; id++) {
		struct paxos_config config = core_config(id, the.n_voters);

		config.window = window;
		config.log_slots = 2 * window;
		config.seed = plan->seed;
		config.drift_ppm = drift_ppm;
		set_clock(host(id), drift_ppm);
		core_start(&host(id)->core, &config, cluster_clock(host(id)));
		host(id)->committed = calloc(1, host(id)->core.memory_size);
		memcpy(host(id)->committed, host(id)->core.memory, host(id)->core.memory_size);
		host(id)->up = true;
		host(id)->core.out.wake_at_ns = cluster_clock(host(id));
	}
}

const char *cluster_take_down(void)
{
	while (the.n_packets)
		free(the.packets[--the.n_packets]);
	for (unsigned i = 0; i < the.n_hosts; i++) {
		free(the.hosts[i].committed);
		core_release(&the.hosts[i].core);
	}
	return the.wrong[0] ? the.wrong : NULL;
}

const char *cluster_run(const struct cluster_plan *plan, struct cluster_counts *counts)
{
	uint64_t end;

	cluster_set_up(plan, counts);
	end = the.now + FAULTY_NS;
	while (!the.wrong[0] && the.now < end)
		cluster_go_on();
	cluster_check_progress();
	cluster_check_hand_over();
	cluster_check_stability();
	return cluster_take_down();
}
