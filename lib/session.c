/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../shm/arena.h"
#include "../shm/atom.h"
#include "../shm/ring.h"
#include "../shm/sys.h"
#include "gateway.h"
#include "session.h"

#define CLOSE_WAIT_NS NS_PER_S

bool session_look(struct paxshm_session *s)
{
	struct pollfd p = { .fd = s->socket };

	/* The keeper holds the other end for as long as the host's memory lives: a hang-up is final. */
	if (!session_lost(s) && poll(&p, 1, 0) > 0)
		atom_store_release(&s->lost, 1u);
	return session_lost(s);
}

void session_turn(struct paxshm_session *s)
{
	atom_add_seq_cst(&s->turn, 1u);
	sys_futex_wake(&s->turn, INT_MAX);
}

void session_announce(struct paxshm_session *s)
{
	char ring = SOCKET_RING;

	/* No room (EAGAIN): it rings already. Nobody there: whoever waits finds out by looking. */
	if (arena_announce(s->arena, s->tables, s->slot))
		(void)!send(s->socket, &ring, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int key_check(const void *key, size_t len)
{
	if (!key || !len)
		return -EINVAL;
	return len > KEY_MAX ? -ENAMETOOLONG : 0;
}

/* Async-signal-safe: atomic words and one system call a bell; errno is put back. A call that waits
 * either saw the count move, or its bell is rung after it set bit 0 (see sleep_on in call.c). */
int paxshm_cancel(paxshm_session *s)
{
	int saved = errno, rc = session_mine(s);

	if (rc)
		return rc;
	atom_add_seq_cst(&s->cancels, 1u);
	for (unsigned w = 0; w < WAITING_WORDS; w++)
		for (uint64_t waiting = atom_load_seq_cst(&s->waiting[w]); waiting; waiting &= waiting - 1) {
			uint32_t *bell = &s->rings->bell[w * 64 + (unsigned)__builtin_ctzll(waiting)];

			if (atom_add_seq_cst(bell, 2u) & 1u)
				sys_futex_wake(bell, 1);
		}
	gateway_cancel(s);
	session_turn(s);
	errno = saved;
	return 0;
}

/* One byte of answer: 0 or an errno. */
static int adopt_answer(struct paxshm_session *s, uint64_t deadline_ns, int *ret_answer)
{
	struct pollfd p = { .fd = s->socket, .events = POLLIN };
	unsigned char answer;

	for (;;) {
		ssize_t n = recv(s->socket, &answer, 1, MSG_DONTWAIT | MSG_TRUNC);
		uint64_t now = sys_now_ns();

		if (n > 1)
			continue; /* a second welcome: of an agent that followed one killed while it sent the first */
		if (n == 1) {
			*ret_answer = -(int)answer;
			return 0;
		}
		if (n == 0 || (errno != EAGAIN && errno != EINTR) || now >= deadline_ns)
			return -ENOTCONN;
		poll(&p, 1, (int)MIN((deadline_ns - now) / NS_PER_MS + 1, 1000u));
	}
}

static int adopt_ask(struct paxshm_session *s, int pidfd, uint64_t deadline_ns)
{
	struct pollfd p = { .fd = s->socket, .events = POLLOUT };
	char adopt = SOCKET_ADOPT;
	int rc;

	while ((rc = sys_send_fds(s->socket, &adopt, 1, &pidfd, 1, MSG_DONTWAIT | MSG_NOSIGNAL)) == -EAGAIN ||
	       rc == -EINTR) {
		if (sys_now_ns() >= deadline_ns)
			return -ENOTCONN;
		poll(&p, 1, 100);
	}
	return rc == -EPIPE || rc == -ECONNRESET ? -ENOTCONN : rc;
}

int paxshm_adopt(paxshm_session *s, int pidfd)
{
	int answer = 0, rc = session_mine(s);

	if (rc)
		return rc;
	if (pidfd < 0)
		return -EINVAL;
	if (session_lost(s))
		return -ENOTCONN;
	pthread_mutex_lock(&s->adopt_mutex);
	uint64_t deadline_ns = sys_now_ns() + s->agent_timeout_ns;
	rc = adopt_ask(s, pidfd, deadline_ns);
	if (rc == 0) {
		s->adopts_unanswered++;
		/* Answers come in order: those of adopts that were given up come before ours. */
		while (rc == 0 && s->adopts_unanswered) {
			rc = adopt_answer(s, deadline_ns, &answer);
			if (rc == 0)
				s->adopts_unanswered--;
		}
	}
	pthread_mutex_unlock(&s->adopt_mutex);
	return rc ? rc : answer;
}

int paxshm_life_fd(paxshm_session *s)
{
	int rc = session_mine(s);

	if (rc)
		return rc;
	return s->life_fd >= 0 ? s->life_fd : -EINVAL;
}

int paxshm_close(paxshm_session *s)
{
	struct ring_request request = { .op = REQUEST_CLOSE };
	struct ring_completion answer;
	int rc = session_mine(s);

	if (rc)
		return rc;
	/* Unanswered within a second: the request stands in memory that the agent holds too, so it
	 * is carried out when the agent is back, or made needless by the end of this process. */
	if (!session_look(s))
		(void)call_run(s, &request, (struct patience){ .deadline_ns = sys_now_ns() + CLOSE_WAIT_NS }, &answer);
	session_free(s);
	return 0;
}

void session_free(struct paxshm_session *s)
{
	struct paxshm_lock_handle *next;

	if (!s)
		return;
	for (struct paxshm_lock_handle *l = s->handles; l; l = next) { /* what they own goes with the session */
		next = l->next;
		free(l);
	}
	if (s->event_fd >= 0)
		close(s->event_fd);
	if (s->timer_fd >= 0)
		close(s->timer_fd);
	if (s->socket >= 0)
		close(s->socket);
	segment_release(&s->tables_segment);
	segment_release(&s->arena_segment);
	segment_release(&s->rings_segment);
	/* Last: until now this process counted as one that may hold locks. */
	if (s->life)
		munmap(s->life, 1);
	if (s->life_fd >= 0)
		close(s->life_fd);
	if (s->mine)
		munmap((void *)s->mine, sizeof(*s->mine));
	pthread_mutex_destroy(&s->adopt_mutex);
	pthread_mutex_destroy(&s->mutex);
	free(s);
}
