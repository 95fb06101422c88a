#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# paxctl and paxcluster against real agents: what paxctl(1) says, sentence by sentence. "row N" is a
# property that paxshm has in common with its model.
set -u

BUILD=$(realpath "${BUILD:-build}")
if [ "${1:-}" != inside ]; then
	exec "$BUILD/paxcluster" run --config host_lease_ms=1000 -- "$0" inside
fi

PATH=$BUILD:$PATH
work=$PAXCLUSTER_DIR/test
top=$PWD
mkdir "$work" && cd "$work" || exit 1
bad=0
one=$PAXSHM_SOCKET_1 two=$PAXSHM_SOCKET_2

fail() {
	echo "FAILED: $*"
	bad=1
}

# status WHAT EXPECTED COMMAND…: the exit status of a command; what it said lies in out and err.
status() {
	what=$1 expected=$2
	shift 2
	"$@" >out 2>err
	rc=$?
	[ $rc = "$expected" ] || fail "$what: exit $rc, not $expected: $(cat out err)"
}

# says WHAT PATTERN: what the last command said.
says() {
	grep -qE -- "$2" out err || fail "$1: does not say \"$2\": $(cat out err)"
}

# until WHAT COMMAND…: waits for a condition, at most ten seconds.
until_true() {
	what=$1
	shift
	n=0
	until "$@" >/dev/null 2>&1; do
		n=$((n + 1))
		if [ $n -gt 1000 ]; then
			fail "$what: not within ten seconds"
			return 1
		fi
		sleep 0.01
	done
}

on() { # on SOCKET COMMAND…
	PAXSHM_SOCKET=$1
	export PAXSHM_SOCKET
	shift
	"$@"
}

is_free() { ! paxctl holder "$1"; }
state_of() { sed 's/.*) \(.\).*/\1/' "/proc/$1/stat" 2>/dev/null; }
is_state() { [ "$(state_of "$1")" = "$2" ]; }
waits_for() { paxctl ls | awk -v key="$1" '$4 == key && $3 > 0 { found = 1 } END { exit !found }'; }

# hold KEY [SOCKET]: a command that owns KEY until the file go.KEY is there. paxctl's pid: $holder.
hold() {
	rm -f "go.$1" "pid.$1"
	PAXSHM_SOCKET=${2:-$one} paxctl lock "$1" -- sh -c "echo \$\$ >pid.$1.new; mv pid.$1.new pid.$1; until [ -e go.$1 ]; do sleep 0.01; done" &
	holder=$!
	until_true "hold $1" test -e "pid.$1"
}
let_go() {
	touch "go.$1"
	wait "$holder" 2>/dev/null
}

export PAXSHM_SOCKET="$one"

# ---- the command runs under the lock, and its end is paxctl's ----

status 'row 1: CMD runs' 0 paxctl lock key -- true
status 'exit status is exact' 42 paxctl lock key -- sh -c 'exit 42'
status 'exit status 255' 255 paxctl lock key sh -c 'exit 255'
status 'not there' 127 paxctl lock key -- ./nothing
status 'cannot be run' 126 paxctl lock key -- /etc/passwd
status 'arguments are passed as they are' 0 paxctl lock key -- printf '<%s>' 'a b' -n --
says 'arguments are passed as they are' '^<a b><-n><-->$'
status 'environment' 0 paxctl lock 'my key' -- sh -c 'echo "$PAXSHM_KEY/$PAXSHM_TOKEN/$PAXSHM_OWNER_DIED"'
says 'environment' '^my key/[1-9][0-9]*/$'
(paxctl lock key -- sh -c 'kill -TERM $$') 2>/dev/null
[ $? = 143 ] || fail 'dies of the same signal: TERM'
(paxctl lock key -- sh -c 'kill -KILL $$') 2>/dev/null
[ $? = 137 ] || fail 'dies of the same signal: KILL'
own=$(sh -c 'ls /proc/self/fd | wc -l')
status 'CMD inherits one descriptor more' 0 paxctl lock key -- sh -c 'ls /proc/self/fd | wc -l'
says 'CMD inherits one descriptor more' "^ *$((own + 1))\$"

