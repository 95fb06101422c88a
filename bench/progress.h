/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress: one line on standard error, when that is a terminal and a case takes longer than a
 * second; wiped before anything else is printed.
 */
#ifndef PAXSHM_BENCH_PROGRESS_H
#define PAXSHM_BENCH_PROGRESS_H

void progress_begin(void); /* a case begins now */
void progress(const char *bench, const char *what);
void progress_end(void); /* wipes the line */

#endif
