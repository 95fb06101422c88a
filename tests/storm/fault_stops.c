/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>

#include "../../lib/base.h"
#include "fault_inside.h"

#define CATCH_MS 300

void fault_to_stop(struct blow *b, struct process p)
{
	cr_assert_lt(b->n_stopped, FAULT_GROUP);
	b->stopped[b->n_stopped++] = p;
}

bool fault_all_stopped(struct blow *b)
{
	for (unsigned i = 0; i < b->n_stopped; i++)
		if (process_state(&b->stopped[i]) != 'T')
			return false;
	for (unsigned i = 0; i < b->n_workers; i++) {
		struct process p = crew_process(b->workers[i]);

		if (process_state(&p) != 'T')
			return false;
	}
	return b->n_stopped + b->n_workers > 0;
}

void fault_stop_now(struct storm *s, struct blow *b)
{
	fault_now_begins(s, b);
	for (unsigned i = 0; i < b->n_stopped; i++)
		cr_assert(process_signal(&b->stopped[i], SIGSTOP));
	rig->host[b->victim].stopped = true;
}

void fault_all_go_on(struct storm *s, struct blow *b)
{
	(void)s;
	for (unsigned i = 0; i < b->n_stopped; i++)
		cr_assert(process_signal(&b->stopped[i], SIGCONT), "a stopped process is gone");
	for (unsigned i = 0; i < b->n_workers; i++)
		crew_resume(b->workers[i]);
	if (b->victim)
		rig->host[b->victim].stopped = false;
}

bool fault_stop_agent(struct storm *s, struct blow *b)
{
	fault_strikes(s, b, fault_some_host(s));
	fault_to_stop(b, rig_agent(b->victim));
	fault_stop_now(s, b);
	return true;
}

bool fault_stop_agent_and_keeper(struct storm *s, struct blow *b)
{
	fault_strikes(s, b, fault_some_host(s));
	fault_to_stop(b, rig->host[b->victim].keeper);
	fault_to_stop(b, rig_agent(b->victim));
	fault_stop_now(s, b);
	return true;
}

void fault_pause_workers_of(struct blow *b, unsigned host)
{
	for (unsigned w = 0; w < crew_size(); w++)
		if (crew_host(w) == host && crew_pause(w))
			b->workers[b->n_workers++] = w;
}

/* As a virtual machine that is not run, or a machine that swaps. */
bool fault_freeze(struct storm *s, struct blow *b)
{
	fault_stop_agent_and_keeper(s, b);
	fault_pause_workers_of(b, b->victim);
	return true;
}

/* Probes are the measure of how the others fare: they are left alone. */
unsigned fault_some_program(struct storm *s)
{
	unsigned w;

	do
		w = (unsigned)fault_up_to(s, crew_size() - 1);
	while (crew_job(w) == CREW_PROBE);
	return w;
}

/* Stops a program in the midst of owning a lock, on one host or (0) any. None is there in time: false. */
bool fault_catch_owner(struct storm *s, struct blow *b, unsigned host)
{
	for (uint64_t until = fault_now_ns() + CATCH_MS * NS_PER_MS; fault_now_ns() < until; sched_yield()) {
		unsigned w = fault_some_program(s);
		struct process p = crew_process(w);

		if ((host && crew_host(w) != host) || !crew_inside(w) || !crew_pause(w))
			continue;
		RIG_WAIT(process_state(&p) == 'T');
		if (crew_inside(w)) {
			b->workers[b->n_workers++] = w;
			return true;
		}
		crew_resume(w);
	}
	return false;
}

bool fault_stop_programs(struct storm *s, struct blow *b)
{
	fault_now_begins(s, b);
	if (fault_up_to(s, 1))
		fault_catch_owner(s, b, 0);
	for (uint64_t n = 1 + fault_up_to(s, 2); n; n--) {
		unsigned w = fault_some_program(s);

		if (crew_pause(w))
			b->workers[b->n_workers++] = w;
	}
	return b->n_workers > 0;
}
