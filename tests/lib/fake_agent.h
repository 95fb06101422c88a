/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_agent: an agent of one host in a thread of the test, just good enough to serve libpaxshm:
 * greeting, rings, locks first come first served - and to misbehave as it is told. No Paxos. Exclusive locks go
 * through gates, and a lock that was once granted here stays this host's until a test holds it elsewhere.
 *
 * The fields marked so are set by tests, under fake_lock(), and are obeyed from then on.
 */
#ifndef PAXSHM_TESTS_LIB_FAKE_AGENT_H
#define PAXSHM_TESTS_LIB_FAKE_AGENT_H

#include <pthread.h>

#include "../../lib/paxshm.h"
#include "../../shm/arena.h"
#include "../../shm/ring.h"
#include "../../shm/segment.h"
#include "../../shm/table.h"

#define FAKE_SESSIONS 8
#define FAKE_LOCKS 8
#define FAKE_WAITERS 512
#define FAKE_HOST 1u
#define FAKE_OTHER 2u
#define FAKE_INCARNATION 7u

enum fake_welcome {
	FAKE_WELCOME,
	FAKE_REFUSE,       /* result -EPERM and a reason */
	FAKE_OTHER_LAYOUT, /* says that it speaks a newer layout, in a longer message */
	FAKE_NO_MAGIC,
	FAKE_SHORT,
	FAKE_POSITIVE, /* a result that is no errno */
	FAKE_TWO_FDS,
	FAKE_NO_SEALS,
	FAKE_BAD_TABLES,
	FAKE_BAD_ARENA,
	FAKE_BAD_RINGS,
	FAKE_OTHER_SLOT,
	FAKE_HANG_UP, /* closes without a word */
	FAKE_SILENT,
};

struct fake_claim {
	uint32_t session, call;
	uint8_t mode;
	uint64_t claim, since_ns;
};

struct fake_lock { /* i of the array has gate i + 1 */
	char key[KEY_MAX + 1];
	bool elsewhere; /* another host's */
	bool died;      /* the next grant of a new delegation says so */
	uint64_t delegation;
	struct fake_claim readers[FAKE_WAITERS], line[FAKE_WAITERS];
	unsigned reading, waiting;
};

struct fake_session {
	int socket; /* -1: closed */
	struct segment segment;
	struct session_rings *rings; /* NULL: free */
	uint32_t head, tail;
};

struct fake {
	char dir[64], path[96], life_path[96];
	int listener, stir;
	pthread_t thread;
	pthread_mutex_t mutex;
	struct segment tables_segment, arena_segment;
	struct tables *tables;
	struct arena *arena;
	struct fake_session sessions[FAKE_SESSIONS + 1];
	struct fake_lock locks[FAKE_LOCKS];
	struct gate_view view;
	uint64_t last_claim, last_token, last_delegation;
	unsigned spare_records; /* Set by tests before sessions open: so many records of each session are nobody's */
	bool stop;

	/* Set by tests. */
	enum fake_welcome welcome;
	unsigned hang_ups;        /* so many connections are closed without a word first */
	bool paused;              /* requests stay where they are: the agent is being restarted */
	bool deaf;                /* acquires are taken and neither granted nor queued */
	bool no_quorum;           /* acquires wait; the tables say so when the test makes them */
	bool grant_before_cancel; /* a CANCEL finds its acquire granted a moment ago */
	int adopt_errno;
	bool adopt_late;                  /* answers to ADOPT are kept back until the next one */
	uint32_t holder_host, holder_pid; /* answers to HOLDER */
	int holder_result;
	int lead_result;      /* answers to LEAD */
	unsigned void_grants; /* so many grants are told when the life that they were made in is over */

	/* Seen. */
	struct greeting greeting;
	unsigned welcomes, acquires, releases, stale_releases, cancels, closes, holders, leads, adopts, adopts_kept, gates, requests_seen;
	struct ring_request last_cancel, last_holder, last_lead, last_acquire;
};

/* Makes the socket and serves it. */
void fake_start(struct fake *f);
void fake_stop(struct fake *f);

/* Reads a field of the test's `fake` while the agent stands still. */
#define FAKE_SAW(field) \
	({ \
		pthread_mutex_lock(&fake.mutex); \
		__typeof__(fake.field) saw_ = fake.field; \
		pthread_mutex_unlock(&fake.mutex); \
		saw_; \
	})

/* May be nested. */
void fake_lock(struct fake *f);
void fake_unlock(struct fake *f); /* and lets the agent look at what has changed */

/* The lock of a key, made at need. The mutex is held. */
struct fake_lock *fake_key(struct fake *f, const char *key);

/* The gate of a key; which session owns it there, 0: none; the token of that. */
uint32_t fake_gate(struct fake *f, const char *key);
uint32_t fake_owner(struct fake *f, const char *key);
uint64_t fake_token(struct fake *f, const char *key);

/* Waits until that session owns it at the gate; 0: none. */
void fake_until_owner(struct fake *f, const char *key, uint32_t session);

/* The agent wants the gate back; / it gives the gate and its line to whoever is next. */
void fake_close_gate(struct fake *f, const char *key);
void fake_open_gate(struct fake *f, const char *key);

/* The gate is given to another key than it was for, while nobody owns it. */
void fake_move_gate(struct fake *f, const char *key);

/* The session's process is gone: all that it owned is repaired. */
void fake_bury(struct fake *f, uint32_t session);

/* A process of another host owns the key from now on. / It releases it. */
void fake_hold(struct fake *f, const char *key);
void fake_free(struct fake *f, const char *key);

/* The host's lease as the agent publishes it: until `ns` from now on; 0: it has passed; NEVER. */
void fake_lease(struct fake *f, uint64_t ns);

/* The host was declared down, and all that was granted is void. / It has a new life, and no lease yet. */
void fake_down(struct fake *f);
void fake_up(struct fake *f, uint64_t incarnation);

/* Waits until so many wait for the key, at the agent or in the gate's line, asleep there. */
void fake_until_waiting(struct fake *f, const char *key, unsigned n);

/* Waits until a counter of the fake has reached n. */
void fake_until(struct fake *f, const unsigned *counter, unsigned n);

/* Closes every session's socket, as the end of the keeper does. */
void fake_hang_up(struct fake *f);

/* A session with the fake; asserts that it opened. */
paxshm_session *fake_open(struct fake *f, uint32_t agent_timeout_ms);

/* Descriptors this process has open. */
unsigned fake_count_fds(void);

#endif
