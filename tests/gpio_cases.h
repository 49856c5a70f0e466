/*
 * What is particular to the drivers on GPIO lines, as tests; test_gpio_v1.c and test_gpio_v2.c run
 * them, and the contracts, on top of either interface of libgpiod (FAKE_GPIOD).
 */
#ifndef TESTS_GPIO_CASES_H
#define TESTS_GPIO_CASES_H

#include "contracts/gpio_edge.h"
#include "contracts/gpio_line.h"
#include "contracts/gpio_relay.h"

struct case_bench {
	uv_loop_t loop;
	struct driver_env env;
	struct fake_kernel *kernel;
	struct device *dev;
	int lost, back, notes, triggers;
	json_t *trigger; /* the last one */
	char text[1024]; /* of the last lost, back or note */
};

static void case_event(void *arg, const char *name, json_t *fields)
{
	struct case_bench *b = arg;
	const char *text = NULL;

	if (strcmp(name, "lost") == 0) {
		b->lost++;
		text = json_string_value(json_object_get(fields, "reason"));
	} else if (strcmp(name, "back") == 0) {
		b->back++;
		text = json_string_value(json_object_get(fields, "text"));
	} else if (strcmp(name, "note") == 0) {
		b->notes++;
		text = json_string_value(json_object_get(fields, "text"));
	} else {
		assert_string_equal(name, "trigger");
		b->triggers++;
		json_decref(b->trigger);
		b->trigger = json_incref(fields);
	}
	if (text)
		snprintf(b->text, sizeof(b->text), "%s", text);
	json_decref(fields);
}

static int case_setup(void **state)
{
	struct case_bench *b = calloc(1, sizeof(*b));

	uv_loop_init(&b->loop);
	b->env = (struct driver_env){.loop = &b->loop,
		.board = "demo-1",
		.capability = "power",
		.event = case_event,
		.arg = b};
	b->kernel = fake_boot();
	*state = b;
	return 0;
}

static int case_teardown(void **state)
{
	struct case_bench *b = *state;

	if (b->dev)
		close_device(&b->loop, b->dev);
	close_loop(&b->loop);
	fake_halt(b->kernel);
	json_decref(b->trigger);
	free(b);
	return 0;
}

static void case_create(struct case_bench *b, const char *driver, const char *changes)
{
	const struct driver *d = driver_find(driver);
	json_t *options = options_of(d, changes);
	struct err e;

	b->dev = d->create(&b->env, options, &e);
	json_decref(options);
	if (!b->dev)
		fail_msg("create: %s", e.msg);
}

