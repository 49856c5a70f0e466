/* gpio-line: a reset line (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_GPIO_LINE_H
#define TESTS_CONTRACTS_GPIO_LINE_H

#include "gpio.h"

static bool pin_break_open(void *bench, unsigned step, json_t *options)
{
	(void)bench;
	return gpio_break_open(1, 0, step, options);
}

static void pin_start(struct device *dev, struct op *op)
{
	dev->driver->line->set(dev, true, op);
}

static void pin_unplug(void *bench)
{
	(void)bench;
	fake_unplug(1);
}

static bool pin_is_on(void *bench)
{
	struct fake_kernel *k = bench;

	k->chip[1].line[0].level = true; /* its resistor */
	return !fake_gpio_level(&k->chip[1], &k->chip[1].line[0]);
}

static const struct contract contract_gpio_line = {
	.driver = "gpio-line",
	.options = "{\"line_name\": \"RESET\", \"active_low\": true}",
	.other = "{\"line_name\": \"BOOT\"}",
	.setup = gpio_setup,
	.teardown = gpio_teardown,
	.break_open = pin_break_open,
	.mend = gpio_mend,
	.start_good = pin_start,
	.unplug = pin_unplug,
	.is_on = pin_is_on,
	.tells = true,
};

#endif
