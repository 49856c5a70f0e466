/*
 * usb-hid-relay and usb-hub-port against the kernel's own devices: a relay board that is served
 * over vhci (fixtures/bench-vm/hid_relay.c), and the machine's hub with switched ports.
 */
#include "vm.h"

#include "../driver_contract.h"
#include "../usb_bench.h"
#include "drivers/usb.h"

#include <sys/socket.h>
#include <sys/un.h>

#define RELAY "usb-hid-relay"
#define HUB "usb-hub-port"
#define ONE "{\"serial\": \"6QMBS\", \"channel\": 1}"
#define TWO "{\"serial\": \"6QMBS\", \"channel\": 2}"
#define HELD "/tmp/held"
#define TIMES 101        /* another process and this one switch at once */
#define LONG_OFF_MS 5000 /* is under way long enough to be unplugged in */

/* --- the relay board -------------------------------------------------------------------------- */

static struct {
	unsigned users;
	pid_t pid; /* 0: unplugged */
} board;

static int board_dial(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "/tmp/relay.sock"};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Says a word to the board; its answer goes to answer[size]. */
static void board_says(const char *word, char *answer, size_t size)
{
	int fd = board_dial();
	ssize_t n;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, word, strlen(word)), strlen(word));
	n = read(fd, answer, size - 1);
	close(fd);
	assert_true(n > 0);
	answer[n] = '\0';
}

static void board_does(const char *word)
{
	char answer[64];

	board_says(word, answer, sizeof(answer));
	assert_string_equal(answer, "ok\n");
}

static unsigned board_relays(void)
{
	char answer[64];

	board_says("state", answer, sizeof(answer));
	return (unsigned)strtoul(answer, NULL, 10);
}

/* The folder of the board's interface; false: it is not there. */
static bool board_find(char interface[PATH_MAX])
{
	glob_t found;
	bool any = false;

	if (glob("/sys/bus/usb/devices/*/product", 0, NULL, &found) == 0)
		for (size_t i = 0; i < found.gl_pathc && !any; i++) {
			char text[64] = "", *end;
			struct err e;

			if (usb_read_attribute(found.gl_pathv[i], text, sizeof(text), &e) ||
				strncmp(text, "USBRelay", 8) != 0)
				continue;
			end = strrchr(found.gl_pathv[i], '/');
			*end = '\0';
			snprintf(interface, PATH_MAX, "%s%s:1.0", found.gl_pathv[i],
				strrchr(found.gl_pathv[i], '/'));
			any = vm_exists(interface);
		}
	globfree(&found);
	return any;
}

static void board_wait(bool there)
{
	double until = vm_now_s() + VM_WITHIN_S;
	char interface[PATH_MAX];

	while (board_find(interface) != there) {
		if (vm_now_s() > until)
			fail_msg("the relay board has not %s after %d s", there ? "come" : "gone",
				VM_WITHIN_S);
		poll(NULL, 0, 10);
	}
}

static void board_unplug(void)
{
	if (!board.pid)
		return;
	kill(board.pid, SIGKILL);
	vm_wait(board.pid);
	board.pid = 0;
}

static void board_plug(void)
{
	double until = vm_now_s() + VM_WITHIN_S;
	int fd;

	if (board.pid)
		return;
	board_wait(false);
	unlink("/tmp/relay.sock");
	board.pid =
		vm_start((const char *const[]){"hid_relay", "6QMBS", "2", "/tmp/relay.sock", NULL});
	while ((fd = board_dial()) < 0) {
		assert_true(vm_now_s() < until);
		poll(NULL, 0, 10);
	}
	close(fd);
	board_wait(true);
}

static void *relay_setup(struct driver_env *env)
{
	(void)env;
	if (!board.users++)
		board_plug();
	return &board;
}

static void relay_teardown(void *bench)
{
	(void)bench;
	if (!--board.users)
		board_unplug();
}

static void relay_mend(void *bench)
{
	(void)bench;
	board_plug();
	board_does("work");
}

static bool relay_break_open(void *bench, unsigned step, json_t *options)
{
	(void)bench;
	switch (step) {
	case 0:
		board_unplug();
		return true;
	case 1:
		board_does("mute");
		return true;
	case 2:
		board_does("short");
		return true;
	case 3:
		json_object_set_new(options, "serial", json_string("OTHER"));
		return true;
	case 4:
		json_object_set_new(options, "channel", json_integer(3));
		return true;
	default:
		return false;
	}
}

static void relay_start(struct device *dev, struct op *op)
{
	dev->driver->power->set(dev, true, op);
}

