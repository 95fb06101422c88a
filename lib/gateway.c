/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway.h"

#include <errno.h>

#include "../shm/gate_wait.h"
#include "../shm/sys.h"

#define TRIES 16u /* a gate that is free whenever we look, and taken when we swap: the agent will give it in turn */

/* ---- where a key has its gate ---- */

/* The row before and after the serial: the gate served this key when the serial was read. */
static bool gate_find(const struct paxshm_session *s, const void *key, uint32_t len, uint32_t *ret_gate, uint32_t *ret_serial)
{
	const struct tables *t = s->tables;
	struct lock_value first, again;

	if (table_read(t, key, len, &first) != 1 || !first.delegation || first.host != t->self || !first.gate || first.gate > t->n_gates)
		return false;
	const struct gate_terms *terms = &s->view.terms[first.gate];
	uint32_t serial = atom_load_acquire(&terms->serial);
	if (table_read(t, key, len, &again) != 1 || again.delegation != first.delegation || again.host != t->self || again.gate != first.gate)
		return false;
	if (atom_load_acquire(&terms->delegation) != first.delegation || atom_load_acquire(&terms->serial) != serial)
		return false;
	*ret_gate = first.gate;
	*ret_serial = serial;
	return true;
}

void gateway_remember(struct paxshm_lock_handle *l, uint32_t gate, uint32_t serial)
{
	const struct gate_view *v = &l->session->view;

	atom_store_relaxed(&l->gate, gate);
	atom_store_relaxed(&l->serial, serial);
	l->gate_at = gate ? &v->gates[gate] : NULL;
	l->terms = gate ? &v->terms[gate] : NULL;
}

static bool know(struct paxshm_lock_handle *l)
{
	uint32_t gate = 0, serial = 0;

	if (gateway_known(l))
		return true;
	if (!gate_find(l->session, l->key, l->key_len, &gate, &serial))
		gate = 0;
	gateway_remember(l, gate, serial);
	return gate != 0;
}

bool gateway_lease_holds(struct paxshm_lock_handle *l)
{
	struct paxshm_session *s = l->session;

	if (lease_check_clocks(s->tables, l->incarnation, gateway_margin_ns(s->tables), &s->agreed_ns) != 0)
		return false;
	note_u64(&l->gate_at->since_ns, lease_about_ns(s->tables, lease_second_ns()));
	return true;
}

/* ---- telling the agent ---- */

/* It has a gate that somebody wants. Who waits at that gate tells it again each second; who has left it need not care. */
static void tell(struct paxshm_session *s, uint32_t gate, struct patience patience)
{
	struct ring_request request = { .op = REQUEST_GATE, .call = CALL_NONE, .target = gate };

	pthread_mutex_lock(&s->mutex);
	(void)call_post(s, &request, patience);
	pthread_mutex_unlock(&s->mutex);
}

static const struct patience patient = { .deadline_ns = NEVER };

static bool decline(struct paxshm_session *s, uint32_t gate, uint32_t count)
{
	enum gate_next next;

	do
		next = gate_decline(&s->view, gate, s->slot, count);
	while (next == GATE_AGAIN);
	return next == GATE_TELL;
}

void gateway_decline(struct paxshm_session *s, uint32_t gate, uint32_t count, struct patience patience)
{
	struct ring_completion grant = { .gate = gate };

	/* Another host may wait for this word, and nobody here: so it must not be forgotten. */
	if (decline(s, gate, count))
		call_return(s, &grant, patience);
}

int gateway_release(struct paxshm_session *s, uint32_t gate, uint32_t count)
{
	int rc = 0;

	if (!gate_free(&s->view.gates[gate], s->slot, count) && !gate_hand_on(&s->view, &s->view.gates[gate], s->slot, count))
		rc = gate_pass_on(&s->view, gate, s->slot, count);
	if (rc == GATE_WAIT_TELL) {
		tell(s, gate, patient);
		rc = 0;
	}
	return rc;
}

bool gateway_return_late(struct paxshm_session *s, const struct ring_completion *answer)
{
	if (answer->gate > s->view.n_gates)
		return false;
	/* Nobody has been told of a death: the next one will be. */
	if (answer->flags & COMPLETION_DIED)
		return decline(s, answer->gate, answer->count);
	return gate_pass_on(&s->view, answer->gate, s->slot, answer->count) == GATE_WAIT_TELL;
}

/* ---- places to wait: the session's records ---- */

static uint32_t places_from(const struct paxshm_session *s)
{
	return (s->slot - 1) * s->tables->records_each + 1;
}

static struct gate_record *place_record(const struct paxshm_session *s, unsigned place)
{
	return &s->view.records[places_from(s) + place];
}

