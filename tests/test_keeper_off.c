/* What the keeper takes as a sign that the DUT is off, and what gives a fed board away. */
#include "keeper_devices.h"

#define BOARD(power)                                                                               \
	"{\"power\":{\"driver\":\"fake\"" power "},\"console\":{\"driver\":\"fake\"},"             \
	"\"trigger\":{\"driver\":\"fake\"},\"probe\":{\"driver\":\"fake\"}}"
#define SURE ",\"drained\":true"
#define BLIND ",\"blind\":true"
#define FED "console bytes came in"

static struct peer *opened(const char *devices)
{
	struct peer *owner = start_keeper_with(fake_find);

	assert_answer(open_board(owner, devices, NULL), "none");
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	return owner;
}

/* Switches off; what the answer says of how it is known. */
static void off_is_known_by(struct peer *p, const char *off)
{
	json_t *answer = peer_call(p, "power.set", on(false));

	assert_string_equal(answer_error(answer), "none");
	assert_string_equal(json_string_value(json_object_get(result_of(answer), "off")), off);
	json_decref(answer);
}

static void arm(struct peer *p, const char *on_what)
{
	json_t *what = json_loads(on_what, 0, NULL);

	assert_answer(peer_call(p, "cut.arm", json_pack("{s:o}", "on", what)), "none");
}

static void cut_is_known_by(struct peer *p, const char *off)
{
	json_t *note = peer_note(p, "cut"), *answer;

	assert_string_equal(json_string_value(json_object_get(params_of(note), "off")), off);
	json_decref(note);
	answer = peer_call(p, "cut.disarm", NULL);
	assert_string_equal(json_string_value(json_object_get(
				    json_object_get(result_of(answer), "cut"), "off")),
		off);
	json_decref(answer);
}

/* Says something every few milliseconds until that is refused. */
static void talk_until_refused(struct peer *p)
{
	json_t *answer;
	int ms = 0;

	for (;;) {
		answer = peer_call(p, "console.write", json_pack("{s:s}", "data", "alive\n"));
		if (strcmp(answer_error(answer), "none") != 0)
			break;
		json_decref(answer);
		if ((ms += 5) > PATIENCE_MS)
			fail_msg("never refused");
		poll(NULL, 0, 5);
	}
	json_decref(answer);
}

/* --- what is believed ------------------------------------------------------------------------- */

static void a_device_that_reads_back_is_believed_at_once(void **state)
{
	struct peer *owner;

	(void)state;
	board_keys = "{\"power_off\":{\"discharge_ms\":4000}}";
	owner = opened(BOARD(SURE));
	off_is_known_by(owner, "read-back");
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	arm(owner, "{\"console\":\"erasing\"}");
	say(owner, "erasing\n");
	cut_is_known_by(owner, "read-back");
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	arm(owner, "{\"op\":57}");
	assert_answer(command(owner, "fire gone"), "none");
	cut_is_known_by(owner, "read-back");
	end(owner);
}

static void a_device_that_does_not_is_believed_when_the_console_is_silent(void **state)
{
	struct peer *owner;

	(void)state;
	board_keys = "{\"power_off\":{\"discharge_ms\":20}}";
	owner = opened(BOARD(BLIND));
	say(owner, "late:last words\n"); /* on their way when the power goes: no sign of life */
	off_is_known_by(owner, "console");
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	arm(owner, "{\"console\":\"erasing\"}");
	say(owner, "erasing\n");
	cut_is_known_by(owner, "console");
	end(owner);
}

static void without_either_the_cut_says_that_it_is_unverified(void **state)
{
	struct peer *owner = opened("{\"power\":{\"driver\":\"fake\"" BLIND "},"
				    "\"trigger\":{\"driver\":\"fake\"},"
				    "\"probe\":{\"driver\":\"fake\"}}");

	(void)state;
	off_is_known_by(owner, "unverified");
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	arm(owner, "{\"op\":57}");
	assert_answer(command(owner, "fire"), "none");
	cut_is_known_by(owner, "unverified");
	end(owner);
}

