/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's step: events in, actions out; Paxos; applying what is chosen. See agent.h and inside.h. */
#include "inside.h"
#include "probe.h"

#include <errno.h>
#include <stdarg.h>
#include <syslog.h>

#define CHANGE(lvalue, value) SET(&a->undo, lvalue, value)
#define OUT_BYTES (8u << 20)

/* ---- actions ---- */

struct agent_action *agent_act(struct agent *a, enum agent_action_kind kind)
{
	struct agent_action *action = &a->actions[a->n_actions];

	ASSERT(a->n_actions < a->max_actions);
	a->n_actions++;
	*action = (struct agent_action){ .kind = kind };
	return action;
}

static const char *format_text(struct agent *a, const char *format, va_list args)
{
	char *text = (char *)a->out + a->out_len;
	size_t room = MIN(a->out_cap - a->out_len, (size_t)512);
	int n = room ? vsnprintf(text, room, format, args) : -1;

	if (n < 0)
		return "";
	a->out_len += MIN((size_t)n + 1, room);
	return text;
}

void agent_log(struct agent *a, uint8_t level, const char *format, ...)
{
	struct agent_action *action = agent_act(a, ACTION_LOG);
	va_list args;

	va_start(args, format);
	action->level = level;
	action->text = format_text(a, format, args);
	va_end(args);
}

void agent_fatal(struct agent *a, const char *format, ...)
{
	struct agent_action *action = agent_act(a, ACTION_FATAL);
	va_list args;

	va_start(args, format);
	action->text = format_text(a, format, args);
	va_end(args);
}

static void send_bytes(struct agent *a, uint16_t to, int len)
{
	struct agent_action *action;

	if (len < 0)
		return; /* no room in this step: lost, as the network may lose it */
	action = agent_act(a, ACTION_SEND);
	action->to = to;
	action->bytes = a->out + a->out_len;
	action->len = (size_t)len;
	a->out_len += (size_t)len;
}

struct writer agent_frame_begin(struct agent *a, enum agent_word word)
{
	struct writer w = writer_on(a->body, BODY_BYTES);

	put_u8(&w, (uint8_t)word);
	return w;
}

void agent_frame_send(struct agent *a, uint16_t to, const struct writer *w)
{
	ASSERT(w->ok);
	send_bytes(a, to, wire_put_agent(a->out + a->out_len, a->out_cap - a->out_len, w->bytes, w->len));
}

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
	return a->config.clock_ns ? a->config.clock_ns() : a->now_ns;
}

/* ---- our own life ---- */

bool agent_registered(const struct agent *a)
{
	uint64_t ours = a->m.p->incarnation;

	return ours && tables_host(a->tables, a->config.self)->incarnation == ours;
}

/* After the host table changed: are we registered, or is somebody else in our name? */
static void look_at_registration(struct agent *a)
{
	const struct host_row *h = tables_host(a->tables, a->config.self);
	struct private_memory *p = a->m.p;

	if (p->incarnation == 0 && h->incarnation && h->nonce == p->nonce) {
		CHANGE(p->incarnation, h->incarnation);
		agent_log(a, LOG_NOTICE, "event=registered incarnation=%llu",
			  (unsigned long long)p->incarnation);
	} else if (p->incarnation && h->incarnation != p->incarnation) {
		agent_fatal(a, "event=replaced reason=\"another agent has registered with this host's id %u: "
			       "two hosts share an id, or a second paxshmd runs for this host\"",
			    a->config.self);
	}
	atom_store_release(&a->tables->incarnation, p->incarnation);
}

/* ---- applying ---- */

