/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counter: programs that take turns on one lock to add to a counter in a file, and watch each other. Any of them
 * may be killed at any instruction. What must hold is written into the file with each turn, so that
 * whoever comes next can see whether the lock failed:
 *
 *   nobody is inside, unless the owner before was killed and the grant says PAXSHM_OWNER_DIED;
 *   the token is greater than that of every turn before;
 *   what a program has added is never gone from the file (a lost update);
 *   the file does not change under the owner's hands.
 *
 * The first thing that does not hold is kept in words, and counter_check() asserts that there is none.
 */
#ifndef PAXSHM_TESTS_CLUSTER_COUNTER_H
#define PAXSHM_TESTS_CLUSTER_COUNTER_H

#include <stdint.h>
#include <sys/types.h>

#define COUNTER_WORKERS 16

struct counter;

/* A counter in the rig's directory, under the lock `key`. */
struct counter *counter_new(const char *key);
/* Starts worker w (0 …) on a host, or starts it anew after it was killed. */
void counter_work(struct counter *c, unsigned w, unsigned host);
/* kill -9; `inside`: rather whoever is inside now. Answers which worker it was. */
unsigned counter_kill(struct counter *c, unsigned w);
unsigned counter_kill_inside(struct counter *c);
uint64_t counter_turns(const struct counter *c);
/* Turns of one worker. */
uint64_t counter_turns_of(const struct counter *c, unsigned w);
/* Grants that said that the last owner had died. */
uint64_t counter_deaths_told(const struct counter *c);
/* Waits for `n` more turns of everybody together, or, with each, of every worker. */
void counter_wait(struct counter *c, uint64_t n, int each);
/* Lets all end, and checks. */
void counter_check(struct counter *c);

#endif
