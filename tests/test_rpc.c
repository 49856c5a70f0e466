#include "rig/rpc.h"
#include "tests/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#define GUARD_MS 30000 /* of a test that hangs; nothing is timed by it */
#define LONG_MS 60000
#define CALLS_MAX 128

/* One end: an rpc and all that happened to it. */
struct side {
	struct rpc *rpc;
	struct rpc_call *calls[CALLS_MAX]; /* not answered yet */
	size_t call_count, requests, notifications, closed;
	char method[64];
	json_t *params;
	struct err why;
	bool echo;             /* answers with the params */
	bool destroy_on_call;  /* destroys itself in the handler */
	bool destroy_on_close; /* and in this one */
};

struct reply {
	size_t times;
	bool failed;
	struct err e;
	json_t *result;
	struct side *destroy; /* whom to destroy from within */
	const size_t *other;  /* looked at after that */
	size_t other_seen;
};

struct bed {
	uv_loop_t loop;
	uv_timer_t guard;
	struct side a, b;
	int raw; /* the far end of a, when b is not used; -1 */
	char text[65536];
	size_t text_len;
};

static void on_request(void *arg, struct rpc_call *call, const char *method, json_t *params)
{
	struct side *s = arg;

	snprintf(s->method, sizeof(s->method), "%s", method);
	json_decref(s->params);
	s->params = json_incref(params);
	s->requests += call != NULL;
	s->notifications += call == NULL;
	if (call && s->echo) {
		rpc_answer(call, json_incref(params));
	} else if (call) {
		assert_true(s->call_count < CALLS_MAX);
		s->calls[s->call_count++] = call;
	}
	if (s->destroy_on_call) {
		rpc_destroy(s->rpc);
		s->rpc = NULL;
	}
}

static void on_closed(void *arg, const struct err *why)
{
	struct side *s = arg;

	s->closed++;
	s->why = *why;
	if (s->destroy_on_close) {
		rpc_destroy(s->rpc);
		s->rpc = NULL;
	}
}

static const struct rpc_handlers handlers = {.request = on_request, .closed = on_closed};

static void on_reply(void *arg, const struct err *e, json_t *result)
{
	struct reply *r = arg;

	r->times++;
	r->failed = e != NULL;
	if (e)
		r->e = *e;
	json_decref(r->result);
	r->result = json_incref(result);
	if (r->destroy) {
		rpc_destroy(r->destroy->rpc);
		r->destroy->rpc = NULL;
		if (r->other)
			r->other_seen = *r->other;
	}
}

static void hangs(uv_timer_t *timer)
{
	(void)timer;
	fail_msg("the test hangs");
}

static int setup(void **state)
{
	struct bed *bed = calloc(1, sizeof(*bed));

	if (!bed)
		return -1;
	uv_loop_init(&bed->loop);
	uv_timer_init(&bed->loop, &bed->guard);
	uv_timer_start(&bed->guard, hangs, GUARD_MS, 0);
	bed->raw = -1;
	*state = bed;
	return 0;
}

static int teardown(void **state)
{
	struct bed *bed = *state;
	struct side *sides[] = {&bed->a, &bed->b};

	for (size_t i = 0; i < 2; i++) {
		rpc_destroy(sides[i]->rpc);
		for (size_t k = 0; k < sides[i]->call_count; k++)
			rpc_answer(sides[i]->calls[k], NULL);
		json_decref(sides[i]->params);
	}
	if (bed->raw >= 0)
		close(bed->raw);
	uv_close((uv_handle_t *)&bed->guard, NULL);
	uv_run(&bed->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&bed->loop) != 0)
		return -1;
	free(bed);
	return 0;
}

static void open_pair(struct bed *bed, bool raw)
{
	int fds[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	bed->a.rpc = rpc_create(&bed->loop, fds[0], &handlers, &bed->a);
	assert_non_null(bed->a.rpc);
	if (raw) {
		bed->raw = fds[1];
		return;
	}
	bed->b.rpc = rpc_create(&bed->loop, fds[1], &handlers, &bed->b);
	assert_non_null(bed->b.rpc);
}

/* Runs the loop until *count is at least n. */
static void run_until(struct bed *bed, const size_t *count, size_t n)
{
	while (*count < n)
		uv_run(&bed->loop, UV_RUN_ONCE);
}

/* Runs what is ready, and what comes of that. */
static void settle(struct bed *bed)
{
	for (int i = 0; i < 10; i++)
		uv_run(&bed->loop, UV_RUN_NOWAIT);
}

static void send_raw(struct bed *bed, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(bed->raw, data, len, MSG_NOSIGNAL);

		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			uv_run(&bed->loop, UV_RUN_ONCE);
			continue;
		}
		data += n;
		len -= (size_t)n;
	}
}

