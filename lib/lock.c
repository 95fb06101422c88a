/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock: handles, and the locks that they own.
 *
 * A handle is the owner. `count` says how often it was acquired; the agent knows of one claim only.
 * `busy` keeps a handle to one thread while that thread asks the agent or hands the release in, so
 * that requests about one handle reach the ring in the order in which they were made.
 */
#define _GNU_SOURCE
#include <errno.h>

#include "../shm/atom.h"
#include "../shm/sys.h"
#include "session.h"

#define TURN_EVERY_NS NS_PER_S /* who waits for another thread looks at the session meanwhile */

/* ---- handles ---- */

static struct paxshm_lock_handle *handle_new(struct paxshm_session *s, const void *key, size_t len, uint64_t thread)
{
	struct paxshm_lock_handle *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->session = s;
	l->thread = thread;
	l->key_len = (uint32_t)len;
	memcpy(l->key, key, len);
	return l;
}

/* The mutex is held. */
static void handle_link(struct paxshm_lock_handle *l)
{
	struct paxshm_session *s = l->session;

	l->next = s->handles;
	l->link = &s->handles;
	if (l->next)
		l->next->link = &l->next;
	s->handles = l;
}

static void handle_unlink(struct paxshm_lock_handle *l)
{
	*l->link = l->next;
	if (l->next)
		l->next->link = l->link;
}

static int handle_mine(const struct paxshm_lock_handle *l)
{
	return l ? session_mine(l->session) : -EINVAL;
}

/* Whether what an owned handle got is still its own: as lease_look(). While it is suspended there is time to see
 * whether the keeper is gone; nobody else would ever tell who only asks for its lock. */
