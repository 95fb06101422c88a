/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout: every structure that two processes of a host share, and nothing else.
 *
 * Rules: magic, version and size first; fixed width; offsets from the start of the segment, never
 * pointers; index 0 means none, so arrays have one element more than they hold; multiples of 8, so
 * that undo.h can save whole words. A change of any of this raises LAYOUT_VERSION.
 *
 *   segment   written by          read by                          holds
 *   tables    agent               every session, read-only         struct tables, then its arrays
 *   arena     sessions, agent     the same                         struct arena: doorbells, gates, places to wait
 *   session   one session, agent  the same                         struct session_rings
 *
 * The private segment is the agent's own and stands in tools/paxshmd/memory.h.
 */
#ifndef PAXSHM_SHM_LAYOUT_H
#define PAXSHM_SHM_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#define LAYOUT_VERSION 4u

#define KEY_MAX 255u       /* bytes of a key; at least 1 */
#define NAME_BYTES 64u     /* names of clusters, spaces and hosts, with their final NUL */
#define HOSTS_MAX 1024u    /* host ids are 1 .. HOSTS_MAX-1 */
#define SESSIONS_MAX 4094u /* session slots are 1 .. SESSIONS_MAX: 12 bits in a gate, two taken */

#define SEGMENT_MAGIC 0x314d48535841505full /* "_PAXSHM1" read as a little-endian word */

enum segment_kind { SEGMENT_TABLES = 1,
		    SEGMENT_ARENA,
		    SEGMENT_SESSION,
		    SEGMENT_PRIVATE };

struct segment_header {
	uint64_t magic; /* written last: a segment without it was never finished */
	uint32_t version, kind;
	uint64_t size; /* bytes of the whole segment */
	uint64_t reserved;
};

/* ---- tables ---- */

/* A row of the lock table holds one value twice and shows one of them: see table.h. */
struct lock_value {
	uint64_t delegation;  /* id of the grant to the host; shared: of the last one; 0: nobody has it (kept for OWNER_DIED) */
	uint64_t incarnation; /* of that host; shared: 0 */
	uint64_t base;        /* first token of the reserved range; shared, or without a delegation: the next one */
	uint16_t host;        /* shared: 0 */
	uint8_t mode;         /* LOCK_MODE_EX: one host has it; LOCK_MODE_PR: those in the list; 0: none */
	uint8_t flags;        /* LOCK_DIED */
	uint16_t waiting;     /* hosts in the queue */
	uint16_t holders;     /* shared: how many hosts have it … */
	uint32_t holder;      /* … and the first of them in waits[] */
	/* What only the delegation's host knows. Never part of what hosts compare or send to each other. */
	uint32_t gate; /* through which its sessions take the lock; 0: they ask the agent */
};

#define LOCK_MODE_PR 3u /* = PAXSHM_PR */
#define LOCK_MODE_EX 5u /* = PAXSHM_EX */

#define LOCK_DIED 1u                 /* the last owner (EX) died with the lock */
#define LOCK_RANGE (1u << 30)        /* tokens that one delegation reserves: what is not used of them is reserved again, unless the host died */
#define LOCK_SHARED_RANGE (1u << 16) /* the same of a shared one: never reserved again */

#define LOCK_VALUE_WORDS (sizeof(struct lock_value) / 8)
#define LOCK_VALUE_AGREED offsetof(struct lock_value, gate) /* bytes of it */

#define KEY_INLINE 64u /* bytes of a key in its row; the rest stands in up to three cells */
#define KEY_CELL 64u
#define KEY_CELLS 3u

/* What a lookup by a short key reads stands together: all before the third word of the key. */
struct table_row {
	uint32_t next;    /* in its chain, or in the free list; atomic */
	uint32_t seq;     /* value[seq & 1] is the one shown; rises with each change, never reset; atomic */
	uint32_t key_len; /* 0: a free row; atomic */
	/* With queue_tail: waits[], first come first served. In the died list (a lock without a delegation): the row
	 * that died before this one, and the one that died after it. */
	uint32_t queue_head;
	uint64_t value[2][LOCK_VALUE_WORDS];
	uint64_t key[KEY_INLINE / 8];
	uint32_t queue_tail;
	uint32_t cell[KEY_CELLS];
};

