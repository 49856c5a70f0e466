/* command-probe: a script whose flash is a file (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_COMMAND_PROBE_H
#define TESTS_CONTRACTS_COMMAND_PROBE_H

#include "../driver_contract.h"
#include "../scratch.h"

#include <poll.h>
#include <signal.h>

#define COMMAND_PROBE_BASE 0x1000
#define COMMAND_PROBE_SIZE 0x4000
#define COMMAND_PROBE_PAGE 0x1000

/*
 * loader write|read ADDRESS SIZE FILE, with its flash in the file flash beside it; what it does
 * goes into the file log. Fails, hangs or writes badly as the file mode says.
 */
#define COMMAND_PROBE_SCRIPT                                                                       \
	"#!/bin/sh\n"                                                                              \
	"d=${0%/*}; at=$(($2 - 0x1000))\n"                                                         \
	"echo \"$1 $2 $3\" >>$d/log\n"                                                             \
	"case $(cat $d/mode) in\n"                                                                 \
	"fail) echo 'no serial data received' >&2; exit 2 ;;\n"                                    \
	"hang) echo $$ >$d/pid.new; mv $d/pid.new $d/pid; exec sleep 1000 ;;\n"                    \
	"short) [ $1 = read ] && { echo x >$4; exit 0; } ;;\n"                                     \
	"none) [ $1 = read ] && exit 0 ;;\n"                                                       \
	"lies) [ $1 = write ] && exit 0 ;;\n"                                                      \
	"esac\n"                                                                                   \
	"case $1 in\n"                                                                             \
	"write) dd if=$4 of=$d/flash bs=4096 seek=$((at / 4096)) conv=notrunc 2>/dev/null ;;\n"    \
	"read) dd if=$d/flash of=$4 bs=1 skip=$at count=$3 2>/dev/null ;;\n"                       \
	"version) echo loader 4.7 ;;\n"                                                            \
	"esac\n"

struct command_probe_bench {
	uv_loop_t *loop;
	void *scratch;
	json_t *conf;
	char *path; /* PATH as it was */
	char out[4200];
};

static const char *command_probe_file(const struct command_probe_bench *b, const char *name)
{
	return scratch_path(b->scratch, name);
}

static void command_probe_mode(struct command_probe_bench *b, const char *mode)
{
	scratch_write(b->scratch, "mode", mode);
}

static void command_probe_mend(void *bench)
{
	struct command_probe_bench *b = bench;

	command_probe_mode(b, "");
	assert_return_code(
		chmod(scratch_write(b->scratch, "rig-test-loader", COMMAND_PROBE_SCRIPT), 0755), 0);
}

static struct command_probe_bench *command_probe_at; /* for operations that have no bench */

static void *command_probe_setup(struct driver_env *env)
{
	struct command_probe_bench *b = calloc(1, sizeof(*b));
	char flash[COMMAND_PROBE_SIZE], *path;
	FILE *f;

	b->loop = env->loop;
	env->capability = "probe";
	assert_int_equal(scratch_setup(&b->scratch), 0);
	command_probe_mend(b);
	memset(flash, 0x5a, sizeof(flash));
	f = fopen(command_probe_file(b, "flash"), "w");
	assert_non_null(f);
	assert_int_equal(fwrite(flash, 1, sizeof(flash), f), sizeof(flash));
	fclose(f);
	b->path = strdup(getenv("PATH"));
	assert_true(asprintf(&path, "%s:%s", ((struct scratch *)b->scratch)->dir, b->path) > 0);
	setenv("PATH", path, 1);
	free(path);
	b->conf = json_pack("{s:{s:i, s:i, s:i}}", "flash", "base", COMMAND_PROBE_BASE, "size",
		COMMAND_PROBE_SIZE, "page", COMMAND_PROBE_PAGE);
	env->board_conf = b->conf;
	env->board_dir = env->log_dir = ((struct scratch *)b->scratch)->dir;
	snprintf(b->out, sizeof(b->out), "%s", command_probe_file(b, "out"));
	command_probe_at = b;
	return b;
}

static void command_probe_teardown(void *bench)
{
	struct command_probe_bench *b = bench;

	setenv("PATH", b->path, 1);
	free(b->path);
	json_decref(b->conf);
	scratch_teardown(&b->scratch);
	free(b);
}

static bool command_probe_break_open(void *bench, unsigned step, json_t *options)
{
	(void)options;
	if (step == 0)
		unlink(command_probe_file(bench, "rig-test-loader"));
	else
		chmod(command_probe_file(bench, "rig-test-loader"), 0644);
	return step < 2;
}

static void command_probe_start(struct device *dev, struct op *op)
{
	dev->driver->probe->read(dev, 0x1000, 16, command_probe_at->out, op);
}

static void command_probe_start_stuck(void *bench, struct device *dev, struct op *op)
{
	struct command_probe_bench *b = bench;

	command_probe_mode(b, "hang");
	command_probe_start(dev, op);
	while (access(command_probe_file(b, "pid"), F_OK) != 0) {
		uv_run(b->loop, UV_RUN_NOWAIT);
		poll(NULL, 0, 1);
	}
}

static void command_probe_unstick(void *bench)
{
	command_probe_mode(bench, "");
	unlink(command_probe_file(bench, "pid"));
}

static void command_probe_unplug(void *bench)
{
	char text[32] = "";
	FILE *f = fopen(command_probe_file(bench, "pid"), "r");

	command_probe_mode(bench, "fail");
	if (!f)
		return;
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	kill((pid_t)strtol(text, NULL, 10), SIGKILL);
	unlink(command_probe_file(bench, "pid"));
}

#define COMMAND_PROBE_OPTIONS                                                                      \
	"{\"program\": \"rig-test-loader write {address} {size} {path}\","                         \
	" \"read\": \"rig-test-loader read {address} {size} {path}\","                             \
	" \"version\": \"rig-test-loader version 0x1000\", \"timeout_ms\": 20000}"

static const struct contract contract_command_probe = {"command-probe", COMMAND_PROBE_OPTIONS,
	command_probe_setup, command_probe_teardown, command_probe_break_open, command_probe_mend,
	command_probe_start, command_probe_start_stuck, command_probe_unstick, command_probe_unplug,
	false, NULL};

#endif