static void send_line(struct bed *bed, const char *line)
{
	send_raw(bed, line, strlen(line));
	send_raw(bed, "\n", 1);
}

/* The next message that a sent; the caller's to free. */
static json_t *receive(struct bed *bed)
{
	json_error_t bad;
	json_t *json;
	char *nl;

	while (!(nl = memchr(bed->text, '\n', bed->text_len))) {
		ssize_t n = recv(
			bed->raw, bed->text + bed->text_len, sizeof(bed->text) - bed->text_len, 0);

		if (n > 0)
			bed->text_len += (size_t)n;
		else
			uv_run(&bed->loop, UV_RUN_ONCE);
	}
	json = json_loadb(bed->text, (size_t)(nl - bed->text), 0, &bad);
	assert_non_null(json);
	bed->text_len -= (size_t)(nl + 1 - bed->text);
	memmove(bed->text, nl + 1, bed->text_len);
	return json;
}

/* --- between two of us ------------------------------------------------------------------------ */

static void a_request_is_answered(void **state)
{
	struct bed *bed = *state;
	struct reply reply = {.times = 0};

	open_pair(bed, false);
	bed->b.echo = true;
	rpc_request(
		bed->a.rpc, "power.set", json_pack("{s:b}", "on", 1), LONG_MS, on_reply, &reply);
	run_until(bed, &reply.times, 1);
	assert_string_equal(bed->b.method, "power.set");
	assert_false(reply.failed);
	assert_true(json_is_true(json_object_get(reply.result, "on")));
	json_decref(reply.result);
}

static void a_request_may_bring_its_params_as_text(void **state)
{
	static const size_t lengths[] = {0, 1, 400, 100000}; /* of a value in them */
	struct bed *bed = *state;

	open_pair(bed, false);
	bed->b.echo = true;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		struct reply reply = {.times = 0};
		char *value = calloc(1, lengths[i] + 1), *params = NULL;

		memset(value, 'x', lengths[i]);
		assert_true(asprintf(&params, "{\"v\":\"%s\"}", value) > 0);
		rpc_request_text(bed->a.rpc, "a.b", params, LONG_MS, on_reply, &reply);
		free(params);
		run_until(bed, &reply.times, 1);
		assert_string_equal(bed->b.method, "a.b");
		assert_string_equal(json_string_value(json_object_get(reply.result, "v")), value);
		json_decref(reply.result);
		free(value);
	}
}

static void both_sides_may_call(void **state)
{
	struct bed *bed = *state;
	struct reply x = {.times = 0}, y = {.times = 0};

	open_pair(bed, false);
	bed->a.echo = bed->b.echo = true;
	rpc_request(bed->a.rpc, "to-b", NULL, LONG_MS, on_reply, &x);
	rpc_request(bed->b.rpc, "to-a", NULL, 0, on_reply, &y);
	run_until(bed, &x.times, 1);
	run_until(bed, &y.times, 1);
	assert_string_equal(bed->a.method, "to-a");
	assert_string_equal(bed->b.method, "to-b");
	assert_null(bed->a.params); /* none were sent */
	assert_false(x.failed);
	assert_true(json_is_null(y.result));
	json_decref(x.result);
	json_decref(y.result);
}

static void an_error_arrives_with_its_code_and_text(void **state)
{
	struct bed *bed = *state;

	open_pair(bed, false);
	for (int code = ERR_NONE + 1; code < ERR_COUNT; code++) {
		struct reply reply = {.times = 0};
		struct err e;

		rpc_request(bed->a.rpc, "m", NULL, LONG_MS, on_reply, &reply);
		run_until(bed, &bed->b.call_count, 1);
		err_set(&e, (enum err_code)code, "board b: \"quoted\"\tand %d", code);
		rpc_answer_err(bed->b.calls[0], &e);
		bed->b.call_count = 0;
		run_until(bed, &reply.times, 1);
		assert_true(reply.failed);
		assert_int_equal(reply.e.code, code);
		assert_string_equal(reply.e.msg, e.msg);
	}
}

