/* The keeper with devices that do what the test says. */
#include "keeper_devices.h"

#define PLAIN                                                                                      \
	"{\"power\":{\"driver\":\"fake\"},\"console\":{\"driver\":\"fake\"},"                      \
	"\"trigger\":{\"driver\":\"fake\"},\"probe\":{\"driver\":\"fake\"}}"
#define POWER(options) "{\"power\":{\"driver\":\"fake\"," options "}}"

static struct peer *start_keeper(void)
{
	return start_keeper_with(fake_find);
}

static struct peer *opened(const char *devices, json_t *more)
{
	struct peer *owner = start_keeper();

	assert_answer(open_board(owner, devices, more), "none");
	return owner;
}

/* --- opening ---------------------------------------------------------------------------------- */

static void opens_devices_in_their_order_and_makes_safe_before_the_lock_is_free(void **state)
{
	struct peer *owner = start_keeper();
	json_t *answer = open_board(owner, PLAIN, NULL);

	(void)state;
	assert_string_equal(answer_error(answer), "none");
	assert_int_equal(
		json_object_size(json_object_get(json_object_get(answer, "result"), "caps")), 4);
	assert_true(json_is_null(json_object_get(json_object_get(answer, "result"), "made_safe")));
	json_decref(answer);
	assert_int_equal(look(), LOCK_LEASED);
	end(owner);
	assert_int_equal(look(), LOCK_FREE);
	assert_log_begins("power open\nconsole open\ntrigger open\nprobe open\npower get\n");
	assert_log_has("power make_safe, lock leased\npower get\nprobe close\n");
}

static void a_leased_board_is_refused_and_its_holder_named(void **state)
{
	struct peer *owner = opened(PLAIN, NULL), *second;
	pid_t first_pid = keeper_pid;

	(void)state;
	second = start_keeper();
	assert_refused(open_board(second, PLAIN, NULL), "busy",
		"board b is leased by ann@lab (run 7, pid");
	peer_destroy(second);
	assert_int_equal(wait_for(keeper_pid), 1);
	keeper_pid = first_pid;
	assert_int_equal(look(), LOCK_LEASED);
	end(owner);
}

static void a_device_that_does_not_open_is_named_and_the_board_left_safe(void **state)
{
	struct peer *owner = start_keeper();

	(void)state;
	assert_refused(open_board(owner,
			       "{\"power\":{\"driver\":\"fake\"},"
			       "\"probe\":{\"driver\":\"fake\",\"open_fails\":true}}",
			       NULL),
		"bench", "board b: probe (fake): no such device");
	assert_int_equal(wait_for(keeper_pid), 1);
	assert_int_equal(look(), LOCK_FREE);
	assert_log_has("power make_safe, lock leased\npower get\n");
	peer_destroy(owner);
}

