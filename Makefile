# assay: everything that is built, run, tested or measured. `make help` lists the targets.
#
#   MODE     release (default), debug, asan (address and undefined behaviour), tsan (threads), cover
#   CC       gcc, clang, or a cross compiler (PKG_CONFIG then names its pkg-config)
#   WAY      native, docker or apt: where server, test and test-e2e run; chosen by itself if unset
#   ARGS     more arguments for server or for pytest;  V=1 names every single test, and compiler commands
#   TESTS    narrows test and unit: make test TESTS=test/unit/test_buf.c
#   ONLY     narrows bench: make bench ONLY=accept (bench/run names the sections)
ifeq ($(origin CC),default)
CC = gcc
endif
MODE       ?= release
SUFFIX      = $(if $(filter gcc cc,$(CC)),,-$(notdir $(CC)))
BUILD      ?= build/$(MODE)$(SUFFIX)
ifeq ($(abspath $(BUILD)),$(abspath build))
$(error BUILD=$(BUILD) cannot be: build/assay is the link to what was built last. Take another folder, as in build/mine)
endif
MODULES    ?= base http client store validate webhook api worker monitor cmd
PKG_CONFIG ?= pkg-config
PACKAGES    = jansson sqlite3 hiredis libssl libcrypto libseccomp zlib
FUZZ_SECONDS ?= 60

# Some hardening is the processor's: the compiler knows which one it builds for.
MACHINE    := $(shell $(CC) -dumpmachine 2>/dev/null)
HARDEN_CPU  = $(if $(filter x86_64%,$(MACHINE)),-fcf-protection=full -fstack-clash-protection) \
              $(if $(filter aarch64%,$(MACHINE)),-mbranch-protection=standard)
HARDEN      = -fPIE -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 $(HARDEN_CPU)

WARN        = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
FLAGS_debug   = -O1 -g
FLAGS_release = -O2 -g $(HARDEN)
FLAGS_asan    = -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FLAGS_tsan    = -O1 -g -fsanitize=thread
FLAGS_cover   = -O0 -g --coverage
FLAGS_fuzz    = $(FLAGS_asan) -fsanitize=fuzzer-no-link
LDFLAGS_release = -pie -Wl,-z,relro,-z,now,-z,noexecstack

CFLAGS_ALL  = -std=gnu17 $(WARN) $(FLAGS_$(MODE)) -Isrc -D_GNU_SOURCE \
              $(shell $(PKG_CONFIG) --cflags $(PACKAGES)) $(CFLAGS)
LDFLAGS_ALL = $(FLAGS_$(MODE)) $(LDFLAGS_$(MODE)) $(LDFLAGS)
LIBS        = $(shell $(PKG_CONFIG) --libs $(PACKAGES)) -lpthread -lm
# A test, bench or fuzz source that needs one more library says so in its first five lines:
# `/* link: -ljpeg */`; or `/* link-if: libllhttp */`, linked only where pkg-config knows it.
LINK        = $(shell sed -n '1,5s,^/\* link: \(.*\) \*/.*,\1,p' $(1)) \
              $(shell $(PKG_CONFIG) --libs --silence-errors \
                  `sed -n '1,5s,^/\* link-if: \(.*\) \*/.*,\1,p' $(1)` 2>/dev/null)

