/*
 * Where a cut landed, of an update of which only the places it wrote are known, or not even those.
 */
#include "rig/err.h"
#include "rig/landing_touch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BASE 0x1000
#define WORDS 16

/* Flash in words: before all 0xaa, at rest word i is i. */
struct bench {
	uint32_t before[WORDS], after[WORDS], rest[WORDS];
	struct landing_touch flash;
	struct oplog log;
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	memset(b->before, 0xaa, sizeof(b->before));
	memset(b->after, 0xaa, sizeof(b->after));
	for (uint32_t i = 0; i < WORDS; i++)
		b->rest[i] = i;
	b->flash = (struct landing_touch){BASE, sizeof(b->before), (uint8_t *)b->before,
		(uint8_t *)b->after, (uint8_t *)b->rest};
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	oplog_finish(&b->log);
	free(b);
	return 0;
}

/* The log of breakpoints at these words, -1 ends them; 1000 and more are not in flash. */
static void touches(struct bench *b, const int *words)
{
	char text[4096] = "", *at = text;
	struct err e;

	oplog_finish(&b->log);
	for (int n = 1; *words >= 0; n++, words++)
		at += snprintf(at, 64, "%d breakpoint 0x%x\n", n, BASE + (unsigned)*words * 4);
	assert_int_equal(oplog_parse(&b->log, "t", text, strlen(text), &e), 0);
}

#define TOUCHES(b, ...) touches(b, (const int[]){__VA_ARGS__, -1})

/* Words that the update has got to. */
static void wrote(struct bench *b, uint32_t first, uint32_t last)
{
	for (uint32_t i = first; i <= last; i++)
		b->after[i] = b->rest[i];
}

static void shows(struct bench *b, uint32_t first, uint32_t last)
{
	struct landing landing;
	struct err e;

	assert_int_equal(landing_touch_find(&landing, &b->flash, &b->log, &e), 0);
	assert_int_equal(landing.count, 1);
	assert_int_equal(landing.ranges[0].first, first);
	assert_int_equal(landing.ranges[0].last, last);
	assert_false(landing.ranges[0].torn);
	landing_finish(&landing);
}

static void shows_nothing_of_it(struct bench *b)
{
	struct landing landing;
	struct err e;

	assert_int_equal(landing_touch_find(&landing, &b->flash, &b->log, &e), 0);
	assert_int_equal(landing.count, 0);
	landing_finish(&landing);
}

static void every_prefix_of_words_touched_once_is_found(void **state)
{
	struct bench *b = *state;

	TOUCHES(b, 3, 1, 4, 0, 5, 9, 2, 6);
	for (uint32_t done = 0; done <= 8; done++) {
		static const uint32_t order[] = {3, 1, 4, 0, 5, 9, 2, 6};

		if (done)
			wrote(b, order[done - 1], order[done - 1]);
		shows(b, done, done);
	}
}

static void an_address_within_a_word_is_that_word(void **state)
{
	struct bench *b = *state;
	static const char text[] =
		"1 breakpoint 0x1002\n2 breakpoint 0x1007\n3 breakpoint 0x103f\n";
	struct err e;

	assert_int_equal(oplog_parse(&b->log, "t", text, strlen(text), &e), 0);
	wrote(b, 0, 1);
	shows(b, 2, 2);
	wrote(b, 15, 15);
	shows(b, 3, 3);
}

static void words_that_say_nothing_widen_the_range(void **state)
{
	struct bench *b = *state;

	/* 2 is touched twice, 3 does not change, 1000 is elsewhere */
	b->rest[3] = b->before[3];
	TOUCHES(b, 0, 2, 3, 1000, 2, 7);
	shows(b, 0, 0);
	wrote(b, 0, 0);
	shows(b, 1, 5);
	wrote(b, 2, 2);
	shows(b, 1, 5);
	wrote(b, 7, 7);
	shows(b, 6, 6);
	/* nothing is said at the end */
	TOUCHES(b, 0, 2, 2);
	shows(b, 1, 3);
	/* nor anywhere */
	TOUCHES(b, 2, 2, 3);
	shows(b, 0, 3);
}

static void a_word_that_is_half_written_or_erased_says_nothing(void **state)
{
	struct bench *b = *state;

	TOUCHES(b, 0, 1, 2, 3);
	wrote(b, 0, 0);
	b->after[1] = 0xffffffff;
	shows(b, 1, 2);
	b->after[2] = 0xaaaa0002;
	shows(b, 1, 3);
}

static void what_contradicts_the_log_is_unknown(void **state)
{
	struct bench *b = *state;

	TOUCHES(b, 0, 1, 2, 3);
	wrote(b, 2, 2);
	shows_nothing_of_it(b);
	wrote(b, 0, 1);
	shows(b, 3, 3);
}

