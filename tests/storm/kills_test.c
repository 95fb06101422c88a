/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The storm of kills: sixteen processes on three agents take locks from each other as fast as they can and are killed at
 * whatever instruction they are; others take their places at once. Some are stopped for a while, and now and then an
 * agent is killed. Every acquisition is judged where it happens (witness.h), the last turns of all by their history.
 *
 *	KILLS=n        so many kills
 *	KILLS_SEED=n   the same choice at the same strike (what the machine makes of it differs, and so who is hit)
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "../cluster/rig.h"
#include "rivals.h"

static void fini(void);

/* No time-out of Criterion's: how long it takes is a setting. Whatever it waits for has an end, and then there is alarm(2). */
TestSuite(kills, .fini = fini);

#define KILLS 2000u
#define WARM_UP 20  /* grants to every rival before the first kill */
#define BURST 4     /* so many may die before the first is replaced */
#define CHAPTER 500 /* kills; then all rest, and the history is judged */
#define CATCH_NS (3 * NS_PER_MS)
#define STOP_EVERY 40       /* kills */
#define AGENT_EVERY 100     /* kills */
#define AGENT_AGAIN_MS 3000 /* five deaths in ten seconds, and a keeper drops what its agent knew */
#define HOST_LEASE_MS 10000 /* no lease ends here, so nothing may be lost or suspended */
#define STUCK_MS 15000      /* all sixteen one after the other, some of them stopped, and an agent's death, take less */
#define SESSIONS 64         /* a host has room for: a few dozen that are left of the dead, and nobody gets in any more */
#define WATCHDOG_S 120
#define ON_PURPOSE 3 /* grants that prove that one has gone on: two may have been under way */

static struct {
	uint64_t seed, random, strikes;
	unsigned kills, killed, deeds[RIVALS_DEEDS], by_exec;
	unsigned stops, stopped_owners, went_on, waited_for_stopped, agents;
	unsigned out; /* host whose agent was killed, and does not serve yet; 0: none */
	uint64_t out_ns, killed_ns[RIVAL_HOSTS + 1];
	unsigned next_stop, next_agent, next_chapter;
	size_t judged, faults;
	unsigned descriptors[RIVAL_HOSTS + 1];
	bool began, passed;
} storm;

static void fini(void)
{
	if (storm.began && !storm.passed) {
		fprintf(stderr, "kills: FAILED after %u kills; the same choices again: make kills KILLS=%u KILLS_SEED=%llu\n", storm.killed,
			storm.kills, (unsigned long long)storm.seed);
		if (rivals && *rivals->words)
			fprintf(stderr, "kills: first of all: %s\n", rivals->words);
		if (rivals)
			rivals_show();
	}
	rig_fini();
}

static uint64_t up_to(uint64_t n)
{
	return random_next(&storm.random) % (n + 1);
}

/* Each strike draws from a stream of its own: what the machine makes of one, and how often it therefore chose anew, does not change the next. */
static void draw_anew(void)
{
	storm.random = hash_mix(storm.seed + ++storm.strikes);
}

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

/* ---- what must hold at any time ---- */

static void expect_nobody_stuck(void)
{
	uint64_t now = rival_now_ns();

	for (unsigned i = 0; i < RIVALS; i++)
		for (unsigned p = 0; p < RIVAL_PLAYS; p++) {
			const struct rival_play *play = &rivals->seat[i].play[p];
			uint64_t since = __atomic_load_n(&play->since_ns, __ATOMIC_ACQUIRE);

			if (__atomic_load_n(&play->phase, __ATOMIC_ACQUIRE) == RIVAL_ASKING && witness_stuck(since, now, STUCK_MS * NS_PER_MS) &&
			    __atomic_load_n(&play->since_ns, __ATOMIC_ACQUIRE) == since)
				rival_note(rivals, 1u << WITNESS_STUCK, "seat %u, life %u, waits for lock %u since %llu ms; life %u is inside", i,
					   rivals->seat[i].life, play->lock, (unsigned long long)((now - since) / NS_PER_MS),
					   rivals->lock[play->lock].inside);
		}
}

