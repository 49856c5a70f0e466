/* Devices of real benches, as the keeper uses them: lines, meters, supplies, a probe that is lent.
 */
#include "keeper_devices.h"

#define FAKE "{\"driver\":\"fake\"}"

static struct peer *opened(const char *devices)
{
	struct peer *owner = start_keeper_with(fake_find);

	assert_answer(open_board(owner, devices, NULL), "none");
	return owner;
}

static json_t *of(const char *params)
{
	json_t *json = json_loads(params, 0, NULL);

	assert_non_null(json);
	return json;
}

/* What was written of the console. */
static const char *console_log(void)
{
	static char text[16384];
	char path[256];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/console-b.log", dir);
	f = fopen(path, "r");
	if (f) {
		n = fread(text, 1, sizeof(text) - 1, f);
		fclose(f);
	}
	text[n] = '\0';
	return text;
}

static void reset_and_strap_are_lines_that_are_set_and_read(void **state)
{
	struct peer *owner = opened("{\"reset\":" FAKE ",\"strap\":" FAKE "}");
	json_t *answer;

	(void)state;
	assert_answer(peer_call(owner, "reset.set", on(true)), "none");
	assert_log_has("reset assert\n");
	answer = peer_call(owner, "reset.get", NULL);
	assert_true(json_is_true(json_object_get(result_of(answer), "on")));
	json_decref(answer);
	answer = peer_call(owner, "strap.get", NULL);
	assert_true(json_is_false(json_object_get(result_of(answer), "on")));
	json_decref(answer);
	assert_answer(peer_call(owner, "strap.set", on(true)), "none");
	assert_answer(peer_call(owner, "reset.set", on(false)), "none");
	assert_log_has("strap assert\n");
	assert_log_has("reset let go\n");
	assert_refused(peer_call(owner, "meter.measure", NULL), "unsupported", "it has no meter");
	end(owner);
}

static void a_supplys_voltage_and_a_ports_lines_are_set(void **state)
{
	struct peer *owner = opened("{\"power\":" FAKE ",\"console\":" FAKE "}");

	(void)state;
	assert_answer(
		peer_call(owner, "power.volts", of("{\"volts\":2.75,\"ramp_ms\":40}")), "none");
	assert_log_has("power volts 2.75 in 40\n");
	assert_answer(peer_call(owner, "power.volts", of("{\"volts\":3}")), "none");
	assert_refused(
		peer_call(owner, "power.volts", of("{\"volts\":-1}")), "usage", "is 0 to 1000");
	assert_refused(
		peer_call(owner, "power.volts", of("{\"volts\":\"3\"}")), "usage", "a number");
	assert_answer(
		peer_call(owner, "console.lines", of("{\"dtr\":true,\"break_ms\":2}")), "none");
	assert_log_has("console lines dtr break\n");
	assert_refused(peer_call(owner, "console.lines", NULL), "usage", "none of dtr, rts");
	end(owner);
}

#define METERED(reads)                                                                             \
	"{\"power\":{\"driver\":\"fake\",\"blind\":true},\"console\":" FAKE ","                    \
	"\"meter\":{\"driver\":\"fake-meter\",\"reads\":\"" reads "\"}}"

