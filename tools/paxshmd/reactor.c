/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "reactor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "../../net/link.h"
#include "../../net/loop.h"
#include "../../shm/atom.h"
#include "../../shm/ring.h"
#include "../../shm/segment.h"
#include "../../shm/sys.h"
#include "config.h"
#include "doorman.h"
#include "handover.h"
#include "log.h"

#define TURNS_MAX 16u            /* in a row, before descriptors are looked at again */
#define ASK_NS (500 * NS_PER_MS) /* for another host to say who owns a lock */

/* Watches of the loop: what it is, then which. The links have their own byte. */
enum watch { WATCH_KEEPER = 1, WATCH_DOOR, WATCH_STRANGER, WATCH_SOCKET, WATCH_PROCESS };

static uint64_t tag_of(enum watch watch, uint32_t slot, uint32_t place)
{
	return (uint64_t)watch << 56 | (uint64_t)place << 32 | slot;
}

struct guest { /* an open session's descriptors */
	bool used, welcomed;
	struct segment rings;
	int socket; /* -1: closed */
	int pidfd[HANDOVER_PIDFDS]; /* -1: none, or that process has ended */
	uint32_t pid, uid;
};

struct stranger { /* a connection that has not greeted */
	int fd; /* -1: a free place */
	uint64_t until_ns;
};

struct reactor {
	struct config *config;
	int listen_fd, life_fd, tcp_fd, reserve_fd, tables_fd;
	struct segment private, tables, arena;
	uint64_t nonce;
	bool founding;

	struct agent *agent;
	struct loop *loop;
	struct links *links;
	struct link_peer peers[CONFIG_HOSTS];
	struct house house;

	bool asleep;   /* agent_may_sleep() said yes */
	bool stepping; /* actions are being carried out */
	bool stepped;  /* since this was last cleared */
	bool again;
	uint64_t wake_at_ns;
	int status;    /* -1: go on; else end with it */

	bool linked[HOSTS_MAX], votes[HOSTS_MAX];
	uint16_t down[HOSTS_MAX]; /* links that broke while stepping */
	unsigned n_down;

	struct guest guest[SESSIONS_MAX + 1];
	struct stranger stranger[DOORMAN_STRANGERS];
};

/* ---- to the keeper ---- */

static void tell_keeper(struct reactor *r, const struct handover *m, const int *fds, unsigned n)
{
	if (r->status < 0 && handover_send(HANDOVER_FD, m, fds, n))
		r->status = 0; /* without a keeper there is no agent */
}

/* ---- stepping the agent ---- */

static const char *host_name(const struct reactor *r, uint16_t host)
{
	for (unsigned i = 0; i < r->config->n_hosts; i++)
		if (r->config->hosts[i].id == host)
			return r->config->hosts[i].name;
	return "";
}

static bool belongs_to(const struct reactor *r, uint16_t host, uint16_t to)
{
	switch (to) {
	case PAXOS_TO_ALL:
		return true;
	case PAXOS_TO_VOTERS:
		return r->votes[host];
	case PAXOS_TO_OBSERVERS:
		return !r->votes[host];
	default:
		return host == to;
	}
}

static void send_frame(struct reactor *r, const struct agent_action *action)
{
	if (action->to < HOSTS_MAX) {
		/* A frame that finds no link, or a full one, is a lost message: the agents live with it. */
		if (r->linked[action->to])
			links_send(r->links, action->to, action->bytes, action->len);
		return;
	}
	for (unsigned i = 0; i < r->config->n_hosts; i++) {
		uint16_t host = r->config->hosts[i].id;

		if (r->linked[host] && belongs_to(r, host, action->to))
			links_send(r->links, host, action->bytes, action->len);
	}
}

static void close_watched(struct reactor *r, int *fd)
{
	if (*fd < 0)
		return;
	loop_forget(r->loop, *fd);
	close(*fd);
	*fd = -1;
}

static void mute(struct reactor *r, uint32_t slot)
{
	struct handover m = { .kind = HANDOVER_MUTE, .slot = slot };

	if (r->guest[slot].socket < 0)
		return;
	close_watched(r, &r->guest[slot].socket);
	tell_keeper(r, &m, NULL, 0);
}

