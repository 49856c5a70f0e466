#include "vboard_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void the_processor_and_peripherals_pass_their_own_test(void **state)
{
	struct fixture *f = fixture_create("selftest", 1);
	unsigned good = 0;

	(void)state;
	fixture_power_on(f);
	assert_true(fixture_run_until(f, "end\n", 2 * SECOND));
	for (char *line = f->out, *next; (next = strchr(line, '\n')); line = next + 1) {
		if (!strncmp(line, "not ok", 6))
			fail_msg("%.*s", (int)(next - line), line);
		good += !strncmp(line, "ok ", 3);
	}
	assert_int_equal(good, 33);
	assert_int_equal(vboard_counters(f->vb)->resets, 1);
	fixture_destroy(f);
}

static void an_unmodelled_register_is_logged_with_pc_and_address(void **state)
{
	struct fixture *f = fixture_create("selftest", 1);
	unsigned long pc = 0;

	(void)state;
	fixture_power_on(f);
	assert_true(fixture_run_until(f, "end\n", 2 * SECOND));
	const char *line = strstr(f->log, "unmodelled register SPI0/TWI0+0x500 (0x40003500)");
	assert_non_null(line);
	const char *at = strstr(line, "(pc 0x");
	assert_non_null(at);
	pc = strtoul(at + 4, NULL, 16);
	/* the instruction there is a 16-bit or 32-bit store of a word */
	uint16_t code = 0;
	assert_true(vboard_peek(f->vb, (uint32_t)pc, &code, 2));
	assert_true((code & 0xf800) == 0x6000 || (code & 0xfff0) == 0xf8c0);
	assert_true(vboard_counters(f->vb)->unmodelled >= 2);
	fixture_destroy(f);
}

static void ram_is_noise_at_power_on_and_the_seed_decides_which(void **state)
{
	struct fixture *a = fixture_create("blink", 7), *b = fixture_create("blink", 7),
		       *c = fixture_create("blink", 8);
	uint32_t ra[1024], rb[1024], rc[1024], again[1024];
	unsigned zeros = 0;

	(void)state;
	vboard_power(a->vb, true);
	vboard_power(b->vb, true);
	vboard_power(c->vb, true);
	assert_true(vboard_peek(a->vb, 0x20000000, ra, sizeof(ra)));
	assert_true(vboard_peek(b->vb, 0x20000000, rb, sizeof(rb)));
	assert_true(vboard_peek(c->vb, 0x20000000, rc, sizeof(rc)));
	assert_memory_equal(ra, rb, sizeof(ra));
	assert_memory_not_equal(ra, rc, sizeof(ra));
	for (unsigned i = 0; i < 1024; i++)
		zeros += ra[i] == 0;
	assert_true(zeros < 2);
	vboard_power(a->vb, false);
	vboard_power(a->vb, true);
	assert_true(vboard_peek(a->vb, 0x20000000, again, sizeof(again)));
	assert_memory_not_equal(ra, again, sizeof(ra));
	fixture_destroy(a);
	fixture_destroy(b);
	fixture_destroy(c);
}

static void two_runs_with_the_same_input_are_identical(void **state)
{
	struct fixture *f[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		f[i] = fixture_create("blink", 3);
		fixture_power_on(f[i]);
		/* the second in other slices, which must not matter */
		for (uint64_t t = 0; t < 500 * MS; t += i ? 170000 : 1000000)
			vboard_run_ahead(f[i]->vb, i ? 170000 : 1000000);
		while (vboard_time_ns(f[i]->vb) < 600 * MS)
			vboard_run_ahead(f[i]->vb, 600 * MS - vboard_time_ns(f[i]->vb));
		vboard_uart_in(f[i]->vb, (const uint8_t *)"xyz", 3);
		assert_true(fixture_run_until(f[i], "blink 9\n", SECOND));
	}
	assert_string_equal(f[0]->out, f[1]->out);
	assert_non_null(strstr(f[0]->out, "xyz"));
	fixture_destroy(f[0]);
	fixture_destroy(f[1]);
}

static void a_burst_of_input_reaches_an_interrupt_handler_whole(void **state)
{
	struct fixture *f = fixture_create("blink", 1);
	char text[201];

	(void)state;
	for (unsigned i = 0; i < sizeof(text) - 1; i++)
		text[i] = (char)('A' + i % 26);
	text[sizeof(text) - 1] = '\0';
	fixture_power_on(f);
	assert_true(fixture_run_until(f, "hello\n", SECOND));
	vboard_uart_in(f->vb, (const uint8_t *)text, strlen(text));
	assert_true(fixture_run_until(f, text, SECOND));
	assert_int_equal(vboard_uart_in_pending(f->vb), 0);
	fixture_destroy(f);
}

