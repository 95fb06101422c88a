/* SPDX-License-Identifier: Apache-2.0 */
/* loop: the same contract from epoll and from each flavour of io_uring. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "loop_rig.h"

#define EACH_ENGINE(test) EACH_ENGINE_OF(loop, test)

static unsigned char *pattern(size_t len, uint64_t seed)
{
	unsigned char *bytes = malloc(len);

	for (size_t i = 0; i < len; i++)
		bytes[i] = (unsigned char)(i % 7 == 0 ? random_next(&seed) : i);
	return bytes;
}

Test(loop, closing_nothing_is_fine)
{
	loop_close(NULL);
}

EACH_ENGINE(opening_without_descriptors_left_is_an_error)
{
	struct rlimit before, none;
	struct loop *l = NULL;
	const char *why;
	int rc;

	loop_close(open_engine(*engine));
	getrlimit(RLIMIT_NOFILE, &before);
	none = (struct rlimit){ 0, before.rlim_max };
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	rc = *engine == EPOLL ? loop_epoll_open(&l) : loop_uring_open(&l, (enum loop_flavour) * engine, &why);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	cr_expect_eq(rc, -EMFILE);
	cr_expect_null(l);
}

/* ---- turns ---- */

EACH_ENGINE(a_turn_waits_until_its_deadline_and_no_longer)
{
	struct loop *l = open_engine(*engine);
	uint64_t deadline_ns = loop_now_ns() + 30 * NS_PER_MS;

	cr_assert_eq(loop_turn(l, deadline_ns, record_event, NULL), 0);
	cr_expect_geq(loop_now_ns(), deadline_ns);
	cr_assert_eq(loop_turn(l, 0, record_event, NULL), 0);
	cr_assert_eq(loop_turn(l, deadline_ns, record_event, NULL), 0); /* past */
	cr_expect_eq(n_came, 0);
	cr_expect_eq(loop_counts(l).enters, 3, "an idle turn is one system call");
	loop_close(l);
}

EACH_ENGINE(a_turn_without_deadline_ends_with_the_first_event)
{
	struct loop *l = open_engine(*engine);
	int fd = eventfd(1, EFD_NONBLOCK);

	cr_assert_eq(loop_poll(l, fd, 5), 0);
	cr_assert_eq(loop_turn(l, NEVER, record_event, NULL), 0);
	cr_expect_eq(count_events(LOOP_READABLE, 5), 1);
	loop_close(l);
}

struct written {
	int to;
	uint64_t at_ns; /* 0: not yet */
};

/* The first event makes more come for the second. */
static void write_once(void *context, const struct loop_event *event)
{
	struct written *w = context;

	record_event(NULL, event);
	if (w->at_ns)
		return;
	w->at_ns = loop_now_ns();
	cr_assert_eq(write(w->to, "x", 1), 1);
}

EACH_ENGINE(an_event_bears_a_time_at_which_it_had_happened)
{
	struct loop *l = open_engine(*engine);
	int pair[2][2];
	struct written written;
	uint64_t before_ns;

	for (int i = 0; i < 2; i++) {
		make_pair(pair[i]);
		cr_assert_eq(loop_receive(l, pair[i][0], (uint64_t)i), 0);
	}
	for (int turn = 0; turn < 2; turn++) {
		n_came = 0;
		before_ns = loop_now_ns();
		for (int i = 0; i < 2; i++)
			cr_assert_eq(write(pair[i][1], "x", 1), 1);
		written = (struct written){ .to = pair[1][1] };
		for (n_bytes = 0; n_bytes < 3;)
			cr_assert_eq(loop_turn(l, before_ns + 10 * NS_PER_S, write_once, &written), 0);
		for (unsigned i = 0; i < n_came; i++) {
			cr_expect_geq(came[i].now_ns, before_ns, "not that of an earlier turn");
			cr_expect_leq(came[i].now_ns, loop_now_ns());
			cr_expect(i == 0 || came[i].result < 2 || came[i].now_ns >= written.at_ns, "engine %d: it holds what came later", *engine);
		}
	}
	loop_close(l);
}

EACH_ENGINE(a_turn_that_handed_out_something_does_not_wait)
{
	struct loop *l = open_engine(*engine);
	uint64_t deadline_ns = loop_now_ns() + 20 * NS_PER_S;
	int pair[2];

	make_pair(pair);
	cr_assert_eq(loop_send(l, pair[0], "x", 1, 1), 0);
	cr_assert_eq(loop_turn(l, deadline_ns, record_event, NULL), 0);
	cr_expect_eq(count_events(LOOP_SENT, 1), 1);
	cr_expect_lt(loop_now_ns(), deadline_ns);
	loop_close(l);
}

