/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "pulse.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "../../lib/base.h"
#include "../../shm/atom.h"

bool pulse_look(struct pulse *p, uint64_t agent_ns, bool stopped)
{
	p->still = agent_ns == p->seen_ns && !stopped ? p->still + 1 : 0;
	p->seen_ns = agent_ns;
	return p->still >= PULSE_LOOKS;
}

void pulse_begin(struct pulse *p, int tables_fd, pid_t agent, uint64_t host_lease_ms, uint64_t now_ns)
{
	uint64_t every_ns = MAX(host_lease_ms / PULSE_LEASE_PART, PULSE_LEAST_MS) * NS_PER_MS;
	void *at = mmap(NULL, sizeof(struct tables), PROT_READ, MAP_SHARED, tables_fd, 0);

	pulse_end(p);
	if (at == MAP_FAILED)
		return;
	*p = (struct pulse){ .tables = at, .agent = agent, .every_ns = every_ns, .look_at_ns = now_ns + every_ns };
}

void pulse_end(struct pulse *p)
{
	if (p->tables)
		munmap((void *)p->tables, sizeof(struct tables));
	p->tables = NULL;
}

/* As /proc/PID/stat says, behind the program's name, which may hold anything. */
static bool is_stopped(pid_t pid)
{
	char path[32], stat[512];
	size_t n = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *file = fopen(path, "re");
	if (file) {
		n = fread(stat, 1, sizeof(stat) - 1, file);
		fclose(file);
	}
	stat[n] = 0;
	const char *name_end = strrchr(stat, ')');

	return name_end && name_end[1] == ' ' && (name_end[2] == 'T' || name_end[2] == 't');
}

bool pulse_hangs(struct pulse *p, uint64_t now_ns)
{
	if (!p->tables || now_ns < p->look_at_ns)
		return false;
	p->look_at_ns = now_ns + p->every_ns;
	if (!pulse_look(p, atom_load_relaxed(&p->tables->clock_ns), is_stopped(p->agent)))
		return false;
	pulse_end(p);
	return true;
}

int pulse_rest_ms(const struct pulse *p, uint64_t now_ns)
{
	if (!p->tables)
		return -1;
	return now_ns >= p->look_at_ns ? 0 : (int)((p->look_at_ns - now_ns) / NS_PER_MS) + 1;
}
