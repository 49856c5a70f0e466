/*
 * From an edge, by the kernel's time stamp, to a relay line that is set: the drivers gpio-edge and
 * gpio-relay, a Python script with the kernel's GPIO binding, and one that spawns gpioset. Each has
 * a chip of its own, one process makes the edges for all, and they take turns round by round, so
 * that what else the host does is in the numbers of all alike. The numbers are comments of the TAP:
 * a virtual machine's scheduling is in them, and nothing is demanded of them.
 */
#include "../driver_bench.h"

#include "vm.h"

enum { FLASH, RELAY, LINES };
enum { DRIVERS, BINDING, SPAWN, WAYS };
#define ROUNDS 200
#define SPAWN_EVERY 4 /* rounds: it takes its time */

/* One way from an edge to a relay. */
struct way {
	const char *name, *what;
	struct vm_gpio chip;
	uint64_t took_ns[ROUNDS];
	unsigned rounds;
	pid_t pid; /* of a script */
	FILE *says;
};

struct measure {
	struct way ways[WAYS];
	int go;      /* a way's number written here makes an edge on its chip */
	pid_t maker; /* who makes it */
};

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void report(struct way *w)
{
	unsigned median = w->rounds / 2, p99 = w->rounds * 99 / 100;

	qsort(w->took_ns, w->rounds, sizeof(*w->took_ns), by_size);
	printf("# edge to relay line set, %s: median %.1f us, p99 %.1f us, of %u\n", w->what,
		(double)w->took_ns[median] / 1e3, (double)w->took_ns[p99] / 1e3, w->rounds);
	fflush(stdout);
}

static void make_edges(struct measure *m, int told)
{
	unsigned char way;

	while (read(told, &way, 1) == 1) {
		vm_gpio_pull(&m->ways[way].chip, FLASH, false);
		vm_gpio_pull(&m->ways[way].chip, FLASH, true);
	}
	_exit(0);
}

static int setup(void **state)
{
	static const char *const names[WAYS] = {"drivers", "binding", "spawn"};
	static const char *const whats[WAYS] = {"gpio-edge and gpio-relay",
		"a Python script with the kernel's GPIO binding",
		"a Python script that spawns gpioset"};
	struct measure *m = calloc(1, sizeof(*m));
	int ends[2];

	for (int i = 0; i < WAYS; i++) {
		m->ways[i].name = names[i];
		m->ways[i].what = whats[i];
		vm_gpio_bank_create(&m->ways[i].chip, names[i], LINES, NULL);
	}
	assert_return_code(pipe2(ends, O_CLOEXEC), errno);
	m->maker = fork();
	assert_return_code(m->maker, errno);
	if (m->maker == 0) {
		close(ends[1]);
		make_edges(m, ends[0]);
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
	for (int i = 0; i < WAYS; i++)
		vm_gpio_bank_destroy(&m->ways[i].chip);
	free(m);
	return 0;
}

static void make_edge(struct measure *m, unsigned char way)
{
	assert_int_equal(write(m->go, &way, 1), 1);
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

static void open_drivers(struct own *o)
{
	uv_loop_init(&o->loop);
	o->env = (struct driver_env){
		.loop = &o->loop, .board = "b", .capability = "power", .event = fired, .arg = o};
	o->edge = opened(o, "gpio-edge", "{\"chip\": \"rig:drivers\", \"line\": 0}");
	o->relay =
		opened(o, "gpio-relay", "{\"chip\": \"rig:drivers\", \"line\": 1, \"off_ms\": 0}");
}

static void close_drivers(struct own *o)
{
	close_device(&o->loop, o->edge);
	close_device(&o->loop, o->relay);
	close_loop(&o->loop);
}

static void round_of_drivers(struct measure *m, struct own *o)
{
	struct way *w = &m->ways[DRIVERS];

	arm(o);
	assert_true(vm_gpio_value(&w->chip, RELAY));
	make_edge(m, DRIVERS);
	while (!o->fired)
		uv_run(&o->loop, UV_RUN_ONCE);
	assert_done(&o->loop, &o->off);
	outcome_finish(&o->off);
	assert_false(vm_gpio_value(&w->chip, RELAY));
	w->took_ns[w->rounds++] = o->took_ns;
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

static void start_script(struct way *w)
{
	char path[] = "/tmp/edge.XXXXXX", chip[80], line[64];
	int ends[2], fd = mkstemp(path);

	assert_return_code(fd, errno);
	assert_int_equal(write(fd, script, sizeof(script) - 1), sizeof(script) - 1);
	close(fd);
	snprintf(chip, sizeof(chip), "/dev/%s", w->chip.chip);
	assert_return_code(pipe2(ends, O_CLOEXEC), errno);
	w->pid = fork();
	assert_return_code(w->pid, errno);
	if (w->pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		execlp("python3", "python3", path, chip, w->name, (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	w->says = fdopen(ends[0], "r");
	assert_non_null(w->says);
	if (!fgets(line, sizeof(line), w->says) || strcmp(line, "ready\n") != 0)
		fail_msg("the script ended with status %d", vm_stop(w->pid));
	unlink(path);
}

static void round_of_script(struct measure *m, unsigned char way)
{
	struct way *w = &m->ways[way];
	char line[64];

	make_edge(m, way);
	if (!fgets(line, sizeof(line), w->says))
		fail_msg("the script ended with status %d", vm_stop(w->pid));
	w->took_ns[w->rounds] = strtoull(line, NULL, 10);
	assert_true(w->took_ns[w->rounds++] > 0);
}

static void stop_script(struct way *w)
{
	fclose(w->says);
	vm_stop(w->pid);
}

static void an_edge_takes_the_power_in_every_way(void **state)
{
	struct measure *m = *state;
	struct own o = {.fired = false};

	open_drivers(&o);
	start_script(&m->ways[BINDING]);
	start_script(&m->ways[SPAWN]);
	for (int i = 0; i < ROUNDS; i++) {
		round_of_drivers(m, &o);
		round_of_script(m, BINDING);
		if (i % SPAWN_EVERY == 0)
			round_of_script(m, SPAWN);
	}
	close_drivers(&o);
	stop_script(&m->ways[BINDING]);
	stop_script(&m->ways[SPAWN]);
	for (int i = 0; i < WAYS; i++)
		report(&m->ways[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			an_edge_takes_the_power_in_every_way, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
