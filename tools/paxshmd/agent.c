/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's step: events in, actions out; Paxos; applying what is chosen. See agent.h and inside.h. */
#include "inside.h"
#include "../../lib/mutant.h"
#include "probe.h"

#include <errno.h>
#include <syslog.h>

#define CHANGE(lvalue, value) SET(&a->undo, lvalue, value)

/* ---- groups ---- */

/* What was changed stays; its completions wait for session_publish(). */
static void end_group(struct agent *a)
{
	undo_commit(&a->undo);
	a->sent_off = 0;
}

void agent_commit(struct agent *a)
{
	end_group(a);
	session_publish(a);
}

uint64_t agent_stamp(const struct agent *a)
{
	return a->config.clock_ns ? a->config.clock_ns() : a->now_ns - a->suspended_ns;
}

/* ---- our own life ---- */

bool agent_registered(const struct agent *a)
{
	uint64_t ours = a->m.p->incarnation;

	return ours && host_table_alive(a->tables, a->config.self) == ours;
}

/* After the host table changed: are we registered, or is somebody else in our name? */
static void look_at_registration(struct agent *a)
{
	const struct host_row *h = tables_host(a->tables, a->config.self);
	struct private_memory *p = a->m.p;

	if (p->incarnation == 0 && h->incarnation && h->nonce == p->nonce && !h->down && !p->lapse_at) {
		CHANGE(p->incarnation, h->incarnation);
		lease_registered(a);
		agent_log(a, LOG_NOTICE, "event=registered incarnation=%llu",
			  (unsigned long long)p->incarnation);
	} else if (p->incarnation && h->incarnation == p->incarnation && h->down) {
		lease_lost(a);
	} else if (p->incarnation && h->incarnation != p->incarnation) {
		agent_fatal(a, "event=replaced reason=\"another agent has registered with this host's id %u: "
			       "two hosts share an id, or a second paxshmd runs for this host\"",
			    a->config.self);
	}
	atom_store_release(&a->tables->incarnation, p->incarnation);
}

/* Our HOST_UP changed nothing: another life has this host's place. Said once of each, for whoever wonders why programs wait. */
static void registration_refused(struct agent *a)
{
	const struct host_row *h = tables_host(a->tables, a->config.self);

	if (a->m.p->incarnation || h->down || h->nonce == a->m.p->nonce || h->incarnation == a->waits_for)
		return;
	a->waits_for = h->incarnation;
	agent_log(a, LOG_NOTICE, "event=registration.waits incarnation=%llu text=\"an earlier life of this host is still registered: this "
				 "one is when the lease of that one has ended; if it never does, another machine has this host's id\"",
		  (unsigned long long)h->incarnation);
}

/* ---- applying ---- */

static void own_command_applied(struct agent *a, const struct command *c, const struct effects *e)
{
	commands_applied(a, c->number);
	switch (c->kind) {
	case COMMAND_ACQUIRE: line_acquired(a, c, e->outcome); break;
	case COMMAND_CANCEL: line_cancelled(a, c); break;
	default: break;
	}
}

