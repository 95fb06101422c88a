/* SPDX-License-Identifier: Apache-2.0 */
#include "spin.h"

#include "../../lib/base.h"

void spin_worked(struct spin *s, uint64_t now_ns)
{
	s->until_ns = now_ns + SPIN_NS;
}

bool spin_looks(struct spin *s, uint64_t now_ns)
{
	if (s->able && s->credit && now_ns < s->until_ns && now_ns >= s->rest_until_ns) {
		s->looking = true;
		return true;
	}
	if (s->looking && s->credit)
		s->credit--; /* looked to the end, in vain */
	s->looking = false;
	return false;
}

void spin_yielded(struct spin *s, uint64_t before_ns, uint64_t now_ns)
{
	if (now_ns - before_ns < SPIN_AWAY_NS)
		return;
	s->rest_ns = MIN(MAX(2 * s->rest_ns, SPIN_REST_NS), SPIN_REST_MAX_NS);
	s->rest_until_ns = now_ns + s->rest_ns;
	s->looking = false;
}

void spin_found(struct spin *s, uint64_t slept_ns)
{
	if (slept_ns < SPIN_NS)
		s->credit = MIN(s->credit + 1, SPIN_CREDIT_MAX);
	if (s->looking)
		s->rest_ns -= s->rest_ns / 16; /* the core is ours to look with, it seems */
	s->looking = false;
}