static void own_command_applied(struct agent *a, const struct command *c, const struct effects *e)
{
	commands_applied(a, c->number);
	switch (c->kind) {
	case COMMAND_ACQUIRE: line_acquired(a, c, e->outcome); break;
	case COMMAND_CANCEL: line_cancelled(a, c); break;
	case COMMAND_BARRIER: ask_barrier_applied(a, c->number); break;
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
	if (e->applied != APPLIED_DONE)
		return;
	for (unsigned i = 0; i < e->n_grants; i++) {
		struct lock_value v = table_value(a->tables, e->grants[i]);

		if (v.host == a->config.self && agent_registered(a) && v.incarnation == a->m.p->incarnation)
			line_granted(a, e->grants[i]);
	}
	if (c->number && c->host == a->config.self && c->incarnation == a->m.p->incarnation)
		own_command_applied(a, c, e);
	if (c->kind == COMMAND_HOST_UP && c->host == a->config.self)
		look_at_registration(a);
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

static void apply_chosen(struct agent *a)
{
	struct agreed *agreed = &a->tables->agreed;

	if (agreed->applied < a->m.paxos->chosen)
		PROBE1(chosen, a->m.paxos->chosen);
	while (agreed->applied < a->m.paxos->chosen) {
		struct paxos_entry entry = paxos_chosen_entry(&a->paxos, agreed->applied + 1);

		atom_store_seq_cst(&a->tables->changing, a->tables->changing | 1);
		if (entry.kind == PAXOS_COMMANDS)
			apply_commands(a, &entry);
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
}

void agent_installed(struct agent *a)
{
	const struct host_row *h = tables_host(a->tables, a->config.self);

	look_at_registration(a);
	if (agent_registered(a) && h->last_number >= a->m.p->first_number &&
	    h->last_number < a->m.p->next_number)
		commands_applied(a, h->last_number);
	undo_commit(&a->undo);
	lines_compare(a);
	apply_chosen(a); /* slots behind the copy may have been learnt before it came */
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

		send_bytes(a, s->to, wire_put_paxos(a->out + a->out_len, a->out_cap - a->out_len, &s->message));
	}
	publish_leader(a);
}

void agent_paxos_step(struct agent *a, const struct paxos_event *event)
{
	ASSERT(a->tables->agreed.applied == a->m.paxos->chosen);
	paxos_step(&a->paxos, event, &a->update);
	agent_carry_update(a);
	a->chosen_ns = event->kind == PAXOS_EVENT_MESSAGE ? a->now_ns : agent_stamp(a);
	apply_chosen(a);
	if (a->update.snapshot_to)
		transfer_offer(a, a->update.snapshot_to);
}

/* ---- frames ---- */

static void bad_peer(struct agent *a, uint16_t host, const char *text)
{
	struct agent_action *action = agent_act(a, ACTION_BAD_PEER);

	action->to = host;
	action->text = text;
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
	case WORD_TELL: ask_heard(a, e->from, word, &r); break;
	case WORD_CHUNK:
	case WORD_HAVE: transfer_heard(a, e->from, word, &r); break;
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
	transfer_link_down(a, e->from);
}

/* ---- time ---- */

static void look_for_quorum(struct agent *a)
{
	bool lost;

	if (a->paxos.role == PAXOS_LEADING && a->config.n_voters == 1)
		a->paxos.leader_heard_ns = a->now_ns;
	if (a->paxos.leader) {
		a->last_heard_ns = MAX(a->last_heard_ns, a->paxos.leader_heard_ns);
		a->ever_heard = true;
	}
	lost = a->now_ns - a->last_heard_ns >= a->config.host_lease_ns;
	if (lost && !a->no_quorum) {
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
	if (a->ever_heard)
		atom_store_release(&a->tables->fresh_as_of_ns, a->last_heard_ns);
}

static uint64_t wake_at(const struct agent *a)
{
	uint64_t at = MIN(a->update.wake_at_ns, commands_wake_at(a));

	if (a->asking)
		at = MIN(at, a->ask_at_ns);
	if (!a->no_quorum)
		at = MIN(at, a->last_heard_ns + a->config.host_lease_ns);
	return at;
}

/* The first event but SESSION_MAP: everything of the past is at hand, go on from there. */
static void start(struct agent *a)
{
	a->started = true;
	if (a->m.p->installing)
		transfer_install(a);
	atom_store_seq_cst(&a->tables->ready, 1); /* nothing is half installed any more */
	lines_rebuild(a);                         /* first: what is applied below looks for claims that ask */
	agent_installed(a);                       /* always: the predecessor may have died between installing and comparing */
}

/* ---- the step ---- */

struct agent_actions agent_step(struct agent *a, const struct agent_event *e)
{
	struct paxos_event time = { .kind = PAXOS_EVENT_TIME, .now_ns = e->now_ns };

	a->now_ns = e->now_ns;
	a->n_actions = 0;
	a->out_len = 0;
	if (!a->started && e->kind != AGENT_SESSION_MAP)
		start(a);
	switch (e->kind) {
	case AGENT_SESSION_MAP: session_mapped(a, e); break;
	case AGENT_SESSION_OPEN: session_opened(a, e); break;
	case AGENT_SESSION_GONE: session_gone(a, e->slot); break;
	case AGENT_LINK_UP: link_up(a, e); break;
	case AGENT_LINK_DOWN: link_down(a, e); break;
	case AGENT_FRAME: frame(a, e); break;
	case AGENT_TIME: break;
	case AGENT_TURN:
		session_scan(a);
		lines_settle_dirty(a);
		break;
	}
	if (a->started) {
		if (a->now_ns >= a->update.wake_at_ns)
			agent_paxos_step(a, &time);
		look_for_quorum(a);
		commands_tick(a);
		ask_tick(a);
		if (e->kind == AGENT_TURN)
			commands_flush(a);
		a->n_unsent = 0; /* the rest was granted here, or waits for room */
	}
	agent_commit(a);
	return (struct agent_actions){
		.at = a->actions,
		.n = a->n_actions,
		.wake_at_ns = wake_at(a),
		.again = a->more_requests || a->ending || a->more_dirty || (a->dirty_count && commands_room(a)),
	};
}

bool agent_may_sleep(struct agent *a)
{
	atom_store_seq_cst(&a->tables->agent_sleeps, 1);
	atom_fence_seq_cst(); /* pairs with ring_announce(): it sets the bit, then looks at agent_sleeps */
	for (uint32_t i = 0; i < ARRAY_LEN(a->arena->pending); i++) {
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
	return (struct wire_hello){
		.cluster_id = a->tables->cluster_id,
		.history = a->tables->agreed.history,
		.voters_id = id,
		.from = a->config.self,
		.votes = a->paxos.config.votes,
		.nonce = a->m.p->nonce,
	};
}

/* ---- a check that tests and successors can run ---- */

static const char *check_claim(const struct agent *a, uint32_t i)
{
	const struct claim *c = &a->m.claims[i];

	if (c->line == 0 || c->line > a->m.p->lines_high || a->m.lines[c->line].key_len == 0)
		return "a claim on no line";
	if (a->m.sessions[c->session].state == SESSION_FREE)
		return "a claim of no session";
	if (c->state == CLAIM_OWNER && a->m.lines[c->line].owner != i)
		return "an owner whose line names another";
	return NULL;
}

static const char *check_line(const struct agent *a, uint32_t i)
{
	const struct line *l = &a->m.lines[i];
	uint32_t waiting = 0, blocking = 0, prev = 0;

	if (line_find(a, l->key, l->key_len, l->hash) != i)
		return "a line that is not found by its key";
	for (uint32_t c = l->head; c; prev = c, c = a->m.claims[c].next) {
		const struct claim *claim = &a->m.claims[c];

		if (claim->state != CLAIM_WAITING || claim->line != i || claim->prev != prev || waiting > a->m.p->claims_used)
			return "a broken queue";
		waiting++;
		blocking += !(claim->flags & REQUEST_TRY);
	}
	if (waiting != l->n_waiting || blocking != l->n_blocking || l->tail != prev)
		return "a queue that is counted wrong";
	if (l->owner && (l->state != LINE_OURS || a->m.claims[l->owner].state != CLAIM_OWNER))
		return "an owner without a delegation";
	if (l->state == LINE_OURS && (l->used > LOCK_RANGE || (l->owner && l->used == 0)))
		return "tokens out of their range";
	return NULL;
}

const char *agent_check(const struct agent *a)
{
	const struct private_memory *p = a->m.p;
	const char *wrong = NULL;
	uint32_t claims = 0, lines = 0, sessions = 0;

	for (uint32_t slot = 1; slot <= p->n_sessions; slot++) {
		if (a->m.sessions[slot].state == SESSION_FREE)
			continue;
		sessions++;
		for (uint32_t i = a->m.sessions[slot].claims; i && !wrong; i = a->m.claims[i].session_next) {
			claims++;
			wrong = a->m.claims[i].session == slot ? check_claim(a, i) : "a claim in another session's list";
		}
	}
	for (uint32_t i = 1; i <= p->lines_high && !wrong; i++) {
		if (a->m.lines[i].key_len == 0)
			continue;
		lines++;
		wrong = check_line(a, i);
	}
	if (!wrong && (claims != p->claims_used || lines != p->lines_used || sessions != p->sessions_used))
		wrong = "claims, lines or sessions are counted wrong";
	if (!wrong && p->next_number - p->first_number > COMMANDS_MAX)
		wrong = "more commands under way than there is room for";
	return wrong;
}

const struct paxos *agent_paxos(const struct agent *a)
{
	return &a->paxos;
}

struct undo *agent_undo(struct agent *a)
{
	return &a->undo;
}

/* ---- birth ---- */

static bool allocate(struct agent *a, const struct agent_limits *l)
{
	uint32_t lines = a->m.p->n_lines + 1;
	struct paxos_config probe = { .window = l->window, .value_max = l->value_max };

	a->max_completed = l->sessions * (RING_CALLS + RING_REQUESTS) + 64;
	a->max_actions = a->max_completed + 65536;
	a->out_cap = OUT_BYTES;
	a->actions = calloc(a->max_actions, sizeof(*a->actions));
	a->completed = calloc(a->max_completed, sizeof(*a->completed));
	a->out = malloc(OUT_BYTES);
	a->body = malloc(BODY_BYTES);
	a->rings = calloc(l->sessions + 1, sizeof(*a->rings));
	a->dirty = calloc(lines, sizeof(*a->dirty));
	a->is_dirty = calloc(lines, 1);
	a->taken = calloc(HOSTS_MAX, sizeof(*a->taken));
	a->pending = malloc(PENDING_BYTES);
	a->linked = calloc(HOSTS_MAX, 1);
	a->stamps = calloc(a->m.p->n_claims + 1, sizeof(*a->stamps));
	a->give.bytes = malloc(a->m.p->inbox_size);
	a->paxos.found_values = malloc(paxos_scratch_size(&probe));
	return a->actions && a->completed && a->out && a->body && a->rings && a->dirty && a->is_dirty &&
	       a->taken && a->pending && a->linked && a->stamps && a->give.bytes && a->paxos.found_values;
}

static void start_paxos(struct agent *a, uint64_t now_ns)
{
	const struct agent_config *c = &a->config;
	struct paxos_config p = {
		.self = c->self,
		.n_voters = c->n_voters,
		.votes = a->m.p->votes,
		.log_slots = c->limits.log_slots,
		.window = c->limits.window,
		.value_max = c->limits.value_max,
		.heartbeat_ns = c->heartbeat_ns,
		.election_ns = c->election_ns,
		.seed = c->seed,
	};

	memcpy(p.voters, c->voters, sizeof(p.voters));
	paxos_init(&a->paxos, &p, a->m.paxos, a->paxos.found_values, &a->undo, a->m.p->leading, now_ns);
	undo_commit(&a->undo);
	a->update.wake_at_ns = now_ns;
}

/* Inherited memory: put right what the predecessor left half done, and count ourselves. */
static void take_over(struct agent *a)
{
	struct tables *t = a->tables;

	table_recover(t, &a->undo);
	if (t->agreed.applied_part == 0) /* between two slots; else start() ends the one that was begun */
		atom_store_seq_cst(&t->changing, (t->changing + 1) & ~1ull);
	for (uint32_t slot = 1; slot <= a->m.p->n_sessions; slot++)
		a->ending += a->m.sessions[slot].state == SESSION_ENDING;
	t->sessions = a->m.p->sessions_used; /* may have been left behind a commit */
	for (uint32_t h = 1; h < t->n_hosts; h++)
		atom_store_release(&tables_host(t, h)->linked, 0);
}

static const char *attach(struct agent *a, const struct agent_memory *memory)
{
	struct private_memory *p = memory->private;
	const struct table_capacity *capacity = &a->config.limits.capacity;
	const char *wrong;
	bool fresh;

	wrong = memory_attach(&a->m, p, &a->config, &fresh);
	if (wrong)
		return wrong;
	a->undo.log = a->m.undo;
	undo_add_area(&a->undo, p, p->segment.size);
	undo_add_area(&a->undo, memory->tables, tables_size(capacity));
	if (fresh) {
		tables_format(memory->tables, capacity, a->config.cluster, a->config.self);
		arena_format(memory->arena);
		memory->tables->deadline_ns = memory->tables->deadline_boot_ns = NEVER;
		memory->tables->ready = 1;
		atom_store_release(&p->segment.magic, SEGMENT_MAGIC);
	}
	wrong = tables_verify(memory->tables, tables_size(capacity));
	if (!wrong && !fresh)
		take_over(a);
	return wrong;
}

int agent_new(struct agent **ret, const struct agent_config *config, const struct agent_memory *memory,
	      uint64_t now_ns, const char **ret_why)
{
	struct agent *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->config = *config;
	a->tables = memory->tables;
	a->arena = memory->arena;
	a->now_ns = now_ns;
	a->last_heard_ns = now_ns;
	a->ask_at_ns = NEVER;
	*ret_why = attach(a, memory);
	if (*ret_why) {
		agent_free(a);
		return -EPROTO;
	}
	if (!allocate(a, &config->limits)) {
		agent_free(a);
		return -ENOMEM;
	}
	start_paxos(a, now_ns);
	a->tables->role = HOST_OBSERVER;
	for (uint32_t i = 0; i < config->n_voters; i++)
		if (config->voters[i] == config->self && a->m.p->votes)
			a->tables->role = HOST_VOTER;
	a->tables->agent_starts++;
	agent_awake(a);
	*ret = a;
	return 0;
}

void agent_free(struct agent *a)
{
	if (!a)
		return;
	free(a->actions);
	free(a->completed);
	free(a->out);
	free(a->body);
	free(a->rings);
	free(a->dirty);
	free(a->is_dirty);
	free(a->taken);
	free(a->pending);
	free(a->linked);
	free(a->stamps);
	free(a->give.bytes);
	free(a->paxos.found_values);
	free(a);
}
