/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_world: see gate_world.h; how one operation at a time is made, gate_hooked.h.
 */
#include "gate_world_parts.h"

static const char *wrong;

static const char *const pc_names[] = { "take", "arrive", "busy", "look", "sleep", "asleep", "cancel", "check", "check life", "decline", "inside", "release",
					"hand", "release, slow", "wake", "ask", "asked", "finished", "idle", "bury", "sweep", "rouse", "open, begin", "open",
					"open, wake", "close", "begin", "give, note", "give", "give, answer", "give, forget",
					"drop a request", "close for a request", "lapse, begin", "lapse a record", "lapse", "lapse, end" };

static const uint16_t slots[2][WORLD_SESSIONS + 1] = { { 0, 1, 2, 3, 4 }, { 0, 1, 1, 3, 4 } }; /* session i has record i */

struct gate_view world_view(void)
{
	return (struct gate_view){ .gates = world.gates,
				   .records = world.records,
				   .slots = slots[world_bounds.twins],
				   .terms = world.terms,
				   .n_gates = 1,
				   .n_records = world_bounds.sessions };
}

_Static_assert(offsetof(struct world_actor, log) % 8 == 0 && offsetof(struct world, actor) % 8 == 0, "hashed by words");

void world_promise(bool kept, const char *what)
{
	if (!kept && !wrong)
		wrong = what;
}

void world_kernel_wake(uint32_t record)
{
	struct world_actor *a = &world.actor[record];

	if (a->pc == ASLEEP)
		a->pc = LOOK;
}

/* ---- moves ---- */

enum kind { STEP,
	    LEAVE, /* instead of waiting on */
	    KILL,
	    STOP,
	    EXPIRE,
	    WORK }; /* the agent begins `choice` */

/* One operation of the call that the actor is in. What follows it without another operation belongs to it. */
static void step_call(uint32_t i)
{
	struct world_actor now = world.actor[i];

	hook_run.actor = &world.actor[i];
	hook_run.at = 0;
	hook_run.stepped = false;
	if (setjmp(hook_run.stop))
		return;
	if (i)
		world_session_call(&now, i);
	else
		world_agent_call(&now);
	memset(now.log, 0, sizeof(now.log));
	now.log_len = 0;
	world.actor[i] = now;
}

static void step_session(uint32_t i)
{
	struct world_actor *a = &world.actor[i];

	switch ((enum pc)a->pc) {
	case SLEEP: /* the kernel compares and sleeps as one */
		a->pc = world.records[i].bell == a->place.value ? ASLEEP : LOOK;
		break;
	case INSIDE:
		a->inside = 0;
		a->pc = FAST_RELEASE;
		break;
	case WAKE:
		world_kernel_wake(a->pass.record);
		a->pc = SLOW_RELEASE;
		break;
	case ASK:
		world.asked |= (uint8_t)(1u << i);
		a->pc = ASKED;
		break;
	default:
		step_call(i);
	}
}

static void step_agent(void)
{
	struct world_actor *a = &world.actor[0];

	switch ((enum pc)a->pc) {
	case OPEN_WAKE:
	case LAPSE_END:
	case GIVE_ANSWER:
	case GIVE_FORGET:
		world_agent_other(a);
		break;
	default:
		step_call(0);
	}
}

/* The bytes between the members count as well when states are told apart. */
void world_actor_begin(struct world_actor *a, enum pc pc)
{
	memset(a, 0, sizeof(*a));
	a->pc = pc;
}

void world_pass_begin(struct gate_pass *p, uint32_t slot, uint32_t count)
{
	memset(p, 0, sizeof(*p));
	p->gate = GATE;
	p->slot = slot;
	p->count = count;
}

static void kill_one(uint32_t i)
{
	struct world_actor *a = &world.actor[i];

	if (i == 0) { /* another takes over: what it had in hand it begins again */
		world.agent_kills--;
		world_actor_begin(a, IDLE);
		return;
	}
	world.kills--;
	world.deaths = 1;
	if (a->inside)
		world.died_owed = 1;
	world_actor_begin(a, FINISHED);
	a->dead = 1;
	world.arrival[i] = 0;
}

void world_make(struct world_move m)
{
	switch ((enum kind)m.kind) {
	case STEP:
		if (m.actor)
			step_session(m.actor);
		else
			step_agent();
		break;
	case LEAVE:
		if (world.actor[m.actor].pc == ASKED)
			world.actor[m.actor].late = 1;
		else
			world.actor[m.actor].pc = CANCEL;
		break;
	case KILL:
		kill_one(m.actor);
		break;
	case STOP:
		world.stops--;
		world.actor[m.actor].stopped = 1;
		break;
	case EXPIRE: /* whoever is inside has been told so by its own clock */
		world.lapses--;
		world.expired = world.deaths = 1;
		for (uint32_t i = 1; i <= world_bounds.sessions; i++)
			world.actor[i].inside = world.actor[i].checked = 0;
		break;
	case WORK:
		world_agent_begin(m.choice, m.actor);
		break;
	}
}

