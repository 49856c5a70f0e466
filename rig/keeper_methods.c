/*
 * The methods of docs/protocol.md "Keeper": one table, and a few lines for each.
 */
#include "keeper_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TIMEOUT_MAX_MS (24 * 3600 * 1000)

static const char *string_of(const json_t *params, const char *name)
{
	return json_string_value(json_object_get(params, name));
}

static uint32_t u32_of(const json_t *params, const char *name)
{
	return (uint32_t)json_integer_value(json_object_get(params, name));
}

static bool is_true(const json_t *params, const char *name)
{
	return json_is_true(json_object_get(params, name));
}

/* --- the lease -------------------------------------------------------------------------------- */

static void do_open(struct operation *o, json_t *params)
{
	if (!o->client->owner)
		op_failf(o->op, ERR_USAGE, "open: only who started the keeper opens the board");
	else if (o->keeper->state != KEEPER_NEW)
		op_failf(o->op, ERR_USAGE, "open: the board is open already");
	else
		keeper_open(o, params);
}

static void do_info(struct operation *o, json_t *params)
{
	static const char *const states[] = {"new", "opening", "open", "ending", "ended"};
	struct keeper *k = o->keeper;
	json_t *caps = json_object(), *power = json_null(), *info;

	(void)params;
	for (enum cap cap = CAP_POWER; cap < CAP_COUNT; cap++) {
		struct slot *slot = keeper_slot(k, cap);

		if (slot)
			json_object_set_new(
				caps, keeper_cap_name(cap), json_string(slot->driver->name));
	}
	if (k->power != POWER_UNKNOWN)
		power = json_boolean(k->power == POWER_ON);
	info = json_pack("{s:s?, s:s, s:o, s:O?, s:s, s:s?, s:o, s:i, s:b, s:b, s:o, s:O?}",
		"board", k->name, "state", states[k->state], "caps", caps, "owner", k->owner,
		"since", k->since, "expires", k->expires[0] ? k->expires : NULL, "power", power,
		"pid", (int)getpid(), "hand", k->hand, "implicit", k->implicit, "cut",
		cut_engine_info(k), "gdb", k->gdb);
	json_object_set_new(info, "wear", keeper_wear_info(k));
	if (k->off.phantom[0])
		json_object_set_new(info, "phantom", json_string(k->off.phantom));
	if (k->made_safe[0])
		json_object_set_new(info, "made_safe", json_string(k->made_safe));
	if (k->quarantined[0])
		json_object_set_new(info, "quarantined", json_string(k->quarantined));
	if (k->console && console_log_trouble(k->console))
		json_object_set_new(
			info, "console_log_trouble", json_string(console_log_trouble(k->console)));
	op_done(o->op, info);
}

static void do_lease_renew(struct operation *o, json_t *params)
{
	struct keeper *k = o->keeper;
	json_t *hand = json_object_get(params, "hand");
	json_t *implicit = json_object_get(params, "implicit");
	struct err e;

	if (json_is_boolean(hand))
		k->hand = json_is_true(hand);
	if (json_is_boolean(implicit))
		k->implicit = json_is_true(implicit);
	keeper_set_expiry(k, (uint64_t)json_integer_value(json_object_get(params, "ttl_ms")));
	if (lock_renew(k->lock, k->expires[0] ? k->expires : NULL, &e) != 0)
		op_fail(o->op, &e);
	else
		op_done(o->op, json_pack("{s:s?}", "expires", k->expires[0] ? k->expires : NULL));
}

static void do_end(struct operation *o, json_t *params)
{
	(void)params;
	/* answered when the lock has been let go */
	keeper_end(o->keeper, "it was told to end");
}

static void do_leave(struct operation *o, json_t *params)
{
	struct keeper *k = o->keeper;

	(void)params;
	if (k->clients == o->client && !o->client->next && keeper_lease_is_idle(k))
		keeper_end(k, "its last client left and the board is off");
	else
		op_done(o->op, NULL);
}

