#include "rig/err.h"
#include "rig/releases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int sign(int n)
{
	return n < 0 ? -1 : n > 0;
}

static void versions_order_as_the_specification_says(void **state)
{
	/* section 11 of Semantic Versioning 2.0.0, both of its examples joined */
	static const char *const rising[] = {"1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta",
		"1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "2.0.0",
		"2.1.0", "2.1.1", "2.1.10", "2.10.0", "10.0.0", "10.0.99999999999999999999999",
		"10.0.100000000000000000000000"};
	size_t n = sizeof(rising) / sizeof(*rising);

	(void)state;
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			assert_int_equal(
				sign(semver_compare(rising[i], rising[j])), i < j ? -1 : i > j);
}

static void build_metadata_does_not_count(void **state)
{
	(void)state;
	assert_int_equal(semver_compare("1.0.0+1", "1.0.0+2"), 0);
	assert_int_equal(semver_compare("1.0.0+1", "1.0.0"), 0);
	assert_int_equal(semver_compare("1.0.0-rc.1+x", "1.0.0-rc.1"), 0);
	assert_true(semver_compare("1.0.0-rc.1+x", "1.0.0") < 0);
	assert_true(semver_compare("1.0.0-a-b", "1.0.0-a.b") > 0);
}

static void tells_versions_from_what_is_none(void **state)
{
	static const char *const good[] = {"0.0.0", "1.2.3", "1.0.0-0.3.7", "1.0.0-x.7.z.92",
		"1.0.0-x-y-z.--", "1.0.0-alpha+001", "1.0.0+21AF26D3----117B344092BD", "1.0.0-0a",
		"99999999999999999999.0.0"};
	static const struct {
		const char *text, *message;
	} bad[] = {
		{"", "\"\" is no version: column 1: expected a number (a version is "
		     "MAJOR.MINOR.PATCH)"},
		{"1", "\"1\" is no version: column 2: expected '.' (a version is "
		      "MAJOR.MINOR.PATCH)"},
		{"1.2", "\"1.2\" is no version: column 4: expected '.' (a version is "
			"MAJOR.MINOR.PATCH)"},
		{"v1.2.3", "\"v1.2.3\" is no version: column 1: expected a number (a version is "
			   "MAJOR.MINOR.PATCH)"},
		{"1.02.3",
			"\"1.02.3\" is no version: column 3: expected a number without a leading "
			"0"},
		{"1.2.3.4", "\"1.2.3.4\" is no version: column 6: expected nothing more"},
		{"1.2.3-", "\"1.2.3-\" is no version: column 7: expected a letter, a digit or '-'"},
		{"1.2.3-a..b",
			"\"1.2.3-a..b\" is no version: column 9: expected a letter, a digit or '-'"},
		{"1.2.3-01", "\"1.2.3-01\" is no version: column 7: expected a number without a "
			     "leading 0"},
		{"1.2.3+", "\"1.2.3+\" is no version: column 7: expected a letter, a digit or '-'"},
		{"1.2.3+a+b", "\"1.2.3+a+b\" is no version: column 8: expected nothing more"},
		{"1.2.3 ", "\"1.2.3 \" is no version: column 6: expected nothing more"},
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_int_equal(semver_check(good[i], &e), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(semver_check(bad[i].text, &e), -ERR_CONFIG);
		assert_string_equal(e.msg, bad[i].message);
	}
}

/* --- the manifest ---------------------------------------------------------------------------- */

/* Single quotes stand for double ones. */
static int load(struct manifest *m, const char *text, struct err *e)
{
	char *copy = strdup(text);
	json_error_t bad;
	json_t *json;
	int code;

	assert_non_null(copy);
	for (char *c = copy; *c; c++)
		if (*c == '\'')
			*c = '"';
	json = json_loads(copy, 0, &bad);
	if (!json)
		fail_msg("%s: %s", copy, bad.text);
	code = manifest_init(m, json, e);
	json_decref(json);
	free(copy);
	return code;
}

#define IMAGES "'images': {'application': '/x/app.bin'}"

static void reads_a_whole_manifest_in_version_order(void **state)
{
	struct manifest m;
	struct err e;

	(void)state;
	assert_int_equal(
		load(&m,
			"{'file': '/m/releases.lua', 'product': 'demo', 'releases': ["
			"{'version': '1.10.0', 'line': 3, " IMAGES "},"
			"{'version': '1.2.0', 'date': '2024-02-29', 'hw': ['a', 'b'], "
			" 'data_format': 2, 'security_counter': 5, 'key': '2025', "
			" 'min_bootloader': 1, 'line': 4, 'images': {'bootloader': '/x/b.hex', "
			" 'application': '/x/1.2.0.bin'}}],"
			"'policy': {'updates': 'window', 'window': {'versions': 4}, "
			"'downgrade': true, 'refuse': [['1.10.0', '1.2.0']], "
			"'via': {'1.2.0': '1.10.0'}, 'line': 9}}",
			&e),
		0);
	assert_string_equal(m.file, "/m/releases.lua");
	assert_string_equal(m.product, "demo");
	assert_int_equal(m.count, 2);
	assert_string_equal(m.releases[0].version, "1.2.0");
	assert_string_equal(m.releases[1].version, "1.10.0");
	assert_int_equal(m.releases[0].year, 2024);
	assert_int_equal(m.releases[0].month, 2);
	assert_int_equal(m.releases[0].day, 29);
	assert_int_equal(m.releases[0].hw_count, 2);
	assert_string_equal(m.releases[0].hw[1], "b");
	assert_int_equal(m.releases[0].data_format, 2);
	assert_int_equal(m.releases[0].security_counter, 5);
	assert_int_equal(m.releases[0].min_bootloader, 1);
	assert_string_equal(m.releases[0].key, "2025");
	assert_int_equal(m.releases[0].line, 4);
	assert_string_equal(release_image_path(&m.releases[0], "bootloader"), "/x/b.hex");
	assert_null(release_image_path(&m.releases[0], "radio"));
	assert_null(m.releases[1].date);
	assert_null(m.releases[1].key);
	assert_int_equal(m.policy.updates, UPDATES_WINDOW);
	assert_int_equal(m.policy.window_versions, 4);
	assert_int_equal(m.policy.window_months, 0);
	assert_true(m.policy.downgrade);
	assert_int_equal(m.policy.refuse_count, 1);
	assert_int_equal(m.policy.refuse[0].from, 1);
	assert_int_equal(m.policy.refuse[0].to, 0);
	assert_int_equal(m.policy.via[0], 1);
	assert_true(m.policy.via[1] == RELEASE_NONE);
	assert_int_equal(manifest_find(&m, "1.10.0"), 1);
	assert_true(manifest_find(&m, "1.10.1") == RELEASE_NONE);
	manifest_finish(&m);
}

static void a_release_may_say_that_it_reverts(void **state)
{
	struct manifest m;
	struct err e;

	(void)state;
	assert_int_equal(load(&m,
				 "{'product': 'p', 'releases': [{'version': '1.0.0', " IMAGES
				 "}, {'version': '1.0.1', 'reverts': true, " IMAGES
				 "}, {'version': '1.0.2', 'reverts': false, " IMAGES "}]}",
				 &e),
		0);
	assert_false(m.releases[0].reverts);
	assert_true(m.releases[1].reverts);
	assert_false(m.releases[2].reverts);
	manifest_finish(&m);
}

static void policy_may_be_left_out_and_lua_tables_may_be_empty(void **state)
{
	struct manifest m;
	struct err e;

	(void)state;
	assert_int_equal(load(&m,
				 "{'product': 'p', 'releases': [{'version': '1.0.0', 'hw': {}, "
				 "'date': null, " IMAGES "}]}",
				 &e),
		0);
	assert_int_equal(m.policy.updates, UPDATES_ANY);
	assert_false(m.policy.downgrade);
	assert_true(m.policy.via[0] == RELEASE_NONE);
	manifest_finish(&m);
	assert_int_equal(load(&m,
				 "{'product': 'p', 'releases': [{'version': '1.0.0', " IMAGES
				 "}], 'policy': {'refuse': {}, 'via': [], 'window': {}}}",
				 &e),
		0);
	manifest_finish(&m);
}

static void says_what_is_wrong_and_where(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"[]", "manifest: expected a table"},
		{"{'file': 'r.lua', 'releases': []}",
			"r.lua: product is missing: expected a string"},
		{"{'file': 'r.lua', 'product': 'p', 'releases': []}",
			"r.lua: releases: expected at least one"},
		{"{'file': 'r.lua', 'product': 'p', 'releases': {'a': 1}}",
			"r.lua: releases: expected a list"},
		{"{'file': 'r.lua', 'product': 'p', 'releases': [], 'polizy': {}}",
			"r.lua: unknown key \"polizy\""},
		{"{'file': 'r.lua', 'product': 'p', 'releases': [7]}",
			"r.lua: releases[1]: expected a table"},
		{"{'file': 'r.lua', 'product': 'p', 'releases': [{'line': 3, " IMAGES "}]}",
			"r.lua:3: releases[1]: version is missing: expected a string"},
		{"{'file': 'r.lua', 'product': 'p', 'releases': [{'version': '1.0', 'line': 3, " IMAGES
		 "}]}",
			"r.lua:3: releases[1]: \"1.0\" is no version: column 4: expected '.' (a "
			"version is MAJOR.MINOR.PATCH)"},
		{"{'file': 'r.lua', 'product': 'p', 'releases': [{'version': '1.0.0', 'line': 3}]}",
			"r.lua:3: releases[1]: images is missing: expected a table"},
		{"{'file': 'r.lua', 'product': 'p', 'releases': [{'version': '1.0.0', 'line': 3, "
		 "'images': []}]}",
			"r.lua:3: release 1.0.0: images: expected at least one"},
		{"{'file': 'r.lua', 'product': 'p', 'releases': [{'version': '1.0.0', 'line': 3, "
		 "'images': {'a': 7}}]}",
			"r.lua:3: release 1.0.0: images.a: expected a path"},
		{"{'file': 'r.lua', 'product': 'p', 'releases': [{'version': '1.0.0', 'line': 3, "
		 "'colour': 1, " IMAGES "}]}",
			"r.lua:3: releases[1]: unknown key \"colour\""},
		{"{'file': 'r.lua', 'product': 'p', 'releases': [{'version': '1.0.0', 'line': 3, "
		 "'data_format': '1', " IMAGES "}]}",
			"r.lua:3: releases[1]: data_format: expected a whole number from 0"},
		{"{'file': 'r.lua', 'product': 'p', 'releases': [{'version': '1.0.0', 'line': 3, "
		 "'security_counter': -1, " IMAGES "}]}",
			"r.lua:3: releases[1]: security_counter: expected a whole number from 0"},
		{"{'file': 'r.lua', 'product': 'p', 'releases': [{'version': '1.0.0', 'line': 3, "
		 "'hw': ['a', 2], " IMAGES "}]}",
			"r.lua:3: release 1.0.0: hw[2]: expected a string"},
		{"{'file': 'r.lua', 'product': 'p', 'releases': [{'version': '1.0.0', 'line': 3, "
		 "'date': '2025-1-10', " IMAGES "}]}",
			"r.lua:3: release 1.0.0: date: \"2025-1-10\": expected YYYY-MM-DD"},
		{"{'file': 'r.lua', 'product': 'p', 'releases': [{'version': '1.0.0', 'line': 3, "
		 "'date': '2025-13-10', " IMAGES "}]}",
			"r.lua:3: release 1.0.0: date: \"2025-13-10\": there is no month 13"},
		{"{'file': 'r.lua', 'product': 'p', 'releases': [{'version': '1.0.0', 'line': 3, "
		 "'date': '2025-02-29', " IMAGES "}]}",
			"r.lua:3: release 1.0.0: date: \"2025-02-29\": there is no day 29 in that "
			"month"},
		{"{'file': 'r.lua', 'product': 'p', 'releases': [{'version': '1.0.0', 'line': 3, "
		 "'date': '2025-02-28T00', " IMAGES "}]}",
			"r.lua:3: release 1.0.0: date: \"2025-02-28T00\": expected YYYY-MM-DD"},
		{"{'file': 'r.lua', 'product': 'p', 'releases': [{'version': '1.0.0', 'line': 3, " IMAGES
		 "}, {'version': '1.0.0', 'line': 8, " IMAGES "}]}",
			"r.lua:8: release 1.0.0: line 3 has 1.0.0 already, and they order as "
			"equal"},
		{"{'file': 'r.lua', 'product': 'p', 'releases': [{'version': '1.0.0+1', " IMAGES
		 "}, {'version': '1.0.0+2', " IMAGES "}]}",
			"r.lua: release 1.0.0+2: 1.0.0+1 is there already, and they order as "
			"equal"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct manifest m;
		struct err e;

		assert_int_equal(load(&m, cases[i].text, &e), -ERR_CONFIG);
		assert_string_equal(e.msg, cases[i].message);
		assert_null(m.releases);
	}
}

