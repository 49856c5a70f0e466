/*
 * What a scenario goes over, dealt to boards; and the command that replays a trial.
 */
#include "rig/err.h"
#include "rig/items.h"
#include "rig/run_replay.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static json_t *manifest(void)
{
	return json_pack("{s:s, s:s, s:[{s:s, s:{s:s}}, {s:s, s:{s:s}}, {s:s, s:{s:s}}], s:{s:s}}",
		"file", "r.lua", "product", "p", "releases", "version", "1.0.0", "images",
		"application", "/a", "version", "1.1.0", "images", "application", "/b", "version",
		"2.0.0", "images", "application", "/c", "policy", "updates", "any");
}

static json_t *scenario(const char *over, const char *kind)
{
	json_t *s = json_pack("{s:s, s:s}", "name", "x", "over", over);

	if (kind)
		json_object_set_new(s, "kinds", json_pack("[s]", kind));
	return s;
}

static size_t init(struct items *items, const char *over, const char *kind, json_t *options,
	unsigned boards, struct err *e)
{
	json_t *s = scenario(over, kind), *m = manifest();
	int code = items_init(items, s, m, options, boards, 0, e);

	json_decref(s);
	json_decref(m);
	json_decref(options);
	return code ? 0 : items->total;
}

static void every_ordered_pair_is_an_item_once(void **state)
{
	struct items items;
	struct err e = {.msg = ""};
	json_t *seen = json_object(), *list, *item;
	size_t b, i;

	(void)state;
	if (init(&items, "transitions", NULL, json_object(), 2, &e) != 6)
		fail_msg("%s", e.msg);
	json_array_foreach (items.boards, b, list) {
		json_array_foreach (list, i, item) {
			const char *key = json_string_value(json_object_get(item, "key"));

			assert_null(json_object_get(seen, key));
			json_object_set_new(seen, key, json_true());
			assert_true(json_is_object(json_object_get(item, "from")));
		}
	}
	assert_int_equal(json_object_size(seen), 6);
	json_decref(seen);
	items_finish(&items);
}

static void a_scenario_that_names_kinds_gets_only_those(void **state)
{
	struct items items;
	struct err e = {.msg = ""};

	(void)state;
	assert_int_equal(init(&items, "transitions", "refuse", json_object(), 1, &e), 3);
	items_finish(&items);
	assert_int_equal(init(&items, "transitions", "upgrade", json_object(), 1, &e), 3);
	items_finish(&items);
	assert_int_equal(init(&items, "transitions", "upgrade",
				 json_pack("{s:[s]}", "only", "2.0.0:1.0.0"), 1, &e),
		0);
	assert_int_equal(e.code, ERR_USAGE);
}

static void releases_boards_and_once_need_no_policy(void **state)
{
	struct items items;
	struct err e = {.msg = ""};

	(void)state;
	assert_int_equal(init(&items, "releases", NULL, json_object(), 2, &e), 3);
	items_finish(&items);
	assert_int_equal(init(&items, "boards", NULL, json_object(), 3, &e), 3);
	items_finish(&items);
	assert_int_equal(init(&items, "once", NULL, json_object(), 3, &e), 1);
	items_finish(&items);
}

static void a_release_that_reverts_is_no_item_over_releases(void **state)
{
	json_t *s = scenario("releases", NULL), *m = manifest(), *options = json_object();
	json_t *last = json_array_get(json_object_get(m, "releases"), 2);
	struct items items;
	struct err e;

	(void)state;
	json_object_set_new(last, "reverts", json_true());
	assert_int_equal(items_init(&items, s, m, options, 1, 0, &e), 0);
	assert_int_equal(items.total, 2);
	items_finish(&items);
	json_object_set_new(s, "over", json_string("transitions"));
	assert_int_equal(items_init(&items, s, m, options, 1, 0, &e), 0);
	assert_int_equal(items.total, 4);
	items_finish(&items);
	json_decref(s);
	json_decref(m);
	json_decref(options);
}

static const char *later_of(const struct items *items, const char *key)
{
	json_t *item;
	size_t i;

	json_array_foreach (json_array_get(items->boards, 0), i, item)
		if (strcmp(json_string_value(json_object_get(item, "key")), key) == 0)
			return json_string_value(
				json_object_get(json_object_get(item, "later"), "version"));
	return NULL;
}