static bool in_line(uint32_t i)
{
	uint32_t at = gate_top(G), below;

	for (; at && at != i; at = below) {
		below = link_record(world.records[at].older);
		if (below && link_gen(world.records[at].older) != gen_of(world.records[below].state))
			below = 0;
	}
	return at == i;
}

static bool usable(uint32_t i)
{
	const struct gate_record *r = &world.records[i];

	if (gate_owner(G) == 0)
		return true;
	return gate_record_state(r->state) == GATE_RECORD_GONE ? !in_line(i) : gate_count(G) != count_of(r->state);
}

static struct world_move *add(struct world_move *at, enum kind kind, uint32_t actor, uint32_t choice)
{
	*at = (struct world_move){ .kind = (uint8_t)kind, .actor = (uint8_t)actor, .choice = (uint8_t)choice };
	return at + 1;
}

bool world_may_step(uint32_t i)
{
	const struct world_actor *a = &world.actor[i];

	return !a->dead && !a->stopped && a->pc != FINISHED && a->pc != ASLEEP && a->pc != ASKED && (a->pc != BUSY || a->log_len || usable(i));
}

void world_leave(uint32_t i)
{
	world_make((struct world_move){ .kind = LEAVE, .actor = (uint8_t)i });
}

static struct world_move *session_moves(struct world_move *at, uint32_t i)
{
	const struct world_actor *a = &world.actor[i];

	if (a->dead || a->stopped || a->pc == FINISHED)
		return at;
	if (world_may_step(i))
		at = add(at, STEP, i, 0);
	if (world_bounds.cancels >> i & 1 && (a->pc == ASLEEP || (a->pc == LOOK && !a->log_len) || (a->pc == ASKED && !a->late)))
		at = add(at, LEAVE, i, 0);
	if (world.kills)
		at = add(at, KILL, i, 0);
	if (world.stops)
		at = add(at, STOP, i, 0);
	return at;
}

/* For those who have asked: given ahead of the line, when the agent has the gate; it need not be free for it to want it. */
static struct world_move *claim_moves(struct world_move *at, uint32_t owner)
{
	if (world.give_slot || world.closing)
		return at;
	for (uint32_t i = 1; i <= world_bounds.sessions; i++) {
		if (!asked(i))
			continue;
		if (world.actor[i].late)
			at = add(at, WORK, i, CLAIM_DROP);
		if (owner == GATE_AGENT)
			at = add(at, WORK, i, GIVE_NOTE);
	}
	if (world.asked && owner != GATE_AGENT && !(gate_flags(G) & GATE_CLOSING))
		at = add(at, WORK, 0, CLOSE_FOR_CLAIM);
	return at;
}

static struct world_move *agent_moves(struct world_move *at)
{
	const struct world_actor *a = &world.actor[0];
	uint32_t owner = gate_owner(G);

	if (a->pc != IDLE) {
		at = add(at, STEP, 0, 0);
		return world.agent_kills ? add(at, KILL, 0, 0) : at;
	}
	for (uint32_t i = 1; i <= world_bounds.sessions; i++)
		if (world.actor[i].dead && !world.actor[i].handled)
			at = add(at, WORK, i, BURY);
	if (world.give_slot)
		at = add(at, WORK, world.give_slot, GIVE); /* the agent before may have done so, or not */
	if (world.expired)
		return add(at, WORK, 0, LAPSE_BEGIN);
	if (world.closing == 2 && world_bounds.mutant != MUTANT_REOPEN)
		return add(at, WORK, 0, BEGIN); /* the agent before had proposed the release already */
	at = claim_moves(at, owner);
	if (owner == GATE_AGENT && (!world.closing || world.closing == 2) && (!world.asked || gate_top(G)))
		at = add(at, WORK, 0, OPEN_BEGIN);
	if (world.closing ? owner == 0 || owner == GATE_AGENT || !(gate_flags(G) & GATE_CLOSING) : world.closes != 0)
		at = add(at, WORK, 0, CLOSE);
	return at;
}

unsigned world_moves(struct world_move moves[WORLD_MOVES])
{
	struct world_move *at = moves;

	for (uint32_t i = 1; i <= world_bounds.sessions; i++)
		at = session_moves(at, i);
	at = agent_moves(at);
	if (world.lapses && !world.expired && world.actor[0].pc == IDLE && !world.closing)
		at = add(at, EXPIRE, 0, 0);
	return (unsigned)(at - moves);
}

/* ---- looking at it ---- */

