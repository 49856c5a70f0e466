#include "rig/err.h"
#include "rig/file.h"
#include "rig/traces.h"
#include "scratch.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#define TYPE "nrf52840dk"
#define KEY "1.0.0:2.0.0"
#define KEPT ".traces/" TYPE "/1.0.0--2.0.0"

static void saves(const struct scratch *s, const char *type, const char *key, const char *identity,
	const char *text, int n)
{
	const char *path = scratch_write(s, "run/uncut.trace", text);
	json_t *meta = json_pack("{s:i}", "operations", n);
	struct err e = {.msg = ""};

	if (traces_save(s->dir, type, key, identity, path, meta, &e) != 0)
		fail_msg("%s", e.msg);
	json_decref(meta);
}

static void finds(const struct scratch *s, const char *type, const char *key, const char *identity,
	const char *text, int n)
{
	struct err e = {.msg = ""};
	char *path = NULL, *data = NULL;
	json_t *meta = NULL;
	size_t len = 0;

	if (traces_find(s->dir, type, key, identity, &path, &meta, &e) != 0)
		fail_msg("%s", e.msg);
	assert_int_equal(file_read(path, 1 << 20, &data, &len, &e), 0);
	assert_string_equal(data, text);
	assert_int_equal(json_integer_value(json_object_get(meta, "operations")), n);
	json_decref(meta);
	free(data);
	free(path);
}

static void misses(const struct scratch *s, const char *type, const char *key, const char *identity,
	const char *message)
{
	char *path = (char *)s;
	json_t *meta = (json_t *)s;
	struct err e = {.msg = ""};

	assert_int_equal(traces_find(s->dir, type, key, identity, &path, &meta, &e), -ERR_USAGE);
	assert_string_equal(e.msg, message);
	assert_null(path);
	assert_null(meta);
}

/* How many entries the type's folder has. */
static int entries(const struct scratch *s)
{
	DIR *dir = opendir(scratch_path(s, ".traces/" TYPE));
	struct dirent *entry;
	int n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

static void what_was_saved_is_found(void **state)
{
	saves(*state, TYPE, KEY, "ab12 cd34", "1 erase 0x1000 4096\n", 1);
	finds(*state, TYPE, KEY, "ab12 cd34", "1 erase 0x1000 4096\n", 1);
	finds(*state, TYPE, KEY, "ab12 cd34", "1 erase 0x1000 4096\n", 1);
}

static void it_lies_below_the_type_by_its_key(void **state)
{
	saves(*state, TYPE, KEY, "ab12", "x\n", 1);
	assert_int_equal(access(scratch_path(*state, KEPT ".trace"), R_OK), 0);
	assert_int_equal(access(scratch_path(*state, KEPT ".json"), R_OK), 0);
	assert_int_equal(entries(*state), 2);
}

static void the_trace_may_be_kept_without_more(void **state)
{
	const struct scratch *s = *state;
	const char *from = scratch_write(s, "run/uncut.trace", "");
	char *path;
	json_t *meta;
	struct err e;

	assert_int_equal(traces_save(s->dir, TYPE, KEY, "", from, NULL, &e), 0);
	assert_int_equal(traces_find(s->dir, TYPE, KEY, "", &path, &meta, &e), 0);
	assert_true(json_is_null(meta));
	json_decref(meta);
	free(path);
}

static void nothing_is_found_where_nothing_was_saved(void **state)
{
	misses(*state, TYPE, KEY, "ab12", "no trace of 1.0.0:2.0.0: none was kept");
	saves(*state, TYPE, KEY, "ab12", "x\n", 1);
	misses(*state, TYPE, "1.0.0:3.0.0", "ab12", "no trace of 1.0.0:3.0.0: none was kept");
	misses(*state, "nrf5340dk", KEY, "ab12", "no trace of 1.0.0:2.0.0: none was kept");
}

static void other_images_are_a_miss(void **state)
{
	saves(*state, TYPE, KEY, "ab12", "x\n", 1);
	misses(*state, TYPE, KEY, "ab13",
		"no trace of 1.0.0:2.0.0: the one that was kept is of other images, or of a board "
		"that is traced another way");
}

static void a_later_trace_takes_the_place(void **state)
{
	saves(*state, TYPE, KEY, "ab12", "x\n", 1);
	saves(*state, TYPE, KEY, "ab13", "y\n", 2);
	finds(*state, TYPE, KEY, "ab13", "y\n", 2);
	misses(*state, TYPE, KEY, "ab12",
		"no trace of 1.0.0:2.0.0: the one that was kept is of other images, or of a board "
		"that is traced another way");
	assert_int_equal(entries(*state), 2);
}

static void two_keys_of_one_name_are_told_apart(void **state)
{
	saves(*state, TYPE, "1.0.0--2.0.0", "ab12", "x\n", 1);
	misses(*state, TYPE, KEY, "ab12",
		"no trace of 1.0.0:2.0.0: what was kept is damaged, or is another's");
}

static void a_trace_that_does_not_belong_to_what_is_said_of_it_is_a_miss(void **state)
{
	saves(*state, TYPE, KEY, "ab12", "x\n", 1);
	scratch_write(*state, KEPT ".trace", "y\n");
	misses(*state, TYPE, KEY, "ab12", "no trace of 1.0.0:2.0.0: what was kept is damaged");
	assert_int_equal(unlink(scratch_path(*state, KEPT ".trace")), 0);
	misses(*state, TYPE, KEY, "ab12", "no trace of 1.0.0:2.0.0: what was kept is damaged");
}

static void a_damaged_description_is_a_miss(void **state)
{
	static const char *const texts[] = {"", "{", "[]", "7", "{\"key\": 7}", "null"};

	saves(*state, TYPE, KEY, "ab12", "x\n", 1);
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		scratch_write(*state, KEPT ".json", texts[i]);
		misses(*state, TYPE, KEY, "ab12",
			"no trace of 1.0.0:2.0.0: what was kept is damaged, or is another's");
	}
	unlink(scratch_path(*state, KEPT ".json"));
	mkdir(scratch_path(*state, KEPT ".json"), 0755);
	misses(*state, TYPE, KEY, "ab12", "no trace of 1.0.0:2.0.0: what was kept cannot be read");
}

