#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# scripts/deps on machines that are not this one, made of a PATH with nothing but what is put there: where
# there is apt-get it installs, as root at once, else through sudo after a yes; elsewhere it names the packages.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
bad=0

# machine USER [PACKAGER…]: a new one, on which jansson alone is missing.
machine() {
	rm -rf "${work:?}/bin" "$work/called"
	mkdir "$work/bin"
	: >"$work/called"
	for tool in sed head find grep cat env tr; do
		ln -s "$(command -v $tool)" "$work/bin/$tool"
	done
	for tool in gcc g++ make ip nft groff spin script clang clang-format clang-tidy cppcheck; do
		fake $tool 'exit 0'
	done
	fake pkg-config 'case "$*" in *jansson*) exit 1 ;; esac'
	fake id "echo $1"
	shift
	for packager in "$@"; do
		fake "$packager" "echo \"$packager \$*\" >>$work/called"
	done
}

fake() { # fake NAME WHAT
	printf '#!/bin/sh\n%s\n' "$2" >"$work/bin/$1"
	chmod +x "$work/bin/$1"
}

# expect WHAT STATUS SAYS CALLED COMMAND…: "": nothing at all.
expect() {
	what=$1 status=$2 says=$3 called=$4
	shift 4
	rc=0
	PATH=$work/bin "$@" </dev/null >"$work/said" 2>&1 || rc=$?
	right "$rc"
}

right() {
	if [ "$1" != "$status" ] || ! holds "$work/said" "$says" || ! holds "$work/called" "$called"; then
		echo "$what: exit $1, called \"$(cat "$work/called")\", said:"
		cat "$work/said"
		bad=1
	fi
}

holds() { # holds FILE PATTERN
	if [ -n "$2" ]; then grep -qE -- "$2" "$1"; else [ ! -s "$1" ]; fi
}

# asked WHAT STATUS SAYS CALLED ANSWER: the same at a terminal, where it is answered.
asked() {
	what=$1 status=$2 says=$3 called=$4 rc=0
	echo "$5" | script -qec "env PATH=$work/bin scripts/deps build" /dev/null >"$work/said" 2>&1 || rc=$?
	right "$rc"
}

machine 0 dnf
expect 'dnf' 1 'missing: jansson$' '' scripts/deps build
expect 'dnf' 1 'dnf install jansson-devel$' '' scripts/deps build
machine 0 zypper
expect 'zypper' 1 'zypper install libjansson-devel$' '' scripts/deps build
machine 0 pacman
expect 'pacman' 1 'pacman -S jansson$' '' scripts/deps build
machine 0
expect 'no packager' 1 'names are: libjansson-dev$' '' scripts/deps build
rm "$work/bin/spin"
expect 'what building does not need' 1 'names are: libjansson-dev$' '' scripts/deps build
expect 'what testing needs too' 1 'names are: libjansson-dev spin$' '' scripts/deps test

machine 0 apt-get
expect 'root' 0 'installing libjansson-dev$' '^apt-get install -y .* libjansson-dev$' scripts/deps build
fake apt-get "echo \"apt-get \$*\" >>$work/called; [ \$1 = update ] || [ \$(grep -c install $work/called) = 2 ]"
: >"$work/called"
expect 'old lists' 0 'installing' '^apt-get update' scripts/deps build
machine 0 apt-get
fake pkg-config 'exit 0'
expect 'nothing is missing' 0 '' '' scripts/deps build
expect 'no such goal' 64 'usage: ' '' scripts/deps everything

machine 1000 apt-get
expect 'a user without sudo' 1 'as root: apt-get install libjansson-dev$' '' scripts/deps build
fake sudo "echo \"sudo \$*\" >>$work/called"
expect 'a user without a terminal' 1 'as root: apt-get install libjansson-dev$' '' scripts/deps build
asked 'a user who says no' 1 'Run "sudo apt-get install libjansson-dev"' '' n
asked 'a user who says yes' 0 'installing libjansson-dev' '^sudo env .* apt-get install .* libjansson-dev$' y

exit $bad
