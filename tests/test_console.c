#include "../rig/console.h"
#include "../rig/op.h"
#include "../rig/text.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

static uv_loop_t loop;
static char log_path[64];
static struct console *console;
static char followed[4096];
static char port_lines[4096];

/* How an operation ended, and how often. */
struct end {
	int times;
	struct err e;
	json_t *result;
};

static void ended(void *arg, const struct err *e, json_t *result)
{
	struct end *end = arg;

	end->times++;
	end->e = e ? *e : (struct err){.code = ERR_NONE};
	json_decref(end->result);
	end->result = json_incref(result);
}

static void no_write(void *arg, const char *data, size_t len, struct op *op)
{
	(void)arg;
	(void)data;
	(void)len;
	op_done(op, NULL);
}

static void append(char *to, size_t size, const char *text, size_t len)
{
	size_t used = strlen(to);

	snprintf(to + used, size - used, "%.*s", (int)len, text);
}

static void follow(void *arg, const char *text, size_t len, uint64_t t_mono_ns)
{
	(void)arg;
	(void)t_mono_ns;
	append(followed, sizeof(followed), text, len);
}

static void port_line(void *arg, const char *line, size_t len, uint64_t t_read_ns)
{
	const char *who = arg;

	assert_true(t_read_ns > 0 && t_read_ns <= uv_hrtime());
	append(port_lines, sizeof(port_lines), who, strlen(who));
	append(port_lines, sizeof(port_lines), line ? line : "(power gone)",
		line ? len : strlen("(power gone)"));
	append(port_lines, sizeof(port_lines), "/", 1);
}

static int open_console(void **state)
{
	struct console_conf conf = {.powered = false, .write = no_write, .follow = follow};
	struct err e;
	int fd;

	(void)state;
	followed[0] = port_lines[0] = '\0';
	snprintf(log_path, sizeof(log_path), "/tmp/rig-console-XXXXXX");
	fd = mkstemp(log_path);
	if (fd < 0)
		return -1;
	close(fd);
	conf.log_path = log_path;
	uv_loop_init(&loop);
	return console_create(&conf, &console, &e);
}

static int close_console(void **state)
{
	(void)state;
	console_destroy(console);
	uv_run(&loop, UV_RUN_DEFAULT);
	unlink(log_path);
	return uv_loop_close(&loop);
}

static void in(const char *text)
{
	console_input(console, text, strlen(text), uv_hrtime());
}

static void expect(struct end *end, const char *pattern, json_t *from)
{
	struct op *op;

	memset(end, 0, sizeof(*end));
	op = op_start(&loop, "console.expect", 60000, ended, end);
	console_expect(console, pattern, strlen(pattern), from, op);
	json_decref(from);
}

static void forget(struct end *end)
{
	json_decref(end->result);
	end->result = NULL;
}

static const char *text_of(const struct end *end, const char *key)
{
	const char *text = json_string_value(json_object_get(end->result, key));

	return text ? text : "(none)";
}

#define assert_matched(end, want)                                                                  \
	do {                                                                                       \
		assert_int_equal((end)->times, 1);                                                 \
		assert_int_equal((end)->e.code, ERR_NONE);                                         \
		assert_string_equal(text_of(end, "text"), want);                                   \
		forget(end);                                                                       \
	} while (0)

static void destroyed_consoles_fail_what_waits(struct end *end)
{
	console_destroy(console);
	console = NULL;
	assert_int_equal(end->times, 1);
	assert_int_equal(end->e.code, ERR_GONE);
}

static void bytes_from_before_a_power_on_satisfy_nothing_after_it(void **state)
{
	struct end end;

	(void)state;
	console_power_on(console);
	in("ready 1.0.0\nha");
	console_power_on(console);
	expect(&end, "ready", NULL);
	assert_int_equal(end.times, 0);
	in("lf\nrea");
	assert_int_equal(end.times, 0);
	in("dy\n");
	assert_matched(&end, "ready");
	expect(&end, "half", json_integer(0)); /* a position does not reach back either */
	assert_int_equal(end.times, 0);
	destroyed_consoles_fail_what_waits(&end);
}

