/* SPDX-License-Identifier: Apache-2.0 */
/* gate_wait: threads and processes that wait are woken, in order; a wait ends when it is to end. */
#include "../../shm/gate_wait.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../shm/sys.h"
#include "gate_space.h"

static struct gate_space *space;
static struct gate_view view;
static const struct gate_patience patient = { .deadline_ns = NEVER };

static void setup(void)
{
	space = gate_space_new();
	view = gate_space_view(space);
}

TestSuite(gate_wait, .init = setup);

static uint32_t take(uint32_t slot)
{
	uint32_t count = 0;
	bool died;

	cr_assert(gate_take(&space->gates[1], slot, &count, &died));
	return count;
}

static void await_state(uint32_t record, enum gate_state state)
{
	while (gate_record_state(atom_load_acquire(&space->records[record].state)) != state)
		sched_yield();
}

struct waiter {
	pthread_t thread;
	uint32_t slot;
	struct gate_place place;
	struct gate_patience patience;
	int rc;
};

static void *waiter_main(void *with)
{
	struct waiter *w = with;

	w->place = gate_space_place(w->slot);
	do
		w->rc = gate_wait(&view, &w->place, &w->patience);
	while (w->rc == GATE_WAIT_LOOK);
	return NULL;
}

static void waiter_start(struct waiter *w, uint32_t slot)
{
	w->slot = slot;
	pthread_create(&w->thread, NULL, waiter_main, w);
	await_state(slot, GATE_RECORD_SLEEP);
}

Test(gate_wait, sleepers_are_woken_in_order_one_at_a_time)
{
	struct waiter w[3] = { { .patience = patient }, { .patience = patient }, { .patience = patient } };
	uint32_t slot = 1, count = take(1);

	for (unsigned i = 0; i < 3; i++)
		waiter_start(&w[i], i + 2);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(gate_pass_on(&view, 1, slot, count), 0);
		pthread_join(w[i].thread, NULL);
		cr_assert_eq(w[i].rc, 0);
		cr_assert_eq(w[i].place.count, count + 1);
		slot = w[i].slot;
		count = w[i].place.count;
	}
	cr_assert_eq(gate_pass_on(&view, 1, slot, count), 0);
	cr_assert_eq(gate_owner(space->gates[1].word), 0);
	cr_assert_eq(gate_pass_on(&view, 1, slot, count), -ESTALE);
}

Test(gate_wait, a_wait_ends_at_its_deadline_and_the_gate_is_not_lost)
{
	struct gate_patience short_one = { .deadline_ns = sys_now_ns() + 2 * NS_PER_MS };
	struct gate_place p = gate_space_place(2);
	uint32_t count = take(1);

	cr_assert_eq(gate_wait(&view, &p, &short_one), -ETIMEDOUT);
	cr_assert_geq(sys_now_ns(), short_one.deadline_ns);
	cr_assert_eq(gate_pass_on(&view, 1, 1, count), 0);
	cr_assert_eq(gate_owner(space->gates[1].word), 0);
}

Test(gate_wait, a_wait_is_cancelled_asleep_and_before_it_sleeps)
{
	uint32_t cancels = 0;
	struct waiter w = { .patience = { .deadline_ns = NEVER, .cancels = &cancels } };

	take(1);
	waiter_start(&w, 2);
	atom_add_seq_cst(&cancels, 1u);
	gate_ring(&view, 2);
	pthread_join(w.thread, NULL);
	cr_assert_eq(w.rc, -ECANCELED);

	struct gate_place p = gate_space_place(3);
	cr_assert_eq(gate_wait(&view, &p, &w.patience), -ECANCELED);
}

Test(gate_wait, who_comes_to_the_agents_gate_is_told_to_tell_it)
{
	struct gate_place p = { .gate = 2, .slot = 3, .record = 3 };
	struct gate_pass open;

	cr_assert_eq(gate_wait(&view, &p, &patient), GATE_WAIT_TELL);
	open = gate_agent_pass(&view, 2);
	cr_assert_eq(gate_open(&view, &open), GATE_DONE);
	cr_assert_eq(gate_wait(&view, &p, &patient), 0);
	cr_assert_eq(p.count, 1);
}