struct table_wait { /* a host that waits for a lock, or is one of those that share it */
	uint64_t incarnation;
	uint64_t delegation; /* id of the grant to this host; 0: it waits */
	uint64_t base;       /* first token of its range; 0: it waits */
	uint32_t next;       /* in the queue, in the list of holders, or in the free list */
	uint16_t host;
	uint8_t mode; /* LOCK_MODE_: that it waits for, or has */
	uint8_t spare;
};

struct host_row {
	/* Agreed. */
	uint64_t incarnation; /* the slot of its host-up; 0: never registered */
	uint64_t nonce;       /* of that host-up: the memory it was made from */
	uint64_t last_number; /* its last command that was applied */
	uint32_t sweep;       /* rows below this index hold nothing of its ended incarnations; HOST_SWEPT: none does */
	uint32_t down;        /* 1: this incarnation was declared down; it is never taken up again */
	/* This host's own view. */
	uint32_t linked; /* a connection stands */
	uint32_t role;   /* enum host_role; 0: not in the configuration */
	char name[NAME_BYTES];
};

#define HOST_SWEPT UINT32_MAX

enum host_role { HOST_VOTER = 1,
		 HOST_OBSERVER = 2 };

/* What every host has alike at the same index, beside rows, waits, cells and host rows. */
struct agreed {
	uint64_t applied;      /* the last slot that was applied as a whole */
	uint64_t applied_part; /* commands of slot applied+1 already applied */
	uint64_t history;      /* random id of the founding; 0: not founded yet */
	uint64_t token_floor;  /* every token given for a key whose row is gone is below or at this */
	uint64_t delegations;  /* ids given so far */
	uint64_t leads;        /* the highest ballot that has begun to lead here */
	uint32_t era, spare;
	uint32_t rows_high, rows_free, rows_used; /* indices 1..high were ever in use */
	uint32_t cells_high, cells_free, cells_used;
	uint32_t waits_high, waits_free, waits_used;
	uint32_t died_head, died_tail, died_count; /* rows kept only for LOCK_DIED, oldest first */
};

/* A session of this host, for whoever reads who owns a gate. Written while nobody names it. */
struct session_row {
	uint32_t pid; /* 0: no session has this slot */
	uint32_t uid;
	uint64_t start;   /* of the process, clock ticks since boot (/proc/PID/stat) */
	char program[16]; /* its name then (/proc/PID/comm); ends with a NUL */
};

/* A claim of a session of this host, for whoever reads who waits through the agent, or shares a lock. Row i is that of
 * claim i in the agent's memory. `word` is 0 while `since_ns` changes; it has the claim's generation, so whoever found
 * it the same before and after has read both of one claim, or of one 4096 claims later on the same key. Never saved in an undo log: a successor writes all again. */
struct claim_row {
	uint64_t word;     /* claim_hash() of its key 32 | gen 12 | session slot 12 | enum claim_shown 4 | LOCK_MODE_ 4; 0: nothing to be seen */
	uint64_t since_ns; /* CLOCK_MONOTONIC: since when it waits, or shares the lock */
};

enum claim_shown { CLAIM_SHOWN_WAITS = 1,
		   CLAIM_SHOWN_SHARES };

struct tables {
	struct segment_header segment;

	/* Written once, when the segment is made. */
	uint64_t cluster_id; /* hash of the cluster's name */
	char cluster[NAME_BYTES], space[NAME_BYTES];
	uint32_t self;                                              /* this host's id */
	uint32_t n_buckets;                                         /* see struct table_bucket */
	uint32_t n_rows, n_cells, n_waits, n_hosts;                 /* capacities: agreed for the whole cluster */
	uint64_t buckets_at, rows_at, cells_at, waits_at, hosts_at; /* byte offsets */
	/* This host's own capacities; the gates and records themselves stand in the arena. */
	uint32_t n_gates, n_sessions, n_records, records_each; /* session slot i has the records (i-1) * records_each + 1 .. */
	uint64_t terms_at, slots_at, sessions_at, claims_at;
	uint32_t n_claims, claims_spare;

