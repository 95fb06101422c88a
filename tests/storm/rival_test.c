/* SPDX-License-Identifier: Apache-2.0 */
/* What of a rival can be wrong without anybody's noticing: who may wait for whom, and that locks are not each other. */
#include <criterion/criterion.h>
#include <string.h>

#include "../../lib/paxshm.h"
#include "rival.h"

TestSuite(rival, .timeout = 60);

static bool may_wait(enum rival_phase a, uint32_t lock_a, enum rival_phase b, uint32_t lock_b)
{
	struct rival_play waits[RIVAL_PLAYS] = { { .phase = RIVAL_OWNING, .lock = 9 }, { .phase = a, .lock = lock_a } };
	struct rival_play stands[RIVAL_PLAYS] = { { .phase = b, .lock = lock_b }, { .phase = RIVAL_IDLE, .lock = lock_a } };

	return rival_may_wait(waits, stands);
}

Test(rival, waits_for_a_stopped_one_only_where_that_one_is)
{
	cr_assert(may_wait(RIVAL_ASKING, 1, RIVAL_ASKING, 1), "it may be the next owner, and stand still");
	cr_assert(may_wait(RIVAL_ASKING, 1, RIVAL_OWNING, 1));
	cr_assert(may_wait(RIVAL_ASKING, 1, RIVAL_RELEASING, 1));
	cr_assert_not(may_wait(RIVAL_ASKING, 1, RIVAL_IDLE, 1), "it is done with that lock");
	cr_assert_not(may_wait(RIVAL_ASKING, 1, RIVAL_OWNING, 2), "of another lock");
	cr_assert_not(may_wait(RIVAL_OWNING, 1, RIVAL_ASKING, 1), "who owns it waits for nobody");
	cr_assert_not(may_wait(RIVAL_RELEASING, 1, RIVAL_ASKING, 1), "nor who lets it go");
	cr_assert_not(may_wait(RIVAL_IDLE, 1, RIVAL_OWNING, 1));
}

Test(rival, each_lock_has_a_key_of_its_own)
{
	static char keys[RIVAL_LOCKS][PAXSHM_KEY_MAX + 1];

	for (unsigned i = 0; i < RIVAL_LOCKS; i++) {
		rival_key(i, keys[i], sizeof(keys[i]));
		for (unsigned j = 0; j < i; j++)
			cr_assert_str_neq(keys[i], keys[j]);
	}
	cr_assert_gt(strlen(keys[RIVAL_HOT - 1]), 64, "one is kept in cells");
}

Test(rival, what_is_noted_is_counted_and_the_first_is_kept)
{
	static struct rival_memory m;

	rival_note(&m, 1u << WITNESS_STUCK | 1u << WITNESS_NOT_TOLD, "first %u", 1u);
	rival_note(&m, 0, "second");
	cr_assert_eq(m.faults[WITNESS_STUCK], 1);
	cr_assert_eq(m.faults[WITNESS_NOT_TOLD], 1);
	cr_assert_eq(m.faults[WITNESS_TWO_OWNERS], 0);
	cr_assert_eq(m.answers, 1);
	cr_assert_str_eq(m.words, "first 1");
	cr_assert(m.said);
}
