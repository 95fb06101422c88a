/* SPDX-License-Identifier: Apache-2.0 */
/* lease: what a program is told of its host's lease, asked or by events. The agent never helps. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/session.h"
#include "../../shm/atom.h"
#include "../../shm/sys.h"
#include "../shm/step.h"
#include "fake_agent.h"

#define LIFE ((uint64_t)FAKE_INCARNATION)

static struct fake fake;
static paxshm_session *session;
static struct paxshm_event event;

static void start(void)
{
	fake_start(&fake);
	session = fake_open(&fake, 10000);
	event = (struct paxshm_event)PAXSHM_INIT(event);
}

static void stop(void)
{
	paxshm_close(session);
	fake_stop(&fake);
}

TestSuite(lease, .init = start, .fini = stop, .timeout = 60);

static paxshm_lock_handle *acquired(const char *key)
{
	paxshm_lock_handle *l = NULL;

	cr_assert_eq(paxshm_lock_ref(session, key, strlen(key), &l), 0);
	cr_assert_eq(paxshm_lock_acquire(l, NULL, NULL), 0);
	return l;
}

/* ---- asked ---- */

Test(lease, nobody_else_can_own_it_until_the_deadline)
{
	paxshm_lock_handle *l = acquired("k");

	cr_expect_eq(paxshm_lock_check(l), 0, "without end");
	fake_lease(&fake, 3600 * NS_PER_S);
	cr_expect_eq(paxshm_lock_check(l), 0);
	fake_lease(&fake, NS_PER_MS);
	while (paxshm_lock_check(l) == 0)
		usleep(100);
	cr_expect_eq(paxshm_lock_check(l), -ENETUNREACH);
	fake_lease(&fake, 3600 * NS_PER_S);
	cr_expect_eq(paxshm_lock_check(l), 0, "renewed: it was ours all the time");
}

/* Suspended for an hour: CLOCK_MONOTONIC has not moved, and stands an hour further behind CLOCK_REALTIME. */
Test(lease, trap_12_the_clock_goes_on_while_the_machine_is_suspended)
{
	paxshm_lock_handle *l = acquired("k");

	fake_lease(&fake, 3600 * NS_PER_S);
	atom_store_release(&fake.tables->deadline_boot_ns, sys_boot_ns() - 1);
	atom_store_release(&fake.tables->clock_gap_ns, fake.tables->clock_gap_ns - 3600 * NS_PER_S);
	cr_expect_eq(paxshm_lock_check(l), -ENETUNREACH, "for CLOCK_MONOTONIC it has an hour left");
	cr_expect_eq(paxshm_lock_release(l), -ENETUNREACH);
	cr_expect_eq(paxshm_lock_acquire(l, &(struct paxshm_acquire){ .size = sizeof(struct paxshm_acquire), .no_quorum = PAXSHM_RETURN }, NULL), -ENETUNREACH);
	fake_lease(&fake, 3600 * NS_PER_S);
	cr_expect_eq(paxshm_lock_acquire(l, NULL, NULL), 0);
	cr_expect_eq(paxshm_lock_check(l), 0);
}

/* Near the end the exact clock decides, and the margin is a quarter of the lease. */
Test(lease, the_margin_is_a_quarter_of_the_lease_and_within_it_the_exact_clock_is_asked)
{
	paxshm_lock_handle *l = acquired("k");

	fake_lease(&fake, 600 * NS_PER_S); /* of an hour */
	cr_expect_eq(paxshm_lock_check(l), 0);
	cr_expect_eq(paxshm_lock_release(l), 0);
	cr_expect_eq(paxshm_lock_acquire(l, NULL, NULL), 0);
	atom_store_release(&fake.tables->deadline_boot_ns, sys_boot_ns() - 1);
	cr_expect_eq(paxshm_lock_check(l), -ENETUNREACH);
	atom_store_release(&fake.tables->host_lease_ns, 1200 * NS_PER_S);
	cr_expect_eq(paxshm_lock_check(l), 0, "no more within it");
}

/* Each word as the agent stores it, one by one, from a life to the next and into its own suspension. */
Test(lease, trap_30_a_lease_of_the_next_life_revives_nothing)
{
	uint64_t *deadline_ns = &fake.tables->deadline_ns, *incarnation = &fake.tables->incarnation;
	paxshm_lock_handle *l = acquired("k");

	fake_lease(&fake, 3600 * NS_PER_S);
	cr_expect_eq(paxshm_lock_check(l), 0);
	fake_lease(&fake, 0);
	cr_expect_eq(paxshm_lock_check(l), -ENETUNREACH);
	atom_store_release(deadline_ns, 0ull);
	cr_expect_eq(paxshm_lock_check(l), -ENETUNREACH);
	atom_store_release(incarnation, 0ull);
	cr_expect_eq(paxshm_lock_check(l), -ESTALE);
	atom_store_release(incarnation, LIFE + 1);
	cr_expect_eq(paxshm_lock_check(l), -ESTALE);
	fake_lease(&fake, 3600 * NS_PER_S);
	cr_expect_eq(paxshm_lock_check(l), -ESTALE);
	cr_expect_eq(paxshm_lock_acquire(l, NULL, NULL), -ESTALE);
	fake_lease(&fake, 0);
	cr_expect_eq(paxshm_lock_check(l), -ESTALE);
	fake_lease(&fake, NEVER);
	cr_expect_eq(paxshm_lock_release(l), -ESTALE);
	cr_expect_eq(fake_owner(&fake, "k"), 1, "nor may it be released over a later owner");
}

