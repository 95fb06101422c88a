/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold after every step. The oracle believes nobody: it reads acceptors' memory, what programs
 * were told through their rings, and the tables, and compares them with each other and with the
 * reference.
 */
#include "sim.h"

#include <errno.h>

typedef unsigned long long ull;

/* ---- tables ---- */

static void check_same_hash(struct sim *s, struct host *h)
{
	const struct agreed *a = &h->memory.tables->agreed;
	struct log_entry *e = log_at(s, a->applied);
	uint64_t hash = snapshot_state_hash(h->memory.tables);

	CHECK(s, !e->state_hash || e->state_hash == hash, "host %u has other tables at slot %llu than another host", h->id, (ull)a->applied);
	e->state_hash = hash;
}

static void check_tables(struct sim *s, struct host *h)
{
	const struct tables *t = h->memory.tables;
	const struct agreed *a = &t->agreed;
	const char *wrong = NULL;

	if (((const struct private_memory *)h->memory.private)->installing)
		return; /* the predecessor died in it, and this one has not begun yet */
	CHECK(s, a->applied >= h->applied, "host %u had applied %llu slots and now %llu", h->id, (ull)h->applied, (ull)a->applied);
	CHECK(s, a->applied <= h->chosen, "host %u has applied slot %llu, and knows %llu to be chosen", h->id, (ull)a->applied, (ull)h->chosen);
	if (a->applied != h->applied && a->applied_part == 0) {
		CHECK(s, a->applied <= s->reference.applied, "host %u has applied slot %llu, which nobody knows to be chosen", h->id, (ull)a->applied);
		if (a->applied == s->reference.applied)
			reference_compare(s, h, sim_chance(s, 1, 30));
		if (a->applied % 4 == 0 || s->plan.limits.capacity.rows <= 60) /* a copy may stand at any index */
			check_same_hash(s, h);
	}
	h->applied = a->applied;
	if (sim_chance(s, 1, 100))
		wrong = table_check(t);
	CHECK(s, !wrong, "host %u: the tables do not hold together: %s", h->id, wrong);
	if (sim_chance(s, 1, 40) && !h->scribbled)
		wrong = agent_check(h->agent);
	CHECK(s, !wrong, "host %u: the agent's memory does not hold together: %s", h->id, wrong);
}

/* What came as a copy is what others have at the same index, as a whole. */
static void check_copies(struct sim *s, struct host *h)
{
	const struct agent_copies old = h->copies, new = agent_copies(h->agent);
	const char *wrong;

	h->copies = new;
	if (new.early > old.early)
		sim_mark(s, MARK_SNAPSHOT_WHILE_CHANGING);
	if (new.tail > old.tail)
		sim_mark(s, MARK_SNAPSHOT_TAIL);
	if (new.begun > old.begun && old.begun > old.installed + old.refused + h->copies_unused) {
		h->copies_unused++;
		sim_mark(s, MARK_SNAPSHOT_UNUSED);
	}
	CHECK(s, new.refused == old.refused, "host %u refuses a copy of the tables", h->id);
	if (new.installed == old.installed)
		return;
	sim_mark(s, MARK_SNAPSHOT_INSTALLED);
	if (new.bites > h->copied_bites + 1)
		sim_mark(s, MARK_SNAPSHOT_IN_BITES);
	h->copied_bites = new.bites;
	if (h->copied_at_ns && s->now_ns - h->copied_at_ns < SECOND)
		sim_mark(s, MARK_SNAPSHOT_AGAIN);
	h->copied_at_ns = s->now_ns;
	wrong = table_check(h->memory.tables);
	CHECK(s, !wrong, "host %u, by a copy: the tables do not hold together: %s", h->id, wrong);
	check_same_hash(s, h);
}

void oracle_same_everywhere(struct sim *s)
{
	uint64_t hash = snapshot_state_hash(s->host[1].memory.tables);

	for (uint16_t id = 1; id <= s->n_hosts; id++) {
		struct host *h = &s->host[id];

		CHECK(s, snapshot_state_hash(h->memory.tables) == hash, "hosts 1 and %u have different tables at the end", id);
		reference_compare(s, h, true);
	}
}

