#include "vboard_fixture.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE 4096u
#define FLASH_SIZE (1u << 20)

/* What fixtures/vboard/testfw/writer.c does to flash, in order. */
static struct vboard_op writes[15];

static int writes_setup(void **state)
{
	unsigned n = 0;

	(void)state;
	writes[n++] = (struct vboard_op){VBOARD_ERASE, 0x80000, PAGE, 0};
	for (uint32_t i = 0; i < 8; i++)
		writes[n++] = (struct vboard_op){
			VBOARD_PROGRAM, 0x80000 + 4 * i, 0x01020304u * (i + 1), 0};
	writes[n++] = (struct vboard_op){VBOARD_ERASE, 0x81000, PAGE, 0};
	for (uint32_t i = 0; i < 4; i++)
		writes[n++] = (struct vboard_op){VBOARD_PROGRAM, 0x81ff0 + 4 * i, ~(0xf0u << i), 0};
	writes[n++] = (struct vboard_op){VBOARD_PROGRAM, 0x81ff0, 0x0fffff0f, 0};
	return n == sizeof(writes) / sizeof(writes[0]) ? 0 : -1;
}

#define WRITES (sizeof(writes) / sizeof(writes[0]))

/* Flash with both pages full of a pattern, so that a missing erase shows. */
static struct fixture *writer(void)
{
	struct fixture *f = fixture_create("writer", 1);

	memset(vboard_flash(f->vb) + 0x80000, 0xa5, 2 * PAGE);
	return f;
}

static void apply(uint8_t *flash, const struct vboard_op *op)
{
	uint32_t word;

	if (op->kind == VBOARD_ERASE) {
		memset(flash + op->address, 0xff, op->value);
		return;
	}
	memcpy(&word, flash + op->address, 4);
	word &= op->value;
	memcpy(flash + op->address, &word, 4);
}

static uint8_t *copy_of(struct fixture *f)
{
	uint8_t *copy = malloc(FLASH_SIZE);

	memcpy(copy, vboard_flash(f->vb), FLASH_SIZE);
	return copy;
}

static void run_to_the_end(struct fixture *f)
{
	fixture_power_on(f);
	if (!fixture_run_until(f, "done\n", 2 * SECOND) && vboard_is_on(f->vb))
		fail_msg("the writer did not come to its end: %s", f->log);
}

static void the_log_holds_every_operation_as_the_dut_stored_it(void **state)
{
	struct fixture *f = writer();
	uint8_t *want = copy_of(f);

	(void)state;
	run_to_the_end(f);
	assert_int_equal(vboard_op_count(f->vb), WRITES);
	for (unsigned i = 0; i < WRITES; i++) {
		const struct vboard_op *op = &vboard_op_log(f->vb)[i];
		assert_int_equal(op->kind, writes[i].kind);
		assert_int_equal(op->address, writes[i].address);
		assert_int_equal(op->value, writes[i].value);
		apply(want, &writes[i]);
	}
	vboard_power(f->vb, false);
	assert_memory_equal(vboard_flash(f->vb), want, FLASH_SIZE);
	assert_int_equal(vboard_erase_count(f->vb, 0x80), 1);
	assert_int_equal(vboard_erase_count(f->vb, 0x81), 1);
	assert_int_equal(vboard_erase_count(f->vb, 0x82), 0);
	assert_int_equal(vboard_probe_op_count(f->vb), 0);
	vboard_mark(f->vb);
	assert_int_equal(vboard_op_count(f->vb), 0);
	assert_int_equal(vboard_erase_count(f->vb, 0x80), 0);
	free(want);
	fixture_destroy(f);
}

/* Also the regression test for the engine doing a store after the hook refused it: every cut would
 * be one write late. */
static void a_clean_cut_at_n_leaves_exactly_n_minus_1_operations(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= WRITES; n++) {
		struct fixture *f = writer();
		uint8_t *want = copy_of(f);
		const struct vboard_cut cut = {.op = n};
		for (unsigned i = 0; i + 1 < n; i++)
			apply(want, &writes[i]);
		vboard_cut_arm(f->vb, &cut);
		run_to_the_end(f);
		assert_false(vboard_is_on(f->vb));
		assert_memory_equal(vboard_flash(f->vb), want, FLASH_SIZE);
		assert_int_equal(vboard_op_count(f->vb), n - 1);
		assert_null(strstr(f->out, "done"));
		assert_int_equal(f->cuts, 1);
		assert_int_equal(f->cut.op, n);
		assert_int_equal(f->cut.address, writes[n - 1].address);
		assert_int_equal(f->cut.kind, writes[n - 1].kind);
		assert_int_equal(f->cut.tear, VBOARD_CLEAN);
		assert_int_equal(vboard_cut_landed(f->vb)->op, n);
		assert_int_equal(vboard_run(f->vb, SECOND), VBOARD_OFF);
		/* it is gone: the next power-on runs to the end */
		run_to_the_end(f);
		assert_non_null(strstr(f->out, "done"));
		free(want);
		fixture_destroy(f);
	}
}

