/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster.h"

#include <setjmp.h>
#include <stdarg.h>

#include "core.h"

#define HOSTS_MAX 8u
#define PACKETS_MAX 2048u
#define SLOTS_MAX 2048u
#define FACTS_MAX 12u /* ballots that proposed in one slot */
#define BALLOTS_MAX 4096u
#define FAULTY_NS (1200 * NS_PER_MS)
#define HEAL_NS (4000 * NS_PER_MS)

struct packet {
	uint64_t at, order;
	uint16_t from, to;
	bool snapshot; /* of `slot`, with the log's hash there */
	uint64_t slot, hash;
	struct paxos_message message;
	struct paxos_entry entries[];
};

/* Who accepted what in a slot, by ballot: by this, and not by what hosts believe, a value is chosen. */
struct fact {
	uint64_t ballot, value;
	uint32_t accepted;
};

struct host {
	struct core core;
	bool up;
	unsigned life;
	uint64_t back_at;          /* when down */
	uint64_t applied, hash;    /* of the log up to there */
	uint64_t promised, chosen; /* highest seen */
	void *committed;           /* the memory at the last commit */
	int probes_left;           /* until it dies inside the step; -1: it does not */
};

struct cluster {
	uint64_t now, random, order;
	uint32_t n_hosts, n_voters;
	struct host hosts[HOSTS_MAX];
	bool cut[HOSTS_MAX][HOSTS_MAX];
	struct packet *packets[PACKETS_MAX];
	unsigned n_packets;
	unsigned loss, doubles, lates, deaths; /* of 1000 */
	uint64_t fault_ns, fault_at, propose_at;
	bool calm;
	unsigned memories_lost;
	struct fact facts[SLOTS_MAX][FACTS_MAX];
	uint64_t log_hash[SLOTS_MAX]; /* of the agreed log up to this slot; 0: not known yet */
	uint64_t values[SLOTS_MAX];
	struct {
		uint64_t ballot;
		unsigned host, life;
	} ballots[BALLOTS_MAX];
	unsigned n_ballots;
	uint64_t proposed;
	struct cluster_counts *counts;
	jmp_buf death;
	char wrong[256];
};

static struct cluster the;

static void __attribute__((format(printf, 1, 2))) wrong(const char *format, ...)
{
	va_list args;
	int n;

	if (the.wrong[0])
		return;
	n = snprintf(the.wrong, sizeof(the.wrong), "at %.3f ms: ", (double)the.now / NS_PER_MS);
	va_start(args, format);
	vsnprintf(the.wrong + n, sizeof(the.wrong) - (size_t)n, format, args);
	va_end(args);
}

static uint64_t below(uint64_t n) { return random_next(&the.random) % n; }
static bool chance(unsigned of_1000) { return !the.calm && below(1000) < of_1000; }
static struct host *host(uint16_t id) { return &the.hosts[id - 1]; }
static uint16_t id_of(const struct host *h) { return (uint16_t)(h - the.hosts + 1); }

static uint64_t value_of(const struct paxos_entry *e)
{
	return hash_bytes(e->kind, e->bytes, e->len) | 1;
}

/* ---- what is true ---- */

static bool is_majority(uint32_t mask) { return 2 * (unsigned)__builtin_popcount(mask) > the.n_voters; }

static void note_acceptance(const struct host *h, const struct paxos_entry *e)
{
	struct fact *fact = the.facts[e->slot];
	unsigned i = 0;

	while (i < FACTS_MAX && fact[i].ballot && fact[i].ballot != e->ballot)
		i++;
	if (i == FACTS_MAX) {
		wrong("slot %lu: more ballots than the test has room for", e->slot);
		return;
	}
	if (fact[i].ballot && fact[i].value != value_of(e))
		wrong("slot %lu: ballot %lx proposes two values", e->slot, e->ballot);
	fact[i].ballot = e->ballot;
	fact[i].value = value_of(e);
	fact[i].accepted |= 1u << id_of(h);
}

static bool is_chosen(uint64_t slot, uint64_t value)
{
	for (unsigned i = 0; i < FACTS_MAX; i++)
		if (the.facts[slot][i].value == value && is_majority(the.facts[slot][i].accepted))
			return true;
	return false;
}

static void check_choice(const struct host *h, const struct paxos_entry *e)
{
	if (!is_chosen(e->slot, value_of(e)))
		wrong("host %u holds slot %lu for chosen; no majority accepted it", id_of(h), e->slot);
	if (the.values[e->slot] && the.values[e->slot] != value_of(e))
		wrong("slot %lu: host %u learnt another value", e->slot, id_of(h));
	the.values[e->slot] = value_of(e);
}

