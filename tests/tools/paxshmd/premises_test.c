/* SPDX-License-Identifier: Apache-2.0 */
/* premises: one keeper a socket, lives, stale sockets, ports, the mark of the founding. */
#define _GNU_SOURCE
#include "../../../tools/paxshmd/premises.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static uint64_t last_nonce;
static char why[CONFIG_WHY], dir[] = "/tmp/paxshm-premises-XXXXXX", path[128];
static struct config config;

static const char *in_dir(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void make_dir(void)
{
	cr_assert(mkdtemp(dir));
}

static void remove_dir(void)
{
	char command[160];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	cr_assert_eq(system(command), 0);
}

TestSuite(premises, .init = make_dir, .fini = remove_dir);

/* Another process does `act`; its answer, as an exit status. */
static int elsewhere(int (*act)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(act());
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static int lock_again(void)
{
	char expect[200];
	int rc = premises_lock(in_dir("s"), &last_nonce, why);

	snprintf(expect, sizeof(expect), "another paxshmd (pid %d) serves %s: stop it first, or give --socket", (int)getppid(), path);
	return rc == -EADDRINUSE && !strcmp(why, expect) ? 7 : 1;
}

static int lock_freely(void)
{
	return premises_lock(in_dir("s"), &last_nonce, why) >= 0 ? 7 : 1;
}

Test(premises, a_second_keeper_is_told_of_the_first)
{
	int fd = premises_lock(in_dir("s"), &last_nonce, why);

	cr_assert_geq(fd, 0, "%s", why);
	cr_assert_eq(elsewhere(lock_again), 7);
	close(fd);
	cr_assert_eq(elsewhere(lock_freely), 7, "the lock goes with its holder");
}

Test(premises, the_lock_file_is_nobody_elses_to_open)
{
	struct stat st;
	mode_t mask = umask(0);

	cr_assert_geq(premises_lock(in_dir("s"), &last_nonce, why), 0);
	umask(mask);
	cr_assert_eq(stat(in_dir("s.lock"), &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
}

Test(premises, the_sockets_directory_is_made)
{
	cr_assert_geq(premises_lock(in_dir("new/er/s"), &last_nonce, why), 0, "%s", why);
	cr_assert_eq(access(in_dir("new/er"), X_OK), 0);
}

Test(premises, a_lock_file_that_is_none_is_refused)
{
	cr_assert_eq(mkdir(in_dir("s.lock"), 0700), 0);
	cr_assert_lt(premises_lock(in_dir("s"), &last_nonce, why), 0);
	cr_assert_eq(rmdir(in_dir("s.lock")), 0);
	cr_assert_eq(symlink("/etc/passwd", in_dir("s.lock")), 0);
	cr_assert_lt(premises_lock(in_dir("s"), &last_nonce, why), 0, "a link is not followed");
	cr_assert(strstr(why, "--socket"));
}

/* ---- lives ---- */

Test(premises, a_life_waits_for_the_last_process_of_the_older_one)
{
	char pids[128], expect[16];
	int ready[2], go[2], lock = premises_lock(in_dir("s"), &last_nonce, why);
	char byte;

	cr_assert_eq(pipe(ready), 0);
	cr_assert_eq(pipe(go), 0);
	cr_assert_eq(premises_claim_life(lock), 0);
	int life = premises_begin_life(lock, why);
	cr_assert_geq(life, 0, "%s", why);

	pid_t client = fork();
	if (client == 0) {
		int mine = doorman_life(life);

		close(life);
		close(lock);
		close(ready[0]);
		close(go[1]);
		byte = mine >= 0;
		(void)!write(ready[1], &byte, 1);
		(void)!read(go[0], &byte, 1);
		_exit(0);
	}
	close(go[0]);
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	cr_assert_eq(byte, 1);
	close(life); /* the keeper's and the agent's own end */
	cr_assert_eq(premises_claim_life(lock), -EAGAIN);
	snprintf(expect, sizeof(expect), "%d", (int)client);
	cr_assert_eq(premises_life_holders(lock, pids, sizeof(pids)), 1);
	cr_assert_str_eq(pids, expect);
	close(go[1]);
	waitpid(client, NULL, 0);
	cr_assert_eq(premises_claim_life(lock), 0);
	cr_assert_geq(premises_begin_life(lock, why), 0);
}

/* Who can read the nonce is on the machine of the memory that it names. */
Test(premises, the_last_memory_is_known_to_the_next_keeper)
{
	uint64_t nonce = 1;
	int lock = premises_lock(in_dir("s"), &nonce, why);

	cr_assert_geq(lock, 0, "%s", why);
	cr_assert_eq(nonce, 0, "there was none");
	cr_assert_eq(premises_note_life(lock, 0x1122334455667788, why), 0, "%s", why);
	cr_assert_eq(premises_note_life(lock, 0x0000000000c0ffee, why), 0, "%s", why);
	close(lock);
	lock = premises_lock(in_dir("s"), &nonce, why);
	cr_assert_eq(nonce, 0xc0ffee, "the last, and all of it");
	close(lock);
	lock = premises_lock(in_dir("s"), &nonce, why);
	cr_assert_eq(nonce, 0xc0ffee, "also when the keeper in between made no memory");
	cr_assert_eq(premises_note_life(lock, ~0ull, why), 0);
	close(lock);
	cr_assert_geq(premises_lock(in_dir("s"), &nonce, why), 0);
	cr_assert_eq(nonce, ~0ull);
}

Test(premises, a_lock_file_of_before_or_cut_short_names_no_memory)
{
	static const char *const texts[] = { "", "4711\n", "4711\nzz\n", "\n", "no number" };
	uint64_t nonce;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		FILE *file = fopen(in_dir("s.lock"), "w");

		fputs(texts[i], file);
		fclose(file);
		nonce = 1;
		int lock = premises_lock(in_dir("s"), &nonce, why);
		cr_assert_geq(lock, 0, "%s", why);
		cr_assert_eq(nonce, 0, "\"%s\"", texts[i]);
		close(lock);
	}
}

static int lock_untouched(void)
{
	uint64_t nonce = 5;

	return premises_lock(in_dir("s"), &nonce, why) == -EADDRINUSE && nonce == 5 ? 7 : 1;
}

Test(premises, the_keepers_pid_is_named_behind_its_memory_too)
{
	int lock = premises_lock(in_dir("s"), &last_nonce, why);

	cr_assert_eq(premises_note_life(lock, 77, why), 0);
	cr_assert_eq(elsewhere(lock_again), 7);
	cr_assert_eq(elsewhere(lock_untouched), 7);
	close(lock);
	cr_assert_geq(premises_lock(in_dir("s"), &last_nonce, why), 0);
	cr_assert_eq(last_nonce, 77, "who was turned away has changed nothing");
}

Test(premises, a_client_cannot_end_the_life_of_others)
{
	struct flock unlock = { .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = LIFE_BYTE, .l_len = 1 };
	int lock = premises_lock(in_dir("s"), &last_nonce, why);

	cr_assert_eq(premises_claim_life(lock), 0);
	int life = premises_begin_life(lock, why);
	int one = doorman_life(life), other = doorman_life(life);
	cr_assert_geq(one, 0);
	cr_assert_geq(other, 0);
	close(life);
	cr_assert_eq(fcntl(one, F_OFD_SETLK, &unlock), 0);
	cr_assert_eq(premises_claim_life(lock), -EAGAIN);
	close(other);
	cr_assert_eq(premises_claim_life(lock), 0);
}

/* ---- sockets ---- */

static int connect_to(const char *socket_path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0), rc;

	strcpy(a.sun_path, socket_path);
	rc = connect(fd, (struct sockaddr *)&a, sizeof(a)) ? -errno : 0;
	close(fd);
	return rc;
}

Test(premises, a_stale_socket_is_replaced)
{
	struct stat st;
	int fd = premises_listen(in_dir("s"), why);

	cr_assert_geq(fd, 0, "%s", why);
	cr_assert_eq(connect_to(path), 0);
	close(fd);
	cr_assert_eq(connect_to(path), -ECONNREFUSED, "it is stale now");
	cr_assert_geq(premises_listen(path, why), 0, "%s", why);
	cr_assert_eq(connect_to(path), 0);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0666);
}

Test(premises, nothing_but_a_socket_is_removed)
{
	int fd = open(in_dir("s"), O_CREAT | O_WRONLY, 0600);

	close(fd);
	cr_assert_eq(premises_listen(path, why), -EEXIST);
	cr_assert(strstr(why, "is there and is no socket; remove it, or give another --socket"), "%s", why);
	cr_assert_eq(access(path, F_OK), 0);
	cr_assert_eq(symlink("/etc/passwd", in_dir("l")), 0);
	cr_assert_eq(premises_listen(path, why), -EEXIST);
}

Test(premises, a_path_too_long_is_refused)
{
	char longer[200];

	memset(longer, 'x', sizeof(longer) - 1);
	longer[0] = '/';
	longer[sizeof(longer) - 1] = 0;
	cr_assert_eq(premises_listen(longer, why), -ENAMETOOLONG);
	cr_assert(strstr(why, "107 bytes at most"));
}

static void config_at(const char *address, uint16_t port)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&config.hosts[0].address;

	config_single(&config);
	config.single = false;
	strcpy(config.file, "/etc/x.conf");
	strcpy(config.hosts[0].name, "a");
	snprintf(config.hosts[0].address_text, sizeof(config.hosts[0].address_text), "%s:%u", address, port);
	config.hosts[0].line = 12;
	config.hosts[0].address_len = sizeof(*in);
	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	cr_assert_eq(inet_pton(AF_INET, address, &in->sin_addr), 1);
}

