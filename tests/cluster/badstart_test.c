/* SPDX-License-Identifier: Apache-2.0 */
/* What bad input gets, before an agent serves: configuration, ports, sockets, memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "../../net/link.h"
#include "../../shm/atom.h"
#include "../../shm/ring.h"
#include "../../shm/sys.h"
#include "../../shm/table.h"
#include "counter.h"
#include "precious.h"
#include "puppet.h"
#include "rig.h"
#include "stranger.h"

RIG_SUITE(badstart);

/* ---- the configuration ---- */

Test(badstart, a_configuration_that_cannot_be_read_or_is_wrong)
{
	static const struct {
		const char *text, *words, *more;
	} wrong[] = {
		{ "cluster = \"c\"\nlokcs = 4\n", ":2: ", "lokcs" },
		{ "cluster = \"c\"\nlocks = many\n", ":2: ", "locks" },
		{ "cluster = \"c\"\nlocks = 0\n", ":2: ", "choose a number from 1" },
		{ "cluster = \"c\"\nhost \"h1\" { id = 1 address = \"127.0.0.1:7000\" }\nhost \"h2\" { id = 1 address = \"127.0.0.1:7001\" }\n",
		  ":3: ", "give each host its own id" },
		{ "cluster = \"c\"\nhost \"h1\" { id = 1 address = \"127.0.0.1\" }\n", ":2: ", "write it as HOST:PORT" },
		{ "cluster = \"c\"\nhost \"h1\" { id = 1 address = \"127.0.0.1:7000\" }\nhost \"h2\" { id = 2 address = \"127.0.0.1:7001\" }\n",
		  "2 hosts are voters", "1, 3, 5 or 7" },
		{ "cluster = \"c\"\nhost \"h2\" { id = 1 address = \"127.0.0.1:7000\" }\n", "\"h1\", does not stand in it", "--host NAME" },
		{ "host \"h1\" { id = 1 address = \"127.0.0.1:7000\" }\n", "the cluster has no name", "add cluster" },
		{ "cluster = \"c\"\nhost \"h1\" { id = 1", "bad.conf", "" },
	};

	begin(&(struct rig_plan){ .voters = 1 }, 1);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		write_file(rig_path("bad.conf"), wrong[i].text);
		expect_no_start(rig_path("bad.conf"), "h1", rig_path("bad.sock"), 1, wrong[i].words, wrong[i].more);
	}
	expect_no_start(rig_path("not there"), "h1", rig_path("bad.sock"), 1, "No such file", "--config");
	expect_no_start(rig->dir, "h1", rig_path("bad.sock"), 1, "is a directory", "--config");
	cr_assert_neq(access(rig_path("bad.sock"), F_OK), 0, "nothing is left behind");
	end();
}

/* ---- starting where another is ---- */

Test(badstart, a_port_in_use)
{
	begin(&(struct rig_plan){ .voters = 3 }, 1);
	char port[16], text[512];
	int fd = stranger_dial(1); /* and a connection to the one that listens harms nothing */

	snprintf(port, sizeof(port), ":%u", rig->host[1].port);
	snprintf(text, sizeof(text), "cluster = \"c\"\nhost \"h1\" { id = 1 address = \"127.0.0.1:%u\" }\n", rig->host[1].port);
	write_file(rig_path("same.conf"), text);
	expect_no_start(rig_path("same.conf"), "h1", rig_path("same.sock"), 1, "same.conf:2: ", "is in use by another program");
	expect_no_start(rig_path("same.conf"), "h1", rig_path("same.sock"), 1, port, "choose another port");
	close(fd);
	end();
}

Test(badstart, a_second_agent_on_the_same_socket)
{
	begin(&(struct rig_plan){ .voters = 3 }, 1);
	char pid[32];

	snprintf(pid, sizeof(pid), "(pid %d)", (int)rig->host[1].keeper.pid);
	for (unsigned turn = 0; turn < 2; turn++)
		expect_no_start(rig_path("cluster.conf"), "h1", rig->host[1].socket, 1, "another paxshmd", pid);
	cr_assert_eq(access(rig->host[1].socket, F_OK), 0);
	end();
}

static void make_stale_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
}

Test(badstart, a_stale_socket_file_is_replaced)
{
	struct paxshm_options options = PAXSHM_INIT(options);
	paxshm_session *s;

	rig_start(&(struct rig_plan){ .voters = 1, .idle = true });
	options.socket = rig->host[1].socket;
	make_stale_socket(rig->host[1].socket);
	rig_start_host(1, true);
	rig_settle(1);
	/* A kill leaves one too. */
	rig_kill_host(1);
	cr_assert_eq(access(rig->host[1].socket, F_OK), 0);
	rig_start_host(1, true);
	rig_log_wait(1, "event=voter.memory_lost");
	RIG_WAIT(paxshm_open(&s, &options) == 0);
	cr_assert_eq(paxshm_close(s), 0);
	cr_assert_eq(rig_stop_host(1), 0);
	cr_assert_neq(access(rig->host[1].socket, F_OK), 0, "a clean end leaves none");
	rig_end();
}

Test(badstart, a_file_in_the_sockets_place_is_left_alone)
{
	begin(&(struct rig_plan){ .voters = 1, .observers = 1 }, 1);
	const char *path = rig_path("a file");
	struct stat st;

	cr_assert_eq(rig_stop_host(2), 0);
	write_file(path, "precious too");
	expect_no_start(rig_path("cluster.conf"), "h2", path, 1, "is no socket", "--socket");
	cr_assert_eq(stat(path, &st), 0);
	cr_assert(S_ISREG(st.st_mode));
	cr_assert_eq(st.st_size, 12);
	end();
}

/* ---- want of memory, and of descriptors ---- */

static void little_address_space(unsigned n)
{
	struct rlimit space = { 96 << 20, 96 << 20 };

	(void)n;
	setrlimit(RLIMIT_AS, &space);
}

Test(badstart, memory_that_is_not_to_be_had)
{
	static const struct table_capacity most = { .rows = TABLE_ROWS_MAX, .cells = TABLE_ROWS_MAX, .waits = TABLE_ROWS_MAX };
	char text[512];

	begin(&(struct rig_plan){ .voters = 1 }, 1);
	snprintf(text, sizeof(text), "cluster = \"c\"\nlocks = %u\nhost \"h1\" { id = 1 address = \"127.0.0.1:7\" }\n", TABLE_ROWS_MAX);
	write_file(rig_path("huge.conf"), text);
	if (sys_memory_available() < tables_size(&most)) /* or this machine would be filled */
		expect_no_start(rig_path("huge.conf"), "h1", rig_path("huge.sock"), 1, "bytes of memory", "lower locks");
	end();
}

Test(badstart, a_host_without_memory_says_so_at_its_start)
{
	rig_start(&(struct rig_plan){ .voters = 1, .settings = "locks = 500000\n", .in_keeper = little_address_space, .idle = true });
	rig_start_host(1, true);
	rig_log_wait(1, "are not to be had");
	RIG_WAIT(!rig_runs(1));
	cr_assert_eq(rig_log_count(1, "lower locks"), 1);
	cr_assert_neq(access(rig->host[1].socket, F_OK), 0);
	/* It founded nothing, so it still may. */
	rig->plan.in_keeper = NULL;
	rig_start_host(1, true);
	rig_settle(1);
	rig_end();
}
