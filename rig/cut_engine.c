/*
 * The cut: something is seen (a flash operation, by the trigger device; a console line, here), the
 * power goes, the power device is asked whether it did, and only then it counts.
 */
#include "keeper_priv.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

#define OFF_WITHIN_MS 5000

static const char *const state_names[] = {
	[CUT_NONE] = "none",
	[CUT_ARMED] = "armed",
	[CUT_FIRED] = "fired",
	[CUT_DONE] = "landed",
	[CUT_FAILED] = "failed",
};

static void forget(struct cut_engine *cut)
{
	json_decref(cut->on);
	json_decref(cut->landed);
	*cut = (struct cut_engine){.state = CUT_NONE};
}

static json_t *disarm_result(const struct cut_engine *cut)
{
	return json_pack("{s:b, s:O?}", "fired", cut->state == CUT_DONE, "cut", cut->landed);
}

static void answer_disarm(struct keeper *k, struct operation *o)
{
	struct cut_engine *cut = &k->cut;
	json_t *result = disarm_result(cut);

	cut->told = true;
	if (cut->state == CUT_FAILED) {
		json_decref(result);
		op_fail(o->op, &cut->failed);
	} else {
		op_done(o->op, result);
	}
}

static int say_where(const struct cut_engine *cut, struct err *e)
{
	const json_t *op = json_object_get(cut->landed, "op");

	if (json_is_integer(op))
		return err_set(e, ERR_CUT, "the power was cut at operation %lld",
			(long long)json_integer_value(op));
	return err_set(e, ERR_CUT, "the power was cut");
}

int cut_engine_overtook(const struct keeper *k, const struct method *m, struct err *e)
{
	if (!(m->flags & METHOD_OF_DUT) || k->cut.state != CUT_DONE || k->cut.told)
		return 0;
	return say_where(&k->cut, e);
}

void cut_engine_power_on(struct keeper *k)
{
	if (k->cut.state == CUT_DONE)
		k->cut.told = true;
}

/* What was under way ends: cut, or failed with the bench. */
static void settle(struct keeper *k, const struct err *why)
{
	struct cut_engine *cut = &k->cut;
	struct operation *disarm = cut->disarm;

	cut->disarm = NULL;
	if (disarm) {
		op_on_cancel(disarm->op, NULL, NULL);
		answer_disarm(k, disarm);
	}
	keeper_cancel_operations(k, &k->slots[CAP_TRIGGER], why);
}

/* off: how it is known that the DUT is. */
static void landed(struct keeper *k, const json_t *off)
{
	struct cut_engine *cut = &k->cut;
	char text[4 * sizeof(cut->line) + 1];
	struct err why;

	cut->state = CUT_DONE;
	if (k->console)
		console_unwatch(k->console);
	if (json_object_get(cut->landed, "console")) {
		text_escape(text, sizeof(text), cut->line, cut->line_len, TEXT_LINE);
		json_object_set_new(cut->landed, "line", json_string(text));
	}
	json_object_set(cut->landed, "off", (json_t *)(uintptr_t)off);
	k->off.of_cut = true;
	json_object_set_new(cut->landed, "t_mono_ns", json_integer((json_int_t)cut->t_seen_ns));
	json_object_set_new(cut->landed, "latency_ns",
		json_integer(cut->ours ? (json_int_t)(k->t_switch_ns - cut->t_seen_ns) : 0));
	say_where(cut, &why);
	keeper_notify(k, "cut", json_incref(cut->landed));
	settle(k, &why);
	keeper_power_learn(k, false, "cut");
}

static void failed(struct keeper *k, const struct err *e)
{
	struct cut_engine *cut = &k->cut;
	struct err full;

	cut->state = CUT_FAILED;
	err_set(&cut->failed, ERR_BENCH,
		"the cut fired, but the power did not go: power (%s): %.800s",
		k->slots[CAP_POWER].driver->name, e->msg);
	full = cut->failed;
	keeper_prefix(k, NULL, &full);
	keeper_notify(k, "cut_failed", json_pack("{s:s}", "reason", full.msg));
	settle(k, &cut->failed);
}

void cut_engine_phantom(struct keeper *k)
{
	struct err why;

	if (k->cut.state != CUT_DONE || !k->off.of_cut)
		return;
	err_set(&why, ERR_BENCH, "%s", k->off.phantom);
	failed(k, &why);
}

