/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a death in the middle of a group must leave: the memory of the last commit. While an agent is
 * watched, its surviving memory is copied at each commit; before the next commit (and at its death) the
 * undo log is played back over a second copy, which must then equal the first. So a change that was
 * not saved is found whether or not the death happens to hit it.
 */
#include "sim.h"

#include <stddef.h>

/* Left out: the log itself, the inbox (its bytes count only once `installing` is committed), commands
 * outside [first, next), lines never used, and the words of the tables that stand for themselves. */
#define RANGES_MAX 64u

struct range {
	const unsigned char *at;
	size_t len, place;
};

struct watch {
	struct range range[RANGES_MAX];
	unsigned n;
	size_t len;
	bool compare;
};

static struct watch watch; /* one step at a time */

static void add(const void *at, size_t len)
{
	ASSERT(watch.n < RANGES_MAX);
	watch.range[watch.n++] = (struct range){ at, len, watch.len };
	watch.len += len;
}

static void add_private(const struct private_memory *p)
{
	const unsigned char *base = (const unsigned char *)p;
	uint64_t commands = MIN(p->next_number - p->first_number, (uint64_t)RANGES_MAX / 2);

	add(base, sizeof(*p));
	add(base + p->paxos_at, p->lines_at - p->paxos_at); /* Paxos, sessions, claims */
	add(base + p->lines_at, (p->lines_high + 1) * sizeof(struct line));
	add(base + p->buckets_at, p->n_buckets * sizeof(uint32_t));
	for (uint64_t n = 0; n < commands; n++)
		add(base + p->commands_at + (p->first_number + n) % COMMANDS_MAX * sizeof(struct stored_command),
		    sizeof(struct stored_command));
}

static void add_tables(const struct tables *t)
{
	add(&t->agreed, sizeof(t->agreed));
	add((const char *)t + t->buckets_at, t->n_buckets * sizeof(struct table_bucket));
	add(tables_row(t, 0), (t->agreed.rows_high + 1) * sizeof(struct table_row));
	add(tables_cell(t, 0), (t->agreed.cells_high + 1ull) * KEY_CELL);
	add(tables_wait(t, 0), (t->agreed.waits_high + 1) * sizeof(struct table_wait));
	for (uint32_t host = 1; host <= SIM_HOSTS; host++)
		add(tables_host(t, host), offsetof(struct host_row, linked));
}

static void copy_ranges(unsigned char *to)
{
	for (unsigned i = 0; i < watch.n; i++)
		memcpy(to + watch.range[i].place, watch.range[i].at, watch.range[i].len);
}

static void take_shadow(struct sim *s, const struct host *h)
{
	watch.n = 0;
	watch.len = 0;
	add_private(h->memory.private);
	/* A copy being installed is not undone: a successor installs it again. */
	if (!((const struct private_memory *)h->memory.private)->installing)
		add_tables(h->memory.tables);
	if (watch.len > s->shadow_cap) {
		s->shadow_cap = 2 * watch.len;
		s->shadow = realloc(s->shadow, s->shadow_cap);
		s->copy = realloc(s->copy, s->shadow_cap);
		ASSERT(s->shadow && s->copy);
	}
	copy_ranges(s->shadow);
}

/* One old word into the copy, if it is of a range. */
static void put_back(unsigned char *copy, const unsigned char *address, uint64_t word)
{
	for (unsigned i = 0; i < watch.n; i++) {
		const struct range *r = &watch.range[i];

		if ((size_t)(address - r->at) < r->len && address >= r->at) {
			memcpy(copy + r->place + (address - r->at), &word, MIN(sizeof(word), r->len - (size_t)(address - r->at)));
			return;
		}
	}
}

static void play_back(const struct undo *u, unsigned char *copy)
{
	uint64_t used = u->log->used;

	while (used) {
		uint64_t header = u->log->words[used - 1];
		uint64_t area = header >> 56, n = header >> 32 & 0xffffff, offset = header & 0xffffffff;

		ASSERT(area < u->n_areas && n < used);
		for (uint64_t i = 0; i < n; i++)
			put_back(copy, (const unsigned char *)(u->area[area].base + offset + i), u->log->words[used - 1 - n + i]);
		used -= n + 1;
	}
}

static const char *name_of(const struct host *h, const unsigned char *at, uint64_t *ret_offset)
{
	const struct private_memory *p = h->memory.private;
	const unsigned char *base = h->memory.private, *tables = (const unsigned char *)h->memory.tables;
	const struct {
		uint64_t at;
		const char *name;
	} parts[] = {
		{ 0, "the private header" },
		{ p->paxos_at, "Paxos' memory" },
		{ p->sessions_at, "sessions" },
		{ p->claims_at, "claims" },
		{ p->lines_at, "lines" },
		{ p->buckets_at, "line buckets" },
		{ p->commands_at, "commands" },
	};
	const char *name = "?";

	if (at >= tables && at < tables + h->tables_size) {
		*ret_offset = (uint64_t)(at - tables);
		return "the tables";
	}
	for (unsigned i = 0; i < ARRAY_LEN(parts); i++)
		if ((uint64_t)(at - base) >= parts[i].at) {
			name = parts[i].name;
			*ret_offset = (uint64_t)(at - base) - parts[i].at;
		}
	return name;
}

