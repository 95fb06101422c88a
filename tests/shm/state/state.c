/* SPDX-License-Identifier: Apache-2.0 */
#include "state.h"

#include <criterion/criterion.h>

void state_init(struct state *s, uint32_t rows, uint32_t cells, uint32_t waits)
{
	struct table_capacity capacity = { .rows = rows, .cells = cells, .waits = waits };
	uint64_t size = tables_size(&capacity);

	*s = (struct state){ .tables = aligned_alloc(4096, size) };
	memset(s->tables, 0, size);
	tables_format(s->tables, &capacity, "test", 1);
	s->undo.log = calloc(1, sizeof(struct undo_log) + APPLY_UNDO_WORDS * 8);
	s->undo.log->capacity = APPLY_UNDO_WORDS;
	undo_add_area(&s->undo, s->tables, size);
}

void state_release(struct state *s)
{
	free(s->undo.log);
	free(s->tables);
}

void state_commit(struct state *s)
{
	s->words = MAX(s->words, s->undo.log->used);
	undo_commit(&s->undo);
}

static struct state_key key_of(unsigned i, unsigned len)
{
	struct state_key key = { .len = (uint8_t)len };

	memset(key.bytes, 'k', len);
	key.bytes[0] = (uint8_t)i;
	key.bytes[1] = (uint8_t)(i >> 8);
	return key;
}

struct state_key state_key(unsigned i)
{
	static const uint8_t lens[] = { 2, 5, 64, 8, 65, 9, 128, 16, 129, 63, 192, 7, 193, 3, 255, 40 };

	return key_of(i, lens[i % ARRAY_LEN(lens)]);
}

struct state_key state_key_cells(unsigned i, unsigned cells)
{
	return key_of(i, cells ? KEY_INLINE + (cells - 1) * KEY_CELL + 1 : 8);
}

uint64_t state_up(struct state *s, uint16_t host)
{
	uint64_t slot = ++s->slot;

	const struct host_row *h = tables_host(s->tables, host);

	cr_assert(host_table_up(s->tables, &s->undo, host, slot, h->incarnation, h->nonce, slot));
	state_commit(s);
	return slot;
}

void state_down(struct state *s, uint16_t host)
{
	cr_assert(host_table_down(s->tables, &s->undo, host, tables_host(s->tables, host)->incarnation, s->tables->agreed.leads));
	state_commit(s);
}

void state_leads(struct state *s, uint64_t ballot)
{
	apply_leads(s->tables, &s->undo, ballot);
	state_commit(s);
}

struct command state_command(const struct state *s, uint8_t kind, uint16_t host)
{
	const struct host_row *h = tables_host(s->tables, host);
	struct command c = { .kind = kind, .host = host };

	if (command_numbered(kind)) {
		c.incarnation = h->incarnation;
		c.number = h->last_number + 1;
		c.mode = kind == COMMAND_ACQUIRE ? LOCK_MODE_EX : 0;
	} else if (kind == COMMAND_HOST_DOWN) {
		c.incarnation = h->incarnation;
		c.ballot = s->tables->agreed.leads;
	} else if (kind == COMMAND_SWEEP) {
		c.row = h->sweep;
	}
	return c;
}

struct command state_command_on(const struct state *s, uint8_t kind, uint16_t host, struct state_key key)
{
	struct command c = state_command(s, kind, host);

	c.key_len = key.len;
	memcpy(c.key, key.bytes, key.len);
	return c;
}

static void random_release(const struct state *s, uint64_t *random, struct state_key key, struct command *c)
{
	struct lock_value v = state_value(s, key);
	uint16_t host = v.host;

	for (uint32_t w = v.holder; w && (!host || random_next(random) % 2); w = tables_wait(s->tables, w)->next) {
		host = tables_wait(s->tables, w)->host;
		v.delegation = tables_wait(s->tables, w)->delegation;
	}
	if (host)
		*c = state_command_on(s, COMMAND_RELEASE, host, key);
	c->release.delegation = v.delegation + (random_next(random) % 16 == 0);
	c->release.used = (uint32_t)(random_next(random) % (LOCK_RANGE + 1));
	c->flags = random_next(random) % 4 ? 0 : COMMAND_DIED;
}

struct command state_random(const struct state *s, uint64_t *random, unsigned hosts, unsigned keys)
{
	uint16_t host = (uint16_t)(1 + random_next(random) % hosts);
	struct state_key key = state_key((unsigned)(random_next(random) % keys));
	unsigned dice = (unsigned)(random_next(random) % 100);
	struct command c;

	if (dice < 45) {
		c = state_command_on(s, COMMAND_ACQUIRE, host, key);
		c.flags = random_next(random) % 5 ? 0 : COMMAND_TRY;
		c.mode = random_next(random) % 2 ? LOCK_MODE_EX : LOCK_MODE_PR;
	} else if (dice < 80) {
		c = state_command_on(s, COMMAND_RELEASE, host, key);
		random_release(s, random, key, &c);
	} else if (dice < 85) {
		c = state_command_on(s, COMMAND_CANCEL, host, key);
	} else if (dice < 90) {
		c = state_command(s, COMMAND_SWEEP, host);
		c.row += random_next(random) % 8 == 0;
	} else if (dice < 93) {
		c = state_command(s, COMMAND_HOST_UP, host);
		c.host_up.nonce = 1 + random_next(random) % 1000;
		c.host_up.expected = tables_host(s->tables, host)->incarnation;
		c.host_up.heir_of = random_next(random) % 2 ? tables_host(s->tables, host)->nonce : 0;
	} else if (dice < 94) {
		c = state_command(s, COMMAND_FOUND, host);
		c.found.history = 1 + dice;
		c.found.rows = s->tables->n_rows;
		c.found.cells = s->tables->n_cells;
		c.found.waits = s->tables->n_waits;
	} else if (dice < 95) {
		c = state_command(s, COMMAND_HOST_DOWN, host);
		c.ballot -= random_next(random) % 2;
	} else { /* late, ahead, or of another life */
		c = state_command_on(s, COMMAND_ACQUIRE, host, key);
		c.number += random_next(random) % 3;
		c.incarnation -= random_next(random) % 2;
	}
	return c;
}

struct effects state_apply(struct state *s, const struct command *c)
{
	struct effects effects;

	apply_command(s->tables, &s->undo, c, ++s->slot, &effects);
	state_commit(s);
	return effects;
}

struct lock_value state_value(const struct state *s, struct state_key key)
{
	uint32_t row = table_find(s->tables, key.bytes, key.len);

	return row ? table_value(s->tables, row) : (struct lock_value){ 0 };
}

void state_check(const struct state *s)
{
	const char *wrong = table_check(s->tables);

	cr_assert_null(wrong, "%s", wrong);
}

void state_copy(struct state *b, const struct state *a)
{
	uint64_t size = snapshot_size(a->tables), room = snapshot_room(a->tables);
	void *bytes = malloc(room);
	const char *wrong;

	cr_assert_eq(snapshot_write(a->tables, bytes, room), size);
	wrong = snapshot_verify(b->tables, bytes, size);
	cr_assert_null(wrong, "%s", wrong);
	snapshot_install(b->tables, bytes, size);
	b->tables->ready = 1;
	b->slot = a->slot;
	free(bytes);
}
