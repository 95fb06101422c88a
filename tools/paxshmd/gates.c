/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gates: a lock that is delegated to this host is opened to its sessions, given to one of them, and got back.
 *
 * While a line is OURS its gate's word alone says who owns the lock (shm/gate.h): a session, nobody, or the agent. Sessions
 * pass it among themselves; the agent comes in where somebody waits whom the gate does not know: a claim of a session
 * that came through the ring, or another host.
 *
 * Order, so that a successor of a killed agent finds nothing done twice:
 *   - a gate is opened, or given to a session, only when the line's state says so and that is committed, and never inside a
 *     group of something else: gate_settle() is called between groups;
 *   - who is to be given the gate stands in the line before (`given`), so that a successor gives it to the same;
 *   - a gate may be closed at any time: whoever finds it closed opens it again, as long as the line is OURS;
 *   - RELEASE is issued when the agent owns the word and has closed it once more, so that nobody helps himself to it by a
 *     choice that a predecessor left half made; and with it the line is no longer OURS: that delegation is over here,
 *     whatever comes of it.
 *
 * Passing while another host waits is bounded (cohort locks: Dice, Marathe, Shavit 2012, section 2.2): who waits here for
 * longer than it, at most handover_max of them, and for at most handover_ns; then the lock goes back. The first owner of a
 * delegation is always let in.
 *
 * What stands in the arena may have been written by a process gone mad. Nothing here believes it: a count out of range ends
 * the delegation, an owner that is no session is taken for a dead one, a line that makes no sense is cut.
 */
#include "inside.h"
#include "../../lib/mutant.h"

#include <syslog.h>

#define CHANGE(lvalue, value) SET(&a->undo, lvalue, value)
#define SETTLE_ROUNDS 64u /* of one gate in one turn; then the others' turn comes first */
#define LAPSES 1024u      /* tries to end what a session owns while sessions go on handing it to each other */
#define IN_VAIN 2u        /* times that a gate which the agent has, or nobody, is not to be got in one turn */
#define WATCH_MAX_NS NS_PER_S
#define NONSENSE_SAID 16u /* in one step: a program may write over every gate there is */
#define ONE_USE 4u        /* counts that a delegation takes for one use: closed, given, closed to get it back, and to end it */

bool gate_session_owns(uint64_t word)
{
	return gate_owner(word) != 0 && gate_owner(word) != GATE_AGENT;
}

static uint32_t range_of(const struct agent *a)
{
	return a->config.range ? a->config.range : LOCK_RANGE;
}

uint32_t gate_used(const struct agent *a, uint32_t i)
{
	uint32_t used = gate_count(gate_word_of(a, i)) - gate_terms_of(a, i)->opened_at;

	return MIN(used, LOCK_RANGE); /* more only if somebody wrote over it */
}

struct owner gate_owner_now(const struct agent *a, uint32_t i)
{
	uint64_t word = gate_word_of(a, i);
	uint32_t slot = gate_owner(word);
	struct owner o = { .host = a->config.self };

	if (!gate_session_owns(word) || slot > a->m.p->n_sessions)
		return o;
	const struct session_record *s = &a->m.sessions[slot];
	o.pid = s->identity.pid;
	o.session = slot;
	o.start = s->identity.start;
	o.token = gate_terms_of(a, i)->base + (gate_count(word) - gate_terms_of(a, i)->opened_at) - 1;
	return o;
}

/* The delegation is over here. No token is in range any more: who finds the gate open because somebody has written over it
 * declines. */
void gate_terms_end(struct agent *a, uint32_t i)
{
	atom_store_relaxed(&gate_terms_of(a, i)->range, 0u);
	atom_store_release(&gate_terms_of(a, i)->delegation, (uint64_t)0);
}

/* ---- another host asks ---- */

void gate_asked_elsewhere(struct agent *a, const struct command *c)
{
	uint64_t hash = hash_bytes(0, c->key, c->key_len);
	uint32_t i = line_find(a, c->key, c->key_len, hash);

	keep_asked_elsewhere(a, hash);
	if (i && line_of(a, i)->state == LINE_OURS)
		line_settle(a, i);
}

