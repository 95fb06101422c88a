/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of the tables for this host. */
#include "agent_rig.h"

#define WORD_CHUNK 4
#define WORD_HAVE 5
#define NOT_WANTED UINT64_MAX

static uint16_t away;

/* A cluster that has gone on so far without one host that its log cannot bring it up to date. */
static void leave_behind(unsigned locks)
{
	uint32_t s;

	n_bite = 64;
	n_claims = 200;
	ready(3, 64);
	away = leader() == 3 ? 2 : 3;
	hosts[away].up = false;
	s = open_session(&hosts[1], 5);
	for (unsigned i = 0; i < 100; i++)
		release(&hosts[1], s, &(struct ring_completion[]){ acquire(&hosts[1], s, "k") }[0]);
	for (unsigned i = 0; i < locks; i++) {
		char key[100];

		snprintf(key, sizeof(key), i % 3 ? "held%u" : "held%u%080u", i, i);
		acquire(&hosts[1], s, key);
	}
}

static void come_back(void)
{
	hosts[away].up = true;
	link_all(&hosts[away]);
}

static struct agent_copies copies(uint16_t host)
{
	return agent_copies(hosts[host].agent);
}

static bool not_ready(void)
{
	return !hosts[away].memory.tables->ready;
}

static void pass_until(bool (*there)(void))
{
	for (unsigned i = 0; i < 1000 && !there(); i++)
		pass(5);
	cr_assert(there());
}

Test(take, a_host_out_of_the_log_gets_a_copy_and_the_tail)
{
	ready(3, 64);
	away = leader() == 3 ? 2 : 3;
	uint32_t s = open_session(&hosts[1], 5), t = open_session(&hosts[away], 6);
	struct ring_completion c, held = acquire(&hosts[1], s, "held");

	hosts[away].up = false;
	for (int i = 0; i < 100; i++) {
		c = acquire(&hosts[1], s, "k");
		release(&hosts[1], s, &c);
	}
	come_back();
	pass(1000);
	equal_tables();
	request(&hosts[away], t, wish(REQUEST_ACQUIRE, 0, "held", REQUEST_TRY));
	pass(100);
	cr_assert(answered(&hosts[away], t, &c));
	cr_assert_eq(c.result, -EBUSY);
	cr_assert_eq(c.holder_token, held.token);
}

Test(take, it_is_installed_in_several_turns_and_readers_are_kept_away)
{
	struct lock_value v;
	unsigned turns = 0;

	leave_behind(40);
	come_back();
	pass_until(not_ready);
	for (; not_ready(); turns++) {
		cr_assert_eq(table_read(hosts[away].memory.tables, "k", 1, &v), -ENETUNREACH);
		pass(5);
	}
	cr_assert_gt(turns, 5);
	pass(500);
	equal_tables();
	cr_assert_eq(copies(away).installed, 1);
}

/* A message of the leader's to the host that installs. */
static void paxos_message(struct host *h, uint16_t from, const struct paxos_message *m)
{
	unsigned char bytes[4096];
	int n = wire_put_paxos(bytes, sizeof(bytes), m);

	cr_assert_gt(n, 0);
	step(h, (struct agent_event){ .kind = AGENT_FRAME, .from = from, .bytes = bytes, .len = (size_t)n });
}

Test(take, heartbeats_are_answered_and_promises_made_meanwhile)
{
	struct paxos_message beat = { .kind = PAXOS_BEAT, .life = 7 }, prepare = { .kind = PAXOS_PREPARE, .life = 7 };
	struct host *h = &hosts[3];
	uint64_t installing;
	unsigned before;

	leave_behind(40);
	h = &hosts[away];
	come_back();
	pass_until(not_ready);
	installing = h->memory.tables->agreed.applied;
	beat.ballot = agent_paxos(h->agent)->memory->promised;
	before = queue_end;
	paxos_message(h, (uint16_t)(beat.ballot & 0xffff), &beat);
	cr_assert_gt(queue_end, before, "no answer to a heartbeat");
	prepare.ballot = ((beat.ballot >> 16) + 1) << 16 | 1;
	prepare.chosen = agent_paxos(hosts[1].agent)->memory->chosen;
	paxos_message(h, 1, &prepare);
	cr_assert_eq(agent_paxos(h->agent)->memory->promised, prepare.ballot, "no promise");
	cr_assert(not_ready());
	cr_assert_eq(h->memory.tables->agreed.applied, installing);
}

/* A host that holds a lock, and is left behind. */
static uint32_t leave_an_owner_behind(const char *key)
{
	uint32_t s, t;

	leave_behind(40);
	come_back();
	pass(3000);
	t = open_session(&hosts[away], 6);
	acquire(&hosts[away], t, key);
	hosts[away].up = false;
	s = open_session(&hosts[1], 7);
	for (unsigned i = 0; i < 100; i++)
		release(&hosts[1], s, &(struct ring_completion[]){ acquire(&hosts[1], s, "k") }[0]);
	come_back();
	pass_until(not_ready);
	return t;
}

