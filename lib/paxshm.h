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
 * Keys: 1 to 255 bytes, any bytes: an empty one is -EINVAL, a longer one -ENAMETOOLONG.
 * Structures begin with their size; whoever passes one in says PAXSHM_INIT first. A size of 0, or
 * smaller than this library knows the structure to be, is -EINVAL, as is a NULL where not allowed.
 * Threads: every call may be made from any thread unless it says otherwise. No call may be ended by
 * pthread_cancel(3) or left by longjmp(3).
 * Signals: only paxshm_cancel() may be called in a signal handler. A signal by itself ends no call.
 * fork(): a session is its process's own; in a forked child every call on it or on its handles answers
 * -EPERM and harms nothing, paxshm_close() included. Open a new session there. What -EPERM is told
 * from must not be shared: do not use a session in a child made with CLONE_VM (vfork) either.
 *
 * Every call on a session may answer -EINVAL (NULL) and -EPERM (forked child); these two are not said
 * again below.
 */
#ifndef PAXSHM_H
#define PAXSHM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

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
#define PAXSHM_NAME_BYTES 64    /* of cluster, space and host names, with the final NUL */
#define PAXSHM_PROGRAM_BYTES 16 /* of a program's name, with the final NUL */
#define PAXSHM_CALLS_MAX 256    /* calls of one session that may wait at once; one more: -ENOSPC */

/* No majority can be reached: the same as -ENETUNREACH, in the words of this field. */
#define PAXSHM_NO_QUORUM (-101)

typedef struct paxshm_session paxshm_session;         /* one opened connection to this host's agent */
typedef struct paxshm_lock_handle paxshm_lock_handle; /* a session's reference to one lock: the owner */

/* Starts a structure that goes in or out: struct paxshm_acquire how = PAXSHM_INIT(how);
 * All but its size is zero then. (C++: from C++11 on.) */
#ifndef __cplusplus
#define PAXSHM_INIT(x) \
	{ \
		.size = (uint32_t)sizeof(x) \
	}
#else
#define PAXSHM_INIT(x) paxshm_fresh<decltype(x)>::make()
extern "C++" {
template <typename T>
struct paxshm_fresh {
	static T make()
	{
		T fresh = T();
		fresh.size = static_cast<uint32_t>(sizeof(T));
		return fresh;
	}
};
template <typename T>
struct paxshm_fresh<const T> : paxshm_fresh<T> {
};
}
#endif

/* ---- who ---- */

/* A process, named so that a pid used again is not mistaken for it. */
struct paxshm_who {
	uint32_t size;
	uint32_t host_id;                   /* 1 and up; 0: nobody is named here */
	char host[PAXSHM_NAME_BYTES];       /* "": its name is not known here */
	uint32_t pid;                       /* 0: the host is known, but did not say which process in time */
	uint32_t session;                   /* slot of the session on that host */
	uint64_t start_time;                /* clock ticks since that host's boot (/proc/PID/stat, field 22) */
	uint64_t token;                     /* of the acquisition, when it is a lock's owner and known; else 0 */
	uint64_t since_ns;                  /* CLOCK_MONOTONIC: since when it owns the lock, or waits for it; 0: not known (another host's).
					     * Of an exclusive owner it may be up to a second early, never late by more than a tick: a lock that
					     * asks nobody asks no exact clock either. For people */
	char program[PAXSHM_PROGRAM_BYTES]; /* its name when it opened the session (/proc/PID/comm), any bytes; "": not known */
};

/* ---- sessions ----
 *
 * All that a session owns is freed when it is closed or when its process ends, whichever comes first.
 * An agent that dies is started again by its keeper and goes on with the same sessions and locks:
 * calls that wait just wait a little longer. So they do while it is stopped (SIGSTOP); one that hangs is replaced. What
 * needs no agent goes on meanwhile, for as long as the host's lease lasts: locks that this host has, among its own processes;
 * releases and checks; all that only looks. When the keeper itself is gone the session is over for
 * good: calls answer -ENOTCONN, its locks -ESTALE; close it and open another.
 */