/* ---- a delegation begins ---- */

/* The row tells this host's programs which gate it is. */
static void show_gate(struct agent *a, uint32_t i, uint32_t row)
{
	struct lock_value v = table_value(a->tables, row);

	v.gate = i;
	table_set(a->tables, &a->undo, row, &v);
}

/* false: somebody writes there all the time. */
static bool begin(struct agent *a, uint32_t i, bool died, uint32_t *ret_count)
{
	for (unsigned n = 0; n < AGAINS; n++) {
		enum gate_next next = gate_begin(&a->gates, i, died, ret_count);

		if (next == GATE_DONE)
			return true;
		if (next == GATE_LOST) /* no session can own it but one that wrote there */
			gate_lapse_line(a, i);
	}
	*ret_count = gate_count(gate_word_of(a, i));
	return false;
}

/* The terms may be written again by a successor: until this group is committed nobody was let in. Where it cannot be begun no
 * token is in range: it is given back. */
void gate_delegated(struct agent *a, uint32_t i, uint32_t row)
{
	struct line *l = line_of(a, i);
	struct gate_terms *t = gate_terms_of(a, i);
	struct lock_hold hold;
	uint32_t count = 0;

	ASSERT(lock_table_hold(a->tables, row, a->config.self, &hold));
	if (hold.mode == LOCK_MODE_EX)
		show_gate(a, i, row);
	if (l->state == LINE_OURS && l->delegation == hold.delegation)
		return; /* a copy of the tables came */
	bool begun = begin(a, i, hold.died, &count);
	undo_save(&a->undo, l, LINE_HEAD);
	l->state = LINE_OURS;
	l->mode = hold.mode;
	l->delegation = hold.delegation;
	l->base = hold.base;
	l->remote_since_ns = 0;
	l->wanted = l->queued = 0;
	l->full = l->shared = 0;
	atom_store_relaxed(&t->incarnation, hold.incarnation);
	atom_store_relaxed(&t->base, hold.base);
	atom_store_relaxed(&t->opened_at, count);
	atom_store_relaxed(&t->range, begun ? MIN(range_of(a), hold.range) : 0);
	if (hold.mode == LOCK_MODE_EX)
		atom_store_release(&t->delegation, hold.delegation);
	keep_begins(a, l);
}

/* The gate is no key's any more, or another's. Whoever still has it in mind for the one before sees that it is not his; and
 * who stands there already is sent away. The count goes on: it rises for ever. */
void gate_new_key(struct agent *a, uint32_t i)
{
	struct gate_terms *t = gate_terms_of(a, i);

	gate_terms_end(a, i);
	atom_store_relaxed(&gate_terms_of(a, i)->revoked, 0u);
	atom_store_seq_cst(&t->serial, t->serial + 1);
	atom_fence_seq_cst(); /* pairs with the arriver's: it pushes, then reads the serial */
	a->last_count[i] = 0;
	if (gate_top(gate_word_of(a, i)))
		gate_send_away(a, i);
}

/* ---- closing, and looking again ---- */

void gate_watch(struct agent *a, uint32_t i)
{
	if (a->is_watched[i])
		return;
	a->is_watched[i] = 1;
	a->watched[a->n_watched++] = i;
	a->watch_at_ns = MIN(a->watch_at_ns, a->now_ns + a->watch_ns);
}

/* A session has ended: it may have let go of any of these and not said so. They are looked at in this turn, and that look
 * does not count among those that were in vain. */
void gates_watch_now(struct agent *a)
{
	if (!a->n_watched)
		return;
	a->watch_at_ns = MIN(a->watch_at_ns, a->now_ns);
	a->watch_ns = MAX(a->watch_ns / 2, NS_PER_MS);
}

/* Notes since when other hosts wait. From then on the passing here has its bounds, whoever decides about it: a session
 * that releases while the gate is closing, or the agent. */
