/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "limit.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "sync.h"

#define LINE 64u /* bytes of a cache line */

static void rest(const void *rest_ns)
{
	if (rest_ns)
		sleep_ns(*(const uint64_t *)rest_ns);
}

/* ---- TCP: worker 0 asks, worker 1 answers ---- */

struct tcp_shared {
	uint32_t port; /* futex: 0 until worker 1 listens */
};

enum { TCP_PING = 'p',
       TCP_END = 'e' };

static int tcp_listen(struct tcp_shared *shared)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listener < 0 || bind(listener, (struct sockaddr *)&address, len) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &len) < 0)
		return -1;
	store_release(&shared->port, (uint32_t)ntohs(address.sin_port));
	futex_wake(&shared->port, 1);
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	close(listener);
	return fd;
}

static int tcp_connect(struct tcp_shared *shared)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint32_t port;

	while ((port = load_acquire(&shared->port)) == 0)
		futex_wait(&shared->port, 0);
	address.sin_port = htons((uint16_t)port);
	return fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? fd : -1;
}

static void tcp_begin(struct worker *w, const void *with)
{
	int on = 1, fd = w->index == 0 ? tcp_connect(worker_shared(w)) : tcp_listen(worker_shared(w));

	(void)with;
	if (fd < 0)
		worker_fail(w, "TCP on the loopback: %s", strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	w->state[0] = (uint64_t)fd;
}

static void tcp_answer(struct worker *w, int fd)
{
	char byte;

	for (;;) {
		if (read(fd, &byte, 1) != 1 || write(fd, &byte, 1) != 1) {
			worker_fail(w, "TCP on the loopback: the other end is gone");
			return;
		}
		if (byte == TCP_END)
			return;
	}
}

static bool tcp_ask(int fd, char byte)
{
	return write(fd, &byte, 1) == 1 && read(fd, &byte, 1) == 1;
}

static void tcp_turn(struct worker *w, const void *with)
{
	int fd = (int)w->state[0];

	if (fd < 0)
		return;
	if (w->index == 1) {
		tcp_answer(w, fd);
		return;
	}
	while (worker_goes_on(w)) {
		rest(with);
		uint64_t start = now_ns();
		if (!tcp_ask(fd, TCP_PING))
			break;
		worker_saw(w, start, now_ns());
	}
	if (!tcp_ask(fd, TCP_END))
		worker_fail(w, "TCP on the loopback: the other end is gone");
}

struct crew_plan limit_tcp(enum place place)
{
	return (struct crew_plan){
		.name = place == PLACE_TWO ? "tcp, two cores" : "tcp ping-pong", .n = 2, .place = place, .begin = tcp_begin, .turn = tcp_turn, .shared_bytes = sizeof(struct tcp_shared)
	};
}

struct crew_plan limit_tcp_rested(const uint64_t *rest_ns)
{
	struct crew_plan plan = limit_tcp(PLACE_AS_SAID);

	plan.name = "tcp, rested";
	plan.with = rest_ns;
	return plan;
}

/* ---- futex: the same with two words in shared memory ---- */

struct futex_shared {
	_Alignas(LINE) uint32_t ask; /* rises by 2 with each; bit 0: the last of this turn */
	_Alignas(LINE) uint32_t answer;
};

static uint32_t wait_changed(uint32_t *word, uint32_t from)
{
	uint32_t now;

	while ((now = load_acquire(word)) == from)
		futex_wait(word, from);
	return now;
}

static void hand(uint32_t *word, uint32_t value)
{
	store_release(word, value);
	futex_wake(word, 1);
}

static void futex_answer(struct worker *w, struct futex_shared *s)
{
	uint32_t ask = (uint32_t)w->state[0];

	do {
		ask = wait_changed(&s->ask, ask);
		hand(&s->answer, ask);
	} while (!(ask & 1));
	w->state[0] = ask;
}

static void futex_turn(struct worker *w, const void *with)
{
	struct futex_shared *s = worker_shared(w);

	if (w->index == 1) {
		futex_answer(w, s);
		return;
	}
	for (bool last = false; !last;) {
		rest(with);
		last = !worker_goes_on(w);
		uint32_t answered = s->answer;
		uint64_t start = now_ns();
		hand(&s->ask, ((answered | 1) + 1) | last);
		wait_changed(&s->answer, answered);
		if (!last)
			worker_saw(w, start, now_ns());
	}
}

struct crew_plan limit_futex(enum place place)
{
	return (struct crew_plan){
		.name = place == PLACE_TWO ? "futex, two cores" : "futex ping-pong", .n = 2, .place = place, .turn = futex_turn, .shared_bytes = sizeof(struct futex_shared)
	};
}

struct crew_plan limit_futex_rested(const uint64_t *rest_ns)
{
	struct crew_plan plan = limit_futex(PLACE_ONE);

	plan.name = "futex, rested";
	plan.with = rest_ns;
	return plan;
}

/* ---- wake: worker 0 wakes worker 1, which has slept a while ---- */

struct wake_shared {
	_Alignas(LINE) uint32_t word; /* rises with each wake-up */
	uint32_t over;
	_Alignas(LINE) uint64_t woken_at;
	uint32_t asleep; /* worker 1 is about to sleep on this value of word; futex */
	uint32_t counts; /* the last wake-up met a sleeper */
};

#define WAKE_REST_NS (200 * NS_PER_US) /* until who said that it is about to sleep does */

static void wake_sleep(struct worker *w, struct wake_shared *s)
{
	do {
		uint32_t word = load_acquire(&s->word);
		hand(&s->asleep, word);
		wait_changed(&s->word, word);
		uint64_t now = now_ns();
		wait_changed(&s->counts, 0);
		if (s->counts == 1 && !s->over)
			worker_saw(w, s->woken_at, now);
		store_release(&s->counts, 0u);
	} while (!load_acquire(&s->over));
}

static void wake_turn(struct worker *w, const void *with)
{
	struct wake_shared *s = worker_shared(w);

	(void)with;
	if (w->index == 1) {
		wake_sleep(w, s);
		return;
	}
	store_release(&s->over, 0u);
	/* Until the sleeper speaks of this very value, it is not yet back from the last wake-up. */
	for (bool last = false; !last;) {
		uint32_t word = s->word, asleep;
		while ((asleep = load_acquire(&s->asleep)) != word)
			futex_wait(&s->asleep, asleep);
		sleep_ns(WAKE_REST_NS);
		last = !worker_goes_on(w);
		if (last)
			store_release(&s->over, 1u);
		s->woken_at = now_ns();
		store_release(&s->word, word + 1);
		long woken = futex_wake(&s->word, 1);
		hand(&s->counts, woken == 1 ? 1u : 2u);
	}
}

static void wake_begin(struct worker *w, const void *with)
{
	struct wake_shared *s = worker_shared(w);

	(void)with;
	if (w->index == 0)
		s->asleep = UINT32_MAX;
}

struct crew_plan limit_wake(void)
{
	return (struct crew_plan){
		.name = "futex wake", .n = 2, .begin = wake_begin, .turn = wake_turn, .shared_bytes = sizeof(struct wake_shared)
	};
}

/* ---- mutex ---- */

static void mutex_begin(struct worker *w, const void *with)
{
	pthread_mutexattr_t attributes;

	(void)with;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	int rc = pthread_mutex_init(worker_shared(w), &attributes);
	if (rc)
		worker_fail(w, "no robust mutex: %s", strerror(rc));
	pthread_mutexattr_destroy(&attributes);
}

void limit_saw_batch(struct worker *w, uint64_t ns, unsigned batch)
{
	histogram_add(&w->seen, ns * PS_PER_NS / batch);
	w->done += batch;
}

static void mutex_turn(struct worker *w, const void *with)
{
	pthread_mutex_t *mutex = worker_shared(w);

	(void)with;
	while (!w->errors && worker_goes_on(w)) {
		uint64_t start = now_ns();
		for (unsigned i = 0; i < LIMIT_PAIRS; i++) {
			pthread_mutex_lock(mutex);
			pthread_mutex_unlock(mutex);
		}
		limit_saw_batch(w, now_ns() - start, LIMIT_PAIRS);
	}
}

struct crew_plan limit_mutex(void)
{
	return (struct crew_plan){
		.name = "robust mutex", .n = 1, .begin = mutex_begin, .turn = mutex_turn, .shared_bytes = sizeof(pthread_mutex_t)
	};
}

/* ---- ticket: who draws a ticket sleeps on its own word, and is woken alone ---- */

struct ticket_shared {
	_Alignas(LINE) uint32_t drawn;
	_Alignas(LINE) uint64_t released_at;
	struct {
		_Alignas(LINE) uint32_t turn; /* the ticket that may go; futex */
	} place[WORKERS_MAX];
};

#define TICKET_HOLD_NS (200 * NS_PER_US) /* long enough that the next has come and sleeps */

static void ticket_turn(struct worker *w, const void *with)
{
	struct ticket_shared *s = worker_shared(w);

	(void)with;
	while (worker_goes_on(w)) {
		uint32_t ticket = add_acq_rel(&s->drawn, 1u), turn;
		uint32_t *mine = &s->place[ticket % WORKERS_MAX].turn;
		bool slept = false;

		for (; (turn = load_acquire(mine)) != ticket; slept = true)
			futex_wait(mine, turn);
		uint64_t now = now_ns();
		if (slept)
			worker_saw(w, s->released_at, now);
		sleep_ns(TICKET_HOLD_NS);
		uint32_t *next = &s->place[(ticket + 1) % WORKERS_MAX].turn;
		s->released_at = now_ns();
		hand(next, ticket + 1);
	}
}

/* Places before the first ticket hold a value that is not theirs. */
static void ticket_begin(struct worker *w, const void *with)
{
	struct ticket_shared *s = worker_shared(w);

	(void)with;
	for (uint32_t i = 1; w->index == 0 && i < WORKERS_MAX; i++)
		s->place[i].turn = UINT32_MAX;
}

struct crew_plan limit_ticket(unsigned processes)
{
	ASSERT(processes < WORKERS_MAX);
	return (struct crew_plan){
		.name = "ticket lock", .n = processes, .begin = ticket_begin, .turn = ticket_turn, .shared_bytes = sizeof(struct ticket_shared)
	};
}

/* ---- loads ---- */

/* Sattolo's shuffle: a permutation that is one single cycle. */
void limit_cycle(uint32_t *next, uint32_t n, uint64_t seed)
{
	for (uint32_t i = 0; i < n; i++)
		next[i] = i;
	for (uint32_t i = n - 1; i > 0; i--) {
		uint32_t j = (uint32_t)(random_next(&seed) % i), swap = next[i];
		next[i] = next[j];
		next[j] = swap;
	}
}

/* A table of lines, the first word of each naming the line to load next. */
static void loads_begin(struct worker *w, const void *with)
{
	size_t bytes = MAX(*(const size_t *)with, 2 * (size_t)LINE);
	uint32_t lines = (uint32_t)(bytes / LINE);
	uint32_t *next = malloc(lines * sizeof(*next));
	int fd = memfd_create("paxbench-loads", MFD_CLOEXEC);
	char *table = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)bytes) == 0)
		table = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (table == MAP_FAILED || !next) {
		worker_fail(w, "no memory for a table of %zu bytes", bytes);
		free(next);
		return;
	}
	limit_cycle(next, lines, 1);
	for (uint32_t i = 0; i < lines; i++)
		*(volatile uint64_t *)(table + (size_t)i * LINE) = (uint64_t)next[i] * LINE;
	free(next);
	w->own = table;
}

static void loads_turn(struct worker *w, const void *with)
{
	const char *table = w->own;
	uint64_t at = w->state[0];

	(void)with;
	while (table && worker_goes_on(w)) {
		uint64_t start = now_ns();
		for (unsigned i = 0; i < 2 * LIMIT_BATCH; i++)
			at = *(const volatile uint64_t *)(table + at);
		limit_saw_batch(w, now_ns() - start, LIMIT_BATCH);
	}
	w->state[0] = at;
}

struct crew_plan limit_loads(const size_t *bytes)
{
	return (struct crew_plan){ .name = "2 random loads", .n = 1, .begin = loads_begin, .turn = loads_turn, .with = bytes };
}
