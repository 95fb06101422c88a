/* SPDX-License-Identifier: Apache-2.0 */
/*
 * threads: many threads of one program in all calls of the library at once, against a real agent.
 * Under ThreadSanitizer it shows races that no suite can (Criterion does not start there), and in
 * any build that threads exclude each other: the counters are plain integers.
 *
 *	make SAN=thread threads
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/paxshm.h"

#define THREADS 8
#define TURNS 400

static paxshm_session *session;
static const char *const keys[] = { "one", "two", "three" };
static unsigned long counter[3]; /* counter[i] under the lock keys[i] */
static int failures;

static void must(const char *what, int rc)
{
	if (rc == 0)
		return;
	fprintf(stderr, "threads: %s: %s\n", what, paxshm_strerror(rc));
	__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);
}

static void by_name(unsigned k)
{
	uint64_t token;

	must("lock", paxshm_lock(session, keys[k]));
	must("token", paxshm_token(session, keys[k], &token));
	counter[k]++;
	must("unlock", paxshm_unlock(session, keys[k]));
}

static void by_handle(unsigned k)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);
	paxshm_lock_handle *l;

	must("ref", paxshm_lock_ref(session, keys[k], strlen(keys[k]), &l));
	must("acquire", paxshm_lock_acquire(l, &how, NULL));
	must("acquire again", paxshm_lock_acquire(l, &how, NULL));
	must("check", paxshm_lock_check(l));
	counter[k]++;
	must("release", paxshm_lock_release(l));
	must("release", paxshm_lock_release(l));
	must("unref", paxshm_lock_unref(l));
}

/* Those that may end without the lock. */
static void in_a_hurry(unsigned k, unsigned turn)
{
	struct paxshm_acquire how = PAXSHM_INIT(how);
	paxshm_lock_handle *l;
	int rc;

	if (turn % 2)
		how.flags = PAXSHM_NOWAIT;
	else
		how.deadline_ns = paxshm_deadline_ms(1);
	must("ref", paxshm_lock_ref(session, keys[k], strlen(keys[k]), &l));
	rc = paxshm_lock_acquire(l, &how, NULL);
	if (rc == 0) {
		counter[k]++;
		must("release", paxshm_lock_release(l));
	} else if (rc != -EBUSY && rc != -ETIMEDOUT && rc != -ECANCELED) {
		must("acquire in a hurry", rc);
	}
	must("unref", paxshm_lock_unref(l));
}

static void look(unsigned k)
{
	struct paxshm_who who = PAXSHM_INIT(who);
	struct paxshm_status status = PAXSHM_INIT(status);
	int rc = paxshm_holder(session, keys[k], strlen(keys[k]), 0, &who);

	must("holder", rc == -ESRCH ? 0 : rc);
	must("status", paxshm_status(session, 0, &status));
}

static void *work(void *seed_at)
{
	unsigned seed = *(unsigned *)seed_at;

	for (unsigned turn = 0; turn < TURNS; turn++) {
		unsigned k = (unsigned)rand_r(&seed) % 3;

		switch (rand_r(&seed) % 4) {
		case 0: by_name(k); break;
		case 1: by_handle(k); break;
		case 2: in_a_hurry(k, turn); break;
		case 3: look(k); break;
		}
	}
	return NULL;
}

int main(void)
{
	pthread_t thread[THREADS];
	unsigned seeds[THREADS];
	int rc = paxshm_open(&session, NULL);

	if (rc < 0) {
		fprintf(stderr, "threads: %s\n", paxshm_open_reason());
		return 1;
	}
	for (unsigned i = 0; i < THREADS; i++) {
		seeds[i] = i + 1;
		if (pthread_create(&thread[i], NULL, work, &seeds[i]) != 0)
			return 1;
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	must("close", paxshm_close(session));
	printf("threads: %lu turns inside, %d failures\n", counter[0] + counter[1] + counter[2], failures);
	return failures != 0;
}
