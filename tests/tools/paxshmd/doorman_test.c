/* SPDX-License-Identifier: Apache-2.0 */
/* doorman: who is let in, what he gets, and what is made of nonsense. */
#define _GNU_SOURCE
#include "../../../tools/paxshmd/doorman.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../shm/sys.h"

static char reason[256];
static int ends[2]; /* the agent's, the client's */

static void make_pair(void)
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
}

TestSuite(doorman, .init = make_pair);

static struct greeting a_greeting(void)
{
	return (struct greeting){ .magic = GREETING_MAGIC, .version = LAYOUT_VERSION };
}

static struct house a_house(void)
{
	struct house h = { .cluster = "blue", .host_name = "a", .host = 3 };

	doorman_look_around(&h);
	return h;
}

static struct visitor myself(void)
{
	struct visitor v = { .pidfd = -1 };

	v.identity.pid = (uint32_t)getpid();
	return v;
}

/* ---- who ---- */

Test(doorman, knows_a_process_by_the_kernel)
{
	struct visitor v;
	struct pollfd p;
	uint64_t start;

	cr_assert_eq(doorman_identify(ends[0], &v), 0);
	cr_assert_eq(v.identity.pid, (uint32_t)getpid());
	cr_assert_eq(v.identity.uid, getuid());
	cr_assert_eq(v.identity.gid, getgid());
	cr_assert_eq(sys_start_time(getpid(), &start), 0);
	cr_assert_eq(v.identity.start, start);
	p = (struct pollfd){ .fd = v.pidfd, .events = POLLIN };
	cr_assert_eq(poll(&p, 1, 0), 0, "the pidfd is of a living process");
	cr_assert_eq(doorman_check_pidfd(v.pidfd, getuid()), 0);
}

/* One end of a pair that was made by a child, which has ended and was waited for. */
static int socket_of_the_dead(void)
{
	int pair, status;
	unsigned n;
	char byte;
	pid_t child = fork();

	if (child == 0) {
		int mine[2];

		if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, mine))
			_exit(1);
		_exit(sys_send_fds(ends[1], "x", 1, mine, 1, 0) ? 1 : 0);
	}
	waitpid(child, &status, 0);
	cr_assert_eq(WEXITSTATUS(status), 0);
	cr_assert_eq(sys_recv_fds(ends[0], &byte, 1, &pair, 1, &n, 0), 1);
	cr_assert_eq(n, 1u);
	return pair;
}

Test(doorman, refuses_a_process_that_has_ended)
{
	struct visitor v;

	cr_assert_eq(doorman_identify(socket_of_the_dead(), &v), -ESRCH);
}

Test(doorman, a_pidfd_is_checked)
{
	int file = open("/dev/null", O_RDONLY), status;
	pid_t child = fork();

	if (child == 0) {
		pause();
		_exit(0);
	}
	int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	cr_assert_eq(doorman_check_pidfd(file, getuid()), -EBADF);
	cr_assert_eq(doorman_check_pidfd(ends[0], getuid()), -EBADF);
	cr_assert_eq(doorman_check_pidfd(pidfd, getuid()), 0);
	cr_assert_eq(doorman_check_pidfd(pidfd, getuid() + 1), -EPERM, "somebody else's process");
	cr_assert_eq(doorman_check_pidfd(pidfd, 0), 0, "root may name any");
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	cr_assert_eq(doorman_check_pidfd(pidfd, getuid()), -ESRCH);
}

/* The kernel answers as those before Linux 6.5 do. */
static void be_an_older_kernel(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getsockopt, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])), /* its low half: little-endian */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 77 /* SO_PEERPIDFD */, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOPROTOOPT),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

Test(doorman, without_a_pidfd_of_the_peer_its_pid_names_it)
{
	struct visitor v = { .pidfd = -1 };

	be_an_older_kernel();
	cr_assert_eq(doorman_identify(ends[0], &v), 0);
	cr_assert_eq(v.identity.pid, (uint32_t)getpid());
	cr_assert_eq(doorman_check_pidfd(v.pidfd, getuid()), 0);
	cr_assert_eq(doorman_identify(socket_of_the_dead(), &v), -ESRCH);
}