static void what_rig_conf_got_wrong_is_said(void **state)
{
	static const struct {
		const char *devices, *text;
	} cases[] = {
		{"{\"power\":{\"driver\":\"none\"}}", "power: there is no driver \"none\""},
		{"{\"transport\":{\"driver\":\"fake\"}}",
			"transport: the driver fake does not offer"},
		{"{\"powr\":{\"driver\":\"fake\"}}", "no capability \"powr\""},
		{"{\"power\":{}}", "power: no driver is named"},
		{POWER("\"stuk\":true"), "board b: power (fake): it has no option \"stuk\""},
		{POWER("\"stuck\":1"), "board b: power (fake): option stuck is true or false"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct peer *owner = start_keeper();

		assert_refused(open_board(owner, cases[i].devices, NULL), "config", cases[i].text);
		peer_destroy(owner);
		assert_int_equal(wait_for(keeper_pid), 1);
		assert_int_equal(look(), LOCK_FREE);
	}
}

static void a_killed_keepers_board_is_made_safe_by_the_next_before_anything_else(void **state)
{
	struct peer *owner = opened(PLAIN, NULL);
	json_t *answer;

	(void)state;
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	kill(keeper_pid, SIGKILL);
	assert_int_equal(wait_for(keeper_pid), -SIGKILL);
	peer_destroy(owner);
	assert_int_equal(look(), LOCK_DIRTY);
	forget_device_log();
	owner = start_keeper();
	answer = open_board(owner, PLAIN, NULL);
	assert_non_null(strstr(
		json_string_value(json_object_get(json_object_get(answer, "result"), "made_safe")),
		"its keeper was killed (run 7 by ann@lab"));
	json_decref(answer);
	assert_log_begins("power open\nconsole open\ntrigger open\nprobe open\n");
	assert_log_has("power make_safe, lock leased\npower get\npower get\n");
	end(owner);
	assert_int_equal(look(), LOCK_FREE);
}

static void a_dirty_board_that_cannot_be_opened_stays_dirty(void **state)
{
	struct peer *owner = opened(PLAIN, NULL);

	(void)state;
	kill(keeper_pid, SIGKILL);
	wait_for(keeper_pid);
	peer_destroy(owner);
	owner = start_keeper();
	assert_answer(open_board(owner, "{\"powr\":{}}", NULL), "config");
	peer_destroy(owner);
	wait_for(keeper_pid);
	assert_int_equal(look(), LOCK_DIRTY);
}

/* --- ends ------------------------------------------------------------------------------------- */

static void a_killed_owners_board_is_made_safe_before_the_lock_is_free(void **state)
{
	struct peer *owner = opened(PLAIN, NULL);
	pid_t holder;

	(void)state;
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	peer_send(owner, "probe.program", json_pack("{s:[]}", "segments"));
	assert_answer(peer_call(owner, "power.get", NULL), "none");
	holder = fork();
	if (holder == 0) {
		pause();
		_exit(0);
	}
	peer_destroy(owner); /* now only the child holds the connection */
	assert_int_equal(look(), LOCK_LEASED);
	kill(holder, SIGKILL);
	wait_for(holder);
	assert_int_equal(wait_for(keeper_pid), 0);
	assert_int_equal(look(), LOCK_FREE);
	assert_log_has("probe cancelled\n");
	assert_log_has("power make_safe, lock leased\npower get\n");
}

static void a_signal_ends_the_lease_safely(void **state)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP};

	(void)state;
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
		struct peer *owner = opened(PLAIN, NULL);
		json_t *note;

		forget_device_log();
		kill(keeper_pid, signals[i]);
		note = peer_note(owner, "ending");
		assert_non_null(note);
		json_decref(note);
		assert_int_equal(wait_for(keeper_pid), 0);
		assert_log_has("power make_safe, lock leased\npower get\n");
		assert_int_equal(look(), LOCK_FREE);
		peer_destroy(owner);
	}
}

static void a_signal_while_a_device_opens_ends_safely_too(void **state)
{
	struct peer *owner = start_keeper();
	json_t *parsed = json_loads(
		"{\"power\":{\"driver\":\"fake\"},\"probe\":{\"driver\":\"fake\",\"open_ms\":0}}",
		0, NULL);
	int id = peer_send(owner, "open",
		json_pack("{s:{s:s, s:s, s:o}, s:s, s:{}}", "board", "name", "b", "state_dir", dir,
			"devices", parsed, "log_dir", dir, "owner"));

	(void)state;
	wait_log("probe open\n");
	kill(keeper_pid, SIGTERM);
	assert_refused(peer_wait(owner, id), "cancelled", "open was given up: signal TERM");
	assert_int_equal(wait_for(keeper_pid), 1);
	assert_log_has("probe cancelled\n");
	assert_log_has("power make_safe, lock leased\npower get\n");
	assert_int_equal(look(), LOCK_FREE);
	peer_destroy(owner);
}

