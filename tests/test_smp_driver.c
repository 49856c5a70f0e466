/*
 * The driver smp over a console with a device behind it that loses, breaks and repeats answers.
 */
#include "driver_bench.h"

#include <unistd.h>

struct bench {
	uv_loop_t loop;
	struct console_port *port;
	struct driver_env env;
	struct events events;
	struct device *dev;
	char path[64];
	char image[50000];
};

static int setup_with(void **state, const char *changes)
{
	struct bench *b = calloc(1, sizeof(*b));
	const struct driver *driver = driver_find("smp");
	json_t *options;
	struct outcome o;
	FILE *f;
	struct err e;
	int fd;

	uv_loop_init(&b->loop);
	b->port = port_create(&b->loop);
	b->env = (struct driver_env){.loop = &b->loop,
		.board = "b",
		.console = b->port,
		.event = event_came,
		.arg = &b->events};
	options = options_of(driver, changes);
	b->dev = driver->create(&b->env, options, &e);
	json_decref(options);
	assert_non_null(b->dev);
	b->dev->driver = driver;
	driver->open(b->dev, outcome_start(&b->loop, &o, 1000));
	assert_done(&b->loop, &o);
	for (size_t i = 0; i < sizeof(b->image); i++)
		b->image[i] = (char)(i * 31 + (i >> 8));
	snprintf(b->path, sizeof(b->path), "/tmp/test_smp_driver.XXXXXX");
	fd = mkstemp(b->path);
	assert_return_code(fd, 0);
	f = fdopen(fd, "w");
	assert_int_equal(fwrite(b->image, sizeof(b->image), 1, f), 1);
	fclose(f);
	*state = b;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, "{\"try_ms\": 20}");
}

static int setup_patient(void **state)
{
	return setup_with(state, "{\"try_ms\": 3000000}");
}

static int teardown(void **state)
{
	struct bench *b = *state;

	unlink(b->path);
	if (b->dev)
		close_device(&b->loop, b->dev);
	port_destroy(b->port);
	close_loop(&b->loop);
	free(b);
	return 0;
}

static void request(struct bench *b, struct outcome *o, unsigned deadline_ms, const char *params)
{
	json_t *p = json_loads(params, 0, NULL);

	assert_non_null(p);
	b->dev->driver->transport->request(b->dev, p, outcome_start(&b->loop, o, deadline_ms));
	json_decref(p);
}

#define ECHO_HELLO "{\"op\": \"write\", \"group\": 0, \"id\": 0, \"body\": {\"d\": \"hello\"}}"

static void assert_echoed(struct bench *b, struct outcome *o)
{
	assert_done(&b->loop, o);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(o->result, "body"), "r")),
		"hello");
	outcome_finish(o);
}

static void a_request_gets_its_answer_among_log_lines(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	request(b, &o, 5000, ECHO_HELLO);
	assert_echoed(b, &o);
	assert_int_equal(b->port->requests, 1);
	assert_int_equal(b->port->last.op, SMP_WRITE);
	assert_int_equal(b->port->last.version, 0);
}

static void sequence_numbers_count_and_wrap(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	for (int i = 0; i < 300; i++) {
		request(b, &o, 5000, ECHO_HELLO);
		assert_echoed(b, &o);
		assert_int_equal(b->port->last.seq, i & 0xff);
	}
}

static void requests_are_served_in_order(void **state)
{
	struct bench *b = *state;
	struct outcome o[5];

	for (int i = 0; i < 5; i++)
		request(b, &o[i], 5000, ECHO_HELLO);
	assert_int_equal(b->port->requests, 1);
	assert_echoed(b, &o[4]);
	for (int i = 0; i < 4; i++)
		assert_int_equal(o[i].done, 1);
	for (int i = 0; i < 4; i++)
		assert_echoed(b, &o[i]);
	assert_int_equal(b->port->requests, 5);
}

