#include "rig/coverage.h"
#include "rig/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Ten operations: 4 to 6 are metadata, 10 is. */
static const char ten[] =
	"{'operations': 10, 'source': 'operations', 'classes': ["
	" {'name': 'bulk', 'kind': 'program', 'region': 'primary', 'boot': 0, 'size': 'bulk',"
	"  'operations': 6, 'ranges': [[1, 3], [7, 9]]},"
	" {'name': 'status', 'kind': 'program', 'region': 'primary', 'boot': 0,"
	"  'size': 'metadata', 'operations': 4, 'ranges': [[4, 6], [10, 10]]}]}";

/* JSON with ' for ". */
static json_t *read_json(const char *text)
{
	char *copy = strdup(text);
	json_t *json;

	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	json = json_loads(copy, JSON_DECODE_ANY, NULL);
	free(copy);
	if (!json)
		fail_msg("no JSON: %s", text);
	return json;
}

static struct coverage *covers(const char *trace)
{
	json_t *json = read_json(trace);
	struct err e = {.msg = ""};
	struct coverage *c = coverage_create(json, &e);

	json_decref(json);
	if (!c)
		fail_msg("%s", e.msg);
	return c;
}

static void add(struct coverage *c, const char *trial)
{
	json_t *json = read_json(trial);
	struct err e = {.msg = ""};

	if (coverage_trial(c, json, &e) != 0)
		fail_msg("%s", e.msg);
	json_decref(json);
}

/* A trial of one cut that landed where it was asked for, or elsewhere. */
static void cut_at(struct coverage *c, const char *verdict, const char *requested, const char *as)
{
	char text[256];

	snprintf(text, sizeof(text),
		"{'verdict': '%s', 'cuts': [{'requested': '%s', 'landed_as': '%s'}]}", verdict,
		requested, as);
	add(c, text);
}

static void passes(struct coverage *c, const char *cut)
{
	cut_at(c, "pass", cut, cut);
}

/* The value of a field equals some JSON. c is destroyed with the last. */
static void says(const struct coverage *c, const char *field, const char *expected)
{
	json_t *record = coverage_to_json(c), *want = read_json(expected);
	json_t *seen = json_object_get(record, field);

	if (!json_equal(seen, want)) {
		char *text = json_dumps(seen, JSON_ENCODE_ANY);

		fail_msg("%s is %s, expected %s", field, text, expected);
	}
	json_decref(record);
	json_decref(want);
}

static void distinct_cuts_are_counted_once(void **state)
{
	struct coverage *c = covers(ten);

	(void)state;
	passes(c, "3");
	passes(c, "3:clean:9");
	passes(c, "3:torn:1");
	passes(c, "3:torn:2");
	passes(c, "3:torn:2");
	passes(c, "end");
	cut_at(c, "pass", "end", "11");
	says(c, "cuts", "4");
	says(c, "positions", "2");
	says(c, "tears", "{'clean': 2, 'torn': 2}");
	says(c, "end", "true");
	says(c, "trials", "7");
	coverage_destroy(c);
}

static void a_trial_in_error_adds_nothing(void **state)
{
	struct coverage *c = covers(ten);

	(void)state;
	cut_at(c, "error", "3", "3");
	says(c, "trials", "0");
	says(c, "cuts", "0");
	says(c, "depth", "0");
	says(c, "gap", "11");
	says(c, "sentence", "'nothing was cut'");
	coverage_destroy(c);
}

static void failed_and_inconclusive_trials_count(void **state)
{
	struct coverage *c = covers(ten);

	(void)state;
	cut_at(c, "fail", "3", "3");
	cut_at(c, "inconclusive", "7", "7");
	add(c, "{'verdict': 'inconclusive', 'cuts': {}}");
	add(c, "{'verdict': 'pass'}");
	says(c, "cuts", "2");
	says(c, "failed", "1");
	says(c, "inconclusive", "2");
	says(c, "trials", "4");
	coverage_destroy(c);
}

static void a_second_attempt_is_passed_over(void **state)
{
	struct coverage *c = covers(ten);

	(void)state;
	add(c, "{'verdict': 'fail', 'cuts': [{'requested': '3', 'landed_as': '3'},"
	       " {'requested': '3', 'landed_as': '3', 'again': true}]}");
	says(c, "depth", "1");
	says(c, "second", "0");
	coverage_destroy(c);
}

