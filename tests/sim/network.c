/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links between hosts. A link behaves as link.h promises: whole frames, in order, while a connection
 * stands; when it breaks, everything from some point on is lost and each side learns of it in its
 * own time. With datagrams, single frames are lost, doubled and overtaken as well.
 */
#include "sim.h"

#define CONNECT_NS (20 * MS) /* between attempts, about */

static struct wiring *wiring_of(struct sim *s, uint16_t a, uint16_t b)
{
	return &s->wiring[MIN(a, b)][MAX(a, b)];
}

static void pump_at(struct sim *s, uint16_t from, uint16_t to, uint64_t at)
{
	struct pipe *p = &s->pipe[from][to];

	if (p->pump_at > s->now_ns && p->pump_at <= at)
		return;
	p->pump_at = at;
	sim_at(s, at, (struct event){ .kind = EVENT_PUMP, .a = from, .b = to });
}

static struct parcel *parcel_new(uint8_t kind, uint16_t from, uint64_t connection, const void *bytes, size_t len)
{
	struct parcel *p = malloc(sizeof(*p) + len);

	ASSERT(p);
	*p = (struct parcel){ .kind = kind, .from = from, .connection = connection, .len = (uint32_t)len };
	if (len)
		memcpy(p->bytes, bytes, len);
	return p;
}

static uint64_t travel_ns(struct sim *s, const struct pipe *pipe)
{
	uint64_t t = s->plan.latency_ns + sim_pick(s, 0, s->plan.jitter_ns) + pipe->slow_ns;

	return sim_chance(s, 1, 500) ? t + 10 * sim_about(s, s->plan.jitter_ns) : t;
}

/* In order of arrival. Parcels that keep their place arrive no earlier than those before. */
static void post(struct sim *s, uint16_t to, struct parcel *p, uint64_t more_ns, bool keep_place)
{
	struct pipe *pipe = &s->pipe[p->from][to];
	struct parcel **at = &pipe->head;
	uint64_t takes = travel_ns(s, pipe);

	if (sim_smooth(s)) /* well below an election's time */
		takes = MIN(takes, s->plan.heartbeat_ns / 2);
	p->at = s->now_ns + takes + more_ns;
	if (keep_place) {
		p->at = MAX(p->at, pipe->last_at);
		pipe->last_at = p->at;
	}
	if (pipe->tail && pipe->tail->at <= p->at)
		at = &pipe->tail->next;
	else
		while (*at && (*at)->at <= p->at)
			at = &(*at)->next;
	p->next = *at;
	*at = p;
	if (!p->next)
		pipe->tail = p;
	else
		sim_mark(s, MARK_FRAME_OVERTOOK);
	pump_at(s, p->from, to, pipe->head->at);
}

static void post_frame(struct sim *s, uint16_t from, uint16_t to, uint64_t connection, const void *bytes, size_t len)
{
	bool rough = s->plan.datagrams && !sim_smooth(s);
	bool late = rough && sim_chance(s, s->plan.late, 1000000);
	bool overtaken = late || (rough && sim_chance(s, s->plan.overtake, 1000000));
	struct parcel *p = parcel_new(PARCEL_FRAME, from, connection, bytes, len);

	if (late)
		sim_mark(s, MARK_FRAME_LATE);
	post(s, to, p, late ? sim_pick(s, 1, 4) * s->plan.leader_lease_ns : 0, !overtaken);
}

/* What reactor and link do with ACTION_SEND to one host. */
void network_send(struct sim *s, struct host *from, uint16_t to, const void *bytes, size_t len)
{
	struct wiring *w = wiring_of(s, from->id, to);
	bool rough = s->plan.datagrams && !sim_smooth(s);

	if (!from->up[to])
		return;
	trace_frame(s, "->", from->id, to, bytes, len);
	s->history = hash_bytes(s->history ^ s->now_ns, bytes, len);
	if (!w->stands || w->connection != from->up[to])
		return; /* the other side has closed already, this one does not know yet */
	if (rough && sim_chance(s, s->plan.lose, 1000000)) {
		sim_mark(s, MARK_FRAME_LOST);
		return;
	}
	post_frame(s, from->id, to, w->connection, bytes, len);
	if (rough && sim_chance(s, s->plan.twice, 1000000)) {
		sim_mark(s, MARK_FRAME_DOUBLED);
		post_frame(s, from->id, to, w->connection, bytes, len);
	}
}

void network_pump(struct sim *s, uint16_t from, uint16_t to)
{
	struct pipe *pipe = &s->pipe[from][to];

	while (pipe->head && pipe->head->at <= s->now_ns && !pipe->blocked) {
		struct parcel *p = pipe->head;

		pipe->head = p->next;
		if (!pipe->head)
			pipe->tail = NULL;
		p->next = NULL;
		host_receive(s, &s->host[to], p);
	}
	if (pipe->head && !pipe->blocked)
		pump_at(s, from, to, MAX(pipe->head->at, s->now_ns + 1));
}