static void a_lease_ends_when_its_time_is_up(void **state)
{
	struct peer *owner = opened(PLAIN, json_pack("{s:i}", "ttl_ms", 300));
	json_t *note = peer_note(owner, "ending");

	(void)state;
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(note, "params"), "reason")),
		"its time is up");
	json_decref(note);
	assert_int_equal(wait_for(keeper_pid), 0);
	assert_log_has("power make_safe, lock leased\n");
	peer_destroy(owner);
}

static void a_lease_can_be_made_to_outlive_its_owner(void **state)
{
	struct peer *owner = opened(PLAIN, NULL), *other;

	(void)state;
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	assert_answer(peer_call(owner, "lease.renew",
			      json_pack("{s:i, s:b}", "ttl_ms", 60000, "hand", 1)),
		"none");
	peer_destroy(owner);
	other = stranger();
	assert_answer(peer_call(other, "power.get", NULL), "none");
	end(other);
}

static void a_lease_made_implicit_ends_when_the_board_is_off_and_nobody_is_there(void **state)
{
	struct peer *owner = opened(PLAIN, NULL), *other;

	(void)state;
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	assert_answer(
		peer_call(owner, "lease.renew",
			json_pack("{s:i, s:b, s:b}", "ttl_ms", 60000, "hand", 1, "implicit", 1)),
		"none");
	peer_destroy(owner);
	other = stranger();
	assert_answer(peer_call(other, "power.set", on(false)), "none");
	peer_destroy(other);
	assert_int_equal(wait_for(keeper_pid), 0);
	assert_int_equal(look(), LOCK_FREE);
}

/* Where the keeper says that gdb is served; 0: nowhere. */
static json_int_t gdb_port(struct peer *p)
{
	json_t *answer = peer_call(p, "info", NULL), *gdb;
	json_int_t port;

	gdb = json_object_get(json_object_get(answer, "result"), "gdb");
	assert_non_null(gdb);
	port = json_integer_value(json_object_get(gdb, "port"));
	json_decref(answer);
	return port;
}

static void where_gdb_is_served_is_known_until_the_probe_lets_go(void **state)
{
	struct peer *owner = opened(PLAIN, NULL);

	(void)state;
	assert_int_equal(gdb_port(owner), 0);
	assert_answer(peer_call(owner, "probe.gdb", NULL), "none");
	assert_int_equal(gdb_port(owner), 3333);
	assert_answer(peer_call(owner, "probe.release", NULL), "none");
	assert_int_equal(gdb_port(owner), 0);
	assert_answer(peer_call(owner, "probe.gdb", NULL), "none");
	assert_answer(peer_call(owner, "safe", NULL), "none");
	assert_int_equal(gdb_port(owner), 0);
	end(owner);
}

static void an_owner_that_goes_while_a_device_opens_leaves_a_safe_board(void **state)
{
	struct peer *owner = start_keeper();
	json_t *parsed = json_loads(
		"{\"power\":{\"driver\":\"fake\"},\"probe\":{\"driver\":\"fake\",\"open_ms\":0}}",
		0, NULL);

	(void)state;
	peer_send(owner, "open",
		json_pack("{s:{s:s, s:s, s:o}, s:s, s:{}}", "board", "name", "b", "state_dir", dir,
			"devices", parsed, "log_dir", dir, "owner"));
	wait_log("probe open\n");
	peer_destroy(owner);
	assert_int_equal(wait_for(keeper_pid), 1);
	assert_log_has("probe cancelled\n");
	assert_log_has("power make_safe, lock leased\npower get\n");
	assert_int_equal(look(), LOCK_FREE);
}

static void a_renewed_lease_goes_on(void **state)
{
	struct peer *owner = opened(PLAIN, json_pack("{s:i}", "ttl_ms", 60000));
	json_t *answer = peer_call(owner, "lease.renew", json_pack("{s:i}", "ttl_ms", 0));

	(void)state;
	assert_true(json_is_null(json_object_get(json_object_get(answer, "result"), "expires")));
	json_decref(answer);
	end(owner);
}

