/*
 * What a run would do, without a board: its plan, and for a scenario that cuts the campaign along
 * each item's trace.
 */
#include "run_priv.h"

#include "lua_host.h"
#include "plan_cuts.h"

#include <string.h>

/* The entry of the plan with that key. */
static json_t *entry_of(const struct run *run, const char *key)
{
	json_t *entry;
	size_t i;

	json_array_foreach (json_object_get(run->items.plan, "items"), i, entry)
		if (strcmp(json_string_value(json_object_get(entry, "item")), key) == 0)
			return entry;
	return NULL;
}

static int add_campaign(struct run *run, const json_t *board, const json_t *item, struct err *e)
{
	const char *key = json_string_value(json_object_get(item, "key"));
	json_int_t seed = json_integer_value(run_option(run, "seed"));
	json_t *campaign = NULL, *entry = entry_of(run, key);
	int code = plan_cuts_make(&campaign, board, item, json_object_get(run->job, "options"),
		item_seed(seed, key), e);

	if (code == 0 && entry)
		json_object_set(entry, "campaign", campaign);
	json_decref(campaign);
	return code;
}

int run_plan(struct run *run, struct err *e)
{
	json_t *boards = json_object_get(run->job, "boards"), *items, *item;
	size_t b, i;
	int code = 0;

	if (!json_is_true(json_object_get(host_scenario(run->host), "cuts")))
		return 0;
	json_array_foreach (run->items.boards, b, items)
		json_array_foreach (items, i, item)
			if (code == 0)
				code = add_campaign(run, json_array_get(boards, b), item, e);
	return code;
}
