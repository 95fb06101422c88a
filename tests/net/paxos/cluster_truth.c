/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>

#include "cluster_world.h"

/* What is true of the cluster, whatever its hosts believe, and the checks of what they believe. */

void cluster_wrong(const char *format, ...)
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

static uint64_t value_of(const struct paxos_entry *e)
{
	return hash_bytes(e->kind, e->bytes, e->len) | 1;
}

static bool is_majority(uint32_t mask) { return 2 * (unsigned)__builtin_popcount(mask) > the.n_voters; }

static void note_acceptance(const struct host *h, const struct paxos_entry *e)
{
	struct fact *fact = the.facts[e->slot];
	unsigned i = 0;

	while (i < FACTS_MAX && fact[i].ballot && fact[i].ballot != e->ballot)
		i++;
	if (i == FACTS_MAX) {
		cluster_wrong("slot %lu: more ballots than the test has room for", e->slot);
		return;
	}
	if (fact[i].ballot && fact[i].value != value_of(e))
		cluster_wrong("slot %lu: ballot %lx proposes two values", e->slot, e->ballot);
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
		cluster_wrong("host %u holds slot %lu for chosen; no majority accepted it", id_of(h), e->slot);
	if (the.values[e->slot] && the.values[e->slot] != value_of(e))
		cluster_wrong("slot %lu: host %u learnt another value", e->slot, id_of(h));
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
			cluster_wrong("ballot %lx is used by two lives", ballot);
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

static void note_office(struct host *h)
{
	const struct paxos *p = &h->core.p;

	if (p->role != PAXOS_LEADING || p->ballot == h->led)
		return;
	h->led = p->ballot;
	the.offices++;
}

static void check_memory(struct host *h, const struct paxos_event *event)
{
	const struct paxos_memory *memory = h->core.memory;
	const struct paxos_message *m = event && event->kind == PAXOS_EVENT_MESSAGE ? event->message : NULL;

	if (memory->promised < h->promised)
		cluster_wrong("host %u: promised fell", id_of(h));
	if (memory->chosen < h->chosen)
		cluster_wrong("host %u: chosen fell", id_of(h));
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

void cluster_apply(struct host *h)
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
			cluster_wrong("host %u: its log differs at slot %lu", id_of(h), e.slot);
	}
}

static void check_accepted(const struct host *h, const struct paxos_message *m)
{
	uint64_t slot = m->entries->slot;

	for (unsigned i = 0; i < FACTS_MAX; i++)
		if (the.facts[slot][i].ballot == m->ballot && (the.facts[slot][i].accepted & 1u << id_of(h)))
			return;
	cluster_wrong("host %u sends slot %lu before it has accepted it", id_of(h), slot);
}

static void check_taught(const struct host *h, uint64_t slot)
{
	const struct paxos_memory *memory = h->core.memory;

	if (slot > memory->chosen && !memory->slots[slot % memory->log_slots].chosen)
		cluster_wrong("host %u teaches slot %lu, which it does not know", id_of(h), slot);
}

static void check_promised(const struct host *h, uint64_t ballot)
{
	if (cluster_clock(h) < h->bound.until_ns && paxos_ballot_host(ballot) != paxos_ballot_host(h->bound.ballot) &&
	    the.moved_ballot < h->bound.ballot)
		cluster_wrong("host %u promises ballot %lx against the lease of %lx", id_of(h), ballot, h->bound.ballot);
}

void cluster_check_said(struct host *h, const struct paxos_message *m)
{
	switch (m->kind) {
	case PAXOS_ACCEPT:
		check_accepted(h, m);
		break;
	case PAXOS_LEARN:
		check_taught(h, m->entries->slot);
		break;
	case PAXOS_PROMISE:
		check_promised(h, m->ballot);
		break;
	case PAXOS_BEATEN:
		h->bound.ballot = m->ballot;
		h->bound.until_ns = cluster_clock(h) + CORE_LEASE;
		break;
	case PAXOS_MOVE:
		the.moved_ballot = MAX(the.moved_ballot, m->ballot);
		break;
	}
}

void cluster_check_step(struct host *h, const struct paxos_event *event)
{
	note_ballot(h);
	note_office(h);
	check_memory(h, event);
}

/* Promises of those that have their memory: another's higher ballot than this leader's. */
static bool is_deserted(const struct host *leader)
{
	uint32_t others = 0;

	for (uint16_t id = 1; id <= the.n_voters; id++)
		if (host(id)->core.config.votes && host(id)->promised > leader->core.p.ballot &&
		    paxos_ballot_host(host(id)->promised) != id_of(leader))
			others |= 1u << id;
	return is_majority(others);
}

/* A lease only ends between two events, so looking at each event is looking at every moment. */
void cluster_check_leases(void)
{
	const struct host *holder = NULL;

	for (unsigned i = 0; i < the.n_hosts; i++) {
		const struct host *h = &the.hosts[i];

		if (!h->up || !paxos_has_lease(&h->core.p, cluster_clock(h)))
			continue;
		if (holder)
			cluster_wrong("hosts %u and %u both have a lease", id_of(holder), id_of(h));
		if (is_deserted(h))
			cluster_wrong("host %u leads under its lease; a majority has promised another", id_of(h));
		holder = h;
	}
}
