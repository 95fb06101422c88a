/* SPDX-License-Identifier: Apache-2.0 */
/* stream: however bytes are cut, the same frames come out. */
#include <criterion/criterion.h>
#include <errno.h>

#include "../../lib/base.h"
#include "../../net/stream.h"

static unsigned char bytes[WIRE_FRAME_MAX + 4096];

/* n frames, the i-th with i bytes of payload; answers their length altogether. */
static size_t fill(unsigned n)
{
	unsigned char payload[64];
	size_t len = 0;

	for (unsigned i = 0; i < n; i++) {
		memset(payload, (int)i, sizeof(payload));
		len += (size_t)wire_put_agent(bytes + len, sizeof(bytes) - len, payload, i);
	}
	return len;
}

/* Frame number i and nothing else. */
static void expect_frame(const unsigned char *frame, int whole, unsigned i)
{
	const unsigned char *payload;
	size_t len;

	cr_assert_eq(whole, (int)(WIRE_HEADER + i));
	cr_assert_eq(wire_get_agent(frame, (size_t)whole, &payload, &len), 0);
	cr_assert_eq(len, i);
	for (size_t at = 0; at < len; at++)
		cr_assert_eq(payload[at], i);
}

Test(stream, frames_come_out_however_they_are_cut)
{
	enum { FRAMES = 20 };
	size_t total = fill(FRAMES);

	for (size_t piece = 1; piece <= total; piece++) {
		struct stream s = { 0 };
		unsigned n = 0;

		for (size_t at = 0; at < total; at += piece) {
			const unsigned char *from = bytes + at, *frame;
			size_t len = MIN(piece, total - at);
			int whole;

			while ((whole = stream_next(&s, &from, &len, WIRE_FRAME_MAX, &frame)) > 0)
				expect_frame(frame, whole, n++);
			cr_assert_eq(whole, 0);
			cr_assert_eq(len, 0);
		}
		cr_assert_eq(n, FRAMES, "in pieces of %zu", piece);
		stream_release(&s.part);
	}
}

Test(stream, a_whole_frame_is_read_where_it_lies)
{
	struct stream s = { 0 };
	const unsigned char *from = bytes, *frame;
	size_t len = fill(3);

	for (unsigned i = 0; i < 3; i++) {
		const unsigned char *begin = from;

		cr_assert_gt(stream_next(&s, &from, &len, WIRE_FRAME_MAX, &frame), 0);
		cr_expect_eq(frame, begin);
	}
	cr_expect_null(s.part.bytes);
}

Test(stream, nothing_is_taken_beyond_the_frame_that_is_gathered)
{
	struct stream s = { 0 };
	const unsigned char *from = bytes, *frame;
	size_t len = 8, total = fill(9);

	bytes[0] = 40 - 4; /* a first frame of 40 bytes, of which 8 have come */
	cr_assert_eq(stream_next(&s, &from, &len, WIRE_FRAME_MAX, &frame), 0);
	len = total - 8;
	cr_assert_eq(stream_next(&s, &from, &len, WIRE_FRAME_MAX, &frame), 40);
	cr_expect_eq(from, bytes + 40);
	cr_expect_eq(len, total - 40);
	cr_expect_arr_eq(frame, bytes, 40);
	stream_release(&s.part);
}

Test(stream, a_length_that_cannot_be_ends_it_as_soon_as_it_is_known)
{
	static const unsigned char too_long[] = { 0xff, 0xff, 0xff, 0xff };
	struct stream s = { 0 };
	const unsigned char *from, *frame;
	size_t len;
	int rc = 0;

	for (unsigned i = 0; i < 4; i++) {
		cr_assert_eq(rc, 0);
		from = too_long + i;
		len = 1;
		rc = stream_next(&s, &from, &len, WIRE_FRAME_MAX, &frame);
	}
	cr_expect_eq(rc, -EMSGSIZE);
	stream_release(&s.part);
}

Test(stream, frames_above_the_given_length_are_refused_before_memory_is_taken)
{
	struct stream s = { 0 };
	const unsigned char *from = bytes, *frame;
	size_t len = WIRE_HEADER;

	fill(1);
	bytes[1] = 4; /* 1 KiB */
	cr_expect_eq(stream_next(&s, &from, &len, 256, &frame), -EMSGSIZE);
	cr_expect_eq(s.part.cap, 0);
}

Test(stream, a_version_that_we_do_not_speak_shows_its_header)
{
	struct stream s = { 0 };
	const unsigned char *from = bytes, *frame;
	size_t len = fill(1);

	bytes[4] = WIRE_VERSION + 1;
	cr_expect_eq(stream_next(&s, &from, &len, WIRE_FRAME_MAX, &frame), -EPROTO);
	cr_expect_eq(frame[4], WIRE_VERSION + 1);
}

Test(stream, much_memory_is_given_back_when_it_is_not_needed)
{
	struct stream_buffer b = { 0 };

	cr_assert(stream_append(&b, bytes, 100));
	stream_empty(&b);
	cr_expect_gt(b.cap, 0);
	cr_assert(stream_append(&b, bytes, WIRE_FRAME_MAX));
	cr_expect_eq(b.len, WIRE_FRAME_MAX);
	stream_empty(&b);
	cr_expect_eq(b.cap, 0);
	cr_expect_eq(b.len, 0);
	stream_release(&b);
}
