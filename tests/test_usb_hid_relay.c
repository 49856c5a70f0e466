/*
 * usb-hid-relay against boards that misbehave (tests/fake_usb.h).
 */
#include "fake_usb.h"
#include "usb_bench.h"

#define RELAY "usb-hid-relay"
#define ONE "{\"serial\": \"6QMBS\", \"channel\": 1}"
#define TWO "{\"serial\": \"6QMBS\", \"channel\": 2}"

static void its_relay_is_switched_and_no_other(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_relay(0, "1-1.4", "6QMBS");
	struct device *dev = usb_opened(b, RELAY, TWO);

	assert_reads(b, dev, false);
	assert_sets(b, dev, true, "read-back");
	assert_int_equal(d->relays, 0x02);
	assert_reads(b, dev, true);
	d->relays |= 0x01; /* another board's */
	assert_sets(b, dev, false, "read-back");
	assert_int_equal(d->relays, 0x01);
	assert_checks(b, dev, "says", "relay board 6QMBS at 1-1.4: channel 2 reads off");
	assert_int_equal(d->unclaimed, 0);
	assert_false(d->kernel_driver);
	assert_null(d->claimed);
	usb_closed(b, dev);
}

static void over_the_normally_closed_contact_off_is_a_relay_that_picks_up(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_relay(0, "1-1.4", "6QMBS");
	struct device *dev = usb_opened(
		b, RELAY, "{\"channel\": 1, \"normally_closed\": true, \"usb_path\": \"1-1.4\"}");
	struct outcome o;

	assert_reads(b, dev, true);
	assert_sets(b, dev, false, "read-back");
	assert_int_equal(d->relays, 0x01);
	assert_reads(b, dev, false);
	assert_sets(b, dev, true, "read-back");
	assert_int_equal(d->relays, 0x00);
	dev->driver->make_safe(dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_int_equal(d->relays, 0x01);
	usb_closed(b, dev);
}

static void a_relay_that_does_not_follow_is_an_error_of_the_bench(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_relay(0, "1-1.4", "6QMBS");
	struct device *dev = usb_opened(b, RELAY, ONE);
	struct outcome o;

	assert_sets(b, dev, true, "read-back");
	fake_usb_set(&d->stuck, true);
	assert_set_fails(b, dev, false, ERR_BENCH,
		"relay board 6QMBS at 1-1.4 channel 1: set off: read-back says on");
	dev->driver->make_safe(dev, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_BENCH, "set off: read-back says on");
	outcome_finish(&o);
	assert_int_equal(b->lost, 0);
	usb_closed(b, dev);
}

static void an_answer_of_another_board_is_not_believed(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_relay(0, "1-1.4", "6QMBS");
	struct device *dev = usb_opened(b, RELAY, ONE);

	d->id[0] = '7';
	assert_set_fails(b, dev, true, ERR_BENCH, "it answers as board 7QMBS");
	d->id[0] = '\n';
	assert_set_fails(b, dev, true, ERR_BENCH, "it answers as board ?QMBS");
	usb_closed(b, dev);
}

static void a_transfer_that_fails_on_the_wire_is_repeated_once(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_relay(0, "1-1.4", "6QMBS");
	struct device *dev = usb_opened(b, RELAY, ONE);

	fake_usb_count(&d->noisy, 1);
	assert_sets(b, dev, true, "read-back");
	fake_usb_count(&d->noisy, 2);
	assert_set_fails(b, dev, false, ERR_BENCH, "LIBUSB_ERROR_IO: check its cable");
	assert_sets(b, dev, false, "read-back");
	usb_closed(b, dev);
}

static void a_board_another_process_holds_a_moment_is_waited_for(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_relay(0, "1-1.4", "6QMBS");
	struct device *dev = usb_opened(b, RELAY, ONE);
	struct outcome o;

	fake_usb_count(&d->held, 20);
	assert_sets(b, dev, true, "read-back");
	assert_int_equal(d->held, 0);
	fake_usb_count(&d->held, 20);
	dev->driver->make_safe(dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_int_equal(d->relays, 0);
	fake_usb_count(&d->held, FAKE_USB_HELD);
	assert_set_fails(b, dev, true, ERR_BUSY, "another program holds it");
	usb_closed(b, dev);
}

static void relays_of_one_board_share_its_handle(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_relay(0, "1-1.4", "6QMBS");
	struct device *one = usb_opened(b, RELAY, ONE), *two = usb_opened(b, RELAY, TWO);
	struct outcome o[2];

	assert_int_equal(d->opens, 1);
	for (int i = 0; i < 20; i++) {
		bool on = i % 2 == 0;

		one->driver->power->set(one, on, outcome_start(&b->loop, &o[0], 10000));
		two->driver->power->set(two, on, outcome_start(&b->loop, &o[1], 10000));
		assert_done(&b->loop, &o[0]);
		assert_done(&b->loop, &o[1]);
		outcome_finish(&o[0]);
		outcome_finish(&o[1]);
		assert_int_equal(d->relays, on ? 3 : 0);
	}
	assert_int_equal(d->opens, 1);
	assert_int_equal(d->unclaimed, 0);
	usb_closed(b, one);
	assert_int_equal(fake_usb.handles, 1);
	assert_sets(b, two, true, "read-back");
	usb_closed(b, two);
	assert_int_equal(fake_usb.handles, 0);
	assert_true(fake_usb.no_discovery);
}

static void boards_are_told_apart_by_their_own_id_or_their_port(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_relay(0, "1-1.4", "6QMBS");
	struct fake_usb_device *other = fake_usb_relay(1, "1-10", "AB12C");
	struct device *dev;

	assert_open_fails(b, RELAY, "{\"channel\": 1}",
		"2 relay boards match (6QMBS at 1-1.4, AB12C at 1-10): say which one by serial or "
		"usb_path");
	assert_open_fails(b, RELAY, "{\"channel\": 1, \"serial\": \"XXXXX\"}",
		"no relay board 16c0:05df with serial XXXXX: there is 6QMBS at 1-1.4, AB12C at "
		"1-10");
	dev = usb_opened(b, RELAY, "{\"channel\": 1, \"serial\": \"AB12C\"}");
	assert_sets(b, dev, true, "read-back");
	assert_int_equal(other->relays, 1);
	assert_int_equal(d->relays, 0);
	usb_closed(b, dev);
	snprintf(other->id, sizeof(other->id), "6QMBS");
	assert_open_fails(b, RELAY, ONE, "say which one by usb_path");
	dev = usb_opened(
		b, RELAY, "{\"channel\": 2, \"serial\": \"6QMBS\", \"usb_path\": \"1-10\"}");
	assert_sets(b, dev, true, "read-back");
	assert_int_equal(other->relays, 3);
	usb_closed(b, dev);
}

/* A board that cannot be asked does not stand in the way of the one that is wanted. */
static void a_board_beside_that_fails_is_passed_over(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *other = fake_usb_relay(1, "1-1.2", "AB12C");
	struct device *dev;

	fake_usb_relay(0, "1-1.4", "6QMBS");
	fake_usb_set(&other->denied, true);
	dev = usb_opened(b, RELAY, ONE);
	usb_closed(b, dev);
	assert_open_fails(b, RELAY, "{\"channel\": 1, \"serial\": \"AB12C\"}",
		"relay board AB12C: 16c0:05df at 1-1.2: open: no permission: install the udev "
		"rules 60-rig.rules, put this user into the group plugdev");
}

static void other_things_with_its_numbers_are_left_alone(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_relay(0, "1-1.4", "6QMBS");
	char *found;

	fake_usb_attribute(d, "product", "HIDJoystick\n");
	assert_open_fails(b, RELAY, ONE, "none is plugged in; its name must begin with USBRelay");
	found = scanned(RELAY);
	assert_string_equal(found, "");
	free(found);
	assert_int_equal(d->opens, 0);
}

static void unplugged_it_is_lost_and_plugged_again_it_is_back(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_relay(0, "1-1.4", "6QMBS");
	struct device *dev = usb_opened(b, RELAY, ONE);

	fake_usb_unplug(d);
	wait_for(b, &b->lost, 1);
	assert_string_equal(b->text, "relay board 6QMBS at 1-1.4 is gone: was it unplugged?");
	assert_set_fails(b, dev, false, ERR_BENCH, "no relay board 16c0:05df with serial 6QMBS");
	d->path = "1-2";
	fake_usb_plug(d);
	wait_for(b, &b->back, 1);
	assert_string_equal(b->text, "relay board 6QMBS at 1-2 is back");
	assert_sets(b, dev, true, "read-back");
	assert_int_equal(b->lost, 1);
	assert_int_equal(b->back, 1);
	usb_closed(b, dev);
}

/* The kernel makes the node before udevd gives it away, and before the firmware listens. */
static void back_but_not_ready_it_is_tried_again(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_relay(0, "1-1.4", "6QMBS");
	struct device *dev = usb_opened(b, RELAY, ONE);
	unsigned claims;

	fake_usb_unplug(d);
	wait_for(b, &b->lost, 1);
	fake_usb_set(&d->denied, true);
	fake_usb_plug(d);
	claims = d->claims;
	/* denied as long as this runs: an attempt that failed, then udevd's change */
	for (int i = 0; i < 3; i++)
		uv_run(&b->loop, UV_RUN_ONCE);
	assert_int_equal(b->back, 0);
	assert_int_equal(d->claims, claims);
	fake_usb_set(&d->denied, false);
	chmod(scratch_path(fake_usb.scratch, fake_usb_node(d)), 0660);
	wait_for(b, &b->back, 1);
	usb_closed(b, dev);
}

static void a_transfer_that_finds_it_gone_tells_so_once(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_relay(0, "1-1.4", "6QMBS");
	struct device *dev = usb_opened(b, RELAY, ONE);

	d->plugged = false; /* sysfs and node are still there */
	assert_set_fails(b, dev, true, ERR_BENCH, "it is gone: was it unplugged");
	assert_int_equal(b->lost, 1);
	assert_set_fails(b, dev, true, ERR_BENCH, "it is gone");
	assert_int_equal(b->lost, 1);
	usb_closed(b, dev);
}

static void switched_off_while_it_settles_it_goes_off_at_once(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_relay(0, "1-1.4", "6QMBS");
	struct device *dev = usb_opened(
		b, RELAY, "{\"channel\": 1, \"settle_ms\": 60000, \"serial\": \"6QMBS\"}");
	struct outcome on, off;
	struct err why;

	dev->driver->power->set(dev, true, outcome_start(&b->loop, &on, 50000));
	while (!(fake_usb_relays(d) & 1) && !on.done)
		uv_run(&b->loop, UV_RUN_NOWAIT);
	assert_int_equal(on.done, 0);
	dev->driver->power->set(dev, false, outcome_start(&b->loop, &off, 50000));
	assert_failed(&b->loop, &on, ERR_CANCELLED, "switched again before it had settled");
	while ((fake_usb_relays(d) & 1) && !off.done)
		uv_run(&b->loop, UV_RUN_NOWAIT);
	assert_int_equal(fake_usb_relays(d) & 1, 0);
	err_set(&why, ERR_CANCELLED, "enough");
	if (!off.done)
		op_cancel(off.op, &why);
	outcome_finish(&on);
	outcome_finish(&off);
	usb_closed(b, dev);
}

struct closing {
	struct device *dev;
	bool closed;
};

static void close_it(void *arg, const struct err *e, json_t *result)
{
	struct closing *c = arg;

	(void)result;
	assert_non_null(e);
	c->dev->driver->close(c->dev, set_flag, &c->closed);
}

static void closed_from_the_completion_of_its_own_operation(void **state)
{
	struct usb_bench *b = *state;
	struct fake_usb_device *d = fake_usb_relay(0, "1-1.4", "6QMBS");
	struct device *dev = usb_opened(b, RELAY, ONE);
	struct closing closing = {dev, false};
	struct outcome queued;

	usb_forget(b, dev);
	fake_usb_set(&d->stuck, true);
	dev->driver->power->set(dev, true, op_start(&b->loop, "set", 10000, close_it, &closing));
	dev->driver->power->get(dev, outcome_start(&b->loop, &queued, 10000));
	assert_failed(&b->loop, &queued, ERR_GONE, "closed");
	outcome_finish(&queued);
	while (!closing.closed)
		uv_run(&b->loop, UV_RUN_ONCE);
}

static void wrong_options_are_refused(void **state)
{
	struct usb_bench *b = *state;

	assert_options_refused(b, RELAY, "{\"channel\": 0}", "channel must be 1 to 8");
	assert_options_refused(b, RELAY, "{\"channel\": 9}", "channel must be 1 to 8");
	assert_options_refused(
		b, RELAY, "{\"channel\": 1, \"serial\": \"6QMB\"}", "id of 5 characters");
	assert_options_refused(
		b, RELAY, "{\"channel\": 1, \"serial\": \"6QMBSX\"}", "id of 5 characters");
	assert_options_refused(b, RELAY, "{\"channel\": 1, \"usb_path\": \"\"}", "usb_path");
	assert_options_refused(
		b, RELAY, "{\"channel\": 1, \"settle_ms\": 60001}", "settle_ms must be 0 to 60000");
}

static void scan_lists_boards_with_a_line_of_rig_conf(void **state)
{
	struct fake_usb_device *d = fake_usb_relay(0, "1-1.4", "6QMBS");
	char *found;

	(void)state;
	fake_usb_relay(1, "1-10", "AB12C");
	fake_usb_hub(2, "1-1");
	found = scanned(RELAY);
	assert_string_equal(found,
		"USB relay board 16c0:05df \"USBRelay2\", serial 6QMBS, 2 channels|1-1.4|power = { "
		"driver = \"usb-hid-relay\", serial = \"6QMBS\", channel = 1 },|\n"
		"USB relay board 16c0:05df \"USBRelay2\", serial AB12C, 2 channels|1-10|power = { "
		"driver = \"usb-hid-relay\", serial = \"AB12C\", channel = 1 },|\n");
	free(found);
	fake_usb_unplug(&fake_usb.devices[1]);
	fake_usb_set(&d->denied, true);
	found = scanned(RELAY);
	assert_non_null(strstr(found, "usb_path = \"1-1.4\""));
	assert_non_null(
		strstr(found, "|16c0:05df at 1-1.4: open: no permission: install the udev "));
	free(found);
	fake_usb_set(&d->denied, false);
	fake_usb_count(&d->held, FAKE_USB_HELD);
	found = scanned(RELAY);
	assert_non_null(strstr(found, "another program holds it"));
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
		TEST(its_relay_is_switched_and_no_other),
		TEST(over_the_normally_closed_contact_off_is_a_relay_that_picks_up),
		TEST(a_relay_that_does_not_follow_is_an_error_of_the_bench),
		TEST(an_answer_of_another_board_is_not_believed),
		TEST(a_transfer_that_fails_on_the_wire_is_repeated_once),
		TEST(a_board_another_process_holds_a_moment_is_waited_for),
		TEST(relays_of_one_board_share_its_handle),
		TEST(boards_are_told_apart_by_their_own_id_or_their_port),
		TEST(a_board_beside_that_fails_is_passed_over),
		TEST(other_things_with_its_numbers_are_left_alone),
		TEST(unplugged_it_is_lost_and_plugged_again_it_is_back),
		TEST(back_but_not_ready_it_is_tried_again),
		TEST(a_transfer_that_finds_it_gone_tells_so_once),
		TEST(switched_off_while_it_settles_it_goes_off_at_once),
		TEST(closed_from_the_completion_of_its_own_operation),
		TEST(wrong_options_are_refused),
		TEST(scan_lists_boards_with_a_line_of_rig_conf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
