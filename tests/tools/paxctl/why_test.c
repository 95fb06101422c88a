/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>

#include "served.h"

static struct served served;
static struct plain_host *host;

static void setup(void)
{
	served_start(&served);
	host = served.host;
}

static void teardown(void)
{
	served_stop(&served);
}

TestSuite(why, .init = setup, .fini = teardown, .timeout = 30);

static struct said *why(const char *option)
{
	return served_run(command_why, "k", option, NULL, NULL);
}

Test(why, owner_waiters_and_where_to_look)
{
	uint64_t now_ns = sys_coarse_ns();
	char text[64];

	plain_open(host);
	served_be(&served, 2);
	plain_take(host, 2, now_ns - 75 * NS_PER_S);
	plain_join(host, 3, now_ns - 3 * NS_PER_S);
	plain_ask(host, 3);

	struct said *said = why(NULL);

	cr_expect_eq(said->status, 0);
	snprintf(text, sizeof(text), "k: owned by pid %d (prog-2) on host1 for 1 min 15 s\n", getpid());
	served_says(said, text);
	served_says(said, "session 2, token 501, exclusive\n");
	served_says(said, "waits    pid 103 (prog-3) for 3.");
	served_says(said, "waits    host host3\n");
	served_says(said, "given    to this host\n");
	served_says(said, "lease    of this host: without end");
	/* It sleeps in read(), or is on its way there. */
	snprintf(text, sizeof(text), "s: ps -o pid,stat,etime,args -p %d\n", getpid());
	served_says(said, text);
}

Test(why, stopped_owner_is_named_as_the_reason)
{
	pid_t child = fork();

	if (child == 0) {
		pause();
		_exit(0);
	}
	struct session_row *row = tables_session(host->tables, 2);

	row->pid = (uint32_t)child;
	cr_assert_eq(sys_start_time(child, &row->start), 0);
	plain_open(host);
	plain_take(host, 2, 1);
	kill(child, SIGSTOP);
	waitpid(child, NULL, WUNTRACED);
	served_says(why(NULL), "is stopped: kill -CONT");
	served_says(why("--json"), "\"owner_state\": \"T\"");
	row->start++; /* the pid is another's now */
	served_says(why(NULL), "has ended");
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

Test(why, another_hosts_owner_is_asked_for)
{
	plain_ask(host, 2);
	plain_ask(host, 1);
	served.holder = (struct ring_completion){ .holder_host = 2, .holder_pid = 55, .holder_session = 6, .holder_token = 77 };

	struct said *said = why(NULL);

	cr_expect_eq(said->status, 0);
	served_says(said, "k: owned by pid 55 on host2\n");
	served_says(said, "given    to host2\n");
	served_says(said, "waits    host host1, this one\n");
	served_says(said, "look at  on host2: ps -o pid,stat,etime,args -p 55\n");
}

Test(why, all_who_share_are_named)
{
	uint64_t now_ns = sys_coarse_ns();

	plain_ask_as(host, 1, LOCK_MODE_PR);
	plain_ask_as(host, 2, LOCK_MODE_PR);
	plain_claim(host, 2, CLAIM_SHOWN_SHARES, LOCK_MODE_PR, now_ns - 75 * NS_PER_S);
	plain_claim(host, 4, CLAIM_SHOWN_SHARES, LOCK_MODE_PR, now_ns - 65 * NS_PER_S);
	plain_ask(host, 3);
	plain_claim(host, 3, CLAIM_SHOWN_WAITS, LOCK_MODE_PR, now_ns - 61 * NS_PER_S);

	struct said *said = why(NULL);

	cr_expect_eq(said->status, 0);
	served_says(said, "k: shared, one owner is pid 102 (prog-2) on host1 for 1 min 15 s\n");
	served_says(said, "given    to 2 hosts, shared\n");
	served_says(said, "shares   pid 102 (prog-2) for 1 min 15 s\n  shares   pid 104 (prog-4) for 1 min 5 s\n  shares   host host2\n");
	served_says(said, "waits    pid 103 (prog-3) for 1 min 1 s, to share it\n  waits    host host3\n");
	said = why("--json");
	served_says(said, "\"shared_by\": [\n");
	served_says(said, "\"mode\": \"shared\"");
}

Test(why, silence_of_the_other_host_is_said)
{
	plain_ask(host, 2);
	served.holder = (struct ring_completion){ .result = -ENETUNREACH };

	struct said *said = why(NULL);

	cr_expect_eq(said->status, EXIT_NO_QUORUM);
	served_says(said, "owned by a process on host2 that is not known here");
	served_says(said, "host2 was asked: ");
}

Test(why, kept_lock_is_nobodys)
{
	plain_open(host);

	struct said *said = why(NULL);

	cr_expect_eq(said->status, EXIT_CONFLICT);
	served_says(said, "k: nobody owns it\n");
	served_says(said, "to this host, which keeps it for its next owner\n");
	served_says(said, "waits    nobody\n");
	cr_expect_null(strstr(said->out, "look at"));
}

Test(why, lock_that_another_host_wants_back_says_so)
{
	plain_open(host);
	plain_take(host, 2, 1);
	cr_assert_eq(gate_close(&host->gates, PLAIN_GATE), GATE_WAITS);
	served_says(why(NULL), "to this host, which is giving it back as soon as its owners are done\n");
	served_says(why("--json"), "\"recalled\": true");
}

Test(why, free_and_remembered_locks)
{
	struct lock_value value = { .flags = LOCK_DIED };

	cr_expect_eq(why(NULL)->status, EXIT_CONFLICT);
	served_says(why(NULL), "given    to no host\n");
	table_set(host->tables, NULL, table_insert(host->tables, NULL, "k", 1), &value);
	cr_expect_eq(why(NULL)->status, EXIT_CONFLICT);
	served_says(why(NULL), "the last owner died with it");
	served_says(why("--json"), "\"owner_died\": true");
}

/* A program may call itself anything. */
Test(why, name_of_a_program_harms_no_terminal)
{
	plain_open(host);
	strcpy(tables_session(host->tables, 2)->program, "a\033[2Jb");
	plain_take(host, 2, 1);
	served_says(why(NULL), "(a\\x1b[2Jb)");
}

Test(why, old_tables_are_said_to_be)
{
	plain_open(host);
	plain_take(host, 2, 1);
	host->tables->quorum = 0;

	struct said *said = why(NULL);

	cr_expect_eq(said->status, EXIT_NO_QUORUM);
	served_says(said, "no quorum: what is told here may be old");
}

Test(why, json_tells_the_same)
{
	plain_open(host);
	plain_take(host, 2, 1);
	plain_join(host, 3, 1);

	struct said *said = why("--json");

	cr_expect_eq(said->status, 0);
	served_says(said, "\"pid\": 102");
	served_says(said, "\"program\": \"prog-2\"");
	served_says(said, "\"since_ns\": \"1\"");
	served_says(said, "\"pid\": 103");
	served_says(said, "\"mode\": \"exclusive\"");
	served_says(said, "\"given_to\": \"host1\"");
}

Test(why, usage)
{
	cr_expect_eq(served_run(command_why, NULL, NULL, NULL, NULL)->status, EXIT_USAGE);
	cr_expect_eq(served_run(command_why, "a", "b", NULL, NULL)->status, EXIT_USAGE);
	cr_expect_eq(served_run(command_why, "", NULL, NULL, NULL)->status, EXIT_USAGE);
}
