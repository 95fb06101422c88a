/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inside: what the agent's rooms share. Nobody outside them includes this.
 *
 *   agent.c     events in, actions out; Paxos; applying what is chosen
 *   actions.c   what a step wants done, and how much of it
 *   birth.c     an agent is made, over fresh memory or its predecessor's
 *   sessions.c  rings: requests in, completions out; the end of a session
 *   claims.c    the places of lines and claims, queues and asks
 *   delegate.c  lines and claims: who on this host waits for which lock; what the cluster is asked for
 *   gates.c     a delegated lock is opened to this host's sessions, given to one of them, and got back
 *   bury.c      what a session leaves behind at the gates
 *   shared.c    a lock that this host shares: its claims own it
 *   keep.c      how long a lock that nobody uses is kept
 *   ask.c       questions to other hosts: who of yours owns this lock?
 *   lease.c     until when delegations may be trusted; as leader, which hosts are alive
 *   commands.c  this host's numbered commands, forwarded to the leader; as leader, batches
 *   give.c      copies of the tables for hosts that fell out of the log
 *   take.c      a copy for this host: collected, verified, installed
 *   tail.c      slots chosen behind a copy while it comes
 *   check.c     whether the memory holds together
 *
 * Invariants:
 *   - memory that survives changes only under `undo`; agent_commit() ends a group, and only then
 *     are the completions of that group made visible and their calls woken;
 *   - a line is settled (line_settle) after every change to it: it is never left with something it
 *     could do, unless it stands in the `dirty` queue;
 *   - what stands in this structure may be lost at any moment.
 */
#ifndef PAXSHM_TOOLS_PAXSHMD_INSIDE_H
#define PAXSHM_TOOLS_PAXSHMD_INSIDE_H

#include "../../shm/atom.h"
#include "../../shm/arena.h"
#include "../../shm/gate_repair.h"
#include "../../shm/ring.h"
#include "../../shm/state/apply.h"
#include "../../shm/state/host_table.h"
#include "../../shm/state/snapshot.h"
#include "memory.h"

enum take_stage {
	TAKE_NOTHING,
	TAKE_STREAM,  /* its bytes are coming */
	TAKE_VERIFY,  /* all are there, and looked at */
	TAKE_INSTALL, /* found good: p->installing */
};

struct agent {
	struct agent_config config;
	struct memory m;
	struct tables *tables;
	struct arena *arena;
	struct gate_view gates; /* in the arena: gates[line] */
	struct undo undo;
	struct paxos paxos;
	struct paxos_update update;
	uint64_t now_ns;
	uint64_t suspended_ns; /* what CLOCK_MONOTONIC lacks of it */
	uint64_t clock_gap_ns; /* between CLOCK_REALTIME and CLOCK_MONOTONIC */

	/* actions of this step */
	struct agent_action *actions;
	unsigned n_actions, max_actions;
	unsigned n_kind[ACTION_FATAL + 1]; /* of each kind */
	unsigned nonsense_said;            /* in this step */
	unsigned char *out;                /* frames and texts they point to */
	size_t out_len, out_cap;

	/* completions of this group, made visible by its commit */
	struct {
		uint32_t slot, call;
	} * completed;
	unsigned n_completed, max_completed;

	struct session_rings **rings; /* [slot]; NULL: not mapped */
	uint32_t ending;              /* sessions in SESSION_ENDING; of these … */
	uint32_t lingering;           /* … so many own nothing any more, but places in lines that others stand in: looked at again at */
	uint64_t linger_at_ns;
	uint32_t ends_from;      /* the slot behind the last one that was looked at, less 1 */
	bool rouse;              /* gates of one were swept: whoever it chose is to be roused at the end of this scan; a successor does so anyway */
	uint8_t *lingers;        /* [slot] */
	bool more_requests;      /* a ring was left with requests in it */
	uint64_t look_at_all_ns; /* when to look into every ring, announced or not */

	/* lines that wait for room among the commands, or to be looked at again; a ring */
	uint32_t *dirty, dirty_first, dirty_count;
	uint8_t *is_dirty; /* [line] */
	bool more_dirty;   /* some of them want no command, only a group of their own */