static void answers_find_their_requests_in_any_order(void **state)
{
	struct bed *bed = *state;
	struct reply replies[100] = {{.times = 0}};

	open_pair(bed, false);
	for (size_t i = 0; i < 100; i++)
		rpc_request(bed->a.rpc, "m", json_pack("{s:i}", "n", (int)i), LONG_MS, on_reply,
			&replies[i]);
	run_until(bed, &bed->b.call_count, 100);
	for (size_t i = 0; i < 100; i++) {
		size_t k = i * 37 % 100; /* every one once */

		rpc_answer(bed->b.calls[k], json_integer((json_int_t)k));
	}
	bed->b.call_count = 0;
	for (size_t i = 0; i < 100; i++) {
		run_until(bed, &replies[i].times, 1);
		assert_int_equal(json_integer_value(replies[i].result), i);
		json_decref(replies[i].result);
	}
}

static void a_notification_has_no_answer(void **state)
{
	struct bed *bed = *state;

	open_pair(bed, false);
	rpc_notify(bed->a.rpc, "cut", json_pack("{s:i}", "op", 57));
	run_until(bed, &bed->b.notifications, 1);
	assert_int_equal(bed->b.requests, 0);
	assert_int_equal(json_integer_value(json_object_get(bed->b.params, "op")), 57);
}

static void an_operation_answers_a_call(void **state)
{
	struct bed *bed = *state;
	struct reply good = {.times = 0}, bad = {.times = 0};
	json_t *result = json_pack("{s:i}", "n", 7);
	struct err e;

	open_pair(bed, false);
	rpc_request(bed->a.rpc, "m", NULL, LONG_MS, on_reply, &good);
	rpc_request(bed->a.rpc, "m", NULL, LONG_MS, on_reply, &bad);
	run_until(bed, &bed->b.call_count, 2);
	rpc_answer_op(bed->b.calls[0], NULL, result);
	json_decref(result); /* it was borrowed */
	err_set(&e, ERR_BENCH, "no");
	rpc_answer_op(bed->b.calls[1], &e, NULL);
	bed->b.call_count = 0;
	run_until(bed, &bad.times, 1);
	assert_int_equal(json_integer_value(json_object_get(good.result, "n")), 7);
	assert_int_equal(bad.e.code, ERR_BENCH);
	json_decref(good.result);
}

/* --- time and the end ------------------------------------------------------------------------- */

static void a_request_that_is_not_answered_times_out_once(void **state)
{
	struct bed *bed = *state;
	struct reply reply = {.times = 0};

	open_pair(bed, false);
	rpc_request(bed->a.rpc, "slow", NULL, 1, on_reply, &reply);
	run_until(bed, &reply.times, 1);
	assert_int_equal(reply.e.code, ERR_TIMEOUT);
	assert_string_equal(reply.e.msg, "slow: no answer within 1 ms");
	/* the answer comes too late, and the connection goes on */
	run_until(bed, &bed->b.call_count, 1);
	rpc_answer(bed->b.calls[0], json_integer(1));
	bed->b.call_count = 0;
	settle(bed);
	assert_int_equal(reply.times, 1);
	assert_int_equal(bed->a.closed, 0);
}

static void when_the_peer_goes_waiting_calls_fail_and_then_the_owner_is_told(void **state)
{
	struct bed *bed = *state;
	struct reply replies[3] = {{.times = 0}};

	open_pair(bed, false);
	for (size_t i = 0; i < 3; i++)
		rpc_request(bed->a.rpc, "m", NULL, i ? LONG_MS : 0, on_reply, &replies[i]);
	run_until(bed, &bed->b.call_count, 3);
	rpc_destroy(bed->b.rpc);
	bed->b.rpc = NULL;
	run_until(bed, &bed->a.closed, 1);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(replies[i].times, 1);
		assert_int_equal(replies[i].e.code, ERR_GONE);
	}
	assert_string_equal(replies[0].e.msg, "m: the peer closed the connection");
	assert_int_equal(bed->a.why.code, ERR_GONE);
	settle(bed);
	assert_int_equal(bed->a.closed, 1);
}

