/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../lib/base.h"

#define LINE_BYTES 1024
#define QUOTES 8

static const char *log_part = "paxshmd";
static bool log_journal;

void log_begin(const char *part)
{
	log_part = part;
	log_journal = getenv("JOURNAL_STREAM") != NULL;
}

static const char *level_word(int level)
{
	static const char *const words[] = { "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug" };

	return words[level < 0 || level > 7 ? 3 : level];
}

/* "time=2026-11-22T22:58:02.123Z "; "" when the clock cannot be told. */
static void stamp(char *ret, size_t size)
{
	struct timespec now;
	struct tm utc;
	size_t len = 0;

	if (clock_gettime(CLOCK_REALTIME, &now) == 0 && gmtime_r(&now.tv_sec, &utc))
		len = strftime(ret, size, "time=%Y-%m-%dT%H:%M:%S", &utc);
	if (len)
		snprintf(ret + len, size - len, ".%03ldZ ", now.tv_nsec / 1000000);
	else
		*ret = '\0';
}

static size_t begin_line(char *line, size_t size, int level)
{
	char time[48];

	if (log_journal) /* it has its own time, and shows that */
		return (size_t)snprintf(line, size, "<%d>part=%s ", level, log_part);
	stamp(time, sizeof(time));
	return (size_t)snprintf(line, size, "%slevel=%s part=%s ", time, level_word(level), log_part);
}

static void write_line(int level, const char *format, va_list arguments)
{
	char line[LINE_BYTES];
	size_t len = begin_line(line, sizeof(line), level);
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
	int n = vsnprintf(line + len, sizeof(line) - len - 1, format, arguments);

	len = MIN(len + (n > 0 ? (size_t)n : 0), sizeof(line) - 2);
	/* One event is one line, whatever the text holds. */
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 127)
			line[i] = '?';
	line[len++] = '\n';
	/* Whole or not at all: a log that nobody reads must not stop the agent. */
	if (poll(&p, 1, 0) != 1 || write(STDERR_FILENO, line, len) < 0)
		return;
}

void log_line(int level, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_line(level, format, arguments);
	va_end(arguments);
}

static bool is_plain(const char *value)
{
	if (!*value)
		return false;
	for (; *value; value++)
		if ((unsigned char)*value <= ' ' || *value == '"' || *value == '\\' || *value == '=' || *value == 127)
			return false;
	return true;
}

const char *log_quote(const char *value)
{
	static char ring[QUOTES][LINE_BYTES / 2];
	static unsigned turn;
	char *out = ring[turn++ % QUOTES];
	size_t at = 0, cap = sizeof(ring[0]) - 6; /* room for one escape, the last quote and NUL */

	if (!value)
		value = "";
	if (is_plain(value)) {
		snprintf(out, sizeof(ring[0]), "%s", value);
		return out;
	}
	out[at++] = '"';
	for (; *value && at < cap; value++) {
		unsigned char c = (unsigned char)*value;

		if (c == '"' || c == '\\') {
			out[at++] = '\\';
			out[at++] = (char)c;
		} else if (c < ' ' || c == 127) {
			at += (size_t)snprintf(out + at, 5, "\\x%02x", c);
		} else {
			out[at++] = (char)c;
		}
	}
	out[at++] = '"';
	out[at] = 0;
	return out;
}

bool log_allows(struct log_limits *limits, const char *peer, uint64_t now_ns, unsigned *ret_suppressed)
{
	uint64_t name = hash_bytes(1, peer, strlen(peer)) | 1;
	struct log_limit *place = NULL;

	for (unsigned i = 0; i < LOG_PEERS && !place; i++)
		if (limits->peer[i].name == name)
			place = &limits->peer[i];
	if (!place) {
		place = &limits->peer[0];
		for (unsigned i = 1; i < LOG_PEERS && place->name; i++)
			if (!limits->peer[i].name || limits->peer[i].since_ns < place->since_ns)
				place = &limits->peer[i];
		*place = (struct log_limit){ .name = name, .since_ns = now_ns };
	}

	*ret_suppressed = 0;
	if (now_ns - place->since_ns >= 60 * NS_PER_S) {
		*ret_suppressed = place->suppressed;
		*place = (struct log_limit){ .name = name, .since_ns = now_ns };
	}
	if (place->lines >= LOG_LINES_A_MINUTE) {
		place->suppressed++;
		return false;
	}
	place->lines++;
	return true;
}

void log_peer(const char *peer, uint64_t now_ns, int level, const char *format, ...)
{
	static struct log_limits limits;
	unsigned suppressed;
	va_list arguments;

	if (!log_allows(&limits, peer, now_ns, &suppressed))
		return;
	if (suppressed)
		log_line(level, "event=log.suppressed peer=%s suppressed=%u", log_quote(peer), suppressed);
	va_start(arguments, format);
	write_line(level, format, arguments);
	va_end(arguments);
}