/* ---- the greeting ---- */

Test(doorman, lets_in_who_fits)
{
	struct house h = a_house();
	struct visitor v = myself();
	struct greeting g = a_greeting(), in;

	strcpy(g.cluster, "blue");
	strcpy(g.space, "default");
	g.pid_ns = h.pid_ns;
	g.time_ns = h.time_ns;
	cr_assert_eq(doorman_parse(&g, sizeof(g), &in), 0);
	cr_assert_eq(doorman_judge(&h, &v, &in, 0, reason), 0);
}

Test(doorman, refuses_what_is_no_greeting)
{
	struct house h = a_house();
	struct visitor v = myself();
	struct greeting g = a_greeting(), in;

	cr_assert_eq(doorman_parse("r", 1, &in), -EBADMSG);
	cr_assert_eq(doorman_parse(&g, sizeof(g) - 1, &in), -EBADMSG, "cut short");
	memset(g.cluster, 'x', sizeof(g.cluster));
	cr_assert_eq(doorman_parse(&g, sizeof(g), &in), -EBADMSG, "a name without end");
	g = a_greeting();
	g.magic++;
	cr_assert_eq(doorman_parse(&g, sizeof(g), &in), -EBADMSG);
	cr_assert_eq(doorman_judge(&h, &v, &in, -EBADMSG, reason), -EPROTO);
}

Test(doorman, names_both_layout_versions)
{
	struct house h = a_house();
	struct visitor v = myself();
	struct greeting g = a_greeting(), in;
	char expect[128];
	int rc;

	g.version = 77;
	rc = doorman_parse(&g, 40, &in); /* another version may have another length */
	cr_assert_eq(rc, -EPROTO);
	cr_assert_eq(doorman_judge(&h, &v, &in, rc, reason), -EPROTO);
	snprintf(expect, sizeof(expect), "speaks layout 77, the agent layout %u: install the same version of both", LAYOUT_VERSION);
	cr_assert(strstr(reason, expect), "%s", reason);
}

Test(doorman, names_both_clusters)
{
	struct house h = a_house();
	struct visitor v = myself();
	struct greeting g = a_greeting();

	strcpy(g.cluster, "red");
	cr_assert_eq(doorman_judge(&h, &v, &g, 0, reason), -EINVAL);
	cr_assert(strstr(reason, "cluster \"red\" was asked for, this agent serves cluster \"blue\""), "%s", reason);
}

Test(doorman, refuses_an_unknown_space)
{
	struct house h = a_house();
	struct visitor v = myself();
	struct greeting g = a_greeting();

	strcpy(g.space, "cellar");
	cr_assert_eq(doorman_judge(&h, &v, &g, 0, reason), -EINVAL);
	cr_assert(strstr(reason, "space \"cellar\" is not known here"), "%s", reason);
}

Test(doorman, refuses_other_namespaces_by_what_the_kernel_says)
{
	struct house h = a_house();
	struct visitor v = myself();
	struct greeting g = a_greeting();

	g.pid_ns = h.pid_ns; /* what he says himself does not help him */
	h.pid_ns++;
	g.pid_ns++;
	cr_assert_eq(doorman_judge(&h, &v, &g, 0, reason), -EPERM);
	cr_assert(strstr(reason, "another pid namespace"), "%s", reason);
	h = a_house();
	h.time_ns++;
	cr_assert_eq(doorman_judge(&h, &v, &g, 0, reason), -EPERM);
	cr_assert(strstr(reason, "another time namespace"), "%s", reason);
	h.time_ns = 0; /* a kernel without them */
	cr_assert_eq(doorman_judge(&h, &v, &g, 0, reason), 0);
}

/* ---- the answer ---- */

