/*
 * TAP made from journals. tests/golden/NAME.ndjson is a journal, NAME.tap what it must give.
 *
 * test_tap --print JOURNAL VERSION [ITEM] writes the TAP of one journal, for tests/tap14.t.
 */
#include "reports/report.h"
#include "reports/tap.h"
#include "reports/yaml.h"
#include "rig/err.h"
#include "rig/journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define GOLDEN "tests/golden/"

static char *slurp(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = NULL;
	size_t size = 0;
	ssize_t n;

	if (!f)
		fail_msg("%s is missing", path);
	n = getdelim(&text, &size, '\0', f);
	fclose(f);
	return n < 0 ? strdup("") : text;
}

/* The TAP of a golden journal; the caller frees it. */
static char *render(const char *name, int version, const char *item)
{
	char path[256], *text = NULL;
	size_t size;
	struct report_options o = {.tap_version = version, .item = item};
	struct err e;
	int rc;

	snprintf(path, sizeof(path), GOLDEN "%s.ndjson", name);
	o.out = open_memstream(&text, &size);
	rc = report_from_journal(&tap_format, &o, path, &e);
	fclose(o.out);
	if (rc != 0)
		fail_msg("%s: %s", path, e.msg);
	return text;
}

static void check_golden(const char *name)
{
	char path[256], *want, *got = render(name, 13, NULL);

	snprintf(path, sizeof(path), GOLDEN "%s.tap", name);
	want = slurp(path);
	assert_string_equal(got, want);
	free(want);
	free(got);
}

static int keep(void *arg, json_t *record, struct err *e)
{
	(void)e;
	return json_array_append(arg, record);
}

static void items_of_two_boards_that_interleave_come_out_one_after_the_other(void **state)
{
	(void)state;
	check_golden("matrix");
}

static void a_trial_is_a_point_whose_diagnostics_say_what_to_do(void **state)
{
	(void)state;
	check_golden("power-loss");
}

static void a_bench_error_bails_out_at_the_end(void **state)
{
	(void)state;
	check_golden("bench-error");
}

static void what_fail_fast_left_out_is_skipped(void **state)
{
	(void)state;
	check_golden("fail-fast");
}

static void an_interrupted_run_bails_out(void **state)
{
	(void)state;
	check_golden("interrupted");
}

static void a_journal_without_an_end_bails_out(void **state)
{
	(void)state;
	check_golden("died");
}

static void a_run_that_had_no_plan_bails_out(void **state)
{
	(void)state;
	check_golden("before-plan");
}

static void inconclusive_is_neither_passed_nor_failed(void **state)
{
	(void)state;
	check_golden("inconclusive");
}

static void a_resumed_run_is_one_document_and_what_it_did_anew_is_void(void **state)
{
	char *text = render("resumed", 13, NULL);

	(void)state;
	check_golden("resumed");
	assert_null(strstr(text, "void"));
	assert_null(strstr(text, "Bail out!"));
	assert_null(strstr(text, "bench error"));
	free(text);
}

static void windows_coverage_and_wear_are_comments(void **state)
{
	(void)state;
	check_golden("coverage");
}

