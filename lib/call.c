/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <time.h>

#include "../shm/atom.h"
#include "../shm/ring.h"
#include "../shm/sys.h"
#include "gateway.h"
#include "session.h"

#define LOOK_EVERY_NS NS_PER_S /* a sleeper looks whether the agent's side still stands */
#define SPIN_TURNS 2048u       /* at most, before a thread sleeps */
#define AGENT_SILENT 1         /* beside 0 and negative errno */

int patience_over(const struct paxshm_session *s, struct patience patience)
{
	if (patience.cancels && atom_load_seq_cst(&s->cancels) != *patience.cancels)
		return -ECANCELED;
	if (patience.deadline_ns != NEVER && sys_now_ns() >= patience.deadline_ns)
		return -ETIMEDOUT;
	return 0;
}

/* ---- slots; the mutex is held ---- */

static int slot_take(struct paxshm_session *s, uint8_t op)
{
	for (unsigned w = 0; w < WAITING_WORDS; w++) {
		uint64_t free = ~atom_load_relaxed(&s->waiting[w]);

		if (!free)
			continue;
		unsigned slot = w * 64 + (unsigned)__builtin_ctzll(free);
		ASSERT(s->calls[slot].state == CALL_FREE);
		s->calls[slot] = (struct call){ .state = CALL_WAITING, .op = op };
		atom_or_seq_cst(&s->waiting[w], 1ull << (slot % 64));
		return (int)slot;
	}
	return -ENOSPC;
}

static void slot_free(struct paxshm_session *s, unsigned slot)
{
	ASSERT(s->calls[slot].state != CALL_FREE);
	s->calls[slot].state = CALL_FREE;
	atom_and_seq_cst(&s->waiting[slot / 64], ~(1ull << (slot % 64)));
}

/* A grant goes back: a shared one by its claim; of an exclusive one the agent hears that it has the gate. */
static struct ring_request returned(const struct ring_completion *grant)
{
	return (struct ring_request){
		.op = grant->gate ? REQUEST_GATE : REQUEST_RELEASE,
		.call = CALL_NONE,
		.target = grant->gate,
		.claim = grant->claim,
	};
}

/* What given-up calls still owe the agent: their CANCEL, the release of a shared grant that nobody waits for any more, or
 * the word that such an exclusive one went back to it. As much of it as the ring has room for. */
static void owed_pay(struct paxshm_session *s)
{
	bool pushed = false;

	for (unsigned i = 0; i < RING_CALLS && s->owed; i++) {
		struct call *c = &s->calls[i];
		struct ring_request request = { .call = CALL_NONE };

		if (c->state == CALL_LATE) {
			request = returned(&c->answer);
		} else if (c->state == CALL_GIVEN_UP && c->uncancelled) {
			request.op = REQUEST_CANCEL;
			request.target = i;
			request.reason = c->reason;
		} else {
			continue;
		}
		if (!ring_push(s->rings, &request))
			break;
		pushed = true;
		s->owed--;
		if (c->state == CALL_LATE)
			slot_free(s, i);
		else
			c->uncancelled = false;
	}
	if (pushed)
		session_announce(s);
}

static void answer_late(struct paxshm_session *s, unsigned slot, const struct ring_completion *answer)
{
	struct call *c = &s->calls[slot];

	if (c->uncancelled)
		s->owed--;
	if (c->op != REQUEST_ACQUIRE) {
		slot_free(s, slot);
		return;
	}
	ASSERT(s->silent);
	atom_store_relaxed(&s->silent, s->silent - 1);
	if (answer->result == 0 && (!answer->gate || gateway_return_late(s, answer))) {
		c->state = CALL_LATE;
		c->answer = *answer;
		s->owed++;
	} else {
		slot_free(s, slot);
	}
}

/* Hands every answer that is there to its call, whichever thread waits for it. */
static void answers_take(struct paxshm_session *s)
{
	struct ring_completion answer;

	while (ring_take(s->rings, &answer)) {
		if (answer.call >= RING_CALLS)
			continue;
		struct call *c = &s->calls[answer.call];
		if (c->state == CALL_WAITING) {
			c->answer = answer;
			c->state = CALL_ANSWERED;
		} else if (c->state == CALL_GIVEN_UP) {
			answer_late(s, answer.call, &answer);
		} /* else nobody asked */
	}
	if (s->owed)
		owed_pay(s);
}

