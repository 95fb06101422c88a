/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One host: what the keeper holds (memory, sessions), and the reactor's loop around the shipping
 * agent. The loop hands in what has come, then TURN, then sleeps if it may - and dies where it is told
 * to: between steps, between two actions of one step, after a commit, or inside a group of changes.
 */
#include "sim.h"

#define LOOP_NS (2 * US)    /* one turn of the loop */
#define RESTLESS_MAX 20000u /* turns without sleep: the agent thinks that there is more to do, for ever */

/* ---- memory ---- */

static bool is_voter(const struct sim *s, uint16_t id)
{
	return id <= s->plan.voters;
}

void host_init(struct sim *s, uint16_t id)
{
	struct host *h = &s->host[id];
	struct agent_config *c = &h->config;

	*h = (struct host){ .id = id, .exists = true, .voter = is_voter(s, id), .votes = is_voter(s, id), .run_at = NEVER, .wake_ns = NEVER };
	*c = (struct agent_config){
		.self = id,
		.n_voters = s->plan.voters,
		.founding = true,
		.cluster = "simulated",
		.limits = s->plan.limits,
		.heartbeat_ns = s->plan.heartbeat_ns,
		.leader_lease_ns = s->plan.leader_lease_ns,
		.host_lease_ns = s->plan.host_lease_ns,
		.drift_ppm = (uint32_t)s->plan.drift_ppm,
		.ask_ns = s->plan.ask_ns,
		.handover_max = s->plan.handover_max,
		.handover_ns = s->plan.handover_ns,
		.keep_ns = s->plan.keep_ns,
		.range = s->plan.range,
		.copy_bite = s->plan.copy_bite,
		.copy_pace_ns = s->plan.copy_pace_ns,
	};
	for (unsigned i = 0; i < s->plan.voters; i++)
		c->voters[i] = (uint16_t)(i + 1);
	/* What is not agreed may differ from host to host. */
	c->limits.sessions = (uint32_t)sim_pick(s, 2, SIM_SLOTS);
	c->limits.claims = s->plan.limits.claims ? s->plan.limits.claims : (uint32_t)sim_pick(s, 6, 40);
	h->private_size = agent_private_size(&c->limits);
	h->tables_size = agent_tables_size(&c->limits);
	h->arena_size = agent_arena_size(&c->limits);
	h->memory.private = calloc(1, h->private_size);
	h->memory.tables = calloc(1, h->tables_size);
	h->memory.arena = calloc(1, h->arena_size);
	clock_init(s, h);
	ASSERT(h->memory.private && h->memory.tables && h->memory.arena);
}

void host_end(struct host *h)
{
	while (h->inbox) {
		struct parcel *p = h->inbox;

		h->inbox = p->next;
		free(p);
	}
	agent_free(h->agent);
	h->agent = NULL;
	free(h->memory.private);
	free(h->memory.tables);
	free(h->memory.arena);
}

uint16_t sim_leader(const struct sim *s)
{
	uint64_t ballot = 0;
	uint16_t leader = 0;

	for (uint16_t id = 1; id <= s->n_hosts; id++) {
		const struct paxos *p = s->host[id].agent ? agent_paxos(s->host[id].agent) : NULL;

		if (p && p->role == PAXOS_LEADING && p->ballot > ballot) {
			ballot = p->ballot;
			leader = id;
		}
	}
	return leader;
}

/* ---- being run ---- */

static void run_at(struct sim *s, struct host *h, uint64_t at)
{
	at = MAX(at, MAX(s->now_ns, h->paused_until));
	if (!h->agent || h->run_at <= at)
		return;
	h->run_at = at;
	sim_at(s, at, (struct event){ .kind = EVENT_RUN, .a = h->id });
}

void host_wake(struct sim *s, struct host *h, uint64_t after_ns)
{
	run_at(s, h, s->now_ns + after_ns);
}

void host_receive(struct sim *s, struct host *h, struct parcel *p)
{
	if (!h->agent) {
		ASSERT(!p->client);
		free(p);
		return;
	}
	if (h->inbox)
		h->inbox_last->next = p;
	else
		h->inbox = p;
	h->inbox_last = p;
	host_wake(s, h, sim_pick(s, 0, 20 * US));
}

/* ---- death ---- */

