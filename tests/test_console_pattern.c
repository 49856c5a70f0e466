/*
 * console-pattern: what it counts, when it fires, and what it says of it. That it keeps the
 * contract of drivers is tests/test_drivers.c's.
 */
#include "driver_bench.h"
#include "rig/file.h"
#include "scratch.h"

#include <unistd.h>

#define WITHIN_MS 10000

struct bench {
	uv_loop_t loop;
	struct console_port *port;
	void *scratch;
	struct device *dev;
	struct outcome o;
	int fired, notes;
	json_t *trigger; /* the last one's fields */
	char note[512];
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
		snprintf(b->note, sizeof(b->note), "%s",
			json_string_value(json_object_get(fields, "text")));
	}
	json_decref(fields);
}

static struct device *create(struct bench *b, const char *pattern, struct err *e)
{
	const struct driver *driver = driver_find("console-pattern");
	struct driver_env env = {.loop = &b->loop,
		.board = "b",
		.capability = "trigger",
		.console = b->port,
		.event = event,
		.arg = b};
	json_t *options = json_pack("{s:s}", "pattern", pattern);
	struct device *dev = driver->create(&env, options, e);

	json_decref(options);
	if (dev)
		dev->driver = driver;
	return dev;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct err e;

	uv_loop_init(&b->loop);
	scratch_setup(&b->scratch);
	b->port = port_create(&b->loop);
	b->dev = create(b, "^erased page (\\d+)", &e);
	assert_non_null(b->dev);
	b->dev->driver->open(b->dev, outcome_start(&b->loop, &b->o, WITHIN_MS));
	assert_done(&b->loop, &b->o);
	*state = b;
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

static struct op *op(struct bench *b)
{
	outcome_finish(&b->o);
	return outcome_start(&b->loop, &b->o, WITHIN_MS);
}

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

static json_int_t counted(struct bench *b)
{
	OPS(b)->state(b->dev, op(b));
	assert_done(&b->loop, &b->o);
	return json_integer_value(json_object_get(b->o.result, "operations"));
}

static void say(struct bench *b, const char *line)
{
	port_tell(b->port, line, strlen(line));
}

static void fires_within_the_call_that_brings_the_line(void **state)
{
	struct bench *b = *state;
	uint64_t before;

	mark(b);
	arm(b, "{\"op\": 2, \"tear\": \"clean\", \"seed\": 0}");
	assert_done(&b->loop, &b->o);
	say(b, "erased page 1");
	say(b, "wrote page 1");
	say(b, "not erased page 1");
	assert_int_equal(b->fired, 0);
	before = uv_hrtime();
	say(b, "erased page 2\x01");
	assert_int_equal(b->fired, 1);
	assert_int_equal(json_integer_value(json_object_get(b->trigger, "op")), 2);
	assert_string_equal(json_string_value(json_object_get(b->trigger, "kind")), "line");
	assert_string_equal(
		json_string_value(json_object_get(b->trigger, "line")), "erased page 2\\x01");
	assert_true((uint64_t)json_integer_value(json_object_get(b->trigger, "t_ns")) >= before);
	assert_null(json_object_get(b->trigger, "cut")); /* the power is the core's to take */
}

static void counts_on_until_the_power_is_gone_and_keeps_that(void **state)
{
	struct bench *b = *state;

	mark(b);
	arm(b, "{\"op\": 1}");
	assert_done(&b->loop, &b->o);
	say(b, "erased page 1");
	say(b, "erased page 2");
	say(b, "erased page 3");
	port_power_lost(b->port);
	assert_int_equal(b->fired, 1);
	assert_int_equal(counted(b), 3);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(b->o.result, "cut"), "op")), 1);
	mark(b);
	assert_int_equal(counted(b), 0);
	assert_true(json_is_null(json_object_get(b->o.result, "cut")));
}

static void an_armed_cut_stays_over_a_mark_and_goes_with_disarm_and_making_safe(void **state)
{
	struct bench *b = *state;

	arm(b, "{\"op\": 2}");
	assert_done(&b->loop, &b->o);
	say(b, "erased page 1");
	mark(b);
	say(b, "erased page 1");
	assert_int_equal(b->fired, 0);
	say(b, "erased page 2");
	assert_int_equal(b->fired, 1);
	arm(b, "{\"op\": 3}");
	assert_done(&b->loop, &b->o);
	OPS(b)->disarm(b->dev, op(b));
	assert_done(&b->loop, &b->o);
	say(b, "erased page 3");
	arm(b, "{\"op\": 4}");
	assert_done(&b->loop, &b->o);
	b->dev->driver->make_safe(b->dev, op(b));
	assert_done(&b->loop, &b->o);
	say(b, "erased page 4");
	assert_int_equal(b->fired, 1);
}

static void refuses_what_it_cannot_do(void **state)
{
	struct bench *b = *state;

	mark(b);
	arm(b, "{\"op\": 1, \"tear\": \"torn\", \"seed\": 7}");
	assert_failed(&b->loop, &b->o, ERR_UNSUPPORTED, "a torn cut is not for console-pattern");
	arm(b, "{\"address\": 4096}");
	assert_failed(&b->loop, &b->o, ERR_UNSUPPORTED, "at a line by its number");
	say(b, "erased page 1");
	arm(b, "{\"op\": 1}");
	assert_failed(&b->loop, &b->o, ERR_USAGE, "line 1 is past already");
}

