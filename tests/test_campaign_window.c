#include "tests/campaign_bench.h"

/* --- windows -----------------------------------------------------------------------------------
 */

static void the_edges_of_a_window_are_found_exactly(void **state)
{
	static const uint32_t widths[] = {1, 4, 64, 300};
	static const struct {
		bool clean, torn;
		enum campaign_tear tear;
	} tears[] = {{true, false, CAMPAIGN_CLEAN}, {false, true, CAMPAIGN_TORN},
		{true, true, CAMPAIGN_ANY}};

	(void)state;
	for (int i = 0; i < 4 * 3 * 3; i++) {
		const struct campaign_window *w;
		struct story *s = story(log_update(3, 300), &everything);
		uint32_t width = widths[i % 4], end = (uint32_t)s->log.count;
		/* at the start, somewhere, and at the end */
		const uint32_t first[] = {1, 1234, end - width + 1};

		s->device.answer = fails_within;
		s->device.first = first[i / 4 % 3];
		s->device.last = s->device.first + width - 1;
		s->device.clean = tears[i / 12].clean;
		s->device.torn = tears[i / 12].torn;
		while (!campaign_window(s->campaign, 0))
			assert_true(step(s));
		w = campaign_window(s->campaign, 0);
		assert_int_equal(w->first, s->device.first);
		assert_int_equal(w->last, s->device.last);
		assert_int_equal(w->tear, tears[i / 12].tear);
		assert_true(w->whole);
		assert_in_range(w->found.op, w->first, w->last);
		assert_int_equal(w->trials, count_why(s, s->count, "window"));
		assert_true(w->trials <= CAMPAIGN_WINDOW_TRIALS_MAX);
		run(s);
		/* what fails in it later opens no other one */
		assert_null(campaign_window(s->campaign, 1));
		assert_nothing_twice(s);
		finish(s);
	}
	(void)state;
}

static void a_search_comes_at_once_and_does_not_count(void **state)
{
	struct campaign_options options = everything;
	struct story *s;
	bool failed = false;
	size_t window = 0, first = 0;

	(void)state;
	options.limit = 30;
	s = story(log_update(8, 500), &options);
	s->device = (struct device){.answer = fails_within,
		.first = 1000,
		.last = 9000,
		.clean = true,
		.torn = true,
		.operations = s->log.count};
	run(s);
	for (size_t i = 0; i < s->count; i++) {
		const struct trial *t = &s->trials[i];

		if (failed && !window)
			assert_true(is_why(t, "window"));
		failed = failed || t->outcome.failed;
		window += is_why(t, "window");
		first += !is_why(t, "window") && t->cuts.count == 1;
	}
	assert_true(window > 10);
	assert_int_equal(first, 30);
	finish(s);
}

/* Fails at every hundredth operation, in stretches of a few. */
static void fails_often(
	const struct device *device, const struct cuts *cuts, struct campaign_outcome *outcome)
{
	(void)device;
	outcome->failed = cuts->list[0].op % 100 < 5;
}

static void no_more_than_four_windows_are_searched(void **state)
{
	struct story *s = story(log_update(4, 100), &everything);

	(void)state;
	s->device.answer = fails_often;
	run(s);
	assert_non_null(campaign_window(s->campaign, CAMPAIGN_WINDOWS_MAX - 1));
	assert_null(campaign_window(s->campaign, CAMPAIGN_WINDOWS_MAX));
	assert_true(count_why(s, s->count, "window") <=
		    (size_t)CAMPAIGN_WINDOWS_MAX * CAMPAIGN_WINDOW_TRIALS_MAX);
	finish(s);
}

/* Within the window every cut but the first few misses. */
static void fails_and_then_misses(
	const struct device *device, const struct cuts *cuts, struct campaign_outcome *outcome)
{
	fails_within(device, cuts, outcome);
	outcome->fired = !outcome->failed || cuts->list[0].op % 64 == 0;
	outcome->failed = outcome->failed && outcome->fired;
}

