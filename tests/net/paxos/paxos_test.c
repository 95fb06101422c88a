/* SPDX-License-Identifier: Apache-2.0 */
/* paxos: the cores together, on a network that does its worst (cluster.h says what is checked), and what
 * the step refuses to hear from peers. */
#include <criterion/criterion.h>

#include "cluster.h"
#include "core.h"

static struct core core;

static struct core *voter_of_three(void)
{
	struct paxos_config config = core_config(1, 3);

	core_start(&core, &config, NS_PER_S);
	return &core;
}

/* ---- many clusters ---- */

typedef const char *trial(const struct cluster_plan *plan, struct cluster_counts *counts);

static void repeat(trial *run, uint32_t voters, uint32_t observers, uint64_t n, struct cluster_counts *counts)
{
	for (uint64_t seed = 1; seed <= n; seed++) {
		struct cluster_plan plan = { .seed = seed, .voters = voters, .observers = observers };
		const char *wrong = run(&plan, counts);

		cr_assert(wrong == NULL, "seed %lu, %u voters, %u observers: %s", seed, voters, observers, wrong);
	}
}

/* An idle campaign would prove nothing. */
static void assert_busy(const struct cluster_counts *c)
{
	cr_expect_gt(c->lost, 0);
	cr_expect_gt(c->doubled, 0);
	cr_expect_gt(c->late, 0);
	cr_expect_gt(c->cuts, 0);
	cr_expect_gt(c->deaths_in_step, 0);
	cr_expect_gt(c->deaths_after_commit, 0);
	cr_expect_gt(c->rollbacks, 0);
	cr_expect_gt(c->elections, 0);
	cr_expect_gt(c->chosen, 0);
	cr_expect_gt(c->snapshots, 0);
	cr_expect_gt(c->fetched, 0);
	cr_expect_gt(c->pauses, 0);
}

static void assert_leaders_come_and_go(const struct cluster_counts *c)
{
	cr_expect_gt(c->deposed, 0);
	cr_expect_gt(c->expired, 0);
	cr_expect_gt(c->moves, 0);
	cr_expect_gt(c->calls, 0);
	cr_expect_gt(c->changes, 0);
}

Test(paxos, three_voters_agree_whatever_happens)
{
	struct cluster_counts counts = { 0 };

	repeat(cluster_run, 3, 0, 250, &counts);
	repeat(cluster_run, 3, 2, 250, &counts);
	assert_busy(&counts);
	cr_expect_gt(counts.early, 0);
	cr_expect_gt(counts.noops, 0);
	assert_leaders_come_and_go(&counts);
	cr_expect_gt(counts.beyond_gap, 0);
	cr_expect_gt(counts.memories_lost, 0);
}

Test(paxos, five_voters_agree_whatever_happens)
{
	struct cluster_counts counts = { 0 };

	repeat(cluster_run, 5, 1, 200, &counts);
	assert_busy(&counts);
	cr_expect_gt(counts.noops, 0);
	assert_leaders_come_and_go(&counts);
	cr_expect_gt(counts.beyond_gap, 0);
	cr_expect_gt(counts.memories_lost, 0);
}

Test(paxos, seven_voters_agree_whatever_happens)
{
	struct cluster_counts counts = { 0 };

	repeat(cluster_run, 7, 0, 50, &counts);
	assert_busy(&counts);
}

Test(paxos, one_voter_and_its_observers_agree_whatever_happens)
{
	struct cluster_counts counts = { 0 };

	repeat(cluster_run, 1, 2, 100, &counts);
	assert_busy(&counts);
}

/* Row 20: a host that can send and not receive, or a bridge of five, deposes leaders for ever. */
Test(paxos, trap_20_a_bridge_of_five_gets_one_leader)
{
	struct cluster_counts counts = { 0 };

	repeat(cluster_bridge, 5, 0, 100, &counts);
	cr_assert_eq(counts.changes, 100, "each time the bridge, and no other");
}

Test(paxos, trap_20_a_host_that_only_hears_or_is_only_heard_deposes_nobody)
{
	struct cluster_counts counts = { 0 };

	repeat(cluster_one_way, 3, 0, 100, &counts);
	repeat(cluster_one_way, 5, 1, 100, &counts);
	cr_expect_gt(counts.changes, 0);
}

static int order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

typedef const char *failover_trial(const struct cluster_plan *plan, struct cluster_counts *counts, uint64_t *ret_ns);

