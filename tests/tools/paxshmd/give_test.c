/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of the tables for hosts that fell out of the log. */
#include "agent_rig.h"

#define WORD_CHUNK 4
#define WORD_HAVE 5
#define NOT_WANTED UINT64_MAX
#define AHEAD 4

static struct host *giver = &hosts[1];
static uint32_t held_by;
static struct ring_completion held[40];

struct chunk {
	uint16_t to;
	uint64_t slot, len, offset, n;
};

/* Locks are held, and the log has left its beginning. Nothing is delivered from here on but what a test hands in. */
static void a_giver(void)
{
	uint32_t s;

	n_bite = 256;
	n_claims = 200;
	ready(3, 64);
	held_by = s = open_session(giver, 5);
	for (unsigned i = 0; i < 100; i++)
		acquire_and_release(giver, s, "k");
	for (unsigned i = 0; i < 40; i++) {
		char key[16];

		snprintf(key, sizeof(key), "held%u", i);
		held[i] = acquire(giver, s, key);
	}
}

static void forget_frames(void)
{
	while (queue_first < queue_end)
		free(queue[queue_first++]);
	queue_first = queue_end = 0;
}

/* The chunks of this step, and no other frames. */
static unsigned chunks(struct chunk *ret, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = queue_first; i < queue_end && n < max; i++) {
		const unsigned char *body;
		size_t len;

		if (wire_type_of(queue[i]->bytes) != WIRE_AGENT || wire_get_agent(queue[i]->bytes, queue[i]->len, &body, &len) < 0 ||
		    body[0] != WORD_CHUNK)
			continue;
		struct reader r = reader_on(body + 1, len - 1);

		ret[n].to = queue[i]->to;
		ret[n].slot = get_u64(&r);
		ret[n].len = get_u64(&r);
		ret[n].offset = get_u64(&r);
		ret[n++].n = reader_left(&r);
	}
	forget_frames();
	return n;
}

static unsigned turn(struct chunk *ret, unsigned max)
{
	step(giver, (struct agent_event){ .kind = AGENT_TURN });
	return chunks(ret, max);
}

static void asks(uint16_t host)
{
	struct paxos_message fetch = { .kind = PAXOS_FETCH, .slot = 1 };
	unsigned char bytes[512];
	int n = wire_put_paxos(bytes, sizeof(bytes), &fetch);

	step(giver, (struct agent_event){ .kind = AGENT_FRAME, .from = host, .bytes = bytes, .len = (size_t)n });
}

static void has(uint16_t host, uint64_t slot, uint64_t have)
{
	unsigned char body[64], frame[128];
	struct writer w = writer_on(body, sizeof(body));
	int n;

	put_u8(&w, WORD_HAVE);
	put_u64(&w, slot);
	put_u64(&w, have);
	n = wire_put_agent(frame, sizeof(frame), w.bytes, w.len);
	step(giver, (struct agent_event){ .kind = AGENT_FRAME, .from = host, .bytes = frame, .len = (size_t)n });
}

Test(give, a_bite_a_turn_and_no_more_than_a_few_ahead)
{
	struct chunk c[8];
	uint64_t at = 0;
	unsigned turns = 0;

	a_giver();
	asks(2);
	forget_frames();
	for (; turns < 20; turns++, now_ns += NS_PER_MS) {
		unsigned n = turn(c, 8);

		cr_assert_leq(n, 1);
		if (!n)
			break;
		cr_assert_eq(c[0].to, 2);
		cr_assert_eq(c[0].offset, at);
		cr_assert_leq(c[0].n, 256 + 512, "more than a bite, and the head");
		at += c[0].n;
	}
	cr_assert_geq(turns, 3);
	cr_assert_leq(turns, AHEAD);
	has(2, c[0].slot, at);
	forget_frames();
	cr_assert_eq(turn(c, 8), 1, "acknowledged, and it does not go on");
	cr_assert_eq(c[0].offset, at);
}

Test(give, it_is_paced)
{
	struct chunk c[8];

	a_giver();
	asks(2);
	forget_frames();
	cr_assert_eq(turn(c, 8), 1);
	cr_assert_eq(turn(c, 8), 0, "two bites at one time");
	now_ns += COPY_PACE_NS;
	cr_assert_eq(turn(c, 8), 1);
}

/* Takes all that is sent; answers how long it took. */
static uint64_t take_all(uint16_t host, uint64_t *ret_slot)
{
	uint64_t begun = now_ns, have = 0;
	struct chunk c[8] = { 0 };

	for (unsigned i = 0; i < 100000; i++, now_ns += 10000) {
		if (!turn(c, 8))
			continue;
		cr_assert_eq(c[0].to, host);
		cr_assert_eq(c[0].offset, have);
		have += c[0].n;
		*ret_slot = c[0].slot;
		has(host, c[0].slot, have);
		forget_frames();
		if (have == c[0].len)
			return now_ns - begun;
	}
	cr_assert_fail("it never ends");
	return 0;
}

