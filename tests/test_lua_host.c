/*
 * The Lua host with an owner that answers waits from a table.
 */
#include "rig/lua_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct bench {
	char dir[64], scenario[128], board[128], data_dir[PATH_MAX];
	struct host *host;
	json_t *records; /* [{kind, fields}] */
	json_t *waits;   /* [method] */
	json_t *outcome;
	struct task *waiting;
	bool busy;
	int record_code;
	const char *fail_method, *fail_message;
	enum err_code fail_code;
	const char *fail_method_2; /* another, failing with fail_message too */
	enum err_code fail_code_2;
};

static void on_wait(void *arg, struct task *task, const char *method, json_t *params)
{
	struct bench *b = arg;

	(void)params;
	json_array_append_new(b->waits, json_string(method));
	b->waiting = task;
}

static int on_record(void *arg, struct task *task, const char *kind, json_t *fields, struct err *e)
{
	struct bench *b = arg;

	(void)task;
	json_array_append_new(b->records, json_pack("{s:s, s:o}", "kind", kind, "fields", fields));
	return b->record_code ? err_set(e, ERR_IO, "disk full") : 0;
}

static void on_finished(void *arg, struct task *task, json_t *outcome)
{
	struct bench *b = arg;

	(void)task;
	assert_null(b->outcome);
	b->outcome = json_incref(outcome);
}

static void on_busy(void *arg, struct task *task)
{
	struct bench *b = arg;

	b->busy = true;
	b->waiting = task;
}

static const struct host_hooks hooks = {on_wait, on_record, on_finished, on_busy};

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	snprintf(b->dir, sizeof(b->dir), "/tmp/rig-lua-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	snprintf(b->scenario, sizeof(b->scenario), "%s/scenario.lua", b->dir);
	snprintf(b->board, sizeof(b->board), "%s/board.lua", b->dir);
	write_file(b->board, "return { dut = { version = function(board) return '1.0.0' end } }\n");
	assert_non_null(getcwd(b->data_dir, sizeof(b->data_dir)));
	b->records = json_array();
	b->waits = json_array();
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	host_destroy(b->host);
	unlink(b->scenario);
	unlink(b->board);
	rmdir(b->dir);
	json_decref(b->records);
	json_decref(b->waits);
	json_decref(b->outcome);
	free(b);
	return 0;
}

/* A scenario over "once" whose run function has the given body. */
static void load(struct bench *b, const char *body)
{
	char text[4096];
	struct err e = {.msg = ""};

	snprintf(text, sizeof(text),
		"local rig = require 'rig'\n"
		"return rig.scenario { name = 'x', over = 'once', run = function(t, board, item)\n"
		"%s\nend }\n",
		body);
	write_file(b->scenario, text);
	b->host = host_create(b->scenario, b->dir, b->data_dir, &hooks, b, &e);
	if (!b->host)
		fail_msg("%s", e.msg);
}

/* Runs the item to its end, every wait answered at once. options and known are stolen. */
static const char *run_with(struct bench *b, json_t *options, json_t *known);

static const char *run(struct bench *b)
{
	return run_with(b, json_object(), NULL);
}

static const char *run_with(struct bench *b, json_t *options, json_t *known)
{
	json_t *context = json_pack(
		"{s:{s:s, s:s, s:s, s:{s:i, s:i}, s:{}}, s:{}, s:{s:s}, s:o, s:i, s:s, s:o*}",
		"board", "name", "b", "type", "t", "type_file", b->board, "flash", "base", 0,
		"size", 4096, "regions", "caps", "item", "key", "once", "options", options, "seed",
		1, "work", b->dir, "known", known);
	struct err e;

	assert_non_null(context);
	assert_int_equal(host_start(b->host, context, NULL, &e), 0);
	json_decref(context);
	for (int i = 0; !b->outcome && b->waiting && i < 1000; i++) {
		struct task *task = b->waiting;
		size_t n = json_array_size(b->waits);
		const char *method = n ? json_string_value(json_array_get(b->waits, n - 1)) : "";
		json_t *answer = json_pack("{s:b, s:s}", "on", 1, "text", "ready");

		b->waiting = NULL;
		if (b->busy) {
			b->busy = false;
			host_continue(task);
		} else if (b->fail_method && strcmp(method, b->fail_method) == 0) {
			err_set(&e, b->fail_code, "%s", b->fail_message);
			host_resume(task, &e, NULL);
		} else if (b->fail_method_2 && strcmp(method, b->fail_method_2) == 0) {
			err_set(&e, b->fail_code_2, "%s", b->fail_message);
			host_resume(task, &e, NULL);
		} else {
			host_resume(task, NULL, answer);
		}
		json_decref(answer);
	}
	assert_non_null(b->outcome);
	return json_string_value(json_object_get(b->outcome, "verdict"));
}

