/*
 * The drivers on GPIO lines against the kernel's own chips: the contract of each, and what only a
 * kernel can show.
 */
#include "../driver_contract.h"

#include <linux/gpio.h>
#include <sched.h>
#include <sys/ioctl.h>

#include "vm.h"

/* --- chips ------------------------------------------------------------------------------------ */

static const char *const names[] = {"RELAY1", "RELAY2", "SENSE1", "RESET", "BOOT", "FLASH1",
	"FLASH2", "RAIL_A", "RAIL_B", NULL};
enum { RELAY1, RELAY2, SENSE1, RESET, BOOT, FLASH1, FLASH2, RAIL_A, RAIL_B, LINES };

struct chip_bench {
	struct vm_gpio chip;
	bool there;
	int taken; /* a line that another process has; -1: none */
};

static struct chip_bench *chip_create(const char *name)
{
	struct chip_bench *b = calloc(1, sizeof(*b));

	vm_gpio_bank_create(&b->chip, name, LINES, names);
	b->there = true;
	b->taken = -1;
	return b;
}

static void chip_unplug(struct chip_bench *b)
{
	if (b->there)
		vm_gpio_unplug(&b->chip);
	b->there = false;
}

static void chip_plug(struct chip_bench *b)
{
	if (!b->there)
		vm_gpio_plug(&b->chip);
	b->there = true;
}

/* Another process takes a line, or lets go of it (-1). */
static void chip_take(struct chip_bench *b, int line)
{
	struct gpio_v2_line_request ask = {
		.config.flags = GPIO_V2_LINE_FLAG_INPUT, .num_lines = 1, .consumer = "leds"};
	char path[128];
	int fd;

	if (b->taken >= 0)
		close(b->taken);
	b->taken = -1;
	if (line < 0)
		return;
	ask.offsets[0] = (unsigned)line;
	snprintf(path, sizeof(path), "/dev/%s", b->chip.chip);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_return_code(fd, errno);
	assert_return_code(ioctl(fd, GPIO_V2_GET_LINE_IOCTL, &ask), errno);
	close(fd);
	b->taken = ask.fd;
}

static void chip_destroy(struct chip_bench *b)
{
	chip_take(b, -1);
	vm_gpio_bank_destroy(&b->chip);
	free(b);
}

/* --- the contracts ---------------------------------------------------------------------------- */

static void *bench_setup(struct driver_env *env)
{
	env->capability = "device";
	/* two boards have lines of one chip */
	if (vm_exists("/sys/kernel/config/gpio-sim/contract"))
		return NULL;
	return chip_create("contract");
}

static void bench_teardown(void *bench)
{
	if (bench)
		chip_destroy(bench);
}

static bool bench_break_open(struct chip_bench *b, int line, unsigned step, json_t *options)
{
	if (step == 0)
		chip_unplug(b);
	else if (step == 1)
		json_object_set_new(options, "chip", json_string("no such chip"));
	else if (step == 2)
		chip_take(b, line);
	return step < 3;
}

static void bench_mend(void *bench)
{
	chip_take(bench, -1);
	chip_plug(bench);
}

static void bench_unplug(void *bench)
{
	chip_unplug(bench);
}

static bool relay_break_open(void *bench, unsigned step, json_t *options)
{
	if (step == 1) {
		json_object_set_new(options, "lines", json_pack("[s]", "NO_SUCH_LINE"));
		return true;
	}
	return bench_break_open(bench, RAIL_B, step, options);
}

static void relay_good(struct device *dev, struct op *op)
{
	dev->driver->power->get(dev, op);
}

static void relay_stuck(void *bench, struct device *dev, struct op *op)
{
	(void)bench;
	dev->driver->power->set(dev, true, op);
}

static void nothing_to_unstick(void *bench)
{
	(void)bench;
}

/* RAIL_A and RAIL_B, or neither. */
static bool relay_is_on(void *bench)
{
	struct chip_bench *b = bench;
	bool on = vm_gpio_value(&b->chip, RAIL_A);

	assert_int_equal(vm_gpio_value(&b->chip, RAIL_B), on);
	assert_false(vm_gpio_value(&b->chip, RELAY1) || vm_gpio_value(&b->chip, RELAY2));
	return on;
}