static void power_gone(void *arg, const struct err *e, json_t *result)
{
	struct keeper *k = arg;

	if (k->cut.state != CUT_FIRED)
		return;
	if (e)
		failed(k, e);
	else
		landed(k, json_object_get(result, "off"));
}

/* The power is taken here. */
static void take_power(struct keeper *k)
{
	struct cut_engine *cut = &k->cut;
	struct slot *power = &k->slots[CAP_POWER];
	struct err why;

	cut->state = CUT_FIRED;
	if (power->busy) {
		err_set(&why, ERR_CUT, "a cut was carried out meanwhile");
		op_cancel(power->busy->op, &why);
	}
	cut->ours = true;
	keeper_power_switch(k, false, OFF_WITHIN_MS, &cut->running, power_gone, k);
}

/* When the trigger saw it, if it says so; not before the clock began, and not after now. */
static uint64_t when(const json_t *fields)
{
	uint64_t now = uv_hrtime();
	json_int_t t_ns = json_integer_value(json_object_get(fields, "t_ns"));

	return t_ns > 0 && (uint64_t)t_ns < now ? (uint64_t)t_ns : now;
}

void cut_engine_fired(struct keeper *k, json_t *fields)
{
	struct cut_engine *cut = &k->cut;
	bool gone = json_is_true(json_object_get(fields, "cut"));
	bool drained = json_is_true(json_object_get(fields, "drained"));

	if (cut->state == CUT_FIRED) {
		json_decref(fields); /* one cut at a time */
		return;
	}
	cut->t_seen_ns = when(fields);
	json_decref(cut->landed);
	cut->landed = fields ? fields : json_object();
	json_object_del(cut->landed, "cut");
	json_object_del(cut->landed, "t_ns");
	json_object_del(cut->landed, "drained");
	if (!gone) {
		take_power(k);
		return;
	}
	/* a switch that is on its way was overtaken: its answer says nothing any more */
	cut->state = CUT_FIRED;
	cut->ours = false;
	k->power_epoch++;
	keeper_off_begin(k, drained);
	/* nobody has set the device off: that it says so is read back */
	keeper_off_prove(k, true, OFF_WITHIN_MS, &cut->running, power_gone, k);
}

static void console_fired(void *arg, const char *line, size_t len, uint64_t t_read_ns)
{
	struct keeper *k = arg;
	struct cut_engine *cut = &k->cut;

	if (cut->state == CUT_FIRED)
		return;
	cut->t_seen_ns = t_read_ns;
	/* kept as it is: making text of it can wait until the power is off */
	cut->line_len = len < sizeof(cut->line) ? len : sizeof(cut->line);
	memcpy(cut->line, line, cut->line_len);
	take_power(k);
}

/* --- arming ----------------------------------------------------------------------------------- */

static void arm_console(struct operation *o, json_t *pattern, json_t *count)
{
	struct keeper *k = o->keeper;
	json_int_t times = count ? json_integer_value(count) : 1;
	struct err e;

	if (!k->console || !keeper_slot(k, CAP_POWER)) {
		op_failf(o->op, ERR_UNSUPPORTED,
			"a cut at a console line needs a console and a power device");
		return;
	}
	if (times < 1 || times > INT_MAX) {
		forget(&k->cut);
		op_failf(o->op, ERR_USAGE, "\"count\" is a whole number of at least 1");
		return;
	}
	if (console_watch(k->console, json_string_value(pattern), json_string_length(pattern),
		    (unsigned)times, console_fired, k, &e) != 0) {
		forget(&k->cut);
		op_fail(o->op, &e);
		return;
	}
	/* made now, so that little is left to do when it fires */
	k->cut.landed = json_pack("{s:O}", "console", pattern);
	k->cut.state = CUT_ARMED;
	op_done(o->op, NULL);
}

static void trigger_armed(void *arg, const struct err *e, json_t *result)
{
	struct operation *o = arg;
	struct cut_engine *cut = &o->keeper->cut;

	o->inner = NULL;
	if (cut->state == CUT_NONE && e)
		forget(cut);
	else if (cut->state == CUT_NONE)
		cut->state = CUT_ARMED; /* it may have fired already */
	keeper_relay(o, e, result);
}