static void where_it_landed_counts_and_not_what_was_asked(void **state)
{
	struct coverage *c = covers(ten);

	(void)state;
	cut_at(c, "pass", "3", "5");
	cut_at(c, "pass", "9:torn:4", "8:torn:4");
	cut_at(c, "pass", "2", "2");
	cut_at(c, "pass", "end", "7");
	says(c, "positions", "4");
	says(c, "landing_error", "{'max': 4, 'mean': 1.75}");
	says(c, "metadata",
		"{'operations': 4, 'before': 1, 'torn': 0, 'untearable': 0, 'after': 2}");
	coverage_destroy(c);
}

static void no_landing_error_is_told_of_nothing(void **state)
{
	struct coverage *c = covers(ten);

	(void)state;
	add(c, "{'verdict': 'pass', 'cuts': [{'requested': '3', 'landed_as': null}]}");
	says(c, "landing_error", "{'max': null, 'mean': null}");
	says(c, "unplaced", "1");
	says(c, "depth", "1");
	says(c, "sentence", "'1 cut fired, and none could be placed'");
	coverage_destroy(c);
}

static void metadata_is_counted_before_torn_and_after(void **state)
{
	struct coverage *c = covers(ten);

	(void)state;
	passes(c, "4"); /* before 4 */
	passes(c, "5"); /* before 5, after 4 */
	passes(c, "5:torn:1");
	passes(c, "7:torn:1"); /* after 6 only when clean */
	passes(c, "end");      /* after 10 */
	says(c, "metadata",
		"{'operations': 4, 'before': 2, 'torn': 1, 'untearable': 0, 'after': 2}");
	passes(c, "7");
	says(c, "metadata",
		"{'operations': 4, 'before': 2, 'torn': 1, 'untearable': 0, 'after': 3}");
	coverage_destroy(c);
}

static void a_tear_that_shows_nothing_is_untearable(void **state)
{
	struct coverage *c = covers(ten);

	(void)state;
	cut_at(c, "pass", "5:torn:1", "5");
	cut_at(c, "pass", "6:torn:1", "5"); /* landed elsewhere: says nothing of 6 */
	cut_at(c, "pass", "10:torn:1", "10");
	cut_at(c, "pass", "10:torn:2", "10:torn:2"); /* another seed did tear it */
	says(c, "metadata",
		"{'operations': 4, 'before': 2, 'torn': 1, 'untearable': 1, 'after': 1}");
	coverage_destroy(c);
}

static void classes_have_the_cuts_that_landed_in_them(void **state)
{
	struct coverage *c = covers(ten);

	(void)state;
	passes(c, "1");
	passes(c, "8:torn:1");
	passes(c, "8:torn:2");
	passes(c, "end");
	says(c, "classes",
		"[{'name': 'bulk', 'operations': 6, 'cuts': 3, 'clean': 1, 'torn': 2},"
		" {'name': 'status', 'operations': 4, 'cuts': 0, 'clean': 0, 'torn': 0}]");
	coverage_destroy(c);
}

static void a_trace_without_classes_is_covered_too(void **state)
{
	struct coverage *c = covers("{'operations': 3}");

	(void)state;
	passes(c, "2");
	says(c, "source", "'operations'");
	says(c, "classes", "[]");
	says(c, "gap_at", "[3, 4]");
	says(c, "sentence",
		"'1 distinct cut of 3 operations; no failing window wider than 2 operations"
		" (2 where only clean cuts fail, 3 where only torn ones)'");
	coverage_destroy(c);
}

static void the_gap_is_the_first_of_the_longest(void **state)
{
	struct coverage *c = covers(ten);

	(void)state;
	says(c, "gap", "11");
	says(c, "gap_at", "[1, 11]");
	passes(c, "4");
	says(c, "gap", "7");
	says(c, "gap_at", "[5, 11]");
	passes(c, "8:torn:1");
	says(c, "gap", "3");
	says(c, "gap_at", "[1, 3]");
	says(c, "gap_by_tear", "{'clean': 7, 'torn': 7}");
	coverage_destroy(c);
}

