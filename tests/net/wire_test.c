/* SPDX-License-Identifier: Apache-2.0 */
/* wire: what is written is read back; everything else is refused whole. */
#include <criterion/criterion.h>
#include <errno.h>

#include "../../lib/base.h"
#include "../../net/wire.h"

#define VALUE_MAX 256u

/* In the body of a Paxos message. */
#define COUNT_AT (2u + 6 * 8)
#define ENTRY_AT (COUNT_AT + 2)

static unsigned char frame[WIRE_FRAME_MAX + 64];

static const struct wire_hello a_hello = {
	.cluster_id = 0x1122334455667788, .history = 7, .voters_id = ~0ull, .from = 3, .to = 0xfffe, .votes = true, .nonce = 9
};

static int put_hello(void)
{
	int len = wire_put_hello(frame, sizeof(frame), &a_hello);

	cr_assert_eq(len, WIRE_HELLO_SIZE);
	return len;
}

/* A message of `kind` with n entries of `len` bytes each. */
static int put_message(uint8_t kind, uint32_t n, uint32_t len)
{
	static unsigned char value[8192];
	static struct paxos_entry entries[PAXOS_WINDOW_MAX];
	struct paxos_message message = {
		.kind = kind, .flag = true, .ballot = 1ull << 48, .promised = 2, .chosen = 3, .slot = 4, .life = 5, .stamp = 6, .n_entries = n, .entries = entries
	};

	memset(value, 0x5a, sizeof(value));
	for (uint32_t i = 0; i < n; i++)
		entries[i] = (struct paxos_entry){ .slot = 100 + i, .ballot = 5, .kind = PAXOS_COMMANDS, .len = len, .bytes = value };
	return wire_put_paxos(frame, sizeof(frame), &message);
}

static int get_message(int len)
{
	struct paxos_message message;
	struct paxos_entry entries[PAXOS_WINDOW_MAX];

	return wire_get_paxos(frame, (size_t)len, &message, entries, VALUE_MAX);
}

/* Writes the length that the header should have for a frame of `len` bytes. */
static void set_length(size_t len)
{
	struct writer w = writer_on(frame, 4);

	put_u32(&w, (uint32_t)(len - 4));
}

/* ---- the header ---- */

Test(wire, length_is_known_from_the_header_alone)
{
	int len = put_hello();

	for (size_t have = 0; have < WIRE_HEADER; have++)
		cr_expect_eq(wire_frame_length(frame, have), 0);
	cr_expect_eq(wire_frame_length(frame, WIRE_HEADER), len);
	cr_expect_eq(wire_frame_length(frame, sizeof(frame)), len);
}

Test(wire, length_out_of_range_is_refused_as_soon_as_it_is_read)
{
	put_hello();
	set_length(WIRE_FRAME_MAX + 1);
	cr_expect_eq(wire_frame_length(frame, 4), -EMSGSIZE);
	set_length(WIRE_FRAME_MAX);
	cr_expect_eq(wire_frame_length(frame, WIRE_HEADER), (int)WIRE_FRAME_MAX);
	set_length(WIRE_HEADER - 1);
	cr_expect_eq(wire_frame_length(frame, 4), -EMSGSIZE);
	memset(frame, 0xff, 4);
	cr_expect_eq(wire_frame_length(frame, 4), -EMSGSIZE);
}

Test(wire, every_frame_carries_a_version_that_is_checked)
{
	struct wire_hello hello;
	int len = put_hello();

	cr_expect_eq(frame[4], WIRE_VERSION);
	frame[4] = WIRE_VERSION + 1;
	cr_expect_eq(wire_frame_length(frame, (size_t)len), -EPROTO);
	cr_expect_eq(wire_get_hello(frame, (size_t)len, &hello), -EPROTO);
	frame[4] = WIRE_VERSION_OLDEST - 1;
	cr_expect_eq(wire_frame_length(frame, (size_t)len), -EPROTO);
}

Test(wire, integers_are_little_endian)
{
	put_hello();
	cr_expect_eq(frame[0], WIRE_HELLO_SIZE - 4);
	cr_expect_arr_eq(frame + 1, "\0\0\0", 3);
	cr_expect_arr_eq(frame + WIRE_HEADER, "HSXP", 4);
	cr_expect_eq(frame[WIRE_HEADER + 4], 0x88);
}

Test(wire, a_type_is_read_by_its_own_reader_only)
{
	struct wire_hello hello;
	const unsigned char *bytes;
	size_t n;
	int len = put_message(PAXOS_BEAT, 0, 0);

	cr_expect_eq(wire_type_of(frame), WIRE_PAXOS);
	cr_expect_eq(wire_get_hello(frame, (size_t)len, &hello), -EPROTO);
	cr_expect_eq(wire_get_agent(frame, (size_t)len, &bytes, &n), -EPROTO);
	len = put_hello();
	cr_expect_eq(wire_type_of(frame), WIRE_HELLO);
	cr_expect_eq(get_message(len), -EPROTO);
	frame[5] = 77;
	cr_expect_eq((int)wire_type_of(frame), 77);
	cr_expect_eq(wire_get_hello(frame, (size_t)len, &hello), -EPROTO);
}

