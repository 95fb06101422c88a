/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session: what stands behind paxshm_session and paxshm_lock_handle. Private to lib/.
 *
 * One mutex guards all that threads of this process share; it is held for a few instructions and
 * never across a sleep. A handle that one thread uses alone goes without it: see bias.h. Beside it there are words that
 * are read without it:
 *
 *   mine      1 in the process that opened the session, 0 in its forked children (the kernel wipes
 *             the page); written once.
 *   lost      0 -> 1, once: the agent's side is gone for good. Stale 0: one more look is made.
 *   cancels   counts paxshm_cancel(); a call ends when it moved since the call began.
 *   turn      futex word of the threads that wait for another thread of this process; every move
 *             means: look again.
 *   agreed_ns the second in which a thread last found that the clocks agree: lease_check.h. Stale: they are asked again.
 *   waiting   a bit for each call slot in use: whose bells paxshm_cancel() rings. Stale bit: a ring
 *             for nobody, or for a call that looks again and sleeps on.
 *   places    a bit for each of the session's records at the gates that is in use: whose bells paxshm_cancel() rings.
 *   handle's words: written by its one thread or under the mutex, or by the thread that has made it busy; the first line
 *             of them is read by paxshm_lock_check() without.
 *
 * A call slot: FREE -> WAITING (its request is in the ring) -> ANSWERED -> FREE, or
 * WAITING -> GIVEN_UP (its thread has gone: the agent was silent too long) -> FREE when the answer
 * comes at last; if that is a grant, GIVEN_UP -> LATE until its release stands in the ring -> FREE. A grant that goes back
 * while the ring is full takes a slot for that: FREE -> LATE.
 * A slot is never used again before its answer came: an answer always belongs to the call it names.
 *
 * Who may enter: lib/.
 */
#ifndef PAXSHM_LIB_SESSION_H
#define PAXSHM_LIB_SESSION_H

#include <errno.h>
#include <pthread.h>

#include "../shm/atom.h"
#include "../shm/gate_read.h"
#include "../shm/layout.h"
#include "../shm/segment.h"
#include "../shm/table.h"
#include "base.h"
#include "bias.h"
#include "paxshm.h"

#define AGENT_TIMEOUT_MS 10000u
#define NAMED_BUCKETS 256u /* of paxshm_lock()'s handles; a power of two */
#define NAMED_MAX 1024u    /* handles by name in a session: beyond that fewer are kept that own nothing */
#define WAITING_WORDS (RING_CALLS / 64)

enum call_state { CALL_FREE = 0,
		  CALL_WAITING,
		  CALL_ANSWERED,
		  CALL_GIVEN_UP,
		  CALL_LATE };

struct call {
	uint8_t state;                 /* enum call_state */
	uint8_t op;                    /* of its request */
	bool uncancelled;              /* GIVEN_UP: its CANCEL found no room in the ring yet */
	int32_t reason;                /* of that CANCEL */
	struct ring_completion answer; /* ANSWERED, LATE */
};

struct paxshm_lock_handle { /* what the short way needs comes first: two lines of the cache */
	struct paxshm_session *session;
	const uint32_t *mine; /* the session's */
	struct bias bias;
	struct gate *gate_at; /* of `gate`; NULL: not known */
	const struct gate_terms *terms;
	/* Atomic. Of what is owned: written before count leaves 0. */
	uint32_t count;        /* times acquired; 0: not owned */
	uint32_t mode;         /* PAXSHM_EX: owned at the gate; PAXSHM_PR: by claim */
	uint32_t gate, serial; /* the gate of its key, and the serial of its terms then; gate 0: not known */
	uint64_t token, incarnation;
	uint32_t taken; /* EX: the gate's count of this acquisition */
	bool died;      /* EX: the owner before had died */
	/* Rarely. */
	uint64_t claim;                          /* PR */
	struct paxshm_lock_handle *next, **link; /* all handles of the session */
	struct paxshm_lock_handle *named_next;   /* in its bucket, when thread is not 0 */
	uint64_t thread;                         /* paxshm_lock(): number of the thread; 0: made by paxshm_lock_ref() */
	bool crowded;                            /* paxshm_lock(): made when the session had NAMED_MAX already */
	bool busy;                               /* a thread has let go of the mutex in the middle of an acquire or release */
	bool told_lost;                          /* its EVENT_LOST was taken; only of a shared handle */
	uint32_t key_len;
	uint8_t key[KEY_MAX];
};

