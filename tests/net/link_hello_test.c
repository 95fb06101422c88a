/* SPDX-License-Identifier: Apache-2.0 */
/* link_hello: who does not fit is refused over a real connection, and both sides can read why. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "../../net/link_hello.h"
#include "link_node.h"

#define EACH_ENGINE(test) EACH_ENGINE_OF(link_hello, test)

/* ---- decided ---- */

Test(link_hello, who_agrees_in_everything_fits)
{
	struct wire_hello ours = good_hello(), theirs = good_hello();
	struct link_peer peer = { .host = 2 };

	ours.from = 1;
	cr_expect_null(link_misfit(&ours, &theirs, &peer, 0), "it dialled us");
	peer.dial = true;
	cr_expect_null(link_misfit(&ours, &theirs, &peer, 2), "we dialled it");
	ours.history = 7; /* one of two without a history joins the other */
	cr_expect_null(link_misfit(&ours, &theirs, &peer, 2));
	theirs.history = 7;
	cr_expect_null(link_misfit(&ours, &theirs, &peer, 2));
	theirs.votes = !ours.votes;
	theirs.nonce++;
	cr_expect_null(link_misfit(&ours, &theirs, &peer, 2));
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
	prepare_node(&node_a, 1);
	node_a.config.hello.history = 20;
	begin_node(&node_a, *engine);
	for (size_t i = 0; i < ARRAY_LEN(misfits); i++) {
		struct wire_hello hello = good_hello();
		int fd = connect_bare(&node_a);

		misfits[i].spoil(&hello);
		write_hello(fd, &hello);
		TURN_NODES_UNTIL(count_told(&node_a, LINK_REFUSED) == i + 1);
		EXPECT_REASON(&node_a, LINK_REFUSED, misfits[i].words);
		EXPECT_REASON(&node_a, LINK_REFUSED, "127.0.0.1:");
		cr_expect_eq(last_told(&node_a, LINK_REFUSED)->host, misfits[i].host, "%s", misfits[i].words);
		cr_expect_eq(read_hello(fd).to, 0, "refused, in its words");
		cr_expect(is_closed(fd));
		close(fd);
	}
	cr_expect_eq(count_told(&node_a, LINK_UP), 0);
	end_nodes();
}

EACH_ENGINE(both_sides_say_that_the_clusters_differ)
{
	prepare_both();
	node_b.config.hello.cluster_id = 11;
	begin_both(*engine);
	TURN_NODES_UNTIL(count_told(&node_a, LINK_REFUSED) && count_told(&node_b, LINK_REFUSED));
	EXPECT_REASON(&node_a, LINK_REFUSED, "another cluster");
	EXPECT_REASON(&node_b, LINK_REFUSED, "another cluster");
	cr_expect_eq(last_told(&node_b, LINK_REFUSED)->host, 1);
	cr_expect_eq(count_told(&node_a, LINK_UP) + count_told(&node_b, LINK_UP), 0);
	end_nodes();
}

EACH_ENGINE(a_dialler_that_is_not_known_there_does_not_come_up)
{
	prepare_both();
	node_a.peers[0].host = 9;
	begin_both(*engine);
	TURN_NODES_UNTIL(count_told(&node_b, LINK_REFUSED) >= 3);
	EXPECT_REASON(&node_b, LINK_REFUSED, "its log says why");
	cr_expect_eq(count_told(&node_b, LINK_UP), 0);
	end_nodes();
}

EACH_ENGINE(another_host_at_a_dialled_address_is_refused)
{
	prepare_both();
	node_b.peers[0].host = 7; /* b thinks that 7 lives there */
	node_b.peers[1] = (struct link_peer){ .host = 1 };
	node_b.config.n_peers = 2;
	begin_both(*engine);
	TURN_NODES_UNTIL(count_told(&node_b, LINK_REFUSED) && count_told(&node_a, LINK_REFUSED));
	EXPECT_REASON(&node_b, LINK_REFUSED, "another host answers");
	cr_expect_eq(last_told(&node_b, LINK_REFUSED)->host, 7);
	end_nodes();
}

/* Among all that were told: a turn that took long brings the next refusal of the dial along. */
static bool was_refused(const struct node *n, const char *words)
{
	for (unsigned i = 0; i < n->n_told; i++)
		if (n->told[i].kind == LINK_REFUSED && strstr(n->told[i].reason, words))
			return true;
	return false;
}

EACH_ENGINE(who_is_dialled_may_not_dial)
{
	struct wire_hello hello = good_hello();
	struct sockaddr_in closed;
	int fd;

	prepare_node(&node_a, 1);
	close(listen_somewhere(&closed));
	set_address(&node_a.peers[0], &closed);
	begin_node(&node_a, *engine);
	fd = connect_bare(&node_a);
	write_hello(fd, &hello);
	TURN_NODES_UNTIL(was_refused(&node_a, "where we connect"));
	end_nodes();
}

struct nonsense {
	const char *words;
	unsigned char bytes[64];
	size_t len;
};

static const struct nonsense nonsense[] = {
	{ "no hello of a paxshm agent", "GET / HTTP/1.1\r\n\r\n", 18 },
	{ "no hello of a paxshm agent", { 0xff, 0xff, 0xff, 0xff }, 4 },
	{ "no hello of a paxshm agent", { 0, 0, 0, 0, 0, 0 }, 6 },
	{ "no hello of a paxshm agent", { 3, 0, 0, 0, WIRE_VERSION, WIRE_AGENT, 1 }, 7 },
	{ "no hello of a paxshm agent", { 2, 0, 0, 0, WIRE_VERSION, WIRE_HELLO }, 6 },
	{ "no hello of a paxshm agent", { 0, 4, 0, 0, WIRE_VERSION, WIRE_HELLO }, 6 }, /* a hello of 1 KiB */
	{ "speaks version 9", { 43, 0, 0, 0, 9, WIRE_HELLO }, 6 },
};

