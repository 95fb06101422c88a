/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tail: the slots that are chosen behind a copy of the tables while it comes. The log of other hosts
 * goes on without regard to this one; what it has overwritten when the copy stands is here.
 *
 * Whatever LEARN brings in order is kept as bytes, as much as there is room for, and asked for where a gap is; when the copy
 * stands it is handed to Paxos slot by slot as if it came now, checks included. What did not fit is
 * fetched from the others' logs, and if it has left those too, another copy is asked for. So one copy
 * is enough as long as what is chosen while it is sent, verified and installed fits into tail_size() and a log
 * together.
 *
 * A record: ballot 8, kind 1, len 4, the value. Its slot is one above that of the record before it.
 * Lost with the process, which then fetches what there is.
 */
#include "inside.h"

#define RECORD_HEAD 13u
#define TAIL_MIN (4u << 20)
#define SLOTS_A_TURN 64u /* handed to Paxos */

/* A quarter of the largest copy: at the pace of copies, some 13 MB a second of values. */
uint64_t tail_size(const struct agent *a)
{
	return a->m.p->inbox_size / 4 + TAIL_MIN;
}

static void put(struct agent *a, const void *bytes, uint64_t n)
{
	uint64_t at = a->tail.end % a->tail.size, first = MIN(n, a->tail.size - at);

	memcpy(a->tail.bytes + at, bytes, first);
	if (first < n)
		memcpy(a->tail.bytes, (const unsigned char *)bytes + first, n - first);
	a->tail.end += n;
}

static void get(struct agent *a, void *ret, uint64_t n)
{
	uint64_t at = a->tail.first % a->tail.size, first = MIN(n, a->tail.size - at);

	ASSERT(n <= a->tail.end - a->tail.first);
	memcpy(ret, a->tail.bytes + at, first);
	if (first < n)
		memcpy((unsigned char *)ret + first, a->tail.bytes, n - first);
	a->tail.first += n;
}

static bool has_room(const struct agent *a, uint64_t len)
{
	return a->tail.size - (a->tail.end - a->tail.first) >= RECORD_HEAD + len;
}

void tail_begin(struct agent *a, uint16_t from, uint64_t slot)
{
	a->tail.on = true;
	a->tail.from = from;
	a->tail.first = a->tail.end = 0;
	a->tail.first_slot = a->tail.next_slot = slot + 1;
	a->tail.ask_ns = a->now_ns;
}

void tail_drop(struct agent *a)
{
	a->tail.on = false;
}

void tail_learn(struct agent *a, const struct paxos_message *m)
{
	const struct paxos_entry *e = m->entries;
	unsigned char head[RECORD_HEAD];
	struct writer w = writer_on(head, sizeof(head));

	if (!a->tail.on || m->kind != PAXOS_LEARN || m->n_entries != 1 || e->slot != a->tail.next_slot || !has_room(a, e->len))
		return;
	put_u64(&w, e->ballot);
	put_u8(&w, e->kind);
	put_u32(&w, e->len);
	put(a, head, sizeof(head));
	if (e->len)
		put(a, e->bytes, e->len);
	a->tail.next_slot++;
	a->copies.tail++;
	/* The end of an answer, and another one would be as full: at once. */
	if (m->flag && m->chosen >= a->tail.next_slot + PAXOS_FETCH_MAX)
		a->tail.ask_ns = a->now_ns;
}

static void ask(struct agent *a)
{
	struct paxos_message fetch = { .kind = PAXOS_FETCH, .slot = MAX(a->tail.next_slot, a->m.paxos->chosen + 1), .chosen = a->m.paxos->chosen };

	a->tail.ask_ns = a->now_ns + a->config.heartbeat_ns / 4;
	if (a->linked[a->tail.from] && has_room(a, a->config.limits.value_max))
		agent_send_paxos(a, a->tail.from, &fetch);
}

/* The oldest, as a message of nobody: it says nothing of who lives or leads. */
static void hand_on(struct agent *a)
{
	unsigned char head[RECORD_HEAD];
	struct reader r = reader_on(head, sizeof(head));
	struct paxos_entry entry = { .bytes = a->body };
	struct paxos_message learn = { .kind = PAXOS_LEARN, .n_entries = 1, .entries = &entry };
	struct paxos_event e = { .kind = PAXOS_EVENT_MESSAGE, .now_ns = a->now_ns, .message = &learn };

	get(a, head, sizeof(head));
	entry.ballot = get_u64(&r);
	entry.kind = get_u8(&r);
	entry.len = get_u32(&r);
	get(a, a->body, entry.len);
	entry.slot = a->tail.first_slot++;
	if (entry.slot > a->m.paxos->chosen) /* else it came by another way */
		agent_paxos_step(a, &e);
}

void tail_turn(struct agent *a)
{
	if (!a->tail.on)
		return;
	if (a->take.stage != TAKE_NOTHING) {
		if (a->now_ns >= a->tail.ask_ns)
			ask(a);
		return;
	}
	for (unsigned n = 0; n < SLOTS_A_TURN && a->tail.first < a->tail.end; n++)
		hand_on(a);
	a->tail.on = a->tail.first < a->tail.end;
	if (!a->tail.on)
		ask(a); /* the rest comes from the log, and had better come before it goes */
}

uint64_t tail_wake_at(const struct agent *a)
{
	if (!a->tail.on)
		return NEVER;
	return a->take.stage != TAKE_NOTHING ? a->tail.ask_ns : a->now_ns;
}
