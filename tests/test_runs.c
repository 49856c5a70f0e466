#include "rig/err.h"
#include "rig/journal.h"
#include "rig/runs.h"

#include "scratch.h"

#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define GOLDEN "tests/golden/"

static char *slurp(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = NULL;
	size_t size = 0;

	if (!f)
		fail_msg("%s is missing", path);
	if (getdelim(&text, &size, '\0', f) < 0)
		*text = '\0';
	fclose(f);
	return text;
}

/* A run with a golden journal. */
static void put(struct scratch *s, const char *id, const char *golden)
{
	char from[128], to[128], *text;

	snprintf(from, sizeof(from), GOLDEN "%s.ndjson", golden);
	snprintf(to, sizeof(to), "%s/journal.ndjson", id);
	text = slurp(from);
	scratch_write(s, to, text);
	free(text);
}

#define MATRIX "20261121-101502-3f2a-upgrade-matrix"
#define POWER "20261121-111502-77aa-power-loss"
#define RESUMED "20261123-091502-0c0c-power-loss"
#define COVERAGE "20261123-101502-0d0d-power-loss"
#define DIED "20261122-091502-0b0b-upgrade-matrix"

static const char *field(json_t *info, const char *name)
{
	return json_string_value(json_object_get(info, name));
}

static void an_id_is_made_of_time_scenario_and_four_digits(void **state)
{
	static const struct {
		const char *scenario, *pattern;
	} cases[] = {
		{"scenarios/upgrade_matrix.lua", "^[0-9]{8}-[0-9]{6}-[0-9a-f]{4}-upgrade-matrix$"},
		{"soak", "^[0-9]{8}-[0-9]{6}-[0-9a-f]{4}-soak$"},
		{"/x/.lua", "^[0-9]{8}-[0-9]{6}-[0-9a-f]{4}-run$"},
		{"a b/../c$d.lua", "^[0-9]{8}-[0-9]{6}-[0-9a-f]{4}-c-d$"}};
	struct scratch *s = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct err e;
		struct stat st;
		regex_t re;
		char *id;

		if (runs_create(scratch_path(s, "new/state"), cases[i].scenario, &id, &e) != 0)
			fail_msg("%s", e.msg);
		assert_int_equal(regcomp(&re, cases[i].pattern, REG_EXTENDED | REG_NOSUB), 0);
		if (regexec(&re, id, 0, NULL, 0) != 0)
			fail_msg("%s does not match %s", id, cases[i].pattern);
		regfree(&re);
		snprintf(e.msg, sizeof(e.msg), "%s/%s", scratch_path(s, "new/state"), id);
		assert_int_equal(stat(e.msg, &st), 0);
		free(id);
	}
}

static void many_runs_of_one_second_have_different_ids_in_their_order(void **state)
{
	struct scratch *s = *state;
	char *ids[50];
	struct err e;

	for (size_t i = 0; i < 50; i++) {
		assert_int_equal(runs_create(s->dir, i % 2 == 0 ? "x" : "a", &ids[i], &e), 0);
		for (size_t k = 0; k < i; k++) {
			assert_int_not_equal(strcmp(ids[k], ids[i]), 0);
			assert_true(strncmp(ids[k], ids[i], strlen("20261121-101502-3f2a")) <= 0);
		}
	}
	for (size_t i = 0; i < 50; i++)
		free(ids[i]);
}

static void a_state_folder_that_cannot_be_made_is_named(void **state)
{
	struct scratch *s = *state;
	struct err e;
	char *id;

	scratch_write(s, "file", "");
	assert_int_equal(runs_create(scratch_path(s, "file/state"), "x", &id, &e), -ERR_IO);
	assert_non_null(strstr(e.msg, "file/state"));
}

static void no_state_folder_holds_no_runs(void **state)
{
	struct scratch *s = *state;
	struct err e;
	json_t *runs;

	assert_int_equal(runs_list(scratch_path(s, "none"), &runs, &e), 0);
	assert_int_equal(json_array_size(runs), 0);
	json_decref(runs);
}

