/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ask: which process owns a lock? This host's tables name the owning host; only that host knows the
 * process. A claim in CLAIM_ASKING looks into the tables and answers, or asks that host, again and
 * again until it has an answer or `give_up_ns`.
 *
 * Each answer was true at an instant within the call: the owning host's own memory said so, or the
 * tables showed no owner. When the claim asks linearizably, they showed it at an index that the leader, under its
 * lease, named as the highest it had sent after the call began ("read index": Ongaro's thesis, 2014, 6.4).
 */
#include "inside.h"
#include "../../lib/mutant.h"

#include <errno.h>

#define CHANGE(lvalue, value) SET(&a->undo, lvalue, value)
#define ASK_AGAIN_NS (2 * NS_PER_MS) /* "not mine": its release is on its way to our tables */
#define ASK_HOPS 2u
#define ASK_BYTES 512u /* no question and no answer is longer */

/* By the straight way, or over the leader, to whom everybody is linked. */
static void route(struct agent *a, uint16_t to, const struct writer *w)
{
	uint16_t leader = a->paxos.leader;

	if (a->linked[to])
		agent_frame_send(a, to, w);
	else if (leader && leader != a->config.self && a->linked[leader])
		agent_frame_send(a, leader, w);
}

/* Hosts that share a lock are asked one after the other, and tables of one of them may be behind: that none of them used it at
 * one and the same instant nobody would know. So who does not use it gives it back when asked, until one who uses it is
 * named, or the tables show that nobody has it. Here: more may have it than `host`. */
static bool is_given_back(const struct agent *a, const struct claim *c, uint16_t host)
{
	const struct line *l = &a->m.lines[c->line];
	uint32_t row = table_find(a->tables, l->key, l->key_len);
	struct lock_value v = { 0 };

	if (row)
		v = table_value(a->tables, row);
	if (!v.holders || MUTANT(332))
		return false;
	return v.holders > 1 || c->flags & REQUEST_LINEARIZABLE || tables_wait(a->tables, v.holder)->host != host;
}

static void send_ask(struct agent *a, uint32_t i, uint16_t to)
{
	const struct claim *c = &a->m.claims[i];
	const struct line *l = line_of(a, c->line);
	struct writer w = agent_frame_begin(a, WORD_ASK);

	put_u8(&w, ASK_HOPS);
	put_u16(&w, to);
	put_u16(&w, a->config.self);
	put_u32(&w, i);
	put_u32(&w, c->gen);
	put_u8(&w, c->op == REQUEST_ACQUIRE || is_given_back(a, c, to)); /* who only tries would have it, if nobody uses it there */
	put_u8(&w, l->key_len);
	put_bytes(&w, l->key, l->key_len);
	route(a, to, &w);
}

static void answer(struct agent *a, uint32_t i, int result, const struct owner *owner)
{
	uint32_t line = a->m.claims[i].line;

	claim_answer(a, i, result, owner);
	line_settle(a, line);
}

/* A try goes on as a try: the lock may be free now. */
static void try_again(struct agent *a, uint32_t i)
{
	uint32_t line = a->m.claims[i].line;

	claim_leave(a, i);
	CHANGE(a->m.claims[i].since_ns, a->now_ns); /* it served as the time of the next question */
	claim_wait(a, i);
	line_settle(a, line);
}

static void nobody_owns(struct agent *a, uint32_t i)
{
	if (a->m.claims[i].op == REQUEST_HOLDER)
		answer(a, i, -ESRCH, NULL);
	else
		try_again(a, i);
}

static void somebody_owns(struct agent *a, uint32_t i, const struct owner *owner)
{
	answer(a, i, a->m.claims[i].op == REQUEST_HOLDER ? 0 : -EBUSY, owner);
}

/* Who of this host owns it now; of several, one. */
static struct owner line_owner(const struct agent *a, uint32_t line)
{
	const struct line *l = &a->m.lines[line];

	if (l->state != LINE_OURS)
		return (struct owner){ .host = a->config.self };
	return l->mode == LOCK_MODE_PR ? shared_owner(a, line) : gate_owner_now(a, line);
}

/* Another host to which it is delegated; of several, another one each heartbeat. */
static uint16_t other_holder(const struct agent *a, const struct lock_value *v)
{
	uint32_t skip = v->holders ? (uint32_t)(a->now_ns / a->config.heartbeat_ns % v->holders) : 0;
	uint16_t other = 0;

	if (!v->holders)
		return v->host != a->config.self ? v->host : 0;
	for (uint32_t w = v->holder; w; w = tables_wait(a->tables, w)->next, skip -= skip != 0)
		if (tables_wait(a->tables, w)->host != a->config.self && (!other || skip))
			other = tables_wait(a->tables, w)->host;
	return other;
}

/* This host has it, and none of its programs. */
static void give_back_unused(struct agent *a, uint32_t line)
{
	if (line_of(a, line)->state != LINE_OURS)
		return;
	CHANGE(line_of(a, line)->wanted, 1);
	line_settle(a, line);
}

void ask_look(struct agent *a, uint32_t i)
{
	struct claim *c = &a->m.claims[i];
	const struct line *l = line_of(a, c->line);
	uint32_t row = table_find(a->tables, l->key, l->key_len);
	struct lock_value v = { 0 };

	ASSERT(c->state == CLAIM_ASKING);
	if (row)
		v = table_value(a->tables, row);
	if (!v.delegation) {
		nobody_owns(a, i);
	} else if (a->now_ns >= c->give_up_ns) {
		struct owner unknown = { .host = v.holders ? tables_wait(a->tables, v.holder)->host : v.host };

		somebody_owns(a, i, &unknown);
	} else if (line_owner(a, c->line).pid) {
		struct owner owner = line_owner(a, c->line);

		somebody_owns(a, i, &owner);
	} else if (other_holder(a, &v)) {
		if (is_given_back(a, c, a->config.self))
			give_back_unused(a, c->line);
		CHANGE(c->stage, ASK_SENT);
		send_ask(a, i, other_holder(a, &v));
	} else if (!v.holders && v.incarnation != a->m.p->incarnation) {
		struct owner unknown = { .host = v.host }; /* an older life of this host: not swept yet */

		somebody_owns(a, i, &unknown);
	} else if (c->op == REQUEST_HOLDER && is_given_back(a, c, a->config.self)) {
		give_back_unused(a, c->line);
	} else {
		nobody_owns(a, i); /* kept, between two owners, or on its way back */
	}
}

/* ---- how far the log is ---- */

/* The leader alone knows, and only while nobody else can lead. Not what is chosen: a voter may know that of a
 * slot before the leader does. */
static bool know_index(const struct agent *a)
{
	return a->leading && paxos_has_lease(&a->paxos, a->now_ns);
}

static void index_known(struct agent *a, uint64_t slot)
{
	a->index.sent_ns = 0;
	a->index.slot = slot;
	ask_applied(a);
}

/* One question for all who wait for one; whoever comes while it is under way waits for the next. */
static void ask_index(struct agent *a)
{
	uint16_t leader = a->paxos.leader;

	if (a->index.slot || (a->index.sent_ns && a->now_ns - a->index.sent_ns < 4 * a->config.heartbeat_ns))
		return;
	if (!a->index.sent_ns)
		a->index.number++;
	a->index.sent_ns = a->now_ns;
	if (know_index(a)) {
		index_known(a, a->paxos.next_slot - 1);
	} else if (leader && leader != a->config.self && a->linked[leader]) {
		struct writer w = agent_frame_begin(a, WORD_INDEX);

		put_u64(&w, a->index.number);
		agent_frame_send(a, leader, &w);
	}
}

/* A question that is under way may have been answered before this claim came: the next one counts. */
static void want_index(struct agent *a, uint32_t i)
{
	CHANGE(a->m.claims[i].number, a->index.number + 1);
	CHANGE(a->m.claims[i].stage, ASK_INDEXED);
}

void ask_applied(struct agent *a)
{
	bool more = false;

	if (!a->index.slot || a->tables->agreed.applied < a->index.slot)
		return;
	a->index.slot = 0;
	for (uint32_t i = 1; i <= a->m.p->claims_high && a->asking; i++) {
		struct claim *c = &a->m.claims[i];

		if (c->state != CLAIM_ASKING || c->stage != ASK_INDEXED)
			continue;
		if (c->number > a->index.number) {
			more = true;
			continue;
		}
		CHANGE(c->stage, ASK_LOOK);
		CHANGE(c->give_up_ns, a->now_ns + a->config.ask_ns);
		a->ask_at_ns = MIN(a->ask_at_ns, a->now_ns);
		agent_commit(a);
	}
	if (more)
		a->ask_at_ns = MIN(a->ask_at_ns, a->now_ns);
}

/* A slot that the last leader had sent may never come: who waits for it asks the next. */
void ask_leader_changed(struct agent *a)
{
	a->index.slot = a->index.sent_ns = 0;
	if (a->asking)
		a->ask_at_ns = MIN(a->ask_at_ns, a->now_ns);
}

void ask_index_heard(struct agent *a, uint16_t from, uint8_t word, struct reader *r)
{
	uint64_t number = get_u64(r), slot = word == WORD_INDEXED ? get_u64(r) : 0;

	if (!reader_done(r))
		return;
	if (word == WORD_INDEX && know_index(a)) {
		struct writer w = agent_frame_begin(a, WORD_INDEXED);

		put_u64(&w, number);
		put_u64(&w, a->paxos.next_slot - 1);
		agent_frame_send(a, from, &w);
	} else if (word == WORD_INDEXED && a->index.sent_ns && number == a->index.number && slot) {
		index_known(a, slot);
	}
}

/* Every claim that asks, a few times a heartbeat while there are any. */
void ask_tick(struct agent *a)
{
	if (a->asking == 0 || a->now_ns < a->ask_at_ns) {
		if (a->asking == 0)
			a->ask_at_ns = NEVER;
		return;
	}
	a->ask_at_ns = a->now_ns + ASK_AGAIN_NS;
	bool indexed = false;

	for (uint32_t i = 1; i <= a->m.p->claims_high && a->asking; i++) {
		struct claim *c = &a->m.claims[i];

		if (c->state != CLAIM_ASKING)
			continue;
		if (c->stage == ASK_INDEX)
			want_index(a, i);
		else if (c->stage == ASK_LOOK || (c->stage == ASK_SENT && a->now_ns >= c->since_ns))
			ask_look(a, i);
		if (c->state == CLAIM_ASKING && c->stage == ASK_SENT && a->now_ns >= c->since_ns)
			CHANGE(c->since_ns, a->now_ns + a->config.heartbeat_ns); /* asked again then */
		indexed |= c->state == CLAIM_ASKING && c->stage == ASK_INDEXED;
		agent_commit(a);
	}
	if (indexed)
		ask_index(a);
}

/* ---- frames ---- */

enum told { TOLD_NOT_MINE,
	    TOLD_OWNED,
	    TOLD_FREE }; /* delegated to that host, and none of its programs owns it */

static void tell(struct agent *a, uint16_t to, uint32_t claim, uint32_t gen, enum told told, const struct owner *owner)
{
	struct writer w = agent_frame_begin(a, WORD_TELL);

	put_u8(&w, ASK_HOPS);
	put_u16(&w, to);
	put_u16(&w, a->config.self);
	put_u32(&w, claim);
	put_u32(&w, gen);
	put_u8(&w, (uint8_t)told);
	put_u32(&w, owner->pid);
	put_u32(&w, owner->session);
	put_u64(&w, owner->start);
	put_u64(&w, owner->token);
	route(a, to, &w);
}

static void asked(struct agent *a, uint16_t from, struct reader *r)
{
	uint32_t claim = get_u32(r), gen = get_u32(r);
	bool try = get_u8(r);
	uint32_t len = get_u8(r);
	const unsigned char *key = get_bytes(r, len);
	struct owner owner = { 0 };
	uint32_t line;

	/* Suspended, what we know may be old: whoever asks will ask again. */
	if (!reader_done(r) || !len || !lease_valid(a))
		return;
	line = line_find(a, key, len, hash_bytes(0, key, len));
	if (!line || line_of(a, line)->state != LINE_OURS) {
		tell(a, from, claim, gen, TOLD_NOT_MINE, &owner);
		return;
	}
	owner = line_owner(a, line);
	tell(a, from, claim, gen, owner.pid ? TOLD_OWNED : TOLD_FREE, &owner);
	if (try && !owner.pid) {
		give_back_unused(a, line);
		agent_commit(a);
	}
}

static void told(struct agent *a, uint16_t from, struct reader *r)
{
	uint32_t i = get_u32(r), gen = get_u32(r);
	uint8_t told = get_u8(r);
	struct owner owner = { .host = from };

	owner.pid = get_u32(r);
	owner.session = get_u32(r);
	owner.start = get_u64(r);
	owner.token = get_u64(r);
	if (!reader_done(r) || i == 0 || i > a->m.p->claims_high)
		return;

	struct claim *c = &a->m.claims[i];

	if (c->gen != gen || c->state != CLAIM_ASKING || c->stage != ASK_SENT)
		return; /* an answer to an older question */
	if (told == TOLD_OWNED) {
		somebody_owns(a, i, &owner);
	} else if (told == TOLD_FREE && c->op == REQUEST_HOLDER && !is_given_back(a, c, from)) {
		nobody_owns(a, i);
	} else {
		CHANGE(c->stage, ASK_LOOK);
		a->ask_at_ns = MIN(a->ask_at_ns, a->now_ns + ASK_AGAIN_NS);
	}
	agent_commit(a);
}

void ask_heard(struct agent *a, uint16_t from, uint8_t word, struct reader *r)
{
	struct reader whole = *r;
	uint8_t hops = get_u8(r);
	uint16_t to = get_u16(r);
	uint16_t origin = get_u16(r);

	(void)from;
	if (!r->ok || to == 0 || to >= HOSTS_MAX || origin == 0 || origin >= HOSTS_MAX || hops == 0 ||
	    reader_left(r) > ASK_BYTES)
		return;
	if (to != a->config.self) {
		struct writer w = agent_frame_begin(a, word);

		put_u8(&w, hops - 1);
		put_bytes(&w, whole.bytes + whole.at + 1, whole.len - whole.at - 1);
		if (hops > 1)
			route(a, to, &w);
	} else if (word == WORD_ASK) {
		asked(a, origin, r);
	} else {
		told(a, origin, r);
	}
}
