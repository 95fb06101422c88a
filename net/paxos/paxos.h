/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paxos: one Multi-Paxos instance with a fixed voter list, as a pure step function.
 *
 * An event goes in with its time; an update comes out: what to send, how far values are chosen, when
 * to be called again. The step changes acceptor memory under `undo`; the caller commits before it
 * carries out the update, so a promise or an acceptance is never seen outside before it would
 * survive the process.
 *
 * Sources: Lamport, "Paxos Made Simple" (2001), sections 2 and 3; stable leader and filling of gaps
 * as there; pre-vote as in Ongaro's thesis (2014), 9.6; leases: Gray and Cheriton, "Leases" (1989), as
 * master leases in Chandra, Griesemer, Redstone, "Paxos Made Live" (2007), 5.2; hand-over as leadership
 * transfer in Ongaro's thesis, 3.10. A slot holds one value (a batch).
 *
 *   FOLLOWER --election timeout--> ASKING --majority would--> PREPARING --majority promised--> LEADING
 *       ^------------- a higher ballot, a leader heard, or no majority heard any more -------------'
 *
 * Ballot = round << 16 | host, so no two hosts ever use the same. The first value of each ballot is
 * LEADS; values found in prepare are proposed again before it, gaps filled with NOOP.
 *
 * A slot is chosen when a majority of voters accepted it in one ballot. In a list of three a voter
 * that accepts knows two acceptances - its own, and the leader's, who accepts first and says so -
 * and has learnt the choice with the leader's one message.
 *
 * Lease: a voter that answers a heartbeat promises, from when it received it, to help no other to a
 * ballot for one leader lease; the leader counts from when it sent it, less drift. So while a
 * majority's promises stand for the leader, nobody else leads; past that it counts itself deposed.
 * When no majority has answered the heartbeats of a quarter of a lease it sends no more until one does: who hears them
 * waits for it, so the others would miss one that they hear and that hears nobody a lease later than any other.
 * The promise lies in the surviving memory, and a process that comes again with the same memory may
 * have its own leader's place back at once: to that memory (`life`) the promise was made. The same way
 * a leader that is refused for a higher ballot while its lease stands, so that nobody can have won that
 * ballot, stands again at once.
 *
 * Hand-over: a leader ends its lease for good, takes back the promise of its own acceptor and says MOVE.
 * Voters drop their lease promise; the one that MOVE names stands at once, without asking first, when it
 * knows all that is chosen, and its PREPARE passes the MOVE on; the others leave it half a lease. A MOVE
 * that is lost costs an ordinary election.
 *
 * Invariants (each asserted where it is kept):
 *   - `promised` never falls; nothing is accepted below it;
 *   - a leader accepts in its own acceptor before it sends;
 *   - slots in (chosen, chosen + window] only are accepted, so no chosen slot is ever overwritten by
 *     the ring before it was applied, and a promise fits one message;
 *   - a ballot is used by one life of one process: after a restart a new one is taken;
 *   - messages of other ballots than the one they answer are counted nowhere;
 *   - nothing is promised to another life while a lease promise stands;
 *   - a lease promise to a life gets no shorter unless MOVE ends it;
 *   - the own acceptor's promise stands by a leader at least as long as the leader's lease.
 *
 * Time is that of one clock of this host that never stops, not even while the machine is suspended; a time read
 * before a message was received may not be handed in with it. Clocks of hosts are never compared: what
 * matters is that each runs at most `drift_ppm` fast or slow.
 *
 * Who may enter: the agent, tests, the simulator. Knows no locks.
 */
#ifndef PAXSHM_NET_PAXOS_PAXOS_H
#define PAXSHM_NET_PAXOS_PAXOS_H

#include "../../lib/undo.h"

#define PAXOS_VOTERS_MAX 7u
#define PAXOS_WINDOW_MAX 64u /* slots in flight */
#define PAXOS_FETCH_MAX 32u  /* values answered to one FETCH */
#define PAXOS_SENDS_MAX 128u /* of one step */

