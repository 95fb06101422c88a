/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commands: this host's numbered commands on their way into the log, and, while we lead, everybody's.
 *
 * A command is numbered and stored under undo before it is sent; it leaves the store when it is
 * applied. What may have been lost - a new leader, a new link, no progress for a while - is sent
 * again from the oldest, in order; whoever meets a number twice ignores it. So each takes effect once.
 */
#include "inside.h"
#include "../../lib/mutant.h"
#include "probe.h"

#include <errno.h>

#define CHANGE(lvalue, value) SET(&a->undo, lvalue, value)
#define FORWARD_BYTES (32u * 1024) /* commands in one frame to the leader */

static uint64_t patience_ns(const struct agent *a)
{
	return 4 * a->config.heartbeat_ns;
}

static struct stored_command *stored(struct agent *a, uint64_t number)
{
	return &a->m.commands[number % COMMANDS_MAX];
}

bool commands_room(const struct agent *a)
{
	return agent_registered(a) && a->m.p->next_number - a->m.p->first_number < COMMANDS_MAX;
}

uint64_t command_issue(struct agent *a, struct command *c)
{
	struct private_memory *p = a->m.p;
	uint64_t number = p->next_number;
	struct stored_command *place = stored(a, number);

	if (!commands_room(a))
		return 0;
	c->host = a->config.self;
	c->incarnation = p->incarnation;
	c->number = number;

	/* Outside [first, next) nothing is read, so only the new end of it needs to be undone. */
	struct writer w = writer_on(place->bytes, sizeof(place->bytes));
	command_encode(&w, c);
	ASSERT(w.ok);
	place->len = (uint16_t)w.len;
	place->kind = c->kind;
	if (MUTANT(321))
		p->next_number = number + 1;
	else
		CHANGE(p->next_number, number + 1);
	return number;
}

void commands_applied(struct agent *a, uint64_t number)
{
	struct private_memory *p = a->m.p;

	ASSERT(number < p->next_number);
	if (number < p->first_number)
		return;
	CHANGE(p->first_number, number + 1);
	a->sent_number = MAX(a->sent_number, number + 1);
	a->resend_at_ns = a->now_ns + patience_ns(a);
}

void commands_forget_sent(struct agent *a)
{
	a->sent_number = a->m.p->first_number;
	a->register_at_ns = MIN(a->register_at_ns, a->now_ns);
	lease_forget_asked(a);
}

/* ---- as leader ---- */

static bool pending_append(struct agent *a, const void *bytes, size_t len)
{
	uint16_t n = (uint16_t)len;

	if (a->pending_first && a->pending_end + 2 + len > PENDING_BYTES) {
		memmove(a->pending, a->pending + a->pending_first, a->pending_end - a->pending_first);
		a->pending_end -= a->pending_first;
		a->pending_first = 0;
	}
	if (a->pending_end + 2 + len > PENDING_BYTES)
		return false; /* it will be sent again */
	memcpy(a->pending + a->pending_end, &n, 2);
	memcpy(a->pending + a->pending_end + 2, bytes, len);
	a->pending_end += 2 + (uint32_t)len;
	return true;
}

bool commands_take_own(struct agent *a, const void *bytes, size_t len)
{
	return a->leading && pending_append(a, bytes, len);
}

/* Takes a command in exactly when it is the next of its host's registered life, or unnumbered. */
static void take_in(struct agent *a, const struct command *c, const void *bytes, size_t len)
{
	const struct host_row *h = tables_host(a->tables, c->host);

	if (c->number == 0) {
		pending_append(a, bytes, len);
		return;
	}
	if (host_table_alive(a->tables, c->host) != c->incarnation)
		return;
	if (a->taken[c->host].incarnation != c->incarnation || a->taken[c->host].number < h->last_number) {
		a->taken[c->host].incarnation = c->incarnation;
		a->taken[c->host].number = h->last_number;
	}
	if (MUTANT(21) && c->number <= a->taken[c->host].number)
		pending_append(a, bytes, len);
	if (c->number == a->taken[c->host].number + 1 && pending_append(a, bytes, len))
		a->taken[c->host].number++;
}

void commands_heard(struct agent *a, uint16_t from, struct reader *r)
{
	while (a->leading && reader_left(r)) {
		struct command c;
		size_t begin = r->at;

		if (!command_decode(r, &c) || c.host != from || command_is_leaders(c.kind)) {
			struct agent_action *bad = agent_act(a, ACTION_BAD_PEER);

			bad->to = from;
			bad->text = "it sent commands that do not decode or are not its own";
			return;
		}
		take_in(a, &c, r->bytes + begin, r->at - begin);
	}
}

static void found_cluster(struct agent *a)
{
	const struct table_capacity *capacity = &a->config.limits.capacity;
	uint64_t random = a->config.seed ^ a->m.p->nonce ^ a->paxos.ballot;
	unsigned char bytes[COMMAND_BYTES_MAX];
	struct writer w = writer_on(bytes, sizeof(bytes));
	struct command c = {
		.kind = COMMAND_FOUND,
		.host = a->config.self,
		.found = { .history = random_next(&random) | 1, .rows = capacity->rows, .cells = capacity->cells, .waits = capacity->waits },
	};

	command_encode(&w, &c);
	ASSERT(w.ok);
	pending_append(a, bytes, w.len);
}

