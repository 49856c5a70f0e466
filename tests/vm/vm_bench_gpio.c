/*
 * From an edge, by the kernel's time stamp, to a relay line that is set: the drivers gpio-edge and
 * gpio-relay, a Python script with the kernel's GPIO binding, and one that spawns gpioset. What
 * makes the edges is the same process for all of them. The numbers are comments of the TAP: a
 * virtual machine's scheduling is in them, and nothing is demanded of them.
 */
#include "../driver_bench.h"

#include "vm.h"

enum { FLASH, RELAY, LINES };
#define ROUNDS 200
#define SPAWNS 50 /* they take their time */

struct measure {
	struct vm_gpio chip;
	int go;      /* a byte written here makes one edge */
	pid_t maker; /* who makes it */
	uint64_t took_ns[ROUNDS];
};

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void report(struct measure *m, unsigned rounds, const char *what)
{
	unsigned median = rounds / 2, p99 = rounds * 99 / 100;

	qsort(m->took_ns, rounds, sizeof(*m->took_ns), by_size);
	printf("# edge to relay line set, %s: median %.1f us, p99 %.1f us, of %u\n", what,
		(double)m->took_ns[median] / 1e3, (double)m->took_ns[p99] / 1e3, rounds);
	fflush(stdout);
}

static int setup(void **state)
{
	static const char *const names[] = {"FLASH", "RELAY", NULL};
	struct measure *m = calloc(1, sizeof(*m));
	int ends[2];

	vm_gpio_bank_create(&m->chip, "speed", LINES, names);
	assert_return_code(pipe2(ends, O_CLOEXEC), errno);
	m->maker = fork();
	assert_return_code(m->maker, errno);
	if (m->maker == 0) {
		char byte;

		close(ends[1]);
		while (read(ends[0], &byte, 1) == 1) {
			vm_gpio_pull(&m->chip, FLASH, false);
			vm_gpio_pull(&m->chip, FLASH, true);
		}
		_exit(0);
	}
	close(ends[0]);
	m->go = ends[1];
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	struct measure *m = *state;

	close(m->go);
	assert_int_equal(vm_wait(m->maker), 0);
	vm_gpio_bank_destroy(&m->chip);
	free(m);
	return 0;
}

static void make_edge(struct measure *m)
{
	assert_int_equal(write(m->go, "x", 1), 1);
}

/* --- the drivers ------------------------------------------------------------------------------ */

struct own {
	uv_loop_t loop;
	struct driver_env env;
	struct device *edge, *relay;
	struct outcome off;
	bool fired;
	uint64_t took_ns;
};

/* As the keeper does it: the power goes as soon as the trigger says so. */
static void fired(void *arg, const char *name, json_t *fields)
{
	struct own *o = arg;

	assert_string_equal(name, "trigger");
	o->relay->driver->power->set(o->relay, false, outcome_start(&o->loop, &o->off, 60000));
	o->took_ns = uv_hrtime() - (uint64_t)json_integer_value(json_object_get(fields, "t_ns"));
	o->fired = true;
	json_decref(fields);
}

static struct device *opened(struct own *o, const char *driver, const char *changes)
{
	const struct driver *d = driver_find(driver);
	json_t *options = options_of(d, changes);
	struct device *dev;
	struct outcome done;
	struct err e;

	dev = d->create(&o->env, options, &e);
	json_decref(options);
	assert_non_null(dev);
	d->open(dev, outcome_start(&o->loop, &done, 60000));
	assert_done(&o->loop, &done);
	outcome_finish(&done);
	return dev;
}

static void arm(struct own *o)
{
	json_t *cut = json_pack("{s:i}", "op", 1);
	struct outcome done;

	o->relay->driver->power->set(o->relay, true, outcome_start(&o->loop, &done, 60000));
	assert_done(&o->loop, &done);
	outcome_finish(&done);
	o->edge->driver->trigger->mark(o->edge, outcome_start(&o->loop, &done, 60000));
	assert_done(&o->loop, &done);
	o->edge->driver->trigger->arm(o->edge, cut, outcome_start(&o->loop, &done, 60000));
	assert_done(&o->loop, &done);
	json_decref(cut);
	o->fired = false;
}

