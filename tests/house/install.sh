#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What `make install` puts down is enough for a program that knows pkg-config only, with either
# library; a program may have names of its own that the library has inside; uninstall takes all of it away; and
# DESTDIR stands before every path, and in no file.
set -eu
BUILD=${BUILD:-build}
[ -e "$BUILD/libpaxshm.a" ] || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

make -s install-files BUILD="$BUILD" PREFIX="$work/usr" DESTDIR=
export PKG_CONFIG_PATH="$work/usr/lib/pkgconfig"

cat >"$work/program.c" <<'END'
#include <paxshm.h>
#include <stdio.h>
#include <string.h>

int table_insert(void) { return 1; } /* ours */
int sys_now_ns(void) { return 1; }

int main(void)
{
	char version[32];

	snprintf(version, sizeof(version), "%d.%d.%d", PAXSHM_VERSION_MAJOR, PAXSHM_VERSION_MINOR, PAXSHM_VERSION_PATCH);
	return strcmp(version, paxshm_version()) || paxshm_lock(NULL, "key") >= 0 || !table_insert();
}
END
${CC:-gcc} -Wall -Werror "$work/program.c" -o "$work/shared" $(pkg-config --cflags --libs paxshm)
LD_LIBRARY_PATH="$work/usr/lib" "$work/shared"
${CC:-gcc} -Wall -Werror "$work/program.c" -o "$work/static" $(pkg-config --cflags paxshm) "$work/usr/lib/libpaxshm.a" -pthread
"$work/static"
readelf -d "$work/shared" | grep -q 'NEEDED.*\[libpaxshm\.so\.[0-9]*\]$' || {
	echo 'a program does not ask for the library by its soname'
	exit 1
}
members=$(ar t "$work/usr/lib/libpaxshm.a" | wc -l)
if [ "$members" != 1 ]; then
	echo "libpaxshm.a has $members members: names that they share cannot be hidden"
	exit 1
fi
[ "$(pkg-config --modversion paxshm)" = "$("$work/usr/bin/paxctl" version | sed 's/.*libpaxshm //')" ]

make -s uninstall PREFIX="$work/usr" DESTDIR=
left=$(find "$work/usr" ! -type d)
if [ -n "$left" ]; then
	echo "uninstall leaves $left"
	exit 1
fi

make -s install-files BUILD="$BUILD" PREFIX=/opt/planted DESTDIR="$work/stage"
outside=$(find "$work/stage" ! -type d ! -path "$work/stage/opt/planted/*")
inside=$(grep -rlF "$work" "$work/stage" --include='*.pc' --include='*.service' || true)
if [ -n "$outside$inside" ] || ! grep -q '^prefix=/opt/planted$' "$work/stage/opt/planted/lib/pkgconfig/paxshm.pc"; then
	echo "DESTDIR: outside of PREFIX lies $outside; named in $inside"
	exit 1
fi
make -s uninstall PREFIX=/opt/planted DESTDIR="$work/stage"
left=$(find "$work/stage" ! -type d)
if [ -n "$left" ]; then
	echo "uninstall leaves $left"
	exit 1
fi
