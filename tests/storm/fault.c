/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fault.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../../lib/base.h"

#define SHORT_MS 300
#define LONG_MS 1300
#define CATCH_MS 300
#define START_MS 200    /* what a host needs to start, if nothing holds it up */
#define ELECTION_MS 600 /* a leader that is away for so long is one no more */

uint64_t fault_up_to(struct storm *s, uint64_t n)
{
	return random_next(&s->random) % (n + 1);
}

uint64_t fault_now_ns(void)
{
	return paxshm_deadline_ms(0);
}

static void nap_ms(uint64_t ms)
{
	struct timespec left = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

/* ---- whom ---- */

static unsigned set_of_all(void)
{
	return ((1u << rig->n) - 1) << 1;
}

static unsigned members(unsigned set)
{
	return (unsigned)__builtin_popcount(set);
}

/* A random member of a set that is not empty. */
static unsigned one_of(struct storm *s, unsigned set)
{
	unsigned skip = (unsigned)fault_up_to(s, members(set) - 1);

	while (skip--)
		set &= set - 1;
	return (unsigned)__builtin_ctz(set);
}

/* A host, every other time the leader. */
static unsigned some_host(struct storm *s)
{
	return s->leader && fault_up_to(s, 1) ? s->leader : one_of(s, set_of_all());
}

/* How long: mostly short; long enough that a leader is missed; with leases sometimes longer than those of hosts. */
static void choose_time(struct storm *s, struct blow *b)
{
	b->lasts_ms = (unsigned)fault_up_to(s, fault_up_to(s, 1) ? SHORT_MS : LONG_MS);
	if (b->leader)
		b->lasts_ms = MAX(b->lasts_ms, ELECTION_MS);
	if (s->leases && fault_up_to(s, 3) == 0)
		b->lasts_ms += s->host_lease_ms;
}

/* One host is not to be counted on, be it the leader or not. */
static void strikes(struct storm *s, struct blow *b, unsigned victim)
{
	b->victim = victim;
	b->sick = 1u << victim;
	b->leader = victim == s->leader;
}

static void now_begins(struct storm *s, struct blow *b)
{
	choose_time(s, b);
	b->begin_ns = fault_now_ns();
}

/* ---- links ---- */

static bool links_felt(struct blow *b)
{
	return cut_felt(&b->cut, b->felt_from, b->felt_to);
}

static void links_heal(struct storm *s, struct blow *b)
{
	(void)s;
	b->dropped = cut_end();
}

static bool cut_now(struct storm *s, struct blow *b, unsigned felt_from, unsigned felt_to)
{
	b->felt_from = felt_from;
	b->felt_to = felt_to;
	now_begins(s, b);
	cut_begin(&b->cut);
	return true;
}

static bool isolate(struct storm *s, struct blow *b)
{
	strikes(s, b, some_host(s));
	cut_between(&b->cut, b->sick);
	return cut_now(s, b, b->sick, b->sick);
}

static bool deafen(struct storm *s, struct blow *b)
{
	strikes(s, b, some_host(s));
	cut_deaf(&b->cut, b->victim);
	return cut_now(s, b, 0, b->sick);
}

static bool mute(struct storm *s, struct blow *b)
{
	strikes(s, b, some_host(s));
	cut_mute(&b->cut, b->victim);
	return cut_now(s, b, b->sick, 0);
}

/* The leader and one follower, who both hear all others. */
static bool part_leader_and_one(struct storm *s, struct blow *b)
{
	unsigned others = s->voting & ~(1u << s->leader);

	if (!s->leader || !others)
		return false;
	b->victim = one_of(s, others);
	b->sick = 1u << b->victim;
	cut_both(&b->cut, s->leader, b->victim);
	return cut_now(s, b, b->sick, b->sick);
}

/* A side that has the majority of voters, and one that has not. */
static bool halve(struct storm *s, struct blow *b)
{
	unsigned majority = 0, needed = rig->plan.voters / 2 + 1;

	if (members(s->voting) < needed)
		return false;
	while (members(majority) < needed)
		majority |= 1u << one_of(s, s->voting & ~majority);
	for (unsigned n = rig->plan.voters + 1; n <= rig->n; n++)
		majority |= fault_up_to(s, 1) ? 1u << n : 0;
	b->sick = set_of_all() & ~majority;
	b->leader = s->leader && (b->sick >> s->leader & 1);
	cut_between(&b->cut, b->sick);
	return cut_now(s, b, majority, b->sick);
}

/* Two halves that hear the voter between them and not each other. Only that one is sure to be with a leader. */
static bool bridge(struct storm *s, struct blow *b)
{
	unsigned hub = one_of(s, s->voting), left = 0;

	for (unsigned n = 1; n <= rig->n; n++)
		if (n != hub && fault_up_to(s, 1))
			left |= 1u << n;
	unsigned right = set_of_all() & ~left & ~(1u << hub);
	if (!left || !right)
		return false;
	b->victim = hub;
	for (unsigned x = 1; x <= rig->n; x++)
		for (unsigned y = 1; y <= rig->n; y++)
			if ((left >> x & 1) && (right >> y & 1))
				cut_both(&b->cut, x, y);
	b->sick = left | right;
	return cut_now(s, b, left, right);
}

static bool lose_some(struct storm *s, struct blow *b)
{
	b->victim = some_host(s);
	b->sick = 1u << b->victim;
	cut_between(&b->cut, b->sick);
	b->cut.percent = 10 + (unsigned)fault_up_to(s, 30);
	return cut_now(s, b, b->sick, b->sick);
}

/* ---- processes that stop ---- */

static void to_stop(struct blow *b, struct process p)
{
	cr_assert_lt(b->n_stopped, FAULT_GROUP);
	b->stopped[b->n_stopped++] = p;
}

static bool all_stopped(struct blow *b)
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

static void stop_now(struct storm *s, struct blow *b)
{
	now_begins(s, b);
	for (unsigned i = 0; i < b->n_stopped; i++)
		cr_assert(process_signal(&b->stopped[i], SIGSTOP));
	rig->host[b->victim].stopped = true;
}

static void all_go_on(struct storm *s, struct blow *b)
{
	(void)s;
	for (unsigned i = 0; i < b->n_stopped; i++)
		cr_assert(process_signal(&b->stopped[i], SIGCONT), "a stopped process is gone");
	for (unsigned i = 0; i < b->n_workers; i++)
		crew_resume(b->workers[i]);
	if (b->victim)
		rig->host[b->victim].stopped = false;
}

static bool stop_agent(struct storm *s, struct blow *b)
{
	strikes(s, b, some_host(s));
	to_stop(b, rig_agent(b->victim));
	stop_now(s, b);
	return true;
}

/* ---- leases that end ---- */

/* Its programs own something, and are going to own it when the lease ends. */
static bool cling_on(struct blow *b, unsigned host)
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
	b->lasts_ms = s->host_lease_ms + (unsigned)fault_up_to(s, 2 * ELECTION_MS);
}

