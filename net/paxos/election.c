/* SPDX-License-Identifier: Apache-2.0 */
#include "roles.h"
#include "../../lib/mutant.h"

/* How a ballot is won and lost. */

/* An observer hears every fifteenth heartbeat only, and never stands: after three of those it no longer says
 * that it knows a leader. */
static uint64_t patience(struct paxos *p)
{
	const struct paxos_config *c = &p->config;

	if (!c->votes)
		return 45 * c->heartbeat_ns + 2 * c->leader_lease_ns;
	return c->leader_lease_ns + random_next(&p->random) % (c->leader_lease_ns / 2);
}

void paxos_wait_for_leader(struct paxos *p, uint64_t now_ns)
{
	p->election_at_ns = now_ns + patience(p);
}

void paxos_step_down(struct paxos_stepping *s)
{
	struct paxos *p = s->p;

	p->role = PAXOS_FOLLOWER;
	p->ballot = 0;
	p->votes = 0;
	p->leader = 0;
	p->leader_ballot = 0;
	p->call_ballot = 0;
	paxos_wait_for_leader(p, s->now_ns);
}

void paxos_meet_ballot(struct paxos_stepping *s, uint64_t ballot)
{
	struct paxos *p = s->p;

	p->seen_ballot = MAX(p->seen_ballot, ballot);
	if (p->role != PAXOS_FOLLOWER && ballot > p->ballot)
		paxos_step_down(s);
}

/* A leader's ballot has a majority behind it, so hearing it is as good as having promised it: this way
 * there is one ballot that we follow, and an older leader is never followed again. */
void paxos_hear_leader(struct paxos_stepping *s, uint16_t leader, uint64_t ballot)
{
	struct paxos *p = s->p;

	ASSERT(ballot >= p->memory->promised);
	if (p->role != PAXOS_FOLLOWER)
		paxos_step_down(s);
	if (ballot != p->leader_ballot) /* time for its first heartbeat */
		paxos_wait_for_leader(p, s->now_ns);
	p->seen_ballot = MAX(p->seen_ballot, ballot);
	paxos_log_promise(p, ballot);
	p->leader = leader;
	p->leader_ballot = ballot;
	p->leader_heard_ns = s->now_ns;
	p->call_ballot = 0;
}

/* Above all that we have promised and met. */
static uint64_t next_ballot(const struct paxos *p)
{
	uint64_t round = (MAX(p->memory->promised, p->seen_ballot) >> 16) + 1;

	return round << 16 | p->config.self;
}

static void say_candidacy(struct paxos_stepping *s, uint16_t to, enum paxos_message_kind kind)
{
	struct paxos_message *m = paxos_say(s, to, kind);

	m->ballot = s->p->ballot;
	m->life = s->p->config.life;
	if (kind == PAXOS_PREPARE && s->p->call_ballot) {
		m->flag = true;
		m->promised = s->p->call_ballot;
	}
}

/* Phase 1a: "a proposer selects a proposal number n and sends a prepare request". Promised to ourselves
 * before anybody hears of it, so no later life takes it again. */
static void prepare(struct paxos_stepping *s)
{
	struct paxos *p = s->p;

	p->role = PAXOS_PREPARING;
	p->ballot = next_ballot(p); /* who would have promised the ballot we asked for promises a higher one */
	ASSERT(p->ballot > p->memory->promised);
	ASSERT(!paxos_lease_forbids(s, p->config.life));
	p->seen_ballot = p->ballot;
	p->elections++;
	paxos_log_promise(p, p->ballot);
	for (unsigned i = 0; i < PAXOS_WINDOW_MAX; i++)
		p->found[i].slot = 0;
	p->votes = paxos_own_vote(p);
	paxos_wait_for_leader(p, s->now_ns);
	if (paxos_is_majority(p, p->votes))
		paxos_take_office(s);
	else
		say_candidacy(s, PAXOS_TO_VOTERS, PAXOS_PREPARE);
}

void paxos_stand_for(struct paxos_stepping *s, uint64_t call_ballot)
{
	paxos_step_down(s);
	s->p->call_ballot = call_ballot;
	prepare(s);
}

static void ask(struct paxos_stepping *s)
{
	struct paxos *p = s->p;

	paxos_step_down(s);
	if (paxos_lease_forbids(s, p->config.life)) { /* our own promise binds us like any other */
		p->election_at_ns = p->memory->lease_until_ns;
		return;
	}
	p->role = PAXOS_ASKING;
	p->ballot = next_ballot(p);
	p->votes = paxos_own_vote(p);
	if (paxos_is_majority(p, p->votes))
		prepare(s);
	else
		say_candidacy(s, PAXOS_TO_VOTERS, PAXOS_PREVOTE);
}