EACH_ENGINE(starting_makes_no_system_call)
{
	struct loop *l = open_engine(*engine);
	int pair[2];

	make_pair(pair);
	cr_assert_eq(loop_receive(l, pair[0], 1), 0);
	cr_assert_eq(loop_send(l, pair[0], "x", 1, 2), 0);
	cr_expect_eq(loop_counts(l).enters, 0);
	loop_forget(l, pair[0]);
	cr_expect_eq(loop_counts(l).enters, 0);
	settle_loop(l);
	cr_expect_eq(n_came, 0);
	cr_expect_lt(read(pair[1], (char[1]){ 0 }, 1), 0);
	loop_close(l);
}

EACH_ENGINE(a_side_has_one_watch)
{
	struct loop *l = open_engine(*engine);
	int pair[2];

	make_pair(pair);
	cr_assert_eq(loop_receive(l, pair[0], 1), 0);
	cr_expect_eq(loop_receive(l, pair[0], 2), -EBUSY);
	cr_expect_eq(loop_poll(l, pair[0], 2), -EBUSY);
	cr_assert_eq(loop_send(l, pair[0], "x", 1, 3), 0);
	cr_expect_eq(loop_send(l, pair[0], "x", 1, 3), -EBUSY);
	cr_expect_eq(loop_receive(l, -1, 1), -EBADF);
	cr_expect_eq(loop_send(l, pair[1], "", 0, 1), -EINVAL);
	loop_close(l);
}

/* ---- connections ---- */

EACH_ENGINE(connects_accepts_sends_and_receives)
{
	struct loop *l = open_engine(*engine);
	struct sockaddr_in address;
	int listener = listen_somewhere(&address), accepted;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	cr_assert_eq(loop_accept(l, listener, 1), 0);
	cr_assert_eq(loop_connect(l, fd, (struct sockaddr *)&address, sizeof(address), 2), 0);
	memset(&address, 0xff, sizeof(address)); /* it was copied */
	TURN_LOOP_UNTIL(l, count_events(LOOP_ACCEPTED, 1) && count_events(LOOP_CONNECTED, 2));
	cr_expect_eq(last_event(LOOP_CONNECTED, 2)->result, 0);
	accepted = last_event(LOOP_ACCEPTED, 1)->result;
	cr_assert_geq(accepted, 0);
	cr_expect(fcntl(accepted, F_GETFL) & O_NONBLOCK);
	cr_expect(fcntl(accepted, F_GETFD) & FD_CLOEXEC);

	cr_assert_eq(loop_receive(l, accepted, 3), 0);
	settle_loop(l); /* waits for bytes that are not there yet */
	cr_assert_eq(loop_send(l, fd, "hello", 5, 4), 0);
	TURN_LOOP_UNTIL(l, count_events(LOOP_RECEIVED, 3) && count_events(LOOP_SENT, 4));
	cr_expect_eq(last_event(LOOP_SENT, 4)->result, 5);
	cr_expect_eq(last_event(LOOP_SENT, 4)->fd, fd);
	cr_expect_eq(n_bytes, 5);
	cr_expect_arr_eq(bytes_came, "hello", 5);
	loop_close(l);
}

EACH_ENGINE(a_refused_connection_is_told)
{
	struct loop *l = open_engine(*engine);
	struct sockaddr_in address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	close(listen_somewhere(&address));
	cr_assert_eq(loop_connect(l, fd, (struct sockaddr *)&address, sizeof(address), 2), 0);
	TURN_LOOP_UNTIL(l, count_events(LOOP_CONNECTED, 2));
	cr_expect_eq(last_event(LOOP_CONNECTED, 2)->result, -ECONNREFUSED);
	loop_close(l);
}

EACH_ENGINE(accept_goes_on)
{
	struct loop *l = open_engine(*engine);
	struct sockaddr_in address;
	int listener = listen_somewhere(&address);

	cr_assert_eq(loop_accept(l, listener, 1), 0);
	for (unsigned i = 1; i <= 10; i++) {
		connect_to(&address);
		TURN_LOOP_UNTIL(l, count_events(LOOP_ACCEPTED, 1) == i);
		cr_expect_geq(last_event(LOOP_ACCEPTED, 1)->result, 0);
	}
	loop_close(l);
}

