/* SPDX-License-Identifier: Apache-2.0 */
/*
 * make demo: eight programs on three hosts take turns on one lock to add to a number in a file; one is
 * killed while it owns the lock, then the leading agent. Tells a person what happened; exits non-zero when
 * anything happened that must not. Runs under `paxcluster run`, which starts the agents and takes all away.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/paxshm.h"
#include "record.h"

#define HOSTS 3
#define VICTIM 3u /* which program is killed */
#define PHASE_MS 1500
#define PATIENCE_MS 15000
#define ALONE 2000

static struct record *record;
static const char *folder;
static pid_t pids[PROGRAMS];
static uint64_t began_ns;
static bool failed;

/* ---- telling ---- */

__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...)
{
	va_list args;

	printf("  %5.2f s  ", (double)(now_ns() - began_ns) / 1e9);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

static void must(bool fact, const char *what)
{
	if (fact)
		return;
	printf("  VIOLATED: %s\n", what);
	failed = true;
}

/* ---- waiting ---- */

static void nap_ms(unsigned ms)
{
	usleep(ms * 1000);
}

/* False: not in time. */
static bool await(const uint32_t *word, uint32_t at_least)
{
	uint64_t deadline = now_ns() + PATIENCE_MS * 1000000ull;

	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) < at_least) {
		if (now_ns() > deadline)
			return false;
		nap_ms(1);
	}
	return true;
}

/* The first turn granted after a point in time, on one host or (0) on any; waits for it. NULL: none in time. */
static const struct turn *first_turn_after(uint64_t ns, unsigned host)
{
	uint64_t deadline = now_ns() + PATIENCE_MS * 1000000ull;
	uint32_t i = 0;

	while (now_ns() < deadline) {
		for (; i < __atomic_load_n(&record->turns, __ATOMIC_ACQUIRE) && i < TURNS_MAX; i++)
			if (record->turn[i].granted_ns > ns && (!host || record->turn[i].host == host))
				return &record->turn[i];
		nap_ms(1);
	}
	return NULL;
}

static double ms_since(const struct turn *turn, uint64_t ns)
{
	return turn ? (double)(turn->granted_ns - ns) / 1e6 : -1;
}

/* ---- the story ---- */

static const char *socket_of(unsigned host)
{
	char name[32];

	snprintf(name, sizeof(name), "PAXSHM_SOCKET_%u", host);
	return getenv(name);
}

static unsigned host_of(unsigned program)
{
	return 1 + program % HOSTS;
}

static void start_programs(const char *counter)
{
	for (unsigned i = 0; i < PROGRAMS; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(program_main(i, host_of(i), socket_of(host_of(i)), counter, record));
		}
	}
	must(await(&record->turns, 1), "the first program got the lock");
	tell("%u programs run on %u hosts, and take turns on one lock to add 1 to a number in a file", PROGRAMS, HOSTS);
}

static double kill_program(void)
{
	record->die = 1 + VICTIM;
	if (!await(&record->dying, 1)) {
		must(false, "every program gets its turn");
		return -1;
	}
	uint64_t killed_ns = now_ns();
	kill(pids[VICTIM], SIGKILL);
	const struct turn *next = first_turn_after(killed_ns, 0);
	must(next, "the lock goes on after its owner was killed");
	must(!next || next->owner_died, "the next owner is told that the last one died");
	tell("kill -9 of program %u while it owned the lock: program %d got it after %.2f ms,", VICTIM, next ? next->program : -1,
	     ms_since(next, killed_ns));
	printf("           and was told that the last owner died\n");
	return ms_since(next, killed_ns);
}

/* What an agent says of itself and its cluster. */
static bool ask(unsigned host, struct paxshm_status *ret)
{
	struct paxshm_options options = PAXSHM_INIT(options);
	paxshm_session *s;

	*ret = (struct paxshm_status)PAXSHM_INIT(*ret);
	options.socket = socket_of(host);
	if (paxshm_open(&s, &options) < 0)
		return false;
	bool ok = paxshm_status(s, 0, ret) == 0;
	paxshm_close(s);
	return ok;
}

