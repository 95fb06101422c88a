/* SPDX-License-Identifier: Apache-2.0 */
/* log: the form of a line, quoting, and the limit for each peer. */
#define _GNU_SOURCE
#include "../../../tools/paxshmd/log.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../../lib/base.h"

static int ends[2];

/* What is written to standard error from here on is read back by `written`. */
static void catch_lines(void)
{
	cr_assert_eq(pipe(ends), 0);
	fflush(stderr);
	dup2(ends[1], STDERR_FILENO);
}

static const char *written(void)
{
	static char text[4096];
	ssize_t n = read(ends[0], text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = 0;
	return text;
}

/* The same without the times, which must be there. */
static const char *written_at_some_time(void)
{
	static const char form[] = "time=dddd-dd-ddTdd:dd:dd.dddZ ";
	static char text[4096];
	const char *from = written();
	size_t len = 0;

	while (*from) {
		for (const char *f = form; *f; f++, from++)
			cr_assert(*f == 'd' && f > form + 4 ? isdigit((unsigned char)*from) : *f == *from, "at '%s'", from);
		do
			text[len++] = *from;
		while (*from++ != '\n');
	}
	text[len] = 0;
	return text;
}

Test(log, a_line_is_pairs)
{
	unsetenv("JOURNAL_STREAM");
	catch_lines();
	log_begin("agent");
	log_line(LOG_WARNING, "event=test n=%d name=%s", 7, log_quote("two words"));
	cr_assert_str_eq(written_at_some_time(), "level=warning part=agent event=test n=7 name=\"two words\"\n");
}

Test(log, the_journal_gets_a_priority)
{
	setenv("JOURNAL_STREAM", "8:1", 1);
	catch_lines();
	log_begin("keeper");
	log_line(LOG_ERR, "event=test");
	cr_assert_str_eq(written(), "<3>part=keeper event=test\n");
}

Test(log, values_are_quoted_only_when_they_must_be)
{
	cr_assert_str_eq(log_quote("plain:1/x"), "plain:1/x");
	cr_assert_str_eq(log_quote(""), "\"\"");
	cr_assert_str_eq(log_quote(NULL), "\"\"");
	cr_assert_str_eq(log_quote("a=b"), "\"a=b\"");
	cr_assert_str_eq(log_quote("a\"b\\c"), "\"a\\\"b\\\\c\"");
	cr_assert_str_eq(log_quote("a\nb\x1b"), "\"a\\x0ab\\x1b\"");
}

Test(log, nobody_writes_a_second_line)
{
	unsetenv("JOURNAL_STREAM");
	catch_lines();
	log_begin("agent");
	log_line(LOG_INFO, "event=%s", "a\nlevel=emerg event=b");
	cr_assert_str_eq(written_at_some_time(), "level=info part=agent event=a?level=emerg event=b\n");
}

Test(log, a_long_line_is_cut_and_ends)
{
	char text[5000];

	unsetenv("JOURNAL_STREAM");
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	catch_lines();
	log_begin("agent");
	log_line(LOG_INFO, "event=%s", text);
	const char *line = written();
	cr_assert_eq(line[strlen(line) - 1], '\n');
	cr_assert_leq(strlen(line), 1024);
	memset(text, '\n', sizeof(text) - 1);
	cr_assert_leq(strlen(log_quote(text)), 512);
}

Test(log, a_log_that_nobody_reads_holds_nobody_up)
{
	unsetenv("JOURNAL_STREAM");
	catch_lines();
	log_begin("agent");
	for (unsigned i = 0; i < 10000; i++) /* more than a pipe holds */
		log_line(LOG_INFO, "event=noise");
}

Test(log, ten_lines_a_minute_for_each_peer)
{
	struct log_limits limits = { 0 };
	unsigned suppressed;
	uint64_t now = 1000 * NS_PER_S;

	for (unsigned i = 0; i < LOG_LINES_A_MINUTE; i++)
		cr_assert(log_allows(&limits, "a", now + i * NS_PER_S, &suppressed));
	cr_assert_not(log_allows(&limits, "a", now + 20 * NS_PER_S, &suppressed));
	cr_assert_not(log_allows(&limits, "a", now + 59 * NS_PER_S, &suppressed));
	cr_assert(log_allows(&limits, "b", now + 59 * NS_PER_S, &suppressed), "another peer has its own minute");
	cr_assert(log_allows(&limits, "a", now + 60 * NS_PER_S, &suppressed));
	cr_assert_eq(suppressed, 2, "the first line of the next minute tells how many");
	cr_assert(log_allows(&limits, "a", now + 61 * NS_PER_S, &suppressed));
	cr_assert_eq(suppressed, 0, "once");
}

Test(log, more_peers_than_places_are_still_limited)
{
	struct log_limits limits = { 0 };
	unsigned suppressed;
	char name[16];

	for (unsigned i = 0; i < 10 * LOG_PEERS; i++) {
		snprintf(name, sizeof(name), "peer%u", i);
		cr_assert(log_allows(&limits, name, (1000 + i) * NS_PER_S, &suppressed));
	}
	for (unsigned i = 0; i < LOG_LINES_A_MINUTE - 1; i++)
		cr_assert(log_allows(&limits, name, 1690 * NS_PER_S, &suppressed));
	cr_assert_not(log_allows(&limits, name, 1690 * NS_PER_S, &suppressed));
}

Test(log, what_was_suppressed_is_told_in_one_line)
{
	unsetenv("JOURNAL_STREAM");
	catch_lines();
	log_begin("agent");
	for (unsigned i = 0; i < LOG_LINES_A_MINUTE + 5; i++)
		log_peer("x", NS_PER_S, LOG_WARNING, "event=noise");
	unsigned lines = 0;
	for (const char *at = written(); (at = strchr(at, '\n')); at++)
		lines++;
	cr_assert_eq(lines, LOG_LINES_A_MINUTE);
	log_peer("x", 62 * NS_PER_S, LOG_WARNING, "event=noise");
	cr_assert_str_eq(written_at_some_time(), "level=warning part=agent event=log.suppressed peer=x suppressed=5\nlevel=warning part=agent event=noise\n");
}
