/*
 * What a plan says of a campaign, from the trace of an earlier run.
 */
#include "rig/err.h"
#include "rig/plan_cuts.h"

#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct plan_bench {
	struct scratch *s;
	json_t *board, *item;
};

static int setup(void **state)
{
	struct plan_bench *b = calloc(1, sizeof(*b));
	int code = scratch_setup((void **)&b->s);

	*state = b;
	if (code)
		return code;
	b->board = json_pack("{s:s, s:s, s:{s:{s:s}}, s:{s:i}, s:{s:[i, i], s:[i, i]}}", "type",
		"kit", "state_dir", b->s->dir, "devices", "trigger", "driver", "virtual", "flash",
		"page", 4096, "regions", "one", 0x1000, 0x1000, "two", 0x2000, 0x1000);
	b->item = json_pack("{s:s, s:i, s:{s:{s:s, s:s}}, s:{s:{s:s}}}", "key", "1.0.0:2.0.0",
		"index", 0, "from", "images", "bootloader", scratch_write(b->s, "boot.bin", "boot"),
		"application", scratch_write(b->s, "old.bin", "old"), "to", "images", "application",
		scratch_write(b->s, "new.bin", "new"));
	return b->board && b->item ? 0 : -1;
}

static int teardown(void **state)
{
	struct plan_bench *b = *state;

	json_decref(b->board);
	json_decref(b->item);
	scratch_teardown((void **)&b->s);
	free(b);
	return 0;
}

static void remember(const struct plan_bench *b, const char *trace, double trial_ms)
{
	struct err e = {.msg = ""};

	if (plan_cuts_remember(b->board, b->item, scratch_write(b->s, "uncut.trace", trace),
		    trial_ms, &e) != 0)
		fail_msg("%s", e.msg);
}

/* The plan with options as JSON; the caller's. */
static json_t *make(const struct plan_bench *b, const char *text)
{
	json_t *options = json_loads(text, 0, NULL), *plan = NULL;
	struct err e = {.msg = ""};

	assert_non_null(options);
	if (plan_cuts_make(&plan, b->board, b->item, options, 1, &e) != 0)
		fail_msg("%s", e.msg);
	json_decref(options);
	assert_non_null(plan);
	return plan;
}

static json_int_t number(const json_t *plan, const char *of, const char *name)
{
	const json_t *object = of ? json_object_get(plan, of) : plan;
	const json_t *value = json_object_get(object, name);

	if (!json_is_integer(value))
		fail_msg("no number %s", name);
	return json_integer_value(value);
}

static void is_missing(const struct plan_bench *b, const char *why)
{
	json_t *plan = make(b, "{\"cuts\": 4}");

	assert_int_equal(json_object_size(plan), 1);
	assert_string_equal(json_string_value(json_object_get(plan, "missing")), why);
	json_decref(plan);
}

/* What was remembered is good for this board and item as they are now. */
static void is_known(const struct plan_bench *b)
{
	json_t *plan = make(b, "{\"cuts\": 4}");

	assert_null(json_object_get(plan, "missing"));
	json_decref(plan);
}

#define OTHER                                                                                      \
	"no trace of 1.0.0:2.0.0: the one that was kept is of other images, or of a board that "   \
	"is traced another way"
#define FLASH "1 erase 0x2000 4096\n2 program 0x2000 0x0\n3 program 0x2004 0x0 1\n"

static void without_a_trace_the_plan_says_that_it_is_missing(void **state)
{
	is_missing(*state, "no trace of 1.0.0:2.0.0: none was kept");
}

static void a_plan_is_of_the_trace_that_was_remembered(void **state)
{
	struct plan_bench *b = *state;
	json_t *plan;

	remember(b, FLASH, 2000);
	plan = make(b, "{\"cuts\": 4}");
	assert_int_equal(number(plan, NULL, "operations"), 3);
	assert_string_equal(json_string_value(json_object_get(plan, "source")), "operations");
	assert_int_equal(json_array_size(json_object_get(plan, "classes")), 3);
	assert_int_equal(number(plan, "coverage", "cuts"), 4);
	assert_true(json_real_value(json_object_get(plan, "seconds")) ==
		    2.0 * (double)number(plan, NULL, "trials"));
	json_decref(plan);
}

static void all_cuts_are_all_there_are(void **state)
{
	struct plan_bench *b = *state;
	json_t *plan;

	remember(b, FLASH, 0);
	plan = make(b, "{\"cuts\": \"all\"}");
	assert_int_equal(number(plan, "coverage", "cuts"), 7); /* clean and torn, and the end */
	assert_int_equal(number(plan, "coverage", "gap"), 0);
	assert_int_equal(number(json_object_get(plan, "coverage"), "tears", "torn"), 3);
	assert_true(json_is_null(json_object_get(plan, "seconds")));
	json_decref(plan);
	/* more than there are come to the same */
	plan = make(b, "{\"cuts\": 1000}");
	assert_int_equal(number(plan, "coverage", "cuts"), 7);
	json_decref(plan);
	plan = make(b, "{\"cuts\": 0}");
	assert_int_equal(number(plan, "coverage", "cuts"), 0);
	assert_int_equal(number(plan, NULL, "trials"), 1);
	json_decref(plan);
}

