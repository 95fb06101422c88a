/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sessions: what processes of this host ask through their rings, the answers, and the end of a
 * session. A session can write anything into its ring: a request is copied once and checked in the
 * copy; the first nonsense bans the session, and harms nobody else.
 *
 * Each request is one group: taken, acted upon, answered if it can be - or none of it.
 */
#include "inside.h"
#include "../../lib/mutant.h"
#include "probe.h"

#include <errno.h>
#include <syslog.h>

#define CHANGE(lvalue, value) SET(&a->undo, lvalue, value)
#define REQUESTS_A_TURN RING_REQUESTS /* of one session: all that its ring can hold */
#define LOOK_AT_ALL_NS NS_PER_S       /* how often every ring is looked into */
#define LINGER_NS (100 * NS_PER_MS)
#define ENDS_A_TURN 64u /* claims of ending sessions given up in one turn */

static struct session_record *session_of(struct agent *a, uint32_t slot)
{
	ASSERT(slot > 0 && slot <= a->m.p->n_sessions);
	return &a->m.sessions[slot];
}

/* ---- completions ---- */

void session_complete(struct agent *a, uint32_t slot, const struct ring_completion *completion)
{
	struct session_record *s = session_of(a, slot);

	if (s->state != SESSION_OPEN && s->state != SESSION_ENDING)
		return;
	if (a->rings[slot])
		ring_put(a->rings[slot], s->tail, completion);
	CHANGE(s->tail, s->tail + 1);
	ASSERT(a->n_completed < a->max_completed);
	a->completed[a->n_completed].slot = slot;
	a->completed[a->n_completed++].call = completion->call;
}

static void announce(struct agent *a, uint32_t slot, uint32_t call)
{
	if (!a->rings[slot] || !ring_bell(a->rings[slot], call))
		return;
	struct agent_action *wake = agent_act(a, ACTION_WAKE);

	wake->slot = slot;
	wake->call = call;
}

void session_publish(struct agent *a)
{
	for (unsigned i = 0; i < a->n_completed; i++) {
		uint32_t slot = a->completed[i].slot;

		if (a->rings[slot])
			ring_publish_tail(a->rings[slot], a->m.sessions[slot].tail);
		announce(a, slot, a->completed[i].call);
	}
	a->n_completed = 0;
}

static void answer(struct agent *a, uint32_t slot, uint32_t call, int result)
{
	struct ring_completion completion = { .call = call, .result = result, .incarnation = a->m.p->incarnation };

	if (call != CALL_NONE)
		session_complete(a, slot, &completion);
}

/* ---- requests ---- */

static void acquire(struct agent *a, uint32_t slot, const struct ring_request *r)
{
	bool known = !r->mode || r->mode == LOCK_MODE_EX || r->mode == LOCK_MODE_PR;
	uint32_t i = known ? claim_new(a, slot, r) : 0;
	uint32_t line;

	if (!i) {
		answer(a, slot, r->call, known ? -ENOSPC : -ENOSYS);
		return;
	}
	line = a->m.claims[i].line;
	if (r->flags & REQUEST_STAMPS) {
		memset(a->stamps[i], 0, sizeof(a->stamps[i]));
		a->stamps[i][STAMP_TAKEN] = agent_stamp(a);
		if (a->n_unsent < ARRAY_LEN(a->unsent))
			a->unsent[a->n_unsent++] = i;
	}
	claim_wait(a, i);
	line_settle(a, line);
	if (a->no_quorum && (r->flags & REQUEST_RETURN) && a->m.claims[i].state == CLAIM_WAITING) {
		claim_answer(a, i, -ENETUNREACH, NULL);
		line_settle(a, line);
	}
}

