#include "../rig/lock.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/rig-lock-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	static const char *const names[] = {
		"/.boards/b/lock", "/.boards/b/quarantine", "/.boards/b", "/.boards", ""};
	char path[128];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s%s", dir, names[i]);
		remove(path);
	}
	return 0;
}

static json_t *somebody(void)
{
	return json_pack(
		"{s:s, s:s, s:i, s:s}", "user", "ann", "host", "lab", "pid", 4711, "what", "run 7");
}

static struct lock *take(json_t **left)
{
	json_t *holder = somebody();
	struct lock *lock;
	struct err e;

	assert_int_equal(lock_take(dir, "b", holder, NULL, &lock, left, &e), 0);
	json_decref(holder);
	return lock;
}

static enum lock_state look(json_t **text)
{
	enum lock_state state;
	struct err e;

	assert_int_equal(lock_look(dir, "b", &state, text, &e), 0);
	return state;
}

static void a_board_nobody_ever_took_is_free(void **state)
{
	(void)state;
	assert_int_equal(look(NULL), LOCK_FREE);
}

static void a_second_taker_is_told_who_holds_it_and_since_when(void **state)
{
	struct lock *lock, *second;
	json_t *holder = somebody();
	struct err e;

	(void)state;
	assert_int_equal(lock_take(dir, "b", holder, "2030-01-01T00:00:00Z", &lock, NULL, &e), 0);
	assert_int_equal(lock_take(dir, "b", holder, NULL, &second, NULL, &e), -ERR_BUSY);
	assert_null(second);
	assert_non_null(strstr(e.msg, "board b is leased by ann@lab (run 7, pid 4711) since 2"));
	assert_non_null(strstr(e.msg, ", until 2030-01-01T00:00:00Z"));
	assert_int_equal(lock_release(lock, true, &e), 0);
	json_decref(holder);
}

static void looking_does_not_take(void **state)
{
	struct lock *lock = take(NULL);
	json_t *text;
	struct err e;

	(void)state;
	assert_int_equal(look(&text), LOCK_LEASED);
	assert_string_equal(json_string_value(json_object_get(text, "what")), "run 7");
	assert_string_equal(json_string_value(json_object_get(text, "state")), "dirty");
	json_decref(text);
	assert_int_equal(lock_release(lock, true, &e), 0);
	assert_int_equal(look(&text), LOCK_FREE);
	assert_null(text);
	lock = take(NULL); /* looking left nothing behind that would be in the way */
	assert_int_equal(lock_release(lock, true, &e), 0);
}

static void a_renewed_expiry_is_seen(void **state)
{
	struct lock *lock = take(NULL);
	json_t *text;
	struct err e;

	(void)state;
	assert_int_equal(lock_renew(lock, "2031-02-03T04:05:06Z", &e), 0);
	assert_int_equal(look(&text), LOCK_LEASED);
	assert_string_equal(
		json_string_value(json_object_get(text, "expires")), "2031-02-03T04:05:06Z");
	json_decref(text);
	lock_release(lock, true, &e);
}

static void a_killed_holder_leaves_the_lock_free_and_dirty(void **state)
{
	int ready[2], status;
	json_t *text, *left;
	struct lock *lock;
	struct err e;
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		take(NULL);
		if (write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(look(NULL), LOCK_LEASED);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(look(&text), LOCK_DIRTY);
	assert_string_equal(json_string_value(json_object_get(text, "user")), "ann");
	json_decref(text);
	lock = take(&left);
	assert_non_null(left);
	json_decref(left);
	assert_int_equal(lock_release(lock, true, &e), 0);
	lock = take(&left);
	assert_null(left);
	assert_int_equal(lock_release(lock, true, &e), 0);
	close(ready[0]);
	close(ready[1]);
}

static void a_lock_released_dirty_stays_dirty(void **state)
{
	struct lock *lock = take(NULL);
	json_t *left;
	struct err e;

	(void)state;
	assert_int_equal(lock_release(lock, false, &e), 0);
	assert_int_equal(look(NULL), LOCK_DIRTY);
	lock = take(&left);
	assert_non_null(left);
	json_decref(left);
	assert_int_equal(lock_release(lock, true, &e), 0);
}

static void text_that_is_no_json_counts_as_dirty(void **state)
{
	struct lock *lock = take(NULL);
	char path[128];
	json_t *left;
	struct err e;
	FILE *f;

	(void)state;
	assert_int_equal(lock_release(lock, true, &e), 0);
	snprintf(path, sizeof(path), "%s/.boards/b/lock", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("{\"state\":\"cle", f);
	fclose(f);
	assert_int_equal(look(NULL), LOCK_DIRTY);
	lock = take(&left);
	assert_non_null(left);
	json_decref(left);
	assert_int_equal(lock_release(lock, true, &e), 0);
}

static void quarantine_says_why_until_it_is_cleared(void **state)
{
	json_t *text;
	struct err e;

	(void)state;
	assert_int_equal(lock_quarantine(dir, "b", "the relay's read-back says on", NULL, &e), 0);
	assert_int_equal(look(&text), LOCK_QUARANTINED);
	assert_string_equal(json_string_value(json_object_get(text, "reason")),
		"the relay's read-back says on");
	json_decref(text);
	assert_int_equal(lock_clear_quarantine(dir, "b", &e), 0);
	assert_int_equal(look(NULL), LOCK_FREE);
	assert_int_equal(lock_clear_quarantine(dir, "b", &e), -ERR_USAGE);
}

static void a_name_that_leaves_the_folder_is_refused(void **state)
{
	static const char *const bad[] = {"", ".", "..", "a/b", "../a", ".hidden", "a b"};
	char buf[256];
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(
			lock_board_dir(dir, bad[i], false, buf, sizeof(buf), &e), -ERR_USAGE);
	assert_int_equal(lock_board_dir(dir, "shelf-1.a_B", false, buf, sizeof(buf), &e), 0);
}

static void a_folder_that_cannot_be_made_is_an_error_of_this_host(void **state)
{
	json_t *holder = somebody();
	struct lock *lock;
	struct err e;

	(void)state;
	assert_int_equal(lock_take("/proc/nowhere", "b", holder, NULL, &lock, NULL, &e), -ERR_IO);
	assert_non_null(strstr(e.msg, "/proc/nowhere"));
	json_decref(holder);
}

#define claim(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		claim(a_board_nobody_ever_took_is_free),
		claim(a_second_taker_is_told_who_holds_it_and_since_when),
		claim(looking_does_not_take),
		claim(a_renewed_expiry_is_seen),
		claim(a_killed_holder_leaves_the_lock_free_and_dirty),
		claim(a_lock_released_dirty_stays_dirty),
		claim(text_that_is_no_json_counts_as_dirty),
		claim(quarantine_says_why_until_it_is_cleared),
		claim(a_name_that_leaves_the_folder_is_refused),
		claim(a_folder_that_cannot_be_made_is_an_error_of_this_host),
	};

	return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
