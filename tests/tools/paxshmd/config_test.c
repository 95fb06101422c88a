/* SPDX-License-Identifier: Apache-2.0 */
/* config: what is read from a file, and file, line and remedy of every error. */
#define _GNU_SOURCE
#include "../../../tools/paxshmd/config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../net/loop.h"

#define A "host \"a\" { id = 1\n address = \"127.0.0.1:7001\" }\n"
#define B "host \"b\" { id = 2\n address = \"127.0.0.1:7002\" }\n"
#define C "host \"c\" { id = 3\n address = \"127.0.0.1:7003\" }\n"
#define CLUSTER "cluster = \"test\"\n"

static struct config config;
static char why[CONFIG_WHY], file[] = "/tmp/paxshm-config-XXXXXX";

static void make_file(const char *text)
{
	int fd;

	strcpy(file, "/tmp/paxshm-config-XXXXXX");
	fd = mkstemp(file);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static int read_as(const char *text, const char *host)
{
	int rc;

	make_file(text);
	rc = config_read(&config, file, host, why);
	unlink(file);
	return rc;
}

/* `text` is refused with "FILE:LINE: …", and the words of `expect` stand in the message. */
static void expect_error(const char *text, unsigned line, const char *expect)
{
	char prefix[64];
	int rc = read_as(text, "a");

	cr_assert_eq(rc, -EINVAL, "accepted: %s", text);
	if (line)
		snprintf(prefix, sizeof(prefix), "%s:%u: ", file, line);
	else
		snprintf(prefix, sizeof(prefix), "%s: ", file);
	cr_assert_eq(strncmp(why, prefix, strlen(prefix)), 0, "expected \"%s\", got \"%s\"", prefix, why);
	cr_assert(strstr(why, expect), "expected \"%s\", got \"%s\"", expect, why);
	cr_assert(strstr(why + strlen(prefix), "; ") || strstr(why, ": "), "no remedy: %s", why);
}

Test(config, reads_all_settings)
{
	cr_assert_eq(read_as(CLUSTER "locks = 100\nclaims = 200\nsessions = 30\nheartbeat_ms = 10\nleader_lease_ms = 100\n"
				     "host_lease_ms = 5000\ndrift_ppm = 200\nhandover_max = 4\nhandover_ms = 7\nkeep_ms = 500\nloop = epoll\nsocket = \"/s\"\nstate = \"/d\"\n" A B C
				     "host \"o\" { id = 9\n address = \"[::1]:7009\"\n role = observer }\n",
			     "b"),
		     0, "%s", why);
	cr_assert_str_eq(config.cluster, "test");
	cr_assert_str_eq(config.socket, "/s");
	cr_assert_str_eq(config.state, "/d");
	cr_assert_eq(config.locks, 100);
	cr_assert_eq(config.claims, 200);
	cr_assert_eq(config.sessions, 30);
	cr_assert_eq(config.heartbeat_ms, 10);
	cr_assert_eq(config.leader_lease_ms, 100);
	cr_assert_eq(config.host_lease_ms, 5000);
	cr_assert_eq(config.drift_ppm, 200);
	cr_assert_eq(config.handover_max, 4);
	cr_assert_eq(config.handover_ms, 7);
	cr_assert_eq(config.keep_ms, 500);
	cr_assert_eq(config.engine, LOOP_EPOLL);
	cr_assert_eq(config.n_hosts, 4);
	cr_assert_eq(config.self, 1);
	cr_assert_eq(config.hosts[0].role, HOST_VOTER, "voter is the default");
	cr_assert_eq(config.hosts[3].role, HOST_OBSERVER);
	cr_assert_eq(config.hosts[3].id, 9);
	cr_assert_eq(config.hosts[3].address.ss_family, AF_INET6);
	const struct sockaddr_in *in = (const struct sockaddr_in *)&config.hosts[1].address;
	cr_assert_eq(ntohs(in->sin_port), 7002);
	cr_assert_eq(ntohl(in->sin_addr.s_addr), 0x7f000001);
}

Test(config, has_the_stated_defaults)
{
	cr_assert_eq(read_as(CLUSTER A, "a"), 0, "%s", why);
	cr_assert_eq(config.locks, 65536);
	cr_assert_eq(config.heartbeat_ms, 20);
	cr_assert_eq(config.leader_lease_ms, 200);
	cr_assert_eq(config.host_lease_ms, 10000);
	cr_assert_eq(config.drift_ppm, 1000);
	cr_assert_eq(config.handover_max, 16);
	cr_assert_eq(config.handover_ms, 10);
	cr_assert_eq(config.keep_ms, 30000);
	cr_assert_eq(config.engine, LOOP_AUTO);
	cr_assert_not(config.insecure);
	cr_assert_eq(config.size, sizeof(config));
}

Test(config, resolves_names)
{
	cr_assert_eq(read_as(CLUSTER "host \"a\" { id = 1\n address = \"localhost:7001\" }\n", "a"), 0, "%s", why);
}

Test(config, finds_itself_by_the_machines_name)
{
	char text[512], machine[65] = "";

	gethostname(machine, 64);
	snprintf(text, sizeof(text), CLUSTER "host \"%.63s\" { id = 1\n address = \"127.0.0.1:7001\" }\n", machine);
	cr_assert_eq(read_as(text, NULL), 0, "%s", why);
}

Test(config, says_what_is_wrong_with_the_file_itself)
{
	cr_assert_eq(config_read(&config, "/nowhere/x.conf", "a", why), -EINVAL);
	cr_assert_str_eq(why, "/nowhere/x.conf: cannot be read: No such file or directory; give the configuration's path with --config");
	cr_assert_eq(config_read(&config, "/tmp", "a", why), -EINVAL);
	cr_assert(strstr(why, "/tmp: is a directory"));
}

Test(config, says_that_it_may_not_read_the_file)
{
	make_file(CLUSTER A);
	cr_assert_eq(chmod(file, 0), 0);
	cr_assert(getuid() != 0 || seteuid(65534) == 0);
	int rc = config_read(&config, file, "a", why);
	cr_assert(getuid() != 0 || seteuid(0) == 0);
	unlink(file);
	cr_assert_eq(rc, -EINVAL);
	cr_assert(strstr(why, ": cannot be read: Permission denied; "), "%s", why);
}

Test(config, refuses_unknown_settings)
{
	expect_error(CLUSTER "lokcs = 5\n" A, 2, "no such option 'lokcs'; correct the name or remove the line");
	expect_error(CLUSTER "host \"a\" {\n colour = 5\n}\n", 3, "no such option 'colour'");
}

Test(config, refuses_values_of_another_kind)
{
	expect_error(CLUSTER "\nlocks = many\n" A, 3, "write a whole number");
	expect_error(CLUSTER "insecure = perhaps\n" A, 2, "write yes or no");
	expect_error(CLUSTER "loop = poll\n" A, 2, "loop = \"poll\" is not known; choose auto, io_uring or epoll");
	expect_error(CLUSTER "host \"a\" { id = 1\n address = \"127.0.0.1:1\"\n role = king }\n", 4,
		     "role = \"king\" is not known; choose voter or observer");
	expect_error("cluster = \"\"\n" A, 1, "cluster is empty");
}

Test(config, refuses_what_is_not_finished)
{
	expect_error(CLUSTER A "socket = \"/x\n", 5, "premature end of file");
	expect_error(CLUSTER "host { id = 1 }\n", 2, "write host \"NAME\" { … }");
}

Test(config, refuses_numbers_out_of_range)
{
	expect_error(CLUSTER "locks = 0\n" A, 2, "locks = 0 is out of range; choose a number from 1 to 134217728");
	expect_error(CLUSTER "sessions = 4095\n" A, 2, "sessions = 4095 is out of range; choose a number from 1 to 4094");
	expect_error(CLUSTER "claims = -1\n" A, 2, "claims = -1 is out of range");
	expect_error(CLUSTER "heartbeat_ms = 0\n" A, 2, "heartbeat_ms = 0 is out of range");
	expect_error(CLUSTER "locks = 99999999999999999999999\n" A, 2, "out of range; write a whole number");
	expect_error(CLUSTER A "host \"b\" { id = 1024\n address = \"127.0.0.1:7002\" }\n", 4,
		     "host \"b\": id 1024 is out of range; choose one from 1 to 1023");
	expect_error(CLUSTER A "host \"b\" { id = 0\n address = \"127.0.0.1:7002\" }\n", 4, "id 0 is out of range");
}

Test(config, refuses_a_setting_given_twice)
{
	expect_error(CLUSTER "locks = 5\n\nlocks = 6\n" A, 4, "locks was set in line 2 already; remove one of the two");
	expect_error(CLUSTER "host \"a\" { id = 1\n id = 2\n}\n", 3, "id was set in line 2 already");
}

Test(config, refuses_hosts_that_are_alike)
{
	expect_error(CLUSTER A "host \"b\" {\n id = 1\n address = \"127.0.0.1:7002\" }\n", 5,
		     "host \"b\": id 1 is already host \"a\"'s; give each host its own id from 1 to 1023");
	expect_error(CLUSTER A "host \"b\" {\n id = 2\n address = \"127.0.0.1:7001\" }\n", 6,
		     "host \"b\": address 127.0.0.1:7001 is already host \"a\"'s");
	expect_error(CLUSTER A A, 4, "give each host one entry");
}

Test(config, refuses_hosts_that_lack_something)
{
	expect_error(CLUSTER "host \"a\" {\n address = \"127.0.0.1:7001\"\n}\n", 4, "host \"a\" has no id; add id = N");
	expect_error(CLUSTER "host \"a\" {\n id = 1\n}\n", 4, "host \"a\" has no address; add address = \"HOST:PORT\"");
	expect_error(CLUSTER, 0, "no host stands in it");
	expect_error(A, 0, "the cluster has no name; add cluster = \"NAME\"");
}

Test(config, refuses_addresses_that_do_not_parse)
{
	expect_error(CLUSTER "host \"a\" { id = 1\n address = \"127.0.0.1\" }\n", 3, "has no port; write it as HOST:PORT");
	expect_error(CLUSTER "host \"a\" { id = 1\n address = \"127.0.0.1:\" }\n", 3, "has no port");
	expect_error(CLUSTER "host \"a\" { id = 1\n address = \"127.0.0.1:0\" }\n", 3, "port \"0\" is no port; choose one from 1 to 65535");
	expect_error(CLUSTER "host \"a\" { id = 1\n address = \"127.0.0.1:65536\" }\n", 3, "port \"65536\" is no port");
	expect_error(CLUSTER "host \"a\" { id = 1\n address = \"127.0.0.1:70x\" }\n", 3, "port \"70x\" is no port");
	expect_error(CLUSTER "host \"a\" { id = 1\n address = \"::1:7000\" }\n", 3, "write an IPv6 address as [ADDRESS]:PORT");
	expect_error(CLUSTER "host \"a\" { id = 1\n address = \"no.such.host.invalid:7000\" }\n", 3,
		     "is not found");
}

Test(config, refuses_a_number_of_voters_without_clear_majority)
{
	expect_error(CLUSTER A B, 5, "2 hosts are voters; make it 1, 3, 5 or 7, and the others role = observer");
	expect_error(CLUSTER "host \"a\" { id = 1\n address = \"127.0.0.1:1\"\n role = observer }\n", 0, "no host is a voter");
	expect_error(CLUSTER A B C
		     "host \"d\" { id = 4\n address = \"127.0.0.1:4\" }\nhost \"e\" { id = 5\n address = \"127.0.0.1:5\" }\n"
		     "host \"f\" { id = 6\n address = \"127.0.0.1:6\" }\nhost \"g\" { id = 7\n address = \"127.0.0.1:7\" }\n"
		     "host \"h\" { id = 8\n address = \"127.0.0.1:8\" }\nhost \"i\" { id = 9\n address = \"127.0.0.1:9\" }\n",
		     19, "9 hosts are voters");
}

Test(config, refuses_timings_that_cannot_work)
{
	expect_error(CLUSTER "heartbeat_ms = 100\nleader_lease_ms = 299\n" A, 3, "make it 300 or more");
	expect_error(CLUSTER "heartbeat_ms = 100\n" A, 2, "leader_lease_ms = 200 is less than three heartbeats of 100 ms");
	expect_error(CLUSTER "host_lease_ms = 799\n" A, 2, "host_lease_ms = 799 is less than four leader leases of 200 ms");
	expect_error(CLUSTER "leader_lease_ms = 6000\n" A, 2, "make it 24000 or more");
	cr_assert_eq(read_as(CLUSTER "heartbeat_ms = 100\nleader_lease_ms = 300\nhost_lease_ms = 1200\n" A, "a"), 0, "%s", why);
}

Test(config, a_clock_may_drift_a_tenth_at_most)
{
	expect_error(CLUSTER "drift_ppm = 100001\n" A, 2, "drift_ppm");
	expect_error(CLUSTER "drift_ppm = -1\n" A, 2, "drift_ppm");
	cr_assert_eq(read_as(CLUSTER "drift_ppm = 0\n" A, "a"), 0, "%s", why);
	cr_assert_eq(config.drift_ppm, 0);
	cr_assert_eq(read_as(CLUSTER "drift_ppm = 100000\n" A, "a"), 0, "%s", why);
}

Test(config, passing_and_keeping_have_their_bounds)
{
	expect_error(CLUSTER "handover_ms = 60001\n" A, 2, "handover_ms = 60001 is out of range; choose a number from 0 to 60000");
	expect_error(CLUSTER "handover_ms = -1\n" A, 2, "handover_ms = -1 is out of range");
	expect_error(CLUSTER "keep_ms = 86400001\n" A, 2, "keep_ms = 86400001 is out of range; choose a number from 0 to 86400000");
	expect_error(CLUSTER "keep_ms = -1\n" A, 2, "keep_ms = -1 is out of range");
	expect_error(CLUSTER "keep_ms = 1\nkeep_ms = 2\n" A, 3, "keep_ms was set in line 2 already");
	expect_error(CLUSTER "handover_ms = soon\n" A, 2, "write a whole number");
	cr_assert_eq(read_as(CLUSTER "handover_max = 0\nhandover_ms = 0\nkeep_ms = 0\n" A, "a"), 0, "%s", why);
	cr_assert_eq(config.handover_max + config.handover_ms + config.keep_ms, 0, "0 is a setting, and not the default");
	cr_assert_eq(read_as(CLUSTER "handover_ms = 60000\nkeep_ms = 86400000\n" A, "a"), 0, "%s", why);
}

Test(config, what_a_running_host_can_take_up_and_what_not)
{
	static const struct {
		const char *text, *fixed;
	} changes[] = {
		{ "handover_max = 3\n", NULL },
		{ "handover_ms = 3\n", NULL },
		{ "keep_ms = 0\n", NULL },
		{ "heartbeat_ms = 10\n", NULL },
		{ "loop = epoll\n", NULL },
		{ "locks = 3\n", "locks" },
		{ "claims = 3\n", "claims" },
		{ "sessions = 3\n", "sessions" },
		{ "leader_lease_ms = 300\n", "leader_lease_ms" },
		{ "host_lease_ms = 9000\n", "host_lease_ms" },
		{ "drift_ppm = 3\n", "drift_ppm" },
		{ "socket = \"/s\"\n", "socket" },
		{ "state = \"/s\"\n", "state" },
	};
	static struct config now;
	char text[256];

	cr_assert_eq(read_as(CLUSTER A, "a"), 0, "%s", why);
	now = config;
	for (unsigned i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		snprintf(text, sizeof(text), CLUSTER "%s" A, changes[i].text);
		cr_assert_eq(read_as(text, "a"), 0, "%s", why);
		const char *fixed = config_fixed(&now, &config);

		cr_assert(changes[i].fixed ? fixed && strcmp(fixed, changes[i].fixed) == 0 : !fixed, "%s: %s", changes[i].text, fixed ? fixed : "can change");
	}
}

Test(config, the_setting_of_before_the_leases_is_none)
{
	expect_error(CLUSTER "election_ms = 200\n" A, 2, "election_ms");
}

Test(config, refuses_names_that_are_too_long)
{
	expect_error("cluster = \"0123456789012345678901234567890123456789012345678901234567890123\"\n" A, 1,
		     "cluster is 64 bytes long; use 63 at most");
	expect_error(CLUSTER "host \"0123456789012345678901234567890123456789012345678901234567890123\" { id = 1\n"
			     "address = \"127.0.0.1:1\" }\n",
		     3, "the host's name is 64 bytes long; use 63 at most");
}

Test(config, names_the_hosts_there_are_when_this_one_is_missing)
{
	cr_assert_eq(read_as(CLUSTER A B C, "d"), -EINVAL);
	cr_assert(strstr(why, "this host, \"d\", does not stand in it (it has: a, b, c); add it, or say with --host NAME which one it is"),
		  "%s", why);
}

Test(config, refuses_networks_unless_told_that_they_are_trusted)
{
	expect_error(CLUSTER "host \"a\" { id = 1\n address = \"192.0.2.7:7000\" }\n", 3, "set insecure = yes");
	strcpy(file, "/tmp/paxshm-config-XXXXXX");
	cr_assert_eq(read_as(CLUSTER "host \"a\" { id = 1\n address = \"192.0.2.7:7000\" }\ninsecure = yes\n", "a"), 0, "%s", why);
}

Test(config, single_is_a_voter_without_address)
{
	config_single(&config);
	cr_assert(config.single);
	cr_assert_eq(config.n_hosts, 1);
	cr_assert_eq(config.self, 0);
	cr_assert_eq(config.hosts[0].role, HOST_VOTER);
	cr_assert_eq(config.hosts[0].address_len, 0);
	cr_assert(config.hosts[0].name[0]);
}

Test(config, places_of_root_are_the_systems)
{
	if (geteuid() != 0)
		return;
	config_single(&config);
	config.single = false;
	cr_assert_eq(config_places(&config, why), 0);
	cr_assert_str_eq(config.socket, "/run/paxshm/agent.sock");
	cr_assert_str_eq(config.state, "/var/lib/paxshm");
}

/* What is wrong, by number; as somebody who is not root. */
static int look_as_user(void)
{
	if (geteuid() == 0 && seteuid(65534))
		return 1;
	config_single(&config);
	config.single = false;
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	setenv("XDG_STATE_HOME", "/home/x/state", 1);
	if (config_places(&config, why))
		return 2;
	if (strcmp(config.socket, "/run/user/7/paxshm/agent.sock") || strcmp(config.state, "/home/x/state/paxshm"))
		return 3;
	config.socket[0] = 0;
	unsetenv("XDG_RUNTIME_DIR");
	if (config_places(&config, why) != -ENOENT || strcmp(why, "no place is known for socket; give --socket"))
		return 4;
	config_single(&config);
	strcpy(config.socket, "/s");
	return config_places(&config, why) || config.state[0] ? 5 : 0; /* a cluster of one has no state */
}

Test(config, places_of_a_user_are_his_own)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(look_as_user());
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(WEXITSTATUS(status), 0, "step %d", WEXITSTATUS(status));
}

Test(config, limits_follow_the_settings)
{
	cr_assert_eq(read_as(CLUSTER "locks = 100\nclaims = 77\nsessions = 5\n" A, "a"), 0, "%s", why);
	struct agent_limits limits = config_limits(&config);
	cr_assert_eq(limits.capacity.rows, 100);
	cr_assert_eq(limits.claims, 77);
	cr_assert_eq(limits.sessions, 5);
}
