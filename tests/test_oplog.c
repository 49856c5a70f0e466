#include "rig/err.h"
#include "rig/oplog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct err err;

static struct oplog parsed(const char *text)
{
	struct oplog log;

	err.msg[0] = '\0';
	if (oplog_parse(&log, "t", text, strlen(text), &err) != 0)
		fail_msg("%s", err.msg);
	return log;
}

static void an_operation_without_a_boot_is_of_boot_0(void **state)
{
	struct oplog log = parsed("1 erase 0xc000 4096\n2 program 0xc000 0x1 0\n"
				  "3 program 0xc004 0x2 1\n4 erase 0xd000 4096 70000\n");
	static const uint32_t boots[] = {0, 0, 1, 70000};

	(void)state;
	assert_int_equal(log.count, 4);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(log.ops[i].boot, boots[i]);
	assert_int_equal(log.ops[3].size, 4096);
	assert_string_equal(oplog_source(&log), "operations");
	oplog_finish(&log);
}

static void what_is_no_flash_operation_has_no_size(void **state)
{
	static const struct {
		const char *text, *source;
		enum oplog_kind kind;
		uint32_t address, boot; /* of the second */
	} cases[] = {
		{"1 line 10 %\n2 line \n", "lines", OPLOG_LINE, 0, 0},
		{"1 edge\n2 edge 3\n", "edges", OPLOG_EDGE, 0, 3},
		{"1 breakpoint 0x100\n2 breakpoint 0x200 1\n", "breakpoints", OPLOG_BREAKPOINT,
			0x200, 1},
		{"1 time 10000\n2 time 123456789012345 2\n", "time", OPLOG_TIME, 0, 2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct oplog log = parsed(cases[i].text);
		const struct oplog_op *op = &log.ops[1];

		assert_int_equal(log.count, 2);
		assert_int_equal(op->kind, cases[i].kind);
		assert_int_equal(op->address, cases[i].address);
		assert_int_equal(op->boot, cases[i].boot);
		assert_int_equal(op->size, 0);
		assert_false(oplog_kind_is_flash(op->kind));
		assert_string_equal(oplog_source(&log), cases[i].source);
		oplog_finish(&log);
	}
}

static void a_log_may_begin_at_a_number_that_its_caller_knows(void **state)
{
	static const char text[] = "40 program 0x0 0x1 1\n41 program 0x4 0x1 1\n";
	struct oplog log;

	(void)state;
	assert_int_equal(oplog_parse_from(&log, "t", text, strlen(text), 40, &err), 0);
	assert_int_equal(log.count, 2);
	assert_int_equal(log.ops[1].address, 4);
	oplog_finish(&log);
	assert_int_equal(oplog_parse_from(&log, "t", text, strlen(text), 39, &err), -ERR_PROTOCOL);
	assert_int_equal(oplog_parse(&log, "t", text, strlen(text), &err), -ERR_PROTOCOL);
	assert_int_equal(oplog_parse_from(&log, "t", "", 0, 40, &err), 0);
	assert_int_equal(log.count, 0);
	assert_int_equal(oplog_load_from(&log, "/nowhere/at/all", 40, &err), -ERR_IO);
}

static void refuses_what_the_format_does_not_have(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"1 erase 0x0 64 1\n2 erase 0x0 64\n",
			"t:2: before column 15: expected no fewer resets than before"},
		{"1 erase 0x0 64 4294967296\n", "t:1: before column 25: expected a space and the "
						"number of resets, or nothing more"},
		{"1 erase 0x0 64 1 2\n", "t:1: before column 17: expected nothing more"},
		{"1 edge\n2 erase 0x0 64\n", "t:2: before column 8: expected flash operations "
					     "alone, or operations of one other kind"},
		{"1 line a\n2 edge\n", "t:2: before column 7: expected flash operations alone, or "
				       "operations of one other kind"},
		{"1 line\n", "t:1: before column 7: expected a space and the line's text"},
		{"1 edges\n", "t:1: before column 3: expected \"erase\", \"program\", \"line\", "
			      "\"edge\", \"breakpoint\" or \"time\""},
		{"1 time\n", "t:1: before column 7: expected a space and microseconds"},
		{"1 time 0x1\n",
			"t:1: before column 9: expected a space and the number of resets, or nothing more"},
		{"1 breakpoint\n", "t:1: before column 13: expected a space and an address as "
				   "0x… of 32 bits"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct oplog log;
		size_t len = strlen(cases[i].text);

		assert_int_equal(oplog_parse(&log, "t", cases[i].text, len, &err), -ERR_PROTOCOL);
		assert_string_equal(err.msg, cases[i].message);
		assert_null(log.ops);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_operation_without_a_boot_is_of_boot_0),
		cmocka_unit_test(what_is_no_flash_operation_has_no_size),
		cmocka_unit_test(a_log_may_begin_at_a_number_that_its_caller_knows),
		cmocka_unit_test(refuses_what_the_format_does_not_have),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
