/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment: shared memory without a name. A memfd of fixed size, its space taken at once, sealed
 * against shrinking, growing and further seals, mode 0600. It reaches other processes only as a
 * descriptor, so there is no path that anyone could guess, link or truncate.
 *
 * Who may enter: keeper and agent make segments, lib maps them.
 */
#ifndef PAXSHM_SHM_SEGMENT_H
#define PAXSHM_SHM_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct segment {
	int fd;   /* -1: none */
	void *at; /* NULL: not mapped */
	uint64_t size;
};

#define SEGMENT_NONE ((struct segment){ .fd = -1 })

/* Makes one, zeroed, and maps it writable. -ENOMEM: the memory is not to be had (asked now so that
 * nobody meets SIGBUS later), or other negative errno; *ret stays untouched. */
int segment_create(struct segment *ret, const char *debug_name, uint64_t size);

/* Maps one that came as a descriptor; takes the descriptor over on success only. Checks that it is
 * sealed against shrinking: -EPROTO when it is not or is smaller than a header. `child_keeps`: false
 * keeps the mapping out of forked children. */
int segment_map(struct segment *ret, int fd, bool writable, bool child_keeps);

/* A second descriptor of the same memory through which it can never be mapped writable. */
int segment_open_readonly(const struct segment *s);

/* Unmaps and closes; takes half-built and empty ones, and leaves SEGMENT_NONE. */
void segment_release(struct segment *s);

#endif
