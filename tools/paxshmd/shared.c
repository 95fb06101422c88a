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
#include "../../lib/mutant.h"

#include <errno.h>

#define CHANGE(lvalue, value) SET(&a->undo, lvalue, value)

/* ---- who waited behind those who share, to have it alone, does so no more ---- */

void shared_left_elsewhere(struct agent *a, const struct command *c)
{
	uint32_t i = line_find(a, c->key, c->key_len, hash_bytes(0, c->key, c->key_len));

	if (i && line_of(a, i)->state == LINE_OURS && line_of(a, i)->mode == LOCK_MODE_PR)
		line_settle(a, i);
}

/* What ended lives had of these rows is gone. Looked at even when this sweep changed nothing: their places in queues may have
 * gone before, unseen, with the release of another host. */
void shared_swept(struct agent *a, const struct command *c)
{
	uint32_t end = MIN(a->tables->agreed.rows_high, c->row + SWEEP_ROWS - 1);

	for (uint32_t row = c->row; row <= end; row++) {
		uint8_t key[KEY_MAX];
		uint32_t len, i;

		if (!tables_row(a->tables, row)->key_len || table_value(a->tables, row).mode != LOCK_MODE_PR)
			continue;
		len = table_key(a->tables, row, key);
		i = line_find(a, key, len, hash_bytes(0, key, len));
		if (i && line_of(a, i)->state == LINE_OURS && line_of(a, i)->head)
			line_settle(a, i);
	}
}

/* ---- who shares ---- */

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
	if (record && atom_load_relaxed(&a->gates.records[record].since_ns) < since_ns && !MUTANT(286))
		return false;
	return !l->remote_since_ns || !l->shared || since_ns <= l->remote_since_ns || MUTANT(285);
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

/* The oldest claim only tries to have it alone, while others share it: it stands in nobody's way. */
static bool tries_in_vain(struct agent *a, uint32_t i)
{
	const struct line *l = line_of(a, i);

	return l->sharers && l->head && claim_of(a, l->head)->mode != LOCK_MODE_PR && claim_of(a, l->head)->flags & REQUEST_TRY;
}

static void refuse(struct agent *a, uint32_t i)
{
	struct owner owner = shared_owner(a, i);

	claim_answer(a, line_of(a, i)->head, -EBUSY, &owner);
	agent_commit(a);
}

bool shared_settle(struct agent *a, uint32_t i)
{
	struct line *l = line_of(a, i);

	gate_note_hosts(a, i);
	agent_commit(a);
	if (!lease_valid(a) && !MUTANT(262))
		return true; /* looked at again when it is renewed */
	for (unsigned n = 0; may_share(a, i) || tries_in_vain(a, i); n++) {
		if (n == GROUP_CLAIMS) { /* others' turn */
			line_later(a, i);
			a->more_dirty = true;
			return true;
		}
		if (tries_in_vain(a, i))
			refuse(a, i);
		else
			share(a, i);
	}
	if (l->sharers && !(MUTANT(284) && l->remote_since_ns)) {
		line_tries_refused(a, i);
		agent_commit(a);
		if (l->head && gate_has_waiters(a, i))
			gate_watch(a, i); /* who waits there may leave without a word, or die: then those behind him may come in */
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
