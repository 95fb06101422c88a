/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's step, driven by hand: one or three agents over plain memory, wired to each other
 * without loss, with sessions whose rings are plain memory too. The random cluster is tests/sim.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>

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
	unsigned wakes, fatals, lines;
};

static struct host hosts[HOSTS + 1];
static unsigned n_hosts;
static struct frame *queue[65536];
static unsigned queue_first, queue_end;
static uint64_t now_ns = NS_PER_S;
static uint32_t n_claims = 64;

static void carry_out(struct host *h, struct agent_actions actions)
{
	for (unsigned i = 0; i < actions.n; i++) {
		const struct agent_action *x = &actions.at[i];

		switch (x->kind) {
		case ACTION_SEND:
			for (uint16_t to = 1; to <= n_hosts; to++) {
				if (to == h->config.self || (x->to != to && x->to != PAXOS_TO_VOTERS && x->to != PAXOS_TO_ALL))
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
		case ACTION_LOG: h->lines++; break;
		default: break;
		}
	}
}

static struct agent_actions step(struct host *h, struct agent_event e)
{
	e.now_ns = now_ns;
	struct agent_actions actions = agent_step(h->agent, &e);

	carry_out(h, actions);
	return actions;
}

static void start_agent(struct host *h)
{
	const char *why = NULL;

	cr_assert_eq(agent_new(&h->agent, &h->config, &h->memory, now_ns, &why), 0, "%s", why ? why : "");
	h->up = true;
	for (uint32_t slot = 1; slot <= SLOTS; slot++)
		if (agent_has_session(h->agent, slot))
			step(h, (struct agent_event){ .kind = AGENT_SESSION_MAP, .slot = slot, .rings = h->rings[slot] });
}

static void link_all(struct host *h)
{
	for (uint16_t i = 1; i <= n_hosts; i++) {
		if (i == h->config.self || !hosts[i].up)
			continue;
		struct wire_hello theirs = agent_hello(hosts[i].agent), ours = agent_hello(h->agent);
		step(h, (struct agent_event){ .kind = AGENT_LINK_UP, .from = i, .hello = &theirs });
		step(&hosts[i], (struct agent_event){ .kind = AGENT_LINK_UP, .from = h->config.self, .hello = &ours });
	}
}

static void make_cluster(unsigned n, uint32_t rows)
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
		h->config.n_voters = n;
		for (uint16_t v = 0; v < n; v++)
			h->config.voters[v] = v + 1;
		h->config.founding = true;
		strcpy(h->config.cluster, "test");
		h->config.heartbeat_ns = 20 * NS_PER_MS;
		h->config.election_ns = 200 * NS_PER_MS;
		h->config.host_lease_ns = NS_PER_S;
		h->config.handover_max = 4;
		h->config.ask_ns = NS_PER_S;
		h->config.seed = 7 + i;
		h->config.nonce = 100 + i;
		h->memory.private = calloc(1, agent_private_size(l));
		h->memory.tables = calloc(1, tables_size(&l->capacity));
		h->memory.arena = calloc(1, sizeof(struct arena));
		start_agent(h);
	}
	for (uint16_t i = 1; i <= n; i++)
		link_all(&hosts[i]);
}

static void deliver_all(void)
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
static void settle(void)
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
		cr_assert(!table_check(hosts[i].memory.tables));
	}
}

static void pass(uint64_t ms)
{
	for (uint64_t i = 0; i < ms; i += 5) {
		now_ns += 5 * NS_PER_MS;
		for (uint16_t h = 1; h <= n_hosts; h++)
			if (hosts[h].up)
				step(&hosts[h], (struct agent_event){ .kind = AGENT_TIME });
		settle();
	}
}

static uint32_t open_session(struct host *h, uint32_t pid)
{
	uint32_t slot = agent_free_slot(h->agent);

	cr_assert_neq(slot, 0);
	free(h->rings[slot]); /* of an ended session */
	h->rings[slot] = calloc(1, sizeof(struct session_rings));
	h->closed[slot] = false;
	step(h, (struct agent_event){ .kind = AGENT_SESSION_OPEN, .slot = slot, .rings = h->rings[slot], .identity = { .pid = pid, .start = pid * 10ull } });
	return slot;
}

