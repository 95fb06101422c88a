/* SPDX-License-Identifier: Apache-2.0 */
#include "roles.h"

#define ROUND_MAX (UINT64_MAX >> 17) /* more elections than will ever be: a ballot above is nonsense */

uint64_t paxos_scratch_size(const struct paxos_config *config)
{
	return (uint64_t)PAXOS_WINDOW_MAX * config->value_max;
}

static void assert_sane(const struct paxos_config *c)
{
	ASSERT(c->self != 0);
	ASSERT(c->self < PAXOS_TO_ALL);
	ASSERT(c->n_voters % 2 == 1);
	ASSERT(c->n_voters <= PAXOS_VOTERS_MAX);
	ASSERT(c->window >= 1);
	ASSERT(c->window <= PAXOS_WINDOW_MAX);
	ASSERT(c->log_slots >= 2 * c->window);
	ASSERT((c->log_slots & (c->log_slots - 1)) == 0);
	ASSERT(c->value_max % 8 == 0);
	ASSERT(c->value_max >= PAXOS_LEADS_SIZE);
	ASSERT(c->heartbeat_ns >= 2);
	ASSERT(c->leader_lease_ns >= 3 * c->heartbeat_ns);
	ASSERT(c->drift_ppm <= 100000);
	ASSERT(c->life != 0);
	for (uint32_t i = 0; i < c->n_voters; i++) {
		ASSERT(c->voters[i] != 0);
		for (uint32_t j = 0; j < i; j++)
			ASSERT(c->voters[i] != c->voters[j]);
	}
}

void paxos_init(struct paxos *p, const struct paxos_config *config, struct paxos_memory *memory, void *scratch,
		struct undo *undo, bool was_leader, uint64_t now_ns)
{
	assert_sane(config);
	ASSERT(memory->log_slots == config->log_slots);
	ASSERT(memory->value_max == config->value_max);
	*p = (struct paxos){ .config = *config, .memory = memory, .undo = undo, .found_values = scratch, .seen_ballot = memory->promised };
	ASSERT(!config->votes || paxos_voter(p, config->self) >= 0);
	p->random = hash_mix(config->seed ^ hash_mix(config->self));
	paxos_wait_for_leader(p, now_ns);
	if (config->votes && (was_leader || config->n_voters == 1))
		p->election_at_ns = now_ns;
}

/* ---- what every role says and counts with ---- */

unsigned paxos_room(const struct paxos_stepping *s)
{
	return PAXOS_SENDS_MAX - s->out->n_sends;
}

struct paxos_message *paxos_say(struct paxos_stepping *s, uint16_t to, enum paxos_message_kind kind)
{
	struct paxos_send *send = &s->out->sends[s->out->n_sends];

	ASSERT(paxos_room(s) > 0);
	ASSERT(to != s->p->config.self);
	s->out->n_sends++;
	*send = (struct paxos_send){ .to = to, .message = { .kind = kind } };
	return &send->message;
}

void paxos_attach(struct paxos_stepping *s, struct paxos_message *m, uint64_t slot)
{
	ASSERT(s->n_entries < ARRAY_LEN(s->out->entries));
	if (!m->n_entries)
		m->entries = &s->out->entries[s->n_entries];
	ASSERT(m->entries + m->n_entries == &s->out->entries[s->n_entries]);
	s->out->entries[s->n_entries++] = paxos_log_entry(s->p, slot);
	m->n_entries++;
}

int paxos_voter(const struct paxos *p, uint16_t host)
{
	for (uint32_t i = 0; i < p->config.n_voters; i++)
		if (p->config.voters[i] == host)
			return (int)i;
	return -1;
}

uint32_t paxos_own_vote(const struct paxos *p)
{
	ASSERT(p->config.votes);
	return 1u << paxos_voter(p, p->config.self);
}

bool paxos_is_majority(const struct paxos *p, uint32_t votes)
{
	uint32_t n = 0;

	for (; votes; votes &= votes - 1) /* takes away the lowest bit */
		n++;
	return 2 * n > p->config.n_voters;
}

/* ---- what comes from a peer is looked at before anybody acts on it ---- */

enum speaker {
	ANYBODY,
	VOTER,
	OWNER_OF_BALLOT, /* the host that the message's ballot names */
};

static const struct {
	void (*handle)(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m);
	enum speaker speaker;
	uint32_t entries_min, entries_max;
	bool names_life;
} messages[] = {
	[PAXOS_PREVOTE] = { paxos_on_prevote, OWNER_OF_BALLOT, 0, 0, true },
	[PAXOS_PREVOTED] = { paxos_on_prevoted, VOTER, 0, 0, false },
	[PAXOS_PREPARE] = { paxos_on_prepare, OWNER_OF_BALLOT, 0, 0, true },
	[PAXOS_PROMISE] = { paxos_on_promise, VOTER, 0, PAXOS_WINDOW_MAX, false },
	[PAXOS_ACCEPT] = { paxos_on_accept, OWNER_OF_BALLOT, 1, 1, false },
	[PAXOS_ACCEPTED] = { paxos_on_accepted, VOTER, 0, 0, false },
	[PAXOS_REFUSED] = { paxos_on_refused, VOTER, 0, 0, false },
	[PAXOS_LEARN] = { paxos_on_learn, ANYBODY, 1, 1, false },
	[PAXOS_BEAT] = { paxos_on_beat, OWNER_OF_BALLOT, 0, 0, true },
	[PAXOS_BEATEN] = { paxos_on_beaten, VOTER, 0, 0, false },
	[PAXOS_FETCH] = { paxos_on_fetch, ANYBODY, 0, 0, false },
	[PAXOS_MOVE] = { paxos_on_move, OWNER_OF_BALLOT, 0, 0, false },
};