static void a_power_that_stays_on_quarantines_the_board(void **state)
{
	struct peer *owner = opened(POWER("\"stuck\":true"), NULL);
	enum lock_state now;
	json_t *text;
	struct err e;

	(void)state;
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	assert_refused(peer_call(owner, "end", NULL), "bench",
		"power (fake): it was set off, and says on");
	assert_int_equal(wait_for(keeper_pid), 1);
	peer_destroy(owner);
	assert_int_equal(lock_look(dir, "b", &now, &text, &e), 0);
	assert_int_equal(now, LOCK_QUARANTINED);
	assert_non_null(strstr(json_string_value(json_object_get(text, "reason")), "says on"));
	json_decref(text);
	owner = start_keeper();
	assert_refused(open_board(owner, PLAIN, NULL), "bench", "board b is quarantined since");
	peer_destroy(owner);
	wait_for(keeper_pid);
	assert_int_equal(lock_clear_quarantine(dir, "b", &e), 0);
	assert_int_equal(look(), LOCK_DIRTY); /* a person mended it; it is made safe all the same */
	end(opened(PLAIN, NULL));
	assert_int_equal(look(), LOCK_FREE);
}

static void making_safe_goes_on_through_failures_and_reports_all(void **state)
{
	struct peer *owner = opened("{\"power\":{\"driver\":\"fake\",\"safe_fails\":true},"
				    "\"console\":{\"driver\":\"fake\",\"safe_ms\":0},"
				    "\"probe\":{\"driver\":\"fake\",\"safe_fails\":true}}",
		NULL);
	json_t *answer = peer_call(owner, "safe", NULL);

	(void)state;
	assert_string_equal(answer_error(answer), "bench");
	assert_non_null(strstr(answer_message(answer), "probe (fake): it smells of smoke; "));
	assert_non_null(
		strstr(answer_message(answer), "console (fake): make safe: not done within"));
	assert_non_null(strstr(answer_message(answer), "power (fake): it smells of smoke"));
	json_decref(answer);
	assert_log_has("console cancelled\npower make_safe, lock leased\npower get\n");
	assert_int_equal(look(), LOCK_QUARANTINED);
	assert_refused(peer_call(owner, "power.set", on(true)), "bench", "board b is quarantined");
	peer_destroy(owner);
	assert_int_equal(wait_for(keeper_pid), 1);
}

static void safe_cancels_what_is_under_way_and_the_lease_goes_on(void **state)
{
	struct peer *owner = opened(PLAIN, NULL);
	int hanging, waiting;

	(void)state;
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	hanging = peer_send(owner, "probe.command", json_pack("{s:s}", "text", "hang"));
	waiting = send_expect(owner, "never", 60000);
	assert_answer(peer_call(owner, "safe", NULL), "none");
	assert_answer(peer_wait(owner, hanging), "cancelled");
	assert_answer(peer_wait(owner, waiting), "cancelled");
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	end(owner);
}

/* --- leases by hand --------------------------------------------------------------------------- */

static void a_board_powered_by_hand_stays_on_until_it_is_powered_off(void **state)
{
	struct peer *owner = opened(PLAIN, by_hand(true)), *other;
	json_t *answer;

	(void)state;
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	peer_destroy(owner);
	other = stranger();
	answer = peer_call(other, "info", NULL);
	assert_true(json_is_true(json_object_get(json_object_get(answer, "result"), "power")));
	json_decref(answer);
	peer_destroy(other);
	other = stranger(); /* it came and went, and the board is still on */
	assert_answer(peer_call(other, "power.set", on(false)), "none");
	peer_destroy(other);
	assert_int_equal(wait_for(keeper_pid), 0);
	assert_int_equal(look(), LOCK_FREE);
}

static void an_implicit_lease_of_a_board_that_stayed_off_ends_with_its_client(void **state)
{
	struct peer *owner = opened(PLAIN, by_hand(true));

	(void)state;
	peer_destroy(owner);
	assert_int_equal(wait_for(keeper_pid), 0);
}

