/*
 * What flash shall hold, page by page, and which pages differ from that. Pure: files are read, no
 * device is touched.
 */
#ifndef DRIVERS_FLASH_PLAN_H
#define DRIVERS_FLASH_PLAN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

struct flash_plan {
	uint32_t base, page_bytes;
	size_t pages;
	uint8_t *wanted; /* of every page; erased (0xff) until said otherwise */
	bool *touched;   /* pages that the plan says something about */
	bool *differs;   /* pages known to hold something else */
};

/* An uninterrupted row of pages. */
struct flash_run {
	size_t first, pages;
};

/* Lays out an empty plan for the board's flash (board_conf: {"flash": {"base", "size", "page"}}).
 * ERR_CONFIG when that is missing or makes no sense; ERR_NOMEM. */
int flash_plan_init(struct flash_plan *plan, json_t *board_conf, struct err *e);

/* Accepts a plan of all zero bytes. */
void flash_plan_finish(struct flash_plan *plan);

/*
 * Enters {"segments": [{"address", "path"}], "erase": [[address, size], …]} (driver.h). Later
 * segments win over earlier ones, and segments over erased ranges. Erased ranges must be whole
 * pages. ERR_USAGE names what lies outside the flash or is malformed; ERR_IO a file.
 */
int flash_plan_enter(struct flash_plan *plan, json_t *spec, struct err *e);

/* Whether [address, address + size) lies in the flash. */
bool flash_plan_holds(const struct flash_plan *plan, uint32_t address, uint64_t size);

/* The page that address lies in, as a number. */
size_t flash_plan_page(const struct flash_plan *plan, uint32_t address);

/* Address and size of a run. */
uint32_t flash_run_address(const struct flash_plan *plan, const struct flash_run *run);
uint32_t flash_run_bytes(const struct flash_plan *plan, const struct flash_run *run);

/* What the plan wants at a run's beginning. */
const uint8_t *flash_run_wanted(const struct flash_plan *plan, const struct flash_run *run);

/* The next run of pages with that flag (plan->touched or plan->differs) at or after page *from,
 * which moves behind it. False: there is none. */
bool flash_plan_next(
	const struct flash_plan *plan, const bool *flags, size_t *from, struct flash_run *run);

/* The same for pages of a run that are not erased throughout. */
bool flash_run_next_filled(const struct flash_plan *plan, const struct flash_run *run, size_t *from,
	struct flash_run *filled);

/* Makes the run's contents, with the word at address set to value, what the plan wants of it. */
void flash_plan_patch(struct flash_plan *plan, const struct flash_run *run, const uint8_t *data,
	uint32_t address, uint32_t value);

/* Notes which pages of a run differ from data, the run's contents. */
void flash_plan_compare(struct flash_plan *plan, const struct flash_run *run, const uint8_t *data);

/* Pages with that flag. */
size_t flash_plan_count(const struct flash_plan *plan, const bool *flags);

#endif
