/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent_rig: one or three agents over plain memory, wired to each other without loss, with sessions
 * whose rings are plain memory too; time passes when the test says so. For the suites of the agent's
 * rooms; everything is static. The random cluster is tests/sim.
 */
#ifndef PAXSHM_TESTS_TOOLS_PAXSHMD_AGENT_RIG_H
#define PAXSHM_TESTS_TOOLS_PAXSHMD_AGENT_RIG_H

#include <criterion/criterion.h>
#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include "../../../shm/arena.h"
#include "../../../shm/atom.h"
#include "../../../shm/ring.h"
#include "../../../shm/state/snapshot.h"
#include "../../../tools/paxshmd/agent.h"

#define HOSTS 3
#define SLOTS 8

struct frame {
	uint16_t from, to;
	size_t len;
	unsigned char bytes[];
};

struct host {
	struct agent_config config;
	struct agent_memory memory;
	struct agent *agent;
	struct session_rings *rings[SLOTS + 1];
	bool up;
	bool closed[SLOTS + 1], banned[SLOTS + 1];
	unsigned wakes, fatals, lines, heard; /* lines: logged; heard: of them, with `listen_for` in it */
};

static struct host hosts[HOSTS + 1];
static unsigned n_hosts;
static struct frame *queue[65536];
static unsigned queue_first, queue_end;
static uint64_t now_ns = NS_PER_S;
static uint32_t n_claims __attribute__((unused)) = 64, n_bite __attribute__((unused)); /* of a copy of the tables; 0: as usual */
static const char *listen_for __attribute__((unused));
static unsigned n_voters __attribute__((unused)); /* the hosts behind them only learn; 0: all vote */
static uint64_t host_lease_ns __attribute__((unused)) = NS_PER_S;
static uint32_t n_range __attribute__((unused)); /* tokens of a delegation; 0: as usual */
static uint64_t keep_ns __attribute__((unused)); /* 0: a lock that nobody uses is given back at once */

static inline bool belongs_to(uint16_t host, uint16_t to)
{
	switch (to) {
	case PAXOS_TO_ALL: return true;
	case PAXOS_TO_VOTERS: return host <= hosts[1].config.n_voters;
	case PAXOS_TO_OBSERVERS: return host > hosts[1].config.n_voters;
	default: return host == to;
	}
}

static inline void carry_out(struct host *h, struct agent_actions actions)
{
	for (unsigned i = 0; i < actions.n; i++) {
		const struct agent_action *x = &actions.at[i];

		switch (x->kind) {
		case ACTION_SEND:
			for (uint16_t to = 1; to <= n_hosts; to++) {
				if (to == h->config.self || !belongs_to(to, x->to))
					continue;
				struct frame *f = malloc(sizeof(*f) + x->len);
				f->from = h->config.self;
				f->to = to;
				f->len = x->len;
				memcpy(f->bytes, x->bytes, x->len);
				cr_assert_lt(queue_end, 65536);
				queue[queue_end++] = f;
			}
			break;
		case ACTION_WAKE: h->wakes++; break;
		case ACTION_CLOSED: h->closed[x->slot] = true; break;
		case ACTION_BANNED: h->banned[x->slot] = true; break;
		case ACTION_FATAL: h->fatals++; break;
		case ACTION_LOG:
			h->lines++;
			h->heard += listen_for && strstr(x->text, listen_for);
			break;
		default: break;
		}
	}
}

static inline struct agent_actions step(struct host *h, struct agent_event e)
{
	e.now_ns = now_ns;
	struct agent_actions actions = agent_step(h->agent, &e);

	carry_out(h, actions);
	return actions;
}

static inline void start_agent(struct host *h)
{
	const char *why = NULL;

	cr_assert_eq(agent_new(&h->agent, &h->config, &h->memory, now_ns, &why), 0, "%s", why ? why : "");
	h->up = true;
	for (uint32_t slot = 1; slot <= SLOTS; slot++)
		if (agent_has_session(h->agent, slot))
			step(h, (struct agent_event){ .kind = AGENT_SESSION_MAP, .slot = slot, .rings = h->rings[slot] });
}

