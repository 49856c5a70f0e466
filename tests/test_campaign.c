#include "tests/campaign_bench.h"

/* --- what is chosen ----------------------------------------------------------------------------
 */

static void thirty_cuts_are_a_fair_share_of_everything(void **state)
{
	(void)state;
	for (uint32_t index = 0; index < 10; index++) {
		struct campaign_options options = everything;
		struct story *s;

		options.index = index;
		options.limit = 30;
		s = story(log_update(8, 500), &options);
		run(s);
		assert_in_range(count_why(s, s->count, "metadata"), 11, 17);
		assert_in_range(count_why(s, s->count, "edge"), 5, 9);
		assert_in_range(count_why(s, s->count, "bulk"), 5, 9);
		assert_in_range(count_why(s, s->count, "second"), 5, 9);
		assert_int_equal(campaign_landed(s->campaign), 30);
		assert_nothing_twice(s);
		finish(s);
	}
}

static void the_end_and_the_first_operation_are_among_the_first_ten(void **state)
{
	struct story *s = story(log_update(8, 500), &everything);
	bool end = false, first = false;

	(void)state;
	for (int i = 0; i < 10 && step(s); i++) {
		end = end || s->trials[i].cuts.list[0].op == CUT_END;
		first = first || s->trials[i].cuts.list[0].op == 1;
	}
	assert_true(end && first);
	finish(s);
}

static void a_thousand_cuts_hold_all_metadata_before_torn_and_after(void **state)
{
	struct campaign_options options = everything;
	struct story *s;
	uint8_t *map;
	size_t seen = 0;

	(void)state;
	options.limit = 1000;
	s = story(log_update(8, 530), &options); /* 17,000 operations */
	run(s);
	map = tried(s);
	for (uint32_t op = 1; op <= s->log.count; op++) {
		if (!metadata(s, op))
			continue;
		seen++;
		assert_int_equal(map[op], 3);
		assert_int_equal(map[op + 1] & 1, 1);
	}
	assert_in_range(seen, 60, 90);
	assert_int_equal(campaign_landed(s->campaign), 1000);
	free(map);
	finish(s);
}

static void a_thousand_cuts_leave_gaps_of_about_a_grids(void **state)
{
	struct campaign_options options = everything;
	struct campaign_plan plan;
	struct story *s;
	struct err e;

	(void)state;
	options.limit = 1000;
	s = story(log_update(8, 530), &options);
	run(s);
	assert_int_equal(campaign_planned(s->campaign, &plan, &e), 0);
	assert_true(plan.gap <= 2 * s->log.count / plan.bulk);
	finish(s);
}

static void the_edges_of_every_bulk_class_come_before_those_of_its_stretches(void **state)
{
	struct campaign_options options = everything;
	struct story *s;
	uint8_t *map;

	(void)state;
	options.limit = 500;
	s = story(log_update(8, 530), &options);
	run(s);
	map = tried(s);
	for (size_t i = 0; i < s->classes.count; i++) {
		const struct op_class *class = &s->classes.list[i];
		const struct class_range *last = &class->ranges[class->range_count - 1];

		if (class->metadata)
			continue;
		assert_int_equal(map[class->ranges[0].first], 3);
		assert_int_equal(map[last->last], 3);
		if (class->kind == OPLOG_PROGRAM) {
			assert_int_equal(map[class->ranges[0].first + 1], 3);
			assert_int_equal(map[last->last - 1], 3);
		}
	}
	free(map);
	finish(s);
}

/* The largest distance between neighbours among marks, of which there are count, as a circle. */
static size_t largest_gap(const uint8_t *marks, size_t count)
{
	size_t gap = 0, first = SIZE_MAX, before = 0;

	for (size_t i = 0; i < count; i++) {
		if (!marks[i])
			continue;
		if (first == SIZE_MAX)
			first = i;
		else
			gap = i - before > gap ? i - before : gap;
		before = i;
	}
	if (first == SIZE_MAX)
		return count;
	return first + count - before > gap ? first + count - before : gap;
}

