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

# planted CHECK EXPECTED: runs the check in the copy, which was damaged; it must fail and say EXPECTED.
planted() {
	if said=$(BUILD=out sh "tests/house/$1.sh" 2>&1); then
		echo "$1 does not see: $2"
		bad=1
	elif ! echo "$said" | grep -q -- "$2"; then
		printf '%s fails, but does not say "%s":\n%s\n' "$1" "$2" "$said"
		bad=1
	fi
	copy
}

copy() {
	cd "$top"
	rm -rf "$work/copy"
	mkdir -p "$work/copy/out"
	cp -r Makefile lib shm net tools bench docs scripts .ci "$work/copy"
	mkdir "$work/copy/tests"
	cp -r tests/house tests/README.md "$work/copy/tests"
	cd "$work/copy"
}
copy

# Arrows.
echo '#include "../net/wire.h"' >shm/planted.h
planted arrows 'shm/planted.h: must not include net/wire.h'
echo '#include "../../shm/layout.h"' >net/paxos/planted.h
planted arrows 'net/paxos/planted.h: must not include shm/layout.h'
echo '#include "../net/wire.h"' >lib/planted.c
planted arrows 'lib/planted.c: must not include net/wire.h'
echo '#include "../../shm/layout.h"' >tools/paxctl/planted.c
planted arrows 'tools/paxctl/planted.c: must not include shm/layout.h'
echo '#include "base.h"' >>shm/table.h
planted arrows 'which is not there'
echo '# include "../tools/paxshmd/agent.h"' >net/planted.c
planted arrows 'net/planted.c: must not include tools/paxshmd/agent.h'

# Headers.
echo 'struct planted { size_t n; };' >shm/planted.h
planted headers 'shm/planted.h'
echo 'int paxshm_planted(class c);' >>lib/paxshm.h
planted headers 'lib/paxshm.h'
echo 'static char *new_string(char *new) { return new; }' >>lib/paxshm.h
planted headers 'lib/paxshm.h'

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
library table_insert none
planted exports 'also has table_insert'
library paxshm_planted paxshm_unlock
planted exports 'lacks paxshm_unlock'
library paxshm_planted none
echo 'int paxshm_planted(void);' >>lib/paxshm.h
planted exports 'paxshm_planted: no manual page'

# Sources.
yes '' | head -n 701 >shm/planted.c
planted sources 'shm/planted.c: 701 lines'
echo 'int x;' >lib/planted.c
planted sources 'lib/planted.c: no SPDX line'
printf '#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\nif\n' >tests/planted.sh
planted sources 'planted.sh'
mkdir -p tests/shm
printf '/* SPDX-License-Identifier: Apache-2.0 */\nTest(planted, x)\n' >tests/shm/planted_test.c
planted sources 'tests shm/planted, which is not there'
rm -f docs/README.md
planted sources 'docs/README.md is missing'

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

exit $bad
