#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What the manual says of options is what the programs take, both ways; settings of the
# configuration stand in its page; pages format without a warning; the examples of a configuration are in order.
set -u
BUILD=${BUILD:-build}

bad=0
say() {
	echo "$*"
	bad=1
}

long_options() { grep -oE -- '--[a-z][a-z-]+' | sort -u; }

# program PROGRAM PAGE [SUBCOMMAND…]
program() {
	program=$1 page=$2
	shift 2
	[ -x "$BUILD/$program" ] || return 0
	if [ ! -f "$page" ]; then
		say "$program has no $page"
		return 0
	fi
	taken=$({ "$BUILD/$program" --help; for sub in "$@"; do "$BUILD/$program" "$sub" --help; done; } 2>&1 | long_options | grep -vxE -- '--(help|usage|version)')
	told=$(sed -e 's/\\-/-/g' -e 's/\\f.//g' "$page" | long_options | grep -vxE -- '--(help|usage|version)')
	for option in $taken; do
		echo "$told" | grep -qx -- "$option" || say "$page does not tell of $option"
	done
	for option in $told; do
		echo "$taken" | grep -qx -- "$option" || say "$page tells of $option, which $program does not take"
	done
}

program paxctl docs/paxctl.1 lock holder ls why top status leader version
program paxcluster docs/paxcluster.1 start stop kill restart status leader run
program paxshmd docs/paxshmd.8
program paxbench docs/paxbench.1

if [ -f tools/paxshmd/config.c ]; then
	for key in $(grep -oE 'CFG_(INT|STR|BOOL|SEC|FLOAT)[A-Z_]*\("[a-z_]+"' tools/paxshmd/config.c | sed 's/.*"\(.*\)"/\1/' | sort -u); do
		grep -qs "\\b$key\\b" docs/paxshmd.conf.5 || say "docs/paxshmd.conf.5 does not tell of $key"
	done
fi

for page in docs/*.[1-8]; do
	[ -f "$page" ] || continue
	if command -v groff >/dev/null 2>&1; then
		warnings=$(groff -t -ww -man -Tascii -z "$page" 2>&1)
		[ -z "$warnings" ] || say "$page: $warnings"
	fi
done

# example FILE HOST: what a person would copy.
example() {
	said=$("$BUILD/paxshmd" --check --config "$1" --host "$2" 2>&1) || say "$1: $said"
}
if [ -x "$BUILD/paxshmd" ]; then
	example docs/paxshmd.conf.example alpha
	work=$(mktemp -d)
	sed -n '/^    cluster = /,/^    insecure = /s/^    //p' README.md >"$work/README.conf"
	example "$work/README.conf" damson
	rm -rf "$work"
fi
exit $bad
