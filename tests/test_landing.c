#include "rig/err.h"
#include "rig/landing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- the log --------------------------------------------------------------------------------- */

static int parse(struct oplog *log, const char *text, struct err *e)
{
	e->msg[0] = '\0';
	return oplog_parse(log, "t", text, strlen(text), e);
}

static void reads_the_trace_of_the_protocol(void **state)
{
	struct oplog log;
	struct err e;

	(void)state;
	assert_int_equal(
		parse(&log, "1 erase 0xC000 4096\n2 program 0x0000c000 0xDEADbeef\n", &e), 0);
	assert_int_equal(log.count, 2);
	assert_int_equal(log.ops[0].kind, OPLOG_ERASE);
	assert_int_equal(log.ops[0].address, 0xc000);
	assert_int_equal(log.ops[0].size, 4096);
	assert_int_equal(log.ops[1].kind, OPLOG_PROGRAM);
	assert_int_equal(log.ops[1].address, 0xc000);
	assert_int_equal(log.ops[1].value, 0xdeadbeef);
	assert_int_equal(log.ops[1].size, 4);
	oplog_finish(&log);
	assert_int_equal(parse(&log, "", &e), 0);
	assert_int_equal(log.count, 0);
}

static void refuses_what_is_no_trace(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"1 erase 0x0 64", "t:1: the line is not ended: the trace is truncated"},
		{"1 erase 0x0 64\n3 erase 0x0 64\n",
			"t:2: before column 2: expected the next operation's number and a space"},
		{"0 erase 0x0 64\n",
			"t:1: before column 2: expected the next operation's number and a space"},
		{"\n", "t:1: before column 1: expected the next operation's number and a space"},
		{"1 write 0x0 64\n",
			"t:1: before column 3: expected \"erase\", \"program\", \"line\", \"edge\", "
			"\"breakpoint\" or \"time\""},
		{"1 erase 0 64\n",
			"t:1: before column 9: expected a space and an address as 0x… of 32 bits"},
		{"1 erase 0x100000000 64\n",
			"t:1: before column 19: expected a space and an address as 0x… of 32 bits"},
		{"1 erase 0x0 0x40\n", "t:1: before column 14: expected a size in bytes"},
		{"1 erase 0x0 64 \n",
			"t:1: before column 16: expected a space and the number of resets, or "
			"nothing more"},
		{"1 erase 0x0 64\r\n",
			"t:1: before column 15: expected a space and the number of resets, or "
			"nothing more"},
		{"1 erase 0x0 \n", "t:1: before column 13: expected a size in bytes"},
		{"1 program 0x0 12\n", "t:1: before column 15: expected a value as 0x… of 32 bits"},
		{"1 program 0x0 0x\n", "t:1: before column 17: expected a value as 0x… of 32 bits"},
		{"1 program 0xffffffff 0x0\n",
			"t:1: before column 25: expected an operation that ends within 32 bits of "
			"address"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct oplog log;
		struct err e;

		assert_int_equal(parse(&log, cases[i].text, &e), -ERR_PROTOCOL);
		assert_string_equal(e.msg, cases[i].message);
		assert_null(log.ops);
	}
}

/* --- a flash in small, and random logs for it ------------------------------------------------ */

#define BASE 0x1000
#define SIZE 256
#define PAGE 32
#define OPS 60

static uint64_t rng = 1;

static uint32_t next_random(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)(rng >> 16);
}

/* Few pages and few values, so that states repeat and operations change nothing now and then. */
static struct oplog random_log(void)
{
	static const uint32_t values[] = {0xffffffff, 0x00000000, 0xffff0000, 0x5aa5f00f};
	struct oplog log = {.ops = calloc(OPS, sizeof(*log.ops)), .count = OPS};

	assert_non_null(log.ops);
	for (size_t i = 0; i < OPS; i++) {
		uint32_t r = next_random();

		if (r % 4 == 0)
			log.ops[i] = (struct oplog_op){.kind = OPLOG_ERASE,
				.address = BASE + PAGE * (r / 4 % (SIZE / PAGE)),
				.size = PAGE};
		else
			log.ops[i] = (struct oplog_op){.kind = OPLOG_PROGRAM,
				.address = BASE + 4 * (r / 4 % (SIZE / 4)),
				.value = r % 8 < 4 ? values[r / 8 % 4] : next_random(),
				.size = 4};
	}
	return log;
}

/* The state after the first done operations, worked out without the module under test. */
static void state_after(uint8_t *state, const uint8_t *before, const struct oplog *log, size_t done)
{
	memcpy(state, before, SIZE);
	for (size_t i = 0; i < done; i++) {
		const struct oplog_op *op = &log->ops[i];
		uint8_t *at = state + (op->address - BASE);

		if (op->kind == OPLOG_ERASE) {
			memset(at, 0xff, op->size);
		} else {
			at[0] &= (uint8_t)op->value;
			at[1] &= (uint8_t)(op->value >> 8);
			at[2] &= (uint8_t)(op->value >> 16);
			at[3] &= (uint8_t)(op->value >> 24);
		}
	}
}

