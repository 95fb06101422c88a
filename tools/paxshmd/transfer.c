/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer: the tables for a host that fell out of the log. The giver makes one copy and sends it in
 * chunks, a few ahead of what was acknowledged, to one host at a time (others ask again). The taker
 * collects it in the inbox of its private segment; when it is whole and verified it is installed.
 *
 * The inbox survives the process: whoever dies while installing leaves `installing` set, and its
 * successor installs again. An interrupted transfer leaves nothing but bytes nobody looks at.
 */
#include "inside.h"
#include "../../shm/state/snapshot.h"

#include <syslog.h>

#define CHANGE(lvalue, value) SET(&a->undo, lvalue, value)
#define GIVE_UP_NS (5 * NS_PER_S) /* a taker that acknowledges nothing for so long */

static void send_chunks(struct agent *a)
{
	while (a->give.sent < a->give.len && a->give.sent < a->give.acked + CHUNKS_AHEAD * CHUNK_BYTES) {
		uint64_t n = MIN((uint64_t)CHUNK_BYTES, a->give.len - a->give.sent);
		struct writer w = agent_frame_begin(a, WORD_CHUNK);

		put_u64(&w, a->give.slot);
		put_u64(&w, a->give.len);
		put_u64(&w, a->give.sent);
		put_bytes(&w, a->give.bytes + a->give.sent, n);
		agent_frame_send(a, a->give.to, &w);
		a->give.sent += n;
	}
}

void transfer_offer(struct agent *a, uint16_t to)
{
	if (a->give.to && a->now_ns - a->give.heard_ns < GIVE_UP_NS)
		return;
	if (!a->linked[to] || a->m.p->installing)
		return;
	a->give.to = to;
	a->give.slot = a->tables->agreed.applied;
	a->give.len = snapshot_write(a->tables, a->give.bytes, a->m.p->inbox_size);
	a->give.sent = a->give.acked = 0;
	a->give.heard_ns = a->now_ns;
	agent_log(a, LOG_INFO, "event=snapshot-sent to=%u slot=%llu bytes=%llu", to,
		  (unsigned long long)a->give.slot, (unsigned long long)a->give.len);
	send_chunks(a);
}

static void acknowledged(struct agent *a, uint16_t from, struct reader *r)
{
	uint64_t slot = get_u64(r), have = get_u64(r);

	if (!reader_done(r) || from != a->give.to || slot != a->give.slot || have > a->give.sent)
		return;
	if (have > a->give.acked)
		a->give.heard_ns = a->now_ns;
	a->give.acked = MAX(a->give.acked, have);
	if (have < a->give.acked)
		return;
	if (have == a->give.len)
		a->give.to = 0;
	else
		send_chunks(a);
}

void transfer_install(struct agent *a)
{
	struct private_memory *p = a->m.p;
	uint64_t slot;

	atom_store_seq_cst(&a->tables->ready, 0);
	snapshot_install(a->tables, a->m.inbox, p->installing);
	slot = a->tables->agreed.applied;

	struct paxos_event e = { .kind = PAXOS_EVENT_INSTALLED, .now_ns = a->now_ns, .slot = slot };

	paxos_step(&a->paxos, &e, &a->update);
	CHANGE(p->installing, 0);
	agent_carry_update(a);
	atom_store_seq_cst(&a->tables->ready, 1);
	agent_log(a, LOG_NOTICE, "event=snapshot-installed slot=%llu", (unsigned long long)slot);
}

static void whole(struct agent *a, uint16_t from)
{
	struct private_memory *p = a->m.p;
	const char *wrong = snapshot_verify(a->tables, a->m.inbox, a->take.len);
	uint64_t slot = a->take.slot;

	a->take.from = 0;
	if (!wrong && snapshot_slot(a->tables, a->m.inbox, a->take.len) != slot)
		wrong = "it stands at another slot than it was sent for";
	if (wrong) {
		agent_log(a, LOG_ERR, "event=snapshot-refused from=%u reason=\"%s\"", from, wrong);
		return;
	}
	if (slot <= a->tables->agreed.applied)
		return;
	CHANGE(p->installing, a->take.len);
	undo_commit(&a->undo);
	transfer_install(a);
	agent_installed(a);
}

static void chunk(struct agent *a, uint16_t from, struct reader *r)
{
	uint64_t slot = get_u64(r), len = get_u64(r), offset = get_u64(r);
	size_t n = reader_left(r);
	const unsigned char *bytes = get_bytes(r, n);

	if (!r->ok || n == 0 || n > CHUNK_BYTES || len > a->m.p->inbox_size || offset > len || n > len - offset ||
	    slot <= a->tables->agreed.applied || a->m.p->installing)
		return;
	if (offset == 0) {
		a->take.from = from;
		a->take.slot = slot;
		a->take.len = len;
		a->take.have = 0;
	}
	if (from != a->take.from || slot != a->take.slot || len != a->take.len || offset != a->take.have)
		return;
	memcpy(a->m.inbox + offset, bytes, n);
	a->take.have += n;

	struct writer w = agent_frame_begin(a, WORD_HAVE);

	put_u64(&w, slot);
	put_u64(&w, a->take.have);
	agent_frame_send(a, from, &w);
	if (a->take.have == a->take.len)
		whole(a, from);
}

void transfer_heard(struct agent *a, uint16_t from, uint8_t word, struct reader *r)
{
	if (word == WORD_CHUNK)
		chunk(a, from, r);
	else
		acknowledged(a, from, r);
}

void transfer_link_down(struct agent *a, uint16_t host)
{
	if (a->give.to == host)
		a->give.to = 0;
	if (a->take.from == host)
		a->take.from = 0;
}
