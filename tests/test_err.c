#include "rig/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void setting_returns_the_negative_code(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(err_set(&e, ERR_BUSY, "board %s", "b1"), -ERR_BUSY);
	assert_int_equal(e.code, ERR_BUSY);
	assert_string_equal(e.msg, "board b1");
}

static void each_layer_prefixes_what_it_knows(void **state)
{
	struct err e;

	(void)state;
	err_set(&e, ERR_BENCH, "read-back says on");
	assert_int_equal(err_prefix(&e, "set %s", "off"), -ERR_BENCH);
	assert_int_equal(err_prefix(&e, "board %d", 3), -ERR_BENCH);
	assert_string_equal(e.msg, "board 3: set off: read-back says on");
}

static void errno_becomes_text(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(err_errno(&e, ERR_IO, ENOENT, "%s", "/x"), -ERR_IO);
	assert_string_equal(e.msg, "/x: No such file or directory");
}

static void a_message_may_be_made_of_itself(void **state)
{
	struct err e;

	(void)state;
	err_set(&e, ERR_IO, "disk full");
	err_set(&e, ERR_BENCH, "writing: %s, %s", e.msg, e.msg);
	assert_string_equal(e.msg, "writing: disk full, disk full");
	err_prefix(&e, "%s", e.msg);
	assert_string_equal(e.msg, "writing: disk full, disk full: writing: disk full, disk full");
	err_errno(&e, ERR_IO, EIO, "%.7s", e.msg);
	assert_string_equal(e.msg, "writing: Input/output error");
}

static void what_is_too_long_is_cut_short(void **state)
{
	char text[4 * sizeof(((struct err *)0)->msg)];
	struct err e;

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	err_set(&e, ERR_IO, "%s", text);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	err_prefix(&e, "head");
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	assert_memory_equal(e.msg, "head: xxx", 9);
	err_prefix(&e, "%s", text);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
}

static void names_and_codes_go_both_ways(void **state)
{
	(void)state;
	for (int i = 0; i < ERR_COUNT; i++) {
		assert_int_equal(err_code_of(err_name((enum err_code)i)), i);
		for (int k = 0; k < i; k++)
			assert_string_not_equal(
				err_name((enum err_code)i), err_name((enum err_code)k));
	}
	assert_string_equal(err_name((enum err_code)ERR_COUNT), "unknown");
	assert_string_equal(err_name((enum err_code) - 1), "unknown");
	assert_int_equal(err_code_of("no such name"), ERR_PROTOCOL);
	assert_int_equal(err_code_of(NULL), ERR_PROTOCOL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(setting_returns_the_negative_code),
		cmocka_unit_test(each_layer_prefixes_what_it_knows),
		cmocka_unit_test(errno_becomes_text),
		cmocka_unit_test(a_message_may_be_made_of_itself),
		cmocka_unit_test(what_is_too_long_is_cut_short),
		cmocka_unit_test(names_and_codes_go_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
