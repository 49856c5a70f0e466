/*
 * usb-hub-port against the kernel's own USB: the hub of the machine, which switches its ports; by
 * sysfs and by requests to the hub. Its unplug is that the root hub takes its power.
 */
#include "vm.h"

#include "../driver_contract.h"
#include "../usb_bench.h"
#include "drivers/usb.h"

#define HUB "usb-hub-port"
#define LONG_OFF_MS 5000 /* is under way long enough to be unplugged in */

static struct {
	char path[16];       /* "3-1" */
	char root_port[128]; /* the file that takes its power, and so the hub, away */
	char by_sysfs[128], by_control[128];
	char soon_by_sysfs[128], soon_by_control[128];
} hub;

static void hub_options(char *buf, size_t size, unsigned port, unsigned off_ms, const char *method)
{
	snprintf(buf, size, "{\"hub\": \"%s\", \"port\": %u, \"off_ms\": %u, \"method\": \"%s\"}",
		hub.path, port, off_ms, method);
}

static void hub_find(void)
{
	struct usb_info *list;
	size_t count;
	struct err e;

	assert_return_code(usb_list(&list, &count, &e), 0);
	for (size_t i = 0; i < count; i++)
		if (list[i].vendor == 0x0409 && list[i].product == 0x55aa)
			snprintf(hub.path, sizeof(hub.path), "%.15s", list[i].path);
	free(list);
	assert_true(hub.path[0]);
	snprintf(hub.root_port, sizeof(hub.root_port),
		"/sys/bus/usb/devices/%c-0:1.0/usb%c-port%.8s/disable", hub.path[0], hub.path[0],
		hub.path + 2);
	hub_options(hub.by_sysfs, sizeof(hub.by_sysfs), 3, LONG_OFF_MS, "sysfs");
	hub_options(hub.by_control, sizeof(hub.by_control), 3, LONG_OFF_MS, "control");
	hub_options(hub.soon_by_sysfs, sizeof(hub.soon_by_sysfs), 3, 10, "sysfs");
	hub_options(hub.soon_by_control, sizeof(hub.soon_by_control), 3, 10, "control");
}

static void hub_unplug(void *bench)
{
	(void)bench;
	vm_write(hub.root_port, "1");
}

static void hub_mend(void *bench)
{
	char interface[64];

	(void)bench;
	snprintf(interface, sizeof(interface), "/sys/bus/usb/devices/%s:1.0/driver", hub.path);
	vm_write(hub.root_port, "0");
	/* the kernel gives up a device that it could not enumerate, as a machine under load makes
	 * it: it is plugged in anew, as one would */
	for (int i = 0; i < 3 && !vm_comes_to(interface, true, 15); i++) {
		vm_write(hub.root_port, "1");
		vm_write(hub.root_port, "0");
	}
	vm_wait_for(interface, VM_WITHIN_S);
}

static void *hub_setup(struct driver_env *env)
{
	(void)env;
	return &hub;
}

static void hub_teardown(void *bench)
{
	hub_mend(bench);
}

static bool hub_break_open(void *bench, unsigned step, json_t *options)
{
	switch (step) {
	case 0:
		hub_unplug(bench);
		return true;
	case 1:
		json_object_set_new(options, "port", json_integer(99));
		return true;
	case 2:
		json_object_set_new(options, "hub", json_string("9-9"));
		return true;
	default:
		return false;
	}
}

static void hub_start(struct device *dev, struct op *op)
{
	dev->driver->power->get(dev, op);
}

/* Off takes its off_ms. */
static void hub_start_stuck(void *bench, struct device *dev, struct op *op)
{
	(void)bench;
	dev->driver->power->set(dev, false, op);
}

static void hub_unstick(void *bench)
{
	(void)bench;
}

/* Port 3, as the kernel has it from the hub; 2 and 4 stay on. */
static bool hub_is_on(void *bench)
{
	bool on[5] = {false};

	(void)bench;
	for (unsigned port = 2; port <= 4; port++) {
		char file[128], text[16];

		snprintf(file, sizeof(file), "/sys/bus/usb/devices/%s:1.0/%s-port%u/disable",
			hub.path, hub.path, port);
		vm_read(file, text, sizeof(text));
		on[port] = text[0] == '0';
	}
	assert_true(on[2] && on[4]);
	return on[3];
}

static const struct contract sysfs_contract = {HUB, hub.by_sysfs, hub_setup, hub_teardown,
	hub_break_open, hub_mend, hub_start, hub_start_stuck, hub_unstick, hub_unplug, false, NULL,
	.is_on = hub_is_on, .quick = hub.soon_by_sysfs, .tells = true};
static const struct contract control_contract = {HUB, hub.by_control, hub_setup, hub_teardown,
	hub_break_open, hub_mend, hub_start, hub_start_stuck, hub_unstick, hub_unplug, false, NULL,
	.is_on = hub_is_on, .quick = hub.soon_by_control, .tells = true};

/* The device on port 1, RIG1. */
static void wait_for_rig1(bool there)
{
	double until = vm_now_s() + VM_WITHIN_S;

	while (vm_usb_serial("RIG1") != there) {
		if (vm_now_s() > until)
			fail_msg("RIG1 has not %s", there ? "come" : "gone");
		poll(NULL, 0, 10);
	}
}

