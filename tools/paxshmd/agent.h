/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent: what one host's agent does, as a pure step: event -> actions. Paxos, the tables and the
 * sessions meet here and nowhere else. The reactor feeds it from sockets, the simulator from its
 * own; both run this code.
 *
 * All that must survive the process lies in three mappings that were passed in (private, tables,
 * arena) and in the session segments; it changes only under undo.h. An event is handled as a row of
 * groups, each ended by a commit, in this order:
 *
 *   1. Paxos: promises, acceptances, what is now chosen.       commit
 *   2. apply: one command at a time, with the completions       commit each
 *      that follow from it (written, not yet visible)
 *   3. the actions, carried out by the caller in their order: send, then wake
 *
 * so nothing is sent before it would survive, and nothing is applied before it is chosen for good.
 * Death anywhere: the successor rolls back to the last commit, applies what is chosen, publishes
 * every ring's ends from its own memory and rings every bell: a lost send is a lost message, a lost
 * wake is made good.
 *
 * Who may enter: reactor, simulator, tests.
 */
#ifndef PAXSHM_TOOLS_PAXSHMD_AGENT_H
#define PAXSHM_TOOLS_PAXSHMD_AGENT_H

#include "../../net/paxos/paxos.h"
#include "../../net/wire.h"
#include "../../shm/layout.h"
#include "../../shm/table.h"

struct agent_limits {
	struct table_capacity capacity; /* agreed for the cluster */
	uint32_t sessions;              /* of this host; 1 .. SESSIONS_MAX */
	uint32_t claims;                /* locks held, kept or waited for on this host at once; 1 .. 2^20 */
	uint32_t log_slots, window, value_max;
};

/* The defaults, with room for `rows` locks. */
struct agent_limits agent_limits_for(uint32_t rows);

struct agent_config {
	uint16_t self;
	uint16_t voters[PAXOS_VOTERS_MAX];
	uint32_t n_voters;
	bool founding; /* a fresh memory may vote: this is the first start of the cluster */
	char cluster[NAME_BYTES];
	struct agent_limits limits;
	uint64_t heartbeat_ns, leader_lease_ns;
	uint64_t host_lease_ns;     /* so long a host may trust what is delegated to it after it asked for renewal */
	uint32_t drift_ppm;         /* how much a host's clock may run fast or slow, in millionths */
	uint64_t heir_of;           /* nonce of this machine's last memory, when none of its processes is left; else 0 */
	uint32_t handover_max;      /* turns that local waiters take before a waiting host gets the lock … */
	uint64_t handover_ns;       /* … and for how long */
	uint64_t keep_ns;           /* a lock that nobody here has used for so long is given back; 0: at once */
	uint32_t range;             /* tokens of a delegation that are used before a new one is asked for; 0: LOCK_RANGE */
	uint64_t ask_ns;            /* how long another host may take to say who owns a lock */
	uint32_t uid;               /* of the agent's process: it, and root, may move the leader */
	uint32_t copy_bite;         /* bytes of a copy of the tables that are made, looked at or installed in one turn, at most COPY_BITE; 0: that */
	uint64_t copy_pace_ns;      /* from one such turn to the next; 0: COPY_PACE_NS */
	uint64_t seed;              /* random: timeouts */
	uint64_t nonce;             /* random, not 0: the identity of a memory that is fresh now */
	uint64_t (*clock_ns)(void); /* for requests that ask for stamps; NULL: the time of the event stands in */
};

/* Some 60 us of work on a copy each 500 us: 64 MB a second, and nobody waits longer than a bite. */
#define COPY_BITE (32u * 1024)
#define COPY_PACE_NS (500 * 1000ull)

struct agent_memory { /* the mappings; `private` and tables zeroed when fresh */
	void *private;
	struct tables *tables;
	struct arena *arena;
};

/* Bytes of each mapping. */
uint64_t agent_private_size(const struct agent_limits *limits);
uint64_t agent_tables_size(const struct agent_limits *limits);
uint64_t agent_arena_size(const struct agent_limits *limits);

struct agent;

/* Starts over the given memory: formats a fresh one, takes an inherited one over. Allocates all it will
 * ever need. 0; -ENOMEM; -EPROTO: the memory is of another layout or configuration (*ret_why says how). */
int agent_new(struct agent **ret, const struct agent_config *config, const struct agent_memory *memory,
	      uint64_t now_ns, const char **ret_why);
