/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link_tcp: agents find each other, refuse who does not fit, and lose nobody silently. Time is the
 * test's own where it matters: `skew_ns` is added to the clock that the links see.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "../../net/link.h"
#include "../../net/loop_engine.h"

#define EACH_ENGINE(test)                                                     \
	ParameterizedTestParameters(link_tcp, test)                           \
	{                                                                     \
		static int engines[] = { LOOP_URING, LOOP_EPOLL };            \
		return cr_make_param_array(int, engines, ARRAY_LEN(engines)); \
	}                                                                     \
	ParameterizedTest(int *engine, link_tcp, test)

/* ---- a node: loop, links, and what they told ---- */

struct told {
	enum link_event_kind kind;
	uint16_t host;
	char reason[256];
	struct wire_hello hello;
	size_t len;
	uint64_t hash; /* of the frame */
};

struct node {
	struct loop *loop;
	struct links *links;
	struct link_config config;
	struct link_peer peers[2];
	struct sockaddr_in address;
	uint64_t skew_ns;
	unsigned n_told;
	struct told told[4096];
	const char *drop_at_frame; /* the handler drops the link at the next frame, for this reason */
};

static struct node a, b; /* hosts 1 and 2; b dials a */

static uint64_t node_now_ns(const struct node *n) { return loop_now_ns() + n->skew_ns; }

static void on_link(void *context, const struct link_event *event)
{
	struct node *n = context;
	struct told *told = &n->told[n->n_told++];

	cr_assert_lt(n->n_told, ARRAY_LEN(n->told));
	told->kind = event->kind;
	told->host = event->host;
	if (event->reason)
		snprintf(told->reason, sizeof(told->reason), "%s", event->reason);
	if (event->hello)
		told->hello = *event->hello;
	told->len = event->len;
	if (event->frame)
		told->hash = hash_bytes(0, event->frame, event->len);
	if (event->kind == LINK_UP)
		cr_assert(links_is_up(n->links, event->host));
	if (event->kind == LINK_DOWN)
		cr_assert_not(links_is_up(n->links, event->host));
	if (event->kind == LINK_FRAME && n->drop_at_frame)
		links_drop(n->links, event->host, n->drop_at_frame);
}

static void on_loop(void *context, const struct loop_event *event)
{
	struct node *n = context;

	links_event(n->links, event, node_now_ns(n));
}

/* A turn as the reactor makes it. */
static void turn(struct node *n, uint64_t wait_ms)
{
	uint64_t now_ns = node_now_ns(n), next_ns = links_tick(n->links, now_ns);
	uint64_t deadline_ns = MIN(next_ns, now_ns + wait_ms * NS_PER_MS);

	links_flush(n->links);
	cr_assert_eq(loop_turn(n->loop, deadline_ns <= n->skew_ns ? 0 : deadline_ns - n->skew_ns, on_loop, n), 0);
}

#define TURN_UNTIL(holds)                                                  \
	do {                                                               \
		uint64_t until_ns = loop_now_ns() + 10 * NS_PER_S;         \
		while (!(holds) && loop_now_ns() < until_ns) {             \
			turn(&a, 2);                                       \
			if (b.links)                                       \
				turn(&b, 2);                               \
		}                                                          \
		cr_assert(holds);                                          \
	} while (0)

static void settle(void)
{
	for (int i = 0; i < 5; i++) {
		turn(&a, 2);
		if (b.links)
			turn(&b, 2);
	}
}

static unsigned count(const struct node *n, enum link_event_kind kind)
{
	unsigned found = 0;

	for (unsigned i = 0; i < n->n_told; i++)
		found += n->told[i].kind == kind;
	return found;
}

static const struct told *last(const struct node *n, enum link_event_kind kind)
{
	for (unsigned i = n->n_told; i-- > 0;)
		if (n->told[i].kind == kind)
			return &n->told[i];
	cr_assert_fail("nothing of kind %d was told", kind);
	return NULL;
}

#define EXPECT_REASON(node, kind, words)                                                           \
	cr_expect(strstr(last(node, kind)->reason, words), "\"%s\" is not in the reason: %s", words, \
		  last(node, kind)->reason)

static int listen_somewhere(struct sockaddr_in *ret)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*ret);

	*ret = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	cr_assert_eq(bind(fd, (struct sockaddr *)ret, len), 0);
	cr_assert_eq(listen(fd, 128), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)ret, &len), 0);
	return fd;
}

