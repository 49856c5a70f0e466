/*
 * serial-relay: boards that answer, lie, are mute or vanish, and boards of the bench that share
 * one.
 */
#include "fake_relay.h"

#include <sys/file.h>
#include <sys/wait.h>

struct bench {
	uv_loop_t loop;
	struct driver_env env;
	struct events events;
	struct fake_relay *relay;
	struct device *dev;
};

static int setup_as(void **state, bool numato)
{
	struct bench *b = calloc(1, sizeof(*b));

	uv_loop_init(&b->loop);
	b->env = (struct driver_env){.loop = &b->loop,
		.board = "b",
		.capability = "power",
		.event = event_came,
		.arg = &b->events};
	b->relay = fake_relay_create(numato);
	*state = b;
	return 0;
}

static int setup_lcus(void **state)
{
	return setup_as(state, false);
}

static int setup_numato(void **state)
{
	return setup_as(state, true);
}

static int teardown(void **state)
{
	struct bench *b = *state;

	if (b->dev)
		close_device(&b->loop, b->dev);
	close_loop(&b->loop);
	fake_relay_destroy(b->relay);
	free(b);
	return 0;
}

static struct device *create(struct bench *b, const char *changes, struct err *e)
{
	const struct driver *driver = driver_find("serial-relay");
	json_t *options = options_of(driver, "{\"usb_serial\": \"RIG1\"}"), *more;
	struct device *dev;

	more = json_loads(changes, 0, NULL);
	json_object_update(options, more);
	json_decref(more);
	dev = driver->create(&b->env, options, e);
	json_decref(options);
	return dev;
}

static struct device *open_start(struct bench *b, const char *changes, struct outcome *o)
{
	struct err e;
	struct device *dev = create(b, changes, &e);

	if (!dev)
		fail_msg("create: %s", e.msg);
	dev->driver->open(dev, outcome_start(&b->loop, o, 10000));
	return dev;
}

static struct device *open_it(struct bench *b, const char *changes)
{
	struct outcome o;
	struct device *dev = open_start(b, changes, &o);

	assert_done(&b->loop, &o);
	outcome_finish(&o);
	return dev;
}

static void set_start(struct bench *b, struct device *dev, bool on, struct outcome *o)
{
	dev->driver->power->set(dev, on, outcome_start(&b->loop, o, 10000));
}

static void set(struct bench *b, struct device *dev, bool on, const char *verified)
{
	struct outcome o;

	set_start(b, dev, on, &o);
	assert_done(&b->loop, &o);
	assert_string_equal(json_string_value(json_object_get(o.result, "verified")), verified);
	outcome_finish(&o);
}

static bool get(struct bench *b, struct device *dev)
{
	struct outcome o;
	bool on;

	dev->driver->power->get(dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	assert_true(json_is_boolean(json_object_get(o.result, "on")));
	on = json_is_true(json_object_get(o.result, "on"));
	outcome_finish(&o);
	return on;
}

static void safe_start(struct bench *b, struct device *dev, struct outcome *o)
{
	dev->driver->make_safe(dev, outcome_start(&b->loop, o, 10000));
}

/* --- what is sent ----------------------------------------------------------------------------- */

static void options_that_cannot_be_are_refused(void **state)
{
	static const struct {
		const char *options, *text;
	} cases[] = {
		{"{\"channel\": 0}", "channel must be 1 to 16 with protocol lcus"},
		{"{\"channel\": 17}", "channel must be"},
		{"{\"channel\": 32, \"protocol\": \"numato\"}", "channel must be 0 to 31"},
		{"{\"channel\": 1, \"protocol\": \"usb\"}", "protocol is \"lcus\" or \"numato\""},
		{"{\"channel\": 1, \"read_back\": \"yes\"}", "not \"yes\""},
		{"{\"channel\": 1, \"settle_ms\": -1}", "settle_ms must be 0 to 60000"},
		{"{\"channel\": 1, \"baud\": 1}", "baud must be"},
	};
	struct err e;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_null(create(*state, cases[i].options, &e));
		assert_int_equal(e.code, ERR_CONFIG);
		if (!strstr(e.msg, cases[i].text))
			fail_msg("%s: %s", cases[i].options, e.msg);
	}
}

