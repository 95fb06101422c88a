/* SPDX-License-Identifier: Apache-2.0 */
/* What the holder of a lock sees of leases, and how leaders change, on real agents. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "counter.h"
#include "puppet.h"
#include "rig.h"

RIG_SUITE(lease);

static bool exited(int status, int with)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == with;
}

/* Commands leave one word after the other, each when it happened; the owner that comes behind them, its own. */
struct diary {
	int file;
};

static struct diary diary_new(void)
{
	struct diary d = { .file = open(rig_path("diary"), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600) };

	cr_assert_geq(d.file, 0);
	return d;
}

static const char *diary_read(const struct diary *d)
{
	static char text[512];
	ssize_t n = pread(d->file, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = 0;
	return text;
}

/* paxctl lock on host n, whose command is this script. */
static pid_t command(unsigned n, const char *key, const char *script, const struct diary *d)
{
	return rig_spawn(-1, d->file, (const char *const[]){ "paxctl", "lock", "--socket", rig->host[n].socket, key, "--", "sh", "-c", script, NULL });
}

/* It bows out when it is told to; or it does not. */
#define OBEYS "trap 'echo told; exit 0' TERM; echo runs; while :; do sleep 0.01; done"
#define IGNORES "trap 'echo told' TERM; echo runs; while :; do sleep 0.01; done"

static void agent_stops_under(const char *script)
{
	rig_start(&(struct rig_plan){ .voters = 3, .settings = "host_lease_ms = 4000\n" }); /* half of it is the command's grace */
	unsigned n = rig_follower(0), other = rig_leader();
	struct diary d = diary_new();
	pid_t ctl = command(n, "k", script, &d);

	RIG_WAIT(strcmp(diary_read(&d), "runs\n") == 0);
	/* The next owner writes what it finds: whoever is gone writes nothing behind that. */
	pid_t next = command(other, "k", "echo next", &d);
	RIG_WAIT(rig_waiting(other, "k") == 1);
	rig_signal_agent(n, SIGSTOP); /* it can warn nobody */
	cr_assert(exited(rig_wait(next), 0));
	cr_assert_str_eq(diary_read(&d), "runs\ntold\npaxctl: k: the command was ended, for this host was cut off and about to lose the lock\nnext\n");
	rig_signal_agent(n, SIGCONT);
	cr_assert(exited(rig_wait(ctl), 70), "the lock was lost");
	rig_end();
}

Test(lease, a_command_is_told_to_end_before_its_lock_is_anothers)
{
	agent_stops_under(OBEYS);
}

Test(lease, a_command_that_does_not_obey_is_killed_before_its_lock_is_anothers)
{
	agent_stops_under(IGNORES);
}

Test(lease, a_command_rides_out_every_change_of_leader)
{
	rig_start(&(struct rig_plan){ .voters = 3, .settings = "host_lease_ms = 10000\n" });
	struct diary d = diary_new();
	pid_t ctl = command(rig_follower(0), "k", "echo runs; while :; do sleep 0.01; done", &d);
	char said[256];

	RIG_WAIT(strcmp(diary_read(&d), "runs\n") == 0);
	for (unsigned turn = 0; turn < 2; turn++) {
		unsigned old = rig_leader();

		rig_kill_agent(old);
		rig_back(old);
		rig_signal_agent(old = rig_leader(), SIGSTOP);
		unsigned next = old % 3 + 1; /* whoever leads now, it answers */
		RIG_WAIT(rig_status(next).leader_id && rig_status(next).leader_id != old);
		rig_signal_agent(old, SIGCONT);
		rig_settle(0);
		snprintf(said, sizeof(said), "h%u", rig_follower(0));
		cr_assert(exited(rig_paxctl(said, 1, "leader", "move", said), 0), "%s", said);
	}
	cr_assert_str_eq(diary_read(&d), "runs\n");
	kill(ctl, SIGTERM); /* passed on: it is the command's end, not the lock's */
	int status = rig_wait(ctl);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	rig_end();
}

Test(lease, the_leader_moves_and_nobody_notices)
{
	rig_start(&(struct rig_plan){ .voters = 3, .observers = 1 });
	struct counter *c = counter_new("moves");
	struct puppet *owner = puppet_new(1);
	char said[512], name[8], expected[16];

	cr_assert_eq(puppet_lock(owner, "mine").rc, 0);
	for (unsigned w = 0; w < 4; w++)
		counter_work(c, w, 1 + w);
	for (unsigned turn = 0; turn < 6; turn++) {
		unsigned to = rig_follower(0), asked = 1 + turn % 4;

		counter_wait(c, 2, 1);
		snprintf(name, sizeof(name), "h%u", to);
		cr_assert(exited(rig_paxctl(said, asked, "leader", "move", name), 0), "%s", said);
		RIG_WAIT(rig_leader() == to);
		snprintf(expected, sizeof(expected), "h%u\n", to);
		cr_assert(exited(rig_paxctl(said, to, "leader"), 0));
		cr_assert_str_eq(said, expected);
		cr_assert_eq(puppet_check(owner, "mine"), 0);
	}
	cr_assert(exited(rig_paxctl(said, 1, "leader", "move", "h4"), 64), "an observer");
	cr_assert(strstr(said, "no voter"), "%s", said);
	cr_assert(exited(rig_paxctl(said, 1, "leader", "move", "nobody"), 64));
	cr_assert(strstr(said, "no such host"), "%s", said);
	unsigned down = rig_follower(0);
	rig_signal_agent(down, SIGSTOP);
	RIG_WAIT(rig_log_count(rig_leader(), "event=link.down") || exited(rig_paxctl(said, rig_leader(), "leader", "move", rig->host[down].name), 75));
	rig_signal_agent(down, SIGCONT);
	counter_check(c);
	puppet_free(owner);
	rig_end();
}

Test(lease, a_leader_that_is_stopped_in_order_hands_over_first)
{
	rig_start(&(struct rig_plan){ .voters = 3, .settings = "leader_lease_ms = 2000\nhost_lease_ms = 8000\n" });
	unsigned old = rig_leader(), next = old % 3 + 1;
	struct puppet *p = puppet_new(next);

	cr_assert_eq(rig_stop_host(old), 0);
	cr_assert_eq(rig_log_count(old, "event=leader.moves"), 1);
	cr_assert_eq(puppet_lock(p, "k").rc, 0);
	cr_assert_eq(puppet_unlock(p, "k"), 0);
	cr_assert_eq(rig_log_count(next, "event=no-quorum"), 0);
	puppet_free(p);
	rig_end();
}

/* ---- events ---- */

static int next_event(paxshm_session *s)
{
	struct paxshm_event e = PAXSHM_INIT(e);
	int rc = paxshm_next_event(s, &e);

	return rc == 1 ? (int)e.kind : rc;
}

/* The next event that poll() brings. */
static int await_event(paxshm_session *s)
{
	struct pollfd p = { .fd = paxshm_fd(s), .events = POLLIN };
	int kind;

	cr_assert_geq(p.fd, 0);
	while ((kind = next_event(s)) == 0)
		cr_assert_geq(poll(&p, 1, RIG_PATIENCE_MS), 1, "no event came");
	return kind;
}

Test(lease, a_program_is_told_of_all_that_happens_to_its_locks)
{
	rig_start(&(struct rig_plan){ .voters = 3 });
	unsigned n = rig_follower(0), other = rig_leader();
	paxshm_session *s = rig_open(n);
	struct puppet *heir = puppet_new(other);

	cr_assert_eq(paxshm_lock(s, "k"), 0);
	cr_assert_eq(next_event(s), 0);

	/* All agents stand still, longer than a lease: nobody is left who could declare anybody down. */
	for (unsigned i = 1; i <= 3; i++)
		rig_signal_agent(i, SIGSTOP);
	cr_assert_eq(await_event(s), PAXSHM_EVENT_SUSPENDED);
	uint64_t token;
	cr_assert_eq(paxshm_token(s, "k", &token), -ENETUNREACH);
	for (unsigned i = 1; i <= 3; i++)
		rig_signal_agent(i, SIGCONT);
	cr_assert_eq(await_event(s), PAXSHM_EVENT_RESUMED);
	cr_assert_eq(paxshm_token(s, "k", &token), 0);

	/* Only this one does: it is declared down, and its lock is another's. */
	rig_signal_agent(n, SIGSTOP);
	cr_assert_eq(puppet_lock(heir, "k").rc, 0);
	cr_assert_eq(await_event(s), PAXSHM_EVENT_SUSPENDED);
	rig_signal_agent(n, SIGCONT);
	cr_assert_eq(await_event(s), PAXSHM_EVENT_LOST);
	cr_assert_eq(await_event(s), PAXSHM_EVENT_RESUMED);
	cr_assert_eq(next_event(s), 0);
	cr_assert_eq(paxshm_unlock(s, "k"), -ESTALE);
	cr_assert_eq(puppet_unlock(heir, "k"), 0);
	cr_assert_eq(paxshm_lock(s, "k"), 0, "the session goes on in its host's new life");

	rig_unwatch(n);
	rig_kill_host(n);
	cr_assert_eq(await_event(s), PAXSHM_EVENT_LOST);
	cr_assert_eq(next_event(s), -ENOTCONN);
	paxshm_close(s);
	puppet_free(heir);
	rig_end();
}

Test(lease, who_only_ever_asks_for_its_lock_hears_that_the_keeper_is_gone)
{
	paxshm_lock_handle *l;
	int rc;

	rig_start(&(struct rig_plan){ .voters = 3 });
	unsigned n = rig_follower(0);
	paxshm_session *s = rig_open(n);

	cr_assert_eq(paxshm_lock_ref(s, "k", 1, &l), 0);
	cr_assert_eq(paxshm_lock_acquire(l, NULL, NULL), 0);
	rig_kill_host(n);
	RIG_WAIT((rc = paxshm_lock_check(l)) == -ESTALE, "it answers %d", rc);
	paxshm_close(s);
	rig_end();
}