void gate_note_hosts(struct agent *a, uint32_t i)
{
	struct line *l = line_of(a, i);
	struct gate_terms *t = gate_terms_of(a, i);
	bool wait = line_hosts_waiting(a, l) != 0;

	if (wait && !l->remote_since_ns) {
		CHANGE(l->remote_since_ns, MAX(agent_monotonic_ns(a, a->now_ns), 1u));
		atom_store_relaxed(&t->closed_at, gate_count(gate_word_of(a, i)));
		atom_store_relaxed(&t->stop_at, gate_count(gate_word_of(a, i)) + a->config.handover_max);
		atom_store_relaxed(&t->stop_ns, l->remote_since_ns + a->config.handover_ns);
	} else if (!wait) {
		if (l->remote_since_ns)
			CHANGE(l->remote_since_ns, 0);
		atom_store_relaxed(&t->stop_at, gate_count(gate_word_of(a, i)) + LOCK_RANGE);
		atom_store_relaxed(&t->stop_ns, NEVER);
	}
}

/* Since when the oldest of those wait whom the gate does not know; NEVER: nobody does. */
static uint64_t waits_since_ns(struct agent *a, uint32_t i)
{
	const struct line *l = line_of(a, i);
	uint64_t since_ns = NEVER;

	gate_note_hosts(a, i);
	if (l->remote_since_ns)
		since_ns = l->remote_since_ns;
	if (l->n_blocking)
		since_ns = MIN(since_ns, agent_monotonic_ns(a, claim_of(a, l->head)->since_ns));
	return since_ns;
}

/* The gate is to come back to the agent; who waits there since before may still have it. Written before it is asked for;
 * afterwards it may be drawn tighter. */
enum gate_next gate_take_back(struct agent *a, uint32_t i, uint64_t since_ns)
{
	struct gate_terms *t = gate_terms_of(a, i);
	uint64_t word = gate_word_of(a, i);
	bool closing = gate_flags(word) & GATE_CLOSING;
	enum gate_next next = GATE_AGAIN;

	atom_store_relaxed(&t->remote_since_ns, closing ? MIN(since_ns, t->remote_since_ns) : since_ns);
	if (!closing)
		a->watch_ns = MAX(a->config.handover_ns, NS_PER_MS);
	for (unsigned n = 0; n < AGAINS; n++)
		if ((next = gate_close(&a->gates, i)) != GATE_AGAIN)
			break;
	if (next == GATE_DONE)
		return next;
	gate_watch(a, i); /* a session killed between letting go and saying so rings nobody */
	return GATE_WAITS;
}

/* ---- lines that make no sense ---- */

void gate_rouse_action(struct agent *a, uint32_t record)
{
	struct agent_action *action = agent_act(a, ACTION_ROUSE);

	if (action) /* else it looks by itself after a second at most */
		action->record = record;
}

static bool mend(struct agent *a, uint32_t i, uint32_t *ret_count)
{
	for (unsigned n = 0; n < AGAINS; n++) {
		enum gate_next next = gate_mend(&a->gates, i, ret_count);

		if (next == GATE_DONE)
			return true;
		if (next == GATE_LOST)
			gate_lapse_line(a, i);
	}
	return false;
}

static enum gate_next mend_record(struct agent *a, uint32_t r, uint32_t i, uint32_t count)
{
	enum gate_next next = GATE_AGAIN;

	for (unsigned n = 0; n < AGAINS && next == GATE_AGAIN; n++)
		next = gate_mend_record(&a->gates, r, i, count);
	return next;
}

void gate_send_away(struct agent *a, uint32_t i)
{
	uint32_t count = 0;

	if (!mend(a, i, &count))
		return; /* who waits looks by himself */
	for (uint32_t r = 1; r <= a->gates.n_records; r++)
		if (mend_record(a, r, i, count) == GATE_WAKE)
			gate_rouse_action(a, r);
}

static void nonsense(struct agent *a, uint32_t i, const char *what)
{
	a->tables->nonsense++;
	if (a->nonsense_said++ >= NONSENSE_SAID)
		return;
	agent_log(a, LOG_WARNING, "event=gate.nonsense gate=%u count=%u text=\"%s: a program of this host writes where it must not; put right\"",
		  i, gate_count(gate_word_of(a, i)), what);
}

/* So many steps go through any line that there can be, with some to spare for those who come meanwhile: each takes eight
 * records out. */