/* The leading host; 0: none in time. */
static unsigned find_leader(void)
{
	uint64_t deadline = now_ns() + PATIENCE_MS * 1000000ull;
	struct paxshm_status status;

	while (now_ns() < deadline) {
		for (unsigned host = 1; host <= HOSTS; host++)
			if (ask(host, &status) && status.quorum && status.leader_id >= 1 && status.leader_id <= HOSTS)
				return status.leader_id;
		nap_ms(1);
	}
	must(false, "a host leads");
	return 0;
}

/* Answers when, and which. */
static uint64_t kill_leader(unsigned *ret_host)
{
	struct paxshm_status before, after;
	unsigned leader = find_leader();
	uint64_t killed_ns = now_ns();

	*ret_host = leader;
	if (!leader || !ask(leader, &before) || kill((pid_t)before.agent_pid, SIGKILL) < 0) {
		must(false, "there is a leading agent to be killed");
		return killed_ns;
	}
	killed_ns = now_ns();
	nap_ms(PHASE_MS);
	must(ask(leader, &after) && after.agent_starts == before.agent_starts + 1, "the keeper starts a new agent");
	must(first_turn_after(now_ns(), 0), "locks go on after the leading agent was killed");
	must(first_turn_after(killed_ns + PHASE_MS * 500000ull, leader), "they go on on its own host too");
	tell("kill -9 of the leading agent, on host%u: no lock and no session was lost", leader);
	return killed_ns;
}

/* The longest time without a grant, on one host or (0) on all, of those that end after ns. */
static double longest_pause_ms(uint64_t ns, unsigned host)
{
	uint64_t longest = 0, last = 0;

	for (uint32_t i = 0; i < record->turns && i < TURNS_MAX; i++) {
		const struct turn *turn = &record->turn[i];

		if (host && turn->host != host)
			continue;
		if (last && turn->granted_ns > ns && turn->granted_ns - last > longest)
			longest = turn->granted_ns - last;
		last = turn->granted_ns;
	}
	return (double)longest / 1e6;
}

static void stop_programs(void)
{
	__atomic_store_n(&record->stop, 1, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < PROGRAMS; i++) {
		int status;
		char what[64];

		waitpid(pids[i], &status, 0);
		snprintf(what, sizeof(what), "program %u ended well", i);
		must(i == VICTIM ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL : status == 0, what);
	}
	tell("the programs have ended");
}

/* ---- figures ---- */

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* What takes less than a microsecond is told to the nanosecond. */
static void print_us(uint64_t ns)
{
	printf(" %8.*f", ns < 1000 ? 3 : 1, (double)ns / 1e3);
}

static void print_row(const char *what, uint64_t *ns, size_t n)
{
	if (!n)
		return;
	qsort(ns, n, sizeof(*ns), by_size);
	printf("  %-44s", what);
	print_us(ns[n / 2]);
	print_us(ns[n * 99 / 100]);
	printf(" %8zu\n", n);
}

/* Turns that passed within a host, or from host to host. */
static void print_passes(const char *what, bool same_host, uint64_t *ns)
{
	size_t n = 0;

	for (uint32_t i = 0; i < record->turns && i < TURNS_MAX; i++) {
		const struct turn *turn = &record->turn[i];
		if (turn->passed_ns && !turn->owner_died && (turn->host == turn->last_host) == same_host)
			ns[n++] = turn->passed_ns;
	}
	print_row(what, ns, n);
}

