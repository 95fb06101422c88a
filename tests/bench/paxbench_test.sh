#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# paxbench against real agents: every case brings its rows, in every form; what cannot be measured
# is said, and changes the exit status. Nothing here looks at how fast anything is.
set -u

BUILD=$(realpath "${BUILD:-build}")
PATH=$BUILD:$PATH
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
page=$PWD/docs/paxbench.1
cd "$work" || exit 1
bad=0

fail() {
	echo "FAILED: $*"
	sed 's/^/    /' out err 2>/dev/null | tail -n 30
	bad=1
}

# status WHAT EXPECTED COMMAND…: what it said lies in out and err.
status() {
	what=$1 expected=$2
	shift 2
	"$@" >out 2>err
	rc=$?
	[ $rc = "$expected" ] || fail "$what: exit $rc, not $expected"
}

says() { grep -q -- "$2" "$1" || fail "$what: $1 does not say \"$2\""; }

unset PAXSHM_SOCKET PAXCLUSTER_HOSTS
quick='--seconds 0.1 --keys 50 --processes 4'

# ---- what is asked for ----

status 'list' 0 paxbench --list
for case in quorum local contended handoff fairness lookup throughput warm table repair failover; do says out "^$case "; done
status 'no case' 64 paxbench
status 'unknown case' 64 paxbench quorun
says err 'no case "quorun"'
says err '^throughput '
status 'two voters' 64 paxbench quorum --cluster 2
status 'no number' 64 paxbench quorum --seconds often
status 'no agents' 69 env PAXSHM_SOCKET="$work/none.sock" paxbench quorum
says err 'no cluster'
says err -- '--cluster 3'
status 'no folder' 73 paxbench quorum --cluster 3 --save /proc/none
says err 'cannot write into /proc/none'
status 'no folder to draw into' 73 paxbench quorum --cluster 3 --plot /dev/null

# ---- all of it ----

# shellcheck disable=SC2086
status 'all' 0 paxbench all --cluster 3 $quick --save saved --json
for case in quorum local contended handoff fairness lookup throughput warm table repair failover limit; do says out "^{\"bench\":\"$case\","; done
head -n 1 out | grep -q '"machine":.*"kernel":.*"clock":.*"pinning":.*"loop":.*"agents":' || fail 'all: no header'
fields='{"bench":"[^"]*","metric":"[^"]*","unit":"[^"]*","p50":[^,]*,"p90":[^,]*,"p99":[^,]*,"p999":[^,]*,"max":[^,]*,"n":[0-9]*,"limit_name":[^:]*,"limit":[^,]*,"ratio":[^,]*,"ratio_p99":[^,]*}'
[ "$(sed 1d out | grep -cvx "$fields")" = 0 ] || fail 'all: a row has other fields'
for row in leader voter observer 'voter, two cores'; do says out "\"quorum\",\"metric\":\"$row\""; done
for row in 'same host' 'same host, slept' 'other host' 'other host, rested'; do says out "\"handoff\",\"metric\":\"$row\""; done
for row in 'distinct keys' 'own keys, warm' 'hot key' 'hot key, one host'; do says out "\"throughput\",\"metric\":\"$row\",\"unit\":\"1/s\""; done
for case in lookup local; do
	grep "\"bench\":\"$case\",\"metric\":\"system calls\"" out | grep -q '"p50":0,' || grep -q "$case: .*not counted" err ||
		fail "all: $case makes system calls"
