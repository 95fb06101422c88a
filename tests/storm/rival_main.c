/* SPDX-License-Identifier: Apache-2.0 */
/* rival SEAT LIFE: a rival of its own, started by exec; the shared memory is descriptor RIVAL_FD. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rival.h"

int main(int argc, char **argv)
{
	struct rival_memory *m;
	struct stat st;

	if (argc != 3 || fstat(RIVAL_FD, &st) || (size_t)st.st_size < sizeof(*m)) {
		fprintf(stderr, "rival: started by the storm of kills alone\n");
		return 2;
	}
	m = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, RIVAL_FD, 0);
	close(RIVAL_FD);
	if (m == MAP_FAILED)
		return 2;
	rival_work(m, (unsigned)atoi(argv[1]), (uint32_t)strtoul(argv[2], NULL, 10));
}