static void note_ballot(const struct host *h)
{
	uint64_t ballot = h->core.p.ballot;

	if (h->core.p.role < PAXOS_PREPARING)
		return;
	for (unsigned i = the.n_ballots; i-- > 0;) {
		if (the.ballots[i].ballot != ballot)
			continue;
		if (the.ballots[i].host != id_of(h) || the.ballots[i].life != h->life)
			wrong("ballot %lx is used by two lives", ballot);
		return;
	}
	ASSERT(the.n_ballots < BALLOTS_MAX);
	the.ballots[the.n_ballots].ballot = ballot;
	the.ballots[the.n_ballots].host = id_of(h);
	the.ballots[the.n_ballots++].life = h->life;
	the.counts->elections++;
}

/* An entry of the ring, wherever the log begins; slot 0: none. */
static struct paxos_entry ring_entry(const struct core *c, uint32_t at)
{
	const struct paxos_memory *memory = c->memory;
	const struct paxos_slot *slot = &memory->slots[at];

	return (struct paxos_entry){ .slot = slot->index, .ballot = slot->ballot, .kind = slot->kind, .len = slot->len, .bytes = paxos_memory_value(memory, at) };
}

static void check_memory(struct host *h, const struct paxos_event *event)
{
	const struct paxos_memory *memory = h->core.memory;
	const struct paxos_message *m = event && event->kind == PAXOS_EVENT_MESSAGE ? event->message : NULL;

	if (memory->promised < h->promised)
		wrong("host %u: promised fell", id_of(h));
	if (memory->chosen < h->chosen)
		wrong("host %u: chosen fell", id_of(h));
	h->promised = memory->promised;
	h->chosen = memory->chosen;
	for (uint32_t at = 0; at < memory->log_slots; at++) {
		struct paxos_entry e = ring_entry(&h->core, at);

		if (!e.slot || e.slot <= memory->base)
			continue;
		if (h->core.config.votes && paxos_ballot_host(e.ballot) == id_of(h)) /* proposed by us */
			note_acceptance(h, &e);
		if (h->core.config.votes && m && m->kind == PAXOS_ACCEPT && m->entries[0].slot == e.slot &&
		    m->ballot == e.ballot)
			note_acceptance(h, &e);
		if (memory->slots[at].chosen || e.slot <= memory->chosen)
			check_choice(h, &e);
		if (memory->slots[at].chosen && e.slot > memory->chosen)
			the.counts->beyond_gap++;
	}
}

static void apply(struct host *h)
{
	while (h->applied < h->core.memory->chosen) {
		struct paxos_entry e = paxos_chosen_entry(&h->core.p, ++h->applied);

		h->hash = hash_mix(h->hash ^ value_of(&e));
		if (!the.log_hash[e.slot]) {
			the.log_hash[e.slot] = h->hash;
			the.counts->chosen++;
			the.counts->noops += e.kind == PAXOS_NOOP;
		}
		if (the.log_hash[e.slot] != h->hash)
			wrong("host %u: its log differs at slot %lu", id_of(h), e.slot);
	}
}

/* ---- the network ---- */

static void put(struct packet *packet)
{
	packet->at = the.now + 50000 + below(chance(300) ? 8 * NS_PER_MS : NS_PER_MS / 2);
	if (chance(the.lates)) {
		packet->at += below(4 * CORE_ELECTION);
		the.counts->late++;
	}
	packet->order = the.order++;
	ASSERT(the.n_packets < PACKETS_MAX);
	the.packets[the.n_packets++] = packet;
}

static struct packet *copy_message(const struct paxos_message *m)
{
	uint64_t bytes = 0;
	struct packet *packet;
	unsigned char *at;

	for (uint32_t i = 0; i < m->n_entries; i++)
		bytes += m->entries[i].len;
	packet = calloc(1, sizeof(*packet) + m->n_entries * sizeof(packet->entries[0]) + bytes);
	at = (unsigned char *)&packet->entries[m->n_entries];
	packet->message = *m;
	packet->message.entries = packet->entries;
	for (uint32_t i = 0; i < m->n_entries; i++) {
		packet->entries[i] = m->entries[i];
		packet->entries[i].bytes = at;
		if (m->entries[i].len)
			memcpy(at, m->entries[i].bytes, m->entries[i].len);
		at += m->entries[i].len;
	}
	return packet;
}

