/* SPDX-License-Identifier: Apache-2.0 */
/*
 * named: locks by name: one handle for each key and thread, from the first lock to the last unlock.
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
	struct paxshm_lock_handle *l = handle_new(s, key, strlen(key), bias_this_thread());

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
