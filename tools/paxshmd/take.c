/* SPDX-License-Identifier: Apache-2.0 */
/*
 * take: a copy of the tables for this host, which fell out of the log.
 *
 *   STREAM --all bytes are there--> VERIFY --good--> INSTALL --done--> the tables, and the log behind them
 *     |           |                   |                 ^
 *     '-- too late, or wrong: nothing '                 '-- a successor, again from the start
 *
 * The bytes are collected in the inbox of the private segment, verified there, and installed in place, each a bite a turn;
 * the agent goes on meanwhile. Nothing of them is believed before all of them were verified. From the commit of
 * `installing` until the end the tables are nobody's to look at: `ready` is 0 for readers, and
 * take_installing() keeps the agent from applying, granting, answering and giving; Paxos promises and
 * hears. What is behind the copy in the log waits in tail.c.
 *
 * The inbox survives the process: whoever dies while installing leaves `installing` set, and its
 * successor installs the same bytes again. The log is trimmed in the group that ends `installing`. An
 * interrupted transfer leaves nothing but bytes nobody looks at.
 */
#include "inside.h"

#include <syslog.h>

#define CHANGE(lvalue, value) SET(&a->undo, lvalue, value)
#define PATIENCE_NS NS_PER_S /* a giver that sends nothing for so long is given up */
#define RECORD_BYTES 32u     /* of a bite: looking at a record, or installing it, takes as long as making so much of it */

static uint32_t bite_records(const struct agent *a)
{
	return MAX(a->config.copy_bite / RECORD_BYTES, 1u);
}

static void say_have(struct agent *a, uint16_t to, uint64_t slot, uint64_t have)
{
	struct writer w = agent_frame_begin(a, WORD_HAVE);

	put_u64(&w, slot);
	put_u64(&w, have);
	agent_frame_send(a, to, &w);
	a->take.said_ns = a->now_ns;
}

/* ---- stream ---- */

static void drop(struct agent *a)
{
	a->take.stage = TAKE_NOTHING;
	a->take.from = 0;
	tail_drop(a);
}

/* A leader may be offered a copy, too: of slots that were chosen before its time, and have left every log that it can
 * reach. It will never learn them otherwise, and so never lead. */
static void resign(struct agent *a)
{
	struct paxos_event e = { .kind = PAXOS_EVENT_RESIGN, .now_ns = a->now_ns };

	if (a->paxos.role == PAXOS_FOLLOWER)
		return;
	agent_log(a, LOG_NOTICE, "event=leader.resigns applied=%llu text=\"this host lacks slots that only a copy of the tables can bring\"",
		  (unsigned long long)a->tables->agreed.applied);
	agent_paxos_step(a, &e);
}

/* While the tail of the last copy is handed on, that one is enough. */
static bool may_begin(const struct agent *a, uint16_t from)
{
	if (take_installing(a))
		return false;
	if (a->take.stage == TAKE_STREAM)
		return from == a->take.from;
	return a->take.stage == TAKE_NOTHING && !a->tail.on;
}

static void begin(struct agent *a, uint16_t from, uint64_t slot, uint64_t len)
{
	if (a->give.to)
		give_stop(a); /* its bytes stood in the inbox, and are old news */
	resign(a);
	a->take.stage = TAKE_STREAM;
	a->take.from = from;
	a->take.slot = slot;
	a->take.len = len;
	a->take.have = 0;
	a->take.heard_ns = a->now_ns;
	a->copies.begun++;
	tail_begin(a, from, slot);
}

static bool is_ours(const struct agent *a, uint16_t from, uint64_t slot, uint64_t len)
{
	return a->take.stage == TAKE_STREAM && from == a->take.from && slot == a->take.slot && len == a->take.len;
}

void take_heard(struct agent *a, uint16_t from, struct reader *r)
{
	uint64_t slot = get_u64(r), len = get_u64(r), offset = get_u64(r);
	size_t n = reader_left(r);
	const unsigned char *bytes = get_bytes(r, n);

	if (!r->ok || n == 0 || n > CHUNK_BYTES || len > a->m.p->inbox_size || offset > len || n > len - offset)
		return;
	if (offset == 0 && !is_ours(a, from, slot, len) && slot > a->tables->agreed.applied && may_begin(a, from))
		begin(a, from, slot, len);
	if (!is_ours(a, from, slot, len)) {
		say_have(a, from, slot, NOT_WANTED);
		return;
	}
	if (offset == a->take.have) {
		memcpy(a->m.inbox + offset, bytes, n);
		a->take.have += n;
		a->take.heard_ns = a->now_ns;
	} else if (a->now_ns - a->take.said_ns < a->config.heartbeat_ns) {
		return; /* of what follows a gap, one is told */
	}
	say_have(a, from, slot, a->take.have);
	if (a->take.have < a->take.len)
		return;
	a->take.stage = TAKE_VERIFY;
	a->take.next_ns = a->now_ns;
	snapshot_check_begin(&a->take.check, a->tables, a->m.inbox, a->take.len);
}

void take_link_down(struct agent *a, uint16_t host)
{
	if (a->take.stage == TAKE_STREAM && a->take.from == host)
		drop(a);
}

/* ---- verify, install ---- */

void take_install(struct agent *a)
{
	if (a->give.to)
		give_stop(a);
	snapshot_install_begin(&a->take.install, a->tables, a->m.inbox, a->m.p->installing);
	a->take.stage = TAKE_INSTALL;
	a->take.next_ns = a->now_ns;
}

static void verified(struct agent *a)
{
	const char *wrong = a->take.check.wrong;

	if (!wrong && a->take.check.view.agreed.applied != a->take.slot)
		wrong = "it stands at another slot than it was sent for";
	if (wrong) {
		a->copies.refused++;
		agent_log(a, LOG_ERR, "event=snapshot-refused from=%u reason=\"%s\"", a->take.from, wrong);
	}
	if (wrong || a->take.slot <= a->tables->agreed.applied) {
		drop(a);
		return;
	}
	resign(a); /* elected meanwhile */
	CHANGE(a->m.p->installing, a->take.len);
	agent_commit(a);
	take_install(a);
}

static void installed(struct agent *a)
{
	uint64_t slot = a->tables->agreed.applied;
	struct paxos_event e = { .kind = PAXOS_EVENT_INSTALLED, .now_ns = a->now_ns, .slot = slot };

	a->take.stage = TAKE_NOTHING;
	a->take.from = 0;
	a->copies.installed++;
	paxos_step(&a->paxos, &e, &a->update);
	CHANGE(a->m.p->installing, 0);
	agent_carry_update(a);
	agent_log(a, LOG_NOTICE, "event=snapshot-installed slot=%llu", (unsigned long long)slot);
	agent_installed(a);
}

void take_turn(struct agent *a)
{
	if (a->take.stage == TAKE_STREAM && a->now_ns - a->take.heard_ns >= PATIENCE_NS)
		drop(a);
	if (a->take.stage < TAKE_VERIFY || a->now_ns < a->take.next_ns)
		return;
	a->take.next_ns = a->now_ns + a->config.copy_pace_ns / 2;
	if (a->take.stage == TAKE_VERIFY) {
		if (snapshot_check_more(&a->take.check, bite_records(a)))
			verified(a);
		return;
	}
	a->copies.bites++;
	if (snapshot_install_more(&a->take.install, bite_records(a)))
		installed(a);
}

uint64_t take_wake_at(const struct agent *a)
{
	switch (a->take.stage) {
	case TAKE_NOTHING: return NEVER;
	case TAKE_STREAM: return a->take.heard_ns + PATIENCE_NS;
	default: return a->take.next_ns;
	}
}
