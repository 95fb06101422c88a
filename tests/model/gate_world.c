/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_world: see gate_world.h; how one operation at a time is made, gate_hooked.h.
 */
#include "gate_hooked.h"

#include "../../shm/gate_words.h"

static const char *wrong;

#define GATE 1u
#define G world.gates[GATE].word

/* ---- what surrounds the steps ---- */

enum pc {
	/* sessions */
	TAKE,
	ARRIVE,
	BUSY, /* until the record is usable */
	LOOK,
	SLEEP,
	ASLEEP,
	CANCEL,
	CHECK,
	CHECK_LIFE,
	INSIDE,
	FAST_RELEASE,
	SLOW_RELEASE,
	WAKE,
	FINISHED,
	/* agent */
	IDLE,
	BURY,
	SWEEP,
	ROUSE,
	OPEN_BEGIN,
	OPEN_GATE,
	OPEN_WAKE,
	CLOSE,
	DRAINED,
	LAPSE_BEGIN,
	LAPSE_RECORD,
	LAPSE_GATE,
	LAPSE_END,
};

static const char *const pc_names[] = { "take", "arrive", "busy", "look", "sleep", "asleep", "cancel", "check", "check life", "inside", "release",
					"release, slow", "wake", "finished", "idle", "bury", "sweep", "rouse", "open, begin", "open",
					"open, wake", "close", "drained", "lapse, begin", "lapse a record", "lapse", "lapse, end" };

static const uint16_t slots[WORLD_SESSIONS + 1] = { 0, 1, 2, 3, 4 }; /* session i has record i */

static struct gate_view view(void)
{
	return (struct gate_view){ .gates = world.gates,
				   .records = world.records,
				   .slots = slots,
				   .terms = world.terms,
				   .n_gates = 1,
				   .n_records = world_bounds.sessions };
}

_Static_assert(offsetof(struct world_actor, log) % 8 == 0 && offsetof(struct world, actor) % 8 == 0, "hashed by words");

static void promise(bool kept, const char *what)
{
	if (!kept && !wrong)
		wrong = what;
}

static void kernel_wake(uint32_t record)
{
	struct world_actor *a = &world.actor[record];

	if (a->pc == ASLEEP)
		a->pc = LOOK;
}

static void next_round(struct world_actor *a)
{
	world.arrival[a->place.slot] = 0;
	a->rounds--;
	a->pc = a->rounds ? TAKE : FINISHED;
	memset(&a->pass, 0, sizeof(a->pass));
	memset(&a->place, 0, sizeof(a->place));
	a->incarnation = a->delegation = 0;
	a->which = a->checked = 0;
}

/* ---- sessions ---- */

static void enter(struct world_actor *a, uint32_t me)
{
	a->pc = INSIDE;
	if (!a->checked) /* the lease has ended since: its own clock tells it so, as if it had been inside */
		return;
	promise(a->delegation == world.terms[GATE].delegation, "the terms are those of this opening");
	promise(owned_by(G, me, a->place.count), "who enters owns the gate");
	promise(!world.expired, "nobody enters after the lease has ended");
	for (uint32_t i = 1; i <= world_bounds.sessions; i++)
		promise(!world.actor[i].inside, "one inside at a time");
	promise(a->place.count > world.last_count, "counts rise");
	if (!world_bounds.kills && !world_bounds.lapses)
		promise(!a->place.died, "nobody died");
	if (!world_bounds.lapses)
		promise(a->place.died || !world.died_owed, "who comes after a death is told");
	if (world.arrival[me]) {
		promise(world.arrival[me] > world.served, "first come, first served");
		world.served = world.arrival[me];
		world.arrival[me] = 0;
	}
	world.died_owed = 0;
	world.last_count = a->place.count;
	a->inside = 1;
}

/* The terms, then the lease … Who knows from before the swap in which life he made it need not look whether the gate is
 * still his: in that life it is. Who has waited does not know. */
