/*
 * probe-breakpoint and probe-watchpoint on a stand-in for the probe, that says when the DUT comes
 * to the place. What the real OpenOCD makes of it is in test_openocd_real.c.
 */
#include "driver_bench.h"
#include "rig/oplog.h"
#include "scratch.h"

#include <unistd.h>

struct bench {
	uv_loop_t loop;
	void *scratch;
	struct probe_port *port;
	struct driver_env env;
	struct device *dev;
	/* events */
	int fired, notes;
	json_t *trigger;
	char note[500];
};

static void came(void *arg, const char *name, json_t *fields)
{
	struct bench *b = arg;

	if (strcmp(name, "trigger") == 0) {
		b->fired++;
		json_decref(b->trigger);
		b->trigger = json_incref(fields);
	} else if (strcmp(name, "note") == 0) {
		b->notes++;
		snprintf(b->note, sizeof(b->note), "%s",
			json_string_value(json_object_get(fields, "text")));
	} else {
		fail_msg("event %s", name);
	}
	json_decref(fields);
}

static struct device *create(struct bench *b, const char *name, const char *changes, struct err *e)
{
	const struct driver *driver = driver_find(name);
	json_t *options = options_of(driver, changes);
	struct device *dev = driver->create(&b->env, options, e);

	json_decref(options);
	return dev;
}

static void use(struct bench *b, const char *name, const char *changes)
{
	struct outcome o;
	struct err e;

	if (b->dev)
		close_device(&b->loop, b->dev);
	b->dev = create(b, name, changes, &e);
	if (!b->dev)
		fail_msg("%s", e.msg);
	b->dev->driver->open(b->dev, outcome_start(&b->loop, &o, 1000));
	assert_done(&b->loop, &o);
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_int_equal(scratch_setup(&b->scratch), 0);
	uv_loop_init(&b->loop);
	b->port = probe_port_create();
	b->env = (struct driver_env){.loop = &b->loop,
		.board = "b",
		.board_dir = ((struct scratch *)b->scratch)->dir,
		.probe = b->port,
		.event = came,
		.arg = b};
	use(b, "probe-breakpoint", "{\"address\": 1328}");
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	close_device(&b->loop, b->dev);
	close_loop(&b->loop);
	probe_port_destroy(b->port);
	json_decref(b->trigger);
	scratch_teardown(&b->scratch);
	free(b);
	return 0;
}

static const struct trigger_ops *trigger(const struct bench *b)
{
	return b->dev->driver->trigger;
}