/* ---- hello ---- */

Test(wire, hello_comes_back)
{
	struct wire_hello hello;
	int len = put_hello();

	cr_assert_eq(wire_get_hello(frame, (size_t)len, &hello), 0);
	cr_expect_eq(hello.cluster_id, a_hello.cluster_id);
	cr_expect_eq(hello.history, a_hello.history);
	cr_expect_eq(hello.voters_id, a_hello.voters_id);
	cr_expect_eq(hello.from, a_hello.from);
	cr_expect_eq(hello.to, a_hello.to);
	cr_expect_eq(hello.votes, a_hello.votes);
	cr_expect_eq(hello.nonce, a_hello.nonce);
}

Test(wire, hello_of_something_else_is_refused)
{
	struct wire_hello hello;
	int len = put_hello();

	frame[WIRE_HEADER] ^= 1; /* magic */
	cr_expect_eq(wire_get_hello(frame, (size_t)len, &hello), -EPROTO);
	put_hello();
	memset(frame + WIRE_HEADER + 28, 0, 2); /* from nobody */
	cr_expect_eq(wire_get_hello(frame, (size_t)len, &hello), -EPROTO);
	put_hello();
	frame[WIRE_HEADER + 32] = 2; /* a truth value that is neither */
	cr_expect_eq(wire_get_hello(frame, (size_t)len, &hello), -EPROTO);
}

/* ---- Paxos ---- */

Test(wire, paxos_message_comes_back)
{
	static const unsigned char bytes[] = "value";
	struct paxos_entry in[2] = {
		{ .slot = 11, .ballot = 12, .kind = PAXOS_LEADS },
		{ .slot = 13, .ballot = 14, .kind = PAXOS_COMMANDS, .len = sizeof(bytes), .bytes = bytes },
	};
	struct paxos_message message = {
		.kind = PAXOS_PROMISE, .flag = true, .ballot = ~0ull, .promised = 1, .chosen = 2, .slot = 3, .life = 4, .stamp = 5, .n_entries = 2, .entries = in
	};
	struct paxos_message got;
	struct paxos_entry out[PAXOS_WINDOW_MAX];
	int len = wire_put_paxos(frame, sizeof(frame), &message);

	cr_assert_gt(len, 0);
	cr_assert_eq(wire_get_paxos(frame, (size_t)len, &got, out, VALUE_MAX), 0);
	cr_expect_eq(got.kind, message.kind);
	cr_expect_eq(got.flag, message.flag);
	cr_expect_eq(got.ballot, message.ballot);
	cr_expect_eq(got.promised, message.promised);
	cr_expect_eq(got.chosen, message.chosen);
	cr_expect_eq(got.slot, message.slot);
	cr_expect_eq(got.life, message.life);
	cr_expect_eq(got.stamp, message.stamp);
	cr_assert_eq(got.n_entries, 2);
	cr_assert_eq(got.entries, out);
	for (int i = 0; i < 2; i++) {
		cr_expect_eq(out[i].slot, in[i].slot);
		cr_expect_eq(out[i].ballot, in[i].ballot);
		cr_expect_eq(out[i].kind, in[i].kind);
		cr_expect_eq(out[i].len, in[i].len);
	}
	cr_expect_arr_eq(out[1].bytes, bytes, sizeof(bytes));
	cr_expect(out[1].bytes > frame && out[1].bytes < frame + len, "entries point into the frame");
}

Test(wire, every_kind_of_message_comes_back)
{
	for (uint8_t kind = PAXOS_PREVOTE; kind <= PAXOS_MOVE; kind++) {
		uint32_t n = kind == PAXOS_ACCEPT || kind == PAXOS_LEARN ? 1 : 0;

		cr_expect_eq(get_message(put_message(kind, n, 8)), 0, "kind %u", kind);
	}
}

/* docs/protocol.md: kind, flag, ballot, promised, chosen, slot, life, stamp, count, entries. */
Test(wire, paxos_fields_stand_where_the_protocol_says)
{
	struct paxos_message message = {
		.kind = PAXOS_MOVE, .flag = true, .ballot = 0x11, .promised = 0x22, .chosen = 0x33, .slot = 0x44, .life = 0x55, .stamp = 0x66
	};
	int len = wire_put_paxos(frame, sizeof(frame), &message);
	const unsigned char *body = frame + WIRE_HEADER;

	cr_assert_eq(len, (int)(WIRE_HEADER + ENTRY_AT));
	cr_expect_eq(body[0], 12);
	cr_expect_eq(body[1], 1);
	for (unsigned i = 0; i < 6; i++) {
		cr_expect_eq(body[2 + 8 * i], 0x11 * (i + 1));
		cr_expect_arr_eq(body + 2 + 8 * i + 1, "\0\0\0\0\0\0\0", 7);
	}
	cr_expect_eq(body[COUNT_AT], 0);
}

