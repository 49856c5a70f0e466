/*
 * usb-hub-port against hubs that misbehave (tests/fake_usb.h), by sysfs and by control transfers.
 */
#include "fake_usb.h"
#include "usb_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <termios.h>

#define HUB "usb-hub-port"
#define FAST "{\"hub\": \"1-1\", \"port\": 2, \"off_ms\": 1"

/* What a file of a port holds. */
static const char *holds(const struct fake_usb_device *d, unsigned port)
{
	static char text[16];
	FILE *f =
		fopen(scratch_path(fake_usb.scratch, fake_usb_port_file(d, port, "disable")), "r");

	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	text[1] = '\0';
	return text;
}

static void no_disable(const struct fake_usb_device *d)
{
	for (unsigned port = 1; port <= FAKE_USB_PORTS; port++)
		unlink(scratch_path(fake_usb.scratch, fake_usb_port_file(d, port, "disable")));
}

static void the_kernels_file_is_written_and_read_back(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_hub(0, "1-1");
	struct device *dev = usb_opened(b, HUB, FAST "}");

	assert_reads(b, dev, true);
	assert_sets(b, dev, false, "none");
	assert_string_equal(holds(d, 2), "1");
	assert_string_equal(holds(d, 1), "0");
	assert_reads(b, dev, false);
	assert_sets(b, dev, true, "none");
	assert_string_equal(holds(d, 2), "0");
	assert_int_equal(d->sets, 0);
	assert_checks(
		b, dev, "says", "port 2 of hub 0409:55aa at 1-1 reads on, switched by the kernel");
	assert_checks(b, dev, "mend", "set vbus_switched = true");
	usb_closed(b, dev);
}

static void without_that_file_the_hub_is_asked(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_hub(0, "1-1");
	struct device *dev;

	no_disable(d);
	dev = usb_opened(b, HUB, FAST ", \"vbus_switched\": true}");
	assert_reads(b, dev, true);
	assert_sets(b, dev, false, "read-back");
	assert_int_equal(d->status[2], 0);
	assert_int_equal(d->status[1], FAKE_USB_POWER);
	assert_reads(b, dev, false);
	assert_sets(b, dev, true, "read-back");
	assert_int_equal(d->status[2], FAKE_USB_POWER);
	assert_int_equal(d->sets, 2);
	assert_checks(b, dev, "says", "reads on, switched by requests to the hub");
	usb_closed(b, dev);
}

static void the_method_can_be_chosen(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_hub(0, "1-1");
	struct device *dev = usb_opened(b, HUB, FAST ", \"method\": \"control\"}");

	assert_sets(b, dev, false, "none");
	assert_int_equal(d->status[2], 0);
	assert_string_equal(holds(d, 2), "0");
	usb_closed(b, dev);
	no_disable(d);
	assert_open_fails(
		b, HUB, FAST ", \"method\": \"sysfs\"}", "1-1-port2/disable cannot be read");
}

static void a_hub_that_does_not_follow_is_an_error_of_the_bench(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_hub(0, "1-1");
	struct device *dev = usb_opened(b, HUB, FAST ", \"method\": \"control\"}");

	fake_usb_set(&d->stuck, true);
	assert_set_fails(b, dev, false, ERR_BENCH,
		"port 2 of hub 0409:55aa at 1-1: set off: read-back says on");
	usb_closed(b, dev);
}

/* A hub whose port is on again after a while: by itself, or by another program. */
static void on_again_before_off_is_done_is_noticed(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_hub(0, "1-1");
	struct device *dev = usb_opened(b, HUB, "{\"hub\": \"1-1\", \"port\": 2, \"off_ms\": 200}");
	struct outcome o;
	int fd =
		open(scratch_path(fake_usb.scratch, fake_usb_port_file(d, 2, "disable")), O_WRONLY);

	assert_return_code(fd, errno);
	dev->driver->power->set(dev, false, outcome_start(&b->loop, &o, 10000));
	while (holds(d, 2)[0] != '1' && !o.done)
		uv_run(&b->loop, UV_RUN_NOWAIT);
	while (!o.done) {
		assert_int_equal(pwrite(fd, "0", 1, 0), 1);
		uv_run(&b->loop, UV_RUN_ONCE);
	}
	assert_failed(&b->loop, &o, ERR_BENCH, "set off: read-back says on");
	close(fd);
	usb_closed(b, dev);
}