static void do_safe(struct operation *o, json_t *params)
{
	struct keeper *k = o->keeper;

	(void)params;
	if (k->state == KEEPER_OPEN)
		keeper_make_safe(k, "it was told to");
	else if (k->state == KEEPER_NEW)
		op_failf(o->op, ERR_USAGE, "safe: the board is not open yet");
	/* else it is opening or ending: answered when that is over */
}

/* --- power ------------------------------------------------------------------------------------ */

static void do_power_set(struct operation *o, json_t *params)
{
	op_on_cancel(o->op, keeper_relay_cancelled, o);
	keeper_power_switch(
		o->keeper, is_true(params, "on"), o->timeout_ms, &o->inner, keeper_relay, o);
}

static void power_got(void *arg, const struct err *e, json_t *result)
{
	struct operation *o = arg;

	if (!e && !is_true(result, "assumed"))
		keeper_power_learn(o->keeper, is_true(result, "on"), "off");
	keeper_relay(o, e, result);
}

static void do_power_get(struct operation *o, json_t *params)
{
	(void)params;
	op_on_cancel(o->op, keeper_relay_cancelled, o);
	keeper_power_ask(o->keeper, o->timeout_ms, &o->inner, power_got, o);
}

static void do_power_cycle(struct operation *o, json_t *params)
{
	json_t *off_ms = json_object_get(params, "off_ms");

	keeper_power_cycle(o, off_ms ? u32_of(params, "off_ms") : 500);
}

static void do_power_volts(struct operation *o, json_t *params)
{
	const struct supply_ops *supply = o->slot->driver->supply;
	json_t *ramp_ms = json_object_get(params, "ramp_ms");
	double volts = json_number_value(json_object_get(params, "volts"));

	if (!supply)
		op_failf(o->op, ERR_UNSUPPORTED, "its voltage cannot be set");
	else if (!(volts >= 0 && volts <= 1000))
		op_failf(o->op, ERR_USAGE, "power.volts: \"volts\" is 0 to 1000");
	else
		supply->set_volts(
			o->slot->dev, volts, ramp_ms ? u32_of(params, "ramp_ms") : 0, o->op);
}

/* --- console ---------------------------------------------------------------------------------- */

static void do_console_write(struct operation *o, json_t *params)
{
	json_t *data = json_object_get(params, "data");

	o->slot->driver->console->write(
		o->slot->dev, json_string_value(data), json_string_length(data), o->op);
}

static void do_console_expect(struct operation *o, json_t *params)
{
	json_t *pattern = json_object_get(params, "pattern");

	o->pattern = strdup(json_string_value(pattern));
	console_expect(o->keeper->console, json_string_value(pattern), json_string_length(pattern),
		json_object_get(params, "from"), o->op);
}

static void do_console_tail(struct operation *o, json_t *params)
{
	json_t *lines = json_object_get(params, "lines");

	op_done(o->op, json_pack("{s:o}", "lines",
			       console_tail(o->keeper->console,
				       lines ? (size_t)u32_of(params, "lines") : 20)));
}

static void do_console_follow(struct operation *o, json_t *params)
{
	o->client->following = is_true(params, "on");
	keeper_follow_changed(o->keeper);
	op_done(o->op, NULL);
}

static void do_console_lines(struct operation *o, json_t *params)
{
	const struct modem_ops *modem = o->slot->driver->modem;

	if (!modem)
		op_failf(o->op, ERR_UNSUPPORTED, "it has no lines (DTR, RTS, break)");
	else if (json_object_size(params) == 0)
		op_failf(o->op, ERR_USAGE, "console.lines: none of dtr, rts, break_ms is given");
	else
		modem->set(o->slot->dev, params, o->op);
}

/* --- cut -------------------------------------------------------------------------------------- */

static void do_cut_arm(struct operation *o, json_t *params)
{
	cut_engine_arm(o, json_object_get(params, "on"));
}

static void do_cut_disarm(struct operation *o, json_t *params)
{
	(void)params;
	cut_engine_disarm(o);
}

