/* console-pattern: a console whose device can lose its power (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_CONSOLE_PATTERN_H
#define TESTS_CONTRACTS_CONSOLE_PATTERN_H

#include "../driver_contract.h"

static void *console_pattern_setup(struct driver_env *env)
{
	struct console_port *port = port_create(env->loop);

	env->console = port;
	env->capability = "trigger";
	return port;
}

static void console_pattern_teardown(void *bench)
{
	port_destroy(bench);
}

static void console_pattern_mend(void *bench)
{
	(void)bench; /* there is nothing to break */
}

static void console_pattern_start(struct device *dev, struct op *op)
{
	dev->driver->trigger->mark(dev, op);
}

static void console_pattern_unplug(void *bench)
{
	port_power_lost(bench);
}

static const struct contract contract_console_pattern = {.driver = "console-pattern",
	.options = "{\"pattern\": \"page \\\\d+\"}",
	.setup = console_pattern_setup,
	.teardown = console_pattern_teardown,
	.mend = console_pattern_mend,
	.start_good = console_pattern_start,
	.unplug = console_pattern_unplug,
	.survives = true};

#endif