static void expect_whole(void)
{
	expect_nobody_stuck();
	cr_assert_not(__atomic_load_n(&rivals->said, __ATOMIC_ACQUIRE), "%s", rivals->words);
	alarm(WATCHDOG_S);
}

#define WAIT(condition, ...) RIG_WAIT((expect_whole(), (condition)), __VA_ARGS__)

static bool all_serve(void)
{
	for (unsigned n = 1; n <= rig->n; n++)
		if (!rig_serves(n) || !rig_status(n).quorum)
			return false;
	return true;
}

/* ---- kills ---- */

static void spin_ns(uint64_t ns)
{
	for (uint64_t until = rival_now_ns() + ns; rival_now_ns() < until;)
		;
}

/* As often some nanoseconds as some hundred microseconds. */
static uint64_t some_delay_ns(uint64_t most_bits)
{
	return up_to((uint64_t)1 << up_to(most_bits));
}

/* Mostly one that has had a lock already: else many would die young. */
static unsigned some_seat(void)
{
	unsigned seat = (unsigned)up_to(RIVALS - 1);

	for (unsigned tries = up_to(7) ? 4 * RIVALS : 0; tries && !rivals_is_at_work(seat); tries--, sched_yield())
		seat = (unsigned)up_to(RIVALS - 1);
	return seat;
}

static bool is_in(unsigned seat, enum rival_phase phase)
{
	const struct rival_play *play = rivals->seat[seat].play;

	for (unsigned p = 0; p < RIVAL_PLAYS; p++)
		if (__atomic_load_n(&play[p].phase, __ATOMIC_ACQUIRE) == phase)
			return true;
	return false;
}

/* One that comes into a phase while we look; RIVALS: none does. It runs just now, so what hits it hits it in motion. */
static unsigned caught_in(enum rival_phase phase)
{
	bool was[RIVALS];

	for (unsigned i = 0; i < RIVALS; i++)
		was[i] = is_in(i, phase);
	for (uint64_t until = rival_now_ns() + CATCH_NS; rival_now_ns() < until;)
		for (unsigned i = 0; i < RIVALS; i++) {
			bool is = is_in(i, phase);

			if (is && !was[i] && !rivals_stopped(i))
				return i;
			was[i] = is;
		}
	return RIVALS;
}

/* An owner of a hot lock, and how many wait for it then is the storm's. It keeps it for us, else most would be rid of it when the blow
 * falls; what a lock consists of does not change while it is owned. */
static unsigned caught_owner(void)
{
	unsigned lock = (unsigned)up_to(RIVAL_HOT - 1), seat = RIVALS;

	__atomic_store_n(&rivals->linger, lock + 1, __ATOMIC_RELEASE);
	for (uint64_t until = rival_now_ns() + CATCH_NS; seat == RIVALS && rival_now_ns() < until;)
		seat = rivals_inside(lock);
	return seat < RIVALS && !rivals_stopped(seat) ? seat : RIVALS;
}

static void let_go(void) { __atomic_store_n(&rivals->linger, 0, __ATOMIC_RELEASE); }

/* Some anywhere, more in the midst of taking, owning or giving back. When the blow falls it may be past that:
 * the order comes from another processor, and takes its time. */
static unsigned some_victim(void)
{
	unsigned seat = RIVALS;

	switch (up_to(7)) {
	case 0: seat = caught_in(RIVAL_ASKING); break;
	case 1: seat = caught_in(RIVAL_RELEASING); break;
	case 2:
	case 3:
	case 4: seat = caught_owner(); break;
	}
	if (seat < RIVALS) {
		spin_ns(some_delay_ns(13));
		return seat;
	}
	seat = some_seat();
	spin_ns(some_delay_ns(20));
	return seat;
}

static void replace(const bool *dead)
{
	for (unsigned i = 0; i < RIVALS; i++) {
		if (!dead[i])
			continue;
		bool by_exec = up_to(1);

		storm.deeds[rivals_bury(i)]++;
		rivals_start(i, by_exec);
		storm.by_exec += by_exec;
		storm.killed++;
	}
}

