/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../shm/sys.h"
#include "fake_agent.h"

static struct fake fake;

static void start(void)
{
	unsetenv("PAXSHM_SOCKET");
	unsetenv("PAXSHM_CLUSTER");
	unsetenv("PAXSHM_SPACE");
	unsetenv("XDG_RUNTIME_DIR");
	fake_start(&fake);
}

static void stop(void)
{
	fake_stop(&fake);
}

TestSuite(open, .init = start, .fini = stop, .timeout = 30);

#define UNTOUCHED ((paxshm_session *)&fake)

/* Opens with the fake's socket; what came, and that a failure touched nothing. */
static int open_with(struct paxshm_options *options)
{
	paxshm_session *s = UNTOUCHED;
	int rc = paxshm_open(&s, options);

	if (rc == 0) {
		cr_assert_neq(s, UNTOUCHED);
		cr_assert_eq(paxshm_close(s), 0);
	} else {
		cr_assert_eq(s, UNTOUCHED);
		cr_assert_str_not_empty(paxshm_open_reason());
	}
	return rc;
}

static struct paxshm_options options_here(void)
{
	struct paxshm_options options = PAXSHM_INIT(options);

	options.socket = fake.path;
	options.agent_timeout_ms = 10000;
	return options;
}

static void welcome_as(enum fake_welcome how)
{
	fake_lock(&fake);
	fake.welcome = how;
	fake_unlock(&fake);
}

static void assert_reason(const char *part)
{
	cr_assert(strstr(paxshm_open_reason(), part), "\"%s\" does not say \"%s\"", paxshm_open_reason(), part);
}

Test(open, success_leaves_no_reason)
{
	struct paxshm_options options = options_here();

	cr_assert_eq(open_with(&options), 0);
	cr_assert_str_empty(paxshm_open_reason());
}

Test(open, greeting_says_version_namespaces_cluster_and_space)
{
	struct paxshm_options options = options_here();

	options.cluster = "fake";
	cr_assert_eq(open_with(&options), 0);
	fake_lock(&fake);
	cr_assert_eq(fake.greeting.magic, GREETING_MAGIC);
	cr_assert_eq(fake.greeting.version, LAYOUT_VERSION);
	cr_assert_eq(fake.greeting.pid_ns, sys_namespace(0, "pid"));
	cr_assert_eq(fake.greeting.time_ns, sys_namespace(0, "time"));
	cr_assert_str_eq(fake.greeting.cluster, "fake");
	cr_assert_str_eq(fake.greeting.space, "default");
	fake_unlock(&fake);
}

Test(open, no_agent_is_connection_refused_and_names_the_path)
{
	struct paxshm_options options = options_here();

	options.socket = "/tmp/paxshm-nobody-is-here/agent.sock";
	cr_assert_eq(open_with(&options), -ECONNREFUSED);
	assert_reason(options.socket);
}

Test(open, stale_socket_file_is_no_agent)
{
	struct paxshm_options options = options_here();
	int fd = open("/tmp/paxshm-open-test-file", O_CREAT | O_RDWR, 0600);

	options.socket = "/tmp/paxshm-open-test-file";
	int rc = open_with(&options);
	close(fd);
	unlink(options.socket);
	cr_assert_eq(rc, -ECONNREFUSED);
}

Test(open, socket_that_does_not_let_this_user_in_is_an_error_of_access)
{
	struct paxshm_options options = options_here();

	cr_assert_eq(chmod(fake.path, 0), 0);
	cr_assert(getuid() != 0 || seteuid(65534) == 0);
	int rc = open_with(&options);
	cr_assert(getuid() != 0 || seteuid(0) == 0);
	cr_assert_eq(rc, -EACCES);
	assert_reason(fake.path);
}

