/* SPDX-License-Identifier: Apache-2.0 */
/* link_tcp: links come up, carry whole frames in order, and end with a reason. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "link_node.h"

#define EACH_ENGINE(test) EACH_ENGINE_OF(link_tcp, test)

/* ---- up ---- */

Test(link_tcp, configurations_that_cannot_be_are_refused)
{
	struct links *untouched = (struct links *)1, *ls = untouched;

	prepare_node(&node_a, 1);
	cr_assert_eq(loop_open(&node_a.loop, LOOP_EPOLL, NULL), 0);
	node_a.peers[0].host = 1;
	cr_expect_eq(links_open(&ls, node_a.loop, &node_a.config, on_link, &node_a), -EINVAL, "ourselves");
	node_a.peers[0].host = 0;
	cr_expect_eq(links_open(&ls, node_a.loop, &node_a.config, on_link, &node_a), -EINVAL, "nobody");
	node_a.peers[0].host = node_a.peers[1].host = 7;
	node_a.config.n_peers = 2;
	cr_expect_eq(links_open(&ls, node_a.loop, &node_a.config, on_link, &node_a), -EINVAL, "twice");
	cr_expect_eq(ls, untouched);
	links_close(NULL);
	loop_close(node_a.loop);
}

EACH_ENGINE(both_sides_come_up_and_learn_each_others_hello)
{
	prepare_both();
	node_b.config.hello.nonce = 99;
	node_b.config.hello.votes = false;
	node_b.config.hello.history = 5; /* the other has none yet */
	begin_both(*engine);
	cr_expect_not(links_is_up(node_a.links, 2));
	cr_expect_not(links_is_up(node_a.links, 9));
	TURN_NODES_UNTIL(count_told(&node_a, LINK_UP) && count_told(&node_b, LINK_UP));
	cr_expect_eq(last_told(&node_a, LINK_UP)->host, 2);
	cr_expect_eq(last_told(&node_a, LINK_UP)->hello.nonce, 99);
	cr_expect_eq(last_told(&node_a, LINK_UP)->hello.votes, false);
	cr_expect_eq(last_told(&node_a, LINK_UP)->hello.history, 5);
	cr_expect_eq(last_told(&node_b, LINK_UP)->host, 1);
	cr_expect_eq(last_told(&node_b, LINK_UP)->hello.nonce, 40);
	settle_nodes();
	cr_expect_eq(node_a.n_told + node_b.n_told, 2, "up once, and nothing else");
	end_nodes();
}

EACH_ENGINE(frames_arrive_in_order_both_ways)
{
	uint64_t hashes[64];
	unsigned seen[2] = { 0, 0 };

	begin_linked(*engine);
	for (unsigned i = 0; i < ARRAY_LEN(hashes); i++) {
		size_t len = make_frame(i * 37 % 1000, i);

		hashes[i] = hash_bytes(0, a_frame, len);
		cr_assert_eq(links_send(node_a.links, 2, a_frame, len), 0);
		cr_assert_eq(links_send(node_b.links, 1, a_frame, len), 0);
		if (i % 5 == 0)
			settle_nodes();
	}
	TURN_NODES_UNTIL(count_told(&node_a, LINK_FRAME) == ARRAY_LEN(hashes) && count_told(&node_b, LINK_FRAME) == ARRAY_LEN(hashes));
	for (unsigned i = 0; i < node_a.n_told; i++)
		if (node_a.told[i].kind == LINK_FRAME)
			cr_expect_eq(node_a.told[i].hash, hashes[seen[0]++]);
	for (unsigned i = 0; i < node_b.n_told; i++)
		if (node_b.told[i].kind == LINK_FRAME)
			cr_expect_eq(node_b.told[i].hash, hashes[seen[1]++]);
	end_nodes();
}

EACH_ENGINE(large_frames_both_ways_at_once_arrive_whole)
{
	enum { FRAMES = 7 };
	uint64_t hash = 0;

	begin_linked(*engine);
	for (int i = 0; i < FRAMES; i++) {
		size_t len = make_frame(WIRE_FRAME_MAX - WIRE_HEADER, 1);

		hash = hash_bytes(0, a_frame, len);
		cr_assert_eq(links_send(node_a.links, 2, a_frame, len), 0);
		cr_assert_eq(links_send(node_b.links, 1, a_frame, len), 0);
	}
	TURN_NODES_UNTIL(count_told(&node_a, LINK_FRAME) == FRAMES && count_told(&node_b, LINK_FRAME) == FRAMES);
	cr_expect_eq(last_told(&node_a, LINK_FRAME)->hash, hash);
	cr_expect_eq(last_told(&node_b, LINK_FRAME)->hash, hash);
	cr_expect_eq(count_told(&node_a, LINK_DOWN), 0);
	end_nodes();
}

