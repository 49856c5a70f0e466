/*
 * The guest itself: what docs/bench-vm.md promises to the other programs.
 */
#include "vm.h"

#include <termios.h>

static void it_is_roots_and_mounted(void **state)
{
	(void)state;
	assert_int_equal(getuid(), 0);
	vm_wait_for("/proc/self/stat", 0);
	vm_wait_for("/sys/kernel/config/gpio-sim", 0);
	vm_wait_for("/sys/devices/platform/vhci_hcd.0/attach", 0);
	vm_wait_for("/sys/class/udc/dummy_udc.0", 0);
	vm_wait_for("/run/udev/control", 0);
}

static void its_hub_switches_its_ports(void **state)
{
	char hub[PATH_MAX], text[16];

	(void)state;
	/* the hub of the machine is the only one below a root hub */
	assert_true(vm_find("/sys/bus/usb/devices/[0-9]-1", hub));
	strncat(hub, "/idVendor", sizeof(hub) - strlen(hub) - 1);
	vm_read(hub, text, sizeof(text));
	assert_string_equal(text, "0409");
	vm_wait_for("/sys/bus/usb/devices/*-1:1.0/*-1-port1/disable", 0);
}

/* A tty as bytes come and go, 115200 baud. */
static int tty_open(const char *path)
{
	int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios t;

	if (fd < 0 || tcgetattr(fd, &t) != 0)
		fail_msg("%s: %s", path, strerror(errno));
	cfmakeraw(&t);
	cfsetspeed(&t, B115200);
	assert_int_equal(tcsetattr(fd, TCSANOW, &t), 0);
	return fd;
}

/* What is written at one end comes out at the other. */
static void tty_carries(int from, int to, const char *text)
{
	char buf[256];
	size_t len = 0;

	assert_int_equal(write(from, text, strlen(text)), strlen(text));
	while (len < strlen(text)) {
		struct pollfd p = {.fd = to, .events = POLLIN};
		ssize_t n;

		assert_int_equal(poll(&p, 1, VM_WITHIN_S * 1000), 1);
		n = read(to, buf + len, sizeof(buf) - len);
		assert_true(n > 0);
		len += (size_t)n;
	}
	assert_memory_equal(buf, text, strlen(text));
}

static void its_two_serial_ports_are_joined(void **state)
{
	char tty[PATH_MAX];
	int one, two;

	(void)state;
	vm_tty("RIG1", tty);
	one = tty_open(tty);
	vm_tty("RIG2", tty);
	two = tty_open(tty);
	tty_carries(one, two, "from one");
	tty_carries(two, one, "from two");
	close(one);
	close(two);
}

static void a_serial_port_is_unplugged_and_plugged_in(void **state)
{
	char tty[PATH_MAX], buf[16];
	struct pollfd p = {.events = POLLIN};
	int fd, two;

	(void)state;
	vm_tty("RIG1", tty);
	fd = tty_open(tty);
	vm_unplug("ftdi1");
	p.fd = fd;
	assert_int_equal(poll(&p, 1, VM_WITHIN_S * 1000), 1);
	assert_true(read(fd, buf, sizeof(buf)) <= 0);
	close(fd);
	vm_plug("ftdi1");
	vm_tty("RIG1", tty);
	fd = tty_open(tty);
	vm_tty("RIG2", tty);
	two = tty_open(tty);
	tty_carries(fd, two, "again");
	close(fd);
	close(two);
}

static void the_host_passes_on_what_qemu_says(void **state)
{
	char answer[1024];

	(void)state;
	vm_qmp("{\"execute\":\"query-status\"}", answer, sizeof(answer));
	assert_non_null(strstr(answer, "\"running\":true"));
}

static void a_chip_has_named_lines_that_are_pulled_and_read(void **state)
{
	static const char *const names[] = {"FLASH", "RELAY", NULL};
	struct vm_gpio g;

	(void)state;
	vm_gpio_bank_create(&g, "hello", 4, names);
	assert_false(vm_gpio_value(&g, 0));
	vm_gpio_pull(&g, 0, true);
	vm_gpio_wait(&g, 0, true, VM_WITHIN_S);
	vm_gpio_unplug(&g);
	vm_gpio_plug(&g);
	assert_false(vm_gpio_value(&g, 0));
	vm_gpio_bank_destroy(&g);
}

static void an_acm_gadget_has_two_ends(void **state)
{
	char tty[PATH_MAX];
	int host, gadget;

	(void)state;
	vm_acm_gadget_create();
	vm_tty("ACM1", tty);
	gadget = tty_open("/dev/ttyGS0");
	host = tty_open(tty);
	tty_carries(host, gadget, "to the device");
	tty_carries(gadget, host, "to the host");
	vm_acm_gadget_unplug();
	close(host);
	close(gadget);
	vm_acm_gadget_plug();
	vm_tty("ACM1", tty);
	gadget = tty_open("/dev/ttyGS0");
	host = tty_open(tty);
	tty_carries(host, gadget, "again");
	close(host);
	close(gadget);
	vm_acm_gadget_destroy();
}

static void a_program_is_started_and_stopped(void **state)
{
	(void)state;
	assert_int_equal(vm_wait(vm_start((const char *const[]){"false", NULL})), 1);
	assert_int_equal(
		vm_stop(vm_start((const char *const[]){"sleep", "1000", NULL})), 128 + SIGTERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_roots_and_mounted),
		cmocka_unit_test(its_hub_switches_its_ports),
		cmocka_unit_test(its_two_serial_ports_are_joined),
		cmocka_unit_test(a_serial_port_is_unplugged_and_plugged_in),
		cmocka_unit_test(the_host_passes_on_what_qemu_says),
		cmocka_unit_test(a_chip_has_named_lines_that_are_pulled_and_read),
		cmocka_unit_test(an_acm_gadget_has_two_ends),
		cmocka_unit_test(a_program_is_started_and_stopped),
	};

	return cmocka_run_group_tests_name("vm_hello", tests, NULL, NULL);
}
