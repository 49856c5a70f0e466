#include "rig/err.h"
#include "rig/lua_data.h"

#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct lua_data_call calls[] = {{"bench", false}, {"board", true}, {NULL, false}};

static struct lua_data *load(
	struct scratch *s, const char *source, const struct lua_data_call *which, struct err *e)
{
	const char *path = scratch_write(s, "file.lua", source);
	const char *const roots[] = {s->dir, NULL};
	struct lua_data *data = NULL;
	int rc = lua_data_load(path, which, roots, &data, e);

	assert_true(rc == 0 ? data != NULL : data == NULL && rc == -(int)e->code);
	return data;
}

/* What a file returns, as JSON text. */
static void returns(void **state, const char *source, const char *json)
{
	struct err e;
	struct lua_data *data = load(*state, source, NULL, &e);
	char *text;

	if (!data)
		fail_msg("%s", e.msg);
	text = json_dumps(data->blocks[0].value, JSON_COMPACT);
	assert_string_equal(text, json);
	free(text);
	lua_data_destroy(data);
}

/* A file that is refused: the message begins with FILE:LINE when line is given, and has the text.
 */
static void refuses(void **state, const char *source, const struct lua_data_call *which, int line,
	const char *text)
{
	struct scratch *s = *state;
	struct err e;
	char head[600];

	assert_null(load(s, source, which, &e));
	assert_int_equal(e.code, ERR_CONFIG);
	if (line > 0)
		snprintf(head, sizeof(head), "%s/file.lua:%d: ", s->dir, line);
	else
		snprintf(head, sizeof(head), "%s/file.lua: ", s->dir);
	if (strncmp(e.msg, head, strlen(head)) != 0 || !strstr(e.msg, text))
		fail_msg("expected \"%s...%s\", got \"%s\"", head, text, e.msg);
}

static void tables_become_objects_in_alphabetical_order_and_lists_arrays(void **state)
{
	returns(state, "return { z = 1, a = { 1, 'x', { b = true } }, m = {} }",
		"{\"a\":[1,\"x\",{\"b\":true}],\"m\":{},\"z\":1}");
}

static void numbers_without_a_fraction_are_integers(void **state)
{
	returns(state, "return { 400 / 2, 1.5, 0x10, -3, 1e3 }", "[200,1.5,16,-3,1000]");
}

static void functions_become_a_marker(void **state)
{
	returns(state, "return { f = function() end }", "{\"f\":{\"function\":true}}");
}

static void a_loop_and_string_and_math_are_there(void **state)
{
	returns(state,
		"local t = {} for i = 1, 3 do t[i] = ('b'):rep(i) .. math.max(i, 2) end return t",
		"[\"b2\",\"bb2\",\"bbb3\"]");
}

static void a_table_used_twice_is_no_cycle(void **state)
{
	returns(state, "local t = { 1 } return { a = t, b = t }", "{\"a\":[1],\"b\":[1]}");
}