static void mark(struct bench *b)
{
	struct outcome o;

	trigger(b)->mark(b->dev, outcome_start(&b->loop, &o, 5000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
}

static void start_arm(struct bench *b, struct outcome *o, const char *cut)
{
	json_t *c = json_loads(cut, 0, NULL);

	trigger(b)->arm(b->dev, c, outcome_start(&b->loop, o, 5000));
	json_decref(c);
}

static void arm(struct bench *b, const char *cut)
{
	struct outcome o;

	start_arm(b, &o, cut);
	assert_done(&b->loop, &o);
}

static json_int_t operations(struct bench *b)
{
	struct outcome o;
	json_int_t n;

	trigger(b)->state(b->dev, outcome_start(&b->loop, &o, 5000));
	assert_done(&b->loop, &o);
	n = json_integer_value(json_object_get(o.result, "operations"));
	outcome_finish(&o);
	return n;
}

static json_int_t spec_number(const struct bench *b, const char *name)
{
	return json_integer_value(json_object_get(b->port->spec, name));
}

/* Has the trace written, and reads it as the rig does. */
static json_int_t read_trace(struct bench *b, uint64_t from, struct oplog *log)
{
	const char *path = scratch_path(b->scratch, "trace");
	struct outcome o;
	json_int_t n;
	struct err e;

	trigger(b)->trace(b->dev, path, from, outcome_start(&b->loop, &o, 5000));
	assert_done(&b->loop, &o);
	n = json_integer_value(json_object_get(o.result, "operations"));
	outcome_finish(&o);
	if (oplog_load_from(log, path, (uint32_t)from, &e))
		fail_msg("%s", e.msg);
	return n;
}

/* --- tests --- */

static void it_stops_at_the_armed_operation_and_says_where(void **state)
{
	struct bench *b = *state;

	use(b, "probe-breakpoint",
		"{\"address\": 1328, \"register\": \"r0\", \"from\": 4096, \"to\": 8192}");
	mark(b);
	arm(b, "{\"op\": 5, \"tear\": \"clean\", \"seed\": 1}");
	assert_int_equal(spec_number(b, "break"), 1328);
	assert_int_equal(spec_number(b, "count"), 5);
	assert_int_equal(spec_number(b, "from"), 4096);
	assert_int_equal(spec_number(b, "to"), 8192);
	assert_string_equal(json_string_value(json_object_get(b->port->spec, "reg")), "r0");
	probe_port_hit(b->port, 4, 4096);
	assert_int_equal(b->fired, 0);
	assert_int_equal(operations(b), 4);
	probe_port_hit(b->port, 1, 5000);
	assert_int_equal(b->fired, 1);
	assert_int_equal(json_integer_value(json_object_get(b->trigger, "op")), 5);
	assert_int_equal(json_integer_value(json_object_get(b->trigger, "address")), 5000);
	assert_string_equal(json_string_value(json_object_get(b->trigger, "kind")), "breakpoint");
	assert_string_equal(json_string_value(json_object_get(b->trigger, "tear")), "clean");
	assert_true(json_integer_value(json_object_get(b->trigger, "t_ns")) > 0);
	/* the DUT stands still until the power is gone: nobody may let go of it */
	assert_int_equal(b->port->released, 0);
	assert_int_equal(operations(b), 5);
}

static void the_update_begins_only_when_the_place_is_set(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->port->silent = true;
	start_arm(b, &o, "{\"op\": 1}");
	for (int i = 0; i < 20; i++)
		uv_run(&b->loop, UV_RUN_NOWAIT);
	assert_int_equal(o.done, 0);
	probe_log(b->port, "");
	assert_done(&b->loop, &o);
	b->port->silent = false;
}

static void a_mark_after_arming_keeps_the_cut(void **state)
{
	struct bench *b = *state;

	mark(b);
	arm(b, "{\"op\": 3}");
	assert_int_equal(b->port->runs, 2);
	/* nothing came yet: what runs is right */
	mark(b);
	assert_int_equal(b->port->runs, 2);
	probe_port_hit(b->port, 2, 0x100);
	mark(b);
	assert_int_equal(b->port->runs, 3);
	assert_int_equal(operations(b), 0);
	assert_int_equal(spec_number(b, "count"), 3);
	probe_port_hit(b->port, 2, 0x100);
	assert_int_equal(b->fired, 0);
	probe_port_hit(b->port, 1, 0x100);
	assert_int_equal(b->fired, 1);
}

static void armed_in_the_middle_it_counts_from_the_mark(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	mark(b);
	probe_port_hit(b->port, 3, 0x100);
	start_arm(b, &o, "{\"op\": 3}");
	assert_failed(&b->loop, &o, ERR_USAGE, "past already: 3");
	arm(b, "{\"op\": 5}");
	assert_int_equal(spec_number(b, "count"), 2);
	probe_port_hit(b->port, 2, 0x200);
	assert_int_equal(b->fired, 1);
	assert_int_equal(json_integer_value(json_object_get(b->trigger, "op")), 5);
	assert_int_equal(operations(b), 5);
}

static void what_comes_while_arming_is_found_out(void **state)
{
	struct bench *b = *state;
	struct outcome o;
	json_t *before;

	mark(b);
	before = json_incref(b->port->spec);
	b->port->silent = true;
	start_arm(b, &o, "{\"op\": 5}");
	/* the run before is given up, and comes to the place once more */
	json_decref(b->port->spec);
	b->port->spec = json_incref(before);
	probe_log(b->port, "1 breakpoint 0x00000100\n");
	json_decref(before);
	for (int i = 0; i < 2; i++)
		scratch_write(
			b->scratch, i ? "probe-breakpoint-0.log" : "probe-breakpoint-none.log", "");
	assert_failed(&b->loop, &o, ERR_BENCH, "while the cut was being armed");
	b->port->silent = false;
	assert_int_equal(b->fired, 0);
}

static void the_trace_tells_every_operation_and_lets_go_of_the_dut(void **state)
{
	struct bench *b = *state;
	struct oplog log;

	mark(b);
	assert_int_equal(spec_number(b, "count"), 0);
	probe_port_hit(b->port, 1500, 0x20000);
	assert_int_equal(read_trace(b, 1, &log), 1500);
	assert_int_equal(log.count, 1500);
	assert_int_equal(log.ops[0].kind, OPLOG_BREAKPOINT);
	assert_int_equal(log.ops[1499].address, 0x20000 + 4 * 1499);
	oplog_finish(&log);
	assert_null(b->port->run);
	assert_int_equal(b->port->released, 1);
	assert_int_equal(read_trace(b, 1400, &log), 1500);
	assert_int_equal(log.count, 101);
	oplog_finish(&log);
}

static void disarming_lets_go_of_the_dut(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	arm(b, "{\"op\": 5}");
	probe_port_hit(b->port, 4, 0x100);
	trigger(b)->disarm(b->dev, outcome_start(&b->loop, &o, 5000));
	assert_done(&b->loop, &o);
	assert_null(b->port->run);
	assert_int_equal(b->port->released, 1);
	assert_int_equal(b->fired, 0);
	assert_int_equal(operations(b), 4);
}

static void made_safe_it_stops_the_dut_no_more(void **state)
{
	struct bench *b = *state;
	struct outcome o, safe;

	arm(b, "{\"op\": 5}");
	b->dev->driver->make_safe(b->dev, outcome_start(&b->loop, &safe, 5000));
	assert_done(&b->loop, &safe);
	assert_null(b->port->run);
	b->port->silent = true;
	start_arm(b, &o, "{\"op\": 1}");
	b->dev->driver->make_safe(b->dev, outcome_start(&b->loop, &safe, 5000));
	assert_done(&b->loop, &safe);
	assert_failed(&b->loop, &o, ERR_CANCELLED, "made safe");
	b->port->silent = false;
	assert_null(b->port->run);
	assert_int_equal(b->fired, 0);
}

static void a_probe_that_fails_is_no_cut_that_was_not_reached(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	arm(b, "{\"op\": 5}");
	probe_port_hit(b->port, 2, 0x100);
	probe_port_fail(b->port, "the DUT does not answer any more");
	assert_int_equal(b->notes, 1);
	assert_non_null(strstr(b->note, "the armed cut will not fire: the DUT does not answer"));
	trigger(b)->state(b->dev, outcome_start(&b->loop, &o, 5000));
	assert_failed(&b->loop, &o, ERR_BENCH, "does not answer any more");
	trigger(b)->trace(b->dev, "/x", 1, outcome_start(&b->loop, &o, 5000));
	assert_failed(&b->loop, &o, ERR_BENCH, "does not answer any more");
	trigger(b)->disarm(b->dev, outcome_start(&b->loop, &o, 5000));
	assert_failed(&b->loop, &o, ERR_BENCH, "does not answer any more");
	/* until the next mark */
	mark(b);
	assert_int_equal(operations(b), 0);
	assert_int_equal(b->fired, 0);
}

static void without_tracing_only_an_armed_cut_holds_the_probe(void **state)
{
	struct bench *b = *state;
	struct outcome o;
	struct oplog log;

	use(b, "probe-watchpoint", "{\"address\": 1073866240, \"size\": 8, \"trace\": false}");
	mark(b);
	assert_int_equal(b->port->runs, 0);
	trigger(b)->trace(b->dev, "/x", 1, outcome_start(&b->loop, &o, 5000));
	assert_failed(&b->loop, &o, ERR_UNSUPPORTED, "trace = true");
	arm(b, "{\"op\": 2}");
	assert_int_equal(
		json_integer_value(json_array_get(json_object_get(b->port->spec, "watch"), 0)),
		1073866240);
	assert_int_equal(
		json_integer_value(json_array_get(json_object_get(b->port->spec, "watch"), 1)), 8);
	probe_port_hit(b->port, 2, 0x4001e504);
	assert_int_equal(b->fired, 1);
	assert_string_equal(json_string_value(json_object_get(b->trigger, "kind")), "watchpoint");
	assert_int_equal(read_trace(b, 1, &log), 2);
	oplog_finish(&log);
}

static void what_it_cannot_do_is_said(void **state)
{
	static const char *const bad[] = {
		"{\"op\": 3, \"tear\": \"torn\"}", "{\"op\": 0}", "{\"address\": 3}"};
	struct bench *b = *state;
	struct outcome o;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		start_arm(b, &o, bad[i]);
		assert_failed(&b->loop, &o, ERR_UNSUPPORTED, i ? "number" : "torn");
	}
	trigger(b)->trace(b->dev, "relative", 1, outcome_start(&b->loop, &o, 5000));
	assert_failed(&b->loop, &o, ERR_USAGE, "absolute");
}

static void options_are_checked(void **state)
{
	static const struct {
		const char *driver, *options, *why;
	} bad[] = {
		{"probe-breakpoint", "{\"address\": -1}", "32 bits"},
		{"probe-breakpoint", "{\"address\": 4294967296}", "32 bits"},
		{"probe-breakpoint", "{\"address\": 1, \"from\": 1}", "register"},
		{"probe-breakpoint", "{\"address\": 1, \"register\": \"r0; exit\"}", "r0"},
		{"probe-breakpoint", "{\"address\": 1, \"register\": \"\"}", "r0"},
		{"probe-breakpoint",
			"{\"address\": 1, \"register\": \"r0\", \"from\": 2, \"to\": 2}", "less"},
		{"probe-watchpoint", "{\"address\": 0, \"size\": 3}", "1, 2, 4"},
		{"probe-watchpoint", "{\"address\": 0, \"size\": 65536}", "1, 2, 4"},
		{"probe-watchpoint", "{\"address\": 2, \"size\": 4}", "multiple"},
	};
	struct bench *b = *state;
	struct err e;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_null(create(b, bad[i].driver, bad[i].options, &e));
		assert_int_equal(e.code, ERR_CONFIG);
		if (!strstr(e.msg, bad[i].why))
			fail_msg("%s: %s", bad[i].options, e.msg);
	}
	b->env.probe = NULL;
	assert_null(create(b, "probe-breakpoint", "{\"address\": 1}", &e));
	assert_int_equal(e.code, ERR_CONFIG);
	assert_non_null(strstr(e.msg, "probe ="));
	b->env.probe = b->port;
}