/* Who comes alone looks at the word before he sleeps; a hand-over there needs neither bell nor wake. */
Test(gate_wait, who_looks_at_the_word_is_handed_the_gate_by_it)
{
	struct waiter w = { .patience = patient, .slot = 2 };
	uint32_t count = take(1), bell = space->records[2].bell, handed = 0;

	for (unsigned i = 0; i < 1000 && !handed; i++) {
		pthread_create(&w.thread, NULL, waiter_main, &w);
		while (!gate_top(atom_load_acquire(&space->gates[1].word)))
			;
		uint64_t before = space->gates[1].handed;
		handed = gate_hand_on(&view, &space->gates[1], 1, count);
		cr_assert_eq(space->gates[1].handed, before + handed);
		if (!handed) /* it slept already */
			cr_assert_eq(gate_pass_on(&view, 1, 1, count), 0);
		pthread_join(w.thread, NULL);
		cr_assert_eq(w.rc, 0);
		cr_assert_eq(w.place.count, count + 1);
		cr_assert(!handed || space->records[2].bell == bell);
		cr_assert(gate_free(&space->gates[1], 2, count + 1));
		count = take(1);
		bell = space->records[2].bell;
	}
	cr_assert(handed || sysconf(_SC_NPROCESSORS_ONLN) == 1);
}

Test(gate_wait, a_long_wait_looks_up_now_and_then)
{
	struct gate_place p = gate_space_place(2);

	take(1);
	cr_assert_eq(gate_wait(&view, &p, &patient), GATE_WAIT_LOOK);
	cr_assert_eq(gate_record_state(space->records[2].state), GATE_RECORD_SLEEP);
}

Test(gate_wait, a_busy_record_and_a_dead_session_are_told_apart)
{
	struct gate_place p = gate_space_place(2);
	uint32_t gate;

	take(1);
	space->records[2].state = (uint64_t)GATE_RECORD_WAIT << 32; /* another thread's */
	cr_assert_eq(gate_wait(&view, &p, &patient), -EBUSY);
	cr_assert_eq(gate_bury(&view, 2, 2, &gate), GATE_DONE);
	p.stands = true;
	cr_assert_eq(gate_wait(&view, &p, &patient), -ESTALE);
}

#define TURNS 300u
#define CHILDREN 3u

static void child_main(uint32_t slot, uint64_t *shared)
{
	for (unsigned i = 0; i < TURNS; i++) {
		struct gate_place p = gate_space_place(slot);
		int rc = 0;

		if (!gate_take(&space->gates[1], slot, &p.count, &p.died))
			do
				rc = gate_wait(&view, &p, &patient);
			while (rc == GATE_WAIT_LOOK);
		if (rc)
			_exit(1);
		shared[0]++; /* plain: the gate excludes */
		if (!gate_free(&space->gates[1], slot, p.count) && !gate_hand(&view, &space->gates[1], slot, p.count) && gate_pass_on(&view, 1, slot, p.count))
			_exit(2);
	}
	_exit(0);
}

Test(gate_wait, processes_exclude_each_other)
{
	uint64_t *shared = &space->gates[2].spare[0];
	pid_t pid[CHILDREN];

	for (uint32_t i = 0; i < CHILDREN; i++) {
		pid[i] = fork();
		if (pid[i] == 0)
			child_main(i + 1, shared);
	}
	for (uint32_t i = 0; i < CHILDREN; i++) {
		int status;

		cr_assert_eq(waitpid(pid[i], &status, 0), pid[i]);
		cr_assert_eq(status, 0);
	}
	cr_assert_eq(*shared, CHILDREN * TURNS);
	cr_assert_eq(gate_owner(space->gates[1].word), 0);
	cr_assert_eq(gate_count(space->gates[1].word), 10 + CHILDREN * TURNS);
}