Test(take, requests_wait_for_the_end_and_are_answered_then)
{
	uint32_t t = leave_an_owner_behind("held here");
	struct ring_completion c;

	request(&hosts[away], t, wish(REQUEST_ACQUIRE, 1, "held here", REQUEST_TRY)); /* this host alone could answer it */
	request(&hosts[away], t, wish(REQUEST_ACQUIRE, 2, "mine", 0));
	while (not_ready()) {
		cr_assert(!answered(&hosts[away], t, &c));
		pass(5);
	}
	pass(500);
	cr_assert(answered(&hosts[away], t, &c));
	cr_assert_eq(c.call, 1);
	cr_assert_eq(c.result, -EBUSY);
	cr_assert(answered(&hosts[away], t, &c));
	cr_assert_eq(c.call, 2);
	cr_assert_eq(c.result, 0);
}

Test(take, a_session_that_ends_meanwhile_is_seen_to_afterwards)
{
	struct ring_completion c;
	uint32_t s, taken, t = leave_an_owner_behind("dies with it");

	request(&hosts[away], t, (struct ring_request){ .op = REQUEST_RELEASE, .call = CALL_NONE, .claim = 1ull << 40 }); /* its last words */
	taken = hosts[away].rings[t]->request_head;
	step(&hosts[away], (struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = t });
	cr_assert_eq(hosts[away].rings[t]->request_head, taken);
	cr_assert(agent_has_session(hosts[away].agent, t));
	pass(1000);
	cr_assert(!agent_has_session(hosts[away].agent, t));
	cr_assert(hosts[away].closed[t]);
	s = open_session(&hosts[1], 8);
	request(&hosts[1], s, wish(REQUEST_ACQUIRE, 0, "dies with it", 0));
	pass(100);
	cr_assert(answered(&hosts[1], s, &c));
	cr_assert_eq(c.result, 0);
	cr_assert(c.flags & COMPLETION_DIED);
}

static void kill_agent(struct host *h)
{
	agent_free(h->agent);
	start_agent(h);
	link_all(h);
}

Test(take, killed_after_any_bite_its_successor_installs_again)
{
	unsigned after = 0;
	bool done = false;

	leave_behind(20);
	come_back();
	pass_until(not_ready);
	while (!done) {
		for (unsigned i = 0; i < after && not_ready(); i++)
			pass(5);
		done = !not_ready();
		if (!done)
			kill_agent(&hosts[away]);
		cr_assert(done || not_ready(), "who comes after reads what is half done");
		after += 3;
	}
	cr_assert_gt(after, 12);
	pass(1000);
	equal_tables();
}

/* What host h says it has of a copy; 1: nothing was said. */
static uint64_t said_have(struct host *h)
{
	uint64_t have = 1;

	for (unsigned i = queue_first; i < queue_end; i++) {
		const unsigned char *body;
		size_t len;

		if (queue[i]->from != h->config.self || wire_type_of(queue[i]->bytes) != WIRE_AGENT ||
		    wire_get_agent(queue[i]->bytes, queue[i]->len, &body, &len) < 0 || body[0] != WORD_HAVE)
			continue;
		struct reader r = reader_on(body + 1, len - 1);

		get_u64(&r);
		have = get_u64(&r);
	}
	return have;
}

/* Host h is sent n of `len` bytes, from `offset` on, as of the copy of the tables at `slot`. */
static void send_chunk(struct host *h, uint16_t from, uint64_t slot, uint64_t len, uint64_t offset, const void *copy, uint64_t n)
{
	unsigned char *body = malloc(n + 64), *frame = malloc(n + 128);
	struct writer w = writer_on(body, n + 64);
	int frame_len;

	cr_assert_lt(n, 65536);
	put_u8(&w, WORD_CHUNK);
	put_u64(&w, slot);
	put_u64(&w, len);
	put_u64(&w, offset);
	put_bytes(&w, copy, n);
	frame_len = wire_put_agent(frame, n + 128, w.bytes, w.len);
	cr_assert_gt(frame_len, 0);
	step(h, (struct agent_event){ .kind = AGENT_FRAME, .from = from, .bytes = frame, .len = (size_t)frame_len });
	free(body);
	free(frame);
}

static unsigned char *copy_of(const struct host *h, uint64_t *ret_len)
{
	uint64_t room = snapshot_room(h->memory.tables);
	unsigned char *bytes = malloc(room);

	*ret_len = snapshot_write(h->memory.tables, bytes, room);
	return bytes;
}

