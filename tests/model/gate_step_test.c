/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_step: a victim is stopped at every machine instruction of each operation on a gate, in turn.
 *
 *   killed there    the agent's repair is made, and all others go on: one at a time, counts rise, and who comes first
 *                   after a victim that owned the gate is told so
 *   stopped there   nothing is repaired, and all others go on as long as the victim does not own the gate; when it does,
 *                   they go on after it was continued
 *
 * And the agent itself while it gives a gate: killed, its successor says again what it has noted; stopped, nobody is let in
 * but whom it was given to.
 *
 * Everything runs on one core: stepping is fastest so, and nobody spins.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../shm/gate_wait.h"
#include "../../shm/sys.h"
#include "../shm/gate_space.h"

#define OWNER 1u /* this process, where somebody must own the gate before the victim comes */
#define VICTIM 2u
#define OTHERS 3u /* the first slot of the others */
#define INSTRUCTIONS_MAX 5000u

struct diary {
	uint32_t inside, broken, n;
	uint32_t done;                       /* the victim has come to its end */
	uint32_t give_to, give_count, given; /* the agent's note, and what it has answered */
	struct {
		uint32_t slot, count, died;
	} at[16];
};

static struct gate_space *space;
static struct gate_view view;
static struct diary *diary;
static const struct gate_patience patient = { .deadline_ns = NEVER };

static uint64_t word(void) { return atom_load_acquire(&space->gates[1].word); }

static void setup(void)
{
	cpu_set_t one;
	int cpu = sched_getcpu();

	CPU_ZERO(&one);
	CPU_SET(cpu < 0 ? 0 : (unsigned)cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
	space = gate_space_new();
	view = gate_space_view(space);
	diary = mmap(NULL, sizeof(*diary), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(diary, MAP_FAILED);
}

TestSuite(gate_step, .init = setup, .timeout = 250);

/* ---- sessions ---- */

static int acquire(struct gate_place *p)
{
	int rc = 0;

	if (gate_take(&space->gates[1], p->slot, &p->count, &p->died))
		return 0;
	do
		rc = gate_wait(&view, p, &patient);
	while (rc > 0);
	return rc;
}

static void release(const struct gate_place *p)
{
	if (!gate_free(&space->gates[1], p->slot, p->count) && !gate_hand(&view, &space->gates[1], p->slot, p->count))
		(void)gate_pass_on(&view, 1, p->slot, p->count);
}

static void enter(const struct gate_place *p)
{
	if (diary->inside++ || diary->n == ARRAY_LEN(diary->at) || (diary->n && diary->at[diary->n - 1].count >= p->count))
		diary->broken = 1;
	diary->at[diary->n].slot = p->slot;
	diary->at[diary->n].count = p->count;
	diary->at[diary->n++ % ARRAY_LEN(diary->at)].died = p->died;
	diary->inside--;
}

/* Comes to a gate that is taken, and never sleeps. */
static int acquire_awake(struct gate_place *p)
{
	enum gate_next next;

	do
		next = gate_arrive(&view, p, 1);
	while (next == GATE_AGAIN);
	while (next != GATE_MINE) {
		next = gate_look(&view, p, false);
		usleep(100); /* who is stepped shares the core */
	}
	return 0;
}

enum comes { COMES,
	     COMES_TO_SLEEP,
	     COMES_TO_WATCH };

static bool has_come(uint32_t slot, enum comes how)
{
	if (how == COMES_TO_SLEEP)
		return gate_record_state(atom_load_acquire(&space->records[slot].state)) == GATE_RECORD_SLEEP;
	return how == COMES || gate_flags(word()) & GATE_WATCHED;
}

static pid_t other_start(uint32_t slot, enum comes how)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		struct gate_place p = gate_space_place(slot);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent || (how == COMES_TO_WATCH ? acquire_awake(&p) : acquire(&p)))
			_exit(1);
		enter(&p);
		release(&p);
		_exit(0);
	}
	while (!has_come(slot, how))
		sched_yield();
	return pid;
}

/* ---- the agent ---- */

static void wake(uint32_t record)
{
	sys_futex_wake(&space->records[record].bell, 1);
}

static void agent_opens(void)
{
	if (gate_owner(word()) != GATE_AGENT)
		return;
	struct gate_pass open = gate_agent_pass(&view, 1);
	for (enum gate_next next = GATE_AGAIN; next == GATE_AGAIN || next == GATE_WAKE;) {
		next = gate_open(&view, &open);
		if (next == GATE_WAKE)
			wake(open.record);
		cr_assert_neq(next, GATE_CORRUPT);
	}
}

