/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_locks: what the fake agent does with requests: gates and claims. See fake_agent.h.
 *
 * Who may enter: fake_agent.c.
 */
#ifndef PAXSHM_TESTS_LIB_FAKE_LOCKS_H
#define PAXSHM_TESTS_LIB_FAKE_LOCKS_H

#include "fake_agent.h"

void fake_act(struct fake *f, uint32_t session, const struct ring_request *r);

/* Which records are the session's, and whose process it is. */
void fake_session_show(struct fake *f, uint32_t slot, bool open);

#endif
