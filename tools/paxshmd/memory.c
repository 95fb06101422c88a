/* SPDX-License-Identifier: Apache-2.0 */
/* The private segment's arithmetic: where each array stands, and whether inherited memory fits. */
#include "memory.h"
#include "../../lib/mutant.h"

#include "../../shm/arena.h"
#include "../../shm/state/apply.h"
#include "../../shm/state/snapshot.h"

static uint64_t undo_words_for(const struct agent_limits *l)
{
	/* The larger group: a step of Paxos, a new leader's whole window; or a command that frees
	 * SWEEP_FREES locks, each granted to a line of ours (256 words for a line, its claims and row),
	 * and those whom that refuses (128 words for each, its neighbours and its line). */
	uint64_t paxos = paxos_undo_size(l->window, l->value_max) / 8 + 64;
	uint64_t apply = APPLY_UNDO_WORDS + SWEEP_FREES * 256ull + GROUP_CLAIMS * 128ull;

	return MAX(paxos, apply);
}

static uint64_t shape_of(const struct agent_config *c)
{
	const struct agent_limits *l = &c->limits;
	uint64_t words[] = {
		LAYOUT_VERSION,
		sizeof(struct session_record),
		sizeof(struct claim),
		sizeof(struct line),
		sizeof(struct paxos_slot),
		c->self,
		l->capacity.rows,
		l->capacity.cells,
		l->capacity.waits,
		l->sessions,
		l->claims,
		l->log_slots,
		l->window,
		l->value_max,
		undo_words_for(l),
		c->leader_lease_ns, /* what was promised under these stands */
		c->host_lease_ns,
		c->drift_ppm,
	};
	uint64_t h = hash_bytes(1, words, sizeof(words));

	for (uint32_t i = 0; i < c->n_voters; i++)
		h = hash_mix(h ^ c->voters[i]);
	return hash_bytes(h, c->cluster, strnlen(c->cluster, NAME_BYTES));
}

uint64_t memory_inbox_size(const struct table_capacity *capacity)
{
	return align_up(snapshot_room_max(capacity), 4096);
}

static uint32_t lines_for(const struct agent_limits *l)
{
	return l->claims + COMMANDS_MAX; /* a line without claims waits for a command */
}

static uint32_t buckets_for(const struct agent_limits *l)
{
	uint32_t n = 64;

	while (n < lines_for(l))
		n *= 2;
	return n;
}

/* Places every array; answers the size of the whole. */
static uint64_t place(struct private_memory *p, const struct agent_limits *l)
{
	uint64_t at = align_up(sizeof(*p), 64);

	p->n_sessions = l->sessions;
	p->n_claims = l->claims;
	p->n_lines = lines_for(l);
	p->n_buckets = buckets_for(l);
	p->undo_at = at;
	at = align_up(at + sizeof(struct undo_log) + undo_words_for(l) * 8, 64);
	p->paxos_at = at;
	at = align_up(at + paxos_memory_size(l->log_slots, l->value_max), 64);
	p->sessions_at = at;
	at = align_up(at + (p->n_sessions + 1ull) * sizeof(struct session_record), 64);
	p->claims_at = at;
	at = align_up(at + (p->n_claims + 1ull) * sizeof(struct claim), 64);
	p->lines_at = at;
	at = align_up(at + (p->n_lines + 1ull) * sizeof(struct line), 64);
	p->buckets_at = at;
	at = align_up(at + (uint64_t)p->n_buckets * sizeof(uint32_t), 64);
	p->commands_at = at;
	at = align_up(at + (uint64_t)COMMANDS_MAX * sizeof(struct stored_command), 4096);
	p->inbox_at = at;
	p->inbox_size = memory_inbox_size(&l->capacity);
	return at + p->inbox_size;
}

/* A gate for each line and a row for each claim: they share an index. */
struct table_capacity memory_tables_capacity(const struct agent_limits *l)
{
	struct table_capacity c = l->capacity;

	c.gates = lines_for(l);
	c.sessions = l->sessions;
	c.claims = l->claims;
	return c;
}

uint64_t agent_tables_size(const struct agent_limits *limits)
{
	struct table_capacity c = memory_tables_capacity(limits);

	return tables_size(&c);
}

uint64_t agent_arena_size(const struct agent_limits *limits)
{
	struct table_capacity c = memory_tables_capacity(limits);

	return arena_size(c.gates, tables_records(&c));
}

uint64_t agent_private_size(const struct agent_limits *limits)
{
	struct private_memory scratch = { 0 };

	return place(&scratch, limits);
}

struct agent_limits agent_limits_for(uint32_t rows)
{
	return (struct agent_limits){
		.capacity = table_capacity_for(rows),
		.sessions = 1024,
		.claims = 16384,
		.log_slots = 4096, /* most of a second at full speed */
		.window = 64,
		.value_max = 4096,
	};
}

static void point(struct memory *m, struct private_memory *p)
{
	char *base = (char *)p;

	*m = (struct memory){
		.p = p,
		.undo = (struct undo_log *)(base + p->undo_at),
		.paxos = (struct paxos_memory *)(base + p->paxos_at),
		.sessions = (struct session_record *)(base + p->sessions_at),
		.claims = (struct claim *)(base + p->claims_at),
		.lines = (struct line *)(base + p->lines_at),
		.buckets = (uint32_t *)(base + p->buckets_at),
		.commands = (struct stored_command *)(base + p->commands_at),
		.inbox = (unsigned char *)base + p->inbox_at,
	};
}

static bool votes_at_birth(const struct agent_config *c)
{
	for (uint32_t i = 0; i < c->n_voters; i++)
		if (c->voters[i] == c->self)
			return c->founding || MUTANT(41);
	return false;
}

const char *memory_attach(struct memory *ret, struct private_memory *p, const struct agent_config *config,
			  bool *ret_fresh)
{
	const struct agent_limits *l = &config->limits;

	if (p->segment.magic == 0) {
		p->segment.version = LAYOUT_VERSION;
		p->segment.kind = SEGMENT_PRIVATE;
		p->segment.size = place(p, l);
		p->nonce = config->nonce;
		p->shape = shape_of(config);
		p->votes = votes_at_birth(config);
		p->first_number = p->next_number = 1;
		point(ret, p);
		ret->undo->capacity = undo_words_for(l);
		paxos_format(ret->paxos, l->log_slots, l->value_max);
		/* The magic follows when the tables are formatted, too: agent_new(). */
		*ret_fresh = true;
		return NULL;
	}
	if (p->segment.magic != SEGMENT_MAGIC || p->segment.kind != SEGMENT_PRIVATE)
		return "this is not an agent's memory";
	if (p->segment.version != LAYOUT_VERSION || p->shape != shape_of(config))
		return "the agent's memory was made by another version or for other settings; "
		       "stop paxshmd and start it again (this host then counts as a new life of itself)";
	point(ret, p);
	*ret_fresh = false;
	return NULL;
}
