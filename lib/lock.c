/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock: handles, and the locks that they own.
 *
 * A handle is the owner. `count` says how often it was acquired; the gate, and the agent, know of one acquisition only.
 * The thread whose handle it is (bias.h) goes the short way: in, the gate, out. Everything else goes by the mutex; `busy`
 * keeps a handle to one thread while that thread waits at the gate, asks the agent or hands a release in, so that
 * requests about one handle reach the ring in the order in which they were made.
 */
#define _GNU_SOURCE
#include <errno.h>

#include "../shm/atom.h"
#include "../shm/gate_wait.h"
#include "../shm/sys.h"
#include "gateway.h"
#include "handle.h"

#define TURN_EVERY_NS NS_PER_S /* who waits for another thread looks at the session meanwhile */

#define HANDLE_ALIGN 64u

/* ---- handles ---- */

struct paxshm_lock_handle *handle_new(struct paxshm_session *s, const void *key, size_t len, uint64_t thread)
{
	struct paxshm_lock_handle *l = aligned_alloc(HANDLE_ALIGN, align_up(sizeof(*l), HANDLE_ALIGN));

	if (!l)
		return NULL;
	memset(l, 0, sizeof(*l));
	l->session = s;
	l->mine = s->mine;
	l->bias = (struct bias){ .thread = BIAS_NOBODY, .shared = !s->biased };
	l->thread = thread;
	l->key_len = (uint32_t)len;
	memcpy(l->key, key, len);
	return l;
}

void handle_link(struct paxshm_lock_handle *l)
{
	struct paxshm_session *s = l->session;

	l->next = s->handles;
	l->link = &s->handles;
	if (l->next)
		l->next->link = &l->next;
	s->handles = l;
}

void handle_unlink(struct paxshm_lock_handle *l)
{
	*l->link = l->next;
	if (l->next)
		l->next->link = l->link;
}

static inline int handle_mine(const struct paxshm_lock_handle *l)
{
	if (!l)
		return -EINVAL;
	return *l->mine ? 0 : -EPERM;
}

/* As gateway_look(). While it is suspended there is time to see whether the keeper is gone; nobody else would ever tell
 * who only asks for its lock. */
static int handle_look(const struct paxshm_lock_handle *l)
{
	int rc = gateway_look(l);

	return rc == -ENETUNREACH && session_look(l->session) ? -ESTALE : rc;
}

int paxshm_lock_ref(paxshm_session *s, const void *key, size_t len, paxshm_lock_handle **ret_handle)
{
	struct paxshm_lock_handle *l;
	int rc = session_mine(s);

	if (rc == 0)
		rc = ret_handle ? key_check(key, len) : -EINVAL;
	if (rc)
		return rc;
	l = handle_new(s, key, len, 0);
	if (!l)
		return -ENOMEM;
	pthread_mutex_lock(&s->mutex);
	handle_link(l);
	pthread_mutex_unlock(&s->mutex);
	*ret_handle = l;
	return 0;
}

int paxshm_lock_unref(paxshm_lock_handle *l)
{
	int rc = handle_mine(l);

	if (rc)
		return rc;
	struct paxshm_session *s = l->session;
	pthread_mutex_lock(&s->mutex);
	if (l->count || l->busy)
		rc = -EBUSY;
	else
		handle_unlink(l);
	pthread_mutex_unlock(&s->mutex);
	if (rc == 0)
		free(l);
	return rc;
}

/* ---- acquire ---- */

static int wish_check(const struct paxshm_acquire *how)
{
	if (how->size < sizeof(*how) || how->mode > PAXSHM_EX || how->no_quorum > PAXSHM_RETURN ||
	    how->flags & ~(PAXSHM_NOWAIT | PAXSHM_ASYNC | PAXSHM_STAMPS))
		return -EINVAL;
	if ((how->mode && how->mode != PAXSHM_EX && how->mode != PAXSHM_PR) || how->flags & PAXSHM_ASYNC)
		return -ENOSYS;
	return 0;
}

