/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who owns a gate must know it, whatever dies: asked after each step, and of what a death in the middle of a step would leave. An
 * owner that neither its program nor the agent knows of keeps the lock for ever; what is put right a moment later in
 * the same step is seen only here.
 */
#include "sim.h"

#include "../../shm/arena.h"
#include "../../tools/paxshmd/memory.h"

static bool thread_knows(const struct client *c, uint32_t gate, uint32_t count)
{
	for (const struct thread *t = c->thread; t < c->thread + c->n_threads; t++) {
		if (t->taken && t->answer.result == 0 && t->answer.gate == gate && t->answer.count == count)
			return true;
		if ((t->state == THREAD_GATE || t->state == THREAD_HOLDS || t->state == THREAD_RELEASES) && t->gate == gate && t->count == count)
			return true;
	}
	return false;
}

/* It was chosen in the line, or handed the gate by the word alone, and has not yet looked. */
static bool record_knows(const struct host *h, uint32_t slot, uint32_t gate, uint32_t count)
{
	struct gate_view v = gates_view(h);
	uint32_t each = h->memory.tables->records_each;

	for (uint32_t r = (slot - 1) * each + 1; r <= slot * each; r++)
		if (v.records[r].gate == gate && (gate_record_state(v.records[r].state) == GATE_RECORD_WATCH ||
						  (gate_record_state(v.records[r].state) == GATE_RECORD_CHOSEN && (uint32_t)v.records[r].state == count)))
			return true;
	return false;
}

/* `tail`: what a successor would show. What was written behind it may stand there too, and is not told. */
static bool ring_tells(const struct client *c, uint32_t tail, uint32_t gate, uint32_t count)
{
	for (uint32_t n = 1; n <= RING_CALLS / 2; n++) {
		const struct ring_completion *answer = &c->rings->completions[(tail - n) % RING_CALLS];

		if (answer->result == 0 && answer->gate == gate && answer->count == count)
			return true;
	}
	return false;
}

static void check_owner(struct sim *s, const struct host *h, const struct left *left, uint32_t gate, uint64_t word)
{
	uint32_t slot = gate_owner(word), count = gate_count(word);
	const struct session_record *r = &left->sessions[slot];
	const struct line *l = &left->lines[gate];
	const struct client *c;

	CHECK(s, slot <= h->config.limits.sessions && r->state != SESSION_FREE, "host %u: gate %u is owned by session %u, which is over", h->id, gate, slot);
	CHECK(s, r->state != SESSION_ENDING || r->sweep_at != SWEEP_DONE,
	      "host %u: gate %u is owned by session %u, which has ended and was swept from the gates", h->id, gate, slot);
	c = h->session[slot];
	if (r->state != SESSION_OPEN || !c || c->state != CLIENT_OPEN || c->closing || c->gone || c->nonsense)
		return;
	CHECK(s, thread_knows(c, gate, count) || (l->given && l->given_count + 1 == count) || record_knows(h, slot, gate, count) || ring_tells(c, r->tail, gate, count),
	      "host %u: gate %u is owned by program %u, count %u, and nobody knows of it", h->id, gate, c->id, count);
}

/* Whoever releases now must not choose the dead: nothing takes the gate from them any more. */
static void check_buried(struct sim *s, const struct host *h, const struct left *left, uint32_t slot)
{
	struct gate_view v = gates_view(h);
	uint32_t each = h->memory.tables->records_each;

	if (left->sessions[slot].state != SESSION_ENDING || left->sessions[slot].sweep_at != SWEEP_DONE)
		return;
	for (uint32_t r = (slot - 1) * each + 1; r <= slot * each; r++) {
		enum gate_state state = gate_record_state(v.records[r].state);

		CHECK(s, state == GATE_RECORD_FREE || state == GATE_RECORD_OUT || state == GATE_RECORD_GONE,
		      "host %u: session %u has ended and was swept from the gates, and may still be chosen at gate %u", h->id, slot, v.records[r].gate);
		uint64_t word = v.gates[MIN(v.records[r].gate, v.n_gates)].word;
		CHECK(s, !(gate_flags(word) & GATE_WATCHED) || gate_top(word) != r, "host %u: session %u has ended and was swept from the gates, and may be handed gate %u",
		      h->id, slot, v.records[r].gate);
	}
}

