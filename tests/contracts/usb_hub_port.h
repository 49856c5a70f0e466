/* usb-hub-port: a hub of tests/fake_usb.h, its port switched by sysfs (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_USB_HUB_PORT_H
#define TESTS_CONTRACTS_USB_HUB_PORT_H

#include "../driver_contract.h"
#include "../fake_usb.h"

static void *hub_port_setup(struct driver_env *env)
{
	(void)env;
	fake_usb_setup();
	return fake_usb_hub(0, "1-1");
}

static void hub_port_teardown(void *bench)
{
	(void)bench;
	fake_usb_teardown();
}

static void hub_port_mode(struct fake_usb_device *d, unsigned mode)
{
	fake_usb_count(&d->mode, mode);
}

static bool hub_port_break_open(void *bench, unsigned step, json_t *options)
{
	struct fake_usb_device *d = bench;

	switch (step) {
	case 0:
		fake_usb_unplug(d);
		return true;
	case 1:
		fake_usb_set(&d->denied, true);
		return true;
	case 2:
		fake_usb_set(&d->mute, true);
		return true;
	case 3:
		hub_port_mode(d, 0);
		return true;
	case 4:
		hub_port_mode(d, 2);
		return true;
	case 5:
		fake_usb_set(&d->is_short, true);
		return true;
	case 6:
		json_object_set_new(options, "port", json_integer(5));
		return true;
	case 7:
		scratch_write(fake_usb.scratch, fake_usb_port_file(d, 2, "disable"), "?");
		return true;
	default:
		return false;
	}
}

static void hub_port_mend(void *bench)
{
	struct fake_usb_device *d = bench;

	hub_port_mode(d, 1);
	fake_usb_mend(d);
	scratch_write(fake_usb.scratch, fake_usb_port_file(d, 2, "disable"), "0\n");
}

static void hub_port_start(struct device *dev, struct op *op)
{
	dev->driver->power->get(dev, op);
}

/* Off takes its off_ms. */
static void hub_port_start_stuck(void *bench, struct device *dev, struct op *op)
{
	(void)bench;
	dev->driver->power->set(dev, false, op);
}

static void hub_port_unstick(void *bench)
{
	(void)bench;
}

static void hub_port_unplug(void *bench)
{
	fake_usb_unplug(bench);
}

/* Port 2; its neighbours stay on. The file has what was written: "0\n" or "1". */
static bool hub_port_is_on(void *bench)
{
	char on[4] = "";

	for (unsigned port = 1; port <= 3; port++) {
		const char *file = fake_usb_port_file(bench, port, "disable");
		FILE *f = fopen(scratch_path(fake_usb.scratch, file), "r");

		assert_non_null(f);
		on[port] = (char)(fgetc(f) == '0');
		fclose(f);
	}
	assert_true(on[1] && on[3]);
	return on[2];
}

static const struct contract contract_usb_hub_port = {"usb-hub-port",
	"{\"hub\": \"1-1\", \"port\": 2, \"off_ms\": 1500}", hub_port_setup, hub_port_teardown,
	hub_port_break_open, hub_port_mend, hub_port_start, hub_port_start_stuck, hub_port_unstick,
	hub_port_unplug, false, "{\"hub\": \"1-1\", \"port\": 3, \"off_ms\": 1500}",
	.is_on = hub_port_is_on, .quick = "{\"hub\": \"1-1\", \"port\": 2, \"off_ms\": 1}",
	.tells = true};

#endif
