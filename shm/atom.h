/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atom: atomic operations on words of shared memory, the memory order in the name.
 * Words are plain integers of 4 or 8 bytes, so that layouts stay readable from any language.
 *
 * Who may enter: everything that touches memory which another process maps.
 */
#ifndef PAXSHM_SHM_ATOM_H
#define PAXSHM_SHM_ATOM_H

#include <stdbool.h>
#include <stdint.h>

#define atom_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define atom_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define atom_load_seq_cst(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)

#define atom_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define atom_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define atom_store_seq_cst(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)

/* Each returns the value from before. */
#define atom_add_relaxed(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define atom_add_release(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELEASE)
#define atom_add_seq_cst(p, v) __atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST)
#define atom_or_seq_cst(p, v) __atomic_fetch_or((p), (v), __ATOMIC_SEQ_CST)
#define atom_and_seq_cst(p, v) __atomic_fetch_and((p), (v), __ATOMIC_SEQ_CST)
#define atom_exchange_seq_cst(p, v) __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)

/* Compare and swap: true: *p held `expected` and holds `value` now. */
static inline bool atom_cas_acq_rel(uint64_t *p, uint64_t expected, uint64_t value)
{
	return __atomic_compare_exchange_n(p, &expected, value, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static inline bool atom_cas_release(uint64_t *p, uint64_t expected, uint64_t value)
{
	return __atomic_compare_exchange_n(p, &expected, value, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

static inline bool atom_cas_seq_cst(uint64_t *p, uint64_t expected, uint64_t value)
{
	return __atomic_compare_exchange_n(p, &expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

#define atom_fence_acquire() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define atom_fence_release() __atomic_thread_fence(__ATOMIC_RELEASE)
#define atom_fence_seq_cst() __atomic_thread_fence(__ATOMIC_SEQ_CST)

/* One turn of a spin: tells the core that this is one. */
static inline void atom_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif
