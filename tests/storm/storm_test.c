/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The campaign: real agents and programs on all hosts, struck by every kind of fault in random order; what the
 * programs saw is judged afterwards.
 *
 *	STORM_SEED=n      the same faults in the same order (what the machine makes of them differs)
 *	STORM_SECONDS=n   each test for at least so long; every kind of fault happens at least once in any case
 *	STORM_ONLY=text   of kinds that come one after the other only those with this in their name
 *	STORM_TIMES=file  lines are added: what was measured, a tab, milliseconds
 *
 * Partitions need root, ip(8) and nft(8); without them the agents run on loopback, and only processes are struck.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "../cluster/rig.h"
#include "crew.h"
#include "fault.h"
#include "history.h"
#include "tally.h"

/* No time-out of Criterion's: how long a storm takes is a setting. What it waits for has an end, and then there is alarm(2). */
TestSuite(storm, .fini = rig_fini);

/* Whether locks come free by the end of a host's lease. Without that, a host that is gone keeps its locks until it is back. */
#define LEASES true

#define SECONDS 20u
#define HOST_LEASE_MS 1000u
#define ROOM ((size_t)4 << 20) /* turns; taken as they are used */
#define RATE 200u              /* operations a second: slower, and the run says nothing */
#define EACH_AFTERWARDS 5      /* grants to every program once all is made good */
#define ROUNDS 20              /* to make up for kinds that never came off */
#define WATCHDOG_S 400u

static struct storm storm;
static struct tally tally;

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *value = getenv(name);

	return value && *value ? strtoull(value, NULL, 0) : otherwise;
}

static uint64_t some_seed(void)
{
	uint32_t random = 0;

	cr_assert_eq(getrandom(&random, sizeof(random), 0), sizeof(random));
	return random;
}

static bool runs(const char *const argv[])
{
	char said[512];

	return rig_run(said, sizeof(said), argv) == 0;
}

static const char *why_no_netns(void)
{
	if (geteuid() != 0)
		return "not root";
	if (!runs((const char *const[]){ "ip", "netns", "list", NULL }))
		return "no ip(8) that knows namespaces";
	if (!runs((const char *const[]){ "nft", "--version", NULL }))
		return "no nft(8)";
	return NULL;
}

/* ---- the course of a storm ---- */

static void expect_whole(void)
{
	cr_assert_null(crew_broken(), "%s", crew_broken());
}

static void keep(const struct blow *b)
{
	cr_assert_lt(tally.n_blows, TALLY_BLOWS);
	tally.blows[tally.n_blows++] = *b;
	expect_whole();
}

static const struct fault *some_light_fault(struct storm *s)
{
	const struct fault *f;

	do
		f = &faults[fault_up_to(s, n_faults - 1)];
	while (!f->light);
	return f;
}

/* Every third time one comes on top of another. */
static void on_top(struct storm *s, struct blow *below)
{
	const struct fault *f = some_light_fault(s);
	struct blow b;

	if (fault_up_to(s, 2) || f == below->fault || !fault_strike(s, f, &b, NULL))
		return;
	below->topped = true;
	b.sick |= below->sick;
	b.quiet = below->quiet;
	b.topped = true;
	keep(&b);
}

/* Programs die more often than machines: between two blows there are others. */
static void in_between(struct storm *s)
{
	struct blow b;

	storm.leader = 0;
	for (uint64_t n = fault_up_to(s, 2); n; n--)
		if (fault_strike(s, some_light_fault(s), &b, NULL))
			keep(&b);
}

/* Mostly from quiet: all hosts are served, and it is known who leads. */
static void between_blows(void)
{
	storm.leader = 0;
	if (fault_up_to(&storm, 3) == 0)
		return;
	rig_settle(0);
	crew_mark();
	RIG_WAIT(crew_broken() || crew_full() || crew_probes_did(2), "every host is served again");
	storm.leader = rig_leader();
	usleep((useconds_t)fault_up_to(&storm, 200) * 1000);
}

/* To happen in this storm. */
static bool wanted(unsigned kind)
{
	const char *only = getenv("STORM_ONLY");

	return fault_possible(&storm, &faults[kind]) && (!only || strstr(faults[kind].name, only));
}

static bool seen(unsigned kind)
{
	for (unsigned i = 0; i < tally.n_blows; i++)
		if (tally.blows[i].fault == &faults[kind])
			return true;
	return false;
}

/* There is room for more turns, and for the blows of a round. */
static bool room_left(void)
{
	return !crew_full() && tally.n_blows + 8 * FAULT_GROUP < TALLY_BLOWS;
}

/* All kinds once, in random order, but for those that did not come off; or those alone that never happened so far. */
static void one_round(uint64_t until_ns, bool only_new)
{
	unsigned order[FAULT_GROUP], n = 0;
	struct blow b;

	for (unsigned i = 0; i < n_faults; i++)
		if (wanted(i) && !(only_new && seen(i)))
			order[n++] = i;
	for (; n && room_left() && fault_now_ns() < until_ns; n--) {
		unsigned at = (unsigned)fault_up_to(&storm, n - 1), kind = order[at];

		order[at] = order[n - 1];
		between_blows();
		if (fault_strike(&storm, &faults[kind], &b, on_top))
			keep(&b);
		in_between(&storm);
	}
}

/* The name of one that never happened, or NULL. */
static const char *kind_missing(void)
{
	for (unsigned i = 0; i < n_faults; i++)
		if (wanted(i) && !seen(i))
			return faults[i].name;
	return NULL;
}

/* When a majority is healthy and connected, every operation finishes. */
static void expect_all_to_finish(void)
{
	rig_settle(0);
	crew_mark();
	RIG_WAIT(crew_broken() || crew_full() || crew_each_did(EACH_AFTERWARDS), "every program goes on");
	expect_whole();
	crew_end();
	expect_whole();
}

static bool is_empty(unsigned n)
{
	struct paxshm_lock_info info = PAXSHM_INIT(info);
	uint32_t cursor = 0;
	int rc;

	while ((rc = paxshm_next_lock(rig_watch(n), &cursor, &info)) == 1)
		if (info.owner.host_id || info.waiting)
			return false;
	return rc == 0;
}

/* All programs have ended, so nothing is owned or waited for, and no session is left. */
static void expect_no_orphans(void)
{
	for (unsigned n = 1; n <= rig->n; n++) {
		RIG_WAIT(is_empty(n), "host %u: a lock is owned, and nobody is there", n);
		RIG_WAIT(rig_status(n).sessions == 1, "host %u: a session is left", n);
	}
}

/* ---- the verdict ---- */

static void append(FILE *file, const char *what, const struct tally_times *times)
{
	for (unsigned i = 0; i < times->n; i++)
		fprintf(file, "%s\t%llu\n", what, (unsigned long long)(times->ns[i] / NS_PER_MS));
}

static void save_times(void)
{
	const char *path = getenv("STORM_TIMES");
	FILE *file = path && *path ? fopen(path, "ae") : NULL;

	if (!file)
		return;
	for (unsigned k = 0; k < n_faults; k++) {
		char what[96];

		snprintf(what, sizeof(what), "leader lost: %s", faults[k].name);
		append(file, what, &tally.kinds[k].failovers);
		snprintf(what, sizeof(what), "waited: %s", faults[k].name);
		append(file, what, &tally.kinds[k].waits);
	}
	append(file, "locks freed", &tally.freed);
	fclose(file);
}

static void judge(uint64_t took_ns)
{
	char words[1024];
	size_t n;
	struct history_turn *turns = crew_history(&n);

	tally_count(&tally, turns, n);
	struct history_verdict v = history_judge(turns, n, LEASES);
	tally_count_freed(&tally, turns, v.granted);
	tally_print(&tally, &storm);
	save_times();
	tally_free(&tally);
	size_t rate = v.operations * NS_PER_S / took_ns;

	fprintf(stderr, "storm: %zu operations, %zu a second; %zu grants, %zu refusals, %zu outcomes unknown, %zu owners killed, %zu locks lost, %llu suspended, %llu of them resumed\n",
		v.operations, rate, v.granted, v.refused, v.unknown, v.killed_owners, v.lost,
		(unsigned long long)crew_suspensions(0), (unsigned long long)crew_resumptions());
	for (unsigned fault = 0; fault < HISTORY_FAULTS; fault++)
		if (v.faults[fault] && history_describe(&v, fault, words, sizeof(words)) > 0)
			fprintf(stderr, "storm: %s\n", words);
	fprintf(stderr, "storm: the history is %s\n", v.sound ? "sound" : "NOT SOUND");
	cr_assert(v.sound);
	cr_assert_geq(rate, RATE, "void: too few operations");
	cr_assert_gt(v.killed_owners, 0, "void: no owner was killed");
}

static void blow_over(unsigned voters, unsigned observers)
{
	const char *no_netns = why_no_netns();
	uint64_t seed = from_environment("STORM_SEED", some_seed()), seconds = from_environment("STORM_SECONDS", SECONDS), begin;
	char settings[96], said[512] = "";

	alarm((unsigned)seconds + WATCHDOG_S);
	snprintf(settings, sizeof(settings), "host_lease_ms = %u\n", HOST_LEASE_MS);
	storm = (struct storm){ .random = seed, .netns = !no_netns, .leases = LEASES, .host_lease_ms = HOST_LEASE_MS, .voting = ((1u << voters) - 1) << 1 };
	rig_start(&(struct rig_plan){ .voters = voters, .observers = observers, .netns = !no_netns, .settings = settings });
	if (!no_netns && !cut_possible(said, sizeof(said)))
		no_netns = said, storm.netns = false;
	fprintf(stderr, "storm: %u voters, %u observers, seed %llu; %s%s\n", voters, observers, (unsigned long long)seed,
		no_netns ? "links are not cut, only processes struck: " : "in network namespaces", no_netns ? no_netns : "");

	crew_begin(ROOM, LEASES, seed);
	for (unsigned n = 1; n <= rig->n; n++) {
		crew_hire(n, CREW_PROBE);
		crew_hire(n, CREW_COLD);
		crew_hire(n, CREW_HOT);
		crew_hire(n, CREW_HOT);
	}
	RIG_WAIT(crew_broken() || crew_each_did(EACH_AFTERWARDS), "every program begins");
	begin = fault_now_ns();
	while (room_left() && fault_now_ns() < begin + seconds * NS_PER_S)
		one_round(begin + seconds * NS_PER_S, false);
	for (unsigned turn = 0; turn < ROUNDS && kind_missing(); turn++)
		one_round(NEVER, true);
	expect_all_to_finish();
	uint64_t took = fault_now_ns() - begin;
	expect_no_orphans();
	judge(took);
	cr_assert_null(kind_missing(), "void: never happened: %s", kind_missing());
	rig_end();
}

Test(storm, three_voters_and_an_observer)
{
	blow_over(3, 1);
}

Test(storm, five_voters_and_an_observer)
{
	blow_over(5, 1);
}