static const char *error_text(struct bench *b, const char *field)
{
	const char *text =
		json_string_value(json_object_get(json_object_get(b->outcome, "error"), field));

	return text ? text : "";
}

static const json_t *last_record(struct bench *b, const char *kind)
{
	const json_t *found = NULL, *record;
	size_t i;

	json_array_foreach (b->records, i, record) {
		if (strcmp(json_string_value(json_object_get(record, "kind")), kind) == 0)
			found = json_object_get(record, "fields");
	}
	return found;
}

static void a_run_that_checks_nothing_wrong_passes(void **state)
{
	struct bench *b = *state;

	load(b, "board.power:on() t:ok(board.power:get(), 'on')");
	assert_string_equal(run(b), "pass");
	assert_int_equal(json_array_size(b->waits), 2);
	assert_true(json_is_true(json_object_get(last_record(b, "point"), "ok")));
}

static void a_run_that_checks_nothing_is_inconclusive(void **state)
{
	struct bench *b = *state;

	load(b, "board.power:on()");
	assert_string_equal(run(b), "inconclusive");
	assert_string_equal(error_text(b, "message"), "nothing was checked");
}

static void a_check_that_does_not_hold_fails_and_says_where(void **state)
{
	struct bench *b = *state;

	load(b, "t:is(1, 2, 'equal')");
	assert_string_equal(run(b), "fail");
	assert_true(json_is_false(json_object_get(last_record(b, "point"), "ok")));
	assert_non_null(strstr(json_string_value(json_object_get(last_record(b, "point"), "at")),
		"scenario.lua:3"));
}

static void a_bench_failure_is_an_error_with_the_scenarios_line(void **state)
{
	struct bench *b = *state;

	b->fail_method = "power.set";
	b->fail_code = ERR_BENCH;
	b->fail_message = "relay stuck";
	load(b, "\nboard.power:on()");
	assert_string_equal(run(b), "error");
	assert_string_equal(error_text(b, "message"), "relay stuck");
	assert_string_equal(error_text(b, "code"), "bench");
	assert_non_null(strstr(error_text(b, "where"), "scenario.lua:4"));
	assert_non_null(strstr(error_text(b, "traceback"), "scenario.lua"));
}

static void what_the_dut_does_wrong_is_a_failure(void **state)
{
	struct bench *b = *state;

	b->fail_method = "transport.request";
	b->fail_code = ERR_DUT;
	b->fail_message = "rc 8";
	load(b, "board.smp:read(0, 0)");
	assert_string_equal(run(b), "fail");
}

static void silence_of_the_dut_is_a_failure_and_not_of_the_bench(void **state)
{
	struct bench *b = *state;

	b->fail_method = "console.expect";
	b->fail_code = ERR_TIMEOUT;
	b->fail_message = "nothing came";
	load(b, "t:is(board.console:try_expect('x', 1), nil, 'nil') board.console:expect('x', 1)");
	assert_string_equal(run(b), "fail");
	assert_string_equal(error_text(b, "code"), "expect");
}

static void silence_to_a_question_is_seen_and_ends_nothing(void **state)
{
	struct bench *b = *state;

	b->fail_method = "transport.request";
	b->fail_code = ERR_TIMEOUT;
	b->fail_message = "no answer";
	write_file(b->board, "local dut = { wait_ready = function() end }\n"
			     "function dut.check_user_data(board)\n"
			     "local ok, e = pcall(board.smp.read, board.smp, 3, 0)\n"
			     "if not ok and not e.silent then return false, e.message end\n"
			     "error(e, 0) end\n"
			     "return { dut = dut }\n");
	load(b, "local seen = {}\n"
		"t:is(board:observe_user_data(1, seen), nil, 'not observed')\n"
		"t:is(seen.unanswered, 'its user data: no answer', 'but heard of')");
	assert_string_equal(run(b), "pass");
}

