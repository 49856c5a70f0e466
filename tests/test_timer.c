/*
 * timer: where its steps begin and end, when it fires, and what it remembers. That it keeps the
 * contract of drivers is tests/test_drivers.c's.
 */
#include "driver_bench.h"
#include "rig/file.h"
#include "scratch.h"

#define WITHIN_MS 10000
#define STEP_NS UINT64_C(1000000)

struct bench {
	uv_loop_t loop;
	struct console_port *port;
	void *scratch;
	struct device *dev;
	struct outcome o;
	int fired, notes;
	json_t *trigger; /* the last one's fields */
};

static void event(void *arg, const char *name, json_t *fields)
{
	struct bench *b = arg;

	if (strcmp(name, "trigger") == 0) {
		b->fired++;
		json_decref(b->trigger);
		b->trigger = json_incref(fields);
	} else {
		assert_string_equal(name, "note");
		b->notes++;
	}
	json_decref(fields);
}

static struct device *create(struct bench *b, const char *text, struct err *e)
{
	const struct driver *driver = driver_find("timer");
	struct driver_env env = {.loop = &b->loop,
		.board = "b",
		.capability = "trigger",
		.console = b->port,
		.board_dir = ((struct scratch *)b->scratch)->dir,
		.event = event,
		.arg = b};
	json_t *options = options_of(driver, text);
	struct device *dev = driver->create(&env, options, e);

	json_decref(options);
	if (dev)
		dev->driver = driver;
	return dev;
}

static struct op *op(struct bench *b)
{
	outcome_finish(&b->o);
	return outcome_start(&b->loop, &b->o, WITHIN_MS);
}

/* Opens the device with other options. */
static void with(struct bench *b, const char *options)
{
	struct err e;

	if (b->dev)
		close_device(&b->loop, b->dev);
	b->dev = create(b, options, &e);
	if (!b->dev)
		fail_msg("%s", e.msg);
	b->dev->driver->open(b->dev, op(b));
	assert_done(&b->loop, &b->o);
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	uv_loop_init(&b->loop);
	scratch_setup(&b->scratch);
	b->port = port_create(&b->loop);
	*state = b;
	with(b, "{\"step_ms\": 1}");
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	outcome_finish(&b->o);
	if (b->dev)
		close_device(&b->loop, b->dev);
	port_destroy(b->port);
	close_loop(&b->loop);
	scratch_teardown(&b->scratch);
	json_decref(b->trigger);
	free(b);
	return 0;
}

#define OPS(b) ((b)->dev->driver->trigger)

static void mark(struct bench *b)
{
	OPS(b)->mark(b->dev, op(b));
	assert_done(&b->loop, &b->o);
}

static void arm(struct bench *b, const char *text)
{
	json_t *cut = json_loads(text, 0, NULL);

	assert_non_null(cut);
	OPS(b)->arm(b->dev, cut, op(b));
	json_decref(cut);
}

static void armed(struct bench *b, const char *text)
{
	arm(b, text);
	assert_done(&b->loop, &b->o);
}

static json_t *asked(struct bench *b, const char *field)
{
	OPS(b)->state(b->dev, op(b));
	assert_done(&b->loop, &b->o);
	return json_object_get(b->o.result, field);
}

static void say(struct bench *b, const char *line)
{
	port_tell(b->port, line, strlen(line));
}

static void pass(struct bench *b, unsigned count)
{
	uint64_t until = uv_hrtime() + count * STEP_NS;

	while (uv_hrtime() < until)
		uv_run(&b->loop, UV_RUN_NOWAIT);
}

static uint64_t number(const json_t *object, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(object, name));
}

static void fires_that_many_steps_after_the_mark(void **state)
{
	struct bench *b = *state;
	uint64_t before, after;

	armed(b, "{\"op\": 7, \"tear\": \"clean\"}");
	before = uv_hrtime();
	mark(b);
	after = uv_hrtime();
	while (!b->fired)
		uv_run(&b->loop, UV_RUN_ONCE);
	assert_int_equal(number(b->trigger, "op"), 7);
	assert_string_equal(json_string_value(json_object_get(b->trigger, "kind")), "time");
	assert_in_range(number(b->trigger, "t_ns"), before + 7 * STEP_NS, after + 7 * STEP_NS);
	assert_true(uv_hrtime() >= number(b->trigger, "t_ns"));
	assert_true(json_integer_value(asked(b, "operations")) >= 7);
	assert_int_equal(number(asked(b, "cut"), "op"), 7);
	assert_int_equal(json_integer_value(asked(b, "step_ns")), STEP_NS);
	pass(b, 10);
	assert_int_equal(b->fired, 1);
}

