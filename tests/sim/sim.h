/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim: a whole cluster in one process, driven by one seed. The agents are the shipping ones
 * (tools/paxshmd/agent.h) over plain memory; hosts, keepers, links, clocks and programs are played.
 * The same seed plays the same history, on any machine.
 *
 *   world.c      the queue of events; what a seed decides; the course of one run
 *   plan.c       what a seed decides
 *   network.c    links between hosts: delay, loss, resets
 *   partition.c  which hosts hear which, for a while
 *   clock.c      each host's own clocks: offset, drift, jumps, a host that is suspended
 *   host.c       one host's keeper and reactor: feeds its agent, carries actions out, dies, returns
 *   client.c     programs: sessions, their threads, the rings' other side
 *   gates.c      programs at gates: they take locks, wait in line and pass them on, step by step
 *   gates_left.c who owns a gate must know it, also after a death in the middle of a step
 *   sharing.c    programs that share a lock
 *   sharing_oracle.c  and what must hold of them
 *   resource.c   what a lock protects: programs write to it while they believe that they own the lock
 *   nonsense.c   programs that write nonsense into their rings
 *   faults.c     what goes wrong, and when
 *   liveness.c   a majority is healthy, all else is broken for good: whoever is healthy must go on
 *   oracle.c     what must hold after every step, by what programs are told
 *   reads.c      what must hold of what the tables show to programs of their host
 *   log.c        what must hold after every step, of Paxos
 *   reference.c  the agreed state, written a second time
 *   undo_check.c what a death in the middle of a group must leave
 *   trace.c      what happened, for a person
 *   main.c       one seed, or a campaign
 *
 * Invariant: nothing here reads a clock, an address or any other thing that differs from run to run.
 *
 * Who may enter: tests.
 */
#ifndef PAXSHM_TESTS_SIM_SIM_H
#define PAXSHM_TESTS_SIM_SIM_H

#include <setjmp.h>

#include "../../shm/gate.h"
#include "../../shm/ring.h"
#include "../../shm/state/command.h"
#include "../../shm/state/snapshot.h"
#include "../../tools/paxshmd/agent.h"
#include "../../tools/paxshmd/memory.h"
#include "marks.h"
#include "sharing.h"

#define SIM_HOSTS 7u    /* host ids are 1 .. SIM_HOSTS */
#define SIM_SLOTS 8u    /* session slots of a host */
#define SIM_CLIENTS 96u /* programs that are known at once */
#define SIM_THREADS 4u  /* of one program */
#define SIM_KEYS 1024u  /* keys ever met in a run */
#define SIM_GRANTS 32u  /* of a key, remembered */
#define SIM_MAX_ROWS 1200u

#define US 1000ull
#define MS (1000ull * US)
#define SECOND (1000ull * MS)

struct options {
	uint64_t seed;
	unsigned hosts; /* voters; 0: the seed decides */
	bool trace;
};

/* ---- what a seed decides ---- */

struct plan {
	unsigned voters, observers;
	bool datagrams;                       /* single frames are lost, doubled, overtaken */
	uint32_t lose, twice, overtake, late; /* of a million frames */
	uint64_t latency_ns, jitter_ns;
	uint64_t duration_ns; /* of the time with faults */
	struct agent_limits limits;
	uint64_t heartbeat_ns, leader_lease_ns, host_lease_ns, ask_ns;
	uint32_t handover_max, range;
	uint64_t handover_ns, keep_ns;
	uint32_t copy_bite;
	uint64_t copy_pace_ns;
	/* programs */
	unsigned clients, threads, keys, hot_keys;
	uint16_t home; /* all programs run on this host; 0: anywhere */
	uint64_t think_ns, hold_ns;
	uint32_t key_style;
	uint32_t p_try, p_deadline, p_return, p_holder, p_read, p_close, p_hurry, p_share; /* of a thousand */
	/* mean time between faults of a kind; 0: never */
	uint64_t partition_for_ns; /* how long they last, about; 0: anything */
	uint64_t reset_ns, partition_ns, depose_ns, clog_ns, pause_ns, freeze_ns, slow_ns, crash_ns, lose_memory_ns;
	uint64_t kill_ns, stop_ns, nonsense_ns;
	/* clocks */
	int64_t drift_ppm; /* no clock is faster or slower than the world by more */
	uint64_t drift_ns; /* mean time between changes of a clock's rate */
	uint64_t jump_ns;  /* between jumps beyond the bound, and suspended hosts */
	bool liveness;     /* the faults end with a part of the cluster broken for good */
};

