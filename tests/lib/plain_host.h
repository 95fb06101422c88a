/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plain_host: a host's memory: tables, arena and one session, and no agent. What an agent and other sessions would
 * write, tests write. Host 1 is this one; session i is process 100 + i, program "prog-i".
 */
#ifndef PAXSHM_TESTS_LIB_PLAIN_HOST_H
#define PAXSHM_TESTS_LIB_PLAIN_HOST_H

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

#include "../../lib/session.h"
#include "../../shm/arena.h"
#include "../../shm/atom.h"
#include "../../shm/gate.h"
#include "../../shm/ring.h"
#include "../../shm/segment.h"
#include "../../shm/state/lock_table.h"
#include "../../shm/sys.h"
#include "../../shm/table.h"

#define PLAIN_SESSIONS 6u
#define PLAIN_INCARNATION 7u
#define PLAIN_GATE 3u
#define PLAIN_OPENED 40u /* count of the gate at its opening */

struct plain_host {
	struct paxshm_session session;
	struct gate_view gates;
	struct tables *tables;
	uint32_t mine, row;
};

static inline struct plain_host *plain_host_new(void)
{
	static const struct table_capacity capacity = { .rows = 8, .cells = 8, .waits = 8, .gates = 4, .sessions = PLAIN_SESSIONS, .claims = 6 };
	struct plain_host *h = calloc(1, sizeof(*h));
	struct segment tables, arena, rings;

	cr_assert(h);
	cr_assert_eq(segment_create(&tables, "tables", tables_size(&capacity)), 0);
	cr_assert_eq(segment_create(&arena, "arena", arena_size(capacity.gates, tables_records(&capacity))), 0);
	cr_assert_eq(segment_create(&rings, "rings", sizeof(struct session_rings)), 0);
	struct tables *t = tables.at;
	struct arena *a = arena.at;

	tables_format(t, &capacity, "plain", 1);
	arena_format(a, t);
	t->incarnation = PLAIN_INCARNATION;
	t->deadline_ns = t->deadline_boot_ns = NEVER;
	t->quorum = 1;
	t->host_lease_ns = 3600 * NS_PER_S;
	t->fresh_as_of_ns = sys_now_ns();
	for (uint32_t i = 1; i <= 3; i++)
		snprintf(tables_host(t, i)->name, NAME_BYTES, "host%u", i);
	for (uint32_t i = 1; i <= PLAIN_SESSIONS; i++) {
		struct session_row *row = tables_session(t, i);

		row->pid = 100 + i;
		row->start = 1000 + i;
		snprintf(row->program, sizeof(row->program), "prog-%u", i);
		for (uint32_t r = 1; r <= t->records_each; r++)
			tables_slots(t)[(i - 1) * t->records_each + r] = (uint16_t)i;
	}
	h->tables = t;
	h->gates = arena_view(a, t);
	h->mine = 1;
	h->session = (struct paxshm_session){
		.mine = &h->mine,
		.socket = -1,
		.tables_segment = tables,
		.arena_segment = arena,
		.rings_segment = rings,
		.tables = t,
		.arena = a,
		.rings = rings.at,
		.view = h->gates,
		.slot = 1,
		.host = 1,
	};
	rings_format(h->session.rings, 1, PLAIN_INCARNATION);
	return h;
}

static inline void plain_host_free(struct plain_host *h)
{
	segment_release(&h->session.tables_segment);
	segment_release(&h->session.arena_segment);
	segment_release(&h->session.rings_segment);
	free(h);
}

/* Host `host` asks for "k" as a command of the log would: it gets it, or stands in its queue. */
static inline void plain_ask_as(struct plain_host *h, uint16_t host, uint8_t mode)
{
	struct lock_request q = { .host = host, .mode = mode, .incarnation = PLAIN_INCARNATION };

	tables_host(h->tables, host)->incarnation = PLAIN_INCARNATION; /* who shares must be alive */
	lock_table_acquire(h->tables, NULL, &q, "k", 1, &h->row);
	cr_assert(h->row);
}

static inline void plain_ask(struct plain_host *h, uint16_t host)
{
	plain_ask_as(h, host, LOCK_MODE_EX);
}

/* Claim `i` on "k", of session `i`, as the agent shows it. */
static inline void plain_claim(struct plain_host *h, uint32_t i, unsigned shown, uint8_t mode, uint64_t since_ns)
{
	table_show_claim(h->tables, i, 1, i, shown, mode, claim_hash("k", 1), since_ns);
}

static inline struct gate *plain_gate(struct plain_host *h)
{
	return &h->gates.gates[PLAIN_GATE];
}

static inline struct gate_terms *plain_terms(struct plain_host *h)
{
	return tables_terms(h->tables, PLAIN_GATE);
}

/* "k" is delegated to this host, and PLAIN_GATE is open for it. The first token is 501. */
static inline void plain_open(struct plain_host *h)
{
	plain_ask(h, 1);

	struct lock_value value = table_value(h->tables, h->row);

	value.gate = PLAIN_GATE;
	table_set(h->tables, NULL, h->row, &value);
	*plain_terms(h) = (struct gate_terms){
		.delegation = value.delegation,
		.incarnation = PLAIN_INCARNATION,
		.base = 501,
		.opened_at = PLAIN_OPENED,
		.range = LOCK_RANGE,
		.serial = 2,
		.revoked = 4,
	};
	plain_gate(h)->word = gate_word(PLAIN_OPENED, 0, 0, 0);
}

static inline uint32_t plain_take(struct plain_host *h, uint32_t slot, uint64_t since_ns)
{
	uint32_t count = 0;
	bool died;

	cr_assert(gate_take(plain_gate(h), slot, &count, &died));
	plain_gate(h)->since_ns = since_ns;
	return count;
}

/* The first record of the session joins the line. */
static inline struct gate_place plain_join(struct plain_host *h, uint32_t slot, uint64_t since_ns)
{
	struct gate_place place = { .gate = PLAIN_GATE, .slot = slot, .record = (slot - 1) * h->tables->records_each + 1 };

	cr_assert_eq(gate_arrive(&h->gates, &place, since_ns), GATE_WAITS);
	return place;
}

#endif
