/*
 * What is known of a run from its journal: the part of it that a run taken up again begins with.
 */
#include "rig/err.h"
#include "rig/known.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#define A "demo-1"
#define B "demo-2"

static int setup(void **state)
{
	static struct known k;

	known_init(&k);
	*state = &k;
	return 0;
}

static int teardown(void **state)
{
	known_finish(*state);
	return 0;
}

/* Steals fields. */
static void say(
	struct known *k, const char *kind, const char *board, const char *trial, json_t *fields)
{
	json_t *record =
		json_pack("{s:s, s:s?, s:s?}", "kind", kind, "board", board, "trial", trial);

	json_object_update(record, fields);
	json_decref(fields);
	known_record(k, record);
	json_decref(record);
}

static void start(struct known *k, const char *board, const char *item, bool resumed)
{
	say(k, "item-start", board, NULL,
		json_pack("{s:s, s:b}", "item", item, "resumed", (int)resumed));
}

static void end(struct known *k, const char *board, const char *item, const char *verdict)
{
	say(k, "item-end", board, NULL, json_pack("{s:s, s:s}", "item", item, "verdict", verdict));
}

/* A trial with one cut; verdict NULL: it has none. */
static void trial(struct known *k, const char *board, const char *key, const char *verdict)
{
	say(k, "trial-start", board, key, json_object());
	say(k, "cut", board, key, json_pack("{s:i}", "landed", 7));
	if (verdict)
		say(k, "verdict", board, key,
			json_pack("{s:s, s:s, s:{s:s}}", "verdict", verdict, "cut", "7", "outcome",
				"runs", "old"));
}

static void resume(struct known *k)
{
	say(k, "resume", NULL, NULL, json_pack("{s:i}", "after", 1));
}

static size_t known_count(const struct known *k, const char *item)
{
	json_t *trials = known_trials(k, item);
	size_t n = json_object_size(trials);

	json_decref(trials);
	return n;
}

static json_int_t total(const struct known *k, const char *name)
{
	json_t *totals = known_totals(k);
	json_int_t n = json_integer_value(json_object_get(totals, name));

	assert_non_null(json_object_get(totals, name));
	json_decref(totals);
	return n;
}

static void of_nothing_nothing_is_known(void **state)
{
	struct known *k = *state;

	assert_false(known_item_over(k, "x"));
	assert_false(known_item_begun(k, "x"));
	assert_null(known_trials(k, "x"));
	assert_false(known_failed(k));
	assert_true(known_unfinished(k));
	assert_int_equal(total(k, "trials"), 0);
	assert_int_equal(total(NULL, "items"), 0);
	assert_true(known_seconds(k) == 0);
}

static void a_trial_with_a_verdict_is_known_with_its_outcome(void **state)
{
	struct known *k = *state;
	json_t *trials;

	start(k, A, "x", false);
	trial(k, A, "uncut", "pass");
	trial(k, A, "cut=7", "inconclusive");
	known_take_up(k);
	trials = known_trials(k, "x");
	assert_int_equal(json_object_size(trials), 2);
	assert_string_equal(
		json_string_value(json_object_get(
			json_object_get(json_object_get(trials, "cut=7"), "outcome"), "runs")),
		"old");
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(trials, "cut=7"), "cut")), "7");
	json_decref(trials);
	assert_true(known_item_begun(k, "x"));
	assert_false(known_item_over(k, "x"));
}

static void a_trial_without_a_verdict_counts_for_nothing(void **state)
{
	struct known *k = *state;

	start(k, A, "x", false);
	trial(k, A, "cut=7", NULL);
	assert_int_equal(total(k, "cuts"), 1); /* of the run that died */
	known_take_up(k);
	assert_null(known_trials(k, "x"));
	assert_int_equal(total(k, "trials"), 0);
	assert_int_equal(total(k, "cuts"), 0);
}

static void a_trial_that_the_bench_failed_in_is_done_anew(void **state)
{
	struct known *k = *state;

	start(k, A, "x", false);
	trial(k, A, "cut=7", "fail");
	trial(k, A, "cut=8", "error");
	end(k, A, "x", "error");
	assert_int_equal(total(k, "trials"), 2);
	assert_int_equal(total(k, "error"), 1);
	known_take_up(k);
	assert_int_equal(known_count(k, "x"), 1);
	assert_false(known_item_over(k, "x"));
	assert_int_equal(total(k, "trials"), 1);
	assert_int_equal(total(k, "error"), 0);
	assert_true(known_failed(k));
}