Test(open, environment_names_the_space)
{
	struct paxshm_options options = options_here();

	setenv("PAXSHM_SPACE", "attic", 1);
	cr_assert_eq(open_with(&options), 0);
	cr_assert_str_eq(FAKE_SAW(greeting).space, "attic");
	options.space = "cellar";
	cr_assert_eq(open_with(&options), 0);
	cr_assert_str_eq(FAKE_SAW(greeting).space, "cellar");
}

Test(open, environment_names_the_socket)
{
	setenv("PAXSHM_SOCKET", fake.path, 1);
	cr_assert_eq(open_with(NULL), 0);
}

Test(open, option_comes_before_the_environment)
{
	struct paxshm_options options = options_here();

	setenv("PAXSHM_SOCKET", "/tmp/paxshm-nobody-is-here", 1);
	cr_assert_eq(open_with(&options), 0);
}

Test(open, named_socket_has_no_second_choice)
{
	setenv("XDG_RUNTIME_DIR", fake.dir, 1);
	setenv("PAXSHM_SOCKET", "/tmp/paxshm-nobody-is-here", 1);
	cr_assert_eq(open_with(NULL), -ECONNREFUSED);
}

Test(open, runtime_directory_is_the_last_place)
{
	char dir[128], path[256];

	if (access("/run/paxshm/agent.sock", F_OK) == 0)
		cr_skip_test("an agent of this machine comes first");
	snprintf(dir, sizeof(dir), "%s/paxshm", fake.dir);
	snprintf(path, sizeof(path), "%s/agent.sock", dir);
	cr_assert_eq(mkdir(dir, 0700), 0);
	cr_assert_eq(symlink(fake.path, path), 0);
	setenv("XDG_RUNTIME_DIR", fake.dir, 1);
	int rc = open_with(NULL);
	unlink(path);
	rmdir(dir);
	cr_assert_eq(rc, 0);
}

Test(open, without_any_both_places_are_named)
{
	if (access("/run/paxshm/agent.sock", F_OK) == 0)
		cr_skip_test("an agent of this machine is there");
	setenv("XDG_RUNTIME_DIR", "/tmp/paxshm-nobody", 1);
	cr_assert_eq(open_with(NULL), -ECONNREFUSED);
	assert_reason("/run/paxshm/agent.sock");
	assert_reason("/tmp/paxshm-nobody/paxshm/agent.sock");
}

Test(open, another_clusters_agent_is_refused_naming_both)
{
	struct paxshm_options options = options_here();

	options.cluster = "other";
	cr_assert_eq(open_with(&options), -EINVAL);
	assert_reason("\"fake\"");
	assert_reason("\"other\"");
	options.cluster = NULL;
	setenv("PAXSHM_CLUSTER", "third", 1);
	cr_assert_eq(open_with(&options), -EINVAL);
	assert_reason("\"third\"");
}

struct bad_welcome {
	enum fake_welcome how;
	int rc;
	char reason[32];
};

ParameterizedTestParameters(open, bad_welcome_is_refused_and_leaks_nothing)
{
	static struct bad_welcome all[] = {
		{ FAKE_REFUSE, -EPERM, "not on a Sunday" },
		{ FAKE_OTHER_LAYOUT, -EPROTO, "shared memory has layout" },
		{ FAKE_NO_MAGIC, -EPROTO, "no paxshm agent" },
		{ FAKE_SHORT, -EPROTO, "no paxshm agent" },
		{ FAKE_POSITIVE, -EPROTO, "makes no sense" },
		{ FAKE_TWO_FDS, -EPROTO, "makes no sense" },
		{ FAKE_NO_SEALS, -EPROTO, "session segment" },
		{ FAKE_BAD_TABLES, -EPROTO, "does not fit" },
		{ FAKE_BAD_ARENA, -EPROTO, "does not fit" },
		{ FAKE_BAD_RINGS, -EPROTO, "does not fit" },
		{ FAKE_OTHER_SLOT, -EPROTO, "does not fit" },
		{ FAKE_HANG_UP, -ENOTCONN, "did not answer within" },
		{ FAKE_SILENT, -ENOTCONN, "did not answer within" },
	};

	return cr_make_param_array(struct bad_welcome, all, sizeof(all) / sizeof(all[0]));
}

