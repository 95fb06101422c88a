/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs of the hosts: each has a session and some threads, which do what libpaxshm does - push a
 * request, announce it, look, sleep on the call's bell, cancel at a deadline - through the real
 * rings. They die at any of these points.
 */
#include "sim.h"

#include <errno.h>

#include "../../shm/arena.h"
#include "../../shm/atom.h"

#define PROBED 60u       /* keys that are tried at the end */
#define LOOK_NS (5 * US) /* how long a thread takes to see that it was woken */

/* ---- keys ---- */

uint32_t sim_key(struct sim *s, const void *bytes, uint32_t len)
{
	uint64_t hash = hash_bytes(0, bytes, len);
	uint32_t at = (uint32_t)hash % ARRAY_LEN(s->key_index);
	struct key *k;

	for (; s->key_index[at]; at = (at + 1) % ARRAY_LEN(s->key_index)) {
		k = &s->key[s->key_index[at]];
		if (k->hash == hash && k->len == len && memcmp(k->bytes, bytes, len) == 0)
			return s->key_index[at];
	}
	CHECK(s, s->n_keys < SIM_KEYS, "this run meets more than %u keys", SIM_KEYS);
	s->key_index[at] = ++s->n_keys;
	k = &s->key[s->n_keys];
	k->hash = hash;
	k->len = len;
	memcpy(k->bytes, bytes, len);
	return s->n_keys;
}

static void make_key(struct sim *s, unsigned n)
{
	unsigned char bytes[KEY_MAX + 1];
	uint32_t style = s->plan.key_style == 3 ? (uint32_t)sim_pick(s, 0, 2) : s->plan.key_style;
	uint32_t len = (uint32_t)snprintf((char *)bytes, sizeof(bytes), "key-%u", n);

	if (style == 1) { /* long, alike up to the end */
		uint32_t to = sim_chance(s, 1, 2) ? KEY_MAX : (uint32_t)sim_pick(s, KEY_INLINE - 1, KEY_MAX);

		memset(bytes, 'x', to);
		snprintf((char *)bytes + to - 4, 5, "%04u", n);
		len = to;
	} else if (style == 2) {
		len = (uint32_t)sim_pick(s, 1, 80);
		for (uint32_t i = 0; i < len; i++)
			bytes[i] = (unsigned char)sim_pick(s, 0, 255);
	}
	sim_key(s, bytes, len);
}

uint32_t sim_choose_key(struct sim *s)
{
	if (sim_chance(s, 2, 3))
		return (uint32_t)sim_pick(s, 1, MIN(s->plan.hot_keys, s->first_keys));
	return (uint32_t)sim_pick(s, 1, s->first_keys);
}

void clients_start(struct sim *s)
{
	for (unsigned n = 1; n <= s->plan.keys; n++)
		make_key(s, n);
	s->first_keys = s->n_keys;
	sim_at(s, 50 * MS, (struct event){ .kind = EVENT_CLIENT });
}

/* ---- birth and end of a program ---- */

static unsigned living(const struct sim *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SIM_CLIENTS; i++)
		n += s->client[i].state == CLIENT_OPEN || s->client[i].state == CLIENT_OPENING;
	return n;
}

static void send_to_host(struct sim *s, struct client *c, uint8_t kind)
{
	struct parcel *p = calloc(1, sizeof(*p));

	ASSERT(p);
	p->kind = kind;
	p->client = c;
	p->connection = c->id;
	host_receive(s, &s->host[c->host], p);
}

struct client *client_new(struct sim *s, uint16_t host, bool prober)
{
	struct client *c = s->client;
	struct session_rings *rings;

	while (c < s->client + SIM_CLIENTS && c->state != CLIENT_FREE)
		c++;
	if (c == s->client + SIM_CLIENTS || !s->host[host].agent)
		return NULL;
	rings = c->rings ? c->rings : aligned_alloc(64, sizeof(*rings));
	ASSERT(rings);
	memset(rings, 0, sizeof(*rings));
	*c = (struct client){
		.id = ++s->next_client_id,
		.state = CLIENT_OPENING,
		.prober = prober,
		.host = host,
		.rings = rings,
		.pid = (uint32_t)sim_pick(s, 2, 1u << 22),
		.start = sim_pick(s, 1, 1u << 30),
		.n_threads = prober ? 1 : (uint32_t)sim_pick(s, 1, s->plan.threads),
	};
	trace(s, "program %u starts on host %u, pid %u", c->id, host, c->pid);
	send_to_host(s, c, PARCEL_OPEN);
	return c;
}

