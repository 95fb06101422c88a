/* SPDX-License-Identifier: Apache-2.0 */
#include "rival.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "../../lib/paxshm.h"

#define LONG_KEY 200 /* such a key has cells of its own in the tables */
#define SHORT_NS 5000
#define LINGER_NS (2 * NS_PER_MS)
#define REOPEN_NS (4 * NS_PER_S) /* at most, until a rival closes its session and opens another */
#define LOOK_UP 64               /* turns from one look at the clock to the next */
#define KEEP 64                  /* of so many turns at private locks one, once half the room is used */

size_t rival_memory_size(uint32_t lives_max)
{
	return sizeof(struct rival_memory) + ((size_t)lives_max + 1) * sizeof(struct witness_life);
}

uint64_t rival_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

void rival_key(unsigned lock, char *key, size_t cap)
{
	if (lock >= RIVAL_HOT) {
		snprintf(key, cap, "private %u", lock);
		return;
	}
	snprintf(key, cap, "hot %u", lock);
	if (lock == RIVAL_HOT - 1 && cap > LONG_KEY) {
		size_t len = strlen(key);

		memset(key + len, '.', LONG_KEY - len);
		key[LONG_KEY] = '\0';
	}
}

bool rival_may_wait(const struct rival_play a[RIVAL_PLAYS], const struct rival_play b[RIVAL_PLAYS])
{
	for (unsigned i = 0; i < RIVAL_PLAYS; i++)
		for (unsigned j = 0; j < RIVAL_PLAYS; j++)
			if (a[i].phase == RIVAL_ASKING && b[j].phase != RIVAL_IDLE && a[i].lock == b[j].lock)
				return true;
	return false;
}

void rival_note(struct rival_memory *m, uint32_t faults, const char *format, ...)
{
	va_list args;

	for (unsigned fault = 0; fault < WITNESS_FAULTS; fault++)
		if (faults & 1u << fault)
			__atomic_fetch_add(&m->faults[fault], 1, __ATOMIC_RELAXED);
	if (!faults)
		__atomic_fetch_add(&m->answers, 1, __ATOMIC_RELAXED);
	if (__atomic_exchange_n(&m->said, 1, __ATOMIC_ACQ_REL))
		return;
	va_start(args, format);
	vsnprintf(m->words, sizeof(m->words), format, args);
	va_end(args);
}

/* ---- in a rival ---- */

struct self {
	struct rival_memory *m;
	struct rival_seat *seat;
	unsigned number;
	uint32_t life;
	uint64_t random;
	paxshm_session *session;
	paxshm_lock_handle *handle[RIVAL_LOCKS]; /* made when first used */
};

static uint64_t up_to(struct self *me, uint64_t n)
{
	return random_next(&me->random) % (n + 1);
}

static bool told_to(const uint32_t *what)
{
	return __atomic_load_n(what, __ATOMIC_ACQUIRE) != 0;
}

static void does(struct self *me, enum rival_doing doing)
{
	__atomic_store_n(&me->seat->doing, (uint32_t)doing, __ATOMIC_RELEASE);
}

static void phase(struct rival_play *p, enum rival_phase phase)
{
	__atomic_store_n(&p->phase, (uint32_t)phase, __ATOMIC_RELEASE);
}

static void spin(struct self *me, uint64_t most_ns)
{
	uint64_t until = rival_now_ns() + up_to(me, most_ns);

	while (rival_now_ns() < until)
		;
}

/* A private lock is taken around others, never within: one place for those that are not kept is enough. */
static uint64_t new_place(struct self *me, unsigned lock)
{
	if (lock >= RIVAL_HOT && me->seat->turns > RIVAL_TURNS / 2 && up_to(me, KEEP - 1))
		return RIVAL_TURNS;
	return me->seat->turns++ % RIVAL_TURNS;
}

static struct history_turn *begin_turn(struct self *me, struct rival_play *p, unsigned lock)
{
	uint64_t place = new_place(me, lock), now;
	struct history_turn *t = &me->m->turn[me->number][place];

	*t = (struct history_turn){ .key = lock, .process = me->life, .host = (uint16_t)rival_host(me->number) };
	now = rival_now_ns();
	__atomic_store_n(&t->called_ns, now, __ATOMIC_RELEASE);
	p->lock = lock;
	p->turn = place + 1;
	p->since_ns = now;
	phase(p, RIVAL_ASKING);
	return t;
}

