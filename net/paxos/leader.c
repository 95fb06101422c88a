/* SPDX-License-Identifier: Apache-2.0 */
#include "roles.h"
#include "../../lib/mutant.h"

/* A ballot in use: proposals under way, heartbeats, the end of office. */

#define OBSERVER_BEATS 15u /* observers hear one heartbeat in so many */

/* Our own acceptor promises its lease like any other. */
static void beat(struct paxos_stepping *s, uint16_t to)
{
	struct paxos *p = s->p;
	struct paxos_message *m = paxos_say(s, to, PAXOS_BEAT);

	m->ballot = p->ballot;
	m->life = p->config.life;
	m->stamp = s->now_ns;
	paxos_log_lease(p, s->now_ns + p->config.leader_lease_ns, p->config.life);
}

/* The flag says that we accepted it ourselves, which the commit before any send makes durable. */
static void say_accept(struct paxos_stepping *s, uint16_t to, uint64_t slot)
{
	const struct paxos_slot *own = paxos_log_find(s->p, slot);
	struct paxos_message *m = paxos_say(s, to, PAXOS_ACCEPT);

	ASSERT(own != NULL);
	ASSERT(own->ballot == s->p->ballot);
	m->ballot = s->p->ballot;
	m->flag = true;
	paxos_attach(s, m, slot);
}

static void tell_choice(struct paxos_stepping *s, uint64_t slot)
{
	paxos_attach(s, paxos_say(s, PAXOS_TO_OBSERVERS, PAXOS_LEARN), slot);
	if (s->p->config.n_voters > 3) { /* nobody learns early: say it before the next heartbeat */
		struct paxos_message *m = paxos_say(s, PAXOS_TO_VOTERS, PAXOS_BEAT);

		m->ballot = s->p->ballot;
		m->life = s->p->config.life;
		m->flag = true;
	}
}

/* "A value is chosen when a majority of acceptors have accepted it" - in one ballot: this one. */
static void count(struct paxos_stepping *s, uint64_t slot, uint32_t vote)
{
	struct paxos *p = s->p;
	struct paxos_flight *flight = &p->flight[slot % PAXOS_WINDOW_MAX];

	if (flight->slot != slot || slot <= p->memory->chosen)
		return;
	flight->accepted |= MUTANT(132) ? flight->accepted + 1 : vote;
	if (!paxos_is_majority(p, flight->accepted) || paxos_log_find(p, slot)->chosen)
		return;
	paxos_log_choose(p, slot);
	tell_choice(s, slot);
}

void paxos_propose(struct paxos_stepping *s, enum paxos_value_kind kind, const void *bytes, uint32_t len)
{
	struct paxos *p = s->p;
	struct paxos_entry entry = { .slot = p->next_slot, .ballot = p->ballot, .kind = kind, .len = len, .bytes = bytes };

	if (p->memory->promised > p->ballot) { /* our own acceptor is asked like any other */
		paxos_step_down(s);
		return;
	}
	ASSERT(paxos_log_has_place(p, entry.slot));
	paxos_log_store(p, &entry);
	p->next_slot++;
	p->flight[entry.slot % PAXOS_WINDOW_MAX] =
		(struct paxos_flight){ .slot = entry.slot, .sent_ns = s->now_ns };
	if (p->config.n_voters > 1)
		say_accept(s, PAXOS_TO_VOTERS, entry.slot);
	count(s, entry.slot, paxos_own_vote(p));
}

/* LEADS comes behind all that was found, as soon as the window has room for it. It names its ballot: a later
 * leader may propose it again in its own. */
static void propose_leads(struct paxos_stepping *s)
{
	struct paxos *p = s->p;
	unsigned char ballot[PAXOS_LEADS_SIZE];
	struct writer w = writer_on(ballot, sizeof(ballot));

	if (p->role != PAXOS_LEADING || p->leads_slot || !paxos_log_has_place(p, p->next_slot))
		return;
	p->leads_slot = p->next_slot;
	put_u64(&w, p->ballot);
	paxos_propose(s, PAXOS_LEADS, ballot, sizeof(ballot));
}

