/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs at gates: what libpaxshm does there, by the same steps (shm/gate.h) over the host's arena, each of them an event of
 * its own. Between any two of them the program may be stopped, frozen or killed.
 *
 *   TAKE ---- free ----------------------------------> LEASE -- all good --> HOLDS
 *     |                                                  ^ |
 *     +-- ARRIVE --> PUSHED --> LOOK <--> SLEEP --> TERMS + +--> DECLINE --> TELL --> (asks the agent)
 *                                 |
 *                                 +--> LEAVE --> (answered, or asks the agent)
 *
 *   HOLDS --> FREE --> PASS <--> WAKE       each of them --> TELL, when the agent has the gate now
 */
#include "sim.h"

#include <errno.h>

#include "../../lib/mutant.h"
#include "../../shm/arena.h"
#include "../../shm/lease_check.h"

#define STEP_NS (2 * US)
#define SLEEP_NS SECOND
#define TICK_NS (4 * MS) /* by so much the cheap clocks may lag */

enum step {
	STEP_TAKE,
	STEP_ARRIVE,
	STEP_PUSHED,
	STEP_LOOK,
	STEP_SLEEP,
	STEP_WOKEN,
	STEP_LEAVE,
	STEP_TERMS, /* it has waited: what are the terms that it was given the lock under? */
	STEP_LEASE,
	STEP_DECLINE,
	STEP_TELL,
	STEP_RING,
	STEP_BY_AGENT,
	STEP_FREE,
	STEP_PASS,
	STEP_WAKE,
	STEP_OVER,
};

/* ---- what it sees ---- */

struct gate_view gates_view(const struct host *h)
{
	return arena_view(h->memory.arena, h->memory.tables);
}

static struct host *host_of(struct sim *s, const struct client *c)
{
	return &s->host[c->host];
}

static const struct gate_terms *terms_of(struct sim *s, const struct client *c, const struct thread *t)
{
	return tables_terms(host_of(s, c)->memory.tables, t->gate);
}

static struct gate *gate_of(struct sim *s, const struct client *c, const struct thread *t)
{
	return &gates_view(host_of(s, c)).gates[t->gate];
}

/* lease_check(), with the clocks of this host. */
static int lease_look(struct sim *s, const struct client *c, uint64_t incarnation)
{
	const struct host *h = host_of(s, c);
	const struct tables *t = h->memory.tables;
	uint64_t gap_ns = atom_load_acquire(&t->clock_gap_ns), deadline_ns = atom_load_acquire(&t->deadline_ns);
	uint64_t mono_ns = host_mono_clock(s, h), coarse_ns = mono_ns - mono_ns % TICK_NS;
	bool stands = true;

	if (deadline_ns != NEVER) {
		enum lease_verdict verdict = lease_judge(deadline_ns, gap_ns, lease_margin_ns(s->plan.host_lease_ns), coarse_ns,
							 coarse_ns + host_clock_gap(s, h));

		if (verdict == LEASE_ASK_BOOT)
			sim_mark(s, MARK_LEASE_ASKED_BOOT);
		stands = verdict == LEASE_STANDS || (verdict == LEASE_ASK_BOOT && host_clock(s, h) < atom_load_acquire(&t->deadline_boot_ns));
	}
	if (atom_load_acquire(&t->incarnation) != incarnation)
		return -ESTALE;
	return stands ? 0 : -ENETUNREACH;
}

static struct handle *handle_of(struct client *c, const struct thread *t)
{
	return &c->handle[t->key % SIM_HANDLES];
}

void gates_learn(struct client *c, const struct thread *t)
{
	*handle_of(c, t) = (struct handle){ .key = t->key, .gate = t->gate, .serial = t->serial };
}

static void forget(struct client *c, const struct thread *t)
{
	if (handle_of(c, t)->key == t->key)
		*handle_of(c, t) = (struct handle){ 0 };
}

