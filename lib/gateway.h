/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gateway: how a handle gets its key's lock at the gate and gives it back there, without the agent. Steps and waiting are
 * shm/gate.h's and shm/gate_wait.h's; here stands what makes an acquisition count: the gate still serves the key, the
 * token lies in the range of the delegation, and the host's lease holds in the life in which it was made.
 *
 * An acquisition that does not count is surrendered to the agent, never released: whoever is next is still told of a
 * death. Then one goes by the agent.
 *
 * Who may enter: lib. A handle is the caller's: alone in it (bias.h), under the mutex, or having made it busy.
 */
#ifndef PAXSHM_LIB_GATEWAY_H
#define PAXSHM_LIB_GATEWAY_H

#include "../shm/lease_check.h"
#include "../shm/table.h"
#include "session.h"

/* Answered beside 0 and negative errno: only the agent can say. */
#define BY_AGENT 1

enum take { TAKE_DONE,
	    TAKE_NOT_FREE,
	    TAKE_VOID }; /* taken, and it does not count: gateway_decline() */

static inline uint64_t gateway_margin_ns(const struct tables *t)
{
	return lease_margin_ns(atom_load_relaxed(&t->host_lease_ns));
}

/* A swap waits until all stores before it have left the core, one after the other: what stands there already is not
 * stored again. */
static inline void note_u32(uint32_t *at, uint32_t value)
{
	if (atom_load_relaxed(at) != value)
		atom_store_relaxed(at, value);
}

static inline void note_u64(uint64_t *at, uint64_t value)
{
	if (atom_load_relaxed(at) != value)
		atom_store_relaxed(at, value);
}

/* The end of gateway_counts(), once a second and near the end of the lease: all clocks are asked. */
bool gateway_lease_holds(struct paxshm_lock_handle *l);

/* (slot, count) was swapped into the word of the handle's gate: whether it counts. Who owned nothing before notes here what
 * it would own then. Reads memory and clocks. */
static inline __attribute__((always_inline)) bool gateway_counts(struct paxshm_lock_handle *l, uint32_t count, bool died, uint64_t incarnation)
{
	if (l->died != died)
		l->died = died;
	note_u32(&l->mode, PAXSHM_EX);
	note_u64(&l->incarnation, incarnation);
	atom_store_relaxed(&l->taken, count);
	uint64_t second_ns = lease_second_ns();
	/* A call: what is used behind it is read behind it, or each would be kept on the stack meanwhile, by a store. */
	struct paxshm_session *s = l->session;
	const struct gate_terms *terms = l->terms;
	uint32_t nth = atom_load_relaxed(&l->taken) - atom_load_acquire(&terms->opened_at) - 1;

	incarnation = atom_load_relaxed(&l->incarnation);
	atom_store_relaxed(&l->token, atom_load_acquire(&terms->base) + nth);
	if (atom_load_acquire(&terms->serial) != l->serial || nth >= atom_load_acquire(&terms->range) ||
	    atom_load_acquire(&terms->incarnation) != incarnation || session_lost(s))
		return false;
	if (!lease_stands_again(s->tables, incarnation, gateway_margin_ns(s->tables), second_ns, &s->agreed_ns))
		return gateway_lease_holds(l);
	note_u64(&l->gate_at->since_ns, lease_about_ns(s->tables, second_ns));
	return true;
}

/* Takes the gate that the handle remembers, if it is free; what was taken is noted in the handle. No waiting, and no
 * system call but near the end of the lease. */
static inline __attribute__((always_inline)) enum take gateway_take(struct paxshm_lock_handle *l)
{
	const struct paxshm_session *s = l->session;
	/* Before the swap: who finds the same afterwards was in one life all the time. */
	uint64_t incarnation = atom_load_acquire(&s->tables->incarnation);
	uint32_t count;
	bool died;

	if (!gate_take(l->gate_at, s->slot, &count, &died))
		return TAKE_NOT_FREE;
	return gateway_counts(l, count, died, incarnation) ? TAKE_DONE : TAKE_VOID;
}

/* Whether the gate still serves the key for which the handle remembers it. */
static inline bool gateway_known(const struct paxshm_lock_handle *l)
{
	return l->terms && atom_load_acquire(&l->terms->serial) == l->serial;
}

/* Remembers where the key has its gate, as a grant said it. */
void gateway_remember(struct paxshm_lock_handle *l, uint32_t gate, uint32_t serial);

/* Acquires for a handle that is busy. 0: ret->gate, serial, count, token, incarnation, flags; BY_AGENT; -EBUSY and the
 * holder; -ETIMEDOUT, -ECANCELED, -ENOTCONN. */
int gateway_acquire(struct paxshm_lock_handle *l, const struct paxshm_acquire *how, struct patience patience, struct ring_completion *ret);

/* Ends an acquisition of this session. 0, -ESTALE: it was not ours any more. The mutex is not held; waits, if at all, for
 * room in the ring. */
int gateway_release(struct paxshm_session *s, uint32_t gate, uint32_t count);

/* Gives one up that does not count, or that nobody wants. The mutex is not held; waits as call_return() does. */
void gateway_decline(struct paxshm_session *s, uint32_t gate, uint32_t count, struct patience patience);

/* A grant came for a call that was given up: gives it back. true: the agent is to be told of the gate. */
bool gateway_return_late(struct paxshm_session *s, const struct ring_completion *answer);

/* Whether what an owned handle got is still its own: as lease_look(). */
int gateway_look(const struct paxshm_lock_handle *l);

/* Rings all who wait in a line; async-signal-safe. */
void gateway_cancel(struct paxshm_session *s);

#endif