	/* gates.c */
	uint32_t *watched, n_watched; /* lines that are looked at again at watch_at_ns */
	uint8_t *is_watched;          /* [line] */
	uint64_t watch_at_ns, watch_ns;
	uint32_t hand;                  /* the line looked at last for one that nobody uses, while room is short … */
	uint64_t hand_ns;               /* … and until when it rests from having gone round: see keep.c */
	uint32_t round_line;            /* the same, in the round that is made once in keep_ns; it began, or begins, at */
	uint64_t round_ns, round_at_ns; /* … and goes on at */
	uint32_t *last_count;           /* [line]: the gate's count when it was looked at */
	uint8_t *reuse;                 /* [hash]: whether keeping pays: see gates.c */
	unsigned sent_off;              /* claims that left a line's queue in this group: see GROUP_CLAIMS */

	/* commands.c */
	uint64_t sent_number; /* commands below were sent to the present leader */
	uint64_t resend_at_ns;
	uint64_t register_at_ns; /* when to send HOST_UP (again) */
	bool leading;            /* we lead, and our LEADS is applied: commands are taken in */
	struct {
		uint64_t incarnation, number;
	} * taken;              /* [host]: leading: the last command taken in */
	unsigned char *pending; /* leading: commands taken in and not proposed, each with its u16 length */
	uint32_t pending_first, pending_end;

	/* lease.c */
	uint64_t deadline_ns; /* our own lease; 0: none, NEVER: without end */
	uint64_t renew_at_ns; /* when to ask for the next */
	bool suspended;
	struct {
		uint64_t stamp_ns, slot;
	} fresh; /* the tables are as fresh as `stamp_ns` once `slot` is applied; 0: nothing to wait for */
	struct lease {
		uint64_t incarnation, renewed_ns;
		uint64_t condemned; /* an incarnation that we proposed to be down: renewed no more */
	} * leases;                 /* [host]: leading */
	uint64_t look_at_ns;        /* leading: when to look for hosts that are silent */
	uint16_t sweep_host;        /* leading: no host below it has anything to sweep; 0: none at all */
	uint64_t sweep_again_ns;

	/* requests that asked for stamps: where they passed, and which still wait for STAMP_SENT */
	uint64_t (*stamps)[STAMPS]; /* [claim] */
	uint32_t unsent[64], n_unsent;
	uint64_t chosen_ns; /* when the last step of Paxos began */

	/* ask.c */
	uint32_t asking;    /* claims in CLAIM_ASKING */
	uint64_t ask_at_ns; /* when to look at them again */
	struct {
		uint64_t number;  /* of the last index asked for */
		uint64_t sent_ns; /* 0: it was answered */
		uint64_t slot;    /* the answer: claims that asked for it wait until this is applied; 0: none do */
	} index;

	/* give.c; the copy is made in the inbox: who needs one gives none */
	struct {
		uint16_t to, last; /* 0: none under way */
		bool asked;        /* somebody may be waiting: see asked_ns */
		unsigned repeats;  /* copies in a row that came too late for `last` */
		struct snapshot_copy copy;
		uint64_t sent, acked, heard_ns, moved_ns, next_ns, ended_ns;
		uint64_t *asked_ns; /* [host]: when it last asked for a copy; 0: it waits for none */
	} give;

	/* take.c */
	struct {
		enum take_stage stage;
		uint16_t from;
		uint64_t slot, len, have, heard_ns, said_ns, next_ns;
		struct snapshot_check check;
		struct snapshot_install install;
	} take;

	/* tail.c: a ring of bytes, positions count up */
	struct {
		bool on;
		uint16_t from; /* whom to ask */
		unsigned char *bytes;
		uint64_t size, first, end;
		uint64_t first_slot, next_slot, ask_ns;
	} tail;

	struct agent_copies copies;

	/* agent.c */
	bool started;           /* sessions are mapped again; unless a copy is being installed, what was chosen is applied */
	bool rebuilt;           /* lines_rebuild() was done */
	uint64_t *gone;         /* [slot / 64]: sessions that ended while a copy was being installed */
	unsigned char *body;    /* an agent frame being filled */
	uint8_t *linked;        /* [host]: 0, LINKED_VOTES, LINKED_LEARNS */
	uint64_t last_heard_ns; /* last sign of a leader with a majority */
	bool ever_heard, no_quorum;
	uint64_t waits_for; /* an older life that has our place: said so */
	uint16_t move_to;   /* leading: hand over to this voter at the end of the step; 0: nobody */
};

/* The process that owns a lock, as hosts tell each other. */
struct owner {
	uint32_t host, pid, session;
	uint64_t start, token;
};

enum { LINKED_VOTES = 1,
       LINKED_LEARNS = 2 };

