/* gpio-relay: a relay whose sense line can be cut off (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_GPIO_RELAY_H
#define TESTS_CONTRACTS_GPIO_RELAY_H

#include "gpio.h"

static bool relay_break_open(void *bench, unsigned step, json_t *options)
{
	(void)bench;
	return gpio_break_open(0, step % 2 ? 0 : 1, step, options);
}

static void relay_start(struct device *dev, struct op *op)
{
	dev->driver->power->set(dev, true, op);
}

static void relay_start_stuck(void *bench, struct device *dev, struct op *op)
{
	(void)bench;
	fake_wire(0, 1, -1);
	relay_start(dev, op);
}

static void relay_unstick(void *bench)
{
	(void)bench;
	fake_wire(0, 1, 0);
}

static void relay_unplug(void *bench)
{
	(void)bench;
	fake_unplug(0);
}

static bool gpio_relay_is_on(void *bench)
{
	struct fake_kernel *k = bench;

	assert_false(fake_gpio_level(&k->chip[0], &k->chip[0].line[2]));
	return fake_gpio_level(&k->chip[0], &k->chip[0].line[0]);
}

static const struct contract contract_gpio_relay = {
	.driver = "gpio-relay",
	.options = "{\"line_name\": \"RELAY1\", \"sense_line_name\": \"SENSE1\", \"off_ms\": 5, "
		   "\"sense_ms\": 3000}",
	.other = "{\"line_name\": \"RELAY2\", \"sense_line_name\": \"SENSE2\", \"off_ms\": 5}",
	.setup = gpio_setup,
	.teardown = gpio_teardown,
	.break_open = relay_break_open,
	.mend = gpio_mend,
	.start_good = relay_start,
	.start_stuck = relay_start_stuck,
	.unstick = relay_unstick,
	.unplug = relay_unplug,
	.is_on = gpio_relay_is_on,
	.tells = true,
};

#endif