/* Once more for who owns it already. 0 and counted. */
static inline int handle_reenter(struct paxshm_lock_handle *l, uint32_t mode)
{
	uint32_t count = atom_load_relaxed(&l->count);
	int rc;

	if (mode == PAXSHM_EX && atom_load_relaxed(&l->mode) != PAXSHM_EX)
		return -EDEADLK;
	rc = gateway_look(l);
	if (rc == 0 && count == UINT32_MAX)
		rc = -ENOSPC;
	if (rc == 0)
		atom_store_release(&l->count, count + 1);
	return rc;
}

/* For what is to be told when the caller has no patience left: as long as an agent may be silent. */
static struct patience silence(const struct paxshm_session *s)
{
	return (struct patience){ .deadline_ns = sys_now_ns() + s->agent_timeout_ns };
}

enum warm { WARM_OWNED,
	    WARM_NOT,    /* not gone, or not to its end: all is as it was */
	    WARM_VOID }; /* what the gate gave did not count, and went to the agent */

/* The short way, in a handle that is this thread's. */
static inline __attribute__((always_inline)) enum take take_warm(struct paxshm_lock_handle *l, uint32_t mode)
{
	if (mode != PAXSHM_EX || !gateway_known(l))
		return TAKE_NOT_FREE;
	enum take take = gateway_take(l);
	if (take == TAKE_DONE)
		atom_store_release(&l->count, 1u); /* pairs with the acquire in paxshm_lock_check */
	return take;
}

static void grant_first(const struct paxshm_lock_handle *l, struct paxshm_grant *grant)
{
	grant->flags = l->died ? PAXSHM_OWNER_DIED : 0;
	grant->token = l->token;
	memset(grant->stamp_ns, 0, sizeof(grant->stamp_ns));
}

/* Apart from the short way: it would make that one longer. */
static __attribute__((noinline, cold)) enum warm warm_void(struct paxshm_lock_handle *l)
{
	uint32_t gate = l->gate, taken = l->taken;

	bias_leave(&l->bias);
	gateway_decline(l->session, gate, taken, silence(l->session));
	return WARM_VOID;
}

static __attribute__((noinline)) enum warm warm_again(struct paxshm_lock_handle *l, uint32_t mode, struct paxshm_grant *grant)
{
	bool owned = handle_reenter(l, mode) == 0;

	if (owned && grant) {
		grant->flags = PAXSHM_REENTERED;
		grant->token = l->token;
	}
	bias_leave(&l->bias);
	return owned ? WARM_OWNED : WARM_NOT;
}

static inline __attribute__((always_inline)) enum warm acquire_warm(struct paxshm_lock_handle *l, uint32_t mode, struct paxshm_grant *grant)
{
	if (!bias_enter(&l->bias))
		return WARM_NOT;
	if (atom_load_relaxed(&l->count))
		return warm_again(l, mode, grant);
	enum take take = take_warm(l, mode);
	if (take == TAKE_VOID)
		return warm_void(l);
	if (take == TAKE_DONE && grant)
		grant_first(l, grant);
	bias_leave(&l->bias);
	return take == TAKE_DONE ? WARM_OWNED : WARM_NOT;
}

/* Waits, the mutex held before and after, until another thread of this process may have finished. */
static int turn_wait(struct paxshm_session *s, struct patience patience)
{
	uint32_t turn = atom_load_seq_cst(&s->turn);
	int rc;

	s->turn_waiters++;
	pthread_mutex_unlock(&s->mutex);
	rc = session_look(s) ? -ENOTCONN : patience_over(s, patience);
	if (rc == 0)
		sys_futex_wait(&s->turn, turn, MIN(sys_now_ns() + TURN_EVERY_NS, patience.deadline_ns));
	pthread_mutex_lock(&s->mutex);
	s->turn_waiters--;
	return rc;
}

enum entered { ENTERED_FIRST,
	       ENTERED_AGAIN };

