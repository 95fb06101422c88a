/* SPDX-License-Identifier: Apache-2.0 */
/* What bad input gets at the TCP port: strangers, nonsense, other configurations. */
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
#include "../../tools/paxshmd/log.h"
#include "counter.h"
#include "precious.h"
#include "puppet.h"
#include "rig.h"
#include "stranger.h"

RIG_SUITE(badpeer);

/* ---- at the TCP port ---- */

Test(badpeer, strangers_at_the_port)
{
	begin(&(struct rig_plan){ .voters = 3 }, 2);
	struct wire_hello good = stranger_learn(3), bad;
	unsigned char noise[8192], frame[WIRE_HELLO_SIZE];
	uint64_t random = 11;
	int fd, silent = stranger_dial(3);

	good.from = 1;
	good.to = 3;
	/* Lengths that are not possible, or more than a hello needs. */
	static const uint32_t lengths[] = { UINT32_MAX, WIRE_FRAME_MAX, WIRE_FRAME_MAX - 4, 1024, 1, 0 };
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		fd = stranger_dial(3);
		wire_put_hello(frame, sizeof(frame), &good);
		memcpy(frame, &lengths[i], 4);
		stranger_say(fd, frame, sizeof(frame));
		stranger_expect_end(fd);
		close(fd);
	}
	/* Cut short, at every byte. */
	for (size_t len = 0; len < sizeof(frame); len++) {
		fd = stranger_dial(3);
		wire_put_hello(frame, sizeof(frame), &good);
		stranger_say(fd, frame, len);
		close(fd);
	}
	/* Of another version, type or magic. */
	for (size_t at = 4; at < 10; at++) {
		fd = stranger_dial(3);
		wire_put_hello(frame, sizeof(frame), &good);
		frame[at] ^= 0x40;
		stranger_say(fd, frame, sizeof(frame));
		stranger_expect_end(fd);
		close(fd);
	}
	/* Of another cluster, configuration, host, history. */
	for (unsigned i = 0; i < 6; i++) {
		bad = good;
		switch (i) {
		case 0: bad.cluster_id ^= 1; break;
		case 1: bad.voters_id ^= 1; break;
		case 2: bad.from = 9; break;
		case 3: bad.to = 2; break;
		case 4: bad.history ^= 2; break;
		case 5: bad.from = 3; break;
		}
		fd = stranger_dial(3);
		stranger_say_hello(fd, &bad);
		stranger_expect_end(fd);
		close(fd);
	}
	for (unsigned turn = 0; turn < 20; turn++) {
		for (size_t i = 0; i < sizeof(noise); i++)
			noise[i] = (unsigned char)random_next(&random);
		fd = stranger_dial(3);
		stranger_say(fd, noise, 1 + random_next(&random) % sizeof(noise));
		shutdown(fd, SHUT_WR);
		stranger_expect_end(fd);
		close(fd);
	}
	/* One line for each, but not without end, wherever they come from. */
	rig_log_wait(3, "speaks version 65 of the protocol");
	rig_log_wait(3, "its host id is not in our configuration");
	rig_log_wait(3, "its tables have another history than ours");
	rig_log_wait(3, "no hello of a paxshm agent");
	rig_log_wait(3, "closed the connection before it said hello");
	cr_assert_leq(rig_log_count(3, "closed the connection before it said hello"), LOG_LINES_A_MINUTE);
	cr_assert_leq(rig_log_count(3, "no hello of a paxshm agent"), LOG_LINES_A_MINUTE);
	/* Who says nothing, or half of it, is closed after a while. */
	fd = stranger_dial(3);
	stranger_say(fd, frame, 10);
	stranger_expect_end(silent);
	stranger_expect_end(fd);
	close(fd), close(silent);
	rig_log_wait(3, "said no hello within");
	for (unsigned n = 1; n <= 3; n++)
		cr_assert_eq(rig_log_count(n, "event=link.down"), 0, "no link between agents broke");
	end();
}

/* Says hello as host 1, which does not run, and then what no agent says. */
static int impersonate(unsigned n)
{
	struct wire_hello hello = stranger_learn(n);
	unsigned char frame[256];
	int fd = stranger_dial(n);

	hello.from = 1;
	hello.to = (uint16_t)n;
	hello.votes = false;
	hello.nonce = 12345;
	stranger_say_hello(fd, &hello);
	cr_assert_eq(stranger_hear(fd, frame, sizeof(frame)), WIRE_HELLO_SIZE);
	return fd;
}