static void react(struct agent *a, const struct command *c, const struct effects *e)
{
	if (e->applied == APPLIED_UNFIT) {
		agent_fatal(a, "event=unfit reason=\"the cluster was founded for %u locks, this host is configured for %u: "
			       "set the same `locks` on every host\"",
			    c->found.rows, a->tables->n_rows);
		return;
	}
	if (e->applied == APPLIED_REPEATED && c->kind == COMMAND_HOST_UP && c->host == a->config.self)
		registration_refused(a);
	if (e->applied != APPLIED_DONE)
		return;
	for (unsigned i = 0; i < e->n_grants; i++) {
		struct lock_hold hold;

		if (agent_registered(a) && lock_table_hold(a->tables, e->grants[i], a->config.self, &hold) &&
		    hold.incarnation == a->m.p->incarnation && hold.delegation > e->delegations)
			line_granted(a, e->grants[i]);
	}
	if (c->kind == COMMAND_ACQUIRE && c->host != a->config.self)
		gate_asked_elsewhere(a, c);
	if (c->kind == COMMAND_CANCEL && c->host != a->config.self && !MUTANT(85))
		shared_left_elsewhere(a, c);
	if (c->number && c->host == a->config.self && c->incarnation == a->m.p->incarnation)
		own_command_applied(a, c, e);
	if (c->kind == COMMAND_HOST_UP || c->kind == COMMAND_HOST_DOWN) {
		lease_life_changed(a);
		if (c->host == a->config.self)
			look_at_registration(a);
	}
	if (c->kind == COMMAND_SWEEP) {
		lease_swept(a);
		shared_swept(a, c);
	}
	if (c->kind == COMMAND_FOUND)
		agent_act(a, ACTION_HELLO);
}

/* Each command is a group of its own; `applied_part` says how far into the slot we are. Nobody hears of
 * a grant before the tables show the slot that it stands in. */
static void apply_commands(struct agent *a, const struct paxos_entry *entry)
{
	struct agreed *agreed = &a->tables->agreed;
	struct reader r = reader_on(entry->bytes, entry->len);

	for (uint64_t part = 0; reader_left(&r); part++) {
		struct command c;
		struct effects e;

		if (!command_decode(&r, &c)) {
			agent_log(a, LOG_CRIT, "event=undecodable slot=%llu", (unsigned long long)entry->slot);
			break; /* alike on every host of this version */
		}
		if (part < agreed->applied_part)
			continue;
		apply_command(a->tables, &a->undo, &c, entry->slot, &e);
		react(a, &c, &e);
		CHANGE(agreed->applied_part, part + 1);
		end_group(a);
	}
}

static uint64_t leads_ballot(const struct paxos_entry *entry)
{
	struct reader r = reader_on(entry->bytes, entry->len);

	return get_u64(&r); /* 0 when it is none: alike on every host */
}

static void apply_chosen(struct agent *a)
{
	struct agreed *agreed = &a->tables->agreed;

	if (take_installing(a))
		return;
	if (agreed->applied < a->m.paxos->chosen)
		PROBE1(chosen, a->m.paxos->chosen);
	while (agreed->applied < a->m.paxos->chosen) {
		struct paxos_entry entry = paxos_chosen_entry(&a->paxos, agreed->applied + 1);

		atom_store_seq_cst(&a->tables->changing, a->tables->changing | 1);
		if (entry.kind == PAXOS_COMMANDS)
			apply_commands(a, &entry);
		if (entry.kind == PAXOS_LEADS)
			apply_leads(a->tables, &a->undo, leads_ballot(&entry));
		undo_save(&a->undo, agreed, sizeof(*agreed));
		atom_store_release(&agreed->applied, entry.slot);
		agreed->applied_part = 0;
		undo_commit(&a->undo);
		atom_store_seq_cst(&a->tables->changing, a->tables->changing + 1);
		session_publish(a);
		PROBE1(applied, entry.slot);
		if (entry.kind == PAXOS_LEADS)
			commands_leads_applied(a, entry.slot);
	}
	atom_store_release(&a->tables->chosen, a->m.paxos->chosen);
	lease_show_freshness(a);
	ask_applied(a);
}

void agent_installed(struct agent *a)
{
	const struct host_row *h = tables_host(a->tables, a->config.self);

	atom_store_seq_cst(&a->tables->ready, 1); /* nothing is half installed any more */
	if (!a->rebuilt)
		lines_rebuild(a); /* first: what is applied below looks for claims that ask */
	a->rebuilt = true;
	look_at_registration(a);
	if (agent_registered(a) && h->last_number >= a->m.p->first_number &&
	    h->last_number < a->m.p->next_number)
		commands_applied(a, h->last_number);
	undo_commit(&a->undo);
	if (agent_registered(a)) /* else they lapse, or have */
		lines_compare(a);
	apply_chosen(a); /* slots behind the copy may have been learnt before it came */
	sessions_gone_meanwhile(a);
	agent_act(a, ACTION_HELLO);
}

