/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of those who share a lock. As of owners (oracle.c): nobody is believed; who was told so shares it, until he lets
 * go or his agent knows of his death, and the clocks decide what a host's end takes from him.
 */
#include "sim.h"

#include "../../shm/gate_read.h"
#include "../../tools/paxshmd/memory.h"

typedef unsigned long long ull;

/* ---- who shares ---- */

/* The next one who shares the lock, from *at on. */
static struct thread *next_sharer(struct sim *s, const struct key *k, unsigned *at, struct client **ret)
{
	while (k->n_sharing && *at < SIM_CLIENTS * SIM_THREADS) {
		struct client *c = &s->client[*at / SIM_THREADS];
		struct thread *t = &c->thread[(*at)++ % SIM_THREADS];

		if (t->sharing.shares && &s->key[t->key] == k) {
			*ret = c;
			return t;
		}
	}
	return NULL;
}

void sharing_drop(struct sim *s, struct client *c, struct thread *t)
{
	struct key *k = &s->key[t->key];

	(void)c;
	if (!t->sharing.shares)
		return;
	t->sharing.shares = false;
	k->n_sharing--;
}

/* The cluster has ended it: by the clock and the tables of who shared its lease must be over. */
static void taken(struct sim *s, struct key *k, struct client *c, struct thread *t)
{
	CHECK(s, !sim_trusted(s) || program_check(s, c, t->sharing.incarnation),
	      "%s was taken back by slot %llu, and program %u of host %u shares it", trace_key(k), (ull)s->reference.applied, c->id, c->host);
	trace(s, "program %u of host %u shares %s no more, its host has lost it", c->id, c->host, trace_key(k));
	sim_mark(s, MARK_SHARE_TAKEN);
	t->lost = true;
	sharing_drop(s, c, t);
}

void sharing_ended(struct sim *s, struct key *k, uint16_t host, uint64_t incarnation)
{
	struct client *c;
	struct thread *t;

	for (unsigned at = 0; (t = next_sharer(s, k, &at, &c));)
		if (c->host == host && t->sharing.incarnation == incarnation)
			taken(s, k, c, t);
}

void sharing_host_down(struct sim *s, uint16_t host)
{
	for (struct client *c = s->client; c < s->client + SIM_CLIENTS; c++)
		for (struct thread *t = c->thread; c->host == host && t < c->thread + SIM_THREADS; t++) {
			if (!t->sharing.shares)
				continue;
			sim_mark(s, MARK_SHARE_LOST);
			t->lost = true;
			sharing_drop(s, c, t);
		}
}

void sharing_alone(struct sim *s, const struct host *h, struct key *k, uint64_t incarnation, uint64_t token)
{
	struct client *c;
	struct thread *t;

	for (unsigned at = 0; (t = next_sharer(s, k, &at, &c));) {
		CHECK(s, c->host != h->id || t->sharing.incarnation != incarnation,
		      "%s is granted to one alone by host %u while program %u there shares it", trace_key(k), h->id, c->id);
		taken(s, k, c, t);
	}
	CHECK(s, token > k->shared_token, "%s is granted with token %llu after %llu was shared", trace_key(k), (ull)token, (ull)k->shared_token);
	if (k->shared_token > k->last_token)
		sim_mark(s, liveness_shares(s, h->id) ? MARK_ALONE_AMONG_SHARERS : MARK_ALONE_AFTER_SHARED);
}

/* ---- a grant ---- */

static const struct share *share_of(const struct key *k, uint16_t host, uint64_t incarnation)
{
	const struct lock *l = &k->lock;

	for (unsigned i = 0; i < l->n_shares; i++)
		if (l->share[i].of.host == host && l->share[i].of.incarnation == incarnation)
			return &l->share[i];
	return NULL;
}

static const struct claim *claim_at(const struct host *h, uint64_t claim)
{
	const struct private_memory *p = h->memory.private;
	const struct claim *c = (const struct claim *)((const unsigned char *)p + p->claims_at) + (uint32_t)claim;

	if (!(uint32_t)claim || (uint32_t)claim > p->claims_high || c->gen != (uint32_t)(claim >> 32) || c->state != CLAIM_OWNER)
		return NULL;
	return c;
}

/* A machine that slept meanwhile has shifted one of its clocks against the other. */
static bool slept_since(const struct sim *s, const struct host *h, const struct thread *t)
{
	return host_clock(s, h) - host_mono_clock(s, h) != t->sharing.asked_ns - t->sharing.asked_mono_ns;
}