void gates_check_left(struct sim *s, const struct host *h, const struct left *left)
{
	struct gate_view v = gates_view(h);

	for (uint32_t i = 1; i <= left->header->lines_high && !h->scribbled; i++) {
		uint64_t word = v.gates[i].word;

		if (gate_owner(word) && gate_owner(word) != GATE_AGENT)
			check_owner(s, h, left, i, word);
	}
	for (uint32_t slot = 1; slot <= h->config.limits.sessions && !h->scribbled; slot++)
		check_buried(s, h, left, slot);
	sharing_check_left(s, h, left);
}

struct left gates_left(const struct host *h)
{
	const struct private_memory *p = h->memory.private;
	const unsigned char *base = h->memory.private;

	return (struct left){
		.header = p,
		.sessions = (const struct session_record *)(base + p->sessions_at),
		.claims = (const struct claim *)(base + p->claims_at),
		.lines = (const struct line *)(base + p->lines_at),
	};
}

/* ---- what must hold between steps ---- */

static const struct line *line_at(const struct host *h, uint32_t gate)
{
	const struct private_memory *p = h->memory.private;

	return (const struct line *)((const unsigned char *)p + p->lines_at) + gate;
}

/* Its release is under way: chosen or not, it may be at any time. */
static bool given_back(const struct host *h, uint64_t delegation)
{
	const struct private_memory *p = h->memory.private;
	const struct stored_command *commands = (const struct stored_command *)((const unsigned char *)p + p->commands_at);

	for (uint64_t n = p->first_number; n < p->next_number; n++) {
		const struct stored_command *stored = &commands[n % COMMANDS_MAX];
		struct reader r = reader_on(stored->bytes, stored->len);
		struct command c;

		if (stored->kind == COMMAND_RELEASE && command_decode(&r, &c) && c.release.delegation == delegation)
			return true;
	}
	return false;
}

/* Also of what a killed agent leaves, when its last group is taken back. */
void gates_check(struct sim *s, const struct host *h)
{
	const struct private_memory *p = h->memory.private;
	struct gate_view v = gates_view(h);
	struct left left = gates_left(h);

	for (uint32_t i = 1; i <= p->lines_high; i++) {
		const struct line *l = line_at(h, i);
		uint32_t owner = gate_owner(v.gates[i].word);

		if (owner == GATE_AGENT || h->scribbled)
			continue;
		CHECK(s, l->key_len && l->state == LINE_OURS, "host %u: gate %u is open (owner %u), and its lock is not delegated to this host", h->id, i,
		      owner);
		CHECK(s, v.terms[i].delegation == l->delegation, "host %u: gate %u is open under delegation %llu, and its terms say %llu", h->id, i,
		      (unsigned long long)l->delegation, (unsigned long long)v.terms[i].delegation);
		CHECK(s, !given_back(h, l->delegation), "host %u: gate %u is open, and the release of its delegation is under way", h->id, i);
	}
	gates_check_left(s, h, &left);
}

/* An agent that sleeps has no gate for which somebody waits who has told it so. */
void gates_check_asleep(struct sim *s, const struct host *h)
{
	struct gate_view v = gates_view(h);

	if (host_clock(s, h) >= h->memory.tables->deadline_boot_ns || !sim_trusted(s) || h->scribbled)
		return;
	for (struct client *c = s->client; c < s->client + SIM_CLIENTS; c++) {
		if (c->host != h->id || c->state != CLIENT_OPEN || c->nonsense || c->closing)
			continue;
		for (struct thread *t = c->thread; t < c->thread + c->n_threads; t++) {
			if (t->state != THREAD_GATE || !t->place.record || !t->told_gate || t->unannounced)
				continue;
			CHECK(s, gate_owner(v.gates[t->gate].word) != GATE_AGENT || line_at(h, t->gate)->state != LINE_OURS || line_at(h, t->gate)->sharers,
			      "host %u goes to sleep with gate %u in its hands, and program %u waits there", h->id, t->gate, c->id);
		}
	}
}