/* Destinations that the caller spreads. */
#define PAXOS_TO_VOTERS 0xffffu    /* every other voter of the list */
#define PAXOS_TO_OBSERVERS 0xfffeu /* every linked host that does not vote, voters without memory included */
#define PAXOS_TO_ALL 0xfffdu       /* both */

struct paxos_config {
	uint16_t self;
	uint16_t voters[PAXOS_VOTERS_MAX];
	uint32_t n_voters;        /* 1, 3, 5 or 7 */
	bool votes;               /* self is in the list and has its memory; false: learn only */
	uint32_t log_slots;       /* slots kept; a power of two, at least 2 * window */
	uint32_t window;          /* 1 .. PAXOS_WINDOW_MAX */
	uint32_t value_max;       /* bytes of a value; a multiple of 8 */
	uint64_t heartbeat_ns;    /* of a leader to voters; observers hear every fifteenth, and each choice by LEARN */
	uint64_t leader_lease_ns; /* what a voter promises; a follower waits one to one and a half of these; at least 3 heartbeats. The same on all hosts */
	uint32_t drift_ppm;       /* how much a host's clock may run fast or slow, in millionths; the same on all hosts */
	uint64_t life;            /* not 0: names the memory, the same as long as it lasts, and no other host's */
	uint64_t seed;            /* of the random timeouts */
};

#define PAXOS_FEW 232u

enum paxos_value_kind { PAXOS_NOOP = 1,
			PAXOS_LEADS,
			PAXOS_COMMANDS };

#define PAXOS_LEADS_SIZE 8u /* bytes of a LEADS: the ballot that it begins, little-endian. A NOOP has none */

/* What must survive the process; lies in memory passed in. Changed only under undo. */
struct paxos_slot {
	uint64_t index;  /* slot number in this place of the ring; 0: none */
	uint64_t ballot; /* accepted in */
	uint32_t len;
	uint8_t kind;   /* enum paxos_value_kind */
	uint8_t chosen; /* known to be chosen, perhaps beyond a gap */
	uint8_t spare[2];
	/* A value of up to so many bytes: a single command, usually. One round's slot follows the last one's in memory,
	 * where a place of value_max bytes for each would be another page every time. */
	unsigned char few[PAXOS_FEW];
};
_Static_assert(sizeof(struct paxos_slot) == 256, "whole cache lines");

struct paxos_memory {
	uint64_t promised;       /* highest ballot promised or accepted in */
	uint64_t chosen;         /* all slots up to here are chosen and (after `base`) here */
	uint64_t base;           /* slots up to here are no longer in the log */
	uint64_t lease_until_ns; /* until then no other life than `lease_life` is helped to a ballot */
	uint64_t lease_life;
	uint32_t log_slots, value_max;
	struct paxos_slot slots[]; /* log_slots of them, then log_slots places of value_max bytes for values longer than PAXOS_FEW */
};

uint64_t paxos_memory_size(uint32_t log_slots, uint32_t value_max);

/* The value in a place of the ring, wherever the log begins. */
const unsigned char *paxos_memory_value(const struct paxos_memory *memory, uint32_t place);

/* Bytes that one step may append to the undo log, records and their headers together. */
uint64_t paxos_undo_size(uint32_t window, uint32_t value_max);

enum paxos_role { PAXOS_FOLLOWER,
		  PAXOS_ASKING,
		  PAXOS_PREPARING,
		  PAXOS_LEADING };