static void see_out(struct reactor *r, uint32_t slot)
{
	struct handover m = { .kind = HANDOVER_DROP, .slot = slot };
	struct guest *g = &r->guest[slot];

	if (!g->used)
		return;
	close_watched(r, &g->socket);
	for (unsigned i = 0; i < HANDOVER_PIDFDS; i++)
		close_watched(r, &g->pidfd[i]);
	segment_release(&g->rings);
	g->used = g->welcomed = false;
	tell_keeper(r, &m, NULL, 0);
}

static void carry_out(struct reactor *r, const struct agent_action *a)
{
	struct wire_hello hello;

	switch (a->kind) {
	case ACTION_SEND:
		send_frame(r, a);
		break;
	case ACTION_WAKE:
		if (r->guest[a->slot].used)
			sys_futex_wake(&((struct session_rings *)r->guest[a->slot].rings.at)->bell[a->call], 1);
		break;
	case ACTION_CLOSED:
		see_out(r, a->slot);
		break;
	case ACTION_BANNED: {
		char peer[32];

		snprintf(peer, sizeof(peer), "uid:%u", r->guest[a->slot].uid);
		log_peer(peer, sys_now_ns(), LOG_WARNING, "event=session.banned peer=%s pid=%u slot=%u reason=%s", peer,
			 r->guest[a->slot].pid, a->slot, log_quote(a->text));
		mute(r, a->slot);
		break;
	}
	case ACTION_BAD_PEER:
		log_peer(host_name(r, a->to), sys_now_ns(), LOG_WARNING, "event=peer.bad peer=%s reason=%s",
			 log_quote(host_name(r, a->to)), log_quote(a->text));
		if (r->links)
			links_drop(r->links, a->to, a->text);
		break;
	case ACTION_HELLO:
		hello = agent_hello(r->agent);
		if (r->links)
			links_set_hello(r->links, &hello);
		break;
	case ACTION_LOG:
		log_line(a->level, "%s", a->text);
		break;
	case ACTION_FATAL:
		log_line(LOG_CRIT, "event=agent.fatal text=%s", log_quote(a->text));
		r->status = AGENT_EXIT_FATAL;
		break;
	}
}

static void step_once(struct reactor *r, struct agent_event *e)
{
	struct agent_actions actions;

	if (r->asleep)
		agent_awake(r->agent);
	r->asleep = false;
	ASSERT(!r->stepping);
	r->stepping = r->stepped = true;
	e->now_ns = sys_now_ns();
	actions = agent_step(r->agent, e);
	for (unsigned i = 0; i < actions.n && r->status < 0; i++)
		carry_out(r, &actions.at[i]);
	r->wake_at_ns = actions.wake_at_ns;
	r->again = actions.again;
	r->stepping = false;
}

static void step(struct reactor *r, struct agent_event *e)
{
	step_once(r, e);
	while (r->n_down && r->status < 0)
		step_once(r, &(struct agent_event){ .kind = AGENT_LINK_DOWN, .from = r->down[--r->n_down] });
}

/* ---- links ---- */

static void show_link(struct reactor *r, uint16_t host, bool up, bool votes)
{
	r->linked[host] = up;
	r->votes[host] = up && votes;
	atom_store_relaxed(&tables_host(r->tables.at, host)->linked, up);
}

static void heed_link(void *context, const struct link_event *event)
{
	struct reactor *r = context;
	const char *name = event->host ? host_name(r, event->host) : "stranger";
	uint64_t now = sys_now_ns();

	if (event->kind != LINK_REFUSED && (!event->host || event->host >= HOSTS_MAX))
		return;
	switch (event->kind) {
	case LINK_UP:
		show_link(r, event->host, true, event->hello->votes);
		log_peer(name, now, LOG_INFO, "event=link.up peer=%s votes=%s", log_quote(name), event->hello->votes ? "yes" : "no");
		step(r, &(struct agent_event){ .kind = AGENT_LINK_UP, .from = event->host, .hello = event->hello });
		break;
	case LINK_FRAME:
		step(r, &(struct agent_event){ .kind = AGENT_FRAME, .from = event->host, .bytes = event->frame, .len = event->len });
		break;
	case LINK_DOWN:
		show_link(r, event->host, false, false);
		log_peer(name, now, LOG_WARNING, "event=link.down peer=%s reason=%s", log_quote(name), log_quote(event->reason));
		if (r->stepping)
			r->down[r->n_down++ % HOSTS_MAX] = event->host;
		else
			step(r, &(struct agent_event){ .kind = AGENT_LINK_DOWN, .from = event->host });
		break;
	case LINK_REFUSED:
		log_peer(name, now, LOG_WARNING, "event=link.refused peer=%s reason=%s", log_quote(name), log_quote(event->reason));
		break;
	}
}

