#include "rig/err.h"
#include "rig/plan_cuts.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Of an update between releases with these images; NULL: none of that name. */
static void identify(char identity[PLAN_CUTS_IDENTITY_SIZE], const char *bootloader,
	const char *from, const char *to)
{
	json_t *board = json_pack("{s:s}", "name", "b");
	json_t *item = json_pack("{s:{s:{s:s*, s:s*}}, s:{s:{s:s*}}}", "from", "images",
		"bootloader", bootloader, "application", from, "to", "images", "application", to);
	struct err e = {.msg = ""};

	assert_non_null(item);
	if (plan_cuts_identity(identity, board, item, &e) != 0)
		fail_msg("%s", e.msg);
	json_decref(board);
	json_decref(item);
}

static void an_image_that_is_missing_is_told_from_any_other(void **state)
{
	const char *image = scratch_write(*state, "image.bin", "bytes");
	char all[8][PLAN_CUTS_IDENTITY_SIZE];

	for (int i = 0; i < 8; i++)
		identify(all[i], i & 1 ? image : NULL, i & 2 ? image : NULL, i & 4 ? image : NULL);
	for (int i = 0; i < 8; i++)
		for (int k = 0; k < i; k++)
			assert_string_not_equal(all[i], all[k]);
}

static void an_image_is_known_by_its_bytes(void **state)
{
	char a[PLAN_CUTS_IDENTITY_SIZE], b[PLAN_CUTS_IDENTITY_SIZE];

	identify(a, NULL, scratch_write(*state, "a.bin", "1"), scratch_write(*state, "b.bin", "2"));
	identify(b, NULL, scratch_write(*state, "c.bin", "1"), scratch_write(*state, "d.bin", "2"));
	assert_string_equal(a, b);
	identify(b, NULL, scratch_write(*state, "c.bin", "1"), scratch_write(*state, "d.bin", "3"));
	assert_string_not_equal(a, b);
}

static void an_image_that_cannot_be_read_is_an_error(void **state)
{
	char identity[PLAN_CUTS_IDENTITY_SIZE];
	json_t *item = json_pack("{s:{s:{s:s}}}", "to", "images", "application",
		scratch_path(*state, "not-there.bin"));
	struct err e = {.msg = ""};

	assert_int_equal(plan_cuts_identity(identity, NULL, item, &e), -ERR_IO);
	json_decref(item);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_image_that_is_missing_is_told_from_any_other,
			scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(
			an_image_is_known_by_its_bytes, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(
			an_image_that_cannot_be_read_is_an_error, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
