/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of Paxos after every step: read from the acceptors' memory, and from what they say. A
 * value counts as chosen when a majority of the voters was seen to have accepted it in one ballot.
 */
#include "sim.h"

typedef unsigned long long ull;

/* ---- the log: one value a slot ---- */

struct log_entry *log_at(struct sim *s, uint64_t slot)
{
	if (slot >= s->cap_log) {
		uint64_t cap = MAX(2 * s->cap_log, slot + 1024);

		s->log = realloc(s->log, cap * sizeof(*s->log));
		ASSERT(s->log);
		memset(s->log + s->cap_log, 0, (cap - s->cap_log) * sizeof(*s->log));
		s->cap_log = cap;
	}
	s->n_log = MAX(s->n_log, slot + 1);
	return &s->log[slot];
}

static struct accepted *accepted_in(struct log_entry *e, uint64_t ballot)
{
	for (unsigned i = 0; i < e->n_accepted; i++)
		if (e->accepted[i].ballot == ballot)
			return &e->accepted[i];
	e->accepted = realloc(e->accepted, (e->n_accepted + 1) * sizeof(*e->accepted));
	ASSERT(e->accepted);
	e->accepted[e->n_accepted] = (struct accepted){ .ballot = ballot };
	return &e->accepted[e->n_accepted++];
}

/* In one ballot there is one value for a slot, whoever accepts it. */
static void note_accepted(struct sim *s, const struct host *h, struct log_entry *e, const struct paxos_slot *slot, uint64_t hash)
{
	struct accepted *a = accepted_in(e, slot->ballot);

	CHECK(s, !a->voters || a->hash == hash, "host %u accepted another value for slot %llu in ballot %llx", h->id,
	      (ull)slot->index, (ull)slot->ballot);
	a->hash = hash;
	a->kind = slot->kind;
	if (h->votes)
		a->voters |= 1u << h->id;
	for (unsigned i = 0; i < e->n_accepted && !a->again; i++)
		if (&e->accepted[i] != a && e->accepted[i].hash == hash && slot->kind == PAXOS_COMMANDS) {
			a->again = true;
			sim_mark(s, MARK_PROPOSED_AGAIN);
		}
}

/* Some ballot's value was accepted by a majority of the voters: only then is it chosen. */
static bool majority_accepted(const struct sim *s, const struct log_entry *e, uint64_t hash)
{
	for (unsigned i = 0; i < e->n_accepted; i++)
		if (e->accepted[i].hash == hash &&
		    2 * (unsigned)__builtin_popcount(e->accepted[i].voters) > s->plan.voters)
			return true;
	return false;
}

static void note_chosen(struct sim *s, const struct host *h, struct log_entry *e, const struct paxos_slot *slot,
			const unsigned char *bytes, uint64_t hash)
{
	if (e->chosen) {
		CHECK(s, e->hash == hash, "host %u takes another value for chosen in slot %llu", h->id, (ull)slot->index);
		return;
	}
	CHECK(s, majority_accepted(s, e, hash), "host %u takes slot %llu for chosen, and no majority has accepted its value", h->id,
	      (ull)slot->index);
	e->chosen = true;
	e->kind = slot->kind;
	e->hash = hash;
	e->len = slot->len;
	e->bytes = malloc(slot->len + 1);
	ASSERT(e->bytes);
	memcpy(e->bytes, bytes, slot->len);
	if (paxos_ballot_host(slot->ballot) != h->id && h->votes && s->plan.voters == 3)
		sim_mark(s, MARK_EARLY_LEARNING);
	if (slot->index > s->reference.applied + 1)
		sim_mark(s, MARK_LEARNT_BEYOND_GAP);
}

void log_apply(struct sim *s)
{
	for (;;) {
		struct log_entry *e = log_at(s, s->reference.applied + 1);

		if (!e->chosen)
			return;
		reference_apply(s, s->reference.applied + 1, e->kind, e->bytes, e->len);
		free(e->bytes);
		e->bytes = NULL;
	}
}

static void look_into_log(struct sim *s, struct host *h)
{
	const struct paxos_memory *m = agent_paxos(h->agent)->memory;

	for (uint32_t i = 0; i < m->log_slots; i++) {
		const struct paxos_slot *slot = &m->slots[i];
		bool there = slot->index > m->base; /* else it has left the log */
		bool chosen = there && (slot->chosen || slot->index <= m->chosen);
		struct seen_slot *seen = &h->slot[i];
		const unsigned char *bytes = paxos_memory_value(m, i);
		struct log_entry *e;
		uint64_t hash;

		if (seen->index == slot->index && seen->ballot == slot->ballot && seen->chosen == chosen)
			continue;
		*seen = (struct seen_slot){ slot->index, slot->ballot, chosen };
		if (!there)
			continue;
		hash = hash_bytes(slot->kind, bytes, slot->len);
		e = log_at(s, slot->index);
		note_accepted(s, h, e, slot, hash);
		if (chosen)
			note_chosen(s, h, e, slot, bytes, hash);
	}
}

/* ---- Paxos ---- */

/* "If the proposer receives a response … from a majority of acceptors" - whose promises still stand. Who has
 * lost its memory never accepts anything again, and so keeps whatever it had promised. */
static void check_election(struct sim *s, const struct host *h, uint64_t ballot)
{
	unsigned promised = 0;

	for (uint16_t id = 1; id <= s->n_hosts; id++)
		promised += s->host[id].voter && (!s->host[id].votes || s->host[id].promised >= ballot);
	CHECK(s, 2 * promised > s->plan.voters, "host %u leads with ballot %llx, which %u of %u voters have promised", h->id, (ull)ballot,
	      promised, s->plan.voters);
}

