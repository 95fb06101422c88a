/* SPDX-License-Identifier: Apache-2.0 */
#include "lease_check.h"

#include "sys.h"

bool lease_stands_by_boot(const struct tables *t)
{
	return sys_boot_ns() < atom_load_acquire(&t->deadline_boot_ns);
}

int lease_check_clocks(const struct tables *t, uint64_t incarnation, uint64_t margin_ns, uint64_t *agreed_ns)
{
	uint64_t second_ns = lease_second_ns(), now_ns = lease_coarse_ns(CLOCK_MONOTONIC_COARSE);
	uint64_t gap_ns = atom_load_acquire(&t->clock_gap_ns);
	uint64_t deadline_ns = atom_load_acquire(&t->deadline_ns);
	int rc = lease_check(t, incarnation, margin_ns);

	if (rc == 0 && (deadline_ns == NEVER || lease_is_far(deadline_ns, gap_ns, margin_ns, now_ns, second_ns)))
		atom_store_relaxed(agreed_ns, second_ns);
	return rc;
}