static void a_cut_after_the_last_operation_never_fires(void **state)
{
	struct fixture *f = writer();
	const struct vboard_cut cut = {.op = WRITES + 1};

	(void)state;
	vboard_cut_arm(f->vb, &cut);
	run_to_the_end(f);
	assert_true(vboard_is_on(f->vb));
	assert_null(vboard_cut_landed(f->vb));
	fixture_destroy(f);
}

static uint8_t *torn(unsigned n, uint64_t seed)
{
	struct fixture *f = writer();
	const struct vboard_cut cut = {.op = n, .tear = VBOARD_TORN, .seed = seed};

	vboard_cut_arm(f->vb, &cut);
	run_to_the_end(f);
	assert_false(vboard_is_on(f->vb));
	assert_int_equal(vboard_op_count(f->vb), n);
	assert_int_equal(f->cut.op, n);
	assert_int_equal(f->cut.seed, seed);
	uint8_t *flash = copy_of(f);
	fixture_destroy(f);
	return flash;
}

static void a_torn_operation_is_part_of_it_and_nothing_else(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= WRITES; n++) {
		struct fixture *f = writer();
		uint8_t *before = copy_of(f), *after;
		const struct vboard_op *op = &writes[n - 1];
		uint32_t len = op->kind == VBOARD_ERASE ? PAGE : 4;
		unsigned different = 0;
		fixture_destroy(f);
		for (unsigned i = 0; i + 1 < n; i++)
			apply(before, &writes[i]);
		after = malloc(FLASH_SIZE);
		memcpy(after, before, FLASH_SIZE);
		apply(after, op);
		for (uint64_t seed = 1; seed <= 6; seed++) {
			uint8_t *flash = torn(n, seed), *again = torn(n, seed);
			assert_memory_equal(flash, again, FLASH_SIZE);
			assert_memory_equal(flash, before, op->address);
			assert_memory_equal(flash + op->address + len, before + op->address + len,
				FLASH_SIZE - op->address - len);
			/* every bit is as it was before or as it would have been after */
			for (uint32_t i = op->address; i < op->address + len; i++)
				assert_int_equal(
					(flash[i] ^ before[i]) & ~(before[i] ^ after[i]), 0);
			/* part of it, not all */
			assert_memory_not_equal(flash + op->address, after + op->address, len);
			different += memcmp(flash + op->address, before + op->address, len) != 0;
			free(flash);
			free(again);
		}
		assert_true(different > 0 || op->address == 0x81ff0);
		free(before);
		free(after);
	}
}

static void seeds_tear_differently(void **state)
{
	uint8_t *a, *b;

	(void)state;
	for (unsigned n = 1; n <= 2; n++) {
		a = torn(n, 1);
		b = torn(n, 3);
		assert_memory_not_equal(a + 0x80000, b + 0x80000, PAGE);
		free(a);
		free(b);
	}
}

static void a_cut_by_address_fires_at_the_first_operation_there(void **state)
{
	struct fixture *f = writer();
	const struct vboard_cut cut = {.by_address = true, .address = 0x81ff8};

	(void)state;
	vboard_cut_arm(f->vb, &cut);
	run_to_the_end(f);
	assert_int_equal(f->cut.op, 10); /* the erase of its page */
	assert_int_equal(f->cut.address, 0x81000);
	vboard_mark(f->vb);
	fixture_destroy(f);
}

static void a_disarmed_cut_does_not_fire(void **state)
{
	struct fixture *f = writer();
	const struct vboard_cut cut = {.op = 3};

	(void)state;
	vboard_cut_arm(f->vb, &cut);
	vboard_cut_arm(f->vb, NULL);
	run_to_the_end(f);
	assert_int_equal(f->cuts, 0);
	fixture_destroy(f);
}