void commands_leads_applied(struct agent *a, uint64_t slot)
{
	/* Ours only: an older ballot's LEADS may have been proposed again before it. */
	if (a->paxos.role == PAXOS_LEADING && slot == a->paxos.leads_slot) {
		a->leading = true;
		memset(a->taken, 0, HOSTS_MAX * sizeof(a->taken[0]));
		a->pending_first = a->pending_end = 0;
		lease_take_office(a);
		if (a->tables->agreed.history == 0)
			found_cluster(a);
	}
	commands_forget_sent(a);
}

void commands_deposed(struct agent *a)
{
	a->leading = false;
	a->pending_first = a->pending_end = 0;
}

/* What was taken in this turn goes out now. */
static void stamp_sent(struct agent *a)
{
	for (; a->n_unsent; a->n_unsent--)
		a->stamps[a->unsent[a->n_unsent - 1]][STAMP_SENT] = agent_stamp(a);
}

/* One value: as many whole commands as fit. */
static void propose_batch(struct agent *a)
{
	unsigned char *value = a->body; /* no frame is being filled now, and Paxos copies it */
	uint32_t len = 0, cap = MIN(a->config.limits.value_max, BODY_BYTES);

	while (a->pending_first < a->pending_end) {
		uint16_t n;

		memcpy(&n, a->pending + a->pending_first, 2);
		ASSERT(n <= cap);
		if (len + n > cap)
			break;
		memcpy(value + len, a->pending + a->pending_first + 2, n);
		len += n;
		a->pending_first += 2 + n;
	}
	struct paxos_event e = { .kind = PAXOS_EVENT_PROPOSE, .now_ns = a->now_ns, .bytes = value, .len = len };

	PROBE1(proposed, len);
	stamp_sent(a);
	agent_paxos_step(a, &e);
}

/* ---- as anybody ---- */

static void send_stored(struct agent *a)
{
	struct private_memory *p = a->m.p;
	uint16_t leader = a->paxos.leader;

	a->sent_number = MAX(a->sent_number, p->first_number);
	while (a->sent_number < p->next_number) {
		struct writer w = agent_frame_begin(a, WORD_COMMANDS);
		size_t begin = w.len;

		while (a->sent_number < p->next_number && w.len - begin < FORWARD_BYTES) {
			struct stored_command *c = stored(a, a->sent_number);

			put_bytes(&w, c->bytes, c->len);
			a->sent_number++;
		}
		agent_frame_send(a, leader, &w);
		stamp_sent(a);
		a->resend_at_ns = a->now_ns + patience_ns(a);
	}
}

static void take_in_stored(struct agent *a)
{
	struct private_memory *p = a->m.p;

	a->sent_number = MAX(a->sent_number, p->first_number);
	for (; a->sent_number < p->next_number; a->sent_number++) {
		struct stored_command *place = stored(a, a->sent_number);
		struct reader r = reader_on(place->bytes, place->len);
		struct command c;

		ASSERT(command_decode(&r, &c));
		take_in(a, &c, place->bytes, place->len);
		a->resend_at_ns = a->now_ns + patience_ns(a);
	}
}

void commands_flush(struct agent *a)
{
	uint16_t leader = a->paxos.leader;

	if (a->leading) {
		/* Applying what we propose may bring forth commands of our own: until all is out. */
		do {
			take_in_stored(a);
			while (a->leading && a->pending_first < a->pending_end && paxos_can_propose(&a->paxos))
				propose_batch(a);
		} while (a->leading && a->sent_number < a->m.p->next_number && paxos_can_propose(&a->paxos));
	} else if (leader && leader != a->config.self && a->linked[leader]) {
		send_stored(a);
	}
}

/* Asks to be registered; `expected` makes it a compare-and-set, so that a late message of an older
 * life of this host changes nothing. Refused as long as an older life may still run. */
static void send_host_up(struct agent *a)
{
	unsigned char bytes[COMMAND_BYTES_MAX];
	struct writer w = writer_on(bytes, sizeof(bytes));
	struct command c = {
		.kind = COMMAND_HOST_UP,
		.host = a->config.self,
		.host_up = { .nonce = a->m.p->nonce,
			     .expected = tables_host(a->tables, a->config.self)->incarnation,
			     .heir_of = a->config.heir_of },
	};

	command_encode(&w, &c);
	ASSERT(w.ok);
	if (a->leading) {
		take_in(a, &c, bytes, w.len);
	} else if (a->paxos.leader && a->linked[a->paxos.leader]) {
		struct writer frame = agent_frame_begin(a, WORD_COMMANDS);

		put_bytes(&frame, bytes, w.len);
		agent_frame_send(a, a->paxos.leader, &frame);
	}
	a->register_at_ns = a->now_ns + patience_ns(a);
}

void commands_tick(struct agent *a)
{
	struct private_memory *p = a->m.p;

	if (p->installing || p->lapse_at)
		return;
	if (p->incarnation == 0) {
		/* Founded first, and up to date: `expected` must be what the cluster has. */
		if (a->now_ns >= a->register_at_ns && a->paxos.leader && a->tables->agreed.history)
			send_host_up(a);
		return;
	}
	if (p->first_number < p->next_number && a->now_ns >= a->resend_at_ns) {
		commands_forget_sent(a);
		a->resend_at_ns = a->now_ns + patience_ns(a);
	}
}

uint64_t commands_wake_at(const struct agent *a)
{
	const struct private_memory *p = a->m.p;

	if (p->incarnation == 0)
		return a->paxos.leader && a->tables->agreed.history ? a->register_at_ns : NEVER;
	return p->first_number < p->next_number ? a->resend_at_ns : NEVER;
}