static void a_later_release_is_one_that_policy_lets_a_device_take(void **state)
{
	json_t *s = scenario("transitions", NULL), *m = manifest(), *options = json_object();
	json_t *policy = json_object_get(m, "policy");
	struct items items;
	struct err e;

	(void)state;
	assert_int_equal(items_init(&items, s, m, options, 1, 0, &e), 0);
	assert_string_equal(later_of(&items, "1.0.0:1.1.0"), "2.0.0");
	assert_string_equal(later_of(&items, "1.1.0:1.0.0"), "2.0.0"); /* refused: it keeps 1.1.0 */
	assert_null(later_of(&items, "1.0.0:2.0.0"));
	items_finish(&items);
	json_object_set_new(policy, "refuse", json_pack("[[ss]]", "1.1.0", "2.0.0"));
	assert_int_equal(items_init(&items, s, m, options, 1, 0, &e), 0);
	assert_null(later_of(&items, "1.0.0:1.1.0"));
	items_finish(&items);
	json_decref(s);
	json_decref(m);
	json_decref(options);
}

static const char *item_at(const json_t *list, size_t index, const char *field)
{
	return json_string_value(json_object_get(json_array_get(list, index), field));
}

/* Four releases whose images take 5, 4, 7 and 4 pages; the last changes the data format. */
static void init_diverse(
	struct items *items, struct scratch *files, const char *kind, unsigned boards)
{
	static const size_t pages[] = {5, 4, 7, 4};
	static const char *const versions[] = {"1.0.0", "1.1.0", "1.2.0", "2.0.0"};
	json_t *s = scenario("transitions", kind), *releases = json_array(), *m;
	json_t *options = json_object();
	struct err e = {.msg = ""};

	for (size_t i = 0; i < 4; i++) {
		char name[32], text[8 * 16 + 1];

		snprintf(name, sizeof(name), "%s.bin", versions[i]);
		snprintf(text, sizeof(text), "%*s", (int)(pages[i] * 16 - 3), "x");
		json_array_append_new(
			releases, json_pack("{s:s, s:i, s:{s:s}}", "version", versions[i],
					  "data_format", i == 3 ? 2 : 1, "images", "application",
					  scratch_write(files, name, text)));
	}
	m = json_pack("{s:s, s:o}", "product", "p", "releases", releases);
	json_object_set_new(s, "order", json_string("diverse"));
	if (items_init(items, s, m, options, boards, 16, &e))
		fail_msg("%s", e.msg);
	json_decref(s);
	json_decref(m);
	json_decref(options);
}

static void a_diverse_order_begins_with_the_pairs_that_differ_most(void **state)
{
	static const char *const keys[] = {"1.0.0:2.0.0", "1.1.0:2.0.0", "1.1.0:1.2.0"};
	static const char *const why[] = {"smaller, data format changes, skips 2, first to last",
		"as large, data format changes, skips 1", "larger"};
	struct scratch *files = *state;
	struct items items;

	init_diverse(&items, files, "upgrade", 1);
	assert_int_equal(items.total, 6);
	for (size_t i = 0; i < 3; i++) {
		const json_t *planned = json_object_get(items.plan, "items");

		assert_string_equal(item_at(planned, i, "item"), keys[i]);
		assert_string_equal(item_at(planned, i, "why"), why[i]);
		assert_string_equal(item_at(json_array_get(items.boards, 0), i, "key"), keys[i]);
	}
	items_finish(&items);
}

static void a_diverse_order_goes_to_the_boards_in_turns(void **state)
{
	struct items items;
	const json_t *planned;

	init_diverse(&items, *state, NULL, 3);
	planned = json_object_get(items.plan, "items");
	assert_int_equal(items.total, 12);
	for (size_t i = 0; i < items.total; i++)
		assert_string_equal(item_at(planned, i, "item"),
			item_at(json_array_get(items.boards, i % 3), i / 3, "key"));
	items_finish(&items);
}

/* What the boards hold, as they go through their items: each other release costs a flash. */
static size_t flashes_of(const struct items *items)
{
	size_t count = 0, b, i;
	json_t *list, *item;

	json_array_foreach (items->boards, b, list) {
		const char *held = "";

		json_array_foreach (list, i, item) {
			const char *expect = json_string_value(json_object_get(item, "expect"));
			const char *end = strcmp(expect, "upgrade") == 0 ? "to" : "from";
			const char *from = json_string_value(
				json_object_get(json_object_get(item, "from"), "version"));

			count += strcmp(held, from) != 0;
			held = json_string_value(
				json_object_get(json_object_get(item, end), "version"));
		}
	}
	return count;
}

static void flashes_and_trails_are_those_that_the_boards_will_need(void **state)
{
	static const char *const kinds[] = {NULL, "upgrade", "refuse"};

	for (size_t k = 0; k < 3; k++)
		for (unsigned boards = 1; boards <= 5; boards++) {
			struct items items;
			json_t *trails, *trail;
			size_t i, steps = 0;

			init_diverse(&items, *state, kinds[k], boards);
			trails = json_object_get(items.plan, "trails");
			assert_int_equal(json_array_size(trails), flashes_of(&items));
			assert_int_equal(json_integer_value(json_object_get(items.plan, "flashes")),
				flashes_of(&items));
			json_array_foreach (trails, i, trail) {
				assert_true(json_array_size(trail) > 0);
				steps += json_array_size(trail);
			}
			assert_int_equal(steps, items.total);
			items_finish(&items);
		}
}