static void request(struct host *h, uint32_t slot, struct ring_request r)
{
	cr_assert(ring_push(h->rings[slot], &r));
	ring_announce(h->memory.arena, h->memory.tables, slot);
}

static struct ring_request wish(uint32_t op, uint32_t call, const char *key, uint32_t flags)
{
	struct ring_request r = { .op = op, .call = call, .flags = flags, .mode = 5, .key_len = (uint8_t)strlen(key) };

	memcpy(r.key, key, strlen(key));
	return r;
}

static bool answered(struct host *h, uint32_t slot, struct ring_completion *ret)
{
	return ring_take(h->rings[slot], ret);
}

static struct ring_completion acquire(struct host *h, uint32_t slot, const char *key)
{
	struct ring_completion c = { .result = 1 };

	request(h, slot, wish(REQUEST_ACQUIRE, 0, key, 0));
	settle();
	cr_assert(answered(h, slot, &c), "no grant");
	cr_assert_eq(c.result, 0);
	return c;
}

static void release(struct host *h, uint32_t slot, uint64_t claim)
{
	request(h, slot, (struct ring_request){ .op = REQUEST_RELEASE, .call = CALL_NONE, .claim = claim });
	settle();
}

static void ready(unsigned n, uint32_t rows)
{
	make_cluster(n, rows);
	pass(1500);
	for (uint16_t i = 1; i <= n; i++) {
		cr_assert_eq(hosts[i].memory.tables->quorum, 1);
		cr_assert_neq(hosts[i].memory.tables->incarnation, 0);
	}
}

static uint16_t leader(void)
{
	return (uint16_t)hosts[1].memory.tables->leader;
}

static void equal_tables(void)
{
	for (uint16_t i = 2; i <= n_hosts; i++) {
		cr_assert_eq(hosts[i].memory.tables->agreed.applied, hosts[1].memory.tables->agreed.applied);
		cr_assert_eq(snapshot_state_hash(hosts[i].memory.tables), snapshot_state_hash(hosts[1].memory.tables));
	}
}

Test(agent, one_host_grants_and_frees)
{
	ready(1, 64);
	struct host *h = &hosts[1];
	uint32_t s = open_session(h, 11);
	struct ring_completion first = acquire(h, s, "k"), second;
	struct lock_value v;

	cr_assert_eq(table_read(h->memory.tables, "k", 1, &v), 1);
	cr_assert_eq(v.owner_pid, 11);
	cr_assert_eq(v.owner_token, first.token);
	release(h, s, first.claim);
	cr_assert_eq(table_read(h->memory.tables, "k", 1, &v), 0, "a free lock takes no row");
	second = acquire(h, s, "k");
	cr_assert_gt(second.token, first.token);
}

Test(agent, three_hosts_take_turns_first_come_first_served)
{
	ready(3, 64);
	uint32_t slot[4];
	struct ring_completion c;
	uint64_t token = 0;

	for (int i = 1; i <= 3; i++)
		slot[i] = open_session(&hosts[i], 10u * i);
	for (int i = 1; i <= 3; i++) {
		request(&hosts[i], slot[i], wish(REQUEST_ACQUIRE, 3, "k", 0));
		settle();
	}
	for (int i = 1; i <= 3; i++) {
		cr_assert(answered(&hosts[i], slot[i], &c), "host %d in its turn", i);
		cr_assert_gt(c.token, token);
		token = c.token;
		for (int j = i + 1; j <= 3; j++) {
			struct ring_completion other;
			cr_assert(!answered(&hosts[j], slot[j], &other), "only one owner");
		}
		release(&hosts[i], slot[i], c.claim);
	}
	equal_tables();
	cr_assert_eq(hosts[1].memory.tables->agreed.rows_used, 0);
}

