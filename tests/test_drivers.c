/*
 * The table of drivers, and the contract that each of them keeps.
 */
#include "contracts/command.h"
#include "contracts/command_probe.h"
#include "contracts/console_pattern.h"
#include "contracts/gpio_edge.h"
#include "contracts/gpio_line.h"
#include "contracts/gpio_relay.h"
#include "contracts/hwmon.h"
#include "contracts/openocd.h"
#include "contracts/pdudaemon.h"
#include "contracts/probe_breakpoint.h"
#include "contracts/probe_watchpoint.h"
#include "contracts/pty.h"
#include "contracts/scpi_psu.h"
#include "contracts/serial.h"
#include "contracts/serial_relay.h"
#include "contracts/smp.h"
#include "contracts/tcp.h"
#include "contracts/timer.h"
#include "contracts/usb_hid_relay.h"
#include "contracts/usb_hub_port.h"
#include "contracts/virtual.h"
#include "driver_contract.h"

/* --- the table --- */

/* In alphabetical order; each is in a file of its own in contracts/. */
/* clang-format off */
static const struct contract *const contracts[] = {
	&contract_command,
	&contract_command_probe,
	&contract_console_pattern,
	&contract_gpio_edge,
	&contract_gpio_line,
	&contract_gpio_relay,
	&contract_hwmon,
	&contract_openocd,
	&contract_pdudaemon,
	&contract_probe_breakpoint,
	&contract_probe_watchpoint,
	&contract_pty,
	&contract_scpi_psu,
	&contract_serial,
	&contract_serial_relay,
	&contract_smp,
	&contract_tcp,
	&contract_timer,
	&contract_usb_hid_relay,
	&contract_usb_hub_port,
	&contract_virtual,
};
/* clang-format on */

#define CONTRACTS (sizeof(contracts) / sizeof(*contracts))

static void every_driver_of_the_table_is_under_contract(void **state)
{
	size_t n = 0;
	struct err e;

	(void)state;
	assert_return_code(drivers_check(&e), 0);
	for (; drivers[n]; n++) {
		bool found = false;

		for (size_t i = 0; i < CONTRACTS; i++)
			found |= strcmp(contracts[i]->driver, drivers[n]->name) == 0;
		if (!found)
			fail_msg("no contract for %s", drivers[n]->name);
		assert_ptr_equal(driver_find(drivers[n]->name), drivers[n]);
	}
	assert_int_equal(n, CONTRACTS);
	assert_null(driver_find("no such driver"));
}

static void the_catalogue_tells_options_and_capabilities(void **state)
{
	json_t *catalogue = driver_catalogue(), *smp = json_object_get(catalogue, "smp");
	json_t *options = json_object_get(smp, "options"), *expected;

	(void)state;
	assert_int_equal(json_object_size(catalogue), CONTRACTS);
	expected = json_loads("[\"transport\"]", 0, NULL);
	assert_true(json_equal(json_object_get(smp, "caps"), expected));
	json_decref(expected);
	expected = json_loads(
		"{\"type\": \"integer\", \"required\": false, \"default\": 1000}", 0, NULL);
	json_object_set(
		expected, "help", json_object_get(json_object_get(options, "try_ms"), "help"));
	assert_true(json_equal(json_object_get(options, "try_ms"), expected));
	json_decref(expected);
	options = json_object_get(json_object_get(catalogue, "openocd"), "options");
	assert_true(json_is_true(json_object_get(json_object_get(options, "adapter"), "required")));
	assert_true(json_is_null(json_object_get(json_object_get(options, "serial"), "default")));
	json_decref(catalogue);
}

/* --- descriptors that are not whole --- */

static void nothing(struct device *dev, struct op *op)
{
	(void)dev;
	op_done(op, NULL);
}

static struct device *no_device(const struct driver_env *env, json_t *options, struct err *e)
{
	(void)env;
	(void)options;
	err_set(e, ERR_CONFIG, "no");
	return NULL;
}

static void no_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	(void)dev;
	closed(arg);
}

static void no_set(struct device *dev, bool on, struct op *op)
{
	(void)on;
	nothing(dev, op);
}

static void a_descriptor_that_is_not_whole_is_found_out(void **state)
{
	static const struct power_ops whole = {no_set, nothing}, half = {no_set, NULL};
	static const struct driver_option none[] = {{0}};
	static const struct driver_option no_help[] = {
		{"x", OPTION_STRING, false, NULL, NULL}, {0}};
	static const struct driver_option no_number[] = {
		{"x", OPTION_INTEGER, false, "1 s", "help"}, {0}};
	static const struct driver_option no_truth[] = {
		{"x", OPTION_BOOLEAN, false, "1", "help"}, {0}};
	static const struct driver_option both[] = {{"x", OPTION_STRING, true, "y", "help"}, {0}};
	static const struct driver_option good[] = {{"x", OPTION_BOOLEAN, false, "true", "help"},
		{"y", OPTION_INTEGER, false, "-1", "help"},
		{"z", OPTION_STRING, true, NULL, "help"}, {0}};
	struct driver d = {.name = "d",
		.help = "help",
		.options = good,
		.create = no_device,
		.open = nothing,
		.make_safe = nothing,
		.close = no_close,
		.power = &whole};
	struct driver bad;
	struct err e;

	(void)state;
	assert_return_code(driver_check(&d, &e), 0);
#define REFUSED(field, value, why)                                                                 \
	bad = d;                                                                                   \
	bad.field = value;                                                                         \
	assert_int_equal(driver_check(&bad, &e), -ERR_UNSUPPORTED);                                \
	assert_non_null(strstr(e.msg, why))
	REFUSED(name, "", "without a name");
	REFUSED(help, NULL, "missing");
	REFUSED(options, NULL, "missing");
	REFUSED(create, NULL, "missing");
	REFUSED(open, NULL, "missing");
	REFUSED(make_safe, NULL, "missing");
	REFUSED(close, NULL, "missing");
	REFUSED(power, NULL, "offers nothing");
	REFUSED(power, &half, "power: operation 2 is missing");
	REFUSED(options, no_help, "no help");
	REFUSED(options, no_number, "\"1 s\" is no integer");
	REFUSED(options, no_truth, "\"1\" is no boolean");
	REFUSED(options, both, "required");
#undef REFUSED
	d.options = none;
	assert_return_code(driver_check(&d, &e), 0);
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[3 + CONTRACTS * CONTRACT_CLAIMS] = {
		cmocka_unit_test(every_driver_of_the_table_is_under_contract),
		cmocka_unit_test(the_catalogue_tells_options_and_capabilities),
		cmocka_unit_test(a_descriptor_that_is_not_whole_is_found_out),
	};
	const char *name = strrchr(argv[0], '/');
	int failed;

	if (strcmp(name ? name + 1 : argv[0], "openocd") == 0)
		return fake_main(argc, argv);
	for (size_t i = 0; i < CONTRACTS; i++)
		contract_tests(contracts[i], tests + 3 + i * CONTRACT_CLAIMS);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	for (size_t i = 3; i < sizeof(tests) / sizeof(*tests); i++)
		free((char *)(uintptr_t)tests[i].name);
	return failed;
}
