/*
 * serial-relay on the kernel's serial ports: the rig's end is one FTDI adapter, which is unplugged
 * in the middle of things; the relay board answers at the other end of the null modem.
 */
#include "vm.h"

#include "../driver_contract.h"
#include "../fake_relay.h"

#include <termios.h>

#define LCUS "\"usb_serial\": \"RIG1\", \"settle_ms\": 1, \"read_back\": \"always\""
#define NUMATO "\"protocol\": \"numato\", " LCUS

/* --- the board -------------------------------------------------------------------------------- */

/* One board, also when two benches have relays of it. */
static struct {
	unsigned users;
	struct fake_serial far;
	struct fake_relay relay;
} board;

static int far_open(void)
{
	char tty[PATH_MAX];
	struct termios t;
	int fd;

	vm_tty("RIG2", tty);
	fd = open(tty, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		fail_msg("%s: %s", tty, strerror(errno));
	assert_int_equal(tcgetattr(fd, &t), 0);
	cfmakeraw(&t);
	t.c_cflag |= CLOCAL | CREAD;
	cfsetspeed(&t, B9600);
	assert_int_equal(tcsetattr(fd, TCSANOW, &t), 0);
	tcflush(fd, TCIOFLUSH);
	return fd;
}

static void board_start(bool numato)
{
	if (board.users++)
		return;
	memset(&board.relay, 0, sizeof(board.relay));
	board.far = (struct fake_serial){.master = far_open(), .slave = -1};
	board.relay.port = &board.far;
	board.relay.numato = numato;
	fake_relay_start(&board.relay);
}

static void board_plug(void)
{
	board.relay.mode = RELAY_ANSWERS;
	if (!vm_exists("/dev/serial/by-id/*RIG1-*"))
		vm_plug("ftdi1");
}

static void board_end(void)
{
	board_plug();
	if (--board.users)
		return;
	fake_relay_end(&board.relay);
	close(board.far.master);
}

/* With the power of its relays. */
static void board_unplug(void)
{
	vm_unplug("ftdi1");
	vm_wait_gone("/dev/serial/by-id/*RIG1-*", VM_WITHIN_S);
	for (int i = 0; i < FAKE_CHANNELS; i++)
		board.relay.on[i] = false;
}

/* --- the contract ----------------------------------------------------------------------------- */

static void *lcus_setup(struct driver_env *env)
{
	env->capability = "power";
	board_start(false);
	return &board;
}

static void *numato_setup(struct driver_env *env)
{
	env->capability = "power";
	board_start(true);
	return &board;
}

static void bench_teardown(void *bench)
{
	(void)bench;
	board_end();
}

static void bench_mend(void *bench)
{
	(void)bench;
	board_plug();
}

static bool bench_break_open(void *bench, unsigned step, json_t *options)
{
	(void)bench;
	if (step == 0)
		board_unplug();
	else if (step == 1)
		board.relay.mode = RELAY_MUTE;
	else
		json_object_set_new(options, "usb_serial", json_string("NONE"));
	return step < 3;
}

static void bench_start(struct device *dev, struct op *op)
{
	dev->driver->power->get(dev, op);
}

static void bench_start_stuck(void *bench, struct device *dev, struct op *op)
{
	(void)bench;
	board.relay.mode = RELAY_MUTE;
	dev->driver->power->set(dev, true, op);
}

static void bench_unplug(void *bench)
{
	(void)bench;
	board_unplug();
}

/* Relay 2; the others stay as they were. */
static bool bench_is_on(void *bench)
{
	(void)bench;
	for (int i = 0; i < FAKE_CHANNELS; i++)
		assert_true(i == 2 || !board.relay.on[i]);
	return board.relay.on[2];
}

static const struct contract lcus_contract = {"serial-relay", "{" LCUS ", \"channel\": 2}",
	lcus_setup, bench_teardown, bench_break_open, bench_mend, bench_start, bench_start_stuck,
	bench_mend, bench_unplug, false, "{" LCUS ", \"channel\": 1}", .is_on = bench_is_on,
	.tells = true};
static const struct contract numato_contract = {"serial-relay", "{" NUMATO ", \"channel\": 2}",
	numato_setup, bench_teardown, bench_break_open, bench_mend, bench_start, bench_start_stuck,
	bench_mend, bench_unplug, false, "{" NUMATO ", \"channel\": 1}", .is_on = bench_is_on,
	.tells = true};

/* --- what is particular ----------------------------------------------------------------------- */

/* Its contacts do not move, and it says so. */
static void a_relay_that_does_not_follow_is_an_error_of_the_bench(void **state)
{
	struct contract_bench *b = *state;
	struct device *dev = contract_open(b);
	struct outcome o;

	board.relay.mode = RELAY_STUCK;
	dev->driver->power->set(dev, true, outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	assert_failed(&b->loop, &o, ERR_BENCH, "read-back says off");
	board.relay.mode = RELAY_ANSWERS;
	contract_switches(b, dev, true);
	board.relay.mode = RELAY_STUCK;
	dev->driver->make_safe(dev, outcome_start(&b->loop, &o, CONTRACT_WITHIN_MS));
	assert_failed(&b->loop, &o, ERR_BENCH, "could not be switched off");
	close_device(&b->loop, dev);
}

/* Switched by hand, or by another program: it is what the board says that counts. */
static void what_it_reads_is_what_the_board_says(void **state)
{
	struct contract_bench *b = *state;
	struct device *dev = contract_open(b);

	contract_switches(b, dev, false);
	board.relay.on[2] = true;
	contract_is(b, dev, true);
	contract_switches(b, dev, true);
	board.relay.on[2] = false;
	contract_is(b, dev, false);
	close_device(&b->loop, dev);
}

static const struct {
	const char *claim;
	void (*run)(void **state);
} own[] = {
	{"a relay that does not follow is an error of the bench",
		a_relay_that_does_not_follow_is_an_error_of_the_bench},
	{"what it reads is what the board says", what_it_reads_is_what_the_board_says},
};

#define OWN (sizeof(own) / sizeof(*own))
#define EACH (OWN + CONTRACT_CLAIMS)

static void tests_of(const struct contract *contract, struct CMUnitTest *tests)
{
	contract_tests(contract, tests);
	for (size_t i = 0; i < OWN; i++)
		tests[CONTRACT_CLAIMS + i] = (struct CMUnitTest){.name = own[i].claim,
			.test_func = own[i].run,
			.setup_func = contract_setup,
			.teardown_func = contract_teardown,
			.initial_state = (void *)(uintptr_t)contract};
}

int main(void)
{
	struct CMUnitTest tests[2 * EACH];
	int failed;

	tests_of(&lcus_contract, tests);
	tests_of(&numato_contract, tests + EACH);
	failed = cmocka_run_group_tests_name("vm_serial_relay", tests, NULL, NULL);
	for (size_t i = 0; i < 2 * EACH; i++)
		if (i % EACH < CONTRACT_CLAIMS)
			free((char *)(uintptr_t)tests[i].name);
	return failed;
}