/* The tables say which gate it is, while the lock is this host's. */
static bool read_gate(struct sim *s, struct client *c, struct thread *t)
{
	const struct host *h = host_of(s, c);
	const struct key *k = &s->key[t->key];
	struct lock_value v = { 0 };

	if (table_read(h->memory.tables, k->bytes, k->len, &v) <= 0 || !v.delegation || v.host != h->id || !v.gate)
		return false;
	t->gate = v.gate;
	t->serial = atom_load_acquire(&terms_of(s, c, t)->serial);
	if (atom_load_acquire(&terms_of(s, c, t)->delegation) != v.delegation)
		return false;
	sim_mark(s, MARK_GATE_READ);
	gates_learn(c, t);
	return true;
}

static bool find_gate(struct sim *s, struct client *c, struct thread *t)
{
	const struct handle *known = handle_of(c, t);

	if (known->key != t->key)
		return sim_chance(s, 3, 4) && read_gate(s, c, t);
	t->gate = known->gate;
	t->serial = known->serial;
	return true;
}

static bool same_key(struct sim *s, const struct client *c, const struct thread *t)
{
	return atom_load_seq_cst(&terms_of(s, c, t)->serial) == t->serial || MUTANT(311);
}

/* ---- places in line: few, so that they are used again soon ---- */

static bool record_take(struct sim *s, struct client *c, struct thread *t)
{
	uint32_t each = host_of(s, c)->memory.tables->records_each, n = MIN(each, c->n_threads + 1);
	uint32_t at = (uint32_t)sim_pick(s, 0, n - 1);

	for (uint32_t i = 0; i < n; i++, at = (at + 1) % n) {
		if (c->records >> at & 1)
			continue;
		c->records |= 1ull << at;
		t->place = (struct gate_place){ .gate = t->gate, .slot = c->slot, .record = (c->slot - 1) * each + at + 1 };
		return true;
	}
	return false;
}

static void record_drop(struct sim *s, struct client *c, struct thread *t)
{
	uint32_t each = host_of(s, c)->memory.tables->records_each;

	if (t->place.record)
		c->records &= ~(1ull << ((t->place.record - 1) % each));
	t->place.record = 0;
	t->told_gate = false;
}

/* ---- sleeping and waking ---- */

void gates_rouse(struct sim *s, struct host *h, uint32_t record)
{
	uint32_t slot = (record - 1) / h->memory.tables->records_each + 1;
	struct client *c = slot <= SIM_SLOTS ? h->session[slot] : NULL;

	if (!c || c->state != CLIENT_OPEN || c->nonsense || c->closing)
		return;
	for (struct thread *t = c->thread; t < c->thread + c->n_threads; t++)
		if (t->state == THREAD_GATE && t->step == STEP_WOKEN && t->asleep && t->place.record == record) {
			t->asleep = false;
			client_later(s, c, t, client_wake_takes_ns(s));
		}
}

/* Who surrenders a gate tells the agent so. Until then it does not know, whatever others have told it before. */
static void surrendered(struct sim *s, struct client *c, const struct thread *by)
{
	for (struct client *other = s->client; other < s->client + SIM_CLIENTS; other++)
		for (struct thread *t = other->thread; other->host == c->host && t < other->thread + other->n_threads; t++)
			if (t->gate == by->gate)
				t->told_gate = false;
}

/* ---- steps; true: the next may follow at once ---- */

static bool next(struct thread *t, enum step step)
{
	t->step = (uint8_t)step;
	return true;
}

static bool tell(struct thread *t, enum step after)
{
	t->after = (uint8_t)after;
	return next(t, STEP_TELL);
}

static bool ask_agent(struct sim *s, struct client *c, struct thread *t)
{
	record_drop(s, c, t);
	return next(t, STEP_BY_AGENT);
}

static bool leave(struct thread *t, int why)
{
	t->leaves = why;
	return next(t, STEP_LEAVE);
}

static bool owns(struct sim *s, struct client *c, struct thread *t)
{
	t->count = t->place.count;
	t->died = t->place.died;
	t->waited = true;
	record_drop(s, c, t);
	return next(t, STEP_TERMS);
}

