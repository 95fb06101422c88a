# SPDX-License-Identifier: Apache-2.0
#
# paxshm. `make help` lists the verbs.
#
# Sources are found by folder: a new file needs no line here. Objects lie under $(BUILD), which
# each kind of build has for itself. Plain `make` needs liburing, libconfuse, libsystemd and
# jansson; Criterion and clang are needed by the targets that use them only (scripts/deps).

comma := ,
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DEFAULT_GOAL := all

VERSION  := 0.1.0
SOVERSION := 0

PREFIX     ?= /usr/local
BINDIR     ?= $(PREFIX)/bin
SBINDIR    ?= $(PREFIX)/sbin
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR     ?= $(PREFIX)/share/man
DOCDIR     ?= $(PREFIX)/share/doc/paxshm
UNITDIR    ?= $(PREFIX)/lib/systemd/system

SAN ?=
ifeq ($(SAN),)
BUILD ?= build
else ifneq ($(findstring thread,$(SAN)),)
BUILD ?= build-tsan
else
BUILD ?= build-asan
endif

ifeq ($(origin CC),default)
CC := gcc
endif
CLANG      ?= clang
OBJCOPY    ?= objcopy
PKG_CONFIG ?= pkg-config
INSTALL    ?= install
JOBS       ?= $(shell nproc 2>/dev/null || echo 2)

CFLAGS  ?= $(if $(SAN),-O1,-O2) -g
LDFLAGS ?=

# Shared memory is looked at as structures and as words: no optimisation may assume otherwise.
BASE_CFLAGS := -std=gnu11 -Wall -Wextra -fPIC -fvisibility=hidden -fno-strict-aliasing -pthread
ifneq ($(WERROR),)
BASE_CFLAGS += -Werror
endif
BASE_LDFLAGS := -pthread -Wl,-z,relro,-z,now
ifeq ($(SAN),)
BASE_CFLAGS += -fstack-protector-strong -fstack-clash-protection -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
else
SAN_FLAGS := -fsanitize=$(SAN) -fno-omit-frame-pointer
ifneq ($(findstring undefined,$(SAN)),)
SAN_FLAGS += -fno-sanitize-recover=undefined
endif
BASE_CFLAGS += $(SAN_FLAGS)
BASE_LDFLAGS += $(SAN_FLAGS)
endif

# ---- what there is ----