static void bytes_that_come_while_the_power_is_off_satisfy_nothing(void **state)
{
	struct end end;

	(void)state;
	in("ready\n");
	expect(&end, "ready", NULL);
	in("ready\n");
	assert_int_equal(end.times, 0);
	console_power_on(console);
	assert_int_equal(end.times, 0);
	console_power_off(console, "off");
	in("ready\n");
	assert_int_equal(end.times, 0);
	console_power_on(console);
	in("ready again\n");
	assert_matched(&end, "ready");
}

static void after_a_power_off_the_epoch_before_it_satisfies_nothing(void **state)
{
	struct end end;

	(void)state;
	console_power_on(console);
	in("ready\n");
	console_power_off(console, "cut");
	expect(&end, "ready", NULL);
	destroyed_consoles_fail_what_waits(&end);
}

static void an_expectation_finds_what_came_since_power_on(void **state)
{
	struct end end;

	(void)state;
	console_power_on(console);
	in("boot\r\nversion 1.2.3 (abc)\r\nready\r\n");
	expect(&end, "version (\\S+) \\((x)?([a-z]+)\\)$", NULL);
	assert_int_equal(end.times, 1);
	assert_string_equal(text_of(&end, "line"), "version 1.2.3 (abc)");
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(end.result, "groups"), 0)),
		"1.2.3");
	assert_true(json_is_null(json_array_get(json_object_get(end.result, "groups"), 1)));
	assert_matched(&end, "version 1.2.3 (abc)");
}

static void the_next_expectation_goes_on_where_the_last_one_ended(void **state)
{
	struct end end;
	json_t *next;

	(void)state;
	console_power_on(console);
	in("tick tick\ntick\n");
	expect(&end, "tick", NULL);
	for (int i = 0; i < 2; i++) {
		next = json_incref(json_object_get(end.result, "next"));
		assert_matched(&end, "tick");
		expect(&end, "tick", next);
	}
	next = json_incref(json_object_get(end.result, "next"));
	assert_matched(&end, "tick");
	expect(&end, "tick", next);
	assert_int_equal(end.times, 0);
	in("tick");
	assert_matched(&end, "tick");
	expect(&end, "tick", json_string("now"));
	destroyed_consoles_fail_what_waits(&end);
}

static void a_caret_does_not_match_in_the_middle_of_a_line(void **state)
{
	struct end end;
	json_t *next;

	(void)state;
	console_power_on(console);
	in("ab\n");
	expect(&end, "a", NULL);
	next = json_incref(json_object_get(end.result, "next"));
	assert_matched(&end, "a");
	expect(&end, "^b", next);
	destroyed_consoles_fail_what_waits(&end);
}

static void a_match_that_more_bytes_could_change_waits_for_them(void **state)
{
	struct end end;

	(void)state;
	console_power_on(console);
	expect(&end, "version (\\S+)", NULL);
	in("version 1.");
	assert_int_equal(end.times, 0);
	in("2.3");
	assert_int_equal(end.times, 0);
	in("\n");
	assert_matched(&end, "version 1.2.3");
}

static void a_prompt_needs_no_line_end(void **state)
{
	struct end end;

	(void)state;
	console_power_on(console);
	expect(&end, "login: ", NULL);
	in("demo login:");
	assert_int_equal(end.times, 0);
	in(" ");
	assert_matched(&end, "login: ");
}

static void a_pattern_split_over_single_bytes_is_found(void **state)
{
	static const char text[] = "noise\r\nall tests done\r\n";
	struct end end;

	(void)state;
	console_power_on(console);
	expect(&end, "^all tests? done$", NULL);
	for (const char *at = text; *at; at++)
		console_input(console, at, 1, uv_hrtime());
	assert_matched(&end, "all tests done");
}