/* Who dials: an observer its voters; of two voters the one with the smaller id. Observers do not
 * talk to each other. */
static int open_links(struct reactor *r)
{
	const struct config *c = r->config;
	const struct config_host *self = &c->hosts[c->self];
	struct link_config config = { .hello = agent_hello(r->agent), .peers = r->peers, .listen_fd = r->tcp_fd };

	for (unsigned i = 0; i < c->n_hosts; i++) {
		const struct config_host *h = &c->hosts[i];
		struct link_peer *p = &r->peers[config.n_peers];

		if (h == self || (h->role == HOST_OBSERVER && self->role == HOST_OBSERVER))
			continue;
		p->host = h->id;
		p->address = h->address;
		p->address_len = h->address_len;
		snprintf(p->name, sizeof(p->name), "%s", h->name);
		p->dial = h->role == HOST_VOTER && (self->role == HOST_OBSERVER || self->id < h->id);
		config.n_peers++;
	}
	return links_open(&r->links, r->loop, &config, heed_link, r);
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

static void process_ended(struct reactor *r, uint32_t slot, uint32_t place)
{
	struct guest *g = &r->guest[slot];

	close_watched(r, &g->pidfd[place]);
	if (is_deserted(g))
		step(r, &(struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = slot });
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
	tell_keeper(r, &m, &fd, 1);
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

static void heed_socket(struct reactor *r, uint32_t slot)
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
		mute(r, slot);
	} else if (kinds & DOORMAN_GONE) {
		mute(r, slot); /* its process decides, not its socket */
	} else if (more) {
		/* A watch tells of what comes after it began: begin it again. */
		loop_forget(r->loop, g->socket);
		if (loop_poll(r->loop, g->socket, tag_of(WATCH_SOCKET, slot, 0)))
			mute(r, slot);
	}
}

/* ---- strangers at the door ---- */

static void send_away(struct reactor *r, struct stranger *s, int result, const char *reason)
{
	if (result)
		doorman_refuse(s->fd, &r->house, result, reason);
	close_watched(r, &s->fd);
}

static int say_welcome(struct reactor *r, uint32_t slot)
{
	struct handover m = { .kind = HANDOVER_WELCOMED, .slot = slot };
	struct guest *g = &r->guest[slot];
	int fds[] = { r->tables_fd, r->arena.fd, g->rings.fd, doorman_life(r->life_fd) };
	int rc;

	if (fds[3] < 0)
		return fds[3];
	rc = doorman_welcome(g->socket, &r->house, slot, fds);
	close(fds[3]);
	if (rc)
		return rc;
	g->welcomed = true;
	tell_keeper(r, &m, NULL, 0);
	return 0;
}

/* Makes a session of a visitor who may come in. `socket` and the visitor's pidfd are the session's
 * on success. 0 or -errno. */
static int let_in(struct reactor *r, const struct visitor *v, int socket, uint32_t slot)
{
	struct tables *t = r->tables.at;
	struct guest *g = &r->guest[slot];
	struct handover m = { .kind = HANDOVER_KEEP, .slot = slot, .pid = v->identity.pid, .uid = v->identity.uid };
	struct segment rings = SEGMENT_NONE;
	int rc = segment_create(&rings, "paxshm-session", align_up(sizeof(struct session_rings), 4096));

	if (rc)
		return rc;
	ASSERT(!g->used);
	rings_format(rings.at, slot, atom_load_acquire(&t->incarnation));
	g->used = true;
	g->welcomed = false;
	g->rings = rings;
	g->pidfd[0] = v->pidfd;
	g->socket = socket;
	g->pid = v->identity.pid;
	g->uid = v->identity.uid;
	/* The keeper first: from here on this process may be killed at any instruction. */
	tell_keeper(r, &m, (int[]){ rings.fd, v->pidfd, socket }, 3);
	step(r, &(struct agent_event){ .kind = AGENT_SESSION_OPEN, .slot = slot, .rings = rings.at, .identity = v->identity });
	if (r->status >= 0 || !g->used)
		return 0;
	loop_forget(r->loop, socket); /* it was watched as a stranger's */
	rc = watch_guest(r, slot);
	if (!rc)
		rc = say_welcome(r, slot);
	if (rc && g->used)
		/* He never got the session, so nothing was done in it. */
		step(r, &(struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = slot });
	return 0;
}