Test(doorman, a_welcome_brings_four_descriptors)
{
	struct house h = a_house();
	struct welcome w;
	int out[4] = { 0, 1, 2, ends[0] }, in[8];
	unsigned n;

	cr_assert_eq(doorman_welcome(ends[0], &h, 5, out), 0);
	cr_assert_eq(sys_recv_fds(ends[1], &w, sizeof(w), in, 8, &n, 0), (ssize_t)sizeof(w));
	cr_assert_eq(n, 4u);
	cr_assert_eq(w.magic, GREETING_MAGIC);
	cr_assert_eq(w.version, LAYOUT_VERSION);
	cr_assert_eq(w.result, 0);
	cr_assert_eq(w.slot, 5u);
	cr_assert_eq(w.host, 3u);
	cr_assert_str_eq(w.cluster, "blue");
	cr_assert_str_eq(w.host_name, "a");
}

Test(doorman, a_refusal_says_why)
{
	struct house h = a_house();
	struct welcome w;
	int in[8];
	unsigned n;

	doorman_refuse(ends[0], &h, -ENOSPC, "full");
	cr_assert_eq(sys_recv_fds(ends[1], &w, sizeof(w), in, 8, &n, 0), (ssize_t)sizeof(w));
	cr_assert_eq(n, 0u);
	cr_assert_eq(w.result, -ENOSPC);
	cr_assert_str_eq(w.reason, "full");
}

/* ---- later messages ---- */

static int adopted[64];
static unsigned n_adopted;

static void adopt(void *context, int fd)
{
	(void)context;
	if (n_adopted < 64)
		adopted[n_adopted++] = fd;
}

static unsigned drain(void)
{
	bool more;
	unsigned kinds = doorman_drain(ends[0], adopt, NULL, &more);

	cr_assert_not(more);
	return kinds;
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

Test(doorman, takes_out_all_that_rings)
{
	cr_assert_eq(drain(), 0u);
	for (int i = 0; i < 20; i++)
		cr_assert_eq(send(ends[1], "r", 1, 0), 1);
	cr_assert_eq(drain(), (unsigned)DOORMAN_RUNG);
	cr_assert_eq(drain(), 0u);
}

Test(doorman, hands_adopted_descriptors_on)
{
	int fd = 0;

	cr_assert_eq(send(ends[1], "r", 1, 0), 1);
	cr_assert_eq(sys_send_fds(ends[1], "a", 1, &fd, 1, 0), 0);
	cr_assert_eq(sys_send_fds(ends[1], "a", 1, &fd, 1, 0), 0);
	cr_assert_eq(drain(), (unsigned)DOORMAN_RUNG);
	cr_assert_eq(n_adopted, 2u);
	cr_assert_neq(fcntl(adopted[0], F_GETFD) & FD_CLOEXEC, 0);
}

Test(doorman, a_hang_up_is_seen_behind_what_came_before)
{
	cr_assert_eq(send(ends[1], "r", 1, 0), 1);
	close(ends[1]);
	cr_assert_eq(drain(), (unsigned)(DOORMAN_RUNG | DOORMAN_GONE));
}

Test(doorman, nonsense_leaks_nothing)
{
	unsigned before;
	int two[2] = { 0, 0 };

	before = open_descriptors();
	cr_assert_eq(send(ends[1], "rr", 2, 0), 2);
	cr_assert_eq(drain(), (unsigned)DOORMAN_NONSENSE);
	cr_assert_eq(send(ends[1], "x", 1, 0), 1);
	cr_assert_eq(drain(), (unsigned)DOORMAN_NONSENSE);
	cr_assert_eq(send(ends[1], "a", 1, 0), 1);
	cr_assert_eq(drain(), (unsigned)DOORMAN_NONSENSE, "an adoption of nothing");
	cr_assert_eq(sys_send_fds(ends[1], "a", 1, two, 2, 0), 0);
	cr_assert_eq(sys_send_fds(ends[1], "a", 1, two, 2, 0), 0);
	cr_assert_eq(sys_send_fds(ends[1], "r", 1, two, 1, 0), 0);
	cr_assert_eq(drain(), (unsigned)DOORMAN_NONSENSE);
	cr_assert_eq(n_adopted, 0u);
	cr_assert_eq(open_descriptors(), before);
}