Test(wire, a_full_promise_fits)
{
	int len = put_message(PAXOS_PROMISE, PAXOS_WINDOW_MAX, 8160);
	struct paxos_message message;
	struct paxos_entry entries[PAXOS_WINDOW_MAX];

	cr_assert_gt(len, 0);
	cr_expect_eq(wire_get_paxos(frame, (size_t)len, &message, entries, 8160), 0);
	cr_expect_eq(message.n_entries, PAXOS_WINDOW_MAX);
}

Test(wire, what_does_not_fit_is_not_written)
{
	unsigned char small[WIRE_HELLO_SIZE];
	static unsigned char big[WIRE_FRAME_MAX];

	for (size_t cap = 0; cap < WIRE_HELLO_SIZE; cap++)
		cr_expect_eq(wire_put_hello(small, cap, &a_hello), -EMSGSIZE);
	cr_expect_eq(wire_put_hello(small, sizeof(small), &a_hello), WIRE_HELLO_SIZE);
	cr_expect_eq(wire_put_agent(frame, sizeof(frame), big, WIRE_FRAME_MAX - WIRE_HEADER), (int)WIRE_FRAME_MAX);
	cr_expect_eq(wire_put_agent(frame, sizeof(frame), big, WIRE_FRAME_MAX - WIRE_HEADER + 1), -EMSGSIZE);
}

Test(wire, paxos_fields_out_of_range_are_refused)
{
	static const struct {
		size_t at;
		unsigned char byte;
		const char *what;
	} wrong[] = {
		{ 0, 0, "kind 0" },
		{ 0, PAXOS_MOVE + 1, "unknown kind" },
		{ 0, PAXOS_BEAT, "a kind without entries" },
		{ 1, 2, "flag" },
		{ COUNT_AT, 0, "no entry where there is one" },
		{ COUNT_AT, 2, "more entries than there are" },
		{ COUNT_AT + 1, 1, "more entries than a window" },
		{ ENTRY_AT + 16, 0, "kind of value 0" },
		{ ENTRY_AT + 16, PAXOS_COMMANDS + 1, "unknown kind of value" },
		{ ENTRY_AT + 17, 7, "a value shorter than it is" },
		{ ENTRY_AT + 17, 9, "a value longer than it is" },
		{ ENTRY_AT + 20, 0x80, "a huge value" },
	};

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		int len = put_message(PAXOS_LEARN, 1, 8);

		cr_assert_eq(get_message(len), 0);
		frame[WIRE_HEADER + wrong[i].at] = wrong[i].byte;
		cr_expect_eq(get_message(len), -EPROTO, "%s", wrong[i].what);
	}
	cr_expect_eq(get_message(put_message(PAXOS_LEARN, 1, VALUE_MAX)), 0);
	cr_expect_eq(get_message(put_message(PAXOS_LEARN, 1, VALUE_MAX + 1)), -EPROTO, "a value above value_max");
}

/* ---- frames cut and stretched ---- */

Test(wire, truncated_and_stretched_frames_are_refused)
{
	struct wire_hello hello;
	int len = put_hello();

	for (int cut = 0; cut < len; cut++) {
		cr_expect_eq(wire_get_hello(frame, (size_t)cut, &hello), -EPROTO);
		if (cut < (int)WIRE_HEADER)
			continue;
		set_length((size_t)cut); /* now the header agrees, and the body is short */
		cr_expect_eq(wire_get_hello(frame, (size_t)cut, &hello), -EPROTO);
		put_hello();
	}
	cr_expect_eq(wire_get_hello(frame, (size_t)len + 1, &hello), -EPROTO);
	set_length((size_t)len + 1);
	cr_expect_eq(wire_get_hello(frame, (size_t)len + 1, &hello), -EPROTO, "trailing bytes");

	len = put_message(PAXOS_LEARN, 1, 8);
	for (int cut = WIRE_HEADER; cut < len; cut++) {
		set_length((size_t)cut);
		cr_expect_eq(get_message(cut), -EPROTO);
	}
	set_length((size_t)len + 1);
	cr_expect_eq(get_message(len + 1), -EPROTO, "trailing bytes");
}

/* ---- agents ---- */

Test(wire, agent_bytes_come_back)
{
	const unsigned char *bytes;
	size_t n;
	int len = wire_put_agent(frame, sizeof(frame), "abc", 3);

	cr_assert_eq(wire_get_agent(frame, (size_t)len, &bytes, &n), 0);
	cr_expect_eq(n, 3);
	cr_expect_arr_eq(bytes, "abc", 3);
	cr_expect_eq(wire_get_agent(frame, (size_t)len - 1, &bytes, &n), -EPROTO);
	len = wire_put_agent(frame, sizeof(frame), NULL, 0);
	cr_assert_eq(wire_get_agent(frame, (size_t)len, &bytes, &n), 0);
	cr_expect_eq(n, 0);
}
