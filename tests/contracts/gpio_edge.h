/* gpio-edge: a line that the DUT toggles (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_GPIO_EDGE_H
#define TESTS_CONTRACTS_GPIO_EDGE_H

#include "gpio.h"

static bool edge_break_open(void *bench, unsigned step, json_t *options)
{
	(void)bench;
	return gpio_break_open(1, 2, step, options);
}

static void edge_start(struct device *dev, struct op *op)
{
	dev->driver->trigger->mark(dev, op);
}

static void edge_unplug(void *bench)
{
	(void)bench;
	fake_unplug(1);
}

static const struct contract contract_gpio_edge = {
	.driver = "gpio-edge",
	.options = "{\"line_name\": \"FLASH1\"}",
	.other = "{\"line_name\": \"FLASH2\"}",
	.setup = gpio_setup,
	.teardown = gpio_teardown,
	.break_open = edge_break_open,
	.mend = gpio_mend,
	.start_good = edge_start,
	.unplug = edge_unplug,
	.tells = true,
};

#endif
