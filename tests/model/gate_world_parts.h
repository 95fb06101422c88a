/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_world_parts: what the files of gate_world have in common: where an actor stands, and what the surroundings of the
 * steps do. See gate_world.h.
 */
#ifndef PAXSHM_TESTS_MODEL_GATE_WORLD_PARTS_H
#define PAXSHM_TESTS_MODEL_GATE_WORLD_PARTS_H

#include "gate_hooked.h"

#include "../../shm/gate_words.h"

#define GATE 1u
#define G world.gates[GATE].word

enum pc {
	/* sessions */
	TAKE,
	ARRIVE,
	BUSY, /* until the record is usable */
	LOOK, /* at once, or when the word has changed: who looks may be slow */
	SLEEP,
	ASLEEP,
	CANCEL,
	CHECK,
	CHECK_LIFE,
	DECLINE,
	INSIDE,
	FAST_RELEASE,
	HAND,
	SLOW_RELEASE,
	WAKE,
	ASK,   /* the agent, by a request */
	ASKED, /* until it answers */
	FINISHED,
	/* agent */
	IDLE,
	BURY,
	SWEEP,
	ROUSE,
	OPEN_BEGIN,
	OPEN_GATE,
	OPEN_WAKE,
	CLOSE,
	BEGIN,
	GIVE_NOTE, /* to whom, where the next agent finds it */
	GIVE,
	GIVE_ANSWER,
	GIVE_FORGET,
	CLAIM_DROP,
	CLOSE_FOR_CLAIM,
	LAPSE_BEGIN,
	LAPSE_RECORD,
	LAPSE_GATE,
	LAPSE_END,
};

static inline bool asks(uint32_t i) { return world_bounds.asks >> i & 1; }
static inline uint32_t slot_of(uint32_t i) { return world_bounds.twins && i == 2 ? 1 : i; }
static inline bool asked(uint32_t i) { return world.asked >> i & 1; }

struct gate_view world_view(void);
void world_promise(bool kept, const char *what);
void world_kernel_wake(uint32_t record);
void world_actor_begin(struct world_actor *a, enum pc pc);
void world_pass_begin(struct gate_pass *p, uint32_t slot, uint32_t count);

/* One step of an actor, in which the gate's steps are called … */
void world_session_call(struct world_actor *a, uint32_t me);
void world_session_enter(struct world_actor *a, uint32_t me);
void world_session_next_round(struct world_actor *a, uint32_t me);
void world_agent_call(struct world_actor *a);
/* … and one in which they are not. */
void world_agent_other(struct world_actor *a);
void world_agent_begin(uint8_t pc, uint8_t which);

#endif
