/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring: requests from one session to its agent, and completions back, in the session's segment.
 *
 * Requests: the session's threads take turns as the producer (the library's own mutex); the agent
 * consumes. Completions: the agent produces and then rings the bell of the one call that waits, so
 * exactly one thread wakes; the session's threads take turns as the consumer. There is always room
 * for a completion, because each call has at most one request out and there are as many places as
 * calls.
 *
 * The agent trusts nothing here: how far it has read and written it keeps in its own memory and
 * only publishes it; every request is copied once and checked in the copy.
 *
 * Sleeping and waking are not here (pure): ring_bell says whether somebody is to be woken, lib and
 * reactor do it.
 *
 * Who may enter: lib (session side), tools/paxshmd/sessions (agent side), tests.
 */
#ifndef PAXSHM_SHM_RING_H
#define PAXSHM_SHM_RING_H

#include <stdbool.h>

#include "layout.h"

void rings_format(struct session_rings *r, uint32_t slot, uint64_t incarnation);
/* NULL, or what is wrong. */
const char *rings_verify(const struct session_rings *r, uint64_t size);

/* ---- session side ---- */

/* Appends a request; false: the ring is full, try again when the agent has taken some. */
bool ring_push(struct session_rings *r, const struct ring_request *request);

/* Takes the next completion; false: none. */
bool ring_take(struct session_rings *r, struct ring_completion *ret);

/* ---- agent side; `head` and `tail` are the agent's own copies ---- */

/* Copies the request at `head`: 1; none: 0; -EPROTO: the session wrote nonsense (a tail out
 * of range). The copy is checked by ring_request_check. */
int ring_peek(const struct session_rings *r, uint32_t head, struct ring_request *ret);

/* NULL, or what is wrong with a copied request. */
const char *ring_request_check(const struct ring_request *request);

/* Makes it known that all requests before `head` were taken. */
void ring_publish_head(struct session_rings *r, uint32_t head);

/* Writes a completion at `tail`, not yet visible. Not under an undo log: who dies before the commit
 * leaves bytes that nobody sees, and the successor writes them again. */
void ring_put(struct session_rings *r, uint32_t tail, const struct ring_completion *completion);

/* Makes all completions before `tail` visible. */
void ring_publish_tail(struct session_rings *r, uint32_t tail);

/* Rings the bell of a call after its completion is visible; true: somebody sleeps, wake one on
 * &r->bell[call]. */
bool ring_bell(struct session_rings *r, uint32_t call);

#endif