static void empty_inbox(struct sim *s, struct host *h)
{
	struct parcel *p;

	while ((p = h->inbox)) {
		h->inbox = p->next;
		if (p->kind == PARCEL_OPEN)
			client_opened(s, p->client, 0);
		free(p);
	}
	h->inbox_last = NULL;
}

/* An install that has begun, and perhaps one whose tables stand while the log is not yet trimmed. */
static void mark_death_in_copy(struct sim *s, const struct host *h)
{
	const struct private_memory *p = h->memory.private;
	const struct tables *t = h->memory.tables;

	if (!p->installing)
		return;
	sim_mark(s, t->agreed.applied > h->applied ? MARK_CRASH_BEFORE_TRIM : MARK_CRASH_IN_INSTALL);
}

void host_die(struct sim *s, struct host *h, uint64_t back_after_ns)
{
	unsigned alive = 0;

	trace(s, "host %u: the agent dies, %u words to undo", h->id, (unsigned)agent_undo(h->agent)->log->used);
	if (h->leading)
		sim_mark(s, MARK_CRASH_OF_LEADER);
	mark_death_in_copy(s, h);
	if (h->settled_life != h->lives)
		sim_mark(s, MARK_CRASH_TWICE);
	undo_died(s, h);
	undo_unwatch(h);
	agent_free(h->agent);
	h->agent = NULL;
	h->leading = false;
	h->doom = DOOM_NONE;
	h->run_at = h->wake_ns = NEVER;
	h->asleep = false;
	empty_inbox(s, h);
	network_host_died(s, h);
	for (uint16_t id = 1; id <= s->n_hosts; id++)
		alive += s->host[id].agent != NULL;
	if (!alive)
		sim_mark(s, MARK_CRASH_OF_ALL);
	sim_at(s, s->now_ns + back_after_ns, (struct event){ .kind = EVENT_START, .a = h->id });
}

void host_lose_memory(struct sim *s, struct host *h)
{
	trace(s, "host %u: loses its memory and all its programs", h->id);
	sim_mark(s, MARK_MEMORY_LOST);
	if (h->leading)
		sim_mark(s, MARK_MEMORY_LOST_LEADER);
	for (unsigned i = 0; i < SIM_CLIENTS; i++)
		if (s->client[i].host == h->id && s->client[i].state != CLIENT_FREE)
			client_kill(s, &s->client[i]);
	if (h->agent)
		host_die(s, h, sim_about(s, 300 * MS));
	/* A keeper that was restarted knows its predecessor's nonce, unless the machine was. */
	h->config.heir_of = sim_chance(s, 1, 2) ? ((struct private_memory *)h->memory.private)->nonce : 0;
	memset(h->memory.private, 0, h->private_size);
	memset(h->memory.tables, 0, h->tables_size);
	memset(h->memory.arena, 0, h->arena_size);
	h->config.founding = false;
	h->votes = h->scribbled = false;
}

/* ---- actions ---- */

static bool goes_to(const struct host *h, uint16_t to, uint16_t id)
{
	switch (to) {
	case PAXOS_TO_VOTERS:
		return h->up_votes[id];
	case PAXOS_TO_OBSERVERS:
		return !h->up_votes[id];
	case PAXOS_TO_ALL:
		return true;
	default:
		return to == id;
	}
}

static void act_send(struct sim *s, struct host *h, const struct agent_action *a)
{
	CHECK(s, a->len == (size_t)wire_frame_length(a->bytes, a->len), "host %u sends a frame of %zu bytes that says %d", h->id,
	      a->len, wire_frame_length(a->bytes, a->len));
	CHECK(s, a->to != h->id, "host %u sends to itself", h->id);
	if (wire_type_of(a->bytes) == WIRE_PAXOS)
		log_check_said(s, h, a->bytes, a->len);
	for (uint16_t id = 1; id <= s->n_hosts; id++)
		if (id != h->id && goes_to(h, a->to, id))
			network_send(s, h, id, a->bytes, a->len);
}

