/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sys: the one door from shm and lib to the kernel: clocks, futexes, descriptors over a socket, what
 * /proc knows. (Memfds and mappings are segment's.) Each function makes one system call, or a few that
 * belong together, and answers negative errno; outputs stay untouched on failure.
 *
 * Who may enter: segment, lib, tools. Never the pure rooms.
 */
#ifndef PAXSHM_SHM_SYS_H
#define PAXSHM_SHM_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

uint64_t sys_now_ns(void);    /* CLOCK_MONOTONIC */
uint64_t sys_boot_ns(void);   /* CLOCK_BOOTTIME: goes on while the machine is suspended */
uint64_t sys_coarse_ns(void); /* CLOCK_MONOTONIC as of the kernel's last tick: a quarter of the price, up to 10 ms behind */

/* Sleeps on *word while it holds `value`, until woken or `deadline_ns` (absolute CLOCK_MONOTONIC,
 * NEVER: none). 0: woken, or the value had changed, or a signal came: look again. -ETIMEDOUT. */
int sys_futex_wait(const uint32_t *word, uint32_t value, uint64_t deadline_ns);
/* Wakes up to n sleepers in any process; how many were woken. */
int sys_futex_wake(uint32_t *word, int n);

/* Spins up to about `turns` turns while *word holds `value`; true: it changed. Not at all where the machine has one core,
 * and seldom in a process that got nothing from it for long. Gives the core away now and then where this process may use
 * few. */
bool sys_spin_while(const uint32_t *word, uint32_t value, unsigned turns);
bool sys_spin_while64(const uint64_t *word, uint64_t value, unsigned turns);

/* Cores this process may run on. Asked once. */
unsigned sys_cores(void);

/* Bytes of memory that can be taken without driving something out; UINT64_MAX: unknown. */
uint64_t sys_memory_available(void);

int sys_random(void *bytes, size_t len);

/* The inode of /proc/self/ns/NAME, or of another process; 0 when it cannot be known. */
uint64_t sys_namespace(pid_t pid_or_0, const char *name);

/* Start time of a process, in clock ticks since boot (field 22 of /proc/PID/stat); -ESRCH, … */
int sys_start_time(pid_t pid, uint64_t *ret_ticks);

/* A process's name for people (/proc/PID/comm), cut to `cap` bytes with its NUL; "" when it cannot be told. */
void sys_program(pid_t pid, char *ret, size_t cap);

/* One message with up to n descriptors on a SOCK_SEQPACKET socket. send: 0. recv: bytes (0: the other end is gone);
 * *ret_n descriptors, close-on-exec, the caller's. A message cut short, or with descriptors cut off: -EBADMSG (and none leak).
 * n and max are at most SYS_FDS_MAX. */
#define SYS_FDS_MAX 16u

int sys_send_fds(int socket, const void *bytes, size_t len, const int *fds, unsigned n, int flags);
ssize_t sys_recv_fds(int socket, void *bytes, size_t cap, int *ret_fds, unsigned max, unsigned *ret_n, int flags);

#endif
