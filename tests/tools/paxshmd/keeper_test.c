/* SPDX-License-Identifier: Apache-2.0 */
/* keeper: real keepers with real agents, started, killed and started again. */
#define _GNU_SOURCE
#include "keeper_rig.h"

TestSuite(keeper, .init = make_dir, .fini = remove_dir, .timeout = 30);

/* ---- beginning and end ---- */

Test(keeper, serves_and_stops_cleanly)
{
	struct keeper_process k = start_keeper(NULL);
	struct client c;
	struct stat st;

	pid_t agent = wait_agent(&k);
	int pidfd = (int)syscall(SYS_pidfd_open, agent, 0);
	cr_assert_eq(greet(&c), 0);
	cr_assert_str_eq(c.welcome.cluster, "single");
	cr_assert_eq(map_tables(&c)->agent_pid, (uint32_t)agent);
	cr_assert_eq(stop_keeper(&k), 0);
	cr_assert(wait_readable(pidfd), "the agent has ended too");
	cr_assert_eq(lstat(config.socket, &st), -1, "the socket file is gone");
}

/* What the service manager is told: up to and with the message that has `text`. */
static void wait_notice(int manager, const char *text)
{
	char notice[256];

	do {
		cr_assert(wait_readable(manager), "never told: %s", text);
		ssize_t n = recv(manager, notice, sizeof(notice) - 1, 0);
		cr_assert_gt(n, 0);
		notice[n] = '\0';
	} while (!strstr(notice, text));
}

Test(keeper, a_service_manager_is_told_when_it_serves_and_when_it_stops)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", dir);
	cr_assert_eq(bind(manager, (struct sockaddr *)&address, sizeof(address)), 0);
	setenv("NOTIFY_SOCKET", address.sun_path, 1);
	struct keeper_process k = start_keeper(NULL);
	wait_notice(manager, "READY=1");
	cr_assert(agent_answers(), "whoever waited for that is let in");
	cr_assert_eq(stop_keeper(&k), 0);
	wait_notice(manager, "STOPPING=1");
}

Test(keeper, tables_can_not_be_mapped_writable)
{
	struct keeper_process k = start_keeper(NULL);
	struct client c;

	wait_agent(&k);
	cr_assert_eq(greet(&c), 0);
	cr_assert_eq(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, c.fds[0], 0), MAP_FAILED);
	cr_assert_eq(stop_keeper(&k), 0);
}

Test(keeper, a_second_one_is_told_of_the_first)
{
	struct keeper_process k = start_keeper(NULL), second;
	char expect[200];

	wait_agent(&k);
	second = start_keeper(NULL);
	snprintf(expect, sizeof(expect), "another paxshmd (pid %d) serves %s: stop it first, or give --socket", (int)k.pid, config.socket);
	wait_log(&second, expect);
	cr_assert_eq(end_of(second.pid), 1);
	cr_assert(agent_answers(), "the first is not disturbed");
	cr_assert_eq(stop_keeper(&k), 0);
}

Test(keeper, a_hangup_signal_brings_an_agent_with_the_new_configuration)
{
	struct keeper_process k = start_keeper(NULL);
	struct config next = config;
	pid_t old = wait_agent(&k);

	next.engine = LOOP_EPOLL;
	tell_to_reread(k.pid, &next, "");
	wait_log(&k, "event=config.reloaded");
	wait_log(&k, "loop=epoll");
	cr_assert_neq(kill(old, 0), 0, "the old one has ended");
	cr_assert(agent_answers());
	cr_assert_eq(stop_keeper(&k), 0);
}

Test(keeper, what_cannot_change_or_be_read_changes_nothing)
{
	struct keeper_process k = start_keeper(NULL);
	struct config next = config;
	pid_t agent = wait_agent(&k);

	next.locks *= 2;
	tell_to_reread(k.pid, &next, "");
	wait_log(&k, "event=config.refused text=\"locks cannot change");
	tell_to_reread(k.pid, &config, "x.conf:3: it is wrong");
	wait_log(&k, "event=config.refused text=\"x.conf:3: it is wrong\"");
	cr_assert_eq(kill(agent, 0), 0, "the agent is the same");
	cr_assert(agent_answers());
	cr_assert_eq(stop_keeper(&k), 0);
}