EACH_ENGINE(nonsense_before_hello_is_refused)
{
	prepare_node(&node_a, 1);
	begin_node(&node_a, *engine);
	for (size_t i = 0; i < ARRAY_LEN(nonsense); i++) {
		int fd = connect_bare(&node_a);

		write_all(fd, nonsense[i].bytes, nonsense[i].len);
		TURN_NODES_UNTIL(count_told(&node_a, LINK_REFUSED) == i + 1);
		EXPECT_REASON(&node_a, LINK_REFUSED, nonsense[i].words);
		TURN_NODES_UNTIL(is_closed(fd));
		close(fd);
	}
	cr_expect_eq(node_a.n_told, ARRAY_LEN(nonsense));
	end_nodes();
}

EACH_ENGINE(a_connection_that_is_closed_before_hello_is_told)
{
	prepare_node(&node_a, 1);
	begin_node(&node_a, *engine);
	close(connect_bare(&node_a));
	TURN_NODES_UNTIL(count_told(&node_a, LINK_REFUSED));
	EXPECT_REASON(&node_a, LINK_REFUSED, "closed the connection before it said hello");
	end_nodes();
}

EACH_ENGINE(a_silent_connection_ends)
{
	int fd;

	prepare_node(&node_a, 1);
	begin_node(&node_a, *engine);
	fd = connect_bare(&node_a);
	write_all(fd, "\x2b", 1); /* a first byte is no hello */
	settle_nodes();
	cr_expect_leq(links_tick(node_a.links, loop_now_ns()), loop_now_ns() + LINK_HELLO_MS * NS_PER_MS, "it is watched");
	node_a.skew_ns = (LINK_HELLO_MS - 500) * NS_PER_MS;
	settle_nodes();
	cr_expect_eq(node_a.n_told, 0);
	node_a.skew_ns = LINK_HELLO_MS * NS_PER_MS;
	settle_nodes();
	cr_expect_eq(count_told(&node_a, LINK_REFUSED), 1);
	EXPECT_REASON(&node_a, LINK_REFUSED, "said no hello within 2000 ms");
	cr_expect(is_closed(fd));
	cr_expect_eq(links_tick(node_a.links, node_now_ns(&node_a)), NEVER, "idle costs nothing");
	end_nodes();
}

EACH_ENGINE(a_silent_host_is_dialled_again)
{
	prepare_both();
	begin_node(&node_b, *engine); /* a's listener takes connections, nobody answers */
	turn_node(&node_b, 2);
	turn_node(&node_b, 2);
	node_b.skew_ns = LINK_HELLO_MS * NS_PER_MS;
	turn_node(&node_b, 2);
	cr_assert_eq(count_told(&node_b, LINK_REFUSED), 1);
	cr_expect_eq(last_told(&node_b, LINK_REFUSED)->host, 1);
	EXPECT_REASON(&node_b, LINK_REFUSED, "no hello");
	begin_node(&node_a, *engine);
	TURN_NODES_UNTIL(links_is_up(node_b.links, 1));
	end_nodes();
}

EACH_ENGINE(strangers_are_few)
{
	struct wire_hello hello = good_hello();
	int fds[LINK_STRANGERS + 1];

	prepare_node(&node_a, 1);
	begin_node(&node_a, *engine);
	for (unsigned i = 0; i < LINK_STRANGERS; i++)
		fds[i] = connect_bare(&node_a);
	settle_nodes();
	cr_expect_eq(node_a.n_told, 0);
	fds[LINK_STRANGERS] = connect_bare(&node_a);
	TURN_NODES_UNTIL(count_told(&node_a, LINK_REFUSED) == 1);
	EXPECT_REASON(&node_a, LINK_REFUSED, "too many");
	TURN_NODES_UNTIL(is_closed(fds[LINK_STRANGERS]));
	write_hello(fds[0], &hello); /* one of them says who it is: there is room again */
	TURN_NODES_UNTIL(links_is_up(node_a.links, 2));
	fds[0] = connect_bare(&node_a);
	settle_nodes();
	cr_expect_not(is_closed(fds[0]));
	cr_expect_eq(count_told(&node_a, LINK_REFUSED), 1);
	end_nodes();
}

EACH_ENGINE(descriptors_used_up_is_told_and_got_over)
{
	struct wire_hello hello = good_hello();
	struct rlimit before, few;
	int fd;

	prepare_node(&node_a, 1);
	begin_node(&node_a, *engine);
	fd = connect_bare(&node_a);
	getrlimit(RLIMIT_NOFILE, &before);
	for (int i = 0; i < fd; i++)
		if (fcntl(i, F_GETFD) < 0)
			dup2(fd, i);
	few = (struct rlimit){ (rlim_t)fd + 1, before.rlim_max };
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	TURN_NODES_UNTIL(count_told(&node_a, LINK_REFUSED));
	EXPECT_REASON(&node_a, LINK_REFUSED, "LimitNOFILE");
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	write_hello(fd, &hello);
	TURN_NODES_UNTIL(links_is_up(node_a.links, 2));
	end_nodes();
}
