#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The public header, the shared and the static library and the manual name the same
# calls: nothing more, nothing less. The library needs libc alone. What does not exist yet is one list, in lib/later.c:
# the page that tells of it has the same, and so has the test that calls each.
set -eu
BUILD=${BUILD:-build}
[ -n "$(ls lib/*.c 2>/dev/null)" ] || exit 0

header=$(sed 's|/\*.*\*/||' lib/paxshm.h | grep -v typedef | grep -oE '^[a-z].*\bpaxshm_[a-z_]+\(' | grep -oE 'paxshm_[a-z_]+\($' | tr -d '(' | sort)
bad=0

same() { # same WHAT NAMES [AGAINST WHICH-NAMES]
	wrong=$(printf '%s\n%s\n%s\n' "${4-$header}" "$2" "$2" | sort | uniq -c | awk '$1 == 1 { print "lacks " $2 } $1 == 2 { print "also has " $2 }')
	[ -z "$wrong" ] && return 0
	printf '%s, against %s:\n%s\n' "$1" "${3-lib/paxshm.h}" "$wrong"
	bad=1
}

same libpaxshm.so "$(nm -D --defined-only "$BUILD/libpaxshm.so" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort)"
same libpaxshm.a "$(nm -g --defined-only "$BUILD/libpaxshm.a" | awk 'NF == 3 { print $3 }' | sort)"

needed=$(readelf -d "$BUILD/libpaxshm.so" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vE '^(libc|ld-linux.*)\.so' || true)
if [ -n "$needed" ]; then
	echo "libpaxshm.so needs more than libc:" $needed
	bad=1
fi

pages=$(ls docs/*.3 2>/dev/null || true)
for name in $header; do
	# shellcheck disable=SC2086
	if [ -z "$pages" ] || ! sed 's/\\//g' $pages | grep -qw "$name"; then
		echo "$name: no manual page in docs/*.3 names it"
		bad=1
	fi
done

later=$(sed -n 's/^LATER(\(paxshm_[a-z_]*\),.*/\1/p' lib/later.c | sort)
same docs/paxshm_later.3 "$(sed -n 's/^\.BR \(paxshm_[a-z_]*\) ().*/\1/p' docs/paxshm_later.3 | sort)" lib/later.c "$later"
[ ! -f tests/lib/later_test.c ] ||
	same tests/lib/later_test.c "$(grep -oE 'paxshm_[a-z_]+\(' tests/lib/later_test.c | tr -d '(' | sort)" lib/later.c "$later"
exit $bad
