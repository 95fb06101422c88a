/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls: how many system calls a piece of code makes, or how many instructions it runs, counted by tracing a process
 * that runs it.
 *
 * Who may enter: lookup, local, warm, tests.
 */
#ifndef PAXSHM_BENCH_CALLS_H
#define PAXSHM_BENCH_CALLS_H

/* Forks a process that prepares, and then runs `work`, whose system calls are counted. prepare
 * returns what is handed to work; NULL: it could not. The count; -EPERM: this process may not
 * trace; -ECHILD: the process did not get through. */
long calls_count(void *(*prepare)(const void *with), void (*work)(void *prepared), const void *with);

/* The same of instructions in user mode, a few of the counting's own among them. At most a hundred thousand are
 * counted in a second; -ETIMEDOUT: more than `most`. */
long calls_steps(void *(*prepare)(const void *with), void (*work)(void *prepared), const void *with, long most);

#endif
