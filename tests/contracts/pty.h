/* pty: a pseudo-terminal behind a link, as a simulator makes (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_PTY_H
#define TESTS_CONTRACTS_PTY_H

#include "../driver_contract.h"
#include "../scratch.h"

#include <fcntl.h>

struct pty_bench {
	void *scratch;
	int master; /* -1: there is none */
	char name[64];
};

static void pty_ignore(void *arg, const char *data, size_t len)
{
	(void)arg;
	(void)data;
	(void)len;
}

/* Makes a terminal, and the link to it anew, as another file of the same name. */
static void pty_plug(struct pty_bench *b)
{
	if (b->master >= 0)
		return;
	b->master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	assert_true(b->master >= 0);
	assert_return_code(grantpt(b->master), 0);
	assert_return_code(unlockpt(b->master), 0);
	assert_return_code(ptsname_r(b->master, b->name, sizeof(b->name)), 0);
	assert_return_code(symlink(b->name, scratch_path(b->scratch, "new")), 0);
	assert_return_code(
		rename(scratch_path(b->scratch, "new"), scratch_path(b->scratch, "console")), 0);
}

static void pty_unplug(void *bench)
{
	struct pty_bench *b = bench;

	close(b->master);
	b->master = -1;
}

/* Reads what there is. */
static size_t pty_read_all(struct pty_bench *b)
{
	char buf[4096];
	size_t all = 0;
	ssize_t n;

	while ((n = read(b->master, buf, sizeof(buf))) > 0)
		all += (size_t)n;
	return all;
}

static void *pty_setup(struct driver_env *env)
{
	struct pty_bench *b = calloc(1, sizeof(*b));

	env->capability = "console";
	env->console_in = pty_ignore;
	b->master = -1;
	assert_int_equal(scratch_setup(&b->scratch), 0);
	pty_plug(b);
	return b;
}

static void pty_teardown(void *bench)
{
	struct pty_bench *b = bench;

	close(b->master);
	scratch_teardown(&b->scratch);
	free(b);
}

static bool pty_break_open(void *bench, unsigned step, json_t *options)
{
	struct pty_bench *b = bench;

	(void)options;
	if (step == 0) /* nothing there */
		unlink(scratch_path(b->scratch, "console"));
	else if (step == 1) /* a link that leads nowhere */
		pty_unplug(b);
	else if (step == 2) { /* not a terminal */
		unlink(scratch_path(b->scratch, "console"));
		scratch_write(b->scratch, "console", "");
	}
	return step < 3;
}

static void pty_mend(void *bench)
{
	struct pty_bench *b = bench;

	if (b->master >= 0)
		pty_unplug(b);
	pty_plug(b);
}

static void pty_adapt(void *bench, json_t *options)
{
	struct pty_bench *b = bench;

	json_object_set_new(options, "path", json_string(scratch_path(b->scratch, "console")));
}

static void pty_start(struct device *dev, struct op *op)
{
	dev->driver->console->write(dev, "x", 1, op);
}

static void pty_start_stuck(void *bench, struct device *dev, struct op *op)
{
	static const char much[1 << 20]; /* more than a terminal holds */

	(void)bench;
	dev->driver->console->write(dev, much, sizeof(much), op);
}

static void pty_unstick(void *bench)
{
	pty_read_all(bench);
}

static const struct contract contract_pty = {"pty", "{}", pty_setup, pty_teardown, pty_break_open,
	pty_mend, pty_start, pty_start_stuck, pty_unstick, pty_unplug, false, NULL, pty_adapt,
	.tells = true};

#endif
