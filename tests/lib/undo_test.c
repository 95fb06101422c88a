/* SPDX-License-Identifier: Apache-2.0 */
/*
 * undo: after death at any save, and at any moment of the putting back, the memory is as it was at
 * the last commit, byte for byte.
 */
#include "../../lib/undo.h"

#include <criterion/criterion.h>
#include <setjmp.h>
#include <signal.h>

#define WORDS 64u
#define LOG_WORDS 256u

struct odd { /* fields that share words */
	uint32_t a, b;
	uint16_t c, d;
	uint8_t e[5];
};

static struct {
	uint64_t first[WORDS];
	struct odd second[8];
	_Alignas(8) unsigned char log[sizeof(struct undo_log) + LOG_WORDS * 8];
} memory, before;

static struct undo undo;
static jmp_buf death;

static void init(void)
{
	undo = (struct undo){ .log = (struct undo_log *)memory.log };
	undo.log->capacity = LOG_WORDS;
	undo_add_area(&undo, memory.first, sizeof(memory.first));
	undo_add_area(&undo, memory.second, sizeof(memory.second));
	for (unsigned i = 0; i < WORDS; i++)
		memory.first[i] = hash_mix(i);
	for (unsigned i = 0; i < 8; i++)
		memory.second[i] = (struct odd){ .a = i, .b = i + 1, .d = 7, .e = { 1, 2, 3 } };
	before = memory;
}

static bool as_before(void)
{
	return memcmp(memory.first, before.first, sizeof(memory.first)) == 0 &&
	       memcmp(memory.second, before.second, sizeof(memory.second)) == 0;
}

static void change(void)
{
	SET(&undo, memory.first[0], 1);
	SET(&undo, memory.first[0], 2); /* the same word twice: the oldest value counts */
	SET(&undo, memory.second[7].e[4], 9);
	SET(&undo, memory.second[3].b, 11);
	SET(&undo, memory.second[3].a, 12);
	SET_RELEASE(&undo, memory.second[3].d, 13);
	undo_save(&undo, &memory.first[10], 50 * 8);
	memset(&memory.first[10], 0xee, 50 * 8);
	undo_save(&undo, (char *)&memory.first[8] + 3, 7); /* across two words */
	memset((char *)&memory.first[8] + 3, 0xdd, 7);
	SET(&undo, memory.first[WORDS - 1], 0);
}

static void die_at_zero(void *context)
{
	unsigned *left = context;

	if ((*left)-- == 0)
		longjmp(death, 1);
}

static bool dies_at_save(unsigned save)
{
	undo.probe = die_at_zero;
	undo.probe_context = &save;
	if (setjmp(death))
		return true;
	change();
	return false;
}

Test(undo, death_at_any_save_is_taken_back_byte_for_byte)
{
	unsigned save = 0;

	init();
	for (; dies_at_save(save); save++) {
		cr_assert(undo_rollback(&undo));
		cr_assert(as_before(), "after death at save %u", save);
		cr_assert_eq(undo.log->used, 0);
	}
	cr_assert_eq(save, 9);
	cr_assert(undo_rollback(&undo)); /* died just before the commit */
	cr_assert(as_before());
}

Test(undo, what_was_committed_stays)
{
	init();
	change();
	undo_commit(&undo);
	before = memory;
	cr_assert_not(undo_rollback(&undo));
	cr_assert(as_before());
}

Test(undo, only_the_last_group_is_taken_back)
{
	init();
	SET(&undo, memory.first[3], 33);
	undo_commit(&undo);
	before = memory;
	change();
	undo_rollback(&undo);
	cr_assert(as_before());
	cr_assert_eq(memory.first[3], 33);
}

/* The log's records stay where they are while it is read from its end: a rollback that dies before
 * it shortens the log does that record again. */
Test(undo, putting_back_may_itself_be_interrupted_anywhere)
{
	init();
	change();

	uint64_t ends[16], n = 0;
	for (uint64_t used = undo.log->used; used; used -= 1 + (undo.log->words[used - 1] >> 32 & 0xffffff))
		ends[n++] = used;
	cr_assert_eq(n, 9);

	for (uint64_t i = 0; i < n; i++) {
		init();
		change();
		undo_rollback(&undo);
		undo.log->used = ends[i]; /* as if death came after record i and before its end was noted */
		undo_rollback(&undo);
		cr_assert(as_before());
	}
}

Test(undo, a_successor_with_the_areas_elsewhere_puts_back_too)
{
	static uint64_t elsewhere[WORDS];
	struct undo successor = { 0 };

	init();
	SET(&undo, memory.first[5], 55);
	memcpy(elsewhere, memory.first, sizeof(elsewhere));
	successor.log = undo.log;
	undo_add_area(&successor, elsewhere, sizeof(elsewhere));
	undo_add_area(&successor, memory.second, sizeof(memory.second));
	undo_rollback(&successor);
	cr_assert_eq(elsewhere[5], before.first[5]);
	cr_assert_eq(memory.first[5], 55);
}

Test(undo, without_a_log_nothing_is_remembered)
{
	struct undo none = { 0 };
	uint64_t word = 1;

	SET(&none, word, 2);
	SET((struct undo *)NULL, word, 3);
	undo_commit(&none);
	undo_commit(NULL);
	cr_assert_not(undo_rollback(&none));
	cr_assert_not(undo_rollback(NULL));
	cr_assert_eq(word, 3);
}

Test(undo, memory_outside_the_areas_is_an_error_of_the_program, .signal = SIGABRT)
{
	static uint64_t outside;

	init();
	SET(&undo, outside, 1);
}

Test(undo, a_range_over_the_end_of_an_area_is_an_error_of_the_program, .signal = SIGABRT)
{
	init();
	undo_save(&undo, &memory.first[WORDS - 1], 16);
}

Test(undo, a_full_log_is_never_silent, .signal = SIGABRT)
{
	init();
	for (unsigned i = 0; i < LOG_WORDS; i++)
		SET(&undo, memory.first[0], i);
}

Test(undo, a_log_may_be_filled_to_its_last_word)
{
	init();
	for (unsigned i = 0; i < LOG_WORDS / 2; i++)
		SET(&undo, memory.first[0], i);
	cr_assert_eq(undo.log->used, LOG_WORDS);
	undo_rollback(&undo);
	cr_assert(as_before());
}

static unsigned heard;

static void look_before(void *context, const void *at)
{
	cr_assert_eq(context, &heard);
	cr_assert_eq(at, &memory.first[3]);
	cr_assert_eq(memory.first[3], hash_mix(3), "it has changed already");
	heard++;
}

Test(undo, who_writes_memory_down_hears_of_a_change_before_it)
{
	init();
	undo.before = look_before;
	undo.before_context = &heard;
	SET(&undo, memory.first[3], 1);
	cr_assert_eq(heard, 1);
	undo.log = NULL; /* also where nothing is logged */
	memory.first[3] = hash_mix(3);
	SET(&undo, memory.first[3], 2);
	cr_assert_eq(heard, 2);
	undo.before = NULL;
	SET(&undo, memory.first[3], 3);
	cr_assert_eq(heard, 2);
}
