/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate: a lock among the sessions of one host: one word, a line of sleepers, and an agent that can repair both after a
 * death at any instruction.
 *
 *   word     count 32 | top 16 | owner 12 | flags 4. Owner: 0 free (then top is 0 too), a session's slot, or GATE_AGENT:
 *            not open. Top: the record that came last. Count: rises by 1 whenever the owner becomes another than 0, and
 *            is never reset while the gate serves one key; (owner, count) names one acquisition.
 *   record   one place in a line. Its session's slot stands in the read-only tables.
 *   line     the chain from top through `older`. A link names the generation of the record that it leads to; one
 *            that does not match is the line's end. Records are pushed at the top and leave at the other end only,
 *            and a record that leaves raises its generation. So the word alone says who stands in the line.
 *
 *   FREE --> WATCH --> WAIT, or handed by the word: FREE, generation + 1
 *   FREE --> WAIT <--> CANCELLED --> GONE(c) --> OUT(c) --> (used again when the count has moved)
 *             |  \        ^             ^
 *             |   SLEEP --+---(death)---+
 *             v  /        |
 *           CHOSEN(c) ----+      CHOSEN(c), and (its slot, c) owns: consumed: FREE, generation + 1
 *                |
 *           LAPSED(c)            taken out of a line that was cut at c, or deprived of an acquisition below c
 *
 * Handing over: the releaser of (owner, k) marks the oldest record CHOSEN(k+1), rings its bell and wakes it, and only
 * then swaps the word. Whoever is CHOSEN(k+1) while the count is k may make that swap himself (he helps). So a
 * releaser that was stopped or killed in between keeps nobody waiting: before the wake he is still the owner.
 *
 * Who comes when nobody else waits looks at the word instead of his record, and says so there: WATCHED. As long as that
 * stands he is the whole line and awake, and the releaser may make the swap to him alone: one line of memory travels, where
 * choosing takes two lines back and forth. Whoever pushes above him, closes the gate, or takes it from its owner clears the flag;
 * so does he, before he sleeps or leaves. The swap comes at the count at which he was pushed, plus one: so he knows that it was he, and
 * not another thread of his session, who was handed the gate.
 *
 * What each rule is for:
 *   - a link's generation is read after the word and before the swap that publishes it, so the swap proves it;
 *   - a releaser looks at the word once more after he has read the state of the record that he is about to choose:
 *     otherwise one whose acquisition has lapsed would overwrite a later choice;
 *   - a record consumes its grant (generation + 1) before its acquisition can end: otherwise it would be found in the
 *     line by the next owner. Therefore a dead session's records are buried before its gates are swept, and a lapsed
 *     acquisition's record is taken before its gate. Of one who watches nobody can tell whether he waits or was handed the
 *     gate: he is told that something has lapsed, and looks for himself in the line;
 *   - a dead session's record is made to watch no more before it is buried: nobody looks at it when it is handed the gate;
 *   - a record pruned at count k is not pushed at the same gate again while the count is k (OUT): who had read
 *     (…, k, top = that record) and its old generation could otherwise swap himself in above a dead link, and all
 *     below would be lost;
 *   - a record that is GONE may still stand in the line at any later count: who marked it may have died before he took it
 *     out, and sweeping, closing and beginning raise the count and leave the line as it is. Used again there, or at another
 *     gate, it would be found as the oldest, and handed a gate for which its thread does not wait;
 *   - the agent raises the count when it prunes or closes: older choices and swaps are void.
 *
 * `head` and `newer` are hints. They are believed only when the record found has the generation named, stands at this
 * gate and has nobody below it; else the line is walked.
 *
 * The steps here are pure: no system call, no clock. None loops for long: each says what is to be done next. Whatever
 * stands in the arena may have been written by a process gone mad: indices are compared with their bounds, walks end
 * after as many steps as there are records, and what makes no sense is answered with GATE_CORRUPT, or is left to the
 * agent. Sleeping and waking: gate_wait.h.
 *
 * Limits: counts have 32 bits and generations 28: who is stopped between reading a word and his swap while they go
 * exactly once round could be fooled.
 *
 * Who may enter: lib (arrive, look, cancel, release), the agent (all), tests.
 */
#ifndef PAXSHM_SHM_GATE_H
#define PAXSHM_SHM_GATE_H

#include "atom.h"
#include "layout.h"

#define GATE_AGENT 0xfffu

/* Flags of the word. */
#define GATE_CLOSING 1u /* the agent wants it back: see struct gate_terms. Only beside a session's slot */
#define GATE_DIED 2u    /* an owner died, and who has acquired it since, or will, is to be told; cleared by his release */
#define GATE_WATCHED 4u /* top is the whole line and looks at this word: it may be handed over by the word alone. Only beside a session's slot */

