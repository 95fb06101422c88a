/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "rivals.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/base.h"

struct rival_memory *rivals;

static struct {
	pid_t pid; /* a child that nobody has waited for, so that the pid is its own; 0: none */
	bool stopped;
	uint64_t granted; /* to those who sat here before */
} sitting[RIVALS];

static int memory_fd = -1;
static char program[PATH_MAX];

void rivals_begin(uint64_t seed, uint32_t lives_max)
{
	size_t size = rival_memory_size(lives_max);

	memory_fd = memfd_create("rivals", MFD_CLOEXEC);
	cr_assert(memory_fd >= 0);
	cr_assert_eq(ftruncate(memory_fd, (off_t)size), 0);
	rivals = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
	cr_assert_neq(rivals, MAP_FAILED);
	rivals->seed = seed;
	rivals->lives_max = lives_max;
	for (unsigned n = 1; n <= RIVAL_HOSTS; n++)
		snprintf(rivals->socket[n], sizeof(rivals->socket[n]), "%s", rig->host[n].socket);
	for (unsigned i = 0; i < RIVAL_LOCKS; i++)
		rivals->lock[i].number = i;
	/* It lies beside paxctl. */
	snprintf(program, sizeof(program), "%s", rig_program("paxctl"));
	strcpy(strrchr(program, '/') + 1, "rival");
	cr_assert_eq(access(program, X_OK), 0, "%s is not built", program);
}

/* ---- starting ---- */

static _Noreturn void become_rival(pid_t parent, unsigned seat, uint32_t life, bool by_exec)
{
	char words[2][16];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	if (!by_exec) {
		close_range(3, ~0u, 0);
		rival_work(rivals, seat, life);
	}
	if (memory_fd != RIVAL_FD)
		dup2(memory_fd, RIVAL_FD);
	fcntl(RIVAL_FD, F_SETFD, 0);
	close_range(RIVAL_FD + 1, ~0u, 0);
	snprintf(words[0], sizeof(words[0]), "%u", seat);
	snprintf(words[1], sizeof(words[1]), "%u", life);
	execl(program, "rival", words[0], words[1], NULL);
	_exit(127);
}

static uint32_t new_life(void)
{
	cr_assert_lt(rivals->lives, rivals->lives_max);
	return ++rivals->lives;
}

void rivals_start(unsigned seat, bool by_exec)
{
	struct rival_seat *s = &rivals->seat[seat];
	uint32_t life = new_life();
	pid_t parent = getpid(), pid;

	cr_assert_eq(sitting[seat].pid, 0);
	memset(s->play, 0, sizeof(s->play));
	s->doing = RIVAL_OPENING;
	s->life = life;
	sitting[seat].granted = s->granted;
	pid = fork();
	if (pid == 0)
		become_rival(parent, seat, life, by_exec);
	cr_assert(pid > 0);
	rivals->life[life].process = process_of(pid);
	cr_assert_eq(rivals->life[life].process.pid, pid, "a rival ended at once: %s", rivals->words);
	sitting[seat].pid = pid;
	sitting[seat].stopped = false;
}

uint32_t rivals_own_life(void)
{
	uint32_t life = new_life();

	rivals->life[life].process = process_of(getpid());
	return life;
}

/* ---- killing ---- */

void rivals_doom(unsigned seat)
{
	struct witness_life *life = &rivals->life[rivals->seat[seat].life];

	cr_assert(sitting[seat].pid > 0);
	__atomic_store_n(&life->doomed_ns, rival_now_ns(), __ATOMIC_RELEASE);
	cr_assert_eq(kill(sitting[seat].pid, SIGKILL), 0);
}

static enum rivals_deed deed_of(const struct rival_seat *s)
{
	bool held = false, waited = false, released = false;

	for (unsigned i = 0; i < RIVAL_PLAYS; i++) {
		held |= s->play[i].phase == RIVAL_OWNING;
		waited |= s->play[i].phase == RIVAL_ASKING;
		released |= s->play[i].phase == RIVAL_RELEASING;
	}
	if (held)
		return waited ? RIVALS_HELD_AND_WAITED : RIVALS_HELD;
	if (waited)
		return RIVALS_WAITED;
	if (released)
		return RIVALS_RELEASED;
	return s->doing == RIVAL_OPENING || s->doing == RIVAL_CLOSING ? RIVALS_OPENED : RIVALS_BETWEEN;
}

/* A turn that was not over ended with its process. */
static void note_death(unsigned seat, const struct rival_play *p, uint64_t killed_ns)
{
	struct history_turn *t = &rivals->turn[seat][p->turn - 1];

	rivals->lock[p->lock].deaths++;
	if (!(t->returned_ns && t->outcome == HISTORY_REFUSED) && t->end == HISTORY_NOT_SAID)
		t->killed_ns = killed_ns;
}

enum rivals_deed rivals_bury(unsigned seat)
{
	const struct rival_seat *s = &rivals->seat[seat];
	int status = rig_wait(sitting[seat].pid);

	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the rival of seat %u had ended with status %d: %s", seat, status,
		  rivals->words);
	sitting[seat].pid = 0;
	for (unsigned i = 0; i < RIVAL_PLAYS; i++)
		if (s->play[i].phase != RIVAL_IDLE)
			note_death(seat, &s->play[i], rivals->life[s->life].doomed_ns);
	return deed_of(s);
}

