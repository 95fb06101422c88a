/* SPDX-License-Identifier: Apache-2.0 */
#include "plain_host.h"

static struct plain_host *host;
static struct paxshm_session *s;
static struct paxshm_who holders[8];

static void setup(void)
{
	host = plain_host_new();
	s = &host->session;
	holders[0] = (struct paxshm_who)PAXSHM_INIT(holders[0]);
}

static void teardown(void)
{
	plain_host_free(host);
}

TestSuite(holders, .init = setup, .fini = teardown, .timeout = 30);

static int ask(size_t max)
{
	return paxshm_holders(s, "k", 1, holders, max);
}

static struct paxshm_lock_info look(void)
{
	struct paxshm_lock_info info = PAXSHM_INIT(info);

	cr_assert_eq(paxshm_look(s, "k", 1, &info), 0);
	return info;
}

Test(holders, who_shares_it_here_comes_oldest_first_and_then_the_other_hosts)
{
	for (uint16_t i = 3; i; i--)
		plain_ask_as(host, i, LOCK_MODE_PR);
	plain_claim(host, 2, CLAIM_SHOWN_SHARES, LOCK_MODE_PR, 20);
	plain_claim(host, 4, CLAIM_SHOWN_SHARES, LOCK_MODE_PR, 10);
	plain_claim(host, 5, CLAIM_SHOWN_WAITS, LOCK_MODE_PR, 5);
	cr_assert_eq(ask(8), 4);
	cr_expect_eq(holders[0].pid, 104);
	cr_expect_eq(holders[0].since_ns, 10);
	cr_expect_str_eq(holders[0].host, "host1");
	cr_expect_str_eq(holders[0].program, "prog-4");
	cr_expect_eq(holders[1].pid, 102);
	cr_expect_eq(holders[2].pid + holders[3].pid, 0);
	cr_expect_eq(holders[2].host_id + holders[3].host_id, 5, "hosts 2 and 3");
	cr_expect_eq(look().holders, 3);
	cr_expect_eq(look().mode, PAXSHM_PR);
	cr_expect_eq(look().owner.pid, 104, "one of those who are known here");
	cr_expect_eq(look().flags, 0);
}

Test(holders, of_hosts_elsewhere_only_the_host_is_known)
{
	plain_ask_as(host, 2, LOCK_MODE_PR);
	plain_claim(host, 2, CLAIM_SHOWN_SHARES, LOCK_MODE_PR, 20); /* on its way out: the host has given it back */
	cr_assert_eq(ask(8), 1);
	cr_expect_str_eq(holders[0].host, "host2");
	cr_expect_eq(holders[0].pid, 0);
	cr_expect_str_eq(look().owner.host, "host2");
	cr_expect_eq(look().owner.pid, 0);
}

Test(holders, shared_lock_that_this_host_keeps_is_nobodys)
{
	plain_ask_as(host, 1, LOCK_MODE_PR);
	cr_expect_eq(ask(8), 0);
	cr_expect_eq(look().flags, PAXSHM_KEPT);
	cr_expect_str_eq(look().owner.host, "host1");
	plain_ask(host, 2);
	cr_expect_eq(look().flags, PAXSHM_KEPT | PAXSHM_RECALLED);
	cr_expect_eq(look().waiting, 1);
}

Test(holders, owner_of_an_exclusive_lock)
{
	plain_open(host);
	cr_expect_eq(ask(8), 0, "kept");
	plain_take(host, 3, 7);
	cr_assert_eq(ask(8), 1);
	cr_expect_eq(holders[0].pid, 103);
	cr_expect_eq(holders[0].token, 501);
	cr_expect_eq(look().holders, 1);
}

Test(holders, another_hosts_exclusive_lock)
{
	plain_ask(host, 3);
	cr_assert_eq(ask(8), 1);
	cr_expect_str_eq(holders[0].host, "host3");
	cr_expect_eq(holders[0].pid, 0);
}

Test(holders, with_little_room_all_are_counted)
{
	plain_ask_as(host, 1, LOCK_MODE_PR);
	plain_ask_as(host, 2, LOCK_MODE_PR);
	for (uint32_t i = 1; i <= 3; i++)
		plain_claim(host, i, CLAIM_SHOWN_SHARES, LOCK_MODE_PR, 10 - i);
	cr_assert_eq(ask(1), 4);
	cr_expect_eq(holders[0].pid, 103);
	cr_expect_eq(holders[1].size, 0, "no more than asked for");
	cr_expect_eq(paxshm_holders(s, "k", 1, NULL, 0), 4);
}

Test(holders, nobody_and_bad_arguments)
{
	struct lock_value died = { .flags = LOCK_DIED };

	cr_expect_eq(ask(8), 0);
	table_set(host->tables, NULL, table_insert(host->tables, NULL, "k", 1), &died);
	cr_expect_eq(ask(8), 0);
	cr_expect_eq(paxshm_holders(NULL, "k", 1, holders, 8), -EINVAL);
	cr_expect_eq(paxshm_holders(s, "", 0, holders, 8), -EINVAL);
	cr_expect_eq(paxshm_holders(s, "k", 1, NULL, 8), -EINVAL);
	holders[0].size = 8;
	cr_expect_eq(ask(8), -EINVAL);
}
