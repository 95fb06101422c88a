/* SPDX-License-Identifier: Apache-2.0 */
/* command: what is encoded is decoded; every other run of bytes is refused. */
#include <criterion/criterion.h>

#include "../../../shm/state/command.h"

static struct command a_command(uint8_t kind)
{
	struct command c = { .kind = kind, .host = 0x0102, .incarnation = 0x1112131415161718, .number = 0x21 };

	switch (kind) {
	case COMMAND_FOUND:
		c.number = 0;
		c.found.history = ~0ull;
		c.found.rows = 1;
		c.found.cells = 2;
		c.found.waits = UINT32_MAX;
		break;
	case COMMAND_HOST_UP:
		c.number = 0;
		c.host_up.nonce = 7;
		c.host_up.expected = 1ull << 63;
		c.host_up.heir_of = ~7ull;
		break;
	case COMMAND_HOST_DOWN:
		c.number = 0;
		c.ballot = 0x4142434445464748;
		break;
	case COMMAND_SWEEP:
		c.number = 0;
		c.row = 0xfedcba98;
		break;
	case COMMAND_ACQUIRE:
		c.flags = COMMAND_TRY;
		c.mode = LOCK_MODE_PR;
		break;
	case COMMAND_RELEASE:
		c.flags = COMMAND_DIED;
		c.release.delegation = 0x3132333435363738;
		c.release.used = LOCK_RANGE;
		break;
	}
	if (kind == COMMAND_ACQUIRE || kind == COMMAND_RELEASE || kind == COMMAND_CANCEL) {
		c.key_len = 3;
		memcpy(c.key, "a\0b", 3);
	}
	return c;
}

static size_t encode(unsigned char *bytes, const struct command *c)
{
	struct writer w = writer_on(bytes, COMMAND_BYTES_MAX);

	command_encode(&w, c);
	cr_assert(w.ok);
	return w.len;
}

static void refused(const unsigned char *bytes, size_t len, const char *what)
{
	struct reader r = reader_on(bytes, len);
	struct command c, untouched;

	memset(&c, 0x5a, sizeof(c));
	untouched = c;
	cr_assert_not(command_decode(&r, &c), "%s", what);
	cr_assert_not(r.ok, "%s", what);
	cr_assert_eq(memcmp(&c, &untouched, sizeof(c)), 0, "%s", what);
}

/* The bytes of a command with one byte, or `size` of them, replaced. */
static void refused_with(uint8_t kind, size_t at, uint64_t value, size_t size, const char *what)
{
	unsigned char bytes[COMMAND_BYTES_MAX];
	struct command c = a_command(kind);
	size_t len = encode(bytes, &c);
	struct writer w = writer_on(bytes + at, size);

	put_uint(&w, value, size);
	refused(bytes, len, what);
}

#define AT_HOST 1
#define AT_NUMBER 11
#define AT_FIELDS 19

Test(command, every_kind_is_read_back)
{
	for (uint8_t kind = COMMAND_FOUND; kind <= COMMAND_SWEEP; kind++) {
		unsigned char bytes[COMMAND_BYTES_MAX];
		struct command c = a_command(kind), back = { 0 };
		size_t len = encode(bytes, &c);
		struct reader r = reader_on(bytes, len);

		cr_assert(command_decode(&r, &back));
		cr_assert(reader_done(&r));
		cr_assert_eq(memcmp(&c, &back, sizeof(c)), 0, "kind %u", kind);
	}
}

Test(command, bytes_stand_in_the_documented_order)
{
	static const unsigned char expected[] = {
		COMMAND_RELEASE, 0x02, 0x01, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, 0x21, 0, 0, 0, 0, 0, 0, 0,
		0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31, 0, 0, 0, 0x40, COMMAND_DIED, 3, 'a', 0, 'b'
	};
	unsigned char bytes[COMMAND_BYTES_MAX];
	struct command c = a_command(COMMAND_RELEASE);

	cr_assert_eq(encode(bytes, &c), sizeof(expected));
	cr_assert_eq(memcmp(bytes, expected, sizeof(expected)), 0);
}

Test(command, both_modes_are_read_back)
{
	static const uint8_t modes[] = { LOCK_MODE_EX, LOCK_MODE_PR };

	for (unsigned i = 0; i < ARRAY_LEN(modes); i++) {
		unsigned char bytes[COMMAND_BYTES_MAX];
		struct command c = a_command(COMMAND_ACQUIRE), back = { 0 };

		c.mode = modes[i];

		struct reader r = reader_on(bytes, encode(bytes, &c));

		cr_assert(command_decode(&r, &back));
		cr_assert_eq(back.mode, modes[i]);
		cr_assert_eq(bytes[AT_FIELDS + 1], modes[i], "behind the flags");
	}
}

Test(command, a_row_of_commands_is_read_one_by_one)
{
	unsigned char bytes[8 * COMMAND_BYTES_MAX];
	struct writer w = writer_on(bytes, sizeof(bytes));
	struct command c;

	for (uint8_t kind = COMMAND_FOUND; kind <= COMMAND_SWEEP; kind++) {
		c = a_command(kind);
		command_encode(&w, &c);
	}
	struct reader r = reader_on(bytes, w.len);

	for (uint8_t kind = COMMAND_FOUND; kind <= COMMAND_SWEEP; kind++) {
		cr_assert(command_decode(&r, &c));
		cr_assert_eq(c.kind, kind);
	}
	cr_assert(reader_done(&r));
}