/* ---- the network ---- */

enum parcel_kind { PARCEL_HELLO,
		   PARCEL_FRAME,
		   PARCEL_END,
		   PARCEL_OPEN,
		   PARCEL_GONE };

struct client;

struct parcel { /* something under way to a host, or in its inbox */
	struct parcel *next;
	uint64_t at;         /* when it arrives */
	uint64_t connection; /* it belongs to; of OPEN and GONE the program's id */
	uint8_t kind;
	uint16_t from;
	struct client *client; /* OPEN, GONE */
	uint32_t len;
	unsigned char bytes[];
};

struct pipe { /* one direction of a link */
	struct parcel *head, *tail;
	uint64_t last_at; /* of the youngest parcel that keeps its place */
	unsigned blocked; /* partitions that stand in the way */
	uint64_t slow_ns; /* more delay, for a while */
	uint64_t pump_at;
};

struct wiring {              /* both directions */
	uint64_t connection; /* number of the present or last one */
	bool stands;
};

/* ---- programs ---- */

enum thread_state { THREAD_IDLE,
		    THREAD_WAITS,
		    THREAD_GATE, /* takes it at its gate, or waits there */
		    THREAD_HOLDS,
		    THREAD_RELEASES,
		    THREAD_LEAVES, /* shared it */
		    THREAD_ASKS,
		    THREAD_CLOSES };

struct thread {
	uint8_t state;    /* enum thread_state */
	bool pushed;      /* its request is in the ring */
	bool asleep;      /* sleeps on its bell; only a wake gets it up */
	bool woken;       /* a wake is on its way */
	bool told;        /* the agent has shown the answer */
	bool taken;       /* and somebody of the program has read it: `answer` */
	bool cancelled;   /* CANCEL was pushed */
	bool unannounced; /* a request was pushed, the doorbell not yet rung */
	bool again;       /* RELEASES: for a second time: it must be refused */
	/* GATE, RELEASES, and of what it HOLDS: gates.c */
	uint8_t step, after; /* enum step; when the agent was told: the next one */
	uint8_t lags;        /* so many times it will look whether its host has another life, before it takes the lock */
	bool waited;         /* it stood in the line */
	bool sleep;          /* it will rather sleep than spin */
	bool died;           /* GATE: the owner before died */
	bool signal_due;     /* a signal comes while it sleeps */
	bool told_gate;      /* the agent knows that it waits at a gate that the agent has */
	int leaves;          /* GATE: why it leaves the line: what it answers; 0: to ask the agent */
	uint32_t gate, serial, count;
	struct gate_place place;
	struct gate_pass pass;
	uint32_t call, key, flags;
	int32_t reason;
	uint64_t since_ns, deadline_ns; /* of the call, world time */
	uint64_t token, told_token;
	uint64_t incarnation; /* of its host, under which it was granted */
	bool lost;            /* the cluster has given the lock to others: its check must not say that it is valid */
	uint8_t uses;         /* HOLDS: writes to do before it releases */
	uint64_t timer;       /* number of the one event that counts */
	struct ring_completion answer;
	struct sharing sharing;
};

#define SIM_HANDLES 32u
struct handle { /* what a program knows of a lock */
	uint32_t key, gate, serial;
};