static void the_end_is_a_position_of_its_own(void **state)
{
	struct coverage *c = covers("{'operations': 2}");

	(void)state;
	passes(c, "1");
	passes(c, "2");
	says(c, "gap", "1");
	says(c, "gap_at", "[3, 3]");
	passes(c, "end");
	says(c, "gap", "0");
	says(c, "gap_at", "null");
	coverage_destroy(c);
}

static void a_trial_of_two_cuts_is_second_and_depth(void **state)
{
	struct coverage *c = covers(ten);

	(void)state;
	add(c, "{'verdict': 'pass', 'cuts': [{'requested': '4', 'landed_as': '4'},"
	       " {'requested': '2', 'landed_as': null, 'counted': 2}]}");
	says(c, "depth", "2");
	says(c, "second", "1");
	says(c, "unplaced", "0");
	says(c, "cuts", "1");
	add(c, "{'verdict': 'pass', 'cuts': [{'requested': '4', 'landed_as': '4'},"
	       " {'requested': '2'}, {'requested': '1'}]}");
	says(c, "depth", "3");
	says(c, "second", "2");
	says(c, "sentence",
		"'1 distinct cut of 10 operations: 1 of 4 metadata operations before, 0 torn, 0 "
		"after; the widest stretch without a cut is 7 operations; depth 3, a second cut in "
		"2 trials'");
	coverage_destroy(c);
}

static void no_window_is_ruled_out_by_a_cut_that_was_never_alone(void **state)
{
	static const char pair[] =
		"{'verdict': 'pass', 'cuts': [{'requested': '4', 'landed_as': '4'},"
		" {'requested': '2', 'landed_as': null}]}";
	struct coverage *c = covers("{'operations': 4}");

	(void)state;
	passes(c, "2");
	add(c, pair);
	says(c, "gap", "1");
	says(c, "sentence",
		"'2 distinct cuts of 4 operations; the widest stretch without a cut is 1 operation;"
		" depth 2, a second cut in 1 trial'");
	passes(c, "4:torn:1"); /* another tear says nothing of it */
	says(c, "gap_by_tear", "{'clean': 1, 'torn': 3}");
	says(c, "sentence",
		"'3 distinct cuts of 4 operations; the widest stretch without a cut is 1 operation;"
		" depth 2, a second cut in 1 trial'");
	passes(c, "4");
	says(c, "sentence",
		"'3 distinct cuts of 4 operations; no failing window wider than 1 operation (1 "
		"where only clean cuts fail, 3 where only torn ones); depth 2, a second cut in 1 "
		"trial'");
	coverage_destroy(c);
}

static void a_cut_of_a_second_attempt_is_no_second_cut(void **state)
{
	struct coverage *c = covers("{'operations': 1}");

	(void)state;
	add(c, "{'verdict': 'pass', 'cuts': [{'requested': '1', 'landed_as': '1'},"
	       " {'requested': '2', 'landed_as': null, 'again': true}]}");
	says(c, "sentence",
		"'1 distinct cut of 1 operation; no failing window wider than 1 operation (1 where "
		"only clean cuts fail, 1 where only torn ones)'");
	coverage_destroy(c);
}

static void all_metadata_is_said_when_it_is_so(void **state)
{
	static const char *const cuts[] = {
		"4", "4:torn:1", "5", "5:torn:1", "6", "7", "10", "10:torn:3", "end"};
	struct coverage *c = covers(ten);

	(void)state;
	for (size_t i = 0; i < sizeof(cuts) / sizeof(*cuts); i++)
		passes(c, cuts[i]);
	says(c, "sentence",
		"'9 distinct cuts of 10 operations: 4 of 4 metadata operations before, 3 torn, 4 "
		"after; no failing window wider than 3 operations (3 where only clean cuts fail, 4 "
		"where only torn ones)'");
	cut_at(c, "pass", "6:torn:9", "6");
	says(c, "sentence",
		"'9 distinct cuts of 10 operations: all 4 metadata operations before, torn and "
		"after (1 showed no tear); no failing window wider than 3 operations (3 where only "
		"clean cuts fail, 3 where only torn ones)'");
	coverage_destroy(c);
}

static void no_window_is_ruled_out_once_a_trial_failed(void **state)
{
	struct coverage *c = covers(ten);

	(void)state;
	passes(c, "4");
	cut_at(c, "fail", "8", "8");
	says(c, "sentence",
		"'2 distinct cuts of 10 operations: 1 of 4 metadata operations before, 0 torn, 0 "
		"after; the widest stretch without a cut is 3 operations; 1 of 2 trials failed'");
	coverage_destroy(c);
}

