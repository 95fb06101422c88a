/* SPDX-License-Identifier: Apache-2.0 */
/* ring: what a session asks comes over whole and in order; nonsense is refused; one bell, one sleeper. */
#include "../../shm/ring.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "../../shm/atom.h"

static struct session_rings *rings_new(void)
{
	struct session_rings *r = aligned_alloc(64, sizeof(*r));

	memset(r, 0, sizeof(*r));
	rings_format(r, 3, 77);
	return r;
}

static struct ring_request acquire_request(uint32_t call)
{
	return (struct ring_request){ .op = REQUEST_ACQUIRE, .call = call, .mode = 5, .key_len = 1, .key = "k" };
}

/* ---- making and recognising ---- */

Test(ring, formatted_rings_are_verified)
{
	struct session_rings *r = rings_new();

	cr_assert_null(rings_verify(r, sizeof(*r)));
	cr_assert_null(rings_verify(r, sizeof(*r) + 4096));
	cr_assert_eq(r->slot, 3);
	cr_assert_eq(r->incarnation, 77);
	free(r);
}

#define refuses(change) \
	do { \
		struct session_rings *r = rings_new(); \
		change; \
		cr_assert_not_null(rings_verify(r, sizeof(*r)), #change); \
		free(r); \
	} while (0)

Test(ring, verify_refuses_what_does_not_fit)
{
	struct session_rings *whole = rings_new();

	cr_assert_not_null(rings_verify(whole, sizeof(*whole) - 1));
	refuses(r->segment.magic = 0);
	refuses(r->segment.version++);
	refuses(r->segment.kind = SEGMENT_TABLES);
	refuses(r->segment.size--);
	refuses(r->slot = 0);
	refuses(r->slot = SESSIONS_MAX + 1);
	free(whole);
}

/* ---- requests ---- */

Test(ring, requests_come_in_order_and_whole_over_many_rounds)
{
	struct session_rings *r = rings_new();
	struct ring_request got;

	for (uint32_t n = 0; n < 5 * RING_REQUESTS; n++) {
		struct ring_request q = acquire_request(n % RING_CALLS);

		q.key_len = (uint8_t)(n * 7);
		memset(q.key, (int)n, sizeof(q.key));
		cr_assert_eq(ring_peek(r, n, &got), 0);
		cr_assert(ring_push(r, &q));
		cr_assert_eq(ring_peek(r, n, &got), 1);
		cr_assert_eq(memcmp(&q, &got, offsetof(struct ring_request, key) + q.key_len), 0);
		ring_publish_head(r, n + 1);
	}
	free(r);
}

Test(ring, a_full_ring_takes_nothing_until_the_agent_took_some)
{
	struct session_rings *r = rings_new();
	struct ring_request q = acquire_request(0), got;

	for (uint32_t n = 0; n < RING_REQUESTS; n++) {
		q.target = n;
		cr_assert(ring_push(r, &q));
	}
	cr_assert_not(ring_push(r, &q));
	cr_assert_eq(ring_peek(r, 0, &got), 1);
	cr_assert_eq(got.target, 0); /* not overwritten */
	ring_publish_head(r, 1);
	cr_assert(ring_push(r, &q));
	cr_assert_not(ring_push(r, &q));
	free(r);
}

Test(ring, counts_may_wrap)
{
	struct session_rings *r = rings_new();
	struct ring_request q = acquire_request(1), got;
	uint32_t at = UINT32_MAX - 1;

	r->request_head = r->request_tail = at;
	for (unsigned n = 0; n < RING_REQUESTS; n++)
		cr_assert(ring_push(r, &q));
	cr_assert_not(ring_push(r, &q));
	for (unsigned n = 0; n < RING_REQUESTS; n++)
		cr_assert_eq(ring_peek(r, at++, &got), 1);
	cr_assert_eq(ring_peek(r, at, &got), 0);
	free(r);
}

Test(ring, a_tail_out_of_range_is_refused_and_nothing_copied)
{
	struct session_rings *r = rings_new();
	struct ring_request got = { .op = 99 };
	const uint32_t nonsense[] = { 10 + RING_REQUESTS + 1, 9, 0, UINT32_MAX, 0x80000000 };

	for (unsigned i = 0; i < sizeof(nonsense) / sizeof(*nonsense); i++) {
		r->request_tail = nonsense[i];
		cr_assert_eq(ring_peek(r, 10, &got), -EPROTO);
	}
	r->request_head = 12345; /* the agent goes by its own */
	r->request_tail = 10;
	cr_assert_eq(ring_peek(r, 10, &got), 0);
	cr_assert_eq(got.op, 99);
	free(r);
}

#define accepts(...) \
	do { \
		struct ring_request q_ = { __VA_ARGS__ }; \
		const char *wrong_ = ring_request_check(&q_); \
		cr_assert_null(wrong_, #__VA_ARGS__ ": %s", wrong_); \
	} while (0)
#define rejects(...) \
	do { \
		struct ring_request q_ = { __VA_ARGS__ }; \
		cr_assert_not_null(ring_request_check(&q_), #__VA_ARGS__); \
	} while (0)

Test(ring, sound_requests_pass)
{
	accepts(.op = REQUEST_ACQUIRE, .mode = 5, .key_len = 255, .call = RING_CALLS - 1);
	accepts(.op = REQUEST_ACQUIRE, .mode = 5, .key_len = 1, .flags = REQUEST_TRY | REQUEST_RETURN);
	accepts(.op = REQUEST_RELEASE, .claim = UINT64_MAX, .call = CALL_NONE);
	accepts(.op = REQUEST_RELEASE, .call = 4);
	accepts(.op = REQUEST_CANCEL, .call = CALL_NONE, .target = RING_CALLS - 1, .reason = -ETIMEDOUT);
	accepts(.op = REQUEST_CANCEL, .reason = -ECANCELED);
	accepts(.op = REQUEST_HOLDER, .key_len = 1, .flags = REQUEST_LINEARIZABLE | REQUEST_RETURN);
	accepts(.op = REQUEST_CLOSE);
	accepts(.op = REQUEST_LEAD, .target = HOSTS_MAX - 1);
	accepts(.op = REQUEST_GATE, .call = CALL_NONE, .target = 1);
}

Test(ring, nonsense_is_refused)
{
	rejects(.op = 0);
	rejects(.op = REQUEST_GATE + 1);
	rejects(.op = REQUEST_GATE, .target = 1, .flags = 1);
	rejects(.op = UINT32_MAX);
	rejects(.op = REQUEST_LEAD, .target = 1, .flags = 1);
	rejects(.op = REQUEST_ACQUIRE, .mode = 5, .key_len = 0);
	rejects(.op = REQUEST_ACQUIRE, .mode = 6, .key_len = 1);
	rejects(.op = REQUEST_ACQUIRE, .mode = 5, .key_len = 1, .call = RING_CALLS);
	rejects(.op = REQUEST_ACQUIRE, .mode = 5, .key_len = 1, .call = CALL_NONE);
	rejects(.op = REQUEST_ACQUIRE, .mode = 5, .key_len = 1, .flags = REQUEST_LINEARIZABLE);
	rejects(.op = REQUEST_ACQUIRE, .mode = 5, .key_len = 1, .flags = 1u << 31);
	rejects(.op = REQUEST_RELEASE, .flags = REQUEST_TRY);
	rejects(.op = REQUEST_RELEASE, .call = CALL_NONE - 1);
	rejects(.op = REQUEST_CANCEL, .target = RING_CALLS, .reason = -ETIMEDOUT);
	rejects(.op = REQUEST_CANCEL, .reason = 0);
	rejects(.op = REQUEST_CANCEL, .reason = ETIMEDOUT);
	rejects(.op = REQUEST_CANCEL, .reason = -ETIMEDOUT, .flags = 1);
	rejects(.op = REQUEST_HOLDER, .key_len = 0);
	rejects(.op = REQUEST_HOLDER, .key_len = 1, .flags = REQUEST_TRY);
	rejects(.op = REQUEST_HOLDER, .key_len = 1, .call = CALL_NONE);
	rejects(.op = REQUEST_CLOSE, .call = CALL_NONE);
	rejects(.op = REQUEST_CLOSE, .flags = 1);
}

/* ---- completions ---- */

Test(ring, a_completion_is_seen_only_after_it_was_published)
{
	struct session_rings *r = rings_new();
	struct ring_completion c = { .call = 5, .result = -EBUSY, .token = 9 }, got;

	cr_assert_not(ring_take(r, &got));
	ring_put(r, 0, &c);
	cr_assert_not(ring_take(r, &got));
	ring_publish_tail(r, 1);
	cr_assert(ring_take(r, &got));
	cr_assert_eq(memcmp(&c, &got, sizeof(c)), 0);
	cr_assert_not(ring_take(r, &got));
	free(r);
}

Test(ring, there_is_room_for_a_completion_of_every_call)
{
	struct session_rings *r = rings_new();
	uint32_t from = UINT32_MAX - 7; /* wraps on the way */

	r->completion_head = r->completion_tail = from;
	for (uint32_t i = 0; i < RING_CALLS; i++) {
		struct ring_completion c = { .call = i };
		ring_put(r, from + i, &c);
	}
	ring_publish_tail(r, from + RING_CALLS);
	for (uint32_t i = 0; i < RING_CALLS; i++) {
		struct ring_completion got;
		cr_assert(ring_take(r, &got));
		cr_assert_eq(got.call, i);
	}
	free(r);
}

Test(ring, a_bell_changes_the_word_and_says_whether_somebody_sleeps)
{
	struct session_rings *r = rings_new();

	cr_assert_not(ring_bell(r, 7));
	cr_assert_eq(r->bell[7], 2);
	r->bell[7] |= 1;
	cr_assert(ring_bell(r, 7));
	cr_assert_eq(r->bell[7], 5);
	cr_assert_eq(r->bell[6], 0);
	cr_assert_eq(r->bell[8], 0);
	free(r);
}

Test(ring, a_bell_of_no_call_is_an_error_of_the_program, .signal = SIGABRT)
{
	ring_bell(rings_new(), RING_CALLS);
}

/* ---- both at once ---- */

#define MANY 20000u

static void *agent_side(void *context)
{
	struct session_rings *r = context;

	for (uint32_t n = 0; n < MANY;) {
		struct ring_request q;

		if (ring_peek(r, n, &q) != 1) {
			sched_yield();
			continue;
		}
		struct ring_completion c = { .call = q.call, .claim = q.claim, .token = q.claim * 3 };
		ring_put(r, n++, &c);
		ring_publish_head(r, n);
		ring_publish_tail(r, n);
		ring_bell(r, c.call);
	}
	return NULL;
}

Test(ring, a_session_and_an_agent_at_once_lose_and_tear_nothing, .timeout = 60)
{
	struct session_rings *r = rings_new();
	uint32_t asked = 0, answered = 0;
	pthread_t agent;

	cr_assert_eq(pthread_create(&agent, NULL, agent_side, r), 0);
	while (answered < MANY) {
		struct ring_request q = acquire_request(asked % RING_CALLS);
		struct ring_completion c;

		q.claim = asked;
		if (asked < MANY && asked - answered < RING_CALLS && ring_push(r, &q))
			asked++;
		else if (ring_take(r, &c)) {
			cr_assert_eq(c.claim, answered);
			cr_assert_eq(c.token, 3ull * answered);
			cr_assert_eq(c.call, answered % RING_CALLS);
			answered++;
		} else
			sched_yield();
	}
	pthread_join(agent, NULL);
	for (unsigned i = 0; i < RING_CALLS; i++)
		cr_assert_geq(r->bell[i], 2 * (MANY / RING_CALLS));
	free(r);
}
