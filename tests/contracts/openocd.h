/* openocd: a stand-in for the program (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_OPENOCD_H
#define TESTS_CONTRACTS_OPENOCD_H

#include "../driver_contract.h"
#include "../fake_openocd.h"
#include "../scratch.h"

#include <poll.h>

struct openocd_bench {
	uv_loop_t *loop;
	void *scratch;
	json_t *conf;
	char *path; /* PATH as it was */
};

static const char *openocd_file(const struct openocd_bench *b, const char *name)
{
	return scratch_path(b->scratch, name);
}

static void openocd_mode(const struct openocd_bench *b, const char *mode)
{
	scratch_write(b->scratch, "mode", mode);
}

static void *openocd_setup(struct driver_env *env)
{
	struct openocd_bench *b = calloc(1, sizeof(*b));
	char self[4096], *path;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	assert_true(n > 0);
	self[n] = '\0';
	b->loop = env->loop;
	assert_int_equal(scratch_setup(&b->scratch), 0);
	assert_return_code(symlink(self, openocd_file(b, "openocd")), 0);
	b->path = strdup(getenv("PATH"));
	assert_true(asprintf(&path, "%s:%s", openocd_file(b, ""), b->path) > 0);
	setenv("PATH", path, 1);
	free(path);
	setenv("FAKE_DIR", ((struct scratch *)b->scratch)->dir, 1);
	b->conf = json_pack("{s:{s:s}, s:{s:i, s:i, s:i}}", "openocd", "target", "x.cfg", "flash",
		"base", FAKE_BASE, "size", FAKE_SIZE, "page", FAKE_PAGE);
	env->board_conf = b->conf;
	env->board_dir = env->log_dir = ((struct scratch *)b->scratch)->dir;
	return b;
}

static void openocd_teardown(void *bench)
{
	struct openocd_bench *b = bench;

	setenv("PATH", b->path, 1);
	free(b->path);
	json_decref(b->conf);
	scratch_teardown(&b->scratch);
	free(b);
}

static bool openocd_break_open(void *bench, unsigned step, json_t *options)
{
	(void)bench;
	json_object_set_new(options, "program", json_string("no such program"));
	return step == 0;
}

static void openocd_mend(void *bench)
{
	openocd_mode(bench, "");
}

static void openocd_start(struct device *dev, struct op *op)
{
	dev->driver->probe->halt(dev, op);
}

/* Whether the stand-in has got that verb. */
static bool openocd_got(const struct openocd_bench *b, const char *verb)
{
	FILE *f = fopen(openocd_file(b, "scripts"), "r");
	char line[256];
	bool got = false;

	while (f && fgets(line, sizeof(line), f))
		got |= strstr(line, verb) != NULL;
	if (f)
		fclose(f);
	return got;
}

static void openocd_start_stuck(void *bench, struct device *dev, struct op *op)
{
	struct openocd_bench *b = bench;

	openocd_mode(b, "mute rig_resume");
	dev->driver->probe->resume(dev, op);
	while (!openocd_got(b, "rig_resume")) {
		uv_run(b->loop, UV_RUN_NOWAIT);
		poll(NULL, 0, 1);
	}
}

static void openocd_unstick(void *bench)
{
	openocd_mode(bench, "");
}

/* OpenOCD ends, and so does every one that is started again. */
static void openocd_unplug(void *bench)
{
	struct openocd_bench *b = bench;
	char text[32] = "";
	FILE *f = fopen(openocd_file(b, "pid"), "r");

	assert_non_null(f);
	openocd_mode(b, "exit");
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	kill((pid_t)strtol(text, NULL, 10), SIGKILL);
}

static const struct contract contract_openocd = {"openocd", "{\"adapter\": \"jlink\"}",
	openocd_setup, openocd_teardown, openocd_break_open, openocd_mend, openocd_start,
	openocd_start_stuck, openocd_unstick, openocd_unplug, false, NULL};

#endif
