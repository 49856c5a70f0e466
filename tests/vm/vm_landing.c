/*
 * Cuts on the whole hardware path, by the drivers that a bench has: gpio-relay takes the virtual
 * board's power when gpio-edge, console-pattern, timer, probe-breakpoint or probe-watchpoint fires,
 * which hear of the board through GPIO, serial and openocd. Where the cuts land is measured,
 * VM_CUTS of each kind (20 if that is not set), and printed as a distribution.
 */
#include "tests/driver_bench.h"
#include "vm_board.h"

#define OP_MS 60000
#define STEP_MS 5 /* of the firmware: one operation */

enum kind { BY_EDGE, BY_CONSOLE, BY_TIMER, BY_BREAKPOINT, BY_WATCHPOINT };

static const char *const triggers[] = {
	"gpio-edge", "console-pattern", "timer", "probe-breakpoint", "probe-watchpoint"};

struct path {
	struct vm_board board;
	uv_loop_t loop;
	struct driver_env env;
	struct device *relay, *trigger, *console, *probe;
	char dir[64];
	json_t *conf;
	enum kind kind;
	unsigned wanted;
	bool lost, late; /* the trigger has lost count; nothing came in time */
	bool fired;      /* what was waited for has come, and the power is being taken */
	struct outcome off;
	char line[64]; /* of the console, what has come of it */
	size_t line_len;
	uint64_t told_ns; /* when what the trigger fired at was handed over to it */
	bool started;     /* the DUT's first line since power-on has come */
	uv_timer_t limit;
};

/* --- the bench -------------------------------------------------------------------------------- */

static void take_power(struct path *p)
{
	if (p->fired)
		return;
	p->fired = true;
	p->relay->driver->power->set(p->relay, false, outcome_start(&p->loop, &p->off, OP_MS));
}

static void path_event(void *arg, const char *name, json_t *fields)
{
	struct path *p = arg;

	if (strcmp(name, "trigger") == 0) {
		p->told_ns = (uint64_t)json_integer_value(json_object_get(fields, "t_ns"));
		take_power(p);
	} else if (strcmp(name, "note") == 0) {
		if (p->kind != BY_EDGE) /* merged edges are counted */
			printf("# %s\n", json_string_value(json_object_get(fields, "text")));
		p->lost = true;
	}
	json_decref(fields);
}

/* A line of the console, to whoever listens. */
static void path_line(struct path *p)
{
	/* what comes before it was sent with the power of before, which may have gone within a line
	 */
	if (p->line_len >= 5 && strcmp(p->line + p->line_len - 5, "start") == 0)
		p->started = true;
	if (p->started)
		port_tell(p->env.console, p->line, p->line_len);
}

static void path_console(void *arg, const char *data, size_t len)
{
	struct path *p = arg;

	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\n') {
			p->line[p->line_len] = '\0';
			path_line(p);
			p->line_len = 0;
		} else if (p->line_len < sizeof(p->line) - 1) {
			p->line[p->line_len++] = data[i];
		}
	}
}

static void path_late(uv_timer_t *timer)
{
	((struct path *)timer->data)->late = true;
}

static struct device *path_open(
	struct path *p, const char *capability, const char *name, const char *changes)
{
	const struct driver *driver = driver_find(name);
	struct outcome o;
	struct device *dev;
	json_t *options;
	struct err e;

	assert_non_null(driver);
	options = options_of(driver, changes);
	p->env.capability = capability;
	dev = driver->create(&p->env, options, &e);
	if (!dev)
		fail_msg("%s: %s", name, e.msg);
	dev->driver = driver;
	driver->open(dev, outcome_start(&p->loop, &o, OP_MS));
	assert_done(&p->loop, &o);
	outcome_finish(&o);
	json_decref(options);
	return dev;
}

/* Where the driver of OpenOCD looks for the probe of a virtual board. */
static void path_probe_port(const struct path *p)
{
	char path[PATH_MAX], port[32];
	FILE *f;

	vm_ask("probe", port, sizeof(port));
	snprintf(path, sizeof(path), "%s/vboard", p->dir);
	vm_mkdir(path);
	snprintf(path, sizeof(path), "%s/vboard/stlink.port", p->dir);
	f = fopen(path, "we");
	assert_non_null(f);
	fprintf(f, "%s\n", port);
	fclose(f);
}

