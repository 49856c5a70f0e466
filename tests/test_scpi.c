/*
 * scpi-psu: what it says to a supply, and what it makes of one that misbehaves.
 */
#include "contracts/scpi_psu.h"
#include "fake_serial.h"

struct bench {
	struct driver_env env;
	struct events events;
	uv_loop_t loop;
	struct fake_psu *psu;
	json_t *options;
};

static void use_options(struct bench *b, const char *text)
{
	json_decref(b->options);
	b->options = options_of(driver_find("scpi-psu"), "{\"host\": \"127.0.0.1\", \"volts\": 5}");
	json_object_update_new(b->options, json_loads(text, 0, NULL));
	if (b->psu)
		scpi_psu_adapt(b->psu, b->options);
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	uv_loop_init(&b->loop);
	b->env = (struct driver_env){
		.loop = &b->loop, .board = "b", .event = event_came, .arg = &b->events};
	b->psu = scpi_psu_setup(&b->env);
	use_options(b, "{}");
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	scpi_psu_teardown(b->psu);
	close_loop(&b->loop);
	json_decref(b->options);
	free(b);
	return 0;
}

static struct device *open_psu(struct bench *b)
{
	struct err e;
	struct device *dev = driver_find("scpi-psu")->create(&b->env, b->options, &e);
	struct outcome o;

	if (!dev)
		fail_msg("create: %s", e.msg);
	dev->driver->open(dev, outcome_start(&b->loop, &o, 30000));
	assert_done(&b->loop, &o);
	b->psu->log[0] = '\0';
	return dev;
}

static void set(struct bench *b, struct device *dev, bool on, const char *verified)
{
	struct outcome o;

	dev->driver->power->set(dev, on, outcome_start(&b->loop, &o, 30000));
	assert_done(&b->loop, &o);
	assert_string_equal(json_string_value(json_object_get(o.result, "verified")), verified);
	outcome_finish(&o);
}

static void set_fails(struct bench *b, struct device *dev, bool on, const char *text)
{
	struct outcome o;

	dev->driver->power->set(dev, on, outcome_start(&b->loop, &o, 30000));
	assert_failed(&b->loop, &o, ERR_BENCH, text);
}

static void assert_log(struct bench *b, const char *expected)
{
	if (strcmp(b->psu->log, expected) != 0)
		fail_msg("expected: %s\ngot:      %s", expected, b->psu->log);
	b->psu->log[0] = '\0';
}

static void set_answers(struct bench *b, const char *options, const char *on, const char *off)
{
	struct device *dev;

	use_options(b, options);
	dev = open_psu(b);
	b->psu->now = 5;
	set(b, dev, true, "read-back");
	assert_log(b, on);
	b->psu->now = 0;
	set(b, dev, false, "read-back");
	assert_log(b, off);
	close_device(&b->loop, dev);
}

static void each_dialect_has_its_words(void **state)
{
	set_answers(*state, "{}", "VOLT 5.0000; SYST:ERR?; OUTP ON; SYST:ERR?; OUTP?; MEAS:VOLT?; ",
		"OUTP OFF; SYST:ERR?; OUTP?; MEAS:VOLT?; ");
	set_answers(*state, "{\"channel\": 2, \"amps\": 0.25}",
		"INST:NSEL 2; VOLT 5.0000; SYST:ERR?; CURR 0.2500; SYST:ERR?; OUTP ON; SYST:ERR?; "
		"OUTP?; MEAS:VOLT?; ",
		"INST:NSEL 2; OUTP OFF; SYST:ERR?; OUTP?; MEAS:VOLT?; ");
	set_answers(*state, "{\"channel\": 3, \"dialect\": \"list\"}",
		"VOLT 5.0000,(@3); SYST:ERR?; OUTP ON,(@3); SYST:ERR?; OUTP? (@3); MEAS:VOLT? (@3); ",
		"OUTP OFF,(@3); SYST:ERR?; OUTP? (@3); MEAS:VOLT? (@3); ");
	set_answers(*state,
		"{\"cmd_on\": \"OUTP:STAT ON\", \"ask_error\": \"\", \"ask_output\": \"\"}",
		"VOLT 5.0000; OUTP:STAT ON; MEAS:VOLT?; ", "OUTP OFF; MEAS:VOLT?; ");
}

