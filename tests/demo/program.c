/* SPDX-License-Identifier: Apache-2.0 */
/* One of the demo's eight programs. This is all that a user of paxshm has to write. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../lib/paxshm.h"
#include "record.h"

#define PATIENCE_MS 20000

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Reads a number, adds one, writes it: wrong as soon as two do it at once. */
static int add_one(int fd)
{
	char text[32] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n < 0)
		return -1;
	n = snprintf(text, sizeof(text), "%llu\n", strtoull(text, NULL, 10) + 1);
	return pwrite(fd, text, (size_t)n, 0) == n ? 0 : -1;
}

static void note_turn(struct record *r, unsigned program, unsigned host, const struct paxshm_grant *grant, uint64_t granted_ns)
{
	struct turn *turn = &r->turn[r->turns < TURNS_MAX ? r->turns : TURNS_MAX - 1];

	*turn = (struct turn){
		.granted_ns = granted_ns,
		.passed_ns = r->released_ns ? (uint32_t)(granted_ns - r->released_ns) : 0,
		.program = (uint8_t)program,
		.host = (uint8_t)host,
		.last_host = (uint8_t)r->last_host,
		.owner_died = grant->flags & PAXSHM_OWNER_DIED ? 1 : 0,
	};
	r->turns++;
	if (grant->token <= r->last_token)
		r->backwards++;
	if (!r->first_token)
		r->first_token = grant->token;
	r->last_token = grant->token;
}

int program_main(unsigned program, unsigned host, const char *socket, const char *counter, struct record *r)
{
	struct paxshm_options options = PAXSHM_INIT(options);
	struct paxshm_acquire how = PAXSHM_INIT(how);
	paxshm_session *s;
	paxshm_lock_handle *lock;
	/* To show that the demo sees it: a program that takes another lock than the rest. */
	const char *key = program == 0 && getenv("PAXSHM_DEMO_CHEAT") ? "cheat" : LOCK_KEY;
	int fd = open(counter, O_RDWR);

	options.socket = socket;
	int rc = fd < 0 ? -1 : paxshm_open(&s, &options);
	if (rc == 0)
		rc = paxshm_lock_ref(s, key, strlen(key), &lock);
	while (rc == 0 && !r->stop) {
		struct paxshm_grant grant = PAXSHM_INIT(grant);

		how.deadline_ns = paxshm_deadline_ms(PATIENCE_MS);
		rc = paxshm_lock_acquire(lock, &how, &grant);
		if (rc < 0)
			break;

		/* Only one of us is here, on whichever host. */
		if (r->inside && !(grant.flags & PAXSHM_OWNER_DIED))
			r->overlaps++;
		r->inside = 1 + program;
		note_turn(r, program, host, &grant, now_ns());
		rc = add_one(fd);
		r->own_turns[program]++;
		if (r->die == 1 + program) {
			__atomic_store_n(&r->dying, 1, __ATOMIC_RELEASE);
			pause(); /* until SIGKILL */
		}
		if (r->inside != 1 + program)
			r->overlaps++;
		r->inside = 0;
		r->last_host = host;
		r->released_ns = now_ns();

		int released = paxshm_lock_release(lock);
		rc = rc ? rc : released;
	}
	if (rc != 0)
		fprintf(stderr, "program %u: %s\n", program, paxshm_strerror(rc));
	return rc != 0;
}
