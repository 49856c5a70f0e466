#include "keeper_priv.h"

#include <stdlib.h>
#include <string.h>

struct power_switch {
	struct keeper *keeper;
	bool on;
	unsigned epoch, deadline_ms;
	struct op **running;
	op_done_fn *done;
	void *arg;
	json_t *result; /* the driver's, while what follows from it is looked at */
};

void keeper_drain_console(struct keeper *k)
{
	struct slot *slot = &k->slots[CAP_CONSOLE];

	if (slot->opened && !slot->lost[0])
		slot->driver->console->drain(slot->dev);
}

void keeper_power_learn(struct keeper *k, bool on, const char *how)
{
	enum power now = on ? POWER_ON : POWER_OFF;
	bool changed = k->power != now;

	/* it was off and is on, and not by us: nobody knows when, but not before now */
	if (on && k->power == POWER_OFF && k->console)
		console_power_on(k->console);
	if (on)
		keeper_off_over(k);
	k->ran = k->ran || on;
	k->power = now;
	if (!on && k->console) {
		/* while bytes are watched for, what was there before has been drained */
		if (!k->off.watching)
			keeper_drain_console(k);
		console_power_off(k->console, how);
	}
	if (changed)
		keeper_notify(k, "power", json_pack("{s:b}", "on", on));
	keeper_settle_lease(k);
}

/* The switch stands, and is known to: frees p. */
static void known(struct power_switch *p, const struct err *e, json_t *result)
{
	struct power_switch it = *p;

	free(p);
	/* a cut counts, and is logged as one, when it has been verified */
	if (!e && it.epoch == it.keeper->power_epoch && it.keeper->cut.state != CUT_FIRED)
		keeper_power_learn(it.keeper, it.on, "off");
	it.done(it.arg, e, result);
	json_decref(it.result);
}

static void proven(void *arg, const struct err *e, json_t *result)
{
	struct power_switch *p = arg;

	if (!e)
		json_object_update(p->result, result);
	known(p, e, e ? NULL : p->result);
}

static void switched(void *arg, const struct err *e, json_t *result)
{
	struct power_switch *p = arg;
	struct keeper *k = p->keeper;
	const char *verified = json_string_value(json_object_get(result, "verified"));

	*p->running = NULL;
	if (e || p->on || p->epoch != k->power_epoch) {
		known(p, e, result);
		return;
	}
	p->result = json_pack("{s:s}", "verified", verified ? verified : "none");
	keeper_off_begin(k, json_is_true(json_object_get(result, "drained")));
	keeper_off_prove(k, verified && strcmp(verified, "read-back") == 0, p->deadline_ms,
		p->running, proven, p);
}

void keeper_power_switch(struct keeper *k, bool on, unsigned deadline_ms, struct op **running,
	op_done_fn *done, void *arg)
{
	struct slot *slot = &k->slots[CAP_POWER];
	struct power_switch *p = calloc(1, sizeof(*p));
	struct op *op;

	if (!p)
		abort(); /* as keeper_op() */
	op = keeper_op(k, on ? "set on" : "set off", deadline_ms, running, switched, p);
	*p = (struct power_switch){k, on, ++k->power_epoch, deadline_ms, running, done, arg, NULL};
	if (on && k->power != POWER_ON)
		keeper_wear_cycle(k);
	k->ran = k->ran || on;
	k->power = POWER_UNKNOWN;
	if (on)
		cut_engine_power_on(k);
	if (on)
		keeper_off_over(k);
	if (on && k->console) {
		/* what the board said before is on this host by now: it belongs to the old epoch */
		keeper_drain_console(k);
		console_power_on(k->console);
	}
	k->t_switch_ns = uv_hrtime();
	slot->driver->power->set(slot->dev, on, op);
}

struct power_ask {
	struct keeper *keeper;
	struct op **running;
	op_done_fn *done;
	void *arg;
};

/* Of a device that cannot be asked: what it was set to, off until that is done. */
static void asked_in_vain(const struct power_ask *it)
{
	const struct keeper *k = it->keeper;
	json_t *result = json_pack(
		"{s:b, s:b}", "on", k->power == POWER_ON && !k->safing.running, "assumed", 1);

	it->done(it->arg, NULL, result);
	json_decref(result);
}

static void asked(void *arg, const struct err *e, json_t *result)
{
	struct power_ask *p = arg, it = *p;
	struct err bad;

	free(p);
	*it.running = NULL;
	if (e && e->code == ERR_UNSUPPORTED) {
		asked_in_vain(&it);
		return;
	}
	if (!e && !json_is_boolean(json_object_get(result, "on"))) {
		err_set(&bad, ERR_BENCH, "the driver does not say whether the power is on");
		e = &bad;
	}
	it.done(it.arg, e, e ? NULL : result);
}

void keeper_power_ask(
	struct keeper *k, unsigned deadline_ms, struct op **running, op_done_fn *done, void *arg)
{
	struct slot *slot = &k->slots[CAP_POWER];
	struct power_ask *p = calloc(1, sizeof(*p));
	struct op *op;

	if (!p)
		abort(); /* as keeper_op() */
	*p = (struct power_ask){k, running, done, arg};
	op = keeper_op(k, "get", deadline_ms, running, asked, p);
	slot->driver->power->get(slot->dev, op);
}

/* --- power.cycle ------------------------------------------------------------------------------ */

static void cycle_cancelled(struct op *op, void *arg)
{
	struct operation *o = arg;
	struct err why;

	(void)op;
	o->cancelled = true;
	uv_timer_stop(&o->keeper->cycle);
	err_set(&why, ERR_CANCELLED, "power.cycle was cancelled");
	if (o->inner)
		op_cancel(o->inner, &why);
}

static void cycle_waited(uv_timer_t *timer)
{
	struct keeper *k = timer->data;
	struct operation *o = k->cycling;

	if (k->off.watching)
		keeper_drain_console(k); /* bytes of a board that is not off end the operation */
	if (k->off.phantom[0])
		return;
	keeper_power_switch(k, true, o->timeout_ms, &o->inner, keeper_relay, o);
}

static void cycle_off(void *arg, const struct err *e, json_t *result)
{
	struct operation *o = arg;
	struct keeper *k = o->keeper;

	if (e)
		keeper_relay(o, e, result);
	else if (!o->cancelled)
		uv_timer_start(&k->cycle, cycle_waited, k->cycle_off_ms, 0);
}

void keeper_power_cycle(struct operation *o, unsigned off_ms)
{
	struct keeper *k = o->keeper;

	k->cycling = o;
	k->cycle_off_ms = off_ms;
	op_on_cancel(o->op, cycle_cancelled, o);
	keeper_power_switch(k, false, o->timeout_ms, &o->inner, cycle_off, o);
}