static void on_a_closed_connection_a_request_fails_at_once(void **state)
{
	struct bed *bed = *state;
	struct reply reply = {.times = 0};

	open_pair(bed, true);
	close(bed->raw);
	bed->raw = -1;
	run_until(bed, &bed->a.closed, 1);
	rpc_request(bed->a.rpc, "m", json_object(), LONG_MS, on_reply, &reply);
	assert_int_equal(reply.times, 1);
	assert_int_equal(reply.e.code, ERR_GONE);
	rpc_notify(bed->a.rpc, "n", json_object());
	settle(bed);
	assert_int_equal(reply.times, 1);
}

static void writing_to_a_peer_that_is_gone_ends_the_connection_and_not_the_process(void **state)
{
	struct bed *bed = *state;
	struct reply reply = {.times = 0};

	open_pair(bed, true);
	close(bed->raw);
	bed->raw = -1;
	rpc_notify(bed->a.rpc, "n", NULL);
	rpc_request(bed->a.rpc, "m", NULL, 0, on_reply, &reply);
	run_until(bed, &bed->a.closed, 1);
	assert_int_equal(reply.times, 1);
	assert_int_equal(reply.e.code, ERR_GONE);
}

static void a_peer_that_takes_no_more_is_gone(void **state)
{
	struct bed *bed = *state;
	struct reply reply = {.times = 0};

	open_pair(bed, true);
	assert_int_equal(shutdown(bed->raw, SHUT_RD), 0);
	rpc_request(bed->a.rpc, "m", NULL, 0, on_reply, &reply);
	run_until(bed, &bed->a.closed, 1);
	assert_int_equal(reply.times, 1);
	assert_int_equal(reply.e.code, ERR_GONE);
}

static void a_peer_that_sends_no_more_is_gone(void **state)
{
	struct bed *bed = *state;

	open_pair(bed, true);
	send_line(bed, "{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"m\"}");
	assert_int_equal(shutdown(bed->raw, SHUT_WR), 0);
	run_until(bed, &bed->a.closed, 1);
	assert_int_equal(bed->a.requests, 1); /* what it sent before counts */
	assert_int_equal(bed->a.why.code, ERR_GONE);
}

static void a_call_may_be_answered_after_the_end(void **state)
{
	struct bed *bed = *state;
	struct reply replies[3] = {{.times = 0}};
	struct err e;

	open_pair(bed, false);
	for (int i = 0; i < 3; i++)
		rpc_request(bed->a.rpc, "m", NULL, 0, on_reply, &replies[i]);
	run_until(bed, &bed->b.call_count, 3);
	rpc_destroy(bed->b.rpc);
	bed->b.rpc = NULL;
	err_set(&e, ERR_DUT, "late");
	rpc_answer(bed->b.calls[0], json_object());
	settle(bed);
	rpc_answer_err(bed->b.calls[1], &e);
	rpc_answer(bed->b.calls[2], NULL);
	bed->b.call_count = 0;
	assert_int_equal(replies[0].e.code, ERR_GONE);
	assert_int_equal(replies[1].times, 1);
}

/* --- destroying from within ------------------------------------------------------------------- */

static void may_be_destroyed_in_the_request_handler(void **state)
{
	struct bed *bed = *state;

	open_pair(bed, true);
	bed->a.destroy_on_call = true;
	send_raw(bed, "{\"id\":1,\"method\":\"x\"}\n{\"id\":2,\"method\":\"y\"}\n", 44);
	run_until(bed, &bed->a.requests, 1);
	settle(bed);
	assert_string_equal(bed->a.method, "x"); /* nothing after it */
	assert_int_equal(bed->a.closed, 0);
}

static void may_be_destroyed_in_the_closed_handler(void **state)
{
	struct bed *bed = *state;
	struct reply reply = {.times = 0};

	open_pair(bed, true);
	bed->a.destroy_on_close = true;
	rpc_request(bed->a.rpc, "m", NULL, LONG_MS, on_reply, &reply);
	close(bed->raw);
	bed->raw = -1;
	run_until(bed, &bed->a.closed, 1);
	settle(bed);
	assert_int_equal(reply.times, 1);
	assert_int_equal(bed->a.closed, 1);
}

static void may_be_destroyed_in_a_reply(void **state)
{
	struct bed *bed = *state;
	struct reply reply = {.destroy = &bed->a};

	open_pair(bed, false);
	bed->b.echo = true;
	rpc_request(bed->a.rpc, "m", NULL, LONG_MS, on_reply, &reply);
	run_until(bed, &reply.times, 1);
	settle(bed);
	assert_null(bed->a.rpc);
	assert_int_equal(bed->a.closed, 0);
	json_decref(reply.result);
}

