#include "rig/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LABEL 14 /* columns before the text of a closing line */

struct screen {
	struct progress *p;
	FILE *out;
	char *text;
	size_t size;
};

static void open_screen(struct screen *s, bool terminal, unsigned columns)
{
	*s = (struct screen){0};
	s->out = open_memstream(&s->text, &s->size);
	assert_non_null(s->out);
	s->p = progress_create(s->out, terminal, columns);
	assert_non_null(s->p);
}

static void close_screen(struct screen *s)
{
	progress_destroy(s->p);
	fclose(s->out);
	free(s->text);
}

/* Steals fields. */
static void say(
	struct screen *s, double seconds, const char *kind, const char *board, json_t *fields)
{
	json_object_set_new(fields, "t_mono_ns", json_integer(1 + (json_int_t)(seconds * 1e9)));
	json_object_set_new(fields, "kind", json_string(kind));
	json_object_set_new(fields, "board", board ? json_string(board) : json_null());
	progress_record(s->p, fields);
	json_decref(fields);
	fflush(s->out);
}

/* The line as it stands on the terminal. */
static const char *line(struct screen *s)
{
	const char *at = s->text, *last = s->text;

	while ((at = strstr(at, "\r\033[K")))
		last = at += 4;
	return last;
}

static void begin(struct screen *s, int items, int boards)
{
	char board[] = "demo-1";

	say(s, 0, "plan", NULL, json_pack("{s:i}", "total", items));
	for (int i = 0; i < boards; i++) {
		board[5] = (char)('1' + i);
		say(s, 0, "item-start", board, json_pack("{s:s}", "item", "1.0.0:2.0.0"));
	}
}

static void trial(struct screen *s, double seconds, const char *board, const char *key)
{
	say(s, seconds - 0.5, "trial-start", board, json_pack("{s:s}", "trial", key));
	say(s, seconds, "verdict", board, json_pack("{s:s, s:s}", "trial", key, "verdict", "pass"));
}

static void the_line_says_item_trial_rate_and_time_left(void **state)
{
	struct screen s;

	(void)state;
	open_screen(&s, true, 120);
	begin(&s, 2, 1);
	trial(&s, 1, "demo-1", "uncut");
	say(&s, 1, "chosen", "demo-1", json_pack("{s:i}", "cuts", 3));
	trial(&s, 5, "demo-1", "cut=7");
	/* 2 of 4 trials of the first of 2 items took 5 s: three times that is left */
	assert_string_equal(
		line(&s), "0/2 items, 24.0 trials/min, 15 s left | demo-1 1.0.0:2.0.0 2/4 cut=7");
	close_screen(&s);
}

static void the_line_is_never_as_wide_as_the_terminal(void **state)
{
	(void)state;
	for (unsigned columns = 1; columns < 200; columns++) {
		struct screen s;

		open_screen(&s, true, columns);
		begin(&s, 60, 4);
		for (int i = 0; i < 20; i++)
			trial(&s, i, i % 2 ? "demo-1" : "demo-2", "cut=12345:torn:54321");
		assert_true(strlen(line(&s)) < columns);
		close_screen(&s);
	}
}

static void two_boards_fit_on_eighty_columns(void **state)
{
	struct screen s;

	(void)state;
	open_screen(&s, true, 80);
	begin(&s, 6, 2);
	for (int i = 1; i < 3; i++) {
		say(&s, 0, "chosen", i % 2 ? "demo-1" : "demo-2", json_pack("{s:i}", "cuts", 24));
		trial(&s, i * 0.5 + 0.5, i % 2 ? "demo-1" : "demo-2", "cut=12345:torn:54321");
	}
	assert_string_equal(
		line(&s), "0/6 items, 1.3/s | demo-1 1.0.0:2.0.0 1/24 | demo-2 1.0.0:2.0.0 1/24");
	close_screen(&s);
}

static void what_is_not_a_terminal_gets_whole_lines_only(void **state)
{
	struct screen s;

	(void)state;
	open_screen(&s, false, 0);
	begin(&s, 1, 1);
	trial(&s, 1, "demo-1", "uncut");
	say(&s, 2, "item-end", "demo-1",
		json_pack("{s:s, s:s}", "item", "1.0.0:2.0.0", "verdict", "pass"));
	assert_string_equal(s.text, "pass          1.0.0:2.0.0 on demo-1\n");
	close_screen(&s);
}