static void items_that_ended_with_a_verdict_are_over(void **state)
{
	static const char *const verdicts[] = {"pass", "fail", "inconclusive"};
	struct known *k = *state;

	say(k, "plan", NULL, NULL, json_pack("{s:[{}, {}, {}, {}, {}]}", "items"));
	for (size_t i = 0; i < 3; i++) {
		start(k, A, verdicts[i], false);
		trial(k, A, "t", verdicts[i]);
		end(k, A, verdicts[i], verdicts[i]);
	}
	start(k, A, "error", false);
	end(k, A, "error", "error");
	say(k, "item-end", A, NULL,
		json_pack(
			"{s:s, s:s, s:s}", "item", "skipped", "verdict", "pass", "skipped", "so"));
	resume(k);
	for (size_t i = 0; i < 3; i++) {
		assert_true(known_item_over(k, verdicts[i]));
		assert_int_equal(total(k, verdicts[i]), 1);
	}
	assert_true(known_item_over(k, "skipped"));
	assert_false(known_item_over(k, "error"));
	assert_int_equal(total(k, "items"), 5);
	assert_int_equal(total(k, "skipped"), 1);
	assert_int_equal(total(k, "error"), 0);
	assert_int_equal(total(k, "trials"), 3);
	assert_int_equal(total(k, "cuts"), 3);
}

static void verdicts_of_an_item_that_was_begun_anew_are_void(void **state)
{
	struct known *k = *state;

	start(k, A, "x", false);
	trial(k, A, "cut=7", "pass");
	start(k, A, "x", false);
	assert_null(known_trials(k, "x"));
	trial(k, A, "cut=8", "pass");
	start(k, A, "x", true);
	trial(k, A, "cut=9", "pass");
	assert_int_equal(known_count(k, "x"), 2);
}

static void an_item_resumed_twice_keeps_what_both_parts_gave(void **state)
{
	struct known *k = *state;

	start(k, A, "x", false);
	trial(k, A, "cut=7", "pass");
	trial(k, A, "cut=8", NULL);
	resume(k);
	start(k, A, "x", true);
	trial(k, A, "cut=8", "pass");
	trial(k, A, "cut=9", "error");
	end(k, A, "x", "error");
	resume(k);
	assert_int_equal(known_count(k, "x"), 2);
	start(k, A, "x", true);
	trial(k, A, "cut=9", "fail");
	end(k, A, "x", "fail");
	resume(k);
	assert_true(known_item_over(k, "x"));
	assert_int_equal(total(k, "trials"), 3);
	assert_int_equal(total(k, "cuts"), 3);
	assert_int_equal(total(k, "fail"), 1);
}

static void boards_that_interleave_are_kept_apart(void **state)
{
	struct known *k = *state;

	start(k, A, "x", false);
	start(k, B, "y", false);
	say(k, "trial-start", A, "t", json_object());
	say(k, "trial-start", B, "t", json_object());
	say(k, "verdict", B, "t", json_pack("{s:s}", "verdict", "fail"));
	end(k, B, "y", "fail");
	start(k, B, "z", false);
	trial(k, B, "t", "pass");
	resume(k);
	assert_null(known_trials(k, "x"));
	assert_int_equal(known_count(k, "y"), 1);
	assert_int_equal(known_count(k, "z"), 1);
	assert_true(known_item_over(k, "y"));
	assert_false(known_item_over(k, "z"));
}

/* Between two stretches nothing is under way: a verdict there belongs to nothing. */
static void nothing_is_under_way_after_a_resume(void **state)
{
	struct known *k = *state;

	start(k, A, "x", false);
	resume(k);
	say(k, "verdict", A, "t", json_pack("{s:s}", "verdict", "fail"));
	trial(k, A, "t", "fail");
	assert_null(known_trials(k, "x"));
	assert_false(known_failed(k));
}