static void check(struct world_actor *a, uint32_t me)
{
	bool good = true;

	a->delegation = atom_load_acquire(&world.terms[GATE].delegation);
	if (a->which) {
		a->incarnation = atom_load_acquire(&world.terms[GATE].incarnation);
		good = world_bounds.mutant == MUTANT_NO_HOLDS || gate_holds(&world.gates[GATE], me, a->place.count);
	}
	if (world_bounds.mutant != MUTANT_EARLY_CHECK)
		good = good && !atom_load_acquire(&world.expired);
	a->pass.gate = GATE;
	a->pass.slot = me;
	a->pass.count = a->place.count;
	a->checked = good;
	a->pc = good ? CHECK_LIFE : FAST_RELEASE;
}

/* … then whose lease that was. */
static void check_life(struct world_actor *a, uint32_t me)
{
	if (world_bounds.mutant == MUTANT_EARLY_CHECK || !world_bounds.lapses || atom_load_acquire(&world.incarnation) == a->incarnation)
		enter(a, me);
	else
		a->pc = FAST_RELEASE;
}

static void waiting(struct world_actor *a, enum gate_next next)
{
	switch (next) {
	case GATE_MINE:
		a->pc = CHECK;
		break;
	case GATE_WAITS:
	case GATE_TELL:
		a->pc = LOOK;
		break;
	case GATE_AGAIN:
		break;
	case GATE_SLEEP:
		a->pc = SLEEP;
		break;
	case GATE_ARRIVE:
		world.arrival[a->place.slot] = 0; /* its place is lost */
		a->pc = ARRIVE;
		break;
	case GATE_BUSY:
		a->pc = BUSY;
		break;
	case GATE_LEFT:
		next_round(a);
		break;
	default:
		promise(false, "a living session's place is its own");
	}
}

static void released(struct world_actor *a, enum gate_next next)
{
	switch (next) {
	case GATE_WAKE:
		a->pc = WAKE;
		break;
	case GATE_AGAIN:
		break;
	case GATE_LOST:
		promise(world_bounds.lapses, "who is inside owns the gate");
		next_round(a);
		break;
	default:
		promise(!a->pass.corrupt, "the line makes sense");
		next_round(a);
	}
}

static void session_call(struct world_actor *a, uint32_t me)
{
	struct gate_view v = view();

	switch ((enum pc)a->pc) {
	case TAKE:
		if (world_bounds.lapses) /* otherwise there is but one life */
			a->incarnation = atom_load_acquire(&world.incarnation);
		a->place.gate = GATE;
		a->place.slot = a->place.record = me;
		if (gate_take(&world.gates[GATE], me, &a->place.count, &a->place.died))
			a->pc = CHECK;
		else
			a->pc = ARRIVE;
		a->which = a->pc == ARRIVE;
		break;
	case BUSY:
	case ARRIVE:
		a->pc = ARRIVE;
		waiting(a, gate_arrive(&v, &a->place, 1));
		break;
	case LOOK:
		waiting(a, gate_look(&v, &a->place, true));
		break;
	case CANCEL:
		waiting(a, gate_cancel(&v, &a->place));
		break;
	case CHECK:
		check(a, me);
		break;
	case CHECK_LIFE:
		check_life(a, me);
		break;
	case FAST_RELEASE:
		if (gate_free(&world.gates[GATE], me, a->pass.count))
			next_round(a);
		else
			a->pc = SLOW_RELEASE;
		break;
	case SLOW_RELEASE:
		released(a, gate_release(&v, &a->pass, 1));
		break;
	default:
		ASSERT(!"a call");
	}
}

/* ---- the agent ---- */

static void open_terms(void)
{
	world.terms[GATE].delegation++;
	world.terms[GATE].incarnation = world.incarnation;
	world.terms[GATE].opened_at = gate_count(G);
	world.closing = 0;
}

static void agent_bury(struct world_actor *a, const struct gate_view *v)
{
	uint32_t gate;

	if (gate_bury(v, a->which, a->which, &gate) != GATE_DONE)
		return;
	a->pc = world_bounds.mutant == MUTANT_SWEEP_FIRST ? ROUSE : SWEEP;
	a->owner = 1;
}

