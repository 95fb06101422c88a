/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sys: see sys.h. Nothing here knows what the words, bytes and descriptors mean.
 */
#define _GNU_SOURCE
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../lib/base.h"
#include "atom.h"

static uint64_t read_clock(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t sys_now_ns(void) { return read_clock(CLOCK_MONOTONIC); }
uint64_t sys_boot_ns(void) { return read_clock(CLOCK_BOOTTIME); }
uint64_t sys_coarse_ns(void) { return read_clock(CLOCK_MONOTONIC_COARSE); }

/* ---- futexes: never PRIVATE, because the other side is another process ---- */

int sys_futex_wait(const uint32_t *word, uint32_t value, uint64_t deadline_ns)
{
	struct timespec deadline = {
		.tv_sec = (time_t)(deadline_ns / NS_PER_S),
		.tv_nsec = (long)(deadline_ns % NS_PER_S),
	};

	/* WAIT_BITSET and not WAIT: its timeout is a point in time. */
	if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value, deadline_ns == NEVER ? NULL : &deadline, NULL,
		    FUTEX_BITSET_MATCH_ANY) == 0)
		return 0;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

int sys_futex_wake(uint32_t *word, int n)
{
	long woken = syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);

	return woken < 0 ? -errno : (int)woken;
}

/* ---- spinning ---- */

#define FEW_CORES 4u /* here a spinner probably stands in somebody's way */
#define TURNS_BEFORE_YIELD 64u
#define SPIN_LEAST 32u
#define SPIN_RESTS 7u /* of those for whom even that is in vain: so often they do not try before they try again */

unsigned sys_cores(void)
{
	static unsigned known; /* racing threads find the same number */
	unsigned cores = atom_load_relaxed(&known);
	cpu_set_t set;

	if (cores)
		return cores;
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		cores = (unsigned)CPU_COUNT(&set);
	else /* more cores than the set has room for */
		cores = (unsigned)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L);
	atom_store_relaxed(&known, cores);
	return cores;
}

/* Whether whoever is waited for may run while this thread spins. A program that is kept on one core, as launchers keep the
 * ranks of a job, waits for others that are kept on others: so all of the machine's count. Where they do share a core, the
 * spinner learns from what it gets. */
static bool others_run(void)
{
	static unsigned known; /* 1 + the answer */
	unsigned answer = atom_load_relaxed(&known);

	if (!answer) {
		answer = 1 + (sysconf(_SC_NPROCESSORS_ONLN) != 1);
		atom_store_relaxed(&known, answer);
	}
	return answer > 1;
}

/* How long this process spins follows what it got from it: doubled after a success, halved after a
 * failure. A stale value costs some turns and nothing else. */
static unsigned spin_worth = 1024, spin_rested = SPIN_RESTS;

/* One of the two words is NULL. */
static inline __attribute__((always_inline)) bool holds(const uint32_t *narrow, const uint64_t *wide, uint64_t value)
{
	return (narrow ? atom_load_acquire(narrow) : atom_load_acquire(wide)) == value;
}

static inline __attribute__((always_inline)) bool spin_while(const uint32_t *narrow, const uint64_t *wide, uint64_t value, unsigned turns)
{
	if (!holds(narrow, wide, value))
		return true;
	unsigned worth = atom_load_relaxed(&spin_worth), most = MIN(turns, worth);
	bool yields = sys_cores() <= FEW_CORES;

	if (!others_run()) /* who would change it? */
		return false;
	unsigned rested = atom_load_relaxed(&spin_rested);
	if (worth == SPIN_LEAST && rested < SPIN_RESTS) {
		atom_store_relaxed(&spin_rested, rested + 1);
		return false;
	}

	for (unsigned i = 1; i <= most; i++) {
		if (yields && i % TURNS_BEFORE_YIELD == 0)
			sched_yield();
		else
			atom_pause();
		if (!holds(narrow, wide, value)) {
			if (worth < 1u << 20)
				atom_store_relaxed(&spin_worth, worth * 2);
			return true;
		}
	}
	atom_store_relaxed(&spin_worth, MAX(worth / 2, SPIN_LEAST));
	atom_store_relaxed(&spin_rested, 0u);
	return false;
}

bool sys_spin_while(const uint32_t *word, uint32_t value, unsigned turns)
{
	return spin_while(word, NULL, value, turns);
}

