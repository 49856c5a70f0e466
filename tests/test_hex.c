#include "rig/err.h"
#include "rig/file.h"
#include "rig/hex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define END ":00000001FF\n"

static int parse(struct hex *hex, const char *text, struct err *e)
{
	memset(e, 0, sizeof(*e));
	return hex_parse(hex, "t.hex", text, strlen(text), e);
}

static void refuses(const char *text, const char *message)
{
	struct hex hex;
	struct err e;

	assert_int_equal(parse(&hex, text, &e), -ERR_CONFIG);
	assert_string_equal(e.msg, message);
	assert_null(hex.segments);
	assert_int_equal(hex.count, 0);
}

static void reads_the_records_of_the_specification(void **state)
{
	struct hex hex;
	struct err e;

	(void)state;
	/* published examples of each record type */
	assert_int_equal(parse(&hex,
				 ":10010000214601360121470136007EFE09D2190140\n"
				 ":0300300002337A1E\n"
				 ":020000021200EA\n"
				 ":0400000300003800C1\n" END,
				 &e),
		0);
	assert_int_equal(hex.count, 2);
	assert_int_equal(hex.segments[0].address, 0x30);
	assert_int_equal(hex.segments[0].size, 3);
	assert_memory_equal(hex.segments[0].bytes, "\x02\x33\x7a", 3);
	assert_int_equal(hex.segments[1].address, 0x100);
	assert_int_equal(hex.segments[1].size, 16);
	assert_int_equal(hex.segments[1].bytes[0], 0x21);
	assert_int_equal(hex.segments[1].bytes[15], 0x01);
	assert_true(hex.has_start);
	assert_int_equal(hex.start, 0x3800);
	hex_finish(&hex);
}

static void linear_base_gives_the_upper_sixteen_bits(void **state)
{
	struct hex hex;
	struct err e;

	(void)state;
	assert_int_equal(
		parse(&hex, ":02000004FFFFFC\n:01FFFF00AB56\n:04000005000000CD2A\n" END, &e), 0);
	assert_int_equal(hex.count, 1);
	assert_int_equal(hex.segments[0].address, 0xffffffff);
	assert_int_equal(hex.start, 0xcd);
	hex_finish(&hex);
}

static void segment_base_is_times_sixteen(void **state)
{
	struct hex hex;
	struct err e;

	(void)state;
	assert_int_equal(parse(&hex, ":020000021200EA\n:0100010055A9\n" END, &e), 0);
	assert_int_equal(hex.segments[0].address, 0x12001);
	hex_finish(&hex);
}

static void neighbours_become_one_segment_whatever_their_order(void **state)
{
	struct hex hex;
	struct err e;

	(void)state;
	assert_int_equal(
		parse(&hex, ":02000200CCDD53\n:02000000AABB99\n:01000500EE0C\n" END, &e), 0);
	assert_int_equal(hex.count, 2);
	assert_int_equal(hex.segments[0].address, 0);
	assert_int_equal(hex.segments[0].size, 4);
	assert_memory_equal(hex.segments[0].bytes, "\xaa\xbb\xcc\xdd", 4);
	assert_int_equal(hex.segments[1].address, 5);
	hex_finish(&hex);
}

static void data_runs_over_64_KiB_in_linear_mode(void **state)
{
	struct hex hex;
	struct err e;

	(void)state;
	assert_int_equal(
		parse(&hex, ":02FFFF00AABB9B\n:020000040001F9\n:01000100CC32\n" END, &e), 0);
	assert_int_equal(hex.count, 1);
	assert_int_equal(hex.segments[0].address, 0xffff);
	assert_int_equal(hex.segments[0].size, 3);
	hex_finish(&hex);
}

static void accepts_crlf_lower_case_and_empty_lines(void **state)
{
	struct hex hex;
	struct err e;

	(void)state;
	assert_int_equal(parse(&hex, ":02000000aabb99\r\n\r\n\n:00000001ff", &e), 0);
	assert_int_equal(hex.segments[0].size, 2);
	hex_finish(&hex);
}

static void refuses_what_is_no_whole_right_file(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"", "t.hex:1: the file ends without an end of file record: it is truncated"},
		{":02000000AABB99\n",
			"t.hex:1: the file ends without an end of file record: it is truncated"},
		{":02000000AABB98\n" END, "t.hex:1: checksum is 98, expected 99"},
		{":02000000AAB", "t.hex:1: an odd number of digits: the record is cut short"},
		{":02000000AABB", "t.hex:1: the record says 2 data bytes and has 1"},
		{":0200", "t.hex:1: 2 bytes, expected at least 5: the record is cut short"},
		{":", "t.hex:1: 0 bytes, expected at least 5: the record is cut short"},
		{"\n\x7f"
		 "ELF",
			"t.hex:2: a record begins with ':'"},
		{" :00000001FF", "t.hex:1: a record begins with ':'"},
		{":02000000AAGB99\n", "t.hex:1: column 12: expected a hexadecimal digit"},
		{":00000001FF \n", "t.hex:1: column 12: expected a hexadecimal digit"},
		{":00000006FA\n" END, "t.hex:1: record type 06, expected 00 to 05"},
		{":01000004AA51\n" END,
			"t.hex:1: extended linear address record with 1 data bytes, expected 2"},
		{":020001040001F8\n" END,
			"t.hex:1: extended linear address record with address 0001, expected 0000"},
		{":0100000100FE\n", "t.hex:1: end of file record with 1 data bytes, expected 0"},
		{END, "t.hex: no data"},
		{":02000000AABB99\n" END END, "t.hex:3: a record after the end of file record"},
		{":02000000AABB99\n:01000100AA54\n" END,
			"t.hex:2: address 0x00000001 was given in line 1 already"},
		{":01000100AA54\n:02000000AABB99\n" END,
			"t.hex:2: address 0x00000001 was given in line 1 already"},
		{":02000000AABB99\n:02000000AABB99\n" END,
			"t.hex:2: address 0x00000000 was given in line 1 already"},
		{":020000021200EA\n:02FFFF00AABB9B\n" END,
			"t.hex:2: the record runs over the end of its 64 KiB segment"},
		{":02000004FFFFFC\n:02FFFF00AABB9B\n" END,
			"t.hex:2: the record runs over the end of the 32-bit address space"},
		{":0400000300003800C1\n:04000005000000CD2A\n" END,
			"t.hex:2: a second start address"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		refuses(cases[i].text, cases[i].message);
}

