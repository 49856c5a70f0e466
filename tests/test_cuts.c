#include "rig/cuts.h"
#include "rig/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void parses_to(const char *text, const char *canonical)
{
	char out[CUTS_TEXT_MAX];
	struct cuts cuts, again;
	struct err e;

	assert_int_equal(cuts_parse(&cuts, text, &e), 0);
	assert_string_equal(cuts_format(&cuts, out), canonical);
	assert_int_equal(cuts_parse(&again, out, &e), 0);
	assert_int_equal(cuts_compare(&cuts, &again), 0);
}

static void reads_and_writes_the_grammar(void **state)
{
	(void)state;
	parses_to("1", "1");
	parses_to("57:clean", "57");
	parses_to("57:clean:9", "57");
	parses_to("57:torn", "57:torn");
	parses_to("57:torn:0", "57:torn");
	parses_to("57:torn:7", "57:torn:7");
	parses_to("007", "7");
	parses_to("end", "end");
	parses_to("57:torn:4294967295,3,end", "57:torn:4294967295,3,end");
	parses_to("4294967294:torn:4294967295,4294967294:torn:4294967295,4294967294:torn:"
		  "4294967295,4294967294:torn:4294967295,4294967294:torn:4294967295,4294967294:"
		  "torn:4294967295,4294967294:torn:4294967295,4294967294:torn:4294967295",
		"4294967294:torn:4294967295,4294967294:torn:4294967295,4294967294:torn:"
		"4294967295,4294967294:torn:4294967295,4294967294:torn:4294967295,4294967294:"
		"torn:4294967295,4294967294:torn:4294967295,4294967294:torn:4294967295");
}

static void fills_in_the_parts(void **state)
{
	struct cuts cuts;
	struct err e;

	(void)state;
	assert_int_equal(cuts_parse(&cuts, "57:torn:7,end", &e), 0);
	assert_int_equal(cuts.count, 2);
	assert_int_equal(cuts.list[0].op, 57);
	assert_int_equal(cuts.list[0].tear, TEAR_TORN);
	assert_int_equal(cuts.list[0].seed, 7);
	assert_int_equal(cuts.list[1].op, CUT_END);
	assert_int_equal(cuts.list[1].tear, TEAR_CLEAN);
}

static void says_where_and_what_was_expected(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"", "cut \"\": column 1: expected an operation's number from 1, or \"end\""},
		{"0", "cut \"0\": column 2: expected an operation's number from 1, or \"end\""},
		{"-1", "cut \"-1\": column 1: expected an operation's number from 1, or \"end\""},
		{"4294967295",
			"cut \"4294967295\": column 1: expected an operation's number from 1, or "
			"\"end\""},
		{"99999999999999999999999",
			"cut \"99999999999999999999999\": column 1: expected an operation's number "
			"from 1, or \"end\""},
		{"57:tron", "cut \"57:tron\": column 4: expected \"clean\" or \"torn\""},
		{"57:", "cut \"57:\": column 4: expected \"clean\" or \"torn\""},
		{"57:tornado", "cut \"57:tornado\": column 4: expected \"clean\" or \"torn\""},
		{"57:torn:", "cut \"57:torn:\": column 9: expected a seed of 0 to 4294967295"},
		{"57:torn:4294967296",
			"cut \"57:torn:4294967296\": column 9: expected a seed of 0 to 4294967295"},
		{"57:torn:1:2",
			"cut \"57:torn:1:2\": column 10: expected \",\", \":\" or the end of the "
			"text"},
		{"57,", "cut \"57,\": column 4: expected an operation's number from 1, or \"end\""},
		{"57 ", "cut \"57 \": column 3: expected \",\", \":\" or the end of the text"},
		{"end:torn",
			"cut \"end:torn\": column 4: expected no tear: nothing is left to be torn "
			"at the end"},
		{"ending", "cut \"ending\": column 1: expected an operation's number from 1, or "
			   "\"end\""},
		{"1,2,3,4,5,6,7,8,9", "cut \"1,2,3,4,5,6,7,8,9\": more than 8 cuts"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct cuts cuts;
		struct err e;

		assert_int_equal(cuts_parse(&cuts, cases[i].text, &e), -ERR_USAGE);
		assert_string_equal(e.msg, cases[i].message);
	}
}

static void orders_by_operation_then_tear_then_seed(void **state)
{
	static const char *const rising[] = {
		"1", "1:torn", "1:torn:2", "2", "2,1", "2,end", "10", "end", "end,1"};

	(void)state;
	for (size_t i = 0; i < sizeof(rising) / sizeof(*rising); i++)
		for (size_t j = 0; j < sizeof(rising) / sizeof(*rising); j++) {
			struct cuts a, b;
			struct err e;
			int c;

			assert_int_equal(cuts_parse(&a, rising[i], &e), 0);
			assert_int_equal(cuts_parse(&b, rising[j], &e), 0);
			c = cuts_compare(&a, &b);
			assert_int_equal(c < 0 ? -1 : c > 0, i < j ? -1 : i > j);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_and_writes_the_grammar),
		cmocka_unit_test(fills_in_the_parts),
		cmocka_unit_test(says_where_and_what_was_expected),
		cmocka_unit_test(orders_by_operation_then_tear_then_seed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