static void rig_conf_says_what_counts(void **state)
{
	static const struct {
		const char *keys, *devices, *off;
	} cases[] = {
		{"{\"power_off\":{\"verify\":\"console\",\"discharge_ms\":5}}", BOARD(SURE),
			"console"},
		{"{\"power_off\":{\"verify\":\"read-back\"}}", BOARD(""), "read-back"},
		{"{\"power_off\":{\"verify\":\"none\"}}", BOARD(SURE), "unverified"},
		{"{\"power_off\":{\"verify\":\"auto\"}}", BOARD(SURE), "read-back"},
	};
	struct peer *owner;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		board_keys = cases[i].keys;
		owner = opened(cases[i].devices);
		off_is_known_by(owner, cases[i].off);
		end(owner);
	}
	board_keys = "{\"power_off\":{\"verify\":\"read-back\"}}";
	owner = opened(BOARD(BLIND));
	assert_refused(peer_call(owner, "power.set", on(false)), "bench",
		"it cannot read back whether it is off");
	end(owner);
}

static void a_switch_that_is_given_up_while_the_console_is_listened_to_is_answered(void **state)
{
	struct peer *owner;

	(void)state;
	board_keys = "{\"power_off\":{\"discharge_ms\":4000}}";
	owner = opened(BOARD(BLIND));
	assert_refused(
		peer_call(owner, "power.set", json_pack("{s:b, s:i}", "on", 0, "timeout_ms", 20)),
		"timeout", "power.set");
	peer_send(owner, "power.set", on(false));
	end(owner); /* and one that making safe overtakes */
}

/* --- what gives it away ----------------------------------------------------------------------- */

static void a_board_that_goes_on_talking_is_not_off(void **state)
{
	struct peer *owner;
	int waiting, off;

	(void)state;
	board_keys = "{\"power_off\":{\"discharge_ms\":1500}}";
	owner = opened(BOARD(BLIND));
	off = peer_send(owner, "power.set", on(false));
	talk_until_refused(owner); /* over the first time and into the second */
	assert_refused(peer_wait(owner, off), "bench", FED);
	assert_refused(command(owner, "x"), "bench", "is the board fed through its console");
	assert_answer(peer_call(owner, "power.set", on(false)), "none"); /* now it is silent */
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	waiting = send_expect(owner, "ready", 60000);
	say(owner, "ready\n");
	assert_answer(peer_wait(owner, waiting), "none");
	end(owner);
}

static void bytes_after_a_read_back_end_what_is_under_way(void **state)
{
	struct peer *owner = opened(BOARD(SURE));
	json_t *note, *answer;
	int waiting;

	(void)state;
	off_is_known_by(owner, "read-back");
	waiting = send_expect(owner, "x", 60000);
	peer_send(owner, "probe.command", json_pack("{s:s}", "text", "speak"));
	assert_refused(peer_wait(owner, waiting), "bench", FED);
	note = peer_note(owner, "note");
	assert_non_null(strstr(json_string_value(json_object_get(params_of(note), "text")), FED));
	json_decref(note);
	assert_refused(peer_call(owner, "power.set", on(true)), "bench", FED);
	assert_refused(peer_call(owner, "power.cycle", NULL), "bench", FED);
	assert_answer(peer_call(owner, "power.get", NULL), "none");
	answer = peer_call(owner, "info", NULL);
	assert_non_null(
		strstr(json_string_value(json_object_get(result_of(answer), "phantom")), FED));
	json_decref(answer);
	assert_answer(peer_call(owner, "power.set", on(false)), "none");
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	end(owner);
}

static void bytes_that_lie_in_this_host_are_found_before_the_power_goes_on(void **state)
{
	struct peer *owner = opened(BOARD(SURE));

	(void)state;
	off_is_known_by(owner, "read-back");
	say(owner, "late:boot\n"); /* nobody has read them yet */
	assert_refused(
		peer_call(owner, "power.set", on(true)), "bench", "board b: power (fake): " FED);
	end(owner);
}

static void a_cycle_does_not_switch_a_fed_board_on(void **state)
{
	struct peer *owner = opened(BOARD(SURE));
	int cycling;

	(void)state;
	cycling = peer_send(owner, "power.cycle", json_pack("{s:i}", "off_ms", 15000));
	peer_send(owner, "probe.command", json_pack("{s:s}", "text", "speak"));
	assert_refused(peer_wait(owner, cycling), "bench", FED);
	end(owner);
}

