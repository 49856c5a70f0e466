#include "rig/err.h"
#include "rig/op.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LONG_MS 60000

/* What became of an operation. */
struct ended {
	unsigned times, hooks;
	bool failed;
	struct err e;
	json_t *result;
	struct op *op;
	uv_loop_t *loop;
};

static void ended_fn(void *arg, const struct err *e, json_t *result)
{
	struct ended *ended = arg;

	ended->times++;
	ended->failed = e != NULL;
	if (e)
		ended->e = *e;
	ended->result = json_incref(result);
}

static int setup(void **state)
{
	static struct ended ended;

	memset(&ended, 0, sizeof(ended));
	ended.loop = uv_default_loop();
	*state = &ended;
	return 0;
}

/* Runs the loop until nothing is left to do; then the operation is freed too. */
static int teardown(void **state)
{
	struct ended *ended = *state;

	uv_run(ended->loop, UV_RUN_DEFAULT);
	json_decref(ended->result);
	return 0;
}

static void start(struct ended *ended, unsigned deadline_ms)
{
	ended->op = op_start(ended->loop, "power set on", deadline_ms, ended_fn, ended);
	assert_non_null(ended->op);
}

static void a_done_operation_ends_once_with_its_result(void **state)
{
	struct ended *ended = *state;

	start(ended, LONG_MS);
	op_done(ended->op, json_pack("{s:b}", "on", 1));
	assert_int_equal(ended->times, 1);
	assert_false(ended->failed);
	assert_true(json_is_true(json_object_get(ended->result, "on")));
	uv_run(ended->loop, UV_RUN_DEFAULT);
	assert_int_equal(ended->times, 1);
	assert_int_equal(json_object_size(ended->result), 1);
}

static void a_result_may_be_left_out(void **state)
{
	struct ended *ended = *state;

	start(ended, LONG_MS);
	op_done(ended->op, NULL);
	assert_int_equal(ended->times, 1);
	assert_false(ended->failed);
	assert_null(ended->result);
}

static void a_failed_operation_ends_once_with_its_error(void **state)
{
	struct ended *ended = *state;

	start(ended, LONG_MS);
	op_failf(ended->op, ERR_BENCH, "no answer from %s", "relay");
	assert_int_equal(ended->times, 1);
	assert_true(ended->failed);
	assert_int_equal(ended->e.code, ERR_BENCH);
	assert_string_equal(ended->e.msg, "no answer from relay");
}

static void count_hook(struct op *op, void *arg)
{
	struct ended *ended = arg;

	assert_ptr_equal(op, ended->op);
	ended->hooks++;
}

static void a_passed_deadline_ends_it_as_timed_out(void **state)
{
	struct ended *ended = *state;

	start(ended, 1);
	op_on_cancel(ended->op, count_hook, ended);
	uv_run(ended->loop, UV_RUN_DEFAULT);
	assert_int_equal(ended->times, 1);
	assert_int_equal(ended->hooks, 1);
	assert_int_equal(ended->e.code, ERR_TIMEOUT);
	assert_string_equal(ended->e.msg, "power set on: not done within 1 ms");
}

static void cancelling_runs_the_hook_and_ends_it_with_the_reason(void **state)
{
	struct ended *ended = *state;
	struct err why;

	err_set(&why, ERR_CUT, "the power was cut");
	start(ended, LONG_MS);
	op_on_cancel(ended->op, count_hook, ended);
	op_cancel(ended->op, &why);
	assert_int_equal(ended->times, 1);
	assert_int_equal(ended->hooks, 1);
	assert_int_equal(ended->e.code, ERR_CUT);
	assert_string_equal(ended->e.msg, "the power was cut");
	uv_run(ended->loop, UV_RUN_DEFAULT);
	assert_int_equal(ended->times, 1);
}

static void a_removed_hook_does_not_run(void **state)
{
	struct ended *ended = *state;
	struct err why;

	err_set(&why, ERR_CANCELLED, "on request");
	start(ended, LONG_MS);
	op_on_cancel(ended->op, count_hook, ended);
	op_on_cancel(ended->op, NULL, NULL);
	op_cancel(ended->op, &why);
	assert_int_equal(ended->hooks, 0);
	assert_int_equal(ended->times, 1);
}

static void completing_hook(struct op *op, void *arg)
{
	count_hook(op, arg);
	op_done(op, json_pack("{s:i}", "late", 1));
	op_failf(op, ERR_BENCH, "late");
}

static void completing_within_the_hook_changes_nothing(void **state)
{
	struct ended *ended = *state;
	struct err why;

	err_set(&why, ERR_CANCELLED, "on request");
	start(ended, LONG_MS);
	op_on_cancel(ended->op, completing_hook, ended);
	op_cancel(ended->op, &why);
	assert_int_equal(ended->times, 1);
	assert_int_equal(ended->e.code, ERR_CANCELLED);
	assert_null(ended->result);
}

static void cancelling_hook(struct op *op, void *arg)
{
	struct err again;

	count_hook(op, arg);
	err_set(&again, ERR_GONE, "again");
	op_cancel(op, &again);
}

static void cancelling_within_the_hook_changes_nothing(void **state)
{
	struct ended *ended = *state;
	struct err why;

	err_set(&why, ERR_CANCELLED, "on request");
	start(ended, LONG_MS);
	op_on_cancel(ended->op, cancelling_hook, ended);
	op_cancel(ended->op, &why);
	assert_int_equal(ended->times, 1);
	assert_int_equal(ended->hooks, 1);
	assert_int_equal(ended->e.code, ERR_CANCELLED);
}

static struct err *shared_reason;

static void overwriting_hook(struct op *op, void *arg)
{
	count_hook(op, arg);
	memset(shared_reason, 0, sizeof(*shared_reason));
}

static void the_reason_may_belong_to_what_the_hook_destroys(void **state)
{
	struct ended *ended = *state;
	struct err why;

	err_set(&why, ERR_GONE, "unplugged");
	shared_reason = &why;
	start(ended, LONG_MS);
	op_on_cancel(ended->op, overwriting_hook, ended);
	op_cancel(ended->op, &why);
	assert_int_equal(ended->e.code, ERR_GONE);
	assert_string_equal(ended->e.msg, "unplugged");
}

static void start_next(void *arg, const struct err *e, json_t *result)
{
	struct ended *ended = arg;

	ended_fn(ended, e, result);
	if (ended->times < 3) {
		ended->op = op_start(ended->loop, "next", LONG_MS, start_next, ended);
		op_done(ended->op, NULL);
	}
}

static void an_operation_may_be_started_from_the_end_of_another(void **state)
{
	struct ended *ended = *state;

	ended->op = op_start(ended->loop, "first", LONG_MS, start_next, ended);
	op_done(ended->op, NULL);
	assert_int_equal(ended->times, 3);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_done_operation_ends_once_with_its_result),
		TEST(a_result_may_be_left_out),
		TEST(a_failed_operation_ends_once_with_its_error),
		TEST(a_passed_deadline_ends_it_as_timed_out),
		TEST(cancelling_runs_the_hook_and_ends_it_with_the_reason),
		TEST(a_removed_hook_does_not_run),
		TEST(completing_within_the_hook_changes_nothing),
		TEST(cancelling_within_the_hook_changes_nothing),
		TEST(the_reason_may_belong_to_what_the_hook_destroys),
		TEST(an_operation_may_be_started_from_the_end_of_another),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	uv_loop_close(uv_default_loop());
	return failed;
}