static const struct wire_hello hello_of_cluster = { .cluster_id = 10, .voters_id = 30, .votes = true, .nonce = 40 };

static void prepare(struct node *n, uint16_t host)
{
	n->config.hello = hello_of_cluster;
	n->config.hello.from = host;
	n->config.listen_fd = listen_somewhere(&n->address);
	n->config.peers = n->peers;
	n->config.n_peers = 1;
	n->peers[0] = (struct link_peer){ .host = (uint16_t)(3 - host) };
}

static void set_address(struct link_peer *peer, const struct sockaddr_in *address)
{
	memcpy(&peer->address, address, sizeof(*address));
	peer->address_len = sizeof(*address);
	peer->dial = true;
}

static void begin(struct node *n, int engine)
{
	const char *why;
	int rc = loop_open(&n->loop, (enum loop_engine)engine, &why);

	if (rc == -ENOSYS)
		cr_skip_test("%s", why);
	cr_assert_eq(rc, 0);
	cr_assert_eq(links_open(&n->links, n->loop, &n->config, on_link, n), 0);
}

/* a listens, b dials it. */
static void prepare_both(void)
{
	prepare(&a, 1);
	prepare(&b, 2);
	set_address(&b.peers[0], &a.address);
}

static void begin_both(int engine)
{
	begin(&a, engine);
	begin(&b, engine);
}

static void begin_linked(int engine)
{
	prepare_both();
	begin_both(engine);
	TURN_UNTIL(links_is_up(a.links, 2) && links_is_up(b.links, 1));
}

static void end(void)
{
	struct node *both[] = { &a, &b };

	for (size_t i = 0; i < ARRAY_LEN(both); i++) {
		links_close(both[i]->links);
		loop_close(both[i]->loop);
	}
}

/* ---- a peer made of a bare socket ---- */

