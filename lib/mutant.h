/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mutant: known mistakes, built in on purpose, one at a time, to see that a test finds each. MUTANT(n) stands
 * where the mistake would be made; it is 0 in everything that ships. A build with -DPAXSHM_MUTANTS (`make
 * mutants`) has them all, and the variable says which one is alive. tests/mutants/list says what each n is.
 *
 * Who may enter: everybody. It includes nothing of ours.
 */
#ifndef PAXSHM_LIB_MUTANT_H
#define PAXSHM_LIB_MUTANT_H

#ifdef PAXSHM_MUTANTS
extern int paxshm_mutant; /* tests/mutants/mutant.c: from the environment */
#define MUTANT(n) (paxshm_mutant == (n))
#else
#define MUTANT(n) 0
#endif

#endif