/* Something was in the way that will be gone within about so long. */
void paxos_ask_again_within(struct paxos_stepping *s, uint64_t ns)
{
	struct paxos *p = s->p;
	uint64_t half = MAX(ns / 2, 1);

	p->election_at_ns = MIN(p->election_at_ns, s->now_ns + half + random_next(&p->random) % half);
}

void paxos_on_prevoted(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m)
{
	struct paxos *p = s->p;

	if (p->role != PAXOS_ASKING || m->ballot != p->ballot)
		return;
	if (!m->flag) {
		bool lags = m->chosen > p->memory->chosen, low = m->promised >= p->ballot;

		paxos_catch_up(s, from, m->chosen);
		paxos_meet_ballot(s, m->promised);
		/* Else it follows a leader that we do not hear, or its promise is about to run out. */
		paxos_ask_again_within(s, lags || low ? p->config.heartbeat_ns : p->config.leader_lease_ns / 4);
		return;
	}
	p->votes |= 1u << paxos_voter(p, from);
	if (paxos_is_majority(p, p->votes))
		prepare(s);
}

/* An honest promise of our ballot holds acceptances of lower ones, in the window we asked about. */
static bool promise_makes_sense(const struct paxos *p, const struct paxos_message *m)
{
	for (uint32_t i = 0; i < m->n_entries; i++) {
		const struct paxos_entry *e = &m->entries[i];

		if (e->ballot >= p->ballot)
			return false;
		if (e->slot > p->memory->chosen && !paxos_log_has_place(p, e->slot))
			return false;
	}
	return true;
}

/* Phase 2a wants "the value of the highest-numbered proposal among the responses". */
static void keep_highest(struct paxos *p, const struct paxos_entry *e)
{
	unsigned at = e->slot % PAXOS_WINDOW_MAX;
	struct paxos_found *found = &p->found[at];

	if (e->slot <= p->memory->chosen || (found->slot == e->slot && (found->ballot >= e->ballot || MUTANT(154))))
		return;
	*found = (struct paxos_found){ .slot = e->slot, .ballot = e->ballot, .len = e->len, .kind = e->kind };
	if (e->len)
		memcpy(p->found_values + (uint64_t)at * p->config.value_max, e->bytes, e->len);
}

/* Only promises of the ballot we prepare now count, each voter's once. */
void paxos_on_promise(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m)
{
	struct paxos *p = s->p;
	uint32_t vote = 1u << paxos_voter(p, from);

	if (p->role != PAXOS_PREPARING || (m->ballot != p->ballot && !MUTANT(131)) || (p->votes & vote))
		return;
	if (!promise_makes_sense(p, m))
		return;
	for (uint32_t i = 0; i < m->n_entries; i++)
		keep_highest(p, &m->entries[i]);
	p->votes |= MUTANT(133) ? p->votes + 1 : vote;
	if (paxos_is_majority(p, p->votes))
		paxos_take_office(s);
}

/* While our lease stands nobody else can have won: a candidate that could not win has promised itself a ballot
 * above ours and refuses our heartbeats for it. Every promise is still to us, so we may have the office again in a
 * ballot that it follows, and it would be wrong to leave it empty for a lease. */
static void stand_again(struct paxos_stepping *s, bool had_lease, bool lags)
{
	struct paxos *p = s->p;

	if (had_lease)
		p->election_at_ns = s->now_ns;
	else /* a lease in the way, or a rival */
		paxos_ask_again_within(s, lags ? p->config.heartbeat_ns : p->config.leader_lease_ns / 4);
}

void paxos_on_refused(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m)
{
	struct paxos *p = s->p;
	bool ours = p->role != PAXOS_FOLLOWER && m->ballot == p->ballot, had_lease = paxos_has_lease(p, s->now_ns);

	if (ours)
		paxos_catch_up(s, from, m->chosen);
	paxos_meet_ballot(s, m->promised);
	if (ours && p->role != PAXOS_LEADING)
		stand_again(s, had_lease, m->chosen > p->memory->chosen);
}

void paxos_election_tick(struct paxos_stepping *s)
{
	if (s->p->role == PAXOS_LEADING || s->now_ns < s->p->election_at_ns)
		return;
	if (s->p->config.votes)
		ask(s);
	else
		paxos_step_down(s);
}

void paxos_election_peer_up(struct paxos_stepping *s, uint16_t host)
{
	struct paxos *p = s->p;

	if (paxos_voter(p, host) < 0)
		return;
	if (p->role == PAXOS_ASKING)
		say_candidacy(s, host, PAXOS_PREVOTE);
	if (p->role == PAXOS_PREPARING)
		say_candidacy(s, host, PAXOS_PREPARE);
}
