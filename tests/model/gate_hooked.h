/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_hooked: each access to a shared word goes through hook(). Included before anything that defines such accesses, by
 * gate_hooked.c, which has the steps that ship compiled once more, and by gate_world.c. So these two have gate.c's functions
 * in them: no test may need them and the shipping objects at the same time.
 */
#ifndef PAXSHM_TESTS_MODEL_GATE_HOOKED_H
#define PAXSHM_TESTS_MODEL_GATE_HOOKED_H

#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "../../lib/base.h"
#include "../../shm/atom.h"

enum hook_op { HOOK_LOAD,
	       HOOK_STORE,
	       HOOK_CAS,
	       HOOK_ADD };

uint64_t hook(enum hook_op op, const void *p, size_t size, uint64_t x, uint64_t y);

static inline bool hook_cas(const uint64_t *p, uint64_t expected, uint64_t value)
{
	return hook(HOOK_CAS, p, sizeof(*p), expected, value) != 0;
}

#undef atom_load_relaxed
#undef atom_load_acquire
#undef atom_store_relaxed
#undef atom_store_release
#undef atom_add_release
#define atom_load_relaxed(p) ((__typeof__(*(p) + 0))hook(HOOK_LOAD, (p), sizeof(*(p)), 0, 0))
#define atom_load_acquire(p) ((__typeof__(*(p) + 0))hook(HOOK_LOAD, (p), sizeof(*(p)), 0, 0))
#define atom_store_relaxed(p, v) ((void)hook(HOOK_STORE, (p), sizeof(*(p)), (v), 0))
#define atom_store_release(p, v) ((void)hook(HOOK_STORE, (p), sizeof(*(p)), (v), 0))
#define atom_add_release(p, v) ((void)hook(HOOK_ADD, (p), sizeof(*(p)), (v), 0))
#define atom_cas_acq_rel hook_cas
#define atom_cas_release hook_cas
#define atom_cas_seq_cst hook_cas

#include "gate_world.h"

extern struct world_bounds world_bounds;

#define GATE_MUTANT(name) (world_bounds.mutant == MUTANT_##name)
#define GATE_TRIES 1u

/* The step that is being made. */
struct hook_run {
	struct world_actor *actor;
	unsigned at;  /* answers taken from the actor's log */
	bool stepped; /* the new operation was carried out */
	jmp_buf stop; /* where the next one leads to */
};

extern struct hook_run hook_run;

#endif
