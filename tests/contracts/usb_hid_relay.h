/* usb-hid-relay: a relay board of tests/fake_usb.h (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_USB_HID_RELAY_H
#define TESTS_CONTRACTS_USB_HID_RELAY_H

#include "../driver_contract.h"
#include "../fake_usb.h"

static void *hid_relay_setup(struct driver_env *env)
{
	(void)env;
	fake_usb_setup();
	return fake_usb_relay(0, "1-1.4", "6QMBS");
}

static void hid_relay_teardown(void *bench)
{
	(void)bench;
	fake_usb_teardown();
}

static bool hid_relay_break_open(void *bench, unsigned step, json_t *options)
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
		fake_usb_count(&d->held, FAKE_USB_HELD);
		return true;
	case 3:
		fake_usb_set(&d->mute, true);
		return true;
	case 4:
		fake_usb_set(&d->is_short, true);
		return true;
	case 5:
		json_object_set_new(options, "serial", json_string("OTHER"));
		return true;
	case 6:
		json_object_set_new(options, "channel", json_integer(3));
		return true;
	default:
		return false;
	}
}

static void hid_relay_mend(void *bench)
{
	fake_usb_mend(bench);
}

static void hid_relay_start(struct device *dev, struct op *op)
{
	dev->driver->power->set(dev, true, op);
}

static void hid_relay_start_stuck(void *bench, struct device *dev, struct op *op)
{
	struct fake_usb_device *d = bench;
	unsigned before;

	uv_mutex_lock(&fake_usb.lock);
	d->mute = true;
	before = d->transfers;
	uv_mutex_unlock(&fake_usb.lock);
	dev->driver->power->set(dev, true, op);
	uv_mutex_lock(&fake_usb.lock);
	while (d->transfers == before)
		uv_cond_wait(&fake_usb.changed, &fake_usb.lock);
	uv_mutex_unlock(&fake_usb.lock);
}

static void hid_relay_unstick(void *bench)
{
	struct fake_usb_device *d = bench;

	fake_usb_set(&d->mute, false);
}

static void hid_relay_unplug(void *bench)
{
	fake_usb_unplug(bench);
}

static bool hid_relay_is_on(void *bench)
{
	unsigned relays = fake_usb_relays(bench);

	assert_int_equal(relays & ~2U, 0);
	return relays == 2;
}

static const struct contract contract_usb_hid_relay = {"usb-hid-relay",
	"{\"serial\": \"6QMBS\", \"channel\": 2}", hid_relay_setup, hid_relay_teardown,
	hid_relay_break_open, hid_relay_mend, hid_relay_start, hid_relay_start_stuck,
	hid_relay_unstick, hid_relay_unplug, false, "{\"serial\": \"6QMBS\", \"channel\": 1}",
	.is_on = hid_relay_is_on, .tells = true};

#endif
