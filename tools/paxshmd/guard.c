/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "guard.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../lib/base.h"

/* What the handler reads is written while no area is touched: one thread has both. */
static struct {
	uintptr_t page;
	struct area {
		uintptr_t at, size;
		volatile sig_atomic_t hit;
	} area[GUARD_AREAS];
	volatile sig_atomic_t any;
} guard;

/* Async-signal-safe: memory of our own and one system call. */
static void on_bus(int signal_number, siginfo_t *info, void *context)
{
	uintptr_t address = (uintptr_t)info->si_addr, page = address & ~(guard.page - 1);
	struct area *end = guard.area + GUARD_AREAS;
	int saved = errno;

	(void)context;
	for (struct area *a = guard.area; a < end; a++) {
		if (address - a->at >= a->size)
			continue;
		if (mmap((void *)page, guard.page, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
			break;
		a->hit = guard.any = 1;
		errno = saved;
		return;
	}
	/* Not ours: it comes again when this returns, and ends the process as it would have. */
	signal(signal_number, SIG_DFL);
}

int guard_begin(void)
{
	struct sigaction action = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };

	guard.page = (uintptr_t)sysconf(_SC_PAGESIZE);
	return sigaction(SIGBUS, &action, NULL) ? -errno : 0;
}

void guard_area(unsigned place, void *at, size_t size)
{
	ASSERT(place < GUARD_AREAS);
	guard.area[place] = (struct area){ .at = (uintptr_t)at, .size = at ? size : 0 };
}

bool guard_hit(unsigned *ret_place)
{
	if (!guard.any)
		return false;
	for (unsigned i = 0; i < GUARD_AREAS; i++) {
		if (!guard.area[i].hit)
			continue;
		guard.area[i].hit = 0;
		*ret_place = i;
		return true;
	}
	guard.any = 0;
	return false;
}
