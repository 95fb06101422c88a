/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that write nonsense into what they can write: their ring, their bells, the arena's bits. The
 * agent may ban them or make the best of it; nobody else may suffer.
 */
#include "sim.h"

#include <errno.h>

#include "../../shm/arena.h"

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

/* A word that is right in most of its parts. */
static uint64_t odd_word(struct sim *s, const struct gate_view *v, uint64_t word)
{
	uint32_t count = gate_count(word), top = gate_top(word), owner = gate_owner(word), flags = gate_flags(word);

	switch (sim_pick(s, 0, 5)) {
	case 0: return random_next(&s->random);
	case 1: count += (uint32_t)sim_pick(s, 0, 6) - 3; break;
	case 2: top = (uint32_t)sim_pick(s, 0, v->n_records + 2); break;
	case 3: owner = (uint32_t)sim_pick(s, 0, SIM_SLOTS + 1); break;
	case 4: owner = GATE_AGENT; break;
	default: flags = (uint32_t)sim_pick(s, 0, 15);
	}
	return gate_word(count, top, owner, flags);
}

static void scribble_record(struct sim *s, const struct gate_view *v, uint32_t n_gates)
{
	struct gate_record *r = &v->records[sim_pick(s, 1, v->n_records)];

	switch (sim_pick(s, 0, 4)) {
	case 0:
		r->state = random_next(&s->random);
		break;
	case 1: /* another state, perhaps of a count that is near */
		r->gate = (uint32_t)sim_pick(s, 0, n_gates + 1);
		r->state = (r->state & ~0xfffffffffull) | sim_pick(s, 0, 9) << 32 |
			   (uint32_t)(gate_count(v->gates[MIN(r->gate, n_gates)].word) + sim_pick(s, 0, 2));
		break;
	case 2:
		r->older = sim_chance(s, 1, 2) ? random_next(&s->random) : (r->state >> 36) << 32 | sim_pick(s, 0, v->n_records + 1);
		break;
	case 3: /* a line that goes round */
		r->older = (r->state >> 36) << 32 | (uint32_t)(r - v->records);
		break;
	default:
		r->newer = r->since_ns = random_next(&s->random);
		r->bell++;
		r->gate = (uint32_t)random_next(&s->random);
	}
}

/* What stands at the host's gates is not believed any more: see oracle_taint(). */
static void scribble_gates(struct sim *s, struct host *h)
{
	struct gate_view v = arena_view(h->memory.arena, h->memory.tables);
	uint32_t n_gates = MAX(((const struct private_memory *)h->memory.private)->lines_high, 1u);

	if (!h->memory.tables->segment.magic)
		return;
	sim_mark(s, MARK_GATES_SCRIBBLED);
	oracle_taint(s, h);
	for (uint64_t n = sim_pick(s, 1, 12); n; n--) {
		struct gate *g = &v.gates[sim_pick(s, 1, n_gates)];

		if (sim_chance(s, 1, 2))
			scribble_record(s, &v, n_gates);
		else if (sim_chance(s, 1, 6))
			g->head = sim_chance(s, 1, 2) ? random_next(&s->random) : sim_pick(s, 1, v.n_records);
		else
			g->word = odd_word(s, &v, g->word);
	}
}

static void scribble(struct sim *s, struct client *c)
{
	struct session_rings *r = c->rings;
	struct arena *arena = s->host[c->host].memory.arena;

	switch (sim_pick(s, 0, 8)) {
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
	case 5:
	case 6:
		scribble_gates(s, &s->host[c->host]);
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