static void several_expectations_each_end_exactly_once(void **state)
{
	struct end ends[4];

	(void)state;
	console_power_on(console);
	for (int i = 0; i < 4; i++)
		expect(&ends[i], i % 2 ? "odd" : "even", NULL);
	in("even\n");
	in("even\n");
	in("odd\n");
	in("odd even\n");
	for (int i = 0; i < 4; i++)
		assert_matched(&ends[i], i % 2 ? "odd" : "even");
}

static void a_cancelled_expectation_is_forgotten(void **state)
{
	struct end end = {0};
	struct op *op = op_start(&loop, "console.expect", 60000, ended, &end);
	struct err why = {.code = ERR_CUT, .msg = "cut"};

	(void)state;
	console_power_on(console);
	console_expect(console, "x", 1, NULL, op);
	op_cancel(op, &why);
	in("x\n");
	assert_int_equal(end.times, 1);
	assert_int_equal(end.e.code, ERR_CUT);
}

static void a_bad_pattern_or_position_is_a_usage_error(void **state)
{
	struct end end;

	(void)state;
	expect(&end, "a(b", NULL);
	assert_int_equal(end.e.code, ERR_USAGE);
	assert_non_null(strstr(end.e.msg, "/a(b/"));
	expect(&end, "a", json_string("yesterday"));
	assert_int_equal(end.e.code, ERR_USAGE);
	expect(&end, "a", json_integer(1));
	assert_int_equal(end.e.code, ERR_USAGE);
	expect(&end, "a", json_integer(-1));
	assert_int_equal(end.e.code, ERR_USAGE);
}

static void a_pattern_that_backtracks_without_end_is_stopped(void **state)
{
	struct end end;

	(void)state;
	console_power_on(console);
	in("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\n");
	expect(&end, "^(a|aa)+$", NULL);
	assert_int_equal(end.times, 1);
	assert_int_equal(end.e.code, ERR_USAGE);
	assert_non_null(strstr(end.e.msg, "simpler"));
}

static void after_a_megabyte_the_newest_is_found_and_the_oldest_is_gone(void **state)
{
	char line[128];
	struct end newest, oldest;

	(void)state;
	console_power_on(console);
	in("the very first line\n");
	expect(&newest, "^line 39999 ", NULL);
	for (int i = 0; i < 40000; i++) {
		snprintf(line, sizeof(line), "line %d of a firmware that talks a lot\n", i);
		in(line);
	}
	assert_matched(&newest, "line 39999 ");
	expect(&newest, "^line 39998 .*$", NULL); /* one that begins after it all came in */
	assert_matched(&newest, "line 39998 of a firmware that talks a lot");
	expect(&oldest, "very first", NULL);
	destroyed_consoles_fail_what_waits(&oldest);
}

static void a_line_without_end_is_cut_into_several(void **state)
{
	char many[3000];
	struct end end;

	(void)state;
	memset(many, 'x', sizeof(many));
	console_power_on(console);
	for (int i = 0; i < 1000; i++)
		console_input(console, many, sizeof(many), uv_hrtime());
	in("END\n");
	expect(&end, "END", NULL);
	assert_matched(&end, "END");
}

struct shot {
	int times;
	char line[64];
};

static void shoot(void *arg, const char *line, size_t len, uint64_t t_read_ns)
{
	struct shot *shot = arg;

	(void)t_read_ns;
	shot->times++;
	snprintf(shot->line, sizeof(shot->line), "%.*s", (int)len, line);
}