/* The rank of each operation among those of metadata, or among the others. */
static size_t ranks(const struct story *s, bool of_metadata, size_t *rank)
{
	size_t n = 0;

	for (uint32_t op = 1; op <= s->log.count; op++)
		if (metadata(s, op) == of_metadata)
			rank[op] = n++;
	return n;
}

/* Walks the whole campaign, and holds every prefix against an even spread. */
static void assert_spread(bool of_metadata, const char *why, unsigned times)
{
	for (uint32_t index = 0; index < 10; index++) {
		struct campaign_options options = everything;
		struct story *s;
		size_t *rank, count, n = 0, even;
		uint8_t *marks;

		options.index = index;
		options.second = false;
		s = story(log_update(8, 100), &options);
		rank = calloc(s->log.count + 2, sizeof(*rank));
		marks = calloc(s->log.count + 2, 1);
		assert_true(rank && marks);
		count = ranks(s, of_metadata, rank);
		while (step(s)) {
			const struct trial *t = &s->trials[s->count - 1];
			uint32_t op = position(s, &t->cuts.list[0]);

			/* "after" counts for the operation it is after */
			op -= metadata(s, op) != of_metadata;
			if (op && metadata(s, op) == of_metadata)
				marks[rank[op]] = 1;
			if (!is_why(t, why))
				continue;
			if (++n > count)
				break;
			/* those that are placed within their stretches come first */
			even = n > 32 ? n - 16 : (n + 1) / 2;
			if (largest_gap(marks, count) > times * count / even + 2)
				fail_msg("index %u: after %zu of %zu the gap is %zu",
					(unsigned)index, n, count, largest_gap(marks, count));
		}
		free(marks);
		free(rank);
		finish(s);
	}
}

/* What a metadata operation is: its class, the classes round its run, first, last or between. */
static void role_of(const struct story *s, uint32_t op, uint32_t role[4])
{
	const uint32_t *of = s->classes.of;
	uint32_t count = (uint32_t)s->log.count, i = op - 1, first = i, last = i;

	while (first > 0 && of[first - 1] == of[i])
		first--;
	while (last + 1 < count && of[last + 1] == of[i])
		last++;
	role[0] = of[i];
	role[1] = first > 0 ? of[first - 1] : UINT32_MAX;
	role[2] = last + 1 < count ? of[last + 1] : UINT32_MAX;
	role[3] = i == last ? 2 : i > first;
}

/* Marks what a metadata cut is of an operation: before 1, torn 2, after 4. Returns the operation.
 */
static uint32_t aspect_of(const struct story *s, const struct cut *cut, uint8_t *aspects)
{
	uint32_t op = position(s, cut);

	if (cut->tear != TEAR_CLEAN)
		*aspects = 2;
	else
		*aspects = (uint8_t)((metadata(s, op) ? 1 : 0) | (metadata(s, op - 1) ? 4 : 0));
	return op;
}

/* Notes in seen, per operation of metadata, which aspects its role was cut in. */
static void note_role(const struct story *s, const struct cut *cut, uint8_t *seen)
{
	uint8_t aspects;
	uint32_t op = aspect_of(s, cut, &aspects), role[4], other[4];

	for (uint32_t at = op; at + 1 >= op && at > 0; at--) {
		uint8_t bits = at == op ? aspects & 3 : aspects & 4;

		if (!bits || !metadata(s, at))
			continue;
		role_of(s, at, role);
		for (uint32_t i = 1; i <= s->log.count; i++) {
			if (!metadata(s, i))
				continue;
			role_of(s, i, other);
			if (memcmp(role, other, sizeof(role)) == 0)
				seen[i] |= bits;
		}
	}
}

static size_t roles_left(const struct story *s, const uint8_t *seen)
{
	size_t left = 0;

	for (uint32_t op = 1; op <= s->log.count; op++)
		left += metadata(s, op) && seen[op] != 7;
	return left;
}