/* Simulated time: the same on every machine. Bounds in tenths of a lease. */
static void assert_quick_failover(failover_trial *trial, uint32_t voters, uint64_t p99, uint64_t most)
{
	struct cluster_counts counts = { 0 };
	uint64_t took[500] = { 0 };

	for (uint64_t seed = 1; seed <= ARRAY_LEN(took); seed++) {
		struct cluster_plan plan = { .seed = seed, .voters = voters };
		const char *wrong = trial(&plan, &counts, &took[seed - 1]);

		cr_assert(wrong == NULL, "seed %lu, %u voters: %s", seed, voters, wrong);
	}
	qsort(took, ARRAY_LEN(took), sizeof(took[0]), order);
	cr_log_info("%u voters: %.2f leases at p50, %.2f at p99, %.2f at most", voters, (double)took[250] / CORE_LEASE,
		    (double)took[495] / CORE_LEASE, (double)took[499] / CORE_LEASE);
	cr_assert_leq(took[495], CORE_LEASE * p99 / 10, "%u voters: %.2f leases", voters, (double)took[495] / CORE_LEASE);
	cr_assert_leq(took[499], CORE_LEASE * most / 10, "%u voters: %.2f leases", voters, (double)took[499] / CORE_LEASE);
}

Test(paxos, a_dead_leader_is_followed_within_two_leases)
{
	assert_quick_failover(cluster_failover, 3, 16, 20);
	assert_quick_failover(cluster_failover, 5, 16, 20);
}

/* A quarter of a lease later than one that died. */
Test(paxos, a_leader_that_hears_nobody_is_followed_within_two_leases)
{
	assert_quick_failover(cluster_deaf_failover, 3, 20, 21);
	assert_quick_failover(cluster_deaf_failover, 5, 20, 21);
}

/* ---- what the step makes of its caller and of nonsense ---- */

/* Nothing but time went by. */
static void assert_unmoved(const struct core *c, uint64_t promised, const char *what)
{
	cr_assert_eq(c->memory->promised, promised, "%s", what);
	cr_assert_eq(c->memory->chosen, 0, "%s", what);
	cr_assert_str_eq(core_text(c, 1), "-", "%s", what);
	cr_assert_eq(c->out.n_sends, 0, "%s", what);
	cr_assert_eq(c->p.leader, 0, "%s", what);
}

Test(paxos, strangers_are_not_heard_where_only_voters_may_speak)
{
	struct core *c = voter_of_three();

	core_hear(c, 9, PREVOTE(BALLOT(5, 9), 0));
	assert_unmoved(c, 0, "prevote");
	core_hear(c, 9, PREPARE(BALLOT(5, 9), 0));
	assert_unmoved(c, 0, "prepare");
	core_hear(c, 9, ACCEPT(BALLOT(5, 9), 1, "a"));
	assert_unmoved(c, 0, "accept");
	core_hear(c, 9, BEAT(BALLOT(5, 9), 0));
	assert_unmoved(c, 0, "beat");
	core_hear(c, 9, ACCEPT(BALLOT(5, 2), 1, "a"));
	assert_unmoved(c, 0, "accept of a voter's ballot");
	core_hear(c, 9, MOVE(BALLOT(5, 9), 0, 1));
	assert_unmoved(c, 0, "move");
}

Test(paxos, strangers_are_not_counted)
{
	struct core *c = voter_of_three();

	core_win(c);
	core_hear(c, 9, ACCEPTED(c->p.ballot, 1));
	core_hear(c, 9, BEATEN(c->p.ballot, c->now));
	core_hear(c, 9, REFUSED(c->p.ballot, BALLOT(50, 2), 0));
	cr_assert_eq(c->memory->chosen, 0);
	cr_assert_eq(c->p.role, PAXOS_LEADING);
}

Test(paxos, a_ballot_is_believed_only_of_its_own_host)
{
	struct core *c = voter_of_three();

	core_hear(c, 3, PREPARE(BALLOT(5, 2), 0));
	assert_unmoved(c, 0, "prepare");
	core_hear(c, 3, ACCEPT(BALLOT(5, 2), 1, "a"));
	assert_unmoved(c, 0, "accept");
	core_hear(c, 3, BEAT(BALLOT(5, 2), 0));
	assert_unmoved(c, 0, "beat");
	core_hear(c, 3, MOVE(BALLOT(5, 2), 0, 1));
	assert_unmoved(c, 0, "move");
}