/* Called, without any lock of the library held, when an acquire with PAXSHM_FAIL finds no quorum. It
 * may not return at all; when it does, that acquire returns -ENETUNREACH. `message` is one line
 * without a newline, the library's, valid until it returns. */
typedef void paxshm_fatal_handler(paxshm_session *s, int rc, const char *message, void *context);

/* options.flags: keep the session's life descriptor open, for paxshm_life_fd(). */
#define PAXSHM_KEEP_LIFE 1u

/* Strings are borrowed for the call; NULL and "" both mean "not given". */
struct paxshm_options {
	uint32_t size;
	uint32_t flags;            /* PAXSHM_KEEP_LIFE */
	const char *socket;        /* NULL: PAXSHM_SOCKET, else /run/paxshm/agent.sock, else $XDG_RUNTIME_DIR/paxshm/agent.sock */
	const char *cluster;       /* refuse another cluster's agent; NULL: PAXSHM_CLUSTER, else any */
	const char *space;         /* NULL: PAXSHM_SPACE, else "default": the only one in this version */
	uint32_t agent_timeout_ms; /* how long an agent may be silent when an answer is due at once; 0: 10,000 */
	uint32_t spare;
	paxshm_fatal_handler *fatal; /* NULL: a line on standard error, then abort() */
	void *fatal_context;         /* handed to it */
};

/* Opens a session with this host's agent. options NULL: defaults. *ret_session is the caller's, to be
 * given back with paxshm_close(). Variables of the environment count for nothing in a set-user-ID program.
 * Where no socket is named, the first of the two usual places is taken that lets us in.
 *   -ECONNREFUSED  no agent is there
 *   -ENOTCONN      there is one, and it let nobody in or said nothing for agent_timeout_ms
 *   -EPROTO        library and agent are of versions that do not fit, or that is no agent
 *   -EINVAL        no such cluster or space here; a size that is not set; unknown flags
 *   -EACCES        the socket's directory or file does not let this user in
 *   -EPERM         refused: for instance, this process lives in another PID or time namespace
 *   -ENAMETOOLONG  socket path or a name
 *   -ENOSPC, -ENOMEM, -EMFILE, -ENFILE  sessions of this host, memory or descriptors are used up
 * What exactly was wrong paxshm_open_reason() tells. */
int paxshm_open(paxshm_session **ret_session, const struct paxshm_options *options) PAXSHM_MUST_CHECK;

/* Why the last paxshm_open() of this thread failed, for a person: one line, "" after a success. Never
 * NULL; the library's, valid until this thread's next paxshm_open(). */
const char *paxshm_open_reason(void);

/* Ends the session: releases all it owns and frees it and its handles, whatever they own. No other
 * thread may be in a call on it, or use it or its handles afterwards. 0, also when the agent did not
 * confirm within a second: the request then stands in memory that the agent holds too, and is
 * carried out when it is back. -EPERM in a forked child: nothing is freed there. */
int paxshm_close(paxshm_session *s);

/* Ends, with -ECANCELED, every call of this session that waits now; calls begun later are not
 * affected. A lock whose grant came first is granted all the same. Releases and paxshm_close() are not
 * ended. Async-signal-safe, and safe from any thread. 0. */
int paxshm_cancel(paxshm_session *s);

/* Makes the session last also as long as the process behind `pidfd` (pidfd_open(2)): what it owns is
 * freed only when both that process and this one have ended, or the session is closed. pidfd stays
 * the caller's. Waits for the agent's word.
 *   -EBADF     not a pidfd
 *   -ESRCH     that process has ended already
 *   -EPERM     a process of another user
 *   -ENOTCONN  the session is over, or the agent said nothing for agent_timeout_ms: it is not known
 *              then whether the process was adopted
 *   -EMFILE and others  as the agent met them */
