/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault: what a storm does to hosts, links and programs. A blow is one fault that happens once: it begins, proves that it
 * has happened - packets were dropped, processes are stopped or gone -, lasts, and ends with all made good as an
 * administrator would. A blow that cannot be proven makes the run void: it fails.
 *
 * At most one blow of those that concern hosts and links at a time; those that only concern programs, and
 * kills of agents, may come on top of one.
 *
 * Who may enter: the storm. Under a started rig with a crew; asserts.
 */
#ifndef PAXSHM_TESTS_STORM_FAULT_H
#define PAXSHM_TESTS_STORM_FAULT_H

#include "crew.h"
#include "cut.h"

#define FAULT_KILLS 4 /* of one agent within FAULT_KILLS_MS: the keeper gives its memory up at five in ten seconds */
#define FAULT_KILLS_MS 12000
#define FAULT_GROUP 32

/* Where the storm stands. */
struct storm {
	uint64_t random;
	bool netns, leases;
	unsigned host_lease_ms;
	unsigned leader; /* 0: not known for sure */
	unsigned voting; /* set of voters that have their memory: a host whose keeper was killed votes no more */
	uint64_t kills_ns[RIG_HOSTS + 1][FAULT_KILLS];
};

struct fault;

struct blow {
	const struct fault *fault;
	unsigned victim; /* a host; 0: none in particular */
	unsigned sick;   /* set of hosts that need not be served meanwhile */
	bool leader;     /* it takes the leader from the majority */
	bool quiet;      /* all was well when it began */
	bool topped;     /* another came on top of it */
	unsigned lasts_ms;
	uint64_t begin_ns, struck_ns, end_ns; /* just before it, when it was done, when all was made good */
	/* Kinds' own. */
	struct cut cut;
	unsigned felt_from, felt_to;
	uint64_t dropped; /* packets */
	struct process stopped[FAULT_GROUP];
	unsigned n_stopped;
	unsigned workers[FAULT_GROUP], n_workers;
	unsigned clinging;                                               /* set of hosts whose owners cling to what they own */
	uint64_t suspensions[RIG_HOSTS + 1], incarnation[RIG_HOSTS + 1]; /* before */
};

struct fault {
	const char *name;
	bool needs_netns;
	bool light;     /* may come on top of another */
	bool ends_life; /* of a host */
	bool needs_leases;
	bool loses_locks; /* those of its victim, which nobody gives back: they come free with its lease */
	unsigned needs_voters;
	bool (*begin)(struct storm *s, struct blow *b); /* false: not now, and nothing was done */
	bool (*proven)(struct blow *b);
	void (*end)(struct storm *s, struct blow *b);
};

extern const struct fault faults[];
extern const unsigned n_faults;

bool fault_possible(const struct storm *s, const struct fault *f);
/* A blow of this kind, from beginning to end. `more`: called while it lasts, once it is proven; may be NULL.
 * False: not now. */
bool fault_strike(struct storm *s, const struct fault *f, struct blow *ret, void (*more)(struct storm *s, struct blow *b));

uint64_t fault_up_to(struct storm *s, uint64_t n); /* 0 … n */
uint64_t fault_now_ns(void);

#endif