void client_maybe_new(struct sim *s)
{
	if (sim_healing(s))
		return;
	if (living(s) < s->plan.clients)
		client_new(s, s->plan.home ? s->plan.home : (uint16_t)sim_pick(s, 1, s->n_hosts), false);
	sim_at(s, s->now_ns + sim_about(s, 10 * MS), (struct event){ .kind = EVENT_CLIENT });
}

static void client_free(struct client *c)
{
	c->state = CLIENT_FREE;
	for (unsigned i = 0; i < SIM_THREADS; i++)
		c->thread[i].timer = 0;
}

void client_opened(struct sim *s, struct client *c, uint32_t slot)
{
	bool prober = c->prober;
	uint16_t host = c->host;

	if (!slot) {
		trace(s, "program %u is not let in", c->id);
		client_free(c);
		if (prober)
			client_new(s, host, true);
		return;
	}
	trace(s, "program %u has session %u of host %u", c->id, slot, c->host);
	c->state = CLIENT_OPEN;
	for (unsigned i = 0; i < c->n_threads; i++)
		client_later(s, c, &c->thread[i], sim_pick(s, 0, s->plan.think_ns));
}

void client_let_go(struct sim *s, struct client *c)
{
	c->kept = false;
	if (c->state == CLIENT_OPEN && !c->nonsense) {
		CHECK(s, c->closing, "the agent of host %u has ended the session of program %u, which lives", c->host, c->id);
		/* It still reads its answer; if that died with the agent, it sees in a while that its session is over. */
		for (struct thread *t = c->thread; t < c->thread + c->n_threads; t++)
			if (t->state == THREAD_CLOSES && t->asleep && !t->woken)
				client_later(s, c, t, SECOND);
		return;
	}
	client_free(c);
}

void client_kill(struct sim *s, struct client *c)
{
	bool waits = false, holds = false;

	if (c->state == CLIENT_DEAD || c->state == CLIENT_FREE)
		return;
	for (unsigned i = 0; i < c->n_threads; i++) {
		waits |= c->thread[i].state == THREAD_WAITS || c->thread[i].state == THREAD_GATE;
		holds |= c->thread[i].state == THREAD_HOLDS;
		if (c->thread[i].sharing.shares)
			sim_mark(s, MARK_CLIENT_KILLED_SHARING);
		c->thread[i].timer = 0;
	}
	trace(s, "program %u is killed%s%s%s", c->id, waits ? ", it waits" : "", holds ? ", it holds a lock" : "",
	      c->closing ? ", it closes its session" : "");
	sim_mark(s, c->state == CLIENT_OPENING ? MARK_CLIENT_KILLED_OPENING : c->closing ? MARK_CLIENT_KILLED_CLOSING
								      : holds            ? MARK_CLIENT_KILLED_HOLDING
								      : waits            ? MARK_CLIENT_KILLED_WAITING
											 : MARK_CLIENT_KILLED_IDLE);
	if (c->state == CLIENT_OPENING && !c->kept) {
		c->state = CLIENT_DEAD; /* until its OPEN comes to the agent */
		return;
	}
	c->state = CLIENT_DEAD;
	c->gone_ns = s->now_ns;
	if (!c->kept)
		client_free(c);
	else if (s->host[c->host].agent)
		client_gone(s, c);
}

void client_gone(struct sim *s, struct client *c)
{
	send_to_host(s, c, PARCEL_GONE);
}

/* ---- stopped, by a signal or with its whole host ---- */

void client_stop(struct sim *s, struct client *c, uint64_t for_ns)
{
	bool holds = false, unseen = false;

	for (struct thread *t = c->thread; t < c->thread + c->n_threads; t++) {
		holds |= t->state == THREAD_HOLDS;
		unseen |= t->state == THREAD_WAITS && t->told && !t->taken;
	}
	c->stopped_until = MAX(c->stopped_until, s->now_ns + for_ns);
	trace(s, "program %u is stopped until %.6f", c->id, (double)c->stopped_until / 1e9);
	sim_mark(s, unseen ? MARK_CLIENT_STOPPED_UNSEEN : holds ? MARK_CLIENT_STOPPED_HOLDING
								: MARK_CLIENT_STOPPED);
}