/* ---- Paxos ---- */

static void publish_leader(struct agent *a)
{
	struct tables *t = a->tables;
	bool leading = a->paxos.role == PAXOS_LEADING;

	if (!leading && a->leading)
		commands_deposed(a);
	if (a->update.leader_changed) {
		if (a->paxos.leader)
			agent_log(a, LOG_INFO, "event=leader host=%u ballot=%llu", a->paxos.leader,
				  (unsigned long long)a->paxos.seen_ballot);
		commands_forget_sent(a);
		ask_leader_changed(a);
	}
	atom_store_release(&t->leader, a->paxos.leader);
	atom_store_release(&t->ballot, a->paxos.seen_ballot);
}

void agent_carry_update(struct agent *a)
{
	if (a->m.p->leading != (a->paxos.role == PAXOS_LEADING))
		CHANGE(a->m.p->leading, a->paxos.role == PAXOS_LEADING);
	undo_commit(&a->undo); /* what is promised and accepted survives before anybody hears of it */

	for (unsigned i = 0; i < a->update.n_sends; i++) {
		const struct paxos_send *s = &a->update.sends[i];

		if (s->message.kind == PAXOS_FETCH && a->tail.on)
			continue; /* a copy comes instead, and tail.c asks for what is behind it */
		agent_send_paxos(a, s->to, &s->message);
	}
	publish_leader(a);
}

void agent_paxos_step(struct agent *a, const struct paxos_event *event)
{
	ASSERT(take_installing(a) || a->tables->agreed.applied == a->m.paxos->chosen);
	paxos_step(&a->paxos, event, &a->update);
	agent_carry_update(a);
	a->chosen_ns = event->kind == PAXOS_EVENT_MESSAGE ? a->now_ns - a->suspended_ns : agent_stamp(a);
	apply_chosen(a);
	if (a->update.snapshot_to)
		give_asked(a, a->update.snapshot_to);
}

/* ---- another leader ---- */

static bool is_voter(const struct agent *a, uint16_t host)
{
	uint32_t i = 0;

	while (i < a->config.n_voters && a->config.voters[i] != host)
		i++;
	return i < a->config.n_voters;
}

int agent_move_leader(struct agent *a, uint16_t to)
{
	uint16_t leader = a->paxos.leader;
	int rc;

	if (!is_voter(a, to))
		return -EINVAL;
	if (!leader)
		return -ENETUNREACH;
	if (leader == to)
		return 0;
	if (leader == a->config.self) {
		rc = paxos_may_hand_over(&a->paxos, to, a->now_ns);
		if (!rc)
			a->move_to = to;
		return rc;
	}
	if (!a->linked[leader])
		return -ENETUNREACH;
	struct writer w = agent_frame_begin(a, WORD_LEAD);

	put_u16(&w, to);
	agent_frame_send(a, leader, &w);
	return 0;
}

static void asked_to_move(struct agent *a, uint16_t from, struct reader *r)
{
	uint16_t to = get_u16(r);
	int rc;

	if (!reader_done(r) || a->paxos.leader != a->config.self)
		return;
	rc = agent_move_leader(a, to);
	if (rc)
		agent_log(a, LOG_WARNING, "event=leader.stays asked_by=%u for=%u reason=\"%s\"", from, to,
			  rc == -EINVAL         ? "it is no voter"
			  : rc == -EHOSTUNREACH ? "it does not answer heartbeats"
						: "this host has only just begun to lead");
}

/* To whoever may have it. */
static void leave(struct agent *a)
{
	for (uint32_t i = 0; i < a->config.n_voters && !a->move_to; i++)
		if (!paxos_may_hand_over(&a->paxos, a->config.voters[i], a->now_ns))
			a->move_to = a->config.voters[i];
}

