#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Who may include whom. shm and net are ground floors and never meet but in tools/paxshmd; lib
# stands on shm; the other tools and the benchmark are programs like any user's and see the public
# header. base.h, undo.h and mutant.h are open to all floors; the public header includes nothing of ours.
set -eu

# may FILE INCLUDED: both as paths from the top.
may() {
	case $1 in lib/paxshm.h) return 1 ;; esac
	case $2 in lib/base.h | lib/undo.h | lib/mutant.h) return 0 ;; esac
	case $1 in
	shm/*) case $2 in shm/*) return 0 ;; esac ;;
	net/*) case $2 in net/*) return 0 ;; esac ;;
	lib/*) case $2 in lib/* | shm/*) return 0 ;; esac ;;
	tools/paxshmd/*) case $2 in tools/paxshmd/* | shm/* | net/*) return 0 ;; esac ;;
	tools/*/*)
		case $2 in lib/paxshm.h | "${1%/*}"/*) return 0 ;; esac
		;;
	bench/* | tests/demo/*) case $2 in lib/paxshm.h | "${1%/*}"/*) return 0 ;; esac ;;
	tests/*) return 0 ;;
	esac
	return 1
}

bad=0
includes=$(find lib shm net tools bench tests -name '*.[ch]' -exec grep -Hn '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' {} + || true)
while IFS= read -r line; do
	[ -n "$line" ] || continue
	file=${line%%:*}
	name=${line#*\"}
	name=${name%%\"*}
	path=$(realpath -m --relative-to=. "${file%/*}/$name")
	if [ ! -f "$path" ]; then
		echo "$file: includes \"$name\", which is not there (includes are relative)"
		bad=1
	elif ! may "$file" "$path"; then
		echo "$file: must not include $path"
		bad=1
	fi
done <<END
$includes
END
exit $bad