void oracle_end(struct sim *s)
{
	sharing_end(s);
	for (uint16_t id = 1; id <= s->n_hosts; id++) {
		const struct private_memory *p = s->host[id].memory.private;
		const char *wrong = table_check(s->host[id].memory.tables);

		CHECK(s, !wrong, "host %u: the tables do not hold together: %s", id, wrong);
		wrong = s->host[id].scribbled ? NULL : agent_check(s->host[id].agent);
		CHECK(s, !wrong, "host %u: the agent's memory does not hold together: %s", id, wrong);
		CHECK(s, !p->claims_used && (!p->lines_used || (s->host[id].scribbled && !s->plan.keep_ns)) && !p->sessions_used,
		      "host %u: %u claims, %u lines, %u sessions are left when nobody is there", id, p->claims_used, p->lines_used,
		      p->sessions_used);
	}
}

/* ---- gates that somebody has written over ---- */

bool oracle_tainted(const struct sim *s, uint16_t host, uint32_t key)
{
	return s->key[key].tainted[host];
}

static struct grant *last_grant(struct key *k)
{
	return &k->grant[(k->n_grants - 1) % SIM_GRANTS];
}

static void let_go(struct sim *s, struct key *k)
{
	k->owner = NULL;
	last_grant(k)->released_ns = s->now_ns;
}

/* Exclusion and tokens of all that the host has may be lost there. Nobody on another host may suffer. */
void oracle_taint(struct sim *s, struct host *h)
{
	h->scribbled = true;
	for (struct key *k = s->key + 1; k <= s->key + s->n_keys; k++) {
		k->tainted[h->id] = true;
		k->death = true;
		k->owner_died = false;
		if (k->owner && k->owner->host == h->id)
			let_go(s, k);
	}
}

static bool stands_at(const struct client *c, const struct host *h, const struct key *k, const struct sim *s)
{
	for (const struct thread *t = c->thread; t < c->thread + c->n_threads; t++)
		if (c->host == h->id && c->state == CLIENT_OPEN && &s->key[t->key] == k && t->state != THREAD_IDLE)
			return true;
	return false;
}

/* A new delegation to that host begins with a gate that the agent has put right, but for those who still stand there. To another,
 * tokens rise from its base on. */
static void taint_ends(struct sim *s, struct key *k)
{
	for (uint16_t id = 1; id <= s->n_hosts; id++) {
		uint64_t base = k->lock.n_shares ? k->lock.share[0].base : k->lock.base;
		bool stands = false;

		if (!k->tainted[id] || !k->lock.delegation)
			continue;
		for (const struct client *c = s->client; c < s->client + SIM_CLIENTS && !stands; c++)
			stands = stands_at(c, &s->host[id], k, s);
		k->death = true;
		k->last_token = MIN(k->last_token, base - 1);
		k->resource_token = MIN(k->resource_token, base - 1);
		if (!stands && k->lock.host == id)
			k->tainted[id] = false;
	}
}

/* ---- what programs are told ---- */

void oracle_released(struct sim *s, struct client *c, struct thread *t)
{
	struct key *k = &s->key[t->key];

	sharing_drop(s, c, t);
	if (k->owner == c && k->owner_thread == (uint32_t)(t - c->thread))
		let_go(s, k);
}

static const struct line *line_at(const struct host *h, uint32_t gate)
{
	const struct private_memory *p = h->memory.private;

	return (const struct line *)((const unsigned char *)p + p->lines_at) + gate;
}

/* Who took a gate of an older handle may die before he finds that it serves another key. */
static struct key *key_of_gate(struct sim *s, const struct thread *t, const struct host *h)
{
	const struct line *l = line_at(h, t->gate);

	return l->key_len ? &s->key[sim_key(s, l->key, l->key_len)] : &s->key[t->key];
}

void oracle_ended(struct sim *s, struct client *c, bool died)
{
	for (struct key *k = s->key + 1; k <= s->key + s->n_keys; k++) {
		k->death |= c->nonsense; /* it may have got any lock */
		if (k->owner != c)
			continue;
		let_go(s, k);
		k->owner_died = died && !c->nonsense;
		k->death |= died || k->told_death; /* an owner whose session ends was perhaps never told of it */
	}
	/* Who dies while it closes its session may have let go in time, or not; who takes a lock, or lets go of it, may own it. */
	for (struct thread *t = c->thread; t < c->thread + c->n_threads; t++) {
		struct key *k = &s->key[t->key];
		bool at_gate = t->state == THREAD_GATE || t->state == THREAD_RELEASES;

		sharing_drop(s, c, t);
		if (t->sharing.wants)
			continue; /* that one of those died who share is told to nobody */
		k->death |= (died && (t->state == THREAD_WAITS || at_gate || c->closing)) || (at_gate && k->told_death);
		if (at_gate)
			key_of_gate(s, t, &s->host[c->host])->death = true;
	}
}