static void act(struct sim *s, struct host *h, const struct agent_action *a)
{
	struct client *c;

	switch (a->kind) {
	case ACTION_SEND:
		act_send(s, h, a);
		break;
	case ACTION_WAKE:
		c = h->session[a->slot];
		CHECK(s, c, "host %u wakes a call of slot %u, where no session is", h->id, a->slot);
		client_woken(s, c, a->call);
		break;
	case ACTION_ROUSE:
		gates_rouse(s, h, a->record);
		break;
	case ACTION_CLOSED:
		c = h->session[a->slot];
		CHECK(s, c, "host %u closes slot %u, where no session is", h->id, a->slot);
		trace(s, "host %u: session %u (program %u) is over", h->id, a->slot, c->id);
		h->session[a->slot] = NULL;
		client_let_go(s, c);
		break;
	case ACTION_BANNED:
		c = h->session[a->slot];
		CHECK(s, c && c->nonsense, "host %u bans session %u, which did nothing wrong: %s", h->id, a->slot, a->text);
		trace(s, "host %u: session %u (program %u) is banned: %s", h->id, a->slot, c->id, a->text);
		sim_mark(s, MARK_SESSION_BANNED);
		break;
	case ACTION_BAD_PEER:
		sim_fail(s, "host %u cannot read what host %u sent: %s", h->id, a->to, a->text);
	case ACTION_HELLO:
		break;
	case ACTION_LOG:
		trace(s, "host %u: log: %s", h->id, a->text);
		if (strstr(a->text, "event=gate.nonsense"))
			sim_mark(s, MARK_GATE_MENDED);
		CHECK(s, h->scribbled || !strstr(a->text, "event=gate.nonsense"), "host %u finds nonsense at a gate, and nobody wrote any: %s", h->id, a->text);
		break;
	case ACTION_FATAL:
		sim_fail(s, "host %u gives up: %s", h->id, a->text);
	}
}

/* ---- a step ---- */

static bool doomed_at_action(struct host *h)
{
	return h->doom == DOOM_ACTION && h->doom_after-- == 0;
}

/* A copy that is being installed is soon done: deaths in it, and in the group that ends it, are helped along. */
static bool dies_installing(struct sim *s, struct host *h)
{
	const struct private_memory *p = h->memory.private;

	if (!p->installing || !s->plan.crash_ns || sim_healing(s) || h->doom != DOOM_NONE || !sim_chance(s, 1, 100))
		return false;
	h->doom = sim_chance(s, 1, 2) ? DOOM_SAVE : DOOM_NONE;
	h->doom_after = sim_pick(s, 0, 4);
	if (h->doom == DOOM_NONE)
		host_die(s, h, sim_about(s, 20 * MS));
	return h->doom == DOOM_NONE;
}

static bool ends_session(const struct host *h)
{
	for (uint32_t slot = 1; slot <= SIM_SLOTS; slot++)
		if (h->session[slot] && h->session[slot]->gone)
			return true;
	return false;
}

/* false: the agent died in it. */
static bool step(struct sim *s, struct host *h, const struct agent_event *event)
{
	struct agent_event e = *event;
	struct agent_actions actions;
	bool compare = sim_chance(s, 1, ends_session(h) ? 10 : 150);

	if (dies_installing(s, h))
		return false;
	e.now_ns = host_clock(s, h);
	e.suspended_ns = e.now_ns - host_mono_clock(s, h);
	e.clock_gap_ns = host_clock_gap(s, h);
	s->tally->steps++;
	h->deadline_before = h->memory.tables->deadline_boot_ns;
	if (compare || h->doom == DOOM_SAVE || h->doom == DOOM_COMMIT)
		undo_watch(s, h, compare);
	if (setjmp(h->grave)) {
		sim_mark(s, h->doom == DOOM_COMMIT ? MARK_CRASH_AT_COMMIT : MARK_CRASH_IN_GROUP);
		trace(s, "host %u: killed inside a step, %s", h->id, h->doom == DOOM_COMMIT ? "after a commit" : "after a save");
		host_die(s, h, sim_about(s, 50 * MS));
		return false;
	}
	actions = agent_step(h->agent, &e);
	undo_unwatch(h);
	CHECK(s, agent_undo(h->agent)->log->used == 0, "host %u ended a step with changes not committed", h->id);
	if (!h->mapping) /* what one session was told may be about another's that is mapped only then */
		oracle_after_step(s, h);
	h->wake_ns = actions.wake_at_ns;
	for (unsigned i = 0; i < actions.n; i++) {
		if (doomed_at_action(h)) {
			sim_mark(s, MARK_CRASH_IN_ACTIONS);
			host_die(s, h, sim_about(s, 50 * MS));
			return false;
		}
		act(s, h, &actions.at[i]);
	}
	if (actions.again)
		host_wake(s, h, LOOP_NS);
	return true;
}