/* What a process may forget. */
struct paxos {
	struct paxos_config config;
	struct paxos_memory *memory;
	struct undo *undo;
	enum paxos_role role;
	uint64_t ballot;          /* ours, while ASKING, PREPARING or LEADING */
	uint64_t seen_ballot;     /* highest met anywhere */
	uint16_t leader;          /* host we follow; self when leading; 0: none */
	uint64_t leader_ballot;   /* its ballot; 0: none */
	uint64_t leader_heard_ns; /* last sign of that leader (as leader: the last time from which a majority was with us) */
	uint64_t office_ns;       /* leading: since then */
	uint64_t beaten_ns;       /* leading: when all voters were last sent a heartbeat */
	uint64_t lease_until_ns;  /* leading: our lease; 0: none yet */
	uint64_t next_slot;       /* leading: the next to propose */
	uint64_t leads_slot;      /* leading: where our LEADS stands */
	uint64_t election_at_ns, heartbeat_at_ns, fetch_at_ns;
	uint32_t beats;
	uint64_t random;
	uint64_t call_ballot;                /* FOLLOWER, PREPARING: its leader handed over to us; 0: none did */
	uint64_t call_slot;                  /* FOLLOWER: when all up to here is chosen here, we stand */
	uint32_t votes;                      /* ASKING, PREPARING: bit i = voters[i] said yes */
	uint64_t heard_ns[PAXOS_VOTERS_MAX]; /* leading: when the last heartbeat that voters[i] answered was sent; 0: none yet */
	struct paxos_flight {                /* leading: slot s stands at s % PAXOS_WINDOW_MAX */
		uint64_t slot, sent_ns;
		uint32_t accepted; /* bit i = voters[i] accepted in our ballot */
	} flight[PAXOS_WINDOW_MAX];
	struct paxos_found { /* PREPARING: the highest-ballot value promised for each slot of the window */
		uint64_t slot, ballot;
		uint32_t len;
		uint8_t kind;
	} found[PAXOS_WINDOW_MAX];
	unsigned char *found_values; /* PAXOS_WINDOW_MAX * value_max bytes, passed in */
	uint64_t elections, refused; /* counters */
};

/* Bytes of scratch that paxos_init wants beside the memory (need not survive). */
uint64_t paxos_scratch_size(const struct paxos_config *config);

/* Makes zeroed memory an acceptor that has promised nothing. */
void paxos_format(struct paxos_memory *memory, uint32_t log_slots, uint32_t value_max);

/* Starts over formatted memory, fresh or inherited. `was_leader`: this memory led when its last
 * process died, so an election starts at once. Asserts a sane configuration. */
void paxos_init(struct paxos *p, const struct paxos_config *config, struct paxos_memory *memory, void *scratch,
		struct undo *undo, bool was_leader, uint64_t now_ns);

/* ---- messages ---- */

enum paxos_message_kind {
	PAXOS_PREVOTE = 1, /* ballot (would be), life, chosen: would you promise? */
	PAXOS_PREVOTED,    /* ballot (asked), flag yes, chosen, promised */
	PAXOS_PREPARE,     /* ballot, life, chosen; flag: the leader of ballot `promised` has handed over to the sender */
	PAXOS_PROMISE,     /* ballot, chosen, entries accepted above `chosen` of the asker */
	PAXOS_ACCEPT,      /* ballot, chosen, slot in entries[0]; flag: the leader has accepted it itself */
	PAXOS_ACCEPTED,    /* ballot, slot, chosen */
	PAXOS_REFUSED,     /* ballot (refused), promised, chosen */
	PAXOS_LEARN,       /* chosen; entries[0] is a chosen value; flag: the last of an answer to FETCH */
	PAXOS_BEAT,        /* ballot, life, stamp, chosen; flag: only news of `chosen`, wants no answer */
	PAXOS_BEATEN,      /* ballot, stamp (of that BEAT), chosen: a voter's answer, and its lease promise */
	PAXOS_FETCH,       /* slot: send me chosen values from here on */
	PAXOS_MOVE,        /* ballot, chosen, slot: a leader ends its office; this host is to be the next */
};

struct paxos_entry {
	uint64_t slot, ballot;
	uint8_t kind;
	uint32_t len;
	const unsigned char *bytes; /* in the log or in the received frame: valid until the next step */
};

