/* SPDX-License-Identifier: Apache-2.0 */
#include "plain_host.h"

static struct plain_host *host;
static struct paxshm_session *s;
static struct paxshm_waiter waiters[8];

static void setup(void)
{
	host = plain_host_new();
	s = &host->session;
	waiters[0] = (struct paxshm_waiter)PAXSHM_INIT(waiters[0]);
}

static void teardown(void)
{
	plain_host_free(host);
}

TestSuite(waiters, .init = setup, .fini = teardown, .timeout = 30);

static int ask(size_t max)
{
	return paxshm_waiters(s, "k", 1, waiters, max);
}

Test(waiters, who_waits_here_is_named_oldest_first_and_hosts_come_behind)
{
	uint64_t now_ns = sys_coarse_ns();

	plain_open(host);
	plain_take(host, 1, 1);
	for (uint32_t slot = 2; slot <= 4; slot++)
		plain_join(host, slot, now_ns - 100 + slot);
	plain_ask(host, 3);
	plain_ask(host, 2);
	cr_assert_eq(ask(8), 5);
	for (uint32_t i = 0; i < 3; i++) {
		cr_expect_eq(waiters[i].size, sizeof(waiters[i]));
		cr_expect_eq(waiters[i].who.size, sizeof(waiters[i].who));
		cr_expect_eq(waiters[i].who.session, i + 2);
		cr_expect_eq(waiters[i].who.pid, i + 102);
		cr_expect_eq(waiters[i].who.start_time, i + 1002);
		cr_expect_eq(waiters[i].who.since_ns, now_ns - 98 + i);
		cr_expect_eq(waiters[i].who.program[5], (char)('2' + i));
		cr_expect_str_eq(waiters[i].who.host, "host1");
		cr_expect_eq(waiters[i].mode, PAXSHM_EX);
	}
	cr_expect_str_eq(waiters[3].who.host, "host3");
	cr_expect_eq(waiters[3].who.pid, 0);
	cr_expect_eq(waiters[3].who.since_ns, 0);
	cr_expect_str_eq(waiters[4].who.host, "host2");
}

Test(waiters, with_little_room_the_oldest_are_told_and_all_are_counted)
{
	plain_open(host);
	plain_take(host, 1, 1);
	for (uint32_t slot = 2; slot <= 5; slot++)
		plain_join(host, slot, slot);
	plain_ask(host, 2);
	cr_assert_eq(ask(2), 5);
	cr_expect_eq(waiters[0].who.session, 2);
	cr_expect_eq(waiters[1].who.session, 3);
	cr_expect_eq(waiters[2].size, 0, "no more than asked for");
	cr_expect_eq(paxshm_waiters(s, "k", 1, NULL, 0), 5);
}

Test(waiters, answers_stand_at_the_callers_stride)
{
	struct {
		struct paxshm_waiter waiter;
		uint64_t later_field;
	} wide[2] = { { .waiter = { .size = sizeof(wide[0]) }, .later_field = 1 }, { .later_field = 2 } };

	plain_open(host);
	plain_take(host, 1, 1);
	plain_join(host, 2, 2);
	plain_join(host, 3, 3);
	cr_assert_eq(paxshm_waiters(s, "k", 1, &wide[0].waiter, 2), 2);
	cr_expect_eq(wide[0].waiter.who.session, 2);
	cr_expect_eq(wide[1].waiter.who.session, 3);
	cr_expect_eq(wide[0].later_field, 1);
	cr_expect_eq(wide[1].later_field, 2);
}

Test(waiters, who_left_or_has_become_the_owner_does_not_wait)
{
	plain_open(host);
	uint32_t count = plain_take(host, 1, 1);
	plain_join(host, 2, 2);
	struct gate_place left = plain_join(host, 3, 3);
	plain_join(host, 4, 4);
	cr_assert_eq(gate_cancel(&host->gates, &left), GATE_LEFT);
	cr_assert_eq(ask(8), 2);
	cr_expect_eq(waiters[0].who.session, 2);
	cr_expect_eq(waiters[1].who.session, 4);

	struct gate_pass pass = { .gate = PLAIN_GATE, .slot = 1, .count = count };

	while (gate_release(&host->gates, &pass, 0) == GATE_WAKE)
		;
	waiters[0].size = sizeof(waiters[0]);
	cr_assert_eq(ask(8), 1);
	cr_expect_eq(waiters[0].who.session, 4);
}

Test(waiters, another_hosts_lock_shows_hosts_alone)
{
	plain_ask(host, 2);
	plain_ask(host, 1);
	plain_ask(host, 3);
	cr_assert_eq(ask(8), 2);
	cr_expect_str_eq(waiters[0].who.host, "host1");
	cr_expect_str_eq(waiters[1].who.host, "host3");
}

