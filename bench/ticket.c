/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "ticket.h"

#include <sched.h>
#include <unistd.h>

/* As sys_spin_while() of shm/sys.c; but it never rests from spinning. */
#define FEW_CORES 4
#define TURNS_BEFORE_YIELD 64u
#define SPIN_LEAST 32u

static unsigned worth = 1024;
static int cores;

static void pause_turn(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Does another core run whoever is waited for? */
static bool others_run(void)
{
	static long online;

	if (!online)
		online = sysconf(_SC_NPROCESSORS_ONLN);
	return online != 1;
}

static int cores_known(void)
{
	cpu_set_t set;

	if (!cores)
		cores = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : FEW_CORES + 1;
	return cores;
}

static bool spin_while(const uint32_t *word, uint32_t value)
{
	unsigned most = MIN(TICKET_SPIN, worth);
	int n = cores_known();

	if (load_acquire(word) != value)
		return true;
	if (!others_run())
		return false;
	for (unsigned i = 1; i <= most; i++) {
		if (n <= FEW_CORES && i % TURNS_BEFORE_YIELD == 0)
			sched_yield();
		else
			pause_turn();
		if (load_acquire(word) != value) {
			if (worth < 1u << 20)
				worth *= 2;
			return true;
		}
	}
	worth = MAX(worth / 2, SPIN_LEAST);
	return false;
}

uint32_t ticket_lock(struct ticket *t)
{
	uint32_t number = add_acq_rel(&t->drawn, 1u), turn = number << 1, seen;
	uint32_t *word = &t->place[number % TICKET_PLACES].word;

	while (((seen = load_acquire(word)) & ~1u) != turn) {
		if (!(seen & 1) && spin_while(word, seen))
			continue;
		/* Who has his turn next at this place finds the bit when he writes his own. */
		if ((seen & 1) || __atomic_compare_exchange_n(word, &seen, seen | 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			futex_wait(word, seen | 1);
	}
	return number;
}

void ticket_unlock(struct ticket *t, uint32_t number)
{
	uint32_t *next = &t->place[(number + 1) % TICKET_PLACES].word;

	/* Everybody who sleeps here sleeps for this number: the next for this place is drawn TICKET_PLACES later. */
	if (swap_acq_rel(next, (number + 1) << 1) & 1)
		futex_wake(next, INT32_MAX);
}