static void who_leaves_as_the_last_is_answered_when_the_board_is_free(void **state)
{
	struct peer *owner = opened(PLAIN, by_hand(true)), *other;
	json_t *answer;

	(void)state;
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	answer = peer_call(owner, "leave", NULL); /* it is on: the lease stays */
	assert_true(json_is_null(result_of(answer)));
	json_decref(answer);
	other = stranger();
	assert_answer(peer_call(other, "power.set", on(false)), "none");
	answer = peer_call(other, "leave", NULL); /* there is somebody else */
	assert_true(json_is_null(result_of(answer)));
	json_decref(answer);
	peer_destroy(owner);
	do { /* until the keeper has seen that the first one is gone */
		answer = peer_call(other, "leave", NULL);
		assert_string_equal(answer_error(answer), "none");
		if (json_is_object(result_of(answer)))
			assert_int_equal(look(), LOCK_FREE);
		json_decref(answer);
	} while (look() != LOCK_FREE);
	peer_destroy(other);
	assert_int_equal(wait_for(keeper_pid), 0);
}

static void an_explicit_lease_stays_until_it_is_ended(void **state)
{
	struct peer *owner = opened(PLAIN, by_hand(false)), *other;

	(void)state;
	peer_destroy(owner);
	other = stranger();
	assert_answer(peer_call(other, "power.set", on(false)), "none");
	peer_destroy(other);
	other = stranger();
	end(other);
}

static void a_stranger_may_look_and_stop_but_not_touch(void **state)
{
	struct peer *owner = opened(PLAIN, NULL), *other = stranger();
	json_t *answer;
	int waiting;

	(void)state;
	assert_refused(peer_call(other, "power.set", on(true)), "busy",
		"board b is leased by ann (run 7, pid ");
	assert_answer(peer_call(other, "cut.arm", json_object()), "busy");
	assert_answer(peer_call(other, "open", json_object()), "busy");
	answer = peer_call(other, "info", NULL);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(answer, "result"), "board")),
		"b");
	json_decref(answer);
	assert_answer(peer_call(other, "console.follow", on(true)), "none");
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	say(owner, "hello\n");
	answer = peer_note(other, "console");
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(answer, "params"), "data")),
		"hello\n");
	json_decref(answer);
	assert_answer(peer_call(other, "console.tail", NULL), "none");
	waiting = send_expect(owner, "never", 60000);
	assert_answer(peer_call(owner, "info", NULL), "none"); /* it is under way by now */
	assert_answer(peer_call(other, "safe", NULL), "none");
	assert_answer(peer_wait(owner, waiting), "cancelled");
	end(other);
	peer_destroy(owner);
}

/* --- operations ------------------------------------------------------------------------------- */

static void a_missing_device_is_named_with_what_to_write(void **state)
{
	struct peer *owner = opened(POWER("\"is_on\":true"), NULL);

	(void)state;
	assert_refused(peer_call(owner, "trigger.mark", NULL), "unsupported",
		"board b: it has no trigger (rig.conf: trigger = {");
	assert_answer(
		peer_call(owner, "cut.arm", json_pack("{s:{s:i}}", "on", "op", 1)), "unsupported");
	assert_answer(peer_call(owner, "cut.arm", json_pack("{s:{s:s}}", "on", "console", "x")),
		"unsupported");
	assert_answer(
		peer_call(owner, "snapshot.save", json_pack("{s:s}", "name", "x")), "unsupported");
	end(owner);
}

