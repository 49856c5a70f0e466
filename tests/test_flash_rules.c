#include "rig/cuts.h"
#include "rig/err.h"
#include "rig/flash_rules.h"
#include "rig/judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BASE 0x1000
#define SIZE 0x100

/* Flash to begin with: erased, but for what a test puts in. */
struct bench {
	uint8_t flash[SIZE];
	struct flash_rules rules;
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	memset(b->flash, 0xff, SIZE);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static int check_in(struct bench *b, const char *log, const struct cut_region *permitted, size_t n)
{
	struct oplog ops;
	struct err e;
	int code;

	if (oplog_parse(&ops, "log", log, strlen(log), &e) != 0)
		fail_msg("%s", e.msg);
	code = flash_rules_check(
		&b->rules, b->flash, SIZE, BASE, ops.ops, ops.count, 1, permitted, n);
	oplog_finish(&ops);
	return code;
}

static int check(struct bench *b, const char *log)
{
	return check_in(b, log, NULL, 0);
}

static void assert_word(const struct bench *b, uint32_t address, uint32_t value)
{
	const uint8_t *at = b->flash + (address - BASE);

	assert_int_equal((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
				 (uint32_t)at[3] << 24,
		value);
}

static void an_erase_and_programs_keep_the_rules_and_leave_flash_as_the_device_would(void **state)
{
	struct bench *b = *state;

	memset(b->flash, 0x5a, SIZE);
	assert_int_equal(check(b, "1 erase 0x1000 64\n"
				  "2 program 0x1000 0x12345678\n"
				  "3 program 0x1004 0xffffffff\n"),
		0);
	assert_int_equal(b->rules.checked, 3);
	assert_int_equal(b->rules.outside_total, 0);
	assert_int_equal(b->rules.unerased_total, 0);
	assert_word(b, 0x1000, 0x12345678);
	assert_word(b, 0x1004, 0xffffffff);
	assert_int_equal(b->flash[63], 0xff);
	assert_int_equal(b->flash[64], 0x5a);
}

static void what_only_clears_bits_needs_no_erase(void **state)
{
	assert_int_equal(check(*state, "1 program 0x1010 0xff00ff0f\n"
				       "2 program 0x1010 0xff00ff0f\n"   /* the same again */
				       "3 program 0x1010 0x0f00ff0f\n"   /* more bits cleared */
				       "4 program 0x1010 0x00000000\n"   /* all */
				       "5 program 0x1010 0x00000000\n"), /* and again */
		0);
}

static void a_bit_that_would_have_to_rise_is_programmed_unerased(void **state)
{
	struct bench *b = *state;

	assert_int_equal(check(b, "1 program 0x1010 0xfffffffe\n"
				  "2 program 0x1014 0x00000000\n"
				  "3 program 0x1010 0x0000ffff\n"),
		1);
	assert_int_equal(b->rules.unerased_total, 1);
	assert_int_equal(b->rules.unerased[0].op, 3);
	assert_int_equal(b->rules.unerased[0].address, 0x1010);
	/* what flash makes of it: the AND of both */
	assert_word(b, 0x1010, 0x0000fffe);
	/* after an erase it is free again */
	assert_int_equal(check(b, "1 erase 0x1000 256\n2 program 0x1010 0x0000ffff\n"), 0);
	assert_int_equal(b->rules.unerased_total, 1);
	assert_int_equal(b->rules.checked, 5);
}

static void a_word_that_a_cut_tore_may_be_written_again(void **state)
{
	struct bench *b = *state;

	/* of 0x5a000007 only some bits had fallen */
	memcpy(b->flash + 0x20, "\x17\x0f\x00\xfa", 4);
	assert_int_equal(check(b, "1 program 0x1020 0x5a000007\n"), 0);
	assert_word(b, 0x1020, 0x5a000007);
	/* an erase that was torn leaves zeros: without another one that is no erased page */
	memset(b->flash, 0xff, SIZE);
	b->flash[0x32] = 0xef;
	assert_int_equal(check(b, "1 program 0x1030 0x5a100008\n"), 1);
}

static void what_is_not_wholly_within_the_permitted_regions_is_outside(void **state)
{
	static const struct cut_region permitted[] = {
		{"a", 0x1040, 0x40}, {"b", 0x1080, 0x20}, {"c", 0xfffffff0, 0x10}};
	static const struct {
		const char *log;
		uint32_t address; /* the first byte outside; 0: it is within */
	} cases[] = {
		{"1 program 0x1040 0x0\n", 0},
		{"1 program 0x103e 0x0\n", 0x103e},
		{"1 program 0x103c 0x0\n", 0x103c},
		/* over two regions that adjoin */
		{"1 program 0x107e 0x0\n", 0},
		{"1 erase 0x1040 96\n", 0},
		{"1 erase 0x1040 97\n", 0x10a0},
		{"1 erase 0x1020 64\n", 0x1020},
		{"1 program 0x109e 0x0\n", 0x10a0},
		/* beyond the flash at hand, and at the very end of addresses */
		{"1 program 0x10001208 0x0\n", 0x10001208},
		{"1 program 0xfffffffc 0x0\n", 0},
		{"1 program 0xffffffee 0x0\n", 0xffffffee},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct bench *b = *state;
		bool outside = cases[i].address != 0;

		memset(&b->rules, 0, sizeof(b->rules));
		memset(b->flash, 0xff, SIZE);
		if (check_in(b, cases[i].log, permitted, 3) != outside)
			fail_msg("%s is %s", cases[i].log, outside ? "within" : "outside");
		assert_int_equal(b->rules.outside_total, outside);
		if (outside)
			assert_int_equal(b->rules.outside[0].address, cases[i].address);
	}
}

static void without_permitted_regions_all_of_it_is_permitted(void **state)
{
	struct bench *b = *state;

	assert_int_equal(
		check(b, "1 erase 0x0 4096\n2 program 0x10001208 0x0\n3 program 0x1000 0x0\n"), 0);
	assert_int_equal(b->rules.checked, 3);
}

static void memory_that_was_not_read_is_not_judged_for_its_erases(void **state)
{
	struct bench *b = *state;

	memset(b->flash, 0, SIZE);
	assert_int_equal(check(b, "1 program 0x2000 0xffffffff\n2 program 0x0 0xffffffff\n"), 0);
	/* of a word over the edge, what is known of it */
	assert_int_equal(check(b, "1 program 0x10fe 0xffff0000\n2 program 0xffe 0x0000ffff\n"), 0);
	assert_int_equal(check(b, "1 program 0x10fe 0x0000ffff\n2 program 0xffe 0xffff0000\n"), 1);
	assert_int_equal(b->rules.unerased_total, 2);
	assert_int_equal(check(b, "1 erase 0xf00 4096\n"), 0);
	for (size_t i = 0; i < SIZE; i++)
		assert_int_equal(b->flash[i], 0xff);
}

static void an_operation_outside_is_done_and_said_once(void **state)
{
	static const struct cut_region permitted[] = {{"a", 0x1040, 0x40}};
	struct bench *b = *state;

	memset(b->flash, 0, SIZE);
	assert_int_equal(
		check_in(b, "1 program 0x1000 0xffffffff\n2 erase 0x1000 64\n", permitted, 1), 1);
	assert_int_equal(b->rules.outside_total, 2);
	assert_int_equal(b->rules.unerased_total, 0);
	assert_word(b, 0x1000, 0xffffffff);
	assert_int_equal(b->rules.outside[0].kind, OPLOG_PROGRAM);
	assert_int_equal(b->rules.outside[1].kind, OPLOG_ERASE);
}

static void operations_are_numbered_from_first_on_and_stretches_add_up(void **state)
{
	struct bench *b = *state;
	const struct oplog_op ops[] = {{.kind = OPLOG_PROGRAM, .address = BASE, .size = 4},
		{.kind = OPLOG_PROGRAM, .address = BASE, .value = 1, .size = 4}};

	assert_int_equal(
		flash_rules_check(&b->rules, b->flash, SIZE, BASE, ops, 2, 901, NULL, 0), 1);
	/* the cut set the word back: read anew, the same operation is legal */
	memset(b->flash, 0xff, 4);
	assert_int_equal(
		flash_rules_check(&b->rules, b->flash, SIZE, BASE, ops + 1, 1, 902, NULL, 0), 0);
	assert_int_equal(b->rules.checked, 3);
	assert_int_equal(b->rules.unerased_total, 1);
	assert_int_equal(b->rules.unerased[0].op, 902);
}

static void no_operations_and_no_flash_do_no_harm(void **state)
{
	struct bench *b = *state;
	const struct oplog_op op = {.kind = OPLOG_ERASE, .address = 0, .size = 4096};

	assert_int_equal(
		flash_rules_check(&b->rules, b->flash, SIZE, BASE, NULL, 0, 1, NULL, 0), 0);
	assert_int_equal(b->rules.checked, 0);
	assert_int_equal(flash_rules_check(&b->rules, NULL, 0, 0, &op, 1, 1, NULL, 0), 0);
	assert_int_equal(b->rules.checked, 1);
}

static void operations_that_a_board_cannot_tell_are_passed_over(void **state)
{
	static const struct cut_region permitted[] = {{"a", 0x1040, 0x40}};
	struct bench *b = *state;
	const struct oplog_op op = {.kind = (enum oplog_kind)(OPLOG_PROGRAM + 1)};

	assert_int_equal(
		flash_rules_check(&b->rules, b->flash, SIZE, BASE, &op, 1, 1, permitted, 1), 0);
	assert_int_equal(b->rules.checked, 0);
}

static void the_json_lists_the_first_eight_and_counts_all(void **state)
{
	static const struct cut_region permitted[] = {{"a", 0x1040, 0x40}};
	struct bench *b = *state;
	json_t *json;

	assert_int_equal(check_in(b, "1 erase 0x1000 4\n", permitted, 1), 1);
	assert_int_equal(check_in(b, "1 program 0x1040 0x0\n", permitted, 1), 0);
	for (size_t i = 0; i < 9; i++)
		assert_int_equal(check_in(b, "1 program 0x1040 0x1\n", permitted, 1), 1);
	json = flash_rules_to_json(&b->rules);
	assert_non_null(json);
	assert_int_equal(json_array_size(json_object_get(json, "outside")), 1);
	assert_int_equal(json_array_size(json_object_get(json, "unerased")), 8);
	assert_int_equal(json_integer_value(json_object_get(json, "outside_total")), 1);
	assert_int_equal(json_integer_value(json_object_get(json, "unerased_total")), 9);
	assert_int_equal(json_integer_value(json_object_get(json, "checked")), 11);
	json_decref(json);
}

static void the_judge_takes_the_json_as_it_is(void **state)
{
	static const struct cut_region permitted[] = {{"a", 0x1040, 0x40}};
	struct bench *b = *state;
	json_t *observations, *findings, *finding;
	size_t i, seen = 0;

	check_in(b, "1 program 0x1040 0x0\n2 erase 0x1000 64\n", permitted, 1);
	observations = json_pack("{s:s, s:s, s:s, s:[{s:b, s:s}], s:o}", "from", "1.0.0", "to",
		"2.0.0", "expect", "upgrade", "boots", "ready", 1, "version", "2.0.0", "writes",
		flash_rules_to_json(&b->rules));
	findings = judge(observations);
	assert_int_equal(judge_verdict(findings), VERDICT_FAIL);
	json_array_foreach (findings, i, finding) {
		const char *name = json_string_value(json_object_get(finding, "name"));
		const char *text = json_string_value(json_object_get(finding, "seen"));

		if (strcmp(name, "wrote-outside") == 0) {
			assert_string_equal(text, "operation 2: erase at 0x00001000");
			seen++;
		}
		if (strcmp(name, "programmed-unerased") == 0) {
			assert_true(json_is_true(json_object_get(finding, "ok")));
			seen++;
		}
	}
	assert_int_equal(seen, 2);
	json_decref(findings);
	json_decref(observations);
}

#define claim(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		claim(an_erase_and_programs_keep_the_rules_and_leave_flash_as_the_device_would),
		claim(what_only_clears_bits_needs_no_erase),
		claim(a_bit_that_would_have_to_rise_is_programmed_unerased),
		claim(a_word_that_a_cut_tore_may_be_written_again),
		claim(what_is_not_wholly_within_the_permitted_regions_is_outside),
		claim(without_permitted_regions_all_of_it_is_permitted),
		claim(memory_that_was_not_read_is_not_judged_for_its_erases),
		claim(an_operation_outside_is_done_and_said_once),
		claim(operations_are_numbered_from_first_on_and_stretches_add_up),
		claim(no_operations_and_no_flash_do_no_harm),
		claim(operations_that_a_board_cannot_tell_are_passed_over),
		claim(the_json_lists_the_first_eight_and_counts_all),
		claim(the_judge_takes_the_json_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