static void may_be_destroyed_when_a_request_times_out(void **state)
{
	struct bed *bed = *state;
	struct reply reply = {.destroy = &bed->a};

	open_pair(bed, true);
	rpc_request(bed->a.rpc, "m", NULL, 1, on_reply, &reply);
	run_until(bed, &reply.times, 1);
	settle(bed);
	assert_int_equal(reply.e.code, ERR_TIMEOUT);
}

static void no_handler_runs_once_destroy_has_returned(void **state)
{
	struct bed *bed = *state;
	struct reply older = {.times = 0}, younger = {.destroy = &bed->a, .other = &older.times};

	/* whichever fails first, the other one fails before its rpc_destroy() returns */
	open_pair(bed, true);
	rpc_request(bed->a.rpc, "older", NULL, LONG_MS, on_reply, &older);
	rpc_request(bed->a.rpc, "younger", NULL, LONG_MS, on_reply, &younger);
	close(bed->raw);
	bed->raw = -1;
	run_until(bed, &younger.times, 1);
	assert_int_equal(younger.other_seen, 1);
	settle(bed);
	assert_int_equal(older.times, 1);
	assert_int_equal(younger.times, 1);
	assert_int_equal(bed->a.closed, 0);
}

static void destroying_fails_what_waits_before_it_returns(void **state)
{
	struct bed *bed = *state;
	struct reply replies[2] = {{.times = 0}};

	open_pair(bed, true);
	rpc_request(bed->a.rpc, "m", NULL, LONG_MS, on_reply, &replies[0]);
	rpc_request(bed->a.rpc, "m", NULL, 0, on_reply, &replies[1]);
	rpc_destroy(bed->a.rpc);
	bed->a.rpc = NULL;
	assert_int_equal(replies[0].times, 1);
	assert_int_equal(replies[1].times, 1);
	assert_int_equal(replies[0].e.code, ERR_GONE);
	assert_int_equal(bed->a.closed, 0);
	rpc_destroy(NULL);
}

/* --- what peers may send ---------------------------------------------------------------------- */

static void malformed_messages_are_answered_and_survived(void **state)
{
	static const struct {
		const char *line;
		int code;
	} cases[] = {
		{"rubbish", -32700},
		{"{\"id\": 1, \"method\": \"m\"", -32700},
		{"{\"id\": 1, \"id\": 2, \"method\": \"m\"}", -32700},
		{"\"text\"", -32700},
		{"\xff\xfe", -32700},
		{"{\"method\": \"\\u0000\"}", -32700},
		{"[{\"id\": 1, \"method\": \"m\"}]", -32600},
		{"[]", -32600},
		{"{}", -32600},
		{"{\"id\": 1}", -32600},
		{"{\"id\": 1, \"method\": 7}", -32600},
		{"{\"id\": 1, \"method\": \"m\", \"params\": [1]}", -32602},
		{"{\"id\": 1, \"method\": \"m\", \"params\": \"x\"}", -32602},
	};
	struct bed *bed = *state;

	open_pair(bed, true);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *reply;

		send_line(bed, cases[i].line);
		reply = receive(bed);
		assert_int_equal(json_integer_value(
					 json_object_get(json_object_get(reply, "error"), "code")),
			cases[i].code);
		assert_string_equal(json_string_value(json_object_get(reply, "jsonrpc")), "2.0");
		json_decref(reply);
	}
	assert_int_equal(bed->a.requests + bed->a.notifications, 0);
	assert_int_equal(bed->a.closed, 0);
	send_line(bed, "{\"id\": 1, \"method\": \"still-here\"}");
	run_until(bed, &bed->a.requests, 1);
	assert_string_equal(bed->a.method, "still-here");
}

