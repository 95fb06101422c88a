/* SPDX-License-Identifier: Apache-2.0 */
/*
 * screen: a page of text that is shown in place on a terminal until it is to be another, or the reader has seen enough. The
 * terminal is given back as it was: on q, on SIGINT, SIGTERM, SIGHUP, and while the program is stopped.
 *
 * Who may enter: top.
 */
#ifndef PAXSHM_TOOLS_PAXCTL_SCREEN_H
#define PAXSHM_TOOLS_PAXCTL_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Takes the signals, and the terminal when it is wanted and standard output is one: true then, and for screen_show(). */
bool screen_open(bool wanted);
void screen_close(void);

/* Lines that fit. */
unsigned screen_lines(void);

/* Shows a page instead of the last. */
void screen_show(const char *page, size_t len);

enum screen_event {
	SCREEN_TIME,   /* `until_ns` has come (CLOCK_MONOTONIC) */
	SCREEN_RESIZE, /* or the program was stopped and goes on: show the page again */
	SCREEN_QUIT,   /* q, SIGINT */
	SCREEN_KILLED, /* SIGTERM, SIGHUP: screen_close(), then screen_die() */
};

enum screen_event screen_wait(uint64_t until_ns);

/* Ends the program by the signal that it was sent. */
void screen_die(void);

#endif
