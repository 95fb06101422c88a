/* SPDX-License-Identifier: Apache-2.0 */
/* Until when a host may trust its delegations; as leader, which hosts are alive. */
#include "agent_rig.h"

#define LEASE_MS (host_lease_ns / NS_PER_MS)

/* As in tools/paxshmd/inside.h: the words that these tests say themselves. */
enum { RENEW = 6,
       RENEWED = 7,
       INDEXED = 9 };

static struct tables *tables(uint16_t host)
{
	return hosts[host].memory.tables;
}

static uint16_t other_than(uint16_t a, uint16_t b)
{
	uint16_t i = 1;

	while (i == a || i == b)
		i++;
	return i;
}

/* Two numbers that follow a word, as an agent says them; the third may be left out (0). */
static void say(uint16_t to, uint16_t from, uint8_t word, uint64_t x, uint64_t y, uint64_t z)
{
	unsigned char body[64], frame[128];
	struct writer w = writer_on(body, sizeof(body));

	put_u8(&w, word);
	put_u64(&w, x);
	put_u64(&w, y);
	if (z)
		put_u64(&w, z);
	int n = wire_put_agent(frame, sizeof(frame), body, w.len);

	cr_assert_gt(n, 0);
	step(&hosts[to], (struct agent_event){ .kind = AGENT_FRAME, .from = from, .bytes = frame, .len = (size_t)n });
}

/* Its process is gone, or stands still; nobody else hears of that. */
static void freeze(uint16_t host)
{
	hosts[host].up = false;
}

static void thaw(uint16_t host)
{
	hosts[host].up = true;
	link_all(&hosts[host]);
	settle();
}

static void lose_links(uint16_t host)
{
	for (uint16_t i = 1; i <= n_hosts; i++)
		if (i != host && hosts[i].up)
			step(&hosts[i], (struct agent_event){ .kind = AGENT_LINK_DOWN, .from = host });
}

static void restart(uint16_t host)
{
	lose_links(host);
	agent_free(hosts[host].agent);
	start_agent(&hosts[host]);
	link_all(&hosts[host]);
	settle();
}

/* The same machine begins with fresh memory; programs' sessions went with the old one. */
static void begin_anew(uint16_t host, uint64_t heir_of)
{
	struct host *h = &hosts[host];

	lose_links(host);
	agent_free(h->agent);
	memset(h->memory.private, 0, agent_private_size(&h->config.limits));
	memset(h->memory.tables, 0, agent_tables_size(&h->config.limits));
	memset(h->memory.arena, 0, agent_arena_size(&h->config.limits));
	h->config.founding = false;
	h->config.nonce += 1000;
	h->config.heir_of = heir_of;
	start_agent(h);
	link_all(h);
	settle();
}

static void want(uint16_t host, uint32_t slot, const char *key)
{
	request(&hosts[host], slot, wish(REQUEST_ACQUIRE, 1, key, 0));
	settle();
}

/* Milliseconds until there is an answer. */
static uint64_t passes_until_granted(uint16_t host, uint32_t slot, uint64_t at_most)
{
	struct ring_completion c;

	for (uint64_t ms = 0; ms <= at_most; ms += 5) {
		if (answered(&hosts[host], slot, &c)) {
			cr_assert_eq(c.result, 0);
			return ms;
		}
		pass(5);
	}
	cr_assert_fail("no grant within %llu ms", (unsigned long long)at_most);
	return at_most;
}

static bool released(uint16_t host, uint32_t slot, const struct ring_completion *c)
{
	bool mine = let_go(&hosts[host], slot, c);

	settle();
	return mine;
}

Test(lease, a_suspended_host_grants_nothing_and_goes_on_when_it_is_renewed)
{
	ready(3, 64);
	uint32_t a = open_session(&hosts[1], 41), b = open_session(&hosts[1], 42);
	struct ring_completion owner = acquire(&hosts[1], a, "k"), c;
	uint64_t life = tables(1)->incarnation;

	want(1, b, "k");
	freeze(2);
	freeze(3);
	pass(LEASE_MS + 100);
	cr_assert_leq(tables(1)->deadline_boot_ns, now_ns);
	cr_assert_eq(tables(1)->quorum, 0);
	cr_assert(released(1, a, &owner), "it is the owner's to give back");
	pass(500);
	cr_assert_not(answered(&hosts[1], b, &c), "it was given on without a lease");
	thaw(2);
	thaw(3);
	passes_until_granted(1, b, LEASE_MS);
	cr_assert_eq(tables(1)->incarnation, life, "nobody declared it down");
	cr_assert_gt(tables(1)->deadline_boot_ns, now_ns);
	cr_assert_eq(tables(1)->quorum, 1);
}

