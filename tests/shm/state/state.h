/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state: tables with an undo log, and short words for what the tests of shm/state do to them. Each
 * of them is one committed group.
 */
#ifndef PAXSHM_TESTS_SHM_STATE_STATE_H
#define PAXSHM_TESTS_SHM_STATE_STATE_H

#include "../../../shm/state/apply.h"
#include "../../../shm/state/host_table.h"
#include "../../../shm/state/snapshot.h"

struct state {
	struct tables *tables;
	struct undo undo;
	uint64_t slot;  /* of the last command */
	uint64_t words; /* the most undo words that one group took */
};

void state_init(struct state *s, uint32_t rows, uint32_t cells, uint32_t waits);
void state_release(struct state *s);
void state_commit(struct state *s);

/* Keys that differ in length and in use of cells: 0 .. */
struct state_key {
	uint8_t len;
	uint8_t bytes[KEY_MAX];
};

struct state_key state_key(unsigned i);
/* A key that takes so many cells. */
struct state_key state_key_cells(unsigned i, unsigned cells);

/* A new life of the host, the heir of the one that was: its incarnation. */
uint64_t state_up(struct state *s, uint16_t host);

/* The host's life is declared down by the present leader. */
void state_down(struct state *s, uint16_t host);

/* A leader begins in this ballot. */
void state_leads(struct state *s, uint64_t ballot);

/* The host's next command, its fields yet to be filled in. */
struct command state_command(const struct state *s, uint8_t kind, uint16_t host);
struct command state_command_on(const struct state *s, uint8_t kind, uint16_t host, struct state_key key);

/* Any command: most would take effect, some are repeated, late, or about what is not there. */
struct command state_random(const struct state *s, uint64_t *random, unsigned hosts, unsigned keys);

/* Applies at the next slot. */
struct effects state_apply(struct state *s, const struct command *c);

/* The shown value of a key; zeros when it has no row. */
struct lock_value state_value(const struct state *s, struct state_key key);

/* Asserts that the table holds together. */
void state_check(const struct state *s);

/* Whether b's agreed part becomes a's, by a snapshot. */
void state_copy(struct state *b, const struct state *a);

#endif