/* Short, because it is most of the work. */
static uint64_t mix(uint64_t h, const void *words, size_t bytes)
{
	const uint64_t *at = words;

	for (size_t i = 0; i < bytes / 8; i++) {
		h = (h ^ at[i]) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	return h;
}

uint64_t world_hash(void)
{
	uint64_t h = mix(1, &world.gates[GATE], 16);

	h = mix(h, &world.terms[GATE], sizeof(world.terms[GATE]));
	for (uint32_t i = 1; i <= world_bounds.sessions; i++)
		h = mix(h, &world.records[i], 48);
	for (uint32_t i = 0; i <= world_bounds.sessions; i++)
		h = mix(h, &world.actor[i], offsetof(struct world_actor, log) + world.actor[i].log_len * sizeof(uint64_t));
	return hash_mix(mix(h, &world.incarnation, offsetof(struct world, actor) - offsetof(struct world, incarnation)));
}

const char *world_wrong(void)
{
	if (world.closing == 2)
		world_promise(gate_owner(G) == GATE_AGENT, "a drained gate stays the agent's");
	return wrong;
}

/* Nothing can happen any more. */
const char *world_wrong_end(void)
{
	uint32_t owner = gate_owner(G);
	bool held = owner && owner <= world_bounds.sessions && world.actor[owner].stopped;

	for (uint32_t i = 1; i <= world_bounds.sessions; i++)
		if (!world.actor[i].dead && !world.actor[i].stopped && world.actor[i].pc != FINISHED && !held)
			return "somebody waits for nobody";
	if (held)
		return NULL;
	if (owner || gate_top(G))
		return "the gate is not free, and nobody owns it";
	for (uint32_t i = 1; i <= world_bounds.sessions; i++) {
		enum gate_state state = gate_record_state(world.records[i].state);

		/* Stopped before it was pushed. */
		if ((state == GATE_RECORD_WAIT || state == GATE_RECORD_WATCH) && world.actor[i].stopped)
			continue;
		if ((state >= GATE_RECORD_WAIT && state <= GATE_RECORD_CANCELLED) || state == GATE_RECORD_WATCH)
			return "a record stands in no line";
	}
	return NULL;
}

void world_say(struct world_move m, char *ret_text, unsigned len)
{
	static const char *const kinds[] = { "", "leaves: ", "KILL: ", "STOP: ", "EXPIRE: ", "begins: " };
	const struct world_actor *a = &world.actor[m.actor];
	char line[160];
	unsigned at = 0;

	for (uint32_t i = 1; i <= world_bounds.sessions; i++)
		at += (unsigned)snprintf(line + at, sizeof(line) - at, " [%u gen %u st %u c %u older %x]", i, gen_of(world.records[i].state),
					 gate_record_state(world.records[i].state), count_of(world.records[i].state),
					 link_record(world.records[i].older) | link_gen(world.records[i].older) << 8);
	snprintf(ret_text, len, "count %u top %u owner %x flags %x%s   %s%c%u %s (%u)", gate_count(G), gate_top(G), gate_owner(G),
		 gate_flags(G), line, kinds[m.kind], m.kind == WORK || m.actor == 0 ? 'A' : 's', m.actor,
		 pc_names[m.kind == WORK ? m.choice : a->pc], a->log_len);
}

/* The last session is inside, others have come meanwhile. */
static void begin_asleep(const struct world_bounds *b)
{
	uint32_t owner = b->sessions;
	struct world_actor *a = &world.actor[owner];

	G = gate_word(1, b->asleep, slot_of(owner), 0);
	a->place = (struct gate_place){ .gate = GATE, .slot = slot_of(owner), .record = owner, .count = 1 };
	a->pass = (struct gate_pass){ .gate = GATE, .slot = slot_of(owner), .count = 1 };
	a->checked = 1;
	a->delegation = world.terms[GATE].delegation;
	a->serial = world.terms[GATE].serial;
	world_session_enter(a, owner);
	for (uint32_t i = 1; i <= b->asleep; i++) {
		world.records[i] = (struct gate_record){ .state = state_word(0, GATE_RECORD_SLEEP, 0), .older = i - 1, .gate = GATE };
		world.records[i].newer = i < b->asleep ? i + 1 : 0;
		world.actor[i].place = (struct gate_place){ .gate = GATE, .slot = slot_of(i), .record = i };
		world.actor[i].pc = ASLEEP;
		world.arrival[i] = ++world.arrivals;
	}
	world.gates[GATE].head = 1;
	for (uint32_t i = b->asleep + 1; i < owner; i++) {
		world.actor[i].place = (struct gate_place){ .gate = GATE, .slot = slot_of(i), .record = i };
		world.actor[i].pc = ARRIVE;
	}
}

void world_begin(const struct world_bounds *b)
{
	world_bounds = *b;
	wrong = NULL;
	memset(&world, 0, sizeof(world));
	world.incarnation = 1;
	G = gate_word(0, 0, 0, 0);
	world.terms[GATE].incarnation = world.terms[GATE].serial = 1;
	world.actor[0].pc = IDLE;
	for (uint32_t i = 1; i <= b->sessions; i++) {
		world.actor[i].pc = !b->rounds[i] ? FINISHED : asks(i) ? ASK
								       : TAKE;
		world.actor[i].rounds = b->rounds[i];
	}
	world.kills = b->kills;
	world.stops = b->stops;
	world.agent_kills = b->agent_kills;
	world.closes = b->closes;
	world.lapses = b->lapses;
	if (b->asleep)
		begin_asleep(b);
}
