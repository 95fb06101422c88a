/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <unistd.h>

#include "../../shm/atom.h"
#include "../../shm/state/snapshot.h"
#include "../../shm/sys.h"
#include "fake_agent.h"

static struct fake fake;
static paxshm_session *session;

static void start(void)
{
	fake_start(&fake);
	session = fake_open(&fake, 10000);
}

static void stop(void)
{
	paxshm_close(session);
	fake_stop(&fake);
}

TestSuite(look, .init = start, .fini = stop, .timeout = 30);

Test(look, status_shows_the_tables)
{
	struct paxshm_status st = PAXSHM_INIT(st);

	fake.tables->ballot = 11;
	fake.tables->agreed.applied = 12;
	fake.tables->chosen = 13;
	fake.tables->agent_pid = 14;
	fake.tables->deaths = 15;
	cr_assert_eq(paxshm_lock(session, "k"), 0);
	cr_assert_eq(paxshm_status(session, 0, &st), 0);
	cr_expect_eq(st.host_id, FAKE_HOST);
	cr_expect_str_eq(st.host, "alpha");
	cr_expect_str_eq(st.leader, "beta");
	cr_expect_str_eq(st.cluster, "fake");
	cr_expect_str_eq(st.space, "default");
	cr_expect_eq(st.role, HOST_VOTER);
	cr_expect_eq(st.quorum, 1);
	cr_expect_eq(st.incarnation, FAKE_INCARNATION);
	cr_expect_eq(st.ballot, 11);
	cr_expect_eq(st.applied, 12);
	cr_expect_eq(st.chosen, 13);
	cr_expect_eq(st.agent_pid, 14);
	cr_expect_eq(st.deaths, 15);
	cr_expect_eq(st.locks, 1);
	cr_expect_eq(st.locks_max, 64);
	cr_expect_eq(st.state_hash, 0);
}

Test(look, status_shows_the_lease)
{
	struct paxshm_status st = PAXSHM_INIT(st);

	cr_assert_eq(paxshm_status(session, 0, &st), 0);
	cr_expect_eq(st.lease_until_ns, UINT64_MAX);
	cr_expect_eq(st.host_lease_ns, 3600 * NS_PER_S);
	cr_expect_eq(st.fresh_as_of_ns, fake.tables->fresh_as_of_ns);
	fake_lease(&fake, 60 * NS_PER_S);
	cr_assert_eq(paxshm_status(session, 0, &st), 0);
	cr_expect_leq(st.lease_until_ns, sys_now_ns() + 60 * NS_PER_S);
	cr_expect_geq(st.lease_until_ns, sys_now_ns() + 50 * NS_PER_S);
	cr_expect_eq(st.quorum, 1);
	atom_store_release(&fake.tables->deadline_boot_ns, sys_boot_ns() - NS_PER_MS); /* the machine was suspended for a minute, deadline_ns stands */
	cr_assert_eq(paxshm_status(session, 0, &st), 0);
	cr_expect_leq(st.lease_until_ns, sys_now_ns());
	cr_expect_gt(st.lease_until_ns, 0);
	fake_down(&fake);
	cr_assert_eq(paxshm_status(session, 0, &st), 0);
	cr_expect_eq(st.lease_until_ns, 0);
	cr_expect_eq(st.quorum, 0);
}

Test(look, status_of_old_tables_says_that_there_is_no_quorum)
{
	struct paxshm_status st = PAXSHM_INIT(st);
	uint64_t now_ns = sys_now_ns();

	atom_store_release(&fake.tables->host_lease_ns, now_ns / 2);
	atom_store_release(&fake.tables->fresh_as_of_ns, now_ns / 2 - NS_PER_S);
	cr_assert_eq(paxshm_status(session, 0, &st), 0);
	cr_expect_eq(st.quorum, 0);
	atom_store_release(&fake.tables->fresh_as_of_ns, now_ns);
	cr_assert_eq(paxshm_status(session, 0, &st), 0);
	cr_expect_eq(st.quorum, 1);
	atom_store_release(&fake.tables->quorum, 0u);
	cr_assert_eq(paxshm_status(session, 0, &st), 0);
	cr_expect_eq(st.quorum, 0);
}

Test(look, status_hashes_when_asked)
{
	struct paxshm_status st = PAXSHM_INIT(st);

	cr_assert_eq(paxshm_lock(session, "k"), 0);
	cr_assert_eq(paxshm_status(session, PAXSHM_STATUS_HASH, &st), 0);
	fake_lock(&fake);
	cr_assert_eq(st.state_hash, snapshot_state_hash(fake.tables));
	fake_unlock(&fake);
	cr_assert_neq(st.state_hash, 0);
}

