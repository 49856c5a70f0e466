/* The real OpenOCD, with its own nrf52.cfg, on the virtual board. */
#include "vboard_process.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static char said[1 << 18];

/* Runs OpenOCD on the board with these commands; its exit status. What it said is in said[]. */
static int openocd(struct process *p, const char *commands)
{
	static const char *const ports =
		"gdb_port disabled; tcl_port disabled; telnet_port disabled";
	char adapter[700], path[600], port[32] = "";
	int out[2], status;
	size_t len = 0;

	snprintf(path, sizeof(path), "%s/stlink.port", p->dir);
	FILE *f = fopen(path, "r");
	if (!f || !fgets(port, sizeof(port), f))
		process_fail("no stlink.port");
	fclose(f);
	port[strcspn(port, "\n")] = '\0';
	snprintf(adapter, sizeof(adapter),
		"source [find interface/stlink-dap.cfg]; st-link backend tcp %s; "
		"transport select dapdirect_swd; source [find target/nrf52.cfg]",
		port);
	if (pipe(out) < 0)
		process_fail("pipe");
	pid_t pid = fork();
	if (pid == 0) {
		dup2(out[1], 1);
		dup2(out[1], 2);
		close(out[0]);
		close(out[1]);
		execlp("openocd", "openocd", "-c", ports, "-c", adapter, "-c", commands, "-c",
			"shutdown", NULL);
		_exit(127);
	}
	close(out[1]);
	for (ssize_t n; (n = read(out[0], said + len, sizeof(said) - 1 - len)) > 0;
		len += (size_t)n)
		;
	said[len] = '\0';
	close(out[0]);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void must(struct process *p, const char *commands)
{
	if (openocd(p, commands) != 0)
		fail_msg("%s\n%s", commands, said);
}

static void must_say(const char *text)
{
	if (!strstr(said, text))
		fail_msg("\"%s\" is not in\n%s", text, said);
}

static void start_on(struct process *p, struct scratch *s)
{
	assert_int_equal(process_start(p, s->dir, NULL), -1);
	process_do(p, "power", "\"on\": true");
}

static const char *program_path(const char *name)
{
	static char path[700];

	snprintf(path, sizeof(path), "%s/../testfw/%s.bin", getenv("RIG_BUILD"), name);
	return path;
}

static json_int_t number(json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void a_program_it_flashes_blinks_on_the_uart(void **state)
{
	struct process p;
	char commands[900];

	start_on(&p, *state);
	snprintf(commands, sizeof(commands),
		"init; reset halt; program %s 0 verify; reset run; "
		"mww 0xe000edf0 0xa05f0000",
		program_path("blink"));
	must(&p, commands);
	must_say("Verified OK");
	must_say("nRF52840-xxAA");
	must_say("6 breakpoints, 4 watchpoints");
	assert_true(process_says(&p, "hello\nblink 1\n"));
	json_t *now = process_do(&p, "state", "");
	assert_int_equal(number(now, "operations"), 0);
	assert_true(number(now, "probe_operations") > 100);
	assert_true(json_is_false(json_object_get(now, "debugger")));
	assert_int_equal(process_quit(&p), 0);
}

static void write_random(struct scratch *s, const char *name, size_t len)
{
	uint8_t *bytes = malloc(len);
	uint64_t x = 88172645463325252u;

	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		bytes[i] = (uint8_t)x;
	}
	FILE *f = fopen(scratch_path(s, name), "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, len, 1, f), 1);
	fclose(f);
	free(bytes);
}

static void it_programs_verifies_reads_back_and_erases(void **state)
{
	struct scratch *s = *state;
	struct process p;
	char commands[3000];
	enum { LEN = 190000 };
	static char wrote[LEN], back[LEN];

	write_random(s, "image.bin", LEN);
	start_on(&p, s);
	snprintf(commands, sizeof(commands),
		"init; reset halt; program %s 0x10000 verify; dump_image %s 0x10000 %d; "
		"flash erase_address 0x10000 0x1000; "
		"echo \"erased [format %%x [read_memory 0x10ffc 32 1]]\"; "
		"echo \"kept [format %%x [read_memory 0x11000 8 1]]\"",
		scratch_path(s, "image.bin"), scratch_path(s, "back.bin"), (int)LEN);
	must(&p, commands);
	must_say("Verified OK");
	must_say("erased ffffffff");
	FILE *f = fopen(scratch_path(s, "image.bin"), "rb");
	assert_int_equal(fread(wrote, LEN, 1, f), 1);
	fclose(f);
	f = fopen(scratch_path(s, "back.bin"), "rb");
	assert_non_null(f);
	assert_int_equal(fread(back, LEN, 1, f), 1);
	fclose(f);
	assert_memory_equal(wrote, back, LEN);
	assert_int_equal(process_quit(&p), 0);
}

static void it_fails_when_the_write_enable_is_broken(void **state)
{
	struct process p;
	char commands[900];

	start_on(&p, *state);
	process_do(&p, "fault", "\"nvmc_wen\": true");
	snprintf(commands, sizeof(commands), "init; reset halt; program %s 0 verify",
		program_path("blink"));
	assert_int_not_equal(openocd(&p, commands), 0);
	assert_null(strstr(said, "Verified OK"));
	process_do(&p, "fault", "\"nvmc_wen\": false");
	must(&p, commands);
	assert_int_equal(process_quit(&p), 0);
}

static void breakpoints_watchpoints_and_steps_stop_where_they_should(void **state)
{
	struct scratch *s = *state;
	struct process p;

	process_flash(s->dir, "writer");
	start_on(&p, s);
	assert_true(process_says(&p, "done\n"));
	uint32_t vectors[2];
	FILE *f = fopen(program_path("writer"), "rb");
	assert_int_equal(fread(vectors, sizeof(vectors), 1, f), 1);
	fclose(f);
	char commands[1500], expected[64];
	uint32_t start = vectors[1] & ~1u;
	snprintf(commands, sizeof(commands),
		"init; reset halt; reg pc; step; "
		"bp 0x%x 2 hw; resume; wait_halt 1000; echo \"at [lindex [reg pc] 2]\"; rbp 0x%x; "
		"wp 0x4001e508 4 w; resume; wait_halt 5000; echo \"erases [reg pc]\"; "
		"rwp 0x4001e508; step; step; resume",
		start + 4, start + 4);
	must(&p, commands);
	snprintf(expected, sizeof(expected), "pc: 0x%08x", start + 4);
	must_say(expected);
	must_say("halted due to breakpoint");
	must_say("halted due to watchpoint");
	must_say("halted due to single-step");
	process_forget(&p);
	assert_true(process_says(&p, "done\n"));
	assert_int_equal(process_quit(&p), 0);
}

static void held_in_reset_while_power_comes_not_one_instruction_runs(void **state)
{
	struct scratch *s = *state;
	struct process p;

	process_flash(s->dir, "writer");
	assert_int_equal(process_start(&p, s->dir, NULL), -1);
	process_do(&p, "reset_line", "\"hold\": true");
	process_do(&p, "power", "\"on\": true");
	must(&p, "reset_config srst_only srst_nogate connect_assert_srst; init; reset halt");
	must_say("halted due to debug-request");
	json_t *now = process_do(&p, "state", "");
	assert_int_equal(number(now, "instructions"), 0);
	assert_true(json_is_true(json_object_get(now, "debugger")));
	assert_int_equal(process_quit(&p), 0);
}

static void srst_resets_and_halts_before_the_first_instruction(void **state)
{
	struct scratch *s = *state;
	struct process p;
	uint32_t vectors[2];
	char expected[64];

	process_flash(s->dir, "blink");
	start_on(&p, s);
	assert_true(process_says(&p, "blink 1\n"));
	FILE *f = fopen(program_path("blink"), "rb");
	assert_int_equal(fread(vectors, sizeof(vectors), 1, f), 1);
	fclose(f);
	must(&p, "reset_config srst_only srst_nogate; init; reset halt; "
		 "echo \"why [read_memory 0x40000400 32 1]\"");
	snprintf(expected, sizeof(expected), "pc: 0x%08x", vectors[1] & ~1u);
	must_say(expected);
	must_say("why 0x1"); /* RESETREAS: the pin */
	assert_int_equal(process_quit(&p), 0);
}

static void a_cut_counts_operations_only_after_the_probe_let_go(void **state)
{
	struct process p;
	char commands[900];

	start_on(&p, *state);
	process_do(&p, "cut", "\"op\": 3");
	snprintf(commands, sizeof(commands), "init; reset halt; program %s 0 verify",
		program_path("writer"));
	must(&p, commands);
	process_do(&p, "power", "\"on\": false");
	assert_int_equal(number(process_do(&p, "state", ""), "operations"), 0);
	process_do(&p, "power", "\"on\": true");
	json_t *note = process_note(&p, "cut");
	assert_non_null(note);
	assert_int_equal(number(note, "op"), 3);
	assert_int_equal(number(note, "address"), 0x80004);
	assert_int_equal(process_quit(&p), 0);
}

static void power_lost_under_it_is_noticed_and_got_over(void **state)
{
	struct scratch *s = *state;
	struct process p;
	char commands[1200];

	process_flash(s->dir, "writer");
	start_on(&p, s);
	assert_true(process_says(&p, "done\n"));
	process_do(&p, "mark", "");
	/* the program erases at its reset; let it run with the probe connected but debug off */
	process_do(&p, "cut", "\"op\": 2");
	snprintf(commands, sizeof(commands),
		"init; reset halt; catch {mww 0xe000edf0 0xa05f0000}; "
		"catch {mww 0xe000ed0c 0x05fa0004}; sleep 300; echo \"after [catch {mdw 0}]\"");
	openocd(&p, commands);
	must_say("after");
	json_t *now = process_do(&p, "state", "");
	assert_true(json_is_false(json_object_get(now, "power")));
	process_do(&p, "power", "\"on\": true");
	must(&p, "init; reset halt");
	assert_int_equal(process_quit(&p), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_program_it_flashes_blinks_on_the_uart),
		TEST(it_programs_verifies_reads_back_and_erases),
		TEST(it_fails_when_the_write_enable_is_broken),
		TEST(breakpoints_watchpoints_and_steps_stop_where_they_should),
		TEST(held_in_reset_while_power_comes_not_one_instruction_runs),
		TEST(srst_resets_and_halts_before_the_first_instruction),
		TEST(a_cut_counts_operations_only_after_the_probe_let_go),
		TEST(power_lost_under_it_is_noticed_and_got_over),
	};

	return cmocka_run_group_tests_name("vboard openocd", tests, NULL, NULL);
}
