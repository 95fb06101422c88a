/* SPDX-License-Identifier: Apache-2.0 */
/*
 * failover: the leader is killed; how long until another host is granted a lock again. Once its agent
 * alone, which the keeper starts again at once with the same memory, and once agent and keeper, which
 * is what the loss of the host looks like to the others. Each round has a cluster of its own.
 *
 * The limits: starting a program; and leader_lease_ms, how long the others wait for a leader that says
 * nothing.
 */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>

#include "case.h"
#include "member.h"
#include "progress.h"
#include "sync.h"

#define SETTLE_MS 10000u /* for a cluster to have one leader, and to serve */
#define ELECTION_MS 200u

/* Samples are few: they all go into one round. */
static void saw(struct series *s, uint64_t ns)
{
	histogram_add(&s->round[0].seen, ns * PS_PER_NS);
	s->round[0].done++;
}

static void fail(struct series *s, const char *why)
{
	if (s->errors++ == 0)
		snprintf(s->why, sizeof(s->why), "%s", why);
}

static int acquire(paxshm_session *s)
{
	static unsigned long long n;
	struct paxshm_acquire how = PAXSHM_INIT(how);
	paxshm_lock_handle *lock;
	char key[48];

	snprintf(key, sizeof(key), "failover/%d/%llu", (int)getpid(), n++);
	how.deadline_ns = paxshm_deadline_ms(SETTLE_MS);
	int rc = paxshm_lock_ref(s, key, strlen(key), &lock);
	if (rc == 0)
		rc = paxshm_lock_acquire(lock, &how, NULL);
	if (rc == 0)
		rc = paxshm_lock_release(lock);
	if (rc == 0)
		paxshm_lock_unref(lock);
	return rc;
}

/* Everybody names the same leader. Its place in the cluster, its agent in *ret_agent; -1: no. */
static int settled(const struct bench_cluster *c, pid_t *ret_agent)
{
	uint64_t give_up = now_ns() + SETTLE_MS * NS_PER_MS;
	struct paxshm_status st;

	for (; now_ns() < give_up; sleep_ns(20 * NS_PER_MS)) {
		unsigned agree = 0, leader = 0;
		int at = -1;
		for (unsigned i = 0; i < c->n; i++) {
			if (!member_status(c->socket[i], &st) || !st.leader_id)
				break;
			agree += i == 0 || st.leader_id == leader;
			leader = st.leader_id;
			if (st.leader_id == st.host_id) {
				at = (int)i;
				*ret_agent = (pid_t)st.agent_pid;
			}
		}
		if (agree == c->n && at >= 0)
			return at;
	}
	return -1;
}

static void kill_leader(const struct bench_cluster *c, struct series *s, bool keeper_too)
{
	struct paxshm_options options = PAXSHM_INIT(options);
	paxshm_session *asks;
	pid_t agent = 0;
	int leader = settled(c, &agent);

	if (leader < 0) {
		fail(s, "the agents did not settle on a leader");
		return;
	}
	options.socket = c->socket[(leader + 1) % (int)c->voters];
	if (paxshm_open(&asks, &options) < 0) {
		fail(s, paxshm_open_reason());
		return;
	}
	int rc = acquire(asks);
	uint64_t start = now_ns();
	if (rc == 0 && !bench_cluster_kill(c, (unsigned)leader, agent, keeper_too))
		fail(s, "the leader could not be killed");
	else if (rc < 0 || (rc = acquire(asks)) < 0)
		fail(s, paxshm_strerror(rc));
	else
		saw(s, now_ns() - start);
	paxshm_close(asks);
}

/* What any program costs that is started, runs and ends. */
static void start_program(struct series *s)
{
	char *const argv[] = { (char *)"true", NULL };
	uint64_t start = now_ns();
	pid_t pid;

	if (posix_spawnp(&pid, "true", NULL, NULL, argv, environ) == 0 && waitpid(pid, NULL, 0) == pid)
		saw(s, now_ns() - start);
}

static int run(struct bench *b)
{
	char settings[48];
	struct series *all = calloc(4, sizeof(*all)), *agent = all, *host = all + 1, *program = all + 2, *election = all + 3;
	int rc = all ? 0 : -ENOMEM;

	snprintf(settings, sizeof(settings), "leader_lease_ms=%u", ELECTION_MS);
	for (unsigned r = 0; rc == 0 && r < ROUNDS; r++) {
		progress("failover", "killing leaders");
		rc = bench_need_fresh(b, settings);
		if (rc == 0) {
			start_program(program);
			kill_leader(&b->cluster, agent, false);
			kill_leader(&b->cluster, host, true);
		}
	}
	if (rc == 0) {
		saw(election, ELECTION_MS * NS_PER_MS);
		struct beside start = { .name = "a program's start", .part = { program } };
		struct beside silence = { .name = "leader_lease_ms", .part = { election } };
		report_latency(&b->report, "failover", "agent killed", "ms", agent, &start);
		report_latency(&b->report, "failover", "host lost", "ms", host, &silence);
	}
	bench_cluster_stop(&b->cluster); /* what is left of it is of no use to others */
	free(all);
	return rc;
}

const struct bench_case case_failover = {
	.name = "failover", .what = "the leader is killed: the time to the next grant", .limit = "a program's start; leader_lease_ms of the agents", .kills = true, .run = run
};