static void replies_to_nothing_are_ignored(void **state)
{
	static const char *const lines[] = {"{\"id\": 99, \"result\": 1}",
		"{\"id\": null, \"error\": {\"code\": 1, \"message\": \"x\"}}",
		"{\"id\": \"text\", \"result\": 1}", "{\"id\": {}, \"result\": 1}",
		"{\"id\": 0, \"result\": 1}", "", "\n\n"};
	struct bed *bed = *state;
	struct reply reply = {.times = 0};
	json_t *request;

	open_pair(bed, true);
	rpc_request(bed->a.rpc, "m", NULL, LONG_MS, on_reply, &reply);
	request = receive(bed);
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		send_line(bed, lines[i]);
	settle(bed);
	assert_int_equal(reply.times, 0);
	assert_int_equal(bed->a.closed, 0);
	assert_int_equal(json_integer_value(json_object_get(request, "id")), 1);
	send_line(bed, "{\"id\": 1, \"result\": 5, \"error\": null}");
	run_until(bed, &reply.times, 1);
	assert_false(reply.failed);
	assert_int_equal(json_integer_value(reply.result), 5);
	json_decref(reply.result);
	json_decref(request);
}

static void an_error_is_never_taken_for_success(void **state)
{
	static const char *const errors[] = {"{}", "7", "{\"code\": 0}",
		"{\"code\": -32000, \"message\": 3, \"data\": {\"name\": \"none\"}}",
		"{\"code\": -32601, \"message\": \"no such method\"}"};
	struct bed *bed = *state;

	open_pair(bed, true);
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
		struct reply reply = {.times = 0};
		char line[256];

		rpc_request(bed->a.rpc, "m", NULL, LONG_MS, on_reply, &reply);
		snprintf(line, sizeof(line), "{\"id\": %zu, \"error\": %s}", i + 1, errors[i]);
		send_line(bed, line);
		run_until(bed, &reply.times, 1);
		assert_true(reply.failed);
		assert_int_equal(reply.e.code, ERR_PROTOCOL);
		assert_true(strlen(reply.e.msg) > 0);
	}
}

static void the_peers_id_comes_back_as_it_was(void **state)
{
	static const char *const ids[] = {"7", "\"seven\"", "null", "-1"};
	struct bed *bed = *state;

	open_pair(bed, true);
	bed->a.echo = true;
	for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
		char line[128];
		json_t *reply, *id = json_loads(ids[i], JSON_DECODE_ANY, NULL);

		snprintf(line, sizeof(line), "{\"id\": %s, \"method\": \"m\", \"params\": {}}",
			ids[i]);
		send_line(bed, line);
		reply = receive(bed);
		assert_true(json_equal(json_object_get(reply, "id"), id));
		assert_non_null(json_object_get(reply, "result"));
		json_decref(reply);
		json_decref(id);
	}
}

static void messages_may_arrive_in_any_pieces(void **state)
{
	static const char text[] =
		"{\"id\":1,\"method\":\"one\"}\n{\"id\":2,\"method\":\"two\"}\r\n"
		"{\"id\":3,\"method\":\"three\"}\n";
	struct bed *bed = *state;

	open_pair(bed, true);
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		send_raw(bed, &text[i], 1);
		uv_run(&bed->loop, UV_RUN_NOWAIT);
	}
	run_until(bed, &bed->a.requests, 3);
	send_raw(bed, text, sizeof(text) - 1);
	run_until(bed, &bed->a.requests, 6);
	assert_string_equal(bed->a.method, "three");
}

static char *long_line(size_t len)
{
	static const char head[] = "{\"id\":1,\"method\":\"m\",\"params\":{\"x\":\"";
	static const char tail[] = "\"}}";
	char *line = malloc(len + 2);

	assert_non_null(line);
	memset(line, 'x', len);
	memcpy(line, head, sizeof(head) - 1);
	memcpy(line + len - (sizeof(tail) - 1), tail, sizeof(tail) - 1);
	line[len] = '\n';
	line[len + 1] = '\0';
	return line;
}

static void a_line_of_the_longest_length_is_taken(void **state)
{
	struct bed *bed = *state;
	char *line = long_line(RPC_LINE_MAX);

	open_pair(bed, true);
	send_raw(bed, line, RPC_LINE_MAX + 1);
	run_until(bed, &bed->a.requests, 1);
	assert_int_equal(bed->a.closed, 0);
	free(line);
}

static void a_longer_line_ends_the_connection(void **state)
{
	struct bed *bed = *state;
	char *line = long_line(RPC_LINE_MAX + 1);

	open_pair(bed, true);
	send_raw(bed, line, RPC_LINE_MAX + 2);
	run_until(bed, &bed->a.closed, 1);
	assert_int_equal(bed->a.requests, 0);
	assert_int_equal(bed->a.why.code, ERR_PROTOCOL);
	free(line);
}