static void relay_start_stuck(void *bench, struct device *dev, struct op *op)
{
	(void)bench;
	board_does("mute");
	relay_start(dev, op);
}

static void relay_unstick(void *bench)
{
	(void)bench;
	if (board.pid)
		board_does("work");
}

static void relay_unplug(void *bench)
{
	(void)bench;
	board_unplug();
}

static const struct contract relay_contract = {RELAY, TWO, relay_setup, relay_teardown,
	relay_break_open, relay_mend, relay_start, relay_start_stuck, relay_unstick, relay_unplug,
	false, ONE};

static int board_bench_setup(void **state)
{
	board_plug();
	return usb_bench_setup(state);
}

static int board_bench_teardown(void **state)
{
	board_unplug();
	return usb_bench_teardown(state);
}

static void the_relays_of_the_board_switch(void **state)
{
	struct usb_bench *b = *state;
	struct device *one = usb_opened(b, RELAY, ONE), *two = usb_opened(b, RELAY, TWO);

	assert_sets(b, one, true, "read-back");
	assert_int_equal(board_relays(), 1);
	assert_sets(b, two, true, "read-back");
	assert_int_equal(board_relays(), 3);
	assert_sets(b, one, false, "read-back");
	assert_int_equal(board_relays(), 2);
	assert_reads(b, one, false);
	assert_reads(b, two, true);
	assert_checks(b, two, "says", "channel 2 reads on");
	usb_closed(b, one);
	assert_sets(b, two, false, "read-back");
	assert_int_equal(board_relays(), 0);
	usb_closed(b, two);
}

static void the_kernels_driver_is_taken_off_it(void **state)
{
	struct usb_bench *b = *state;
	char driver[PATH_MAX], interface[PATH_MAX];
	struct device *dev;

	assert_true(board_find(interface));
	snprintf(driver, sizeof(driver), "%.4000s/driver", interface);
	vm_wait_for(driver, VM_WITHIN_S);
	dev = usb_opened(b, RELAY, ONE);
	assert_false(vm_exists(driver));
	usb_closed(b, dev);
}

static void a_relay_that_does_not_follow_is_an_error_of_the_bench(void **state)
{
	struct usb_bench *b = *state;
	struct device *dev = usb_opened(b, RELAY, ONE);

	board_does("stick");
	assert_set_fails(b, dev, true, ERR_BENCH, "set on: read-back says off");
	board_does("work");
	assert_sets(b, dev, true, "read-back");
	usb_closed(b, dev);
}

static void unplugged_it_is_lost_and_plugged_again_it_is_back(void **state)
{
	struct usb_bench *b = *state;
	struct device *dev = usb_opened(b, RELAY, ONE);
	struct outcome o;

	for (int i = 1; i <= 3; i++) {
		board_unplug();
		wait_for(b, &b->lost, i);
		dev->driver->make_safe(dev, outcome_start(&b->loop, &o, 10000));
		assert_failed(&b->loop, &o, ERR_BENCH, "6QMBS");
		board_plug();
		wait_for(b, &b->back, i);
		assert_sets(b, dev, true, "read-back");
		assert_int_equal(board_relays(), 1);
		assert_int_equal(b->lost, i);
	}
	usb_closed(b, dev);
}

/* --- this program as another process --- */

/* Another keeper: switches relay 2 an odd number of times. */
static int keeper_main(void)
{
	struct usb_bench *b;
	struct device *dev;
	void *state;

	usb_bench_setup(&state);
	b = state;
	dev = usb_opened(b, RELAY, "{\"serial\": \"6QMBS\", \"channel\": 2, \"settle_ms\": 0}");
	for (int i = 0; i < TIMES; i++)
		assert_sets(b, dev, i % 2 == 0, "read-back");
	usb_closed(b, dev);
	return usb_bench_teardown(&state);
}

/* Another program claims the board's interface and keeps it until it is ended. */
static int holder_main(void)
{
	struct usb_handle *h = NULL;
	struct usb_info *list;
	size_t count;
	struct err e;

	if (usb_list(&list, &count, &e))
		return 1;
	for (size_t i = 0; i < count; i++)
		if (list[i].vendor == 0x16c0 && usb_open(&list[i], &h, &e))
			return 2;
	free(list);
	if (!h || usb_claim(h, 0, 10000, NULL, &e) || creat(HELD, 0600) < 0)
		return 3;
	for (;;)
		pause();
}

static pid_t start_self(const char *as)
{
	return vm_start((const char *const[]){"/proc/self/exe", as, NULL});
}