EACH_ENGINE(what_is_sent_in_one_turn_leaves_together_and_costs_the_loop_nothing)
{
	struct loop_counts before;
	int fd = begin_with_bare_peer(*engine);
	unsigned char got[10 * 128];
	size_t len = make_frame(64, 1);

	settle_nodes();
	before = loop_counts(node_a.loop);
	for (int i = 0; i < 10; i++)
		cr_assert_eq(links_send(node_a.links, 2, a_frame, len), 0);
	links_flush(node_a.links);
	cr_expect_eq(recv(fd, got, sizeof(got), MSG_DONTWAIT), 10 * (ssize_t)len, "they are all there, without a turn");
	turn_node(&node_a, 1);
	cr_expect_eq(loop_counts(node_a.loop).events, before.events, "no event tells that they were sent");
	close(fd);
	end_nodes();
}

EACH_ENGINE(what_is_queued_while_a_send_is_under_way_follows)
{
	enum { FRAMES = 7 };
	size_t len = make_frame(WIRE_FRAME_MAX - WIRE_HEADER, 1), got = 0;
	uint64_t until_ns = loop_now_ns() + 10 * NS_PER_S;
	struct wire_hello hello = good_hello();
	int few = 64 * 1024, fd;

	prepare_node(&node_a, 1);
	setsockopt(node_a.config.listen_fd, SOL_SOCKET, SO_SNDBUF, &few, sizeof(few)); /* inherited */
	begin_node(&node_a, *engine);
	fd = connect_bare(&node_a);
	write_hello(fd, &hello);
	read_hello(fd);
	for (int i = 0; i < FRAMES; i++)
		cr_assert_eq(links_send(node_a.links, 2, a_frame, len), 0);
	turn_node(&node_a, 2); /* more than the sockets take */
	cr_assert_eq(links_send(node_a.links, 2, a_frame, WIRE_HEADER), 0);
	turn_node(&node_a, 2);
	while (got < FRAMES * len + WIRE_HEADER && loop_now_ns() < until_ns) {
		ssize_t n = recv(fd, a_frame, sizeof(a_frame), MSG_DONTWAIT);

		got += n > 0 ? (size_t)n : 0;
		turn_node(&node_a, n > 0 ? 0 : 1);
	}
	cr_expect_eq(got, FRAMES * len + WIRE_HEADER);
	end_nodes();
}

EACH_ENGINE(hello_and_frames_may_come_byte_by_byte)
{
	unsigned char bytes[1024];
	struct wire_hello hello = good_hello();
	size_t len = WIRE_HELLO_SIZE;
	int fd;

	prepare_node(&node_a, 1);
	begin_node(&node_a, *engine);
	cr_assert_eq(wire_put_hello(bytes, sizeof(bytes), &hello), WIRE_HELLO_SIZE);
	for (size_t i = 0; i < 3; i++) {
		size_t whole = make_frame(i * 8, i);

		memcpy(bytes + len, a_frame, whole);
		len += whole;
	}
	fd = connect_bare(&node_a);
	for (size_t i = 0; i < len; i++) {
		write_all(fd, bytes + i, 1);
		turn_node(&node_a, 1);
	}
	TURN_NODES_UNTIL(count_told(&node_a, LINK_FRAME) == 3);
	cr_expect_eq(last_told(&node_a, LINK_FRAME)->hash, hash_bytes(0, a_frame, make_frame(16, 2)));
	end_nodes();
}

EACH_ENGINE(hello_and_frames_may_come_all_in_one)
{
	unsigned char bytes[4096];
	struct wire_hello hello = good_hello();
	size_t len = WIRE_HELLO_SIZE, whole = make_frame(24, 4);
	int fd;

	prepare_node(&node_a, 1);
	begin_node(&node_a, *engine);
	cr_assert_eq(wire_put_hello(bytes, sizeof(bytes), &hello), WIRE_HELLO_SIZE);
	for (int i = 0; i < 20; i++, len += whole)
		memcpy(bytes + len, a_frame, whole);
	fd = connect_bare(&node_a);
	write_all(fd, bytes, len + whole / 2 - whole); /* the last one is cut */
	TURN_NODES_UNTIL(count_told(&node_a, LINK_FRAME) == 19);
	settle_nodes();
	cr_expect_eq(count_told(&node_a, LINK_FRAME), 19);
	write_all(fd, bytes + len + whole / 2 - whole, whole - whole / 2);
	TURN_NODES_UNTIL(count_told(&node_a, LINK_FRAME) == 20);
	cr_expect_eq(last_told(&node_a, LINK_FRAME)->hash, hash_bytes(0, a_frame, whole));
	end_nodes();
}