Test(lease, a_silent_host_is_declared_down_and_its_locks_pass_on)
{
	ready(3, 64);
	uint16_t lead = leader(), silent = other_than(lead, 0);
	uint32_t a = open_session(&hosts[silent], 41), b = open_session(&hosts[lead], 42);
	uint64_t began, deadline;

	acquire(&hosts[silent], a, "k");
	want(lead, b, "k");
	freeze(silent);
	began = now_ns;
	deadline = tables(silent)->deadline_boot_ns;
	passes_until_granted(lead, b, 2 * LEASE_MS);
	cr_assert_geq(now_ns, deadline, "its own lease had not ended");
	cr_assert_leq(now_ns - began, host_lease_ns + 200 * NS_PER_MS);
	cr_assert(tables_host(tables(lead), silent)->down);
	pass(500);
	cr_assert_eq(tables_host(tables(lead), silent)->sweep, HOST_SWEPT);
}

Test(lease, a_host_that_was_declared_down_lapses_and_registers_anew)
{
	ready(3, 64);
	uint16_t lead = leader(), silent = other_than(lead, 0);
	uint32_t a = open_session(&hosts[silent], 41), w = open_session(&hosts[silent], 43), b = open_session(&hosts[lead], 42);
	struct ring_completion owner = acquire(&hosts[silent], a, "k"), again;
	uint64_t life = tables(silent)->incarnation;

	want(silent, w, "k"); /* behind the owner, in the same line */
	want(lead, b, "k");
	freeze(silent);
	passes_until_granted(lead, b, 2 * LEASE_MS);
	thaw(silent);
	pass(500);
	cr_assert_gt(tables(silent)->incarnation, life);
	cr_assert_gt(tables(silent)->deadline_boot_ns, now_ns);
	cr_assert_not(released(silent, a, &owner));
	cr_assert_not(answered(&hosts[silent], w, &again), "the other host has it");
	again = acquire(&hosts[silent], a, "another");
	cr_assert_eq(again.incarnation, tables(silent)->incarnation);
	cr_assert_eq(hosts[silent].fatals, 0);
	equal_tables();
}

/* At each commit of the steps in which it learns of its end and puts that right. */
static jmp_buf death;
static unsigned commits_left;

static void die_at_a_commit(void *context, bool done)
{
	(void)context;
	(void)done;
	if (commits_left && --commits_left == 0)
		longjmp(death, 1);
}

static void learn_of_the_end(uint16_t host, unsigned commits)
{
	struct undo *undo = agent_undo(hosts[host].agent);

	undo->around_commit = die_at_a_commit;
	commits_left = commits;
	if (setjmp(death) == 0) {
		thaw(host);
		pass(100);
	} else {
		hosts[host].up = false;
		restart(host);
	}
	commits_left = 0;
	agent_undo(hosts[host].agent)->around_commit = NULL;
	pass(500);
}

static void end_of_a_life(unsigned commits)
{
	ready(3, 64);
	uint16_t lead = leader(), silent = other_than(lead, 0);
	uint32_t a = open_session(&hosts[silent], 41), b = open_session(&hosts[lead], 42);
	struct ring_completion owner = acquire(&hosts[silent], a, "k");
	uint64_t life = tables(silent)->incarnation;

	want(lead, b, "k");
	freeze(silent);
	passes_until_granted(lead, b, 2 * LEASE_MS);
	learn_of_the_end(silent, commits);
	cr_assert_gt(tables(silent)->incarnation, life);
	cr_assert_not(released(silent, a, &owner));
	cr_assert_eq(hosts[silent].fatals, 0);
	acquire(&hosts[silent], a, "another");
	equal_tables();
}