static void cuts_are_summed_up_only_where_there_were_trials(void **state)
{
	struct screen s;

	(void)state;
	for (int trials = 0; trials < 2; trials++) {
		open_screen(&s, false, 0);
		begin(&s, 1, 1);
		say(&s, 2, "end", NULL,
			json_pack("{s:s, s:s, s:{s:i, s:i, s:i, s:i}}", "verdict", "error",
				"reason", "finished", "totals", "items", 3, "pass", 2, "error", 1,
				"trials", trials));
		progress_finish(s.p, "/runs/x");
		assert_string_equal(s.text,
			trials ? "\nverdict       error\nitems         2 of 3 passed, 1 in error\n"
				 "cuts          0 landed in 1 trials\n"
				 "time          2.0 s\nreports       /runs/x\n"
			       : "\nverdict       error\nitems         2 of 3 passed, 1 in error\n"
				 "time          2.0 s\nreports       /runs/x\n");
		close_screen(&s);
	}
}

/* What was told before is counted and not printed again; each stretch has its own clock. */
static void a_resumed_run_goes_on_where_it_was(void **state)
{
	struct screen s;
	json_t *record;

	(void)state;
	open_screen(&s, true, 120);
	progress_past(s.p, record = json_pack("{s:i, s:s, s:i}", "t_mono_ns", 1000, "kind", "plan",
				   "total", 2));
	json_decref(record);
	for (int i = 0; i < 4; i++) {
		static const char *const kinds[] = {"item-start", "verdict", "chosen", "verdict"};

		record = json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:i}", "t_mono_ns",
			(json_int_t)(i + 1) * 1000000000, "kind", kinds[i], "board", "demo-1",
			"item", "1.0.0:2.0.0", "trial", "x", "verdict", i == 3 ? "fail" : "pass",
			"cuts", 3);
		progress_past(s.p, record);
		json_decref(record);
	}
	fflush(s.out);
	assert_string_equal(s.text, "");
	say(&s, 100, "resume", NULL, json_pack("{s:i}", "after", 5));
	assert_string_equal(s.text,
		"resumed       after record 5: 0 of 2 items have ended, 2 trials have a verdict\n"
		"\r\033[K0/2 items, 1 failed");
	say(&s, 100, "item-start", "demo-1",
		json_pack("{s:s, s:b}", "item", "1.0.0:2.0.0", "resumed", 1));
	say(&s, 101, "chosen", "demo-1", json_pack("{s:i}", "cuts", 3));
	trial(&s, 102, "demo-1", "cut=8");
	assert_string_equal(line(&s), "0/2 items, 1 failed, 30.0 trials/min, 10 s left | "
				      "demo-1 1.0.0:2.0.0 3/4 cut=8");
	close_screen(&s);
}

/* As long as names may be: nothing is counted or told of another. */
static void names_of_any_length_are_told_apart(void **state)
{
	char item[2][129], board[2][65];
	struct screen s;

	(void)state;
	for (int i = 0; i < 2; i++) {
		memset(item[i], 'i', 127);
		memset(board[i], 'b', 63);
		item[i][127] = board[i][63] = (char)('0' + i);
		item[i][128] = board[i][64] = '\0';
	}
	open_screen(&s, true, 600);
	say(&s, 0, "plan", NULL, json_pack("{s:i}", "total", 2));
	for (int i = 0; i < 2; i++) {
		say(&s, 0, "item-start", board[i], json_pack("{s:s}", "item", item[i]));
		say(&s, 0, "chosen", board[i], json_pack("{s:i}", "cuts", 4));
		trial(&s, 1 + i, board[i], "cut=7");
	}
	say(&s, 100, "resume", NULL, json_pack("{s:i}", "after", 9));
	for (int i = 0; i < 2; i++) {
		say(&s, 100, "item-start", board[i],
			json_pack("{s:s, s:b}", "item", item[i], "resumed", 1));
		say(&s, 100, "chosen", board[i], json_pack("{s:i}", "cuts", 4));
		trial(&s, 101 + i, board[i], "cut=8");
	}
	for (int i = 0; i < 2; i++) {
		char lane[512];

		snprintf(lane, sizeof(lane), " | %s %s 2/4 cut=8", board[i], item[i]);
		assert_non_null(strstr(line(&s), lane));
	}
	close_screen(&s);
}

static void what_was_covered_and_where_it_fails_is_said_at_the_end(void **state)
{
	struct screen s;

	(void)state;
	open_screen(&s, false, 0);
	begin(&s, 1, 1);
	say(&s, 1, "window", "demo-1",
		json_pack("{s:i, s:i, s:s, s:[s], s:b}", "first", 5112, "last", 5118, "tear",
			"torn", "findings", "bricked", "whole", 1));
	say(&s, 1, "coverage", "demo-1", json_pack("{s:s}", "sentence", "All of it."));
	say(&s, 1, "item-end", "demo-1",
		json_pack("{s:s, s:s}", "item", "1.0.0:2.0.0", "verdict", "fail"));
	say(&s, 2, "end", NULL,
		json_pack("{s:s, s:s, s:{s:i}}", "verdict", "fail", "reason", "finished", "totals",
			"items", 1));
	progress_finish(s.p, NULL);
	assert_string_equal(s.text,
		"window        1.0.0:2.0.0: operations 5112-5118 torn: bricked\n"
		"fail          1.0.0:2.0.0 on demo-1\n"
		"\nverdict       fail\nitems         0 of 1 passed\n"
		"window        1.0.0:2.0.0: operations 5112-5118 torn: bricked\n"
		"coverage      1.0.0:2.0.0: All of it.\n"
		"time          2.0 s\n");
	close_screen(&s);
}