int paxshm_adopt(paxshm_session *s, int pidfd) PAXSHM_MUST_CHECK;

/* The life descriptor: as long as it (or the session's process) is there, no agent with fresh memory
 * takes over this host, so nobody can own again what the session owned. To be inherited by an adopted
 * process (clear FD_CLOEXEC in the child, or send it), so that this holds for it too. It is the session's and
 * closed with it. -EINVAL: opened without PAXSHM_KEEP_LIFE. */
int paxshm_life_fd(paxshm_session *s);

/* ---- locks ----
 *
 * At most one owner of a key in the whole cluster. The owner is a handle (paxshm_lock_ref), or, in
 * the two-line form, the thread for that key of that session: threads exclude each other.
 * Re-entrant: the owner acquiring again is granted at once, and counted; as many releases free it.
 * Waiters are served in the order in which they came on their host, hosts in the order in which
 * they asked; a host may pass the lock among its own a bounded number of times first.
 * Freed by release, by closing the session, or by the death of its processes; after a death the next
 * owner is told PAXSHM_OWNER_DIED. A thread that ends leaves its locks owned by the session.
 * What this host has had stays with it until another host asks: acquired again it needs no agent, and no system
 * call where one thread uses the handle.
 * A program that was stopped for long cannot know that it lost a lock until it looks: give the token
 * to what you write to, and let that refuse older tokens.
 */

/* Acquires `key` (a C string) for this thread, waiting as long as it takes. Answers as
 * paxshm_lock_acquire() does. -ENOMEM. */
int paxshm_lock(paxshm_session *s, const char *key) PAXSHM_MUST_CHECK;

/* Releases what this thread acquired with paxshm_lock(). 0, also while outer holds remain.
 * -ESTALE: this thread does not own it - it was lost, or never acquired here. */
int paxshm_unlock(paxshm_session *s, const char *key) PAXSHM_MUST_CHECK;

/* The fencing token of this thread's paxshm_lock(). -ESTALE as above; -ENETUNREACH as paxshm_lock_check(). */
int paxshm_token(paxshm_session *s, const char *key, uint64_t *ret_token);

/* ---- locks, by handle ---- */

enum paxshm_mode { /* the six modes of the VMS and Linux DLM */
		   PAXSHM_NL = 0,
		   PAXSHM_CR = 1,
		   PAXSHM_CW = 2,
		   PAXSHM_PR = 3,
		   PAXSHM_PW = 4,
		   PAXSHM_EX = 5, /* exclusive. It and PR (shared) exist now; the others: -ENOSYS */
};

enum paxshm_no_quorum {
	PAXSHM_RETRY = 0, /* wait as long as it takes (or until the deadline) */
	PAXSHM_FAIL,      /* call the session's fatal handler */
	PAXSHM_RETURN,    /* answer -ENETUNREACH */
};

#define PAXSHM_NOWAIT 1u /* do not wait for an owner: -EBUSY, and grant->holder says who it is */
#define PAXSHM_ASYNC 2u  /* return at once, the grant comes as an event: -ENOSYS for now */
#define PAXSHM_STAMPS 4u /* fill grant->stamp_ns: where the time of this acquire went */

struct paxshm_acquire {
	uint32_t size;
	uint32_t flags;       /* PAXSHM_NOWAIT, PAXSHM_ASYNC, PAXSHM_STAMPS */
	uint32_t mode;        /* enum paxshm_mode; 0 stands for PAXSHM_EX */
	uint32_t no_quorum;   /* enum paxshm_no_quorum */
	uint64_t deadline_ns; /* absolute CLOCK_MONOTONIC, 0: none */
};

#define PAXSHM_OWNER_DIED 1u /* the last owner died with the lock: check what it protects. Told until somebody has released it */
#define PAXSHM_REENTERED 2u  /* this handle owned it already; counted */