Test(command, the_longest_fits_where_it_should)
{
	unsigned char bytes[COMMAND_BYTES_MAX];
	struct command c = a_command(COMMAND_RELEASE);
	size_t len;

	c.key_len = KEY_MAX;
	len = encode(bytes, &c);
	for (size_t cap = 0; cap < len; cap++) {
		struct writer w = writer_on(bytes, cap);

		command_encode(&w, &c);
		cr_assert_not(w.ok);
	}
}

Test(command, cut_short_it_is_refused)
{
	for (uint8_t kind = COMMAND_FOUND; kind <= COMMAND_SWEEP; kind++) {
		unsigned char bytes[COMMAND_BYTES_MAX];
		struct command c = a_command(kind);
		size_t len = encode(bytes, &c);

		for (size_t cut = 0; cut < len; cut++)
			refused(bytes, cut, "cut short");
	}
}

Test(command, fields_out_of_range_are_refused)
{
	refused_with(COMMAND_CANCEL, 0, 0, 1, "kind 0");
	refused_with(COMMAND_CANCEL, 0, COMMAND_SWEEP + 1, 1, "an unknown kind");
	refused_with(COMMAND_CANCEL, 0, 255, 1, "an unknown kind");
	refused_with(COMMAND_CANCEL, AT_HOST, 0, 2, "host 0");
	refused_with(COMMAND_CANCEL, AT_HOST, HOSTS_MAX, 2, "a host too high");
	refused_with(COMMAND_CANCEL, AT_NUMBER, 0, 8, "no number");
	refused_with(COMMAND_FOUND, AT_NUMBER, 1, 8, "FOUND with a number");
	refused_with(COMMAND_HOST_UP, AT_NUMBER, 1, 8, "HOST_UP with a number");
	refused_with(COMMAND_HOST_DOWN, AT_NUMBER, 1, 8, "HOST_DOWN with a number");
	refused_with(COMMAND_SWEEP, AT_NUMBER, 1, 8, "SWEEP with a number");
	refused_with(COMMAND_FOUND, AT_FIELDS, 0, 8, "history 0");
	refused_with(COMMAND_ACQUIRE, AT_FIELDS, COMMAND_DIED, 1, "RELEASE's flag on an ACQUIRE");
	refused_with(COMMAND_ACQUIRE, AT_FIELDS, 0x80, 1, "an unknown flag");
	for (uint64_t mode = 0; mode < 256; mode++)
		if (mode != LOCK_MODE_EX && mode != LOCK_MODE_PR)
			refused_with(COMMAND_ACQUIRE, AT_FIELDS + 1, mode, 1, "a mode that there is not");
	refused_with(COMMAND_ACQUIRE, AT_FIELDS + 2, 0, 1, "a key of length 0");
	refused_with(COMMAND_RELEASE, AT_FIELDS + 8, LOCK_RANGE + 1, 4, "more used than reserved");
	refused_with(COMMAND_RELEASE, AT_FIELDS + 12, COMMAND_TRY, 1, "ACQUIRE's flag on a RELEASE");
	refused_with(COMMAND_CANCEL, AT_FIELDS, 0, 1, "a key of length 0");
}

Test(command, hosts_and_keys_reach_their_limits)
{
	unsigned char bytes[COMMAND_BYTES_MAX];
	struct command c = a_command(COMMAND_CANCEL), back = { 0 };
	struct reader r;

	c.host = HOSTS_MAX - 1;
	c.key_len = KEY_MAX;
	memset(c.key, 0xff, KEY_MAX);
	r = reader_on(bytes, encode(bytes, &c));
	cr_assert(command_decode(&r, &back));
	cr_assert_eq(memcmp(&c, &back, sizeof(c)), 0);
}

Test(command, a_host_numbers_what_it_wants_for_itself)
{
	for (uint8_t kind = 0; kind < UINT8_MAX; kind++)
		cr_expect_eq(command_numbered(kind), kind == COMMAND_ACQUIRE || kind == COMMAND_RELEASE || kind == COMMAND_CANCEL,
			     "%s", command_name(kind));
}

/* A peer may say what it wants, and that it lives: nothing else. */
Test(command, of_the_cluster_and_of_other_hosts_only_the_leader_speaks)
{
	for (uint8_t kind = COMMAND_FOUND; kind <= COMMAND_SWEEP; kind++)
		cr_expect_eq(command_is_leaders(kind), kind == COMMAND_FOUND || kind == COMMAND_HOST_DOWN || kind == COMMAND_SWEEP,
			     "%s", command_name(kind));
}

Test(command, names_are_for_people)
{
	cr_assert_str_eq(command_name(COMMAND_HOST_UP), "host-up");
	cr_assert_str_eq(command_name(COMMAND_HOST_DOWN), "host-down");
	cr_assert_str_eq(command_name(COMMAND_SWEEP), "sweep");
	cr_assert_str_eq(command_name(0), "unknown");
	cr_assert_str_eq(command_name(255), "unknown");
}