static void admit(struct reactor *r, struct stranger *s, const void *bytes, size_t len)
{
	struct greeting g;
	struct visitor v;
	char reason[256], peer[48] = "uid:unknown";
	uint32_t slot = 0;
	int rc = doorman_identify(s->fd, &v);

	if (rc) {
		snprintf(reason, sizeof(reason), rc == -ESRCH ? "this process cannot be seen by the agent: is it in another pid namespace?"
							      : "the agent cannot look after this process: %s", strerror(-rc));
		if (rc == -ESRCH)
			rc = -EPERM;
	} else {
		snprintf(peer, sizeof(peer), "uid:%u", v.identity.uid);
		rc = doorman_judge(&r->house, &v, &g, doorman_parse(bytes, len, &g), reason);
		if (!rc && !(slot = agent_free_slot(r->agent))) {
			rc = -ENOSPC;
			snprintf(reason, sizeof(reason),
				 "all %u sessions of this host are in use: end some, or raise \"sessions\" in the agent's configuration",
				 config_limits(r->config).sessions);
		}
		if (!rc) {
			rc = let_in(r, &v, s->fd, slot);
			if (!rc) {
				s->fd = -1;
				return;
			}
			snprintf(reason, sizeof(reason), "the agent has no room for this session: %s", strerror(-rc));
		}
		close(v.pidfd);
	}
	log_peer(peer, sys_now_ns(), LOG_WARNING, "event=session.refused peer=%s reason=%s", peer, log_quote(reason));
	send_away(r, s, rc, reason);
}

static void heed_stranger(struct reactor *r, struct stranger *s)
{
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
	if (loop_poll(r->loop, fd, tag_of(WATCH_STRANGER, i, 0))) {
		r->stranger[i].fd = -1;
		close(fd);
		return;
	}
	heed_stranger(r, &r->stranger[i]); /* most have greeted by now */
}