static void traced(struct bench *b, uint64_t from, const char *expected)
{
	const char *path = scratch_path(b->scratch, "trace");
	char *text;
	size_t len;
	struct err e;

	OPS(b)->trace(b->dev, path, from, op(b));
	assert_done(&b->loop, &b->o);
	assert_return_code(file_read(path, 65536, &text, &len, &e), 0);
	assert_string_equal(text, expected);
	free(text);
}

static void a_trace_has_the_lines(void **state)
{
	struct bench *b = *state;

	mark(b);
	say(b, "erased page 1");
	say(b, "erased page 2\xff");
	say(b, "other");
	say(b, "erased page 3");
	traced(b, 1, "1 line erased page 1\n2 line erased page 2\\xff\n3 line erased page 3\n");
	assert_int_equal(json_integer_value(json_object_get(b->o.result, "operations")), 3);
	traced(b, 3, "3 line erased page 3\n");
	traced(b, 4, "");
	OPS(b)->trace(b->dev, "relative", 1, op(b));
	assert_failed(&b->loop, &b->o, ERR_USAGE, "absolute");
	OPS(b)->trace(b->dev, scratch_path(b->scratch, "no/such/trace"), 1, op(b));
	assert_failed(&b->loop, &b->o, ERR_IO, "no/such/trace");
	mark(b);
	OPS(b)->trace(b->dev, scratch_path(b->scratch, "trace"), 1, op(b));
	assert_failed(&b->loop, &b->o, ERR_BENCH, "has matched /^erased page (\\d+)/");
}

static void closed_while_it_writes_a_trace_the_trace_fails_once(void **state)
{
	struct bench *b = *state;

	mark(b);
	say(b, "erased page 1");
	OPS(b)->trace(b->dev, scratch_path(b->scratch, "trace"), 1, op(b));
	close_device(&b->loop, b->dev);
	b->dev = NULL;
	assert_failed(&b->loop, &b->o, ERR_GONE, "closed");
}

static void many_lines_are_kept_and_too_many_are_told(void **state)
{
	struct bench *b = *state;
	char line[4001] = "erased page 1 ";

	memset(line + 14, 'x', sizeof(line) - 15);
	line[4000] = '\0';
	mark(b);
	for (int i = 0; i < 2000; i++)
		say(b, line);
	assert_int_equal(counted(b), 2000);
	arm(b, "{\"op\": 100000}");
	assert_done(&b->loop, &b->o);
	for (int i = 0; i < 4000; i++)
		say(b, line);
	assert_int_equal(b->notes, 1);
	assert_non_null(strstr(b->note, "the armed cut will not fire"));
	OPS(b)->state(b->dev, op(b));
	assert_failed(&b->loop, &b->o, ERR_BENCH, "more than can be kept");
	mark(b);
	assert_int_equal(counted(b), 0);
}

static void a_pattern_that_is_none_is_refused_with_its_place(void **state)
{
	struct bench *b = *state;
	struct err e;

	assert_null(create(b, "page (", &e));
	assert_int_equal(e.code, ERR_CONFIG);
	assert_non_null(strstr(e.msg, "option pattern: "));
}

static void a_pattern_that_backtracks_beyond_measure_is_told(void **state)
{
	struct bench *b = *state;
	char line[2001];
	struct err e;

	close_device(&b->loop, b->dev);
	b->dev = create(b, "^(a+)+$", &e);
	assert_non_null(b->dev);
	b->dev->driver->open(b->dev, op(b));
	assert_done(&b->loop, &b->o);
	mark(b);
	memset(line, 'a', sizeof(line) - 1);
	line[1999] = 'b';
	line[2000] = '\0';
	say(b, line);
	OPS(b)->state(b->dev, op(b));
	assert_failed(&b->loop, &b->o, ERR_BENCH, "");
}

static void its_check_says_what_it_has_seen(void **state)
{
	struct bench *b = *state;

	mark(b);
	say(b, "erased page 1");
	b->dev->driver->check(b->dev, op(b));
	assert_done(&b->loop, &b->o);
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(b->o.result, "says"), 0)),
		"1 console lines match /^erased page (\\d+)/ since the mark");
	assert_int_equal(json_array_size(json_object_get(b->o.result, "mend")), 0);
}

#define claim(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		claim(fires_within_the_call_that_brings_the_line),
		claim(counts_on_until_the_power_is_gone_and_keeps_that),
		claim(an_armed_cut_stays_over_a_mark_and_goes_with_disarm_and_making_safe),
		claim(refuses_what_it_cannot_do),
		claim(a_trace_has_the_lines),
		claim(closed_while_it_writes_a_trace_the_trace_fails_once),
		claim(many_lines_are_kept_and_too_many_are_told),
		claim(a_pattern_that_is_none_is_refused_with_its_place),
		claim(a_pattern_that_backtracks_beyond_measure_is_told),
		claim(its_check_says_what_it_has_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