static bool found(const struct landing *landing, uint32_t done, bool torn)
{
	for (size_t i = 0; i < landing->count; i++)
		if (landing->ranges[i].torn == torn && landing->ranges[i].first <= done &&
			done <= landing->ranges[i].last)
			return true;
	return false;
}

static void fill(uint8_t *bytes)
{
	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = next_random() % 3 == 0 ? 0xff : (uint8_t)next_random();
}

static void finds_exactly_the_prefixes_that_give_the_flash(void **state)
{
	uint8_t before[SIZE], after[SIZE], other[SIZE];

	(void)state;
	for (unsigned round = 0; round < 50; round++) {
		struct oplog log = random_log();
		struct landing_flash flash = {
			.base = BASE, .size = SIZE, .before = before, .after = after};

		fill(before);
		for (size_t done = 0; done <= OPS; done++) {
			struct landing landing;
			struct err e;

			state_after(after, before, &log, done);
			assert_int_equal(landing_find(&landing, &flash, &log, &e), 0);
			for (size_t k = 0; k <= OPS; k++) {
				state_after(other, before, &log, k);
				assert_int_equal(found(&landing, (uint32_t)k, false),
					memcmp(other, after, SIZE) == 0);
			}
			landing_finish(&landing);
		}
		oplog_finish(&log);
	}
}

/* Does part of the operation, chosen by chance; true when some of it shows and some is missing. */
static bool tear(uint8_t *state, const struct oplog_op *op)
{
	uint8_t *at = state + (op->address - BASE);
	bool some = false, missing = false;

	for (size_t i = 0; i < op->size; i++) {
		uint8_t whole =
			op->kind == OPLOG_ERASE ? 0xff : at[i] & (uint8_t)(op->value >> 8 * i);
		uint8_t flips = (uint8_t)(at[i] ^ whole), now = flips & (uint8_t)next_random();

		some = some || now;
		missing = missing || now != flips;
		at[i] ^= now;
	}
	return some && missing;
}

static void finds_every_torn_operation(void **state)
{
	uint8_t before[SIZE], after[SIZE];
	size_t tears = 0;

	(void)state;
	for (unsigned round = 0; round < 50; round++) {
		struct oplog log = random_log();
		struct landing_flash flash = {
			.base = BASE, .size = SIZE, .before = before, .after = after};

		fill(before);
		for (size_t done = 0; done < OPS; done++) {
			struct landing landing;
			struct err e;

			state_after(after, before, &log, done);
			if (!tear(after, &log.ops[done]))
				continue;
			tears++;
			assert_int_equal(landing_find(&landing, &flash, &log, &e), 0);
			assert_true(found(&landing, (uint32_t)done, true));
			landing_finish(&landing);
		}
		oplog_finish(&log);
	}
	assert_true(tears > 500);
}

static void a_bit_flipped_elsewhere_is_no_state_of_the_log(void **state)
{
	uint8_t before[SIZE], after[SIZE];
	struct oplog log = {.count = 0};
	struct landing_flash flash = {.base = BASE, .size = SIZE, .before = before, .after = after};
	struct landing landing;
	struct err e;

	(void)state;
	assert_int_equal(parse(&log,
				 "1 erase 0x1000 32\n2 program 0x1000 0x12345678\n"
				 "3 program 0x1004 0x0\n",
				 &e),
		0);
	memset(before, 0x5a, SIZE);
	state_after(after, before, &log, 2);
	after[200] ^= 1;
	assert_int_equal(landing_find(&landing, &flash, &log, &e), 0);
	assert_int_equal(landing.count, 0);
	assert_int_equal(landing.nearest_done, 2);
	assert_int_equal(landing.nearest_bytes, 1);
	assert_int_equal(landing.nearest_address, BASE + 200);
	landing_finish(&landing);
	oplog_finish(&log);
}

static void a_bit_that_the_program_does_not_clear_is_no_tear(void **state)
{
	uint8_t before[SIZE], after[SIZE];
	struct oplog log;
	struct landing_flash flash = {.base = BASE, .size = SIZE, .before = before, .after = after};
	struct landing landing;
	struct err e;

	(void)state;
	assert_int_equal(parse(&log, "1 program 0x1000 0xffffff0f\n", &e), 0);
	memset(before, 0xff, SIZE);
	memset(after, 0xff, SIZE);
	after[0] = 0xfe;
	assert_int_equal(landing_find(&landing, &flash, &log, &e), 0);
	assert_int_equal(landing.count, 0);
	landing_finish(&landing);
	after[0] = 0x7f;
	assert_int_equal(landing_find(&landing, &flash, &log, &e), 0);
	assert_int_equal(landing.count, 1);
	assert_true(landing.ranges[0].torn);
	landing_finish(&landing);
	oplog_finish(&log);
}