/* However far a resumed run came, every point is numbered, and what is not sure is not out. */
static void a_resumed_run_that_stops_anywhere_is_a_whole_document(void **state)
{
	json_t *records = json_array(), *record;
	struct err e;
	size_t i;

	(void)state;
	assert_int_equal(journal_read(GOLDEN "resumed.ndjson", 1, keep, records, NULL, &e), 0);
	for (size_t n = 3; n < json_array_size(records); n++) {
		unsigned points = 0;
		struct report_options o = {0};
		struct report *r;
		char *text = NULL;
		size_t size;

		o.out = open_memstream(&text, &size);
		r = tap_create(&o);
		json_array_foreach (records, i, record)
			if (i < n)
				assert_int_equal(tap_record(r, record, &e), 0);
		assert_null(strstr(text, "verdict: \"error\""));
		assert_int_equal(tap_finish(r, NULL, &e), 0);
		tap_destroy(r);
		fclose(o.out);
		for (char *at = text; (at = strchr(at, '\n')); at++) {
			char point[32], failed[32];

			snprintf(point, sizeof(point), "\nok %u ", points + 1);
			snprintf(failed, sizeof(failed), "\nnot ok %u ", points + 1);
			points += strncmp(at, point, strlen(point)) == 0 ||
				  strncmp(at, failed, strlen(failed)) == 0;
			assert_true(strncmp(at, "\nok ", 4) != 0 || points > 0);
		}
		record = json_array_get(records, n - 1);
		/* one that ended had failed before it was interrupted */
		if (strcmp(json_string_value(json_object_get(record, "kind")), "end") != 0)
			assert_non_null(strstr(text, "\nBail out! "));
		assert_true(points <= 3);
		free(text);
	}
	json_decref(records);
}

static void version_14_differs_in_its_first_line_alone(void **state)
{
	char *v13 = render("power-loss", 13, NULL), *v14 = render("power-loss", 14, NULL);

	(void)state;
	assert_memory_equal(v13, "TAP version 13\n", 15);
	assert_memory_equal(v14, "TAP version 14\n", 15);
	assert_string_equal(v13 + 15, v14 + 15);
	free(v13);
	free(v14);
}

static void the_default_is_version_13(void **state)
{
	char *text = render("fail-fast", 0, NULL);

	(void)state;
	assert_memory_equal(text, "TAP version 13\n", 15);
	free(text);
}

static void one_items_document_is_whole_and_holds_that_item_only(void **state)
{
	char *text = render("matrix", 13, "1.0.0:1.1.0");

	(void)state;
	assert_non_null(strstr(text, "\n1..1\n"));
	assert_non_null(strstr(text, "\nok 1 - 1.0.0:1.1.0\n"));
	assert_null(strstr(text, "2.0.0"));
	assert_null(strstr(text, "Bail out!"));
	free(text);
}

static void an_item_that_ended_is_not_spoilt_by_a_bench_error_later(void **state)
{
	char *text = render("bench-error", 13, "1.0.0:1.1.0");

	(void)state;
	assert_non_null(strstr(text, "\nok 1 - 1.0.0:1.1.0\n"));
	assert_null(strstr(text, "Bail out!"));
	free(text);
}

static void the_document_of_an_item_in_error_bails_out(void **state)
{
	char *text = render("bench-error", 13, "1.0.0:2.0.0");

	(void)state;
	assert_non_null(strstr(text, "\nnot ok 1 - 1.0.0:2.0.0\n"));
	assert_non_null(strstr(text, "\nBail out! 1.0.0:2.0.0: board demo-1: probe (openocd)"));
	free(text);
}

static void the_document_of_an_item_that_never_ran_bails_out_after_an_error(void **state)
{
	char *text = render("bench-error", 13, "1.1.0:2.0.0");

	(void)state;
	assert_non_null(strstr(text, "\n1..1\n"));
	assert_non_null(strstr(text, "\nBail out! "));
	free(text);
}

static void a_passed_item_of_a_run_that_died_bails_out_too(void **state)
{
	char *text = render("died", 13, "1.0.0:1.1.0");

	(void)state;
	assert_non_null(strstr(text, "\nBail out! "));
	free(text);
}

static void fed_live_the_bytes_are_the_same_as_from_the_file(void **state)
{
	static const char *const names[] = {
		"matrix", "power-loss", "bench-error", "interrupted", "resumed"};
	struct err e;

	(void)state;
	for (size_t n = 0; n < sizeof(names) / sizeof(*names); n++) {
		char path[256], *live = NULL, *later = render(names[n], 13, NULL);
		json_t *records = json_array(), *record;
		struct report_options o = {0};
		struct report *r;
		size_t size, i;

		snprintf(path, sizeof(path), GOLDEN "%s.ndjson", names[n]);
		assert_int_equal(journal_read(path, 1, keep, records, NULL, &e), 0);
		o.out = open_memstream(&live, &size);
		r = tap_create(&o);
		json_array_foreach (records, i, record)
			assert_int_equal(tap_record(r, record, &e), 0);
		assert_int_equal(tap_finish(r, NULL, &e), 0);
		tap_destroy(r);
		fclose(o.out);
		assert_string_equal(live, later);
		json_decref(records);
		free(live);
		free(later);
	}
}

