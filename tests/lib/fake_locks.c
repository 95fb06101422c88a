/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fake_locks.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <unistd.h>

#include "../../shm/atom.h"
#include "../../shm/gate_repair.h"
#include "../../shm/sys.h"

/* ---- locks ---- */

struct fake_lock *fake_key(struct fake *f, const char *key)
{
	for (unsigned i = 0; i < FAKE_LOCKS; i++) {
		struct fake_lock *l = &f->locks[i];

		if (!l->key[0])
			strcpy(l->key, key);
		if (strcmp(l->key, key) == 0)
			return l;
	}
	cr_assert_fail("the fake agent has no room for another key");
	abort();
}

static uint32_t gate_of(const struct fake *f, const struct fake_lock *l)
{
	return (uint32_t)(l - f->locks) + 1;
}

static uint64_t word_of(const struct fake *f, const struct fake_lock *l)
{
	return atom_load_acquire(&f->view.gates[gate_of(f, l)].word);
}

/* Shows in the tables which host has the key. */
static void show(struct fake *f, const struct fake_lock *l)
{
	uint32_t row = table_find(f->tables, l->key, (uint32_t)strlen(l->key));
	struct lock_value value = {
		.delegation = l->elsewhere ? 1000 : l->delegation,
		.incarnation = f->tables->incarnation,
		.host = l->elsewhere ? FAKE_OTHER : FAKE_HOST,
		.mode = PAXSHM_EX,
		.gate = l->elsewhere ? 0 : gate_of(f, l),
	};

	if (value.delegation) {
		if (!row)
			row = table_insert(f->tables, NULL, l->key, (uint32_t)strlen(l->key));
		table_set(f->tables, NULL, row, &value);
	} else if (row) {
		table_remove(f->tables, NULL, row);
	}
}

/* The key is this host's from now on, its gate still the agent's. */
static void delegate(struct fake *f, struct fake_lock *l)
{
	struct gate_terms *terms = tables_terms(f->tables, gate_of(f, l));

	if (l->delegation)
		return;
	l->delegation = ++f->last_delegation;
	terms->incarnation = f->tables->incarnation;
	terms->base = f->last_token + 1;
	terms->opened_at = gate_count(word_of(f, l));
	terms->range = LOCK_RANGE;
	if (!terms->serial)
		terms->serial = 1;
	atom_store_release(&terms->delegation, l->delegation);
	show(f, l);
}

static uint64_t token_of(const struct fake *f, const struct fake_lock *l)
{
	const struct gate_terms *terms = tables_terms(f->tables, gate_of(f, l));

	return terms->base + (gate_count(word_of(f, l)) - terms->opened_at - 1);
}

/* The agent has the gate: nothing is given of it until settle(). */
static void undelegate(struct fake *f, struct fake_lock *l)
{
	cr_assert_eq(gate_close(&f->view, gate_of(f, l)), GATE_DONE);
	if (l->delegation)
		f->last_token = MAX(f->last_token, token_of(f, l)); /* every one that was given is below */
	l->delegation = 0;
	atom_store_release(&tables_terms(f->tables, gate_of(f, l))->delegation, 0ull);
}

static void complete(struct fake *f, uint32_t session, const struct ring_completion *completion)
{
	struct fake_session *s = &f->sessions[session];

	ring_put(s->rings, s->tail++, completion);
	ring_publish_tail(s->rings, s->tail);
	if (ring_bell(s->rings, completion->call))
		sys_futex_wake(&s->rings->bell[completion->call], 1);
}

static void answer(struct fake *f, uint32_t session, uint32_t call, int result)
{
	complete(f, session, &(struct ring_completion){ .call = call, .result = result, .incarnation = f->tables->incarnation });
}

/* Gives an exclusive claim the gate, which is the agent's; or shares it. */
static void grant(struct fake *f, struct fake_lock *l, const struct fake_claim *c)
{
	struct ring_completion completion = { .call = c->call, .incarnation = f->tables->incarnation };
	uint32_t gate = gate_of(f, l), count = gate_count(word_of(f, l));
	bool died = false;

	if (f->void_grants) {
		f->void_grants--;
		completion.incarnation--;
		completion.gate = gate;
		complete(f, c->session, &completion);
		return;
	}
	delegate(f, l);
	if (c->mode == PAXSHM_PR) {
		l->readers[l->reading++] = *c;
		completion.claim = c->claim;
		completion.token = ++f->last_token;
	} else {
		cr_assert_eq(gate_give(&f->view, gate, count, c->session, &died), GATE_DONE);
		completion.gate = gate;
		completion.serial = tables_terms(f->tables, gate)->serial;
		completion.count = count + 1;
		completion.token = f->last_token = token_of(f, l);
	}
	completion.flags = l->died || died ? COMPLETION_DIED : 0;
	l->died = false;
	complete(f, c->session, &completion);
}

