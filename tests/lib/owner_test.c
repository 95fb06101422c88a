/* SPDX-License-Identifier: Apache-2.0 */
/* owner: row, gate, session row; and paxshm_look(), paxshm_next_lock() and paxshm_holder(), which tell what it finds. */
#include <pthread.h>

#include "plain_host.h"

static struct plain_host *host;
static struct paxshm_session *s;
static struct paxshm_who who;
static struct paxshm_lock_info info;

static void setup(void)
{
	host = plain_host_new();
	s = &host->session;
	who = (struct paxshm_who)PAXSHM_INIT(who);
	info = (struct paxshm_lock_info)PAXSHM_INIT(info);
}

static void teardown(void)
{
	plain_host_free(host);
}

TestSuite(owner, .init = setup, .fini = teardown, .timeout = 30);

static enum owner_seen see(void)
{
	struct lock_value value = table_value(host->tables, host->row);
	struct gate_shown shown;

	return owner_see(s, &value, &who, &shown);
}

static void look(void)
{
	cr_assert_eq(paxshm_look(s, "k", 1, &info), 0);
}

Test(owner, process_is_named_with_token_and_time)
{
	uint64_t since_ns = sys_coarse_ns();

	plain_open(host);
	plain_take(host, 2, since_ns - 5);
	gate_free(plain_gate(host), 2, PLAIN_OPENED + 1);
	plain_take(host, 3, since_ns);
	cr_assert_eq(paxshm_holder(s, "k", 1, 0, &who), 0);
	cr_expect_eq(who.size, sizeof(who));
	cr_expect_eq(who.host_id, 1);
	cr_expect_str_eq(who.host, "host1");
	cr_expect_eq(who.pid, 103);
	cr_expect_eq(who.session, 3);
	cr_expect_eq(who.start_time, 1003);
	cr_expect_str_eq(who.program, "prog-3");
	cr_expect_eq(who.token, 502, "the second acquisition under a base of 501");
	cr_expect_eq(who.since_ns, since_ns);
}

Test(owner, kept_lock_is_nobodys)
{
	plain_open(host);
	cr_assert_eq(paxshm_holder(s, "k", 1, 0, &who), -ESRCH);
	look();
	cr_expect_eq(info.flags, PAXSHM_KEPT);
	cr_expect_eq(info.owner.host_id, 1);
	cr_expect_eq(info.owner.pid, 0);
	cr_expect_eq(info.mode, PAXSHM_EX);
	cr_expect_eq(info.holders, 1);
}

Test(owner, look_counts_what_happens_at_the_gate)
{
	plain_open(host);
	plain_take(host, 2, 1);
	plain_join(host, 3, 1);
	plain_join(host, 4, 1);
	plain_gate(host)->handed = 9;
	plain_ask(host, 2);
	look();
	cr_expect_eq(info.key_len, 1);
	cr_expect_str_eq((char *)info.key, "k");
	cr_expect_eq(info.owner.pid, 102);
	cr_expect_eq(info.waiters, 2);
	cr_expect_eq(info.waiting, 1);
	cr_expect_eq(info.acquired, PLAIN_OPENED + 1);
	cr_expect_eq(info.series, (uint64_t)PLAIN_GATE << 32 | 2);
	cr_expect_eq(info.handed, 9);
	cr_expect_eq(info.revoked, 4);
	cr_expect_eq(info.flags, 0);

	struct paxshm_lock_info next = PAXSHM_INIT(next);
	uint32_t cursor = 0;

	cr_assert_eq(paxshm_next_lock(s, &cursor, &next), 1);
	cr_expect_eq(memcmp(&next, &info, sizeof(info)), 0, "both tell the same");
	cr_expect_eq(paxshm_next_lock(s, &cursor, &next), 0);
}

Test(owner, lock_that_is_wanted_back_says_so)
{
	plain_open(host);
	plain_take(host, 2, 1);
	cr_assert_eq(gate_close(&host->gates, PLAIN_GATE), GATE_WAITS);
	look();
	cr_expect_eq(info.flags, PAXSHM_RECALLED);
	cr_expect_eq(info.owner.pid, 102);
}

/* The agent has the gate: it has just closed it, or is about to open it. */
Test(owner, gate_of_the_agent_tells_of_no_process)
{
	plain_open(host);
	cr_assert_eq(gate_close(&host->gates, PLAIN_GATE), GATE_DONE);
	cr_expect_eq(see(), OWNER_HOST);
	look();
	cr_expect_eq(info.flags, 0);
	cr_expect_eq(info.owner.pid, 0);
	cr_expect_eq(info.owner.host_id, 1);
	plain_ask(host, 2);
	look();
	cr_expect_eq(info.flags, PAXSHM_RECALLED);
}

/* The release is proposed: the row says still that the lock is ours, the terms not any more. */
Test(owner, terms_of_another_delegation_are_not_the_rows)
{
	plain_open(host);
	plain_take(host, 2, 1);
	plain_terms(host)->delegation++;
	cr_expect_eq(see(), OWNER_MOVED);
	look();
	cr_expect_eq(info.flags, PAXSHM_RECALLED);
	cr_expect_eq(info.owner.host_id, 1);
	cr_expect_eq(info.owner.pid, 0);
	cr_expect_eq(info.series, 0);
	cr_expect_eq(info.acquired, 0);
}

Test(owner, another_hosts_lock_shows_its_host)
{
	plain_ask(host, 2);
	cr_expect_eq(see(), OWNER_HOST);
	look();
	cr_expect_eq(info.owner.host_id, 2);
	cr_expect_str_eq(info.owner.host, "host2");
	cr_expect_eq(info.owner.pid, 0);
	cr_expect_eq(info.flags, 0);
	cr_expect_eq(info.series, 0);
}

