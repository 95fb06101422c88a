/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "../../../tools/paxshmd/spin.h"

#define US 1000ull

static struct spin with_credit(void)
{
	struct spin s = { .able = true };

	spin_found(&s, 10 * US); /* a short sleep: looking would have found it */
	return s;
}

Test(spin, looks_only_after_work_and_only_for_a_while)
{
	struct spin s = with_credit();

	cr_assert(!spin_looks(&s, 1000 * US), "nothing was done for anybody");
	s = with_credit();
	spin_worked(&s, 1000 * US);
	cr_assert(spin_looks(&s, 1001 * US));
	cr_assert(!spin_looks(&s, 1000 * US + SPIN_NS));
}

Test(spin, never_looks_on_one_core)
{
	struct spin s = with_credit();

	s.able = false;
	spin_worked(&s, 0);
	cr_assert(!spin_looks(&s, US));
}

Test(spin, looks_in_vain_until_its_credit_is_gone)
{
	struct spin s = with_credit();

	spin_found(&s, 10 * US);
	for (int i = 0; i < 2; i++) {
		spin_worked(&s, 0);
		cr_assert(spin_looks(&s, US), "time %d", i);
		cr_assert(!spin_looks(&s, SPIN_NS));
	}
	spin_worked(&s, 0);
	cr_assert(!spin_looks(&s, US), "it did not pay");
	spin_found(&s, 2 * SPIN_NS);
	spin_worked(&s, 0);
	cr_assert(!spin_looks(&s, US), "what comes late is slept for");
	spin_found(&s, SPIN_NS / 2);
	spin_worked(&s, 0);
	cr_assert(spin_looks(&s, US), "what comes soon is looked for again");
}

Test(spin, credit_has_an_end)
{
	struct spin s = { .able = true };

	for (unsigned i = 0; i < 1000; i++)
		spin_found(&s, 0);
	cr_assert_eq(s.credit, SPIN_CREDIT_MAX);
}

Test(spin, rests_longer_and_longer_while_somebody_else_needs_the_core)
{
	struct spin s = with_credit();
	uint64_t now = 0, last = 0;

	for (int i = 0; i < 20; i++) {
		spin_found(&s, 10 * US);
		spin_worked(&s, now);
		cr_assert(spin_looks(&s, now));
		spin_yielded(&s, now, now + SPIN_AWAY_NS);
		spin_worked(&s, now + SPIN_AWAY_NS);
		cr_assert(!spin_looks(&s, now + SPIN_AWAY_NS));
		cr_assert_geq(s.rest_ns, last);
		last = s.rest_ns;
		now = s.rest_until_ns;
	}
	cr_assert_eq(last, SPIN_REST_MAX_NS);
}

Test(spin, a_core_that_comes_back_at_once_costs_nothing)
{
	struct spin s = with_credit();

	spin_worked(&s, 0);
	cr_assert(spin_looks(&s, US));
	spin_yielded(&s, US, US + SPIN_AWAY_NS - 1);
	cr_assert(spin_looks(&s, 2 * US));
}