static void a_script_error_is_an_error_with_its_line(void **state)
{
	struct bench *b = *state;

	load(b, "local x = nil\nreturn x.y");
	assert_string_equal(run(b), "error");
	assert_string_equal(error_text(b, "code"), "script");
	assert_non_null(strstr(error_text(b, "where"), "scenario.lua:4"));
}

static void a_script_can_catch_an_error_and_go_on(void **state)
{
	struct bench *b = *state;

	b->fail_method = "power.set";
	b->fail_code = ERR_BENCH;
	b->fail_message = "no";
	load(b, "local ok, e = pcall(board.power.on, board.power)\n"
		"t:ok(not ok and e.code == 'bench', 'caught') t:like(tostring(e), 'scenario.lua', 'text')");
	assert_string_equal(run(b), "pass");
}

static void scripts_reach_neither_files_nor_coroutines_nor_loaders(void **state)
{
	static const char *const names[] = {"io", "os", "coroutine", "debug", "package", "load",
		"loadfile", "dofile", "collectgarbage", "print", "string.dump"};
	struct bench *b = *state;
	char body[1024] = "";
	size_t n = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		n += (size_t)snprintf(
			body + n, sizeof(body) - n, "t:is(%s, nil, '%s')\n", names[i], names[i]);
	load(b, body);
	assert_string_equal(run(b), "pass");
}

static void a_module_outside_the_project_is_refused(void **state)
{
	struct bench *b = *state;

	load(b, "local ok, e = pcall(require, 'boards...etc.passwd') t:ok(not ok, 'dots')\n"
		"ok = pcall(require, 'socket') t:ok(not ok, 'other')");
	assert_string_equal(run(b), "pass");
}

static void an_endless_loop_lets_the_owner_run_and_can_be_dropped(void **state)
{
	struct bench *b = *state;
	json_t *context;
	struct err e;

	load(b, "while true do pcall(function() while true do end end) end");
	context = json_pack("{s:{s:s, s:s, s:s}, s:{}, s:{s:s}, s:{}, s:i, s:s}", "board", "name",
		"b", "type", "t", "type_file", b->board, "caps", "item", "key", "once", "options",
		"seed", 1, "work", b->dir);
	assert_int_equal(host_start(b->host, context, NULL, &e), 0);
	json_decref(context);
	for (int i = 0; i < 3; i++) {
		assert_true(b->busy);
		b->busy = false;
		host_continue(b->waiting);
	}
	host_drop(b->waiting);
	assert_null(b->outcome);
}

static void a_script_that_eats_memory_ends_in_error(void **state)
{
	struct bench *b = *state;

	load(b, "local s = 'x' while true do s = s .. s end");
	assert_string_equal(run(b), "error");
}

static void waiting_inside_a_library_callback_is_refused(void **state)
{
	struct bench *b = *state;

	load(b, "table.sort({ 1, 2, 3 }, function(x, y) board.power:on() return x < y end)");
	assert_string_equal(run(b), "error");
	assert_int_equal(json_array_size(b->waits), 0);
}

static void a_journal_that_cannot_be_written_stops_the_script(void **state)
{
	struct bench *b = *state;
	json_t *context;
	struct err e;

	b->record_code = -1;
	load(b, "pcall(t.ok, t, true, 'x') board.power:on()");
	context = json_pack("{s:{s:s, s:s, s:s}, s:{}, s:{s:s}, s:{}, s:i, s:s}", "board", "name",
		"b", "type", "t", "type_file", b->board, "caps", "item", "key", "once", "options",
		"seed", 1, "work", b->dir);
	assert_int_equal(host_start(b->host, context, NULL, &e), 0);
	json_decref(context);
	assert_null(b->outcome);
	assert_int_equal(json_array_size(b->waits), 0);
}

