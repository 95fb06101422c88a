/* SPDX-License-Identifier: Apache-2.0 */
/* The segment of doorbells, gates and places to wait. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include "../../shm/arena.h"
#include "table_space.h"

#define GATES 5u
#define SESSIONS 3u

static struct tables *tables_with_gates(void)
{
	struct table_capacity c = small;

	c.gates = GATES;
	c.sessions = SESSIONS;
	struct tables *t = calloc(1, tables_size(&c));
	tables_format(t, &c, "test", 1);
	cr_assert_null(tables_verify(t, tables_size(&c)));
	return t;
}

static struct arena *arena_new(const struct tables *t)
{
	struct arena *a = calloc(1, arena_size(t->n_gates, t->n_records));

	arena_format(a, t);
	return a;
}

Test(arena, every_gate_begins_in_the_agents_hands_and_every_place_is_free)
{
	struct tables *t = tables_with_gates();
	struct arena *a = arena_new(t);
	struct gate_view v = arena_view(a, t);

	cr_assert_eq(v.n_gates, GATES);
	cr_assert_eq(v.n_records, SESSIONS * GATE_RECORDS_EACH);
	for (uint32_t i = 1; i <= v.n_gates; i++)
		cr_assert_eq(v.gates[i].word, GATE_WORD_FIRST);
	for (uint32_t i = 1; i <= v.n_records; i++) {
		cr_assert_eq(gate_record_state(v.records[i].state), GATE_RECORD_FREE);
		cr_assert_eq(v.slots[i], 0);
	}
	/* The arrays lie behind one another, and within. */
	cr_assert_geq((char *)v.gates, (char *)(a + 1));
	cr_assert_geq((char *)v.records, (char *)(v.gates + GATES + 1));
	cr_assert_leq((char *)(v.records + v.n_records + 1), (char *)a + arena_size(t->n_gates, t->n_records));
}

Test(arena, the_most_sessions_have_places_that_sixteen_bits_can_name)
{
	struct table_capacity c = small;

	c.gates = 1;
	c.sessions = SESSIONS_MAX;
	cr_assert_leq(tables_records(&c), GATE_RECORDS_MAX);
	cr_assert_geq(tables_records(&c), SESSIONS_MAX * 16u);
}

#define refuses(change) \
	do { \
		struct arena *a = arena_new(t); \
		change; \
		cr_assert_not_null(arena_verify(a, arena_size(t->n_gates, t->n_records), t), #change); \
		free(a); \
	} while (0)

Test(arena, verify_refuses_what_does_not_go_with_the_tables)
{
	struct tables *t = tables_with_gates();
	struct arena *whole = arena_new(t);
	uint64_t size = arena_size(t->n_gates, t->n_records);

	cr_assert_null(arena_verify(whole, size, t));
	cr_assert_not_null(arena_verify(whole, size - 1, t));
	refuses(a->segment.magic = 0);
	refuses(a->segment.version++);
	refuses(a->segment.kind = SEGMENT_TABLES);
	refuses(a->segment.size++);
	refuses(a->n_gates++);
	refuses(a->n_records--);
	t->n_gates--;
	cr_assert_not_null(arena_verify(whole, size, t));
}

Test(arena, announcing_marks_the_session_and_says_whether_to_ring)
{
	static struct tables t;
	static struct arena a;

	cr_assert_not(arena_announce(&a, &t, 1));
	cr_assert_not(arena_announce(&a, &t, 64));
	cr_assert_eq(a.pending[0], 2);
	cr_assert_eq(a.pending[1], 1);
	t.agent_sleeps = 1;
	cr_assert(arena_announce(&a, &t, SESSIONS_MAX));
	cr_assert_eq(a.pending[SESSIONS_MAX / 64], 1ull << SESSIONS_MAX % 64);
}