static void names_cannot_leave_the_folder(void **state)
{
	static const char *const names[] = {"", ".", "..", "../x", "a/b", "/etc", ".hidden", "a\\b",
		"a b", "a\nb", "\xc3\xa4", "~root"};
	const struct scratch *s = *state;
	const char *from = scratch_write(s, "run/uncut.trace", "x\n");
	char message[256], lengthy[TRACES_NAME_MAX + 2];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct err e = {.msg = ""};

		snprintf(message, sizeof(message), "board type \"%s\" cannot name a trace",
			names[i]);
		assert_int_equal(
			traces_save(s->dir, names[i], KEY, "ab12", from, NULL, &e), -ERR_USAGE);
		assert_string_equal(e.msg, message);
		misses(s, names[i], KEY, "ab12", message);
		snprintf(message, sizeof(message), "key \"%s\" cannot name a trace", names[i]);
		assert_int_equal(
			traces_save(s->dir, TYPE, names[i], "ab12", from, NULL, &e), -ERR_USAGE);
		assert_string_equal(e.msg, message);
		misses(s, TYPE, names[i], "ab12", message);
	}
	memset(lengthy, 'x', sizeof(lengthy) - 1);
	lengthy[sizeof(lengthy) - 1] = '\0';
	snprintf(message, sizeof(message), "key \"%s\" cannot name a trace", lengthy);
	misses(s, TYPE, lengthy, "ab12", message);
	snprintf(message, sizeof(message), "board type \"a:b\" cannot name a trace");
	misses(s, "a:b", KEY, "ab12", message);
	assert_int_not_equal(access(scratch_path(s, ".traces"), F_OK), 0);
}

static void the_longest_name_is_kept_too(void **state)
{
	char key[TRACES_NAME_MAX + 1];

	memset(key, 'x', sizeof(key) - 1);
	key[sizeof(key) - 1] = '\0';
	key[60] = ':';
	saves(*state, TYPE, key, "ab12", "x\n", 1);
	finds(*state, TYPE, key, "ab12", "x\n", 1);
}

static void set_age(const struct scratch *s, const char *name, time_t at)
{
	const struct timespec times[2] = {{.tv_sec = at}, {.tv_sec = at}};

	assert_int_equal(utimensat(AT_FDCWD, scratch_path(s, name), times, 0), 0);
}