/* Gets the handle to oneself (busy), or acquires it once more. */
static int handle_enter(struct paxshm_lock_handle *l, uint32_t mode, bool nowait, struct patience patience, uint64_t *ret_token)
{
	struct paxshm_session *s = l->session;
	int rc = 0;

	if (bias_enter(&l->bias)) {
		bool first = !l->busy && !l->count;

		if (first)
			l->busy = true;
		bias_leave(&l->bias);
		if (first)
			return ENTERED_FIRST;
	}
	pthread_mutex_lock(&s->mutex);
	bias_come(&l->bias);
	while (l->busy && rc == 0)
		rc = nowait ? -EBUSY : turn_wait(s, patience);
	bool owned = rc == 0 && l->count;
	if (owned) {
		rc = handle_reenter(l, mode);
		*ret_token = l->token;
		if (rc == 0)
			rc = ENTERED_AGAIN;
	} else if (rc == 0) {
		l->busy = true;
		rc = ENTERED_FIRST;
	}
	pthread_mutex_unlock(&s->mutex);
	/* As handle_look() does, without the mutex: it is a system call. */
	return owned && rc == -ENETUNREACH && session_look(s) ? -ESTALE : rc;
}

static inline void handle_end(struct paxshm_lock_handle *l, const struct ring_completion *got)
{
	ASSERT(l->busy && !l->count);
	if (got) {
		if (got->gate)
			gateway_remember(l, got->gate, got->serial);
		l->claim = got->claim;
		l->told_lost = false;
		atom_store_relaxed(&l->mode, (uint32_t)(got->gate ? PAXSHM_EX : PAXSHM_PR));
		atom_store_relaxed(&l->taken, got->count);
		atom_store_relaxed(&l->token, got->token);
		atom_store_relaxed(&l->incarnation, got->incarnation);
		atom_store_release(&l->count, 1u); /* pairs with the acquire in paxshm_lock_check */
	}
	l->busy = false;
}

/* Ends what handle_enter began; `got` NULL: nothing was granted. */
static void handle_leave(struct paxshm_lock_handle *l, const struct ring_completion *got)
{
	struct paxshm_session *s = l->session;

	/* Its thread's alone still: then no other has come to wait for it. */
	if (bias_enter(&l->bias)) {
		handle_end(l, got);
		bias_leave(&l->bias);
		return;
	}
	pthread_mutex_lock(&s->mutex);
	handle_end(l, got);
	bool waited = s->turn_waiters;
	pthread_mutex_unlock(&s->mutex);
	if (waited)
		session_turn(s);
}

static void fail(struct paxshm_session *s, const struct paxshm_lock_handle *l)
{
	char message[KEY_MAX + 128];

	snprintf(message, sizeof(message), "no quorum: no majority of the cluster's voters can be reached to lock \"%.*s\"",
		 (int)l->key_len, (const char *)l->key);
	if (s->fatal) {
		s->fatal(s, -ENETUNREACH, message, s->fatal_context);
		return;
	}
	fprintf(stderr, "paxshm: %s\n", message);
	abort();
}

static int acquire_ask(struct paxshm_lock_handle *l, const struct paxshm_acquire *how, uint32_t mode, struct patience patience,
		       struct ring_completion *ret)
{
	struct ring_request request = {
		.op = REQUEST_ACQUIRE,
		.flags = (how->flags & PAXSHM_NOWAIT ? REQUEST_TRY : 0) |
			 (how->flags & PAXSHM_STAMPS ? REQUEST_STAMPS : 0) |
			 (how->no_quorum != PAXSHM_RETRY ? REQUEST_RETURN : 0),
		.mode = (uint8_t)mode,
		.key_len = (uint8_t)l->key_len,
	};
	int rc;

	memcpy(request.key, l->key, l->key_len);
	rc = call_run(l->session, &request, patience, ret);
	if (rc == 0)
		rc = ret->result > 0 ? -EPROTO : ret->result;
	if (rc == 0 && (ret->gate > l->session->view.n_gates || (ret->gate != 0) != (mode == PAXSHM_EX)))
		rc = -EPROTO;
	return rc;
}

/* A grant that its caller will not get goes back. */
static void decline(struct paxshm_session *s, const struct ring_completion *got)
{
	if (got->gate)
		gateway_decline(s, got->gate, got->count, silence(s));
	else
		call_return(s, got, silence(s));
}

