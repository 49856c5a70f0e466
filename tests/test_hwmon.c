/*
 * hwmon: what is particular to sensors that the kernel drives.
 */
#include "contracts/hwmon.h"

struct bench {
	struct driver_env env;
	struct events events;
	uv_loop_t loop;
	struct hwmon_bench *hwmon;
	json_t *options;
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	uv_loop_init(&b->loop);
	b->env = (struct driver_env){
		.loop = &b->loop, .board = "b", .event = event_came, .arg = &b->events};
	b->hwmon = hwmon_setup(&b->env);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	close_loop(&b->loop);
	hwmon_teardown(b->hwmon);
	json_decref(b->options);
	free(b);
	return 0;
}

static struct device *create(struct bench *b, const char *options)
{
	struct err e;
	struct device *dev;

	json_decref(b->options);
	b->options = options_of(driver_find("hwmon"), options);
	hwmon_adapt(b->hwmon, b->options);
	dev = driver_find("hwmon")->create(&b->env, b->options, &e);
	if (!dev)
		fail_msg("create: %s", e.msg);
	return dev;
}

static void measures(struct bench *b, const char *options, double volts, double amps)
{
	struct device *dev = create(b, options);
	struct outcome o;

	dev->driver->meter->measure(dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	assert_float_equal(json_number_value(json_object_get(o.result, "volts")), volts, 1e-6);
	assert_float_equal(json_number_value(json_object_get(o.result, "amps")), amps, 1e-6);
	outcome_finish(&o);
	close_device(&b->loop, dev);
}

static void fails(struct bench *b, const char *options, const char *text)
{
	struct device *dev = create(b, options);
	struct outcome o;

	dev->driver->meter->measure(dev, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_BENCH, text);
	close_device(&b->loop, dev);
}

static void millivolts_and_milliamperes_become_volts_and_amperes(void **state)
{
	measures(*state, "{\"chip\": \"ina226\"}", 3.301, -0.012);
}

static void what_is_not_measured_is_null(void **state)
{
	struct bench *b = *state;
	struct device *dev = create(b, "{\"chip\": \"ina226\", \"amps\": \"\"}");
	struct outcome o;

	dev->driver->meter->measure(dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	assert_true(json_is_null(json_object_get(o.result, "amps")));
	assert_true(json_is_real(json_object_get(o.result, "volts")));
	outcome_finish(&o);
	close_device(&b->loop, dev);
}

static void of_several_one_is_meant(void **state)
{
	struct bench *b = *state;

	hwmon_sensor(b->hwmon->scratch, "hwmon9", "ina226\n", "1-0041");
	scratch_write(b->hwmon->scratch, "hwmon/hwmon9/in1_input", "5000\n");
	scratch_write(b->hwmon->scratch, "hwmon/hwmon9/label", "vdd-board-2\n");
	fails(b, "{\"chip\": \"ina226\"}", "there are 2 sensors ina226: name one by device");
	measures(b, "{\"chip\": \"ina226\", \"device\": \"1-0041\"}", 5, -0.012);
	measures(b, "{\"chip\": \"ina226\", \"label\": \"vdd-board-2\"}", 5, -0.012);
	measures(b, "{\"chip\": \"ina226\", \"device\": \"1-0040\"}", 3.301, -0.012);
	fails(b, "{\"chip\": \"ina226\", \"label\": \"vdd\"}", "no sensor ina226 labelled vdd");
	fails(b, "{\"chip\": \"ina226\", \"device\": \"41\"}", "no sensor ina226 at 41");
}

static void numbered_anew_it_is_found_again(void **state)
{
	struct bench *b = *state;
	struct device *dev = create(b, "{\"chip\": \"ina226\"}");
	struct outcome o;

	dev->driver->open(dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_return_code(rename(scratch_path(b->hwmon->scratch, "hwmon/hwmon7"),
				   scratch_path(b->hwmon->scratch, "hwmon/hwmon2")),
		0);
	dev->driver->check(dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	assert_string_equal(json_string_value(json_array_get(json_object_get(o.result, "says"), 0)),
		"ina226 at 1-0040: 3.301 V, -0.012 A");
	outcome_finish(&o);
	close_device(&b->loop, dev);
}

static void what_is_no_number_is_the_benchs_error(void **state)
{
	struct bench *b = *state;

	scratch_write(b->hwmon->scratch, "hwmon/hwmon7/in1_input", "3301 mV\n");
	fails(b, "{\"chip\": \"ina226\"}", "in1_input holds \"3301 mV\", which is no number");
	scratch_write(b->hwmon->scratch, "hwmon/hwmon7/in1_input", "");
	fails(b, "{\"chip\": \"ina226\"}", "which is no number");
}

static void a_reading_that_hangs_does_not_hold_up_closing(void **state)
{
	struct bench *b = *state;
	struct device *dev = create(b, "{\"chip\": \"ina226\"}");
	struct outcome o;

	hwmon_start_stuck(b->hwmon, dev, outcome_start(&b->loop, &o, 60000));
	close_device(&b->loop, dev);
	assert_int_equal(o.e.code, ERR_GONE);
	hwmon_unstick(b->hwmon);
}

static void refused(struct bench *b, const char *options, const char *text)
{
	struct err e;

	json_decref(b->options);
	b->options = options_of(driver_find("hwmon"), options);
	assert_null(driver_find("hwmon")->create(&b->env, b->options, &e));
	assert_int_equal(e.code, ERR_CONFIG);
	assert_non_null(strstr(e.msg, text));
}

static void options_that_cannot_work_are_refused(void **state)
{
	refused(*state, "{\"chip\": \"\"}", "chip is empty");
	refused(*state, "{\"chip\": \"../x\"}", "a name, not the path");
	refused(*state, "{\"chip\": \"x\", \"volts\": \"\", \"amps\": \"\"}", "both empty");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(millivolts_and_milliamperes_become_volts_and_amperes),
		TEST(what_is_not_measured_is_null),
		TEST(of_several_one_is_meant),
		TEST(numbered_anew_it_is_found_again),
		TEST(what_is_no_number_is_the_benchs_error),
		TEST(a_reading_that_hangs_does_not_hold_up_closing),
		TEST(options_that_cannot_work_are_refused),
	};

	(void)contract_hwmon; /* under test in test_drivers.c */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