static void carry(uint16_t from, uint16_t to, const struct paxos_message *m)
{
	unsigned copies = chance(the.doubles) ? 2 : 1;

	the.counts->doubled += copies - 1;
	if (chance(the.loss) || the.n_packets + 2 > PACKETS_MAX) {
		the.counts->lost++;
		return;
	}
	while (copies--) {
		struct packet *packet = copy_message(m);

		packet->from = from;
		packet->to = to;
		put(packet);
	}
}

static bool is_meant(const struct host *h, uint16_t to)
{
	bool listed = id_of(h) <= the.n_voters, votes = h->core.config.votes;

	return to == id_of(h) || (to == PAXOS_TO_VOTERS && listed) || (to == PAXOS_TO_OBSERVERS && !votes) ||
	       to == PAXOS_TO_ALL;
}

static void check_said(const struct host *h, const struct paxos_message *m)
{
	const struct paxos_entry *e = m->entries;

	if (m->kind == PAXOS_LEARN && e->slot > h->core.memory->chosen &&
	    !h->core.memory->slots[e->slot % h->core.memory->log_slots].chosen)
		wrong("host %u teaches slot %lu, which it does not know", id_of(h), e->slot);
	if (m->kind != PAXOS_ACCEPT)
		return;
	for (unsigned i = 0; i < FACTS_MAX; i++)
		if (the.facts[e->slot][i].ballot == m->ballot && (the.facts[e->slot][i].accepted & 1u << id_of(h)))
			return;
	wrong("host %u sends slot %lu before it has accepted it", id_of(h), e->slot);
}

static void say(struct host *h, unsigned limit)
{
	const struct paxos_update *out = &h->core.out;

	for (unsigned i = 0; i < out->n_sends && i < limit; i++) {
		check_said(h, &out->sends[i].message);
		the.counts->fetched += out->sends[i].message.kind == PAXOS_FETCH;
		for (uint16_t to = 1; to <= the.n_hosts; to++)
			if (to != id_of(h) && is_meant(host(to), out->sends[i].to))
				carry(id_of(h), to, &out->sends[i].message);
	}
	if (out->snapshot_to && limit) {
		struct packet *packet = calloc(1, sizeof(*packet));

		*packet = (struct packet){ .from = id_of(h), .to = out->snapshot_to, .snapshot = true, .slot = h->applied, .hash = h->hash };
		put(packet);
	}
}

/* ---- hosts ---- */

static void probe(void *context)
{
	struct host *h = context;

	if (h->probes_left > 0 && --h->probes_left == 0)
		longjmp(the.death, 1);
}

static void die(struct host *h)
{
	h->up = false;
	h->back_at = the.now + below(3 * CORE_ELECTION);
}

static void committed(struct host *h, const struct paxos_event *event)
{
	memcpy(h->committed, h->core.memory, h->core.memory_size);
	note_ballot(h);
	check_memory(h, event);
}

static void step(struct host *h, struct paxos_event event)
{
	bool led = h->core.p.role == PAXOS_LEADING;
	uint64_t chosen = h->core.memory->chosen;

	event.now_ns = h->core.now = the.now;
	h->probes_left = chance(the.deaths) ? (int)below(6) + 1 : -1;
	h->core.undo.probe = probe;
	h->core.undo.probe_context = h;
	if (setjmp(the.death)) {
		the.counts->deaths_in_step++;
		die(h);
		return;
	}
	paxos_step(&h->core.p, &event, &h->core.out);
	undo_commit(&h->core.undo);
	committed(h, &event);
	the.counts->deposed += led && h->core.p.role != PAXOS_LEADING;
	the.counts->early += event.kind == PAXOS_EVENT_MESSAGE && event.message->kind == PAXOS_ACCEPT &&
			     h->core.memory->chosen > chosen && event.message->entries[0].slot > chosen &&
			     event.message->entries[0].slot <= h->core.memory->chosen;
	if (chance(the.deaths / 2)) {
		the.counts->deaths_after_commit++;
		say(h, (unsigned)below(h->core.out.n_sends + 1));
		die(h);
		return;
	}
	apply(h);
	say(h, PAXOS_SENDS_MAX);
}

static void meet(struct host *a, struct host *b)
{
	if (a->up && b->up)
		step(a, (struct paxos_event){ .kind = PAXOS_EVENT_PEER_UP, .from = id_of(b) });
}