Test(agent, a_try_is_told_the_process_on_the_other_host)
{
	ready(3, 64);
	uint32_t a = open_session(&hosts[1], 41), b = open_session(&hosts[2], 42);
	struct ring_completion owner = acquire(&hosts[1], a, "k"), c;

	request(&hosts[2], b, wish(REQUEST_ACQUIRE, 1, "k", REQUEST_TRY));
	settle();
	pass(50);
	cr_assert(answered(&hosts[2], b, &c));
	cr_assert_eq(c.result, -EBUSY);
	cr_assert_eq(c.holder_host, 1);
	cr_assert_eq(c.holder_pid, 41);
	cr_assert_eq(c.holder_start, 410);
	cr_assert_eq(c.holder_session, a);
	release(&hosts[1], a, owner.claim);
	request(&hosts[2], b, wish(REQUEST_ACQUIRE, 1, "k", REQUEST_TRY));
	pass(20);
	cr_assert(answered(&hosts[2], b, &c));
	cr_assert_eq(c.result, 0);
}

Test(agent, a_try_behind_an_owner_that_does_not_answer_names_its_host)
{
	ready(3, 64);
	uint32_t a = open_session(&hosts[1], 41), b = open_session(&hosts[2], 42);
	struct ring_completion c;

	acquire(&hosts[1], a, "k");
	hosts[1].up = false; /* frozen, and the two others go on */
	pass(3000);
	request(&hosts[2], b, wish(REQUEST_ACQUIRE, 1, "k", REQUEST_TRY));
	pass(3000);
	cr_assert(answered(&hosts[2], b, &c));
	cr_assert_eq(c.result, -EBUSY);
	cr_assert_eq(c.holder_host, 1);
	cr_assert_eq(c.holder_pid, 0);
}

Test(agent, holder_answers_from_the_owners_host_and_also_linearizably)
{
	ready(3, 64);
	uint32_t a = open_session(&hosts[1], 41), b = open_session(&hosts[2], 42);
	struct ring_completion owner = acquire(&hosts[1], a, "k"), c;

	for (uint32_t flags = 0; flags <= REQUEST_LINEARIZABLE; flags += REQUEST_LINEARIZABLE) {
		request(&hosts[2], b, wish(REQUEST_HOLDER, 5, "k", flags));
		pass(50);
		cr_assert(answered(&hosts[2], b, &c));
		cr_assert_eq(c.result, 0);
		cr_assert_eq(c.holder_pid, 41);
		cr_assert_eq(c.holder_token, owner.token);
		request(&hosts[2], b, wish(REQUEST_HOLDER, 5, "nobody's", flags));
		pass(50);
		cr_assert(answered(&hosts[2], b, &c));
		cr_assert_eq(c.result, -ESRCH);
	}
}

Test(agent, trap_8_a_cancelled_or_dead_waiter_does_not_swallow_the_grant)
{
	ready(3, 64);
	uint32_t owner = open_session(&hosts[1], 1), gone = open_session(&hosts[2], 2), late = open_session(&hosts[2], 3),
		 last = open_session(&hosts[3], 4);
	struct ring_completion held = acquire(&hosts[1], owner, "k"), c;

	request(&hosts[2], gone, wish(REQUEST_ACQUIRE, 0, "k", 0));
	request(&hosts[2], late, wish(REQUEST_ACQUIRE, 0, "k", 0));
	settle();
	request(&hosts[3], last, wish(REQUEST_ACQUIRE, 0, "k", 0));
	settle();
	/* Release, death and time-out at one instant, in whichever order they are met. */
	request(&hosts[1], owner, (struct ring_request){ .op = REQUEST_RELEASE, .call = CALL_NONE, .claim = held.claim });
	request(&hosts[2], late, (struct ring_request){ .op = REQUEST_CANCEL, .call = CALL_NONE, .target = 0, .reason = -ETIMEDOUT });
	step(&hosts[2], (struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = gone });
	settle();
	cr_assert(answered(&hosts[2], late, &c));
	if (c.result == 0)
		release(&hosts[2], late, c.claim);
	else
		cr_assert_eq(c.result, -ETIMEDOUT);
	cr_assert(answered(&hosts[3], last, &c), "the grant goes to the next");
	cr_assert_eq(c.result, 0);
}