/* ---- stopping ---- */

void rivals_stop(unsigned seat)
{
	const struct process *p = &rivals->life[rivals->seat[seat].life].process;

	cr_assert_eq(kill(sitting[seat].pid, SIGSTOP), 0);
	sitting[seat].stopped = true;
	RIG_WAIT(process_state(p) == 'T' || process_state(p) == 0);
	cr_assert_eq(process_state(p), 'T', "the rival of seat %u has ended: %s", seat, rivals->words);
}

void rivals_go_on(unsigned seat)
{
	if (sitting[seat].stopped && sitting[seat].pid)
		cr_assert_eq(kill(sitting[seat].pid, SIGCONT), 0);
	sitting[seat].stopped = false;
}

bool rivals_stopped(unsigned seat) { return sitting[seat].stopped; }

/* ---- looking ---- */

bool rivals_is_at_work(unsigned seat)
{
	return sitting[seat].pid && __atomic_load_n(&rivals->seat[seat].granted, __ATOMIC_RELAXED) > sitting[seat].granted;
}

unsigned rivals_inside(unsigned lock)
{
	uint32_t life = __atomic_load_n(&rivals->lock[lock].inside, __ATOMIC_ACQUIRE);
	unsigned seat = 0;

	while (seat < RIVALS && (!life || rivals->seat[seat].life != life))
		seat++;
	return seat;
}

void rivals_disturb(bool on)
{
	__atomic_store_n(&rivals->disturbed_ns, on ? NEVER : rival_now_ns(), __ATOMIC_RELEASE);
}

bool rivals_resting(void)
{
	__atomic_store_n(&rivals->rest, 1, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < RIVALS; i++)
		if (__atomic_load_n(&rivals->seat[i].doing, __ATOMIC_ACQUIRE) != RIVAL_RESTING)
			return false;
	return true;
}

/* Moves the turns of a seat to `to`; answers how many. */
static size_t gather(struct history_turn *to, unsigned seat)
{
	size_t used = MIN(rivals->seat[seat].turns, RIVAL_TURNS), n = 0;

	for (size_t i = 0; i < used; i++) {
		struct history_turn t = rivals->turn[seat][i];

		if (!t.called_ns) /* killed before it asked */
			continue;
		if (!t.returned_ns) { /* killed before it knew, or before it wrote it down */
			t.outcome = HISTORY_UNKNOWN;
			t.token = 0;
		}
		to[n++] = t;
	}
	rivals->seat[seat].turns = 0;
	return n;
}

struct history_verdict rivals_judge(void)
{
	struct history_turn *turns = rivals->turn[0];
	size_t n = 0;

	for (unsigned i = 0; i < RIVALS; i++)
		n += gather(turns + n, i);
	return history_judge(turns, n, false);
}

void rivals_end(void)
{
	__atomic_store_n(&rivals->stop, 1, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < RIVALS; i++) {
		rivals_go_on(i);
		if (!sitting[i].pid)
			continue;
		int status = rig_wait(sitting[i].pid);
		cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the rival of seat %u ended with status %d: %s", i, status,
			  rivals->words);
		sitting[i].pid = 0;
	}
}

void rivals_show(void)
{
	static const char *const phases[] = { "idle", "asks for", "owns", "releases" };
	static const char *const doings[] = { "opens", "works", "closes", "rests" };
	uint64_t now = rival_now_ns();

	for (unsigned i = 0; i < RIVALS; i++) {
		const struct rival_seat *s = &rivals->seat[i];

		fprintf(stderr, "kills: seat %u, host %u, pid %d, life %u: %s%s", i, rival_host(i), (int)sitting[i].pid, s->life,
			s->doing < ARRAY_LEN(doings) ? doings[s->doing] : "?", sitting[i].stopped ? ", stopped" : "");
		for (unsigned p = 0; p < RIVAL_PLAYS; p++)
			if (s->play[p].phase && s->play[p].phase < ARRAY_LEN(phases))
				fprintf(stderr, "; %s lock %u, begun %llu us ago", phases[s->play[p].phase], s->play[p].lock,
					(unsigned long long)(now - s->play[p].since_ns) / 1000);
		fputc('\n', stderr);
	}
	for (unsigned i = 0; i < RIVAL_LOCKS; i++)
		if (rivals->lock[i].inside)
			fprintf(stderr, "kills: lock %u: life %u is inside, token %llu\n", i, rivals->lock[i].inside,
				(unsigned long long)rivals->lock[i].token);
}

const char *rivals_deed_name(enum rivals_deed deed)
{
	static const char *const names[RIVALS_DEEDS] = {
		[RIVALS_OPENED] = "opening or closing its session",
		[RIVALS_BETWEEN] = "in between",
		[RIVALS_WAITED] = "waiting",
		[RIVALS_HELD] = "holding",
		[RIVALS_HELD_AND_WAITED] = "holding one and waiting for another",
		[RIVALS_RELEASED] = "releasing",
	};

	return deed < RIVALS_DEEDS ? names[deed] : "?";
}
