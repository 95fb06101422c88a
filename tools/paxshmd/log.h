/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log: one line on standard error for each thing a person may have to act on, written by one write().
 *
 *	<4>part=agent event=session.refused peer=uid:1000 reason="other cluster"      under systemd
 *	time=2026-11-22T22:58:02.123Z level=warning part=agent event=…                elsewhere, in UTC
 *
 * Everything is key=value; a value with blanks, quotes or control characters is quoted (log_quote),
 * so that no peer can write a line of its own. Lines that a peer can provoke go through log_peer:
 * ten a minute for each peer, then one line that says how many were suppressed.
 *
 * Who may enter: keeper, reactor, doorman, main. One thread. The pure agent hands its lines out as actions.
 */
#ifndef PAXSHM_TOOLS_PAXSHMD_LOG_H
#define PAXSHM_TOOLS_PAXSHMD_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <syslog.h> /* LOG_ERR, … */

/* Which process writes ("keeper", "agent"; borrowed). Looks at JOURNAL_STREAM once. */
void log_begin(const char *part);

/* `format` makes the rest of the line: event=… and more pairs. */
void log_line(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for a line that `peer` caused; `now_ns` CLOCK_MONOTONIC. */
void log_peer(const char *peer, uint64_t now_ns, int level, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* The value as it stands behind "key=": as it is, or quoted and escaped. Valid for the next seven calls. */
const char *log_quote(const char *value);

/* ---- the counting behind log_peer ---- */

#define LOG_LINES_A_MINUTE 10u
#define LOG_PEERS 64u /* remembered at once; the one that was quiet longest gives its place */

struct log_limits {
	struct log_limit {
		uint64_t name;     /* hash of the peer; 0: a free place */
		uint64_t since_ns; /* start of its minute */
		unsigned lines, suppressed;
	} peer[LOG_PEERS];
};

/* May another line of this peer be written? *ret_suppressed: lines that were not, to be told now
 * (not 0 only at the first line of a new minute). */
bool log_allows(struct log_limits *limits, const char *peer, uint64_t now_ns, unsigned *ret_suppressed);

#endif