/* Its host may soon have another life: one thread there stops before it takes the lock, until then. */
static bool lags(struct sim *s, const struct client *c)
{
	const struct host *h = host_of(s, c);
	uint64_t now_ns = host_clock(s, h), deadline_ns = h->memory.tables->deadline_boot_ns;

	if (sim_smooth(s) || deadline_ns == NEVER || deadline_ns < now_ns || deadline_ns - now_ns > s->plan.host_lease_ns / 2)
		return false;
	for (const struct client *other = s->client; other < s->client + SIM_CLIENTS; other++)
		for (const struct thread *t = other->thread; other->host == c->host && t < other->thread + other->n_threads; t++)
			if (t->state == THREAD_GATE && t->lags)
				return false;
	return sim_chance(s, 1, 10);
}

/* It goes on when the gate is free in another life, or the gate is another's, or it has been long enough. */
static bool still_lags(struct sim *s, struct client *c, struct thread *t)
{
	uint64_t life = atom_load_acquire(&host_of(s, c)->memory.tables->incarnation);
	bool another = life && life != t->incarnation;

	t->lags -= t->lags > 0;
	if (sim_smooth(s) || !same_key(s, c, t) || (another && gate_owner(gate_of(s, c, t)->word) == 0))
		t->lags = 0;
	if (t->lags)
		client_later(s, c, t, another ? sim_pick(s, 0, 500 * US) : s->plan.host_lease_ns / 32);
	return t->lags;
}

static bool step_take(struct sim *s, struct client *c, struct thread *t)
{
	uint64_t word = atom_load_acquire(&gate_of(s, c, t)->word);

	if (still_lags(s, c, t))
		return false;
	if (gate_take(gate_of(s, c, t), c->slot, &t->count, &t->died)) {
		t->waited = false;
		return next(t, STEP_LEASE);
	}
	if (t->flags & REQUEST_TRY) {
		/* Without a lease whoever stands there may have lost it to another host's. */
		if (gate_owner(word) == GATE_AGENT || !same_key(s, c, t) || lease_look(s, c, atom_load_acquire(&terms_of(s, c, t)->incarnation)))
			return ask_agent(s, c, t);
		oracle_busy_here(s, c, t, word);
		client_rest(s, c, t);
		return false;
	}
	if ((t->flags & REQUEST_RETURN && lease_look(s, c, t->incarnation)) || !record_take(s, c, t))
		return ask_agent(s, c, t);
	return next(t, STEP_ARRIVE);
}

/* The agent takes this session for dead: only one that was written over. */
static bool taken_for_dead(struct sim *s, struct client *c, struct thread *t)
{
	CHECK(s, oracle_tainted(s, c->host, t->key), "program %u of host %u lives, and counts as dead at the gate of %s", c->id, c->host,
	      trace_key(&s->key[t->key]));
	return ask_agent(s, c, t);
}

static bool step_arrive(struct sim *s, struct client *c, struct thread *t)
{
	struct gate_view v = gates_view(host_of(s, c));

	switch (gate_arrive(&v, &t->place, host_mono_clock(s, host_of(s, c)))) {
	case GATE_MINE:
		return owns(s, c, t);
	case GATE_WAITS:
		t->after = STEP_LOOK;
		return next(t, STEP_PUSHED);
	case GATE_TELL:
		t->after = STEP_TELL;
		return next(t, STEP_PUSHED);
	case GATE_BUSY:
		sim_mark(s, MARK_RECORD_BUSY);
		if (sim_chance(s, 1, 2))
			return ask_agent(s, c, t);
		record_drop(s, c, t);
		return record_take(s, c, t) || ask_agent(s, c, t);
	case GATE_LOST:
		return taken_for_dead(s, c, t);
	default:
		return true;
	}
}

static bool step_pushed(struct sim *s, struct client *c, struct thread *t)
{
	t->sleep = false;
	if (!same_key(s, c, t)) {
		sim_mark(s, MARK_GATE_OTHER_KEY);
		forget(c, t);
		return leave(t, 0);
	}
	return t->after == STEP_TELL ? tell(t, STEP_LOOK) : next(t, STEP_LOOK);
}