static void says_what_is_wrong_with_a_policy(void **state)
{
	static const struct {
		const char *policy, *message;
	} cases[] = {
		{"'updates': 'some'", "r.lua:20: policy: updates: \"some\": expected \"any\", "
				      "\"incremental\" or \"window\""},
		{"'updates': 7", "r.lua:20: policy: updates: expected a string"},
		{"'downgrade': 'no'", "r.lua:20: policy: downgrade: expected true or false"},
		{"'upgrade': true", "r.lua:20: policy: unknown key \"upgrade\""},
		{"'refuse': [['1.0.0', '3.0.0']]",
			"r.lua:20: policy.refuse[1]: no release \"3.0.0\""},
		{"'refuse': [['1.0.0', '2.0.0'], ['1.0.0']]",
			"r.lua:20: policy.refuse[2]: expected { FROM, TO }"},
		{"'refuse': ['1.0.0']", "r.lua:20: policy.refuse[1]: expected { FROM, TO }"},
		{"'refuse': [['1.0.0', 2]]", "r.lua:20: policy.refuse[1]: expected a version"},
		{"'refuse': [['1.0.0', '1.0.0']]",
			"r.lua:20: policy.refuse[1]: from and to are the same release"},
		{"'via': {'3.0.0': '2.0.0'}",
			"r.lua:20: policy.via[\"3.0.0\"]: no release \"3.0.0\""},
		{"'via': {'1.0.0': '3.0.0'}",
			"r.lua:20: policy.via[\"1.0.0\"]: no release \"3.0.0\""},
		{"'via': {'2.0.0': '1.0.0'}",
			"r.lua:20: policy.via[\"2.0.0\"]: 1.0.0 is not later than 2.0.0"},
		{"'via': {'1.0.0': '1.0.0'}",
			"r.lua:20: policy.via[\"1.0.0\"]: 1.0.0 is not later than 1.0.0"},
		{"'window': {'months': 6}",
			"r.lua:20: policy.window: has a meaning only with updates = \"window\""},
		{"'updates': 'window'",
			"r.lua:20: policy.window: expected either months = N or versions = N, N "
			"from 1"},
		{"'updates': 'window', 'window': {'months': 6, 'versions': 2}",
			"r.lua:20: policy.window: expected either months = N or versions = N, N "
			"from 1"},
		{"'updates': 'window', 'window': {'weeks': 6}",
			"r.lua:20: policy.window: unknown key \"weeks\""},
		{"'updates': 'window', 'window': {'months': 6}",
			"r.lua:5: release 2.0.0: date is missing: a window of months needs it"},
		{"'refuse': [['2.1.0', '1.0.0']]",
			"r.lua:20: policy.refuse[1]: 2.1.0 reverts: no update starts from it"},
		{"'via': {'1.0.0': '2.1.0'}",
			"r.lua:20: policy.via[\"1.0.0\"]: 2.1.0 reverts: no update starts from it"},
		{"'via': {'2.1.0': '2.0.0'}",
			"r.lua:20: policy.via[\"2.1.0\"]: 2.1.0 reverts: no update starts from it"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct manifest m;
		char text[1024];
		struct err e;

		snprintf(text, sizeof(text),
			"{'file': 'r.lua', 'product': 'p', 'releases': [{'version': '1.0.0', "
			"'date': '2025-01-01', 'line': 4, " IMAGES
			"}, {'version': '2.0.0', 'line': 5, " IMAGES
			"}, {'version': '2.1.0', 'reverts': true, 'line': 6, " IMAGES
			"}], 'policy': {'line': 20, %s}}",
			cases[i].policy);
		assert_int_equal(load(&m, text, &e), -ERR_CONFIG);
		assert_string_equal(e.msg, cases[i].message);
		assert_null(m.releases);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions_order_as_the_specification_says),
		cmocka_unit_test(build_metadata_does_not_count),
		cmocka_unit_test(tells_versions_from_what_is_none),
		cmocka_unit_test(reads_a_whole_manifest_in_version_order),
		cmocka_unit_test(a_release_may_say_that_it_reverts),
		cmocka_unit_test(policy_may_be_left_out_and_lua_tables_may_be_empty),
		cmocka_unit_test(says_what_is_wrong_and_where),
		cmocka_unit_test(says_what_is_wrong_with_a_policy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