/* The cluster has taken the lock from its owner: by the owner's own clock and tables its lease must be over. */
void oracle_take_from_owner(struct sim *s, struct key *k)
{
	struct client *c = k->owner;
	struct thread *t = &c->thread[k->owner_thread];

	CHECK(s, !sim_trusted(s) || k->tainted[c->host] || program_check(s, c, k->owner_incarnation),
	      "%s was given to host %u by slot %llu, and program %u of host %u has it", trace_key(k), k->lock.host, (ull)s->reference.applied,
	      c->id, c->host);
	trace(s, "program %u of host %u has lost %s", c->id, c->host, trace_key(k));
	sim_mark(s, MARK_LOCK_TAKEN);
	t->lost = true;
	let_go(s, k);
	k->death = true;
}

void oracle_grant_moved(struct sim *s, struct key *k)
{
	if (k->owner)
		oracle_take_from_owner(s, k);
	taint_ends(s, k);
}

/* It found out by itself, perhaps before the lock was given to anybody. */
void oracle_dropped(struct sim *s, struct client *c, struct thread *t)
{
	struct key *k = &s->key[t->key];

	bool owned = k->owner == c && k->owner_thread == (uint32_t)(t - c->thread);

	if (!owned && !t->sharing.shares)
		return;
	CHECK(s, reference_alive(s, c->host) != t->incarnation, "program %u of host %u is told that %s is lost, and its host's life is not over",
	      c->id, c->host, trace_key(k));
	sharing_drop(s, c, t);
	if (!owned)
		return;
	let_go(s, k);
	k->death = true;
}

/* And it shows what that one gave. */
bool oracle_is_new(const struct host *h)
{
	return h->mapping || h->settled_life != h->lives;
}

/* A successor shows what its predecessor had granted, and the lock has gone on: the lease must be over for who is told. */
static bool told_too_late(struct sim *s, struct client *c, struct thread *t, const struct ring_completion *answer, bool by_agent)
{
	const struct lock *l = &s->key[t->key].lock;

	if (c->gone || c->closing || (l->delegation && l->host == c->host && l->incarnation == answer->incarnation))
		return false;
	CHECK(s, !sim_trusted(s) || (by_agent && oracle_is_new(&s->host[c->host]) && program_check(s, c, answer->incarnation)),
	      "host %u, incarnation %llu, grants %s, which is delegated to host %u, incarnation %llu", c->host, (ull)answer->incarnation,
	      trace_key(&s->key[t->key]), l->host, (ull)l->incarnation);
	sim_mark(s, MARK_GRANT_TOO_LATE);
	t->lost = true;
	t->told_token = answer->token;
	s->key[t->key].last_token = MAX(s->key[t->key].last_token, answer->token);
	return true;
}

/* By the host's own clock its lease has ended: so nobody there believes that a lock is his. */
void oracle_host_down(struct sim *s, uint16_t host)
{
	const struct host *h = &s->host[host];
	const struct tables *t = h->memory.tables;

	CHECK(s, !sim_trusted(s) || t->incarnation != s->reference.host[host].incarnation || host_clock(s, h) >= t->deadline_boot_ns,
	      "host %u is declared down, and its lease has %lld us left", host, (long long)(t->deadline_boot_ns - host_clock(s, h)) / 1000);
	sharing_host_down(s, host);
	for (struct key *k = s->key + 1; k <= s->key + s->n_keys; k++) {
		if (!k->owner || k->owner->host != host)
			continue;
		sim_mark(s, MARK_LOST_LOCK);
		k->owner->thread[k->owner_thread].lost = true;
		let_go(s, k);
		k->death = k->owner_died = true;
	}
}

static uint32_t range_of(const struct sim *s)
{
	return s->plan.range ? s->plan.range : LOCK_RANGE;
}