void clients_deferred(struct sim *s, struct client *c, struct thread *t)
{
	uint64_t until = MAX(c->stopped_until, s->host[c->host].frozen_until);

	client_later(s, c, t, until - s->now_ns);
}

/* ---- a call ---- */

void client_later(struct sim *s, struct client *c, struct thread *t, uint64_t after_ns)
{
	t->timer = ++s->next_timer;
	sim_at(s, s->now_ns + after_ns,
	       (struct event){ .kind = EVENT_THREAD, .a = (uint16_t)(c - s->client), .b = (uint16_t)(t - c->thread), .number = t->timer });
}

void client_announce(struct sim *s, struct client *c)
{
	struct host *h = &s->host[c->host];

	if (arena_announce(h->memory.arena, h->memory.tables, c->slot))
		host_wake(s, h, sim_pick(s, 1, 10 * US));
	else
		CHECK(s, !h->agent || !h->asleep, "the agent of host %u sleeps, and program %u was not told to ring", h->id, c->id);
}

static uint32_t free_call(struct sim *s, struct client *c)
{
	uint32_t call = sim_chance(s, 1, 4) ? (uint32_t)sim_pick(s, 0, RING_CALLS - 1) : 0;

	while (c->calls_out[call / 64] >> (call % 64) & 1)
		call = (call + 1) % RING_CALLS;
	return call;
}

static bool push(struct sim *s, struct client *c, const struct ring_request *r)
{
	if (!ring_push(c->rings, r)) {
		sim_mark(s, MARK_RING_FULL);
		client_announce(s, c);
		return false;
	}
	return true;
}

void client_put_key(const struct sim *s, struct ring_request *r, uint32_t key)
{
	r->key_len = (uint8_t)s->key[key].len;
	memcpy(r->key, s->key[key].bytes, s->key[key].len);
}

static struct ring_request request_of(struct sim *s, const struct thread *t)
{
	struct ring_request r = { .call = t->call, .flags = t->flags };

	switch (t->state) {
	case THREAD_WAITS:
		r.op = REQUEST_ACQUIRE;
		r.mode = t->sharing.wants ? LOCK_MODE_PR : LOCK_MODE_EX;
		client_put_key(s, &r, t->key);
		break;
	case THREAD_ASKS:
		r.op = REQUEST_HOLDER;
		client_put_key(s, &r, t->key);
		break;
	case THREAD_CLOSES:
		r.op = REQUEST_CLOSE;
		break;
	}
	return r;
}

static void close_pushed(struct sim *s, struct client *c, struct thread *closer)
{
	bool used = false;

	c->closing = true;
	for (struct thread *t = c->thread; t < c->thread + c->n_threads; t++) {
		used |= t->state == THREAD_HOLDS || t->state == THREAD_WAITS || t->state == THREAD_GATE;
		if (t != closer)
			t->timer = 0;
	}
	if (used)
		sim_mark(s, MARK_SESSION_CLOSED_HOLDING);
	oracle_ended(s, c, false);
}

/* Pushes the request that the thread's state stands for; later if the ring is full. */
static void ask(struct sim *s, struct client *c, struct thread *t)
{
	struct ring_request r;

	if (!t->pushed)
		t->call = free_call(s, c);
	r = request_of(s, t);
	if (!push(s, c, &r)) {
		client_later(s, c, t, sim_pick(s, 20 * US, 200 * US));
		return;
	}
	t->pushed = true;
	t->told = t->taken = t->cancelled = t->asleep = t->woken = false;
	t->since_ns = s->now_ns;
	sharing_asks(s, c, t);
	c->calls_out[t->call / 64] |= 1ull << (t->call % 64);
	s->tally->operations++;
	if (t->state == THREAD_CLOSES)
		close_pushed(s, c, t);
	trace_request(s, c, &r);
	if (s->plan.kill_ns && !sim_healing(s) && sim_chance(s, 1, t->state == THREAD_CLOSES ? 10 : 200)) {
		client_kill(s, c); /* before it could ring */
		return;
	}
	t->unannounced = sim_chance(s, 1, 4);
	if (!t->unannounced)
		client_announce(s, c);
	if (t->state == THREAD_WAITS && s->plan.kill_ns && !sim_healing(s) && sim_chance(s, 1, 150)) {
		client_kill(s, c); /* what it is granted now nobody gets */
		return;
	}
	client_later(s, c, t, sim_pick(s, 0, 10 * US));
}

