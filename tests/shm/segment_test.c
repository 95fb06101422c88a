/* SPDX-License-Identifier: Apache-2.0 */
/* segment: sealed, of one size, there as a whole, and read-only where it was handed out so. */
#define _GNU_SOURCE
#include "../../shm/segment.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE 20000u /* no multiple of a page */

static struct segment made(void)
{
	struct segment s = SEGMENT_NONE;

	cr_assert_eq(segment_create(&s, "test", SIZE), 0);
	return s;
}

static int open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 200; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

Test(segment, a_new_one_is_zeroed_writable_and_of_the_size_asked_for)
{
	struct segment s = made();
	unsigned char *at = s.at;
	struct stat st;

	for (unsigned i = 0; i < SIZE; i++)
		cr_assert_eq(at[i], 0);
	memset(at, 1, SIZE);
	cr_assert_eq(s.size, SIZE);
	cr_assert_eq(fstat(s.fd, &st), 0);
	cr_assert_eq(st.st_size, SIZE);
	segment_release(&s);
}

Test(segment, its_space_is_taken_at_once)
{
	struct segment s = made();
	struct stat st;

	cr_assert_eq(fstat(s.fd, &st), 0);
	cr_assert_geq(st.st_blocks * 512, SIZE);
	segment_release(&s);
}

