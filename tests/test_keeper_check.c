/* A board whose devices are only tried: each tells for itself what is wrong. */
#include "keeper_devices.h"

#define TRY json_pack("{s:b}", "try", 1)

static json_t *tried(struct peer *owner, const char *devices)
{
	json_t *answer = open_board(owner, devices, TRY), *result = json_incref(result_of(answer));

	if (!result)
		fail_msg("%s", answer_message(answer));
	json_decref(answer);
	return result;
}

static json_t *device(json_t *result, const char *name)
{
	return json_object_get(json_object_get(result, "devices"), name);
}

static bool is_ok(json_t *result, const char *name)
{
	return json_is_true(json_object_get(device(result, name), "ok"));
}

static const char *why(json_t *result, const char *name)
{
	const char *text = json_string_value(json_object_get(device(result, name), "error"));

	return text ? text : "";
}

static json_t *check(struct peer *p, const char *name)
{
	return peer_call(p, "check", json_pack("{s:s}", "device", name));
}

static void leave(struct peer *owner, json_t *result)
{
	json_decref(result);
	end(owner);
	assert_int_equal(look(), LOCK_FREE);
}

static void every_device_that_fails_is_told_and_hides_no_other(void **state)
{
	struct peer *owner = start_keeper_with(fake_find);
	json_t *result = tried(owner, "{\"power\":{\"driver\":\"fake\",\"open_fails\":true},"
				      "\"console\":{\"driver\":\"fake\"},"
				      "\"trigger\":{\"driver\":\"nope\"},"
				      "\"probe\":{\"driver\":\"fake\",\"create_fails\":true}}");

	(void)state;
	assert_string_equal(why(result, "power"), "board b: power (fake): no such device");
	assert_string_equal(
		json_string_value(json_object_get(device(result, "power"), "code")), "bench");
	assert_true(is_ok(result, "console"));
	assert_string_equal(why(result, "trigger"), "trigger: there is no driver \"nope\"");
	assert_string_equal(why(result, "probe"), "board b: probe (fake): this cannot be");
	assert_answer(check(owner, "console"), "none");
	assert_refused(check(owner, "power"), "bench", "no such device");
	assert_refused(check(owner, "probe"), "unsupported", "it has no probe");
	assert_refused(peer_call(owner, "power.set", on(true)), "bench", "no such device");
	leave(owner, result);
}

static void a_device_is_checked_by_its_driver(void **state)
{
	struct peer *owner = start_keeper_with(fake_find);
	json_t *answer,
		*result = tried(owner, "{\"power\":{\"driver\":\"fake\"},"
				       "\"console\":{\"driver\":\"checked\"},"
				       "\"probe\":{\"driver\":\"checked\",\"check_fails\":true}}");

	(void)state;
	assert_true(is_ok(result, "power") && is_ok(result, "console") && is_ok(result, "probe"));
	answer = check(owner, "console");
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(result_of(answer), "says"), 0)),
		"channel 3 of 8");
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(result_of(answer), "mend"), 0)),
		"tighten the screw");
	json_decref(answer);
	assert_refused(check(owner, "probe"), "bench", "it does not answer");
	assert_refused(check(owner, "meter"), "unsupported", "it has no meter");
	leave(owner, result);
}

static void power_without_a_check_of_its_own_is_read_and_not_switched(void **state)
{
	struct peer *owner = start_keeper_with(fake_find);
	json_t *answer, *result = tried(owner, "{\"power\":{\"driver\":\"fake\"}}");

	(void)state;
	forget_device_log();
	answer = check(owner, "power");
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(result_of(answer), "says"), 0)),
		"it is off");
	json_decref(answer);
	assert_string_equal(device_log(), "power get\n");
	leave(owner, result);
}

static void what_never_opened_and_cannot_be_made_safe_puts_no_board_in_quarantine(void **state)
{
	struct peer *owner = start_keeper_with(fake_find);
	json_t *result = tried(owner,
		"{\"power\":{\"driver\":\"fake\",\"open_fails\":true,\"safe_fails\":true},"
		"\"probe\":{\"driver\":\"fake\",\"open_fails\":true,\"safe_fails\":true}}");

	(void)state;
	assert_false(is_ok(result, "power"));
	leave(owner, result);
}

static void a_device_that_opened_and_cannot_be_made_safe_does(void **state)
{
	struct peer *owner = start_keeper_with(fake_find);
	json_t *result = tried(owner, "{\"power\":{\"driver\":\"fake\"},"
				      "\"probe\":{\"driver\":\"fake\",\"safe_fails\":true}}");

	(void)state;
	json_decref(result);
	assert_refused(peer_call(owner, "end", NULL), "bench", "it smells of smoke");
	peer_destroy(owner);
	assert_int_equal(wait_for(keeper_pid), 1);
	assert_int_equal(look(), LOCK_QUARANTINED);
}