static void no_window_is_ruled_out_by_a_cut_that_nothing_is_known_of(void **state)
{
	struct coverage *c = covers("{'operations': 4}");

	(void)state;
	passes(c, "2");
	cut_at(c, "inconclusive", "4", "4");
	says(c, "sentence",
		"'2 distinct cuts of 4 operations; the widest stretch without a cut is 1 operation;"
		" 1 of 2 trials inconclusive'");
	passes(c, "4"); /* tried once more, and known then */
	says(c, "sentence",
		"'2 distinct cuts of 4 operations; no failing window wider than 1 operation (1 "
		"where only clean cuts fail, 4 where only torn ones); 1 of 3 trials inconclusive'");
	coverage_destroy(c);
}

static void all_points_takes_every_operation_before_and_torn_and_the_end(void **state)
{
	struct coverage *c = covers("{'operations': 2}");

	(void)state;
	passes(c, "1");
	passes(c, "2");
	passes(c, "2:torn:3");
	passes(c, "end");
	says(c, "sentence",
		"'4 distinct cuts of 2 operations; no failing window wider than 0 operations (0 "
		"where only clean cuts fail, 1 where only torn ones)'");
	cut_at(c, "pass", "1:torn:1", "1");
	says(c, "sentence",
		"'4 distinct cuts of 2 operations: all points, before and torn at each operation "
		"and after the last (1 showed no tear)'");
	cut_at(c, "fail", "1:torn:2", "1:torn:2");
	says(c, "sentence",
		"'5 distinct cuts of 2 operations: all points, before and torn at each operation "
		"and after the last; 1 of 6 trials failed'");
	coverage_destroy(c);
}

static void thousands_are_separated(void **state)
{
	struct coverage *c = covers("{'operations': 1234567}");

	(void)state;
	passes(c, "1234");
	says(c, "gap", "1233334");
	says(c, "sentence",
		"'1 distinct cut of 1,234,567 operations; no failing window wider than 1,233,334 "
		"operations (1,233,334 where only clean cuts fail, 1,234,567 where only torn "
		"ones)'");
	coverage_destroy(c);
}

static void an_update_without_operations_has_its_end(void **state)
{
	struct coverage *c = covers("{'operations': 0, 'classes': {}}");

	(void)state;
	says(c, "gap_at", "[1, 1]");
	passes(c, "end");
	says(c, "positions", "1");
	says(c, "gap", "0");
	coverage_destroy(c);
}

static void lines_of_progress_say_nothing_of_flash(void **state)
{
	struct coverage *c = covers(
		"{'operations': 8, 'source': 'lines', 'classes': [{'name': 'lines', 'size': 'bulk',"
		" 'operations': 8, 'ranges': [[1, 8]]}]}");

	(void)state;
	add(c, "{'verdict': 'pass', 'cuts': [{'requested': '3', 'landed_as': null, 'counted': 3}]}");
	add(c, "{'verdict': 'pass', 'cuts': [{'requested': '3:torn:1', 'counted': 3}]}");
	add(c, "{'verdict': 'pass', 'cuts': [{'requested': '6', 'counted': 7}]}");
	add(c, "{'verdict': 'pass', 'cuts': [{'requested': 'end', 'counted': null}]}");
	says(c, "source", "'lines'");
	says(c, "cuts", "3");
	says(c, "positions", "3");
	says(c, "end", "true");
	says(c, "tears", "{'clean': 0, 'torn': 0}");
	says(c, "gap_by_tear", "null");
	says(c, "landing_error", "{'max': 1, 'mean': 0.25}");
	says(c, "by_count", "4");
	says(c, "gap_at", "[4, 6]");
	says(c, "classes",
		"[{'name': 'lines', 'operations': 8, 'cuts': 2, 'clean': 0, 'torn': 0}]");
	says(c, "sentence",
		"'3 distinct cuts of 8 lines of progress (by count: where in flash they fell is not "
		"known); no failing window wider than 3 lines'");
	coverage_destroy(c);
}