static void easydma_fills_buffer_after_buffer_and_counts_every_byte(void **state)
{
	struct fixture *f = fixture_create("dma", 1);

	(void)state;
	fixture_power_on(f);
	vboard_run_ahead(f->vb, 5 * MS);
	/* shorter than a buffer, several buffers at once, and a buffer's end on the line's end */
	static const char *const lines[] = {"abc\n", "a line of more than three buffers of eight\n",
		"0123456789abcdef\n", "x\n"};
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		vboard_uart_in(f->vb, (const uint8_t *)lines[i], strlen(lines[i]));
		assert_true(fixture_run_until(f, lines[i], SECOND));
		vboard_run_ahead(f->vb, 5 * MS);
	}
	assert_string_equal(f->out, "abc\na line of more than three buffers of eight\n"
				    "0123456789abcdef\nx\n");
	fixture_destroy(f);
}

static void firmware_that_polls_without_sleep_gets_its_input(void **state)
{
	struct fixture *f = fixture_create("poll", 1);

	(void)state;
	fixture_power_on(f);
	vboard_run_ahead(f->vb, 5 * MS);
	vboard_uart_in(f->vb, (const uint8_t *)"never sleeps", 12);
	assert_true(fixture_run_until(f, "never sleeps", SECOND));
	fixture_destroy(f);
}

static void a_loop_that_only_time_can_end_is_idle(void **state)
{
	/* ldr r0, [pc]; ldr r1, [r0]; cmp r1, #0; beq .-4; b .: polls TXDRDY for ever */
	static const uint16_t code[] = {
		0x4802, 0x6801, 0x2900, 0xd0fc, 0xe7fe, 0xbf00, 0x211c, 0x4000};
	static const uint32_t vectors[] = {0x20001000, 0x101};
	struct fixture *f = fixture_create(NULL, 1);
	uint8_t *flash = vboard_flash(f->vb);

	(void)state;
	memcpy(flash, vectors, sizeof(vectors));
	memcpy(flash + 0x100, code, sizeof(code));
	fixture_power_on(f);
	assert_int_equal(vboard_run(f->vb, SECOND), VBOARD_IDLE);
	assert_true(vboard_time_ns(f->vb) < 10 * MS);
	assert_true(vboard_next_event_ns(f->vb, NULL) == UINT64_MAX);
	fixture_destroy(f);
}

static void a_loop_that_counts_in_memory_is_not_idle(void **state)
{
	/* r0 = RAM; loop: ldr r1, [r0]; adds r1, #1; str r1, [r0]; movs r1, #0; b loop */
	static const uint16_t code[] = {0x2020, 0x0600, 0x6801, 0x3101, 0x6001, 0x2100, 0xe7fa};
	static const uint32_t vectors[] = {0x20001000, 0x101};
	struct fixture *f = fixture_create(NULL, 1);
	uint8_t *flash = vboard_flash(f->vb);

	(void)state;
	memcpy(flash, vectors, sizeof(vectors));
	memcpy(flash + 0x100, code, sizeof(code));
	fixture_power_on(f);
	assert_int_equal(vboard_run(f->vb, 20 * MS), VBOARD_RAN);
	assert_true(vboard_time_ns(f->vb) >= 20 * MS);
	fixture_destroy(f);
}

static void blank_flash_locks_up_and_says_so(void **state)
{
	struct fixture *f = fixture_create(NULL, 1);

	(void)state;
	fixture_power_on(f);
	vboard_run_ahead(f->vb, 50 * MS);
	assert_non_null(strstr(f->log, "locked up"));
	assert_true(vboard_counters(f->vb)->resets > 10);
	fixture_destroy(f);
}

