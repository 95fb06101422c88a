/* SPDX-License-Identifier: Apache-2.0 */
#include "lease_check.h"

#include "sys.h"

bool lease_stands_by_boot(const struct tables *t)
{
	return sys_boot_ns() < atom_load_acquire(&t->deadline_boot_ns);
}