static void an_empty_log_has_one_prefix(void **state)
{
	struct bench *b = *state;

	shows(b, 0, 0);
}

static void flash_at_the_end_of_addresses_is_looked_at(void **state)
{
	struct bench *b = *state;
	static const char text[] = "1 breakpoint 0xfffffffc\n2 breakpoint 0xffffffc3\n"
				   "3 breakpoint 0x0\n4 breakpoint 0xffffffbf\n";
	struct err e;

	b->flash.base = 0xffffffc0;
	assert_int_equal(oplog_parse(&b->log, "t", text, strlen(text), &e), 0);
	wrote(b, 15, 15);
	shows(b, 1, 1);
	wrote(b, 0, 0);
	shows(b, 2, 4);
}

static void breakpoints_at_one_place_tell_no_addresses(void **state)
{
	struct bench *b = *state;
	static const char lines[] = "1 line a\n2 line b\n";
	struct err e;

	assert_false(landing_touch_knows(&b->log));
	TOUCHES(b, 7, 7, 7);
	assert_false(landing_touch_knows(&b->log));
	TOUCHES(b, 7);
	assert_false(landing_touch_knows(&b->log));
	TOUCHES(b, 7, 7, 8);
	assert_true(landing_touch_knows(&b->log));
	oplog_finish(&b->log);
	assert_int_equal(oplog_parse(&b->log, "t", lines, strlen(lines), &e), 0);
	assert_false(landing_touch_knows(&b->log));
}

static void progress_counts_the_words_that_change(void **state)
{
	struct bench *b = *state;
	struct landing_progress p;

	for (uint32_t i = 12; i < WORDS; i++)
		b->rest[i] = b->before[i];
	b->after[13] = 7; /* is nothing of the update's */
	landing_touch_progress(&b->flash, &p);
	assert_int_equal(p.old, 12);
	assert_int_equal(p.new + p.neither, 0);
	assert_true(landing_progress_share(&p) == 0);
	wrote(b, 0, 5);
	b->after[7] = 0xffffffff;
	landing_touch_progress(&b->flash, &p);
	assert_int_equal(p.old, 5);
	assert_int_equal(p.new, 6);
	assert_int_equal(p.neither, 1);
	assert_true(landing_progress_share(&p) == 0.5);
	memcpy(b->rest, b->before, sizeof(b->rest));
	landing_touch_progress(&b->flash, &p);
	assert_true(landing_progress_share(&p) == 0);
}

/* Random updates of words written once or several times, cut anywhere: the place is in the range.
 */
static void the_place_is_always_in_the_range(void **state)
{
	struct bench *b = *state;
	uint32_t seed = 1;

	for (int round = 0; round < 2000; round++) {
		int words[25];
		uint32_t flash[WORDS], cut, count;

		setup(state);
		oplog_finish(&b->log);
		free(b);
		b = *state;
		seed = seed * 1103515245 + 12345;
		count = 1 + (seed >> 16) % 24;
		memcpy(flash, b->before, sizeof(flash));
		cut = (seed >> 8) % (count + 1);
		for (uint32_t i = 0; i < count; i++) {
			seed = seed * 1103515245 + 12345;
			words[i] = (int)((seed >> 16) % WORDS);
			if (i == cut)
				memcpy(b->after, flash, sizeof(flash));
			flash[words[i]] = (seed >> 24) % 3 ? seed : 0xaaaaaaaa;
		}
		if (cut == count)
			memcpy(b->after, flash, sizeof(flash));
		memcpy(b->rest, flash, sizeof(flash));
		words[count] = -1;
		touches(b, words);
		{
			struct landing landing;
			struct err e;

			assert_int_equal(landing_touch_find(&landing, &b->flash, &b->log, &e), 0);
			assert_int_equal(landing.count, 1);
			assert_in_range(cut, landing.ranges[0].first, landing.ranges[0].last);
			landing_finish(&landing);
		}
	}
}

#define claim(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		claim(every_prefix_of_words_touched_once_is_found),
		claim(an_address_within_a_word_is_that_word),
		claim(words_that_say_nothing_widen_the_range),
		claim(a_word_that_is_half_written_or_erased_says_nothing),
		claim(what_contradicts_the_log_is_unknown),
		claim(an_empty_log_has_one_prefix),
		claim(flash_at_the_end_of_addresses_is_looked_at),
		claim(breakpoints_at_one_place_tell_no_addresses),
		claim(progress_counts_the_words_that_change),
		claim(the_place_is_always_in_the_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