static void runs_are_listed_by_age_with_their_verdicts(void **state)
{
	static const struct {
		const char *id, *scenario, *run_state, *verdict;
		json_int_t items, trials, cuts;
	} want[] = {{MATRIX, "upgrade-matrix", "finished", "fail", 4, 0, 0},
		{POWER, "power-loss", "finished", "fail", 1, 4, 3},
		{DIED, "upgrade-matrix", "died", "error", 2, 0, 0},
		{"20261123-000000-0001-x", NULL, "unreadable", "error", 0, 0, 0},
		{"20261124-000000-0002-x", NULL, "unreadable", "error", 0, 0, 0}};
	struct scratch *s = *state;
	json_t *runs, *totals;
	struct err e;

	put(s, DIED, "died");
	put(s, POWER, "power-loss");
	put(s, MATRIX, "matrix");
	scratch_write(s, "20261123-000000-0001-x/other", "");
	scratch_write(s, "20261124-000000-0002-x/journal.ndjson", "rubbish\n");
	scratch_write(s, ".boards/demo-1/lock", "");
	scratch_write(s, "notes/journal.ndjson", "");
	assert_int_equal(runs_list(s->dir, &runs, &e), 0);
	assert_int_equal(json_array_size(runs), 5);
	for (size_t i = 0; i < 5; i++) {
		json_t *info = json_array_get(runs, i);

		totals = json_object_get(info, "totals");
		assert_string_equal(field(info, "id"), want[i].id);
		assert_string_equal(field(info, "state"), want[i].run_state);
		assert_string_equal(field(info, "verdict"), want[i].verdict);
		if (want[i].scenario)
			assert_string_equal(field(info, "scenario"), want[i].scenario);
		assert_int_equal(
			json_integer_value(json_object_get(totals, "items")), want[i].items);
		assert_int_equal(
			json_integer_value(json_object_get(totals, "trials")), want[i].trials);
		assert_int_equal(json_integer_value(json_object_get(totals, "cuts")), want[i].cuts);
	}
	json_decref(runs);
}

static void a_died_run_counts_what_its_journal_has(void **state)
{
	struct scratch *s = *state;
	json_t *info;
	struct err e;

	put(s, DIED, "died");
	assert_int_equal(runs_info(s->dir, DIED, &info, &e), 0);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(info, "totals"), "pass")), 1);
	assert_non_null(strstr(field(info, "reason"), "died"));
	json_decref(info);
}

/* The two last stretches of the golden journal have clocks of their own. */
static void the_seconds_of_a_resumed_run_are_those_of_its_stretches(void **state)
{
	struct scratch *s = *state;
	json_t *info;
	struct err e;

	put(s, RESUMED, "resumed");
	assert_int_equal(runs_info(s->dir, RESUMED, &info, &e), 0);
	assert_string_equal(field(info, "state"), "finished");
	assert_string_equal(field(info, "verdict"), "fail");
	assert_string_equal(field(info, "reason"), "finished");
	assert_true(json_number_value(json_object_get(info, "seconds")) == 25 + 8 + 18);
	json_decref(info);
}

/* Puts the first records of a golden journal. */
static void put_part(struct scratch *s, const char *id, const char *golden, unsigned records)
{
	char from[128], to[128], *text, *end;

	snprintf(from, sizeof(from), GOLDEN "%s.ndjson", golden);
	snprintf(to, sizeof(to), "%s/journal.ndjson", id);
	end = text = slurp(from);
	while (records--)
		end = strchr(end, '\n') + 1;
	*end = '\0';
	scratch_write(s, to, text);
	free(text);
}

static void an_end_before_the_run_was_resumed_is_void(void **state)
{
	struct scratch *s = *state;
	json_t *info, *totals;
	struct err e;

	put_part(s, RESUMED, "resumed", 26);
	assert_int_equal(runs_info(s->dir, RESUMED, &info, &e), 0);
	assert_string_equal(field(info, "reason"), "interrupted at the terminal");
	json_decref(info);
	put_part(s, RESUMED, "resumed", 35);
	assert_int_equal(runs_info(s->dir, RESUMED, &info, &e), 0);
	assert_string_equal(field(info, "state"), "died");
	totals = json_object_get(info, "totals");
	assert_int_equal(json_integer_value(json_object_get(totals, "error")), 0);
	assert_int_equal(json_integer_value(json_object_get(totals, "trials")), 4);
	assert_int_equal(json_integer_value(json_object_get(totals, "cuts")), 3);
	json_decref(info);
}

static void a_run_whose_journal_is_held_is_running_and_has_no_verdict(void **state)
{
	struct scratch *s = *state;
	struct journal *j;
	struct err e;
	json_t *info;

	mkdir(scratch_path(s, POWER), 0755);
	j = journal_create(scratch_path(s, POWER "/journal.ndjson"), &e);
	assert_non_null(j);
	assert_int_equal(journal_write(j, "run", NULL, NULL,
				 json_pack("{s{ss} s[{ss}]}", "scenario", "name", "power-loss",
					 "boards", "name", "demo-1"),
				 &e),
		0);
	assert_int_equal(runs_info(s->dir, POWER, &info, &e), 0);
	assert_string_equal(field(info, "state"), "running");
	assert_null(field(info, "verdict"));
	assert_null(field(info, "ended"));
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(info, "boards"), 0)), "demo-1");
	json_decref(info);
	journal_destroy(j);
}

static void an_end_further_back_than_the_first_look_is_found(void **state)
{
	struct scratch *s = *state;
	struct journal *j;
	struct err e;
	json_t *info;
	char *big = malloc(100001);

	memset(big, 'x', 100000);
	big[100000] = '\0';
	mkdir(scratch_path(s, POWER), 0755);
	j = journal_create(scratch_path(s, POWER "/journal.ndjson"), &e);
	assert_int_equal(journal_write(j, "run", NULL, NULL, NULL, &e), 0);
	assert_int_equal(journal_write(j, "end", NULL, NULL,
				 json_pack("{ss ss}", "verdict", "pass", "text", big), &e),
		0);
	journal_destroy(j);
	assert_int_equal(runs_info(s->dir, POWER, &info, &e), 0);
	assert_string_equal(field(info, "verdict"), "pass");
	json_decref(info);
	free(big);
}