/* One that is not in use nor in `tried`: that still stands at this gate, else one that stands in no line, else any. */
static int place_choose(const struct paxshm_session *s, uint32_t gate, uint64_t tried)
{
	uint32_t each = MIN(s->tables->records_each, GATE_RECORDS_EACH);
	uint64_t all = each == 64 ? UINT64_MAX : (1ull << each) - 1;
	uint64_t unused = all & ~atom_load_relaxed(&s->places) & ~tried, places_left = atom_load_relaxed(&s->places_left);

	for (uint64_t left = unused & places_left; left; left &= left - 1) {
		unsigned place = (unsigned)__builtin_ctzll(left);
		const struct gate_record *r = place_record(s, place);

		if (atom_load_relaxed(&r->gate) == gate && gate_record_state(atom_load_acquire(&r->state)) == GATE_RECORD_CANCELLED)
			return (int)place;
	}
	if (unused & ~places_left)
		unused &= ~places_left;
	return unused ? __builtin_ctzll(unused) : -1;
}

/* Takes one: its number, or -1. */
static int place_take(struct paxshm_session *s, uint32_t gate, uint64_t *tried)
{
	int place;

	/* seq_cst: either paxshm_cancel() finds it, or who waits there finds that `cancels` has moved. */
	do
		place = place_choose(s, gate, *tried);
	while (place >= 0 && atom_or_seq_cst(&s->places, 1ull << place) >> place & 1); /* another thread's meanwhile */
	if (place >= 0)
		*tried |= 1ull << place;
	/* Not this session's any more: it was ended. */
	if (place >= 0 && s->view.slots[places_from(s) + (unsigned)place] != s->slot) {
		atom_and_seq_cst(&s->places, ~(1ull << place));
		return -1;
	}
	return place;
}

static void place_give(struct paxshm_session *s, int place)
{
	uint64_t bit = 1ull << place;
	bool out = gate_record_state(atom_load_acquire(&place_record(s, (unsigned)place)->state)) == GATE_RECORD_FREE;

	if (!out)
		atom_or_seq_cst(&s->places_left, bit);
	else if (atom_load_relaxed(&s->places_left) & bit)
		atom_and_seq_cst(&s->places_left, ~bit);
	atom_and_seq_cst(&s->places, ~bit);
}

void gateway_cancel(struct paxshm_session *s)
{
	for (uint64_t used = atom_load_seq_cst(&s->places); used; used &= used - 1)
		gate_ring(&s->view, places_from(s) + (uint32_t)__builtin_ctzll(used));
}

/* ---- waiting in the line ---- */

/* The gate was handed to us: 0 if it counts. `since`: the host's life before we stood in the line. */
static int arrive(struct paxshm_lock_handle *l, const struct gate_place *p, uint64_t since, struct patience patience)
{
	struct paxshm_session *s = l->session;
	/* The terms first, then whether it is still ours: so these are the terms under which it was handed over. In one life
	 * all the time, nobody can have taken it away, and so the agent cannot have written others. */
	uint64_t incarnation = atom_load_acquire(&s->view.terms[p->gate].incarnation);

	if (gateway_counts(l, p->count, p->died, incarnation) &&
	    (incarnation == since || gate_holds(&s->view.gates[p->gate], s->slot, p->count)))
		return 0;
	gateway_decline(s, p->gate, p->count, patience);
	return BY_AGENT;
}

/* A second has passed, or the agent has the gate. 0: stay in the line; else why not. */
static int look_around(const struct paxshm_lock_handle *l, const struct paxshm_acquire *how, struct patience patience, int because)
{
	struct paxshm_session *s = l->session;
	uint64_t word = atom_load_acquire(&s->view.gates[l->gate].word);

	if (because == GATE_WAIT_LOOK && session_look(s))
		return -ENOTCONN;
	call_hear(s);
	/* In a line nobody is told that there is no quorum. */
	if (how->no_quorum != PAXSHM_RETRY && (gate_owner(word) == GATE_AGENT || lease_look(s, atom_load_acquire(&s->tables->incarnation))))
		return BY_AGENT;
	if (because == GATE_WAIT_TELL || gate_owner(word) == GATE_AGENT)
		tell(s, l->gate, patience);
	return 0;
}

/* As gate_wait(), and BY_AGENT; p->stands afterwards: no. */
static int wait_at(const struct paxshm_lock_handle *l, struct gate_place *p, const struct paxshm_acquire *how, struct patience patience)
{
	struct paxshm_session *s = l->session;
	struct gate_patience until = {
		.deadline_ns = patience.deadline_ns,
		.cancels = &s->cancels,
		.cancels_seen = *patience.cancels,
		.serial = &s->view.terms[l->gate].serial,
		.serial_seen = l->serial,
	};
	int rc;

	while ((rc = gate_wait(&s->view, p, &until)) > 0) {
		rc = look_around(l, how, patience, rc);
		if (rc)
			return gate_leave(&s->view, p, rc);
	}
	return rc;
}