/* Kills up to `most`, none of them stopped, and others take their places. */
static void strike(unsigned most)
{
	bool dead[RIVALS] = { false };

	draw_anew();
	for (unsigned n = 1 + (up_to(3) ? 0 : (unsigned)up_to(most - 1)); n; n--) {
		unsigned seat = some_victim();

		if (dead[seat] || rivals_stopped(seat))
			continue;
		rivals_doom(seat);
		dead[seat] = true;
		let_go();
	}
	let_go();
	replace(dead);
}

/* ---- stops ---- */

/* Every one has gone on, or waits for a lock of the one that stands still. */
static bool others_went_on(unsigned still, const uint64_t *marks, unsigned *ret_on, unsigned *ret_waiting)
{
	unsigned on = 0, waiting = 0;

	for (unsigned i = 0; i < RIVALS; i++) {
		if (i == still)
			continue;
		if (__atomic_load_n(&rivals->seat[i].granted, __ATOMIC_ACQUIRE) >= marks[i] + ON_PURPOSE)
			on++;
		else if (rival_may_wait(rivals->seat[i].play, rivals->seat[still].play))
			waiting++;
	}
	*ret_on = on;
	*ret_waiting = waiting;
	return on + waiting == RIVALS - 1;
}

/* One is stopped wherever it is; meanwhile others are killed, and those that do not wait for it go on. Then it goes on, or is
 * killed as it stands. */
static void stop_one(void)
{
	unsigned seat = up_to(1) ? caught_owner() : some_seat(), on = 0, waiting = 0;
	uint64_t marks[RIVALS];
	bool dead[RIVALS] = { false }, owner = false;

	if (seat == RIVALS) {
		let_go();
		return;
	}
	rivals_disturb(true);
	rivals_stop(seat);
	let_go();
	for (unsigned p = 0; p < RIVAL_PLAYS; p++)
		owner |= rivals->seat[seat].play[p].phase == RIVAL_OWNING;
	for (uint64_t n = up_to(2); n; n--)
		strike(2);
	for (unsigned i = 0; i < RIVALS; i++)
		marks[i] = __atomic_load_n(&rivals->seat[i].granted, __ATOMIC_ACQUIRE);
	usleep((useconds_t)up_to(20000));
	WAIT(others_went_on(seat, marks, &on, &waiting), "those who do not wait for the stopped one of seat %u go on", seat);
	storm.stops++;
	storm.stopped_owners += owner;
	storm.went_on += on;
	storm.waited_for_stopped += waiting;
	if (up_to(2) == 0) {
		rivals_doom(seat);
		dead[seat] = true;
		replace(dead);
	} else {
		rivals_go_on(seat);
	}
	rivals_disturb(false);
}

/* ---- agents ---- */

static void kill_an_agent(void)
{
	unsigned n = 1 + (unsigned)up_to(rig->n - 1);
	uint64_t now = rival_now_ns();

	if (storm.out || now - storm.killed_ns[n] < AGENT_AGAIN_MS * NS_PER_MS || !all_serve())
		return;
	rivals_disturb(true);
	rig_kill_agent(n);
	storm.out = n;
	storm.out_ns = storm.killed_ns[n] = now;
	storm.agents++;
}

static void look_after_agents(void)
{
	if (!storm.out)
		return;
	if (all_serve()) {
		storm.out = 0;
		rivals_disturb(false);
	}
	cr_assert_lt(rival_now_ns() - storm.out_ns, RIG_PATIENCE_MS * NS_PER_MS, "host %u has no agent again", storm.out);
}

/* ---- chapters ---- */

