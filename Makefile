# assay: everything that is built, run, tested or measured. `make help` lists the targets.
MODE    ?= debug
BUILD   ?= build/$(MODE)
CC      ?= gcc
MODULES ?= base http store validate webhook api worker monitor cmd
PACKAGES = jansson sqlite3 libcurl libseccomp libcrypto

WARN    = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
HARDEN  = -fPIE -fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=2
LDHARD  = -pie -Wl,-z,relro,-z,now,-z,noexecstack
FLAGS_debug   = -O1 -g
FLAGS_release = -O2 -g $(HARDEN)
FLAGS_asan    = -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FLAGS_tsan    = -O1 -g -fsanitize=thread
LDFLAGS_release = $(LDHARD)

CFLAGS_ALL  = -std=gnu17 $(WARN) $(FLAGS_$(MODE)) -Isrc -D_GNU_SOURCE $(shell pkg-config --cflags $(PACKAGES)) $(CFLAGS)
LDFLAGS_ALL = $(FLAGS_$(MODE)) $(LDFLAGS_$(MODE)) $(LDFLAGS)
LIBS        = $(shell pkg-config --libs $(PACKAGES)) -lpthread -lm

SOURCES = $(foreach m,$(MODULES),$(wildcard src/$(m)/*.c))
OBJECTS = $(SOURCES:src/%.c=$(BUILD)/obj/%.o)
MAIN    = $(BUILD)/obj/cmd/main.o
LIBRARY = $(filter-out $(MAIN),$(OBJECTS))
TESTS  ?= $(wildcard test/unit/test_*.c test/contract/test_*.c)
TEST_BINARIES = $(TESTS:test/%.c=$(BUILD)/test/%)
# what tests share (test/support/*.c) is linked into each of them
SUPPORT = $(patsubst test/%.c,$(BUILD)/test/%.o,$(wildcard test/support/*.c))

.PHONY: build unit clean
.SECONDARY:
build: $(BUILD)/assay

$(BUILD)/assay: $(OBJECTS)
	$(CC) $(LDFLAGS_ALL) $^ $(LIBS) -o $@

$(BUILD)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

$(BUILD)/test/%.o: test/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -Itest -MMD -MP -c $< -o $@

$(BUILD)/test/%: $(BUILD)/test/%.o $(LIBRARY) $(SUPPORT)
	$(CC) $(LDFLAGS_ALL) $^ $(LIBS) -lcmocka $(TEST_LIBS) -o $@

unit: $(TEST_BINARIES)
	@for t in $(TEST_BINARIES); do $$t || exit 1; done

clean:
	rm -rf build

-include $(OBJECTS:.o=.d) $(wildcard $(BUILD)/test/*/*.d)