Test(premises, a_port_in_use_is_told_with_its_line)
{
	struct sockaddr_in in;
	socklen_t len = sizeof(in);

	config_at("127.0.0.1", 0);
	int fd = premises_listen_tcp(&config, why);
	cr_assert_geq(fd, 0, "%s", why);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	config_at("127.0.0.1", ntohs(in.sin_port));
	cr_assert_eq(premises_listen_tcp(&config, why), -EADDRINUSE);
	cr_assert_eq(strncmp(why, "/etc/x.conf:12: host \"a\": 127.0.0.1:", 36), 0, "%s", why);
	cr_assert(strstr(why, "is in use by another program (ss -ltnp shows which): stop it, or choose another port"), "%s", why);
}

Test(premises, an_address_of_another_machine_is_told)
{
	config_at("192.0.2.1", 0);
	cr_assert_eq(premises_listen_tcp(&config, why), -EADDRNOTAVAIL);
	cr_assert(strstr(why, "is no address of this machine: correct it, or say with --host which host this is"), "%s", why);
}

/* ---- the founding ---- */

Test(premises, a_cluster_is_founded_once)
{
	char text[256] = "";
	int fd;

	config_at("127.0.0.1", 1);
	snprintf(config.state, sizeof(config.state), "%s/deep/state", dir);
	cr_assert_eq(premises_may_found(&config, false, why), 0, "only when asked for");
	cr_assert_eq(premises_may_found(&config, true, why), 1);
	cr_assert_eq(premises_mark_founded(&config, why), 0, "%s", why);
	cr_assert_eq(premises_may_found(&config, true, why), 0);
	cr_assert_lt(premises_mark_founded(&config, why), 0, "an old mark is never overwritten");
	fd = open(in_dir("deep/state/founded"), O_RDONLY);
	cr_assert_gt(read(fd, text, sizeof(text) - 1), 0);
	cr_assert_eq(strncmp(text, "cluster=single\nhost=a\ntime=", 27), 0, "%s", text);
}

Test(premises, an_observer_founds_nothing)
{
	config_at("127.0.0.1", 1);
	snprintf(config.state, sizeof(config.state), "%s", dir);
	config.hosts[0].role = HOST_OBSERVER;
	cr_assert_eq(premises_may_found(&config, true, why), 0);
}

Test(premises, a_cluster_of_one_always_founds_and_leaves_no_mark)
{
	config_single(&config);
	cr_assert_eq(premises_may_found(&config, false, why), 1);
	cr_assert_eq(premises_mark_founded(&config, why), 0);
}

Test(premises, a_state_directory_that_cannot_be_written_is_told)
{
	config_at("127.0.0.1", 1);
	close(open(in_dir("file"), O_CREAT | O_WRONLY, 0600));
	snprintf(config.state, sizeof(config.state), "%s/file/state", dir);
	cr_assert_lt(premises_mark_founded(&config, why), 0);
	cr_assert(strstr(why, "cannot be made"), "%s", why);
}