static void the_cut_watch_fires_once_on_bytes_from_now_on(void **state)
{
	struct shot shot = {0};
	struct err e;

	(void)state;
	console_power_on(console);
	in("erase 0x1000\n");
	assert_int_equal(console_watch(console, "erase (0x\\d+) ", 14, 1, shoot, &shot, &e), 0);
	in("erase 0x2000");
	assert_int_equal(shot.times, 0);
	in(" ok\nerase 0x3000 ok\n");
	assert_int_equal(shot.times, 1);
	assert_string_equal(shot.line, "erase 0x2000 ok");
	in("erase 0x4000 ok\n");
	assert_int_equal(shot.times, 1);
	assert_int_equal(console_watch(console, "(", 1, 1, shoot, &shot, &e), -ERR_USAGE);
}

static void the_cut_watch_counts_lines_that_match(void **state)
{
	struct shot shot = {0};
	struct err e;

	(void)state;
	console_power_on(console);
	assert_int_equal(console_watch(console, "page", 4, 3, shoot, &shot, &e), 0);
	in("page 1, page again\npage");
	assert_int_equal(shot.times, 0);
	in(" 2 is one page\nother\n");
	assert_int_equal(shot.times, 0);
	in("page 3\npage 4\n");
	assert_int_equal(shot.times, 1);
	assert_string_equal(shot.line, "page 3");
}

static void the_port_gives_whole_lines_while_there_is_power(void **state)
{
	struct console_listener l = {port_line, "", NULL};

	(void)state;
	console_port_listen(console_port(console), &l);
	in("stale\n");
	console_power_on(console);
	in("one\r\ntw");
	in("o\npart");
	console_power_off(console, "off");
	console_power_off(console, "off");
	in("ial\n");
	console_power_on(console);
	in("three\n");
	assert_string_equal(port_lines, "one/two/(power gone)/three/");
}

static void all_who_listen_hear_in_their_order_until_they_go(void **state)
{
	struct console_listener a = {port_line, "a:", NULL}, b = {port_line, "b:", NULL};
	struct console_port *port = console_port(console);

	(void)state;
	console_port_unlisten(port, &a);
	console_port_listen(port, &a);
	console_port_listen(port, &b);
	console_power_on(console);
	in("one\n");
	console_power_off(console, "off");
	console_port_unlisten(port, &a);
	console_power_on(console);
	in("two\n");
	console_port_unlisten(port, &b);
	in("three\n");
	assert_string_equal(port_lines, "a:one/b:one/a:(power gone)/b:(power gone)/b:two/");
}

struct leaver {
	struct console_listener self;
	struct console_listener *with; /* goes, too */
};

static void leaves(void *arg, const char *line, size_t len, uint64_t t_read_ns)
{
	struct leaver *leaver = arg;

	port_line("l:", line, len, t_read_ns);
	console_port_unlisten(console_port(console), &leaver->self);
	console_port_unlisten(console_port(console), leaver->with);
}

static void one_that_goes_while_lines_are_told_takes_another_with_it(void **state)
{
	struct console_listener b = {port_line, "b:", NULL}, c = {port_line, "c:", NULL};
	struct leaver leaver = {{leaves, &leaver, NULL}, &b};
	struct console_port *port = console_port(console);

	(void)state;
	console_port_listen(port, &leaver.self);
	console_port_listen(port, &b);
	console_port_listen(port, &c);
	console_power_on(console);
	in("one\ntwo\n");
	assert_string_equal(port_lines, "l:one/c:one/c:two/");
}

static void switches_off(void *arg, const char *line, size_t len, uint64_t t_read_ns)
{
	port_line(arg, line, len, t_read_ns);
	if (line)
		console_power_off(console, "cut");
}

static void what_came_with_the_line_that_took_the_power_is_told_and_logged(void **state)
{
	struct console_listener a = {switches_off, "a:", NULL}, b = {port_line, "b:", NULL};
	char log[4096] = "";
	FILE *f;

	(void)state;
	console_port_listen(console_port(console), &a);
	console_port_listen(console_port(console), &b);
	console_power_on(console);
	in("one\ntwo\nthree\npart");
	in("late\n");
	assert_string_equal(port_lines, "a:one/b:one/a:two/b:two/a:three/b:three/"
					"a:(power gone)/b:(power gone)/");
	f = fopen(log_path, "r");
	assert_non_null(f);
	assert_true(fread(log, 1, sizeof(log) - 1, f) > 0);
	fclose(f);
	for (const char *const *line = (const char *const[]){"] one\n", "] two\n", "] three\n",
		     "] part\n", "power cut", NULL};
		*line; line++)
		if (!strstr(log, *line))
			fail_msg("not in the log: %s:\n%s", *line, log);
}

