/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bias: most handles are used by one thread. That thread enters them without the mutex and without any atomic
 * read-modify-write; the first other one to come pays for both.
 *
 *   thread   number of the thread that may enter alone, or BIAS_NOBODY. Written once, under the mutex
 *   inside   1 while that thread is in there: a few instructions that take no lock, make no system call that could
 *            wait, and do not end otherwise than by bias_leave()
 *   shared   0 -> 1, once, under the mutex: from now on everybody goes by the mutex, that thread too
 *
 * It stores `inside`, then loads `shared`; the other stores `shared`, then loads `inside`. What keeps the processor from
 * turning the first pair round is membarrier(2), which the other calls between its two: every thread of the process has
 * then had a full barrier, so either the first sees `shared`, or the other sees `inside` and waits until it is 0.
 *
 * Where the kernel has no such barrier to give, every handle is shared from the start; so it is under ThreadSanitizer,
 * which does not know this barrier.
 *
 * Who may enter: lib.
 */
#ifndef PAXSHM_LIB_BIAS_H
#define PAXSHM_LIB_BIAS_H

#include "../shm/atom.h"
#include "base.h"

#define BIAS_NOBODY UINT64_MAX

struct bias {
	uint64_t thread;
	uint32_t inside, shared;
};

/* Never given twice, unlike thread ids: a new thread does not inherit what an ended one held. 0: has none yet. */
extern __thread uint64_t bias_thread __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* The number of this thread, given to it at need. */
uint64_t bias_this_thread(void);

/* Makes the process one in which bias works. false: it cannot; handles begin shared. */
bool bias_register(void);

/* True: in, until bias_leave(). */
static inline bool bias_enter(struct bias *b)
{
	if (atom_load_relaxed(&b->thread) != bias_thread || atom_load_relaxed(&b->shared))
		return false;
	atom_store_relaxed(&b->inside, 1u);
	__atomic_signal_fence(__ATOMIC_SEQ_CST); /* for the compiler; for the processor: see above */
	if (!atom_load_relaxed(&b->shared))
		return true;
	atom_store_release(&b->inside, 0u);
	return false;
}

static inline void bias_leave(struct bias *b)
{
	atom_store_release(&b->inside, 0u); /* pairs with the acquire in bias_share() */
}

/* ---- under the mutex ---- */

/* From now on everybody who wants in takes the mutex; who was in has left. */
void bias_share(struct bias *b);

/* The same, unless it is this thread's alone, or nobody's yet: then it becomes that. */
static inline void bias_come(struct bias *b)
{
	if (b->shared || b->thread == bias_this_thread())
		return;
	if (b->thread != BIAS_NOBODY)
		bias_share(b);
	else
		atom_store_relaxed(&b->thread, bias_this_thread());
}

#endif