static void judge(void)
{
	struct history_verdict v = rivals_judge();
	char words[1024];

	storm.judged += v.granted;
	for (unsigned fault = 0; fault < HISTORY_FAULTS; fault++)
		if (v.faults[fault] && history_describe(&v, fault, words, sizeof(words)) > 0)
			fprintf(stderr, "kills: %s\n", words);
	cr_assert(v.sound, "the history is not sound");
	for (unsigned i = 0; i < RIVAL_LOCKS; i++) {
		uint32_t faults = witness_sum_up(&rivals->lock[i]);

		if (faults)
			rival_note(rivals, faults, "lock %u: %llu times it was told that the owner died, and %llu died at most", i,
				   (unsigned long long)rivals->lock[i].told, (unsigned long long)rivals->lock[i].deaths);
	}
	expect_whole();
}

static void end_chapter(void)
{
	WAIT(rivals_resting(), "all come to rest");
	judge();
	__atomic_store_n(&rivals->rest, 0, __ATOMIC_RELEASE);
	if (storm.killed / (10 * CHAPTER) != (storm.killed - CHAPTER) / (10 * CHAPTER))
		fprintf(stderr, "kills: %u of %u\n", storm.killed, storm.kills);
}

static void blow_over(void)
{
	storm.next_stop = STOP_EVERY;
	storm.next_agent = AGENT_EVERY;
	storm.next_chapter = CHAPTER;
	while (storm.killed < storm.kills) {
		strike(BURST);
		look_after_agents();
		if (storm.killed >= storm.next_stop && !storm.out) {
			storm.next_stop = storm.killed + STOP_EVERY;
			stop_one();
		}
		if (storm.killed >= storm.next_agent) {
			storm.next_agent = storm.killed + AGENT_EVERY;
			kill_an_agent();
		}
		if (storm.killed >= storm.next_chapter) {
			storm.next_chapter = storm.killed + CHAPTER;
			end_chapter();
		}
		expect_whole();
	}
}

/* ---- what is left ---- */

static unsigned descriptors(unsigned n)
{
	char path[64];
	unsigned found = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)rig_agent(n).pid);
	dir = opendir(path);
	while (dir && readdir(dir))
		found++;
	if (dir)
		closedir(dir);
	return found;
}

/* Nobody is left, so every lock can be had on every host, and tells of the last death if nobody was told of it. */
static void take_all(unsigned n)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);
	paxshm_session *s = rig_open(n);
	uint32_t me = rivals_own_life();

	for (unsigned i = 0; i < RIVAL_LOCKS; i++) {
		struct paxshm_grant grant = PAXSHM_INIT(grant);
		paxshm_lock_handle *lock;
		char key[PAXSHM_KEY_MAX + 1];
		int rc;

		rival_key(i, key, sizeof(key));
		cr_assert_eq(paxshm_lock_ref(s, key, strlen(key), &lock), 0);
		how.deadline_ns = paxshm_deadline_ms(STUCK_MS);
		rc = paxshm_lock_acquire(lock, &how, &grant);
		if (rc == -ETIMEDOUT)
			rival_note(rivals, 1u << WITNESS_STUCK, "lock %u is not to be had on host %u, though nobody is left", i, n);
		cr_assert_eq(rc, 0, "lock %u on host %u: %s", i, n, paxshm_strerror(rc));
		uint32_t faults = witness_enter(&rivals->lock[i], rivals->life, me, grant.token, grant.flags & PAXSHM_OWNER_DIED, rival_now_ns());
		faults |= witness_leave(&rivals->lock[i], me, grant.token);
		if (faults)
			rival_note(rivals, faults, "at the end, lock %u on host %u: token %llu, flags %u", i, n, (unsigned long long)grant.token,
				   grant.flags);
		cr_assert_eq(paxshm_lock_release(lock), 0);
	}
	cr_assert_eq(paxshm_close(s), 0);
}

/* Locks that are shown as waited for, or are none of ours; those that a host merely keeps are counted apart. */
static unsigned leaked_locks(unsigned n, unsigned *ret_kept)
{
	struct paxshm_lock_info info = PAXSHM_INIT(info);
	uint32_t cursor = 0;
	unsigned leaked = 0;
	char key[PAXSHM_KEY_MAX + 1];

	*ret_kept = 0;
	while (paxshm_next_lock(rig_watch(n), &cursor, &info) == 1) {
		bool known = false;

		for (unsigned i = 0; i < RIVAL_LOCKS && !known; i++) {
			rival_key(i, key, sizeof(key));
			known = info.key_len == strlen(key) && !memcmp(info.key, key, info.key_len);
		}
		if (known && !info.waiting && !info.owner.pid && !info.flags)
			++*ret_kept;
		else
			leaked++;
	}
	return leaked;
}

