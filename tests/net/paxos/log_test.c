/* SPDX-License-Identifier: Apache-2.0 */
/* log: the surviving memory - what stays, what leaves, and that a step is undone whole. */
#include <criterion/criterion.h>
#include <setjmp.h>

#include "core.h"

static struct core core;
static jmp_buf death;
static int probes_left;

static struct core *host(uint16_t self, uint32_t n_voters)
{
	struct paxos_config config = core_config(self, n_voters);

	core_start(&core, &config, NS_PER_S);
	return &core;
}

Test(log, base_moves_only_when_its_place_is_wanted)
{
	struct core *c = host(1, 1);

	core_lead(c); /* slot 1 */
	for (unsigned slot = 2; slot <= 8; slot++)
		core_propose(c, "x");
	cr_assert_eq(c->memory->chosen, 8);
	cr_assert_eq(c->memory->base, 0);
	core_propose(c, "nine");
	cr_assert_eq(c->memory->base, 1);
	cr_assert_str_eq(core_text(c, 9), "nine");
	cr_assert_str_eq(core_text(c, 1), "-");
}

Test(log, every_slot_behind_base_can_be_read)
{
	struct core *c = host(1, 1);

	core_lead(c);
	for (unsigned i = 0; i < 20; i++)
		core_propose(c, "value");
	for (uint64_t slot = c->memory->base + 1; slot <= c->memory->chosen; slot++) {
		struct paxos_entry e = paxos_chosen_entry(&c->p, slot);

		cr_assert_eq(e.slot, slot);
		cr_assert_eq(e.kind, PAXOS_COMMANDS);
		cr_assert_eq(e.len, 5);
		cr_assert_arr_eq(e.bytes, "value", 5);
	}
}

Test(log, a_snapshot_forgets_what_it_covers_and_keeps_what_stands_above)
{
	struct core *c = host(1, 5);
	const uint64_t b = BALLOT(3, 2);

	core_hear(c, 2, ACCEPT(b, 1, "one"));
	core_hear(c, 2, ACCEPT(b, 3, "three"));
	core_installed(c, 2);
	cr_assert_eq(c->memory->chosen, 2);
	cr_assert_eq(c->memory->base, 2);
	core_hear(c, 3, PREPARE(BALLOT(4, 3), 2));
	const struct paxos_send *promise = core_said(c, PAXOS_PROMISE, 0);
	cr_assert_not_null(promise);
	cr_assert_eq(promise->message.n_entries, 1);
	cr_assert_eq(promise->message.entries[0].slot, 3);
}

Test(log, a_snapshot_joins_what_was_known_beyond_it)
{
	struct core *c = host(4, 3);

	core_hear(c, 1, LEARN(BALLOT(3, 1), 4, "four", 0));
	core_installed(c, 3);
	cr_assert_eq(c->memory->chosen, 4);
}

Test(log, an_old_snapshot_is_void)
{
	struct core *c = host(1, 1);

	core_lead(c);
	core_propose(c, "a");
	core_installed(c, 1);
	cr_assert_eq(c->memory->chosen, 2);
	cr_assert_eq(c->memory->base, 0);
	cr_assert_eq(c->p.role, PAXOS_LEADING);
}

Test(log, a_leader_that_installs_a_snapshot_leads_no_longer)
{
	struct core *c = host(1, 3);

	core_lead(c);
	core_installed(c, 7);
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
}

static void count_down(void *context)
{
	(void)context;
	if (--probes_left == 0)
		longjmp(death, 1);
}

/* Dies at the nth change of this step; false: the step has fewer. Else the memory must be as before. */
static bool dies_cleanly(struct core *c, const struct paxos_event *event, int nth)
{
	void *before = malloc(c->memory_size);
	volatile bool died = true;

	memcpy(before, c->memory, c->memory_size);
	probes_left = nth;
	c->undo.probe = count_down;
	if (!setjmp(death)) {
		paxos_step(&c->p, event, &c->out);
		died = false;
	}
	core_restart(c, false);
	cr_assert_arr_eq(c->memory, before, c->memory_size, "death at change %d", nth);
	free(before);
	return died;
}

