/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_world: what the files of the cluster share. There is one cluster at a time; real time is
 * `the.now`, and each host has a clock of its own, off by any amount and as fast or slow as agreed.
 *
 * cluster.c runs it: hosts that step, die, stop and come back, and what happens next. cluster_truth.c knows
 * what is true and checks what hosts believe; cluster_net.c carries messages; cluster_calm.c tries what
 * must work when nothing, or little, is in the way.
 *
 * Who may enter: these files alone.
 */
#ifndef PAXSHM_TESTS_NET_PAXOS_CLUSTER_WORLD_H
#define PAXSHM_TESTS_NET_PAXOS_CLUSTER_WORLD_H

#include <setjmp.h>

#include "cluster.h"
#include "core.h"

#define HOSTS_MAX 8u
#define PACKETS_MAX 2048u
#define SLOTS_MAX 2048u
#define FACTS_MAX 16u /* ballots that proposed in one slot */
#define BALLOTS_MAX 4096u

struct packet {
	uint64_t at, order;
	uint16_t from, to;
	bool snapshot; /* of `slot`, with the log's hash there */
	uint64_t slot, hash;
	struct paxos_message message;
	struct paxos_entry entries[];
};

/* Who accepted what in a slot, by ballot: by this, and not by what hosts believe, a value is chosen. */
struct fact {
	uint64_t ballot, value;
	uint32_t accepted;
};

struct host {
	struct core core;
	bool up;
	unsigned life;
	uint64_t back_at;          /* when down */
	uint64_t paused_until;     /* its process is stopped until then; messages wait */
	uint64_t clock_offset_ns;  /* its clock at real time 0 */
	int64_t clock_ppm;         /* how fast it runs */
	uint64_t applied, hash;    /* of the log up to there */
	uint64_t promised, chosen; /* highest seen */
	uint64_t led;              /* the last ballot that it led in */
	uint64_t beat_at;          /* when it last sent heartbeats */
	struct {
		uint64_t ballot, until_ns; /* by its clock */
	} bound;                           /* by its last answer to a heartbeat */
	void *committed;                   /* the memory at the last commit */
	int probes_left;                   /* until it dies inside the step; -1: it does not */
};

struct cluster {
	uint64_t now, random, order;
	uint32_t n_hosts, n_voters;
	struct host hosts[HOSTS_MAX];
	bool cut[HOSTS_MAX][HOSTS_MAX];
	struct packet *packets[PACKETS_MAX];
	unsigned n_packets;
	unsigned loss, doubles, lates, deaths; /* of 1000 */
	uint64_t fault_ns, fault_at, propose_at;
	bool calm;
	unsigned memories_lost;
	unsigned offices;      /* how often somebody began to lead */
	uint64_t moved_ballot; /* the highest that was handed over */
	struct fact facts[SLOTS_MAX][FACTS_MAX];
	uint64_t log_hash[SLOTS_MAX]; /* of the agreed log up to this slot; 0: not known yet */
	uint64_t values[SLOTS_MAX];
	struct {
		uint64_t ballot;
		unsigned host, life;
	} ballots[BALLOTS_MAX];
	unsigned n_ballots;
	uint64_t proposed;
	struct cluster_counts *counts;
	jmp_buf death;
	char wrong[256];
};

extern struct cluster the;

static inline uint64_t below(uint64_t n) { return random_next(&the.random) % n; }
static inline bool chance(unsigned of_1000) { return !the.calm && below(1000) < of_1000; }
static inline struct host *host(uint16_t id) { return &the.hosts[id - 1]; }
static inline uint16_t id_of(const struct host *h) { return (uint16_t)(h - the.hosts + 1); }
static inline bool runs(const struct host *h) { return h->up && the.now >= h->paused_until; }
static inline bool leads(const struct host *h) { return h->up && h->core.p.role == PAXOS_LEADING; }

/* ---- cluster.c ---- */

void cluster_set_up(const struct cluster_plan *plan, struct cluster_counts *counts);
const char *cluster_take_down(void); /* NULL, or what went wrong */
void cluster_go_on(void);            /* one thing happens: the next packet, timer or fault */
uint64_t cluster_clock(const struct host *h);
void cluster_step(struct host *h, struct paxos_event event);
void cluster_meet(struct host *a, struct host *b); /* a learns that its link to b is up */
void cluster_die(struct host *h);
bool cluster_propose_at(struct host *h);
void cluster_install(struct host *h, const struct packet *packet);

/* ---- cluster_truth.c ---- */

void __attribute__((format(printf, 1, 2))) cluster_wrong(const char *format, ...); /* the first stays */
void cluster_check_step(struct host *h, const struct paxos_event *event);          /* what it committed */
void cluster_check_said(struct host *h, const struct paxos_message *m);
void cluster_check_leases(void); /* at this moment of real time */
void cluster_apply(struct host *h);

/* ---- cluster_net.c ---- */

void cluster_say(struct host *h, unsigned limit); /* what its last step wants said, the first `limit` of it */
struct packet *cluster_take_packet(uint64_t until);
void cluster_deliver(struct packet *packet); /* and frees it */
void cluster_link(uint16_t from, uint16_t to, bool cut);

/* ---- cluster_calm.c ---- */

void cluster_heal(void); /* no fault lasts, none comes, everybody is up */
void cluster_check_progress(void);
void cluster_check_hand_over(void);
void cluster_check_stability(void);

#endif
