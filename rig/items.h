/*
 * The items of a run: what the scenario goes over, dealt to the boards.
 */
#ifndef RIG_ITEMS_H
#define RIG_ITEMS_H

#include <jansson.h>
#include <stdint.h>

struct err;

struct items {
	json_t *plan;   /* the fields of the journal's "plan" record */
	json_t *boards; /* per board an array of items, in order */
	size_t total;
};

/*
 * Makes the items of a scenario ({"over", "kinds", "order"}: lua_host.h) over a manifest (config.h;
 * NULL: none) for that many boards. With the order "diverse" transitions go to the boards in turns
 * (diversity.h), else by trails (plan.h); page_bytes is a page of their flash, in which images are
 * compared, or 0 where sizes do not matter. The plan's trails and flashes are those that the boards
 * will walk, if every item leaves its board as it should. options: "only" as plan.h's filters. An
 * item is {"key", "index", "title"} and, over transitions, "from", "to" (releases as in the
 * manifest), "expect" (a kind of plan.h), "via": [releases before to], "reason" and "later" (a
 * release: plan_next_release() of what the board then holds; or none); over releases, "release", of
 * which those that revert are left out. ERR_CONFIG, ERR_USAGE, ERR_NOMEM. Finished with
 * items_finish().
 */
int items_init(struct items *items, const json_t *scenario, json_t *manifest, const json_t *options,
	unsigned boards, unsigned page_bytes, struct err *e);
void items_finish(struct items *items);

/* A seed for an item from the run's seed and the item's key; positive, below 2^31. */
int64_t item_seed(int64_t run_seed, const char *key);

#endif
