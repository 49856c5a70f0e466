/*
 * command: what is particular to running somebody's programs.
 */
#include "contracts/command.h"
#include "drivers/program.h"

#include <errno.h>

struct bench {
	struct driver_env env;
	struct events events;
	uv_loop_t loop;
	void *scratch;
	json_t *options;
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	uv_loop_init(&b->loop);
	b->env = (struct driver_env){.loop = &b->loop,
		.board = "b",
		.capability = "power",
		.event = event_came,
		.arg = &b->events};
	assert_int_equal(scratch_setup(&b->scratch), 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	close_loop(&b->loop);
	scratch_teardown(&b->scratch);
	json_decref(b->options);
	free(b);
	return 0;
}

static const char *file(struct bench *b, const char *name)
{
	return scratch_path(b->scratch, name);
}

/* A line for the shell with $d as the scratch folder. */
static json_t *line(struct bench *b, const char *text)
{
	return json_sprintf("d=%s; %s", ((struct scratch *)b->scratch)->dir, text);
}

/* A device whose programs are lines for the shell; get may be NULL. */
static struct device *shell_device(
	struct bench *b, const char *on, const char *off, const char *get, const char *more)
{
	const struct driver *driver = driver_find("command");
	struct device *dev;
	struct err e;

	json_decref(b->options);
	b->options = options_of(driver, more);
	json_object_set_new(b->options, "shell", json_true());
	json_object_set_new(b->options, "on", line(b, on));
	json_object_set_new(b->options, "off", line(b, off));
	if (get)
		json_object_set_new(b->options, "get", line(b, get));
	dev = driver->create(&b->env, b->options, &e);
	if (!dev)
		fail_msg("create: %s", e.msg);
	return dev;
}

static void refused(struct bench *b, const char *options, const char *text)
{
	const struct driver *driver = driver_find("command");
	json_t *given = options_of(driver, options);
	struct err e;

	assert_null(driver->create(&b->env, given, &e));
	assert_int_equal(e.code, ERR_CONFIG);
	if (!strstr(e.msg, text))
		fail_msg("expected \"%s\" in: %s", text, e.msg);
	json_decref(given);
}

static void options_that_cannot_work_are_refused(void **state)
{
	refused(*state, "{\"on\": \"a\", \"off\": \" \"}", "off: \" \" names no program");
	refused(*state, "{\"on\": \"a 'b\", \"off\": \"a\"}", "a quote is not closed");
	refused(*state, "{\"on\": \"./a\", \"off\": \"a\"}", "give the whole path");
	refused(*state, "{\"on\": \"a\", \"off\": \"a\", \"timeout_ms\": 1}", "timeout_ms");
	refused(*state, "{\"on\": \"a\", \"off\": \"a\", \"get_measures\": true}", "needs get");
}

static void words_are_cut_as_the_shell_does(void **state)
{
	static const char *const expected[] = {"a b", "c", "", "d\"e", "f g", "'"};
	struct err e;
	char **words = program_words(" 'a b'  c '' d\\\"e f\\ g \"'\" ", &e);
	size_t n = 0;

	(void)state;
	assert_non_null(words);
	for (; words[n]; n++)
		assert_string_equal(words[n], expected[n]);
	assert_int_equal(n, sizeof(expected) / sizeof(*expected));
	program_words_free(words);
}

static void set_is_refused_with(
	struct bench *b, const char *on, const char *get, const char *more, const char *text)
{
	struct device *dev = shell_device(b, on, "true", get, more);
	struct outcome o;

