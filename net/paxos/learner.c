/* SPDX-License-Identifier: Apache-2.0 */
#include "roles.h"
#include "../../lib/mutant.h"

/* How a host finds out what was chosen.
 *
 * What all rules here keep: the entry of a slot known to be chosen carries a ballot that is not below the
 * one in which the choice fell. From there on every ballot proposes that value, so such entries may be
 * passed on, promised and compared like acceptances. */

#define FETCH_BYTES (256u * 1024) /* about so much is answered to one FETCH */

/* The sender led this ballot and knew these slots as chosen, so if we accepted one of them in the same
 * ballot, ours is that value. Of another ballot's entry it says nothing. */
void paxos_learn_up_to(struct paxos *p, uint64_t ballot, uint64_t chosen)
{
	while (p->memory->chosen < chosen) {
		uint64_t slot = p->memory->chosen + 1;
		const struct paxos_slot *at = paxos_log_find(p, slot);

		if (!at || (at->ballot != ballot && !MUTANT(152)))
			return;
		paxos_log_choose(p, slot);
	}
}

void paxos_catch_up(struct paxos_stepping *s, uint16_t host, uint64_t chosen)
{
	struct paxos *p = s->p;

	if (chosen <= p->memory->chosen || s->now_ns < p->fetch_at_ns)
		return;
	p->fetch_at_ns = s->now_ns + p->config.heartbeat_ns;
	paxos_say(s, host, PAXOS_FETCH)->slot = p->memory->chosen + 1;
}

/* Keeps a chosen value. Its ballot counts as promised from now on: a leader of an older one may be asking
 * for another value in this slot, and must not hear that we "have" it. */
static void keep(struct paxos_stepping *s, const struct paxos_entry *e)
{
	struct paxos *p = s->p;

	paxos_meet_ballot(s, e->ballot);
	if (p->role == PAXOS_LEADING && e->slot >= p->next_slot)
		paxos_step_down(s); /* chosen without us: we lead no longer */
	paxos_log_promise(p, e->ballot);
	paxos_log_store(p, e);
	paxos_log_choose(p, e->slot);
}

void paxos_on_learn(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m)
{
	struct paxos *p = s->p;
	uint64_t before = p->memory->chosen;

	if (paxos_log_has_place(p, m->entries[0].slot))
		keep(s, &m->entries[0]);
	if (!p->config.votes && from == p->leader) {
		p->leader_heard_ns = s->now_ns;
		paxos_wait_for_leader(p, s->now_ns);
	}
	if (m->flag && p->memory->chosen > before)
		p->fetch_at_ns = 0; /* the answer is complete and has helped: ask on at once */
	paxos_catch_up(s, from, m->chosen);
}

void paxos_on_fetch(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m)
{
	struct paxos *p = s->p;
	struct paxos_message *learn = NULL;
	uint64_t slot = m->slot, bytes = 0;

	if (slot == 0)
		return;
	if (slot <= p->memory->base) {
		s->out->snapshot_to = from;
		return;
	}
	for (unsigned n = 0; slot <= p->memory->chosen && n < PAXOS_FETCH_MAX; n++, slot++) {
		bytes += paxos_log_find(p, slot)->len;
		if (n && bytes > FETCH_BYTES)
			break;
		learn = paxos_say(s, from, PAXOS_LEARN);
		paxos_attach(s, learn, slot);
	}
	if (learn)
		learn->flag = true;
}