static void a_line_that_never_ends_does_not_eat_memory(void **state)
{
	struct bed *bed = *state;
	char *rubbish = malloc(1 << 20);

	assert_non_null(rubbish);
	memset(rubbish, 'x', 1 << 20);
	open_pair(bed, true);
	for (int i = 0; i < 64 && bed->a.closed == 0; i++)
		for (size_t at = 0; at < (1 << 20) && bed->a.closed == 0;) {
			ssize_t n = send(bed->raw, rubbish, (1 << 20) - at, MSG_NOSIGNAL);

			at += n > 0 ? (size_t)n : 0;
			uv_run(&bed->loop, UV_RUN_NOWAIT);
		}
	assert_int_equal(bed->a.closed, 1);
	assert_int_equal(bed->a.why.code, ERR_PROTOCOL);
	free(rubbish);
}

static void what_a_slow_reader_did_not_take_waits_and_arrives_in_order(void **state)
{
	struct bed *bed = *state;
	char text[1024];

	open_pair(bed, true);
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	for (int i = 0; i < 2000; i++)
		rpc_notify(bed->a.rpc, text, json_pack("{s:i}", "n", i));
	assert_true(rpc_backlog_bytes(bed->a.rpc) > 1000000);
	for (int i = 0; i < 2000; i++) {
		json_t *message = receive(bed);

		assert_int_equal(json_integer_value(
					 json_object_get(json_object_get(message, "params"), "n")),
			i);
		json_decref(message);
	}
	settle(bed);
	assert_int_equal(rpc_backlog_bytes(bed->a.rpc), 0);
}

static void what_is_no_stream_socket_is_refused(void **state)
{
	struct bed *bed = *state;
	int fds[2], datagram = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int file = open("/dev/null", O_RDWR | O_CLOEXEC);

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_null(rpc_create(&bed->loop, fds[0], &handlers, &bed->a));
	assert_null(rpc_create(&bed->loop, datagram, &handlers, &bed->a));
	assert_null(rpc_create(&bed->loop, file, &handlers, &bed->a));
	/* and they were closed */
	assert_int_equal(fcntl(fds[0], F_GETFD), -1);
	assert_int_equal(fcntl(datagram, F_GETFD), -1);
	assert_int_equal(fcntl(file, F_GETFD), -1);
	close(fds[1]);
}

static void tells_its_descriptor(void **state)
{
	struct bed *bed = *state;
	struct ucred peer;
	socklen_t size = sizeof(peer);

	open_pair(bed, false);
	assert_int_equal(getsockopt(rpc_fd(bed->a.rpc), SOL_SOCKET, SO_PEERCRED, &peer, &size), 0);
	assert_int_equal(peer.pid, getpid());
}

/* --- sockets by path -------------------------------------------------------------------------- */