Test(paxos, nonsense_changes_nothing)
{
	struct core *c = voter_of_three();
	const uint64_t b = BALLOT(5, 2);
	struct paxos_entry entry = *ENTRY(1, b, "a");
	struct paxos_message m = { .kind = PAXOS_ACCEPT, .ballot = b, .n_entries = 1, .entries = &entry };

	core_hear(c, 2, (struct paxos_message){ .kind = 0, .ballot = b });
	assert_unmoved(c, 0, "kind 0");
	core_hear(c, 2, (struct paxos_message){ .kind = 200, .ballot = b });
	assert_unmoved(c, 0, "kind 200");
	core_hear(c, 2, (struct paxos_message){ .kind = PAXOS_ACCEPT, .ballot = b });
	assert_unmoved(c, 0, "no entry");
	core_hear(c, 2, (struct paxos_message){ .kind = PAXOS_BEAT, .ballot = b, .n_entries = 1, .entries = &entry });
	assert_unmoved(c, 0, "an entry too many");
	entry.len = c->config.value_max + 1;
	core_hear(c, 2, m);
	assert_unmoved(c, 0, "value too long");
	entry = *ENTRY(0, b, "a");
	core_hear(c, 2, m);
	assert_unmoved(c, 0, "slot 0");
	entry = *ENTRY(UINT64_MAX, b, "a");
	core_hear(c, 2, m);
	assert_unmoved(c, 0, "the last slot there is");
	entry = *ENTRY(1, b, "a");
	entry.kind = 77;
	core_hear(c, 2, m);
	assert_unmoved(c, 0, "kind of value");
	core_hear(c, 2, PREPARE(UINT64_MAX << 16 | 2, 0));
	assert_unmoved(c, 0, "a ballot that leaves no higher one");
	core_hear(c, 2, PREPARE(2, 0));
	assert_unmoved(c, 0, "round 0");
	entry = *ENTRY(1, b, "a");
	entry.kind = PAXOS_NOOP;
	core_hear(c, 2, m);
	assert_unmoved(c, 0, "a NOOP that says something");
	entry.kind = PAXOS_LEADS;
	core_hear(c, 2, m);
	assert_unmoved(c, 0, "a LEADS without its ballot");
}

Test(paxos, who_names_no_life_is_not_heard_where_one_counts)
{
	struct core *c = voter_of_three();
	const uint64_t b = BALLOT(5, 2);

	core_hear(c, 2, (struct paxos_message){ .kind = PAXOS_PREVOTE, .ballot = b });
	assert_unmoved(c, 0, "prevote");
	core_hear(c, 2, (struct paxos_message){ .kind = PAXOS_PREPARE, .ballot = b });
	assert_unmoved(c, 0, "prepare");
	core_hear(c, 2, (struct paxos_message){ .kind = PAXOS_BEAT, .ballot = b });
	assert_unmoved(c, 0, "beat");
}

Test(paxos, the_caller_is_told_when_to_come_again)
{
	struct core *c = voter_of_three();

	core_wait(c, 0);
	cr_assert_eq(c->out.wake_at_ns, c->p.election_at_ns);
	core_win(c);
	cr_assert_eq(c->out.wake_at_ns, c->now + CORE_HEARTBEAT);
}

Test(paxos, a_change_of_leader_or_of_its_ballot_is_told_once)
{
	struct core *c = voter_of_three();

	core_hear(c, 2, BEAT(BALLOT(3, 2), 0));
	cr_assert(c->out.leader_changed);
	core_hear(c, 2, BEAT(BALLOT(3, 2), 0));
	cr_assert_not(c->out.leader_changed);
	core_hear(c, 2, BEAT(BALLOT(4, 2), 0));
	cr_assert(c->out.leader_changed, "it is another life of that host: what it was told is lost");
	core_wait(c, 2 * CORE_LEASE);
	cr_assert(c->out.leader_changed);
	cr_assert_eq(c->p.leader, 0);
}

/* Row 32: a restarted agent uses its old ballot again, with other values. */
Test(paxos, trap_32_a_new_life_never_leads_in_an_old_ballot)
{
	struct core *c = voter_of_three();
	uint64_t ballot;

	core_lead(c);
	core_propose(c, "old");
	ballot = c->p.ballot;
	core_restart(c, true);
	cr_assert_eq(c->p.role, PAXOS_FOLLOWER);
	core_win(c);
	cr_assert_gt(c->p.ballot, ballot);
	cr_assert_str_eq(core_text(c, 2), "old", "what it had accepted is proposed again");
}
