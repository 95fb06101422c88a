/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "premises.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* ---- directories ---- */

/* Makes a directory and those above it. */
static int make_directory(const char *path, mode_t mode, char *why)
{
	char part[PATH_MAX];

	if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
		return because(why, -ENAMETOOLONG, "%s: this path is too long", path);
	for (char *at = part + 1;; at++) {
		if (*at && *at != '/')
			continue;
		char end = *at;

		*at = 0;
		if (mkdir(part, mode) && errno != EEXIST)
			return because(why, -errno, "%s: this directory cannot be made: %s", part, strerror(errno));
		*at = end;
		if (!end)
			return 0;
	}
}

static int make_directory_of(const char *path, mode_t mode, char *why)
{
	char dir[PATH_MAX];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	*slash = 0;
	return access(dir, F_OK) ? make_directory(dir, mode, why) : 0;
}

static int lock_byte(int fd, short type, off_t byte)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	return fcntl(fd, F_OFD_SETLK, &lock) ? -errno : 0;
}

int premises_note_life(int lock_fd, uint64_t nonce, char *why)
{
	char text[64];
	int len = snprintf(text, sizeof(text), "%d\n%016llx\n", (int)getpid(), (unsigned long long)nonce);

	if (!ftruncate(lock_fd, 0) && pwrite(lock_fd, text, (size_t)len, 0) == len)
		return 0;
	return because(why, -errno, "the lock file cannot be written: %s", strerror(errno));
}

int premises_lock(const char *socket_path, uint64_t *ret_nonce, char *why)
{
	char path[CONFIG_SOCKET + 8], text[64] = "?", *pid = text;
	unsigned long long nonce = 0;
	struct stat st;
	int fd, rc = make_directory_of(socket_path, 0755, why);

	if (rc)
		return rc;
	snprintf(path, sizeof(path), "%s.lock", socket_path);
	/* Nobody else may open it: whoever can read it could lock it. */
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return because(why, -errno, "%s: cannot be opened: %s; give a --socket in a directory that you may write to", path,
			       strerror(errno));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return because(why, -EINVAL, "%s: is not a regular file; remove it, or give another --socket", path);
	}
	rc = lock_byte(fd, F_WRLCK, KEEPER_BYTE);
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = 0;
	sscanf(text, "%*d %16llx", &nonce);
	if (rc) {
		pid[strspn(pid, "0123456789")] = 0;
		close(fd);
		if (rc != -EAGAIN && rc != -EACCES)
			return because(why, rc, "%s: cannot be locked: %s", path, strerror(-rc));
		return because(why, -EADDRINUSE, "another paxshmd (pid %s) serves %s: stop it first, or give --socket",
			       pid[0] ? pid : "unknown", socket_path);
	}
	/* The pid only so that the message above can name it. */
	rc = premises_note_life(fd, nonce, why);
	if (rc) {
		close(fd);
		return rc;
	}
	*ret_nonce = nonce;
	return fd;
}

int premises_claim_life(int lock_fd)
{
	int rc = lock_byte(lock_fd, F_WRLCK, LIFE_BYTE);

	return rc == -EACCES ? -EAGAIN : rc;
}

int premises_listen(const char *socket_path, char *why)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;
	mode_t mask;
	int fd, rc;

	if (strlen(socket_path) >= sizeof(address.sun_path))
		return because(why, -ENAMETOOLONG, "%s: a socket's path has %zu bytes at most; give a shorter --socket", socket_path,
			       sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, socket_path);
	if (!lstat(socket_path, &st)) {
		if (!S_ISSOCK(st.st_mode))
			return because(why, -EEXIST, "%s: is there and is no socket; remove it, or give another --socket", socket_path);
		/* Nobody serves it, for we hold its lock: an earlier paxshmd left it. */
		unlink(socket_path);
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return because(why, -errno, "no UNIX socket can be made: %s", strerror(errno));
	mask = umask(0111); /* open to everyone: access rules come with spaces */
	rc = bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, SOMAXCONN) ? -errno : 0;
	umask(mask);
	if (rc) {
		close(fd);
		return because(why, rc, "%s: cannot listen: %s; give a --socket in a directory that you may write to", socket_path,
			       strerror(-rc));
	}
	return fd;
}