static void arm_trigger(struct operation *o, json_t *on)
{
	struct keeper *k = o->keeper;
	struct slot *trigger = keeper_slot(k, CAP_TRIGGER);
	struct err e;

	if (!trigger || !keeper_slot(k, CAP_POWER)) {
		op_failf(o->op, ERR_UNSUPPORTED,
			"a cut at a flash operation needs a trigger and a power device");
		return;
	}
	if (keeper_claim(o, trigger, &e) != 0) {
		op_fail(o->op, &e);
		return;
	}
	op_on_cancel(o->op, keeper_relay_cancelled, o);
	trigger->driver->trigger->arm(
		trigger->dev, on, keeper_op(k, "arm", o->timeout_ms, &o->inner, trigger_armed, o));
}

void cut_engine_arm(struct operation *o, json_t *on)
{
	struct cut_engine *cut = &o->keeper->cut;
	json_t *console = json_object_get(on, "console"), *op = json_object_get(on, "op");

	if (cut->state == CUT_ARMED || cut->state == CUT_FIRED) {
		op_failf(o->op, ERR_USAGE, "a cut is %s already: cut.disarm it first",
			state_names[cut->state]);
		return;
	}
	if (!json_is_string(console) == !(json_is_integer(op) && json_integer_value(op) > 0)) {
		op_failf(o->op, ERR_USAGE,
			"\"on\" is {\"op\": N, \"tear\", \"seed\"} or {\"console\": pattern, "
			"\"count\": N}");
		return;
	}
	forget(cut);
	cut->on = json_incref(on);
	if (console)
		arm_console(o, console, json_object_get(on, "count"));
	else
		arm_trigger(o, on);
}

static void disarm_waits_no_more(struct op *op, void *arg)
{
	struct operation *o = arg;

	(void)op;
	o->keeper->cut.disarm = NULL;
}

/* Nothing is armed any more; what is on its way is awaited. */
static void disarmed(struct operation *o)
{
	struct cut_engine *cut = &o->keeper->cut;

	if (cut->state == CUT_FIRED) {
		cut->disarm = o;
		op_on_cancel(o->op, disarm_waits_no_more, o);
		return;
	}
	op_on_cancel(o->op, NULL, NULL);
	answer_disarm(o->keeper, o);
	if (cut->state == CUT_ARMED)
		forget(cut);
}

static void trigger_disarmed(void *arg, const struct err *e, json_t *result)
{
	struct operation *o = arg;

	o->inner = NULL;
	if (e)
		keeper_relay(o, e, result);
	else if (!o->cancelled)
		disarmed(o);
}

void cut_engine_disarm(struct operation *o)
{
	struct keeper *k = o->keeper;
	struct slot *trigger = keeper_slot(k, CAP_TRIGGER);
	struct err e;

	if (k->cut.disarm) {
		op_failf(o->op, ERR_BUSY, "cut.disarm is under way already");
		return;
	}
	if (k->console)
		console_unwatch(k->console);
	if (k->cut.state != CUT_ARMED || !json_object_get(k->cut.on, "op")) {
		disarmed(o);
		return;
	}
	if (keeper_claim(o, trigger, &e) != 0) {
		op_fail(o->op, &e);
		return;
	}
	op_on_cancel(o->op, keeper_relay_cancelled, o);
	trigger->driver->trigger->disarm(trigger->dev,
		keeper_op(k, "disarm", o->timeout_ms, &o->inner, trigger_disarmed, o));
}

void cut_engine_reset(struct keeper *k)
{
	struct cut_engine *cut = &k->cut;
	struct op *running = cut->running;
	struct err why;

	if (k->console)
		console_unwatch(k->console);
	cut->disarm = NULL; /* it is cancelled with the other operations */
	if (cut->state != CUT_DONE && cut->state != CUT_FAILED)
		cut->state = CUT_NONE;
	err_set(&why, ERR_CANCELLED, "the board is made safe");
	if (running)
		op_cancel(running, &why);
}

json_t *cut_engine_info(const struct keeper *k)
{
	return json_pack("{s:s, s:O?, s:O?}", "state", state_names[k->cut.state], "on", k->cut.on,
		"landed", k->cut.landed);
}