/* --- devices: as drivers/driver.h ------------------------------------------------------------- */

#define PROBE(o) ((o)->slot->driver->probe)
#define TRIGGER(o) ((o)->slot->driver->trigger)
#define SNAPSHOT(o) ((o)->slot->driver->snapshot)
#define TRANSPORT(o) ((o)->slot->driver->transport)

static void do_meter_measure(struct operation *o, json_t *params)
{
	(void)params;
	o->slot->driver->meter->measure(o->slot->dev, o->op);
}

/* Of reset and strap. */
static void do_line_set(struct operation *o, json_t *params)
{
	o->slot->driver->line->set(o->slot->dev, is_true(params, "on"), o->op);
}

static void do_line_get(struct operation *o, json_t *params)
{
	(void)params;
	o->slot->driver->line->get(o->slot->dev, o->op);
}

static void do_probe_breakpoint(struct operation *o, json_t *params)
{
	PROBE(o)->breakpoint(
		o->slot->dev, u32_of(params, "address"), is_true(params, "set"), o->op);
}

static void do_probe_command(struct operation *o, json_t *params)
{
	PROBE(o)->command(o->slot->dev, string_of(params, "text"), o->op);
}

static void gdb_opened(void *arg, const struct err *e, json_t *result)
{
	struct operation *o = arg;

	if (!e) {
		json_decref(o->keeper->gdb);
		o->keeper->gdb = json_incref(result);
	}
	keeper_relay(o, e, result);
}

static void do_probe_gdb(struct operation *o, json_t *params)
{
	(void)params;
	op_on_cancel(o->op, keeper_relay_cancelled, o);
	PROBE(o)->gdb(o->slot->dev,
		keeper_op(o->keeper, "open a gdb port", o->timeout_ms, &o->inner, gdb_opened, o));
}

static void do_probe_halt(struct operation *o, json_t *params)
{
	(void)params;
	PROBE(o)->halt(o->slot->dev, o->op);
}

static void do_probe_hold_reset(struct operation *o, json_t *params)
{
	PROBE(o)->hold_reset(o->slot->dev, is_true(params, "hold"), o->op);
}

static void do_probe_program(struct operation *o, json_t *params)
{
	o->succeeded = keeper_wear_programmed;
	PROBE(o)->program(o->slot->dev, params, o->op);
}

static void do_probe_read(struct operation *o, json_t *params)
{
	PROBE(o)->read(o->slot->dev, u32_of(params, "address"), u32_of(params, "size"),
		string_of(params, "path"), o->op);
}

static void do_probe_release(struct operation *o, json_t *params)
{
	(void)params;
	keeper_forget_gdb(o->keeper);
	PROBE(o)->release(o->slot->dev, o->op);
}

static void do_probe_reset(struct operation *o, json_t *params)
{
	PROBE(o)->reset(o->slot->dev, is_true(params, "halt"), o->op);
}

static void do_probe_resume(struct operation *o, json_t *params)
{
	(void)params;
	PROBE(o)->resume(o->slot->dev, o->op);
}

static void do_probe_verify(struct operation *o, json_t *params)
{
	PROBE(o)->verify(o->slot->dev, u32_of(params, "address"), string_of(params, "path"), o->op);
}

static void do_probe_version(struct operation *o, json_t *params)
{
	(void)params;
	PROBE(o)->version(o->slot->dev, o->op);
}

static void do_probe_write_word(struct operation *o, json_t *params)
{
	o->succeeded = keeper_wear_programmed;
	PROBE(o)->write_word(
		o->slot->dev, u32_of(params, "address"), u32_of(params, "value"), o->op);
}

static void do_snapshot_restore(struct operation *o, json_t *params)
{
	SNAPSHOT(o)->restore(o->slot->dev, string_of(params, "name"), o->op);
}

static void do_snapshot_save(struct operation *o, json_t *params)
{
	SNAPSHOT(o)->save(o->slot->dev, string_of(params, "name"), o->op);
}

static void do_transport_request(struct operation *o, json_t *params)
{
	TRANSPORT(o)->request(o->slot->dev, params, o->op);
}