static unsigned owned_locks(unsigned n)
{
	char key[PAXSHM_KEY_MAX + 1];
	unsigned owned = 0;

	for (unsigned i = 0; i < RIVAL_LOCKS; i++) {
		rival_key(i, key, sizeof(key));
		owned += rig_holder(n, key).host_id != 0;
	}
	return owned;
}

static void expect_nothing_left(void)
{
	unsigned kept = 0;

	for (unsigned n = 1; n <= rig->n; n++)
		take_all(n);
	expect_whole();
	for (unsigned n = 1; n <= rig->n; n++) {
		RIG_WAIT(rig_status(n).sessions == 1, "host %u: %u sessions are left", n, rig_status(n).sessions - 1);
		RIG_WAIT(!leaked_locks(n, &kept), "host %u: a lock is left", n);
		RIG_WAIT(!owned_locks(n), "host %u: a lock is owned, and nobody is there", n);
		RIG_WAIT(descriptors(n) <= storm.descriptors[n], "host %u: the agent has %u descriptors, and had %u before", n,
			 descriptors(n), storm.descriptors[n]);
	}
	for (unsigned n = 1; n <= rig->n; n++) {
		unsigned leaked = leaked_locks(n, &kept);
		struct paxshm_status status = rig_status(n);

		cr_assert_eq(leaked, 0);
		cr_assert_leq(status.locks, kept, "host %u: rows that are not shown", n);
		cr_assert_eq(status.waits, 0);
		fprintf(stderr, "kills: host %u afterwards: %u sessions leaked, %u locks leaked, %u kept idle, %u cells, %u waits, %u descriptors (%u before)\n",
			n, status.sessions - 1, leaked, kept, status.cells, status.waits, descriptors(n), storm.descriptors[n]);
	}
}

/* ---- the report ---- */

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* From the death of an owner, of a hot lock, which is always wanted, or of a private one, until the next one is inside; `disturbed`: those alone
 * during which an agent was missing or a rival stood still. */
static size_t say_recovery(bool hot, bool disturbed, const char *what)
{
	uint64_t *ns = calloc(rivals->lives + 1, sizeof(*ns));
	size_t n = 0;

	cr_assert(ns);
	for (uint32_t i = 1; i <= rivals->lives; i++) {
		const struct witness_life *life = &rivals->life[i];

		if (life->followed_in && (life->followed_in <= RIVAL_HOT) == hot && life->disturbed == disturbed)
			ns[n++] = life->followed_ns - life->doomed_ns;
	}
	qsort(ns, n, sizeof(*ns), by_size);
	if (n)
		fprintf(stderr, "kills: recovery, %s: %zu times, p50 %.2f ms, p99 %.2f ms, max %.2f ms\n", what, n,
			(double)ns[(n - 1) / 2] / 1e6, (double)ns[(n - 1) * 99 / 100] / 1e6, (double)ns[n - 1] / 1e6);
	free(ns);
	return n;
}

static uint64_t granted(void)
{
	uint64_t all = 0;

	for (unsigned i = 0; i < RIVALS; i++)
		all += __atomic_load_n(&rivals->seat[i].granted, __ATOMIC_RELAXED);
	return all;
}

