/* SPDX-License-Identifier: Apache-2.0 */
/*
 * later: the calls that are declared and do not exist yet. Each answers -ENOSYS and touches nothing,
 * whatever it is given. This file is the list of them: a call leaves it when it begins to work.
 */
#include <errno.h>

#include "paxshm.h"

#define LATER(call, ...) \
	int call(__VA_ARGS__) \
	{ \
		return -ENOSYS; \
	}

#pragma GCC diagnostic ignored "-Wunused-parameter"

/* Modes, several at once, the value beside a lock. */
LATER(paxshm_lock_convert, paxshm_lock_handle *l, uint32_t mode, const struct paxshm_acquire *how, struct paxshm_grant *grant)
LATER(paxshm_lock_many, paxshm_lock_handle *const *locks, size_t n, const struct paxshm_acquire *how, struct paxshm_grant *grants)
LATER(paxshm_lock_value, paxshm_lock_handle *l, void *value, size_t cap, size_t *ret_len)

/* Names. */
LATER(paxshm_name_init, struct paxshm_name *n, const void *key, size_t len, const struct paxshm_child *child)
LATER(paxshm_ensure, paxshm_session *s, const struct paxshm_name *n, uint64_t deadline_ns, struct paxshm_who *ret_who)
LATER(paxshm_lookup, paxshm_session *s, const void *key, size_t len, uint32_t flags, struct paxshm_who *ret_who)
LATER(paxshm_alive, paxshm_session *s, const void *key, size_t len)
LATER(paxshm_register, paxshm_session *s, const void *key, size_t len)
LATER(paxshm_unregister, paxshm_session *s, const void *key, size_t len)
LATER(paxshm_ready, paxshm_session *s)
LATER(paxshm_start_children, paxshm_session *s, const struct paxshm_name *names, size_t n, uint64_t deadline_ns)
LATER(paxshm_children, paxshm_session *s, uint32_t *cursor, struct paxshm_who *ret_who)

/* Messages. */
LATER(paxshm_send, paxshm_session *s, const char *address, const void *bytes, size_t len)
LATER(paxshm_recv, paxshm_session *s, struct paxshm_message *ret_message, uint64_t deadline_ns)
LATER(paxshm_call, paxshm_session *s, const char *address, const void *bytes, size_t len, uint64_t deadline_ns, struct paxshm_message *ret_reply)
LATER(paxshm_reply, paxshm_session *s, const struct paxshm_message *to, const void *bytes, size_t len)
