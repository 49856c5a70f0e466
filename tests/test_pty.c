/*
 * pty: what is particular to terminals that are gone when their other end is.
 */
#include "contracts/pty.h"

#include <poll.h>
#include <termios.h>

struct bench {
	struct driver_env env;
	struct events events;
	uv_loop_t loop;
	struct pty_bench *pty;
	json_t *options;
	char in[200000];
	size_t in_len;
};

/* arg is that of event_came(), which stands where a bench has its events */
static void took(void *arg, const char *data, size_t len)
{
	struct bench *b = (struct bench *)((char *)arg - offsetof(struct bench, events));

	assert_true(b->in_len + len <= sizeof(b->in));
	memcpy(b->in + b->in_len, data, len);
	b->in_len += len;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	uv_loop_init(&b->loop);
	b->env = (struct driver_env){
		.loop = &b->loop, .board = "b", .event = event_came, .arg = &b->events};
	b->pty = pty_setup(&b->env);
	b->env.console_in = took;
	b->options = options_of(driver_find("pty"), "{}");
	pty_adapt(b->pty, b->options);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	close_loop(&b->loop);
	pty_teardown(b->pty);
	json_decref(b->options);
	free(b);
	return 0;
}

static struct device *create(struct bench *b)
{
	struct err e;
	struct device *dev = driver_find("pty")->create(&b->env, b->options, &e);

	if (!dev)
		fail_msg("create: %s", e.msg);
	return dev;
}

static struct device *open_pty(struct bench *b)
{
	struct device *dev = create(b);
	struct outcome o;

