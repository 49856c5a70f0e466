/*
 * The whole hardware path with nothing of the rig's on it: the kernel's own GPIO calls cut the
 * power of the virtual board at a flash operation. What the drivers reach is measured beside it.
 */
#include "vm_board.h"

#include <linux/gpio.h>
#include <sys/ioctl.h>
#include <termios.h>

/* A line of the bank's, as an output that is low, or with its edges as events. */
static int request(const struct vm_board *b, unsigned line, uint64_t flags)
{
	struct gpio_v2_line_request r = {
		.offsets = {line}, .num_lines = 1, .config.flags = flags, .consumer = "vm_path"};
	char path[128];
	int chip;

	r.event_buffer_size = 1024;
	snprintf(path, sizeof(path), "/dev/%s", b->gpio.chip);
	chip = open(path, O_RDWR | O_CLOEXEC);
	assert_true(chip >= 0);
	assert_int_equal(ioctl(chip, GPIO_V2_GET_LINE_IOCTL, &r), 0);
	close(chip);
	return r.fd;
}

static void set(int line, bool high)
{
	struct gpio_v2_line_values v = {.bits = high, .mask = 1};

	assert_int_equal(ioctl(line, GPIO_V2_LINE_SET_VALUES_IOCTL, &v), 0);
}

#define EDGES                                                                                      \
	(GPIO_V2_LINE_FLAG_INPUT | GPIO_V2_LINE_FLAG_EDGE_RISING | GPIO_V2_LINE_FLAG_EDGE_FALLING)

static void the_relay_is_the_boards_power(void **state)
{
	struct vm_board b;
	json_t *answer;
	int relay;

	(void)state;
	vm_board_join(&b);
	relay = request(&b, VM_BOARD_RELAY, GPIO_V2_LINE_FLAG_OUTPUT);
	set(relay, true);
	vm_board_wait_power(&b, true);
	answer = vm_board_call("state", "{}");
	assert_true(json_is_true(json_object_get(answer, "power")));
	json_decref(answer);
	/* a relay whose driver lets go of it falls back */
	close(relay);
	vm_board_wait_power(&b, false);
	answer = vm_board_call("state", "{}");
	assert_true(json_is_false(json_object_get(answer, "power")));
	json_decref(answer);
	vm_board_part(&b);
}

static void its_uart_is_a_serial_port(void **state)
{
	char tty[PATH_MAX], buf[4096];
	struct vm_board b;
	struct termios t;
	size_t len = 0;
	int relay, fd;

	(void)state;
	vm_board_join(&b);
	vm_tty(VM_BOARD_SERIAL, tty);
	fd = open(tty, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_int_equal(tcgetattr(fd, &t), 0);
	cfmakeraw(&t);
	cfsetspeed(&t, B115200);
	assert_int_equal(tcsetattr(fd, TCSAFLUSH, &t), 0);
	relay = request(&b, VM_BOARD_RELAY, GPIO_V2_LINE_FLAG_OUTPUT);
	set(relay, true);
	for (buf[0] = '\0'; !strstr(buf, "start\nwrote 2\n"); buf[len] = '\0') {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		assert_int_equal(poll(&p, 1, VM_WITHIN_S * 1000), 1);
		n = read(fd, buf + len, sizeof(buf) - 1 - len);
		assert_true(n > 0);
		len += (size_t)n;
	}
	close(relay);
	close(fd);
	vm_board_wait_power(&b, false);
	vm_board_part(&b);
}

/* Runs the board and cuts its power at the edge that is operation wanted. */
static struct vm_landing cut(struct vm_board *b, unsigned wanted)
{
	int flash = request(b, VM_BOARD_FLASH, EDGES);
	int relay = request(b, VM_BOARD_RELAY, GPIO_V2_LINE_FLAG_OUTPUT);
	struct vm_landing landing;

	json_decref(vm_board_call("mark", "{}"));
	set(relay, true);
	for (unsigned n = 0; n < wanted;) {
		struct gpio_v2_line_event events[16];
		struct pollfd p = {.fd = flash, .events = POLLIN};
		ssize_t got;

		assert_int_equal(poll(&p, 1, VM_WITHIN_S * 1000), 1);
		got = read(flash, events, sizeof(events));
		assert_true(got > 0);
		n = events[(size_t)got / sizeof(events[0]) - 1].line_seqno;
	}
	set(relay, false);
	landing = vm_board_landing(b, wanted);
	close(flash);
	close(relay);
	return landing;
}

static void a_cut_at_an_edge_lands_after_it(void **state)
{
	struct vm_board b;

	(void)state;
	vm_board_join(&b);
	for (unsigned wanted = 2; wanted <= 20; wanted += 6) {
		struct vm_landing l = cut(&b, wanted);

		printf("# wanted %d, landed %d, %.2f ms: guest %.2f, transport %.2f\n",
			(int)l.wanted, (int)l.landed, l.whole_ms, l.inner_ms,
			l.whole_ms - l.inner_ms);
		assert_true(l.landed >= l.wanted);
		assert_true(l.whole_ms > l.inner_ms && l.inner_ms > 0);
	}
	vm_board_part(&b);
}

static void openocd_reaches_its_probe(void **state)
{
	struct vm_board b;
	char port[64], script[1024];
	int relay;

	(void)state;
	vm_ask("probe", port, sizeof(port));
	vm_board_join(&b);
	relay = request(&b, VM_BOARD_RELAY, GPIO_V2_LINE_FLAG_OUTPUT);
	set(relay, true);
	vm_board_wait_power(&b, true);
	snprintf(script, sizeof(script),
		"source [find interface/stlink-dap.cfg]; st-link backend tcp %s; "
		"transport select dapdirect_swd; source [find target/nrf52.cfg]; "
		"gdb_port disabled; tcl_port disabled; telnet_port disabled; init; halt; "
		"if {[read_memory 0x10000100 32 1] != 0x52840} {error wrong}; shutdown",
		port);
	assert_int_equal(
		vm_wait(vm_start((const char *const[]){"openocd", "-c", script, NULL})), 0);
	close(relay);
	vm_board_wait_power(&b, false);
	vm_board_part(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_relay_is_the_boards_power),
		cmocka_unit_test(its_uart_is_a_serial_port),
		cmocka_unit_test(a_cut_at_an_edge_lands_after_it),
		cmocka_unit_test(openocd_reaches_its_probe),
	};

	return cmocka_run_group_tests_name("vm_path", tests, NULL, NULL);
}