static void off_is_believed_when_the_voltage_has_fallen(void **state)
{
	struct bench *b = *state;
	struct device *dev = open_psu(b);

	set(b, dev, true, "read-back");
	b->psu->log[0] = '\0';
	set(b, dev, false, "read-back");
	assert_true(b->psu->now < 0.3);
	/* 5 V halved until below 0.3 V */
	assert_log(b, "OUTP OFF; SYST:ERR?; OUTP?; MEAS:VOLT?; MEAS:VOLT?; MEAS:VOLT?; MEAS:VOLT?; "
		      "MEAS:VOLT?; ");
	close_device(&b->loop, dev);
}

static void what_is_not_measured_is_not_called_read_back(void **state)
{
	struct bench *b = *state;
	struct device *dev;
	struct outcome o;

	use_options(b, "{\"ask_volts\": \"\"}");
	dev = open_psu(b);
	set(b, dev, true, "none");
	dev->driver->check(dev, outcome_start(&b->loop, &o, 30000));
	assert_done(&b->loop, &o);
	assert_int_equal(json_array_size(json_object_get(o.result, "mend")), 1);
	outcome_finish(&o);
	close_device(&b->loop, dev);
}

static void a_switch_that_did_not_happen_is_found_out(void **state)
{
	struct bench *b = *state;
	struct device *dev;

	use_options(b, "{\"settle_ms\": 50, \"amps\": 1}");
	dev = open_psu(b);
	b->psu->trips = true;
	set_fails(b, dev, true, "its output is off: did a protection");
	b->psu->trips = false;
	b->psu->limits = true;
	set_fails(b, dev, true, "2.500 V after 50 ms (settle_ms) instead of 5.000 V");
	b->psu->limits = false;
	set(b, dev, true, "read-back");
	b->psu->stuck_on = true;
	set_fails(b, dev, false, "its output is on");
	b->psu->stuck_on = false;
	b->psu->fed = true;
	set_fails(b, dev, false, "is something else feeding the board");
	b->psu->fed = false;
	set(b, dev, false, "read-back");
	b->psu->refuses = "VOLT";
	set_fails(b, dev, true, "refuses \"VOLT 5.0000\": -222,\"Data out of range\"");
	assert_false(b->psu->on);
	b->psu->refuses = "CURR";
	set_fails(b, dev, true, "refuses \"CURR 1.0000\"");
	b->psu->refuses = "OUTP OFF";
	set_fails(b, dev, false, "refuses \"OUTP OFF\"");
	close_device(&b->loop, dev);
}

static void an_error_from_before_is_not_this_ones(void **state)
{
	struct bench *b = *state;
	struct device *dev;

	snprintf(b->psu->error, sizeof(b->psu->error), "-350,\"Queue overflow\"");
	dev = open_psu(b);
	set(b, dev, true, "read-back");
	snprintf(b->psu->error, sizeof(b->psu->error), "-350,\"Queue overflow\"");
	set_fails(b, dev, false, "-350,\"Queue overflow\"");
	set(b, dev, false, "read-back");
	assert_non_null(strstr(b->psu->log, "*CLS"));
	close_device(&b->loop, dev);
}

static void late_answers_are_not_taken_for_others(void **state)
{
	struct bench *b = *state;
	struct device *dev;
	struct outcome o;

	use_options(b, "{\"answer_ms\": 100}");
	dev = open_psu(b);
	set(b, dev, true, "read-back");
	/* from here on each answer is that to the question before */
	b->psu->late = true;
	dev->driver->meter->measure(dev, outcome_start(&b->loop, &o, 30000));
	assert_failed(&b->loop, &o, ERR_BENCH, "no answer to \"MEAS:VOLT?\" within 100 ms");
	b->psu->late = false;
	tcp_peer_send(b->psu->tcp.peers, "3.21\n", 5); /* there it is */
	dev->driver->meter->measure(dev, outcome_start(&b->loop, &o, 30000));
	assert_done(&b->loop, &o);
	assert_float_equal(json_number_value(json_object_get(o.result, "volts")), 5, 0.2);
	outcome_finish(&o);
	close_device(&b->loop, dev);
}

static void what_comes_unasked_puts_nothing_out_of_step(void **state)
{
	struct bench *b = *state;
	struct device *dev = open_psu(b);
	struct outcome o;

	tcp_peer_send(b->psu->tcp.peers, "1\n1\nhello\n", 10);
	for (int i = 0; i < 3; i++) {
		uv_run(&b->loop, UV_RUN_NOWAIT);
		dev->driver->power->get(dev, outcome_start(&b->loop, &o, 30000));
		assert_done(&b->loop, &o);
		assert_true(json_is_false(json_object_get(o.result, "on")));
		outcome_finish(&o);
	}
	close_device(&b->loop, dev);
}