/* Nobody is let in ahead of who wants the lock alone and came before: on another host, by the agent of this one, or at its gate. */
static void check_order(struct sim *s, const struct host *h, const struct client *c, const struct thread *t)
{
	const struct left left = gates_left(h);
	const struct claim *mine = claim_at(h, t->sharing.claim);
	const struct line *l = mine ? &left.lines[mine->line] : NULL;
	struct gate_view v = gates_view(h);
	struct gate_sleeper oldest = { 0 };
	uint32_t waiting;

	if (!l || h->scribbled || slept_since(s, h, t))
		return;
	CHECK(s, !l->remote_since_ns || t->told_token == l->base || t->sharing.asked_mono_ns <= l->remote_since_ns,
	      "program %u of host %u is let in to share %s, and another host waited for it before it asked", c->id, h->id, trace_key(&s->key[t->key]));
	for (uint32_t i = l->head; i; i = left.claims[i].next) {
		const struct claim *other = &left.claims[i];

		CHECK(s, other->mode != LOCK_MODE_EX || other->flags & REQUEST_TRY || other->since_ns >= t->sharing.asked_ns,
		      "program %u of host %u is let in to share %s, and session %u wanted it alone before it asked", c->id, h->id,
		      trace_key(&s->key[t->key]), other->session);
	}
	gate_read_line(&v, mine->line, &oldest, 1, &waiting);
	if (!waiting || gate_owner(v.gates[mine->line].word) != GATE_AGENT)
		return;
	CHECK(s, gate_record_state(oldest.state) == GATE_RECORD_LAPSED || oldest.since_ns >= t->sharing.asked_mono_ns,
	      "program %u of host %u is let in to share %s, and session %u waited at the gate before it asked", c->id, h->id,
	      trace_key(&s->key[t->key]), oldest.slot);
	sim_mark(s, MARK_SHARE_BEFORE_WAITER);
}

/* Within a delegation they rise; those of several hosts come in any order, and never twice, as their ranges do not meet. */
static void check_token(struct sim *s, const struct host *h, struct key *k, const struct share *share, uint64_t token)
{
	struct shared_on *on = &k->shared_on[h->id];

	CHECK(s, token > k->last_token, "%s is shared with token %llu after %llu was granted to one alone", trace_key(k), (ull)token, (ull)k->last_token);
	k->shared_token = MAX(k->shared_token, token);
	if (!share)
		return;
	CHECK(s, token >= share->base && token < share->base + LOCK_SHARED_RANGE, "%s is shared by host %u with token %llu, the range begins at %llu",
	      trace_key(k), h->id, (ull)token, (ull)share->base);
	CHECK(s, on->delegation != share->delegation || token > on->token, "%s is shared by host %u with token %llu after %llu", trace_key(k), h->id,
	      (ull)token, (ull)on->token);
	*on = (struct shared_on){ share->delegation, token };
}

/* A death of the last owner is told to all who share, and to the next owner still. That one of those who share died is told to nobody. */
static void check_death(struct sim *s, const struct key *k, bool told)
{
	CHECK(s, !told || k->death || s->nonsense, "who shares %s is told of a death that did not happen", trace_key(k));
	CHECK(s, told || !k->owner_died || k->death_forgotten || s->nonsense, "who shares %s is not told that the last owner died", trace_key(k));
	if (told)
		sim_mark(s, MARK_SHARE_OWNER_DIED);
}

/* A successor shows what its predecessor had granted, and the host's life is over. */
static bool told_too_late(struct sim *s, struct client *c, struct thread *t, const struct share *share, uint64_t incarnation)
{
	if (c->gone || c->closing || share)
		return false;
	CHECK(s, !sim_trusted(s) || (oracle_is_new(&s->host[c->host]) && program_check(s, c, incarnation)),
	      "host %u, incarnation %llu, lets program %u share %s, which it has not", c->host, (ull)incarnation, c->id, trace_key(&s->key[t->key]));
	sim_mark(s, MARK_SHARE_TOO_LATE);
	t->lost = true;
	return true;
}

static void mark_beside(struct sim *s, const struct client *c, const struct key *k)
{
	struct client *other;
	const struct thread *t;
	bool here = false, there = false;

	for (unsigned at = 0; (t = next_sharer(s, k, &at, &other));) {
		here |= other->host == c->host;
		there |= other->host != c->host && program_check(s, other, t->sharing.incarnation) == 0;
	}
	sim_mark(s, MARK_SHARE_GRANTED);
	if (here)
		sim_mark(s, MARK_SHARE_BESIDE_HERE);
	if (there)
		sim_mark(s, MARK_SHARE_BESIDE_THERE);
}

