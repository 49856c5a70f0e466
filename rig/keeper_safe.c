/*
 * Making safe: everything under way is cancelled; every device but the power is brought into its
 * safe state, all at once; then the power, and it is asked whether it is off. Whatever fails, the
 * rest is done all the same, and each part has its share of the bound.
 */
#include "keeper_priv.h"

#include <stdio.h>
#include <string.h>

#define SAFE_WITHIN_MS 10000

/* A part of the bound, in tenths: devices 4, power 4, read-back 2. */
static unsigned share_ms(const struct keeper *k, unsigned tenths)
{
	unsigned all = k->options.safe_within_ms ? k->options.safe_within_ms : SAFE_WITHIN_MS;

	return all * tenths / 10;
}

static void add_failure(struct keeper *k, const struct slot *slot, const struct err *e)
{
	struct err one = *e, all = k->safing.failed;

	/* what never opened was not touched, unless by the keeper before */
	if (slot->refused.code != ERR_NONE && !k->made_safe[0])
		return;
	err_prefix(&one, "%s (%s)", keeper_cap_name(slot->cap), slot->driver->name);
	if (all.code == ERR_NONE)
		err_set(&k->safing.failed, ERR_BENCH, "%s", one.msg);
	else
		err_set(&k->safing.failed, ERR_BENCH, "%s; %s", all.msg, one.msg);
}

static void finish(struct keeper *k)
{
	/* a board that was left safe, and that nobody has switched since, is as it was */
	bool untouched = k->state == KEEPER_OPENING && !k->was_dirty;
	struct err e;

	k->safing.running = false;
	if (k->safing.failed.code != ERR_NONE && !untouched && !k->quarantined[0]) {
		snprintf(k->quarantined, sizeof(k->quarantined), "making it safe failed: %.480s",
			k->safing.failed.msg);
		if (lock_quarantine(k->state_dir, k->name, k->quarantined, k->owner, &e) != 0)
			fprintf(stderr, "rig-keeper: board %s: %s\n", k->name, e.msg);
	}
	keeper_safe_done(k);
}

static void power_answered(void *arg, const struct err *e, json_t *result)
{
	struct keeper *k = arg;
	struct slot *slot = &k->slots[CAP_POWER];
	struct err on;

	if (!e && json_is_true(json_object_get(result, "on"))) {
		err_set(&on, ERR_BENCH, "it was set off, and says on");
		e = &on;
	}
	if (e)
		add_failure(k, slot, e);
	else
		keeper_power_learn(k, false, "off");
	finish(k);
}

static void power_made_safe(void *arg, const struct err *e, json_t *result)
{
	struct keeper *k = arg;

	(void)result;
	k->safing.running_power = NULL;
	if (e)
		add_failure(k, &k->slots[CAP_POWER], e);
	keeper_power_ask(k, share_ms(k, 2), &k->safing.running_power, power_answered, k);
}

static void make_power_safe(struct keeper *k)
{
	struct slot *slot = &k->slots[CAP_POWER];
	struct op *op;

	if (!slot->dev || !slot->tried) {
		finish(k);
		return;
	}
	k->power_epoch++;
	op = keeper_op(
		k, "make safe", share_ms(k, 4), &k->safing.running_power, power_made_safe, k);
	slot->driver->make_safe(slot->dev, op);
}

static void device_made_safe(void *arg, const struct err *e, json_t *result)
{
	struct slot *slot = arg;
	struct keeper *k = slot->keeper;

	(void)result;
	if (e)
		add_failure(k, slot, e);
	if (--k->safing.pending == 0)
		make_power_safe(k);
}

void keeper_make_safe(struct keeper *k, const char *reason)
{
	struct err why;

	if (k->safing.running)
		return;
	k->safing = (struct safing){.running = true, .pending = 1};
	k->off.watching = false;
	snprintf(k->safing.reason, sizeof(k->safing.reason), "%s", reason);
	cut_engine_reset(k);
	keeper_forget_gdb(k);
	err_set(&why, ERR_CANCELLED, "the board is made safe: %s", reason);
	keeper_cancel_operations(k, NULL, &why);
	for (enum cap cap = CAP_POWER + 1; cap < CAP_COUNT; cap++) {
		struct slot *slot = &k->slots[cap];
		struct op *none;

		if (!slot->dev || !slot->tried)
			continue;
		k->safing.pending++;
		slot->driver->make_safe(slot->dev,
			keeper_op(k, "make safe", share_ms(k, 4), &none, device_made_safe, slot));
	}
	if (--k->safing.pending == 0)
		make_power_safe(k);
}
