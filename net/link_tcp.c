/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link_tcp: links over TCP. One connection for each peer, dialled by one side:
 *
 *     dialling side:   FREE -> DIALLING -> GREETING -> UP -> (BROKEN) -> FREE, and again after a pause
 *     accepting side:  FREE -> GREETING (a stranger)   -> UP -> (BROKEN) -> FREE
 *
 * The dialler says hello first. The other side reads it, answers with its own and is up; a hello that it
 * refuses it answers with one to nobody (`to` 0), so that both logs can say what does not fit. Nothing
 * else is sent before both hellos were read.
 *
 * Invariants: a peer's `connection` is its only one, DIALLING or later; a connection in state FREE has no
 * descriptor and no memory; `flying` belongs to the loop from loop_send() to SENT and is not touched;
 * the handler is called when the state is already what the event says.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <unistd.h>

#include "../lib/base.h"
#include "link_hello.h"
#include "stream.h"

#define DIAL_PAUSE_MIN_NS (5 * NS_PER_MS)
#define DIAL_PAUSE_MAX_NS NS_PER_S
#define SETTLED_NS (100 * NS_PER_MS) /* a link that lived that long is dialled again at once */
#define SILENCE_MS 3000              /* sent bytes without acknowledgement, or no life sign at all: the peer is gone */
#define FIRST_FRAME_MAX 256          /* a stranger gets no more memory than that */
#define REASON_MAX 256
#define LISTENER UINT32_MAX

enum phase { FREE,
	     DIALLING,
	     GREETING,
	     UP,
	     BROKEN };

struct connection {
	int fd;
	enum phase phase;
	bool dialled, dirty;
	uint16_t host;        /* 0: a stranger */
	uint64_t deadline_ns; /* for hello */
	uint64_t up_ns;
	struct stream in;
	struct stream_buffer filling, flying; /* queued; in the hands of the loop */
	char address[72];                     /* of the other end, for reasons */
	char broken[REASON_MAX];              /* why it is BROKEN */
};

struct peer {
	const struct link_peer *peer;
	struct connection *connection;
	uint64_t dial_at_ns, pause_ns;
};

struct links {
	struct loop *loop;
	struct link_config config;
	link_handler *handler;
	void *context;
	struct peer *peers;
	uint32_t *peer_of; /* host id -> place in peers + 1; n_hosts of them */
	unsigned n_hosts;
	struct connection *connections; /* one for each peer, and the strangers */
	uint32_t n_connections, strangers;
	uint32_t *dirty; /* connections with something queued */
	uint32_t n_dirty;
	uint64_t next_ns; /* nothing is due before */
};

/* ---- small things ---- */

static struct peer *find_peer(const struct links *ls, uint16_t host)
{
	return host < ls->n_hosts && ls->peer_of[host] ? &ls->peers[ls->peer_of[host] - 1] : NULL;
}

static struct connection *find_up(const struct links *ls, uint16_t host)
{
	struct peer *p = find_peer(ls, host);

	return p && p->connection && p->connection->phase == UP ? p->connection : NULL;
}

static uint64_t tag_of(const struct links *ls, const struct connection *c)
{
	return LINK_TAG << 56 | (uint64_t)(c - ls->connections);
}