/* No descriptor is left: one in reserve says so to whoever waits at the door. */
static void turn_away(struct reactor *r)
{
	int fd;

	log_peer("descriptors", sys_now_ns(), LOG_ERR,
		 "event=session.refused peer=unknown reason=\"no descriptor is left: raise LimitNOFILE of the service\"");
	if (r->reserve_fd < 0)
		return;
	close(r->reserve_fd);
	while ((fd = accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		doorman_refuse(fd, &r->house, -EMFILE, "the agent has no descriptor left: raise LimitNOFILE of its service");
		close(fd);
	}
	r->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void heed_door(struct reactor *r, int result)
{
	if (result >= 0)
		new_stranger(r, result);
	else if (result == -EMFILE || result == -ENFILE)
		turn_away(r);
	else
		log_peer("door", sys_now_ns(), LOG_ERR, "event=door.failed error=%s", log_quote(strerror(-result)));
}

/* Closes connections that said nothing in time; answers when the next is due. */
static uint64_t look_at_strangers(struct reactor *r, uint64_t now)
{
	uint64_t next = NEVER;

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
	return next;
}

/* ---- the loop ---- */

static void heed_keeper(struct reactor *r)
{
	struct handover m;
	int fds[HANDOVER_FDS_MAX], rc;
	unsigned n = 0;

	while ((rc = handover_receive(HANDOVER_FD, false, &m, fds, &n)) > 0) {
		if (m.kind == HANDOVER_END)
			r->status = 0;
		while (n)
			close(fds[--n]);
	}
	if (rc != -EAGAIN && r->status < 0) {
		log_line(LOG_ERR, "event=agent.orphaned text=\"the keeper is gone: ending\"");
		r->status = 1;
	}
}

static void heed(void *context, const struct loop_event *event)
{
	struct reactor *r = context;
	uint32_t slot = (uint32_t)event->tag;

	if (r->status >= 0) {
		if (event->kind == LOOP_ACCEPTED && event->result >= 0 && event->tag >> 56 == WATCH_DOOR)
			close(event->result);
		return;
	}
	switch (event->tag >> 56) {
	case LINK_TAG:
		links_event(r->links, event, sys_now_ns());
		break;
	case WATCH_KEEPER:
		heed_keeper(r);
		break;
	case WATCH_DOOR:
		heed_door(r, event->result);
		break;
	case WATCH_STRANGER:
		if (r->stranger[slot].fd >= 0)
			heed_stranger(r, &r->stranger[slot]);
		break;
	case WATCH_SOCKET:
		if (r->guest[slot].socket >= 0)
			heed_socket(r, slot);
		break;
	case WATCH_PROCESS:
		if (r->guest[slot].pidfd[event->tag >> 32 & 0xff] >= 0)
			process_ended(r, slot, event->tag >> 32 & 0xff);
		break;
	}
}

/* All that can be done now; answers until when nothing more will be. 0: do not sleep. */
static uint64_t work(struct reactor *r)
{
	uint64_t until;

	if (sys_now_ns() >= r->wake_at_ns)
		step(r, &(struct agent_event){ .kind = AGENT_TIME });
	r->again = true;
	for (unsigned i = 0; i < TURNS_MAX && r->again && r->status < 0; i++)
		step(r, &(struct agent_event){ .kind = AGENT_TURN });
	until = look_at_strangers(r, sys_now_ns());
	if (r->links) {
		uint64_t links_until = links_tick(r->links, sys_now_ns());

		until = MIN(until, links_until);
		r->stepped = false;
		links_flush(r->links);
		if (r->stepped)
			return 0;
	}
	if (r->again || r->status >= 0)
		return 0;
	r->asleep = agent_may_sleep(r->agent);
	return r->asleep ? MIN(until, r->wake_at_ns) : 0;
}

static void run(struct reactor *r)
{
	while (r->status < 0) {
		int rc = loop_turn(r->loop, work(r), heed, r);

		if (r->asleep)
			agent_awake(r->agent);
		r->asleep = false;
		if (rc) {
			log_line(LOG_ERR, "event=loop.failed error=%s", log_quote(strerror(-rc)));
			r->status = 1;
		}
	}
}

/* ---- taking over ---- */

static int take_config(struct reactor *r, int fd)
{
	struct segment s = SEGMENT_NONE;
	int rc = segment_map(&s, fd, false, false);

	if (rc)
		return rc;
	if (s.size < sizeof(struct config) || ((struct config *)s.at)->size != sizeof(struct config)) {
		segment_release(&s);
		log_line(LOG_CRIT, "event=agent.foreign text=\"the keeper is of another build: restart paxshmd as a whole\"");
		return -EPROTO;
	}
	r->config = s.at; /* for the life of the process */
	return 0;
}

static int take_session(struct reactor *r, const struct handover *m, const int *fds, unsigned n)
{
	struct guest *g = &r->guest[m->slot];
	unsigned at = 0;
	int rc;

	if (!m->slot || m->slot > SESSIONS_MAX || g->used ||
	    n != 1 + (unsigned)__builtin_popcount(m->pidfds) + m->has_socket)
		return -EPROTO;
	rc = segment_map(&g->rings, fds[at++], true, false);
	if (rc)
		return rc;
	for (unsigned i = 0; i < HANDOVER_PIDFDS; i++)
		if (m->pidfds & 1u << i)
			g->pidfd[i] = fds[at++];
	g->socket = m->has_socket ? fds[at] : -1;
	g->used = true;
	g->welcomed = m->welcomed;
	g->pid = m->pid;
	g->uid = m->uid;
	return 0;
}

static int take_one(struct reactor *r, const struct handover *m, const int *fds, unsigned n)
{
	int rc;

	if (m->kind == HANDOVER_CONFIG && n == 1)
		return take_config(r, fds[0]);
	if (m->kind == HANDOVER_SESSION)
		return take_session(r, m, fds, n);
	if (m->kind == HANDOVER_LISTEN && n >= 2) {
		r->listen_fd = fds[0];
		r->life_fd = fds[1];
		r->tcp_fd = n > 2 ? fds[2] : -1;
		return 0;
	}
	if (m->kind != HANDOVER_MEMORY || n != 3)
		return -EPROTO;
	r->nonce = m->nonce;
	r->founding = m->founding;
	rc = segment_map(&r->private, fds[0], true, false);
	if (!rc)
		rc = segment_map(&r->tables, fds[1], true, false);
	if (!rc)
		rc = segment_map(&r->arena, fds[2], true, false);
	if (!rc)
		rc = r->tables_fd = segment_open_readonly(&r->tables);
	return rc < 0 ? rc : 0;
}

/* Everything up to GO. */
static int take_over(struct reactor *r)
{
	struct handover m;
	int fds[HANDOVER_FDS_MAX], rc;
	unsigned n;

	while ((rc = handover_receive(HANDOVER_FD, true, &m, fds, &n)) > 0) {
		if (m.kind == HANDOVER_GO)
			return r->config && r->tables.at && r->listen_fd >= 0 ? 0 : -EPROTO;
		if (m.kind == HANDOVER_END)
			return -ECANCELED;
		rc = take_one(r, &m, fds, n);
		if (rc)
			return rc;
	}
	return rc ? rc : -EPIPE;
}

static int start_agent(struct reactor *r, const char **ret_why)
{
	const struct config *c = r->config;
	struct agent_memory memory = { r->private.at, r->tables.at, r->arena.at };
	struct agent_config config = {
		.self = c->hosts[c->self].id,
		.founding = r->founding,
		.limits = config_limits(c),
		.heartbeat_ns = c->heartbeat_ms * NS_PER_MS,
		.election_ns = c->election_ms * NS_PER_MS,
		.host_lease_ns = c->host_lease_ms * NS_PER_MS,
		.handover_max = c->handover_max,
		.ask_ns = ASK_NS,
		.nonce = r->nonce,
	};
	int rc = sys_random(&config.seed, sizeof(config.seed));

	if (rc)
		return rc;
	snprintf(config.cluster, sizeof(config.cluster), "%s", c->cluster);
	/* In the order of their ids, however the file lists them. */
	for (unsigned i = 0; i < c->n_hosts; i++) {
		unsigned at = config.n_voters;

		if (c->hosts[i].role != HOST_VOTER)
			continue;
		for (; at && config.voters[at - 1] > c->hosts[i].id; at--)
			config.voters[at] = config.voters[at - 1];
		config.voters[at] = c->hosts[i].id;
		config.n_voters++;
	}
	return agent_new(&r->agent, &config, &memory, sys_now_ns(), ret_why);
}

/* What the tables show of this host alone. */
static void show_hosts(struct reactor *r)
{
	struct tables *t = r->tables.at;
	struct timespec real;

	for (unsigned i = 1; i < t->n_hosts; i++)
		tables_host(t, i)->linked = tables_host(t, i)->role = 0;
	for (unsigned i = 0; i < r->config->n_hosts; i++) {
		const struct config_host *h = &r->config->hosts[i];
		struct host_row *row = tables_host(t, h->id);

		memcpy(row->name, h->name, sizeof(row->name));
		atom_store_release(&row->role, h->role);
	}
	atom_store_relaxed(&t->agent_pid, (uint32_t)getpid());
	clock_gettime(CLOCK_REALTIME, &real);
	atom_store_relaxed(&t->clock_gap_ns, (uint64_t)real.tv_sec * NS_PER_S + (uint64_t)real.tv_nsec - sys_now_ns());
}

/* The sessions that an earlier agent left. */
static void take_guests(struct reactor *r)
{
	for (uint32_t slot = 1; slot <= SESSIONS_MAX && r->status < 0; slot++) {
		struct guest *g = &r->guest[slot];

		if (g->used && !agent_has_session(r->agent, slot)) {
			see_out(r, slot); /* it never began, or had ended */
			continue;
		}
		if (!g->used) {
			if (agent_has_session(r->agent, slot)) {
				log_line(LOG_ERR, "event=session.lost slot=%u text=\"no descriptors of it were kept\"", slot);
				step(r, &(struct agent_event){ .kind = AGENT_SESSION_GONE, .slot = slot });
			}
			continue;
		}
		step(r, &(struct agent_event){ .kind = AGENT_SESSION_MAP, .slot = slot, .rings = g->rings.at });
		if (g->used && watch_guest(r, slot))
			log_line(LOG_ERR, "event=session.unwatched slot=%u", slot);
		/* Its agent died before it had answered. A second welcome is passed over by the library. */
		if (g->used && !g->welcomed && g->socket >= 0 && say_welcome(r, slot))
			mute(r, slot);
	}
}

static void ask_for_precedence(void)
{
#ifndef __SANITIZE_ADDRESS__
	/* Only what is there by now: a limit that is met later must not refuse a session. */
	mlockall(MCL_CURRENT);
#endif
	setpriority(PRIO_PROCESS, 0, -10);
}

static int begin(struct reactor *r)
{
	const char *why = "";
	int rc = take_over(r);

	if (rc == -ECANCELED)
		return r->status = 0;
	if (rc) {
		log_line(LOG_ERR, "event=agent.handover error=%s", log_quote(strerror(-rc)));
		return r->status = rc == -EPROTO ? AGENT_EXIT_FATAL : 1;
	}
	r->house = (struct house){ .cluster = r->config->cluster,
				   .host_name = r->config->hosts[r->config->self].name,
				   .host = r->config->hosts[r->config->self].id };
	doorman_look_around(&r->house);
	r->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	rc = start_agent(r, &why);
	if (rc) {
		log_line(LOG_ERR, "event=agent.memory error=%s text=%s", log_quote(strerror(-rc)), log_quote(why));
		return r->status = rc == -EPROTO ? AGENT_EXIT_MEMORY : 1;
	}
	show_hosts(r);
	rc = loop_open(&r->loop, (enum loop_engine)r->config->engine, &why);
	if (rc) {
		log_line(LOG_CRIT, "event=loop.unavailable error=%s text=%s", log_quote(strerror(-rc)), log_quote(why));
		return r->status = rc == -ENOSYS ? AGENT_EXIT_FATAL : 1;
	}
	rc = loop_poll(r->loop, HANDOVER_FD, tag_of(WATCH_KEEPER, 0, 0));
	if (!rc && r->tcp_fd >= 0)
		rc = open_links(r);
	if (!rc)
		take_guests(r);
	if (!rc)
		rc = loop_accept(r->loop, r->listen_fd, tag_of(WATCH_DOOR, 0, 0));
	if (rc) {
		log_line(LOG_ERR, "event=loop.failed error=%s", log_quote(strerror(-rc)));
		return r->status = 1;
	}
	return 0;
}

int reactor_run(void)
{
	static struct reactor reactor; /* large, and one a process */
	struct reactor *r = &reactor;
	struct handover serves = { .kind = HANDOVER_SERVES };
	unsigned sessions = 0;

	log_begin("agent");
	signal(SIGPIPE, SIG_IGN);
	fcntl(HANDOVER_FD, F_SETFD, FD_CLOEXEC);
	r->status = -1;
	r->listen_fd = r->life_fd = r->tcp_fd = r->reserve_fd = r->tables_fd = -1;
	r->private = r->tables = r->arena = SEGMENT_NONE;
	for (unsigned i = 0; i <= SESSIONS_MAX; i++) {
		r->guest[i].rings = SEGMENT_NONE;
		r->guest[i].socket = -1;
		for (unsigned p = 0; p < HANDOVER_PIDFDS; p++)
			r->guest[i].pidfd[p] = -1;
	}
	for (unsigned i = 0; i < DOORMAN_STRANGERS; i++)
		r->stranger[i].fd = -1;

	begin(r);
	if (r->status < 0) {
		for (unsigned i = 1; i <= SESSIONS_MAX; i++)
			sessions += r->guest[i].used;
		ask_for_precedence();
		log_line(LOG_NOTICE, "event=agent.serves pid=%d cluster=%s host=%s socket=%s loop=%s sessions=%u", (int)getpid(),
			 log_quote(r->config->cluster), log_quote(r->house.host_name), log_quote(r->config->socket),
			 log_quote(loop_engine_name(r->loop)), sessions);
		tell_keeper(r, &serves, NULL, 0);
		run(r);
	}
	links_close(r->links);
	loop_close(r->loop);
	agent_free(r->agent);
	return r->status;
}
