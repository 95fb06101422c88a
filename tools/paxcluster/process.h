/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process: processes that were started earlier, perhaps by another paxcluster. A process is its pid and
 * its start time; whoever is sent a signal was compared with both, by a pidfd, so that a pid that was
 * used again harms nobody.
 *
 * Who may enter: the files of this folder.
 */
#ifndef PAXSHM_TOOLS_PAXCLUSTER_PROCESS_H
#define PAXSHM_TOOLS_PAXCLUSTER_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

struct process {
	pid_t pid;                /* 0: none */
	unsigned long long start; /* clock ticks since boot */
};

/* The process that has this pid now, or none. */
struct process process_of(pid_t pid);
bool process_alive(const struct process *p);
/* Its state as /proc/PID/stat has it: 'R', 'S', 'T' (stopped), …; 0: it is gone. */
char process_state(const struct process *p);
/* True: it was there, and was sent the signal. */
bool process_signal(const struct process *p, int sig);
/* True: it is gone, or went within the time. */
bool process_wait_gone(const struct process *p, int timeout_ms);

/* Children of a process, up to max of them. */
unsigned process_children(pid_t parent, struct process *ret, unsigned max);

/* One line in a file. Loading answers none when there is no such file. */
int process_save(const struct process *p, const char *path);
struct process process_load(const char *path);

/* Runs a program to its end; its output goes where ours goes (quiet: nowhere). True: exit status 0. */
bool process_run(char *const argv[], bool quiet);

#endif
