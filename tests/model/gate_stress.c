/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_stress: threads that stand for sessions, all at one gate, with deadlines, while one that stands for the agent
 * closes and opens it. What the gate guards is plain memory: ThreadSanitizer sees whether an acquisition comes after the
 * release before it, and the end shows whether one was lost.
 *
 *	make SAN=thread threads
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "../../shm/gate_wait.h"
#include "../../shm/sys.h"
#include "../shm/gate_space.h"

#define THREADS 6u
#define TURNS 10000u
#define CLOSINGS 300u

static struct gate_space *space;
static struct gate_view view;
static uint64_t guarded, last_count; /* under gate 1 */
static uint32_t turns[THREADS + 1], gave_up, running = THREADS, failures;

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "gate_stress: must hold: %s\n", what);
	atom_add_relaxed(&failures, 1u);
}

static int acquire(struct gate_place *p, bool hurry)
{
	struct gate_patience patience = { .deadline_ns = hurry ? sys_now_ns() + 50000 : NEVER };
	int rc = 0;

	if (gate_take(&space->gates[1], p->slot, &p->count, &p->died))
		return 0;
	do
		rc = gate_wait(&view, p, &patience);
	while (rc > 0);
	return rc;
}

static void *session(void *with)
{
	uint32_t slot = (uint32_t)(uintptr_t)with;

	for (unsigned i = 0; i < TURNS; i++) {
		struct gate_place p = gate_space_place(slot);
		int rc = acquire(&p, i % 5 == 0);

		if (rc) {
			must(rc == -ETIMEDOUT || rc == -EBUSY, "a wait ends in time, or its record is not yet free");
			atom_add_relaxed(&gave_up, 1u);
			continue;
		}
		guarded++;
		must(p.count > last_count, "counts rise");
		last_count = p.count;
		turns[slot]++;
		if (i % 8 == 0) /* so that the others come meanwhile, whatever the number of cores */
			sched_yield();
		if (!gate_free(&space->gates[1], slot, p.count) && !gate_hand(&view, &space->gates[1], slot, p.count))
			must(gate_pass_on(&view, 1, slot, p.count) >= 0, "the owner's release is the owner's");
	}
	atom_add_seq_cst(&running, -1u);
	return NULL;
}

static void open_gate(void)
{
	struct gate_pass open = gate_agent_pass(&view, 1);

	for (enum gate_next next = GATE_AGAIN; next == GATE_AGAIN || next == GATE_WAKE;) {
		next = gate_open(&view, &open);
		must(next != GATE_CORRUPT, "the line makes sense");
		if (next == GATE_WAKE)
			sys_futex_wake(&space->records[open.record].bell, 1);
	}
}

static void agent(void)
{
	for (unsigned i = 0; atom_load_seq_cst(&running); i++) {
		if (i < CLOSINGS) {
			atom_store_relaxed(&space->terms[1].stop_at, gate_count(atom_load_acquire(&space->gates[1].word)) + i % 4);
			atom_store_relaxed(&space->terms[1].remote_since_ns, NEVER);
			atom_store_relaxed(&space->terms[1].stop_ns, NEVER);
			gate_close(&view, 1);
		}
		sys_futex_wait(&running, atom_load_relaxed(&running), sys_now_ns() + 300000);
		if (gate_owner(atom_load_acquire(&space->gates[1].word)) == GATE_AGENT)
			open_gate();
	}
}

int main(void)
{
	pthread_t thread[THREADS + 1];
	uint64_t sum = 0;

	space = gate_space_new();
	view = gate_space_view(space);
	for (uintptr_t slot = 1; slot <= THREADS; slot++)
		pthread_create(&thread[slot], NULL, session, (void *)slot);
	agent();
	for (unsigned slot = 1; slot <= THREADS; slot++) {
		pthread_join(thread[slot], NULL);
		sum += turns[slot];
	}
	must(sum == guarded, "nothing was lost");
	must(sum + gave_up == THREADS * TURNS, "everybody had his turns");
	must(gate_owner(space->gates[1].word) == 0 && gate_top(space->gates[1].word) == 0, "the gate is free in the end");
	printf("gate_stress: %lu acquisitions, %u given up\n", (unsigned long)sum, gave_up);
	return failures != 0;
}