static void lcus_gets_its_four_bytes(void **state)
{
	struct bench *b = *state;
	char in[16];

	fake_relay_end(b->relay);
	b->dev = open_it(b, "{\"channel\": 3, \"read_back\": \"never\", \"settle_ms\": 0}");
	assert_int_equal(fake_line.settings.baud, 9600);
	set(b, b->dev, true, "none");
	assert_int_equal(fake_tty_read(b->relay->port, in, sizeof(in)), 4);
	assert_memory_equal(in, "\xa0\x03\x01\xa4", 4);
	set(b, b->dev, false, "none");
	assert_int_equal(fake_tty_read(b->relay->port, in, sizeof(in)), 4);
	assert_memory_equal(in, "\xa0\x03\x00\xa3", 4);
}

static void one_channel_is_switched_and_read_back(void **state)
{
	struct bench *b = *state;

	b->relay->on[1] = b->relay->on[3] = true;
	b->dev = open_it(b, b->relay->numato ? "{\"channel\": 2, \"protocol\": \"numato\"}"
					     : "{\"channel\": 2}");
	assert_false(get(b, b->dev));
	assert_int_equal(b->relay->sets, 0); /* opening it switches nothing */
	for (int i = 0; i < 3; i++) {
		set(b, b->dev, true, "read-back");
		assert_true(b->relay->on[2]);
		assert_true(get(b, b->dev));
		set(b, b->dev, false, "read-back");
		assert_false(b->relay->on[2]);
		assert_false(get(b, b->dev));
	}
	assert_true(b->relay->on[1] && b->relay->on[3]);
	assert_int_equal(b->events.lost + b->events.notes, 0);
}

static void numatos_channels_above_nine_are_letters(void **state)
{
	struct bench *b = *state;

	b->dev = open_it(b, "{\"channel\": 12, \"protocol\": \"numato\"}");
	set(b, b->dev, true, "read-back");
	assert_true(b->relay->on[12]);
}

/* --- boards that are not as they should be ---------------------------------------------------- */

static void a_contact_that_does_not_move_is_told(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->dev = open_it(b, b->relay->numato ? "{\"channel\": 1, \"protocol\": \"numato\"}"
					     : "{\"channel\": 1}");
	set(b, b->dev, true, "read-back");
	b->relay->mode = RELAY_STUCK;
	set_start(b, b->dev, false, &o);
	assert_failed(&b->loop, &o, ERR_BENCH, "switched off, and read-back says on");
	safe_start(b, b->dev, &o);
	assert_failed(&b->loop, &o, ERR_BENCH, "could not be switched off");
	b->relay->mode = RELAY_ANSWERS;
	safe_start(b, b->dev, &o);
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_false(b->relay->on[1]);
}