Test(agent, the_next_owner_is_told_that_the_last_one_died)
{
	ready(3, 64);
	uint32_t a = open_session(&hosts[1], 1), b = open_session(&hosts[2], 2), later = open_session(&hosts[3], 3);
	struct ring_completion c;

	acquire(&hosts[1], a, "k");
	request(&hosts[2], b, wish(REQUEST_ACQUIRE, 0, "k", 0));
	settle();
	step(&hosts[1], (struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = a });
	settle();
	cr_assert(answered(&hosts[2], b, &c));
	cr_assert_eq(c.flags, COMPLETION_DIED);
	/* Also when nobody waited. */
	step(&hosts[2], (struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = b });
	settle();
	c = acquire(&hosts[3], later, "k");
	cr_assert_eq(c.flags, COMPLETION_DIED);
	release(&hosts[3], later, c.claim);
	c = acquire(&hosts[3], later, "k");
	cr_assert_eq(c.flags, 0, "told once");
}

Test(agent, a_release_just_before_the_end_is_a_release)
{
	ready(1, 64);
	uint32_t a = open_session(&hosts[1], 1), b = open_session(&hosts[1], 2);
	struct ring_completion c = acquire(&hosts[1], a, "k");

	request(&hosts[1], a, (struct ring_request){ .op = REQUEST_RELEASE, .call = CALL_NONE, .claim = c.claim });
	step(&hosts[1], (struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = a });
	settle();
	cr_assert_eq(acquire(&hosts[1], b, "k").flags, 0);
}

Test(agent, trap_7_cleaning_up_after_a_dead_session_does_not_touch_its_successor)
{
	ready(3, 64);
	uint32_t old = open_session(&hosts[1], 77), young;
	struct ring_completion c, gone = acquire(&hosts[1], old, "k");

	young = open_session(&hosts[1], 77);
	request(&hosts[1], young, wish(REQUEST_ACQUIRE, 0, "k", 0));
	step(&hosts[1], (struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = old });
	settle();
	cr_assert(answered(&hosts[1], young, &c));
	cr_assert_eq(c.result, 0);
	/* The dead one's release, named again by whoever has its slot now, is nobody's. */
	uint32_t reused = open_session(&hosts[1], 78);
	cr_assert_eq(reused, old);
	request(&hosts[1], reused, (struct ring_request){ .op = REQUEST_RELEASE, .call = 9, .claim = gone.claim });
	settle();
	struct ring_completion refused;
	cr_assert(answered(&hosts[1], reused, &refused));
	cr_assert_eq(refused.result, -ESTALE);
	struct lock_value v;
	cr_assert_eq(table_read(hosts[1].memory.tables, "k", 1, &v), 1);
	cr_assert_eq(v.owner_session, young);
}

Test(agent, waiting_hosts_get_the_lock_after_handover_max_local_turns)
{
	ready(3, 64);
	uint32_t here[3], there = open_session(&hosts[2], 9);
	struct ring_completion c, other;
	int turns = 0;

	for (int i = 0; i < 3; i++)
		here[i] = open_session(&hosts[1], 1u + i);
	for (int i = 0; i < 3; i++) {
		request(&hosts[1], here[i], wish(REQUEST_ACQUIRE, 0, "k", 0));
		settle();
	}
	request(&hosts[2], there, wish(REQUEST_ACQUIRE, 0, "k", 0));
	settle();
	while (!answered(&hosts[2], there, &other)) {
		bool any = false;

		for (int i = 0; i < 3 && !any; i++) {
			if (!answered(&hosts[1], here[i], &c))
				continue;
			any = true;
			turns++;
			release(&hosts[1], here[i], c.claim);
			request(&hosts[1], here[i], wish(REQUEST_ACQUIRE, 0, "k", 0));
			settle();
		}
		cr_assert(any, "somebody owns it");
		cr_assert_leq(turns, 1 + 4, "handover_max is 4");
	}
	cr_assert_eq(turns, 1 + 4);
}

