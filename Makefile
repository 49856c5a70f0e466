# rig: hardware-in-the-loop test rig controller
#
# One Makefile, not recursive. Objects go to build/<variant>/; variants: release, asan, tsan, cov.

ifneq ($(words $(CURDIR)),1)
$(error make cannot work below a folder with a space in its name: move "$(CURDIR)")
endif

VARIANT ?= release
B := build/$(VARIANT)
PREFIX ?= /usr/local
DESTDIR ?=

# what is run is shown with V=1
ifeq ($(V),)
MAKEFLAGS += --silent
endif

# --- packages -----------------------------------------------------------------------------------
PKGS_BUILD := build-essential pkg-config libuv1-dev libjansson-dev liblua5.4-dev libcbor-dev \
	nettle-dev libpcre2-dev libunicorn-dev libgpiod-dev libusb-1.0-0-dev libserialport-dev \
	libcurl4-openssl-dev gcc-arm-none-eabi openocd
# npm brings the TAP parser that is not ours; a machine may have it from elsewhere
PKGS_CHECK := libcmocka-dev libumockdev-dev umockdev perl procps ser2net pdudaemon python3-serial $(if $(shell command -v npm),,nodejs npm)
PKGS_FUZZ := clang
PKGS_LINT := clang-format clang-tidy cppcheck lua-check

ifneq ($(filter-out help clean deps deps-%,$(or $(MAKECMDGOALS),all)),)
PKG_LIBS := libuv jansson libcbor nettle libpcre2-8
# what drivers are made with
DRV_LIBS := libgpiod libusb-1.0 libserialport libcurl
PKG_CFLAGS := $(shell pkg-config --cflags $(PKG_LIBS) $(DRV_LIBS) lua5.4 2>/dev/null) \
	$(shell pkg-config --cflags umockdev-1.0 2>/dev/null)
PKG_LDLIBS := $(shell pkg-config --libs $(PKG_LIBS) 2>/dev/null)
DRV_LDLIBS := $(shell pkg-config --libs $(DRV_LIBS) 2>/dev/null)
LUA_LDLIBS := $(shell pkg-config --libs lua5.4 2>/dev/null)
# libgpiod 2 has another interface than 1.6 (drivers/gpio_lib.h)
GPIOD_MAJOR := $(firstword $(subst ., ,$(shell pkg-config --modversion libgpiod 2>/dev/null)))
endif

# --- flags --------------------------------------------------------------------------------------
CC := gcc
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wswitch-enum -Wvla
CFLAGS_release := -O2 -g
CFLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -Werror
CFLAGS_tsan := -O1 -g -fsanitize=thread -Werror
CFLAGS_cov := -O0 -g --coverage
CFLAGS_fuzz := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -fsanitize=fuzzer-no-link
CFLAGS := -std=gnu11 -D_GNU_SOURCE $(WARN) $(CFLAGS_$(VARIANT)) -I. $(PKG_CFLAGS) -DRIG_GPIOD=$(or $(GPIOD_MAJOR),1) -MMD -MP
LDFLAGS := $(filter -fsanitize=% --coverage,$(CFLAGS_$(VARIANT)))
ifeq ($(VARIANT),fuzz)
CC := clang
LDFLAGS += -fsanitize=fuzzer
endif

