/*
 * Which debug probes are on USB and why one cannot be used, in folders that stand for /sys, /dev
 * and /proc.
 */
#include "drivers/openocd_usb.h"

#include "drivers/driver.h"
#include "scratch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char sys_dir[600], dev_dir[600], proc_dir[600];

/* Makes a folder and those above it. */
static void make_dir(void *scratch, const char *name)
{
	char path[300];

	for (size_t i = 0; i <= strlen(name); i++)
		if (name[i] == '/' || !name[i]) {
			snprintf(path, sizeof(path), "%.*s", (int)i, name);
			if (mkdir(scratch_path(scratch, path), 0700))
				assert_int_equal(errno, EEXIST);
		}
}

static void put(void *scratch, const char *dir, const char *file, const char *text)
{
	char name[400];

	make_dir(scratch, dir);
	snprintf(name, sizeof(name), "%s/%s", dir, file);
	scratch_write(scratch, name, text);
}

/* A device on USB, with a node that can be written. */
static void plug(void *scratch, const char *port, const char *vendor, const char *product,
	const char *name, const char *serial, const char *number)
{
	char dir[300], node[64];

	snprintf(dir, sizeof(dir), "sys/bus/usb/devices/%s", port);
	put(scratch, dir, "idVendor", vendor);
	put(scratch, dir, "idProduct", product);
	put(scratch, dir, "busnum", "1\n");
	put(scratch, dir, "devnum", number);
	if (name)
		put(scratch, dir, "product", name);
	if (serial)
		put(scratch, dir, "serial", serial);
	snprintf(node, sizeof(node), "%03d", (int)strtol(number, NULL, 10));
	put(scratch, "dev/bus/usb/001", node, "");
}

static int setup(void **state)
{
	assert_int_equal(scratch_setup(state), 0);
	make_dir(*state, "sys/bus/usb/devices");
	make_dir(*state, "dev");
	make_dir(*state, "proc");
	snprintf(sys_dir, sizeof(sys_dir), "%s", scratch_path(*state, "sys"));
	snprintf(dev_dir, sizeof(dev_dir), "%s", scratch_path(*state, "dev"));
	snprintf(proc_dir, sizeof(proc_dir), "%s", scratch_path(*state, "proc"));
	openocd_sys_dir = sys_dir;
	openocd_dev_dir = dev_dir;
	openocd_proc_dir = proc_dir;
	return 0;
}

static void plug_all(void *s)
{
	plug(s, "1-1", "1366\n", "1051\n", "J-Link\n", "000683123456\n", "4\n");
	plug(s, "1-2", "0483\n", "374b\n", "STM32 STLink\n", "066BFF5150\n", "5\n");
	plug(s, "1-3", "0d28\n", "0204\n", "DAPLink CMSIS-DAP\n", "0240000\n", "6\n");
	/* one whose interface alone says what it is */
	plug(s, "1-4.1", "2e8a\n", "000c\n", "Debugprobe on Pico\n", "E6614\n", "7\n");
	put(s, "sys/bus/usb/devices/1-4.1/1-4.1:1.0", "interface", "CMSIS-DAP v2 Interface\n");
	/* what is no probe */
	plug(s, "1-5", "0483\n", "5740\n", "STM32 Virtual ComPort\n", "X\n", "8\n");
	plug(s, "usb1", "1d6b\n", "0002\n", "xHCI Host Controller\n", "0000:00\n", "1\n");
}

static const char *field(const json_t *found, size_t i, const char *name)
{
	const char *text = json_string_value(json_object_get(json_array_get(found, i), name));

	return text ? text : "";
}

static void the_scan_lists_probes_each_with_a_line_of_rig_conf(void **state)
{
	json_t *found = json_array();
	struct err e;

	plug_all(*state);
	assert_int_equal(driver_find("openocd")->scan(found, &e), 0);
	assert_int_equal(json_array_size(found), 4);
	assert_string_equal(field(found, 0, "what"), "J-Link 1366:1051, J-Link, serial 683123456");
	assert_string_equal(field(found, 0, "at"), "1-1");
	assert_string_equal(field(found, 0, "conf"),
		"probe = { driver = \"openocd\", adapter = \"jlink\", serial = \"683123456\" },");
	assert_string_equal(field(found, 1, "conf"),
		"probe = { driver = \"openocd\", adapter = \"stlink\", serial = \"066BFF5150\" },");
	assert_string_equal(field(found, 2, "conf"),
		"probe = { driver = \"openocd\", adapter = \"cmsis-dap\", serial = \"0240000\" },");
	assert_string_equal(field(found, 3, "conf"),
		"probe = { driver = \"openocd\", adapter = \"cmsis-dap\", serial = \"E6614\" },");
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(field(found, i, "mend"), "");
	json_decref(found);
}