static void report(uint64_t grants, uint64_t took_ns)
{
	uint64_t told = 0, deaths = 0;
	double seconds = (double)took_ns / 1e9;

	for (unsigned i = 0; i < RIVAL_LOCKS; i++)
		told += rivals->lock[i].told;
	for (unsigned n = 1; n <= rig->n; n++)
		deaths += rig_status(n).deaths;
	fprintf(stderr, "kills: %u kills in %.1f s, %.0f a second; %llu acquisitions, %.0f a second; %llu refused\n", storm.killed, seconds,
		storm.killed / seconds, (unsigned long long)grants, (double)grants / seconds, (unsigned long long)rivals->refused);
	fprintf(stderr, "kills: %u replaced by exec, %u by fork; %llu sessions closed and opened again\n", storm.by_exec,
		storm.killed - storm.by_exec, (unsigned long long)rivals->reopened);
	for (unsigned deed = 0; deed < RIVALS_DEEDS; deed++)
		fprintf(stderr, "kills: %6u killed %s\n", storm.deeds[deed], rivals_deed_name(deed));
	fprintf(stderr, "kills: %u stops, %u of owners: %u others went on, %u waited for the stopped one; %u agents killed\n", storm.stops,
		storm.stopped_owners, storm.went_on, storm.waited_for_stopped, storm.agents);
	for (unsigned fault = 0; fault < WITNESS_FAULTS; fault++)
		fprintf(stderr, "kills: %s %llu\n", witness_fault_name(fault), (unsigned long long)rivals->faults[fault]);
	fprintf(stderr, "kills: owner died told %llu times, agents counted %llu; wrong answers %llu; longest wait, undisturbed, %.1f ms; history of %zu grants sound\n",
		(unsigned long long)told, (unsigned long long)deaths, (unsigned long long)rivals->answers, (double)rivals->longest_wait_ns / 1e6, storm.judged);
	size_t quiet = say_recovery(true, false, "hot locks");
	size_t loud = say_recovery(true, true, "hot locks, an agent missing or a rival stopped meanwhile");

	say_recovery(false, false, "private locks, by a new process and session");
	cr_assert_gt(quiet + loud, 0, "void: no owner of a hot lock was followed");
}

/* A run in which something never happened says nothing. */
static void expect_eventful(void)
{
	if (storm.kills < KILLS)
		return;
	for (unsigned deed = RIVALS_WAITED; deed < RIVALS_DEEDS; deed++) /* the others are too short */
		cr_assert_gt(storm.deeds[deed], 0, "void: nobody was killed %s", rivals_deed_name(deed));
	cr_assert(storm.stops && storm.stopped_owners && storm.went_on && storm.waited_for_stopped, "void: too few stops");
	cr_assert_gt(storm.agents, 0, "void: no agent was killed");
}

static bool all_at_work(void)
{
	for (unsigned i = 0; i < RIVALS; i++)
		if (rivals->seat[i].granted < WARM_UP)
			return false;
	return true;
}

static void begin(void)
{
	char settings[96];

	storm.seed = storm.random = from_environment("KILLS_SEED", some_seed());
	storm.kills = (unsigned)from_environment("KILLS", KILLS);
	fprintf(stderr, "kills: %u kills of %u processes on %u agents, seed %llu\n", storm.kills, RIVALS, RIVAL_HOSTS,
		(unsigned long long)storm.seed);
	storm.began = true;
	alarm(WATCHDOG_S);
	snprintf(settings, sizeof(settings), "host_lease_ms = %u\nsessions = %u\n", HOST_LEASE_MS, SESSIONS);
	rig_start(&(struct rig_plan){ .voters = RIVAL_HOSTS, .settings = settings });
	for (unsigned n = 1; n <= rig->n; n++)
		storm.descriptors[n] = descriptors(n);
	rivals_begin(storm.seed, storm.kills + BURST + RIVALS + RIVAL_HOSTS);
	for (unsigned i = 0; i < RIVALS; i++)
		rivals_start(i, i % 2);
	WAIT(all_at_work(), "every rival begins");
}

Test(kills, sixteen_processes_on_three_agents)
{
	begin();
	uint64_t began_ns = rival_now_ns(), before = granted();

	blow_over();
	uint64_t took_ns = rival_now_ns() - began_ns, grants = granted() - before;

	WAIT(all_serve(), "all agents serve");
	storm.out = 0;
	WAIT(rivals_resting(), "all come to rest");
	rivals_end();
	judge();
	expect_nothing_left();
	report(grants, took_ns);
	expect_eventful();
	rig_end();
	storm.passed = true;
}