Test(badpeer, a_peer_that_talks_nonsense)
{
	rig_start(&(struct rig_plan){ .voters = 3, .idle = true });
	rig_start_host(2, true);
	rig_start_host(3, true);
	rig_settle(0);
	precious.owner = puppet_new(2);
	precious.grant = puppet_lock(precious.owner, "precious");
	cr_assert_eq(precious.grant.rc, 0);
	unsigned char bytes[4096], frame[8192];
	uint64_t random = 13;
	struct wire_hello hello;
	int fd, len;

	/* Lengths that are not possible, hello twice, a type that is not known, a frame cut short. */
	fd = impersonate(3);
	stranger_say(fd, "\xff\xff\xff\xff\x01\x02", 6);
	stranger_expect_end(fd);
	close(fd);
	fd = impersonate(3);
	hello = stranger_learn(3);
	hello.from = 1, hello.to = 3;
	stranger_say_hello(fd, &hello);
	stranger_expect_end(fd);
	close(fd);
	fd = impersonate(3);
	stranger_say(fd, "\x04\0\0\0\x01\x63zz", 8);
	stranger_expect_end(fd);
	close(fd);
	fd = impersonate(3);
	stranger_say(fd, "\xff\x0f\0\0\x01\x02", 6);
	close(fd);
	/* Bodies that are noise: agents' words that do not decode count for nothing, Paxos that does not decode
	 * closes the link. */
	for (unsigned turn = 0; turn < 200; turn++) {
		fd = impersonate(2 + turn % 2);
		for (unsigned i = 0; i < 20; i++) {
			size_t n = 1 + random_next(&random) % 64;

			for (size_t k = 0; k < n; k++)
				bytes[k] = (unsigned char)random_next(&random);
			bytes[0] = (unsigned char)(1 + i % 6);
			len = wire_put_agent(frame, sizeof(frame), bytes, n);
			cr_assert_gt(len, 0);
			stranger_say(fd, frame, (size_t)len);
		}
		frame[5] = WIRE_PAXOS;
		frame[6] = 0xee;
		stranger_say(fd, frame, (size_t)len);
		stranger_expect_end(fd);
		close(fd);
	}
	cr_assert_gt(rig_log_count(3, "event=peer.bad"), 0);
	expect_untouched();

	/* The real one is as welcome as ever. */
	rig_start_host(1, true);
	rig_settle(0);
	end();
}

/* A host that was given another configuration does not get in; all say what differs. */
Test(badpeer, a_host_of_another_configuration)
{
	char text[4096], *at;
	pid_t pid;

	rig_start(&(struct rig_plan){ .voters = 3, .idle = true });
	int config = open(rig_path("cluster.conf"), O_RDONLY | O_CLOEXEC);
	ssize_t len = read(config, text, sizeof(text) - 1);

	close(config);
	cr_assert_gt(len, 0);
	text[len] = '\0';
	at = strstr(text, "locks = 1024");
	cr_assert(at);
	memcpy(at, "locks = 2048", 12);
	write_file(rig_path("other.conf"), text);

	int log = open(rig->host[3].log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	pid = rig_spawn(-1, log, (const char *const[]){ "paxshmd", "--config", rig_path("other.conf"), "--host", "h3", "--socket", rig->host[3].socket, "--state", rig->host[3].state, "--bootstrap", NULL });
	close(log);
	rig_start_host(1, true);
	rig_start_host(2, true);
	rig_settle(0);
	precious.owner = puppet_new(2);
	precious.grant = puppet_lock(precious.owner, "precious");
	cr_assert_eq(precious.grant.rc, 0);
	for (unsigned n = 1; n <= 3; n++)
		rig_log_wait(n, "lease settings are others than ours: give both hosts the same configuration");
	expect_untouched();
	cr_assert_eq(kill(pid, SIGTERM), 0);
	cr_assert(exited(rig_wait(pid), 0));

	/* With the right one it comes in, to learn. */
	rig_start_host(3, true);
	rig_settle(0);
	cr_assert_eq(rig_status(3).role, 2);
	end();
}