/* Local passing is bounded from when the host's agent knows that another host waits. */
static void check_turns(struct sim *s, const struct host *h, struct key *k, uint32_t gate)
{
	bool same = k->last_delegation == k->lock.delegation;

	if (same)
		sim_mark(s, MARK_GRANT_LOCAL);
	if (k->last_token + 1 == k->lock.base + range_of(s))
		sim_mark(s, MARK_RANGE_USED_UP);
	if (!same || line_at(h, gate)->remote_since_ns != k->passes_since)
		k->passes = 0; /* another waits now than before */
	else if (k->passes_since)
		k->passes++;
	k->passes_since = line_at(h, gate)->remote_since_ns;
	CHECK(s, k->passes <= s->plan.handover_max + 1, "host %u passes %s on locally for the %uth time while others wait", h->id,
	      trace_key(k), k->passes);
	if (k->passes == s->plan.handover_max)
		sim_mark(s, MARK_HANDOVER_MAX);
	k->last_delegation = k->lock.delegation;
}

static void check_death_told(struct sim *s, struct key *k, bool told)
{
	CHECK(s, !told || k->death || s->nonsense, "the owner of %s is told of a death that did not happen", trace_key(k));
	CHECK(s, told || !k->owner_died || k->death_forgotten || s->nonsense, "the owner of %s is not told that the last one died", trace_key(k));
	if (told)
		sim_mark(s, MARK_GRANT_OWNER_DIED);
	k->death = k->owner_died = k->death_forgotten = false;
	k->told_death = told;
}

/* As an acquisition that was told through the ring, or as the program has found it at the gate. */
static void granted(struct sim *s, const struct host *h, struct client *c, struct thread *t, const struct ring_completion *answer, bool by_agent)
{
	struct key *k = &s->key[t->key];
	const struct lock *l = &k->lock;
	uint64_t token = answer->token;
	bool ended = c->gone || c->closing; /* it may have been passed the lock and have given it back within one step */

	if (t->cancelled)
		sim_mark(s, MARK_CANCEL_MET_GRANT);
	if (c->state == CLIENT_DEAD)
		sim_mark(s, MARK_GRANT_TO_DEAD);
	if (k->tainted[h->id]) {
		t->told_token = token;
		return; /* neither owner nor token means anything until the delegation ends */
	}
	if (told_too_late(s, c, t, answer, by_agent))
		return;
	if (k->owner && (k->owner->host != h->id || k->owner_incarnation != answer->incarnation))
		oracle_take_from_owner(s, k);
	CHECK(s, !k->owner, "%s is granted to program %u of host %u while program %u of host %u has it", trace_key(k), c->id, h->id,
	      k->owner->id, k->owner->host);
	CHECK(s, token > k->last_token, "%s is granted with token %llu after %llu", trace_key(k), (ull)token, (ull)k->last_token);
	sharing_alone(s, h, k, answer->incarnation, token);
	CHECK(s, ended || (l->delegation && l->host == h->id && l->incarnation == answer->incarnation),
	      "host %u, incarnation %llu, grants %s, which is delegated to host %u, incarnation %llu", h->id, (ull)answer->incarnation,
	      trace_key(k), l->host, (ull)l->incarnation);
	CHECK(s, ended || (token >= l->base && token < l->base + range_of(s)), "%s is granted with token %llu, the range begins at %llu",
	      trace_key(k), (ull)token, (ull)l->base);
	CHECK(s, answer->gate, "%s is granted without a gate", trace_key(k));
	/* A successor shows what its predecessor granted: the library looks at the lease. */
	CHECK(s, (by_agent && oracle_is_new(h)) || host_clock(s, h) < h->memory.tables->deadline_boot_ns, "host %u grants %s after its lease has ended", h->id, trace_key(k));
	k->last_token = token;
	check_turns(s, h, k, answer->gate);
	check_death_told(s, k, answer->flags & COMPLETION_DIED);
	k->grant[k->n_grants++ % SIM_GRANTS] = (struct grant){
		.token = token, .at_ns = s->now_ns, .host = h->id, .pid = c->pid, .start = c->start, .released_ns = NEVER
	};
	sim_mark(s, t->flags & REQUEST_TRY ? MARK_TRY_GRANTED : MARK_GRANTED);
	t->told_token = token;
	k->owner = c;
	k->owner_thread = (uint32_t)(t - c->thread);
	k->owner_incarnation = answer->incarnation;
	if (ended) {
		let_go(s, k);
		k->death |= k->told_death;
	}
	if (c->gone) {
		k->death = true;
		k->owner_died = !c->closing;
	}
}

