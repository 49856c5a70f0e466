#include "items.h"

#include "diversity.h"
#include "err.h"
#include "plan.h"
#include "releases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
	size_t later = plan_next_release(plan->manifest, transition_holds(tr));
	json_t *via = json_array(), *item;

	for (size_t i = 0; i + 1 < tr->path_count; i++)
		json_array_append(via, release_json(plan->manifest, tr->path[i]));
	item = json_pack("{s:s, s:I, s:s, s:O, s:O, s:o}", "key", tr->key, "index",
		(json_int_t)index, "expect", transition_kind_name(tr->kind), "from",
		release_json(plan->manifest, tr->from), "to", release_json(plan->manifest, tr->to),
		"via", via);
	if (tr->reason[0])
		json_object_set_new(item, "reason", json_string(tr->reason));
	if (later != RELEASE_NONE)
		json_object_set(item, "later", release_json(plan->manifest, later));
	return item;
}

/* One item over transitions: which, and the board that gets it. */
struct deal {
	size_t transition;
	unsigned board;
};

/* The items of a plan in order, and how they came about. */
struct deals {
	const struct plan *plan;
	const json_t *scenario;
	unsigned boards;
	struct deal *list; /* room for every transition of the plan */
	size_t count;
	size_t *pages; /* per release: pages of its image; NULL unless the order is diverse */
};

static int no_memory(struct err *e)
{
	return err_set(e, ERR_NOMEM, "plan: out of memory");
}

/* Pages that a release's image takes; 0 where that is not known. */
static size_t image_pages(const struct release *release, unsigned page_bytes)
{
	const char *path = release_image_path(release, "application");
	struct stat st;

	if (!path || page_bytes == 0 || stat(path, &st) != 0)
		return 0;
	return ((size_t)st.st_size + page_bytes - 1) / page_bytes;
}

static int deal_by_trails(struct deals *d, struct plan *plan, struct err *e)
{
	int code = plan_shard(plan, d->boards, &cost, e);

	if (code)
		return code;
	for (size_t i = 0; i < plan->trail_count; i++)
		for (size_t s = 0; s < plan->trails[i].step_count; s++) {
			size_t step = plan->trails[i].steps[s];

			if (kind_wanted(d->scenario, plan->transitions[step].kind))
				d->list[d->count++] = (struct deal){step, plan->trails[i].board};
		}
	return 0;
}

/* Round robin, so that all boards together get through the order from its beginning. */
static int deal_by_diversity(struct deals *d, unsigned page_bytes, struct err *e)
{
	const struct manifest *m = d->plan->manifest;
	size_t count = 0, *order = calloc(d->plan->transition_count + 1, sizeof(*order));
	int code;

	d->pages = calloc(m->count, sizeof(*d->pages));
	if (!order || !d->pages) {
		free(order);
		return no_memory(e);
	}
	for (size_t i = 0; i < m->count; i++)
		d->pages[i] = image_pages(&m->releases[i], page_bytes);
	for (size_t i = 0; i < d->plan->transition_count; i++)
		if (kind_wanted(d->scenario, d->plan->transitions[i].kind))
			order[count++] = i;
	code = diversity_order(d->plan, d->pages, order, count, e);
	for (size_t i = 0; i < count && code == 0; i++)
		d->list[d->count++] = (struct deal){order[i], (unsigned)(i % d->boards)};
	free(order);
	return code;
}

/* The item as the plan's record has it. */
static json_t *planned_item(const struct deals *d, size_t index)
{
	const struct transition *tr = &d->plan->transitions[index];
	json_t *item =
		json_pack("{s:s, s:s}", "item", tr->key, "expect", transition_kind_name(tr->kind));
	char why[160];

	if (!d->pages)
		return item;
	diversity_why(d->plan, d->pages, index, why, sizeof(why));
	if (why[0])
		json_object_set_new(item, "why", json_string(why));
	return item;
}

/*
 * What follows from the dealing: items, and trails as the boards will walk them. A trail begins
 * where the board does not hold what the item begins with.
 */
static int put_deals(struct items *items, const struct deals *d, struct err *e)
{
	json_t *keys = json_object_get(items->plan, "items"), *trails = json_array();
	size_t *held = calloc(d->boards, sizeof(*held));
	json_t **trail = calloc(d->boards, sizeof(*trail)); /* borrowed, per board */
	int code = 0;

	for (size_t i = 0; held && trail && i < d->count; i++) {
		const struct deal *deal = &d->list[i];
		const struct transition *tr = &d->plan->transitions[deal->transition];

		if (!trail[deal->board] || held[deal->board] != tr->from) {
			trail[deal->board] = json_array();
			json_array_append_new(trails, trail[deal->board]);
		}
		held[deal->board] = transition_holds(tr);
		json_array_append_new(trail[deal->board], json_string(tr->key));
		json_array_append_new(keys, planned_item(d, deal->transition));
		json_array_append_new(json_array_get(items->boards, deal->board),
			transition_item(d->plan, deal->transition));
		items->total++;
	}
	json_object_set_new(
		items->plan, "flashes", json_integer((json_int_t)json_array_size(trails)));
	json_object_set_new(items->plan, "trails", trails);
	if (!held || !trail)
		code = no_memory(e);
	else if (items->total == 0)
		code = err_set(e, ERR_USAGE,
			"nothing to run: policy leaves no transition of the kinds this scenario is "
			"for");
	free(held);
	free(trail);
	return code;
}

static int deal_plan(struct items *items, struct plan *plan, const json_t *scenario,
	unsigned boards, unsigned page_bytes, struct err *e)
{
	const char *order = json_string_value(json_object_get(scenario, "order"));
	struct deals d = {.plan = plan, .scenario = scenario, .boards = boards};
	int code;

	d.list = calloc(plan->transition_count + 1, sizeof(*d.list));
	if (!d.list)
		code = no_memory(e);
	else if (order && strcmp(order, "diverse") == 0)
		code = deal_by_diversity(&d, page_bytes, e);
	else
		code = deal_by_trails(&d, plan, e);
	if (code == 0)
		code = put_deals(items, &d, e);
	free(d.list);
	free(d.pages);
	return code;
}

static int over_transitions(struct items *items, const json_t *scenario, json_t *manifest_json,
	const json_t *options, unsigned boards, unsigned page_bytes, struct err *e)
{
	const char *only[ONLY_MAX];
	size_t only_count = 0, i;
	struct manifest manifest;
	struct plan plan;
	json_t *text;
	int code;

	json_array_foreach (json_object_get(options, "only"), i, text) {
		if (only_count < ONLY_MAX)
			only[only_count++] = json_string_value(text);
	}
	code = manifest_init(&manifest, manifest_json, e);
	if (code)
		return code;
	code = plan_init(&plan, &manifest, only, only_count, e);
	if (code == 0) {
		code = deal_plan(items, &plan, scenario, boards, page_bytes, e);
		plan_finish(&plan);
	}
	manifest_finish(&manifest);
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
	unsigned boards, unsigned page_bytes, struct err *e)
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
		code = over_transitions(items, scenario, manifest, options, boards, page_bytes, e);
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
