/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster_world.h"

/* What must work when nothing, or little, is in the way. Real time is measured in leases by the slowest clock
 * there is, hence the `slow` ones. */

#define HEAL_NS (4000 * NS_PER_MS)
#define SLOW_LEASE (CORE_LEASE * 106 / 100)
#define WATCH_LEASES 30u

void cluster_heal(void)
{
	the.calm = true;
	for (unsigned i = 0; i < the.n_hosts; i++)
		the.hosts[i].paused_until = 0;
	for (uint16_t from = 1; from <= the.n_hosts; from++)
		for (uint16_t to = 1; to <= the.n_hosts; to++)
			cluster_link(from, to, false);
	for (unsigned i = 0; i < the.n_hosts; i++)
		if (!the.hosts[i].up)
			the.hosts[i].back_at = the.now;
	the.propose_at = NEVER;
}

static void pass(uint64_t ns)
{
	uint64_t end = the.now + ns;

	while (!the.wrong[0] && the.now < end)
		cluster_go_on();
}

/* ---- progress ---- */

static bool all_have(uint64_t slot)
{
	for (unsigned i = 0; i < the.n_hosts; i++)
		if (!the.hosts[i].up || the.hosts[i].applied < slot)
			return false;
	return true;
}

/* The newest ballot that anybody leads in or follows. */
static uint64_t newest_ballot(void)
{
	uint64_t newest = 0;

	for (unsigned i = 0; i < the.n_hosts; i++)
		newest = MAX(newest, the.hosts[i].core.p.leader_ballot);
	return newest;
}

/* Its leader proposes; the slot, or 0: it cannot yet. */
static uint64_t propose_in(uint64_t ballot)
{
	for (unsigned i = 0; i < the.n_hosts; i++) {
		const struct paxos *p = &the.hosts[i].core.p;
		uint64_t slot = p->next_slot;

		if (p->role == PAXOS_LEADING && p->ballot == ballot && cluster_propose_at(&the.hosts[i]))
			return slot;
	}
	return 0;
}

/* Old packets may depose one leader or two yet; in the end a value gets through to everybody. */
void cluster_check_progress(void)
{
	uint64_t end = the.now + HEAL_NS, slot = 0, ballot = 0;

	cluster_heal();
	while (!the.wrong[0] && the.now < end && !(slot && all_have(slot))) {
		if (!slot || newest_ballot() != ballot) {
			ballot = newest_ballot();
			slot = propose_in(ballot);
		}
		cluster_go_on();
	}
	if (!slot || !all_have(slot))
		cluster_wrong("no progress after all faults ended (%s)", slot ? "not learnt by all" : "no leader");
}

/* ---- who leads ---- */

/* The host that is in office under its lease. */
static struct host *leader(void)
{
	for (unsigned i = 0; i < the.n_hosts; i++) {
		struct host *h = &the.hosts[i];

		if (leads(h) && paxos_has_lease(&h->core.p, cluster_clock(h)) && h->core.p.leads_slot &&
		    h->core.memory->chosen >= h->core.p.leads_slot)
			return h;
	}
	return NULL;
}

static struct host *wait_for_leader(uint64_t ns)
{
	uint64_t end = the.now + ns;

	while (!the.wrong[0] && the.now < end && !leader())
		cluster_go_on();
	return leader();
}

/* All that was late has come, and one has led for a while. */
static struct host *settle(void)
{
	pass(5 * SLOW_LEASE);
	if (!leader())
		cluster_wrong("no leader in a calm cluster");
	return leader();
}

static struct host *start_calm(const struct cluster_plan *plan, struct cluster_counts *counts)
{
	cluster_set_up(plan, counts);
	cluster_heal();
	return settle();
}

/* Some time goes by, with proposals; the leader changes no more often than this, and in the end there is one. */
static void watch(unsigned changes_max, const char *what)
{
	unsigned before = the.offices;

	the.propose_at = the.now;
	pass(WATCH_LEASES * SLOW_LEASE);
	the.propose_at = NEVER;
	the.counts->changes += the.offices - before;
	if (the.offices - before > changes_max)
		cluster_wrong("%s: %u changes of leader", what, the.offices - before);
	if (!leader())
		cluster_wrong("%s: no leader", what);
}

/* ---- hand-over ---- */

