/* SPDX-License-Identifier: Apache-2.0 */
#include "progress.h"

#include <stdio.h>
#include <unistd.h>

#include "sync.h"

static uint64_t begun, shown;

void progress_begin(void)
{
	begun = now_ns();
}

void progress(const char *bench, const char *what)
{
	uint64_t now = now_ns();

	if (now - begun < NS_PER_S || now - shown < NS_PER_S / 5 || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r\033[K%.78s", "");
	fprintf(stderr, "%s: %.60s", bench, what);
	fflush(stderr);
	shown = now;
}

void progress_end(void)
{
	if (shown)
		fprintf(stderr, "\r\033[K");
	shown = 0;
}