struct paxshm_grant {
	uint32_t size;
	uint32_t flags;           /* PAXSHM_OWNER_DIED, PAXSHM_REENTERED */
	uint64_t token;           /* fencing token: for a key, greater than every earlier one */
	struct paxshm_who holder; /* filled on -EBUSY; its size need not be set */
	/* With PAXSHM_STAMPS, and not re-entered: CLOCK_MONOTONIC nanoseconds at which this host's agent
	 * took the request; sent its command off; learnt the choice that granted it; granted it.
	 * 0: the grant did not pass there (a lock handed on within this host is sent nowhere). */
	uint64_t stamp_ns[4];
};

/* A handle for `len` bytes of key (copied). Acquires nothing and asks nobody. *ret_handle is the
 * session's, until paxshm_lock_unref() or paxshm_close(). -EINVAL, -ENAMETOOLONG, -ENOMEM. */
int paxshm_lock_ref(paxshm_session *s, const void *key, size_t len, paxshm_lock_handle **ret_handle) PAXSHM_MUST_CHECK;

/* Frees a handle; no other thread may use it any more. -EBUSY: it owns its lock, or a thread is just
 * acquiring it; it stays. */
int paxshm_lock_unref(paxshm_lock_handle *l);

/* Acquires. how NULL: exclusive, wait, retry, no deadline. grant NULL: not wanted; else token and flags
 * are filled on 0, holder on -EBUSY, and nothing otherwise.
 * Shared (PAXSHM_PR): any number of owners in the cluster, none exclusive meanwhile; who owns it exclusively re-enters.
 * Threads that share one handle are one owner: while one of them owns it another re-enters, and while one of
 * them waits another waits for what comes of that.
 *   0              owned; a grant that came before deadline or cancel counts
 *   -EBUSY         NOWAIT, and another owns it (holder; host_id 0: not known, or another
 *                  thread is just acquiring this very handle; on a suspended host, which only
 *                  PAXSHM_RETRY is told so: the owner last known here)
 *   -ETIMEDOUT     the deadline passed
 *   -ECANCELED     paxshm_cancel()
 *   -ENETUNREACH   no quorum (PAXSHM_RETURN, and PAXSHM_FAIL whose handler returned)
 *   -ENOTCONN      the session is over; or after deadline or cancel, or at any time with NOWAIT, PAXSHM_RETURN or PAXSHM_FAIL,
 *                  the agent was silent (it is stopped, or hangs, or does not come back) for
 *                  agent_timeout_ms. In the second case what the session owns stays owned; new acquires that need
 *                  the agent answer -ENOTCONN at once until it has answered (a lock that this host has needs none). Should it answer with a grant, nobody
 *                  waits for that: it is released by the session's next call on any thread that hands
 *                  something in or waits, by paxshm_close(), or by the end of the process. It is never
 *                  taken for a later acquire's.
 *   -ESTALE        the handle's lock was lost: release it as often as it was acquired first
 *   -ENETUNREACH   also: this handle owns the lock, and the host is suspended
 *   -ENOSPC        PAXSHM_CALLS_MAX calls wait for the agent already; the cluster's lock table or this host's part is full;
 *                  or acquired 2^32-1 times
 *   -EDEADLK       this handle owns the lock shared, and wants it exclusive: release it first
 *   -ENOSYS        a mode other than PAXSHM_EX and PAXSHM_PR, or PAXSHM_ASYNC
 *   -EINVAL        unknown mode, flags, no_quorum; sizes */
int paxshm_lock_acquire(paxshm_lock_handle *l, const struct paxshm_acquire *how, struct paxshm_grant *grant) PAXSHM_MUST_CHECK;

/* Takes one acquire back; the last one frees the lock, or hands it to whoever of this host waits longest. Does not wait for
 * the agent (only, with more to tell than there is room for and no agent to read it, for that room).
 *   -ESTALE       not owned, or lost meanwhile
 *   -ENETUNREACH  this host is cut off: whether it was still owned until now nobody here can know
 * In both cases it is counted back all the same. */