Test(look, hash_is_refused_while_the_tables_move)
{
	struct paxshm_status st = PAXSHM_INIT(st);

	fake.tables->changing = 1;
	cr_assert_eq(paxshm_status(session, PAXSHM_STATUS_HASH, &st), -EAGAIN);
	fake.tables->changing = 2;
	atom_store_release(&fake.tables->ready, 0u);
	cr_assert_eq(paxshm_status(session, PAXSHM_STATUS_HASH, &st), -ENETUNREACH);
	cr_assert_eq(st.host_id, 0);
}

Test(look, hosts_come_one_by_one)
{
	struct paxshm_host host = PAXSHM_INIT(host);
	uint32_t cursor = 0;

	cr_assert_eq(paxshm_next_host(session, &cursor, &host), 1);
	cr_expect_eq(host.id, FAKE_HOST);
	cr_expect_str_eq(host.name, "alpha");
	cr_expect_eq(host.linked, 1);
	cr_expect_eq(host.incarnation, FAKE_INCARNATION);
	cr_assert_eq(paxshm_next_host(session, &cursor, &host), 1);
	cr_expect_eq(host.id, FAKE_OTHER);
	cr_expect_eq(host.linked, 0);
	cr_assert_eq(paxshm_next_host(session, &cursor, &host), 0);
	cursor = UINT32_MAX;
	cr_assert_eq(paxshm_next_host(session, &cursor, &host), 0);
}

Test(look, locks_come_one_by_one_with_the_owner_that_is_known_here)
{
	struct paxshm_lock_info info = PAXSHM_INIT(info);
	uint32_t cursor = 0;
	int mine = 0, others = 0, rc;

	cr_assert_eq(paxshm_lock(session, "mine"), 0);
	fake_hold(&fake, "theirs");
	while ((rc = paxshm_next_lock(session, &cursor, &info)) == 1) {
		if (strcmp((char *)info.key, "mine") == 0) {
			mine++;
			cr_expect_eq(info.key_len, 4);
			cr_expect_eq(info.owner.pid, (uint32_t)getpid());
			cr_expect_str_eq(info.owner.host, "alpha");
		} else {
			others++;
			cr_expect_str_eq((char *)info.key, "theirs");
			cr_expect_eq(info.owner.pid, 0);
			cr_expect_str_eq(info.owner.host, "beta");
		}
	}
	cr_expect_eq(rc, 0);
	cr_expect_eq(mine, 1);
	cr_expect_eq(others, 1);
	cursor = UINT32_MAX;
	cr_expect_eq(paxshm_next_lock(session, &cursor, &info), 0);
}

Test(look, remembered_lock_is_nobodys_and_says_died)
{
	struct paxshm_lock_info info = PAXSHM_INIT(info);
	struct lock_value value = { .flags = LOCK_DIED };
	uint32_t cursor = 0;

	table_set(fake.tables, NULL, table_insert(fake.tables, NULL, "k", 1), &value);
	cr_assert_eq(paxshm_next_lock(session, &cursor, &info), 1);
	cr_expect_eq(info.flags, PAXSHM_OWNER_DIED);
	cr_expect_eq(info.owner.host_id, 0);
	cr_expect_eq(info.owner.pid, 0);
}

Test(look, gone_agent_is_said)
{
	struct paxshm_status st = PAXSHM_INIT(st);

	fake_hang_up(&fake);
	cr_assert_eq(paxshm_status(session, 0, &st), -ENOTCONN);
}

Test(look, bad_arguments)
{
	struct paxshm_status st = PAXSHM_INIT(st);
	struct paxshm_host host = PAXSHM_INIT(host);
	struct paxshm_lock_info info = PAXSHM_INIT(info);
	uint32_t cursor = 0;

	cr_expect_eq(paxshm_status(NULL, 0, &st), -EINVAL);
	cr_expect_eq(paxshm_status(session, 0, NULL), -EINVAL);
	cr_expect_eq(paxshm_status(session, 2, &st), -EINVAL);
	st.size--;
	cr_expect_eq(paxshm_status(session, 0, &st), -EINVAL);
	cr_expect_eq(paxshm_next_host(session, NULL, &host), -EINVAL);
	host.size = 0;
	cr_expect_eq(paxshm_next_host(session, &cursor, &host), -EINVAL);
	cr_expect_eq(paxshm_next_lock(session, NULL, &info), -EINVAL);
	info.size = 0;
	cr_expect_eq(paxshm_next_lock(session, &cursor, &info), -EINVAL);
}