static void counts_until_the_power_is_gone(void **state)
{
	struct bench *b = *state;
	json_int_t seen;

	mark(b);
	pass(b, 3);
	port_power_lost(b->port);
	seen = json_integer_value(asked(b, "operations"));
	assert_true(seen >= 3);
	pass(b, 3);
	assert_int_equal(json_integer_value(asked(b, "operations")), seen);
}

static void the_start_line_begins_and_the_end_line_ends(void **state)
{
	struct bench *b = *state;
	json_int_t seen;
	uint64_t before;

	with(b, "{\"step_ms\": 1, \"start\": \"^swap (begins|starts)$\", \"end\": \"done\"}");
	mark(b);
	armed(b, "{\"op\": 2}");
	say(b, "swap is near");
	say(b, "done");
	pass(b, 4);
	assert_int_equal(json_integer_value(asked(b, "operations")), 0);
	assert_int_equal(b->fired, 0);
	before = uv_hrtime();
	say(b, "swap begins");
	while (!b->fired)
		uv_run(&b->loop, UV_RUN_ONCE);
	assert_true(number(b->trigger, "t_ns") >= before + 2 * STEP_NS);
	say(b, "swap begins"); /* that of the second page says nothing */
	say(b, "done");
	seen = json_integer_value(asked(b, "operations"));
	assert_true(seen >= 2);
	pass(b, 3);
	assert_int_equal(json_integer_value(asked(b, "operations")), seen);
}

static void what_is_armed_beyond_the_end_does_not_fire(void **state)
{
	struct bench *b = *state;

	with(b, "{\"step_ms\": 1, \"end\": \"done\"}");
	armed(b, "{\"op\": 500}");
	mark(b);
	say(b, "done");
	armed(b, "{\"op\": 600}");
	pass(b, 2);
	assert_int_equal(b->fired, 0);
	mark(b);
	while (!b->fired)
		uv_run(&b->loop, UV_RUN_ONCE);
	assert_int_equal(b->fired, 1);
}

static void disarm_and_making_safe_take_the_cut_back(void **state)
{
	struct bench *b = *state;

	armed(b, "{\"op\": 500}");
	mark(b);
	OPS(b)->disarm(b->dev, op(b));
	assert_done(&b->loop, &b->o);
	armed(b, "{\"op\": 501}");
	b->dev->driver->make_safe(b->dev, op(b));
	assert_done(&b->loop, &b->o);
	while (json_integer_value(asked(b, "operations")) < 502)
		uv_run(&b->loop, UV_RUN_NOWAIT);
	pass(b, 1);
	assert_int_equal(b->fired, 0);
}

static void refuses_what_it_cannot_do(void **state)
{
	struct bench *b = *state;

	arm(b, "{\"op\": 1, \"tear\": \"torn\", \"seed\": 7}");
	assert_failed(&b->loop, &b->o, ERR_UNSUPPORTED, "a torn cut is not for timer");
	arm(b, "{\"op\": 1000001}");
	assert_failed(&b->loop, &b->o, ERR_USAGE, "at most");
	mark(b);
	pass(b, 2);
	arm(b, "{\"op\": 1}");
	assert_failed(&b->loop, &b->o, ERR_USAGE, "step 1 is past already");
}

static void options_are_checked(void **state)
{
	struct bench *b = *state;
	struct err e;

	assert_null(create(b, "{\"step_ms\": 0}", &e));
	assert_int_equal(e.code, ERR_CONFIG);
	assert_non_null(strstr(e.msg, "step_ms"));
	assert_null(create(b, "{\"start\": \"(\"}", &e));
	assert_int_equal(e.code, ERR_CONFIG);
	assert_non_null(strstr(e.msg, "option start: "));
	assert_null(create(b, "{\"start\": \"x\", \"end\": \"(\"}", &e));
	assert_int_equal(e.code, ERR_CONFIG);
	assert_non_null(strstr(e.msg, "option end: "));
}

static char *traced(struct bench *b, uint64_t from)
{
	const char *path = scratch_path(b->scratch, "trace");
	char *text;
	size_t len;
	struct err e;

	OPS(b)->trace(b->dev, path, from, op(b));
	assert_done(&b->loop, &b->o);
	assert_return_code(file_read(path, 65536, &text, &len, &e), 0);
	return text;
}