static void a_cut_of_a_second_attempt_is_not_counted(void **state)
{
	struct known *k = *state;

	start(k, A, "x", false);
	say(k, "trial-start", A, "t", json_object());
	say(k, "cut", A, "t", json_pack("{s:i}", "landed", 7));
	say(k, "cut", A, "t", json_pack("{s:n}", "landed"));
	say(k, "cut", A, "t", json_pack("{s:i, s:b}", "landed", 7, "again", 1));
	say(k, "verdict", A, "t", json_pack("{s:s}", "verdict", "fail"));
	assert_int_equal(total(k, "cuts"), 1);
}

/* Of a trigger that counts lines, edges or time, flash says nothing of where it fell. */
static void a_cut_that_landed_by_count_is_counted(void **state)
{
	struct known *k = *state;

	start(k, A, "x", false);
	say(k, "trial-start", A, "t", json_object());
	say(k, "cut", A, "t", json_pack("{s:i, s:b}", "counted", 7, "by_count", 1));
	say(k, "cut", A, "t", json_pack("{s:s, s:b}", "op", "end", "by_count", 1));
	/* one that flash contradicts, and one of a second attempt */
	say(k, "cut", A, "t", json_pack("{s:i, s:s}", "counted", 7, "agreement", "skewed"));
	say(k, "cut", A, "t",
		json_pack("{s:i, s:b, s:b}", "counted", 7, "by_count", 1, "again", 1));
	say(k, "verdict", A, "t", json_pack("{s:s}", "verdict", "pass"));
	assert_int_equal(total(k, "cuts"), 2);
}

static void what_was_cut_short_is_unfinished(void **state)
{
	static const struct {
		const char *reason;
		bool unfinished, with_error;
	} cases[] = {{"interrupted", true, true}, {"cancelled", true, true}, {"error", true, true},
		{"finished", false, true}, {"fail-fast", false, false}, {"budget", false, false}};
	struct known *k = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		for (int error = 0; error < 2; error++) {
			known_finish(k);
			known_init(k);
			start(k, A, "x", false);
			end(k, A, "x", error ? "error" : "fail");
			say(k, "end", NULL, NULL, json_pack("{s:s}", "reason", cases[i].reason));
			assert_int_equal(known_unfinished(k),
				error ? cases[i].with_error : cases[i].unfinished);
			resume(k);
			assert_true(known_unfinished(k));
		}
	}
}

static void the_time_between_two_stretches_is_not_counted(void **state)
{
	static const struct {
		const char *kind;
		json_int_t s;
	} records[] = {{"run", 100}, {"note", 110}, {"resume", 5}, {"note", 7}, {"resume", 900},
		{"end", 903}};
	struct known *k = *state;

	for (size_t i = 0; i < sizeof(records) / sizeof(*records); i++)
		say(k, records[i].kind, NULL, NULL,
			json_pack("{s:I}", "t_mono_ns", records[i].s * 1000000000));
	assert_true(known_seconds(k) == 15);
	assert_int_equal(k->resumed, 2);
}

static void a_damaged_journal_is_an_error_and_a_golden_one_is_read(void **state)
{
	struct known *k = *state;
	struct err e;

	assert_int_equal(known_read(k, "tests/golden/matrix.tap", &e), -ERR_PROTOCOL);
	assert_int_equal(known_read(k, "tests/golden/resumed.ndjson", &e), 0);
	assert_int_equal(total(k, "pass"), 2);
	assert_int_equal(total(k, "fail"), 1);
	assert_int_equal(total(k, "error"), 0);
	assert_int_equal(total(k, "trials"), 6);
	assert_int_equal(total(k, "cuts"), 3);
	assert_false(known_unfinished(k));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(of_nothing_nothing_is_known),
		T(a_trial_with_a_verdict_is_known_with_its_outcome),
		T(a_trial_without_a_verdict_counts_for_nothing),
		T(a_trial_that_the_bench_failed_in_is_done_anew),
		T(items_that_ended_with_a_verdict_are_over),
		T(verdicts_of_an_item_that_was_begun_anew_are_void),
		T(an_item_resumed_twice_keeps_what_both_parts_gave),
		T(boards_that_interleave_are_kept_apart),
		T(nothing_is_under_way_after_a_resume),
		T(a_cut_of_a_second_attempt_is_not_counted),
		T(a_cut_that_landed_by_count_is_counted),
		T(what_was_cut_short_is_unfinished),
		T(the_time_between_two_stretches_is_not_counted),
		T(a_damaged_journal_is_an_error_and_a_golden_one_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