static void wrong_parameters_are_refused_by_name(void **state)
{
	static const struct {
		const char *method, *params, *text;
	} cases[] = {
		{"power.set", "{}", "power.set: \"on\" is missing: true or false"},
		{"power.set", "{\"on\":1}", "power.set: \"on\" is true or false"},
		{"power.set", "{\"on\":true,\"now\":1}", "power.set: it has no parameter \"now\""},
		{"power.set", "{\"on\":true,\"timeout_ms\":0}", "timeout_ms is a whole number"},
		{"power.set", "{\"on\":true,\"timeout_ms\":\"1\"}", "timeout_ms is a whole"},
		{"probe.read", "{\"address\":4294967296,\"size\":1,\"path\":\"x\"}", "of 32 bits"},
		{"probe.read", "{\"address\":-1,\"size\":1,\"path\":\"x\"}", "of 32 bits"},
		{"probe.program", "{\"segments\":{}}", "\"segments\" is a list"},
		{"console.expect", "{\"pattern\":\"(\"}", "pattern /(/"},
		{"console.expect", "{\"pattern\":\"x\",\"from\":\"then\"}", "\"from\" is"},
		{"trigger.trace", "{\"path\":\"/x\",\"from\":0}", "\"from\" counts from 1"},
		{"trigger.trace", "{\"path\":\"/x\",\"from\":-1}", "a whole number, not negative"},
		{"cut.arm", "{\"on\":{}}", "\"on\" is {\"op\": N"},
		{"cut.arm", "{\"on\":{\"op\":0}}", "\"on\" is {\"op\": N"},
		{"cut.arm", "{\"on\":{\"op\":1,\"console\":\"x\"}}", "\"on\" is {\"op\": N"},
		{"no.such", "{}", "there is no method \"no.such\""},
		{"open", "{\"board\":{},\"log_dir\":\"/x\",\"owner\":{}}", "open already"},
	};
	struct peer *owner = opened(PLAIN, NULL);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_refused(
			peer_call(owner, cases[i].method, json_loads(cases[i].params, 0, NULL)),
			"usage", cases[i].text);
	end(owner);
}

static void every_method_before_open_is_refused(void **state)
{
	struct peer *owner = start_keeper();

	(void)state;
	assert_answer(peer_call(owner, "power.set", on(true)), "usage");
	assert_answer(peer_call(owner, "safe", NULL), "usage");
	assert_answer(peer_call(owner, "info", NULL), "none");
	peer_destroy(owner);
	assert_int_equal(wait_for(keeper_pid), 0);
}

static void a_device_does_one_operation_at_a_time(void **state)
{
	struct peer *owner = opened(PLAIN, NULL);
	int hanging = peer_send(
		owner, "probe.command", json_pack("{s:s, s:i}", "text", "hang", "timeout_ms", 200));

	(void)state;
	assert_refused(peer_call(owner, "probe.halt", NULL), "busy",
		"board b: probe (fake): busy with probe.command");
	assert_refused(peer_wait(owner, hanging), "timeout",
		"board b: probe (fake): probe.command: not done within 200 ms");
	assert_answer(peer_call(owner, "probe.halt", NULL), "none");
	end(owner);
	assert_log_has("probe cancelled\n");
}

static void a_lost_device_is_told_and_refuses_with_the_reason(void **state)
{
	struct peer *owner = opened(PLAIN, NULL);
	json_t *note;

	(void)state;
	assert_refused(command(owner, "lost"), "bench", "board b: probe (fake): unplugged");
	note = peer_note(owner, "lost");
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(note, "params"), "device")),
		"probe");
	json_decref(note);
	assert_refused(peer_call(owner, "probe.halt", NULL), "bench", "lost: unplugged");
	end(owner);
}

static void power_cycle_switches_off_then_on(void **state)
{
	struct peer *owner = opened(PLAIN, NULL);

	(void)state;
	assert_answer(peer_call(owner, "power.cycle", json_pack("{s:i}", "off_ms", 10)), "none");
	assert_log_has("power off\npower get\npower on\n");
	assert_refused(peer_call(owner, "power.cycle",
			       json_pack("{s:i, s:i}", "off_ms", 60000, "timeout_ms", 50)),
		"timeout", "power.cycle");
	assert_answer(peer_call(owner, "power.get", NULL), "none");
	end(owner);
}

