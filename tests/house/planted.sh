#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A check that cannot fail proves nothing: each rule of this folder is broken once, in a copy, and
# its check must say so.
set -eu

top=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
bad=0

# planted CHECK EXPECTED…: runs the check in the copy, which was damaged; it must fail and say all that is EXPECTED.
planted() {
	check=$1
	shift
	if said=$(BUILD=out sh "tests/house/$check.sh" 2>&1); then
		echo "$check does not see: $*"
		bad=1
	fi
	for expected in "$@"; do
		echo "$said" | grep -q -- "$expected" && continue
		printf '%s does not say "%s", but:\n%s\n' "$check" "$expected" "$said"
		bad=1
	done
	copy
}

copy() {
	cd "$top"
	rm -rf "$work/copy"
	mkdir -p "$work/copy/out"
	cp -r Makefile README.md lib shm net tools bench docs scripts .ci "$work/copy"
	mkdir "$work/copy/tests"
	cp -r tests/house tests/mutants tests/sim tests/README.md "$work/copy/tests"
	mkdir "$work/copy/tests/model"
	cp tests/model/*.pml "$work/copy/tests/model"
	cd "$work/copy"
}
copy

# Arrows.
echo '#include "../net/wire.h"' >shm/planted.h
echo '#include "../../shm/layout.h"' >net/paxos/planted.h
echo '#include "../net/wire.h"' >lib/planted.c
echo '#include "../../shm/layout.h"' >tools/paxctl/planted.c
echo '#include "base.h"' >>shm/table.h
echo '# include "../tools/paxshmd/agent.h"' >net/planted.c
echo '#include "base.h"' >>lib/paxshm.h
planted arrows 'shm/planted.h: must not include net/wire.h' 'net/paxos/planted.h: must not include shm/layout.h' \
	'lib/planted.c: must not include net/wire.h' 'tools/paxctl/planted.c: must not include shm/layout.h' \
	'lib/paxshm.h: must not include lib/base.h' 'shm/table.h: includes "base.h", which is not there' 'net/planted.c: must not include tools/paxshmd/agent.h'

# Headers.
echo 'struct planted { size_t n; };' >shm/planted.h
echo 'static inline int *planted(void *p) { return p; }' >>lib/paxshm.h # C, and no C++
planted headers shm/planted.h 'invalid conversion'
echo 'struct planted { struct { int a; }; int : 3; int b[0]; };' >>lib/paxshm.h # GNU C, and no C11
planted headers 'ISO C'

# Purity: one room alone, that does what none may do.
pure() {
	rm -rf net/paxos/*.c net/*.c shm/*.c shm/state/*.c tools/paxshmd/*.c
	mkdir -p "out/${1%/*}"
	cat >"$1"
	${CC:-gcc} -std=gnu11 -w -c "$1" -o "out/${1%.c}.o"
}
echo 'long time(long *); long planted(void) { return time(0); }' | pure net/wire.c
planted purity 'calls time'
echo 'void *malloc(unsigned long); void *planted(void) { return malloc(9); }' | pure shm/table.c
planted purity 'calls malloc'
printf '#include <time.h>\n' | pure net/paxos/paxos.c
planted purity 'includes <time.h>'
printf '#include "../shm/sys.h"\n' | pure shm/table.c
planted purity 'includes "../shm/sys.h"'
printf 'void *malloc(unsigned long);\nvoid *planted_step(void)\n{\n\treturn malloc(9);\n}\n' | pure tools/paxshmd/agent.c
planted purity 'planted_step() allocates'
printf '#include "inside.h"\nint getpid(void);\nint planted(void) { return getpid(); }\n' | pure tools/paxshmd/sessions.c
planted purity 'calls getpid'

# Exports: a library with one name too many, or too few.
library() {
	{
		sed 's|/\*.*\*/||' lib/paxshm.h | grep -v typedef | grep -oE '^[a-z].*\bpaxshm_[a-z_]+\(' |
			grep -oE 'paxshm_[a-z_]+\($' | sed "/^$2($/d; s/.*/void &void) { }/"
		echo "void $1(void) { }"
	} >out/planted.c
	${CC:-gcc} -shared -fPIC out/planted.c -o out/libpaxshm.so
	${CC:-gcc} -c out/planted.c -o out/planted.o
	ar rcs out/libpaxshm.a out/planted.o
	[ -n "$(ls lib/*.c 2>/dev/null)" ] || touch lib/planted.c
}
library table_insert paxshm_unlock
echo 'int paxshm_planted(void);' >>lib/paxshm.h
planted exports 'also has table_insert' 'lacks paxshm_unlock' 'lacks paxshm_planted' 'paxshm_planted: no manual page'
library table_insert nothing
echo 'LATER(paxshm_planted, void)' >>lib/later.c
planted exports 'docs/paxshm_later.3, against lib/later.c:' 'lacks paxshm_planted'

# Sources.
yes '' | head -n 701 >shm/planted.c
printf '#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\nif\n' >tests/planted.sh
mkdir -p tests/shm
printf '/* SPDX-License-Identifier: Apache-2.0 */\nTest(another, x)\n/* TO''DO */\n' >tests/shm/planted2_test.c
rm -f docs/README.md
planted sources 'shm/planted.c: 701 lines' 'shm/planted.c: no SPDX line' 'tests/planted.sh: .*[Ss]yntax error' \
	'tests shm/planted2, which is not there' 'has no suite planted2' 'TO''DO' 'docs/README.md is missing'

# Mutants.
mkdir -p out/shm
echo 'int planted(int n) { return MUTANT(9999) ? 0 : n; }' >shm/planted.c
echo '9998|1|sim|planted' >>tests/mutants/list
echo 'extern int paxshm_mutant; int planted(void) { return paxshm_mutant; }' | ${CC:-gcc} -x c -c - -o out/shm/planted.o
planted mutants '9999: is not in' '9998: is nowhere' 'built with mutants'

# Steps and states of the model.
echo 'enum gate_next gate_planted(const struct gate_view *v);' >>shm/gate.h
sed -i 's/GATE_RECORD_OUT,/& GATE_RECORD_PLANTED,/' shm/gate.h
printf 'inline gate_unheard_of() {\n}\n' >>tests/model/gate.pml
planted steps gate_planted GATE_RECORD_PLANTED gate_unheard_of
: >tests/model/gate.pml
: >tests/model/gate_agent.pml
planted steps 'no states found in it' 'no steps found in it'
: >shm/gate.h
: >shm/gate_repair.h
planted steps 'no states found in gate.h' 'no steps found in gate.h'

# Manuals.
program() {
	printf '#!/bin/sh\necho "  --%s"\n' "$1" >out/paxctl
	chmod +x out/paxctl
}
program planted
printf '.TH PAXCTL 1\n' >docs/paxctl.1
planted manuals 'does not tell of --planted'
program socket
printf '.TH PAXCTL 1\n.B \\-\\-socket\n.B \\-\\-planted\n' >docs/paxctl.1
planted manuals 'tells of --planted'
echo 'CFG_INT("planted_ms", 1, CFGF_NONE)' >tools/paxshmd/config.c
planted manuals 'does not tell of planted_ms'

printf '#!/bin/sh\necho "it is wrong"\nexit 1\n' >out/paxshmd
chmod +x out/paxshmd
planted manuals 'docs/paxshmd.conf.example: it is wrong' 'README.conf: it is wrong'

# What gets missing packages.
sed -i 's/install them: dnf install/install them: dnf/; s/y | Y | yes/n/' scripts/deps
planted deps '^dnf: exit 1' '^a user who says no: ' '^a user who says yes: '

exit $bad