static uint32_t whole_line(const struct agent *a)
{
	return a->gates.n_records / 8 + 4 * AGAINS;
}

/* The oldest of the gate's line: its record, or 0. The agent owns the gate. */
uint32_t gate_oldest_waiter(struct agent *a, uint32_t i)
{
	struct gate_pass p = gate_agent_pass(&a->gates, i);
	enum gate_next next = GATE_AGAIN;

	for (uint32_t n = whole_line(a); n && next == GATE_AGAIN; n--)
		next = gate_prune(&a->gates, &p);
	if (next == GATE_CORRUPT || next == GATE_AGAIN) {
		nonsense(a, i, "the line of those who wait makes no sense");
		gate_send_away(a, i);
	}
	return next == GATE_WAITS ? p.record : 0;
}

bool gate_has_waiters(struct agent *a, uint32_t i)
{
	return gate_top(gate_word_of(a, i)) && gate_oldest_waiter(a, i);
}

/* ---- who is next ---- */

/* Ends what settle_ours began; a successor too. False: somebody wrote over the gate meanwhile, the claim waits again. */
static bool give_end(struct agent *a, uint32_t i)
{
	struct line *l = line_of(a, i);
	uint32_t given = l->given;
	struct claim *c = claim_of(a, given);
	const struct gate_terms *t = gate_terms_of(a, i);
	bool died = false;
	enum gate_next next = GATE_AGAIN;

	for (unsigned n = 0; n < AGAINS && next == GATE_AGAIN; n++)
		next = gate_give(&a->gates, i, l->given_count, c->session, &died);
	CHANGE(l->given, 0);
	CHANGE(c->state, CLAIM_FREE);
	if (next != GATE_DONE) {
		nonsense(a, i, "its word was written over");
		claim_wait(a, given);
		agent_commit(a);
		return false;
	}
	uint32_t count = l->given_count + 1;
	struct ring_completion completion = {
		.gate = i,
		.serial = t->serial,
		.count = count,
		.token = t->base + (count - t->opened_at) - 1,
		.flags = died ? COMPLETION_DIED : 0,
	};

	a->tables->grants++;
	atom_store_relaxed(&a->gates.gates[i].since_ns, agent_monotonic_ns(a, a->now_ns));
	line_complete(a, given, &completion);
	agent_commit(a);
	return true;
}

/* The oldest claim gets it. That it will is committed before. Closed once more: a choice that a predecessor left half made is
 * void, or another thread of the same session could help itself to the very acquisition that is given here. */
static bool give(struct agent *a, uint32_t i)
{
	struct line *l = line_of(a, i);
	uint32_t given = l->head;

	if (gate_take_back(a, i, NEVER) != GATE_DONE)
		return false;
	claim_leave(a, given);
	CHANGE(claim_of(a, given)->state, CLAIM_GIVEN);
	undo_save(&a->undo, l, LINE_HEAD);
	l->given = given;
	l->given_count = gate_count(gate_word_of(a, i));
	if (!MUTANT(313))
		agent_commit(a);
	return give_end(a, i);
}

static void open_gate(struct agent *a, uint32_t i)
{
	struct gate_pass p = gate_agent_pass(&a->gates, i);

	for (uint32_t n = whole_line(a); n; n--)
		switch (gate_open(&a->gates, &p)) {
		case GATE_WAKE:
			gate_rouse_action(a, p.record);
			a->tables->grants++;
			break;
		case GATE_AGAIN:
			break;
		case GATE_CORRUPT:
			nonsense(a, i, "the line of those who wait makes no sense");
			gate_send_away(a, i);
			p = gate_agent_pass(&a->gates, i);
			break;
		default:
			return;
		}
	line_later(a, i);
	a->more_dirty = true;
}

enum turn_of { NOBODY,
	       CLAIM,
	       WAITER,
	       ELSEWHERE };