/* Those who own something find out themselves, from their own clock, whether or not anybody is left to tell them. */
static void expect_suspended(const struct blow *b)
{
	for (unsigned n = 1; n <= rig->n; n++) {
		if (!(b->clinging >> n & 1))
			continue;
		RIG_WAIT(crew_broken() || rig_status(n).lease_until_ns <= fault_now_ns(), "void: the lease of host %u never ended", n);
		RIG_WAIT(crew_broken() || crew_suspensions(n) > b->suspensions[n], "the owners on host %u are told that its lease has ended", n);
	}
}

static void let_go(struct blow *b)
{
	for (unsigned n = 1; n <= rig->n; n++)
		if (b->clinging >> n & 1)
			crew_cling(n, false);
	b->clinging = 0;
}

static bool isolate_past_lease(struct storm *s, struct blow *b)
{
	strikes(s, b, some_host(s));
	if (!cling_on(b, b->victim))
		return false;
	cut_between(&b->cut, b->sick);
	cut_now(s, b, b->sick, b->sick);
	past_lease(s, b);
	return true;
}

/* Meanwhile everybody else has what its programs owned. */
static void heal_past_lease(struct storm *s, struct blow *b)
{
	expect_suspended(b);
	crew_mark();
	RIG_WAIT(crew_broken() || crew_full() || crew_others_did(b->victim, 2), "the locks of a host that is cut off come free");
	links_heal(s, b);
	let_go(b);
}