enum gate_state {
	GATE_RECORD_FREE,
	GATE_RECORD_WAIT,      /* its thread is awake, and is arriving or stands in the line */
	GATE_RECORD_SLEEP,     /* stands in the line; its thread sleeps on the bell */
	GATE_RECORD_CHOSEN,    /* will be, or was, the owner with this count */
	GATE_RECORD_CANCELLED, /* stands in the line; its thread has left */
	GATE_RECORD_GONE,      /* may stand in the line; its thread may use it again when it cannot be reached from the top */
	GATE_RECORD_LAPSED,
	GATE_RECORD_OUT, /* out of the line since this count */
	/* Its thread is awake and looks at the word: it is arriving, stands in the line with nobody below it, or was
	 * handed the gate by the word alone. */
	GATE_RECORD_WATCH,
};

enum gate_next {
	GATE_MINE,    /* the caller owns the gate: place->count, place->died */
	GATE_WAITS,   /* stands in the line: look */
	GATE_TELL,    /* arrive: the same; others: done. And the agent is to hear of this gate */
	GATE_SPIN,    /* not yet: look again when the word (it watches) or the bell has changed; or with `sleep` */
	GATE_SLEEP,   /* sleep while the bell holds place->value, then look */
	GATE_WAKE,    /* wake one sleeper on the bell of the record that was named, then call again */
	GATE_DONE,    /* nothing is left to do */
	GATE_AGAIN,   /* others were faster several times: call again */
	GATE_ARRIVE,  /* thrown out of the line: arrive again */
	GATE_LEFT,    /* cancelled: no longer waiting */
	GATE_BUSY,    /* this record is not yet out of the line that it was in: use another, or try later */
	GATE_LOST,    /* the caller does not own the gate, or counts as dead */
	GATE_CORRUPT, /* the line makes no sense: gate_mend() */
};

/* Where things stand: made by whoever maps the arena and the tables. */
struct gate_view {
	struct gate *gates;             /* [1 .. n_gates] */
	struct gate_record *records;    /* [1 .. n_records] */
	const uint16_t *slots;          /* [1 .. n_records]: the session whose record it is; 0: nobody's */
	const struct gate_terms *terms; /* [1 .. n_gates] */
	uint32_t n_gates, n_records;
};

/* One thread's attempt to get one gate. The caller fills the first line and zeroes the rest. */
struct gate_place {
	uint32_t gate, slot, record;
	uint32_t gen;    /* of the record, while it stands in the line */
	bool taken;      /* the record is ready to be pushed */
	bool watches;    /* looks at the word: the record is, or was, GATE_RECORD_WATCH */
	uint32_t pushed; /* it watches: the gate's count when it was pushed */
	uint64_t word;   /* GATE_SPIN, and it watches: what the word was */
	bool stands;     /* gate_wait's: in the line */
	uint32_t value;  /* GATE_SLEEP: of the bell */
	uint32_t count;  /* GATE_MINE: (slot, count) is this acquisition */
	bool died;       /* GATE_MINE: the owner before died */
};

/* The end of an acquisition. The caller fills the first line and zeroes the rest. */
struct gate_pass {
	uint32_t gate, slot, count;
	uint32_t record; /* GATE_WAKE: whom */
	bool chosen;     /* the next owner is `record` */
	bool corrupt;    /* GATE_TELL: because the line makes no sense */
};

/* ---- the word ---- */

static inline uint64_t gate_word(uint32_t count, uint32_t top, uint32_t owner, uint32_t flags)
{
	return (uint64_t)count << 32 | (uint64_t)top << 16 | (uint64_t)owner << 4 | flags;
}

static inline uint32_t gate_count(uint64_t word) { return (uint32_t)(word >> 32); }
static inline uint32_t gate_top(uint64_t word) { return word >> 16 & 0xffffu; }
static inline uint32_t gate_owner(uint64_t word) { return word >> 4 & 0xfffu; }
static inline uint32_t gate_flags(uint64_t word) { return word & 0xfu; }

/* The word of a gate that was never used, in the agent's hands. */
#define GATE_WORD_FIRST gate_word(0, 0, GATE_AGENT, 0)

static inline enum gate_state gate_record_state(uint64_t state)
{
	return (enum gate_state)(state >> 32 & 0xfu);
}

/* ---- acquire and release; gates, slots and records of the caller are in range ---- */

/* Takes a free gate. false: it is not free. */
static inline bool gate_take(struct gate *g, uint32_t slot, uint32_t *ret_count, bool *ret_died)
{
	uint64_t word = atom_load_relaxed(&g->word);
	uint32_t count = gate_count(word) + 1;

	if (gate_owner(word))
		return false;
	/* seq_cst: what is read of the lease afterwards is read after the swap. */
	if (!atom_cas_seq_cst(&g->word, word, gate_word(count, 0, slot, gate_flags(word) & GATE_DIED)))
		return false;
	*ret_count = count;
	*ret_died = gate_flags(word) & GATE_DIED;
	return true;
}

