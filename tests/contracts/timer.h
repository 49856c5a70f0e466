/* timer: a console, and a process that may have no more descriptors (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_TIMER_H
#define TESTS_CONTRACTS_TIMER_H

#include "../driver_contract.h"
#include "../scratch.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

struct timer_bench {
	void *scratch;
	struct console_port *port;
	struct rlimit files;
};

static void *timer_setup(struct driver_env *env)
{
	struct timer_bench *b = calloc(1, sizeof(*b));

	assert_int_equal(scratch_setup(&b->scratch), 0);
	assert_return_code(getrlimit(RLIMIT_NOFILE, &b->files), 0);
	b->port = port_create(env->loop);
	env->console = b->port;
	env->capability = "trigger";
	env->board_dir = ((struct scratch *)b->scratch)->dir;
	return b;
}

static void timer_mend(void *bench)
{
	struct timer_bench *b = bench;

	assert_return_code(setrlimit(RLIMIT_NOFILE, &b->files), 0);
}

static void timer_teardown(void *bench)
{
	struct timer_bench *b = bench;

	timer_mend(b);
	port_destroy(b->port);
	scratch_teardown(&b->scratch);
	free(b);
}

/* No descriptor is left for the kernel's timer. */
static bool timer_break_open(void *bench, unsigned step, json_t *options)
{
	struct timer_bench *b = bench;
	struct rlimit none = b->files;
	int free_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)options;
	assert_return_code(free_fd, 0);
	close(free_fd);
	none.rlim_cur = (rlim_t)free_fd;
	if (step == 0)
		assert_return_code(setrlimit(RLIMIT_NOFILE, &none), 0);
	return step == 0;
}

static void timer_start(struct device *dev, struct op *op)
{
	dev->driver->trigger->mark(dev, op);
}

static void timer_unplug(void *bench)
{
	struct timer_bench *b = bench;

	port_power_lost(b->port);
}

static const struct contract contract_timer = {.driver = "timer",
	.options = "{}",
	.setup = timer_setup,
	.teardown = timer_teardown,
	.break_open = timer_break_open,
	.mend = timer_mend,
	.start_good = timer_start,
	.unplug = timer_unplug,
	.survives = true};

#endif