static void what_flash_shows_of_breakpoints_places_them(void **state)
{
	struct coverage *c = covers("{'operations': 8, 'source': 'breakpoints'}");

	(void)state;
	add(c, "{'verdict': 'pass', 'cuts': [{'requested': '3', 'landed_as': '4', 'counted': 3}]}");
	says(c, "by_count", "0");
	says(c, "gap_at", "[5, 9]");
	says(c, "sentence",
		"'1 distinct cut of 8 breakpoints of progress (as flash shows); no failing window "
		"wider than 5 breakpoints'");
	add(c, "{'verdict': 'pass', 'cuts': [{'requested': '7', 'counted': 7, 'agreement': "
	       "'unknown'}]}");
	says(c, "sentence",
		"'2 distinct cuts of 8 breakpoints of progress (1 of 2 by count: where in flash "
		"those fell is not known); no failing window wider than 3 breakpoints'");
	add(c, "{'verdict': 'pass', 'cuts': [{'requested': '2', 'counted': 2, 'agreement': "
	       "'skewed'}]}");
	says(c, "cuts", "2");
	says(c, "unplaced", "1");
	says(c, "tears", "{'clean': 0, 'torn': 0}");
	coverage_destroy(c);
}

static void steps_of_time_are_placed_by_count(void **state)
{
	struct coverage *c = covers("{'operations': 30, 'source': 'time'}");

	(void)state;
	add(c, "{'verdict': 'pass', 'cuts': [{'requested': '11', 'counted': 12}]}");
	says(c, "sentence",
		"'1 distinct cut of 30 steps of time (by count: where in flash they fell is not "
		"known); no failing window wider than 19 steps'");
	coverage_destroy(c);
}

static void what_was_counted_beyond_the_trace_is_not_placed(void **state)
{
	struct coverage *c = covers("{'operations': 8, 'source': 'edges'}");

	(void)state;
	add(c, "{'verdict': 'pass', 'cuts': [{'requested': '8', 'counted': 10}]}");
	add(c, "{'verdict': 'pass', 'cuts': [{'requested': '8', 'counted': null}]}");
	add(c, "{'verdict': 'pass', 'cuts': [{'requested': '8', 'counted': 9}]}");
	says(c, "unplaced", "2");
	says(c, "cuts", "1");
	says(c, "end", "true");
	coverage_destroy(c);
}

static void metadata_of_no_known_place_is_not_counted(void **state)
{
	struct coverage *c = covers(
		"{'operations': 2, 'source': 'breakpoints', 'classes': [{'name': 'b', 'size':"
		" 'metadata', 'operations': 2, 'ranges': [[1, 2]]}]}");

	(void)state;
	add(c, "{'verdict': 'pass', 'cuts': [{'requested': '1', 'counted': 1}]}");
	says(c, "metadata",
		"{'operations': 2, 'before': 0, 'torn': 0, 'untearable': 0, 'after': 0}");
	says(c, "sentence",
		"'1 distinct cut of 2 breakpoints of progress (by count: where in flash they fell is not "
		"known); no failing window wider than 2 breakpoints'");
	coverage_destroy(c);
}