int paxshm_lock_release(paxshm_lock_handle *l) PAXSHM_MUST_CHECK;

/* Is it still mine? No waiting, and no system call but while suspended: for every turn of a loop.
 *   0             yes: at this moment nobody else owns it. It stays so until the host's lease ends, which stands in
 *                 shared memory and needs no living agent
 *   -ENETUNREACH  suspended: no leader has renewed this host's lease, so the lock may be given to another host
 *                 any time. Do not go on until it says 0 again: then it was yours all the time
 *   -ESTALE       not owned, or lost for good
 * A program may be stopped right behind the answer: what must never be written twice needs the token. */
int paxshm_lock_check(paxshm_lock_handle *l) PAXSHM_MUST_CHECK;

#define PAXSHM_LINEARIZABLE 1u /* ask the cluster, not this host's tables */

/* Which process owns this lock now. An owner on this host is read from memory; others are asked for.
 * With PAXSHM_LINEARIZABLE the answer is no older than the call. *ret_who with its size set.
 *   0             *ret_who; pid 0: the owner's host is known, and did not say which process in time
 *   -ESRCH        nobody owns it
 *   -ENETUNREACH  no quorum: what this host knows is older than a host lease
 *   -ENOTCONN     the session is over, or the agent was silent for agent_timeout_ms
 *   -ECANCELED    paxshm_cancel()
 *   -ENOSPC       PAXSHM_CALLS_MAX calls wait already */
int paxshm_holder(paxshm_session *s, const void *key, size_t len, uint32_t flags, struct paxshm_who *ret_who);

/* The process at an address: "lock:KEY" is the owner of that lock, answered as paxshm_holder() does.
 * "name:KEY" and "pid:HOST/PID": -ENOSYS, from a later version on. -EINVAL: no address. */
int paxshm_resolve(paxshm_session *s, const char *address, struct paxshm_who *ret_who);

/* Later; -ENOSYS for now. Conversion between modes: -EDEADLK when conversions block each other. */
int paxshm_lock_convert(paxshm_lock_handle *l, uint32_t mode, const struct paxshm_acquire *how, struct paxshm_grant *grant);
/* Later; -ENOSYS for now. Acquires n locks or none. */
int paxshm_lock_many(paxshm_lock_handle *const *locks, size_t n, const struct paxshm_acquire *how, struct paxshm_grant *grants);
/* Later; -ENOSYS for now. The few bytes that travel with a lock. */
int paxshm_lock_value(paxshm_lock_handle *l, void *value, size_t cap, size_t *ret_len);

/* ---- looking around: shared memory is read, the agent hears nothing of it ----
 *
 * What these show is this host's knowledge at some instant of the call, as old as fresh_as_of_ns
 * says. They answer -ENOTCONN when the session is over, -ENETUNREACH while this host takes over
 * another's tables, and -EAGAIN when the tables changed too fast for a steady look: ask again. */