static int connect_bare(const struct node *n)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	cr_assert_geq(fd, 0);
	cr_assert_eq(connect(fd, (const struct sockaddr *)&n->address, sizeof(n->address)), 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static struct wire_hello good_hello(void)
{
	struct wire_hello hello = hello_of_cluster;

	hello.from = 2;
	hello.to = 1;
	return hello;
}

static void write_all(int fd, const void *bytes, size_t len)
{
	cr_assert_eq(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void write_hello(int fd, const struct wire_hello *hello)
{
	unsigned char frame[WIRE_HELLO_SIZE];

	cr_assert_eq(wire_put_hello(frame, sizeof(frame), hello), WIRE_HELLO_SIZE);
	write_all(fd, frame, sizeof(frame));
}

/* The hello that the other side answers, while both nodes turn. */
static struct wire_hello read_hello(int fd)
{
	unsigned char frame[WIRE_HELLO_SIZE];
	struct wire_hello hello;
	size_t got = 0;

	for (int i = 0; got < sizeof(frame) && i < 2000; i++) {
		ssize_t n = recv(fd, frame + got, sizeof(frame) - got, MSG_DONTWAIT);

		cr_assert(n != 0 && (n > 0 || errno == EAGAIN), "closed without a hello");
		got += n > 0 ? (size_t)n : 0;
		turn(&a, 1);
	}
	cr_assert_eq(got, sizeof(frame));
	cr_assert_eq(wire_get_hello(frame, sizeof(frame), &hello), 0);
	return hello;
}

static bool is_closed(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno != EAGAIN);
}

/* a alone, and host 2 as a bare socket that is up. */
static int begin_with_bare_peer(int engine)
{
	struct wire_hello hello = good_hello();
	int fd;

	prepare(&a, 1);
	begin(&a, engine);
	fd = connect_bare(&a);
	write_hello(fd, &hello);
	cr_assert_eq(read_hello(fd).to, 2);
	TURN_UNTIL(links_is_up(a.links, 2));
	return fd;
}

/* An agent frame with `len` bytes of payload that only `seed` decides. */
static unsigned char frame[WIRE_FRAME_MAX];

static size_t make_frame(size_t len, uint64_t seed)
{
	static unsigned char payload[WIRE_FRAME_MAX];
	int whole;

	for (size_t i = 0; i + 8 <= len; i += 8) {
		uint64_t word = random_next(&seed);
		memcpy(payload + i, &word, 8);
	}
	whole = wire_put_agent(frame, sizeof(frame), payload, len);
	cr_assert_gt(whole, 0);
	return (size_t)whole;
}

/* ---- up ---- */

Test(link_tcp, configurations_that_cannot_be_are_refused)
{
	struct links *untouched = (struct links *)1, *ls = untouched;

	prepare(&a, 1);
	cr_assert_eq(loop_open(&a.loop, LOOP_EPOLL, NULL), 0);
	a.peers[0].host = 1;
	cr_expect_eq(links_open(&ls, a.loop, &a.config, on_link, &a), -EINVAL, "ourselves");
	a.peers[0].host = 0;
	cr_expect_eq(links_open(&ls, a.loop, &a.config, on_link, &a), -EINVAL, "nobody");
	a.peers[0].host = a.peers[1].host = 7;
	a.config.n_peers = 2;
	cr_expect_eq(links_open(&ls, a.loop, &a.config, on_link, &a), -EINVAL, "twice");
	cr_expect_eq(ls, untouched);
	links_close(NULL);
	loop_close(a.loop);
}

EACH_ENGINE(both_sides_come_up_and_learn_each_others_hello)
{
	prepare_both();
	b.config.hello.nonce = 99;
	b.config.hello.votes = false;
	b.config.hello.history = 5; /* the other has none yet */
	begin_both(*engine);
	cr_expect_not(links_is_up(a.links, 2));
	cr_expect_not(links_is_up(a.links, 9));
	TURN_UNTIL(count(&a, LINK_UP) && count(&b, LINK_UP));
	cr_expect_eq(last(&a, LINK_UP)->host, 2);
	cr_expect_eq(last(&a, LINK_UP)->hello.nonce, 99);
	cr_expect_eq(last(&a, LINK_UP)->hello.votes, false);
	cr_expect_eq(last(&a, LINK_UP)->hello.history, 5);
	cr_expect_eq(last(&b, LINK_UP)->host, 1);
	cr_expect_eq(last(&b, LINK_UP)->hello.nonce, 40);
	settle();
	cr_expect_eq(a.n_told + b.n_told, 2, "up once, and nothing else");
	end();
}

EACH_ENGINE(frames_arrive_in_order_both_ways)
{
	uint64_t hashes[64];
	unsigned seen[2] = { 0, 0 };

	begin_linked(*engine);
	for (unsigned i = 0; i < ARRAY_LEN(hashes); i++) {
		size_t len = make_frame(i * 37 % 1000, i);

		hashes[i] = hash_bytes(0, frame, len);
		cr_assert_eq(links_send(a.links, 2, frame, len), 0);
		cr_assert_eq(links_send(b.links, 1, frame, len), 0);
		if (i % 5 == 0)
			settle();
	}
	TURN_UNTIL(count(&a, LINK_FRAME) == ARRAY_LEN(hashes) && count(&b, LINK_FRAME) == ARRAY_LEN(hashes));
	for (unsigned i = 0; i < a.n_told; i++)
		if (a.told[i].kind == LINK_FRAME)
			cr_expect_eq(a.told[i].hash, hashes[seen[0]++]);
	for (unsigned i = 0; i < b.n_told; i++)
		if (b.told[i].kind == LINK_FRAME)
			cr_expect_eq(b.told[i].hash, hashes[seen[1]++]);
	end();
}

EACH_ENGINE(large_frames_both_ways_at_once_arrive_whole)
{
	enum { FRAMES = 7 };
	uint64_t hash = 0;

	begin_linked(*engine);
	for (int i = 0; i < FRAMES; i++) {
		size_t len = make_frame(WIRE_FRAME_MAX - WIRE_HEADER, 1);

		hash = hash_bytes(0, frame, len);
		cr_assert_eq(links_send(a.links, 2, frame, len), 0);
		cr_assert_eq(links_send(b.links, 1, frame, len), 0);
	}
	TURN_UNTIL(count(&a, LINK_FRAME) == FRAMES && count(&b, LINK_FRAME) == FRAMES);
	cr_expect_eq(last(&a, LINK_FRAME)->hash, hash);
	cr_expect_eq(last(&b, LINK_FRAME)->hash, hash);
	cr_expect_eq(count(&a, LINK_DOWN), 0);
	end();
}

EACH_ENGINE(what_is_sent_in_one_turn_is_one_send)
{
	struct loop_counts before;
	unsigned sent;

	begin_linked(*engine);
	settle();
	before = loop_counts(b.loop);
	for (int i = 0; i < 10; i++)
		cr_assert_eq(links_send(b.links, 1, frame, make_frame(64, 1)), 0);
	TURN_UNTIL(count(&a, LINK_FRAME) == 10);
	sent = (unsigned)(loop_counts(b.loop).events - before.events);
	cr_expect_eq(sent, 1, "one SENT for all");
	end();
}

EACH_ENGINE(hello_and_frames_may_come_byte_by_byte)
{
	unsigned char bytes[1024];
	struct wire_hello hello = good_hello();
	size_t len = WIRE_HELLO_SIZE;
	int fd;

	prepare(&a, 1);
	begin(&a, *engine);
	cr_assert_eq(wire_put_hello(bytes, sizeof(bytes), &hello), WIRE_HELLO_SIZE);
	for (size_t i = 0; i < 3; i++) {
		size_t whole = make_frame(i * 8, i);

		memcpy(bytes + len, frame, whole);
		len += whole;
	}
	fd = connect_bare(&a);
	for (size_t i = 0; i < len; i++) {
		write_all(fd, bytes + i, 1);
		turn(&a, 1);
	}
	TURN_UNTIL(count(&a, LINK_FRAME) == 3);
	cr_expect_eq(last(&a, LINK_FRAME)->hash, hash_bytes(0, frame, make_frame(16, 2)));
	end();
}

EACH_ENGINE(hello_and_frames_may_come_all_in_one)
{
	unsigned char bytes[4096];
	struct wire_hello hello = good_hello();
	size_t len = WIRE_HELLO_SIZE, whole = make_frame(24, 4);
	int fd;

	prepare(&a, 1);
	begin(&a, *engine);
	cr_assert_eq(wire_put_hello(bytes, sizeof(bytes), &hello), WIRE_HELLO_SIZE);
	for (int i = 0; i < 20; i++, len += whole)
		memcpy(bytes + len, frame, whole);
	fd = connect_bare(&a);
	write_all(fd, bytes, len + whole / 2 - whole); /* the last one is cut */
	TURN_UNTIL(count(&a, LINK_FRAME) == 19);
	settle();
	cr_expect_eq(count(&a, LINK_FRAME), 19);
	write_all(fd, bytes + len + whole / 2 - whole, whole - whole / 2);
	TURN_UNTIL(count(&a, LINK_FRAME) == 20);
	cr_expect_eq(last(&a, LINK_FRAME)->hash, hash_bytes(0, frame, whole));
	end();
}

EACH_ENGINE(nothing_is_sent_before_hello)
{
	char bytes[256];

	prepare_both();
	close(a.config.listen_fd);
	a.config.listen_fd = listen_somewhere(&a.address);
	set_address(&b.peers[0], &a.address);
	begin(&b, *engine);
	cr_expect_eq(links_send(b.links, 1, frame, make_frame(8, 1)), -ENOTCONN);
	turn(&b, 2);
	turn(&b, 2);
	turn(&b, 2);
	cr_expect_eq(links_send(b.links, 1, frame, make_frame(8, 1)), -ENOTCONN);
	cr_expect_eq(recv(accept(a.config.listen_fd, NULL, NULL), bytes, sizeof(bytes), 0), WIRE_HELLO_SIZE);
	cr_expect_eq(links_send(b.links, 77, frame, make_frame(8, 1)), -ENOTCONN);
	links_close(b.links);
	loop_close(b.loop);
}

EACH_ENGINE(a_new_hello_is_said_by_later_connections)
{
	struct wire_hello changed;
	int fd = begin_with_bare_peer(*engine);

	changed = a.config.hello;
	changed.history = 1234;
	links_set_hello(a.links, &changed);
	close(fd);
	fd = connect_bare(&a);
	changed = good_hello();
	write_hello(fd, &changed);
	cr_expect_eq(read_hello(fd).history, 1234);
	end();
}

/* ---- refused ---- */

struct misfit {
	const char *words; /* of the reason */
	uint16_t host;     /* told with it */
	void (*spoil)(struct wire_hello *hello);
};

static void other_cluster(struct wire_hello *h) { h->cluster_id = 11; }
static void other_history(struct wire_hello *h) { h->history = 21; }
static void other_voters(struct wire_hello *h) { h->voters_id = 31; }
static void other_target(struct wire_hello *h) { h->to = 3; }
static void no_target(struct wire_hello *h) { h->to = 0; }
static void unknown_sender(struct wire_hello *h) { h->from = 5; }
static void our_own_id(struct wire_hello *h) { h->from = 1; }

static const struct misfit misfits[] = {
	{ "another cluster", 0, other_cluster },
	{ "another history", 2, other_history },
	{ "list of voters", 2, other_voters },
	{ "took us for another host", 2, other_target },
	{ "refused", 2, no_target },
	{ "not in our configuration", 0, unknown_sender },
	{ "not in our configuration", 0, our_own_id },
};

EACH_ENGINE(who_does_not_fit_is_refused_and_told_so)
{
	prepare(&a, 1);
	a.config.hello.history = 20;
	begin(&a, *engine);
	for (size_t i = 0; i < ARRAY_LEN(misfits); i++) {
		struct wire_hello hello = good_hello();
		int fd = connect_bare(&a);

		misfits[i].spoil(&hello);
		write_hello(fd, &hello);
		TURN_UNTIL(count(&a, LINK_REFUSED) == i + 1);
		EXPECT_REASON(&a, LINK_REFUSED, misfits[i].words);
		EXPECT_REASON(&a, LINK_REFUSED, "127.0.0.1:");
		cr_expect_eq(last(&a, LINK_REFUSED)->host, misfits[i].host, "%s", misfits[i].words);
		cr_expect_eq(read_hello(fd).to, 0, "refused, in its words");
		cr_expect(is_closed(fd));
		close(fd);
	}
	cr_expect_eq(count(&a, LINK_UP), 0);
	end();
}

EACH_ENGINE(both_sides_say_that_the_clusters_differ)
{
	prepare_both();
	b.config.hello.cluster_id = 11;
	begin_both(*engine);
	TURN_UNTIL(count(&a, LINK_REFUSED) && count(&b, LINK_REFUSED));
	EXPECT_REASON(&a, LINK_REFUSED, "another cluster");
	EXPECT_REASON(&b, LINK_REFUSED, "another cluster");
	cr_expect_eq(last(&b, LINK_REFUSED)->host, 1);
	cr_expect_eq(count(&a, LINK_UP) + count(&b, LINK_UP), 0);
	end();
}

EACH_ENGINE(a_dialler_that_is_not_known_there_does_not_come_up)
{
	prepare_both();
	a.peers[0].host = 9;
	begin_both(*engine);
	TURN_UNTIL(count(&b, LINK_REFUSED) >= 3);
	EXPECT_REASON(&b, LINK_REFUSED, "its log says why");
	cr_expect_eq(count(&b, LINK_UP), 0);
	end();
}

EACH_ENGINE(another_host_at_a_dialled_address_is_refused)
{
	prepare_both();
	b.peers[0].host = 7; /* b thinks that 7 lives there */
	b.peers[1] = (struct link_peer){ .host = 1 };
	b.config.n_peers = 2;
	begin_both(*engine);
	TURN_UNTIL(count(&b, LINK_REFUSED) && count(&a, LINK_REFUSED));
	EXPECT_REASON(&b, LINK_REFUSED, "another host answers");
	cr_expect_eq(last(&b, LINK_REFUSED)->host, 7);
	end();
}

EACH_ENGINE(who_is_dialled_may_not_dial)
{
	struct wire_hello hello = good_hello();
	struct sockaddr_in closed;
	int fd;

	prepare(&a, 1);
	close(listen_somewhere(&closed));
	set_address(&a.peers[0], &closed);
	begin(&a, *engine);
	fd = connect_bare(&a);
	write_hello(fd, &hello);
	TURN_UNTIL(count(&a, LINK_REFUSED) && strstr(last(&a, LINK_REFUSED)->reason, "where we connect"));
	end();
}

struct nonsense {
	const char *words;
	unsigned char bytes[64];
	size_t len;
};

static const struct nonsense nonsense[] = {
	{ "no hello", "GET / HTTP/1.1\r\n\r\n", 18 },
	{ "no hello", { 0xff, 0xff, 0xff, 0xff }, 4 },
	{ "no hello", { 0, 0, 0, 0, 0, 0 }, 6 },
	{ "no hello", { 3, 0, 0, 0, WIRE_VERSION, WIRE_AGENT, 1 }, 7 },
	{ "no hello", { 2, 0, 0, 0, WIRE_VERSION, WIRE_HELLO }, 6 },
	{ "no hello", { 0, 4, 0, 0, WIRE_VERSION, WIRE_HELLO }, 6 }, /* a hello of 1 KiB */
	{ "speaks version 9", { 43, 0, 0, 0, 9, WIRE_HELLO }, 6 },
};

EACH_ENGINE(nonsense_before_hello_is_refused)
{
	prepare(&a, 1);
	begin(&a, *engine);
	for (size_t i = 0; i < ARRAY_LEN(nonsense); i++) {
		int fd = connect_bare(&a);

		write_all(fd, nonsense[i].bytes, nonsense[i].len);
		TURN_UNTIL(count(&a, LINK_REFUSED) == i + 1);
		EXPECT_REASON(&a, LINK_REFUSED, nonsense[i].words);
		TURN_UNTIL(is_closed(fd));
		close(fd);
	}
	cr_expect_eq(a.n_told, ARRAY_LEN(nonsense));
	end();
}

EACH_ENGINE(a_connection_that_is_closed_before_hello_is_told)
{
	prepare(&a, 1);
	begin(&a, *engine);
	close(connect_bare(&a));
	TURN_UNTIL(count(&a, LINK_REFUSED));
	EXPECT_REASON(&a, LINK_REFUSED, "closed the connection before it said hello");
	end();
}

EACH_ENGINE(a_silent_connection_ends)
{
	int fd;

	prepare(&a, 1);
	begin(&a, *engine);
	fd = connect_bare(&a);
	write_all(fd, "\x2b", 1); /* a first byte is no hello */
	settle();
	cr_expect_leq(links_tick(a.links, loop_now_ns()), loop_now_ns() + LINK_HELLO_MS * NS_PER_MS, "it is watched");
	a.skew_ns = (LINK_HELLO_MS - 500) * NS_PER_MS;
	settle();
	cr_expect_eq(a.n_told, 0);
	a.skew_ns = LINK_HELLO_MS * NS_PER_MS;
	settle();
	cr_expect_eq(count(&a, LINK_REFUSED), 1);
	EXPECT_REASON(&a, LINK_REFUSED, "said no hello within 2000 ms");
	cr_expect(is_closed(fd));
	cr_expect_eq(links_tick(a.links, node_now_ns(&a)), NEVER, "idle costs nothing");
	end();
}

EACH_ENGINE(a_silent_host_is_dialled_again)
{
	prepare_both();
	begin(&b, *engine); /* a's listener takes connections, nobody answers */
	turn(&b, 2);
	turn(&b, 2);
	b.skew_ns = LINK_HELLO_MS * NS_PER_MS;
	turn(&b, 2);
	cr_assert_eq(count(&b, LINK_REFUSED), 1);
	cr_expect_eq(last(&b, LINK_REFUSED)->host, 1);
	EXPECT_REASON(&b, LINK_REFUSED, "no hello");
	begin(&a, *engine);
	TURN_UNTIL(links_is_up(b.links, 1));
	end();
}

EACH_ENGINE(strangers_are_few)
{
	struct wire_hello hello = good_hello();
	int fds[LINK_STRANGERS + 1];

	prepare(&a, 1);
	begin(&a, *engine);
	for (unsigned i = 0; i < LINK_STRANGERS; i++)
		fds[i] = connect_bare(&a);
	settle();
	cr_expect_eq(a.n_told, 0);
	fds[LINK_STRANGERS] = connect_bare(&a);
	TURN_UNTIL(count(&a, LINK_REFUSED) == 1);
	EXPECT_REASON(&a, LINK_REFUSED, "too many");
	TURN_UNTIL(is_closed(fds[LINK_STRANGERS]));
	write_hello(fds[0], &hello); /* one of them says who it is: there is room again */
	TURN_UNTIL(links_is_up(a.links, 2));
	fds[0] = connect_bare(&a);
	settle();
	cr_expect_not(is_closed(fds[0]));
	cr_expect_eq(count(&a, LINK_REFUSED), 1);
	end();
}

EACH_ENGINE(descriptors_used_up_is_told_and_got_over)
{
	struct wire_hello hello = good_hello();
	struct rlimit before, few;
	int fd;

	prepare(&a, 1);
	begin(&a, *engine);
	fd = connect_bare(&a);
	getrlimit(RLIMIT_NOFILE, &before);
	for (int i = 0; i < fd; i++)
		if (fcntl(i, F_GETFD) < 0)
			dup2(fd, i);
	few = (struct rlimit){ (rlim_t)fd + 1, before.rlim_max };
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	TURN_UNTIL(count(&a, LINK_REFUSED));
	EXPECT_REASON(&a, LINK_REFUSED, "LimitNOFILE");
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	write_hello(fd, &hello);
	TURN_UNTIL(links_is_up(a.links, 2));
	end();
}

/* ---- down, and up again ---- */

EACH_ENGINE(a_second_connection_replaces_the_first)
{
	struct wire_hello hello = good_hello();
	int first = begin_with_bare_peer(*engine), second = connect_bare(&a);

	hello.nonce = 41;
	write_hello(second, &hello);
	TURN_UNTIL(count(&a, LINK_UP) == 2);
	cr_expect_eq(a.told[0].kind, LINK_UP);
	cr_expect_eq(a.told[1].kind, LINK_DOWN);
	cr_expect_eq(a.told[2].kind, LINK_UP);
	cr_expect_eq(a.told[2].hello.nonce, 41);
	cr_expect(is_closed(first));
	write_all(second, frame, make_frame(8, 1));
	TURN_UNTIL(count(&a, LINK_FRAME) == 1);
	end();
}

EACH_ENGINE(a_connection_that_is_refused_replaces_nobody)
{
	struct wire_hello hello = good_hello();
	int first = begin_with_bare_peer(*engine), second = connect_bare(&a);

	hello.voters_id = 31;
	write_hello(second, &hello);
	TURN_UNTIL(count(&a, LINK_REFUSED) == 1);
	cr_expect(links_is_up(a.links, 2));
	cr_expect_not(is_closed(first));
	end();
}

EACH_ENGINE(a_lost_link_is_told_and_dialled_again_at_once)
{
	uint64_t now_ns;

	begin_linked(*engine);
	b.skew_ns = NS_PER_S; /* it has stood for a while */
	links_close(a.links); /* the agent ends... */
	for (int i = 0; i < 1000 && !count(&b, LINK_DOWN); i++)
		turn(&b, 2);
	cr_expect_eq(last(&b, LINK_DOWN)->host, 1);
	now_ns = node_now_ns(&b);
	links_tick(b.links, now_ns);
	cr_expect_gt(links_tick(b.links, now_ns), now_ns + NS_PER_S, "it is dialling: only the hello is waited for");
	cr_assert_eq(links_open(&a.links, a.loop, &a.config, on_link, &a), 0); /* ...and another one takes over */
	TURN_UNTIL(count(&b, LINK_UP) == 2 && count(&a, LINK_UP) == 2);
	cr_expect_eq(count(&b, LINK_REFUSED), 0);
	end();
}

EACH_ENGINE(a_link_that_is_lost_at_once_is_dialled_after_a_pause)
{
	uint64_t now_ns = 0;

	begin_linked(*engine);
	a.skew_ns = b.skew_ns = 0;
	links_drop(a.links, 2, "for a test");
	for (int i = 0; i < 1000 && !count(&b, LINK_DOWN); i++) {
		turn(&a, 0);
		now_ns = node_now_ns(&b);
		turn(&b, 0);
	}
	cr_expect_geq(links_tick(b.links, now_ns), now_ns + 4 * NS_PER_MS);
	TURN_UNTIL(links_is_up(b.links, 1) && links_is_up(a.links, 2));
	end();
}

EACH_ENGINE(pauses_between_dials_grow_to_a_second)
{
	uint64_t pause_ms[] = { 5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000 };
	struct sockaddr_in closed;

	prepare_both();
	close(listen_somewhere(&closed));
	set_address(&b.peers[0], &closed);
	begin(&b, *engine);
	for (unsigned i = 0; i < ARRAY_LEN(pause_ms); i++) {
		uint64_t before_ns = 0, next_ns;

		while (count(&b, LINK_REFUSED) == i) {
			before_ns = node_now_ns(&b);
			turn(&b, 1);
		}
		EXPECT_REASON(&b, LINK_REFUSED, "is paxshmd running there?");
		next_ns = links_tick(b.links, before_ns);
		cr_expect_geq(next_ns, before_ns + pause_ms[i] * NS_PER_MS);
		cr_expect_leq(next_ns, node_now_ns(&b) + pause_ms[i] * NS_PER_MS);
		b.skew_ns += pause_ms[i] * NS_PER_MS;
	}
	links_close(b.links);
	loop_close(b.loop);
}

EACH_ENGINE(a_full_backlog_closes_the_link_and_blocks_nobody)
{
	int rc, fd = begin_with_bare_peer(*engine); /* reads nothing */
	size_t len = make_frame(64 * 1024, 1), queued = 0;

	while ((rc = links_send(a.links, 2, frame, len)) == 0) {
		queued += len;
		cr_assert_lt(queued, 64u << 20);
		turn(&a, 0);
	}
	cr_expect_eq(rc, -ENOBUFS);
	cr_expect_geq(queued, LINK_BACKLOG - len);
	cr_expect_not(links_is_up(a.links, 2));
	cr_expect_eq(links_send(a.links, 2, frame, len), -ENOTCONN);
	cr_expect_eq(count(&a, LINK_DOWN), 0, "send does not call the handler");
	TURN_UNTIL(count(&a, LINK_DOWN) == 1);
	EXPECT_REASON(&a, LINK_DOWN, "backlog");
	close(fd);
	end();
}

EACH_ENGINE(a_dropped_link_hears_no_more_frames)
{
	unsigned char both[256];
	size_t len = make_frame(8, 1);
	int fd = begin_with_bare_peer(*engine);

	memcpy(both, frame, len);
	memcpy(both + len, frame, len);
	a.drop_at_frame = "it talks nonsense";
	write_all(fd, both, 2 * len);
	TURN_UNTIL(count(&a, LINK_DOWN));
	cr_expect_eq(count(&a, LINK_FRAME), 1);
	EXPECT_REASON(&a, LINK_DOWN, "it talks nonsense");
	cr_expect_eq(last(&a, LINK_DOWN)->host, 2);
	TURN_UNTIL(is_closed(fd));
	links_drop(a.links, 2, "nobody is there");
	settle();
	cr_expect_eq(count(&a, LINK_DOWN), 1);
	end();
}

EACH_ENGINE(frames_that_cannot_be_close_the_link)
{
	static const unsigned char too_long[] = { 0xff, 0xff, 0xff, 0x7f };
	struct wire_hello hello = good_hello();
	int fd = begin_with_bare_peer(*engine);

	write_all(fd, too_long, sizeof(too_long));
	TURN_UNTIL(count(&a, LINK_DOWN) == 1);
	EXPECT_REASON(&a, LINK_DOWN, "length");
	fd = connect_bare(&a);
	write_hello(fd, &hello);
	TURN_UNTIL(count(&a, LINK_UP) == 2);
	write_hello(fd, &hello);
	TURN_UNTIL(count(&a, LINK_DOWN) == 2);
	EXPECT_REASON(&a, LINK_DOWN, "hello twice");
	cr_expect_eq(count(&a, LINK_FRAME), 0);
	end();
}

EACH_ENGINE(dead_peers_are_noticed_by_the_kernel)
{
	int fd = begin_with_bare_peer(*engine), found = -1, value;
	socklen_t len = sizeof(value);
	struct sockaddr_in ours, theirs;

	/* The accepted socket is the one whose other end is ours. */
	for (int i = 3; i < 64 && found < 0; i++) {
		socklen_t address_len = sizeof(ours);

		getsockname(fd, (struct sockaddr *)&ours, &address_len);
		if (i != fd && getpeername(i, (struct sockaddr *)&theirs, &address_len) == 0 && theirs.sin_port == ours.sin_port)
			found = i;
	}
	cr_assert_geq(found, 0);
	cr_assert_eq(getsockopt(found, IPPROTO_TCP, TCP_USER_TIMEOUT, &value, &len), 0);
	cr_expect_gt(value, 0);
	cr_assert_eq(getsockopt(found, SOL_SOCKET, SO_KEEPALIVE, &value, &len), 0);
	cr_expect_eq(value, 1);
	cr_assert_eq(getsockopt(found, IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
	cr_expect_eq(value, 1);
	end();
}