static bool step_look(struct sim *s, struct client *c, struct thread *t)
{
	struct gate_view v = gates_view(host_of(s, c));

	if (s->now_ns >= t->deadline_ns)
		return leave(t, sim_chance(s, 1, 4) ? -ECANCELED : -ETIMEDOUT);
	switch (gate_look(&v, &t->place, t->sleep)) {
	case GATE_MINE:
		return owns(s, c, t);
	case GATE_SLEEP:
		return next(t, STEP_SLEEP);
	case GATE_SPIN:
		t->sleep = sim_chance(s, 3, 4);
		client_later(s, c, t, sim_pick(s, 1, 20 * US));
		return false;
	case GATE_ARRIVE:
		sim_mark(s, MARK_GATE_SENT_AWAY);
		return next(t, STEP_ARRIVE);
	case GATE_LOST:
		return taken_for_dead(s, c, t);
	default:
		return true;
	}
}

/* The kernel compares the bell. */
static bool step_sleep(struct sim *s, struct client *c, struct thread *t)
{
	struct gate_view v = gates_view(host_of(s, c));

	if (atom_load_acquire(&v.records[t->place.record].bell) != t->place.value)
		return next(t, STEP_LOOK);
	t->asleep = true;
	next(t, STEP_WOKEN);
	client_later(s, c, t, MAX(MIN(t->deadline_ns, s->now_ns + SLEEP_NS), s->now_ns + US) - s->now_ns);
	return false;
}

static bool step_woken(struct sim *s, struct client *c, struct thread *t)
{
	bool by_itself = t->asleep;

	t->asleep = false;
	if (!by_itself)
		return next(t, STEP_LOOK);
	if (!same_key(s, c, t)) {
		sim_mark(s, MARK_GATE_OTHER_KEY);
		forget(c, t);
		return leave(t, 0);
	}
	if (gate_owner(atom_load_acquire(&gate_of(s, c, t)->word)) != GATE_AGENT || s->now_ns >= t->deadline_ns)
		return next(t, STEP_LOOK);
	sim_mark(s, MARK_GATE_TOLD_AGAIN);
	return tell(t, STEP_LOOK);
}

static bool step_leave(struct sim *s, struct client *c, struct thread *t)
{
	struct gate_view v = gates_view(host_of(s, c));

	switch (gate_cancel(&v, &t->place)) {
	case GATE_MINE:
		sim_mark(s, MARK_GATE_LEFT_TOO_LATE);
		return owns(s, c, t);
	case GATE_LEFT:
		if (!t->leaves)
			return ask_agent(s, c, t);
		sim_mark(s, MARK_GATE_LEFT);
		record_drop(s, c, t);
		client_rest(s, c, t);
		return false;
	case GATE_LOST:
		return taken_for_dead(s, c, t);
	default:
		return true;
	}
}

static bool step_terms(struct sim *s, struct client *c, struct thread *t)
{
	t->incarnation = atom_load_acquire(&terms_of(s, c, t)->incarnation);
	if (!gate_holds(gate_of(s, c, t), c->slot, t->count)) {
		sim_mark(s, MARK_GATE_LAPSED);
		return next(t, STEP_DECLINE);
	}
	return next(t, STEP_LEASE);
}

static bool step_lease(struct sim *s, struct client *c, struct thread *t)
{
	const struct gate_terms *terms = terms_of(s, c, t);
	uint32_t used = t->count - atom_load_acquire(&terms->opened_at) - 1;
	int rc;

	if (!same_key(s, c, t)) {
		sim_mark(s, MARK_DECLINED_KEY);
		forget(c, t);
		return next(t, STEP_DECLINE);
	}
	if (used >= atom_load_acquire(&terms->range)) {
		sim_mark(s, host_of(s, c)->memory.tables->incarnation == t->incarnation ? MARK_DECLINED_RANGE : MARK_DECLINED_LIFE);
		return next(t, STEP_DECLINE);
	}
	rc = atom_load_acquire(&terms->incarnation) == t->incarnation ? lease_look(s, c, t->incarnation) : -ESTALE;
	if (rc && !(MUTANT(261) && !t->waited)) {
		sim_mark(s, rc == -ESTALE ? MARK_DECLINED_LIFE : MARK_DECLINED_LEASE);
		return next(t, STEP_DECLINE);
	}
	t->token = atom_load_acquire(&terms->base) + used;
	sim_mark(s, t->waited ? MARK_TAKEN_IN_LINE : MARK_TAKEN_WARM);
	oracle_taken(s, c, t);
	client_holds(s, c, t);
	return false;
}