struct paxshm_status {
	uint32_t size;
	uint32_t host_id; /* this host */
	char cluster[PAXSHM_NAME_BYTES], space[PAXSHM_NAME_BYTES], host[PAXSHM_NAME_BYTES], leader[PAXSHM_NAME_BYTES];
	uint32_t role;      /* 1 voter, 2 observer */
	uint32_t leader_id; /* 0: none known */
	uint32_t quorum;    /* 1: what is shown here is no older than a host lease */
	uint32_t agent_pid;
	uint64_t incarnation;      /* of this host; 0: not registered yet */
	uint64_t ballot;           /* the highest seen */
	uint64_t applied;          /* slots of the log that the tables show */
	uint64_t chosen;           /* slots known to be chosen without a gap */
	uint64_t history;          /* random id of the cluster's founding */
	uint64_t agent_starts;     /* agents that served this memory */
	uint64_t fresh_as_of_ns;   /* CLOCK_MONOTONIC */
	uint64_t lease_until_ns;   /* this host's lease, CLOCK_MONOTONIC; 0: none; UINT64_MAX: without end (a cluster whose only voter it is) */
	uint64_t host_lease_ns;    /* how long a lease is */
	uint32_t locks, locks_max; /* locks owned, waited for, or remembered for OWNER_DIED, in the cluster */
	uint32_t waits, waits_max; /* hosts that wait, over all locks */
	uint32_t sessions;         /* open on this host */
	uint32_t cells, cells_max; /* room for keys longer than 64 bytes */
	uint32_t spare;
	/* On this host since its memory was made. */
	uint64_t grants, releases, handovers, refusals, deaths, requests;
	uint64_t revocations; /* locks given back to the cluster because another host waited */
	uint64_t evictions;   /* idle locks given back for room */
	uint64_t repairs;     /* gates put right after a death */
	uint64_t nonsense;    /* gates, or places in their lines, found scribbled over */
	uint64_t state_hash;  /* of all that hosts have alike at `applied`; 0 unless asked for */
};

#define PAXSHM_STATUS_HASH 1u /* also compute state_hash: reads the whole table */

/* How this host and its cluster are. */
int paxshm_status(paxshm_session *s, uint32_t flags, struct paxshm_status *ret_status);

struct paxshm_host {
	uint32_t size;
	uint32_t id;
	char name[PAXSHM_NAME_BYTES];
	uint32_t role;        /* as configured: 1 voter, 2 observer, 0: only remembered */
	uint32_t linked;      /* 1: a connection stands, or it is this host */
	uint64_t incarnation; /* 0: never registered */
};

/* The hosts, one a call, by rising id. *cursor starts at 0 and is moved. 1: *ret_host; 0: no more. */
int paxshm_next_host(paxshm_session *s, uint32_t *cursor, struct paxshm_host *ret_host);

/* lock_info.flags beside PAXSHM_OWNER_DIED, which says: nobody owns it, the last owner died with it. */
#define PAXSHM_KEPT 2u     /* nobody owns it; this host keeps it for whoever of its own comes next */
#define PAXSHM_RECALLED 4u /* this host is giving it back, in general because another host waits */

struct paxshm_lock_info {
	uint32_t size;
	uint32_t key_len;
	unsigned char key[PAXSHM_KEY_MAX + 1]; /* with a NUL behind it */
	struct paxshm_who owner;               /* pid 0: only the host that has it is known (ask paxshm_holder); host_id 0: only remembered;
						* shared: one of them, of this host if it can be (paxshm_holders tells all) */
	uint32_t waiting;                      /* hosts that wait */
	uint32_t flags;                        /* PAXSHM_OWNER_DIED, PAXSHM_KEPT, PAXSHM_RECALLED */
	uint32_t mode;                         /* enum paxshm_mode in which hosts have it; 0: none has */
	uint32_t holders;                      /* hosts that have it */
	/* Of a lock that this host has; else 0. */
	uint32_t waiters;  /* threads of this host that wait in its line */
	uint32_t acquired; /* acquisitions so far, and times it was closed: goes round */
	uint64_t series;   /* two looks at these counts compare when they show the same series */
	uint64_t handed;   /* times that it went straight from one owner to the next */
	uint64_t revoked;  /* times that it was given back because another host waited */
};

/* The locks that are owned, kept, waited for or remembered, one a call, in no order. As paxshm_next_host().
 * Each is shown as it was at one instant; locks that come and go meanwhile may or may not be shown. */
int paxshm_next_lock(paxshm_session *s, uint32_t *cursor, struct paxshm_lock_info *ret_info);

/* The same of one lock. 0: *ret_info, its size set before; -ESRCH: no host has it, and nobody waits for it. */
int paxshm_look(paxshm_session *s, const void *key, size_t len, struct paxshm_lock_info *ret_info);