Test(give, who_got_it_too_late_gets_the_next_one_faster)
{
	uint64_t slot, took, first;

	a_giver();
	asks(2);
	first = took = take_all(2, &slot);
	for (unsigned repeats = 1; repeats <= 5; repeats++) {
		uint64_t before = took;

		asks(2);
		took = take_all(2, &slot);
		cr_assert_lt(took, before);
	}
	cr_assert_lt(took, first / 10);
	/* Another host's is another matter. */
	asks(3);
	cr_assert_gt(take_all(3, &slot), first / 2);
}

Test(give, one_at_a_time_and_the_others_in_turn)
{
	struct chunk c[8];
	uint64_t slot;

	a_giver();
	asks(2);
	asks(3);
	forget_frames();
	take_all(2, &slot);
	asks(2); /* again, and before 3 was served */
	forget_frames();
	take_all(3, &slot);
	now_ns += NS_PER_MS;
	cr_assert_eq(turn(c, 8), 1);
	cr_assert_eq(c[0].to, 2);
}

Test(give, who_does_not_want_it_is_sent_no_more)
{
	struct chunk c[8];

	a_giver();
	asks(2);
	asks(3);
	forget_frames();
	cr_assert_eq(turn(c, 8), 1);
	cr_assert_eq(c[0].to, 2);
	has(2, c[0].slot, NOT_WANTED);
	forget_frames();
	now_ns += NS_PER_MS;
	cr_assert_eq(turn(c, 8), 1);
	cr_assert_eq(c[0].to, 3);
}

Test(give, who_stopped_asking_is_not_served)
{
	struct chunk c[8];
	uint64_t slot;

	a_giver();
	asks(2);
	asks(3);
	forget_frames();
	take_all(2, &slot);
	now_ns += 2 * NS_PER_S;
	cr_assert_eq(turn(c, 8), 0);
}

Test(give, what_was_lost_is_sent_again)
{
	struct chunk c[8];
	uint64_t slot, first;

	a_giver();
	asks(2);
	forget_frames();
	cr_assert_eq(turn(c, 8), 1);
	slot = c[0].slot;
	first = c[0].n;
	now_ns += NS_PER_MS;
	cr_assert_eq(turn(c, 8), 1);
	has(2, slot, first);
	has(2, slot, first); /* what came behind it did not arrive */
	forget_frames();
	now_ns += NS_PER_MS;
	cr_assert_eq(turn(c, 8), 1);
	cr_assert_eq(c[0].offset, first);
	/* Nor does anything come back: it tries once more, and gives up in the end. */
	now_ns += 200 * NS_PER_MS;
	cr_assert_eq(turn(c, 8), 1);
	cr_assert_eq(c[0].offset, first);
	now_ns += 6 * NS_PER_S;
	cr_assert_eq(turn(c, 8), 0);
}

Test(give, acknowledgements_that_make_no_sense_are_ignored)
{
	struct chunk c[8];
	uint64_t slot, first;

	a_giver();
	asks(2);
	forget_frames();
	cr_assert_eq(turn(c, 8), 1);
	slot = c[0].slot;
	first = c[0].n;
	has(3, slot, c[0].n);
	has(2, slot + 1, c[0].n);
	has(2, slot, c[0].len);
	has(3, slot, NOT_WANTED);
	forget_frames();
	now_ns += NS_PER_MS;
	cr_assert_eq(turn(c, 8), 1);
	cr_assert_eq(c[0].offset, first);
}

Test(give, what_changes_meanwhile_is_sent_as_it_was)
{
	uint64_t slot, hash, applied, have = 0, len = 1;
	unsigned char *copy = NULL;
	struct tables *t, *theirs;
	uint32_t s;

	a_giver();
	t = giver->memory.tables;
	s = open_session(giver, 6);
	asks(2);
	forget_frames();
	hash = snapshot_state_hash(t);
	applied = t->agreed.applied;
	for (unsigned i = 0; have < len; i++, now_ns += NS_PER_MS) {
		char key[16];

		step(giver, (struct agent_event){ .kind = AGENT_TURN });
		for (unsigned f = queue_first; f < queue_end; f++) {
			const unsigned char *body;
			size_t n;

			if (queue[f]->to != 2 || wire_get_agent(queue[f]->bytes, queue[f]->len, &body, &n) < 0 || body[0] != WORD_CHUNK)
				continue;
			struct reader r = reader_on(body + 1, n - 1);

			slot = get_u64(&r);
			len = get_u64(&r);
			cr_assert_eq(slot, applied);
			cr_assert_eq(get_u64(&r), have);
			copy = realloc(copy, len);
			n = reader_left(&r);
			memcpy(copy + have, get_bytes(&r, n), n);
			have += n;
			queue[f]->to = 0; /* host 2 itself is in no need of it */
		}
		has(2, applied, have);
		snprintf(key, sizeof(key), "new%u", i);
		release(giver, held_by, &held[39 - i % 40]);
		acquire(giver, s, key);
		cr_assert_neq(snapshot_state_hash(t), hash);
		queue_first = queue_end = 0;
	}
	theirs = calloc(1, agent_tables_size(&giver->config.limits));
	tables_format(theirs, &giver->config.limits.capacity, "test", 2);
	cr_assert_null(snapshot_verify(theirs, copy, len));
	snapshot_install(theirs, copy, len);
	cr_assert_eq(snapshot_state_hash(theirs), hash);
	cr_assert_gt(agent_copies(giver->agent).early, 0);
	free(copy);
	free(theirs);
}
