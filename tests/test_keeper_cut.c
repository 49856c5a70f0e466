/* What the keeper does when the power is to go at a console line or at an operation. */
#include "keeper_devices.h"

#define PLAIN                                                                                      \
	"{\"power\":{\"driver\":\"fake\"},\"console\":{\"driver\":\"fake\"},"                      \
	"\"trigger\":{\"driver\":\"fake\"},\"probe\":{\"driver\":\"fake\"}}"

static struct peer *opened(const char *devices)
{
	struct peer *owner = start_keeper_with(fake_find);

	assert_answer(open_board(owner, devices, NULL), "none");
	return owner;
}

static json_t *arm_console(struct peer *p, const char *pattern)
{
	return peer_call(p, "cut.arm", json_pack("{s:{s:s}}", "on", "console", pattern));
}

static json_t *arm_op(struct peer *p, int op)
{
	return peer_call(
		p, "cut.arm", json_pack("{s:{s:i, s:s}}", "on", "op", op, "tear", "clean"));
}

static void a_console_line_takes_the_power_and_ends_what_is_under_way(void **state)
{
	struct peer *owner = opened(PLAIN), *other = stranger();
	int waiting, programming;
	json_t *note;

	(void)state;
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	assert_answer(peer_call(other, "info", NULL), "none");
	assert_answer(arm_console(owner, "erasing"), "none");
	waiting = send_expect(owner, "done", 60000);
	programming = peer_send(owner, "probe.program", json_pack("{s:[]}", "segments"));
	forget_device_log();
	say(owner, "erasing page 3\ndo");
	assert_refused(
		peer_wait(owner, waiting), "cut", "board b: console (fake): the power was cut");
	assert_answer(peer_wait(owner, programming), "cut");
	assert_log_has("power off\npower get\n");
	note = peer_note(owner, "cut");
	assert_true(json_integer_value(json_object_get(params_of(note), "latency_ns")) > 0);
	assert_string_equal(
		json_string_value(json_object_get(params_of(note), "line")), "erasing page 3");
	json_decref(note);
	note = peer_note(other, "cut");
	assert_non_null(note);
	json_decref(note);
	note = peer_call(owner, "cut.disarm", NULL);
	assert_true(json_is_true(json_object_get(json_object_get(note, "result"), "fired")));
	json_decref(note);
	assert_answer(peer_wait(owner, send_expect(owner, "erasing", 100)), "timeout");
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	peer_destroy(other);
	end(owner);
}

static void a_trigger_that_only_tells_has_the_power_taken(void **state)
{
	struct peer *owner = opened(PLAIN);
	int waiting;
	json_t *note;

	(void)state;
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	assert_answer(arm_op(owner, 57), "none");
	assert_refused(arm_op(owner, 58), "usage", "a cut is armed already");
	waiting = send_expect(owner, "done", 60000);
	forget_device_log();
	assert_answer(command(owner, "fire"), "none");
	assert_refused(peer_wait(owner, waiting), "cut", "the power was cut at operation 57");
	assert_log_has("power off\npower get\n");
	note = peer_note(owner, "cut");
	assert_int_equal(json_integer_value(json_object_get(params_of(note), "op")), 57);
	json_decref(note);
	assert_answer(arm_op(owner, 58), "none"); /* for the second cut */
	end(owner);
}

static void a_trigger_that_takes_the_power_itself_is_verified(void **state)
{
	struct peer *owner = opened(PLAIN);
	json_t *note;

	(void)state;
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	assert_answer(arm_op(owner, 57), "none");
	forget_device_log();
	assert_answer(command(owner, "fire gone"), "none");
	note = peer_note(owner, "cut");
	assert_int_equal(json_integer_value(json_object_get(params_of(note), "latency_ns")), 0);
	json_decref(note);
	assert_log_begins("power get\n");
	end(owner);
}