struct paxshm_waiter {
	uint32_t size;
	uint32_t mode;         /* enum paxshm_mode: what it waits for */
	struct paxshm_who who; /* pid 0: a host, for some process of its own */
};

/* Who waits for a lock: first the threads of this host, the one that waits longest first; then the hosts that wait, this one
 * among them, in the order of their turns. `max` are written, ret_waiters[0].size says how large each is (the
 * first alone needs it set); answers how many there are, which may be more. max 0: only that. -ENOMEM. */
int paxshm_waiters(paxshm_session *s, const void *key, size_t len, struct paxshm_waiter *ret_waiters, size_t max);

/* Who has a lock: the process of this host that owns it, or all of this host that share it (PAXSHM_PR), the one that has it longest
 * first; then the other hosts that have it, each with pid 0, in no order. A host that only keeps it is not counted
 * as long as it is this one; of another it is not known. max and sizes as for paxshm_waiters(). */
int paxshm_holders(paxshm_session *s, const void *key, size_t len, struct paxshm_who *ret_who, size_t max);

/* Asks the cluster to be led by the voter `host_id`. The leader gives its lease up and lets that host take its place;
 * 0: it was asked to, and paxshm_status() shows when it has happened, in general within milliseconds.
 *   -EPERM         only root, and the user whom the agent runs as
 *   -EINVAL        no voter of this cluster
 *   -ENETUNREACH   no leader is known
 *   -EAGAIN        the leader, this host, has only just begun
 *   -EHOSTUNREACH  that host is not in touch with the leader
 *   -ENOTCONN      the session is over, or the agent was silent for agent_timeout_ms
 *   -ECANCELED     paxshm_cancel() */
int paxshm_move_leader(paxshm_session *s, uint32_t host_id);

/* ---- names: from a later version on; -ENOSYS for now ---- */

enum paxshm_restart {
	PAXSHM_TEMPORARY = 0, /* when it ends, the name is free; the next use starts it again */
	PAXSHM_PERMANENT = 1, /* started again whenever it ends, elsewhere when its host goes down */
};

/* How to start the process behind a name. All borrowed. */
struct paxshm_child {
	uint32_t size;
	uint32_t restart;      /* enum paxshm_restart */
	char *const *argv;     /* NULL-terminated; argv[0] is the program's path */
	char *const *envp;     /* NULL-terminated; NULL: the requester's */
	const char *cwd;       /* NULL: the requester's */
	const char *placement; /* host name; NULL: anywhere */
};

/* A reference to a name; the caller's memory. */
struct paxshm_name {
	uint32_t size;
	uint32_t key_len;
	unsigned char key[PAXSHM_KEY_MAX + 1];
	const struct paxshm_child *child; /* borrowed; NULL: the name is not started by using it */
};

/* Fills *n. Starts nothing. -EINVAL, -ENAMETOOLONG. */
int paxshm_name_init(struct paxshm_name *n, const void *key, size_t len, const struct paxshm_child *child);
/* The process behind the name, started if need be; *ret_who alike in both cases. -ETIMEDOUT,
 * -ECANCELED, -ENETUNREACH, -ESRCH (not there, and no child to start), or why it did not start. */
int paxshm_ensure(paxshm_session *s, const struct paxshm_name *n, uint64_t deadline_ns, struct paxshm_who *ret_who);
/* The process behind a name; never starts it. -ESRCH: none. flags: PAXSHM_LINEARIZABLE. */
int paxshm_lookup(paxshm_session *s, const void *key, size_t len, uint32_t flags, struct paxshm_who *ret_who);
/* 1: there is a process behind the name; 0: none. Never starts it. */
int paxshm_alive(paxshm_session *s, const void *key, size_t len);
/* Puts this process behind a name, until the session ends. -EEXIST: taken. */
int paxshm_register(paxshm_session *s, const void *key, size_t len);
/* Takes it back. -ESRCH: not this session's. */
int paxshm_unregister(paxshm_session *s, const void *key, size_t len);
/* Said by a started child: it is ready to be used. */
int paxshm_ready(paxshm_session *s);
/* paxshm_ensure() of n names; answers how many run. */
int paxshm_start_children(paxshm_session *s, const struct paxshm_name *names, size_t n, uint64_t deadline_ns);
/* The children of this host, as paxshm_next_host(). */
int paxshm_children(paxshm_session *s, uint32_t *cursor, struct paxshm_who *ret_who);

