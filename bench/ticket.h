/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ticket: a fair lock between processes, the plainest there is: who comes draws a number and waits for his turn at a
 * place of his own, first spinning, then asleep. It knows no death, no lease, no cancellation and no token: that is what
 * it is a limit for.
 *
 * It spins exactly as the library does, in the same number of turns, and gives its core away as often.
 *
 * Who may enter: contended, tests.
 */
#ifndef PAXSHM_BENCH_TICKET_H
#define PAXSHM_BENCH_TICKET_H

#include "sync.h"

#define TICKET_PLACES 64u /* more than there are processes */
#define TICKET_SPIN 2048u /* turns at most: as in shm/gate_wait.c */

/* All zero: free. */
struct ticket {
	_Alignas(64) uint32_t drawn;
	struct {
		_Alignas(64) uint32_t word; /* whose turn it is: ticket << 1; bit 0: somebody sleeps; futex */
	} place[TICKET_PLACES];
};

/* The number to be handed to ticket_unlock(). */
uint32_t ticket_lock(struct ticket *t);
void ticket_unlock(struct ticket *t, uint32_t number);

#endif