static void garbage_is_the_benchs_error(void **state)
{
	struct bench *b = *state;
	struct device *dev;
	struct outcome o;

	use_options(b, "{\"answer_ms\": 200}");
	dev = open_psu(b);
	b->psu->garbage = true;
	dev->driver->meter->measure(dev, outcome_start(&b->loop, &o, 30000));
	assert_failed(&b->loop, &o, ERR_BENCH, "\"??#?\" is no voltage");
	dev->driver->power->get(dev, outcome_start(&b->loop, &o, 30000));
	assert_failed(&b->loop, &o, ERR_BENCH, "does not say whether the output is on");
	b->psu->garbage = false;
	b->psu->endless = true;
	dev->driver->meter->measure(dev, outcome_start(&b->loop, &o, 30000));
	assert_failed(&b->loop, &o, ERR_BENCH, "has no end");
	b->psu->endless = false;
	set(b, dev, true, "read-back");
	close_device(&b->loop, dev);
}

static void a_byte_at_a_time_and_with_crlf_it_is_understood(void **state)
{
	struct bench *b = *state;
	struct device *dev;

	b->psu->byte_wise = b->psu->crlf = true;
	use_options(b, "{\"line_end\": \"crlf\"}");
	dev = open_psu(b);
	set(b, dev, true, "read-back");
	set(b, dev, false, "read-back");
	close_device(&b->loop, dev);
}