t1=$(paxctl lock tokens -- sh -c 'echo $PAXSHM_TOKEN')
t2=$(on "$two" paxctl lock tokens -- sh -c 'echo $PAXSHM_TOKEN')
t3=$(on "$one" paxctl lock tokens -- sh -c 'echo $PAXSHM_TOKEN')
[ "$t1" -lt "$t2" ] && [ "$t2" -lt "$t3" ] || fail "tokens rise: $t1 $t2 $t3"
PAXSHM_SOCKET=$one

# ---- held by another ----

hold busy
for socket in "$one" "$two"; do
	status 'row 2: -n' 1 on "$socket" paxctl lock -n busy -- touch wrong
	says 'row 2: -n names the holder' "held by pid $holder on host1"
	status '-E' 9 on "$socket" paxctl lock -n -E 9 busy -- touch wrong
	status '-w' 1 on "$socket" paxctl lock -w 0.1 busy -- touch wrong
	says '-w' 'timed out'
	status '-w 0 is -n' 1 on "$socket" paxctl lock -w 0 busy -- touch wrong
	status 'row 8: holder' 0 on "$socket" paxctl holder busy
	says 'row 8: holder' "^host1 +$holder "
	status 'linearizable holder' 0 on "$socket" paxctl holder -l busy
	says 'linearizable holder' "^host1 +$holder "
done
[ ! -e wrong ] || fail 'CMD ran without the lock'
PAXSHM_SOCKET=$one
let_go busy
status 'the lock is free after CMD' 0 paxctl lock -n busy -- true
status 'holder of a free lock' 1 paxctl holder busy
status 'flock -w: the lock comes in time' 0 paxctl lock -w 10 busy -- true

# ---- shared ----

# share KEY NAME SOCKET: a command that shares KEY until the file go.NAME is there.
share() {
	rm -f "go.$2"
	PAXSHM_SOCKET=$3 paxctl lock -s "$1" -- sh -c "touch in.$2; until [ -e go.$2 ]; do sleep 0.01; done" &
	until_true "$2 shares $1" test -e "in.$2"
}
share shared one "$one"
first=$!
share shared two "$two"
second=$!
[ -e go.one ] || [ -e go.two ] && fail 'one of them ended'
for socket in "$one" "$two"; do
	status '-s: a third shares at once' 0 on "$socket" paxctl lock -n -s shared -- true
	status '-x: one who wants it alone is refused' 1 on "$socket" paxctl lock -n -x shared -- touch wrong
	says '-x: one who wants it alone is refused' 'held by pid [0-9]+ on host[12]'
	status '-x: and waits in vain' 1 on "$socket" paxctl lock -w 0.2 shared -- touch wrong
done
PAXSHM_SOCKET=$one
[ ! -e wrong ] || fail 'CMD ran alone while others shared'
paxctl lock -x shared -- sh -c 'touch alone; [ -e go.two ]' &
alone=$!
until_true 'it waits, through the agent' sh -c "paxctl why shared | grep -qE 'waits +pid $alone '"
status 'nobody shares ahead of who waits to have it alone' 1 paxctl lock -n -s shared -- touch wrong
touch go.one
wait $first || fail 'the first who shared it'
sleep 0.2
[ ! -e alone ] || fail 'CMD ran alone while another host shared'
touch go.two
wait $second || fail 'the second who shared it'
wait $alone || fail 'who waited to have it alone got it when the last had left'
[ -e alone ] && [ ! -e wrong ] || fail 'shared, then alone'
status 'the last letter counts' 0 paxctl lock -s -x -n shared -- true
until_true 'shared: free' is_free shared

# ---- kill -9 ----

