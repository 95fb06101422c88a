/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that loses its pages under the agent. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "../../../tools/paxshmd/guard.h"

/* Two pages, of which the second is gone: as when no memory is to be had for it. */
static char *crippled(void)
{
	int fd = memfd_create("crippled", MFD_CLOEXEC);

	cr_assert_eq(ftruncate(fd, 2 * sysconf(_SC_PAGESIZE)), 0);
	char *at = mmap(NULL, 2 * (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	cr_assert_neq(at, MAP_FAILED);
	memset(at, 'x', 2 * (size_t)sysconf(_SC_PAGESIZE));
	cr_assert_eq(ftruncate(fd, sysconf(_SC_PAGESIZE)), 0);
	close(fd);
	return at;
}

Test(guard, an_access_goes_on_with_zeros_and_is_told)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	volatile char *arena = crippled(), *ring = crippled();
	unsigned place = 99;

	cr_assert_eq(guard_begin(), 0);
	guard_area(0, (void *)arena, 2 * page);
	guard_area(7, (void *)ring, 2 * page);
	cr_assert_eq(arena[1], 'x');
	cr_assert_not(guard_hit(&place));

	cr_assert_eq(ring[page + 5], 0);
	ring[page + 5] = 'y';
	cr_assert_eq(ring[page + 5], 'y');
	cr_assert_eq(ring[1], 'x', "the other page is what it was");
	cr_assert(guard_hit(&place));
	cr_assert_eq(place, 7);
	cr_assert_not(guard_hit(&place), "told once");

	arena[page] = 'z';
	cr_assert(guard_hit(&place));
	cr_assert_eq(place, 0);
}

Test(guard, elsewhere_it_means_what_it_always_did, .signal = SIGBUS)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	volatile char *guarded = crippled(), *other = crippled();

	cr_assert_eq(guard_begin(), 0);
	guard_area(3, (void *)guarded, 2 * page);
	guard_area(3, NULL, 0);
	other[page] = 1;
}