/* Off is known by a meter that reads next to nothing, and not known by one that reads more. */
static void a_meter_shows_whether_it_is_off(void **state)
{
	static const struct {
		const char *devices, *keys, *says; /* says NULL: off by the meter */
	} cases[] = {
		{METERED("{\\\"volts\\\":0.02,\\\"amps\\\":0.5}"),
			"{\"power_off\":{\"discharge_ms\":5}}", NULL},
		{METERED("{\\\"volts\\\":0.7,\\\"amps\\\":0}"),
			"{\"power_off\":{\"discharge_ms\":5,\"volts_below\":0.8}}", NULL},
		{METERED("{\\\"volts\\\":null,\\\"amps\\\":0.0002}"),
			"{\"power_off\":{\"verify\":\"meter\",\"discharge_ms\":5}}", NULL},
		{METERED("{\\\"volts\\\":2.9,\\\"amps\\\":0}"),
			"{\"power_off\":{\"discharge_ms\":5}}",
			"the meter reads 2.9 V 5 ms after the power was switched off"},
		{METERED("{\\\"volts\\\":null,\\\"amps\\\":0.02}"),
			"{\"power_off\":{\"discharge_ms\":5}}", "the meter reads 0.02 A"},
		{METERED("{}"), "{\"power_off\":{\"discharge_ms\":5}}",
			"tells neither voltage nor current"},
		{"{\"power\":{\"driver\":\"fake\",\"blind\":true}}",
			"{\"power_off\":{\"verify\":\"meter\",\"discharge_ms\":5}}",
			"there is no meter"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct peer *owner;
		json_t *answer;

		board_keys = cases[i].keys;
		owner = opened(cases[i].devices);
		assert_answer(peer_call(owner, "power.set", on(true)), "none");
		answer = peer_call(owner, "power.set", on(false));
		if (cases[i].says) {
			assert_refused(answer, "bench", cases[i].says);
		} else {
			assert_string_equal(answer_error(answer), "none");
			assert_string_equal(
				json_string_value(json_object_get(result_of(answer), "off")),
				"meter");
			json_decref(answer);
		}
		end(owner);
		forget_device_log();
	}
	board_keys = NULL;
}

/* A switch that is given up while the meter is asked leaves nothing behind. */
static void a_switch_that_waits_for_the_meter_can_be_given_up(void **state)
{
	struct peer *owner;

	(void)state;
	board_keys = "{\"power_off\":{\"discharge_ms\":4000}}";
	owner = opened(METERED("{\\\"volts\\\":0}"));
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	assert_refused(peer_call(owner, "power.set", of("{\"on\":false,\"timeout_ms\":20}")),
		"timeout", "power.set: not done");
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	end(owner);
	board_keys = NULL;
}

#define TALKS "{\"power\":" FAKE ",\"console\":" FAKE ",\"probe\":" FAKE "}"

static void a_console_that_goes_away_leaves_a_gap_that_is_the_benchs(void **state)
{
	struct peer *owner = opened(TALKS);
	json_t *note;
	int waiting;

	(void)state;
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	say(owner, "before\n");
	waiting = send_expect(owner, "ready", 60000);
	assert_answer(command(owner, "console lost"), "none");
	assert_refused(peer_wait(owner, waiting), "bench", "lost: the port is gone");
	assert_refused(peer_call(owner, "console.write", of("{\"data\":\"x\"}")), "bench",
		"lost: the port is gone");
	assert_answer(command(owner, "console back"), "none");
	note = peer_note(owner, "back");
	json_decref(note);
	say(owner, "after\n");
	/* what was said in between nobody knows */
	assert_refused(peer_wait(owner, send_expect(owner, "ready", 20)), "bench",
		"but the console is back: it was gone for 7 ms");
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	assert_refused(peer_wait(owner, send_expect(owner, "ready", 20)), "timeout", "not seen");
	end(owner);
	assert_non_null(strstr(console_log(), "--- console was lost: the port is gone ---"));
	assert_non_null(strstr(console_log(), "--- console is back: it was gone for 7 ms ---"));
}

static void a_probe_that_a_trigger_has_is_busy_until_it_is_disarmed(void **state)
{
	struct peer *owner = opened(
		"{\"power\":" FAKE ",\"probe\":" FAKE ",\"trigger\":{\"driver\":\"fake-stop\"}}");

	(void)state;
	assert_answer(peer_call(owner, "cut.arm", of("{\"on\":{\"op\":5}}")), "none");
	assert_log_has("probe run until\n");
	assert_refused(peer_call(owner, "probe.halt", NULL), "busy", "the trigger has it");
	assert_answer(peer_call(owner, "cut.disarm", NULL), "none");
	assert_log_has("trigger ran: disarmed\n");
	assert_answer(peer_call(owner, "probe.halt", NULL), "none");
	end(owner);
}

/* What a second cut asks for; a probe cannot be taken up without power. */
static void open_tells_whether_the_trigger_can_be_armed_without_power(void **state)
{
	static const struct {
		const char *trigger;
		bool can;
	} cases[] = {{"\"trigger\":" FAKE ",", true}, {"", false},
		{"\"trigger\":{\"driver\":\"fake-stop\"},", false}};
	char devices[256];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct peer *owner = start_keeper_with(fake_find);
		json_t *answer, *can;

		snprintf(devices, sizeof(devices), "{%s\"power\":" FAKE ",\"probe\":" FAKE "}",
			cases[i].trigger);
		answer = open_board(owner, devices, NULL);
		can = json_object_get(result_of(answer), "recovery_cuts");
		assert_true(json_is_boolean(can));
		assert_int_equal(json_is_true(can), cases[i].can);
		json_decref(answer);
		end(owner);
	}
}

static void a_trigger_that_needs_a_probe_is_refused_without_one(void **state)
{
	struct peer *owner = start_keeper_with(fake_find);

	(void)state;
	assert_refused(open_board(owner, "{\"trigger\":{\"driver\":\"fake-stop\"}}", NULL),
		"config", "trigger (fake-stop): it needs a probe, and the board has none");
	peer_destroy(owner);
	wait_for(keeper_pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		claim(reset_and_strap_are_lines_that_are_set_and_read),
		claim(a_supplys_voltage_and_a_ports_lines_are_set),
		claim(a_meter_shows_whether_it_is_off),
		claim(a_switch_that_waits_for_the_meter_can_be_given_up),
		claim(a_console_that_goes_away_leaves_a_gap_that_is_the_benchs),
		claim(a_probe_that_a_trigger_has_is_busy_until_it_is_disarmed),
		claim(a_trigger_that_needs_a_probe_is_refused_without_one),
		claim(open_tells_whether_the_trigger_can_be_armed_without_power),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("keeper: devices", tests, NULL, NULL);
}
