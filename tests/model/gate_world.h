/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_world: one gate, up to four sessions and the agent, as a machine whose steps are single atomic operations of the
 * steps that ship: gate.c and gate_repair.c are compiled into gate_hooked.c once more, each access to a shared word
 * through a hook.
 *
 * A step of an actor runs the call that the actor is in from its beginning. The hook answers what earlier steps of this
 * call did from a log; it carries out one new operation, and stops the call at the next. What a call does depends on its
 * arguments and on what its operations answered, and on nothing else. So a state of the world is: the shared words,
 * and for each actor the call that it is in, the call's arguments, and its log.
 */
#ifndef PAXSHM_TESTS_MODEL_GATE_WORLD_H
#define PAXSHM_TESTS_MODEL_GATE_WORLD_H

#include "../../shm/gate_repair.h"

#define WORLD_SESSIONS 4u
#define WORLD_LOG 28u

/* Mistakes that a run may plant: in the steps, or in what session and agent do with them. */
enum world_mutant {
	MUTANT_NONE,
	MUTANT_NO_HELP,     /* who is chosen waits for the releaser */
	MUTANT_LATE_WAKE,   /* the wake comes after the swap */
	MUTANT_SWEEP_FIRST, /* a dead session's gates before its records */
	MUTANT_ONE_LOOK,    /* no second look at the word while choosing */
	MUTANT_AT_ONCE,     /* a pruned record is used again under the same count */
	MUTANT_LAPSE_LATE,  /* a lapsed gate before its owner's record */
	MUTANT_EARLY_CHECK, /* the lease is looked at before the swap */
	MUTANT_NO_HOLDS,    /* nobody looks whether the gate is still his after he has read its terms */
	MUTANT_NO_VOID,     /* closing leaves an older choice in force */
	MUTANT_UNDRAINED,   /* the release is proposed when the gate is closing, not when it is drained */
	MUTANT_REOPEN,      /* a new agent opens a gate whose release was proposed */
	MUTANT_CLOSE_HANGS, /* closing goes on until the owner has let go */
	MUTANT_GIVE_ONCE,   /* a gate that was given already counts as lost */
	MUTANT_GIVE_ALWAYS, /* a gate is given again whatever its count */
	MUTANT_GIVE_DEAD,   /* what was to be given to a dead session is not dropped before the sweep */
	MUTANT_FORGET_DIED, /* who declines forgets that an owner died */
	MUTANT_LATE_FREES,  /* a grant that comes too late is released, as if somebody had looked at it */
	MUTANT_GONE_SOON,   /* who is GONE counts as out of the line two counts later */
	MUTANT_KEEP_DIED,   /* a delegation begins with what the one before left of a death */
	MUTANT_NO_SERIAL,   /* nobody looks whether the gate still serves the same key */
	MUTANT_WATCH_ON,    /* who comes behind one who watches leaves it to be handed over by the word */
	MUTANT_BURY_WATCH,  /* a dead session's record goes on watching */
	MUTANT_LAPSE_WATCH, /* a lapsed gate that was handed over by the word: its owner's record is left as it is */
	MUTANT_WATCH_LOW,   /* who watches takes any acquisition of his session for his */
};

struct world_bounds {
	uint8_t sessions;
	uint8_t rounds[WORLD_SESSIONS + 1]; /* turns at the gate that each session wants */
	uint8_t cancels;                    /* bit i: session i may leave the line, or give up what it asked for */
	uint8_t asks;                       /* bit i: session i goes by the agent first, and when its acquisition did not count */
	uint8_t rekeys;                     /* a drained gate may serve another key afterwards */
	uint8_t twins;                      /* sessions 1 and 2 are two threads of session 1 */
	uint8_t asleep;                     /* so many sleep in the line when it begins, and the last session is inside */
	uint8_t kills, stops, agent_kills, closes, lapses;
	enum world_mutant mutant;
};

struct world_actor {
	uint8_t pc, rounds, log_len, inside;
	uint8_t dead, stopped, handled, checked;
	uint32_t late;         /* a session's: it has given up what it asked for */
	uint32_t which;        /* the agent's: the session that it buries or serves; a session's: it has stood in the line */
	uint32_t owner, count; /* the agent's, while it lapses a gate */
	uint64_t serial;       /* of the gate, as the session has it in mind; 0: not yet */
	uint64_t incarnation;  /* as the session read it, before it stood in the line or swapped … */
	uint64_t delegation;   /* … and that of the terms that it goes by */
	struct gate_place place;
	struct gate_pass pass;
	uint64_t log[WORLD_LOG];
};

struct world {
	struct gate gates[2];
	struct gate_record records[WORLD_SESSIONS + 1];
	struct gate_terms terms[2];
	uint64_t incarnation;
	uint8_t expired, died_owed, row_died, deaths, kills, stops, agent_kills, closes, lapses, closing;
	uint8_t asked, spare[5];        /* bit i: the agent has a request of session i */
	uint32_t give_slot, give_count; /* what the agent has noted before it gives: its successor finds it */
	uint32_t give_serial;
	uint64_t give_incarnation;
	uint32_t last_count, arrivals, served;
	uint32_t arrival[WORLD_SESSIONS + 1];
	struct world_actor actor[WORLD_SESSIONS + 1]; /* 0: the agent */
};

struct world_move {
	uint8_t kind, actor, choice;
};

#define WORLD_MOVES 24u

void world_begin(const struct world_bounds *bounds);
extern struct world world; /* the one in which moves are made */

/* All that may happen next. */
unsigned world_moves(struct world_move moves[WORLD_MOVES]);
void world_make(struct world_move move);
/* For stories: a move of kind 0 is a step of its actor. */
bool world_may_step(uint32_t session);
void world_leave(uint32_t session);
uint64_t world_hash(void);
/* NULL, or which promise is broken: after a move; and where nothing can happen any more. */
const char *world_wrong(void);
const char *world_wrong_end(void);
void world_say(struct world_move move, char *ret_text, unsigned len);

#endif
