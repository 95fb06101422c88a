/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault_inside: what the files of the kinds of fault share. fault_links, fault_stops, fault_leases, fault_agents and fault_hosts
 * have the beginning, the proof and the end of each; fault.c puts them together and strikes.
 *
 * Who may enter: fault*.c.
 */
#ifndef PAXSHM_TESTS_STORM_FAULT_INSIDE_H
#define PAXSHM_TESTS_STORM_FAULT_INSIDE_H

#include "fault.h"

#define FAULT_SHORT_MS 300
#define FAULT_ELECTION_MS 600 /* a leader that is away for so long is one no more */

typedef bool fault_begin(struct storm *s, struct blow *b);
typedef bool fault_proof(struct blow *b);
typedef void fault_end(struct storm *s, struct blow *b);

/* ---- fault.c ---- */

void fault_nap_ms(uint64_t ms);
unsigned fault_all(void); /* set of all hosts */
unsigned fault_members(unsigned set);
unsigned fault_one_of(struct storm *s, unsigned set); /* a random member of a set that is not empty */
unsigned fault_some_host(struct storm *s);            /* every other time the leader */
/* One host is not to be counted on, be it the leader or not. */
void fault_strikes(struct storm *s, struct blow *b, unsigned victim);
void fault_now_begins(struct storm *s, struct blow *b); /* and is given a time to last */

/* ---- links ---- */

fault_begin fault_isolate, fault_deafen, fault_mute, fault_part_leader_and_one, fault_halve, fault_bridge, fault_lose_some;
fault_proof fault_links_felt;
fault_end fault_links_heal;

/* Of the hosts in these sets something is dropped on its way out, and on its way in. */
bool fault_cut_now(struct storm *s, struct blow *b, unsigned felt_from, unsigned felt_to);

/* ---- processes that stop ---- */

fault_begin fault_stop_agent, fault_stop_agent_and_keeper, fault_freeze, fault_stop_programs;
fault_proof fault_all_stopped;
fault_end fault_all_go_on;

void fault_to_stop(struct blow *b, struct process p);
void fault_stop_now(struct storm *s, struct blow *b);
void fault_pause_workers_of(struct blow *b, unsigned host);
unsigned fault_some_program(struct storm *s); /* no probe */
/* Stops a program in the midst of owning a lock, on one host or (0) any. None is there in time: false. */
bool fault_catch_owner(struct storm *s, struct blow *b, unsigned host);

/* ---- leases that end ---- */

fault_begin fault_isolate_past_lease, fault_stop_agent_past_lease, fault_stop_all_agents;
fault_end fault_heal_past_lease, fault_agent_goes_on_past_lease, fault_all_agents_go_on;

/* Programs of this host own something, and are going to own it when the lease ends. False: none does in time. */
bool fault_cling_on(struct blow *b, unsigned host);
void fault_let_go(struct blow *b);

/* ---- programs and agents that end ---- */

fault_begin fault_kill_programs, fault_kill_agent, fault_reload, fault_move_leader;
fault_proof fault_gone, fault_all_gone, fault_agent_gone, fault_leader_moved;
fault_end fault_start_programs_again, fault_agent_is_back, fault_nothing_to_mend;

void fault_start_workers(struct blow *b);

/* ---- lives that end ---- */

fault_begin fault_kill_host, fault_leave_programs_alone, fault_desert, fault_stop_host;
fault_proof fault_left_alone;
fault_end fault_begin_life, fault_go_on_in_a_new_life, fault_take_in_again, fault_start_host_again;

#endif