/* What progress_finish() prints of one item's coverage. */
static void print_coverage(struct screen *s, unsigned columns, const char *sentence)
{
	open_screen(s, false, columns);
	begin(s, 1, 1);
	say(s, 1, "coverage", "demo-1", json_pack("{s:s}", "sentence", sentence));
	say(s, 2, "end", NULL,
		json_pack("{s:s, s:s, s:{s:i}}", "verdict", "pass", "reason", "finished", "totals",
			"items", 1));
	progress_finish(s->p, NULL);
}

static void what_is_long_goes_on_under_its_text(void **state)
{
	struct screen s;

	(void)state;
	print_coverage(&s, 0,
		"22 distinct cuts of 8,263 operations: 3 of 40 metadata operations before, 2 "
		"torn, 3 after; no failing window wider than 1,200 operations");
	assert_non_null(strstr(s.text,
		"\ncoverage      1.0.0:2.0.0: 22 distinct cuts of 8,263 operations: 3 of 40\n"
		"              metadata operations before, 2 torn, 3 after; no failing window\n"
		"              wider than 1,200 operations\n"
		"time "));
	close_screen(&s);
}

static void no_word_is_lost_or_cut_however_narrow_the_terminal(void **state)
{
	static const char sentence[] = "one two three \xe2\x80\xa6"
				       "four five,six seven";

	(void)state;
	for (unsigned columns = 1; columns < 90; columns++) {
		char joined[2 * sizeof(sentence)] = "";
		struct screen s;
		char *at, *rest;
		size_t len = 0;

		print_coverage(&s, columns, sentence);
		at = strstr(s.text, "1.0.0:2.0.0:");
		assert_non_null(at);
		*strstr(at, "\ntime") = '\0';
		at = strtok_r(at + strlen("1.0.0:2.0.0:"), "\n", &rest);
		for (; at; at = strtok_r(NULL, "\n", &rest)) {
			at += strspn(at, " ");
			/* the ellipsis has two bytes more than columns */
			if (strchr(at, ' '))
				assert_true(LABEL + strlen(at) < columns + 2);
			len += (size_t)snprintf(
				joined + len, sizeof(joined) - len, "%s%s", len ? " " : "", at);
			assert_true(len < sizeof(joined));
		}
		assert_string_equal(joined, sentence);
		close_screen(&s);
	}
}

static void what_an_item_said_before_it_was_begun_again_is_void(void **state)
{
	struct screen s;

	(void)state;
	open_screen(&s, false, 0);
	begin(&s, 1, 1);
	say(&s, 1, "coverage", "demo-1", json_pack("{s:s}", "sentence", "Half of it."));
	say(&s, 9, "item-end", "demo-1",
		json_pack("{s:s, s:s, s:s}", "item", "1.0.0:2.0.0", "verdict", "error", "reason",
			"x"));
	say(&s, 50, "resume", NULL, json_object());
	say(&s, 51, "item-start", "demo-1",
		json_pack("{s:s, s:b}", "item", "1.0.0:2.0.0", "resumed", 1));
	progress_finish(s.p, NULL);
	assert_null(strstr(s.text, "Half"));
	assert_non_null(strstr(s.text, "\ntime          10.0 s\n"));
	close_screen(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_line_says_item_trial_rate_and_time_left),
		cmocka_unit_test(the_line_is_never_as_wide_as_the_terminal),
		cmocka_unit_test(two_boards_fit_on_eighty_columns),
		cmocka_unit_test(what_is_not_a_terminal_gets_whole_lines_only),
		cmocka_unit_test(a_resumed_run_goes_on_where_it_was),
		cmocka_unit_test(names_of_any_length_are_told_apart),
		cmocka_unit_test(what_was_covered_and_where_it_fails_is_said_at_the_end),
		cmocka_unit_test(what_is_long_goes_on_under_its_text),
		cmocka_unit_test(no_word_is_lost_or_cut_however_narrow_the_terminal),
		cmocka_unit_test(what_an_item_said_before_it_was_begun_again_is_void),
		cmocka_unit_test(cuts_are_summed_up_only_where_there_were_trials),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
