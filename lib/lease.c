/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease: whether what this host was granted can still be trusted, and the events that tell of it.
 *
 * Nothing here asks the agent: the deadline stands in the tables, and who is stopped, cut off or dead
 * cannot move it. So events come even when no agent is left to send them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "../shm/atom.h"
#include "../shm/lease_check.h"
#include "../shm/sys.h"
#include "gateway.h"
#include "session.h"

#define LOOK_AGAIN_NS (100 * NS_PER_MS) /* while suspended: how often to look whether it is over */
#define NAP_NS NS_PER_MS

int lease_look(const struct paxshm_session *s, uint64_t incarnation)
{
	const struct tables *t = s->tables;

	if (session_lost(s))
		return -ESTALE;
	return lease_check(t, incarnation, lease_margin_ns(atom_load_relaxed(&t->host_lease_ns)));
}

int lease_await(struct paxshm_session *s, uint64_t incarnation, struct patience patience, bool wait)
{
	int rc;

	while ((rc = lease_look(s, incarnation)) == -ENETUNREACH && wait) {
		static const uint32_t never_rung;
		int over = patience_over(s, patience);

		if (over)
			return over;
		if (session_look(s))
			return -ENOTCONN;
		sys_futex_wait(&never_rung, 0, sys_now_ns() + NAP_NS);
	}
	return rc;
}

/* ---- events; the mutex is held ---- */

/* The timer runs out when the lease does; while it has, it looks every now and then. */
static void timer_set(struct paxshm_session *s)
{
	uint64_t deadline_ns = atom_load_acquire(&s->tables->deadline_boot_ns), now_ns = sys_boot_ns();
	struct itimerspec at = { 0 };

	if (deadline_ns <= now_ns)
		deadline_ns = now_ns + LOOK_AGAIN_NS;
	if (deadline_ns != NEVER) {
		at.it_value.tv_sec = (time_t)(deadline_ns / NS_PER_S);
		at.it_value.tv_nsec = (long)(deadline_ns % NS_PER_S);
	}
	timerfd_settime(s->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static int watch(int epoll_fd, int fd, uint32_t events)
{
	struct epoll_event e = { .events = events };

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}

static int fd_make(struct paxshm_session *s)
{
	int rc = 0;

	s->event_fd = epoll_create1(EPOLL_CLOEXEC);
	s->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (s->event_fd < 0 || s->timer_fd < 0)
		rc = -errno;
	if (rc == 0)
		rc = watch(s->event_fd, s->timer_fd, EPOLLIN);
	if (rc == 0)
		rc = watch(s->event_fd, s->socket, EPOLLRDHUP); /* the keeper is gone */
	if (rc == 0) {
		timer_set(s);
		return 0;
	}
	if (s->event_fd >= 0)
		close(s->event_fd);
	if (s->timer_fd >= 0)
		close(s->timer_fd);
	s->event_fd = s->timer_fd = -1;
	return rc;
}

int paxshm_fd(paxshm_session *s)
{
	int rc = session_mine(s);

	if (rc)
		return rc;
	pthread_mutex_lock(&s->mutex);
	if (s->event_fd < 0)
		rc = fd_make(s);
	if (rc == 0)
		rc = s->event_fd;
	pthread_mutex_unlock(&s->mutex);
	return rc;
}

static bool lost(const struct paxshm_lock_handle *l)
{
	return atom_load_acquire(&l->count) && !l->told_lost && gateway_look(l) == -ESTALE;
}

static struct paxshm_lock_handle *find_lost(struct paxshm_session *s)
{
	for (struct paxshm_lock_handle *l = s->handles; l; l = l->next)
		if (lost(l)) {
			/* Its thread may be releasing and acquiring it anew just now: once more, with that one outside. */
			bias_share(&l->bias);
			if (lost(l))
				return l;
		}
	return NULL;
}

static bool host_suspended(const struct paxshm_session *s)
{
	uint64_t incarnation = atom_load_acquire(&s->tables->incarnation);

	return !incarnation || lease_look(s, incarnation) != 0;
}

int paxshm_next_event(paxshm_session *s, struct paxshm_event *ret_event)
{
	struct paxshm_event event = { .size = sizeof(event) };
	struct paxshm_lock_handle *gone;
	uint64_t times;
	int rc = session_mine(s);

	if (rc)
		return rc;
	if (!ret_event || ret_event->size < sizeof(*ret_event))
		return -EINVAL;
	session_look(s);
	pthread_mutex_lock(&s->mutex);
	if (s->timer_fd >= 0) {
		(void)!read(s->timer_fd, &times, sizeof(times));
		timer_set(s); /* before we look: what changes from here on makes it readable again */
	}
	/* In this order: a new life that we see here is seen by find_lost() too, so RESUMED never comes before a LOST;
	 * and when the session is over here, find_lost() misses nothing. */
	bool suspended = host_suspended(s), over = session_lost(s);

	if ((gone = find_lost(s))) {
		gone->told_lost = true;
		event.kind = PAXSHM_EVENT_LOST;
		event.lock = gone;
	} else if (!over && suspended != s->told_suspended) {
		s->told_suspended = suspended;
		event.kind = suspended ? PAXSHM_EVENT_SUSPENDED : PAXSHM_EVENT_RESUMED;
	}
	if (event.kind && s->timer_fd >= 0) /* there may be another: stay readable until we have said that there is none */
		timerfd_settime(s->timer_fd, 0, &(struct itimerspec){ .it_value.tv_nsec = 1 }, NULL);
	rc = event.kind ? 1 : over ? -ENOTCONN
				   : 0;
	pthread_mutex_unlock(&s->mutex);
	if (rc == 1)
		*ret_event = event;
	return rc;
}
