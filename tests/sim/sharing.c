/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that share a lock: what lib/lock.c does for PAXSHM_PR. */
#include "sim.h"

void sharing_asks(struct sim *s, struct client *c, struct thread *t)
{
	const struct host *h = &s->host[c->host];

	t->sharing.asked_ns = host_clock(s, h);
	t->sharing.asked_mono_ns = host_mono_clock(s, h);
	if (t->sharing.wants)
		sim_mark(s, MARK_SHARE_ASKED);
}

void sharing_release(struct sim *s, struct client *c, struct thread *t)
{
	t->state = THREAD_LEAVES;
	t->again = false;
	s->tally->operations++;
	trace(s, "program %u of host %u shares %s no more", c->id, c->host, trace_key(&s->key[t->key]));
	oracle_released(s, c, t);
	client_later(s, c, t, sim_pick(s, 0, 2 * US));
}

/* A program may be killed before the ring has the release, or before the agent knows of it. */
static bool killed(struct sim *s, struct client *c)
{
	if (!s->plan.kill_ns || sim_healing(s) || !sim_chance(s, 1, 300))
		return false;
	sim_mark(s, MARK_CLIENT_KILLED_LEAVING);
	client_kill(s, c);
	return true;
}

void sharing_leave(struct sim *s, struct client *c, struct thread *t)
{
	struct ring_request r = { .op = REQUEST_RELEASE, .call = CALL_NONE, .claim = t->sharing.claim };

	if (t->unannounced) {
		t->unannounced = false;
		client_announce(s, c);
		client_rest(s, c, t);
		return;
	}
	if (killed(s, c))
		return;
	if (!ring_push(c->rings, &r)) {
		sim_mark(s, MARK_RING_FULL);
		client_announce(s, c);
		client_later(s, c, t, sim_pick(s, 20 * US, 200 * US));
		return;
	}
	trace_request(s, c, &r);
	/* What was released is another's by now, or nobody's: a second release of it must do nothing. */
	if (!t->again && sim_chance(s, 1, 50)) {
		sim_mark(s, MARK_SHARE_RELEASED_TWICE);
		t->again = true;
		client_announce(s, c);
		client_later(s, c, t, sim_about(s, s->plan.think_ns));
		return;
	}
	t->unannounced = true;
	if (!killed(s, c))
		client_later(s, c, t, sim_pick(s, 0, 2 * US));
}
