/* command: a script that switches a file (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_COMMAND_H
#define TESTS_CONTRACTS_COMMAND_H

#include "../driver_contract.h"
#include "../scratch.h"

#include <poll.h>
#include <signal.h>

struct command_bench {
	uv_loop_t *loop;
	void *scratch;
	char *path; /* PATH as it was */
};

/* Does as the file mode beside it says. */
#define COMMAND_SCRIPT                                                                             \
	"#!/bin/sh\n"                                                                              \
	"d=${0%/*}\n"                                                                              \
	"case $(cat $d/mode) in\n"                                                                 \
	"fail) echo 'the relay board does not answer' >&2; exit 3 ;;\n"                            \
	"hang) echo $$ >$d/pid.new; mv $d/pid.new $d/pid; exec sleep 1000 ;;\n"                    \
	"esac\n"                                                                                   \
	"case $1 in get) cat $d/state ;; *) echo $1 >$d/state ;; esac\n"

static const char *command_file(const struct command_bench *b, const char *name)
{
	return scratch_path(b->scratch, name);
}

static void command_mend(void *bench)
{
	struct command_bench *b = bench;

	scratch_write(b->scratch, "mode", "");
	assert_return_code(
		chmod(scratch_write(b->scratch, "rig-test-switch", COMMAND_SCRIPT), 0755), 0);
}

static void *command_setup(struct driver_env *env)
{
	struct command_bench *b = calloc(1, sizeof(*b));
	char *path;

	b->loop = env->loop;
	env->capability = "power";
	assert_int_equal(scratch_setup(&b->scratch), 0);
	command_mend(b);
	scratch_write(b->scratch, "state", "off\n");
	b->path = strdup(getenv("PATH"));
	assert_true(asprintf(&path, "%s:%s", ((struct scratch *)b->scratch)->dir, b->path) > 0);
	setenv("PATH", path, 1);
	free(path);
	return b;
}

static void command_teardown(void *bench)
{
	struct command_bench *b = bench;

	setenv("PATH", b->path, 1);
	free(b->path);
	scratch_teardown(&b->scratch);
	free(b);
}

static bool command_break_open(void *bench, unsigned step, json_t *options)
{
	struct command_bench *b = bench;

	(void)options;
	if (step == 0)
		unlink(command_file(b, "rig-test-switch"));
	else
		chmod(command_file(b, "rig-test-switch"), 0644);
	return step < 2;
}

static void command_start(struct device *dev, struct op *op)
{
	dev->driver->power->get(dev, op);
}

static void command_start_stuck(void *bench, struct device *dev, struct op *op)
{
	struct command_bench *b = bench;

	scratch_write(b->scratch, "mode", "hang");
	dev->driver->power->get(dev, op);
	while (access(command_file(b, "pid"), F_OK) != 0) {
		uv_run(b->loop, UV_RUN_NOWAIT);
		poll(NULL, 0, 1);
	}
}

static void command_unstick(void *bench)
{
	struct command_bench *b = bench;

	scratch_write(b->scratch, "mode", "");
	unlink(command_file(b, "pid"));
}

static void command_unplug(void *bench)
{
	struct command_bench *b = bench;
	char text[32] = "";
	FILE *f = fopen(command_file(b, "pid"), "r");

	scratch_write(b->scratch, "mode", "fail");
	if (!f)
		return;
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	kill((pid_t)strtol(text, NULL, 10), SIGKILL);
}

static bool command_is_on(void *bench)
{
	struct command_bench *b = bench;
	char text[16] = "";
	FILE *f = fopen(command_file(b, "state"), "r");

	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	return strcmp(text, "on\n") == 0;
}

static const struct contract contract_command = {"command",
	"{\"on\": \"rig-test-switch on\", \"off\": \"rig-test-switch off\","
	" \"get\": \"rig-test-switch get\", \"get_measures\": true, \"timeout_ms\": 20000}",
	command_setup, command_teardown, command_break_open, command_mend, command_start,
	command_start_stuck, command_unstick, command_unplug, false, NULL, .is_on = command_is_on};

#endif