static void the_drivers(void **state)
{
	struct measure *m = *state;
	struct own o = {.fired = false};

	uv_loop_init(&o.loop);
	o.env = (struct driver_env){
		.loop = &o.loop, .board = "b", .capability = "power", .event = fired, .arg = &o};
	o.edge = opened(&o, "gpio-edge", "{\"line_name\": \"FLASH\"}");
	o.relay = opened(&o, "gpio-relay", "{\"line_name\": \"RELAY\", \"off_ms\": 0}");
	for (int i = 0; i < ROUNDS; i++) {
		arm(&o);
		assert_true(vm_gpio_value(&m->chip, RELAY));
		make_edge(m);
		while (!o.fired)
			uv_run(&o.loop, UV_RUN_ONCE);
		assert_done(&o.loop, &o.off);
		outcome_finish(&o.off);
		assert_false(vm_gpio_value(&m->chip, RELAY));
		m->took_ns[i] = o.took_ns;
	}
	close_device(&o.loop, o.edge);
	close_device(&o.loop, o.relay);
	close_loop(&o.loop);
	report(m, ROUNDS, "gpio-edge and gpio-relay");
}

/* --- scripts ---------------------------------------------------------------------------------- */

/* Tells, for each edge, how many nanoseconds after it the relay's line was set. */
static const char script[] =
	"import gpiod, subprocess, sys, time\n"
	"path, spawn = sys.argv[1], sys.argv[2] == 'spawn'\n"
	"chip = gpiod.Chip(path)\n"
	"edge, relay = chip.get_line(0), chip.get_line(1)\n"
	"edge.request(consumer='script', type=gpiod.LINE_REQ_EV_RISING_EDGE)\n"
	"if not spawn:\n"
	"    relay.request(consumer='script', type=gpiod.LINE_REQ_DIR_OUT, default_vals=[1])\n"
	"print('ready', flush=True)\n"
	"while edge.event_wait(sec=120):\n"
	"    event = edge.event_read()\n"
	"    if spawn:\n"
	"        subprocess.run(['gpioset', path, '1=1'], check=True)\n"
	"    else:\n"
	"        relay.set_value(0)\n"
	"    took = time.monotonic_ns() - event.sec * 1000000000 - event.nsec\n"
	"    if not spawn:\n"
	"        relay.set_value(1)\n"
	"    print(took, flush=True)\n";

static void a_script(struct measure *m, unsigned rounds, const char *how, const char *what)
{
	char path[] = "/tmp/edge.XXXXXX", chip[80], line[64];
	int ends[2], fd = mkstemp(path);
	pid_t pid;
	FILE *f;

	assert_return_code(fd, errno);
	assert_int_equal(write(fd, script, sizeof(script) - 1), sizeof(script) - 1);
	close(fd);
	snprintf(chip, sizeof(chip), "/dev/%s", m->chip.chip);
	assert_return_code(pipe2(ends, O_CLOEXEC), errno);
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		execlp("python3", "python3", path, chip, how, (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	f = fdopen(ends[0], "r");
	if (!fgets(line, sizeof(line), f) || strcmp(line, "ready\n") != 0)
		fail_msg("the script ended with status %d", vm_stop(pid));
	for (unsigned i = 0; i < rounds; i++) {
		make_edge(m);
		if (!fgets(line, sizeof(line), f))
			fail_msg("the script ended with status %d", vm_stop(pid));
		m->took_ns[i] = strtoull(line, NULL, 10);
		assert_true(m->took_ns[i] > 0);
	}
	fclose(f);
	vm_stop(pid);
	unlink(path);
	report(m, rounds, what);
}

static void a_python_script_with_the_kernels_binding(void **state)
{
	a_script(*state, ROUNDS, "binding", "a Python script with the kernel's GPIO binding");
}

static void a_script_that_spawns_gpioset(void **state)
{
	a_script(*state, SPAWNS, "spawn", "a Python script that spawns gpioset");
}

#define MEASURED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MEASURED(the_drivers),
		MEASURED(a_python_script_with_the_kernels_binding),
		MEASURED(a_script_that_spawns_gpioset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