/* "The value of the highest-numbered proposal among the responses", ours among them; "a no-op" where
 * there is none. */
static void propose_found(struct paxos_stepping *s, uint64_t slot)
{
	struct paxos *p = s->p;
	unsigned at = slot % PAXOS_WINDOW_MAX;
	const struct paxos_found *found = &p->found[at];
	const struct paxos_slot *own = paxos_log_find(p, slot);

	if (found->slot == slot && !MUTANT(153) && !(own && (own->chosen || own->ballot >= found->ballot))) {
		paxos_propose(s, found->kind, p->found_values + (uint64_t)at * p->config.value_max, found->len);
	} else if (own) {
		struct paxos_entry entry = paxos_log_entry(p, slot);

		paxos_propose(s, entry.kind, entry.bytes, entry.len);
	} else {
		paxos_propose(s, PAXOS_NOOP, NULL, 0);
	}
}

static uint64_t last_found(const struct paxos *p)
{
	uint64_t slot = p->memory->chosen + p->config.window;

	while (slot > p->memory->chosen && !paxos_log_find(p, slot) &&
	       p->found[slot % PAXOS_WINDOW_MAX].slot != slot)
		slot--;
	return slot;
}

void paxos_take_office(struct paxos_stepping *s)
{
	struct paxos *p = s->p;
	uint64_t last = last_found(p);

	ASSERT(p->role == PAXOS_PREPARING);
	ASSERT(p->memory->promised == p->ballot);
	p->role = PAXOS_LEADING;
	p->leader = p->config.self;
	p->leader_ballot = p->ballot;
	p->leader_heard_ns = p->office_ns = s->now_ns;
	p->lease_until_ns = 0;
	p->next_slot = p->memory->chosen + 1;
	p->leads_slot = 0;
	for (unsigned i = 0; i < PAXOS_VOTERS_MAX; i++)
		p->heard_ns[i] = 0;
	for (unsigned i = 0; i < PAXOS_WINDOW_MAX; i++)
		p->flight[i].slot = 0;
	for (uint64_t slot = p->next_slot; slot <= last; slot++)
		propose_found(s, slot);
	propose_leads(s);
	beat(s, PAXOS_TO_ALL);
	p->beats = 1;
	p->beaten_ns = s->now_ns;
	p->heartbeat_at_ns = s->now_ns + p->config.heartbeat_ns;
}

bool paxos_in_office(const struct paxos *p)
{
	return p->role == PAXOS_LEADING && p->leads_slot && p->memory->chosen >= p->leads_slot;
}

bool paxos_can_propose(const struct paxos *p)
{
	return paxos_in_office(p) && paxos_log_has_place(p, p->next_slot);
}

/* The latest time from which on a majority, with us, promised its lease; 0: none has. */
static uint64_t majority_heard(const struct paxos *p)
{
	uint64_t latest = 0;

	for (uint32_t i = 0; i < p->config.n_voters; i++) {
		uint32_t since = paxos_own_vote(p);

		for (uint32_t j = 0; j < p->config.n_voters; j++)
			if (p->heard_ns[j] >= p->heard_ns[i])
				since |= 1u << j;
		if (p->config.voters[i] != p->config.self && paxos_is_majority(p, since))
			latest = MAX(latest, p->heard_ns[i]);
	}
	return latest;
}

/* A lease of ours counts from `since_ns`. */
static void take_lease(struct paxos *p, uint64_t since_ns)
{
	p->leader_heard_ns = MAX(p->leader_heard_ns, since_ns);
	p->lease_until_ns = since_ns + paxos_less_drift(p->config.leader_lease_ns, p->config.drift_ppm);
}

/* What was accepted in another ballot than the present one is counted nowhere. */
void paxos_on_accepted(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m)
{
	if (s->p->role == PAXOS_LEADING && (m->ballot == s->p->ballot || MUTANT(151)))
		count(s, m->slot, 1u << paxos_voter(s->p, from));
}