enum client_state { CLIENT_FREE,
		    CLIENT_OPENING,
		    CLIENT_OPEN,
		    CLIENT_CLOSED,
		    CLIENT_DEAD };

struct client {
	uint32_t id;
	uint8_t state;
	bool nonsense; /* what its ring says is not believed any more */
	bool kept;     /* its host's keeper holds the session */
	bool prober;   /* takes every lock once, at the end */
	bool closing;  /* CLOSE was pushed: it uses nothing any more */
	bool gone;     /* the agent was told of its death */
	uint32_t probed;
	uint64_t stopped_until; /* by a signal: none of its threads does anything */
	uint64_t gone_ns;       /* DEAD: since then */
	uint16_t host;
	uint32_t slot; /* 0: none */
	uint32_t pid;
	uint64_t start;
	uint32_t scanned;                    /* completions that the oracle has seen */
	uint64_t calls_out[RING_CALLS / 64]; /* bit: a request of this call is not answered */
	struct handle handle[SIM_HANDLES];   /* [key % SIM_HANDLES] */
	uint64_t records;                    /* bit: one of its places in lines is used by a thread */
	uint32_t n_threads;
	struct thread thread[SIM_THREADS];
	struct session_rings *rings;
};

/* ---- hosts ---- */

struct clock {
	uint64_t since_ns;         /* world time at which these were right: */
	uint64_t mono_ns, boot_ns; /* CLOCK_MONOTONIC, CLOCK_BOOTTIME */
	int64_t ppm;               /* faster than the world by so much */
	bool stands;               /* the host is suspended: its monotonic clock stands still */
	uint64_t stood_ns;         /* where that one stood the last time */
};

enum broken { HEALTHY, /* liveness.c: what is wrong with a host, for good */
	      BROKEN_CRASHED,
	      BROKEN_LOST, /* crashed, and its memory is lost */
	      BROKEN_STOPPED,
	      BROKEN_CUT,
	      BROKEN_DEAF,
	      BROKEN_MUTE,
	      BROKEN_BEHIND, /* of the healthy ones only one can be reached: a bridge */
	      N_BROKEN };

enum doom { DOOM_NONE,
	    DOOM_SAVE,
	    DOOM_COMMIT,
	    DOOM_ACTION };

struct seen_slot {
	uint64_t index, ballot;
	bool chosen;
};
#define SIM_LOG_SLOTS 128u

struct host {
	uint16_t id;
	bool exists, voter, votes; /* votes: a voter with its memory */
	struct agent *agent;       /* NULL: dead */
	struct agent_config config;
	struct agent_memory memory;
	uint64_t private_size, tables_size, arena_size;
	struct clock clock;
	uint64_t run_at;       /* when its loop runs next; NEVER */
	uint64_t wake_ns;      /* when its agent wants TIME, by its own clock */
	uint64_t paused_until; /* its agent is stopped */
	uint64_t frozen_until; /* and all its programs */
	enum broken broken;
	bool asleep; /* agent_may_sleep said so */
	struct parcel *inbox, *inbox_last;
	struct client *session[SIM_SLOTS + 1]; /* what the keeper holds */
	uint64_t up[SIM_HOSTS + 1];            /* connection to each host, 0: down */
	bool up_votes[SIM_HOSTS + 1];
	uint32_t restless;        /* turns since it slept */
	uint64_t lives;           /* agents started */
	bool mapping;             /* a successor is being given its predecessor's sessions */
	uint64_t deadline_before; /* its lease before the present step */
	bool scribbled;           /* somebody has written over its gates */
	uint64_t settled_life;    /* the last life that went to sleep once */

	/* how it will die */
	enum doom doom;
	uint64_t doom_after; /* saves, commits or actions from now */
	jmp_buf grave;