void oracle_taken(struct sim *s, struct client *c, struct thread *t)
{
	struct ring_completion answer = {
		.token = t->token,
		.incarnation = t->incarnation,
		.gate = t->gate,
		.count = t->count,
		.flags = t->died ? COMPLETION_DIED : 0,
	};

	s->history = hash_bytes(s->history ^ s->now_ns, &answer, sizeof(answer));
	trace(s, "program %u of host %u has taken %s at gate %u, count %u, token %llu%s%s", c->id, c->host, trace_key(&s->key[t->key]), t->gate,
	      t->count, (ull)t->token, t->waited ? ", it waited" : "", t->died ? ", owner died" : "");
	granted(s, &s->host[c->host], c, t, &answer, false);
}

/* An owner that was named owned the lock at some time within the call. */
static void check_named(struct sim *s, const struct thread *t, const struct ring_completion *answer)
{
	const struct key *k = &s->key[t->key];
	uint32_t n = k->n_grants, oldest = n > SIM_GRANTS ? n - SIM_GRANTS : 0;

	if (k->tainted[answer->holder_host])
		return;
	while (n > oldest && k->grant[(n - 1) % SIM_GRANTS].token != answer->holder_token)
		n--;
	if (n == oldest)
		sharing_named(s, k, answer);
	if (n == oldest)
		return; /* whoever has taken it has not yet looked at the lease, or was killed before */
	const struct grant *g = &k->grant[(n - 1) % SIM_GRANTS];

	CHECK(s, g->pid == answer->holder_pid && g->start == answer->holder_start && g->host == answer->holder_host,
	      "the owner of %s with token %llu is named as pid %u of host %u, and is pid %u of host %u", trace_key(k),
	      (ull)answer->holder_token, answer->holder_pid, answer->holder_host, g->pid, g->host);
	CHECK(s, n == k->n_grants || k->grant[n % SIM_GRANTS].at_ns >= t->since_ns,
	      "the owner of %s with token %llu is named, which was another's before the call began", trace_key(k), (ull)g->token);
}

void oracle_busy_here(struct sim *s, struct client *c, struct thread *t, uint64_t word)
{
	const struct tables *tables = s->host[c->host].memory.tables;
	const struct gate_terms *terms = tables_terms(tables, t->gate);
	const struct session_row *row = tables_session(tables, gate_owner(word));
	struct ring_completion answer = { .holder_host = c->host };

	if (s->key[t->key].tainted[c->host])
		return;
	answer.holder_pid = row->pid;
	answer.holder_start = row->start;
	answer.holder_token = terms->base + (gate_count(word) - terms->opened_at) - 1;
	CHECK(s, answer.holder_pid, "the gate of %s on host %u is owned by session %u, which is none", trace_key(&s->key[t->key]), c->host, gate_owner(word));
	sim_mark(s, MARK_TRY_BUSY_HERE);
	check_named(s, t, &answer);
}

static void check_nobody(struct sim *s, const struct thread *t)
{
	struct key *k = &s->key[t->key];

	if (t->flags & REQUEST_LINEARIZABLE)
		sharing_nobody(s, k, t->since_ns);
	if (!k->n_grants || !(t->flags & REQUEST_LINEARIZABLE) || k->tainted[last_grant(k)->host])
		return;
	CHECK(s, last_grant(k)->at_ns >= t->since_ns || last_grant(k)->released_ns != NEVER,
	      "nobody is said to own %s, and pid %u of host %u did all the while", trace_key(k), last_grant(k)->pid, last_grant(k)->host);
}

static void busy(struct sim *s, const struct host *h, struct thread *t, const struct ring_completion *answer)
{
	CHECK(s, t->flags & REQUEST_TRY, "a call that is no try is answered busy");
	CHECK(s, answer->holder_host, "a try is answered busy, and no host is named");
	sim_mark(s, !answer->holder_pid ? MARK_TRY_BUSY_UNKNOWN : answer->holder_host == h->id ? MARK_TRY_BUSY_HERE
											       : MARK_TRY_BUSY_THERE);
	if (answer->holder_pid)
		check_named(s, t, answer);
}

