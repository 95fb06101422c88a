/* SPDX-License-Identifier: Apache-2.0 */
#include "doing.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define START_FIELD 22 /* of proc(5); the state is field 3, the first behind the name */

char process_doing(uint32_t pid, uint64_t start_time)
{
	char path[64], line[1024], *at;
	uint64_t start = 0;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	FILE *in = fopen(path, "re");
	if (!in)
		return 0;
	size_t n = fread(line, 1, sizeof(line) - 1, in);
	fclose(in);
	line[n] = '\0';
	/* The name may hold anything, parentheses too: it ends at the last one. */
	at = strrchr(line, ')');
	if (!at || at[1] != ' ')
		return 0;
	char state = at[2];
	for (int field = 2; field < START_FIELD && at; field++)
		at = strchr(at + 1, ' ');
	if (!at || sscanf(at, "%" SCNu64, &start) != 1 || start != start_time || state == 'Z' || state == 'X')
		return 0;
	return state;
}