static void with_the_reset_line_held_not_one_instruction_runs(void **state)
{
	struct fixture *f = fixture_create("blink", 1);

	(void)state;
	vboard_reset_line(f->vb, true);
	fixture_power_on(f);
	assert_int_equal(vboard_run(f->vb, SECOND), VBOARD_HALTED);
	assert_int_equal(vboard_counters(f->vb)->instructions, 0);
	/* a debugger that asks for it halts before the first one */
	assert_int_equal(vboard_mem_write(f->vb, 0xe000edf0, 4, 0xa05f0001), VBOARD_DAP_OK);
	assert_int_equal(vboard_mem_write(f->vb, 0xe000edfc, 4, 0x01000001), VBOARD_DAP_OK);
	vboard_reset_line(f->vb, false);
	assert_int_equal(vboard_run(f->vb, SECOND), VBOARD_HALTED);
	assert_int_equal(vboard_counters(f->vb)->instructions, 0);
	uint32_t vectors[2];
	assert_true(vboard_peek(f->vb, 0, vectors, sizeof(vectors)));
	assert_int_equal(vboard_core_register(f->vb, 15), vectors[1] & ~1u);
	/* let go, it runs */
	vboard_debugger_detach(f->vb);
	assert_true(fixture_run_until(f, "hello\n", SECOND));
	fixture_destroy(f);
}

static void code_in_ram_may_be_rewritten_for_ever(void **state)
{
	struct fixture *f = fixture_create("blink", 1);

	(void)state;
	vboard_reset_line(f->vb, true);
	fixture_power_on(f);
	assert_int_equal(vboard_mem_write(f->vb, 0xe000edf0, 4, 0xa05f0003), VBOARD_DAP_OK);
	vboard_reset_line(f->vb, false);
	assert_int_equal(vboard_run(f->vb, MS), VBOARD_HALTED);
	/* r0 counts, by a step that is written anew each time: adds r0, #step; b . - 2 */
	vboard_mem_write(f->vb, 0xe000edf8, 4, 0x20000000);
	vboard_mem_write(f->vb, 0xe000edf4, 4, 1u << 16 | 15);
	vboard_mem_write(f->vb, 0xe000edf8, 4, 0);
	vboard_mem_write(f->vb, 0xe000edf4, 4, 1u << 16 | 0);
	vboard_mem_write(f->vb, 0x20000000, 4, 0xe7fd3000);
	vboard_mem_write(f->vb, 0xe000edf0, 4, 0xa05f0001);
	for (uint32_t i = 0; i < 6000; i++) {
		uint32_t before = vboard_core_register(f->vb, 0), step = 1 + i % 200, ran;
		vboard_mem_write(f->vb, 0x20000000, 4, 0xe7fd3000 | step);
		vboard_run(f->vb, 1000);
		ran = vboard_core_register(f->vb, 0) - before;
		if (!ran || ran % step)
			fail_msg("write %u: counted %u, by %u", (unsigned)i, (unsigned)ran,
				(unsigned)step);
	}
	fixture_destroy(f);
}

static void real_pace_delivers_input_at_the_speed_of_the_line(void **state)
{
	struct fixture *f = fixture_create("poll", 1);

	(void)state;
	vboard_set_real_pace(f->vb, true);
	fixture_power_on(f);
	vboard_run_ahead(f->vb, 5 * MS);
	vboard_uart_in(f->vb, (const uint8_t *)"ab", 2);
	vboard_run_ahead(f->vb, 80000);
	assert_int_equal(vboard_uart_in_pending(f->vb), 2);
	vboard_run_ahead(f->vb, 10000); /* a byte takes 86.8 us */
	assert_int_equal(vboard_uart_in_pending(f->vb), 1);
	fixture_destroy(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_processor_and_peripherals_pass_their_own_test),
		cmocka_unit_test(an_unmodelled_register_is_logged_with_pc_and_address),
		cmocka_unit_test(ram_is_noise_at_power_on_and_the_seed_decides_which),
		cmocka_unit_test(two_runs_with_the_same_input_are_identical),
		cmocka_unit_test(a_burst_of_input_reaches_an_interrupt_handler_whole),
		cmocka_unit_test(easydma_fills_buffer_after_buffer_and_counts_every_byte),
		cmocka_unit_test(firmware_that_polls_without_sleep_gets_its_input),
		cmocka_unit_test(a_loop_that_only_time_can_end_is_idle),
		cmocka_unit_test(a_loop_that_counts_in_memory_is_not_idle),
		cmocka_unit_test(blank_flash_locks_up_and_says_so),
		cmocka_unit_test(with_the_reset_line_held_not_one_instruction_runs),
		cmocka_unit_test(code_in_ram_may_be_rewritten_for_ever),
		cmocka_unit_test(real_pace_delivers_input_at_the_speed_of_the_line),
	};

	return cmocka_run_group_tests_name("vboard core", tests, NULL, NULL);
}