struct paxshm_session {
	const uint32_t *mine;
	int socket;             /* non-blocking */
	void *life;             /* a mapping that keeps the open file description of the life descriptor, or NULL */
	int life_fd;            /* the descriptor itself, when the program asked for it, or -1 */
	int event_fd, timer_fd; /* of paxshm_fd(), or -1 */
	struct segment tables_segment, arena_segment, rings_segment;
	const struct tables *tables;
	struct arena *arena;
	struct session_rings *rings;
	struct gate_view view;
	uint32_t slot, host;
	uint64_t serial;    /* among the sessions of this process; from 1, never used again */
	uint64_t agreed_ns; /* lease_stands_again()'s */
	bool biased;        /* handles may be one thread's: see bias.h */
	char cluster[NAME_BYTES], host_name[NAME_BYTES];
	uint64_t agent_timeout_ns;
	paxshm_fatal_handler *fatal;
	void *fatal_context;

	/* Atomic words: see above. */
	uint32_t lost, cancels, turn;
	uint64_t waiting[WAITING_WORDS];
	uint64_t places;

	pthread_mutex_t mutex;
	uint64_t places_left; /* those that were left by a cancel, and may still stand in a line */
	struct call calls[RING_CALLS];
	uint32_t silent; /* acquires given up and not answered yet: new ones are refused meanwhile; read without the mutex too */
	uint32_t owed;   /* slots that are LATE or uncancelled */
	uint32_t turn_waiters;
	bool told_suspended; /* the last event about the lease */
	struct paxshm_lock_handle *handles;
	struct paxshm_lock_handle *named[NAMED_BUCKETS];
	uint32_t n_named;

	pthread_mutex_t adopt_mutex;
	uint32_t adopts_unanswered; /* answers that may still come for an adopt that was given up */
};

/* ---- session.c ---- */

/* 0; -EINVAL: no session; -EPERM: another process's. First in every public call. */
static inline int session_mine(const struct paxshm_session *s)
{
	if (!s)
		return -EINVAL;
	return *s->mine ? 0 : -EPERM;
}

/* Whether the session is known to be over: reads memory only. */
static inline bool session_lost(const struct paxshm_session *s)
{
	return atom_load_acquire(&s->lost) || atom_load_acquire(&s->rings->closed);
}

/* The same after a look at the socket: one system call. */
bool session_look(struct paxshm_session *s);

/* Wakes threads that wait in session_turn_wait(). */
void session_turn(struct paxshm_session *s);

/* Tells the agent that a request stands in the ring, if it sleeps. */
void session_announce(struct paxshm_session *s);

/* Takes half-built ones. */
void session_free(struct paxshm_session *s);

/* 0; -EINVAL: NULL or empty; -ENAMETOOLONG. */
int key_check(const void *key, size_t len);

/* ---- call.c ---- */

/* Ends at `deadline_ns` (NEVER: none), and with -ECANCELED when s->cancels is no longer `cancels`
 * (NULL: cannot be cancelled). */
struct patience {
	uint64_t deadline_ns;
	const uint32_t *cancels;
};

/* Hands a request in and waits for its answer. 0 and *ret; -ENOSPC: RING_CALLS calls wait already;
 * -ENOTCONN: the session is over, or the agent said nothing for too long; -ECANCELED.
 * Past the deadline an ACQUIRE is withdrawn: the agent answers it with -ETIMEDOUT, or with the grant
 * that came first; any other call is given up with -ETIMEDOUT. */
int call_run(struct paxshm_session *s, struct ring_request *request, struct patience patience, struct ring_completion *ret);

/* Hands a request in that is not answered. Waits while the ring is full. 0, -ENOTCONN, -ETIMEDOUT, -ECANCELED. The mutex
 * is held by the caller and may be let go meanwhile. */