static void a_lost_answer_is_asked_for_again_with_the_same_number(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->port->drop = 2;
	request(b, &o, 60000, ECHO_HELLO);
	assert_echoed(b, &o);
	assert_int_equal(b->port->requests, 3);
	assert_int_equal(b->port->last.seq, 0);
}

static void a_broken_answer_is_asked_for_again(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->port->corrupt = 1;
	request(b, &o, 60000, ECHO_HELLO);
	assert_echoed(b, &o);
	assert_int_equal(b->port->requests, 2);
}

static void a_double_answer_is_not_taken_for_the_next_requests(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->port->twice = 1;
	request(b, &o, 60000, ECHO_HELLO);
	assert_echoed(b, &o);
	request(b, &o, 60000, "{\"op\": \"read\", \"group\": 0, \"id\": 6}");
	assert_done(&b->loop, &o);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(o.result, "body"), "buf_size")),
		1024);
	outcome_finish(&o);
}

static void run_for(struct bench *b, unsigned ms)
{
	struct outcome o;

	outcome_start(&b->loop, &o, ms);
	assert_failed(&b->loop, &o, ERR_TIMEOUT, "");
}

static void give_up(struct outcome *o)
{
	struct err why;

	err_set(&why, ERR_CANCELLED, "given up");
	op_cancel(o->op, &why);
	assert_int_equal(o->done, 1);
}

static void a_device_that_says_nothing_is_sent_to_so_often_and_then_waited_for(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->port->silent = true;
	request(b, &o, 60000, ECHO_HELLO);
	while (b->port->requests < 3)
		uv_run(&b->loop, UV_RUN_ONCE);
	run_for(b, 100);
	assert_int_equal(b->port->requests, 3);
	assert_int_equal(o.done, 0);
	give_up(&o);
	assert_int_equal(b->events.notes, 0);
	b->port->silent = false;
	request(b, &o, 60000, ECHO_HELLO);
	assert_echoed(b, &o);
}

static void a_request_that_failed_of_broken_lines_says_so(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->port->corrupt = 1000;
	request(b, &o, 60000, ECHO_HELLO);
	while (b->port->requests < 2)
		uv_run(&b->loop, UV_RUN_ONCE);
	give_up(&o);
	assert_int_equal(b->events.notes, 1);
	assert_non_null(strstr(b->events.text, "SMP over console"));
}

static void a_late_answer_to_a_given_up_request_is_dropped(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	request(b, &o, 60000, ECHO_HELLO);
	give_up(&o); /* its answer is under way */
	request(b, &o, 60000, "{\"op\": \"read\", \"group\": 0, \"id\": 6}");
	assert_done(&b->loop, &o);
	assert_null(json_object_get(json_object_get(o.result, "body"), "r"));
	outcome_finish(&o);
}

static void a_cancelled_request_in_the_queue_is_never_sent(void **state)
{
	struct bench *b = *state;
	struct outcome first, second, third;

	request(b, &first, 60000, ECHO_HELLO);
	request(b, &second, 60000, ECHO_HELLO);
	request(b, &third, 60000, ECHO_HELLO);
	give_up(&second);
	assert_echoed(b, &first);
	assert_echoed(b, &third);
	assert_int_equal(second.done, 1);
	assert_int_equal(b->port->requests, 2);
}

static void an_error_of_the_device_names_group_and_command(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->port->refuse = 1;
	request(b, &o, 5000, "{\"op\": \"read\", \"group\": 1, \"id\": 0}");
	assert_failed(&b->loop, &o, ERR_DUT,
		"SMP group 1 command 0: the device refused: rc 6 (not in this state)");
}