#if STEP_WORKS
static unsigned long switch_at;
static int looked;

static void look_at_life(void)
{
	looked = lease_look(session, LIFE);
}

/* The agent's stores, all of them between two instructions of whoever looks. */
static void begin_next_life(unsigned long n)
{
	if (n != switch_at)
		return;
	step_end();
	atom_store_release(&fake.tables->deadline_boot_ns, 0ull);
	atom_store_release(&fake.tables->deadline_ns, 0ull);
	atom_store_release(&fake.tables->incarnation, 0ull);
	atom_store_release(&fake.tables->incarnation, LIFE + 1);
	atom_store_release(&fake.tables->deadline_boot_ns, NEVER);
	atom_store_release(&fake.tables->deadline_ns, NEVER);
}

/* A life that was suspended before the look began has no lease at any time of it. */
Test(lease, trap_30_wherever_the_next_life_begins_within_a_look)
{
	bool within = true, unreachable = false, stale = false;

	look_at_life();
	for (switch_at = 0; within; switch_at++) {
		atom_store_release(&fake.tables->incarnation, LIFE);
		fake_lease(&fake, 0);
		step_through(look_at_life, begin_next_life);
		within = atom_load_acquire(&fake.tables->incarnation) != LIFE;
		cr_assert_neq(looked, 0, "at instruction %lu", switch_at);
		unreachable |= looked == -ENETUNREACH;
		stale |= looked == -ESTALE;
	}
	cr_expect(unreachable && stale, "it fell on both sides");
	cr_expect_gt(switch_at, 20);
}
#endif

Test(lease, a_session_that_is_over_has_lost_all)
{
	paxshm_lock_handle *l = acquired("k");

	fake_hang_up(&fake);
	cr_assert(session_look(session));
	cr_expect_eq(paxshm_lock_check(l), -ESTALE);
}

/* ---- events ---- */

static int next(void)
{
	return paxshm_next_event(session, &event);
}

static bool readable(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1;
}

/* Waits for the descriptor until there is an event: it may be readable for nothing. */
static uint32_t await_event(int fd)
{
	int rc;

	do {
		cr_assert(readable(fd, -1));
		rc = next();
	} while (rc == 0);
	cr_assert_eq(rc, 1, "%d", rc);
	return event.kind;
}

static int fd_of(void)
{
	int fd = paxshm_fd(session);

	cr_assert_geq(fd, 0, "%d", fd);
	return fd;
}

Test(lease, without_events_nothing_is_readable)
{
	int fd = fd_of();

	acquired("k");
	cr_expect_eq(next(), 0);
	cr_expect_eq(event.kind, 0);
	cr_expect_not(readable(fd, 0));
	fake_lease(&fake, 3600 * NS_PER_S);
	cr_expect_eq(next(), 0);
	cr_expect_not(readable(fd, 0));
	cr_expect_eq(paxshm_fd(session), fd, "the session has one");
}

/* The agent stands still all the time: the end of a lease needs nobody to tell of it. */
Test(lease, the_end_of_a_lease_and_its_renewal_are_events)
{
	fake_lease(&fake, 30 * NS_PER_MS);
	int fd = fd_of();

	fake_lock(&fake);
	cr_expect_eq(await_event(fd), PAXSHM_EVENT_SUSPENDED);
	cr_expect_null(event.lock);
	cr_expect_eq(next(), 0, "once");
	cr_expect_not(readable(fd, 0));
	fake_lease(&fake, 3600 * NS_PER_S);
	cr_expect_eq(await_event(fd), PAXSHM_EVENT_RESUMED);
	cr_expect_eq(next(), 0, "once");
	cr_expect_not(readable(fd, 0));
	fake_unlock(&fake);
}

/* The timer was set for a deadline that has moved since. */
Test(lease, a_renewal_puts_the_event_off)
{
	fake_lease(&fake, 20 * NS_PER_MS);
	int fd = fd_of();

	fake_lease(&fake, 3600 * NS_PER_S);
	cr_expect(readable(fd, -1), "at the old deadline");
	cr_expect_eq(next(), 0, "for nothing");
	cr_expect_not(readable(fd, 0));
	fake_lease(&fake, 20 * NS_PER_MS);
	fake_lease(&fake, NEVER);
	cr_expect_eq(next(), 0);
	cr_expect_not(readable(fd, 0));
}