Test(log, death_at_any_change_of_an_acceptance_leaves_no_trace)
{
	struct core *c = host(1, 3);
	struct paxos_message m = ACCEPT(BALLOT(9, 2), 10, "another value, long enough");
	struct paxos_event event = { .kind = PAXOS_EVENT_MESSAGE, .from = 2, .message = &m };
	int n = 1;

	for (uint64_t slot = 1; slot < 10; slot++) /* the ring is full: the next overwrites slot 2 */
		core_hear(c, 2, ACCEPT(BALLOT(3, 2), slot, "an old value"));
	event.now_ns = c->now;
	while (dies_cleanly(c, &event, n))
		n++;
	cr_assert_gt(n, 4, "promise, base, value, slot, flag and chosen are changes of their own");
}

/* A value's length decides where it stands: neither place knows of the other's. */
Test(log, short_and_long_values_take_each_others_places)
{
	static unsigned char text[2][PAXOS_FEW + 1];
	struct core *c = host(1, 3);
	struct paxos_config config = core_config(1, 3);

	core_release(c);
	config.value_max = 512;
	core_start(c, &config, NS_PER_S);
	memset(text[0], 's', sizeof(text[0]));
	memset(text[1], 'l', sizeof(text[1]));
	for (uint64_t slot = 1; slot <= 16; slot++) { /* the second round: each place by the other kind */
		unsigned kind = (slot + (slot > 8)) % 2;
		struct paxos_entry e = { .slot = slot, .ballot = BALLOT(3, 2), .kind = PAXOS_COMMANDS, .len = PAXOS_FEW + kind, .bytes = text[kind] };
		struct paxos_message m = { .kind = PAXOS_ACCEPT, .ballot = e.ballot, .flag = true, .n_entries = 1, .entries = &e };
		struct paxos_event event = { .kind = PAXOS_EVENT_MESSAGE, .now_ns = c->now, .from = 2, .message = &m };

		for (int n = 1; dies_cleanly(c, &event, n); n++)
			;
		core_hear(c, 2, m);
		e = paxos_chosen_entry(&c->p, slot);
		cr_assert_eq(e.len, PAXOS_FEW + kind);
		cr_assert_arr_eq(e.bytes, text[kind], e.len);
	}
}

Test(log, death_at_any_change_of_an_election_leaves_no_trace)
{
	struct core *c = host(1, 1);
	struct paxos_event event = { .kind = PAXOS_EVENT_TIME, .now_ns = NS_PER_S + 2 * CORE_LEASE };
	int n = 1;

	while (dies_cleanly(c, &event, n))
		n++;
	cr_assert_gt(n, 2);
}

/* The caller sizes its log by this; the log asserts that it is never too small. */
Test(log, undo_has_room_for_the_largest_step)
{
	struct core *c = host(1, 3);
	struct paxos_config config = core_config(1, 3);
	struct paxos_entry found[PAXOS_WINDOW_MAX];
	unsigned char value[256] = { 0 };

	core_release(c);
	config.window = PAXOS_WINDOW_MAX;
	config.log_slots = 2 * PAXOS_WINDOW_MAX;
	config.value_max = sizeof(value);
	core_start(c, &config, NS_PER_S);
	for (uint64_t slot = 1; slot <= 128; slot++) { /* so that each place is taken, and base moves */
		struct paxos_message m = ACCEPT(BALLOT(2, 2), slot, "");

		core_hear(c, 2, m);
	}
	for (unsigned i = 0; i < 4 && c->p.role != PAXOS_ASKING; i++)
		core_wait(c, CORE_LEASE);
	core_hear(c, 2, PREVOTED(c->p.ballot));
	for (uint32_t i = 0; i < PAXOS_WINDOW_MAX; i++)
		found[i] = (struct paxos_entry){ .slot = 129 + i, .ballot = BALLOT(2, 2), .kind = PAXOS_COMMANDS, .len = sizeof(value), .bytes = value };
	core_hear(c, 2, (struct paxos_message){ .kind = PAXOS_PROMISE, .ballot = c->p.ballot, .n_entries = PAXOS_WINDOW_MAX, .entries = found });
	cr_assert_eq(c->p.next_slot, 129 + PAXOS_WINDOW_MAX);
	cr_assert_eq(core_times_said(c, PAXOS_ACCEPT), PAXOS_WINDOW_MAX);
}
