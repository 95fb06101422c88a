/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "../../lib/base.h"
#include "../../shm/atom.h"
#include "../../shm/sys.h"
#include "guard.h"
#include "log.h"
#include "reactor_inside.h"

#define ASK_NS (500 * NS_PER_MS) /* for another host to say who owns a lock */

/* ---- from the keeper ---- */

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
	guard_area(m->slot, g->rings.at, g->rings.size);
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
	r->heir_of = m->heir_of;
	r->founding = m->founding;
	rc = segment_map(&r->private, fds[0], true, false);
	if (!rc)
		rc = segment_map(&r->tables, fds[1], true, false);
	if (!rc)
		rc = segment_map(&r->arena, fds[2], true, false);
	if (!rc)
		guard_area(GUARD_ARENA, r->arena.at, r->arena.size);
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
		if (m.kind == HANDOVER_END || m.kind == HANDOVER_LEAVE)
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
		.leader_lease_ns = c->leader_lease_ms * NS_PER_MS,
		.host_lease_ns = c->host_lease_ms * NS_PER_MS,
		.drift_ppm = c->drift_ppm,
		.handover_max = c->handover_max,
		.handover_ns = c->handover_ms * NS_PER_MS,
		.keep_ns = c->keep_ms * NS_PER_MS,
		.ask_ns = ASK_NS,
		.uid = geteuid(),
		.nonce = r->nonce,
		.heir_of = r->heir_of,
		.clock_ns = sys_now_ns,
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
	return agent_new(&r->agent, &config, &memory, sys_boot_ns(), ret_why);
}

/* What the tables show of this host alone. */
static void show_hosts(struct reactor *r)
{
	struct tables *t = r->tables.at;

	for (unsigned i = 1; i < t->n_hosts; i++)
		tables_host(t, i)->linked = tables_host(t, i)->role = 0;
	for (unsigned i = 0; i < r->config->n_hosts; i++) {
		const struct config_host *h = &r->config->hosts[i];
		struct host_row *row = tables_host(t, h->id);

		memcpy(row->name, h->name, sizeof(row->name));
		atom_store_release(&row->role, h->role);
	}
	atom_store_relaxed(&t->agent_pid, (uint32_t)getpid());
}

static void ask_for_precedence(void)
{
#ifndef __SANITIZE_ADDRESS__
	/* Only what is mapped by now: a limit that is met later must not refuse a session. */
	mlockall(MCL_CURRENT | MCL_ONFAULT);
#endif
	setpriority(PRIO_PROCESS, 0, -10);
}

/* Exit status, or -1: go on. */
static int take_memory(struct reactor *r)
{
	const char *why = "";
	int rc = take_over(r);

	if (rc == -ECANCELED)
		return 0;
	if (rc) {
		log_line(LOG_ERR, "event=agent.handover error=%s", log_quote(strerror(-rc)));
		return rc == -EPROTO ? AGENT_EXIT_FATAL : 1;
	}
	rc = start_agent(r, &why);
	if (rc) {
		log_line(LOG_ERR, "event=agent.memory error=%s text=%s", log_quote(strerror(-rc)), log_quote(why));
		return rc == -EPROTO ? AGENT_EXIT_MEMORY : 1;
	}
	show_hosts(r);
	return -1;
}

static void look_around(struct reactor *r)
{
	const struct config_host *self = &r->config->hosts[r->config->self];

	r->house = (struct house){ .cluster = r->config->cluster, .host_name = self->name, .host = self->id };
	doorman_look_around(&r->house);
	r->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int start_loop(struct reactor *r)
{
	const char *why = "";

	r->now_ns = sys_now_ns();
	r->boot_ns = sys_boot_ns();
	r->suspended_ns = r->boot_ns - r->now_ns; /* no event yet: what was inherited is stepped by this time */
	int rc = loop_open(&r->loop, (enum loop_engine)r->config->engine, &why);

	if (rc) {
		log_line(LOG_CRIT, "event=loop.unavailable error=%s text=%s", log_quote(strerror(-rc)), log_quote(why));
		return rc == -ENOSYS ? AGENT_EXIT_FATAL : 1;
	}
	rc = loop_poll(r->loop, HANDOVER_FD, tag_of(WATCH_KEEPER, 0, 0));
	if (!rc && r->tcp_fd >= 0)
		rc = reactor_open_links(r);
	if (!rc)
		guests_inherit(r);
	if (!rc)
		rc = loop_accept(r->loop, r->listen_fd, tag_of(WATCH_DOOR, 0, 0));
	if (rc) {
		log_line(LOG_ERR, "event=loop.failed error=%s", log_quote(strerror(-rc)));
		return 1;
	}
	return r->status;
}

void takeover(struct reactor *r)
{
	r->status = take_memory(r);
	if (r->status >= 0)
		return;
	look_around(r);
	r->status = start_loop(r);
	ask_for_precedence();
}