Test(lease, each_owned_handle_is_told_lost_once)
{
	paxshm_lock_handle *a = acquired("a"), *b = acquired("b"), *released = acquired("c"), *lost[2];
	int fd;

	cr_assert_eq(paxshm_lock_acquire(b, NULL, NULL), 0);
	cr_assert_eq(paxshm_lock_release(released), 0);
	fake_lease(&fake, NS_PER_MS);
	fd = fd_of();
	cr_expect_eq(await_event(fd), PAXSHM_EVENT_SUSPENDED);
	fake_down(&fake);
	for (unsigned i = 0; i < 2; i++) {
		cr_expect_eq(await_event(fd), PAXSHM_EVENT_LOST);
		lost[i] = event.lock;
		event.lock = NULL;
	}
	cr_expect((lost[0] == a && lost[1] == b) || (lost[0] == b && lost[1] == a));
	cr_expect_eq(next(), 0, "not back yet");
	fake_up(&fake, LIFE + 1);
	cr_expect_eq(next(), 0, "nor now");
	fake_lease(&fake, NEVER);
	cr_expect_eq(await_event(fd), PAXSHM_EVENT_RESUMED);
	cr_expect_eq(next(), 0);

	/* What is acquired anew can be lost anew. */
	cr_expect_eq(paxshm_lock_release(a), -ESTALE);
	cr_expect_eq(paxshm_lock_acquire(a, NULL, NULL), 0);
	fake_down(&fake);
	cr_expect_eq(next(), 1);
	cr_expect_eq(event.kind, PAXSHM_EVENT_LOST);
	cr_expect_eq(event.lock, a);
	cr_expect_eq(next(), 1);
	cr_expect_eq(event.kind, PAXSHM_EVENT_SUSPENDED);
	cr_expect_eq(next(), 0);
}

Test(lease, what_was_lost_is_told_before_the_host_is_back)
{
	acquired("a");
	fake_lease(&fake, 0);
	cr_expect_eq(next(), 1);
	cr_expect_eq(event.kind, PAXSHM_EVENT_SUSPENDED);
	fake_down(&fake);
	fake_up(&fake, LIFE + 1);
	fake_lease(&fake, NEVER);
	cr_expect_eq(next(), 1);
	cr_expect_eq(event.kind, PAXSHM_EVENT_LOST);
	cr_expect_eq(next(), 1);
	cr_expect_eq(event.kind, PAXSHM_EVENT_RESUMED);
}

Test(lease, it_is_readable_while_there_is_another)
{
	int fd = fd_of();

	acquired("a");
	acquired("b");
	acquired("c");
	fake_down(&fake);
	fake_up(&fake, LIFE + 1);
	fake_lease(&fake, NEVER);
	for (unsigned i = 0; i < 3; i++) {
		cr_expect_eq(next(), 1);
		cr_expect_eq(event.kind, PAXSHM_EVENT_LOST);
		cr_expect(readable(fd, 10000));
	}
	cr_expect_eq(next(), 0);
	cr_expect_not(readable(fd, 0));
}

Test(lease, the_end_of_the_session_is_the_last_that_is_told)
{
	paxshm_lock_handle *a = acquired("a");
	int fd = fd_of();

	acquired("b");
	cr_expect_eq(paxshm_lock_release(a), 0);
	fake_hang_up(&fake);
	cr_expect(readable(fd, -1));
	cr_expect_eq(next(), 1);
	cr_expect_eq(event.kind, PAXSHM_EVENT_LOST);
	cr_expect_neq(event.lock, a);
	for (unsigned i = 0; i < 2; i++) {
		cr_expect_eq(next(), -ENOTCONN);
		cr_expect(readable(fd, 0));
	}
}

Test(lease, events_need_no_descriptor)
{
	unsigned fds = fake_count_fds();

	fake_lease(&fake, 0);
	cr_expect_eq(next(), 1);
	cr_expect_eq(event.kind, PAXSHM_EVENT_SUSPENDED);
	cr_expect_eq(fake_count_fds(), fds);
}

Test(lease, the_descriptors_end_with_the_session)
{
	unsigned fds;
	paxshm_session *s;

	fds = fake_count_fds();
	s = fake_open(&fake, 1000);
	cr_assert_geq(paxshm_fd(s), 0);
	paxshm_close(s);
	fake_until(&fake, &fake.closes, 1);
	while (fake_count_fds() > fds + 1) /* the fake's own copies of the session's segment and socket */
		usleep(500);
}

Test(lease, wrong_arguments_and_other_processes_are_refused)
{
	int status;

	cr_expect_eq(paxshm_fd(NULL), -EINVAL);
	cr_expect_eq(paxshm_next_event(NULL, &event), -EINVAL);
	cr_expect_eq(paxshm_next_event(session, NULL), -EINVAL);
	event.size = 0;
	fake_lease(&fake, 0);
	cr_expect_eq(next(), -EINVAL);
	event.size = sizeof(event);
	cr_expect_eq(next(), 1, "it was not taken");

	pid_t pid = fork();
	if (pid == 0)
		_exit(paxshm_fd(session) == -EPERM && next() == -EPERM ? 7 : 1);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}