static inline void link_all(struct host *h)
{
	for (uint16_t i = 1; i <= n_hosts; i++) {
		if (i == h->config.self || !hosts[i].up)
			continue;
		struct wire_hello theirs = agent_hello(hosts[i].agent), ours = agent_hello(h->agent);
		step(h, (struct agent_event){ .kind = AGENT_LINK_UP, .from = i, .hello = &theirs });
		step(&hosts[i], (struct agent_event){ .kind = AGENT_LINK_UP, .from = h->config.self, .hello = &ours });
	}
}

static inline void make_cluster(unsigned n, uint32_t rows)
{
	n_hosts = n;
	for (uint16_t i = 1; i <= n; i++) {
		struct host *h = &hosts[i];
		struct agent_limits *l = &h->config.limits;

		*l = agent_limits_for(rows);
		l->sessions = SLOTS;
		l->claims = n_claims;
		l->log_slots = 64;
		l->window = 8;
		l->value_max = 1024;
		h->config.self = i;
		h->config.n_voters = n_voters ? n_voters : n;
		for (uint16_t v = 0; v < h->config.n_voters; v++)
			h->config.voters[v] = v + 1;
		h->config.founding = true;
		strcpy(h->config.cluster, "test");
		h->config.heartbeat_ns = 20 * NS_PER_MS;
		h->config.leader_lease_ns = 200 * NS_PER_MS;
		h->config.host_lease_ns = host_lease_ns;
		h->config.drift_ppm = 1000;
		h->config.handover_max = 4;
		h->config.handover_ns = 10 * NS_PER_MS;
		h->config.keep_ns = keep_ns;
		h->config.range = n_range;
		h->config.ask_ns = NS_PER_S;
		h->config.copy_bite = n_bite;
		h->config.seed = 7 + i;
		h->config.nonce = 100 + i;
		h->memory.private = calloc(1, agent_private_size(l));
		h->memory.tables = calloc(1, agent_tables_size(l));
		h->memory.arena = calloc(1, agent_arena_size(l));
		start_agent(h);
	}
	for (uint16_t i = 1; i <= n; i++)
		link_all(&hosts[i]);
}

static inline void deliver_all(void)
{
	while (queue_first < queue_end) {
		struct frame *f = queue[queue_first++];

		if (hosts[f->to].up && hosts[f->from].up)
			step(&hosts[f->to], (struct agent_event){ .kind = AGENT_FRAME, .from = f->from, .bytes = f->bytes, .len = f->len });
		free(f);
	}
	queue_first = queue_end = 0;
}

/* Everything that can happen at this instant happens. */
static inline void settle(void)
{
	bool more = true;

	for (int round = 0; more && round < 1000; round++) {
		more = false;
		for (uint16_t i = 1; i <= n_hosts; i++)
			if (hosts[i].up)
				more |= step(&hosts[i], (struct agent_event){ .kind = AGENT_TURN }).again;
		more |= queue_end > 0;
		deliver_all();
	}
	cr_assert(!more, "it never comes to rest");
	for (uint16_t i = 1; i <= n_hosts; i++) {
		const char *wrong = hosts[i].up ? agent_check(hosts[i].agent) : NULL;
		cr_assert(!wrong, "host %u: %s", i, wrong);
		cr_assert(!hosts[i].memory.tables->ready || !table_check(hosts[i].memory.tables));
	}
}

static inline void pass(uint64_t ms)
{
	for (uint64_t i = 0; i < ms; i += 5) {
		now_ns += 5 * NS_PER_MS;
		for (uint16_t h = 1; h <= n_hosts; h++)
			if (hosts[h].up)
				step(&hosts[h], (struct agent_event){ .kind = AGENT_TIME });
		settle();
	}
}

static inline uint32_t open_session(struct host *h, uint32_t pid)
{
	uint32_t slot = agent_free_slot(h->agent);

	cr_assert_neq(slot, 0);
	free(h->rings[slot]); /* of an ended session */
	h->rings[slot] = calloc(1, sizeof(struct session_rings));
	h->closed[slot] = false;
	step(h, (struct agent_event){ .kind = AGENT_SESSION_OPEN, .slot = slot, .rings = h->rings[slot], .identity = { .pid = pid, .start = pid * 10ull } });
	return slot;
}