static void a_connection_that_was_closed_is_made_anew(void **state)
{
	struct bench *b = *state;
	struct device *dev = open_psu(b);
	struct outcome o;

	tcp_peer_close(b->psu->tcp.peers);
	for (int i = 0; i < 5; i++)
		uv_run(&b->loop, UV_RUN_NOWAIT);
	set(b, dev, true, "read-back");
	assert_int_equal(b->psu->tcp.accepted, 2);
	b->psu->tcp.closes = true;
	dev->driver->power->set(dev, false, outcome_start(&b->loop, &o, 30000));
	assert_failed(&b->loop, &o, ERR_BENCH, "closed the connection");
	b->psu->tcp.closes = false;
	dev->driver->make_safe(dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	assert_false(b->psu->on);
	outcome_finish(&o);
	assert_int_equal(b->events.lost, 0);
	close_device(&b->loop, dev);
}

static void another_instrument_at_its_address_is_not_driven(void **state)
{
	struct bench *b = *state;
	struct device *dev;

	use_options(b, "{\"answer_ms\": 100}");
	dev = open_psu(b);
	tcp_peer_close(b->psu->tcp.peers);
	for (int i = 0; i < 5; i++)
		uv_run(&b->loop, UV_RUN_NOWAIT);
	b->psu->garbage = true; /* it answers, with another name */
	set_fails(b, dev, true, "does not answer *IDN? as before");
	assert_null(strstr(b->psu->log, "OUTP ON"));
	close_device(&b->loop, dev);
}

static void it_measures(void **state)
{
	struct bench *b = *state;
	struct device *dev = open_psu(b);
	struct outcome o;

	set(b, dev, true, "read-back");
	dev->driver->meter->measure(dev, outcome_start(&b->loop, &o, 30000));
	assert_done(&b->loop, &o);
	assert_float_equal(json_number_value(json_object_get(o.result, "volts")), 5, 0.2);
	assert_float_equal(json_number_value(json_object_get(o.result, "amps")), 0.125, 0.0001);
	outcome_finish(&o);
	dev->driver->check(dev, outcome_start(&b->loop, &o, 30000));
	assert_done(&b->loop, &o);
	assert_string_equal(json_string_value(json_array_get(json_object_get(o.result, "says"), 0)),
		"RIG,FAKE-PSU,1,0.1, output on");
	outcome_finish(&o);
	close_device(&b->loop, dev);
}

static void a_ramp_goes_down_in_steps_and_the_next_on_is_whole(void **state)
{
	struct bench *b = *state;
	struct device *dev = open_psu(b);
	double last = 5, volts;
	unsigned steps = 0;
	struct outcome o;

	set(b, dev, true, "read-back");
	b->psu->log[0] = '\0';
	dev->driver->supply->set_volts(dev, 2, 200, outcome_start(&b->loop, &o, 30000));
	assert_done(&b->loop, &o);
	assert_float_equal(json_number_value(json_object_get(o.result, "volts")), 2, 0.2);
	outcome_finish(&o);
	for (const char *p = b->psu->log; (p = strstr(p, "VOLT ")); p++, steps++) {
		volts = strtod(p + 5, NULL);
		assert_true(volts <= last && volts >= 2);
		last = volts;
	}
	assert_float_equal(last, 2, 0.00001);
	assert_true(steps >= 3);
	b->psu->log[0] = '\0';
	dev->driver->supply->set_volts(dev, 4.5, 0, outcome_start(&b->loop, &o, 30000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_ptr_equal(strstr(b->psu->log, "VOLT "), b->psu->log);
	assert_non_null(strstr(b->psu->log, "VOLT 4.5000; SYST:ERR?; MEAS:VOLT?"));
	set(b, dev, false, "read-back");
	set(b, dev, true, "read-back");
	assert_float_equal(b->psu->volts, 5, 0.00001);
	dev->driver->supply->set_volts(dev, -1, 0, outcome_start(&b->loop, &o, 30000));
	assert_failed(&b->loop, &o, ERR_USAGE, "a voltage is 0 to 1000");
	close_device(&b->loop, dev);
}

static void switching_off_ends_a_ramp(void **state)
{
	struct bench *b = *state;
	struct device *dev = open_psu(b);
	struct outcome ramp, off;

	set(b, dev, true, "read-back");
	b->psu->log[0] = '\0';
	dev->driver->supply->set_volts(dev, 1, 60000, outcome_start(&b->loop, &ramp, 90000));
	while (!strstr(b->psu->log, "VOLT "))
		uv_run(&b->loop, UV_RUN_ONCE);
	dev->driver->power->set(dev, false, outcome_start(&b->loop, &off, 30000));
	assert_int_equal(ramp.e.code, ERR_CANCELLED);
	assert_done(&b->loop, &off);
	outcome_finish(&off);
	assert_false(b->psu->on);
	close_device(&b->loop, dev);
}

static void a_meter_switches_nothing_off(void **state)
{
	struct bench *b = *state;
	struct device *dev;
	struct outcome o;

	b->env.capability = "meter";
	b->psu->on = true;
	b->psu->volts = 5;
	use_options(b, "{}");
	json_object_del(b->options, "volts");
	dev = open_psu(b);
	dev->driver->make_safe(dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	assert_true(b->psu->on);
	close_device(&b->loop, dev);
}

/* --- at a serial port ------------------------------------------------------------------------- */

struct serial_bench {
	uv_loop_t loop;
	struct fake_serial *port;
	struct fake_psu psu;
	struct tcp_peer *peer; /* whose bytes are the port's */
	uv_poll_t poll;
	bool watched;
};

static void port_ready(uv_poll_t *poll, int status, int events)
{
	struct serial_bench *b = poll->data;
	char buf[256];
	ssize_t n;

	(void)status;
	(void)events;
	while ((n = read(b->psu.fd, buf, sizeof(buf))) > 0)
		psu_data(b->peer, buf, (size_t)n);
}

static void serial_watch(struct serial_bench *b)
{
	b->psu.fd = b->port->master;
	uv_poll_init(&b->loop, &b->poll, b->psu.fd);
	b->poll.data = b;
	uv_poll_start(&b->poll, UV_READABLE, port_ready);
	b->watched = true;
}

static void unwatched(uv_handle_t *handle)
{
	struct serial_bench *b = handle->data;

	b->watched = false;
}

static void serial_unwatch(struct serial_bench *b)
{
	uv_close((uv_handle_t *)&b->poll, unwatched);
	while (b->watched)
		uv_run(&b->loop, UV_RUN_ONCE);
}

static struct device *serial_psu(struct serial_bench *b, struct events *events)
{
	struct driver_env env = {.loop = &b->loop,
		.board = "b",
		.capability = "power",
		.event = event_came,
		.arg = events};
	json_t *options = options_of(driver_find("scpi-psu"),
		"{\"usb_serial\": \"RIG1\", \"volts\": 5, \"baud\": 57600, \"answer_ms\": 500}");
	struct err e;
	struct device *dev = driver_find("scpi-psu")->create(&env, options, &e);

	json_decref(options);
	if (!dev)
		fail_msg("create: %s", e.msg);
	return dev;
}

static void at_a_serial_port_it_is_the_same(void **state)
{
	struct serial_bench *b = calloc(1, sizeof(*b));
	struct events events = {0};
	struct device *dev;
	struct outcome o;

	(void)state;
	uv_loop_init(&b->loop);
	b->port = fake_serial_create();
	b->peer = calloc(1, sizeof(*b->peer));
	b->peer->server = &b->psu.tcp;
	psu_came(b->peer);
	serial_watch(b);
	dev = serial_psu(b, &events);
	dev->driver->open(dev, outcome_start(&b->loop, &o, 30000));
	/* an answer to what somebody asked before is not its name */
	psu_send(b->peer, "+5.0000E+00\n", 12);
	assert_done(&b->loop, &o);
	assert_int_equal(fake_line.settings.baud, 57600);
	dev->driver->power->set(dev, true, outcome_start(&b->loop, &o, 30000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_true(b->psu.on);
	dev->driver->check(dev, outcome_start(&b->loop, &o, 30000));
	assert_done(&b->loop, &o);
	assert_string_equal(json_string_value(json_array_get(json_object_get(o.result, "says"), 0)),
		"RIG,FAKE-PSU,1,0.1, output on");
	assert_non_null(strstr(
		json_string_value(json_array_get(json_object_get(o.result, "says"), 3)), "RIG1"));
	outcome_finish(&o);
	/* unplugged in the middle */
	b->psu.mute = true;
	dev->driver->power->set(dev, false, outcome_start(&b->loop, &o, 30000));
	for (int i = 0; i < 5; i++)
		uv_run(&b->loop, UV_RUN_NOWAIT);
	serial_unwatch(b);
	fake_tty_unplug(b->port);
	outcome_wait(&b->loop, &o);
	assert_int_equal(o.e.code, ERR_BENCH);
	dev->driver->make_safe(dev, outcome_start(&b->loop, &o, 10000));
	outcome_wait(&b->loop, &o);
	assert_int_equal(o.e.code, ERR_BENCH);
	/* and there again */
	b->psu.mute = false;
	fake_tty_plug(b->port);
	serial_watch(b);
	dev->driver->make_safe(dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_false(b->psu.on);
	close_device(&b->loop, dev);
	serial_unwatch(b);
	fake_serial_destroy(b->port);
	close_loop(&b->loop);
	free(b->peer->user);
	free(b->peer);
	free(b);
}

static void refused(struct bench *b, const char *options, const char *text)
{
	struct err e;

	use_options(b, options);
	json_object_update_new(b->options, json_loads(options, 0, NULL));
	if (strstr(options, "\"volts\": null"))
		json_object_del(b->options, "volts");
	assert_null(driver_find("scpi-psu")->create(&b->env, b->options, &e));
	assert_int_equal(e.code, ERR_CONFIG);
	if (!strstr(e.msg, text))
		fail_msg("expected \"%s\" in: %s", text, e.msg);
}

static void options_that_cannot_work_are_refused(void **state)
{
	refused(*state, "{\"path\": \"/dev/ttyS1\"}", "either host, or a serial port");
	refused(*state, "{\"volts\": null}", "volts is missing");
	refused(*state, "{\"volts\": 0}", "volts is missing, or not between");
	refused(*state, "{\"amps\": 0}", "amps must be more than 0");
	refused(*state, "{\"channel\": 0}", "channel must be 1 to 99");
	refused(*state, "{\"dialect\": \"klingon\"}", "dialect is scpi, list, rigol or siglent");
	refused(*state, "{\"dialect\": \"rigol\"}", "channel is missing");
	refused(*state, "{\"cmd_volts\": \"VOLT {volt}\"}", "no braces but in");
	refused(*state, "{\"cmd_off\": \"\"}", "must not be empty");
	refused(*state, "{\"line_end\": \"nl\"}", "line_end must be");
	refused(*state, "{\"ask_id\": \"\"}", "ask_id must not be empty");
	refused(*state, "{\"answer_ms\": 1}", "answer_ms must be");
	refused(*state, "{\"settle_ms\": -1}", "settle_ms must be");
	refused(*state, "{\"off_below_volts\": 0}", "off_below_volts must be");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(each_dialect_has_its_words),
		TEST(off_is_believed_when_the_voltage_has_fallen),
		TEST(what_is_not_measured_is_not_called_read_back),
		TEST(a_switch_that_did_not_happen_is_found_out),
		TEST(an_error_from_before_is_not_this_ones),
		TEST(late_answers_are_not_taken_for_others),
		TEST(what_comes_unasked_puts_nothing_out_of_step),
		TEST(garbage_is_the_benchs_error),
		TEST(a_byte_at_a_time_and_with_crlf_it_is_understood),
		TEST(a_connection_that_was_closed_is_made_anew),
		TEST(another_instrument_at_its_address_is_not_driven),
		TEST(it_measures),
		TEST(a_ramp_goes_down_in_steps_and_the_next_on_is_whole),
		TEST(switching_off_ends_a_ramp),
		TEST(a_meter_switches_nothing_off),
		cmocka_unit_test(at_a_serial_port_it_is_the_same),
		TEST(options_that_cannot_work_are_refused),
	};

	(void)contract_scpi_psu; /* under test in test_drivers.c */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