static void a_failed_trial_is_run_again_and_called_deterministic(void **state)
{
	struct bench *b = *state;

	load(b, "t:trial('a', function() t:ok(false, 'no') end) t:trial('b', function() end)");
	assert_string_equal(run(b), "fail");
	assert_string_equal(
		json_string_value(json_object_get(last_record(b, "again"), "verdict")), "fail");
	assert_string_equal(
		json_string_value(json_object_get(last_record(b, "verdict"), "verdict")), "pass");
}

static void a_failure_that_does_not_come_again_is_flaky_and_still_fails(void **state)
{
	struct bench *b = *state;
	const json_t *verdict;

	load(b, "local n = 0\nt:trial('a', function() n = n + 1 t:ok(n > 1, 'second') end)");
	assert_string_equal(run(b), "fail");
	verdict = last_record(b, "verdict");
	assert_string_equal(json_string_value(json_object_get(verdict, "verdict")), "fail");
	assert_string_equal(json_string_value(json_object_get(verdict, "again")), "flaky");
}

static void a_bench_that_does_not_answer_is_why_nothing_came(void **state)
{
	struct bench *b = *state;

	b->fail_method = "console.expect";
	b->fail_code = ERR_TIMEOUT;
	b->fail_message = "nothing came";
	b->fail_method_2 = "power.get";
	b->fail_code_2 = ERR_BENCH;
	load(b, "board.can_do.power = true board.console:expect('x', 1)");
	assert_string_equal(run(b), "error");
	assert_string_equal(error_text(b, "code"), "bench");
}

static void a_trial_gives_its_verdict_and_what_its_function_returned(void **state)
{
	struct bench *b = *state;
	const json_t *verdict;

	load(b, "local v, o = t:trial('a', function() return { runs = 'old', n = 3 } end, '57', 'edge')\n"
		"t:is(v, 'pass', 'verdict') t:is(o.runs, 'old', 'runs') t:is(o.n, 3, 'n')\n"
		"v, o = t:trial('b', function() return 'no table' end)\n"
		"t:is(v, 'pass', 'verdict') t:is(o, nil, 'no outcome')");
	assert_string_equal(run(b), "pass");
	verdict = json_object_get(json_array_get(b->records, 1), "fields");
	assert_string_equal(
		json_string_value(json_object_get(
			json_object_get(json_array_get(b->records, 0), "fields"), "why")),
		"edge");
	assert_string_equal(json_string_value(json_object_get(verdict, "cut")), "57");
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(verdict, "outcome"), "runs")),
		"old");
	assert_null(json_object_get(last_record(b, "verdict"), "outcome"));
}

static void what_the_second_attempt_of_a_trial_returns_is_ignored(void **state)
{
	struct bench *b = *state;

	load(b, "local n = 0\n"
		"local v, o = t:trial('a', function() n = n + 1 t:ok(false, 'no') return { n = n } end)\n"
		"t:is(v, 'fail', 'verdict') t:is(o.n, 1, 'of the first')");
	assert_string_equal(run(b), "fail");
	assert_int_equal(json_integer_value(json_object_get(
				 json_object_get(last_record(b, "verdict"), "outcome"), "n")),
		1);
	assert_true(json_is_true(json_object_get(last_record(b, "point"), "ok")));
}

static void a_known_trial_is_not_run_and_counts(void **state)
{
	struct bench *b = *state;

	load(b, "local v, o = t:trial('a', function() error('run again') end)\n"
		"t:is(v, 'fail', 'verdict') t:is(o.runs, 'old', 'outcome')\n"
		"t:is(t:trial('b', function() end), 'pass', 'the next is run')");
	assert_string_equal(run_with(b, json_object(),
				    json_pack("{s:{s:s, s:{s:s, s:n}}}", "a", "verdict", "fail",
					    "outcome", "runs", "old", "recovery")),
		"fail");
	assert_string_equal(
		json_string_value(json_object_get(last_record(b, "trial-start"), "key")), "b");
	assert_true(json_is_true(json_object_get(last_record(b, "point"), "ok")));
}