static void note_wait(struct rival_memory *m, const struct history_turn *t)
{
	uint64_t took = t->returned_ns - t->called_ns, longest = __atomic_load_n(&m->longest_wait_ns, __ATOMIC_RELAXED);

	if (took <= longest || __atomic_load_n(&m->disturbed_ns, __ATOMIC_ACQUIRE) > t->called_ns)
		return;
	while (took > longest &&
	       !__atomic_compare_exchange_n(&m->longest_wait_ns, &longest, took, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

/* Mostly waits as long as it takes. Private locks are free but for the death of the last who sat here. */
static struct paxshm_acquire some_way(struct self *me)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);

	switch (up_to(me, 31)) {
	case 0: how.flags = PAXSHM_NOWAIT; break;
	case 1: how.deadline_ns = rival_now_ns() + up_to(me, 2 * NS_PER_MS); break;
	}
	return how;
}

/* Asks for a lock. False: it was refused, the turn is over. */
static bool acquire(struct self *me, struct rival_play *p, unsigned lock, struct paxshm_grant *grant)
{
	struct paxshm_acquire how = some_way(me);
	struct history_turn *t = begin_turn(me, p, lock);
	int rc = paxshm_lock_acquire(me->handle[lock], &how, grant);
	uint64_t returned = rival_now_ns();

	t->token = rc ? 0 : grant->token;
	t->outcome = rc ? HISTORY_REFUSED : HISTORY_GRANTED;
	/* It counts from this instruction on: killed before, and the outcome is unknown. */
	__atomic_store_n(&t->returned_ns, returned, __ATOMIC_RELEASE);
	if (rc == 0) {
		phase(p, RIVAL_OWNING);
		note_wait(me->m, t);
		return true;
	}
	phase(p, RIVAL_IDLE);
	__atomic_fetch_add(&me->m->refused, 1, __ATOMIC_RELAXED);
	if (!(rc == -EBUSY && (how.flags & PAXSHM_NOWAIT)) && !(rc == -ETIMEDOUT && how.deadline_ns))
		rival_note(me->m, 0, "life %u: acquire of lock %u: %s", me->life, lock, paxshm_strerror(rc));
	return false;
}

static void enter(struct self *me, unsigned lock, const struct paxshm_grant *grant)
{
	struct witness_lock *l = &me->m->lock[lock];
	uint64_t before = l->token;
	uint32_t inside = l->inside, faults;

	faults = witness_enter(l, me->m->life, me->life, grant->token, grant->flags & PAXSHM_OWNER_DIED, rival_now_ns());
	if (inside && !faults)
		me->m->life[inside].disturbed = __atomic_load_n(&me->m->disturbed_ns, __ATOMIC_ACQUIRE) > me->m->life[inside].doomed_ns;
	if (faults)
		rival_note(me->m, faults, "life %u enters lock %u: token %llu after %llu, flags %u; life %u was inside", me->life, lock,
			   (unsigned long long)grant->token, (unsigned long long)before, grant->flags, inside);
}

/* Inside, now and then: it is ours, once more ours, and nobody came. */
static void look(struct self *me, unsigned lock, struct history_turn *t, const struct paxshm_grant *grant)
{
	struct paxshm_grant again = PAXSHM_INIT(again);
	uint64_t called = rival_now_ns();
	int rc = paxshm_lock_check(me->handle[lock]);

	if (rc == 0)
		__atomic_store_n(&t->proved_ns, called, __ATOMIC_RELEASE);
	else
		rival_note(me->m, 0, "life %u: check of lock %u: %s", me->life, lock, paxshm_strerror(rc));
	if (up_to(me, 3))
		return;
	rc = paxshm_lock_acquire(me->handle[lock], NULL, &again);
	if (rc == 0 && (!(again.flags & PAXSHM_REENTERED) || again.token != grant->token))
		rival_note(me->m, 0, "life %u: lock %u entered again with token %llu, flags %u", me->life, lock,
			   (unsigned long long)again.token, again.flags);
	if (rc == 0)
		rc = paxshm_lock_release(me->handle[lock]);
	if (rc)
		rival_note(me->m, 0, "life %u: lock %u entered again: %s", me->life, lock, paxshm_strerror(rc));
}

/* Where the next victim is to be an owner. */
static void linger(struct self *me, unsigned lock, const struct paxshm_grant *grant)
{
	uint64_t until = 0;

	while (__atomic_load_n(&me->m->linger, __ATOMIC_ACQUIRE) == lock + 1 && witness_alone(&me->m->lock[lock], me->life, grant->token)) {
		uint64_t now = rival_now_ns();

		if (!until)
			until = now + LINGER_NS;
		if (now >= until)
			return;
	}
}

static void release(struct self *me, struct rival_play *p, struct history_turn *t)
{
	int rc;

	__atomic_store_n(&t->release_ns, rival_now_ns(), __ATOMIC_RELEASE);
	phase(p, RIVAL_RELEASING);
	rc = paxshm_lock_release(me->handle[p->lock]);
	__atomic_store_n(&t->released_ns, rival_now_ns(), __ATOMIC_RELEASE);
	if (rc)
		rival_note(me->m, 0, "life %u: release of lock %u: %s", me->life, p->lock, paxshm_strerror(rc));
	t->end = rc ? HISTORY_LOST : HISTORY_RELEASED;
	__atomic_fetch_add(&me->seat->granted, 1, __ATOMIC_RELAXED);
	phase(p, RIVAL_IDLE);
}

static void one_turn(struct self *me, unsigned lock, unsigned within, unsigned depth);

static void own(struct self *me, struct rival_play *p, unsigned within, const struct paxshm_grant *grant)
{
	struct history_turn *t = &me->m->turn[me->number][p->turn - 1];
	unsigned lock = p->lock;
	uint32_t faults;

	enter(me, lock, grant);
	if (within < RIVAL_LOCKS)
		one_turn(me, within, RIVAL_LOCKS, RIVAL_INNER);
	if (up_to(me, 15) == 0)
		look(me, lock, t, grant);
	if (up_to(me, 7) == 0)
		spin(me, SHORT_NS);
	linger(me, lock, grant);
	faults = witness_leave(&me->m->lock[lock], me->life, grant->token);
	if (faults)
		rival_note(me->m, faults, "life %u leaves lock %u with token %llu: token %llu came while it was inside", me->life, lock,
			   (unsigned long long)grant->token, (unsigned long long)me->m->lock[lock].token);
	release(me, p, t);
}

static void one_turn(struct self *me, unsigned lock, unsigned within, unsigned depth)
{
	struct rival_play *p = &me->seat->play[depth];
	struct paxshm_grant grant = PAXSHM_INIT(grant);
	char key[PAXSHM_KEY_MAX + 1];
	int rc = 0;

	if (!me->handle[lock]) {
		rival_key(lock, key, sizeof(key));
		rc = paxshm_lock_ref(me->session, key, strlen(key), &me->handle[lock]);
	}
	if (rc)
		rival_note(me->m, 0, "life %u: ref: %s", me->life, paxshm_strerror(rc));
	else if (acquire(me, p, lock, &grant))
		own(me, p, within, &grant);
}

static void work_once(struct self *me)
{
	unsigned hot = (unsigned)up_to(me, RIVAL_HOT - 1);
	unsigned private = RIVAL_HOT + me->number * RIVAL_PRIVATE + (unsigned)up_to(me, RIVAL_PRIVATE - 1);

	switch (up_to(me, 3)) {
	case 0: one_turn(me, private, RIVAL_LOCKS, RIVAL_OUTER); break;
	case 1: one_turn(me, private, hot, RIVAL_OUTER); break;
	default: one_turn(me, hot, RIVAL_LOCKS, RIVAL_OUTER);
	}
}

static bool over(const struct self *me)
{
	return told_to(&me->m->stop) || told_to(&me->m->said);
}

static void rest(struct self *me)
{
	does(me, RIVAL_RESTING);
	while (told_to(&me->m->rest) && !over(me))
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	does(me, RIVAL_WORKING);
}

static void work(struct self *me)
{
	uint64_t until = rival_now_ns() + up_to(me, REOPEN_NS);

	for (unsigned turn = 1; !over(me) && (turn % LOOK_UP || rival_now_ns() < until); turn++) {
		work_once(me);
		if (told_to(&me->m->rest))
			rest(me);
	}
}

static bool open_session(struct self *me)
{
	struct paxshm_options options = PAXSHM_INIT(options);
	int rc;

	options.socket = me->m->socket[rival_host(me->number)];
	memset(me->handle, 0, sizeof(me->handle));
	while (!over(me)) {
		rc = paxshm_open(&me->session, &options);
		if (rc == 0)
			return true;
		if (rc != -ECONNREFUSED && rc != -ENOTCONN)
			rival_note(me->m, 0, "life %u: open: %s (%s)", me->life, paxshm_strerror(rc), paxshm_open_reason());
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return false;
}

_Noreturn void rival_work(struct rival_memory *m, unsigned seat, uint32_t life)
{
	struct self me = { .m = m, .seat = &m->seat[seat], .number = seat, .life = life, .random = hash_mix(m->seed + life) };
	int rc;

	while (open_session(&me)) {
		does(&me, RIVAL_WORKING);
		work(&me);
		does(&me, RIVAL_CLOSING);
		rc = paxshm_close(me.session);
		if (rc)
			rival_note(m, 0, "life %u: close: %s", life, paxshm_strerror(rc));
		__atomic_fetch_add(&m->reopened, 1, __ATOMIC_RELAXED);
		does(&me, RIVAL_OPENING);
	}
	_exit(0);
}
