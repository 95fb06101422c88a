/* SPDX-License-Identifier: Apache-2.0 */
/* Which mutant is alive in this process: PAXSHM_MUTANT=n, 0 or nothing: none. See lib/mutant.h. */
#include <stdlib.h>

#include "../../lib/mutant.h"

#ifdef PAXSHM_MUTANTS
int paxshm_mutant;

__attribute__((constructor)) static void choose(void)
{
	const char *n = getenv("PAXSHM_MUTANT");

	paxshm_mutant = n ? atoi(n) : 0;
}
#endif
