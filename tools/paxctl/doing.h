/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doing: what a process of this host is doing, as the kernel says.
 *
 * Who may enter: why.
 */
#ifndef PAXSHM_TOOLS_PAXCTL_DOING_H
#define PAXSHM_TOOLS_PAXCTL_DOING_H

#include <stdint.h>

/* The letter of /proc/PID/stat: R, S, D, T, t; 0: it has ended, or its pid is another's now. */
char process_doing(uint32_t pid, uint64_t start_time);

#endif
