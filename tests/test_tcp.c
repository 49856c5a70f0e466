/*
 * tcp: raw and RFC 2217, with a server that misbehaves.
 */
#include "contracts/tcp.h"
#include "tcp_bench.h"

struct bench {
	struct tcp_bench b; /* first */
	struct rfc2217_server *server;
};

static int setup(void **state)
{
	struct bench *x = calloc(1, sizeof(*x));

	uv_loop_init(&x->b.loop);
	x->server = tcp_setup(&(struct driver_env){.loop = &x->b.loop});
	tcp_bench_init(&x->b, x->server->tcp.port, "{\"mode\": \"rfc2217\"}");
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct bench *x = *state;

	tcp_teardown(x->server);
	close_loop(&x->b.loop);
	json_decref(x->b.options);
	free(x);
	return 0;
}

/* --- telnet, the parser ----------------------------------------------------------------------- */

struct heard {
	char data[256], sent[256];
	size_t len, sent_len;
	char subs[256];
	int options;
};

static void hear_data(void *arg, const uint8_t *data, size_t len)
{
	struct heard *h = arg;

	assert_true(h->len + len <= sizeof(h->data));
	memcpy(h->data + h->len, data, len);
	h->len += len;
}

static void hear_option(void *arg, uint8_t option, bool local, bool on)
{
	struct heard *h = arg;

	(void)option;
	(void)local;
	(void)on;
	h->options++;
}

static void hear_sub(void *arg, uint8_t option, const uint8_t *data, size_t len)
{
	struct heard *h = arg;
	size_t used = strlen(h->subs);

	used += (size_t)snprintf(h->subs + used, sizeof(h->subs) - used, "%u:", option);
	for (size_t i = 0; i < len && i < 20; i++)
		used += (size_t)snprintf(h->subs + used, sizeof(h->subs) - used, "%02x", data[i]);
}

static void hear_send(void *arg, const uint8_t *data, size_t len)
{
	struct heard *h = arg;

	assert_true(h->sent_len + len <= sizeof(h->sent));
	memcpy(h->sent + h->sent_len, data, len);
	h->sent_len += len;
}

static const struct telnet_handlers hear = {hear_data, hear_option, hear_sub, hear_send};

static void receive(struct telnet *t, const char *bytes, size_t len, bool byte_wise)
{
	if (!byte_wise)
		telnet_receive(t, (const uint8_t *)bytes, len);
	for (size_t i = 0; byte_wise && i < len; i++)
		telnet_receive(t, (const uint8_t *)bytes + i, 1);
}

#define RECEIVE(t, text, byte_wise) receive(t, text, sizeof(text) - 1, byte_wise)

static void telnet_tells_data_from_the_rest(void **state)
{
	(void)state;
	for (int byte_wise = 0; byte_wise < 2; byte_wise++) {
		struct heard h = {0};
		struct telnet t;

		telnet_init(&t, &hear, &h);
		RECEIVE(&t,
			"a\xff\xff"
			"b\xff\xf1" /* NOP */
			"c\xff\xfa\x2c\x65\x00\x01\xff\xff\x00\xff\xf0"
			"d\r\0e\r\nf",
			byte_wise);
		assert_int_equal(h.len, 10);
		assert_memory_equal(h.data,
			"a\xff"
			"bcd\re\r\nf",
			10);
		assert_string_equal(h.subs, "44:650001ff00");
	}
}

static void in_binary_mode_nothing_is_dropped(void **state)
{
	struct heard h = {0};
	struct telnet t;
	uint8_t out[16];

	(void)state;
	telnet_init(&t, &hear, &h);
	assert_int_equal(telnet_escape(&t, (const uint8_t *)"a\r\xff", 3, out), 5);
	assert_memory_equal(out, "a\r\0\xff\xff", 5);
	telnet_ask(&t, TELNET_BINARY, false);
	telnet_ask(&t, TELNET_BINARY, true);
	RECEIVE(&t,
		"\xff\xfb\0\xff\xfd\0"
		"a\r\0b",
		false);
	assert_int_equal(h.len, 4);
	assert_memory_equal(h.data, "a\r\0b", 4);
	assert_int_equal(telnet_escape(&t, (const uint8_t *)"a\r\xff", 3, out), 4);
	assert_memory_equal(out, "a\r\xff\xff", 4);
}

