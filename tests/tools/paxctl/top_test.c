/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <pty.h>
#include <signal.h>
#include <termios.h>
#include <utmp.h>

#include "served.h"

static struct served served;
static struct plain_host *host;

static void setup(void)
{
	served_start(&served);
	host = served.host;
	plain_open(host);
}

static void teardown(void)
{
	served_stop(&served);
}

TestSuite(top, .init = setup, .fini = teardown, .timeout = 30);

static bool stop_using;

/* Takes and frees the lock a hundred times in each turn. */
static void *use(void *with)
{
	const struct timespec nap = { .tv_nsec = 1000000 };

	while (!atom_load_acquire(&stop_using)) {
		for (int i = 0; i < 100; i++)
			gate_free(plain_gate(host), 2, plain_take(host, 2, sys_coarse_ns()));
		nanosleep(&nap, NULL);
	}
	return with;
}

Test(top, one_sample_where_it_is_no_terminal)
{
	pthread_t user;

	cr_assert_eq(pthread_create(&user, NULL, use, NULL), 0);
	struct said *said = served_run(command_top, "-d", "0.3", NULL, NULL);

	atom_store_release(&stop_using, true);
	pthread_join(user, NULL);
	cr_expect_eq(said->status, 0);
	served_says(said, "host1 in plain: quorum, leader unknown; lease without end");
	const char *head = strstr(said->out, "  TAKEN/S HANDED/S LOST/S WAIT HOSTS      PID PROGRAM          KEY\n");
	cr_assert(head, "%s", said->out);
	cr_expect_null(strstr(strchr(head, '\n'), "TAKEN/S"), "one sample");
	cr_expect_null(strchr(said->out, '\033'), "plain text");
	double rate = atof(strchr(head, '\n'));
	cr_expect(rate > 1000 && rate < 1e6, "%g a second", rate);
}

Test(top, owner_waiters_and_hand_overs)
{
	plain_take(host, 2, 1);
	plain_join(host, 3, 1);
	plain_join(host, 4, 1);
	plain_ask(host, 3);
	served_says(served_run(command_top, "-d", "0.05", NULL, NULL), "      0.0      0.0    0.0    2     1      102 prog-2           k\n");
	cr_assert_eq(gate_close(&host->gates, PLAIN_GATE), GATE_WAITS);
	served_says(served_run(command_top, "-d", "0.05", NULL, NULL), "prog-2          <k\n");
}

Test(top, as_many_samples_as_asked_for)
{
	struct said *said = served_run(command_top, "-n", "3", "-d", "0.02");
	unsigned n = 0;

	for (const char *at = said->out; (at = strstr(at, "TAKEN/S")); at++)
		n++;
	cr_expect_eq(n, 3);
	served_says(said, "kept");
}

Test(top, json_is_one_document_a_sample)
{
	struct said *said = served_run(command_top, "--json", "-d", "0.02", NULL);

	cr_expect_eq(said->status, 0);
	served_says(said, "\"taken_per_s\": 0.0");
	served_says(said, "\"key\": \"k\"");
	cr_expect_eq(said->out[0], '{');
	said = served_run(command_top, "--json", "-d", "0.02", "-n2");
	served_says(said, "}\n{\n");
}

Test(top, no_quorum_is_the_exit_status)
{
	host->tables->quorum = 0;
	cr_expect_eq(served_run(command_top, "-d", "0.02", NULL, NULL)->status, EXIT_NO_QUORUM);
}

Test(top, usage)
{
	cr_expect_eq(served_run(command_top, "-n", "0", NULL, NULL)->status, EXIT_USAGE);
	cr_expect_eq(served_run(command_top, "-n", "-1", NULL, NULL)->status, EXIT_USAGE);
	cr_expect_eq(served_run(command_top, "-n", "x", NULL, NULL)->status, EXIT_USAGE);
	cr_expect_eq(served_run(command_top, "-d", "0", NULL, NULL)->status, EXIT_USAGE);
	cr_expect_eq(served_run(command_top, "x", NULL, NULL, NULL)->status, EXIT_USAGE);
}