	/* Published by the agent, each word on its own; atomic. Never saved in an undo log: a rollback
	 * would put `recoveries` back in the midst of announcing itself. */
	uint64_t incarnation;                                             /* of this host; 0: not registered yet */
	uint64_t deadline_ns;                                             /* host lease, CLOCK_MONOTONIC; 0: none; NEVER: nobody else could be given anything */
	uint64_t deadline_boot_ns;                                        /* the same in CLOCK_BOOTTIME */
	uint64_t clock_gap_ns;                                            /* CLOCK_REALTIME - CLOCK_MONOTONIC when last looked at */
	uint64_t fresh_as_of_ns;                                          /* the tables are no older than this, CLOCK_MONOTONIC */
	uint64_t ballot;                                                  /* highest ballot seen */
	uint64_t chosen;                                                  /* highest slot known to be chosen without a gap */
	uint32_t leader;                                                  /* host id, 0: none known */
	uint32_t quorum;                                                  /* 1: a leader with a majority was heard within the host lease */
	uint32_t role;                                                    /* enum host_role of this host, as it acts */
	uint32_t agent_sleeps;                                            /* 1: ring the doorbell after publishing a request */
	uint32_t recoveries;                                              /* odd while a successor puts things right: see table_recover() */
	uint32_t ready;                                                   /* 0: a copy is being installed, read nothing */
	uint32_t agent_pid, sessions;                                     /* in use */
	uint64_t agent_starts;                                            /* agents that served this memory */
	uint64_t grants, releases, handovers, refusals, deaths, requests; /* counters since the memory was made */
	uint64_t host_lease_ns;                                           /* how long a lease is */
	uint64_t revocations;                                             /* locks given back because another host waited */
	uint64_t evictions;                                               /* locks given back because nobody here used them */
	uint64_t repairs;                                                 /* gates put right after a death */
	uint64_t nonsense;                                                /* gates that somebody had written over */
	uint32_t claims_high, claims_shown;                               /* claim rows 1..high were ever in use; how many show something */
	uint64_t clock_ns;                                                /* CLOCK_MONOTONIC_COARSE when the agent last woke: for people */
	uint64_t changing;                                                /* odd while a slot is being applied: whoever reads across rows looks before and after */

	struct agreed agreed;
};

/* A line of the cache, with the heads of seven chains: rows, 0 ends. The version rises when a row has left one of them. */
#define BUCKET_CHAINS 7u

struct table_bucket {
	uint32_t version;
	uint32_t head[BUCKET_CHAINS];
	uint32_t near[BUCKET_CHAINS]; /* hint: see tables_near() */
	uint32_t spare;
};

/* ---- arena ---- */

struct arena {
	struct segment_header segment;
	uint64_t pending[(SESSIONS_MAX + 64) / 64]; /* bit of a session slot: look into its ring; atomic */
	uint64_t gates_at, records_at;              /* byte offsets; what they hold is checked against the tables, never believed */
	uint32_t n_gates, n_records;
};

/* ---- gates: what their words mean stands in gate.h ---- */

#define GATE_RECORDS_MAX 65535u /* 16 bits in a gate's word; index 0: none */
#define GATE_RECORDS_EACH 64u   /* at most so many a session */

struct gate {          /* in the arena: sessions and agent write it */
	uint64_t word; /* count 32 | top 16 | owner 12 | flags 4 */
	uint64_t head; /* hint: link to the oldest sleeper */
	/* For people; nothing depends on them. */
	uint64_t since_ns; /* when its owner acquired it, CLOCK_MONOTONIC_COARSE */
	uint64_t handed;   /* times that it was handed straight to a sleeper */
	uint64_t spare[4];
};

