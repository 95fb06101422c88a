/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <string.h>

#include "../../lib/base.h"
#include "fault_inside.h"

bool fault_gone(struct blow *b)
{
	for (unsigned i = 0; i < b->n_stopped; i++)
		if (process_alive(&b->stopped[i]))
			return false;
	return true;
}

bool fault_all_gone(struct blow *b)
{
	if (!fault_gone(b))
		return false;
	for (unsigned i = 0; i < b->n_workers; i++)
		if (crew_process(b->workers[i]).pid)
			return false;
	return b->n_stopped + b->n_workers > 0;
}

void fault_start_workers(struct blow *b)
{
	for (unsigned i = 0; i < b->n_workers; i++)
		crew_start(b->workers[i]);
}

void fault_start_programs_again(struct storm *s, struct blow *b)
{
	(void)s;
	fault_start_workers(b);
}

bool fault_kill_programs(struct storm *s, struct blow *b)
{
	fault_now_begins(s, b);
	b->lasts_ms /= 4;
	for (uint64_t n = 1 + fault_up_to(s, 2); n && fault_catch_owner(s, b, 0); n--)
		crew_kill(b->workers[b->n_workers - 1]);
	for (uint64_t n = fault_up_to(s, 3); n; n--) {
		unsigned w = fault_some_program(s);

		if (!crew_process(w).pid)
			continue;
		crew_kill(w);
		b->workers[b->n_workers++] = w;
	}
	return b->n_workers > 0;
}

/* Whether one more kill leaves the host its memory; then it is noted. */
static bool may_kill_agent(struct storm *s, unsigned n)
{
	uint64_t *oldest = &s->kills_ns[n][0], now = fault_now_ns();

	for (unsigned i = 1; i < FAULT_KILLS; i++)
		if (s->kills_ns[n][i] < *oldest)
			oldest = &s->kills_ns[n][i];
	if (*oldest && now - *oldest < FAULT_KILLS_MS * NS_PER_MS)
		return false;
	*oldest = now;
	return true;
}

/* There is one, and it has begun: another counts as its successor. */
static bool agent_serves(unsigned n)
{
	return rig_runs(n) && !rig->host[n].stopped && rig_serves(n);
}

bool fault_kill_agent(struct storm *s, struct blow *b)
{
	unsigned n = fault_some_host(s);

	if (!agent_serves(n) || !may_kill_agent(s, n))
		n = fault_one_of(s, fault_all());
	if (!agent_serves(n) || !may_kill_agent(s, n))
		return false;
	fault_strikes(s, b, n);
	fault_to_stop(b, rig_agent(n));
	if (fault_up_to(s, 1))
		fault_catch_owner(s, b, n);
	fault_now_begins(s, b);
	b->lasts_ms = 0;
	rig_kill_agent(n);
	return true;
}

bool fault_agent_gone(struct blow *b)
{
	return !process_alive(&b->stopped[0]);
}

/* Who owned a lock is stopped until the new agent has had time to do harm, and goes on as its owner. */
void fault_agent_is_back(struct storm *s, struct blow *b)
{
	rig_back(b->victim);
	cr_assert_neq(rig_agent(b->victim).pid, b->stopped[0].pid);
	if (b->n_workers)
		fault_nap_ms(fault_up_to(s, FAULT_SHORT_MS));
	for (unsigned i = 0; i < b->n_workers; i++)
		crew_resume(b->workers[i]);
}

/* SIGHUP: an agent with the configuration of now takes over. */
bool fault_reload(struct storm *s, struct blow *b)
{
	unsigned n = fault_some_host(s);

	if (!agent_serves(n))
		return false;
	fault_strikes(s, b, n);
	fault_to_stop(b, rig_agent(n));
	if (fault_up_to(s, 1))
		fault_catch_owner(s, b, n);
	fault_now_begins(s, b);
	b->lasts_ms = 0;
	cr_assert(process_signal(&rig->host[n].keeper, SIGHUP));
	RIG_WAIT(fault_agent_gone(b), "SIGHUP replaces the agent");
	return true;
}

/* Not a fault: nobody but the two need notice. From quiet only: a leader that is not well may refuse. */
bool fault_move_leader(struct storm *s, struct blow *b)
{
	unsigned others = s->voting & ~(1u << s->leader), asked = fault_one_of(s, fault_all());
	char said[256], name[sizeof(rig->host[0].name)];

	if (!s->leader || !others)
		return false;
	b->victim = fault_one_of(s, others);
	memcpy(name, rig->host[b->victim].name, sizeof(name));
	fault_now_begins(s, b);
	b->lasts_ms = MIN(b->lasts_ms, FAULT_SHORT_MS);
	if (rig_paxctl(said, asked, "leader", "move", name) != 0)
		return false;
	return true;
}

bool fault_leader_moved(struct blow *b)
{
	return rig_status(b->victim).leader_id == b->victim;
}

void fault_nothing_to_mend(struct storm *s, struct blow *b)
{
	(void)s, (void)b;
}
