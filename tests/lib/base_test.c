/* SPDX-License-Identifier: Apache-2.0 */
/* base: the reader and the writer keep their bounds; the hash is stable, because it goes over the wire. */
#include "../../lib/base.h"

#include <criterion/criterion.h>
#include <signal.h>

Test(base, numbers_are_little_endian_whatever_the_host_is)
{
	unsigned char bytes[15];
	struct writer w = writer_on(bytes, sizeof(bytes));

	put_u8(&w, 0x01);
	put_u16(&w, 0x0302);
	put_u32(&w, 0x07060504);
	put_u64(&w, 0x0f0e0d0c0b0a0908);
	cr_assert(w.ok);
	cr_assert_eq(w.len, 15);
	for (unsigned i = 0; i < 15; i++)
		cr_assert_eq(bytes[i], i + 1);

	struct reader r = reader_on(bytes, sizeof(bytes));
	cr_assert_eq(get_u8(&r), 0x01);
	cr_assert_eq(get_u16(&r), 0x0302);
	cr_assert_eq(reader_left(&r), 12);
	cr_assert_eq(get_u32(&r), 0x07060504);
	cr_assert_eq(get_u64(&r), 0x0f0e0d0c0b0a0908);
	cr_assert(reader_done(&r));
}

Test(base, a_writer_never_writes_past_its_end_and_stays_bad)
{
	unsigned char bytes[4] = { 9, 9, 9, 9 };
	struct writer w = writer_on(bytes, 3);

	put_u16(&w, 0);
	put_u16(&w, 0);
	cr_assert_not(w.ok);
	cr_assert_eq(w.len, 2);
	put_u8(&w, 0); /* this one would fit */
	cr_assert_not(w.ok);
	cr_assert_eq(w.len, 2);
	cr_assert_eq(bytes[2], 9);
	cr_assert_eq(bytes[3], 9);
}

Test(base, a_reader_never_reads_past_its_end_gives_zeros_and_stays_bad)
{
	unsigned char bytes[3] = { 1, 2, 3 };
	struct reader r = reader_on(bytes, sizeof(bytes));

	cr_assert_eq(get_u16(&r), 0x0201);
	cr_assert_eq(get_u16(&r), 0);
	cr_assert_not(r.ok);
	cr_assert_eq(get_u8(&r), 0);
	cr_assert_null(get_bytes(&r, 0));
	cr_assert_eq(reader_left(&r), 0);
	cr_assert_not(reader_done(&r));
}

Test(base, a_length_near_the_largest_is_refused_and_does_not_wrap)
{
	unsigned char bytes[8] = { 0 };
	struct reader r = reader_on(bytes, sizeof(bytes));
	struct writer w = writer_on(bytes, sizeof(bytes));
	volatile size_t largest = SIZE_MAX; /* or the compiler warns of what is tried here */

	get_u8(&r);
	cr_assert_null(get_bytes(&r, largest));
	put_u8(&w, 0);
	put_bytes(&w, bytes, largest);
	cr_assert_not(w.ok);
}

Test(base, a_reader_is_done_only_when_nothing_is_left_over)
{
	struct reader r = reader_on("ab", 2);

	get_u8(&r);
	cr_assert_not(reader_done(&r));
	get_u8(&r);
	cr_assert(reader_done(&r));
}

Test(base, bytes_are_answered_in_place)
{
	const char text[] = "abcdef";
	struct reader r = reader_on(text, 6);

	get_u8(&r);
	cr_assert_eq((const char *)get_bytes(&r, 3), text + 1);
	cr_assert_eq(get_u8(&r), 'e');
}

/* Hosts compare tables by it: who changes the function changes the protocol. */
Test(base, the_hash_is_what_it_always_was)
{
	cr_assert_eq(hash_mix(1), 0xe8bc15092a6ed3b9ull);
	cr_assert_eq(hash_bytes(0, "", 0), 0x0ull);
	cr_assert_eq(hash_bytes(0, "apple", 5), 0x7d445ee7d7dc7f6dull);
	cr_assert_eq(hash_bytes(7, "a longer key than one word", 26), 0xeb0a6404bfb2ca8dull);
}

Test(base, the_hash_sees_length_seed_order_and_trailing_zeros)
{
	uint64_t h = hash_bytes(0, "ab\0\0\0\0\0\0\0", 2);

	for (size_t len = 3; len <= 9; len++)
		cr_assert_neq(hash_bytes(0, "ab\0\0\0\0\0\0\0", len), h);
	cr_assert_neq(hash_bytes(1, "ab", 2), h);
	cr_assert_neq(hash_bytes(0, "ba", 2), h);
	cr_assert_neq(hash_bytes(0, "12345678abcdefgh", 16), hash_bytes(0, "abcdefgh12345678", 16));
}

Test(base, the_hash_reads_unaligned_bytes)
{
	char bytes[40];

	for (unsigned shift = 0; shift < 8; shift++) {
		memcpy(bytes + shift, "the same bytes elsewhere", 24);
		cr_assert_eq(hash_bytes(0, bytes + shift, 24), hash_bytes(0, "the same bytes elsewhere", 24));
	}
}

Test(base, mixing_loses_nothing_and_spreads_neighbours)
{
	unsigned places[256] = { 0 };

	for (uint64_t i = 0; i < 25600; i++)
		places[hash_mix(i) & 255]++;
	for (unsigned i = 0; i < 256; i++)
		cr_assert(places[i] > 50 && places[i] < 170, "place %u: %u of about 100", i, places[i]);
}

Test(base, a_seed_replays_its_stream)
{
	uint64_t a = 42, b = 42, c = 43;

	for (unsigned i = 0; i < 100; i++) {
		uint64_t n = random_next(&a);
		cr_assert_eq(n, random_next(&b));
		cr_assert_neq(n, random_next(&c));
	}
}

Test(base, align_up_goes_to_the_next_multiple)
{
	cr_assert_eq(align_up(0, 8), 0);
	cr_assert_eq(align_up(1, 8), 8);
	cr_assert_eq(align_up(8, 8), 8);
	cr_assert_eq(align_up(4097, 4096), 8192);
}

Test(base, align_up_takes_powers_of_two_only, .signal = SIGABRT)
{
	align_up(1, 24);
}

Test(base, a_fact_that_does_not_hold_ends_the_process, .signal = SIGABRT)
{
	ASSERT(1 + 1 == 3);
}