static void points_come_out_as_soon_as_their_item_has_ended(void **state)
{
	static const char *const lines[] = {
		"{\"kind\":\"plan\",\"items\":[{\"item\":\"a\"},{\"item\":\"b\"}]}",
		"{\"kind\":\"item-start\",\"board\":\"x\",\"item\":\"a\"}",
		"{\"kind\":\"item-end\",\"board\":\"x\",\"item\":\"a\",\"verdict\":\"pass\"}",
	};
	struct report_options o = {0};
	struct report *r;
	char *text = NULL;
	struct err e;
	size_t size;

	(void)state;
	o.out = open_memstream(&text, &size);
	r = tap_create(&o);
	for (size_t i = 0; i < 3; i++) {
		json_t *record = json_loads(lines[i], 0, NULL);

		assert_int_equal(tap_record(r, record, &e), 0);
		json_decref(record);
	}
	assert_non_null(strstr(text, "\nok 1 - a\n"));
	tap_destroy(r);
	fclose(o.out);
	free(text);
}

static void an_output_that_takes_no_more_is_an_error(void **state)
{
	struct report_options o = {.out = fopen("/dev/full", "w")};
	struct report *r = tap_create(&o);
	json_t *record = json_loads("{\"kind\":\"run\"}", 0, NULL);
	struct err e;

	(void)state;
	assert_int_equal(tap_record(r, record, &e), -ERR_IO);
	json_decref(record);
	tap_destroy(r);
	fclose(o.out);
}

static void yaml_quotes_what_a_reader_could_take_for_something_else(void **state)
{
	static const struct {
		const char *json, *yaml;
	} cases[] = {
		{"{\"a\":\"x\"}", "  a: \"x\"\n"},
		{"{\"a\":\"\\\"\\\\\"}", "  a: \"\\\"\\\\\"\n"},
		{"{\"a\":\"l\\nm\\u0001\\u007f\\u0085\\u2028\"}",
			"  a: \"l\\nm\\x01\\x7f\\x85\\u2028\"\n"},
		{"{\"a\":\"\\u00e9\\ud83d\\ude00\"}", "  a: \"\xc3\xa9\xf0\x9f\x98\x80\"\n"},
		{"{\"a\":null,\"b\":true,\"c\":-5,\"d\":1.5}",
			"  a: ~\n  b: true\n  c: -5\n  d: 1.5\n"},
		{"{\"a\":[],\"b\":{}}", "  a: []\n  b: {}\n"},
		{"{\"no\":1,\"a b\":2,\"1\":3}", "  \"no\": 1\n  \"a b\": 2\n  \"1\": 3\n"},
		{"{\"a\":[\"k: v\",\"b\"]}", "  a:\n    - \"k:\\x20v\"\n    - \"b\"\n"},
		{"{\"a\":[{\"b\":1,\"c\":{\"d\":\"e\"}}]}",
			"  a:\n    - b: 1\n      c:\n        d: \"e\"\n"},
		{"{\"a\":[[1,2],[]]}", "  a:\n    -\n      - 1\n      - 2\n    - []\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *value = json_loads(cases[i].json, 0, NULL);
		char *text = NULL;
		size_t size;
		FILE *out = open_memstream(&text, &size);

		assert_non_null(value);
		yaml_write(out, value, 2);
		fclose(out);
		assert_string_equal(text, cases[i].yaml);
		free(text);
		json_decref(value);
	}
}

/* A run's folder with a golden journal in it. */
static void make_run(char *dir, const char *name)
{
	char from[256], to[256], *text;
	FILE *f;

	assert_non_null(mkdtemp(dir));
	snprintf(from, sizeof(from), GOLDEN "%s.ndjson", name);
	snprintf(to, sizeof(to), "%s/journal.ndjson", dir);
	text = slurp(from);
	f = fopen(to, "w");
	fputs(text, f);
	fclose(f);
	free(text);
}

static char *slurp_in(const char *dir, const char *file)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return slurp(path);
}