	dev->driver->open(dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	return dev;
}

static void open_is_refused_with(struct bench *b, const char *text)
{
	struct device *dev = create(b);
	struct outcome o;

	dev->driver->open(dev, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_BENCH, text);
	close_device(&b->loop, dev);
}

static void bytes_are_as_they_are_both_ways(void **state)
{
	struct bench *b = *state;
	struct device *dev = open_pty(b);
	char all[256], back[256];
	struct outcome o;

	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	dev->driver->console->write(dev, all, 256, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	assert_int_equal(read(b->pty->master, back, 256), 256);
	assert_memory_equal(back, all, 256);
	assert_int_equal(write(b->pty->master, all, 256), 256);
	while (b->in_len < 256)
		uv_run(&b->loop, UV_RUN_ONCE);
	assert_memory_equal(b->in, all, 256);
	close_device(&b->loop, dev);
}

static void its_loss_is_told_once_and_says_why(void **state)
{
	struct bench *b = *state;
	struct device *dev = open_pty(b);

	/* what was not read when the other end is closed is thrown away by the kernel */
	assert_int_equal(write(b->pty->master, "last words", 10), 10);
	while (b->in_len < 10)
		uv_run(&b->loop, UV_RUN_ONCE);
	pty_unplug(b->pty);
	while (!b->events.lost)
		uv_run(&b->loop, UV_RUN_ONCE);
	for (int i = 0; i < 10; i++)
		uv_run(&b->loop, UV_RUN_NOWAIT);
	assert_int_equal(b->events.lost, 1);
	assert_non_null(strstr(b->events.text, "its other end was closed"));
	close_device(&b->loop, dev);
}

static void drain_delivers_what_has_arrived(void **state)
{
	struct bench *b = *state;
	struct device *dev = open_pty(b);

	assert_int_equal(write(b->pty->master, "arrived", 7), 7);
	/* the kernel hands it over in a thread of its own */
	while (b->in_len < 7)
		dev->driver->console->drain(dev);
	assert_memory_equal(b->in, "arrived", 7);
	close_device(&b->loop, dev);
}

static void much_is_sent_in_order_while_it_is_read(void **state)
{
	struct bench *b = *state;
	struct device *dev = open_pty(b);
	const size_t size = sizeof(b->in);
	char *much = malloc(size), *back = malloc(size);
	struct outcome first, second;
	size_t got = 0;

	for (size_t i = 0; i < size; i++)
		much[i] = (char)(i * 7 + i / 256);
	dev->driver->console->write(dev, much, size - 5, outcome_start(&b->loop, &first, 60000));
	dev->driver->console->write(
		dev, much + size - 5, 5, outcome_start(&b->loop, &second, 60000));
	while (got < size) {
		ssize_t n = read(b->pty->master, back + got, size - got);

		got += n > 0 ? (size_t)n : 0;
		uv_run(&b->loop, UV_RUN_NOWAIT);
	}
	assert_memory_equal(back, much, size);
	assert_done(&b->loop, &first);
	assert_done(&b->loop, &second);
	free(much);
	free(back);
	close_device(&b->loop, dev);
}

static void a_write_that_is_given_up_is_not_sent_later(void **state)
{
	struct bench *b = *state;
	struct device *dev = open_pty(b);
	struct outcome stuck, next;
	size_t got;

	pty_start_stuck(b->pty, dev, outcome_start(&b->loop, &stuck, 60000));
	dev->driver->console->write(dev, "next", 4, outcome_start(&b->loop, &next, 60000));
	contract_cancel(&stuck);
	got = pty_read_all(b->pty);
	while (!next.done) {
		uv_run(&b->loop, UV_RUN_NOWAIT);
		got += pty_read_all(b->pty);
	}
	assert_done(&b->loop, &next);
	assert_true(got < (1 << 20));
	close_device(&b->loop, dev);
}

static void made_anew_it_is_taken_up_again(void **state)
{
	struct bench *b = *state;
	struct device *dev = open_pty(b);
	struct outcome o;

	for (int i = 1; i <= 3; i++) {
		pty_unplug(b->pty);
		while (b->events.lost < i)
			uv_run(&b->loop, UV_RUN_ONCE);
		dev->driver->console->write(dev, "x", 1, outcome_start(&b->loop, &o, 10000));
		assert_failed(&b->loop, &o, ERR_BENCH, "its other end was closed");
		pty_plug(b->pty);
		while (b->events.back < i)
			uv_run(&b->loop, UV_RUN_ONCE);
		assert_non_null(strstr(b->events.text, b->pty->name));
		b->in_len = 0;
		assert_int_equal(write(b->pty->master, "hello", 5), 5);
		while (b->in_len < 5)
			uv_run(&b->loop, UV_RUN_ONCE);
		dev->driver->console->write(dev, "x", 1, outcome_start(&b->loop, &o, 10000));
		assert_done(&b->loop, &o);
	}
	close_device(&b->loop, dev);
}

static void its_folder_may_go_too(void **state)
{
	struct bench *b = *state;
	struct scratch *s = b->pty->scratch;
	char path[600];
	struct device *dev;

	assert_return_code(mkdir(scratch_path(s, "run"), 0755), 0);
	assert_return_code(mkdir(scratch_path(s, "run/sim"), 0755), 0);
	snprintf(path, sizeof(path), "%s", scratch_path(s, "run/sim/console"));
	assert_return_code(rename(scratch_path(s, "console"), path), 0);
	json_object_set_new(b->options, "path", json_string(path));
	dev = open_pty(b);
	unlink(path);
	rmdir(scratch_path(s, "run/sim"));
	rmdir(scratch_path(s, "run"));
	pty_unplug(b->pty);
	while (!b->events.lost)
		uv_run(&b->loop, UV_RUN_ONCE);
	assert_return_code(mkdir(scratch_path(s, "run"), 0755), 0);
	uv_run(&b->loop, UV_RUN_ONCE);
	assert_return_code(mkdir(scratch_path(s, "run/sim"), 0755), 0);
	uv_run(&b->loop, UV_RUN_ONCE);
	pty_plug(b->pty);
	assert_return_code(rename(scratch_path(s, "console"), path), 0);
	while (!b->events.back)
		uv_run(&b->loop, UV_RUN_ONCE);
	close_device(&b->loop, dev);
}

static void a_terminal_that_got_its_number_is_left_alone(void **state)
{
	struct bench *b = *state;
	struct device *dev = open_pty(b);
	char number[64];
	int masters[32], n = 0;
	bool taken = false;

	snprintf(number, sizeof(number), "%s", b->pty->name);
	pty_unplug(b->pty);
	while (!b->events.lost)
		uv_run(&b->loop, UV_RUN_ONCE);
	/* the link is as it was, and what it leads to is somebody else's now */
	while (!taken && n < 32) {
		char name[64];

		masters[n] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
		assert_return_code(unlockpt(masters[n]), 0);
		assert_return_code(ptsname_r(masters[n++], name, sizeof(name)), 0);
		taken = strcmp(name, number) == 0;
	}
	scratch_write(b->pty->scratch, "other", "a file that is none of its business");
	for (int i = 0; i < 20; i++) {
		uv_run(&b->loop, UV_RUN_NOWAIT);
		poll(NULL, 0, 1);
	}
	assert_int_equal(b->events.back, 0);
	pty_plug(b->pty);
	while (!b->events.back)
		uv_run(&b->loop, UV_RUN_ONCE);
	while (n)
		close(masters[--n]);
	close_device(&b->loop, dev);
}

static void by_its_number_it_is_not_waited_for(void **state)
{
	struct bench *b = *state;
	struct device *dev;
	struct outcome o;

	json_object_set_new(b->options, "path", json_string(b->pty->name));
	dev = open_pty(b);
	dev->driver->check(dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	assert_int_equal(json_array_size(json_object_get(o.result, "mend")), 1);
	outcome_finish(&o);
	pty_unplug(b->pty);
	while (!b->events.lost)
		uv_run(&b->loop, UV_RUN_ONCE);
	assert_non_null(strstr(b->events.text, "give a link to it"));
	dev->driver->check(dev, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_BENCH, "give a link to it");
	close_device(&b->loop, dev);
}

static void two_on_one_terminal_are_refused(void **state)
{
	struct bench *b = *state;
	struct device *dev = open_pty(b);

	open_is_refused_with(b, "is in use");
	close_device(&b->loop, dev);
	dev = open_pty(b);
	close_device(&b->loop, dev);
}

static void what_is_no_terminal_is_refused(void **state)
{
	struct bench *b = *state;
	struct err e;

	pty_break_open(b->pty, 2, NULL);
	open_is_refused_with(b, "is no terminal");
	pty_break_open(b->pty, 0, NULL);
	open_is_refused_with(b, "is the program that makes it running?");
	json_object_set_new(b->options, "path", json_string("ttyS0"));
	assert_null(driver_find("pty")->create(&b->env, b->options, &e));
	assert_int_equal(e.code, ERR_CONFIG);
	assert_non_null(strstr(e.msg, "whole path"));
}

int main(void)
{
	(void)contract_pty; /* under test in test_drivers.c */
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(bytes_are_as_they_are_both_ways),
		TEST(its_loss_is_told_once_and_says_why),
		TEST(drain_delivers_what_has_arrived),
		TEST(much_is_sent_in_order_while_it_is_read),
		TEST(a_write_that_is_given_up_is_not_sent_later),
		TEST(made_anew_it_is_taken_up_again),
		TEST(its_folder_may_go_too),
		TEST(a_terminal_that_got_its_number_is_left_alone),
		TEST(by_its_number_it_is_not_waited_for),
		TEST(two_on_one_terminal_are_refused),
		TEST(what_is_no_terminal_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
