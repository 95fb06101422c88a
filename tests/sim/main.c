/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim: one seed with its trace, or a campaign of many. A campaign runs its seeds in worker
 * processes, so that a seed that aborts or never ends is one failed seed and not the end of it.
 */
#include <argp.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

#define WORKERS_MAX 16u
#define SEED_SECONDS 120u  /* a seed that takes longer goes in circles */
#define FULL_CAMPAIGN 500u /* seeds after which every required mark must have been met */
#define FAILURES_MAX 10u
#define TWICE_EVERY 32u

#define MARK_TEXT(name, required, text) { text, required },
const struct mark_text mark_texts[N_MARKS] = { FAULT_MARKS(MARK_TEXT) STATE_MARKS(MARK_TEXT) };

static struct settings {
	struct options options;
	bool one;
	uint64_t first, seeds; /* seeds 0: as long as there is time */
	unsigned seconds;      /* 0: no limit */
	unsigned jobs;
	unsigned failures; /* so many, and it is enough */
	uint64_t least;    /* fewer seeds prove nothing */
} settings = { .first = 1, .failures = FAILURES_MAX };

static struct sim world; /* large, and used again by each seed */

/* ---- settings ---- */

enum { KEY_SEED = 's',
       KEY_TRACE = 't',
       KEY_JOBS = 'j',
       KEY_SEEDS = 256,
       KEY_SECONDS,
       KEY_HOSTS,
       KEY_FAILURES,
       KEY_LEAST,
       KEY_FROM };

static const struct argp_option argp_options[] = {
	{ "seed", KEY_SEED, "N", 0, "Play this one seed", 0 },
	{ "trace", KEY_TRACE, NULL, 0, "Show what happens, one line an event", 0 },
	{ "seeds", KEY_SEEDS, "COUNT", 0, "Play so many seeds", 0 },
	{ "seconds", KEY_SECONDS, "N", 0, "Play seeds for so long (60 when nothing else is said, 0: until stopped)", 0 },
	{ "from", KEY_FROM, "N", 0, "Begin with this seed (1; 0: a random one)", 0 },
	{ "hosts", KEY_HOSTS, "N", 0, "So many voters: 1, 3 or 5 (the seed decides)", 0 },
	{ "failures", KEY_FAILURES, "N", 0, "Stop after so many failed seeds (10)", 0 },
	{ "least", KEY_LEAST, "N", 0, "Fail when time was short for so many seeds", 0 },
	{ "jobs", KEY_JOBS, "N", 0, "So many seeds at once (one a core)", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	char *end;
	uint64_t n = arg ? strtoull(arg, &end, 10) : 0;

	if (arg && key != ARGP_KEY_ARG && (*end || end == arg))
		argp_error(state, "not a number: %s", arg);
	switch (key) {
	case KEY_SEED:
		settings.options.seed = n;
		settings.one = true;
		break;
	case KEY_TRACE: settings.options.trace = true; break;
	case KEY_SEEDS: settings.seeds = n; break;
	case KEY_SECONDS: settings.seconds = (unsigned)n; break;
	case KEY_FROM: settings.first = n; break;
	case KEY_LEAST: settings.least = n; break;
	case KEY_FAILURES: settings.failures = (unsigned)n; break;
	case KEY_JOBS: settings.jobs = (unsigned)n; break;
	case KEY_HOSTS:
		if (n != 1 && n != 3 && n != 5)
			argp_error(state, "voters are 1, 3 or 5");
		settings.options.hosts = (unsigned)n;
		break;
	case ARGP_KEY_ARG: argp_usage(state); break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static void say_replay(uint64_t seed)
{
	if (settings.options.hosts)
		fprintf(stderr, "replay: build/sim --seed %" PRIu64 " --hosts %u --trace\n", seed, settings.options.hosts);
	else
		fprintf(stderr, "replay: make sim SEED=%" PRIu64 "\n", seed);
}

/* ---- one seed ---- */

static void say_failed(int signal)
{
	static const char text[] = "\n0 passed, 1 failed\n";

	(void)signal;
	fflush(stdout);
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(2);
	_exit(1);
}

static int one_seed(void)
{
	static struct tally tally;
	pid_t child;
	int status = 0;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		sim_run(&world, &settings.options, &tally);
		printf("seed %" PRIu64 ": %.3f simulated seconds, %" PRIu64 " steps, %" PRIu64 " operations, %" PRIu64 " slots\n",
		       settings.options.seed, (double)tally.simulated_ns / 1e9, tally.steps, tally.operations, tally.slots);
		fflush(stdout);
		_exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0) {
		if (WIFSIGNALED(status))
			fprintf(stderr, "seed %" PRIu64 ": ended by signal %d, %s\n", settings.options.seed, WTERMSIG(status), strsignal(WTERMSIG(status)));
		say_failed(0);
	}
	printf("1 passed, 0 failed\n");
	return 0;
}

/* ---- a campaign ---- */

struct board {         /* shared with the workers */
	uint64_t next; /* seed to be taken; atomic */
	uint64_t last; /* the one behind the last */
	uint64_t stop; /* atomic */
	struct {
		uint64_t seed;
		pid_t pid;
		struct tally tally;
	} worker[WORKERS_MAX];
};

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

static uint64_t now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec;
}

/* Now and then the same seed twice: what differs then reads memory that nobody wrote, a clock, or
 * what another seed left behind, and no failure could be replayed. */
static void play(const struct options *options, struct tally *tally)
{
	static struct tally ignored;
	uint64_t history = sim_run(&world, options, tally);

	if (options->seed % TWICE_EVERY == 0 && sim_run(&world, options, &ignored) != history)
		sim_fail(&world, "played twice, the same seed went two ways");
}

static void work(struct board *b, unsigned which)
{
	struct options options = settings.options;

	signal(SIGALRM, SIG_DFL);
	signal(SIGINT, SIG_IGN);
	while (!__atomic_load_n(&b->stop, __ATOMIC_RELAXED)) {
		options.seed = __atomic_fetch_add(&b->next, 1, __ATOMIC_RELAXED);
		if (options.seed >= b->last)
			break;
		b->worker[which].seed = options.seed;
		alarm(SEED_SECONDS);
		play(&options, &b->worker[which].tally);
		b->worker[which].seed = 0;
	}
	_exit(0);
}

static bool start_worker(struct board *b, unsigned which)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		work(b, which);
	b->worker[which].pid = pid;
	return pid > 0;
}

