/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Parent, start time and state from /proc/PID/stat; false: there is no such process. */
static bool read_stat(pid_t pid, pid_t *ret_parent, unsigned long long *ret_start, char *ret_state)
{
	char path[64], text[1024];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = 0;
	/* The name stands in parentheses and may hold anything, parentheses too. */
	char *at = strrchr(text, ')');
	int parent;
	if (!at || sscanf(at + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
			  ret_state, &parent, ret_start) != 3)
		return false;
	*ret_parent = parent;
	return true;
}

struct process process_of(pid_t pid)
{
	struct process p = { .pid = pid };
	pid_t parent;
	char state;

	if (pid <= 0 || !read_stat(pid, &parent, &p.start, &state) || state == 'Z')
		return (struct process){ 0 };
	return p;
}

/* A pidfd of just this process, or -1: it is gone. */
static int open_process(const struct process *p)
{
	if (p->pid <= 0)
		return -1;
	int fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	if (fd < 0)
		return -1;
	/* The descriptor is of whoever has the pid now; if that is not who we mean, it will never be. */
	struct process now = process_of(p->pid);
	if (now.pid != p->pid || now.start != p->start) {
		close(fd);
		return -1;
	}
	return fd;
}

bool process_alive(const struct process *p)
{
	int fd = open_process(p);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

char process_state(const struct process *p)
{
	struct process now = { 0 };
	pid_t parent;
	char state;

	if (p->pid <= 0 || !read_stat(p->pid, &parent, &now.start, &state) || now.start != p->start || state == 'Z')
		return 0;
	return state;
}

bool process_signal(const struct process *p, int sig)
{
	int fd = open_process(p);

	if (fd < 0)
		return false;
	bool sent = syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) == 0;
	close(fd);
	return sent;
}

bool process_wait_gone(const struct process *p, int timeout_ms)
{
	int fd = open_process(p);

	if (fd < 0)
		return true;
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	bool gone = poll(&poll_fd, 1, timeout_ms) == 1;
	close(fd);
	waitpid(p->pid, NULL, WNOHANG); /* in case it was a child of ours */
	return gone;
}

unsigned process_children(pid_t parent, struct process *ret, unsigned max)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	unsigned n = 0;

	while (proc && n < max && (entry = readdir(proc))) {
		pid_t pid = atoi(entry->d_name), its_parent;
		struct process p = { .pid = pid };
		char state;

		if (pid > 0 && read_stat(pid, &its_parent, &p.start, &state) && its_parent == parent && state != 'Z')
			ret[n++] = p;
	}
	if (proc)
		closedir(proc);
	return n;
}

int process_save(const struct process *p, const char *path)
{
	FILE *file = fopen(path, "we");

	if (!file)
		return -errno;
	fprintf(file, "%d %llu\n", (int)p->pid, p->start);
	return fclose(file) ? -errno : 0;
}

struct process process_load(const char *path)
{
	struct process p = { 0 };
	int pid;
	FILE *file = fopen(path, "re");

	if (file && fscanf(file, "%d %llu", &pid, &p.start) == 2)
		p.pid = pid;
	if (file)
		fclose(file);
	return p;
}

bool process_run(char *const argv[], bool quiet)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (quiet) {
			int null = open("/dev/null", O_RDWR);
			dup2(null, 1);
			dup2(null, 2);
		}
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0)
		return false;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