static void a_board_in_quarantine_is_looked_at_and_stays_there(void **state)
{
	struct peer *owner = start_keeper_with(fake_find);
	json_t *result;
	struct err e;

	(void)state;
	json_decref(open_board(owner, "{\"power\":{\"driver\":\"fake\"}}", NULL));
	end(owner);
	assert_return_code(lock_quarantine(dir, "b", "it smells", NULL, &e), 0);
	owner = start_keeper_with(fake_find);
	result = tried(owner, "{\"power\":{\"driver\":\"fake\"}}");
	assert_non_null(
		strstr(json_string_value(json_object_get(result, "quarantined")), "it smells"));
	json_decref(result);
	assert_answer(check(owner, "power"), "none");
	assert_refused(peer_call(owner, "power.set", on(true)), "bench", "quarantined");
	assert_null(strstr(device_log(), "power on"));
	json_decref(peer_call(owner, "end", NULL));
	peer_destroy(owner);
	wait_for(keeper_pid);
	assert_int_equal(look(), LOCK_QUARANTINED);
}

/* A keeper that was killed leaves a board that has to be made safe before anything else. */
static void kill_one_with_the_board_on(void)
{
	struct peer *owner = start_keeper_with(fake_find);

	assert_answer(open_board(owner, "{\"power\":{\"driver\":\"fake\"}}", NULL), "none");
	kill(keeper_pid, SIGKILL);
	wait_for(keeper_pid);
	peer_destroy(owner);
	forget_device_log();
}

static void a_dirty_board_is_made_safe_before_it_is_tried(void **state)
{
	struct peer *owner;
	json_t *result;

	(void)state;
	kill_one_with_the_board_on();
	owner = start_keeper_with(fake_find);
	result = tried(owner, "{\"power\":{\"driver\":\"fake\"},"
			      "\"probe\":{\"driver\":\"fake\",\"open_fails\":true}}");
	assert_non_null(json_string_value(json_object_get(result, "made_safe")));
	assert_log_has("power make_safe");
	leave(owner, result);
}

static void a_dirty_board_that_cannot_be_made_safe_is_tried_and_goes_in_quarantine(void **state)
{
	struct peer *owner;
	json_t *result;

	(void)state;
	kill_one_with_the_board_on();
	owner = start_keeper_with(fake_find);
	result = tried(owner,
		"{\"power\":{\"driver\":\"fake\",\"open_fails\":true,\"safe_fails\":true},"
		"\"console\":{\"driver\":\"fake\"}}");
	assert_non_null(json_string_value(json_object_get(result, "quarantined")));
	assert_false(is_ok(result, "power"));
	assert_true(is_ok(result, "console"));
	json_decref(result);
	json_decref(peer_call(owner, "end", NULL));
	peer_destroy(owner);
	assert_int_equal(wait_for(keeper_pid), 1);
	assert_int_equal(look(), LOCK_QUARANTINED);
}

static void silence_of_a_console_that_is_not_there_proves_nothing(void **state)
{
	struct peer *owner = start_keeper_with(fake_find);
	json_t *answer,
		*result = tried(owner, "{\"power\":{\"driver\":\"fake\",\"blind\":true},"
				       "\"console\":{\"driver\":\"fake\",\"open_fails\":true}}");

	(void)state;
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	answer = peer_call(owner, "power.set", on(false));
	assert_string_equal(
		json_string_value(json_object_get(result_of(answer), "off")), "unverified");
	json_decref(answer);
	leave(owner, result);
}

static void what_the_drivers_find_is_listed_by_driver(void **state)
{
	static const struct driver *const table[] = {&fake_driver, &fake_checked_driver, NULL};
	json_t *all = driver_scan(table), *one = json_object_get(all, "checked");

	(void)state;
	assert_int_equal(json_object_size(all), 1);
	assert_string_equal(json_string_value(json_object_get(one, "help")),
		"does what its options say, and can be checked");
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(one, "caps"), 0)), "power");
	assert_string_equal(json_string_value(json_object_get(
				    json_array_get(json_object_get(one, "found"), 0), "what")),
		"a fake");
	json_decref(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		claim(every_device_that_fails_is_told_and_hides_no_other),
		claim(a_device_is_checked_by_its_driver),
		claim(power_without_a_check_of_its_own_is_read_and_not_switched),
		claim(what_never_opened_and_cannot_be_made_safe_puts_no_board_in_quarantine),
		claim(a_device_that_opened_and_cannot_be_made_safe_does),
		claim(a_board_in_quarantine_is_looked_at_and_stays_there),
		claim(a_dirty_board_is_made_safe_before_it_is_tried),
		claim(a_dirty_board_that_cannot_be_made_safe_is_tried_and_goes_in_quarantine),
		claim(silence_of_a_console_that_is_not_there_proves_nothing),
		cmocka_unit_test(what_the_drivers_find_is_listed_by_driver),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