struct gate_record {    /* of one sleeper; in the arena */
	uint64_t state; /* gen 28 | enum gate_state 4 | count 32 */
	uint64_t older; /* link to the record below: gen 32 | index 32; 0: none */
	uint64_t newer; /* hint: link to the record above */
	uint32_t bell;  /* the futex word of its sleeper */
	uint32_t gate;  /* where it stands, or stood */
	uint64_t since_ns;
	uint64_t spare[3];
};

/* In the tables: what the agent says of a gate. Sessions read it only. Written while the agent owns the gate, but
 * for the three that bound the passing: those are written before CLOSING is set. */
struct gate_terms {
	uint64_t delegation;
	uint64_t incarnation;     /* of this host, under which the gate was opened */
	uint64_t base;            /* token of the first acquisition after the opening */
	uint64_t remote_since_ns; /* closing: who waits here for longer may still be given the gate … */
	uint64_t stop_ns;         /* … until then (the owner of `closed_at` at any time: he may have had it for long) … */
	uint32_t stop_at;         /* … and up to this count */
	uint32_t opened_at;       /* count at the opening */
	uint32_t range;           /* tokens from `base` on */
	uint32_t serial;          /* rises when the gate is given to another key */
	uint32_t closed_at;       /* count when the gate was wanted back */
	uint32_t revoked;         /* for people: times that it was taken back because another host waited, for this key */
};

/* ---- session: rings ---- */

#define RING_REQUESTS 64u /* requests on their way to the agent; a power of two */
#define RING_CALLS 256u   /* calls of one session that may wait at once = room for completions */

enum request_op {
	REQUEST_ACQUIRE = 1, /* key; answered when granted or refused */
	REQUEST_RELEASE,     /* claim; answered unless call is CALL_NONE */
	REQUEST_CANCEL,      /* target = call of the acquire; unanswered: the acquire is answered */
	REQUEST_HOLDER,      /* key; answered with the holder */
	REQUEST_CLOSE,       /* everything of this session is freed, then answered */
	REQUEST_LEAD,        /* target = id of the host that shall lead; answered when the leader was asked */
	REQUEST_GATE,        /* target = a gate that the agent has and somebody wants; unanswered */
};

#define CALL_NONE UINT32_MAX

/* Request flags. */
#define REQUEST_TRY 1u          /* NOWAIT */
#define REQUEST_RETURN 2u       /* no quorum: answer -ENETUNREACH instead of waiting */
#define REQUEST_LINEARIZABLE 4u /* HOLDER: agree on an index first */
#define REQUEST_STAMPS 8u       /* ACQUIRE: the completion says when the request passed each place */

/* The places, in CLOCK_MONOTONIC nanoseconds; 0: it did not pass here. */
enum stamp {
	STAMP_TAKEN,   /* the agent took it from the ring */
	STAMP_SENT,    /* its command was proposed, or handed to the link to the leader */
	STAMP_CHOSEN,  /* what granted it reached this agent: a frame, or our own acceptance */
	STAMP_GRANTED, /* applied, and about to be announced */
	STAMPS,
};

struct ring_request {
	uint32_t op, flags;
	uint32_t call;   /* which call of the session waits for the answer: 0 .. RING_CALLS-1, or CALL_NONE */
	uint32_t target; /* CANCEL */
	uint64_t claim;  /* RELEASE: as the grant's completion named it: of shared grants alone */
	int32_t reason;  /* CANCEL: the error that the acquire shall answer: -ETIMEDOUT or -ECANCELED */
	uint8_t mode;    /* ACQUIRE: enum paxshm_mode */
	uint8_t key_len, spare[2];
	uint8_t key[KEY_MAX + 1];
};

struct ring_completion {
	uint32_t call;
	int32_t result; /* 0 or -errno */
	uint64_t claim; /* of a shared grant: index and generation, to be named in its release */
	uint64_t token;
	uint64_t incarnation;         /* under which it was granted */
	uint32_t gate, serial, count; /* of an exclusive grant: the gate, which key it serves, and the acquisition there */
	uint32_t flags;               /* COMPLETION_DIED */
	uint32_t holder_host;         /* host id; 0: nobody */
	uint32_t spare;
	uint64_t holder_start;
	uint64_t holder_token;
	uint32_t holder_pid, holder_session; /* 0: that host did not answer */
	uint64_t stamp_ns[STAMPS];
};

