/* Evidence folders. */
#include "rig/digest.h"
#include "rig/err.h"
#include "rig/evidence.h"
#include "rig/file.h"

#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static char rel[PATH_MAX];

static char *read_back(const struct scratch *s, const char *name, size_t *len)
{
	char path[2 * PATH_MAX], *data = NULL;
	struct err e;

	snprintf(path, sizeof(path), "%s/%s/%s", s->dir, rel, name);
	if (file_read(path, 1 << 20, &data, len, &e))
		return NULL;
	return data;
}

static void assert_holds(const struct scratch *s, const char *name, const char *text)
{
	size_t len = 0;
	char *data = read_back(s, name, &len);

	assert_non_null(data);
	assert_string_equal(data, text);
	free(data);
}

static void a_trial_has_a_folder_of_its_own(void **state)
{
	struct scratch *s = *state;
	struct err e;

	assert_int_equal(evidence_create(rel, s->dir, "1.0.0:2.0.0", "cut=57:torn:7,3", &e), 0);
	assert_string_equal(rel, "evidence/1.0.0--2.0.0/cut=57--torn--7,3");
	assert_int_equal(evidence_write(s->dir, rel, "operations.txt", "57 erase\n", &e), 0);
	assert_holds(s, "operations.txt", "57 erase\n");
	/* again: what is there stays */
	assert_int_equal(evidence_create(rel, s->dir, "1.0.0:2.0.0", "cut=57:torn:7,3", &e), 0);
	assert_holds(s, "operations.txt", "57 erase\n");
}

static void names_cannot_leave_the_folder(void **state)
{
	struct scratch *s = *state;
	char longest[400];
	struct err e;

	assert_int_equal(evidence_create(rel, s->dir, "../up", "x", &e), -ERR_USAGE);
	assert_int_equal(evidence_create(rel, s->dir, "a", "b/../../c", &e), 0);
	assert_string_equal(rel, "evidence/a/b_.._.._c");
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(evidence_create(rel, s->dir, "a", longest, &e), -ERR_USAGE);
}

static void of_a_log_the_part_of_the_trial_is_kept(void **state)
{
	struct scratch *s = *state;
	const char *log = scratch_path(s, "console.log");
	struct err e;

	assert_int_equal(file_write(log, "before\nthe trial\n", 17, &e), 0);
	assert_int_equal(evidence_create(rel, s->dir, "a", "t", &e), 0);
	assert_int_equal(evidence_copy(s->dir, rel, "whole", log, 0, 0, &e), 0);
	assert_holds(s, "whole", "before\nthe trial\n");
	assert_int_equal(evidence_copy(s->dir, rel, "part", log, 7, 0, &e), 0);
	assert_holds(s, "part", "the trial\n");
	assert_int_equal(evidence_copy(s->dir, rel, "end", log, 7, 6, &e), 0);
	assert_holds(s, "end", "trial\n");
	assert_int_equal(evidence_copy(s->dir, rel, "nothing", log, 1000, 6, &e), 0);
	assert_holds(s, "nothing", "");
	assert_int_equal(evidence_copy(s->dir, rel, "x", "/no/such/file", 0, 0, &e), -ERR_IO);
}

static void the_record_names_every_file_by_its_hash(void **state)
{
	struct scratch *s = *state;
	json_t *record = json_pack("{s:s}", "verdict", "fail"), *whole;
	char hex[DIGEST_HEX_SIZE], path[2 * PATH_MAX], *text;
	size_t len;
	struct err e;

	assert_int_equal(evidence_create(rel, s->dir, "a", "t", &e), 0);
	assert_int_equal(evidence_write(s->dir, rel, "x.txt", "x", &e), 0);
	assert_int_equal(evidence_describe(s->dir, rel, record, "rig run x --cut 5", &e), 0);
	assert_holds(s, "replay.txt", "rig run x --cut 5\n");
	text = read_back(s, "trial.json", &len);
	assert_non_null(text);
	whole = json_loads(text, 0, NULL);
	snprintf(path, sizeof(path), "%s/%s/x.txt", s->dir, rel);
	assert_int_equal(digest_file(path, hex, &e), 0);
	assert_string_equal(json_string_value(json_object_get(whole, "verdict")), "fail");
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(whole, "files"), "x.txt")), hex);
	assert_non_null(json_object_get(json_object_get(whole, "files"), "replay.txt"));
	json_decref(whole);
	json_decref(record);
	free(text);
}

static void a_disk_that_takes_nothing_is_an_error(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(evidence_create(rel, "/proc/self", "a", "t", &e), -ERR_IO);
	assert_int_equal(evidence_write("/proc", "self", "x", "x", &e), -ERR_IO);
}

int main(void)
{
#define claim(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
		claim(a_trial_has_a_folder_of_its_own),
		claim(names_cannot_leave_the_folder),
		claim(of_a_log_the_part_of_the_trial_is_kept),
		claim(the_record_names_every_file_by_its_hash),
		claim(a_disk_that_takes_nothing_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