static bool step_decline(struct sim *s, struct client *c, struct thread *t)
{
	struct gate_view v = gates_view(host_of(s, c));

	switch (gate_decline(&v, t->gate, c->slot, t->count)) {
	case GATE_TELL:
		surrendered(s, c, t);
		return tell(t, STEP_BY_AGENT);
	case GATE_AGAIN:
		return true;
	default:
		return next(t, STEP_BY_AGENT);
	}
}

static bool step_tell(struct sim *s, struct client *c, struct thread *t)
{
	struct ring_request r = { .op = REQUEST_GATE, .call = CALL_NONE, .target = t->gate };

	if (!ring_push(c->rings, &r)) {
		sim_mark(s, MARK_RING_FULL);
		client_announce(s, c);
		client_later(s, c, t, sim_pick(s, 20 * US, 200 * US));
		return false;
	}
	trace_request(s, c, &r);
	/* It may be told again at any time: an agent that is stopped finds a full ring. */
	if (host_of(s, c)->paused_until > s->now_ns && sim_chance(s, 1, 20))
		while (ring_push(c->rings, &r))
			;
	t->told_gate = gate_owner(atom_load_acquire(&gate_of(s, c, t)->word)) == GATE_AGENT;
	t->unannounced = true;
	return next(t, STEP_RING);
}

static bool step_ring(struct sim *s, struct client *c, struct thread *t)
{
	t->unannounced = false;
	client_announce(s, c);
	return next(t, t->after);
}

static bool step_by_agent(struct sim *s, struct client *c, struct thread *t)
{
	t->state = THREAD_IDLE;
	if (sim_chance(s, 1, 4))
		forget(c, t);
	client_by_agent(s, c, t);
	return false;
}

static bool step_free(struct sim *s, struct client *c, struct thread *t)
{
	struct gate_view v = gates_view(host_of(s, c));
	struct gate *g = gate_of(s, c, t);
	bool free = gate_free(g, c->slot, t->count), handed = !free && gate_hand(&v, g, c->slot, t->count);

	if (handed)
		sim_mark(s, MARK_GATE_HANDED);
	if (!free && !handed) {
		t->pass = (struct gate_pass){ .gate = t->gate, .slot = c->slot, .count = t->count };
		return next(t, STEP_PASS);
	}
	CHECK(s, !t->again || oracle_tainted(s, c->host, t->key), "program %u of host %u releases %s a second time, and is believed", c->id, c->host,
	      trace_key(&s->key[t->key]));
	return next(t, STEP_OVER);
}

/* It did not own it: it was released before, or the host's life has ended. */
static bool not_its_own(struct sim *s, struct client *c, struct thread *t)
{
	CHECK(s, t->again || t->lost || program_check(s, c, t->incarnation) == -ESTALE || oracle_tainted(s, c->host, t->key),
	      "program %u of host %u releases %s, which it owns, and hears that it is lost", c->id, c->host, trace_key(&s->key[t->key]));
	return next(t, STEP_OVER);
}

static bool step_pass(struct sim *s, struct client *c, struct thread *t)
{
	struct gate_view v = gates_view(host_of(s, c));
	bool begun = t->pass.chosen;
	enum gate_next answer = gate_release(&v, &t->pass, host_mono_clock(s, host_of(s, c)));

	if (t->pass.chosen && !begun)
		sim_mark(s, MARK_GATE_CHOSEN);
	switch (answer) {
	case GATE_WAKE:
		return next(t, STEP_WAKE);
	case GATE_TELL:
		sim_mark(s, MARK_GATE_SURRENDERED);
		surrendered(s, c, t);
		return tell(t, STEP_OVER);
	case GATE_LOST:
		return not_its_own(s, c, t);
	default:
		return answer == GATE_AGAIN || next(t, STEP_OVER);
	}
}

