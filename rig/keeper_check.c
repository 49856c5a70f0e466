/*
 * Trying a board's devices: an open that goes on through failures and tells each, and the check of
 * one device that is open.
 */
#include "keeper_priv.h"

#include <stdio.h>
#include <string.h>

void keeper_check_refuse(struct slot *slot, const struct err *e)
{
	slot->refused = *e;
	snprintf(slot->lost, sizeof(slot->lost), "%.255s", e->msg);
}

static json_t *device_report(const struct slot *slot, json_t *options)
{
	const struct err *e = &slot->refused;

	return json_pack("{s:O?, s:b, s:s*, s:s*}", "driver", json_object_get(options, "driver"),
		"ok", e->code == ERR_NONE, "error", e->code == ERR_NONE ? NULL : e->msg, "code",
		e->code == ERR_NONE ? NULL : err_name(e->code));
}

json_t *keeper_check_report(const struct keeper *k)
{
	json_t *devices = json_object(), *given = json_object_get(k->board, "devices"), *options;

	for (enum cap cap = CAP_POWER; cap < CAP_COUNT; cap++) {
		options = json_object_get(given, keeper_cap_name(cap));
		if (options)
			json_object_set_new(devices, keeper_cap_name(cap),
				device_report(&k->slots[cap], options));
	}
	return devices;
}

static void power_said(void *arg, const struct err *e, json_t *result)
{
	struct operation *o = arg;
	json_t *said;

	if (e) {
		keeper_relay(o, e, NULL);
		return;
	}
	said = json_pack("{s:[s], s:[]}", "says",
		json_is_true(json_object_get(result, "assumed"))
			? "it cannot be asked whether it is on"
		: json_is_true(json_object_get(result, "on")) ? "it is on"
							      : "it is off",
		"mend");
	keeper_relay(o, NULL, said);
	json_decref(said);
}

/* The device of that name; NULL with *e set when the board has none. */
static struct slot *find_slot(struct keeper *k, const char *name, struct err *e)
{
	for (enum cap cap = CAP_POWER; cap < CAP_COUNT; cap++)
		if (k->slots[cap].dev && strcmp(keeper_cap_name(cap), name) == 0)
			return &k->slots[cap];
	err_set(e, ERR_UNSUPPORTED, "it has no %.100s", name);
	return NULL;
}

void keeper_check(struct operation *o, json_t *params)
{
	struct keeper *k = o->keeper;
	struct err e;
	struct slot *slot = find_slot(k, json_string_value(json_object_get(params, "device")), &e);

	if (!slot || keeper_claim(o, slot, &e) != 0) {
		op_fail(o->op, &e);
	} else if (slot->driver->check) {
		slot->driver->check(slot->dev, o->op);
	} else if (slot->cap == CAP_POWER) {
		op_on_cancel(o->op, keeper_relay_cancelled, o);
		keeper_power_ask(k, o->timeout_ms, &o->inner, power_said, o);
	} else {
		op_done(o->op, json_pack("{s:[], s:[]}", "says", "mend"));
	}
}