static void start_over(struct host *h)
{
	bool rolled_back = h->core.log->used != 0;

	the.counts->rollbacks += rolled_back;
	h->core.now = the.now;
	h->life++;
	core_restart(&h->core, paxos_ballot_host(h->core.memory->promised) == id_of(h));
	if (memcmp(h->committed, h->core.memory, h->core.memory_size) != 0)
		wrong("host %u: rolled back to another memory than the last commit's", id_of(h));
	h->up = true;
	apply(h);
	for (uint16_t to = 1; to <= the.n_hosts; to++) {
		if (to == id_of(h) || the.cut[to - 1][id_of(h) - 1])
			continue;
		meet(h, host(to));
		meet(host(to), h);
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
	core_start(&h->core, &config, the.now);
	memcpy(h->committed, h->core.memory, h->core.memory_size);
	h->applied = h->hash = h->promised = h->chosen = 0;
	h->up = false;
	h->back_at = the.now;
}

/* ---- what happens ---- */

/* The tables and the log's beginning change together, or not at all. */
static void install(struct host *h, const struct packet *packet)
{
	uint64_t applied = h->applied, hash = h->hash;

	if (packet->slot <= h->core.memory->chosen)
		return;
	h->applied = packet->slot;
	h->hash = packet->hash;
	the.counts->snapshots++;
	step(h, (struct paxos_event){ .kind = PAXOS_EVENT_INSTALLED, .slot = packet->slot });
	if (h->core.log->used) { /* died inside: both are rolled back */
		h->applied = applied;
		h->hash = hash;
	}
}

static void deliver(struct packet *packet)
{
	struct host *to = host(packet->to);

	if (!to->up || the.cut[packet->from - 1][packet->to - 1])
		return;
	if (packet->snapshot)
		install(to, packet);
	else
		step(to, (struct paxos_event){ .kind = PAXOS_EVENT_MESSAGE, .from = packet->from, .message = &packet->message });
}

static void link_set(uint16_t from, uint16_t to, bool cut)
{
	bool was = the.cut[from - 1][to - 1];

	the.cut[from - 1][to - 1] = cut;
	the.counts->cuts += cut && !was;
	if (was && !cut && !the.cut[to - 1][from - 1]) {
		meet(host(from), host(to));
		meet(host(to), host(from));
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
				link_set(from, to, (way == 0 && split) || (way == 1 && to == odd) || (way == 2 && from == odd) || (way == 3 && (from == odd || to == odd)));
		}
}

static void fault(void)
{
	uint64_t draw = below(10);
	struct host *h = victim();

	the.fault_at = the.now + below(the.fault_ns);
	if (draw < 5)
		redraw_links();
	else if (draw < 8 && h->up)
		die(h);
	else if (draw == 9 && below(8) == 0)
		lose_memory(h);
}

static bool propose_at(struct host *h)
{
	unsigned char value[32];
	uint32_t len = (uint32_t)below(h->core.config.value_max - 8 + 1) + 8;

	if (!h->up || !paxos_can_propose(&h->core.p) || h->core.memory->chosen > SLOTS_MAX - 256)
		return false;
	memset(value, (int)the.proposed, sizeof(value));
	memcpy(value, &the.proposed, sizeof(the.proposed));
	the.proposed++;
	the.counts->proposed++;
	step(h, (struct paxos_event){ .kind = PAXOS_EVENT_PROPOSE, .bytes = value, .len = len });
	return true;
}

static void propose(void)
{
	the.propose_at = the.now + below(12 * NS_PER_MS);
	for (unsigned i = 0; i < the.n_hosts; i++)
		for (uint64_t burst = below(4); burst && propose_at(&the.hosts[i]); burst--)
			;
}

/* ---- the run ---- */

static struct packet *take_packet(uint64_t until)
{
	unsigned first = 0;
	struct packet *packet;

	for (unsigned i = 1; i < the.n_packets; i++)
		if (the.packets[i]->at < the.packets[first]->at ||
		    (the.packets[i]->at == the.packets[first]->at && the.packets[i]->order < the.packets[first]->order))
			first = i;
	if (!the.n_packets || the.packets[first]->at > until)
		return NULL;
	packet = the.packets[first];
	the.packets[first] = the.packets[--the.n_packets];
	return packet;
}

static struct host *first_due(uint64_t *ret_at)
{
	struct host *first = NULL;

	for (unsigned i = 0; i < the.n_hosts; i++) {
		struct host *h = &the.hosts[i];
		uint64_t at = h->up ? h->core.out.wake_at_ns : h->back_at;

		if (!first || at < *ret_at) {
			first = h;
			*ret_at = at;
		}
	}
	return first;
}

/* One thing happens: the next packet, the next timer or the next fault. */
static void go_on(void)
{
	uint64_t due_at = NEVER, until;
	struct host *due = first_due(&due_at);
	struct packet *packet;

	until = MIN(due_at, the.propose_at);
	if (!the.calm)
		until = MIN(until, the.fault_at);
	packet = take_packet(until);
	if (packet) {
		the.now = MAX(the.now, packet->at);
		deliver(packet);
		free(packet);
		return;
	}
	the.now = MAX(the.now, until);
	if (until == due_at && due->up)
		step(due, (struct paxos_event){ .kind = PAXOS_EVENT_TIME });
	else if (until == due_at)
		start_over(due);
	else if (until == the.propose_at)
		propose();
	else
		fault();
}

static void set_up(const struct cluster_plan *plan)
{
	static const uint32_t windows[] = { 1, 2, 4, 8, 16 };
	static const unsigned losses[] = { 0, 30, 100, 250 };

	memset(&the, 0, sizeof(the));
	the.random = plan->seed;
	the.n_voters = plan->voters;
	the.n_hosts = plan->voters + plan->observers;
	ASSERT(the.n_hosts <= HOSTS_MAX);
	the.now = 1000 * NS_PER_MS + below(NS_PER_MS);
	the.loss = losses[below(ARRAY_LEN(losses))];
	the.doubles = (unsigned)below(3) * 30;
	the.lates = (unsigned)below(4) * 25;
	the.fault_ns = (below(3) + 1) * 30 * NS_PER_MS;
	the.deaths = (unsigned)below(3) * 4;
	uint32_t window = windows[below(ARRAY_LEN(windows))];

	for (uint16_t id = 1; id <= the.n_hosts; id++) {
		struct paxos_config config = core_config(id, the.n_voters);

		config.window = window;
		config.log_slots = 2 * window;
		config.seed = plan->seed;
		core_start(&host(id)->core, &config, the.now);
		host(id)->committed = calloc(1, host(id)->core.memory_size);
		memcpy(host(id)->committed, host(id)->core.memory, host(id)->core.memory_size);
		host(id)->up = true;
		host(id)->core.out.wake_at_ns = the.now;
	}
}

static void heal(void)
{
	the.calm = true;
	for (uint16_t from = 1; from <= the.n_hosts; from++)
		for (uint16_t to = 1; to <= the.n_hosts; to++)
			link_set(from, to, false);
	for (unsigned i = 0; i < the.n_hosts; i++)
		if (!the.hosts[i].up)
			the.hosts[i].back_at = the.now;
}

static bool all_have(uint64_t slot)
{
	for (unsigned i = 0; i < the.n_hosts; i++)
		if (!the.hosts[i].up || the.hosts[i].applied < slot)
			return false;
	return true;
}

/* The newest ballot that anybody leads in or follows. */
static uint64_t newest_ballot(void)
{
	uint64_t newest = 0;

	for (unsigned i = 0; i < the.n_hosts; i++)
		newest = MAX(newest, the.hosts[i].core.p.leader_ballot);
	return newest;
}

/* Its leader proposes; the slot, or 0: it cannot yet. */
static uint64_t propose_in(uint64_t ballot)
{
	for (unsigned i = 0; i < the.n_hosts; i++) {
		const struct paxos *p = &the.hosts[i].core.p;
		uint64_t slot = p->next_slot;

		if (p->role == PAXOS_LEADING && p->ballot == ballot && propose_at(&the.hosts[i]))
			return slot;
	}
	return 0;
}

/* Old packets may depose one leader or two yet; in the end a value gets through to everybody. */
static void check_progress(void)
{
	uint64_t end = the.now + HEAL_NS, slot = 0, ballot = 0;

	heal();
	the.propose_at = NEVER;
	while (!the.wrong[0] && the.now < end && !(slot && all_have(slot))) {
		if (!slot || newest_ballot() != ballot) {
			ballot = newest_ballot();
			slot = propose_in(ballot);
		}
		go_on();
	}
	if (!slot || !all_have(slot))
		wrong("no progress after all faults ended (%s)", slot ? "not learnt by all" : "no leader");
}

const char *cluster_run(const struct cluster_plan *plan, struct cluster_counts *counts)
{
	uint64_t end;

	set_up(plan);
	the.counts = counts;
	end = the.now + FAULTY_NS;
	while (!the.wrong[0] && the.now < end)
		go_on();
	check_progress();
	while (the.n_packets)
		free(the.packets[--the.n_packets]);
	for (unsigned i = 0; i < the.n_hosts; i++) {
		free(the.hosts[i].committed);
		core_release(&the.hosts[i].core);
	}
	return the.wrong[0] ? the.wrong : NULL;
}