#define END_OF_A_LIFE(n) \
	Test(lease, an_agent_that_dies_at_commit_##n##_of_the_end_of_its_life_leaves_nothing_of_it) { end_of_a_life(n); }
END_OF_A_LIFE(1)
END_OF_A_LIFE(2)
END_OF_A_LIFE(3)
END_OF_A_LIFE(4)
END_OF_A_LIFE(5)
END_OF_A_LIFE(6)
END_OF_A_LIFE(8)
END_OF_A_LIFE(10)
END_OF_A_LIFE(13)
END_OF_A_LIFE(16)
END_OF_A_LIFE(20)
END_OF_A_LIFE(25)
END_OF_A_LIFE(30)
END_OF_A_LIFE(40)
END_OF_A_LIFE(50)
END_OF_A_LIFE(70)

Test(lease, a_new_leader_waits_a_whole_host_lease)
{
	ready(3, 64);
	uint16_t lead = leader(), silent = other_than(lead, 0), third = other_than(lead, silent);
	uint32_t a = open_session(&hosts[silent], 41), b = open_session(&hosts[third], 42);
	uint64_t began;

	acquire(&hosts[silent], a, "k");
	want(third, b, "k");
	freeze(silent);
	pass(LEASE_MS * 8 / 10);
	restart(lead); /* and may lead at once */
	pass(50);
	cr_assert_neq(leader(), 0);
	began = now_ns;
	passes_until_granted(third, b, 2 * LEASE_MS);
	cr_assert_geq(now_ns - began, host_lease_ns - 60 * NS_PER_MS);
}

Test(lease, a_leader_waits_for_a_slow_clock_too)
{
	host_lease_ns = 20 * NS_PER_S;
	ready(3, 64);
	uint16_t lead = leader(), silent = other_than(lead, 0);
	uint32_t a = open_session(&hosts[silent], 41), b = open_session(&hosts[lead], 42);
	uint64_t deadline;

	acquire(&hosts[silent], a, "k");
	want(lead, b, "k");
	freeze(silent);
	deadline = tables(silent)->deadline_boot_ns;
	passes_until_granted(lead, b, 2 * LEASE_MS);
	cr_assert_geq(now_ns - deadline, 2 * host_lease_ns * hosts[1].config.drift_ppm / 1000000);
}

Test(lease, only_the_registered_life_is_renewed)
{
	ready(3, 64);
	uint16_t lead = leader(), host = other_than(lead, 0);
	uint64_t life = tables(host)->incarnation, deadline = tables(host)->deadline_boot_ns;
	unsigned before;

	now_ns += NS_PER_MS;
	say(host, lead, RENEWED, life - 1, now_ns, 1);
	say(host, lead, RENEWED, life + 1, now_ns, 1);
	cr_assert_eq(tables(host)->deadline_boot_ns, deadline);
	say(host, lead, RENEWED, life, now_ns + NS_PER_S, 1); /* a time that it cannot have said */
	cr_assert_eq(tables(host)->deadline_boot_ns, deadline);
	say(host, lead, RENEWED, life, now_ns, 1);
	cr_assert_eq(tables(host)->deadline_boot_ns, now_ns + host_lease_ns);

	before = queue_end;
	say(lead, host, RENEW, life - 1, now_ns, 0);
	say(lead, host, RENEW, 0, now_ns, 0);
	cr_assert_eq(queue_end, before, "it renewed another life");
	say(lead, host, RENEW, life, now_ns, 0);
	cr_assert_gt(queue_end, before);
}

Test(lease, an_old_answer_does_not_shorten_a_lease)
{
	ready(3, 64);
	uint16_t lead = leader(), host = other_than(lead, 0);
	uint64_t life = tables(host)->incarnation;

	say(host, lead, RENEWED, life, now_ns, 1);
	say(host, lead, RENEWED, life, now_ns - 100 * NS_PER_MS, 1);
	cr_assert_eq(tables(host)->deadline_boot_ns, now_ns + host_lease_ns);
}

Test(lease, a_leader_without_its_own_lease_renews_nothing)
{
	ready(3, 64);
	uint16_t lead = leader(), host = other_than(lead, 0);
	uint64_t life = tables(host)->incarnation;
	unsigned before = queue_end;

	now_ns += 300 * NS_PER_MS; /* it stood still so long */
	say(lead, host, RENEW, life, now_ns, 0);
	for (unsigned i = before; i < queue_end; i++)
		cr_assert(wire_type_of(queue[i]->bytes) != WIRE_AGENT || queue[i]->to != host, "it renewed");
}

/* What its observers had asked meanwhile it has not heard: the only voter is deposed by nobody, and must not take its own
 * silence for theirs. */
Test(lease, a_leader_that_stood_still_declares_nobody_down_for_it)
{
	n_voters = 1;
	ready(3, 64);
	uint32_t a = open_session(&hosts[2], 41);
	struct ring_completion owner = acquire(&hosts[2], a, "k");
	uint64_t life = tables(2)->incarnation;

	freeze(1);
	pass(3 * LEASE_MS);
	cr_assert_leq(tables(2)->deadline_boot_ns, now_ns);
	thaw(1);
	pass(LEASE_MS / 2);
	cr_assert_eq(tables(2)->incarnation, life);
	cr_assert_gt(tables(2)->deadline_boot_ns, now_ns);
	cr_assert(released(2, a, &owner));
	freeze(3);
	pass(LEASE_MS + 200);
	cr_assert(tables_host(tables(1), 3)->down, "but who is silent is declared down");
}

Test(lease, an_heir_frees_the_locks_of_the_last_life_at_once)
{
	host_lease_ns = 60 * NS_PER_S;
	ready(3, 64);
	uint16_t lead = leader(), host = other_than(lead, 0);
	uint32_t a = open_session(&hosts[host], 41), b = open_session(&hosts[lead], 42);
	uint64_t life = tables(host)->incarnation;

	acquire(&hosts[host], a, "k");
	want(lead, b, "k");
	begin_anew(host, hosts[host].config.nonce);
	passes_until_granted(lead, b, 1000);
	pass(200);
	cr_assert_gt(tables(host)->incarnation, life);
	equal_tables();
}

Test(lease, a_life_that_is_no_heir_waits_until_the_last_one_has_ended)
{
	ready(3, 64);
	uint16_t lead = leader(), host = other_than(lead, 0);
	uint32_t a = open_session(&hosts[host], 41), b = open_session(&hosts[lead], 42);
	uint64_t deadline;

	acquire(&hosts[host], a, "k");
	want(lead, b, "k");
	deadline = tables(host)->deadline_boot_ns;
	listen_for = "event=registration.waits";
	begin_anew(host, hosts[host].config.nonce + 1); /* which it only guessed */
	passes_until_granted(lead, b, 2 * LEASE_MS);
	cr_assert_geq(now_ns, deadline);
	pass(200);
	cr_assert_neq(tables(host)->incarnation, 0);
	cr_assert_eq(hosts[host].heard, 1, "it says once why it does not serve");
	cr_assert_eq(hosts[host].fatals, 0);
	equal_tables();
}

Test(lease, what_an_ended_life_held_is_freed_in_bites)
{
	unsigned n = 200; /* three times what one command frees */
	char key[16];

	n_claims = 256;
	ready(3, 256);
	uint16_t lead = leader(), silent = other_than(lead, 0);
	uint32_t a = open_session(&hosts[silent], 41);

	for (unsigned i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "key-%u", i);
		acquire(&hosts[silent], a, key);
	}
	freeze(silent);
	pass(LEASE_MS + 300);
	cr_assert_eq(tables_host(tables(lead), silent)->sweep, HOST_SWEPT);
	for (unsigned i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "key-%u", i);
		uint32_t row = table_find(tables(lead), key, (uint32_t)strlen(key));
		cr_assert(!row || !table_value(tables(lead), row).delegation, "%s is held", key);
	}
	thaw(silent);
	pass(500);
	equal_tables();
}