static void a_trace_has_the_steps_that_went_by(void **state)
{
	struct bench *b = *state;
	char expected[65536], *at = expected, *text;
	uint64_t n;

	with(b, "{\"step_ms\": 2}");
	mark(b);
	pass(b, 9);
	port_power_lost(b->port); /* so that no more go by */
	n = number(b->o.result, "operations");
	text = traced(b, 1);
	n = number(b->o.result, "operations");
	assert_true(n >= 4 && n < 1000);
	for (unsigned i = 1; i <= n; i++)
		at += snprintf(at, 64, "%u time %u\n", i, i * 2000);
	assert_string_equal(text, expected);
	free(text);
	text = traced(b, n);
	assert_true(strtoull(text, NULL, 10) == n);
	assert_ptr_equal(strchr(text, '\n') + 1, text + strlen(text));
	free(text);
}

static void a_trace_of_nothing_says_what_to_do(void **state)
{
	struct bench *b = *state;
	const char *path = scratch_path(b->scratch, "trace");

	with(b, "{\"step_ms\": 60000}");
	mark(b);
	OPS(b)->trace(b->dev, path, 1, op(b));
	assert_failed(&b->loop, &b->o, ERR_BENCH, "a smaller step_ms");
	with(b, "{\"start\": \"swap begins\"}");
	mark(b);
	OPS(b)->trace(b->dev, path, 1, op(b));
	assert_failed(&b->loop, &b->o, ERR_BENCH, "has matched /swap begins/");
}

static void how_long_uncut_updates_took_is_remembered(void **state)
{
	struct bench *b = *state;
	json_t *jitter;
	char *text;

	assert_true(json_is_null(asked(b, "jitter_us")));
	b->dev->driver->check(b->dev, op(b));
	assert_done(&b->loop, &b->o);
	assert_non_null(
		strstr(json_string_value(json_array_get(json_object_get(b->o.result, "says"), 1)),
			"not known"));
	mark(b);
	pass(b, 3);
	port_power_lost(b->port);
	free(traced(b, 1));
	free(traced(b, 2)); /* is no other update */
	jitter = asked(b, "jitter_us");
	assert_int_equal(number(jitter, "traces"), 1);
	assert_true(number(jitter, "min") >= 3000);
	assert_int_equal(number(jitter, "min"), number(jitter, "max"));
	/* a cut one is not remembered */
	armed(b, "{\"op\": 50}");
	mark(b);
	while (!b->fired)
		uv_run(&b->loop, UV_RUN_ONCE);
	free(traced(b, 1));
	assert_int_equal(number(asked(b, "jitter_us"), "traces"), 1);
	/* those that are about as long count together, over leases */
	scratch_write(b->scratch, "timer.json", "[100,1000,5000,1100,1050,2000,1010]");
	with(b, "{}");
	jitter = asked(b, "jitter_us");
	text = json_dumps(jitter, JSON_COMPACT);
	assert_string_equal(text, "{\"traces\":4,\"min\":1000,\"median\":1050,\"max\":1100}");
	free(text);
	b->dev->driver->check(b->dev, op(b));
	assert_done(&b->loop, &b->o);
	assert_non_null(
		strstr(json_string_value(json_array_get(json_object_get(b->o.result, "says"), 1)),
			"4 updates like the last took 1000 to 1100 us, the median 1050"));
}

static void what_it_remembers_may_be_damaged(void **state)
{
	struct bench *b = *state;

	for (const char *const *text = (const char *const[]){"", "[", "{}", "[1,\"x\"]", "7", NULL};
		*text; text++) {
		scratch_write(b->scratch, "timer.json", *text);
		with(b, "{}");
		assert_true(json_is_null(asked(b, "jitter_us")));
	}
}

static void closed_while_it_writes_a_trace_the_trace_fails_once(void **state)
{
	struct bench *b = *state;

	mark(b);
	pass(b, 2);
	OPS(b)->trace(b->dev, scratch_path(b->scratch, "trace"), 1, op(b));
	close_device(&b->loop, b->dev);
	b->dev = NULL;
	assert_failed(&b->loop, &b->o, ERR_GONE, "closed");
}

#define claim(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		claim(fires_that_many_steps_after_the_mark),
		claim(counts_until_the_power_is_gone),
		claim(the_start_line_begins_and_the_end_line_ends),
		claim(what_is_armed_beyond_the_end_does_not_fire),
		claim(disarm_and_making_safe_take_the_cut_back),
		claim(refuses_what_it_cannot_do),
		claim(options_are_checked),
		claim(a_trace_has_the_steps_that_went_by),
		claim(a_trace_of_nothing_says_what_to_do),
		claim(how_long_uncut_updates_took_is_remembered),
		claim(what_it_remembers_may_be_damaged),
		claim(closed_while_it_writes_a_trace_the_trace_fails_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
