/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>

#include "../../lib/base.h"
#include "fault_inside.h"

#define START_MS 200 /* what a host needs to start, if nothing holds it up */

/* A host whose life may end: an observer, or a voter as long as the others can bear the loss of one more. */
static unsigned some_mortal(struct storm *s)
{
	unsigned mortal = fault_all() & ~s->voting;

	if (fault_members(s->voting) > rig->plan.voters / 2 + 2)
		mortal |= s->voting;
	return mortal ? fault_one_of(s, mortal) : 0;
}

static void end_life(struct storm *s, struct blow *b)
{
	fault_to_stop(b, rig->host[b->victim].keeper);
	fault_to_stop(b, rig_agent(b->victim));
	crew_life_ends(b->victim);
	rig_kill_host(b->victim);
	s->voting &= ~(1u << b->victim);
}

static void forget_kills(struct storm *s, unsigned host)
{
	for (unsigned i = 0; i < FAULT_KILLS; i++)
		s->kills_ns[host][i] = 0;
}

/* As an administrator would: told to found the cluster, which its state directory knows better. */
void fault_begin_life(struct storm *s, struct blow *b)
{
	rig_start_host(b->victim, true);
	forget_kills(s, b->victim);
	fault_start_workers(b);
	rig_settle(b->victim);
}

static void kill_workers_of(struct blow *b, unsigned host)
{
	b->n_workers = 0;
	for (unsigned w = 0; w < crew_size(); w++)
		if (crew_host(w) == host && crew_process(w).pid) {
			crew_kill(w);
			b->workers[b->n_workers++] = w;
		}
}

/* The machine loses its power. */
bool fault_kill_host(struct storm *s, struct blow *b)
{
	unsigned n = some_mortal(s);
	bool programs_first = fault_up_to(s, 1);

	if (!n)
		return false;
	fault_strikes(s, b, n);
	fault_catch_owner(s, b, n);
	fault_now_begins(s, b);
	if (programs_first)
		kill_workers_of(b, n);
	end_life(s, b);
	if (!programs_first)
		kill_workers_of(b, n);
	return true;
}

/* Keeper and agent are gone, and the programs, stopped meanwhile, do not know. Nobody may be given what they own before its
 * lease has ended, or, without leases, before they have. */
bool fault_leave_programs_alone(struct storm *s, struct blow *b)
{
	unsigned n = some_mortal(s);

	if (!n)
		return false;
	fault_strikes(s, b, n);
	fault_catch_owner(s, b, n);
	fault_now_begins(s, b);
	b->lasts_ms = s->leases ? s->host_lease_ms + FAULT_SHORT_MS : b->lasts_ms / 2;
	fault_pause_workers_of(b, n);
	end_life(s, b);
	return true;
}

bool fault_left_alone(struct blow *b)
{
	if (!fault_gone(b))
		return false;
	for (unsigned i = 0; i < b->n_workers; i++) {
		struct process p = crew_process(b->workers[i]);

		if (process_state(&p) != 'T')
			return false;
	}
	return true;
}

/* The programs find out before the host is back, or after. With leases everybody else goes on before either. */
void fault_go_on_in_a_new_life(struct storm *s, struct blow *b)
{
	bool late = fault_up_to(s, 3) != 0;

	if (s->leases) {
		crew_mark();
		RIG_WAIT(crew_broken() || crew_full() || crew_each_did(2), "the locks of a host that is gone come free");
	}
	if (late) {
		rig_start_host(b->victim, true);
		fault_nap_ms(START_MS + fault_up_to(s, FAULT_SHORT_MS));
	}
	for (unsigned i = 0; i < b->n_workers; i++)
		crew_resume(b->workers[i]);
	if (!late)
		rig_start_host(b->victim, true);
	forget_kills(s, b->victim);
	rig_settle(b->victim);
}

/* The same, and the programs run: they find out while they own, or when they ask. */
bool fault_desert(struct storm *s, struct blow *b)
{
	unsigned n = some_mortal(s);

	if (!n || !fault_cling_on(b, n))
		return false;
	fault_strikes(s, b, n);
	fault_now_begins(s, b);
	b->lasts_ms = 0; /* the end waits for what is to be seen */
	end_life(s, b);
	return true;
}

void fault_take_in_again(struct storm *s, struct blow *b)
{
	crew_mark();
	RIG_WAIT(crew_broken() || crew_full() || crew_others_did(b->victim, 2), "the locks of a host that is gone come free");
	if (fault_up_to(s, 1))
		fault_let_go(b);
	rig_start_host(b->victim, true);
	forget_kills(s, b->victim);
	rig_settle(b->victim);
	fault_let_go(b);
}

/* As an administrator ends a host; its programs run on, to open sessions in its next life. */
bool fault_stop_host(struct storm *s, struct blow *b)
{
	unsigned n = some_mortal(s);

	if (!n)
		return false;
	fault_strikes(s, b, n);
	fault_to_stop(b, rig->host[n].keeper);
	fault_to_stop(b, rig_agent(n));
	if (fault_up_to(s, 1))
		fault_catch_owner(s, b, n);
	fault_now_begins(s, b);
	crew_life_ends(n);
	cr_assert_eq(rig_stop_host(n), 0, "host %u does not end as told", n);
	s->voting &= ~(1u << n);
	return true;
}

void fault_start_host_again(struct storm *s, struct blow *b)
{
	for (unsigned i = 0; i < b->n_workers; i++)
		crew_resume(b->workers[i]);
	rig_start_host(b->victim, true);
	forget_kills(s, b->victim);
	rig_settle(b->victim);
}