static void operations_that_change_nothing_widen_the_range(void **state)
{
	uint8_t before[SIZE], after[SIZE];
	struct oplog log;
	struct landing_flash flash = {.base = BASE, .size = SIZE, .before = before, .after = after};
	struct landing landing;
	struct err e;

	(void)state;
	assert_int_equal(parse(&log,
				 "1 program 0x1000 0x0\n2 program 0x1000 0x1\n"
				 "3 erase 0x1020 32\n4 program 0x9000 0x0\n5 program 0x1004 0x0\n",
				 &e),
		0);
	memset(before, 0xff, SIZE);
	state_after(after, before, &log, 1);
	assert_int_equal(landing_find(&landing, &flash, &log, &e), 0);
	assert_int_equal(landing.count, 1);
	assert_int_equal(landing.ranges[0].first, 1);
	assert_int_equal(landing.ranges[0].last, 4); /* 0x9000 is not in the flash that was read */
	landing_finish(&landing);
	oplog_finish(&log);
}

/* --- what is said of it ---------------------------------------------------------------------- */

static struct landing_check compare(
	const char *requested, const char *board, struct landing_range range, size_t operations)
{
	struct landing landing = {.ranges = &range, .count = 1};
	struct landing_check check;
	struct cuts want, said;
	struct err e;

	assert_int_equal(cuts_parse(&want, requested, &e), 0);
	if (board)
		assert_int_equal(cuts_parse(&said, board, &e), 0);
	landing_compare(&check, &want.list[0], &landing, board ? &said.list[0] : NULL, operations);
	return check;
}

#define RANGE(f, l, t) ((struct landing_range){.first = (f), .last = (l), .torn = (t)})

static void a_cut_that_landed_as_asked_agrees(void **state)
{
	struct landing_check check;
	char text[CUT_TEXT_MAX];

	(void)state;
	check = compare("57", "57", RANGE(56, 56, false), 100);
	assert_int_equal(check.agreement, LANDING_AGREES);
	assert_true(check.as_requested);
	assert_int_equal(check.done, 56);
	assert_int_equal(check.skew, 0);
	assert_string_equal(check.text,
		"requested 57; flash shows 56 operations done; the board says 57: agrees");

	check = compare("57:torn:7", "57:torn:7", RANGE(56, 56, true), 100);
	assert_int_equal(check.agreement, LANDING_AGREES);
	assert_true(check.as_requested);
	assert_true(check.torn);
	assert_string_equal(cut_format(&check.landed, text), "57:torn:7");

	check = compare("end", "end", RANGE(100, 100, false), 100);
	assert_int_equal(check.agreement, LANDING_AGREES);
	assert_true(check.as_requested);

	check = compare("57", "57", RANGE(50, 60, false), 100);
	assert_int_equal(check.agreement, LANDING_AGREES);
	assert_true(check.as_requested);
	assert_int_equal(check.done, 56);
}

static void a_flash_that_shows_another_place_than_the_board_says_is_skewed(void **state)
{
	struct landing_check check;
	char text[CUT_TEXT_MAX];

	(void)state;
	check = compare("57", "57", RANGE(57, 57, false), 100);
	assert_int_equal(check.agreement, LANDING_SKEWED);
	assert_int_equal(check.skew, 1);
	assert_false(check.as_requested);
	assert_string_equal(cut_format(&check.landed, text), "58");
	assert_string_equal(check.text,
		"requested 57; flash shows 57 operations done; the board says 57: skewed");

	check = compare("57", "57", RANGE(53, 54, false), 100);
	assert_int_equal(check.agreement, LANDING_SKEWED);
	assert_int_equal(check.skew, -2);
	assert_int_equal(check.done, 54);

	/* said to be clean, and half an operation is there */
	check = compare("57", "57", RANGE(56, 56, true), 100);
	assert_int_equal(check.agreement, LANDING_SKEWED);

	check = compare("57", "57", RANGE(100, 100, false), 100);
	assert_string_equal(cut_format(&check.landed, text), "end");
}

static void a_tear_that_shows_nothing_is_reported_as_the_clean_cut_it_is(void **state)
{
	struct landing_check check;
	char text[CUT_TEXT_MAX];

	(void)state;
	check = compare("57:torn:7", "57:torn:7", RANGE(56, 56, false), 100);
	assert_int_equal(check.agreement, LANDING_AGREES);
	assert_false(check.as_requested);
	assert_string_equal(cut_format(&check.landed, text), "57");

	check = compare("57:torn:7", "57:torn:7", RANGE(57, 57, false), 100);
	assert_int_equal(check.agreement, LANDING_AGREES);
	assert_string_equal(cut_format(&check.landed, text), "58");

	check = compare("57:torn:7", "57:torn:7", RANGE(58, 58, false), 100);
	assert_int_equal(check.agreement, LANDING_SKEWED);
	assert_int_equal(check.skew, 1);
}