hold killed
command=$(cat pid.killed)
kill -9 "$holder"
wait "$holder" 2>/dev/null
status 'kill -9 of paxctl frees nothing while CMD runs' 1 paxctl lock -w 0.3 killed -- true
kill -0 "$command" || fail 'CMD ended with paxctl'
kill -9 "$command"
status 'row 7: with CMD the lock goes' 0 paxctl lock -w 10 killed -- sh -c 'echo "died=$PAXSHM_OWNER_DIED"'
says 'the next owner learns that the last one died' '^died=1$'
status 'only the next' 0 paxctl lock killed -- sh -c 'echo "died=$PAXSHM_OWNER_DIED"'
says 'only the next' '^died=$'

hold waiters "$two"
paxctl lock waiters -- touch wrong &
waiter=$!
until_true 'it waits' waits_for waiters
kill -9 $waiter
wait $waiter 2>/dev/null
paxctl lock waiters -- touch right &
waiter=$!
let_go waiters
wait $waiter || fail 'the lock goes to the next waiter when one was killed'
[ ! -e wrong ] && [ -e right ] || fail 'a killed waiter ran its command'

# ---- signals ----

paxctl lock signals -- sh -c 'trap "touch got; exit 5" USR1; touch stands; while :; do sleep 0.01; done' &
pid=$!
until_true 'CMD stands' test -e stands
kill -USR1 $pid
wait $pid
[ $? = 5 ] && [ -e got ] || fail 'a signal to paxctl is passed to CMD'

hold stopped
command=$(cat pid.stopped)
kill -TSTP "$holder"
until_true 'CMD stops' is_state "$command" T
until_true 'paxctl stops with it' is_state "$holder" T
kill -CONT "$holder"
until_true 'CMD goes on' sh -c '! grep -q ") T" /proc/'"$command"'/stat'
let_go stopped
status 'and ends as ever' 0 paxctl lock -n stopped -- true

# ---- usage, and no agent ----

status 'no command' 64 paxctl
status 'unknown command' 64 paxctl frobnicate
status 'unknown option' 64 paxctl lock --frobnicate key -- true
status 'no key' 64 paxctl lock
status 'nothing to run' 64 paxctl lock key
status 'empty key' 64 paxctl lock '' -- true
status 'key too long' 64 paxctl lock "$(printf '%0256d' 0)" -- true
status 'longest key' 0 paxctl lock "$(printf '%0255d' 0)" -- true
status 'no time' 64 paxctl lock -w soon key -- true
status 'negative time' 64 paxctl lock --wait=-1 key -- true
status 'no status' 64 paxctl lock -E 256 key -- true
status 'no such behaviour' 64 paxctl lock --no-quorum=pray key -- true
status 'help' 0 paxctl lock --help
status 'no agent' 69 paxctl --socket "$work/none" lock key -- touch wrong
says 'no agent' 'no agent'
status 'no agent: status' 69 paxctl status --socket="$work/none"
status 'another cluster' 69 paxctl --cluster=other lock key -- touch wrong
says 'another cluster' 'other'
[ ! -e wrong ] || fail 'CMD ran without an agent'

# Whoever runs a program with another user's rights does not choose its agent. (Only root can try it, where files may lend rights.)
lend() { cp "$1" "$2" && chown 65534 "$2" && chmod 4755 "$2"; }
if lend "$(command -v id)" lent_id 2>/dev/null && [ "$(./lent_id -u)" = 65534 ]; then
	lend "$BUILD/paxctl" lent
	./lent status >out 2>err
	grep -F "$one" out err && fail 'a set-user-ID program obeyed PAXSHM_SOCKET'
	[ "$(head -n 1 out)" != "$(paxctl status | head -n 1)" ] || fail 'a set-user-ID program is let in by PAXSHM_SOCKET'
fi

# ---- looking around ----

