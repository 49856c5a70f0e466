#include "flash_plan.h"

#include "../rig/err.h"
#include "../rig/file.h"

#include <stdlib.h>
#include <string.h>

#define FLASH_MAX ((json_int_t)256 << 20)

int flash_plan_init(struct flash_plan *plan, json_t *board_conf, struct err *e)
{
	json_int_t base, size, page;

	if (json_unpack(board_conf, "{s:{s:I, s:I, s:I}}", "flash", "base", &base, "size", &size,
		    "page", &page) ||
		base < 0 || page < 1 || size < page || size % page || size > FLASH_MAX ||
		base + size > (json_int_t)UINT32_MAX + 1)
		return err_set(e, ERR_CONFIG,
			"the board type needs flash = { base, size, page } with whole pages");
	*plan = (struct flash_plan){
		.base = (uint32_t)base,
		.page_bytes = (uint32_t)page,
		.pages = (size_t)(size / page),
		.wanted = malloc((size_t)size),
	};
	plan->touched = calloc(plan->pages, sizeof(*plan->touched));
	plan->differs = calloc(plan->pages, sizeof(*plan->differs));
	if (!plan->wanted || !plan->touched || !plan->differs) {
		flash_plan_finish(plan);
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	memset(plan->wanted, 0xff, (size_t)size);
	return 0;
}

void flash_plan_finish(struct flash_plan *plan)
{
	free(plan->wanted);
	free(plan->touched);
	free(plan->differs);
	memset(plan, 0, sizeof(*plan));
}

static size_t flash_bytes(const struct flash_plan *plan)
{
	return plan->pages * plan->page_bytes;
}

bool flash_plan_holds(const struct flash_plan *plan, uint32_t address, uint64_t size)
{
	return address >= plan->base && size <= flash_bytes(plan) &&
	       address - plan->base <= flash_bytes(plan) - size;
}

size_t flash_plan_page(const struct flash_plan *plan, uint32_t address)
{
	return (address - plan->base) / plan->page_bytes;
}

static void touch(struct flash_plan *plan, uint32_t address, size_t size)
{
	size_t last = flash_plan_page(plan, address + (uint32_t)(size - 1));

	for (size_t page = flash_plan_page(plan, address); page <= last; page++)
		plan->touched[page] = true;
}

static int enter_erase(struct flash_plan *plan, json_t *range, struct err *e)
{
	json_int_t address, size;

	if (json_unpack(range, "[I, I]", &address, &size) || address < 0 || address > UINT32_MAX ||
		size < 1 || !flash_plan_holds(plan, (uint32_t)address, (uint64_t)size) ||
		((uint32_t)address - plan->base) % plan->page_bytes || size % plan->page_bytes)
		return err_set(e, ERR_USAGE,
			"an erase range is [address, size], whole pages of %u bytes within the flash",
			plan->page_bytes);
	touch(plan, (uint32_t)address, (size_t)size);
	return 0;
}

static int enter_segment(struct flash_plan *plan, json_t *segment, struct err *e)
{
	json_int_t address;
	const char *path;
	char *data;
	size_t len;
	int ret;

	if (json_unpack(segment, "{s:I, s:s}", "address", &address, "path", &path))
		return err_set(e, ERR_USAGE, "a segment is {\"address\", \"path\"}");
	ret = file_read(path, flash_bytes(plan), &data, &len, e);
	if (ret)
		return ret;
	if (address < 0 || address > UINT32_MAX || !flash_plan_holds(plan, (uint32_t)address, len))
		ret = err_set(e, ERR_USAGE,
			"%s: %zu bytes at 0x%llx lie outside the flash (0x%x, %zu bytes)", path,
			len, (unsigned long long)address, plan->base, flash_bytes(plan));
	if (!ret && len) {
		memcpy(plan->wanted + ((uint32_t)address - plan->base), data, len);
		touch(plan, (uint32_t)address, len);
	}
	free(data);
	return ret;
}

int flash_plan_enter(struct flash_plan *plan, json_t *spec, struct err *e)
{
	json_t *item;
	size_t i;
	int ret;

	json_array_foreach (json_object_get(spec, "erase"), i, item) {
		ret = enter_erase(plan, item, e);
		if (ret)
			return ret;
	}
	json_array_foreach (json_object_get(spec, "segments"), i, item) {
		ret = enter_segment(plan, item, e);
		if (ret)
			return ret;
	}
	return 0;
}

uint32_t flash_run_address(const struct flash_plan *plan, const struct flash_run *run)
{
	return plan->base + (uint32_t)run->first * plan->page_bytes;
}

uint32_t flash_run_bytes(const struct flash_plan *plan, const struct flash_run *run)
{
	return (uint32_t)run->pages * plan->page_bytes;
}

const uint8_t *flash_run_wanted(const struct flash_plan *plan, const struct flash_run *run)
{
	return plan->wanted + run->first * plan->page_bytes;
}

bool flash_plan_next(
	const struct flash_plan *plan, const bool *flags, size_t *from, struct flash_run *run)
{
	while (*from < plan->pages && !flags[*from])
		++*from;
	run->first = *from;
	while (*from < plan->pages && flags[*from])
		++*from;
	run->pages = *from - run->first;
	return run->pages != 0;
}

static bool page_is_erased(const struct flash_plan *plan, size_t page)
{
	const uint8_t *at = plan->wanted + page * plan->page_bytes;

	/* all bytes equal their successor, and the first is 0xff */
	return at[0] == 0xff && memcmp(at, at + 1, plan->page_bytes - 1) == 0;
}

bool flash_run_next_filled(const struct flash_plan *plan, const struct flash_run *run, size_t *from,
	struct flash_run *filled)
{
	size_t end = run->first + run->pages;

	if (*from < run->first)
		*from = run->first;
	while (*from < end && page_is_erased(plan, *from))
		++*from;
	filled->first = *from;
	while (*from < end && !page_is_erased(plan, *from))
		++*from;
	filled->pages = *from - filled->first;
	return filled->pages != 0;
}

void flash_plan_patch(struct flash_plan *plan, const struct flash_run *run, const uint8_t *data,
	uint32_t address, uint32_t value)
{
	uint8_t *word = plan->wanted + (address - plan->base);

	memcpy(plan->wanted + run->first * plan->page_bytes, data, flash_run_bytes(plan, run));
	/* the DUTs are little-endian */
	for (int i = 0; i < 4; i++)
		word[i] = (uint8_t)(value >> 8 * i);
}

void flash_plan_compare(struct flash_plan *plan, const struct flash_run *run, const uint8_t *data)
{
	for (size_t i = 0; i < run->pages; i++)
		plan->differs[run->first + i] =
			memcmp(data + i * plan->page_bytes,
				plan->wanted + (run->first + i) * plan->page_bytes,
				plan->page_bytes) != 0;
}

size_t flash_plan_count(const struct flash_plan *plan, const bool *flags)
{
	size_t n = 0;

	for (size_t i = 0; i < plan->pages; i++)
		n += flags[i];
	return n;
}