static void switched_off_by_the_kernel_the_device_leaves(void **state)
{
	struct usb_bench *b = *state;
	char options[128];
	struct device *dev;

	wait_for_rig1(true);
	hub_options(options, sizeof(options), 1, 100, "auto");
	dev = usb_opened(b, HUB, options);
	assert_checks(b, dev, "says", "reads on, switched by the kernel");
	for (int i = 0; i < 3; i++) {
		assert_sets(b, dev, false, "none");
		wait_for_rig1(false);
		assert_reads(b, dev, false);
		assert_sets(b, dev, true, "none");
		wait_for_rig1(true);
		assert_reads(b, dev, true);
	}
	assert_int_equal(b->lost, 0);
	usb_closed(b, dev);
}

/* Linux keeps the node of a device whose power a request to the hub has taken; the tty's end is
 * that it answers no more. */
static void switched_off_by_requests_the_hub_says_so(void **state)
{
	struct usb_bench *b = *state;
	char options[128], file[128], text[16];
	struct device *dev;

	wait_for_rig1(true);
	hub_options(options, sizeof(options), 1, 100, "control");
	snprintf(file, sizeof(file), "/sys/bus/usb/devices/%s:1.0/%s-port1/disable", hub.path,
		hub.path);
	dev = usb_opened(b, HUB, options);
	assert_sets(b, dev, false, "none");
	assert_reads(b, dev, false);
	vm_read(file, text, sizeof(text)); /* the kernel asks the hub too */
	assert_string_equal(text, "1");
	assert_sets(b, dev, true, "none");
	vm_read(file, text, sizeof(text));
	assert_string_equal(text, "0");
	assert_reads(b, dev, true);
	usb_closed(b, dev);
	wait_for_rig1(true);
}

/* It is read back when off has had its time, and not only at once. */
static void switched_on_again_by_another_program_it_is_not_called_off(void **state)
{
	struct usb_bench *b = *state;
	struct device *dev = usb_opened(b, HUB, hub.by_sysfs);
	char file[128], text[16] = "";
	struct outcome o;

	snprintf(file, sizeof(file), "/sys/bus/usb/devices/%s:1.0/%s-port3/disable", hub.path,
		hub.path);
	dev->driver->power->set(dev, false, outcome_start(&b->loop, &o, 60000));
	while (!o.done && text[0] != '1') {
		uv_run(&b->loop, UV_RUN_NOWAIT);
		vm_read(file, text, sizeof(text));
	}
	vm_write(file, "0");
	assert_failed(&b->loop, &o, ERR_BENCH, "set off: read-back says on");
	usb_closed(b, dev);
}

static void unplugged_the_hub_is_lost_and_plugged_again_it_is_back(void **state)
{
	struct usb_bench *b = *state;
	struct device *dev = usb_opened(b, HUB, hub.by_sysfs);

	hub_unplug(NULL);
	wait_for(b, &b->lost, 1);
	assert_set_fails(b, dev, false, ERR_BENCH, "no USB device at");
	hub_mend(NULL);
	wait_for(b, &b->back, 1);
	assert_reads(b, dev, true);
	usb_closed(b, dev);
}

static void what_is_no_hub_is_refused(void **state)
{
	char options[64];
	struct usb_bench *b = *state;

	wait_for_rig1(true);
	snprintf(options, sizeof(options), "{\"hub\": \"%s.1\", \"port\": 1}", hub.path);
	assert_open_fails(b, HUB, options, "is no hub but 0403:");
}

static void scan_finds_the_hub(void **state)
{
	char *found = scanned(HUB), line[64];

	(void)state;
	assert_non_null(strstr(found, "USB hub 0409:55aa, 8 ports, each switched|"));
	snprintf(line, sizeof(line), "hub = \"%s\", port = 1 },|\n", hub.path);
	assert_non_null(strstr(found, line));
	free(found);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, usb_bench_setup, usb_bench_teardown)

int main(void)
{
	const struct CMUnitTest own[] = {
		TEST(switched_off_by_the_kernel_the_device_leaves),
		TEST(switched_off_by_requests_the_hub_says_so),
		TEST(switched_on_again_by_another_program_it_is_not_called_off),
		TEST(unplugged_the_hub_is_lost_and_plugged_again_it_is_back),
		TEST(what_is_no_hub_is_refused),
		TEST(scan_finds_the_hub),
	};
	struct CMUnitTest tests[sizeof(own) / sizeof(*own) + 2 * CONTRACT_CLAIMS];
	int failed;

	hub_find();
	contract_tests(&sysfs_contract, tests);
	contract_tests(&control_contract, tests + CONTRACT_CLAIMS);
	memcpy(tests + 2 * CONTRACT_CLAIMS, own, sizeof(own));
	failed = cmocka_run_group_tests_name("vm_usb_hub", tests, NULL, NULL);
	for (size_t i = 0; i < 2 * CONTRACT_CLAIMS; i++)
		free((char *)(uintptr_t)tests[i].name);
	return failed;
}