int premises_listen_tcp(const struct config *c, char *why)
{
	const struct config_host *h = &c->hosts[c->self];
	int fd = socket(h->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, rc;

	if (fd < 0)
		return because(why, -errno, "%s:%u: no socket can be made for %s: %s", c->file, h->line, h->address_text,
			       strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (h->address.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	rc = bind(fd, (const struct sockaddr *)&h->address, h->address_len) || listen(fd, SOMAXCONN) ? -errno : 0;
	if (!rc)
		return fd;
	close(fd);
	if (rc == -EADDRINUSE)
		return because(why, rc,
			       "%s:%u: host \"%s\": %s is in use by another program (ss -ltnp shows which): stop it, or choose another port",
			       c->file, h->line, h->name, h->address_text);
	if (rc == -EADDRNOTAVAIL)
		return because(why, rc,
			       "%s:%u: host \"%s\": %s is no address of this machine: correct it, or say with --host which host this is",
			       c->file, h->line, h->name, h->address_text);
	return because(why, rc, "%s:%u: host \"%s\": cannot listen on %s: %s; choose another address or port", c->file, h->line,
		       h->name, h->address_text, strerror(-rc));
}

/* ---- the mark of the founding ---- */

static int mark_path(const struct config *c, char *ret, size_t cap, char *why)
{
	if (snprintf(ret, cap, "%s/founded", c->state) >= (int)cap)
		return because(why, -ENAMETOOLONG, "%s: this path is too long; give a shorter --state", c->state);
	return 0;
}

int premises_may_found(const struct config *c, bool bootstrap, char *why)
{
	char path[PATH_MAX];
	struct stat st;
	int rc;

	if (c->single)
		return 1;
	if (!bootstrap || c->hosts[c->self].role != HOST_VOTER)
		return 0;
	rc = mark_path(c, path, sizeof(path), why);
	if (rc)
		return rc;
	if (!lstat(path, &st))
		return 0;
	if (errno == ENOENT || errno == ENOTDIR)
		return 1;
	return because(why, -errno, "%s: cannot be looked at: %s; give a --state that this user may read", path, strerror(errno));
}

int premises_mark_founded(const struct config *c, char *why)
{
	char path[PATH_MAX], text[512];
	int fd, dir, len, rc;

	if (c->single)
		return 0;
	rc = mark_path(c, path, sizeof(path), why);
	if (!rc && access(c->state, F_OK))
		rc = make_directory(c->state, 0755, why);
	if (rc)
		return rc;
	len = snprintf(text, sizeof(text), "cluster=%s\nhost=%s\ntime=%lld\n", c->cluster, c->hosts[c->self].name,
		       (long long)time(NULL));
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	dir = open(c->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = fd < 0 || dir < 0 || write(fd, text, (size_t)len) != len || fsync(fd) || fsync(dir) ? -errno : 0;
	fd_close(&fd);
	fd_close(&dir);
	return rc ? because(why, rc, "%s: cannot be written: %s; give a --state that this user may write to", path, strerror(-rc)) : 0;
}

/* ---- the older life ---- */

/* A command that paxctl started has it open … */
static bool is_open_in(const char *pid, const struct stat *lock)
{
	char path[300];
	struct stat st;
	struct dirent *f;
	bool found = false;
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	fds = opendir(path);
	while (fds && !found && (f = readdir(fds)))
		found = f->d_name[0] != '.' && !fstatat(dirfd(fds), f->d_name, &st, 0) && st.st_ino == lock->st_ino &&
			st.st_dev == lock->st_dev;
	if (fds)
		closedir(fds);
	return found;
}

/* … and a program with a session has it mapped. */
static bool is_mapped_in(const char *pid, const struct stat *lock)
{
	char path[300], line[512];
	unsigned high, low;
	unsigned long long inode;
	bool found = false;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	maps = fopen(path, "re");
	while (maps && !found && fgets(line, sizeof(line), maps))
		found = sscanf(line, "%*x-%*x %*s %*x %x:%x %llu", &high, &low, &inode) == 3 && inode == lock->st_ino &&
			makedev(high, low) == lock->st_dev;
	if (maps)
		fclose(maps);
	return found;
}

/* Processes that live by the lock file, ourselves left out: how many, and some of their pids. */
unsigned premises_life_holders(int lock_fd, char *ret_pids, size_t cap)
{
	struct stat lock;
	struct dirent *p;
	unsigned n = 0;
	size_t len = 0;
	DIR *procs = opendir("/proc");

	ret_pids[0] = 0;
	if (!procs || fstat(lock_fd, &lock)) {
		if (procs)
			closedir(procs);
		return 0;
	}
	while ((p = readdir(procs))) {
		if (p->d_name[0] < '1' || p->d_name[0] > '9' || atoi(p->d_name) == getpid() ||
		    (!is_open_in(p->d_name, &lock) && !is_mapped_in(p->d_name, &lock)))
			continue;
		n++;
		if (len < cap - 24)
			len += (size_t)snprintf(ret_pids + len, cap - len, "%s%s", len ? "," : "", p->d_name);
	}
	closedir(procs);
	return n;
}

int premises_begin_life(int lock_fd, char *why)
{
	char path[40];
	int fd, rc;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", lock_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return because(why, -errno, "the lock file cannot be opened again: %s; is /proc mounted?", strerror(errno));
	/* Nobody can come between: byte 0 is ours. */
	rc = lock_byte(lock_fd, F_UNLCK, LIFE_BYTE);
	if (!rc)
		rc = lock_byte(fd, F_RDLCK, LIFE_BYTE);
	if (!rc)
		return fd;
	close(fd);
	return because(why, rc, "the lock file cannot be locked: %s", strerror(-rc));
}
