/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>

#include "../../lib/paxshm.h"

/* With anything, even nothing: there is no such call yet. */
Test(later, calls_of_later_versions_say_so)
{
	cr_expect_eq(paxshm_lock_convert(NULL, 0, NULL, NULL), -ENOSYS);
	cr_expect_eq(paxshm_lock_many(NULL, 0, NULL, NULL), -ENOSYS);
	cr_expect_eq(paxshm_lock_value(NULL, NULL, 0, NULL), -ENOSYS);
	cr_expect_eq(paxshm_name_init(NULL, NULL, 0, NULL), -ENOSYS);
	cr_expect_eq(paxshm_ensure(NULL, NULL, 0, NULL), -ENOSYS);
	cr_expect_eq(paxshm_lookup(NULL, NULL, 0, 0, NULL), -ENOSYS);
	cr_expect_eq(paxshm_alive(NULL, NULL, 0), -ENOSYS);
	cr_expect_eq(paxshm_register(NULL, NULL, 0), -ENOSYS);
	cr_expect_eq(paxshm_unregister(NULL, NULL, 0), -ENOSYS);
	cr_expect_eq(paxshm_ready(NULL), -ENOSYS);
	cr_expect_eq(paxshm_start_children(NULL, NULL, 0, 0), -ENOSYS);
	cr_expect_eq(paxshm_children(NULL, NULL, NULL), -ENOSYS);
	cr_expect_eq(paxshm_send(NULL, NULL, NULL, 0), -ENOSYS);
	cr_expect_eq(paxshm_recv(NULL, NULL, 0), -ENOSYS);
	cr_expect_eq(paxshm_call(NULL, NULL, NULL, 0, 0, NULL), -ENOSYS);
	cr_expect_eq(paxshm_reply(NULL, NULL, NULL, 0), -ENOSYS);
}