static void a_known_failure_ends_the_item_with_fail_fast(void **state)
{
	struct bench *b = *state;

	load(b, "t:trial('a', function() end) t:trial('b', function() end)");
	assert_string_equal(run_with(b, json_pack("{s:b}", "fail_fast", 1),
				    json_pack("{s:{s:s}}", "a", "verdict", "fail")),
		"fail");
	assert_null(last_record(b, "trial-start"));
	assert_null(last_record(b, "again"));
}

static void a_point_that_failed_outside_a_trial_is_not_forgiven_by_a_trial_that_passes(void **state)
{
	struct bench *b = *state;

	load(b, "t:ok(false, 'no') t:trial('a', function() t:ok(true, 'yes') end)");
	assert_string_equal(run(b), "fail");
}

static void an_item_that_fails_before_its_trials_does_not_run_them_the_second_time(void **state)
{
	struct bench *b = *state;

	load(b, "n = (n or 0) + 1 if n == 1 then board:fail('not ready') end\n"
		"t:trial('a', function() end)");
	assert_string_equal(run(b), "fail");
	assert_string_equal(json_string_value(json_object_get(b->outcome, "again")), "flaky");
	assert_null(last_record(b, "verdict"));
	assert_null(last_record(b, "trial-start"));
}

static void a_bench_that_fails_in_the_second_attempt_ends_the_item(void **state)
{
	struct bench *b = *state;
	const json_t *verdict;

	b->fail_method = "power.get";
	b->fail_code = ERR_BENCH;
	b->fail_message = "relay stuck";
	load(b, "local n = 0\n"
		"t:trial('a', function() n = n + 1 if n > 1 then board.power:get() end t:ok(false, 'no') end)\n"
		"t:trial('b', function() end)");
	assert_string_equal(run(b), "error");
	assert_string_equal(error_text(b, "message"), "relay stuck");
	verdict = last_record(b, "verdict");
	assert_string_equal(json_string_value(json_object_get(verdict, "verdict")), "fail");
	assert_null(json_object_get(verdict, "again"));
}

static void a_bench_that_fails_in_the_second_attempt_of_an_item_is_told(void **state)
{
	struct bench *b = *state;

	b->fail_method = "power.get";
	b->fail_code = ERR_BENCH;
	b->fail_message = "relay stuck";
	load(b, "n = (n or 0) + 1 if n > 1 then board.power:get() end t:ok(false, 'no')");
	assert_string_equal(run(b), "fail");
	assert_null(json_object_get(b->outcome, "again"));
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(b->outcome, "bench"), "message")),
		"relay stuck");
}

static void the_second_attempt_adds_no_points_and_measures(void **state)
{
	struct bench *b = *state;
	const json_t *record;
	unsigned skips = 0, measures = 0;
	size_t i;

	load(b, "t:skip('not here', 'a') t:measure('m', 1, 'B') t:ok(false, 'no')");
	assert_string_equal(run(b), "fail");
	json_array_foreach (b->records, i, record) {
		skips += json_object_get(json_object_get(record, "fields"), "skip") != NULL;
		measures +=
			strcmp(json_string_value(json_object_get(record, "kind")), "measure") == 0;
	}
	assert_int_equal(skips, 1);
	assert_int_equal(measures, 1);
}

static void a_version_that_the_bench_kept_back_is_no_observation(void **state)
{
	struct bench *b = *state;

	b->fail_method = "transport.request";
	b->fail_code = ERR_BENCH;
	b->fail_message = "port gone";
	write_file(b->board, "return { dut = { wait_ready = function() end,\n"
			     "version = function(board) return board.smp:read(1, 0) end } }\n");
	load(b, "board:observe_boot()");
	assert_string_equal(run(b), "error");
	assert_string_equal(error_text(b, "message"), "port gone");
}

static void a_list_with_holes_and_an_endless_record_are_refused(void **state)
{
	struct bench *b = *state;

	load(b, "local list = {} for i = 0, 62 do list[1 << i] = 1 end\n"
		"local ok, e = pcall(board.smp.read, board.smp, 1, 0, { list = list })\n"
		"t:like(e.message, 'hole', 'holes')\n"
		"ok, e = pcall(t.note, t, ('x'):rep(2 << 20)) t:like(e, '1 MiB', 'size')");
	assert_string_equal(run(b), "pass");
}