static void negotiation_does_not_loop(void **state)
{
	struct heard h = {0};
	struct telnet t;

	(void)state;
	telnet_init(&t, &hear, &h);
	telnet_ask(&t, TELNET_BINARY, true);
	telnet_ask(&t, TELNET_BINARY, true);
	assert_int_equal(h.sent_len, 3);
	RECEIVE(&t, "\xff\xfd\0\xff\xfd\0\xff\xfd\0", false); /* agreed, thrice */
	assert_int_equal(h.sent_len, 3);
	assert_int_equal(h.options, 1);
	RECEIVE(&t, "\xff\xfb\x18", false); /* an offer of what is not wanted */
	assert_int_equal(h.sent_len, 6);
	assert_memory_equal(h.sent + 3, "\xff\xfe\x18", 3);
	RECEIVE(&t, "\xff\xfc\x18\xff\xfe\x18", false); /* a refusal of what nobody asked for */
	assert_int_equal(h.sent_len, 6);
	RECEIVE(&t, "\xff\xfe\0\xff\xfe\0", false); /* taken back */
	assert_int_equal(h.sent_len, 9);
	assert_false(telnet_has(&t, TELNET_BINARY, true));
}

static void a_subnegotiation_beyond_measure_is_dropped(void **state)
{
	struct heard h = {0};
	struct telnet t;

	(void)state;
	telnet_init(&t, &hear, &h);
	RECEIVE(&t, "\xff\xfa\x2c", false);
	for (int i = 0; i < 2 * TELNET_SUB_MAX; i++)
		RECEIVE(&t, "x", false);
	RECEIVE(&t,
		"\xff\xf0"
		"y\xff\xfa\x2c\x01\xff\xf0",
		false);
	assert_string_equal(h.subs, "44:01");
	assert_int_equal(h.len, 1);
}

/* --- the driver ------------------------------------------------------------------------------- */

static void the_port_is_set_as_rig_conf_says(void **state)
{
	struct bench *x = *state;
	struct device *dev;

	tcp_bench_init(&x->b, x->server->tcp.port,
		"{\"mode\": \"rfc2217\", \"baud\": 921600, \"parity\": \"even\","
		" \"data_bits\": 7, \"stop_bits\": 2, \"flow\": \"xonxoff\", \"dtr\": false}");
	dev = tcp_bench_open(&x->b);
	assert_string_equal(x->server->said, "1=921600 2=7 3=3 4=2 5=2 5=9 5=11 ");
	close_device(&x->b.loop, dev);
}

static void with_rtscts_rts_is_left_to_flow_control(void **state)
{
	struct bench *x = *state;
	struct device *dev;

	tcp_bench_init(&x->b, x->server->tcp.port, "{\"mode\": \"rfc2217\", \"flow\": \"rtscts\"}");
	x->server->byte_wise = true;
	dev = tcp_bench_open(&x->b);
	assert_string_equal(x->server->said, "1=115200 2=8 3=1 4=1 5=3 5=8 ");
	close_device(&x->b.loop, dev);
}

static void lines_and_a_break_go_to_the_server(void **state)
{
	struct bench *x = *state;
	struct device *dev = tcp_bench_open(&x->b);

	x->server->said[0] = '\0';
	tcp_bench_lines(&x->b, dev, "{\"dtr\": false, \"rts\": true, \"break_ms\": 5}");
	assert_string_equal(x->server->said, "5=9 5=11 5=5 5=6 ");
	close_device(&x->b.loop, dev);
}

static void a_break_that_is_given_up_ends(void **state)
{
	struct bench *x = *state;
	struct device *dev = tcp_bench_open(&x->b);
	json_t *lines = json_loads("{\"break_ms\": 60000}", 0, NULL);
	struct outcome o;

	x->server->said[0] = '\0';
	dev->driver->modem->set(dev, lines, outcome_start(&x->b.loop, &o, 90000));
	json_decref(lines);
	while (strcmp(x->server->said, "5=5 ") != 0)
		uv_run(&x->b.loop, UV_RUN_ONCE);
	contract_cancel(&o);
	while (strcmp(x->server->said, "5=5 5=6 ") != 0)
		uv_run(&x->b.loop, UV_RUN_ONCE);
	tcp_bench_lines(&x->b, dev, "{\"dtr\": true}");
	close_device(&x->b.loop, dev);
}

static void lines_that_make_no_sense_are_refused(void **state)
{
	static const char *const bad[] = {
		"{\"dtr\": 1}", "{\"break_ms\": 0}", "{\"break_ms\": 60001}", "{\"rts\": \"on\"}"};
	struct bench *x = *state;
	struct device *dev = tcp_bench_open(&x->b);
	struct outcome o;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		json_t *lines = json_loads(bad[i], 0, NULL);

		dev->driver->modem->set(dev, lines, outcome_start(&x->b.loop, &o, 30000));
		json_decref(lines);
		assert_failed(&x->b.loop, &o, ERR_USAGE, "break_ms is 1 to 60000");
	}
	x->server->wrong = COM_CONTROL;
	tcp_start(dev, outcome_start(&x->b.loop, &o, 30000));
	assert_failed(&x->b.loop, &o, ERR_BENCH, "set DTR to 9 instead of 8");
	close_device(&x->b.loop, dev);
}

