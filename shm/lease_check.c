/* SPDX-License-Identifier: Apache-2.0 */
#include "lease_check.h"

#include <errno.h>

#include "../lib/base.h"
#include "atom.h"
#include "sys.h"

static bool in_force(const struct tables *t, uint64_t margin_ns)
{
	/* Acquire, the gap first: pairs with the agent's release of it, after the deadlines. */
	uint64_t gap_ns = atom_load_acquire(&t->clock_gap_ns);
	uint64_t deadline_ns = atom_load_acquire(&t->deadline_ns);

	if (deadline_ns == NEVER) /* this host's grants do not end with time */
		return true;
	enum lease_verdict verdict = lease_judge(deadline_ns, gap_ns, margin_ns, sys_now_coarse_ns(), sys_real_coarse_ns());
	if (verdict == LEASE_ASK_BOOT)
		verdict = sys_boot_ns() < atom_load_acquire(&t->deadline_boot_ns) ? LEASE_STANDS : LEASE_ENDED;
	return verdict == LEASE_STANDS;
}

int lease_check(const struct tables *t, uint64_t incarnation, uint64_t margin_ns)
{
	bool good = in_force(t, margin_ns);

	/* Last: whose deadline it was. */
	if (atom_load_acquire(&t->incarnation) != incarnation)
		return -ESTALE;
	return good ? 0 : -ENETUNREACH;
}