Test(agent, trap_2_a_lost_answer_through_another_leader_grants_once)
{
	ready(3, 64);
	uint16_t old = leader(), asker = old == 1 ? 2 : 1;
	uint32_t s = open_session(&hosts[asker], 5);
	struct ring_completion c, twice;

	/* The leader proposes, and is gone before anybody hears of it. */
	request(&hosts[asker], s, wish(REQUEST_ACQUIRE, 0, "k", 0));
	step(&hosts[asker], (struct agent_event){ .kind = AGENT_TURN });
	deliver_all();
	step(&hosts[old], (struct agent_event){ .kind = AGENT_TURN });
	hosts[old].up = false;
	deliver_all();
	pass(2000);
	cr_assert(answered(&hosts[asker], s, &c));
	cr_assert_eq(c.result, 0);
	hosts[old].up = true;
	pass(2000);
	cr_assert(!answered(&hosts[asker], s, &twice), "answered once");
	release(&hosts[asker], s, c.claim);
	pass(100);
	equal_tables();
	cr_assert_eq(hosts[1].memory.tables->agreed.rows_used, 0, "no orphan");
}

Test(agent, a_full_table_refuses_alike_everywhere)
{
	ready(3, 4);
	uint32_t s = open_session(&hosts[2], 5);
	struct ring_completion c;
	char key[2] = "a";

	for (; key[0] < 'e'; key[0]++)
		acquire(&hosts[2], s, key);
	request(&hosts[2], s, wish(REQUEST_ACQUIRE, 0, "e", 0));
	settle();
	cr_assert(answered(&hosts[2], s, &c));
	cr_assert_eq(c.result, -ENOSPC);
	equal_tables();
}

Test(agent, no_quorum_is_told_to_those_who_asked_for_it)
{
	ready(3, 64);
	uint32_t s = open_session(&hosts[1], 5), patient = open_session(&hosts[1], 6);
	struct ring_completion c;

	hosts[2].up = hosts[3].up = false;
	request(&hosts[1], s, wish(REQUEST_ACQUIRE, 0, "k", REQUEST_RETURN));
	request(&hosts[1], patient, wish(REQUEST_ACQUIRE, 0, "other", 0));
	pass(700);
	cr_assert(!answered(&hosts[1], s, &c), "never during an election");
	pass(1500);
	cr_assert(answered(&hosts[1], s, &c));
	cr_assert_eq(c.result, -ENETUNREACH);
	cr_assert_eq(hosts[1].memory.tables->quorum, 0);
	cr_assert(!answered(&hosts[1], patient, &c));
	hosts[2].up = true;
	pass(2000);
	cr_assert(answered(&hosts[1], patient, &c), "two of three suffice");
	cr_assert_eq(c.result, 0);
}

Test(agent, waiters_that_are_handed_over_without_a_quorum_are_told_too)
{
	ready(3, 64);
	struct host *h = &hosts[2];
	uint32_t s = open_session(h, 1), t = open_session(&hosts[1], 2);
	struct ring_completion c = acquire(h, s, "k");
	unsigned turns = 0;

	for (uint32_t call = 1; call <= 8; call++)
		request(h, s, wish(REQUEST_ACQUIRE, call, "k", REQUEST_RETURN));
	request(&hosts[1], t, wish(REQUEST_ACQUIRE, 0, "k", 0));
	settle();
	hosts[1].up = hosts[3].up = false;
	pass(2000);
	cr_assert_eq(h->memory.tables->quorum, 0);
	do {
		turns++;
		release(h, s, c.claim);
		cr_assert(answered(h, s, &c), "nobody is told anything");
	} while (c.result == 0 && turns < 20);
	cr_assert_eq(c.result, -ENETUNREACH);
	while (answered(h, s, &c))
		turns++;
	cr_assert_eq(turns, 8, "each of them");
}

Test(agent, a_host_out_of_the_log_gets_a_copy_and_the_tail)
{
	ready(3, 64);
	uint16_t away = leader() == 3 ? 2 : 3;
	uint32_t s = open_session(&hosts[1], 5), t = open_session(&hosts[away], 6);
	struct ring_completion c, held = acquire(&hosts[1], s, "held");

	hosts[away].up = false;
	for (int i = 0; i < 100; i++) {
		c = acquire(&hosts[1], s, "k");
		release(&hosts[1], s, c.claim);
	}
	hosts[away].up = true;
	link_all(&hosts[away]);
	pass(1000);
	equal_tables();
	request(&hosts[away], t, wish(REQUEST_ACQUIRE, 0, "held", REQUEST_TRY));
	pass(100);
	cr_assert(answered(&hosts[away], t, &c));
	cr_assert_eq(c.result, -EBUSY);
	cr_assert_eq(c.holder_token, held.token);
}