static void who_begins_to_wait_after_a_cut_is_told_of_it_at_once(void **state)
{
	struct peer *owner = opened(PLAIN);
	json_t *note;

	(void)state;
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	assert_answer(arm_op(owner, 57), "none");
	assert_answer(command(owner, "fire gone"), "none");
	note = peer_note(owner, "cut");
	assert_non_null(note);
	json_decref(note);
	assert_refused(peer_wait(owner, send_expect(owner, "done", 60000)), "cut",
		"the power was cut at operation 57");
	/* who knows of it may wait for the next power-on */
	assert_answer(peer_call(owner, "cut.disarm", NULL), "none");
	assert_answer(peer_wait(owner, send_expect(owner, "done", 50)), "timeout");
	end(owner);
}

static void a_cut_whose_power_stays_on_is_the_benchs_error(void **state)
{
	struct peer *owner = opened(
		"{\"power\":{\"driver\":\"fake\",\"stuck\":true},\"console\":{\"driver\":\"fake\"}}");
	json_t *note;
	int waiting;

	(void)state;
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	assert_answer(arm_console(owner, "erasing"), "none");
	waiting = send_expect(owner, "done", 60000);
	say(owner, "erasing\n");
	assert_refused(peer_wait(owner, waiting), "bench", "the power did not go");
	note = peer_note(owner, "cut_failed");
	assert_non_null(note);
	json_decref(note);
	assert_refused(peer_call(owner, "cut.disarm", NULL), "bench", "power.get says on");
	peer_destroy(owner);
	assert_int_equal(wait_for(keeper_pid), 1);
	assert_int_equal(look(), LOCK_QUARANTINED);
}

static void what_fails_while_the_power_goes_fails_by_the_cut(void **state)
{
	struct peer *owner = opened("{\"power\":{\"driver\":\"fake\",\"set_ms\":300},"
				    "\"console\":{\"driver\":\"fake\"},"
				    "\"trigger\":{\"driver\":\"fake\"}}");
	int waiting, tracing, setting, disarm;

	(void)state;
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	assert_answer(arm_console(owner, "erasing"), "none");
	waiting = send_expect(owner, "done", 20); /* would be a time-out of its own */
	/* in one go, so that all of it comes in while the power goes */
	peer_send(owner, "console.write", json_pack("{s:s}", "data", "erasing\n"));
	tracing = peer_send(owner, "trigger.trace", json_pack("{s:s}", "path", "fail"));
	setting = peer_send(owner, "power.set", on(true));
	disarm = peer_send(owner, "cut.disarm", NULL);
	assert_answer(peer_wait(owner, waiting), "cut");
	assert_answer(peer_wait(owner, tracing), "cut");
	assert_answer(peer_wait(owner, setting), "cut");
	assert_answer(peer_wait(owner, disarm), "none");
	end(owner);
}

static void a_disarmed_cut_does_not_fire(void **state)
{
	struct peer *owner = opened(PLAIN);
	json_t *answer;

	(void)state;
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	assert_answer(arm_op(owner, 666), "usage"); /* refused by the device: not armed */
	assert_answer(arm_console(owner, "erasing"), "none");
	answer = peer_call(owner, "cut.disarm", NULL);
	assert_true(json_is_false(json_object_get(json_object_get(answer, "result"), "fired")));
	json_decref(answer);
	forget_device_log();
	say(owner, "erasing\n");
	answer = peer_call(owner, "power.get", NULL);
	assert_true(json_is_true(json_object_get(json_object_get(answer, "result"), "on")));
	json_decref(answer);
	assert_string_equal(device_log(), "power get\n");
	end(owner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		claim(a_console_line_takes_the_power_and_ends_what_is_under_way),
		claim(a_trigger_that_only_tells_has_the_power_taken),
		claim(a_trigger_that_takes_the_power_itself_is_verified),
		claim(who_begins_to_wait_after_a_cut_is_told_of_it_at_once),
		claim(a_cut_whose_power_stays_on_is_the_benchs_error),
		claim(what_fails_while_the_power_goes_fails_by_the_cut),
		claim(a_disarmed_cut_does_not_fire),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("keeper: cuts", tests, NULL, NULL);
}