static void every_truncation_of_a_file_is_refused(void **state)
{
	static const char whole[] = ":020000040001F9\n:02000000AABB99\n:02000200CCDD53\n"
				    ":00000001FF";

	(void)state;
	for (size_t len = 0; len < sizeof(whole) - 1; len++) {
		struct hex hex;
		struct err e;

		assert_int_equal(hex_parse(&hex, "t.hex", whole, len, &e), -ERR_CONFIG);
	}
}

static void every_changed_digit_is_refused(void **state)
{
	static const char whole[] = ":020000040001F9\n:02000000AABB99\n:00000001FF\n";

	(void)state;
	for (size_t i = 0; i < sizeof(whole) - 1; i++) {
		char text[sizeof(whole)];
		struct hex hex;
		struct err e;

		if (whole[i] == ':' || whole[i] == '\n')
			continue;
		memcpy(text, whole, sizeof(whole));
		text[i] = whole[i] == '7' ? '8' : '7';
		assert_int_equal(hex_parse(&hex, "t.hex", text, strlen(text), &e), -ERR_CONFIG);
	}
}

static void binary_fills_gaps_with_erased_bytes(void **state)
{
	char dir[] = "/tmp/test_hex.XXXXXX", path[64];
	struct hex hex, again;
	struct err e;
	char *data;
	size_t len;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/x.bin", dir);
	assert_int_equal(parse(&hex, ":02000200CCDD53\n:01000500EE0C\n" END, &e), 0);
	assert_int_equal(hex_write_binary(&hex, 1, 6, path, &e), 0);
	assert_int_equal(file_read(path, 100, &data, &len, &e), 0);
	assert_int_equal(len, 6);
	assert_memory_equal(data, "\xff\xcc\xdd\xff\xee\xff", 6);
	free(data);
	assert_int_equal(hex_write_binary(&hex, 3, 3, path, &e), 0);
	assert_int_equal(file_read(path, 100, &data, &len, &e), 0);
	assert_int_equal(len, 1);
	assert_memory_equal(data, "\xdd", 1);
	free(data);
	assert_int_equal(hex_write_binary(&hex, 3, 2, path, &e), -ERR_USAGE);
	assert_int_equal(hex_write_binary(&hex, 0, UINT32_MAX, path, &e), -ERR_USAGE);
	hex_finish(&hex);

	/* the file just written is no hex file */
	assert_int_equal(hex_load(&again, path, &e), -ERR_CONFIG);
	unlink(path);
	assert_int_equal(hex_load(&again, path, &e), -ERR_IO);
	assert_non_null(strstr(e.msg, "x.bin: No such file"));
	assert_int_equal(hex_load(&again, dir, &e), -ERR_IO);
	assert_non_null(strstr(e.msg, "not a regular file"));
	rmdir(dir);
}

static void file_write_leaves_the_old_file_when_it_fails(void **state)
{
	char dir[] = "/tmp/test_hex.XXXXXX", path[64];
	struct err e;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/none/x", dir);
	assert_int_equal(file_write(path, "a", 1, &e), -ERR_IO);
	assert_int_equal(file_write(dir, "a", 1, &e), -ERR_IO); /* a folder is in the way */
	assert_int_equal(rmdir(dir), 0); /* and nothing was left behind in it */
}

static void file_read_holds_to_its_limit(void **state)
{
	char path[] = "/tmp/test_hex.XXXXXX", *data;
	int fd = mkstemp(path);
	struct err e;
	size_t len;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "12345", 5), 5);
	assert_int_equal(file_read(path, 4, &data, &len, &e), -ERR_IO);
	assert_int_equal(file_read(path, 5, &data, &len, &e), 0);
	assert_string_equal(data, "12345");
	free(data);
	/* says that it is empty and is not */
	assert_int_equal(file_read("/proc/self/status", 1 << 20, &data, &len, &e), 0);
	assert_int_equal(len, strlen(data));
	assert_true(len > 100);
	free(data);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_records_of_the_specification),
		cmocka_unit_test(linear_base_gives_the_upper_sixteen_bits),
		cmocka_unit_test(segment_base_is_times_sixteen),
		cmocka_unit_test(neighbours_become_one_segment_whatever_their_order),
		cmocka_unit_test(data_runs_over_64_KiB_in_linear_mode),
		cmocka_unit_test(accepts_crlf_lower_case_and_empty_lines),
		cmocka_unit_test(refuses_what_is_no_whole_right_file),
		cmocka_unit_test(every_truncation_of_a_file_is_refused),
		cmocka_unit_test(every_changed_digit_is_refused),
		cmocka_unit_test(binary_fills_gaps_with_erased_bytes),
		cmocka_unit_test(file_write_leaves_the_old_file_when_it_fails),
		cmocka_unit_test(file_read_holds_to_its_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
