/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of the tables for this host. */
#include "agent_rig.h"

Test(take, a_host_out_of_the_log_gets_a_copy_and_the_tail)
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

Test(take, a_copy_of_another_slot_than_it_was_sent_for_is_refused)
{
	ready(3, 64);
	struct host *h = &hosts[leader() == 3 ? 2 : 3];
	uint32_t s = open_session(&hosts[1], 5);
	uint64_t n = snapshot_size(h->memory.tables);
	uint64_t room = snapshot_room(h->memory.tables);
	unsigned char *old = malloc(room);

	cr_assert_eq(snapshot_write(h->memory.tables, old, room), n);
	for (int i = 0; i < 100; i++) /* what came after it has left the log */
		release(&hosts[1], s, acquire(&hosts[1], s, "k").claim);
	send_copy(h, 1, h->memory.tables->agreed.applied + 1, old, n);
	settle();
	release(&hosts[1], s, acquire(&hosts[1], s, "k").claim);
	pass(100);
	equal_tables();
	free(old);
}