static void a_run_is_found_by_a_part_of_its_id_and_as_the_last(void **state)
{
	static const struct {
		const char *prefix, *id; /* NULL: none, or more than one */
		const char *says;
	} cases[] = {{MATRIX, MATRIX, NULL}, {"20261122", DIED, NULL}, {"77aa", POWER, NULL},
		{"power", POWER, NULL}, {"last", DIED, NULL},
		{"20261121", NULL, "more than one run: " MATRIX " " POWER},
		{"2027", NULL, "there is no run \"2027\""}, {"", NULL, "there is no run"},
		{"../x", NULL, "there is no run"}};
	struct scratch *s = *state;

	put(s, DIED, "died");
	put(s, POWER, "power-loss");
	put(s, MATRIX, "matrix");
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct err e;
		char *id = NULL;
		int rc = runs_find(s->dir, cases[i].prefix, &id, &e);

		if (cases[i].id) {
			assert_int_equal(rc, 0);
			assert_string_equal(id, cases[i].id);
		} else {
			assert_int_equal(rc, -ERR_USAGE);
			assert_non_null(strstr(e.msg, cases[i].says));
		}
		free(id);
	}
}

static void a_run_that_is_not_there_is_a_usage_error(void **state)
{
	struct scratch *s = *state;
	json_t *info;
	struct err e;

	assert_int_equal(runs_info(s->dir, MATRIX, &info, &e), -ERR_USAGE);
	assert_int_equal(runs_info(s->dir, "../x", &info, &e), -ERR_USAGE);
	assert_int_equal(runs_info(s->dir, "", &info, &e), -ERR_USAGE);
}

static void a_summary_shows_items_and_what_failed(void **state)
{
	struct scratch *s = *state;
	char *text = NULL, *want, *at;
	size_t size;
	FILE *out;
	struct err e;
	static const char *const names[][2] = {{MATRIX, "matrix"}, {POWER, "power-loss"},
		{DIED, "died"}, {RESUMED, "resumed"}, {COVERAGE, "coverage"}};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char golden[128];

		put(s, names[i][0], names[i][1]);
		out = open_memstream(&text, &size);
		if (runs_show(s->dir, names[i][0], out, &e) != 0)
			fail_msg("%s", e.msg);
		fclose(out);
		at = strstr(text, s->dir);
		assert_non_null(at);
		memmove(at + 1, at + strlen(s->dir), strlen(at + strlen(s->dir)) + 1);
		*at = 'D';
		snprintf(golden, sizeof(golden), GOLDEN "%s.show", names[i][1]);
		want = slurp(golden);
		assert_string_equal(text, want);
		free(want);
		free(text);
	}
}

static void pruning_keeps_the_newest_and_what_runs(void **state)
{
	struct scratch *s = *state;
	struct journal *j;
	struct err e;

	mkdir(scratch_path(s, "20200101-000000-old-0001"), 0755);
	j = journal_create(scratch_path(s, "20200101-000000-old-0001/journal.ndjson"), &e);
	put(s, DIED, "died");
	put(s, POWER, "power-loss");
	put(s, MATRIX, "matrix");
	scratch_write(s, MATRIX "/evidence/x/flash.bin", "x");
	scratch_write(s, ".boards/demo-1/lock", "");
	assert_int_equal(runs_prune(s->dir, 1, &e), 0);
	assert_int_equal(access(scratch_path(s, MATRIX), F_OK), -1);
	assert_int_equal(access(scratch_path(s, POWER), F_OK), -1);
	assert_int_equal(access(scratch_path(s, DIED "/journal.ndjson"), F_OK), 0);
	assert_int_equal(
		access(scratch_path(s, "20200101-000000-old-0001/journal.ndjson"), F_OK), 0);
	assert_int_equal(access(scratch_path(s, ".boards/demo-1/lock"), F_OK), 0);
	journal_destroy(j);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
		T(an_id_is_made_of_time_scenario_and_four_digits),
		T(many_runs_of_one_second_have_different_ids_in_their_order),
		T(a_state_folder_that_cannot_be_made_is_named),
		T(no_state_folder_holds_no_runs),
		T(runs_are_listed_by_age_with_their_verdicts),
		T(a_died_run_counts_what_its_journal_has),
		T(the_seconds_of_a_resumed_run_are_those_of_its_stretches),
		T(an_end_before_the_run_was_resumed_is_void),
		T(a_run_whose_journal_is_held_is_running_and_has_no_verdict),
		T(an_end_further_back_than_the_first_look_is_found),
		T(a_run_is_found_by_a_part_of_its_id_and_as_the_last),
		T(a_run_that_is_not_there_is_a_usage_error),
		T(a_summary_shows_items_and_what_failed),
		T(pruning_keeps_the_newest_and_what_runs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