static void a_cut_after_which_bytes_come_was_none(void **state)
{
	struct peer *owner = opened(BOARD(SURE));
	json_t *note;

	(void)state;
	arm(owner, "{\"op\":57}");
	assert_answer(command(owner, "fire"), "none");
	note = peer_note(owner, "cut");
	json_decref(note);
	assert_answer(command(owner, "speak"), "none");
	note = peer_note(owner, "cut_failed");
	assert_non_null(strstr(json_string_value(json_object_get(params_of(note), "reason")), FED));
	json_decref(note);
	assert_refused(peer_call(owner, "cut.disarm", NULL), "bench", FED);
	end(owner);
}

static void bytes_between_a_cut_and_its_proof_make_it_fail(void **state)
{
	struct peer *owner;
	json_t *note, *answer;
	int waiting;

	(void)state;
	board_keys = "{\"power_off\":{\"verify\":\"console\",\"discharge_ms\":500}}";
	owner = opened(BOARD(SURE));
	waiting = send_expect(owner, "never", 60000);
	arm(owner, "{\"console\":\"erasing\"}");
	say(owner, "erasing\n");
	talk_until_refused(owner);
	/* on a machine that is loaded enough they come when it was proven: then it fails too */
	note = peer_note(owner, "cut_failed");
	assert_non_null(note);
	json_decref(note);
	answer = peer_wait(owner, waiting);
	assert_string_not_equal(answer_error(answer), "none");
	json_decref(answer);
	end(owner);
}

static void a_cycle_of_a_silent_board_is_as_ever(void **state)
{
	struct peer *owner = opened(BOARD(SURE));

	(void)state;
	assert_answer(peer_call(owner, "power.cycle", json_pack("{s:i}", "off_ms", 5)), "none");
	say(owner, "late:ready\n");
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	assert_answer(peer_call(owner, "probe.command", json_pack("{s:s}", "text", "x")), "none");
	end(owner);
}

/* Such as a network power switch: what it was set to is taken for what it is, and proven otherwise.
 */
static void a_device_that_cannot_be_asked_is_what_it_was_set_to(void **state)
{
	struct peer *owner = start_keeper_with(fake_find);
	json_t *answer;

	(void)state;
	assert_answer(open_board(owner, BOARD(BLIND ",\"mute\":true"), NULL), "none");
	for (int is_on = 0; is_on < 2; is_on++) {
		if (is_on)
			assert_answer(peer_call(owner, "power.set", on(true)), "none");
		answer = peer_call(owner, "power.get", NULL);
		assert_string_equal(answer_error(answer), "none");
		assert_int_equal(json_is_true(json_object_get(result_of(answer), "on")), is_on);
		assert_true(json_is_true(json_object_get(result_of(answer), "assumed")));
		json_decref(answer);
	}
	off_is_known_by(owner, "console");
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	end(owner);
	assert_int_equal(look(), LOCK_FREE);
}

/* But not where rig.conf asks for a read-back. */
static void a_device_that_cannot_be_asked_reads_nothing_back(void **state)
{
	struct peer *owner;

	(void)state;
	board_keys = "{\"power_off\":{\"verify\":\"read-back\"}}";
	owner = opened(BOARD(BLIND ",\"mute\":true"));
	assert_refused(peer_call(owner, "power.set", on(false)), "bench",
		"it cannot read back whether it is off");
	end(owner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		claim(a_device_that_reads_back_is_believed_at_once),
		claim(a_device_that_does_not_is_believed_when_the_console_is_silent),
		claim(without_either_the_cut_says_that_it_is_unverified),
		claim(rig_conf_says_what_counts),
		claim(a_switch_that_is_given_up_while_the_console_is_listened_to_is_answered),
		claim(a_board_that_goes_on_talking_is_not_off),
		claim(bytes_after_a_read_back_end_what_is_under_way),
		claim(bytes_that_lie_in_this_host_are_found_before_the_power_goes_on),
		claim(a_cycle_does_not_switch_a_fed_board_on),
		claim(a_cut_after_which_bytes_come_was_none),
		claim(bytes_between_a_cut_and_its_proof_make_it_fail),
		claim(a_cycle_of_a_silent_board_is_as_ever),
		claim(a_device_that_cannot_be_asked_is_what_it_was_set_to),
		claim(a_device_that_cannot_be_asked_reads_nothing_back),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("keeper: off", tests, NULL, NULL);
}