static void all_files_of_a_run_are_written_from_its_journal(void **state)
{
	static const char *const files[] = {"run.tap", "transitions/1.0.0--1.1.0.tap",
		"transitions/1.0.0--2.0.0.tap", "transitions/2.0.0--1.0.0.tap",
		"transitions/1.1.0--2.0.0.tap", "journal.ndjson"};
	char dir[] = "/tmp/rig-tap-XXXXXX", path[256], *got, *want;
	struct err e;

	(void)state;
	make_run(dir, "matrix");
	assert_int_equal(report_write_all(dir, 13, &e), 0);
	got = slurp_in(dir, "run.tap");
	want = slurp(GOLDEN "matrix.tap");
	assert_string_equal(got, want);
	free(got);
	free(want);
	got = slurp_in(dir, "transitions/1.0.0--2.0.0.tap");
	want = render("matrix", 13, "1.0.0:2.0.0");
	assert_string_equal(got, want);
	free(got);
	free(want);
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		assert_int_equal(unlink(path), 0);
	}
	snprintf(path, sizeof(path), "%s/transitions", dir);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

static int print(int argc, char **argv)
{
	struct report_options o = {.out = stdout,
		.tap_version = (int)strtol(argv[3], NULL, 10),
		.item = argc > 4 ? argv[4] : NULL};
	struct err e;

	if (report_from_journal(&tap_format, &o, argv[2], &e) == 0)
		return 0;
	fprintf(stderr, "%s\n", e.msg);
	return 1;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(items_of_two_boards_that_interleave_come_out_one_after_the_other),
		cmocka_unit_test(a_trial_is_a_point_whose_diagnostics_say_what_to_do),
		cmocka_unit_test(a_bench_error_bails_out_at_the_end),
		cmocka_unit_test(what_fail_fast_left_out_is_skipped),
		cmocka_unit_test(an_interrupted_run_bails_out),
		cmocka_unit_test(a_journal_without_an_end_bails_out),
		cmocka_unit_test(a_run_that_had_no_plan_bails_out),
		cmocka_unit_test(inconclusive_is_neither_passed_nor_failed),
		cmocka_unit_test(a_resumed_run_is_one_document_and_what_it_did_anew_is_void),
		cmocka_unit_test(windows_coverage_and_wear_are_comments),
		cmocka_unit_test(a_resumed_run_that_stops_anywhere_is_a_whole_document),
		cmocka_unit_test(version_14_differs_in_its_first_line_alone),
		cmocka_unit_test(the_default_is_version_13),
		cmocka_unit_test(one_items_document_is_whole_and_holds_that_item_only),
		cmocka_unit_test(an_item_that_ended_is_not_spoilt_by_a_bench_error_later),
		cmocka_unit_test(the_document_of_an_item_in_error_bails_out),
		cmocka_unit_test(the_document_of_an_item_that_never_ran_bails_out_after_an_error),
		cmocka_unit_test(a_passed_item_of_a_run_that_died_bails_out_too),
		cmocka_unit_test(fed_live_the_bytes_are_the_same_as_from_the_file),
		cmocka_unit_test(points_come_out_as_soon_as_their_item_has_ended),
		cmocka_unit_test(an_output_that_takes_no_more_is_an_error),
		cmocka_unit_test(yaml_quotes_what_a_reader_could_take_for_something_else),
		cmocka_unit_test(all_files_of_a_run_are_written_from_its_journal),
	};

	if (argc > 3 && strcmp(argv[1], "--print") == 0)
		return print(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
