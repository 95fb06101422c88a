#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# gate.pml under spin. Without MODEL_LONG each search ends after a few seconds, whole or not, and says which;
# what is planted must be found.
set -eu

top=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cd "$work"
bad=0

# explore SECONDS SETTINGS…: leaves what was said in `said`.
explore() {
	seconds=$1
	shift
	spin "$@" -a "$top/tests/model/gate.pml" >spin.log 2>&1 || { cat spin.log; exit 1; }
	gcc -O1 -w -DSAFETY -DNOREDUCE -DBITSTATE -o pan pan.c
	timeout -s INT -k 5 "${MODEL_LONG:-$seconds}" ./pan -E -m40000 -w28 >said 2>&1 || true
	grep -q 'states, stored' said || { cat said; exit 1; }
	states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' said)
	whole=whole
	grep -q 'Search not completed' said && whole='in part'
	return 0
}

holds() {
	explore 4 "$@"
	grep -q 'errors: 0' said || { bad=1; cat said; }
	echo "gate.pml: $states states ($whole): $*"
}

found() {
	explore 10 "$@"
	grep -q 'assertion violated' said || { bad=1; echo "not found:"; }
	echo "gate.pml: planted, $states states: $*"
}

holds -DTURNS_1=2 -DTURNS_2=2
holds -DTURNS_1=2 -DCANCELS=6 -DKILLS=1 -DSTOPS=1
holds -DCLOSES=1 -DKILLS=1 -DAGENT_KILLS=1
holds -DASKS=4 -DCLOSES=1 -DKILLS=1 -DAGENT_KILLS=1
holds -DASKS=4 -DLAPSES=1 -DKILLS=1
holds -DSESSIONS=3 -DCANCELS=4 -DKILLS=1
found -DNO_HELP -DTURNS_1=2 -DSTOPS=1
found -DLATE_WAKE -DTURNS_1=2 -DSTOPS=1
found -DSWEEP_FIRST -DTURNS_1=2 -DKILLS=1
found -DGIVE_ONCE -DASKS=4 -DAGENT_KILLS=1
exit $bad
