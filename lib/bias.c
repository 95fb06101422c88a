/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "bias.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define TURNS_BEFORE_NAP 100u

__thread uint64_t bias_thread;

uint64_t bias_this_thread(void)
{
	static uint64_t threads;

	if (!bias_thread)
		bias_thread = atom_add_relaxed(&threads, 1) + 1;
	return bias_thread;
}

bool bias_register(void)
{
#ifdef __SANITIZE_THREAD__
	return false;
#else
	return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
#endif
}

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* After registration it fails only where a filter forbids it meanwhile. Stores stay in a processor's buffer for less than
 * a microsecond; a thousand times that is the best that is left then. */
static void barrier_everywhere(void)
{
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0)
		nap();
}

void bias_share(struct bias *b)
{
	if (b->shared)
		return;
	atom_store_seq_cst(&b->shared, 1u);
	barrier_everywhere();
	/* Acquire: pairs with the release in bias_leave(). Its thread may have been taken off its core in there. */
	for (unsigned turn = 0; atom_load_acquire(&b->inside); turn++)
		if (turn < TURNS_BEFORE_NAP)
			sched_yield();
		else
			nap();
}