static int handle_look(const struct paxshm_lock_handle *l)
{
	int rc = lease_look(l->session, atom_load_relaxed(&l->incarnation));

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

static int wish_check(const struct paxshm_acquire *how, struct paxshm_acquire *ret)
{
	if (!how) {
		*ret = (struct paxshm_acquire)PAXSHM_INIT(*ret);
		return 0;
	}
	if (how->size < sizeof(*how) || how->mode > PAXSHM_EX || how->no_quorum > PAXSHM_RETURN ||
	    how->flags & ~(PAXSHM_NOWAIT | PAXSHM_ASYNC | PAXSHM_STAMPS))
		return -EINVAL;
	if ((how->mode && how->mode != PAXSHM_EX) || how->flags & PAXSHM_ASYNC)
		return -ENOSYS;
	*ret = *how;
	return 0;
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
static int handle_enter(struct paxshm_lock_handle *l, bool nowait, struct patience patience, uint64_t *ret_token)
{
	struct paxshm_session *s = l->session;
	int rc = 0;

	pthread_mutex_lock(&s->mutex);
	while (l->busy && rc == 0)
		rc = nowait ? -EBUSY : turn_wait(s, patience);
	if (rc == 0 && l->count) {
		rc = handle_look(l);
		if (rc) {
			/* as it is */
		} else if (l->count == UINT32_MAX) {
			rc = -ENOSPC;
		} else {
			atom_store_release(&l->count, l->count + 1);
			*ret_token = l->token;
			rc = ENTERED_AGAIN;
		}
	} else if (rc == 0) {
		l->busy = true;
		rc = ENTERED_FIRST;
	}
	pthread_mutex_unlock(&s->mutex);
	return rc;
}

/* Ends what handle_enter began; `got` NULL: nothing was granted. */
static void handle_leave(struct paxshm_lock_handle *l, const struct ring_completion *got)
{
	struct paxshm_session *s = l->session;

	pthread_mutex_lock(&s->mutex);
	ASSERT(l->busy && !l->count);
	if (got) {
		l->claim = got->claim;
		l->token = got->token;
		l->told_lost = false;
		atom_store_relaxed(&l->incarnation, got->incarnation);
		atom_store_release(&l->count, 1u); /* pairs with the acquire in paxshm_lock_check */
	}
	l->busy = false;
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

static int acquire_ask(struct paxshm_lock_handle *l, const struct paxshm_acquire *how, struct patience patience,
		       struct ring_completion *ret)
{
	struct ring_request request = {
		.op = REQUEST_ACQUIRE,
		.flags = (how->flags & PAXSHM_NOWAIT ? REQUEST_TRY : 0) |
			 (how->flags & PAXSHM_STAMPS ? REQUEST_STAMPS : 0) |
			 (how->no_quorum != PAXSHM_RETRY ? REQUEST_RETURN : 0),
		.mode = PAXSHM_EX,
		.key_len = (uint8_t)l->key_len,
	};
	int rc;

	memcpy(request.key, l->key, l->key_len);
	rc = call_run(l->session, &request, patience, ret);
	if (rc == 0)
		rc = ret->result > 0 ? -EPROTO : ret->result;
	return rc;
}

/* A grant that its caller will not get goes back. */
static void decline(struct paxshm_session *s, uint64_t claim)
{
	struct ring_request request = { .op = REQUEST_RELEASE, .call = CALL_NONE, .claim = claim };

	pthread_mutex_lock(&s->mutex);
	call_post(s, &request);
	pthread_mutex_unlock(&s->mutex);
}

/* Asks, and looks at the lease after the grant: only that look proves that it counts. When the host's life has
 * ended in between, the grant is void and the wish is not. */
static int acquire_surely(struct paxshm_lock_handle *l, const struct paxshm_acquire *how, struct patience patience,
			  struct ring_completion *ret)
{
	int rc;

	do {
		rc = acquire_ask(l, how, patience, ret);
		if (rc)
			return rc;
		rc = lease_await(l->session, ret->incarnation, patience, how->no_quorum == PAXSHM_RETRY);
	} while (rc == -ESTALE);
	if (rc)
		decline(l->session, ret->claim);
	return rc;
}

int paxshm_lock_acquire(paxshm_lock_handle *l, const struct paxshm_acquire *how, struct paxshm_grant *grant)
{
	struct ring_completion answer = { 0 };
	struct paxshm_acquire want;
	uint64_t token = 0;
	int rc = handle_mine(l);

	if (rc == 0)
		rc = grant && grant->size < sizeof(*grant) ? -EINVAL : wish_check(how, &want);
	if (rc)
		return rc;

	struct paxshm_session *s = l->session;
	uint32_t cancels = atom_load_seq_cst(&s->cancels);
	struct patience patience = { .deadline_ns = want.deadline_ns ? want.deadline_ns : NEVER, .cancels = &cancels };

	rc = handle_enter(l, want.flags & PAXSHM_NOWAIT, patience, &token);
	if (rc == ENTERED_AGAIN) {
		if (grant) {
			grant->flags = PAXSHM_REENTERED;
			grant->token = token;
		}
		return 0;
	}
	if (rc == ENTERED_FIRST) {
		rc = acquire_surely(l, &want, patience, &answer);
		handle_leave(l, rc == 0 ? &answer : NULL);
	}
	if (grant && rc == 0) {
		grant->flags = answer.flags & COMPLETION_DIED ? PAXSHM_OWNER_DIED : 0;
		grant->token = answer.token;
		memcpy(grant->stamp_ns, answer.stamp_ns, sizeof(grant->stamp_ns));
	}
	if (grant && rc == -EBUSY)
		holder_from(s, &answer, &grant->holder);
	if (rc == -ENETUNREACH && want.no_quorum == PAXSHM_FAIL)
		fail(s, l);
	return rc;
}

/* ---- release and check ---- */

/* The last release: the claim goes back. Nothing is awaited; what follows in the ring comes later. */
static int release_last(struct paxshm_lock_handle *l)
{
	struct ring_request request = { .op = REQUEST_RELEASE, .call = CALL_NONE, .claim = l->claim };
	int rc;

	l->busy = true;
	atom_store_release(&l->count, 0u);
	rc = call_post(l->session, &request);
	l->busy = false;
	return rc == -ENOTCONN ? -ESTALE : rc;
}

int paxshm_lock_release(paxshm_lock_handle *l)
{
	int rc = handle_mine(l);

	if (rc)
		return rc;
	struct paxshm_session *s = l->session;
	pthread_mutex_lock(&s->mutex);
	if (!l->count) {
		rc = -ESTALE;
	} else {
		rc = handle_look(l);
		if (rc == -ESTALE || l->count > 1) { /* a lost lock's claim is void: the agent must not hear of it */
			atom_store_release(&l->count, l->count - 1);
		} else {
			int gone = release_last(l);

			rc = gone ? gone : rc;
		}
	}
	bool waited = s->turn_waiters;
	pthread_mutex_unlock(&s->mutex);
	if (waited)
		session_turn(s);
	return rc;
}

int paxshm_lock_check(paxshm_lock_handle *l)
{
	int rc = handle_mine(l);

	if (rc)
		return rc;
	return atom_load_acquire(&l->count) ? handle_look(l) : -ESTALE; /* acquire: pairs with handle_leave */
}

/* ---- by name: one handle for each key and thread, from the first lock to the last unlock ---- */

/* Never given twice, unlike thread ids: a new thread does not inherit what an ended one held. */
static uint64_t this_thread(void)
{
	static uint64_t threads;
	static __thread uint64_t number;

	if (!number)
		number = atom_add_relaxed(&threads, 1) + 1;
	return number;
}

static struct paxshm_lock_handle **named_bucket(struct paxshm_session *s, const char *key, size_t len, uint64_t thread)
{
	return &s->named[hash_bytes(thread, key, len) & (NAMED_BUCKETS - 1)];
}

/* Where in its bucket's chain the handle of this thread stands, or the chain's end. The mutex is held. */
static struct paxshm_lock_handle **named_find(struct paxshm_session *s, const char *key, size_t len)
{
	uint64_t thread = this_thread();
	struct paxshm_lock_handle **at = named_bucket(s, key, len, thread);

	while (*at && !((*at)->thread == thread && (*at)->key_len == len && memcmp((*at)->key, key, len) == 0))
		at = &(*at)->named_next;
	return at;
}

static struct paxshm_lock_handle *named_get(struct paxshm_session *s, const char *key)
{
	struct paxshm_lock_handle *l;

	pthread_mutex_lock(&s->mutex);
	l = *named_find(s, key, strlen(key));
	pthread_mutex_unlock(&s->mutex);
	return l; /* this thread's own: nobody else frees it */
}

static struct paxshm_lock_handle *named_make(struct paxshm_session *s, const char *key)
{
	struct paxshm_lock_handle *l = handle_new(s, key, strlen(key), this_thread());

	if (!l)
		return NULL;
	pthread_mutex_lock(&s->mutex);
	handle_link(l);
	*named_find(s, key, l->key_len) = l;
	pthread_mutex_unlock(&s->mutex);
	return l;
}

static void named_drop_unowned(struct paxshm_lock_handle *l)
{
	struct paxshm_session *s = l->session;

	if (l->count)
		return;
	pthread_mutex_lock(&s->mutex);
	struct paxshm_lock_handle **at = named_find(s, (const char *)l->key, l->key_len);
	ASSERT(*at == l);
	*at = l->named_next;
	handle_unlink(l);
	pthread_mutex_unlock(&s->mutex);
	free(l);
}

static int named_check(const struct paxshm_session *s, const char *key)
{
	int rc = session_mine(s);

	if (rc)
		return rc;
	return key ? key_check(key, strnlen(key, KEY_MAX + 1)) : -EINVAL;
}

int paxshm_lock(paxshm_session *s, const char *key)
{
	struct paxshm_lock_handle *l;
	int rc = named_check(s, key);

	if (rc)
		return rc;
	l = named_get(s, key);
	if (!l)
		l = named_make(s, key);
	if (!l)
		return -ENOMEM;
	rc = paxshm_lock_acquire(l, NULL, NULL);
	named_drop_unowned(l);
	return rc;
}

int paxshm_unlock(paxshm_session *s, const char *key)
{
	struct paxshm_lock_handle *l;
	int rc = named_check(s, key);

	if (rc)
		return rc;
	l = named_get(s, key);
	if (!l)
		return -ESTALE;
	rc = paxshm_lock_release(l);
	named_drop_unowned(l);
	return rc;
}

int paxshm_token(paxshm_session *s, const char *key, uint64_t *ret_token)
{
	struct paxshm_lock_handle *l;
	int rc = named_check(s, key);

	if (rc == 0 && !ret_token)
		rc = -EINVAL;
	if (rc)
		return rc;
	l = named_get(s, key);
	rc = l ? paxshm_lock_check(l) : -ESTALE;
	if (rc == 0)
		*ret_token = l->token;
	return rc;
}