static int wait_in_line(struct paxshm_lock_handle *l, const struct paxshm_acquire *how, struct patience patience)
{
	struct paxshm_session *s = l->session;
	uint64_t tried = 0, since = atom_load_acquire(&s->tables->incarnation);
	int place, rc;

	do {
		place = place_take(s, l->gate, &tried);
		if (place < 0)
			return BY_AGENT;
		struct gate_place p = { .gate = l->gate, .slot = s->slot, .record = places_from(s) + (uint32_t)place };
		rc = wait_at(l, &p, how, patience);
		place_give(s, place);
		/* Whoever stood behind us may be next, and at a gate that the agent has nobody releases. */
		if ((rc == -ETIMEDOUT || rc == -ECANCELED) && gate_owner(atom_load_acquire(&s->view.gates[l->gate].word)) == GATE_AGENT)
			tell(s, l->gate, patience);
		if (rc == 0)
			return arrive(l, &p, since, patience);
	} while (rc == -EBUSY);
	if (rc == -ENOENT) { /* it serves another key */
		gateway_remember(l, 0, 0);
		return BY_AGENT;
	}
	return rc == -ESTALE ? -ENOTCONN : rc;
}

/* ---- acquiring ---- */

static bool name_owner(const struct paxshm_session *s, uint32_t gate, uint64_t word, struct paxshm_who *ret)
{
	const struct gate_terms *terms = &s->view.terms[gate];
	uint32_t slot = gate_owner(word);

	if (!slot || slot > s->tables->n_sessions)
		return false;
	const struct session_row *row = tables_session(s->tables, slot);
	*ret = (struct paxshm_who){
		.size = sizeof(*ret),
		.host_id = s->host,
		.pid = atom_load_acquire(&row->pid),
		.session = slot,
		.start_time = atom_load_acquire(&row->start),
		.token = atom_load_acquire(&terms->base) + (gate_count(word) - atom_load_acquire(&terms->opened_at) - 1),
	};
	host_name(s, s->host, ret->host);
	/* Once more: while the session owns the gate neither its row nor the terms change. */
	return gate_holds(&s->view.gates[gate], slot, gate_count(word));
}

/* NOWAIT, and a session owns the gate. BY_AGENT: it is hard to say which; the agent decides. */
static int refuse(struct paxshm_lock_handle *l, uint64_t word, struct ring_completion *ret)
{
	struct paxshm_who who;

	if (!name_owner(l->session, l->gate, word, &who) || !gateway_known(l))
		return BY_AGENT;
	ret->holder_host = who.host_id;
	ret->holder_pid = who.pid;
	ret->holder_session = who.session;
	ret->holder_start = who.start_time;
	ret->holder_token = who.token;
	return -EBUSY;
}

static int acquire(struct paxshm_lock_handle *l, const struct paxshm_acquire *how, struct patience patience, struct ring_completion *ret)
{
	struct paxshm_session *s = l->session;

	call_hear(s);
	for (unsigned i = 0; i < TRIES && know(l); i++) {
		switch (gateway_take(l)) {
		case TAKE_DONE:
			return 0;
		case TAKE_VOID:
			gateway_decline(s, l->gate, l->taken, patience);
			return BY_AGENT;
		case TAKE_NOT_FREE:
			break;
		}
		uint64_t word = atom_load_acquire(&s->view.gates[l->gate].word);
		if (gate_owner(word) == 0)
			continue;
		if (gate_owner(word) == GATE_AGENT)
			break; /* it will answer: grant, refusal, no quorum */
		bool cut_off = how->no_quorum != PAXSHM_RETRY && lease_look(s, atom_load_acquire(&s->tables->incarnation));
		if (how->flags & PAXSHM_NOWAIT) /* who owned it here may have lost it by now */
			return cut_off ? -ENETUNREACH : refuse(l, word, ret);
		if (how->flags & PAXSHM_STAMPS || cut_off)
			break;
		return wait_in_line(l, how, patience);
	}
	return BY_AGENT;
}

int gateway_acquire(struct paxshm_lock_handle *l, const struct paxshm_acquire *how, struct patience patience, struct ring_completion *ret)
{
	int rc = acquire(l, how, patience, ret);

	if (rc)
		return rc;
	ret->gate = l->gate;
	ret->serial = l->serial;
	ret->count = l->taken;
	ret->token = l->token;
	ret->incarnation = l->incarnation;
	ret->flags = l->died ? COMPLETION_DIED : 0;
	return 0;
}

/* ---- looking ---- */

int gateway_look(const struct paxshm_lock_handle *l)
{
	const struct paxshm_session *s = l->session;
	int rc = lease_look(s, atom_load_relaxed(&l->incarnation));

	if (rc != -ESTALE && atom_load_relaxed(&l->mode) == PAXSHM_EX &&
	    !gate_holds(&s->view.gates[atom_load_relaxed(&l->gate)], s->slot, atom_load_relaxed(&l->taken)))
		return -ESTALE;
	return rc;
}