/* As the ring of a killed agent does, until the kernel has taken it apart. */
EACH_ENGINE(another_loop_that_waits_for_the_same_listener_takes_no_wake_up_away)
{
	struct loop *dead = open_engine(*engine), *l = open_engine(*engine);
	struct sockaddr_in address;
	int listener = listen_somewhere(&address);

	cr_assert_eq(loop_accept(dead, listener, 9), 0);
	settle_loop(dead); /* it waits, and takes no turn any more */
	cr_assert_eq(loop_accept(l, listener, 1), 0);
	settle_loop(l);
	for (unsigned i = 1; i <= 3; i++) {
		connect_to(&address);
		TURN_LOOP_UNTIL(l, count_events(LOOP_ACCEPTED, 1) == i);
	}
	cr_expect_eq(count_events(LOOP_ACCEPTED, 9), 0);
	loop_close(l);
	loop_close(dead);
}

EACH_ENGINE(accept_pauses_when_descriptors_are_used_up)
{
	struct loop *l = open_engine(*engine);
	struct sockaddr_in address;
	int listener = listen_somewhere(&address), client;
	struct rlimit before, few;
	uint64_t begin_ns;

	client = connect_to(&address);
	getrlimit(RLIMIT_NOFILE, &before);
	few = (struct rlimit){ (rlim_t)client + 1, before.rlim_max };
	for (int fd = 0; fd < client; fd++) /* no hole below */
		if (fcntl(fd, F_GETFD) < 0)
			dup2(client, fd);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);

	begin_ns = loop_now_ns();
	cr_assert_eq(loop_accept(l, listener, 1), 0);
	TURN_LOOP_UNTIL(l, count_events(LOOP_ACCEPTED, 1) == 3);
	cr_expect_eq(last_event(LOOP_ACCEPTED, 1)->result, -EMFILE);
	cr_expect_geq(loop_now_ns() - begin_ns, 2 * LOOP_ACCEPT_PAUSE_MS * NS_PER_MS, "said once in each pause");

	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	TURN_LOOP_UNTIL(l, last_event(LOOP_ACCEPTED, 1)->result >= 0);
	loop_close(l);
}

EACH_ENGINE(the_end_of_a_stream_ends_the_watch)
{
	struct loop *l = open_engine(*engine);
	int pair[2];

	make_pair(pair);
	cr_assert_eq(loop_receive(l, pair[0], 1), 0);
	cr_assert_eq(write(pair[1], "bye", 3), 3);
	close(pair[1]);
	TURN_LOOP_UNTIL(l, count_events(LOOP_RECEIVED, 1) == 2);
	cr_expect_eq(came[0].result, 3);
	cr_expect_eq(came[1].result, 0);
	settle_loop(l);
	cr_expect_eq(n_came, 2);
	cr_expect_eq(loop_receive(l, pair[0], 2), 0, "it has ended by itself");
	loop_close(l);
}

EACH_ENGINE(a_reset_connection_is_told_both_ways)
{
	struct loop *l = open_engine(*engine);
	struct sockaddr_in address;
	int listener = listen_somewhere(&address), client = connect_to(&address), fd = accept(listener, NULL, NULL);
	struct linger reset = { 1, 0 };

	setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(client);
	cr_assert_eq(loop_receive(l, fd, 1), 0);
	TURN_LOOP_UNTIL(l, count_events(LOOP_RECEIVED, 1));
	cr_expect_eq(last_event(LOOP_RECEIVED, 1)->result, -ECONNRESET);
	cr_assert_eq(loop_send(l, fd, "x", 1, 2), 0);
	TURN_LOOP_UNTIL(l, count_events(LOOP_SENT, 2)); /* and no SIGPIPE */
	cr_expect_eq(last_event(LOOP_SENT, 2)->result, -EPIPE);
	loop_close(l);
}