ParameterizedTest(struct bad_welcome *bad, open, bad_welcome_is_refused_and_leaks_nothing)
{
	struct paxshm_options options = options_here();
	unsigned before, after;

	welcome_as(bad->how);
	fake_lock(&fake); /* the fake's own descriptors come and go */
	before = fake_count_fds();
	fake_unlock(&fake);
	if (bad->rc == -ENOTCONN)
		options.agent_timeout_ms = 50;
	int rc = open_with(&options);
	cr_expect_eq(rc, bad->rc, "%d", rc);
	assert_reason(bad->reason);
	for (int tries = 0; tries < 2000; tries++) { /* the agent closes its end when it gets to it */
		fake_lock(&fake);
		after = fake_count_fds() - (bad->how == FAKE_SILENT ? 1 : 0); /* a segment: never dropped */
		fake_unlock(&fake);
		if (after == before)
			break;
		usleep(1000);
	}
	cr_expect_eq(after, before);
}

Test(open, agent_that_is_being_restarted_is_waited_for)
{
	struct paxshm_options options = options_here();

	fake_lock(&fake);
	fake.hang_ups = 3;
	fake_unlock(&fake);
	cr_assert_eq(open_with(&options), 0);
}

Test(open, bad_arguments)
{
	struct paxshm_options options = options_here();
	char name[65], path[200];

	memset(name, 'x', 64);
	name[64] = 0;
	memset(path, 'x', 199);
	path[199] = 0;
	cr_assert_eq(paxshm_open(NULL, &options), -EINVAL);
	options.size = 0;
	cr_assert_eq(open_with(&options), -EINVAL);
	options.size = sizeof(options) - 1;
	cr_assert_eq(open_with(&options), -EINVAL);
	options.size = sizeof(options);
	options.flags = 1u << 31;
	cr_assert_eq(open_with(&options), -EINVAL);
	options.flags = 0;
	options.cluster = name;
	cr_assert_eq(open_with(&options), -ENAMETOOLONG);
	options.cluster = NULL;
	options.socket = path;
	cr_assert_eq(open_with(&options), -ENAMETOOLONG);
}

/* Whether somebody holds the life byte. */
static bool lives(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = 1 };
	int fd = open(fake.life_path, O_RDWR | O_CLOEXEC);

	cr_assert_eq(fcntl(fd, F_OFD_GETLK, &lock), 0);
	close(fd);
	return lock.l_type != F_UNLCK;
}

Test(open, process_counts_as_living_until_it_closes)
{
	paxshm_session *s = fake_open(&fake, 0);

	cr_assert(lives());
	cr_assert_eq(paxshm_life_fd(s), -EINVAL);
	paxshm_close(s);
	cr_assert(!lives());
}

Test(open, forked_child_does_not_keep_its_parent_alive)
{
	paxshm_session *s = fake_open(&fake, 0);
	int ready[2];
	char byte;

	cr_assert_eq(pipe(ready), 0);
	pid_t child = fork();
	if (child == 0) {
		close(ready[1]);
		_exit(read(ready[0], &byte, 1) < 0); /* until the parent ends it */
	}
	paxshm_close(s);
	bool lived = lives();
	close(ready[1]);
	waitpid(child, NULL, 0);
	cr_assert(!lived);
}

Test(open, life_descriptor_can_be_handed_down)
{
	struct paxshm_options options = options_here();
	paxshm_session *s;

	options.flags = PAXSHM_KEEP_LIFE;
	cr_assert_eq(paxshm_open(&s, &options), 0);
	int heir = dup(paxshm_life_fd(s));
	cr_assert_geq(heir, 0);
	paxshm_close(s);
	cr_assert(lives());
	close(heir);
	cr_assert(!lives());
}