/* A step at a gate is said again while others write the same words; one who writes them all the time has gone mad, and nobody waits
 * until he is through: it is left, and looked at again in a later turn. */
#define AGAINS 4u

#define REUSE_SLOTS 4096u /* a power of two */
#define PENDING_BYTES (1u << 20)
#define CHUNK_BYTES (64u * 1024) /* of a snapshot in one frame */
#define CHUNKS_AHEAD 4u          /* sent before the first is acknowledged */
#define BODY_BYTES (CHUNK_BYTES + 4096)

/* What agents say to each other beside Paxos: the first byte of a WIRE_AGENT frame's body. docs/protocol.md */
enum agent_word {
	WORD_COMMANDS = 1, /* encoded commands, for the leader */
	WORD_ASK,          /* hops, to, from, claim, gen, key: who of yours owns it? */
	WORD_TELL,         /* hops, to, from, claim, gen, owned, owner */
	WORD_CHUNK,        /* slot, len, offset, bytes of a snapshot */
	WORD_HAVE,         /* slot, offset: bytes of it that have come; NOT_WANTED: send no more */
	WORD_RENEW,        /* incarnation, stamp: to the leader: renew my lease */
	WORD_RENEWED,      /* incarnation, stamp (of the request), slot (the highest sent) */
	WORD_INDEX,        /* number: to the leader: how far is the log? */
	WORD_INDEXED,      /* number, slot (the highest sent) */
	WORD_LEAD,         /* host: to the leader: let this voter lead */
};
#define NOT_WANTED UINT64_MAX

/* ---- actions.c ---- */

unsigned actions_max(const struct agent_limits *limits); /* of a step */
void actions_begin(struct agent *a);

