/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link_node: a node is a loop with links and a record of what they told; two of them make a network. A bare
 * socket can play a peer that does what no agent would. Time is the test's own where it matters: `skew_ns` is
 * added to the clock that the links see.
 */
#ifndef PAXSHM_TESTS_NET_LINK_NODE_H
#define PAXSHM_TESTS_NET_LINK_NODE_H

#include "../../net/link.h"
#include "loop_rig.h"

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

extern struct node node_a, node_b; /* hosts 1 and 2; b dials a */

/* ---- their life ---- */

/* Fills in a configuration, which a test may spoil before begin_node(). */
void prepare_node(struct node *n, uint16_t host);
void set_address(struct link_peer *peer, const struct sockaddr_in *address);

void begin_node(struct node *n, int engine);
void prepare_both(void);
void begin_both(int engine);
void begin_linked(int engine);
void end_nodes(void);

/* A turn as the reactor makes it. */
uint64_t node_now_ns(const struct node *n);
void turn_node(struct node *n, uint64_t wait_ms);

#define TURN_NODES_UNTIL(holds) \
	do { \
		uint64_t until_ns = loop_now_ns() + 10 * NS_PER_S; \
		while (!(holds) && loop_now_ns() < until_ns) { \
			turn_node(&node_a, 2); \
			if (node_b.links) \
				turn_node(&node_b, 2); \
		} \
		cr_assert(holds); \
	} while (0)

/* What is under way, if anything, has come after this. */
void settle_nodes(void);

/* ---- what they told ---- */

link_handler on_link; /* its context is the node */
unsigned count_told(const struct node *n, enum link_event_kind kind);
const struct told *last_told(const struct node *n, enum link_event_kind kind);

#define EXPECT_REASON(node, kind, words) \
	cr_expect(strstr(last_told(node, kind)->reason, words), "\"%s\" is not in the reason: %s", words, \
		  last_told(node, kind)->reason)

/* ---- a peer made of a bare socket ---- */

int connect_bare(const struct node *n);
struct wire_hello good_hello(void);
void write_all(int fd, const void *bytes, size_t len);
void write_hello(int fd, const struct wire_hello *hello);

/* The hello that node_a answers, while it turns. */
struct wire_hello read_hello(int fd);

bool is_closed(int fd);

/* node_a alone, and host 2 as a bare socket that is up. */
int begin_with_bare_peer(int engine);

/* An agent's frame in a_frame, with `len` bytes that `seed` decides; answers its length. */
extern unsigned char a_frame[WIRE_FRAME_MAX];
size_t make_frame(size_t len, uint64_t seed);

#endif