/* With nothing of ours uncommitted. */
static void move_leader(struct agent *a)
{
	struct paxos_event e = { .kind = PAXOS_EVENT_HAND_OVER, .now_ns = a->now_ns, .from = a->move_to };

	if (!a->move_to)
		return;
	agent_log(a, LOG_NOTICE, "event=leader.moves to=%u", a->move_to);
	a->move_to = 0;
	agent_paxos_step(a, &e);
}

/* ---- frames ---- */

static void bad_peer(struct agent *a, uint16_t host, const char *text)
{
	struct agent_action *action = agent_act(a, ACTION_BAD_PEER);

	action->to = host;
	action->text = text;
}

/* While a copy is being installed nothing is applied, so nothing may be stored either that pushes what is
 * not applied out of the log: a value that has a place waits until it is sent again. All else goes on. */
static bool must_wait(const struct agent *a, const struct paxos_message *m)
{
	uint64_t chosen = a->m.paxos->chosen;

	return take_installing(a) && (m->kind == PAXOS_ACCEPT || m->kind == PAXOS_LEARN) && m->n_entries &&
	       m->entries[0].slot > chosen && m->entries[0].slot - chosen <= a->config.limits.window;
}

static void paxos_frame(struct agent *a, const struct agent_event *e)
{
	struct paxos_message message;
	struct paxos_entry entries[PAXOS_WINDOW_MAX];

	if (wire_get_paxos(e->bytes, e->len, &message, entries, a->config.limits.value_max) < 0) {
		bad_peer(a, e->from, "it sent a Paxos message that does not decode");
		return;
	}
	struct paxos_event step = { .kind = PAXOS_EVENT_MESSAGE, .now_ns = a->now_ns, .from = e->from, .message = &message };

	tail_learn(a, &message);
	if (!must_wait(a, &message))
		agent_paxos_step(a, &step);
}

static void agent_words(struct agent *a, const struct agent_event *e)
{
	const unsigned char *bytes;
	size_t len;

	if (wire_get_agent(e->bytes, e->len, &bytes, &len) < 0 || len == 0) {
		bad_peer(a, e->from, "it sent an agent message that does not decode");
		return;
	}
	struct reader r = reader_on(bytes, len);
	uint8_t word = get_u8(&r);

	switch (word) {
	case WORD_COMMANDS: commands_heard(a, e->from, &r); break;
	case WORD_ASK:
	case WORD_TELL:
		if (!take_installing(a)) /* it will be asked again */
			ask_heard(a, e->from, word, &r);
		break;
	case WORD_RENEW:
	case WORD_RENEWED: lease_heard(a, e->from, word, &r); break;
	case WORD_INDEX:
	case WORD_INDEXED:
		if (!take_installing(a))
			ask_index_heard(a, e->from, word, &r);
		break;
	case WORD_LEAD: asked_to_move(a, e->from, &r); break;
	case WORD_CHUNK: take_heard(a, e->from, &r); break;
	case WORD_HAVE: give_heard(a, e->from, &r); break;
	default: break; /* a newer host's: it does not count on being understood */
	}
}

static void frame(struct agent *a, const struct agent_event *e)
{
	if (e->from == 0 || e->from >= HOSTS_MAX || e->len < WIRE_HEADER)
		return;
	switch (wire_type_of(e->bytes)) {
	case WIRE_PAXOS: paxos_frame(a, e); break;
	case WIRE_AGENT: agent_words(a, e); break;
	default: bad_peer(a, e->from, "it sent a frame of a type that is not known"); break;
	}
}