#define COMPLETION_DIED 1u

struct session_rings {
	struct segment_header segment;
	uint32_t slot;        /* this session's slot */
	uint32_t closed;      /* the agent ended this session: -errno as a positive number; atomic */
	uint64_t incarnation; /* of the host when the session was opened, 0: not registered then */
	/* Each on its own line: producer's and consumer's ends. */
	_Alignas(64) uint32_t request_tail;    /* session writes */
	_Alignas(64) uint32_t request_head;    /* agent writes */
	_Alignas(64) uint32_t completion_tail; /* agent writes */
	_Alignas(64) uint32_t completion_head; /* session writes; the agent never reads it */
	/* One a call: a futex word. Bit 0: somebody sleeps on it; the agent adds 2. */
	_Alignas(64) uint32_t bell[RING_CALLS];
	struct ring_request requests[RING_REQUESTS];
	struct ring_completion completions[RING_CALLS];
};

/* ---- the greeting on the agent's UNIX socket (SOCK_SEQPACKET, one message each way) ---- */

#define GREETING_MAGIC 0x4f4c4c4548585000ull

struct greeting { /* library -> agent */
	uint64_t magic;
	uint32_t version; /* LAYOUT_VERSION */
	uint32_t flags;
	uint64_t pid_ns, time_ns; /* inode numbers of /proc/self/ns/pid and /proc/self/ns/time; 0: unknown */
	char cluster[NAME_BYTES]; /* "": any */
	char space[NAME_BYTES];   /* "": default */
};

/* Agent -> library. result 0: with four descriptors: tables (read-only), arena, session, life
 * (held open until the process ends, so that a later keeper knows that it has not). */
struct welcome {
	uint64_t magic;
	uint32_t version; /* the agent's LAYOUT_VERSION */
	int32_t result;   /* 0 or -errno */
	uint32_t slot, host;
	char cluster[NAME_BYTES], host_name[NAME_BYTES];
	char reason[256]; /* for a person, when result is not 0 */
};

/* Later messages on the same socket, one byte first: the doorbell, and "this session also lives as
 * long as the process behind this pidfd" (with one descriptor; answered by one byte, 0 or errno). */
#define SOCKET_RING 'r'
#define SOCKET_ADOPT 'a'

_Static_assert(sizeof(struct segment_header) == 32, "layout");
_Static_assert(sizeof(struct lock_value) == 40, "layout");
_Static_assert(HOSTS_MAX <= UINT16_MAX, "a row counts hosts in 16 bits");
_Static_assert(sizeof(struct table_bucket) == 64, "a cache line");
_Static_assert(sizeof(struct table_row) == 176, "layout");
_Static_assert(sizeof(struct table_wait) == 32, "layout");
_Static_assert(sizeof(struct session_row) == 32, "layout");
_Static_assert(sizeof(struct claim_row) == 16, "layout");
_Static_assert(SESSIONS_MAX < 1u << 12, "a claim's word has 12 bits for its session");
_Static_assert(sizeof(struct host_row) == 112 - 8, "layout");
_Static_assert(sizeof(struct agreed) % 8 == 0, "layout");
_Static_assert(sizeof(struct tables) % 8 == 0 && offsetof(struct tables, agreed) % 8 == 0, "layout");
_Static_assert(sizeof(struct arena) % 8 == 0, "layout");
_Static_assert(sizeof(struct gate) == 64 && sizeof(struct gate_record) == 64 && sizeof(struct gate_terms) == 64, "layout");
_Static_assert(sizeof(struct ring_request) == 288, "layout");
_Static_assert(sizeof(struct ring_completion) == 112, "layout");
_Static_assert(sizeof(struct session_rings) % 64 == 0, "layout");

#endif
