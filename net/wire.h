/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire: frames between hosts, bytes <-> structures. Bounds-checked and versioned; a frame that does
 * not fit is refused whole. docs/protocol.md shows every field.
 *
 * Frame: length u32 (of all that follows), version u8, type u8, then the body. Little-endian.
 *
 * Pure. Who may enter: links, the agent, tests, the fuzzer. Knows no locks: what the agents say to each
 * other beside Paxos is opaque bytes here.
 */
#ifndef PAXSHM_NET_WIRE_H
#define PAXSHM_NET_WIRE_H

#include "paxos/paxos.h"

#define WIRE_VERSION 1u
#define WIRE_VERSION_OLDEST 1u /* spoken with */
#define WIRE_MAGIC 0x50585348u
#define WIRE_HEADER 6u
#define WIRE_FRAME_MAX (512u * 1024) /* header included; holds a full promise: window * (value_max + 32) */
#define WIRE_HELLO_SIZE 47u          /* header included */

enum wire_type { WIRE_HELLO = 1,
		 WIRE_PAXOS,
		 WIRE_AGENT };

/* The first frame each way. Whoever disagrees with what it says closes the connection. */
struct wire_hello {
	uint64_t cluster_id; /* hash of the cluster's name */
	uint64_t history;    /* of the tables; 0: none yet. Two different ones never talk */
	uint64_t voters_id;  /* hash of voter list, agreed capacities and lease settings: configurations that differ are found here */
	uint16_t from;       /* host id of the sender */
	uint16_t to;         /* host id of who is meant; 0 in an answer: the sender refuses the connection */
	bool votes;          /* the sender is a voter with its memory */
	uint64_t nonce;      /* the sender's memory */
};

/* One frame off the front of a stream: its whole length once `len` bytes tell it; 0: more is needed;
 * -EMSGSIZE: too long or shorter than its header; -EPROTO: a version we do not speak. */
int wire_frame_length(const void *bytes, size_t len);

enum wire_type wire_type_of(const void *frame); /* of a whole frame; unknown types come as they are */

/* Each encodes a whole frame and answers its length, or -EMSGSIZE: more than `cap` or WIRE_FRAME_MAX.
 * A Paxos message carries one entry (ACCEPT, LEARN), up to a window of them (PROMISE) or none. */
int wire_put_hello(void *buf, size_t cap, const struct wire_hello *hello);
int wire_put_paxos(void *buf, size_t cap, const struct paxos_message *message);
int wire_put_agent(void *buf, size_t cap, const void *bytes, size_t len);

/* Each decodes a whole frame of that type: 0, or -EPROTO (also for magic, trailing bytes, counts and
 * lengths out of range) with *ret undefined. Entry and agent bytes point into the frame. */
int wire_get_hello(const void *frame, size_t len, struct wire_hello *ret);
int wire_get_paxos(const void *frame, size_t len, struct paxos_message *ret,
		   struct paxos_entry entries[PAXOS_WINDOW_MAX], uint32_t value_max);
int wire_get_agent(const void *frame, size_t len, const unsigned char **ret_bytes, size_t *ret_len);

#endif