void cluster_check_hand_over(void)
{
	struct host *from = the.wrong[0] ? NULL : settle(), *to = NULL;
	unsigned before = the.offices;
	uint64_t end = the.now + SLOW_LEASE;

	for (uint16_t id = 1; from && id <= the.n_voters; id++)
		if (paxos_may_hand_over(&from->core.p, id, cluster_clock(from)) == 0 && (!to || below(2)))
			to = host(id);
	if (!to)
		return;
	cluster_step(from, (struct paxos_event){ .kind = PAXOS_EVENT_HAND_OVER, .from = id_of(to) });
	while (!the.wrong[0] && the.now < end && leader() != to)
		cluster_go_on();
	if (leader() != to || the.offices != before + 1)
		cluster_wrong("host %u handed over to %u; %s", id_of(from), id_of(to), leader() ? "another leads" : "nobody leads");
}

/* ---- a healthy majority ---- */

/* Fewer than half of the voters, and some observers: drawn, each perhaps cut from anybody, each way. */
static uint32_t draw_ill(void)
{
	uint32_t ill = 0, left = (the.n_voters - 1) / 2 - the.memories_lost;

	for (uint16_t id = 1; id <= the.n_hosts; id++) {
		if (id <= the.n_voters && (!left || !below(2) || !host(id)->core.config.votes))
			continue;
		left -= id <= the.n_voters;
		ill |= 1u << id;
	}
	return ill;
}

static void cut_ill(uint32_t ill)
{
	for (uint16_t from = 1; from <= the.n_hosts; from++)
		for (uint16_t to = 1; to <= the.n_hosts; to++)
			if (from != to && (ill & (1u << from | 1u << to)))
				cluster_link(from, to, below(2));
}

void cluster_check_stability(void)
{
	struct host *first = the.wrong[0] ? NULL : settle();
	uint32_t ill = draw_ill();

	if (!first)
		return;
	cut_ill(ill);
	watch(ill & 1u << id_of(first) ? CLUSTER_CHANGES_MAX : 0, "a healthy majority");
}

/* ---- shapes that have brought others down ---- */

static struct host *some_voter_but(const struct host *h)
{
	struct host *other;

	do
		other = host((uint16_t)below(the.n_voters) + 1);
	while (other == h);
	return other;
}

const char *cluster_bridge(const struct cluster_plan *plan, struct cluster_counts *counts)
{
	struct host *old = start_calm(plan, counts), *hub = some_voter_but(old);

	for (uint16_t from = 1; from <= the.n_hosts; from++)
		for (uint16_t to = 1; to <= the.n_hosts; to++)
			if (from != to && from != id_of(hub) && to != id_of(hub))
				cluster_link(from, to, true);
	watch(1, "a bridge");
	if (leader() != hub)
		cluster_wrong("the bridge, host %u, does not lead", id_of(hub));
	return cluster_take_down();
}

const char *cluster_one_way(const struct cluster_plan *plan, struct cluster_counts *counts)
{
	struct host *first = start_calm(plan, counts), *odd = below(2) ? first : some_voter_but(first);
	bool deaf = below(2);

	for (uint16_t id = 1; id <= the.n_hosts; id++)
		if (id != id_of(odd))
			cluster_link(deaf ? id : id_of(odd), deaf ? id_of(odd) : id, true);
	watch(odd == first ? CLUSTER_CHANGES_MAX : 0, deaf ? "one hears nobody" : "one is heard by nobody");
	if (leader() == odd)
		cluster_wrong("host %u leads, and %s", id_of(odd), deaf ? "hears nobody" : "nobody hears it");
	return cluster_take_down();
}

const char *cluster_failover(const struct cluster_plan *plan, struct cluster_counts *counts, uint64_t *ret_ns)
{
	struct host *old = start_calm(plan, counts);

	pass(below(CORE_LEASE));
	old = leader();
	if (old) {
		cluster_die(old);
		old->back_at = NEVER;
		if (wait_for_leader(10 * SLOW_LEASE))
			*ret_ns = the.now - old->beat_at;
		else
			cluster_wrong("host %u died; nobody leads", id_of(old));
	}
	return cluster_take_down();
}

/* It is heard and hears nothing: what it still says keeps the others waiting. */
const char *cluster_deaf_failover(const struct cluster_plan *plan, struct cluster_counts *counts, uint64_t *ret_ns)
{
	struct host *old = start_calm(plan, counts);
	uint64_t from = 0;

	pass(below(CORE_LEASE));
	old = leader();
	for (uint16_t id = 1; old && id <= the.n_hosts; id++)
		if (id != id_of(old))
			cluster_link(id, id_of(old), true);
	from = the.now;
	while (old && !the.wrong[0] && leader() == old)
		cluster_go_on();
	if (old && wait_for_leader(10 * SLOW_LEASE))
		*ret_ns = the.now - from;
	else if (old)
		cluster_wrong("host %u hears nobody; nobody else leads", id_of(old));
	return cluster_take_down();
}