/* Asks the agent, and looks at the lease after the grant: only that look proves that it counts. When the host's life has
 * ended in between, the grant is void and the wish is not. */
static int acquire_by_agent(struct paxshm_lock_handle *l, const struct paxshm_acquire *how, uint32_t mode, struct patience patience,
			    struct ring_completion *ret)
{
	struct paxshm_session *s = l->session;
	int rc;

	do {
		rc = acquire_ask(l, how, mode, patience, ret);
		if (rc)
			return rc;
		rc = lease_await(s, ret->incarnation, patience, how->no_quorum == PAXSHM_RETRY);
		if (rc == 0 && ret->gate && !gate_holds(&s->view.gates[ret->gate], s->slot, ret->count))
			rc = -ESTALE;
	} while (rc == -ESTALE);
	if (rc)
		decline(s, ret);
	else if (ret->gate)
		atom_store_relaxed(&s->view.gates[ret->gate].since_ns, sys_coarse_ns());
	return rc;
}

static __attribute__((noinline)) int acquire_slowly(struct paxshm_lock_handle *l, const struct paxshm_acquire *how, uint32_t mode, bool by_agent, struct paxshm_grant *grant)
{
	struct paxshm_session *s = l->session;
	uint32_t cancels = atom_load_seq_cst(&s->cancels);
	struct patience patience = { .deadline_ns = how->deadline_ns ? how->deadline_ns : NEVER, .cancels = &cancels };
	struct ring_completion answer = { 0 };
	uint64_t token = 0;
	int rc = handle_enter(l, mode, how->flags & PAXSHM_NOWAIT, patience, &token);

	if (rc == ENTERED_AGAIN) {
		if (grant) {
			grant->flags = PAXSHM_REENTERED;
			grant->token = token;
		}
		return 0;
	}
	if (rc == ENTERED_FIRST) {
		rc = mode == PAXSHM_EX && !by_agent ? gateway_acquire(l, how, patience, &answer) : BY_AGENT;
		if (rc == BY_AGENT)
			rc = acquire_by_agent(l, how, mode, patience, &answer);
		handle_leave(l, rc == 0 ? &answer : NULL);
	}
	if (grant && rc == 0) {
		grant->flags = answer.flags & COMPLETION_DIED ? PAXSHM_OWNER_DIED : 0;
		grant->token = answer.token;
		memcpy(grant->stamp_ns, answer.stamp_ns, sizeof(grant->stamp_ns));
	}
	if (grant && rc == -EBUSY)
		holder_from(s, &answer, &grant->holder);
	if (rc == -ENETUNREACH && how->no_quorum == PAXSHM_FAIL)
		fail(s, l);
	return rc;
}

static const struct paxshm_acquire usual = PAXSHM_INIT(usual);

/* Apart, so that who wants nothing special has little to put on the stack. */
static __attribute__((noinline)) int acquire_as(struct paxshm_lock_handle *l, const struct paxshm_acquire *how, struct paxshm_grant *grant)
{
	int rc = handle_mine(l);

	if (rc == 0 && grant && grant->size < sizeof(*grant))
		rc = -EINVAL;
	if (rc == 0 && how)
		rc = wish_check(how);
	if (rc)
		return rc;
	uint32_t mode = how && how->mode ? how->mode : PAXSHM_EX;
	enum warm warm = acquire_warm(l, mode, grant);
	if (warm == WARM_OWNED)
		return 0;
	return acquire_slowly(l, how ? how : &usual, mode, warm == WARM_VOID, grant);
}

/* Correct, and nothing that an uncontended lock would have to heed. */
static inline bool wish_is_plain(const struct paxshm_acquire *how)
{
	return how->size >= sizeof(*how) && (how->mode == 0 || how->mode == PAXSHM_EX) && how->no_quorum <= PAXSHM_RETURN && how->flags == 0;
}

