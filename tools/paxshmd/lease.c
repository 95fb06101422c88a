/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease: until when this host may trust its delegations, and, while we lead, which hosts are alive.
 *
 * A host asks the leader to renew the lease of its registered incarnation. The leader does so only under its own
 * lease and counts from the receipt; the host counts from when it sent its request, so it always ends
 * first. When nothing was heard of an incarnation for a host lease and the drift of clocks, the
 * leader proposes that it is down, and from then on renews it no more; a new leader waits a whole host lease from
 * when it took office, for it does not know what its predecessor renewed. What an incarnation that has
 * ended held is swept up by the leader, some rows a command.
 *
 * The end of its lease suspends a host: it gives no lock to anybody until it is renewed. Only being
 * declared down voids what it holds: its lines lapse, a bite a turn, and it registers anew.
 *
 * Source: Gray and Cheriton, "Leases" (1989), sections 2 and 5 (time and its drift).
 */
#include "inside.h"
#include "../../lib/mutant.h"

#include <syslog.h>

#define CHANGE(lvalue, value) SET(&a->undo, lvalue, value)
#define RENEWALS 8u         /* asked for so often within a lease */
#define EARLY 4u            /* a request may come this part of its interval early, when the host is awake anyway */
#define LOOKS 4u            /* the leader looks for dead hosts so often within its own lease */
#define LAPSES_A_TURN 1024u /* lines of an ended life that are looked at in one turn */

bool lease_valid(const struct agent *a)
{
	return a->deadline_ns == NEVER || a->now_ns < a->deadline_ns;
}

/* Nobody but this host can ever lead, and it does not declare itself down. */
static bool alone(const struct agent *a)
{
	return a->config.n_voters == 1 && a->config.voters[0] == a->config.self;
}

/* Both clocks stop for no reader: the one that a suspended machine stops is told how far it is behind. The gap between the
 * clocks last: who finds it finds these deadlines (shm/lease_check.h). */
static void publish_deadline(struct agent *a)
{
	bool plain = a->deadline_ns == 0 || a->deadline_ns == NEVER;

	atom_store_release(&a->tables->deadline_boot_ns, a->deadline_ns);
	atom_store_release(&a->tables->deadline_ns, plain ? a->deadline_ns : a->deadline_ns - a->suspended_ns);
	atom_store_release(&a->tables->clock_gap_ns, a->clock_gap_ns);
}

/* Whoever waits at a line of ours is served again. */
static void go_on(struct agent *a)
{
	lines_look_again(a);
	if (a->suspended)
		agent_log(a, LOG_NOTICE, "event=resumed incarnation=%llu", (unsigned long long)a->m.p->incarnation);
	a->suspended = false;
}

static void renewed(struct agent *a, uint64_t stamp_ns, uint64_t slot)
{
	uint64_t until = alone(a) ? NEVER : (MUTANT(121) ? a->now_ns : stamp_ns) + a->config.host_lease_ns;
	bool valid = lease_valid(a);

	a->last_heard_ns = MAX(a->last_heard_ns, stamp_ns);
	a->ever_heard = true;
	/* What waits goes on waiting, or busy tables were never fresh. But a slot that a leader named may have died
	 * with it: then its successor's is no higher, and might stay so. */
	if (!a->fresh.stamp_ns || (slot <= a->fresh.slot && stamp_ns > a->fresh.stamp_ns)) {
		a->fresh.stamp_ns = stamp_ns;
		a->fresh.slot = slot;
	}
	lease_show_freshness(a);
	if (until <= a->deadline_ns)
		return;
	a->deadline_ns = until;
	publish_deadline(a);
	if (!valid && lease_valid(a))
		go_on(a);
}

void lease_show_freshness(struct agent *a)
{
	uint64_t fresh_ns = a->fresh.stamp_ns - a->suspended_ns;

	if (!a->fresh.stamp_ns || a->tables->agreed.applied < a->fresh.slot)
		return;
	if (fresh_ns > a->tables->fresh_as_of_ns) /* an answer may be overtaken */
		atom_store_release(&a->tables->fresh_as_of_ns, fresh_ns);
	a->fresh.stamp_ns = 0;
}

/* ---- asking for renewal ---- */

static bool may_renew(struct agent *a, uint16_t host, uint64_t incarnation)
{
	return a->leading && paxos_has_lease(&a->paxos, a->now_ns) && incarnation &&
	       host_table_alive(a->tables, host) == incarnation && (a->leases[host].condemned != incarnation || MUTANT(292));
}