static void answers_to_what_was_given_up_are_told_apart(void **state)
{
	struct bench *x = *state;
	struct device *dev = tcp_bench_open(&x->b);

	for (int turns = 0; turns < 12; turns++) {
		struct outcome o;

		x->server->mute = true;
		tcp_start(dev, outcome_start(&x->b.loop, &o, 30000));
		for (int i = 0; i < turns; i++)
			uv_run(&x->b.loop, UV_RUN_NOWAIT);
		contract_cancel(&o);
		rfc2217_speak(x->server);
		x->server->said[0] = '\0';
		tcp_bench_lines(&x->b, dev, "{\"dtr\": false, \"rts\": true}");
		assert_non_null(strstr(x->server->said, "5=9 5=11 "));
		tcp_bench_lines(&x->b, dev, "{\"dtr\": true, \"break_ms\": 1}");
		assert_non_null(strstr(x->server->said, "5=8 5=5 5=6 "));
	}
	close_device(&x->b.loop, dev);
}

static void lines_that_the_port_has_not_are_told(void **state)
{
	struct bench *x = *state;
	struct device *dev;
	struct outcome o;

	x->server->no_lines = true;
	dev = tcp_bench_open(&x->b);
	assert_int_equal(x->b.events.notes, 2);
	assert_non_null(strstr(x->b.events.text, "does not confirm RTS"));
	tcp_start(dev, outcome_start(&x->b.loop, &o, 30000));
	assert_failed(&x->b.loop, &o, ERR_BENCH, "does not confirm DTR");
	tcp_bench_lines(&x->b, dev, "{\"break_ms\": 5}");
	close_device(&x->b.loop, dev);
}

static void every_byte_passes_both_ways(void **state)
{
	struct bench *x = *state;

	for (int i = 0; i < 2; i++) {
		struct device *dev;
		uint8_t all[256], escaped[1024];
		size_t len;

		for (int c = 0; c < 256; c++)
			all[c] = (uint8_t)c;
		x->server->not_binary = i == 1;
		x->server->got_len = x->b.in_len = 0;
		dev = tcp_bench_open(&x->b);
		/* BINARY is settled in both directions before the settings are answered */
		tcp_bench_write(&x->b, dev, (char *)all, 256);
		while (x->server->got_len < 256)
			uv_run(&x->b.loop, UV_RUN_ONCE);
		assert_memory_equal(x->server->got, all, 256);
		len = telnet_escape(&((struct rfc2217_peer *)x->server->tcp.peers->user)->telnet,
			all, 256, escaped);
		tcp_peer_send(x->server->tcp.peers, escaped, len);
		while (x->b.in_len < 256)
			uv_run(&x->b.loop, UV_RUN_ONCE);
		assert_memory_equal(x->b.in, all, 256);
		close_device(&x->b.loop, dev);
	}
}

static void what_is_wrong_with_the_server_is_said(void **state)
{
	struct bench *x = *state;

	json_object_set_new(x->b.options, "timeout_ms", json_integer(300));
	x->server->refuses = true;
	tcp_bench_open_fails(&x->b, "refuses RFC 2217");
	x->server->refuses = false;
	x->server->mute = true;
	tcp_bench_open_fails(&x->b, "does not answer as RFC 2217 servers do");
	rfc2217_speak(x->server);
	x->server->wrong = COM_BAUD;
	tcp_bench_open_fails(&x->b, "set the baud rate to 115201 instead of 115200");
	x->server->wrong = 0;
	x->server->tcp.closes = true;
	tcp_bench_open_fails(&x->b, "it closed the connection");
	tcp_server_down(&x->server->tcp);
	tcp_bench_open_fails(&x->b, "connection refused (does the program listen there?)");
}

static void a_server_that_is_back_is_taken_up_with_its_settings(void **state)
{
	struct bench *x = *state;
	struct device *dev = tcp_bench_open(&x->b);
	struct outcome o;

	for (int i = 1; i <= 2; i++) {
		tcp_server_down(&x->server->tcp);
		while (x->b.events.lost < i)
			uv_run(&x->b.loop, UV_RUN_ONCE);
		assert_non_null(strstr(x->b.events.text, "closed the connection"));
		dev->driver->console->write(dev, "x", 1, outcome_start(&x->b.loop, &o, 30000));
		assert_failed(&x->b.loop, &o, ERR_BENCH, "closed the connection");
		/* refused at first, and half there later */
		x->server->tcp.closes = i == 2;
		x->server->said[0] = '\0';
		tcp_server_up(&x->server->tcp);
		while (i == 2 && x->server->tcp.accepted < 3)
			uv_run(&x->b.loop, UV_RUN_ONCE);
		x->server->tcp.closes = false;
		while (x->b.events.back < i)
			uv_run(&x->b.loop, UV_RUN_ONCE);
		assert_int_equal(x->b.events.lost, i);
		assert_non_null(strstr(x->server->said, "1=115200 2=8 3=1 4=1 5=1 5=8 5=11"));
		tcp_bench_write(&x->b, dev, "y", 1);
	}
	close_device(&x->b.loop, dev);
}

