/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handle: how handles are made and stand in their session.
 *
 * Who may enter: lock.c and named.c.
 */
#ifndef PAXSHM_LIB_HANDLE_H
#define PAXSHM_LIB_HANDLE_H

#include "session.h"

/* The caller's, until handle_link(). NULL: no memory. thread: of paxshm_lock(), else 0. */
struct paxshm_lock_handle *handle_new(struct paxshm_session *s, const void *key, size_t len, uint64_t thread);

/* The mutex is held. */
void handle_link(struct paxshm_lock_handle *l);
void handle_unlink(struct paxshm_lock_handle *l);

#endif