static void trails_that_lost_their_steps_to_the_kinds_are_not_flashed(void **state)
{
	struct items items;
	struct err e;

	(void)state;
	/* 1.0.0 allows none; from 1.1.0 one, from 2.0.0 two */
	assert_int_equal(init(&items, "transitions", "refuse", json_object(), 1, &e), 3);
	assert_int_equal(json_integer_value(json_object_get(items.plan, "flashes")), 2);
	assert_int_equal(json_array_size(json_object_get(items.plan, "trails")), 2);
	items_finish(&items);
}

static void without_a_manifest_transitions_are_refused_with_the_mend(void **state)
{
	json_t *s = scenario("transitions", NULL), *options = json_object();
	struct items items;
	struct err e = {.msg = ""};

	(void)state;
	assert_int_equal(items_init(&items, s, NULL, options, 1, 0, &e), -ERR_CONFIG);
	assert_non_null(strstr(e.msg, "bench { releases ="));
	json_decref(s);
	json_decref(options);
}

static void an_items_seed_follows_from_the_runs_seed_and_its_key(void **state)
{
	(void)state;
	assert_true(item_seed(1, "1.0.0:2.0.0") == item_seed(1, "1.0.0:2.0.0"));
	assert_true(item_seed(1, "1.0.0:2.0.0") != item_seed(2, "1.0.0:2.0.0"));
	assert_true(item_seed(1, "1.0.0:2.0.0") != item_seed(1, "1.0.0:1.1.0"));
	assert_true(item_seed(INT64_MAX, "x") >= 0 && item_seed(INT64_MAX, "x") < 0x80000000LL);
}

static void a_replay_is_quoted_for_a_shell(void **state)
{
	json_t *job = json_pack("{s:s, s:s, s:{s:i}}", "scenario", "/a/b.lua", "scenario_as_given",
		"my tests/it's.lua", "options", "seed", 7);
	json_t *item = json_pack("{s:s, s:{}}", "key", "1.0.0:2.0.0", "from");
	json_t *command = run_replay(job, "demo-1", item, "3", "57:torn:3");

	(void)state;
	assert_string_equal(json_string_value(command),
		"rig run 'my tests/it'\\''s.lua' --board demo-1 --only 1.0.0:2.0.0 --cut 3 "
		"--cut 57:torn:3 --seed 7");
	json_decref(job);
	json_decref(item);
	json_decref(command);
}

static void an_items_replay_asks_for_the_cuts_that_were_asked_for(void **state)
{
	json_t *job = json_pack("{s:s, s:{s:i, s:[s, s]}}", "scenario", "b.lua", "options", "seed",
		7, "cut", "57", "end,3");
	json_t *item = json_pack("{s:s, s:{}}", "key", "1.0.0:2.0.0", "from");
	json_t *command = run_replay(job, "demo-1", item, NULL, NULL);

	(void)state;
	assert_string_equal(json_string_value(command),
		"rig run b.lua --board demo-1 --only 1.0.0:2.0.0 --cut 57 --cut end,3 --seed 7");
	json_decref(job);
	json_decref(item);
	json_decref(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_ordered_pair_is_an_item_once),
		cmocka_unit_test(a_scenario_that_names_kinds_gets_only_those),
		cmocka_unit_test(releases_boards_and_once_need_no_policy),
		cmocka_unit_test(a_release_that_reverts_is_no_item_over_releases),
		cmocka_unit_test(a_later_release_is_one_that_policy_lets_a_device_take),
		cmocka_unit_test_setup_teardown(
			a_diverse_order_begins_with_the_pairs_that_differ_most, scratch_setup,
			scratch_teardown),
		cmocka_unit_test_setup_teardown(a_diverse_order_goes_to_the_boards_in_turns,
			scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(
			flashes_and_trails_are_those_that_the_boards_will_need, scratch_setup,
			scratch_teardown),
		cmocka_unit_test(trails_that_lost_their_steps_to_the_kinds_are_not_flashed),
		cmocka_unit_test(without_a_manifest_transitions_are_refused_with_the_mend),
		cmocka_unit_test(an_items_seed_follows_from_the_runs_seed_and_its_key),
		cmocka_unit_test(a_replay_is_quoted_for_a_shell),
		cmocka_unit_test(an_items_replay_asks_for_the_cuts_that_were_asked_for),
	};

	return cmocka_run_group_tests_name("items", tests, NULL, NULL);
}