static void counting_starts_at_the_mark_and_goes_on_over_power_offs(void **state)
{
	struct fixture *f = writer();
	const struct vboard_cut cut = {.op = WRITES + 5};

	(void)state;
	run_to_the_end(f);
	vboard_power(f->vb, false);
	vboard_cut_arm(f->vb, &cut);
	run_to_the_end(f);
	assert_int_equal(f->cut.op, WRITES + 5);
	assert_int_equal(f->cut.address, writes[4].address);
	vboard_mark(f->vb);
	assert_null(vboard_cut_landed(f->vb));
	fixture_destroy(f);
}

/* The boots of the operations in the log, as "0 0 1". */
static const char *boots(struct vboard *vb)
{
	static char text[2 * 64];

	text[0] = '\0';
	for (size_t i = 0, len = 0; i < vboard_op_count(vb) && len + 2 < sizeof(text); i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%u", i ? " " : "",
			(unsigned)vboard_op_log(vb)[i].boot);
	return text;
}

static void every_operation_says_how_often_the_board_was_reset_since_the_mark(void **state)
{
	struct fixture *f = writer();
	const struct vboard_cut first = {.op = 3}, second = {.op = 5, .tear = VBOARD_TORN};

	(void)state;
	vboard_cut_arm(f->vb, &first);
	run_to_the_end(f);
	vboard_cut_arm(f->vb, &second);
	run_to_the_end(f);
	assert_string_equal(boots(f->vb), "1 1 2 2 2");
	/* held and freed is one reset, also when the power comes on meanwhile */
	vboard_reset_line(f->vb, true);
	vboard_power(f->vb, true);
	vboard_reset_line(f->vb, false);
	vboard_cut_arm(f->vb, &(struct vboard_cut){.op = 7});
	assert_false(fixture_run_until(f, "done\n", 2 * SECOND));
	assert_string_equal(boots(f->vb), "1 1 2 2 2 3");
	vboard_mark(f->vb);
	vboard_cut_arm(f->vb, &(struct vboard_cut){.op = 2});
	run_to_the_end(f);
	assert_string_equal(boots(f->vb), "1");
	fixture_destroy(f);
}

static void the_log_is_written_from_an_operation_on_with_the_numbers_it_has(void **state)
{
	struct fixture *f = writer();
	char text[256] = "";
	FILE *file = fmemopen(text, sizeof(text), "w");
	struct err e;

	(void)state;
	run_to_the_end(f);
	assert_int_equal(vboard_op_write(f->vb, file, WRITES - 1, &e), 0);
	assert_int_equal(vboard_op_write(f->vb, file, WRITES + 1, &e), 0); /* none */
	fclose(file);
	assert_string_equal(text, "14 program 0x00081ffc 0xfffff87f 1\n"
				  "15 program 0x00081ff0 0x0fffff0f 1\n");
	fixture_destroy(f);
}

static void a_board_that_skews_lies_about_where_the_cut_fell(void **state)
{
	struct fixture *f = writer();
	uint8_t *want = copy_of(f);
	const struct vboard_cut cut = {.op = 4};

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		apply(want, &writes[i]);
	vboard_fault(f->vb, false, 1);
	vboard_cut_arm(f->vb, &cut);
	run_to_the_end(f);
	assert_int_equal(f->cut.op, 4);
	assert_int_equal(f->cut.address, writes[3].address);
	assert_int_equal(vboard_op_count(f->vb), 3);
	assert_memory_equal(vboard_flash(f->vb), want, FLASH_SIZE);
	free(want);
	fixture_destroy(f);
}

static void with_a_broken_write_enable_nothing_changes(void **state)
{
	struct fixture *f = writer();
	uint8_t *want = copy_of(f);

	(void)state;
	vboard_fault(f->vb, true, 0);
	run_to_the_end(f);
	assert_int_equal(vboard_op_count(f->vb), 0);
	vboard_power(f->vb, false);
	assert_memory_equal(vboard_flash(f->vb), want, FLASH_SIZE);
	free(want);
	fixture_destroy(f);
}

static void device_time_holds_the_controllers_busy_times(void **state)
{
	struct fixture *f = writer();

	(void)state;
	run_to_the_end(f);
	/* two pages at 85 ms, thirteen words at 41 us */
	assert_true(vboard_time_ns(f->vb) > 170 * MS + 13 * 41000);
	assert_true(vboard_time_ns(f->vb) < 175 * MS);
	fixture_destroy(f);
}