static void every_role_of_metadata_is_cut_before_any_is_repeated(void **state)
{
	struct story *s = story(log_update(8, 100), &everything);
	uint8_t *seen = calloc(s->log.count + 2, 1);
	size_t made = 0, all = 0, needed = 0;

	(void)state;
	assert_non_null(seen);
	for (uint32_t op = 1; op <= s->log.count; op++)
		all += metadata(s, op);
	while (step(s)) {
		if (!is_why(&s->trials[s->count - 1], "metadata"))
			continue;
		note_role(s, &s->trials[s->count - 1].cuts.list[0], seen);
		made++;
		if (!needed && roles_left(s, seen) == 0)
			needed = made;
	}
	/* there are eight pages, with four records each that are all the same */
	if (!needed || needed > 3 * (all - 7 * 4))
		fail_msg("%zu of %zu metadata cuts until every role was cut", needed, made);
	free(seen);
	finish(s);
}

static void small_campaigns_of_ten_transitions_cut_every_role_together(void **state)
{
	uint8_t *seen = NULL;
	size_t left = 0;

	(void)state;
	for (uint32_t index = 0; index < 10; index++) {
		struct campaign_options options = everything;
		struct story *s;

		options.index = index;
		options.limit = 30;
		s = story(log_update(8, 100), &options);
		if (!seen)
			seen = calloc(s->log.count + 2, 1);
		assert_non_null(seen);
		run(s);
		for (size_t k = 0; k < s->count; k++)
			if (s->trials[k].cuts.count == 1)
				note_role(s, &s->trials[k].cuts.list[0], seen);
		left = roles_left(s, seen);
		finish(s);
	}
	free(seen);
	assert_int_equal(left, 0);
}

static void every_prefix_of_the_bulk_is_spread(void **state)
{
	(void)state;
	assert_spread(false, "bulk", 3);
}

static void transitions_look_at_different_bulk_and_together_spread(void **state)
{
	(void)state;
	size_t asked = 0, different = 0, count = 0, gap;
	uint8_t *marks = NULL, *cuts[2] = {NULL, NULL};

	for (uint32_t index = 0; index < 10; index++) {
		struct campaign_options options = everything;
		struct story *s;
		size_t *rank;

		options.index = index;
		options.limit = 30;
		s = story(log_update(100, 30), &options);
		rank = calloc(s->log.count + 2, sizeof(*rank));
		assert_non_null(rank);
		count = ranks(s, false, rank);
		if (!marks) {
			marks = calloc(count, 1);
			cuts[0] = calloc(s->log.count + 2, 1);
			cuts[1] = calloc(s->log.count + 2, 1);
		}
		assert_true(marks && cuts[0] && cuts[1]);
		run(s);
		for (size_t k = 0; k < s->count; k++) {
			const struct cut *cut = &s->trials[k].cuts.list[0];
			uint32_t op = position(s, cut);

			if (!is_why(&s->trials[k], "bulk") || op > s->log.count)
				continue;
			different += !cuts[cut->tear][op];
			cuts[cut->tear][op] = 1;
			op -= metadata(s, op);
			marks[rank[op]] = 1;
			asked++;
		}
		free(rank);
		finish(s);
	}
	gap = largest_gap(marks, count);
	if (different < asked * 9 / 10 || gap > 4 * count / asked)
		fail_msg("%zu of %zu places differ, the gap is %zu of %zu", different, asked, gap,
			count);
	free(marks);
	free(cuts[0]);
	free(cuts[1]);
}