/* A file of the kernel's that takes everything and says always the same. */
static int lying_file(const struct fake_usb_device *d, const char *says)
{
	const char *path = scratch_path(fake_usb.scratch, fake_usb_port_file(d, 2, "disable"));
	struct termios raw = {.c_cc = {[VMIN] = 1}};
	char slave[64];
	int master, fd;

	assert_return_code(openpty(&master, &fd, slave, &raw, NULL), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(write(master, says, strlen(says)), strlen(says));
	unlink(path);
	assert_return_code(symlink(slave, path), 0);
	close(fd);
	return master;
}

static void a_file_that_takes_no_value_or_says_another_is_told_of(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_hub(0, "1-1");
	struct device *dev = usb_opened(b, HUB, FAST "}");
	const char *path;
	int master;

	path = scratch_path(fake_usb.scratch, fake_usb_port_file(d, 2, "disable"));
	unlink(path);
	assert_return_code(symlink("/dev/full", path), 0);
	assert_set_fails(b, dev, false, ERR_BENCH, "1-1-port2/disable: No space left on device");
	unlink(path);
	assert_return_code(symlink("/dev/null", path), 0);
	assert_set_fails(b, dev, false, ERR_BENCH, "reads \"\" and not 0 or 1");
	master = lying_file(d, "0");
	/* each reader of a tty takes all there is: "000" is no answer, which is an error too */
	assert_set_fails(b, dev, false, ERR_BENCH, "1-1-port2/disable reads \"000\"");
	close(master);
	usb_closed(b, dev);
}

static void hubs_that_cannot_switch_one_port_are_refused_at_open(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_hub(0, "1-1");

	d->mode = 0;
	assert_open_fails(b, HUB, FAST "}",
		"hub 0409:55aa at 1-1 switches all its ports together (ganged): take a hub that "
		"switches each port");
	d->mode = 2;
	assert_open_fails(b, HUB, FAST "}", "hub 0409:55aa at 1-1 does not switch power");
	d->mode = 3;
	assert_open_fails(b, HUB, FAST "}", "hub 0409:55aa at 1-1 does not switch power");
}

static void what_is_no_hub_or_not_there_is_told_apart(void **state)
{
	struct usb_bench *b = *state;

	fake_usb_hub(0, "1-1");
	fake_usb_relay(1, "1-1.4", "6QMBS");
	assert_open_fails(b, HUB, "{\"hub\": \"1-1.4\", \"port\": 1}",
		"1-1.4 is no hub but 16c0:05df \"USBRelay2\": hub in rig.conf is the hub's own path");
	assert_open_fails(b, HUB, "{\"hub\": \"1-3\", \"port\": 1}",
		"no USB device at 1-3: plug the hub in, or mend hub in rig.conf");
	assert_open_fails(b, HUB, "{\"hub\": \"1-1\", \"port\": 5}",
		"port 5: hub 0409:55aa at 1-1 has 4 ports: mend port in rig.conf");
}

static void a_root_hub_is_named_either_way(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_hub(0, "usb1");
	const char *const names[] = {"usb1", "1-0"};

	for (size_t i = 0; i < 2; i++) {
		char options[64];
		struct device *dev;

		snprintf(options, sizeof(options), "{\"hub\": \"%s\", \"port\": 3, \"off_ms\": 0}",
			names[i]);
		dev = usb_opened(b, HUB, options);
		assert_sets(b, dev, false, "none");
		assert_string_equal(holds(d, 3), "1");
		assert_sets(b, dev, true, "none");
		usb_closed(b, dev);
	}
}

/* The two halves of a USB 3 hub: 1-1 and 2-1, port 2 of one being port 3 of the other. */
static struct fake_usb_device *superspeed_half(const struct fake_usb_device *d)
{
	struct fake_usb_device *other = fake_usb_hub(1, "2-1");

	other->protocol = "03\n";
	for (unsigned port = 1; port <= FAKE_USB_PORTS; port++)
		other->status[port] = FAKE_USB_POWER << 1;
	fake_usb_attribute(other, "bDeviceProtocol", "03\n");
	assert_return_code(
		symlink("../../../2-1/2-1:1.0/2-1-port3",
			scratch_path(fake_usb.scratch, fake_usb_port_file(d, 2, "peer"))),
		0);
	return other;
}

static void both_halves_of_a_usb_3_port_are_switched(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_hub(0, "1-1"), *other = superspeed_half(d);
	struct device *dev = usb_opened(b, HUB, FAST "}");

	assert_sets(b, dev, false, "none");
	assert_string_equal(holds(d, 2), "1");
	assert_string_equal(holds(other, 3), "1");
	scratch_write(fake_usb.scratch, fake_usb_port_file(other, 3, "disable"), "0\n");
	assert_reads(b, dev, true); /* VBUS is on when either is */
	usb_closed(b, dev);
	no_disable(d);
	no_disable(other);
	dev = usb_opened(b, HUB, FAST "}");
	assert_sets(b, dev, false, "none");
	assert_int_equal(d->status[2], 0);
	assert_int_equal(other->status[3], 0);
	assert_int_equal(other->status[2], FAKE_USB_POWER << 1);
	fake_usb_set(&other->stuck, true);
	assert_set_fails(b, dev, true, ERR_BENCH, "port 3 of hub 0409:55aa at 2-1: set on");
	usb_closed(b, dev);
}

static void unplugged_it_is_lost_and_plugged_again_it_is_back(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_hub(0, "1-1");
	struct device *dev = usb_opened(b, HUB, FAST "}");

	fake_usb_unplug(d);
	wait_for(b, &b->lost, 1);
	assert_string_equal(b->text, "port 2 of hub 0409:55aa at 1-1 is gone: was it unplugged?");
	assert_set_fails(b, dev, false, ERR_BENCH, "no USB device at 1-1");
	fake_usb_plug(d);
	wait_for(b, &b->back, 1);
	assert_sets(b, dev, false, "none");
	usb_closed(b, dev);
}

static void wrong_options_are_refused(void **state)
{
	struct usb_bench *b = *state;

	assert_options_refused(b, HUB, "{\"hub\": \"\", \"port\": 1}", "hub must be");
	assert_options_refused(b, HUB, "{\"hub\": \"../x\", \"port\": 1}", "hub must be");
	assert_options_refused(b, HUB,
		"{\"hub\": \"1-1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1\", \"port\": 1}", "hub must be");
	assert_options_refused(b, HUB, "{\"hub\": \"1-1\", \"port\": 0}", "port must be 1 to 255");
	assert_options_refused(
		b, HUB, "{\"hub\": \"1-1\", \"port\": 1, \"off_ms\": -1}", "off_ms must be 0 to");
	assert_options_refused(b, HUB, "{\"hub\": \"1-1\", \"port\": 1, \"method\": \"x\"}",
		"method must be \"auto\", \"sysfs\" or \"control\"");
}

static void scan_lists_hubs_that_switch_and_those_it_may_not_ask(void **state)
{
	struct fake_usb_device *d = fake_usb_hub(0, "1-1"), *ganged = fake_usb_hub(2, "1-2");
	char *found;

	(void)state;
	ganged->mode = 0;
	superspeed_half(d);
	found = scanned(HUB);
	assert_string_equal(found,
		"USB hub 0409:55aa, 4 ports, each switched|1-1|power = { driver = "
		"\"usb-hub-port\", hub = \"1-1\", port = 1 },|\n");
	free(found);
	fake_usb_set(&d->denied, true);
	found = scanned(HUB);
	assert_non_null(strstr(found, "USB hub 0409:55aa, 4 ports|1-1|"));
	assert_non_null(strstr(found, "no permission: install the udev rules 60-rig.rules"));
	free(found);
}

static int setup(void **state)
{
	fake_usb_setup();
	return usb_bench_setup(state);
}

static int teardown(void **state)
{
	int ret = usb_bench_teardown(state);

	fake_usb_teardown();
	return ret;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_kernels_file_is_written_and_read_back),
		TEST(without_that_file_the_hub_is_asked),
		TEST(the_method_can_be_chosen),
		TEST(a_hub_that_does_not_follow_is_an_error_of_the_bench),
		TEST(on_again_before_off_is_done_is_noticed),
		TEST(a_file_that_takes_no_value_or_says_another_is_told_of),
		TEST(hubs_that_cannot_switch_one_port_are_refused_at_open),
		TEST(what_is_no_hub_or_not_there_is_told_apart),
		TEST(a_root_hub_is_named_either_way),
		TEST(both_halves_of_a_usb_3_port_are_switched),
		TEST(unplugged_it_is_lost_and_plugged_again_it_is_back),
		TEST(wrong_options_are_refused),
		TEST(scan_lists_hubs_that_switch_and_those_it_may_not_ask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