void paxos_on_beaten(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m)
{
	struct paxos *p = s->p;
	uint64_t *heard_ns = &p->heard_ns[paxos_voter(p, from)], since_ns;

	if (p->role != PAXOS_LEADING || m->ballot != p->ballot || m->stamp > s->now_ns)
		return;
	*heard_ns = MAX(*heard_ns, MUTANT(122) ? s->now_ns : m->stamp);
	since_ns = majority_heard(p);
	if (since_ns)
		take_lease(p, since_ns);
	paxos_catch_up(s, from, m->chosen);
}

bool paxos_has_lease(const struct paxos *p, uint64_t now_ns)
{
	return p->role == PAXOS_LEADING && (now_ns < p->lease_until_ns || MUTANT(51));
}

void paxos_leader_expire(struct paxos_stepping *s)
{
	struct paxos *p = s->p;

	if (p->role != PAXOS_LEADING)
		return;
	if (p->config.n_voters == 1) /* nobody else can be promised anything */
		take_lease(p, s->now_ns);
	else if (s->now_ns >= (p->lease_until_ns ? p->lease_until_ns : p->office_ns + p->config.leader_lease_ns))
		paxos_step_down(s);
}

/* To each voter that has not accepted; with one message when none has. */
static void send_again(struct paxos_stepping *s, uint64_t slot, uint32_t accepted)
{
	const struct paxos_config *c = &s->p->config;

	if (accepted == paxos_own_vote(s->p)) {
		say_accept(s, PAXOS_TO_VOTERS, slot);
		return;
	}
	for (uint32_t i = 0; i < c->n_voters; i++)
		if (!(accepted & 1u << i))
			say_accept(s, c->voters[i], slot);
}

static void send_old_flights_again(struct paxos_stepping *s)
{
	struct paxos *p = s->p;

	for (uint64_t slot = p->memory->chosen + 1; slot < p->next_slot; slot++) {
		struct paxos_flight *flight = &p->flight[slot % PAXOS_WINDOW_MAX];

		if (paxos_log_find(p, slot)->chosen || s->now_ns - flight->sent_ns < 2 * p->config.heartbeat_ns)
			continue;
		if (paxos_room(s) < PAXOS_VOTERS_MAX) /* the rest is as old at the next heartbeat */
			return;
		flight->sent_ns = s->now_ns;
		send_again(s, slot, flight->accepted);
	}
}

/* We speak, and no majority answers. Who hears a leader waits for it, a lease long; one that hears nobody will be none
 * when its lease ends, and whatever it still says only keeps the others from having the next by then. A leader that
 * stood still itself is not meant: it spoke no later than it heard. */
static bool unanswered(const struct paxos *p)
{
	uint64_t patience_ns = MAX(p->config.leader_lease_ns / 4, 2 * p->config.heartbeat_ns);

	return p->config.n_voters > 1 && p->beaten_ns >= p->leader_heard_ns + patience_ns;
}

void paxos_leader_tick(struct paxos_stepping *s)
{
	struct paxos *p = s->p;

	if (p->role != PAXOS_LEADING)
		return;
	propose_leads(s);
	if (s->now_ns < p->heartbeat_at_ns)
		return;
	p->heartbeat_at_ns = s->now_ns + p->config.heartbeat_ns;
	if (unanswered(p))
		return;
	beat(s, p->beats++ % OBSERVER_BEATS ? PAXOS_TO_VOTERS : PAXOS_TO_ALL);
	p->beaten_ns = s->now_ns;
	send_old_flights_again(s);
}

void paxos_leader_peer_up(struct paxos_stepping *s, uint16_t host)
{
	struct paxos *p = s->p;
	int voter = paxos_voter(p, host);

	if (p->role != PAXOS_LEADING)
		return;
	beat(s, host);
	for (uint64_t slot = p->memory->chosen + 1; voter >= 0 && slot < p->next_slot; slot++)
		if (!paxos_log_find(p, slot)->chosen &&
		    !(p->flight[slot % PAXOS_WINDOW_MAX].accepted & 1u << voter))
			say_accept(s, host, slot);
}