EACH_ENGINE(large_sends_both_ways_at_once_arrive_whole)
{
	enum { LEN = 4 << 20 };
	struct loop *l = open_engine(*engine);
	unsigned char *out[2] = { pattern(LEN, 1), pattern(LEN, 2) }, *in[2] = { malloc(LEN), malloc(LEN) };
	size_t got[2] = { 0, 0 };
	unsigned seen = 0;
	int pair[2];

	make_pair(pair);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(loop_receive(l, pair[i], (uint64_t)i), 0);
		cr_assert_eq(loop_send(l, pair[i], out[i], LEN, 10 + (uint64_t)i), 0);
	}
	while (got[0] < LEN || got[1] < LEN || !count_events(LOOP_SENT, 10) || !count_events(LOOP_SENT, 11)) {
		n_bytes = 0;
		seen = n_came;
		cr_assert_eq(loop_turn(l, loop_now_ns() + 10 * NS_PER_S, record_event, NULL), 0);
		cr_assert_gt(n_came, seen, "nothing comes any more");
		for (size_t at = 0; seen < n_came; seen++) {
			uint64_t i = came[seen].tag;

			if (came[seen].kind != LOOP_RECEIVED)
				continue;
			cr_assert_gt(came[seen].result, 0);
			memcpy(in[i] + got[i], bytes_came + at, (size_t)came[seen].result);
			got[i] += (size_t)came[seen].result;
			at += (size_t)came[seen].result;
		}
	}
	for (int i = 0; i < 2; i++) {
		cr_expect_eq(last_event(LOOP_SENT, 10 + (uint64_t)i)->result, LEN);
		cr_expect_eq(count_events(LOOP_SENT, 10 + (uint64_t)i), 1);
		cr_expect(memcmp(in[i], out[1 - i], LEN) == 0);
	}
	loop_close(l);
	for (int i = 0; i < 2; i++) {
		free(in[i]);
		free(out[i]);
	}
}

EACH_ENGINE(more_bytes_at_once_than_buffers_all_arrive)
{
	enum { PAIRS = 100,
	       EACH = 64 << 10 };
	static unsigned char bytes[EACH];
	static size_t got[PAIRS];
	struct loop *l = open_engine(*engine);
	size_t at = 0;
	int pairs[PAIRS][2];

	for (unsigned i = 0; i < PAIRS; i++) {
		make_pair(pairs[i]);
		cr_assert_eq(loop_receive(l, pairs[i][0], i), 0);
	}
	settle_loop(l);
	for (unsigned i = 0; i < PAIRS; i++) {
		memset(bytes, (int)i, EACH);
		cr_assert_eq(write(pairs[i][1], bytes, EACH), EACH);
	}
	TURN_LOOP_UNTIL(l, n_bytes == (size_t)PAIRS * EACH);
	for (unsigned i = 0; i < n_came; i++) {
		cr_assert_gt(came[i].result, 0);
		cr_assert_eq(bytes_came[at], came[i].tag);
		got[came[i].tag] += (size_t)came[i].result;
		at += (size_t)came[i].result;
	}
	for (unsigned i = 0; i < PAIRS; i++)
		cr_expect_eq(got[i], EACH);
	if (*engine != EPOLL)
		cr_expect_gt(loop_counts(l).rearmed, 0, "this was to use up the buffers");
	loop_close(l);
}

/* ---- poll ---- */

EACH_ENGINE(poll_reports_in_each_turn_while_it_is_readable)
{
	struct loop *l = open_engine(*engine);
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	uint64_t value = 1;

	cr_assert_eq(loop_poll(l, fd, 1), 0);
	settle_loop(l);
	cr_expect_eq(n_came, 0);
	cr_assert_eq(write(fd, &value, 8), 8);
	TURN_LOOP_UNTIL(l, count_events(LOOP_READABLE, 1) == 3); /* nobody reads it */
	cr_assert_eq(read(fd, &value, 8), 8);
	settle_loop(l);
	cr_expect_leq(n_came, 4, "one report may have been under way");
	n_came = 0;
	settle_loop(l);
	cr_expect_eq(n_came, 0);
	cr_assert_eq(write(fd, &value, 8), 8);
	TURN_LOOP_UNTIL(l, count_events(LOOP_READABLE, 1));
	cr_expect_eq(last_event(LOOP_READABLE, 1)->result, 0);
	loop_close(l);
}

EACH_ENGINE(poll_reports_a_hang_up)
{
	struct loop *l = open_engine(*engine);
	int pair[2];

	make_pair(pair);
	cr_assert_eq(loop_poll(l, pair[0], 1), 0);
	settle_loop(l);
	close(pair[1]);
	TURN_LOOP_UNTIL(l, count_events(LOOP_READABLE, 1));
	loop_close(l);
}

/* ---- forgetting ---- */

