/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <unistd.h>

#include "../../lib/session.h"
#include "../../shm/atom.h"
#include "../../shm/sys.h"
#include "fake_agent.h"

static struct fake fake;
static paxshm_session *session;
static struct paxshm_who who;

static void start(void)
{
	fake_start(&fake);
	session = fake_open(&fake, 10000);
	who = (struct paxshm_who)PAXSHM_INIT(who);
}

static void stop(void)
{
	paxshm_close(session);
	fake_stop(&fake);
}

TestSuite(holder, .init = start, .fini = stop, .timeout = 30);

static int ask(uint32_t flags)
{
	return paxshm_holder(session, "k", 1, flags, &who);
}

static void other_host_says(uint32_t host, uint32_t pid, int result)
{
	fake_lock(&fake);
	fake.holder_host = host;
	fake.holder_pid = pid;
	fake.holder_result = result;
	fake_unlock(&fake);
}

Test(holder, owner_of_this_host_is_read_from_memory)
{
	cr_assert_eq(paxshm_lock(session, "k"), 0);
	cr_assert_eq(ask(0), 0);
	cr_expect_eq(who.host_id, FAKE_HOST);
	cr_expect_str_eq(who.host, "alpha");
	cr_expect_eq(who.pid, (uint32_t)getpid());
	cr_expect_eq(who.session, 1);
	cr_expect_eq(who.start_time, 4711);
	cr_expect_eq(who.token, FAKE_SAW(last_token));
	cr_expect_eq(FAKE_SAW(holders), 0);
}

Test(holder, owner_of_this_host_is_not_known_without_quorum)
{
	cr_assert_eq(paxshm_lock(session, "k"), 0);
	atom_store_release(&fake.tables->quorum, 0u);
	cr_assert_eq(ask(0), -ENETUNREACH, "it may have been declared down meanwhile");
	cr_assert_eq(who.host_id, 0);
}

/* The agent may be dead, and say nothing. */
Test(holder, tables_older_than_a_host_lease_are_not_told_from)
{
	uint64_t now_ns = sys_now_ns();

	cr_assert_eq(paxshm_lock(session, "k"), 0);
	atom_store_release(&fake.tables->host_lease_ns, now_ns / 2);
	atom_store_release(&fake.tables->fresh_as_of_ns, now_ns / 2 - NS_PER_S);
	cr_expect_eq(ask(0), -ENETUNREACH);
	cr_expect_eq(ask(PAXSHM_LINEARIZABLE), -ENETUNREACH);
	cr_expect_eq(paxshm_holder(session, "free", 4, 0, &who), -ENETUNREACH);
	cr_expect_eq(FAKE_SAW(holders), 0);
	atom_store_release(&fake.tables->fresh_as_of_ns, now_ns);
	cr_expect_eq(ask(0), 0);
}

/* The clocks are asked once a second, and what they are compared with each time. */
Test(holder, second_look_in_a_second_hears_of_what_has_ended)
{
	cr_assert_eq(paxshm_lock(session, "k"), 0);
	atom_store_release(&fake.tables->host_lease_ns, 3600 * NS_PER_S);
	atom_store_release(&fake.tables->fresh_as_of_ns, sys_now_ns());
	fake_lease(&fake, 3600 * NS_PER_S);
	cr_expect_eq(ask(0), 0);
	cr_expect_neq(session->agreed_ns, 0, "the clocks agreed in this second");
	cr_expect_eq(ask(0), 0);
	atom_store_release(&fake.tables->fresh_as_of_ns, sys_now_ns() - 3601 * NS_PER_S);
	cr_expect_eq(ask(0), -ENETUNREACH, "old tables");
	atom_store_release(&fake.tables->fresh_as_of_ns, sys_now_ns());
	cr_expect_eq(ask(0), 0);
	atom_store_release(&fake.tables->deadline_ns, 0ull);
	cr_expect_eq(ask(0), -ENETUNREACH, "the tables have moved");
	fake_lease(&fake, 3600 * NS_PER_S);
	cr_expect_eq(ask(0), 0);
	atom_store_release(&fake.tables->quorum, 0u);
	cr_expect_eq(ask(0), -ENETUNREACH, "no quorum");
}

/* CLOCK_MONOTONIC stands still while the machine is suspended, and so would the age of the tables. */
Test(holder, trap_12_tables_are_old_when_the_lease_has_ended_in_a_suspended_machine)
{
	cr_assert_eq(paxshm_lock(session, "k"), 0);
	fake_lease(&fake, NS_PER_S * 3600);
	cr_expect_eq(ask(0), 0);
	atom_store_release(&fake.tables->deadline_boot_ns, 1ull);
	atom_store_release(&fake.tables->clock_gap_ns, fake.tables->clock_gap_ns - 3600 * NS_PER_S);
	cr_expect_eq(ask(0), -ENETUNREACH);
}