Test(keeper, without_memory_it_says_how_much_and_what_to_lower)
{
#ifndef __SANITIZE_ADDRESS__
	struct rlimit space = { 256 << 20, 256 << 20 };
	struct keeper_process k = { 0 };
	int way[2];

	config.locks = 4 << 20;
	cr_assert_eq(pipe(way), 0);
	k.pid = fork();
	if (k.pid == 0) {
		dup2(way[1], STDERR_FILENO);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setrlimit(RLIMIT_AS, &space);
		_exit(keeper_run(&config, bootstrap, reread, NULL));
	}
	close(way[1]);
	k.log = way[0];
	wait_log(&k, "bytes of memory for the tables are not to be had: ");
	wait_log(&k, "lower locks");
	cr_assert_eq(end_of(k.pid), 1);
#endif
}

/* ---- deaths ---- */

Test(keeper, a_killed_agent_is_replaced_and_sessions_stay)
{
	struct keeper_process k = start_keeper(NULL);
	struct client c;

	pid_t first = wait_agent(&k);
	cr_assert_eq(greet(&c), 0);
	kill(first, SIGKILL);
	wait_log(&k, "event=agent.died ");
	wait_log(&k, "signal=Killed sessions=1\n");
	pid_t next = atoi(wait_log(&k, "event=agent.serves pid="));
	cr_assert_neq(next, first);
	wait_log(&k, "sessions=1\n");
	cr_assert_not(is_hung_up(c.socket), "the socket stands");
	cr_assert_eq(map_tables(&c)->agent_starts, 2u, "over the same memory");
	cr_assert_eq(map_tables(&c)->sessions, 1u);
	cr_assert_eq(send(c.socket, "r", 1, MSG_NOSIGNAL), 1);
	cr_assert(agent_answers());
	cr_assert_eq(stop_keeper(&k), 0);
}

static bool sessions_become(const struct tables *t, uint32_t n)
{
	/* Nothing tells of it but the word itself. */
	for (int ms = 0; ms < PATIENCE_MS; ms++) {
		if (__atomic_load_n(&t->sessions, __ATOMIC_ACQUIRE) == n)
			return true;
		usleep(1000);
	}
	return false;
}

Test(keeper, a_session_whose_process_dies_ends)
{
	struct keeper_process k = start_keeper(NULL);
	struct client c;
	int leash;

	wait_agent(&k);
	cr_assert_eq(greet(&c), 0);
	pid_t pid = client_process(&leash);
	cr_assert(sessions_become(map_tables(&c), 2));
	kill(pid, SIGKILL);
	end_of(pid);
	cr_assert(sessions_become(map_tables(&c), 1));
	cr_assert_eq(stop_keeper(&k), 0);
}

Test(keeper, a_process_that_dies_while_no_agent_runs_is_noticed_by_the_next)
{
	struct keeper_process k = start_keeper(NULL);
	struct client c;
	int leash;

	pid_t agent = wait_agent(&k);
	cr_assert_eq(greet(&c), 0);
	pid_t pid = client_process(&leash);
	cr_assert(sessions_become(map_tables(&c), 2));
	kill(k.pid, SIGSTOP); /* so that no next one is started yet */
	kill(agent, SIGKILL);
	kill(pid, SIGKILL);
	end_of(pid);
	kill(k.pid, SIGCONT);
	wait_agent(&k);
	cr_assert(sessions_become(map_tables(&c), 1));
	cr_assert_eq(stop_keeper(&k), 0);
}