static void given_up_while_it_ends_the_next_operation_works(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	mark(b);
	b->port->silent = true;
	trigger(b)->trace(
		b->dev, scratch_path(b->scratch, "trace"), 1, outcome_start(&b->loop, &o, 50));
	assert_failed(&b->loop, &o, ERR_TIMEOUT, "");
	b->port->silent = false;
	mark(b);
}

static void the_check_says_what_it_counts(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->dev->driver->check(b->dev, outcome_start(&b->loop, &o, 1000));
	assert_done(&b->loop, &o);
	assert_non_null(strstr(
		json_string_value(json_array_get(json_object_get(o.result, "says"), 0)), "1328"));
	assert_int_equal(json_array_size(json_object_get(o.result, "mend")), 0);
	outcome_finish(&o);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(it_stops_at_the_armed_operation_and_says_where),
		T(the_update_begins_only_when_the_place_is_set),
		T(a_mark_after_arming_keeps_the_cut),
		T(armed_in_the_middle_it_counts_from_the_mark),
		T(what_comes_while_arming_is_found_out),
		T(the_trace_tells_every_operation_and_lets_go_of_the_dut),
		T(disarming_lets_go_of_the_dut),
		T(made_safe_it_stops_the_dut_no_more),
		T(a_probe_that_fails_is_no_cut_that_was_not_reached),
		T(without_tracing_only_an_armed_cut_holds_the_probe),
		T(what_it_cannot_do_is_said),
		T(options_are_checked),
		T(given_up_while_it_ends_the_next_operation_works),
		T(the_check_says_what_it_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
