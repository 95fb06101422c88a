/* SPDX-License-Identifier: Apache-2.0 */
/* link_node: see link_node.h. */
#define _GNU_SOURCE
#include "link_node.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "../../lib/base.h"

struct node node_a, node_b;

uint64_t node_now_ns(const struct node *n) { return loop_now_ns() + n->skew_ns; }

void on_link(void *context, const struct link_event *event)
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

void turn_node(struct node *n, uint64_t wait_ms)
{
	uint64_t now_ns = node_now_ns(n), next_ns = links_tick(n->links, now_ns);
	uint64_t deadline_ns = MIN(next_ns, now_ns + wait_ms * NS_PER_MS);

	links_flush(n->links);
	cr_assert_eq(loop_turn(n->loop, deadline_ns <= n->skew_ns ? 0 : deadline_ns - n->skew_ns, on_loop, n), 0);
}

void settle_nodes(void)
{
	for (int i = 0; i < 5; i++) {
		turn_node(&node_a, 2);
		if (node_b.links)
			turn_node(&node_b, 2);
	}
}

unsigned count_told(const struct node *n, enum link_event_kind kind)
{
	unsigned found = 0;

	for (unsigned i = 0; i < n->n_told; i++)
		found += n->told[i].kind == kind;
	return found;
}

const struct told *last_told(const struct node *n, enum link_event_kind kind)
{
	for (unsigned i = n->n_told; i-- > 0;)
		if (n->told[i].kind == kind)
			return &n->told[i];
	cr_assert_fail("nothing of kind %d was told", kind);
	return NULL;
}

static const struct wire_hello hello_of_cluster = { .cluster_id = 10, .voters_id = 30, .votes = true, .nonce = 40 };

void prepare_node(struct node *n, uint16_t host)
{
	n->config.hello = hello_of_cluster;
	n->config.hello.from = host;
	n->config.listen_fd = listen_somewhere(&n->address);
	n->config.peers = n->peers;
	n->config.n_peers = 1;
	n->peers[0] = (struct link_peer){ .host = (uint16_t)(3 - host) };
}

void set_address(struct link_peer *peer, const struct sockaddr_in *address)
{
	memcpy(&peer->address, address, sizeof(*address));
	peer->address_len = sizeof(*address);
	peer->dial = true;
}

void begin_node(struct node *n, int engine)
{
	n->loop = open_engine(engine);
	cr_assert_eq(links_open(&n->links, n->loop, &n->config, on_link, n), 0);
}

void prepare_both(void)
{
	prepare_node(&node_a, 1);
	prepare_node(&node_b, 2);
	set_address(&node_b.peers[0], &node_a.address);
}

void begin_both(int engine)
{
	begin_node(&node_a, engine);
	begin_node(&node_b, engine);
}

void begin_linked(int engine)
{
	prepare_both();
	begin_both(engine);
	TURN_NODES_UNTIL(links_is_up(node_a.links, 2) && links_is_up(node_b.links, 1));
}

void end_nodes(void)
{
	struct node *both[] = { &node_a, &node_b };

	for (size_t i = 0; i < ARRAY_LEN(both); i++) {
		links_close(both[i]->links);
		loop_close(both[i]->loop);
	}
}

/* ---- a peer made of a bare socket ---- */

int connect_bare(const struct node *n)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	cr_assert_geq(fd, 0);
	cr_assert_eq(connect(fd, (const struct sockaddr *)&n->address, sizeof(n->address)), 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

struct wire_hello good_hello(void)
{
	struct wire_hello hello = hello_of_cluster;

	hello.from = 2;
	hello.to = 1;
	return hello;
}

void write_all(int fd, const void *bytes, size_t len)
{
	cr_assert_eq(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

void write_hello(int fd, const struct wire_hello *hello)
{
	unsigned char frame[WIRE_HELLO_SIZE];

	cr_assert_eq(wire_put_hello(frame, sizeof(frame), hello), WIRE_HELLO_SIZE);
	write_all(fd, frame, sizeof(frame));
}

struct wire_hello read_hello(int fd)
{
	unsigned char frame[WIRE_HELLO_SIZE];
	struct wire_hello hello;
	size_t got = 0;

	for (int i = 0; got < sizeof(frame) && i < 2000; i++) {
		ssize_t n = recv(fd, frame + got, sizeof(frame) - got, MSG_DONTWAIT);

		cr_assert(n != 0 && (n > 0 || errno == EAGAIN), "closed without a hello");
		got += n > 0 ? (size_t)n : 0;
		turn_node(&node_a, 1);
	}
	cr_assert_eq(got, sizeof(frame));
	cr_assert_eq(wire_get_hello(frame, sizeof(frame), &hello), 0);
	return hello;
}

bool is_closed(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno != EAGAIN);
}

int begin_with_bare_peer(int engine)
{
	struct wire_hello hello = good_hello();
	int fd;

	prepare_node(&node_a, 1);
	begin_node(&node_a, engine);
	fd = connect_bare(&node_a);
	write_hello(fd, &hello);
	cr_assert_eq(read_hello(fd).to, 2);
	TURN_NODES_UNTIL(links_is_up(node_a.links, 2));
	return fd;
}

unsigned char a_frame[WIRE_FRAME_MAX];

size_t make_frame(size_t len, uint64_t seed)
{
	static unsigned char payload[WIRE_FRAME_MAX];
	int whole;

	for (size_t i = 0; i + 8 <= len; i += 8) {
		uint64_t word = random_next(&seed);
		memcpy(payload + i, &word, 8);
	}
	whole = wire_put_agent(a_frame, sizeof(a_frame), payload, len);
	cr_assert_gt(whole, 0);
	return (size_t)whole;
}
