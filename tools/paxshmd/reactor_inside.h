/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reactor_inside: what the rooms of the agent's process share. Nobody outside them includes this.
 *
 *   reactor.c   the loop; stepping the agent; carrying its actions out; links
 *   guests.c    sessions' descriptors, and strangers at the door
 *   takeover.c  what the keeper hands over, and the start from it
 */
#ifndef PAXSHM_TOOLS_PAXSHMD_REACTOR_INSIDE_H
#define PAXSHM_TOOLS_PAXSHMD_REACTOR_INSIDE_H

#include "../../net/link.h"
#include "../../net/loop.h"
#include "../../shm/segment.h"
#include "config.h"
#include "doorman.h"
#include "handover.h"
#include "spin.h"

/* Watches of the loop: what it is, then which. The links have their own byte. */
enum watch { WATCH_KEEPER = 1,
	     WATCH_DOOR,
	     WATCH_STRANGER,
	     WATCH_SOCKET,
	     WATCH_PROCESS };

static inline uint64_t tag_of(enum watch watch, uint32_t slot, uint32_t place)
{
	return (uint64_t)watch << 56 | (uint64_t)place << 32 | slot;
}

struct guest { /* an open session's descriptors */
	bool used, welcomed;
	struct segment rings;
	int socket;                 /* -1: closed */
	int pidfd[HANDOVER_PIDFDS]; /* -1: none, or that process has ended */
	uint32_t pid, uid;
};

struct stranger { /* a connection that has not greeted */
	int fd;   /* -1: a free place */
	uint64_t until_ns;
};

struct reactor {
	struct config *config;
	int listen_fd, life_fd, tcp_fd, reserve_fd, tables_fd;
	struct segment private, tables, arena;
	uint64_t nonce, heir_of;
	bool founding;

	struct agent *agent;
	struct loop *loop;
	struct links *links;
	struct link_peer peers[CONFIG_HOSTS];
	struct house house;

	bool asleep; /* agent_may_sleep() said yes */
	struct spin spin;
	uint64_t now_ns;       /* of the event that is heeded, or of this turn's work: what all steps of them go by */
	uint64_t boot_ns;      /* the same, CLOCK_BOOTTIME, read behind it: the agent's time */
	uint64_t suspended_ns; /* what lies between the two */
	uint64_t seen_work;    /* requests and slots when it was last looked */
	bool stepping;         /* actions are being carried out */
	bool stepped;          /* since this was last cleared */
	bool again;
	uint64_t wake_at_ns;
	int status; /* -1: go on; else end with it */

	bool linked[HOSTS_MAX], votes[HOSTS_MAX];
	uint16_t down[HOSTS_MAX]; /* links that broke while stepping */
	unsigned n_down;

	struct guest guest[SESSIONS_MAX + 1];
	struct stranger stranger[DOORMAN_STRANGERS];
	uint64_t look_at_strangers_ns; /* none is due before; 0: look */
};

/* ---- reactor.c ---- */

void reactor_tell_keeper(struct reactor *r, const struct handover *m, const int *fds, unsigned n);
/* Steps the agent and carries its actions out. Not from within a step. */
void reactor_step(struct reactor *r, struct agent_event *e);
int reactor_open_links(struct reactor *r);

/* ---- guests.c ---- */

void guests_inherit(struct reactor *r);                /* goes on with the sessions that an earlier agent left */
void guests_mute(struct reactor *r, uint32_t slot);    /* closes a session's socket; its processes decide on the rest */
void guests_see_out(struct reactor *r, uint32_t slot); /* the session is over: gives its descriptors up */
void guests_heed_socket(struct reactor *r, uint32_t slot);
void guests_process_ended(struct reactor *r, uint32_t slot, uint32_t place);
void guests_heed_door(struct reactor *r, int result);
void guests_heed_stranger(struct reactor *r, uint32_t place);
/* Closes connections that said nothing in time; answers when the next is due. */
uint64_t guests_look_at_strangers(struct reactor *r, uint64_t now_ns);

/* ---- takeover.c ---- */

/* Takes all from the keeper and starts agent, loop and links over it. On failure r->status is the exit status. */
void takeover(struct reactor *r);

#endif
