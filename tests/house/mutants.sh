#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Nothing that ships has a mutant in it; each mutant of the sources stands in tests/mutants/list, once,
# and each of the list in the sources. The simulator's programs play the library: some mistakes of theirs are built in there.
set -eu
BUILD=${BUILD:-build}

bad=0
sources=$(find lib shm net tools bench $(find tests -maxdepth 1 -name sim 2>/dev/null) -name '*.[ch]' ! -path lib/mutant.h)
# shellcheck disable=SC2086
used=$(grep -ohE '\bMUTANT\([0-9]+\)' $sources | tr -dc '0-9\n' | sort -u)
told=$(sed -n 's/^\([0-9][0-9]*\)|.*/\1/p' tests/mutants/list | sort)
for n in $(printf '%s\n' "$told" | uniq -d); do
	echo "tests/mutants/list: $n stands there twice"
	bad=1
done
for n in $(printf '%s\n%s\n' "$used" "$told" | sort | uniq -u); do
	echo "mutant $n: $(printf '%s\n' "$used" | grep -qx "$n" && echo "is not in tests/mutants/list" || echo "is nowhere in the sources")"
	bad=1
done

objects=$(find "$BUILD/lib" "$BUILD/shm" "$BUILD/net" "$BUILD/tools" "$BUILD/bench" -name '*.o' 2>/dev/null || true)
if [ -n "$objects" ]; then
	# shellcheck disable=SC2086
	found=$(nm -A $objects 2>/dev/null | grep -w paxshm_mutant || true)
	if [ -n "$found" ]; then
		echo "built with mutants: $found"
		bad=1
	fi
fi
exit $bad