/* Whether the next owner is to be told. */
static bool agent_repairs(uint32_t slot)
{
	uint32_t gate, at = 1;
	bool told = false;

	while (gate_bury(&view, slot, slot, &gate) != GATE_DONE)
		;
	while (at <= view.n_gates)
		told = gate_sweep(&view, slot, GATE_DIED, &at, 1) == 1 || told;
	for (uint32_t i = 1; i <= GATE_SPACE_RECORDS; i++)
		if (gate_rouse(&view, i))
			wake(i);
	return told;
}

/* ---- what the victim does ---- */

struct scenario {
	const char *name;
	uint32_t asleep;                      /* others that sleep in the line before the victim acts */
	bool watched;                         /* or one that watches */
	bool owned;                           /* OWNER owns the gate then, and lets it go when the victim sleeps … */
	bool soon;                            /* … or watches */
	bool left_first;                      /* … but not before the victim has left the line once */
	bool given;                           /* … to the agent, whose line nobody opens: the victim is the agent */
	bool closing;                         /* the agent wants the gate back, and nobody may pass it on */
	void (*before)(struct gate_place *p); /* not stepped */
	void (*act)(struct gate_place *p);    /* stepped */
};

static void nothing(struct gate_place *p) { (void)p; }

static void take_first(struct gate_place *p)
{
	gate_take(&space->gates[1], VICTIM, &p->count, &p->died);
}

static void let_go(struct gate_place *p) { release(p); }

static void pair(struct gate_place *p)
{
	if (acquire(p) == 0)
		release(p);
}

/* 0: the grant came first. */
static void leave(struct gate_place *p)
{
	static const struct gate_patience none = { .deadline_ns = 1 };

	if (gate_wait(&view, p, &none) == 0)
		release(p);
}

/* The acquisition does not count: the lease has ended, or the gate serves another key. */
static void decline(struct gate_place *p)
{
	while (gate_decline(&view, 1, VICTIM, p->count) == GATE_AGAIN)
		;
}

/* As the agent does it: to whom and at which count is noted first. */
static void note(struct gate_place *p)
{
	(void)p;
	diary->give_count = gate_agent_pass(&view, 1).count;
	diary->give_to = OWNER;
}

static void give(struct gate_place *p)
{
	bool died;

	note(p);
	while (gate_give(&view, 1, diary->give_count, diary->give_to, &died) == GATE_AGAIN)
		;
	diary->given = diary->give_count + 1;
}

static const struct scenario free_gate = { .name = "acquire and release, nobody else there", .before = nothing, .act = pair };
static const struct scenario sleepers = { .name = "release to two sleepers", .asleep = 2, .before = take_first, .act = let_go };
static const struct scenario handing = { .name = "hand it to one who watches", .watched = true, .before = take_first, .act = let_go };
static const struct scenario watching = { .name = "watch, be handed it, release", .owned = true, .soon = true, .before = nothing, .act = pair };
static const struct scenario waiting = { .name = "wait behind a sleeper, acquire, release", .asleep = 1, .owned = true, .before = nothing, .act = pair };
static const struct scenario granted = { .name = "leave, but the grant comes first", .owned = true, .before = nothing, .act = leave };
static const struct scenario leaving = { .name = "leave the line", .asleep = 1, .owned = true, .left_first = true, .before = nothing, .act = leave };
static const struct scenario again = { .name = "come again, acquire, release", .asleep = 1, .owned = true, .before = leave, .act = pair };
static const struct scenario declining = { .name = "decline, with a sleeper", .asleep = 1, .before = take_first, .act = decline };
static const struct scenario giving = { .name = "give ahead of a sleeper, by the agent", .asleep = 1, .given = true, .before = nothing, .act = give };
static const struct scenario closing = { .name = "release of a closing gate", .asleep = 1, .closing = true, .before = take_first, .act = let_go };

/* ---- one run ---- */

struct run {
	const struct scenario *scenario;
	pid_t victim, others[4];
	unsigned n_others;
	struct gate_place owner; /* OWNER's acquisition */
	bool owns, left;
};

static void victim_main(const struct scenario *s, pid_t parent)
{
	struct gate_place p = gate_space_place(VICTIM);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		_exit(1);
	/* What it asks once is not of interest here, and the turns of a spin are all alike: it learns that spinning is in vain. */
	for (unsigned i = 0; i < 6; i++)
		(void)sys_spin_while(&(uint32_t){ 0 }, 0, 1);
	s->before(&p);
	raise(SIGSTOP);
	s->act(&p);
	__atomic_store_n(&diary->done, 1, __ATOMIC_SEQ_CST);
	_exit(0);
}