/* What fails at the same place of every page is found by a few cuts of each transition. */
static void small_campaigns_look_everywhere_within_a_stretch(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= 50; seed++) {
		uint8_t marks[1000] = {0};
		size_t made = 0;

		for (uint32_t index = 0; index < 16; index++) {
			struct campaign_options options = everything;
			struct story *s;

			options.seed = seed;
			options.index = index;
			options.limit = 22;
			s = story(log_update(12, 1000), &options);
			run(s);
			for (size_t k = 0; k < s->count; k++) {
				uint32_t op = position(s, &s->trials[k].cuts.list[0]), from = op;

				if (!is_why(&s->trials[k], "bulk") || op > s->log.count)
					continue;
				while (from > 1 && s->classes.of[from - 2] == s->classes.of[op - 1])
					from--;
				assert_true(op - from < 1000);
				marks[op - from] = 1;
				made++;
			}
			finish(s);
		}
		if (largest_gap(marks, 1000) > 62)
			fail_msg("seed %u: %zu cuts leave a gap of %zu in 1000", (unsigned)seed,
				made, largest_gap(marks, 1000));
	}
}

static void a_window_in_the_bulk_is_found_as_soon_as_van_der_corput_promises(void **state)
{
	static const uint32_t widths[] = {1, 4, 32, 64, 300};
	uint32_t noise = 1;

	(void)state;
	for (uint32_t i = 0; i < 60; i++) {
		struct campaign_options options = everything;
		uint32_t width = widths[i % 5];
		bool torn = i % 2;
		size_t bulk = 0, made = 0, promise = 1;
		struct story *s;

		options.seed = i * 7919;
		options.index = i;
		s = story(log_update(3, 700), &options);
		for (uint32_t op = 1; op <= s->log.count; op++)
			bulk += !metadata(s, op);
		while (promise * width < bulk)
			promise *= 2;
		s->device.answer = fails_within;
		*(torn ? &s->device.torn : &s->device.clean) = true;
		/* within one stretch, where operations of the bulk follow each other */
		do {
			noise = noise * 1664525 + 1013904223;
			s->device.first = noise % (uint32_t)(s->log.count - width) + 1;
			s->device.last = s->device.first + width - 1;
			bulk = 0;
			for (uint32_t op = s->device.first; op <= s->device.last; op++)
				bulk += metadata(s, op);
		} while (bulk);
		while (step(s) && !s->trials[s->count - 1].outcome.failed)
			made += is_why(&s->trials[s->count - 1], "bulk") &&
				s->trials[s->count - 1].cuts.list[0].tear ==
					(torn ? TEAR_TORN : TEAR_CLEAN);
		assert_true(s->trials[s->count - 1].outcome.failed);
		assert_true(made < promise + 8); /* that are placed within their stretches */
		finish(s);
	}
}

static void all_cuts_are_all_there_are_each_once(void **state)
{
	struct story *s = story(log_update(3, 60), &everything);
	uint8_t *map;

	(void)state;
	run(s);
	map = tried(s);
	for (size_t at = 1; at <= s->log.count; at++)
		assert_int_equal(map[at], 3);
	assert_int_equal(map[s->log.count + 1], 1);
	assert_int_equal(campaign_landed(s->campaign), 2 * s->log.count + 1);
	assert_int_equal(campaign_landed(s->campaign), 2 * s->log.count + 1);
	assert_nothing_twice(s);
	free(map);
	finish(s);
}

static void a_board_that_cannot_tear_is_not_asked_to(void **state)
{
	struct campaign_options options = everything;
	struct story *s;

	(void)state;
	options.tears = false;
	s = story(log_update(3, 60), &options);
	s->device = (struct device){.answer = fails_within,
		.first = 100,
		.last = 110,
		.clean = true,
		.operations = s->log.count};
	run(s);
	for (size_t i = 0; i < s->count; i++)
		for (size_t k = 0; k < s->trials[i].cuts.count; k++)
			assert_int_equal(s->trials[i].cuts.list[k].tear, TEAR_CLEAN);
	assert_int_equal(campaign_landed(s->campaign), s->log.count + 1);
	assert_int_equal(campaign_window(s->campaign, 0)->tear, CAMPAIGN_CLEAN);
	finish(s);
}