static void what_is_followed_is_valid_utf8_even_when_split(void **state)
{
	(void)state;
	console_power_on(console);
	in("before\n");
	console_follow(console, true);
	in("gr\xc3");
	assert_string_equal(followed, "gr");
	in("\xbc\xc3\x9f\xff\x1b[0m\n");
	console_input(console, "\0z", 2, uv_hrtime());
	assert_string_equal(followed, "gr\xc3\xbc\xc3\x9f\\xff\x1b[0m\n\\x00z");
	console_follow(console, false);
	in("after");
	assert_null(strstr(followed, "after"));
}

static void tail_shows_the_last_lines_since_power_on(void **state)
{
	json_t *tail;

	(void)state;
	in("old\n");
	console_power_on(console);
	in("one\r\ntwo\nthr\xff");
	tail = console_tail(console, 2);
	assert_int_equal(json_array_size(tail), 2);
	assert_string_equal(json_string_value(json_array_get(tail, 0)), "two");
	assert_string_equal(json_string_value(json_array_get(tail, 1)), "thr\\xff");
	json_decref(tail);
	console_power_off(console, "off"); /* and afterwards too: somebody wants to see why */
	tail = console_tail(console, 10);
	assert_int_equal(json_array_size(tail), 3);
	json_decref(tail);
}

static void a_timeout_names_the_pattern_and_the_last_lines(void **state)
{
	char wide[400];
	struct err e = {.code = ERR_TIMEOUT, .msg = "console.expect: not done within 100 ms"};

	(void)state;
	console_power_on(console);
	console_explain(console, "ready", &e);
	assert_string_equal(e.msg, "console.expect: not done within 100 ms: /ready/ not seen; "
				   "nothing came in since power-on");
	in("panic: stack\nrebooting\n");
	for (size_t i = 0; i + 1 < sizeof(wide); i += 2)
		memcpy(wide + i, "\xc3\xbc", 2);
	console_input(console, wide, sizeof(wide), uv_hrtime());
	console_power_off(console, "off");
	console_explain(console, "ready", &e);
	assert_non_null(
		strstr(e.msg, "and the power is off; last lines: \"panic: stack\" | \"rebo"));
	assert_true(e.code == ERR_TIMEOUT);
}

static void the_log_has_times_and_epochs_and_no_control_characters(void **state)
{
	static const char *const want[] = {"--- power on ---", "boot\\x1b[0m", "half",
		"--- power cut ---", "--- power on ---", "end"};
	char line[256];
	size_t n = 0;
	double last = 0;
	FILE *f;

	(void)state;
	console_power_on(console);
	in("boot\x1b[0m\r\nhalf");
	console_power_off(console, "cut");
	console_power_on(console);
	in("end");
	console_destroy(console);
	console = NULL;
	f = fopen(log_path, "r");
	assert_non_null(f);
	for (; fgets(line, sizeof(line), f); n++) {
		double t = 0;
		int at = 0;

		assert_int_equal(sscanf(line, "[%lf] %n", &t, &at), 1);
		assert_true(t >= last);
		last = t;
		line[strcspn(line, "\n")] = '\0';
		assert_true(n < sizeof(want) / sizeof(*want));
		assert_string_equal(line + at, want[n]);
	}
	fclose(f);
	assert_int_equal(n, sizeof(want) / sizeof(*want));
}