static void a_window_whose_ends_cannot_be_seen_is_not_whole(void **state)
{
	struct story *s = story(log_update(4, 300), &everything);

	(void)state;
	s->device = (struct device){.answer = fails_and_then_misses,
		.first = 640 - 10,
		.last = 640 + 10,
		.clean = true,
		.torn = true,
		.operations = s->log.count};
	run(s);
	assert_int_equal(campaign_window(s->campaign, 0)->first, 640);
	assert_int_equal(campaign_window(s->campaign, 0)->last, 640);
	assert_false(campaign_window(s->campaign, 0)->whole);
	finish(s);
}

static void what_cannot_be_torn_does_not_end_a_torn_window(void **state)
{
	struct story *s = story(log_update(4, 300), &everything);

	(void)state;
	s->device = (struct device){.answer = some_cannot_be_torn,
		.first = 501,
		.last = 531,
		.torn = true,
		.operations = s->log.count};
	while (!campaign_window(s->campaign, 0))
		assert_true(step(s));
	assert_int_equal(campaign_window(s->campaign, 0)->first, 501);
	assert_int_equal(campaign_window(s->campaign, 0)->last, 531);
	assert_int_equal(campaign_window(s->campaign, 0)->tear, CAMPAIGN_TORN);
	assert_true(campaign_window(s->campaign, 0)->whole);
	finish(s);
}

static void seconds_fail(
	const struct device *device, const struct cuts *cuts, struct campaign_outcome *outcome)
{
	(void)device;
	outcome->failed = cuts->count == 2;
}

static void a_second_cut_that_fails_opens_no_window(void **state)
{
	struct story *s = story(log_update(4, 60), &everything);

	(void)state;
	s->device.answer = seconds_fail;
	run(s);
	assert_int_equal(count_why(s, s->count, "window"), 0);
	assert_null(campaign_window(s->campaign, 0));
	finish(s);
}

/* --- liars ------------------------------------------------------------------------------------ */

static void nothing_fires(
	const struct device *device, const struct cuts *cuts, struct campaign_outcome *outcome)
{
	(void)device;
	(void)cuts;
	*outcome = (struct campaign_outcome){.recovery = -1};
}

static void all_are_errors(
	const struct device *device, const struct cuts *cuts, struct campaign_outcome *outcome)
{
	(void)device;
	(void)cuts;
	outcome->error = true;
}

static void all_land_at_one_place_and_fail(
	const struct device *device, const struct cuts *cuts, struct campaign_outcome *outcome)
{
	(void)device;
	(void)cuts;
	outcome->landed = (struct cut){.op = 5};
	outcome->failed = true;
}

static void nowhere(
	const struct device *device, const struct cuts *cuts, struct campaign_outcome *outcome)
{
	(void)device;
	(void)cuts;
	outcome->landed = (struct cut){.op = 4000000};
}

static void all_fail(
	const struct device *device, const struct cuts *cuts, struct campaign_outcome *outcome)
{
	(void)device;
	(void)cuts;
	outcome->failed = true;
}

static void a_campaign_ends_whatever_the_device_says(void **state)
{
	static device_fn *const liars[] = {nothing_fires, all_are_errors,
		all_land_at_one_place_and_fail, all_land_elsewhere, nowhere, all_fail,
		nothing_is_placed};
	static const size_t limits[] = {0, 1, 30, SIZE_MAX};

	(void)state;
	for (size_t i = 0; i < 4 * (sizeof(liars) / sizeof(*liars)); i++) {
		struct campaign_options options = everything;
		size_t limit = limits[i % 4], most;
		struct story *s;

		options.limit = limit;
		s = story(log_update(3, 60), &options);
		s->device.answer = liars[i / 4];
		run(s);
		assert_nothing_twice(s);
		most = limit == SIZE_MAX ? 4 * s->log.count : 3 * limit + 24;
		assert_true(s->count - count_why(s, s->count, "window") <= most);
		assert_true(limit != 0 || s->count == 0);
		finish(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_edges_of_a_window_are_found_exactly),
		cmocka_unit_test(a_search_comes_at_once_and_does_not_count),
		cmocka_unit_test(no_more_than_four_windows_are_searched),
		cmocka_unit_test(a_window_whose_ends_cannot_be_seen_is_not_whole),
		cmocka_unit_test(what_cannot_be_torn_does_not_end_a_torn_window),
		cmocka_unit_test(a_second_cut_that_fails_opens_no_window),
		cmocka_unit_test(a_campaign_ends_whatever_the_device_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