EACH_ENGINE(nothing_is_sent_before_hello)
{
	char bytes[256];

	prepare_both();
	close(node_a.config.listen_fd);
	node_a.config.listen_fd = listen_somewhere(&node_a.address);
	set_address(&node_b.peers[0], &node_a.address);
	begin_node(&node_b, *engine);
	cr_expect_eq(links_send(node_b.links, 1, a_frame, make_frame(8, 1)), -ENOTCONN);
	turn_node(&node_b, 2);
	turn_node(&node_b, 2);
	turn_node(&node_b, 2);
	cr_expect_eq(links_send(node_b.links, 1, a_frame, make_frame(8, 1)), -ENOTCONN);
	cr_expect_eq(recv(accept(node_a.config.listen_fd, NULL, NULL), bytes, sizeof(bytes), 0), WIRE_HELLO_SIZE);
	cr_expect_eq(links_send(node_b.links, 77, a_frame, make_frame(8, 1)), -ENOTCONN);
	links_close(node_b.links);
	loop_close(node_b.loop);
}

EACH_ENGINE(a_new_hello_is_said_by_later_connections)
{
	struct wire_hello changed;
	int fd = begin_with_bare_peer(*engine);

	changed = node_a.config.hello;
	changed.history = 1234;
	links_set_hello(node_a.links, &changed);
	close(fd);
	fd = connect_bare(&node_a);
	changed = good_hello();
	write_hello(fd, &changed);
	cr_expect_eq(read_hello(fd).history, 1234);
	end_nodes();
}

/* ---- down, and up again ---- */

EACH_ENGINE(a_second_connection_replaces_the_first)
{
	struct wire_hello hello = good_hello();
	int first = begin_with_bare_peer(*engine), second = connect_bare(&node_a);

	hello.nonce = 41;
	write_hello(second, &hello);
	TURN_NODES_UNTIL(count_told(&node_a, LINK_UP) == 2);
	cr_expect_eq(node_a.told[0].kind, LINK_UP);
	cr_expect_eq(node_a.told[1].kind, LINK_DOWN);
	cr_expect_eq(node_a.told[2].kind, LINK_UP);
	cr_expect_eq(node_a.told[2].hello.nonce, 41);
	cr_expect(is_closed(first));
	write_all(second, a_frame, make_frame(8, 1));
	TURN_NODES_UNTIL(count_told(&node_a, LINK_FRAME) == 1);
	end_nodes();
}

EACH_ENGINE(a_connection_that_is_refused_replaces_nobody)
{
	struct wire_hello hello = good_hello();
	int first = begin_with_bare_peer(*engine), second = connect_bare(&node_a);

	hello.voters_id = 31;
	write_hello(second, &hello);
	TURN_NODES_UNTIL(count_told(&node_a, LINK_REFUSED) == 1);
	cr_expect(links_is_up(node_a.links, 2));
	cr_expect_not(is_closed(first));
	end_nodes();
}

EACH_ENGINE(a_lost_link_is_told_and_dialled_again_at_once)
{
	uint64_t now_ns;

	begin_linked(*engine);
	node_b.skew_ns = NS_PER_S; /* it has stood for a while */
	links_close(node_a.links); /* the agent ends... */
	for (int i = 0; i < 1000 && !count_told(&node_b, LINK_DOWN); i++)
		turn_node(&node_b, 2);
	cr_expect_eq(last_told(&node_b, LINK_DOWN)->host, 1);
	now_ns = node_now_ns(&node_b);
	links_tick(node_b.links, now_ns);
	cr_expect_gt(links_tick(node_b.links, now_ns), now_ns + NS_PER_S, "it is dialling: only the hello is waited for");
	cr_assert_eq(links_open(&node_a.links, node_a.loop, &node_a.config, on_link, &node_a), 0); /* ...and another one takes over */
	TURN_NODES_UNTIL(count_told(&node_b, LINK_UP) == 2 && count_told(&node_a, LINK_UP) == 2);
	cr_expect_eq(count_told(&node_b, LINK_REFUSED), 0);
	end_nodes();
}

