/* SPDX-License-Identifier: Apache-2.0 */
/* That the fair lock excludes, loses no wake-up, and is fair. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "../../bench/ticket.h"

#define PROCESSES 4u
#define GRANTS 2000u

struct shared {
	struct ticket ticket;
	uint32_t inside, last; /* the owner's */
	uint64_t grants, overlaps, backwards;
};

static struct shared *shared_new(void)
{
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert(s != MAP_FAILED);
	return s;
}

static void work(struct shared *s, uint64_t hold_ns)
{
	for (unsigned i = 0; i < GRANTS; i++) {
		uint32_t number = ticket_lock(&s->ticket);

		s->overlaps += s->inside++ != 0;
		s->backwards += s->grants++ > 0 && number != s->last + 1;
		s->last = number;
		if (hold_ns && i % 100 == 0)
			sleep_ns(hold_ns);
		s->inside--;
		ticket_unlock(&s->ticket, number);
	}
}

static void crowd(uint64_t hold_ns)
{
	struct shared *s = shared_new();
	int status;

	for (unsigned i = 0; i < PROCESSES; i++)
		if (fork() == 0) {
			work(s, hold_ns);
			_exit(0);
		}
	for (unsigned i = 0; i < PROCESSES; i++) {
		cr_assert(wait(&status) > 0);
		cr_assert_eq(status, 0);
	}
	cr_assert_eq(s->grants, PROCESSES * GRANTS);
	cr_assert_eq(s->overlaps, 0);
	cr_assert_eq(s->backwards, 0);
	munmap(s, sizeof(*s));
}

Test(ticket, one_at_a_time_in_the_order_of_their_numbers) { crowd(0); }
Test(ticket, who_sleeps_is_woken) { crowd(NS_PER_MS); }

Test(ticket, numbers_may_go_round)
{
	struct shared *s = shared_new();

	for (unsigned i = 0; i < 3 * TICKET_PLACES; i++) {
		uint32_t number = ticket_lock(&s->ticket);
		cr_assert_eq(number, i);
		ticket_unlock(&s->ticket, number);
	}
	munmap(s, sizeof(*s));
}
