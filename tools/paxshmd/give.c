/* SPDX-License-Identifier: Apache-2.0 */
/*
 * give: the tables for hosts that fell out of the log, to one of them at a time.
 *
 * What is sent is the tables at one index (snapshot.h), made a bite a turn in the inbox of the private segment,
 * which this host needs only when it is itself behind. At most CHUNKS_AHEAD bites are under way that
 * the taker has not acknowledged, and one leaves each copy_pace_ns: so nobody who waits for this
 * agent waits for more than a bite.
 *
 * Nothing is held back for the taker, the log least of all. If the log has gone on too far when it is done (tail.c says
 * when), it asks again, and gets the next copy twice as fast, down to no pause at all.
 *
 * All of it may be lost: the successor of a giver that was killed gives again when it is asked.
 */
#include "inside.h"

#include <syslog.h>

#define GIVE_UP_NS (5 * NS_PER_S)   /* a taker that acknowledges nothing for so long … */
#define GIVE_WAY_BEATS 25u          /* … or, when another waits, for so many heartbeats */
#define IN_A_ROW_NS (10 * NS_PER_S) /* who asks again so soon after a copy got it too late */
#define REPEATS_MAX 5u              /* from then on without a pause */

void give_stop(struct agent *a)
{
	a->copies.early += a->give.copy.early;
	a->give.copy.early = 0;
	a->undo.before = NULL;
	a->give.to = 0;
}

void give_asked(struct agent *a, uint16_t host)
{
	if (host == a->give.to)
		return; /* it asked before it had begun to get it */
	a->give.asked_ns[host] = a->now_ns;
	a->give.asked = true;
}

/* Who still waits asks again all the while. */
static bool waits(const struct agent *a, uint16_t host)
{
	uint64_t asked = a->give.asked_ns[host];

	return asked && a->linked[host] && a->now_ns - asked <= 32 * a->config.heartbeat_ns;
}

/* In turn, from the one served last: so nobody is served twice while another waits. */
static uint16_t next_host(struct agent *a)
{
	for (uint32_t n = 1; n <= HOSTS_MAX; n++) {
		uint16_t host = (uint16_t)((a->give.last + n) % HOSTS_MAX);

		if (host && waits(a, host))
			return host;
	}
	a->give.asked = false;
	return 0;
}

static void begin(struct agent *a, uint16_t to)
{
	bool again = a->give.ended_ns && to == a->give.last && a->now_ns - a->give.ended_ns < IN_A_ROW_NS;

	a->give.repeats = again ? MIN(a->give.repeats + 1, REPEATS_MAX) : 0;
	a->give.to = a->give.last = to;
	a->give.asked_ns[to] = 0;
	a->give.sent = a->give.acked = a->give.ended_ns = 0;
	a->give.heard_ns = a->give.moved_ns = a->give.next_ns = a->now_ns;
	snapshot_copy_begin(&a->give.copy, a->tables, a->m.inbox, a->m.p->inbox_size);
	a->undo.before = snapshot_copy_before;
	a->undo.before_context = &a->give.copy;
	a->copies.given++;
	agent_log(a, LOG_INFO, "event=snapshot-sent to=%u slot=%llu bytes=%llu repeats=%u", to, (unsigned long long)a->give.copy.slot,
		  (unsigned long long)a->give.copy.extent.len, a->give.repeats);
}

static bool may_send(const struct agent *a)
{
	return a->give.to && a->give.sent < a->give.copy.extent.len &&
	       a->give.sent < a->give.acked + CHUNKS_AHEAD * (uint64_t)a->config.copy_bite;
}

static void send_bite(struct agent *a)
{
	struct snapshot_copy *c = &a->give.copy;
	uint64_t final = c->final - a->give.sent < a->config.copy_bite ? snapshot_copy_more(c, a->config.copy_bite) : c->final;
	uint64_t n = MIN(final - a->give.sent, (uint64_t)CHUNK_BYTES);
	struct writer w = agent_frame_begin(a, WORD_CHUNK);

	put_u64(&w, c->slot);
	put_u64(&w, c->extent.len);
	put_u64(&w, a->give.sent);
	put_bytes(&w, c->bytes + a->give.sent, n);
	agent_frame_send(a, a->give.to, &w);
	a->give.sent += n;
	a->give.next_ns = a->give.repeats == REPEATS_MAX ? a->now_ns : a->now_ns + (a->config.copy_pace_ns >> a->give.repeats);
}

static bool another_waits(const struct agent *a)
{
	uint16_t host = 1;

	while (host < HOSTS_MAX && (host == a->give.to || !waits(a, host)))
		host++;
	return host < HOSTS_MAX;
}

static bool silent(const struct agent *a)
{
	uint64_t silent_ns = a->now_ns - a->give.heard_ns;

	return silent_ns >= GIVE_UP_NS || (silent_ns >= GIVE_WAY_BEATS * a->config.heartbeat_ns && another_waits(a));
}

void give_turn(struct agent *a)
{
	if (a->give.to && silent(a))
		give_stop(a);
	if (a->give.to && a->now_ns - a->give.moved_ns >= 8 * a->config.heartbeat_ns) {
		a->give.sent = a->give.acked; /* lost, or its acknowledgements were */
		a->give.moved_ns = a->now_ns;
	}
	/* The inbox must be free, and the tables whole. */
	if (!a->give.to && a->give.asked && a->take.stage == TAKE_NOTHING) {
		uint16_t host = next_host(a);

		if (host)
			begin(a, host);
	}
	if (may_send(a) && a->now_ns >= a->give.next_ns)
		send_bite(a);
}

/* An acknowledgement that says nothing new says that what came behind it was lost: it is sent again. */
void give_heard(struct agent *a, uint16_t from, struct reader *r)
{
	uint64_t slot = get_u64(r), have = get_u64(r);

	if (!reader_done(r) || !from || from != a->give.to || slot != a->give.copy.slot)
		return;
	if (have == NOT_WANTED) {
		give_stop(a);
		return;
	}
	if (have > a->give.copy.final)
		return;
	a->give.moved_ns = a->now_ns;
	if (have > a->give.acked)
		a->give.heard_ns = a->now_ns;
	else
		a->give.sent = have;
	a->give.acked = have;
	a->give.sent = MAX(a->give.sent, have);
	if (have < a->give.copy.extent.len)
		return;
	a->give.ended_ns = a->now_ns;
	give_stop(a);
}

uint64_t give_wake_at(const struct agent *a)
{
	return may_send(a) ? a->give.next_ns : NEVER;
}
