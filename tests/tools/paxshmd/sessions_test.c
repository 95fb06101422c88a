/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions: their rings, their nonsense, their end. */
#include "agent_rig.h"

Test(sessions, a_release_just_before_the_end_is_a_release)
{
	ready(1, 64);
	uint32_t a = open_session(&hosts[1], 1), b = open_session(&hosts[1], 2);
	struct ring_completion c = acquire(&hosts[1], a, "k");

	let_go(&hosts[1], a, &c);
	step(&hosts[1], (struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = a });
	settle();
	cr_assert_eq(acquire(&hosts[1], b, "k").flags, 0);
}

Test(sessions, a_close_just_before_the_end_is_a_close)
{
	ready(1, 64);
	uint32_t a = open_session(&hosts[1], 1), b = open_session(&hosts[1], 2);

	acquire(&hosts[1], a, "k");
	request(&hosts[1], a, (struct ring_request){ .op = REQUEST_CLOSE, .call = 7 });
	step(&hosts[1], (struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = a });
	settle();
	cr_assert_eq(acquire(&hosts[1], b, "k").flags, 0, "nobody died with the lock");
	cr_assert(hosts[1].closed[a]);
}

Test(sessions, trap_7_cleaning_up_after_a_dead_session_does_not_touch_its_successor)
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
	cr_assert_not(let_go(&hosts[1], reused, &gone));
	settle();
	cr_assert_eq(gate_owner_of(&hosts[1], c.gate), young);
}

Test(sessions, trap_17_nonsense_in_a_ring_bans_the_writer_and_nobody_else)
{
	ready(1, 64);
	struct host *h = &hosts[1];
	uint32_t bad = open_session(h, 1), good = open_session(h, 2);
	struct ring_completion held = acquire(h, bad, "k"), c;
	unsigned lines = h->lines;

	(void)held;
	atom_store_release(&h->rings[bad]->request_tail, h->rings[bad]->request_tail + RING_REQUESTS + 1);
	arena_announce(h->memory.arena, h->memory.tables, bad);
	settle();
	cr_assert(h->banned[bad]);
	cr_assert_eq(h->lines, lines, "its line is written with ACTION_BANNED, where lines are limited");
	cr_assert_eq(h->rings[bad]->closed, EPROTO);
	c = acquire(h, good, "other");
	release(h, good, &c);
	request(h, good, wish(REQUEST_ACQUIRE, 0, "k", REQUEST_TRY));
	settle();
	cr_assert(answered(h, good, &c));
	cr_assert_eq(c.result, -EBUSY, "what it owns stays its own until it ends");
	step(h, (struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = bad });
	settle();
	cr_assert_eq(acquire(h, good, "k").flags, COMPLETION_DIED);
}

Test(sessions, a_request_whose_bit_another_session_cleared_is_taken_within_a_second)
{
	ready(1, 64);
	struct host *h = &hosts[1];
	uint32_t s = open_session(h, 1);
	struct ring_request r = wish(REQUEST_ACQUIRE, 0, "k", 0);
	struct ring_completion c;

	settle();
	cr_assert(ring_push(h->rings[s], &r)); /* and no arena_announce() */
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

Test(sessions, a_ring_that_is_still_written_when_its_processes_have_ended_stops_nobody, .timeout = 20)
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