static void case_open(struct case_bench *b, const char *driver, const char *changes)
{
	struct outcome o;

	case_create(b, driver, changes);
	b->dev->driver->open(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
}

/* Opening fails so. */
static void case_open_fails(
	struct case_bench *b, const char *driver, const char *changes, const char *text)
{
	struct outcome o;

	case_create(b, driver, changes);
	b->dev->driver->open(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_BENCH, text);
	outcome_finish(&o);
	close_device(&b->loop, b->dev);
	b->dev = NULL;
}

static void case_refused(const char *driver, const char *changes, const char *text)
{
	const struct driver *d = driver_find(driver);
	json_t *options = options_of(d, changes);
	struct driver_env env = {.board = "b"};
	struct err e;

	if (d->create(&env, options, &e))
		fail_msg("%s was taken", changes);
	json_decref(options);
	assert_int_equal(e.code, ERR_CONFIG);
	if (!strstr(e.msg, text))
		fail_msg("%s: \"%s\" does not say \"%s\"", changes, e.msg, text);
}

static struct fake_gpio_line *case_line(unsigned chip, unsigned line)
{
	return &fake_kernel->chip[chip].line[line];
}

static bool case_high(unsigned chip, unsigned line)
{
	return fake_gpio_level(&fake_kernel->chip[chip], case_line(chip, line));
}

/* Runs the loop until *counter is n. */
static void case_until(struct case_bench *b, const int *counter, int n)
{
	while (*counter < n)
		uv_run(&b->loop, UV_RUN_ONCE);
	assert_int_equal(*counter, n);
}

static void case_says(json_t *result, const char *list, const char *text)
{
	json_t *texts = json_object_get(result, list), *item;
	size_t i;

	json_array_foreach (texts, i, item)
		if (strstr(json_string_value(item), text))
			return;
	fail_msg("%s does not say \"%s\"", list, text);
}

/* --- gpio-relay ------------------------------------------------------------------------------- */

static void case_switch(struct case_bench *b, bool on, const char *verified)
{
	struct outcome o;

	b->dev->driver->power->set(b->dev, on, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	assert_string_equal(json_string_value(json_object_get(o.result, "verified")), verified);
	outcome_finish(&o);
}

static bool case_is_on(struct case_bench *b)
{
	struct outcome o;
	bool on;

	b->dev->driver->power->get(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	assert_true(json_is_boolean(json_object_get(o.result, "on")));
	on = json_is_true(json_object_get(o.result, "on"));
	outcome_finish(&o);
	return on;
}

static void a_relay_without_a_sense_line_verifies_nothing(void **state)
{
	struct case_bench *b = *state;

	case_open(b, "gpio-relay", "{\"chip\": \"gpiochip0\", \"line\": 0, \"off_ms\": 1}");
	assert_string_equal(case_line(0, 0)->consumer, "rig demo-1 power");
	assert_false(case_is_on(b));
	case_switch(b, true, "none");
	assert_true(case_high(0, 0) && case_is_on(b));
	case_switch(b, false, "none");
	assert_false(case_high(0, 0) || case_is_on(b));
	close_device(&b->loop, b->dev);
	b->dev = NULL;
	assert_false(case_line(0, 0)->used);
}

static void a_relay_that_is_active_low_is_on_when_the_line_is_low(void **state)
{
	struct case_bench *b = *state;

	case_open(b, "gpio-relay", "{\"line_name\": \"RELAY1\", \"active_low\": true}");
	assert_true(case_high(0, 0)); /* off from the first moment on */
	assert_string_equal(b->kernel->sets, "0.0=1");
	case_switch(b, true, "none");
	assert_false(case_high(0, 0));
}

static void a_sense_line_reads_back(void **state)
{
	struct case_bench *b = *state;

	case_open(b, "gpio-relay",
		"{\"line_name\": \"RELAY1\", \"sense_line_name\": \"SENSE1\", \"sense_bias\": "
		"\"pull-up\", \"off_ms\": 1}");
	assert_int_equal(case_line(0, 1)->bias, 1);
	case_switch(b, true, "read-back");
	assert_true(case_is_on(b));
	fake_wire(0, 1, -1); /* the fuse blows */
	assert_false(case_is_on(b));
	fake_wire(0, 1, 0);
	case_switch(b, false, "read-back");
}

static void a_sense_line_that_follows_late_is_waited_for(void **state)
{
	struct case_bench *b = *state;
	struct outcome o;

	case_open(b, "gpio-relay",
		"{\"line_name\": \"RELAY1\", \"sense_line_name\": \"SENSE1\", \"sense_ms\": 7000}");
	fake_wire(0, 1, -1);
	b->dev->driver->power->set(b->dev, true, outcome_start(&b->loop, &o, 60000));
	for (int i = 0; i < 3; i++)
		uv_run(&b->loop, UV_RUN_NOWAIT);
	assert_int_equal(o.done, 0);
	fake_wire(0, 1, 0); /* an edge ends the wait, not its time */
	while (!o.done)
		uv_run(&b->loop, UV_RUN_NOWAIT);
	assert_done(&b->loop, &o);
	outcome_finish(&o);
}

static void a_sense_line_that_disagrees_is_the_benchs_error(void **state)
{
	struct case_bench *b = *state;
	struct outcome o;

	case_open(b, "gpio-relay",
		"{\"line_name\": \"RELAY1\", \"sense_line_name\": \"SENSE1\", \"sense_ms\": 10, "
		"\"off_ms\": 0}");
	case_switch(b, true, "read-back");
	fake_pull(0, 1, true);
	fake_wire(0, 1, -1); /* its contacts are welded */
	b->dev->driver->power->set(b->dev, false, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_BENCH,
		"set off: after 10 ms the sense line gpiochip0 [rig-relays] line 1 (SENSE1) says on");
	outcome_finish(&o);
	b->dev->driver->make_safe(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_BENCH, "says on");
	outcome_finish(&o);
	b->dev->driver->check(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	case_says(o.result, "mend", "set off and the sense line says on");
	outcome_finish(&o);
}

static void a_line_that_reads_otherwise_than_it_is_driven_is_an_error(void **state)
{
	struct case_bench *b = *state;
	struct outcome o;

	case_open(b, "gpio-relay", "{\"line_name\": \"RELAY1\"}");
	case_line(0, 0)->shorted = true;
	b->dev->driver->power->set(b->dev, true, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_BENCH,
		"set on: gpiochip0 [rig-relays] line 0 (RELAY1) reads back off");
	outcome_finish(&o);
}

static void rails_go_on_in_order_and_off_in_reverse(void **state)
{
	struct case_bench *b = *state;

	case_open(b, "gpio-relay",
		"{\"chip\": \"rig-relays\", \"lines\": [\"RAIL_B\", 4, \"RAIL_C\"], \"off_ms\": 1, "
		"\"on_delay_ms\": 2, \"off_delay_ms\": 1}");
	b->kernel->sets[0] = '\0';
	case_switch(b, true, "none");
	assert_string_equal(b->kernel->sets, "0.5=1 0.4=1 0.6=1");
	b->kernel->sets[0] = '\0';
	case_switch(b, false, "none");
	assert_string_equal(b->kernel->sets, "0.6=0 0.4=0 0.5=0");
}

static void switched_again_while_it_switches_the_last_word_counts(void **state)
{
	struct case_bench *b = *state;
	struct outcome on, off;

	case_open(b, "gpio-relay",
		"{\"lines\": [\"RAIL_A\", \"RAIL_B\"], \"on_delay_ms\": 8000, \"off_ms\": 1}");
	b->dev->driver->power->set(b->dev, true, outcome_start(&b->loop, &on, 60000));
	assert_true(case_high(0, 4));
	b->dev->driver->power->set(b->dev, false, outcome_start(&b->loop, &off, 60000));
	assert_failed(&b->loop, &on, ERR_CANCELLED, "switched again");
	assert_done(&b->loop, &off);
	assert_false(case_high(0, 4) || case_high(0, 5));
	outcome_finish(&on);
	outcome_finish(&off);
}

static void never_opened_it_is_made_safe_by_driving_off(void **state)
{
	struct case_bench *b = *state;
	struct outcome o;

	case_create(b, "gpio-relay", "{\"line_name\": \"RELAY1\", \"active_low\": true}");
	b->dev->driver->make_safe(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_true(case_line(0, 0)->output && case_high(0, 0));
}

static void a_chip_that_goes_is_told_and_taken_up_again(void **state)
{
	struct case_bench *b = *state;
	struct outcome o;

	case_open(b, "gpio-relay",
		"{\"chip\": \"rig-relays\", \"line\": 0, \"off_ms\": 8000, "
		"\"sense_ms\": 0}");
	case_switch(b, true, "none");
	b->dev->driver->power->set(b->dev, false, outcome_start(&b->loop, &o, 60000));
	fake_unplug(0);
	case_until(b, &b->lost, 1);
	assert_failed(&b->loop, &o, ERR_BENCH, "gpiochip0 [rig-relays] line 0 (RELAY1) is gone");
	outcome_finish(&o);
	assert_non_null(strstr(b->text, "plug it in again"));
	b->dev->driver->power->get(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_BENCH, "is gone");
	outcome_finish(&o);
	b->dev->driver->make_safe(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_failed(
		&b->loop, &o, ERR_BENCH, "the relay cannot be switched off: rig-relays line 0");
	outcome_finish(&o);
	fake_plug(0);
	case_until(b, &b->back, 1);
	assert_non_null(strstr(b->text, "is back: its lines are held again, and off"));
	assert_true(case_line(0, 0)->used && !case_high(0, 0));
	case_switch(b, true, "none");
	assert_int_equal(b->lost, 1);
}

static void a_chip_that_is_back_with_its_line_taken_says_so(void **state)
{
	struct case_bench *b = *state;
	struct outcome o;

	case_open(b, "gpio-relay", "{\"line_name\": \"RELAY1\", \"off_ms\": 1}");
	fake_unplug(0);
	case_until(b, &b->lost, 1);
	fake_plug(0);
	case_line(0, 0)->used = true;
	snprintf(case_line(0, 0)->consumer, 32, "leds");
	for (int i = 0; i < 3; i++)
		uv_run(&b->loop, UV_RUN_NOWAIT);
	assert_int_equal(b->back, 0);
	b->dev->driver->power->get(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_BENCH, "\"leds\" holds it");
	outcome_finish(&o);
	/* making safe tries once more */
	case_line(0, 0)->used = false;
	b->dev->driver->make_safe(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_int_equal(b->back, 1);
}

static void lines_are_found_by_name_label_path_and_number(void **state)
{
	struct case_bench *b = *state;
	char path[256];
	static const char *const good[] = {
		"{\"chip\": \"gpiochip1\", \"line\": 3}",
		"{\"chip\": \"rig-board\", \"line\": 3}",
		"{\"chip\": \"rig-board\", \"line_name\": \"FLASH2\"}",
		"{\"line_name\": \"FLASH2\"}",
		"{\"lines\": [\"FLASH2\"]}",
		"{\"chip\": \"gpiochip-board\", \"lines\": [3]}",
	};

	assert_return_code(
		symlink("gpiochip1", scratch_path(b->kernel->scratch, "gpiochip-board")), 0);
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		case_open(b, "gpio-relay", good[i]);
		assert_true(case_line(1, 3)->used);
		close_device(&b->loop, b->dev);
		b->dev = NULL;
	}
	snprintf(path, sizeof(path), "{\"chip\": \"%s/gpiochip1\", \"line\": 3}", fake_gpio_dir());
	case_open(b, "gpio-relay", path);
	assert_true(case_line(1, 3)->used);
}

static void what_is_not_found_says_what_there_is(void **state)
{
	struct case_bench *b = *state;

	case_open_fails(b, "gpio-relay", "{\"chip\": \"nope\", \"line\": 0}",
		"nope line 0: no GPIO chip of that name, label or path; there are gpiochip0 "
		"[rig-relays], gpiochip1 [rig-board]");
	case_open_fails(b, "gpio-relay", "{\"chip\": \"gpiochip0\", \"line\": 8}",
		"gpiochip0 line 8: the chip has no such line");
	case_open_fails(b, "gpio-relay", "{\"line_name\": \"RELAY9\"}",
		"GPIO line \"RELAY9\": no line has that name");
	case_open_fails(b, "gpio-relay", "{\"line_name\": \"TWICE\"}",
		"is there twice: gpiochip1 [rig-board] line 6 (TWICE), and gpiochip1 [rig-board] "
		"line 7 (TWICE)");
	fake_kernel->chip[0].refuse = EACCES;
	case_open_fails(b, "gpio-relay", "{\"chip\": \"gpiochip0\", \"line\": 0}",
		"cannot be opened: Permission denied: install 60-rig.rules, and add yourself to the group gpio");
	fake_unplug(0);
	fake_unplug(1);
	case_open_fails(
		b, "gpio-relay", "{\"line_name\": \"RELAY1\"}", "this host has no GPIO chip");
}

static void a_line_that_is_taken_names_who_holds_it(void **state)
{
	struct case_bench *b = *state;

	case_line(0, 0)->used = true;
	snprintf(case_line(0, 0)->consumer, 32, "rig demo-2 power");
	case_open_fails(b, "gpio-relay", "{\"line_name\": \"RELAY1\"}",
		"gpiochip0 [rig-relays] line 0 (RELAY1) is taken: \"rig demo-2 power\" holds it");
	/* nothing of several lines is held when one is taken */
	case_open_fails(b, "gpio-relay", "{\"lines\": [\"RAIL_A\", \"RELAY1\"]}", "is taken");
	assert_false(case_line(0, 4)->used);
	case_line(0, 0)->used = false;
}

static void a_relays_wrong_options_are_refused(void **state)
{
	(void)state;
	case_refused("gpio-relay", "{}", "line (with chip), line_name or lines is missing");
	case_refused("gpio-relay", "{\"line\": 3}", "chip must say on which chip");
	case_refused("gpio-relay", "{\"lines\": [3]}", "chip must say on which chip");
	case_refused("gpio-relay", "{\"chip\": \"c\", \"line\": -1}", "0 to 65535");
	case_refused("gpio-relay", "{\"chip\": \"c\", \"line\": 1, \"line_name\": \"x\"}",
		"one of the two");
	case_refused("gpio-relay", "{\"line_name\": \"x\", \"lines\": [\"y\"]}", "instead of");
	case_refused("gpio-relay", "{\"lines\": [\"y\", \"y\"]}", "named twice");
	case_refused("gpio-relay", "{\"line_name\": \"x\", \"off_ms\": -1}", "off_ms is 0 to");
	case_refused(
		"gpio-relay", "{\"line_name\": \"x\", \"sense_line\": 1}", "sense_chip must say");
	case_refused("gpio-relay",
		"{\"line_name\": \"x\", \"sense_line_name\": \"y\", \"sense_bias\": \"up\"}",
		"bias is");
	case_refused("gpio-relay",
		"{\"lines\": [\"a\", \"b\", \"c\"], \"off_delay_ms\": 3000, \"off_ms\": 2000}",
		"could not be made safe in time");
	case_refused("gpio-line", "{}", "line (with chip) or line_name is missing");
	case_refused("gpio-line", "{\"line_name\": \"x\", \"drive\": \"hard\"}", "push-pull");
	case_refused("gpio-edge", "{}", "line (with chip) or line_name is missing");
	case_refused("gpio-edge", "{\"line_name\": \"x\", \"edge\": \"up\"}", "edge is");
}

static void check_says_what_is_there_and_what_is_not_measured(void **state)
{
	struct case_bench *b = *state;
	struct outcome o;

	case_open(b, "gpio-relay", "{\"line_name\": \"RELAY1\", \"active_low\": true}");
	b->dev->driver->check(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	case_says(o.result, "says",
		"gpiochip0 [rig-relays] line 0 (RELAY1): output, active low, held by \"rig demo-1 "
		"power\", inactive now");
	case_says(o.result, "says", "no sense line");
	assert_int_equal(json_array_size(json_object_get(o.result, "mend")), 0);
	outcome_finish(&o);
}

static void scan_lists_chips_with_a_line_for_rig_conf(void **state)
{
	json_t *found = json_array();
	struct err e;

	(void)state;
	fake_kernel->chip[1].refuse = EACCES;
	assert_return_code(driver_find("gpio-relay")->scan(found, &e), 0);
	assert_int_equal(json_array_size(found), 2);
	assert_string_equal(json_string_value(json_object_get(json_array_get(found, 0), "what")),
		"GPIO chip gpiochip0 [rig-relays], 8 lines");
	assert_string_equal(json_string_value(json_object_get(json_array_get(found, 0), "conf")),
		"power = { driver = \"gpio-relay\", line_name = \"RELAY1\" },");
	assert_null(json_object_get(json_array_get(found, 0), "mend"));
	assert_non_null(strstr(
		json_string_value(json_object_get(json_array_get(found, 1), "mend")), "group"));
	json_decref(found);
}

/* --- gpio-line -------------------------------------------------------------------------------- */

static void case_assert(struct case_bench *b, bool on)
{
	struct outcome o;

	b->dev->driver->line->set(b->dev, on, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
}

static bool case_asserted(struct case_bench *b)
{
	struct outcome o;
	bool on;

	b->dev->driver->line->get(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	on = json_is_true(json_object_get(o.result, "on"));
	outcome_finish(&o);
	return on;
}

static void an_open_line_drives_only_what_it_asserts(void **state)
{
	struct case_bench *b = *state;
	struct outcome o;

	fake_pull(1, 0, true);
	case_open(b, "gpio-line", "{\"line_name\": \"RESET\", \"active_low\": true}");
	assert_true(case_high(1, 0));
	case_assert(b, true);
	assert_false(case_high(1, 0));
	assert_true(case_asserted(b));
	case_assert(b, false);
	assert_true(case_high(1, 0));
	fake_pull(1, 0, false); /* the DUT has no power: it is not this host that holds it low */
	assert_true(case_asserted(b));
	case_assert(b, false);
	fake_pull(1, 0, true);
	case_assert(b, true);
	b->dev->driver->make_safe(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_true(case_high(1, 0));
}

static void an_open_strap_that_is_active_high_drives_only_high(void **state)
{
	struct case_bench *b = *state;

	case_open(b, "gpio-line", "{\"line_name\": \"BOOT\"}");
	assert_false(case_high(1, 1));
	fake_pull(1, 1, true);
	assert_true(case_high(1, 1)); /* it is let go of */
	fake_pull(1, 1, false);
	case_assert(b, true);
	assert_true(case_high(1, 1));
}

static void a_push_pull_line_drives_both_levels(void **state)
{
	struct case_bench *b = *state;

	case_open(b, "gpio-line", "{\"line_name\": \"BOOT\", \"drive\": \"push-pull\"}");
	fake_pull(1, 1, true);
	assert_false(case_high(1, 1));
	case_assert(b, true);
	assert_true(case_high(1, 1));
}

static void a_line_that_cannot_be_asserted_is_the_benchs_error(void **state)
{
	struct case_bench *b = *state;
	struct outcome o;

	fake_pull(1, 0, true);
	case_open(b, "gpio-line", "{\"line_name\": \"RESET\", \"active_low\": true}");
	case_line(1, 0)->shorted = true;
	b->dev->driver->line->set(b->dev, true, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_BENCH, "was asserted, and reads back not asserted");
	outcome_finish(&o);
}

static void a_line_comes_back_let_go_of(void **state)
{
	struct case_bench *b = *state;
	struct outcome o;

	fake_pull(1, 0, true);
	case_open(b, "gpio-line", "{\"line_name\": \"RESET\", \"active_low\": true}");
	case_assert(b, true);
	fake_unplug(1);
	case_until(b, &b->lost, 1);
	b->dev->driver->make_safe(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_BENCH, "the line cannot be let go of");
	outcome_finish(&o);
	fake_plug(1);
	case_until(b, &b->back, 1);
	assert_true(case_high(1, 0));
	b->dev->driver->check(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	case_says(o.result, "says", "(RESET): output, active low");
	outcome_finish(&o);
}

/* --- gpio-edge -------------------------------------------------------------------------------- */

static void case_mark(struct case_bench *b)
{
	struct outcome o;

	b->dev->driver->trigger->mark(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
}

static json_int_t case_count(struct case_bench *b)
{
	struct outcome o;
	json_int_t n;

	b->dev->driver->trigger->state(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	n = json_integer_value(json_object_get(o.result, "operations"));
	outcome_finish(&o);
	return n;
}

static struct op *case_arm(struct case_bench *b, struct outcome *o, const char *cut)
{
	json_t *spec = json_loads(cut, 0, NULL);
	struct op *op = outcome_start(&b->loop, o, 10000);

	b->dev->driver->trigger->arm(b->dev, spec, op);
	json_decref(spec);
	return op;
}

static void case_armed(struct case_bench *b, const char *cut)
{
	struct outcome o;

	case_arm(b, &o, cut);
	assert_done(&b->loop, &o);
	outcome_finish(&o);
}

static void case_arm_fails(
	struct case_bench *b, const char *cut, enum err_code code, const char *text)
{
	struct outcome o;

	case_arm(b, &o, cut);
	assert_failed(&b->loop, &o, code, text);
	outcome_finish(&o);
}

static void edges_count_from_the_mark_on(void **state)
{
	struct case_bench *b = *state;

	case_open(b, "gpio-edge", "{\"line_name\": \"FLASH1\"}");
	assert_int_equal(case_line(1, 2)->kept, 1024);
	fake_pulse(1, 2, 5);
	assert_int_equal(case_count(b), 5);
	fake_pulse(1, 2, 7);
	case_mark(b);
	assert_int_equal(case_count(b), 0);
	fake_pulse(1, 2, 900); /* far more than the kernel's first interface would keep */
	assert_int_equal(case_count(b), 900);
	/* one from before the mark that arrives after it is not of this mark */
	case_mark(b);
	fake_edge_at(case_line(1, 2), true, fake_gpio_now() - 1000000000);
	fake_edge_at(case_line(1, 2), true, fake_gpio_now());
	assert_int_equal(case_count(b), 1);
}

static void falling_and_both_edges_count_where_asked_for(void **state)
{
	struct case_bench *b = *state;

	case_open(b, "gpio-edge", "{\"line_name\": \"FLASH1\", \"edge\": \"both\"}");
	fake_pulse(1, 2, 3);
	assert_int_equal(case_count(b), 6);
	close_device(&b->loop, b->dev);
	case_open(b, "gpio-edge",
		"{\"line_name\": \"FLASH1\", \"edge\": \"falling\", \"bias\": "
		"\"pull-up\"}");
	assert_int_equal(case_line(1, 2)->bias, 1);
	fake_pull(1, 2, true);
	assert_int_equal(case_count(b), 0);
	fake_pull(1, 2, false);
	assert_int_equal(case_count(b), 1);
}

static void it_fires_at_the_armed_edge_with_the_kernels_time(void **state)
{
	struct case_bench *b = *state;
	uint64_t before, after, t_ns;
	struct outcome o;

	case_open(b, "gpio-edge", "{\"line_name\": \"FLASH1\"}");
	case_mark(b);
	case_armed(b, "{\"op\": 3, \"tear\": \"clean\"}");
	fake_pulse(1, 2, 2);
	for (int i = 0; i < 3; i++)
		uv_run(&b->loop, UV_RUN_NOWAIT);
	assert_int_equal(b->triggers, 0);
	before = uv_hrtime();
	fake_pulse(1, 2, 1);
	after = uv_hrtime();
	fake_pulse(1, 2, 4); /* what comes in the same breath does not make it another one */
	case_until(b, &b->triggers, 1);
	assert_int_equal(json_integer_value(json_object_get(b->trigger, "op")), 3);
	assert_string_equal(json_string_value(json_object_get(b->trigger, "kind")), "edge");
	assert_null(json_object_get(b->trigger, "cut")); /* the power is the core's to take */
	t_ns = (uint64_t)json_integer_value(json_object_get(b->trigger, "t_ns"));
	assert_true(t_ns >= before && t_ns <= after);
	assert_int_equal(case_count(b), 7);
	b->dev->driver->trigger->state(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(o.result, "cut"), "op")), 3);
	outcome_finish(&o);
	case_mark(b);
	fake_pulse(1, 2, 9);
	assert_int_equal(case_count(b), 9);
	assert_int_equal(b->triggers, 1);
}

static void what_it_cannot_cut_is_refused(void **state)
{
	struct case_bench *b = *state;
	struct outcome o;

	case_open(b, "gpio-edge", "{\"line_name\": \"FLASH1\"}");
	fake_pulse(1, 2, 3);
	case_arm_fails(b, "{\"op\": 9, \"tear\": \"torn\", \"seed\": 1}", ERR_UNSUPPORTED,
		"a torn cut is not for gpio-edge");
	case_arm_fails(b, "{\"address\": 9}", ERR_UNSUPPORTED, "an edge by its number");
	case_arm_fails(b, "{\"op\": 0}", ERR_UNSUPPORTED, "an edge by its number");
	case_arm_fails(b, "{\"op\": 3}", ERR_USAGE, "edge 3 is past already: 3 came");
	case_armed(b, "{\"op\": 4}");
	b->dev->driver->trigger->disarm(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	fake_pulse(1, 2, 3);
	assert_int_equal(case_count(b), 6);
	case_armed(b, "{\"op\": 7}");
	b->dev->driver->make_safe(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	fake_pulse(1, 2, 3);
	assert_int_equal(case_count(b), 9);
	assert_int_equal(b->triggers, 0);
}

static void lost_edges_are_an_error_until_the_next_mark(void **state)
{
	struct case_bench *b = *state;
	struct outcome o;

	case_open(b, "gpio-edge", "{\"line_name\": \"FLASH1\"}");
	case_mark(b);
	case_armed(b, "{\"op\": 3}");
	fake_pulse(1, 2, 1);
	case_line(1, 2)->seqno += 37; /* the kernel had no room for these */
	fake_pulse(1, 2, 5);
	case_until(b, &b->notes, 1);
	assert_non_null(strstr(b->text, "the armed cut will not fire: "));
	assert_non_null(strstr(b->text, "37 edges were lost"));
	assert_int_equal(b->triggers, 0);
	b->dev->driver->trigger->state(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_BENCH, "line 2 (FLASH1): 37 edges were lost");
	outcome_finish(&o);
	case_arm_fails(b, "{\"op\": 30}", ERR_BENCH, "37 edges were lost");
	b->dev->driver->trigger->trace(b->dev, "/nowhere/t", 1, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_BENCH, "37 edges were lost");
	outcome_finish(&o);
	b->dev->driver->check(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	case_says(o.result, "mend", "37 edges were lost");
	outcome_finish(&o);
	/* those that were lost before a mark are nobody's */
	case_line(1, 2)->seqno += 5;
	fake_pulse(1, 2, 1);
	case_mark(b);
	fake_pulse(1, 2, 2);
	assert_int_equal(case_count(b), 2);
	assert_int_equal(b->notes, 1);
}

static void edges_that_ran_into_one_another_show_when_both_count(void **state)
{
	struct case_bench *b = *state;
	struct outcome o;

	case_open(b, "gpio-edge", "{\"line_name\": \"FLASH1\", \"edge\": \"both\"}");
	fake_edge_at(case_line(1, 2), true, fake_gpio_now());
	assert_int_equal(case_count(b), 1);
	fake_edge_at(case_line(1, 2), true, fake_gpio_now());
	b->dev->driver->trigger->state(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_BENCH, "two rising edges in a row");
	outcome_finish(&o);
}

static void edges_without_end_do_not_hold_up_the_loop(void **state)
{
	struct case_bench *b = *state;
	struct outcome o;

	case_open(b, "gpio-edge", "{\"line_name\": \"FLASH1\"}");
	/* as many as one look takes, and one more: the pipe is as large as that */
	assert_return_code(fcntl(case_line(1, 2)->pipe[1], F_SETPIPE_SZ, 1 << 18), 0);
	fake_pulse(1, 2, 64 * 64 + 1);
	b->dev->driver->trigger->state(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_BENCH, "faster than they can be counted");
	outcome_finish(&o);
	assert_int_equal(case_count(b), 64 * 64 + 1);
}

static void the_trace_has_a_line_for_each_edge(void **state)
{
	struct case_bench *b = *state;
	const char *path = scratch_path(b->kernel->scratch, "trace");
	char text[64];
	struct outcome o, again;
	FILE *f;

	case_open(b, "gpio-edge", "{\"line_name\": \"FLASH1\"}");
	case_mark(b);
	fake_pulse(1, 2, 4);
	b->dev->driver->trigger->trace(b->dev, path, 3, outcome_start(&b->loop, &o, 10000));
	b->dev->driver->trigger->trace(b->dev, path, 1, outcome_start(&b->loop, &again, 10000));
	assert_failed(&b->loop, &again, ERR_BUSY, "already");
	assert_done(&b->loop, &o);
	assert_int_equal(json_integer_value(json_object_get(o.result, "operations")), 4);
	outcome_finish(&o);
	f = fopen(path, "r");
	assert_non_null(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	assert_string_equal(text, "3 edge\n4 edge\n");
	b->dev->driver->trigger->trace(
		b->dev, "/no/such/folder/t", 1, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_IO, "/no/such/folder/t");
	b->dev->driver->trigger->trace(b->dev, "t", 1, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_USAGE, "absolute");
	/* closed, or given up, while it writes */
	b->dev->driver->trigger->trace(b->dev, path, 1, outcome_start(&b->loop, &o, 10000));
	contract_cancel(&o);
	while (uv_loop_alive(&b->loop) && !uv_run(&b->loop, UV_RUN_NOWAIT))
		;
	close_device(&b->loop, b->dev);
	b->dev = NULL;
}

static void closed_while_a_trace_is_written_it_fails_once(void **state)
{
	struct case_bench *b = *state;
	const char *path = scratch_path(b->kernel->scratch, "trace");
	struct outcome o;

	case_open(b, "gpio-edge", "{\"line_name\": \"FLASH1\"}");
	fake_pulse(1, 2, 500);
	b->dev->driver->trigger->trace(b->dev, path, 1, outcome_start(&b->loop, &o, 10000));
	close_device(&b->loop, b->dev);
	b->dev = NULL;
	assert_failed(&b->loop, &o, ERR_GONE, "closed");
}

static void a_chip_that_goes_makes_the_count_wrong(void **state)
{
	struct case_bench *b = *state;
	struct outcome o;

	case_open(b, "gpio-edge", "{\"line_name\": \"FLASH1\"}");
	case_mark(b);
	case_armed(b, "{\"op\": 2}");
	fake_pulse(1, 2, 1);
	assert_int_equal(case_count(b), 1);
	fake_unplug(1);
	case_until(b, &b->lost, 1);
	assert_int_equal(b->notes, 1);
	fake_plug(1);
	case_until(b, &b->back, 1);
	assert_non_null(strstr(b->text, "edges count from the next mark on"));
	fake_pulse(1, 2, 3);
	b->dev->driver->trigger->state(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_BENCH, "is gone");
	outcome_finish(&o);
	case_mark(b);
	case_armed(b, "{\"op\": 2}");
	fake_pulse(1, 2, 2);
	case_until(b, &b->triggers, 1);
	assert_int_equal(case_count(b), 2);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, case_setup, case_teardown)

static int run_cases(void)
{
	static const struct contract *const contracts[] = {
		&contract_gpio_edge, &contract_gpio_line, &contract_gpio_relay};
	const struct CMUnitTest cases[] = {
		CASE(a_relay_without_a_sense_line_verifies_nothing),
		CASE(a_relay_that_is_active_low_is_on_when_the_line_is_low),
		CASE(a_sense_line_reads_back),
		CASE(a_sense_line_that_follows_late_is_waited_for),
		CASE(a_sense_line_that_disagrees_is_the_benchs_error),
		CASE(a_line_that_reads_otherwise_than_it_is_driven_is_an_error),
		CASE(rails_go_on_in_order_and_off_in_reverse),
		CASE(switched_again_while_it_switches_the_last_word_counts),
		CASE(never_opened_it_is_made_safe_by_driving_off),
		CASE(a_chip_that_goes_is_told_and_taken_up_again),
		CASE(a_chip_that_is_back_with_its_line_taken_says_so),
		CASE(lines_are_found_by_name_label_path_and_number),
		CASE(what_is_not_found_says_what_there_is),
		CASE(a_line_that_is_taken_names_who_holds_it),
		CASE(a_relays_wrong_options_are_refused),
		CASE(check_says_what_is_there_and_what_is_not_measured),
		CASE(scan_lists_chips_with_a_line_for_rig_conf),
		CASE(an_open_line_drives_only_what_it_asserts),
		CASE(an_open_strap_that_is_active_high_drives_only_high),
		CASE(a_push_pull_line_drives_both_levels),
		CASE(a_line_that_cannot_be_asserted_is_the_benchs_error),
		CASE(a_line_comes_back_let_go_of),
		CASE(edges_count_from_the_mark_on),
		CASE(falling_and_both_edges_count_where_asked_for),
		CASE(it_fires_at_the_armed_edge_with_the_kernels_time),
		CASE(what_it_cannot_cut_is_refused),
		CASE(lost_edges_are_an_error_until_the_next_mark),
		CASE(edges_that_ran_into_one_another_show_when_both_count),
		CASE(edges_without_end_do_not_hold_up_the_loop),
		CASE(the_trace_has_a_line_for_each_edge),
		CASE(closed_while_a_trace_is_written_it_fails_once),
		CASE(a_chip_that_goes_makes_the_count_wrong),
	};
	enum { CASES = sizeof(cases) / sizeof(*cases) };
	struct CMUnitTest tests[CASES + 3 * CONTRACT_CLAIMS];
	int failed;

	alarm(300); /* an event that never comes ends in a failure, too */
	memcpy(tests, cases, sizeof(cases));
	for (size_t i = 0; i < 3; i++)
		contract_tests(contracts[i], tests + CASES + i * CONTRACT_CLAIMS);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	for (size_t i = CASES; i < sizeof(tests) / sizeof(*tests); i++)
		free((char *)(uintptr_t)tests[i].name);
	return failed;
}

#endif
