/* serial: a pseudo terminal whose other end may not read (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_SERIAL_H
#define TESTS_CONTRACTS_SERIAL_H

#include "../driver_contract.h"
#include "../fake_serial.h"

static void *serial_setup(struct driver_env *env)
{
	env->capability = "console";
	return fake_serial_create();
}

static void serial_teardown(void *bench)
{
	fake_serial_destroy(bench);
}

static bool serial_break_open(void *bench, unsigned step, json_t *options)
{
	if (step == 0)
		fake_tty_unplug(bench);
	else if (step == 1)
		fake_line.fail_open = true;
	else
		json_object_set_new(options, "usb_serial", json_string("RIG2"));
	return step < 3;
}

static void serial_mend(void *bench)
{
	struct fake_serial *f = bench;

	fake_line.fail_open = false;
	if (f->master < 0)
		fake_tty_plug(f);
}

static void serial_start(struct device *dev, struct op *op)
{
	dev->driver->console->write(dev, "help\n", 5, op);
}

static void serial_start_stuck(void *bench, struct device *dev, struct op *op)
{
	char *much = calloc(1, 1 << 20);

	(void)bench;
	dev->driver->console->write(dev, much, 1 << 20, op);
	free(much);
}

static void serial_unstick(void *bench)
{
	fake_tty_drain(bench);
}

static void serial_unplug(void *bench)
{
	fake_tty_unplug(bench);
}

static const struct contract contract_serial = {"serial", "{\"usb_serial\": \"RIG1\"}",
	serial_setup, serial_teardown, serial_break_open, serial_mend, serial_start,
	serial_start_stuck, serial_unstick, serial_unplug, false, NULL, .tells = true};

#endif