static bool step_over(struct sim *s, struct client *c, struct thread *t)
{
	if (t->again || !sim_chance(s, 1, 50)) {
		client_rest(s, c, t);
		return false;
	}
	sim_mark(s, MARK_CLIENT_RELEASED_TWICE);
	t->again = true;
	return next(t, STEP_FREE);
}

static bool step(struct sim *s, struct client *c, struct thread *t)
{
	switch ((enum step)t->step) {
	case STEP_TAKE: return step_take(s, c, t);
	case STEP_ARRIVE: return step_arrive(s, c, t);
	case STEP_PUSHED: return step_pushed(s, c, t);
	case STEP_LOOK: return step_look(s, c, t);
	case STEP_SLEEP: return step_sleep(s, c, t);
	case STEP_WOKEN: return step_woken(s, c, t);
	case STEP_LEAVE: return step_leave(s, c, t);
	case STEP_TERMS: return step_terms(s, c, t);
	case STEP_LEASE: return step_lease(s, c, t);
	case STEP_DECLINE: return step_decline(s, c, t);
	case STEP_TELL: return step_tell(s, c, t);
	case STEP_RING: return step_ring(s, c, t);
	case STEP_BY_AGENT: return step_by_agent(s, c, t);
	case STEP_FREE: return step_free(s, c, t);
	case STEP_PASS: return step_pass(s, c, t);
	case STEP_WAKE:
		gates_rouse(s, host_of(s, c), t->pass.record);
		return next(t, STEP_PASS);
	case STEP_OVER: return step_over(s, c, t);
	}
	return false;
}

/* Between two steps. true: it goes on at once. */
static bool goes_on(struct sim *s, struct client *c, struct thread *t)
{
	bool tender = t->step == STEP_LEASE || t->step == STEP_TERMS || t->step == STEP_WAKE || t->step == STEP_RING ||
		      (t->step == STEP_PASS && t->pass.chosen);

	if (s->plan.kill_ns && !sim_healing(s) && sim_chance(s, 1, tender ? 300 : 3000)) {
		client_kill(s, c);
		return false;
	}
	if (s->plan.stop_ns && !sim_smooth(s) && sim_chance(s, 1, tender ? 200 : 3000)) {
		client_stop(s, c, sim_about(s, sim_chance(s, 1, 2) ? s->plan.leader_lease_ns : s->plan.host_lease_ns));
		clients_deferred(s, c, t);
		return false;
	}
	if (sim_chance(s, 3, 4))
		return true;
	client_later(s, c, t, sim_pick(s, 0, STEP_NS));
	return false;
}

static bool traced(struct sim *s, struct client *c, struct thread *t)
{
	if (s->options.trace && t->state != THREAD_IDLE) {
		uint64_t word = gate_of(s, c, t)->word;

		trace(s, "program %u thread %u, step %u: gate %u count %u top %u owner %u flags %u", c->id, (unsigned)(t - c->thread), t->step, t->gate,
		      gate_count(word), gate_top(word), gate_owner(word), gate_flags(word));
	}
	return true;
}

void gates_thread(struct sim *s, struct client *c, struct thread *t)
{
	while (traced(s, c, t) && step(s, c, t) && goes_on(s, c, t))
		;
}

bool gates_acquire(struct sim *s, struct client *c, struct thread *t)
{
	if (!find_gate(s, c, t))
		return false;
	t->state = THREAD_GATE;
	t->step = STEP_TAKE;
	t->since_ns = s->now_ns;
	t->told = t->taken = t->told_gate = t->asleep = t->cancelled = t->lost = false;
	t->place.record = 0;
	t->incarnation = atom_load_acquire(&host_of(s, c)->memory.tables->incarnation);
	s->tally->operations++;
	t->lags = lags(s, c) ? UINT8_MAX : 0;
	client_later(s, c, t, sim_pick(s, 0, STEP_NS));
	return true;
}

void gates_release(struct sim *s, struct client *c, struct thread *t)
{
	t->state = THREAD_RELEASES;
	t->step = STEP_FREE;
	t->again = false;
	s->tally->operations++;
	trace(s, "program %u of host %u lets go of %s, count %u", c->id, c->host, trace_key(&s->key[t->key]), t->count);
	oracle_released(s, c, t);
	gates_thread(s, c, t);
}
