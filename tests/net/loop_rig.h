/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_rig: what the tests of loops and links share: an engine of each kind, a record of what came, and sockets.
 */
#ifndef PAXSHM_TESTS_NET_LOOP_RIG_H
#define PAXSHM_TESTS_NET_LOOP_RIG_H

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <netinet/in.h>

#include "../../net/loop_engine.h"

#define EPOLL LOOP_FLAVOURS /* beside the flavours of io_uring */

/* A test that runs once with each; the engine is *engine. */
#define EACH_ENGINE_OF(suite, test) \
	ParameterizedTestParameters(suite, test) \
	{ \
		static int engines[] = { LOOP_DEFERRED, LOOP_COOPERATIVE, LOOP_PLAIN, EPOLL }; \
		return cr_make_param_array(int, engines, sizeof(engines) / sizeof(*engines)); \
	} \
	ParameterizedTest(int *engine, suite, test)

/* Skips the test where io_uring is forbidden. */
struct loop *open_engine(int engine);

/* ---- what came ---- */

#define CAME_MAX 4096
extern struct loop_event came[CAME_MAX];
extern unsigned n_came;
extern unsigned char bytes_came[16 << 20];
extern size_t n_bytes;

loop_handler record_event;
unsigned count_events(enum loop_event_kind kind, uint64_t tag);
const struct loop_event *last_event(enum loop_event_kind kind, uint64_t tag);

/* Turns until it holds; what should come in milliseconds gets many. */
#define TURN_LOOP_UNTIL(l, holds) \
	do { \
		uint64_t until_ns = loop_now_ns() + 10000000000ull; \
		while (!(holds) && loop_now_ns() < until_ns) \
			cr_assert_eq(loop_turn(l, loop_now_ns() + 20000000ull, record_event, NULL), 0); \
		cr_assert(holds); \
	} while (0)

/* What is under way, if anything, has come after this. */
void settle_loop(struct loop *l);

/* ---- sockets ---- */

void make_pair(int pair[2]);
int listen_somewhere(struct sockaddr_in *ret);
int connect_to(const struct sockaddr_in *address); /* blocking */

#endif