static void link_up(struct agent *a, const struct agent_event *e)
{
	struct paxos_event step = { .kind = PAXOS_EVENT_PEER_UP, .now_ns = a->now_ns, .from = e->from };

	a->linked[e->from] = e->hello->votes ? LINKED_VOTES : LINKED_LEARNS;
	atom_store_release(&tables_host(a->tables, e->from)->linked, 1);
	agent_paxos_step(a, &step);
	if (e->from == a->paxos.leader)
		commands_forget_sent(a);
}

static void link_down(struct agent *a, const struct agent_event *e)
{
	a->linked[e->from] = 0;
	atom_store_release(&tables_host(a->tables, e->from)->linked, 0);
	if (a->give.to == e->from)
		give_stop(a);
	take_link_down(a, e->from);
}

/* ---- time ---- */

/* A registered host lives by its lease; until it has one, a leader's signs are what there is. */
static void look_for_quorum(struct agent *a)
{
	bool lost;

	if (a->paxos.leader && !a->deadline_ns) {
		a->last_heard_ns = MAX(a->last_heard_ns, a->paxos.leader_heard_ns);
		a->ever_heard = true;
	}
	if (a->deadline_ns == NEVER)
		a->last_heard_ns = a->now_ns;
	lost = a->now_ns - a->last_heard_ns >= a->config.host_lease_ns;
	if (lost && !a->no_quorum && !take_installing(a)) {
		a->no_quorum = true;
		atom_store_release(&a->tables->quorum, 0);
		agent_log(a, LOG_WARNING, "event=no-quorum silent_ms=%llu",
			  (unsigned long long)((a->now_ns - a->last_heard_ns) / NS_PER_MS));
		lines_no_quorum(a);
	} else if (!lost && a->ever_heard && (a->no_quorum || !atom_load_relaxed(&a->tables->quorum))) {
		a->no_quorum = false;
		atom_store_release(&a->tables->quorum, 1);
		agent_log(a, LOG_NOTICE, "event=quorum leader=%u", a->paxos.leader);
	}
}

static uint64_t wake_at(const struct agent *a)
{
	uint64_t at = MIN(MIN(a->update.wake_at_ns, lease_wake_at(a)), MIN(give_wake_at(a), MIN(take_wake_at(a), tail_wake_at(a))));

	if (take_installing(a))
		return at;
	at = MIN(MIN(at, commands_wake_at(a)), MIN(gates_wake_at(a), keep_wake_at(a)));
	if (a->lingering)
		at = MIN(at, a->linger_at_ns);
	if (a->asking)
		at = MIN(at, a->ask_at_ns);
	if (!a->no_quorum)
		at = MIN(at, a->last_heard_ns + a->config.host_lease_ns);
	return at;
}

/* The first event but SESSION_MAP: everything of the past is at hand, go on from there. Always as after an
 * install: the predecessor may have died between installing and comparing. */
static void start(struct agent *a)
{
	a->started = true;
	if (MUTANT(191))
		a->m.p->installing = 0;
	if (take_installing(a))
		take_install(a);
	else
		agent_installed(a);
}

/* The end of a turn of the loop: what programs want, what hosts are to get, a bite of a copy. */
static void turn(struct agent *a)
{
	if (!take_installing(a)) {
		session_scan(a);
		gates_tick(a);
		keep_tick(a);
		lines_settle_dirty(a);
	}
	take_turn(a);
	tail_turn(a);
	give_turn(a);
}

/* ---- the step ---- */

struct agent_actions agent_step(struct agent *a, const struct agent_event *e)
{
	struct paxos_event time = { .kind = PAXOS_EVENT_TIME, .now_ns = e->now_ns };