/* ---- death of the agent at every change it makes ---- */

static jmp_buf death;
static int saves_left;

static void die_here(void *context)
{
	(void)context;
	if (saves_left-- == 0)
		longjmp(death, 1);
}

/* Runs `steps` turns of host h with death at the n-th change; false: there were fewer changes. */
static bool turn_with_death(struct host *h, int n)
{
	struct undo *u = agent_undo(h->agent);

	saves_left = n;
	u->probe = die_here;
	if (setjmp(death) == 0) {
		step(h, (struct agent_event){ .kind = AGENT_TURN });
		agent_undo(h->agent)->probe = NULL;
		return false;
	}
	agent_free(h->agent);
	start_agent(h);
	link_all(h);
	return true;
}

Test(agent, trap_9_death_at_every_change_loses_no_grant_and_no_release, .timeout = 60)
{
	ready(1, 64);
	struct host *h = &hosts[1];
	uint32_t a = open_session(h, 1), b = open_session(h, 2);
	uint64_t token = 0;

	for (int n = 0;; n++) {
		struct ring_completion c, d, none;
		bool died;

		request(h, a, wish(REQUEST_ACQUIRE, 0, "k", 0));
		request(h, b, wish(REQUEST_ACQUIRE, 1, "k", 0));
		died = turn_with_death(h, n);
		pass(500);
		cr_assert(answered(h, a, &c), "death at change %d: the first waiter is answered", n);
		cr_assert(!answered(h, b, &none), "death at change %d: one owner", n);
		cr_assert_gt(c.token, token);
		request(h, a, (struct ring_request){ .op = REQUEST_RELEASE, .call = CALL_NONE, .claim = c.claim });
		died |= turn_with_death(h, n);
		pass(500);
		cr_assert(answered(h, b, &d), "death at change %d: the second is answered", n);
		cr_assert_gt(d.token, c.token);
		cr_assert_eq(d.flags, 0);
		token = d.token;
		release(h, b, d.claim);
		pass(100);
		cr_assert_eq(h->memory.tables->agreed.rows_used, 0);
		cr_assert(!answered(h, a, &none) && !answered(h, b, &none), "answered once");
		if (!died) {
			cr_assert_gt(n, 20);
			break;
		}
	}
}

Test(agent, trap_32_a_restarted_agent_takes_a_new_ballot_and_new_numbers)
{
	ready(3, 64);
	struct host *h = &hosts[leader()];
	uint64_t ballot = agent_paxos(h->agent)->ballot;
	uint32_t s = open_session(h, 1);
	struct ring_completion c = acquire(h, s, "k"), again;

	agent_free(h->agent);
	start_agent(h);
	link_all(h);
	pass(1000);
	cr_assert_gt(h->memory.tables->ballot, ballot);
	release(h, s, c.claim);
	pass(100);
	again = acquire(h, s, "k");
	cr_assert_gt(again.token, c.token);
	equal_tables();
}

Test(agent, trap_17_nonsense_in_a_ring_bans_the_writer_and_nobody_else)
{
	ready(1, 64);
	struct host *h = &hosts[1];
	uint32_t bad = open_session(h, 1), good = open_session(h, 2);
	struct ring_completion held = acquire(h, bad, "k"), c;
	unsigned lines = h->lines;

	(void)held;
	atom_store_release(&h->rings[bad]->request_tail, h->rings[bad]->request_tail + RING_REQUESTS + 1);
	ring_announce(h->memory.arena, h->memory.tables, bad);
	settle();
	cr_assert(h->banned[bad]);
	cr_assert_eq(h->lines, lines, "its line is written with ACTION_BANNED, where lines are limited");
	cr_assert_eq(h->rings[bad]->closed, EPROTO);
	c = acquire(h, good, "other");
	release(h, good, c.claim);
	request(h, good, wish(REQUEST_ACQUIRE, 0, "k", REQUEST_TRY));
	settle();
	cr_assert(answered(h, good, &c));
	cr_assert_eq(c.result, -EBUSY, "what it owns stays its own until it ends");
	step(h, (struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = bad });
	settle();
	cr_assert_eq(acquire(h, good, "k").flags, COMPLETION_DIED);
}

