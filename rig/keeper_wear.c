/*
 * Wear: what the keeper counts, when it writes that down, and what it refuses when the budget is
 * used up.
 *
 * Erases by the DUT are the trigger's to tell: with the answer to every mark, and once more when
 * the lease ends. What was erased since the last mark is counted then, also by the next keeper when
 * this one is killed.
 */
#include "keeper_priv.h"

#include <stdio.h>
#include <string.h>

#define SAVE_AFTER_MS 5000
#define SAVE_AGAIN_MS 200
#define MARK_WITHIN_MS 1000
#define WARN_PERCENT 90

int keeper_wear_open(struct keeper *k, struct err *e)
{
	k->wear_budget = wear_budget_of(k->board);
	return wear_init(&k->wear, k->board_dir, true, e);
}

void keeper_wear_save(struct keeper *k)
{
	struct err e;

	uv_timer_stop(&k->wear_timer);
	if (!k->wear.erases || wear_save(&k->wear, &e) == 0)
		return;
	snprintf(k->wear_trouble, sizeof(k->wear_trouble), "%.250s", e.msg);
	fprintf(stderr, "rig-keeper: board %s: %s\n", k->name, e.msg);
}

/* Not while a cut is on its way: writing waits for the disk, and the cut would wait for that. */
static void save_now(uv_timer_t *timer)
{
	struct keeper *k = timer->data;

	if (k->cut.state == CUT_ARMED || k->cut.state == CUT_FIRED)
		uv_timer_start(timer, save_now, SAVE_AGAIN_MS, 0);
	else
		keeper_wear_save(k);
}

/* Something was counted: it is on disk soon, but not once for every trial. */
static void save_later(struct keeper *k)
{
	if (k->wear.changed && !uv_is_active((uv_handle_t *)&k->wear_timer))
		uv_timer_start(&k->wear_timer, save_now, SAVE_AFTER_MS, 0);
}

void keeper_wear_cycle(struct keeper *k)
{
	wear_count_cycle(&k->wear);
	save_later(k);
}

void keeper_wear_marked(struct keeper *k, const json_t *result)
{
	wear_count_erases(&k->wear, json_object_get(result, "erases"));
	save_later(k);
}

void keeper_wear_programmed(struct keeper *k, const json_t *result)
{
	wear_count_pages(&k->wear, json_object_get(result, "pages"));
	save_later(k);
}

int keeper_wear_check(struct keeper *k, const struct method *m, const json_t *params, struct err *e)
{
	unsigned percent;
	char text[160];

	if (!(m->flags & METHOD_WEARS) || json_is_false(json_object_get(params, "on")))
		return 0;
	percent = wear_percent(&k->wear, &k->wear_budget);
	if (percent < WARN_PERCENT)
		return 0;
	wear_describe(&k->wear, &k->wear_budget, text, sizeof(text));
	if (percent >= 100)
		return err_set(e, ERR_BENCH,
			"board %s: worn out: %s that its budget allows, and %s would wear it "
			"more. Raise wear = { erases, relay_cycles } in rig.conf if it may go on; "
			"else replace it, and remove %s (rig boards shows the counts)",
			k->name, text, m->name, k->wear.path);
	if (!k->wear_warned)
		keeper_notify(k, "note",
			json_pack("{s:s, s:o}", "device", "board", "text",
				json_sprintf("worn to %u %%: %s that its budget allows", percent,
					text)));
	k->wear_warned = true;
	return 0;
}

json_t *keeper_wear_info(const struct keeper *k)
{
	json_t *info = k->wear.erases ? wear_summary(&k->wear, &k->wear_budget) : NULL;

	if (info && k->wear_trouble[0])
		json_object_set_new(info, "trouble", json_string(k->wear_trouble));
	return info;
}

static void marked(void *arg, const struct err *e, json_t *result)
{
	struct keeper *k = arg;

	/* a trigger that is gone has nothing to tell; what it had is counted by the next keeper */
	if (!e)
		keeper_wear_marked(k, result);
	keeper_close_devices(k);
}

void keeper_wear_end(struct keeper *k)
{
	struct slot *trigger = &k->slots[CAP_TRIGGER];
	struct op *none;

	if (trigger->opened && !trigger->lost[0] && (k->ran || !k->slots[CAP_POWER].dev))
		trigger->driver->trigger->mark(
			trigger->dev, keeper_op(k, "mark", MARK_WITHIN_MS, &none, marked, k));
	else
		keeper_close_devices(k);
}
