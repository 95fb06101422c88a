/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "roles.h"

/* A leader gives its office to a voter of its choice.
 *
 * Safe whatever is lost, doubled or late: when MOVE is said, nobody has a lease in its ballot or a lower one. The
 * sender has ended its own for good, and any older leader's was over when this ballot was won. So a voter that
 * has promised no higher ballot may drop its lease promise, whosesoever it is. Who knows a higher one keeps it: there
 * the same life may lead again. For the same reason the successor's PREPARE may pass the MOVE on, which often
 * overtakes it. */

int paxos_may_hand_over(const struct paxos *p, uint16_t to, uint64_t now_ns)
{
	int voter = paxos_voter(p, to);

	if (voter < 0 || to == p->config.self)
		return -EINVAL;
	if (!paxos_in_office(p))
		return -EAGAIN;
	if (!p->heard_ns[voter] || now_ns - p->heard_ns[voter] >= p->config.leader_lease_ns)
		return -EHOSTUNREACH;
	return 0;
}

/* Our own voice is what a list of three needs beside the successor's, so it is free at once. We ourselves wait like
 * one that has just heard a leader. */
void paxos_hand_over(struct paxos_stepping *s, uint16_t to)
{
	struct paxos *p = s->p;
	struct paxos_message *m;

	if (paxos_may_hand_over(p, to, s->now_ns) < 0)
		return;
	m = paxos_say(s, PAXOS_TO_VOTERS, PAXOS_MOVE);
	m->ballot = p->ballot;
	m->slot = to;
	paxos_step_down(s);
	ASSERT(p->memory->lease_life == p->config.life);
	paxos_log_end_lease(p);
}

void paxos_on_move(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m)
{
	struct paxos *p = s->p;

	if (m->ballot < p->memory->promised)
		return;
	paxos_step_down(s);
	p->seen_ballot = MAX(p->seen_ballot, m->ballot);
	if (!p->config.votes)
		return;
	paxos_log_end_lease(p);
	if (m->slot == p->config.self) {
		p->call_ballot = m->ballot;
		p->call_slot = m->chosen;
		p->fetch_at_ns = 0;
		paxos_catch_up(s, from, m->chosen);
	} else {
		paxos_ask_again_within(s, p->config.leader_lease_ns);
	}
}

void paxos_answer_call(struct paxos_stepping *s)
{
	struct paxos *p = s->p;

	if (p->role == PAXOS_FOLLOWER && p->call_ballot && p->memory->chosen >= p->call_slot)
		paxos_stand_for(s, p->call_ballot);
}
