/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream: whole frames out of the bytes of a connection, which come split and merged as they please.
 * A frame that was received in one piece is read where it lies; only what is not whole yet is copied,
 * and never a byte beyond the end of its frame.
 *
 * Allocates, otherwise pure. Who may enter: links.
 */
#ifndef PAXSHM_NET_STREAM_H
#define PAXSHM_NET_STREAM_H

#include "wire.h"

/* Zeroed: empty. */
struct stream_buffer {
	unsigned char *bytes;
	size_t len, cap;
};

bool stream_append(struct stream_buffer *b, const void *bytes, size_t len); /* false: out of memory, nothing changed */
void stream_empty(struct stream_buffer *b);                                 /* keeps its memory unless that is much */
void stream_release(struct stream_buffer *b);

/* What is not a whole frame yet. Zeroed: nothing. */
struct stream {
	struct stream_buffer part;
	bool taken;
};

/* The next frame of what came before and *bytes, which it moves on: its length and where it lies until the next
 * call; 0: all was taken, more is needed; -EMSGSIZE: a length that is not possible or above `max`; -EPROTO: a version
 * that we do not speak, *ret_frame points to the header; -ENOMEM. After an error the stream is of no use. */
int stream_next(struct stream *s, const unsigned char **bytes, size_t *len, size_t max, const unsigned char **ret_frame);

#endif