void network_block(struct sim *s, uint16_t from, uint16_t to, int more)
{
	struct pipe *pipe = &s->pipe[from][to];

	pipe->blocked = (unsigned)((int)pipe->blocked + more);
	if (pipe->blocked || !pipe->head)
		return;
	if (s->now_ns > pipe->head->at + s->plan.leader_lease_ns)
		sim_mark(s, MARK_FRAME_LATE);
	pump_at(s, from, to, MAX(pipe->head->at, s->now_ns + s->plan.latency_ns + 1));
}

/* ---- connections ---- */

static void try_later(struct sim *s, uint16_t a, uint16_t b)
{
	sim_at(s, s->now_ns + sim_about(s, CONNECT_NS), (struct event){ .kind = EVENT_CONNECT, .a = MIN(a, b), .b = MAX(a, b) });
}

/* Observers do not talk to each other. */
void network_start(struct sim *s)
{
	for (uint16_t a = 1; a <= s->plan.voters; a++)
		for (uint16_t b = (uint16_t)(a + 1); b <= s->n_hosts; b++)
			try_later(s, a, b);
}

static void say_hello(struct sim *s, uint16_t from, uint16_t to, uint64_t connection)
{
	struct wire_hello hello = agent_hello(s->host[from].agent);
	int len;

	CHECK(s, hello.from == from, "host %u says hello as %u", from, hello.from);
	hello.to = to;
	len = wire_put_hello(s->frame, sizeof(s->frame), &hello);
	CHECK(s, len > 0, "a hello does not encode: %d", len);
	post(s, to, parcel_new(PARCEL_HELLO, from, connection, s->frame, (size_t)len), 0, true);
}

void network_connect(struct sim *s, uint16_t a, uint16_t b)
{
	struct wiring *w = wiring_of(s, a, b);
	const struct host *ha = &s->host[a], *hb = &s->host[b];

	if (w->stands)
		return;
	if (!ha->agent || !hb->agent || ha->paused_until > s->now_ns || hb->paused_until > s->now_ns ||
	    s->pipe[a][b].blocked || s->pipe[b][a].blocked) {
		try_later(s, a, b);
		return;
	}
	w->stands = true;
	w->connection++;
	say_hello(s, a, b, w->connection);
	say_hello(s, b, a, w->connection);
}

/* Cuts off what is behind a random point, and closes. */
static void cut(struct sim *s, uint16_t from, uint16_t to, uint64_t connection)
{
	struct pipe *pipe = &s->pipe[from][to];
	struct parcel **at = &pipe->head, *gone, *last = NULL;
	unsigned n = 0, keep;

	for (gone = pipe->head; gone; gone = gone->next)
		n++;
	keep = (unsigned)sim_pick(s, 0, n);
	/* What an older connection left stays: its end must be seen. */
	while (*at && (keep || (*at)->connection != connection)) {
		keep -= keep ? 1 : 0;
		last = *at;
		at = &(*at)->next;
	}
	while ((gone = *at)) {
		*at = gone->next;
		free(gone);
	}
	pipe->tail = last;
	pipe->last_at = last ? MAX(last->at, s->now_ns) : s->now_ns;
	post(s, to, parcel_new(PARCEL_END, from, connection, NULL, 0), 0, true);
}

void network_reset(struct sim *s, uint16_t a, uint16_t b)
{
	struct wiring *w = wiring_of(s, a, b);

	if (!w->stands)
		return;
	w->stands = false;
	cut(s, a, b, w->connection);
	cut(s, b, a, w->connection);
	try_later(s, a, b);
}

static void empty(struct pipe *pipe)
{
	struct parcel *p;

	while ((p = pipe->head)) {
		pipe->head = p->next;
		free(p);
	}
	pipe->tail = NULL;
}

/* What it sent arrives still, and then the end of its connections; what was sent to it is lost. */
void network_host_died(struct sim *s, struct host *h)
{
	for (uint16_t other = 1; other <= s->n_hosts; other++) {
		struct wiring *w = wiring_of(s, h->id, other);

		if (other == h->id)
			continue;
		empty(&s->pipe[other][h->id]);
		h->up[other] = 0;
		if (!w->stands)
			continue;
		w->stands = false;
		post(s, other, parcel_new(PARCEL_END, h->id, w->connection, NULL, 0), 0, true);
		try_later(s, h->id, other);
	}
}

void network_drop(struct sim *s)
{
	for (uint16_t a = 1; a <= s->n_hosts; a++)
		for (uint16_t b = 1; b <= s->n_hosts; b++)
			empty(&s->pipe[a][b]);
}
