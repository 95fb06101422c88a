/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paxshm: cluster-wide locks, names and messages for the processes of a cluster.
 *
 *	paxshm_session *s;
 *	uint64_t token;
 *	int rc = paxshm_open(&s, NULL);
 *	if (rc == 0 && (rc = paxshm_lock(s, "results.h5")) == 0) {
 *		paxshm_token(s, "results.h5", &token);     // pass it to whatever you write to
 *		...                                        // nobody else in the cluster is here
 *		rc = paxshm_unlock(s, "results.h5");       // -ESTALE: it was lost meanwhile
 *	}
 *	if (rc < 0) fprintf(stderr, "%s\n", paxshm_strerror(rc));
 *
 * Answers: 0 or a count, or a negative errno; paxshm_strerror() puts it in words. ret parameters stay
 * untouched on failure unless it says otherwise.
 * Deadlines: absolute CLOCK_MONOTONIC nanoseconds, 0 = none; paxshm_deadline_ms(500) makes one.
 * Keys: 1 to 255 bytes, any bytes. Structures that callers fill begin with their size (PAXSHM_INIT).
 * Threads: every call may be made from any thread unless it says otherwise.
 * fork(): a session is its process's own; in a forked child every call on it answers -EPERM and
 * harms nothing. Open a new one there.
 */
#ifndef PAXSHM_H
#define PAXSHM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The library is compiled with hidden visibility: what stands in this header is what it shows. */
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

#define PAXSHM_VERSION_MAJOR 0
#define PAXSHM_VERSION_MINOR 1
#define PAXSHM_VERSION_PATCH 0

#if defined(__GNUC__)
#define PAXSHM_MUST_CHECK __attribute__((warn_unused_result))
#else
#define PAXSHM_MUST_CHECK
#endif

#define PAXSHM_KEY_MAX 255
#define PAXSHM_NAME_BYTES 64 /* of cluster, space and host names, with the final NUL */
#define PAXSHM_CALLS_MAX 256 /* calls of one session that may wait at once; one more: -ENOSPC */

/* No majority can be reached: the same as -ENETUNREACH, in the words of this field. */
#define PAXSHM_NO_QUORUM (-101)

typedef struct paxshm_session paxshm_session; /* one opened connection to this host's agent */
typedef struct paxshm_lock_handle paxshm_lock_handle; /* a session's reference to one lock: the owner */

/* Starts a structure that the caller fills: struct paxshm_acquire how = PAXSHM_INIT(how); */
#define PAXSHM_INIT(x) { .size = (uint32_t)sizeof(x) }

/* ---- who ---- */

/* A process, named so that a pid used again is not mistaken for it. */
struct paxshm_who {
	uint32_t size;
	uint32_t host_id;
	char host[PAXSHM_NAME_BYTES];
	uint32_t pid;        /* 0: the host is known, but did not say which process in time */
	uint32_t session;    /* slot of the session on that host */
	uint64_t start_time; /* clock ticks since that host's boot (/proc/PID/stat, field 22) */
	uint64_t token;      /* of the acquisition, when it is a lock's owner and known; else 0 */
};

/* ---- sessions ---- */

/* Called when an acquire with PAXSHM_FAIL finds no quorum; returns never or -ENETUNREACH is returned then. */
typedef void paxshm_fatal_handler(paxshm_session *s, int rc, const char *message, void *context);

#define PAXSHM_KEEP_LIFE 1u

struct paxshm_options {
	uint32_t size;
	uint32_t flags; /* PAXSHM_KEEP_LIFE */
	const char *socket;   /* NULL: PAXSHM_SOCKET, else /run/paxshm/agent.sock, else $XDG_RUNTIME_DIR/paxshm/agent.sock */
	const char *cluster;  /* refuse another cluster's agent; NULL: PAXSHM_CLUSTER, else any */
	const char *space;    /* NULL: PAXSHM_SPACE, else "default" */
	uint32_t agent_timeout_ms; /* how long a call waits for an agent that went away; 0: 10,000 */
	uint32_t spare2;
	paxshm_fatal_handler *fatal; /* NULL: a line on standard error, then abort() */
	void *fatal_context;
};

int paxshm_open(paxshm_session **ret_session, const struct paxshm_options *options);
const char *paxshm_open_reason(void);
int paxshm_close(paxshm_session *s);
int paxshm_cancel(paxshm_session *s);
int paxshm_adopt(paxshm_session *s, int pidfd);
int paxshm_life_fd(paxshm_session *s);

