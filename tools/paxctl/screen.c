/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "paxctl.h"

/* The other screen, no cursor, lines cut at the edge instead of folded; and back. */
#define ENTER "\033[?1049h\033[?25l\033[?7l"
#define LEAVE "\033[?7h\033[?25h\033[?1049l"

static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGWINCH };
static volatile sig_atomic_t arrived; /* the last of them */
static sigset_t waiting_mask;         /* while the program waits; else they are blocked */
static struct termios before;
static bool terminal, keys; /* standard output is one; and standard input, which was changed */

static void note(int signal)
{
	/* To be stopped or to show the page anew is less urgent than to end. */
	if (arrived != SIGINT && arrived != SIGTERM && arrived != SIGHUP)
		arrived = signal;
}

static void say(const char *text)
{
	fputs(text, stdout);
	fflush(stdout);
}

static void enter(void)
{
	struct termios quiet;

	if (!terminal)
		return;
	keys = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;
	if (keys) {
		quiet = before;
		quiet.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		quiet.c_cc[VMIN] = 0; /* a read does not wait */
		quiet.c_cc[VTIME] = 0;
		tcsetattr(STDIN_FILENO, TCSADRAIN, &quiet);
	}
	say(ENTER);
}

static void leave(void)
{
	if (!terminal)
		return;
	say(LEAVE);
	if (keys)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
}

bool screen_open(bool wanted)
{
	struct sigaction action = { .sa_handler = note };
	sigset_t blocked;

	sigemptyset(&blocked);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct sigaction was;

		/* What nohup or a shell has set to be ignored stays so. */
		if (sigaction(signals[i], NULL, &was) == 0 && was.sa_handler == SIG_IGN)
			continue;
		sigaddset(&blocked, signals[i]);
		sigaction(signals[i], &action, NULL);
	}
	sigprocmask(SIG_BLOCK, &blocked, &waiting_mask);
	terminal = wanted && isatty(STDOUT_FILENO);
	enter();
	return terminal;
}

void screen_close(void)
{
	leave();
	terminal = false;
}

unsigned screen_lines(void)
{
	struct winsize size;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row ? size.ws_row : 24;
}

void screen_show(const char *page, size_t len)
{
	say("\033[H");
	for (size_t i = 0; i < len; i++) {
		if (page[i] == '\n')
			fputs("\033[K", stdout); /* what the last page had behind it */
		putchar(page[i]);
	}
	say("\033[J");
}

/* Stops as the terminal wishes, and comes back. */
static void stop(void)
{
	leave();
	raise(SIGSTOP);
	enter();
}

static bool quit_was_pressed(void)
{
	char key;

	while (keys && read(STDIN_FILENO, &key, 1) == 1)
		if (key == 'q' || key == 'Q')
			return true;
	return false;
}

enum screen_event screen_wait(uint64_t until_ns)
{
	for (;;) {
		uint64_t now_ns = paxshm_deadline_ms(0), left_ns = until_ns > now_ns ? until_ns - now_ns : 0;
		const struct timespec timeout = { .tv_sec = (time_t)(left_ns / 1000000000), .tv_nsec = (long)(left_ns % 1000000000) };
		struct pollfd in = { .fd = keys ? STDIN_FILENO : -1, .events = POLLIN };
		int n = ppoll(&in, 1, &timeout, &waiting_mask), got = arrived;

		if (got == SIGINT)
			return SCREEN_QUIT;
		if (got == SIGTERM || got == SIGHUP)
			return SCREEN_KILLED;
		arrived = 0;
		if (got == SIGTSTP)
			stop();
		if (got && terminal)
			return SCREEN_RESIZE;
		if (n > 0 && quit_was_pressed())
			return SCREEN_QUIT;
		if (n > 0 && !(in.revents & POLLIN))
			return SCREEN_KILLED; /* the terminal is gone */
		if (n == 0)
			return SCREEN_TIME;
	}
}

void screen_die(void)
{
	int got = arrived ? arrived : SIGHUP;
	sigset_t set;

	signal(got, SIG_DFL);
	raise(got);
	sigemptyset(&set);
	sigaddset(&set, got);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}