void sharing_granted(struct sim *s, const struct host *h, struct client *c, struct thread *t, const struct ring_completion *answer)
{
	struct key *k = &s->key[t->key];
	const struct share *share = share_of(k, h->id, answer->incarnation);
	bool ended = c->gone || c->closing; /* it may have given it back within this step */

	t->told_token = answer->token;
	t->sharing.claim = answer->claim;
	t->sharing.incarnation = answer->incarnation;
	if (t->cancelled)
		sim_mark(s, MARK_CANCEL_MET_GRANT);
	CHECK(s, !answer->gate && answer->claim, "%s is granted to share by gate %u, claim %llu", trace_key(k), answer->gate, (ull)answer->claim);
	if (told_too_late(s, c, t, share, answer->incarnation))
		return;
	if (k->owner && (k->owner->host != h->id || k->owner_incarnation != answer->incarnation))
		oracle_take_from_owner(s, k);
	CHECK(s, !k->owner, "program %u of host %u is let in to share %s while program %u of host %u owns it", c->id, h->id, trace_key(k),
	      k->owner->id, k->owner->host);
	CHECK(s, oracle_is_new(h) || host_clock(s, h) < h->memory.tables->deadline_boot_ns, "host %u lets somebody share %s after its lease has ended", h->id,
	      trace_key(k));
	check_token(s, h, k, share, answer->token);
	check_death(s, k, answer->flags & COMPLETION_DIED);
	k->shared_told[k->n_shared_told++ % SHARED_TOLD] = (struct shared_told){ .token = answer->token, .start = c->start, .pid = c->pid, .host = h->id };
	if (ended)
		return;
	check_order(s, h, c, t);
	mark_beside(s, c, k);
	t->sharing.shares = true;
	t->sharing.at_ns = s->now_ns;
	k->n_sharing++;
}

/* ---- who shares must know it, and the agent too, whatever dies ---- */

/* Its release stands in the ring. */
static bool is_released(const struct client *c, uint32_t head, uint64_t claim)
{
	for (uint32_t n = 0; n < RING_REQUESTS && head + n != c->rings->request_tail; n++) {
		const struct ring_request *r = &c->rings->requests[(head + n) % RING_REQUESTS];

		if (r->op == REQUEST_RELEASE && r->claim == claim)
			return true;
	}
	return false;
}

static bool is_known(const struct client *c, const struct session_record *r, uint64_t claim)
{
	for (const struct thread *t = c->thread; t < c->thread + c->n_threads; t++)
		if (t->sharing.claim == claim && (t->sharing.shares || t->state == THREAD_LEAVES))
			return true;
	for (uint32_t at = c->scanned; at != r->tail; at++) /* granted, and not yet shown */
		if (c->rings->completions[at % RING_CALLS].claim == claim)
			return true;
	return is_released(c, r->head, claim);
}

static void check_claim(struct sim *s, const struct host *h, const struct left *left, uint32_t i)
{
	const struct claim *claim = &left->claims[i];
	const struct line *l = &left->lines[claim->line];
	const struct session_record *r = &left->sessions[claim->session];
	const struct client *c = claim->session <= SIM_SLOTS ? h->session[claim->session] : NULL;

	CHECK(s, l->key_len && l->state == LINE_OURS && l->mode == LOCK_MODE_PR, "host %u: claim %u shares a lock that the host has not", h->id, i);
	CHECK(s, r->state != SESSION_FREE && (r->state != SESSION_ENDING || r->sweep_at != SWEEP_DONE),
	      "host %u: claim %u shares a lock for session %u, which is over", h->id, i, claim->session);
	if (r->state != SESSION_OPEN || !c || c->state != CLIENT_OPEN || c->closing || c->gone || c->nonsense)
		return;
	CHECK(s, is_known(c, r, (uint64_t)claim->gen << 32 | i), "host %u: claim %u shares a lock for program %u, and nobody knows of it", h->id, i, c->id);
}

static void check_sharer(struct sim *s, const struct host *h, const struct left *left, const struct client *c, const struct thread *t)
{
	uint32_t i = (uint32_t)t->sharing.claim, other;
	const struct claim *claim = &left->claims[i];
	const struct key *k = &s->key[t->key];

	CHECK(s, i && i <= left->header->claims_high && claim->gen == (uint32_t)(t->sharing.claim >> 32) && claim->state == CLAIM_OWNER && claim->session == c->slot,
	      "program %u of host %u shares %s, and its agent does not know", c->id, h->id, trace_key(k));
	for (other = left->lines[claim->line].sharers; other && other != i; other = left->claims[other].next)
		;
	CHECK(s, other == i && left->lines[claim->line].hash == k->hash, "program %u of host %u shares %s, and does not count there", c->id, h->id,
	      trace_key(k));
}

/* While a life of the host is being ended, its agent takes back bite by bite what is void at once. */
static bool life_goes_on(const struct sim *s, const struct host *h, const struct left *left)
{
	return !left->header->lapse_at && left->header->incarnation && left->header->incarnation == reference_alive(s, h->id);
}

