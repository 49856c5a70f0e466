#include "rig/classes.h"

#include "tests/campaign_logs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct op_class *of(const struct classes *classes, uint32_t op)
{
	return &classes->list[classes->of[op - 1]];
}

static const struct op_class *find(const struct classes *classes, const char *name)
{
	for (size_t i = 0; i < classes->count; i++)
		if (strcmp(classes->list[i].name, name) == 0)
			return &classes->list[i];
	fail_msg("no class \"%s\"", name);
	return NULL;
}

static void every_operation_is_in_one_class_and_in_its_ranges(void **state)
{
	struct oplog log = log_update(7, 500);
	struct classes classes = log_classes(&log);
	size_t sum = 0;

	(void)state;
	assert_int_equal(classes.operations, log.count);
	for (size_t i = 0; i < classes.count; i++) {
		const struct op_class *class = &classes.list[i];
		size_t in_ranges = 0;

		for (size_t k = 0; k < class->range_count; k++) {
			assert_true(!k || class->ranges[k].first > class->ranges[k - 1].last + 1);
			for (uint32_t op = class->ranges[k].first; op <= class->ranges[k].last;
				op++, in_ranges++)
				assert_ptr_equal(of(&classes, op), class);
		}
		assert_int_equal(in_ranges, class->operations);
		sum += in_ranges;
	}
	assert_int_equal(sum, log.count);
	classes_finish(&classes);
	oplog_finish(&log);
}

static void an_update_by_swap_has_the_classes_one_would_name(void **state)
{
	static const struct {
		const char *name;
		size_t operations;
	} expected[] = {
		{"boot 0 erase secondary metadata", 1},
		{"boot 0 program secondary metadata", 10 + 7 + 1 + 4},
		{"boot 0 erase secondary bulk", 7},
		{"boot 0 program secondary bulk", 3500},
		{"boot 1 erase primary metadata", 1},
		{"boot 1 program primary metadata", 6 + 21 + 2},
		{"boot 1 program secondary metadata", 1 + 4},
		{"boot 1 erase scratch bulk", 7},
		{"boot 1 program scratch bulk", 3500},
		{"boot 1 erase primary bulk", 7},
		{"boot 1 program primary bulk", 3500},
		{"boot 1 erase secondary bulk", 7},
		{"boot 1 program secondary bulk", 3500},
		{"boot 1 erase secondary metadata", 1},
	};
	struct oplog log = log_update(7, 500);
	struct classes classes = log_classes(&log);

	(void)state;
	assert_string_equal(classes.source, "operations");
	assert_int_equal(classes.count, sizeof(expected) / sizeof(*expected));
	for (size_t i = 0; i < classes.count; i++) {
		assert_string_equal(classes.list[i].name, expected[i].name);
		assert_int_equal(classes.list[i].operations, expected[i].operations);
	}
	classes_finish(&classes);
	oplog_finish(&log);
}

static void a_stretch_of_16_is_metadata_and_one_of_17_is_not(void **state)
{
	struct oplog log = {0};
	struct classes classes;

	(void)state;
	log_words(&log, LOG_SETTINGS, 16, 0);
	log_words(&log, LOG_SETTINGS + LOG_PAGE, 17, 0);
	classes = log_classes(&log);
	assert_int_equal(find(&classes, "boot 0 program settings metadata")->operations, 16);
	assert_int_equal(find(&classes, "boot 0 program settings bulk")->operations, 17);
	classes_finish(&classes);
	oplog_finish(&log);
}

/* Each of these parts 10 words from 10 others, which would be bulk together. */
static void a_stretch_ends_where_anything_changes(void **state)
{
	enum { PAGE_ENDS, REGION_ENDS, RESET, FALLS, OTHER_KIND, CASES };

	(void)state;
	for (int what = 0; what < CASES; what++) {
		uint32_t at = what == PAGE_ENDS     ? LOG_PRIMARY + LOG_PAGE
			      : what == REGION_ENDS ? LOG_SECONDARY + LOG_SLOT
						    : LOG_PRIMARY + 400;
		struct oplog log = {0};
		struct classes classes;

		log_words(&log, at - 40, 10, 0);
		if (what == OTHER_KIND)
			log_erase(&log, LOG_SETTINGS, 0);
		log_words(&log, what == FALLS ? at - 80 : at, 10, what == RESET);
		classes = log_classes(&log);
		for (size_t i = 0; i < classes.count; i++)
			assert_true(classes.list[i].metadata);
		classes_finish(&classes);
		oplog_finish(&log);
	}
}

static void words_with_holes_between_them_are_one_stretch(void **state)
{
	struct oplog log = {0};
	struct classes classes;

	(void)state;
	for (uint32_t i = 0; i < 20; i++)
		log_words(&log, LOG_SETTINGS + 16 * i, 1, 0);
	classes = log_classes(&log);
	assert_int_equal(find(&classes, "boot 0 program settings bulk")->operations, 20);
	classes_finish(&classes);
	oplog_finish(&log);
}

static void an_erase_is_what_its_page_gets(void **state)
{
	struct oplog log = {0};
	struct classes classes;

	(void)state;
	log_erase(&log, LOG_SETTINGS, 0); /* 1: metadata later, after a reset */
	log_words(&log, LOG_PRIMARY, 100, 0);
	log_erase(&log, LOG_PRIMARY, 0); /* 102: bulk before */
	log_words(&log, LOG_SETTINGS, 3, 1);
	log_erase(&log, LOG_SETTINGS + LOG_PAGE, 1); /* 106: nothing at all: a format given up */
	classes = log_classes(&log);
	assert_true(of(&classes, 1)->metadata);
	assert_false(of(&classes, 102)->metadata);
	assert_true(of(&classes, 106)->metadata);
	classes_finish(&classes);
	oplog_finish(&log);
}

