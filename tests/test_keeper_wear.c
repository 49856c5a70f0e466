/* What the keeper counts of wear, and what it refuses when the budget is used up. */
#include "keeper_bench.h"
#include "keeper_fakes.h"

#include "../rig/file.h"

#define BOARD                                                                                      \
	"{\"power\":{\"driver\":\"fake\"},"                                                        \
	"\"trigger\":{\"driver\":\"fake\",\"erases\":\"{\\\"127\\\": 2, \\\"3\\\": 1}\"},"         \
	"\"probe\":{\"driver\":\"fake\",\"pages\":\"[[3, 2]]\"}}"
#define PLAIN "{\"power\":{\"driver\":\"fake\"}}"

static struct peer *opened(const char *devices)
{
	struct peer *owner = start_keeper_with(fake_find);

	assert_answer(open_board(owner, devices, NULL), "none");
	return owner;
}

static void power(struct peer *p, bool value)
{
	assert_answer(peer_call(p, "power.set", on(value)), "none");
}

static json_t *program(struct peer *p)
{
	return peer_call(p, "probe.program", json_pack("{s:[]}", "segments"));
}

static const char *wear_path(const char *suffix)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/.boards/b/wear.json%s", dir, suffix);
	return path;
}

/* The file's contents, or NULL; a new reference. */
static json_t *wear_file(void)
{
	return json_load_file(wear_path(""), 0, NULL);
}

static json_int_t erases(const json_t *file, const char *page)
{
	return json_integer_value(json_object_get(json_object_get(file, "erases"), page));
}

static json_int_t cycles(const json_t *file)
{
	return json_integer_value(json_object_get(file, "relay_cycles"));
}

static void erases_and_power_cycles_are_counted_over_leases(void **state)
{
	(void)state;
	for (int lease = 1; lease <= 2; lease++) {
		struct peer *owner = opened(BOARD);
		json_t *answer, *file;

		power(owner, true);
		power(owner, true); /* it was on already: no relay has moved */
		power(owner, false);
		power(owner, true);
		assert_answer(peer_call(owner, "trigger.mark", NULL), "none");
		assert_answer(program(owner), "none");
		answer = peer_call(owner, "info", NULL);
		assert_int_equal(cycles(json_object_get(result_of(answer), "wear")), 2 * lease);
		json_decref(answer);
		answer = peer_call(owner, "end", NULL);
		assert_string_equal(answer_error(answer), "none");
		/* what the trigger had to tell at the end is in the answer, and in the file */
		assert_int_equal(json_integer_value(json_object_get(
					 json_object_get(result_of(answer), "wear"), "erases_max")),
			4 * lease);
		json_decref(answer);
		peer_destroy(owner);
		assert_int_equal(wait_for(keeper_pid), 0);
		file = wear_file();
		assert_int_equal(cycles(file), 2 * lease);
		assert_int_equal(erases(file, "127"), 4 * lease);
		assert_int_equal(erases(file, "3"), 3 * lease);
		assert_int_equal(erases(file, "4"), 1 * lease);
		json_decref(file);
	}
}

static void a_board_that_never_had_power_is_not_asked_what_it_erased(void **state)
{
	(void)state;
	end(opened(BOARD));
	assert_int_not_equal(access(wear_path(""), F_OK), 0);
}

static void making_safe_writes_down_what_was_counted(void **state)
{
	struct peer *owner = opened(PLAIN);
	json_t *file;

	(void)state;
	power(owner, true);
	assert_answer(peer_call(owner, "safe", NULL), "none");
	file = wear_file();
	assert_int_equal(cycles(file), 1);
	json_decref(file);
	end(owner);
}

static void a_killed_keeper_is_written_down_a_few_seconds_before(void **state)
{
	struct peer *owner = opened(PLAIN);

	(void)state;
	power(owner, true);
	for (int ms = 0; access(wear_path(""), F_OK) != 0; ms += 20) {
		if (ms > PATIENCE_MS)
			fail_msg("never written");
		poll(NULL, 0, 20);
	}
	kill(keeper_pid, SIGKILL);
	wait_for(keeper_pid);
	peer_destroy(owner);
	end(opened(PLAIN));
}

