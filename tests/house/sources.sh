#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Every source names its licence in its first lines and stays one idea long; scripts parse; nothing
# says that it will be done later; a test stands where the thing it tests stands; a suite has one time limit.
set -u

bad=0
say() {
	echo "$*"
	bad=1
}

for file in $(find lib shm net tools bench tests scripts .ci Makefile -type f \( -name '*.[ch]' -o -name '*.sh' -o -name Makefile -o -perm -100 \) | sort); do
	head -n 2 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' || say "$file: no SPDX line"
	lines=$(wc -l <"$file")
	[ "$lines" -le 700 ] || say "$file: $lines lines; 700 are too many for one idea"
	case $(head -n 1 "$file") in '#!/bin/sh'*) sh -n "$file" || bad=1 ;; esac
	case $file in tests/house/*) continue ;; esac
	grep -nE '\b(TODO|FIXME|XXX)\b' "$file" | sed "s|^|$file:|" | grep . && bad=1
done

for test in $(find tests -name '*_test.c' | sort); do
	case $test in tests/cluster/* | tests/storm/* | tests/sim/* | tests/fuzz/* | tests/model/*) continue ;; esac
	module=${test#tests/}
	module=${module%_test.c}
	[ -f "$module.c" ] || [ -f "$module.h" ] || say "$test: tests $module, which is not there"
	grep -q "Test(${module##*/}[,)]" "$test" || say "$test: has no suite ${module##*/}"
done

# With several of them Criterion 2.4 forgets to free one, and LeakSanitizer tells.
for test in $(grep -rl '\.timeout = ' tests --include='*_test.c' | sort); do
	[ "$(grep -o '\.timeout = [0-9]*' "$test" | sort -u | wc -l)" = 1 ] || say "$test: its tests have different time limits"
done

for folder in lib shm net tools bench tests docs; do
	[ -s "$folder/README.md" ] || say "$folder/README.md is missing"
done
exit $bad