static int path_setup(void **state)
{
	struct path *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	vm_board_join(&p->board);
	uv_loop_init(&p->loop);
	uv_timer_init(&p->loop, &p->limit);
	p->limit.data = p;
	snprintf(p->dir, sizeof(p->dir), "/tmp/landing-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	path_probe_port(p);
	p->conf = json_pack("{s:{s:s}, s:{s:i, s:i, s:i}}", "openocd", "target", "target/nrf52.cfg",
		"flash", "base", 0, "size", 0x100000, "page", 4096);
	p->env = (struct driver_env){.loop = &p->loop,
		.board = "b",
		.board_dir = p->dir,
		.log_dir = p->dir,
		.board_conf = p->conf,
		.console_in = path_console,
		.console = port_create(&p->loop),
		.probe = probe_port_create(),
		.event = path_event,
		.arg = p};
	p->relay = path_open(p, "power", "gpio-relay", "{\"chip\": \"rig:board\", \"line\": 1}");
	p->console = path_open(p, "console", "serial", "{\"usb_serial\": \"" VM_BOARD_SERIAL "\"}");
	p->probe = path_open(
		p, "probe", "openocd", "{\"adapter\": \"virtual\", \"answer_ms\": 60000}");
	p->env.probe->probe = p->probe;
	*state = p;
	return 0;
}

static int path_teardown(void **state)
{
	struct path *p = *state;

	close_device(&p->loop, p->trigger);
	close_device(&p->loop, p->probe);
	close_device(&p->loop, p->console);
	close_device(&p->loop, p->relay);
	port_destroy(p->env.console);
	probe_port_destroy(p->env.probe);
	uv_close((uv_handle_t *)&p->limit, NULL);
	close_loop(&p->loop);
	vm_board_part(&p->board);
	json_decref(p->conf);
	free(p);
	return 0;
}

/* --- one cut ---------------------------------------------------------------------------------- */

static void relay_set(struct path *p, bool on)
{
	struct outcome o;

	p->relay->driver->power->set(p->relay, on, outcome_start(&p->loop, &o, OP_MS));
	assert_done(&p->loop, &o);
	outcome_finish(&o);
	vm_board_wait_power(&p->board, on);
}

static void trigger_open(struct path *p, enum kind kind)
{
	char address[32], options[128];

	p->kind = kind;
	vm_ask("symbol paced_write", address, sizeof(address));
	switch (kind) {
	case BY_EDGE:
		snprintf(options, sizeof(options),
			"{\"chip\": \"rig:board\", \"line\": 0, \"edge\": \"both\"}");
		break;
	case BY_CONSOLE:
		snprintf(options, sizeof(options), "{\"pattern\": \"^wrote \"}");
		break;
	case BY_TIMER:
		snprintf(options, sizeof(options), "{\"step_ms\": 1, \"start\": \"start$\"}");
		break;
	case BY_BREAKPOINT:
		snprintf(options, sizeof(options), "{\"address\": %lu, \"trace\": false}",
			strtoul(address, NULL, 16));
		break;
	case BY_WATCHPOINT:
		snprintf(options, sizeof(options),
			"{\"address\": %d, \"size\": 4096, \"trace\": false}", 0x80000);
		break;
	}
	p->trigger = path_open(p, "trigger", triggers[kind], options);
}

static void trigger_mark(struct path *p)
{
	struct outcome o;

	p->trigger->driver->trigger->mark(p->trigger, outcome_start(&p->loop, &o, OP_MS));
	assert_done(&p->loop, &o);
	outcome_finish(&o);
}

/* Arms at operation, line, step or hit n since the mark. */
static void trigger_arm(struct path *p, unsigned n)
{
	json_t *cut = json_pack("{s:i, s:s, s:i}", "op", n, "tear", "clean", "seed", 0);
	struct outcome o;

	p->trigger->driver->trigger->arm(p->trigger, cut, outcome_start(&p->loop, &o, OP_MS));
	assert_done(&p->loop, &o);
	outcome_finish(&o);
	json_decref(cut);
}

static unsigned trigger_count(struct path *p)
{
	struct outcome o;
	unsigned n;

	p->trigger->driver->trigger->state(p->trigger, outcome_start(&p->loop, &o, OP_MS));
	assert_done(&p->loop, &o);
	n = (unsigned)json_integer_value(json_object_get(o.result, "operations"));
	outcome_finish(&o);
	return n;
}

/* At which of the timer's steps operation wanted is done: from a run that is not cut. */
static unsigned timer_calibrate(struct path *p)
{
	const volatile struct bridge_times *t = p->board.times;
	double until;
	unsigned steps;

	p->started = false;
	json_decref(vm_board_call("mark", "{}"));
	trigger_mark(p);
	relay_set(p, true);
	for (until = vm_now_s() + VM_WITHIN_S; t->pulls < p->wanted || !p->started;) {
		if (vm_now_s() > until)
			fail_msg("operation %u does not come", p->wanted);
		uv_run(&p->loop, UV_RUN_NOWAIT);
		poll(NULL, 0, 1);
	}
	steps = trigger_count(p);
	relay_set(p, false);
	port_power_lost(p->env.console);
	return steps;
}

/*
 * Powers the DUT with the trigger armed. Operation 1 is an erase that tells no line, comes to no
 * breakpoint and is no write to the range watched. A breakpoint stands before what it counts:
 * operation wanted does not happen.
 */
static void power_on_armed(struct path *p, unsigned steps)
{
	struct outcome o;

	json_decref(vm_board_call("mark", "{}"));
	if (p->kind != BY_BREAKPOINT && p->kind != BY_WATCHPOINT) {
		trigger_mark(p);
		trigger_arm(p, p->kind == BY_EDGE    ? p->wanted
			       : p->kind == BY_TIMER ? steps
						     : p->wanted - 1);
		relay_set(p, true);
		return;
	}
	relay_set(p, true);
	/* it stands at its reset vector, and runs from there once the trigger is armed */
	p->probe->driver->probe->reset(p->probe, true, outcome_start(&p->loop, &o, OP_MS));
	assert_done(&p->loop, &o);
	outcome_finish(&o);
	json_decref(vm_board_call("mark", "{}"));
	trigger_mark(p);
	trigger_arm(p, p->wanted - 1);
}

/* Runs until the power is being taken. false: the kernel has merged edges, and the trigger said
 * that it has lost count. */
static bool run_until_fired(struct path *p)
{
	uv_update_time(&p->loop);
	uv_timer_start(&p->limit, path_late, OP_MS, 0);
	while (!p->fired && !p->lost && !p->late)
		uv_run(&p->loop, UV_RUN_ONCE);
	uv_timer_stop(&p->limit);
	if (p->late)
		fail_msg("operation %u: nothing came of it within %d ms", p->wanted, OP_MS);
	if (p->lost && !p->fired)
		take_power(p);
	assert_done(&p->loop, &p->off);
	outcome_finish(&p->off);
	return !p->lost;
}

/* Nothing is waited for any more; that a probe's DUT has no power meanwhile is its own affair. */
static void trigger_disarm(struct path *p)
{
	struct outcome o;

	p->trigger->driver->trigger->disarm(p->trigger, outcome_start(&p->loop, &o, OP_MS));
	outcome_wait(&p->loop, &o);
	outcome_finish(&o);
	p->probe->driver->probe->release(p->probe, outcome_start(&p->loop, &o, OP_MS));
	outcome_wait(&p->loop, &o);
	outcome_finish(&o);
}

static bool cut(struct path *p, unsigned steps, struct vm_landing *landing)
{
	bool counted;

	p->fired = p->lost = p->late = p->started = false;
	power_on_armed(p, steps);
	counted = run_until_fired(p);
	port_power_lost(p->env.console);
	*landing = vm_board_landing(&p->board, p->wanted);
	/* the line may be there before the edge is */
	if (p->kind == BY_CONSOLE)
		vm_board_came(&p->board, landing, p->told_ns);
	trigger_disarm(p);
	return counted;
}

/* --- many ------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print_distribution(const char *what, double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_value);
	printf("#   %-34s min %8.2f  p10 %8.2f  p50 %8.2f  p90 %8.2f  p99 %8.2f  max %8.2f\n", what,
		v[0], v[n / 10], v[n / 2], v[n * 9 / 10], v[n * 99 / 100], v[n - 1]);
}

static unsigned cuts_wanted(void)
{
	const char *text = getenv("VM_CUTS");
	unsigned long n = text ? strtoul(text, NULL, 10) : 0;

	return n && n <= 1000 ? (unsigned)n : 20;
}

static void measure(struct path *p, enum kind kind)
{
	unsigned n = cuts_wanted(), steps = 0, lost = 0;
	double errors[1000], whole[1000], inner[1000], way[1000];

	trigger_open(p, kind);
	for (unsigned i = 0; i < n;) {
		struct vm_landing l;

		p->wanted = 5 + i * 7 % 40;
		if (kind == BY_TIMER)
			steps = timer_calibrate(p);
		if (!cut(p, steps, &l)) {
			/* merged edges alone are the kernel's */
			assert_int_equal(kind, BY_EDGE);
			assert_true(++lost <= 10 * n);
			continue;
		}
		errors[i] = (double)(l.landed - l.wanted);
		whole[i] = l.whole_ms;
		inner[i] = l.inner_ms;
		way[i] = l.whole_ms - l.inner_ms;
		/* what is told of an operation cannot land before it, and all lands somewhere */
		if (kind == BY_EDGE || kind == BY_CONSOLE)
			assert_true(l.landed >= l.wanted);
		if (kind == BY_BREAKPOINT)
			assert_int_equal(l.landed, l.wanted - 1);
		if (kind == BY_WATCHPOINT)
			assert_int_equal(l.landed, l.wanted);
		i++;
	}
	printf("# landing by %s, %u cuts, one operation each %d ms (%u more lost count):\n",
		triggers[kind], n, STEP_MS, lost);
	print_distribution("error, operations", errors, n);
	if (kind == BY_EDGE || kind == BY_CONSOLE) {
		print_distribution("operation to power off, ms", whole, n);
		print_distribution("  of it in the guest (rig), ms", inner, n);
		print_distribution("  of it transport, ms", way, n);
	}
}

static void by_the_edge_of_a_pin(void **state)
{
	measure(*state, BY_EDGE);
}

static void by_a_line_of_the_console(void **state)
{
	measure(*state, BY_CONSOLE);
}

static void by_a_timer(void **state)
{
	measure(*state, BY_TIMER);
}

static void by_a_breakpoint(void **state)
{
	measure(*state, BY_BREAKPOINT);
}

static void by_a_watchpoint(void **state)
{
	measure(*state, BY_WATCHPOINT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, path_setup, path_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(by_the_edge_of_a_pin),
		TEST(by_a_line_of_the_console),
		TEST(by_a_timer),
		TEST(by_a_breakpoint),
		TEST(by_a_watchpoint),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests_name("vm_landing", tests, NULL, NULL);
}