Test(lease, the_tables_say_how_fresh_they_are)
{
	ready(3, 64);
	for (uint16_t i = 1; i <= 3; i++) {
		uint64_t before = tables(i)->fresh_as_of_ns;

		cr_assert_geq(before + host_lease_ns / 2, now_ns);
		cr_assert_leq(before, now_ns);
	}
	freeze(2);
	freeze(3);
	uint64_t before = tables(1)->fresh_as_of_ns;

	pass(500);
	cr_assert_leq(tables(1)->fresh_as_of_ns, before + 200 * NS_PER_MS, "nobody can have told it anything");
}

/* A leader names the highest slot that it has sent. When it dies, that slot may never be: the next leader begins
 * behind what it finds, and if nobody wants a lock, nothing follows. */
Test(lease, tables_grow_fresh_although_a_slot_that_a_dead_leader_named_never_comes)
{
	ready(3, 64);
	uint16_t lead = leader(), host = other_than(lead, 0);

	say(host, lead, RENEWED, tables(host)->incarnation, now_ns, tables(host)->agreed.applied + 50);
	freeze(lead);
	pass(2000);
	cr_assert_neq(leader(), lead);
	cr_assert_geq(tables(host)->fresh_as_of_ns + host_lease_ns, now_ns, "old, and older every moment");
}

Test(lease, who_asks_how_far_the_log_is_asks_the_next_leader_again)
{
	ready(3, 64);
	uint16_t lead = leader(), host = other_than(lead, 0);
	uint32_t a = open_session(&hosts[host], 41);
	struct ring_completion c;

	request(&hosts[host], a, wish(REQUEST_HOLDER, 5, "k", REQUEST_LINEARIZABLE));
	freeze(lead); /* its answer comes, and nothing else of it */
	settle();
	step(&hosts[host], (struct agent_event){ .kind = AGENT_TIME });
	say(host, lead, INDEXED, 1, tables(host)->agreed.applied + 50, 0);
	pass(900);
	cr_assert(answered(&hosts[host], a, &c), "it waits for a slot that never comes");
	cr_assert_eq(c.result, -ESRCH);
}