/* One leader at a time, by each one's own clock. */
static void check_leases(struct sim *s, const struct host *h)
{
	if (!paxos_has_lease(agent_paxos(h->agent), host_clock(s, h)) || !sim_trusted(s))
		return;
	for (uint16_t id = 1; id <= s->n_hosts; id++) {
		const struct host *other = &s->host[id];

		CHECK(s, other == h || !other->agent || !paxos_has_lease(agent_paxos(other->agent), host_clock(s, other)),
		      "hosts %u and %u have a leader lease, both", h->id, id);
	}
}

void log_look_at_leader(struct sim *s, struct host *h)
{
	const struct paxos *p = agent_paxos(h->agent);
	unsigned leaders = 0, candidates = 0;
	bool leads = p->role == PAXOS_LEADING;

	if (p->role == PAXOS_LEADING || p->role == PAXOS_PREPARING) {
		CHECK(s, h->votes, "host %u %s and has no vote", h->id, leads ? "leads" : "prepares");
		CHECK(s, paxos_ballot_host(p->ballot) == h->id, "host %u uses ballot %llx", h->id, (ull)p->ballot);
		CHECK(s, p->ballot > h->ballot_before, "host %u uses ballot %llx again, after an earlier life of it had", h->id, (ull)p->ballot);
		CHECK(s, p->ballot >= h->ballot_now, "host %u falls back to ballot %llx", h->id, (ull)p->ballot);
	}
	if (p->role == PAXOS_PREPARING && p->ballot > h->ballot_now) {
		for (uint16_t id = 1; id <= s->n_hosts; id++)
			candidates += s->host[id].agent && agent_paxos(s->host[id].agent)->role == PAXOS_PREPARING;
		if (candidates > 1)
			sim_mark(s, MARK_ELECTION_SPLIT);
	}
	if (p->role == PAXOS_LEADING || p->role == PAXOS_PREPARING)
		h->ballot_now = p->ballot;
	if (leads && (!h->leading || p->ballot != h->ballot_led)) {
		trace(s, "host %u leads with ballot %llx", h->id, (ull)p->ballot);
		check_election(s, h, p->ballot);
		s->offices++;
		if (s->last_leader && s->last_leader != h->id)
			sim_mark(s, MARK_LEADER_CHANGED);
		else if (s->last_leader == h->id && h->lives > 1)
			sim_mark(s, MARK_SUCCESSOR_LED);
		s->last_leader = h->id;
		for (uint16_t id = 1; id <= s->n_hosts; id++)
			leaders += id != h->id && s->host[id].leading;
		if (leaders)
			sim_mark(s, MARK_TWO_LEADERS);
	}
	if (leads)
		check_leases(s, h);
	h->leading = leads;
	h->ballot_led = p->ballot;
}

void log_look(struct sim *s, struct host *h)
{
	const struct paxos_memory *m = agent_paxos(h->agent)->memory;

	CHECK(s, m->promised >= h->promised, "host %u promised %llx and now %llx", h->id, (ull)h->promised, (ull)m->promised);
	CHECK(s, m->chosen >= h->chosen, "host %u knew %llu slots to be chosen and now %llu", h->id, (ull)h->chosen, (ull)m->chosen);
	look_into_log(s, h);
	h->promised = m->promised;
	h->chosen = m->chosen;
}

/* ---- what it says ---- */

static bool has_accepted(const struct host *h, const struct log_entry *e, uint64_t ballot, uint64_t *ret_hash)
{
	for (unsigned i = 0; i < e->n_accepted; i++)
		if (e->accepted[i].ballot == ballot) {
			*ret_hash = e->accepted[i].hash;
			return e->accepted[i].voters >> h->id & 1;
		}
	return false;
}

/* "Accepted" is the truth, or the slot is chosen and the ballot proposes just that value. */
static void check_said_accepted(struct sim *s, const struct host *h, uint64_t slot, uint64_t ballot)
{
	const struct log_entry *e = log_at(s, slot);
	uint64_t hash = e->hash;

	CHECK(s, has_accepted(h, e, ballot, &hash) || (e->chosen && hash == e->hash), "host %u says that it accepted slot %llu in ballot %llx",
	      h->id, (ull)slot, (ull)ballot);
}

/* Nothing leaves a host that its memory does not bear out. */
void log_check_said(struct sim *s, const struct host *h, const void *frame, size_t len)
{
	const struct paxos_memory *memory = agent_paxos(h->agent)->memory;
	struct paxos_entry entries[PAXOS_WINDOW_MAX];
	struct paxos_message m;

	CHECK(s, wire_get_paxos(frame, len, &m, entries, memory->value_max) == 0, "host %u sends a frame that does not decode", h->id);
	CHECK(s, m.chosen <= memory->chosen, "host %u says that %llu slots are chosen, and knows of %llu", h->id, (ull)m.chosen, (ull)memory->chosen);
	switch (m.kind) {
	case PAXOS_PROMISE:
		CHECK(s, memory->promised >= m.ballot, "host %u says that it promised ballot %llx, and has %llx", h->id, (ull)m.ballot,
		      (ull)memory->promised);
		break;
	case PAXOS_ACCEPTED:
		check_said_accepted(s, h, m.slot, m.ballot);
		break;
	case PAXOS_ACCEPT:
		check_said_accepted(s, h, m.entries[0].slot, m.ballot);
		break;
	case PAXOS_LEARN:
		CHECK(s, log_at(s, m.entries[0].slot)->chosen, "host %u says that slot %llu is chosen", h->id, (ull)m.entries[0].slot);
		break;
	}
}