Test(agent, a_host_that_lost_its_memory_registers_anew_and_frees_what_it_held)
{
	ready(3, 64);
	uint16_t lost = leader() == 3 ? 2 : 3;
	struct host *h = &hosts[lost];
	uint32_t s = open_session(h, 1), t = open_session(&hosts[1], 2);
	uint64_t incarnation = h->memory.tables->incarnation;
	struct ring_completion c;

	acquire(h, s, "k");
	agent_free(h->agent);
	memset(h->memory.private, 0, agent_private_size(&h->config.limits));
	memset(h->memory.tables, 0, tables_size(&h->config.limits.capacity));
	memset(h->memory.arena, 0, sizeof(struct arena));
	h->config.founding = false;
	h->config.nonce = 999;
	start_agent(h);
	link_all(h);
	request(&hosts[1], t, wish(REQUEST_ACQUIRE, 0, "k", 0));
	pass(1500);
	cr_assert_eq(h->memory.tables->role, HOST_OBSERVER, "it does not vote");
	cr_assert_gt(h->memory.tables->incarnation, incarnation);
	cr_assert(answered(&hosts[1], t, &c));
	cr_assert_eq(c.flags, COMPLETION_DIED);
	cr_assert_eq(hosts[1].fatals, 0);
	equal_tables();
}

/* ---- what is bounded, whoever asks ---- */

/* Fills every call of every session of h with a wish for one key; nothing is answered meanwhile. */
static void crowd(struct host *h, const char *key, uint32_t flags)
{
	for (uint32_t slot = 1; slot <= SLOTS; slot++)
		open_session(h, slot);
	for (uint32_t call = 0; call < RING_CALLS; call++) {
		for (uint32_t slot = 1; slot <= SLOTS; slot++)
			request(h, slot, wish(REQUEST_ACQUIRE, call, key, flags));
		step(h, (struct agent_event){ .kind = AGENT_TURN });
	}
}

/* How many of the crowd were answered with this. */
static unsigned count_answers(struct host *h, int result)
{
	unsigned n = 0;
	struct ring_completion c;

	for (uint32_t slot = 1; slot <= SLOTS; slot++)
		while (answered(h, slot, &c))
			n += c.result == result;
	return n;
}

Test(agent, a_crowd_of_tries_is_refused_in_groups_that_can_be_undone)
{
	n_claims = SLOTS * RING_CALLS;
	ready(3, 64);
	struct host *h = &hosts[leader() == 3 ? 2 : 3];
	struct ring_completion c;
	unsigned grants = 0, refused = 0;

	crowd(h, "k", REQUEST_TRY);
	settle();
	for (uint32_t slot = 1; slot <= SLOTS; slot++)
		while (answered(h, slot, &c)) {
			grants += c.result == 0;
			refused += c.result == -EBUSY;
		}
	cr_assert_eq(grants, 1);
	cr_assert_eq(refused, SLOTS * RING_CALLS - 1);
}

Test(agent, a_crowd_of_tries_for_another_hosts_lock_is_refused_in_groups_that_can_be_undone)
{
	n_claims = SLOTS * RING_CALLS;
	ready(3, 64);
	struct host *h = &hosts[2];
	uint32_t s = open_session(&hosts[1], 5);

	acquire(&hosts[1], s, "k");
	crowd(h, "k", REQUEST_TRY);
	settle();
	pass(500);
	cr_assert_eq(count_answers(h, -EBUSY), SLOTS * RING_CALLS);
}