# --- what is built ------------------------------------------------------------------------------
MAINS := $(wildcard rig/main_*.c)
LUA_SRC := $(wildcard rig/lua_*.c)
RIG_SRC := $(filter-out $(MAINS) $(LUA_SRC),$(wildcard rig/*.c)) $(wildcard reports/*.c)
DRV_SRC := $(wildcard drivers/*.c)
VB_SRC := $(filter-out fixtures/vboard/main.c,$(wildcard fixtures/vboard/*.c))
TEST_SRC := $(wildcard tests/test_*.c)

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
LIBRIG := $(B)/librig.a
LIBLUA := $(B)/libriglua.a
LIBDRV := $(B)/libdrivers.a
LIBVB := $(B)/libvboard.a
# the core and its Lua part call each other
GROUP = -Wl,--start-group $^ -Wl,--end-group
PROGRAMS := $(if $(wildcard rig/main_rig.c),$(B)/rig) $(if $(wildcard rig/main_worker.c),$(B)/rig-worker) \
	$(if $(wildcard rig/main_keeper.c),$(B)/rig-keeper) $(if $(wildcard fixtures/vboard/main.c),$(B)/vboard)
TESTS := $(patsubst tests/%.c,$(B)/tests/%,$(TEST_SRC))
FUZZ := $(patsubst tests/fuzz/%.c,$(B)/tests/%,$(wildcard tests/fuzz/fuzz_*.c))
TESTS_T := $(wildcard tests/*.t)

.PHONY: all
all: $(PROGRAMS) firmware ## build everything (default)

-include fixtures/firmware/firmware.mk
-include fixtures/vboard/testfw/testfw.mk
-include fixtures/bench-vm/bench-vm.mk
.PHONY: firmware

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c -o $@ $<

$(LIBRIG): $(call obj,$(RIG_SRC))
$(LIBLUA): $(call obj,$(LUA_SRC))
$(LIBDRV): $(call obj,$(DRV_SRC))
$(LIBVB): $(call obj,$(VB_SRC))
$(LIBRIG) $(LIBLUA) $(LIBDRV) $(LIBVB):
	@mkdir -p $(@D)
	@rm -f $@
	ar rcs $@ $^

$(B)/rig: $(B)/obj/rig/main_rig.o $(LIBLUA) $(LIBRIG)
	$(CC) $(LDFLAGS) -o $@ $(GROUP) $(LUA_LDLIBS) $(PKG_LDLIBS)
$(B)/rig-worker: $(B)/obj/rig/main_worker.o $(LIBLUA) $(LIBRIG)
	$(CC) $(LDFLAGS) -o $@ $(GROUP) $(LUA_LDLIBS) $(PKG_LDLIBS)
$(B)/rig-keeper: $(B)/obj/rig/main_keeper.o $(LIBDRV) $(LIBRIG)
	$(CC) $(LDFLAGS) -o $@ $^ $(DRV_LDLIBS) $(PKG_LDLIBS)
$(B)/vboard: $(B)/obj/fixtures/vboard/main.o $(LIBVB) $(LIBRIG)
	$(CC) $(LDFLAGS) -o $@ $^ -lunicorn $(PKG_LDLIBS)

# a test named test_vboard_*.c gets the virtual board's library too
$(B)/tests/test_vboard%: $(B)/obj/tests/test_vboard%.o $(LIBVB) $(LIBDRV) $(LIBRIG)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -lcmocka -lunicorn $(DRV_LDLIBS) $(PKG_LDLIBS)
$(B)/tests/test_%: $(B)/obj/tests/test_%.o $(LIBLUA) $(LIBDRV) $(LIBRIG)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(GROUP) -lcmocka $(LUA_LDLIBS) $(DRV_LDLIBS) $(PKG_LDLIBS)

# umockdev plays a device to the real libusb
$(B)/tests/test_usb_umockdev: PKG_LDLIBS += $(shell pkg-config --libs umockdev-1.0 2>/dev/null)

# fuzz targets: with the driver of tests/fuzz for check, with libFuzzer's in the variant fuzz
$(B)/tests/fuzz_%: $(B)/obj/tests/fuzz/fuzz_%.o $(if $(filter fuzz,$(VARIANT)),,$(B)/obj/tests/fuzz/driver.o) \
		$(LIBLUA) $(LIBDRV) $(LIBRIG)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(GROUP) $(LUA_LDLIBS) $(DRV_LDLIBS) $(PKG_LDLIBS)

# what the rig costs: make bench
$(B)/bench: $(call obj,$(wildcard tests/bench/*.c)) $(LIBRIG)
	$(CC) $(LDFLAGS) -o $@ $^ -lpthread $(PKG_LDLIBS)

.SECONDARY:
-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

# --- running ------------------------------------------------------------------------------------
.PHONY: check check-run check-asan check-campaign campaign fuzz fuzz-seeds fuzz-run demo bench lint help clean deps install
check: deps-check ## install what is missing, build, run every test
	@$(MAKE) --no-print-directory check-run

check-run: all $(TESTS) $(FUZZ)
	RIG_BUILD=$(CURDIR)/$(B) CMOCKA_MESSAGE_OUTPUT=TAP \
	LSAN_OPTIONS=suppressions=$(CURDIR)/tests/lsan.supp:print_suppressions=0 \
		prove --merge -j2 --timer $(TESTS) $(FUZZ) $(TESTS_T)

check-asan: deps-check ## the tests under address, undefined and leak sanitizers
	@$(MAKE) --no-print-directory VARIANT=asan check-run

# a target for so many seconds each; what it finds stays in build/fuzz/corpus
FUZZ_SECONDS ?= 60
fuzz: deps-fuzz ## every parser under libFuzzer, FUZZ_SECONDS each
	@$(MAKE) --no-print-directory fuzz-seeds
	@$(MAKE) --no-print-directory VARIANT=fuzz fuzz-run

fuzz-seeds: $(FUZZ)
	@for f in $(FUZZ); do mkdir -p build/fuzz/corpus/$${f##*/} && $$f --write-seeds build/fuzz/corpus/$${f##*/} || exit 1; done

fuzz-run: $(FUZZ)
	@for f in $(FUZZ); do echo "== $${f##*/}"; \
		$$f -max_total_time=$(FUZZ_SECONDS) -verbosity=0 -print_final_stats=1 build/fuzz/corpus/$${f##*/} || exit 1; done

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | sort | expand -t16

clean: ## remove what was built
	rm -rf build

# --- packages: say what is installed; without root and sudo print the line and stop -------------
define install_pkgs
@missing=; for p in $(1); do \
	dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$p"; done; \
if [ -n "$$missing" ]; then \
	if [ "$$(id -u)" = 0 ]; then as=; elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then as=sudo; else \
		echo "These packages are missing. Install them, then run make again:"; \
		echo "  apt-get install --no-install-recommends$$missing"; exit 1; fi >&2; \
	echo "installing from Debian's packages:$$missing" >&2; \
	$$as apt-get update -qq && $$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
fi
endef
.PHONY: deps-build deps-check deps-lint deps-fuzz
deps-build:
	$(call install_pkgs,$(PKGS_BUILD))
deps-check:
	$(call install_pkgs,$(PKGS_BUILD) $(PKGS_CHECK))
deps-fuzz:
	$(call install_pkgs,$(PKGS_BUILD) $(PKGS_FUZZ))
deps-lint:
	$(call install_pkgs,$(PKGS_BUILD) $(PKGS_CHECK) $(PKGS_LINT))

BANNED := strcpy|strcat|sprintf|vsprintf|atoi|system|popen|sleep|usleep|gets|strtok
C_FILES = $(shell git ls-files '*.c' '*.h')
lint: deps-lint ## clang-format, clang-tidy, cppcheck, luacheck, banned calls
	clang-format --dry-run --Werror $(C_FILES)
	@! grep -nE '(^|[^_[:alnum:]>.])($(BANNED))\(' $(C_FILES) || { echo "banned calls"; exit 1; }
	cppcheck --quiet --std=c11 --enable=warning,portability --error-exitcode=1 --inline-suppr \
		'-Djson_object_foreach(o,k,v)=while(next(o,&k,&v))' '-Djson_array_foreach(a,i,v)=while(next(a,&i,&v))' \
		-I. $(filter-out tests/%,$(TIDY_FILES))
	@$(MAKE) --no-print-directory -k -j2 $(TIDY_FILES:%=build/lint/%.ok)
	luacheck -q $(shell git ls-files '*.lua')

# the firmware is for another machine, whose headers clang does not have
TIDY_FILES = $(filter-out fixtures/firmware/% fixtures/vboard/testfw/%,$(filter %.c,$(C_FILES)))
# one mark per file, so that only what changed is looked at again
build/lint/%.ok: % .clang-tidy tests/.clang-tidy $(wildcard */*.h fixtures/*/*.h)
	@mkdir -p $(@D)
	@echo "clang-tidy $<"
	@clang-tidy --quiet $< -- $(filter-out -W%,$(CFLAGS)) 2>$@.err || { cat $@.err; exit 1; }
	@rm -f $@.err
	@touch $@

# --- the main job, benches, installing ----------------------------------------------------------
demo: deps-build ## install what is missing, build, run the main job on virtual boards
	@$(MAKE) --no-print-directory all
	@RIG_BUILD=$(CURDIR)/$(B) fixtures/demo.sh

bench: deps-check ## measure and print what the rig itself costs, and what its drivers reach in the bench VM
	@$(MAKE) --no-print-directory all $(B)/bench
	@RIG_BUILD=$(CURDIR)/$(B) perl -Itests/lib tests/bench/bench.pl
	@echo; echo "In the bench VM: where cuts land, and edge to relay"
	@$(MAKE) --no-print-directory bench-vm

campaign: deps-check ## the campaign against every planted build, and the table of docs/campaign.md
	@$(MAKE) --no-print-directory all
	@RIG_BUILD=$(CURDIR)/$(B) perl tests/campaign.pl --write docs/campaign.md

check-campaign: deps-check ## the same for CI: one seed, one replay, 300 trials of the good build
	@$(MAKE) --no-print-directory all
	@RIG_BUILD=$(CURDIR)/$(B) perl tests/campaign.pl --seeds 1 --replays 1 --good 300 --good-seeds 1

LIBDIR := $(DESTDIR)$(PREFIX)/lib/rig
SHAREDIR := $(DESTDIR)$(PREFIX)/share/rig
RULESDIR := $(DESTDIR)$(PREFIX)/lib/udev/rules.d
install: all ## install below PREFIX (DESTDIR is put before it)
	install -d $(LIBDIR) $(RULESDIR) $(DESTDIR)$(PREFIX)/bin $(SHAREDIR)/rig $(SHAREDIR)/boards $(SHAREDIR)/scenarios
	install -m 755 $(PROGRAMS) $(LIBDIR)
	ln -sf ../lib/rig/rig $(DESTDIR)$(PREFIX)/bin/rig
	install -m 644 drivers/60-rig.rules $(RULESDIR)
	install -m 644 $(wildcard rig/*.lua) $(SHAREDIR)/rig
	install -m 644 $(wildcard boards/*) $(SHAREDIR)/boards
	install -m 644 $(wildcard scenarios/*.lua) $(SHAREDIR)/scenarios