static void a_serial_number_that_is_no_text_is_left_out_of_the_line(void **state)
{
	json_t *found = json_array();
	struct err e;

	plug(*state, "1-2", "0483\n", "3748\n", "STM32 STLink\n", "P\xff\x06\"q", "5\n");
	assert_int_equal(driver_find("openocd")->scan(found, &e), 0);
	assert_string_equal(
		field(found, 0, "conf"), "probe = { driver = \"openocd\", adapter = \"stlink\" },");
	json_decref(found);
}

/* Root may write anything: a node that cannot be opened is one that is not there. */
static void a_node_that_cannot_be_written_is_told_with_its_mend(void **state)
{
	json_t *found = json_array();
	char text[500];
	struct err e;

	plug_all(*state);
	unlink(scratch_path(*state, "dev/bus/usb/001/004"));
	assert_int_equal(driver_find("openocd")->scan(found, &e), 0);
	assert_non_null(strstr(field(found, 0, "mend"), "60-rig.rules"));
	assert_non_null(strstr(field(found, 0, "mend"), "dev/bus/usb/001/004"));
	assert_string_equal(field(found, 1, "mend"), "");
	json_decref(found);
	openocd_usb_mend(PROBE_JLINK, "683123456", text, sizeof(text));
	assert_non_null(strstr(text, "60-rig.rules"));
	openocd_usb_check(PROBE_JLINK, "683123456", text, sizeof(text));
	assert_non_null(strstr(text, "60-rig.rules"));
}

static void what_is_missing_is_told_from_what_has_another_number(void **state)
{
	char text[500];

	openocd_usb_mend(PROBE_JLINK, "683123456", text, sizeof(text));
	assert_non_null(strstr(text, "no J-Link is on USB"));
	plug_all(*state);
	openocd_usb_mend(PROBE_JLINK, "683999999", text, sizeof(text));
	assert_non_null(strstr(text, "serial number 683999999 is on USB, only 683123456"));
	openocd_usb_check(PROBE_CMSIS_DAP, "nope", text, sizeof(text));
	assert_non_null(strstr(text, "0240000"));
	assert_non_null(strstr(text, "E6614"));
	openocd_usb_mend(PROBE_OTHER, "x", text, sizeof(text));
	assert_string_equal(text, "");
	/* zeros before a J-Link's number do not count */
	openocd_usb_check(PROBE_JLINK, "00683123456", text, sizeof(text));
	assert_string_equal(text, "");
}

static void several_probes_and_no_serial_number_are_to_be_mended(void **state)
{
	char text[500];

	plug_all(*state);
	openocd_usb_check(PROBE_CMSIS_DAP, NULL, text, sizeof(text));
	assert_non_null(strstr(text, "several CMSIS-DAP probes"));
	openocd_usb_check(PROBE_CMSIS_DAP, "E6614", text, sizeof(text));
	assert_string_equal(text, "");
	openocd_usb_check(PROBE_JLINK, NULL, text, sizeof(text));
	assert_string_equal(text, "");
}

static void who_else_holds_a_probe_is_named(void **state)
{
	char text[500], node[600];

	plug_all(*state);
	openocd_usb_mend(PROBE_JLINK, "683123456", text, sizeof(text));
	assert_non_null(strstr(text, "port 1-1"));
	assert_non_null(strstr(text, "unplug it"));
	put(*state, "proc/4711", "comm", "JLinkGDBServer\n");
	make_dir(*state, "proc/4711/fd");
	snprintf(node, sizeof(node), "%s", scratch_path(*state, "dev/bus/usb/001/004"));
	assert_return_code(symlink(node, scratch_path(*state, "proc/4711/fd/7")), errno);
	openocd_usb_mend(PROBE_JLINK, "683123456", text, sizeof(text));
	assert_non_null(strstr(text, "JLinkGDBServer (process 4711) holds it"));
}

static void adapters_are_known_by_their_interface_files_names(void **state)
{
	(void)state;
	assert_int_equal(openocd_probe_kind("jlink"), PROBE_JLINK);
	assert_int_equal(openocd_probe_kind("cmsis-dap"), PROBE_CMSIS_DAP);
	assert_int_equal(openocd_probe_kind("stlink-dap"), PROBE_STLINK);
	assert_int_equal(openocd_probe_kind("virtual"), PROBE_OTHER);
	assert_int_equal(openocd_probe_kind("ftdi/olimex-arm-usb-ocd"), PROBE_OTHER);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, scratch_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(the_scan_lists_probes_each_with_a_line_of_rig_conf),
		T(a_serial_number_that_is_no_text_is_left_out_of_the_line),
		T(a_node_that_cannot_be_written_is_told_with_its_mend),
		T(what_is_missing_is_told_from_what_has_another_number),
		T(several_probes_and_no_serial_number_are_to_be_mended),
		T(who_else_holds_a_probe_is_named),
		T(adapters_are_known_by_their_interface_files_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
