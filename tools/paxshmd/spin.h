/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spin: whether the agent, with nothing to do, looks again for a moment before it sleeps. To be woken
 * on another core costs 10 to 30 us and more; what comes within a round of the cluster is cheaper
 * looked for than slept for.
 *
 * It pays only while answers come soon, and must never cost a neighbour its core:
 *   - it is considered for SPIN_NS after work for programs (not after heartbeats), and on more than
 *     one core;
 *   - credit says whether it pays: one more for something that came within SPIN_NS, found by
 *     looking or after a sleep that short; one less for looking in vain. Without credit, sleep;
 *   - each look gives the core away first. When it does not come back at once, somebody else needs
 *     it: no more of this for SPIN_REST_NS, and for twice as long each time that is so again.
 *
 * Pure: time comes in. Who may enter: the reactor, tests.
 */
#ifndef PAXSHM_TOOLS_PAXSHMD_SPIN_H
#define PAXSHM_TOOLS_PAXSHMD_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#define SPIN_NS 100000ull
#define SPIN_REST_NS 20000000ull
#define SPIN_REST_MAX_NS 2000000000ull
#define SPIN_AWAY_NS 60000ull /* longer than another agent and its programs need between two sleeps */
#define SPIN_CREDIT_MAX 16u

struct spin {
	bool able;    /* more than one core */
	bool looking; /* since the last work or sleep, in vain so far */
	unsigned credit;
	uint64_t until_ns; /* look until then */
	uint64_t rest_until_ns, rest_ns;
};

/* Work for programs was done at now_ns. */
void spin_worked(struct spin *s, uint64_t now_ns);

/* Nothing is to be done: look again (true) or sleep? */
bool spin_looks(struct spin *s, uint64_t now_ns);

/* The core was given away from before_ns to now_ns. */
void spin_yielded(struct spin *s, uint64_t before_ns, uint64_t now_ns);

/* Something came; `slept_ns` after falling asleep, 0: it was found by looking. */
void spin_found(struct spin *s, uint64_t slept_ns);

#endif