static void run_begin(struct run *r, const struct scenario *s)
{
	pid_t parent = getpid();
	int status;

	memset(space->gates, 0, sizeof(space->gates) + sizeof(space->records));
	memset(diary, 0, sizeof(*diary));
	*r = (struct run){ .scenario = s, .owner = gate_space_place(OWNER), .owns = s->owned };
	if (s->owned)
		cr_assert(gate_take(&space->gates[1], OWNER, &r->owner.count, &r->owner.died));
	if (s->given)
		space->gates[1].word = GATE_WORD_FIRST;
	r->victim = fork();
	if (r->victim == 0)
		victim_main(s, parent);
	cr_assert_eq(waitpid(r->victim, &status, 0), r->victim);
	cr_assert(WIFSTOPPED(status));
	for (uint32_t i = 0; i < s->asleep; i++)
		r->others[r->n_others++] = other_start(OTHERS + i, COMES_TO_SLEEP);
	if (s->watched)
		r->others[r->n_others++] = other_start(OTHERS, COMES_TO_WATCH);
	if (s->closing)
		cr_assert_eq(gate_close(&view, 1), GATE_WAITS); /* the terms allow no passing */
}

static void owner_lets_go(struct run *r)
{
	if (r->owns)
		release(&r->owner);
	r->owns = false;
}

/* Between two instructions of the victim. */
static void meanwhile(struct run *r)
{
	enum gate_state state = gate_record_state(space->records[VICTIM].state);

	r->left = r->left || state == GATE_RECORD_CANCELLED;
	if (state == GATE_RECORD_SLEEP && (r->left || !r->scenario->left_first))
		owner_lets_go(r);
	if (r->scenario->soon && gate_flags(word()) & GATE_WATCHED)
		owner_lets_go(r);
}

/* false: the victim was through before it had done so many instructions. */
static bool run_step(struct run *r, unsigned instructions)
{
	int status;

	for (unsigned i = 0; i < instructions; i++) {
		cr_assert_eq(ptrace(PTRACE_SINGLESTEP, r->victim, NULL, NULL), 0);
		cr_assert_eq(waitpid(r->victim, &status, 0), r->victim);
		cr_assert(WIFSTOPPED(status));
		if (diary->done)
			return false;
		meanwhile(r);
	}
	return true;
}

static bool reap(pid_t *pid)
{
	int status;

	if (*pid == 0)
		return true;
	if (waitpid(*pid, &status, WNOHANG) != *pid)
		return false;
	cr_assert_eq(status, 0);
	*pid = 0;
	return true;
}

static bool all_others_done(struct run *r)
{
	bool all = true;

	for (unsigned i = 0; i < r->n_others; i++)
		all = reap(&r->others[i]) && all;
	return all;
}

static bool victim_owns(void) { return gate_owner(word()) == VICTIM; }

/* Until all others are through, or wait for the victim, which is stopped. */
static bool others_go_on(struct run *r)
{
	bool all;

	while (!(all = all_others_done(r)) && !victim_owns()) {
		agent_opens();
		sched_yield();
	}
	return all;
}

static void run_end(struct run *r)
{
	agent_opens();
	cr_assert_eq(diary->broken, 0);
	cr_assert_eq(diary->n, r->n_others);
	cr_assert_eq(gate_owner(word()), 0, "%s: owner %x", r->scenario->name, gate_owner(word()));
	cr_assert_eq(gate_top(word()), 0);
}

static void newcomer(struct run *r)
{
	r->others[r->n_others] = other_start(OTHERS + r->n_others, COMES);
	r->n_others++;
}

static void killed_at(const struct scenario *s, unsigned instruction, bool *ret_there, unsigned *owned)
{
	struct run r;

	run_begin(&r, s);
	*ret_there = run_step(&r, instruction);
	kill(r.victim, SIGKILL);
	cr_assert_eq(waitpid(r.victim, NULL, 0), r.victim);
	bool owner = victim_owns();
	bool told = agent_repairs(VICTIM);
	uint32_t next = diary->n;
	agent_opens();
	owner_lets_go(&r);
	while (!all_others_done(&r))
		sched_yield();
	newcomer(&r);
	while (!all_others_done(&r))
		sched_yield();
	run_end(&r);
	/* Whoever was chosen may have helped himself first: then the victim had let go. */
	cr_assert(told || !owner || s->asleep || s->watched);
	for (uint32_t i = 0; i < diary->n; i++)
		cr_assert_eq(diary->at[i].died, told && i == next, "%s, instruction %u", s->name, instruction);
	cr_assert_eq(gate_forget(&view, VICTIM), GATE_DONE);
	*owned += owner;
}

static void stopped_at(const struct scenario *s, unsigned instruction, bool *ret_there, unsigned *owned)
{
	struct run r;

	run_begin(&r, s);
	*ret_there = run_step(&r, instruction);
	owner_lets_go(&r);
	if (others_go_on(&r)) {
		newcomer(&r);
		others_go_on(&r);
	}
	*owned += victim_owns();
	cr_assert_eq(ptrace(PTRACE_CONT, r.victim, NULL, NULL), 0);
	for (bool all = false; !all; sched_yield()) {
		agent_opens();
		all = all_others_done(&r);
		all = reap(&r.victim) && all;
	}
	run_end(&r);
	for (uint32_t i = 0; i < diary->n; i++)
		cr_assert_eq(diary->at[i].died, 0);
}

