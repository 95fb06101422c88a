/* SPDX-License-Identifier: Apache-2.0 */
/* reactor: what an agent's process makes of a step that cannot be trusted. */
#define _GNU_SOURCE
#include "keeper_rig.h"

#include "../../../shm/arena.h"
#include "../../../shm/ring.h"

TestSuite(reactor, .init = make_dir, .fini = remove_dir, .timeout = 30);

#define FIRST_PAGE 4096u /* the doorbells, and some gates */

/* In the agent: all pages of its arena but the first are gone, and no memory is to be had for others. */
static void lose_pages(int signal_number)
{
	unsigned long from, to;
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");
	int fd = memfd_create("nothing", MFD_CLOEXEC);

	(void)signal_number;
	while (maps && fgets(line, sizeof(line), maps))
		if (strstr(line, "arena") && sscanf(line, "%lx-%lx", &from, &to) == 2)
			mmap((void *)(from + FIRST_PAGE), to - from - FIRST_PAGE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED, fd, 0);
	fclose(maps);
}

/* Before the agent begins: the rig's constructor has no priority, and comes later. */
__attribute__((constructor(101))) static void may_lose_pages(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--agent"))
		signal(SIGUSR2, lose_pages);
}

static void ask_for(struct session_rings *rings, uint32_t call, unsigned key)
{
	struct ring_request r = { .op = REQUEST_ACQUIRE, .call = call, .mode = 5 };

	r.key_len = (uint8_t)snprintf((char *)r.key, sizeof(r.key), "key %u", key);
	cr_assert(ring_push(rings, &r));
}

static void announce(const struct client *c, struct arena *arena, const struct tables *t)
{
	if (arena_announce(arena, t, c->welcome.slot))
		cr_assert_eq(send(c->socket, "r", 1, MSG_NOSIGNAL), 1);
}

Test(reactor, nothing_is_done_that_follows_from_a_lost_page)
{
	config.locks = config.claims = 256;
	struct keeper_process k = start_keeper(NULL);
	pid_t agent = wait_agent(&k);
	struct client c;
	struct segment arena = SEGMENT_NONE, rings = SEGMENT_NONE;
	struct ring_completion answer;

	cr_assert_eq(greet(&c), 0);
	const struct tables *t = map_tables(&c);
	cr_assert_eq(segment_map(&arena, c.fds[1], true, true), 0);
	cr_assert_eq(segment_map(&rings, c.fds[2], true, true), 0);
	for (unsigned key = 0; key < 2 * FIRST_PAGE / sizeof(struct gate); key++) {
		ask_for(rings.at, 0, key);
		announce(&c, arena.at, t);
		for (int ms = 0; !ring_take(rings.at, &answer); ms++) {
			cr_assert_lt(ms, PATIENCE_MS);
			usleep(1000);
		}
		cr_assert_eq(answer.result, 0);
	}
	kill(agent, SIGUSR2);
	/* The next gate is out of the first page; what comes behind it makes the agent log that the session is banned. */
	ask_for(rings.at, 0, 1000);
	cr_assert(ring_push(rings.at, &(struct ring_request){ .op = 4711, .call = 1 }));
	announce(&c, arena.at, t);
	wait_log(&k, "event=memory.lost");
	cr_assert_eq(end_of(k.pid), AGENT_EXIT_FATAL);
	cr_assert_not(strstr(k.text, "event=session.banned"), "%s", k.text);
}