void call_hear(struct paxshm_session *s)
{
	if (!atom_load_relaxed(&s->silent))
		return;
	pthread_mutex_lock(&s->mutex);
	answers_take(s);
	pthread_mutex_unlock(&s->mutex);
}

/* ---- requests ---- */

/* Pushes, waiting for room. The mutex is held, and let go while waiting. */
static int push(struct paxshm_session *s, const struct ring_request *request, struct patience patience)
{
	for (unsigned turn = 0; !ring_push(s->rings, request); turn++) {
		struct timespec nap = { .tv_nsec = 50000l << MIN(turn / 16, 7u) }; /* 50 us … 6 ms */
		int rc;

		pthread_mutex_unlock(&s->mutex);
		session_announce(s);
		if (turn < 16)
			sched_yield();
		else
			nanosleep(&nap, NULL);
		rc = session_look(s) ? -ENOTCONN : patience_over(s, patience);
		pthread_mutex_lock(&s->mutex);
		if (rc)
			return rc;
	}
	return 0;
}

int call_post(struct paxshm_session *s, const struct ring_request *request, struct patience patience)
{
	if (session_lost(s))
		return -ENOTCONN;
	answers_take(s);
	int rc = push(s, request, patience);
	if (rc == 0)
		session_announce(s);
	return rc;
}

void call_return(struct paxshm_session *s, const struct ring_completion *grant, struct patience patience)
{
	struct ring_request request = returned(grant);

	pthread_mutex_lock(&s->mutex);
	int rc = call_post(s, &request, patience);
	int slot = rc == -ETIMEDOUT || rc == -ECANCELED ? slot_take(s, REQUEST_ACQUIRE) : -1;
	if (slot >= 0) { /* no request names it: it is a place to keep what is owed */
		s->calls[slot].state = CALL_LATE;
		s->calls[slot].answer = *grant;
		s->owed++;
	} else if (rc && rc != -ENOTCONN) {
		(void)call_post(s, &request, (struct patience){ .deadline_ns = NEVER });
	}
	pthread_mutex_unlock(&s->mutex);
}

/* Who would rather be told than wait is told of an agent that is stopped or hangs, too. */
static bool wants_word(const struct ring_request *request)
{
	return request->op == REQUEST_ACQUIRE && request->flags & (REQUEST_TRY | REQUEST_RETURN);
}

/* A slot, and the request in the ring: the slot, or negative errno and nothing happened. */
static int call_begin(struct paxshm_session *s, struct ring_request *request, struct patience patience)
{
	struct patience for_room = patience;
	int slot, rc;

	if (wants_word(request))
		for_room.deadline_ns = MIN(patience.deadline_ns, sys_now_ns() + s->agent_timeout_ns);
	pthread_mutex_lock(&s->mutex);
	answers_take(s);
	if (session_lost(s) || (s->silent && request->op == REQUEST_ACQUIRE))
		slot = -ENOTCONN;
	else
		slot = slot_take(s, (uint8_t)request->op);
	if (slot >= 0) {
		request->call = (uint32_t)slot;
		rc = push(s, request, for_room);
		if (rc) {
			slot_free(s, (unsigned)slot);
			slot = rc == -ETIMEDOUT && for_room.deadline_ns < patience.deadline_ns ? -ENOTCONN : rc;
		}
	}
	pthread_mutex_unlock(&s->mutex);
	if (slot >= 0)
		session_announce(s);
	return slot;
}

static bool call_answered(struct paxshm_session *s, unsigned slot)
{
	bool answered;

	pthread_mutex_lock(&s->mutex);
	if (s->calls[slot].state == CALL_WAITING)
		answers_take(s);
	answered = s->calls[slot].state == CALL_ANSWERED;
	pthread_mutex_unlock(&s->mutex);
	return answered;
}

/* Sleeps unless the bell was rung since `heard`. The agent (after the answer is visible) and
 * paxshm_cancel (after the count has moved) change the word before they look at bit 0; we set
 * bit 0 before we compare: one of the two sees the other. */
static void sleep_on(uint32_t *bell, uint32_t heard, uint64_t deadline_ns)
{
	uint32_t now = atom_or_seq_cst(bell, 1u) | 1u;

	if (now == (heard | 1u))
		sys_futex_wait(bell, now, deadline_ns);
	atom_and_seq_cst(bell, ~1u);
}