Test(agent, a_crowd_is_told_of_a_full_table_in_groups_that_can_be_undone)
{
	n_claims = SLOTS * RING_CALLS;
	ready(3, 1);
	struct host *h = &hosts[2];
	uint32_t s = open_session(&hosts[1], 5);

	acquire(&hosts[1], s, "the only row");
	crowd(h, "k", 0);
	settle();
	cr_assert_eq(count_answers(h, -ENOSPC), SLOTS * RING_CALLS);
}

Test(agent, a_request_whose_bit_another_session_cleared_is_taken_within_a_second)
{
	ready(1, 64);
	struct host *h = &hosts[1];
	uint32_t s = open_session(h, 1);
	struct ring_request r = wish(REQUEST_ACQUIRE, 0, "k", 0);
	struct ring_completion c;

	settle();
	cr_assert(ring_push(h->rings[s], &r)); /* and no ring_announce() */
	pass(1100);
	cr_assert(answered(h, s, &c));
	cr_assert_eq(c.result, 0);
}

static struct session_rings *scribbled;

static void scribble(void *context)
{
	(void)context;
	atom_add_relaxed(&scribbled->request_tail, 1u); /* as many more as are taken */
}

Test(agent, a_ring_that_is_still_written_when_its_processes_have_ended_stops_nobody, .timeout = 20)
{
	ready(1, 64);
	struct host *h = &hosts[1];
	uint32_t dead = open_session(h, 1), other = open_session(h, 2);

	acquire(h, dead, "k");
	for (unsigned i = 0; i < RING_REQUESTS; i++)
		h->rings[dead]->requests[i] = (struct ring_request){ .op = REQUEST_RELEASE, .call = CALL_NONE };
	h->rings[dead]->request_tail += RING_REQUESTS;
	scribbled = h->rings[dead];
	agent_undo(h->agent)->probe = scribble;
	step(h, (struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = dead });
	agent_undo(h->agent)->probe = NULL;
	settle();
	cr_assert(h->closed[dead]);
	acquire(h, other, "k");
}

Test(agent, a_question_on_its_way_to_another_host_may_be_as_long_as_a_frame)
{
	ready(3, 64);
	static unsigned char frame[WIRE_FRAME_MAX], body[WIRE_FRAME_MAX - WIRE_HEADER] = { 2 /* WORD_ASK */, 2, 3, 0, 1, 0 };
	int len = wire_put_agent(frame, sizeof(frame), body, sizeof(body));

	cr_assert_gt(len, 0);
	step(&hosts[2], (struct agent_event){ .kind = AGENT_FRAME, .from = 1, .bytes = frame, .len = (size_t)len });
	settle();
}

/* Host h is sent these bytes, as one chunk, as the copy of the tables at `slot`. */
static void send_copy(struct host *h, uint16_t from, uint64_t slot, const void *copy, uint64_t n)
{
	unsigned char *body = malloc(n + 64), *frame = malloc(n + 128);
	struct writer w = writer_on(body, n + 64);
	int len;

	cr_assert_lt(n, 65536);
	put_u8(&w, 4); /* WORD_CHUNK */
	put_u64(&w, slot);
	put_u64(&w, n);
	put_u64(&w, 0);
	put_bytes(&w, copy, n);
	len = wire_put_agent(frame, n + 128, w.bytes, w.len);
	cr_assert_gt(len, 0);
	step(h, (struct agent_event){ .kind = AGENT_FRAME, .from = from, .bytes = frame, .len = (size_t)len });
	free(body);
	free(frame);
}

Test(agent, a_copy_of_another_slot_than_it_was_sent_for_is_refused)
{
	ready(3, 64);
	struct host *h = &hosts[leader() == 3 ? 2 : 3];
	uint32_t s = open_session(&hosts[1], 5);
	uint64_t n = snapshot_size(h->memory.tables);
	unsigned char *old = malloc(n);

	cr_assert_eq(snapshot_write(h->memory.tables, old, n), n);
	for (int i = 0; i < 100; i++) /* what came after it has left the log */
		release(&hosts[1], s, acquire(&hosts[1], s, "k").claim);
	send_copy(h, 1, h->memory.tables->agreed.applied + 1, old, n);
	settle();
	release(&hosts[1], s, acquire(&hosts[1], s, "k").claim);
	pass(100);
	equal_tables();
	free(old);
}