static void line_drop(struct fake_lock *l, unsigned i)
{
	l->waiting--;
	memmove(&l->line[i], &l->line[i + 1], (l->waiting - i) * sizeof(l->line[0]));
}

/* Opens the gate to its own line. */
static void open_gate(struct fake *f, struct fake_lock *l)
{
	struct gate_pass pass = gate_agent_pass(&f->view, gate_of(f, l));
	enum gate_next next;

	delegate(f, l);
	while ((next = gate_open(&f->view, &pass)) == GATE_WAKE || next == GATE_AGAIN)
		if (next == GATE_WAKE)
			sys_futex_wake(&f->view.records[pass.record].bell, 1);
	cr_assert_eq(next, GATE_DONE);
}

/* Who waits longest in the gate's line, since when; NEVER: nobody. */
static uint64_t line_since_ns(struct fake *f, const struct fake_lock *l)
{
	struct gate_pass pass = gate_agent_pass(&f->view, gate_of(f, l));
	enum gate_next next;

	while ((next = gate_prune(&f->view, &pass)) == GATE_AGAIN)
		;
	return next == GATE_WAITS ? f->view.records[pass.record].since_ns : NEVER;
}

/* Whoever is next gets what the agent has. */
static void settle(struct fake *f, struct fake_lock *l)
{
	while (!l->elsewhere && !f->no_quorum && !f->deaf && gate_owner(word_of(f, l)) == GATE_AGENT) {
		uint64_t line_ns = line_since_ns(f, l);
		struct fake_claim next = l->line[0];
		bool claim = l->waiting && next.since_ns <= line_ns;

		if (l->reading && !(claim && next.mode == PAXSHM_PR))
			return;
		if (claim) {
			line_drop(l, 0);
			grant(f, l, &next);
			continue;
		}
		if (line_ns == NEVER && !l->delegation)
			return;
		open_gate(f, l);
	}
	/* Others wait here: it comes back at the next release. */
	if (l->waiting && gate_owner(word_of(f, l)) != GATE_AGENT && !l->elsewhere && !f->deaf && gate_close(&f->view, gate_of(f, l)) == GATE_DONE)
		settle(f, l);
}

/* ---- requests ---- */

static void refuse(struct fake *f, const struct fake_lock *l, uint32_t session, uint32_t call)
{
	complete(f, session, &(struct ring_completion){
				     .call = call,
				     .result = -EBUSY,
				     .holder_host = l->elsewhere ? FAKE_OTHER : FAKE_HOST,
				     .holder_pid = 1234,
				     .holder_start = 99,
				     .holder_token = 5,
				     .holder_session = 3,
			     });
}

static void acquire(struct fake *f, uint32_t session, const struct ring_request *r)
{
	char key[KEY_MAX + 1] = { 0 };
	struct fake_claim c = { .session = session, .call = r->call, .claim = ++f->last_claim, .mode = r->mode, .since_ns = sys_coarse_ns() };

	f->acquires++;
	f->last_acquire = *r;
	memcpy(key, r->key, r->key_len);
	struct fake_lock *l = fake_key(f, key);
	if (f->no_quorum && r->flags & REQUEST_RETURN) {
		answer(f, session, r->call, -ENETUNREACH);
		return;
	}
	l->line[l->waiting++] = c;
	if (r->flags & REQUEST_TRY) {
		uint32_t owner = gate_owner(word_of(f, l));

		if (l->waiting > 1 || l->elsewhere || (owner && owner != GATE_AGENT) || (l->reading && c.mode != PAXSHM_PR)) {
			l->waiting--;
			refuse(f, l, session, r->call);
			return;
		}
	}
	settle(f, l);
}

static void cancel(struct fake *f, uint32_t session, const struct ring_request *r)
{
	f->cancels++;
	f->last_cancel = *r;
	for (unsigned k = 0; k < FAKE_LOCKS; k++)
		for (unsigned i = 0; i < f->locks[k].waiting; i++) {
			struct fake_claim c = f->locks[k].line[i];

			if (c.session != session || c.call != r->target)
				continue;
			line_drop(&f->locks[k], i);
			if (f->grant_before_cancel)
				grant(f, &f->locks[k], &c); /* the gate is the agent's: nobody has it yet */
			else
				answer(f, session, c.call, r->reason);
			return;
		}
}