static void expect_bad(struct bench *b, const char *text, const char *says)
{
	struct err e = {.msg = ""};

	write_file(b->scenario, text);
	assert_null(host_create(b->scenario, b->dir, b->data_dir, &hooks, b, &e));
	assert_int_equal(e.code, ERR_CONFIG);
	if (!strstr(e.msg, says))
		fail_msg("'%s' does not say '%s'", e.msg, says);
}

static void a_scenario_that_is_wrong_is_refused_with_file_and_line(void **state)
{
	struct bench *b = *state;

	expect_bad(b, "local x = = 1\n", "scenario.lua:1");
	expect_bad(b, "return 1\n", "must return rig.scenario");
	expect_bad(b, "local rig = require 'rig'\nreturn rig.scenario { name = 'x', ovr = 1 }\n",
		"scenario.lua: rig.scenario: unknown key 'ovr'");
	expect_bad(b,
		"local rig = require 'rig'\nreturn rig.scenario { name = 'x', over = 'all', run = "
		"function() end }\n",
		"over: expected");
	expect_bad(b, "error { 1 }\n", "table");
	expect_bad(b,
		"local rig = require 'rig'\nreturn rig.scenario { name = 'x', over = 'once', kinds = { 1 }, "
		"run = function() end }\n",
		"kinds[1]: expected a name");
	expect_bad(b,
		"local rig = require 'rig'\nreturn rig.scenario { name = 'x', over = 'transitions', "
		"order = 'random', run = function() end }\n",
		"order: expected \"trails\" or \"diverse\"");
	expect_bad(b,
		"local rig = require 'rig'\nreturn rig.scenario { name = 'x', over = 'once', "
		"order = 'diverse', run = function() end }\n",
		"order: has a meaning only over");
	expect_bad(b, "while true do end\n", "does not come to an end");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(a_run_that_checks_nothing_wrong_passes),
		T(a_run_that_checks_nothing_is_inconclusive),
		T(a_check_that_does_not_hold_fails_and_says_where),
		T(a_bench_failure_is_an_error_with_the_scenarios_line),
		T(what_the_dut_does_wrong_is_a_failure),
		T(silence_of_the_dut_is_a_failure_and_not_of_the_bench),
		T(silence_to_a_question_is_seen_and_ends_nothing),
		T(a_script_error_is_an_error_with_its_line),
		T(a_script_can_catch_an_error_and_go_on),
		T(scripts_reach_neither_files_nor_coroutines_nor_loaders),
		T(a_module_outside_the_project_is_refused),
		T(an_endless_loop_lets_the_owner_run_and_can_be_dropped),
		T(a_script_that_eats_memory_ends_in_error),
		T(waiting_inside_a_library_callback_is_refused),
		T(a_journal_that_cannot_be_written_stops_the_script),
		T(a_failed_trial_is_run_again_and_called_deterministic),
		T(a_failure_that_does_not_come_again_is_flaky_and_still_fails),
		T(a_bench_that_does_not_answer_is_why_nothing_came),
		T(a_trial_gives_its_verdict_and_what_its_function_returned),
		T(what_the_second_attempt_of_a_trial_returns_is_ignored),
		T(a_known_trial_is_not_run_and_counts),
		T(a_known_failure_ends_the_item_with_fail_fast),
		T(a_point_that_failed_outside_a_trial_is_not_forgiven_by_a_trial_that_passes),
		T(an_item_that_fails_before_its_trials_does_not_run_them_the_second_time),
		T(a_bench_that_fails_in_the_second_attempt_ends_the_item),
		T(a_bench_that_fails_in_the_second_attempt_of_an_item_is_told),
		T(the_second_attempt_adds_no_points_and_measures),
		T(a_version_that_the_bench_kept_back_is_no_observation),
		T(a_list_with_holes_and_an_endless_record_are_refused),
		T(a_scenario_that_is_wrong_is_refused_with_file_and_line),
	};

	return cmocka_run_group_tests_name("lua_host", tests, NULL, NULL);
}