static bool stop_agent_past_lease(struct storm *s, struct blow *b)
{
	strikes(s, b, some_host(s));
	if (!cling_on(b, b->victim))
		return false;
	to_stop(b, rig_agent(b->victim));
	stop_now(s, b);
	past_lease(s, b);
	return true;
}

static void agent_goes_on_past_lease(struct storm *s, struct blow *b)
{
	expect_suspended(b);
	crew_mark();
	RIG_WAIT(crew_broken() || crew_full() || crew_others_did(b->victim, 2), "the locks of a host whose agent stands still come free");
	all_go_on(s, b);
	let_go(b);
}

/* Nobody is left who could declare anybody down: all are suspended, and all go on with what they own. */
static bool stop_all_agents(struct storm *s, struct blow *b)
{
	for (unsigned n = 1; n <= rig->n; n++)
		cling_on(b, n);
	if (!b->clinging)
		return false;
	b->sick = set_of_all();
	for (unsigned n = 1; n <= rig->n; n++) {
		to_stop(b, rig_agent(n));
		b->incarnation[n] = rig_status(n).incarnation;
	}
	stop_now(s, b);
	for (unsigned n = 1; n <= rig->n; n++)
		rig->host[n].stopped = true;
	past_lease(s, b);
	return true;
}

static void all_agents_go_on(struct storm *s, struct blow *b)
{
	uint64_t resumed = crew_resumptions();

	expect_suspended(b);
	all_go_on(s, b);
	for (unsigned n = 1; n <= rig->n; n++)
		rig->host[n].stopped = false;
	rig_settle(0);
	for (unsigned n = 1; n <= rig->n; n++)
		RIG_WAIT(rig_status(n).lease_until_ns > fault_now_ns(), "host %u has a lease again", n);
	for (unsigned n = 1; n <= rig->n; n++)
		cr_assert_eq(rig_status(n).incarnation, b->incarnation[n], "host %u was declared down, and nobody could", n);
	RIG_WAIT(crew_broken() || crew_resumptions() > resumed, "owners are told that they go on");
	let_go(b);
}

static bool stop_agent_and_keeper(struct storm *s, struct blow *b)
{
	strikes(s, b, some_host(s));
	to_stop(b, rig->host[b->victim].keeper);
	to_stop(b, rig_agent(b->victim));
	stop_now(s, b);
	return true;
}

static void pause_workers_of(struct blow *b, unsigned host)
{
	for (unsigned w = 0; w < crew_size(); w++)
		if (crew_host(w) == host && crew_pause(w))
			b->workers[b->n_workers++] = w;
}

/* As a virtual machine that is not run, or a machine that swaps. */
static bool freeze(struct storm *s, struct blow *b)
{
	stop_agent_and_keeper(s, b);
	pause_workers_of(b, b->victim);
	return true;
}

/* Probes are the measure of how the others fare: they are left alone. */
static unsigned some_program(struct storm *s)
{
	unsigned w;

	do
		w = (unsigned)fault_up_to(s, crew_size() - 1);
	while (crew_job(w) == CREW_PROBE);
	return w;
}