static void holder(struct agent *a, uint32_t slot, const struct ring_request *r)
{
	uint32_t i;

	if (a->no_quorum) {
		answer(a, slot, r->call, -ENETUNREACH);
		return;
	}
	i = claim_new(a, slot, r);
	if (!i)
		answer(a, slot, r->call, -ENOSPC);
	else
		claim_ask(a, i, r->flags & REQUEST_LINEARIZABLE && !MUTANT(331) ? ASK_INDEX : ASK_LOOK);
}

static void release(struct agent *a, uint32_t slot, const struct ring_request *r)
{
	uint32_t i = (uint32_t)r->claim;
	uint32_t gen = (uint32_t)(r->claim >> 32);
	uint32_t line;

	if (i == 0 || i > a->m.p->claims_high || (a->m.claims[i].gen != gen && !MUTANT(71)) ||
	    (a->m.claims[i].session != slot && !MUTANT(171)) || a->m.claims[i].state != CLAIM_OWNER) {
		answer(a, slot, r->call, -ESTALE);
		return;
	}
	line = a->m.claims[i].line;
	claim_leave(a, i);
	claim_free(a, i);
	line_settle(a, line);
	answer(a, slot, r->call, 0);
}

/* A gate that we have, and at which somebody waits; or one whose line is gone, and who waits there is to find the next. */
static void gate(struct agent *a, const struct ring_request *r)
{
	uint32_t line = r->target;

	if (line == 0 || line > a->m.p->lines_high)
		return;
	if (a->m.lines[line].key_len)
		line_settle(a, line);
	else if (gate_has_waiters(a, line))
		gate_send_away(a, line);
}

static void cancel(struct agent *a, uint32_t slot, const struct ring_request *r)
{
	uint32_t i = session_of(a, slot)->call_claim[r->target];
	uint32_t line;

	if (!i)
		return; /* answered already: the grant stands */
	line = a->m.claims[i].line;
	claim_answer(a, i, r->reason, NULL);
	line_settle(a, line);
}

static void lead(struct agent *a, uint32_t slot, const struct ring_request *r)
{
	uint32_t uid = session_of(a, slot)->identity.uid;
	int rc = -EPERM;

	if (uid == 0 || uid == a->config.uid)
		rc = r->target && r->target < HOSTS_MAX ? agent_move_leader(a, (uint16_t)r->target) : -EINVAL;
	answer(a, slot, r->call, rc);
}

static void end_session(struct agent *a, uint32_t slot, uint32_t closing_call)
{
	struct session_record *s = session_of(a, slot);

	CHANGE(s->state, SESSION_ENDING);
	CHANGE(s->closing_call, closing_call);
	a->ending++;
}

/* What the copy says is in range; whether it makes sense for this session is looked at here. */
static const char *act_on(struct agent *a, uint32_t slot, const struct ring_request *r)
{
	const char *wrong = ring_request_check(r);

	if (wrong)
		return wrong;
	PROBE2(taken, slot, r->call);
	if (r->call != CALL_NONE && session_of(a, slot)->call_claim[r->call])
		return "a call that waits already asked again";
	switch (r->op) {
	case REQUEST_ACQUIRE: acquire(a, slot, r); break;
	case REQUEST_HOLDER: holder(a, slot, r); break;
	case REQUEST_RELEASE: release(a, slot, r); break;
	case REQUEST_CANCEL: cancel(a, slot, r); break;
	case REQUEST_CLOSE: end_session(a, slot, r->call); break;
	case REQUEST_LEAD: lead(a, slot, r); break;
	case REQUEST_GATE: gate(a, r); break;
	}
	return NULL;
}

static void ban(struct agent *a, uint32_t slot, const char *why)
{
	struct session_record *s = session_of(a, slot);
	struct agent_action *action;

	CHANGE(s->state, SESSION_BANNED);
	agent_commit(a);
	if (a->rings[slot])
		atom_store_release(&a->rings[slot]->closed, EPROTO);
	action = agent_act(a, ACTION_BANNED); /* its log line is the caller's, who limits them */
	action->slot = slot;
	action->text = why;
}