static void agent_sweep(struct world_actor *a, const struct gate_view *v)
{
	uint32_t at = 1;

	if (gate_sweep(v, a->which, &at, 1) == 0 && at == 1)
		return; /* once more */
	a->pc = world_bounds.mutant == MUTANT_SWEEP_FIRST ? BURY : ROUSE;
	a->owner = 1;
}

static void agent_rouse(struct world_actor *a, const struct gate_view *v)
{
	if (gate_rouse(v, a->owner))
		kernel_wake(a->owner);
	if (a->owner++ < world_bounds.sessions)
		return;
	world.actor[a->which].handled = 1;
	a->pc = IDLE;
}

static void agent_open(struct world_actor *a, const struct gate_view *v)
{
	enum gate_next next = gate_open(v, &a->pass);

	if (next == GATE_WAKE)
		a->pc = OPEN_WAKE;
	else if (next != GATE_AGAIN)
		a->pc = IDLE;
	promise(next != GATE_CORRUPT, "the line makes sense");
}

static void agent_close(struct world_actor *a, const struct gate_view *v)
{
	enum gate_next next = gate_close(v, GATE);

	if (next == GATE_AGAIN)
		return;
	a->pc = IDLE;
	if (next == GATE_DONE) {
		world.closing = 2;
		a->pc = DRAINED;
	}
}

static void agent_lapse(struct world_actor *a, const struct gate_view *v)
{
	bool late = world_bounds.mutant == MUTANT_LAPSE_LATE;
	enum gate_next next;

	switch ((enum pc)a->pc) {
	case LAPSE_BEGIN:
		a->pc = gate_lapsing(v, GATE, &a->owner, &a->count) && !late ? LAPSE_RECORD : LAPSE_GATE;
		break;
	case LAPSE_RECORD:
		next = gate_lapse_record(v, a->owner, GATE, a->count);
		if (next == GATE_WAKE)
			kernel_wake(a->owner);
		if (next != GATE_AGAIN)
			a->pc = late ? LAPSE_END : LAPSE_GATE;
		break;
	default:
		next = gate_lapse(v, GATE, a->owner, a->count);
		a->pc = next == GATE_AGAIN ? LAPSE_BEGIN : LAPSE_END;
		if (late && next == GATE_DONE && a->owner && a->owner != GATE_AGENT)
			a->pc = LAPSE_RECORD;
	}
}

static void agent_call(struct world_actor *a)
{
	struct gate_view v = view();

	switch ((enum pc)a->pc) {
	case BURY:
		agent_bury(a, &v);
		break;
	case SWEEP:
		agent_sweep(a, &v);
		break;
	case ROUSE:
		agent_rouse(a, &v);
		break;
	case OPEN_BEGIN:
		a->pass = gate_agent_pass(&v, GATE);
		a->pc = OPEN_GATE;
		break;
	case OPEN_GATE:
		agent_open(a, &v);
		break;
	case CLOSE:
		agent_close(a, &v);
		break;
	case LAPSE_BEGIN:
	case LAPSE_RECORD:
	case LAPSE_GATE:
		agent_lapse(a, &v);
		break;
	default:
		ASSERT(!"a call");
	}
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
		session_call(&now, i);
	else
		agent_call(&now);
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
		kernel_wake(a->pass.record);
		a->pc = SLOW_RELEASE;
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
		kernel_wake(a->pass.record);
		a->pc = OPEN_GATE;
		break;
	case DRAINED: /* the release was agreed upon, and a new delegation came */
		a->pc = IDLE;
		open_terms();
		break;
	case LAPSE_END: /* everything has lapsed: the new life is shown, then its first deadline */
		a->pc = IDLE;
		world.incarnation++;
		open_terms();
		world.expired = 0;
		break;
	default:
		step_call(0);
	}
}

