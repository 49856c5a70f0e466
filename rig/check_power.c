/*
 * Whether the power switches: the board is switched on and off again, and what can see a difference
 * is looked at: the console's bytes, the meter, the target behind the probe, a device that comes
 * back. And how the rig knows that it is off.
 */
#include "check.h"

#include "lock.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CALL_MS 30000
#define PROBE_MS 60000
#define CONSOLE_MS 10000 /* at most; the type's boot.ready_within if that is less */
#define LINE_MS 500      /* for the rest of a line that has begun */
#define SETTLE_MS 500    /* what a meter shows before that is on its way */
#define DISCHARGE_MS 200
#define VOLTS_MIN 0.3 /* less is no difference */
#define AMPS_MIN 0.001

struct reading {
	bool there;         /* the meter answered */
	double volts, amps; /* 0: it does not tell */
	char text[64];
};

/* What was looked at, for the message that nothing was seen. */
struct looked {
	char text[400];
	bool any, changed;
};

/* --- waiting ---------------------------------------------------------------------------------- */

static void time_over(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

/* Runs the loop until there, called after each turn, says so; for ms at most. */
static void wait_for(struct check *c, bool (*there)(const struct check *c), unsigned ms)
{
	bool over = false;
	uv_timer_t timer;

	uv_timer_init(&c->cli->loop, &timer);
	timer.data = &over;
	uv_timer_start(&timer, time_over, ms, 0);
	while (!over && !there(c))
		uv_run(&c->cli->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&c->cli->loop, UV_RUN_NOWAIT);
}

static bool never(const struct check *c)
{
	(void)c;
	return false;
}

static bool bytes_came(const struct check *c)
{
	return c->console_bytes > 0;
}

static bool line_came(const struct check *c)
{
	return strchr(c->console_line, '\n') != NULL;
}

/* --- what sees a difference ------------------------------------------------------------------- */

static void look_at(struct looked *looked, bool changed, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void look_at(struct looked *looked, bool changed, const char *fmt, ...)
{
	size_t used = strlen(looked->text), room = sizeof(looked->text) - used;
	va_list ap;

	if (used)
		used += (size_t)snprintf(looked->text + used, room, ", ");
	if (used < sizeof(looked->text)) {
		va_start(ap, fmt);
		vsnprintf(looked->text + used, sizeof(looked->text) - used, fmt, ap);
		va_end(ap);
	}
	looked->any = true;
	looked->changed |= changed;
}

/* What the meter's line is: a supply that measures has none of its own. */
static const char *meter_of(const struct check *c)
{
	return json_object_get(json_object_get(c->board, "devices"), "meter") ? "meter" : "power";
}

/* "3.30 V 12 mA", what the meter tells of it. */
static void reading_text(const json_t *reading, char *text, size_t size)
{
	const json_t *volts = json_object_get(reading, "volts");
	const json_t *amps = json_object_get(reading, "amps");
	int used = 0;

	text[0] = '\0';
	if (json_is_number(volts))
		used = snprintf(text, size, "%.2f V", json_number_value(volts));
	if (json_is_number(amps))
		snprintf(text + used, size - (size_t)used, "%s%.0f mA", used ? " " : "",
			json_number_value(amps) * 1000);
}

static struct reading measure(struct check *c)
{
	struct reading r = {.there = false};
	json_t *result = NULL;
	struct err e;

	if (!json_object_get(c->caps, "meter") || !check_works(c, meter_of(c)))
		return r;
	if (cli_call(c->cli, c->keeper, "meter.measure", json_object(), CALL_MS, &result, &e)) {
		check_error(c, check_of(c, meter_of(c)), "", &e);
		return r;
	}
	r.there = true;
	reading_text(result, r.text, sizeof(r.text));
	r.volts = json_number_value(json_object_get(result, "volts"));
	r.amps = json_number_value(json_object_get(result, "amps"));
	json_decref(result);
	return r;
}

static void compare(
	struct check *c, const struct reading *off, const struct reading *on, struct looked *looked)
{
	bool changed = on->volts - off->volts > VOLTS_MIN || on->amps - off->amps > AMPS_MIN;

	if (!off->there || !on->there)
		return;
	check_say(check_of(c, meter_of(c)), CHECK_OK, "off %s, on %s", off->text, on->text);
	look_at(looked, changed, "meter: %s off, %s on", off->text, on->text);
}

/* Reads a word of flash, and lets go of the debug port again. */
static int read_target(struct check *c, struct err *e)
{
	const json_t *flash = json_object_get(c->board, "flash");
	char dir[PATH_MAX], path[PATH_MAX];
	struct err gone;
	int code = lock_board_dir(cli_state_dir(c->cli), c->name, true, dir, sizeof(dir), e);

	if (code)
		return code;
	if (snprintf(path, sizeof(path), "%s/check.bin", dir) >= (int)sizeof(path))
		return err_set(e, ERR_IO, "%s: too long a path", dir);
	code = cli_call(c->cli, c->keeper, "probe.read",
		json_pack("{s:O, s:i, s:s}", "address", json_object_get(flash, "base"), "size", 4,
			"path", path),
		PROBE_MS, NULL, e);
	cli_call(c->cli, c->keeper, "probe.release", json_object(), PROBE_MS, NULL, &gone);
	unlink(path);
	return code;
}

/* Whether the target answers; it should. */
static bool probe_target(struct check *c)
{
	json_t *check;
	struct err e;

	check_probe(c);
	if (!check_works(c, "probe"))
		return false;
	check = check_of(c, "probe");
	if (read_target(c, &e) == 0) {
		check_say(check, CHECK_OK, "flash can be read");
		return true;
	}
	if (json_object_get(json_object_get(c->board, "devices"), "strap")) {
		/* one that only a loader serves cannot be looked at while the firmware runs */
		check_say(check, CHECK_WARN, "no target while the firmware runs: %s", e.msg);
		return false;
	}
	if (!check_error(c, check, "no target: ", &e))
		check_mend(check,
			"is the debug cable on the board, the right way round, and is this the board's own "
			"probe?");
	return false;
}

/* Most of what came are bytes that are no text. */
static bool is_garbage(const char *text)
{
	size_t escapes = 0;

	for (const char *at = strstr(text, "\\x"); at; at = strstr(at + 1, "\\x"))
		escapes++;
	return escapes * 8 > strlen(text);
}

static void say_console(struct check *c)
{
	json_t *check = check_of(c, "console");

	c->console_line[strcspn(c->console_line, "\r\n")] = '\0';
	if (is_garbage(c->console_line)) {
		check_say(check, CHECK_WARN, "what it says after power on is no text: \"%.40s\"",
			c->console_line);
		check_mend(check, "is the baud rate right?");
	} else {
		check_say(check, CHECK_OK, "says \"%.60s\"", c->console_line);
	}
}

static void hear_console(struct check *c, struct looked *looked)
{
	const json_t *boot = json_object_get(c->board, "boot");
	double ready_ms = json_number_value(json_object_get(boot, "ready_within")) * 1000;
	unsigned ms = ready_ms > 0 && ready_ms < CONSOLE_MS ? (unsigned)ready_ms : CONSOLE_MS;
	json_t *check;

	wait_for(c, bytes_came, ms);
	if (c->console_bytes) {
		wait_for(c, line_came, LINE_MS);
		say_console(c);
		look_at(looked, true, "console");
		return;
	}
	check = check_of(c, "console");
	check_say(check, CHECK_WARN, "silent for %.0f s after power on", ms / 1000.0);
	check_mend(check,
		"is it the right port, at the right baud rate, with its lines not crossed? A board "
		"without firmware is silent, too");
	look_at(looked, false, "console: silent for %.0f s", ms / 1000.0);
}

/* --- on and off ------------------------------------------------------------------------------- */

static int set(struct check *c, bool on, json_t **result, struct err *e)
{
	return cli_call(
		c->cli, c->keeper, "power.set", json_pack("{s:b}", "on", on), CALL_MS, result, e);
}

/* Bytes from a board that is off: it is not. */
static bool speaks_without_power(struct check *c)
{
	const json_t *conf = json_object_get(c->board, "power_off");
	json_t *ms = json_object_get(conf, "discharge_ms"), *check;
	struct err e;

	if (!check_works(c, "console"))
		return false;
	cli_call(c->cli, c->keeper, "console.follow", json_pack("{s:b}", "on", 1), CALL_MS, NULL,
		&e);
	wait_for(c, bytes_came, ms ? (unsigned)json_integer_value(ms) : DISCHARGE_MS);
	if (!c->console_bytes)
		return false;
	check = check_of(c, "power");
	check_say(check, CHECK_FAIL, "it is off, and the console says something");
	check_mend(check, "is the board fed through its console or probe, or by another channel?");
	return true;
}

static void say_off(struct check *c, const json_t *result)
{
	const char *off = json_string_value(json_object_get(result, "off"));
	const char *verify = json_string_value(
		json_object_get(json_object_get(c->board, "power_off"), "verify"));
	json_t *check = check_of(c, "power");

	if (off && strcmp(off, "read-back") == 0) {
		check_say(check, CHECK_OK, "off is read back");
	} else if (off && strcmp(off, "unverified") != 0) {
		check_say(check, CHECK_OK, "off is verified by the %s", off);
	} else if (verify && strcmp(verify, "none") == 0) {
		check_say(
			check, CHECK_WARN, "power off is unverified: power_off.verify is \"none\"");
		check_mend(check, "with verify = \"auto\" its cuts can be told from false ones");
	} else {
		check_say(check, CHECK_WARN, "power off is unverified: no read-back%s%s",
			json_object_get(c->caps, "meter") ? "" : ", no meter",
			check_works(c, "console") ? "" : ", no console");
		check_mend(check,
			"a console, a meter or a relay that reads back would tell false cuts from "
			"true ones");
	}
}

static void nothing_seen(struct check *c, const struct looked *looked, bool fed)
{
	json_t *check = check_of(c, "power");

	check_say(check, CHECK_FAIL, "no power change seen (%s)", looked->text);
	if (fed)
		check_mend(check, "the board has another supply: its console's, its probe's, or a "
				  "second cable; take that one's supply wire away");
	else
		check_mend(check, "is the board's supply plugged in, and does it go through this "
				  "relay? `rig check --scan` lists the others");
}

/* Off again, and what that says. on: the target answered with power. */
static void off_again(struct check *c, struct looked *looked, bool on)
{
	json_t *result = NULL, *check = check_of(c, "power");
	bool fed = false;
	struct err e;

	if (set(c, false, &result, &e)) {
		check_error(c, check, looked->changed ? "off: " : "no power change seen: ", &e);
		check_mend(check, "a board that goes on without power has another supply: its "
				  "console's, its probe's, or a second cable");
		return;
	}
	/* only now, for a probe without a target is slow to say so */
	if (on && !looked->changed) {
		fed = read_target(c, &e) == 0;
		look_at(looked, !fed, "probe: the target answers with power%s",
			fed ? " and without" : " only");
	}
	if (looked->changed)
		check_say(check, CHECK_OK, "switched on and off");
	else if (looked->any)
		nothing_seen(c, looked, fed);
	else
		check_say(check, CHECK_WARN,
			"that it switches cannot be seen: the board has no "
			"console, meter or probe that works");
	say_off(c, result);
	json_decref(result);
}

static void switch_and_look(struct check *c)
{
	struct reading off = measure(c), on;
	struct looked looked = {.text = ""};
	bool target;
	struct err e;

	if (speaks_without_power(c))
		return;
	c->back[0] = '\0'; /* what came back before has nothing to do with the power */
	if (set(c, true, NULL, &e)) {
		check_error(c, check_of(c, "power"), "on: ", &e);
		return;
	}
	if (check_works(c, "console"))
		hear_console(c, &looked);
	else if (off.there)
		wait_for(c, never, SETTLE_MS);
	on = measure(c);
	compare(c, &off, &on, &looked);
	if (c->back[0])
		look_at(&looked, true, "%s came back", c->back);
	target = probe_target(c);
	if (check_works(c, "probe") || target)
		looked.any = true;
	else if (json_object_get(json_object_get(c->board, "devices"), "probe"))
		look_at(&looked, false, "probe: no target");
	off_again(c, &looked, target);
}

/* Whether it is on, where the device knows. An error has been said. */
static int ask(struct check *c, json_t *check, bool *on, bool *known)
{
	json_t *result = NULL;
	struct err e;
	int code = cli_call(c->cli, c->keeper, "power.get", json_object(), CALL_MS, &result, &e);

	*known = !json_is_true(json_object_get(result, "assumed"));
	*on = *known && json_is_true(json_object_get(result, "on"));
	json_decref(result);
	if (code)
		check_error(c, check, "", &e);
	return code;
}

void check_power(struct check *c)
{
	bool on, known;
	json_t *check;
	struct err e;

	if (!check_works(c, "power") || c->quarantined)
		return;
	check = check_of(c, "power");
	if (c->leased_by_hand) {
		check_say(check, CHECK_OK, "not switched: the board is leased by hand");
		return;
	}
	if (ask(c, check, &on, &known))
		return;
	if (on)
		check_say(check, CHECK_WARN,
			"it was on, though nobody has the board: not switched to and fro, but made "
			"safe");
	else if (c->options.no_switch)
		check_say(check, CHECK_OK,
			"not switched (--no-switch): whether it switches, and how that is seen, is "
			"not known");
	else if (!known &&
		 set(c, false, NULL, &e)) /* what it was is not known: off to begin with */
		check_error(c, check, "off: ", &e);
	else
		switch_and_look(c);
}