static void do_transport_send(struct operation *o, json_t *params)
{
	TRANSPORT(o)->send(o->slot->dev, string_of(params, "path"), params, o->op);
}

static void do_trigger_mark(struct operation *o, json_t *params)
{
	(void)params;
	o->succeeded = keeper_wear_marked;
	TRIGGER(o)->mark(o->slot->dev, o->op);
}

static void do_trigger_state(struct operation *o, json_t *params)
{
	(void)params;
	TRIGGER(o)->state(o->slot->dev, o->op);
}

static void do_trigger_trace(struct operation *o, json_t *params)
{
	json_t *from = json_object_get(params, "from");
	uint64_t first = json_is_integer(from) ? (uint64_t)json_integer_value(from) : 1;

	if (first == 0)
		op_failf(o->op, ERR_USAGE, "trigger.trace: \"from\" counts from 1");
	else
		TRIGGER(o)->trace(o->slot->dev, string_of(params, "path"), first, o->op);
}

/* --- the table, in alphabetical order --------------------------------------------------------- */

#define SEC 1000

static const struct method methods[] = {
	{"check", CAP_NONE, METHOD_FED | METHOD_LOOKS, 30 * SEC, keeper_check,
		{{"device", PARAM_STRING, true}}},
	{"console.expect", CAP_CONSOLE, METHOD_SHARED | METHOD_OF_DUT, 10 * SEC, do_console_expect,
		{{"pattern", PARAM_STRING, true}, {"from", PARAM_ANY, false}}},
	{"console.follow", CAP_CONSOLE, METHOD_SHARED | METHOD_PUBLIC, 5 * SEC, do_console_follow,
		{{"on", PARAM_BOOL, true}}},
	{"console.lines", CAP_CONSOLE, 0, 10 * SEC, do_console_lines,
		{{"dtr", PARAM_BOOL, false}, {"rts", PARAM_BOOL, false},
			{"break_ms", PARAM_U32, false}}},
	{"console.tail", CAP_CONSOLE, METHOD_SHARED | METHOD_PUBLIC, 5 * SEC, do_console_tail,
		{{"lines", PARAM_U32, false}}},
	{"console.write", CAP_CONSOLE, METHOD_SHARED, 5 * SEC, do_console_write,
		{{"data", PARAM_STRING, true}}},
	{"cut.arm", CAP_NONE, METHOD_WEARS, 10 * SEC, do_cut_arm, {{"on", PARAM_OBJECT, true}}},
	{"cut.disarm", CAP_NONE, METHOD_FED, 10 * SEC, do_cut_disarm, {{NULL}}},
	{"end", CAP_NONE, METHOD_PUBLIC | METHOD_CONTROL, 30 * SEC, do_end, {{NULL}}},
	{"info", CAP_NONE, METHOD_PUBLIC | METHOD_CONTROL, 5 * SEC, do_info, {{NULL}}},
	{"lease.renew", CAP_NONE, METHOD_FED, 5 * SEC, do_lease_renew,
		{{"ttl_ms", PARAM_COUNT, true}, {"hand", PARAM_BOOL, false},
			{"implicit", PARAM_BOOL, false}}},
	{"leave", CAP_NONE, METHOD_PUBLIC | METHOD_CONTROL, 30 * SEC, do_leave, {{NULL}}},
	{"meter.measure", CAP_METER, METHOD_FED, 5 * SEC, do_meter_measure, {{NULL}}},
	{"open", CAP_NONE, METHOD_CONTROL, 90 * SEC, do_open,
		{{"board", PARAM_OBJECT, true}, {"log_dir", PARAM_STRING, true},
			{"owner", PARAM_OBJECT, true}, {"ttl_ms", PARAM_COUNT, false},
			{"hand", PARAM_BOOL, false}, {"implicit", PARAM_BOOL, false},
			{"try", PARAM_BOOL, false}}},
	{"power.cycle", CAP_POWER, METHOD_WEARS, 20 * SEC, do_power_cycle,
		{{"off_ms", PARAM_U32, false}}},
	{"power.get", CAP_POWER, METHOD_FED, 5 * SEC, do_power_get, {{NULL}}},
	{"power.set", CAP_POWER, METHOD_FED | METHOD_WEARS, 10 * SEC, do_power_set,
		{{"on", PARAM_BOOL, true}}},
	{"power.volts", CAP_POWER, METHOD_FED, 60 * SEC, do_power_volts,
		{{"volts", PARAM_NUMBER, true}, {"ramp_ms", PARAM_U32, false}}},
	{"probe.breakpoint", CAP_PROBE, 0, 10 * SEC, do_probe_breakpoint,
		{{"address", PARAM_U32, true}, {"set", PARAM_BOOL, true}}},
	{"probe.command", CAP_PROBE, 0, 60 * SEC, do_probe_command, {{"text", PARAM_STRING, true}}},
	{"probe.gdb", CAP_PROBE, 0, 30 * SEC, do_probe_gdb, {{NULL}}},
	{"probe.halt", CAP_PROBE, 0, 10 * SEC, do_probe_halt, {{NULL}}},
	{"probe.hold_reset", CAP_PROBE, 0, 10 * SEC, do_probe_hold_reset,
		{{"hold", PARAM_BOOL, true}}},
	{"probe.program", CAP_PROBE, METHOD_WEARS, 120 * SEC, do_probe_program,
		{{"segments", PARAM_ARRAY, true}, {"erase", PARAM_ARRAY, false}}},
	{"probe.read", CAP_PROBE, 0, 60 * SEC, do_probe_read,
		{{"address", PARAM_U32, true}, {"size", PARAM_U32, true},
			{"path", PARAM_STRING, true}}},
	{"probe.release", CAP_PROBE, 0, 10 * SEC, do_probe_release, {{NULL}}},
	{"probe.reset", CAP_PROBE, 0, 10 * SEC, do_probe_reset, {{"halt", PARAM_BOOL, false}}},
	{"probe.resume", CAP_PROBE, 0, 10 * SEC, do_probe_resume, {{NULL}}},
	{"probe.verify", CAP_PROBE, 0, 60 * SEC, do_probe_verify,
		{{"address", PARAM_U32, true}, {"path", PARAM_STRING, true}}},
	{"probe.version", CAP_PROBE, 0, 10 * SEC, do_probe_version, {{NULL}}},
	{"probe.write_word", CAP_PROBE, METHOD_WEARS, 10 * SEC, do_probe_write_word,
		{{"address", PARAM_U32, true}, {"value", PARAM_U32, true}}},
	{"reset.get", CAP_RESET, METHOD_FED, 5 * SEC, do_line_get, {{NULL}}},
	{"reset.set", CAP_RESET, METHOD_FED, 5 * SEC, do_line_set, {{"on", PARAM_BOOL, true}}},
	{"safe", CAP_NONE, METHOD_PUBLIC | METHOD_CONTROL, 30 * SEC, do_safe, {{NULL}}},
	{"snapshot.restore", CAP_SNAPSHOT, 0, 30 * SEC, do_snapshot_restore,
		{{"name", PARAM_STRING, true}}},
	{"snapshot.save", CAP_SNAPSHOT, 0, 30 * SEC, do_snapshot_save,
		{{"name", PARAM_STRING, true}}},
	{"strap.get", CAP_STRAP, METHOD_FED, 5 * SEC, do_line_get, {{NULL}}},
	{"strap.set", CAP_STRAP, METHOD_FED, 5 * SEC, do_line_set, {{"on", PARAM_BOOL, true}}},
	{"transport.request", CAP_TRANSPORT, METHOD_OPEN_PARAMS | METHOD_SHARED | METHOD_OF_DUT,
		30 * SEC, do_transport_request, {{NULL}}},
	{"transport.send", CAP_TRANSPORT, METHOD_OPEN_PARAMS | METHOD_SHARED | METHOD_OF_DUT,
		600 * SEC, do_transport_send, {{"path", PARAM_STRING, true}}},
	{"trigger.mark", CAP_TRIGGER, METHOD_WEARS, 10 * SEC, do_trigger_mark, {{NULL}}},
	{"trigger.state", CAP_TRIGGER, 0, 10 * SEC, do_trigger_state, {{NULL}}},
	{"trigger.trace", CAP_TRIGGER, 0, 30 * SEC, do_trigger_trace,
		{{"path", PARAM_STRING, true}, {"from", PARAM_COUNT, false}}},
};