	a->now_ns = e->now_ns;
	a->suspended_ns = e->suspended_ns;
	a->clock_gap_ns = e->clock_gap_ns;
	atom_store_relaxed(&a->tables->clock_ns, agent_monotonic_ns(a, a->now_ns));
	actions_begin(a);
	if (!a->started && e->kind != AGENT_SESSION_MAP)
		start(a);
	if (a->started)
		look_for_quorum(a); /* before anything is told that a lease must cover */
	switch (e->kind) {
	case AGENT_SESSION_MAP: session_mapped(a, e); break;
	case AGENT_SESSION_OPEN: session_opened(a, e); break;
	case AGENT_SESSION_GONE: session_gone(a, e->slot); break;
	case AGENT_LINK_UP: link_up(a, e); break;
	case AGENT_LINK_DOWN: link_down(a, e); break;
	case AGENT_FRAME: frame(a, e); break;
	case AGENT_TIME: break;
	case AGENT_LEAVE: leave(a); break;
	case AGENT_TURN: turn(a); break;
	}
	if (a->started) {
		move_leader(a);
		if (a->now_ns >= a->update.wake_at_ns)
			agent_paxos_step(a, &time);
		lease_tick(a);
		look_for_quorum(a);
		commands_tick(a);
		if (!take_installing(a))
			ask_tick(a);
		if (e->kind == AGENT_TURN && !take_installing(a))
			commands_flush(a);
		a->n_unsent = 0; /* the rest was granted here, or waits for room */
	}
	agent_commit(a);
	return (struct agent_actions){
		.at = a->actions,
		.n = a->n_actions,
		.wake_at_ns = wake_at(a),
		.again = !take_installing(a) &&
			 (a->more_requests || a->ending > a->lingering || a->m.p->lapse_at || a->more_dirty || (a->dirty_count && commands_room(a))),
	};
}

bool agent_may_sleep(struct agent *a)
{
	atom_store_seq_cst(&a->tables->agent_sleeps, 1);
	atom_fence_seq_cst(); /* pairs with arena_announce(): it sets the bit, then looks at agent_sleeps */
	/* While a copy is installed no request is taken: it is paced, and who waits for it sleeps. */
	for (uint32_t i = 0; i < ARRAY_LEN(a->arena->pending) && !take_installing(a); i++) {
		if (atom_load_seq_cst(&a->arena->pending[i])) {
			agent_awake(a);
			return false;
		}
	}
	return true;
}

void agent_awake(struct agent *a)
{
	atom_store_seq_cst(&a->tables->agent_sleeps, 0);
}

uint32_t agent_free_slot(const struct agent *a)
{
	for (uint32_t slot = 1; slot <= a->m.p->n_sessions; slot++)
		if (a->m.sessions[slot].state == SESSION_FREE)
			return slot;
	return 0;
}

bool agent_has_session(const struct agent *a, uint32_t slot)
{
	return slot > 0 && slot <= a->m.p->n_sessions && a->m.sessions[slot].state != SESSION_FREE;
}

struct wire_hello agent_hello(const struct agent *a)
{
	const struct table_capacity *c = &a->config.limits.capacity;
	uint64_t id = hash_mix(c->rows ^ (uint64_t)c->cells << 32) ^ hash_mix(c->waits);

	for (uint32_t i = 0; i < a->config.n_voters; i++)
		id = hash_mix(id ^ a->config.voters[i]);
	if (!MUTANT(381)) {
		id = hash_mix(id ^ a->config.leader_lease_ns);
		id = hash_mix(id ^ a->config.host_lease_ns);
		id = hash_mix(id ^ a->config.drift_ppm);
	}
	return (struct wire_hello){
		.cluster_id = a->tables->cluster_id,
		.history = a->tables->agreed.history,
		.voters_id = id,
		.from = a->config.self,
		.votes = a->paxos.config.votes,
		.nonce = a->m.p->nonce,
	};
}

/* ---- for tests and the simulator ---- */

const struct paxos *agent_paxos(const struct agent *a)
{
	return &a->paxos;
}

struct undo *agent_undo(struct agent *a)
{
	return &a->undo;
}

struct agent_copies agent_copies(const struct agent *a)
{
	struct agent_copies copies = a->copies;

	if (a->give.to)
		copies.early += a->give.copy.early;
	return copies;
}
