/* SPDX-License-Identifier: Apache-2.0 */
#include "core.h"

struct paxos_config core_config(uint16_t self, uint32_t n_voters)
{
	struct paxos_config config = {
		.self = self, .n_voters = n_voters, .votes = self <= n_voters, .log_slots = 8, .window = 4, .value_max = 32, .heartbeat_ns = CORE_HEARTBEAT, .leader_lease_ns = CORE_LEASE, .drift_ppm = CORE_DRIFT, .life = self, .seed = 1
	};

	for (uint32_t i = 0; i < n_voters; i++)
		config.voters[i] = (uint16_t)(i + 1);
	return config;
}

void core_start(struct core *c, const struct paxos_config *config, uint64_t now)
{
	uint64_t undo_size = paxos_undo_size(config->window, config->value_max);

	memset(c, 0, sizeof(*c));
	c->config = *config;
	c->now = now;
	c->memory_size = paxos_memory_size(config->log_slots, config->value_max);
	c->memory = calloc(1, c->memory_size);
	c->scratch = malloc(paxos_scratch_size(config));
	c->log = calloc(1, sizeof(*c->log) + undo_size);
	c->log->capacity = undo_size / 8;
	c->undo.log = c->log;
	undo_add_area(&c->undo, c->memory, c->memory_size);
	paxos_format(c->memory, config->log_slots, config->value_max);
	core_restart(c, false);
}

void core_restart(struct core *c, bool was_leader)
{
	undo_rollback(&c->undo);
	c->undo.probe = NULL;
	memset(c->scratch, 0xa5, paxos_scratch_size(&c->config));
	memset(&c->p, 0xa5, sizeof(c->p));
	memset(&c->out, 0, sizeof(c->out));
	paxos_init(&c->p, &c->config, c->memory, c->scratch, &c->undo, was_leader, c->now);
}

void core_release(struct core *c)
{
	free(c->memory);
	free(c->scratch);
	free(c->log);
	memset(c, 0, sizeof(*c));
}

void core_step(struct core *c, const struct paxos_event *event)
{
	paxos_step(&c->p, event, &c->out);
	undo_commit(&c->undo);
}

void core_wait(struct core *c, uint64_t ns)
{
	c->now += ns;
	core_step(c, &(struct paxos_event){ .kind = PAXOS_EVENT_TIME, .now_ns = c->now });
}

void core_hear(struct core *c, uint16_t from, struct paxos_message m)
{
	core_step(c, &(struct paxos_event){ .kind = PAXOS_EVENT_MESSAGE, .now_ns = c->now, .from = from, .message = &m });
}

void core_propose(struct core *c, const char *text)
{
	core_step(c, &(struct paxos_event){ .kind = PAXOS_EVENT_PROPOSE, .now_ns = c->now, .bytes = text, .len = (uint32_t)strlen(text) });
}

void core_peer_up(struct core *c, uint16_t host)
{
	core_step(c, &(struct paxos_event){ .kind = PAXOS_EVENT_PEER_UP, .now_ns = c->now, .from = host });
}

void core_installed(struct core *c, uint64_t slot)
{
	core_step(c, &(struct paxos_event){ .kind = PAXOS_EVENT_INSTALLED, .now_ns = c->now, .slot = slot });
}

void core_hand_over(struct core *c, uint16_t to)
{
	core_step(c, &(struct paxos_event){ .kind = PAXOS_EVENT_HAND_OVER, .now_ns = c->now, .from = to });
}

const struct paxos_send *core_said(const struct core *c, enum paxos_message_kind kind, unsigned nth)
{
	for (unsigned i = 0; i < c->out.n_sends; i++)
		if (c->out.sends[i].message.kind == kind && nth-- == 0)
			return &c->out.sends[i];
	return NULL;
}

unsigned core_times_said(const struct core *c, enum paxos_message_kind kind)
{
	unsigned n = 0;

	while (core_said(c, kind, n))
		n++;
	return n;
}

/* The other voters, first to last, as many as make a majority with us. */
static void let_others_say(struct core *c, struct paxos_message m)
{
	unsigned left = c->config.n_voters / 2;

	for (uint32_t i = 0; left && i < c->config.n_voters; i++) {
		if (c->config.voters[i] == c->config.self)
			continue;
		core_hear(c, c->config.voters[i], m);
		left--;
	}
}

void core_win(struct core *c)
{
	core_wait(c, 2 * CORE_LEASE);
	if (c->p.role == PAXOS_ASKING)
		let_others_say(c, PREVOTED(c->p.ballot));
	if (c->p.role == PAXOS_PREPARING)
		let_others_say(c, PROMISE(c->p.ballot));
	ASSERT(c->p.role == PAXOS_LEADING);
}

void core_lead(struct core *c)
{
	core_win(c);
	let_others_say(c, ACCEPTED(c->p.ballot, c->p.leads_slot));
	let_others_say(c, BEATEN(c->p.ballot, c->now));
	ASSERT(paxos_can_propose(&c->p));
}

const char *core_text(const struct core *c, uint64_t slot)
{
	static char text[64];
	const struct paxos_memory *memory = c->memory;
	uint32_t at = (uint32_t)(slot % memory->log_slots);

	if (memory->slots[at].index != slot)
		return "-";
	snprintf(text, sizeof(text), "%.*s", (int)memory->slots[at].len,
		 (const char *)paxos_memory_value(memory, at));
	return text;
}