odd=$(printf 'odd\\\033[31m\377')
hold "plain"
paxctl lock "$odd" -- sh -c "until [ -e go.odd ]; do sleep 0.01; done" &
odd_holder=$!
until_true 'ls shows odd keys' sh -c 'paxctl ls | grep -F "odd\\\\\\x1b[31m\\xff"'
paxctl ls >out
[ "$(head -n 1 out)" = "$(printf '%-16s %8s %5s  %s' HOST PID WAITS KEY)" ] || fail "ls: columns: $(cat out)"
short() { ! grep -v 0000 "$1" | grep -qE '.{81}'; } # but for the longest key, which is kept
short out || fail 'ls does not fit 80 columns'
paxctl status >out
awk 'length($0) > 80 { exit 1 }' out || fail 'status does not fit 80 columns'
share for_all here "$one"
share for_all there "$two"
PAXSHM_SOCKET=$one
status 'ls names who shares' 0 paxctl ls
says 'ls names who shares' '^\(2 hosts\) +[0-9]+ +0  for_all$'
says 'ls names who shares' '^  shares: host1 +[0-9]+  [0-9.]+ s +paxctl$'
says 'ls names who shares' '^  shares: host2 +- +-'
short out || fail 'ls of a shared lock does not fit 80 columns'
paxctl lock for_all -- true &
alone=$!
until_true 'it waits' sh -c "paxctl why for_all | grep -qE 'waits +pid $alone '"
status 'why names who shares' 0 paxctl why for_all
says 'why names who shares' '^for_all: shared, one owner is pid [0-9]+ \(paxctl\) on host1 for [0-9.]+ s$'
says 'why names who shares' 'shares +pid [0-9]+ \(paxctl\) for [0-9.]+ s$'
says 'why names who shares' 'shares +host host2$'
says 'why names who waits through the agent' "waits +pid $alone \(paxctl\) for [0-9.]+ s\$"
paxctl ls --json >ls.json
touch go.here go.there
wait $alone || fail 'who waited to have it alone got it'
grep -q '"key_hex": "6f64645c1b5b33316dff"' ls.json || fail "ls --json: $(cat ls.json)"
paxctl holder --json plain >holder.json
grep -q "\"pid\": $holder" holder.json || fail "holder --json: $(cat holder.json)"
paxctl holder --json nobody >free.json
grep -q '"owner": null' free.json || fail "holder --json of a free lock: $(cat free.json)"
paxctl status --hash --json >status.json
grep -q '"quorum": true' status.json || fail "status --json: $(cat status.json)"
paxctl version --json >version.json
paxctl ls --waiters --json >waiters.json
paxctl why --json plain >why.json
paxctl top --json -d 0.1 >top.json
for field in $(sed -n 's/^ *"\([a-z_]*\)":.*/\1/p' ./*.json | sort -u); do
	sed 's/\\//g' "$top/docs/paxctl.1" | grep -qw -- "$field" || fail "paxctl(1) does not tell of the field $field"
done
touch go.odd
let_go plain
wait $odd_holder

# ---- who waits, and why ----

hold wanted
paxctl lock wanted -- true &
here=$!
waits_here() { paxctl ls --waiters | grep -qE "^  waits: host1 +$here +[0-9.]+ s +paxctl\$"; }
until_true 'ls --waiters names who waits here' waits_here
paxctl lock wanted -- true &
later=$!
in_order() { paxctl ls --waiters | awk '/^  waits: host1/ { print $3 }' | tr '\n' ' ' | grep -q "^$here $later "; }
until_true 'ls --waiters: oldest first' in_order
PAXSHM_SOCKET=$two paxctl lock wanted -- true &
there=$!
until_true 'ls --waiters names hosts that wait' sh -c 'paxctl ls --waiters | grep -qE "^  waits: host2 +- +-"'
paxctl ls --waiters >out
short out || fail 'ls --waiters does not fit 80 columns'

status 'why' 0 paxctl why wanted
says 'why: owner' "^wanted: owned by pid $holder \(paxctl\) on host1 for [0-9.]+ s\$"
says 'why: who waits here' "waits +pid $here \(paxctl\) for [0-9.]+ s\$"
says 'why: which host waits' 'waits +host host2$'
says 'why: the lease' 'lease +of this host: [0-9.]+ s of 1.0 s left'
says 'why: where to look' "look at +pid $holder sleeps: ps "
status 'why, from another host' 0 on "$two" paxctl why wanted
says 'why, from another host' "^wanted: owned by pid $holder on host1\$"
says 'why, from another host: this host waits' 'waits +host host2, this one$'
says 'why, from another host: and this process of it' "waits +pid $there \(paxctl\) for [0-9.]+ s\$"
says 'why, from another host: where to look' "look at +on host1: ps .* -p $holder\$"
PAXSHM_SOCKET=$one
kill -STOP "$holder"
until_true 'why names an owner that is stopped' sh -c "paxctl why wanted | grep -q 'pid $holder is stopped: kill -CONT $holder lets it go on'"
kill -CONT "$holder"
revoked() { paxctl status --json | sed -n 's/.*"revocations": \([0-9]*\).*/\1/p'; }
before=$(revoked)
let_go wanted
wait $here $later $there
status 'all who waited got it' 0 paxctl lock -n wanted -- true
[ "$(revoked)" -gt "$before" ] || fail "a lock that another host waited for counts as revoked: $before, $(revoked)"
status 'why: nobody' 1 paxctl why never-seen
says 'why: nobody' '^never-seen: nobody owns it'
status 'why: no key' 64 paxctl why

(while [ ! -e go.top ]; do paxctl lock hot -- true; done) &
hot=$!
until_true "hot is there" sh -c "paxctl ls | grep -q \" hot\$\""
status 'top' 0 paxctl top -d 1
says 'top: what it shows' '^ +[0-9.]+ +[0-9.]+ +[0-9.]+ +[0-9]+ +[0-9]+ .* hot$'
status 'top: two samples' 0 paxctl top -n 2 -d 0.1
[ "$(grep -c 'TAKEN/S' out)" = 2 ] || fail "top -n 2: $(cat out)"
awk 'length($0) > 80 && !/^ *[0-9-]/ { exit 1 }' out || fail 'the head of top does not fit 80 columns'
touch go.top
wait $hot

# Tables are alike at equal index.
hash_of() { PAXSHM_SOCKET=$1 paxctl status --hash --json | grep -E '"(state_hash|applied)"'; }
alike() { [ "$(hash_of "$one")" = "$(hash_of "$two")" ]; }
until_true 'equal tables' alike

# ---- agents ----

hold kept
paxcluster kill "$PAXCLUSTER_DIR" 1 || fail 'kill'
until_true 'a new agent' sh -c 'paxctl status --json | grep -q "\"agent_starts\": 2"'
status 'kill -9 of the agent loses no lock' 1 on "$two" paxctl lock -n kept -- true
says 'kill -9 of the agent loses no lock' "held by pid $holder on host1"
PAXSHM_SOCKET=$one
let_go kept
status 'new locks go on' 0 paxctl lock -w 10 kept -- true

# ---- no quorum: hosts 2 and 3 stand still ----

pause() { # pause SIGNAL: agents first, so that no keeper sees a death
	for n in 2 3; do
		eval "keeper=\$PAXCLUSTER_PID_$n"
		for pid in $(awk -v p="$keeper" '{ sub(/.*\) /, ""); if ($2 == p) print FILENAME }' /proc/[0-9]*/stat 2>/dev/null | cut -d/ -f3) "$keeper"; do
			kill "-$1" "$pid"
		done
	done
}
status 'row 26: a majority is enough' 0 paxctl lock key -- true
pause STOP
status 'a lock that the host keeps needs no majority, as long as the lease lasts' 0 paxctl lock --no-quorum=return key -- true
paxctl lock --no-quorum=retry retried -- touch retried &
waiter=$!
status 'row 5: return' 75 paxctl lock --no-quorum=return unknown -- touch wrong
says 'row 5: return' 'no quorum'
(paxctl lock --no-quorum=fail unknown -- touch wrong) >out 2>err
[ $? = 134 ] || fail 'row 4: fail ends by SIGABRT'
status 'status without a quorum' 75 paxctl status
[ ! -e wrong ] || fail 'CMD ran without a quorum'
[ ! -e retried ] && kill -0 $waiter || fail 'row 3: retry did not wait'
pause CONT
wait $waiter && [ -e retried ] || fail 'row 3: retry gets the lock when the quorum is back'

exit $bad
