#include "items.h"

#include "err.h"
#include "plan.h"
#include "releases.h"

#include <stdio.h>
#include <string.h>

#define ONLY_MAX 64

/* What a step takes on a virtual board; only the ratios matter here. */
static const struct plan_cost cost = {.flash_ms = 1000, .update_ms = 1500, .refuse_ms = 700};

int64_t item_seed(int64_t run_seed, const char *key)
{
	uint64_t h = 1469598103934665603u ^ (uint64_t)run_seed; /* FNV-1a, 64 bit */

	for (; *key; key++)
		h = (h ^ (uint8_t)*key) * 1099511628211u;
	return (int64_t)((h ^ (h >> 32)) & 0x7fffffff);
}

static json_t *release_json(const struct manifest *manifest, size_t index)
{
	json_t *release;
	size_t i;

	json_array_foreach (json_object_get(manifest->json, "releases"), i, release) {
		if (strcmp(json_string_value(json_object_get(release, "version")),
			    manifest->releases[index].version) == 0)
			return release;
	}
	return NULL;
}

static bool kind_wanted(const json_t *scenario, enum transition_kind kind)
{
	const json_t *kinds = json_object_get(scenario, "kinds"), *item;
	size_t i;

	if (!json_is_array(kinds))
		return true;
	json_array_foreach (kinds, i, item) {
		if (strcmp(json_string_value(item), transition_kind_name(kind)) == 0)
			return true;
	}
	return false;
}

static json_t *transition_item(const struct plan *plan, size_t index)
{
	const struct transition *tr = &plan->transitions[index];
	json_t *via = json_array(), *item;

	for (size_t i = 0; i + 1 < tr->path_count; i++)
		json_array_append(via, release_json(plan->manifest, tr->path[i]));
	item = json_pack("{s:s, s:I, s:s, s:O, s:O, s:o}", "key", tr->key, "index",
		(json_int_t)index, "expect", transition_kind_name(tr->kind), "from",
		release_json(plan->manifest, tr->from), "to", release_json(plan->manifest, tr->to),
		"via", via);
	if (tr->reason[0])
		json_object_set_new(item, "reason", json_string(tr->reason));
	return item;
}

static int over_transitions(struct items *items, const json_t *scenario, json_t *manifest_json,
	const json_t *options, unsigned boards, struct err *e)
{
	const char *only[ONLY_MAX];
	size_t only_count = 0, i;
	json_t *text, *keys = json_object_get(items->plan, "items"), *trails = json_array();
	struct manifest manifest;
	struct plan plan;
	int code;

	json_array_foreach (json_object_get(options, "only"), i, text) {
		if (only_count < ONLY_MAX)
			only[only_count++] = json_string_value(text);
	}
	code = manifest_init(&manifest, manifest_json, e);
	if (code) {
		json_decref(trails);
		return code;
	}
	code = plan_init(&plan, &manifest, only, only_count, e);
	if (code == 0) {
		code = plan_shard(&plan, boards, &cost, e);
		for (i = 0; i < plan.trail_count && code == 0; i++) {
			const struct trail *trail = &plan.trails[i];
			json_t *steps = json_array();

			for (size_t s = 0; s < trail->step_count; s++) {
				const struct transition *tr = &plan.transitions[trail->steps[s]];

				if (!kind_wanted(scenario, tr->kind))
					continue;
				json_array_append_new(steps, json_string(tr->key));
				json_array_append_new(
					keys, json_pack("{s:s, s:s}", "item", tr->key, "expect",
						      transition_kind_name(tr->kind)));
				json_array_append_new(json_array_get(items->boards, trail->board),
					transition_item(&plan, trail->steps[s]));
				items->total++;
			}
			json_array_append_new(trails, steps);
		}
		json_object_set_new(
			items->plan, "flashes", json_integer((json_int_t)plan.trail_count));
		plan_finish(&plan);
	}
	manifest_finish(&manifest);
	json_object_set_new(items->plan, "trails", trails);
	if (code == 0 && items->total == 0)
		code = err_set(e, ERR_USAGE,
			"nothing to run: policy leaves no transition of the kinds this scenario is "
			"for");
	return code;
}

static void add_item(struct items *items, size_t board, const char *key, json_t *fields)
{
	json_object_set_new(fields, "key", json_string(key));
	json_object_set_new(fields, "index", json_integer((json_int_t)items->total));
	json_array_append_new(json_array_get(items->boards, board), fields);
	json_array_append_new(
		json_object_get(items->plan, "items"), json_pack("{s:s}", "item", key));
	items->total++;
}

/* Those that a board can be said to hold: one that reverts is none. */
static int over_releases(struct items *items, json_t *manifest, unsigned boards, struct err *e)
{
	json_t *release;
	size_t i;

	if (!manifest)
		return err_set(e, ERR_CONFIG,
			"the scenario goes over releases, and rig.conf names no manifest: bench { "
			"releases = \"…/releases.lua\" }");
	json_array_foreach (json_object_get(manifest, "releases"), i, release) {
		if (json_is_true(json_object_get(release, "reverts")))
			continue;
		add_item(items, items->total % boards,
			json_string_value(json_object_get(release, "version")),
			json_pack("{s:O}", "release", release));
	}
	if (items->total == 0)
		return err_set(
			e, ERR_USAGE, "nothing to run: every release of the manifest reverts");
	return 0;
}

int items_init(struct items *items, const json_t *scenario, json_t *manifest, const json_t *options,
	unsigned boards, struct err *e)
{
	const char *over = json_string_value(json_object_get(scenario, "over"));
	char key[32];
	int code = 0;

	*items = (struct items){0};
	if (boards == 0)
		return err_set(e, ERR_USAGE, "a run needs at least one board");
	items->plan = json_pack("{s:[]}", "items");
	items->boards = json_array();
	for (unsigned b = 0; b < boards; b++)
		json_array_append_new(items->boards, json_array());
	if (strcmp(over, "transitions") == 0 && !manifest)
		code = err_set(e, ERR_CONFIG,
			"the scenario goes over transitions, and rig.conf names no manifest: bench "
			"{ releases = \"…/releases.lua\" }");
	else if (strcmp(over, "transitions") == 0)
		code = over_transitions(items, scenario, manifest, options, boards, e);
	else if (strcmp(over, "releases") == 0)
		code = over_releases(items, manifest, boards, e);
	else if (strcmp(over, "once") == 0)
		add_item(items, 0, "once", json_object());
	else
		for (unsigned b = 0; b < boards; b++) {
			snprintf(key, sizeof(key), "board-%u", b + 1);
			add_item(items, b, key, json_object());
		}
	json_object_set_new(items->plan, "total", json_integer((json_int_t)items->total));
	if (code)
		items_finish(items);
	return code;
}

void items_finish(struct items *items)
{
	json_decref(items->plan);
	json_decref(items->boards);
	items->plan = items->boards = NULL;
}
