/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_hooked: see gate_hooked.h.
 */
#include "gate_hooked.h"

#include "../../shm/gate.c"
#include "../../shm/gate_repair.c"

struct world world;
struct world_bounds world_bounds;
struct hook_run hook_run;

/* What only its own session changes, and only while nobody can find the record: no step of its own. */
static bool quiet(const void *p)
{
	size_t at = (size_t)((const char *)p - (const char *)world.records);

	if (at >= sizeof(world.records))
		return false;
	at %= sizeof(struct gate_record);
	return at == offsetof(struct gate_record, gate) || at == offsetof(struct gate_record, since_ns);
}

static void watch_arrival(uint64_t before, uint64_t after)
{
	if (gate_owner(before) == gate_owner(after) && gate_count(before) == gate_count(after) &&
	    gate_top(before) != gate_top(after) && gate_top(after))
		world.arrival[gate_top(after)] = ++world.arrivals;
}

static uint64_t carry_out(enum hook_op op, void *p, size_t size, uint64_t x, uint64_t y)
{
	uint64_t before = 0;

	memcpy(&before, p, size);
	switch (op) {
	case HOOK_LOAD:
		break;
	case HOOK_STORE:
		memcpy(p, &x, size);
		return 0;
	case HOOK_ADD:
		x += before;
		memcpy(p, &x, size);
		break;
	case HOOK_CAS:
		if (before != x)
			return 0;
		memcpy(p, &y, size);
		if (p == &world.gates[1].word)
			watch_arrival(x, y);
		return 1;
	}
	return before;
}

uint64_t hook(enum hook_op op, const void *p, size_t size, uint64_t x, uint64_t y)
{
	struct world_actor *a = hook_run.actor;

	if (hook_run.at < a->log_len)
		return a->log[hook_run.at++];
	if (hook_run.stepped && !quiet(p))
		longjmp(hook_run.stop, 1);
	hook_run.stepped = hook_run.stepped || !quiet(p);
	ASSERT(a->log_len < WORLD_LOG);
	a->log[a->log_len++] = carry_out(op, (void *)p, size, x, y);
	return a->log[hook_run.at++];
}