/* The agent dies, or is stopped for so long that another one takes over: what is noted is said again. The session that it
 * is given to owns it once, and all others come after it. */
static void followed_at(const struct scenario *s, unsigned instruction, bool *ret_there, unsigned *owned)
{
	struct run r;
	bool died = true;

	run_begin(&r, s);
	*ret_there = run_step(&r, instruction);
	kill(r.victim, SIGKILL);
	cr_assert_eq(waitpid(r.victim, NULL, 0), r.victim);
	*owned += gate_owner(word()) == OWNER;
	for (unsigned i = 0; i < 2 && diary->give_to; i++) {
		cr_assert_eq(gate_give(&view, 1, diary->give_count, diary->give_to, &died), GATE_DONE, "%s, instruction %u", s->name, instruction);
		cr_assert_not(died);
		r.owner.count = diary->give_count + 1;
		r.owns = true;
	}
	cr_assert(r.owns || gate_owner(word()) == GATE_AGENT);
	cr_assert(!diary->given || diary->given == r.owner.count);
	cr_assert(!r.owns || gate_holds(&space->gates[1], OWNER, r.owner.count));
	cr_assert_eq(diary->n, 0);
	if (r.owns)
		enter(&r.owner);
	owner_lets_go(&r);
	/* Again, when the acquisition has ended: it is over. */
	if (diary->give_to)
		cr_assert_eq(gate_give(&view, 1, diary->give_count, diary->give_to, &died), GATE_LOST);
	agent_opens();
	while (!all_others_done(&r))
		sched_yield();
	newcomer(&r);
	while (!all_others_done(&r))
		sched_yield();
	diary->n -= diary->give_to != 0;
	run_end(&r);
}

/* While the agent is stopped nobody has the gate but whom it was given to: who comes waits, and goes on afterwards. */
static void agent_stopped_at(const struct scenario *s, unsigned instruction)
{
	struct run r;

	run_begin(&r, s);
	run_step(&r, instruction);
	newcomer(&r);
	for (unsigned i = 0; i < 20; i++)
		sched_yield();
	cr_assert_not(all_others_done(&r));
	cr_assert_eq(diary->n, 0);
	cr_assert_eq(ptrace(PTRACE_CONT, r.victim, NULL, NULL), 0);
	while (!reap(&r.victim))
		sched_yield();
	r.owner.count = diary->given;
	r.owns = true;
	cr_assert(gate_holds(&space->gates[1], OWNER, diary->given));
	owner_lets_go(&r);
	while (!all_others_done(&r))
		sched_yield();
	run_end(&r);
}

static void agent_at_every_instruction(const struct scenario *s)
{
	unsigned n = 0, given = 0;

	for (bool there = true; there; n++) {
		cr_assert_lt(n, INSTRUCTIONS_MAX);
		followed_at(s, n, &there, &given);
	}
	for (unsigned i = 0; i < n; i++)
		agent_stopped_at(s, i);
	cr_assert_gt(given, 0);
	cr_assert_lt(given, n);
	printf("gate_step: %-40s %4u instructions, killed and stopped at each; given before the death at %u\n", s->name, n, given);
}

static void at_every_instruction(const struct scenario *s)
{
	unsigned n = 0, owned = 0, held = 0;

	for (bool there = true; there; n++) {
		cr_assert_lt(n, INSTRUCTIONS_MAX);
		killed_at(s, n, &there, &owned);
	}
	for (unsigned i = 0; i < n; i++) {
		bool there;

		stopped_at(s, i, &there, &held);
	}
	printf("gate_step: %-40s %4u instructions, killed and stopped at each; owner at %u and %u\n", s->name, n, owned, held);
}

/* Without LSE atomics a stepped load-linked loop never ends. */
#if defined(__x86_64__)
Test(gate_step, free_gate)
{
	at_every_instruction(&free_gate);
}
Test(gate_step, sleepers) { at_every_instruction(&sleepers); }
Test(gate_step, handing) { at_every_instruction(&handing); }
Test(gate_step, watching) { at_every_instruction(&watching); }
Test(gate_step, waiting) { at_every_instruction(&waiting); }
Test(gate_step, granted) { at_every_instruction(&granted); }
Test(gate_step, leaving) { at_every_instruction(&leaving); }
Test(gate_step, again) { at_every_instruction(&again); }
Test(gate_step, closing) { at_every_instruction(&closing); }
Test(gate_step, declining) { at_every_instruction(&declining); }
Test(gate_step, giving) { agent_at_every_instruction(&giving); }
#endif
