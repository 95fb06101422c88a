/* SPDX-License-Identifier: Apache-2.0 */
/*
 * named: locks by name: one handle for each key and thread, from the first lock to the last unlock, and in general beyond:
 * a thread remembers some of its handles, so that a name that it uses again is found without the mutex, and is warm.
 *
 * All handles are the session's, and stand in its table. What a thread remembers are those it used last, one in each place of a
 * small table of its own; who is displaced there is freed. What a thread remembered when it ended, or when it turned to
 * another session, is left until the session is closed: so handles beyond NAMED_MAX in a session are not remembered.
 */
#define _GNU_SOURCE
#include <errno.h>

#include "handle.h"

static struct paxshm_lock_handle **named_bucket(struct paxshm_session *s, const char *key, size_t len, uint64_t thread)
{
	return &s->named[hash_bytes(thread, key, len) & (NAMED_BUCKETS - 1)];
}

/* Where in its bucket's chain the handle of this thread stands, or the chain's end. The mutex is held. */
static struct paxshm_lock_handle **named_find(struct paxshm_session *s, const char *key, size_t len)
{
	uint64_t thread = bias_this_thread();
	struct paxshm_lock_handle **at = named_bucket(s, key, len, thread);

	while (*at && !((*at)->thread == thread && (*at)->key_len == len && memcmp((*at)->key, key, len) == 0))
		at = &(*at)->named_next;
	return at;
}

/* ---- what this thread remembers ---- */

#define PLACES 16u /* a power of two */

struct named_place {
	uint64_t session; /* its serial, which no other session of this process or of a forked child ever has */
	struct paxshm_lock_handle *handle;
};

static __thread struct named_place places[PLACES] __attribute__((tls_model("initial-exec")));

static struct named_place *place_of(const struct paxshm_session *s, const void *key, size_t len)
{
	return &places[hash_bytes(s->serial, key, len) & (PLACES - 1)];
}

/* The handle in a place is looked at only when it is this session's: others may have been closed, and their handles freed. */
static bool place_has(const struct named_place *place, const struct paxshm_session *s)
{
	return place->session == s->serial;
}

static void named_drop(struct paxshm_lock_handle *l)
{
	struct paxshm_session *s = l->session;

	pthread_mutex_lock(&s->mutex);
	struct paxshm_lock_handle **at = named_find(s, (const char *)l->key, l->key_len);
	ASSERT(*at == l);
	*at = l->named_next;
	s->n_named--;
	handle_unlink(l);
	pthread_mutex_unlock(&s->mutex);
	free(l);
}

/* After each use of a handle of this thread. */
static void named_keep(struct paxshm_lock_handle *l)
{
	struct paxshm_session *s = l->session;
	struct named_place *place = place_of(s, l->key, l->key_len);
	struct paxshm_lock_handle *before = place_has(place, s) ? place->handle : NULL;

	if (before == l)
		return;
	if (l->crowded || (before && before->count)) {
		if (!l->count)
			named_drop(l);
		return;
	}
	if (before)
		named_drop(before);
	*place = (struct named_place){ .session = s->serial, .handle = l };
}

static struct paxshm_lock_handle *named_get(struct paxshm_session *s, const char *key, size_t len)
{
	const struct named_place *place = place_of(s, key, len);
	struct paxshm_lock_handle *l = place->handle;

	if (place_has(place, s) && l->key_len == len && memcmp(l->key, key, len) == 0)
		return l;
	pthread_mutex_lock(&s->mutex);
	l = *named_find(s, key, len);
	pthread_mutex_unlock(&s->mutex);
	return l; /* this thread's own: nobody else frees it */
}

static struct paxshm_lock_handle *named_make(struct paxshm_session *s, const char *key, size_t len)
{
	struct paxshm_lock_handle *l = handle_new(s, key, len, bias_this_thread());

	if (!l)
		return NULL;
	pthread_mutex_lock(&s->mutex);
	handle_link(l);
	*named_find(s, key, len) = l;
	l->crowded = ++s->n_named > NAMED_MAX;
	pthread_mutex_unlock(&s->mutex);
	return l;
}

/* ---- the calls ---- */

/* The length of the key, or negative errno. */
static int named_check(const struct paxshm_session *s, const char *key)
{
	int rc = session_mine(s);

	if (rc)
		return rc;
	size_t len = key ? strnlen(key, KEY_MAX + 1) : 0;
	rc = key_check(key, len);
	return rc ? rc : (int)len;
}

int paxshm_lock(paxshm_session *s, const char *key)
{
	struct paxshm_lock_handle *l;
	int rc = named_check(s, key);

	if (rc < 0)
		return rc;
	l = named_get(s, key, (size_t)rc);
	if (!l)
		l = named_make(s, key, (size_t)rc);
	if (!l)
		return -ENOMEM;
	rc = paxshm_lock_acquire(l, NULL, NULL);
	named_keep(l);
	return rc;
}

int paxshm_unlock(paxshm_session *s, const char *key)
{
	struct paxshm_lock_handle *l;
	int rc = named_check(s, key);

	if (rc < 0)
		return rc;
	l = named_get(s, key, (size_t)rc);
	if (!l)
		return -ESTALE;
	rc = paxshm_lock_release(l);
	named_keep(l);
	return rc;
}

int paxshm_token(paxshm_session *s, const char *key, uint64_t *ret_token)
{
	struct paxshm_lock_handle *l;
	int rc = named_check(s, key);

	if (rc > 0 && !ret_token)
		rc = -EINVAL;
	if (rc < 0)
		return rc;
	l = named_get(s, key, (size_t)rc);
	rc = l ? paxshm_lock_check(l) : -ESTALE;
	if (rc == 0)
		*ret_token = l->token;
	return rc;
}
