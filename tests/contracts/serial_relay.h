/* serial-relay: a board that tells its state, and can fall silent (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_SERIAL_RELAY_H
#define TESTS_CONTRACTS_SERIAL_RELAY_H

#include "../driver_contract.h"
#include "../fake_relay.h"

static void *serial_relay_setup(struct driver_env *env)
{
	env->capability = "power";
	return fake_relay_create(false);
}

static void serial_relay_teardown(void *bench)
{
	fake_relay_destroy(bench);
}

static bool serial_relay_break_open(void *bench, unsigned step, json_t *options)
{
	struct fake_relay *r = bench;

	(void)options;
	if (step == 0)
		fake_relay_unplug(r);
	else if (step == 1)
		fake_line.fail_open = true;
	else
		r->mode = RELAY_MUTE;
	return step < 3;
}

static void serial_relay_mend(void *bench)
{
	struct fake_relay *r = bench;

	r->mode = RELAY_ANSWERS;
	fake_line.fail_open = false;
	fake_relay_plug(r);
}

static void serial_relay_start(struct device *dev, struct op *op)
{
	dev->driver->power->get(dev, op);
}

static void serial_relay_start_stuck(void *bench, struct device *dev, struct op *op)
{
	struct fake_relay *r = bench;

	r->mode = RELAY_MUTE;
	dev->driver->power->set(dev, true, op);
}

static void serial_relay_unplug(void *bench)
{
	fake_relay_unplug(bench);
}

static bool serial_relay_is_on(void *bench)
{
	struct fake_relay *r = bench;

	assert_false(r->on[0] || r->on[2]);
	return r->on[1];
}

static const struct contract contract_serial_relay = {"serial-relay",
	"{\"usb_serial\": \"RIG1\", \"channel\": 1, \"read_back\": \"always\"}", serial_relay_setup,
	serial_relay_teardown, serial_relay_break_open, serial_relay_mend, serial_relay_start,
	serial_relay_start_stuck, serial_relay_mend, serial_relay_unplug, false, NULL,
	.is_on = serial_relay_is_on, .tells = true};

#endif