static void a_client_that_vanishes_leaves_no_operation_behind(void **state)
{
	struct peer *owner = opened(PLAIN, by_hand(false)), *other = stranger();

	(void)state;
	peer_send(other, "probe.command", json_pack("{s:s}", "text", "hang"));
	send_expect(other, "never", 60000);
	assert_answer(peer_call(other, "info", NULL), "none");
	peer_destroy(other);
	wait_log("probe cancelled\n");
	assert_answer(peer_call(owner, "probe.halt", NULL), "none");
	end(owner);
}

static void rubbish_and_floods_do_not_harm_the_keeper(void **state)
{
	static const char rubbish[] = "\n{}\n[1,2]\nnot json\n{\"jsonrpc\":\"2.0\",\"method\":3}\n"
				      "{\"id\":77,\"method\":\"info\",\"params\":[]}\n"
				      "{\"method\":\"end\"}\n{\"id\":9,\"result\":1}\n\xff\xfe\n";
	struct peer *owner = opened(PLAIN, NULL), *other = stranger(), *flood = stranger();
	size_t refused = 0;
	json_t *message;

	(void)state;
	peer_write(other, rubbish, sizeof(rubbish) - 1);
	assert_answer(peer_call(other, "info", NULL), "none");
	peer_write(other, "{\"id\":", 6); /* and goes in the middle of a message */
	peer_destroy(other);
	for (int i = 0; i < 200; i++)
		send_expect(owner, "never", 60000);
	for (int i = 0; i < 3000; i++)
		peer_send(flood, "info", NULL);
	assert_answer(peer_call(flood, "info", NULL), "none");
	peer_destroy(flood);
	while (refused < 136) { /* all but the 64 that may be under way */
		message = peer_read(owner, PATIENCE_MS);
		assert_string_equal(answer_error(message), "busy");
		json_decref(message);
		refused++;
	}
	assert_answer(peer_call(owner, "info", NULL), "busy");
	peer_destroy(owner);
	assert_int_equal(wait_for(keeper_pid), 0);
	assert_int_equal(look(), LOCK_FREE);
}

/* --- console ---------------------------------------------------------------------------------- */

static void bytes_from_before_a_power_on_satisfy_nothing_after_it(void **state)
{
	struct peer *owner;
	int waiting;
	json_t *answer;

	(void)state;
	board_keys = "{\"power_off\":{\"verify\":\"none\"}}"; /* bytes come in without power */
	owner = opened(PLAIN, NULL);
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	say(owner, "ready 1\n");
	say(owner, "late:ready 2\n"); /* on its way in this host when the power goes on again */
	assert_answer(peer_call(owner, "power.set", on(false)), "none");
	say(owner, "late:ready 3\n");
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	assert_refused(peer_wait(owner, send_expect(owner, "ready", 100)), "timeout",
		"/ready/ not seen; nothing came in since power-on");
	waiting = send_expect(owner, "ready (\\d)", 60000);
	say(owner, "ready 4\n");
	answer = peer_wait(owner, waiting);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(answer, "result"), "text")),
		"ready 4");
	json_decref(answer);
	end(owner);
}

static void a_megabyte_of_console_and_then_the_line(void **state)
{
	struct peer *owner = opened(PLAIN, NULL);
	char *text = malloc(1 << 16);
	int waiting;

	(void)state;
	memset(text, 'x', 1 << 16);
	for (size_t i = 63; i < 1 << 16; i += 64)
		text[i] = '\n';
	text[(1 << 16) - 1] = '\0';
	assert_answer(peer_call(owner, "power.set", on(true)), "none");
	waiting = send_expect(owner, "^all is well$", 60000);
	for (int i = 0; i < 20; i++)
		say(owner, text);
	say(owner, "\nall is well\n");
	assert_answer(peer_wait(owner, waiting), "none");
	assert_answer(peer_wait(owner, send_expect(owner, "^all is well$", 60000)), "none");
	free(text);
	end(owner);
}

