/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roles: what the files of this folder say to each other within one step. The acceptor's memory is in
 * log.c, its rules in acceptor.c; election.c wins a ballot, leader.c uses it, handover.c gives it away,
 * learner.c finds out what was chosen; paxos.c receives the events.
 *
 * paxos.c calls the roles, the roles call each other, and all of them log.c. A handler is called only for a message
 * that paxos.c found well formed and from somebody who may say it.
 *
 * Who may enter: net/paxos alone.
 */
#ifndef PAXSHM_NET_PAXOS_ROLES_H
#define PAXSHM_NET_PAXOS_ROLES_H

#include "paxos.h"

/* One step under way. */
struct paxos_stepping {
	struct paxos *p;
	uint64_t now_ns;
	struct paxos_update *out;
	unsigned n_entries; /* of out->entries that are taken */
};

/* ---- paxos.c: what every role says and counts with ---- */

/* A new message to `to`, all fields zero but its kind; `chosen` is filled in when the step ends. */
struct paxos_message *paxos_say(struct paxos_stepping *s, uint16_t to, enum paxos_message_kind kind);
/* Puts the log's entry of this slot behind the message's others, of which none were added since. */
void paxos_attach(struct paxos_stepping *s, struct paxos_message *m, uint64_t slot);
unsigned paxos_room(const struct paxos_stepping *s); /* messages that can still be said */

int paxos_voter(const struct paxos *p, uint16_t host); /* place in the list, or -1 */
uint32_t paxos_own_vote(const struct paxos *p);        /* our bit */
bool paxos_is_majority(const struct paxos *p, uint32_t votes);

/* ---- log.c: the surviving memory. The only writer of it ---- */

/* The entry of a slot that is still in the log, or NULL. */
struct paxos_slot *paxos_log_find(const struct paxos *p, uint64_t slot);
struct paxos_entry paxos_log_entry(const struct paxos *p, uint64_t slot); /* of a slot that is there */
bool paxos_log_has_place(const struct paxos *p, uint64_t slot);           /* in (chosen, chosen + window] */
void paxos_log_promise(struct paxos *p, uint64_t ballot);                 /* raises `promised`, never lowers it */
void paxos_log_lease(struct paxos *p, uint64_t until_ns, uint64_t life);  /* that of the same life gets no shorter */
void paxos_log_end_lease(struct paxos *p);                                /* nobody's lease rests on it */
void paxos_log_store(struct paxos *p, const struct paxos_entry *e);
void paxos_log_choose(struct paxos *p, uint64_t slot);  /* what stands in this slot is chosen */
void paxos_log_restart(struct paxos *p, uint64_t slot); /* behind a snapshot */

/* ---- acceptor.c ---- */

void paxos_on_prevote(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m);
void paxos_on_prepare(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m);
void paxos_on_accept(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m);
void paxos_on_beat(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m);
bool paxos_lease_forbids(const struct paxos_stepping *s, uint64_t life); /* our promise to another stands */

/* ---- election.c ---- */

void paxos_on_prevoted(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m);
void paxos_on_promise(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m);
void paxos_on_refused(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m);
void paxos_election_tick(struct paxos_stepping *s);
void paxos_election_peer_up(struct paxos_stepping *s, uint16_t host);
void paxos_wait_for_leader(struct paxos *p, uint64_t now_ns);      /* sets the election timer anew */
void paxos_step_down(struct paxos_stepping *s);                    /* follower of nobody */
void paxos_meet_ballot(struct paxos_stepping *s, uint64_t ballot); /* a ballot somebody uses; a higher one deposes */
void paxos_hear_leader(struct paxos_stepping *s, uint16_t leader, uint64_t ballot);
void paxos_ask_again_within(struct paxos_stepping *s, uint64_t ns);   /* sets the election timer to half of it or more, if it stands later */
void paxos_stand_for(struct paxos_stepping *s, uint64_t call_ballot); /* prepares without asking: the leader of this ballot called us */

/* ---- leader.c ---- */

void paxos_take_office(struct paxos_stepping *s);
void paxos_propose(struct paxos_stepping *s, enum paxos_value_kind kind, const void *bytes, uint32_t len);
void paxos_on_accepted(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m);
void paxos_on_beaten(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m);
void paxos_leader_tick(struct paxos_stepping *s);
void paxos_leader_expire(struct paxos_stepping *s); /* past its lease a leader is none: before anything else */
void paxos_leader_peer_up(struct paxos_stepping *s, uint16_t host);
bool paxos_in_office(const struct paxos *p); /* leading, and LEADS is chosen */

/* ---- handover.c ---- */

void paxos_hand_over(struct paxos_stepping *s, uint16_t to);
void paxos_on_move(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m);
void paxos_answer_call(struct paxos_stepping *s); /* stands when we were called and know enough */

/* ---- learner.c ---- */

void paxos_on_learn(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m);
void paxos_on_fetch(struct paxos_stepping *s, uint16_t from, const struct paxos_message *m);
/* The leader of `ballot` says that all up to `chosen` is: believe it of what we accepted from it. */
void paxos_learn_up_to(struct paxos *p, uint64_t ballot, uint64_t chosen);
/* This host knows choices up to `chosen`: ask for those we lack, if any. */
void paxos_catch_up(struct paxos_stepping *s, uint16_t host, uint64_t chosen);

#endif