static void a_request_that_is_none_is_refused(void **state)
{
	static const char *const bad[] = {
		"{}",
		"{\"op\": \"erase\", \"group\": 0, \"id\": 0}",
		"{\"op\": \"read\", \"group\": 65536, \"id\": 0}",
		"{\"op\": \"read\", \"group\": 0, \"id\": 256}",
		"{\"op\": \"read\", \"group\": 0, \"id\": -1}",
		"{\"op\": \"read\", \"group\": 0, \"id\": 0, \"body\": []}",
	};
	struct bench *b = *state;
	struct outcome o;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		request(b, &o, 5000, bad[i]);
		assert_failed(&b->loop, &o, ERR_USAGE, "an SMP request is");
	}
	request(b, &o, 5000,
		"{\"op\": \"read\", \"group\": 0, \"id\": 0, \"body\": {\"d\": {\"hex\": \"0\"}}}");
	assert_failed(&b->loop, &o, ERR_USAGE, "hex");
	assert_int_equal(b->port->requests, 0);
}

static void power_loss_fails_everything_at_once(void **state)
{
	struct bench *b = *state;
	struct outcome o[3];

	b->port->silent = true;
	for (int i = 0; i < 3; i++)
		request(b, &o[i], 60000, ECHO_HELLO);
	port_power_lost(b->port);
	for (int i = 0; i < 3; i++)
		assert_failed(&b->loop, &o[i], ERR_GONE, "the power was cut");
	b->port->silent = false;
	request(b, &o[0], 5000, ECHO_HELLO);
	assert_echoed(b, &o[0]);
}

/* A callback that asks again and cancels the one behind it. */
struct meddler {
	struct bench *b;
	struct outcome again, behind;
	int done;
};

static void meddle(void *arg, const struct err *e, json_t *result)
{
	struct meddler *m = arg;

	(void)result;
	assert_int_equal(e->code, ERR_GONE);
	m->done++;
	request(m->b, &m->again, 60000, ECHO_HELLO);
	give_up(&m->behind);
}

static void what_callbacks_start_and_cancel_while_power_is_lost_is_kept_apart(void **state)
{
	struct bench *b = *state;
	struct meddler m = {.b = b};
	struct outcome last;
	json_t *params = json_loads(ECHO_HELLO, 0, NULL);

	b->port->silent = true;
	b->dev->driver->transport->request(
		b->dev, params, op_start(&b->loop, "meddler", 60000, meddle, &m));
	json_decref(params);
	request(b, &m.behind, 60000, ECHO_HELLO);
	request(b, &last, 60000, ECHO_HELLO);
	b->port->silent = false;
	port_power_lost(b->port);
	assert_int_equal(m.done, 1);
	assert_int_equal(m.behind.done, 1);
	assert_int_equal(m.behind.e.code, ERR_CANCELLED);
	assert_failed(&b->loop, &last, ERR_GONE, "the power was cut");
	assert_echoed(b, &m.again);
}

static void a_port_that_fails_fails_the_request(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->port->fail_writes = true;
	request(b, &o, 60000, ECHO_HELLO);
	assert_failed(&b->loop, &o, ERR_BENCH, "cannot send: the port is gone");
}

static void close_fails_what_is_under_way(void **state)
{
	struct bench *b = *state;
	struct outcome o[2];

	b->port->silent = true;
	request(b, &o[0], 60000, ECHO_HELLO);
	request(b, &o[1], 60000, ECHO_HELLO);
	close_device(&b->loop, b->dev);
	b->dev = NULL;
	assert_failed(&b->loop, &o[0], ERR_GONE, "closed");
	assert_failed(&b->loop, &o[1], ERR_GONE, "closed");
	assert_null(b->port->listeners);
}

/* --- upload --- */

static void send_image(struct bench *b, struct outcome *o, const char *params)
{
	json_t *p = json_loads(params, 0, NULL);

	b->dev->driver->transport->send(b->dev, b->path, p, outcome_start(&b->loop, o, 60000));
	json_decref(p);
}

static json_int_t number(struct outcome *o, const char *name)
{
	return json_integer_value(json_object_get(o->result, name));
}

static void assert_image_arrived(struct bench *b)
{
	assert_int_equal(b->port->image_off, sizeof(b->image));
	assert_memory_equal(b->port->image, b->image, sizeof(b->image));
}