EACH_ENGINE(a_forgotten_receive_is_silent_even_when_bytes_were_there)
{
	struct loop *l = open_engine(*engine);
	int pair[2];
	char byte;

	make_pair(pair);
	cr_assert_eq(loop_receive(l, pair[0], 1), 0);
	settle_loop(l);
	cr_assert_eq(write(pair[1], "x", 1), 1);
	loop_forget(l, pair[0]);
	settle_loop(l);
	cr_expect_eq(n_came, 0);
	cr_assert_eq(write(pair[1], "y", 1), 1);
	settle_loop(l);
	cr_expect_eq(n_came, 0);
	cr_expect_eq(read(pair[0], &byte, 1), 1, "nobody takes the bytes of a forgotten descriptor");
	loop_close(l);
}

EACH_ENGINE(a_forgotten_descriptor_may_be_watched_again)
{
	struct loop *l = open_engine(*engine);
	int pair[2];

	make_pair(pair);
	for (unsigned i = 1; i <= 3; i++) {
		cr_assert_eq(loop_receive(l, pair[0], i), 0);
		settle_loop(l);
		cr_assert_eq(write(pair[1], "x", 1), 1);
		TURN_LOOP_UNTIL(l, count_events(LOOP_RECEIVED, i));
		loop_forget(l, pair[0]);
	}
	cr_expect_eq(n_bytes, 3);
	loop_close(l);
}

/* As a handler does that sees the end of a connection. */
static void close_at_end(void *context, const struct loop_event *event)
{
	record_event(NULL, event);
	cr_assert_eq(event->result, 0);
	loop_forget(context, event->fd);
	close(event->fd);
}

EACH_ENGINE(a_forgotten_descriptor_costs_no_turns_though_its_file_lives_on)
{
	struct loop *l = open_engine(*engine);
	uint64_t deadline_ns;
	int pair[2];

	make_pair(pair);
	cr_assert_geq(dup(pair[0]), 0);
	cr_assert_eq(loop_receive(l, pair[0], 1), 0);
	settle_loop(l);
	close(pair[1]);
	while (!n_came)
		cr_assert_eq(loop_turn(l, loop_now_ns() + NS_PER_S, close_at_end, l), 0);
	settle_loop(l);
	deadline_ns = loop_now_ns() + 20 * NS_PER_MS;
	cr_assert_eq(loop_turn(l, deadline_ns, record_event, NULL), 0);
	cr_expect_geq(loop_now_ns(), deadline_ns);
	loop_close(l);
}

EACH_ENGINE(a_forgotten_send_no_longer_reads_its_bytes)
{
	enum { LEN = 8 << 20 };
	struct loop *l = open_engine(*engine);
	unsigned char *bytes = malloc(LEN), got[4096];
	int pair[2];
	ssize_t n;

	make_pair(pair);
	memset(bytes, 'a', LEN);
	cr_assert_eq(loop_send(l, pair[0], bytes, LEN, 1), 0);
	settle_loop(l);
	cr_expect_eq(n_came, 0, "more than the socket takes");
	cr_assert_gt(read(pair[1], got, sizeof(got)), 0); /* there is room: a send that goes on would */
	loop_forget(l, pair[0]);
	memset(bytes, 'b', LEN);
	settle_loop(l);
	cr_expect_eq(n_came, 0);
	while ((n = read(pair[1], got, sizeof(got))) > 0) {
		cr_assert_null(memchr(got, 'b', (size_t)n));
		cr_assert_eq(loop_turn(l, 0, record_event, NULL), 0);
	}
	cr_expect_eq(n_came, 0);
	cr_expect_eq(loop_send(l, pair[0], "c", 1, 2), 0, "the descriptor may be used again");
	TURN_LOOP_UNTIL(l, count_events(LOOP_SENT, 2));
	loop_close(l);
	free(bytes);
}

EACH_ENGINE(closing_a_forgotten_descriptor_closes_the_connection)
{
	struct loop *l = open_engine(*engine);
	int pair[2];
	char byte;

	make_pair(pair);
	cr_assert_eq(loop_receive(l, pair[0], 1), 0);
	settle_loop(l);
	loop_forget(l, pair[0]);
	close(pair[0]);
	cr_expect_eq(read(pair[1], &byte, 1), 0, "no turn was needed for that");
	loop_close(l);
}

EACH_ENGINE(a_listener_is_free_as_soon_as_it_is_closed)
{
	struct loop *l = open_engine(*engine);
	struct sockaddr_in address;
	int listener = listen_somewhere(&address), again = socket(AF_INET, SOCK_STREAM, 0);

	cr_assert_eq(loop_accept(l, listener, 1), 0);
	settle_loop(l);
	loop_close(l);
	cr_expect_geq(fcntl(listener, F_GETFD), 0, "the descriptor is the caller's");
	close(listener);
	cr_expect_eq(bind(again, (struct sockaddr *)&address, sizeof(address)), 0);
}