int paxshm_lock_acquire(paxshm_lock_handle *l, const struct paxshm_acquire *how, struct paxshm_grant *grant)
{
	if (grant || (how && !wish_is_plain(how)) || handle_mine(l))
		return acquire_as(l, how, grant);
	enum warm warm = acquire_warm(l, PAXSHM_EX, NULL);
	if (warm == WARM_OWNED)
		return 0;
	return acquire_slowly(l, how ? how : &usual, PAXSHM_EX, warm == WARM_VOID, NULL);
}

/* ---- release and check ---- */

static __attribute__((noinline)) bool release_one_of_several(struct paxshm_lock_handle *l)
{
	uint32_t count = atom_load_relaxed(&l->count);
	bool released = count > 1 && gateway_look(l) == 0;

	if (released)
		atom_store_release(&l->count, count - 1);
	bias_leave(&l->bias);
	return released;
}

/* Apart: nobody waits, as a rule. */
static __attribute__((noinline)) bool hand_on(const struct paxshm_lock_handle *l)
{
	const struct paxshm_session *s = l->session;

	return gate_hand_on(&s->view, l->gate_at, s->slot, l->taken);
}

/* The short way. false: not gone: all is as it was. */
static inline __attribute__((always_inline)) bool release_warm(struct paxshm_lock_handle *l)
{
	if (!bias_enter(&l->bias))
		return false;
	/* Each word by itself: they were stored so a moment ago, and a load of both at once would wait for the stores. */
	if (atom_load_relaxed(&l->count) != 1 || atom_load_relaxed(&l->mode) != PAXSHM_EX)
		return release_one_of_several(l);
	uint64_t second_ns = lease_second_ns();
	const struct paxshm_session *s = l->session; /* behind the call: see gateway_counts() */
	/* The lease first: until then nobody else can have owned it, if the gate's word is still ours. */
	bool released = !session_lost(s) && lease_glance(s->tables, l->incarnation, gateway_margin_ns(s->tables), second_ns) &&
			(gate_free(l->gate_at, s->slot, l->taken) || hand_on(l));
	if (released)
		atom_store_release(&l->count, 0u);
	bias_leave(&l->bias);
	return released;
}

/* The last release of a shared one: the claim goes back. Nothing is awaited; what follows in the ring comes later. */
static int release_claim(struct paxshm_lock_handle *l)
{
	struct ring_request request = { .op = REQUEST_RELEASE, .call = CALL_NONE, .claim = l->claim };
	int rc;

	l->busy = true;
	atom_store_release(&l->count, 0u);
	rc = call_post(l->session, &request, (struct patience){ .deadline_ns = NEVER });
	l->busy = false;
	return rc == -ENOTCONN ? -ESTALE : rc;
}

static __attribute__((noinline)) int release_slowly(struct paxshm_lock_handle *l)
{
	struct paxshm_session *s = l->session;
	uint32_t gate = 0, taken = 0;
	int rc, gone = 0;

	pthread_mutex_lock(&s->mutex);
	bias_come(&l->bias);
	rc = l->count ? handle_look(l) : -ESTALE;
	if (l->count == 1 && rc != -ESTALE && l->mode != PAXSHM_EX) {
		gone = release_claim(l);
	} else if (l->count) { /* what is lost is void: nobody must hear of it */
		if (l->count == 1 && rc != -ESTALE) {
			gate = l->gate;
			taken = l->taken;
		}
		atom_store_release(&l->count, l->count - 1);
	}
	bool waited = s->turn_waiters;
	pthread_mutex_unlock(&s->mutex);
	if (gate) /* named by its count: another thread may be acquiring with this handle by now, it waits in the line */
		gone = gateway_release(s, gate, taken);
	if (waited)
		session_turn(s);
	return gone ? gone : rc;
}

int paxshm_lock_release(paxshm_lock_handle *l)
{
	int rc = handle_mine(l);

	if (rc)
		return rc;
	return release_warm(l) ? 0 : release_slowly(l);
}

int paxshm_lock_check(paxshm_lock_handle *l)
{
	int rc = handle_mine(l);

	if (rc)
		return rc;
	return atom_load_acquire(&l->count) ? handle_look(l) : -ESTALE; /* acquire: pairs with the releases that make it own */
}
