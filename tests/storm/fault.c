/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fault_inside.h"

#include <errno.h>
#include <time.h>

#include "../../lib/base.h"

#define LONG_MS 1300

uint64_t fault_up_to(struct storm *s, uint64_t n)
{
	return random_next(&s->random) % (n + 1);
}

uint64_t fault_now_ns(void)
{
	return paxshm_deadline_ms(0);
}

void fault_nap_ms(uint64_t ms)
{
	struct timespec left = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

/* ---- whom ---- */

unsigned fault_all(void)
{
	return ((1u << rig->n) - 1) << 1;
}

unsigned fault_members(unsigned set)
{
	return (unsigned)__builtin_popcount(set);
}

/* A random member of a set that is not empty. */
unsigned fault_one_of(struct storm *s, unsigned set)
{
	unsigned skip = (unsigned)fault_up_to(s, fault_members(set) - 1);

	while (skip--)
		set &= set - 1;
	return (unsigned)__builtin_ctz(set);
}

/* A host, every other time the leader. */
unsigned fault_some_host(struct storm *s)
{
	return s->leader && fault_up_to(s, 1) ? s->leader : fault_one_of(s, fault_all());
}

/* How long: mostly short; long enough that a leader is missed; with leases sometimes longer than those of hosts. */
static void choose_time(struct storm *s, struct blow *b)
{
	b->lasts_ms = (unsigned)fault_up_to(s, fault_up_to(s, 1) ? FAULT_SHORT_MS : LONG_MS);
	if (b->leader)
		b->lasts_ms = MAX(b->lasts_ms, FAULT_ELECTION_MS);
	if (s->leases && fault_up_to(s, 3) == 0)
		b->lasts_ms += s->host_lease_ms;
}

/* One host is not to be counted on, be it the leader or not. */
void fault_strikes(struct storm *s, struct blow *b, unsigned victim)
{
	b->victim = victim;
	b->sick = 1u << victim;
	b->leader = victim == s->leader;
}

void fault_now_begins(struct storm *s, struct blow *b)
{
	choose_time(s, b);
	b->begin_ns = fault_now_ns();
}

/* ---- all of them ---- */

const struct fault faults[] = {
	{ "a host is cut off", .needs_netns = true, .begin = fault_isolate, .proven = fault_links_felt, .end = fault_links_heal },
	{ "a host hears nothing", .needs_netns = true, .begin = fault_deafen, .proven = fault_links_felt, .end = fault_links_heal },
	{ "a host is not heard", .needs_netns = true, .begin = fault_mute, .proven = fault_links_felt, .end = fault_links_heal },
	{ "leader and one follower", .needs_netns = true, .begin = fault_part_leader_and_one, .proven = fault_links_felt, .end = fault_links_heal },
	{ "two halves", .needs_netns = true, .begin = fault_halve, .proven = fault_links_felt, .end = fault_links_heal },
	{ "a bridge between halves", .needs_netns = true, .needs_voters = 5, .begin = fault_bridge, .proven = fault_links_felt, .end = fault_links_heal },
	{ "packets get lost", .needs_netns = true, .begin = fault_lose_some, .proven = fault_links_felt, .end = fault_links_heal },
	{ "agent stopped", .begin = fault_stop_agent, .proven = fault_all_stopped, .end = fault_all_go_on },
	{ "keeper, agent stopped", .begin = fault_stop_agent_and_keeper, .proven = fault_all_stopped, .end = fault_all_go_on },
	{ "a whole host stopped", .begin = fault_freeze, .proven = fault_all_stopped, .end = fault_all_go_on },
	{ "programs stopped", .light = true, .begin = fault_stop_programs, .proven = fault_all_stopped, .end = fault_all_go_on },
	{ "programs killed", .light = true, .begin = fault_kill_programs, .proven = fault_all_gone, .end = fault_start_programs_again },
	{ "a host is cut off past its lease", .needs_netns = true, .needs_leases = true, .loses_locks = true, .begin = fault_isolate_past_lease, .proven = fault_links_felt, .end = fault_heal_past_lease },
	{ "agent stopped past its lease", .needs_leases = true, .loses_locks = true, .begin = fault_stop_agent_past_lease, .proven = fault_all_stopped, .end = fault_agent_goes_on_past_lease },
	{ "all agents stopped past leases", .needs_leases = true, .begin = fault_stop_all_agents, .proven = fault_all_stopped, .end = fault_all_agents_go_on },
	{ "the leader moves", .begin = fault_move_leader, .proven = fault_leader_moved, .end = fault_nothing_to_mend },
	{ "SIGHUP", .light = true, .begin = fault_reload, .proven = fault_agent_gone, .end = fault_agent_is_back },
	{ "agent killed", .light = true, .begin = fault_kill_agent, .proven = fault_agent_gone, .end = fault_agent_is_back },
	{ "a whole host killed", .ends_life = true, .begin = fault_kill_host, .proven = fault_all_gone, .end = fault_begin_life },
	{ "a host gone, programs left", .ends_life = true, .loses_locks = true, .begin = fault_leave_programs_alone, .proven = fault_left_alone, .end = fault_go_on_in_a_new_life },
	{ "a host gone, programs run", .ends_life = true, .needs_leases = true, .loses_locks = true, .begin = fault_desert, .proven = fault_gone, .end = fault_take_in_again },
	{ "a host told to end", .ends_life = true, .begin = fault_stop_host, .proven = fault_gone, .end = fault_start_host_again },
};
const unsigned n_faults = ARRAY_LEN(faults);

bool fault_possible(const struct storm *s, const struct fault *f)
{
	return (s->netns || !f->needs_netns) && (s->leases || !f->needs_leases) && rig->plan.voters >= f->needs_voters;
}

bool fault_strike(struct storm *s, const struct fault *f, struct blow *ret, void (*more)(struct storm *s, struct blow *b))
{
	struct blow b = { .fault = f, .quiet = s->leader != 0 };

	if (!f->begin(s, &b))
		return false;
	b.struck_ns = fault_now_ns();
	RIG_WAIT(f->proven(&b), "void: nothing shows that it happened: %s", f->name);
	if (more)
		more(s, &b);
	uint64_t past = (fault_now_ns() - b.begin_ns) / NS_PER_MS;
	if (past < b.lasts_ms)
		fault_nap_ms(b.lasts_ms - past);
	f->end(s, &b);
	b.end_ns = fault_now_ns();
	*ret = b;
	return true;
}