static void name_address(char *ret, size_t cap, const struct sockaddr_storage *address, socklen_t len)
{
	char host[48], port[8];

	if (getnameinfo((const struct sockaddr *)address, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		snprintf(ret, cap, "an unknown address");
	else
		snprintf(ret, cap, address->ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

/* Frames leave at once, and a host that vanished without a word is noticed. Without these a link only works worse. */
static void tune(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, SILENCE_MS },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, 2 },
		{ IPPROTO_TCP, TCP_KEEPINTVL, 1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		(void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(options[i].value));
}

/* ---- the life of a connection ---- */

static struct connection *begin(struct links *ls, int fd, enum phase phase, uint64_t now_ns)
{
	struct connection *c = ls->connections, *end = c + ls->n_connections;

	while (c < end && c->phase != FREE)
		c++;
	ASSERT(c < end); /* one for each peer and each stranger */
	*c = (struct connection){
		.fd = fd,
		.phase = phase,
		.dirty = c->dirty,
		.dialled = phase == DIALLING,
		.deadline_ns = now_ns + LINK_HELLO_MS * NS_PER_MS,
	};
	ls->strangers += !c->dialled;
	ls->next_ns = MIN(ls->next_ns, c->deadline_ns);
	tune(fd);
	return c;
}

static void free_connection(struct links *ls, struct connection *c)
{
	loop_forget(ls->loop, c->fd);
	close(c->fd);
	stream_release(&c->in.part);
	stream_release(&c->filling);
	stream_release(&c->flying);
	c->phase = FREE;
	c->fd = -1;
}

/* The dialling side tries again: at once when a link that lived was lost, else after a growing pause. */
static void plan_dial(struct links *ls, struct peer *p, uint64_t up_for_ns, uint64_t now_ns)
{
	p->connection = NULL;
	if (up_for_ns >= SETTLED_NS) {
		p->pause_ns = DIAL_PAUSE_MIN_NS;
		p->dial_at_ns = now_ns;
	} else {
		p->dial_at_ns = now_ns + p->pause_ns;
		p->pause_ns = MIN(p->pause_ns * 2, DIAL_PAUSE_MAX_NS);
	}
	if (p->peer->dial)
		ls->next_ns = MIN(ls->next_ns, p->dial_at_ns);
}

static void tell_refused(struct links *ls, uint16_t host, const char *reason)
{
	struct link_event event = { .kind = LINK_REFUSED, .host = host, .reason = reason };

	ls->handler(ls->context, &event);
}

/* Closes a connection and says so: DOWN when it was up, else REFUSED. */
__attribute__((format(printf, 4, 5))) static void end(struct links *ls, struct connection *c, uint64_t now_ns, const char *format, ...)
{
	bool was_up = c->phase == UP || c->phase == BROKEN;
	struct peer *p = find_peer(ls, c->host);
	struct link_event event = { .kind = was_up ? LINK_DOWN : LINK_REFUSED, .host = c->host };
	char reason[REASON_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	if (c->phase == BROKEN)
		memcpy(reason, c->broken, sizeof(reason));
	event.reason = reason;

	ls->strangers -= c->phase == GREETING && !c->dialled;
	free_connection(ls, c);
	if (p && p->connection == c)
		plan_dial(ls, p, was_up ? now_ns - c->up_ns : 0, now_ns);
	ls->handler(ls->context, &event);
}

/* From where the handler may not be called: the end of the stream comes back through the loop. */
static void break_link(struct connection *c, const char *reason)
{
	ASSERT(c->phase == UP);
	c->phase = BROKEN;
	snprintf(c->broken, sizeof(c->broken), "%s", reason);
	(void)shutdown(c->fd, SHUT_RDWR);
}

/* ---- out ---- */

static bool enqueue(struct links *ls, struct connection *c, const void *frame, size_t len)
{
	if (!stream_append(&c->filling, frame, len))
		return false;
	if (!c->dirty)
		ls->dirty[ls->n_dirty++] = (uint32_t)(c - ls->connections);
	c->dirty = true;
	return true;
}

static bool say_hello(struct links *ls, struct connection *c, uint16_t to)
{
	unsigned char frame[WIRE_HELLO_SIZE];
	struct wire_hello hello = ls->config.hello;
	int len;

	hello.to = to;
	len = wire_put_hello(frame, sizeof(frame), &hello);
	ASSERT(len == WIRE_HELLO_SIZE);
	return enqueue(ls, c, frame, (size_t)len);
}

/* The last thing on a connection that is closed right behind it. A fresh socket has room for it. */
static void say_refused(struct links *ls, struct connection *c)
{
	unsigned char frame[WIRE_HELLO_SIZE];
	struct wire_hello hello = ls->config.hello;

	hello.to = 0;
	(void)wire_put_hello(frame, sizeof(frame), &hello);
	(void)send(c->fd, frame, sizeof(frame), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* What the socket takes at once is gone without the loop: to hear of its completion would cost a turn. An error is
 * met again by the loop, which tells of it when the handler may be called. */
static size_t send_now(const struct connection *c)
{
	ssize_t n = send(c->fd, c->filling.bytes, c->filling.len, MSG_NOSIGNAL | MSG_DONTWAIT);

	return n < 0 ? 0 : (size_t)n;
}

static void fly(struct links *ls, struct connection *c)
{
	struct stream_buffer queued = c->filling;
	size_t sent;

	if (c->flying.len || !queued.len)
		return;
	sent = send_now(c);
	if (sent == queued.len) {
		stream_empty(&c->filling);
		return;
	}
	if (loop_send(ls->loop, c->fd, queued.bytes + sent, queued.len - sent, tag_of(ls, c)) < 0) {
		/* Out of memory: the rest stays queued, and the backlog or the silence ends the link. */
		memmove(queued.bytes, queued.bytes + sent, queued.len - sent);
		c->filling.len -= sent;
		return;
	}
	c->filling = c->flying;
	c->flying = queued;
}

int links_send(struct links *ls, uint16_t host, const void *frame, size_t len)
{
	struct connection *c = find_up(ls, host);

	ASSERT(len >= WIRE_HEADER && len <= WIRE_FRAME_MAX);
	if (!c)
		return -ENOTCONN;
	if (c->filling.len + c->flying.len + len <= LINK_BACKLOG && enqueue(ls, c, frame, len))
		return 0;
	break_link(c, "it takes what we send too slowly or not at all: the backlog is full");
	return -ENOBUFS;
}

void links_flush(struct links *ls)
{
	for (uint32_t i = 0; i < ls->n_dirty; i++) {
		struct connection *c = &ls->connections[ls->dirty[i]];

		c->dirty = false;
		if (c->phase == GREETING || c->phase == UP)
			fly(ls, c);
	}
	ls->n_dirty = 0;
}

static void on_sent(struct links *ls, struct connection *c, int result, uint64_t now_ns)
{
	if (result < 0) {
		end(ls, c, now_ns, "sending failed: %s", strerror(-result));
		return;
	}
	stream_empty(&c->flying);
	if (c->phase == GREETING || c->phase == UP)
		fly(ls, c);
}

/* ---- hello ---- */

static void greeted(struct links *ls, struct connection *c, const unsigned char *frame, size_t len, uint64_t now_ns)
{
	struct wire_hello hello;
	struct link_event event = { .kind = LINK_UP, .hello = &hello };
	const char *wrong;
	struct peer *p;

	if (wire_type_of(frame) != WIRE_HELLO || wire_get_hello(frame, len, &hello) < 0) {
		end(ls, c, now_ns, "%s: no hello of a paxshm agent", c->address);
		return;
	}
	p = find_peer(ls, hello.from);
	wrong = link_misfit(&ls->config.hello, &hello, p ? p->peer : NULL, c->dialled ? c->host : 0);
	if (wrong) {
		if (!c->dialled)
			say_refused(ls, c);
		if (!c->dialled && p && hello.cluster_id == ls->config.hello.cluster_id)
			c->host = hello.from;
		end(ls, c, now_ns, "%s: %s", c->address, wrong);
		return;
	}
	ASSERT(p); /* whom the configuration does not know was a misfit */
	if (!c->dialled && !say_hello(ls, c, hello.from)) {
		end(ls, c, now_ns, "%s: out of memory", c->address);
		return;
	}
	if (p->connection && p->connection != c)
		end(ls, p->connection, now_ns, "it connected anew");
	ls->strangers -= !c->dialled;
	p->connection = c;
	c->host = event.host = hello.from;
	c->phase = UP;
	c->up_ns = now_ns;
	ls->handler(ls->context, &event);
}

/* ---- in ---- */

static void take_frame(struct links *ls, struct connection *c, const unsigned char *frame, size_t len, uint64_t now_ns)
{
	struct link_event event = { .kind = LINK_FRAME, .host = c->host, .frame = frame, .len = len };

	if (c->phase == GREETING)
		greeted(ls, c, frame, len, now_ns);
	else if (wire_type_of(frame) == WIRE_HELLO)
		end(ls, c, now_ns, "it said hello twice");
	else
		ls->handler(ls->context, &event);
}

/* What came is no frame: says why, and closes. */
static void no_frame(struct links *ls, struct connection *c, int error, const unsigned char *header, uint64_t now_ns)
{
	if (error == -ENOMEM)
		end(ls, c, now_ns, "%s: out of memory", c->address);
	else if (error == -EPROTO)
		end(ls, c, now_ns, "%s speaks version %u of the protocol, we speak %u to %u: upgrade the older agent",
		    c->address, header[WIRE_HEADER - 2], WIRE_VERSION_OLDEST, WIRE_VERSION);
	else if (c->phase == GREETING)
		end(ls, c, now_ns, "%s: no hello of a paxshm agent", c->address);
	else
		end(ls, c, now_ns, "it sent a frame of a length that is not possible");
}

static void on_bytes(struct links *ls, struct connection *c, const unsigned char *bytes, size_t len, uint64_t now_ns)
{
	const unsigned char *frame = NULL;

	/* A handler may drop the link, and what follows then counts no more. */
	while (c->phase == GREETING || c->phase == UP) {
		size_t max = c->phase == UP ? WIRE_FRAME_MAX : FIRST_FRAME_MAX;
		int whole = stream_next(&c->in, &bytes, &len, max, &frame);

		if (whole == 0)
			return;
		if (whole < 0)
			no_frame(ls, c, whole, frame, now_ns);
		else
			take_frame(ls, c, frame, (size_t)whole, now_ns);
	}
}

static void on_received(struct links *ls, struct connection *c, const struct loop_event *event, uint64_t now_ns)
{
	if (event->result > 0)
		on_bytes(ls, c, event->bytes, (size_t)event->result, now_ns);
	else if (c->phase == UP || c->phase == BROKEN)
		end(ls, c, now_ns, "%s", event->result ? strerror(-event->result) : "the other side closed the connection");
	else if (event->result)
		end(ls, c, now_ns, "%s: %s before hello", c->address, strerror(-event->result));
	else
		end(ls, c, now_ns, "%s closed the connection before it said hello", c->address);
}

/* ---- connecting and being connected to ---- */

static void on_accepted(struct links *ls, int result, uint64_t now_ns)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	struct connection *c;
	char reason[REASON_MAX];

	if (result < 0) {
		snprintf(reason, sizeof(reason), "cannot accept connections: %s%s", strerror(-result),
			 result == -EMFILE ? ": raise the limit of open files (LimitNOFILE=)" : "");
		tell_refused(ls, 0, reason);
		return;
	}
	if (ls->strangers == LINK_STRANGERS) {
		close(result);
		tell_refused(ls, 0, "too many connections at once that have not said hello");
		return;
	}
	c = begin(ls, result, GREETING, now_ns);
	if (getpeername(c->fd, (struct sockaddr *)&address, &len) < 0)
		len = 0;
	name_address(c->address, sizeof(c->address), &address, len);
	if (loop_receive(ls->loop, c->fd, tag_of(ls, c)) < 0)
		end(ls, c, now_ns, "%s: out of memory", c->address);
}

static void on_connected(struct links *ls, struct connection *c, int result, uint64_t now_ns)
{
	if (result == -ECONNREFUSED) {
		end(ls, c, now_ns, "nobody listens at %s: is paxshmd running there?", c->address);
		return;
	}
	if (result < 0) {
		end(ls, c, now_ns, "cannot connect to %s: %s", c->address, strerror(-result));
		return;
	}
	c->phase = GREETING;
	if (loop_receive(ls->loop, c->fd, tag_of(ls, c)) < 0 || !say_hello(ls, c, c->host))
		end(ls, c, now_ns, "%s: out of memory", c->address);
}

static void dial(struct links *ls, struct peer *p, uint64_t now_ns)
{
	const struct sockaddr *address = (const struct sockaddr *)&p->peer->address;
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc;
	char reason[REASON_MAX];
	struct connection *c;

	if (fd < 0) {
		snprintf(reason, sizeof(reason), "cannot connect: %s", strerror(errno));
		plan_dial(ls, p, 0, now_ns);
		tell_refused(ls, p->peer->host, reason);
		return;
	}
	c = p->connection = begin(ls, fd, DIALLING, now_ns);
	c->host = p->peer->host;
	name_address(c->address, sizeof(c->address), &p->peer->address, p->peer->address_len);
	rc = loop_connect(ls->loop, fd, address, p->peer->address_len, tag_of(ls, c));
	if (rc < 0)
		end(ls, c, now_ns, "cannot connect to %s: %s", c->address, strerror(-rc));
}

/* ---- time ---- */

static void end_silent(struct links *ls, struct connection *c, uint64_t now_ns)
{
	if (c->phase == DIALLING)
		end(ls, c, now_ns, "%s does not answer", c->address);
	else
		end(ls, c, now_ns, "%s said no hello within %u ms", c->address, LINK_HELLO_MS);
}

uint64_t links_tick(struct links *ls, uint64_t now_ns)
{
	if (now_ns < ls->next_ns)
		return ls->next_ns;
	ls->next_ns = NEVER;
	for (uint32_t i = 0; i < ls->n_connections; i++) {
		struct connection *c = &ls->connections[i];

		if (c->phase != DIALLING && c->phase != GREETING)
			continue;
		if (c->deadline_ns <= now_ns)
			end_silent(ls, c, now_ns);
		else
			ls->next_ns = MIN(ls->next_ns, c->deadline_ns);
	}
	for (unsigned i = 0; i < ls->config.n_peers; i++) {
		struct peer *p = &ls->peers[i];

		if (!p->peer->dial || p->connection)
			continue;
		if (p->dial_at_ns <= now_ns)
			dial(ls, p, now_ns);
		else
			ls->next_ns = MIN(ls->next_ns, p->dial_at_ns);
	}
	return ls->next_ns;
}

void links_event(struct links *ls, const struct loop_event *event, uint64_t now_ns)
{
	uint32_t slot = (uint32_t)event->tag;
	struct connection *c;

	ASSERT(event->tag >> 56 == LINK_TAG);
	if (slot == LISTENER) {
		on_accepted(ls, event->result, now_ns);
		return;
	}
	ASSERT(slot < ls->n_connections);
	c = &ls->connections[slot];
	ASSERT(c->phase != FREE); /* the loop keeps quiet about what was forgotten */
	switch (event->kind) {
	case LOOP_CONNECTED:
		on_connected(ls, c, event->result, now_ns);
		break;
	case LOOP_RECEIVED:
		on_received(ls, c, event, now_ns);
		break;
	case LOOP_SENT:
		on_sent(ls, c, event->result, now_ns);
		break;
	default:
		ASSERT(event->kind == LOOP_SENT);
	}
}

/* ---- all of them ---- */

bool links_is_up(const struct links *ls, uint16_t host)
{
	return find_up(ls, host) != NULL;
}

void links_drop(struct links *ls, uint16_t host, const char *reason)
{
	struct connection *c = find_up(ls, host);

	if (c)
		break_link(c, reason);
}

void links_set_hello(struct links *ls, const struct wire_hello *hello)
{
	ls->config.hello = *hello;
}

static int index_peers(struct links *ls)
{
	for (unsigned i = 0; i < ls->config.n_peers; i++) {
		const struct link_peer *peer = &ls->config.peers[i];

		if (peer->host == 0 || peer->host == ls->config.hello.from || ls->peer_of[peer->host])
			return -EINVAL;
		ls->peer_of[peer->host] = i + 1;
		ls->peers[i] = (struct peer){ .peer = peer, .pause_ns = DIAL_PAUSE_MIN_NS };
	}
	return 0;
}

int links_open(struct links **ret, struct loop *loop, const struct link_config *config, link_handler *handler, void *context)
{
	struct links *ls = calloc(1, sizeof(*ls));
	int rc = -ENOMEM;

	if (!ls)
		return -ENOMEM;
	*ls = (struct links){ .loop = loop, .config = *config, .handler = handler, .context = context };
	ls->config.listen_fd = -1; /* not watched yet */
	for (unsigned i = 0; i < config->n_peers; i++)
		ls->n_hosts = MAX(ls->n_hosts, config->peers[i].host + 1u);
	ls->n_connections = config->n_peers + LINK_STRANGERS;
	ls->peers = calloc(config->n_peers + 1, sizeof(*ls->peers));
	ls->peer_of = calloc(ls->n_hosts + 1, sizeof(*ls->peer_of));
	ls->dirty = calloc(ls->n_connections, sizeof(*ls->dirty));
	ls->connections = calloc(ls->n_connections, sizeof(*ls->connections));
	if (ls->peers && ls->peer_of && ls->dirty && ls->connections)
		rc = index_peers(ls);
	if (rc == 0 && config->listen_fd >= 0)
		rc = loop_accept(loop, config->listen_fd, LINK_TAG << 56 | LISTENER);
	if (rc < 0) {
		links_close(ls);
		return rc;
	}
	ls->config.listen_fd = config->listen_fd;
	*ret = ls;
	return 0;
}

void links_close(struct links *ls)
{
	if (!ls)
		return;
	for (uint32_t i = 0; ls->connections && i < ls->n_connections; i++)
		if (ls->connections[i].phase != FREE)
			free_connection(ls, &ls->connections[i]);
	if (ls->config.listen_fd >= 0)
		loop_forget(ls->loop, ls->config.listen_fd);
	free(ls->connections);
	free(ls->dirty);
	free(ls->peer_of);
	free(ls->peers);
	free(ls);
}