/* ---- messages: from a later version on; -ENOSYS for now ---- */

struct paxshm_message {
	uint32_t size;
	uint32_t len;
	const void *bytes; /* the session's, until the next paxshm_recv() */
	struct paxshm_who from;
	uint64_t call; /* to be named in paxshm_reply(); 0: none is awaited */
};

/* Sends to an address as paxshm_resolve() takes it; at most once, in order. -ESRCH, -EAGAIN (mailbox
 * full), -EMSGSIZE. */
int paxshm_send(paxshm_session *s, const char *address, const void *bytes, size_t len);
/* The next message to this session. -ETIMEDOUT, -ECANCELED. */
int paxshm_recv(paxshm_session *s, struct paxshm_message *ret_message, uint64_t deadline_ns);
/* Sends and waits for the reply. -EPIPE: the other process ended before it answered. */
int paxshm_call(paxshm_session *s, const char *address, const void *bytes, size_t len, uint64_t deadline_ns, struct paxshm_message *ret_reply);
/* Answers a message whose `call` is not 0. */
int paxshm_reply(paxshm_session *s, const struct paxshm_message *to, const void *bytes, size_t len);

/* ---- events ---- */

enum paxshm_event_kind {
	PAXSHM_EVENT_GRANTED = 1, /* an ASYNC acquire was granted: from a later version on */
	PAXSHM_EVENT_LOST,        /* a lock is not this session's any more: once for each handle that owned one */
	PAXSHM_EVENT_SUSPENDED,   /* the host is cut off: do not go on with what its locks protect */
	PAXSHM_EVENT_RESUMED,     /* and is back: those that were not LOST go on */
	PAXSHM_EVENT_WANTED,      /* somebody waits for a lock of this session: from a later version on */
	PAXSHM_EVENT_MAIL,        /* a message is there: from a later version on */
};

/* `lock` is a name and no reference: compare it with the handles that you have, and use yours. It may be the one that paxshm_lock()
 * keeps for a thread, or one that another thread has just given back: it may be gone by then, and its memory another handle's. What
 * paxshm_lock() acquired is released by its key. */
struct paxshm_event {
	uint32_t size;
	uint32_t kind;             /* enum paxshm_event_kind */
	paxshm_lock_handle *lock;  /* GRANTED, LOST, WANTED: for comparison only */
	struct paxshm_grant grant; /* GRANTED */
};

/* A descriptor that is readable while an event is there, for poll(2); the session's, made by the first call. It
 * may also be readable when paxshm_next_event() then finds none: about once in a host lease, and ten times a
 * second while the host is suspended. -EMFILE, -ENFILE, -ENOMEM. */
int paxshm_fd(paxshm_session *s);
/* Takes the next event; needs no agent to be alive. After each time the descriptor was readable call it until it
 * answers other than 1. 1: *ret_event, its size set before; 0: none; -ENOTCONN: the session is over, and
 * every LOST was told. */
int paxshm_next_event(paxshm_session *s, struct paxshm_event *ret_event);

/* ---- helpers ---- */

/* The deadline `ms` milliseconds from now. */
uint64_t paxshm_deadline_ms(uint64_t ms);

/* An answer in words that a person can act on; one line, static, never NULL. Any thread. */
const char *paxshm_strerror(int rc);

/* "MAJOR.MINOR.PATCH" of the library that is running, which may be newer than this header. */
const char *paxshm_version(void);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