static uint64_t renewal_ns(const struct agent *a)
{
	return a->config.host_lease_ns / RENEWALS;
}

static void ask(struct agent *a)
{
	uint16_t leader = a->paxos.leader;

	if (leader == a->config.self) {
		if (may_renew(a, leader, a->m.p->incarnation))
			renewed(a, a->now_ns, a->paxos.next_slot - 1);
	} else if (leader && a->linked[leader]) {
		struct writer w = agent_frame_begin(a, WORD_RENEW);

		put_u64(&w, a->m.p->incarnation);
		put_u64(&w, a->now_ns);
		agent_frame_send(a, leader, &w);
	}
	a->renew_at_ns = a->now_ns + (lease_valid(a) ? renewal_ns(a) : MIN(renewal_ns(a), 4 * a->config.heartbeat_ns));
}

void lease_forget_asked(struct agent *a)
{
	a->renew_at_ns = 0;
}

/* ---- as leader ---- */

void lease_take_office(struct agent *a)
{
	memset(a->leases, 0, HOSTS_MAX * sizeof(*a->leases));
	a->look_at_ns = a->now_ns;
	a->sweep_host = 1;
	a->renew_at_ns = 0;
}

static void propose(struct agent *a, const struct command *c)
{
	unsigned char bytes[COMMAND_BYTES_MAX];
	struct writer w = writer_on(bytes, sizeof(bytes));

	command_encode(&w, c);
	ASSERT(w.ok);
	commands_take_own(a, bytes, w.len); /* no room: it is proposed again */
}

static void declare_down(struct agent *a, uint16_t host)
{
	struct lease *l = &a->leases[host];
	struct command c = { .kind = COMMAND_HOST_DOWN, .host = host, .incarnation = l->incarnation, .ballot = a->paxos.ballot };

	if (l->condemned != l->incarnation)
		agent_log(a, LOG_WARNING, "event=host-down host=%u incarnation=%llu silent_ms=%llu", host,
			  (unsigned long long)l->incarnation, (unsigned long long)((a->now_ns - l->renewed_ns) / NS_PER_MS));
	l->condemned = l->incarnation;
	propose(a, &c);
}

/* What we have not seen renewed since we took office counts from there. Renewing, or declaring, is for a leader
 * under its lease. */
static void look_at_host(struct agent *a, uint16_t host, bool late)
{
	struct lease *l = &a->leases[host];
	uint64_t alive = host_table_alive(a->tables, host);

	if (!alive)
		return;
	if (l->incarnation != alive || host == a->config.self || late)
		*l = (struct lease){ .incarnation = alive, .renewed_ns = MUTANT(61) ? 0 : a->now_ns, .condemned = l->condemned };
	if (a->now_ns - l->renewed_ns >= paxos_plus_drift(a->config.host_lease_ns, a->config.drift_ppm))
		declare_down(a, host);
}

/* The next rows of one host whose life has ended; one SWEEP is under way at a time. */
static void sweep(struct agent *a)
{
	for (; a->sweep_host && a->sweep_host < HOSTS_MAX; a->sweep_host++) {
		const struct host_row *h = tables_host(a->tables, a->sweep_host);
		struct command c = { .kind = COMMAND_SWEEP, .host = a->sweep_host, .row = h->sweep };

		if (!h->incarnation || h->sweep == HOST_SWEPT)
			continue;
		propose(a, &c);
		a->sweep_again_ns = a->now_ns + 4 * a->config.heartbeat_ns;
		return;
	}
	a->sweep_host = 0;
}

void lease_swept(struct agent *a)
{
	if (a->leading)
		sweep(a);
}

void lease_life_changed(struct agent *a)
{
	if (a->leading)
		a->sweep_host = 1; /* looked at with the next tick */
	a->sweep_again_ns = 0;
}

static void lead(struct agent *a)
{
	if (a->sweep_host && a->now_ns >= a->sweep_again_ns)
		sweep(a);
	if (a->now_ns < a->look_at_ns || !paxos_has_lease(&a->paxos, a->now_ns))
		return;
	/* Who stood still has heard nobody. One of several voters is deposed meanwhile, but an only one is not. */
	bool late = a->now_ns - a->look_at_ns >= a->config.leader_lease_ns;

	a->look_at_ns = a->now_ns + a->config.leader_lease_ns / LOOKS;
	for (uint16_t host = 1; host < HOSTS_MAX; host++)
		look_at_host(a, host, late);
}