static void raw_bytes_are_raw(void **state)
{
	struct bench *x = *state;
	struct device *dev;
	struct outcome o;

	tcp_bench_init(&x->b, x->server->tcp.port, "{\"mode\": \"raw\"}");
	x->server->refuses = x->server->not_binary = true;
	dev = tcp_bench_open(&x->b);
	while (!x->server->tcp.peers)
		uv_run(&x->b.loop, UV_RUN_ONCE);
	tcp_peer_send(x->server->tcp.peers, "\xff\xff\xfa\r\0", 5);
	while (x->b.in_len < 5)
		dev->driver->console->drain(dev);
	assert_memory_equal(x->b.in, "\xff\xff\xfa\r\0", 5);
	tcp_bench_write(&x->b, dev, "a\r\0b", 4); /* a CR NUL for the stand-in's telnet */
	while (x->server->got_len < 3)
		uv_run(&x->b.loop, UV_RUN_ONCE);
	assert_memory_equal(x->server->got, "a\rb", 3);
	tcp_start(dev, outcome_start(&x->b.loop, &o, 30000));
	assert_failed(&x->b.loop, &o, ERR_UNSUPPORTED, "mode = \"rfc2217\"");
	close_device(&x->b.loop, dev);
}

static void a_server_that_does_not_read_holds_a_write_up(void **state)
{
	struct bench *x = *state;
	const size_t size = (size_t)32 << 20;
	char *much = calloc(1, size);
	struct device *dev;
	struct outcome o;

	tcp_bench_init(&x->b, x->server->tcp.port, "{\"mode\": \"raw\"}");
	x->server->tcp.deaf = true;
	dev = tcp_bench_open(&x->b);
	dev->driver->console->write(dev, much, size, outcome_start(&x->b.loop, &o, 30000));
	free(much);
	for (int i = 0; i < 10; i++)
		uv_run(&x->b.loop, UV_RUN_NOWAIT);
	assert_int_equal(o.done, 0);
	tcp_server_down(&x->server->tcp);
	outcome_wait(&x->b.loop, &o);
	assert_int_equal(o.e.code, ERR_BENCH);
	close_device(&x->b.loop, dev);
}

static void refused(struct bench *x, const char *options, const char *text)
{
	struct err e;

	tcp_bench_init(&x->b, 1, options);
	json_object_update_new(x->b.options, json_loads(options, 0, NULL));
	assert_null(driver_find("tcp")->create(&x->b.env, x->b.options, &e));
	assert_int_equal(e.code, ERR_CONFIG);
	assert_non_null(strstr(e.msg, text));
}

static void options_that_cannot_work_are_refused(void **state)
{
	refused(*state, "{\"mode\": \"telnet\"}", "mode is \"raw\" or \"rfc2217\"");
	refused(*state, "{\"port\": 0}", "port must be");
	refused(*state, "{\"port\": 65536}", "port must be");
	refused(*state, "{\"baud\": 0}", "baud must be");
	refused(*state, "{\"data_bits\": 9}", "data_bits must be");
	refused(*state, "{\"stop_bits\": 3}", "stop_bits must be");
	refused(*state, "{\"parity\": \"some\"}", "parity must be");
	refused(*state, "{\"flow\": \"dtrdsr\"}", "flow must be");
	refused(*state, "{\"timeout_ms\": 0}", "timeout_ms must be");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(telnet_tells_data_from_the_rest),
		cmocka_unit_test(in_binary_mode_nothing_is_dropped),
		cmocka_unit_test(negotiation_does_not_loop),
		cmocka_unit_test(a_subnegotiation_beyond_measure_is_dropped),
		TEST(the_port_is_set_as_rig_conf_says),
		TEST(with_rtscts_rts_is_left_to_flow_control),
		TEST(lines_and_a_break_go_to_the_server),
		TEST(a_break_that_is_given_up_ends),
		TEST(lines_that_make_no_sense_are_refused),
		TEST(answers_to_what_was_given_up_are_told_apart),
		TEST(lines_that_the_port_has_not_are_told),
		TEST(every_byte_passes_both_ways),
		TEST(what_is_wrong_with_the_server_is_said),
		TEST(a_server_that_is_back_is_taken_up_with_its_settings),
		TEST(raw_bytes_are_raw),
		TEST(a_server_that_does_not_read_holds_a_write_up),
		TEST(options_that_cannot_work_are_refused),
	};

	(void)contract_tcp; /* under test in test_drivers.c */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
