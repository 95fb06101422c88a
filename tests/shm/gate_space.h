/* SPDX-License-Identifier: Apache-2.0 */
/* gate_space: two gates and eight records in shared memory; session i has record i, session 7 has 7 and 8. */
#ifndef PAXSHM_TESTS_SHM_GATE_SPACE_H
#define PAXSHM_TESTS_SHM_GATE_SPACE_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../../lib/base.h"
#include "../../shm/gate_repair.h"

#define GATE_SPACE_RECORDS 8u

struct gate_space {
	struct gate gates[3];
	struct gate_record records[GATE_SPACE_RECORDS + 1];
	struct gate_terms terms[3];
	uint16_t slots[GATE_SPACE_RECORDS + 1];
};

/* Shared with children; gate 1 is free at count 10, gate 2 the agent's. */
static inline struct gate_space *gate_space_new(void)
{
	struct gate_space *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (s == MAP_FAILED)
		abort();
	for (uint16_t i = 1; i <= GATE_SPACE_RECORDS; i++)
		s->slots[i] = i < 8 ? i : 7;
	s->gates[1].word = gate_word(10, 0, 0, 0);
	s->gates[2].word = GATE_WORD_FIRST;
	return s;
}

static inline struct gate_view gate_space_view(struct gate_space *s)
{
	return (struct gate_view){ .gates = s->gates,
				   .records = s->records,
				   .slots = s->slots,
				   .terms = s->terms,
				   .n_gates = 2,
				   .n_records = GATE_SPACE_RECORDS };
}

static inline struct gate_place gate_space_place(uint32_t slot)
{
	return (struct gate_place){ .gate = 1, .slot = slot, .record = slot };
}

static inline struct gate_pass gate_space_pass(uint32_t slot, uint32_t count)
{
	return (struct gate_pass){ .gate = 1, .slot = slot, .count = count };
}

#endif