static inline void request(struct host *h, uint32_t slot, struct ring_request r)
{
	cr_assert(ring_push(h->rings[slot], &r));
	arena_announce(h->memory.arena, h->memory.tables, slot);
}

static inline struct ring_request wish(uint32_t op, uint32_t call, const char *key, uint32_t flags)
{
	struct ring_request r = { .op = op, .call = call, .flags = flags, .mode = 5, .key_len = (uint8_t)strlen(key) };

	memcpy(r.key, key, strlen(key));
	return r;
}

static inline bool answered(struct host *h, uint32_t slot, struct ring_completion *ret)
{
	return ring_take(h->rings[slot], ret);
}

static inline struct ring_completion acquire(struct host *h, uint32_t slot, const char *key)
{
	struct ring_completion c = { .result = 1 };

	request(h, slot, wish(REQUEST_ACQUIRE, 0, key, 0));
	settle();
	cr_assert(answered(h, slot, &c), "no grant");
	cr_assert_eq(c.result, 0);
	return c;
}

static inline struct gate_view gates_of(const struct host *h)
{
	return arena_view(h->memory.arena, h->memory.tables);
}

static inline void tell(struct host *h, uint32_t slot, uint32_t gate)
{
	request(h, slot, (struct ring_request){ .op = REQUEST_GATE, .call = CALL_NONE, .target = gate });
}

/* As a program lets go, without the agent but where it must hear of it. False: it was not its own any more. */
static inline bool let_go(struct host *h, uint32_t slot, const struct ring_completion *c)
{
	struct gate_view v = gates_of(h);
	struct gate_pass p = { .gate = c->gate, .slot = slot, .count = c->count };

	for (;;)
		switch (gate_release(&v, &p, now_ns)) {
		case GATE_TELL: tell(h, slot, c->gate); return true;
		case GATE_DONE: return true;
		case GATE_WAKE: h->wakes++; break;
		case GATE_AGAIN: break;
		default: return false;
		}
}

static inline void release(struct host *h, uint32_t slot, const struct ring_completion *c)
{
	cr_assert(let_go(h, slot, c));
	settle();
}

static inline void acquire_and_release(struct host *h, uint32_t slot, const char *key)
{
	struct ring_completion c = acquire(h, slot, key);

	release(h, slot, &c);
}

/* As a program takes a lock that its host keeps: 0, and the acquisition; or false: it is not free. */
static inline bool take(struct host *h, uint32_t slot, uint32_t gate, struct ring_completion *ret)
{
	bool died = false;

	*ret = (struct ring_completion){ .gate = gate };
	if (!gate_take(&gates_of(h).gates[gate], slot, &ret->count, &died))
		return false;
	const struct gate_terms *t = tables_terms(h->memory.tables, gate);
	ret->token = t->base + (ret->count - t->opened_at) - 1;
	ret->serial = t->serial;
	ret->flags = died ? COMPLETION_DIED : 0;
	return true;
}

/* The session that owns a gate, 0: none. */
static inline uint32_t gate_owner_of(const struct host *h, uint32_t gate)
{
	uint32_t owner = gate_owner(gates_of(h).gates[gate].word);

	return owner == GATE_AGENT ? 0 : owner;
}

static inline void ready(unsigned n, uint32_t rows)
{
	make_cluster(n, rows);
	pass(1500);
	for (uint16_t i = 1; i <= n; i++) {
		cr_assert_eq(hosts[i].memory.tables->quorum, 1);
		cr_assert_neq(hosts[i].memory.tables->incarnation, 0);
	}
}

static inline uint16_t leader(void)
{
	return (uint16_t)hosts[1].memory.tables->leader;
}

static inline void equal_tables(void)
{
	for (uint16_t i = 2; i <= n_hosts; i++) {
		cr_assert_eq(hosts[i].memory.tables->agreed.applied, hosts[1].memory.tables->agreed.applied);
		cr_assert_eq(snapshot_state_hash(hosts[i].memory.tables), snapshot_state_hash(hosts[1].memory.tables));
	}
}

#endif