/* Appends one, zeroed. NULL, of SEND, ROUSE, LOG and FATAL alone: the step has enough of its kind. */
struct agent_action *agent_act(struct agent *a, enum agent_action_kind kind);
void agent_log(struct agent *a, uint8_t level, const char *format, ...) __attribute__((format(printf, 3, 4)));
void agent_fatal(struct agent *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A WIRE_AGENT frame is begun, filled through the writer, and sent; one that does not fit into this step's
 * actions is dropped, as the network may do. */
struct writer agent_frame_begin(struct agent *a, enum agent_word word);
void agent_frame_send(struct agent *a, uint16_t to, const struct writer *w);
void agent_send_paxos(struct agent *a, uint16_t to, const struct paxos_message *m);

/* ---- agent.c ---- */

/* Ends a group: what was changed stays; its completions become visible. */
void agent_commit(struct agent *a);

/* The time now where somebody asked for it, else the time of the event. */
uint64_t agent_stamp(const struct agent *a);

/* Lets this voter lead instead of us, or asks the leader to. 0, or a negative errno. */
int agent_move_leader(struct agent *a, uint16_t to);

/* Our own life is registered and in force. */
bool agent_registered(const struct agent *a);

/* After a step of Paxos: commits, sends, shows who leads. */
void agent_carry_update(struct agent *a);
/* Steps Paxos with an event, carries its update, applies what was chosen. */
void agent_paxos_step(struct agent *a, const struct paxos_event *event);

/* A snapshot stands in the tables now: what of ours does it answer? */
void agent_installed(struct agent *a);

/* ---- sessions.c ---- */

void session_scan(struct agent *a); /* takes requests in; goes on with the end of sessions */
void session_opened(struct agent *a, const struct agent_event *e);
void session_mapped(struct agent *a, const struct agent_event *e);
void session_gone(struct agent *a, uint32_t slot);
void sessions_gone_meanwhile(struct agent *a); /* while a copy was being installed */
void session_complete(struct agent *a, uint32_t slot, const struct ring_completion *completion);
void session_publish(struct agent *a); /* after a commit: shows and announces what was completed */

/* ---- claims.c ---- */

#define LINE_HEAD offsetof(struct line, key) /* what changes while a line keeps its key */

struct line *line_of(struct agent *a, uint32_t line);
struct claim *claim_of(struct agent *a, uint32_t claim);
uint32_t line_find(const struct agent *a, const void *key, uint32_t len, uint64_t hash);

void line_free(struct agent *a, uint32_t line); /* nobody stands in it, and it is IDLE */

/* A new claim of a session's call on a key: 0: no room. */
uint32_t claim_new(struct agent *a, uint32_t slot, const struct ring_request *r);
void claim_free(struct agent *a, uint32_t claim);                      /* in no queue any more */
void claim_wait(struct agent *a, uint32_t claim);                      /* to the end of its line's queue */
void claim_ask(struct agent *a, uint32_t claim, enum ask_stage stage); /* into its line's asks */
void claim_share(struct agent *a, uint32_t claim);                     /* into the list of those who own its line in PR */
/* Takes it out of wherever it stands, without an answer. */
void claim_leave(struct agent *a, uint32_t claim);
void claims_show_again(struct agent *a); /* after a restart: what the tables tell of them */

static inline uint64_t gate_word_of(const struct agent *a, uint32_t line)
{
	return atom_load_acquire(&a->gates.gates[line].word);
}

static inline struct gate_terms *gate_terms_of(const struct agent *a, uint32_t line)
{
	return tables_terms(a->tables, line);
}

/* On the clock that programs go by. What was before the machine slept for longer than it had run is older than anything. */
static inline uint64_t agent_monotonic_ns(const struct agent *a, uint64_t at_ns)
{
	return at_ns > a->suspended_ns ? at_ns - a->suspended_ns : 0;
}

/* ---- shared.c ---- */

bool shared_settle(struct agent *a, uint32_t line);              /* as gate_settle(), for a line in PR */
struct owner shared_owner(const struct agent *a, uint32_t line); /* one of them; pid 0: nobody */
/* Another host has left the queue; a sweep was applied: who wants to share may have been waiting for just that. */
void shared_left_elsewhere(struct agent *a, const struct command *c);
void shared_swept(struct agent *a, const struct command *c);

/* ---- keep.c ---- */

bool keep_pays(const struct agent *a, const struct line *l);
void keep_asked_elsewhere(struct agent *a, uint64_t hash);
void keep_begins(struct agent *a, const struct line *l);
void keep_ends(struct agent *a, const struct line *l, bool used_again, bool taken_away);
bool keep_makes_room(struct agent *a); /* gives one idle lock back: a line is free then */
void keep_tick(struct agent *a);
uint64_t keep_wake_at(const struct agent *a);

/* ---- gates.c ---- */

/* In a group: the line's lock was delegated to us, with these values. */
void gate_delegated(struct agent *a, uint32_t line, uint32_t row);
/* Does at a delegated line's gate all that can be done now; groups of its own, so between groups only. False: there is no
 * room for a command. */
bool gate_settle(struct agent *a, uint32_t line);
bool gate_has_waiters(struct agent *a, uint32_t line);
uint32_t gate_oldest_waiter(struct agent *a, uint32_t line); /* its record, 0: nobody; the agent owns the gate */
void gate_note_hosts(struct agent *a, uint32_t line);
/* Wants it back; who has waited there since before `since_ns` may still have it. DONE: the agent owns it; WAITS. */
enum gate_next gate_take_back(struct agent *a, uint32_t line, uint64_t since_ns);
struct owner gate_owner_now(const struct agent *a, uint32_t line); /* pid 0: no session */
uint32_t gate_used(const struct agent *a, uint32_t line);          /* tokens of the delegation */
void gate_asked_elsewhere(struct agent *a, const struct command *c);
void gate_terms_end(struct agent *a, uint32_t line);
void gate_new_key(struct agent *a, uint32_t line);
void gate_lapse_line(struct agent *a, uint32_t line);
void gate_send_away(struct agent *a, uint32_t line); /* all who wait arrive anew; the agent owns the gate */
void gates_rebuild(struct agent *a);
void gates_tick(struct agent *a);
uint64_t gates_wake_at(const struct agent *a);
void gate_watch(struct agent *a, uint32_t line);
void gates_watch_now(struct agent *a);

bool gate_session_owns(uint64_t word);
bool gate_owner_is_nobody(const struct agent *a, uint64_t word); /* its owner is a slot without a session */
void gate_rouse_action(struct agent *a, uint32_t record);

/* ---- bury.c ---- */

void gates_rouse_chosen(struct agent *a); /* whoever was chosen, and may not have been woken */
/* The end of a session: all its places and gates, a bite a call. True: done. */
bool gates_sweep_session(struct agent *a, uint32_t slot, bool died);
bool gates_forget_session(struct agent *a, uint32_t slot);                                   /* true: none of its places is in a line any more */
void gates_session(struct agent *a, uint32_t slot, const struct session_identity *identity); /* NULL: nobody's */

/* ---- delegate.c ---- */

bool line_give_back(struct agent *a, uint32_t line, uint32_t used, bool died);
uint32_t line_hosts_waiting(const struct agent *a, const struct line *l);
void line_answer(struct agent *a, uint32_t claim, struct ring_completion *completion);   /* its call; the claim stays */
void line_complete(struct agent *a, uint32_t claim, struct ring_completion *completion); /* and frees it */
void line_tries_refused(struct agent *a, uint32_t line);
bool line_told_no_quorum(struct agent *a, uint32_t line);

/* Answers its call and frees it. */
void claim_answer(struct agent *a, uint32_t claim, int result, const struct owner *owner);

/* Does for a line all that can be done now. */
void line_settle(struct agent *a, uint32_t line);
void line_later(struct agent *a, uint32_t line); /* settle it when there is room again */
void lines_settle_dirty(struct agent *a);

/* The cluster's answers. */
void line_granted(struct agent *a, uint32_t row);
void line_acquired(struct agent *a, const struct command *c, enum lock_outcome outcome);
void line_cancelled(struct agent *a, const struct command *c);
void lines_compare(struct agent *a); /* after a snapshot was installed */
void lines_no_quorum(struct agent *a);
void lines_rebuild(struct agent *a); /* after a restart */
void lines_look_again(struct agent *a);
void line_lapse(struct agent *a, uint32_t line); /* whatever was delegated to us is void */

/* ---- ask.c ---- */

void ask_look(struct agent *a, uint32_t claim); /* stage ASK_LOOK: answers it, or asks the host */
void ask_tick(struct agent *a);
void ask_applied(struct agent *a); /* the index of what is applied has risen */
void ask_leader_changed(struct agent *a);
void ask_index_heard(struct agent *a, uint16_t from, uint8_t word, struct reader *r);
void ask_heard(struct agent *a, uint16_t from, uint8_t word, struct reader *r);

/* ---- commands.c ---- */

/* Numbers a command, stores it and answers its number; 0: not now (no room, or not registered). */
uint64_t command_issue(struct agent *a, struct command *c);
bool commands_room(const struct agent *a);
void commands_applied(struct agent *a, uint64_t number);
void commands_forget_sent(struct agent *a); /* they may have been lost: send all again */
void commands_flush(struct agent *a);       /* at the end of a turn */
void commands_tick(struct agent *a);
void commands_heard(struct agent *a, uint16_t from, struct reader *r);
void commands_leads_applied(struct agent *a, uint64_t slot);
void commands_deposed(struct agent *a);
bool commands_take_own(struct agent *a, const void *bytes, size_t len); /* leading: unnumbered, of the leader's own */
uint64_t commands_wake_at(const struct agent *a);

/* ---- lease.c ---- */

bool lease_valid(const struct agent *a); /* nobody else can have been given what is delegated to us */
void lease_inherit(struct agent *a);
void lease_take_office(struct agent *a);
void lease_registered(struct agent *a);
void lease_lost(struct agent *a);         /* our incarnation was declared down */
void lease_life_changed(struct agent *a); /* some host's life has begun or ended */
void lease_swept(struct agent *a);
void lease_forget_asked(struct agent *a);
void lease_show_freshness(struct agent *a);
void lease_heard(struct agent *a, uint16_t from, uint8_t word, struct reader *r);
void lease_tick(struct agent *a);
uint64_t lease_wake_at(const struct agent *a);

/* ---- give.c ---- */

void give_asked(struct agent *a, uint16_t host); /* it asked for slots that have left the log */
void give_heard(struct agent *a, uint16_t from, struct reader *r);
void give_turn(struct agent *a);
void give_stop(struct agent *a);
uint64_t give_wake_at(const struct agent *a);

/* ---- take.c ---- */

/* Half of the tables are one state and half another: whoever looks at rows waits. */
static inline bool take_installing(const struct agent *a)
{
	return a->m.p->installing != 0;
}
void take_heard(struct agent *a, uint16_t from, struct reader *r);
void take_turn(struct agent *a);
void take_link_down(struct agent *a, uint16_t host);
void take_install(struct agent *a); /* what the inbox holds; again after a death in the middle */
uint64_t take_wake_at(const struct agent *a);

/* ---- tail.c ---- */

uint64_t tail_size(const struct agent *a);
void tail_begin(struct agent *a, uint16_t from, uint64_t slot); /* behind this slot */
void tail_drop(struct agent *a);
void tail_learn(struct agent *a, const struct paxos_message *m);
void tail_turn(struct agent *a); /* asks for more; once the copy stands, hands on what has come */
uint64_t tail_wake_at(const struct agent *a);

#endif