static void an_image_is_sent_in_chunks_that_fill_the_devices_buffer(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	send_image(b, &o, "{}");
	assert_done(&b->loop, &o);
	assert_image_arrived(b);
	assert_int_equal(number(&o, "bytes"), sizeof(b->image));
	assert_int_equal(number(&o, "resumed_at"), 0);
	assert_int_equal(number(&o, "chunks"), b->port->requests - 1);
	assert_in_range(b->port->longest, b->port->buf_size - 4, b->port->buf_size);
	/* 1,024 bytes less header, keys and offset hold about 1,000 of image */
	assert_in_range(number(&o, "chunks"), sizeof(b->image) / 1024, sizeof(b->image) / 980);
	outcome_finish(&o);
}

static void an_image_goes_out_with_its_sha256(void **state)
{
	struct bench *b = *state;
	struct outcome o;
	FILE *f = fopen(b->path, "w");

	/* FIPS 180-2, appendix B.1 */
	fputs("abc", f);
	fclose(f);
	send_image(b, &o, "{}");
	assert_done(&b->loop, &o);
	assert_string_equal(
		b->port->sha, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	outcome_finish(&o);
}

static void a_device_that_does_not_tell_its_buffer_gets_small_chunks(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->port->buf_size = 0;
	send_image(b, &o, "{}");
	assert_done(&b->loop, &o);
	assert_image_arrived(b);
	assert_in_range(b->port->longest, 300, 384);
	outcome_finish(&o);
}

static void a_lost_chunk_is_sent_again(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->port->drop = 2;
	send_image(b, &o, "{}");
	while (b->port->image_off < 20000)
		uv_run(&b->loop, UV_RUN_ONCE);
	b->port->corrupt = 2;
	assert_done(&b->loop, &o);
	assert_image_arrived(b);
	assert_int_equal(number(&o, "resent"), 4);
	outcome_finish(&o);
}

static void an_upload_is_resumed_where_the_device_says(void **state)
{
	struct bench *b = *state;
	struct outcome o;
	int before;

	send_image(b, &o, "{}");
	while (b->port->image_off < 20000)
		uv_run(&b->loop, UV_RUN_ONCE);
	port_power_lost(b->port);
	assert_failed(&b->loop, &o, ERR_GONE, "the power was cut");
	before = b->port->requests;
	send_image(b, &o, "{}");
	assert_done(&b->loop, &o);
	assert_image_arrived(b);
	assert_in_range(number(&o, "resumed_at"), 20000, 22000);
	assert_in_range(b->port->requests - before, 28000 / 1024, 30000 / 980 + 3);
	outcome_finish(&o);
}

static void a_device_that_restarts_the_upload_gets_the_whole_first_request_again(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	send_image(b, &o, "{}");
	while (b->port->image_off < 20000)
		uv_run(&b->loop, UV_RUN_ONCE);
	/* as after a reset: it knows nothing, and answers the next chunk with 0 */
	b->port->sha[0] = '\0';
	b->port->image_off = 0;
	assert_done(&b->loop, &o);
	assert_image_arrived(b);
	outcome_finish(&o);
}

static void a_device_that_takes_nothing_more_is_given_up(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->port->off_stuck = 100;
	send_image(b, &o, "{}");
	assert_failed(&b->loop, &o, ERR_DUT, "stays at byte 100 of 50000");
	b->port->off_stuck = 50001;
	send_image(b, &o, "{}");
	assert_failed(&b->loop, &o, ERR_DUT, "no valid offset");
}

static void an_upload_that_the_device_refuses_says_where(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	send_image(b, &o, "{}");
	while (b->port->image_off == 0)
		uv_run(&b->loop, UV_RUN_ONCE);
	b->port->refuse = 1;
	assert_failed(&b->loop, &o, ERR_DUT, "of 50000: the device refused: rc 6");
}

static void a_hash_that_does_not_match_is_the_devices_fault(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->port->mismatch = true;
	send_image(b, &o, "{}");
	assert_failed(&b->loop, &o, ERR_DUT, "another hash");
}

static void a_file_that_cannot_be_sent_is_refused(void **state)
{
	struct bench *b = *state;
	struct outcome o;
	FILE *f = fopen(b->path, "w");

	fclose(f);
	send_image(b, &o, "{}");
	assert_failed(&b->loop, &o, ERR_USAGE, "an empty file");
	unlink(b->path);
	send_image(b, &o, "{}");
	assert_failed(&b->loop, &o, ERR_IO, b->path);
	assert_int_equal(b->port->requests, 0);
}

static void a_buffer_too_small_for_any_chunk_is_the_devices_fault(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	b->port->buf_size = 64;
	send_image(b, &o, "{}");
	assert_failed(&b->loop, &o, ERR_DUT, "too small");
}

static void slot_and_upgrade_travel_with_the_first_chunk(void **state)
{
	struct bench *b = *state;
	struct outcome o;

	/* the fake ignores both; that the longer first request still fits shows them counted */
	send_image(b, &o, "{\"slot\": 1, \"upgrade\": true}");
	assert_done(&b->loop, &o);
	assert_in_range(b->port->longest, b->port->buf_size - 4, b->port->buf_size);
	outcome_finish(&o);
}

static void options_out_of_range_are_refused(void **state)
{
	static const char *const bad[] = {"{\"try_ms\": 0}", "{\"tries\": 0}", "{\"version\": 3}"};
	const struct driver *driver = driver_find("smp");
	struct driver_env env = {0};
	struct err e;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		json_t *options = options_of(driver, bad[i]);

		assert_null(driver->create(&env, options, &e));
		assert_int_equal(e.code, ERR_CONFIG);
		json_decref(options);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define PATIENT(name) cmocka_unit_test_setup_teardown(name, setup_patient, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		PATIENT(a_request_gets_its_answer_among_log_lines),
		PATIENT(sequence_numbers_count_and_wrap),
		PATIENT(requests_are_served_in_order),
		T(a_lost_answer_is_asked_for_again_with_the_same_number),
		T(a_broken_answer_is_asked_for_again),
		T(a_double_answer_is_not_taken_for_the_next_requests),
		T(a_device_that_says_nothing_is_sent_to_so_often_and_then_waited_for),
		T(a_request_that_failed_of_broken_lines_says_so),
		PATIENT(a_late_answer_to_a_given_up_request_is_dropped),
		PATIENT(a_cancelled_request_in_the_queue_is_never_sent),
		PATIENT(an_error_of_the_device_names_group_and_command),
		PATIENT(a_request_that_is_none_is_refused),
		PATIENT(power_loss_fails_everything_at_once),
		PATIENT(what_callbacks_start_and_cancel_while_power_is_lost_is_kept_apart),
		PATIENT(a_port_that_fails_fails_the_request),
		PATIENT(close_fails_what_is_under_way),
		PATIENT(an_image_is_sent_in_chunks_that_fill_the_devices_buffer),
		PATIENT(an_image_goes_out_with_its_sha256),
		PATIENT(a_device_that_does_not_tell_its_buffer_gets_small_chunks),
		T(a_lost_chunk_is_sent_again),
		PATIENT(an_upload_is_resumed_where_the_device_says),
		PATIENT(a_device_that_restarts_the_upload_gets_the_whole_first_request_again),
		PATIENT(a_device_that_takes_nothing_more_is_given_up),
		PATIENT(an_upload_that_the_device_refuses_says_where),
		PATIENT(a_hash_that_does_not_match_is_the_devices_fault),
		PATIENT(a_file_that_cannot_be_sent_is_refused),
		PATIENT(a_buffer_too_small_for_any_chunk_is_the_devices_fault),
		PATIENT(slot_and_upgrade_travel_with_the_first_chunk),
		cmocka_unit_test(options_out_of_range_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