Test(keeper, a_closed_socket_alone_ends_no_session)
{
	struct keeper_process k = start_keeper(NULL);
	struct client c, other;

	pid_t agent = wait_agent(&k);
	cr_assert_eq(greet(&c), 0);
	cr_assert_eq(greet(&other), 0);
	close(other.socket);
	cr_assert(agent_answers());
	cr_assert(sessions_become(map_tables(&c), 3));
	kill(agent, SIGKILL); /* nor for the next agent */
	wait_agent(&k);
	cr_assert(agent_answers());
	cr_assert(sessions_become(map_tables(&c), 4));
	cr_assert_eq(stop_keeper(&k), 0);
}

Test(keeper, an_adopted_process_keeps_a_session)
{
	struct keeper_process k = start_keeper(NULL);
	struct client c;
	int leash, way[2], go[2];
	char byte;

	pid_t agent = wait_agent(&k);
	cr_assert_eq(greet(&c), 0);
	pid_t adopted = client_process(&leash); /* has a session too; but it is the process that counts */
	cr_assert_eq(pipe(way), 0);
	cr_assert_eq(pipe(go), 0);
	pid_t parent = fork();
	if (parent == 0) {
		struct client mine;
		int pidfd = (int)syscall(SYS_pidfd_open, adopted, 0);

		byte = 1;
		if (greet(&mine) == 0 && sys_send_fds(mine.socket, "a", 1, &pidfd, 1, 0) == 0 && wait_readable(mine.socket) &&
		    recv(mine.socket, &byte, 1, 0) != 1)
			byte = 1;
		(void)!write(way[1], &byte, 1);
		(void)!read(go[0], &byte, 1);
		_exit(0);
	}
	cr_assert_eq(read(way[0], &byte, 1), 1);
	cr_assert_eq(byte, 0, "the adoption was answered with %d", byte);
	cr_assert(sessions_become(map_tables(&c), 3));
	kill(parent, SIGKILL);
	end_of(parent);
	cr_assert(agent_answers());
	cr_assert(sessions_become(map_tables(&c), 4), "this one's four");
	kill(agent, SIGKILL); /* the next agent knows of the adopted one too */
	wait_agent(&k);
	cr_assert(agent_answers());
	cr_assert(sessions_become(map_tables(&c), 5));
	let_go(adopted, leash);
	cr_assert(sessions_become(map_tables(&c), 3));
	cr_assert_eq(stop_keeper(&k), 0);
}

Test(keeper, takes_its_agent_along_when_it_is_killed)
{
	struct keeper_process k = start_keeper(NULL), next;

	pid_t agent = wait_agent(&k);
	int pidfd = (int)syscall(SYS_pidfd_open, agent, 0);
	kill(agent, SIGSTOP); /* even then */
	kill(k.pid, SIGKILL);
	end_of(k.pid);
	cr_assert(wait_readable(pidfd));
	next = start_keeper(NULL); /* over the stale socket and lock file */
	wait_agent(&next);
	cr_assert(agent_answers());
	cr_assert_eq(stop_keeper(&next), 0);
}

Test(keeper, a_new_life_waits_for_the_clients_of_the_old_one)
{
	struct keeper_process k = start_keeper(NULL), next;
	char expect[64];
	int leash;

	pid_t agent = wait_agent(&k);
	pid_t client = client_process(&leash);
	kill(k.pid, SIGKILL);
	end_of(k.pid);
	/* Its agent ends because it is gone, and answers the door until then. */
	while (kill(agent, 0) == 0)
		usleep(1000);
	next = start_keeper(NULL);
	snprintf(expect, sizeof(expect), "event=life.waiting processes=1 pids=%d ", (int)client);
	wait_log(&next, expect);
	cr_assert_eq(dial(), -1, "nobody serves meanwhile");
	let_go(client, leash);
	wait_agent(&next);
	cr_assert(agent_answers());
	cr_assert_eq(stop_keeper(&next), 0);
}

/* A cluster of one voter, on a port that was free a moment ago. */
static void be_a_cluster(void)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&config.hosts[0].address;
	socklen_t len = sizeof(*in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	cr_assert_eq(bind(fd, (struct sockaddr *)in, len), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)in, &len), 0);
	close(fd);
	config.single = false;
	config.hosts[0].address_len = len;
	snprintf(config.state, sizeof(config.state), "%s/state", dir);
}