static void without_a_counter_of_the_board_a_miss_is_only_said(void **state)
{
	struct landing_check check = compare("57", NULL, RANGE(60, 60, false), 100);

	(void)state;
	assert_int_equal(check.agreement, LANDING_AGREES);
	assert_false(check.as_requested);
	assert_int_equal(check.landed.op, 61);
	assert_string_equal(
		check.text, "requested 57; flash shows 60 operations done; the board cannot tell");
}

static void the_board_may_say_that_it_landed_elsewhere_than_asked(void **state)
{
	struct landing_check check = compare("57", "60", RANGE(59, 59, false), 100);

	(void)state;
	assert_int_equal(check.agreement, LANDING_AGREES);
	assert_false(check.as_requested);
	assert_int_equal(check.landed.op, 60);
}

static void of_several_places_the_one_that_was_meant_is_taken(void **state)
{
	struct landing_range ranges[] = {
		RANGE(3, 4, false), RANGE(8, 8, true), RANGE(20, 30, false)};
	struct landing landing = {.ranges = ranges, .count = 3};
	struct cut requested = {.op = 26};
	struct landing_check check;

	(void)state;
	landing_compare(&check, &requested, &landing, &requested, 40);
	assert_int_equal(check.agreement, LANDING_AGREES);
	assert_int_equal(check.done, 25);
	requested = (struct cut){.op = 9, .tear = TEAR_TORN, .seed = 2};
	landing_compare(&check, &requested, &landing, &requested, 40);
	assert_int_equal(check.agreement, LANDING_AGREES);
	assert_true(check.as_requested);
	requested.op = 15;
	landing_compare(&check, &requested, &landing, &requested, 40);
	assert_int_equal(check.agreement, LANDING_SKEWED);
	assert_int_equal(check.skew, 5);
}

static void a_flash_that_shows_no_state_is_unknown(void **state)
{
	struct landing landing = {
		.nearest_done = 56, .nearest_bytes = 3, .nearest_address = 0xc010};
	struct cut requested = {.op = 57};
	struct landing_check check;
	json_t *json, *expected;

	(void)state;
	landing_compare(&check, &requested, &landing, &requested, 100);
	assert_int_equal(check.agreement, LANDING_UNKNOWN);
	assert_false(check.as_requested);
	assert_string_equal(check.text,
		"requested 57; flash shows no state of the log (3 bytes from operation 56 on, "
		"first at 0x0000c010); the board says 57: unknown");
	json = landing_check_to_json(&check);
	expected = json_pack("{s:s, s:i, s:n, s:b, s:n, s:b, s:s}", "agreement", "unknown", "skew",
		0, "done", "torn", 0, "cut", "as_requested", 0, "text", check.text);
	assert_true(json_equal(json, expected));
	json_decref(json);
	json_decref(expected);
}

static void becomes_json(void **state)
{
	struct landing_check check = compare("57", "57", RANGE(57, 57, false), 100);
	json_t *json = landing_check_to_json(&check), *expected;

	(void)state;
	expected = json_pack("{s:s, s:i, s:i, s:b, s:s, s:b, s:s}", "agreement", "skewed", "skew",
		1, "done", 57, "torn", 0, "cut", "58", "as_requested", 0, "text", check.text);
	assert_true(json_equal(json, expected));
	json_decref(json);
	json_decref(expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_trace_of_the_protocol),
		cmocka_unit_test(refuses_what_is_no_trace),
		cmocka_unit_test(finds_exactly_the_prefixes_that_give_the_flash),
		cmocka_unit_test(finds_every_torn_operation),
		cmocka_unit_test(a_bit_flipped_elsewhere_is_no_state_of_the_log),
		cmocka_unit_test(a_bit_that_the_program_does_not_clear_is_no_tear),
		cmocka_unit_test(operations_that_change_nothing_widen_the_range),
		cmocka_unit_test(a_cut_that_landed_as_asked_agrees),
		cmocka_unit_test(a_flash_that_shows_another_place_than_the_board_says_is_skewed),
		cmocka_unit_test(a_tear_that_shows_nothing_is_reported_as_the_clean_cut_it_is),
		cmocka_unit_test(without_a_counter_of_the_board_a_miss_is_only_said),
		cmocka_unit_test(the_board_may_say_that_it_landed_elsewhere_than_asked),
		cmocka_unit_test(of_several_places_the_one_that_was_meant_is_taken),
		cmocka_unit_test(a_flash_that_shows_no_state_is_unknown),
		cmocka_unit_test(becomes_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
