/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core: one Paxos core on a table, for tests: its memory and undo log, what it said last, and short
 * words for what others say to it. Everything it changed is committed after each step.
 */
#ifndef PAXSHM_TESTS_NET_PAXOS_CORE_H
#define PAXSHM_TESTS_NET_PAXOS_CORE_H

#include "../../../net/paxos/paxos.h"

#define CORE_HEARTBEAT (10 * NS_PER_MS)
#define CORE_LEASE (50 * NS_PER_MS)
#define CORE_DRIFT 1000u                                        /* ppm */
#define CORE_OWN_LEASE paxos_less_drift(CORE_LEASE, CORE_DRIFT) /* of a leader, from its heartbeat's send */

struct core {
	struct paxos_config config;
	struct paxos p;
	struct paxos_memory *memory;
	uint64_t memory_size;
	void *scratch;
	struct undo undo;
	struct undo_log *log;
	struct paxos_update out; /* of the last step */
	uint64_t now;
};

/* Host `self` of voters 1 .. n_voters; a host above these observes. Window 4, 8 slots, 32 bytes; a host's life is
 * its number. */
struct paxos_config core_config(uint16_t self, uint32_t n_voters);

void core_start(struct core *c, const struct paxos_config *config, uint64_t now); /* over fresh memory */
void core_restart(struct core *c, bool was_leader);                               /* a new life over the same memory; rolls back first */
void core_release(struct core *c);

void core_step(struct core *c, const struct paxos_event *event); /* and commits */
void core_wait(struct core *c, uint64_t ns);                     /* so much time passes, then TIME */
void core_hear(struct core *c, uint16_t from, struct paxos_message m);
void core_propose(struct core *c, const char *text);
void core_peer_up(struct core *c, uint16_t host);
void core_installed(struct core *c, uint64_t slot);
void core_hand_over(struct core *c, uint16_t to);

/* The nth message of this kind said in the last step; NULL: there is none. */
const struct paxos_send *core_said(const struct core *c, enum paxos_message_kind kind, unsigned nth);
unsigned core_times_said(const struct core *c, enum paxos_message_kind kind);

/* Through asking and preparing to LEADING, with the help of the next voters; none had accepted anything. */
void core_win(struct core *c);
/* The same, LEADS chosen and the first heartbeat answered. */
void core_lead(struct core *c);

/* What stands in a slot, as text; "-" when nothing does. In a static buffer. */
const char *core_text(const struct core *c, uint64_t slot);

#define BALLOT(round, host) ((uint64_t)(round) << 16 | (host))
#define ENTRY(at, of, text) \
	&(struct paxos_entry) { .slot = (at), .ballot = (of), .kind = PAXOS_COMMANDS, .len = sizeof(text) - 1, \
				.bytes = (const unsigned char *)(text) }
/* What others say. The life of a leader or candidate is the number of its host. */
#define PREVOTE(b, known) \
	(struct paxos_message) { .kind = PAXOS_PREVOTE, .ballot = (b), .life = paxos_ballot_host(b), .chosen = (known) }
#define PREVOTED(b) \
	(struct paxos_message) { .kind = PAXOS_PREVOTED, .ballot = (b), .flag = true }
#define PREPARE(b, known) \
	(struct paxos_message) { .kind = PAXOS_PREPARE, .ballot = (b), .life = paxos_ballot_host(b), .chosen = (known) }
#define PROMISE(b) \
	(struct paxos_message) { .kind = PAXOS_PROMISE, .ballot = (b) }
#define PROMISE_WITH(b, entry) \
	(struct paxos_message) { .kind = PAXOS_PROMISE, .ballot = (b), .n_entries = 1, .entries = (entry) }
#define ACCEPT(b, at, text) \
	(struct paxos_message) { .kind = PAXOS_ACCEPT, .ballot = (b), .flag = true, .n_entries = 1, \
				 .entries = ENTRY(at, b, text) }
#define ACCEPTED(b, at) \
	(struct paxos_message) { .kind = PAXOS_ACCEPTED, .ballot = (b), .slot = (at) }
#define REFUSED(b, higher, known) \
	(struct paxos_message) { .kind = PAXOS_REFUSED, .ballot = (b), .promised = (higher), .chosen = (known) }
#define LEARN(of, at, text, known) \
	(struct paxos_message) { .kind = PAXOS_LEARN, .chosen = (known), .n_entries = 1, .entries = ENTRY(at, of, text) }
#define BEAT(b, known) \
	(struct paxos_message) { .kind = PAXOS_BEAT, .ballot = (b), .life = paxos_ballot_host(b), .chosen = (known) }
#define BEATEN(b, sent) \
	(struct paxos_message) { .kind = PAXOS_BEATEN, .ballot = (b), .stamp = (sent) }
#define MOVE(b, known, to) \
	(struct paxos_message) { .kind = PAXOS_MOVE, .ballot = (b), .chosen = (known), .slot = (to) }
#define FETCH(at) \
	(struct paxos_message) { .kind = PAXOS_FETCH, .slot = (at) }

#endif