static const struct contract relay_contract = {
	.driver = "gpio-relay",
	.options = "{\"lines\": [\"RAIL_A\", \"RAIL_B\"], \"on_delay_ms\": 8000, \"off_ms\": 5}",
	.other = "{\"lines\": [\"RELAY1\", \"RELAY2\"], \"off_ms\": 5}",
	.setup = bench_setup,
	.teardown = bench_teardown,
	.break_open = relay_break_open,
	.mend = bench_mend,
	.start_good = relay_good,
	.start_stuck = relay_stuck,
	.unstick = nothing_to_unstick,
	.unplug = bench_unplug,
	.is_on = relay_is_on,
	.quick = "{\"lines\": [\"RAIL_A\", \"RAIL_B\"], \"off_ms\": 5}",
	.tells = true,
};

static bool pin_break_open(void *bench, unsigned step, json_t *options)
{
	return bench_break_open(bench, RESET, step, options);
}

static void pin_good(struct device *dev, struct op *op)
{
	dev->driver->line->set(dev, true, op);
}

static bool pin_is_on(void *bench)
{
	struct chip_bench *b = bench;

	return !vm_gpio_value(&b->chip, RESET);
}

static const struct contract pin_contract = {
	.driver = "gpio-line",
	.options = "{\"chip\": \"rig:contract\", \"line\": 3, \"active_low\": true}",
	.other = "{\"line_name\": \"BOOT\"}",
	.setup = bench_setup,
	.teardown = bench_teardown,
	.break_open = pin_break_open,
	.mend = bench_mend,
	.start_good = pin_good,
	.unplug = bench_unplug,
	.is_on = pin_is_on,
	/* gpio-sim's resistors do not pull at an output that is let go of */
	.quick = "{\"chip\": \"rig:contract\", \"line\": 3, \"active_low\": true, "
		 "\"drive\": \"push-pull\"}",
	.tells = true,
};

static bool edge_break_open(void *bench, unsigned step, json_t *options)
{
	return bench_break_open(bench, FLASH1, step, options);
}

static void edge_good(struct device *dev, struct op *op)
{
	dev->driver->trigger->mark(dev, op);
}

static const struct contract edge_contract = {
	.driver = "gpio-edge",
	.options = "{\"chip\": \"rig:contract\", \"line_name\": \"FLASH1\"}",
	.other = "{\"line_name\": \"FLASH2\"}",
	.setup = bench_setup,
	.teardown = bench_teardown,
	.break_open = edge_break_open,
	.mend = bench_mend,
	.start_good = edge_good,
	.unplug = bench_unplug,
	.tells = true,
};

/* --- a driver on a chip ----------------------------------------------------------------------- */

struct bench {
	uv_loop_t loop;
	struct driver_env env;
	struct chip_bench *b;
	struct vm_gpio *chip;
	struct device *dev;
	int lost, back, notes, triggers;
	json_t *trigger;
	char text[1024];
};

static void event(void *arg, const char *name, json_t *fields)
{
	struct bench *b = arg;
	json_t *reason = json_object_get(fields, "reason"), *text = json_object_get(fields, "text");

	b->lost += strcmp(name, "lost") == 0;
	b->back += strcmp(name, "back") == 0;
	b->notes += strcmp(name, "note") == 0;
	if (strcmp(name, "trigger") == 0) {
		b->triggers++;
		json_decref(b->trigger);
		b->trigger = json_incref(fields);
	}
	if (reason || text)
		snprintf(b->text, sizeof(b->text), "%s", json_string_value(reason ? reason : text));
	json_decref(fields);
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	uv_loop_init(&b->loop);
	b->env = (struct driver_env){.loop = &b->loop,
		.board = "demo-1",
		.capability = "power",
		.event = event,
		.arg = b};
	b->b = chip_create("one");
	b->chip = &b->b->chip;
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	if (b->dev)
		close_device(&b->loop, b->dev);
	/* first, so that a test that failed leaves nothing to the next one */
	chip_destroy(b->b);
	close_loop(&b->loop);
	json_decref(b->trigger);
	free(b);
	return 0;
}