static void what_is_no_data_is_refused_with_its_key_and_line(void **state)
{
	static const struct {
		const char *source;
		int line;
		const char *text;
	} cases[] = {
		{"local t = {}\nt.x = { t }\nreturn t", 3, "x[1]: a table that contains itself"},
		{"return {\n  a = 1,\n  b = 0/0,\n}", 3, "b: NaN"},
		{"return {\n  a = { c = 1/0 } }", 2, "a.c: infinity"},
		{"return {\n  a = {\n 1, 2, x = 3 } }", 2, "a: a table is a list or has names"},
		{"return { a = { [1] = 1, [3] = 3 } }", 1, "a: "},
		{"return { a = { [1.5] = 1 } }", 1, "a: the keys of a table"},
		{"return { a = { [true] = 1 } }", 1, "a: the keys of a table"},
		{"return { a = '\\xff' }", 1, "a: a string must be UTF-8"},
		{"return { a = 'x\\0y' }", 1, "a: a string must be UTF-8 without NUL"},
		{"return { ['x\\0y'] = 1 }", 1, "a name must be UTF-8 without NUL"},
		{"local t = {} local u = t for i = 1, 40 do u.n = {} u = u.n end return t", 1,
			"nested deeper"},
		{"local t = {} for i = 1, 25 do t = { t, t } end return { t }", 1,
			"more than 200000 values"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		refuses(state, cases[i].source, NULL, cases[i].line, cases[i].text);
}

static void lua_errors_name_file_and_line(void **state)
{
	refuses(state, "return {\n  a = 1\n  b = 2\n}", NULL, 3, "expected");
	refuses(state, "\nlocal x = nil + 1", NULL, 2, "arithmetic");
	refuses(state, "\n\nerror('mine')", NULL, 3, "mine");
	refuses(state, "return 5", NULL, 0, "return { ... }");
	refuses(state, "", NULL, 0, "return { ... }");
}

static void there_is_no_way_out_of_the_sandbox(void **state)
{
	static const char *const names[] = {"io", "os", "package", "load", "loadstring", "dofile",
		"loadfile", "debug", "coroutine", "collectgarbage", "rawset", "setmetatable",
		"getmetatable", "pcall", "print", "_G"};
	char source[100], text[100];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(source, sizeof(source), "return { %s }", names[i]);
		snprintf(text, sizeof(text), "unknown name '%s'", names[i]);
		refuses(state, source, NULL, 1, text);
	}
	refuses(state, "return { string.dump(function() end) }", NULL, 1, "dump");
	refuses(state, "return { math.random() }", NULL, 1, "random");
	refuses(state, "\x1bLua", NULL, 0, "");
}

static void a_file_that_runs_for_ever_is_stopped(void **state)
{
	refuses(state, "\nwhile true do end", NULL, 2, "runs too long");
}

static void a_file_that_eats_memory_is_stopped(void **state)
{
	refuses(state, "local s = ('x'):rep(100000000) return { s }", NULL, 0, "64 MB");
	refuses(state, "local s = 'x' for i = 1, 40 do s = s .. s end return { s }", NULL, 0,
		"64 MB");
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
	struct scratch *s = *state;
	struct lua_data *data;
	struct err e;

	assert_int_equal(
		lua_data_load(scratch_path(s, "none.lua"), NULL, NULL, &data, &e), -ERR_CONFIG);
	assert_non_null(strstr(e.msg, "none.lua: No such file"));
}

static void calls_are_kept_in_order_with_name_and_line(void **state)
{
	struct err e;
	struct lua_data *d = load(*state,
		"bench {\n name = 'b' }\nboard \"one\" {\n x = 1 }\nfor i = 2, 3 do\n"
		"  board('b' .. i) { x = i }\nend\n",
		calls, &e);
	static const struct {
		const char *call, *which;
		int line;
		json_int_t x;
	} want[] = {{"bench", NULL, 1, 0}, {"board", "one", 3, 1}, {"board", "b2", 6, 2},
		{"board", "b3", 6, 3}};

	assert_non_null(d);
	assert_int_equal(d->count, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_string_equal(d->blocks[i].call, want[i].call);
		assert_int_equal(d->blocks[i].line, want[i].line);
		assert_int_equal(
			json_integer_value(json_object_get(d->blocks[i].value, "x")), want[i].x);
		if (want[i].which)
			assert_string_equal(d->blocks[i].which, want[i].which);
		else
			assert_null(d->blocks[i].which);
	}
	lua_data_destroy(d);
}

static void calls_made_wrongly_are_refused(void **state)
{
	refuses(state, "\nbench 'x'", calls, 2, "bench takes a table");
	refuses(state, "\nboard { }", calls, 2, "board takes a name and a table");
	refuses(state, "\nboard 'x' 'y'", calls, 2, "must be followed by a table");
	refuses(state, "\n\nboard 'x'", calls, 3, "board \"x\" must be followed by a table");
	refuses(state, "local b = board 'x'\nb {}\nb {}", calls, 3, "a table already");
	refuses(state, "\nbord 'x' {}", calls, 2, "unknown name 'bord'; did you mean 'board'?");
	refuses(state, "board 'x' {\n a = 1,\n b = { 0/0 } }", calls, 3, "board \"x\": b[1]: NaN");
}

static void modules_of_the_project_can_be_required(void **state)
{
	scratch_write(
		*state, "boards/smp.lua", "local m = {} function m.update() end m.n = 5 return m");
	scratch_write(*state, "scenarios/lib/x.lua", "return { x = require('boards.smp').n }");
	returns(state, "return { dut = require 'boards.smp', y = require 'scenarios.lib.x' }",
		"{\"dut\":{\"n\":5,\"update\":{\"function\":true}},\"y\":{\"x\":5}}");
}

static void nothing_else_can_be_required(void **state)
{
	struct err e;

	refuses(state, "\nrequire 'io'", NULL, 2, "only 'boards.NAME'");
	refuses(state, "require 'boards...passwd'", NULL, 1, "only 'boards.NAME'");
	refuses(state, "require 'boards./etc/passwd'", NULL, 1, "only 'boards.NAME'");
	refuses(state, "require 'boards.none'", NULL, 1, "there is no such file");
	scratch_write(*state, "boards/a.lua", "return require 'boards.b'");
	scratch_write(*state, "boards/b.lua", "return require 'boards.a'");
	assert_null(load(*state, "return require 'boards.a'", NULL, &e));
	assert_non_null(strstr(e.msg, "boards/b.lua:1: require 'boards.a': it requires itself"));
	scratch_write(*state, "boards/c.lua", "\n\nx = = 1");
	assert_null(load(*state, "return require 'boards.c'", NULL, &e));
	assert_non_null(strstr(e.msg, "boards/c.lua:3: "));
}

static void the_line_of_a_key_is_found_in_the_text(void **state)
{
	static const char source[] = "-- board \"a\" { x = 1 }\n"                   /* 1 */
				     "local common = { chip = 'gpiochip0' }\n"      /* 2 */
				     "board \"a\" { -- {{{\n"                       /* 3 */
				     "  --[[ x = 1,\n"                              /* 4 */
				     "  ]] s = [==[ x = { ]] } ]==],\n"             /* 5 */
				     "  f = function(x) if x then x = 1 end end,\n" /* 6 */
				     "  ['x'] = 'y = \\'{',\n"                      /* 7 */
				     "  list = { 1,\n"                              /* 8 */
				     "    { n = 1 }, { m = 1,\n"                    /* 9 */
				     "      n = 2 } },\n"                           /* 10 */
				     "  power = common,\n"                          /* 11 */
				     "  y = 1 == 2,\n"                              /* 12 */
				     "  z = 0 }\n";                                 /* 13 */
	const struct lua_data_path s = {NULL, "s", 0}, x = {NULL, "x", 0}, list = {NULL, "list", 0},
				   second = {&list, NULL, 2}, n = {&second, "n", 0},
				   power = {NULL, "power", 0}, chip = {&power, "chip", 0},
				   z = {NULL, "z", 0}, none = {NULL, "none", 0};
	const struct {
		const struct lua_data_path *path;
		int line;
	} cases[] = {{NULL, 3}, {&s, 5}, {&x, 7}, {&list, 8}, {&second, 9}, {&n, 10}, {&power, 11},
		{&chip, 11}, {&z, 13}, {&none, 3}};
	struct err e;
	struct lua_data *d = load(*state, source, calls, &e);

	if (!d)
		fail_msg("%s", e.msg);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(lua_data_line(d, d->blocks, cases[i].path), cases[i].line);
	lua_data_destroy(d);
}

static void the_line_of_a_board_with_a_computed_name_is_found(void **state)
{
	const struct lua_data_path power = {NULL, "power", 0};
	struct err e;
	struct lua_data *d = load(*state,
		"for i = 1, 2 do\n  board((\"b\"):rep(i)) {\n    power = 1 }\nend", calls, &e);

	assert_non_null(d);
	assert_int_equal(lua_data_line(d, d->blocks, &power), 3);
	lua_data_destroy(d);
}

static void a_path_is_written_as_people_write_it(void **state)
{
	const struct lua_data_path releases = {NULL, "releases", 0}, second = {&releases, NULL, 1},
				   images = {&second, "images", 0};
	char text[64], small[8];

	(void)state;
	lua_data_path_text(&images, text, sizeof(text));
	assert_string_equal(text, "releases[2].images");
	lua_data_path_text(&images, small, sizeof(small));
	assert_string_equal(small, "release");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
		T(tables_become_objects_in_alphabetical_order_and_lists_arrays),
		T(numbers_without_a_fraction_are_integers),
		T(functions_become_a_marker),
		T(a_loop_and_string_and_math_are_there),
		T(a_table_used_twice_is_no_cycle),
		T(what_is_no_data_is_refused_with_its_key_and_line),
		T(lua_errors_name_file_and_line),
		T(there_is_no_way_out_of_the_sandbox),
		T(a_file_that_runs_for_ever_is_stopped),
		T(a_file_that_eats_memory_is_stopped),
		T(a_file_that_cannot_be_read_is_named),
		T(calls_are_kept_in_order_with_name_and_line),
		T(calls_made_wrongly_are_refused),
		T(modules_of_the_project_can_be_required),
		T(nothing_else_can_be_required),
		T(the_line_of_a_key_is_found_in_the_text),
		T(the_line_of_a_board_with_a_computed_name_is_found),
		T(a_path_is_written_as_people_write_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
