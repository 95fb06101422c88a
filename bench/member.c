/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "member.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "sync.h"

#define REST_LOOK_NS (500 * NS_PER_US)
#define REST_LOOKS 4u /* as many looks without a change are a rest */

static int open_one(paxshm_session **ret, const char *socket)
{
	struct paxshm_options options = PAXSHM_INIT(options);

	options.socket = socket;
	options.agent_timeout_ms = MEMBER_PATIENCE_MS / 2;
	return paxshm_open(ret, &options);
}

bool member_status(const char *socket, struct paxshm_status *ret)
{
	paxshm_session *s;

	if (open_one(&s, socket) < 0)
		return false;
	*ret = (struct paxshm_status)PAXSHM_INIT(*ret);
	int rc = paxshm_status(s, 0, ret);
	paxshm_close(s);
	return rc == 0;
}

struct member *member_open(struct worker *w, const struct bench_cluster *c, int host)
{
	struct member *m = calloc(1, sizeof(*m));

	if (!m) {
		worker_fail(w, "no memory");
		return NULL;
	}
	m->n = c->n;
	memcpy(m->place, c->place, sizeof(m->place));
	for (unsigned i = 0; i < c->n; i++) {
		if (host >= 0 && i != (unsigned)host)
			continue;
		if (open_one(&m->session[i], c->socket[i]) < 0) {
			worker_fail(w, "%s", paxshm_open_reason());
			m->session[i] = NULL;
			member_close(m);
			return NULL;
		}
	}
	member_look(m, w);
	return m;
}

void member_close(struct member *m)
{
	for (unsigned i = 0; m && i < m->n; i++)
		if (m->session[i])
			paxshm_close(m->session[i]);
	free(m);
}

static bool plays(const struct paxshm_status *st, enum part part)
{
	bool leads = st->leader_id == st->host_id;

	switch (part) {
	case PART_LEADER: return leads;
	case PART_VOTER: return !leads && st->role == 1;
	case PART_OBSERVER: return st->role == 2;
	default: return true;
	}
}

paxshm_session *member_find(struct member *m, enum part part)
{
	struct paxshm_status status = PAXSHM_INIT(status);

	for (unsigned i = 0; m && i < m->n; i++)
		if (m->session[i] && paxshm_status(m->session[i], 0, &status) == 0 && plays(&status, part))
			return m->session[i];
	return NULL;
}

void member_stay(const struct member *m, const paxshm_session *s)
{
	for (unsigned i = 0; s && i < m->n; i++)
		if (m->session[i] == s && m->place[i])
			worker_pin(0, m->place[i] - 1);
}

void member_look(struct member *m, struct worker *w)
{
	struct paxshm_status status = PAXSHM_INIT(status);

	for (unsigned i = 0; m && i < m->n; i++) {
		if (!m->session[i])
			continue;
		int rc = paxshm_status(m->session[i], 0, &status);
		if (rc < 0) {
			worker_fail(w, "status: %s", paxshm_strerror(rc));
			continue;
		}
		if (m->agent_starts[i] && m->agent_starts[i] != status.agent_starts)
			worker_fail(w, "the agent of %s died under the measurement, and was started again", status.host);
		m->agent_starts[i] = status.agent_starts;
	}
}

int member_ref(struct worker *w, paxshm_session *s, const char *key, paxshm_lock_handle **ret_handle)
{
	int rc = paxshm_lock_ref(s, key, strlen(key), ret_handle);

	if (rc < 0)
		worker_fail(w, "lock %s: %s", key, paxshm_strerror(rc));
	return rc;
}

struct paxshm_acquire member_wish(void)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);

	how.deadline_ns = paxshm_deadline_ms(MEMBER_PATIENCE_MS);
	return how;
}

bool member_acquire_as(struct worker *w, paxshm_lock_handle *lock, const struct paxshm_acquire *how)
{
	int rc = paxshm_lock_acquire(lock, how, NULL);

	if (rc < 0)
		worker_fail(w, "acquire: %s", paxshm_strerror(rc));
	return rc == 0;
}

bool member_acquire(struct worker *w, paxshm_lock_handle *lock)
{
	struct paxshm_acquire how = member_wish();

	return member_acquire_as(w, lock, &how);
}

bool member_release(struct worker *w, paxshm_lock_handle *lock)
{
	int rc = paxshm_lock_release(lock);

	if (rc < 0)
		worker_fail(w, "release: %s", paxshm_strerror(rc));
	return rc == 0;
}

void member_fresh_key(struct worker *w, const char *bench, char ret_key[MEMBER_KEY])
{
	struct timespec now;

	if (!w->state[1]) { /* pids come again; the pid and this instant do not */
		clock_gettime(CLOCK_REALTIME, &now);
		w->state[1] = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
	}
	snprintf(ret_key, MEMBER_KEY, "%.12s/%llx.%x/%llu", bench, (unsigned long long)w->state[1], (unsigned)getpid(), (unsigned long long)w->state[0]++);
}

uint64_t member_applied(struct worker *w, paxshm_session *s)
{
	struct paxshm_status status = PAXSHM_INIT(status);
	int rc = paxshm_status(s, 0, &status);

	if (rc < 0)
		worker_fail(w, "status: %s", paxshm_strerror(rc));
	return rc < 0 ? UINT64_MAX : status.applied;
}

void member_rest(struct worker *w, paxshm_session *s, unsigned ms)
{
	uint64_t give_up = now_ns() + ms * NS_PER_MS, applied = 0;

	for (unsigned still = 0; still < REST_LOOKS && now_ns() < give_up; still++) {
		uint64_t now = member_applied(w, s);
		if (now == UINT64_MAX)
			return;
		if (now != applied)
			still = 0;
		applied = now;
		sleep_ns(REST_LOOK_NS);
	}
}

/* The greatest memfd of those that are mapped in this way. */
static size_t largest_mapped(const char *how)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long from, to;
	char line[512], access[8];
	size_t largest = 0;

	while (maps && fgets(line, sizeof(line), maps))
		if (strstr(line, "/memfd:") && sscanf(line, "%lx-%lx %7s", &from, &to, access) == 3 && strcmp(access, how) == 0)
			largest = MAX(largest, to - from);
	if (maps)
		fclose(maps);
	return largest;
}

double member_bytes_a_lock(const char *socket, enum member_segment segment)
{
	struct paxshm_status status = PAXSHM_INIT(status);
	double bytes = 0;
	paxshm_session *s;

	if (open_one(&s, socket) < 0)
		return 0;
	if (paxshm_status(s, 0, &status) == 0 && status.locks_max)
		bytes = (double)largest_mapped(segment == MEMBER_TABLES ? "r--s" : "rw-s") / status.locks_max;
	paxshm_close(s);
	return bytes;
}

const char *member_engine(int pid)
{
	const char *engine = "engine unknown";
	char path[300], target[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	DIR *dir = opendir(path);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%s", pid, entry->d_name);
		ssize_t n = readlink(path, target, sizeof(target) - 1);
		target[MAX(n, 0)] = '\0';
		if (strcmp(target, "anon_inode:[io_uring]") == 0)
			engine = "io_uring";
		else if (strcmp(target, "anon_inode:[eventpoll]") == 0 && strcmp(engine, "io_uring") != 0)
			engine = "epoll";
	}
	if (dir)
		closedir(dir);
	return engine;
}