/* Frees a gate for which nobody waits. false: go the long way, gate_release(). */
static inline bool gate_free(struct gate *g, uint32_t slot, uint32_t count)
{
	/* release: pairs with the swap in gate_take(). */
	return atom_cas_release(&g->word, gate_word(count, 0, slot, 0), gate_word(count, 0, 0, 0));
}

/* Hands a gate to the only one in its line, who looks at the word. false: go the long way, gate_release(). */
static inline bool gate_hand(const struct gate_view *v, struct gate *g, uint32_t slot, uint32_t count)
{
	uint64_t word = atom_load_relaxed(&g->word);
	uint32_t top = gate_top(word);

	if ((word & ~((uint64_t)0xffff << 16 | GATE_DIED)) != gate_word(count, 0, slot, GATE_WATCHED) || !top || top > v->n_records)
		return false;
	uint32_t to = v->slots[top];
	if (to == 0 || to > SESSIONS_MAX)
		return false;
	/* release: pairs with the load of who watches. */
	return atom_cas_release(&g->word, word, gate_word(count + 1, 0, to, 0));
}

/* Whether (slot, count) still owns the gate.
 *
 * An acquisition counts when, after the swap, the terms are read, and then lease_check() finds the host in the life in
 * which it was made. Which life that is, the taker of a free gate knows from before his swap. Who has waited takes the
 * incarnation from the terms, and asks this after he has read them: otherwise they may be those of a later opening. (So
 * might he who has not waited; but a load of the word just swapped costs as much as the two clocks.) */
static inline bool gate_holds(const struct gate *g, uint32_t slot, uint32_t count)
{
	uint64_t word = atom_load_acquire(&g->word);

	return gate_owner(word) == slot && gate_count(word) == count;
}

/* Joins the line, or takes the gate if it is free. MINE, WAITS, TELL, AGAIN, BUSY, LOST. */
enum gate_next gate_arrive(const struct gate_view *v, struct gate_place *p, uint64_t now_ns);

/* What became of a place in the line. MINE, SPIN, SLEEP (only if `sleep`), AGAIN, ARRIVE, LOST. */
enum gate_next gate_look(const struct gate_view *v, struct gate_place *p, bool sleep);

/* Leaves the line; a grant that came first is not lost. MINE, LEFT, AGAIN, LOST. The record keeps its place for a while:
 * who comes back with it stands where he stood. */
enum gate_next gate_cancel(const struct gate_view *v, struct gate_place *p);

/* Ends the acquisition and hands the gate to whoever waits longest. DONE, WAKE, TELL (the agent has it now), AGAIN,
 * LOST. `now_ns`: CLOCK_MONOTONIC, looked at only when the gate is closing. */
enum gate_next gate_release(const struct gate_view *v, struct gate_pass *p, uint64_t now_ns);

/* Gives up an acquisition that does not count, to the agent: whoever has the gate next is still told of a death. TELL, AGAIN,
 * LOST. */
enum gate_next gate_decline(const struct gate_view *v, uint32_t gate, uint32_t slot, uint32_t count);

/* ---- the agent; any step may be repeated, by a new agent too. Deaths and damage: gate_repair.h ---- */

/* Wants the gate back. The bounds of the passing stand in the terms already. DONE: the agent owns it, nobody can help
 * himself to it by an older choice; WAITS: its owner will hand it over; AGAIN. */
enum gate_next gate_close(const struct gate_view *v, uint32_t gate);

/* Begins a new delegation at a gate that the agent owns: choices of before are void, and DIED is as said. DONE and the
 * count; AGAIN, LOST. */
enum gate_next gate_begin(const struct gate_view *v, uint32_t gate, bool died, uint32_t *ret_count);

/* Gives the gate to whoever waits longest, or frees it. The terms stand already. Begin with gate_agent_pass(); DONE,
 * WAKE, AGAIN, CORRUPT, LOST (the agent does not own it). */
enum gate_next gate_open(const struct gate_view *v, struct gate_pass *p);
struct gate_pass gate_agent_pass(const struct gate_view *v, uint32_t gate);

/* Gives a gate that the agent owns as (GATE_AGENT, count) to a session, ahead of its line: (slot, count + 1). May be said
 * again. Two things are the caller's: a successor that may have found an opening half done closes the gate before it chooses
 * `count` (a choice of before could be the session's own: two of its threads would be owners); and what is to be given to
 * a dead session is dropped before the sweep. DONE and whether the owner before died; AGAIN; LOST. */
enum gate_next gate_give(const struct gate_view *v, uint32_t gate, uint32_t count, uint32_t slot, bool *ret_died);

/* Takes those who left out of the line of a gate that the agent owns. WAITS: p->record waits longest; DONE: nobody does;
 * AGAIN, CORRUPT, LOST. */
enum gate_next gate_prune(const struct gate_view *v, struct gate_pass *p);

#endif