static void the_oldest_go(void **state)
{
	char key[32], name[64];

	for (int i = 0; i < TRACES_MAX; i++) {
		snprintf(key, sizeof(key), "1.0.%d:2.0.0", i);
		saves(*state, TYPE, key, "ab12", "x\n", i);
		snprintf(name, sizeof(name), ".traces/" TYPE "/1.0.%d--2.0.0.trace", i);
		set_age(*state, name, 1000 + (i + 100) % TRACES_MAX);
	}
	assert_int_equal(entries(*state), 2 * TRACES_MAX);
	saves(*state, TYPE, KEY, "ab13", "y\n", 9); /* in its own place */
	assert_int_equal(entries(*state), 2 * TRACES_MAX);
	finds(*state, TYPE, "1.0.100:2.0.0", "ab12", "x\n", 100);
	saves(*state, TYPE, "3.0.0:4.0.0", "ab12", "z\n", 3);
	assert_int_equal(entries(*state), 2 * TRACES_MAX);
	misses(*state, TYPE, "1.0.100:2.0.0", "ab12", "no trace of 1.0.100:2.0.0: none was kept");
	finds(*state, TYPE, "1.0.101:2.0.0", "ab12", "x\n", 101);
	finds(*state, TYPE, "3.0.0:4.0.0", "ab12", "z\n", 3);
	saves(*state, "other", KEY, "ab12", "x\n", 1); /* each type has its own bound */
	assert_int_equal(entries(*state), 2 * TRACES_MAX);
}

static void the_one_just_saved_stays_whatever_the_clock_says(void **state)
{
	char key[32], name[64];

	for (int i = 0; i < TRACES_MAX; i++) {
		snprintf(key, sizeof(key), "1.0.%d:2.0.0", i);
		saves(*state, TYPE, key, "ab12", "x\n", i);
		snprintf(name, sizeof(name), ".traces/" TYPE "/1.0.%d--2.0.0.trace", i);
		set_age(*state, name, time(NULL) + 100000 + i);
	}
	saves(*state, TYPE, "3.0.0:4.0.0", "ab12", "z\n", 3);
	finds(*state, TYPE, "3.0.0:4.0.0", "ab12", "z\n", 3);
	misses(*state, TYPE, "1.0.0:2.0.0", "ab12", "no trace of 1.0.0:2.0.0: none was kept");
}

static void what_a_killed_process_left_goes(void **state)
{
	saves(*state, TYPE, KEY, "ab12", "x\n", 1);
	scratch_write(*state, ".traces/" TYPE "/old.trace.77.tmp", "half");
	scratch_write(*state, ".traces/" TYPE "/new.trace.78.tmp", "half");
	set_age(*state, ".traces/" TYPE "/old.trace.77.tmp", 1000);
	saves(*state, TYPE, KEY, "ab12", "x\n", 1);
	assert_int_equal(entries(*state), 3); /* the other may be under way */
}

static void a_trace_that_is_not_there_cannot_be_saved(void **state)
{
	const struct scratch *s = *state;
	char none[128], message[256];
	struct err e;

	saves(s, TYPE, KEY, "ab12", "x\n", 1);
	snprintf(none, sizeof(none), "%s/none", s->dir);
	snprintf(message, sizeof(message), "%s: No such file or directory", none);
	assert_int_equal(traces_save(s->dir, TYPE, KEY, "ab13", none, NULL, &e), -ERR_IO);
	assert_string_equal(e.msg, message);
	finds(s, TYPE, KEY, "ab12", "x\n", 1);
}

static void a_state_folder_that_is_not_there_is_said_to_be_missing(void **state)
{
	const struct scratch *s = *state;
	const char *from = scratch_write(s, "run/uncut.trace", "x\n");
	char none[128];
	struct err e;

	snprintf(none, sizeof(none), "%s/none", s->dir);
	assert_int_equal(traces_save(none, TYPE, KEY, "ab13", from, NULL, &e), -ERR_IO);
	assert_non_null(strstr(e.msg, "none/.traces: No such file or directory"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(what_was_saved_is_found),
		CASE(it_lies_below_the_type_by_its_key),
		CASE(the_trace_may_be_kept_without_more),
		CASE(nothing_is_found_where_nothing_was_saved),
		CASE(other_images_are_a_miss),
		CASE(a_later_trace_takes_the_place),
		CASE(two_keys_of_one_name_are_told_apart),
		CASE(a_trace_that_does_not_belong_to_what_is_said_of_it_is_a_miss),
		CASE(a_damaged_description_is_a_miss),
		CASE(names_cannot_leave_the_folder),
		CASE(the_longest_name_is_kept_too),
		CASE(the_oldest_go),
		CASE(the_one_just_saved_stays_whatever_the_clock_says),
		CASE(what_a_killed_process_left_goes),
		CASE(a_trace_that_is_not_there_cannot_be_saved),
		CASE(a_state_folder_that_is_not_there_is_said_to_be_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
