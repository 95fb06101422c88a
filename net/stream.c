/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream: see stream.h.
 */
#include "stream.h"

#include <errno.h>

#include "../lib/base.h"

#define CAP_MIN 256u
#define CAP_KEPT (256u * 1024)

static bool reserve(struct stream_buffer *b, size_t cap)
{
	size_t grown = MAX(b->cap, CAP_MIN);
	unsigned char *bytes;

	if (cap <= b->cap)
		return true;
	while (grown < cap)
		grown *= 2;
	bytes = realloc(b->bytes, grown);
	if (!bytes)
		return false;
	b->bytes = bytes;
	b->cap = grown;
	return true;
}

bool stream_append(struct stream_buffer *b, const void *bytes, size_t len)
{
	if (!reserve(b, b->len + len))
		return false;
	memcpy(b->bytes + b->len, bytes, len);
	b->len += len;
	return true;
}

void stream_release(struct stream_buffer *b)
{
	free(b->bytes);
	*b = (struct stream_buffer){ 0 };
}

void stream_empty(struct stream_buffer *b)
{
	b->len = 0;
	if (b->cap > CAP_KEPT)
		stream_release(b);
}

/* The length of the frame that begins here; 0: not known yet. */
static int length_within(const unsigned char *bytes, size_t len, size_t max)
{
	int whole = wire_frame_length(bytes, len);

	return whole > 0 && (size_t)whole > max ? -EMSGSIZE : whole;
}

/* Copies what the part lacks, its header first: 0, or -ENOMEM. */
static int gather(struct stream_buffer *part, size_t want, const unsigned char **bytes, size_t *len)
{
	size_t n = MIN(*len, want - part->len);

	if (!reserve(part, want) || !stream_append(part, *bytes, n))
		return -ENOMEM;
	*bytes += n;
	*len -= n;
	return 0;
}

int stream_next(struct stream *s, const unsigned char **bytes, size_t *len, size_t max, const unsigned char **ret_frame)
{
	struct stream_buffer *part = &s->part;

	if (s->taken)
		stream_empty(part);
	s->taken = false;

	for (;;) {
		const unsigned char *begin = part->len ? part->bytes : *bytes;
		int whole = length_within(begin, part->len ? part->len : *len, max);

		if (whole < 0) {
			*ret_frame = begin;
			return whole;
		}
		if (whole && part->len == (size_t)whole) {
			*ret_frame = begin;
			s->taken = true;
			return whole;
		}
		if (whole && !part->len && (size_t)whole <= *len) {
			*ret_frame = begin;
			*bytes += whole;
			*len -= (size_t)whole;
			return whole;
		}
		if (!*len)
			return 0;
		if (gather(part, whole ? (size_t)whole : WIRE_HEADER, bytes, len) < 0)
			return -ENOMEM;
	}
}