/* ---- locks, in two lines ---- */

int paxshm_lock(paxshm_session *s, const char *key) PAXSHM_MUST_CHECK;
int paxshm_unlock(paxshm_session *s, const char *key) PAXSHM_MUST_CHECK;
int paxshm_token(paxshm_session *s, const char *key, uint64_t *ret_token);

/* ---- locks, by handle ---- */

enum paxshm_mode { /* the six modes of the VMS and Linux DLM */
	PAXSHM_NL = 0, PAXSHM_CR = 1, PAXSHM_CW = 2, PAXSHM_PR = 3, PAXSHM_PW = 4,
	PAXSHM_EX = 5, /* exclusive: the one that exists now; the others: -ENOSYS */
};

enum paxshm_no_quorum {
	PAXSHM_RETRY = 0, /* wait as long as it takes (or until the deadline) */
	PAXSHM_FAIL,      /* call the session's fatal handler */
	PAXSHM_RETURN,    /* answer -ENETUNREACH */
};

#define PAXSHM_NOWAIT 1u /* do not wait for an owner: -EBUSY, and grant->holder says who it is */
#define PAXSHM_ASYNC 2u  /* return at once, the grant comes as an event: -ENOSYS for now */

struct paxshm_acquire {
	uint32_t size;
	uint32_t flags;       /* PAXSHM_NOWAIT, PAXSHM_ASYNC */
	uint32_t mode;        /* enum paxshm_mode; 0 stands for PAXSHM_EX */
	uint32_t no_quorum;   /* enum paxshm_no_quorum */
	uint64_t deadline_ns; /* absolute CLOCK_MONOTONIC, 0: none */
};

#define PAXSHM_OWNER_DIED 1u /* the last owner died with the lock: check what it protects */
#define PAXSHM_REENTERED 2u  /* this handle owned it already; counted */

struct paxshm_grant {
	uint32_t size;
	uint32_t flags; /* PAXSHM_OWNER_DIED, PAXSHM_REENTERED */
	uint64_t token; /* fencing token: for a key, greater than every earlier one */
	struct paxshm_who holder; /* filled on -EBUSY; its size need not be set */
};

int paxshm_lock_ref(paxshm_session *s, const void *key, size_t len, paxshm_lock_handle **ret_handle);
int paxshm_lock_unref(paxshm_lock_handle *l);
int paxshm_lock_acquire(paxshm_lock_handle *l, const struct paxshm_acquire *how, struct paxshm_grant *grant) PAXSHM_MUST_CHECK;
int paxshm_lock_release(paxshm_lock_handle *l) PAXSHM_MUST_CHECK;
int paxshm_lock_check(paxshm_lock_handle *l) PAXSHM_MUST_CHECK;

#define PAXSHM_LINEARIZABLE 1u /* ask the cluster, not this host's tables */

int paxshm_holder(paxshm_session *s, const void *key, size_t len, uint32_t flags, struct paxshm_who *ret_who);

/* Later: conversion between modes, several locks at once, the value beside a lock. */
int paxshm_lock_convert(paxshm_lock_handle *l, uint32_t mode, const struct paxshm_acquire *how, struct paxshm_grant *grant);
int paxshm_lock_many(paxshm_lock_handle *const *locks, size_t n, const struct paxshm_acquire *how, struct paxshm_grant *grants);
int paxshm_lock_value(paxshm_lock_handle *l, void *value, size_t cap, size_t *ret_len);

/* ---- looking around ---- */

struct paxshm_status {
	uint32_t size;
	uint32_t host_id;
	char cluster[PAXSHM_NAME_BYTES], space[PAXSHM_NAME_BYTES], host[PAXSHM_NAME_BYTES], leader[PAXSHM_NAME_BYTES];
	uint32_t role;        /* 1 voter, 2 observer */
	uint32_t leader_id;   /* 0: none known */
	uint32_t quorum;      /* 1: a majority was heard of within the host lease */
	uint32_t agent_pid;
	uint64_t incarnation, ballot, applied, chosen, history, agent_starts;
	uint64_t fresh_as_of_ns;
	uint32_t locks, locks_max, waits, waits_max, sessions, cells, cells_max, spare;
	uint64_t grants, releases, handovers, refusals, deaths, requests;
	uint64_t state_hash;  /* of all that hosts have alike at `applied`; 0 unless asked for */
};