EACH_ENGINE(a_number_used_again_hears_nothing_of_its_past)
{
	struct loop *l = open_engine(*engine);
	int old[2], new[2], number;

	make_pair(old);
	number = old[0];
	cr_assert_eq(loop_receive(l, number, 1), 0);
	settle_loop(l);
	cr_assert_eq(write(old[1], "old", 3), 3);
	loop_forget(l, number);
	close(number);
	make_pair(new);
	if (new[0] != number) {
		cr_assert_eq(dup2(new[0], number), number);
		close(new[0]);
	}
	cr_assert_eq(loop_receive(l, number, 2), 0);
	settle_loop(l);
	cr_expect_eq(n_came, 0);
	cr_assert_eq(write(new[1], "new", 3), 3);
	TURN_LOOP_UNTIL(l, n_came);
	cr_expect_eq(n_came, 1);
	cr_expect_eq(came[0].tag, 2);
	cr_expect_arr_eq(bytes_came, "new", 3);
	loop_close(l);
}

/* Two descriptors are ready in one turn; the handler of the first replaces the second. */
struct replacement {
	struct loop *loop;
	int numbers[2], fresh, replaced;
};

static void replace_other(void *context, const struct loop_event *event)
{
	struct replacement *r = context;
	int other = r->numbers[event->fd == r->numbers[0]];

	record_event(NULL, event);
	if (r->replaced >= 0)
		return;
	r->replaced = other;
	loop_forget(r->loop, other);
	cr_assert_eq(dup2(r->fresh, other), other);
	cr_assert_eq(loop_receive(r->loop, other, 99), 0);
}

EACH_ENGINE(a_handler_may_replace_a_descriptor_whose_result_is_there)
{
	struct loop *l = open_engine(*engine);
	struct replacement r = { .loop = l, .replaced = -1 };
	int pairs[2][2], fresh[2];

	make_pair(fresh);
	r.fresh = fresh[0];
	for (int i = 0; i < 2; i++) {
		make_pair(pairs[i]);
		r.numbers[i] = pairs[i][0];
		cr_assert_eq(loop_receive(l, pairs[i][0], (uint64_t)i), 0);
	}
	settle_loop(l);
	for (int i = 0; i < 2; i++)
		cr_assert_eq(write(pairs[i][1], "old", 3), 3);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(loop_turn(l, loop_now_ns() + 5 * NS_PER_MS, replace_other, &r), 0);
	cr_assert_geq(r.replaced, 0);
	cr_expect_eq(n_came, 1, "the other one was forgotten before its event was handed out");
	cr_assert_eq(write(fresh[1], "new", 3), 3);
	TURN_LOOP_UNTIL(l, n_came == 2);
	cr_expect_eq(came[1].tag, 99);
	cr_expect_eq(came[1].fd, r.replaced);
	loop_close(l);
}

EACH_ENGINE(a_connection_for_a_forgotten_listener_is_not_kept)
{
	struct loop *l = open_engine(*engine);
	struct sockaddr_in address;
	int listener = listen_somewhere(&address), client;
	char byte;

	cr_assert_eq(loop_accept(l, listener, 1), 0);
	settle_loop(l);
	client = connect_to(&address);
	loop_forget(l, listener);
	close(listener);
	settle_loop(l);
	cr_expect_eq(n_came, 0);
	cr_expect_leq(recv(client, &byte, 1, 0), 0, "it is closed, whoever had taken it");
	loop_close(l);
}

/* A handler forgets its own descriptor and starts anew under another tag. */
static void begin_anew(void *context, const struct loop_event *event)
{
	struct loop *l = context;

	record_event(NULL, event);
	loop_forget(l, event->fd);
	cr_assert_eq(loop_receive(l, event->fd, event->tag + 1), 0);
}

EACH_ENGINE(a_handler_may_forget_and_start_its_own_descriptor)
{
	struct loop *l = open_engine(*engine);
	int pair[2];

	make_pair(pair);
	cr_assert_eq(loop_receive(l, pair[0], 0), 0);
	for (unsigned i = 0; i < 20; i++) {
		cr_assert_eq(write(pair[1], "x", 1), 1);
		while (n_came == i)
			cr_assert_eq(loop_turn(l, loop_now_ns() + NS_PER_S, begin_anew, l), 0);
		cr_assert_eq(n_came, i + 1);
		cr_assert_eq(came[i].tag, i);
	}
	loop_close(l);
}