static void acquire_answered(struct sim *s, struct host *h, struct client *c, struct thread *t, const struct ring_completion *answer)
{
	switch (answer->result) {
	case 0:
		if (t->sharing.wants)
			sharing_granted(s, h, c, t, answer);
		else
			granted(s, h, c, t, answer, true);
		break;
	case -EBUSY:
		busy(s, h, t, answer);
		break;
	case -ENETUNREACH:
		CHECK(s, t->flags & REQUEST_RETURN, "a call that wants to wait is answered with no quorum");
		CHECK(s, c->gone || !h->memory.tables->quorum || h->deadline_before <= host_clock(s, h),
		      "a call is answered with no quorum, and host %u has one", h->id);
		CHECK(s, !liveness_settled(s, h), "a call is answered with no quorum, and host %u is of a healthy majority", h->id);
		sim_mark(s, MARK_NO_QUORUM);
		break;
	case -ENOSPC:
		sim_mark(s, MARK_TABLE_FULL);
		break;
	case -ETIMEDOUT:
	case -ECANCELED:
		CHECK(s, t->cancelled && t->reason == answer->result, "an acquire is answered with %d, and was not cancelled so", answer->result);
		sim_mark(s, MARK_CANCELLED);
		break;
	default:
		sim_fail(s, "an acquire is answered with %d", answer->result);
	}
}

static void holder_answered(struct sim *s, struct host *h, struct thread *t, const struct ring_completion *answer)
{
	CHECK(s, answer->result == 0 || answer->result == -ESRCH || answer->result == -ENETUNREACH || answer->result == -ENOSPC,
	      "a question for the holder is answered with %d", answer->result);
	if (answer->result == -ESRCH)
		check_nobody(s, t);
	if (answer->result)
		return;
	CHECK(s, answer->holder_host, "a holder is told without its host");
	sim_mark(s, t->flags & REQUEST_LINEARIZABLE ? MARK_HOLDER_AGREED : MARK_HOLDER_TOLD);
	if (!answer->holder_pid)
		return;
	if (answer->holder_host != h->id)
		sim_mark(s, MARK_HOLDER_REMOTE);
	check_named(s, t, answer);
}

static void answered(struct sim *s, struct host *h, struct client *c, struct thread *t, const struct ring_completion *answer)
{
	t->told = true;
	s->history = hash_bytes(s->history ^ s->now_ns, answer, sizeof(*answer));
	trace(s, "host %u tells program %u, call %u: %d, token %llu%s", h->id, c->id, answer->call, answer->result,
	      (ull)answer->token, answer->flags & COMPLETION_DIED ? ", owner died" : "");
	switch (t->state) {
	case THREAD_WAITS:
		acquire_answered(s, h, c, t, answer);
		break;
	case THREAD_ASKS:
		holder_answered(s, h, t, answer);
		break;
	default:
		CHECK(s, answer->result == 0, "a close is answered with %d", answer->result);
	}
}

static struct thread *caller(struct client *c, uint32_t call)
{
	for (struct thread *t = c->thread; t < c->thread + c->n_threads; t++)
		if (t->pushed && t->call == call && !t->told)
			return t;
	return NULL;
}

static bool is_grant(const struct thread *t, const struct ring_completion *answer)
{
	return t && t->state == THREAD_WAITS && answer->result == 0;
}

/* The new grant with the lowest token: within a step a lock may pass through several hands. */
static struct client *next_grant(const struct host *h, struct ring_completion *ret)
{
	struct client *found = NULL;

	for (uint32_t slot = 1; slot <= SIM_SLOTS; slot++) {
		struct client *c = h->session[slot];

		for (uint32_t at = c && !c->nonsense ? c->scanned : 0; c && !c->nonsense && at != c->rings->completion_tail; at++) {
			const struct ring_completion *answer = &c->rings->completions[at % RING_CALLS];

			if (is_grant(caller(c, answer->call), answer) && (!found || answer->token < ret->token)) {
				found = c;
				*ret = *answer;
			}
		}
	}
	return found;
}

static bool was_grant(const struct client *c, const struct ring_completion *answer)
{
	for (const struct thread *t = c->thread; t < c->thread + c->n_threads; t++)
		if (t->pushed && t->told && t->call == answer->call && t->state == THREAD_WAITS && t->told_token == answer->token)
			return answer->result == 0 && (answer->gate || answer->claim);
	return false;
}

static void read_ring(struct sim *s, struct host *h, struct client *c)
{
	for (; c->scanned != c->rings->completion_tail; c->scanned++) {
		struct ring_completion answer = c->rings->completions[c->scanned % RING_CALLS];
		struct thread *t = caller(c, answer.call);

		if (was_grant(c, &answer))
			continue;
		CHECK(s, t, "host %u answers call %u of program %u, which nobody made", h->id, answer.call, c->id);
		answered(s, h, c, t, &answer);
	}
}