/* ---- what comes in ---- */

static bool link_down(struct sim *s, struct host *h, uint16_t from)
{
	h->up[from] = 0;
	trace(s, "host %u: link to %u is down", h->id, from);
	return step(s, h, &(struct agent_event){ .kind = AGENT_LINK_DOWN, .from = from });
}

static bool link_up(struct sim *s, struct host *h, const struct parcel *p)
{
	struct wire_hello theirs, ours = agent_hello(h->agent);

	CHECK(s, wire_get_hello(p->bytes, p->len, &theirs) == 0, "host %u cannot read the hello of host %u", h->id, p->from);
	CHECK(s, theirs.to == h->id && theirs.from == p->from, "a hello of %u to %u says %u to %u", p->from, h->id,
	      theirs.from, theirs.to);
	CHECK(s, theirs.cluster_id == ours.cluster_id && theirs.voters_id == ours.voters_id,
	      "hosts %u and %u think that they are of different clusters", h->id, p->from);
	CHECK(s, !theirs.history || !ours.history || theirs.history == ours.history, "hosts %u and %u have different histories",
	      h->id, p->from);
	CHECK(s, !theirs.votes || s->host[p->from].voter, "observer %u says that it votes", p->from);
	if (h->up[p->from] && !link_down(s, h, p->from))
		return false;
	h->up[p->from] = p->connection;
	h->up_votes[p->from] = theirs.votes;
	trace(s, "host %u: link to %u is up", h->id, p->from);
	return step(s, h, &(struct agent_event){ .kind = AGENT_LINK_UP, .from = p->from, .hello = &theirs });
}

static bool session_open(struct sim *s, struct host *h, struct client *c)
{
	struct agent_event e = { .kind = AGENT_SESSION_OPEN, .slot = agent_free_slot(h->agent), .rings = c->rings };

	if (c->state != CLIENT_OPENING) { /* killed before it was let in */
		client_let_go(s, c);
		return true;
	}
	if (!e.slot) {
		sim_mark(s, MARK_SESSION_REFUSED);
		client_opened(s, c, 0);
		return true;
	}
	CHECK(s, e.slot <= h->config.limits.sessions && !h->session[e.slot], "host %u offers slot %u, which is not free", h->id, e.slot);
	e.identity = (struct session_identity){ .pid = c->pid, .uid = 1000, .gid = 1000, .start = c->start };
	c->slot = e.slot;
	c->kept = true;
	h->session[e.slot] = c;
	if (!step(s, h, &e))
		return false;
	client_opened(s, c, e.slot);
	return true;
}

static bool session_gone(struct sim *s, struct host *h, struct client *c)
{
	if (!c->kept || h->session[c->slot] != c)
		return true;
	trace(s, "host %u: all processes of session %u (program %u) have ended", h->id, c->slot, c->id);
	oracle_ended(s, c, true);
	c->gone = true;
	return step(s, h, &(struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = c->slot });
}

static bool handle(struct sim *s, struct host *h, const struct parcel *p)
{
	switch (p->kind) {
	case PARCEL_HELLO:
		return link_up(s, h, p);
	case PARCEL_END:
		return h->up[p->from] != p->connection || link_down(s, h, p->from);
	case PARCEL_FRAME:
		if (h->up[p->from] != p->connection)
			return true;
		trace_frame(s, "=>", p->from, h->id, p->bytes, p->len);
		return step(s, h, &(struct agent_event){ .kind = AGENT_FRAME, .from = p->from, .bytes = p->bytes, .len = p->len });
	case PARCEL_OPEN:
		return session_open(s, h, p->client);
	case PARCEL_GONE:
		return p->client->id != p->connection || session_gone(s, h, p->client);
	}
	return true;
}

static bool handle_inbox(struct sim *s, struct host *h)
{
	struct parcel *p;

	while ((p = h->inbox)) {
		bool lives;

		h->inbox = p->next;
		lives = handle(s, h, p);
		free(p);
		if (!lives)
			return false;
	}
	return true;
}

static bool tell_time(struct sim *s, struct host *h)
{
	return h->wake_ns > host_clock(s, h) || step(s, h, &(struct agent_event){ .kind = AGENT_TIME });
}

