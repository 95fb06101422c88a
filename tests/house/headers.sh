#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Each header compiles alone; the public one also as C11 without extensions and as C++.
set -u

bad=0
find lib shm net tools bench tests -name '*.h' | sort |
	xargs -P "$(nproc)" -n 1 ${CC:-gcc} -std=gnu11 -Wall -Wextra -Werror -fsyntax-only -x c || bad=1

# A program's own flags may be stricter than ours.
use='#include "lib/paxshm.h"
int main(void) { struct paxshm_acquire how = PAXSHM_INIT(how); return (int)how.flags; }'
echo "$use" | ${CC:-gcc} -std=c11 -Wall -Wextra -Wpedantic -Wstrict-prototypes -Werror -I. -fsyntax-only -x c - || bad=1
use='#include "lib/paxshm.h"
int main() { return paxshm_version() == nullptr; }'
echo "$use" | ${CXX:-g++} -std=c++11 -Wall -Wextra -Wpedantic -Werror -I. -fsyntax-only -x c++ - || bad=1
exit $bad