#define PAXSHM_STATUS_HASH 1u /* also compute state_hash: reads the whole table */

int paxshm_status(paxshm_session *s, uint32_t flags, struct paxshm_status *ret_status);

struct paxshm_host {
	uint32_t size;
	uint32_t id;
	char name[PAXSHM_NAME_BYTES];
	uint32_t role, linked;
	uint64_t incarnation;
};
int paxshm_next_host(paxshm_session *s, uint32_t *cursor, struct paxshm_host *ret_host);

struct paxshm_lock_info {
	uint32_t size;
	uint32_t key_len;
	unsigned char key[PAXSHM_KEY_MAX + 1]; /* with a NUL behind it */
	struct paxshm_who owner; /* pid 0: owned through another host (ask paxshm_holder), or only remembered */
	uint32_t waiting;        /* hosts that wait */
	uint32_t flags;          /* PAXSHM_OWNER_DIED: nobody owns it, the last owner died with it */
};
int paxshm_next_lock(paxshm_session *s, uint32_t *cursor, struct paxshm_lock_info *ret_info);

/* ---- names: from a later version on ---- */

enum paxshm_restart { PAXSHM_TEMPORARY = 0, PAXSHM_PERMANENT = 1 };

struct paxshm_child {
	uint32_t size;
	uint32_t restart; /* enum paxshm_restart */
	char *const *argv;
	char *const *envp;
	const char *cwd;
	const char *placement; /* host name; NULL: anywhere */
};

struct paxshm_name {
	uint32_t size;
	uint32_t key_len;
	unsigned char key[PAXSHM_KEY_MAX + 1];
	const struct paxshm_child *child; /* borrowed */
};

int paxshm_name_init(struct paxshm_name *n, const void *key, size_t len, const struct paxshm_child *child);
int paxshm_ensure(paxshm_session *s, const struct paxshm_name *n, uint64_t deadline_ns, struct paxshm_who *ret_who);
int paxshm_lookup(paxshm_session *s, const void *key, size_t len, uint32_t flags, struct paxshm_who *ret_who);
int paxshm_alive(paxshm_session *s, const void *key, size_t len);
int paxshm_register(paxshm_session *s, const void *key, size_t len);
int paxshm_unregister(paxshm_session *s, const void *key, size_t len);
int paxshm_ready(paxshm_session *s);
int paxshm_start_children(paxshm_session *s, const struct paxshm_name *names, size_t n, uint64_t deadline_ns);
int paxshm_children(paxshm_session *s, uint32_t *cursor, struct paxshm_who *ret_who);
int paxshm_resolve(paxshm_session *s, const char *address, struct paxshm_who *ret_who);

/* ---- messages and events: from a later version on ---- */

struct paxshm_message {
	uint32_t size;
	uint32_t len;
	const void *bytes; /* the session's, until the next paxshm_recv() */
	struct paxshm_who from;
	uint64_t call; /* to be named in paxshm_reply(); 0: none is awaited */
};

int paxshm_send(paxshm_session *s, const char *address, const void *bytes, size_t len);
int paxshm_recv(paxshm_session *s, struct paxshm_message *ret_message, uint64_t deadline_ns);
int paxshm_call(paxshm_session *s, const char *address, const void *bytes, size_t len, uint64_t deadline_ns, struct paxshm_message *ret_reply);
int paxshm_reply(paxshm_session *s, const struct paxshm_message *to, const void *bytes, size_t len);

enum paxshm_event_kind { PAXSHM_EVENT_GRANTED = 1, PAXSHM_EVENT_LOST, PAXSHM_EVENT_SUSPENDED, PAXSHM_EVENT_RESUMED, PAXSHM_EVENT_WANTED, PAXSHM_EVENT_MAIL };

struct paxshm_event {
	uint32_t size;
	uint32_t kind; /* enum paxshm_event_kind */
	paxshm_lock_handle *lock;
	struct paxshm_grant grant;
};

int paxshm_fd(paxshm_session *s);
int paxshm_next_event(paxshm_session *s, struct paxshm_event *ret_event);

/* ---- helpers ---- */

uint64_t paxshm_deadline_ms(uint64_t ms);
const char *paxshm_strerror(int rc);
const char *paxshm_version(void);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
