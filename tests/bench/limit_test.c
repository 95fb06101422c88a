/* SPDX-License-Identifier: Apache-2.0 */
/* That each limit measures, turn after turn, and stops when told to; never how fast it is. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../bench/limit.h"
#include "../../lib/base.h"

/* Three turns of a plan: each sees something, and nothing fails. */
static void measures(struct crew_plan plan)
{
	struct crew crew;
	char why[WORKER_WHY] = "";
	uint64_t took;

	cr_assert_eq(crew_start(&crew, &plan), 0);
	for (unsigned turn = 0; turn < 3; turn++) {
		uint64_t seen = 0, done = 0;
		/* On a busy machine nobody may have got a turn yet: until somebody has. */
		for (unsigned again = 0; !seen && again < 100; again++) {
			cr_assert_eq(crew_turn(&crew, 20 * NS_PER_MS, &took), 0, "%s", plan.name);
			for (unsigned i = 0; i < plan.n; i++) {
				seen += crew_worker(&crew, i)->seen.n;
				done += crew_worker(&crew, i)->done;
			}
		}
		cr_assert(seen > 0 && done >= seen, "%s", plan.name);
		cr_assert(took >= 20 * NS_PER_MS);
	}
	cr_assert_eq(crew_errors(&crew, why), 0, "%s: %s", plan.name, why);
	crew_stop(&crew);
}

Test(limit, tcp_measures) { measures(limit_tcp(PLACE_AS_SAID)); }
Test(limit, tcp_measures_between_two_cores) { measures(limit_tcp(PLACE_TWO)); }
Test(limit, futex_measures) { measures(limit_futex(PLACE_AS_SAID)); }
Test(limit, futex_measures_between_two_cores) { measures(limit_futex(PLACE_TWO)); }
Test(limit, tcp_and_futex_measure_after_a_rest)
{
	static const uint64_t rest = NS_PER_MS;

	measures(limit_tcp_rested(&rest));
	measures(limit_futex_rested(&rest));
}

Test(limit, a_batch_counts_each_and_is_seen_once)
{
	static struct worker w;

	limit_saw_batch(&w, 64, 16);
	cr_assert_eq(w.done, 16);
	cr_assert_eq(w.seen.n, 1);
	cr_assert_eq(w.seen.greatest, 4000);
}

Test(limit, wake_measures) { measures(limit_wake()); }
Test(limit, mutex_measures) { measures(limit_mutex()); }
Test(limit, ticket_measures_two) { measures(limit_ticket(2)); }
Test(limit, ticket_measures_many) { measures(limit_ticket(9)); }

Test(limit, loads_measure)
{
	static const size_t sizes[] = { 0, 128, 1 << 20 };

	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++)
		measures(limit_loads(&sizes[i]));
}

Test(limit, a_cycle_visits_every_place_once)
{
	enum { N = 1000 };
	static uint32_t next[N];
	static bool been[N];
	uint32_t at = 0;

	limit_cycle(next, N, 1);
	for (unsigned i = 0; i < N; i++) {
		cr_assert(!been[at]);
		been[at] = true;
		at = next[at];
	}
	cr_assert_eq(at, 0);
}