/* ---- on a terminal ---- */

struct seat {
	int master, slave;
	pid_t child;
	char out[65536];
	size_t n;
	struct termios before;
};

static void sit_down(struct seat *seat)
{
	struct winsize size = { .ws_row = 24, .ws_col = 80 };

	cr_assert_eq(openpty(&seat->master, &seat->slave, NULL, NULL, &size), 0);
	cr_assert_eq(tcgetattr(seat->slave, &seat->before), 0);
	fflush(stdout);
	seat->child = fork();
	if (seat->child == 0) {
		char *argv[] = { "paxctl top", "-d", "0.05", NULL };
		struct common common = { 0 };

		login_tty(seat->slave);
		signal(SIGINT, SIG_DFL);
		int rc = command_top(3, argv, &common);
		fflush(stdout);
		_exit(rc);
	}
}

/* Reads until `text` has come after what was looked at before. */
static void seat_until(struct seat *seat, const char *text)
{
	size_t from = seat->n;

	while (!memmem(seat->out + from, seat->n - from, text, strlen(text))) {
		struct pollfd p = { .fd = seat->master, .events = POLLIN };

		cr_assert_eq(poll(&p, 1, 10000), 1, "\"%s\" does not come", text);
		ssize_t got = read(seat->master, seat->out + seat->n, sizeof(seat->out) - seat->n);
		cr_assert_gt(got, 0);
		seat->n += (size_t)got;
	}
}

static int stand_up(struct seat *seat)
{
	struct termios after;
	int status;

	seat_until(seat, "\033[?25h\033[?1049l");
	cr_assert_eq(waitpid(seat->child, &status, 0), seat->child);
	cr_assert_eq(tcgetattr(seat->slave, &after), 0);
	cr_expect_eq(after.c_lflag, seat->before.c_lflag, "the terminal is as it was");
	close(seat->master);
	close(seat->slave);
	return status;
}

Test(top, terminal_is_refreshed_in_place_and_given_back_on_q)
{
	static struct seat seat;

	sit_down(&seat);
	seat_until(&seat, "\033[?1049h");
	seat_until(&seat, "TAKEN/S");
	seat_until(&seat, "\033[H"); /* again from the top */
	seat_until(&seat, "TAKEN/S");
	cr_assert_eq(write(seat.master, "xq", 2), 2);

	int status = stand_up(&seat);

	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x", status);
}

Test(top, terminal_is_given_back_on_interrupt)
{
	static struct seat seat;

	sit_down(&seat);
	seat_until(&seat, "TAKEN/S");
	cr_assert_eq(write(seat.master, "\003", 1), 1); /* Ctrl-C */

	int status = stand_up(&seat);

	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x", status);
}

Test(top, terminal_is_given_back_before_a_signal_ends_it)
{
	static struct seat seat;

	sit_down(&seat);
	seat_until(&seat, "TAKEN/S");
	kill(seat.child, SIGTERM);

	int status = stand_up(&seat);

	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "%x", status);
}

Test(top, terminal_is_given_back_while_it_is_stopped)
{
	static struct seat seat;
	int status;

	sit_down(&seat);
	seat_until(&seat, "TAKEN/S");
	kill(seat.child, SIGTSTP);
	seat_until(&seat, "\033[?25h\033[?1049l");
	cr_assert_eq(waitpid(seat.child, &status, WUNTRACED), seat.child);
	cr_assert(WIFSTOPPED(status));
	kill(seat.child, SIGCONT);
	seat_until(&seat, "\033[?1049h");
	seat_until(&seat, "TAKEN/S");
	cr_assert_eq(write(seat.master, "q", 1), 1);
	cr_expect_eq(stand_up(&seat), 0);
}