static void compare(struct sim *s, struct host *h)
{
	const struct undo *u = agent_undo(h->agent);

	copy_ranges(s->copy);
	play_back(u, s->copy);
	sim_mark(s, MARK_ROLLBACK_COMPARED);
	for (unsigned i = 0; i < watch.n; i++) {
		const struct range *r = &watch.range[i];
		const unsigned char *was = s->shadow + r->place, *is = s->copy + r->place;
		size_t byte = 0;
		uint64_t offset = 0;
		const char *name;

		if (memcmp(was, is, r->len) == 0)
			continue;
		while (was[byte] == is[byte])
			byte++;
		name = name_of(h, r->at + byte, &offset);
		sim_fail(s, "host %u: a change was not saved for undo: byte %llu of %s", h->id, (unsigned long long)offset, name);
	}
}

/* Lines and sessions as the last commit left them, and the gates as they are. */
static void check_left(struct sim *s, const struct host *h)
{
	const struct private_memory *p = (const struct private_memory *)s->copy;
	const struct range *paxos = &watch.range[1], *lines = &watch.range[2];
	struct left left = {
		.header = p,
		.sessions = (const struct session_record *)(s->copy + paxos->place + (p->sessions_at - p->paxos_at)),
		.claims = (const struct claim *)(s->copy + paxos->place + (p->claims_at - p->paxos_at)),
		.lines = (const struct line *)(s->copy + lines->place),
	};

	gates_check_left(s, h, &left);
}

/* ---- probes ---- */

static struct sim *watching;

static void after_save(void *context)
{
	struct host *h = context;

	if (h->doom == DOOM_SAVE && h->doom_after-- == 0)
		longjmp(h->grave, 1);
}

static void around_commit(void *context, bool done)
{
	struct host *h = context;

	if (watch.compare && !done) {
		compare(watching, h);
		check_left(watching, h);
	}
	if (watch.compare && done) {
		struct left left = gates_left(h);

		gates_check_left(watching, h, &left);
		take_shadow(watching, h);
	}
	if (done && h->doom == DOOM_COMMIT && h->doom_after-- == 0)
		longjmp(h->grave, 1);
}

void undo_watch(struct sim *s, struct host *h, bool compares)
{
	struct undo *u = agent_undo(h->agent);

	watching = s;
	watch.compare = compares;
	if (compares)
		take_shadow(s, h);
	u->probe = after_save;
	u->around_commit = around_commit;
	u->probe_context = h;
}

void undo_unwatch(struct host *h)
{
	struct undo *u = agent_undo(h->agent);

	u->probe = NULL;
	u->around_commit = NULL;
	watch.compare = false;
}

/* A successor may die, too, while it rolls back: some records are gone then, one perhaps in part. */
static void roll_back_partly(struct sim *s, const struct undo *u)
{
	struct undo_log *log = u->log;
	uint64_t stop = sim_pick(s, 0, log->used - 1);

	sim_mark(s, MARK_CRASH_IN_ROLLBACK);
	while (log->used > stop) {
		uint64_t header = log->words[log->used - 1];
		uint64_t area = header >> 56, n = header >> 32 & 0xffffff, offset = header & 0xffffffff;
		bool last = log->used - n - 1 <= stop;
		uint64_t words = last ? sim_pick(s, 0, n) : n;

		memcpy(u->area[area].base + offset, &log->words[log->used - 1 - n], words * 8);
		if (last)
			break;
		log->used -= n + 1;
	}
}

static void look_as_successor(struct sim *s, struct host *h)
{
	unsigned char *kept = malloc(h->private_size + h->tables_size);

	ASSERT(kept);
	memcpy(kept, h->memory.private, h->private_size);
	memcpy(kept + h->private_size, h->memory.tables, h->tables_size);
	undo_rollback(agent_undo(h->agent));
	oracle_host_died(s, h);
	memcpy(h->memory.private, kept, h->private_size);
	memcpy(h->memory.tables, kept + h->private_size, h->tables_size);
	free(kept);
}

void undo_died(struct sim *s, struct host *h)
{
	const struct undo *u = agent_undo(h->agent);

	if (!u->log->used) {
		oracle_host_died(s, h);
		return;
	}
	sim_mark(s, MARK_ROLLED_BACK);
	if (watch.compare)
		compare(s, h);
	look_as_successor(s, h);
	if (sim_chance(s, 1, 3))
		roll_back_partly(s, u);
}