static void an_update_without_operations_is_cut_at_its_end(void **state)
{
	struct story *s = story((struct oplog){0}, &everything);

	(void)state;
	run(s);
	assert_int_equal(s->count, 1);
	assert_int_equal(s->trials[0].cuts.list[0].op, CUT_END);
	finish(s);
}

/* --- second cuts -------------------------------------------------------------------------------
 */

static void second_cuts_come_at_all_ten_places_clean_and_torn(void **state)
{
	(void)state;
	for (uint32_t index = 0; index < 4; index++) {
		struct campaign_options options = everything;
		unsigned seen[CAMPAIGN_SECOND_PLACES][2] = {{0}};
		struct story *s;

		options.index = index;
		options.limit = 150;
		s = story(log_update(8, 500), &options);
		run(s);
		for (size_t i = 0; i < s->count; i++) {
			const struct cut *second = &s->trials[i].cuts.list[1];

			if (s->trials[i].cuts.count == 2)
				seen[second->op - 1][second->tear]++;
		}
		for (int i = 0; i < CAMPAIGN_SECOND_PLACES; i++)
			assert_true(seen[i][0] > 0 && seen[i][1] > 0);
		finish(s);
	}
}

static void fails_or_recovers_at_once(
	const struct device *device, const struct cuts *cuts, struct campaign_outcome *outcome)
{
	(void)device;
	outcome->failed = cuts->list[0].op % 4 == 0;
	outcome->recovery = (long)(cuts->list[0].op % 4) - 1;
}

static void a_second_cut_follows_a_metadata_cut_that_passed_and_recovered(void **state)
{
	struct campaign_options options = everything;
	struct story *s;
	size_t seconds = 0;

	(void)state;
	options.windows = false;
	s = story(log_update(8, 60), &options);
	s->device.answer = fails_or_recovers_at_once;
	run(s);
	for (size_t i = 0; i < s->count; i++) {
		const struct trial *t = &s->trials[i];
		size_t before = 0;

		if (t->cuts.count == 1)
			continue;
		seconds++;
		while (s->trials[before].cuts.count != 1 ||
			cut_compare(&s->trials[before].cuts.list[0], &t->cuts.list[0]) != 0)
			before++;
		assert_true(before < i);
		assert_true(is_why(&s->trials[before], "metadata"));
		assert_false(s->trials[before].outcome.failed);
		assert_true(s->trials[before].outcome.recovery > 0);
		assert_true(t->cuts.list[1].op <= (uint32_t)s->trials[before].outcome.recovery);
	}
	assert_true(seconds > 20);
	assert_nothing_twice(s);
	finish(s);
}

static void second_cuts_are_at_most_a_third_of_the_trials(void **state)
{
	static const size_t limits[] = {5, 30, 300, SIZE_MAX};

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct campaign_options options = everything;
		size_t seconds = 0;
		struct story *s;

		options.limit = limits[i];
		s = story(log_update(4, 20), &options);
		while (step(s)) {
			seconds += s->trials[s->count - 1].cuts.count == 2;
			assert_true(3 * seconds <= s->count);
		}
		/* all of them use what there is */
		if (limits[i] == SIZE_MAX)
			assert_true(3 * (seconds + 1) > s->count);
		finish(s);
	}
}

/* --- what does not go as it should -------------------------------------------------------------
 */

static void a_torn_cut_that_landed_clean_counts_once_and_is_not_tried_again(void **state)
{
	struct campaign_options options = everything;
	struct story *s;

	(void)state;
	options.limit = 100;
	s = story(log_update(8, 500), &options);
	s->device.answer = some_cannot_be_torn;
	run(s);
	assert_int_equal(campaign_landed(s->campaign), 100);
	for (size_t i = 0; i < s->count; i++)
		for (size_t k = 0; k < i; k++) {
			const struct cut *a = &s->trials[k].outcome.landed;

			if (s->trials[i].cuts.count == 1 && s->trials[k].cuts.count == 1)
				assert_int_not_equal(cut_compare(a, &s->trials[i].cuts.list[0]), 0);
		}
	finish(s);
}