void host_run(struct sim *s, struct host *h)
{
	bool time_first = sim_chance(s, 1, 2);
	uint64_t wake;

	h->run_at = NEVER;
	if (!h->agent)
		return;
	if (h->paused_until > s->now_ns) {
		host_wake(s, h, 0);
		return;
	}
	if (h->asleep)
		agent_awake(h->agent);
	h->asleep = false;
	if (h->inbox && !sim_healing(s) && sim_chance(s, 1, 100))
		clients_cancel_now(s, h);
	if ((time_first && !tell_time(s, h)) || !handle_inbox(s, h) || (!time_first && !tell_time(s, h)) ||
	    !step(s, h, &(struct agent_event){ .kind = AGENT_TURN }))
		return;
	CHECK(s, ++h->restless < RESTLESS_MAX, "host %u has not slept for %u turns", h->id, h->restless);
	if (h->run_at != NEVER)
		return; /* more is to do */
	if (sim_chance(s, 1, 8))
		clients_act_now(s, h); /* between the last look and falling asleep */
	if (!agent_may_sleep(h->agent)) {
		host_wake(s, h, LOOP_NS);
		return;
	}
	h->asleep = true;
	h->restless = 0;
	h->settled_life = h->lives;
	oracle_may_sleep(s, h);
	wake = h->wake_ns == NEVER ? NEVER : clock_when(s, h, h->wake_ns);
	if (wake != NEVER)
		run_at(s, h, MAX(wake, s->now_ns + 1));
}

/* ---- a successor ---- */

/* false: it died. A session that only one of the two remembers is over. */
static bool map_session(struct sim *s, struct host *h, uint32_t slot)
{
	struct client *c = h->session[slot];
	bool has = agent_has_session(h->agent, slot);

	CHECK(s, c || !has, "host %u remembers a session in slot %u, which was closed", h->id, slot);
	if (!c)
		return true;
	if (!has) {
		h->session[slot] = NULL;
		if (c->state == CLIENT_OPENING)
			sim_mark(s, MARK_SESSION_CUT);
		client_let_go(s, c);
		return true;
	}
	sim_mark(s, MARK_SESSION_ADOPTED);
	return step(s, h, &(struct agent_event){ .kind = AGENT_SESSION_MAP, .slot = slot, .rings = c->rings });
}

/* Whoever never heard of its session gives up; who died meanwhile is found dead. */
static void look_after_clients(struct sim *s, struct host *h)
{
	for (uint32_t slot = 1; slot <= SIM_SLOTS; slot++) {
		struct client *c = h->session[slot];

		if (c && c->state == CLIENT_OPENING)
			client_kill(s, c);
		else if (c && c->state == CLIENT_DEAD)
			client_gone(s, c);
	}
}

/* The magic of the private segment is what makes memory count as formatted. */
static void die_at_birth(struct sim *s, struct host *h)
{
	const char *why = "";

	if (agent_new(&h->agent, &h->config, &h->memory, host_clock(s, h), &why))
		sim_fail(s, "host %u cannot start over fresh memory: %s", h->id, why);
	sim_mark(s, MARK_CRASH_AT_BIRTH);
	agent_free(h->agent);
	h->agent = NULL;
	((struct private_memory *)h->memory.private)->segment.magic = 0;
	h->config.nonce = random_next(&s->random) | 1;
}

void host_start(struct sim *s, struct host *h)
{
	bool fresh = h->memory.tables->segment.magic == 0;
	const char *why = "";
	int rc;

	h->config.seed = random_next(&s->random);
	h->config.nonce = random_next(&s->random) | 1;
	if (fresh && sim_chance(s, 1, 8))
		die_at_birth(s, h);
	rc = agent_new(&h->agent, &h->config, &h->memory, host_clock(s, h), &why);
	CHECK(s, rc == 0, "host %u cannot start: %d, %s", h->id, rc, why);
	h->lives++;
	h->copies = (struct agent_copies){ 0 };
	h->copies_unused = h->copied_bites = 0;
	trace(s, "host %u: agent %u starts over %s memory", h->id, (unsigned)h->lives, fresh ? "fresh" : "inherited");
	h->wake_ns = 0;
	oracle_host_started(s, h, fresh);
	h->mapping = true;
	for (uint32_t slot = 1; slot <= SIM_SLOTS; slot++)
		if (slot <= h->config.limits.sessions && !map_session(s, h, slot))
			return;
	oracle_after_step(s, h);
	h->mapping = false;
	look_after_clients(s, h);
	host_wake(s, h, LOOP_NS);
}
