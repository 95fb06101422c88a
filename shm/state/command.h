/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command: what hosts propose, as a structure and as bytes. A value of the log is a row of them.
 *
 * Bytes: kind u8, host u16, incarnation u64, number u64, then the fields that `kind` has, in the
 * order below, little-endian, a key as length u8 and bytes. Unknown kinds do not decode: hosts only
 * propose what every host has announced that it knows.
 *
 * Pure. Who may enter: the agent, apply, tests.
 */
#ifndef PAXSHM_SHM_STATE_COMMAND_H
#define PAXSHM_SHM_STATE_COMMAND_H

#include "../../lib/base.h"
#include "../layout.h"

enum command_kind {
	COMMAND_FOUND = 1, /* history, rows, cells, waits: the first of a cluster's life; unnumbered */
	COMMAND_HOST_UP,   /* nonce, expected, heir_of: a new life of `host`, see host_table_up(); unnumbered */
	COMMAND_ACQUIRE,   /* flags, mode, key: the host wants the lock */
	COMMAND_RELEASE,   /* delegation, used, flags, key: the host gives the delegation back; in PR `used` and flags mean nothing */
	COMMAND_CANCEL,    /* key: the host no longer wants the lock */
	COMMAND_HOST_DOWN, /* ballot: the leader of this ballot declares the incarnation of `host` dead; unnumbered */
	COMMAND_SWEEP,     /* row: frees some of what ended incarnations of `host` held, from this row on; unnumbered */
};

#define COMMAND_TRY 1u  /* ACQUIRE: do not queue */
#define COMMAND_DIED 2u /* RELEASE: the owner died with it */

struct command {
	uint8_t kind;
	uint8_t flags;
	uint16_t host;
	uint64_t incarnation;
	uint64_t number; /* 1, 2, 3 … within the incarnation; 0: unnumbered */
	union {
		struct {
			uint64_t history;
			uint32_t rows, cells, waits;
		} found;
		struct {
			uint64_t nonce, expected, heir_of;
		} host_up;
		uint64_t ballot; /* HOST_DOWN */
		uint32_t row;    /* SWEEP */
		struct {
			uint64_t delegation;
			uint32_t used;
		} release; /* used: tokens given, 0 .. LOCK_RANGE */
	};
	uint8_t mode; /* ACQUIRE: LOCK_MODE_EX or LOCK_MODE_PR; else 0 */
	uint8_t key_len;
	uint8_t key[KEY_MAX];
};

#define COMMAND_BYTES_MAX 304u /* of one encoded command */

/* Appends; w->ok turns false when it does not fit. */
void command_encode(struct writer *w, const struct command *c);

/* Takes the next; false: the bytes are no command (r->ok is false then, too). Checks kind, host
 * range, key length, `used`, flags, mode. Behind its key *ret is left as it was. */
bool command_decode(struct reader *r, struct command *ret);

/* Whether commands of this kind carry a number: those that a registered host says for itself. */
bool command_numbered(uint8_t kind);

/* Whether only the leader says it, of the cluster or of another host: never taken from a peer. */
bool command_is_leaders(uint8_t kind);

const char *command_name(uint8_t kind); /* for traces */

#endif