static void erasing_a_whole_slot_is_bulk_but_for_the_page_of_its_trailer(void **state)
{
	struct oplog log = {0};
	struct classes classes;
	uint32_t pages = LOG_SLOT / LOG_PAGE;

	(void)state;
	for (uint32_t i = 0; i < pages; i++)
		log_erase(&log, LOG_SECONDARY + i * LOG_PAGE, 0);
	log_words(&log, LOG_SECONDARY + LOG_SLOT - 16, 4, 0);
	classes = log_classes(&log);
	assert_int_equal(find(&classes, "boot 0 erase secondary bulk")->operations, pages - 1);
	assert_true(of(&classes, pages)->metadata);
	classes_finish(&classes);
	oplog_finish(&log);
}

static void outside_of_all_regions_is_none_and_the_smaller_of_two_regions_counts(void **state)
{
	static const struct cut_region regions[] = {
		{"slot", 0x1000, 0x4000}, {"trailer", 0x4000, 0x1000}, {"twin", 0x4000, 0x1000}};
	struct oplog log = {0};
	struct classes classes;
	struct err e;

	(void)state;
	log_words(&log, 0x1000, 1, 0);
	log_words(&log, 0x4000, 1, 0);
	log_words(&log, 0x5000, 1, 0);
	assert_int_equal(classes_init(&classes, &log, regions, 3, LOG_PAGE, &e), 0);
	assert_string_equal(of(&classes, 1)->region, "slot");
	assert_string_equal(of(&classes, 2)->region, "trailer");
	assert_string_equal(of(&classes, 3)->region, "none");
	classes_finish(&classes);
	oplog_finish(&log);
}

static void what_is_no_flash_operation_is_bulk_and_the_source_says_so(void **state)
{
	static const char text[] = "1 breakpoint 0xc000\n2 breakpoint 0xc004\n3 breakpoint 0x0 1\n";
	struct oplog log;
	struct classes classes;
	struct err e;

	(void)state;
	assert_int_equal(oplog_parse(&log, "t", text, strlen(text), &e), 0);
	assert_int_equal(classes_init(&classes, &log, log_regions, LOG_REGIONS, 0, &e), 0);
	assert_string_equal(classes.source, "breakpoints");
	assert_int_equal(classes.count, 2);
	assert_string_equal(classes.list[0].name, "boot 0 breakpoint primary bulk");
	assert_string_equal(classes.list[1].name, "boot 1 breakpoint bootloader bulk");
	classes_finish(&classes);
	oplog_finish(&log);
}

static void an_empty_log_has_no_classes_and_a_page_has_bytes(void **state)
{
	struct oplog empty = {0}, log = {0};
	struct classes classes;
	struct err e;

	(void)state;
	assert_int_equal(classes_init(&classes, &empty, NULL, 0, 0, &e), 0);
	assert_int_equal(classes.count, 0);
	classes_finish(&classes);
	log_words(&log, 0, 1, 0);
	assert_int_equal(classes_init(&classes, &log, NULL, 0, 0, &e), -ERR_CONFIG);
	oplog_finish(&log);
}

static void as_json_it_is_what_the_journal_holds(void **state)
{
	struct oplog log = {0};
	struct classes classes;
	json_t *json;
	char *text;

	(void)state;
	log_erase(&log, LOG_SETTINGS, 0);
	log_words(&log, LOG_SETTINGS, 1, 0);
	log_erase(&log, LOG_SETTINGS, 0);
	log_words(&log, LOG_SETTINGS + 4, 1, 1);
	classes = log_classes(&log);
	json = classes_to_json(&classes);
	text = json_dumps(json, JSON_SORT_KEYS);
	assert_string_equal(text,
		"[{\"boot\": 0, \"kind\": \"erase\", \"name\": \"boot 0 erase settings metadata\", "
		"\"operations\": 2, \"ranges\": [[1, 1], [3, 3]], \"region\": \"settings\", "
		"\"size\": \"metadata\"}, "
		"{\"boot\": 0, \"kind\": \"program\", \"name\": \"boot 0 program settings "
		"metadata\", \"operations\": 1, \"ranges\": [[2, 2]], \"region\": \"settings\", "
		"\"size\": \"metadata\"}, "
		"{\"boot\": 1, \"kind\": \"program\", \"name\": \"boot 1 program settings "
		"metadata\", \"operations\": 1, \"ranges\": [[4, 4]], \"region\": \"settings\", "
		"\"size\": \"metadata\"}]");
	free(text);
	json_decref(json);
	classes_finish(&classes);
	oplog_finish(&log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_operation_is_in_one_class_and_in_its_ranges),
		cmocka_unit_test(an_update_by_swap_has_the_classes_one_would_name),
		cmocka_unit_test(a_stretch_of_16_is_metadata_and_one_of_17_is_not),
		cmocka_unit_test(a_stretch_ends_where_anything_changes),
		cmocka_unit_test(words_with_holes_between_them_are_one_stretch),
		cmocka_unit_test(an_erase_is_what_its_page_gets),
		cmocka_unit_test(erasing_a_whole_slot_is_bulk_but_for_the_page_of_its_trailer),
		cmocka_unit_test(
			outside_of_all_regions_is_none_and_the_smaller_of_two_regions_counts),
		cmocka_unit_test(what_is_no_flash_operation_is_bulk_and_the_source_says_so),
		cmocka_unit_test(an_empty_log_has_no_classes_and_a_page_has_bytes),
		cmocka_unit_test(as_json_it_is_what_the_journal_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
