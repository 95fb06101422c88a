/* SPDX-License-Identifier: Apache-2.0 */
/* The second implementation of the agreed state against the first, on commands of every kind, whatever agents propose today. */
#include <criterion/criterion.h>

#include "../shm/state/state.h"
#include "sim.h"

#define HOSTS 6u
#define KEYS 24u

static struct sim *sim;
static struct tally tally;
static struct state s;

static void up(void)
{
	const struct table_capacity room = { .rows = 12, .cells = 8, .waits = 20 };

	sim = calloc(1, sizeof(*sim));
	sim->tally = &tally;
	sim->n_hosts = HOSTS;
	sim->plan.limits.capacity = room;
	sim->untrusted_until = NEVER; /* no clocks, no leases: nothing is said about them here */
	state_init(&s, room.rows, room.cells, room.waits);
	sim->host[1].id = 1;
	sim->host[1].memory.tables = s.tables;
}

static void down(void)
{
	state_check(&s);
	state_release(&s);
	free(sim);
}

TestSuite(reference, .init = up, .fini = down);

static void both(const struct command *c)
{
	unsigned char bytes[COMMAND_BYTES_MAX];
	struct writer w = writer_on(bytes, sizeof(bytes));

	command_encode(&w, c);
	state_apply(&s, c);
	reference_apply(sim, s.slot, PAXOS_COMMANDS, bytes, (uint32_t)w.len);
}

Test(reference, it_says_the_same_of_every_command)
{
	uint64_t random = 11, shared = 0, both_ways = 0;

	for (unsigned i = 0; i < 60000; i++) {
		struct command c = state_random(&s, &random, HOSTS, KEYS);

		both(&c);
		reference_compare(sim, &sim->host[1], i % 16 == 0);
		for (uint32_t row = 1; row <= s.tables->agreed.rows_high; row++) {
			struct lock_value v = table_value(s.tables, row);

			shared += tables_row(s.tables, row)->key_len && v.holders > 1;
			both_ways += tables_row(s.tables, row)->key_len && v.holders && v.waiting;
		}
	}
	cr_assert_gt(s.tables->agreed.delegations, 5000);
	cr_assert_gt(shared, 5000, "many shared");
	cr_assert_gt(both_ways, 5000, "and others waited for them");
}
