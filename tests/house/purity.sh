#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The pure rooms make no system call, read no clock, take no random number and allocate nothing, so
# that the simulator can run the code that ships. Shown twice: by the headers they include, and by
# what their objects leave undefined.
set -eu
BUILD=${BUILD:-build}

# Of paxshmd: the agent's rooms, which are those that see its insides.
pure_sources() {
	ls net/paxos/*.c net/wire*.c shm/table*.c shm/ring*.c shm/arena.c shm/gate.c shm/gate_repair.c shm/state/*.c \
		tools/paxshmd/agent.c tools/paxshmd/memory.c 2>/dev/null || true
	grep -l '"inside.h"' tools/paxshmd/*.c 2>/dev/null | grep -v /agent.c || true
}

# Constants, types, and bytes in memory that was passed in (syslog.h: the names of log levels). base.h brings stdio and stdlib for ASSERT alone.
allowed_headers='stdint.h stdbool.h stddef.h string.h limits.h inttypes.h errno.h syslog.h'

# Bytes that are there already; what ASSERT and the compiler's own guards need.
allowed='memcpy memset memcmp memmove memchr strlen strnlen
__memcpy_chk __memset_chk __memmove_chk
abort fprintf __fprintf_chk fwrite stderr __stack_chk_fail _GLOBAL_OFFSET_TABLE_ __popcountdi2'
# The agent writes log lines into a buffer of its own, and allocates in agent_new() and frees in agent_free().
agent_allowed='snprintf vsnprintf __snprintf_chk __vsnprintf_chk calloc malloc free strcmp strncmp'
# Checkers say what is wrong in words.
checker_allowed='snprintf __snprintf_chk'

bad=0
for source in $(pure_sources); do
	headers="$source ${source%.c}.h"
	for file in $headers; do
		[ -f "$file" ] || continue
		for name in $(sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*<\(.*\)>.*/\1/p' "$file"); do
			case " $allowed_headers " in *" $name "*) continue ;; esac
			case $file:$name in tools/*:stdlib.h | tools/*:stdarg.h | tools/*:stdio.h) continue ;; esac
			echo "$file: a pure room includes <$name>"
			bad=1
		done
		for name in $(sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"\(.*\)".*/\1/p' "$file"); do
			case $name in *sys.h | *segment.h | *loop.h | *link*.h | *reactor.h | *keeper.h)
				echo "$file: a pure room includes \"$name\""
				bad=1
				;;
			esac
		done
	done
done

objects=
for source in $(pure_sources); do
	object=$BUILD/${source%.c}.o
	if [ ! -f "$object" ]; then
		echo "$object is missing: make it first"
		exit 1
	fi
	objects="$objects $object"
done
[ -n "$objects" ] || exit $bad

# shellcheck disable=SC2086
defined=$(nm --defined-only $objects | awk 'NF == 3 { print $3 }')
for object in $objects; do
	extra=
	case $object in
	*/tools/paxshmd/*) extra=$agent_allowed ;;
	*) extra=$checker_allowed ;;
	esac
	wrong=$({ echo "$allowed $extra $defined" | tr -s ' ' '\n' | sed 's/^/A /'; nm -u "$object" | awk '{ print "U", $2 }'; } |
		awk '$1 == "A" { ok[$2] = 1 } $1 == "U" && !($2 in ok) { print $2 }')
	if [ -n "$wrong" ]; then
		echo "$object: a pure room calls" $wrong
		bad=1
	fi
done

# Allocation stays in the functions that begin and end an agent's life.
for source in $(pure_sources); do
	case $source in tools/*) ;; *) continue ;; esac
	awk -v file="$source" '
		/^[a-z].*\(/ && !/;[[:space:]]*$/ { name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
		/[^a-z_](malloc|calloc|realloc|free)\(/ && name !~ /(^allocate|_new|_free|_init|_release)$/ && !/^[[:space:]]*(\/?\*)/ {
			printf "%s:%d: %s() allocates or frees\n", file, FNR, name; bad = 1 }
		END { exit bad }' "$source" || bad=1
done
exit $bad