	/* what the oracle has seen */
	struct agent_copies copies;                         /* of this life of the agent */
	uint64_t copies_unused, copied_bites, copied_at_ns; /* begun in vain; bites in all and time when it last installed one */
	uint64_t promised, chosen, applied;
	uint64_t fresh;         /* its tables said to be as of */
	uint64_t ballot_before; /* highest that an earlier life of this memory led or prepared with */
	uint64_t ballot_now;
	bool leading;
	uint64_t ballot_led;
	struct seen_slot slot[SIM_LOG_SLOTS];
};

/* ---- what all hosts agree on, once more (reference.c) ---- */

struct wish {
	uint16_t host;
	uint8_t mode;
	uint64_t incarnation;
};

struct share {
	struct wish of;
	uint64_t delegation, base;
};

struct lock {         /* of a key */
	uint32_t row; /* 0: none */
	uint16_t host;
	uint8_t mode; /* 0: nobody has it */
	uint64_t incarnation, delegation, base;
	bool died;
	unsigned n_shares; /* in PR: who has it; `delegation` is the last of them, `base` where the next tokens begin */
	struct share share[SIM_HOSTS];
	uint64_t died_order;
	unsigned n_queue;
	struct wish queue[SIM_HOSTS];
};

struct grant { /* as a program was told */
	uint64_t token, at_ns;
	uint16_t host;
	uint32_t pid;
	uint64_t start;
	uint64_t released_ns; /* NEVER: not yet */
};

struct seen_holder { /* by programs that read the tables of a host */
	uint64_t delegation;
	bool gone; /* it was over when it was last looked at */
};

struct key {
	uint32_t len;
	uint8_t bytes[KEY_MAX];
	uint64_t hash;
	struct lock lock; /* reference */
	bool touched;     /* by a command since it was last compared */
	/* who was told that it owns the lock */
	struct client *owner;
	uint32_t owner_thread;
	uint64_t owner_incarnation;
	uint64_t last_token, shared_token; /* the highest that was given to one alone, and to any who shares */
	uint16_t last_host;
	uint64_t last_delegation;
	bool death;                  /* somebody with an interest in it died since the last grant: the next may say so */
	bool owner_died;             /* the last owner died: the next grant must say so … */
	bool death_forgotten;        /* … unless it was forgotten for want of room */
	bool told_death;             /* the last owner was told of a death */
	uint32_t passes;             /* grants within one delegation since its agent knows that another host waits */
	bool tainted[SIM_HOSTS + 1]; /* [host]: see oracle_tainted() */
	uint64_t passes_since;
	uint32_t n_grants;
	struct grant grant[SIM_GRANTS];    /* the last ones: [n % SIM_GRANTS] */
	uint32_t n_sharing, n_shared_told; /* programs' threads that share it now; told to share it ever: */
	struct shared_told shared_told[SHARED_TOLD];
	struct shared_on shared_on[SIM_HOSTS + 1]; /* [host] */
	/* what the lock protects */
	uint64_t resource_token, read_token; /* of the last write that was taken, of the latest look */
	uint32_t resource_client;
	struct seen_holder seen[SIM_HOSTS + 1]; /* [host] */
};

struct write { /* to a resource, under way */
	bool flies;
	bool reads;   /* it only looks */
	bool tainted; /* sent under a token that somebody who wrote over gates may have made up */
	uint32_t key, client;
	uint64_t token;
};

struct reference_host {
	uint64_t incarnation, nonce, last_number;
	bool down;
	uint32_t sweep; /* the row that its next SWEEP looks at first; 0: all swept */
};

struct reference {
	uint64_t applied, history, token_floor, delegations, leads;
	uint32_t rows, cells, waits;                    /* in use */
	uint32_t rows_high, n_free, free[SIM_MAX_ROWS]; /* rows given back, the last one first to go again */
	uint64_t died_count, died_order;
	struct reference_host host[SIM_HOSTS + 1];
};

struct accepted {
	uint64_t ballot, hash;
	uint32_t voters;
	uint8_t kind;
	bool again;
};