/* ---- frames ---- */

static void asked(struct agent *a, uint16_t from, struct reader *r)
{
	uint64_t incarnation = get_u64(r), stamp_ns = get_u64(r);

	if (!reader_done(r) || !may_renew(a, from, incarnation))
		return;
	a->leases[from].incarnation = incarnation;
	a->leases[from].renewed_ns = a->now_ns;

	struct writer w = agent_frame_begin(a, WORD_RENEWED);

	put_u64(&w, incarnation);
	put_u64(&w, stamp_ns);
	put_u64(&w, a->paxos.next_slot - 1);
	agent_frame_send(a, from, &w);
}

static void answered(struct agent *a, struct reader *r)
{
	uint64_t incarnation = get_u64(r), stamp_ns = get_u64(r), slot = get_u64(r);

	if (reader_done(r) && agent_registered(a) && incarnation == a->m.p->incarnation && stamp_ns && stamp_ns <= a->now_ns)
		renewed(a, stamp_ns, slot);
}

void lease_heard(struct agent *a, uint16_t from, uint8_t word, struct reader *r)
{
	if (word == WORD_RENEW)
		asked(a, from, r);
	else
		answered(a, r);
}

/* ---- the end of our life, and the next ---- */

/* Everybody is told before anything can be granted in our name again: first that nothing of ours counts any more. */
void lease_lost(struct agent *a)
{
	a->deadline_ns = 0;
	a->suspended = false;
	publish_deadline(a);
	atom_store_release(&a->tables->incarnation, 0);
	agent_log(a, LOG_ERR, "event=declared-down incarnation=%llu text=\"this host was silent for a host lease: its locks are lost, "
			      "it registers anew\"",
		  (unsigned long long)a->m.p->incarnation);
	CHANGE(a->m.p->incarnation, 0);
	CHANGE(a->m.p->first_number, 1);
	CHANGE(a->m.p->next_number, 1);
	CHANGE(a->m.p->lapse_at, 1);
	a->sent_number = 0;
}

static void lapse(struct agent *a)
{
	struct private_memory *p = a->m.p;

	for (unsigned n = 0; p->lapse_at && n < LAPSES_A_TURN; n++) {
		uint32_t line = p->lapse_at;

		if (line > p->lines_high) {
			CHANGE(p->lapse_at, 0);
			a->register_at_ns = 0;
		} else {
			if (!MUTANT(301))
				line_lapse(a, line);
			CHANGE(p->lapse_at, line + 1);
		}
		agent_commit(a);
	}
}

void lease_registered(struct agent *a)
{
	a->renew_at_ns = 0;
	a->deadline_ns = 0;
	publish_deadline(a);
}

/* ---- time ---- */

static void look_whether_suspended(struct agent *a)
{
	if (a->suspended || !a->deadline_ns || lease_valid(a))
		return;
	a->suspended = true;
	agent_log(a, LOG_WARNING, "event=suspended incarnation=%llu text=\"no leader has renewed this host's lease\"",
		  (unsigned long long)a->m.p->incarnation);
}

void lease_tick(struct agent *a)
{
	uint64_t early = lease_valid(a) ? renewal_ns(a) / EARLY : 0;

	if (a->m.p->lapse_at && !take_installing(a))
		lapse(a);
	if (a->leading && !take_installing(a))
		lead(a);
	if (agent_registered(a) && a->now_ns + early >= a->renew_at_ns)
		ask(a);
	look_whether_suspended(a);
}

uint64_t lease_wake_at(const struct agent *a)
{
	uint64_t at = NEVER;

	if (agent_registered(a))
		at = MIN(a->renew_at_ns, a->suspended || !a->deadline_ns ? NEVER : a->deadline_ns);
	return at; /* a leader wakes every heartbeat anyway */
}

/* What the predecessor published stands: the same clock goes on. */
void lease_inherit(struct agent *a)
{
	a->deadline_ns = agent_registered(a) ? a->tables->deadline_boot_ns : 0;
	if (a->deadline_ns && a->deadline_ns != NEVER)
		a->last_heard_ns = MIN(a->last_heard_ns, a->deadline_ns - MIN(a->deadline_ns, a->config.host_lease_ns));
}
