/* SPDX-License-Identifier: Apache-2.0 */
/* An agent is made: over fresh memory, or over what its predecessor left. */
#include "inside.h"

#include <errno.h>

#define CHANGE(lvalue, value) SET(&a->undo, lvalue, value)
#define OUT_BYTES (8u << 20)

static bool allocate(struct agent *a, const struct agent_limits *l)
{
	uint32_t lines = a->m.p->n_lines + 1;
	struct paxos_config probe = { .window = l->window, .value_max = l->value_max };

	a->max_completed = l->sessions * (RING_CALLS + RING_REQUESTS) + 64;
	a->max_actions = actions_max(l);
	a->out_cap = OUT_BYTES;
	a->actions = calloc(a->max_actions, sizeof(*a->actions));
	a->completed = calloc(a->max_completed, sizeof(*a->completed));
	a->out = malloc(OUT_BYTES);
	a->body = malloc(BODY_BYTES);
	a->rings = calloc(l->sessions + 1, sizeof(*a->rings));
	a->dirty = calloc(lines, sizeof(*a->dirty));
	a->is_dirty = calloc(lines, 1);
	a->lingers = calloc(l->sessions + 1, 1);
	a->watched = calloc(lines, sizeof(*a->watched));
	a->is_watched = calloc(lines, 1);
	a->last_count = calloc(lines, sizeof(*a->last_count));
	a->reuse = calloc(REUSE_SLOTS, 1);
	a->taken = calloc(HOSTS_MAX, sizeof(*a->taken));
	a->leases = calloc(HOSTS_MAX, sizeof(*a->leases));
	a->pending = malloc(PENDING_BYTES);
	a->linked = calloc(HOSTS_MAX, 1);
	a->stamps = calloc(a->m.p->n_claims + 1, sizeof(*a->stamps));
	a->give.asked_ns = calloc(HOSTS_MAX, sizeof(*a->give.asked_ns));
	a->gone = calloc(l->sessions / 64 + 1, sizeof(*a->gone));
	a->tail.size = tail_size(a);
	a->tail.bytes = malloc(a->tail.size);
	a->paxos.found_values = malloc(paxos_scratch_size(&probe));
	return a->actions && a->completed && a->out && a->body && a->rings && a->dirty && a->is_dirty &&
	       a->lingers && a->watched && a->is_watched && a->last_count && a->reuse &&
	       a->taken && a->leases && a->pending && a->linked && a->stamps && a->give.asked_ns && a->gone && a->tail.bytes && a->paxos.found_values;
}

static void start_paxos(struct agent *a, uint64_t now_ns)
{
	const struct agent_config *c = &a->config;
	struct paxos_config p = {
		.self = c->self,
		.n_voters = c->n_voters,
		.votes = a->m.p->votes,
		.log_slots = c->limits.log_slots,
		.window = c->limits.window,
		.value_max = c->limits.value_max,
		.heartbeat_ns = c->heartbeat_ns,
		.leader_lease_ns = c->leader_lease_ns,
		.drift_ppm = c->drift_ppm,
		.life = a->m.p->nonce,
		.seed = c->seed,
	};

	memcpy(p.voters, c->voters, sizeof(p.voters));
	paxos_init(&a->paxos, &p, a->m.paxos, a->paxos.found_values, &a->undo, a->m.p->leading, now_ns);
	undo_commit(&a->undo);
	a->update.wake_at_ns = now_ns;
}

/* Inherited memory: put right what the predecessor left half done, and count ourselves. */
static void take_over(struct agent *a)
{
	struct tables *t = a->tables;

	table_recover(t, &a->undo);
	if (t->agreed.applied_part == 0) /* between two slots; else start() ends the one that was begun */
		atom_store_seq_cst(&t->changing, (t->changing + 1) & ~1ull);
	for (uint32_t slot = 1; slot <= a->m.p->n_sessions; slot++)
		a->ending += a->m.sessions[slot].state == SESSION_ENDING;
	t->sessions = a->m.p->sessions_used; /* may have been left behind a commit */
	for (uint32_t h = 1; h < t->n_hosts; h++)
		atom_store_release(&tables_host(t, h)->linked, 0);
}

static const char *attach(struct agent *a, const struct agent_memory *memory)
{
	struct private_memory *p = memory->private;
	struct table_capacity capacity = memory_tables_capacity(&a->config.limits);
	const char *wrong;
	bool fresh;

	wrong = memory_attach(&a->m, p, &a->config, &fresh);
	if (wrong)
		return wrong;
	a->undo.log = a->m.undo;
	undo_add_area(&a->undo, p, p->segment.size);
	undo_add_area(&a->undo, memory->tables, tables_size(&capacity));
	if (fresh) {
		tables_format(memory->tables, &capacity, a->config.cluster, a->config.self);
		arena_format(memory->arena, memory->tables);
		memory->tables->ready = 1;
		atom_store_release(&p->segment.magic, SEGMENT_MAGIC);
	}
	wrong = tables_verify(memory->tables, tables_size(&capacity));
	if (!wrong)
		a->gates = arena_view(memory->arena, memory->tables);
	if (!wrong && !fresh)
		take_over(a);
	return wrong;
}

int agent_new(struct agent **ret, const struct agent_config *config, const struct agent_memory *memory,
	      uint64_t now_ns, const char **ret_why)
{
	struct agent *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->config = *config;
	if (!a->config.copy_bite || a->config.copy_bite > COPY_BITE)
		a->config.copy_bite = COPY_BITE;
	if (!a->config.copy_pace_ns)
		a->config.copy_pace_ns = COPY_PACE_NS;
	a->tables = memory->tables;
	a->arena = memory->arena;
	a->now_ns = now_ns;
	a->last_heard_ns = now_ns;
	a->ask_at_ns = a->watch_at_ns = NEVER;
	a->watch_ns = NS_PER_MS;
	*ret_why = attach(a, memory);
	if (*ret_why) {
		agent_free(a);
		return -EPROTO;
	}
	if (!allocate(a, &config->limits)) {
		agent_free(a);
		return -ENOMEM;
	}
	start_paxos(a, now_ns);
	lease_inherit(a);
	a->tables->host_lease_ns = config->host_lease_ns;
	a->tables->role = HOST_OBSERVER;
	for (uint32_t i = 0; i < config->n_voters; i++)
		if (config->voters[i] == config->self && a->m.p->votes)
			a->tables->role = HOST_VOTER;
	a->tables->agent_starts++;
	agent_awake(a);
	*ret = a;
	return 0;
}

void agent_free(struct agent *a)
{
	if (!a)
		return;
	free(a->actions);
	free(a->completed);
	free(a->out);
	free(a->body);
	free(a->rings);
	free(a->dirty);
	free(a->is_dirty);
	free(a->lingers);
	free(a->watched);
	free(a->is_watched);
	free(a->last_count);
	free(a->reuse);
	free(a->taken);
	free(a->leases);
	free(a->pending);
	free(a->linked);
	free(a->stamps);
	free(a->give.asked_ns);
	free(a->gone);
	free(a->tail.bytes);
	free(a->paxos.found_values);
	free(a);
}