LIB_SRC  := $(wildcard lib/*.c)
SHM_SRC  := $(wildcard shm/*.c shm/state/*.c)
NET_SRC  := $(wildcard net/*.c net/paxos/*.c)
PAXSHMD_SRC    := $(wildcard tools/paxshmd/*.c)
PAXCTL_SRC     := $(wildcard tools/paxctl/*.c)
PAXCLUSTER_SRC := $(wildcard tools/paxcluster/*.c)
PAXBENCH_SRC   := $(wildcard bench/*.c)
DEMO_SRC       := $(wildcard tests/demo/*.c)
THREADS_SRC    := $(wildcard tests/threads/*.c)
RIVAL_SRC      := $(wildcard $(addprefix tests/storm/,rival_main.c rival.c witness.c history.c)) tools/paxcluster/process.c
SIM_SRC        := $(filter-out %_test.c,$(wildcard tests/sim/*.c))
FUZZ_SRC       := $(wildcard tests/fuzz/*_fuzz.c)
TEST_SRC       := $(sort $(shell find tests -name '*_test.c'))
HELPER_SRC     := $(sort $(shell find tests -name '*.c' ! -name '*_test.c' ! -path 'tests/demo/*' ! -path 'tests/threads/*' ! -path 'tests/fuzz/*'))

# A file that defines main() belongs to its program alone; all else may be linked by any test.
main_line := ^int main(
without_main = $(if $(strip $(1)),$(shell grep -L '$(main_line)' $(1)))
SHARED_SRC := $(call without_main,$(LIB_SRC) $(SHM_SRC) $(NET_SRC) $(PAXSHMD_SRC) $(PAXCTL_SRC) $(PAXCLUSTER_SRC) \
	$(PAXBENCH_SRC))
# The gate's steps once more, compiled for one test: beside the true ones a test's other helpers could get these.
HOOKED_SRC := $(wildcard tests/model/gate_hooked.c)
HELPER_SRC := $(filter-out $(HOOKED_SRC),$(call without_main,$(HELPER_SRC)))

objects = $(patsubst %.c,$(BUILD)/%.o,$(1))
# A program is built when its folder has sources.
program = $(if $(strip $(2)),$(BUILD)/$(1))

PROGRAMS := $(call program,paxshmd,$(wildcard tools/paxshmd/main.c)) \
	$(call program,paxctl,$(wildcard tools/paxctl/main.c)) \
	$(call program,paxcluster,$(PAXCLUSTER_SRC)) \
	$(call program,paxbench,$(wildcard bench/main.c))
LIBRARIES := $(if $(LIB_SRC),$(BUILD)/libpaxshm.so.$(VERSION) $(BUILD)/libpaxshm.a)
DEMO_PROGRAMS := $(call program,demo,$(DEMO_SRC))
SIM := $(call program,sim,$(SIM_SRC))
MUTANT_SRC := tests/mutants/mutant.c

# Suites that start real agents, or try every interleaving, take their time: `make check` runs them, `make test` does not.
# The storms have verbs of their own.
STORM_SRC  := $(wildcard tests/storm/storm_test.c)
KILLS_SRC  := $(wildcard tests/storm/kills_test.c)
SLOW_SRC   := $(filter tests/cluster/% tests/model/%,$(TEST_SRC))
QUICK_SRC  := $(filter-out $(SLOW_SRC) $(STORM_SRC) $(KILLS_SRC),$(TEST_SRC))
tests_of   = $(patsubst %.c,$(BUILD)/%,$(1))
SLOW_SCRIPTS := $(sort $(wildcard tests/model/*_test.sh tests/cluster/*_test.sh tests/bench/*_test.sh))

PAXSHMD_PACKAGES := liburing libconfuse libsystemd
PAXCTL_PACKAGES  := jansson
BUILD_PACKAGES   := $(PAXSHMD_PACKAGES) $(PAXCTL_PACKAGES)
packages = $(shell $(PKG_CONFIG) $(1) $(2) 2>/dev/null)

.PHONY: model-steps model-spin all lib tools demo threads test check check-suites suites cluster storm kills storm-long cluster-long model-long house sim campaign sim-long mutants fuzz install install-files uninstall \
	format format-check lint deps clean help

all: lib tools ## the library and the tools, into build/
lib: $(LIBRARIES)
tools: $(PROGRAMS)

# ---- compiling ----

# Rewritten only when it says something new: other flags compile everything again.
FLAGS := $(CC) $(BASE_CFLAGS) $(CFLAGS) $(CPPFLAGS) / $(BASE_LDFLAGS) $(LDFLAGS)
$(BUILD)/flags: force
	@mkdir -p $(@D)
	@echo '$(FLAGS)' | cmp -s - $@ || echo '$(FLAGS)' >$@
.PHONY: force

$(BUILD)/packages: $(BUILD)/flags
	@$(PKG_CONFIG) --exists --print-errors $(BUILD_PACKAGES) || \
		{ echo 'Libraries are missing: scripts/deps build' >&2; exit 1; }
	@touch $@

$(BUILD)/%.o: %.c $(BUILD)/flags | $(BUILD)/packages
	@mkdir -p $(@D)
	$(CC) $(BASE_CFLAGS) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(call objects,$(PAXSHMD_SRC) $(NET_SRC)): BASE_CFLAGS += $(call packages,--cflags,$(PAXSHMD_PACKAGES))
$(call objects,$(PAXCTL_SRC) $(PAXBENCH_SRC)): BASE_CFLAGS += $(call packages,--cflags,$(PAXCTL_PACKAGES))
$(call objects,$(TEST_SRC) $(HELPER_SRC) $(HOOKED_SRC)): BASE_CFLAGS += $(call packages,--cflags,$(BUILD_PACKAGES) criterion)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

# ---- libpaxshm: needs libc alone, shows the names in its map and no others ----

# A warm lock asks libc for the time: straight, not by a jump.
$(call objects,$(LIB_SRC) $(SHM_SRC)): BASE_CFLAGS += -fno-plt

LIB_OBJ := $(call objects,$(LIB_SRC) $(SHM_SRC))

$(BUILD)/libpaxshm.so.$(VERSION): $(LIB_OBJ) lib/libpaxshm.map
	$(CC) -shared $(BASE_LDFLAGS) $(LDFLAGS) -Wl,-soname,libpaxshm.so.$(SOVERSION) \
		-Wl,--version-script=lib/libpaxshm.map $(if $(SAN),,-Wl,-z,defs) -o $@ $(LIB_OBJ)
	ln -sf $(@F) $(BUILD)/libpaxshm.so.$(SOVERSION)
	ln -sf $(@F) $(BUILD)/libpaxshm.so

# One relocatable object, so that the hidden names can be made local: no clash with a program's own.
$(BUILD)/libpaxshm.a: $(LIB_OBJ)
	$(CC) -nostdlib -r -o $(BUILD)/libpaxshm.o $(LIB_OBJ)
	$(OBJCOPY) --localize-hidden $(BUILD)/libpaxshm.o
	rm -f $@
	$(AR) rcs $@ $(BUILD)/libpaxshm.o

# ---- tools ----

link = $(CC) $(BASE_LDFLAGS) $(LDFLAGS) -pie -o $@ $(1)

$(BUILD)/paxshmd: $(call objects,$(PAXSHMD_SRC) $(NET_SRC) $(SHM_SRC))
	$(call link,$^ $(call packages,--libs,$(PAXSHMD_PACKAGES)))

$(BUILD)/paxctl: $(call objects,$(PAXCTL_SRC)) $(BUILD)/libpaxshm.a
	$(call link,$^ $(call packages,--libs,$(PAXCTL_PACKAGES)))

$(BUILD)/paxcluster: $(call objects,$(PAXCLUSTER_SRC)) $(BUILD)/libpaxshm.a
	$(call link,$^)

$(BUILD)/paxbench: $(call objects,$(PAXBENCH_SRC)) $(BUILD)/libpaxshm.a
	$(call link,$^ $(call packages,--libs,$(PAXCTL_PACKAGES)) -lm)

$(BUILD)/demo: $(call objects,$(DEMO_SRC)) $(BUILD)/libpaxshm.a
	$(call link,$^)

$(BUILD)/threads: $(call objects,$(THREADS_SRC)) $(BUILD)/libpaxshm.a
	$(call link,$^)

$(BUILD)/rival: $(call objects,$(RIVAL_SRC)) $(BUILD)/libpaxshm.a
	$(call link,$^)

$(BUILD)/gate_stress: $(BUILD)/tests/model/gate_stress.o $(call objects,shm/gate.c shm/gate_repair.c shm/gate_wait.c shm/sys.c)
	$(call link,$^)

threads: all $(BUILD)/threads $(BUILD)/gate_stress ## many threads in one session; with SAN=thread, watched for races
	@$(BUILD)/gate_stress
	@$(BUILD)/paxcluster run -n 1 -- sh -c 'PAXSHM_SOCKET=$$PAXSHM_SOCKET_1 $(BUILD)/threads'

demo: ## three agents, eight programs, two kills; what happened, in plain words
	@scripts/deps build
	@$(MAKE) -s -j$(JOBS) all $(DEMO_PROGRAMS)
	@$(BUILD)/paxcluster run -- $(BUILD)/demo

# ---- tests ----

TEST_ARCHIVES := $(BUILD)/all.a $(if $(strip $(HELPER_SRC)),$(BUILD)/helpers.a)

$(BUILD)/all.a: $(call objects,$(SHARED_SRC))
	@mkdir -p $(@D)
	rm -f $@
	$(AR) rcsP $@ $^

$(BUILD)/helpers.a: $(call objects,$(HELPER_SRC))
	rm -f $@
	$(AR) rcsP $@ $^

.SECONDARY: $(call objects,$(TEST_SRC))
$(BUILD)/tests/model/gate_model_test: $(call objects,$(HOOKED_SRC))
$(call tests_of,$(TEST_SRC)): %: %.o $(TEST_ARCHIVES)
	$(call link,$(filter %.o,$^) -Wl$(comma)--start-group $(TEST_ARCHIVES) -Wl$(comma)--end-group \
		$(call packages,--libs,$(BUILD_PACKAGES) criterion) -lm)

$(BUILD)/sim: $(call objects,$(SIM_SRC) $(MUTANT_SRC)) $(BUILD)/all.a
	$(call link,$^ $(call packages,--libs,$(BUILD_PACKAGES)))

RUN := BUILD=$(BUILD) tests/run

house:
	@$(RUN) $(sort $(wildcard tests/house/*.sh))

test: all $(call tests_of,$(QUICK_SRC)) ## the quick suites, under a minute
	@$(RUN) $(sort $(wildcard tests/house/*.sh)) $(call tests_of,$(QUICK_SRC))

suites: $(call tests_of,$(QUICK_SRC)) ## the quick suites without the house: make SAN=address,undefined suites
	@$(RUN) $^

cluster: all $(DEMO_PROGRAMS) $(call tests_of,$(SLOW_SRC)) ## the suites with real agents, and the model of the gate
	@TEST_TIMEOUT=300 $(RUN) $(filter-out %/gate_step_test,$(call tests_of,$(SLOW_SRC))) $(filter-out tests/model/%,$(SLOW_SCRIPTS))
	@$(MAKE) -s -j2 model-steps model-spin

# Each needs one core.
model-steps: $(BUILD)/tests/model/gate_step_test
	@TEST_TIMEOUT=300 $(RUN) $<

model-spin:
	@TEST_TIMEOUT=300 $(RUN) $(filter tests/model/%,$(SLOW_SCRIPTS))

# Of each of two clusters. What happened is shown in any case; a seed gives the same faults in the same order.
STORM_SECONDS ?= 30
STORM_SEED    ?=
STORM := $(call tests_of,$(STORM_SRC))
storm: all $(STORM) ## real clusters under every kind of fault: make storm STORM_SECONDS=60 STORM_SEED=42
	@STORM_SECONDS=$(STORM_SECONDS) STORM_SEED=$(STORM_SEED) $(STORM) --jobs 1

# A seed gives the same choice at the same strike; who is hit by it depends on the machine.
KILLS      ?= 2000
KILLS_SEED ?=
KILLS_TEST := $(call tests_of,$(KILLS_SRC))
kills: all $(KILLS_TEST) $(BUILD)/rival ## kill -9 of processes at any instruction: make kills KILLS=2000 KILLS_SEED=42
	@KILLS=$(KILLS) KILLS_SEED=$(KILLS_SEED) tests/storm/alone $(KILLS_TEST)

storm-long: ## a hundred thousand kills
	@$(MAKE) -s kills KILLS=100000

SECONDS ?= 0
cluster-long: all $(STORM) ## storms with new seeds, until stopped or SECONDS have passed
	@STORM=$(STORM) tests/storm/long $(SECONDS)

check: ## everything: house, suites, sanitizers, simulator, fuzzing, real clusters
	@scripts/deps check
	@$(MAKE) -s -j$(JOBS) WERROR=1 all $(DEMO_PROGRAMS) $(call tests_of,$(TEST_SRC)) $(SIM)
	@$(MAKE) -s WERROR=1 test
	@$(MAKE) -s WERROR=1 campaign SIM_SEEDS=600 SIM_SECONDS=120 SIM_LEAST=200
	@$(MAKE) -s WERROR=1 cluster
	@$(MAKE) -s WERROR=1 storm
	@$(MAKE) -s WERROR=1 kills
	@$(MAKE) -s -j$(JOBS) WERROR= SAN=address,undefined check-suites
	@$(MAKE) -s WERROR= SAN=address,undefined suites
	@$(MAKE) -s -j$(JOBS) SAN=thread threads
	@$(MAKE) -s -j$(JOBS) fuzz
	@echo 'check: all passed'

model-long: $(BUILD)/tests/model/gate_model_test ## the gate's models, with what takes minutes and gigabytes
	@MODEL_LONG=1 $< --verbose
	@MODEL_LONG=1 tests/model/spin_test.sh

check-suites: $(call tests_of,$(QUICK_SRC))

SEED ?= 1
SIM_SEEDS ?= 200
sim: $(SIM) ## one simulated cluster, with its trace: make sim SEED=42
	$(BUILD)/sim --seed $(SEED) --trace

campaign: $(SIM) ## many simulated clusters: make campaign SIM_SEEDS=5000
	$(if $(SIM),$(BUILD)/sim --seeds $(SIM_SEEDS) $(if $(SIM_SECONDS),--seconds $(SIM_SECONDS)) $(if $(SIM_LEAST),--least $(SIM_LEAST)))

sim-long: $(SIM) ## simulated clusters nobody has seen, until stopped
	$(BUILD)/sim --from 0 --seconds 0

# Every known mistake is built in, behind a switch that is set when a test starts: one build for all.
MUTANT_BUILD ?= build-mutant
MUTANT_TESTS := $(sort $(shell sed -n 's/^[0-9]*|[^|]*|\(tests[^|]*\)|.*/\1/p' tests/mutants/list))
mutants: ## builds each known mistake in and sees that a test finds it: make mutants ONLY="131 132"
	@$(MAKE) -s -j$(JOBS) BUILD=$(MUTANT_BUILD) CPPFLAGS='$(CPPFLAGS) -DPAXSHM_MUTANTS' $(MUTANT_BUILD)/sim \
		$(addprefix $(MUTANT_BUILD)/,$(MUTANT_TESTS))
	@BUILD=$(MUTANT_BUILD) tests/mutants/run $(ONLY)

# The decoders under libFuzzer: everything is compiled once more, by clang.
FUZZ_BUILD   ?= build-fuzz
FUZZ_SECONDS ?= 15
FUZZERS := $(patsubst tests/fuzz/%.c,$(FUZZ_BUILD)/%,$(FUZZ_SRC))
FUZZ_CFLAGS := -std=gnu11 -Wall -Wextra -Wno-unknown-warning-option -fno-strict-aliasing -pthread -O1 -g \
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
FUZZ_OBJ := $(patsubst %.c,$(FUZZ_BUILD)/%.o,$(call without_main,$(LIB_SRC) $(SHM_SRC) $(NET_SRC) $(PAXSHMD_SRC)))

$(FUZZ_BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CLANG) $(FUZZ_CFLAGS) -MMD -MP -c $< -o $@

$(FUZZ_BUILD)/all.a: $(FUZZ_OBJ)
	rm -f $@
	$(AR) rcsP $@ $^

.SECONDARY: $(patsubst %.c,$(FUZZ_BUILD)/%.o,$(FUZZ_SRC))
$(FUZZERS): $(FUZZ_BUILD)/%: $(FUZZ_BUILD)/tests/fuzz/%.o $(FUZZ_BUILD)/all.a
	$(CLANG) -fsanitize=fuzzer,address,undefined -pthread -o $@ $^ $(call packages,--libs,$(PAXSHMD_PACKAGES))

-include $(shell find $(FUZZ_BUILD) -name '*.d' 2>/dev/null)

fuzz: $(addsuffix .run,$(FUZZERS)) ## each decoder for FUZZ_SECONDS

.PHONY: $(addsuffix .run,$(FUZZERS))
$(addsuffix .run,$(FUZZERS)): %.run: %
	@name=$(notdir $*); found=$(FUZZ_BUILD)/corpus/$$name; seeds=tests/fuzz/corpus/$${name%_fuzz}; \
	mkdir -p $$found; [ -d $$seeds ] || seeds=; \
	$* -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(FUZZ_BUILD)/ -print_final_stats=1 \
		$$found $$seeds >$(FUZZ_BUILD)/$$name.log 2>&1 || { tail -n 60 $(FUZZ_BUILD)/$$name.log; exit 1; }; \
	printf '  ok    fuzz %-20s %s inputs in $(FUZZ_SECONDS) s\n' $$name \
		"$$(sed -n 's/^stat::number_of_executed_units: *//p' $(FUZZ_BUILD)/$$name.log)"

# ---- measuring ----

BENCH_FLAGS ?= --cluster 3 --pin

.PHONY: bench
bench: all ## every path beside its physical limit; writes docs/measured
	$(BUILD)/paxbench all $(BENCH_FLAGS) --save docs/measured --plot docs/measured

# ---- installing ----

MAN_PAGES := $(wildcard docs/*.[1-8])

install: all ## PREFIX=/usr/local DESTDIR=: library, header, pkg-config, manual pages, tools, unit
	@$(MAKE) -s install-files

install-files: # what is built, as it is
	$(INSTALL) -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(SBINDIR) $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(INCLUDEDIR) $(DESTDIR)$(UNITDIR)
	$(INSTALL) -m 755 $(BUILD)/libpaxshm.so.$(VERSION) $(DESTDIR)$(LIBDIR)
	ln -sf libpaxshm.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libpaxshm.so.$(SOVERSION)
	ln -sf libpaxshm.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libpaxshm.so
	$(INSTALL) -m 644 $(BUILD)/libpaxshm.a $(DESTDIR)$(LIBDIR)
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
		-e 's|@VERSION@|$(VERSION)|' lib/paxshm.pc.in >$(DESTDIR)$(LIBDIR)/pkgconfig/paxshm.pc
	chmod 644 $(DESTDIR)$(LIBDIR)/pkgconfig/paxshm.pc
	$(INSTALL) -m 644 lib/paxshm.h $(DESTDIR)$(INCLUDEDIR)
	$(INSTALL) -m 755 $(filter-out %/paxshmd,$(PROGRAMS)) $(DESTDIR)$(BINDIR)
	$(INSTALL) -m 755 $(BUILD)/paxshmd $(DESTDIR)$(SBINDIR)
	sed 's|@SBINDIR@|$(SBINDIR)|' tools/paxshmd/paxshmd.service.in >$(DESTDIR)$(UNITDIR)/paxshmd.service
	chmod 644 $(DESTDIR)$(UNITDIR)/paxshmd.service
	$(INSTALL) -D -m 644 docs/paxshmd.conf.example $(DESTDIR)$(DOCDIR)/paxshmd.conf.example
	for page in $(MAN_PAGES); do \
		$(INSTALL) -D -m 644 $$page $(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/} || exit 1; done

uninstall: ## takes away what install put there
	rm -f $(DESTDIR)$(LIBDIR)/libpaxshm.so* $(DESTDIR)$(LIBDIR)/libpaxshm.a $(DESTDIR)$(LIBDIR)/pkgconfig/paxshm.pc \
		$(DESTDIR)$(INCLUDEDIR)/paxshm.h $(patsubst $(BUILD)/%,$(DESTDIR)$(BINDIR)/%,$(filter-out %/paxshmd,$(PROGRAMS))) \
		$(DESTDIR)$(SBINDIR)/paxshmd $(DESTDIR)$(UNITDIR)/paxshmd.service \
		$(DESTDIR)$(DOCDIR)/paxshmd.conf.example
	for page in $(MAN_PAGES); do rm -f $(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/}; done

# ---- keeping house ----

ALL_C = $(sort $(shell find lib shm net tools bench tests -name '*.[ch]'))

format: ## clang-format over all sources
	clang-format -i $(ALL_C)

format-check:
	clang-format --dry-run -Werror $(ALL_C)

lint: ## clang-tidy and cppcheck
	@scripts/deps lint
	@printf '%s\n' $(filter %.c,$(filter-out tests/%,$(ALL_C))) | xargs -P $(JOBS) -n 4 sh -c \
		'clang-tidy --quiet --warnings-as-errors="*" "$$@" -- -std=gnu11 $(call packages,--cflags,$(BUILD_PACKAGES)) 2>/dev/null' lint
	@cppcheck --quiet -j $(JOBS) --std=c11 --enable=warning,portability --inline-suppr --suppress=missingIncludeSystem \
		--suppress=uninitvar --suppress=legacyUninitvar --error-exitcode=1 lib shm net tools bench

deps: ## get missing packages for everything
	scripts/deps check

clean: ## takes away every build folder
	rm -rf build build-asan build-tsan build-fuzz build-mutant

help: ## this list
	@awk -F '[:#]+ *' '/^[a-z-]+:.*## / { sub(/:.*## /, "#"); split($$0, f, "#"); printf "  make %-12s %s\n", f[1], f[2] }' Makefile
	@echo 'Settings: SAN=address,undefined | SAN=thread, WERROR=1, BUILD=folder, PREFIX=, DESTDIR=, SEED='