/* Whose turn it is at a gate that the agent owns. */
static enum turn_of turn_of(struct agent *a, uint32_t i, uint64_t word)
{
	struct line *l = line_of(a, i);
	const struct gate_terms *t = gate_terms_of(a, i);
	uint32_t record = gate_oldest_waiter(a, i);
	uint64_t claim_ns = l->head ? agent_monotonic_ns(a, claim_of(a, l->head)->since_ns) : NEVER;
	uint64_t record_ns = record ? atom_load_relaxed(&a->gates.records[record].since_ns) : NEVER;
	bool first = gate_count(word) == t->opened_at;

	gate_note_hosts(a, i);
	if (!l->head && !record)
		return l->remote_since_ns || l->wanted || !keep_pays(a, l) ? ELSEWHERE : NOBODY;
	if (gate_used(a, i) + 1 >= t->range) /* closing it once more takes one */
		return ELSEWHERE;            /* a new delegation brings new tokens */
	if (l->remote_since_ns && !first && !MUTANT(282) &&
	    (MIN(claim_ns, record_ns) > l->remote_since_ns || (int32_t)(t->stop_at - gate_count(word) - 1) < 0 ||
	     (gate_count(word) - t->closed_at > 1 && agent_monotonic_ns(a, a->now_ns) >= t->stop_ns)))
		return ELSEWHERE;
	if (l->head && claim_ns <= record_ns) /* who would share it needs it in the other mode */
		return claim_of(a, l->head)->mode == LOCK_MODE_EX ? CLAIM : ELSEWHERE;
	return WAITER;
}

/* ---- settling ---- */

/* An owner that is no session, or one that has ended and owned nothing any more: somebody wrote it there. */
bool gate_owner_is_nobody(const struct agent *a, uint64_t word)
{
	uint32_t slot = gate_owner(word);
	const struct session_record *s = &a->m.sessions[MIN(slot, a->m.p->n_sessions)];

	return slot > a->m.p->n_sessions || s->state == SESSION_FREE || (s->state == SESSION_ENDING && s->sweep_at == SWEEP_DONE);
}

static bool give_back(struct agent *a, uint32_t i);

/* A session owns it. */
static void settle_held(struct agent *a, uint32_t i, uint64_t word)
{
	struct line *l = line_of(a, i);
	uint32_t slot = gate_owner(word);

	if (gate_owner_is_nobody(a, word)) {
		nonsense(a, i, "its owner is no session");
		gate_sweep(&a->gates, slot, GATE_DIED, &(uint32_t){ i }, 1);
		line_later(a, i);
		a->more_dirty = true;
		return;
	}
	if (lease_valid(a)) /* else it may be another's */
		line_tries_refused(a, i);
	uint64_t since_ns = waits_since_ns(a, i);
	if (MUTANT(281) && l->remote_since_ns && lease_valid(a)) {
		give_back(a, i);
		return;
	}
	if (since_ns != NEVER || l->wanted || !keep_pays(a, l))
		gate_take_back(a, i, since_ns);
	agent_commit(a);
}

static bool give_back(struct agent *a, uint32_t i)
{
	struct line *l = line_of(a, i);
	uint32_t used = gate_used(a, i);
	bool revoked = line_hosts_waiting(a, l) != 0;

	ASSERT(gate_owner(gate_word_of(a, i)) == GATE_AGENT || MUTANT(281));
	if (!line_give_back(a, i, used, gate_flags(gate_word_of(a, i)) & GATE_DIED))
		return false;
	keep_ends(a, l, used > ONE_USE, revoked);
	a->tables->revocations += revoked;
	atom_store_relaxed(&gate_terms_of(a, i)->revoked, gate_terms_of(a, i)->revoked + revoked);
	gate_terms_end(a, i);
	agent_commit(a);
	return true;
}