static void a_board_that_never_answers_is_not_verified(void **state)
{
	struct bench *b = *state;
	struct outcome o;
	json_t *says;

	b->relay->mode = RELAY_MUTE;
	b->dev = open_it(b, "{\"channel\": 1}");
	assert_true(get(b, b->dev)); /* it may be */
	set(b, b->dev, false, "none");
	assert_false(get(b, b->dev));
	set(b, b->dev, true, "none");
	assert_true(b->relay->on[1]);
	assert_true(get(b, b->dev));
	b->dev->driver->check(b->dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	says = json_object_get(o.result, "says");
	assert_non_null(strstr(json_string_value(json_array_get(says, 1)), "not verified"));
	outcome_finish(&o);
}

static void asked_to_answer_always_a_mute_board_does_not_open(void **state)
{
	struct bench *b = *state;
	struct outcome o;
	struct device *dev;

	b->relay->mode = RELAY_MUTE;
	dev = open_start(b,
		b->relay->numato ? "{\"channel\": 1, \"protocol\": \"numato\"}"
				 : "{\"channel\": 1, \"read_back\": \"always\"}",
		&o);
	assert_failed(&b->loop, &o, ERR_BENCH, "does not say how relay 1 is");
	close_device(&b->loop, dev);
}

static void one_that_falls_silent_is_switched_off_and_that_is_not_believed(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->dev = open_it(b, "{\"channel\": 1}");
	set(b, b->dev, true, "read-back");
	b->relay->mode = RELAY_MUTE;
	safe_start(b, b->dev, &o);
	assert_failed(&b->loop, &o, ERR_BENCH, "does not say how relay 1 is");
	assert_false(b->relay->on[1]);
}

/* The answer to a question that was given up comes with that to the next one. */
static void a_late_answer_is_not_taken_for_this_ones(void **state)
{
	struct bench *b = *state;
	struct outcome o;
	struct err why;

	b->dev = open_it(b, "{\"channel\": 1, \"settle_ms\": 0}");
	b->relay->mode = RELAY_LATE;
	b->dev->driver->power->get(b->dev, outcome_start(&b->loop, &o, 10000));
	while (!b->relay->kept[0])
		uv_run(&b->loop, UV_RUN_NOWAIT);
	err_set(&why, ERR_CANCELLED, "given up");
	op_cancel(o.op, &why);
	set(b, b->dev, true, "read-back");
	assert_true(get(b, b->dev));
}

static void unplugged_it_is_lost_and_back_and_works(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->dev = open_it(b, "{\"channel\": 1}");
	set(b, b->dev, true, "read-back");
	b->relay->mode = RELAY_MUTE;
	set_start(b, b->dev, true, &o);
	fake_relay_unplug(b->relay);
	assert_failed(&b->loop, &o, ERR_BENCH, "went away");
	assert_int_equal(b->events.lost, 1);
	safe_start(b, b->dev, &o);
	assert_failed(&b->loop, &o, ERR_BENCH, "could not be switched off");
	b->relay->mode = RELAY_ANSWERS;
	fake_relay_plug(b->relay);
	safe_start(b, b->dev, &o);
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	set(b, b->dev, true, "read-back");
}

/* --- a board of relays for several boards ----------------------------------------------------- */

static void two_boards_share_one_and_switch_at_once(void **state)
{
	struct bench *b = *state;
	struct device *other;
	struct outcome one, two;

	b->dev = open_it(b, "{\"channel\": 1, \"settle_ms\": 0}");
	other = open_it(b, "{\"channel\": 2, \"settle_ms\": 0}");
	for (int i = 0; i < 20; i++) {
		bool on = i % 2 == 0;

		set_start(b, b->dev, on, &one);
		set_start(b, other, !on, &two);
		assert_done(&b->loop, &one);
		assert_done(&b->loop, &two);
		assert_string_equal(
			json_string_value(json_object_get(two.result, "verified")), "read-back");
		outcome_finish(&one);
		outcome_finish(&two);
		assert_int_equal(b->relay->on[1], on);
		assert_int_equal(b->relay->on[2], !on);
	}
	close_device(&b->loop, b->dev);
	b->dev = other;
	set(b, other, true, "read-back");
}

static void one_channel_for_two_boards_is_told(void **state)
{
	struct bench *b = *state;
	struct device *other;
	struct outcome o;

	b->dev = open_it(b, "{\"channel\": 2}");
	other = open_start(b, "{\"channel\": 2}", &o);
	assert_failed(&b->loop, &o, ERR_BENCH, "channel 2 of");
	assert_non_null(strstr(o.e.msg, "named twice in rig.conf"));
	close_device(&b->loop, other);
	close_device(&b->loop, b->dev);
	b->dev = open_it(b, "{\"channel\": 2}");
}

/* As a keeper does that is in the middle of something: this process's program in another process.
 */
static pid_t lock_elsewhere(const char *pts, int *end)
{
	int ready[2], stay[2];
	pid_t pid;
	char c;

	assert_return_code(pipe(ready), errno);
	assert_return_code(pipe(stay), errno);
	pid = fork();
	if (pid == 0) {
		int fd = open(pts, O_RDWR | O_NOCTTY);

		close(stay[1]);
		_exit(flock(fd, LOCK_EX) != 0 || write(ready[1], "x", 1) != 1 ||
			read(stay[0], &c, 1));
	}
	close(ready[1]);
	close(stay[0]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	*end = stay[1];
	return pid;
}

static void another_process_is_waited_for_and_not_for_ever(void **state)
{
	struct bench *b = *state;
	char text[64];
	struct outcome o;
	pid_t pid;
	int end;

	b->dev = open_it(b, "{\"channel\": 1}");
	pid = lock_elsewhere(b->relay->port->pts, &end);
	set_start(b, b->dev, true, &o);
	snprintf(text, sizeof(text), "is held by test_serial_rel (pid %d)", (int)pid);
	assert_failed(&b->loop, &o, ERR_BENCH, text);
	assert_false(b->relay->on[1]);
	set_start(b, b->dev, true, &o);
	assert_int_equal(o.done, 0);
	close(end);
	waitpid(pid, NULL, 0);
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_true(b->relay->on[1]);
}

/* --- order ------------------------------------------------------------------------------------ */

static void made_safe_what_waits_is_cancelled_and_it_is_off(void **state)
{
	struct bench *b = *state;
	struct outcome on, ask, safe;

	b->dev = open_it(b, "{\"channel\": 1, \"settle_ms\": 60000}");
	set_start(b, b->dev, true, &on);
	b->dev->driver->power->get(b->dev, outcome_start(&b->loop, &ask, 10000));
	while (!b->relay->on[1])
		uv_run(&b->loop, UV_RUN_NOWAIT);
	close_device(&b->loop, b->dev);
	assert_int_equal(on.e.code, ERR_GONE);
	assert_int_equal(ask.e.code, ERR_GONE);
	b->dev = open_it(b, "{\"channel\": 1, \"settle_ms\": 1}");
	set_start(b, b->dev, true, &on);
	b->dev->driver->power->get(b->dev, outcome_start(&b->loop, &ask, 10000));
	safe_start(b, b->dev, &safe);
	assert_done(&b->loop, &safe);
	outcome_finish(&safe);
	assert_int_equal(on.e.code, ERR_CANCELLED);
	assert_int_equal(ask.e.code, ERR_CANCELLED);
	assert_false(b->relay->on[1]);
}

static void never_opened_it_is_switched_off_all_the_same(void **state)
{
	struct bench *b = *state;
	struct outcome o;
	struct err e;

	b->relay->on[1] = true;
	b->dev = create(b, "{\"channel\": 1}", &e);
	assert_non_null(b->dev);
	safe_start(b, b->dev, &o);
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_false(b->relay->on[1]);
}

static void scan_finds_boards_with_a_ch340(void **state)
{
	struct bench *b = *state;
	json_t *found = json_array();
	struct err e;

	assert_return_code(driver_find("serial-relay")->scan(found, &e), 0);
	assert_int_equal(json_array_size(found), 0);
	scratch_write(b->relay->port->scratch, "sys/" FAKE_USB "/idVendor", "1a86\n");
	scratch_write(b->relay->port->scratch, "sys/" FAKE_USB "/idProduct", "7523\n");
	assert_return_code(driver_find("serial-relay")->scan(found, &e), 0);
	assert_string_equal(json_string_value(json_object_get(json_array_get(found, 0), "conf")),
		"power = { driver = \"serial-relay\", usb_serial = \"RIG1\", channel = 1 },");
	json_decref(found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define LCUS(name) {#name " (lcus)", name, setup_lcus, teardown, NULL}
#define NUMATO(name)                                                                               \
	{                                                                                          \
#name " (numato)", name, setup_numato, teardown, NULL                              \
	}
		LCUS(options_that_cannot_be_are_refused),
		LCUS(lcus_gets_its_four_bytes),
		LCUS(one_channel_is_switched_and_read_back),
		NUMATO(one_channel_is_switched_and_read_back),
		NUMATO(numatos_channels_above_nine_are_letters),
		LCUS(a_contact_that_does_not_move_is_told),
		NUMATO(a_contact_that_does_not_move_is_told),
		LCUS(a_board_that_never_answers_is_not_verified),
		LCUS(asked_to_answer_always_a_mute_board_does_not_open),
		NUMATO(asked_to_answer_always_a_mute_board_does_not_open),
		LCUS(one_that_falls_silent_is_switched_off_and_that_is_not_believed),
		LCUS(a_late_answer_is_not_taken_for_this_ones),
		LCUS(unplugged_it_is_lost_and_back_and_works),
		LCUS(two_boards_share_one_and_switch_at_once),
		LCUS(one_channel_for_two_boards_is_told),
		LCUS(another_process_is_waited_for_and_not_for_ever),
		LCUS(made_safe_what_waits_is_cancelled_and_it_is_off),
		LCUS(never_opened_it_is_switched_off_all_the_same),
		LCUS(scan_finds_boards_with_a_ch340),
#undef LCUS
#undef NUMATO
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