done
says out '"contended","metric":"two processes","unit":"1/s".*"limit_name":"fair ticket lock"'
says out '"contended","metric":"overtaken","unit":"turns"'
says out '"contended","metric":"out of order","unit":"in 1M"'
says out '"fairness","metric":"most turns, p99.9".*"limit_name":"17 x hosts + line","limit":52,' # 17 x 3, and one of four processes has company
for row in '50 locks, hot' '50 locks, random'; do says out "\"warm\",\"metric\":\"$row\""; done
grep -q '"metric":"50 locks, a pair","unit":"instr."' out || grep -q 'instructions are not counted' err || fail 'all: no instructions'
for row in 'last of 50' 'all 50' 'quorum meanwhile'; do says out "\"repair\",\"metric\":\"$row\""; done
says out '"table","metric":"fill anew"'
for row in elsewhere owned; do says out "\"table\",\"metric\":\"beside key, $row\",\"unit\":\"B\".*\"limit\":256,"; done
[ -s saved/paxbench.md ] && [ -s saved/paxbench.csv ] && diff -q out saved/paxbench.json >/dev/null || fail 'all: not saved as printed'

# shellcheck disable=SC2086
status 'a table' 0 paxbench local --cluster 1 $quick --pin --loop epoll
says out 'epoll'
says out 'each host has a core'
[ "$(awk 'length > 80' out | wc -l)" = 0 ] || fail 'a table: wider than 80 columns'
# shellcheck disable=SC2086
status 'an open loop' 0 paxbench quorum --cluster 3 $quick --rate 200 --csv --pin
says out '^# loop .*open, 200 a second'
says out '^bench,metric,unit,'
says out '^quorum,voter,us,'
grep -q 'two cores' out && fail 'pinned: a row beside peers that are placed otherwise'

# ---- pictures, where they can be drawn and where not ----

# shellcheck disable=SC2086
status 'no gnuplot' 0 env PATH="$BUILD:/nowhere" paxbench local --cluster 1 $quick --plot drawn
says err 'gnuplot is not there'
if command -v gnuplot >/dev/null; then
	# shellcheck disable=SC2086
	status 'gnuplot' 0 paxbench local --cluster 1 $quick --plot drawn
	for name in local ratios; do grep -q '</svg>' drawn/$name.svg || fail "gnuplot: no drawn/$name.svg"; done
fi

# ---- agents that are there ----

# shellcheck disable=SC2086
status 'found agents' 0 paxcluster run --observers=1 -- paxbench quorum handoff $quick --json
for row in leader voter observer 'other host'; do says out "\"metric\":\"$row\""; done
says out '"agents":"found'
# shellcheck disable=SC2086
status 'a small table' 1 paxcluster run -n 1 --config locks=16 -- paxbench table lookup $quick --json
says out 'the table is too small: it has room for 16 locks, and 50 are needed'
says out '"bench":"table".*"errors":1'
says out '"bench":"lookup".*"errors":1'
status 'nobody elses agents are killed' 1 paxcluster run -- paxbench failover
says err 'only its own'

# An agent is killed in the midst, and started again: the row says so.
cat >killing <<'END'
paxbench throughput --seconds 3 --processes 4 --keys 50 --json &
sleep 2
paxcluster kill "$PAXCLUSTER_DIR" 1
wait $!
END
status 'an agent that dies' 1 paxcluster run -- sh killing
says out '"errors":[0-9]*,"error":".*died under the measurement'

# Nothing is left when paxbench is killed.
TMPDIR=$work paxbench throughput --cluster 3 --seconds 30 >out 2>err &
sleep 1
kill -9 $!
wait $! 2>/dev/null
for try in 1 2 3 4 5 6 7 8 9 10; do
	left=$(ps -eo args | grep -F "$work" | grep -c '[p]axshmd') || true
	[ "$left" = 0 ] && break
	sleep 1
done
[ "$left" = 0 ] || fail 'agents are left behind'

# ---- the manual ----

long_options() { grep -oE -- '--[a-z][a-z-]+' | grep -vxE -- '--(help|usage|version)' | sort -u; }
paxbench --help | long_options >taken
sed -e 's/\\-/-/g' -e 's/\\f.//g' "$page" | long_options | grep -vxE -- '--(bootstrap|config)' >told
diff taken told >out || fail 'options in paxbench(1) and of paxbench'

exit $bad
