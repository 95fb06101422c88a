/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>

#include "../../lib/base.h"
#include "fault_inside.h"

#define CATCH_MS 300

/* Its programs own something, and are going to own it when the lease ends. */
bool fault_cling_on(struct blow *b, unsigned host)
{
	uint64_t until = fault_now_ns() + CATCH_MS * NS_PER_MS;

	crew_cling(host, true);
	while (!crew_clinging(host) && fault_now_ns() < until)
		rig_nap();
	if (!crew_clinging(host)) {
		crew_cling(host, false);
		return false;
	}
	b->clinging |= 1u << host;
	b->suspensions[host] = crew_suspensions(host);
	return true;
}

/* Longer than a lease, and than whoever leads then needs to find out. */
static void past_lease(struct storm *s, struct blow *b)
{
	b->lasts_ms = s->host_lease_ms + (unsigned)fault_up_to(s, FAULT_ELECTION_MS);
}

/* Those who own something, and were not killed meanwhile, find out themselves, from their own clock, whether or not anybody
 * is left to tell them. */
static void expect_suspended(const struct blow *b)
{
	for (unsigned n = 1; n <= rig->n; n++) {
		if (!(b->clinging >> n & 1))
			continue;
		RIG_WAIT(crew_broken() || rig_status(n).lease_until_ns <= fault_now_ns(), "void: the lease of host %u never ended", n);
		RIG_WAIT(crew_broken() || crew_suspensions(n) > b->suspensions[n] || !crew_clinging(n), "the owners on host %u are told that its lease has ended", n);
	}
}

void fault_let_go(struct blow *b)
{
	for (unsigned n = 1; n <= rig->n; n++)
		if (b->clinging >> n & 1)
			crew_cling(n, false);
	b->clinging = 0;
}

bool fault_isolate_past_lease(struct storm *s, struct blow *b)
{
	fault_strikes(s, b, fault_some_host(s));
	if (!fault_cling_on(b, b->victim))
		return false;
	cut_between(&b->cut, b->sick);
	fault_cut_now(s, b, b->sick, b->sick);
	past_lease(s, b);
	return true;
}

/* Meanwhile everybody else has what its programs owned. */
void fault_heal_past_lease(struct storm *s, struct blow *b)
{
	expect_suspended(b);
	crew_mark();
	RIG_WAIT(crew_broken() || crew_full() || crew_others_did(b->victim, 2), "the locks of a host that is cut off come free");
	fault_links_heal(s, b);
	fault_let_go(b);
}

bool fault_stop_agent_past_lease(struct storm *s, struct blow *b)
{
	fault_strikes(s, b, fault_some_host(s));
	if (!fault_cling_on(b, b->victim))
		return false;
	fault_to_stop(b, rig_agent(b->victim));
	fault_stop_now(s, b);
	past_lease(s, b);
	return true;
}

void fault_agent_goes_on_past_lease(struct storm *s, struct blow *b)
{
	expect_suspended(b);
	crew_mark();
	RIG_WAIT(crew_broken() || crew_full() || crew_others_did(b->victim, 2), "the locks of a host whose agent stands still come free");
	fault_all_go_on(s, b);
	fault_let_go(b);
}

/* Nobody is left who could declare anybody down: all are suspended, and all go on with what they own. */
bool fault_stop_all_agents(struct storm *s, struct blow *b)
{
	for (unsigned n = 1; n <= rig->n; n++)
		fault_cling_on(b, n);
	if (!b->clinging)
		return false;
	b->sick = fault_all();
	for (unsigned n = 1; n <= rig->n; n++) {
		fault_to_stop(b, rig_agent(n));
		b->incarnation[n] = rig_status(n).incarnation;
	}
	fault_stop_now(s, b);
	for (unsigned n = 1; n <= rig->n; n++)
		rig->host[n].stopped = true;
	past_lease(s, b);
	return true;
}

void fault_all_agents_go_on(struct storm *s, struct blow *b)
{
	uint64_t resumed = crew_resumptions();
	unsigned owners = 0;

	expect_suspended(b);
	for (unsigned n = 1; n <= rig->n; n++)
		owners += crew_clinging(n);
	fault_all_go_on(s, b);
	for (unsigned n = 1; n <= rig->n; n++)
		rig->host[n].stopped = false;
	rig_settle(0);
	for (unsigned n = 1; n <= rig->n; n++)
		RIG_WAIT(rig_status(n).lease_until_ns > fault_now_ns(), "host %u has a lease again", n);
	for (unsigned n = 1; n <= rig->n; n++)
		cr_assert_eq(rig_status(n).incarnation, b->incarnation[n], "host %u was declared down, and nobody could", n);
	RIG_WAIT(crew_broken() || crew_resumptions() > resumed || !owners, "owners are told that they go on");
	fault_let_go(b);
}