static void reader_drop(struct fake *f, struct fake_lock *l, unsigned i)
{
	l->reading--;
	memmove(&l->readers[i], &l->readers[i + 1], (l->reading - i) * sizeof(l->readers[0]));
	settle(f, l);
}

static void release(struct fake *f, uint32_t session, const struct ring_request *r)
{
	f->releases++;
	for (unsigned k = 0; k < FAKE_LOCKS; k++)
		for (unsigned i = 0; i < f->locks[k].reading; i++)
			if (f->locks[k].readers[i].session == session && f->locks[k].readers[i].claim == r->claim) {
				reader_drop(f, &f->locks[k], i);
				return;
			}
	f->stale_releases++;
}

/* As after a death: records, gates, sleepers, in this order. */
static void bury(struct fake *f, uint32_t session)
{
	uint32_t each = f->tables->records_each, first = (session - 1) * each + 1, gate, at = 1;
	enum gate_next next;

	for (uint32_t i = first; i < first + each; i++)
		while ((next = gate_bury(&f->view, i, session, &gate)) == GATE_AGAIN)
			;
	while (at <= f->view.n_gates)
		(void)gate_sweep(&f->view, session, GATE_DIED, &at, 1);
	for (uint32_t i = 1; i <= f->view.n_records; i++)
		if (gate_rouse(&f->view, i))
			sys_futex_wake(&f->view.records[i].bell, 1);
	for (unsigned k = 0; k < FAKE_LOCKS; k++) {
		struct fake_lock *l = &f->locks[k];

		for (unsigned i = l->waiting; i-- > 0;)
			if (l->line[i].session == session)
				line_drop(l, i);
		for (unsigned i = l->reading; i-- > 0;)
			if (l->readers[i].session == session)
				reader_drop(f, l, i);
		if (l->key[0])
			settle(f, l);
	}
}

/* What a session gives up by itself, nobody died with. */
static void close_session(struct fake *f, uint32_t session, uint32_t call)
{
	f->closes++;
	for (unsigned k = 0; k < FAKE_LOCKS; k++) {
		struct fake_lock *l = &f->locks[k];
		struct gate_pass pass = { .gate = gate_of(f, l), .slot = session, .count = gate_count(word_of(f, l)) };
		enum gate_next next;

		if (gate_owner(word_of(f, l)) == session)
			while ((next = gate_release(&f->view, &pass, sys_now_ns())) == GATE_WAKE || next == GATE_AGAIN)
				if (next == GATE_WAKE)
					sys_futex_wake(&f->view.records[pass.record].bell, 1);
	}
	bury(f, session);
	answer(f, session, call, 0);
}

static void hear_of_gate(struct fake *f, uint32_t gate)
{
	f->gates++;
	cr_assert(gate >= 1 && gate <= FAKE_LOCKS);
	if (f->locks[gate - 1].key[0])
		settle(f, &f->locks[gate - 1]);
}

void fake_act(struct fake *f, uint32_t session, const struct ring_request *r)
{
	const char *wrong = ring_request_check(r);

	f->requests_seen++;
	cr_assert_null(wrong, "the library asked nonsense: %s", wrong);
	switch (r->op) {
	case REQUEST_ACQUIRE: acquire(f, session, r); break;
	case REQUEST_RELEASE: release(f, session, r); break;
	case REQUEST_CANCEL: cancel(f, session, r); break;
	case REQUEST_CLOSE: close_session(f, session, r->call); break;
	case REQUEST_GATE: hear_of_gate(f, r->target); break;
	case REQUEST_LEAD:
		f->leads++;
		f->last_lead = *r;
		answer(f, session, r->call, f->lead_result);
		break;
	case REQUEST_HOLDER:
		f->holders++;
		f->last_holder = *r;
		complete(f, session, &(struct ring_completion){ .call = r->call, .result = f->holder_result, .holder_host = f->holder_host, .holder_pid = f->holder_pid, .holder_start = 88 });
		break;
	}
}

/* ---- sessions ---- */

/* Which records are the session's, and whose process it is. */
void fake_session_show(struct fake *f, uint32_t slot, bool open)
{
	struct session_row *row = tables_session(f->tables, slot);
	uint32_t each = f->tables->records_each;

	for (uint32_t i = 0; i < each; i++)
		atom_store_relaxed(&tables_slots(f->tables)[(slot - 1) * each + 1 + i], (uint16_t)(open && i >= f->spare_records ? slot : 0));
	*row = open ? (struct session_row){ .pid = (uint32_t)getpid(), .uid = getuid(), .start = 4711, .program = "test" } : (struct session_row){ 0 };
}

/* ---- for tests ---- */