static int by_name(const void *name, const void *method)
{
	return strcmp(name, ((const struct method *)method)->name);
}

const struct method *method_find(const char *name)
{
	return bsearch(
		name, methods, sizeof(methods) / sizeof(*methods), sizeof(*methods), by_name);
}

static bool fits(const json_t *value, enum param_type type)
{
	json_int_t n = json_integer_value(value);

	switch (type) {
	case PARAM_BOOL:
		return json_is_boolean(value);
	case PARAM_STRING:
		return json_is_string(value);
	case PARAM_COUNT:
		return json_is_integer(value) && n >= 0;
	case PARAM_U32:
		return json_is_integer(value) && n >= 0 && n <= UINT32_MAX;
	case PARAM_NUMBER:
		return json_is_number(value);
	case PARAM_OBJECT:
		return json_is_object(value);
	case PARAM_ARRAY:
		return json_is_array(value);
	case PARAM_ANY:
		return true;
	}
	return false;
}

static const struct param *param_find(const struct method *m, const char *name)
{
	size_t max = sizeof(m->params) / sizeof(*m->params);

	for (size_t i = 0; i < max && m->params[i].name; i++)
		if (strcmp(m->params[i].name, name) == 0)
			return &m->params[i];
	return NULL;
}

static int check_timeout(
	const struct method *m, const json_t *value, unsigned *timeout_ms, struct err *e)
{
	if (!value || json_is_null(value))
		return 0;
	if (!json_is_integer(value) || json_integer_value(value) < 1 ||
		json_integer_value(value) > TIMEOUT_MAX_MS)
		return err_set(e, ERR_USAGE, "%s: timeout_ms is a whole number from 1 to %d",
			m->name, TIMEOUT_MAX_MS);
	*timeout_ms = (unsigned)json_integer_value(value);
	return 0;
}