Test(owner, remembered_lock_is_nobodys)
{
	struct lock_value value = { .flags = LOCK_DIED };

	table_set(host->tables, NULL, table_insert(host->tables, NULL, "k", 1), &value);
	look();
	cr_expect_eq(info.flags, PAXSHM_OWNER_DIED);
	cr_expect_eq(info.owner.host_id, 0);
	cr_expect_eq(info.mode, 0);
	cr_expect_eq(info.holders, 0);
	cr_expect_eq(paxshm_holder(s, "k", 1, 0, &who), -ESRCH);
}

Test(owner, token_outside_the_range_is_not_told)
{
	plain_open(host);
	plain_terms(host)->range = 1;
	plain_take(host, 2, 1);
	cr_expect_eq(see(), OWNER_KNOWN);
	cr_expect_eq(who.token, 501);
	gate_free(plain_gate(host), 2, PLAIN_OPENED + 1);
	plain_take(host, 2, 1);
	cr_expect_eq(see(), OWNER_KNOWN);
	cr_expect_eq(who.token, 0);
}

Test(owner, nonsense_in_the_arena_is_no_address)
{
	plain_open(host);
	plain_gate(host)->word = gate_word(PLAIN_OPENED + 1, 0xffff, PLAIN_SESSIONS + 1, 0);
	plain_gate(host)->since_ns = UINT64_MAX;
	cr_expect_eq(see(), OWNER_HOST);
	look();
	cr_expect_eq(info.waiters, 0);
	cr_expect_eq(info.owner.since_ns, 0);
	plain_gate(host)->word = gate_word(PLAIN_OPENED + 1, 0, 2, 0);
	cr_expect_eq(see(), OWNER_KNOWN);
	cr_expect_eq(who.since_ns, 0, "nobody owns a lock since a time to come");
	tables_session(host->tables, 2)->pid = 0;
	cr_expect_eq(see(), OWNER_HOST);
	cr_expect_eq(who.session, 0);
}

Test(owner, name_of_a_program_ends)
{
	plain_open(host);
	plain_take(host, 2, 1);
	memset(tables_session(host->tables, 2)->program, 'x', PAXSHM_PROGRAM_BYTES);
	cr_expect_eq(see(), OWNER_KNOWN);
	cr_expect_eq(strlen(who.program), PAXSHM_PROGRAM_BYTES - 1);
}

static bool enough;

/* Session 2 ends and begins again between any two acquisitions, each time as another process. */
static void *come_and_go(void *with)
{
	struct session_row *row = tables_session(host->tables, 2);

	for (uint32_t i = 0; !atom_load_acquire(&enough); i++) {
		atom_store_release(&row->pid, 1000 + i);
		atom_store_release(&row->start, 2000ull + i);
		gate_free(plain_gate(host), 2, plain_take(host, 2, 1));
	}
	return with;
}

Test(owner, process_belongs_to_the_acquisition_that_was_seen)
{
	/* A busy machine may run the two by turns for long, and then nothing changes under a look. */
	uint64_t until_ns = sys_now_ns() + NS_PER_S, patience_ns = until_ns + 20 * NS_PER_S;
	unsigned known = 0, moved = 0, torn = 0;
	pthread_t thread;

	plain_open(host);
	cr_assert_eq(pthread_create(&thread, NULL, come_and_go, NULL), 0);
	while (sys_now_ns() < (known && moved ? until_ns : patience_ns)) {
		enum owner_seen seen = see();

		moved += seen == OWNER_MOVED;
		if (seen != OWNER_KNOWN)
			continue;
		known++;
		torn += who.pid - 1000 != (uint32_t)(who.token - 501) || who.start_time - 2000 != who.token - 501;
	}
	atom_store_release(&enough, true);
	pthread_join(thread, NULL);
	cr_expect_eq(torn, 0, "%u of %u", torn, known);
	cr_expect_gt(known, 0);
	cr_expect_gt(moved, 0, "never looked at while it changed");
}

Test(owner, free_key_is_not_found)
{
	cr_expect_eq(paxshm_look(s, "k", 1, &info), -ESRCH);
	cr_expect_eq(paxshm_holder(s, "k", 1, 0, &who), -ESRCH);
}

Test(owner, status_shows_the_counters_of_gates)
{
	struct paxshm_status st = PAXSHM_INIT(st);

	host->tables->revocations = 2;
	host->tables->evictions = 3;
	host->tables->repairs = 4;
	host->tables->nonsense = 5;
	cr_assert_eq(paxshm_status(s, 0, &st), 0);
	cr_expect_eq(st.revocations, 2);
	cr_expect_eq(st.evictions, 3);
	cr_expect_eq(st.repairs, 4);
	cr_expect_eq(st.nonsense, 5);
}

Test(owner, bad_arguments)
{
	plain_open(host);
	cr_expect_eq(paxshm_look(NULL, "k", 1, &info), -EINVAL);
	cr_expect_eq(paxshm_look(s, "k", 0, &info), -EINVAL);
	cr_expect_eq(paxshm_look(s, NULL, 1, &info), -EINVAL);
	cr_expect_eq(paxshm_look(s, "k", 1, NULL), -EINVAL);
	cr_expect_eq(paxshm_look(s, "k", KEY_MAX + 1, &info), -ENAMETOOLONG);
	info.size--;
	cr_expect_eq(paxshm_look(s, "k", 1, &info), -EINVAL);
	host->mine = 0;
	info.size++;
	cr_expect_eq(paxshm_look(s, "k", 1, &info), -EPERM);
	host->mine = 1;
	host->session.lost = 1;
	cr_expect_eq(paxshm_look(s, "k", 1, &info), -ENOTCONN);
}
