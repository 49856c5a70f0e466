#include "vboard_process.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

static json_int_t number(json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void start(struct process *p, struct scratch *s, const char *program)
{
	if (program)
		process_flash(s->dir, program);
	assert_int_equal(process_start(p, s->dir, NULL), -1);
}

static void power_gives_output_and_takes_it_away(void **state)
{
	struct process p;

	start(&p, *state, "blink");
	assert_true(json_is_false(json_object_get(process_do(&p, "state", ""), "power")));
	assert_true(json_is_true(json_object_get(process_do(&p, "power", "\"on\": true"), "on")));
	assert_true(process_says(&p, "hello\nblink 1\nblink 2\n"));
	assert_int_equal(send(p.uart, "echo!", 5, 0), 5);
	assert_true(process_says(&p, "echo!"));
	assert_true(json_is_false(json_object_get(process_do(&p, "power", "\"on\": false"), "on")));
	process_forget(&p);
	/* what was sent while it was off is gone */
	assert_int_equal(send(p.uart, "lost", 4, 0), 4);
	process_do(&p, "state", "");
	process_do(&p, "power", "\"on\": true");
	assert_true(process_says(&p, "blink 2\n"));
	assert_null(strstr(p.out, "lost"));
	assert_int_equal(process_quit(&p), 0);
}

static void every_byte_sent_before_power_off_is_in_the_socket_by_its_answer(void **state)
{
	struct process p;

	start(&p, *state, "blink");
	for (int i = 0; i < 20; i++) {
		process_do(&p, "power", "\"on\": true");
		assert_true(process_says(&p, "hello\n"));
		process_do(&p, "power", "\"on\": false");
		for (ssize_t n; (n = recv(p.uart, p.out, sizeof(p.out), MSG_DONTWAIT)) > 0;)
			;
		process_do(&p, "state", "");
		assert_int_equal(recv(p.uart, p.out, sizeof(p.out), MSG_DONTWAIT), -1);
		process_forget(&p);
	}
	assert_int_equal(process_quit(&p), 0);
}

static void several_clients_get_all_output(void **state)
{
	struct process p;

	start(&p, *state, "blink");
	int other = process_connect(&p, "uart.sock"), first = p.uart;
	process_do(&p, "power", "\"on\": true");
	assert_true(process_says(&p, "hello\n"));
	process_forget(&p);
	p.uart = other;
	assert_true(process_says(&p, "hello\n"));
	p.uart = first;
	close(other);
	assert_true(process_says(&p, "blink 3\n"));
	assert_int_equal(process_quit(&p), 0);
}

static void a_pin_tells_every_flash_operation(void **state)
{
	struct process p;
	struct scratch *s = *state;
	unsigned long long n, t_dev, t, last = 0, expected = 1;
	int pin;
	FILE *lines;

	process_flash(s->dir, "writer");
	assert_int_equal(process_start(&p, s->dir, (const char *const[]){"--pin", NULL}), -1);
	pin = process_connect(&p, "pin.sock");
	process_do(&p, "state", "");
	process_do(&p, "power", "\"on\": true");
	assert_true(process_says(&p, "done\n"));
	assert_int_equal(number(process_do(&p, "state", ""), "operations"), 15);
	assert_int_equal(process_quit(&p), 0);
	lines = fdopen(pin, "r");
	assert_non_null(lines);
	while (fscanf(lines, "%llu %llu %llu\n", &n, &t_dev, &t) == 3) {
		assert_int_equal(n, expected++);
		assert_true(t_dev > last && t > 0);
		last = t_dev;
	}
	assert_int_equal(expected, 16);
	fclose(lines);
}

static void without_being_asked_it_has_no_pin(void **state)
{
	struct process p;
	struct scratch *s = *state;
	char path[600];

	start(&p, s, NULL);
	snprintf(path, sizeof(path), "%s/pin.sock", s->dir);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(process_quit(&p), 0);
}

static void a_cut_is_told_and_stands_in_the_state(void **state)
{
	struct process p;

	start(&p, *state, "writer");
	process_do(&p, "mark", "");
	process_do(&p, "cut", "\"op\": 5, \"tear\": \"torn\", \"seed\": 9");
	process_do(&p, "power", "\"on\": true");
	json_t *note = process_note(&p, "cut");
	assert_non_null(note);
	assert_int_equal(number(note, "op"), 5);
	assert_int_equal(number(note, "address"), 0x8000c);
	assert_string_equal(json_string_value(json_object_get(note, "kind")), "program");
	assert_string_equal(json_string_value(json_object_get(note, "tear")), "torn");
	assert_int_equal(number(note, "seed"), 9);
	json_t *now = process_do(&p, "state", "");
	assert_true(json_is_false(json_object_get(now, "power")));
	assert_int_equal(number(now, "operations"), 5);
	assert_int_equal(number(json_object_get(now, "cut"), "op"), 5);
	assert_int_equal(number(json_object_get(now, "erases"), "128"), 1);
	assert_int_equal(process_quit(&p), 0);
}

static void a_mark_tells_what_was_erased_since_the_one_before(void **state)
{
	struct process p;
	json_t *told;

	start(&p, *state, "writer");
	process_do(&p, "power", "\"on\": true");
	assert_true(process_says(&p, "done\n"));
	told = json_object_get(process_do(&p, "mark", ""), "erases");
	assert_int_equal(number(told, "128"), 1);
	told = json_object_get(process_do(&p, "mark", ""), "erases");
	assert_int_equal(json_object_size(told), 0);
	assert_int_equal(process_quit(&p), 0);
}

static void a_fed_board_says_off_and_runs_on(void **state)
{
	struct process p;

	start(&p, *state, "writer");
	process_do(&p, "fault", "\"phantom\": true");
	process_do(&p, "power", "\"on\": true");
	assert_true(process_says(&p, "done\n"));
	process_forget(&p);
	assert_true(json_is_false(json_object_get(process_do(&p, "power", "\"on\": false"), "on")));
	assert_true(json_is_false(json_object_get(process_do(&p, "state", ""), "power")));
	assert_true(process_says(&p, "done\n"));
	process_do(&p, "mark", "");
	process_do(&p, "cut", "\"op\": 5");
	process_do(&p, "power", "\"on\": true");
	process_do(&p, "power", "\"on\": false"); /* its supply dips: it writes all again */
	json_decref(process_note(&p, "cut"));
	process_forget(&p);
	assert_true(json_is_false(json_object_get(process_do(&p, "state", ""), "power")));
	assert_true(process_says(&p, "done\n"));
	process_do(&p, "fault", "");
	process_forget(&p);
	assert_true(json_is_false(json_object_get(process_do(&p, "state", ""), "power")));
	assert_int_equal(process_quit(&p), 0);
}

static char *trace(struct process *p, struct scratch *s, const char *name)
{
	char params[600];
	FILE *f;
	char *text = calloc(1, 65536);

	snprintf(params, sizeof(params), "\"path\": \"%s/%s\"", s->dir, name);
	process_do(p, "trace", params);
	f = fopen(scratch_path(s, name), "r");
	assert_non_null(f);
	assert_true(fread(text, 1, 65535, f) > 0);
	fclose(f);
	return text;
}

static void two_identical_runs_give_an_identical_trace(void **state)
{
	struct scratch *s = *state;
	char *texts[2];

	for (int i = 0; i < 2; i++) {
		struct process p;
		start(&p, s, "writer");
		process_do(&p, "mark", "");
		process_do(&p, "power", "\"on\": true");
		assert_true(process_says(&p, "done\n"));
		texts[i] = trace(&p, s, "trace");
		assert_int_equal(process_quit(&p), 0);
	}
	assert_string_equal(texts[0], texts[1]);
	assert_true(!strncmp(
		texts[0], "1 erase 0x00080000 4096 1\n2 program 0x00080000 0x01020304 1\n", 59));
	free(texts[0]);
	free(texts[1]);
}

static void a_killed_board_comes_back_with_its_flash(void **state)
{
	struct scratch *s = *state;
	struct process p;

	start(&p, s, "writer");
	process_do(&p, "cut", "\"op\": 4");
	process_do(&p, "power", "\"on\": true");
	assert_non_null(process_note(&p, "cut"));
	kill(p.pid, SIGKILL);
	assert_int_equal(process_end(&p), 255);
	assert_int_equal(process_start(&p, s->dir, NULL), -1);
	FILE *f = fopen(scratch_path(s, "flash.bin"), "rb");
	uint32_t words[4];
	assert_non_null(f);
	assert_int_equal(fseek(f, 0x80000, SEEK_SET), 0);
	assert_int_equal(fread(words, sizeof(words), 1, f), 1);
	fclose(f);
	assert_int_equal(words[0], 0x01020304);
	assert_int_equal(words[1], 0x02040608);
	assert_true(words[2] == UINT32_MAX);
	process_do(&p, "power", "\"on\": true");
	assert_true(process_says(&p, "done\n"));
	assert_int_equal(process_quit(&p), 0);
}

static void two_boards_run_at_once_and_not_two_in_one_folder(void **state)
{
	struct scratch *s = *state;
	struct process a, b, c;
	char other[600];

	start(&a, s, "blink");
	snprintf(other, sizeof(other), "%s/other", s->dir);
	assert_int_equal(mkdir(other, 0700), 0);
	process_flash(other, "writer");
	assert_int_equal(process_start(&b, other, NULL), -1);
	process_do(&a, "power", "\"on\": true");
	process_do(&b, "power", "\"on\": true");
	assert_true(process_says(&b, "done\n"));
	assert_true(process_says(&a, "blink 3\n"));
	assert_int_equal(process_start(&c, s->dir, NULL), 4);
	assert_int_equal(process_quit(&a), 0);
	assert_int_equal(process_quit(&b), 0);
}

static void a_flash_file_of_the_wrong_size_is_refused(void **state)
{
	struct scratch *s = *state;
	struct process p;

	scratch_write(s, "flash.bin", "short");
	assert_int_equal(process_start(&p, s->dir, NULL), 2);
}

static void it_ends_by_itself_when_nobody_needs_it(void **state)
{
	struct scratch *s = *state;
	static const char *const args[] = {"--linger-ms", "50", NULL};
	struct process p;

	process_flash(s->dir, "blink");
	assert_int_equal(process_start(&p, s->dir, args), -1);
	process_do(&p, "power", "\"on\": true");
	assert_true(process_says(&p, "hello\n"));
	/* powered it stays, also without a client */
	close(p.control);
	assert_true(process_says(&p, "blink 20\n"));
	p.control = process_connect(&p, "control.sock");
	process_do(&p, "power", "\"on\": false");
	close(p.control);
	p.control = -1;
	assert_int_equal(process_end(&p), 0);
	assert_int_equal(access(scratch_path(s, "control.sock"), F_OK), -1);
}

static void it_ends_when_its_folder_is_gone(void **state)
{
	struct scratch *s = *state;
	struct process p;
	char dir[600];

	snprintf(dir, sizeof(dir), "%s/gone", s->dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(process_start(&p, dir, NULL), -1);
	nftw(dir, scratch_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(process_end(&p), 0);
}

static void snapshots_need_the_power_off_and_a_plain_name(void **state)
{
	struct process p;
	json_t *answer;

	start(&p, *state, "writer");
	process_do(&p, "snapshot", "\"name\": \"before\"");
	process_do(&p, "power", "\"on\": true");
	assert_true(process_says(&p, "done\n"));
	answer = process_call(&p, "restore", "\"name\": \"before\"");
	assert_non_null(json_object_get(answer, "error"));
	json_decref(answer);
	process_do(&p, "power", "\"on\": false");
	process_do(&p, "restore", "\"name\": \"before\"");
	answer = process_call(&p, "snapshot", "\"name\": \"../evil\"");
	assert_non_null(json_object_get(answer, "error"));
	json_decref(answer);
	answer = process_call(&p, "restore", "\"name\": \"unknown\"");
	assert_non_null(json_object_get(answer, "error"));
	json_decref(answer);
	assert_int_equal(process_quit(&p), 0);
}

static void wrong_parameters_are_told_and_harm_nothing(void **state)
{
	static const struct {
		const char *method, *params;
	} wrong[] = {{"power", ""}, {"power", "\"on\": 1"}, {"cut", ""}, {"cut", "\"op\": 0"},
		{"cut", "\"op\": -1"}, {"cut", "\"op\": 3, \"tear\": \"bent\""},
		{"cut", "\"op\": 3, \"address\": 4"}, {"cut", "\"address\": 4294967296"},
		{"trace", ""}, {"trace", "\"path\": \"/nowhere/at/all\""},
		{"trace", "\"path\": \"/dev/null\", \"from\": 0"}, {"pace", "\"mode\": 3"},
		{"pace", "\"mode\": \"fast\""}, {"fault", "\"skew\": -1"},
		{"snapshot", "\"name\": \"\""}, {"reset_line", ""}, {"explode", ""}};
	struct process p;

	start(&p, *state, "blink");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		json_t *answer = process_call(&p, wrong[i].method, wrong[i].params);
		json_t *message = json_object_get(json_object_get(answer, "error"), "message");
		if (!json_is_string(message) || !*json_string_value(message))
			fail_msg("%s {%s} was taken", wrong[i].method, wrong[i].params);
		json_decref(answer);
	}
	process_do(&p, "power", "\"on\": true");
	assert_true(process_says(&p, "hello\n"));
	assert_int_equal(process_quit(&p), 0);
}

static int connect_probe(struct scratch *s)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int port = 0, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	FILE *f = fopen(scratch_path(s, "stlink.port"), "r");
	char text[32];

	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	port = (int)strtol(text, NULL, 10);
	assert_true(port > 1023);
	to.sin_port = htons((uint16_t)port);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static void rubbish_on_any_socket_does_not_end_it(void **state)
{
	static const char *const rubbish[] = {"rubbish\n", "[1, 2]\n", "{}\n", "{\"jsonrpc\"\n",
		"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"state\", \"params\": []}\n",
		"\0\0\n"};
	struct process p;
	uint64_t random = 1;
	char bytes[512];

	start(&p, *state, "blink");
	process_do(&p, "power", "\"on\": true");
	for (size_t i = 0; i < sizeof(rubbish) / sizeof(rubbish[0]); i++) {
		int fd = process_connect(&p, "control.sock");
		assert_true(send(fd, rubbish[i], strlen(rubbish[i]) + 1, MSG_NOSIGNAL) > 0);
		close(fd);
	}
	for (int i = 0; i < 20; i++) {
		int fd = connect_probe(*state);
		for (size_t k = 0; k < sizeof(bytes); k++) {
			random = random * 6364136223846793005u + 1442695040888963407u;
			bytes[k] = (char)(random >> 56);
		}
		bytes[0] = (char)(i % 8);
		assert_true(send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL) > 0);
		close(fd);
	}
	assert_true(process_says(&p, "blink 3\n"));
	assert_int_equal(process_quit(&p), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
		TEST(power_gives_output_and_takes_it_away),
		TEST(every_byte_sent_before_power_off_is_in_the_socket_by_its_answer),
		TEST(several_clients_get_all_output),
		TEST(a_pin_tells_every_flash_operation),
		TEST(without_being_asked_it_has_no_pin),
		TEST(a_cut_is_told_and_stands_in_the_state),
		TEST(a_mark_tells_what_was_erased_since_the_one_before),
		TEST(a_fed_board_says_off_and_runs_on),
		TEST(two_identical_runs_give_an_identical_trace),
		TEST(a_killed_board_comes_back_with_its_flash),
		TEST(two_boards_run_at_once_and_not_two_in_one_folder),
		TEST(a_flash_file_of_the_wrong_size_is_refused),
		TEST(it_ends_by_itself_when_nobody_needs_it),
		TEST(it_ends_when_its_folder_is_gone),
		TEST(snapshots_need_the_power_off_and_a_plain_name),
		TEST(wrong_parameters_are_told_and_harm_nothing),
		TEST(rubbish_on_any_socket_does_not_end_it),
	};

	return cmocka_run_group_tests_name("vboard server", tests, NULL, NULL);
}