uint32_t fake_gate(struct fake *f, const char *key)
{
	fake_lock(f);
	uint32_t gate = gate_of(f, fake_key(f, key));
	fake_unlock(f);
	return gate;
}

uint32_t fake_owner(struct fake *f, const char *key)
{
	fake_lock(f);
	uint32_t owner = gate_owner(word_of(f, fake_key(f, key)));
	fake_unlock(f);
	return owner == GATE_AGENT ? 0 : owner;
}

void fake_until_owner(struct fake *f, const char *key, uint32_t session)
{
	while (fake_owner(f, key) != session)
		usleep(200);
}

uint64_t fake_token(struct fake *f, const char *key)
{
	fake_lock(f);
	uint64_t token = token_of(f, fake_key(f, key));
	fake_unlock(f);
	return token;
}

void fake_close_gate(struct fake *f, const char *key)
{
	fake_lock(f);
	gate_close(&f->view, gate_of(f, fake_key(f, key)));
	fake_unlock(f);
}

void fake_open_gate(struct fake *f, const char *key)
{
	fake_lock(f);
	settle(f, fake_key(f, key));
	fake_unlock(f);
}

void fake_move_gate(struct fake *f, const char *key)
{
	fake_lock(f);
	struct fake_lock *l = fake_key(f, key);
	struct gate_terms *terms = tables_terms(f->tables, gate_of(f, l));
	undelegate(f, l);
	show(f, l);
	atom_store_seq_cst(&terms->serial, terms->serial + 1);
	fake_unlock(f);
}

void fake_bury(struct fake *f, uint32_t session)
{
	fake_lock(f);
	fake_session_show(f, session, true); /* until it is out of every line */
	bury(f, session);
	fake_unlock(f);
}

void fake_hold(struct fake *f, const char *key)
{
	fake_lock(f);
	struct fake_lock *l = fake_key(f, key);
	cr_assert(!l->elsewhere);
	undelegate(f, l);
	l->elsewhere = true;
	show(f, l);
	fake_unlock(f);
}

void fake_free(struct fake *f, const char *key)
{
	fake_lock(f);
	struct fake_lock *l = fake_key(f, key);
	l->elsewhere = false;
	show(f, l);
	settle(f, l);
	fake_unlock(f);
}

/* ---- the host's lives ---- */

static void life_set(struct fake *f, uint64_t incarnation)
{
	atom_store_release(&f->tables->deadline_boot_ns, 0ull);
	atom_store_release(&f->tables->deadline_ns, 0ull);
	atom_store_release(&f->tables->incarnation, incarnation);
}

static void lapse(struct fake *f, uint32_t gate)
{
	uint32_t owner, count, each = f->tables->records_each;
	enum gate_next next;

	do {
		if (gate_lapsing(&f->view, gate, &owner, &count))
			for (uint32_t i = (owner - 1) * each + 1; i <= owner * each; i++)
				while ((next = gate_lapse_record(&f->view, i, gate, count)) != GATE_DONE)
					if (next == GATE_WAKE) {
						sys_futex_wake(&f->view.records[i].bell, 1);
						break;
					}
	} while (gate_lapse(&f->view, gate, owner, count) != GATE_DONE);
}

void fake_down(struct fake *f)
{
	fake_lock(f);
	atom_store_release(&f->tables->deadline_boot_ns, 0ull);
	atom_store_release(&f->tables->deadline_ns, 0ull);
	for (unsigned k = 0; k < FAKE_LOCKS; k++) {
		struct fake_lock *l = &f->locks[k];

		lapse(f, gate_of(f, l));
		if (!l->delegation)
			continue;
		l->reading = 0;
		undelegate(f, l);
		show(f, l);
	}
	life_set(f, 0);
	fake_unlock(f);
}

void fake_up(struct fake *f, uint64_t incarnation)
{
	fake_lock(f);
	life_set(f, incarnation);
	fake_unlock(f);
}

static unsigned waiting(struct fake *f, const char *key)
{
	struct fake_lock *l = fake_key(f, key);
	unsigned n = l->waiting;

	for (uint32_t i = 1; i <= f->view.n_records; i++) {
		const struct gate_record *r = &f->view.records[i];

		n += gate_record_state(atom_load_acquire(&r->state)) == GATE_RECORD_SLEEP && atom_load_relaxed(&r->gate) == gate_of(f, l);
	}
	return n;
}

void fake_until_waiting(struct fake *f, const char *key, unsigned n)
{
	for (bool reached = false; !reached;) {
		fake_lock(f);
		reached = waiting(f, key) >= n;
		pthread_mutex_unlock(&f->mutex);
		if (!reached)
			usleep(500);
	}
}