static void begin(struct sim *s, struct client *c, struct thread *t, enum thread_state state)
{
	t->state = (uint8_t)state;
	t->pushed = false;
	if (state == THREAD_WAITS)
		t->lost = false;
	else
		t->deadline_ns = NEVER;
	if (state == THREAD_CLOSES)
		t->flags = 0;
	ask(s, c, t);
}

/* ---- waiting ---- */

/* As the library does: whoever looks first hands every answer to its call. */
static void take_answers(struct client *c)
{
	struct ring_completion answer;

	while (ring_take(c->rings, &answer))
		for (struct thread *t = c->thread; t < c->thread + c->n_threads; t++)
			if (t->pushed && t->call == answer.call && !t->taken) {
				t->answer = answer;
				t->taken = true;
			}
}

static void push_cancel(struct sim *s, struct client *c, struct thread *t)
{
	struct ring_request r = { .op = REQUEST_CANCEL, .call = CALL_NONE, .target = t->call };

	t->reason = sim_chance(s, 1, 4) ? -ECANCELED : -ETIMEDOUT;
	r.reason = t->reason;
	if (!push(s, c, &r))
		return;
	trace_request(s, c, &r);
	t->cancelled = true;
	client_announce(s, c);
}

static void go_to_sleep(struct sim *s, struct client *c, struct thread *t)
{
	atom_or_seq_cst(&c->rings->bell[t->call], 1u);
	t->asleep = true;
	t->woken = false;
	t->timer = 0;
	if (!t->cancelled && t->deadline_ns != NEVER) /* overdue: the ring was full */
		client_later(s, c, t, MAX(t->deadline_ns, s->now_ns + 50 * US) - s->now_ns);
	/* Or at a time when the grant may be on its way. */
	t->signal_due = t->state == THREAD_WAITS && !t->cancelled && !c->prober && !sim_smooth(s) && sim_chance(s, 1, 10);
	if (t->signal_due)
		client_later(s, c, t, sim_pick(s, 1, 4 * s->plan.latency_ns + 20 * US));
}

/* Now and then the scheduler has something better to do. */
uint64_t client_wake_takes_ns(struct sim *s)
{
	if (sim_smooth(s) || !sim_chance(s, 1, 500))
		return sim_pick(s, 0, LOOK_NS);
	sim_mark(s, MARK_WAKE_LATE);
	return sim_about(s, ONE_OF(s, 1 * MS, s->plan.leader_lease_ns));
}

void client_woken(struct sim *s, struct client *c, uint32_t call)
{
	for (struct thread *t = c->thread; t < c->thread + c->n_threads; t++) {
		if (!t->asleep || t->call != call)
			continue;
		t->woken = true;
		if (c->state == CLIENT_OPEN && !c->nonsense && (!c->closing || t->state == THREAD_CLOSES))
			client_later(s, c, t, client_wake_takes_ns(s));
	}
}

static void answered(struct sim *s, struct client *c, struct thread *t);

static void look(struct sim *s, struct client *c, struct thread *t)
{
	if (t->asleep) {
		atom_and_seq_cst(&c->rings->bell[t->call], ~1u);
		t->asleep = false;
	}
	if (t->unannounced) {
		client_announce(s, c);
		t->unannounced = false;
	}
	take_answers(c);
	if (t->taken || (t->state == THREAD_CLOSES && !c->kept)) {
		answered(s, c, t);
		return;
	}
	bool signalled = t->signal_due;

	t->signal_due = false;
	if (signalled && s->plan.kill_ns && !sim_healing(s) && sim_chance(s, 1, 4)) {
		client_kill(s, c);
		return;
	}
	if (t->state == THREAD_WAITS && !t->cancelled && (s->now_ns >= t->deadline_ns || signalled))
		push_cancel(s, c, t);
	if (sim_chance(s, s->plan.p_hurry, 1000))
		client_later(s, c, t, sim_pick(s, 5 * US, 500 * US)); /* it spins, or was woken for nothing */
	else
		go_to_sleep(s, c, t);
}