/* In a cluster their lease ends what they own: the others need this host's agent, and so do new programs. */
Test(keeper, in_a_cluster_a_new_life_leaves_the_clients_of_the_old_one_to_their_lease)
{
	struct keeper_process k, next;
	int leash;

	be_a_cluster();
	bootstrap = true;
	k = start_keeper(NULL);
	wait_agent(&k);
	pid_t client = client_process(&leash);
	cr_assert_eq(stop_keeper(&k), 0);
	bootstrap = false;
	next = start_keeper(NULL);
	wait_log(&next, "event=life.waiting processes=1 ");
	wait_log(&next, "this host serves again when their lease has ended");
	wait_agent(&next);
	cr_assert(agent_answers());
	cr_assert_eq(stop_keeper(&next), 0);
	let_go(client, leash);
}

Test(keeper, who_founds_waits_for_the_clients_of_the_old_life_in_a_cluster_too)
{
	struct keeper_process k, next;
	char mark[sizeof(config.state) + 16];
	int leash;

	be_a_cluster();
	bootstrap = true;
	k = start_keeper(NULL);
	wait_agent(&k);
	pid_t client = client_process(&leash);
	cr_assert_eq(stop_keeper(&k), 0);
	snprintf(mark, sizeof(mark), "%s/founded", config.state);
	cr_assert_eq(unlink(mark), 0);
	next = start_keeper(NULL);
	wait_log(&next, "event=life.waiting processes=1 ");
	wait_log(&next, "they must end first");
	cr_assert_eq(dial(), -1, "nobody serves meanwhile");
	let_go(client, leash);
	wait_agent(&next);
	cr_assert_eq(stop_keeper(&next), 0);
}

/* Nobody waits for a process that is just ending to be gone, or says that it is there. */
Test(keeper, without_clients_a_new_life_begins_in_silence)
{
	struct keeper_process k, next;

	be_a_cluster();
	bootstrap = true;
	k = start_keeper(NULL);
	wait_agent(&k);
	cr_assert_eq(stop_keeper(&k), 0);
	bootstrap = false;
	next = start_keeper(NULL);
	wait_agent(&next);
	cr_assert_null(strstr(next.text, "life.waiting"), "%s", next.text);
	cr_assert_eq(stop_keeper(&next), 0);
}

Test(keeper, can_be_stopped_while_it_waits)
{
	struct keeper_process k = start_keeper(NULL), next;
	int leash;

	wait_agent(&k);
	pid_t client = client_process(&leash);
	cr_assert_eq(stop_keeper(&k), 0);
	next = start_keeper(NULL);
	wait_log(&next, "event=life.waiting");
	cr_assert_eq(stop_keeper(&next), 0);
	let_go(client, leash);
}

Test(keeper, five_deaths_begin_a_new_life)
{
	struct keeper_process k = start_keeper(NULL);
	int leash;

	pid_t agent = wait_agent(&k);
	pid_t client = client_process(&leash);
	for (int i = 0; i < 5; i++) {
		kill(agent, SIGKILL);
		wait_log(&k, "event=agent.died");
		if (i < 4)
			agent = wait_agent(&k);
	}
	wait_log(&k, "event=life.ended sessions=1 ");
	wait_log(&k, "event=life.waiting processes=1 ");
	let_go(client, leash);
	wait_agent(&k);
	struct client c;
	cr_assert_eq(greet(&c), 0);
	cr_assert_eq(map_tables(&c)->agent_starts, 1u, "over new memory");
	cr_assert_eq(map_tables(&c)->sessions, 1u);
	cr_assert_eq(stop_keeper(&k), 0);
}

/* ---- visitors ---- */

Test(keeper, who_says_nothing_is_shown_out)
{
	struct keeper_process k = start_keeper(NULL);

	wait_agent(&k);
	int silent = dial();
	cr_assert_geq(silent, 0);
	cr_assert(agent_answers(), "nobody waits for him");
	cr_assert(wait_readable(silent));
	cr_assert(is_hung_up(silent));
	wait_log(&k, "it connected and said nothing");
	cr_assert_eq(stop_keeper(&k), 0);
}