bool gate_settle(struct agent *a, uint32_t i)
{
	struct line *l = line_of(a, i);

	if (a->no_quorum && !line_told_no_quorum(a, i))
		return true; /* some of them are still to be told: it is looked at again */
	agent_commit(a);
	if (l->mode == LOCK_MODE_PR)
		return shared_settle(a, i);
	unsigned in_vain = 0;
	for (unsigned round = 0; round < SETTLE_ROUNDS && in_vain <= IN_VAIN; round++) {
		uint64_t word = gate_word_of(a, i);

		if (gate_session_owns(word)) {
			settle_held(a, i, word);
			return true;
		}
		if (gate_owner(word) == 0) {
			if (!l->head && waits_since_ns(a, i) == NEVER && !l->wanted && keep_pays(a, l))
				return true; /* open to whoever comes */
			in_vain += gate_take_back(a, i, NEVER) != GATE_DONE;
			continue;
		}
		if (!lease_valid(a))
			return true; /* the cluster may have given it to another: looked at again when it is renewed */
		switch (turn_of(a, i, word)) {
		case CLAIM:
			in_vain += !give(a, i);
			break;
		case WAITER:
			open_gate(a, i);
			break;
		case NOBODY:
			agent_commit(a);
			open_gate(a, i);
			return true;
		case ELSEWHERE:
			if (!commands_room(a))
				return false;
			if (MUTANT(314) || gate_take_back(a, i, NEVER) == GATE_DONE)
				return give_back(a, i);
			in_vain++;
			break;
		}
	}
	if (in_vain > IN_VAIN) { /* somebody writes there all the time: it is looked at again, not so soon */
		gate_watch(a, i);
		return true;
	}
	line_later(a, i);
	a->more_dirty = true;
	return true;
}

/* ---- a life of this host has ended ---- */

static void lapse_owner(struct agent *a, uint32_t i, uint32_t owner, uint32_t count)
{
	uint32_t first = (owner - 1) * a->tables->records_each + 1;

	for (uint32_t r = first; owner <= a->tables->n_sessions && r < first + a->tables->records_each; r++) {
		enum gate_next next = GATE_AGAIN;

		for (unsigned n = 0; n < AGAINS && next == GATE_AGAIN; n++)
			next = gate_lapse_record(&a->gates, r, i, count);
		if (next == GATE_WAKE)
			gate_rouse_action(a, r);
	}
}

/* Who writes the word all the time keeps a gate that gives nothing: no token is in range, and whoever acquired it before is told by
 * the incarnation. */
void gate_lapse_line(struct agent *a, uint32_t i)
{
	enum gate_next next = GATE_AGAIN;

	for (unsigned n = 0; n < LAPSES && next != GATE_DONE; n++) {
		uint32_t owner, count;

		if (gate_lapsing(&a->gates, i, &owner, &count))
			lapse_owner(a, i, owner, count);
		next = gate_lapse(&a->gates, i, owner, count);
	}
	gate_terms_end(a, i);
}

/* ---- time ---- */

void gates_tick(struct agent *a)
{
	if (a->n_watched && a->now_ns >= a->watch_at_ns) {
		uint32_t n = a->n_watched;

		a->n_watched = 0;
		a->watch_at_ns = NEVER;
		a->watch_ns = MIN(2 * a->watch_ns, WATCH_MAX_NS);
		for (uint32_t k = 0; k < n; k++) {
			uint32_t i = a->watched[k];

			a->is_watched[i] = 0;
			if (a->m.lines[i].key_len)
				line_settle(a, i);
			agent_commit(a);
		}
	}
}

uint64_t gates_wake_at(const struct agent *a)
{
	return a->n_watched ? a->watch_at_ns : NEVER;
}

/* What the predecessor had begun is ended: whoever it was giving a gate has it, whoever it had chosen is woken. Terms are not
 * undone when it dies inside a group; nobody was let in by those of a group that was not committed. */
void gates_rebuild(struct agent *a)
{
	for (uint32_t i = 1; i <= a->m.p->lines_high; i++) {
		const struct line *l = &a->m.lines[i];

		if (MUTANT(315))
			a->m.lines[i].sharers = 0;
		if (!l->key_len || l->state != LINE_OURS || l->mode != LOCK_MODE_EX) {
			if (MUTANT(312) && l->key_len && gate_owner(gate_word_of(a, i)) == GATE_AGENT)
				open_gate(a, i);
			gate_terms_end(a, i);
			continue;
		}
		atom_store_relaxed(&gate_terms_of(a, i)->range, range_of(a));
		atom_store_release(&gate_terms_of(a, i)->delegation, l->delegation);
		if (l->given)
			give_end(a, i);
	}
	gates_rouse_chosen(a);
}