Test(waiters, who_waits_through_the_agent_is_named_among_the_others_by_age)
{
	plain_open(host);
	plain_take(host, 1, 1);
	plain_join(host, 2, 20);
	plain_join(host, 3, 40);
	plain_claim(host, 4, CLAIM_SHOWN_WAITS, LOCK_MODE_PR, 30);
	plain_claim(host, 5, CLAIM_SHOWN_WAITS, LOCK_MODE_EX, 10);
	plain_claim(host, 6, CLAIM_SHOWN_SHARES, LOCK_MODE_PR, 5);
	table_show_claim(host->tables, 1, 1, 1, CLAIM_SHOWN_WAITS, LOCK_MODE_EX, claim_hash("other", 5), 1);
	cr_assert_eq(ask(8), 4);
	for (uint32_t i = 0; i < 4; i++) {
		static const uint32_t slots[] = { 5, 2, 4, 3 };

		cr_expect_eq(waiters[i].who.session, slots[i]);
		cr_expect_eq(waiters[i].who.pid, 100 + slots[i]);
		cr_expect_eq(waiters[i].who.since_ns, 10 * (i + 1));
		cr_expect_eq(waiters[i].mode, slots[i] == 4 ? PAXSHM_PR : PAXSHM_EX);
		cr_expect_str_eq(waiters[i].who.host, "host1");
	}
	cr_expect_eq(paxshm_waiters(s, "k", 1, NULL, 0), 4);
	waiters[2].size = 0;
	cr_expect_eq(ask(2), 4);
	cr_expect_eq(waiters[1].who.session, 2, "with little room: the oldest of both");
	cr_expect_eq(waiters[2].size, 0);
}

Test(waiters, of_another_hosts_lock_the_programs_of_this_host_and_each_hosts_mode)
{
	plain_ask(host, 2);
	plain_ask(host, 1);
	plain_ask_as(host, 3, LOCK_MODE_PR);
	plain_claim(host, 2, CLAIM_SHOWN_WAITS, LOCK_MODE_EX, 10);
	cr_assert_eq(ask(8), 3);
	cr_expect_eq(waiters[0].who.pid, 102);
	cr_expect_str_eq(waiters[1].who.host, "host1");
	cr_expect_eq(waiters[1].mode, PAXSHM_EX);
	cr_expect_str_eq(waiters[2].who.host, "host3");
	cr_expect_eq(waiters[2].mode, PAXSHM_PR);
	plain_claim(host, 2, 0, 0, 0);
	cr_expect_eq(ask(8), 2);
}

Test(waiters, claim_of_a_session_that_has_ended_is_not_told)
{
	plain_ask(host, 2);
	plain_claim(host, 2, CLAIM_SHOWN_WAITS, LOCK_MODE_EX, 10);
	tables_session(host->tables, 2)->pid = 0;
	cr_expect_eq(ask(8), 0);
}

Test(waiters, nobody)
{
	cr_expect_eq(ask(8), 0);
	plain_open(host);
	cr_expect_eq(ask(8), 0);
	cr_expect_eq(waiters[0].who.host_id, 0);
}

/* A process gone mad has made a ring of the line, or let it point outside. */
Test(waiters, line_that_makes_no_sense_ends)
{
	plain_open(host);
	plain_take(host, 1, 1);
	struct gate_place two = plain_join(host, 2, 2), three = plain_join(host, 3, 3);
	struct gate_record *r = &host->gates.records[two.record];

	r->older = (uint64_t)three.gen << 32 | three.record;
	cr_assert_geq(ask(8), 2);
	r->older = (uint64_t)UINT32_MAX << 32 | UINT32_MAX;
	waiters[0].size = sizeof(waiters[0]);
	cr_assert_eq(ask(8), 2);
	r->gate = UINT32_MAX;
	cr_assert_eq(ask(8), 1);
}

/* A queue that is just being changed is not believed. */
Test(waiters, queue_is_read_between_two_slots)
{
	plain_ask(host, 2);
	plain_ask(host, 3);
	host->tables->changing = 1;
	cr_expect_eq(ask(8), -EAGAIN);
	host->tables->changing = 2;
	tables_row(host->tables, host->row)->queue_head = UINT32_MAX; /* torn */
	cr_expect_eq(ask(8), 0);
	atom_store_release(&host->tables->ready, 0u);
	cr_expect_eq(ask(8), -ENETUNREACH);
}

Test(waiters, bad_arguments)
{
	cr_expect_eq(paxshm_waiters(NULL, "k", 1, waiters, 8), -EINVAL);
	cr_expect_eq(paxshm_waiters(s, "", 0, waiters, 8), -EINVAL);
	cr_expect_eq(paxshm_waiters(s, "k", 1, NULL, 8), -EINVAL);
	cr_expect_eq(paxshm_waiters(s, "k", KEY_MAX + 1, waiters, 8), -ENAMETOOLONG);
	waiters[0].size--;
	cr_expect_eq(ask(8), -EINVAL);
	host->mine = 0;
	cr_expect_eq(ask(8), -EPERM);
	host->mine = 1;
	waiters[0].size++;
	host->session.lost = 1;
	cr_expect_eq(ask(8), -ENOTCONN);
}