	dev->driver->power->set(dev, true, outcome_start(&b->loop, &o, 20000));
	assert_failed(&b->loop, &o, ERR_BENCH, text);
	close_device(&b->loop, dev);
}

static void a_program_that_fails_is_quoted(void **state)
{
	struct bench *b = *state;

	set_is_refused_with(b, "echo first >&2; printf 'no relay\\n\\n' >&2; exit 3", NULL, "{}",
		"on: /bin/sh ended with status 3: no relay");
	set_is_refused_with(b, "echo 'said here'; exit 4", NULL, "{}", "status 4: said here");
	set_is_refused_with(b, "printf 'tab\\there \\377\\033[1m' >&2; exit 1", NULL, "{}",
		"status 1: tab\there ??[1m");
	set_is_refused_with(b, "exit 5", NULL, "{}", "ended with status 5");
	set_is_refused_with(b, "kill -SEGV $$", NULL, "{}", "ended by signal 11");
}

static void what_get_says_must_be_as_wanted(void **state)
{
	struct bench *b = *state;
	const char *measured = "{\"get_measures\": true}";

	set_is_refused_with(
		b, "true", "echo off", measured, "set on: read-back by /bin/sh says off");
	set_is_refused_with(b, "true", "exit 1", measured, "says off");
	set_is_refused_with(b, "true", "echo offline", measured, "printed \"offline\", neither");
	set_is_refused_with(b, "true", "echo on fire", measured, "printed \"on fire\", neither");
	set_is_refused_with(b, "true", "echo oops >&2; exit 1", measured, "status 1: oops");
	set_is_refused_with(b, "true", "exit 2", measured, "get: /bin/sh ended with status 2");
}

static void set_says(struct bench *b, const char *get, const char *more, const char *verified)
{
	struct device *dev = shell_device(b, "true", "true", get, more);
	struct outcome o;

	dev->driver->power->set(dev, true, outcome_start(&b->loop, &o, 20000));
	assert_done(&b->loop, &o);
	assert_string_equal(json_string_value(json_object_get(o.result, "verified")), verified);
	outcome_finish(&o);
	close_device(&b->loop, dev);
}

static void only_what_is_measured_is_called_read_back(void **state)
{
	set_says(*state, NULL, "{}", "none");
	set_says(*state, "echo off", "{}", "none");
	set_says(*state, "true", "{\"get_measures\": true}", "read-back");
	set_says(*state, "echo 'state:'; echo ' ON '", "{\"get_measures\": true}", "read-back");
}

static void without_get_it_does_not_know(void **state)
{
	struct bench *b = *state;
	struct device *dev = shell_device(b, "true", "true", NULL, "{}");
	struct outcome o;

	dev->driver->power->get(dev, outcome_start(&b->loop, &o, 20000));
	assert_failed(&b->loop, &o, ERR_UNSUPPORTED, "get = ");
	dev->driver->check(dev, outcome_start(&b->loop, &o, 20000));
	assert_done(&b->loop, &o);
	assert_int_equal(json_array_size(json_object_get(o.result, "mend")), 1);
	outcome_finish(&o);
	close_device(&b->loop, dev);
}

static void a_check_asks_get(void **state)
{
	struct bench *b = *state;
	struct device *dev = shell_device(b, "exit 9", "exit 9", "echo on", "{}");
	struct outcome o;

	dev->driver->check(dev, outcome_start(&b->loop, &o, 20000));
	assert_done(&b->loop, &o);
	assert_string_equal(json_string_value(json_array_get(json_object_get(o.result, "says"), 0)),
		"the power is on, says /bin/sh");
	outcome_finish(&o);
	dev->driver->check(dev, outcome_start(&b->loop, &o, 20000));
	contract_cancel(&o);
	close_device(&b->loop, dev);
}

/* Runs the loop until the file is there. */
static void wait_for_file(struct bench *b, const char *name)
{
	while (access(file(b, name), F_OK) != 0) {
		uv_run(&b->loop, UV_RUN_NOWAIT);
		poll(NULL, 0, 1);
	}
}

static pid_t pid_in(struct bench *b, const char *name)
{
	char text[32] = "";
	FILE *f = fopen(file(b, name), "r");

	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	return (pid_t)strtol(text, NULL, 10);
}

/* Whether that process ends: it does not run, or waits to be reaped by somebody else. */
static void assert_ends(pid_t pid)
{
	char path[64], text[256];

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	for (;;) {
		FILE *f = fopen(path, "r");
		const char *state = NULL;

		if (f && fgets(text, sizeof(text), f))
			state = strrchr(text, ')');
		if (f)
			fclose(f);
		if (!state || state[2] == 'Z' || state[2] == 'X')
			return;
		poll(NULL, 0, 1);
	}
}

static const char hangs[] = "sleep 1000 & echo $! >$d/child.new; mv $d/child.new $d/child; wait";

static void past_its_time_it_is_killed_with_what_it_started(void **state)
{
	struct bench *b = *state;

	set_is_refused_with(b, hangs, NULL, "{\"timeout_ms\": 700}",
		"had not ended after 700 ms (timeout_ms) and was killed");
	assert_ends(pid_in(b, "child"));
}

static void cancelled_it_is_killed_with_what_it_started(void **state)
{
	struct bench *b = *state;
	struct device *dev = shell_device(b, hangs, "true", NULL, "{}");
	struct outcome o;

	dev->driver->power->set(dev, true, outcome_start(&b->loop, &o, 20000));
	wait_for_file(b, "child");
	contract_cancel(&o);
	assert_ends(pid_in(b, "child"));
	close_device(&b->loop, dev);
}

static void closed_it_is_killed_with_what_it_started(void **state)
{
	struct bench *b = *state;
	struct device *dev = shell_device(b, hangs, "true", NULL, "{}");
	struct outcome o;

	dev->driver->power->set(dev, true, outcome_start(&b->loop, &o, 20000));
	wait_for_file(b, "child");
	close_device(&b->loop, dev);
	assert_int_equal(o.e.code, ERR_GONE);
	assert_ends(pid_in(b, "child"));
}

static void switching_puts_an_end_to_what_runs(void **state)
{
	struct bench *b = *state;
	struct device *dev = shell_device(b,
		"echo $$ >$d/shell.new; mv $d/shell.new $d/shell; "
		"sleep 1000; true",
		"kill -0 $(cat $d/shell) && exit 7; true", NULL, "{}");
	struct outcome on, off;

	dev->driver->power->set(dev, true, outcome_start(&b->loop, &on, 20000));
	wait_for_file(b, "shell");
	dev->driver->power->set(dev, false, outcome_start(&b->loop, &off, 20000));
	assert_int_equal(on.done, 1);
	assert_int_equal(on.e.code, ERR_CANCELLED);
	assert_done(&b->loop, &off); /* which found the first program ended, and reaped */
	outcome_finish(&off);
	close_device(&b->loop, dev);
}

static void who_keeps_its_output_open_is_not_waited_for(void **state)
{
	struct bench *b = *state;
	struct device *dev = shell_device(b, "sleep 1000 & echo $! >$d/child", "true", NULL, "{}");
	struct outcome o;

	dev->driver->power->set(dev, true, outcome_start(&b->loop, &o, 20000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	/* a program may leave a helper behind */
	assert_return_code(kill(pid_in(b, "child"), SIGKILL), errno);
	close_device(&b->loop, dev);
}

static void much_output_does_not_stop_it(void **state)
{
	struct bench *b = *state;

	set_is_refused_with(b,
		"yes 0123456789 | head -c 1000000; yes | head -c 3000 | tr -d '\\n' >&2; exit 6",
		NULL, "{}", "ended with status 6: yyyy");
}

static void it_may_open_its_standard_error_by_name(void **state)
{
	set_is_refused_with(
		*state, "echo by name >/dev/stderr; exit 8", NULL, "{}", "status 8: by name");
}

static void without_a_shell_nothing_is_expanded(void **state)
{
	struct bench *b = *state;
	const struct driver *driver = driver_find("command");
	struct device *dev;
	struct outcome o;
	struct err e;

	b->options = options_of(driver, "{\"on\": \"ls '$HOME;*'\", \"off\": \"true\"}");
	dev = driver->create(&b->env, b->options, &e);
	assert_non_null(dev);
	driver->open(dev, outcome_start(&b->loop, &o, 20000));
	assert_done(&b->loop, &o);
	driver->power->set(dev, true, outcome_start(&b->loop, &o, 20000));
	assert_failed(&b->loop, &o, ERR_BENCH, "$HOME;*");
	close_device(&b->loop, dev);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(options_that_cannot_work_are_refused),
		TEST(words_are_cut_as_the_shell_does),
		TEST(a_program_that_fails_is_quoted),
		TEST(what_get_says_must_be_as_wanted),
		TEST(only_what_is_measured_is_called_read_back),
		TEST(without_get_it_does_not_know),
		TEST(a_check_asks_get),
		TEST(past_its_time_it_is_killed_with_what_it_started),
		TEST(cancelled_it_is_killed_with_what_it_started),
		TEST(closed_it_is_killed_with_what_it_started),
		TEST(switching_puts_an_end_to_what_runs),
		TEST(who_keeps_its_output_open_is_not_waited_for),
		TEST(much_output_does_not_stop_it),
		TEST(it_may_open_its_standard_error_by_name),
		TEST(without_a_shell_nothing_is_expanded),
	};

	(void)contract_command; /* under test in test_drivers.c */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