/* How many were taken. */
static unsigned take_requests(struct agent *a, uint32_t slot)
{
	struct session_record *s = session_of(a, slot);
	struct session_rings *rings = a->rings[slot];
	unsigned n = 0;

	while (s->state == SESSION_OPEN && n < REQUESTS_A_TURN) {
		struct ring_request r;
		int rc = ring_peek(rings, s->head, &r);
		const char *wrong = NULL;

		if (rc == 0)
			break;
		n++;
		if (rc < 0)
			wrong = "the end of its request ring is out of range";
		else
			wrong = act_on(a, slot, &r);
		CHANGE(s->head, s->head + 1);
		if (wrong)
			ban(a, slot, wrong);
		agent_commit(a);
	}
	if (n == 0)
		return 0;
	a->tables->requests += n;
	ring_publish_head(rings, s->head);
	if (n == REQUESTS_A_TURN) {
		atom_or_seq_cst(&a->arena->pending[slot / 64], 1ull << slot % 64);
		a->more_requests = true;
	}
	return n;
}

/* ---- the end ---- */

static void give_up(struct agent *a, uint32_t i)
{
	uint32_t line = a->m.claims[i].line;
	bool shared = a->m.claims[i].state == CLAIM_OWNER;

	claim_leave(a, i);
	claim_free(a, i);
	if (!(MUTANT(84) && shared))
		line_settle(a, line);
}

static void linger(struct agent *a, uint32_t slot)
{
	if (!a->lingers[slot])
		a->lingering++;
	a->lingers[slot] = 1;
	a->linger_at_ns = a->now_ns + LINGER_NS;
}

static unsigned end_on(struct agent *a, uint32_t slot, unsigned bite)
{
	struct session_record *s = session_of(a, slot);
	bool died = s->closing_call == CALL_NONE;
	struct agent_action *closed;

	while (s->claims && bite) {
		give_up(a, s->claims);
		agent_commit(a);
		bite--;
	}
	if (s->claims || !bite)
		return 0;
	if (!gates_sweep_session(a, slot, died))
		return 0;
	if (s->closing_call != CALL_NONE) {
		answer(a, slot, s->closing_call, 0);
		CHANGE(s->closing_call, CALL_NONE);
		agent_commit(a);
	}
	/* Its places in lines that others stand in too are used again when they have come to the front. */
	if (!gates_forget_session(a, slot)) {
		linger(a, slot);
		return bite - 1;
	}
	gates_session(a, slot, NULL);
	CHANGE(a->m.p->sessions_used, a->m.p->sessions_used - 1);
	CHANGE(s->state, SESSION_FREE);
	agent_commit(a);
	if (a->rings[slot])
		atom_store_release(&a->rings[slot]->closed, ESHUTDOWN);
	a->rings[slot] = NULL;
	a->ending--;
	a->lingering -= a->lingers[slot];
	a->lingers[slot] = 0;
	a->tables->sessions = a->m.p->sessions_used;
	closed = agent_act(a, ACTION_CLOSED);
	closed->slot = slot;
	return bite;
}

/* The bits that say where to look stand in memory that every session writes: one that clears those of others
 * delays them, and no more. */
static void look_at_all(struct agent *a)
{
	if (a->now_ns < a->look_at_all_ns)
		return;
	a->look_at_all_ns = a->now_ns + LOOK_AT_ALL_NS;
	for (uint32_t slot = 1; slot <= a->m.p->n_sessions; slot++)
		if (a->rings[slot])
			take_requests(a, slot);
}

