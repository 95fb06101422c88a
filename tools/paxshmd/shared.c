/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shared: a lock that this host has in PR, as other hosts may at the same time. The agent owns its gate meanwhile; claims
 * own the lock, so all of them can be counted again after any death.
 *
 * Nobody is let in ahead of one who waits to have it alone: claims are taken from the queue in order, as far as the first that
 * wants EX, or that is younger than somebody at the gate, or than another host that waits (what waits there
 * behind a shared lock wants EX). When the last of those who share has left, the lock goes back, and is asked for
 * anew in the mode that the next one wants.
 */
#include "inside.h"

#define CHANGE(lvalue, value) SET(&a->undo, lvalue, value)

struct owner shared_owner(const struct agent *a, uint32_t i)
{
	const struct line *l = &a->m.lines[i];

	if (!l->sharers)
		return (struct owner){ .host = a->config.self };
	const struct claim *c = &a->m.claims[l->sharers];
	const struct session_record *s = &a->m.sessions[c->session];
	return (struct owner){
		.host = a->config.self,
		.pid = s->identity.pid,
		.session = c->session,
		.start = s->identity.start,
		.token = c->token,
	};
}

/* Whether the oldest claim may come in now. */
static bool may_share(struct agent *a, uint32_t i)
{
	const struct line *l = line_of(a, i);
	const struct claim *c = l->head ? claim_of(a, l->head) : NULL;
	uint64_t since_ns = c ? agent_monotonic_ns(a, c->since_ns) : 0;
	uint32_t record = gate_oldest_waiter(a, i);

	if (!c || c->mode != LOCK_MODE_PR || l->shared == LOCK_SHARED_RANGE)
		return false;
	if (record && atom_load_relaxed(&a->gates.records[record].since_ns) < since_ns)
		return false;
	return !l->remote_since_ns || !l->shared || since_ns <= l->remote_since_ns;
}

static void share(struct agent *a, uint32_t i)
{
	struct line *l = line_of(a, i);
	uint32_t first = l->head;
	struct ring_completion completion = { 0 };
	struct claim *c = claim_of(a, first);

	claim_leave(a, first);
	claim_share(a, first);
	CHANGE(c->token, l->base + l->shared);
	CHANGE(l->shared, l->shared + 1);
	completion.claim = (uint64_t)c->gen << 32 | first;
	completion.token = c->token;
	completion.flags = gate_flags(gate_word_of(a, i)) & GATE_DIED ? COMPLETION_DIED : 0;
	a->tables->grants++;
	line_answer(a, first, &completion);
	agent_commit(a);
}

bool shared_settle(struct agent *a, uint32_t i)
{
	struct line *l = line_of(a, i);

	gate_note_hosts(a, i);
	agent_commit(a);
	if (!lease_valid(a))
		return true; /* looked at again when it is renewed */
	for (unsigned n = 0; may_share(a, i); n++) {
		if (n == GROUP_CLAIMS) { /* others' turn */
			line_later(a, i);
			a->more_dirty = true;
			return true;
		}
		share(a, i);
	}
	if (l->sharers) {
		line_tries_refused(a, i);
		agent_commit(a);
		return true;
	}
	if (!l->head && !gate_has_waiters(a, i) && !l->remote_since_ns && !l->wanted && keep_pays(a, l))
		return true;
	bool used_again = l->shared > 1, taken_away = l->remote_since_ns != 0;

	/* The flag is the row's: nobody who shares has cleared it, or set it. */
	if (!line_give_back(a, i, 0, false))
		return false;
	keep_ends(a, l, used_again, taken_away);
	a->tables->revocations += taken_away;
	agent_commit(a);
	return true;
}