struct log_entry {
	bool chosen;
	uint8_t kind;
	uint32_t len;
	uint64_t hash;
	unsigned char *bytes; /* until the reference has applied it */
	uint64_t state_hash;  /* of tables at this index */
	uint64_t applied_ns;  /* world time at which a leader first had it applied; 0: none has */
	unsigned n_accepted;
	struct accepted *accepted; /* ballot by ballot */
};

/* ---- the world ---- */

enum event_kind { EVENT_RUN,
		  EVENT_PUMP,
		  EVENT_CONNECT,
		  EVENT_START,
		  EVENT_THREAD,
		  EVENT_CLIENT,
		  EVENT_FAULT,
		  EVENT_CUT,
		  EVENT_HEAL,
		  EVENT_RESUME,
		  EVENT_WRITE,
		  EVENT_STAGE };

struct event {
	uint64_t at, order;
	uint8_t kind, what;
	uint16_t a, b;
	uint64_t number;
};

enum stage { STAGE_FAULTS,
	     STAGE_LIVENESS,
	     STAGE_HEALING,
	     STAGE_CLOSING,
	     STAGE_PROBING,
	     STAGE_LAST,
	     STAGE_DONE };

#define SIM_WRITES 1024u

struct partition {
	bool stands;
	bool swizzle;  /* links stop one by one, and heal so */
	uint32_t life; /* how often this place was used: events of earlier ones are void */
	bool blocks[SIM_HOSTS + 1][SIM_HOSTS + 1];
};

struct sim {
	struct options options;
	struct plan plan;
	struct tally *tally;
	uint64_t now_ns;
	uint64_t random;
	uint64_t history; /* hash of what was sent and told: the same for the same seed */
	enum stage stage;
	uint64_t stage_since_ns;
	struct event *heap;
	size_t n_events, cap_events;
	uint64_t next_order;
	unsigned n_hosts;
	struct host host[SIM_HOSTS + 1];
	struct pipe pipe[SIM_HOSTS + 1][SIM_HOSTS + 1];     /* [from][to] */
	struct wiring wiring[SIM_HOSTS + 1][SIM_HOSTS + 1]; /* [lower][higher] */
	struct partition partition[8];
	struct partition breakage; /* liveness.c: for good */
	struct client client[SIM_CLIENTS];
	uint32_t next_client_id;
	uint64_t next_timer;
	struct key key[SIM_KEYS + 1];
	uint32_t n_keys, first_keys; /* the first ones are those that programs use */
	uint32_t key_index[4 * SIM_KEYS];
	struct reference reference;
	struct log_entry *log; /* [slot] */
	uint64_t n_log, cap_log;
	uint16_t last_leader;
	uint64_t offices;                                          /* leaderships that began */
	uint64_t leader_applied;                                   /* the highest slot that any leader had applied */
	uint64_t untrusted_until;                                  /* some clock went beyond the bound: leases prove nothing until then */
	uint64_t live_offices;                                     /* liveness.c: leaderships when the healthy ones had had time to settle */
	uint64_t live_since, live_settled, live_quiet, live_still; /* the parts of that stage begin; NEVER: not yet */
	struct write write[SIM_WRITES];
	uint32_t next_write;
	unsigned char *shadow, *copy; /* undo_check.c */
	uint64_t shadow_cap;
	bool nonsense; /* some program ever wrote any */
	unsigned char frame[WIRE_FRAME_MAX];
};

/* ---- world.c ---- */