/* ---- what a thread does with its life ---- */

void client_rest(struct sim *s, struct client *c, struct thread *t)
{
	t->state = THREAD_IDLE;
	t->pushed = false;
	t->timer = 0;
	if (!sim_healing(s) || c->prober || liveness_shares(s, c->host))
		client_later(s, c, t, c->prober ? 10 * US : sim_about(s, s->plan.think_ns));
}

void client_by_agent(struct sim *s, struct client *c, struct thread *t)
{
	begin(s, c, t, THREAD_WAITS);
}

static void begin_acquire(struct sim *s, struct client *c, struct thread *t)
{
	t->deadline_ns = NEVER;
	if (!c->prober && sim_chance(s, s->plan.p_deadline, 1000))
		t->deadline_ns = s->now_ns + sim_about(s, sim_chance(s, 1, 2) ? s->plan.hold_ns : s->plan.latency_ns * 4);
	/* Now and then it wants stamps, or has no place left to wait: that is the agent's. */
	if (t->sharing.wants || sim_chance(s, 1, 4) || !gates_acquire(s, c, t))
		client_by_agent(s, c, t);
}

static void begin_some_acquire(struct sim *s, struct client *c, struct thread *t)
{
	t->key = sim_choose_key(s);
	t->flags = sim_chance(s, s->plan.p_try, 1000) ? REQUEST_TRY : 0;
	t->flags |= sim_chance(s, s->plan.p_return, 1000) ? REQUEST_RETURN : 0;
	t->sharing.wants = sim_chance(s, s->plan.p_share, 1000);
	begin_acquire(s, c, t);
}

static void begin_something(struct sim *s, struct client *c, struct thread *t)
{
	if (c->prober) {
		if (c->probed == MIN(s->first_keys, PROBED)) {
			begin(s, c, t, THREAD_CLOSES);
			return;
		}
		t->key = 1 + (c->probed++ + c->host) % MIN(s->first_keys, PROBED);
		t->flags = 0;
		t->sharing.wants = false;
		begin_acquire(s, c, t);
	} else if (liveness_shares(s, c->host)) {
		t->key = sim_choose_key(s);
		t->flags = 0;
		t->deadline_ns = NEVER;
		t->sharing.wants = true;
		client_by_agent(s, c, t);
	} else if (sim_healing(s)) {
		t->timer = 0;
	} else if (t == c->thread && sim_chance(s, s->plan.p_close, 1000)) {
		begin(s, c, t, THREAD_CLOSES);
	} else if (sim_chance(s, s->plan.p_read, 1000)) {
		reads_holder(s, &s->host[c->host], sim_choose_key(s));
		client_rest(s, c, t);
	} else if (sim_chance(s, s->plan.p_holder, 1000)) {
		t->key = sim_choose_key(s);
		t->flags = sim_chance(s, 1, 2) ? REQUEST_LINEARIZABLE : 0;
		begin(s, c, t, THREAD_ASKS);
	} else {
		begin_some_acquire(s, c, t);
	}
}

static uint64_t hold_ns(struct sim *s, const struct client *c, const struct thread *t)
{
	if (t->sharing.wants && sim_healing(s))
		return sim_pick(s, 0, 10 * MS);
	return t->cancelled || c->prober ? 20 * US : MIN(sim_about(s, s->plan.hold_ns / (t->uses + 1u)), 2 * SECOND);
}

/* One write after the other, then the release. */
static void hold_on(struct sim *s, struct client *c, struct thread *t)
{
	bool last = t->uses == 0, suspended = program_check(s, c, t->incarnation) == -ENETUNREACH;

	if (!resource_use(s, c, t) && sim_chance(s, 3, 4))
		client_rest(s, c, t); /* there is nothing to release any more */
	else if (!(suspended ? sim_chance(s, 1, 20) : last))
		client_later(s, c, t, suspended ? sim_about(s, s->plan.host_lease_ns / 16) : hold_ns(s, c, t));
	else if (t->sharing.wants)
		sharing_release(s, c, t);
	else
		gates_release(s, c, t);
}

