/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that write nonsense into what they can write: their ring, their bells, the arena's bits. The
 * agent may ban them or make the best of it; nobody else may suffer.
 */
#include "sim.h"

#include <errno.h>

static struct ring_request odd_request(struct sim *s, const struct client *c)
{
	struct ring_request r;
	unsigned char *bytes = (unsigned char *)&r;

	for (size_t i = 0; i < sizeof(r); i++)
		bytes[i] = (unsigned char)sim_pick(s, 0, 255);
	if (sim_chance(s, 1, 4))
		return r;
	/* Right in most fields. */
	r.op = (uint32_t)sim_pick(s, REQUEST_ACQUIRE, REQUEST_GATE);
	r.flags = sim_chance(s, 1, 8) ? (uint32_t)sim_pick(s, 0, 9) : 0;
	r.call = sim_chance(s, 1, 8) ? CALL_NONE : (uint32_t)sim_pick(s, 0, RING_CALLS);
	if (sim_chance(s, 1, 4))
		r.call = c->thread[0].call;
	r.target = (uint32_t)sim_pick(s, 0, RING_CALLS);
	r.claim = sim_pick(s, 0, 64) | sim_pick(s, 0, 8) << 32;
	r.reason = sim_chance(s, 1, 4) ? 0 : -ETIMEDOUT;
	r.mode = (uint8_t)sim_pick(s, 0, 8);
	if (!sim_chance(s, 1, 8))
		client_put_key(s, &r, sim_choose_key(s));
	return r;
}

static void scribble(struct sim *s, struct client *c)
{
	struct session_rings *r = c->rings;
	struct arena *arena = s->host[c->host].memory.arena;

	switch (sim_pick(s, 0, 5)) {
	case 0:
		r->request_tail += (uint32_t)sim_pick(s, 0, UINT32_MAX);
		break;
	case 1:
		r->request_tail += (uint32_t)sim_pick(s, 1, RING_REQUESTS);
		break;
	case 2:
		for (unsigned i = 0; i < RING_CALLS; i++)
			r->bell[i] = (uint32_t)sim_pick(s, 0, UINT32_MAX);
		break;
	case 3:
		for (unsigned i = 0; i < ARRAY_LEN(arena->pending); i++)
			arena->pending[i] |= random_next(&s->random);
		break;
	case 4:
		r->completion_head = r->completion_tail = r->request_head = (uint32_t)sim_pick(s, 0, UINT32_MAX);
		r->slot = (uint32_t)sim_pick(s, 0, UINT32_MAX);
		memset(r->completions, 0x5a, sizeof(r->completions));
		break;
	default:
		for (uint64_t n = sim_pick(s, 1, RING_REQUESTS); n; n--) {
			struct ring_request odd = odd_request(s, c);

			r->requests[r->request_tail++ % RING_REQUESTS] = odd;
		}
	}
}

void client_nonsense(struct sim *s, struct client *c)
{
	if (c->state != CLIENT_OPEN || c->closing || c->prober)
		return;
	if (!c->nonsense) {
		trace(s, "program %u writes nonsense", c->id);
		sim_mark(s, MARK_CLIENT_NONSENSE);
		c->nonsense = s->nonsense = true;
		oracle_ended(s, c, true);
		for (unsigned i = 0; i < c->n_threads; i++)
			c->thread[i].timer = 0;
	}
	if (sim_chance(s, 1, 6)) {
		client_kill(s, c);
		return;
	}
	scribble(s, c);
	client_announce(s, c);
	client_later(s, c, &c->thread[0], sim_about(s, 20 * MS));
}
