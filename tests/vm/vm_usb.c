/*
 * usb-hid-relay against the kernel's own USB: a relay board that is served over vhci
 * (fixtures/bench-vm/hid_relay.c).
 */
#include "vm.h"

#include "../driver_contract.h"
#include "../usb_bench.h"
#include "drivers/usb.h"

#include <sys/socket.h>
#include <sys/un.h>

#define RELAY "usb-hid-relay"
#define ONE "{\"serial\": \"6QMBS\", \"channel\": 1}"
#define TWO "{\"serial\": \"6QMBS\", \"channel\": 2}"
#define HELD "/tmp/held"
#define TIMES 101 /* another process and this one switch at once */

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

/* Relay 2; the other one stays as it was. */
static bool relay_is_on(void *bench)
{
	unsigned relays = board_relays();

	(void)bench;
	assert_int_equal(relays & 1, 0);
	return relays == 2;
}

static const struct contract relay_contract = {RELAY, TWO, relay_setup, relay_teardown,
	relay_break_open, relay_mend, relay_start, relay_start_stuck, relay_unstick, relay_unplug,
	false, ONE, .is_on = relay_is_on, .tells = true};

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

#define TEST(f) cmocka_unit_test_setup_teardown(f, board_bench_setup, board_bench_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest own[] = {
		TEST(the_relays_of_the_board_switch),
		TEST(the_kernels_driver_is_taken_off_it),
		TEST(a_relay_that_does_not_follow_is_an_error_of_the_bench),
		TEST(unplugged_it_is_lost_and_plugged_again_it_is_back),
		TEST(two_processes_have_relays_of_one_board),
		TEST(held_by_another_program_it_is_waited_for_and_made_safe),
		TEST(scan_finds_the_board),
	};
	struct CMUnitTest tests[sizeof(own) / sizeof(*own) + CONTRACT_CLAIMS];
	int failed;

	if (argc > 1)
		return strcmp(argv[1], "keeper") == 0 ? keeper_main() : holder_main();
	contract_tests(&relay_contract, tests);
	memcpy(tests + CONTRACT_CLAIMS, own, sizeof(own));
	failed = cmocka_run_group_tests_name("vm_usb", tests, NULL, NULL);
	for (size_t i = 0; i < CONTRACT_CLAIMS; i++)
		free((char *)(uintptr_t)tests[i].name);
	return failed;
}
