/* SPDX-License-Identifier: Apache-2.0 */
/*
 * who: prints a process as the library names it, since when, and what belongs to it.
 *
 * Who may enter: the commands that print owners and waiters.
 */
#ifndef PAXSHM_TOOLS_PAXCTL_WHO_H
#define PAXSHM_TOOLS_PAXCTL_WHO_H

#include <jansson.h>

#include "../../lib/paxshm.h"

/* "host", "host_id", "pid", "start_time", "session", "token", "program", "since_ns"; what is not known is null. */
json_t *who_json(const struct paxshm_who *who);

/* One waiter: the same and "mode". */
json_t *waiter_json(const struct paxshm_waiter *waiter);

/* A number as a column shows it: "-" stands for 0, not known. The text is one of a few buffers in turn. */
const char *column(unsigned long long n);

#define PROGRAM_TEXT (4 * PAXSHM_PROGRAM_BYTES + 1)
#define AGO_TEXT 32
#define LEASE_TEXT 96

/* Each fills `out` and answers it. */
char *program_text(const struct paxshm_who *who, char out[PROGRAM_TEXT]);   /* escaped as keys are: a program names itself as it likes */
char *ago_text(uint64_t since_ns, uint64_t now_ns, char out[AGO_TEXT]);     /* "3.2 s", "4 min 10 s", …; "": not known */
char *lease_text(const struct paxshm_status *status, char out[LEASE_TEXT]); /* how much is left of it */

const char *mode_name(uint32_t mode);

/* Everybody who has a lock: as waiters_new(). */
int holders_new(paxshm_session *s, const void *key, size_t len, struct paxshm_who **ret_holders, size_t *ret_count);
json_t *holders_json(const struct paxshm_who *holders, size_t n);

/* Everybody who waits for a lock: *ret_count of them, for free(). 0, or as paxshm_waiters() and -ENOMEM. */
int waiters_new(paxshm_session *s, const void *key, size_t len, struct paxshm_waiter **ret_waiters, size_t *ret_count);

#endif
