#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# tests/model/gate.pml, with gate_agent.pml, names the same states and steps as gate.h and gate_repair.h, or says which it does not tell.
set -eu

bad=0
same() {
	if [ -z "$2" ] || [ -z "$3" ]; then
		echo "tests/model/gate.pml: no $1 found in $([ -n "$2" ] && echo it || echo 'gate.h and gate_repair.h')"
		bad=1
	fi
	[ "$2" = "$3" ] && return 0
	echo "tests/model/gate.pml: $1 differ from gate.h and gate_repair.h:"
	printf '%s\n%s\n' "$2" "$3" | sort | uniq -u
	bad=1
}
model=tests/model/gate.pml
same states "$(sed -n '/^enum gate_state {/,/^}/p' shm/gate.h | grep -o 'GATE_RECORD_[A-Z]*' | sort -u)" \
	"$(sed -n '/^mtype = { GATE_RECORD/,/}/p' $model | grep -o 'GATE_RECORD_[A-Z]*' | sort -u)"
same steps "$(sed -nE 's/^(static inline )?(enum gate_next|bool|uint32_t|struct gate_pass) (gate_[a-z_]+)\(.*/\3/p' shm/gate.h shm/gate_repair.h | sort -u | grep -v '^gate_\(count\|top\|owner\|flags\)$' | grep -v '^gate_record_state$' | grep -v '^gate_word$')" \
	"$({ sed -nE 's/^inline (gate_[a-z_]+)\(.*/\1/p' $model tests/model/gate_agent.pml; sed -n 's/^ \* Not told: //p' $model | tr ' ' '\n'; } | sort -u)"
exit $bad