/* Cuts alone land where they should; the first of two one operation further. */
static void first_of_two_lands_further(
	const struct device *device, const struct cuts *cuts, struct campaign_outcome *outcome)
{
	if (cuts->count == 2 && cuts->list[0].op < device->operations)
		outcome->landed.op++;
}

static void what_was_only_the_first_of_two_cuts_is_tried_alone(void **state)
{
	const struct cuts pair = {.list = {{.op = 7}, {.op = 2}}, .count = 2};
	struct campaign_outcome outcome = {.fired = true,
		.placed = true,
		.landed = pair.list[0],
		.cuts_fired = 2,
		.recovery = -1};
	struct story *s = story(log_update(3, 60), &everything);
	uint8_t *map;
	struct err e;

	(void)state;
	s->device.answer = first_of_two_lands_further;
	assert_int_equal(campaign_outcome(s->campaign, &pair, &outcome, &e), 0);
	assert_int_equal(campaign_landed(s->campaign), 1);
	run(s);
	assert_true(count_why(s, s->count, "second") > 0);
	map = tried(s);
	for (size_t at = 1; at <= s->log.count; at++)
		assert_int_equal(map[at], 3);
	assert_int_equal(map[s->log.count + 1], 1);
	assert_nothing_twice(s);
	free(map);
	finish(s);
}

static void on_a_bench_that_places_nothing_the_limit_is_of_cuts_that_fired(void **state)
{
	struct campaign_options options = everything;
	struct story *s;

	(void)state;
	options.limit = 30;
	s = story(log_update(3, 60), &options);
	s->device.answer = nothing_is_placed;
	run(s);
	assert_int_equal(s->count - count_why(s, s->count, "second"), 30);
	assert_int_equal(campaign_landed(s->campaign), 0);
	finish(s);
}

static void a_cut_that_the_update_does_not_have_is_refused(void **state)
{
	struct story *s = story(log_update(3, 60), &everything);
	struct campaign_outcome outcome = {.fired = true};
	uint32_t end = (uint32_t)s->log.count + 1;
	const struct cuts wrong[] = {{.count = 0}, {.count = 1, .list = {{.op = 0}}},
		{.count = 1, .list = {{.op = end + 1}}},
		{.count = 1, .list = {{.op = end, .tear = TEAR_TORN}}},
		{.count = 1, .list = {{.op = CUT_END, .tear = TEAR_TORN}}}};
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(
			campaign_outcome(s->campaign, &wrong[i], &outcome, &e), -ERR_USAGE);
	finish(s);
}

static void classes_of_another_log_are_refused(void **state)
{
	struct oplog log = log_update(2, 20), other = log_update(2, 21);
	struct classes classes = log_classes(&other);
	struct campaign *campaign;
	struct err e;

	(void)state;
	assert_int_equal(campaign_create(&campaign, &log, &classes, &everything, &e), -ERR_USAGE);
	assert_null(campaign);
	campaign_destroy(NULL);
	classes_finish(&classes);
	oplog_finish(&log);
	oplog_finish(&other);
}

/* --- again, and ahead --------------------------------------------------------------------------
 */

static void recorded_outcomes_give_the_same_cuts_again(void **state)
{
	struct story *s = story(log_update(4, 200), &everything);
	struct err e;

	(void)state;
	s->device.answer = all_land_elsewhere;
	while (s->count < 700 && step(s))
		;
	campaign_destroy(s->campaign);
	create(s);
	for (size_t i = 0; i < s->count; i++) {
		struct cuts cuts;
		const char *why;

		assert_true(campaign_next(s->campaign, &cuts, &why));
		assert_int_equal(cuts_compare(&cuts, &s->trials[i].cuts), 0);
		assert_string_equal(why, s->trials[i].why);
		assert_int_equal(
			campaign_outcome(s->campaign, &cuts, &s->trials[i].outcome, &e), 0);
	}
	finish(s);
}