void client_holds(struct sim *s, struct client *c, struct thread *t)
{
	t->state = THREAD_HOLDS;
	t->uses = c->prober ? 1 : (uint8_t)sim_pick(s, 0, 2);
	client_later(s, c, t, hold_ns(s, c, t));
	if (s->plan.stop_ns && !sim_smooth(s) && sim_chance(s, 1, 300))
		client_stop(s, c, sim_about(s, sim_chance(s, 1, 2) ? s->plan.leader_lease_ns : s->plan.host_lease_ns));
}

static void answered(struct sim *s, struct client *c, struct thread *t)
{
	t->pushed = false;
	c->calls_out[t->call / 64] &= ~(1ull << (t->call % 64));
	switch (t->state) {
	case THREAD_WAITS:
		if (t->answer.result) {
			client_rest(s, c, t);
			return;
		}
		t->gate = t->answer.gate;
		t->serial = t->answer.serial;
		t->count = t->answer.count;
		t->token = t->answer.token;
		t->incarnation = t->answer.incarnation;
		if (t->gate)
			gates_learn(c, t);
		client_holds(s, c, t);
		break;
	case THREAD_CLOSES:
		sim_mark(s, MARK_SESSION_CLOSED);
		c->state = CLIENT_CLOSED;
		trace(s, "program %u has closed its session", c->id);
		if (!c->kept)
			client_free(c);
		break;
	default:
		client_rest(s, c, t);
	}
}

void client_thread(struct sim *s, struct client *c, struct thread *t)
{
	if (c->nonsense) {
		if (!sim_healing(s))
			client_nonsense(s, c);
		return;
	}
	switch (t->state) {
	case THREAD_IDLE:
		begin_something(s, c, t);
		break;
	case THREAD_HOLDS:
		hold_on(s, c, t);
		break;
	case THREAD_LEAVES:
		sharing_leave(s, c, t);
		break;
	case THREAD_GATE:
	case THREAD_RELEASES:
		gates_thread(s, c, t);
		break;
	default:
		if (t->pushed)
			look(s, c, t);
		else
			ask(s, c, t);
	}
}

/* Whoever gives up at this moment: what has just come may be its grant. */
void clients_cancel_now(struct sim *s, const struct host *h)
{
	for (struct client *c = s->client; c < s->client + SIM_CLIENTS; c++) {
		if (c->host != h->id || c->state != CLIENT_OPEN || c->nonsense || c->closing || client_stands(s, c))
			continue;
		for (struct thread *t = c->thread; t < c->thread + c->n_threads; t++)
			if (t->state == THREAD_WAITS && t->pushed && !t->told && !t->cancelled && t->deadline_ns != NEVER) {
				push_cancel(s, c, t);
				client_later(s, c, t, sim_pick(s, 0, LOOK_NS));
			}
	}
}

void clients_act_now(struct sim *s, const struct host *h)
{
	unsigned at = (unsigned)sim_pick(s, 0, SIM_CLIENTS - 1);

	for (unsigned n = 0; n < SIM_CLIENTS; n++, at = (at + 1) % SIM_CLIENTS) {
		struct client *c = &s->client[at];
		struct thread *t = &c->thread[sim_pick(s, 0, SIM_THREADS - 1)];

		if (c->host == h->id && c->state == CLIENT_OPEN && !c->nonsense && t->timer) {
			client_thread(s, c, t);
			return;
		}
	}
}

void client_close(struct sim *s, struct client *c)
{
	if (!c->closing && c->thread[0].state == THREAD_IDLE)
		begin(s, c, &c->thread[0], THREAD_CLOSES);
}

bool clients_quiet(struct sim *s, const struct client **ret_busy)
{
	for (unsigned i = 0; i < SIM_CLIENTS; i++) {
		const struct client *c = &s->client[i];

		if (c->state == CLIENT_FREE)
			continue;
		*ret_busy = c;
		if (c->state != CLIENT_OPEN)
			return false;
		for (unsigned n = 0; n < c->n_threads; n++)
			if (c->thread[n].state != THREAD_IDLE && !(c->closing && c->thread[n].state != THREAD_CLOSES))
				return false;
	}
	return true;
}
