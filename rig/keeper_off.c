/*
 * Whether the DUT is off, when the power was switched off: what says so, and what gives it away
 * when it is not.
 *
 * A board that is fed through its console or debug lines runs on, and then every cut is a false
 * one. So the power device is asked; a read-back of it counts. Where it has none, a meter must read
 * next to nothing, or the console must fall silent. And until the power comes on again no byte may
 * come in, whatever was believed.
 */
#include "keeper_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DISCHARGE_MS 200
#define VOLTS_BELOW 0.5  /* no DUT of today runs on that */
#define AMPS_BELOW 0.001 /* where a meter tells no voltage */
#define METER_WITHIN_MS 4000
#define GRACE_MS 5000 /* beyond the waits of the proof itself */

struct proof {
	struct keeper *keeper;
	bool read_back;
	struct op **running;
	op_done_fn *done;
	void *arg;
};

void keeper_off_open(struct keeper *k)
{
	static const char *const names[] = {
		[OFF_AUTO] = "auto",
		[OFF_CONSOLE] = "console",
		[OFF_METER] = "meter",
		[OFF_READ_BACK] = "read-back",
		[OFF_NONE] = "none",
	};
	const json_t *conf = json_object_get(k->board, "power_off");
	const json_t *ms = json_object_get(conf, "discharge_ms");
	const json_t *volts = json_object_get(conf, "volts_below");
	const json_t *amps = json_object_get(conf, "amps_below");
	const char *verify = json_string_value(json_object_get(conf, "verify"));

	k->off.discharge_ms = ms ? (unsigned)json_integer_value(ms) : DISCHARGE_MS;
	k->off.volts_below = volts ? json_number_value(volts) : VOLTS_BELOW;
	k->off.amps_below = amps ? json_number_value(amps) : AMPS_BELOW;
	k->off.verify = OFF_AUTO;
	for (size_t i = 0; verify && i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(names[i], verify) == 0)
			k->off.verify = (enum off_verify)i;
}

static bool looks_at_console(const struct keeper *k)
{
	return k->console && k->slots[CAP_CONSOLE].opened &&
	       (k->off.verify == OFF_AUTO || k->off.verify == OFF_CONSOLE);
}

static int phantom_error(const struct keeper *k, struct err *e)
{
	return err_set(e, ERR_BENCH, "%s", k->off.phantom);
}

void keeper_off_begin(struct keeper *k, bool drained)
{
	struct off *off = &k->off;

	off->watching = false;
	keeper_drain_console(k);
	off->watching = looks_at_console(k);
	off->of_cut = false;
	off->phantom[0] = '\0';
	off->t_off_ns = uv_hrtime();
	off->deaf_until_ns = off->t_off_ns + (drained ? 0 : off->discharge_ms * UINT64_C(1000000));
}

void keeper_off_over(struct keeper *k)
{
	k->off.watching = k->off.of_cut = false;
	k->off.phantom[0] = '\0';
}

/* --- bytes without power ---------------------------------------------------------------------- */

void keeper_off_bytes(struct keeper *k)
{
	struct off *off = &k->off;
	uint64_t now = uv_hrtime();
	struct op *silence = off->silence;
	struct err why;

	if (!off->watching || now < off->deaf_until_ns || off->phantom[0])
		return;
	snprintf(off->phantom, sizeof(off->phantom),
		"console bytes came in %" PRIu64 " ms after the power was switched off: is the "
		"board fed through its console or probe?",
		(now - off->t_off_ns) / 1000000);
	phantom_error(k, &why);
	if (off->proving)
		return; /* whoever waits for the proof finds it */
	if (silence) {
		op_on_cancel(silence, NULL, NULL);
		off->silence = NULL;
		uv_timer_stop(&off->timer);
		op_fail(silence, &why);
		return;
	}
	keeper_prefix(k, &k->slots[CAP_POWER], &why);
	keeper_notify(k, "note", json_pack("{s:s, s:s}", "device", "board", "text", off->phantom));
	cut_engine_phantom(k);
	keeper_cancel_operations(k, NULL, &why);
}

int keeper_off_check(struct keeper *k, const struct method *m, const json_t *params, struct err *e)
{
	/* what has arrived says it before the operation begins */
	if (k->off.watching && !k->off.phantom[0])
		keeper_drain_console(k);
	if (!k->off.phantom[0])
		return 0;
	if ((m->flags & (METHOD_PUBLIC | METHOD_CONTROL | METHOD_FED)) &&
		!json_is_true(json_object_get(params, "on")))
		return 0;
	phantom_error(k, e);
	keeper_prefix(k, &k->slots[CAP_POWER], e);
	return -(int)e->code;
}

/* --- the proof -------------------------------------------------------------------------------- */

static void finish(struct proof *p, const struct err *e, const char *off)
{
	struct proof it = *p;
	json_t *result = e ? NULL : json_pack("{s:s}", "off", off);

	free(p);
	it.done(it.arg, e, result);
	json_decref(result);
}

static void was_silent(void *arg, const struct err *e, json_t *result)
{
	struct proof *p = arg;

	(void)result;
	*p->running = NULL;
	finish(p, e, "console");
}

static void silence_given_up(struct op *op, void *arg)
{
	struct keeper *k = arg;
	struct err why;

	(void)op;
	k->off.silence = NULL;
	uv_timer_stop(&k->off.timer);
	err_set(&why, ERR_CANCELLED, "given up");
	if (k->off.measuring)
		op_cancel(k->off.measuring, &why);
}