static void a_path_of_any_length_can_be_listened_at(void **state)
{
	struct scratch *s = *state;
	char path[2000];
	struct stat st;
	struct err e;
	int fd, peer;
	size_t len;

	len = (size_t)snprintf(path, sizeof(path), "%s", s->dir);
	while (len < 900) {
		len += (size_t)snprintf(path + len, sizeof(path) - len, "/%s",
			"a-folder-with-a-name-of-some-length");
		assert_int_equal(mkdir(path, 0700), 0);
	}
	snprintf(path + len, sizeof(path) - len, "/keeper.sock");
	fd = rpc_listen_unix(path, 0600, &e);
	assert_true(fd >= 0);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
	peer = rpc_connect_unix(path, &e);
	assert_true(peer >= 0);
	assert_true(fcntl(peer, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(peer, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(peer);
	close(fd);
}

static void somebody_elses_socket_is_left_alone_and_a_stale_one_replaced(void **state)
{
	const char *path = scratch_path(*state, "s");
	struct err e;
	int fd, again;

	fd = rpc_listen_unix(path, 0660, &e);
	assert_true(fd >= 0);
	assert_int_equal(rpc_listen_unix(path, 0660, &e), -ERR_BUSY);
	assert_non_null(strstr(e.msg, "somebody listens there already"));
	again = rpc_connect_unix(path, &e);
	assert_true(again >= 0); /* the first still listens */
	close(again);
	close(fd);
	assert_int_equal(rpc_connect_unix(path, &e), -ERR_GONE);
	fd = rpc_listen_unix(path, 0660, &e);
	assert_true(fd >= 0);
	close(fd);
}

static void a_file_that_is_no_socket_is_not_removed(void **state)
{
	const char *path = scratch_write(*state, "precious", "data");
	struct stat st;
	struct err e;

	assert_int_equal(rpc_listen_unix(path, 0600, &e), -ERR_IO);
	assert_non_null(strstr(e.msg, "no socket"));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 4);
}

static void says_what_is_wrong_with_a_path(void **state)
{
	char name[400];
	struct err e;

	assert_int_equal(rpc_connect_unix(scratch_path(*state, "none"), &e), -ERR_GONE);
	assert_non_null(strstr(e.msg, "none: No such file or directory"));
	assert_int_equal(rpc_listen_unix(scratch_path(*state, "no/folder"), 0600, &e), -ERR_IO);
	assert_non_null(strstr(e.msg, "No such file or directory"));
	memset(name, 'x', sizeof(name));
	name[200] = '\0';
	assert_int_equal(rpc_connect_unix(scratch_path(*state, name), &e), -ERR_IO);
	assert_non_null(strstr(e.msg, "too long a name"));
	name[200] = 'x';
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(rpc_connect_unix(name, &e), -ERR_IO);
	assert_non_null(strstr(e.msg, "too long"));
}

static void connecting_never_waits_for_a_listener_that_does_not_accept(void **state)
{
	const char *path = scratch_path(*state, "s");
	int fds[300], listener, n = 0, code = 0;
	struct err e;

	listener = rpc_listen_unix(path, 0600, &e);
	assert_true(listener >= 0);
	while (n < 300 && (code = rpc_connect_unix(path, &e)) >= 0)
		fds[n++] = code;
	assert_int_equal(code, -ERR_BUSY);
	assert_true(n >= 1);
	/* and nobody takes it for stale */
	assert_int_equal(rpc_listen_unix(path, 0600, &e), -ERR_BUSY);
	while (n > 0)
		close(fds[--n]);
	close(listener);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define PATH_TEST(fn) cmocka_unit_test_setup_teardown(fn, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_request_is_answered),
		TEST(a_request_may_bring_its_params_as_text),
		TEST(both_sides_may_call),
		TEST(an_error_arrives_with_its_code_and_text),
		TEST(answers_find_their_requests_in_any_order),
		TEST(a_notification_has_no_answer),
		TEST(an_operation_answers_a_call),
		TEST(a_request_that_is_not_answered_times_out_once),
		TEST(when_the_peer_goes_waiting_calls_fail_and_then_the_owner_is_told),
		TEST(on_a_closed_connection_a_request_fails_at_once),
		TEST(writing_to_a_peer_that_is_gone_ends_the_connection_and_not_the_process),
		TEST(a_peer_that_takes_no_more_is_gone),
		TEST(a_peer_that_sends_no_more_is_gone),
		TEST(a_call_may_be_answered_after_the_end),
		TEST(may_be_destroyed_in_the_request_handler),
		TEST(may_be_destroyed_in_the_closed_handler),
		TEST(may_be_destroyed_in_a_reply),
		TEST(may_be_destroyed_when_a_request_times_out),
		TEST(no_handler_runs_once_destroy_has_returned),
		TEST(destroying_fails_what_waits_before_it_returns),
		TEST(malformed_messages_are_answered_and_survived),
		TEST(replies_to_nothing_are_ignored),
		TEST(an_error_is_never_taken_for_success),
		TEST(the_peers_id_comes_back_as_it_was),
		TEST(messages_may_arrive_in_any_pieces),
		TEST(a_line_of_the_longest_length_is_taken),
		TEST(a_longer_line_ends_the_connection),
		TEST(a_line_that_never_ends_does_not_eat_memory),
		TEST(what_a_slow_reader_did_not_take_waits_and_arrives_in_order),
		TEST(what_is_no_stream_socket_is_refused),
		TEST(tells_its_descriptor),
		PATH_TEST(a_path_of_any_length_can_be_listened_at),
		PATH_TEST(somebody_elses_socket_is_left_alone_and_a_stale_one_replaced),
		PATH_TEST(a_file_that_is_no_socket_is_not_removed),
		PATH_TEST(says_what_is_wrong_with_a_path),
		PATH_TEST(connecting_never_waits_for_a_listener_that_does_not_accept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