static void refuses_a_trace_of_another_shape(void **state)
{
	static const struct {
		const char *trace, *message;
	} cases[] = {
		{"[]", "coverage: trace: operations: expected 0 to 16777216"},
		{"null", "coverage: trace: operations: expected 0 to 16777216"},
		{"{'operations': -1}", "coverage: trace: operations: expected 0 to 16777216"},
		{"{'operations': 1e3}", "coverage: trace: operations: expected 0 to 16777216"},
		{"{'operations': 9000000000000}",
			"coverage: trace: operations: expected 0 to 16777216"},
		{"{'operations': 1, 'source': 'x'}",
			"coverage: trace: source: expected operations, lines, edges, breakpoints "
			"or time"},
		{"{'operations': 1, 'source': 7}",
			"coverage: trace: source: expected operations, lines, edges, breakpoints "
			"or time"},
		{"{'operations': 1, 'classes': 7}", "coverage: trace: classes: expected a list"},
		{"{'operations': 1, 'classes': [7]}",
			"coverage: trace: classes[1]: expected name, size, operations and ranges"},
		{"{'operations': 1, 'classes': [{'name': 'a', 'size': 'bulk', 'operations': 1}]}",
			"coverage: trace: classes[1]: expected name, size, operations and ranges"},
		{"{'operations': 1, 'classes': [{'name': 'a', 'size': 'bulk', 'operations': 1,"
		 " 'ranges': [[1, 2]]}]}",
			"coverage: trace: classes[1].ranges: expected [first, last] in 1 to 1"},
		{"{'operations': 3, 'classes': [{'name': 'a', 'size': 'bulk', 'operations': 1,"
		 " 'ranges': [[2, 1]]}]}",
			"coverage: trace: classes[1].ranges: expected [first, last] in 1 to 3"},
		{"{'operations': 3, 'classes': [{'name': 'a', 'size': 'bulk', 'operations': 1,"
		 " 'ranges': [1]}]}",
			"coverage: trace: classes[1].ranges: expected [first, last] in 1 to 3"},
		{"{'operations': 3, 'classes': [{'name': 'a', 'size': 'bulk', 'operations': 1,"
		 " 'ranges': [[1, 2], [2, 3]]}]}",
			"coverage: trace: operation 2 is in two classes"},
		{"{'operations': 3, 'classes': [{'name': 'a', 'size': 'bulk', 'operations': 1,"
		 " 'ranges': [[1, 2]]}]}",
			"coverage: trace: classes[1]: operations is 1, but its ranges have 2"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *trace = read_json(cases[i].trace);
		struct err e = {.msg = ""};

		assert_null(coverage_create(trace, &e));
		assert_int_equal(e.code, ERR_PROTOCOL);
		assert_string_equal(e.msg, cases[i].message);
		json_decref(trace);
	}
}

static void refuses_a_trial_of_another_shape_and_adds_nothing_of_it(void **state)
{
	static const struct {
		const char *trial, *message;
	} cases[] = {
		{"null", "coverage: trial: verdict: expected pass, fail, error or inconclusive"},
		{"{'verdict': 'good'}",
			"coverage: trial: verdict: expected pass, fail, error or inconclusive"},
		{"{'verdict': 'pass', 'cuts': 3}", "coverage: trial: cuts: expected a list"},
		{"{'verdict': 'pass', 'cuts': [3]}", "coverage: trial: cuts[1]: expected a table"},
		{"{'verdict': 'pass', 'cuts': [{}]}",
			"coverage: trial: cut: requested: expected a cut as text"},
		{"{'verdict': 'pass', 'cuts': [{'requested': 'x', 'landed_as': '1'}]}",
			"coverage: trial: cut: requested: cut \"x\": column 1: expected an "
			"operation's number from 1, or \"end\""},
		{"{'verdict': 'pass', 'cuts': [{'requested': '1,2', 'landed_as': '1'}]}",
			"coverage: trial: cut: requested: expected one cut"},
		{"{'verdict': 'pass', 'cuts': [{'requested': '1', 'landed_as': 1}]}",
			"coverage: trial: cut: landed_as: expected a cut as text"},
		{"{'verdict': 'pass', 'cuts': [{'requested': '1', 'landed_as': '12'}]}",
			"coverage: trial: cut: landed_as: the trace has only 10 operations"},
		{"{'verdict': 'pass', 'cuts': [{'requested': '1', 'landed_as': '11:torn:1'}]}",
			"coverage: trial: cut: landed_as: the trace has only 10 operations"},
	};
	struct coverage *c = covers(ten);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *trial = read_json(cases[i].trial);
		struct err e = {.msg = ""};

		assert_int_equal(coverage_trial(c, trial, &e), -ERR_PROTOCOL);
		assert_string_equal(e.msg, cases[i].message);
		json_decref(trial);
	}
	says(c, "trials", "0");
	says(c, "depth", "0");
	coverage_destroy(c);
}

static void refuses_what_no_board_can_count(void **state)
{
	static const char *const counted[] = {"0", "-3", "'7'", "true", "1.5"};
	struct coverage *c = covers("{'operations': 8, 'source': 'lines'}");

	(void)state;
	for (size_t i = 0; i < sizeof(counted) / sizeof(*counted); i++) {
		char text[128];
		struct err e = {.msg = ""};
		json_t *trial;

		snprintf(text, sizeof(text),
			"{'verdict': 'pass', 'cuts': [{'requested': '1', 'counted': %s}]}",
			counted[i]);
		trial = read_json(text);
		assert_int_equal(coverage_trial(c, trial, &e), -ERR_PROTOCOL);
		assert_string_equal(
			e.msg, "coverage: trial: cut: counted: expected a number from 1");
		json_decref(trial);
	}
	coverage_destroy(c);
}

