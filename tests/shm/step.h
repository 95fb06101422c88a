/* SPDX-License-Identifier: Apache-2.0 */
/*
 * step: runs a function one instruction at a time and looks in after each, in the same process: the
 * processor's trap flag raises SIGTRAP, and the handler is the onlooker. What another process would
 * find if this one were stopped or killed at that instruction is what the onlooker finds.
 *
 * The function should have run once before, so that the dynamic linker has nothing left to do, and
 * makes no system call. One step costs some 20 microseconds. The onlooker must not assert (it runs in a signal handler): it notes what it
 * saw, and the test asserts afterwards.
 */
#ifndef PAXSHM_TESTS_SHM_STEP_H
#define PAXSHM_TESTS_SHM_STEP_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* register names; whoever includes this after a system header defines it first */
#endif
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <ucontext.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define STEP_UNDER_TSAN 1
#endif
#if __has_feature(address_sanitizer)
#define STEP_UNDER_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define STEP_UNDER_TSAN 1
#endif
#if defined(__SANITIZE_ADDRESS__)
#define STEP_UNDER_ASAN 1
#endif

/* For onlookers that fork: look in at every so many instructions. AddressSanitizer makes more of
 * them out of the same code, and forks cost much there. */
#ifdef STEP_UNDER_ASAN
#define STEP_STRIDE 13u
#else
#define STEP_STRIDE 1u
#endif

/* ThreadSanitizer puts signals off, so there is nothing to see. */
#if defined(__x86_64__) && !defined(STEP_UNDER_TSAN)
#define STEP_WORKS 1
#else
#define STEP_WORKS 0
#endif

#define TRAP_FLAG 0x100

static struct {
	volatile bool on;
	unsigned long n; /* instructions so far */
	void (*look)(unsigned long n);
} step_state;

static void step_trapped(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)info;
#if STEP_WORKS
	ucontext_t *at = context;

	if (step_state.on)
		step_state.look(step_state.n++);
	if (step_state.on)
		at->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
	else
		at->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
#else
	(void)context;
#endif
}

/* For the onlooker: run on at full speed from here. */
static inline void step_end(void)
{
	step_state.on = false;
}

/* Runs `run` and calls look(0), look(1), … : how many instructions it took (and a few around it). */
static inline unsigned long step_through(void (*run)(void), void (*look)(unsigned long n))
{
	struct sigaction act = { .sa_sigaction = step_trapped, .sa_flags = SA_SIGINFO };

	sigaction(SIGTRAP, &act, NULL);
	step_state.n = 0;
	step_state.look = look;
	step_state.on = true;
	raise(SIGTRAP);                          /* the handler sets the flag from here on … */
	__atomic_signal_fence(__ATOMIC_SEQ_CST); /* what the onlooker wrote is read afterwards */
	run();
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	step_state.on = false; /* … and takes it away at the next instruction */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return step_state.n;
}

#endif
