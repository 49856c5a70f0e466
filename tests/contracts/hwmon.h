/* hwmon: a folder that looks like the kernel's (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_HWMON_H
#define TESTS_CONTRACTS_HWMON_H

#include "../driver_contract.h"
#include "../scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

struct hwmon_bench {
	void *scratch;
	int hung; /* keeps the fifo that stands for a slow bus open; -1: there is none */
};

static void hwmon_sensor(void *scratch, const char *hwmon, const char *chip, const char *device)
{
	char name[128], target[256];
	const char *link;

	snprintf(name, sizeof(name), "hwmon/%s/name", hwmon);
	scratch_write(scratch, name, chip);
	snprintf(name, sizeof(name), "hwmon/%s/in1_input", hwmon);
	scratch_write(scratch, name, "3301\n");
	snprintf(name, sizeof(name), "hwmon/%s/curr1_input", hwmon);
	scratch_write(scratch, name, "-12\n");
	snprintf(name, sizeof(name), "bus/%s/x", device);
	scratch_write(scratch, name, "");
	snprintf(name, sizeof(name), "hwmon/%s/device", hwmon);
	snprintf(target, sizeof(target), "../../bus/%s", device);
	link = scratch_path(scratch, name);
	assert_true(symlink(target, link) == 0 || errno == EEXIST);
}

static void hwmon_mend(void *bench)
{
	struct hwmon_bench *b = bench;

	if (access(scratch_path(b->scratch, "away"), F_OK) == 0)
		assert_return_code(rename(scratch_path(b->scratch, "away"),
					   scratch_path(b->scratch, "hwmon/hwmon7")),
			0);
	unlink(scratch_path(b->scratch, "hwmon/hwmon7/in1_input")); /* it may be a fifo */
	hwmon_sensor(b->scratch, "hwmon7", "ina226\n", "1-0040");
}

static void *hwmon_setup(struct driver_env *env)
{
	struct hwmon_bench *b = calloc(1, sizeof(*b));

	env->capability = "meter";
	b->hung = -1;
	assert_int_equal(scratch_setup(&b->scratch), 0);
	hwmon_sensor(b->scratch, "hwmon0", "coretemp\n", "coretemp.0");
	hwmon_mend(b);
	return b;
}

static void hwmon_teardown(void *bench)
{
	struct hwmon_bench *b = bench;

	scratch_teardown(&b->scratch);
	free(b);
}

static void hwmon_adapt(void *bench, json_t *options)
{
	struct hwmon_bench *b = bench;

	json_object_set_new(options, "root", json_string(scratch_path(b->scratch, "hwmon")));
}

static void hwmon_unplug(void *bench)
{
	struct hwmon_bench *b = bench;

	if (b->hung >= 0) { /* the bus gives up */
		assert_int_equal(write(b->hung, "?", 1), 1);
		close(b->hung);
		b->hung = -1;
	}
	assert_return_code(
		rename(scratch_path(b->scratch, "hwmon/hwmon7"), scratch_path(b->scratch, "away")),
		0);
}

static bool hwmon_break_open(void *bench, unsigned step, json_t *options)
{
	struct hwmon_bench *b = bench;

	switch (step) {
	case 0: /* not there */
		hwmon_unplug(b);
		break;
	case 1:
		json_object_set_new(options, "root", json_string("/no/such/folder"));
		break;
	case 2: /* it cannot be read, as when its bus is stuck */
		unlink(scratch_path(b->scratch, "hwmon/hwmon7/in1_input"));
		break;
	case 3:
		scratch_write(b->scratch, "hwmon/hwmon7/curr1_input", "N/A");
		break;
	case 4: /* two of a kind */
		json_object_del(options, "device");
		hwmon_sensor(b->scratch, "hwmon8", "ina226\n", "1-0041");
		break;
	default:
		return false;
	}
	return true;
}

static void hwmon_start(struct device *dev, struct op *op)
{
	dev->driver->meter->measure(dev, op);
}

static void hwmon_start_stuck(void *bench, struct device *dev, struct op *op)
{
	struct hwmon_bench *b = bench;
	const char *path = scratch_path(b->scratch, "hwmon/hwmon7/in1_input");

	unlink(path);
	assert_return_code(mkfifo(path, 0600), 0);
	hwmon_start(dev, op);
	/* which succeeds once there is a reader */
	while ((b->hung = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) < 0)
		poll(NULL, 0, 1);
}

static void hwmon_unstick(void *bench)
{
	struct hwmon_bench *b = bench;

	/* all that hang at it are answered by its end */
	unlink(scratch_path(b->scratch, "hwmon/hwmon7/in1_input"));
	scratch_write(b->scratch, "hwmon/hwmon7/in1_input", "3300\n");
	if (b->hung >= 0)
		close(b->hung);
	b->hung = -1;
}

static const struct contract contract_hwmon = {.driver = "hwmon",
	.options = "{\"chip\": \"ina226\", \"device\": \"1-0040\"}",
	.setup = hwmon_setup,
	.teardown = hwmon_teardown,
	.adapt = hwmon_adapt,
	.break_open = hwmon_break_open,
	.mend = hwmon_mend,
	.start_good = hwmon_start,
	.start_stuck = hwmon_start_stuck,
	.unstick = hwmon_unstick,
	.unplug = hwmon_unplug};

#endif