static void two_processes_have_relays_of_one_board(void **state)
{
	struct usb_bench *b = *state;
	struct device *dev =
		usb_opened(b, RELAY, "{\"serial\": \"6QMBS\", \"channel\": 1, \"settle_ms\": 0}");
	pid_t pid = start_self("keeper");

	assert_true(pid > 0);
	for (int i = 0; i < TIMES; i++)
		assert_sets(b, dev, i % 2 == 0, "read-back");
	assert_int_equal(vm_wait(pid), 0);
	assert_int_equal(board_relays(), 3);
	usb_closed(b, dev);
}

static void held_by_another_program_it_is_waited_for_and_made_safe(void **state)
{
	struct usb_bench *b = *state;
	struct device *dev = usb_opened(b, RELAY, ONE);
	struct outcome o;
	pid_t pid;

	assert_sets(b, dev, true, "read-back");
	unlink(HELD);
	pid = start_self("holder");
	vm_wait_for(HELD, VM_WITHIN_S);
	assert_set_fails(b, dev, false, ERR_BUSY, "another program holds it");
	assert_int_equal(board_relays(), 1);
	dev->driver->make_safe(dev, outcome_start(&b->loop, &o, 10000));
	uv_run(&b->loop, UV_RUN_NOWAIT);
	assert_int_equal(vm_stop(pid), 128 + SIGTERM);
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_int_equal(board_relays(), 0);
	usb_closed(b, dev);
}

static void scan_finds_the_board(void **state)
{
	char *found = scanned(RELAY);

	(void)state;
	assert_non_null(strstr(found, "serial 6QMBS, 2 channels"));
	assert_non_null(strstr(found, "serial = \"6QMBS\", channel = 1 },|\n"));
	free(found);
}

/* --- the hub ---------------------------------------------------------------------------------- */

static struct {
	char path[16];       /* "3-1" */
	char root_port[128]; /* the file that takes its power, and so the hub, away */
	char by_sysfs[128], by_control[128];
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
	vm_write(hub.root_port, "0");
	snprintf(interface, sizeof(interface), "/sys/bus/usb/devices/%s:1.0/driver", hub.path);
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

static const struct contract sysfs_contract = {HUB, hub.by_sysfs, hub_setup, hub_teardown,
	hub_break_open, hub_mend, hub_start, hub_start_stuck, hub_unstick, hub_unplug, false, NULL};
static const struct contract control_contract = {HUB, hub.by_control, hub_setup, hub_teardown,
	hub_break_open, hub_mend, hub_start, hub_start_stuck, hub_unstick, hub_unplug, false, NULL};

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

#define TEST_BOARD(f) cmocka_unit_test_setup_teardown(f, board_bench_setup, board_bench_teardown)
#define TEST_HUB(f) cmocka_unit_test_setup_teardown(f, usb_bench_setup, usb_bench_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest own[] = {
		TEST_BOARD(the_relays_of_the_board_switch),
		TEST_BOARD(the_kernels_driver_is_taken_off_it),
		TEST_BOARD(a_relay_that_does_not_follow_is_an_error_of_the_bench),
		TEST_BOARD(unplugged_it_is_lost_and_plugged_again_it_is_back),
		TEST_BOARD(two_processes_have_relays_of_one_board),
		TEST_BOARD(held_by_another_program_it_is_waited_for_and_made_safe),
		TEST_BOARD(scan_finds_the_board),
		TEST_HUB(switched_off_by_the_kernel_the_device_leaves),
		TEST_HUB(switched_off_by_requests_the_hub_says_so),
		TEST_HUB(unplugged_the_hub_is_lost_and_plugged_again_it_is_back),
		TEST_HUB(what_is_no_hub_is_refused),
		TEST_HUB(scan_finds_the_hub),
	};
	struct CMUnitTest tests[sizeof(own) / sizeof(*own) + 3 * CONTRACT_CLAIMS];
	struct CMUnitTest *end = tests;
	int failed;

	if (argc > 1)
		return strcmp(argv[1], "keeper") == 0 ? keeper_main() : holder_main();
	hub_find();
	contract_tests(&relay_contract, end);
	contract_tests(&sysfs_contract, end += CONTRACT_CLAIMS);
	contract_tests(&control_contract, end += CONTRACT_CLAIMS);
	memcpy(end + CONTRACT_CLAIMS, own, sizeof(own));
	failed = cmocka_run_group_tests_name("vm_usb", tests, NULL, NULL);
	for (size_t i = 0; i < 3 * CONTRACT_CLAIMS; i++)
		free((char *)(uintptr_t)tests[i].name);
	return failed;
}