static void a_third_program_of_a_word_is_remarked(void **state)
{
	struct fixture *f = fixture_create(NULL, 1);

	(void)state;
	vboard_reset_line(f->vb, true);
	fixture_power_on(f);
	assert_int_equal(vboard_mem_write(f->vb, 0x4001e504, 4, 1), VBOARD_DAP_OK);
	for (unsigned i = 0; i < 3; i++) {
		assert_null(strstr(f->log, "without an erase"));
		assert_int_equal(vboard_mem_write(f->vb, 0x90000, 4, ~(1u << i)), VBOARD_DAP_OK);
	}
	assert_non_null(strstr(f->log, "0x00090000 is programmed more than 2 times"));
	fixture_destroy(f);
}

static void code_that_is_rewritten_after_it_ran_is_not_stale(void **state)
{
	struct fixture *f = fixture_create("writer", 1);
	uint8_t blink[2048];
	FILE *file = fopen(fixture_program("blink"), "rb");

	(void)state;
	assert_non_null(file);
	size_t len = fread(blink, 1, sizeof(blink), file);
	fclose(file);
	run_to_the_end(f);
	vboard_power(f->vb, false);
	memcpy(vboard_flash(f->vb), blink, len);
	fixture_power_on(f);
	assert_true(fixture_run_until(f, "hello\n", SECOND));
	fixture_destroy(f);
}

static void a_snapshot_brings_flash_back(void **state)
{
	struct fixture *f = writer();
	uint8_t *before = copy_of(f);
	char path[] = "/tmp/vboard-snapshot-XXXXXX";
	struct err e;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(vboard_snapshot_save(f->vb, path, &e), 0);
	run_to_the_end(f);
	assert_int_equal(vboard_snapshot_restore(f->vb, path, &e), -ERR_USAGE);
	vboard_power(f->vb, false);
	assert_memory_not_equal(vboard_flash(f->vb), before, FLASH_SIZE);
	assert_int_equal(vboard_snapshot_restore(f->vb, path, &e), 0);
	assert_memory_equal(vboard_flash(f->vb), before, FLASH_SIZE);
	assert_int_equal(truncate(path, 1000), 0);
	assert_int_equal(vboard_snapshot_restore(f->vb, path, &e), -ERR_IO);
	assert_memory_equal(vboard_flash(f->vb), before, FLASH_SIZE);
	unlink(path);
	free(before);
	fixture_destroy(f);
}

static void a_flash_file_of_the_wrong_size_is_refused(void **state)
{
	char path[] = "/tmp/vboard-flash-XXXXXX";
	int fd = mkstemp(path);
	struct err e;
	const struct vboard_config config = {
		.soc = vboard_soc_find("nrf52840"), .flash_path = path};

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 12345), 0);
	assert_null(vboard_create(&config, &e));
	assert_int_equal(e.code, ERR_CONFIG);
	assert_non_null(strstr(e.msg, "12345"));
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_log_holds_every_operation_as_the_dut_stored_it),
		cmocka_unit_test(a_clean_cut_at_n_leaves_exactly_n_minus_1_operations),
		cmocka_unit_test(a_cut_after_the_last_operation_never_fires),
		cmocka_unit_test(a_torn_operation_is_part_of_it_and_nothing_else),
		cmocka_unit_test(seeds_tear_differently),
		cmocka_unit_test(a_cut_by_address_fires_at_the_first_operation_there),
		cmocka_unit_test(a_disarmed_cut_does_not_fire),
		cmocka_unit_test(counting_starts_at_the_mark_and_goes_on_over_power_offs),
		cmocka_unit_test(every_operation_says_how_often_the_board_was_reset_since_the_mark),
		cmocka_unit_test(the_log_is_written_from_an_operation_on_with_the_numbers_it_has),
		cmocka_unit_test(a_board_that_skews_lies_about_where_the_cut_fell),
		cmocka_unit_test(with_a_broken_write_enable_nothing_changes),
		cmocka_unit_test(device_time_holds_the_controllers_busy_times),
		cmocka_unit_test(a_third_program_of_a_word_is_remarked),
		cmocka_unit_test(code_that_is_rewritten_after_it_ran_is_not_stale),
		cmocka_unit_test(a_snapshot_brings_flash_back),
		cmocka_unit_test(a_flash_file_of_the_wrong_size_is_refused),
	};

	return cmocka_run_group_tests_name("vboard cut", tests, writes_setup, NULL);
}