static struct device *opened(struct bench *b, const char *driver, const char *changes)
{
	const struct driver *d = driver_find(driver);
	json_t *options = options_of(d, changes);
	struct device *dev;
	struct outcome o;
	struct err e;

	dev = d->create(&b->env, options, &e);
	json_decref(options);
	if (!dev)
		fail_msg("create: %s", e.msg);
	d->open(dev, outcome_start(&b->loop, &o, 60000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	return dev;
}

static void run_until(struct bench *b, const int *counter, int n)
{
	double until = vm_now_s() + VM_WITHIN_S;

	while (*counter < n) {
		if (vm_now_s() > until)
			fail_msg("%d of %d events came", *counter, n);
		uv_run(&b->loop, UV_RUN_NOWAIT);
		poll(NULL, 0, 1);
	}
	assert_int_equal(*counter, n);
}

static void set_power(struct bench *b, bool on, const char *verified)
{
	struct outcome o;

	b->dev->driver->power->set(b->dev, on, outcome_start(&b->loop, &o, 60000));
	assert_done(&b->loop, &o);
	assert_string_equal(json_string_value(json_object_get(o.result, "verified")), verified);
	outcome_finish(&o);
}

static json_int_t count(struct bench *b)
{
	struct outcome o;
	json_int_t n;

	b->dev->driver->trigger->state(b->dev, outcome_start(&b->loop, &o, 60000));
	assert_done(&b->loop, &o);
	n = json_integer_value(json_object_get(o.result, "operations"));
	outcome_finish(&o);
	return n;
}

static void mark(struct bench *b)
{
	struct outcome o;

	b->dev->driver->trigger->mark(b->dev, outcome_start(&b->loop, &o, 60000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
}

static void arm(struct bench *b, json_int_t at)
{
	json_t *cut = json_pack("{s:I, s:s}", "op", at, "tear", "clean");
	struct outcome o;

	b->dev->driver->trigger->arm(b->dev, cut, outcome_start(&b->loop, &o, 60000));
	json_decref(cut);
	assert_done(&b->loop, &o);
	outcome_finish(&o);
}

/* --- relays ----------------------------------------------------------------------------------- */

static void setting_it_drives_the_line_until_it_is_closed(void **state)
{
	struct bench *b = *state;

	b->dev = opened(b, "gpio-relay", "{\"line_name\": \"RELAY1\", \"active_low\": true}");
	assert_true(vm_gpio_value(b->chip, RELAY1));
	set_power(b, true, "none");
	assert_false(vm_gpio_value(b->chip, RELAY1));
	set_power(b, false, "none");
	assert_true(vm_gpio_value(b->chip, RELAY1));
	close_device(&b->loop, b->dev);
	/* the handle is closed: the line is what its resistor makes of it */
	b->dev = opened(b, "gpio-relay", "{\"line_name\": \"RELAY1\"}");
	set_power(b, true, "none");
	assert_true(vm_gpio_value(b->chip, RELAY1));
	close_device(&b->loop, b->dev);
	b->dev = NULL;
	assert_false(vm_gpio_value(b->chip, RELAY1));
}

static void a_sense_line_is_believed(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->dev = opened(b, "gpio-relay",
		"{\"line_name\": \"RELAY1\", \"sense_line_name\": \"SENSE1\", \"sense_ms\": 5000, "
		"\"off_ms\": 1}");
	b->dev->driver->power->set(b->dev, true, outcome_start(&b->loop, &o, 60000));
	assert_true(vm_gpio_value(b->chip, RELAY1));
	assert_int_equal(o.done, 0);
	vm_gpio_pull(b->chip, SENSE1, true);
	assert_done(&b->loop, &o);
	assert_string_equal(json_string_value(json_object_get(o.result, "verified")), "read-back");
	outcome_finish(&o);
	/* the relay is stuck */
	b->dev->driver->power->set(b->dev, false, outcome_start(&b->loop, &o, 60000));
	assert_failed(&b->loop, &o, ERR_BENCH, "(SENSE1) says on");
	outcome_finish(&o);
	b->dev->driver->power->get(b->dev, outcome_start(&b->loop, &o, 60000));
	assert_done(&b->loop, &o);
	assert_true(json_is_true(json_object_get(o.result, "on")));
	outcome_finish(&o);
	vm_gpio_pull(b->chip, SENSE1, false);
	set_power(b, false, "read-back");
}

static void rails_have_their_order(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->dev = opened(b, "gpio-relay",
		"{\"lines\": [\"RAIL_B\", \"RAIL_A\"], \"on_delay_ms\": 50, \"off_delay_ms\": 50}");
	b->dev->driver->power->set(b->dev, true, outcome_start(&b->loop, &o, 60000));
	assert_true(vm_gpio_value(b->chip, RAIL_B) && !vm_gpio_value(b->chip, RAIL_A));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_true(vm_gpio_value(b->chip, RAIL_B) && vm_gpio_value(b->chip, RAIL_A));
	b->dev->driver->power->set(b->dev, false, outcome_start(&b->loop, &o, 60000));
	assert_true(vm_gpio_value(b->chip, RAIL_B) && !vm_gpio_value(b->chip, RAIL_A));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_false(vm_gpio_value(b->chip, RAIL_B) || vm_gpio_value(b->chip, RAIL_A));
}

static void two_boards_on_one_line_hear_of_each_other(void **state)
{
	struct bench *b = *state;
	const struct driver *d = driver_find("gpio-relay");
	struct driver_env env = b->env;
	json_t *options = options_of(d, "{\"chip\": \"rig:one\", \"line\": 0}");
	struct device *dev;
	struct outcome o;
	struct err e;

	b->dev = opened(b, "gpio-relay", "{\"line_name\": \"RELAY1\"}");
	env.board = "demo-2";
	dev = d->create(&env, options, &e);
	json_decref(options);
	d->open(dev, outcome_start(&b->loop, &o, 60000));
	assert_failed(&b->loop, &o, ERR_BENCH,
		"[rig:one] line 0 (RELAY1) is taken: \"rig demo-1 power\" holds it");
	outcome_finish(&o);
	/* and does not switch the other's relay while it is made safe */
	set_power(b, true, "none");
	d->make_safe(dev, outcome_start(&b->loop, &o, 60000));
	assert_failed(&b->loop, &o, ERR_BENCH, "the relay cannot be switched off");
	outcome_finish(&o);
	assert_true(vm_gpio_value(b->chip, RELAY1));
	close_device(&b->loop, dev);
}

static void a_relay_whose_chip_goes_in_the_middle_works_when_it_is_back(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->dev = opened(b, "gpio-relay",
		"{\"chip\": \"rig:one\", \"lines\": [\"RAIL_A\", \"RAIL_B\"], \"on_delay_ms\": 8000, "
		"\"off_ms\": 1}");
	for (int i = 1; i <= 2; i++) {
		b->dev->driver->power->set(b->dev, true, outcome_start(&b->loop, &o, 600000));
		assert_true(vm_gpio_value(b->chip, RAIL_A));
		chip_unplug(b->b);
		run_until(b, &b->lost, i);
		assert_failed(&b->loop, &o, ERR_BENCH, "is gone");
		outcome_finish(&o);
		b->dev->driver->make_safe(b->dev, outcome_start(&b->loop, &o, 60000));
		assert_failed(&b->loop, &o, ERR_BENCH, "the relay cannot be switched off");
		outcome_finish(&o);
		chip_plug(b->b);
		run_until(b, &b->back, i);
		assert_false(vm_gpio_value(b->chip, RAIL_A));
	}
	b->dev->driver->make_safe(b->dev, outcome_start(&b->loop, &o, 60000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
}

/* Nothing is under way whose own failure would tell: the folder of devices is watched. */
static void a_relay_at_rest_hears_that_its_chip_is_gone(void **state)
{
	struct bench *b = *state;

	b->dev = opened(b, "gpio-relay", "{\"chip\": \"rig:one\", \"line\": 0}");
	set_power(b, true, "none");
	chip_unplug(b->b);
	run_until(b, &b->lost, 1);
	assert_non_null(strstr(b->text, "line 0 (RELAY1) is gone"));
	chip_plug(b->b);
	run_until(b, &b->back, 1);
	assert_false(vm_gpio_value(b->chip, RELAY1));
	set_power(b, true, "none");
	assert_true(vm_gpio_value(b->chip, RELAY1));
}

/* --- lines ------------------------------------------------------------------------------------ */

static void assert_line(struct bench *b, bool on)
{
	struct outcome o;

	b->dev->driver->line->set(b->dev, on, outcome_start(&b->loop, &o, 60000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
}

static void a_line_is_asserted_by_driving_it(void **state)
{
	struct bench *b = *state;

	vm_gpio_pull(b->chip, RESET, true);
	b->dev = opened(b, "gpio-line", "{\"line_name\": \"RESET\", \"active_low\": true}");
	assert_true(vm_gpio_value(b->chip, RESET));
	assert_line(b, true);
	assert_false(vm_gpio_value(b->chip, RESET));
	close_device(&b->loop, b->dev);
	assert_true(vm_gpio_value(b->chip, RESET));
	b->dev = opened(b, "gpio-line", "{\"line_name\": \"BOOT\"}");
	assert_line(b, true);
	assert_true(vm_gpio_value(b->chip, BOOT));
}

static void a_line_is_let_go_of_and_not_driven(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	/* pulled down, as a DUT without power does it: a line that were driven would feed it */
	vm_gpio_pull(b->chip, RESET, false);
	b->dev = opened(b, "gpio-line", "{\"line_name\": \"RESET\", \"active_low\": true}");
	assert_false(vm_gpio_value(b->chip, RESET));
	assert_line(b, true);
	assert_line(b, false);
	assert_false(vm_gpio_value(b->chip, RESET));
	b->dev->driver->line->get(b->dev, outcome_start(&b->loop, &o, 60000));
	assert_done(&b->loop, &o);
	assert_true(json_is_true(json_object_get(o.result, "on")));
	outcome_finish(&o);
	close_device(&b->loop, b->dev);
	b->dev = opened(b, "gpio-line",
		"{\"line_name\": \"RESET\", \"active_low\": true, \"drive\": \"push-pull\"}");
	assert_true(vm_gpio_value(b->chip, RESET));
}

/* --- edges ------------------------------------------------------------------------------------ */

/* This process, and the kernel's threads that handle edges, on the first CPU: a pulse is handled
 * before the next one is made, so that none of them can run into one another. */
static void on_one_cpu(void)
{
	cpu_set_t first;
	glob_t found;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	assert_return_code(sched_setaffinity(0, sizeof(first), &first), errno);
	assert_int_equal(glob("/proc/[0-9]*/comm", 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		FILE *f = fopen(found.gl_pathv[i], "re");
		char text[64] = "";

		if (f && fgets(text, sizeof(text), f) && strncmp(text, "irq/", 4) == 0)
			sched_setaffinity((pid_t)strtol(found.gl_pathv[i] + 6, NULL, 10),
				sizeof(first), &first);
		if (f)
			fclose(f);
	}
	globfree(&found);
}

static void on_every_cpu(void)
{
	cpu_set_t all;

	memset(&all, 0xff, sizeof(all));
	assert_return_code(sched_setaffinity(0, sizeof(all), &all), errno);
}

static void pulses(struct bench *b, unsigned line, unsigned n)
{
	while (n--) {
		vm_gpio_pull(b->chip, line, true);
		vm_gpio_pull(b->chip, line, false);
	}
}

static void edges_are_counted_exactly_in_bursts(void **state)
{
	struct bench *b = *state;
	pid_t pid;

	b->dev = opened(b, "gpio-edge", "{\"line_name\": \"FLASH1\"}");
	on_one_cpu();
	mark(b);
	pulses(b, FLASH1, 1000); /* while nobody reads */
	assert_int_equal(count(b), 1000);
	/* while they are read */
	mark(b);
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		pulses(b, FLASH1, 3000);
		_exit(0);
	}
	while (waitpid(pid, NULL, WNOHANG) == 0)
		uv_run(&b->loop, UV_RUN_NOWAIT);
	assert_int_equal(count(b), 3000);
	on_every_cpu();
}

static void both_edges_count_where_asked_for(void **state)
{
	struct bench *b = *state;

	b->dev = opened(b, "gpio-edge", "{\"line_name\": \"FLASH1\", \"edge\": \"both\"}");
	on_one_cpu();
	mark(b);
	pulses(b, FLASH1, 200);
	assert_int_equal(count(b), 400);
	on_every_cpu();
}

static void only_edges_of_the_wanted_direction_count(void **state)
{
	struct bench *b = *state;

	for (int falling = 0; falling <= 1; falling++) {
		vm_gpio_pull(b->chip, FLASH1, falling);
		b->dev = opened(b, "gpio-edge",
			falling ? "{\"line_name\": \"FLASH1\", \"edge\": \"falling\"}"
				: "{\"line_name\": \"FLASH1\"}");
		mark(b);
		on_one_cpu();
		vm_gpio_pull(b->chip, FLASH1, !falling);
		assert_int_equal(count(b), 1);
		vm_gpio_pull(b->chip, FLASH1, falling);
		assert_int_equal(count(b), 1);
		on_every_cpu();
		close_device(&b->loop, b->dev);
		b->dev = NULL;
	}
}

static void disarmed_or_made_safe_it_does_not_fire(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->dev = opened(b, "gpio-edge", "{\"line_name\": \"FLASH1\"}");
	on_one_cpu();
	for (int safe = 0; safe <= 1; safe++) {
		mark(b);
		arm(b, 2);
		pulses(b, FLASH1, 1);
		assert_int_equal(count(b), 1);
		(safe ? b->dev->driver->make_safe : b->dev->driver->trigger->disarm)(
			b->dev, outcome_start(&b->loop, &o, 60000));
		assert_done(&b->loop, &o);
		outcome_finish(&o);
		pulses(b, FLASH1, 3);
		assert_int_equal(count(b), 4);
		assert_int_equal(b->triggers, 0);
	}
	on_every_cpu();
}

static void more_edges_than_the_kernel_keeps_are_an_error(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->dev = opened(b, "gpio-edge", "{\"line_name\": \"FLASH1\"}");
	on_one_cpu();
	mark(b);
	arm(b, 1200);
	pulses(b, FLASH1, 1024 + 76);
	b->dev->driver->trigger->state(b->dev, outcome_start(&b->loop, &o, 60000));
	assert_failed(&b->loop, &o, ERR_BENCH, "(FLASH1): 76 edges were lost");
	outcome_finish(&o);
	assert_int_equal(b->notes, 1);
	pulses(b, FLASH1, 200);
	mark(b);
	pulses(b, FLASH1, 3);
	assert_int_equal(count(b), 3);
	assert_int_equal(b->triggers, 0);
	on_every_cpu();
}

static void it_fires_with_the_kernels_time_and_the_power_goes(void **state)
{
	struct bench *b = *state;
	struct device *relay =
		opened(b, "gpio-relay", "{\"line_name\": \"RELAY1\", \"off_ms\": 0}");
	uint64_t before, after, t_ns;
	struct outcome o;

	relay->driver->power->set(relay, true, outcome_start(&b->loop, &o, 60000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	b->dev = opened(b, "gpio-edge", "{\"line_name\": \"FLASH1\"}");
	mark(b);
	arm(b, 3);
	on_one_cpu();
	pulses(b, FLASH1, 2);
	assert_int_equal(count(b), 2);
	assert_int_equal(b->triggers, 0);
	before = uv_hrtime();
	pulses(b, FLASH1, 1);
	after = uv_hrtime();
	run_until(b, &b->triggers, 1);
	on_every_cpu();
	t_ns = (uint64_t)json_integer_value(json_object_get(b->trigger, "t_ns"));
	assert_true(t_ns > before && t_ns < after);
	assert_int_equal(json_integer_value(json_object_get(b->trigger, "op")), 3);
	relay->driver->power->set(relay, false, outcome_start(&b->loop, &o, 60000));
	assert_int_equal(o.done, 1);
	assert_false(vm_gpio_value(b->chip, RELAY1));
	outcome_finish(&o);
	close_device(&b->loop, relay);
}

static void a_trigger_whose_chip_goes_counts_again_when_it_is_back(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->dev = opened(b, "gpio-edge", "{\"chip\": \"rig:one\", \"line_name\": \"FLASH1\"}");
	mark(b);
	arm(b, 5);
	chip_unplug(b->b);
	run_until(b, &b->lost, 1);
	chip_plug(b->b);
	run_until(b, &b->back, 1);
	b->dev->driver->trigger->state(b->dev, outcome_start(&b->loop, &o, 60000));
	assert_failed(&b->loop, &o, ERR_BENCH, "is gone");
	outcome_finish(&o);
	on_one_cpu();
	mark(b);
	arm(b, 2);
	pulses(b, FLASH1, 2);
	run_until(b, &b->triggers, 1);
	assert_int_equal(count(b), 2);
	on_every_cpu();
}

/* --- check and scan --------------------------------------------------------------------------- */

static void check_and_scan_say_what_the_kernel_says(void **state)
{
	struct bench *b = *state;
	json_t *found = json_array(), *entry;
	const char *says;
	char want[256];
	struct outcome o;
	bool listed = false;
	struct err e;
	size_t i;

	b->dev = opened(b, "gpio-relay", "{\"line_name\": \"RELAY1\", \"active_low\": true}");
	b->dev->driver->check(b->dev, outcome_start(&b->loop, &o, 60000));
	assert_done(&b->loop, &o);
	says = json_string_value(json_array_get(json_object_get(o.result, "says"), 0));
	snprintf(want, sizeof(want),
		"%s [rig:one] line 0 (RELAY1): output, active low, held by \"rig demo-1 power\", "
		"inactive now",
		b->chip->chip);
	assert_string_equal(says, want);
	outcome_finish(&o);
	assert_return_code(b->dev->driver->scan(found, &e), 0);
	json_array_foreach (found, i, entry) {
		const char *conf = json_string_value(json_object_get(entry, "conf"));

		if (strstr(json_string_value(json_object_get(entry, "what")),
			    "[rig:one], 9 lines")) {
			listed = true;
			/* the first relay is taken */
			assert_string_equal(conf,
				"power = { driver = \"gpio-relay\", line_name = \"RELAY2\" },");
		}
	}
	json_decref(found);
	assert_true(listed);
}

#define BENCH_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	static const struct contract *const contracts[] = {
		&edge_contract, &pin_contract, &relay_contract};
	const struct CMUnitTest own[] = {
		BENCH_TEST(setting_it_drives_the_line_until_it_is_closed),
		BENCH_TEST(a_sense_line_is_believed),
		BENCH_TEST(rails_have_their_order),
		BENCH_TEST(two_boards_on_one_line_hear_of_each_other),
		BENCH_TEST(a_relay_whose_chip_goes_in_the_middle_works_when_it_is_back),
		BENCH_TEST(a_relay_at_rest_hears_that_its_chip_is_gone),
		BENCH_TEST(a_line_is_asserted_by_driving_it),
		BENCH_TEST(a_line_is_let_go_of_and_not_driven),
		BENCH_TEST(edges_are_counted_exactly_in_bursts),
		BENCH_TEST(both_edges_count_where_asked_for),
		BENCH_TEST(only_edges_of_the_wanted_direction_count),
		BENCH_TEST(disarmed_or_made_safe_it_does_not_fire),
		BENCH_TEST(more_edges_than_the_kernel_keeps_are_an_error),
		BENCH_TEST(it_fires_with_the_kernels_time_and_the_power_goes),
		BENCH_TEST(a_trigger_whose_chip_goes_counts_again_when_it_is_back),
		BENCH_TEST(check_and_scan_say_what_the_kernel_says),
	};
	enum { OWN = sizeof(own) / sizeof(*own) };
	struct CMUnitTest tests[OWN + 3 * CONTRACT_CLAIMS];
	int failed;

	memcpy(tests, own, sizeof(own));
	for (size_t i = 0; i < 3; i++)
		contract_tests(contracts[i], tests + OWN + i * CONTRACT_CLAIMS);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	for (size_t i = OWN; i < sizeof(tests) / sizeof(*tests); i++)
		free((char *)(uintptr_t)tests[i].name);
	return failed;
}