static void a_log_that_cannot_be_written_is_told(void **state)
{
	struct console_conf conf = {.log_path = "/dev/full", .write = no_write};
	struct console *full;
	struct err e;

	(void)state;
	assert_null(console_log_trouble(console));
	assert_int_equal(console_create(&conf, &full, &e), 0);
	console_power_on(full);
	assert_non_null(strstr(console_log_trouble(full), "/dev/full: No space left"));
	console_destroy(full);
	conf.log_path = "/nowhere/console.log";
	assert_int_equal(console_create(&conf, &full, &e), -ERR_IO);
}

static void escaped_text_is_valid_utf8_whatever_comes(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"plain", "plain"},
		{"\xe2\x82\xac", "\xe2\x82\xac"},
		{"\xf0\x9f\x94\x8c", "\xf0\x9f\x94\x8c"},
		{"\xc0\xaf", "\\xc0\\xaf"},                   /* overlong */
		{"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* surrogate */
		{"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* beyond U+10FFFF */
		{"\xe2\x82", "\\xe2\\x82"},
		{"\x80", "\\x80"},
		{"a\tb\x7f\r", "a\tb\\x7f\\x0d"},
	};
	char buf[64];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		size_t n =
			text_escape(buf, sizeof(buf), cases[i].in, strlen(cases[i].in), TEXT_LINE);

		assert_string_equal(buf, cases[i].out);
		assert_int_equal(n, strlen(buf));
	}
	assert_int_equal(text_escape(buf, 6,
				 "ab\xff"
				 "cd",
				 5, TEXT_LINE),
		2);
	assert_int_equal(text_unfinished("a\xe2\x82", 3), 2);
	assert_int_equal(text_unfinished("a\xe2\x82\xac", 4), 0);
	assert_int_equal(text_unfinished("\xac", 1), 0);
	assert_int_equal(text_unfinished("", 0), 0);
}

#define claim(test) cmocka_unit_test_setup_teardown(test, open_console, close_console)

int main(void)
{
	const struct CMUnitTest tests[] = {
		claim(bytes_from_before_a_power_on_satisfy_nothing_after_it),
		claim(bytes_that_come_while_the_power_is_off_satisfy_nothing),
		claim(after_a_power_off_the_epoch_before_it_satisfies_nothing),
		claim(an_expectation_finds_what_came_since_power_on),
		claim(the_next_expectation_goes_on_where_the_last_one_ended),
		claim(a_caret_does_not_match_in_the_middle_of_a_line),
		claim(a_match_that_more_bytes_could_change_waits_for_them),
		claim(a_prompt_needs_no_line_end),
		claim(a_pattern_split_over_single_bytes_is_found),
		claim(several_expectations_each_end_exactly_once),
		claim(a_cancelled_expectation_is_forgotten),
		claim(a_bad_pattern_or_position_is_a_usage_error),
		claim(a_pattern_that_backtracks_without_end_is_stopped),
		claim(after_a_megabyte_the_newest_is_found_and_the_oldest_is_gone),
		claim(a_line_without_end_is_cut_into_several),
		claim(the_cut_watch_fires_once_on_bytes_from_now_on),
		claim(the_cut_watch_counts_lines_that_match),
		claim(the_port_gives_whole_lines_while_there_is_power),
		claim(all_who_listen_hear_in_their_order_until_they_go),
		claim(one_that_goes_while_lines_are_told_takes_another_with_it),
		claim(what_came_with_the_line_that_took_the_power_is_told_and_logged),
		claim(what_is_followed_is_valid_utf8_even_when_split),
		claim(tail_shows_the_last_lines_since_power_on),
		claim(a_timeout_names_the_pattern_and_the_last_lines),
		claim(the_log_has_times_and_epochs_and_no_control_characters),
		claim(a_log_that_cannot_be_written_is_told),
		cmocka_unit_test(escaped_text_is_valid_utf8_whatever_comes),
	};

	return cmocka_run_group_tests_name("console", tests, NULL, NULL);
}
