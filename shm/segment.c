/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment: see segment.h. The one place that makes memfds and maps them.
 */
#define _GNU_SOURCE
#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layout.h"
#include "sys.h"

#ifndef MFD_NOEXEC_SEAL /* Linux 6.3 */
#define MFD_NOEXEC_SEAL 8u
#endif

/* SEAL too: else a session could add F_SEAL_FUTURE_WRITE and lock everybody else out. */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static int make_memfd(const char *debug_name)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create(debug_name, flags | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL) /* an older kernel */
		fd = memfd_create(debug_name, flags);
	return fd < 0 ? -errno : fd;
}

/* Takes the space now: a page that is not to be had later is a SIGBUS in whoever touches it. */
static int take_space(int fd, uint64_t size)
{
	int rc;

	/* Under the usual overcommit rules the kernel gives pages until it must kill somebody: ask first. */
	if (size > INT64_MAX || size > sys_memory_available())
		return -ENOMEM;
	do
		rc = fallocate(fd, 0, 0, (off_t)size);
	while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return errno == ENOSPC ? -ENOMEM : -errno;
	return 0;
}

static int map(struct segment *s, bool writable)
{
	void *at = mmap(NULL, s->size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, s->fd, 0);

	if (at == MAP_FAILED)
		return -errno;
	s->at = at;
	return 0;
}

int segment_create(struct segment *ret, const char *debug_name, uint64_t size)
{
	struct segment s = SEGMENT_NONE;
	int rc;

	if (size < sizeof(struct segment_header))
		return -EINVAL;
	rc = make_memfd(debug_name);
	if (rc < 0)
		return rc;
	s.fd = rc;
	s.size = size;

	rc = take_space(s.fd, size);
	if (rc == 0 && (fchmod(s.fd, 0600) < 0 || fcntl(s.fd, F_ADD_SEALS, SEALS) < 0))
		rc = -errno;
	if (rc == 0)
		rc = map(&s, true);
	if (rc < 0) {
		segment_release(&s);
		return rc;
	}
	*ret = s;
	return 0;
}

int segment_map(struct segment *ret, int fd, bool writable, bool child_keeps)
{
	struct segment s = { .fd = fd };
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	int rc;

	/* EINVAL: no memfd at all. */
	if (seals < 0)
		return errno == EINVAL ? -EPROTO : -errno;
	if (!(seals & F_SEAL_SHRINK)) /* whoever made it could take pages away under our feet */
		return -EPROTO;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < (off_t)sizeof(struct segment_header))
		return -EPROTO;
	s.size = (uint64_t)st.st_size;

	rc = map(&s, writable);
	if (rc < 0)
		return rc;
	if (!child_keeps && madvise(s.at, s.size, MADV_DONTFORK) < 0) {
		rc = -errno;
		munmap(s.at, s.size);
		return rc;
	}
	*ret = s;
	return 0;
}

int segment_open_readonly(const struct segment *s)
{
	char path[32];
	int fd;

	/* A new open file description, not a copy of ours: its mode is its own, and mode 0600 keeps
	 * another user from opening it again for writing in the same way. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", s->fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void segment_release(struct segment *s)
{
	bool empty = s->fd < 0 || (s->fd == 0 && s->size == 0); /* the second: zeroed memory, not stdin */

	if (s->at)
		munmap(s->at, s->size);
	if (!empty)
		close(s->fd);
	*s = SEGMENT_NONE;
}
