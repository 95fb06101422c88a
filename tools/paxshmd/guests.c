/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "../../shm/atom.h"
#include "../../shm/ring.h"
#include "../../shm/sys.h"
#include "guard.h"
#include "log.h"
#include "reactor_inside.h"

#define REASON_BYTES sizeof(((struct welcome *)0)->reason)
#define NO_DESCRIPTOR "the agent has no descriptor left: raise LimitNOFILE of its service"

/* ---- descriptors ---- */

static void close_watched(struct reactor *r, int *fd)
{
	if (*fd < 0)
		return;
	loop_forget(r->loop, *fd);
	close(*fd);
	*fd = -1;
}

void guests_mute(struct reactor *r, uint32_t slot)
{
	struct handover m = { .kind = HANDOVER_MUTE, .slot = slot };

	if (r->guest[slot].socket < 0)
		return;
	close_watched(r, &r->guest[slot].socket);
	reactor_tell_keeper(r, &m, NULL, 0);
}

void guests_see_out(struct reactor *r, uint32_t slot)
{
	struct handover m = { .kind = HANDOVER_DROP, .slot = slot };
	struct guest *g = &r->guest[slot];

	if (!g->used)
		return;
	close_watched(r, &g->socket);
	for (unsigned i = 0; i < HANDOVER_PIDFDS; i++)
		close_watched(r, &g->pidfd[i]);
	guard_area(slot, NULL, 0);
	segment_release(&g->rings);
	g->used = g->welcomed = false;
	reactor_tell_keeper(r, &m, NULL, 0);
}

/* ---- sessions ---- */

/* All processes that the session lived by have ended. */
static bool is_deserted(const struct guest *g)
{
	for (unsigned i = 0; i < HANDOVER_PIDFDS; i++)
		if (g->pidfd[i] >= 0)
			return false;
	return true;
}

void guests_process_ended(struct reactor *r, uint32_t slot, uint32_t place)
{
	struct guest *g = &r->guest[slot];

	struct handover m = { .kind = HANDOVER_PIDFD, .slot = slot, .place = place };

	close_watched(r, &g->pidfd[place]);
	if (!is_deserted(g))
		reactor_tell_keeper(r, &m, NULL, 0);
	else
		reactor_step(r, &(struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = slot });
}

static int watch_guest(struct reactor *r, uint32_t slot)
{
	struct guest *g = &r->guest[slot];
	int rc = g->socket < 0 ? 0 : loop_poll(r->loop, g->socket, tag_of(WATCH_SOCKET, slot, 0));

	for (unsigned i = 0; i < HANDOVER_PIDFDS && !rc; i++)
		if (g->pidfd[i] >= 0)
			rc = loop_poll(r->loop, g->pidfd[i], tag_of(WATCH_PROCESS, slot, i));
	return rc;
}

struct adoption {
	struct reactor *r;
	uint32_t slot;
};

static int adopt_as(struct reactor *r, uint32_t slot, int fd)
{
	struct guest *g = &r->guest[slot];
	struct handover m = { .kind = HANDOVER_PIDFD, .slot = slot, .place = 1 };
	int rc = doorman_check_pidfd(fd, g->uid);

	if (rc)
		return rc;
	while (m.place < HANDOVER_PIDFDS && g->pidfd[m.place] >= 0)
		m.place++;
	if (m.place == HANDOVER_PIDFDS)
		return -ENOSPC;
	reactor_tell_keeper(r, &m, &fd, 1);
	rc = loop_poll(r->loop, fd, tag_of(WATCH_PROCESS, slot, m.place));
	if (!rc)
		g->pidfd[m.place] = fd;
	return rc;
}

