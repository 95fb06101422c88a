/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rivals: the test's hand on the processes of the storm of kills: starts them, by fork and by exec, kills and stops them from
 * outside at whatever instruction they are, and keeps the records that the dead cannot keep themselves.
 *
 * One set in a process, under a started rig. For the test's own process. All are its children, and end with it.
 */
#ifndef PAXSHM_TESTS_STORM_RIVALS_H
#define PAXSHM_TESTS_STORM_RIVALS_H

#include "../cluster/rig.h"
#include "rival.h"

enum rivals_deed { /* what one did when it died */
		   RIVALS_OPENED = 0,
		   RIVALS_BETWEEN,
		   RIVALS_WAITED,
		   RIVALS_HELD,
		   RIVALS_HELD_AND_WAITED,
		   RIVALS_RELEASED,
		   RIVALS_DEEDS,
};

extern struct rival_memory *rivals;

/* Room for so many processes, one after the other. */
void rivals_begin(uint64_t seed, uint32_t lives_max);
void rivals_start(unsigned seat, bool by_exec);
/* A number in the records for the test's own process. */
uint32_t rivals_own_life(void);
void rivals_doom(unsigned seat);             /* kill -9, and does not wait */
enum rivals_deed rivals_bury(unsigned seat); /* waits for its end, and notes what that means */
void rivals_stop(unsigned seat);             /* SIGSTOP, and waits until it stands still */
void rivals_go_on(unsigned seat);
bool rivals_stopped(unsigned seat);
/* It has had a lock since it was started. */
bool rivals_is_at_work(unsigned seat);
/* The seat of the process that is inside of a lock; RIVALS: nobody is, or somebody without a seat. */
unsigned rivals_inside(unsigned lock);
/* From here until `false` is said, waits and recoveries count as disturbed. */
void rivals_disturb(bool on);
/* All come to rest outside of any lock; true: they have. */
bool rivals_resting(void);
/* Judges all turns since the last time; all are at rest, or have ended. */
struct history_verdict rivals_judge(void);
/* All end by themselves. */
void rivals_end(void);
/* What each of them does, to standard error. */
void rivals_show(void);

const char *rivals_deed_name(enum rivals_deed deed);

#endif