struct paxos_message {
	uint8_t kind;
	bool flag;
	uint64_t ballot, promised, chosen, slot;
	uint64_t life;  /* the sender's */
	uint64_t stamp; /* a time of the leader's clock */
	uint32_t n_entries;
	const struct paxos_entry *entries; /* the sender's, valid until the next step */
};

/* ---- the step ---- */

enum paxos_event_kind {
	PAXOS_EVENT_TIME,      /* only time has passed */
	PAXOS_EVENT_MESSAGE,   /* from, message */
	PAXOS_EVENT_PROPOSE,   /* bytes, len: only when paxos_can_propose(); dropped when the lease has ended since */
	PAXOS_EVENT_PEER_UP,   /* from: a connection to this host came up: what it may have missed is sent again */
	PAXOS_EVENT_INSTALLED, /* slot: a snapshot at this slot was installed, the log begins behind it; void when not above `chosen` */
	PAXOS_EVENT_RESIGN,    /* lead no longer: slots were chosen without us that only a copy of the tables can bring */
	PAXOS_EVENT_HAND_OVER, /* from: the voter that is to lead instead of us; dropped unless paxos_may_hand_over() */
};

struct paxos_event {
	enum paxos_event_kind kind;
	uint64_t now_ns;
	uint16_t from;
	const struct paxos_message *message;
	const void *bytes;
	uint32_t len;
	uint64_t slot;
};

struct paxos_send {
	uint16_t to;
	struct paxos_message message;
};

struct paxos_update {
	uint64_t wake_at_ns;  /* call again with TIME by then */
	uint16_t snapshot_to; /* this host asked for values that have left the log, and will each heartbeat; 0: nobody */
	bool leader_changed;  /* another leader than before, or the same in another ballot, or none */
	unsigned n_sends;
	struct paxos_send sends[PAXOS_SENDS_MAX];
	struct paxos_entry entries[PAXOS_SENDS_MAX + PAXOS_WINDOW_MAX]; /* what the messages point to */
};

/* The caller must have applied every chosen slot before each step. */
void paxos_step(struct paxos *p, const struct paxos_event *event, struct paxos_update *ret);

/* Leading, LEADS is chosen (so all before it), and the window has room. */
bool paxos_can_propose(const struct paxos *p);

/* Leading, and nobody else can lead now. */
bool paxos_has_lease(const struct paxos *p, uint64_t now_ns);

/* May a leader hand over to this voter now? 0; -EINVAL: it is no voter, or this host itself; -EAGAIN: we do not
 * lead, or our LEADS is not chosen yet; -EHOSTUNREACH: it has answered no heartbeat of the last leader lease. */
int paxos_may_hand_over(const struct paxos *p, uint16_t to, uint64_t now_ns);

/* ns * 2 * ppm / of, rounded up. */
static inline uint64_t paxos_drift(uint64_t ns, uint32_t ppm, uint32_t of)
{
	return ns / of * 2 * ppm + (ns % of * 2 * ppm + of - 1) / of;
}

/* What is left of a time `ns` that another clock counts, on a clock that may be slow where that one may be fast:
 * ns * (1 - d) / (1 + d). And how long to wait on one that may be fast until it has passed on one that may be slow:
 * ns * (1 + d) / (1 - d). */
static inline uint64_t paxos_less_drift(uint64_t ns, uint32_t ppm) { return ns - paxos_drift(ns, ppm, 1000000 + ppm); }
static inline uint64_t paxos_plus_drift(uint64_t ns, uint32_t ppm) { return ns + paxos_drift(ns, ppm, 1000000 - ppm); }

/* A chosen slot in (base, chosen]. The bytes are the log's. */
struct paxos_entry paxos_chosen_entry(const struct paxos *p, uint64_t slot);

static inline uint16_t paxos_ballot_host(uint64_t ballot) { return (uint16_t)(ballot & 0xffff); }

#endif