int method_check(const struct method *m, json_t *params, unsigned *timeout_ms, struct err *e)
{
	static const char *const types[] = {
		[PARAM_BOOL] = "true or false",
		[PARAM_STRING] = "a text",
		[PARAM_COUNT] = "a whole number, not negative",
		[PARAM_U32] = "a whole number of 32 bits",
		[PARAM_NUMBER] = "a number",
		[PARAM_OBJECT] = "an object",
		[PARAM_ARRAY] = "a list",
		[PARAM_ANY] = "anything",
	};
	size_t max = sizeof(m->params) / sizeof(*m->params);
	const struct param *p;
	const char *name;
	json_t *value;

	json_object_foreach (params, name, value) {
		if (strcmp(name, "timeout_ms") == 0)
			continue;
		p = param_find(m, name);
		if (!p && !(m->flags & METHOD_OPEN_PARAMS))
			return err_set(
				e, ERR_USAGE, "%s: it has no parameter \"%.100s\"", m->name, name);
		if (p && !(json_is_null(value) && !p->required) && !fits(value, p->type))
			return err_set(
				e, ERR_USAGE, "%s: \"%s\" is %s", m->name, name, types[p->type]);
	}
	for (size_t i = 0; i < max && m->params[i].name; i++)
		if (m->params[i].required && !json_object_get(params, m->params[i].name))
			return err_set(e, ERR_USAGE, "%s: \"%s\" is missing: %s", m->name,
				m->params[i].name, types[m->params[i].type]);
	*timeout_ms = m->timeout_ms;
	return check_timeout(m, json_object_get(params, "timeout_ms"), timeout_ms, e);
}