int call_post(struct paxshm_session *s, const struct ring_request *request, struct patience patience);

/* Takes what answers there are to acquires that were given up: a grant among them is one's own, and would be waited for in
 * vain. The mutex is not held. */
void call_hear(struct paxshm_session *s);

/* Hands in that a grant goes back: its claim, or the gate, which is the agent's again. Waits for room as long as `patience`
 * lasts; then the session's next call does it. The mutex is not held. */
void call_return(struct paxshm_session *s, const struct ring_completion *grant, struct patience patience);

/* Whether a thread should stop waiting: 0, -ETIMEDOUT, -ECANCELED. */
int patience_over(const struct paxshm_session *s, struct patience patience);

/* ---- lease.c ---- */

/* What was granted under this incarnation of the host: 0: nobody else can own it now; -ENETUNREACH: the lease was not
 * renewed; -ESTALE: lost for good. Reads memory and clocks only: lease_check.h, and whether the session stands. */
int lease_look(const struct paxshm_session *s, uint64_t incarnation);

/* The same, waiting (if it may) while it is suspended: also -ETIMEDOUT, -ECANCELED, -ENOTCONN. */
int lease_await(struct paxshm_session *s, uint64_t incarnation, struct patience patience, bool wait);

/* ---- look.c ---- */

/* Copies a host's name, or "". */
void host_name(const struct paxshm_session *s, uint32_t host, char ret[PAXSHM_NAME_BYTES]);

/* Whether the tables are young enough to be told from: no older than a host lease. The agent says so as long as it
 * lives; the clock, when it does not: the cheapest alone, and all of them once in each of its seconds, as lease_stands_again(). */
bool tables_fresh(struct paxshm_session *s);

/* The holder that a completion names. */
void holder_from(const struct paxshm_session *s, const struct ring_completion *answer, struct paxshm_who *ret);

/* ---- owner.c ---- */

enum owner_seen {
	OWNER_NONE,  /* nobody owns it; a host may keep it */
	OWNER_KNOWN, /* a session of this host owns it */
	OWNER_HOST,  /* a host has it; which process owns it, if any, the tables do not say */
	OWNER_MOVED, /* it changed under the look: read the row again */
};

/* Who owns a lock, by its row. In shared mode it names nobody and answers HOST: see holders.c. *ret says which host has it, but for its name, and
 * which process when it is KNOWN; *ret_shown is the gate's,
 * when one of this host's serves the lock. MOVED again and again: the host is giving the lock back. */
enum owner_seen owner_see(const struct paxshm_session *s, const struct lock_value *value, struct paxshm_who *ret, struct gate_shown *ret_shown);

/* Fills in which process has a session of this host; false: none. */
bool who_from_session(const struct paxshm_session *s, uint32_t slot, struct paxshm_who *ret);

/* The same of a claim, and since when. */
bool who_from_claim(const struct paxshm_session *s, const struct claim_seen *claim, struct paxshm_who *ret);

/* What owner_see() said, with the host's name, into a structure that has to stand as it was until all is known. Field by
 * field: a copy of the whole would wait for the stores that made it. */
void who_tell(const struct paxshm_session *s, const struct paxshm_who *who, struct paxshm_who *ret);

/* A host, and no process of it. */
void who_host(const struct paxshm_session *s, uint32_t host, struct paxshm_who *ret);

/* A time that stands in memory which sessions write: 0 when it cannot be true. */
uint64_t since_told(const struct tables *t, uint64_t since_ns);

/* ---- holders.c ---- */

/* Of a lock in shared mode, with its holders: the program of this host that has shared it for longest, else another host, else (this
 * host alone has it, and nobody uses it) nobody. Answers whether this host has it. */
bool holders_first(const struct paxshm_session *s, const void *key, uint32_t len, const struct table_wait *hosts, uint32_t n_hosts,
		   struct paxshm_who *ret);

/* ---- waiters.c ---- */

/* How many wait at a gate of this host. */
uint32_t line_length(const struct paxshm_session *s, uint32_t gate);

#endif
