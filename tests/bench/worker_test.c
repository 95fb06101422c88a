/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../bench/sync.h"
#include "../../bench/worker.h"

static void count(struct worker *w, const void *with)
{
	(void)with;
	while (worker_goes_on(w)) {
		w->done++;
		add_acq_rel((uint32_t *)worker_shared(w), 1u);
		sleep_ns(NS_PER_MS);
	}
}

Test(worker, a_crew_works_in_turns_and_shares_memory)
{
	struct crew_plan plan = { .name = "count", .n = 3, .turn = count, .shared_bytes = 8 };
	struct crew crew;
	uint64_t took, all = 0;

	cr_assert_eq(crew_start(&crew, &plan), 0);
	for (unsigned turn = 0; turn < 2; turn++) {
		cr_assert_eq(crew_turn(&crew, 30 * NS_PER_MS, &took), 0);
		for (unsigned i = 0; i < 3; i++) {
			cr_assert_eq(crew_worker(&crew, i)->index, i);
			all += crew_worker(&crew, i)->done;
		}
		cr_assert_eq(*(uint32_t *)worker_shared(crew_worker(&crew, 0)), all);
	}
	crew_stop(&crew);
	crew_stop(&crew);
}

Test(worker, a_turn_may_be_begun_and_ended_apart)
{
	struct crew_plan plan = { .name = "count", .n = 2, .turn = count, .shared_bytes = 8 };
	struct crew crew;
	uint64_t took = 0;

	cr_assert_eq(crew_start(&crew, &plan), 0);
	crew_go(&crew);
	sleep_ns(10 * NS_PER_MS);
	cr_assert_eq(crew_halt(&crew, &took), 0);
	cr_assert_geq(took, 10 * NS_PER_MS);
	cr_assert(crew_worker(&crew, 0)->done > 0);
	crew_stop(&crew);
}

static void see_core(struct worker *w, const void *with)
{
	cpu_set_t set;

	(void)with;
	worker_pin(0, 1);
	worker_pin(0, (int)w->index); /* counted among all cores, not among those that were left */
	sched_getaffinity(0, sizeof(set), &set);
	w->done = CPU_COUNT(&set);
	for (unsigned i = 0; i < 64; i++)
		w->state[2] |= (uint64_t)CPU_ISSET(i, &set) << i;
}

Test(worker, who_is_pinned_has_one_core_and_the_next_one_another)
{
	struct crew_plan plan = { .name = "pinned", .n = 3, .turn = see_core };
	int cores = worker_cores();
	struct crew crew;
	uint64_t took, seen = 0;

	cr_assert_eq(crew_start(&crew, &plan), 0);
	crew_go(&crew);
	cr_assert_eq(crew_finish(&crew, &took), 0);
	for (unsigned i = 0; i < 3; i++) {
		cr_expect_eq(crew_worker(&crew, i)->done, 1);
		seen |= crew_worker(&crew, i)->state[2];
	}
	cr_expect_eq(__builtin_popcountll(seen), MIN(cores, 3));
	crew_stop(&crew);
}

static void end_soon(struct worker *w, const void *with)
{
	(void)with;
	sleep_ns(5 * NS_PER_MS);
	w->done = 1;
}

Test(worker, a_turn_that_ends_by_itself_is_waited_for)
{
	struct crew_plan plan = { .name = "soon", .n = 2, .turn = end_soon };
	struct crew crew;
	uint64_t took = 0;

	cr_assert_eq(crew_start(&crew, &plan), 0);
	crew_go(&crew);
	cr_assert_eq(crew_finish(&crew, &took), 0);
	cr_assert_geq(took, 5 * NS_PER_MS);
	cr_assert_eq(crew_worker(&crew, 1)->done, 1);
	crew_stop(&crew);
}

Test(worker, a_crew_that_was_killed_is_gone)
{
	struct crew_plan plan = { .name = "count", .n = 2, .turn = count, .shared_bytes = 8 };
	struct crew crew;
	uint64_t took;

	cr_assert_eq(crew_start(&crew, &plan), 0);
	pid_t pid = crew.pids[0];
	crew_go(&crew);
	crew_kill(&crew);
	cr_assert(kill(pid, 0) < 0);
	crew_go(&crew);
	cr_assert_eq(crew_halt(&crew, &took), -ECHILD);
	crew_stop(&crew);
}

static void fail(struct worker *w, const void *with)
{
	(void)with;
	worker_fail(w, "first of %d", 2);
	worker_fail(w, "second");
}

Test(worker, errors_are_counted_and_the_first_is_told)
{
	struct crew_plan plan = { .name = "fail", .n = 2, .turn = fail };
	char why[WORKER_WHY] = "";
	struct crew crew;
	uint64_t took;

	cr_assert_eq(crew_start(&crew, &plan), 0);
	cr_assert_eq(crew_errors(&crew, why), 0);
	cr_assert_eq(crew_turn(&crew, NS_PER_MS, &took), 0);
	cr_assert_eq(crew_errors(&crew, why), 4);
	cr_assert_str_eq(why, "first of 2");
	crew_stop(&crew);
}

static void die(struct worker *w, const void *with)
{
	(void)with;
	if (w->index == 1)
		_exit(3);
}

Test(worker, a_crew_of_which_one_died_is_gone)
{
	struct crew_plan plan = { .name = "die", .n = 2, .turn = die };
	struct crew crew;
	uint64_t took;

	cr_assert_eq(crew_start(&crew, &plan), 0);
	cr_assert_eq(crew_turn(&crew, NS_PER_MS, &took), -ECHILD);
	cr_assert_eq(crew_turn(&crew, NS_PER_MS, &took), -ECHILD);
	cr_assert_eq(crew_errors(&crew, NULL), 0);
	crew_stop(&crew);
}

/* ---- open loop ---- */

/* One operation of 40 ms, the others take no time, and one is meant to start each millisecond: those
 * that were meant to start meanwhile are late by what is left of it. */
static void stall_once(struct worker *w, const void *with)
{
	unsigned late = 0;

	(void)with;
	for (unsigned i = 0; i < 40; i++) {
		uint64_t start = worker_start_ns(w);
		if (i == 0)
			sleep_ns(40 * NS_PER_MS);
		uint64_t end = now_ns();
		worker_saw(w, start, end);
		late += end - start > 5 * NS_PER_MS;
	}
	w->state[0] = late;
}

Test(worker, an_open_loop_counts_the_wait_of_those_behind_a_slow_one)
{
	struct crew_plan plan = { .name = "stall", .n = 1, .turn = stall_once, .rate = 1000 };
	struct crew crew;
	uint64_t took;

	cr_assert_eq(crew_start(&crew, &plan), 0);
	cr_assert_eq(crew_turn(&crew, 60 * NS_PER_MS, &took), 0);
	cr_assert_geq(crew_worker(&crew, 0)->state[0], 30);
	cr_assert_geq(histogram_quantile(&crew_worker(&crew, 0)->seen, 0.5), 15 * NS_PER_MS * PS_PER_NS);
	crew_stop(&crew);
}

Test(worker, a_closed_loop_starts_when_it_is_asked)
{
	struct worker w = { .index = 0 };
	uint64_t before = now_ns(), start = worker_start_ns(&w);

	cr_assert(start >= before && start <= now_ns());
}
