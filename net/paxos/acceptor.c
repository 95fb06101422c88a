/* SPDX-License-Identifier: Apache-2.0 */
#include "roles.h"
#include "../../lib/mutant.h"

/* What a voter answers. Hosts that do not vote come here only to hear BEAT. */

static void refuse(struct paxos_stepping *s, uint16_t from, uint64_t ballot)
{
	struct paxos_message *answer;

	if (!s->p->config.votes)
		return;
	answer = paxos_say(s, from, PAXOS_REFUSED);
	answer->ballot = ballot;
	answer->promised = s->p->memory->promised;
	s->p->refused++;
}

bool paxos_lease_forbids(const struct paxos_stepping *s, uint64_t life)
{
	const struct paxos_memory *memory = s->p->memory;

	return s->now_ns < memory->lease_until_ns && life != memory->lease_life && !MUTANT(201);
}

/* Would we promise? Nothing is promised by the answer, and nothing remembered. */
void paxos_on_prevote(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m)
{
	const struct paxos_memory *memory = s->p->memory;
	struct paxos_message *answer;

	if (!s->p->config.votes)
		return;
	answer = paxos_say(s, from, PAXOS_PREVOTED);
	answer->ballot = m->ballot;
	answer->promised = memory->promised;
	answer->flag = m->ballot > memory->promised && m->chosen >= memory->chosen &&
		       !paxos_lease_forbids(s, m->life);
}

/* Did the leader of what we promised last hand over to the asker? Then no lease rests on our promise any more:
 * not its own, nor an older one, which was over when its ballot was won (handover.c). */
static bool is_successor(const struct paxos *p, const struct paxos_message *m)
{
	return m->flag && m->promised >= p->memory->promised;
}

/* Phase 1b: "if n is greater than that of any prepare request to which it has already responded, it
 * responds with a promise not to accept any more proposals numbered less than n and with the
 * highest-numbered proposal that it has accepted" - for each slot that the asker does not know. An asker
 * who knows less than we do is refused, so that the answer is never more than a window. */
void paxos_on_prepare(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m)
{
	struct paxos *p = s->p;
	struct paxos_message *answer;

	if (!p->config.votes)
		return;
	if (m->ballot <= p->memory->promised || m->chosen < p->memory->chosen ||
	    (paxos_lease_forbids(s, m->life) && !is_successor(p, m))) {
		p->seen_ballot = MAX(p->seen_ballot, m->ballot);
		refuse(s, from, m->ballot);
		return;
	}
	paxos_step_down(s); /* whatever we followed or led has lost our promise */
	p->seen_ballot = MAX(p->seen_ballot, m->ballot);
	paxos_log_promise(p, m->ballot);
	answer = paxos_say(s, from, PAXOS_PROMISE);
	answer->ballot = m->ballot;
	for (uint64_t i = 1; i <= p->config.window; i++) {
		uint64_t slot = p->memory->chosen + i;

		if (slot > m->chosen && paxos_log_find(p, slot))
			paxos_attach(s, answer, slot);
	}
}

/* Is a slot that we know to be chosen as good as accepted in this ballot? Our entry's ballot is not below
 * the one the choice fell in, so what a ballot from there on proposes is the same value; below, or when the
 * entry has left the log, the asker may hold another, and must not count us. */
static bool chosen_means_accepted(const struct paxos *p, uint64_t slot, uint64_t ballot)
{
	const struct paxos_slot *known = paxos_log_find(p, slot);

	return known ? known->ballot <= ballot : MUTANT(141);
}

/* In a list of three, the leader's acceptance and ours are a majority. */
static bool learns_early(const struct paxos *p, const struct paxos_message *m)
{
	return p->config.n_voters == 3 && p->config.votes && m->flag;
}

static void accept(struct paxos *p, const struct paxos_message *m)
{
	struct paxos_entry entry = m->entries[0];

	entry.ballot = m->ballot;
	paxos_log_store(p, &entry);
	if (learns_early(p, m))
		paxos_log_choose(p, entry.slot);
}

/* Phase 2b: "it accepts the proposal unless it has already responded to a prepare request having a
 * number greater than n". */
void paxos_on_accept(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m)
{
	struct paxos *p = s->p;
	uint64_t slot = m->entries[0].slot;
	struct paxos_message *answer;

	if (!p->config.votes)
		return;
	if (m->ballot < p->memory->promised && !MUTANT(143)) {
		refuse(s, from, m->ballot);
		return;
	}
	paxos_hear_leader(s, from, m->ballot);
	paxos_learn_up_to(p, m->ballot, m->chosen);
	if (paxos_log_has_place(p, slot)) {
		accept(p, m);
	} else if (slot > p->memory->chosen) { /* too far ahead of us */
		paxos_catch_up(s, from, m->chosen);
		return;
	} else if (!chosen_means_accepted(p, slot, m->ballot)) {
		refuse(s, from, m->ballot);
		return;
	}
	answer = paxos_say(s, from, PAXOS_ACCEPTED);
	answer->ballot = m->ballot;
	answer->slot = slot;
	paxos_catch_up(s, from, m->chosen);
}

/* "From when it received it": `now` is not before that. What was promised to another life is replaced although
 * it may not have run out here: this ballot was won from a majority whose promises had, in which stands one of
 * every majority that the other could have had its lease from. So that lease is over. */
static void promise_lease(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m)
{
	struct paxos *p = s->p;
	struct paxos_message *answer = paxos_say(s, from, PAXOS_BEATEN);

	paxos_log_lease(p, s->now_ns + p->config.leader_lease_ns, m->life);
	answer->ballot = m->ballot;
	answer->stamp = m->stamp;
}

void paxos_on_beat(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m)
{
	struct paxos *p = s->p;

	if (m->ballot < p->memory->promised) {
		refuse(s, from, m->ballot);
		return;
	}
	paxos_hear_leader(s, from, m->ballot);
	paxos_learn_up_to(p, m->ballot, m->chosen);
	if (!m->flag) /* all else it may say and hear no answer */
		paxos_wait_for_leader(p, s->now_ns);
	if (p->config.votes && !m->flag)
		promise_lease(s, from, m);
	paxos_catch_up(s, from, m->chosen);
}
