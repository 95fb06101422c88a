/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rig: a cluster of real agents on this machine for one test. Hosts are numbered from 1, voters first; host n is
 * named hN. Everything lies in one new directory; ports are the kernel's choice and stay reserved while
 * the test runs; nothing that was started outlives the test's process, however that ends.
 *
 *   rig_start(&(struct rig_plan){ .voters = 3 });    … the test …    rig_end();
 *
 * rig_end() also checks what must hold after every test: no agent died that the test did not kill, none
 * logged anything critical, all tables are equal, and every keeper ends cleanly when told to. A test that does
 * not reach it has failed: then the logs of all agents are shown (RIG_SUITE's .fini, or the janitor - a process that
 * waits for the end of a test that crashed or took too long).
 *
 * One rig in a process. All but rig_start() need a started one. Everything here asserts: call from the test's
 * own process only.
 */
#ifndef PAXSHM_TESTS_CLUSTER_RIG_H
#define PAXSHM_TESTS_CLUSTER_RIG_H

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>

#include "../../lib/paxshm.h"
#include "../../tools/paxcluster/process.h"

#define RIG_HOSTS 7
#define RIG_PATIENCE_MS 30000 /* nothing that a test waits for takes so long on the slowest machine */
#define RIG_LEASE_MS 1000     /* host_lease_ms unless the plan says otherwise */

/* Every suite that uses a rig is declared with this. */
#define RIG_SUITE(name) TestSuite(name, .fini = rig_fini, .timeout = 100)

struct rig_plan {
	unsigned voters; /* 0: 3 */
	unsigned observers;
	const char *settings;            /* lines for the configuration, "locks = 16\n" */
	const char *loop[RIG_HOSTS + 1]; /* [n]: --loop of host n; [0]: of those that have none */
	void (*in_keeper)(unsigned n);   /* called in the new process before it becomes host n's keeper */
	bool netns;                      /* a network namespace for each host (root) */
	bool idle;                       /* start no agent yet */
};

struct rig_host {
	char name[8], socket[96], log[96], state[96];
	uint16_t port;
	int port_fd; /* keeps the port ours */
	struct process keeper;
	unsigned deaths;       /* agents of this host that the test killed */
	bool stopped;          /* its agent */
	paxshm_session *watch; /* the rig's own look at it */
};

struct rig {
	char dir[64], cluster[32], tag[32];
	struct rig_plan plan;
	unsigned n;
	struct rig_host host[RIG_HOSTS + 1]; /* [1 .. n] */
	bool critical_expected;              /* the test makes agents log level=crit */
	bool ended;
};

extern struct rig *rig;

void rig_start(const struct rig_plan *plan);
void rig_end(void);
void rig_fini(void);

/* ---- waiting ---- */

void rig_nap(void); /* between two looks */

/* Waits until a condition holds. */
#define RIG_WAIT(condition, ...) \
	for (uint64_t until_ = paxshm_deadline_ms(RIG_PATIENCE_MS); !(condition); rig_nap()) \
	cr_assert(paxshm_deadline_ms(0) < until_, "never came true: " #condition " - " __VA_ARGS__)

/* ---- hosts ---- */

void rig_start_host(unsigned n, bool bootstrap);
/* Waits until host n, or with 0 all that run, is registered and has a quorum. */
void rig_settle(unsigned n);
/* kill -9 of the agent; the keeper starts another: rig_settle() or rig_back() wait for that. */
void rig_kill_agent(unsigned n);
/* Whether the agent that runs now has taken its host over. */
bool rig_serves(unsigned n);
/* Waits until it has. */
void rig_back(unsigned n);
void rig_signal_agent(unsigned n, int signal); /* SIGSTOP, SIGCONT */
/* kill -9 of the keeper, and with it goes the agent. */
void rig_kill_host(unsigned n);
/* Asks a host to end; its exit status, or -1: it had to be killed. */
int rig_stop_host(unsigned n);
bool rig_runs(unsigned n);
struct process rig_agent(unsigned n);     /* waits until there is one */
unsigned rig_leader(void);                /* waits until all that run and have a quorum agree on one */
unsigned rig_follower(unsigned not_this); /* a running voter that does not lead */

/* The rig's session with a host, opened when needed. */
paxshm_session *rig_watch(unsigned n);
/* Closes it: a host's new life waits for the end of every session of the old one. */
void rig_unwatch(unsigned n);
struct paxshm_status rig_status(unsigned n);
/* How many requests of its programs host n has taken so far: waiting for it to rise is waiting for a
 * request to have arrived. */
uint64_t rig_requests(unsigned n);
uint32_t rig_waiters(unsigned n, const char *key); /* of that host, at the gate */
/* Hosts that wait for a key, as host n sees it. */
uint32_t rig_waiting(unsigned n, const char *key);
/* The owner as host n tells; host_id 0: nobody. */
struct paxshm_who rig_holder(unsigned n, const char *key);

/* Waits until the tables of all that run are equal at one index, and asserts that they are. */
void rig_same_tables(void);

/* ---- logs ---- */

unsigned rig_log_count(unsigned n, const char *text); /* lines with it */
void rig_log_wait(unsigned n, const char *text);

/* ---- programs ---- */

/* A new session with host n for the test itself; the test's to close. */
paxshm_session *rig_open(unsigned n);

/* Where the built one lies, for our own programs; other names as they are. Static. */
const char *rig_program(const char *name);
/* Runs argv[0] (paxctl and paxshmd: the built ones) to its end: its status as of waitpid(). Its
 * standard output and error, together and cut at `cap`, go to `out`. */
int rig_run(char *out, size_t cap, const char *const argv[]);
/* Only starts it, with descriptors as given (-1: /dev/null); it is killed when the test ends. */
pid_t rig_spawn(int in_fd, int out_fd, const char *const argv[]);
int rig_wait(pid_t pid); /* its status as of waitpid() */
/* paxctl VERB --socket host's ARGS...; as rig_run(). */
#define rig_paxctl(out, n, verb, ...) \
	rig_run(out, sizeof(out), (const char *const[]){ "paxctl", verb, "--socket", rig->host[n].socket, ##__VA_ARGS__, NULL })

/* A path of the rig's directory, in one of a few buffers in turn. */
const char *rig_path(const char *name);

#endif