static void say_why(uint64_t seed, int status)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		fprintf(stderr, "seed %" PRIu64 ": did not end within %u s\n", seed, SEED_SECONDS);
	else if (WIFSIGNALED(status))
		fprintf(stderr, "seed %" PRIu64 ": ended by signal %d, %s\n", seed, WTERMSIG(status), strsignal(WTERMSIG(status)));
	say_replay(seed);
}

/* Collects one worker that ended; true when it left a failed seed. */
static bool collect(struct board *b, unsigned *running)
{
	int status;
	pid_t pid = waitpid(-1, &status, WNOHANG);

	if (pid <= 0)
		return false;
	--*running;
	for (unsigned i = 0; i < settings.jobs; i++) {
		uint64_t seed = b->worker[i].seed;

		if (b->worker[i].pid != pid)
			continue;
		if (status == 0)
			return false;
		b->worker[i].seed = 0;
		say_why(seed, status);
		if (!__atomic_load_n(&b->stop, __ATOMIC_RELAXED) && start_worker(b, i))
			++*running;
		return true;
	}
	return false;
}

static struct tally add_up(const struct board *b)
{
	struct tally sum = { 0 };

	for (unsigned i = 0; i < settings.jobs; i++) {
		const uint64_t *from = (const uint64_t *)&b->worker[i].tally;

		for (size_t word = 0; word < sizeof(sum) / 8; word++)
			((uint64_t *)&sum)[word] += from[word];
	}
	return sum;
}

static unsigned print_marks(const struct tally *sum, const char *title, unsigned from, unsigned to, bool full)
{
	unsigned missing = 0;

	printf("\n%s\n", title);
	for (unsigned i = from; i < to; i++) {
		bool never = sum->mark[i] == 0 && mark_texts[i].required && full;

		printf("  %12" PRIu64 "  %s%s\n", sum->mark[i], mark_texts[i].text, never ? "  <- NEVER" : "");
		missing += never;
	}
	return missing;
}

static int report(const struct board *b, uint64_t began, unsigned failed)
{
	struct tally sum = add_up(b);
	bool full = sum.seeds >= FULL_CAMPAIGN && !settings.options.hosts;
	unsigned missing;

	printf("seeds %" PRIu64 " .. %" PRIu64 ": %.0f simulated seconds in %" PRIu64 " s, %" PRIu64 " steps, %" PRIu64 " operations of programs, %" PRIu64
	       " slots, %" PRIu64 " commands\n",
	       settings.first, MIN(b->next, b->last) - 1, (double)sum.simulated_ns / 1e9, now_s() - began, sum.steps, sum.operations, sum.slots,
	       sum.commands);
	missing = print_marks(&sum, "faults that happened", 0, N_FAULT_MARKS, full);
	missing += print_marks(&sum, "states that were reached", N_FAULT_MARKS, N_MARKS, full);
	printf("\n");
	if (missing)
		printf("%u things never happened: the campaign proves less than it should\n", missing);
	if (sum.seeds < settings.least)
		printf("fewer than %" PRIu64 " seeds were played: there was no time\n", settings.least);
	printf("%.2f simulated hours\n", (double)sum.simulated_ns / 3600e9);
	printf("%" PRIu64 " passed, %u failed\n", sum.seeds, failed + (missing || sum.seeds < settings.least ? 1 : 0));
	return failed || missing || sum.seeds < settings.least;
}

static int campaign(void)
{
	struct board *b = mmap(NULL, sizeof(*b), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t began = now_s();
	unsigned running = 0, failed = 0;

	if (b == MAP_FAILED) {
		perror("sim: mmap");
		return 2;
	}
	b->next = settings.first;
	b->last = settings.seeds ? settings.first + settings.seeds : UINT64_MAX;
	signal(SIGINT, stop);
	signal(SIGTERM, stop);
	for (unsigned i = 0; i < settings.jobs; i++)
		running += start_worker(b, i);
	while (running) {
		failed += collect(b, &running);
		if (stopped || failed >= settings.failures || (settings.seconds && now_s() - began >= settings.seconds))
			__atomic_store_n(&b->stop, 1, __ATOMIC_RELAXED);
		usleep(10000);
	}
	return report(b, began, failed);
}

int main(int argc, char **argv)
{
	const struct argp argp = { argp_options, parse, NULL, "Plays clusters of the shipping agent, by seed", NULL, NULL, NULL };
	bool limited;

	settings.seconds = UINT32_MAX;
	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	if (settings.one)
		return one_seed();
	limited = settings.seeds != 0;
	if (settings.seconds == UINT32_MAX)
		settings.seconds = limited ? 0 : 60;
	if (!settings.first) {
		uint64_t random = (uint64_t)time(NULL) << 20 ^ (uint64_t)getpid();

		settings.first = random_next(&random) >> 24;
	}
	if (!settings.jobs)
		settings.jobs = (unsigned)MAX(1, sysconf(_SC_NPROCESSORS_ONLN));
	settings.jobs = MIN(settings.jobs, WORKERS_MAX);
	return campaign();
}
