/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls: how many system calls a piece of code makes, counted by tracing a process that runs it.
 *
 * Who may enter: lookup, tests.
 */
#ifndef PAXSHM_BENCH_CALLS_H
#define PAXSHM_BENCH_CALLS_H

/* Forks a process that prepares, and then runs `work`, whose system calls are counted. prepare
 * returns what is handed to work; NULL: it could not. The count; -EPERM: this process may not
 * trace; -ECHILD: the process did not get through. */
long calls_count(void *(*prepare)(const void *with), void (*work)(void *prepared), const void *with);

#endif