EACH_ENGINE(a_link_that_is_lost_at_once_is_dialled_after_a_pause)
{
	uint64_t now_ns = 0;

	begin_linked(*engine);
	node_a.skew_ns = node_b.skew_ns = 0;
	links_drop(node_a.links, 2, "for a test");
	for (int i = 0; i < 1000 && !count_told(&node_b, LINK_DOWN); i++) {
		turn_node(&node_a, 0);
		now_ns = node_now_ns(&node_b);
		turn_node(&node_b, 0);
	}
	cr_expect_geq(links_tick(node_b.links, now_ns), now_ns + 4 * NS_PER_MS);
	TURN_NODES_UNTIL(links_is_up(node_b.links, 1) && links_is_up(node_a.links, 2));
	end_nodes();
}

EACH_ENGINE(pauses_between_dials_grow_to_a_second)
{
	uint64_t pause_ms[] = { 5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000 };
	struct sockaddr_in closed;

	prepare_both();
	close(listen_somewhere(&closed));
	set_address(&node_b.peers[0], &closed);
	begin_node(&node_b, *engine);
	for (unsigned i = 0; i < ARRAY_LEN(pause_ms); i++) {
		uint64_t before_ns = 0, next_ns;

		while (count_told(&node_b, LINK_REFUSED) == i) {
			before_ns = node_now_ns(&node_b);
			turn_node(&node_b, 1);
		}
		EXPECT_REASON(&node_b, LINK_REFUSED, "is paxshmd running there?");
		next_ns = links_tick(node_b.links, before_ns);
		cr_expect_geq(next_ns, before_ns + pause_ms[i] * NS_PER_MS);
		cr_expect_leq(next_ns, node_now_ns(&node_b) + pause_ms[i] * NS_PER_MS);
		node_b.skew_ns += pause_ms[i] * NS_PER_MS;
	}
	links_close(node_b.links);
	loop_close(node_b.loop);
}

EACH_ENGINE(a_full_backlog_closes_the_link_and_blocks_nobody)
{
	int rc, fd = begin_with_bare_peer(*engine); /* reads nothing */
	size_t len = make_frame(64 * 1024, 1), queued = 0;

	while ((rc = links_send(node_a.links, 2, a_frame, len)) == 0) {
		queued += len;
		cr_assert_lt(queued, 64u << 20);
		turn_node(&node_a, 0);
	}
	cr_expect_eq(rc, -ENOBUFS);
	cr_expect_geq(queued, LINK_BACKLOG - len);
	cr_expect_not(links_is_up(node_a.links, 2));
	cr_expect_eq(links_send(node_a.links, 2, a_frame, len), -ENOTCONN);
	cr_expect_eq(count_told(&node_a, LINK_DOWN), 0, "send does not call the handler");
	TURN_NODES_UNTIL(count_told(&node_a, LINK_DOWN) == 1);
	EXPECT_REASON(&node_a, LINK_DOWN, "backlog");
	close(fd);
	end_nodes();
}

EACH_ENGINE(a_dropped_link_hears_no_more_frames)
{
	unsigned char both[256];
	size_t len = make_frame(8, 1);
	int fd = begin_with_bare_peer(*engine);

	memcpy(both, a_frame, len);
	memcpy(both + len, a_frame, len);
	node_a.drop_at_frame = "it talks nonsense";
	write_all(fd, both, 2 * len);
	TURN_NODES_UNTIL(count_told(&node_a, LINK_DOWN));
	cr_expect_eq(count_told(&node_a, LINK_FRAME), 1);
	EXPECT_REASON(&node_a, LINK_DOWN, "it talks nonsense");
	cr_expect_eq(last_told(&node_a, LINK_DOWN)->host, 2);
	TURN_NODES_UNTIL(is_closed(fd));
	links_drop(node_a.links, 2, "nobody is there");
	settle_nodes();
	cr_expect_eq(count_told(&node_a, LINK_DOWN), 1);
	end_nodes();
}

EACH_ENGINE(frames_that_cannot_be_close_the_link)
{
	static const unsigned char too_long[] = { 0xff, 0xff, 0xff, 0x7f };
	struct wire_hello hello = good_hello();
	int fd = begin_with_bare_peer(*engine);

	write_all(fd, too_long, sizeof(too_long));
	TURN_NODES_UNTIL(count_told(&node_a, LINK_DOWN) == 1);
	EXPECT_REASON(&node_a, LINK_DOWN, "length");
	fd = connect_bare(&node_a);
	write_hello(fd, &hello);
	TURN_NODES_UNTIL(count_told(&node_a, LINK_UP) == 2);
	write_hello(fd, &hello);
	TURN_NODES_UNTIL(count_told(&node_a, LINK_DOWN) == 2);
	EXPECT_REASON(&node_a, LINK_DOWN, "hello twice");
	cr_expect_eq(count_told(&node_a, LINK_FRAME), 0);
	end_nodes();
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
	end_nodes();
}