static void silence_over(uv_timer_t *timer)
{
	struct keeper *k = timer->data;
	struct op *silence;

	keeper_drain_console(k); /* what is in it fails the operation */
	silence = k->off.silence;
	if (!silence)
		return;
	k->off.silence = NULL;
	op_on_cancel(silence, NULL, NULL);
	op_done(silence, NULL);
}

static void discharged(uv_timer_t *timer)
{
	struct keeper *k = timer->data;

	keeper_drain_console(k);
	k->off.deaf_until_ns = uv_hrtime();
	uv_timer_start(timer, silence_over, k->off.discharge_ms, 0);
}

static void listen_for_silence(struct keeper *k, struct proof *p)
{
	k->off.deaf_until_ns = UINT64_MAX;
	k->off.silence = keeper_op(k, "see that it is off", 2 * k->off.discharge_ms + GRACE_MS,
		p->running, was_silent, p);
	op_on_cancel(k->off.silence, silence_given_up, k);
	uv_timer_start(&k->off.timer, discharged, k->off.discharge_ms, 0);
}

/* The meter, or NULL; one that did not open is none. */
static struct slot *meter(struct keeper *k)
{
	struct slot *slot = keeper_slot(k, CAP_METER);

	return slot && slot->opened ? slot : NULL;
}

static bool looks_at_meter(struct keeper *k)
{
	return k->off.verify == OFF_METER || (k->off.verify == OFF_AUTO && meter(k));
}

/* Whether what a meter reads shows a DUT without power. */
static int check_reading(const struct keeper *k, const json_t *reading, struct err *e)
{
	const json_t *volts = json_object_get(reading, "volts");
	const json_t *amps = json_object_get(reading, "amps");
	bool by_volts = json_is_number(volts);
	double x = json_number_value(by_volts ? volts : amps);

	if (!by_volts && !json_is_number(amps))
		return err_set(e, ERR_BENCH, "the meter tells neither voltage nor current");
	if (x < (by_volts ? k->off.volts_below : k->off.amps_below))
		return 0;
	return err_set(e, ERR_BENCH,
		"the meter reads %.3g %c %u ms after the power was switched off: is the board fed "
		"through its console or probe, or is power_off.discharge_ms too short?",
		x, by_volts ? 'V' : 'A', k->off.discharge_ms);
}

static void was_metered(void *arg, const struct err *e, json_t *result)
{
	struct proof *p = arg;

	(void)result;
	*p->running = NULL;
	finish(p, e, "meter");
}

static void measured(void *arg, const struct err *e, json_t *result)
{
	struct keeper *k = arg;
	struct op *waits = k->off.silence;
	struct err bad;

	k->off.measuring = NULL;
	if (!waits)
		return;
	k->off.silence = NULL;
	op_on_cancel(waits, NULL, NULL);
	if (!e && check_reading(k, result, &bad) != 0)
		e = &bad;
	if (e)
		op_fail(waits, e);
	else
		op_done(waits, NULL);
}

static void ran_dry(uv_timer_t *timer)
{
	struct keeper *k = timer->data;
	struct slot *slot = keeper_slot(k, CAP_METER);

	if (k->off.silence)
		slot->driver->meter->measure(slot->dev,
			keeper_op(k, "measure", METER_WITHIN_MS, &k->off.measuring, measured, k));
}

static void ask_meter(struct keeper *k, struct proof *p)
{
	if (!meter(k)) {
		struct err none;

		err_set(&none, ERR_BENCH, "there is no meter (rig.conf: power_off.verify)");
		finish(p, &none, NULL);
		return;
	}
	k->off.silence = keeper_op(k, "see that it is off",
		k->off.discharge_ms + METER_WITHIN_MS + GRACE_MS, p->running, was_metered, p);
	op_on_cancel(k->off.silence, silence_given_up, k);
	uv_timer_start(&k->off.timer, ran_dry, k->off.discharge_ms, 0);
}

static void asked(void *arg, const struct err *e, json_t *result)
{
	struct proof *p = arg;
	struct keeper *k = p->keeper;
	bool believed =
		p->read_back && (k->off.verify == OFF_AUTO || k->off.verify == OFF_READ_BACK);
	struct err bad;

	if (!e && k->off.watching)
		keeper_drain_console(k);
	k->off.proving--;
	if (!e && json_is_true(json_object_get(result, "on"))) {
		err_set(&bad, ERR_BENCH, "it was switched off, and power.get says on");
		e = &bad;
	} else if (!e && k->off.phantom[0]) {
		phantom_error(k, &bad);
		e = &bad;
	} else if (!e && k->off.verify == OFF_READ_BACK && !p->read_back) {
		err_set(&bad, ERR_BENCH,
			"it cannot read back whether it is off (rig.conf: power_off.verify)");
		e = &bad;
	}
	if (e || believed)
		finish(p, e, "read-back");
	else if (looks_at_meter(k))
		ask_meter(k, p);
	else if (looks_at_console(k))
		listen_for_silence(k, p);
	else
		finish(p, NULL, "unverified");
}

void keeper_off_prove(struct keeper *k, bool read_back, unsigned deadline_ms, struct op **running,
	op_done_fn *done, void *arg)
{
	struct proof *p = calloc(1, sizeof(*p));
	struct err why;

	if (!p)
		abort(); /* as keeper_op() */
	*p = (struct proof){k, read_back, running, done, arg};
	if (k->off.silence) {
		err_set(&why, ERR_CUT, "a cut was carried out meanwhile");
		op_cancel(k->off.silence, &why);
	}
	k->off.proving++;
	keeper_power_ask(k, deadline_ms, running, asked, p);
}