bool sys_spin_while64(const uint64_t *word, uint64_t value, unsigned turns)
{
	return spin_while(NULL, word, value, turns);
}

/* ---- what the kernel knows ---- */

int sys_random(void *bytes, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = getrandom((char *)bytes + done, len - done, 0);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}

/* The beginning of a small file of /proc, ended with a NUL: its length. */
static ssize_t read_proc(const char *path, char *ret_text, size_t cap)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	do
		n = read(fd, ret_text, cap - 1);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		n = -errno;
	else
		ret_text[n] = '\0';
	close(fd);
	return n;
}

uint64_t sys_memory_available(void)
{
	char text[1024];
	const char *at;

	if (read_proc("/proc/meminfo", text, sizeof(text)) <= 0)
		return UINT64_MAX;
	at = strstr(text, "MemAvailable:");
	return at ? strtoull(at + strlen("MemAvailable:"), NULL, 10) * 1024 : UINT64_MAX;
}

uint64_t sys_namespace(pid_t pid_or_0, const char *name)
{
	char path[64];
	struct stat st;

	if (pid_or_0)
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid_or_0, name);
	else
		snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
	return stat(path, &st) == 0 ? st.st_ino : 0;
}

int sys_start_time(pid_t pid, uint64_t *ret_ticks)
{
	char path[64], text[1024], *at;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	n = read_proc(path, text, sizeof(text));
	if (n < 0)
		return n == -ENOENT ? -ESRCH : (int)n;

	/* Field 2 is the program's name in parentheses, and may hold anything, parentheses and spaces
	 * too. Behind its end stands field 3. */
	at = strrchr(text, ')');
	for (int field = 3; at && field <= 22; field++) {
		at = strchr(at + 1, ' ');
	}
	if (!at)
		return -EBADMSG;
	*ret_ticks = strtoull(at + 1, NULL, 10);
	return 0;
}

void sys_program(pid_t pid, char *ret, size_t cap)
{
	char path[64], text[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	n = read_proc(path, text, sizeof(text));
	memset(ret, 0, cap);
	if (n > 0)
		memcpy(ret, text, MIN(strcspn(text, "\n"), cap - 1));
}

/* ---- descriptors over a socket ---- */

union fds_buffer { /* aligned as a control message must be */
	struct cmsghdr align;
	char bytes[CMSG_SPACE(SYS_FDS_MAX * sizeof(int))];
};

int sys_send_fds(int socket, const void *bytes, size_t len, const int *fds, unsigned n, int flags)
{
	struct iovec part = { .iov_base = (void *)bytes, .iov_len = len };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	union fds_buffer control = { 0 };
	ssize_t sent;

	ASSERT(n <= SYS_FDS_MAX);
	if (n) {
		struct cmsghdr *c = &control.align;

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(n * sizeof(int));
	}
	do
		sent = sendmsg(socket, &message, flags | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

/* Collects what came; more than there is room for cannot be, but is counted all the same. */
static unsigned collect_fds(struct msghdr *message, int *ret_fds, unsigned max)
{
	unsigned n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + at, sizeof(fd));
			if (n < max)
				ret_fds[n++] = fd;
			else
				close(fd);
		}
	}
	return n;
}

ssize_t sys_recv_fds(int socket, void *bytes, size_t cap, int *ret_fds, unsigned max, unsigned *ret_n, int flags)
{
	struct iovec part = { .iov_base = bytes, .iov_len = cap };
	union fds_buffer control;
	/* CMSG_LEN and not CMSG_SPACE: the kernel would use the padding for one descriptor more. */
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = max ? &control : NULL,
		.msg_controllen = max ? CMSG_LEN(max * sizeof(int)) : 0,
	};
	int fds[SYS_FDS_MAX];
	unsigned n;
	ssize_t got;

	ASSERT(max <= SYS_FDS_MAX);
	do
		got = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;

	n = collect_fds(&message, fds, max);
	/* An empty message reads like the end; nobody would own what came with it. */
	if (got == 0 || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		while (n)
			close(fds[--n]);
		if (got)
			return -EBADMSG;
	}
	if (n)
		memcpy(ret_fds, fds, n * sizeof(int));
	if (ret_n)
		*ret_n = n;
	return got;
}
