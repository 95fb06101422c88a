/* SPDX-License-Identifier: Apache-2.0 */
/* Partitions: each agent in a network namespace of its own, and packets dropped on the way. Needs root, ip(8) and nft(8). */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../tools/paxcluster/net.h"
#include "counter.h"
#include "puppet.h"
#include "rig.h"

TestSuite(netns, .fini = rig_fini, .timeout = 100);

static bool runs(const char *const argv[])
{
	char said[512];

	return rig_run(said, sizeof(said), argv) == 0;
}

static void begin(void)
{
	if (geteuid() != 0)
		cr_skip_test("network namespaces need root");
	if (!runs((const char *const[]){ "ip", "netns", "list", NULL }) || !runs((const char *const[]){ "nft", "--version", NULL }))
		cr_skip_test("network namespaces need ip(8) of iproute2 and nft(8) of nftables");
	rig_start(&(struct rig_plan){ .voters = 3, .netns = true });
}

/* Runs nft(8) in the namespace of host n. */
static void nft(unsigned n, const char *rules)
{
	char said[512], tag[64];

	snprintf(tag, sizeof(tag), "%s-%u", rig->tag, n);
	int status = rig_run(said, sizeof(said), (const char *const[]){ "ip", "netns", "exec", tag, "nft", rules, NULL });
	cr_assert_eq(status, 0, "nft %s: %s", rules, said);
}

/* Host n hears nothing, or is not heard, or both. */
static void cut_off(unsigned n, bool deaf, bool mute)
{
	nft(n, "add table inet cut; add chain inet cut in { type filter hook input priority 0; }; "
	       "add chain inet cut out { type filter hook output priority 0; }");
	if (deaf)
		nft(n, "add rule inet cut in iifname \"eth0\" drop");
	if (mute)
		nft(n, "add rule inet cut out oifname \"eth0\" drop");
}

static void heal(unsigned n)
{
	nft(n, "delete table inet cut");
}

/* The one that is cut off waits or says so, the others go on; then all is as before. */
static void partition(unsigned minority, bool deaf, bool mute)
{
	unsigned a = minority % 3 + 1, b = a % 3 + 1;
	struct puppet *inside = puppet_new(minority), *waits = puppet_new(minority), *asks = puppet_new(minority),
		      *one = puppet_new(a), *two = puppet_new(b);
	struct order no_quorum = { .deed = DO_LOCK, .key = "asked", .no_quorum = PAXSHM_RETURN };
	struct answer before, after, third;

	cr_assert_eq(puppet_lock(inside, "mine").rc, 0);
	before = puppet_lock(one, "k");
	cr_assert_eq(before.rc, 0);
	cut_off(minority, deaf, mute);

	/* The majority goes on, with a new leader if need be; what the minority had is given on when its lease has ended. */
	cr_assert_eq(puppet_unlock(one, "k"), 0);
	after = puppet_lock(two, "k");
	cr_assert_eq(after.rc, 0);
	cr_assert_gt(after.grant.token, before.grant.token);
	puppet_queue(one, "mine");
	RIG_WAIT(!rig_status(minority).quorum);
	RIG_WAIT(puppet_check(inside, "mine") != 0);
	cr_assert(rig_status(a).quorum);
	cr_assert_eq(puppet_do(asks, &no_quorum).rc, -ENETUNREACH);
	puppet_queue(waits, "k");
	cr_assert_not(puppet_answered(waits));
	third = puppet_answer(one);
	cr_assert_eq(third.rc, 0);
	cr_assert(third.grant.flags & PAXSHM_OWNER_DIED);
	int known = puppet_check(inside, "mine");
	cr_assert(known == -ENETUNREACH || (!deaf && known == -ESTALE), "%d: who still hears may have heard that it is lost", known);
	cr_assert_eq(puppet_unlock(two, "k"), 0);
	after = puppet_lock(two, "k");
	cr_assert_eq(after.rc, 0);

	heal(minority);
	rig_settle(0);
	RIG_WAIT(puppet_check(inside, "mine") == -ESTALE);
	cr_assert_eq(puppet_unlock(inside, "mine"), -ESTALE);
	cr_assert_eq(puppet_unlock(one, "mine"), 0);
	RIG_WAIT(rig_waiting(b, "k") == 1);
	cr_assert_eq(puppet_unlock(two, "k"), 0);
	third = puppet_answer(waits);
	cr_assert_eq(third.rc, 0);
	cr_assert_gt(third.grant.token, after.grant.token);
	cr_assert_eq(puppet_do(asks, &no_quorum).rc, 0);
	puppet_free(inside), puppet_free(waits), puppet_free(asks), puppet_free(one), puppet_free(two);
	rig_same_tables();
}

Test(netns, a_majority_goes_on_and_a_minority_waits)
{
	begin();
	partition(rig_follower(0), true, true);
	partition(rig_leader(), true, true);
	rig_end();
}

Test(netns, a_host_that_is_cut_off_one_way)
{
	begin();
	partition(rig_leader(), true, false);
	partition(rig_leader(), false, true);
	rig_end();
}

Test(netns, partitions_under_load)
{
	begin();
	struct counter *c = counter_new("partitions");

	for (unsigned w = 0; w < 6; w++)
		counter_work(c, w, 1 + w % 3);
	counter_wait(c, 2, 1);
	for (unsigned turn = 0; turn < 4; turn++) {
		unsigned n = turn % 2 ? rig_leader() : 1 + turn % 3;

		cut_off(n, true, true);
		RIG_WAIT(!rig_status(n).quorum);
		heal(n);
		rig_settle(0);
		counter_wait(c, 2, 1);
	}
	counter_check(c);
	rig_end();
}