static void begin_work(uint8_t pc, uint8_t which)
{
	struct world_actor *a = &world.actor[0];

	*a = (struct world_actor){ .pc = pc, .which = which };
	if (pc == BURY && world_bounds.mutant == MUTANT_SWEEP_FIRST)
		a->pc = SWEEP;
	if (pc == CLOSE && !world.closing) {
		world.closing = 1;
		world.closes--;
		world.terms[GATE].stop_at = gate_count(G) + 1;
		world.terms[GATE].remote_since_ns = world.terms[GATE].stop_ns = NEVER;
	}
}

static void kill_one(uint32_t i)
{
	struct world_actor *a = &world.actor[i];

	if (i == 0) { /* another takes over: what it had in hand it begins again */
		world.agent_kills--;
		*a = (struct world_actor){ .pc = IDLE };
		return;
	}
	world.kills--;
	if (a->inside)
		world.died_owed = 1;
	*a = (struct world_actor){ .pc = FINISHED, .dead = 1 };
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
		world.expired = 1;
		for (uint32_t i = 1; i <= world_bounds.sessions; i++)
			world.actor[i].inside = world.actor[i].checked = 0;
		break;
	case WORK:
		begin_work(m.choice, m.actor);
		break;
	}
}

static bool usable(uint32_t i)
{
	const struct gate_record *r = &world.records[i];
	uint32_t count = count_of(r->state);

	if (gate_owner(G) == 0)
		return true;
	return gate_record_state(r->state) == GATE_RECORD_GONE ? gate_count(G) >= count + 2 : gate_count(G) != count;
}

static struct world_move *add(struct world_move *at, enum kind kind, uint32_t actor, uint32_t choice)
{
	*at = (struct world_move){ .kind = (uint8_t)kind, .actor = (uint8_t)actor, .choice = (uint8_t)choice };
	return at + 1;
}

bool world_may_step(uint32_t i)
{
	const struct world_actor *a = &world.actor[i];

	return !a->dead && !a->stopped && a->pc != FINISHED && a->pc != ASLEEP && (a->pc != BUSY || a->log_len || usable(i));
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
	if (world_bounds.cancels >> i & 1 && (a->pc == ASLEEP || (a->pc == LOOK && !a->log_len)))
		at = add(at, LEAVE, i, 0);
	if (world.kills)
		at = add(at, KILL, i, 0);
	if (world.stops)
		at = add(at, STOP, i, 0);
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
	if (world.expired)
		return add(at, WORK, 0, LAPSE_BEGIN);
	if (world.closing == 2)
		return add(at, WORK, 0, DRAINED); /* the agent before had proposed the release already */
	if (owner == GATE_AGENT && !world.closing)
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
		promise(gate_owner(G) == GATE_AGENT, "a drained gate stays the agent's");
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
		if (state == GATE_RECORD_WAIT && world.actor[i].stopped)
			continue;
		if (state >= GATE_RECORD_WAIT && state <= GATE_RECORD_CANCELLED)
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

	G = gate_word(1, b->asleep, owner, 0);
	a->place = (struct gate_place){ .gate = GATE, .slot = owner, .record = owner, .count = 1 };
	a->pass = (struct gate_pass){ .gate = GATE, .slot = owner, .count = 1 };
	a->checked = 1;
	a->delegation = world.terms[GATE].delegation;
	enter(a, owner);
	for (uint32_t i = 1; i <= b->asleep; i++) {
		world.records[i] = (struct gate_record){ .state = state_word(0, GATE_RECORD_SLEEP, 0), .older = i - 1, .gate = GATE, .pushed = 1 };
		world.records[i].newer = i < b->asleep ? i + 1 : 0;
		world.actor[i].place = (struct gate_place){ .gate = GATE, .slot = i, .record = i };
		world.actor[i].pc = ASLEEP;
		world.arrival[i] = ++world.arrivals;
	}
	world.gates[GATE].head = 1;
	for (uint32_t i = b->asleep + 1; i < owner; i++) {
		world.actor[i].place = (struct gate_place){ .gate = GATE, .slot = i, .record = i };
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
	world.terms[GATE].incarnation = 1;
	world.actor[0].pc = IDLE;
	for (uint32_t i = 1; i <= b->sessions; i++) {
		world.actor[i].pc = b->rounds[i] ? TAKE : FINISHED;
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
