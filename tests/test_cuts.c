#include "rig/cuts.h"
#include "rig/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
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

/* --- choice ---------------------------------------------------------------------------------- */

/*
 * An update in small: a page erased and filled, then one status word elsewhere, pages times over.
 */
static struct oplog make_log(size_t pages, size_t words)
{
	struct oplog log = {.ops = calloc(pages * (words + 2) + 1, sizeof(*log.ops))};

	assert_non_null(log.ops);
	for (size_t p = 0; p < pages; p++) {
		uint32_t page = (uint32_t)(p * 4096);

		log.ops[log.count++] =
			(struct oplog_op){.kind = OPLOG_ERASE, .address = page, .size = 4096};
		for (size_t w = 0; w < words; w++)
			log.ops[log.count++] = (struct oplog_op){.kind = OPLOG_PROGRAM,
				.address = page + (uint32_t)(4 * w),
				.size = 4};
		log.ops[log.count++] = (struct oplog_op){
			.kind = OPLOG_PROGRAM, .address = 0x80000 + (uint32_t)(4 * p), .size = 4};
	}
	return log;
}

static long choose(
	const struct oplog *log, uint64_t seed, uint32_t transition, struct cut *out, size_t n)
{
	struct cuts_choice choice = {.seed = seed, .transition = transition};
	struct err e;

	return cuts_choose(log, &choice, out, n, &e);
}

static int by_cut(const void *a, const void *b)
{
	return cut_compare(a, b);
}

static void assert_distinct_and_in_range(const struct cut *cuts, size_t n, size_t operations)
{
	struct cut *sorted = malloc((n + 1) * sizeof(*sorted));

	assert_non_null(sorted);
	memcpy(sorted, cuts, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_cut);
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			assert_true(cut_compare(&sorted[i - 1], &sorted[i]) < 0);
		assert_true(sorted[i].op == CUT_END ||
			    (sorted[i].op >= 1 && sorted[i].op <= operations));
		assert_true(sorted[i].tear == TEAR_TORN || sorted[i].seed == 0);
	}
	free(sorted);
}

static bool chosen(const struct cut *cuts, size_t n, uint32_t op, enum cut_tear tear)
{
	for (size_t i = 0; i < n; i++)
		if (cuts[i].op == op && cuts[i].tear == tear)
			return true;
	return false;
}

static void asking_for_all_gives_every_position_clean_and_torn(void **state)
{
	(void)state;
	for (size_t pages = 0; pages < 6; pages++) {
		struct oplog log = make_log(pages, 5);
		size_t possible = cuts_possible(log.count);
		struct cut *out = calloc(possible + 10, sizeof(*out));

		assert_non_null(out);
		assert_int_equal(choose(&log, 3, 1, out, possible + 10), possible);
		assert_distinct_and_in_range(out, possible, log.count);
		for (uint32_t op = 1; op <= log.count; op++) {
			assert_true(chosen(out, possible, op, TEAR_CLEAN));
			assert_true(chosen(out, possible, op, TEAR_TORN));
		}
		assert_true(chosen(out, possible, CUT_END, TEAR_CLEAN));
		free(out);
		oplog_finish(&log);
	}
}

static void the_first_the_end_and_the_last_come_first(void **state)
{
	struct oplog log = make_log(4, 100);
	struct cut out[3];

	(void)state;
	assert_int_equal(choose(&log, 1, 0, out, 3), 3);
	assert_int_equal(out[0].op, 1);
	assert_int_equal(out[0].tear, TEAR_CLEAN);
	assert_int_equal(out[1].op, CUT_END);
	assert_int_equal(out[2].op, log.count);
	assert_int_equal(out[2].tear, TEAR_TORN);
	oplog_finish(&log);
}

static void an_empty_log_leaves_only_the_end(void **state)
{
	struct oplog log = {.ops = NULL};
	struct cut out[5];

	(void)state;
	assert_int_equal(choose(&log, 1, 0, out, 5), 1);
	assert_int_equal(out[0].op, CUT_END);
	assert_int_equal(choose(&log, 1, 0, out, 0), 0);
}

static void every_status_word_is_cut_before_the_bulk_is_used_up(void **state)
{
	struct oplog log = make_log(16, 1024);
	/* edges: erase, first and last word of the bulk, status word; each clean and torn, and the
	 * same number of cuts in the bulk between them */
	size_t edges = 16 * 4, n = 4 * edges + 3;
	struct cut *out = calloc(n, sizeof(*out));

	(void)state;
	assert_non_null(out);
	assert_int_equal(choose(&log, 7, 2, out, n), n);
	assert_distinct_and_in_range(out, n, log.count);
	for (uint32_t p = 0; p < 16; p++) {
		uint32_t erase = p * 1026 + 1, status = erase + 1025;

		assert_true(chosen(out, n, erase, TEAR_CLEAN));
		assert_true(chosen(out, n, erase, TEAR_TORN));
		assert_true(chosen(out, n, status, TEAR_CLEAN));
		assert_true(chosen(out, n, status, TEAR_TORN));
		assert_true(chosen(out, n, status - 1, TEAR_CLEAN));
		assert_true(chosen(out, n, erase + 1, TEAR_CLEAN));
	}
	free(out);
	oplog_finish(&log);
}