static bool ballot_makes_sense(const struct paxos *p, uint64_t ballot)
{
	uint64_t round = ballot >> 16;

	return round > 0 && round < ROUND_MAX && paxos_voter(p, paxos_ballot_host(ballot)) >= 0;
}

static bool length_makes_sense(const struct paxos *p, uint8_t kind, uint32_t len)
{
	switch (kind) {
	case PAXOS_NOOP:
		return len == 0;
	case PAXOS_LEADS:
		return len == PAXOS_LEADS_SIZE;
	default:
		return kind == PAXOS_COMMANDS && len <= p->config.value_max;
	}
}

static bool entry_makes_sense(const struct paxos *p, const struct paxos_entry *e)
{
	return e->slot > 0 && e->slot < UINT64_MAX - 2 * PAXOS_WINDOW_MAX && ballot_makes_sense(p, e->ballot) &&
	       length_makes_sense(p, e->kind, e->len);
}

static bool may_speak(const struct paxos *p, uint16_t from, const struct paxos_message *m)
{
	if (from == p->config.self)
		return false;
	if (messages[m->kind].speaker == ANYBODY)
		return true;
	if (!ballot_makes_sense(p, m->ballot) || paxos_voter(p, from) < 0)
		return false;
	return messages[m->kind].speaker == VOTER || paxos_ballot_host(m->ballot) == from;
}

static bool makes_sense(const struct paxos *p, const struct paxos_message *m)
{
	if (m->kind >= ARRAY_LEN(messages) || !messages[m->kind].handle)
		return false;
	if (m->n_entries < messages[m->kind].entries_min || m->n_entries > messages[m->kind].entries_max)
		return false;
	if (m->promised && !ballot_makes_sense(p, m->promised))
		return false;
	if (messages[m->kind].names_life && m->life == 0)
		return false;
	for (uint32_t i = 0; i < m->n_entries; i++)
		if (!entry_makes_sense(p, &m->entries[i]))
			return false;
	return true;
}

/* ---- the step ---- */

static void on_message(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m)
{
	if (makes_sense(s->p, m) && may_speak(s->p, from, m))
		messages[m->kind].handle(s, from, m);
}

static void on_propose(struct paxos_stepping *s, const void *bytes, uint32_t len)
{
	ASSERT(len <= s->p->config.value_max);
	if (paxos_can_propose(s->p))
		paxos_propose(s, PAXOS_COMMANDS, bytes, len);
}

/* Whoever led stops: it has skipped slots without knowing their ballots, and what it says as a leader about
 * "chosen" must be about values of its own ballot or older ones. */
static void on_installed(struct paxos_stepping *s, uint64_t slot)
{
	if (slot <= s->p->memory->chosen)
		return;
	if (s->p->role != PAXOS_FOLLOWER)
		paxos_step_down(s);
	paxos_log_restart(s->p, slot);
	s->p->fetch_at_ns = 0;
}

static void on_event(struct paxos_stepping *s, const struct paxos_event *event)
{
	switch (event->kind) {
	case PAXOS_EVENT_TIME:
		break;
	case PAXOS_EVENT_MESSAGE:
		on_message(s, event->from, event->message);
		break;
	case PAXOS_EVENT_PROPOSE:
		on_propose(s, event->bytes, event->len);
		break;
	case PAXOS_EVENT_PEER_UP:
		paxos_leader_peer_up(s, event->from);
		paxos_election_peer_up(s, event->from);
		break;
	case PAXOS_EVENT_INSTALLED:
		on_installed(s, event->slot);
		break;
	case PAXOS_EVENT_RESIGN:
		if (s->p->role != PAXOS_FOLLOWER)
			paxos_step_down(s);
		break;
	case PAXOS_EVENT_HAND_OVER:
		paxos_hand_over(s, event->from);
		break;
	}
}

void paxos_step(struct paxos *p, const struct paxos_event *event, struct paxos_update *ret)
{
	struct paxos_stepping s = { .p = p, .now_ns = event->now_ns, .out = ret };
	uint64_t followed = p->leader_ballot, promised = p->memory->promised, chosen = p->memory->chosen;

	ret->n_sends = 0;
	ret->snapshot_to = 0;
	paxos_leader_expire(&s);
	on_event(&s, event);
	paxos_leader_tick(&s);
	paxos_answer_call(&s);
	paxos_election_tick(&s);
	for (unsigned i = 0; i < ret->n_sends; i++) /* the newest we know, now that all is done */
		ret->sends[i].message.chosen = p->memory->chosen;
	ret->leader_changed = p->leader_ballot != followed;
	if (p->role == PAXOS_LEADING)
		paxos_leader_expire(&s); /* a lone voter's lease begins with its office */
	ret->wake_at_ns = p->role == PAXOS_LEADING ? p->heartbeat_at_ns : p->election_at_ns;
	ASSERT(p->memory->promised >= promised);
	ASSERT(p->memory->chosen >= chosen);
	ASSERT(p->role < PAXOS_PREPARING || p->memory->promised == p->ballot);
	ASSERT(p->role != PAXOS_LEADING || p->memory->lease_life == p->config.life);
	ASSERT(p->role != PAXOS_LEADING || p->config.n_voters == 1 || p->memory->lease_until_ns >= p->lease_until_ns);
}