static void a_board_somebody_else_switched_on_is_believed_from_then_on(void **state)
{
	struct peer *owner = opened(PLAIN, NULL);

	(void)state;
	say(owner, "ready 1\n");
	assert_answer(command(owner, "somebody switches on"), "none");
	assert_answer(peer_call(owner, "power.get", NULL), "none");
	assert_answer(peer_wait(owner, send_expect(owner, "ready", 50)), "timeout");
	say(owner, "ready 2\n");
	assert_answer(peer_wait(owner, send_expect(owner, "ready", 60000)), "none");
	end(owner);
}

static void a_follower_that_does_not_read_is_told_what_it_missed(void **state)
{
	struct peer *owner = opened(PLAIN, NULL), *lazy = stranger();
	char *text = malloc(1 << 16);
	json_int_t seen = 0, dropped = 0;
	json_t *note;

	(void)state;
	memset(text, 'x', 1 << 16);
	text[(1 << 16) - 1] = '\0';
	assert_answer(peer_call(lazy, "console.follow", on(true)), "none");
	for (int i = 0; i < 64; i++)
		say(owner, text);
	while (!dropped) {
		/* by now and then it has read enough, and gets the next one again */
		say(owner, "x");
		note = peer_note(lazy, "console");
		seen += (json_int_t)json_string_length(json_object_get(params_of(note), "data"));
		dropped = json_integer_value(json_object_get(params_of(note), "dropped"));
		json_decref(note);
	}
	assert_true(seen > 1 << 20);
	assert_true(seen + dropped >= 64 * ((1 << 16) - 1));
	free(text);
	peer_destroy(lazy);
	end(owner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		claim(opens_devices_in_their_order_and_makes_safe_before_the_lock_is_free),
		claim(a_leased_board_is_refused_and_its_holder_named),
		claim(a_device_that_does_not_open_is_named_and_the_board_left_safe),
		claim(what_rig_conf_got_wrong_is_said),
		claim(a_killed_keepers_board_is_made_safe_by_the_next_before_anything_else),
		claim(a_dirty_board_that_cannot_be_opened_stays_dirty),
		claim(a_killed_owners_board_is_made_safe_before_the_lock_is_free),
		claim(a_signal_ends_the_lease_safely),
		claim(a_signal_while_a_device_opens_ends_safely_too),
		claim(a_lease_ends_when_its_time_is_up),
		claim(a_lease_can_be_made_to_outlive_its_owner),
		claim(a_lease_made_implicit_ends_when_the_board_is_off_and_nobody_is_there),
		claim(where_gdb_is_served_is_known_until_the_probe_lets_go),
		claim(an_owner_that_goes_while_a_device_opens_leaves_a_safe_board),
		claim(a_renewed_lease_goes_on),
		claim(a_power_that_stays_on_quarantines_the_board),
		claim(making_safe_goes_on_through_failures_and_reports_all),
		claim(safe_cancels_what_is_under_way_and_the_lease_goes_on),
		claim(a_board_powered_by_hand_stays_on_until_it_is_powered_off),
		claim(an_implicit_lease_of_a_board_that_stayed_off_ends_with_its_client),
		claim(who_leaves_as_the_last_is_answered_when_the_board_is_free),
		claim(an_explicit_lease_stays_until_it_is_ended),
		claim(a_stranger_may_look_and_stop_but_not_touch),
		claim(a_missing_device_is_named_with_what_to_write),
		claim(wrong_parameters_are_refused_by_name),
		claim(every_method_before_open_is_refused),
		claim(a_device_does_one_operation_at_a_time),
		claim(a_lost_device_is_told_and_refuses_with_the_reason),
		claim(power_cycle_switches_off_then_on),
		claim(a_client_that_vanishes_leaves_no_operation_behind),
		claim(rubbish_and_floods_do_not_harm_the_keeper),
		claim(bytes_from_before_a_power_on_satisfy_nothing_after_it),
		claim(a_megabyte_of_console_and_then_the_line),
		claim(a_board_somebody_else_switched_on_is_believed_from_then_on),
		claim(a_follower_that_does_not_read_is_told_what_it_missed),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("keeper", tests, NULL, NULL);
}
