/* What is counted of wear: the file, and the budget. */
#include "../rig/err.h"
#include "../rig/file.h"
#include "../rig/wear.h"
#include "scratch.h"

#include <limits.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static struct wear opened(struct scratch *s)
{
	struct wear w;
	struct err e;

	if (wear_init(&w, s->dir, true, &e) != 0)
		fail_msg("%s", e.msg);
	return w;
}

static void saved(struct wear *w)
{
	struct err e;

	if (wear_save(w, &e) != 0)
		fail_msg("%s", e.msg);
}

static void count(struct wear *w, const char *erases)
{
	json_t *json = json_loads(erases, 0, NULL);

	wear_count_erases(w, json);
	json_decref(json);
}

static json_int_t number(json_t *summary, const char *name)
{
	return json_integer_value(json_object_get(summary, name));
}

static void what_was_counted_is_there_the_next_time(void **state)
{
	struct scratch *s = *state;
	const struct wear_budget none = {0, 0};
	struct wear w = opened(s);
	json_t *pages = json_pack("[[i, i], [i, i]]", 3, 2, 700, 1), *sum;
	char since[32];

	count(&w, "{\"3\": 5, \"127\": 2}");
	wear_count_pages(&w, pages);
	json_decref(pages);
	wear_count_cycle(&w);
	wear_count_cycle(&w);
	memcpy(since, w.since, sizeof(since));
	saved(&w);
	wear_finish(&w);
	w = opened(s);
	assert_int_equal(w.erases[3], 6);
	assert_int_equal(w.erases[4], 1);
	assert_int_equal(w.erases[127], 2);
	assert_int_equal(w.erases[700], 1);
	assert_false(w.damaged);
	sum = wear_summary(&w, &none);
	assert_int_equal(number(sum, "relay_cycles"), 2);
	assert_int_equal(number(sum, "erases_max"), 6);
	assert_int_equal(number(sum, "erases_page"), 3);
	assert_true(json_is_null(json_object_get(sum, "percent")));
	assert_string_equal(json_string_value(json_object_get(sum, "since")), since);
	json_decref(sum);
	wear_finish(&w);
}

static void nothing_counted_is_nothing_written(void **state)
{
	struct scratch *s = *state;
	struct wear w = opened(s);

	saved(&w);
	assert_int_not_equal(access(scratch_path(s, "wear.json"), F_OK), 0);
	wear_finish(&w);
}

static void a_damaged_file_is_kept_aside_and_counting_starts_anew(void **state)
{
	static const char *const texts[] = {"{\"since\":\"2026-01-01T00:00:00Z\",\"rel", "", "[]",
		"{\"since\":\"x\",\"relay_cycles\":-1,\"erases\":{}}",
		"{\"since\":\"x\",\"relay_cycles\":1,\"erases\":{\"one\":1}}",
		"{\"since\":\"x\",\"relay_cycles\":1,\"erases\":{\"99999999999\":1}}",
		"{\"since\":\"x\",\"relay_cycles\":1,\"erases\":{\"1\":-3}}"};
	struct scratch *s = *state;
	const struct wear_budget none = {0, 0};
	char *kept;
	size_t len;
	struct err e;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		const char *path = scratch_path(s, "wear.json");
		json_t *sum;
		struct wear w;

		assert_int_equal(file_write(path, texts[i], strlen(texts[i]), &e), 0);
		assert_int_equal(wear_init(&w, s->dir, false, &e), 0);
		assert_true(w.damaged);
		assert_int_equal(access(path, F_OK), 0); /* who only looks leaves it */
		wear_finish(&w);
		w = opened(s);
		assert_true(w.damaged);
		assert_int_equal(w.relay_cycles, 0);
		wear_count_cycle(&w);
		saved(&w);
		wear_finish(&w);
		assert_int_equal(
			file_read(scratch_path(s, "wear.json.damaged"), 1000, &kept, &len, &e), 0);
		assert_string_equal(kept, texts[i]);
		free(kept);
		w = opened(s); /* it stays known until somebody has taken the file away */
		assert_int_equal(w.relay_cycles, 1);
		sum = wear_summary(&w, &none);
		assert_true(json_is_true(json_object_get(sum, "damaged")));
		json_decref(sum);
		wear_finish(&w);
	}
}

static void what_makes_no_sense_is_not_counted(void **state)
{
	struct scratch *s = *state;
	struct wear w = opened(s);
	json_t *pages = json_loads("[[-1, 3], [4, -1], \"x\", [1048575, 4], {}]", 0, NULL);

	count(&w, "{\"\": 1, \"-1\": 1, \"5x\": 1, \"6\": \"1\", \"1048576\": 1, \"7\": -1}");
	wear_count_erases(&w, NULL);
	wear_count_pages(&w, NULL);
	assert_false(w.changed);
	wear_count_pages(&w, pages);
	json_decref(pages);
	assert_int_equal(w.erases[1048575], 1);
	wear_finish(&w);
}

static void the_budget_is_of_the_worst_page_and_of_the_relay(void **state)
{
	struct scratch *s = *state;
	json_t *board = json_loads("{\"wear\": {\"erases\": 10, \"relay_cycles\": 4}}", 0, NULL);
	struct wear_budget budget = wear_budget_of(board);
	struct wear w = opened(s);
	char text[160];
	json_t *sum;

	json_decref(board);
	assert_int_equal(wear_percent(&w, &budget), 0);
	count(&w, "{\"1\": 3, \"2\": 9}");
	wear_count_cycle(&w);
	assert_int_equal(wear_percent(&w, &budget), 90);
	assert_string_equal(
		wear_describe(&w, &budget, text, sizeof(text)), "page 2 has had 9 of 10 erases");
	for (int i = 0; i < 3; i++)
		wear_count_cycle(&w);
	assert_int_equal(wear_percent(&w, &budget), 100);
	assert_string_equal(wear_describe(&w, &budget, text, sizeof(text)),
		"the relay has had 4 of 4 power cycles (relay_cycles)");
	sum = wear_summary(&w, &budget);
	assert_int_equal(number(sum, "percent"), 100);
	assert_int_equal(number(json_object_get(sum, "budget"), "erases"), 10);
	json_decref(sum);
	budget = wear_budget_of(NULL);
	assert_int_equal(wear_percent(&w, &budget), 0);
	wear_finish(&w);
}

static void what_cannot_be_written_can_be_written_later(void **state)
{
	struct scratch *s = *state;
	struct wear w = opened(s);
	char path[PATH_MAX];
	struct err e;

	wear_count_cycle(&w);
	memcpy(path, w.path, sizeof(path));
	snprintf(w.path, sizeof(w.path), "%s/no/wear.json", s->dir);
	assert_int_equal(wear_save(&w, &e), -ERR_IO);
	assert_true(w.changed);
	memcpy(w.path, path, sizeof(path));
	saved(&w);
	wear_finish(&w);
}

#define claim(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		claim(what_was_counted_is_there_the_next_time),
		claim(nothing_counted_is_nothing_written),
		claim(a_damaged_file_is_kept_aside_and_counting_starts_anew),
		claim(what_makes_no_sense_is_not_counted),
		claim(the_budget_is_of_the_worst_page_and_of_the_relay),
		claim(what_cannot_be_written_can_be_written_later),
	};

	return cmocka_run_group_tests_name("wear", tests, NULL, NULL);
}