void session_scan(struct agent *a)
{
	unsigned bite = ENDS_A_TURN;

	a->more_requests = false;
	for (uint32_t word = 0; word < ARRAY_LEN(a->arena->pending); word++) {
		uint64_t bits;

		if (atom_load_relaxed(&a->arena->pending[word]) == 0)
			continue;
		/* seq_cst: pairs with arena_announce(), which publishes before it sets the bit. */
		bits = atom_exchange_seq_cst(&a->arena->pending[word], 0);
		for (; bits; bits &= bits - 1) {
			uint32_t slot = word * 64 + (uint32_t)__builtin_ctzll(bits);

			if (slot > 0 && slot <= a->m.p->n_sessions && a->rings[slot])
				take_requests(a, slot);
		}
	}
	look_at_all(a);
	bool all = a->lingering && a->now_ns >= a->linger_at_ns;
	uint32_t n = a->m.p->n_sessions, looked = 0;

	/* On from where the last look had enough: those that cannot end yet do not keep the others from it. */
	for (; (all || a->ending > a->lingering) && bite && looked < n; looked++) {
		uint32_t slot = 1 + (a->ends_from + looked) % n;

		if (a->m.sessions[slot].state == SESSION_ENDING && (all || !a->lingers[slot]))
			bite = end_on(a, slot, bite);
	}
	a->ends_from = (a->ends_from + looked) % n;
	if (a->rouse)
		gates_rouse_chosen(a);
	a->rouse = false;
}

/* ---- open, map, gone ---- */

void session_opened(struct agent *a, const struct agent_event *e)
{
	struct session_record *s = session_of(a, e->slot);

	ASSERT(s->state == SESSION_FREE);
	rings_format(e->rings, e->slot, a->m.p->incarnation);
	undo_save(&a->undo, s, sizeof(*s));
	*s = (struct session_record){ .state = SESSION_OPEN, .identity = e->identity };
	gates_session(a, e->slot, &e->identity);
	CHANGE(a->m.p->sessions_used, a->m.p->sessions_used + 1);
	agent_commit(a);
	a->rings[e->slot] = e->rings;
	a->tables->sessions = a->m.p->sessions_used;
}

/* A successor makes good what its predecessor may not have done: every end is published, every
 * bell rung, every ring looked into. */
void session_mapped(struct agent *a, const struct agent_event *e)
{
	struct session_record *s = session_of(a, e->slot);

	ASSERT(s->state != SESSION_FREE);
	a->rings[e->slot] = e->rings;
	if (s->state == SESSION_BANNED) {
		atom_store_release(&e->rings->closed, EPROTO);
		return;
	}
	ring_publish_head(e->rings, s->head);
	if (!MUTANT(92))
		ring_publish_tail(e->rings, s->tail);
	for (uint32_t call = 0; call < RING_CALLS && !MUTANT(91); call++)
		announce(a, e->slot, call);
	atom_or_seq_cst(&a->arena->pending[e->slot / 64], 1ull << e->slot % 64);
	a->more_requests = true;
}

void session_gone(struct agent *a, uint32_t slot)
{
	struct session_record *s = session_of(a, slot);

	if (s->state == SESSION_FREE)
		return;
	if (take_installing(a)) { /* who dies now leaves it to the reactor, who finds the processes ended again */
		a->gone[slot / 64] |= 1ull << slot % 64;
		return;
	}
	/* Its last words count: a release or a close just before the end is one. They are no more than its
	 * ring holds; what comes behind them is written by somebody else who has it mapped. */
	if (s->state == SESSION_OPEN && a->rings[slot] && !MUTANT(73))
		take_requests(a, slot);
	if (s->state == SESSION_ENDING)
		return; /* it was closed in order, whether or not it lived to hear so */
	if (s->claims)
		agent_log(a, LOG_NOTICE, "event=session-died slot=%u pid=%u", slot, s->identity.pid);
	end_session(a, slot, CALL_NONE);
	agent_commit(a);
}

void sessions_gone_meanwhile(struct agent *a)
{
	for (uint32_t word = 0; word <= a->m.p->n_sessions / 64; word++) {
		uint64_t bits = a->gone[word];

		a->gone[word] = 0;
		for (; bits; bits &= bits - 1)
			session_gone(a, word * 64 + (uint32_t)__builtin_ctzll(bits));
	}
}