/* While it was asked, the agent died and the tables grew old. */
Test(holder, silence_is_no_quorum_when_the_tables_are_old)
{
	fake_hold(&fake, "k");
	fake_lock(&fake);
	fake.paused = true;
	fake_unlock(&fake);
	session->agent_timeout_ns = 50 * NS_PER_MS;
	fake_lease(&fake, 10 * NS_PER_MS);
	cr_assert_eq(ask(0), -ENETUNREACH);
	fake_lock(&fake);
	fake.paused = false;
	fake_unlock(&fake);
}

Test(holder, free_lock_is_nobodys)
{
	cr_assert_eq(ask(0), -ESRCH);
	cr_assert_eq(who.host_id, 0);
	cr_assert_eq(FAKE_SAW(holders), 0);
}

Test(holder, free_lock_is_not_known_to_be_free_without_quorum)
{
	atom_store_release(&fake.tables->quorum, 0u);
	cr_assert_eq(ask(0), -ENETUNREACH);
	cr_assert_eq(ask(PAXSHM_LINEARIZABLE), -ENETUNREACH);
}

Test(holder, another_hosts_owner_is_asked_for)
{
	fake_hold(&fake, "k");
	other_host_says(FAKE_OTHER, 55, 0);
	cr_assert_eq(ask(0), 0);
	cr_expect_eq(who.pid, 55);
	cr_expect_str_eq(who.host, "beta");
	cr_expect_eq(who.start_time, 88);
	cr_expect_eq(FAKE_SAW(holders), 1);
	cr_expect_eq(FAKE_SAW(last_holder.flags), 0);
	cr_expect_eq(FAKE_SAW(last_holder.key_len), 1);
}

Test(holder, linearizable_always_asks)
{
	cr_assert_eq(paxshm_lock(session, "k"), 0);
	other_host_says(FAKE_HOST, 56, 0);
	cr_assert_eq(ask(PAXSHM_LINEARIZABLE), 0);
	cr_expect_eq(who.pid, 56);
	cr_expect_eq(FAKE_SAW(last_holder.flags), REQUEST_LINEARIZABLE);
}

Test(holder, answers_of_the_agent_are_passed_on)
{
	fake_hold(&fake, "k");
	other_host_says(0, 0, 0);
	cr_expect_eq(ask(0), -ESRCH);
	other_host_says(0, 0, -ENETUNREACH);
	cr_expect_eq(ask(0), -ENETUNREACH);
	other_host_says(0, 0, 5);
	cr_expect_eq(ask(0), -EPROTO);
	cr_expect_eq(who.host_id, 0);
}

Test(holder, silent_agent_is_not_waited_for_for_ever)
{
	fake_hold(&fake, "k");
	fake_lock(&fake);
	fake.paused = true;
	fake_unlock(&fake);
	session->agent_timeout_ns = 20 * NS_PER_MS;
	cr_assert_eq(ask(0), -ENOTCONN);
	session->agent_timeout_ns = 10 * NS_PER_S;
	/* The answer that comes in the end disturbs nobody, and the call's place is free again. */
	fake_lock(&fake);
	fake.paused = false;
	fake_unlock(&fake);
	fake_until(&fake, &fake.cancels, 1);
	other_host_says(FAKE_OTHER, 57, 0);
	cr_assert_eq(ask(0), 0);
	cr_assert_eq(who.pid, 57);
	cr_assert_eq(FAKE_SAW(last_holder.call), 0);
}

Test(holder, bad_arguments)
{
	char key[PAXSHM_KEY_MAX + 1] = "k";

	cr_expect_eq(paxshm_holder(NULL, "k", 1, 0, &who), -EINVAL);
	cr_expect_eq(paxshm_holder(session, NULL, 1, 0, &who), -EINVAL);
	cr_expect_eq(paxshm_holder(session, "k", 0, 0, &who), -EINVAL);
	cr_expect_eq(paxshm_holder(session, key, sizeof(key), 0, &who), -ENAMETOOLONG);
	cr_expect_eq(paxshm_holder(session, "k", 1, 8, &who), -EINVAL);
	cr_expect_eq(paxshm_holder(session, "k", 1, 0, NULL), -EINVAL);
	who.size = 0;
	cr_expect_eq(ask(0), -EINVAL);
}

Test(holder, a_lock_is_an_address)
{
	cr_assert_eq(paxshm_lock(session, "k"), 0);
	cr_assert_eq(paxshm_resolve(session, "lock:k", &who), 0);
	cr_expect_eq(who.pid, (uint32_t)getpid());
	cr_expect_eq(paxshm_resolve(session, "lock:free", &who), -ESRCH);
	cr_expect_eq(paxshm_resolve(session, "lock:", &who), -EINVAL);
	cr_expect_eq(paxshm_resolve(session, "k", &who), -EINVAL);
	cr_expect_eq(paxshm_resolve(session, NULL, &who), -EINVAL);
	cr_expect_eq(paxshm_resolve(session, "name:k", &who), -ENOSYS);
	cr_expect_eq(paxshm_resolve(session, "pid:alpha/1", &who), -ENOSYS);
}
