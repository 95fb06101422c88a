#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The demo passes and leaves nothing behind; and it fails when one program takes another lock than the rest.
set -u
BUILD=$(realpath "${BUILD:-build}")
TMPDIR=$(mktemp -d) && export TMPDIR || exit 1
trap 'rm -rf "$TMPDIR"' EXIT
bad=0

if ! "$BUILD/paxcluster" run -- "$BUILD/demo" >"$TMPDIR/said" 2>&1; then
	cat "$TMPDIR/said"
	bad=1
fi
if PAXSHM_DEMO_CHEAT=1 "$BUILD/paxcluster" run -- "$BUILD/demo" >"$TMPDIR/said" 2>&1; then
	echo 'a program without the lock was not noticed:'
	cat "$TMPDIR/said"
	bad=1
fi
rm -f "$TMPDIR/said"
if [ -n "$(ls -A "$TMPDIR")" ]; then
	echo "left behind: $(ls -A "$TMPDIR")"
	bad=1
fi
exit $bad
