/* SPDX-License-Identifier: Apache-2.0 */
/*
 * who: prints a process as the library names it.
 *
 * Who may enter: the commands that print owners.
 */
#ifndef PAXSHM_TOOLS_PAXCTL_WHO_H
#define PAXSHM_TOOLS_PAXCTL_WHO_H

#include <jansson.h>

#include "../../lib/paxshm.h"

/* "host", "host_id", "pid", "start_time", "session", "token"; what is not known is null. */
json_t *who_json(const struct paxshm_who *who);

/* A number as a column shows it: "-" stands for 0, not known. The text is one of a few buffers in turn. */
const char *column(unsigned long long n);

#endif