static void cuts_asked_for_are_the_only_ones(void **state)
{
	struct plan_bench *b = *state;
	json_t *plan;

	remember(b, FLASH, 0);
	plan = make(b, "{\"cut\": [\"2:torn:1\", \"3,1\", \"end\", \"9\"], \"cuts\": 4}");
	assert_int_equal(json_object_size(json_object_get(plan, "by")), 1);
	assert_int_equal(number(plan, "by", "asked"), 4);
	assert_int_equal(number(plan, NULL, "trials"), 5);
	assert_int_equal(number(plan, "coverage", "cuts"), 3); /* 9 is beyond the end */
	assert_int_equal(number(plan, "coverage", "depth"), 2);
	json_decref(plan);
}

static void lines_of_progress_are_cut_clean_and_once(void **state)
{
	struct plan_bench *b = *state;
	json_t *plan;

	json_object_clear(json_object_get(b->board, "devices"));
	remember(b, "1 line boot\n2 line swap\n3 line ready\n", 0);
	plan = make(b, "{\"cuts\": \"all\"}");
	assert_string_equal(json_string_value(json_object_get(plan, "source")), "lines");
	assert_int_equal(number(plan, NULL, "trials"), 5);
	assert_null(json_object_get(json_object_get(plan, "by"), "second"));
	assert_int_equal(number(plan, "coverage", "cuts"), 4);
	assert_true(json_is_true(json_object_get(json_object_get(plan, "coverage"), "end")));
	assert_int_equal(number(plan, "coverage", "unplaced"), 0);
	assert_int_equal(number(json_object_get(plan, "coverage"), "landing_error", "max"), 0);
	json_decref(plan);
	plan = make(b, "{\"cut\": [\"2\", \"2:torn:1\", \"end\", \"4\"]}");
	assert_int_equal(number(plan, "coverage", "cuts"), 2);
	json_decref(plan);
}

static void a_trigger_that_counts_something_else_makes_the_trace_void(void **state)
{
	struct plan_bench *b = *state;
	json_t *trigger = json_object_get(json_object_get(b->board, "devices"), "trigger"), *plan;

	json_object_set_new(trigger, "driver", json_string("console-pattern"));
	json_object_set_new(trigger, "pattern", json_string("a"));
	remember(b, "1 line a\n2 line a\n", 0);
	plan = make(b, "{\"cuts\": \"all\"}");
	assert_int_equal(number(plan, NULL, "operations"), 2);
	assert_string_equal(json_string_value(json_object_get(plan, "source")), "lines");
	assert_int_equal(number(plan, "coverage", "by_count"), 3);
	json_decref(plan);
	json_object_set_new(trigger, "pattern", json_string("b"));
	plan = make(b, "{\"cuts\": \"all\"}");
	assert_non_null(json_object_get(plan, "missing"));
	json_decref(plan);
}

static void an_image_that_changes_makes_the_trace_void(void **state)
{
	static const char *const images[] = {"boot.bin", "old.bin", "new.bin"};
	struct plan_bench *b = *state;

	for (size_t i = 0; i < 3; i++) {
		remember(b, FLASH, 0);
		is_known(b);
		scratch_write(b->s, images[i], "another");
		is_missing(b, OTHER);
	}
}

static void a_boards_own_images_count_instead_of_the_releases(void **state)
{
	struct plan_bench *b = *state;

	remember(b, FLASH, 0);
	json_object_set_new(b->board, "images",
		json_pack("{s:s}", "bootloader", scratch_write(b->s, "own.bin", "own")));
	is_missing(b, OTHER);
	remember(b, FLASH, 0);
	is_known(b);
	scratch_write(b->s, "boot.bin", "another");
	is_known(b); /* it is not on this board */
}

static void a_board_that_is_traced_another_way_has_another_trace(void **state)
{
	struct plan_bench *b = *state;

	remember(b, FLASH, 0);
	json_object_clear(json_object_get(b->board, "devices"));
	is_missing(b, OTHER);
}

static void images_that_cannot_be_read_are_an_error(void **state)
{
	struct plan_bench *b = *state;
	json_t *options = json_object(), *plan = json_null();
	struct err e;

	remember(b, FLASH, 0);
	assert_int_equal(unlink(scratch_path(b->s, "new.bin")), 0);
	assert_int_equal(plan_cuts_make(&plan, b->board, b->item, options, 1, &e), -ERR_IO);
	assert_non_null(strstr(e.msg, "new.bin"));
	assert_null(plan);
	json_decref(options);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(without_a_trace_the_plan_says_that_it_is_missing),
		TEST(a_plan_is_of_the_trace_that_was_remembered),
		TEST(all_cuts_are_all_there_are),
		TEST(cuts_asked_for_are_the_only_ones),
		TEST(lines_of_progress_are_cut_clean_and_once),
		TEST(a_trigger_that_counts_something_else_makes_the_trace_void),
		TEST(an_image_that_changes_makes_the_trace_void),
		TEST(a_boards_own_images_count_instead_of_the_releases),
		TEST(a_board_that_is_traced_another_way_has_another_trace),
		TEST(images_that_cannot_be_read_are_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