Test(segment, only_its_owner_may_open_it_and_no_program_inherits_it)
{
	struct segment s = made();
	struct stat st;

	cr_assert_eq(fstat(s.fd, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0600);
	cr_assert(fcntl(s.fd, F_GETFD) & FD_CLOEXEC);
	segment_release(&s);
}

Test(segment, it_can_be_neither_shrunk_nor_grown_nor_sealed_further)
{
	struct segment s = made();

	cr_assert_eq(ftruncate(s.fd, SIZE - 1), -1);
	cr_assert_eq(errno, EPERM);
	cr_assert_eq(ftruncate(s.fd, SIZE + 1), -1);
	cr_assert_eq(errno, EPERM);
	cr_assert_eq(fcntl(s.fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
	cr_assert_eq(errno, EPERM);
	segment_release(&s);
}

Test(segment, memory_that_is_not_to_be_had_is_enomem_and_nothing_is_left)
{
	struct segment s = { .fd = 123, .at = NULL, .size = 5 };
	int before = open_fds();

	cr_assert_eq(segment_create(&s, "test", 1ull << 50), -ENOMEM);
	cr_assert_eq(segment_create(&s, "test", UINT64_MAX), -ENOMEM);
	cr_assert_eq(s.fd, 123);
	cr_assert_eq(s.size, 5);
	cr_assert_eq(open_fds(), before);
}

Test(segment, one_without_room_for_a_header_is_not_made)
{
	struct segment s = SEGMENT_NONE;

	cr_assert_eq(segment_create(&s, "test", 0), -EINVAL);
	cr_assert_eq(segment_create(&s, "test", 31), -EINVAL);
}

Test(segment, no_descriptor_left_is_said)
{
	struct rlimit usual, none;
	struct segment s = SEGMENT_NONE;
	int rc;

	getrlimit(RLIMIT_NOFILE, &usual);
	none = usual;
	none.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, &none);
	rc = segment_create(&s, "test", SIZE);
	setrlimit(RLIMIT_NOFILE, &usual); /* the test's own report needs some */
	cr_assert_eq(rc, -EMFILE);
	cr_assert_eq(s.fd, -1);
}

Test(segment, one_that_came_as_a_descriptor_shows_the_same_memory)
{
	struct segment a = made(), b = SEGMENT_NONE;

	cr_assert_eq(segment_map(&b, dup(a.fd), true, true), 0);
	cr_assert_eq(b.size, SIZE);
	strcpy(b.at, "hello");
	cr_assert_str_eq(a.at, "hello");
	segment_release(&b);
	segment_release(&a);
}

Test(segment, a_descriptor_that_could_shrink_or_is_too_small_is_refused_and_stays_the_callers)
{
	struct segment s = { .fd = 123 };
	int loose = memfd_create("loose", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	int tiny = memfd_create("tiny", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	int file = open("/proc/self/exe", O_RDONLY), pipes[2];

	cr_assert_eq(pipe(pipes), 0);
	cr_assert_eq(ftruncate(loose, SIZE), 0);
	cr_assert_eq(ftruncate(tiny, 31), 0);
	cr_assert_eq(fcntl(tiny, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	cr_assert_eq(segment_map(&s, loose, true, true), -EPROTO);
	cr_assert_eq(segment_map(&s, tiny, true, true), -EPROTO);
	cr_assert_eq(segment_map(&s, file, false, true), -EPROTO);
	cr_assert_eq(segment_map(&s, pipes[0], false, true), -EPROTO);
	cr_assert_eq(segment_map(&s, -1, false, true), -EBADF);
	cr_assert_eq(s.fd, 123);
	cr_assert_geq(fcntl(loose, F_GETFD), 0);
	cr_assert_geq(fcntl(tiny, F_GETFD), 0);
}

Test(segment, through_a_readonly_descriptor_it_can_be_read_and_never_mapped_or_made_writable)
{
	struct segment s = made(), r = SEGMENT_NONE, w = SEGMENT_NONE;
	int fd = segment_open_readonly(&s);

	strcpy(s.at, "hello");
	cr_assert_geq(fd, 0);
	cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	cr_assert_eq(segment_map(&w, fd, true, true), -EACCES);
	cr_assert_eq(segment_map(&r, fd, false, true), 0);
	cr_assert_str_eq(r.at, "hello");
	cr_assert_eq(mprotect(r.at, r.size, PROT_READ | PROT_WRITE), -1);
	cr_assert_eq(write(fd, "x", 1), -1);
	strcpy(s.at, "later"); /* and it is the same memory, not a copy */
	cr_assert_str_eq(r.at, "later");
	segment_release(&r);
	segment_release(&s);
}

Test(segment, another_user_cannot_open_the_readonly_descriptor_for_writing)
{
	struct segment s = made();
	int fd = segment_open_readonly(&s), status;
	pid_t pid;

	if (geteuid() != 0)
		cr_skip_test("changing the user needs root");
	pid = fork();
	if (pid == 0) {
		char path[32];

		if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
			_exit(2);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		_exit(open(path, O_RDWR) >= 0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(fd);
	segment_release(&s);
}

static bool child_sees(const struct segment *s)
{
	unsigned char in_core;
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(mincore(s->at, 1, &in_core) == 0); /* ENOMEM: nothing is mapped there */
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status) == 1;
}

Test(segment, a_forked_child_keeps_the_mapping_only_where_it_may)
{
	struct segment a = made(), kept = SEGMENT_NONE, hidden = SEGMENT_NONE;

	cr_assert_eq(segment_map(&kept, dup(a.fd), true, true), 0);
	cr_assert_eq(segment_map(&hidden, dup(a.fd), true, false), 0);
	cr_assert(child_sees(&kept));
	cr_assert_not(child_sees(&hidden));
	segment_release(&hidden);
	segment_release(&kept);
	segment_release(&a);
}

Test(segment, release_takes_whole_half_built_zeroed_and_empty_ones)
{
	struct segment whole = made(), half = { .fd = dup(whole.fd), .size = SIZE };
	struct segment zeroed = { 0 }, none = SEGMENT_NONE;
	int whole_fd = whole.fd, half_fd = half.fd;

	segment_release(&half);
	segment_release(&whole);
	segment_release(&whole);
	segment_release(&zeroed);
	segment_release(&none);
	cr_assert_eq(whole.fd, -1);
	cr_assert_null(whole.at);
	cr_assert_eq(zeroed.fd, -1);
	cr_assert_eq(fcntl(whole_fd, F_GETFD), -1);
	cr_assert_eq(fcntl(half_fd, F_GETFD), -1);
	cr_assert_geq(fcntl(0, F_GETFD), 0, "standard input is still there");
}