static void the_order_of_trials_does_not_matter(void **state)
{
	struct coverage *up = covers("{'operations': 300}"), *down = covers("{'operations': 300}");
	json_t *a, *b;

	(void)state;
	for (int i = 1; i <= 300; i++) {
		char text[32];

		snprintf(text, sizeof(text), "%d:torn:%d", i, i % 7);
		passes(up, text);
		snprintf(text, sizeof(text), "%d:torn:%d", 301 - i, (301 - i) % 7);
		passes(down, text);
	}
	a = coverage_to_json(up);
	b = coverage_to_json(down);
	assert_true(json_equal(a, b));
	json_decref(a);
	json_decref(b);
	coverage_destroy(up);
	coverage_destroy(down);
	coverage_destroy(NULL);
}

/*
 * For tests/coverage.t: lines of {"trace", "trials": [...]} in, their coverage records out.
 */
static int print_records(void)
{
	json_t *item;
	int bad = 0;

	while (!bad && (item = json_loadf(stdin, JSON_DISABLE_EOF_CHECK, NULL))) {
		json_t *record = NULL, *trial;
		struct err e = {.msg = "out of memory"};
		struct coverage *c = coverage_create(json_object_get(item, "trace"), &e);
		size_t i;

		bad = !c;
		json_array_foreach (json_object_get(item, "trials"), i, trial)
			bad = bad || coverage_trial(c, trial, &e) != 0;
		if (!bad)
			record = coverage_to_json(c);
		bad = !record || json_dumpf(record, stdout, JSON_COMPACT) != 0 || putchar('\n') < 0;
		if (bad)
			fprintf(stderr, "%s\n", e.msg);
		json_decref(record);
		json_decref(item);
		coverage_destroy(c);
	}
	return bad || fflush(stdout) != 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(distinct_cuts_are_counted_once),
		cmocka_unit_test(a_trial_in_error_adds_nothing),
		cmocka_unit_test(failed_and_inconclusive_trials_count),
		cmocka_unit_test(a_second_attempt_is_passed_over),
		cmocka_unit_test(where_it_landed_counts_and_not_what_was_asked),
		cmocka_unit_test(no_landing_error_is_told_of_nothing),
		cmocka_unit_test(metadata_is_counted_before_torn_and_after),
		cmocka_unit_test(a_tear_that_shows_nothing_is_untearable),
		cmocka_unit_test(classes_have_the_cuts_that_landed_in_them),
		cmocka_unit_test(a_trace_without_classes_is_covered_too),
		cmocka_unit_test(the_gap_is_the_first_of_the_longest),
		cmocka_unit_test(the_end_is_a_position_of_its_own),
		cmocka_unit_test(a_trial_of_two_cuts_is_second_and_depth),
		cmocka_unit_test(no_window_is_ruled_out_by_a_cut_that_was_never_alone),
		cmocka_unit_test(a_cut_of_a_second_attempt_is_no_second_cut),
		cmocka_unit_test(all_metadata_is_said_when_it_is_so),
		cmocka_unit_test(no_window_is_ruled_out_once_a_trial_failed),
		cmocka_unit_test(no_window_is_ruled_out_by_a_cut_that_nothing_is_known_of),
		cmocka_unit_test(all_points_takes_every_operation_before_and_torn_and_the_end),
		cmocka_unit_test(thousands_are_separated),
		cmocka_unit_test(an_update_without_operations_has_its_end),
		cmocka_unit_test(lines_of_progress_say_nothing_of_flash),
		cmocka_unit_test(what_flash_shows_of_breakpoints_places_them),
		cmocka_unit_test(steps_of_time_are_placed_by_count),
		cmocka_unit_test(what_was_counted_beyond_the_trace_is_not_placed),
		cmocka_unit_test(metadata_of_no_known_place_is_not_counted),
		cmocka_unit_test(refuses_a_trace_of_another_shape),
		cmocka_unit_test(refuses_a_trial_of_another_shape_and_adds_nothing_of_it),
		cmocka_unit_test(refuses_what_no_board_can_count),
		cmocka_unit_test(the_order_of_trials_does_not_matter),
	};

	if (argc == 2 && strcmp(argv[1], "--records") == 0)
		return print_records();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