/* lock and unlock with nobody else about. */
static void print_alone(const char *what, unsigned host, uint64_t *ns)
{
	struct paxshm_options options = PAXSHM_INIT(options);
	paxshm_session *s;
	int rc;

	options.socket = socket_of(host);
	rc = paxshm_open(&s, &options);
	if (rc < 0) {
		must(false, "an agent lets a program in");
		return;
	}
	for (size_t i = 0; i < ALONE; i++) {
		uint64_t from = now_ns();
		rc = paxshm_lock(s, "alone");
		if (rc == 0)
			rc = paxshm_unlock(s, "alone");
		ns[i] = now_ns() - from;
		if (rc < 0)
			break;
	}
	paxshm_close(s);
	must(rc == 0, "a free lock comes to who asks");
	print_row(what, ns, rc == 0 ? ALONE : 0);
}

static unsigned long long read_counter(const char *counter)
{
	unsigned long long n = 0;
	FILE *file = fopen(counter, "re");

	if (!file || fscanf(file, "%llu", &n) != 1)
		must(false, "the counter can be read");
	if (file)
		fclose(file);
	return n;
}

static void print_verdict(const char *counter, double program_ms, uint64_t killed_ns, unsigned leader)
{
	unsigned long long n = read_counter(counter), expected = 0;
	unsigned violations = record->overlaps + record->backwards;

	for (unsigned i = 0; i < PROGRAMS; i++)
		expected += record->own_turns[i];
	must(n == expected, "the counter is the sum of all turns");
	must(record->overlaps == 0, "never two owners at once");
	must(record->backwards == 0, "tokens rise");
	if (n != expected)
		violations++;

	printf("\n  counter      %llu, expected %llu\n", n, expected);
	printf("  violations   %u  (two owners at once %u, tokens that did not rise %u)\n", violations, record->overlaps, record->backwards);
	printf("  tokens       %s with each of the %u turns, from %llu to %llu\n", record->backwards ? "did NOT rise" : "rose", record->turns,
	       (unsigned long long)record->first_token, (unsigned long long)record->last_token);
	printf("  recovery     killed owner: next owner after %.2f ms\n", program_ms);
	printf("               killed leader: longest time without a turn %.1f ms, on its own host %.1f ms\n",
	       longest_pause_ms(killed_ns, 0), longest_pause_ms(killed_ns, leader));
}

static void print_latencies(void)
{
	static uint64_t ns[TURNS_MAX];
	unsigned leader = find_leader();

	printf("\n  %-44s %8s %8s %8s\n", "latency in microseconds", "median", "99 %", "count");
	print_passes("a turn passes to a program of the same host", true, ns);
	print_passes("a turn passes to another host", false, ns);
	if (leader) {
		print_alone("lock and unlock a free lock, leader's host", leader, ns);
		print_alone("lock and unlock a free lock, another host", 1 + leader % HOSTS, ns);
	}
	printf("  (the time of a free lock holds a reading of the clock)\n");
	printf("  (all three agents and eight programs share this machine's %ld cores)\n", sysconf(_SC_NPROCESSORS_ONLN));
}

static struct record *map_record(void)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/record", folder);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(struct record)) < 0)
		return NULL;
	void *at = mmap(NULL, sizeof(struct record), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return at == MAP_FAILED ? NULL : at;
}

int main(void)
{
	char counter[512];
	unsigned leader;

	folder = getenv("PAXCLUSTER_DIR");
	if (!folder || !(record = map_record())) {
		fprintf(stderr, "demo: run it with make demo\n");
		return 64;
	}
	snprintf(counter, sizeof(counter), "%s/counter", folder);
	close(open(counter, O_WRONLY | O_CREAT, 0600));
	setvbuf(stdout, NULL, _IOLBF, 0);
	began_ns = now_ns();

	printf("\npaxshm: one lock, three hosts (three agents on this machine)\n\n");
	tell("three agents agree; host%u leads", find_leader());
	start_programs(counter);
	nap_ms(PHASE_MS);
	double program_ms = kill_program();
	nap_ms(PHASE_MS);
	uint64_t killed_ns = kill_leader(&leader);
	stop_programs();

	print_verdict(counter, program_ms, killed_ns, leader);
	print_latencies();
	printf("\n%s\n\n", failed ? "FAILED: see above" : "All as it must be.");
	return failed;
}