/* Stops a program in the midst of owning a lock, on one host or (0) any. None is there in time: false. */
static bool catch_owner(struct storm *s, struct blow *b, unsigned host)
{
	for (uint64_t until = fault_now_ns() + CATCH_MS * NS_PER_MS; fault_now_ns() < until; sched_yield()) {
		unsigned w = some_program(s);
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

static bool stop_programs(struct storm *s, struct blow *b)
{
	now_begins(s, b);
	if (fault_up_to(s, 1))
		catch_owner(s, b, 0);
	for (uint64_t n = 1 + fault_up_to(s, 2); n; n--) {
		unsigned w = some_program(s);

		if (crew_pause(w))
			b->workers[b->n_workers++] = w;
	}
	return b->n_workers > 0;
}

/* ---- processes that die ---- */

static bool gone(struct blow *b)
{
	for (unsigned i = 0; i < b->n_stopped; i++)
		if (process_alive(&b->stopped[i]))
			return false;
	return true;
}

static bool all_gone(struct blow *b)
{
	if (!gone(b))
		return false;
	for (unsigned i = 0; i < b->n_workers; i++)
		if (crew_process(b->workers[i]).pid)
			return false;
	return b->n_stopped + b->n_workers > 0;
}

static void start_workers(struct blow *b)
{
	for (unsigned i = 0; i < b->n_workers; i++)
		crew_start(b->workers[i]);
}

static void start_programs_again(struct storm *s, struct blow *b)
{
	(void)s;
	start_workers(b);
}

static bool kill_programs(struct storm *s, struct blow *b)
{
	now_begins(s, b);
	b->lasts_ms /= 4;
	for (uint64_t n = 1 + fault_up_to(s, 2); n && catch_owner(s, b, 0); n--)
		crew_kill(b->workers[b->n_workers - 1]);
	for (uint64_t n = fault_up_to(s, 3); n; n--) {
		unsigned w = some_program(s);

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
	return rig_runs(n) && !rig->host[n].stopped && rig_status(n).agent_starts >= rig->host[n].starts;
}

static bool kill_agent(struct storm *s, struct blow *b)
{
	unsigned n = some_host(s);

	if (!agent_serves(n) || !may_kill_agent(s, n))
		n = one_of(s, set_of_all());
	if (!agent_serves(n) || !may_kill_agent(s, n))
		return false;
	strikes(s, b, n);
	to_stop(b, rig_agent(n));
	if (fault_up_to(s, 1))
		catch_owner(s, b, n);
	now_begins(s, b);
	b->lasts_ms = 0;
	rig_kill_agent(n);
	return true;
}

static bool agent_gone(struct blow *b)
{
	return !process_alive(&b->stopped[0]);
}

/* Who owned a lock is stopped until the new agent has had time to do harm, and goes on as its owner. */
static void agent_is_back(struct storm *s, struct blow *b)
{
	rig_back(b->victim);
	cr_assert_neq(rig_agent(b->victim).pid, b->stopped[0].pid);
	if (b->n_workers)
		nap_ms(fault_up_to(s, SHORT_MS));
	for (unsigned i = 0; i < b->n_workers; i++)
		crew_resume(b->workers[i]);
}

/* SIGHUP: an agent with the configuration of now takes over. */
static bool reload(struct storm *s, struct blow *b)
{
	unsigned n = some_host(s);

	if (!agent_serves(n))
		return false;
	strikes(s, b, n);
	to_stop(b, rig_agent(n));
	if (fault_up_to(s, 1))
		catch_owner(s, b, n);
	now_begins(s, b);
	b->lasts_ms = 0;
	rig->host[n].starts++;
	cr_assert(process_signal(&rig->host[n].keeper, SIGHUP));
	RIG_WAIT(agent_gone(b), "SIGHUP replaces the agent");
	return true;
}

/* Not a fault: nobody but the two need notice. From quiet only: a leader that is not well may refuse. */
static bool move_leader(struct storm *s, struct blow *b)
{
	unsigned others = s->voting & ~(1u << s->leader), asked = one_of(s, set_of_all());
	char said[256], name[sizeof(rig->host[0].name)];

	if (!s->leader || !others)
		return false;
	b->victim = one_of(s, others);
	memcpy(name, rig->host[b->victim].name, sizeof(name));
	now_begins(s, b);
	b->lasts_ms = MIN(b->lasts_ms, SHORT_MS);
	if (rig_paxctl(said, asked, "leader", "move", name) != 0)
		return false;
	return true;
}

static bool leader_moved(struct blow *b)
{
	return rig_status(b->victim).leader_id == b->victim;
}

static void nothing_to_mend(struct storm *s, struct blow *b)
{
	(void)s, (void)b;
}

/* A host whose life may end: an observer, or a voter as long as the others can bear the loss of one more. */
static unsigned some_mortal(struct storm *s)
{
	unsigned mortal = set_of_all() & ~s->voting;

	if (members(s->voting) > rig->plan.voters / 2 + 2)
		mortal |= s->voting;
	return mortal ? one_of(s, mortal) : 0;
}

static void end_life(struct storm *s, struct blow *b)
{
	to_stop(b, rig->host[b->victim].keeper);
	to_stop(b, rig_agent(b->victim));
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
static void begin_life(struct storm *s, struct blow *b)
{
	rig_start_host(b->victim, true);
	forget_kills(s, b->victim);
	start_workers(b);
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
static bool kill_host(struct storm *s, struct blow *b)
{
	unsigned n = some_mortal(s);
	bool programs_first = fault_up_to(s, 1);

	if (!n)
		return false;
	strikes(s, b, n);
	catch_owner(s, b, n);
	now_begins(s, b);
	if (programs_first)
		kill_workers_of(b, n);
	end_life(s, b);
	if (!programs_first)
		kill_workers_of(b, n);
	return true;
}

/* Keeper and agent are gone, and the programs, stopped meanwhile, do not know. Nobody may be given what they own before its
 * lease has ended, or, without leases, before they have. */
static bool leave_programs_alone(struct storm *s, struct blow *b)
{
	unsigned n = some_mortal(s);

	if (!n)
		return false;
	strikes(s, b, n);
	catch_owner(s, b, n);
	now_begins(s, b);
	b->lasts_ms = s->leases ? s->host_lease_ms * 2 : b->lasts_ms / 2;
	pause_workers_of(b, n);
	end_life(s, b);
	return true;
}

static bool left_alone(struct blow *b)
{
	if (!gone(b))
		return false;
	for (unsigned i = 0; i < b->n_workers; i++) {
		struct process p = crew_process(b->workers[i]);

		if (process_state(&p) != 'T')
			return false;
	}
	return true;
}

/* The programs find out before the host is back, or after. With leases everybody else goes on before either. */
static void go_on_in_a_new_life(struct storm *s, struct blow *b)
{
	bool late = fault_up_to(s, 3) != 0;

	if (s->leases) {
		crew_mark();
		RIG_WAIT(crew_broken() || crew_full() || crew_each_did(2), "the locks of a host that is gone come free");
	}
	if (late) {
		rig_start_host(b->victim, true);
		nap_ms(START_MS + fault_up_to(s, SHORT_MS));
	}
	for (unsigned i = 0; i < b->n_workers; i++)
		crew_resume(b->workers[i]);
	if (!late)
		rig_start_host(b->victim, true);
	forget_kills(s, b->victim);
	rig_settle(b->victim);
}

/* The same, and the programs run: they find out while they own, or when they ask. */
static bool desert(struct storm *s, struct blow *b)
{
	unsigned n = some_mortal(s);

	if (!n || !cling_on(b, n))
		return false;
	strikes(s, b, n);
	now_begins(s, b);
	b->lasts_ms = 0; /* the end waits for what is to be seen */
	end_life(s, b);
	return true;
}

static void take_in_again(struct storm *s, struct blow *b)
{
	crew_mark();
	RIG_WAIT(crew_broken() || crew_full() || crew_others_did(b->victim, 2), "the locks of a host that is gone come free");
	if (fault_up_to(s, 1))
		let_go(b);
	rig_start_host(b->victim, true);
	forget_kills(s, b->victim);
	rig_settle(b->victim);
	let_go(b);
}

/* As an administrator ends a host; its programs run on, to open sessions in its next life. */
static bool stop_host(struct storm *s, struct blow *b)
{
	unsigned n = some_mortal(s);

	if (!n)
		return false;
	strikes(s, b, n);
	to_stop(b, rig->host[n].keeper);
	to_stop(b, rig_agent(n));
	if (fault_up_to(s, 1))
		catch_owner(s, b, n);
	now_begins(s, b);
	crew_life_ends(n);
	cr_assert_eq(rig_stop_host(n), 0, "host %u does not end as told", n);
	s->voting &= ~(1u << n);
	return true;
}

static void start_host_again(struct storm *s, struct blow *b)
{
	for (unsigned i = 0; i < b->n_workers; i++)
		crew_resume(b->workers[i]);
	rig_start_host(b->victim, true);
	forget_kills(s, b->victim);
	rig_settle(b->victim);
}

/* ---- all of them ---- */

const struct fault faults[] = {
	{ "a host is cut off", .needs_netns = true, .begin = isolate, .proven = links_felt, .end = links_heal },
	{ "a host hears nothing", .needs_netns = true, .begin = deafen, .proven = links_felt, .end = links_heal },
	{ "a host is not heard", .needs_netns = true, .begin = mute, .proven = links_felt, .end = links_heal },
	{ "leader and one follower", .needs_netns = true, .begin = part_leader_and_one, .proven = links_felt, .end = links_heal },
	{ "two halves", .needs_netns = true, .begin = halve, .proven = links_felt, .end = links_heal },
	{ "a bridge between halves", .needs_netns = true, .needs_voters = 5, .begin = bridge, .proven = links_felt, .end = links_heal },
	{ "packets get lost", .needs_netns = true, .begin = lose_some, .proven = links_felt, .end = links_heal },
	{ "agent stopped", .begin = stop_agent, .proven = all_stopped, .end = all_go_on },
	{ "keeper, agent stopped", .begin = stop_agent_and_keeper, .proven = all_stopped, .end = all_go_on },
	{ "a whole host stopped", .begin = freeze, .proven = all_stopped, .end = all_go_on },
	{ "programs stopped", .light = true, .begin = stop_programs, .proven = all_stopped, .end = all_go_on },
	{ "programs killed", .light = true, .begin = kill_programs, .proven = all_gone, .end = start_programs_again },
	{ "a host is cut off past its lease", .needs_netns = true, .needs_leases = true, .loses_locks = true, .begin = isolate_past_lease, .proven = links_felt, .end = heal_past_lease },
	{ "agent stopped past its lease", .needs_leases = true, .loses_locks = true, .begin = stop_agent_past_lease, .proven = all_stopped, .end = agent_goes_on_past_lease },
	{ "all agents stopped past leases", .needs_leases = true, .begin = stop_all_agents, .proven = all_stopped, .end = all_agents_go_on },
	{ "the leader moves", .begin = move_leader, .proven = leader_moved, .end = nothing_to_mend },
	{ "SIGHUP", .light = true, .begin = reload, .proven = agent_gone, .end = agent_is_back },
	{ "agent killed", .light = true, .begin = kill_agent, .proven = agent_gone, .end = agent_is_back },
	{ "a whole host killed", .ends_life = true, .begin = kill_host, .proven = all_gone, .end = begin_life },
	{ "a host gone, programs left", .ends_life = true, .loses_locks = true, .begin = leave_programs_alone, .proven = left_alone, .end = go_on_in_a_new_life },
	{ "a host gone, programs run", .ends_life = true, .needs_leases = true, .loses_locks = true, .begin = desert, .proven = gone, .end = take_in_again },
	{ "a host told to end", .ends_life = true, .begin = stop_host, .proven = gone, .end = start_host_again },
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
		nap_ms(b.lasts_ms - past);
	f->end(s, &b);
	b.end_ns = fault_now_ns();
	*ret = b;
	return true;
}