/* The widest stretch of operations in which no cut of the given tear fell. */
static size_t widest_gap(const struct cut *cuts, size_t n, size_t operations, enum cut_tear tear)
{
	size_t gap = 0, run = 0;

	for (uint32_t op = 1; op <= operations; op++) {
		run = chosen(cuts, n, op, tear) ? 0 : run + 1;
		gap = run > gap ? run : gap;
	}
	return gap;
}

static void every_prefix_spreads_over_the_bulk(void **state)
{
	struct oplog log = make_log(1, 4094); /* 4096 operations */
	struct cut out[512];

	(void)state;
	assert_int_equal(choose(&log, 5, 3, out, 512), 512);
	for (size_t n = 32; n <= 512; n *= 2) {
		/* a quarter of the cuts walks the bulk with each tear once the few edges are used
		 * up; van der Corput leaves at most twice the mean distance */
		size_t points = n / 4 - 2;

		assert_true(widest_gap(out, n, log.count, TEAR_TORN) <= 2 * log.count / points);
		assert_true(widest_gap(out, n, log.count, TEAR_CLEAN) <= 2 * log.count / points);
	}
	oplog_finish(&log);
}

static void the_same_seed_gives_the_same_cuts_and_a_prefix_of_more(void **state)
{
	struct oplog log = make_log(3, 200);
	struct cut a[100], b[100];

	(void)state;
	memset(a, 0, sizeof(a));
	memset(b, 0, sizeof(b));
	assert_int_equal(choose(&log, 9, 4, a, 100), 100);
	assert_int_equal(choose(&log, 9, 4, b, 40), 40);
	for (size_t i = 0; i < 40; i++)
		assert_int_equal(cut_compare(&a[i], &b[i]), 0);
	oplog_finish(&log);
}

static void seed_and_transition_turn_the_phase(void **state)
{
	struct oplog log = make_log(1, 4094);
	struct cut out[3][64];
	size_t same[2] = {0, 0};

	(void)state;
	assert_int_equal(choose(&log, 9, 4, out[0], 64), 64);
	assert_int_equal(choose(&log, 9, 5, out[1], 64), 64);
	assert_int_equal(choose(&log, 10, 4, out[2], 64), 64);
	for (size_t i = 0; i < 64; i++)
		for (size_t k = 0; k < 2; k++)
			same[k] += chosen(out[k + 1], 64, out[0][i].op, out[0][i].tear);
	/* the first, the last and the edges are common to all: two stretches and an erase */
	assert_in_range(same[0], 3, 20);
	assert_in_range(same[1], 3, 20);
	oplog_finish(&log);
}

static void a_change_of_region_is_an_edge(void **state)
{
	static const struct cut_region regions[] = {{"a", 0, 2000}, {"b", 2000, 8000}};
	struct cuts_choice choice = {.seed = 1, .regions = regions, .region_count = 2};
	struct oplog log = make_log(1, 1024);
	struct cut out[40];
	struct err e;

	(void)state;
	/* word 500 lies at 2000; operation 1 is the erase */
	assert_int_equal(cuts_choose(&log, &choice, out, 40, &e), 40);
	assert_true(chosen(out, 40, 501, TEAR_CLEAN));
	assert_true(chosen(out, 40, 502, TEAR_CLEAN));
	assert_true(chosen(out, 40, 501, TEAR_TORN));
	assert_true(chosen(out, 40, 502, TEAR_TORN));
	oplog_finish(&log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_and_writes_the_grammar),
		cmocka_unit_test(fills_in_the_parts),
		cmocka_unit_test(says_where_and_what_was_expected),
		cmocka_unit_test(orders_by_operation_then_tear_then_seed),
		cmocka_unit_test(asking_for_all_gives_every_position_clean_and_torn),
		cmocka_unit_test(the_first_the_end_and_the_last_come_first),
		cmocka_unit_test(an_empty_log_leaves_only_the_end),
		cmocka_unit_test(every_status_word_is_cut_before_the_bulk_is_used_up),
		cmocka_unit_test(every_prefix_spreads_over_the_bulk),
		cmocka_unit_test(the_same_seed_gives_the_same_cuts_and_a_prefix_of_more),
		cmocka_unit_test(seed_and_transition_turn_the_phase),
		cmocka_unit_test(a_change_of_region_is_an_edge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
