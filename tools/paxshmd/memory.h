/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory: the private segment - what one agent leaves to the next when it is killed, beside the
 * tables. Nobody else maps it. Fixed arrays and indices (0: none), changed only under undo.
 *
 *   header | undo log | Paxos memory | sessions | claims | lines | line buckets | commands | inbox
 *
 * claim    one session's wish for one key: it waits, or asks who owns
 * line     one key that this host holds, keeps or waits for; gate i (shm/gate.h) is that of line i
 * command  a numbered command of this host that is not known to be applied yet
 * inbox    a snapshot: one that comes, or is complete and being installed; else room to make one for another host
 *
 * Who may enter: the agent's own rooms.
 */
#ifndef PAXSHM_TOOLS_PAXSHMD_MEMORY_H
#define PAXSHM_TOOLS_PAXSHMD_MEMORY_H

#include "agent.h"
#include "../../shm/state/command.h"

#define COMMANDS_MAX 1024u /* numbered commands under way; a power of two */
#define GROUP_CLAIMS 64u   /* claims that are answered together, or sent to ask, in one group under undo */

enum session_state {
	SESSION_FREE,
	SESSION_OPEN,
	SESSION_BANNED, /* wrote nonsense: nothing of it is read any more, it ends with its processes */
	SESSION_ENDING, /* its claims are being given up, a bite a turn */
};

#define SWEEP_DONE UINT32_MAX

struct session_record {
	uint32_t state;
	uint32_t head, tail;   /* requests taken, completions written: what the rings publish */
	uint32_t claims;       /* list of its claims, newest first */
	uint32_t closing_call; /* ENDING: the call that asked for it, CALL_NONE: its processes died */
	uint32_t sweep_at;     /* ENDING: gates below it are not its own any more; SWEEP_DONE: none is */
	struct session_identity identity;
	uint32_t call_claim[RING_CALLS]; /* the claim that a call waits for, 0: none */
};

enum claim_state {
	CLAIM_FREE,
	CLAIM_WAITING, /* in its line's queue */
	CLAIM_GIVEN,   /* its session is being made the gate's owner: its line's `given` */
	CLAIM_OWNER,   /* owns the lock in shared mode */
	CLAIM_ASKING,  /* in its line's list of asks: wants to know who owns */
};

enum ask_stage {
	ASK_INDEX,   /* wants to know from the leader how far the log is, before it looks */
	ASK_INDEXED, /* waits for the answer `number`, and until so much is applied */
	ASK_LOOK,    /* look into the tables, then answer or ask the owning host */
	ASK_SENT,    /* waits for that host's answer */
};

struct claim {
	uint32_t gen;                    /* rises each time the place is given back */
	uint8_t state, stage, flags, op; /* enum claim_state, enum ask_stage, REQUEST_*, enum request_op */
	uint32_t session, call, line;
	uint32_t next, prev; /* queue or asks of the line; next also in the free list */
	uint32_t session_next, session_prev;
	uint32_t mode;       /* ACQUIRE: LOCK_MODE_ */
	uint64_t token;      /* OWNER */
	uint64_t since_ns;   /* when it came into its state; ASK_SENT: when to ask again */
	uint64_t number;     /* ASK_INDEXED */
	uint64_t give_up_ns; /* ASKING: answer with what is known by then */
};

enum line_state {
	LINE_IDLE,       /* the cluster knows of no wish of ours */
	LINE_TRIED,      /* ACQUIRE with TRY is under way */
	LINE_ASKED,      /* ACQUIRE is under way, or applied and queued */
	LINE_CANCELLING, /* CANCEL is under way */
	LINE_OURS,       /* the lock is delegated to us */
};

struct line {
	uint32_t next;  /* in its bucket, or in the free list */
	uint8_t state;  /* enum line_state */
	uint8_t wanted; /* OURS: given back as soon as nobody here wants it */
	uint8_t queued; /* ASKED: applied, another host has it */
	uint8_t key_len;
	uint32_t head, tail;            /* WAITING claims */
	uint32_t asks;                  /* ASKING claims */
	uint32_t given, given_count;    /* CLAIM_GIVEN, and the gate's count before; 0: none */
	uint32_t n_waiting, n_blocking; /* claims in the queue; of them, without TRY */
	uint32_t full;                  /* IDLE: how often the cluster had no room for it */
	uint32_t mode;                  /* OURS: LOCK_MODE_ */
	uint32_t sharers, shared;       /* in PR: OWNER claims, and tokens given */
	uint64_t hash;
	uint64_t number;          /* of the last command about this key */
	uint64_t delegation;      /* OURS; in EX, what it allows stands in the terms of the gate that has the line's index */
	uint64_t base;            /* OURS: of its tokens */
	uint64_t remote_since_ns; /* OURS: since when another host waits, CLOCK_MONOTONIC; 0: none does */
	uint8_t key[KEY_MAX + 1];
};

struct stored_command {
	uint16_t len;
	uint8_t kind, spare[5];
	uint8_t bytes[COMMAND_BYTES_MAX];
};

struct private_memory {
	struct segment_header segment;
	/* What it was made for: another configuration does not fit. */
	uint64_t nonce;
	uint64_t shape; /* hash of self, voters and limits */
	uint32_t votes; /* this memory may vote */
	uint32_t n_sessions, n_claims, n_lines, n_buckets;
	uint32_t leading; /* Paxos led when this was last written */
	uint64_t undo_at, paxos_at, sessions_at, claims_at, lines_at, buckets_at, commands_at, inbox_at;
	uint64_t inbox_size;
	/* State. */
	uint64_t incarnation;  /* ours, once registered */
	uint64_t first_number; /* commands first .. next-1 are under way */
	uint64_t next_number;
	uint64_t installing; /* bytes of the snapshot in the inbox; 0: none is being installed */
	uint64_t lapse_at;   /* lines from here on may hold what a life of ours held that has ended; 0: none does */
	uint32_t claims_free, claims_high, claims_used;
	uint32_t lines_free, lines_high, lines_used;
	uint32_t sessions_used, spare;
};

_Static_assert(sizeof(struct session_record) % 8 == 0, "whole words");
_Static_assert(sizeof(struct claim) % 8 == 0, "whole words");
_Static_assert(sizeof(struct line) % 8 == 0, "whole words");
_Static_assert(sizeof(struct stored_command) % 8 == 0, "whole words");
_Static_assert(sizeof(struct private_memory) % 8 == 0, "whole words");

/* Pointers into a mapped private segment. */
struct memory {
	struct private_memory *p;
	struct undo_log *undo;
	struct paxos_memory *paxos;
	struct session_record *sessions; /* [1 .. n_sessions] */
	struct claim *claims;            /* [1 .. n_claims] */
	struct line *lines;              /* [1 .. n_lines] */
	uint32_t *buckets;               /* n_buckets, a power of two */
	struct stored_command *commands; /* [number % COMMANDS_MAX] */
	unsigned char *inbox;
};

/* Formats zeroed memory, or takes inherited memory over; *ret_fresh tells which. NULL, or what does
 * not fit, for a person. */
const char *memory_attach(struct memory *ret, struct private_memory *p, const struct agent_config *config,
			  bool *ret_fresh);

/* What the tables of a host with these limits hold: its own capacities beside the agreed ones. */
struct table_capacity memory_tables_capacity(const struct agent_limits *limits);

/* Room for the largest snapshot of tables with this capacity, and for making it. */
uint64_t memory_inbox_size(const struct table_capacity *capacity);

#endif