struct agent_seen {
	uint64_t step_ns, at_ns; /* its last step, and when we saw that it was a new one */
};

/* Whether the agent has taken no step for as long as it may be silent. It is rung for the next look: one that lives takes a step. */
static bool agent_stands_still(struct paxshm_session *s, struct agent_seen *seen)
{
	uint64_t step_ns = atom_load_relaxed(&s->tables->clock_ns), now_ns = sys_now_ns();

	if (step_ns != seen->step_ns)
		*seen = (struct agent_seen){ step_ns, now_ns };
	session_announce(s);
	return now_ns - seen->at_ns >= s->agent_timeout_ns;
}

/* 0: answered. -ETIMEDOUT, -ECANCELED: patience is over. -ENOTCONN: no answer will come. AGENT_SILENT, only if `word`. */
static int call_await(struct paxshm_session *s, unsigned slot, struct patience patience, bool word)
{
	uint32_t *bell = &s->rings->bell[slot];
	struct agent_seen seen = { 0 };

	for (;;) {
		uint32_t heard = atom_load_acquire(bell);
		uint64_t look_at;
		int rc;

		if (call_answered(s, slot))
			return 0;
		if (session_lost(s))
			return -ENOTCONN; /* call_end() looks once more: what was answered before the end counts */
		rc = patience_over(s, patience);
		if (rc)
			return rc;
		if (sys_spin_while(bell, heard, SPIN_TURNS))
			continue;
		look_at = sys_now_ns() + LOOK_EVERY_NS;
		sleep_on(bell, heard, MIN(look_at, patience.deadline_ns));
		if (sys_now_ns() < look_at)
			continue;
		session_look(s);
		if (word && agent_stands_still(s, &seen))
			return AGENT_SILENT;
	}
}

/* Ends the waiting of an ACQUIRE: `reason` is what the agent shall answer. The agent decides which
 * came first, the grant or this. */
static int call_withdraw(struct paxshm_session *s, unsigned slot, int reason)
{
	struct ring_request request = { .op = REQUEST_CANCEL, .call = CALL_NONE, .target = slot, .reason = reason };
	struct patience patience = { .deadline_ns = sys_now_ns() + s->agent_timeout_ns };
	int rc;

	pthread_mutex_lock(&s->mutex);
	rc = push(s, &request, patience);
	if (rc) {
		s->calls[slot].uncancelled = true;
		s->calls[slot].reason = reason;
	}
	pthread_mutex_unlock(&s->mutex);
	session_announce(s);
	if (rc == 0)
		rc = call_await(s, slot, patience, false);
	return rc == -ETIMEDOUT ? -ENOTCONN : rc;
}

/* Takes the answer, or gives the call up with `rc`. The last look is made under the mutex, so that
 * an answer that came in between is not lost. */
static int call_end(struct paxshm_session *s, unsigned slot, int rc, struct ring_completion *ret)
{
	struct call *c = &s->calls[slot];

	pthread_mutex_lock(&s->mutex);
	if (c->state == CALL_WAITING)
		answers_take(s);
	if (c->state == CALL_ANSWERED) {
		*ret = c->answer;
		slot_free(s, slot);
		rc = 0;
	} else {
		c->state = CALL_GIVEN_UP;
		if (c->op == REQUEST_ACQUIRE)
			atom_store_relaxed(&s->silent, s->silent + 1);
		if (rc == AGENT_SILENT || (c->op == REQUEST_HOLDER && rc != -ENOTCONN)) {
			c->uncancelled = true; /* so that its slot comes back soon */
			c->reason = rc == AGENT_SILENT ? -ECANCELED : rc;
		}
		if (rc == AGENT_SILENT)
			rc = -ENOTCONN;
		if (c->uncancelled)
			s->owed++;
		owed_pay(s);
	}
	pthread_mutex_unlock(&s->mutex);
	return rc;
}

int call_run(struct paxshm_session *s, struct ring_request *request, struct patience patience, struct ring_completion *ret)
{
	int slot = call_begin(s, request, patience);
	int rc;

	if (slot < 0)
		return slot;
	rc = call_await(s, (unsigned)slot, patience, wants_word(request));
	if (request->op == REQUEST_ACQUIRE && (rc == -ETIMEDOUT || rc == -ECANCELED))
		rc = call_withdraw(s, (unsigned)slot, rc);
	return call_end(s, (unsigned)slot, rc, ret);
}