Test(keeper, strangers_are_bounded)
{
	struct keeper_process k = start_keeper(NULL);
	int fd[DOORMAN_STRANGERS + 1];

	wait_agent(&k);
	for (unsigned i = 0; i <= DOORMAN_STRANGERS; i++)
		fd[i] = dial();
	cr_assert(wait_readable(fd[DOORMAN_STRANGERS]));
	wait_log(&k, "have not greeted yet");
	cr_assert(wait_readable(fd[0]), "they go when their time is over");
	cr_assert(agent_answers());
	cr_assert_eq(stop_keeper(&k), 0);
}

Test(keeper, nonsense_is_answered_and_closed)
{
	struct keeper_process k = start_keeper(NULL);
	struct welcome w;
	unsigned n;
	int in[4];

	wait_agent(&k);
	int fd = dial();
	cr_assert_eq(send(fd, "hello", 5, 0), 5);
	cr_assert(wait_readable(fd));
	cr_assert_eq(sys_recv_fds(fd, &w, sizeof(w), in, 4, &n, 0), (ssize_t)sizeof(w));
	cr_assert_eq(w.result, -EPROTO);
	cr_assert(wait_readable(fd));
	cr_assert(is_hung_up(fd));
	wait_log(&k, "event=session.refused peer=uid:");
	cr_assert_eq(stop_keeper(&k), 0);
}

Test(keeper, nonsense_on_a_sessions_socket_closes_it_alone)
{
	struct keeper_process k = start_keeper(NULL);
	struct client c, other;

	wait_agent(&k);
	cr_assert_eq(greet(&c), 0);
	cr_assert_eq(greet(&other), 0);
	cr_assert_eq(send(c.socket, "what?", 5, 0), 5);
	cr_assert(wait_readable(c.socket));
	cr_assert(is_hung_up(c.socket));
	wait_log(&k, "nonsense on its socket");
	cr_assert_not(is_hung_up(other.socket));
	cr_assert_eq(map_tables(&other)->sessions, 2u, "its locks stay until its process ends");
	cr_assert_eq(stop_keeper(&k), 0);
}

Test(keeper, the_last_session_is_told_of_the_limit)
{
	struct keeper_process k;
	struct client c;

	config.sessions = 2;
	k = start_keeper(NULL);
	wait_agent(&k);
	cr_assert_eq(greet(&c), 0);
	cr_assert_eq(greet(&c), 0);
	cr_assert_eq(greet(&c), -ENOSPC);
	cr_assert_str_eq(c.welcome.reason, "all 2 sessions of this host are in use: end some, or raise \"sessions\" in the agent's configuration");
	cr_assert_eq(stop_keeper(&k), 0);
}

Test(keeper, without_descriptors_it_says_so_and_goes_on)
{
	struct rlimit files = { 80, 80 };
	struct keeper_process k;
	struct client c, first;
	int rc;

	config.sessions = 64;
	k = start_keeper(&files);
	pid_t agent = wait_agent(&k);
	cr_assert_eq(greet(&first), 0);
	for (unsigned i = 0; i < 64 && !(rc = greet(&c)); i++)
		;
	cr_assert_eq(rc, -EMFILE, "answered %d", rc);
	cr_assert(strstr(c.welcome.reason, "descriptor"), "%s", c.welcome.reason);
	/* The last ones go to visitors who say nothing: now it cannot even accept, but for its reserve. */
	for (unsigned i = 0; i < 4; i++)
		dial();
	cr_assert_eq(greet(&c), -EMFILE);
	cr_assert_not(is_hung_up(first.socket));
	cr_assert_eq(map_tables(&first)->agent_pid, (uint32_t)agent, "it is the same agent still");
	cr_assert_eq(send(first.socket, "r", 1, MSG_NOSIGNAL), 1);
	cr_assert_eq(stop_keeper(&k), 0);
}
