/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pulse: whether the agent still goes on. One that is there and takes no step any more (an endless loop, a call that never
 * returns) is as bad as a dead one, and no pidfd tells of it.
 *
 * With each step the agent writes the time into its tables; it takes one with each heartbeat, and there are twelve of
 * them at least in a host lease. Whoever looks once in a while and finds it unmoved several times in a row knows that it hangs. Looks are
 * counted, and no time is measured: when the whole machine stood still, its agent gets its time afterwards. One that somebody has stopped
 * (SIGSTOP, a debugger) does not hang, however long.
 *
 * Who may enter: keeper.
 */
#ifndef PAXSHM_TOOLS_PAXSHMD_PULSE_H
#define PAXSHM_TOOLS_PAXSHMD_PULSE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../shm/layout.h"

#define PULSE_LOOKS 4u /* in a row that found it unmoved */
/* From one look to the next. Who hangs is found before the lease has ended that its programs trust, where that is not short. */
#define PULSE_LEASE_PART 8u
#define PULSE_LEAST_MS 1000u

struct pulse { /* zeroed: nobody is looked at */
	const struct tables *tables;
	pid_t agent;
	uint64_t every_ns, look_at_ns;
	uint64_t seen_ns; /* the agent's time at the last look */
	unsigned still;   /* looks in a row that found it so */
};

/* A look that found this time: true: it hangs. */
bool pulse_look(struct pulse *p, uint64_t agent_ns, bool stopped);

/* An agent serves, over these tables. If they cannot be looked at, it is not. */
void pulse_begin(struct pulse *p, int tables_fd, pid_t agent, uint64_t host_lease_ms, uint64_t now_ns);
void pulse_end(struct pulse *p);

/* Looks, if it is time to. true, once: it hangs. */
bool pulse_hangs(struct pulse *p, uint64_t now_ns);
/* For poll(2): how long there is nothing to look at; -1: never. */
int pulse_rest_ms(const struct pulse *p, uint64_t now_ns);

#endif