void agent_free(struct agent *a); /* leaves the memory as it is; NULL is fine */

/* ---- events ---- */

enum agent_event_kind {
	AGENT_TIME,         /* time has passed */
	AGENT_TURN,         /* all that was there has been handed in: look into rings, send batches */
	AGENT_FRAME,        /* from, bytes, len: a whole frame from a linked host */
	AGENT_LEAVE,        /* this host is about to stop: if we lead, another shall */
	AGENT_LINK_UP,      /* from, hello */
	AGENT_LINK_DOWN,    /* from */
	AGENT_SESSION_OPEN, /* slot, rings, identity: a process was let in */
	AGENT_SESSION_MAP,  /* slot, rings: after a restart, the segment of a session that is in memory */
	AGENT_SESSION_GONE, /* slot: every process that the session lived by has ended */
};

/* Times are of one clock that never stops (CLOCK_BOOTTIME), read after what is handed in was received. */
struct agent_event {
	enum agent_event_kind kind;
	uint64_t now_ns;
	uint64_t suspended_ns; /* what CLOCK_MONOTONIC lacks of it; at least */
	uint64_t clock_gap_ns; /* CLOCK_REALTIME_COARSE - CLOCK_MONOTONIC_COARSE */
	uint16_t from;
	const void *bytes;
	size_t len;
	const struct wire_hello *hello;
	uint32_t slot;
	struct session_rings *rings;
	struct session_identity {
		uint32_t pid, uid, gid, spare;
		uint64_t start;
		char program[16]; /* /proc/PID/comm, ends with a NUL */
	} identity;
};

/* ---- actions ---- */

enum agent_action_kind {
	ACTION_SEND,     /* to (a host or PAXOS_TO_*), bytes, len: a whole frame */
	ACTION_WAKE,     /* slot, call: wake one sleeper on rings->bell[call] */
	ACTION_ROUSE,    /* record: wake one sleeper on the bell of this gate record */
	ACTION_CLOSED,   /* slot: the session is over and its slot free: drop its descriptors */
	ACTION_BANNED,   /* slot, text: the session wrote nonsense: close its socket; its locks stay until its processes end */
	ACTION_BAD_PEER, /* to = host, text: its frames make no sense, drop the link */
	ACTION_HELLO,    /* what our hello says has changed (agent_hello) */
	ACTION_LOG,      /* level (syslog), text: key=value */
	ACTION_FATAL,    /* text: this host cannot be part of the cluster: end, and do not start again */
};

struct agent_action {
	enum agent_action_kind kind;
	uint16_t to;
	uint8_t level;
	uint32_t slot, call, record;
	const unsigned char *bytes;
	size_t len;
	const char *text;
};

struct agent_actions { /* the agent's, valid until the next step */
	const struct agent_action *at;
	unsigned n;
	uint64_t wake_at_ns; /* step with TIME by then */
	bool again;          /* more is to do: step with TURN without sleeping */
};

struct agent_actions agent_step(struct agent *a, const struct agent_event *event);

/* May the caller sleep? Sets agent_sleeps and looks at the doorbells once more: false: step with TURN
 * instead. After true, call agent_awake before the next step. */
bool agent_may_sleep(struct agent *a);
void agent_awake(struct agent *a);

/* A free session slot, 0: none. SESSION_OPEN takes it. */
uint32_t agent_free_slot(const struct agent *a);
/* Whether memory holds a session in this slot (after a restart: which descriptors to keep). */
bool agent_has_session(const struct agent *a, uint32_t slot);

/* Our hello now (`to` is 0). */
struct wire_hello agent_hello(const struct agent *a);

/* ---- for tests and the simulator ---- */

const struct paxos *agent_paxos(const struct agent *a);
struct undo *agent_undo(struct agent *a);
struct agent_copies {       /* of tables, since the agent started */
	uint64_t given;     /* begun, for other hosts */
	uint64_t early;     /* records written down because their original was about to change */
	uint64_t begun;     /* taken: their first bytes came */
	uint64_t refused;   /* by verification */
	uint64_t installed; /* here */
	uint64_t bites;     /* that installing took */
	uint64_t tail;      /* slots that were learnt behind a copy while it came */
};
struct agent_copies agent_copies(const struct agent *a);
/* Whether the agent's memory holds together: NULL, or what is wrong. */
const char *agent_check(const struct agent *a);

#endif