static void adopt(void *context, int fd)
{
	struct adoption *a = context;
	struct guest *g = &a->r->guest[a->slot];
	int rc = adopt_as(a->r, a->slot, fd);
	unsigned char answer = (unsigned char)-rc;

	if (rc)
		close(fd);
	/* He asked and waits: one byte always has room, unless he never takes his answers. */
	if (send(g->socket, &answer, 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		log_line(LOG_DEBUG, "event=session.answer slot=%u error=%s", a->slot, log_quote(strerror(errno)));
}

void guests_heed_socket(struct reactor *r, uint32_t slot)
{
	struct guest *g = &r->guest[slot];
	struct adoption a = { r, slot };
	bool more;
	unsigned kinds = doorman_drain(g->socket, adopt, &a, &more);
	char peer[32];

	/* RUNG needs nothing: the turn that follows looks into the rings. */
	if (kinds & DOORMAN_NONSENSE) {
		snprintf(peer, sizeof(peer), "uid:%u", g->uid);
		log_peer(peer, sys_now_ns(), LOG_WARNING,
			 "event=session.banned peer=%s pid=%u slot=%u reason=\"nonsense on its socket\"", peer, g->pid, slot);
		guests_mute(r, slot);
	} else if (kinds & DOORMAN_GONE) {
		guests_mute(r, slot); /* its process decides, not its socket */
	} else if (more) {
		/* A watch tells of what comes after it began: begin it again. */
		loop_forget(r->loop, g->socket);
		if (loop_poll(r->loop, g->socket, tag_of(WATCH_SOCKET, slot, 0)))
			guests_mute(r, slot);
	}
}

/* Takes the life descriptor (or -errno) that the client is to get. */
static int say_welcome(struct reactor *r, uint32_t slot, int life)
{
	struct handover m = { .kind = HANDOVER_WELCOMED, .slot = slot };
	struct guest *g = &r->guest[slot];
	int rc;

	if (life < 0)
		return life;
	rc = doorman_welcome(g->socket, &r->house, slot, (int[]){ r->tables_fd, r->arena.fd, g->rings.fd, life });
	close(life);
	if (rc)
		return rc;
	g->welcomed = true;
	reactor_tell_keeper(r, &m, NULL, 0);
	return 0;
}

/* The sessions that an earlier agent left. */
void guests_inherit(struct reactor *r)
{
	for (uint32_t slot = 1; slot <= SESSIONS_MAX; slot++) {
		struct guest *g = &r->guest[slot];

		if (g->used && !agent_has_session(r->agent, slot))
			guests_see_out(r, slot); /* it never began, or had ended */
		else if (g->used)
			reactor_step(r, &(struct agent_event){ .kind = AGENT_SESSION_MAP, .slot = slot, .rings = g->rings.at });
	}
	/* All are mapped: only now may the agent go on, and answer any of them. */
	for (uint32_t slot = 1; slot <= SESSIONS_MAX && r->status < 0; slot++) {
		struct guest *g = &r->guest[slot];

		if (!g->used) {
			if (agent_has_session(r->agent, slot)) {
				log_line(LOG_ERR, "event=session.lost slot=%u text=\"no descriptors of it were kept\"", slot);
				reactor_step(r, &(struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = slot });
			}
			continue;
		}
		if (is_deserted(g))
			reactor_step(r, &(struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = slot });
		if (g->used && watch_guest(r, slot))
			log_line(LOG_ERR, "event=session.unwatched slot=%u", slot);
		/* Its agent died before it had answered. A second welcome is passed over by the library. */
		if (g->used && !g->welcomed && g->socket >= 0 && say_welcome(r, slot, doorman_life(r->life_fd)))
			guests_mute(r, slot);
	}
}

/* ---- strangers at the door ---- */

static void send_away(struct reactor *r, struct stranger *s, int result, const char *reason)
{
	if (result)
		doorman_refuse(s->fd, &r->house, result, reason);
	close_watched(r, &s->fd);
}

/* Makes a session of a visitor who may come in. `socket` and the visitor's pidfd are the session's
 * on success. 0 or -errno. */
static int let_in(struct reactor *r, const struct visitor *v, int socket, uint32_t slot)
{
	struct tables *t = r->tables.at;
	struct guest *g = &r->guest[slot];
	struct handover m = { .kind = HANDOVER_KEEP, .slot = slot, .pid = v->identity.pid, .uid = v->identity.uid };
	struct segment rings = SEGMENT_NONE;
	int life = doorman_life(r->life_fd), rc;

	if (life < 0)
		return life;
	rc = segment_create(&rings, "paxshm-session", align_up(sizeof(struct session_rings), 4096));
	if (rc) {
		close(life);
		return rc;
	}
	ASSERT(!g->used);
	rings_format(rings.at, slot, atom_load_acquire(&t->incarnation));
	g->used = true;
	g->welcomed = false;
	g->rings = rings;
	guard_area(slot, rings.at, rings.size);
	g->pidfd[0] = v->pidfd;
	g->socket = socket;
	g->pid = v->identity.pid;
	g->uid = v->identity.uid;
	/* The keeper first: from here on this process may be killed at any instruction. */
	reactor_tell_keeper(r, &m, (int[]){ rings.fd, v->pidfd, socket }, 3);
	reactor_step(r, &(struct agent_event){ .kind = AGENT_SESSION_OPEN, .slot = slot, .rings = rings.at, .identity = v->identity });
	if (r->status >= 0 || !g->used) {
		close(life);
		return 0;
	}
	loop_forget(r->loop, socket); /* it was watched as a stranger's */
	rc = watch_guest(r, slot);
	if (!rc)
		rc = say_welcome(r, slot, life);
	else
		close(life);
	if (rc && g->used)
		/* He never got the session, so nothing was done in it. */
		reactor_step(r, &(struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = slot });
	return 0;
}

/* 0 and the slot he may have; or -errno and why not. */
static int examine(struct reactor *r, const struct visitor *v, const void *bytes, size_t len, uint32_t *ret_slot, char *reason)
{
	struct greeting g;
	int rc = doorman_parse(bytes, len, &g);

	rc = doorman_judge(&r->house, v, &g, rc, reason);
	if (rc)
		return rc;
	*ret_slot = agent_free_slot(r->agent);
	if (*ret_slot)
		return 0;
	snprintf(reason, REASON_BYTES,
		 "all %u sessions of this host are in use: end some, or raise \"sessions\" in the agent's configuration",
		 config_limits(r->config).sessions);
	return -ENOSPC;
}

static void explain(int rc, char *reason)
{
	if (rc == -ESRCH)
		snprintf(reason, REASON_BYTES, "this process cannot be seen by the agent: is it in another pid namespace?");
	else if (rc == -EMFILE || rc == -ENFILE)
		snprintf(reason, REASON_BYTES, NO_DESCRIPTOR);
	else
		snprintf(reason, REASON_BYTES, "the agent has no room for this session: %s", strerror(-rc));
}

static void admit(struct reactor *r, struct stranger *s, const void *bytes, size_t len)
{
	struct visitor v = { .pidfd = -1 };
	char reason[REASON_BYTES], peer[48] = "uid:unknown";
	uint32_t slot;
	int rc = doorman_identify(s->fd, &v);

	if (rc) {
		explain(rc, reason);
	} else {
		snprintf(peer, sizeof(peer), "uid:%u", v.identity.uid);
		rc = examine(r, &v, bytes, len, &slot, reason);
		if (!rc) {
			rc = let_in(r, &v, s->fd, slot);
			if (!rc) {
				s->fd = -1;
				return;
			}
			explain(rc, reason);
		}
		close(v.pidfd);
	}
	log_peer(peer, sys_now_ns(), LOG_WARNING, "event=session.refused peer=%s reason=%s", peer, log_quote(reason));
	send_away(r, s, rc == -ESRCH ? -EPERM : rc, reason);
}

void guests_heed_stranger(struct reactor *r, uint32_t place)
{
	struct stranger *s = &r->stranger[place];
	char bytes[1024]; /* a later layout's greeting may be longer, and is to be told of its version */
	int fds[HANDOVER_FDS_MAX];
	unsigned n_fds = 0;
	ssize_t n = sys_recv_fds(s->fd, bytes, sizeof(bytes), fds, ARRAY_LEN(fds), &n_fds, MSG_DONTWAIT);

	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n > 0 || n == -EBADMSG) {
		while (n_fds && n > 0)
			close(fds[--n_fds]); /* nothing is taken from strangers */
		admit(r, s, bytes, n > 0 ? (size_t)n : 0);
		return;
	}
	send_away(r, s, 0, NULL);
}

static void new_stranger(struct reactor *r, int fd)
{
	unsigned i = 0;

	while (i < DOORMAN_STRANGERS && r->stranger[i].fd >= 0)
		i++;
	if (i == DOORMAN_STRANGERS) {
		log_peer("door", sys_now_ns(), LOG_WARNING,
			 "event=session.refused peer=unknown reason=\"%u connections have not greeted yet\"", DOORMAN_STRANGERS);
		close(fd);
		return;
	}
	r->stranger[i] = (struct stranger){ .fd = fd, .until_ns = sys_now_ns() + DOORMAN_GREETING_NS };
	r->look_at_strangers_ns = MIN(r->look_at_strangers_ns, r->stranger[i].until_ns);
	if (loop_poll(r->loop, fd, tag_of(WATCH_STRANGER, i, 0))) {
		r->stranger[i].fd = -1;
		close(fd);
		return;
	}
	guests_heed_stranger(r, i); /* most have greeted by now */
}

/* No descriptor is left: one in reserve says so to whoever waits at the door. */
static void turn_away(struct reactor *r)
{
	char greeting[sizeof(struct greeting)];
	int fd;

	log_peer("descriptors", sys_now_ns(), LOG_ERR,
		 "event=session.refused peer=unknown reason=\"no descriptor is left: raise LimitNOFILE of the service\"");
	if (r->reserve_fd < 0)
		return;
	close(r->reserve_fd);
	while ((fd = accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		/* What is left unread would make the kernel throw our answer away. */
		(void)!recv(fd, greeting, sizeof(greeting), MSG_DONTWAIT);
		doorman_refuse(fd, &r->house, -EMFILE, NO_DESCRIPTOR);
		close(fd);
	}
	r->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void guests_heed_door(struct reactor *r, int result)
{
	if (result >= 0)
		new_stranger(r, result);
	else if (result == -EMFILE || result == -ENFILE)
		turn_away(r);
	else
		log_peer("door", sys_now_ns(), LOG_ERR, "event=door.failed error=%s", log_quote(strerror(-result)));
}

/* Closes connections that said nothing in time; answers when the next is due. */
uint64_t guests_look_at_strangers(struct reactor *r, uint64_t now)
{
	uint64_t next = NEVER;

	if (now < r->look_at_strangers_ns)
		return r->look_at_strangers_ns;
	for (unsigned i = 0; i < DOORMAN_STRANGERS; i++) {
		struct stranger *s = &r->stranger[i];

		if (s->fd < 0)
			continue;
		if (now >= s->until_ns) {
			log_peer("silent", now, LOG_WARNING, "event=session.refused peer=unknown reason=\"it connected and said nothing\"");
			send_away(r, s, 0, NULL);
		} else {
			next = MIN(next, s->until_ns);
		}
	}
	r->look_at_strangers_ns = next;
	return next;
}