static void a_torn_file_is_kept_aside_and_said(void **state)
{
	struct peer *owner;
	json_t *answer;
	struct err e;

	(void)state;
	assert_int_equal(lock_board_dir(dir, "b", true, (char[PATH_MAX]){0}, PATH_MAX, &e), 0);
	assert_int_equal(file_write(wear_path(""), "{\"since\":", 9, &e), 0);
	owner = opened(PLAIN);
	assert_int_equal(access(wear_path(".damaged"), F_OK), 0);
	answer = peer_call(owner, "info", NULL);
	assert_true(json_is_true(
		json_object_get(json_object_get(result_of(answer), "wear"), "damaged")));
	json_decref(answer);
	end(owner);
}

static void a_page_past_its_budget_stops_what_would_wear_it_more(void **state)
{
	static const char *const text = "board b: worn out: page 127 has had 6 of 5 erases";
	struct peer *owner;

	(void)state;
	board_keys = "{\"wear\":{\"erases\":5}}";
	owner = opened(BOARD);
	power(owner, true);
	for (int i = 0; i < 3; i++)
		assert_answer(peer_call(owner, "trigger.mark", NULL), "none");
	assert_refused(peer_call(owner, "trigger.mark", NULL), "bench", text);
	assert_refused(program(owner), "bench", text);
	assert_refused(peer_call(owner, "cut.arm", json_pack("{s:{s:i}}", "on", "op", 1)), "bench",
		"Raise wear = { erases, relay_cycles } in rig.conf");
	assert_refused(peer_call(owner, "power.cycle", NULL), "bench", text);
	power(owner, false); /* what does not wear goes on */
	assert_refused(peer_call(owner, "power.set", on(true)), "bench", text);
	assert_answer(peer_call(owner, "power.get", NULL), "none");
	end(owner);
	owner = opened(BOARD); /* the trigger told two more when the lease ended */
	assert_refused(
		peer_call(owner, "power.set", on(true)), "bench", "page 127 has had 8 of 5 erases");
	end(owner);
	board_keys = "{\"wear\":{\"erases\":50}}"; /* somebody has raised it */
	owner = opened(BOARD);
	power(owner, true);
	end(owner);
}

static void a_relay_past_its_budget_switches_no_more(void **state)
{
	struct peer *owner;

	(void)state;
	board_keys = "{\"wear\":{\"relay_cycles\":2}}";
	owner = opened(PLAIN);
	for (int i = 0; i < 2; i++) {
		power(owner, true);
		power(owner, false);
	}
	assert_refused(peer_call(owner, "power.set", on(true)), "bench",
		"the relay has had 2 of 2 power cycles (relay_cycles) that its budget allows");
	end(owner);
}

static void that_little_is_left_is_noted_once_in_a_lease(void **state)
{
	struct peer *owner;
	json_t *note;

	(void)state;
	board_keys = "{\"wear\":{\"relay_cycles\":10}}";
	owner = opened(PLAIN);
	for (int i = 0; i < 10; i++) {
		power(owner, true);
		power(owner, false);
	}
	note = peer_note(owner, "note");
	assert_string_equal(json_string_value(json_object_get(params_of(note), "device")), "board");
	assert_non_null(strstr(json_string_value(json_object_get(params_of(note), "text")),
		"worn to 90 %: the relay has had 9 of 10 power cycles"));
	json_decref(note);
	for (size_t i = 0; i < json_array_size(owner->notes); i++)
		assert_string_not_equal(json_string_value(json_object_get(
						json_array_get(owner->notes, i), "method")),
			"note");
	end(owner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		claim(erases_and_power_cycles_are_counted_over_leases),
		claim(a_board_that_never_had_power_is_not_asked_what_it_erased),
		claim(making_safe_writes_down_what_was_counted),
		claim(a_killed_keeper_is_written_down_a_few_seconds_before),
		claim(a_torn_file_is_kept_aside_and_said),
		claim(a_page_past_its_budget_stops_what_would_wear_it_more),
		claim(a_relay_past_its_budget_switches_no_more),
		claim(that_little_is_left_is_noted_once_in_a_lease),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("keeper: wear", tests, NULL, NULL);
}