void sharing_check_left(struct sim *s, const struct host *h, const struct left *left)
{
	if (!life_goes_on(s, h, left))
		return;
	for (uint32_t i = 1; i <= left->header->claims_high; i++)
		if (left->claims[i].state == CLAIM_OWNER)
			check_claim(s, h, left, i);
	for (uint32_t slot = 1; slot <= SIM_SLOTS; slot++) {
		const struct client *c = h->session[slot];

		for (unsigned n = 0; c && n < c->n_threads; n++)
			if (c->thread[n].sharing.shares && c->thread[n].sharing.incarnation == left->header->incarnation)
				check_sharer(s, h, left, c, &c->thread[n]);
	}
}

void sharing_survives(struct sim *s, const struct host *h)
{
	for (uint32_t slot = 1; slot <= SIM_SLOTS; slot++)
		for (unsigned n = 0; h->session[slot] && n < h->session[slot]->n_threads; n++)
			if (h->session[slot]->thread[n].sharing.shares)
				sim_mark(s, MARK_SHARE_THROUGH_RESTART);
}

/* ---- an agent that sleeps has let in whom it may, and gives back what nobody shares any more ---- */

static void check_line_asleep(struct sim *s, const struct host *h, const struct left *left, uint32_t i)
{
	const struct line *l = &left->lines[i];
	const struct tables *tables = h->memory.tables;
	uint32_t row = table_find(tables, l->key, l->key_len), waiting = row ? table_value(tables, row).waiting : 0, standing;
	struct gate_view v = gates_view(h);
	const struct key *k = &s->key[sim_key(s, l->key, l->key_len)];

	CHECK(s, l->sharers || (!l->head && !waiting), "host %u goes to sleep with %s, which nobody shares there, and somebody waits for it", h->id,
	      trace_key(k));
	if (waiting && l->sharers)
		sim_mark(s, MARK_SHARE_WAITED_FOR);
	gate_read_line(&v, i, NULL, 0, &standing);
	if (l->head && !waiting && !standing && l->shared < LOCK_SHARED_RANGE) /* who has left a line says so to nobody: it is looked at again */
		CHECK(s, left->claims[l->head].mode != LOCK_MODE_PR || (gate_top(v.gates[i].word) && h->wake_ns <= host_clock(s, h) + SECOND), "host %u goes to sleep, and session %u waits to share %s, with nobody in its way", h->id,
		      left->claims[l->head].session, trace_key(k));
}

void sharing_check_asleep(struct sim *s, const struct host *h)
{
	struct left left = gates_left(h);

	if (host_clock(s, h) >= h->memory.tables->deadline_boot_ns || !sim_trusted(s) || h->scribbled || !life_goes_on(s, h, &left))
		return;
	for (uint32_t i = 1; i <= left.header->lines_high; i++)
		if (left.lines[i].key_len && left.lines[i].state == LINE_OURS && left.lines[i].mode == LOCK_MODE_PR)
			check_line_asleep(s, h, &left, i);
}

/* ---- answers of others ---- */

void sharing_named(struct sim *s, const struct key *k, const struct ring_completion *answer)
{
	for (unsigned i = 0; i < SHARED_TOLD; i++) {
		const struct shared_told *told = &k->shared_told[i];

		if (!told->pid || told->token != answer->holder_token)
			continue;
		CHECK(s, told->pid == answer->holder_pid && told->start == answer->holder_start && told->host == answer->holder_host,
		      "who shares %s with token %llu is named as pid %u of host %u, and is pid %u of host %u", trace_key(k), (ull)told->token,
		      answer->holder_pid, answer->holder_host, told->pid, told->host);
		sim_mark(s, MARK_SHARE_NAMED);
	}
}

void sharing_nobody(struct sim *s, const struct key *k, uint64_t since_ns)
{
	struct client *c;
	const struct thread *t;

	for (unsigned at = 0; (t = next_sharer(s, k, &at, &c));)
		CHECK(s, t->sharing.at_ns >= since_ns, "nobody is said to have %s, and program %u of host %u shared it all the while", trace_key(k), c->id,
		      c->host);
}

bool sharing_has_token(const struct sim *s, const struct key *k, uint64_t token)
{
	for (const struct client *c = s->client; k->n_sharing && c < s->client + SIM_CLIENTS; c++)
		for (const struct thread *t = c->thread; t < c->thread + SIM_THREADS; t++)
			if (t->sharing.shares && &s->key[t->key] == k && t->told_token == token)
				return true;
	return false;
}

void sharing_end(struct sim *s)
{
	for (const struct key *k = s->key + 1; k <= s->key + s->n_keys; k++)
		CHECK(s, !k->n_sharing, "%u programs still share %s when nobody is there", k->n_sharing, trace_key(k));
}