/* Plays one seed to its end; answers the hash of its history. */
uint64_t sim_run(struct sim *s, const struct options *options, struct tally *tally);
/* A check failed: says so, and how to play it again; the process ends. */
_Noreturn void sim_fail(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define CHECK(s, fact, ...) ((fact) ? (void)0 : sim_fail((s), __VA_ARGS__))

void sim_at(struct sim *s, uint64_t at, struct event event);
void sim_mark(struct sim *s, enum mark mark);
uint64_t sim_pick(struct sim *s, uint64_t low, uint64_t high); /* low .. high */
bool sim_chance(struct sim *s, uint64_t of, uint64_t in);
uint64_t sim_about(struct sim *s, uint64_t mean); /* around it, sometimes much more */
/* Nothing breaks and nothing is lost any more. */
static inline bool sim_smooth(const struct sim *s) { return s->stage != STAGE_FAULTS; }
/* Programs end what they do, and begin nothing. */
static inline bool sim_healing(const struct sim *s)
{
	return s->stage > STAGE_LIVENESS || (s->stage == STAGE_LIVENESS && s->now_ns >= s->live_quiet);
}

/* ---- network.c ---- */

void network_start(struct sim *s);
void network_send(struct sim *s, struct host *from, uint16_t to, const void *bytes, size_t len);
void network_pump(struct sim *s, uint16_t from, uint16_t to);
void network_connect(struct sim *s, uint16_t a, uint16_t b);
void network_reset(struct sim *s, uint16_t a, uint16_t b);
void network_host_died(struct sim *s, struct host *h);
void network_block(struct sim *s, uint16_t from, uint16_t to, int more);
void network_drop(struct sim *s);

/* ---- host.c ---- */

void host_init(struct sim *s, uint16_t id);
void host_start(struct sim *s, struct host *h);
void host_run(struct sim *s, struct host *h);
void host_wake(struct sim *s, struct host *h, uint64_t after_ns);
void host_receive(struct sim *s, struct host *h, struct parcel *p);
void host_die(struct sim *s, struct host *h, uint64_t back_after_ns);
void host_lose_memory(struct sim *s, struct host *h);
void host_end(struct host *h);
static inline bool host_stays_dead(const struct host *h) { return h->broken == BROKEN_CRASHED || h->broken == BROKEN_LOST; }
/* The host that acts as a leader under the highest ballot, 0: none. */
uint16_t sim_leader(const struct sim *s);

/* ---- client.c ---- */

void clients_start(struct sim *s);
struct client *client_new(struct sim *s, uint16_t host, bool prober);
void client_opened(struct sim *s, struct client *c, uint32_t slot); /* slot 0: refused */
void client_let_go(struct sim *s, struct client *c);                /* the keeper holds nothing of it any more */
void client_woken(struct sim *s, struct client *c, uint32_t call);
void client_thread(struct sim *s, struct client *c, struct thread *t);
void client_later(struct sim *s, struct client *c, struct thread *t, uint64_t after_ns);
void client_kill(struct sim *s, struct client *c);
void client_gone(struct sim *s, struct client *c); /* its host's agent is told that it has ended */
void client_maybe_new(struct sim *s);
void client_close(struct sim *s, struct client *c);
void clients_cancel_now(struct sim *s, const struct host *h);
void clients_act_now(struct sim *s, const struct host *h); /* somebody there makes a request at this moment */
bool clients_quiet(struct sim *s, const struct client **ret_busy);
uint32_t sim_key(struct sim *s, const void *bytes, uint32_t len); /* its number */
uint32_t sim_choose_key(struct sim *s);                           /* one of those that programs use */
void client_announce(struct sim *s, struct client *c);
void client_put_key(const struct sim *s, struct ring_request *r, uint32_t key);

/* The thread does nothing more; it lives on. */
void client_rest(struct sim *s, struct client *c, struct thread *t);
/* It owns the lock now. */
void client_holds(struct sim *s, struct client *c, struct thread *t);
void client_by_agent(struct sim *s, struct client *c, struct thread *t); /* asks the agent for the lock */
uint64_t client_wake_takes_ns(struct sim *s);

/* ---- gates.c ---- */

bool gates_acquire(struct sim *s, struct client *c, struct thread *t); /* false: it knows no gate */
void gates_release(struct sim *s, struct client *c, struct thread *t);
void gates_thread(struct sim *s, struct client *c, struct thread *t); /* the next step */
void gates_learn(struct client *c, const struct thread *t);           /* what the agent said of a lock's gate */
void gates_rouse(struct sim *s, struct host *h, uint32_t record);     /* somebody wakes who sleeps there */
struct gate_view gates_view(const struct host *h);
void gates_check(struct sim *s, const struct host *h); /* after a step of its agent */
void gates_check_asleep(struct sim *s, const struct host *h);

/* ---- gates_left.c ---- */

/* The agent's memory, or what it would be after a death. */
struct left {
	const struct private_memory *header;
	const struct session_record *sessions;
	const struct claim *claims;
	const struct line *lines;
};

struct left gates_left(const struct host *h);
void gates_check_left(struct sim *s, const struct host *h, const struct left *left);

void clients_deferred(struct sim *s, struct client *c, struct thread *t); /* stopped: its event comes later */
void client_stop(struct sim *s, struct client *c, uint64_t for_ns);

static inline bool client_stands(const struct sim *s, const struct client *c)
{
	return c->stopped_until > s->now_ns || s->host[c->host].frozen_until > s->now_ns;
}

/* ---- clock.c ---- */

void clock_init(struct sim *s, struct host *h);
uint64_t host_clock(const struct sim *s, const struct host *h); /* CLOCK_BOOTTIME of the host, which leases go by */
uint64_t host_mono_clock(const struct sim *s, const struct host *h);
uint64_t host_clock_gap(const struct sim *s, const struct host *h); /* CLOCK_REALTIME - CLOCK_MONOTONIC */
/* World time at which the host's clock shows `local_ns`, if its rate stays; NEVER: it does not run. */
uint64_t clock_when(const struct sim *s, const struct host *h, uint64_t local_ns);
void clock_drift(struct sim *s, struct host *h); /* another rate within the bound */
void clock_leap(struct sim *s, struct host *h);  /* beyond it: forward, or suspended */
void clock_resume(struct sim *s, struct host *h);
static inline bool sim_trusted(const struct sim *s) { return s->now_ns >= s->untrusted_until; }

/* ---- resource.c ---- */

/* What paxshm_lock_check() answers to this owner now: 0, -ENETUNREACH (suspended), -ESTALE (lost). */
int program_check(const struct sim *s, const struct client *c, uint64_t incarnation);
/* The owner looks whether it still is, and writes. false: it is not. */
bool resource_use(struct sim *s, struct client *c, struct thread *t);
void resource_arrived(struct sim *s, struct write *w);

/* ---- nonsense.c ---- */

void client_nonsense(struct sim *s, struct client *c);

/* ---- plan.c ---- */

void plan_make(struct sim *s);
uint64_t sim_one_of(struct sim *s, const uint64_t *from, size_t n);
#define ONE_OF(s, ...) sim_one_of((s), (const uint64_t[]){ __VA_ARGS__ }, ARRAY_LEN(((const uint64_t[]){ __VA_ARGS__ })))

/* ---- partition.c ---- */

void partition_happen(struct sim *s);
void partition_depose(struct sim *s); /* the leader is cut off until the others have another */
void partition_clog(struct sim *s);   /* one link holds everything back, then lets go at once */
/* One direction, or (0, 0): all of it. `number` as in the event. */
void partition_heal(struct sim *s, uint64_t number, uint16_t from, uint16_t to);
void partition_cut(struct sim *s, uint64_t number, uint16_t a, uint16_t b);
void partitions_end(struct sim *s); /* all, at once */
void partition_block(struct sim *s, struct partition *p, uint16_t from, uint16_t to);
void partition_unblock(struct sim *s, struct partition *p, uint16_t from, uint16_t to);

/* ---- faults.c ---- */

void faults_start(struct sim *s);
void fault_happen(struct sim *s, uint8_t what);
void faults_heal(struct sim *s);

/* ---- liveness.c ---- */

void liveness_begin(struct sim *s);
/* Looks again and again; true: everybody healthy has gone on, the stage is over. */
bool liveness_look(struct sim *s);
void liveness_end(struct sim *s);
/* The healthy ones have had the time they may take: now they answer. */
bool liveness_settled(const struct sim *s, const struct host *h);
/* Who shares locks begins anew still, while others end what they do. */
bool liveness_shares(const struct sim *s, uint16_t host);
uint64_t sim_host_death_ns(const struct sim *s); /* how long a host that died for good may keep what it held */

/* ---- oracle.c ---- */

void oracle_after_step(struct sim *s, struct host *h);
void oracle_host_started(struct sim *s, struct host *h, bool fresh);
void oracle_host_died(struct sim *s, struct host *h);
void oracle_may_sleep(struct sim *s, struct host *h);
void oracle_released(struct sim *s, struct client *c, struct thread *t);                 /* the program lets go of the lock */
void oracle_taken(struct sim *s, struct client *c, struct thread *t);                    /* at its gate, and all checks are done */
void oracle_busy_here(struct sim *s, struct client *c, struct thread *t, uint64_t word); /* by what stands at the gate */
void oracle_ended(struct sim *s, struct client *c, bool died);                           /* the agent may know now */
void oracle_same_everywhere(struct sim *s);
void oracle_host_down(struct sim *s, uint16_t host);
/* Somebody of that host wrote over its gates: what they say of this lock is not believed. */
void oracle_taint(struct sim *s, struct host *h);
bool oracle_tainted(const struct sim *s, uint16_t host, uint32_t key);
void oracle_grant_moved(struct sim *s, struct key *k); /* the reference gave the lock to another host */
void oracle_take_from_owner(struct sim *s, struct key *k);
bool oracle_is_new(const struct host *h);                               /* it ends what its predecessor was giving */
void oracle_dropped(struct sim *s, struct client *c, struct thread *t); /* it found that its lock is not its own any more */
void oracle_end(struct sim *s);

/* ---- log.c ---- */

struct log_entry *log_at(struct sim *s, uint64_t slot); /* valid until the next call */
void log_look(struct sim *s, struct host *h);           /* into an acceptor's memory */
void log_look_at_leader(struct sim *s, struct host *h);
void log_apply(struct sim *s); /* what is known to be chosen, to the reference */
void log_check_said(struct sim *s, const struct host *h, const void *frame, size_t len);

/* ---- reads.c ---- */

void reads_after_step(struct sim *s, struct host *h);
void reads_holder(struct sim *s, struct host *h, uint32_t key); /* a program looks into the tables */
void reads_forget(struct sim *s, struct host *h);               /* its memory is new */

/* ---- reference.c ---- */

uint64_t reference_alive(const struct sim *s, uint16_t host); /* the incarnation that may have locks; 0: none */
void reference_apply(struct sim *s, uint64_t slot, uint8_t kind, const unsigned char *bytes, uint32_t len);
/* Compares a host's tables at the same index: the whole, or what was touched since the last time. */
void reference_compare(struct sim *s, struct host *h, bool whole);

/* ---- undo_check.c ---- */

void undo_watch(struct sim *s, struct host *h, bool compare);
void undo_unwatch(struct host *h);
/* What is left behind must be whole. Shows the oracle the memory as a successor will find it, and leaves
 * it as it is. */
void undo_died(struct sim *s, struct host *h);

/* ---- trace.c ---- */

void trace(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void trace_frame(struct sim *s, const char *what, uint16_t from, uint16_t to, const void *bytes, size_t len);
void trace_request(struct sim *s, const struct client *c, const struct ring_request *r);
const char *trace_key(const struct key *k);
void client_describe(const struct sim *s, const struct client *c, char *ret, size_t cap);

#endif