SOURCES = $(foreach m,$(MODULES),$(wildcard src/$(m)/*.c))
OBJECTS = $(SOURCES:src/%.c=$(BUILD)/obj/%.o)
LIBRARY = $(filter-out $(BUILD)/obj/cmd/main.o,$(OBJECTS))
TESTS  ?= $(wildcard test/unit/test_*.c test/contract/test_*.c)
TEST_BINARIES = $(TESTS:test/%.c=$(BUILD)/test/%)
# what tests share (test/support/*.c) is linked into each of them
SUPPORT = $(patsubst test/%.c,$(BUILD)/test/%.o,$(wildcard test/support/*.c))
FUZZERS = $(patsubst test/fuzz/fuzz_%.c,%,$(wildcard test/fuzz/fuzz_*.c))
# corpora are replayed under sanitizers, whatever MODE the tests beside them have
REPLAY  = build/asan$(SUFFIX)
BENCHES = $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/*.c))

.PHONY: help build server test test-e2e test-compose native-server native-test native-test-e2e unit \
        tests replays benches fuzzers print-cflags fuzz bench cover lint install clean
.SECONDARY:
.DEFAULT_GOAL = build

build: $(BUILD)/assay ## build/assay, the whole program
	@mkdir -p build
	@ln -sfn $(if $(filter build/%,$(BUILD)),$(BUILD:build/%=%),$(abspath $(BUILD)))/assay build/assay

server: ## build and run everything: API on 127.0.0.1:5001, monitor on 127.0.0.1:5555
test: ## unit and contract tests, then every fuzz corpus once more under sanitizers
test-e2e: ## start the real program, be its client and its webhooks' receiver
server test test-e2e:
	+@MAKE='$(MAKE)' CC='$(CC)' PKG_CONFIG='$(PKG_CONFIG)' PACKAGES='$(PACKAGES)' MODE='$(MODE)' \
	    WAY='$(WAY)' ARGS='$(ARGS)' V='$(V)' tools/with-toolchain.sh $@

# What the three do where the toolchain is:
native-server: build
	@mkdir -p data
	@exec build/assay server $(ARGS)

native-test: tests
	+@$(MAKE) --no-print-directory MODE=asan BUILD=$(REPLAY) replays
	@V=$(V) tools/run-tests.sh $(BUILD) $(TEST_BINARIES) $(FUZZERS:%=$(REPLAY)/test/fuzz/replay_%)

native-test-e2e: build
	ASSAY_BINARY=$(abspath $(BUILD)/assay) tools/pytest.sh test/e2e $(ARGS)

test-compose: ## the compose stack on a Docker engine: five workers, kills, cuts, restarts, hot reload
	@tools/pytest.sh test/compose $(ARGS)

unit: tests ## only the unit and contract tests, natively
	@V=$(V) tools/run-tests.sh $(BUILD) $(TEST_BINARIES)

fuzz: ## FUZZ_SECONDS=60 of libFuzzer for each parser (clang)
	+@$(MAKE) --no-print-directory MODE=fuzz CC=clang BUILD=build/fuzz fuzzers
	@tools/fuzz.sh $(FUZZ_SECONDS) $(FUZZERS:%=build/fuzz/test/fuzz/fuzz_%)

bench: build benches ## the figures, measured on this machine
	@BUILD=$(BUILD) ONLY='$(ONLY)' bench/run $(ARGS)

cover: ## which lines the unit and contract tests reach
	+@$(MAKE) --no-print-directory MODE=cover BUILD=build/cover unit
	@tools/coverage.sh build/cover

lint: ## format, include directions, clang-tidy, shellcheck; gcc -fanalyzer as a report
	@tools/lint.sh

PREFIX ?= /usr/local
UNITS  ?= $(PREFIX)/lib/systemd/system
SHARE   = $(DESTDIR)$(PREFIX)/share
install: build ## program, man page, systemd unit, alert rules, dashboard; into DESTDIR, PREFIX (/usr/local)
	install -d $(DESTDIR)$(PREFIX)/bin $(SHARE)/man/man1 $(SHARE)/assay $(DESTDIR)$(UNITS)
	install -m 755 $(BUILD)/assay $(DESTDIR)$(PREFIX)/bin/assay
	$(BUILD)/assay help --man >$(SHARE)/man/man1/assay.1
	sed 's,/usr/bin/assay,$(PREFIX)/bin/assay,' dist/assay.service >$(DESTDIR)$(UNITS)/assay.service
	install -m 644 dist/prometheus-rules.yml dist/grafana-dashboard.json $(SHARE)/assay
	chmod 644 $(SHARE)/man/man1/assay.1 $(DESTDIR)$(UNITS)/assay.service

clean: ## remove all that was built (the data folder stays)
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' Makefile | \
	    while IFS="`printf '\t'`" read -r target what; do printf '  %-12s %s\n' "$$target" "$$what"; done
	@sed -n '/^#   [A-Z]/s/^# */  /p' Makefile

tests: $(TEST_BINARIES) ; @:
replays: $(FUZZERS:%=$(BUILD)/test/fuzz/replay_%) ; @:
fuzzers: $(FUZZERS:%=$(BUILD)/test/fuzz/fuzz_%) ; @:
benches: $(BENCHES) ; @:
print-cflags:
	@echo '$(strip $(CFLAGS_ALL))'

# what .incbin takes in is not seen by -MMD
$(BUILD)/obj/monitor/resources.o: $(wildcard src/monitor/*.css src/monitor/*.js src/monitor/*.svg)

# --- how files are made --- (V=1 shows the commands)
SAY = $(if $(V),,@echo "$(notdir $(CC)) $@";)
$(BUILD)/assay: $(OBJECTS)
	$(SAY)$(CC) $(LDFLAGS_ALL) $^ $(LIBS) -o $@

$(BUILD)/obj/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	$(SAY)$(CC) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

$(BUILD)/obj/store/redis_lua.o: $(wildcard src/store/redis*.lua) # which it contains

# what the assembler takes in, the compiler does not see
$(BUILD)/obj/api/health.o: src/api/openapi.json

$(BUILD)/test/%.o: test/%.c Makefile
	@mkdir -p $(@D)
	$(SAY)$(CC) $(CFLAGS_ALL) -Itest -MMD -MP -c $< -o $@

$(BUILD)/bench/%.o: bench/%.c Makefile
	@mkdir -p $(@D)
	$(SAY)$(CC) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

$(BUILD)/test/fuzz/fuzz_%: $(BUILD)/test/fuzz/fuzz_%.o $(LIBRARY)
	$(SAY)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer $^ $(LIBS) $(call LINK,test/fuzz/fuzz_$*.c) -o $@

$(BUILD)/test/fuzz/replay_%: $(BUILD)/test/fuzz/fuzz_%.o $(BUILD)/test/fuzz/replay.o $(LIBRARY)
	$(SAY)$(CC) $(LDFLAGS_ALL) $^ $(LIBS) $(call LINK,test/fuzz/fuzz_$*.c) -o $@

$(BUILD)/test/%: $(BUILD)/test/%.o $(LIBRARY) $(SUPPORT)
	$(SAY)$(CC) $(LDFLAGS_ALL) $^ $(LIBS) -lcmocka $(call LINK,test/$*.c) $(TEST_LIBS) -o $@

$(BUILD)/bench/%: $(BUILD)/bench/%.o $(LIBRARY)
	$(SAY)$(CC) $(LDFLAGS_ALL) $^ $(LIBS) $(call LINK,bench/$*.c) -o $@

-include $(OBJECTS:.o=.d) $(wildcard $(BUILD)/test/*/*.d $(BUILD)/bench/*.d)
