/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "reactor.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "../../shm/atom.h"
#include "../../shm/arena.h"
#include "../../shm/sys.h"
#include "guard.h"
#include "log.h"
#include "probe.h"
#include "reactor_inside.h"

#define TURNS_MAX 16u /* in a row, before descriptors are looked at again */

/* ---- to the keeper ---- */

void reactor_tell_keeper(struct reactor *r, const struct handover *m, const int *fds, unsigned n)
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

static void carry_out(struct reactor *r, const struct agent_action *a)
{
	struct wire_hello hello;

	switch (a->kind) {
	case ACTION_SEND:
		send_frame(r, a);
		break;
	case ACTION_WAKE:
		PROBE2(woken, a->slot, a->call);
		if (r->guest[a->slot].used)
			sys_futex_wake(&((struct session_rings *)r->guest[a->slot].rings.at)->bell[a->call], 1);
		break;
	case ACTION_ROUSE:
		sys_futex_wake(&arena_view(r->arena.at, r->tables.at).records[a->record].bell, 1);
		break;
	case ACTION_CLOSED:
		guests_see_out(r, a->slot);
		break;
	case ACTION_BANNED: {
		char peer[32];

		snprintf(peer, sizeof(peer), "uid:%u", r->guest[a->slot].uid);
		log_peer(peer, sys_now_ns(), LOG_WARNING, "event=session.banned peer=%s pid=%u slot=%u reason=%s", peer,
			 r->guest[a->slot].pid, a->slot, log_quote(a->text));
		guests_mute(r, a->slot);
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
	case ACTION_LOG: {
		char event[32]; /* "event=…": programs and peers can provoke some of these, so each kind has its limit */

		snprintf(event, sizeof(event), "%.*s", (int)strcspn(a->text, " "), a->text);
		log_peer(event, sys_now_ns(), a->level, "%s", a->text);
		break;
	}
	case ACTION_FATAL:
		log_line(LOG_CRIT, "event=agent.fatal text=%s", log_quote(a->text));
		r->status = AGENT_EXIT_FATAL;
		break;
	}
}

/* Events and steps go by one reading of the clock that stops with the machine, and by one, made behind it, of the
 * clock that does not: what is handed to the agent was received before that. What lies between the two is
 * measured where they are read at once, and again when the machine has slept since. */
static void read_time(struct reactor *r, uint64_t now_ns)
{
	r->now_ns = now_ns;
	r->boot_ns = sys_boot_ns();
	if (r->boot_ns - now_ns - r->suspended_ns > NS_PER_MS || !r->suspended_ns)
		r->suspended_ns = r->boot_ns - now_ns;
}

/* As programs measure it: by the cheap clocks. */
static uint64_t clock_gap_ns(void)
{
	struct timespec real;

	clock_gettime(CLOCK_REALTIME_COARSE, &real);
	return (uint64_t)real.tv_sec * NS_PER_S + (uint64_t)real.tv_nsec - sys_coarse_ns();
}

/* What a page of zeros means in a ring its reader finds out. In the arena it means that programs and agent do not see the same
 * gates any more: only a new life of the host puts that right. */
static void heed_lost_pages(struct reactor *r)
{
	unsigned place;

	while (guard_hit(&place)) {
		log_peer("memory", sys_now_ns(), LOG_ERR, "event=memory.lost slot=%u text=\"a page that programs share with the agent was punched out, "
							  "and no memory is to be had for it\"",
			 place);
		if (place == GUARD_ARENA)
			r->status = AGENT_EXIT_FATAL;
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
	e->now_ns = r->boot_ns;
	e->suspended_ns = r->suspended_ns;
	e->clock_gap_ns = clock_gap_ns();
	actions = agent_step(r->agent, e);
	/* First: an action may follow from zeros that stood where a gate was, as the release of a lock that somebody owns. */
	heed_lost_pages(r);
	for (unsigned i = 0; i < actions.n && r->status < 0; i++)
		carry_out(r, &actions.at[i]);
	r->wake_at_ns = actions.wake_at_ns == NEVER ? NEVER : actions.wake_at_ns - MIN(actions.wake_at_ns, r->suspended_ns);
	r->again = actions.again;
	r->stepping = false;
}

void reactor_step(struct reactor *r, struct agent_event *e)
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

/*
 * Under which name refusals are limited: each reason has its own, so an old one does not hide a new one. Numbers make
 * no new reason: a stranger has another port each time, and speaks what version he likes.
 */
static void name_refusal(char *ret, size_t cap, const char *name, const char *reason)
{
	size_t at = (size_t)snprintf(ret, cap, "%s: ", name);

	for (; *reason && at < cap - 1; reason++)
		if (*reason < '0' || *reason > '9')
			ret[at++] = *reason;
	ret[at] = '\0';
}

static void heed_link(void *context, const struct link_event *event)
{
	struct reactor *r = context;
	const char *name;

	if (event->kind != LINK_REFUSED && (!event->host || event->host >= HOSTS_MAX))
		return;
	if (event->kind == LINK_FRAME) {
		reactor_step(r, &(struct agent_event){ .kind = AGENT_FRAME, .from = event->host, .bytes = event->frame, .len = event->len });
		return;
	}
	name = event->host ? host_name(r, event->host) : "stranger";
	switch (event->kind) {
	case LINK_UP:
		show_link(r, event->host, true, event->hello->votes);
		log_peer(name, r->now_ns, LOG_INFO, "event=link.up peer=%s votes=%s", log_quote(name), event->hello->votes ? "yes" : "no");
		reactor_step(r, &(struct agent_event){ .kind = AGENT_LINK_UP, .from = event->host, .hello = event->hello });
		break;
	case LINK_FRAME:
		break;
	case LINK_DOWN:
		show_link(r, event->host, false, false);
		log_peer(name, r->now_ns, LOG_WARNING, "event=link.down peer=%s reason=%s", log_quote(name), log_quote(event->reason));
		if (r->stepping)
			r->down[r->n_down++ % HOSTS_MAX] = event->host;
		else
			reactor_step(r, &(struct agent_event){ .kind = AGENT_LINK_DOWN, .from = event->host });
		break;
	case LINK_REFUSED: {
		char limit[192];

		name_refusal(limit, sizeof(limit), name, event->reason);
		log_peer(limit, r->now_ns, LOG_WARNING, "event=link.refused peer=%s reason=%s", log_quote(name), log_quote(event->reason));
		break;
	}
	}
}

/* Who dials: an observer its voters; of two voters the one with the smaller id. Observers do not
 * talk to each other. */
int reactor_open_links(struct reactor *r)
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

/* ---- the loop ---- */

/* Whoever waits for a leader need not wait for the end of ours. */
static void leave(struct reactor *r)
{
	read_time(r, sys_now_ns());
	reactor_step(r, &(struct agent_event){ .kind = AGENT_LEAVE });
	if (r->links)
		links_flush(r->links);
}

static void heed_keeper(struct reactor *r)
{
	struct handover m;
	int fds[HANDOVER_FDS_MAX], rc;
	unsigned n = 0;

	while ((rc = handover_receive(HANDOVER_FD, false, &m, fds, &n)) > 0) {
		if (m.kind == HANDOVER_LEAVE)
			leave(r);
		if (m.kind == HANDOVER_END || m.kind == HANDOVER_LEAVE)
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
	if (event->now_ns != r->now_ns)
		read_time(r, event->now_ns);
	switch (event->tag >> 56) {
	case LINK_TAG:
		links_event(r->links, event, r->now_ns);
		break;
	case WATCH_KEEPER:
		heed_keeper(r);
		break;
	case WATCH_DOOR:
		guests_heed_door(r, event->result);
		break;
	case WATCH_STRANGER:
		if (r->stranger[slot].fd >= 0)
			guests_heed_stranger(r, slot);
		break;
	case WATCH_SOCKET:
		if (r->guest[slot].socket >= 0)
			guests_heed_socket(r, slot);
		break;
	case WATCH_PROCESS:
		if (r->guest[slot].pidfd[event->tag >> 32 & 0xff] >= 0)
			guests_process_ended(r, slot, event->tag >> 32 & 0xff);
		break;
	}
}

/* All that can be done now; answers until when nothing more will be. 0: do not sleep. */
static uint64_t work(struct reactor *r)
{
	uint64_t until;

	r->suspended_ns = 0;
	read_time(r, sys_now_ns());
	if (r->now_ns >= r->wake_at_ns)
		reactor_step(r, &(struct agent_event){ .kind = AGENT_TIME });
	r->again = true;
	for (unsigned i = 0; i < TURNS_MAX && r->again && r->status < 0; i++)
		reactor_step(r, &(struct agent_event){ .kind = AGENT_TURN });
	until = guests_look_at_strangers(r, r->now_ns);
	if (r->links) {
		uint64_t links_until = links_tick(r->links, r->now_ns);

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

/* Whether anything was done for programs since the last look: their requests, or slots of the log. */
static bool worked(struct reactor *r)
{
	const struct tables *t = r->tables.at;
	uint64_t work = t->requests + t->agreed.applied;
	bool more = work != r->seen_work;

	r->seen_work = work;
	return more;
}

/* One turn of the loop until `until`, at the end of which something may have come. */
static int wait_for(struct reactor *r, uint64_t until)
{
	uint64_t events = loop_counts(r->loop).events, before = r->now_ns;
	bool look, would_sleep = until > before;
	int rc;

	if (worked(r)) {
		if (r->spin.looking)
			spin_found(&r->spin, 0); /* a request, without its doorbell */
		spin_worked(&r->spin, before);
	}
	look = would_sleep && spin_looks(&r->spin, before);
	if (look) {
		if (r->asleep)
			agent_awake(r->agent); /* no doorbell is needed meanwhile */
		r->asleep = false;
		before = sys_now_ns();
		sched_yield();
		spin_yielded(&r->spin, before, sys_now_ns());
	}
	rc = loop_turn(r->loop, look ? 0 : until, heed, r);
	if (would_sleep && loop_counts(r->loop).events != events)
		spin_found(&r->spin, look ? 0 : r->now_ns - before);
	return rc;
}

static void run(struct reactor *r)
{
	r->spin.able = sys_cores() > 1;
	while (r->status < 0) {
		int rc = wait_for(r, work(r));

		if (r->asleep)
			agent_awake(r->agent);
		r->asleep = false;
		if (rc) {
			log_line(LOG_ERR, "event=loop.failed error=%s", log_quote(strerror(-rc)));
			r->status = 1;
		}
	}
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
	guard_begin(); /* without it a page that is lost ends the agent, and its keeper starts another */
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

	takeover(r);
	if (r->status < 0) {
		for (unsigned i = 1; i <= SESSIONS_MAX; i++)
			sessions += r->guest[i].used;
		log_line(LOG_NOTICE, "event=agent.serves pid=%d cluster=%s host=%s socket=%s loop=%s sessions=%u", (int)getpid(),
			 log_quote(r->config->cluster), log_quote(r->house.host_name), log_quote(r->config->socket),
			 log_quote(loop_engine_name(r->loop)), sessions);
		reactor_tell_keeper(r, &serves, NULL, 0);
		run(r);
	}
	links_close(r->links);
	loop_close(r->loop);
	agent_free(r->agent);
	return r->status;
}