Test(take, a_copy_of_another_slot_than_it_was_sent_for_is_refused)
{
	ready(3, 64);
	struct host *h = &hosts[leader() == 3 ? 2 : 3];
	uint32_t s = open_session(&hosts[1], 5);
	uint64_t n;
	unsigned char *old = copy_of(h, &n);

	for (int i = 0; i < 100; i++) /* what came after it has left the log */
		release(&hosts[1], s, &(struct ring_completion[]){ acquire(&hosts[1], s, "k") }[0]);
	send_chunk(h, 1, h->memory.tables->agreed.applied + 1, n, 0, old, n);
	pass(100);
	cr_assert_eq(copies(h->config.self).refused, 1);
	release(&hosts[1], s, &(struct ring_completion[]){ acquire(&hosts[1], s, "k") }[0]);
	pass(100);
	equal_tables();
	free(old);
}

Test(take, nothing_of_a_copy_that_is_not_good_is_ever_seen)
{
	struct host *h;
	unsigned char *liar;
	uint64_t n, hash;

	leave_behind(10);
	h = &hosts[away];
	liar = copy_of(&hosts[1], &n);
	h->up = true;
	hash = snapshot_state_hash(h->memory.tables);
	for (unsigned bad = 0; bad < 40; bad++) {
		uint64_t at = n / 40 * bad;

		liar[at] ^= 1;
		send_chunk(h, 1, hosts[1].memory.tables->agreed.applied, n, 0, liar, n);
		for (unsigned i = 0; copies(away).refused <= bad; i++) {
			cr_assert_lt(i, 1000);
			now_ns += NS_PER_MS;
			step(h, (struct agent_event){ .kind = AGENT_TURN });
			cr_assert_eq(h->memory.tables->ready, 1);
			cr_assert_eq(snapshot_state_hash(h->memory.tables), hash);
		}
		liar[at] ^= 1;
	}
	cr_assert_eq(copies(away).installed, 0);
	free(liar);
}

Test(take, a_chunk_that_does_not_fit_is_ignored)
{
	struct host *h;
	unsigned char *copy;
	uint64_t n, slot;

	leave_behind(10);
	h = &hosts[away];
	h->up = true;
	copy = copy_of(&hosts[1], &n);
	slot = hosts[1].memory.tables->agreed.applied;
	queue_first = queue_end = 0;
	send_chunk(h, 1, slot, 1ull << 40, 0, copy, 100);
	send_chunk(h, 1, slot, n, n + 1, copy, 100);
	send_chunk(h, 1, slot, n, n - 50, copy, 100);
	send_chunk(h, 1, slot, n, 0, copy, 0);
	cr_assert_eq(said_have(h), 1);
	send_chunk(h, 1, slot, n, 0, copy, 100);
	cr_assert_eq(said_have(h), 100);
	now_ns += NS_PER_S / 2;
	send_chunk(h, 1, slot, n, 200, copy + 200, 100);
	cr_assert_eq(said_have(h), 100, "a gap, and it was not told");
	cr_assert_eq(copies(away).begun, 1);
	free(copy);
}

Test(take, a_second_giver_is_told_so_while_the_first_goes_on)
{
	struct host *h;
	unsigned char *copy;
	uint64_t n, slot;

	leave_behind(10);
	h = &hosts[away];
	h->up = true;
	copy = copy_of(&hosts[1], &n);
	slot = hosts[1].memory.tables->agreed.applied;
	send_chunk(h, 1, slot, n, 0, copy, 100);
	send_chunk(h, away ^ 1, slot, n, 0, copy, 100);
	cr_assert_eq(said_have(h), NOT_WANTED);
	send_chunk(h, 1, slot, n, 100, copy + 100, 100);
	cr_assert_eq(said_have(h), 200);
	/* But not for ever. */
	now_ns += 2 * NS_PER_S;
	step(h, (struct agent_event){ .kind = AGENT_TURN });
	send_chunk(h, away ^ 1, slot, n, 0, copy, 100);
	cr_assert_eq(said_have(h), 100);
	free(copy);
}

Test(take, what_is_older_than_what_stands_here_is_not_wanted)
{
	unsigned char *copy;
	uint64_t n;

	ready(3, 64);
	copy = copy_of(&hosts[1], &n);
	send_chunk(&hosts[2], 1, hosts[2].memory.tables->agreed.applied, n, 0, copy, n);
	cr_assert_eq(said_have(&hosts[2]), NOT_WANTED);
	free(copy);
}

Test(take, two_copies_one_after_the_other)
{
	uint32_t s;

	leave_behind(10);
	come_back();
	pass_until(not_ready);
	while (not_ready())
		pass(5);
	hosts[away].up = false; /* before it could use what it has */
	s = open_session(&hosts[1], 7);
	for (unsigned i = 0; i < 100; i++)
		release(&hosts[1], s, &(struct ring_completion[]){ acquire(&hosts[1], s, "k") }[0]);
	come_back();
	pass(2000);
	cr_assert_eq(copies(away).installed, 2);
	equal_tables();
}