static void the_plan_is_what_a_run_without_trouble_does(void **state)
{
	struct campaign_options options = everything;
	struct campaign_plan before, midway, after;
	struct story *s;
	struct err e;

	(void)state;
	options.limit = 300;
	s = story(log_update(8, 500), &options);
	assert_int_equal(campaign_planned(s->campaign, &before, &e), 0);
	while (s->count < 100 && step(s))
		;
	assert_int_equal(campaign_planned(s->campaign, &midway, &e), 0);
	run(s);
	assert_int_equal(campaign_planned(s->campaign, &after, &e), 0);
	assert_memory_equal(&before, &after, sizeof(after));
	assert_memory_equal(&midway, &after, sizeof(after));
	assert_int_equal(after.total, s->count);
	assert_int_equal(after.cuts, 300);
	assert_int_equal(after.metadata, count_why(s, s->count, "metadata"));
	assert_int_equal(after.edge, count_why(s, s->count, "edge"));
	assert_int_equal(after.bulk, count_why(s, s->count, "bulk"));
	assert_int_equal(after.second, count_why(s, s->count, "second"));
	assert_int_equal(after.window, 0);
	finish(s);
}

static void the_names_of_tears_are_those_of_reports(void **state)
{
	(void)state;
	assert_string_equal(campaign_tear_name(CAMPAIGN_CLEAN), "clean");
	assert_string_equal(campaign_tear_name(CAMPAIGN_TORN), "torn");
	assert_string_equal(campaign_tear_name(CAMPAIGN_ANY), "any");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(thirty_cuts_are_a_fair_share_of_everything),
		cmocka_unit_test(the_end_and_the_first_operation_are_among_the_first_ten),
		cmocka_unit_test(a_thousand_cuts_hold_all_metadata_before_torn_and_after),
		cmocka_unit_test(a_thousand_cuts_leave_gaps_of_about_a_grids),
		cmocka_unit_test(the_edges_of_every_bulk_class_come_before_those_of_its_stretches),
		cmocka_unit_test(every_role_of_metadata_is_cut_before_any_is_repeated),
		cmocka_unit_test(every_prefix_of_the_bulk_is_spread),
		cmocka_unit_test(small_campaigns_of_ten_transitions_cut_every_role_together),
		cmocka_unit_test(transitions_look_at_different_bulk_and_together_spread),
		cmocka_unit_test(small_campaigns_look_everywhere_within_a_stretch),
		cmocka_unit_test(a_window_in_the_bulk_is_found_as_soon_as_van_der_corput_promises),
		cmocka_unit_test(all_cuts_are_all_there_are_each_once),
		cmocka_unit_test(a_board_that_cannot_tear_is_not_asked_to),
		cmocka_unit_test(an_update_without_operations_is_cut_at_its_end),
		cmocka_unit_test(second_cuts_come_at_all_ten_places_clean_and_torn),
		cmocka_unit_test(a_second_cut_follows_a_metadata_cut_that_passed_and_recovered),
		cmocka_unit_test(second_cuts_are_at_most_a_third_of_the_trials),
		cmocka_unit_test(a_torn_cut_that_landed_clean_counts_once_and_is_not_tried_again),
		cmocka_unit_test(what_was_only_the_first_of_two_cuts_is_tried_alone),
		cmocka_unit_test(on_a_bench_that_places_nothing_the_limit_is_of_cuts_that_fired),
		cmocka_unit_test(a_cut_that_the_update_does_not_have_is_refused),
		cmocka_unit_test(classes_of_another_log_are_refused),
		cmocka_unit_test(recorded_outcomes_give_the_same_cuts_again),
		cmocka_unit_test(the_plan_is_what_a_run_without_trouble_does),
		cmocka_unit_test(the_names_of_tears_are_those_of_reports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