/* Grants first: other answers of the same step may name them. */
static void check_rings(struct sim *s, struct host *h)
{
	struct ring_completion answer;
	struct client *c;

	for (uint32_t slot = 1; slot <= SIM_SLOTS; slot++)
		if ((c = h->session[slot]) && !c->nonsense)
			CHECK(s, c->rings->completion_tail - c->scanned <= RING_CALLS,
			      "host %u takes completions of program %u back: %u were shown, now %u", h->id, c->id, c->scanned,
			      c->rings->completion_tail);
	while ((c = next_grant(h, &answer)))
		answered(s, h, c, caller(c, answer.call), &answer);
	for (uint32_t slot = 1; slot <= SIM_SLOTS; slot++)
		if ((c = h->session[slot]) && !c->nonsense)
			read_ring(s, h, c);
}

/* ---- when ---- */

void oracle_after_step(struct sim *s, struct host *h)
{
	log_look(s, h);
	log_look_at_leader(s, h);
	log_apply(s);
	check_tables(s, h);
	check_copies(s, h);
	check_rings(s, h);
	gates_check(s, h);
	reads_after_step(s, h);
}

/* What was committed and shown in a step that ended in death. */
void oracle_host_died(struct sim *s, struct host *h)
{
	log_look(s, h);
	log_apply(s);
	check_rings(s, h);
	gates_check(s, h);
}

static void check_asleep(struct sim *s, const struct host *h, const struct client *c)
{
	char text[2048];
	bool rung = true;

	for (const struct thread *t = c->thread; t < c->thread + c->n_threads; t++) {
		rung &= !t->unannounced;
		if (c->closing && (t->state != THREAD_CLOSES || !c->kept))
			continue;
		if (t->pushed && t->told && t->asleep && !t->woken) {
			client_describe(s, c, text, sizeof(text));
			sim_fail(s, "host %u goes to sleep, and a call that it has answered was not woken: %s", h->id, text);
		}
	}
	for (const struct thread *t = c->thread; t < c->thread + c->n_threads; t++)
		CHECK(s, !c->kept || !rung || c->closing || t->state != THREAD_WAITS || !t->cancelled || t->told,
		      "host %u goes to sleep, and call %u of program %u was cancelled and has no answer", h->id, t->call, c->id);
	CHECK(s, !c->kept || !rung || c->closing || c->rings->request_head == c->rings->request_tail,
	      "host %u goes to sleep with requests of program %u in the ring", h->id, c->id);
}

void oracle_may_sleep(struct sim *s, struct host *h)
{
	if (((const struct private_memory *)h->memory.private)->installing)
		return; /* requests wait for the end of it */
	for (unsigned i = 0; i < SIM_CLIENTS; i++)
		if (s->client[i].host == h->id && s->client[i].state == CLIENT_OPEN && !s->client[i].nonsense)
			check_asleep(s, h, &s->client[i]);
	gates_check_asleep(s, h);
	sharing_check_asleep(s, h);
}

static void forget_host(struct sim *s, struct host *h)
{
	for (unsigned i = 0; i < SIM_CLIENTS; i++) {
		struct client *c = &s->client[i];

		if (c->host != h->id || c->state == CLIENT_FREE)
			continue;
		CHECK(s, c->state == CLIENT_DEAD, "host %u starts without memory, and program %u still lives", h->id, c->id);
		oracle_ended(s, c, true);
		if (c->kept)
			h->session[c->slot] = NULL;
		client_let_go(s, c);
	}
	for (struct key *k = s->key + 1; k <= s->key + s->n_keys; k++)
		k->tainted[h->id] = false;
	reads_forget(s, h);
	h->promised = h->chosen = h->applied = 0;
	h->ballot_now = h->ballot_before = 0;
	memset(h->slot, 0, sizeof(h->slot));
}

void oracle_host_started(struct sim *s, struct host *h, bool fresh)
{
	const char *wrong;

	if (fresh)
		forget_host(s, h);
	else
		sharing_survives(s, h);
	h->ballot_before = h->ballot_now;
	log_look(s, h);
	log_look_at_leader(s, h);
	log_apply(s);
	wrong = h->scribbled ? NULL : agent_check(h->agent);
	CHECK(s, !wrong, "host %u, after a death: the agent's memory does not hold together: %s", h->id, wrong);
	wrong = h->memory.tables->ready ? table_check(h->memory.tables) : NULL;
	CHECK(s, !wrong, "host %u, after a death: the tables do not hold together: %s", h->id, wrong);
}
